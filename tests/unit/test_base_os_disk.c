/* SPDX-License-Identifier: MIT */
/*
 * The disk verbs on real files.
 */
#include "base/os_disk.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tests/lib/test_env.h"

struct fixture {
    char dir[64];
    char *path[8]; /* a ring */
    unsigned npaths;
};

static int
setup(void **state)
{
    struct fixture *f = c2_calloc(1, sizeof(*f));
    strcpy(f->dir, "/tmp/c2fs-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    test_disk_remove_tree(f->dir);
    for (size_t i = 0; i < C2_ARRAY_LEN(f->path); i++)
        c2_free(f->path[i]);
    c2_free(f);
    return 0;
}

/* Valid for the next seven calls. */
static const char *
in(struct fixture *f, const char *name)
{
    char **p = &f->path[f->npaths++ % 8];
    c2_free(*p);
    *p = c2_asprintf("%s/%s", f->dir, name);
    return *p;
}

static enum c2_err
run(struct c2_disk_req *r)
{
    c2_os_disk_run(r);
    return r->err;
}

static enum c2_err
simple(enum c2_disk_verb verb, const char *path)
{
    return run(&(struct c2_disk_req){ .verb = verb, .path = path });
}

static enum c2_err
write_text(const char *path, const char *text, unsigned flags)
{
    struct c2_slice iov = c2_slice_str(text);
    return run(&(struct c2_disk_req){
        .verb = C2_DISK_WRITE, .path = path, .iov = &iov, .niov = 1, .flags = flags });
}

static void
check_content(const char *path, const char *expected)
{
    struct c2_disk_req r = { .verb = C2_DISK_READ, .path = path, .len_max = 1 << 20 };
    assert_int_equal(run(&r), C2_E_OK);
    assert_true(c2_slice_equal(c2_blob_slice(r.reply), c2_slice_str(expected)));
    assert_int_equal(r.size, strlen(expected));
    c2_blob_unref(r.reply);
}

/* "a/,b," with MARK_DIRS; in byte order. */
static void
check_names(const char *path, const char *expected)
{
    struct c2_disk_req r = { .verb = C2_DISK_LIST, .path = path, .flags = C2_DISK_MARK_DIRS };
    char *names[32], text[512] = "";
    size_t n = 0;
    assert_int_equal(run(&r), C2_E_OK);
    for (size_t at = 0; at < r.reply->len; at += strlen(names[n - 1]) + 1) {
        assert_true(n < C2_ARRAY_LEN(names));
        names[n++] = (char *)r.reply->data + at;
    }
    for (size_t done = 0; done < n; done++) {
        size_t min = done;
        for (size_t i = done; i < n; i++)
            min = strcmp(names[i], names[min]) < 0 ? i : min;
        char *swap = names[min];
        names[min] = names[done];
        names[done] = swap;
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s,", names[done]);
    }
    assert_string_equal(text, expected);
    c2_blob_unref(r.reply);
}

static void
write__replaces_a_file_whole(void **state)
{
    struct fixture *f = *state;
    const char *path = in(f, "file");
    assert_int_equal(write_text(path, "first version", 0), C2_E_OK);
    check_content(path, "first version");
    assert_int_equal(write_text(path, "2nd", C2_DISK_DURABLE), C2_E_OK);
    check_content(path, "2nd");
    check_names(f->dir, "file,"); /* nothing left over */
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void
write__excl_never_replaces(void **state)
{
    struct fixture *f = *state;
    const char *path = in(f, "file");
    assert_int_equal(write_text(path, "one", C2_DISK_EXCL), C2_E_OK);
    assert_int_equal(write_text(path, "two", C2_DISK_EXCL), C2_E_EXISTS);
    check_content(path, "one");
    check_names(f->dir, "file,");
}

static void
write__makes_directories_on_request(void **state)
{
    struct fixture *f = *state;
    const char *path = in(f, "a/b/c/file");
    assert_int_equal(write_text(path, "x", 0), C2_E_NOT_FOUND);
    check_names(f->dir, "");
    assert_int_equal(write_text(path, "x", C2_DISK_MAKE_DIRS | C2_DISK_DURABLE), C2_E_OK);
    check_content(path, "x");
    struct stat st;
    assert_int_equal(stat(in(f, "a/b"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(write_text(in(f, "a/b/c/file/below"), "x", C2_DISK_MAKE_DIRS), C2_E_NOT_DIR);
}

static void
write__joins_its_parts(void **state)
{
    struct fixture *f = *state;
    const char *path = in(f, "file");
    struct c2_slice iov[C2_DISK_IOV_MAX];
    struct c2_buf expected = { 0 };
    for (size_t i = 0; i < C2_DISK_IOV_MAX; i++) {
        const char *part = i % 3 == 0 ? "" : i % 3 == 1 ? "ab" : "cdef";
        iov[i] = c2_slice_str(part);
        c2_buf_puts(&expected, part);
    }
    struct c2_disk_req r = {
        .verb = C2_DISK_WRITE, .path = path, .iov = iov, .niov = C2_DISK_IOV_MAX
    };
    assert_int_equal(run(&r), C2_E_OK);
    check_content(path, c2_buf_cstr(&expected));
    c2_buf_done(&expected);
    r.niov = 0;
    assert_int_equal(run(&r), C2_E_OK);
    check_content(path, "");
}

static void
write__over_a_directory_leaves_nothing_behind(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(simple(C2_DISK_MKDIR, in(f, "dir/sub")), C2_E_OK);
    assert_int_equal(write_text(in(f, "dir"), "x", 0), C2_E_IS_DIR);
    check_names(f->dir, "dir/,");
}

static void
open__follows_its_flags(void **state)
{
    struct fixture *f = *state;
    const char *path = in(f, "file");
    struct c2_disk_req r = { .verb = C2_DISK_OPEN, .path = path };
    assert_int_equal(run(&r), C2_E_NOT_FOUND);
    r.flags = C2_DISK_CREATE | C2_DISK_EXCL;
    assert_int_equal(run(&r), C2_E_OK);
    struct c2_disk_req c = { .verb = C2_DISK_CLOSE, .file = r.file };
    assert_int_equal(run(&c), C2_E_OK);
    assert_int_equal(run(&r), C2_E_EXISTS);
    r.flags = C2_DISK_READ_ONLY;
    assert_int_equal(run(&r), C2_E_OK);
    struct c2_slice x = c2_slice_str("x");
    struct c2_disk_req w = { .verb = C2_DISK_PWRITE, .file = r.file, .iov = &x, .niov = 1 };
    assert_int_equal(run(&w), C2_E_BAD_HANDLE);
    c.file = r.file;
    assert_int_equal(run(&c), C2_E_OK);
    assert_int_equal(symlink(path, in(f, "link")), 0);
    r.path = in(f, "link");
    assert_int_equal(run(&r), C2_E_LOOP);
}

/* The null device takes every byte and cannot be synced: the error is the sync's. */
static void
file__a_durable_write_is_synced(void **state)
{
    (void)state;
    struct c2_slice part = c2_slice_str("x");
    struct c2_disk_req r = { .verb = C2_DISK_OPEN, .path = "/dev/null" };
    assert_int_equal(run(&r), C2_E_OK);
    struct c2_disk_req w = { .verb = C2_DISK_PWRITE, .file = r.file, .iov = &part, .niov = 1 };
    assert_int_equal(run(&w), C2_E_OK);
    w.flags = C2_DISK_DURABLE;
    assert_int_equal(run(&w), C2_E_INVALID);
    r = (struct c2_disk_req){ .verb = C2_DISK_CLOSE, .file = r.file };
    assert_int_equal(run(&r), C2_E_OK);
}

static void
file__reads_and_writes_at_offsets(void **state)
{
    struct fixture *f = *state;
    struct c2_slice parts[] = { c2_slice_str("hello "), c2_slice(NULL, 0), c2_slice_str("world") };
    struct c2_disk_req o = { .verb = C2_DISK_OPEN, .path = in(f, "file"), .flags = C2_DISK_CREATE };
    assert_int_equal(run(&o), C2_E_OK);
    struct c2_disk_req r = {
        .verb = C2_DISK_PWRITE, .file = o.file, .offset = 3, .iov = parts, .niov = 3
    };
    assert_int_equal(run(&r), C2_E_OK);
    r = (struct c2_disk_req){ .verb = C2_DISK_SYNC, .file = o.file };
    assert_int_equal(run(&r), C2_E_OK);
    r = (struct c2_disk_req){ .verb = C2_DISK_PREAD, .file = o.file, .offset = 9, .len_max = 100 };
    assert_int_equal(run(&r), C2_E_OK);
    assert_true(c2_slice_equal(c2_blob_slice(r.reply), c2_slice_str("world")));
    c2_blob_unref(r.reply);
    r = (struct c2_disk_req){ .verb = C2_DISK_PREAD, .file = o.file, .offset = 1000, .len_max = 9 };
    assert_int_equal(run(&r), C2_E_OK);
    assert_int_equal(r.reply->len, 0);
    c2_blob_unref(r.reply);
    r = (struct c2_disk_req){ .verb = C2_DISK_TRUNCATE, .file = o.file, .offset = 5 };
    assert_int_equal(run(&r), C2_E_OK);
    r = (struct c2_disk_req){ .verb = C2_DISK_PREAD, .file = o.file, .len_max = 100 };
    assert_int_equal(run(&r), C2_E_OK);
    assert_true(c2_slice_equal(c2_blob_slice(r.reply), c2_slice("\0\0\0he", 5)));
    c2_blob_unref(r.reply);
    r = (struct c2_disk_req){ .verb = C2_DISK_CLOSE, .file = o.file };
    assert_int_equal(run(&r), C2_E_OK);
    r.verb = C2_DISK_PREAD;
    r.len_max = 1;
    assert_int_equal(run(&r), C2_E_BAD_HANDLE);
    assert_null(r.reply);
}

static void
read__gives_ranges_and_the_whole_size(void **state)
{
    struct fixture *f = *state;
    const char *path = in(f, "file");
    assert_int_equal(write_text(path, "0123456789", 0), C2_E_OK);
    static const struct {
        uint64_t offset;
        size_t len_max;
        const char *expected;
    } cases[] = { { 0, 100, "0123456789" },
                  { 0, 10, "0123456789" },
                  { 0, 4, "0123" },
                  { 8, 4, "89" },
                  { 10, 4, "" },
                  { 99, 4, "" },
                  { 5, 0, "" } };
    for (size_t i = 0; i < C2_ARRAY_LEN(cases); i++) {
        struct c2_disk_req r = { .verb = C2_DISK_READ,
                                 .path = path,
                                 .offset = cases[i].offset,
                                 .len_max = cases[i].len_max };
        assert_int_equal(run(&r), C2_E_OK);
        assert_true(c2_slice_equal(c2_blob_slice(r.reply), c2_slice_str(cases[i].expected)));
        assert_int_equal(r.size, 10);
        c2_blob_unref(r.reply);
    }
    struct c2_disk_req r = { .verb = C2_DISK_READ, .path = f->dir, .len_max = 9 };
    assert_int_equal(run(&r), C2_E_IS_DIR);
    r.path = in(f, "absent");
    assert_int_equal(run(&r), C2_E_NOT_FOUND);
    assert_null(r.reply);
}

static void
stat__tells_size_time_and_kind(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(write_text(in(f, "file"), "12345", 0), C2_E_OK);
    struct c2_disk_req r = { .verb = C2_DISK_STAT, .path = in(f, "file"), .is_dir = true };
    assert_int_equal(run(&r), C2_E_OK);
    assert_int_equal(r.size, 5);
    assert_true(r.mtime_ns > 1600000000 * C2_NS_PER_S);
    assert_false(r.is_dir);
    r.path = f->dir;
    assert_int_equal(run(&r), C2_E_OK);
    assert_true(r.is_dir);
    r.path = in(f, "absent");
    assert_int_equal(run(&r), C2_E_NOT_FOUND);
    r = (struct c2_disk_req){ .verb = C2_DISK_STATFS, .path = f->dir };
    assert_int_equal(run(&r), C2_E_OK);
    assert_true(r.size > 0 && r.free_bytes <= r.size);
}

static void
names__are_made_listed_moved_and_removed(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(simple(C2_DISK_MKDIR, in(f, "d/e")), C2_E_OK);
    assert_int_equal(simple(C2_DISK_MKDIR, in(f, "d/e")), C2_E_OK);
    assert_int_equal(simple(C2_DISK_SYNC_DIR, in(f, "d")), C2_E_OK);
    assert_int_equal(write_text(in(f, "d/one"), "1", 0), C2_E_OK);
    check_names(in(f, "d"), "e/,one,");
    assert_int_equal(run(&(struct c2_disk_req){
                         .verb = C2_DISK_RENAME, .path = in(f, "d/one"), .path2 = in(f, "d/two") }),
                     C2_E_OK);
    check_names(in(f, "d"), "e/,two,");
    assert_int_equal(simple(C2_DISK_RMDIR, in(f, "d")), C2_E_NOT_EMPTY);
    assert_int_equal(simple(C2_DISK_UNLINK, in(f, "d/two")), C2_E_OK);
    assert_int_equal(simple(C2_DISK_UNLINK, in(f, "d/two")), C2_E_NOT_FOUND);
    assert_int_equal(simple(C2_DISK_RMDIR, in(f, "d/e")), C2_E_OK);
    check_names(in(f, "d"), "");
    assert_int_equal(write_text(in(f, "file"), "x", 0), C2_E_OK);
    assert_int_equal(simple(C2_DISK_MKDIR, in(f, "file")), C2_E_NOT_DIR);
    assert_int_equal(simple(C2_DISK_SYNC_DIR, in(f, "absent")), C2_E_NOT_FOUND);
}

static void
list__is_bounded(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(write_text(in(f, "abc"), "", 0), C2_E_OK);
    assert_int_equal(write_text(in(f, "def"), "", 0), C2_E_OK);
    struct c2_disk_req r = { .verb = C2_DISK_LIST, .path = f->dir, .len_max = 8 };
    assert_int_equal(run(&r), C2_E_OK);
    assert_int_equal(r.reply->len, 8);
    c2_blob_unref(r.reply);
    r.len_max = 7;
    assert_int_equal(run(&r), C2_E_TOO_LARGE);
    assert_null(r.reply);
    r.path = in(f, "absent");
    assert_int_equal(run(&r), C2_E_NOT_FOUND);
}

static void
write__reports_a_full_disk(void **state)
{
    (void)state;
    struct c2_disk_req r = { .verb = C2_DISK_OPEN, .path = "/dev/full" };
    assert_int_equal(run(&r), C2_E_OK);
    struct c2_slice x = c2_slice_str("x");
    struct c2_disk_req w = { .verb = C2_DISK_PWRITE, .file = r.file, .iov = &x, .niov = 1 };
    assert_int_equal(run(&w), C2_E_NO_SPACE);
    r.verb = C2_DISK_CLOSE;
    assert_int_equal(run(&r), C2_E_OK);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(write__replaces_a_file_whole),
        CASE(write__excl_never_replaces),
        CASE(write__makes_directories_on_request),
        CASE(write__joins_its_parts),
        CASE(write__over_a_directory_leaves_nothing_behind),
        CASE(open__follows_its_flags),
        CASE(file__a_durable_write_is_synced),
        CASE(file__reads_and_writes_at_offsets),
        CASE(read__gives_ranges_and_the_whole_size),
        CASE(stat__tells_size_time_and_kind),
        CASE(names__are_made_listed_moved_and_removed),
        CASE(list__is_bounded),
        CASE(write__reports_a_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
