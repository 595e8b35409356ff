/* SPDX-License-Identifier: MIT */
/*
 * Encoding of content maps. Layout, all little-endian:
 *
 *   content   u8 version = 1, u32 nleaves, nleaves * { u64 off, ref[72], u64 object_off, u32 len },
 *             extents
 *   extents   u32 nobjects, nobjects * ref[72], u32 n, n * { u64 off, u64 len, u32 object,
 *             u64 object_off }; object 0xffffffff = a hole that hides what the manifest says
 *   leaf      extents
 */
#include "fs/manifest.h"

#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "fs/deferred.h"
#include "fs/fs.h"

#define CONTENT_VERSION 1
#define OBJECT_HOLE     UINT32_MAX
#define EXTENTS_MAX     (1u << 20) /* in one record or leaf */

void
fs_manifest_free(struct fs_manifest *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->nleaves; i++)
        fs_source_unref(m->leaves[i].source);
    c2_free(m->leaves);
    fs_map_unref(m->base);
    c2_buf_done(&m->inlined);
    c2_free(m);
}

/* ---- encoding ------------------------------------------------------------------------------ */

/* Collects extents with a dictionary of their objects. */
struct extents {
    struct fs_object **objects;
    size_t nobjects, objects_cap;
    struct c2_buf body;
    uint32_t n;
};

static uint32_t
object_index(struct extents *x, struct fs_object *o)
{
    /* Neighbouring extents share objects, so the search from the end is short. */
    for (size_t i = x->nobjects; i > 0 && x->nobjects - i < 64; i--)
        if (x->objects[i - 1] == o)
            return (uint32_t)(i - 1);
    if (x->nobjects == x->objects_cap) {
        x->objects_cap = x->objects_cap == 0 ? 8 : x->objects_cap * 2;
        x->objects = c2_realloc(x->objects, x->objects_cap, sizeof(*x->objects));
    }
    x->objects[x->nobjects++] = o;
    return (uint32_t)(x->nobjects - 1);
}

static void
add_extent(void *arg, const struct fs_extent *e)
{
    struct extents *x = arg;
    uint64_t source_off = 0;
    uint32_t object = OBJECT_HOLE;
    if (e->source != NULL) {
        struct fs_source *s = fs_extent_source(e, &source_off);
        C2_ASSERT(s->kind == FS_SOURCE_OBJECT);
        object = object_index(x, C2_CONTAINER_OF(s, struct fs_object, source));
    }
    c2_wr_u64(&x->body, e->off);
    c2_wr_u64(&x->body, e->len);
    c2_wr_u32(&x->body, object);
    c2_wr_u64(&x->body, source_off);
    x->n++;
}

static void
finish_extents(struct extents *x, struct c2_buf *out)
{
    c2_wr_u32(out, (uint32_t)x->nobjects);
    for (size_t i = 0; i < x->nobjects; i++)
        ds_ref_encode(&x->objects[i]->ref, out);
    c2_wr_u32(out, x->n);
    c2_wr_raw(out, x->body.data, x->body.len);
    c2_free(x->objects);
    c2_buf_done(&x->body);
}

struct count {
    size_t extents, objects;
    const struct fs_source *last[FS_INLINE_OBJECTS_MAX + 1];
};

static void
count_extent(void *arg, const struct fs_extent *e)
{
    struct count *c = arg;
    c->extents++;
    if (e->source == NULL || c->objects > FS_INLINE_OBJECTS_MAX)
        return;
    for (size_t i = 0; i < c->objects; i++)
        if (c->last[i] == e->source)
            return;
    c->last[c->objects++] = e->source;
}

bool
fs_content_fits_inline(const struct fs_manifest *m, const struct fs_map *map)
{
    struct count c = { 0 };
    fs_map_diff(m == NULL ? NULL : m->base, map, count_extent, &c);
    return c.extents <= FS_INLINE_EXTENTS_MAX && c.objects <= FS_INLINE_OBJECTS_MAX;
}

void
fs_content_encode(const struct fs_manifest *m, const struct fs_map *map, struct c2_buf *out)
{
    c2_wr_u8(out, CONTENT_VERSION);
    c2_wr_u32(out, m == NULL ? 0 : (uint32_t)m->nleaves);
    for (size_t i = 0; m != NULL && i < m->nleaves; i++) {
        const struct fs_leaf *l = &m->leaves[i];
        struct fs_extent e = { .source = l->source, .source_off = l->source_off };
        uint64_t object_off;
        struct fs_source *s = fs_extent_source(&e, &object_off);
        C2_ASSERT(s->kind == FS_SOURCE_OBJECT);
        c2_wr_u64(out, l->off);
        ds_ref_encode(&C2_CONTAINER_OF(s, struct fs_object, source)->ref, out);
        c2_wr_u64(out, object_off);
        c2_wr_u32(out, l->len);
    }
    if (map == NULL) {
        C2_ASSERT(m != NULL && m->base == NULL);
        c2_wr_raw(out, m->inlined.data, m->inlined.len);
        return;
    }
    struct extents x = { 0 };
    fs_map_diff(m == NULL ? NULL : m->base, map, add_extent, &x);
    finish_extents(&x, out);
}

/* ---- building ------------------------------------------------------------------------------ */

/* Which leaves of the old manifest a change touches. */
struct touched {
    const struct fs_manifest *old;
    bool *leaf;
};

static uint64_t
leaf_end(const struct fs_manifest *m, size_t i)
{
    return i + 1 < m->nleaves ? m->leaves[i + 1].off : UINT64_MAX;
}

static void
touch_leaf(void *arg, const struct fs_extent *e)
{
    struct touched *t = arg;
    for (size_t i = 0; i < t->old->nleaves; i++)
        if (t->old->leaves[i].off < e->off + e->len && leaf_end(t->old, i) > e->off)
            t->leaf[i] = true;
}

static struct fs_leaf *
add_leaf(struct fs_manifest *m, size_t *cap)
{
    if (m->nleaves == *cap) {
        *cap = *cap == 0 ? 8 : *cap * 2;
        m->leaves = c2_realloc(m->leaves, *cap, sizeof(*m->leaves));
    }
    return &m->leaves[m->nleaves++];
}

/* New leaves for [off, end), at least one. Large maps get large leaves. */
static void
encode_leaves(struct fs *fs, struct fs_manifest *m, size_t *cap, uint64_t off, uint64_t end)
{
    size_t at = fs_map_find(m->base, off);
    size_t leaf_extents = C2_MAX((size_t)FS_LEAF_EXTENTS, m->base->n / (FS_LEAVES_MAX / 2) + 1);
    bool more = true;
    C2_ASSERT(leaf_extents <= FS_LEAF_EXTENTS_MAX);
    while (more) {
        struct extents x = { 0 };
        struct fs_leaf *l = add_leaf(m, cap);
        l->off = off;
        while (at < m->base->n && m->base->e[at].off < end && x.n < leaf_extents) {
            struct fs_extent e = m->base->e[at];
            uint64_t skip = e.off < off ? off - e.off : 0;
            e.off += skip;
            e.source_off += skip;
            e.len = C2_MIN(e.len - skip, end - e.off);
            add_extent(&x, &e);
            at++;
        }
        more = at < m->base->n && m->base->e[at].off < end;
        if (more)
            off = m->base->e[at].off;
        struct c2_buf bytes = { 0 };
        finish_extents(&x, &bytes);
        struct fs_chunk *c = fs_chunk_new(fs, (uint32_t)bytes.len);
        memcpy(c->mem, bytes.data, bytes.len);
        c->len = (uint32_t)bytes.len;
        c->frozen = true;
        l->source = &c->source;
        l->source_off = 0;
        l->len = c->len;
        c2_buf_done(&bytes);
    }
}

struct fs_manifest *
fs_manifest_build(struct fs *fs, const struct fs_manifest *old, struct fs_map *map)
{
    struct fs_manifest *m = c2_calloc(1, sizeof(*m));
    size_t cap = 0;
    m->base = fs_map_ref(map);
    if (old == NULL) {
        encode_leaves(fs, m, &cap, 0, UINT64_MAX);
        return m;
    }
    struct touched t = { .old = old, .leaf = c2_calloc(old->nleaves, sizeof(bool)) };
    fs_map_diff(old->base, map, touch_leaf, &t);
    /* Keeping leaves must not let their number grow without end. */
    for (size_t i = 0; old->nleaves > FS_LEAVES_MAX / 4 && i < old->nleaves; i++)
        t.leaf[i] = true;
    for (size_t i = 0; i < old->nleaves;) {
        if (!t.leaf[i]) {
            struct fs_leaf *l = add_leaf(m, &cap);
            *l = old->leaves[i++];
            fs_source_ref(l->source);
            continue;
        }
        size_t j = i;
        while (j < old->nleaves && t.leaf[j])
            j++;
        encode_leaves(fs, m, &cap, old->leaves[i].off, leaf_end(old, j - 1));
        i = j;
    }
    c2_free(t.leaf);
    return m;
}

/* ---- decoding ------------------------------------------------------------------------------ */

struct named {
    struct fs_source *source; /* one reference */
    uint64_t plain_len;
};

static C2_RESULT
parse_extent(struct c2_rd *r, const struct named *objects, uint32_t nobjects, uint64_t end,
             uint64_t *least, struct fs_map **map)
{
    uint64_t off = c2_rd_u64(r);
    uint64_t len = c2_rd_u64(r);
    uint32_t object = c2_rd_u32(r);
    uint64_t object_off = c2_rd_u64(r);
    bool hole = object == OBJECT_HOLE;
    if (!c2_rd_ok(r) || off < *least || off > end || len == 0 || len > end - off ||
        (!hole && object >= nobjects))
        return C2_E_PARSE;
    *least = off + len;
    if (hole) {
        fs_map_punch(map, off, len);
        return C2_E_OK;
    }
    const struct named *o = &objects[object];
    if (object_off > o->plain_len || len > o->plain_len - object_off)
        return C2_E_PARSE;
    fs_map_set(map, off, len, o->source, object_off);
    return C2_E_OK;
}

C2_RESULT
fs_extents_parse(const struct fs_content_names *names, struct c2_rd *r, uint64_t from, uint64_t end,
                 struct fs_map **map)
{
    uint32_t nobjects = c2_rd_u32(r);
    if (nobjects > c2_rd_left(r) / DS_REF_LEN)
        return C2_E_PARSE;
    struct named *objects = c2_calloc(nobjects, sizeof(*objects));
    bool contradiction = false;
    for (uint32_t i = 0; i < nobjects; i++) {
        struct ds_ref ref = ds_ref_decode(r);
        objects[i].source = names->object(names->arg, &ref);
        objects[i].plain_len = ref.plain_len;
        contradiction = contradiction || objects[i].source == NULL;
    }
    uint32_t n = c2_rd_u32(r);
    enum c2_err err = n > EXTENTS_MAX || contradiction ? C2_E_PARSE : C2_E_OK;
    uint64_t least = from;
    for (uint32_t i = 0; err == C2_E_OK && i < n; i++)
        err = parse_extent(r, objects, nobjects, end, &least, map);
    for (uint32_t i = 0; i < nobjects; i++)
        fs_source_unref(objects[i].source);
    c2_free(objects);
    return err;
}

static C2_RESULT
parse_leaves(const struct fs_content_names *names, struct c2_rd *r, uint32_t nleaves,
             struct fs_manifest **ret)
{
    struct fs_manifest *m = c2_calloc(1, sizeof(*m));
    m->leaves = c2_calloc(nleaves, sizeof(*m->leaves));
    uint64_t least = 0;
    for (uint32_t i = 0; i < nleaves; i++) {
        struct fs_leaf *l = &m->leaves[m->nleaves];
        l->off = c2_rd_u64(r);
        struct ds_ref ref = ds_ref_decode(r);
        l->source_off = c2_rd_u64(r);
        l->len = c2_rd_u32(r);
        if (!c2_rd_ok(r) || (i == 0 ? l->off != 0 : l->off < least) || l->off > FS_FILE_SIZE_MAX ||
            l->source_off > ref.plain_len || l->len > ref.plain_len - l->source_off) {
            fs_manifest_free(m);
            return C2_E_PARSE;
        }
        least = l->off + 1;
        l->source = names->object(names->arg, &ref);
        m->nleaves++;
        if (l->source == NULL) {
            fs_manifest_free(m);
            return C2_E_PARSE;
        }
    }
    *ret = m;
    return C2_E_OK;
}

C2_RESULT
fs_content_parse(const struct fs_content_names *names, struct c2_rd *r,
                 struct fs_manifest **ret_manifest, struct fs_map **ret_map)
{
    if (c2_rd_u8(r) != CONTENT_VERSION)
        return C2_E_VERSION;
    uint32_t nleaves = c2_rd_u32(r);
    if (nleaves > FS_LEAVES_MAX)
        return C2_E_PARSE;
    if (nleaves > 0) {
        struct fs_manifest *m;
        C2_TRY(parse_leaves(names, r, nleaves, &m));
        size_t left = c2_rd_left(r);
        struct c2_slice rest = c2_rd_raw(r, left);
        c2_buf_append(&m->inlined, rest.data, rest.len);
        *ret_manifest = m;
        return C2_E_OK;
    }
    struct fs_map *map = fs_map_new();
    enum c2_err err = fs_extents_parse(names, r, 0, FS_FILE_SIZE_MAX, &map);
    if (err != C2_E_OK) {
        fs_map_unref(map);
        return err;
    }
    *ret_map = map;
    return C2_E_OK;
}

/* What is named by a record of the store has a record of its own. All references to an object say
 * how long it is: readers count on it. */
static struct fs_source *
recorded_object(void *arg, const struct ds_ref *ref)
{
    struct fs_object *o = fs_object_get(arg, ref);
    if (o->ref.plain_len != ref->plain_len) {
        fs_source_unref(&o->source);
        return NULL;
    }
    o->recorded = true;
    return &o->source;
}

C2_RESULT
fs_leaf_decode(struct fs *fs, struct c2_slice bytes, uint64_t off, uint64_t end,
               struct fs_map **map)
{
    const struct fs_content_names names = { .object = recorded_object, .arg = fs };
    struct c2_rd r = c2_rd_init(bytes);
    C2_TRY(fs_extents_parse(&names, &r, off, end, map));
    return c2_rd_finish(&r);
}

C2_RESULT
fs_content_decode(struct fs *fs, struct c2_rd *r, struct fs_inode *i)
{
    const struct fs_content_names names = { .object = recorded_object, .arg = fs };
    struct fs_map *map = NULL;
    C2_TRY(fs_content_parse(&names, r, &i->manifest, &map));
    if (map == NULL)
        return C2_E_OK;
    i->map = map;
    i->committed = fs_map_ref(map);
    i->journaled = fs_map_ref(map);
    return C2_E_OK;
}

C2_RESULT
fs_content_loaded(struct fs *fs, struct fs_inode *i)
{
    struct fs_manifest *m = i->manifest;
    struct c2_rd r = c2_rd_init(c2_buf_slice(&m->inlined));
    const struct fs_content_names names = { .object = recorded_object, .arg = fs };
    struct fs_map *map = fs_map_ref(m->base);
    enum c2_err err = fs_extents_parse(&names, &r, 0, FS_FILE_SIZE_MAX, &map);
    if (err == C2_E_OK)
        err = c2_rd_finish(&r);
    if (err != C2_E_OK) {
        fs_map_unref(map);
        return err;
    }
    c2_buf_done(&m->inlined);
    m->inlined = (struct c2_buf){ 0 };
    if (c2_link_linked(&i->deferred_link)) {
        fs_deferred_loaded(fs, i, map);
        fs_map_unref(map);
        return C2_E_OK;
    }
    i->map = map;
    i->committed = fs_map_ref(map);
    i->journaled = fs_map_ref(map);
    return C2_E_OK;
}
