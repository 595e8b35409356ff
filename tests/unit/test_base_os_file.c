/* SPDX-License-Identifier: MIT */
/*
 * Blocking file helpers, clocks and variables.
 */
#include "base/os_file.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os_env.h"
#include "tests/lib/test_env.h"

struct fixture {
    char dir[64];
    char *path;
};

static int
setup(void **state)
{
    struct fixture *f = c2_calloc(1, sizeof(*f));
    strcpy(f->dir, "/tmp/c2fs-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->path = c2_asprintf("%s/file", f->dir);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    test_disk_remove_tree(f->dir);
    c2_free(f->path);
    c2_free(f);
    return 0;
}

static void
read_file__appends_all_and_tells_mode_and_owner(void **state)
{
    struct fixture *f = *state;
    static char big[100000];
    memset(big, 'b', sizeof(big));
    test_disk_write_file(f->path, big, sizeof(big));
    assert_int_equal(chmod(f->path, 0640), 0);
    struct c2_buf out = { 0 };
    struct c2_os_file_info info;
    c2_buf_puts(&out, "a");
    assert_int_equal(c2_os_read_file(f->path, sizeof(big), &out, &info), C2_E_OK);
    assert_int_equal(out.len, 1 + sizeof(big));
    assert_int_equal(out.data[0], 'a');
    assert_memory_equal(out.data + 1, big, sizeof(big));
    assert_int_equal(info.mode, 0640);
    assert_int_equal(info.uid, c2_os_user_id());
    assert_int_equal(c2_os_read_file(f->path, sizeof(big) - 1, &out, NULL), C2_E_TOO_LARGE);
    assert_int_equal(c2_os_read_file("/nonexistent", 10, &out, NULL), C2_E_NOT_FOUND);
    assert_int_equal(c2_os_read_file(f->dir, 10, &out, NULL), C2_E_IS_DIR);
    c2_buf_done(&out);
}

static void
list_dir__is_sorted_by_bytes(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = { "b", "B", "10", "9", "a" };
    for (size_t i = 0; i < C2_ARRAY_LEN(names); i++) {
        char *path = c2_asprintf("%s/%s", f->dir, names[i]);
        test_disk_write_file(path, "", 0);
        c2_free(path);
    }
    struct c2_buf out = { 0 };
    assert_int_equal(c2_os_list_dir(f->dir, &out), C2_E_OK);
    assert_true(c2_slice_equal(c2_buf_slice(&out), c2_slice("10\0"
                                                            "9\0B\0a\0b",
                                                            11)));
    assert_int_equal(c2_os_list_dir("/nonexistent", &out), C2_E_NOT_FOUND);
    assert_int_equal(c2_os_list_dir("/dev/null", &out), C2_E_NOT_DIR);
    c2_buf_done(&out);
}

static void
append__adds_to_what_is_there(void **state)
{
    struct fixture *f = *state;
    struct c2_buf out = { 0 };
    struct c2_os_file_info info;
    for (int i = 0; i < 2; i++) {
        int fd;
        assert_int_equal(c2_os_open_append(f->path, &fd), C2_E_OK);
        assert_int_equal(c2_os_write_all(fd, "line\n", 5), C2_E_OK);
        c2_os_close(fd);
    }
    assert_int_equal(c2_os_read_file(f->path, 100, &out, &info), C2_E_OK);
    assert_string_equal(c2_buf_cstr(&out), "line\nline\n");
    assert_int_equal(info.mode, 0600);
    int fd;
    assert_int_equal(c2_os_open_append("/dev/full", &fd), C2_E_OK);
    assert_int_equal(c2_os_write_all(fd, "x", 1), C2_E_NO_SPACE);
    c2_os_close(fd);
    assert_int_equal(c2_os_open_append(f->dir, &fd), C2_E_IS_DIR);
    c2_buf_done(&out);
}

static void
replace_file__leaves_the_new_text_or_the_old_one(void **state)
{
    struct fixture *f = *state;
    C2_AUTO(c2_buf_done) struct c2_buf out = { 0 };
    C2_AUTO(c2_free_auto) char *beside = c2_asprintf("%s.new", f->path);
    struct c2_os_file_info info;
    assert_int_equal(c2_os_replace_file(f->path, c2_slice_str("one, and longer"), 0600), C2_E_OK);
    assert_int_equal(c2_os_replace_file(f->path, c2_slice_str("two"), 0600), C2_E_OK);
    assert_int_equal(access(beside, F_OK), -1);
    assert_int_equal(mkdir(beside, 0700), 0); /* nothing can be written there */
    assert_int_not_equal(c2_os_replace_file(f->path, c2_slice_str("three"), 0600), C2_E_OK);
    assert_int_equal(rmdir(beside), 0);
    assert_int_equal(c2_os_read_file(f->path, 100, &out, &info), C2_E_OK);
    assert_true(c2_slice_equal(c2_buf_slice(&out), c2_slice_str("two")));
    assert_int_equal(info.mode, 0600);
}

static void
scratch__has_no_name_and_gives_back_what_was_written(void **state)
{
    struct fixture *f = *state;
    char bytes[8];
    int fd = -1;
    assert_int_equal(c2_os_open_scratch(f->path, &fd), C2_E_OK);
    assert_int_equal(access(f->path, F_OK), -1);
    assert_int_equal(c2_os_write_all(fd, "0123456789", 10), C2_E_OK);
    assert_int_equal(c2_os_read_at(fd, bytes, 4, 3), C2_E_OK);
    assert_memory_equal(bytes, "3456", 4);
    assert_int_equal(c2_os_read_at(fd, bytes, 4, 7), C2_E_IO); /* it ends before */
    assert_int_equal(c2_os_empty(fd), C2_E_OK);
    assert_int_equal(c2_os_read_at(fd, bytes, 1, 0), C2_E_IO);
    assert_int_equal(c2_os_write_all(fd, "new", 3), C2_E_OK);
    assert_int_equal(c2_os_read_at(fd, bytes, 3, 0), C2_E_OK);
    assert_memory_equal(bytes, "new", 3);
    c2_os_close(fd);
    assert_int_equal(c2_os_open_scratch("/nonexistent/file", &fd), C2_E_NOT_FOUND);
}

static void
free_space__is_that_of_the_disk(void **state)
{
    struct fixture *f = *state;
    uint64_t bytes = 0;
    assert_int_equal(c2_os_free_space(f->dir, &bytes), C2_E_OK);
    assert_true(bytes > 0);
    assert_int_equal(c2_os_free_space("/nonexistent", &bytes), C2_E_NOT_FOUND);
}

static void
current_dir__is_where_we_are(void **state)
{
    struct fixture *f = *state;
    char *before = c2_os_current_dir();
    assert_int_equal(chdir(f->dir), 0);
    char *now = c2_os_current_dir();
    assert_string_equal(now, f->dir);
    assert_int_equal(chdir(before), 0);
    c2_free(now);
    c2_free(before);
}

static void
pages__are_zeroed(void **state)
{
    (void)state;
    static const uint8_t zeros[5000];
    uint8_t *p = c2_os_pages_alloc(5000);
    assert_memory_equal(p, zeros, sizeof(zeros));
    memset(p, 1, 5000);
    c2_os_pages_free(p, 5000);
}

static void
env__variables_that_are_empty_count_as_unset(void **state)
{
    (void)state;
    assert_int_equal(setenv("C2FS_UNIT_TEST", "value", 1), 0);
    assert_string_equal(c2_os_getenv("C2FS_UNIT_TEST"), "value");
    assert_int_equal(setenv("C2FS_UNIT_TEST", "", 1), 0);
    assert_null(c2_os_getenv("C2FS_UNIT_TEST"));
    assert_int_equal(unsetenv("C2FS_UNIT_TEST"), 0);
    assert_null(c2_os_getenv("C2FS_UNIT_TEST"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(read_file__appends_all_and_tells_mode_and_owner),
        CASE(list_dir__is_sorted_by_bytes),
        CASE(append__adds_to_what_is_there),
        CASE(replace_file__leaves_the_new_text_or_the_old_one),
        CASE(scratch__has_no_name_and_gives_back_what_was_written),
        CASE(free_space__is_that_of_the_disk),
        CASE(current_dir__is_where_we_are),
        CASE(pages__are_zeroed),
        CASE(env__variables_that_are_empty_count_as_unset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
