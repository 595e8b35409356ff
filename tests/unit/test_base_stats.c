/* SPDX-License-Identifier: MIT */
/*
 * Histograms, and coverage marks.
 */
#include "base/stats.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "base/mark.h"

static void
hist__empty_has_quantile_zero(void **state)
{
    (void)state;
    struct c2_hist h = { 0 };
    assert_true(c2_hist_quantile(&h, 0.5) == 0);
    c2_hist_decay(&h);
    assert_int_equal(h.count, 0);
}

static void
hist__small_values_are_exact(void **state)
{
    (void)state;
    struct c2_hist h = { 0 };
    for (uint64_t v = 0; v < 8; v++)
        c2_hist_add(&h, v);
    assert_int_equal(h.count, 8);
    assert_int_equal(h.sum, 28);
    assert_int_equal(h.max, 7);
    assert_true(c2_hist_quantile(&h, 0) == 0);
    assert_true(c2_hist_quantile(&h, 0.5) == 4);
    assert_true(c2_hist_quantile(&h, 1) == 7);
}

/* Every single value, alone in the histogram, comes back within its bucket and never too small. */
static void
hist__quantile_is_within_an_eighth(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift < 64; shift++) {
        for (uint64_t low = 0; low < 3; low++) {
            struct c2_hist h = { 0 };
            uint64_t value = (1ull << shift) + low * ((1ull << shift) / 3);
            c2_hist_add(&h, value);
            c2_hist_add(&h, UINT64_MAX); /* so that max does not help */
            uint64_t q = c2_hist_quantile(&h, 0.25);
            assert_true(q >= value);
            assert_true(q - value <= value / 8);
        }
    }
}

static void
hist__quantiles_of_a_range(void **state)
{
    (void)state;
    struct c2_hist h = { 0 };
    for (uint64_t v = 1; v <= 10000; v++)
        c2_hist_add(&h, v);
    static const double qs[] = { 0.01, 0.1, 0.5, 0.9, 0.99 };
    uint64_t last = 0;
    for (size_t i = 0; i < C2_ARRAY_LEN(qs); i++) {
        double q = (double)c2_hist_quantile(&h, qs[i]);
        assert_true(q >= qs[i] * 10000 && q <= qs[i] * 10000 * 1.126);
        assert_true((uint64_t)q > last);
        last = (uint64_t)q;
    }
    assert_true(c2_hist_quantile(&h, 1) == 10000);
}

static void
hist__decay_lets_old_values_fade(void **state)
{
    (void)state;
    struct c2_hist h = { 0 };
    for (int i = 0; i < 1000; i++)
        c2_hist_add(&h, 1000000);
    for (int i = 0; i < 10; i++)
        c2_hist_decay(&h);
    assert_int_equal(h.count, 0);
    assert_int_equal(h.max, 0);
    for (int i = 0; i < 100; i++)
        c2_hist_add(&h, 10);
    c2_hist_decay(&h);
    assert_int_equal(h.count, 50);
    assert_int_equal(h.max, 10);
    assert_true(c2_hist_quantile(&h, 0.99) == 10);
}

static void
mark__counts_hits_until_the_reset(void **state)
{
    (void)state;
    c2_mark_reset();
    assert_int_equal(c2_mark_count("mark: never"), 0);
    for (int i = 0; i < 3; i++)
        C2_MARK("mark: thrice");
    C2_MARK("mark: once");
    char name[] = "mark: thrice"; /* names are compared by their text */
    assert_int_equal(c2_mark_count(name), 3);
    assert_int_equal(c2_mark_count("mark: once"), 1);
    c2_mark_reset();
    assert_int_equal(c2_mark_count("mark: thrice"), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hist__empty_has_quantile_zero),
        cmocka_unit_test(hist__small_values_are_exact),
        cmocka_unit_test(hist__quantile_is_within_an_eighth),
        cmocka_unit_test(hist__quantiles_of_a_range),
        cmocka_unit_test(hist__decay_lets_old_values_fade),
        cmocka_unit_test(mark__counts_hits_until_the_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
