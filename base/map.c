/* SPDX-License-Identifier: MIT */
/*
 * Hash map with chaining. Byte strings are hashed with SipHash-1-3 keyed by the map's seed, so
 * that names chosen by strangers do not pile up in one bucket.
 *
 * The table grows inside insert when it is full and shrinks inside insert when it is nearly empty.
 * remove never moves a node, which is what makes removal during iteration possible.
 */
#include "base/map.h"

#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"

#define BUCKETS_MIN ((size_t)16)

void
c2_map_init(struct c2_map *m, uint64_t seed)
{
    *m = (struct c2_map){ .seed = seed };
}

void
c2_map_done(struct c2_map *m)
{
    c2_free(m->buckets);
    *m = (struct c2_map){ .seed = m->seed };
}

uint64_t
c2_map_hash_u64(const struct c2_map *m, uint64_t key)
{
    uint64_t h = key ^ m->seed; /* then the finaliser of MurmurHash3 */
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdull;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ull;
    return h ^ (h >> 33);
}

static uint64_t
rotl(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static void
sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

static void
sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

uint64_t
c2_map_hash_bytes(const struct c2_map *m, struct c2_slice key)
{
    uint64_t k0 = m->seed, k1 = ~m->seed;
    uint64_t v[4] = { k0 ^ 0x736f6d6570736575ull, k1 ^ 0x646f72616e646f6dull,
                      k0 ^ 0x6c7967656e657261ull, k1 ^ 0x7465646279746573ull };
    size_t words = key.len / 8;
    for (size_t i = 0; i < words; i++)
        sip_word(v, c2_get_u64(key.data + i * 8));
    uint8_t last[8] = { 0 };
    if (key.len % 8 != 0)
        memcpy(last, key.data + words * 8, key.len % 8);
    last[7] = (uint8_t)key.len;
    sip_word(v, c2_get_u64(last));
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static size_t
bucket_of(const struct c2_map *m, uint64_t hash)
{
    return (size_t)hash & (m->nbuckets - 1);
}

static void
rehash(struct c2_map *m, size_t nbuckets)
{
    struct c2_map_node **old = m->buckets;
    size_t nold = m->nbuckets;
    m->buckets = c2_calloc(nbuckets, sizeof(struct c2_map_node *));
    m->nbuckets = nbuckets;
    for (size_t i = 0; i < nold; i++) {
        struct c2_map_node *next;
        for (struct c2_map_node *n = old[i]; n != NULL; n = next) {
            next = n->next;
            struct c2_map_node **at = &m->buckets[bucket_of(m, n->hash)];
            n->next = *at;
            *at = n;
        }
    }
    c2_free(old);
}

void
c2_map_insert(struct c2_map *m, struct c2_map_node *node)
{
    if (m->count >= m->nbuckets)
        rehash(m, C2_MAX(m->nbuckets * 2, BUCKETS_MIN));
    else if (m->nbuckets > BUCKETS_MIN && m->count < m->nbuckets / 16)
        rehash(m, C2_MAX(m->nbuckets / 8, BUCKETS_MIN));
    struct c2_map_node **at = &m->buckets[bucket_of(m, node->hash)];
    node->next = *at;
    *at = node;
    m->count++;
}

void
c2_map_remove(struct c2_map *m, struct c2_map_node *node)
{
    C2_ASSERT(m->count > 0);
    struct c2_map_node **at = &m->buckets[bucket_of(m, node->hash)];
    while (*at != node) {
        C2_ASSERT(*at != NULL);
        at = &(*at)->next;
    }
    *at = node->next;
    node->next = NULL;
    m->count--;
}

static struct c2_map_node *
first_with(struct c2_map_node *n, uint64_t hash)
{
    while (n != NULL && n->hash != hash)
        n = n->next;
    return n;
}

struct c2_map_node *
c2_map_find(const struct c2_map *m, uint64_t hash)
{
    return m->nbuckets == 0 ? NULL : first_with(m->buckets[bucket_of(m, hash)], hash);
}

struct c2_map_node *
c2_map_find_next(const struct c2_map_node *node)
{
    return first_with(node->next, node->hash);
}

struct c2_map_node *
c2_map_take_all(struct c2_map *m)
{
    struct c2_map_node *all = NULL;
    for (size_t i = 0; i < m->nbuckets; i++) {
        while (m->buckets[i] != NULL) {
            struct c2_map_node *node = m->buckets[i];
            m->buckets[i] = node->next;
            node->next = all;
            all = node;
        }
    }
    m->count = 0;
    return all;
}

struct c2_map_node *
c2_map_next(const struct c2_map *m, const struct c2_map_node *node)
{
    if (node != NULL && node->next != NULL)
        return node->next;
    size_t i = node == NULL ? 0 : bucket_of(m, node->hash) + 1;
    for (; i < m->nbuckets; i++) {
        if (m->buckets[i] != NULL)
            return m->buckets[i];
    }
    return NULL;
}
