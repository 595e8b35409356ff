/* SPDX-License-Identifier: MIT */
/*
 * Several transaction groups on their way at once: what is committed first must not undo, forget or
 * unlink what a later group carries.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "backends/mem.h"
#include "base/alloc.h"
#include "tests/lib/fs_check.h"
#include "tests/lib/fs_fixture.h"

static int
setup(void **state)
{
    struct fsx *x = c2_calloc(1, sizeof(*x));
    fsx_init(x);
    *state = x;
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

static void
run_until_committed(struct fsx *x, uint64_t n)
{
    while (fsx_status(x).txgs_committed < n)
        assert_true(test_env_step(x->t));
}

/* What changes now gets into a transaction group of its own. */
static void
run_until_cut(struct fsx *x)
{
    uint64_t before = fsx_status(x).txgs;
    while (fsx_status(x).txgs == before)
        assert_true(test_env_step(x->t));
}

static void
check(struct fsx *x)
{
    struct fsx_check c;
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_check(x, &c);
}

/* Uploads one after the other, each takes a second. */
static void
slow_mount(struct fsx *x)
{
    x->config.upload_parallel = 1;
    for (unsigned s = 0; s < FSX_SEATS; s++)
        prov_mem_set_latency(x->mem[s], C2_NS_PER_S, 0);
    fsx_mount(x);
}

static void
commit__keeps_content_that_a_later_group_carries(void **state)
{
    struct fsx *x = *state;
    slow_mount(x);
    clouds(x, "error");
    fsx_put(x, FS_ROOT_INO, "a", "first", 5);
    run_until_cut(x);
    fsx_put(x, FS_ROOT_INO, "a", "the second one", 14);
    run_until_cut(x);
    clouds(x, "");
    run_until_committed(x, 1);
    fsx_expect(x, FS_ROOT_INO, "a", "the second one", 14);
    check(x);
    fsx_drop_cache(x);
    fsx_expect(x, FS_ROOT_INO, "a", "the second one", 14);
    fsx_stop(x);
}

static void
commit__keeps_the_truncation_that_a_later_group_carries(void **state)
{
    struct fsx *x = *state;
    slow_mount(x);
    clouds(x, "error");
    fsx_put(x, FS_ROOT_INO, "a", "first", 5);
    run_until_cut(x);
    fsx_put(x, FS_ROOT_INO, "block", "b", 1);
    uint64_t ino = fsx_ino(x, FS_ROOT_INO, "a");
    struct fs_req r = { .op = FS_SETATTR, .ino = ino, .valid = FS_SET_SIZE, .attr.size = 2 };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    run_until_cut(x);
    clouds(x, "");
    run_until_committed(x, 1);
    r = (struct fs_req){ .op = FS_SETATTR, .ino = ino, .valid = FS_SET_SIZE, .attr.size = 5 };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    fsx_expect(x, FS_ROOT_INO, "a", "fi\0\0\0", 5);
    check(x);
    fsx_drop_cache(x);
    fsx_expect(x, FS_ROOT_INO, "a", "fi\0\0\0", 5);
    fsx_stop(x);
}

static void
commit__of_a_removal_does_not_hide_an_entry_on_its_way(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "a", "1", 1);
    check(x);
    uint64_t n = fsx_status(x).txgs_committed;
    clouds(x, "error");
    fsx_put(x, FS_ROOT_INO, "block", "b", 1);
    run_until_cut(x);
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "a"), C2_E_OK);
    run_until_cut(x);
    fsx_mkdir(x, FS_ROOT_INO, "a");
    run_until_cut(x);
    clouds(x, "");
    run_until_committed(x, n + 2);
    assert_int_equal(fsx_status(x).txgs_committed, n + 2);
    assert_int_equal(fsx_rmdir(x, FS_ROOT_INO, "a"), C2_E_OK);
    check(x);
    fsx_drop_cache(x);
    struct fs_attr attr;
    assert_int_equal(fsx_lookup(x, FS_ROOT_INO, "a", &attr), C2_E_NOT_FOUND);
    fsx_stop(x);
}

static void
commit__leaves_to_the_journal_what_only_a_later_group_has(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h, *other;
    uint64_t ino, other_ino;
    x->config.journal_delay_ns = 600 * C2_NS_PER_S;
    slow_mount(x);
    clouds(x, "error");
    fsx_put(x, FS_ROOT_INO, "a", "first", 5);
    run_until_cut(x);
    ino = fsx_ino(x, FS_ROOT_INO, "a");
    /* Not journalled yet when it is cut; its group waits for the data of the other file. */
    struct fs_req r = { .op = FS_SETATTR, .ino = ino, .valid = FS_SET_MODE, .attr.mode = 0600 };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "b", O_WRONLY, &other, &other_ino), C2_E_OK);
    assert_int_equal(fsx_write(x, other, 0, "b", 1), C2_E_OK);
    fsx_release(x, other);
    run_until_cut(x);
    clouds(x, "");
    run_until_committed(x, 1);
    h = fsx_open(x, ino, O_RDONLY);
    assert_int_equal(fsx_fsync(x, h), C2_E_OK);
    fsx_release(x, h);
    assert_int_equal(fsx_status(x).txgs_committed, 1);
    fsx_crash(x);
    fsx_mount(x);
    struct fs_attr attr;
    assert_int_equal(fsx_lookup(x, FS_ROOT_INO, "a", &attr), C2_E_OK);
    assert_int_equal(attr.mode & 07777, 0600);
    fsx_expect(x, FS_ROOT_INO, "b", "b", 1);
    check(x);
    fsx_stop(x);
}

static void
deletion__is_counted_once_however_often_the_inode_is_touched(void **state)
{
    struct fsx *x = *state;
    struct fsx_check c;
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "a", "content", 7);
    fsx_put(x, FS_ROOT_INO, "b", "its neighbour in the pack", 25);
    check(x);
    uint64_t ino = fsx_ino(x, FS_ROOT_INO, "a");
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "a"), C2_E_OK);
    check(x);
    /* The kernel may still know the number, for instance of a file opened with O_PATH. */
    struct fs_req r = { .op = FS_SETATTR, .ino = ino, .valid = FS_SET_MODE, .attr.mode = 0600 };
    (void)fsx_run(x, &r);
    fsx_sync(x);
    fsx_check(x, &c);
    assert_int_equal(c.objects, 1);
    struct fs_req o = { .op = FS_OPEN, .ino = ino, .flags = O_RDWR };
    assert_int_equal(fsx_run(x, &o), C2_E_STALE);
    fsx_stop(x);
}

/* A new file that is cut before it is journalled, and written on. */
static void
crash__keeps_a_file_that_was_committed_before_it_was_journalled(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint64_t ino;
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "a", "the old one", 11);
    check(x);
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "tmp", O_WRONLY, &h, &ino), C2_E_OK);
    assert_int_equal(fsx_write(x, h, 0, "the new one", 11), C2_E_OK);
    assert_int_equal(fsx_rename(x, FS_ROOT_INO, "tmp", FS_ROOT_INO, "a", 0), C2_E_OK);
    uint64_t n = fsx_status(x).txgs_committed;
    for (unsigned s = 0; s < FSX_SEATS; s++)
        prov_mem_set_latency(x->mem[s], 8 * C2_NS_PER_S, 0);
    run_until_cut(x); /* the journal's turn comes later, before the commit */
    assert_int_equal(fsx_write(x, h, 11, ", longer", 8), C2_E_OK);
    run_until_committed(x, n + 1);
    fsx_release(x, h);
    fsx_crash(x);
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "a", "the new one", 11);
    check(x);
    fsx_stop(x);
}

static void
crash__removes_what_was_cut_but_never_journalled(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint64_t ino;
    fsx_mount(x);
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "a", O_WRONLY, &h, &ino), C2_E_OK);
    assert_int_equal(fsx_write(x, h, 0, "x", 1), C2_E_OK);
    fsx_release(x, h);
    clouds(x, "error");
    run_until_cut(x);
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "a"), C2_E_OK);
    fsx_put(x, FS_ROOT_INO, "b", "b", 1); /* a journal group with the removal */
    uint64_t n = fsx_status(x).txgs_committed;
    clouds(x, "");
    run_until_committed(x, n + 1);
    fsx_crash(x);
    fsx_mount(x);
    check(x);
    fsx_stop(x);
}

static void
crash__removes_what_came_and_went_between_two_cuts(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    clouds(x, "error");
    fsx_put(x, FS_ROOT_INO, "block", "b", 1);
    run_until_cut(x);
    fsx_put(x, FS_ROOT_INO, "a", "x", 1);
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "a"), C2_E_OK);
    run_until_cut(x);
    test_env_run_for(x->t, 8 * C2_NS_PER_S); /* a journal group */
    fsx_crash(x);
    clouds(x, "");
    fsx_mount(x);
    check(x);
    fsx_stop(x);
}

static void
crash__does_not_bring_back_bytes_under_a_hole(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint64_t ino;
    fsx_mount(x);
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "a", O_WRONLY, &h, &ino), C2_E_OK);
    assert_int_equal(fsx_write(x, h, 100, "x", 1), C2_E_OK);
    assert_int_equal(fsx_flush(x, h), C2_E_OK); /* journalled: a hole at 0 */
    run_until_cut(x);
    assert_int_equal(fsx_write(x, h, 0, "secret", 6), C2_E_OK);
    fsx_release(x, h);
    run_until_cut(x); /* committed, not journalled */
    struct fs_req r = { .op = FS_FALLOCATE, .mode = 3, .off = 0, .len = 10 };
    r.handle = h = fsx_open(x, ino, O_RDWR);
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    assert_int_equal(fsx_close(x, h), C2_E_OK); /* journalled: a hole at 0 */
    fsx_crash(x);
    fsx_mount(x);
    uint8_t want[101] = { [100] = 'x' };
    fsx_expect(x, FS_ROOT_INO, "a", want, sizeof(want));
    check(x);
    fsx_stop(x);
}

static void
removal__for_a_file_being_written_is_committed_once(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint64_t ino;
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "a", "x", 1);
    check(x);
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "a"), C2_E_OK);
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "a", O_WRONLY, &h, &ino), C2_E_OK);
    assert_int_equal(fsx_write(x, h, 0, "new", 3), C2_E_OK);
    test_env_run_for(x->t, 20 * C2_NS_PER_S);
    uint64_t txns = fsx_status(x).txns, syncs = test_env_disk_count(x->t, C2_DISK_PWRITE);
    test_env_run_for(x->t, 300 * C2_NS_PER_S);
    assert_int_equal(fsx_status(x).txns, txns);
    assert_int_equal(test_env_disk_count(x->t, C2_DISK_PWRITE), syncs);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    check(x);
    fsx_expect(x, FS_ROOT_INO, "a", "new", 3);
    fsx_stop(x);
}

int
main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(commit__keeps_content_that_a_later_group_carries),
        T(commit__keeps_the_truncation_that_a_later_group_carries),
        T(commit__of_a_removal_does_not_hide_an_entry_on_its_way),
        T(commit__leaves_to_the_journal_what_only_a_later_group_has),
        T(deletion__is_counted_once_however_often_the_inode_is_touched),
        T(crash__keeps_a_file_that_was_committed_before_it_was_journalled),
        T(crash__removes_what_was_cut_but_never_journalled),
        T(crash__removes_what_came_and_went_between_two_cuts),
        T(crash__does_not_bring_back_bytes_under_a_hole),
        T(removal__for_a_file_being_written_is_committed_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
