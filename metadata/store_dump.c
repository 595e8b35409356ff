/* SPDX-License-Identifier: MIT */
/*
 * Snapshots. A dump is a stream of chunks, each
 *
 *   u8 format, u8 kind, u64 number from 0, then by kind
 *   HEAD      u64 version, u64 clock
 *   SESSIONS  (u64 id, u64 ttl, u64 deadline) repeated, ascending
 *   ENTRIES   (bytes key, bytes value, u64 version, u64 session) repeated, keys ascending
 *   END       u64 entries, u64 sessions, chain over all chunks before
 *
 * in that order; chain = SHA-256(chain, chunk), from zeros. A restore takes them one by one, each
 * durable; the state record says `loading` from the first to the last, so that half a snapshot can
 * never be taken for a store.
 */
#include "metadata/store_int.h"

#include <string.h>

#include "base/crypto.h"
#include "base/wire.h"

#define FORMAT           1
#define SESSION_DUMP_LEN 24
#define END_LEN          48
/* A chunk is closed when the largest record might not fit any more. */
#define CHUNK_CLOSE (REPLICA_CHUNK_MAX - COORD_KEY_MAX - COORD_VALUE_MAX - 64)

enum { HEAD = 1, SESSIONS, ENTRIES, END };

/* --- dump ------------------------------------------------------------------------------------ */

struct dump {
    struct kv_txn *txn; /* borrowed */
    enum c2_err (*fn)(void *arg, struct c2_slice chunk);
    void *arg;
    struct c2_buf chunk; /* owned */
    uint8_t chain[C2_SHA256_LEN];
    uint64_t seq;
    uint64_t nentries;
    uint64_t nsessions;
};

static void
extend_chain(uint8_t chain[C2_SHA256_LEN], struct c2_slice chunk)
{
    const struct c2_slice in[] = { c2_slice(chain, C2_SHA256_LEN), chunk };
    uint8_t next[C2_SHA256_LEN];
    c2_sha256_v(in, C2_ARRAY_LEN(in), next);
    memcpy(chain, next, sizeof next);
}

static void
open_chunk(struct dump *d, uint8_t kind)
{
    c2_buf_clear(&d->chunk);
    c2_wr_u8(&d->chunk, FORMAT);
    c2_wr_u8(&d->chunk, kind);
    c2_wr_u64(&d->chunk, d->seq++);
}

static C2_RESULT
send_chunk(struct dump *d)
{
    C2_ASSERT(d->chunk.len <= REPLICA_CHUNK_MAX);
    extend_chain(d->chain, c2_buf_slice(&d->chunk));
    return d->fn(d->arg, c2_buf_slice(&d->chunk));
}

static C2_RESULT
dump_sessions(struct dump *d)
{
    struct c2_slice key;
    struct c2_slice value;
    open_chunk(d, SESSIONS);
    enum c2_err err = kv_seek(d->txn, KV_SESSION, c2_slice(NULL, 0), &key, &value);
    for (; err == C2_E_OK; err = kv_next(d->txn, KV_SESSION, &key, &value)) {
        if (key.len != 8 || value.len < 16)
            return C2_E_DAMAGED;
        c2_wr_u64(&d->chunk, c2_get_be64(key.data));
        c2_wr_raw(&d->chunk, value.data, 16);
        d->nsessions++;
    }
    if (err != C2_E_NOT_FOUND)
        return err;
    return send_chunk(d);
}

_Static_assert(COORD_SESSIONS_MAX *SESSION_DUMP_LEN + 64 <= REPLICA_CHUNK_MAX,
               "the sessions fit into one chunk");

static C2_RESULT
dump_entries(struct dump *d)
{
    struct c2_slice key;
    struct c2_slice record;
    open_chunk(d, ENTRIES);
    enum c2_err err = kv_seek(d->txn, KV_DATA, c2_slice(NULL, 0), &key, &record);
    for (; err == C2_E_OK; err = kv_next(d->txn, KV_DATA, &key, &record)) {
        struct store_entry e;
        C2_TRY(store_parse_entry(record, &e));
        if (d->chunk.len > CHUNK_CLOSE) {
            C2_TRY(send_chunk(d));
            open_chunk(d, ENTRIES);
        }
        c2_wr_bytes(&d->chunk, key);
        c2_wr_bytes(&d->chunk, e.value);
        c2_wr_u64(&d->chunk, e.version);
        c2_wr_u64(&d->chunk, e.session);
        d->nentries++;
    }
    if (err != C2_E_NOT_FOUND)
        return err;
    return send_chunk(d);
}

static C2_RESULT
dump_all(struct dump *d, uint64_t *ret_version)
{
    struct store_state s;
    C2_TRY(store_read_state(d->txn, &s));
    if (s.loading)
        return C2_E_UNAVAILABLE;
    open_chunk(d, HEAD);
    c2_wr_u64(&d->chunk, s.version);
    c2_wr_u64(&d->chunk, s.now_ns);
    C2_TRY(send_chunk(d));
    C2_TRY(dump_sessions(d));
    C2_TRY(dump_entries(d));
    open_chunk(d, END);
    c2_wr_u64(&d->chunk, d->nentries);
    c2_wr_u64(&d->chunk, d->nsessions);
    c2_wr_raw(&d->chunk, d->chain, sizeof d->chain);
    *ret_version = s.version;
    return send_chunk(d);
}

C2_RESULT
store_dump(struct replica_app *a, enum c2_err (*fn)(void *arg, struct c2_slice chunk), void *arg,
           uint64_t *ret_version)
{
    struct dump d = { .fn = fn, .arg = arg };
    C2_TRY(kv_begin(store_of(a)->kv, false, &d.txn));
    enum c2_err err = dump_all(&d, ret_version);
    c2_buf_done(&d.chunk);
    kv_abort(d.txn);
    return err;
}

/* --- restore --------------------------------------------------------------------------------- */

static C2_RESULT
load_head(struct store_batch *b, struct c2_rd *in)
{
    struct c2_slice key;
    struct c2_slice value;
    if (b->state.loading || b->state.version != 0)
        return C2_E_EXISTS;
    enum c2_err err = kv_seek(b->txn, KV_DATA, c2_slice(NULL, 0), &key, &value);
    if (err != C2_E_NOT_FOUND)
        return err == C2_E_OK ? C2_E_EXISTS : err;
    b->store->restore = (struct store_restore){ .active = true };
    b->state.loading = true;
    b->state.version = c2_rd_u64(in);
    b->state.now_ns = c2_rd_u64(in);
    b->state.trimmed = b->state.version;
    return C2_E_OK;
}

static C2_RESULT
load_sessions(struct store_batch *b, struct c2_rd *in)
{
    uint64_t last = 0;
    while (c2_rd_left(in) > 0) {
        uint64_t id = c2_rd_u64(in);
        struct store_session s = { 0 };
        s.ttl_ns = c2_rd_u64(in);
        s.deadline_ns = c2_rd_u64(in);
        bool good = id > last && id <= b->state.version && s.ttl_ns >= COORD_TTL_NS_MIN &&
                    s.ttl_ns <= COORD_TTL_NS_MAX;
        if (!c2_rd_ok(in) || !good || b->state.nsessions == COORD_SESSIONS_MAX)
            return C2_E_CORRUPT;
        C2_TRY(store_put_session(b, id, &s));
        last = id;
        b->store->restore.nsessions++;
    }
    return C2_E_OK;
}

static C2_RESULT
load_entry(struct store_batch *b, struct c2_slice key, const struct store_entry *e)
{
    struct store_restore *r = &b->store->restore;
    struct c2_slice last = c2_slice(r->last_key, r->last_key_len);
    if (key.len == 0 || c2_slice_compare(key, last) <= 0 || e->version > b->state.version)
        return C2_E_CORRUPT;
    if (e->session != 0) {
        struct store_session s;
        enum c2_err err = store_get_session(b->txn, e->session, &s);
        if (err != C2_E_OK)
            return err == C2_E_NOT_FOUND ? C2_E_CORRUPT : err;
    }
    C2_TRY(store_change(b, key, e));
    memcpy(r->last_key, key.data, key.len);
    r->last_key_len = key.len;
    r->nentries++;
    return C2_E_OK;
}

static C2_RESULT
load_entries(struct store_batch *b, struct c2_rd *in)
{
    while (c2_rd_left(in) > 0) {
        struct c2_slice key = c2_rd_bytes(in, COORD_KEY_MAX);
        struct store_entry e = { 0 };
        e.value = c2_rd_bytes(in, COORD_VALUE_MAX);
        e.version = c2_rd_u64(in);
        e.session = c2_rd_u64(in);
        if (!c2_rd_ok(in))
            return C2_E_CORRUPT;
        C2_TRY(load_entry(b, key, &e));
    }
    return C2_E_OK;
}

static C2_RESULT
load_end(struct store_batch *b, struct c2_rd *in)
{
    struct store_restore *r = &b->store->restore;
    uint64_t nentries = c2_rd_u64(in);
    uint64_t nsessions = c2_rd_u64(in);
    uint8_t want[C2_SHA256_LEN];
    c2_rd_copy(in, want, sizeof want);
    if (!c2_rd_ok(in) || nentries != r->nentries || nsessions != r->nsessions ||
        memcmp(want, r->chain, sizeof want) != 0)
        return C2_E_CORRUPT;
    b->state.loading = false;
    r->active = false;
    return C2_E_OK;
}

static C2_RESULT
load_body(struct store_batch *b, uint8_t kind, struct c2_rd *in)
{
    switch (kind) {
    case HEAD:
        return load_head(b, in);
    case SESSIONS:
        return load_sessions(b, in);
    case ENTRIES:
        return load_entries(b, in);
    case END:
        return load_end(b, in);
    default:
        return C2_E_CORRUPT;
    }
}

static C2_RESULT
load_chunk(struct store_batch *b, struct c2_slice chunk)
{
    struct store_restore *r = &b->store->restore;
    struct c2_rd in = c2_rd_init(chunk);
    uint8_t format = c2_rd_u8(&in);
    uint8_t kind = c2_rd_u8(&in);
    uint64_t seq = c2_rd_u64(&in);
    if (!c2_rd_ok(&in) || (kind == HEAD) != (seq == 0))
        return C2_E_CORRUPT;
    if (format != FORMAT)
        return C2_E_VERSION;
    if (kind != HEAD && (!r->active || seq != r->seq))
        return C2_E_CORRUPT;
    C2_TRY(load_body(b, kind, &in));
    if (c2_rd_finish(&in) != C2_E_OK)
        return C2_E_CORRUPT;
    b->changed = true;
    C2_TRY(b->base.app->ops->commit(&b->base));
    extend_chain(r->chain, chunk);
    r->seq = seq + 1;
    return C2_E_OK;
}

C2_RESULT
store_restore(struct replica_app *a, struct c2_slice chunk)
{
    struct store_batch *b = NULL;
    if (chunk.len > REPLICA_CHUNK_MAX)
        return C2_E_TOO_LARGE;
    struct store *s = store_of(a);
    C2_TRY(store_batch_begin(s, &b));
    struct store_restore before = s->restore;
    enum c2_err err = load_chunk(b, chunk);
    a->ops->end(&b->base);
    if (err != C2_E_OK)
        s->restore = before; /* the chunk may come again */
    return err;
}
