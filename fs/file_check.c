/* SPDX-License-Identifier: MIT */
/*
 *   for each inode: LOAD --> CONTENT (its extents) --> collect its objects
 *   RECORDS (of the objects: which seats have shares) --> CHECK (several at once) --> verdicts
 */
#include "fs/file_check.h"

#include <string.h>

#include "base/alloc.h"
#include "fs/coord_keys.h"
#include "fs/load.h"
#include "fs/manifest.h"
#include "fs/object_record.h"
#include "fs/repair.h"

#define PARALLEL    8u
#define RECORDS_MAX 500u /* asked for at once */

struct part {
    struct c2_map_node node;
    struct ds_ref ref;
    uint32_t placed; /* 0: not known */
    enum ctl_verdict verdict;
};

/* A file uses a part. */
struct use {
    size_t file;
    struct part *part;
};

struct file_check {
    struct fs_file_check *c;
    struct c2_task task;
    struct c2_map by_id;
    struct part **parts; /* owned, as they are */
    size_t nparts, parts_cap, next;
    struct use *uses;
    size_t nuses, uses_cap;
    size_t file;
    struct coord_req req;
    struct ck keys[RECORDS_MAX];
    struct c2_slice slices[RECORDS_MAX];
    size_t nasked;
    unsigned running;
    bool canceled, asking;
};

struct checking {
    struct file_check *k;
    struct part *part;
    struct ds_check check;
};

static void next_inode(struct file_check *k);
static void check_more(struct file_check *k);

static void
finish(struct file_check *k, enum c2_err err)
{
    struct fs_file_check *c = k->c;
    for (size_t n = 0; n < k->nuses; n++) {
        enum ctl_verdict *v = &c->verdict[k->uses[n].file];
        *v = C2_MAX(*v, k->uses[n].part->verdict);
    }
    for (size_t n = 0; n < k->nparts; n++) {
        c2_map_remove(&k->by_id, &k->parts[n]->node);
        c2_free(k->parts[n]);
    }
    c2_map_done(&k->by_id);
    c2_free(k->parts);
    c2_free(k->uses);
    c->own = NULL;
    c->err = k->canceled ? C2_E_CANCELED : err;
    c2_free(k);
    c->done(c);
}

/* ---- what the files consist of -------------------------------------------------------------- */

static struct part *
part_of(struct file_check *k, const struct ds_ref *ref)
{
    uint64_t hash = c2_map_hash_u64(&k->by_id, ref->oid.sid * 0x9e3779b97f4a7c15ull ^ ref->oid.seq);
    for (struct c2_map_node *n = c2_map_find(&k->by_id, hash); n != NULL; n = c2_map_find_next(n)) {
        struct part *p = C2_CONTAINER_OF(n, struct part, node);
        if (memcmp(&p->ref.oid, &ref->oid, sizeof(ref->oid)) == 0)
            return p;
    }
    struct part *p = c2_calloc(1, sizeof(*p));
    p->ref = *ref;
    p->node.hash = hash;
    c2_map_insert(&k->by_id, &p->node);
    if (k->nparts == k->parts_cap) {
        k->parts_cap = k->parts_cap == 0 ? 64 : 2 * k->parts_cap;
        k->parts = c2_realloc(k->parts, k->parts_cap, sizeof(struct part *));
    }
    k->parts[k->nparts++] = p;
    return p;
}

static void
add_source(struct file_check *k, const struct fs_extent *e)
{
    uint64_t off;
    struct fs_source *s = fs_extent_source(e, &off);
    enum ctl_verdict *v = &k->c->verdict[k->file];
    if (s->kind == FS_SOURCE_CHUNK) {
        *v = C2_MAX(*v, CTL_VERDICT_LOCAL);
        return;
    }
    const struct fs_object *o = C2_CONTAINER_OF(s, struct fs_object, source);
    if (fs_object_is_nowhere(o)) {
        *v = CTL_VERDICT_UNREADABLE;
        return;
    }
    struct part *p = part_of(k, &o->ref);
    if (o->placed_known)
        p->placed = o->placed;
    if (k->nuses > 0 && k->uses[k->nuses - 1].file == k->file && k->uses[k->nuses - 1].part == p)
        return; /* its neighbour in the same object */
    if (k->nuses == k->uses_cap) {
        k->uses_cap = k->uses_cap == 0 ? 64 : 2 * k->uses_cap;
        k->uses = c2_realloc(k->uses, k->uses_cap, sizeof(*k->uses));
    }
    k->uses[k->nuses++] = (struct use){ .file = k->file, .part = p };
}

static void
collect(struct file_check *k, const struct fs_inode *i)
{
    for (size_t n = 0; n < i->map->n; n++)
        add_source(k, &i->map->e[n]);
    for (size_t n = 0; i->manifest != NULL && n < i->manifest->nleaves; n++) {
        const struct fs_leaf *l = &i->manifest->leaves[n];
        const struct fs_extent e = { .len = l->len,
                                     .source = l->source,
                                     .source_off = l->source_off };
        add_source(k, &e);
    }
}

static void
content_loaded(void *arg, enum c2_err err)
{
    struct file_check *k = arg;
    struct fs *fs = k->c->fs;
    struct fs_inode *i = fs_inode_peek(fs, k->c->inos[k->file]);
    if (k->canceled || c2_err_class(err) == C2_CLASS_RETRY) {
        finish(k, err);
        return;
    }
    if (err == C2_E_OK && i != NULL && i->map != NULL)
        collect(k, i);
    else
        k->c->verdict[k->file] = i == NULL ? CTL_VERDICT_GONE : CTL_VERDICT_UNREADABLE;
    k->file++;
    next_inode(k);
}

static void
inode_loaded(void *arg, enum c2_err err)
{
    struct file_check *k = arg;
    struct fs *fs = k->c->fs;
    struct fs_inode *i = fs_inode_peek(fs, k->c->inos[k->file]);
    if (err != C2_E_OK || k->canceled) {
        finish(k, err);
        return;
    }
    bool gone = i == NULL || i->attr.mode == 0 || i->gone || i->deleted;
    if (!gone && S_ISREG(i->attr.mode)) {
        if (i->map == NULL)
            fs_load_content_for(fs, i, content_loaded, k);
        else
            content_loaded(k, C2_E_OK);
        return;
    }
    if (gone)
        k->c->verdict[k->file] = CTL_VERDICT_GONE;
    k->file++;
    next_inode(k);
}

static void ask_records(struct file_check *k);

static void
inode_next(struct c2_task *t)
{
    struct file_check *k = C2_CONTAINER_OF(t, struct file_check, task);
    struct fs *fs = k->c->fs;
    if (k->canceled) {
        finish(k, C2_E_CANCELED);
    } else if (k->file == k->c->n) {
        k->next = 0;
        ask_records(k);
    } else if (fs_inode_peek(fs, k->c->inos[k->file]) != NULL) {
        inode_loaded(k, C2_E_OK);
    } else {
        fs_load_inodes_for(fs, &k->c->inos[k->file], 1, inode_loaded, k);
    }
}

static void
next_inode(struct file_check *k)
{
    k->task.run = inode_next;
    c2_defer(k->c->fs->part.env, &k->task);
}

/* ---- which seats have shares ---------------------------------------------------------------- */

static void
records_read(struct coord_req *r)
{
    struct file_check *k = C2_CONTAINER_OF(r, struct file_check, req);
    enum c2_err err = r->err;
    k->asking = false;
    for (size_t n = 0; err == C2_E_OK && n < k->nasked; n++) {
        struct fs_object_record rec = { 0 };
        struct part *p = k->parts[k->next + n];
        if (r->entries[n].version != 0 &&
            fs_object_rec_decode(r->entries[n].value, &rec) == C2_E_OK)
            p->placed = rec.placed;
    }
    coord_req_done(r);
    k->next += k->nasked;
    if (err != C2_E_OK || k->canceled)
        finish(k, err);
    else
        ask_records(k);
}

static void
ask_records(struct file_check *k)
{
    k->nasked = C2_MIN(k->nparts - k->next, (size_t)RECORDS_MAX);
    if (k->nasked == 0) {
        k->next = 0;
        check_more(k);
        return;
    }
    for (size_t n = 0; n < k->nasked; n++) {
        k->keys[n] = ck_object(&k->parts[k->next + n]->ref.oid);
        k->slices[n] = ck_slice(&k->keys[n]);
    }
    k->req = (struct coord_req){ .verb = COORD_GET,
                                 .keys = k->slices,
                                 .nkeys = k->nasked,
                                 .deadline_ns = C2_NEVER,
                                 .done = records_read };
    k->asking = true;
    coord_submit(k->c->fs->part.coord, &k->req);
}

/* ---- shares --------------------------------------------------------------------------------- */

static unsigned
bits(uint32_t set)
{
    return (unsigned)__builtin_popcount(set);
}

static enum ctl_verdict
judge(const struct file_check *k, const struct part *p, const struct ds_check *s)
{
    unsigned needed = ds_client_f(k->c->fs->part.ds) + 1;
    if (bits(s->good | s->unknown) < needed)
        return CTL_VERDICT_UNREADABLE;
    if ((s->bad | (p->placed != 0 ? s->absent : 0)) != 0)
        return CTL_VERDICT_DEGRADED;
    return s->unknown != 0 ? CTL_VERDICT_UNKNOWN : CTL_VERDICT_GOOD;
}

static void
checked(struct ds_check *s)
{
    struct checking *x = C2_CONTAINER_OF(s, struct checking, check);
    struct file_check *k = x->k;
    struct fs_file_check *c = k->c;
    struct part *p = x->part;
    uint32_t lost = s->bad | (p->placed != 0 ? s->absent : 0);
    c->objects++;
    c->bytes += s->bytes_read;
    c->shares_bad += bits(lost);
    c->shares_unknown += bits(s->unknown);
    p->verdict = judge(k, p, s);
    if (lost != 0 && p->placed != 0 && !c->fs->stopping)
        fs_repair_found(c->fs, &p->ref, p->placed, lost);
    c2_free(x);
    k->running--;
    check_more(k);
}

static void
check_more(struct file_check *k)
{
    while (!k->canceled && k->next < k->nparts && k->running < PARALLEL) {
        struct checking *x = c2_calloc(1, sizeof(*x));
        x->k = k;
        x->part = k->parts[k->next++];
        x->check = (struct ds_check){
            .kind = DS_KIND_OBJECT, .ref = x->part->ref, .seats = x->part->placed, .done = checked
        };
        k->running++;
        ds_check_start(k->c->fs->part.ds, &x->check);
    }
    if (k->running == 0)
        finish(k, C2_E_OK);
}

/* ---- interface ------------------------------------------------------------------------------ */

void
fs_file_check_start(struct fs_file_check *c)
{
    struct file_check *k = c2_calloc(1, sizeof(*k));
    uint64_t seed;
    c2_random(c->fs->part.env, &seed, sizeof(seed));
    c2_map_init(&k->by_id, seed);
    k->c = c;
    c->own = k;
    c->objects = c->bytes = c->shares_bad = c->shares_unknown = 0;
    for (size_t n = 0; n < c->n; n++)
        c->verdict[n] = CTL_VERDICT_GOOD;
    next_inode(k);
}

void
fs_file_check_cancel(struct fs_file_check *c)
{
    struct file_check *k = c->own;
    C2_ASSERT(k != NULL);
    k->canceled = true;
    if (k->asking)
        coord_cancel(c->fs->part.coord, &k->req);
}
