/* SPDX-License-Identifier: MIT */
/*
 * Reading directories: every entry once, whatever size the answers have and whatever changes
 * meanwhile, from the store, from memory and from both.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "fs/coord_keys.h"
#include "tests/lib/fs_fixture.h"

#define ROOT      FS_ROOT_INO
#define NAMES_MAX 4096

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

static void
remount(struct fsx *x)
{
    fsx_unmount(x);
    fsx_mount(x);
}

/* A listing in progress: names f0, f1, ... are counted by their number. */
struct listing {
    struct fs_req r;
    struct fs_handle *handle;
    unsigned per_answer; /* entries that fit */
    unsigned n;          /* in this answer */
    unsigned total, dots;
    uint64_t cookie;
    unsigned seen[NAMES_MAX];
    unsigned with_attr;
    bool plus;
    uint64_t dotdot;
};

static bool
take(struct fs_req *r, const struct fs_dirent *e)
{
    struct listing *l = C2_CONTAINER_OF(r, struct listing, r);
    if (l->n == l->per_answer)
        return false;
    assert_true(e->cookie > l->cookie || e->cookie == 0);
    assert_true(e->cookie < 1ull << 63);
    l->n++;
    l->cookie = e->cookie;
    if (e->name[0] == '.') {
        l->dots++;
        assert_null(e->attr);
        if (strcmp(e->name, "..") == 0)
            l->dotdot = e->ino;
        return true;
    }
    unsigned long number = strtoul(e->name + 1, NULL, 10);
    assert_true(number < NAMES_MAX);
    l->seen[number]++;
    l->total++;
    if (e->attr != NULL) {
        assert_int_equal(e->attr->ino, e->ino);
        assert_int_equal(e->attr->mode & S_IFMT, e->type);
        l->with_attr++;
    }
    return true;
}

static const struct fs_req_ops *list_ops(void);

static struct listing *
begin(struct fsx *x, uint64_t dir, unsigned per_answer, bool plus)
{
    struct listing *l = c2_calloc(1, sizeof(*l));
    struct fs_req open = { .op = FS_OPENDIR, .ino = dir };
    assert_int_equal(fsx_run(x, &open), C2_E_OK);
    l->handle = open.handle;
    l->per_answer = per_answer;
    l->plus = plus;
    return l;
}

/* One answer; false at the end. */
static bool
next(struct fsx *x, struct listing *l)
{
    l->n = 0;
    l->r = (struct fs_req){ .ops = list_ops(), .op = FS_READDIR, .handle = l->handle };
    l->r.off = l->cookie;
    l->r.plus = l->plus;
    assert_int_equal(fsx_run(x, &l->r), C2_E_OK);
    return l->n > 0;
}

static void
end(struct fsx *x, struct listing *l)
{
    struct fs_req r = { .op = FS_RELEASEDIR, .handle = l->handle };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    c2_free(l);
}

static void
done(struct fs_req *r)
{
    *(bool *)r->priv = true;
}

static const struct fs_req_ops *
list_ops(void)
{
    static const struct fs_req_ops ops = { .done = done, .dirent = take };
    return &ops;
}

static void
make(struct fsx *x, uint64_t dir, unsigned from, unsigned to)
{
    for (unsigned k = from; k < to; k++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "f%u", k);
        struct fs_req r = { .op = FS_MKNOD, .ino = dir, .name = name, .mode = 0644 };
        assert_int_equal(fsx_run(x, &r), C2_E_OK);
    }
}

static void
drop(struct fsx *x, uint64_t dir, unsigned k)
{
    char name[16];
    (void)snprintf(name, sizeof(name), "f%u", k);
    assert_int_equal(fsx_unlink(x, dir, name), C2_E_OK);
}

static void
expect_range(const struct listing *l, unsigned from, unsigned to)
{
    for (unsigned k = from; k < to; k++)
        if (l->seen[k] != 1)
            fail_msg("f%u was listed %u times", k, l->seen[k]);
}

static void
readdir__lists_every_entry_once_in_answers_of_any_size(void **state)
{
    struct fsx *x = *state;
    static const unsigned sizes[] = { 1, 2, 3, 7, 25, 1000, 5000 };
    uint64_t d = fsx_mkdir(x, ROOT, "d");
    make(x, d, 0, 60);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned k = 0; k < C2_ARRAY_LEN(sizes); k++) {
            struct listing *l = begin(x, d, sizes[k], k % 2 == 1);
            while (next(x, l))
                ;
            assert_int_equal(l->total, 60);
            assert_int_equal(l->dots, 2);
            assert_int_equal(l->dotdot, ROOT);
            expect_range(l, 0, 60);
            end(x, l);
        }
        remount(x); /* the second round reads the store */
    }
}

static void
readdir__merges_the_store_with_what_is_in_memory_only(void **state)
{
    struct fsx *x = *state;
    uint64_t d = fsx_mkdir(x, ROOT, "d");
    make(x, d, 0, 40);
    remount(x);
    make(x, d, 40, 80);
    for (unsigned k = 0; k < 80; k += 4)
        drop(x, d, k); /* some of either */
    struct listing *l = begin(x, d, 9, false);
    while (next(x, l))
        ;
    assert_int_equal(l->total, 60);
    for (unsigned k = 0; k < 80; k++)
        assert_int_equal(l->seen[k], k % 4 == 0 ? 0 : 1);
    end(x, l);
}

static void
readdir__more_than_one_run_of_the_store(void **state)
{
    struct fsx *x = *state;
    uint64_t d = fsx_mkdir(x, ROOT, "d");
    make(x, d, 0, 2500);
    remount(x);
    struct listing *l = begin(x, d, 100, false);
    while (next(x, l))
        ;
    assert_int_equal(l->total, 2500);
    expect_range(l, 0, 2500);
    end(x, l);
}

static void
readdir__what_stays_is_listed_once_while_others_come_and_go(void **state)
{
    struct fsx *x = *state;
    uint64_t d = fsx_mkdir(x, ROOT, "d");
    make(x, d, 0, 300);
    remount(x);
    struct listing *l = begin(x, d, 10, false);
    unsigned fresh = 1000;
    for (unsigned k = 0; next(x, l); k++) {
        make(x, d, fresh, fresh + 3);
        fresh += 3;
        drop(x, d, k); /* f0, f1, ...: listed or not, both are right */
        if (k % 7 == 0)
            assert_int_equal(fsx_sync(x), C2_E_OK); /* memory becomes clean, the store changes */
    }
    expect_range(l, 100, 300); /* were there all the time */
    for (unsigned k = 0; k < NAMES_MAX; k++)
        assert_true(l->seen[k] <= 1);
    end(x, l);
}

static void
readdir__rm_r_while_it_lists_finds_everything(void **state)
{
    struct fsx *x = *state;
    uint64_t d = fsx_mkdir(x, ROOT, "d");
    make(x, d, 0, 150);
    remount(x);
    struct listing *l = begin(x, d, 20, false);
    unsigned removed = 0;
    while (next(x, l)) {
        for (unsigned k = 0; k < 150; k++) {
            if (l->seen[k] == 1) {
                drop(x, d, k);
                l->seen[k] = 100;
                removed++;
            }
        }
    }
    assert_int_equal(removed, 150);
    end(x, l);
    assert_int_equal(fsx_rmdir(x, ROOT, "d"), C2_E_OK);
}

static void
readdir__from_the_start_again_sees_what_is_new(void **state)
{
    struct fsx *x = *state;
    uint64_t d = fsx_mkdir(x, ROOT, "d");
    make(x, d, 0, 5);
    remount(x);
    struct listing *l = begin(x, d, 100, false);
    while (next(x, l))
        ;
    make(x, d, 5, 9);
    drop(x, d, 0);
    l->cookie = 0; /* rewinddir */
    l->total = 0;
    memset(l->seen, 0, sizeof(l->seen));
    while (next(x, l))
        ;
    assert_int_equal(l->total, 8);
    expect_range(l, 1, 9);
    end(x, l);
}

static void
readdirplus__gives_attributes_from_one_read_of_the_store(void **state)
{
    struct fsx *x = *state;
    uint64_t d = fsx_mkdir(x, ROOT, "d");
    make(x, d, 0, 100);
    remount(x);
    uint64_t before = x->coord->reads;
    struct listing *l = begin(x, d, 25, true);
    while (next(x, l))
        ;
    assert_int_equal(l->with_attr, 100);
    /* The directory, its entries, its inodes; not one read per entry. */
    assert_true(x->coord->reads - before <= 4);
    end(x, l);
}

/* Attributes of a file have up to 36 KiB: those of 100 files do not fit one answer of the store. */
static void
readdirplus__of_large_inodes_reads_them_in_pieces(void **state)
{
    struct fsx *x = *state;
    uint64_t d = fsx_mkdir(x, ROOT, "d");
    make(x, d, 0, 100);
    uint8_t *value = fsx_bytes(1, 32 << 10);
    for (unsigned k = 0; k < 100; k++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "f%u", k);
        struct fs_req r = { .op = FS_SETXATTR, .ino = fsx_ino(x, d, name), .name = "user.a" };
        r.data = c2_slice(value, 32 << 10);
        assert_int_equal(fsx_run(x, &r), C2_E_OK);
    }
    c2_free(value);
    remount(x);
    struct listing *l = begin(x, d, 1000, true);
    while (next(x, l))
        ;
    assert_int_equal(l->with_attr, 100);
    end(x, l);
}

static void
readdir__a_removed_directory_has_no_entries(void **state)
{
    struct fsx *x = *state;
    uint64_t d = fsx_mkdir(x, ROOT, "d");
    struct listing *l = begin(x, d, 10, false);
    assert_int_equal(fsx_rmdir(x, ROOT, "d"), C2_E_OK);
    assert_false(next(x, l));
    end(x, l);
}

static void
readdir__an_interrupted_one_can_be_repeated(void **state)
{
    struct fsx *x = *state;
    uint64_t d = fsx_mkdir(x, ROOT, "d");
    make(x, d, 0, 10);
    remount(x);
    struct listing *l = begin(x, d, 100, false);
    l->r = (struct fs_req){ .ops = list_ops(), .op = FS_READDIR, .handle = l->handle };
    fsx_start(x, &l->r);
    assert_false(fsx_answered(&l->r)); /* it waits for the store */
    fs_interrupt(x->fs, &l->r);
    fsx_wait(x, &l->r);
    assert_int_equal(l->r.err, C2_E_INTERRUPTED);
    while (next(x, l))
        ;
    expect_range(l, 0, 10);
    end(x, l);
}

/* One record that cannot be read does not hide the others. */
static void
readdirplus__lists_those_beside_a_broken_record(void **state)
{
    struct fsx *x = *state;
    struct fs_attr attr;
    uint64_t d = fsx_mkdir(x, ROOT, "d");
    make(x, d, 0, 20);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    struct ck key = ck_inode(fsx_ino(x, d, "f7"));
    const struct coord_op op = { .kind = COORD_PUT,
                                 .key = ck_slice(&key),
                                 .value = c2_slice_str("nothing that we sealed") };
    fsx_txn(x, &op, 1);
    fsx_drop_cache(x);
    for (unsigned turn = 0; turn < 2; turn++) {
        struct listing *l = begin(x, d, 100, true);
        while (next(x, l)) {
        }
        expect_range(l, 0, 20);
        assert_int_equal(l->with_attr, 19);
        end(x, l);
    }
    assert_int_equal(fsx_lookup(x, d, "f8", &attr), C2_E_OK);
    assert_int_not_equal(fsx_lookup(x, d, "f7", &attr), C2_E_OK);
    assert_int_not_equal(fsx_lookup(x, d, "f7", &attr), C2_E_NOT_FOUND);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(readdir__lists_every_entry_once_in_answers_of_any_size),
        TEST(readdir__merges_the_store_with_what_is_in_memory_only),
        TEST(readdir__more_than_one_run_of_the_store),
        TEST(readdir__what_stays_is_listed_once_while_others_come_and_go),
        TEST(readdir__rm_r_while_it_lists_finds_everything),
        TEST(readdir__from_the_start_again_sees_what_is_new),
        TEST(readdirplus__gives_attributes_from_one_read_of_the_store),
        TEST(readdirplus__of_large_inodes_reads_them_in_pieces),
        TEST(readdirplus__lists_those_beside_a_broken_record),
        TEST(readdir__a_removed_directory_has_no_entries),
        TEST(readdir__an_interrupted_one_can_be_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
