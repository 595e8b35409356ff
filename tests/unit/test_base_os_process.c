/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/os_process.h"

static void
start_daemon__waits_for_the_report_of_the_child(void **state)
{
    (void)state;
    struct c2_os_start s;
    int hold[2];
    assert_int_equal(pipe(hold), 0);
    assert_int_equal(c2_os_start_daemon(&s), C2_E_OK);
    if (!s.parent) {
        char c;
        close(hold[1]);
        c2_os_report(&s.report_fd, 0, "12 is not a number of a port");
        (void)!read(hold[0], &c, 1); /* a daemon goes on */
        _exit(s.report_fd == -1 ? 0 : 1);
    }
    assert_true(s.reported);
    assert_int_equal(s.code, 0);
    assert_string_equal(s.text, "12 is not a number of a port");
    close(hold[0]);
    close(hold[1]);
    int status = 0;
    assert_true(wait(&status) > 0);
    assert_int_equal(status, 0);
}

static void
start_daemon__of_a_child_that_reports_failure_nothing_is_left(void **state)
{
    (void)state;
    struct c2_os_start s;
    assert_int_equal(c2_os_start_daemon(&s), C2_E_OK);
    if (!s.parent) {
        c2_os_report(&s.report_fd, 7, "it does not work");
        usleep(100000); /* takes down what it had */
        _exit(5);
    }
    assert_true(s.reported);
    assert_int_equal(s.code, 7);
    assert_string_equal(s.text, "it does not work");
    assert_int_equal(wait(NULL), -1);
    assert_int_equal(errno, ECHILD);
}

static void
start_daemon__tells_how_a_child_without_a_word_ended(void **state)
{
    (void)state;
    struct c2_os_start s;
    assert_int_equal(c2_os_start_daemon(&s), C2_E_OK);
    if (!s.parent)
        _exit(3);
    assert_false(s.reported);
    assert_true(WIFEXITED(s.status));
    assert_int_equal(WEXITSTATUS(s.status), 3);
}

static void
is_mapped__knows_where_a_file_is(void **state)
{
    (void)state;
    char path[] = "/tmp/c2fs-mapped-XXXXXX", other[] = "/tmp/c2fs-mapped-XXXXXX";
    size_t len = 1u << 16;
    int fd = mkstemp(path), fd2 = mkstemp(other);
    assert_true(fd >= 0 && fd2 >= 0);
    assert_int_equal(ftruncate(fd, (off_t)len), 0);
    char *map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    assert_true(c2_os_is_mapped(path, map));
    assert_true(c2_os_is_mapped(path, map + len - 1));
    assert_false(c2_os_is_mapped(path, &fd));
    assert_false(c2_os_is_mapped(other, map));
    assert_int_equal(munmap(map, len), 0);
    assert_false(c2_os_is_mapped(path, map));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(unlink(other), 0);
    assert_false(c2_os_is_mapped(path, map));
    close(fd);
    close(fd2);
}

static void
say(void *arg, const void *addr)
{
    int *out = arg;
    (void)!write(*out, &addr, sizeof addr);
    _exit(7);
}

static void
unreadable__is_told_with_its_address(void **state)
{
    (void)state;
    char path[] = "/tmp/c2fs-mapped-XXXXXX";
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int fd = mkstemp(path), out[2];
    assert_true(fd >= 0);
    assert_int_equal(pipe(out), 0);
    assert_int_equal(ftruncate(fd, (off_t)(2 * page)), 0);
    volatile char *map = mmap(NULL, 2 * page, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    assert_int_equal(ftruncate(fd, (off_t)page), 0);
    pid_t child = fork();
    if (child == 0) {
        c2_os_on_unreadable(say, &out[1]);
        _exit(map[0] + map[page]);
    }
    int status = 0;
    void *addr = NULL;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_int_equal(read(out[0], &addr, sizeof addr), sizeof addr);
    assert_ptr_equal(addr, map + page);
    assert_int_equal(unlink(path), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(start_daemon__waits_for_the_report_of_the_child),
        cmocka_unit_test(start_daemon__of_a_child_that_reports_failure_nothing_is_left),
        cmocka_unit_test(start_daemon__tells_how_a_child_without_a_word_ended),
        cmocka_unit_test(is_mapped__knows_where_a_file_is),
        cmocka_unit_test(unreadable__is_told_with_its_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
