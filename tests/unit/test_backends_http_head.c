/* SPDX-License-Identifier: MIT */
#include "backends/http_head.h"

#include "backends/http_addr.h"
#include "base/env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static enum c2_err
line(struct http_head *h, const char *text)
{
    return http_head_line(h, c2_slice_str(text));
}

static void
head__keeps_names_in_lower_case_and_values_trimmed(void **state)
{
    (void)state;
    struct http_head h = { 0 };
    assert_int_equal(line(&h, "HTTP/1.1 206 Partial Content\r\n"), C2_E_OK);
    assert_int_equal(line(&h, "ETag: \t \"x\" \t\r\n"), C2_E_OK);
    assert_int_equal(line(&h, "Empty:\n"), C2_E_OK);
    assert_int_equal(line(&h, "etag: second\r\n"), C2_E_OK);
    assert_int_equal(line(&h, "\r\n"), C2_E_OK);
    assert_int_equal(h.status, 206);
    assert_string_equal(http_head_get(&h, "etag"), "\"x\"");
    assert_string_equal(http_head_get(&h, "empty"), "");
    assert_null(http_head_get(&h, "absent"));
    http_head_done(&h);
}

static void
head__refuses_malformed_lines(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "X",
        ": v",
        "a b: c",
        " folded",
        "X : v",
        "\tX: v",
        "X: a\x01z",
        "X: \x7f",
        "\xc3\xa9: v",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1  200 OK",
        "HTTP/2 200",
        "HTTP/1.x 200 OK",
        "HTTP/1.1 099 No",
        "HTTP/1.1 2x0 No",
        "HTTP/1.1",
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(bad); i++) {
        struct http_head h = { 0 };
        assert_int_equal(line(&h, "HTTP/1.1 200 OK"), C2_E_OK);
        if (line(&h, bad[i]) != C2_E_PARSE)
            fail_msg("accepted: %s", bad[i]);
        http_head_done(&h);
    }
    struct http_head h = { 0 };
    assert_int_equal(line(&h, "X: before the status line"), C2_E_PARSE);
    http_head_done(&h);
}

static void
head__caps_lines_and_bytes(void **state)
{
    (void)state;
    struct http_head h = { 0 };
    assert_int_equal(line(&h, "HTTP/1.1 200 OK"), C2_E_OK);
    for (int i = 1; i < HTTP_HEADERS_MAX; i++)
        assert_int_equal(line(&h, "x-amz-meta-:"), C2_E_OK);
    assert_int_equal(line(&h, "x-amz-meta-:"), C2_E_PARSE);
    http_head_done(&h);

    C2_AUTO(c2_buf_done) struct c2_buf b = { 0 };
    c2_buf_printf(&b, "X:%0*d", (int)HTTP_HEAD_MAX - 14 - 2, 0);
    assert_int_equal(line(&h, "HTTP/1.1 200 O"), C2_E_OK);
    assert_int_equal(line(&h, c2_buf_cstr(&b)), C2_E_OK);
    assert_int_equal(line(&h, "\n"), C2_E_PARSE);
    http_head_done(&h);
}

static void
content_range__parses_the_three_forms(void **state)
{
    (void)state;
    struct http_content_range r;
    assert_int_equal(http_content_range_parse("bytes 0-9/100", &r), C2_E_OK);
    assert_true(!r.unsatisfied && r.first == 0 && r.last == 9 && r.total_known && r.total == 100);
    assert_int_equal(http_content_range_parse("bytes 5-5/*", &r), C2_E_OK);
    assert_true(r.first == 5 && r.last == 5 && !r.total_known);
    assert_int_equal(http_content_range_parse("bytes */0", &r), C2_E_OK);
    assert_true(r.unsatisfied && r.total_known && r.total == 0);
    assert_int_equal(http_content_range_parse("bytes 18446744073709551614-18446744073709551614/"
                                              "18446744073709551615",
                                              &r),
                     C2_E_OK);
}

static void
content_range__refuses_everything_else(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "bytes",
        "bytes 0-9",
        "bytes 9-0/10",
        "bytes 0-10/10",
        "bytes 0-9/",
        "bytes a-9/",
        "bytes -9/10",
        "bytes 0-/10",
        "bytes */*",
        "bytes */",
        "bytes 0-9/10 ",
        "items 0-9/10",
        "bytes 0-9/-1",
        "bytes 0-18446744073709551616/*",
        "bytes=0-9/10",
        "bytes 0-9/10,20-29/100",
    };
    struct http_content_range r;
    for (size_t i = 0; i < C2_ARRAY_LEN(bad); i++) {
        if (http_content_range_parse(bad[i], &r) != C2_E_PARSE)
            fail_msg("accepted: %s", bad[i]);
    }
}

static void
date__is_seconds_since_1970(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t seconds;
    } good[] = {
        { "Thu, 01 Jan 1970 00:00:00 GMT", 0 },
        { "Sun, 06 Nov 1994 08:49:37 GMT", 784111777 },
        { "Tue, 29 Feb 2000 23:59:59 GMT", 951868799 },
        { "Wed, 01 Mar 2000 00:00:00 GMT", 951868800 },
        { "Fri, 31 Dec 2100 12:00:00 GMT", 4133937600 },
    };
    static const char *const bad[] = {
        "",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nop 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1969 08:49:37 GMT",
        "Sun, 06 Nov 9999 08:49:37 GMT",
        "Sun, +6 Nov 1994 08:49:37 GMT",
    };
    uint64_t ns;
    for (size_t i = 0; i < C2_ARRAY_LEN(good); i++) {
        assert_int_equal(http_date_parse(good[i].text, &ns), C2_E_OK);
        assert_int_equal(ns / C2_NS_PER_S, good[i].seconds);
    }
    for (size_t i = 0; i < C2_ARRAY_LEN(bad); i++) {
        if (http_date_parse(bad[i], &ns) != C2_E_PARSE)
            fail_msg("accepted: %s", bad[i]);
    }
}

static void
retry_after__is_seconds_or_a_date_and_bounded(void **state)
{
    (void)state;
    uint64_t now = 784111777ull * C2_NS_PER_S;
    assert_int_equal(http_retry_after_parse(NULL, now), 0);
    assert_int_equal(http_retry_after_parse("", now), 0);
    assert_int_equal(http_retry_after_parse("soon", now), 0);
    assert_int_equal(http_retry_after_parse("-1", now), 0);
    assert_int_equal(http_retry_after_parse("2", now), 2 * C2_NS_PER_S);
    assert_int_equal(http_retry_after_parse("99999999999999999999999", now), 3600 * C2_NS_PER_S);
    assert_int_equal(http_retry_after_parse("7200", now), 3600 * C2_NS_PER_S);
    assert_int_equal(http_retry_after_parse("Sun, 06 Nov 1994 08:49:47 GMT", now),
                     10 * C2_NS_PER_S);
    assert_int_equal(http_retry_after_parse("Sun, 06 Nov 1994 08:49:27 GMT", now), 0);
    assert_int_equal(http_retry_after_parse("Sun, 06 Nov 1995 08:49:27 GMT", now),
                     3600 * C2_NS_PER_S);
}

static void
address__loopback_and_link_local(void **state)
{
    (void)state;
    assert_true(http_addr_is_loopback("127.0.0.1") && http_addr_is_loopback("127.255.0.9") &&
                http_addr_is_loopback("::1") && http_addr_is_loopback("::ffff:127.0.0.1"));
    assert_false(http_addr_is_loopback("10.0.0.1") || http_addr_is_loopback("127.0.0.1.nip.io") ||
                 http_addr_is_loopback("127.evil.example") || http_addr_is_loopback("::") ||
                 http_addr_is_loopback("0.0.0.0") || http_addr_is_loopback("::ffff:10.0.0.1") ||
                 http_addr_is_loopback(""));
    assert_true(http_addr_is_link_local("169.254.169.254") && http_addr_is_link_local("fe80::1") &&
                http_addr_is_link_local("FEBF::1%eth0") &&
                http_addr_is_link_local("::ffff:169.254.169.254"));
    assert_false(http_addr_is_link_local("169.253.0.1") || http_addr_is_link_local("fec0::1") ||
                 http_addr_is_link_local("10.0.0.1") || http_addr_is_link_local("::1"));
}

static void
sanitise__keeps_printable_ascii_and_cuts(void **state)
{
    (void)state;
    char out[8];
    http_sanitise(c2_slice_str("a\x1b[0m\xffz~~~"), out, sizeof(out));
    assert_string_equal(out, "a?[0m?z");
    http_sanitise(c2_slice_str(""), out, sizeof(out));
    assert_string_equal(out, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head__keeps_names_in_lower_case_and_values_trimmed),
        cmocka_unit_test(head__refuses_malformed_lines),
        cmocka_unit_test(head__caps_lines_and_bytes),
        cmocka_unit_test(content_range__parses_the_three_forms),
        cmocka_unit_test(content_range__refuses_everything_else),
        cmocka_unit_test(date__is_seconds_since_1970),
        cmocka_unit_test(retry_after__is_seconds_or_a_date_and_bounded),
        cmocka_unit_test(address__loopback_and_link_local),
        cmocka_unit_test(sanitise__keeps_printable_ascii_and_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
