/* SPDX-License-Identifier: MIT */
/*
 * The digest of the state:
 *
 *   SHA-256("c2fs-state-1", version, clock, number of keys, tree root, SHA-256(sessions in order))
 *
 * The tree is a function of the set of key records. It is brought up to date lazily: before a key
 * changes, a record of the key and of its leaf in the tree (or that it has none) is appended to
 * KV_DIRTY; a fold replaces the leaves of all those keys at once and empties the table. It happens
 * when a digest is asked for, and whenever STORE_DIRTY_MAX records wait, so that neither the table
 * nor the work of a checkpoint grows without bound.
 *
 * A key may have several records; the first one counts, since only that one was written while the
 * tree was up to date. Most repetitions are avoided: a key whose version is above `folded` has
 * changed since the last fold and has its record.
 */
#include "metadata/store_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/wire.h"
#include "metadata/tree.h"

#define DIRTY_HEAD_LEN (1 + TREE_HASH_LEN) /* has a leaf, the leaf; then the key */

static const char digest_tag[] = "c2fs-state-1";

void
store_entry_hash(struct c2_slice key, const struct store_entry *e, uint8_t out[32])
{
    uint8_t head[20];
    c2_put_u64(head, e->version);
    c2_put_u64(head + 8, e->session);
    c2_put_u32(head + 16, (uint32_t)key.len);
    const struct c2_slice in[] = { c2_slice(head, sizeof head), key, e->value };
    c2_sha256_v(in, C2_ARRAY_LEN(in), out);
}

/* --- many at once ---------------------------------------------------------------------------- */

void
store_hashed_add(struct store_hashed *h, struct c2_slice key, const struct store_entry *e)
{
    C2_ASSERT(h->count < TREE_LEAF_MAX);
    uint8_t *p = c2_buf_extend(&h->bytes, STORE_HASHED_KEY_AT + key.len + e->value.len);
    c2_put_u64(p + STORE_HASHED_VERSION_AT, e->version);
    c2_put_u64(p + STORE_HASHED_SESSION_AT, e->session);
    c2_put_u32(p + STORE_HASHED_LENGTH_AT, (uint32_t)key.len);
    memcpy(p + STORE_HASHED_KEY_AT, key.data, key.len);
    if (e->value.len > 0)
        memcpy(p + STORE_HASHED_KEY_AT + key.len, e->value.data, e->value.len);
    h->end[h->count++] = h->bytes.len;
}

struct c2_slice
store_hashed_at(const struct store_hashed *h, size_t i)
{
    size_t from = i == 0 ? 0 : h->end[i - 1];
    return c2_slice(h->bytes.data + from, h->end[i] - from);
}

void
store_hashed_compute(struct store_hashed *h)
{
    struct c2_slice in[TREE_LEAF_MAX];
    uint8_t out[TREE_LEAF_MAX][TREE_HASH_LEN];
    for (size_t i = 0; i < h->count; i++) {
        struct c2_slice r = store_hashed_at(h, i);
        in[i] = c2_slice(r.data + TREE_HASH_LEN, r.len - TREE_HASH_LEN);
    }
    c2_sha256_many(in, h->count, out);
    for (size_t i = 0; i < h->count; i++)
        memcpy(h->bytes.data + (i == 0 ? 0 : h->end[i - 1]), out[i], TREE_HASH_LEN);
}

struct c2_slice
store_hashed_entry(struct c2_slice record, struct store_entry *ret_entry)
{
    size_t len = c2_get_u32(record.data + STORE_HASHED_LENGTH_AT);
    C2_ASSERT(record.len >= STORE_HASHED_KEY_AT && record.len - STORE_HASHED_KEY_AT >= len);
    ret_entry->version = c2_get_u64(record.data + STORE_HASHED_VERSION_AT);
    ret_entry->session = c2_get_u64(record.data + STORE_HASHED_SESSION_AT);
    ret_entry->value =
        c2_slice(record.data + STORE_HASHED_KEY_AT + len, record.len - STORE_HASHED_KEY_AT - len);
    return c2_slice(record.data + STORE_HASHED_KEY_AT, len);
}

void
store_hashed_clear(struct store_hashed *h)
{
    c2_buf_clear(&h->bytes);
    h->count = 0;
}

void
store_hashed_done(struct store_hashed *h)
{
    c2_buf_done(&h->bytes);
}

/* --- keeping the tree up to date ------------------------------------------------------------- */

C2_RESULT
store_mark_dirty(struct store_batch *b, struct c2_slice key, const struct store_entry *old)
{
    if (old != NULL && old->version > b->state.folded)
        return C2_E_OK;
    uint8_t number[8];
    uint8_t record[DIRTY_HEAD_LEN + COORD_KEY_MAX] = { 0 };
    record[0] = old != NULL;
    if (old != NULL)
        store_entry_hash(key, old, record + 1);
    memcpy(record + DIRTY_HEAD_LEN, key.data, key.len);
    c2_put_be64(number, b->state.ndirty++);
    return kv_append(b->txn, KV_DIRTY, c2_slice(number, sizeof number),
                     c2_slice(record, DIRTY_HEAD_LEN + key.len));
}

/* A record of KV_DIRTY. */
struct dirty {
    const uint8_t *record; /* borrowed */
    size_t len;
    size_t number;
};

static struct c2_slice
dirty_key(const struct dirty *d)
{
    return c2_slice(d->record + DIRTY_HEAD_LEN, d->len - DIRTY_HEAD_LEN);
}

static int
compare_dirty(const void *a, const void *b)
{
    const struct dirty *x = a;
    const struct dirty *y = b;
    int order = c2_slice_compare(dirty_key(x), dirty_key(y));
    if (order != 0)
        return order;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* Adds what replaces the key's leaf; nothing when it came back to what it was. */
static C2_RESULT
fold_key(struct store_batch *b, const struct dirty *d, struct c2_buf *ops)
{
    bool had = d->record[0] != 0;
    struct tree_op old = { .insert = false };
    struct tree_op new = { .insert = true };
    memcpy(old.hash, d->record + 1, TREE_HASH_LEN);
    struct store_entry e;
    enum c2_err err = store_get(b->txn, dirty_key(d), &e);
    if (err != C2_E_OK && err != C2_E_NOT_FOUND)
        return err;
    bool has = err == C2_E_OK;
    if (has)
        store_entry_hash(dirty_key(d), &e, new.hash);
    if (had && has && memcmp(old.hash, new.hash, TREE_HASH_LEN) == 0)
        return C2_E_OK;
    if (had)
        c2_buf_append(ops, &old, sizeof old);
    if (has)
        c2_buf_append(ops, &new, sizeof new);
    if (had)
        C2_TRY(store_index_leaf(b, old.hash, dirty_key(d), false));
    if (has)
        C2_TRY(store_index_leaf(b, new.hash, dirty_key(d), true));
    return C2_E_OK;
}

/* Copies all records; in the order of their keys. What lies in a table does not survive changes of
 * another one: a large transaction writes pages out and uses their memory again. */
static C2_RESULT
read_dirty(struct store_batch *b, struct dirty *list, struct c2_buf *bytes)
{
    struct c2_slice number;
    struct c2_slice record;
    size_t n = 0;
    enum c2_err err = kv_seek(b->txn, KV_DIRTY, c2_slice(NULL, 0), &number, &record);
    for (; err == C2_E_OK; err = kv_next(b->txn, KV_DIRTY, &number, &record)) {
        bool good = record.len > DIRTY_HEAD_LEN && record.len <= DIRTY_HEAD_LEN + COORD_KEY_MAX;
        if (!good || n == b->state.ndirty)
            return C2_E_DAMAGED;
        list[n] = (struct dirty){ NULL, record.len, n };
        c2_buf_append(bytes, record.data, record.len);
        n++;
    }
    if (err != C2_E_NOT_FOUND)
        return err;
    if (n != b->state.ndirty)
        return C2_E_DAMAGED;
    for (size_t i = 0, at = 0; i < n; at += list[i++].len)
        list[i].record = bytes->data + at;
    qsort(list, n, sizeof *list, compare_dirty);
    return C2_E_OK;
}

static C2_RESULT
fold(struct store_batch *b, struct dirty *list, struct c2_buf *bytes, struct c2_buf *ops)
{
    C2_TRY(read_dirty(b, list, bytes));
    for (size_t i = 0; i < b->state.ndirty; i++) {
        if (i == 0 || !c2_slice_equal(dirty_key(&list[i]), dirty_key(&list[i - 1])))
            C2_TRY(fold_key(b, &list[i], ops));
    }
    void *array = ops->data;
    C2_TRY(tree_apply(b->txn, array, ops->len / sizeof(struct tree_op)));
    C2_TRY(kv_clear(b->txn, KV_DIRTY));
    b->state.ndirty = 0;
    b->state.folded = C2_MAX(b->state.version, b->step); /* no key's version is higher */
    b->changed = true;
    return C2_E_OK;
}

C2_RESULT
store_fold(struct store_batch *b)
{
    if (b->state.ndirty > STORE_DIRTY_MAX)
        return C2_E_DAMAGED;
    struct dirty *list = c2_calloc((size_t)b->state.ndirty, sizeof *list);
    struct c2_buf bytes = { 0 };
    struct c2_buf ops = { 0 };
    enum c2_err err = fold(b, list, &bytes, &ops);
    c2_buf_done(&bytes);
    c2_buf_done(&ops);
    c2_free(list);
    return err;
}

/* --- the digest ------------------------------------------------------------------------------ */

static C2_RESULT
list_sessions(struct kv_txn *txn, struct c2_buf *list)
{
    struct c2_slice key;
    struct c2_slice value;
    enum c2_err err = kv_seek(txn, KV_SESSION, c2_slice(NULL, 0), &key, &value);
    for (; err == C2_E_OK; err = kv_next(txn, KV_SESSION, &key, &value)) {
        if (key.len != 8 || value.len < 16)
            return C2_E_DAMAGED;
        c2_wr_raw(list, key.data, key.len);
        c2_wr_raw(list, value.data, 16); /* ttl and deadline */
    }
    return err == C2_E_NOT_FOUND ? C2_E_OK : err;
}

void
store_head_digest(const struct store_head *h, uint8_t out[32])
{
    uint8_t sessions_hash[32];
    uint8_t head[24];
    c2_sha256(h->sessions, sessions_hash);
    c2_put_u64(head, h->version);
    c2_put_u64(head + 8, h->now_ns);
    c2_put_u64(head + 16, h->nkeys);
    const struct c2_slice in[] = {
        c2_slice_str(digest_tag),
        c2_slice(head, sizeof head),
        c2_slice(h->root, sizeof h->root),
        c2_slice(sessions_hash, sizeof sessions_hash),
    };
    c2_sha256_v(in, C2_ARRAY_LEN(in), out);
}

C2_RESULT
store_read_head(struct kv_txn *txn, const struct store_state *s, struct store_head *h,
                struct c2_buf *sessions)
{
    h->version = s->version;
    h->now_ns = s->now_ns;
    C2_TRY(tree_root(txn, h->root, &h->nkeys));
    C2_TRY(list_sessions(txn, sessions));
    h->sessions = c2_buf_slice(sessions);
    return C2_E_OK;
}

static C2_RESULT
digest(struct store_batch *b, uint8_t out[32])
{
    struct store_head h;
    C2_AUTO(c2_buf_done) struct c2_buf sessions = { 0 };
    C2_TRY(store_read_head(b->txn, &b->state, &h, &sessions));
    store_head_digest(&h, out);
    return C2_E_OK;
}

C2_RESULT
store_digest(struct replica_batch *base, uint8_t out[32])
{
    struct store_batch *b = batch_of(base);
    if (b->state.ndirty > 0)
        C2_TRY(store_fold(b));
    return digest(b, out);
}

static C2_RESULT
checkpoint(struct store_batch *b, uint64_t *ret_version, uint8_t out[32])
{
    if (b->state.ndirty > 0)
        C2_TRY(store_fold(b));
    C2_TRY(digest(b, out));
    *ret_version = b->state.version;
    return b->base.app->ops->commit(&b->base);
}

C2_RESULT
store_checkpoint(struct replica_app *a, uint64_t *ret_version, uint8_t out[32])
{
    struct replica_batch *b = NULL;
    C2_TRY(a->ops->begin(a, &b));
    enum c2_err err = checkpoint(batch_of(b), ret_version, out);
    a->ops->end(b);
    return err;
}
