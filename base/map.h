/* SPDX-License-Identifier: MIT */
/*
 * Intrusive hash map with chaining; grows and shrinks by rehashing. Two kinds of key: 64-bit
 * integers and byte strings. The hash is seeded, so outside data cannot aim at one bucket.
 */
#ifndef C2_BASE_MAP_H
#define C2_BASE_MAP_H

#include "base/buf.h"

struct c2_map_node {
    struct c2_map_node *next; /* owned by the map */
    uint64_t hash;
};

struct c2_map {
    struct c2_map_node **buckets; /* owned */
    size_t nbuckets;              /* power of two, 0 before the first insert */
    size_t count;
    uint64_t seed;
};

void c2_map_init(struct c2_map *m, uint64_t seed);
/* The nodes are the caller's; the map must be empty or the caller frees what it held. */
void c2_map_done(struct c2_map *m);
uint64_t c2_map_hash_u64(const struct c2_map *m, uint64_t key);
uint64_t c2_map_hash_bytes(const struct c2_map *m, struct c2_slice key);
/* node->hash must be set. Duplicates are the caller's business. */
void c2_map_insert(struct c2_map *m, struct c2_map_node *node);
void c2_map_remove(struct c2_map *m, struct c2_map_node *node);
/* First node with this hash, then the next one with the same; the caller compares keys. */
struct c2_map_node *c2_map_find(const struct c2_map *m, uint64_t hash);
struct c2_map_node *c2_map_find_next(const struct c2_map_node *node);
/* Takes every node out at once, in a chain by `next`; the map is empty then. (Taking them one by
 * one with c2_map_next costs the square of their number.) */
struct c2_map_node *c2_map_take_all(struct c2_map *m);
/* Any node after `node` in bucket order (NULL = the first); NULL at the end. The map must not
 * change between calls, except for the removal of the node last returned after its successor was
 * fetched. */
struct c2_map_node *c2_map_next(const struct c2_map *m, const struct c2_map_node *node);

#endif
