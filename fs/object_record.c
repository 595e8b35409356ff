/* SPDX-License-Identifier: MIT */
#include "fs/object_record.h"

#include <string.h>

#include "base/wire.h"
#include "fs/extent.h"

#define RECORD_VERSION 2
#define OBJECT_KEY_LEN 25

bool
fs_ref_has_root(const struct ds_ref *ref)
{
    static const uint8_t none[DS_ROOT_LEN];
    return memcmp(ref->root, none, sizeof(none)) != 0;
}

void
fs_object_rec_encode(const struct fs_object_record *rec, struct c2_buf *out)
{
    C2_ASSERT(rec->has_root);
    c2_wr_u8(out, RECORD_VERSION);
    c2_wr_u8(out, rec->state);
    c2_wr_u32(out, rec->placed);
    c2_wr_u64(out, rec->ref.plain_len);
    c2_wr_u64(out, rec->stored_bytes);
    c2_wr_raw(out, rec->ref.root, sizeof(rec->ref.root));
    c2_wr_u32(out, rec->ref.key_epoch);
    c2_wr_u32(out, rec->ref.domain_id);
}

C2_RESULT
fs_object_rec_decode(struct c2_slice record, struct fs_object_record *ret)
{
    struct c2_rd r = c2_rd_init(record);
    struct fs_object_record rec = { .ref = { .oid = ret->ref.oid } };
    uint8_t version = c2_rd_u8(&r);
    if (version != 1 && version != RECORD_VERSION)
        return C2_E_VERSION;
    rec.state = c2_rd_u8(&r);
    rec.placed = c2_rd_u32(&r);
    rec.ref.plain_len = c2_rd_u64(&r);
    rec.stored_bytes = c2_rd_u64(&r);
    rec.has_root = version == RECORD_VERSION;
    if (rec.has_root) {
        struct c2_slice root = c2_rd_raw(&r, sizeof(rec.ref.root));
        if (root.len == sizeof(rec.ref.root))
            memcpy(rec.ref.root, root.data, sizeof(rec.ref.root));
        rec.ref.key_epoch = c2_rd_u32(&r);
        rec.ref.domain_id = c2_rd_u32(&r);
    }
    C2_TRY(c2_rd_finish(&r));
    *ret = rec;
    return C2_E_OK;
}

C2_RESULT
fs_object_key_decode(struct c2_slice key, struct ds_oid *ret_oid)
{
    if (key.len != OBJECT_KEY_LEN)
        return C2_E_PARSE;
    ret_oid->sid = c2_get_be64(key.data + 1);
    ret_oid->seq = c2_get_be64(key.data + 9);
    memcpy(ret_oid->rnd, key.data + 17, sizeof(ret_oid->rnd));
    return C2_E_OK;
}

void
fs_object_record_encode(const struct fs_object *o, struct c2_buf *out)
{
    const struct fs_object_record rec = {
        .placed = o->placed, .stored_bytes = o->stored_bytes, .ref = o->ref, .has_root = true
    };
    fs_object_rec_encode(&rec, out);
}

C2_RESULT
fs_object_record_decode(struct c2_slice record, struct fs_object *o)
{
    struct fs_object_record rec = { .ref = o->ref };
    C2_TRY(fs_object_rec_decode(record, &rec));
    o->placed = rec.placed;
    o->stored_bytes = rec.stored_bytes;
    o->placed_known = true;
    return C2_E_OK;
}
