/* SPDX-License-Identifier: MIT */
/*
 * The end of a mount, whatever is under way: it comes within bounded time, nothing is used after it
 * was freed, and nothing that was promised is lost.
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

#define MIB      (1u << 20)
#define BOUND_NS (200 * C2_NS_PER_S)

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
stop_soon(struct fsx *x)
{
    uint64_t started = c2_now_ns(x->env);
    fsx_stop(x);
    assert_true(c2_now_ns(x->env) - started < BOUND_NS);
}

static void
check(struct fsx *x)
{
    struct fsx_check c;
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_check(x, &c);
}

/* ---- clouds --------------------------------------------------------------------------------- */

/* A file whose extents are in a manifest, changed and closed, then a crash. */
static void
crash_with_changes_of_a_large_file(struct fsx *x, uint8_t *data, size_t len)
{
    fsx_mount(x);
    for (size_t at = 0; at < len; at += len / 32) {
        struct fs_handle *h;
        uint64_t ino;
        if (at == 0)
            assert_int_equal(fsx_create(x, FS_ROOT_INO, "db", O_RDWR, &h, &ino), C2_E_OK);
        else
            h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "db"), O_RDWR);
        assert_int_equal(fsx_write(x, h, at, data + at, len / 32), C2_E_OK);
        assert_int_equal(fsx_close(x, h), C2_E_OK);
        assert_int_equal(fsx_sync(x), C2_E_OK);
    }
    fsx_drop_cache(x);
    struct fs_handle *h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "db"), O_RDWR);
    data[5] ^= 1;
    assert_int_equal(fsx_write(x, h, 5, data + 5, 1), C2_E_OK);
    clouds(x, "error");
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    fsx_crash(x);
}

static void
open__does_no_harm_when_the_extents_cannot_be_read(void **state)
{
    struct fsx *x = *state;
    size_t len = 320000;
    uint8_t *data = fsx_bytes(1, len);
    crash_with_changes_of_a_large_file(x, data, len);
    for (unsigned k = 0; k < 2; k++) {
        fsx_mount(x);
        fsx_crash(x);
    }
    clouds(x, "");
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "db", data, len);
    check(x);
    fsx_stop(x);
    c2_free(data);
}

/* Sixteen packs, of which the clouds take some before they fail; the next ones are being read back
 * from the journal then. */
static void
write_until_some_are_uploaded(struct fsx *x, const char *name, const uint8_t *data, size_t len)
{
    struct fs_handle *h;
    uint64_t ino, packs = fsx_status(x).objects_written;
    clouds(x, "error");
    assert_int_equal(fsx_create(x, FS_ROOT_INO, name, O_RDWR, &h, &ino), C2_E_OK);
    for (size_t at = len; at > 0; at -= MIB / 2)
        assert_int_equal(fsx_write(x, h, at - MIB / 2, data + at - MIB / 2, MIB / 2), C2_E_OK);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    test_env_run_for(x->t, 3 * C2_NS_PER_S);
    clouds(x, "");
    while (fsx_status(x).objects_written == packs)
        assert_true(test_env_step(x->t));
}

static void
close__ends_uploads_wherever_they_are(void **state)
{
    struct fsx *x = *state;
    size_t len = 16 * MIB;
    uint8_t *data = fsx_bytes(1, len);
    x->config.write_buffer = MIB;
    x->config.pack_size = MIB;
    x->config.upload_parallel = 2;
    for (unsigned k = 0; k < 40; k += 1 + k / 12) {
        char name[16];
        fsx_mount(x);
        snprintf(name, sizeof(name), "f%u", k);
        write_until_some_are_uploaded(x, name, data, len);
        clouds(x, k % 2 == 0 ? "error" : "hang");
        for (unsigned step = 0; step < k; step++)
            test_env_step(x->t);
        stop_soon(x);
        clouds(x, "");
        fsx_mount(x);
        fsx_expect(x, FS_ROOT_INO, name, data, len);
        assert_int_equal(fsx_unlink(x, FS_ROOT_INO, name), C2_E_OK);
        check(x);
        fsx_stop(x);
    }
    c2_free(data);
}

static void
close__ends_reading_ahead(void **state)
{
    struct fsx *x = *state;
    uint8_t *data = fsx_bytes(1, 16 * MIB);
    x->cache_dir = test_env_dir(x->t);
    x->config.pack_size = 2 * MIB;
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "big", data, 16 * MIB);
    fsx_unmount(x);
    x->config.readahead = 3 * MIB;
    for (unsigned k = 1; k < 40; k++) {
        struct c2_buf got = { 0 };
        fsx_mount(x);
        struct fs_handle *h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "big"), O_RDONLY);
        for (unsigned part = 0; part < k; part++)
            assert_int_equal(fsx_read(x, h, part * (MIB / 4), MIB / 4, &got), C2_E_OK);
        fsx_release(x, h);
        clouds(x, k % 2 == 0 ? "hang" : "");
        c2_buf_done(&got);
        stop_soon(x);
        clouds(x, "");
    }
    c2_free(data);
}

/* ---- coordination --------------------------------------------------------------------------- */

/* Between the file system and its store: requests get stuck. */
struct stuck {
    struct coord coord;
    struct coord *inner;
    bool stop;
    struct c2_list held, canceled; /* coord_req.link */
    struct c2_task cancel;
};

static struct stuck *
stuck_of(struct coord *c)
{
    return C2_CONTAINER_OF(c, struct stuck, coord);
}

static void
stuck_submit(struct coord *c, struct coord_req *r)
{
    if (stuck_of(c)->stop)
        c2_list_append(&stuck_of(c)->held, &r->link);
    else
        coord_submit(stuck_of(c)->inner, r);
}

static void
run_cancel(struct c2_task *t)
{
    struct stuck *s = C2_CONTAINER_OF(t, struct stuck, cancel);
    while (!c2_list_empty(&s->canceled)) {
        struct coord_req *r = C2_LIST_FIRST(&s->canceled, struct coord_req, link);
        c2_list_remove(&s->canceled, &r->link);
        r->err = C2_E_CANCELED;
        r->done(r);
    }
}

static void
stuck_cancel(struct coord *c, struct coord_req *r)
{
    struct stuck *s = stuck_of(c);
    if (!s->stop) {
        coord_cancel(s->inner, r);
        return;
    }
    c2_list_remove(&s->held, &r->link);
    c2_list_append(&s->canceled, &r->link);
    c2_defer(s->coord.env, &s->cancel);
}

static const struct coord_ops stuck_ops = { .submit = stuck_submit, .cancel = stuck_cancel };

static void
close__ends_with_a_commit_that_gets_no_answer(void **state)
{
    struct fsx *x = *state;
    struct stuck s = { .coord = { .ops = &stuck_ops } };
    c2_list_init(&s.held);
    c2_list_init(&s.canceled);
    fsx_mount(x);
    s.inner = x->fs->part.coord;
    s.coord.env = x->env;
    s.cancel.run = run_cancel;
    x->fs->part.coord = &s.coord;
    fsx_put(x, FS_ROOT_INO, "a", "content", 7);
    s.stop = true;
    test_env_run_for(x->t, 10 * C2_NS_PER_S);
    assert_true(s.held.count >= 1);
    struct fs_req r = { .op = FS_LOOKUP, .ino = FS_ROOT_INO, .name = "unknown" };
    fsx_start(x, &r); /* a load that gets no answer either */
    fs_interrupt(x->fs, &r);
    fsx_wait(x, &r);
    assert_int_equal(r.err, C2_E_INTERRUPTED);
    stop_soon(x);
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "a", "content", 7);
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
        T(open__does_no_harm_when_the_extents_cannot_be_read),
        T(close__ends_uploads_wherever_they_are),
        T(close__ends_reading_ahead),
        T(close__ends_with_a_commit_that_gets_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
