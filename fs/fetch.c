/* SPDX-License-Identifier: MIT */
/*
 * Reads of sources. For an object:
 *
 *   for each 1 MiB block:  memory cache --miss--> disk cache --miss--> object get --> caches
 *
 * Object gets (fs/object_get.c) are shared: a fetch that needs a block on its way waits for it.
 */
#include "fs/fetch.h"

#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "fs/object_get.h"

static void next_block(struct fs_fetch *f);

static void
finish(struct fs_fetch *f, enum c2_err err)
{
    f->err = err;
    f->done(f);
}

void
fs_fetch_done(struct fs_fetch *f)
{
    for (uint32_t k = 0; k < C2_ARRAY_LEN(f->block); k++) {
        c2_blob_unref(f->block[k]);
        f->block[k] = NULL;
    }
    c2_blob_unref(f->joined);
    f->joined = NULL;
    c2_blob_unref(f->journal.data);
    f->journal.data = NULL;
    if (f->object != NULL)
        fs_source_unref(&f->object->source);
    f->object = NULL;
}

/* ---- chunks -------------------------------------------------------------------------------- */

static void
memory_ready(struct c2_task *t)
{
    struct fs_fetch *f = C2_CONTAINER_OF(t, struct fs_fetch, task);
    finish(f, C2_E_OK);
}

static void
journal_read(struct journal_read *r)
{
    struct fs_fetch *f = C2_CONTAINER_OF(r, struct fs_fetch, journal);
    if (r->err == C2_E_OK && (f->off > r->data->len || f->len > r->data->len - f->off))
        r->err = C2_E_DAMAGED;
    if (r->err == C2_E_OK)
        f->data = c2_slice(r->data->data + f->off, (size_t)f->len);
    finish(f, r->err);
}

static void
fetch_chunk(struct fs_fetch *f, struct fs_chunk *c)
{
    C2_ASSERT(f->off + f->len <= c->len);
    if (c->mem != NULL) {
        /* Copied: the chunk may be dropped from memory before the answer is sent. */
        f->joined = c2_blob_copy(c->mem + f->off, (size_t)f->len);
        f->data = c2_blob_slice(f->joined);
        f->task.run = memory_ready;
        c2_defer(f->fs->part.env, &f->task);
        return;
    }
    C2_ASSERT(c->journaled);
    C2_MARK("fetch: read back from the journal");
    f->journal = (struct journal_read){ .loc = c->loc, .done = journal_read };
    journal_read_start(f->fs->journal, &f->journal);
}

/* ---- objects ------------------------------------------------------------------------------- */

static uint32_t
block_len(const struct fs_object *o, uint32_t block)
{
    uint64_t start = (uint64_t)block * CACHE_BLOCK_SIZE;
    return (uint32_t)C2_MIN(o->ref.plain_len - start, (uint64_t)CACHE_BLOCK_SIZE);
}

/* All blocks are here: the range is a part of one, or put together from several. */
static void
blocks_ready(struct fs_fetch *f)
{
    uint64_t skip = f->object_off - (uint64_t)f->first_block * CACHE_BLOCK_SIZE;
    if (f->nblocks == 1) {
        f->data = c2_slice(f->block[0]->data + skip, (size_t)f->len);
        finish(f, C2_E_OK);
        return;
    }
    f->joined = c2_blob_new((size_t)f->len);
    size_t at = 0;
    for (uint32_t k = 0; k < f->nblocks; k++) {
        size_t len = C2_MIN(f->block[k]->len - (size_t)skip, (size_t)f->len - at);
        memcpy(f->joined->data + at, f->block[k]->data + skip, len);
        at += len;
        skip = 0;
    }
    C2_ASSERT(at == f->len);
    f->data = c2_blob_slice(f->joined);
    finish(f, C2_E_OK);
}

static bool
usable(const struct fs_fetch *f, const struct c2_blob *b)
{
    return b != NULL && b->len == block_len(f->object, f->first_block + f->have);
}

static void
got_object(struct fs_fetch *f, enum c2_err err, struct c2_slice data, uint64_t data_off)
{
    if (err != C2_E_OK) {
        finish(f, err);
        return;
    }
    /* The get may cover several of our blocks. */
    while (f->have < f->nblocks) {
        uint64_t start = (uint64_t)(f->first_block + f->have) * CACHE_BLOCK_SIZE;
        uint32_t len = block_len(f->object, f->first_block + f->have);
        if (start < data_off || start + len > data_off + data.len)
            break;
        f->block[f->have++] = c2_blob_copy(data.data + (start - data_off), len);
    }
    next_block(f);
}

static void
cache_answered(struct cache_get *g)
{
    struct fs_fetch *f = C2_CONTAINER_OF(g, struct fs_fetch, cache);
    if (usable(f, g->data)) {
        f->block[f->have++] = g->data;
        next_block(f);
        return;
    }
    c2_blob_unref(g->data);
    fs_object_get_join(f->fs, f->object, f->first_block + f->have, f->whole_object, f, got_object);
}

static void
block_in_memory(struct c2_task *t)
{
    struct fs_fetch *f = C2_CONTAINER_OF(t, struct fs_fetch, task);
    blocks_ready(f);
}

static void
nowhere(struct c2_task *t)
{
    finish(C2_CONTAINER_OF(t, struct fs_fetch, task), C2_E_DAMAGED);
}

static void
next_block(struct fs_fetch *f)
{
    while (f->have < f->nblocks) {
        struct c2_blob *b =
            cache_peek(f->fs->part.cache, &f->object->ref.oid, f->first_block + f->have);
        if (!usable(f, b)) {
            c2_blob_unref(b);
            break;
        }
        f->block[f->have++] = b;
    }
    if (f->have == f->nblocks) {
        f->task.run = block_in_memory;
        c2_defer(f->fs->part.env, &f->task);
        return;
    }
    f->cache = (struct cache_get){ .oid = f->object->ref.oid,
                                   .block = f->first_block + f->have,
                                   .done = cache_answered };
    cache_get_start(f->fs->part.cache, &f->cache);
}

void
fs_fetch_start(struct fs *fs, struct fs_fetch *f)
{
    C2_ASSERT(f->len > 0 && f->len <= FS_READ_MAX);
    struct fs_extent e = { .source = f->source, .source_off = f->off };
    f->fs = fs;
    struct fs_source *s = fs_extent_source(&e, &f->object_off);
    if (s->kind == FS_SOURCE_CHUNK) {
        fetch_chunk(f, C2_CONTAINER_OF(s, struct fs_chunk, source));
        return;
    }
    f->object = C2_CONTAINER_OF(s, struct fs_object, source);
    fs_source_ref(s);
    if (fs_object_is_nowhere(f->object)) {
        f->task.run = nowhere;
        c2_defer(fs->part.env, &f->task);
        return;
    }
    C2_ASSERT(f->object_off + f->len <= f->object->ref.plain_len);
    f->first_block = (uint32_t)(f->object_off / CACHE_BLOCK_SIZE);
    f->nblocks = (uint32_t)((f->object_off + f->len - 1) / CACHE_BLOCK_SIZE) - f->first_block + 1;
    f->have = 0;
    next_block(f);
}

/* ---- read ahead ---------------------------------------------------------------------------- */

struct prefetch {
    struct fs *fs;
    struct fs_object *object;
    struct cache_get cache;
};

static void
prefetch_checked(struct cache_get *g)
{
    struct prefetch *p = C2_CONTAINER_OF(g, struct prefetch, cache);
    if (g->data == NULL && !p->fs->stopping)
        fs_object_get_background(p->fs, p->object);
    c2_blob_unref(g->data);
    fs_source_unref(&p->object->source);
    p->fs->prefetches--;
    c2_free(p);
}

void
fs_prefetch(struct fs *fs, struct fs_object *o)
{
    if (fs_object_is_nowhere(o))
        return;
    struct c2_blob *first = cache_peek(fs->part.cache, &o->ref.oid, 0);
    c2_blob_unref(first);
    if (first != NULL || o->ref.plain_len == 0 || fs_object_get_running(fs, o))
        return;
    struct prefetch *p = c2_calloc(1, sizeof(*p));
    p->fs = fs;
    p->object = o;
    fs_source_ref(&o->source);
    fs->prefetches++;
    p->cache = (struct cache_get){ .oid = o->ref.oid, .block = 0, .done = prefetch_checked };
    cache_get_start(fs->part.cache, &p->cache);
}
