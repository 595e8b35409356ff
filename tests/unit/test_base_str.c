/* SPDX-License-Identifier: MIT */
/*
 * Text helpers.
 */
#include "base/str.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "base/env.h"

static void
hex__round_trips_and_refuses_the_rest(void **state)
{
    (void)state;
    uint8_t in[256], out[256];
    char text[513];
    for (unsigned i = 0; i < 256; i++)
        in[i] = (uint8_t)i;
    c2_hex_encode(in, 256, text);
    assert_memory_equal(text, "000102", 6);
    assert_string_equal(text + 510, "ff");
    assert_int_equal(c2_hex_decode(c2_slice(text, 512), out, 256), C2_E_OK);
    assert_memory_equal(in, out, 256);
    assert_int_equal(c2_hex_decode(c2_slice_str("aBcD"), out, 2), C2_E_OK);
    assert_memory_equal(out, "\xab\xcd", 2);
    static const char *const bad[] = { "", "a", "abc", "abcd0", "0g", "g0", "+1", " 1" };
    for (size_t i = 0; i < C2_ARRAY_LEN(bad); i++)
        assert_int_equal(c2_hex_decode(c2_slice_str(bad[i]), out, 1), C2_E_PARSE);
    assert_memory_equal(out, "\xab\xcd", 2); /* untouched */
}

/* Two files must not be one object. */
static void
hex__of_a_name_has_one_form(void **state)
{
    uint8_t out[2] = { 0 };
    (void)state;
    assert_int_equal(c2_hex_decode_name(c2_slice_str("ab09"), out, 2), C2_E_OK);
    assert_memory_equal(out, "\xab\x09", 2);
    static const char *const bad[] = { "Ab00", "00aF", "abc", "ag00", "" };
    for (size_t i = 0; i < C2_ARRAY_LEN(bad); i++)
        assert_int_equal(c2_hex_decode_name(c2_slice_str(bad[i]), out, 2), C2_E_PARSE);
    assert_memory_equal(out, "\xab\x09", 2);
}

static void
base64__matches_rfc_4648(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        { "", "" },
        { "f", "Zg==" },
        { "fo", "Zm8=" },
        { "foo", "Zm9v" },
        { "foob", "Zm9vYg==" },
        { "fooba", "Zm9vYmE=" },
        { "foobar", "Zm9vYmFy" },
        { "\xff\xef\xbe", "/+++" },
    };
    struct c2_buf b = { 0 };
    for (size_t i = 0; i < C2_ARRAY_LEN(pairs); i++) {
        c2_buf_clear(&b);
        c2_base64_encode(c2_slice_str(pairs[i][0]), &b);
        assert_string_equal(c2_buf_cstr(&b), pairs[i][1]);
        c2_buf_clear(&b);
        assert_int_equal(c2_base64_decode(c2_slice_str(pairs[i][1]), &b), C2_E_OK);
        assert_string_equal(c2_buf_cstr(&b), pairs[i][0]);
    }
    c2_buf_done(&b);
}

static void
base64__refuses_what_is_not_canonical(void **state)
{
    (void)state;
    static const char *const bad[] = { "Z",     "Zg",   "Zg=",  "Zg=a",  "Zh==",
                                       "Zm9=",  "====", "Z===", "Zm9v=", "Zg==Zg==",
                                       "Zm9\n", "Zm 9", "Zm-v", "Zm9vZg" };
    struct c2_buf b = { 0 };
    c2_buf_puts(&b, "before");
    for (size_t i = 0; i < C2_ARRAY_LEN(bad); i++) {
        assert_int_equal(c2_base64_decode(c2_slice_str(bad[i]), &b), C2_E_PARSE);
        assert_string_equal(c2_buf_cstr(&b), "before");
    }
    assert_int_equal(c2_base64_decode(c2_slice("Zg\0=", 4), &b), C2_E_PARSE);
    c2_buf_done(&b);
}

static void
decimal__parses_to_billionths(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t billionths;
    } good[] = {
        { "0", 0 },
        { "12", UINT64_C(12000000000) },
        { "0.0053", 5300000 },
        { ".5", 500000000 },
        { "7.", UINT64_C(7000000000) },
        { "0.000000001", 1 },
        { "1.100000000000", 1100000000 },
        { "18446744072.999999999", UINT64_C(18446744072999999999) },
    };
    static const char *const bad[] = { "",    ".",     "-1",   "+1",  " 1",  "1 ",   "1e3",
                                       "1,5", "1.5.2", "0x10", "inf", "nan", "free", "1.0 EUR" };
    uint64_t v = 7;
    for (size_t i = 0; i < C2_ARRAY_LEN(bad); i++)
        assert_int_equal(c2_decimal_parse(bad[i], &v), C2_E_PARSE);
    assert_int_equal(c2_decimal_parse("0.0000000001", &v), C2_E_RANGE);
    assert_int_equal(c2_decimal_parse("18446744073", &v), C2_E_RANGE);
    assert_int_equal(c2_decimal_parse("99999999999999999999999", &v), C2_E_RANGE);
    assert_true(v == 7);
    for (size_t i = 0; i < C2_ARRAY_LEN(good); i++) {
        assert_int_equal(c2_decimal_parse(good[i].text, &v), C2_E_OK);
        assert_true(v == good[i].billionths);
    }
}

static void
u64__parses_digits_within_the_bound(void **state)
{
    (void)state;
    uint64_t v = 7;
    assert_int_equal(c2_u64_parse(c2_slice_str("18446744073709551615"), UINT64_MAX, &v), C2_E_OK);
    assert_true(v == UINT64_MAX);
    assert_int_equal(c2_u64_parse(c2_slice_str("007"), 7, &v), C2_E_OK);
    assert_true(v == 7);
    assert_int_equal(c2_u64_parse(c2_slice_str("8"), 7, &v), C2_E_RANGE);
    assert_int_equal(c2_u64_parse(c2_slice_str("18446744073709551616"), UINT64_MAX, &v),
                     C2_E_RANGE);
    assert_int_equal(c2_u64_parse(c2_slice_str("99999999999999999999999"), UINT64_MAX, &v),
                     C2_E_RANGE);
    static const char *const bad[] = { "", "-1", "+1", " 1", "1 ", "0x10", "1e3" };
    for (size_t i = 0; i < C2_ARRAY_LEN(bad); i++)
        assert_int_equal(c2_u64_parse(c2_slice_str(bad[i]), UINT64_MAX, &v), C2_E_PARSE);
    assert_true(v == 7);
}

static void
size__parses_binary_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = { { "0", 0 },
                 { "512", 512 },
                 { "512B", 512 },
                 { "1K", 1024 },
                 { "64MiB", 64ull << 20 },
                 { "10G", 10ull << 30 },
                 { "10g", 10ull << 30 },
                 { "2T", 2ull << 40 },
                 { "16383P", 16383ull << 50 } };
    uint64_t v = 0;
    for (size_t i = 0; i < C2_ARRAY_LEN(good); i++) {
        assert_int_equal(c2_size_parse(good[i].text, &v), C2_E_OK);
        assert_true(v == good[i].bytes);
    }
    static const char *const bad[] = { "", "K", "1X", "1 K", "-1", "1.5G", "1KK", "1GB" };
    for (size_t i = 0; i < C2_ARRAY_LEN(bad); i++)
        assert_int_equal(c2_size_parse(bad[i], &v), C2_E_PARSE);
    assert_int_equal(c2_size_parse("16384P", &v), C2_E_RANGE);
}

static void
duration__parses_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = { { "0", 0 },
                 { "5ns", 5 },
                 { "7us", 7000 },
                 { "250ms", 250 * C2_NS_PER_MS },
                 { "30s", 30 * C2_NS_PER_S },
                 { "5m", 300 * C2_NS_PER_S },
                 { "2h", 7200 * C2_NS_PER_S },
                 { "7d", 7ull * 86400 * C2_NS_PER_S } };
    uint64_t v = 0;
    for (size_t i = 0; i < C2_ARRAY_LEN(good); i++) {
        assert_int_equal(c2_duration_parse(good[i].text, &v), C2_E_OK);
        assert_true(v == good[i].ns);
    }
    /* Without a unit it could be anything. */
    static const char *const bad[] = { "", "30", "s", "-1s", "1.5s", "5 m", "5y" };
    for (size_t i = 0; i < C2_ARRAY_LEN(bad); i++)
        assert_int_equal(c2_duration_parse(bad[i], &v), C2_E_PARSE);
    assert_int_equal(c2_duration_parse("999999999999d", &v), C2_E_RANGE);
}

static void
size__is_formatted_for_people(void **state)
{
    (void)state;
    char out[C2_SIZE_TEXT_MAX];
    assert_string_equal(c2_size_format(0, out), "0 B");
    assert_string_equal(c2_size_format(1023, out), "1023 B");
    assert_string_equal(c2_size_format(1024, out), "1.0 KiB");
    assert_string_equal(c2_size_format(1024 * 1024 - 1, out), "1.0 MiB");
    assert_string_equal(c2_size_format(13207024435ull, out), "12.3 GiB");
    assert_string_equal(c2_size_format(UINT64_MAX, out), "16.0 EiB");
}

static void
duration__is_formatted_for_people(void **state)
{
    (void)state;
    char out[C2_SIZE_TEXT_MAX];
    assert_string_equal(c2_duration_format(999, out), "999 ns");
    assert_string_equal(c2_duration_format(1500, out), "1.5 us");
    assert_string_equal(c2_duration_format(250 * C2_NS_PER_MS, out), "250.0 ms");
    assert_string_equal(c2_duration_format(1500 * C2_NS_PER_MS, out), "1.5 s");
    assert_string_equal(c2_duration_format(61 * C2_NS_PER_S, out), "1m01s");
    assert_string_equal(c2_duration_format(3660 * C2_NS_PER_S, out), "1h01m");
    assert_string_equal(c2_duration_format(90000 * C2_NS_PER_S, out), "1d01h");
    assert_string_equal(c2_duration_format(UINT64_MAX, out), "213503d23h");
}

static void
url__encodes_as_rfc_3986(void **state)
{
    (void)state;
    struct c2_buf b = { 0 };
    c2_url_encode(c2_slice_str("AZaz09-_.~ /+%&\xc3\xa4"), true, &b);
    assert_string_equal(c2_buf_cstr(&b), "AZaz09-_.~%20/%2B%25%26%C3%A4");
    c2_buf_clear(&b);
    c2_url_encode(c2_slice_str("a/b"), false, &b);
    assert_string_equal(c2_buf_cstr(&b), "a%2Fb");
    c2_buf_clear(&b);
    c2_url_encode(c2_slice("\0", 1), false, &b);
    assert_string_equal(c2_buf_cstr(&b), "%00");
    c2_buf_done(&b);
}

static void
url__decodes_every_byte_and_refuses_broken_escapes(void **state)
{
    (void)state;
    struct c2_buf encoded = { 0 }, decoded = { 0 };
    uint8_t all[256];
    for (unsigned i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    c2_url_encode(c2_slice(all, 256), false, &encoded);
    assert_int_equal(c2_url_decode(c2_buf_slice(&encoded), &decoded), C2_E_OK);
    assert_true(c2_slice_equal(c2_buf_slice(&decoded), c2_slice(all, 256)));
    c2_buf_clear(&decoded);
    assert_int_equal(c2_url_decode(c2_slice_str("a+b%2b"), &decoded), C2_E_OK);
    assert_string_equal(c2_buf_cstr(&decoded), "a+b+");
    static const char *const bad[] = { "%", "%1", "a%2", "%zz", "%%41" };
    for (size_t i = 0; i < C2_ARRAY_LEN(bad); i++)
        assert_int_equal(c2_url_decode(c2_slice_str(bad[i]), &decoded), C2_E_PARSE);
    assert_string_equal(c2_buf_cstr(&decoded), "a+b+");
    c2_buf_done(&encoded);
    c2_buf_done(&decoded);
}

static void
nearest__suggests_typing_mistakes_only(void **state)
{
    (void)state;
    static const char *const words[] = { "cache_size", "cache_dir", "close", "fsync" };
    size_t n = C2_ARRAY_LEN(words);
    assert_string_equal(c2_nearest("cach_size", words, n), "cache_size");
    assert_string_equal(c2_nearest("cache-dir", words, n), "cache_dir");
    assert_string_equal(c2_nearest("clsoe", words, n), "close");
    assert_string_equal(c2_nearest("closed", words, n), "close");
    assert_string_equal(c2_nearest("close", words, n), "close");
    assert_null(c2_nearest("journal_size", words, n));
    assert_null(c2_nearest("x", words, n));
    assert_null(c2_nearest("", words, n));
    char longer[200];
    memset(longer, 'c', sizeof(longer));
    longer[199] = '\0';
    assert_null(c2_nearest(longer, words, n));
}

static void
time__is_iso_8601(void **state)
{
    (void)state;
    static const struct {
        uint64_t s;
        const char *text;
    } cases[] = { { 0, "1970-01-01T00:00:00Z" },          { 951782400, "2000-02-29T00:00:00Z" },
                  { 1709251199, "2024-02-29T23:59:59Z" }, { 1709251200, "2024-03-01T00:00:00Z" },
                  { 1735689599, "2024-12-31T23:59:59Z" }, { 1769860800, "2026-01-31T12:00:00Z" },
                  { 4107542400, "2100-03-01T00:00:00Z" } };
    for (size_t i = 0; i < C2_ARRAY_LEN(cases); i++) {
        char out[C2_SIZE_TEXT_MAX];
        c2_time_format(cases[i].s * C2_NS_PER_S + 999, out);
        assert_string_equal(out, cases[i].text);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex__round_trips_and_refuses_the_rest),
        cmocka_unit_test(hex__of_a_name_has_one_form),
        cmocka_unit_test(base64__matches_rfc_4648),
        cmocka_unit_test(base64__refuses_what_is_not_canonical),
        cmocka_unit_test(decimal__parses_to_billionths),
        cmocka_unit_test(u64__parses_digits_within_the_bound),
        cmocka_unit_test(size__parses_binary_units),
        cmocka_unit_test(duration__parses_units),
        cmocka_unit_test(size__is_formatted_for_people),
        cmocka_unit_test(duration__is_formatted_for_people),
        cmocka_unit_test(url__encodes_as_rfc_3986),
        cmocka_unit_test(url__decodes_every_byte_and_refuses_broken_escapes),
        cmocka_unit_test(nearest__suggests_typing_mistakes_only),
        cmocka_unit_test(time__is_iso_8601),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
