/* SPDX-License-Identifier: MIT */
/*
 * The cache's files: removing, writing, finding those of earlier runs. States of a block's file:
 *
 *   NONE -> QUEUED -> WRITING -> PRESENT -> REMOVING -> NONE
 *
 * A block that is forgotten while it is being written is doomed: removed as soon as it is there.
 */
#include "fs/cache_state.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"

#define WRITE_QUEUE_MAX  32
#define WRITES_MAX       2
#define WRITE_ERRORS_MAX 8 /* in a row, then the disk is left alone */
#define SUBDIRS          256
#define FULL_DISK_PART   10 /* this part of the cache goes when the disk is full */

/* ---- removing files ------------------------------------------------------------------------ */

struct removal {
    struct cache *cache;
    struct cache_block *block;
    struct c2_disk_req io;
    char *path; /* owned */
};

static uint64_t
file_size(const struct cache_block *b)
{
    return b->len + CACHE_FILE_OVERHEAD;
}

static void
removed(struct c2_disk_req *io)
{
    struct removal *r = C2_CONTAINER_OF(io, struct removal, io);
    struct cache *c = r->cache;
    struct cache_block *b = r->block;
    c2_free(r->path);
    c2_free(r);
    b->disk = CACHE_DISK_NONE;
    cache_block_settle(c, b);
    cache_end_one(c);
}

void
cache_disk_remove(struct cache *c, struct cache_block *b)
{
    struct removal *r = c2_calloc(1, sizeof *r);
    C2_ASSERT(b->disk == CACHE_DISK_PRESENT);
    c2_list_remove(&c->files, &b->file);
    c->disk_bytes -= file_size(b);
    b->disk = CACHE_DISK_REMOVING;
    r->cache = c;
    r->block = b;
    r->path = cache_file_path(c->dir, &b->object->oid, b->index, b->len);
    r->io = (struct c2_disk_req){ .verb = C2_DISK_UNLINK, .path = r->path, .done = removed };
    c->outstanding++;
    c2_disk(c->env, &r->io);
}

void
cache_disk_trim(struct cache *c, uint64_t max)
{
    while (c->disk_bytes > max) {
        struct cache_block *oldest = C2_LIST_FIRST(&c->files, struct cache_block, file);
        C2_ASSERT(oldest != NULL);
        cache_disk_remove(c, oldest);
    }
}

/* The file is there (written, or found by the scan). */
static void
set_present(struct cache *c, struct cache_block *b)
{
    b->disk = CACHE_DISK_PRESENT;
    c->disk_bytes += file_size(b);
    c2_list_append(&c->files, &b->file);
}

void
cache_disk_forget(struct cache *c, struct cache_block *b)
{
    switch (b->disk) {
    case CACHE_DISK_QUEUED:
        c2_list_remove(&c->queue, &b->file);
        b->disk = CACHE_DISK_NONE;
        return;
    case CACHE_DISK_WRITING:
        b->doomed = true;
        return;
    case CACHE_DISK_PRESENT:
        cache_disk_remove(c, b);
        return;
    case CACHE_DISK_NONE:
    case CACHE_DISK_REMOVING:
        return;
    }
    C2_UNREACHABLE();
}

/* ---- writing files ------------------------------------------------------------------------- */

struct writing {
    struct cache *cache;
    struct cache_block *block;
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
        cache_disk_trim(c, c->disk_bytes - c->disk_bytes / FULL_DISK_PART);
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
    struct cache_block *b = w->block;
    enum c2_err err = io->err;
    c2_blob_unref(w->plain);
    c2_free(w->file);
    c2_free(w->path);
    c2_free(w);
    c->writing--;
    b->disk = CACHE_DISK_NONE;
    if (err == C2_E_OK) {
        c->write_errors = 0;
        set_present(c, b);
        if (b->doomed)
            cache_disk_remove(c, b);
        b->doomed = false;
        cache_disk_trim(c, c->disk_max);
    } else {
        b->doomed = false;
        write_failed(c, err);
        cache_block_settle(c, b);
    }
    write_next(c);
    cache_end_one(c);
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
        struct cache_block *b = C2_LIST_FIRST(&c->queue, struct cache_block, file);
        if (b == NULL)
            return;
        c2_list_remove(&c->queue, &b->file);
        b->disk = CACHE_DISK_NONE;
        if (b->blob == NULL) { /* left memory before its turn */
            cache_block_settle(c, b);
            continue;
        }
        struct writing *w = c2_calloc(1, sizeof *w);
        b->disk = CACHE_DISK_WRITING;
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

void
cache_disk_queue(struct cache *c, struct cache_block *b)
{
    if (c->dir == NULL || b->disk != CACHE_DISK_NONE || c->write_errors >= WRITE_ERRORS_MAX ||
        file_size(b) > c->disk_max)
        return;
    if (c->queue.count >= WRITE_QUEUE_MAX) {
        C2_MARK("cache: write queue is full");
        return;
    }
    b->disk = CACHE_DISK_QUEUED;
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
    struct cache_block *b = cache_block_find(c, &oid, index);
    if (b == NULL)
        b = cache_block_new(c, &oid, index, len);
    if (b->disk != CACHE_DISK_NONE || b->len != len)
        return; /* put meanwhile: what is being written replaces this file */
    set_present(c, b);
    c2_list_remove(&c->files, &b->file);
    c2_list_prepend(&c->files, &b->file); /* older than whatever this run used */
    if (c->scan_discards)
        cache_disk_remove(c, b);
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
    cache_disk_trim(c, c->disk_max);
    c2_free(c->scan_path);
    c->scan_path = NULL;
    bool no_folder = io->verb == C2_DISK_MKDIR && io->err != C2_E_OK;
    if (c->scan_next == SUBDIRS || c->draining || no_folder) {
        cache_end_one(c);
        return;
    }
    c->scan_path = c2_asprintf("%s/%02x", c->dir, c->scan_next++);
    c->scan_io = (struct c2_disk_req){ .verb = C2_DISK_LIST, .done = scanned };
    c->scan_io.path = c->scan_path;
    c2_disk(c->env, &c->scan_io);
}

void
cache_disk_scan(struct cache *c)
{
    c->outstanding++;
    c->scan_path = c2_strdup(c->dir);
    c->scan_io = (struct c2_disk_req){ .verb = C2_DISK_MKDIR, .done = scanned };
    c->scan_io.path = c->scan_path;
    c2_disk(c->env, &c->scan_io);
}
