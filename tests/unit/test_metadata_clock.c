/* SPDX-License-Identifier: MIT */
/*
 * The agreed time: it goes on when clocks are set back, and no primary can make it run, or leap,
 * further than when they are right.
 */
#include "base/alloc.h"
#include "base/mark.h"
#include "metadata/bft_int.h"
#include "tests/lib/bft_rig.h"
#include "tests/lib/cheap_sign.h"
#include "tests/lib/skewed_env.h"

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

/* A process that starts knows what time was agreed on, and not when. */
static void
start_again(struct bft_replica *r)
{
    r->steady_ns = r->steady_at_ns = 0;
    bft_clock_agreed(r);
}

static void
time__does_not_run_when_replicas_start_again_and_again(void **state)
{
    (void)state;
    struct bft_replica *r = make_set_back(0);
    for (unsigned i = 0; i < MANY; i++) {
        agree(r, latest(r));
        pass(r, STEP_NS);
        start_again(r);
    }
    uint64_t true_ns = BEGIN_NS + 2 * MANY * STEP_NS;
    assert_in_range(r->time_ns, true_ns, true_ns + r->config.clock_skew_ns);
    bft_free(r);
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

/* ---- a wrong clock is told ------------------------------------------------------------------- */

struct service {
    struct test_env *t;
    struct bft_rig *rig;
    struct skewed_env skewed[4];
};

static void
start_service(struct service *s)
{
    c2_mark_reset();
    s->t = test_env_new(1);
    s->rig = bft_rig_new(s->t, 1);
    for (unsigned i = 0; i < s->rig->n; i++) {
        skewed_env_init(&s->skewed[i], s->rig->env);
        s->rig->replica[i].env = &s->skewed[i].env;
    }
    bft_rig_start_all(s->rig);
    test_env_run_for(s->t, 10 * C2_NS_PER_S);
}

static void
end_service(struct service *s)
{
    bft_rig_free(s->rig);
    test_env_free(s->t);
}

static struct node_info
look(const struct service *s, unsigned i)
{
    struct node_info info;
    node_info(s->rig->replica[i].node, &info);
    return info;
}

static bool
says(const struct service *s, unsigned i, const char *words)
{
    struct c2_buf out = { 0 };
    node_status(s->rig->replica[i].node, &out);
    node_metrics(s->rig->replica[i].node, &out);
    bool found = strstr(c2_buf_cstr(&out), words) != NULL;
    c2_buf_done(&out);
    return found;
}

/* One that is ahead does not vote, one that is behind is made up for. */
static void
wrong_clock__of_a_replica_is_told_by_it_alone(void **state)
{
    (void)state;
    for (int sign = -1; sign <= 1; sign += 2) {
        for (unsigned who = 0; who < 4; who += 3) { /* the first primary, and a backup */
            struct service s;
            start_service(&s);
            for (unsigned i = 0; i < 4; i++)
                assert_false(look(&s, i).clock_wrong);
            s.skewed[who].ahead_ns = sign * (int64_t)HOUR_NS;
            test_env_run_for(s.t, 60 * C2_NS_PER_S);
            for (unsigned i = 0; i < 4; i++)
                assert_int_equal(look(&s, i).clock_wrong, i == who);
            assert_in_range(sign * look(&s, who).clock_ahead_ns, HOUR_NS - 5 * C2_NS_PER_S,
                            HOUR_NS + 5 * C2_NS_PER_S);
            assert_true(says(&s, who, "\"clock_wrong\":true"));
            assert_true(says(&s, who, "\nc2fs_metad_clock_wrong 1\n"));
            assert_true(says(&s, who, sign < 0 ? "\"clock_ahead_ms\":-3" : "\"clock_ahead_ms\":3"));
            assert_true(
                says(&s, who, sign < 0 ? "clock_ahead_seconds -3" : "clock_ahead_seconds 3"));
            s.skewed[who].ahead_ns = 0;
            test_env_run_for(s.t, 60 * C2_NS_PER_S);
            assert_false(look(&s, who).clock_wrong);
            end_service(&s);
        }
    }
}

/* Nobody can say then which ones are right. */
static void
wrong_clock__of_half_of_the_replicas_is_told_by_all(void **state)
{
    (void)state;
    struct service s;
    start_service(&s);
    s.skewed[1].ahead_ns = s.skewed[2].ahead_ns = (int64_t)HOUR_NS;
    test_env_run_for(s.t, 600 * C2_NS_PER_S);
    for (unsigned i = 0; i < 4; i++)
        assert_true(look(&s, i).clock_wrong);
    end_service(&s);
}

static void
wrong_clock__is_logged_now_and_then(void **state)
{
    (void)state;
    struct service s;
    start_service(&s);
    assert_int_equal(c2_mark_count("node: the clock is wrong"), 0);
    s.skewed[3].ahead_ns = (int64_t)HOUR_NS;
    test_env_run_for(s.t, 300 * C2_NS_PER_S);
    assert_int_equal(c2_mark_count("node: the clock is wrong"), 1);
    test_env_run_for(s.t, 2000 * C2_NS_PER_S);
    assert_in_range(c2_mark_count("node: the clock is wrong"), 2, 5);
    end_service(&s);
}

/* A primary that lies about the time is no reason to accuse the own clock, if others go on. */
static void
wrong_clock__is_not_found_by_few_proposals(void **state)
{
    (void)state;
    struct bft_replica *r = make_running();
    struct bft_slot s = { .have_proposal = true };
    int64_t ahead_ns = 0;
    for (unsigned i = 0; i < MANY; i++) {
        s.timed = false;
        s.seen_ns = r->now_ns;
        for (unsigned again = 0; again < 2; again++)
            bft_clock_compare(r, &s, r->wall_ns - (i % 3 == 0 ? 0 : HOUR_NS), i % 3 == 0);
        assert_false(bft_clock_is_wrong(r, &ahead_ns));
        pass(r, STEP_NS);
    }
    bft_free(r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_clock__of_a_replica_is_told_by_it_alone),
        cmocka_unit_test(wrong_clock__of_half_of_the_replicas_is_told_by_all),
        cmocka_unit_test(wrong_clock__is_logged_now_and_then),
        cmocka_unit_test(wrong_clock__is_not_found_by_few_proposals),
        cmocka_unit_test(time__does_not_run_when_a_primary_wants_it_to),
        cmocka_unit_test(time__does_not_run_when_replicas_start_again_and_again),
        cmocka_unit_test(time__does_not_leap_when_a_primary_has_held_it_back),
        cmocka_unit_test(time__of_an_honest_primary_goes_on_and_is_accepted),
        cmocka_unit_test(time__that_was_proposed_with_a_wrong_clock_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
