/* SPDX-License-Identifier: MIT */
/*
 * What a store is opened with is on the disk: a process may have been killed between LMDB's last
 * write and the moment when it was durable, and the power may fail after the next one has acted on
 * what it found.
 *
 * LMDB makes its file durable by fdatasync and by a descriptor with O_DSYNC. Both are seen here,
 * and what they leave is the disk; the file itself is the page cache.
 */
#include "metadata/kv.h"

#include "base/alloc.h"
#include "base/wire.h"
#include "tests/lib/test_env.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#define MAP_SIZE (64u << 20)
#define FILE_MAX ((size_t)1 << 20)

struct rig {
    struct test_env *t;
    char *path, *data, *disk;
    bool named; /* the name of the file is on the disk */
};

/* The one of the running test; the calls below are the program's. */
static struct rig *watched;

static void
copy_file(const char *from, const char *to)
{
    static uint8_t bytes[FILE_MAX];
    FILE *f = fopen(from, "re");
    assert_non_null(f);
    size_t len = fread(bytes, 1, sizeof bytes, f);
    assert_true(len < sizeof bytes);
    assert_int_equal(fclose(f), 0);
    test_disk_write_file(to, bytes, len);
}

static bool
is_watched(int fd)
{
    struct stat a, b;
    return watched != NULL && fstat(fd, &a) == 0 && stat(watched->data, &b) == 0 &&
           a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* Called by LMDB. */
int fdatasync_called(int fd) __asm__("fdatasync");
int fsync_called(int fd) __asm__("fsync");
ssize_t pwrite_called(int fd, const void *bytes, size_t len, off_t at) __asm__("pwrite");

int
fdatasync_called(int fd)
{
    if (is_watched(fd))
        copy_file(watched->data, watched->disk);
    return (int)syscall(SYS_fdatasync, fd);
}

int
fsync_called(int fd)
{
    struct stat a, b, c;
    if (watched != NULL && fstat(fd, &a) == 0 && stat(watched->path, &b) == 0)
        watched->named = watched->named || (a.st_ino == b.st_ino && stat(watched->data, &c) == 0);
    return (int)syscall(SYS_fsync, fd);
}

ssize_t
pwrite_called(int fd, const void *bytes, size_t len, off_t at)
{
    ssize_t n = syscall(SYS_pwrite64, fd, bytes, len, at);
    if (is_watched(fd) && (fcntl(fd, F_GETFL) & O_DSYNC) != 0)
        copy_file(watched->data, watched->disk);
    return n;
}

static int
set_up(void **state)
{
    struct rig *g = c2_calloc(1, sizeof *g);
    g->t = test_env_new(1);
    g->path = test_env_path(g->t, "store");
    g->data = c2_asprintf("%s/data.mdb", g->path);
    g->disk = c2_asprintf("%s/on-disk", g->path);
    *state = g;
    return 0;
}

static int
tear_down(void **state)
{
    struct rig *g = *state;
    watched = NULL;
    test_env_free(g->t);
    c2_free(g->path);
    c2_free(g->data);
    c2_free(g->disk);
    c2_free(g);
    return 0;
}

static struct kv *
open_kv(const struct rig *g, bool create)
{
    struct kv *kv = NULL;
    char *error = NULL;
    if (kv_open(g->path, MAP_SIZE, create, &kv, &error) != C2_E_OK)
        fail_msg("%s", error);
    return kv;
}

static void
put(struct kv *kv, const char *value)
{
    struct kv_txn *txn = NULL;
    assert_int_equal(kv_begin(kv, true, &txn), C2_E_OK);
    assert_int_equal(kv_put(txn, KV_DATA, c2_slice_str("key"), c2_slice_str(value)), C2_E_OK);
    assert_int_equal(kv_commit(txn), C2_E_OK);
}

static bool
has(struct kv *kv, const char *value)
{
    struct kv_txn *txn = NULL;
    struct c2_slice found = { 0 };
    assert_int_equal(kv_begin(kv, false, &txn), C2_E_OK);
    assert_int_equal(kv_get(txn, KV_DATA, c2_slice_str("key"), &found), C2_E_OK);
    bool same = c2_slice_equal(found, c2_slice_str(value));
    kv_abort(txn);
    return same;
}

static void
fail_power(const struct rig *g)
{
    watched = NULL;
    assert_int_equal(rename(g->disk, g->data), 0);
}

static void
commit__is_on_the_disk_when_it_returns(void **state)
{
    struct rig *g = *state;
    struct kv *kv = open_kv(g, true);
    watched = g;
    put(kv, "first");
    put(kv, "second");
    kv_close(kv);
    fail_power(g);
    kv = open_kv(g, false);
    assert_true(has(kv, "second"));
    kv_close(kv);
}

static void
open__makes_the_name_of_a_new_file_durable(void **state)
{
    struct rig *g = *state;
    watched = g;
    struct kv *kv = open_kv(g, true);
    assert_true(g->named);
    kv_close(kv);
}

static void
open__shows_what_is_on_the_disk(void **state)
{
    struct rig *g = *state;
    struct kv *kv = open_kv(g, true);
    watched = g;
    put(kv, "first");
    watched = NULL; /* nothing of the next one gets there: its process is killed */
    put(kv, "second");
    kv_close(kv);
    watched = g;
    kv = open_kv(g, false);
    bool second = has(kv, "second");
    kv_close(kv);
    assert_true(second);
    fail_power(g);
    kv = open_kv(g, false);
    assert_true(has(kv, "second"));
    kv_close(kv);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(commit__is_on_the_disk_when_it_returns),
        T(open__makes_the_name_of_a_new_file_durable),
        T(open__shows_what_is_on_the_disk),
    };
    return cmocka_run_group_tests_name("metadata_kv", tests, NULL, NULL);
}
