/* SPDX-License-Identifier: MIT */
/*
 * Log lines in a file of their own.
 */
#include "base/log.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os_file.h"
#include "tests/lib/test_env.h"

struct fixture {
    char dir[64];
    char *path;
    struct c2_buf text;
};

static int
setup(void **state)
{
    struct fixture *f = c2_calloc(1, sizeof(*f));
    strcpy(f->dir, "/tmp/c2fs-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->path = c2_asprintf("%s/log", f->dir);
    assert_int_equal(c2_log_to_file(f->path), C2_E_OK);
    c2_log_set_level(C2_LOG_INFO);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(c2_log_to_file(NULL), C2_E_OK);
    test_disk_remove_tree(f->dir);
    c2_buf_done(&f->text);
    c2_free(f->path);
    c2_free(f);
    return 0;
}

static const char *
logged(struct fixture *f)
{
    c2_buf_clear(&f->text);
    assert_int_equal(c2_os_read_file(f->path, 1 << 20, &f->text, NULL), C2_E_OK);
    return c2_buf_cstr(&f->text);
}

static void
log__writes_one_line_with_level_and_subsystem(void **state)
{
    struct fixture *f = *state;
    c2_log(WARN, "quorum", "unit=%s need=%u", "abc", 3u);
    const char *line = logged(f);
    assert_int_equal(strlen("2026-01-31T12:00:00Z"), strcspn(line, " "));
    assert_string_equal(strchr(line, ' '), " warn quorum: unit=abc need=3\n");
}

static void
log__drops_what_is_below_the_level(void **state)
{
    struct fixture *f = *state;
    unsigned evaluated = 0;
    c2_log(DEBUG, "x", "n=%u", ++evaluated);
    assert_string_equal(logged(f), "");
    assert_int_equal(evaluated, 0);
    c2_log_set_level(C2_LOG_DEBUG);
    assert_int_equal(c2_log_get_level(), C2_LOG_DEBUG);
    assert_false(c2_log_enabled(C2_LOG_TRACE));
    c2_log(DEBUG, "x", "n=%u", ++evaluated);
    assert_non_null(strstr(logged(f), "debug x: n=1\n"));
    c2_log_set_level(C2_LOG_ERROR);
    c2_log(WARN, "x", "not me");
    assert_null(strstr(logged(f), "not me"));
}

static void
log__keeps_a_line_a_line(void **state)
{
    struct fixture *f = *state;
    c2_log(ERROR, "x", "name=%s", "a\nb\x1b[2J\x7f");
    assert_non_null(strstr(logged(f), " name=a?b?[2J?\n"));
}

static void
log__cuts_what_is_too_long(void **state)
{
    struct fixture *f = *state;
    char text[5000];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    c2_log(INFO, "x", "%s", text);
    c2_log(INFO, "x", "next");
    const char *all = logged(f);
    const char *end = strchr(all, '\n');
    assert_non_null(end);
    assert_true(end - all < 2000);
    assert_non_null(strstr(end, "info x: next\n"));
}

static void
log__level_names_are_parsed(void **state)
{
    (void)state;
    enum c2_log_level level = C2_LOG_TRACE;
    static const char *const names[] = { "error", "warn", "info", "debug", "trace" };
    for (unsigned i = 0; i < C2_ARRAY_LEN(names); i++) {
        assert_int_equal(c2_log_level_parse(names[i], &level), C2_E_OK);
        assert_int_equal(level, i);
    }
    assert_int_equal(c2_log_level_parse("verbose", &level), C2_E_INVALID);
    assert_int_equal(c2_log_level_parse("", &level), C2_E_INVALID);
    assert_int_equal(level, C2_LOG_TRACE);
}

static void
log__file_that_cannot_be_opened_changes_nothing(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(c2_log_to_file("/nonexistent/folder/log"), C2_E_NOT_FOUND);
    c2_log(INFO, "x", "still here");
    assert_non_null(strstr(logged(f), "still here"));
}

static void *
write_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < 500; i++)
        c2_log(INFO, "thread", "a line that must stay whole");
    return NULL;
}

static void
log__threads_do_not_mix_lines(void **state)
{
    struct fixture *f = *state;
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    unsigned lines = 0;
    const char *end;
    for (const char *line = logged(f); *line != '\0'; line = end + 1, lines++) {
        end = strchr(line, '\n');
        assert_non_null(end);
        assert_int_equal(strncmp(line + 20, " info thread: a line that must stay whole\n",
                                 (size_t)(end + 1 - line - 20)),
                         0);
    }
    assert_int_equal(lines, 500 * THREADS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(log__writes_one_line_with_level_and_subsystem, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(log__drops_what_is_below_the_level, setup, teardown),
        cmocka_unit_test_setup_teardown(log__keeps_a_line_a_line, setup, teardown),
        cmocka_unit_test_setup_teardown(log__cuts_what_is_too_long, setup, teardown),
        cmocka_unit_test(log__level_names_are_parsed),
        cmocka_unit_test_setup_teardown(log__file_that_cannot_be_opened_changes_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(log__threads_do_not_mix_lines, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
