/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "depsky/layout.h"
#include "depsky/share.h"

#define SEALED (DS_SEGMENT_SIZE + DS_TAG_LEN)

static struct ds_layout
raw(unsigned k, uint64_t plain_len)
{
    struct ds_layout l;
    assert_int_equal(ds_layout_init(&l, k, plain_len, NULL), C2_E_OK);
    return l;
}

static void
layout__full_raw_segment_lies_on_exactly_one_seat(void **state)
{
    (void)state;
    struct ds_layout l = raw(2, 8u << 20);
    assert_int_equal(l.nseg, 128);
    assert_int_equal(l.nstripe, 64);
    assert_int_equal(l.row_len, 64 * SEALED);
    for (uint32_t s = 0; s < l.nseg; s++) {
        struct ds_span mine = ds_layout_need(&l, s, s, s % 2);
        struct ds_span other = ds_layout_need(&l, s, s, 1 - s % 2);
        assert_int_equal(mine.lo, s / 2 * SEALED);
        assert_int_equal(mine.hi, (s / 2 + 1) * SEALED);
        assert_int_equal(other.lo, other.hi);
    }
    ds_layout_done(&l);
}

static void
layout__last_stripe_is_split_evenly(void **state)
{
    (void)state;
    struct ds_layout l = raw(2, 1);
    assert_int_equal(l.cipher_len, 17);
    assert_int_equal(l.row_len, 9);
    ds_layout_done(&l);
    l = raw(2, 2 * DS_SEGMENT_SIZE + 100);
    assert_int_equal(l.row_len, SEALED + 58);
    struct ds_span second = ds_layout_need(&l, 2, 2, 1);
    assert_int_equal(second.lo, SEALED);
    assert_int_equal(second.hi, SEALED + 58);
    ds_layout_done(&l);
    l = raw(3, 3 * DS_SEGMENT_SIZE + DS_SEGMENT_SIZE);
    assert_int_equal(l.row_len, SEALED + (SEALED + 2) / 3);
    ds_layout_done(&l);
}

static void
layout__needs_of_all_rows_add_up_to_the_segment(void **state)
{
    (void)state;
    uint32_t stored[7] = { 1, DS_SEGMENT_SIZE, 20000, 333, DS_SEGMENT_SIZE, 17, 9 };
    for (unsigned k = 2; k <= 3; k++) {
        struct ds_layout l;
        assert_int_equal(ds_layout_init(&l, k, 6 * DS_SEGMENT_SIZE + 9, stored), C2_E_OK);
        for (uint32_t s = 0; s < l.nseg; s++) {
            uint32_t total = 0;
            for (unsigned r = 0; r < k; r++) {
                struct ds_span need = ds_layout_need(&l, s, s, r);
                assert_true(need.lo <= need.hi && need.hi <= l.row_len);
                total += need.hi - need.lo;
            }
            assert_int_equal(total, stored[s] + DS_TAG_LEN);
        }
        for (unsigned r = 0; r < k; r++) {
            struct ds_span all = ds_layout_to_leaves(&l, ds_layout_need(&l, 0, l.nseg - 1, r));
            assert_int_equal(all.lo, 0);
            assert_int_equal(all.hi, l.row_len);
        }
        ds_layout_done(&l);
    }
}

static void
layout__refuses_lengths_that_cannot_be(void **state)
{
    (void)state;
    struct ds_layout l;
    uint32_t zero[2] = { 5, 0 };
    uint32_t long_first[2] = { DS_SEGMENT_SIZE + 1, 5 };
    uint32_t long_last[2] = { 5, 101 };
    assert_int_equal(ds_layout_init(&l, 2, DS_SEGMENT_SIZE + 100, zero), C2_E_PARSE);
    assert_int_equal(ds_layout_init(&l, 2, DS_SEGMENT_SIZE + 100, long_first), C2_E_PARSE);
    assert_int_equal(ds_layout_init(&l, 2, DS_SEGMENT_SIZE + 100, long_last), C2_E_PARSE);
}

static void
layout__maxima_hold_for_raw_objects_of_every_size(void **state)
{
    (void)state;
    for (unsigned k = 2; k <= 3; k++) {
        for (uint64_t len = 1; len <= DS_OBJECT_SIZE_MAX; len = len * 5 / 4 + 1) {
            struct ds_layout l = raw(k, len);
            uint32_t tables = DS_SHARE_HEADER_LEN + l.nleaf * 32 + l.nseg * 4;
            assert_int_equal(ds_share_tables_max(k, len), tables);
            assert_int_equal(ds_share_len_max(k, len), tables + l.row_len);
            ds_layout_done(&l);
        }
    }
}

static void
layout__widening_to_leaves_stays_inside_the_row(void **state)
{
    (void)state;
    struct ds_layout l = raw(2, 300000);
    struct ds_span wide = ds_layout_to_leaves(&l, (struct ds_span){ 40000, 40001 });
    assert_int_equal(wide.lo, DS_LEAF_SIZE);
    assert_int_equal(wide.hi, 2 * DS_LEAF_SIZE);
    wide = ds_layout_to_leaves(&l, (struct ds_span){ l.row_len - 1, l.row_len });
    assert_int_equal(wide.hi, l.row_len);
    wide = ds_layout_to_leaves(&l, (struct ds_span){ 7, 7 });
    assert_int_equal(wide.lo, wide.hi);
    ds_layout_done(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout__full_raw_segment_lies_on_exactly_one_seat),
        cmocka_unit_test(layout__last_stripe_is_split_evenly),
        cmocka_unit_test(layout__needs_of_all_rows_add_up_to_the_segment),
        cmocka_unit_test(layout__refuses_lengths_that_cannot_be),
        cmocka_unit_test(layout__maxima_hold_for_raw_objects_of_every_size),
        cmocka_unit_test(layout__widening_to_leaves_stays_inside_the_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
