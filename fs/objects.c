/* SPDX-License-Identifier: MIT */
/*
 * Which objects of a replayed journal does the store know already? The journal names an object as
 * it was when the group was written; its record may have been committed since, and it may lie
 * elsewhere by now. Such a record must not be written again.
 *
 *   objects not known as recorded --> GET, as many as fit, again and again --> done
 */
#include "base/alloc.h"
#include "base/mark.h"
#include "fs/coord_keys.h"
#include "fs/object_get.h"
#include "fs/object_record.h"

#define BATCH 512u

struct look {
    struct fs *fs;
    void (*done)(void *arg, enum c2_err err);
    void *arg;
    struct fs_object **objects; /* one reference each */
    size_t n, first, batch;
    struct ck keys[BATCH];
    struct c2_slice slices[BATCH];
    struct coord_req req;
};

static void
finish(struct look *l, enum c2_err err)
{
    for (size_t k = 0; k < l->n; k++)
        fs_source_unref(&l->objects[k]->source);
    coord_req_done(&l->req);
    c2_free(l->objects);
    l->done(l->arg, err);
    c2_free(l);
}

static void next_batch(struct look *l);

static void
answered(struct coord_req *r)
{
    struct look *l = C2_CONTAINER_OF(r, struct look, req);
    enum c2_err err = r->err;
    for (size_t k = 0; err == C2_E_OK && k < l->batch; k++) {
        if (r->entries[k].version == 0)
            continue;
        C2_MARK("objects: recorded before the crash");
        struct fs_object *o = l->objects[l->first + k];
        err = fs_object_record_decode(r->entries[k].value, o);
        o->recorded = true;
    }
    coord_req_done(r);
    l->first += l->batch;
    if (err != C2_E_OK || l->first == l->n)
        finish(l, err);
    else
        next_batch(l);
}

static void
next_batch(struct look *l)
{
    l->batch = C2_MIN(l->n - l->first, (size_t)BATCH);
    for (size_t k = 0; k < l->batch; k++) {
        l->keys[k] = ck_object(&l->objects[l->first + k]->ref.oid);
        l->slices[k] = ck_slice(&l->keys[k]);
    }
    l->req = (struct coord_req){ .verb = COORD_GET,
                                 .keys = l->slices,
                                 .nkeys = l->batch,
                                 .deadline_ns = C2_NEVER,
                                 .done = answered };
    coord_submit(l->fs->part.coord, &l->req);
}

void
fs_objects_look_up(struct fs *fs, void (*done)(void *arg, enum c2_err err), void *arg)
{
    struct look *l = c2_calloc(1, sizeof(*l));
    l->fs = fs;
    l->done = done;
    l->arg = arg;
    l->objects = c2_calloc(fs->objects.count, sizeof(struct fs_object *));
    for (struct c2_map_node *n = c2_map_next(&fs->objects, NULL); n != NULL;
         n = c2_map_next(&fs->objects, n)) {
        struct fs_object *o = C2_CONTAINER_OF(n, struct fs_object, node);
        if (o->recorded)
            continue;
        fs_source_ref(&o->source);
        l->objects[l->n++] = o;
    }
    if (l->n == 0)
        finish(l, C2_E_OK);
    else
        next_batch(l);
}
