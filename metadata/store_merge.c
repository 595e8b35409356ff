/* SPDX-License-Identifier: MIT */
/*
 * Entries that were fetched come in the order of their hashes. One by one, each would change a page
 * of the records somewhere else, and pages would be written again and again. So they are collected
 * (spool.h) and put in place in the order of their keys, then the digest tree and the table of its
 * leaves in the order of hashes: every page is written once.
 *
 *   COLLECT ──► RECORDS ──► TREE ──► COLLECT
 *                             ▲
 *   torn ────► SCAN ──────────┘
 *
 * An empty store gets its tree and leaves while entries are collected: they come in that order, and
 * there is nothing that could contradict them.
 *
 * That takes several commits, of a piece each, so that no transaction is too large and nobody waits
 * long for the thread. Between the first and the last the tree is not that of the records, and the
 * state is `torn`. Whoever finds it like that, since a crash came between or a batch was lost,
 * makes the tree anew of the records that are there (SCAN), so that nothing is fetched again that
 * is in its place. What was collected is lost with the process, not with a batch, and not when the
 * fetch turns to another state.
 */
#include "metadata/store_int.h"

#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "metadata/spool.h"
#include "metadata/tree.h"

#define LEAF_MEMORY(memory)    ((memory) / 2)
#define LEAVES_AT_ONCE(memory) ((memory) / 16) /* bytes of them, of an empty store */
#define TREE_OPS               16384           /* given to the tree at once */
#define LEAF_COST              128 /* bytes of a piece for each leaf: what it adds to two tables */
#define FREE_SHARE             3

enum phase { COLLECT, SCAN, RECORDS, TREE };

struct store_merge {
    struct store *store; /* borrowed */
    enum phase phase;
    struct spool *entries; /* owned; hash, version, session, length of the key, key, value */
    struct spool *leaves;  /* owned; hash, u8 insert, key */
    uint64_t file;         /* bytes of entries that are collected */
    size_t piece;
    size_t at_once;
    bool direct;        /* the leaves of entries are not waited with: the store was empty */
    bool put;           /* TREE: all entries are in the records */
    bool past_end;      /* RECORDS, TREE: what comes is behind all that was there */
    struct c2_buf last; /* owned; RECORDS, TREE: the last key before; SCAN: done so far */
    struct c2_buf leaf; /* owned; scratch */
    struct c2_buf ops;  /* owned; of struct tree_op */
};

/* How much is collected: the more, the fewer times what is in place is written again. But not so
 * much that it takes the space that it needs itself. */
static void
set_limits(struct store_merge *m)
{
    const struct store_fetch_limits *l = &m->store->limits;
    uint64_t size = 0;
    uint64_t free = 0;
    m->piece = l->piece != 0 ? l->piece : STORE_FETCH_PIECE;
    m->file = l->file != 0 ? l->file : STORE_FETCH_FILE;
    if (l->file == 0 && kv_space(m->store->kv, &size, &free) == C2_E_OK)
        m->file = C2_MIN(C2_MAX(m->file, size), free / FREE_SHARE);
}

static struct spool *
new_spool(struct store *s, const char *name, size_t memory)
{
    C2_AUTO(c2_free_auto) char *path = c2_asprintf("%s/%s", kv_path(s->kv), name);
    return spool_new(path, memory);
}

struct store_merge *
store_merge_new(struct store *s)
{
    struct store_merge *m = c2_calloc(1, sizeof *m);
    size_t memory = s->limits.memory != 0 ? s->limits.memory : STORE_FETCH_MEMORY;
    m->store = s;
    m->entries = new_spool(s, "fetched", memory);
    m->leaves = new_spool(s, "leaves", LEAF_MEMORY(memory));
    m->at_once = LEAVES_AT_ONCE(memory);
    set_limits(m);
    return m;
}

void
store_merge_free(struct store_merge *m)
{
    if (m == NULL)
        return;
    spool_free(m->entries);
    spool_free(m->leaves);
    c2_buf_done(&m->last);
    c2_buf_done(&m->leaf);
    c2_buf_done(&m->ops);
    c2_free(m);
}

bool
store_merge_is_full(const struct store_merge *m)
{
    return spool_bytes(m->entries) > 0 &&
           (spool_bytes(m->entries) >= m->file || spool_is_full(m->entries));
}

bool
store_merge_is_due(const struct store_merge *m, const struct store_batch *b)
{
    return b->state.torn || spool_bytes(m->entries) > 0;
}

C2_RESULT
store_merge_again(struct store_merge *m)
{
    m->phase = COLLECT;
    m->direct = m->put = false;
    return spool_clear(m->leaves);
}

/* ---- leaves ---------------------------------------------------------------------------------- */

static C2_RESULT
add_leaf(struct store_merge *m, const uint8_t *hash, bool insert, struct c2_slice key)
{
    c2_buf_clear(&m->leaf);
    c2_wr_raw(&m->leaf, hash, TREE_HASH_LEN);
    c2_wr_u8(&m->leaf, insert);
    c2_wr_raw(&m->leaf, key.data, key.len);
    const struct spool_record r = { .bytes = c2_buf_slice(&m->leaf),
                                    .key = c2_slice(m->leaf.data, TREE_HASH_LEN) };
    return spool_add(m->leaves, &r);
}

/* Remembers where the table ends, before anything is put into it. */
static C2_RESULT
find_end(struct store_merge *m, struct store_batch *b, enum kv_table table)
{
    struct c2_slice key;
    struct c2_slice value;
    enum c2_err err = kv_last(b->txn, table, &key, &value);
    c2_buf_clear(&m->last);
    m->past_end = err == C2_E_NOT_FOUND;
    if (err == C2_E_OK)
        c2_buf_append(&m->last, key.data, key.len);
    return m->past_end ? C2_E_OK : err;
}

static bool
is_past_end(struct store_merge *m, struct c2_slice key)
{
    m->past_end = m->past_end || c2_slice_compare(key, c2_buf_slice(&m->last)) > 0;
    return m->past_end;
}

static C2_RESULT
change_leaf(struct store_merge *m, struct store_batch *b, const struct spool_record *r)
{
    const uint8_t *hash = r->bytes.data;
    struct tree_op op = { .insert = hash[TREE_HASH_LEN] != 0 };
    struct c2_slice key = c2_slice(hash + TREE_HASH_LEN + 1, r->bytes.len - TREE_HASH_LEN - 1);
    memcpy(op.hash, hash, TREE_HASH_LEN);
    c2_buf_append(&m->ops, &op, sizeof op);
    if (op.insert && is_past_end(m, store_leaf_half(hash)))
        return kv_append(b->txn, KV_LEAF, store_leaf_half(hash), key);
    return store_index_leaf(b, hash, key, op.insert);
}

static C2_RESULT
apply_ops(struct store_merge *m, struct store_batch *b)
{
    void *array = m->ops.data;
    C2_TRY(tree_apply(b->txn, array, m->ops.len / sizeof(struct tree_op)));
    c2_buf_clear(&m->ops);
    return C2_E_OK;
}

static C2_RESULT
begin_tree(struct store_merge *m, struct store_batch *b)
{
    c2_buf_clear(&m->ops);
    C2_TRY(find_end(m, b, KV_LEAF));
    C2_TRY(spool_rewind(m->leaves));
    m->phase = TREE;
    return C2_E_OK;
}

/* NOT_FOUND: there are no more. */
static C2_RESULT
change_leaves(struct store_merge *m, struct store_batch *b, size_t *budget)
{
    struct spool_record r;
    enum c2_err err = C2_E_OK;
    while (*budget > 0 && (err = spool_next(m->leaves, &r)) == C2_E_OK) {
        C2_TRY(change_leaf(m, b, &r));
        if (m->ops.len >= TREE_OPS * sizeof(struct tree_op))
            C2_TRY(apply_ops(m, b));
        *budget -= C2_MIN(*budget, (size_t)LEAF_COST);
    }
    C2_TRY(apply_ops(m, b));
    return err;
}

static C2_RESULT
put_leaves(struct store_merge *m, struct store_batch *b, size_t *budget)
{
    enum c2_err err = change_leaves(m, b, budget);
    if (err != C2_E_NOT_FOUND)
        return err;
    m->phase = COLLECT;
    b->state.torn = false;
    b->state.folded = C2_MAX(b->state.version, b->step); /* no key's version is higher */
    C2_TRY(spool_clear(m->leaves));
    if (!m->put)
        return C2_E_OK;
    m->direct = m->put = false;
    set_limits(m);
    return spool_clear(m->entries);
}

/* ---- collecting ------------------------------------------------------------------------------ */

/* Whether there is no key, nor what stands for one. */
static C2_RESULT
is_empty(const struct store_batch *b, bool *ret_is)
{
    struct c2_slice key;
    struct c2_slice value;
    enum c2_err err = kv_last(b->txn, KV_DATA, &key, &value);
    *ret_is = err == C2_E_NOT_FOUND && !b->state.torn && b->state.ndirty == 0;
    return err == C2_E_NOT_FOUND ? C2_E_OK : err;
}

/* Puts the leaves in place that have come so far. */
static C2_RESULT
put_leaves_at_once(struct store_merge *m, struct store_batch *b, size_t *ret_changed)
{
    size_t budget = SIZE_MAX;
    b->state.torn = true;
    C2_TRY(find_end(m, b, KV_LEAF));
    C2_TRY(spool_rewind(m->leaves));
    enum c2_err err = change_leaves(m, b, &budget);
    if (err != C2_E_NOT_FOUND)
        return err;
    *ret_changed += SIZE_MAX - budget;
    return spool_clear(m->leaves);
}

C2_RESULT
store_merge_add(struct store_merge *m, struct store_batch *b, struct c2_slice record,
                size_t *ret_changed)
{
    C2_ASSERT(m->phase == COLLECT);
    struct store_entry e;
    const struct spool_record r = { .bytes = record, .key = store_hashed_entry(record, &e) };
    if (spool_bytes(m->entries) == 0)
        C2_TRY(is_empty(b, &m->direct));
    C2_TRY(spool_add(m->entries, &r));
    if (!m->direct)
        return C2_E_OK;
    C2_TRY(add_leaf(m, record.data, true, r.key));
    return spool_bytes(m->leaves) < m->at_once ? C2_E_OK : put_leaves_at_once(m, b, ret_changed);
}

/* ---- the tree of the records that are there -------------------------------------------------- */

static C2_RESULT
begin_scan(struct store_merge *m, struct store_batch *b)
{
    C2_MARK("metadata: makes the digest tree anew");
    C2_TRY(kv_clear(b->txn, KV_TREE));
    C2_TRY(kv_clear(b->txn, KV_LEAF));
    C2_TRY(kv_clear(b->txn, KV_DIRTY));
    C2_TRY(spool_clear(m->leaves));
    b->state.ndirty = 0;
    c2_buf_clear(&m->last);
    m->phase = SCAN;
    return C2_E_OK;
}

static C2_RESULT
scan_records(struct store_merge *m, struct store_batch *b, size_t *budget)
{
    struct c2_slice key;
    struct c2_slice record;
    enum c2_err err = kv_seek(b->txn, KV_DATA, c2_buf_slice(&m->last), &key, &record);
    if (err == C2_E_OK && c2_slice_equal(key, c2_buf_slice(&m->last)))
        err = kv_next(b->txn, KV_DATA, &key, &record);
    for (; err == C2_E_OK && *budget > 0; err = kv_next(b->txn, KV_DATA, &key, &record)) {
        struct store_entry e;
        uint8_t hash[TREE_HASH_LEN];
        C2_TRY(store_parse_entry(record, &e));
        store_entry_hash(key, &e, hash);
        C2_TRY(add_leaf(m, hash, true, key));
        *budget -= C2_MIN(*budget, key.len + record.len);
        c2_buf_clear(&m->last);
        c2_buf_append(&m->last, key.data, key.len);
    }
    return err == C2_E_NOT_FOUND ? begin_tree(m, b) : err;
}

/* ---- entries in their place ------------------------------------------------------------------ */

static C2_RESULT
begin_records(struct store_merge *m, struct store_batch *b)
{
    if (b->state.ndirty > 0) /* so that the tree is that of the records */
        C2_TRY(store_fold(b));
    C2_TRY(find_end(m, b, KV_DATA));
    C2_TRY(spool_rewind(m->entries));
    b->state.torn = true;
    m->phase = RECORDS;
    return C2_E_OK;
}

static C2_RESULT
put_entry(struct store_merge *m, struct store_batch *b, const struct spool_record *r)
{
    const uint8_t *hash = r->bytes.data;
    struct store_entry e;
    struct store_entry old = { .session = 0 };
    (void)store_hashed_entry(r->bytes, &e);
    bool last = is_past_end(m, r->key);
    enum c2_err err = last ? C2_E_NOT_FOUND : store_get(b->txn, r->key, &old);
    if (err == C2_E_OK && m->direct)
        return C2_E_DAMAGED; /* one key twice: no state is like that */
    if (err == C2_E_OK) {
        uint8_t had[TREE_HASH_LEN];
        store_entry_hash(r->key, &old, had);
        if (memcmp(had, hash, sizeof had) == 0)
            return C2_E_OK; /* a batch that came before one that was lost has put it */
        C2_TRY(add_leaf(m, had, false, r->key));
    } else if (err != C2_E_NOT_FOUND) {
        return err;
    }
    if (!m->direct)
        C2_TRY(add_leaf(m, hash, true, r->key));
    return store_write_entry(b, r->key, old.session, &e, last);
}

static C2_RESULT
put_entries(struct store_merge *m, struct store_batch *b, size_t *budget)
{
    struct spool_record r;
    enum c2_err err = C2_E_OK;
    while (*budget > 0 && (err = spool_next(m->entries, &r)) == C2_E_OK) {
        C2_TRY(put_entry(m, b, &r));
        *budget -= C2_MIN(*budget, r.bytes.len);
    }
    if (err != C2_E_NOT_FOUND)
        return err;
    m->put = true;
    return begin_tree(m, b);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static C2_RESULT
begin_next(struct store_merge *m, struct store_batch *b, bool *ret_done)
{
    *ret_done = !store_merge_is_due(m, b);
    if (*ret_done)
        return C2_E_OK;
    return b->state.torn && !m->direct ? begin_scan(m, b) : begin_records(m, b);
}

C2_RESULT
store_merge_step(struct store_merge *m, struct store_batch *b, bool *ret_done)
{
    size_t budget = m->piece;
    *ret_done = false;
    while (budget > 0 && !*ret_done) {
        switch (m->phase) {
        case COLLECT:
            C2_TRY(begin_next(m, b, ret_done));
            break;
        case SCAN:
            C2_TRY(scan_records(m, b, &budget));
            break;
        case RECORDS:
            C2_TRY(put_entries(m, b, &budget));
            break;
        case TREE:
            C2_TRY(put_leaves(m, b, &budget));
            break;
        }
    }
    return C2_E_OK;
}
