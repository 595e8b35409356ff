/* SPDX-License-Identifier: MIT */
#include "depsky/cache.h"

#include <string.h>

#include "base/alloc.h"
#include "depsky/codec.h"

void
ds_cache_init(struct ds_cache *cache, uint64_t seed, size_t rows_max)
{
    *cache = (struct ds_cache){ .rows_max = rows_max };
    c2_map_init(&cache->map, seed);
    c2_list_init(&cache->lru);
}

void
ds_object_unref(struct ds_object *o)
{
    if (o == NULL || --o->refs > 0)
        return;
    for (unsigned i = 0; i < DS_SEATS_MAX; i++)
        c2_free(o->leaves[i]);
    ds_layout_done(&o->layout);
    c2_wipe(o->key, sizeof(o->key));
    c2_wipe(o->y, sizeof(o->y));
    c2_free(o);
}

static void
evict(struct ds_cache *cache, struct ds_object *o)
{
    c2_map_remove(&cache->map, &o->node);
    c2_list_remove(&cache->lru, &o->lru);
    cache->rows -= o->nrows;
    ds_object_unref(o);
}

void
ds_cache_done(struct ds_cache *cache)
{
    while (!c2_list_empty(&cache->lru))
        evict(cache, C2_LIST_FIRST(&cache->lru, struct ds_object, lru));
    C2_ASSERT(cache->rows == 0);
    c2_map_done(&cache->map);
}

static void
trim(struct ds_cache *cache)
{
    while (cache->rows > cache->rows_max && !c2_list_empty(&cache->lru))
        evict(cache, C2_LIST_LAST(&cache->lru, struct ds_object, lru));
}

struct ds_object *
ds_cache_find(struct ds_cache *cache, const uint8_t root[DS_ROOT_LEN])
{
    uint64_t hash = c2_map_hash_bytes(&cache->map, c2_slice(root, DS_ROOT_LEN));
    struct c2_map_node *node = c2_map_find(&cache->map, hash);
    for (; node != NULL; node = c2_map_find_next(node)) {
        struct ds_object *o = C2_CONTAINER_OF(node, struct ds_object, node);
        if (memcmp(o->ref.root, root, DS_ROOT_LEN) != 0)
            continue;
        c2_list_remove(&cache->lru, &o->lru);
        c2_list_prepend(&cache->lru, &o->lru);
        o->refs++;
        return o;
    }
    return NULL;
}

struct ds_object *
ds_cache_add(struct ds_cache *cache, const struct ds_share *sh, struct ds_layout *layout)
{
    struct ds_object *o = ds_cache_find(cache, sh->object_root);
    if (o != NULL) {
        ds_layout_done(layout);
        return o;
    }
    o = c2_calloc(1, sizeof(*o));
    o->refs = 2; /* the cache's and the caller's */
    o->ref = (struct ds_ref){
        .oid = sh->oid,
        .plain_len = sh->plain_len,
        .key_epoch = sh->key_epoch,
        .domain_id = sh->domain_id,
    };
    memcpy(o->ref.root, sh->object_root, DS_ROOT_LEN);
    o->flags = sh->flags;
    o->n = sh->n;
    o->k = sh->k;
    o->hdr_len = sh->hdr_len;
    o->layout = *layout;
    *layout = (struct ds_layout){ 0 };
    memcpy(o->key_commit, sh->key_commit, sizeof(o->key_commit));
    o->node.hash = c2_map_hash_bytes(&cache->map, c2_slice(o->ref.root, DS_ROOT_LEN));
    c2_map_insert(&cache->map, &o->node);
    c2_list_prepend(&cache->lru, &o->lru);
    return o;
}

void
ds_cache_add_row(struct ds_cache *cache, struct ds_object *o, const struct ds_share *sh,
                 const uint8_t *leaves)
{
    C2_ASSERT(sh->seat < o->n);
    if (o->leaves[sh->seat] != NULL)
        return;
    size_t len = (size_t)o->layout.nleaf * C2_SHA256_LEN;
    o->leaves[sh->seat] = c2_alloc(len);
    memcpy(o->leaves[sh->seat], leaves, len);
    if (!o->have_key)
        memcpy(o->y[sh->seat], sh->y, DS_SECRET_LEN);
    o->nrows++;
    if (c2_link_linked(&o->lru)) {
        cache->rows++;
        trim(cache);
    }
}

C2_RESULT
ds_object_recover_key(struct ds_object *o, const uint8_t *data_key)
{
    if (o->have_key)
        return C2_E_OK;
    uint8_t x[DS_F_MAX + 1] = { 0 };
    uint8_t y[(DS_F_MAX + 1) * DS_SECRET_LEN];
    unsigned count = 0;
    for (unsigned i = 0; i < o->n && count < o->k; i++) {
        if (o->leaves[i] == NULL)
            continue;
        x[count] = (uint8_t)(i + 1);
        memcpy(y + count * DS_SECRET_LEN, o->y[i], DS_SECRET_LEN);
        count++;
    }
    if (count < o->k)
        return C2_E_AGAIN;
    uint8_t secret[DS_SECRET_LEN];
    uint8_t commit[C2_SHA256_LEN];
    bool keyless = (o->flags & DS_SHARE_KEYLESS) != 0;
    ds_shamir_combine(x, y, o->k, 0, secret);
    ds_codec_key(&o->ref.oid, secret, keyless ? NULL : data_key, o->key, commit);
    o->have_key = c2_equal_secret(commit, o->key_commit, sizeof(commit));
    c2_wipe(secret, sizeof(secret));
    c2_wipe(y, sizeof(y));
    if (!o->have_key) {
        c2_wipe(o->key, sizeof(o->key));
        return C2_E_KEY;
    }
    c2_wipe(o->y, sizeof(o->y));
    return C2_E_OK;
}
