/* SPDX-License-Identifier: MIT */
/*
 *   PLACE (where are the shares: coordination record) --> GET (depsky) --> cache, waiting fetches
 *
 * The placement is read once per object and mount; an object without a record is asked for at all
 * seats.
 */
#include "fs/object_get.h"

#include "base/alloc.h"
#include "base/log.h"
#include "fs/object_record.h"
#include "fs/repair.h"

struct waiter {
    struct c2_link link;
    struct fs_fetch *fetch;
    fs_object_get_fn *fn;
};

struct fs_object_get {
    struct fs *fs;
    struct c2_link link; /* in fs->object_gets */
    struct fs_object *object;
    uint64_t off, len;
    struct c2_list waiters;
    struct coord_req place;
    struct ck key;
    struct c2_slice key_slice;
    struct ds_get get;
    bool getting;
};

static void
end(struct fs_object_get *g, enum c2_err err, struct c2_slice data)
{
    c2_list_remove(&g->fs->object_gets, &g->link);
    while (!c2_list_empty(&g->waiters)) {
        struct waiter *w = C2_LIST_FIRST(&g->waiters, struct waiter, link);
        c2_list_remove(&g->waiters, &w->link);
        w->fn(w->fetch, err, data, g->off);
        c2_free(w);
    }
    c2_blob_unref(g->get.data);
    fs_source_unref(&g->object->source);
    coord_req_done(&g->place);
    c2_free(g);
}

static void
fill_cache(struct fs_object_get *g)
{
    const struct c2_blob *data = g->get.data;
    for (uint64_t at = 0; at < data->len; at += CACHE_BLOCK_SIZE) {
        size_t len = (size_t)C2_MIN(data->len - at, (uint64_t)CACHE_BLOCK_SIZE);
        struct c2_blob *block = c2_blob_copy(data->data + at, len);
        cache_put(g->fs->part.cache, &g->object->ref.oid,
                  (uint32_t)((g->off + at) / CACHE_BLOCK_SIZE), block);
        c2_blob_unref(block);
    }
}

static void
got(struct ds_get *d)
{
    struct fs_object_get *g = C2_CONTAINER_OF(d, struct fs_object_get, get);
    if (d->err == C2_E_OK && d->data->len != g->len)
        d->err = C2_E_CORRUPT;
    if (d->seats_bad != 0) {
        c2_log(WARN, "read", "object=%llx.%llx bad_seats=%x, served by the others",
               (unsigned long long)g->object->ref.oid.sid,
               (unsigned long long)g->object->ref.oid.seq, d->seats_bad);
        fs_repair_found(g->fs, &g->object->ref, g->object->placed, d->seats_bad);
    }
    /* The store names the object: that the clouds say "absent" is a fault of theirs, not the
     * absence of the file. */
    if (d->err == C2_E_NOT_FOUND)
        d->err = C2_E_QUORUM;
    if (d->err != C2_E_OK) {
        c2_log(ERROR, "read", "object=%llx.%llx err=%s bad_seats=%x slow_seats=%x",
               (unsigned long long)g->object->ref.oid.sid,
               (unsigned long long)g->object->ref.oid.seq, c2_err_name(d->err), d->seats_bad,
               d->seats_slow);
        end(g, d->err, c2_slice(NULL, 0));
        return;
    }
    fill_cache(g);
    end(g, C2_E_OK, c2_blob_slice(d->data));
}

static void
start_get(struct fs_object_get *g)
{
    g->get = (struct ds_get){ .kind = DS_KIND_OBJECT,
                              .ref = g->object->ref,
                              .placed = g->object->placed,
                              .offset = g->off,
                              .len = g->len,
                              .done = got };
    g->getting = true;
    ds_get_start(g->fs->part.ds, &g->get);
}

static void
placed(struct coord_req *r)
{
    struct fs_object_get *g = C2_CONTAINER_OF(r, struct fs_object_get, place);
    enum c2_err err = r->err;
    if (err == C2_E_CANCELED) {
        end(g, err, c2_slice(NULL, 0));
        return;
    }
    if (err == C2_E_OK && r->entries[0].version != 0)
        err = fs_object_record_decode(r->entries[0].value, g->object);
    if (err != C2_E_OK)
        c2_log(WARN, "read", "object=%llx.%llx placement err=%s, asking every seat",
               (unsigned long long)g->object->ref.oid.sid,
               (unsigned long long)g->object->ref.oid.seq, c2_err_name(err));
    start_get(g);
}

static struct fs_object_get *
start(struct fs *fs, struct fs_object *o, uint64_t off, uint64_t len)
{
    struct fs_object_get *g = c2_calloc(1, sizeof(*g));
    g->fs = fs;
    g->object = o;
    fs_source_ref(&o->source);
    g->off = off;
    g->len = len;
    c2_list_init(&g->waiters);
    c2_list_append(&fs->object_gets, &g->link);
    if (o->placed_known) {
        start_get(g);
        return g;
    }
    g->key = ck_object(&o->ref.oid);
    g->key_slice = ck_slice(&g->key);
    g->place = (struct coord_req){ .verb = COORD_GET,
                                   .keys = &g->key_slice,
                                   .nkeys = 1,
                                   .deadline_ns = fs_load_deadline(fs),
                                   .done = placed };
    coord_submit(fs->part.coord, &g->place);
    return g;
}

void
fs_object_gets_cancel(struct fs *fs)
{
    C2_LIST_FOREACH (&fs->object_gets, struct fs_object_get, g, link) {
        if (g->getting)
            ds_get_cancel(fs->part.ds, &g->get);
        else
            coord_cancel(fs->part.coord, &g->place);
    }
}

static struct fs_object_get *
running(struct fs *fs, const struct fs_object *o, uint64_t off, uint64_t len)
{
    C2_LIST_FOREACH (&fs->object_gets, struct fs_object_get, g, link) {
        if (g->object == o && g->off <= off && off + len <= g->off + g->len)
            return g;
    }
    return NULL;
}

bool
fs_object_get_running(struct fs *fs, const struct fs_object *o)
{
    return running(fs, o, 0, 1) != NULL;
}

void
fs_object_get_background(struct fs *fs, struct fs_object *o)
{
    if (running(fs, o, 0, o->ref.plain_len) == NULL)
        start(fs, o, 0, o->ref.plain_len);
}

void
fs_object_get_join(struct fs *fs, struct fs_object *o, uint32_t block, bool whole,
                   struct fs_fetch *f, fs_object_get_fn *fn)
{
    uint64_t off = (uint64_t)block * CACHE_BLOCK_SIZE;
    uint64_t len = C2_MIN(o->ref.plain_len - off, (uint64_t)CACHE_BLOCK_SIZE);
    struct fs_object_get *g = running(fs, o, off, len);
    if (g == NULL)
        g = whole ? start(fs, o, 0, o->ref.plain_len) : start(fs, o, off, len);
    struct waiter *w = c2_calloc(1, sizeof(*w));
    w->fetch = f;
    w->fn = fn;
    c2_list_append(&g->waiters, &w->link);
}
