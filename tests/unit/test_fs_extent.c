/* SPDX-License-Identifier: MIT */
/*
 * Extent maps against an array that says of each byte where it comes from.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "fs/extent.h"

#define LEN     600u
#define SOURCES 12u /* half of them objects, half of them chunks that may become a part of one */
#define MOMENTS 4u

/* Where a byte comes from; source 0 = a hole. */
struct cell {
    unsigned source;
    uint64_t off;
};

struct moment {
    struct fs_map *map;
    struct cell cell[LEN];
};

struct rig {
    struct fs_object object[SOURCES];
    struct fs_chunk chunk[SOURCES];
    struct moment now, old[MOMENTS];
    uint64_t random;
};

static uint64_t
next(struct rig *g, uint64_t n)
{
    g->random ^= g->random << 13;
    g->random ^= g->random >> 7;
    g->random ^= g->random << 17;
    return g->random % n;
}

/* Sources 1 .. SOURCES are objects, the ones after them chunks. */
static struct fs_source *
source(struct rig *g, unsigned id)
{
    return id <= SOURCES ? &g->object[id - 1].source : &g->chunk[id - SOURCES - 1].source;
}

static void
rig_init(struct rig *g, uint64_t seed)
{
    *g = (struct rig){ .random = seed * 0x9e3779b97f4a7c15ull + 1 };
    for (unsigned k = 0; k < SOURCES; k++) {
        g->object[k].source = (struct fs_source){ .kind = FS_SOURCE_OBJECT, .refs = 1 };
        g->chunk[k].source = (struct fs_source){ .kind = FS_SOURCE_CHUNK, .refs = 1 };
    }
    g->now.map = fs_map_new();
    for (unsigned k = 0; k < MOMENTS; k++)
        g->old[k].map = fs_map_new();
}

static void
rig_done(struct rig *g)
{
    fs_map_unref(g->now.map);
    for (unsigned k = 0; k < MOMENTS; k++)
        fs_map_unref(g->old[k].map);
    for (unsigned k = 0; k < SOURCES; k++) {
        assert_int_equal(g->chunk[k].source.refs, 1);
        assert_int_equal(g->object[k].source.refs, 1);
    }
}

/* What a cell stands for when uploaded chunks are seen as their objects. */
static struct cell
resolved(const struct rig *g, struct cell c)
{
    if (c.source <= SOURCES)
        return c;
    const struct fs_chunk *chunk = &g->chunk[c.source - SOURCES - 1];
    if (chunk->object == NULL)
        return c;
    return (struct cell){ .source = (unsigned)(chunk->object - g->object) + 1,
                          .off = chunk->object_off + c.off };
}

static struct cell
cell_of(struct rig *g, const struct fs_extent *e, uint64_t pos)
{
    struct fs_extent part = *e;
    struct cell c = { 0 };
    if (e->source == NULL)
        return c;
    part.source_off += pos - e->off;
    const struct fs_source *s = fs_extent_source(&part, &c.off);
    for (unsigned id = 1; id <= 2 * SOURCES; id++)
        if (source(g, id) == s)
            c.source = id;
    assert_int_not_equal(c.source, 0);
    return c;
}

static void
check(struct rig *g, const struct moment *m)
{
    const struct fs_map *map = m->map;
    uint64_t end = 0, bytes = 0;
    size_t at = 0;
    for (size_t k = 0; k < map->n; k++) {
        assert_true(map->e[k].len > 0);
        assert_true(map->e[k].off >= end);
        end = map->e[k].off + map->e[k].len;
        bytes += map->e[k].len;
    }
    assert_true(end <= LEN);
    assert_int_equal(fs_map_bytes(map), bytes);
    for (uint64_t pos = 0; pos < LEN; pos++) {
        struct cell got = { 0 }, want = resolved(g, m->cell[pos]);
        while (at < map->n && map->e[at].off + map->e[at].len <= pos)
            at++;
        assert_int_equal(fs_map_find(map, pos), at);
        if (at < map->n && map->e[at].off <= pos)
            got = cell_of(g, &map->e[at], pos);
        assert_int_equal(got.source, want.source);
        if (want.source != 0)
            assert_int_equal(got.off, want.off);
    }
}

struct diff {
    struct rig *g;
    const struct moment *from, *to;
    uint64_t pos;
};

static bool
same(const struct rig *g, struct cell a, struct cell b)
{
    a = resolved(g, a);
    b = resolved(g, b);
    return a.source == b.source && (a.source == 0 || a.off == b.off);
}

static void
skip_equal(struct diff *d, uint64_t to)
{
    for (; d->pos < to; d->pos++)
        assert_true(same(d->g, d->from->cell[d->pos], d->to->cell[d->pos]));
}

static void
differs(void *arg, const struct fs_extent *e)
{
    struct diff *d = arg;
    assert_true(e->len > 0 && e->off >= d->pos && e->off + e->len <= LEN);
    skip_equal(d, e->off);
    for (; d->pos < e->off + e->len; d->pos++) {
        struct cell got = cell_of(d->g, e, d->pos);
        assert_false(same(d->g, d->from->cell[d->pos], d->to->cell[d->pos]));
        assert_true(same(d->g, got, d->to->cell[d->pos]));
    }
}

static void
check_diff(struct rig *g, const struct moment *from, const struct moment *to)
{
    struct diff d = { .g = g, .from = from, .to = to };
    fs_map_diff(from->map, to->map, differs, &d);
    skip_equal(&d, LEN);
}

static void
set(struct rig *g)
{
    uint64_t off = next(g, LEN),
             len = 1 + next(g, next(g, 4) == 0 ? LEN - off : C2_MIN(LEN - off, 40));
    unsigned id = 1 + (unsigned)next(g, 2 * SOURCES);
    uint64_t at = next(g, 3) == 0 ? off : next(g, 50);
    fs_map_set(&g->now.map, off, len, source(g, id), at);
    for (uint64_t k = 0; k < len; k++)
        g->now.cell[off + k] = (struct cell){ .source = id, .off = at + k };
}

static void
punch(struct rig *g)
{
    uint64_t off = next(g, LEN), len = next(g, LEN - off + 1);
    bool rest = next(g, 8) == 0;
    fs_map_punch(&g->now.map, off, rest ? UINT64_MAX : len);
    for (uint64_t k = off; k < (rest ? LEN : off + len); k++)
        g->now.cell[k] = (struct cell){ 0 };
}

/* A chunk becomes a part of an object, as after its upload. */
static void
upload(struct rig *g)
{
    struct fs_chunk *c = &g->chunk[next(g, SOURCES)];
    if (c->object != NULL)
        return;
    c->object = &g->object[next(g, SOURCES)];
    c->object_off = next(g, 3) == 0 ? 0 : next(g, 1000);
}

static void
step(struct rig *g)
{
    struct moment *m = &g->old[next(g, MOMENTS)];
    switch (next(g, 16)) {
    case 0:
        fs_map_unref(m->map);
        *m = g->now;
        fs_map_ref(m->map);
        break;
    case 1:
        fs_map_unref(g->now.map);
        g->now = *m;
        fs_map_ref(m->map);
        break;
    case 2:
        fs_map_resolve(&m->map);
        break;
    case 3:
        upload(g);
        break;
    case 4:
    case 5:
        punch(g);
        break;
    default:
        set(g);
        break;
    }
    check(g, &g->now);
    check(g, m);
    check_diff(g, m, &g->now);
    check_diff(g, &g->now, m);
}

static void
map__equals_an_array_of_bytes_after_any_changes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct rig *g = c2_calloc(1, sizeof(*g));
        rig_init(g, seed);
        for (unsigned k = 0; k < 1500; k++)
            step(g);
        rig_done(g);
        c2_free(g);
    }
}

static void
map__of_appends_is_one_extent(void **state)
{
    (void)state;
    struct rig *g = c2_calloc(1, sizeof(*g));
    rig_init(g, 1);
    for (unsigned k = 0; k < 100; k++)
        fs_map_set(&g->now.map, k * 3, 3, source(g, 1), k * 3);
    assert_int_equal(g->now.map->n, 1);
    fs_map_set(&g->now.map, 300, 3, source(g, 1), 301);
    assert_int_equal(g->now.map->n, 2);
    rig_done(g);
    c2_free(g);
}

static void
map__reaches_to_the_largest_file(void **state)
{
    (void)state;
    struct rig *g = c2_calloc(1, sizeof(*g));
    uint64_t end = FS_FILE_SIZE_MAX;
    rig_init(g, 1);
    fs_map_set(&g->now.map, 0, end, source(g, 1), 0);
    fs_map_set(&g->now.map, end - 1, 1, source(g, 2), 0);
    assert_int_equal(g->now.map->n, 2);
    assert_int_equal(fs_map_bytes(g->now.map), end);
    fs_map_punch(&g->now.map, 1, UINT64_MAX);
    assert_int_equal(fs_map_bytes(g->now.map), 1);
    assert_int_equal(fs_map_find(g->now.map, end), 1);
    rig_done(g);
    c2_free(g);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map__equals_an_array_of_bytes_after_any_changes),
        cmocka_unit_test(map__of_appends_is_one_extent),
        cmocka_unit_test(map__reaches_to_the_largest_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
