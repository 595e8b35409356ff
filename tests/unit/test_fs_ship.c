/* SPDX-License-Identifier: MIT */
/*
 * Shipping the log of a server-less volume: when journal objects and checkpoints are written, what
 * waits for them, what fences.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "backends/mem.h"
#include "base/alloc.h"
#include "base/mark.h"
#include "tests/lib/fs_fixture.h"

static int
setup(void **state)
{
    struct fsx *x = c2_calloc(1, sizeof(*x));
    fsx_init(x);
    x->ship = true;
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

/* Objects of a folder of the bucket, "/j/" or "/c/", that at least one seat has. */
static unsigned
count_keys(struct fsx *x, const char *folder)
{
    unsigned best = 0;
    for (unsigned s = 0; s < FSX_SEATS; s++) {
        unsigned n = 0;
        for (size_t k = 0; prov_mem_key(x->mem[s], k) != NULL; k++)
            n += strstr(prov_mem_key(x->mem[s], k), folder) != NULL;
        best = n > best ? n : best;
    }
    return best;
}

static void
nothing_waits(struct fsx *x)
{
    struct fs_status s = fsx_status(x);
    assert_true(s.ship.on);
    assert_int_equal(s.ship.unshipped_txns, 0);
    assert_int_equal(s.ship.unshipped_bytes, 0);
    assert_int_equal(s.ship.unshipped_oldest_ns, 0);
}

static void
syncfs__ends_when_everything_is_shipped(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "a", "hello", 5);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    nothing_waits(x);
    assert_true(count_keys(x, "/j/") >= 1);
    fsx_unmount(x);
}

static void
log__is_shipped_within_its_interval(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_put(x, FS_ROOT_INO, "a", "hello", 5);
    test_env_run_for(x->t, 3 * C2_NS_PER_S); /* committed after pack_delay */
    struct fs_status s = fsx_status(x);
    assert_true(s.ship.unshipped_txns > 0);
    assert_true(s.ship.unshipped_oldest_ns > 0);
    test_env_run_for(x->t, 5 * C2_NS_PER_S);
    nothing_waits(x);
    fsx_stop(x);
}

static void
assert_state(struct fsx *x, uint64_t ino, const char *want)
{
    struct fs_req r = { .op = FS_GETXATTR, .ino = ino, .name = "user.c2fs.state" };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    assert_string_equal(c2_buf_cstr(&r.reply), want);
    fs_req_done(&r);
}

/* What only the local store has goes with the machine. */
static void
file__is_committed_when_the_clouds_have_the_log(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_put(x, FS_ROOT_INO, "a", "hello", 5);
    uint64_t ino = fsx_ino(x, FS_ROOT_INO, "a"), groups = fsx_status(x).txgs_committed;
    assert_state(x, ino, "local");
    while (fsx_status(x).txgs_committed == groups)
        assert_true(test_env_step(x->t));
    assert_true(fsx_status(x).ship.unshipped_txns > 0);
    assert_state(x, ino, "uploading");
    test_env_run_for(x->t, 6 * C2_NS_PER_S);
    nothing_waits(x);
    assert_state(x, ino, "committed");
    fsx_stop(x);
}

static void
close__sync_waits_for_the_log_of_a_file_that_was_committed_before(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint64_t ino;
    x->config.close_sync = true;
    fsx_mount(x);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "a", O_WRONLY, &h, &ino), C2_E_OK);
    assert_int_equal(fsx_write(x, h, 0, "hello", 5), C2_E_OK);
    uint64_t groups = fsx_status(x).txgs_committed;
    assert_int_equal(fsx_rename(x, FS_ROOT_INO, "a", FS_ROOT_INO, "b", 0), C2_E_OK);
    while (fsx_status(x).txgs_committed == groups)
        assert_true(test_env_step(x->t));
    assert_true(fsx_status(x).ship.unshipped_txns > 0);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    nothing_waits(x);
    fsx_stop(x);
}

static void
log__without_a_device_key_is_not_shipped(void **state)
{
    struct fsx *x = *state;
    x->ship = false;
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "a", "hello", 5);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    test_env_run_for(x->t, 60 * C2_NS_PER_S);
    assert_int_equal(count_keys(x, "/j/"), 0);
    assert_int_equal(count_keys(x, "/c/"), 0);
    assert_false(fsx_status(x).ship.on);
    fsx_stop(x);
}

/* No transaction, no object: what is remembered of shipping does not ship itself. */
static void
log__of_an_idle_volume_does_not_grow(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "a", "hello", 5);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    test_env_run_for(x->t, 60 * C2_NS_PER_S);
    uint64_t puts = fsx_requests(x, PROV_PUT);
    test_env_run_for(x->t, 3600 * C2_NS_PER_S);
    assert_int_equal(fsx_requests(x, PROV_PUT), puts);
    fsx_stop(x);
}

static void
log__of_many_small_files_takes_few_objects(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    uint64_t before = count_keys(x, "/j/");
    char name[32];
    for (unsigned k = 0; k < 10000; k++) {
        snprintf(name, sizeof(name), "file-%u", k);
        fsx_put(x, FS_ROOT_INO, name, name, strlen(name));
    }
    assert_int_equal(fsx_sync(x), C2_E_OK);
    nothing_waits(x);
    assert_in_range(count_keys(x, "/j/") - before, 1, 12);
    fsx_stop(x);
}

static void
sync__waits_for_the_clouds(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_put(x, FS_ROOT_INO, "a", "hello", 5);
    test_env_run_for(x->t, 3 * C2_NS_PER_S);
    fsx_fault(x, 0, "down");
    fsx_fault(x, 1, "down");
    struct fs_req r = { .op = FS_SYNCFS };
    fsx_start(x, &r);
    test_env_run_for(x->t, 600 * C2_NS_PER_S);
    assert_false(fsx_answered(&r));
    assert_true(fsx_status(x).ship.unshipped_txns > 0);
    fsx_fault(x, 0, "");
    fsx_fault(x, 1, "");
    fsx_wait(x, &r);
    assert_int_equal(r.err, C2_E_OK);
    nothing_waits(x);
    fsx_stop(x);
}

static void
close__with_the_clouds_away_ends(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "a", "hello", 5);
    test_env_run_for(x->t, 3 * C2_NS_PER_S);
    fsx_fault(x, 0, "hang");
    fsx_fault(x, 1, "hang");
    test_env_run_for(x->t, 10 * C2_NS_PER_S);
    fsx_stop(x);
    fsx_fault(x, 0, "");
    fsx_fault(x, 1, "");
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "a", "hello", 5);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    nothing_waits(x);
    fsx_stop(x);
}

static void
mount__goes_on_in_a_new_generation(void **state)
{
    struct fsx *x = *state;
    for (uint64_t k = 1; k <= 3; k++) {
        fsx_mount(x);
        fsx_put(x, FS_ROOT_INO, "a", "hello", 5);
        assert_int_equal(fsx_sync(x), C2_E_OK);
        assert_int_equal(fsx_status(x).ship.generation, k);
        assert_false(fsx_status(x).fenced);
        if (k == 2)
            fsx_crash(x);
        else
            fsx_unmount(x);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(syncfs__ends_when_everything_is_shipped, setup, teardown),
        cmocka_unit_test_setup_teardown(log__is_shipped_within_its_interval, setup, teardown),
        cmocka_unit_test_setup_teardown(file__is_committed_when_the_clouds_have_the_log, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            close__sync_waits_for_the_log_of_a_file_that_was_committed_before, setup, teardown),
        cmocka_unit_test_setup_teardown(log__without_a_device_key_is_not_shipped, setup, teardown),
        cmocka_unit_test_setup_teardown(log__of_an_idle_volume_does_not_grow, setup, teardown),
        cmocka_unit_test_setup_teardown(log__of_many_small_files_takes_few_objects, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(sync__waits_for_the_clouds, setup, teardown),
        cmocka_unit_test_setup_teardown(close__with_the_clouds_away_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(mount__goes_on_in_a_new_generation, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
