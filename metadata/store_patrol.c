/* SPDX-License-Identifier: MIT */
/*
 * Checks a store at work, piece by piece: the leaves of the digest tree in their order. On the way
 * to a leaf every node is compared with its hash in the node above; each hash of the leaf must have
 * its key, and the key the record that it is the hash of. A piece sees the last commit, which is a
 * checkpoint; that keys come and go between two pieces does not matter, since each piece begins at
 * the root, behind the hash that was looked at last.
 *
 * What the walk does not see is what the root does not name. So the last piece compares the digest
 * of the state with the one that the checkpoint had when it was made.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "metadata/store_int.h"
#include "metadata/tree.h"

#define DEPTH_MAX (2u * TREE_HASH_LEN)

struct piece {
    struct store_patrol *p;
    struct kv_txn *txn;
    uint8_t at[TREE_HASH_LEN]; /* hashes from here on are to be looked at */
    bool over;                 /* there is none */
    unsigned items;
    size_t bytes;
};

__attribute__((format(printf, 2, 3))) static C2_RESULT
bad(struct piece *w, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(w->p->problem, sizeof w->p->problem, fmt, ap);
    va_end(ap);
    return C2_E_DAMAGED;
}

static unsigned
nibble(const uint8_t *hash, unsigned at)
{
    return at % 2 == 0 ? hash[at / 2] >> 4 : hash[at / 2] & 15;
}

/* To the first hash whose path has a greater beginning of this many nibbles. */
static void
skip(struct piece *w, unsigned nibbles)
{
    while (nibbles > 0) {
        unsigned at = --nibbles, value = nibble(w->at, at);
        tree_path_set(w->at, at, value == 15 ? 0 : value + 1);
        for (unsigned k = at + 1; k < DEPTH_MAX && value < 15; k++)
            tree_path_set(w->at, k, 0);
        if (value < 15)
            return;
    }
    w->over = true;
}

static C2_RESULT
check_entry(struct piece *w, const uint8_t *hash)
{
    struct c2_slice key;
    struct store_entry e;
    uint8_t have[TREE_HASH_LEN];
    enum c2_err err = store_leaf_key(w->txn, hash, &key);
    if (err == C2_E_OK)
        err = store_get(w->txn, key, &e);
    if (err != C2_E_OK)
        return bad(w, "a key that the digest tree has cannot be read: %s", c2_err_text(err));
    store_entry_hash(key, &e, have);
    if (memcmp(have, hash, sizeof have) != 0)
        return bad(w, "the record of a key differs from its hash");
    w->items++;
    w->bytes += key.len + e.value.len;
    w->p->keys++;
    w->p->bytes += key.len + e.value.len;
    return C2_E_OK;
}

static bool
enough(const struct piece *w)
{
    return w->items >= STORE_PATROL_ITEMS || w->bytes >= STORE_PATROL_BYTES;
}

static C2_RESULT
check_leaf(struct piece *w, unsigned depth, struct c2_slice hashes)
{
    for (size_t k = 0; k < hashes.len; k += TREE_HASH_LEN) {
        const uint8_t *hash = hashes.data + k;
        bool sorted = k == 0 || memcmp(hash - TREE_HASH_LEN, hash, TREE_HASH_LEN) < 0;
        if (!sorted)
            return bad(w, "a leaf of the digest tree is out of order");
        if (memcmp(hash, w->at, TREE_HASH_LEN) < 0)
            continue;
        C2_TRY(check_entry(w, hash));
        memcpy(w->at, hash, TREE_HASH_LEN);
        if (enough(w)) {
            skip(w, DEPTH_MAX);
            return C2_E_OK;
        }
    }
    skip(w, depth);
    return C2_E_OK;
}

/* The child that is on the way, or the next one; NULL: none of them is, and the way is behind. */
static const uint8_t *
choose_child(struct piece *w, unsigned depth, struct c2_slice record)
{
    unsigned wanted = nibble(w->at, depth), i = wanted;
    while (i < 16 && tree_child(record, i) == NULL)
        i++;
    if (i == 16) {
        skip(w, depth);
        return NULL;
    }
    if (i > wanted) {
        tree_path_set(w->at, depth, i);
        for (unsigned k = depth + 1; k < DEPTH_MAX; k++)
            tree_path_set(w->at, k, 0);
    }
    return tree_child(record, i);
}

/* From the root to one leaf. */
static C2_RESULT
descend(struct piece *w)
{
    uint8_t want[TREE_HASH_LEN] = { 0 }, have[TREE_HASH_LEN];
    for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
        struct c2_slice record;
        enum c2_err err = tree_node(w->txn, w->at, depth, &record);
        if (err == C2_E_NOT_FOUND && depth == 0) {
            w->over = true; /* there is no key */
            return C2_E_OK;
        }
        if (err != C2_E_OK || tree_check_record(record) != C2_E_OK)
            return bad(w, "a node of the digest tree at depth %u cannot be read", depth);
        c2_sha256(record, have);
        if (depth > 0 && memcmp(have, want, sizeof have) != 0)
            return bad(w, "a node of the digest tree at depth %u differs from its hash", depth);
        w->items++;
        if (!tree_is_inner(record))
            return check_leaf(w, depth, tree_hashes(record));
        const uint8_t *child = choose_child(w, depth, record);
        if (child == NULL)
            return C2_E_OK;
        memcpy(want, child, sizeof want);
    }
    return bad(w, "the digest tree is too deep");
}

static C2_RESULT
compare_digest(struct piece *w, const struct store_state *s)
{
    struct store_head h;
    uint8_t have[C2_SHA256_LEN];
    C2_AUTO(c2_buf_done) struct c2_buf sessions = { 0 };
    if (w->p->digest == NULL)
        return C2_E_OK;
    if (store_read_head(w->txn, s, &h, &sessions) != C2_E_OK)
        return bad(w, "the sessions cannot be read");
    store_head_digest(&h, have);
    if (memcmp(have, w->p->digest, sizeof have) != 0)
        return bad(w, "the state differs from its last checkpoint");
    return C2_E_OK;
}

static C2_RESULT
check_piece(struct piece *w, const struct store_state *s)
{
    memcpy(w->at, w->p->at, sizeof w->at);
    while (!w->over && !enough(w))
        C2_TRY(descend(w));
    if (w->over)
        C2_TRY(compare_digest(w, s));
    memcpy(w->p->at, w->at, sizeof w->at);
    w->p->finished = w->over;
    return C2_E_OK;
}

C2_RESULT
store_patrol(struct replica_app *a, struct store_patrol *p)
{
    struct store_state s;
    struct piece w = { .p = p };
    C2_ASSERT(!p->finished);
    C2_TRY(kv_begin(store_of(a)->kv, false, &w.txn));
    enum c2_err err = store_read_state(w.txn, &s);
    if (err != C2_E_OK)
        err = bad(&w, "the state record cannot be read: %s", c2_err_text(err));
    else if (s.loading || s.ndirty > 0)
        err = C2_E_BUSY;
    if (err == C2_E_OK)
        err = check_piece(&w, &s);
    kv_abort(w.txn);
    return err;
}
