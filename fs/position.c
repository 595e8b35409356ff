/* SPDX-License-Identifier: MIT */
#include "fs/position.h"

#include <string.h>

#include "base/wire.h"

#define LAST_VERSION 2
#define LAST_V1_LEN  16
#define OWN_VERSION  1

static const uint8_t nobody[FS_DEVICE_ID_LEN];

void
fs_position_encode(const struct fs_position *p, struct c2_buf *out)
{
    c2_wr_u8(out, LAST_VERSION);
    c2_wr_raw(out, p->device, sizeof(p->device));
    c2_wr_u64(out, p->next_ino);
}

void
fs_position_encode_seq(const struct fs_position *p, struct c2_buf *out)
{
    c2_wr_u8(out, OWN_VERSION);
    c2_wr_u64(out, p->seq);
}

static C2_RESULT
decode_last(struct c2_slice in, const uint8_t device[FS_DEVICE_ID_LEN], struct fs_position *p)
{
    struct c2_rd r = c2_rd_init(in);
    if (in.len == LAST_V1_LEN) {
        memcpy(p->device, device, sizeof(p->device));
        p->seq = c2_rd_u64(&r);
    } else {
        uint8_t version = c2_rd_u8(&r);
        struct c2_slice id = c2_rd_raw(&r, sizeof(p->device));
        if (c2_rd_ok(&r) && version != LAST_VERSION)
            return C2_E_VERSION;
        if (c2_rd_ok(&r))
            memcpy(p->device, id.data, sizeof(p->device));
    }
    p->next_ino = c2_rd_u64(&r);
    return c2_rd_finish(&r);
}

enum c2_err
fs_position_decode(struct c2_slice last, struct c2_slice own,
                   const uint8_t device[FS_DEVICE_ID_LEN], struct fs_position *ret)
{
    struct fs_position p = { 0 };
    C2_TRY(decode_last(last, device, &p));
    if (own.len > 0) {
        struct c2_rd r = c2_rd_init(own);
        uint8_t version = c2_rd_u8(&r);
        if (version != OWN_VERSION)
            return C2_E_VERSION;
        p.seq = c2_rd_u64(&r);
        C2_TRY(c2_rd_finish(&r));
    }
    *ret = p;
    return C2_E_OK;
}

bool
fs_position_is_foreign(const struct fs_position *p, const uint8_t device[FS_DEVICE_ID_LEN])
{
    return memcmp(p->device, device, sizeof(p->device)) != 0 &&
           memcmp(p->device, nobody, sizeof(nobody)) != 0;
}
