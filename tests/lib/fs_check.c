/* SPDX-License-Identifier: MIT */
#include "tests/lib/fs_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "backends/mem.h"
#include "base/alloc.h"
#include "base/wire.h"
#include "fs/coord_keys.h"
#include "fs/fetch.h"
#include "fs/fsck.h"
#include "fs/gc_record.h"
#include "fs/object_record.h"
#include "fs/records.h"

#define OBJECT_HOLE UINT32_MAX

struct object {
    struct fs_source source; /* first: maps point to it */
    struct ds_oid oid;
    struct ds_ref ref;
    bool named;     /* by an extent or a leaf: ref is valid */
    bool record;    /* O */
    bool condemned; /* K */
    uint32_t placed;
    int64_t live; /* R */
    int64_t sum;  /* what the inodes say */
};

struct node {
    uint64_t ino, size, parent;
    uint32_t mode, nlink;
    uint64_t entries, subdirs;
    bool orphan;
};

struct entry {
    uint64_t dir, ino;
    uint32_t type;
};

struct walk {
    struct fsx *x;
    struct object **objects;
    size_t nobjects;
    struct node *nodes; /* by ino: the store's order */
    size_t nnodes;
    struct entry *entries;
    size_t nentries;
    uint64_t *orphans;
    size_t norphans;
    uint64_t garbage;
    int64_t used_bytes, used_files;
};

/* ---- waiting -------------------------------------------------------------------------------- */

struct get {
    struct ds_get g;
    bool done;
};

static void
got(struct ds_get *g)
{
    C2_CONTAINER_OF(g, struct get, g)->done = true;
}

struct range {
    struct coord_req r;
    bool done;
};

static void
listed(struct coord_req *r)
{
    C2_CONTAINER_OF(r, struct range, r)->done = true;
}

/* ---- objects -------------------------------------------------------------------------------- */

static struct object *
object_of(struct walk *w, const struct ds_oid *oid)
{
    for (size_t k = w->nobjects; k-- > 0;) {
        struct object *o = w->objects[k];
        if (o->oid.sid == oid->sid && o->oid.seq == oid->seq &&
            memcmp(o->oid.rnd, oid->rnd, sizeof(oid->rnd)) == 0)
            return o;
    }
    struct object *o = c2_calloc(1, sizeof(*o));
    o->source = (struct fs_source){ .kind = FS_SOURCE_OBJECT, .refs = 1 };
    o->oid = *oid;
    w->objects = c2_realloc(w->objects, w->nobjects + 1, sizeof(struct object *));
    w->objects[w->nobjects++] = o;
    return o;
}

static struct object *
object_named(struct walk *w, const struct ds_ref *ref)
{
    struct object *o = object_of(w, &ref->oid);
    if (o->named)
        assert_memory_equal(o->ref.root, ref->root, sizeof(ref->root));
    o->ref = *ref;
    o->named = true;
    return o;
}

/* ---- contents ------------------------------------------------------------------------------- */

static void
take_extents(struct walk *w, struct c2_rd *r, struct fs_map **map)
{
    uint32_t nobjects = c2_rd_u32(r);
    assert_true(nobjects <= c2_rd_left(r) / DS_REF_LEN);
    struct object **objects = c2_calloc(nobjects, sizeof(*objects));
    for (uint32_t k = 0; k < nobjects; k++) {
        struct ds_ref ref = ds_ref_decode(r);
        objects[k] = object_named(w, &ref);
    }
    uint32_t n = c2_rd_u32(r);
    for (uint32_t k = 0; k < n; k++) {
        uint64_t off = c2_rd_u64(r);
        uint64_t len = c2_rd_u64(r);
        uint32_t object = c2_rd_u32(r);
        uint64_t object_off = c2_rd_u64(r);
        assert_true(c2_rd_ok(r));
        if (object == OBJECT_HOLE) {
            fs_map_punch(map, off, len);
            continue;
        }
        assert_true(object < nobjects);
        assert_true(object_off + len <= objects[object]->ref.plain_len);
        fs_map_set(map, off, len, &objects[object]->source, object_off);
    }
    c2_free(objects);
}

static void
take_leaf(struct walk *w, const struct ds_ref *ref, uint64_t off, uint32_t len, struct fs_map **map)
{
    struct get g = { .g = { .kind = DS_KIND_OBJECT, .ref = *ref, .offset = off, .len = len } };
    g.g.done = got;
    ds_get_start(w->x->ds, &g.g);
    test_env_run_until(w->x->t, &g.done);
    assert_int_equal(g.g.err, C2_E_OK);
    struct c2_rd r = c2_rd_init(c2_blob_slice(g.g.data));
    take_extents(w, &r, map);
    assert_int_equal(c2_rd_finish(&r), C2_E_OK);
    c2_blob_unref(g.g.data);
    object_named(w, ref)->sum += len;
}

static void
take_content(struct walk *w, struct c2_rd *r, const struct node *n)
{
    struct fs_map *map = fs_map_new();
    assert_int_equal(c2_rd_u8(r), 1);
    uint32_t nleaves = c2_rd_u32(r);
    for (uint32_t k = 0; k < nleaves; k++) {
        c2_rd_u64(r);
        struct ds_ref ref = ds_ref_decode(r);
        uint64_t off = c2_rd_u64(r);
        uint32_t len = c2_rd_u32(r);
        take_leaf(w, &ref, off, len, &map);
    }
    take_extents(w, r, &map);
    for (size_t k = 0; k < map->n; k++) {
        const struct fs_extent *e = &map->e[k];
        if (e->off + e->len > n->size)
            fail_msg("inode %llu: an extent ends at %llu, the file at %llu",
                     (unsigned long long)n->ino, (unsigned long long)(e->off + e->len),
                     (unsigned long long)n->size);
        C2_CONTAINER_OF(e->source, struct object, source)->sum += (int64_t)e->len;
    }
    fs_map_unref(map);
}

/* ---- records -------------------------------------------------------------------------------- */

static struct node
take_inode(struct walk *w, struct c2_rd *r)
{
    struct fs_inode i = { 0 };
    assert_int_equal(fs_inode_record_decode(r, &i), C2_E_OK);
    struct node n = { .ino = i.ino, .mode = i.attr.mode, .nlink = i.attr.nlink };
    n.size = S_ISREG(i.attr.mode) ? i.attr.size : 0;
    n.parent = i.parent;
    if (S_ISREG(n.mode))
        take_content(w, r, &n);
    c2_free(i.symlink);
    c2_buf_done(&i.xattrs);
    return n;
}

static void
take_entry(struct walk *w, struct c2_slice key, struct c2_rd *r)
{
    struct fs_dentry_record rec;
    assert_int_equal(fs_dentry_record_decode(r, &rec), C2_E_OK);
    struct entry e = { .dir = c2_get_be64(key.data + 1), .ino = rec.ino, .type = rec.type };
    w->entries = c2_realloc(w->entries, w->nentries + 1, sizeof(e));
    w->entries[w->nentries++] = e;
}

static void
take_sealed(struct walk *w, const struct coord_entry *e)
{
    struct c2_buf plain = { 0 };
    assert_int_equal(keys_open(w->x->keys, e->key, e->value, &plain), C2_E_OK);
    struct c2_rd r = c2_rd_init(c2_buf_slice(&plain));
    if (e->key.data[0] == 'G')
        assert_int_equal(c2_rd_u64(&r), 0); /* nothing of it is counted yet */
    if (e->key.data[0] == 'D') {
        take_entry(w, e->key, &r);
    } else {
        struct node n = take_inode(w, &r);
        assert_int_equal(n.ino, c2_get_be64(e->key.data + 1));
        if (e->key.data[0] == 'I') {
            w->nodes = c2_realloc(w->nodes, w->nnodes + 1, sizeof(n));
            w->nodes[w->nnodes++] = n;
        } else {
            w->garbage++;
        }
    }
    assert_int_equal(c2_rd_finish(&r), C2_E_OK);
    c2_buf_done(&plain);
}

static int64_t
counter(struct c2_slice value)
{
    assert_int_equal(value.len, 8);
    return (int64_t)c2_get_u64(value.data);
}

static struct object *
object_of_key(struct walk *w, struct c2_slice key)
{
    struct ds_oid oid = { .sid = c2_get_be64(key.data + 1), .seq = c2_get_be64(key.data + 9) };
    assert_int_equal(key.len, 25);
    memcpy(oid.rnd, key.data + 17, sizeof(oid.rnd));
    return object_of(w, &oid);
}

static void
take(struct walk *w, const struct coord_entry *e)
{
    struct fs_object tmp = { 0 };
    struct fs_object_record sentence = { 0 };
    struct object *o;
    switch (e->key.data[0]) {
    case 'I':
    case 'D':
        take_sealed(w, e);
        return;
    case 'O':
        assert_int_equal(fs_object_record_decode(e->value, &tmp), C2_E_OK);
        o = object_of_key(w, e->key);
        o->record = true;
        o->placed = tmp.placed;
        return;
    case 'K':
        assert_int_equal(gc_sentence_decode(e->value, &sentence), C2_E_OK);
        object_of_key(w, e->key)->condemned = true;
        return;
    case 'R':
        object_of_key(w, e->key)->live = counter(e->value);
        return;
    case 'G':
        if (e->value.len > 0) {
            take_sealed(w, e);
            return;
        }
        w->orphans = c2_realloc(w->orphans, w->norphans + 1, sizeof(uint64_t));
        w->orphans[w->norphans++] = c2_get_be64(e->key.data + 1);
        return;
    case 'Q':
        if (e->key.len == 6 && memcmp(e->key.data, "Qbytes", 6) == 0)
            w->used_bytes = counter(e->value);
        else if (e->key.len == 6 && memcmp(e->key.data, "Qfiles", 6) == 0)
            w->used_files = counter(e->value);
        return;
    default:
        return;
    }
}

static void
read_store(struct walk *w)
{
    struct c2_slice prefix = c2_slice("", 0);
    struct c2_buf after = { 0 };
    bool more = true;
    while (more) {
        struct range q = { .r = { .verb = COORD_RANGE, .keys = &prefix, .nkeys = 1 } };
        q.r.after = c2_buf_slice(&after);
        q.r.deadline_ns = C2_NEVER;
        q.r.done = listed;
        coord_submit(w->x->coord, &q.r);
        test_env_run_until(w->x->t, &q.done);
        assert_int_equal(q.r.err, C2_E_OK);
        for (size_t k = 0; k < q.r.nentries; k++)
            take(w, &q.r.entries[k]);
        more = q.r.more;
        c2_buf_clear(&after);
        if (q.r.nentries > 0) {
            const struct coord_entry *last = &q.r.entries[q.r.nentries - 1];
            c2_buf_append(&after, last->key.data, last->key.len);
        }
        coord_req_done(&q.r);
    }
    c2_buf_done(&after);
}

/* ---- judging -------------------------------------------------------------------------------- */

static struct node *
node_of(struct walk *w, uint64_t ino)
{
    size_t lo = 0, hi = w->nnodes;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (w->nodes[mid].ino < ino)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < w->nnodes && w->nodes[lo].ino == ino ? &w->nodes[lo] : NULL;
}

static void
check_entries(struct walk *w)
{
    for (size_t k = 0; k < w->nentries; k++) {
        const struct entry *e = &w->entries[k];
        struct node *dir = node_of(w, e->dir), *child = node_of(w, e->ino);
        if (child == NULL)
            fail_msg("an entry of %llu leads to inode %llu, which is not there",
                     (unsigned long long)e->dir, (unsigned long long)e->ino);
        if (dir == NULL || !S_ISDIR(dir->mode))
            fail_msg("the entry of inode %llu is in %llu, no directory", (unsigned long long)e->ino,
                     (unsigned long long)e->dir);
        assert_int_equal(e->type, child->mode & S_IFMT);
        child->entries++;
        if (S_ISDIR(child->mode)) {
            dir->subdirs++;
            assert_int_equal(child->parent, e->dir);
        }
    }
    for (size_t k = 0; k < w->norphans; k++) {
        struct node *n = node_of(w, w->orphans[k]);
        if (n == NULL)
            fail_msg("orphan %llu is not there", (unsigned long long)w->orphans[k]);
        n->orphan = true;
    }
}

static void
check_nodes(struct walk *w)
{
    int64_t bytes = 0;
    for (size_t k = 0; k < w->nnodes; k++) {
        const struct node *n = &w->nodes[k];
        uint64_t nlink = S_ISDIR(n->mode) ? 2 + n->subdirs : n->entries;
        bool linked = n->entries > 0 || n->ino == FS_ROOT_INO;
        bytes += (int64_t)fs_counted_bytes(n->size);
        if (n->orphan == linked)
            fail_msg("inode %llu: %llu entries, orphan record: %d", (unsigned long long)n->ino,
                     (unsigned long long)n->entries, n->orphan);
        if (n->nlink != (linked ? nlink : 0))
            fail_msg("inode %llu: nlink is %u, should be %llu", (unsigned long long)n->ino,
                     n->nlink, (unsigned long long)nlink);
        if (S_ISDIR(n->mode))
            assert_true(n->entries <= 1);
    }
    assert_int_equal(w->used_files, w->nnodes - 1);
    assert_int_equal(w->used_bytes, bytes);
}

static void
check_objects(struct walk *w, struct fsx_check *c)
{
    char key[PROV_KEY_MAX];
    for (size_t k = 0; k < w->nobjects; k++) {
        const struct object *o = w->objects[k];
        unsigned placed = 0;
        if (o->sum != o->live)
            fail_msg("object %llx.%llx: live bytes are %lld, extents say %lld",
                     (unsigned long long)o->oid.sid, (unsigned long long)o->oid.seq,
                     (long long)o->live, (long long)o->sum);
        c->objects += o->sum > 0;
        c->dead += o->record && o->sum == 0;
        c->condemned += o->condemned;
        if (o->condemned && (o->record || o->sum > 0))
            fail_msg("object %llx.%llx is condemned and in use", (unsigned long long)o->oid.sid,
                     (unsigned long long)o->oid.seq);
        if (o->sum > 0 && !o->record)
            fail_msg("object %llx.%llx is in use and has no record", (unsigned long long)o->oid.sid,
                     (unsigned long long)o->oid.seq);
        if (!o->record)
            continue;
        ds_object_key(w->x->ds, DS_KIND_OBJECT, o->oid, key);
        for (unsigned s = 0; s < FSX_SEATS; s++) {
            if ((o->placed >> s & 1) == 0)
                continue;
            placed++;
            if (prov_mem_peek(w->x->mem[s], key) == NULL)
                fail_msg("object %llx.%llx is not at seat %u", (unsigned long long)o->oid.sid,
                         (unsigned long long)o->oid.seq, s);
        }
        assert_true(placed >= 3);
    }
}

static void
count_unrecorded(struct walk *w, struct fsx_check *c)
{
    char key[PROV_KEY_MAX];
    const char *stored;
    for (unsigned s = 0; s < FSX_SEATS; s++) {
        for (size_t k = 0; (stored = prov_mem_key(w->x->mem[s], k)) != NULL; k++) {
            bool known = strstr(stored, "/o/") == NULL; /* not an object */
            for (size_t j = 0; !known && j < w->nobjects; j++) {
                ds_object_key(w->x->ds, DS_KIND_OBJECT, w->objects[j]->oid, key);
                known =
                    (w->objects[j]->record || w->objects[j]->condemned) && strcmp(key, stored) == 0;
            }
            c->unrecorded += !known;
        }
    }
}

/* ---- the product's own opinion -------------------------------------------------------------- */

struct fsck {
    struct fs_fsck k;
    char text[FS_FSCK_TEXT_MAX]; /* of the last problem */
    bool done;
};

static void
fsck_found(struct fs_fsck *k, const char *text)
{
    struct fsck *f = C2_CONTAINER_OF(k, struct fsck, k);
    (void)snprintf(f->text, sizeof(f->text), "%s", text);
}

static void
fsck_ended(struct fs_fsck *k)
{
    C2_CONTAINER_OF(k, struct fsck, k)->done = true;
}

static void
ask_fsck(struct fsx *x)
{
    struct fsck f = { .k = { .env = x->env,
                             .coord = x->coord,
                             .keys = x->keys,
                             .ds = x->ds,
                             .fs = x->fs,
                             .window_inodes = 5,
                             .window_objects = 7,
                             .found = fsck_found,
                             .done = fsck_ended } };
    fs_fsck_start(&f.k);
    test_env_run_until(x->t, &f.done);
    assert_int_equal(f.k.err, C2_E_OK);
    if (f.k.counts.problems > 0)
        fail_msg("fsck: %s", f.text);
}

void
fsx_check(struct fsx *x, struct fsx_check *ret_check)
{
    struct walk w = { .x = x };
    *ret_check = (struct fsx_check){ 0 };
    read_store(&w);
    check_entries(&w);
    check_nodes(&w);
    check_objects(&w, ret_check);
    count_unrecorded(&w, ret_check);
    ask_fsck(x);
    ret_check->inodes = w.nnodes;
    ret_check->entries = w.nentries;
    ret_check->orphans = w.norphans;
    ret_check->garbage = w.garbage;
    for (size_t k = 0; k < w.nobjects; k++)
        c2_free(w.objects[k]);
    c2_free(w.objects);
    c2_free(w.nodes);
    c2_free(w.entries);
    c2_free(w.orphans);
}
