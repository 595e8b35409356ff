/* SPDX-License-Identifier: MIT */
/*
 * A mount without the clouds, after a crash that left changes of a large file in the journal.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "fs/deferred.h"
#include "tests/lib/fs_check.h"
#include "tests/lib/fs_fixture.h"

#define PIECES    40
#define PIECE_LEN 1000
#define STEP      5000
#define FILE_LEN  ((PIECES - 1) * STEP + PIECE_LEN)

struct rig {
    struct fsx x;
    uint8_t want[FILE_LEN + STEP]; /* what the large file must be */
    size_t len;
};

static void
clouds(struct fsx *x, const char *fault)
{
    for (unsigned s = 0; s < FSX_SEATS; s++)
        fsx_fault(x, s, fault);
}

static void
write_at(struct rig *g, size_t off, size_t len, uint64_t seed)
{
    struct fsx *x = &g->x;
    uint8_t *data = fsx_bytes(seed, len);
    struct fs_handle *h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "large"), O_RDWR);
    assert_int_equal(fsx_write(x, h, off, data, len), C2_E_OK);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    memcpy(g->want + off, data, len);
    g->len = C2_MAX(g->len, off + len);
    c2_free(data);
}

static void
expect_large(struct rig *g)
{
    fsx_expect(&g->x, FS_ROOT_INO, "large", g->want, g->len);
}

/* A committed file with holes in so many objects that they need a manifest. */
static int
setup(void **state)
{
    struct rig *g = c2_calloc(1, sizeof(*g));
    struct fsx *x = &g->x;
    fsx_init(x);
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "large", "", 0);
    for (size_t k = 0; k < PIECES; k++) {
        write_at(g, k * STEP, PIECE_LEN, k);
        assert_int_equal(fsx_sync(x), C2_E_OK);
    }
    *state = g;
    c2_mark_reset();
    return 0;
}

static int
teardown(void **state)
{
    struct rig *g = *state;
    fsx_stop(&g->x);
    fsx_done(&g->x);
    c2_free(g);
    return 0;
}

/* Changes that the journal has and the clouds do not; the clouds stay away. */
static void
crash_without_clouds(struct rig *g)
{
    struct fsx *x = &g->x;
    clouds(x, "error");
    write_at(g, 7 * STEP + 300, 400, 100);  /* inside a piece */
    write_at(g, 11 * STEP - 50, 2000, 101); /* over one, and over a hole */
    write_at(g, FILE_LEN, STEP, 102);       /* behind the end */
    fsx_put(x, FS_ROOT_INO, "small", "small", 5);
    fsx_stop(x);
}

static void
assert_unreadable(struct rig *g)
{
    struct c2_buf got = { 0 };
    struct fs_handle *h = fsx_open(&g->x, fsx_ino(&g->x, FS_ROOT_INO, "large"), O_RDONLY);
    assert_int_not_equal(fsx_read(&g->x, h, 0, 100, &got), C2_E_OK);
    fsx_release(&g->x, h);
    c2_buf_done(&got);
}

static void
mount__without_clouds_goes_on_with_what_is_local(void **state)
{
    struct rig *g = *state;
    struct fsx *x = &g->x;
    struct fsx_check c;
    crash_without_clouds(g);
    fsx_mount(x);
    assert_true(c2_mark_count("deferred: a large file that the journal has changes of") > 0);
    fsx_expect(x, FS_ROOT_INO, "small", "small", 5);
    assert_unreadable(g);
    struct fs_attr a;
    assert_int_equal(fsx_lookup(x, FS_ROOT_INO, "large", &a), C2_E_OK);
    assert_int_equal(a.size, g->len);
    fsx_put(x, FS_ROOT_INO, "new", "new", 3);
    assert_int_equal(fsx_rename(x, FS_ROOT_INO, "large", FS_ROOT_INO, "renamed", 0), C2_E_OK);
    assert_int_equal(fsx_rename(x, FS_ROOT_INO, "renamed", FS_ROOT_INO, "large", 0), C2_E_OK);
    struct fs_req sync = { .op = FS_SYNCFS, .ino = FS_ROOT_INO };
    fsx_start(x, &sync);
    test_env_run_for(x->t, 120 * C2_NS_PER_S);
    assert_false(fsx_answered(&sync));
    clouds(x, "");
    fsx_wait(x, &sync);
    assert_int_equal(sync.err, C2_E_OK);
    fs_req_done(&sync);
    expect_large(g);
    fsx_check(x, &c);
    fsx_unmount(x);
    fsx_mount(x);
    assert_int_equal(x->report.replayed_groups, 0);
    expect_large(g);
    fsx_expect(x, FS_ROOT_INO, "new", "new", 3);
}

static void
mount__again_and_again_without_clouds_loses_nothing(void **state)
{
    struct rig *g = *state;
    struct fsx *x = &g->x;
    struct fsx_check c;
    crash_without_clouds(g);
    for (unsigned k = 0; k < 3; k++) {
        fsx_mount(x);
        fsx_put(x, FS_ROOT_INO, "small", "other", 5);
        test_env_run_for(x->t, 20 * C2_NS_PER_S);
        if (k == 1)
            fsx_crash(x);
        else
            fsx_stop(x);
    }
    clouds(x, "");
    fsx_mount(x);
    expect_large(g);
    write_at(g, 3, 3 * STEP, 200);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    expect_large(g);
    fsx_expect(x, FS_ROOT_INO, "small", "other", 5);
    fsx_check(x, &c);
}

static void
deletion__of_a_file_that_cannot_be_read_lets_the_others_go_on(void **state)
{
    struct rig *g = *state;
    struct fsx *x = &g->x;
    struct fsx_check c;
    crash_without_clouds(g);
    fsx_mount(x);
    assert_int_equal(fs_deferred_files(x->fs), 1);
    test_env_run_for(x->t, 20 * C2_NS_PER_S);
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "large"), C2_E_OK);
    assert_int_equal(fs_deferred_files(x->fs), 0);
    clouds(x, "");
    assert_int_equal(fsx_sync(x), C2_E_OK);
    struct fs_attr a;
    assert_int_equal(fsx_lookup(x, FS_ROOT_INO, "large", &a), C2_E_NOT_FOUND);
    fsx_expect(x, FS_ROOT_INO, "small", "small", 5);
    test_env_run_for(x->t, 60 * C2_NS_PER_S);
    fsx_check(x, &c);
}

/* ---- putting changes on top --------------------------------------------------------------------
 */

#define MAP_LEN 64

/* Which source and offset each byte of a map has; 0 = a hole. */
static void
look(const struct fs_map *m, uint64_t out[MAP_LEN])
{
    memset(out, 0, MAP_LEN * sizeof(out[0]));
    for (size_t k = 0; k < m->n; k++) {
        for (uint64_t b = 0; b < m->e[k].len; b++)
            out[m->e[k].off + b] =
                (uint64_t)(uintptr_t)m->e[k].source + (m->e[k].source_off + b + 1) * 1000003;
    }
}

static uint64_t
below(uint64_t *seed, uint64_t n)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (*seed >> 33) % n;
}

static void
random_change(struct fs_map **a, struct fs_map **b, struct fs_chunk *const *chunks, uint64_t *seed)
{
    uint64_t off = below(seed, MAP_LEN - 8), len = 1 + below(seed, 8);
    struct fs_source *s = &chunks[below(seed, 4)]->source;
    uint64_t at = below(seed, 10);
    if (below(seed, 3) == 0) {
        fs_map_punch(a, off, len);
        fs_map_punch(b, off, len);
        return;
    }
    fs_map_set(a, off, len, s, at);
    fs_map_set(b, off, len, s, at);
}

/* The same changes, made later onto a stand-in or at once onto the content. */
static void
merge__gives_what_the_changes_would_have_made_of_the_content(void **state)
{
    struct rig *g = *state;
    struct fs *fs = g->x.fs;
    struct fs_chunk *chunks[4];
    uint64_t seed = 7;
    for (unsigned k = 0; k < 4; k++)
        chunks[k] = fs_chunk_new(fs, 16);
    for (unsigned round = 0; round < 300; round++) {
        struct fs_map *content = fs_map_new(), *late = fs_map_new();
        for (unsigned k = 0; k < 5; k++)
            random_change(&content, &late, chunks, &seed);
        fs_map_unref(late);
        struct fs_map *now = fs_map_ref(content);
        late = fs_map_new();
        const struct ds_ref ref = { .oid = { .seq = FS_OBJECT_STAND_IN },
                                    .plain_len = FS_FILE_SIZE_MAX };
        struct fs_object *o = fs_object_get(fs, &ref);
        fs_map_set(&late, 0, MAP_LEN, &o->source, 0);
        for (unsigned k = 0; k < 6; k++)
            random_change(&now, &late, chunks, &seed);
        struct fs_map *merged = fs_deferred_merge(content, late);
        uint64_t a[MAP_LEN], b[MAP_LEN];
        look(now, a);
        look(merged, b);
        assert_memory_equal(a, b, sizeof(a));
        fs_map_unref(content);
        fs_map_unref(now);
        fs_map_unref(late);
        fs_map_unref(merged);
        fs_source_unref(&o->source);
    }
    for (unsigned k = 0; k < 4; k++)
        fs_source_unref(&chunks[k]->source);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* It was deleted while it was open, and written to after that. */
static void
changes__of_a_file_that_is_gone_wait_for_nothing(void **state)
{
    struct rig *g = *state;
    struct fsx *x = &g->x;
    struct fs_attr attr;
    fsx_drop_cache(x);
    struct fs_handle *h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "large"), O_RDWR);
    assert_int_equal(fsx_write(x, h, 10, "1", 1), C2_E_OK);
    clouds(x, "error");
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "large"), C2_E_OK);
    assert_int_equal(fsx_fsync(x, h), C2_E_OK);
    for (unsigned k = 0; k < 3; k++) {
        assert_int_equal(fsx_write(x, h, 7 * STEP, "2", 1), C2_E_OK);
        assert_int_equal(fsx_fsync(x, h), C2_E_OK);
    }
    uint64_t used = fsx_status(x).used_bytes;
    fsx_crash(x);
    c2_free(h); /* nobody is left to close it */
    fsx_mount(x);
    assert_int_equal(fs_deferred_files(x->fs), 0);
    assert_true(fsx_status(x).used_bytes <= used);
    assert_int_equal(fsx_lookup(x, FS_ROOT_INO, "large", &attr), C2_E_NOT_FOUND);
    assert_int_equal(fsx_sync(x), C2_E_OK); /* for a deletion the clouds are not needed */
    clouds(x, "");
    struct fsx_check c;
    fsx_check(x, &c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(mount__without_clouds_goes_on_with_what_is_local),
        T(mount__again_and_again_without_clouds_loses_nothing),
        T(deletion__of_a_file_that_cannot_be_read_lets_the_others_go_on),
        T(merge__gives_what_the_changes_would_have_made_of_the_content),
        T(changes__of_a_file_that_is_gone_wait_for_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
