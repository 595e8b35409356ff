/* SPDX-License-Identifier: MIT */
/*
 * Deleted files and orphans: in the end nothing of them counts as in use, whatever comes between.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "fs/coord_keys.h"
#include "fs/txg.h"
#include "tests/lib/coord_gate.h"
#include "tests/lib/fs_check.h"
#include "tests/lib/fs_fixture.h"

static int
setup(void **state)
{
    struct fsx *x = c2_calloc(1, sizeof(*x));
    fsx_init(x);
    *state = x;
    c2_mark_reset();
    return 0;
}

static int
teardown(void **state)
{
    struct fsx *x = *state;
    fsx_done(x);
    c2_free(x);
    return 0;
}

static void
clouds(struct fsx *x, const char *fault)
{
    for (unsigned s = 0; s < FSX_SEATS; s++)
        fsx_fault(x, s, fault);
}

static struct fsx_check
check(struct fsx *x)
{
    struct fsx_check c;
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_check(x, &c);
    return c;
}

/* A file in so many objects that its extents are in a manifest. */
static void
put_in_pieces(struct fsx *x, const char *name, unsigned n)
{
    struct fs_handle *h;
    uint64_t ino;
    assert_int_equal(fsx_create(x, FS_ROOT_INO, name, O_RDWR, &h, &ino), C2_E_OK);
    for (unsigned k = 0; k < n; k++) {
        assert_int_equal(fsx_write(x, h, (uint64_t)k * 10, "piece", 5), C2_E_OK);
        assert_int_equal(fsx_sync(x), C2_E_OK);
    }
    assert_int_equal(fsx_close(x, h), C2_E_OK);
}

static void
deletion__of_a_file_that_was_never_read_frees_its_objects(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    put_in_pieces(x, "a", 40);
    put_in_pieces(x, "b", 3);
    fsx_drop_cache(x);
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "a"), C2_E_OK);
    struct fsx_check c = check(x);
    assert_int_equal(c.garbage, 1);
    assert_int_equal(c.inodes, 2);
    test_env_run_for(x->t, 5 * C2_NS_PER_S);
    c = check(x);
    assert_int_equal(c.garbage, 0);
    assert_int_equal(c.objects, 3);
    assert_true(c.dead >= 40);
    fsx_stop(x);
}

static void
deletion__waits_until_the_clouds_can_tell_the_extents(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    put_in_pieces(x, "a", 40);
    fsx_drop_cache(x);
    clouds(x, "error");
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "a"), C2_E_OK);
    test_env_run_for(x->t, 60 * C2_NS_PER_S);
    clouds(x, "");
    assert_int_equal(check(x).garbage, 1);
    fsx_drop_cache(x); /* the next mount goes on */
    test_env_run_for(x->t, 60 * C2_NS_PER_S);
    struct fsx_check c = check(x);
    assert_int_equal(c.garbage, 0);
    assert_int_equal(c.objects, 0);
    fsx_stop(x);
}

static void
deletion__of_very_many_objects_is_counted_once_whenever_it_stops(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    put_in_pieces(x, "a", 600);
    fsx_drop_cache(x);
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "a"), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    while (c2_mark_count("garbage: a file in several transactions") == 0)
        assert_true(test_env_step(x->t));
    uint64_t txns = x->coord->txns;
    while (x->coord->txns == txns)
        assert_true(test_env_step(x->t));
    fsx_crash(x);
    fsx_mount(x);
    test_env_run_for(x->t, 60 * C2_NS_PER_S);
    struct fsx_check c = check(x);
    assert_int_equal(c.garbage, 0);
    assert_int_equal(c.objects, 0);
    fsx_stop(x);
}

static void
deletion__of_a_clone_keeps_what_the_original_needs(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    put_in_pieces(x, "a", 40);
    struct fs_handle *from = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "a"), O_RDONLY), *to;
    uint64_t ino;
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "b", O_WRONLY, &to, &ino), C2_E_OK);
    struct fs_req r = { .op = FS_COPY_RANGE, .handle = from, .handle2 = to, .len = 200 };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    fsx_release(x, from);
    assert_int_equal(fsx_close(x, to), C2_E_OK);
    fsx_drop_cache(x);
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "a"), C2_E_OK);
    check(x);
    test_env_run_for(x->t, 60 * C2_NS_PER_S);
    struct fsx_check c = check(x);
    assert_int_equal(c.garbage, 0);
    assert_true(c.objects >= 20 && c.objects < 40);
    fsx_stop(x);
}

static void
orphan__is_removed_by_the_next_mount(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h[300];
    char name[32];
    fsx_mount(x);
    for (unsigned k = 0; k < C2_ARRAY_LEN(h); k++) {
        snprintf(name, sizeof(name), "f%u", k);
        fsx_put(x, FS_ROOT_INO, name, name, strlen(name));
        h[k] = fsx_open(x, fsx_ino(x, FS_ROOT_INO, name), O_RDWR);
        assert_int_equal(fsx_unlink(x, FS_ROOT_INO, name), C2_E_OK);
    }
    struct fsx_check c = check(x);
    assert_int_equal(c.orphans, C2_ARRAY_LEN(h));
    for (unsigned k = 0; k < C2_ARRAY_LEN(h); k++) {
        /* Written once more: it stays an orphan in the store. */
        assert_int_equal(fsx_write(x, h[k], 0, "x", 1), C2_E_OK);
    }
    c = check(x);
    assert_int_equal(c.orphans, C2_ARRAY_LEN(h));
    fs_txgs_stop(x->fs);
    for (unsigned k = 0; k < C2_ARRAY_LEN(h); k++)
        fsx_release(x, h[k]);
    fsx_crash(x);
    fsx_mount(x);
    c = check(x);
    assert_int_equal(c.orphans, 0);
    assert_int_equal(c.inodes, 1);
    assert_int_equal(c.objects, 0);
    fsx_stop(x);
}

/* The disk under the store has damaged the record of a file that nobody can reach any more: what it
 * used is lost space, and no reason to refuse all the others. */
static void
orphan__that_cannot_be_read_keeps_no_mount_away(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h[2];
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "a", "damaged", 7);
    fsx_put(x, FS_ROOT_INO, "b", "good", 4);
    const struct ck key = ck_inode(fsx_ino(x, FS_ROOT_INO, "a"));
    h[0] = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "a"), O_RDONLY);
    h[1] = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "b"), O_RDONLY);
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "a"), C2_E_OK);
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "b"), C2_E_OK);
    fsx_put(x, FS_ROOT_INO, "c", "kept", 4);
    struct fsx_check c = check(x);
    assert_int_equal(c.orphans, 2);
    const struct coord_op damage = { .kind = COORD_PUT,
                                     .key = ck_slice(&key),
                                     .value = c2_slice_str("what the disk gives") };
    fsx_txn(x, &damage, 1);
    fs_txgs_stop(x->fs);
    fsx_release(x, h[0]);
    fsx_release(x, h[1]);
    fsx_crash(x);
    assert_int_equal(fsx_try_mount(x), C2_E_OK);
    fsx_expect(x, FS_ROOT_INO, "c", "kept", 4);
    fsx_stop(x);
}

/* A service that is replicated may have done what it says has failed. */
static void
commit__that_seemed_to_fail_counts_once(void **state)
{
    struct fsx *x = *state;
    struct coord_gate gate;
    fsx_mount(x);
    coord_gate_init(&gate, x->coord);
    x->fs->part.coord = &gate.base;
    fsx_put(x, FS_ROOT_INO, "a", "some bytes", 10);
    gate.lie = 1;
    struct fsx_check c = check(x); /* compares the counters with what is there */
    assert_int_equal(gate.lie, 0);
    assert_int_equal(c.inodes, 2);
    gate.lie = 3;
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "a"), C2_E_OK);
    c = check(x);
    assert_int_equal(c.inodes, 1);
    assert_int_equal(gate.lie, 2); /* the answer to the second try was the first one's */
    assert_int_equal(c2_mark_count("anchor: a commit that had happened already"), 2);
    assert_false(fsx_status(x).fenced);
    gate.lie = 0;
    x->fs->part.coord = x->coord;
    fsx_stop(x);
}

static void
count__that_seemed_to_fail_counts_once(void **state)
{
    struct fsx *x = *state;
    struct coord_gate gate;
    fsx_mount(x);
    put_in_pieces(x, "a", 40);
    fsx_drop_cache(x);
    coord_gate_init(&gate, x->coord);
    x->fs->part.coord = &gate.base;
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "a"), C2_E_OK);
    assert_int_equal(check(x).garbage, 1);
    gate.lie = 1;
    test_env_run_for(x->t, 1200 * C2_NS_PER_S);
    struct fsx_check c = check(x);
    assert_int_equal(gate.lie, 0);
    assert_int_equal(c.garbage, 0);
    assert_int_equal(c.objects, 0);
    x->fs->part.coord = x->coord;
    fsx_stop(x);
}

int
main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(deletion__of_a_file_that_was_never_read_frees_its_objects),
        T(deletion__waits_until_the_clouds_can_tell_the_extents),
        T(deletion__of_very_many_objects_is_counted_once_whenever_it_stops),
        T(deletion__of_a_clone_keeps_what_the_original_needs),
        T(orphan__is_removed_by_the_next_mount),
        T(orphan__that_cannot_be_read_keeps_no_mount_away),
        T(commit__that_seemed_to_fail_counts_once),
        T(count__that_seemed_to_fail_counts_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
