/* SPDX-License-Identifier: MIT */
/*
 * Providers that fail under a mount, journals that fill, large maps: what a user sees.
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
#include "tests/lib/fs_fixture.h"

#define FILE_LEN 300000

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
put_files(struct fsx *x, unsigned first, unsigned n)
{
    char name[32];
    for (unsigned k = first; k < first + n; k++) {
        uint8_t *data = fsx_bytes(k, FILE_LEN + k);
        snprintf(name, sizeof(name), "f%u", k);
        fsx_put(x, FS_ROOT_INO, name, data, FILE_LEN + k);
        c2_free(data);
    }
}

static void
expect_files(struct fsx *x, unsigned first, unsigned n)
{
    char name[32];
    for (unsigned k = first; k < first + n; k++) {
        uint8_t *data = fsx_bytes(k, FILE_LEN + k);
        snprintf(name, sizeof(name), "f%u", k);
        fsx_expect(x, FS_ROOT_INO, name, data, FILE_LEN + k);
        c2_free(data);
    }
}

static void
reads__are_exact_with_any_one_provider_faulty(void **state)
{
    struct fsx *x = *state;
    static const char *const faults[] = { "error", "absent",   "corrupt", "hang", "empty",
                                          "swap",  "truncate", "huge",    "stale" };
    fsx_mount(x);
    put_files(x, 0, 40);
    fsx_unmount(x);
    for (size_t f = 0; f < C2_ARRAY_LEN(faults); f++) {
        for (unsigned seat = 0; seat < FSX_SEATS; seat++) {
            fsx_fault(x, seat, faults[f]);
            fsx_mount(x);
            expect_files(x, 0, 40);
            fsx_stop(x);
            fsx_fault(x, seat, "");
        }
    }
}

static void
reads__give_an_error_with_two_providers_gone_and_recover(void **state)
{
    struct fsx *x = *state;
    struct c2_buf data = { 0 };
    fsx_mount(x);
    put_files(x, 0, 4);
    fsx_drop_cache(x);
    for (unsigned seat = 0; seat < 3; seat++)
        fsx_fault(x, seat, "error");
    struct fs_handle *h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "f1"), O_RDONLY);
    assert_int_not_equal(fsx_read(x, h, 0, 100, &data), C2_E_OK);
    for (unsigned seat = 0; seat < 3; seat++)
        fsx_fault(x, seat, "");
    test_env_run_for(x->t, 60 * C2_NS_PER_S);
    fsx_close(x, h);
    expect_files(x, 0, 4);
    c2_buf_done(&data);
    fsx_stop(x);
}

static void
writes__succeed_with_one_provider_down(void **state)
{
    struct fsx *x = *state;
    static const char *const faults[] = { "error", "hang", "throttle" };
    for (unsigned f = 0; f < C2_ARRAY_LEN(faults); f++) {
        for (unsigned seat = 0; seat < FSX_SEATS; seat++) {
            fsx_fault(x, seat, faults[f]);
            fsx_mount(x);
            put_files(x, f * 10, 3);
            fsx_unmount(x);
            fsx_fault(x, seat, "");
            fsx_mount(x);
            expect_files(x, f * 10, 3);
            fsx_stop(x);
        }
    }
}

static void
writes__wait_in_the_journal_while_two_providers_are_down(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    fsx_fault(x, 0, "error");
    fsx_fault(x, 2, "hang");
    put_files(x, 0, 60);
    test_env_run_for(x->t, 120 * C2_NS_PER_S);
    struct fs_status s = fsx_status(x);
    assert_true(s.backlog_files >= 60);
    assert_true(s.backlog_bytes >= 60ull * FILE_LEN);
    assert_true(s.backlog_oldest_ns >= 100 * C2_NS_PER_S);
    assert_int_equal(s.txgs_committed, 0);
    expect_files(x, 0, 60);
    fsx_stop(x);
    fsx_mount(x); /* still down: the journal has everything */
    expect_files(x, 0, 60);
    fsx_fault(x, 0, "");
    fsx_fault(x, 2, "");
    assert_int_equal(fsx_sync(x), C2_E_OK);
    s = fsx_status(x);
    assert_int_equal(s.backlog_files, 0);
    assert_int_equal(s.backlog_bytes, 0);
    fsx_drop_cache(x);
    expect_files(x, 0, 60);
    fsx_stop(x);
}

static void
writes__beyond_the_write_buffer_spill_and_memory_stays_bounded(void **state)
{
    struct fsx *x = *state;
    x->config.write_buffer = 8u << 20;
    fsx_mount(x);
    fsx_fault(x, 0, "error");
    fsx_fault(x, 1, "error");
    size_t len = 96u << 20;
    uint8_t *data = fsx_bytes(5, len);
    struct fs_handle *h;
    uint64_t ino;
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "big", O_WRONLY, &h, &ino), C2_E_OK);
    for (size_t at = 0; at < len; at += FS_WRITE_MAX) {
        assert_int_equal(fsx_write(x, h, at, data + at, FS_WRITE_MAX), C2_E_OK);
        /* What the four running uploads read from memory, and the buffer. */
        assert_true(fsx_status(x).chunk_bytes <= (8u << 20) + (64u << 20));
    }
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    assert_true(c2_mark_count("publish: memory short, data spilled to the journal") > 0);
    fsx_expect(x, FS_ROOT_INO, "big", data, len);
    fsx_stop(x);
    fsx_fault(x, 0, "");
    fsx_fault(x, 1, "");
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "big", data, len);
    fsx_drop_cache(x);
    fsx_expect(x, FS_ROOT_INO, "big", data, len);
    fsx_stop(x);
    c2_free(data);
}

static void
writes__wait_when_the_journal_is_full_and_go_on(void **state)
{
    struct fsx *x = *state;
    x->journal_size = 128u << 20;
    x->config.write_buffer = 8u << 20;
    fsx_mount(x);
    fsx_fault(x, 0, "error");
    fsx_fault(x, 1, "error");
    uint8_t *data = fsx_bytes(6, FS_WRITE_MAX);
    struct fs_handle *h;
    uint64_t ino;
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "big", O_WRONLY, &h, &ino), C2_E_OK);
    bool waits = false;
    for (unsigned k = 0; k < 400 && !waits; k++) {
        struct fs_req r = { .op = FS_WRITE,
                            .handle = h,
                            .off = (uint64_t)k * FS_WRITE_MAX,
                            .data = c2_slice(data, FS_WRITE_MAX) };
        fsx_start(x, &r);
        test_env_run_for(x->t, 10 * C2_NS_PER_S);
        waits = !fsx_answered(&r);
        if (waits) {
            fsx_fault(x, 0, "");
            fsx_fault(x, 1, "");
        }
        fsx_wait(x, &r);
        assert_int_equal(r.err, C2_E_OK);
        fs_req_done(&r);
    }
    assert_true(waits);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    fsx_unmount(x);
    c2_free(data);
}

/* What fits the write buffer need not fit what is left of the journal. */
static void
close__waits_when_the_journal_has_no_room_for_the_file(void **state)
{
    struct fsx *x = *state;
    size_t len = 24u << 20;
    uint8_t *data = fsx_bytes(7, len);
    struct fs_handle *h;
    uint64_t ino;
    x->journal_size = 64u << 20;
    x->config.write_buffer = 128u << 20;
    fsx_mount(x);
    fsx_fault(x, 0, "error");
    fsx_fault(x, 1, "error");
    fsx_put(x, FS_ROOT_INO, "a", data, len);
    fsx_put(x, FS_ROOT_INO, "b", data, len);
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "c", O_WRONLY, &h, &ino), C2_E_OK);
    for (size_t at = 0; at < len; at += FS_WRITE_MAX)
        assert_int_equal(fsx_write(x, h, at, data + at, FS_WRITE_MAX), C2_E_OK);
    struct fs_req r = { .op = FS_FLUSH, .handle = h };
    fsx_start(x, &r);
    test_env_run_for(x->t, 60 * C2_NS_PER_S);
    assert_false(fsx_answered(&r));
    fsx_fault(x, 0, "");
    fsx_fault(x, 1, "");
    fsx_wait(x, &r);
    assert_int_equal(r.err, C2_E_OK);
    fs_req_done(&r);
    fsx_release(x, h);
    fsx_crash(x);
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "c", data, len);
    fsx_stop(x);
    c2_free(data);
}

static void
manifest__of_a_file_in_many_pieces_survives(void **state)
{
    struct fsx *x = *state;
    size_t len = 4u << 20, piece = 4096;
    uint8_t *data = fsx_bytes(8, len);
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "db", data, len);
    fsx_sync(x);
    /* Every other page overwritten, each in its own transaction group of 50. */
    struct fs_handle *h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "db"), O_RDWR);
    for (size_t at = 0, k = 0; at < len; at += 2 * piece, k++) {
        memset(data + at, (int)k, piece);
        assert_int_equal(fsx_write(x, h, at, data + at, piece), C2_E_OK);
        if (k % 50 == 0)
            assert_int_equal(fsx_sync(x), C2_E_OK);
    }
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    fsx_drop_cache(x);
    assert_true(c2_mark_count("txg: manifest written") > 0);
    fsx_expect(x, FS_ROOT_INO, "db", data, len);
    /* And after it was changed again without being read first. */
    h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "db"), O_RDWR);
    data[7] ^= 1;
    assert_int_equal(fsx_write(x, h, 7, data + 7, 1), C2_E_OK);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    fsx_crash(x);
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "db", data, len);
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "db"), C2_E_OK);
    fsx_unmount(x);
    c2_free(data);
}

static void
append__to_a_large_file_costs_one_object_and_one_transaction(void **state)
{
    struct fsx *x = *state;
    size_t len = 200u << 20;
    uint8_t *data = fsx_bytes(9, FS_WRITE_MAX);
    struct fs_handle *h;
    uint64_t ino;
    fsx_mount(x);
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "log", O_WRONLY, &h, &ino), C2_E_OK);
    for (size_t at = 0; at < len; at += FS_WRITE_MAX)
        assert_int_equal(fsx_write(x, h, at, data, FS_WRITE_MAX), C2_E_OK);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    uint64_t puts = fsx_requests(x, PROV_PUT), txns = fsx_status(x).txns;
    h = fsx_open(x, ino, O_WRONLY | O_APPEND);
    assert_int_equal(fsx_write(x, h, len, data, 4096), C2_E_OK);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_int_equal(fsx_requests(x, PROV_PUT) - puts, 3);
    assert_int_equal(fsx_status(x).txns - txns, 1);
    fsx_stop(x);
    c2_free(data);
}

static void
holes__are_read_as_zeros_and_cost_nothing(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint64_t ino, far = 5ull << 30;
    struct c2_buf got = { 0 };
    fsx_mount(x);
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "sparse", O_RDWR, &h, &ino), C2_E_OK);
    assert_int_equal(fsx_write(x, h, far, "end", 3), C2_E_OK);
    assert_int_equal(fsx_write(x, h, 10, "begin", 5), C2_E_OK);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    fsx_drop_cache(x);
    assert_true(fsx_status(x).stored_bytes < 100000);
    h = fsx_open(x, ino, O_RDONLY);
    assert_int_equal(fsx_read(x, h, far - 5, 100, &got), C2_E_OK);
    assert_int_equal(got.len, 8);
    assert_memory_equal(got.data, "\0\0\0\0\0end", 8);
    c2_buf_clear(&got);
    assert_int_equal(fsx_read(x, h, 0, 20, &got), C2_E_OK);
    assert_memory_equal(got.data, "\0\0\0\0\0\0\0\0\0\0begin\0\0\0\0\0", 20);
    struct fs_req r = { .op = FS_LSEEK, .handle = h, .off = 20, .flags = SEEK_DATA };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    assert_int_equal(r.off, far);
    c2_buf_done(&got);
    fsx_close(x, h);
    fsx_stop(x);
}

static void
assert_interrupted(struct fsx *x, struct fs_req *r, unsigned seconds)
{
    fsx_start(x, r);
    if (seconds > 0)
        test_env_run_for(x->t, seconds * C2_NS_PER_S);
    assert_false(fsx_answered(r));
    fs_interrupt(x->fs, r);
    fs_interrupt(x->fs, r); /* the kernel may say it more than once */
    fsx_wait(x, r);
    assert_int_equal(r->err, C2_E_INTERRUPTED);
    fs_req_done(r);
}

static void
waiting__for_the_clouds_can_be_interrupted(void **state)
{
    struct fsx *x = *state;
    x->config.close_sync = x->config.fsync_cloud = true;
    fsx_mount(x);
    put_files(x, 0, 2);
    for (unsigned seat = 0; seat < FSX_SEATS; seat++)
        fsx_fault(x, seat, "error");
    struct fs_handle *h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "f1"), O_RDWR);
    uint8_t *data = fsx_bytes(9, 1000);
    for (unsigned seconds = 0; seconds <= 60; seconds += 60) { /* in the journal's turn, too */
        assert_int_equal(fsx_write(x, h, seconds, data, 1000), C2_E_OK);
        struct fs_req fsync = { .op = FS_FSYNC, .ino = h->inode->ino, .handle = h };
        assert_interrupted(x, &fsync, seconds);
        assert_int_equal(fsx_write(x, h, seconds, data, 1000), C2_E_OK);
        struct fs_req flush = { .op = FS_FLUSH, .ino = h->inode->ino, .handle = h };
        assert_interrupted(x, &flush, seconds);
        struct fs_req sync = { .op = FS_SYNCFS, .ino = FS_ROOT_INO };
        assert_interrupted(x, &sync, seconds);
    }
    fsx_release(x, h);
    for (unsigned seat = 0; seat < FSX_SEATS; seat++)
        fsx_fault(x, seat, "");
    assert_int_equal(fsx_sync(x), C2_E_OK); /* nothing is lost by it */
    fsx_drop_cache(x);
    struct c2_buf got = { 0 };
    h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "f1"), O_RDONLY);
    assert_int_equal(fsx_read(x, h, 60, 1000, &got), C2_E_OK);
    assert_memory_equal(got.data, data, 1000);
    fsx_release(x, h);
    c2_buf_done(&got);
    c2_free(data);
    fsx_stop(x);
}

/* During a long outage the queue of groups fills; what comes then must not become one group that
 * no transaction can hold. */
static void
outage__makes_no_group_that_is_too_large_for_a_transaction(void **state)
{
    struct fsx *x = *state;
    char name[32];
    fsx_mount(x);
    for (unsigned seat = 0; seat < FSX_SEATS; seat++)
        fsx_fault(x, seat, "error");
    for (unsigned k = 0; k < 80; k++) { /* more than FS_TXGS_MAX */
        (void)snprintf(name, sizeof(name), "early%u", k);
        fsx_put(x, FS_ROOT_INO, name, "x", 1);
        test_env_run_for(x->t, 3 * C2_NS_PER_S);
    }
    for (unsigned k = 0; k < 4000; k++) {
        (void)snprintf(name, sizeof(name), "f%u", k);
        fsx_put(x, FS_ROOT_INO, name, "x", 1);
    }
    for (unsigned seat = 0; seat < FSX_SEATS; seat++)
        fsx_fault(x, seat, "");
    assert_int_equal(fsx_sync(x), C2_E_OK);
    struct fs_status s = fsx_status(x);
    assert_true(s.txgs_committed > 64);
    assert_int_equal(s.txns, s.txgs_committed); /* one each */
    fsx_stop(x);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(reads__are_exact_with_any_one_provider_faulty),
        T(reads__give_an_error_with_two_providers_gone_and_recover),
        T(writes__succeed_with_one_provider_down),
        T(writes__wait_in_the_journal_while_two_providers_are_down),
        T(writes__beyond_the_write_buffer_spill_and_memory_stays_bounded),
        T(writes__wait_when_the_journal_is_full_and_go_on),
        T(close__waits_when_the_journal_has_no_room_for_the_file),
        T(manifest__of_a_file_in_many_pieces_survives),
        T(append__to_a_large_file_costs_one_object_and_one_transaction),
        T(holes__are_read_as_zeros_and_cost_nothing),
        T(waiting__for_the_clouds_can_be_interrupted),
        T(outage__makes_no_group_that_is_too_large_for_a_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
