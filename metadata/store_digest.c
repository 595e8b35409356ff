/* SPDX-License-Identifier: MIT */
/*
 * The digest of the state:
 *
 *   SHA-256("c2fs-state-1", version, clock, number of keys, tree root, SHA-256(sessions in order))
 *
 * The tree is a function of the set of key records. It is brought up to date lazily: a change
 * leaves the key's old leaf in KV_DIRTY, and a fold replaces old leaves by new ones, many at a
 * time. When more than STORE_DIRTY_MAX keys wait, each commit folds some, so that neither the
 * table nor the work of a checkpoint grows without bound.
 */
#include "metadata/store_int.h"

#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/wire.h"
#include "metadata/tree.h"

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

/* Adds what replaces the key's old leaf; nothing when it came back to what it was. */
static C2_RESULT
fold_key(struct kv_txn *txn, struct c2_slice key, struct c2_slice leaf, struct c2_buf *ops)
{
    if (leaf.len != 0 && leaf.len != TREE_HASH_LEN)
        return C2_E_DAMAGED;
    struct tree_op new = { .insert = true };
    struct store_entry e;
    enum c2_err err = store_get(txn, key, &e);
    if (err == C2_E_OK)
        store_entry_hash(key, &e, new.hash);
    if (err != C2_E_OK && err != C2_E_NOT_FOUND)
        return err;
    if (leaf.len != 0 && err == C2_E_OK && memcmp(leaf.data, new.hash, TREE_HASH_LEN) == 0)
        return C2_E_OK;
    if (leaf.len != 0) {
        struct tree_op old = { .insert = false };
        memcpy(old.hash, leaf.data, TREE_HASH_LEN);
        c2_buf_append(ops, &old, sizeof old);
    }
    if (err == C2_E_OK)
        c2_buf_append(ops, &new, sizeof new);
    return C2_E_OK;
}

static C2_RESULT
collect(struct kv_txn *txn, size_t max, struct c2_buf *ops, struct c2_buf *keys)
{
    struct c2_slice key;
    struct c2_slice leaf;
    enum c2_err err = kv_seek(txn, KV_DIRTY, c2_slice(NULL, 0), &key, &leaf);
    for (size_t n = 0; err == C2_E_OK && n < max; n++) {
        C2_TRY(fold_key(txn, key, leaf, ops));
        c2_wr_bytes(keys, key);
        err = kv_next(txn, KV_DIRTY, &key, &leaf);
    }
    return err == C2_E_NOT_FOUND ? C2_E_OK : err;
}

static C2_RESULT
forget_dirty(struct store_batch *b, struct c2_slice keys)
{
    struct c2_rd r = c2_rd_init(keys);
    while (c2_rd_left(&r) > 0) {
        C2_TRY(kv_del(b->txn, KV_DIRTY, c2_rd_bytes(&r, COORD_KEY_MAX)));
        if (b->state.ndirty == 0)
            return C2_E_DAMAGED;
        b->state.ndirty--;
    }
    return C2_E_OK;
}

static C2_RESULT
fold_some(struct store_batch *b, size_t max, struct c2_buf *ops, struct c2_buf *keys)
{
    C2_TRY(collect(b->txn, max, ops, keys));
    void *array = ops->data;
    C2_TRY(tree_apply(b->txn, array, ops->len / sizeof(struct tree_op)));
    return forget_dirty(b, c2_buf_slice(keys));
}

C2_RESULT
store_fold(struct store_batch *b, size_t max)
{
    struct c2_buf ops = { 0 };
    struct c2_buf keys = { 0 };
    enum c2_err err = fold_some(b, max, &ops, &keys);
    c2_buf_done(&ops);
    c2_buf_done(&keys);
    b->changed = true;
    return err;
}

static C2_RESULT
hash_sessions(struct kv_txn *txn, struct c2_buf *list)
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

static C2_RESULT
digest(struct store_batch *b, uint8_t out[32])
{
    uint8_t root[TREE_HASH_LEN];
    uint64_t nkeys = 0;
    C2_TRY(tree_root(b->txn, root, &nkeys));
    C2_AUTO(c2_buf_done) struct c2_buf sessions = { 0 };
    C2_TRY(hash_sessions(b->txn, &sessions));
    uint8_t sessions_hash[32];
    c2_sha256(c2_buf_slice(&sessions), sessions_hash);
    uint8_t head[24];
    c2_put_u64(head, b->state.version);
    c2_put_u64(head + 8, b->state.now_ns);
    c2_put_u64(head + 16, nkeys);
    const struct c2_slice in[] = {
        c2_slice_str(digest_tag),
        c2_slice(head, sizeof head),
        c2_slice(root, sizeof root),
        c2_slice(sessions_hash, sizeof sessions_hash),
    };
    c2_sha256_v(in, C2_ARRAY_LEN(in), out);
    return C2_E_OK;
}

static C2_RESULT
checkpoint(struct store_batch *b, uint64_t *ret_version, uint8_t out[32])
{
    while (b->state.ndirty > 0)
        C2_TRY(store_fold(b, STORE_FOLD_MAX));
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
