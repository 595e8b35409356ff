/* SPDX-License-Identifier: MIT */
/*
 * What files use of the objects in the window. The extents of a large file are in the leaves of its
 * manifest, which are read from the clouds before the walk goes on:
 *
 *   visit (parse; a file with a manifest is put aside) --> for each of those: leaf after leaf -->
 *     count --> the next page
 *
 * A deleted file that is being counted (fs/garbage.c) says how many objects are done, in the order
 * in which leaves and extents name them: the others are still counted as used.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "fs/fsck_impl.h"
#include "fs/lost.h"
#include "fs/records.h"

#define KEY_LEN 9u

struct fsck_file {
    uint64_t ino, size, done;
    bool deleted;
    struct fs_manifest *manifest; /* owned */
    struct ds_ref *refs;          /* owned: of its leaves */
    struct fs_map *base;          /* owned: what the leaves read so far say */
    size_t leaf;
};

static void next_file(struct fsck *f);

static unsigned long long
llu(uint64_t v)
{
    return (unsigned long long)v;
}

/* ---- objects that a content names ----------------------------------------------------------- */

static struct fs_source *
object_named(void *arg, const struct ds_ref *ref)
{
    struct fsck *f = arg;
    bool lost = ref->oid.sid == 0 && ref->oid.seq == FS_OBJECT_LOST;
    bool wanted = ref->oid.sid != 0 && (f->keep_all || fsck_in_window(f, &ref->oid));
    if (f->leaf_refs_wanted) {
        f->leaf_refs = c2_realloc(f->leaf_refs, f->nleaf_refs + 1, sizeof(*f->leaf_refs));
        f->leaf_refs[f->nleaf_refs++] = *ref;
    }
    struct fsck_object *o = wanted ? fsck_object(f, &ref->oid) : NULL;
    struct fs_source *s = o != NULL ? &o->source : lost ? &f->lost : &f->nobody;
    if (o != NULL && !o->named) {
        bool known = o->recorded && fs_ref_has_root(&o->ref);
        o->outside = !fsck_in_window(f, &ref->oid);
        o->named = true;
        if (known && memcmp(o->ref.root, ref->root, sizeof(ref->root)) != 0)
            fsck_problem(f, FSCK_LOST, "object %llx.%llx: a file names another one than its record",
                         llu(ref->oid.sid), llu(ref->oid.seq));
        if (!o->recorded)
            o->ref = *ref;
    }
    fs_source_ref(s);
    return s;
}

/* ---- counting ------------------------------------------------------------------------------- */

struct tally {
    struct fsck *f;
    const struct fsck_file *file;
    struct fsck_object **objects; /* owned: in the order of their first mention */
    size_t n;
};

static void
use(struct tally *t, struct fs_source *s, uint64_t len)
{
    if (s == NULL || s == &t->f->nobody || s == &t->f->lost)
        return;
    struct fsck_object *o = C2_CONTAINER_OF(s, struct fsck_object, source);
    if (o->file != t->f->file_serial) {
        if ((t->n & (t->n - 1)) == 0)
            t->objects = c2_realloc(t->objects, t->n == 0 ? 1 : 2 * t->n, sizeof(*t->objects));
        t->objects[t->n++] = o;
        o->file = t->f->file_serial;
        o->file_bytes = 0;
    }
    o->file_bytes += (int64_t)len;
}

static bool
is_unreadable(const struct fsck *f, struct fs_source *s)
{
    if (s == NULL || s == &f->nobody || s == &f->lost)
        return s != NULL && s == &f->lost;
    const struct fsck_object *o = C2_CONTAINER_OF(s, const struct fsck_object, source);
    return o->unreadable && !o->outside;
}

static void
note_damage(struct fsck *f, const struct fsck_file *x, const struct fs_map *map)
{
    for (size_t k = 0; k < map->n; k++) {
        const struct fs_extent *e = &map->e[k];
        if (is_unreadable(f, e->source) && e->off < x->size)
            fsck_damaged(f, x->ino, e->off, C2_MIN(e->len, x->size - e->off));
    }
    for (size_t k = 0; x->manifest != NULL && k < x->manifest->nleaves; k++) {
        const struct fs_leaf *l = &x->manifest->leaves[k];
        uint64_t end = k + 1 < x->manifest->nleaves ? l[1].off : x->size;
        if (is_unreadable(f, l->source) && l->off < end)
            fsck_damaged(f, x->ino, l->off, end - l->off);
    }
}

static void
count(struct fsck *f, const struct fsck_file *x, const struct fs_map *map)
{
    struct tally t = { .f = f, .file = x };
    f->file_serial++;
    for (size_t k = 0; x->manifest != NULL && k < x->manifest->nleaves; k++)
        use(&t, x->manifest->leaves[k].source, x->manifest->leaves[k].len);
    for (size_t k = 0; k < map->n; k++)
        use(&t, map->e[k].source, map->e[k].len);
    for (size_t k = 0; k < t.n; k++) {
        struct fsck_object *o = t.objects[k];
        o->sum += k >= x->done ? o->file_bytes : 0;
    }
    c2_free(t.objects);
    if (!x->deleted)
        note_damage(f, x, map);
    const struct fs_extent *last = map->n == 0 ? NULL : &map->e[map->n - 1];
    if (f->first_objects && last != NULL && last->off + last->len > x->size)
        fsck_problem(f, FSCK_STAYS, "inode %llu: its data ends at %llu, the file at %llu",
                     llu(x->ino), llu(last->off + last->len), llu(x->size));
}

/* ---- records -------------------------------------------------------------------------------- */

static void
file_done(struct fsck_file *x)
{
    fs_manifest_free(x->manifest);
    fs_map_unref(x->base);
    c2_free(x->refs);
}

static C2_RESULT
parse_content(struct fsck *f, struct c2_rd *r, struct fsck_file *x)
{
    const struct fs_content_names names = { .object = object_named, .arg = f };
    struct fs_map *map = NULL;
    f->keep_all = x->deleted; /* their order counts */
    f->leaf_refs_wanted = true;
    enum c2_err err = fs_content_parse(&names, r, &x->manifest, &map);
    f->leaf_refs_wanted = false;
    x->refs = f->leaf_refs;
    f->leaf_refs = NULL;
    f->nleaf_refs = 0;
    if (err == C2_E_OK)
        err = c2_rd_finish(r);
    if (err == C2_E_OK && map != NULL)
        count(f, x, map);
    fs_map_unref(map);
    return err;
}

static void
put_aside(struct fsck *f, const struct fsck_file *x)
{
    f->files = c2_realloc(f->files, f->nfiles + 1, sizeof(*f->files));
    f->files[f->nfiles] = *x;
    f->files[f->nfiles++].base = fs_map_new();
}

static C2_RESULT
open_record(struct fsck *f, const struct coord_entry *e, struct c2_buf *plain, struct fs_inode *i,
            struct fsck_file *x)
{
    C2_TRY(keys_open(f->k->keys, e->key, e->value, plain));
    struct c2_rd r = c2_rd_init(c2_buf_slice(plain));
    if (x->deleted)
        x->done = c2_rd_u64(&r);
    C2_TRY(fs_inode_record_decode(&r, i));
    if (!S_ISREG(i->attr.mode))
        return C2_E_OK;
    x->size = i->attr.size;
    enum c2_err err = parse_content(f, &r, x);
    if (err == C2_E_OK && x->manifest != NULL)
        put_aside(f, x);
    else
        file_done(x);
    return err;
}

bool
fsck_take_content(struct fsck *f, const struct coord_entry *e)
{
    struct fsck_file x = { .deleted = e->key.data[0] == 'G' };
    struct fs_inode i = { 0 };
    struct c2_buf plain = { 0 };
    if (e->key.len != KEY_LEN || (x.deleted && e->value.len == 0))
        return true;
    x.ino = c2_get_be64(e->key.data + 1);
    enum c2_err err = open_record(f, e, &plain, &i, &x);
    if (err != C2_E_OK) {
        f->uncounted = true;
        if (f->first_objects)
            fsck_problem(f, FSCK_LOST, "inode %llu: where its data is cannot be read: %s",
                         llu(x.ino), c2_err_text(err));
    }
    c2_free(i.symlink);
    c2_buf_done(&i.xattrs);
    c2_buf_done(&plain);
    return true;
}

/* ---- manifests ------------------------------------------------------------------------------ */

static void
file_over(struct fsck *f, enum c2_err err)
{
    struct fsck_file *x = &f->files[f->file_at];
    bool passing = c2_err_class(err) == C2_CLASS_RETRY;
    if (err != C2_E_OK) {
        f->uncounted = true;
        f->k->counts.unknown += passing && f->first_objects;
        if (!passing && f->first_objects && !x->deleted)
            fsck_damaged(f, x->ino, 0, x->size);
    }
    file_done(x);
    f->file_at++;
    next_file(f);
}

static void
all_leaves_read(struct fsck *f)
{
    struct fsck_file *x = &f->files[f->file_at];
    const struct fs_content_names names = { .object = object_named, .arg = f };
    struct c2_rd r = c2_rd_init(c2_buf_slice(&x->manifest->inlined));
    enum c2_err err = fs_extents_parse(&names, &r, 0, FS_FILE_SIZE_MAX, &x->base);
    if (err == C2_E_OK)
        err = c2_rd_finish(&r);
    if (err == C2_E_OK)
        count(f, x, x->base);
    file_over(f, err);
}

static void leaf_read(struct ds_get *g);

static void
next_leaf(struct fsck *f)
{
    struct fsck_file *x = &f->files[f->file_at];
    const struct fs_manifest *m = x->manifest;
    f->keep_all = x->deleted;
    if (x->leaf == m->nleaves) {
        all_leaves_read(f);
        return;
    }
    const struct fs_leaf *l = &m->leaves[x->leaf];
    f->get = (struct ds_get){ .kind = DS_KIND_OBJECT,
                              .ref = x->refs[x->leaf],
                              .offset = l->source_off,
                              .len = l->len,
                              .done = leaf_read };
    f->getting = true;
    ds_get_start(f->k->ds, &f->get);
}

static void
leaf_read(struct ds_get *g)
{
    struct fsck *f = C2_CONTAINER_OF(g, struct fsck, get);
    struct fsck_file *x = &f->files[f->file_at];
    const struct fs_manifest *m = x->manifest;
    const struct fs_content_names names = { .object = object_named, .arg = f };
    uint64_t end = x->leaf + 1 < m->nleaves ? m->leaves[x->leaf + 1].off : FS_FILE_SIZE_MAX;
    enum c2_err err = f->canceled ? C2_E_CANCELED : g->err;
    f->getting = false;
    if (err == C2_E_OK) {
        struct c2_rd r = c2_rd_init(c2_blob_slice(g->data));
        err = fs_extents_parse(&names, &r, m->leaves[x->leaf].off, end, &x->base);
        if (err == C2_E_OK)
            err = c2_rd_finish(&r);
    }
    c2_blob_unref(g->err == C2_E_OK ? g->data : NULL);
    x->leaf++;
    if (err == C2_E_OK)
        next_leaf(f);
    else
        file_over(f, err);
}

static void
next_file(struct fsck *f)
{
    if (f->canceled) {
        for (; f->file_at < f->nfiles; f->file_at++)
            file_done(&f->files[f->file_at]);
    }
    if (f->file_at < f->nfiles) {
        next_leaf(f);
        return;
    }
    c2_free(f->files);
    f->files = NULL;
    f->nfiles = f->file_at = 0;
    fsck_walk_on(f);
}

void
fsck_read_files(struct fsck *f)
{
    f->file_at = 0;
    next_file(f);
}
