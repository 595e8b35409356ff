/* SPDX-License-Identifier: MIT */
/*
 * Files in very many pieces: they can be written to for ever.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "fs/compact_impl.h"
#include "fs/txg.h"
#include "tests/lib/coord_gate.h"
#include "tests/lib/fs_check.h"
#include "tests/lib/fs_fixture.h"

#define EXTENTS_MAX 128u
#define CROWD_SIZE  (256u << 10)

static int
setup(void **state)
{
    struct fsx *x = c2_calloc(1, sizeof(*x));
    fsx_init(x);
    x->config.extents_max = EXTENTS_MAX;
    x->config.pack_size = 32u << 10;
    x->config.gc_interval_ns = 10 * C2_NS_PER_S;
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
check(struct fsx *x)
{
    struct fsx_check c;
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_check(x, &c);
}

/* One that is all in objects, and open. */
static uint8_t *
crowd_add(struct fsx *x, const char *name, struct fs_handle **ret_handle)
{
    uint64_t ino;
    uint8_t *data = fsx_bytes(4, CROWD_SIZE);
    assert_int_equal(fsx_create(x, FS_ROOT_INO, name, O_RDWR, ret_handle, &ino), C2_E_OK);
    assert_int_equal(fsx_write(x, *ret_handle, 0, data, CROWD_SIZE), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    return data;
}

/* Compaction is off: for this it need not be asked for. */
static uint8_t *
crowd_begin(struct fsx *x, struct fs_handle **ret_handle)
{
    fsx_mount(x);
    return crowd_add(x, "a", ret_handle);
}

/* Everything is committed, and from there it is what was written. Takes the handle and the bytes.
 */
static void
crowd_end(struct fsx *x, struct fs_handle *h, uint8_t *data)
{
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    check(x);
    fsx_drop_cache(x);
    fsx_expect(x, FS_ROOT_INO, "a", data, CROWD_SIZE);
    c2_free(data);
    fsx_stop(x);
}

static size_t
extents(struct fsx *x, const char *name)
{
    return fs_inode_peek(x->fs, fsx_ino(x, FS_ROOT_INO, name))->map->n;
}

/* The k-th write: 64 bytes here or there, never two side by side. */
static enum c2_err
scatter(struct fsx *x, struct fs_handle *h, uint8_t *data, unsigned k)
{
    size_t at = (size_t)k * 2654435761u % (CROWD_SIZE / 128) * 128;
    uint8_t piece[64];
    memset(piece, (int)k, sizeof(piece));
    enum c2_err err = fsx_write(x, h, at, piece, sizeof(piece));
    if (err == C2_E_OK)
        memcpy(data + at, piece, sizeof(piece));
    return err;
}

/* Until there are so many extents; while requests need not wait, nothing else happens meanwhile. */
static unsigned
scatter_until(struct fsx *x, const char *name, struct fs_handle *h, uint8_t *data, size_t n)
{
    unsigned k = 0;
    while (extents(x, name) < n)
        assert_int_equal(scatter(x, h, data, k++), C2_E_OK);
    return k;
}

static void
file__that_is_open_is_written_to_for_ever(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint8_t *data = crowd_begin(x, &h);
    for (unsigned k = 0; k < 10 * EXTENTS_MAX; k++) {
        assert_int_equal(scatter(x, h, data, k), C2_E_OK);
        assert_true(extents(x, "a") < EXTENTS_MAX);
        if (k % 32 == 9)
            assert_int_equal(fsx_fsync(x, h), C2_E_OK);
        if (k % 200 == 17)
            assert_int_equal(fsx_sync(x), C2_E_OK);
    }
    assert_true(c2_mark_count("compact: a piece") > 0);
    crowd_end(x, h, data);
}

/* Nothing but held content, which is in no object and no journal. */
static void
file__that_is_held_is_written_to_for_ever(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint8_t *data = crowd_begin(x, &h);
    for (unsigned k = 0; k < 3 * EXTENTS_MAX; k++)
        assert_int_equal(scatter(x, h, data, k), C2_E_OK);
    assert_true(c2_mark_count("compact: a change waits until a file has fewer pieces") > 0);
    crowd_end(x, h, data);
}

/* What fsync has promised is there, wherever the joining was. */
static void
file__that_is_crowded_survives_a_kill_anywhere(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    unsigned k = 0;
    uint8_t *data = crowd_begin(x, &h);
    for (unsigned round = 0; round < 30; round++) {
        uint64_t before = c2_mark_count("compact: a piece");
        for (unsigned end = k + EXTENTS_MAX; k < end; k++)
            assert_int_equal(scatter(x, h, data, k), C2_E_OK);
        assert_int_equal(fsx_fsync(x, h), C2_E_OK);
        for (unsigned step = 0; step < round * 10; step++)
            test_env_step(x->t);
        assert_true(c2_mark_count("compact: a piece") > before);
        fsx_crash(x);
        c2_free(h); /* nobody is left to close it */
        fsx_mount(x);
        fsx_expect(x, FS_ROOT_INO, "a", data, CROWD_SIZE);
        h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "a"), O_RDWR);
    }
    crowd_end(x, h, data);
}

static void
file__that_is_crowded_is_joined_while_a_seat_is_away(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint8_t *data = crowd_begin(x, &h);
    fsx_fault(x, 2, "down");
    for (unsigned k = 0; k < 3 * EXTENTS_MAX; k++) {
        assert_int_equal(scatter(x, h, data, k), C2_E_OK);
        if (k % 50 == 9)
            assert_int_equal(fsx_sync(x), C2_E_OK);
    }
    fsx_fault(x, 2, "");
    crowd_end(x, h, data);
}

static void
write__to_a_crowded_file_waits_for_clouds_that_are_away(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    struct fs_req r = { .op = FS_WRITE };
    uint8_t *data = crowd_begin(x, &h);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    fsx_drop_cache(x);
    h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "a"), O_RDWR);
    (void)fsx_lookup(x, FS_ROOT_INO, "a", &(struct fs_attr){ 0 });
    for (unsigned s = 0; s < FSX_SEATS; s++)
        fsx_fault(x, s, "down");
    memset(data + 64, 9, 64);
    unsigned k = 0;
    while (extents(x, "a") < EXTENTS_MAX / 8 * 7)
        assert_int_equal(scatter(x, h, data, k++), C2_E_OK);
    r.handle = h;
    r.off = 64;
    r.data = c2_slice(data + 64, 64);
    fsx_start(x, &r);
    test_env_run_for(x->t, 600 * C2_NS_PER_S);
    assert_false(fsx_answered(&r));
    for (unsigned s = 0; s < FSX_SEATS; s++)
        fsx_fault(x, s, "");
    fsx_wait(x, &r);
    assert_int_equal(r.err, C2_E_OK);
    fs_req_done(&r);
    crowd_end(x, h, data);
}

static void
holes__between_many_extents_are_filled(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint8_t *data = crowd_begin(x, &h);
    memset(data, 0, CROWD_SIZE);
    for (unsigned turn = 0; turn < 2; turn++) {
        assert_int_equal(fsx_close(x, h), C2_E_OK);
        h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "a"), O_RDWR | O_TRUNC);
        for (unsigned k = 0; k < CROWD_SIZE / 512; k++) {
            memset(data + (size_t)k * 512, (int)(k + turn + 1), 20);
            assert_int_equal(fsx_write(x, h, (uint64_t)k * 512, data + (size_t)k * 512, 20),
                             C2_E_OK);
        }
    }
    assert_true(c2_mark_count("compact: a hole between extents is filled") > 0);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    check(x);
    fsx_drop_cache(x);
    fsx_expect(x, FS_ROOT_INO, "a", data, (CROWD_SIZE / 512 - 1) * 512 + 20);
    c2_free(data);
    fsx_stop(x);
}

static void
write__fails_when_nothing_can_be_joined(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint64_t off = 0;
    enum c2_err err = C2_E_OK;
    uint8_t *data = crowd_begin(x, &h);
    for (unsigned k = 0; err == C2_E_OK && k <= EXTENTS_MAX; k++) {
        off += 64u << 10; /* a window between them */
        err = fsx_write(x, h, CROWD_SIZE + off, data, 1);
    }
    assert_int_equal(err, C2_E_TOO_LARGE);
    assert_true(extents(x, "a") >= EXTENTS_MAX / 8 * 7);
    assert_int_equal(fsx_write(x, h, 0, data, 1), C2_E_TOO_LARGE);
    struct fs_req r = { .op = FS_FALLOCATE, .handle = h, .mode = 3 /* punch, keep size */ };
    r.len = CROWD_SIZE + off;
    assert_int_equal(fsx_run(x, &r), C2_E_TOO_LARGE);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "a"), O_RDWR | O_TRUNC);
    assert_int_equal(fsx_write(x, h, 0, data, CROWD_SIZE), C2_E_OK);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    check(x);
    fsx_expect(x, FS_ROOT_INO, "a", data, CROWD_SIZE);
    c2_free(data);
    fsx_stop(x);
}

/* A file that is deleted while it is open is nobody's but its owner's. */
static void
file__without_a_name_is_written_to_for_ever(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    struct c2_buf got = { 0 };
    uint8_t *data = crowd_begin(x, &h);
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "a"), C2_E_OK);
    for (unsigned k = 0; k < 3 * EXTENTS_MAX; k++)
        assert_int_equal(scatter(x, h, data, k), C2_E_OK);
    assert_int_equal(fsx_read(x, h, 0, CROWD_SIZE, &got), C2_E_OK);
    assert_int_equal(got.len, CROWD_SIZE);
    assert_memory_equal(got.data, data, CROWD_SIZE);
    c2_buf_done(&got);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    check(x);
    c2_free(data);
    fsx_stop(x);
}

/* Each copy adds what the original has. */
static void
copies__within_a_file_go_on_for_ever(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint8_t *data = crowd_begin(x, &h);
    for (unsigned k = 0; k < EXTENTS_MAX / 4; k++)
        assert_int_equal(scatter(x, h, data, k), C2_E_OK);
    for (unsigned k = 0; k < 200; k++) {
        size_t from = (size_t)k * 2654435761u % (CROWD_SIZE / 2 - 5000);
        size_t to = CROWD_SIZE / 2 + (size_t)k * 40503u % (CROWD_SIZE / 2 - 5000);
        struct fs_req r = { .op = FS_COPY_RANGE, .handle = h, .handle2 = h };
        r.off = from;
        r.off2 = to;
        r.len = 5000;
        assert_int_equal(fsx_run(x, &r), C2_E_OK);
        memcpy(data + to, data + from, 5000);
        assert_true(extents(x, "a") < EXTENTS_MAX);
    }
    crowd_end(x, h, data);
}

/* It is away, and that is known. */
static void
lose_seat(struct fsx *x)
{
    fsx_fault(x, 2, "down");
    fsx_put(x, FS_ROOT_INO, "other", "b", 1);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_false(compact_seats_are_well(x->fs));
}

/* That nothing was done when there were fewer, because a seat was away, is no verdict. */
static void
write__to_a_crowded_file_does_not_fail_for_what_was_put_off(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint8_t *data = crowd_begin(x, &h);
    lose_seat(x);
    unsigned k = scatter_until(x, "a", h, data, EXTENTS_MAX / 8 * 5);
    test_env_run_for(x->t, C2_NS_PER_S);
    assert_true(extents(x, "a") >= EXTENTS_MAX / 8 * 5);
    for (unsigned end = k + EXTENTS_MAX; k < end; k++)
        assert_int_equal(scatter(x, h, data, k), C2_E_OK);
    fsx_fault(x, 2, "");
    crowd_end(x, h, data);
}

/* A copy that needs more room than there is in a file that is not in a hurry yet. */
static void
copy__of_many_extents_waits_until_there_is_room(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint8_t *data = crowd_begin(x, &h);
    lose_seat(x);
    (void)scatter_until(x, "a", h, data, EXTENTS_MAX / 8 * 5);
    struct fs_req r = { .op = FS_COPY_RANGE, .handle = h, .handle2 = h };
    r.off2 = r.len = CROWD_SIZE;
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    assert_int_equal(r.count, CROWD_SIZE);
    assert_true(extents(x, "a") < EXTENTS_MAX);
    fsx_fault(x, 2, "");
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_drop_cache(x);
    data = c2_realloc(data, 2, CROWD_SIZE);
    memcpy(data + CROWD_SIZE, data, CROWD_SIZE);
    fsx_expect(x, FS_ROOT_INO, "a", data, 2 * (size_t)CROWD_SIZE);
    c2_free(data);
    fsx_stop(x);
}

/* None waits for ever because others are written to all the time. */
static void
files__that_are_crowded_take_turns(void **state)
{
    static const char *const names[] = { "a", "b", "c" };
    struct fsx *x = *state;
    struct fs_handle *h[3];
    uint8_t *data[3];
    uint64_t turns[3] = { 0 };
    data[0] = crowd_begin(x, &h[0]);
    for (unsigned f = 1; f < 3; f++)
        data[f] = crowd_add(x, names[f], &h[f]);
    for (unsigned f = 0; f < 3; f++)
        (void)scatter_until(x, names[f], h[f], data[f], EXTENTS_MAX / 2 + 4);
    const struct fs_compact *c = x->fs->compact;
    for (unsigned n = 0; n < 3;) {
        assert_true(test_env_step(x->t));
        if (c->running && c->joining && (n == 0 || turns[n - 1] != c->ino))
            turns[n++] = c->ino;
    }
    for (unsigned f = 0; f < 3; f++) {
        assert_int_equal(turns[f], fsx_ino(x, FS_ROOT_INO, names[f]));
        assert_int_equal(fsx_close(x, h[f]), C2_E_OK);
    }
    check(x);
    for (unsigned f = 0; f < 3; f++) {
        fsx_expect(x, FS_ROOT_INO, names[f], data[f], CROWD_SIZE);
        c2_free(data[f]);
    }
    fsx_stop(x);
}

/* A pass over everything needs the metadata service, joining does not. */
static void
file__that_is_crowded_does_not_wait_after_a_pass_that_failed(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    struct coord_gate gate;
    x->config.compact = true;
    x->config.gc_interval_ns = 3600 * C2_NS_PER_S;
    uint8_t *data = crowd_begin(x, &h);
    const struct fs_compact *c = x->fs->compact;
    coord_gate_init(&gate, x->coord);
    gate.silent = true;
    x->fs->part.coord = &gate.base;
    while (!c->asking)
        assert_true(test_env_step(x->t));
    (void)scatter_until(x, "a", h, data, EXTENTS_MAX / 2 + 4);
    assert_true(c->asking);
    test_env_run_for(x->t, 60 * C2_NS_PER_S);
    assert_true(c2_mark_count("compact: a crowded file") > 0);
    x->fs->part.coord = x->coord;
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    check(x);
    fsx_expect(x, FS_ROOT_INO, "a", data, CROWD_SIZE);
    c2_free(data);
    fsx_stop(x);
}

/* Nothing is joined any more, and nothing is tried again and again. */
static void
mount__that_is_fenced_leaves_crowded_files_alone(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    x->config.compact = true;
    uint8_t *data = crowd_begin(x, &h);
    (void)scatter_until(x, "a", h, data, EXTENTS_MAX / 2 + 4);
    x->fs->fenced = true;
    uint64_t end = c2_now_ns(x->fs->part.env) + 100 * C2_NS_PER_S;
    bool over = false;
    for (unsigned k = 0; k < 20000 && !over; k++)
        over = !test_env_step(x->t) || c2_now_ns(x->fs->part.env) >= end;
    assert_true(over);
    assert_int_equal(c2_mark_count("compact: a piece"), 0);
    fsx_crash(x);
    c2_free(h); /* nobody is left to close it */
    fsx_mount(x);
    c2_free(data);
    fsx_stop(x);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(file__that_is_open_is_written_to_for_ever),
        T(file__that_is_held_is_written_to_for_ever),
        T(file__that_is_crowded_survives_a_kill_anywhere),
        T(file__that_is_crowded_is_joined_while_a_seat_is_away),
        T(write__to_a_crowded_file_waits_for_clouds_that_are_away),
        T(holes__between_many_extents_are_filled),
        T(write__fails_when_nothing_can_be_joined),
        T(file__without_a_name_is_written_to_for_ever),
        T(copies__within_a_file_go_on_for_ever),
        T(write__to_a_crowded_file_does_not_fail_for_what_was_put_off),
        T(copy__of_many_extents_waits_until_there_is_room),
        T(files__that_are_crowded_take_turns),
        T(file__that_is_crowded_does_not_wait_after_a_pass_that_failed),
        T(mount__that_is_fenced_leaves_crowded_files_alone),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
