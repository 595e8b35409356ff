/* SPDX-License-Identifier: MIT */
/*
 * Loading from the store: what is asked for name by name costs few reads, what is loaded ahead is
 * right, and one inode that cannot be read is nobody else's affair.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "fs/coord_keys.h"
#include "fs/load.h"
#include "tests/lib/coord_gate.h"
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

/* As rsync does when it compares a tree with what is there. */
static void
lookups__of_1000_names_cost_few_reads(void **state)
{
    struct fsx *x = *state;
    uint64_t d = folder(x, 1000);
    uint64_t before = x->coord->reads;
    look_at_all(x, d, "f", 1000, C2_E_OK);
    /* The folder; some names and inodes alone; the names, and the inodes in eight parts. */
    assert_in_range(x->coord->reads - before, 10, 25);
    before = x->coord->reads;
    look_at_all(x, d, "f", 1000, C2_E_OK);
    assert_int_equal(x->coord->reads, before);
}

static void
lookups__go_on_in_a_folder_of_several_runs(void **state)
{
    struct fsx *x = *state;
    uint64_t d = folder(x, 3000);
    uint64_t before = x->coord->reads;
    look_at_all(x, d, "f", 3000, C2_E_OK);
    assert_in_range(x->coord->reads - before, 25, 90);
}

/* Whoever makes new files in a large folder does not read it. */
static void
lookups__of_names_that_are_not_there_load_nothing_ahead(void **state)
{
    struct fsx *x = *state;
    uint64_t d = folder(x, 20);
    uint64_t before = x->coord->reads;
    look_at_all(x, d, "new", 50, C2_E_NOT_FOUND);
    assert_int_equal(x->coord->reads - before, 51);
}

/* An answer that was on its way, while one of its names was loaded, deleted, committed and dropped
 * from memory, does not bring it back. */
static void
names_ahead__do_not_bring_back_what_was_deleted(void **state)
{
    struct fsx *x = *state;
    x->config.dentries_max = 2048;
    uint64_t d = folder(x, 10);
    struct ck prefix = ck_dentries(d);
    struct coord_gate gate;
    coord_gate_init(&gate, x->coord);
    gate.late = ck_slice(&prefix);
    x->fs->part.coord = &gate.base;
    look_at_all(x, d, "f", 3, C2_E_OK);
    struct fs_attr attr;
    assert_int_equal(fsx_lookup(x, d, "f3", &attr), C2_E_OK);
    assert_non_null(gate.kept);
    assert_int_equal(fsx_unlink(x, d, "f3"), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    look_at_all(x, ROOT, "new", 2100, C2_E_NOT_FOUND);
    coord_gate_let_go(&gate);
    assert_int_equal(fsx_lookup(x, d, "f3", &attr), C2_E_NOT_FOUND);
    assert_int_equal(fsx_lookup(x, d, "f4", &attr), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    x->fs->part.coord = x->coord;
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

struct listening {
    bool done;
    enum c2_err err;
};

static void
content_here(void *arg, enum c2_err err)
{
    struct listening *l = arg;
    assert_false(l->done);
    *l = (struct listening){ .done = true, .err = err };
}

/* Compaction, c2fsctl verify, and another one of those: each hears when the extents are here. */
static void
content__of_one_file_may_be_loaded_for_several(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    struct listening l[3] = { 0 };
    uint64_t ino;
    assert_int_equal(fsx_create(x, ROOT, "a", O_RDWR, &h, &ino), C2_E_OK);
    for (unsigned k = 0; k < 20; k++) { /* more objects than an inode has room for */
        assert_int_equal(fsx_write(x, h, k, "x", 1), C2_E_OK);
        assert_int_equal(fsx_sync(x), C2_E_OK);
    }
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    fsx_drop_cache(x);
    assert_int_equal(fsx_ino(x, ROOT, "a"), ino);
    struct fs_inode *i = fs_inode_peek(x->fs, ino);
    assert_non_null(i);
    assert_null(i->map);
    for (unsigned k = 0; k < 3; k++)
        fs_load_content_for(x->fs, i, content_here, &l[k]);
    for (unsigned k = 0; k < 3; k++) {
        test_env_run_until(x->t, &l[k].done);
        assert_int_equal(l[k].err, C2_E_OK);
    }
    assert_non_null(fs_inode_peek(x->fs, ino)->map);
}

struct loading {
    bool done;
    enum c2_err err;
};

static void
inodes_here(void *arg, enum c2_err err)
{
    *(struct loading *)arg = (struct loading){ .done = true, .err = err };
}

/* Neither what was asked before the end of the mount, nor what is asked after it. */
static void
loads__at_the_end_do_not_wait_for_a_service_that_is_away(void **state)
{
    struct fsx *x = *state;
    struct coord_gate gate;
    uint64_t inos[2], d = folder(x, 2), from_ns;
    struct loading l[2] = { 0 };
    for (uint64_t k = 0; k < 2; k++)
        inos[k] = d + 1 + k;
    coord_gate_init(&gate, x->fs->part.coord);
    gate.mute = true;
    x->fs->part.coord = &gate.base;
    fs_load_inodes_for(x->fs, &inos[0], 1, inodes_here, &l[0]);
    test_env_run_for(x->t, 2 * FS_LOADS_LAST_NS);
    assert_false(l[0].done);
    for (unsigned k = 0; k < 2; k++) {
        from_ns = c2_now_ns(x->env);
        if (k == 0)
            fs_loads_end(x->fs);
        else
            fs_load_inodes_for(x->fs, &inos[1], 1, inodes_here, &l[1]);
        test_env_run_until(x->t, &l[k].done);
        assert_in_range(c2_now_ns(x->env) - from_ns, 0, FS_LOADS_LAST_NS);
        assert_int_equal(l[k].err, C2_E_TIMEOUT);
    }
    fsx_stop(x); /* with whatever else is asked for */
    fsx_mount(x);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(lookups__of_1000_names_cost_few_reads),
        TEST(lookups__go_on_in_a_folder_of_several_runs),
        TEST(lookups__of_names_that_are_not_there_load_nothing_ahead),
        TEST(names_ahead__do_not_bring_back_what_was_deleted),
        TEST(inodes__one_that_is_damaged_leaves_its_neighbours),
        TEST(inodes__that_are_more_than_one_answer_are_replayed),
        TEST(content__of_one_file_may_be_loaded_for_several),
        TEST(loads__at_the_end_do_not_wait_for_a_service_that_is_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
