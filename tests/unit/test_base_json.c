/* SPDX-License-Identifier: MIT */
/*
 * The JSON writer.
 */
#include "base/json.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "tests/lib/death.h"

static void
json__writes_nested_values_with_commas(void **state)
{
    (void)state;
    struct c2_buf out = { 0 };
    struct c2_json j;
    c2_json_init(&j, &out);
    c2_json_object(&j, NULL);
    c2_json_str(&j, "schema", "c2fs.status/1");
    c2_json_object(&j, "empty");
    c2_json_object_end(&j);
    c2_json_array(&j, "list");
    c2_json_u64(&j, NULL, UINT64_MAX);
    c2_json_i64(&j, NULL, INT64_MIN);
    c2_json_array(&j, NULL);
    c2_json_array_end(&j);
    c2_json_object(&j, NULL);
    c2_json_bool(&j, "yes", true);
    c2_json_bool(&j, "no", false);
    c2_json_object_end(&j);
    c2_json_array_end(&j);
    c2_json_str(&j, "none", NULL);
    c2_json_object_end(&j);
    assert_string_equal(c2_buf_cstr(&out), "{\"schema\":\"c2fs.status/1\",\"empty\":{},"
                                           "\"list\":[18446744073709551615,-9223372036854775808,[],"
                                           "{\"yes\":true,\"no\":false}],\"none\":null}");
    c2_buf_done(&out);
}

static void
check_string(const char *in, const char *expected)
{
    struct c2_buf out = { 0 };
    struct c2_json j;
    c2_json_init(&j, &out);
    c2_json_str(&j, NULL, in);
    assert_string_equal(c2_buf_cstr(&out), expected);
    c2_buf_done(&out);
}

static void
json__escapes_what_must_be_escaped(void **state)
{
    (void)state;
    check_string("a\"b\\c/d", "\"a\\\"b\\\\c/d\"");
    check_string("\n\r\t\x01\x1f\x7f", "\"\\n\\r\\t\\u0001\\u001f\\u007f\"");
    check_string("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
                 "\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80\"");
}

#define BAD "\xef\xbf\xbd"

static void
json__replaces_invalid_utf8(void **state)
{
    (void)state;
    check_string("a\xff"
                 "b",
                 "\"a" BAD "b\"");
    check_string("\xc3", "\"" BAD "\""); /* cut short */
    check_string("\xe2\x82", "\"" BAD BAD "\"");
    check_string("\xc0\xaf", "\"" BAD BAD "\""); /* over-long */
    check_string("\xe0\x80\x80", "\"" BAD BAD BAD "\"");
    check_string("\xed\xa0\x80", "\"" BAD BAD BAD "\"");         /* surrogate */
    check_string("\xf4\x90\x80\x80", "\"" BAD BAD BAD BAD "\""); /* above U+10FFFF */
    check_string("\xf0\x80\x80\x80", "\"" BAD BAD BAD BAD "\"");
    check_string("\xf5\x80\x80\x80", "\"" BAD BAD BAD BAD "\"");
    check_string("\x80", "\"" BAD "\"");
    check_string("\xc3(", "\"" BAD "(\"");
}

static void
nest_too_deep(void *arg)
{
    struct c2_json j;
    c2_json_init(&j, arg);
    for (int i = 0; i < C2_JSON_DEPTH_MAX; i++)
        c2_json_array(&j, NULL);
}

static void
close_too_much(void *arg)
{
    struct c2_json j;
    c2_json_init(&j, arg);
    c2_json_array_end(&j);
}

static void
json__asserts_its_nesting(void **state)
{
    (void)state;
    struct c2_buf out = { 0 };
    test_aborts(nest_too_deep, &out, "assertion failed");
    test_aborts(close_too_much, &out, "assertion failed");
    c2_buf_done(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json__writes_nested_values_with_commas),
        cmocka_unit_test(json__escapes_what_must_be_escaped),
        cmocka_unit_test(json__replaces_invalid_utf8),
        cmocka_unit_test(json__asserts_its_nesting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
