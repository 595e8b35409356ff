/* SPDX-License-Identifier: MIT */
/*
 * What is known of objects: layout, content key and, per seat, the leaf hashes; all of it verified
 * under a trusted object_root, which is also the key of the cache. Bounded by the number of share
 * headers held; the least recently used object goes first, its key is wiped.
 */
#ifndef C2_DEPSKY_CACHE_H
#define C2_DEPSKY_CACHE_H

#include "base/list.h"
#include "base/map.h"
#include "depsky/share.h"

struct ds_object {
    struct c2_map_node node;
    struct c2_link lru;
    unsigned refs; /* the cache holds one while it is linked */
    struct ds_ref ref;
    uint16_t flags;
    unsigned n, k;
    uint32_t hdr_len;
    struct ds_layout layout; /* immutable: pool jobs read it */
    uint8_t key_commit[C2_SHA256_LEN];
    bool have_key;
    uint8_t key[C2_KEY_LEN];       /* immutable once have_key; wiped */
    uint8_t *leaves[DS_SEATS_MAX]; /* owned, immutable; NULL = this seat's header not seen */
    uint8_t y[DS_SEATS_MAX][DS_SECRET_LEN]; /* of those seats, until have_key; wiped */
    unsigned nrows;                         /* leaves that are not NULL */
};

struct ds_cache {
    struct c2_map map;
    struct c2_list lru; /* most recently used first */
    size_t rows, rows_max;
};

void ds_cache_init(struct ds_cache *cache, uint64_t seed, size_t rows_max);
void ds_cache_done(struct ds_cache *cache);

/* A reference, or NULL. */
struct ds_object *ds_cache_find(struct ds_cache *cache, const uint8_t root[DS_ROOT_LEN]);
/* A reference to the object of a verified share; takes over the layout. */
struct ds_object *ds_cache_add(struct ds_cache *cache, const struct ds_share *sh,
                               struct ds_layout *layout);
/* Adds the seat of a verified share. */
void ds_cache_add_row(struct ds_cache *cache, struct ds_object *o, const struct ds_share *sh,
                      const uint8_t *leaves);
void ds_object_unref(struct ds_object *o); /* NULL is fine */

/* C2_E_AGAIN: fewer than k shares; C2_E_KEY: the key does not match the commitment. */
C2_RESULT ds_object_recover_key(struct ds_object *o, const uint8_t *data_key);

#endif
