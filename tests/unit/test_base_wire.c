/* SPDX-License-Identifier: MIT */
/*
 * Encoding and the sticky reader.
 */
#include "base/wire.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

static void
write_all(struct c2_buf *b)
{
    c2_wr_u8(b, 0x01);
    c2_wr_u16(b, 0x0302);
    c2_wr_u32(b, 0x07060504);
    c2_wr_u64(b, 0x0f0e0d0c0b0a0908ull);
    c2_wr_i64(b, -2);
    c2_wr_bytes(b, c2_slice_str("hi"));
    c2_wr_raw(b, "raw", 3);
}

static const uint8_t expected[] = { 1,    2,  3,  4,  5,    6,    7,    8,    9,    10,   11,
                                    12,   13, 14, 15, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                    0xff, 2,  0,  0,  0,    'h',  'i',  'r',  'a',  'w' };

static void
wire__is_little_endian_without_padding(void **state)
{
    (void)state;
    struct c2_buf b = { 0 };
    write_all(&b);
    assert_int_equal(b.len, sizeof(expected));
    assert_memory_equal(b.data, expected, sizeof(expected));
    c2_buf_done(&b);
}

static void
check_values(struct c2_rd *r)
{
    char raw[3];
    assert_int_equal(c2_rd_u8(r), 1);
    assert_int_equal(c2_rd_u16(r), 0x0302);
    assert_int_equal(c2_rd_u32(r), 0x07060504);
    assert_true(c2_rd_u64(r) == 0x0f0e0d0c0b0a0908ull);
    assert_true(c2_rd_i64(r) == -2);
    assert_true(c2_slice_equal(c2_rd_bytes(r, 2), c2_slice_str("hi")));
    assert_int_equal(c2_rd_left(r), 3);
    c2_rd_copy(r, raw, 3);
    assert_memory_equal(raw, "raw", 3);
}

static void
rd__gives_back_what_was_written(void **state)
{
    (void)state;
    struct c2_rd r = c2_rd_init(c2_slice(expected, sizeof(expected)));
    check_values(&r);
    assert_true(c2_rd_ok(&r));
    assert_int_equal(c2_rd_finish(&r), C2_E_OK);
}

/* Every shorter input fails in finish, whatever was read before. */
static void
rd__fails_on_every_truncation(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof(expected); len++) {
        struct c2_rd r = c2_rd_init(c2_slice(expected, len));
        c2_rd_u8(&r);
        c2_rd_u16(&r);
        c2_rd_u32(&r);
        c2_rd_u64(&r);
        c2_rd_i64(&r);
        c2_rd_bytes(&r, 100);
        c2_rd_raw(&r, 3);
        assert_int_equal(c2_rd_finish(&r), C2_E_PARSE);
    }
}

static void
rd__is_sticky_and_gives_zeros_after_a_failure(void **state)
{
    (void)state;
    uint8_t copy[4] = { 9, 9, 9, 9 };
    static const uint8_t zeros[4];
    struct c2_rd r = c2_rd_init(c2_slice(expected, 6));
    assert_true(c2_rd_u64(&r) == 0); /* too long; the six bytes are not handed out later */
    assert_int_equal(c2_rd_u8(&r), 0);
    assert_int_equal(c2_rd_u16(&r), 0);
    assert_int_equal(c2_rd_u32(&r), 0);
    c2_rd_copy(&r, copy, 4);
    assert_memory_equal(copy, zeros, 4);
    assert_int_equal(c2_rd_raw(&r, 1).len, 0);
    assert_int_equal(c2_rd_bytes(&r, 10).len, 0);
    assert_int_equal(c2_rd_left(&r), 0);
    assert_false(c2_rd_ok(&r));
    assert_int_equal(c2_rd_finish(&r), C2_E_PARSE);
}

static void
rd__refuses_trailing_bytes_and_what_the_caller_refuses(void **state)
{
    (void)state;
    struct c2_rd r = c2_rd_init(c2_slice(expected, 2));
    c2_rd_u8(&r);
    assert_true(c2_rd_ok(&r));
    assert_int_equal(c2_rd_finish(&r), C2_E_PARSE);
    r = c2_rd_init(c2_slice(expected, 1));
    c2_rd_u8(&r);
    c2_rd_fail(&r);
    assert_int_equal(c2_rd_finish(&r), C2_E_PARSE);
}

static void
rd_bytes__refuses_more_than_the_cap(void **state)
{
    (void)state;
    struct c2_buf b = { 0 };
    c2_wr_bytes(&b, c2_slice_str("four"));
    struct c2_rd r = c2_rd_init(c2_buf_slice(&b));
    assert_int_equal(c2_rd_bytes(&r, 3).len, 0);
    assert_false(c2_rd_ok(&r));
    r = c2_rd_init(c2_buf_slice(&b));
    assert_int_equal(c2_rd_bytes(&r, 4).len, 4);
    assert_int_equal(c2_rd_finish(&r), C2_E_OK);
    /* A length that lies, up to the largest. */
    memset(b.data, 0xff, 4);
    r = c2_rd_init(c2_buf_slice(&b));
    assert_int_equal(c2_rd_bytes(&r, SIZE_MAX).len, 0);
    assert_int_equal(c2_rd_finish(&r), C2_E_PARSE);
    c2_buf_done(&b);
}

static void
rd__empty_input_and_empty_fields_are_fine(void **state)
{
    (void)state;
    struct c2_rd r = c2_rd_init(c2_slice(NULL, 0));
    assert_int_equal(c2_rd_raw(&r, 0).len, 0);
    c2_rd_copy(&r, NULL, 0);
    assert_int_equal(c2_rd_finish(&r), C2_E_OK);
    struct c2_buf b = { 0 };
    c2_wr_bytes(&b, c2_slice(NULL, 0));
    r = c2_rd_init(c2_buf_slice(&b));
    assert_int_equal(c2_rd_bytes(&r, 0).len, 0);
    assert_int_equal(c2_rd_finish(&r), C2_E_OK);
    c2_buf_done(&b);
}

static void
fixed__values_round_trip_and_big_endian_sorts(void **state)
{
    (void)state;
    uint8_t a[8], b[8];
    c2_put_u16(a, 0xabcd);
    assert_int_equal(c2_get_u16(a), 0xabcd);
    c2_put_u32(a, 0x89abcdef);
    assert_int_equal(c2_get_u32(a), 0x89abcdef);
    c2_put_u64(a, 0x0123456789abcdefull);
    assert_true(c2_get_u64(a) == 0x0123456789abcdefull);
    assert_int_equal(a[0], 0xef);
    static const uint64_t values[] = { 0, 1, 255, 256, 0x7fffffff, 1ull << 40, UINT64_MAX };
    for (size_t i = 0; i < C2_ARRAY_LEN(values); i++) {
        c2_put_be64(b, values[i]);
        assert_true(c2_get_be64(b) == values[i]);
        if (i > 0)
            assert_true(memcmp(a, b, 8) < 0);
        memcpy(a, b, 8);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wire__is_little_endian_without_padding),
        cmocka_unit_test(rd__gives_back_what_was_written),
        cmocka_unit_test(rd__fails_on_every_truncation),
        cmocka_unit_test(rd__is_sticky_and_gives_zeros_after_a_failure),
        cmocka_unit_test(rd__refuses_trailing_bytes_and_what_the_caller_refuses),
        cmocka_unit_test(rd_bytes__refuses_more_than_the_cap),
        cmocka_unit_test(rd__empty_input_and_empty_fields_are_fine),
        cmocka_unit_test(fixed__values_round_trip_and_big_endian_sorts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
