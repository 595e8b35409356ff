/* SPDX-License-Identifier: MIT */
/*
 * Commands: what they print, how they fail, that they end.
 */
#include "base/os_spawn.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <signal.h>
#include <string.h>

#include "base/alloc.h"
#include "base/env.h"

#define LONG_NS (60 * C2_NS_PER_S)

static void
check(const char *command, uint64_t timeout_ns, enum c2_err err, const char *expected)
{
    struct c2_buf out = { 0 };
    char *problem = NULL;
    assert_int_equal(c2_os_command(command, "C2FS_TEST=variable", timeout_ns, &out, &problem), err);
    if (err == C2_E_OK)
        assert_string_equal(c2_buf_cstr(&out), expected);
    else
        assert_string_equal(problem, expected);
    c2_free(problem);
    c2_buf_done(&out);
}

static void
command__gives_what_it_prints(void **state)
{
    (void)state;
    check("printf 'one\\ntwo'", LONG_NS, C2_E_OK, "one\ntwo");
    check("true", LONG_NS, C2_E_OK, "");
    check("echo $C2FS_TEST; test -n \"$PATH\" && echo path", LONG_NS, C2_E_OK, "variable\npath\n");
    check("cat; echo end", LONG_NS, C2_E_OK, "end\n"); /* no input */
    check("exec >&-; exit 0", LONG_NS, C2_E_OK, "");
}

static void
command__says_how_it_failed(void **state)
{
    (void)state;
    check("echo secret; exit 3", LONG_NS, C2_E_CONFIG, "ended with status 3");
    check("kill -9 $$", LONG_NS, C2_E_CONFIG, "was ended by signal 9");
    check("exec >&-; exit 4", LONG_NS, C2_E_CONFIG, "ended with status 4");
}

static void
command__is_ended_when_it_takes_too_long(void **state)
{
    (void)state;
    check("sleep 1000 & sleep 1000", 1, C2_E_TIMEOUT, "did not end in time");
    check("exec >&-; sleep 1000", 50 * C2_NS_PER_MS, C2_E_TIMEOUT, "did not end in time");
}

static void
command__does_not_wait_for_what_it_leaves_behind(void **state)
{
    (void)state;
    check("(sleep 1; true) & exit 5", LONG_NS, C2_E_CONFIG, "ended with status 5");
}

static void
command__output_is_bounded(void **state)
{
    (void)state;
    check("head -c 65537 /dev/zero", LONG_NS, C2_E_CONFIG, "printed too much");
    check("yes", LONG_NS, C2_E_CONFIG, "printed too much");
    struct c2_buf out = { 0 };
    char *problem = NULL;
    c2_buf_puts(&out, "kept");
    assert_int_equal(c2_os_command("head -c 65536 /dev/zero", NULL, LONG_NS, &out, &problem),
                     C2_E_OK);
    assert_int_equal(out.len, 4 + 65536);
    assert_memory_equal(out.data, "kept\0", 5);
    c2_buf_done(&out);
}

/* The loop blocks signals; a command must not inherit that. */
static void
command__starts_with_signals_unblocked(void **state)
{
    (void)state;
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, &old), 0);
    check("kill -TERM $$; echo survived", LONG_NS, C2_E_CONFIG, "was ended by signal 15");
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &old, NULL), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(command__gives_what_it_prints),
        cmocka_unit_test(command__says_how_it_failed),
        cmocka_unit_test(command__is_ended_when_it_takes_too_long),
        cmocka_unit_test(command__does_not_wait_for_what_it_leaves_behind),
        cmocka_unit_test(command__output_is_bounded),
        cmocka_unit_test(command__starts_with_signals_unblocked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
