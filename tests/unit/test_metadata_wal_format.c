/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "metadata/wal_format.h"

static void
name__of_a_segment_is_its_number(void **state)
{
    uint64_t n = 0;
    (void)state;
    assert_true(wal_parse_segment_name(c2_slice_str("000000000000ab01.wal"), &n));
    assert_int_equal(n, 0xab01);
}

/* It would be opened by another name, and be missing, or there twice. */
static void
name__that_a_log_never_gives_is_no_segment(void **state)
{
    static const char *const bad[] = {
        "000000000000000A.wal",
        "0000000000000000.wal",
        "ffffffffffffffff.wal",
        "000000000000001.wal",
        "head",
        "000000000000000g.wal",
        "000000000000000a.wal~",
        "000000000000000a.WAL",
        "",
    };
    uint64_t n = 5;
    (void)state;
    for (size_t i = 0; i < C2_ARRAY_LEN(bad); i++)
        assert_false(wal_parse_segment_name(c2_slice_str(bad[i]), &n));
    assert_int_equal(n, 5);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(name__of_a_segment_is_its_number),
        cmocka_unit_test(name__that_a_log_never_gives_is_no_segment),
    };
    return cmocka_run_group_tests_name("metadata/wal_format", tests, NULL, NULL);
}
