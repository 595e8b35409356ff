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

#define FORMAT        1
#define TXN_FIXED_LEN 10 /* format, verb, two counts */

#define COORD_ALL_RIGHTS (COORD_MAY_READ | COORD_MAY_WRITE | COORD_MAY_ADMINISTER)

/* Codes on the wire are the enumerators plus one: zero is never valid. */
#define WIRE_CODE(e) ((uint8_t)((e) + 1))

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

static C2_RESULT
check_acl_set(const struct coord_req *r)
{
    if (r->nkeys != 1)
        return C2_E_INVALID;
    if (r->keys[0].len > COORD_ACL_PREFIX_MAX || r->ngrants > COORD_ACL_GRANTS_MAX)
        return C2_E_TOO_LARGE;
    for (size_t i = 0; i < r->ngrants; i++) {
        const struct coord_grant *g = &r->grants[i];
        if (g->rights == 0 || g->rights > COORD_ALL_RIGHTS ||
            (i > 0 && memcmp(g[-1].key, g->key, sizeof g->key) >= 0))
            return C2_E_INVALID;
    }
    return check_key(r->keys[0], true);
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
    case COORD_ACL_SET:
        return check_acl_set(r);
    case COORD_ACL_LIST:
        return r->limit <= COORD_RANGE_MAX ? check_key(r->after, true) : C2_E_TOO_LARGE;
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
encode_key(struct c2_slice prefix, struct c2_slice key, struct c2_buf *out)
{
    c2_wr_u32(out, (uint32_t)(prefix.len + key.len));
    c2_wr_raw(out, prefix.data, prefix.len);
    c2_wr_raw(out, key.data, key.len);
}

static void
encode_txn(const struct coord_req *r, struct c2_slice prefix, struct c2_buf *out)
{
    c2_wr_u32(out, (uint32_t)r->nconds);
    for (size_t i = 0; i < r->nconds; i++) {
        const struct coord_cond *c = &r->conds[i];
        c2_wr_u8(out, WIRE_CODE(c->kind));
        if (cond_uses_key(c))
            encode_key(prefix, c->key, out);
        if (c->kind == COORD_VALUE_EQ)
            c2_wr_bytes(out, c->value);
        if (cond_uses_number(c))
            c2_wr_u64(out, c->number);
    }
    c2_wr_u32(out, (uint32_t)r->nops);
    for (size_t i = 0; i < r->nops; i++) {
        const struct coord_op *o = &r->ops[i];
        c2_wr_u8(out, WIRE_CODE(o->kind));
        encode_key(prefix, o->key, out);
        if (op_uses_value(o))
            c2_wr_bytes(out, o->value);
        if (op_uses_number(o))
            c2_wr_i64(out, o->number);
    }
}

static void
encode_keys(const struct coord_req *r, struct c2_slice prefix, struct c2_buf *out)
{
    c2_wr_u32(out, (uint32_t)r->nkeys);
    for (size_t i = 0; i < r->nkeys; i++)
        encode_key(prefix, r->keys[i], out);
}

static void
encode_range(const struct coord_req *r, struct c2_slice prefix, struct c2_buf *out)
{
    encode_key(prefix, r->keys[0], out);
    encode_key(r->after.len > 0 ? prefix : c2_slice(NULL, 0), r->after, out);
    c2_wr_u32(out, (uint32_t)r->limit);
}

static void
encode_acl_set(const struct coord_req *r, struct c2_buf *out)
{
    c2_wr_bytes(out, r->keys[0]);
    c2_wr_u64(out, r->version_in);
    c2_wr_u32(out, (uint32_t)r->ngrants);
    for (size_t i = 0; i < r->ngrants; i++) {
        c2_wr_raw(out, r->grants[i].key, COORD_PRINCIPAL_LEN);
        c2_wr_u8(out, r->grants[i].rights);
    }
}

void
coord_txn_encode(const struct coord_req *r, struct c2_buf *out)
{
    cmd_encode(r, c2_slice(NULL, 0), out);
}

void
cmd_encode(const struct coord_req *r, struct c2_slice prefix, struct c2_buf *out)
{
    C2_ASSERT(cmd_check(r) == C2_E_OK && cmd_fits(r, prefix));
    c2_wr_u8(out, FORMAT);
    c2_wr_u8(out, WIRE_CODE(r->verb));
    switch (r->verb) {
    case COORD_TXN:
        encode_txn(r, prefix, out);
        break;
    case COORD_GET:
        encode_keys(r, prefix, out);
        break;
    case COORD_RANGE:
        encode_range(r, prefix, out);
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
    case COORD_ACL_SET:
        encode_acl_set(r, out);
        break;
    case COORD_ACL_LIST:
        c2_wr_bytes(out, r->after);
        c2_wr_u32(out, (uint32_t)r->limit);
        break;
    }
}

bool
cmd_fits(const struct coord_req *r, struct c2_slice prefix)
{
    size_t longest = 0;
    if (r->verb == COORD_ACL_SET || r->verb == COORD_ACL_LIST)
        return true;
    for (size_t i = 0; i < r->nconds && r->verb == COORD_TXN; i++)
        longest = C2_MAX(longest, cond_uses_key(&r->conds[i]) ? r->conds[i].key.len : 0);
    for (size_t i = 0; i < r->nops && r->verb == COORD_TXN; i++)
        longest = C2_MAX(longest, r->ops[i].key.len);
    bool reads = r->verb == COORD_GET || r->verb == COORD_RANGE;
    for (size_t i = 0; i < r->nkeys && reads; i++)
        longest = C2_MAX(longest, r->keys[i].len);
    if (r->verb == COORD_RANGE)
        longest = C2_MAX(longest, r->after.len);
    return longest + prefix.len <= COORD_KEY_MAX;
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
decode_acl_set(struct c2_rd *r, struct cmd *c)
{
    decode_keys(r, c, 1);
    c->req.version_in = c2_rd_u64(r);
    size_t n = read_count(r, COORD_ACL_GRANTS_MAX);
    void *room = c->grants;
    make_room(&room, &c->grants_cap, n, sizeof *c->grants);
    c->grants = room;
    for (size_t i = 0; i < n; i++) {
        c2_rd_copy(r, c->grants[i].key, COORD_PRINCIPAL_LEN);
        c->grants[i].rights = c2_rd_u8(r);
    }
    c->req.grants = c->grants;
    c->req.ngrants = n;
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
    case COORD_ACL_SET:
        decode_acl_set(r, c);
        break;
    case COORD_ACL_LIST:
        c->req.after = c2_rd_bytes(r, COORD_KEY_MAX);
        c->req.limit = c2_rd_u32(r);
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
    c->req.verb = (enum coord_verb)read_code(&r, COORD_ACL_LIST);
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
    c2_free(c->grants);
    *c = (struct cmd){ 0 };
}
