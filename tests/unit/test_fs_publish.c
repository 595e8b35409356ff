/* SPDX-License-Identifier: MIT */
/*
 * What the journal has to keep, and for how long: pieces that later groups name, groups larger than
 * one frame, a journal without room.
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
#include "fs/txg.h"
#include "tests/lib/fs_check.h"
#include "tests/lib/fs_fixture.h"

#define MIB (1u << 20)

static int
setup(void **state)
{
    struct fsx *x = c2_calloc(1, sizeof(*x));
    fsx_init(x);
    x->journal_segment_size = 2 * MIB;
    x->config.write_buffer = 2 * MIB;
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

static void
check(struct fsx *x)
{
    struct fsx_check c;
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_check(x, &c);
}

/* Backwards, so that no full chunk comes up that would be uploaded while the file is written. */
static struct fs_handle *
write_backwards(struct fsx *x, const char *name, const uint8_t *data, size_t len)
{
    struct fs_handle *h;
    uint64_t ino;
    size_t piece = 256u << 10;
    assert_int_equal(fsx_create(x, FS_ROOT_INO, name, O_WRONLY, &h, &ino), C2_E_OK);
    for (size_t at = len; at > 0; at -= piece)
        assert_int_equal(fsx_write(x, h, at - piece, data + at - piece, piece), C2_E_OK);
    return h;
}

/* A commit of something else: data that was spilled before it is in groups that are committed. */
static void
commit_something(struct fsx *x)
{
    uint64_t n = fsx_status(x).txgs_committed;
    fsx_mkdir(x, FS_ROOT_INO, "other");
    while (fsx_status(x).txgs_committed == n)
        assert_true(test_env_step(x->t));
}

static void
spilled_data__survives_a_crash_after_the_commit_of_others(void **state)
{
    struct fsx *x = *state;
    size_t len = 16 * MIB;
    uint8_t *data = fsx_bytes(1, len);
    fsx_mount(x);
    struct fs_handle *h = write_backwards(x, "big", data, len);
    commit_something(x);
    clouds(x, "error");
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    fsx_crash(x);
    clouds(x, "");
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "big", data, len);
    check(x);
    fsx_drop_cache(x);
    fsx_expect(x, FS_ROOT_INO, "big", data, len);
    fsx_stop(x);
    c2_free(data);
}

static void
spilled_data__survives_an_unmount_after_the_commit_of_others(void **state)
{
    struct fsx *x = *state;
    size_t len = 16 * MIB;
    uint8_t *data = fsx_bytes(1, len);
    fsx_mount(x);
    struct fs_handle *h = write_backwards(x, "big", data, len);
    commit_something(x);
    clouds(x, "error");
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    fsx_stop(x);
    clouds(x, "");
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "big", data, len);
    check(x);
    fsx_stop(x);
    c2_free(data);
}

static void
spilled_data__survives_a_crash_between_upload_and_commit(void **state)
{
    struct fsx *x = *state;
    size_t len = 16 * MIB;
    uint8_t *data = fsx_bytes(1, len);
    fsx_mount(x);
    struct fs_handle *h = write_backwards(x, "big", data, len);
    commit_something(x);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    uint64_t n = fsx_status(x).txgs;
    while (fsx_status(x).txgs == n)
        assert_true(test_env_step(x->t));
    fs_txgs_stop(x->fs); /* no commit any more, uploads go on */
    test_env_run_for(x->t, 10 * C2_NS_PER_S);
    assert_true(fsx_status(x).object_bytes >= len);
    fsx_crash(x);
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "big", data, len);
    check(x);
    fsx_stop(x);
    c2_free(data);
}

static void
journal__takes_thousands_of_small_files_at_once(void **state)
{
    struct fsx *x = *state;
    struct fs_handle **h = c2_calloc(JOURNAL_PIECES_MAX + 100, sizeof(*h));
    char name[32];
    x->config.write_buffer = 64 * MIB;
    x->journal_segment_size = 0;
    fsx_mount(x);
    clouds(x, "error");
    for (unsigned k = 0; k < JOURNAL_PIECES_MAX + 100; k++) {
        uint64_t ino;
        snprintf(name, sizeof(name), "f%u", k);
        assert_int_equal(fsx_create(x, FS_ROOT_INO, name, O_WRONLY, &h[k], &ino), C2_E_OK);
        assert_int_equal(fsx_write(x, h[k], 0, name, strlen(name)), C2_E_OK);
    }
    for (unsigned k = 0; k < JOURNAL_PIECES_MAX + 100; k++)
        fsx_release(x, h[k]);
    test_env_run_for(x->t, 10 * C2_NS_PER_S);
    assert_true(c2_mark_count("group: a moment in several parts") > 0);
    fsx_crash(x);
    fsx_mount(x);
    for (unsigned k = 0; k < JOURNAL_PIECES_MAX + 100; k += 97) {
        snprintf(name, sizeof(name), "f%u", k);
        fsx_expect(x, FS_ROOT_INO, name, name, strlen(name));
    }
    clouds(x, "");
    check(x);
    fsx_stop(x);
    c2_free(h);
}

static void
set_xattr(struct fsx *x, uint64_t ino, const uint8_t *value, size_t len)
{
    struct fs_req r = {
        .op = FS_SETXATTR, .ino = ino, .name = "user.large", .data = c2_slice(value, len)
    };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
}

static void
journal__takes_more_metadata_than_a_group_can_hold(void **state)
{
    struct fsx *x = *state;
    char name[32];
    uint8_t *value = fsx_bytes(7, 30000);
    unsigned n = 900;
    x->journal_segment_size = 0;
    fsx_mount(x);
    clouds(x, "error");
    fsx_put(x, FS_ROOT_INO, "block", "b", 1); /* its group holds up the others */
    test_env_run_for(x->t, 3 * C2_NS_PER_S);
    for (unsigned k = 0; k < n; k++) {
        snprintf(name, sizeof(name), "d%u", k);
        set_xattr(x, fsx_mkdir(x, FS_ROOT_INO, name), value, 30000);
    }
    test_env_run_for(x->t, 10 * C2_NS_PER_S);
    assert_true(c2_mark_count("group: a moment in several parts") > 0);
    fsx_crash(x);
    fsx_mount(x);
    for (unsigned k = 0; k < n; k += 31) {
        snprintf(name, sizeof(name), "d%u", k);
        struct fs_req r = { .op = FS_GETXATTR,
                            .ino = fsx_ino(x, FS_ROOT_INO, name),
                            .name = "user.large" };
        assert_int_equal(fsx_run(x, &r), C2_E_OK);
        assert_int_equal(r.reply.len, 30000);
        fs_req_done(&r);
    }
    clouds(x, "");
    check(x);
    fsx_stop(x);
    c2_free(value);
}

/* The journal names an object whose placement nobody has looked up. */
static void
replay__leaves_the_records_of_objects_alone(void **state)
{
    struct fsx *x = *state;
    uint8_t *data = fsx_bytes(2, MIB);
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "a", data, MIB);
    fsx_drop_cache(x);
    clouds(x, "error");
    fsx_put(x, FS_ROOT_INO, "block", "b", 1);
    struct fs_handle *from = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "a"), O_RDONLY), *to;
    uint64_t ino;
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "clone", O_WRONLY, &to, &ino), C2_E_OK);
    struct fs_req r = { .op = FS_COPY_RANGE, .handle = from, .handle2 = to, .len = MIB };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    assert_int_equal(fsx_close(x, to), C2_E_OK);
    fsx_release(x, from);
    fsx_crash(x);
    clouds(x, "");
    fsx_mount(x);
    assert_true(c2_mark_count("objects: recorded before the crash") > 0);
    check(x);
    fsx_drop_cache(x);
    fsx_expect(x, FS_ROOT_INO, "clone", data, MIB);
    fsx_stop(x);
    c2_free(data);
}

/* Larger than the journal, written over an old file: it is held until it is closed, whatever it
 * takes, and nothing else happens that would commit. */
static void
journal__does_not_bound_the_size_of_a_file_that_is_held(void **state, bool backwards)
{
    struct fsx *x = *state;
    uint8_t *data = fsx_bytes(3, MIB);
    unsigned n = 48;
    x->journal_size = 16 * MIB;
    x->config.upload_parallel = 1;
    x->config.pack_size = 4 * MIB;
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "big", "old", 3);
    check(x);
    for (unsigned s = 0; s < FSX_SEATS; s++)
        prov_mem_set_latency(x->mem[s], C2_NS_PER_S, 0);
    struct fs_handle *h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "big"), O_WRONLY | O_TRUNC);
    uint64_t started = c2_now_ns(x->env);
    for (unsigned k = 0; k < n; k++) {
        uint64_t off = (uint64_t)(backwards ? n - 1 - k : k) * MIB;
        data[0] = (uint8_t)k;
        assert_int_equal(fsx_write(x, h, off, data, MIB), C2_E_OK);
        assert_true(c2_now_ns(x->env) - started < 200 * C2_NS_PER_S);
    }
    fsx_release(x, h);
    fsx_crash(x);
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "big", "old", 3);
    check(x);
    fsx_stop(x);
    c2_free(data);
}

static void
journal__does_not_bound_a_file_written_forwards(void **state)
{
    journal__does_not_bound_the_size_of_a_file_that_is_held(state, false);
}

static void
journal__does_not_bound_a_file_written_backwards(void **state)
{
    journal__does_not_bound_the_size_of_a_file_that_is_held(state, true);
}

/* cmd > file: open(O_TRUNC), dup2, close, and only then cmd writes. */
static void
flush__of_a_file_that_is_only_truncated_keeps_the_old_one(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "f", "old", 3);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    struct fs_handle *h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "f"), O_WRONLY | O_TRUNC);
    assert_int_equal(fsx_flush(x, h), C2_E_OK); /* of the descriptor that was duplicated */
    test_env_run_for(x->t, 30 * C2_NS_PER_S);
    fsx_release(x, h);
    fsx_crash(x);
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "f", "old", 3);

    h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "f"), O_WRONLY | O_TRUNC);
    assert_int_equal(fsx_flush(x, h), C2_E_OK);
    assert_int_equal(fsx_write(x, h, 0, "new!", 4), C2_E_OK);
    assert_int_equal(fsx_flush(x, h), C2_E_OK); /* now it counts, whether others are open or not */
    fsx_release(x, h);
    fsx_crash(x);
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "f", "new!", 4);
    check(x);
    fsx_stop(x);
}

/* daemon > log: it never closes what it writes. */
static void
hold__of_a_truncated_file_ends_when_it_has_data_for_long(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "log", "old", 3);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    struct fs_handle *h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "log"), O_WRONLY | O_TRUNC);
    test_env_run_for(x->t, 2 * FS_HOLD_NEW_NS);
    assert_true(fs_inode_held(x->fs, h->inode)); /* as long as it is empty */
    assert_int_equal(fsx_write(x, h, 0, "one", 3), C2_E_OK);
    test_env_run_for(x->t, 2 * FS_HOLD_NEW_NS);
    fsx_release(x, h);
    fsx_crash(x);
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "log", "one", 3);
    check(x);
    fsx_stop(x);
}

static void
release__of_a_file_that_was_only_truncated_makes_it_empty(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "a", "old", 3);
    fsx_put(x, FS_ROOT_INO, "b", "old", 3);
    struct fs_handle *h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "a"), O_WRONLY | O_TRUNC);
    assert_int_equal(fsx_fsync(x, h), C2_E_OK); /* this one is asked for */
    struct fs_handle *h2 = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "b"), O_WRONLY | O_TRUNC);
    assert_int_equal(fsx_close(x, h2), C2_E_OK);
    test_env_run_for(x->t, 2 * x->config.journal_delay_ns);
    fsx_release(x, h);
    fsx_crash(x);
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "a", "", 0);
    fsx_expect(x, FS_ROOT_INO, "b", "", 0);
    check(x);
    fsx_stop(x);
}

int
main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(spilled_data__survives_a_crash_after_the_commit_of_others),
        T(spilled_data__survives_an_unmount_after_the_commit_of_others),
        T(spilled_data__survives_a_crash_between_upload_and_commit),
        T(journal__takes_thousands_of_small_files_at_once),
        T(journal__takes_more_metadata_than_a_group_can_hold),
        T(replay__leaves_the_records_of_objects_alone),
        T(journal__does_not_bound_a_file_written_forwards),
        T(journal__does_not_bound_a_file_written_backwards),
        T(flush__of_a_file_that_is_only_truncated_keeps_the_old_one),
        T(hold__of_a_truncated_file_ends_when_it_has_data_for_long),
        T(release__of_a_file_that_was_only_truncated_makes_it_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
