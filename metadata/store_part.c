/* SPDX-License-Identifier: MIT */
/*
 * The service's own keys, and parts of the state for others to fetch.
 *
 * HEAD   u64 version, u64 clock, u64 keys, root[32], sessions as a byte string
 * NODE   a record of the digest tree
 * ENTRY  key as a byte string, u64 version, u64 session, value as a byte string
 * BRANCH a node's record as a byte string; after a leaf ENTRYs of it as byte strings, in its order,
 *        as many as fit: those that are missing are asked for one by one
 *
 * An entry is found by its leaf: KV_LEAF has the first half of each leaf and its key. Whoever
 * makes two leaves with one half only makes an entry hard to find.
 */
#include "metadata/store_int.h"

#include <string.h>

#include "base/crypto.h"
#include "base/wire.h"
#include "metadata/tree.h"

#define LEAF_KEY_LEN 16
#define BRANCH_BYTES (16u << 10) /* after which no further entry is added */

#define PREFETCH_BYTES 512 /* of a value */
#define LINE           64

/* --- the service's own keys ------------------------------------------------------------------- */

C2_RESULT
store_put_system(struct replica_batch *base, struct c2_slice key, const struct c2_slice *value)
{
    struct store_batch *b = batch_of(base);
    uint8_t name[COORD_KEY_MAX];
    C2_ASSERT(key.len < sizeof name);
    name[0] = REPLICA_SYSTEM_KEY;
    memcpy(name + 1, key.data, key.len);
    struct store_entry e = { .version = b->state.version };
    if (value != NULL)
        e.value = *value;
    b->changed = true;
    b->step = b->state.version;
    b->verdict = C2_E_OK;
    return store_change(b, c2_slice(name, key.len + 1), value != NULL ? &e : NULL);
}

static C2_RESULT
list_system(struct kv_txn *txn, struct c2_buf *out)
{
    static const uint8_t first[] = { REPLICA_SYSTEM_KEY, 'Z' + 1 }; /* ours are before it */
    struct c2_slice key;
    struct c2_slice record;
    enum c2_err err = kv_seek(txn, KV_DATA, c2_slice(first, sizeof first), &key, &record);
    for (; err == C2_E_OK; err = kv_next(txn, KV_DATA, &key, &record)) {
        struct store_entry e;
        C2_TRY(store_parse_entry(record, &e));
        c2_wr_bytes(out, c2_slice(key.data + 1, key.len - 1));
        c2_wr_u8(out, 1);
        c2_wr_bytes(out, e.value);
    }
    return err == C2_E_NOT_FOUND ? C2_E_OK : err;
}

C2_RESULT
store_list_system(struct replica_app *a, struct c2_buf *out, bool *ret_complete)
{
    struct kv_txn *txn = NULL;
    struct store_state s;
    C2_TRY(kv_begin(store_of(a)->kv, false, &txn));
    enum c2_err err = store_read_state(txn, &s);
    if (err == C2_E_OK)
        err = list_system(txn, out);
    kv_abort(txn);
    C2_TRY(err);
    *ret_complete = !s.loading;
    return C2_E_OK;
}

/* --- leaves ----------------------------------------------------------------------------------- */

struct c2_slice
store_leaf_half(const uint8_t hash[32])
{
    return c2_slice(hash, LEAF_KEY_LEN);
}

C2_RESULT
store_leaf_key(struct kv_txn *txn, const uint8_t hash[32], struct c2_slice *ret_key)
{
    return kv_get(txn, KV_LEAF, store_leaf_half(hash), ret_key);
}

C2_RESULT
store_index_leaf(struct store_batch *b, const uint8_t hash[32], struct c2_slice key, bool add)
{
    if (!b->store->replicated)
        return C2_E_OK;
    struct c2_slice half = store_leaf_half(hash);
    if (add)
        return kv_put(b->txn, KV_LEAF, half, key);
    enum c2_err err = kv_del(b->txn, KV_LEAF, half);
    return err == C2_E_NOT_FOUND ? C2_E_OK : err;
}

/* --- parts ------------------------------------------------------------------------------------ */

static C2_RESULT
put_head(struct kv_txn *txn, const uint8_t *digest, struct c2_buf *out)
{
    struct store_state s;
    struct store_head h;
    uint8_t have[32];
    C2_AUTO(c2_buf_done) struct c2_buf sessions = { 0 };
    C2_TRY(store_read_state(txn, &s));
    C2_TRY(store_read_head(txn, &s, &h, &sessions));
    store_head_digest(&h, have);
    if (memcmp(have, digest, sizeof have) != 0)
        return C2_E_NOT_FOUND;
    c2_wr_u64(out, h.version);
    c2_wr_u64(out, h.now_ns);
    c2_wr_u64(out, h.nkeys);
    c2_wr_raw(out, h.root, sizeof h.root);
    c2_wr_bytes(out, h.sessions);
    return C2_E_OK;
}

static C2_RESULT
find_node(struct kv_txn *txn, const struct replica_part *p, struct c2_slice *ret_record)
{
    uint8_t hash[32];
    C2_TRY(tree_node(txn, p->path, p->depth, ret_record));
    c2_sha256(*ret_record, hash);
    return memcmp(hash, p->hash, sizeof hash) == 0 ? C2_E_OK : C2_E_NOT_FOUND;
}

static C2_RESULT
put_node(struct kv_txn *txn, const struct replica_part *p, struct c2_buf *out)
{
    struct c2_slice record;
    C2_TRY(find_node(txn, p, &record));
    c2_wr_raw(out, record.data, record.len);
    return C2_E_OK;
}

static void
write_entry(struct c2_buf *out, struct c2_slice record)
{
    struct store_entry e;
    struct c2_slice key = store_hashed_entry(record, &e);
    c2_wr_bytes(out, key);
    c2_wr_u64(out, e.version);
    c2_wr_u64(out, e.session);
    c2_wr_bytes(out, e.value);
}

static C2_RESULT
put_entry(struct kv_txn *txn, const uint8_t *leaf, struct c2_buf *out)
{
    struct c2_slice key;
    struct store_entry e;
    C2_TRY(store_leaf_key(txn, leaf, &key));
    C2_TRY(store_get(txn, key, &e));
    C2_AUTO(store_hashed_done) struct store_hashed h = { .count = 0 };
    store_hashed_add(&h, key, &e);
    store_hashed_compute(&h);
    struct c2_slice record = store_hashed_at(&h, 0);
    if (memcmp(record.data, leaf, TREE_HASH_LEN) != 0)
        return C2_E_NOT_FOUND;
    write_entry(out, record);
    return C2_E_OK;
}

struct found {
    struct c2_slice key; /* both borrowed from the store */
    struct store_entry entry;
};

static void
prefetch(struct c2_slice s)
{
    for (size_t at = 0; at < C2_MIN(s.len, (size_t)PREFETCH_BYTES); at += LINE)
        __builtin_prefetch(s.data + at);
}

/* Entries of a leaf, as many as fit. They are neighbours in the table of leaves, but not in that of
 * records: one is on its way to the cache while the next is looked for. */
static C2_RESULT
find_entries(struct kv_txn *txn, struct c2_slice hashes, struct found *found, size_t *ret_count)
{
    struct c2_slice half = { 0 };
    struct c2_slice key = { 0 };
    bool there = false;
    size_t bytes = 0;
    for (size_t at = 0; at < hashes.len && bytes < BRANCH_BYTES; at += TREE_HASH_LEN) {
        struct c2_slice wanted = store_leaf_half(hashes.data + at);
        struct found *f = &found[*ret_count];
        enum c2_err err = there ? kv_next(txn, KV_LEAF, &half, &key) : C2_E_NOT_FOUND;
        if (err == C2_E_NOT_FOUND || (err == C2_E_OK && !c2_slice_equal(half, wanted)))
            err = kv_seek(txn, KV_LEAF, wanted, &half, &key);
        there = err == C2_E_OK;
        if (err == C2_E_NOT_FOUND || (there && !c2_slice_equal(half, wanted)))
            continue;
        C2_TRY(err);
        err = store_get(txn, key, &f->entry);
        if (err == C2_E_NOT_FOUND)
            continue;
        C2_TRY(err);
        prefetch(f->entry.value);
        f->key = key;
        bytes += STORE_HASHED_KEY_AT + key.len + f->entry.value.len;
        ++*ret_count;
    }
    return C2_E_OK;
}

static C2_RESULT
read_entries(struct kv_txn *txn, struct c2_slice hashes, struct store_hashed *h)
{
    struct found found[TREE_LEAF_MAX];
    size_t count = 0;
    C2_ASSERT(hashes.len <= TREE_LEAF_MAX * (size_t)TREE_HASH_LEN);
    C2_TRY(find_entries(txn, hashes, found, &count));
    for (size_t i = 0; i < count; i++)
        store_hashed_add(h, found[i].key, &found[i].entry);
    return C2_E_OK;
}

static C2_RESULT
put_branch(struct kv_txn *txn, const struct replica_part *p, struct c2_buf *out)
{
    struct c2_slice record;
    C2_AUTO(store_hashed_done) struct store_hashed h = { .count = 0 };
    C2_TRY(find_node(txn, p, &record));
    c2_wr_bytes(out, record);
    if (tree_is_inner(record))
        return C2_E_OK;
    struct c2_slice hashes = tree_hashes(record);
    c2_buf_reserve(&h.bytes, BRANCH_BYTES);
    C2_TRY(read_entries(txn, hashes, &h));
    store_hashed_compute(&h);
    for (size_t i = 0, leaf = 0; i < h.count; i++) {
        struct c2_slice entry = store_hashed_at(&h, i);
        while (leaf < hashes.len && memcmp(hashes.data + leaf, entry.data, TREE_HASH_LEN) < 0)
            leaf += TREE_HASH_LEN;
        if (leaf == hashes.len || memcmp(hashes.data + leaf, entry.data, TREE_HASH_LEN) != 0)
            continue; /* not the entry of its leaf: they find it out */
        size_t at = out->len;
        c2_wr_u32(out, 0);
        write_entry(out, entry);
        c2_put_u32(out->data + at, (uint32_t)(out->len - at - 4));
    }
    return C2_E_OK;
}

C2_RESULT
store_part(struct replica_app *a, const struct replica_part *p, struct c2_buf *out)
{
    struct kv_txn *txn = NULL;
    struct store_state s;
    C2_TRY(kv_begin(store_of(a)->kv, false, &txn));
    enum c2_err err = store_read_state(txn, &s);
    if (err == C2_E_OK && (s.loading || s.ndirty > 0))
        err = C2_E_NOT_FOUND; /* the tree is not that of a checkpoint */
    if (err == C2_E_OK && p->kind == REPLICA_HEAD)
        err = put_head(txn, p->hash, out);
    else if (err == C2_E_OK && p->kind == REPLICA_NODE)
        err = put_node(txn, p, out);
    else if (err == C2_E_OK && p->kind == REPLICA_BRANCH)
        err = put_branch(txn, p, out);
    else if (err == C2_E_OK)
        err = put_entry(txn, p->hash, out);
    kv_abort(txn);
    return err;
}

C2_RESULT
store_parse_head(struct c2_slice bytes, struct store_head *h)
{
    struct c2_rd in = c2_rd_init(bytes);
    h->version = c2_rd_u64(&in);
    h->now_ns = c2_rd_u64(&in);
    h->nkeys = c2_rd_u64(&in);
    c2_rd_copy(&in, h->root, sizeof h->root);
    h->sessions = c2_rd_bytes(&in, (size_t)COORD_SESSIONS_MAX * 24);
    return c2_rd_finish(&in) == C2_E_OK && h->sessions.len % 24 == 0 ? C2_E_OK : C2_E_CORRUPT;
}

C2_RESULT
store_parse_part_entry(struct c2_slice bytes, struct c2_slice *ret_key,
                       struct store_entry *ret_entry)
{
    struct c2_rd in = c2_rd_init(bytes);
    struct c2_slice key = c2_rd_bytes(&in, COORD_KEY_MAX);
    struct store_entry e = { .version = c2_rd_u64(&in) };
    e.session = c2_rd_u64(&in);
    e.value = c2_rd_bytes(&in, COORD_VALUE_MAX);
    if (c2_rd_finish(&in) != C2_E_OK || key.len == 0)
        return C2_E_CORRUPT;
    *ret_key = key;
    *ret_entry = e;
    return C2_E_OK;
}
