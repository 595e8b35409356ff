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
#include "base/mark.h"
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

/* ---- groups and transactions ------------------------------------------------------------------
 */

#define LARGE_FILES 60u
#define LARGE_ATTR  (30u << 10)

static void
set_attr(struct fsx *x, uint64_t ino, unsigned seed)
{
    uint8_t *value = fsx_bytes(seed, LARGE_ATTR);
    struct fs_req r = {
        .op = FS_SETXATTR, .ino = ino, .name = "user.large", .data = c2_slice(value, LARGE_ATTR)
    };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    c2_free(value);
}

static void
large_name(char out[16], unsigned k)
{
    (void)snprintf(out, 16, "f%u", k);
}

/* Files with attributes that fill several transactions; some of them go and come again. */
static void
change_large(struct fsx *x, unsigned round)
{
    char name[16];
    struct fs_attr attr;
    for (unsigned k = 0; k < LARGE_FILES; k++) {
        uint8_t *data = fsx_bytes(1000 * round + k, 3000);
        large_name(name, k);
        if (k % 7 == round % 7 && fsx_lookup(x, FS_ROOT_INO, name, &attr) == C2_E_OK)
            assert_int_equal(fsx_unlink(x, FS_ROOT_INO, name), C2_E_OK);
        fsx_put(x, FS_ROOT_INO, name, data, 3000);
        set_attr(x, fsx_ino(x, FS_ROOT_INO, name), round + k);
        c2_free(data);
    }
}

static void
expect_large(struct fsx *x, unsigned round)
{
    char name[16];
    for (unsigned k = 0; k < LARGE_FILES; k++) {
        uint8_t *data = fsx_bytes(1000 * round + k, 3000);
        large_name(name, k);
        fsx_expect(x, FS_ROOT_INO, name, data, 3000);
        c2_free(data);
    }
}

/* The journal has all changes, the store none: one group, of several transactions. Killed after so
 * many of them. False: there are not so many. */
static bool
crash_after(struct fsx *x, unsigned round, unsigned txns)
{
    clouds(x, "error");
    change_large(x, round);
    fsx_stop(x);
    clouds(x, "");
    fsx_mount(x);
    uint64_t before = x->coord->txns, groups = fsx_status(x).txgs_committed;
    while (x->coord->txns < before + txns && fsx_status(x).txgs_committed == groups)
        assert_true(test_env_step(x->t));
    bool within = fsx_status(x).txgs_committed == groups;
    fsx_crash(x);
    fsx_mount(x);
    expect_large(x, round);
    check(x); /* every counter is right */
    return within;
}

static void
crash__within_a_group_leaves_nothing_that_is_counted_and_not_used(void **state)
{
    struct fsx *x = *state;
    x->config.pack_size = 20000; /* several objects */
    fsx_mount(x);
    change_large(x, 0);
    unsigned n = 1;
    while (crash_after(x, n, n))
        n++;
    assert_true(n > 2);
    fsx_drop_cache(x);
    expect_large(x, n);
    fsx_stop(x);
}

static void
group__of_large_attributes_fits_a_transaction(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    change_large(x, 0);
    check(x);
    struct fs_status s = fsx_status(x);
    assert_int_equal(s.txns, s.txgs_committed);
    assert_true(s.txgs_committed >= LARGE_FILES * LARGE_ATTR / (1u << 20));
    fsx_stop(x);
}

/* A clone gains more recorded objects than a transaction has conditions for. */
static void
commit__of_a_file_in_very_many_objects_is_spread(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h, *h2;
    uint64_t ino;
    fsx_mount(x);
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "many", O_RDWR, &h, &ino), C2_E_OK);
    for (uint64_t k = 0; k < 300; k++) {
        assert_int_equal(fsx_write(x, h, k * 10, "piece", 5), C2_E_OK);
        assert_int_equal(fsx_sync(x), C2_E_OK);
    }
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "clone", O_RDWR, &h2, &ino), C2_E_OK);
    struct fs_req r = { .op = FS_COPY_RANGE, .handle = h, .handle2 = h2, .len = 2995 };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    assert_int_equal(r.count, 2995);
    c2_mark_reset();
    check(x);
    assert_true(c2_mark_count("anchor: a file with more objects than fit a transaction") > 0);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    struct fs_req t = { .op = FS_SETATTR, .ino = ino, .valid = FS_SET_SIZE };
    assert_int_equal(fsx_run(x, &t), C2_E_OK);
    assert_int_equal(fsx_close(x, h2), C2_E_OK);
    check(x);
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "many"), C2_E_OK);
    check(x);
    fsx_stop(x);
}

/* ---- what the journal keeps -------------------------------------------------------------------
 */

#define SMALL_SEGMENT (1u << 20)

/* Nothing to upload: nothing to keep. */
static void
expect_small_journal(struct fsx *x)
{
    test_env_run_for(x->t, 60 * C2_NS_PER_S);
    struct journal_stats s;
    journal_stats(x->fs->journal, &s);
    if (s.used_bytes > SMALL_SEGMENT)
        fail_msg("the journal has %llu bytes, groups %llu to %llu",
                 (unsigned long long)s.used_bytes, (unsigned long long)s.trimmed_seq,
                 (unsigned long long)s.last_seq);
    check(x);
}

static void
journal__lets_go_what_was_written_between_a_cut_and_its_commit(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h, *h2;
    uint64_t ino;
    uint8_t *data = fsx_bytes(1, 4 << 20);
    x->journal_segment_size = SMALL_SEGMENT;
    fsx_mount(x);
    clouds(x, "error");
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "a", O_RDWR, &h, &ino), C2_E_OK);
    for (uint64_t off = 0; off < 4 << 20; off += 1 << 20) {
        assert_int_equal(fsx_write(x, h, off, data + off, 1 << 20), C2_E_OK);
        assert_int_equal(fsx_fsync(x, h), C2_E_OK);
    }
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "b", O_RDWR, &h2, &ino), C2_E_OK);
    struct fs_req r = { .op = FS_COPY_RANGE, .handle = h, .handle2 = h2, .len = 4 << 20 };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    assert_int_equal(fsx_rename(x, FS_ROOT_INO, "b", FS_ROOT_INO, "c", 0), C2_E_OK);
    run_until_cut(x);
    test_env_run_for(x->t, 10 * C2_NS_PER_S); /* now the journal says that c has the bytes of a */
    clouds(x, "");
    run_until_committed(x, fsx_status(x).txgs);
    expect_small_journal(x);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    assert_int_equal(fsx_close(x, h2), C2_E_OK);
    fsx_drop_cache(x);
    fsx_expect(x, FS_ROOT_INO, "c", data, 4 << 20);
    fsx_stop(x);
    c2_free(data);
}

/* Overwrites, appends and new files, synced or not, and no end of it. */
static void
work(struct fsx *x, struct fs_handle *h, uint64_t *seed)
{
    uint8_t *data = fsx_bytes(*seed, 200000);
    char name[16];
    for (unsigned k = 0; k < 6; k++) {
        *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
        uint64_t r = *seed >> 33;
        (void)snprintf(name, sizeof(name), "f%u", (unsigned)(r % 5));
        if (r % 3 == 0)
            fsx_put(x, FS_ROOT_INO, name, data, 1000 + r % 150000);
        assert_int_equal(fsx_write(x, h, r % 400000, data, 1 + r % 190000), C2_E_OK);
        if (r % 2 == 0)
            assert_int_equal(fsx_fsync(x, h), C2_E_OK);
        test_env_run_for(x->t, r % 40 * 20 * C2_NS_PER_MS);
        if (r % 7 == 0)
            test_env_run_for(x->t, (r % 5) * C2_NS_PER_S);
    }
    c2_free(data);
}

static void
journal__ends_small_after_many_kills(void **state)
{
    struct fsx *x = *state;
    uint64_t seed = 1;
    x->journal_segment_size = SMALL_SEGMENT;
    x->config.write_buffer = 1 << 20; /* the journal takes what does not fit */
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "database", "", 0);
    for (unsigned round = 0; round < 30; round++) {
        struct fs_handle *h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "database"), O_RDWR);
        clouds(x, round % 3 == 0 ? "put.error" : "");
        work(x, h, &seed);
        fsx_release(x, h);
        fsx_crash(x);
        clouds(x, "");
        fsx_mount(x);
        if (round % 10 == 9)
            expect_small_journal(x);
    }
    fsx_stop(x);
}

static void
status__tells_the_age_of_what_is_in_no_group_yet(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint64_t ino;
    fsx_mount(x);
    assert_int_equal(fsx_status(x).backlog_oldest_ns, 0);
    fsx_mkdir(x, FS_ROOT_INO, "d");
    test_env_run_for(x->t, C2_NS_PER_S);
    assert_int_equal(fsx_status(x).txgs, 0);
    assert_true(fsx_status(x).backlog_oldest_ns >= C2_NS_PER_S);
    /* A group keeps the age of its changes; what is held keeps its own. */
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "held", O_RDWR, &h, &ino), C2_E_OK);
    assert_int_equal(fsx_write(x, h, 0, "h", 1), C2_E_OK);
    test_env_run_for(x->t, 10 * C2_NS_PER_S);
    assert_true(fsx_status(x).txgs_committed > 0);
    assert_true(fsx_status(x).backlog_oldest_ns >= 10 * C2_NS_PER_S);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    check(x);
    assert_int_equal(fsx_status(x).backlog_oldest_ns, 0);
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
        T(crash__within_a_group_leaves_nothing_that_is_counted_and_not_used),
        T(group__of_large_attributes_fits_a_transaction),
        T(commit__of_a_file_in_very_many_objects_is_spread),
        T(journal__lets_go_what_was_written_between_a_cut_and_its_commit),
        T(journal__ends_small_after_many_kills),
        T(status__tells_the_age_of_what_is_in_no_group_yet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
