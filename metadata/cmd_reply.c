/* SPDX-License-Identifier: MIT */
/*
 * Answers of the coordination service: encoding, and bounded decoding.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "metadata/cmd.h"

#define FORMAT          1
#define REPLY_FIXED_LEN 31

/* Answers a request can get; the place is the code on the wire. */
static const enum c2_err status_codes[] = {
    C2_E_OK,    C2_E_CONFLICT, C2_E_TOO_LARGE, C2_E_INVALID,  C2_E_RANGE,
    C2_E_QUOTA, C2_E_SESSION,  C2_E_NOT_FOUND, C2_E_PROTOCOL, C2_E_NOT_PERMITTED,
};

static uint8_t
status_code(enum c2_err err)
{
    for (size_t i = 0; i < C2_ARRAY_LEN(status_codes); i++) {
        if (status_codes[i] == err)
            return (uint8_t)i;
    }
    C2_UNREACHABLE();
}

size_t
cmd_reply_begin(struct c2_buf *out)
{
    size_t at = out->len;
    memset(c2_buf_extend(out, REPLY_FIXED_LEN), 0, REPLY_FIXED_LEN);
    return at;
}

void
cmd_reply_entry(struct c2_buf *out, const struct coord_entry *e)
{
    c2_wr_bytes(out, e->key);
    c2_wr_bytes(out, e->value);
    c2_wr_u64(out, e->version);
    c2_wr_u64(out, e->session);
}

void
cmd_reply_end(struct c2_buf *out, size_t at, const struct cmd_reply *fixed, struct c2_slice log)
{
    C2_ASSERT(at + REPLY_FIXED_LEN <= out->len);
    uint8_t *p = out->data + at;
    p[0] = FORMAT;
    p[1] = status_code(fixed->err);
    p[2] = fixed->more;
    c2_put_u64(p + 3, fixed->version);
    c2_put_u64(p + 11, fixed->session);
    c2_put_u64(p + 19, fixed->cond_failed);
    c2_put_u32(p + 27, fixed->nentries);
    c2_wr_bytes(out, log);
}

void
cmd_reply_plain(struct c2_buf *out, const struct cmd_reply *fixed)
{
    C2_ASSERT(fixed->nentries == 0);
    cmd_reply_end(out, cmd_reply_begin(out), fixed, c2_slice(NULL, 0));
}

uint64_t
cmd_reply_hide_version(struct c2_buf *reply)
{
    C2_ASSERT(reply->len >= REPLY_FIXED_LEN);
    uint64_t version = c2_get_u64(reply->data + 3);
    c2_put_u64(reply->data + 3, 0);
    return version;
}

static void
read_entries(struct c2_rd *in, size_t n, struct coord_entry *entries)
{
    for (size_t i = 0; i < n; i++) {
        entries[i].key = c2_rd_bytes(in, COORD_KEY_MAX);
        entries[i].value = c2_rd_bytes(in, COORD_VALUE_MAX);
        entries[i].version = c2_rd_u64(in);
        entries[i].session = c2_rd_u64(in);
    }
}

static C2_RESULT
decode_reply(struct c2_slice reply, struct coord_req *r, struct c2_slice *ret_log)
{
    struct c2_rd in = c2_rd_init(reply);
    if (c2_rd_u8(&in) != FORMAT)
        return C2_E_PROTOCOL;
    uint8_t status = c2_rd_u8(&in);
    uint8_t more = c2_rd_u8(&in);
    r->version = c2_rd_u64(&in);
    uint64_t session = c2_rd_u64(&in);
    r->cond_failed = c2_rd_u64(&in);
    size_t n = c2_rd_u32(&in);
    if (!c2_rd_ok(&in) || n > COORD_RANGE_MAX || n > c2_rd_left(&in) ||
        status >= C2_ARRAY_LEN(status_codes) || more > 1)
        return C2_E_PROTOCOL;
    r->more = more == 1;
    if (r->verb == COORD_SESSION_OPEN || r->verb == COORD_ACL_SET || r->verb == COORD_ACL_LIST)
        r->session = session;
    if (n > 0) {
        r->entries = c2_calloc(n, sizeof *r->entries);
        r->nentries = n;
        read_entries(&in, n, r->entries);
    }
    *ret_log = c2_rd_bytes(&in, COORD_LOG_BYTES_MAX);
    if (c2_rd_finish(&in) != C2_E_OK)
        return C2_E_PROTOCOL;
    return status_codes[status];
}

void
cmd_reply_take(struct coord_req *r, struct c2_buf *reply)
{
    C2_ASSERT(r->entries == NULL && r->reply.data == NULL);
    struct c2_slice log = { 0 };
    r->err = decode_reply(c2_buf_slice(reply), r, &log);
    if (r->err == C2_E_PROTOCOL) {
        c2_free(r->entries);
        r->entries = NULL;
        r->nentries = 0;
        log.len = 0;
    }
    if (log.len > 0) {
        memmove(reply->data, log.data, log.len);
        reply->len = log.len;
    } else if (r->nentries == 0) {
        c2_buf_done(reply); /* most transactions: nothing left to own */
    }
    r->reply = *reply;
    *reply = (struct c2_buf){ 0 };
}

void
cmd_strip(struct coord_req *r, struct c2_slice prefix)
{
    if (r->verb == COORD_ACL_LIST || r->err == C2_E_PROTOCOL)
        return;
    for (size_t i = 0; i < r->nentries; i++) {
        struct c2_slice *key = &r->entries[i].key;
        if (!c2_slice_starts_with(*key, prefix)) {
            coord_req_done(r);
            r->err = C2_E_PROTOCOL;
            return;
        }
        *key = c2_slice(key->data + prefix.len, key->len - prefix.len);
    }
}
