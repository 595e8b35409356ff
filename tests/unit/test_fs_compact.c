/* SPDX-License-Identifier: MIT */
/*
 * Compaction: fewer pieces, the same bytes, and hands off what others have in theirs.
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
#include "fs/txg.h"
#include "tests/lib/fs_check.h"
#include "tests/lib/fs_fixture.h"

#define PIECES  20
#define PIECE   1000
#define PASS_NS (10 * C2_NS_PER_S)

static int
setup(void **state)
{
    struct fsx *x = c2_calloc(1, sizeof(*x));
    fsx_init(x);
    x->config.compact = true;
    x->config.gc_interval_ns = PASS_NS;
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

static struct fsx_check
check(struct fsx *x)
{
    struct fsx_check c;
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_check(x, &c);
    return c;
}

/* A file each piece of which is in an object of its own; the bytes are the caller's. */
static uint8_t *
put_in_pieces(struct fsx *x, const char *name, struct fs_handle **ret_handle)
{
    struct fs_handle *h;
    uint64_t ino;
    uint8_t *data = fsx_bytes(9, PIECES * PIECE);
    assert_int_equal(fsx_create(x, FS_ROOT_INO, name, O_RDWR, &h, &ino), C2_E_OK);
    for (unsigned k = 0; k < PIECES; k++) {
        size_t at = (size_t)k * PIECE;
        assert_int_equal(fsx_write(x, h, at, data + at, PIECE), C2_E_OK);
        assert_int_equal(fsx_sync(x), C2_E_OK);
    }
    if (ret_handle != NULL)
        *ret_handle = h;
    else
        assert_int_equal(fsx_close(x, h), C2_E_OK);
    return data;
}

static struct fs_compact_status
passes(struct fsx *x)
{
    uint64_t first = fsx_status(x).compact.passes;
    for (unsigned k = 0; k < 100 && fsx_status(x).compact.passes < first + 2; k++)
        test_env_run_for(x->t, PASS_NS);
    assert_true(fsx_status(x).compact.passes >= first + 2);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    return fsx_status(x).compact;
}

static void
file__in_many_pieces_becomes_one(void **state)
{
    struct fsx *x = *state;
    struct fs_attr before, after;
    fsx_mount(x);
    uint8_t *data = put_in_pieces(x, "a", NULL);
    assert_int_equal(check(x).objects, PIECES + 1); /* and the leaf */
    assert_int_equal(fsx_lookup(x, FS_ROOT_INO, "a", &before), C2_E_OK);
    struct fs_compact_status s = passes(x);
    assert_int_equal(s.files, 1);
    assert_int_equal(s.bytes, PIECES * PIECE);
    struct fsx_check c = check(x);
    assert_true(c.objects <= 2);
    assert_true(c.dead >= PIECES);
    assert_int_equal(fsx_lookup(x, FS_ROOT_INO, "a", &after), C2_E_OK);
    assert_memory_equal(&before.mtime, &after.mtime, sizeof(before.mtime));
    assert_memory_equal(&before.ctime, &after.ctime, sizeof(before.ctime));
    fsx_drop_cache(x);
    fsx_expect(x, FS_ROOT_INO, "a", data, PIECES * PIECE);
    assert_int_equal(passes(x).files, 0); /* once is enough */
    c2_free(data);
    fsx_stop(x);
}

static void
object__mostly_unused_is_left_by_its_files(void **state)
{
    struct fsx *x = *state;
    char name[16];
    x->config.pack_size = 64u << 10;
    fsx_mount(x);
    uint8_t *data = fsx_bytes(3, 8000);
    for (unsigned k = 0; k < 40; k++) {
        (void)snprintf(name, sizeof(name), "%u", k);
        fsx_put(x, FS_ROOT_INO, name, data, 8000);
    }
    assert_int_equal(fsx_sync(x), C2_E_OK);
    uint64_t before = check(x).objects;
    for (unsigned k = 0; k < 40; k++) {
        (void)snprintf(name, sizeof(name), "%u", k);
        if (k % 4 != 0)
            assert_int_equal(fsx_unlink(x, FS_ROOT_INO, name), C2_E_OK);
    }
    fsx_drop_cache(x);
    struct fs_compact_status s = passes(x);
    assert_true(s.files >= 8 && s.files <= 10); /* one may have had an object of its own */
    assert_int_equal(s.bytes, s.files * 8000);
    struct fsx_check c = check(x);
    assert_true(c.objects < before);
    assert_true(c.dead >= before - 2);
    fsx_drop_cache(x);
    for (unsigned k = 0; k < 40; k += 4) {
        (void)snprintf(name, sizeof(name), "%u", k);
        fsx_expect(x, FS_ROOT_INO, name, data, 8000);
    }
    c2_free(data);
    fsx_stop(x);
}

/* Databases and virtual machines never close theirs. */
static void
file__that_is_open_is_no_exception(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    fsx_mount(x);
    uint8_t *data = put_in_pieces(x, "a", &h);
    memset(data + 100, 1, 50);
    assert_int_equal(fsx_write(x, h, 100, data + 100, 50), C2_E_OK); /* held */
    assert_true(passes(x).bytes >= (PIECES - 2) * PIECE);
    memset(data + 5000, 2, 50);
    assert_int_equal(fsx_write(x, h, 5000, data + 5000, 50), C2_E_OK);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    assert_true(check(x).objects <= 6);
    fsx_drop_cache(x);
    fsx_expect(x, FS_ROOT_INO, "a", data, PIECES * PIECE);
    c2_free(data);
    fsx_stop(x);
}

static void
degraded_volume__is_not_touched(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    uint8_t *data = put_in_pieces(x, "a", NULL);
    fsx_fault(x, 1, "down");
    fsx_put(x, FS_ROOT_INO, "b", "b", 1);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    test_env_run_for(x->t, 20 * PASS_NS);
    assert_int_equal(fsx_status(x).compact.bytes, 0);
    fsx_fault(x, 1, "");
    check(x);
    c2_free(data);
    fsx_stop(x);
}

static void
file__that_cannot_be_read_stays_as_it_is(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    uint8_t *data = put_in_pieces(x, "a", NULL);
    x->config.gc_interval_ns = 3600 * C2_NS_PER_S;
    fsx_drop_cache(x);
    struct fs_handle *h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "a"), O_WRONLY);
    assert_int_equal(fsx_write(x, h, 0, data, 10), C2_E_OK);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    check(x); /* a hint */
    for (unsigned s = 0; s < FSX_SEATS; s++)
        fsx_fault(x, s, "get.absent");
    test_env_run_for(x->t, 3700 * C2_NS_PER_S);
    assert_int_equal(fsx_status(x).compact.bytes, 0);
    for (unsigned s = 0; s < FSX_SEATS; s++)
        fsx_fault(x, s, "");
    fsx_drop_cache(x);
    fsx_expect(x, FS_ROOT_INO, "a", data, PIECES * PIECE);
    c2_free(data);
    fsx_stop(x);
}

static void
begin_pass(struct fsx *x)
{
    while (fsx_status(x).compact.running)
        assert_true(test_env_step(x->t));
    while (!fsx_status(x).compact.running)
        assert_true(test_env_step(x->t));
}

/* Wherever it ends, and whatever is done to the file meanwhile. */
static void
pass__may_end_anywhere(void **state)
{
    struct fsx *x = *state;
    struct fs_gc_report r;
    bool whole = false;
    for (unsigned steps = 1; !whole; steps += 9) {
        fsx_mount(x);
        uint8_t *data = put_in_pieces(x, "a", NULL);
        begin_pass(x);
        for (unsigned k = 0; k < steps; k++)
            test_env_step(x->t);
        whole = !fsx_status(x).compact.running;
        fsx_crash(x);
        fsx_mount(x);
        fsx_expect(x, FS_ROOT_INO, "a", data, PIECES * PIECE);
        check(x);
        assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "a"), C2_E_OK);
        check(x);
        assert_int_equal(fsx_gc(x, false, 0, &r), C2_E_OK);
        fsx_unmount(x);
        c2_free(data);
    }
    assert_true(c2_mark_count("compact: a piece") > 0);
}

static void
file__that_changes_while_it_is_read_keeps_the_change(void **state)
{
    struct fsx *x = *state;
    struct fs_gc_report r;
    fsx_mount(x);
    for (unsigned steps = 1; steps < 120; steps += 7) {
        uint8_t *data = put_in_pieces(x, "a", NULL);
        uint64_t ino = fsx_ino(x, FS_ROOT_INO, "a");
        begin_pass(x);
        for (unsigned k = 0; k < steps; k++)
            test_env_step(x->t);
        struct fs_handle *h = fsx_open(x, ino, O_RDWR);
        memset(data + 500, 7, 2000);
        assert_int_equal(fsx_write(x, h, 500, data + 500, 2000), C2_E_OK);
        assert_int_equal(fsx_close(x, h), C2_E_OK);
        test_env_run_for(x->t, 2 * PASS_NS);
        check(x);
        fsx_expect(x, FS_ROOT_INO, "a", data, PIECES * PIECE);
        assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "a"), C2_E_OK);
        assert_int_equal(fsx_sync(x), C2_E_OK);
        assert_int_equal(fsx_gc(x, false, 0, &r), C2_E_OK);
        c2_free(data);
    }
    check(x);
    assert_true(c2_mark_count("compact: the file changed meanwhile") > 0);
    fsx_stop(x);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(file__in_many_pieces_becomes_one),
        T(object__mostly_unused_is_left_by_its_files),
        T(file__that_is_open_is_no_exception),
        T(degraded_volume__is_not_touched),
        T(file__that_cannot_be_read_stays_as_it_is),
        T(pass__may_end_anywhere),
        T(file__that_changes_while_it_is_read_keeps_the_change),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
