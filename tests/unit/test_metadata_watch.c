/* SPDX-License-Identifier: MIT */
/*
 * What a replica tells a client that watches, when it cannot tell everything: the client must
 * learn that, whatever happens, or does not happen, afterwards. And what a client must be able to
 * say when it cannot say everything.
 */
#include "base/alloc.h"
#include "metadata/msg.h"
#include "tests/lib/bft_rig.h"
#include "tests/lib/coord_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define OTHER   1u /* its key; f->c watches */
#define LAGGARD 3u
#define PATIENT (10 * C2_NS_PER_S)

static struct coord_counter *
watch(struct coord_fixture *f)
{
    struct coord_counter *w = c2_calloc(1, sizeof *w);
    *w = coord_counter("a/");
    coord_watch(f->c, &w->w);
    return w;
}

static void
end_watch(struct coord_fixture *f, struct coord_counter *w)
{
    coord_unwatch(f->c, &w->w);
    c2_free(w);
}

/* Whether the answers and events of all replicas to the one that watches are refused. */
static void
fill_queues(struct coord_fixture *f, bool full)
{
    for (unsigned i = 0; i < f->rig->n; i++)
        test_hub_fill(f->rig->hub, i, BFT_RIG_CLIENT, full);
}

static void
put_by_other(struct coord_fixture *f, const char *key)
{
    struct coord_fixture other = *f;
    other.c = bft_rig_client(f->rig, OTHER);
    put(&other, key, "value");
    coord_close(other.c);
    test_env_run_for(f->t, PATIENT);
}

static void
watch__hears_of_the_last_change_that_had_no_room_in_its_queues(void **state)
{
    struct coord_fixture *f = *state;
    struct coord_counter *w = watch(f);
    test_env_run_for(f->t, PATIENT);
    assert_int_equal(w->reloads, 1); /* it has begun */
    fill_queues(f, true);
    put_by_other(f, "a/1");
    assert_int_equal(w->events, 0);
    assert_int_equal(w->reloads, 1);
    fill_queues(f, false);
    test_env_run_for(f->t, PATIENT); /* and nothing else changes */
    assert_int_equal(w->events + w->reloads, 2);
    put_by_other(f, "a/2");
    assert_int_equal(w->events, 1);
    end_watch(f, w);
}

static void
watch__begins_when_there_is_room_for_what_says_so(void **state)
{
    struct coord_fixture *f = *state;
    fill_queues(f, true);
    struct coord_counter *w = watch(f);
    put_by_other(f, "a/1");
    assert_int_equal(w->reloads, 0);
    fill_queues(f, false);
    test_env_run_for(f->t, PATIENT);
    assert_int_equal(w->reloads, 1);
    put_by_other(f, "a/2");
    assert_int_equal(w->events, 1);
    end_watch(f, w);
}

/* ---- a client whose own queues are full of requests --------------------------------------------
 */

static void
fill_own_queues(struct coord_fixture *f, unsigned k, bool full)
{
    for (unsigned i = 0; i < f->rig->n; i++)
        test_hub_fill(f->rig->hub, BFT_RIG_CLIENT + k, i, full);
}

static void
watch__begins_although_requests_have_filled_the_queues_of_the_client(void **state)
{
    struct coord_fixture *f = *state;
    put(f, "a/0", "value");
    fill_own_queues(f, 0, true);
    struct coord_counter *w = watch(f);
    test_env_run_for(f->t, PATIENT);
    assert_int_equal(w->reloads, 1);
    put_by_other(f, "a/1");
    assert_int_equal(w->events, 1);
    fill_own_queues(f, 0, false);
    end_watch(f, w);
}

/* Who connects has its requests ready, and they may be more than the queue holds. */
static void
client__shows_its_certificate_however_much_it_has_to_send(void **state)
{
    struct coord_fixture *f = *state;
    struct coord_fixture other = *f;
    struct bft_client_info info;
    fill_own_queues(f, OTHER, true);
    other.c = bft_rig_client(f->rig, OTHER);
    test_env_run_for(f->t, PATIENT);
    bft_client_info(other.c, &info);
    assert_true(info.session);
    fill_own_queues(f, OTHER, false);
    put(&other, "a/1", "value");
    coord_close(other.c);
    test_env_run_for(f->t, PATIENT);
}

/* ---- a replica that has not executed everything ---------------------------------------------- */

/* What LAGGARD tells; decisions do not arrive there, so that it has to fetch the state. */
struct stream {
    uint64_t last; /* batch that it has told of */
    bool broken;   /* it has said that something may be missing */
};

static bool
overhear(void *arg, unsigned from, unsigned to, struct c2_slice m)
{
    struct stream *s = arg;
    struct msg_head h;
    struct msg_event e;
    if (msg_read_head(m, &h) != C2_E_OK)
        return true;
    if (from != LAGGARD || to != BFT_RIG_CLIENT || msg_read_event(m, &e) != C2_E_OK)
        return to != LAGGARD || h.type != MSG_DECIDED;
    s->broken = s->broken || e.lost != 0 || e.after != s->last;
    s->last = e.n;
    return true;
}

static void
watch__is_told_that_a_replica_has_fetched_what_it_did_not_execute(void **state)
{
    struct coord_fixture *f = *state;
    struct stream s = { 0 };
    struct coord_counter *w = watch(f);
    test_env_run_for(f->t, PATIENT);
    put(f, "a/before", "1");
    test_env_run_for(f->t, PATIENT);
    test_hub_filter(f->rig->hub, overhear, &s);
    put(f, "a/before", "2");
    test_env_run_for(f->t, PATIENT);
    s.broken = false;
    for (unsigned i = 0; i < LAGGARD; i++)
        test_hub_cut(f->rig->hub, i, LAGGARD, true);
    for (unsigned i = 0; i < f->rig->config.checkpoint_interval + 10; i++)
        put(f, "a/hidden", "value");
    assert_false(s.broken);
    for (unsigned i = 0; i < LAGGARD; i++)
        test_hub_cut(f->rig->hub, i, LAGGARD, false);
    while (bft_rig_info(f->rig, LAGGARD).count.syncs == 0 ||
           bft_rig_info(f->rig, LAGGARD).mode != BFT_RUNNING)
        assert_true(test_env_step(f->t));
    test_hub_filter(f->rig->hub, overhear, &s);
    put(f, "a/after", "value");
    test_env_run_for(f->t, PATIENT);
    assert_true(s.broken);
    test_hub_filter(f->rig->hub, NULL, NULL);
    end_watch(f, w);
}

int
main(void)
{
#define T(name)                                                                                    \
    cmocka_unit_test_setup_teardown(name, coord_fixture_setup_bft, coord_fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(watch__hears_of_the_last_change_that_had_no_room_in_its_queues),
        T(watch__begins_when_there_is_room_for_what_says_so),
        T(watch__begins_although_requests_have_filled_the_queues_of_the_client),
        T(client__shows_its_certificate_however_much_it_has_to_send),
        T(watch__is_told_that_a_replica_has_fetched_what_it_did_not_execute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
