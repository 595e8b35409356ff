/* SPDX-License-Identifier: MIT */
/*
 * The read cache. A block belongs to its object, and may be in memory, on disk, or both:
 *
 *   put ──► memory ──(queue, pool seals)──► disk          disk:  NONE ─► QUEUED ─► WRITING ─►
 * PRESENT │ LRU                           │ LRU                                              │ ▼ ▼
 * NONE ◄───── REMOVING ◄─────────┘ dropped                        unlinked
 *
 * A block without memory, file and request in flight is freed, an object without blocks as well.
 * Writing is best effort: a long queue, a full or failing disk only make the cache smaller.
 */
#include "fs/cache_file.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mark.h"
#include "base/wire.h"

#define WRITE_QUEUE_MAX  32
#define WRITES_MAX       2
#define WRITE_ERRORS_MAX 8 /* in a row, then the disk is left alone */
#define OPEN_INLINE_MAX  ((size_t)64 << 10)
#define SUBDIRS          256
#define FULL_DISK_PART   10 /* this part of the cache goes when the disk is full */

enum disk_state { DISK_NONE, DISK_QUEUED, DISK_WRITING, DISK_PRESENT, DISK_REMOVING };

struct object {
    struct c2_map_node node;
    struct ds_oid oid;
    struct c2_list blocks;
};

struct block {
    struct c2_link link; /* in object->blocks */
    struct object *object;
    uint32_t index, len;
    struct c2_blob *blob; /* one reference; NULL = not in memory */
    enum disk_state disk;
    bool doomed;         /* forgotten: the file goes as soon as it is written */
    unsigned reads;      /* in flight */
    struct c2_link lru;  /* in memory */
    struct c2_link file; /* QUEUED: in the queue; PRESENT: in the disk's LRU */
};

struct cache {
    struct c2_env *env;
    char *dir;    /* owned; NULL = memory only */
    uint8_t *key; /* owned, in the secret arena; never changes, the pool reads it */
    uint64_t disk_max, memory_max;
    uint64_t disk_bytes, memory_bytes;
    struct c2_map objects;
    struct c2_list memory; /* LRU, oldest first */
    struct c2_list files;  /* LRU, oldest first */
    struct c2_list queue;  /* to be written */
    unsigned writing;
    unsigned write_errors; /* in a row */
    unsigned outstanding;  /* requests and work of any kind */
    struct c2_disk_req scan_io;
    char *scan_path; /* owned */
    unsigned scan_next;
    bool scan_discards; /* cleared: what is still to be found goes as well */
    bool draining;
    void (*drained)(void *arg);
    void *drained_arg;
    struct c2_task drained_task;
    struct cache_stats stats;
};

/* ---- objects and blocks -------------------------------------------------------------------- */

static uint64_t
hash_oid(const struct cache *c, const struct ds_oid *oid)
{
    return c2_map_hash_bytes(&c->objects, c2_slice(oid, sizeof *oid));
}

static struct object *
find_object(const struct cache *c, const struct ds_oid *oid)
{
    struct c2_map_node *n = c2_map_find(&c->objects, hash_oid(c, oid));
    for (; n != NULL; n = c2_map_find_next(n)) {
        struct object *o = C2_CONTAINER_OF(n, struct object, node);
        if (memcmp(&o->oid, oid, sizeof *oid) == 0)
            return o;
    }
    return NULL;
}

static struct block *
find_block(const struct cache *c, const struct ds_oid *oid, uint32_t index)
{
    struct object *o = find_object(c, oid);
    if (o == NULL)
        return NULL;
    C2_LIST_FOREACH (&o->blocks, struct block, b, link) {
        if (b->index == index)
            return b;
    }
    return NULL;
}

static struct block *
new_block(struct cache *c, const struct ds_oid *oid, uint32_t index, uint32_t len)
{
    struct object *o = find_object(c, oid);
    if (o == NULL) {
        o = c2_calloc(1, sizeof *o);
        o->oid = *oid;
        o->node.hash = hash_oid(c, oid);
        c2_list_init(&o->blocks);
        c2_map_insert(&c->objects, &o->node);
    }
    struct block *b = c2_calloc(1, sizeof *b);
    b->object = o;
    b->index = index;
    b->len = len;
    c2_list_append(&o->blocks, &b->link);
    return b;
}

/* Frees the block when nothing of it is left, and its object then too. */
static void
settle(struct cache *c, struct block *b)
{
    struct object *o = b->object;
    if (b->blob != NULL || b->disk != DISK_NONE || b->reads > 0)
        return;
    c2_list_remove(&o->blocks, &b->link);
    c2_free(b);
    if (!c2_list_empty(&o->blocks))
        return;
    c2_map_remove(&c->objects, &o->node);
    c2_free(o);
}

static void
forget_memory(struct cache *c, struct block *b)
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
        struct block *oldest = C2_LIST_FIRST(&c->memory, struct block, lru);
        C2_ASSERT(oldest != NULL);
        forget_memory(c, oldest);
        settle(c, oldest);
    }
}

static void
set_memory(struct cache *c, struct block *b, struct c2_blob *data)
{
    C2_ASSERT(b->blob == NULL);
    b->blob = c2_blob_ref(data);
    c->memory_bytes += data->len;
    c2_list_append(&c->memory, &b->lru);
}

static void
touch(struct cache *c, struct block *b)
{
    if (b->blob != NULL) {
        c2_list_remove(&c->memory, &b->lru);
        c2_list_append(&c->memory, &b->lru);
    }
    if (b->disk == DISK_PRESENT) {
        c2_list_remove(&c->files, &b->file);
        c2_list_append(&c->files, &b->file);
    }
}

/* One request fewer; the last thing its completion does. */
static void
end_one(struct cache *c)
{
    C2_ASSERT(c->outstanding > 0);
    if (--c->outstanding == 0 && c->draining)
        c->drained(c->drained_arg);
}

/* ---- removing files ------------------------------------------------------------------------ */

struct removal {
    struct cache *cache;
    struct block *block;
    struct c2_disk_req io;
    char *path; /* owned */
};

static uint64_t
file_size(const struct block *b)
{
    return b->len + CACHE_FILE_OVERHEAD;
}

static void
removed(struct c2_disk_req *io)
{
    struct removal *r = C2_CONTAINER_OF(io, struct removal, io);
    struct cache *c = r->cache;
    struct block *b = r->block;
    c2_free(r->path);
    c2_free(r);
    b->disk = DISK_NONE;
    settle(c, b);
    end_one(c);
}

static void
remove_file(struct cache *c, struct block *b)
{
    struct removal *r = c2_calloc(1, sizeof *r);
    C2_ASSERT(b->disk == DISK_PRESENT);
    c2_list_remove(&c->files, &b->file);
    c->disk_bytes -= file_size(b);
    b->disk = DISK_REMOVING;
    r->cache = c;
    r->block = b;
    r->path = cache_file_path(c->dir, &b->object->oid, b->index, b->len);
    r->io = (struct c2_disk_req){ .verb = C2_DISK_UNLINK, .path = r->path, .done = removed };
    c->outstanding++;
    c2_disk(c->env, &r->io);
}

static void
trim_disk(struct cache *c, uint64_t max)
{
    while (c->disk_bytes > max)
        remove_file(c, C2_LIST_FIRST(&c->files, struct block, file));
}

/* The file is there (written, or found by the scan). */
static void
set_present(struct cache *c, struct block *b)
{
    b->disk = DISK_PRESENT;
    c->disk_bytes += file_size(b);
    c2_list_append(&c->files, &b->file);
}

static void
forget_file(struct cache *c, struct block *b)
{
    switch (b->disk) {
    case DISK_QUEUED:
        c2_list_remove(&c->queue, &b->file);
        b->disk = DISK_NONE;
        return;
    case DISK_WRITING:
        b->doomed = true;
        return;
    case DISK_PRESENT:
        remove_file(c, b);
        return;
    case DISK_NONE:
    case DISK_REMOVING:
        return;
    }
    C2_UNREACHABLE();
}

/* ---- writing files ------------------------------------------------------------------------- */

struct writing {
    struct cache *cache;
    struct block *block;
    struct ds_oid oid;
    uint32_t index;
    struct c2_blob *plain; /* one reference */
    uint8_t *file;         /* owned */
    struct c2_slice iov;
    char *path; /* owned */
    struct c2_work work;
    struct c2_disk_req io;
};

static void write_next(struct cache *c);

static void
write_failed(struct cache *c, enum c2_err err)
{
    c->write_errors++;
    if (err == C2_E_NO_SPACE || err == C2_E_QUOTA) {
        C2_MARK("cache: full disk, the cache makes room");
        trim_disk(c, c->disk_bytes - c->disk_bytes / FULL_DISK_PART);
    }
    if (c->write_errors == WRITE_ERRORS_MAX)
        c2_log(WARN, "cache", "dir=%s err=%s, going on without writing to it", c->dir,
               c2_err_name(err));
}

static void
written(struct c2_disk_req *io)
{
    struct writing *w = C2_CONTAINER_OF(io, struct writing, io);
    struct cache *c = w->cache;
    struct block *b = w->block;
    enum c2_err err = io->err;
    c2_blob_unref(w->plain);
    c2_free(w->file);
    c2_free(w->path);
    c2_free(w);
    c->writing--;
    b->disk = DISK_NONE;
    if (err == C2_E_OK) {
        c->write_errors = 0;
        set_present(c, b);
        if (b->doomed)
            remove_file(c, b);
        b->doomed = false;
        trim_disk(c, c->disk_max);
    } else {
        b->doomed = false;
        write_failed(c, err);
        settle(c, b);
    }
    write_next(c);
    end_one(c);
}

static void
seal(struct c2_work *work)
{
    struct writing *w = C2_CONTAINER_OF(work, struct writing, work);
    cache_file_seal(w->cache->key, &w->oid, w->index, c2_blob_slice(w->plain), w->file);
}

static void
sealed(struct c2_work *work)
{
    struct writing *w = C2_CONTAINER_OF(work, struct writing, work);
    w->io = (struct c2_disk_req){ .verb = C2_DISK_WRITE,
                                  .flags = C2_DISK_MAKE_DIRS,
                                  .path = w->path,
                                  .iov = &w->iov,
                                  .niov = 1,
                                  .done = written };
    c2_disk(w->cache->env, &w->io);
}

static void
write_next(struct cache *c)
{
    while (c->writing < WRITES_MAX && !c->draining) {
        struct block *b = C2_LIST_FIRST(&c->queue, struct block, file);
        if (b == NULL)
            return;
        c2_list_remove(&c->queue, &b->file);
        b->disk = DISK_NONE;
        if (b->blob == NULL) { /* left memory before its turn */
            settle(c, b);
            continue;
        }
        struct writing *w = c2_calloc(1, sizeof *w);
        b->disk = DISK_WRITING;
        w->cache = c;
        w->block = b;
        w->oid = b->object->oid;
        w->index = b->index;
        w->plain = c2_blob_ref(b->blob);
        w->file = c2_alloc((size_t)file_size(b));
        w->iov = c2_slice(w->file, (size_t)file_size(b));
        w->path = cache_file_path(c->dir, &b->object->oid, b->index, b->len);
        w->work = (struct c2_work){ .run = seal, .done = sealed };
        c->writing++;
        c->outstanding++;
        c2_work(c->env, &w->work);
    }
}

static void
queue_write(struct cache *c, struct block *b)
{
    if (c->dir == NULL || b->disk != DISK_NONE || c->write_errors >= WRITE_ERRORS_MAX ||
        file_size(b) > c->disk_max)
        return;
    if (c->queue.count >= WRITE_QUEUE_MAX) {
        C2_MARK("cache: write queue is full");
        return;
    }
    b->disk = DISK_QUEUED;
    c2_list_append(&c->queue, &b->file);
    write_next(c);
}

/* ---- the scan of earlier runs -------------------------------------------------------------- */

static void
found_file(struct cache *c, const char *name)
{
    struct ds_oid oid;
    uint32_t index, len;
    if (!cache_file_parse_name(name, &oid, &index, &len))
        return;
    struct block *b = find_block(c, &oid, index);
    if (b == NULL)
        b = new_block(c, &oid, index, len);
    if (b->disk != DISK_NONE || b->len != len)
        return; /* put meanwhile: what is being written replaces this file */
    set_present(c, b);
    c2_list_remove(&c->files, &b->file);
    c2_list_prepend(&c->files, &b->file); /* older than whatever this run used */
    if (c->scan_discards)
        remove_file(c, b);
}

static void
found_files(struct cache *c, struct c2_slice names)
{
    for (size_t at = 0; at < names.len;) {
        const char *name = (const char *)names.data + at;
        size_t len = strnlen(name, names.len - at);
        if (at + len == names.len)
            return; /* no zero at the end: not a list */
        found_file(c, name);
        at += len + 1;
    }
}

static void
scanned(struct c2_disk_req *io)
{
    struct cache *c = C2_CONTAINER_OF(io, struct cache, scan_io);
    struct c2_blob *names = io->reply;
    io->reply = NULL;
    if (names != NULL)
        found_files(c, c2_blob_slice(names));
    c2_blob_unref(names);
    trim_disk(c, c->disk_max);
    c2_free(c->scan_path);
    c->scan_path = NULL;
    bool no_folder = io->verb == C2_DISK_MKDIR && io->err != C2_E_OK;
    if (c->scan_next == SUBDIRS || c->draining || no_folder) {
        end_one(c);
        return;
    }
    c->scan_path = c2_asprintf("%s/%02x", c->dir, c->scan_next++);
    c->scan_io = (struct c2_disk_req){ .verb = C2_DISK_LIST, .done = scanned };
    c->scan_io.path = c->scan_path;
    c2_disk(c->env, &c->scan_io);
}

static void
scan_start(struct cache *c)
{
    c->outstanding++;
    c->scan_path = c2_strdup(c->dir);
    c->scan_io = (struct c2_disk_req){ .verb = C2_DISK_MKDIR, .done = scanned };
    c->scan_io.path = c->scan_path;
    c2_disk(c->env, &c->scan_io);
}

/* ---- reading ------------------------------------------------------------------------------- */

struct c2_blob *
cache_peek(struct cache *c, const struct ds_oid *oid, uint32_t block)
{
    struct block *b = find_block(c, oid, block);
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
    end_one(c);
}

static void
read_end(struct cache_get *g, enum c2_err err)
{
    struct cache *c = g->priv[0];
    struct block *b = g->priv[1];
    b->reads--;
    if (err == C2_E_OK) {
        c->stats.hits_disk++;
        if (b->blob == NULL && !b->doomed && b->disk == DISK_PRESENT)
            set_memory(c, b, g->data);
    } else {
        c->stats.misses++;
        if (err == C2_E_PARSE || err == C2_E_CORRUPT)
            c->stats.damaged++;
        if (b->disk == DISK_PRESENT)
            remove_file(c, b);
    }
    settle(c, b);
    trim_memory(c);
    c2_blob_unref(g->disk.reply);
    g->disk.reply = NULL;
    c2_free(g->priv[2]);
    g->priv[2] = NULL;
    g->done(g);
    end_one(c);
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
    struct block *b = find_block(c, &g->oid, g->block);
    C2_ASSERT(g->done != NULL && !c->draining);
    c->outstanding++;
    g->priv[0] = c;
    g->data = NULL;
    if (b == NULL || (b->blob == NULL && b->disk != DISK_PRESENT)) {
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
    struct block *b = find_block(c, oid, block);
    C2_ASSERT(data->len <= CACHE_BLOCK_SIZE);
    if (c->draining)
        return;
    if (b != NULL && b->len != data->len) {
        /* A shorter piece of the block was kept before. */
        forget_memory(c, b);
        forget_file(c, b);
        if (b->disk != DISK_NONE || b->reads > 0) {
            settle(c, b);
            return; /* its old file is on the way: not worth waiting */
        }
        b->len = (uint32_t)data->len;
    }
    if (b == NULL)
        b = new_block(c, oid, block, (uint32_t)data->len);
    touch(c, b);
    if (b->blob == NULL && data->len <= c->memory_max)
        set_memory(c, b, data);
    if (b->blob != NULL)
        queue_write(c, b);
    settle(c, b);
    trim_memory(c);
}

static void
forget_all_blocks(struct cache *c, struct object *o)
{
    /* The object goes with its last block: it must not be looked at after that. */
    size_t left = o->blocks.count;
    struct c2_link *at = o->blocks.head.next;
    for (; left > 0; left--) {
        struct block *b = C2_CONTAINER_OF(at, struct block, link);
        at = at->next;
        forget_memory(c, b);
        forget_file(c, b);
        settle(c, b);
    }
}

void
cache_forget_object(struct cache *c, const struct ds_oid *oid)
{
    struct object *o = find_object(c, oid);
    if (o != NULL)
        forget_all_blocks(c, o);
}

void
cache_clear(struct cache *c)
{
    struct c2_map_node *n = c2_map_next(&c->objects, NULL);
    c->scan_discards = true;
    while (n != NULL) {
        struct object *o = C2_CONTAINER_OF(n, struct object, node);
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
        scan_start(c);
    }
    *ret_cache = c;
    return C2_E_OK;
}

static void
drained_now(struct c2_task *t)
{
    struct cache *c = C2_CONTAINER_OF(t, struct cache, drained_task);
    end_one(c);
}

void
cache_drain(struct cache *c, void (*drained)(void *arg), void *arg)
{
    C2_ASSERT(!c->draining);
    c->draining = true;
    c->drained = drained;
    c->drained_arg = arg;
    while (!c2_list_empty(&c->queue)) {
        struct block *b = C2_LIST_FIRST(&c->queue, struct block, file);
        forget_file(c, b);
        settle(c, b);
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
        struct object *o = C2_CONTAINER_OF(n, struct object, node);
        n = c2_map_next(&c->objects, n);
        C2_LIST_FOREACH (&o->blocks, struct block, b, link) {
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
