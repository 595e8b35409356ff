/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "tools/dump_file.h"

/* A file with these keys, as the writer writes it: it does not ask whether they may be in one. */
static char *
write_keys(const char *const *key, size_t n)
{
    struct dump_writer w;
    uint8_t hash[C2_SHA256_LEN];
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    dump_file_begin(&w, out);
    for (size_t i = 0; i < n; i++)
        dump_file_add(&w, c2_slice_str(key[i]), c2_slice_str("value"));
    dump_file_end(&w, hash);
    assert_int_equal(fclose(out), 0);
    return text;
}

static const char *
check(const char *text)
{
    struct dump_reader *r = c2_calloc(1, sizeof *r);
    char *copy = c2_strdup(text);
    r->in = fmemopen(copy, strlen(copy), "r");
    assert_non_null(r->in);
    const char *why = dump_file_check(r);
    fclose(r->in);
    c2_free(copy);
    c2_free(r);
    return why;
}

static const char *
check_keys(const char *const *key, size_t n)
{
    char *text = write_keys(key, n);
    const char *why = check(text);
    free(text);
    return why;
}

#define CHECK_KEYS(...)                                                                            \
    check_keys((const char *const[]){ __VA_ARGS__ },                                               \
               sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

static void
file__gives_the_keys_and_values_that_were_written(void **state)
{
    const char *const key[] = { "a", "a\x01", "b" };
    struct dump_reader *r = c2_calloc(1, sizeof *r);
    char *text = write_keys(key, C2_ARRAY_LEN(key));
    struct c2_buf bytes = { 0 };
    (void)state;
    r->in = fmemopen(text, strlen(text), "r");
    assert_null(dump_file_check(r));
    assert_int_equal(r->keys, C2_ARRAY_LEN(key));
    assert_non_null(strstr(text, r->hash));
    assert_true(dump_file_restart(r));
    for (size_t i = 0; i < C2_ARRAY_LEN(key); i++) {
        size_t at[3];
        assert_true(dump_file_next(r, &bytes, at));
        assert_true(
            c2_slice_equal(c2_slice(bytes.data + at[0], at[1] - at[0]), c2_slice_str(key[i])));
        assert_true(
            c2_slice_equal(c2_slice(bytes.data + at[1], at[2] - at[1]), c2_slice_str("value")));
    }
    fclose(r->in);
    c2_buf_done(&bytes);
    free(text);
    c2_free(r);
}

static void
file__without_keys_is_one(void **state)
{
    (void)state;
    assert_null(check_keys(NULL, 0));
}

/* Of any of these, a load would have been refused by the service in the middle, its mark left. */
static void
file__has_no_key_that_the_service_would_refuse(void **state)
{
    char longest[COORD_KEY_MAX + 2] = { 0 };
    (void)state;
    memset(longest, 'k', COORD_KEY_MAX);
    assert_null(CHECK_KEYS(longest));
    longest[COORD_KEY_MAX] = 'k';
    assert_non_null(CHECK_KEYS(longest));
    assert_non_null(CHECK_KEYS(""));
    assert_non_null(CHECK_KEYS("\xff"));
    assert_non_null(CHECK_KEYS(DUMP_FILE_MARK));
}

static void
file__has_its_keys_in_order_and_once(void **state)
{
    (void)state;
    assert_null(CHECK_KEYS("a", "b"));
    assert_non_null(CHECK_KEYS("b", "a"));
    assert_non_null(CHECK_KEYS("a", "a"));
}

static void
file__is_refused_when_one_character_differs(void **state)
{
    const char *const key[] = { "a", "b" };
    char *text = write_keys(key, C2_ARRAY_LEN(key));
    (void)state;
    for (size_t i = 0; text[i] != '\0'; i++) {
        char before = text[i];
        text[i] = before == '1' ? '2' : '1';
        assert_non_null(check(text));
        text[i] = before;
    }
    assert_null(check(text));
    free(text);
}

static void
file__is_refused_when_its_end_is_missing_or_followed(void **state)
{
    const char *const key[] = { "a", "b" };
    char *text = write_keys(key, C2_ARRAY_LEN(key));
    struct c2_buf more = { 0 };
    (void)state;
    c2_buf_puts(&more, text);
    c2_buf_puts(&more, "\n");
    assert_non_null(check(c2_buf_cstr(&more)));
    for (size_t len = strlen(text); len > 1; len--) {
        text[len - 1] = '\0';
        assert_non_null(check(text));
    }
    c2_buf_done(&more);
    free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file__gives_the_keys_and_values_that_were_written),
        cmocka_unit_test(file__without_keys_is_one),
        cmocka_unit_test(file__has_no_key_that_the_service_would_refuse),
        cmocka_unit_test(file__has_its_keys_in_order_and_once),
        cmocka_unit_test(file__is_refused_when_one_character_differs),
        cmocka_unit_test(file__is_refused_when_its_end_is_missing_or_followed),
    };
    return cmocka_run_group_tests_name("tools/dump_file", tests, NULL, NULL);
}
