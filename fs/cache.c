/* SPDX-License-Identifier: MIT */
/*
 * The read cache. A block belongs to its object, and may be in memory, on disk, or both:
 *
 *   put ---> memory ---(queue, sealed on the pool)---> disk
 *              | LRU                                     | LRU
 *           dropped                                   unlinked
 *
 * A block without memory, file and request in flight is freed, an object without blocks as well.
 * Writing is best effort: a long queue, a full or failing disk only make the cache smaller.
 */
#include "fs/cache_state.h"

#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"

#define OPEN_INLINE_MAX ((size_t)64 << 10)

/* ---- objects and blocks -------------------------------------------------------------------- */

static uint64_t
hash_oid(const struct cache *c, const struct ds_oid *oid)
{
    return c2_map_hash_bytes(&c->objects, c2_slice(oid, sizeof *oid));
}

static struct cache_object *
find_object(const struct cache *c, const struct ds_oid *oid)
{
    struct c2_map_node *n = c2_map_find(&c->objects, hash_oid(c, oid));
    for (; n != NULL; n = c2_map_find_next(n)) {
        struct cache_object *o = C2_CONTAINER_OF(n, struct cache_object, node);
        if (memcmp(&o->oid, oid, sizeof *oid) == 0)
            return o;
    }
    return NULL;
}

struct cache_block *
cache_block_find(const struct cache *c, const struct ds_oid *oid, uint32_t index)
{
    struct cache_object *o = find_object(c, oid);
    if (o == NULL)
        return NULL;
    C2_LIST_FOREACH (&o->blocks, struct cache_block, b, link) {
        if (b->index == index)
            return b;
    }
    return NULL;
}

struct cache_block *
cache_block_new(struct cache *c, const struct ds_oid *oid, uint32_t index, uint32_t len)
{
    struct cache_object *o = find_object(c, oid);
    if (o == NULL) {
        o = c2_calloc(1, sizeof *o);
        o->oid = *oid;
        o->node.hash = hash_oid(c, oid);
        c2_list_init(&o->blocks);
        c2_map_insert(&c->objects, &o->node);
    }
    struct cache_block *b = c2_calloc(1, sizeof *b);
    b->object = o;
    b->index = index;
    b->len = len;
    c2_list_append(&o->blocks, &b->link);
    return b;
}

/* Frees the block when nothing of it is left, and its object then too. */
void
cache_block_settle(struct cache *c, struct cache_block *b)
{
    struct cache_object *o = b->object;
    if (b->blob != NULL || b->disk != CACHE_DISK_NONE || b->reads > 0)
        return;
    c2_list_remove(&o->blocks, &b->link);
    c2_free(b);
    if (!c2_list_empty(&o->blocks))
        return;
    c2_map_remove(&c->objects, &o->node);
    c2_free(o);
}

static void
forget_memory(struct cache *c, struct cache_block *b)
{
    if (b->blob == NULL)
        return;
    c2_list_remove(&c->memory, &b->lru);
    c->memory_bytes -= b->blob->len;
    c2_blob_unref(b->blob);
    b->blob = NULL;
}

static void
trim_memory(struct cache *c)
{
    while (c->memory_bytes > c->memory_max) {
        struct cache_block *oldest = C2_LIST_FIRST(&c->memory, struct cache_block, lru);
        C2_ASSERT(oldest != NULL);
        forget_memory(c, oldest);
        cache_block_settle(c, oldest);
    }
}

static void
set_memory(struct cache *c, struct cache_block *b, struct c2_blob *data)
{
    C2_ASSERT(b->blob == NULL);
    b->blob = c2_blob_ref(data);
    c->memory_bytes += data->len;
    c2_list_append(&c->memory, &b->lru);
}

static void
touch(struct cache *c, struct cache_block *b)
{
    if (b->blob != NULL) {
        c2_list_remove(&c->memory, &b->lru);
        c2_list_append(&c->memory, &b->lru);
    }
    if (b->disk == CACHE_DISK_PRESENT) {
        c2_list_remove(&c->files, &b->file);
        c2_list_append(&c->files, &b->file);
    }
}

/* One request fewer; the last thing its completion does. */
void
cache_end_one(struct cache *c)
{
    C2_ASSERT(c->outstanding > 0);
    if (--c->outstanding == 0 && c->draining)
        c->drained(c->drained_arg);
}

/* ---- reading ------------------------------------------------------------------------------- */

struct c2_blob *
cache_peek(struct cache *c, const struct ds_oid *oid, uint32_t block)
{
    struct cache_block *b = cache_block_find(c, oid, block);
    if (b == NULL || b->blob == NULL)
        return NULL;
    touch(c, b);
    c->stats.hits_memory++;
    return c2_blob_ref(b->blob);
}

static void
answer(struct c2_task *t)
{
    struct cache_get *g = C2_CONTAINER_OF(t, struct cache_get, task);
    struct cache *c = g->priv[0];
    if (g->data == NULL)
        c->stats.misses++;
    g->done(g);
    cache_end_one(c);
}

static void
read_end(struct cache_get *g, enum c2_err err)
{
    struct cache *c = g->priv[0];
    struct cache_block *b = g->priv[1];
    b->reads--;
    if (err == C2_E_OK) {
        c->stats.hits_disk++;
        if (b->blob == NULL && !b->doomed && b->disk == CACHE_DISK_PRESENT)
            set_memory(c, b, g->data);
    } else {
        c->stats.misses++;
        if (err == C2_E_PARSE || err == C2_E_CORRUPT)
            c->stats.damaged++;
        if (b->disk == CACHE_DISK_PRESENT)
            cache_disk_remove(c, b);
    }
    cache_block_settle(c, b);
    trim_memory(c);
    c2_blob_unref(g->disk.reply);
    g->disk.reply = NULL;
    c2_free(g->priv[2]);
    g->priv[2] = NULL;
    g->done(g);
    cache_end_one(c);
}

static void
open_run(struct c2_work *w)
{
    struct cache_get *g = C2_CONTAINER_OF(w, struct cache_get, work);
    const struct cache *c = g->priv[0];
    g->disk.err =
        cache_file_open(c->key, &g->oid, g->block, c2_blob_slice(g->disk.reply), &g->data);
}

static void
open_done(struct c2_work *w)
{
    struct cache_get *g = C2_CONTAINER_OF(w, struct cache_get, work);
    read_end(g, g->disk.err);
}

static void
file_read(struct c2_disk_req *io)
{
    struct cache_get *g = C2_CONTAINER_OF(io, struct cache_get, disk);
    const struct cache *c = g->priv[0];
    g->work = (struct c2_work){ .run = open_run, .done = open_done };
    if (io->err != C2_E_OK) {
        read_end(g, io->err);
    } else if (io->reply->len > OPEN_INLINE_MAX) {
        c2_work(c->env, &g->work);
    } else {
        open_run(&g->work);
        read_end(g, io->err);
    }
}

void
cache_get_start(struct cache *c, struct cache_get *g)
{
    struct cache_block *b = cache_block_find(c, &g->oid, g->block);
    C2_ASSERT(g->done != NULL && !c->draining);
    c->outstanding++;
    g->priv[0] = c;
    g->data = NULL;
    if (b == NULL || (b->blob == NULL && b->disk != CACHE_DISK_PRESENT)) {
        g->task = (struct c2_task){ .run = answer };
        c2_defer(c->env, &g->task);
        return;
    }
    touch(c, b);
    if (b->blob != NULL) {
        c->stats.hits_memory++;
        g->data = c2_blob_ref(b->blob);
        g->task = (struct c2_task){ .run = answer };
        c2_defer(c->env, &g->task);
        return;
    }
    b->reads++;
    g->priv[1] = b;
    g->priv[2] = cache_file_path(c->dir, &g->oid, g->block, b->len);
    g->disk = (struct c2_disk_req){
        .verb = C2_DISK_READ, .path = g->priv[2], .len_max = CACHE_FILE_MAX + 1, .done = file_read
    };
    c2_disk(c->env, &g->disk);
}

/* ---- the rest ------------------------------------------------------------------------------ */

void
cache_put(struct cache *c, const struct ds_oid *oid, uint32_t block, struct c2_blob *data)
{
    struct cache_block *b = cache_block_find(c, oid, block);
    C2_ASSERT(data->len <= CACHE_BLOCK_SIZE);
    if (c->draining)
        return;
    if (b != NULL && b->len != data->len) {
        /* A shorter piece of the block was kept before. */
        forget_memory(c, b);
        cache_disk_forget(c, b);
        if (b->disk != CACHE_DISK_NONE || b->reads > 0) {
            cache_block_settle(c, b);
            return; /* its old file is on the way: not worth waiting */
        }
        b->len = (uint32_t)data->len;
    }
    if (b == NULL)
        b = cache_block_new(c, oid, block, (uint32_t)data->len);
    touch(c, b);
    if (b->blob == NULL && data->len <= c->memory_max)
        set_memory(c, b, data);
    if (b->blob != NULL)
        cache_disk_queue(c, b);
    cache_block_settle(c, b);
    trim_memory(c);
}

static void
forget_all_blocks(struct cache *c, struct cache_object *o)
{
    /* The object goes with its last block: it must not be looked at after that. */
    size_t left = o->blocks.count;
    struct c2_link *at = o->blocks.head.next;
    for (; left > 0; left--) {
        struct cache_block *b = C2_CONTAINER_OF(at, struct cache_block, link);
        at = at->next;
        forget_memory(c, b);
        cache_disk_forget(c, b);
        cache_block_settle(c, b);
    }
}

void
cache_forget_object(struct cache *c, const struct ds_oid *oid)
{
    struct cache_object *o = find_object(c, oid);
    if (o != NULL)
        forget_all_blocks(c, o);
}

void
cache_clear(struct cache *c)
{
    struct c2_map_node *n = c2_map_next(&c->objects, NULL);
    c->scan_discards = true;
    while (n != NULL) {
        struct cache_object *o = C2_CONTAINER_OF(n, struct cache_object, node);
        n = c2_map_next(&c->objects, n);
        forget_all_blocks(c, o);
    }
}

void
cache_stats(const struct cache *c, struct cache_stats *ret_stats)
{
    *ret_stats = c->stats;
    ret_stats->memory_bytes = c->memory_bytes;
    ret_stats->memory_max = c->memory_max;
    ret_stats->disk_bytes = c->disk_bytes;
    ret_stats->disk_max = c->disk_max;
}

enum c2_err
cache_new(struct c2_env *env, const struct cache_config *config, struct cache **ret_cache)
{
    struct cache *c = c2_calloc(1, sizeof *c);
    uint64_t seed;
    c2_random(env, &seed, sizeof seed);
    c->env = env;
    c->memory_max = config->memory_max;
    c->disk_max = config->dir == NULL ? 0 : config->disk_max;
    c->key = c2_secret_alloc(C2_KEY_LEN);
    memcpy(c->key, config->key, C2_KEY_LEN);
    c2_map_init(&c->objects, seed);
    c2_list_init(&c->memory);
    c2_list_init(&c->files);
    c2_list_init(&c->queue);
    if (config->dir != NULL) {
        c->dir = c2_strdup(config->dir);
        cache_disk_scan(c);
    }
    *ret_cache = c;
    return C2_E_OK;
}

static void
drained_now(struct c2_task *t)
{
    struct cache *c = C2_CONTAINER_OF(t, struct cache, drained_task);
    cache_end_one(c);
}

void
cache_drain(struct cache *c, void (*drained)(void *arg), void *arg)
{
    C2_ASSERT(!c->draining);
    c->draining = true;
    c->drained = drained;
    c->drained_arg = arg;
    while (!c2_list_empty(&c->queue)) {
        struct cache_block *b = C2_LIST_FIRST(&c->queue, struct cache_block, file);
        cache_disk_forget(c, b);
        cache_block_settle(c, b);
    }
    c->outstanding++;
    c->drained_task = (struct c2_task){ .run = drained_now };
    c2_defer(c->env, &c->drained_task);
}

void
cache_free(struct cache *c)
{
    if (c == NULL)
        return;
    C2_ASSERT(c->outstanding == 0);
    for (struct c2_map_node *n = c2_map_next(&c->objects, NULL); n != NULL;) {
        struct cache_object *o = C2_CONTAINER_OF(n, struct cache_object, node);
        n = c2_map_next(&c->objects, n);
        C2_LIST_FOREACH (&o->blocks, struct cache_block, b, link) {
            forget_memory(c, b);
            c2_free(b);
        }
        c2_free(o);
    }
    c2_map_done(&c->objects);
    c2_secret_free(c->key, C2_KEY_LEN);
    c2_free(c->dir);
    c2_free(c);
}
