/* SPDX-License-Identifier: MIT */
/*
 * Watches of a client of replicas: what a replica may not do to it, and that no change is missed
 * when a replica is late.
 */
#include "base/alloc.h"
#include "base/wire.h"
#include "metadata/bft_client_int.h"
#include "metadata/msg.h"
#include "tests/lib/bft_rig.h"
#include "tests/lib/coord_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define LIAR       3u
#define MANY       200000u
#define LOSSES_MAX 1000u
#define LONG_S     20u
#define EVENTS_MAX 150000u /* a stream may have them; what they take is bounded by bytes */

static struct bft_client *
client(const struct coord_fixture *f)
{
    return C2_CONTAINER_OF(f->c, struct bft_client, base);
}

static void
watch(struct coord_fixture *f, struct coord_counter *w, const char *prefix)
{
    *w = coord_counter(prefix);
    coord_watch(f->c, &w->w);
    test_env_run_for(f->t, C2_NS_PER_S);
    assert_int_equal(w->reloads, 1);
    assert_int_equal(w->events, 0);
}

/* ---- a liar ---------------------------------------------------------------------------------- */

/* As the replica would send it, in its stream. */
static void
tell(struct coord_fixture *f, uint64_t n, uint64_t after, struct c2_slice events)
{
    const struct client_stream *s = &client(f)->replicas[LIAR].stream;
    struct msg_head h = { .type = MSG_EVENT, .sender = LIAR, .epoch = f->rig->config.epoch };
    const struct msg_event e = { .wseq = s->wseq, .n = n, .after = after, .events = events };
    struct c2_buf out = { 0 };
    h.cluster = f->rig->config.cluster;
    msg_write_event(&out, &h, &e);
    test_hub_inject(f->rig->hub, LIAR, BFT_RIG_CLIENT, c2_buf_slice(&out));
    test_env_run_ready(f->t);
    c2_buf_done(&out);
}

/* Events of batches that never come wait for ever. */
static void
assert_bounded(struct coord_fixture *f, struct c2_slice events)
{
    const struct client_stream *s = &client(f)->replicas[LIAR].stream;
    static struct coord_counter w; /* outlives a failure */
    size_t most = 0;
    watch(f, &w, "key");
    assert_true(s->registered);
    for (uint64_t i = 0; i < MANY; i++) {
        tell(f, s->last_n + 1000, s->last_n, events);
        most = C2_MAX(most, s->pending.count);
    }
    assert_in_range(most, 0, EVENTS_MAX);
    put(f, "key", "value");
    test_env_run_for(f->t, C2_NS_PER_S);
    assert_true(w.events + w.reloads > 1);
    coord_unwatch(f->c, &w.w);
}

static void
liar__fills_no_memory_with_events_of_nothing(void **state)
{
    assert_bounded(*state, c2_slice(NULL, 0));
}

static void
liar__fills_no_memory_with_short_events(void **state)
{
    C2_AUTO(c2_buf_done) struct c2_buf events = { 0 };
    c2_wr_u64(&events, 1);
    c2_wr_u8(&events, 0);
    c2_wr_bytes(&events, c2_slice_str("k"));
    assert_bounded(*state, c2_buf_slice(&events));
}

/* It acknowledges each WATCH, and has lost something at once. */
struct loser {
    struct test_hub *hub;
    struct msg_head head;
    unsigned asked;
};

static void
answer_watch(const struct loser *l, struct msg_event e)
{
    struct c2_buf out = { 0 };
    msg_write_event(&out, &l->head, &e);
    test_hub_inject(l->hub, LIAR, BFT_RIG_CLIENT, c2_buf_slice(&out));
    c2_buf_done(&out);
}

static bool
loses(void *arg, unsigned from, unsigned to, struct c2_slice m)
{
    struct loser *l = arg;
    struct msg_watch w;
    struct msg_event e;
    if (from == LIAR && to == BFT_RIG_CLIENT && msg_read_event(m, &e) == C2_E_OK)
        return false;
    if (from != BFT_RIG_CLIENT || to != LIAR || msg_read_watch(m, &w) != C2_E_OK)
        return true;
    if (++l->asked > LOSSES_MAX)
        return false;
    answer_watch(l, (struct msg_event){ .wseq = w.wseq, .n = 1 });
    answer_watch(l, (struct msg_event){ .wseq = w.wseq, .n = 2, .after = 1, .lost = 1 });
    return false;
}

static void
liar__that_loses_everything_is_asked_now_and_then(void **state)
{
    struct coord_fixture *f = *state;
    static struct coord_counter w;
    static struct loser l;
    l = (struct loser){ .hub = f->rig->hub };
    l.head = (struct msg_head){ .type = MSG_EVENT, .sender = LIAR };
    l.head.epoch = f->rig->config.epoch;
    l.head.cluster = f->rig->config.cluster;
    put(f, "key", "before");
    test_hub_filter(f->rig->hub, loses, &l);
    watch(f, &w, "key");
    test_env_run_for(f->t, LONG_S * C2_NS_PER_S);
    assert_in_range(l.asked, 2, 2 * LONG_S);
    put(f, "key", "value");
    test_env_run_for(f->t, C2_NS_PER_S);
    assert_int_equal(w.events, 1); /* the others are enough */
    assert_int_equal(w.reloads, 1);
    test_hub_filter(f->rig->hub, NULL, NULL);
    test_env_run_for(f->t, 2 * C2_NS_PER_S);
    assert_true(client(f)->replicas[LIAR].stream.registered);
    coord_unwatch(f->c, &w.w);
}

/* ---- late replicas --------------------------------------------------------------------------- */

/* What comes from the replicas that are late is in another epoch. */
static bool
passes(void *arg, unsigned from, unsigned to, struct c2_slice m)
{
    const unsigned *late = arg;
    struct msg_event e;
    if (from >= BFT_RIG_MAX || to != BFT_RIG_CLIENT || (*late >> from & 1) == 0 ||
        msg_read_event(m, &e) != C2_E_OK)
        return true;
    return false;
}

/* A change happens while the client is about to follow the replicas to another epoch: three of them
 * still answer in the old one, which does not count, and say nothing of it later. The first one is
 * in the new one, and has told of the change before. */
static void
change__that_came_while_replicas_were_late_is_not_missed(void **state)
{
    struct coord_fixture *f = *state;
    static struct coord_counter w;
    unsigned late = (1u << f->rig->n) - 1;
    w = coord_counter("key");
    put(f, "key", "before");
    test_hub_filter(f->rig->hub, passes, &late);
    coord_watch(f->c, &w.w);
    test_env_run_ready(f->t);
    put(f, "key", "value");
    test_hub_cut(f->rig->hub, BFT_RIG_CLIENT, 0, true);
    test_env_run_ready(f->t);
    late &= ~1u;
    test_hub_cut(f->rig->hub, BFT_RIG_CLIENT, 0, false);
    test_env_run_for(f->t, C2_NS_PER_S / 4);
    assert_true(client(f)->replicas[0].stream.registered);
    assert_int_equal(w.events + w.reloads, 0);
    test_hub_filter(f->rig->hub, NULL, NULL);
    test_env_run_for(f->t, 20 * C2_NS_PER_S);
    assert_int_equal(w.reloads, 1);
    put(f, "key", "again");
    test_env_run_for(f->t, C2_NS_PER_S);
    assert_int_equal(w.events, 1);
    coord_unwatch(f->c, &w.w);
}

/* One says nothing for long. Another one comes back, and its first word is lost: it is asked again
 * soon, however long the first one is waited for by now. */
static void
replica__that_is_silent_holds_up_no_other(void **state)
{
    struct coord_fixture *f = *state;
    static struct coord_counter w;
    static unsigned late;
    late = 1u << LIAR;
    test_hub_filter(f->rig->hub, passes, &late);
    watch(f, &w, "key");
    test_env_run_for(f->t, 60 * C2_NS_PER_S);
    test_hub_cut(f->rig->hub, BFT_RIG_CLIENT, 0, true);
    test_env_run_ready(f->t);
    late |= 1;
    test_hub_cut(f->rig->hub, BFT_RIG_CLIENT, 0, false);
    test_env_run_for(f->t, C2_NS_PER_S / 2);
    assert_true(client_is_up(client(f), 0));
    assert_false(client(f)->replicas[0].stream.registered);
    late = 1u << LIAR;
    test_env_run_for(f->t, C2_NS_PER_S);
    assert_true(client(f)->replicas[0].stream.registered);
    assert_false(client(f)->replicas[LIAR].stream.registered);
    test_hub_filter(f->rig->hub, NULL, NULL);
    coord_unwatch(f->c, &w.w);
}

int
main(void)
{
#define T(name)                                                                                    \
    cmocka_unit_test_setup_teardown(name, coord_fixture_setup_bft, coord_fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(liar__fills_no_memory_with_events_of_nothing),
        T(liar__fills_no_memory_with_short_events),
        T(liar__that_loses_everything_is_asked_now_and_then),
        T(replica__that_is_silent_holds_up_no_other),
        T(change__that_came_while_replicas_were_late_is_not_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
