/* SPDX-License-Identifier: MIT */
/*
 * Node records in KV_TREE:
 *   key    u8 depth, then depth nibbles, two per byte, the last low half zero
 *   leaf   'L', then its hashes in order
 *   inner  'N', then sixteen times (u64 count, hash of the child's record); zeros for no child
 * The hash of a node is the SHA-256 of its record. An absent root is the empty set.
 *
 * Sorted operations visit the nodes in order, so a stack holds the path from the root to the
 * current leaf. Each node is read once on the way down and written once on the way up: that is
 * where a leaf's place in its parent is updated, and where an inner node that has shrunk to
 * TREE_LEAF_MAX hashes becomes a leaf again. A leaf that outgrows the limit is split on the way
 * down.
 */
#include "metadata/tree.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/wire.h"

#define FANOUT      16
#define DEPTH_MAX   (2 * TREE_HASH_LEN)
#define SLOT_LEN    (8 + TREE_HASH_LEN)
#define INNER_LEN   (1 + FANOUT * SLOT_LEN)
#define PATH_LEN    (1 + TREE_HASH_LEN)
#define RECORD_MAX  (1 + (TREE_LEAF_MAX + 1) * TREE_HASH_LEN)
#define LEAF_LEN(n) (1 + (n)*TREE_HASH_LEN)

_Static_assert(RECORD_MAX >= INNER_LEN, "a frame holds either kind");

/* One node on the path. A leaf may hold one hash more than the limit until it is split. */
struct frame {
    uint8_t record[RECORD_MAX];
    size_t len; /* 0 = no hashes */
};

struct walk {
    struct kv_txn *txn;          /* borrowed */
    uint8_t hash[TREE_HASH_LEN]; /* its nibbles are the path */
    unsigned depth;              /* of the deepest frame */
    struct frame frames[DEPTH_MAX + 1];
};

static unsigned
nibble(const uint8_t *hash, unsigned at)
{
    C2_ASSERT(at < DEPTH_MAX);
    return at % 2 == 0 ? hash[at / 2] >> 4 : hash[at / 2] & 15;
}

static struct c2_slice
node_key(uint8_t out[PATH_LEN], const uint8_t *hash, unsigned depth)
{
    size_t bytes = (depth + 1) / 2;
    out[0] = (uint8_t)depth;
    memcpy(out + 1, hash, bytes);
    if (depth % 2 == 1)
        out[bytes] &= 0xf0;
    return c2_slice(out, 1 + bytes);
}

static bool
is_inner(const struct frame *f)
{
    return f->len > 0 && f->record[0] == 'N';
}

static size_t
leaf_count(const struct frame *f)
{
    return f->len == 0 ? 0 : (f->len - 1) / TREE_HASH_LEN;
}

static uint64_t
node_count(const struct frame *f)
{
    if (!is_inner(f))
        return leaf_count(f);
    uint64_t sum = 0;
    for (size_t i = 0; i < FANOUT; i++)
        sum += c2_get_u64(f->record + 1 + i * SLOT_LEN);
    return sum;
}

static C2_RESULT
load(struct kv_txn *txn, const uint8_t *hash, unsigned depth, struct frame *f)
{
    uint8_t path[PATH_LEN];
    struct c2_slice record;
    enum c2_err err = kv_get(txn, KV_TREE, node_key(path, hash, depth), &record);
    f->len = 0;
    if (err == C2_E_NOT_FOUND)
        return C2_E_OK;
    C2_TRY(err);
    bool inner = record.len == INNER_LEN && record.data[0] == 'N';
    bool leaf = record.len > 1 && record.len <= RECORD_MAX && record.data[0] == 'L' &&
                (record.len - 1) % TREE_HASH_LEN == 0;
    if (!inner && !leaf)
        return C2_E_DAMAGED;
    memcpy(f->record, record.data, record.len);
    f->len = record.len;
    return C2_E_OK;
}

/* Writes a node, or removes one that became empty, and fills its slot. */
static C2_RESULT
save(struct kv_txn *txn, const uint8_t *hash, unsigned depth, const struct frame *f, uint8_t *slot)
{
    uint8_t path[PATH_LEN];
    struct c2_slice key = node_key(path, hash, depth);
    memset(slot, 0, SLOT_LEN);
    if (f->len == 0) {
        enum c2_err err = kv_del(txn, KV_TREE, key);
        return err == C2_E_NOT_FOUND ? C2_E_OK : err;
    }
    C2_TRY(kv_put(txn, KV_TREE, key, c2_slice(f->record, f->len)));
    c2_put_u64(slot, node_count(f));
    c2_sha256(c2_slice(f->record, f->len), slot + 8);
    return C2_E_OK;
}

/* --- leaves ---------------------------------------------------------------------------------- */

/* The place of the first hash that is not smaller. */
static size_t
leaf_find(const struct frame *f, const uint8_t *hash, bool *ret_found)
{
    size_t low = 0;
    size_t high = leaf_count(f);
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (memcmp(f->record + LEAF_LEN(mid), hash, TREE_HASH_LEN) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    *ret_found = low < leaf_count(f) && memcmp(f->record + LEAF_LEN(low), hash, TREE_HASH_LEN) == 0;
    return low;
}

static C2_RESULT
leaf_change(struct frame *f, const struct tree_op *op)
{
    C2_ASSERT(!is_inner(f) && leaf_count(f) <= TREE_LEAF_MAX);
    bool found = false;
    size_t at = leaf_find(f, op->hash, &found);
    if (found == op->insert)
        return C2_E_DAMAGED;
    size_t n = leaf_count(f);
    uint8_t *p = f->record + LEAF_LEN(at);
    f->record[0] = 'L';
    if (op->insert) {
        memmove(p + TREE_HASH_LEN, p, (n - at) * TREE_HASH_LEN);
        memcpy(p, op->hash, TREE_HASH_LEN);
        f->len = LEAF_LEN(n + 1);
    } else {
        memmove(p, p + TREE_HASH_LEN, (n - at - 1) * TREE_HASH_LEN);
        f->len = n == 1 ? 0 : LEAF_LEN(n - 1);
    }
    return C2_E_OK;
}

/* A leaf with too many hashes becomes an inner node over leaves, which are written at once. */
static C2_RESULT
leaf_split(struct walk *w, struct frame *f)
{
    struct frame old = *f;
    size_t n = leaf_count(&old);
    memset(f->record, 0, INNER_LEN);
    f->record[0] = 'N';
    f->len = INNER_LEN;
    for (size_t from = 0; from < n;) {
        const uint8_t *first = old.record + LEAF_LEN(from);
        unsigned slot = nibble(first, w->depth);
        size_t to = from;
        while (to < n && nibble(old.record + LEAF_LEN(to), w->depth) == slot)
            to++;
        struct frame child;
        child.record[0] = 'L';
        child.len = LEAF_LEN(to - from);
        memcpy(child.record + 1, first, (to - from) * TREE_HASH_LEN);
        C2_TRY(save(w->txn, first, w->depth + 1, &child, f->record + 1 + slot * SLOT_LEN));
        from = to;
    }
    return C2_E_OK;
}

/* --- the walk -------------------------------------------------------------------------------- */

/* An inner node with few hashes becomes a leaf; its children, leaves all, go. */
static C2_RESULT
inner_merge(struct walk *w, struct frame *f)
{
    struct frame leaf = { .len = 0 };
    uint8_t path[TREE_HASH_LEN];
    memcpy(path, w->hash, sizeof path);
    for (unsigned i = 0; i < FANOUT; i++) {
        if (c2_get_u64(f->record + 1 + i * SLOT_LEN) == 0)
            continue;
        uint8_t *at = &path[w->depth / 2];
        *at = w->depth % 2 == 0 ? (uint8_t)(i << 4) : (uint8_t)((*at & 0xf0) | i);
        struct frame child;
        C2_TRY(load(w->txn, path, w->depth + 1, &child));
        if (child.len == 0 || is_inner(&child) ||
            leaf_count(&leaf) + leaf_count(&child) > TREE_LEAF_MAX)
            return C2_E_DAMAGED;
        memcpy(leaf.record + LEAF_LEN(leaf_count(&leaf)), child.record + 1, child.len - 1);
        leaf.len = LEAF_LEN(leaf_count(&leaf) + leaf_count(&child));
        uint8_t key[PATH_LEN];
        C2_TRY(kv_del(w->txn, KV_TREE, node_key(key, path, w->depth + 1)));
    }
    leaf.record[0] = 'L';
    *f = leaf;
    return C2_E_OK;
}

/* Writes the deepest node and goes back to its parent; at the root there is nowhere to go. */
static C2_RESULT
ascend(struct walk *w)
{
    struct frame *f = &w->frames[w->depth];
    if (is_inner(f) && node_count(f) <= TREE_LEAF_MAX)
        C2_TRY(inner_merge(w, f));
    uint8_t slot[SLOT_LEN];
    C2_TRY(save(w->txn, w->hash, w->depth, f, slot));
    if (w->depth == 0)
        return C2_E_OK;
    w->depth--;
    memcpy(w->frames[w->depth].record + 1 + nibble(w->hash, w->depth) * SLOT_LEN, slot, SLOT_LEN);
    return C2_E_OK;
}

static C2_RESULT
descend(struct walk *w)
{
    w->depth++;
    C2_ASSERT(w->depth <= DEPTH_MAX);
    return load(w->txn, w->hash, w->depth, &w->frames[w->depth]);
}

static bool
path_covers(const struct walk *w, const uint8_t *hash)
{
    for (unsigned i = 0; i < w->depth; i++) {
        if (nibble(w->hash, i) != nibble(hash, i))
            return false;
    }
    return true;
}

static C2_RESULT
apply_one(struct walk *w, const struct tree_op *op)
{
    while (!path_covers(w, op->hash))
        C2_TRY(ascend(w));
    memcpy(w->hash, op->hash, TREE_HASH_LEN);
    while (is_inner(&w->frames[w->depth]))
        C2_TRY(descend(w));
    C2_TRY(leaf_change(&w->frames[w->depth], op));
    while (leaf_count(&w->frames[w->depth]) > TREE_LEAF_MAX) {
        C2_TRY(leaf_split(w, &w->frames[w->depth]));
        C2_TRY(descend(w));
    }
    return C2_E_OK;
}

static int
compare_ops(const void *a, const void *b)
{
    const struct tree_op *x = a;
    const struct tree_op *y = b;
    return memcmp(x->hash, y->hash, TREE_HASH_LEN);
}

static C2_RESULT
apply_sorted(struct walk *w, const struct tree_op *ops, size_t nops)
{
    C2_TRY(load(w->txn, w->hash, 0, &w->frames[0]));
    for (size_t i = 0; i < nops; i++)
        C2_TRY(apply_one(w, &ops[i]));
    while (w->depth > 0)
        C2_TRY(ascend(w));
    return ascend(w);
}

C2_RESULT
tree_apply(struct kv_txn *txn, struct tree_op *ops, size_t nops)
{
    size_t sorted = 1;
    if (nops == 0)
        return C2_E_OK;
    while (sorted < nops && compare_ops(&ops[sorted - 1], &ops[sorted]) <= 0)
        sorted++;
    if (sorted < nops)
        qsort(ops, nops, sizeof *ops, compare_ops);
    struct walk *w = c2_alloc(sizeof *w);
    w->txn = txn;
    w->depth = 0;
    memset(w->hash, 0, sizeof w->hash);
    enum c2_err err = apply_sorted(w, ops, nops);
    c2_free(w);
    return err;
}

C2_RESULT
tree_root(struct kv_txn *txn, uint8_t root[TREE_HASH_LEN], uint64_t *ret_count)
{
    const uint8_t none[TREE_HASH_LEN] = { 0 };
    struct frame f;
    C2_TRY(load(txn, none, 0, &f));
    *ret_count = node_count(&f);
    memset(root, 0, TREE_HASH_LEN);
    if (f.len > 0)
        c2_sha256(c2_slice(f.record, f.len), root);
    return C2_E_OK;
}

/* --- reading from outside --------------------------------------------------------------------- */

bool
tree_is_inner(struct c2_slice record)
{
    return record.len == INNER_LEN && record.data[0] == 'N';
}

C2_RESULT
tree_check_record(struct c2_slice record)
{
    if (tree_is_inner(record))
        return C2_E_OK;
    bool leaf = record.len > 1 && record.len <= LEAF_LEN(TREE_LEAF_MAX) && record.data[0] == 'L' &&
                (record.len - 1) % TREE_HASH_LEN == 0;
    return leaf ? C2_E_OK : C2_E_CORRUPT;
}

const uint8_t *
tree_child(struct c2_slice record, unsigned i)
{
    C2_ASSERT(tree_is_inner(record) && i < FANOUT);
    const uint8_t *slot = record.data + 1 + (size_t)i * SLOT_LEN;
    return c2_get_u64(slot) != 0 ? slot + 8 : NULL;
}

struct c2_slice
tree_hashes(struct c2_slice record)
{
    C2_ASSERT(!tree_is_inner(record) && record.len > 0);
    return c2_slice(record.data + 1, record.len - 1);
}

void
tree_path_set(uint8_t path[TREE_HASH_LEN], unsigned at, unsigned value)
{
    C2_ASSERT(at < DEPTH_MAX && value < FANOUT);
    uint8_t *p = &path[at / 2];
    *p = at % 2 == 0 ? (uint8_t)(value << 4 | (*p & 0x0f)) : (uint8_t)((*p & 0xf0) | value);
}

C2_RESULT
tree_node(struct kv_txn *txn, const uint8_t path[TREE_HASH_LEN], unsigned depth,
          struct c2_slice *ret_record)
{
    uint8_t key[PATH_LEN];
    C2_ASSERT(depth <= DEPTH_MAX);
    C2_TRY(kv_get(txn, KV_TREE, node_key(key, path, depth), ret_record));
    return tree_check_record(*ret_record) == C2_E_OK ? C2_E_OK : C2_E_DAMAGED;
}

static bool
has_prefix(const uint8_t *hash, const uint8_t *path, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++) {
        if (nibble(hash, i) != nibble(path, i))
            return false;
    }
    return true;
}

static void
collect_leaf(struct c2_slice hashes, const uint8_t *path, unsigned depth, struct c2_buf *out)
{
    for (size_t at = 0; at < hashes.len; at += TREE_HASH_LEN) {
        if (has_prefix(hashes.data + at, path, depth))
            c2_buf_append(out, hashes.data + at, TREE_HASH_LEN);
    }
}

/* A node that is still to be visited. */
struct visit {
    uint8_t path[TREE_HASH_LEN];
    unsigned depth;
};

static void
push_children(struct c2_slice record, const struct visit *v, struct c2_buf *stack)
{
    for (unsigned i = 0; i < FANOUT; i++) {
        struct visit child = *v;
        if (tree_child(record, i) == NULL)
            continue;
        tree_path_set(child.path, child.depth++, i);
        c2_buf_append(stack, &child, sizeof child);
    }
}

C2_RESULT
tree_collect(struct kv_txn *txn, const uint8_t path[TREE_HASH_LEN], unsigned depth,
             struct c2_buf *out)
{
    C2_AUTO(c2_buf_done) struct c2_buf stack = { 0 };
    struct visit v = { .depth = 0 };
    struct c2_slice record;
    enum c2_err err = tree_node(txn, v.path, 0, &record);
    /* Down to the node at the path, or to the leaf above it that holds what would be there. */
    while (err == C2_E_OK && v.depth < depth && tree_is_inner(record)) {
        if (tree_child(record, nibble(path, v.depth)) == NULL)
            return C2_E_OK;
        tree_path_set(v.path, v.depth, nibble(path, v.depth));
        v.depth++;
        err = tree_node(txn, v.path, v.depth, &record);
    }
    if (err == C2_E_NOT_FOUND)
        return C2_E_OK;
    C2_TRY(err);
    c2_buf_append(&stack, &v, sizeof v);
    while (stack.len > 0) {
        stack.len -= sizeof v;
        memcpy(&v, stack.data + stack.len, sizeof v);
        C2_TRY(tree_node(txn, v.path, v.depth, &record));
        if (tree_is_inner(record))
            push_children(record, &v, &stack);
        else
            collect_leaf(tree_hashes(record), path, depth, out);
    }
    return C2_E_OK;
}
