/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(start_daemon__waits_for_the_report_of_the_child),
        cmocka_unit_test(start_daemon__of_a_child_that_reports_failure_nothing_is_left),
        cmocka_unit_test(start_daemon__tells_how_a_child_without_a_word_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
