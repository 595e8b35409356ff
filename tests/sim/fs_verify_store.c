/* SPDX-License-Identifier: MIT */
/*
 * What the store and the clouds hold after everything was committed, against what the files need
 * (I11): exactly the inodes and entries of the reference, an object record for every object that a
 * file uses, its live bytes, its shares where the record says, the usage counters.
 */
#include "tests/sim/fs_scene.h"

#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "fs/fetch.h"
#include "fs/manifest.h"
#include "fs/object_record.h"

struct usage {
    struct ds_oid oid;
    int64_t live; /* what the files use */
};

struct store_check {
    struct fs_scene *s;
    struct usage usage[4096];
    size_t n;
    uint64_t files, bytes;
    bool garbage; /* deleted files whose extents were never read: their objects still count */
};

static void
use_source(struct store_check *c, const struct fs_extent *e)
{
    uint64_t off;
    struct fs_source *src = fs_extent_source(e, &off);
    SIM_CHECK(c->s->w, src->kind == FS_SOURCE_OBJECT, "I11: a chunk is left after a sync");
    const struct ds_oid *oid = &C2_CONTAINER_OF(src, struct fs_object, source)->ref.oid;
    size_t k = 0;
    while (k < c->n && memcmp(&c->usage[k].oid, oid, sizeof *oid) != 0)
        k++;
    C2_ASSERT(k < C2_ARRAY_LEN(c->usage));
    if (k == c->n)
        c->usage[c->n++] = (struct usage){ .oid = *oid };
    c->usage[k].live += (int64_t)e->len;
}

static void
count_usage(struct store_check *c)
{
    struct fs *fs = c->s->m->fs;
    for (struct c2_map_node *n = c2_map_next(&fs->inodes, NULL); n != NULL;
         n = c2_map_next(&fs->inodes, n)) {
        const struct fs_inode *i = C2_CONTAINER_OF(n, struct fs_inode, node);
        if (i->gone || i->attr.mode == 0)
            continue;
        c->files++;
        c->bytes += S_ISREG(i->attr.mode) ? i->attr.size : 0;
        for (size_t k = 0; i->committed != NULL && k < i->committed->n; k++)
            use_source(c, &i->committed->e[k]);
        for (size_t k = 0; i->manifest != NULL && k < i->manifest->nleaves; k++) {
            const struct fs_leaf *l = &i->manifest->leaves[k];
            struct fs_extent e = { .len = l->len, .source = l->source };
            use_source(c, &e);
        }
    }
}

/* All entries under a letter, at most one answer. */
static bool
read_letter(struct fs_scene *s, char letter, struct coord_req *r)
{
    struct ck prefix = ck_letter(letter);
    struct c2_slice key = ck_slice(&prefix);
    *r = (struct coord_req){ .verb = COORD_RANGE, .keys = &key, .nkeys = 1 };
    if (!sim_mount_coord(s->m, r))
        return false;
    SIM_CHECK(s->w, r->err == C2_E_OK && !r->more, "the store cannot be listed: %s",
              c2_err_name(r->err));
    return true;
}

static struct usage *
usage_of(struct store_check *c, struct c2_slice key)
{
    struct ds_oid oid = { .sid = c2_get_be64(key.data + 1), .seq = c2_get_be64(key.data + 9) };
    memcpy(oid.rnd, key.data + 17, sizeof oid.rnd);
    for (size_t k = 0; k < c->n; k++) {
        if (memcmp(&c->usage[k].oid, &oid, sizeof oid) == 0)
            return &c->usage[k];
    }
    return NULL;
}

/* The clouds that are said to hold a share do, unless they have destroyed something. What a
 * replacement had to give up is told by it, and left for a repair. */
static void
check_placement(struct fs_scene *s, const struct coord_entry *e)
{
    struct fs_object o = { 0 };
    char key[PROV_KEY_MAX];
    struct ds_oid oid = { .sid = c2_get_be64(e->key.data + 1),
                          .seq = c2_get_be64(e->key.data + 9) };
    SIM_CHECK(s->w, fs_object_record_decode(e->value, &o) == C2_E_OK, "an object record is broken");
    ds_object_key(s->m->ds, DS_KIND_OBJECT, oid, key);
    for (unsigned i = 0; i < s->m->volume.config.n && !change_runs(s); i++) {
        const struct sim_cloud *cloud = sim_mount_cloud(s->m, i);
        bool said = (o.placed & 1u << i) != 0;
        if (!said || s->m->volume.config.seats[i].state == VOLUME_SEAT_REBUILDING)
            continue;
        SIM_CHECK(s->w, cloud != NULL, "I11: seat %u is empty and should hold %s", i, key);
        /* A new one that lied in its lists was believed. */
        bool believed = cloud->index >= SCENE_CLOUDS && cloud->lied;
        bool lost = cloud->destroyed || believed || change_has_lost(s);
        SIM_CHECK(s->w, (lost && !s->repaired) || sim_cloud_peek(cloud, key) != NULL,
                  "I11: %s does not hold %s", cloud->name, key);
    }
}

static bool
check_objects(struct store_check *c)
{
    struct fs_scene *s = c->s;
    struct coord_req r;
    size_t recorded = 0;
    if (!read_letter(s, 'O', &r))
        return false;
    for (size_t k = 0; k < r.nentries; k++) {
        recorded += usage_of(c, r.entries[k].key) != NULL;
        check_placement(s, &r.entries[k]);
    }
    coord_req_done(&r);
    SIM_CHECK(s->w, recorded == c->n, "I11: %zu objects are used, %zu of them are recorded", c->n,
              recorded);
    if (!read_letter(s, 'R', &r))
        return false;
    for (size_t k = 0; k < r.nentries; k++) {
        const struct usage *u = usage_of(c, r.entries[k].key);
        int64_t live = (int64_t)c2_get_u64(r.entries[k].value.data);
        int64_t used = u != NULL ? u->live : 0;
        SIM_CHECK(s->w, live == used || (c->garbage && live > used),
                  "I11: object %llx/%llx has %lld live bytes, the store says %lld",
                  (unsigned long long)c2_get_be64(r.entries[k].key.data + 1),
                  (unsigned long long)c2_get_be64(r.entries[k].key.data + 9), (long long)used,
                  (long long)live);
    }
    coord_req_done(&r);
    return true;
}

/* Exactly the inodes of the reference. */
static bool
check_inodes(struct fs_scene *s)
{
    struct coord_req r;
    if (!read_letter(s, 'I', &r))
        return false;
    for (size_t k = 0; k < r.nentries; k++) {
        uint64_t ino = c2_get_be64(r.entries[k].key.data + 1);
        SIM_CHECK(s->w, model_find(&s->model, ino) != NULL,
                  "I11: the store has inode %llu, which nobody can reach", (unsigned long long)ino);
    }
    coord_req_done(&r);
    return true;
}

static bool
count_letter(struct fs_scene *s, char letter, size_t wanted, const char *what)
{
    struct coord_req r;
    if (!read_letter(s, letter, &r))
        return false;
    SIM_CHECK(s->w, r.nentries == wanted, "I11: the store has %zu %s, should be %zu", r.nentries,
              what, wanted);
    coord_req_done(&r);
    return true;
}

/* No orphan without a record: those were open, and nothing is. */
static bool
check_orphans(struct store_check *c)
{
    struct coord_req r;
    if (!read_letter(c->s, 'G', &r))
        return false;
    for (size_t k = 0; k < r.nentries; k++) {
        SIM_CHECK(c->s->w, r.entries[k].value.len > 0, "I11: the store has an orphan");
        C2_MARK("sim: a deleted file whose extents nobody has read");
        c->garbage = true;
    }
    coord_req_done(&r);
    return true;
}

static bool
check_counters(struct store_check *c)
{
    struct coord_req r;
    if (!read_letter(c->s, 'Q', &r))
        return false;
    for (size_t k = 0; k < r.nentries; k++) {
        bool bytes = c2_slice_equal(r.entries[k].key, c2_slice_str("Qbytes"));
        uint64_t value = c2_get_u64(r.entries[k].value.data);
        uint64_t wanted = bytes ? c->bytes : c->files;
        SIM_CHECK(c->s->w, value == wanted || (!bytes && value + 1 == wanted),
                  "usage counter \"%s\" is %llu, should be %llu", bytes ? "bytes" : "files",
                  (unsigned long long)value, (unsigned long long)wanted);
    }
    coord_req_done(&r);
    return true;
}

bool
verify_store(struct fs_scene *s)
{
    struct store_check *c = c2_calloc(1, sizeof *c);
    size_t inodes = 0;
    for (unsigned k = 0; k < MODEL_NODES_MAX; k++)
        inodes += s->model.node[k].ino != 0;
    c->s = s;
    count_usage(c);
    SIM_CHECK(s->w, c->files == inodes, "%llu inodes in memory, should be %zu",
              (unsigned long long)c->files, inodes);
    bool alive = check_orphans(c) && check_inodes(s) && check_objects(c) &&
                 count_letter(s, 'I', inodes, "inodes") &&
                 count_letter(s, 'D', s->model.nentries, "entries") && check_counters(c);
    c2_free(c);
    return alive;
}

static bool
is_recorded(struct fs_scene *s, const struct coord_req *records, const char *key)
{
    char known[PROV_KEY_MAX];
    struct ds_oid oid;
    for (size_t k = 0; k < records->nentries; k++) {
        if (fs_object_key_decode(records->entries[k].key, &oid) != C2_E_OK)
            continue;
        ds_object_key(s->m->ds, DS_KIND_OBJECT, oid, known);
        if (strcmp(known, key) == 0)
            return true;
    }
    return false;
}

bool
verify_clouds(struct fs_scene *s)
{
    struct coord_req r;
    if (!read_letter(s, 'O', &r))
        return false;
    for (unsigned i = 0; i < s->m->volume.config.n; i++) {
        const struct sim_cloud *cloud = sim_mount_cloud(s->m, i);
        for (size_t k = 0; cloud != NULL && !cloud->destroyed && k < cloud->count; k++) {
            const char *key = cloud->objects[k].key;
            SIM_CHECK(s->w, strstr(key, "/o/") == NULL || is_recorded(s, &r, key),
                      "I11: %s holds %s, which no record names", cloud->name, key);
        }
    }
    coord_req_done(&r);
    return count_letter(s, 'K', 0, "condemned objects");
}
