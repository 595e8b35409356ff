/* SPDX-License-Identifier: MIT */
/*
 * Encoding and bounded decoding. Every count is checked against its limit before anything is
 * allocated for it, every length before it is followed.
 */
#include "metadata/cmd.h"

#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "metadata/replica.h"

#define FORMAT          1
#define REPLY_FIXED_LEN 31
#define TXN_FIXED_LEN   10 /* format, verb, two counts */

/* Codes on the wire are the enumerators plus one: zero is never valid. */
#define WIRE_CODE(e) ((uint8_t)((e) + 1))

/* Answers a request can get; the place is the code on the wire. */
static const enum c2_err status_codes[] = {
    C2_E_OK,    C2_E_CONFLICT, C2_E_TOO_LARGE, C2_E_INVALID,  C2_E_RANGE,
    C2_E_QUOTA, C2_E_SESSION,  C2_E_NOT_FOUND, C2_E_PROTOCOL,
};

/* --- bounds ---------------------------------------------------------------------------------- */

static bool
cond_uses_key(const struct coord_cond *c)
{
    return c->kind != COORD_SESSION_ALIVE;
}

static bool
cond_uses_number(const struct coord_cond *c)
{
    return c->kind == COORD_VERSION_EQ || c->kind == COORD_VERSION_LE ||
           c->kind == COORD_SESSION_ALIVE;
}

static bool
op_uses_value(const struct coord_op *o)
{
    return o->kind == COORD_PUT || o->kind == COORD_PUT_EPHEMERAL;
}

static bool
op_uses_number(const struct coord_op *o)
{
    return o->kind == COORD_ADD || o->kind == COORD_PUT_EPHEMERAL;
}

static C2_RESULT
check_key(struct c2_slice key, bool may_be_empty)
{
    if (key.len > COORD_KEY_MAX)
        return C2_E_TOO_LARGE;
    if (key.len > 0 && key.data[0] == REPLICA_SYSTEM_KEY)
        return C2_E_INVALID;
    return key.len > 0 || may_be_empty ? C2_E_OK : C2_E_INVALID;
}

/* Adds what the condition takes when encoded. */
static C2_RESULT
check_cond(const struct coord_cond *c, size_t *bytes)
{
    if (c->kind > COORD_SESSION_ALIVE)
        return C2_E_INVALID;
    *bytes += 1;
    if (cond_uses_key(c)) {
        C2_TRY(check_key(c->key, false));
        *bytes += 4 + c->key.len;
    }
    if (c->kind == COORD_VALUE_EQ) {
        if (c->value.len > COORD_VALUE_MAX)
            return C2_E_TOO_LARGE;
        *bytes += 4 + c->value.len;
    }
    if (cond_uses_number(c))
        *bytes += 8;
    return C2_E_OK;
}

static C2_RESULT
check_op(const struct coord_op *o, size_t *bytes)
{
    if (o->kind > COORD_PUT_EPHEMERAL)
        return C2_E_INVALID;
    C2_TRY(check_key(o->key, false));
    *bytes += 1 + 4 + o->key.len;
    if (op_uses_value(o)) {
        if (o->value.len > COORD_VALUE_MAX)
            return C2_E_TOO_LARGE;
        *bytes += 4 + o->value.len;
    }
    if (op_uses_number(o))
        *bytes += 8;
    return C2_E_OK;
}

static C2_RESULT
check_txn(const struct coord_req *r)
{
    if (r->nconds > COORD_TXN_CONDS_MAX || r->nops > COORD_TXN_OPS_MAX)
        return C2_E_TOO_LARGE;
    size_t bytes = TXN_FIXED_LEN;
    for (size_t i = 0; i < r->nconds; i++)
        C2_TRY(check_cond(&r->conds[i], &bytes));
    for (size_t i = 0; i < r->nops; i++)
        C2_TRY(check_op(&r->ops[i], &bytes));
    return bytes <= COORD_TXN_BYTES_MAX ? C2_E_OK : C2_E_TOO_LARGE;
}

static C2_RESULT
check_range(const struct coord_req *r)
{
    if (r->nkeys != 1)
        return C2_E_INVALID;
    if (r->limit > COORD_RANGE_MAX)
        return C2_E_TOO_LARGE;
    C2_TRY(check_key(r->keys[0], true));
    return check_key(r->after, true);
}

C2_RESULT
cmd_check(const struct coord_req *r)
{
    switch (r->verb) {
    case COORD_TXN:
        return check_txn(r);
    case COORD_GET:
        if (r->nkeys > COORD_GET_KEYS_MAX)
            return C2_E_TOO_LARGE;
        for (size_t i = 0; i < r->nkeys; i++)
            C2_TRY(check_key(r->keys[i], false));
        return C2_E_OK;
    case COORD_RANGE:
        return check_range(r);
    case COORD_SESSION_OPEN:
        return r->ttl_ns >= COORD_TTL_NS_MIN && r->ttl_ns <= COORD_TTL_NS_MAX ? C2_E_OK
                                                                              : C2_E_INVALID;
    case COORD_LOG_READ:
        return r->limit <= COORD_REPLY_BYTES_MAX ? C2_E_OK : C2_E_TOO_LARGE;
    case COORD_SESSION_KEEPALIVE:
    case COORD_SESSION_CLOSE:
    case COORD_LOG_TRIM:
    case COORD_EXPIRE:
        return C2_E_OK;
    default:
        return C2_E_INVALID;
    }
}

/* --- requests -------------------------------------------------------------------------------- */

static void
encode_txn(const struct coord_req *r, struct c2_buf *out)
{
    c2_wr_u32(out, (uint32_t)r->nconds);
    for (size_t i = 0; i < r->nconds; i++) {
        const struct coord_cond *c = &r->conds[i];
        c2_wr_u8(out, WIRE_CODE(c->kind));
        if (cond_uses_key(c))
            c2_wr_bytes(out, c->key);
        if (c->kind == COORD_VALUE_EQ)
            c2_wr_bytes(out, c->value);
        if (cond_uses_number(c))
            c2_wr_u64(out, c->number);
    }
    c2_wr_u32(out, (uint32_t)r->nops);
    for (size_t i = 0; i < r->nops; i++) {
        const struct coord_op *o = &r->ops[i];
        c2_wr_u8(out, WIRE_CODE(o->kind));
        c2_wr_bytes(out, o->key);
        if (op_uses_value(o))
            c2_wr_bytes(out, o->value);
        if (op_uses_number(o))
            c2_wr_i64(out, o->number);
    }
}

static void
encode_keys(const struct coord_req *r, struct c2_buf *out)
{
    c2_wr_u32(out, (uint32_t)r->nkeys);
    for (size_t i = 0; i < r->nkeys; i++)
        c2_wr_bytes(out, r->keys[i]);
}

void
coord_txn_encode(const struct coord_req *r, struct c2_buf *out)
{
    C2_ASSERT(cmd_check(r) == C2_E_OK);
    c2_wr_u8(out, FORMAT);
    c2_wr_u8(out, WIRE_CODE(r->verb));
    switch (r->verb) {
    case COORD_TXN:
        encode_txn(r, out);
        break;
    case COORD_GET:
        encode_keys(r, out);
        break;
    case COORD_RANGE:
        c2_wr_bytes(out, r->keys[0]);
        c2_wr_bytes(out, r->after);
        c2_wr_u32(out, (uint32_t)r->limit);
        break;
    case COORD_SESSION_OPEN:
        c2_wr_u64(out, r->ttl_ns);
        break;
    case COORD_SESSION_KEEPALIVE:
    case COORD_SESSION_CLOSE:
        c2_wr_u64(out, r->session);
        break;
    case COORD_LOG_READ:
        c2_wr_u64(out, r->version_in);
        c2_wr_u32(out, (uint32_t)r->limit);
        break;
    case COORD_LOG_TRIM:
        c2_wr_u64(out, r->version_in);
        break;
    case COORD_EXPIRE:
        break;
    }
}

/* Makes room for count items of size bytes; what was there is not kept. */
static void
make_room(void **array, size_t *cap, size_t count, size_t size)
{
    if (*cap >= count)
        return;
    c2_free(*array);
    *array = c2_calloc(count, size);
    *cap = count;
}

/* A code from the wire as an enumerator, 0 and a failed cursor when it is none. */
static unsigned
read_code(struct c2_rd *r, unsigned last)
{
    unsigned code = c2_rd_u8(r);
    if (code == 0 || code > last + 1) {
        c2_rd_fail(r);
        return 0;
    }
    return code - 1;
}

/* A count, bounded by its limit and by what the bytes left can hold. */
static size_t
read_count(struct c2_rd *r, size_t max)
{
    size_t n = c2_rd_u32(r);
    if (n > max || n > c2_rd_left(r)) {
        c2_rd_fail(r);
        return 0;
    }
    return n;
}

static void
decode_conds(struct c2_rd *r, struct cmd *c)
{
    size_t n = read_count(r, COORD_TXN_CONDS_MAX);
    void *room = c->conds;
    make_room(&room, &c->conds_cap, n, sizeof *c->conds);
    c->conds = room;
    for (size_t i = 0; i < n; i++) {
        struct coord_cond d = { 0 };
        d.kind = (enum coord_cond_kind)read_code(r, COORD_SESSION_ALIVE);
        if (cond_uses_key(&d))
            d.key = c2_rd_bytes(r, COORD_KEY_MAX);
        if (d.kind == COORD_VALUE_EQ)
            d.value = c2_rd_bytes(r, COORD_VALUE_MAX);
        if (cond_uses_number(&d))
            d.number = c2_rd_u64(r);
        c->conds[i] = d;
    }
    c->req.conds = c->conds;
    c->req.nconds = n;
}

static void
decode_ops(struct c2_rd *r, struct cmd *c)
{
    size_t n = read_count(r, COORD_TXN_OPS_MAX);
    void *room = c->ops;
    make_room(&room, &c->ops_cap, n, sizeof *c->ops);
    c->ops = room;
    for (size_t i = 0; i < n; i++) {
        struct coord_op o = { 0 };
        o.kind = (enum coord_op_kind)read_code(r, COORD_PUT_EPHEMERAL);
        o.key = c2_rd_bytes(r, COORD_KEY_MAX);
        if (op_uses_value(&o))
            o.value = c2_rd_bytes(r, COORD_VALUE_MAX);
        if (op_uses_number(&o))
            o.number = c2_rd_i64(r);
        c->ops[i] = o;
    }
    c->req.ops = c->ops;
    c->req.nops = n;
}

static void
decode_keys(struct c2_rd *r, struct cmd *c, size_t n)
{
    void *room = c->keys;
    make_room(&room, &c->keys_cap, n, sizeof *c->keys);
    c->keys = room;
    for (size_t i = 0; i < n; i++)
        c->keys[i] = c2_rd_bytes(r, COORD_KEY_MAX);
    c->req.keys = c->keys;
    c->req.nkeys = n;
}

static void
decode_body(struct c2_rd *r, struct cmd *c)
{
    switch (c->req.verb) {
    case COORD_TXN:
        decode_conds(r, c);
        decode_ops(r, c);
        break;
    case COORD_GET:
        decode_keys(r, c, read_count(r, COORD_GET_KEYS_MAX));
        break;
    case COORD_RANGE:
        decode_keys(r, c, 1);
        c->req.after = c2_rd_bytes(r, COORD_KEY_MAX);
        c->req.limit = c2_rd_u32(r);
        break;
    case COORD_SESSION_OPEN:
        c->req.ttl_ns = c2_rd_u64(r);
        break;
    case COORD_SESSION_KEEPALIVE:
    case COORD_SESSION_CLOSE:
        c->req.session = c2_rd_u64(r);
        break;
    case COORD_LOG_READ:
        c->req.version_in = c2_rd_u64(r);
        c->req.limit = c2_rd_u32(r);
        break;
    case COORD_LOG_TRIM:
        c->req.version_in = c2_rd_u64(r);
        break;
    case COORD_EXPIRE:
        break;
    }
}

C2_RESULT
cmd_decode(struct c2_slice in, struct cmd *c)
{
    struct c2_rd r = c2_rd_init(in);
    c->req = (struct coord_req){ 0 };
    if (c2_rd_u8(&r) != FORMAT)
        return C2_E_PARSE;
    c->req.verb = (enum coord_verb)read_code(&r, COORD_EXPIRE);
    if (!c2_rd_ok(&r))
        return C2_E_PARSE;
    decode_body(&r, c);
    C2_TRY(c2_rd_finish(&r));
    return cmd_check(&c->req);
}

void
cmd_done(struct cmd *c)
{
    c2_free(c->conds);
    c2_free(c->ops);
    c2_free(c->keys);
    *c = (struct cmd){ 0 };
}

/* --- answers --------------------------------------------------------------------------------- */

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
    size_t n = read_count(&in, COORD_RANGE_MAX);
    if (!c2_rd_ok(&in) || status >= C2_ARRAY_LEN(status_codes) || more > 1)
        return C2_E_PROTOCOL;
    r->more = more == 1;
    if (r->verb == COORD_SESSION_OPEN)
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
