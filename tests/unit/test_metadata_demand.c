/* SPDX-License-Identifier: MIT */
/*
 * Who is expected, by what there was at once of late.
 */
#include "metadata/demand.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void
demand__of_one_alone_expects_nobody(void **state)
{
    (void)state;
    struct demand d = { 0 };
    for (int i = 0; i < 100; i++) {
        demand_note(&d, 1);
        assert_true(demand_all_wait(&d, 1));
        demand_served(&d);
    }
}

static void
demand__expects_those_that_were_served_together(void **state)
{
    (void)state;
    struct demand d = { 0 };
    demand_note(&d, 64);
    demand_served(&d); /* 55 of them */
    assert_false(demand_all_wait(&d, 48));
    assert_true(demand_all_wait(&d, 49)); /* an eighth may be missing */
}

static void
demand__of_a_crowd_is_forgotten(void **state)
{
    (void)state;
    struct demand d = { 0 };
    demand_note(&d, 64);
    unsigned times = 0;
    while (!demand_all_wait(&d, 1)) {
        demand_note(&d, 1);
        demand_served(&d);
        times++;
    }
    assert_in_range(times, 10, 30);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(demand__of_one_alone_expects_nobody),
        cmocka_unit_test(demand__expects_those_that_were_served_together),
        cmocka_unit_test(demand__of_a_crowd_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
