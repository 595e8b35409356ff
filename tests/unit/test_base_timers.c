/* SPDX-License-Identifier: MIT */
/*
 * The timer heap against a scan of an array.
 */
#include "base/timers.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#define TIMERS 200

static uint64_t
next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return *seed >> 33;
}

static uint64_t
earliest(const struct c2_timer *t, size_t *ret_count)
{
    uint64_t min = C2_NEVER;
    *ret_count = 0;
    for (int i = 0; i < TIMERS; i++) {
        if (!c2_timer_armed(&t[i]))
            continue;
        min = C2_MIN(min, t[i].deadline_ns);
        ++*ret_count;
    }
    return min;
}

static void
timers__first_is_always_the_earliest(void **state)
{
    (void)state;
    struct c2_timers h = { 0 };
    struct c2_timer t[TIMERS] = { 0 };
    uint64_t seed = 1;
    size_t count;
    assert_null(c2_timers_first(&h));
    for (int step = 0; step < 20000; step++) {
        struct c2_timer *one = &t[next_random(&seed) % TIMERS];
        uint64_t what = next_random(&seed) % 4;
        if (what < 2)
            c2_timers_arm(&h, one, next_random(&seed) % 1000);
        else if (what == 2)
            c2_timers_stop(&h, one);
        else if (c2_timers_first(&h) != NULL)
            c2_timers_stop(&h, c2_timers_first(&h));
        uint64_t min = earliest(t, &count);
        assert_int_equal(h.count, count);
        assert_int_equal(c2_timers_first(&h) == NULL, count == 0);
        if (count > 0)
            assert_true(c2_timers_first(&h)->deadline_ns == min);
    }
    c2_timers_done(&h);
}

static void
timers__come_out_sorted(void **state)
{
    (void)state;
    struct c2_timers h = { 0 };
    struct c2_timer t[TIMERS] = { 0 };
    for (unsigned i = 0; i < TIMERS; i++)
        c2_timers_arm(&h, &t[i], i * 7919 % TIMERS);
    for (unsigned i = 0; i < TIMERS; i++) {
        struct c2_timer *first = c2_timers_first(&h);
        assert_int_equal(first->deadline_ns, i);
        c2_timers_stop(&h, first);
        assert_false(c2_timer_armed(first));
    }
    assert_null(c2_timers_first(&h));
    c2_timers_done(&h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers__first_is_always_the_earliest),
        cmocka_unit_test(timers__come_out_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
