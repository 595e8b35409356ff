/* SPDX-License-Identifier: MIT */
/*
 * The digest tree: a Merkle tree over a set of 32-byte hashes, kept in KV_TREE. A hash lies on
 * the path its own nibbles spell. A subtree of at most TREE_LEAF_MAX hashes is one leaf, a larger
 * one has sixteen children, so that the shape and the root depend on the set alone, not on its
 * history, and a change costs one node per level.
 *
 * Whoever wants two sets with one root must find a SHA-256 collision; whoever wants a deep path
 * must find hashes with long common prefixes.
 */
#ifndef C2_METADATA_TREE_H
#define C2_METADATA_TREE_H

#include "metadata/kv.h"

#define TREE_HASH_LEN 32
#define TREE_LEAF_MAX 48

struct tree_op {
    uint8_t hash[TREE_HASH_LEN];
    bool insert; /* else remove */
};

/* Sorts the operations and applies them. DAMAGED when one inserts what is there or removes what is
 * not: the set and the tree have diverged. */
C2_RESULT tree_apply(struct kv_txn *txn, struct tree_op *ops, size_t nops);
/* The record of the node at exactly this path (depth nibbles of `path`); NOT_FOUND when there is
 * none. Borrowed until the next change. */
C2_RESULT tree_node(struct kv_txn *txn, const uint8_t path[TREE_HASH_LEN], unsigned depth,
                    struct c2_slice *ret_record);
/* Appends all hashes that begin with the path. */
C2_RESULT tree_collect(struct kv_txn *txn, const uint8_t path[TREE_HASH_LEN], unsigned depth,
                       struct c2_buf *out);

/* A node's record, from outside: CORRUPT unless it is one. */
C2_RESULT tree_check_record(struct c2_slice record);
bool tree_is_inner(struct c2_slice record);
/* Inner: the hash of child i, NULL = it has none. */
const uint8_t *tree_child(struct c2_slice record, unsigned i);
/* Leaf: its hashes, TREE_HASH_LEN bytes each. */
struct c2_slice tree_hashes(struct c2_slice record);
/* Sets nibble `at` of a path. */
void tree_path_set(uint8_t path[TREE_HASH_LEN], unsigned at, unsigned value);

/* All zeros for the empty set. */
C2_RESULT tree_root(struct kv_txn *txn, uint8_t root[TREE_HASH_LEN], uint64_t *ret_count);

#endif
