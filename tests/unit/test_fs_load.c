/* SPDX-License-Identifier: MIT */
/*
 * Loading from the store: inodes whose answer would be too large come in pieces, and one that
 * cannot be read is nobody else's affair.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "fs/coord_keys.h"
#include "tests/lib/fs_fixture.h"

#define ROOT FS_ROOT_INO

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

/* A folder with n files; then a new mount, which has nothing in memory. */
static uint64_t
folder(struct fsx *x, unsigned n)
{
    uint64_t d = fsx_mkdir(x, ROOT, "d");
    for (unsigned k = 0; k < n; k++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "f%u", k);
        struct fs_req r = { .op = FS_MKNOD, .ino = d, .name = name, .mode = 0644 };
        assert_int_equal(fsx_run(x, &r), C2_E_OK);
    }
    fsx_unmount(x);
    fsx_mount(x);
    return d;
}

static void
look_at_all(struct fsx *x, uint64_t dir, const char *first, unsigned n, enum c2_err want)
{
    for (unsigned k = 0; k < n; k++) {
        struct fs_attr attr;
        char name[32];
        (void)snprintf(name, sizeof(name), "%s%u", first, k);
        assert_int_equal(fsx_lookup(x, dir, name, &attr), want);
    }
}

static void
inodes__one_that_is_damaged_leaves_its_neighbours(void **state)
{
    struct fsx *x = *state;
    uint64_t d = folder(x, 100);
    struct fs_attr attr;
    uint64_t bad = fsx_ino(x, d, "f50");
    struct ck key = ck_inode(bad);
    fsx_unmount(x);
    fsx_mount(x);
    const struct coord_op op = { .kind = COORD_PUT,
                                 .key = ck_slice(&key),
                                 .value = c2_slice("nothing that we sealed", 22) };
    fsx_txn(x, &op, 1);
    look_at_all(x, d, "f", 50, C2_E_OK);
    assert_int_equal(fsx_lookup(x, d, "f50", &attr), C2_E_PARSE);
    assert_int_equal(fsx_lookup(x, d, "f51", &attr), C2_E_OK);
}

/* A replay needs all inodes of a group of the journal at once. */
static void
inodes__that_are_more_than_one_answer_are_replayed(void **state)
{
    struct fsx *x = *state;
    uint64_t d = folder(x, 60);
    uint8_t *value = fsx_bytes(1, 32 << 10);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned k = 0; k < 60; k++) {
            char name[16];
            (void)snprintf(name, sizeof(name), "f%u", k);
            struct fs_req r = { .op = FS_SETXATTR, .ino = fsx_ino(x, d, name), .name = "user.a" };
            r.data = c2_slice(value + round, (32 << 10) - 1);
            assert_int_equal(fsx_run(x, &r), C2_E_OK);
        }
        if (round == 0)
            fsx_unmount(x);
        else
            fsx_crash(x);
        fsx_mount(x);
    }
    c2_free(value);
    look_at_all(x, d, "f", 60, C2_E_OK);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(inodes__one_that_is_damaged_leaves_its_neighbours),
        TEST(inodes__that_are_more_than_one_answer_are_replayed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
