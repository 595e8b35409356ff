/* SPDX-License-Identifier: MIT */
/*
 * The core of a mount: content, journal, transaction groups, packs, crash and remount.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

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
file__reads_back_what_was_written(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "a", "hello", 5);
    fsx_expect(x, FS_ROOT_INO, "a", "hello", 5);
    fsx_unmount(x);
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "a", "hello", 5);
    fsx_stop(x);
}

static void
file__large_survives_remount_byte_for_byte(void **state)
{
    struct fsx *x = *state;
    size_t len = (40u << 20) + 12345;
    uint8_t *data = fsx_bytes(1, len);
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "big", data, len);
    fsx_expect(x, FS_ROOT_INO, "big", data, len);
    fsx_unmount(x);
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "big", data, len);
    fsx_stop(x);
    c2_free(data);
}

/* Sizes cost nothing, so anybody can have many of the largest: they must not be too much for the
 * counter of what the volume holds. */
static void
file__of_the_largest_size_is_committed_however_many_there_are(void **state)
{
    struct fsx *x = *state;
    struct fsx_check c;
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "a", "real", 4);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    uint64_t used = fsx_status(x).used_bytes;
    for (unsigned k = 0; k < 5; k++) { /* the last three in one transaction */
        char name[32];
        snprintf(name, sizeof(name), "sparse%u", k);
        fsx_put(x, FS_ROOT_INO, name, "x", 1);
        struct fs_req r = { .op = FS_SETATTR,
                            .ino = fsx_ino(x, FS_ROOT_INO, name),
                            .valid = FS_SET_SIZE,
                            .attr.size = FS_FILE_SIZE_MAX };
        assert_int_equal(fsx_run(x, &r), C2_E_OK);
        if (k < 2)
            assert_int_equal(fsx_sync(x), C2_E_OK);
    }
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_check(x, &c);
    fsx_drop_cache(x);
    for (unsigned k = 0; k < 5; k++) {
        struct fs_attr attr;
        char name[32];
        snprintf(name, sizeof(name), "sparse%u", k);
        assert_int_equal(fsx_lookup(x, FS_ROOT_INO, name, &attr), C2_E_OK);
        assert_int_equal(attr.size, FS_FILE_SIZE_MAX);
        assert_int_equal(fsx_unlink(x, FS_ROOT_INO, name), C2_E_OK);
    }
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_check(x, &c);
    assert_int_equal(fsx_status(x).used_bytes, used);
    fsx_unmount(x);
    fsx_mount(x);
    assert_int_equal(fsx_status(x).used_bytes, used);
    fsx_stop(x);
}

static void
crash__keeps_every_closed_file(void **state)
{
    struct fsx *x = *state;
    char name[32];
    fsx_mount(x);
    uint64_t d = fsx_mkdir(x, FS_ROOT_INO, "d");
    for (unsigned k = 0; k < 50; k++) {
        uint8_t *data = fsx_bytes(k, 3000 + k);
        snprintf(name, sizeof(name), "f%u", k);
        fsx_put(x, d, name, data, 3000 + k);
        c2_free(data);
    }
    fsx_crash(x);
    fsx_mount(x);
    d = fsx_ino(x, FS_ROOT_INO, "d");
    for (unsigned k = 0; k < 50; k++) {
        uint8_t *data = fsx_bytes(k, 3000 + k);
        snprintf(name, sizeof(name), "f%u", k);
        fsx_expect(x, d, name, data, 3000 + k);
        c2_free(data);
    }
    fsx_unmount(x);
    fsx_mount(x);
    fsx_stop(x);
}

static void
crash__leaves_the_old_file_when_the_new_one_is_not_closed(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "a", "old content", 11);
    fsx_sync(x);
    h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "a"), O_WRONLY | O_TRUNC);
    assert_int_equal(fsx_write(x, h, 0, "ne", 2), C2_E_OK);
    fsx_put(x, FS_ROOT_INO, "other", "1", 1); /* a journal group in between */
    test_env_run_for(x->t, 20 * C2_NS_PER_S);
    fsx_release(x, h);
    fsx_crash(x);
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "a", "old content", 11);
    fsx_expect(x, FS_ROOT_INO, "other", "1", 1);
    fsx_stop(x);
}

static void
counts__small_files_share_packs_and_transactions(void **state)
{
    struct fsx *x = *state;
    char name[32];
    fsx_mount(x);
    for (unsigned k = 0; k < 1000; k++) {
        uint8_t *data = fsx_bytes(k, 16384);
        snprintf(name, sizeof(name), "f%u", k);
        fsx_put(x, FS_ROOT_INO, name, data, 16384);
        c2_free(data);
    }
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_true(fsx_requests(x, PROV_PUT) <= 9);
    struct fs_status s = fsx_status(x);
    assert_true(s.txns <= 4);
    assert_true(s.stored_bytes <= s.object_bytes * 1503 / 1000);
    fsx_drop_cache(x);
    uint64_t gets = fsx_requests(x, PROV_GET);
    uint8_t *data = fsx_bytes(3, 16384);
    fsx_expect(x, FS_ROOT_INO, "f3", data, 16384);
    c2_free(data);
    assert_true(fsx_requests(x, PROV_GET) - gets <= 3);
    gets = fsx_requests(x, PROV_GET);
    for (unsigned k = 0; k < 500; k++) {
        data = fsx_bytes(k, 16384);
        snprintf(name, sizeof(name), "f%u", k);
        fsx_expect(x, FS_ROOT_INO, name, data, 16384);
        c2_free(data);
    }
    assert_int_equal(fsx_requests(x, PROV_GET), gets);
    fsx_stop(x);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(file__reads_back_what_was_written, setup, teardown),
        cmocka_unit_test_setup_teardown(file__large_survives_remount_byte_for_byte, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            file__of_the_largest_size_is_committed_however_many_there_are, setup, teardown),
        cmocka_unit_test_setup_teardown(crash__keeps_every_closed_file, setup, teardown),
        cmocka_unit_test_setup_teardown(crash__leaves_the_old_file_when_the_new_one_is_not_closed,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(counts__small_files_share_packs_and_transactions, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
