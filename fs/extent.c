/* SPDX-License-Identifier: MIT */
/*
 * Extent maps: a sorted array. Sequential writing touches its end only; a lookup is a binary
 * search; a change in the middle moves the tail, which compaction keeps short.
 */
#include "fs/extent.h"

#include <string.h>

#include "base/alloc.h"

struct fs_map *
fs_map_new(void)
{
    struct fs_map *m = c2_calloc(1, sizeof(*m));
    m->refs = 1;
    return m;
}

struct fs_map *
fs_map_ref(struct fs_map *m)
{
    C2_ASSERT(m->refs > 0);
    m->refs++;
    return m;
}

void
fs_map_unref(struct fs_map *m)
{
    if (m == NULL)
        return;
    C2_ASSERT(m->refs > 0);
    if (--m->refs > 0)
        return;
    for (size_t i = 0; i < m->n; i++)
        fs_source_unref(m->e[i].source);
    c2_free(m->e);
    c2_free(m);
}

/* The map, owned alone by the caller from now on. */
static struct fs_map *
own(struct fs_map **map)
{
    struct fs_map *old = *map;
    if (old->refs == 1)
        return old;
    struct fs_map *m = fs_map_new();
    m->n = old->n;
    m->cap = old->n;
    if (m->cap > 0)
        m->e = c2_realloc(NULL, m->cap, sizeof(*m->e));
    for (size_t i = 0; i < m->n; i++) {
        m->e[i] = old->e[i];
        fs_source_ref(m->e[i].source);
    }
    fs_map_unref(old);
    *map = m;
    return m;
}

static void
grow(struct fs_map *m, size_t n)
{
    if (n <= m->cap)
        return;
    m->cap = C2_MAX(n, m->cap == 0 ? 1 : m->cap * 2);
    m->e = c2_realloc(m->e, m->cap, sizeof(*m->e));
}

/* Replaces m->e[at .. at+remove) by insert[0 .. ninsert); references are the caller's business. */
static void
splice(struct fs_map *m, size_t at, size_t remove, const struct fs_extent *insert, size_t ninsert)
{
    size_t n = m->n - remove + ninsert;
    grow(m, n);
    if (m->n > at + remove)
        memmove(&m->e[at + ninsert], &m->e[at + remove], (m->n - at - remove) * sizeof(m->e[0]));
    for (size_t i = 0; i < ninsert; i++)
        m->e[at + i] = insert[i];
    m->n = n;
}

static uint64_t
end_of(const struct fs_extent *e)
{
    return e->off + e->len;
}

size_t
fs_map_find(const struct fs_map *m, uint64_t off)
{
    size_t lo = 0, hi = m->n;
    if (m->n > 0 && end_of(&m->e[m->n - 1]) <= off)
        return m->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (end_of(&m->e[mid]) <= off)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Whether b continues a in the file and in its source. */
static bool
continues(const struct fs_extent *a, const struct fs_extent *b)
{
    return end_of(a) == b->off && a->source == b->source && a->source_off + a->len == b->source_off;
}

/* Makes room for [off, end): cuts or removes what is there; returns the index for a new extent. */
static size_t
carve(struct fs_map *m, uint64_t off, uint64_t end)
{
    size_t first = fs_map_find(m, off);
    size_t last = first;
    struct fs_extent keep[2];
    size_t nkeep = 0, left = 0;
    while (last < m->n && m->e[last].off < end) {
        struct fs_extent *e = &m->e[last];
        if (e->off < off) {
            keep[nkeep] = *e;
            keep[nkeep].len = off - e->off;
            fs_source_ref(e->source);
            nkeep++;
            left = 1;
        }
        if (end_of(e) > end) {
            keep[nkeep] = *e;
            keep[nkeep].off = end;
            keep[nkeep].len = end_of(e) - end;
            keep[nkeep].source_off += end - e->off;
            fs_source_ref(e->source);
            nkeep++;
        }
        last++;
    }
    for (size_t i = first; i < last; i++)
        fs_source_unref(m->e[i].source);
    splice(m, first, last - first, keep, nkeep);
    return first + left;
}

void
fs_map_set(struct fs_map **map, uint64_t off, uint64_t len, struct fs_source *source,
           uint64_t source_off)
{
    C2_ASSERT(len > 0 && off <= FS_FILE_SIZE_MAX && len <= FS_FILE_SIZE_MAX - off);
    struct fs_map *m = own(map);
    struct fs_extent e = { .off = off, .len = len, .source = source, .source_off = source_off };
    fs_source_ref(source);
    size_t at = carve(m, off, off + len);
    if (at > 0 && continues(&m->e[at - 1], &e)) {
        m->e[at - 1].len += len;
        fs_source_unref(source);
        return;
    }
    splice(m, at, 0, &e, 1);
}

void
fs_map_punch(struct fs_map **map, uint64_t off, uint64_t len)
{
    uint64_t end = len > UINT64_MAX - off ? UINT64_MAX : off + len;
    if (len == 0 || fs_map_find(*map, off) == (*map)->n)
        return;
    carve(own(map), off, end);
}

struct fs_map *
fs_map_slice(const struct fs_map *m, uint64_t off, uint64_t len)
{
    struct fs_map *slice = fs_map_new();
    for (size_t k = fs_map_find(m, off); k < m->n && m->e[k].off < off + len; k++) {
        const struct fs_extent *e = &m->e[k];
        uint64_t from = C2_MAX(e->off, off), to = C2_MIN(end_of(e), off + len);
        fs_map_set(&slice, from, to - from, e->source, e->source_off + (from - e->off));
    }
    return slice;
}

struct fs_source *
fs_extent_source(const struct fs_extent *e, uint64_t *ret_off)
{
    if (e->source->kind == FS_SOURCE_CHUNK) {
        struct fs_chunk *c = C2_CONTAINER_OF(e->source, struct fs_chunk, source);
        if (c->object != NULL) {
            *ret_off = c->object_off + e->source_off;
            return &c->object->source;
        }
    }
    *ret_off = e->source_off;
    return e->source;
}

static bool
needs_resolve(const struct fs_map *m)
{
    for (size_t i = 0; i < m->n; i++) {
        uint64_t off;
        if (fs_extent_source(&m->e[i], &off) != m->e[i].source)
            return true;
    }
    return false;
}

void
fs_map_resolve(struct fs_map **map)
{
    if (!needs_resolve(*map))
        return;
    struct fs_map *m = own(map);
    size_t n = 0;
    for (size_t i = 0; i < m->n; i++) {
        struct fs_extent e = m->e[i];
        struct fs_source *s = fs_extent_source(&e, &e.source_off);
        if (s != e.source) {
            fs_source_ref(s);
            fs_source_unref(e.source);
            e.source = s;
        }
        if (n > 0 && continues(&m->e[n - 1], &e)) {
            m->e[n - 1].len += e.len;
            fs_source_unref(e.source);
        } else {
            m->e[n++] = e;
        }
    }
    m->n = n;
}

static bool
same_extent(const struct fs_extent *a, const struct fs_extent *b)
{
    return a->off == b->off && a->len == b->len && a->source == b->source &&
           a->source_off == b->source_off;
}

bool
fs_map_equal(const struct fs_map *a, const struct fs_map *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        if (!same_extent(&a->e[i], &b->e[i]))
            return false;
    }
    return true;
}

uint64_t
fs_map_bytes(const struct fs_map *m)
{
    uint64_t bytes = 0;
    for (size_t i = 0; m != NULL && i < m->n; i++)
        bytes += m->e[i].len;
    return bytes;
}

/* The part of a map from off on that has one source: a piece of an extent, or of a hole (source
 * NULL), with uploaded chunks seen as their objects. */
static struct fs_extent
piece_at(const struct fs_map *m, size_t *index, uint64_t off)
{
    while (m != NULL && *index < m->n && end_of(&m->e[*index]) <= off)
        (*index)++;
    struct fs_extent p = { .off = off, .len = UINT64_MAX - off };
    if (m == NULL || *index >= m->n)
        return p;
    const struct fs_extent *e = &m->e[*index];
    if (e->off > off) {
        p.len = e->off - off;
        return p;
    }
    p.source = fs_extent_source(e, &p.source_off);
    p.source_off += off - e->off;
    p.len = end_of(e) - off;
    return p;
}

/* Passes over what two maps have in common from off on, which is nearly all of it: sources are not
 * even looked at. Returns where a difference may begin. */
static uint64_t
skip_same(const struct fs_map *a, size_t *i, const struct fs_map *b, size_t *j, uint64_t off)
{
    if (a == NULL || b == NULL)
        return off;
    while (*i < a->n && end_of(&a->e[*i]) <= off)
        (*i)++;
    while (*j < b->n && end_of(&b->e[*j]) <= off)
        (*j)++;
    while (*i < a->n && *j < b->n && a->e[*i].off >= off && same_extent(&a->e[*i], &b->e[*j])) {
        off = end_of(&a->e[*i]);
        (*i)++;
        (*j)++;
    }
    return off;
}

void
fs_map_diff(const struct fs_map *from, const struct fs_map *to,
            void (*fn)(void *arg, const struct fs_extent *changed), void *arg)
{
    struct fs_extent run = { 0 };
    size_t i = 0, j = 0;
    uint64_t off = 0;
    if (from == to)
        return;
    while ((from != NULL && i < from->n) || (to != NULL && j < to->n)) {
        off = skip_same(from, &i, to, &j, off);
        struct fs_extent a = piece_at(from, &i, off);
        struct fs_extent b = piece_at(to, &j, off);
        uint64_t len = C2_MIN(a.len, b.len);
        bool same = a.source == b.source && (a.source == NULL || a.source_off == b.source_off);
        b.len = len;
        if (len == UINT64_MAX - off)
            break; /* both are past their last extent */
        if (!same && run.len > 0 && end_of(&run) == off && run.source == b.source &&
            (b.source == NULL || run.source_off + run.len == b.source_off)) {
            run.len += len;
        } else if (!same) {
            if (run.len > 0)
                fn(arg, &run);
            run = b;
        }
        off += len;
    }
    if (run.len > 0)
        fn(arg, &run);
}
