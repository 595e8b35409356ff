/* SPDX-License-Identifier: MIT */
#include "fs/ship_format.h"

#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"

#define MAGIC_LEN      8
#define ENTRY_HEAD_LEN 12 /* version, length */
#define RECORD_VERSION 1

static const char object_magic[MAGIC_LEN] = { 'C', '2', 'F', 'S', 'L', 'O', 'G', '\0' };
static const char index_magic[MAGIC_LEN] = { 'C', '2', 'F', 'S', 'C', 'K', 'P', '\0' };
static const char head_magic[MAGIC_LEN] = { 'C', '2', 'F', 'S', 'H', 'E', 'A', 'D' };

/* ---- parts ---------------------------------------------------------------------------------- */

int
ship_position_compare(const struct ship_position *a, const struct ship_position *b)
{
    if (a->generation != b->generation)
        return a->generation < b->generation ? -1 : 1;
    if (a->seq != b->seq)
        return a->seq < b->seq ? -1 : 1;
    return 0;
}

static void
put_position(struct c2_buf *out, const struct ship_position *p)
{
    c2_wr_u64(out, p->generation);
    c2_wr_u64(out, p->seq);
    c2_wr_raw(out, p->hash, sizeof(p->hash));
    ds_ref_encode(&p->ref, out);
    c2_wr_u64(out, p->version);
}

static void
get_position(struct c2_rd *r, struct ship_position *p)
{
    *p = (struct ship_position){ .generation = c2_rd_u64(r) };
    p->seq = c2_rd_u64(r);
    c2_rd_copy(r, p->hash, sizeof(p->hash));
    p->ref = ds_ref_decode(r);
    p->version = c2_rd_u64(r);
    if (p->generation > SHIP_GENERATION_MAX)
        c2_rd_fail(r);
}

static void
put_checkpoint(struct c2_buf *out, const struct ship_checkpoint *c)
{
    c2_wr_u64(out, c->generation);
    c2_wr_u64(out, c->number);
    c2_wr_u64(out, c->version);
    c2_wr_u64(out, c->wall_ns);
    c2_wr_u64(out, c->bytes);
    put_position(out, &c->journal);
}

static void
get_checkpoint(struct c2_rd *r, struct ship_checkpoint *c)
{
    *c = (struct ship_checkpoint){ .generation = c2_rd_u64(r) };
    c->number = c2_rd_u64(r);
    c->version = c2_rd_u64(r);
    c->wall_ns = c2_rd_u64(r);
    c->bytes = c2_rd_u64(r);
    get_position(r, &c->journal);
    if (c->generation > SHIP_GENERATION_MAX || c->number > UINT64_MAX >> 16)
        c2_rd_fail(r);
}

/* What the signature is made of: the hash, bound to its kind of use by the magic. */
static void
sign(const uint8_t secret[C2_ED25519_SECRET_LEN], const char magic[MAGIC_LEN],
     const uint8_t hash[C2_SHA256_LEN], struct c2_buf *out)
{
    uint8_t what[MAGIC_LEN + C2_SHA256_LEN];
    memcpy(what, magic, MAGIC_LEN);
    memcpy(what + MAGIC_LEN, hash, C2_SHA256_LEN);
    c2_ed25519_sign(secret, c2_slice(what, sizeof(what)), c2_buf_extend(out, C2_ED25519_SIG_LEN));
}

static C2_RESULT
check_sign(const uint8_t device[C2_ED25519_PUBLIC_LEN], const char magic[MAGIC_LEN],
           const uint8_t hash[C2_SHA256_LEN], const uint8_t *sig)
{
    uint8_t what[MAGIC_LEN + C2_SHA256_LEN];
    memcpy(what, magic, MAGIC_LEN);
    memcpy(what + MAGIC_LEN, hash, C2_SHA256_LEN);
    if (c2_ed25519_verify(device, c2_slice(what, sizeof(what)), sig) != C2_E_OK)
        return C2_E_CORRUPT;
    return C2_E_OK;
}

/* magic, format, uuid. */
static void
put_head(struct c2_buf *out, const char magic[MAGIC_LEN], const uint8_t uuid[16])
{
    c2_wr_raw(out, magic, MAGIC_LEN);
    c2_wr_u16(out, SHIP_FORMAT_VERSION);
    c2_wr_raw(out, uuid, 16);
}

static C2_RESULT
get_head(struct c2_rd *r, const char magic[MAGIC_LEN], const uint8_t uuid[16])
{
    struct c2_slice m = c2_rd_raw(r, MAGIC_LEN);
    uint16_t format = c2_rd_u16(r);
    if (!c2_rd_ok(r) || memcmp(m.data, magic, MAGIC_LEN) != 0)
        return C2_E_PARSE;
    if (format != SHIP_FORMAT_VERSION)
        return C2_E_VERSION;
    struct c2_slice u = c2_rd_raw(r, 16);
    if (!c2_rd_ok(r) || memcmp(u.data, uuid, 16) != 0)
        return C2_E_PARSE;
    return C2_E_OK;
}

/* ---- log ------------------------------------------------------------------------------------ */

C2_RESULT
ship_log_check(struct c2_slice log, uint64_t after, uint64_t *ret_version, uint64_t *ret_time_ns)
{
    struct c2_rd r = c2_rd_init(log);
    uint64_t version = after, time_ns = 0;
    while (c2_rd_left(&r) > 0) {
        uint64_t v = c2_rd_u64(&r);
        struct c2_slice entry = c2_rd_bytes(&r, SHIP_LOG_MAX);
        if (!c2_rd_ok(&r) || version == UINT64_MAX || v != version + 1 || entry.len < 8)
            return C2_E_PARSE;
        time_ns = c2_get_u64(entry.data);
        version = v;
    }
    *ret_version = version;
    *ret_time_ns = time_ns;
    return C2_E_OK;
}

struct c2_slice
ship_log_after(struct c2_slice log, uint64_t after)
{
    while (log.len > 0 && c2_get_u64(log.data) <= after) {
        size_t len = ENTRY_HEAD_LEN + (size_t)c2_get_u32(log.data + 8);
        C2_ASSERT(len <= log.len);
        log = c2_slice(log.data + len, log.len - len);
    }
    return log;
}

/* ---- journal objects ------------------------------------------------------------------------ */

void
ship_object_encode(struct ship_object *o, const uint8_t secret[C2_ED25519_SECRET_LEN],
                   struct c2_buf *out)
{
    C2_ASSERT(o->generation >= 1 && o->generation <= SHIP_GENERATION_MAX);
    size_t start = out->len;
    memcpy(o->device, secret + 32, sizeof(o->device)); /* libsodium: seed, public key */
    put_head(out, object_magic, o->uuid);
    c2_wr_u8(out, (uint8_t)o->kind);
    c2_wr_u64(out, o->generation);
    c2_wr_u64(out, o->seq);
    put_position(out, &o->base);
    c2_wr_u64(out, o->version);
    c2_wr_u64(out, o->time_ns);
    c2_wr_raw(out, o->device, sizeof(o->device));
    c2_wr_bytes(out, o->log);
    c2_sha256(c2_slice(out->data + start, out->len - start), o->hash);
    sign(secret, object_magic, o->hash, out);
}

/* An object continues the one before it in its generation; the first one may go on anywhere in an
 * older generation. */
static C2_RESULT
check_object(const struct ship_object *o)
{
    const struct ship_position *b = &o->base;
    uint64_t version, time_ns;
    if (o->generation < 1 || o->generation > SHIP_GENERATION_MAX)
        return C2_E_PARSE;
    bool first = o->seq == 0 && b->generation < o->generation;
    bool next = o->seq > 0 && b->generation == o->generation && b->seq == o->seq;
    if (!first && !next)
        return C2_E_PARSE;
    C2_TRY(ship_log_check(o->log, b->version, &version, &time_ns));
    if (version != o->version || time_ns != o->time_ns)
        return C2_E_PARSE;
    return (o->log.len == 0) == (o->kind == SHIP_SEAL) ? C2_E_OK : C2_E_PARSE;
}

C2_RESULT
ship_object_decode(struct c2_slice in, const uint8_t uuid[16], struct ship_object *ret_object)
{
    struct c2_rd r = c2_rd_init(in);
    struct ship_object o = { .kind = SHIP_LOG };
    C2_TRY(get_head(&r, object_magic, uuid));
    memcpy(o.uuid, uuid, sizeof(o.uuid));
    uint8_t kind = c2_rd_u8(&r);
    o.generation = c2_rd_u64(&r);
    o.seq = c2_rd_u64(&r);
    get_position(&r, &o.base);
    o.version = c2_rd_u64(&r);
    o.time_ns = c2_rd_u64(&r);
    c2_rd_copy(&r, o.device, sizeof(o.device));
    o.log = c2_rd_bytes(&r, SHIP_LOG_MAX);
    size_t signed_len = r.pos;
    struct c2_slice sig = c2_rd_raw(&r, C2_ED25519_SIG_LEN);
    C2_TRY(c2_rd_finish(&r));
    if (kind != SHIP_LOG && kind != SHIP_SEAL)
        return C2_E_PARSE;
    o.kind = (enum ship_kind)kind;
    C2_TRY(check_object(&o));
    c2_sha256(c2_slice(in.data, signed_len), o.hash);
    C2_TRY(check_sign(o.device, object_magic, o.hash, sig.data));
    *ret_object = o;
    return C2_E_OK;
}

/* ---- checkpoints ---------------------------------------------------------------------------- */

void
ship_index_encode(struct ship_index *x, const uint8_t secret[C2_ED25519_SECRET_LEN],
                  struct c2_buf *out)
{
    C2_ASSERT(x->nparts >= 1 && x->nparts <= SHIP_PARTS_MAX);
    size_t start = out->len;
    uint8_t hash[C2_SHA256_LEN];
    memcpy(x->device, secret + 32, sizeof(x->device));
    put_head(out, index_magic, x->uuid);
    put_checkpoint(out, &x->checkpoint);
    c2_wr_bytes(out, x->id);
    c2_wr_bytes(out, x->config);
    c2_wr_bytes(out, c2_slice(x->volume_key, x->has_key ? C2_KEY_LEN : 0));
    c2_wr_raw(out, x->device, sizeof(x->device));
    c2_wr_u32(out, (uint32_t)x->nparts);
    for (size_t k = 0; k < x->nparts; k++)
        ds_ref_encode(&x->parts[k], out);
    c2_sha256(c2_slice(out->data + start, out->len - start), hash);
    sign(secret, index_magic, hash, out);
}

static void
get_parts(struct c2_rd *r, struct ship_index *x)
{
    uint32_t n = c2_rd_u32(r);
    if (!c2_rd_ok(r) || n < 1 || n > SHIP_PARTS_MAX || c2_rd_left(r) / DS_REF_LEN < n) {
        c2_rd_fail(r);
        return;
    }
    x->parts = c2_calloc(n, sizeof(*x->parts));
    x->nparts = n;
    for (uint32_t k = 0; k < n; k++) {
        struct ds_ref *p = &x->parts[k];
        *p = ds_ref_decode(r);
        if (p->plain_len < 1 || p->plain_len > SHIP_PART_MAX)
            c2_rd_fail(r);
    }
}

static C2_RESULT
get_index(struct c2_rd *r, struct ship_index *x)
{
    C2_TRY(get_head(r, index_magic, x->uuid));
    get_checkpoint(r, &x->checkpoint);
    x->id = c2_rd_bytes(r, SHIP_RECORD_MAX);
    x->config = c2_rd_bytes(r, SHIP_RECORD_MAX);
    struct c2_slice key = c2_rd_bytes(r, C2_KEY_LEN);
    c2_rd_copy(r, x->device, sizeof(x->device));
    get_parts(r, x);
    uint8_t hash[C2_SHA256_LEN];
    size_t signed_len = r->pos;
    struct c2_slice sig = c2_rd_raw(r, C2_ED25519_SIG_LEN);
    C2_TRY(c2_rd_finish(r));
    if (key.len != 0 && key.len != C2_KEY_LEN)
        return C2_E_PARSE;
    x->has_key = key.len != 0;
    if (x->has_key)
        memcpy(x->volume_key, key.data, C2_KEY_LEN);
    c2_sha256(c2_slice(r->data, signed_len), hash);
    return check_sign(x->device, index_magic, hash, sig.data);
}

C2_RESULT
ship_index_decode(struct c2_slice in, const uint8_t uuid[16], struct ship_index *ret_index)
{
    struct c2_rd r = c2_rd_init(in);
    struct ship_index x = { 0 };
    memcpy(x.uuid, uuid, sizeof(x.uuid));
    enum c2_err err = get_index(&r, &x);
    if (err == C2_E_OK) {
        *ret_index = x;
    } else {
        c2_free(x.parts);
    }
    c2_wipe(x.volume_key, sizeof(x.volume_key));
    return err;
}

/* ---- local ---------------------------------------------------------------------------------- */

void
ship_record_encode(const struct ship_record *r, struct c2_buf *out)
{
    C2_ASSERT(r->ncheckpoints <= SHIP_CHECKPOINTS_MAX);
    c2_wr_u8(out, RECORD_VERSION);
    put_position(out, &r->at);
    c2_wr_u64(out, r->cost);
    c2_wr_u64(out, r->log_bytes);
    c2_wr_u8(out, (uint8_t)r->ncheckpoints);
    for (size_t k = 0; k < r->ncheckpoints; k++)
        put_checkpoint(out, &r->checkpoints[k]);
}

C2_RESULT
ship_record_decode(struct c2_slice in, struct ship_record *ret_record)
{
    struct c2_rd r = c2_rd_init(in);
    struct ship_record x = { 0 };
    if (c2_rd_u8(&r) != RECORD_VERSION)
        return C2_E_VERSION;
    get_position(&r, &x.at);
    x.cost = c2_rd_u64(&r);
    x.log_bytes = c2_rd_u64(&r);
    x.ncheckpoints = c2_rd_u8(&r);
    if (x.ncheckpoints > SHIP_CHECKPOINTS_MAX)
        return C2_E_PARSE;
    for (size_t k = 0; k < x.ncheckpoints; k++)
        get_checkpoint(&r, &x.checkpoints[k]);
    C2_TRY(c2_rd_finish(&r));
    *ret_record = x;
    return C2_E_OK;
}

void
ship_head_encode(const uint8_t uuid[16], const struct ship_position *at, struct c2_buf *out)
{
    size_t start = out->len;
    put_head(out, head_magic, uuid);
    put_position(out, at);
    uint8_t hash[C2_SHA256_LEN];
    c2_sha256(c2_slice(out->data + start, out->len - start), hash);
    c2_wr_raw(out, hash, sizeof(hash));
}

C2_RESULT
ship_head_decode(struct c2_slice in, const uint8_t uuid[16], struct ship_position *ret)
{
    struct c2_rd r = c2_rd_init(in);
    struct ship_position p;
    uint8_t hash[C2_SHA256_LEN], want[C2_SHA256_LEN];
    C2_TRY(get_head(&r, head_magic, uuid));
    get_position(&r, &p);
    size_t len = r.pos;
    c2_rd_copy(&r, want, sizeof(want));
    C2_TRY(c2_rd_finish(&r));
    c2_sha256(c2_slice(in.data, len), hash);
    if (memcmp(hash, want, sizeof(hash)) != 0)
        return C2_E_CORRUPT;
    *ret = p;
    return C2_E_OK;
}
