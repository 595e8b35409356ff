/* SPDX-License-Identifier: MIT */
/*
 * The agreed time: it goes on when clocks are set back, and no primary can make it run, or leap,
 * further than when they are right.
 */
#include "base/alloc.h"
#include "metadata/bft_int.h"
#include "tests/lib/cheap_sign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define HOUR_NS  (3600 * C2_NS_PER_S)
#define BEGIN_NS (1700000000ull * C2_NS_PER_S)
#define STEP_NS  (10 * C2_NS_PER_MS) /* from one batch to the next */
#define MANY     1000u

static struct bft_replica *
make_running(void)
{
    struct bft_setup setup;
    struct bft_replica *r = NULL;
    const char *why = NULL;
    cheap_sign_setup(&setup, 0, 1);
    assert_int_equal(bft_new(&setup, &r, &why), C2_E_OK);
    r->now_ns = C2_NS_PER_S;
    r->wall_ns = BEGIN_NS;
    return r;
}

static void
agree(struct bft_replica *r, uint64_t time_ns)
{
    r->time_ns = C2_MAX(r->time_ns, time_ns);
    bft_clock_agreed(r);
}

static void
pass(struct bft_replica *r, uint64_t ns)
{
    r->now_ns += ns;
    r->wall_ns += ns;
}

/* The latest time that it votes for. */
static uint64_t
latest(const struct bft_replica *r)
{
    uint64_t low = r->time_ns, high = r->time_ns + 2 * HOUR_NS;
    assert_true(bft_clock_accepts(r, low));
    assert_false(bft_clock_accepts(r, high));
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (bft_clock_accepts(r, middle))
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* A replica that has agreed on a right time for a while; then its clock is set back. */
static struct bft_replica *
make_set_back(uint64_t by_ns)
{
    struct bft_replica *r = make_running();
    for (unsigned i = 0; i < MANY; i++) {
        agree(r, r->wall_ns);
        pass(r, STEP_NS);
    }
    r->wall_ns -= by_ns;
    return r;
}

static void
time__does_not_run_when_a_primary_wants_it_to(void **state)
{
    (void)state;
    for (unsigned back = 0; back < 2; back++) {
        struct bft_replica *r = make_set_back(back * HOUR_NS);
        for (unsigned i = 0; i < MANY; i++) {
            agree(r, latest(r));
            pass(r, STEP_NS);
        }
        uint64_t true_ns = BEGIN_NS + 2 * MANY * STEP_NS;
        assert_in_range(r->time_ns, true_ns, true_ns + r->config.clock_skew_ns);
        bft_free(r);
    }
}

static void
time__does_not_leap_when_a_primary_has_held_it_back(void **state)
{
    (void)state;
    struct bft_replica *r = make_set_back(HOUR_NS);
    for (unsigned i = 0; i < 100 * MANY; i++) {
        agree(r, r->time_ns + 1);
        pass(r, STEP_NS);
    }
    assert_true(latest(r) <= r->time_ns + 2 * r->config.clock_skew_ns + STEP_NS);
    bft_free(r);
}

static void
time__of_an_honest_primary_goes_on_and_is_accepted(void **state)
{
    (void)state;
    struct bft_replica *primary = make_set_back(HOUR_NS);
    struct bft_replica *backup = make_set_back(HOUR_NS - C2_NS_PER_S);
    for (unsigned i = 0; i < MANY; i++) {
        uint64_t time_ns = bft_clock_propose(primary);
        assert_true(bft_clock_accepts(backup, time_ns));
        pass(primary, STEP_NS);
        pass(backup, STEP_NS);
        agree(primary, time_ns);
        agree(backup, time_ns);
    }
    uint64_t true_ns = BEGIN_NS + 2 * MANY * STEP_NS;
    assert_in_range(primary->time_ns, true_ns - primary->config.clock_skew_ns, true_ns);
    bft_free(primary);
    bft_free(backup);
}

static void
time__that_was_proposed_with_a_wrong_clock_is_forgotten(void **state)
{
    (void)state;
    struct bft_replica *r = make_set_back(0);
    r->wall_ns += HOUR_NS;
    assert_true(bft_clock_propose(r) > r->time_ns + HOUR_NS / 2); /* nobody votes for that */
    r->wall_ns -= HOUR_NS;
    bft_clock_new_view(r);
    assert_in_range(bft_clock_propose(r), r->time_ns, r->wall_ns);
    bft_free(r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time__does_not_run_when_a_primary_wants_it_to),
        cmocka_unit_test(time__does_not_leap_when_a_primary_has_held_it_back),
        cmocka_unit_test(time__of_an_honest_primary_goes_on_and_is_accepted),
        cmocka_unit_test(time__that_was_proposed_with_a_wrong_clock_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
