/* SPDX-License-Identifier: MIT */
/*
 * Reads of files that are in many pieces: an answer is short at the end of the file only.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "tests/lib/fs_fixture.h"

#define ROOT   FS_ROOT_INO
#define PIECES 1300u /* more than two rounds of a read */
#define PIECE  24u
#define STEP   (PIECE + 16u) /* a hole follows each piece */
#define SIZE   (PIECES * STEP - (STEP - PIECE))
#define MARKED "read: pieces in several rounds"

static int
setup(void **state)
{
    struct fsx *x = c2_calloc(1, sizeof(*x));
    fsx_init(x);
    fsx_mount(x);
    *state = x;
    return 0;
}

static int
teardown(void **state)
{
    struct fsx *x = *state;
    fsx_stop(x);
    fsx_done(x);
    c2_free(x);
    return 0;
}

/* The pieces, and zeros between them; c2_free. */
static uint8_t *
expected(void)
{
    uint8_t *bytes = fsx_bytes(5, SIZE);
    for (size_t at = PIECE; at < SIZE; at += STEP)
        memset(bytes + at, 0, STEP - PIECE);
    return bytes;
}

static struct fs_handle *
broken_up(struct fsx *x, const uint8_t *bytes)
{
    struct fs_handle *h;
    uint64_t ino;
    assert_int_equal(fsx_create(x, ROOT, "f", O_RDWR, &h, &ino), C2_E_OK);
    for (size_t at = 0; at < SIZE; at += STEP)
        assert_int_equal(fsx_write(x, h, at, bytes + at, PIECE), C2_E_OK);
    return h;
}

static void
expect(struct fsx *x, struct fs_handle *h, const uint8_t *bytes, size_t off, size_t len)
{
    struct c2_buf got = { 0 };
    assert_int_equal(fsx_read(x, h, off, len, &got), C2_E_OK);
    assert_int_equal(got.len, off + len > SIZE ? SIZE - off : len);
    assert_memory_equal(got.data, bytes + off, got.len);
    c2_buf_done(&got);
}

static void
read__of_many_pieces_is_whole_wherever_they_are(void **state)
{
    struct fsx *x = *state;
    uint8_t *bytes = expected();
    struct fs_handle *h = broken_up(x, bytes);
    uint64_t rounds = c2_mark_count(MARKED);
    expect(x, h, bytes, 0, SIZE);
    expect(x, h, bytes, 0, 2 * SIZE);
    expect(x, h, bytes, 7, SIZE - 20);
    expect(x, h, bytes, 600 * STEP + 3, 513 * STEP);
    assert_true(c2_mark_count(MARKED) >= rounds + 2 + 2 + 2 + 1);
    /* In the journal, in the cache, in the clouds. */
    assert_int_equal(fsx_fsync(x, h), C2_E_OK);
    expect(x, h, bytes, 0, SIZE);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_expect(x, ROOT, "f", bytes, SIZE);
    fsx_drop_cache(x);
    fsx_expect(x, ROOT, "f", bytes, SIZE);
    c2_free(bytes);
}

static void
read__of_many_pieces_fails_as_a_whole(void **state)
{
    struct fsx *x = *state;
    uint8_t *bytes = expected();
    struct c2_buf got = { 0 };
    assert_int_equal(fsx_close(x, broken_up(x, bytes)), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_drop_cache(x);
    struct fs_handle *h = fsx_open(x, fsx_ino(x, ROOT, "f"), 0);
    for (unsigned seat = 0; seat < FSX_SEATS; seat++)
        fsx_fault(x, seat, "error");
    assert_int_not_equal(fsx_read(x, h, 0, SIZE, &got), C2_E_OK);
    assert_int_equal(got.len, 0);
    for (unsigned seat = 0; seat < FSX_SEATS; seat++)
        fsx_fault(x, seat, "");
    expect(x, h, bytes, 0, SIZE);
    fsx_release(x, h);
    c2_buf_done(&got);
    c2_free(bytes);
}

/* A mount that is aborted releases its handles while the clouds still have to answer. */
static void
read__may_outlive_its_handle(void **state)
{
    struct fsx *x = *state;
    uint8_t *bytes = expected();
    struct fs_req r = { .op = FS_READ, .len = SIZE };
    assert_int_equal(fsx_close(x, broken_up(x, bytes)), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    r.handle = fsx_open(x, fsx_ino(x, ROOT, "f"), O_RDONLY);
    expect(x, r.handle, bytes, 0, 1); /* its extents are here now */
    fsx_start(x, &r);
    assert_false(fsx_answered(&r));
    fsx_release(x, r.handle);
    fsx_wait(x, &r);
    assert_int_equal(r.err, C2_E_OK);
    assert_int_equal(r.iov.len, SIZE);
    assert_memory_equal(r.iov.data, bytes, SIZE);
    fs_req_done(&r);
    c2_free(bytes);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(read__of_many_pieces_is_whole_wherever_they_are),
        TEST(read__of_many_pieces_fails_as_a_whole),
        TEST(read__may_outlive_its_handle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
