/* SPDX-License-Identifier: MIT */
/*
 * Answers that come late. Fast reads beside a replica that is of no use: it costs time now and
 * then, not each time. And requests to replicas that are far away: they are not repeated while
 * their answers are on the way.
 */
#include "metadata/bft_client_int.h"
#include "metadata/msg.h"
#include "tests/lib/bft_rig.h"
#include "tests/lib/coord_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define READS    40u
#define WAY_NS   C2_NS_PER_MS /* of an answer */
#define HEDGE_NS (20 * C2_NS_PER_MS)
#define HELD_MAX 256u

enum fault { NONE, SILENT, WRONG, WITHOUT_RESULT, ALL_DIFFER };

/* An answer on its way. */
struct held {
    struct slow_net *net;
    struct c2_timer timer;
    struct c2_buf bytes;
    unsigned from;
};

/* Answers take a while, or only those to fast reads; those of one replica come otherwise, if at
 * all. */
struct slow_net {
    struct test_hub *hub;
    struct c2_env *env;
    uint64_t way_ns, ordered_way_ns; /* 0 = as fast as the network */
    enum fault fault;
    unsigned seat;                    /* whose */
    unsigned reads[MSG_REPLICAS_MAX]; /* that each replica was sent */
    struct held held[HELD_MAX];
    unsigned next;
};

static struct bft_client *
client(const struct coord_fixture *f)
{
    return C2_CONTAINER_OF(f->c, struct bft_client, base);
}

static void
arrive(struct c2_timer *t)
{
    struct held *h = C2_CONTAINER_OF(t, struct held, timer);
    test_hub_inject(h->net->hub, h->from, BFT_RIG_CLIENT, c2_buf_slice(&h->bytes));
    c2_buf_done(&h->bytes);
}

static void
spoil(enum fault fault, unsigned from, struct msg_read_reply *reply)
{
    reply->has_result = 0;
    reply->result = c2_slice(NULL, 0);
    if (fault != WITHOUT_RESULT)
        memset(reply->digest, (int)from, sizeof reply->digest);
}

static void
send_late(struct slow_net *s, unsigned from, uint64_t way_ns, struct c2_slice m)
{
    struct held *h = &s->held[s->next++ % HELD_MAX];
    assert_int_equal(h->bytes.len, 0);
    h->net = s;
    h->from = from;
    h->timer.fire = arrive;
    c2_buf_append(&h->bytes, m.data, m.len);
    c2_timer_arm(s->env, &h->timer, c2_now_ns(s->env) + way_ns + from * way_ns / 8);
}

static bool
delays(void *arg, unsigned from, unsigned to, struct c2_slice m)
{
    struct slow_net *s = arg;
    struct msg_head head;
    struct msg_read_reply reply;
    struct c2_buf out = { 0 };
    bool bad = from == s->seat && s->fault != NONE;
    if (msg_read_head(m, &head) != C2_E_OK)
        return true;
    if (head.type == MSG_READ)
        s->reads[to]++;
    if (to != BFT_RIG_CLIENT)
        return true;
    if (head.type == MSG_REPLY && s->ordered_way_ns != 0) {
        if (!bad)
            send_late(s, from, s->ordered_way_ns, m);
        return false;
    }
    if (msg_read_read_reply(m, &reply) != C2_E_OK)
        return true;
    if (bad && s->fault == SILENT)
        return false;
    if (bad || s->fault == ALL_DIFFER)
        spoil(s->fault, from, &reply);
    msg_write_read_reply(&out, &head, &reply);
    send_late(s, from, s->way_ns, c2_buf_slice(&out));
    c2_buf_done(&out);
    return false;
}

static unsigned
fastest(const struct coord_fixture *f)
{
    unsigned best = 0;
    for (unsigned i = 1; i < f->rig->n; i++) {
        if (client(f)->replicas[i].srtt_ns < client(f)->replicas[best].srtt_ns)
            best = i;
    }
    return best;
}

/* How long READS reads take beside a replica like that, which was the fastest one before. */
static uint64_t
read_beside(struct coord_fixture *f, enum fault fault)
{
    static struct slow_net s;
    struct bft_client_info before, after;
    s = (struct slow_net){ .hub = f->rig->hub, .env = f->env, .way_ns = WAY_NS };
    put(f, "key", "value");
    test_hub_filter(f->rig->hub, delays, &s);
    for (unsigned i = 0; i < READS; i++)
        assert_value(f, "key", "value");
    s.fault = fault;
    s.seat = fastest(f);
    bft_client_info(f->c, &before);
    uint64_t from_ns = c2_now_ns(f->env);
    for (unsigned i = 0; i < READS; i++)
        assert_value(f, "key", "value");
    uint64_t took_ns = c2_now_ns(f->env) - from_ns;
    bft_client_info(f->c, &after);
    assert_int_equal(after.ordered_reads, before.ordered_reads);
    test_env_run_for(f->t, C2_NS_PER_S);
    test_hub_filter(f->rig->hub, NULL, NULL);
    return took_ns;
}

static void
read__is_seldom_held_up_by_a_replica_that_is_silent(void **state)
{
    struct coord_fixture *f = *state;
    uint64_t alone_ns = read_beside(f, NONE);
    assert_in_range(read_beside(f, SILENT), 0, 3 * HEDGE_NS + 2 * alone_ns);
}

static void
read__seldom_needs_a_second_round_because_of_another_answer(void **state)
{
    struct coord_fixture *f = *state;
    uint64_t alone_ns = read_beside(f, NONE);
    assert_in_range(read_beside(f, WRONG), 0, alone_ns * 5 / 4);
}

static void
read__seldom_needs_a_second_round_because_of_a_result_that_is_kept_back(void **state)
{
    struct coord_fixture *f = *state;
    uint64_t alone_ns = read_beside(f, NONE);
    assert_in_range(read_beside(f, WITHOUT_RESULT), 0, alone_ns * 5 / 4);
}

/* A replica that is asked by nobody believes whoever sends much to it to be alone. */
static void
read__goes_to_each_replica_twice_a_second_and_to_a_quorum_otherwise(void **state)
{
    struct coord_fixture *f = *state;
    static struct slow_net s;
    const unsigned seconds = 5;
    unsigned sent = 0, made = 0;
    (void)read_beside(f, SILENT);
    s = (struct slow_net){ .hub = f->rig->hub, .env = f->env, .way_ns = WAY_NS };
    test_hub_filter(f->rig->hub, delays, &s);
    uint64_t end_ns = c2_now_ns(f->env) + seconds * C2_NS_PER_S;
    for (; c2_now_ns(f->env) < end_ns; made++) {
        assert_value(f, "key", "value");
        test_env_run_for(f->t, 10 * C2_NS_PER_MS);
    }
    test_env_run_for(f->t, C2_NS_PER_S);
    test_hub_filter(f->rig->hub, NULL, NULL);
    for (unsigned i = 0; i < f->rig->n; i++) {
        assert_in_range(s.reads[i], 2 * seconds - 1, made);
        sent += s.reads[i];
    }
    assert_in_range(sent, 3 * made, 3 * made + 2 * seconds);
}

/* ---- replicas far away ----------------------------------------------------------------------- */

#define FAR_NS   (400 * C2_NS_PER_MS)
#define REQUESTS 20u

static void
request__is_not_repeated_while_its_answer_is_on_the_way(void **state)
{
    struct coord_fixture *f = *state;
    static struct slow_net s;
    struct bft_client_info before, after;
    put(f, "key", "value");
    s = (struct slow_net){ .hub = f->rig->hub, .env = f->env, .ordered_way_ns = FAR_NS };
    test_hub_filter(f->rig->hub, delays, &s);
    bft_client_info(f->c, &before);
    for (unsigned i = 0; i < REQUESTS; i++)
        put(f, "key", "value");
    bft_client_info(f->c, &after);
    assert_in_range(after.repeated - before.repeated, 0, 3);
    test_env_run_for(f->t, C2_NS_PER_S);
    test_hub_filter(f->rig->hub, NULL, NULL);
}

/* One of them does not answer; when it is the one that has to send the result, another number, for
 * which another one has to, is tried as soon as a repetition is due. */
static void
read__gets_its_long_answer_from_another_one_although_all_are_far_away(void **state)
{
    struct coord_fixture *f = *state;
    static struct slow_net s;
    struct bft_client_info before, after;
    char value[4000];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    put(f, "long", value);
    s = (struct slow_net){ .hub = f->rig->hub, .env = f->env, .way_ns = WAY_NS };
    s.ordered_way_ns = FAR_NS;
    s.fault = ALL_DIFFER;
    s.seat = f->rig->n - 1;
    test_hub_filter(f->rig->hub, delays, &s);
    for (unsigned i = 0; i < f->rig->n; i++)
        assert_value(f, "long", value);
    bft_client_info(f->c, &before);
    for (unsigned i = 0; i < f->rig->n; i++)
        assert_value(f, "long", value);
    bft_client_info(f->c, &after);
    assert_int_equal(after.ordered_reads - before.ordered_reads, f->rig->n);
    assert_int_equal(after.repeated, before.repeated);
    test_env_run_for(f->t, C2_NS_PER_S);
    test_hub_filter(f->rig->hub, NULL, NULL);
}

int
main(void)
{
#define T(name)                                                                                    \
    cmocka_unit_test_setup_teardown(name, coord_fixture_setup_bft, coord_fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(read__is_seldom_held_up_by_a_replica_that_is_silent),
        T(read__seldom_needs_a_second_round_because_of_another_answer),
        T(read__seldom_needs_a_second_round_because_of_a_result_that_is_kept_back),
        T(read__goes_to_each_replica_twice_a_second_and_to_a_quorum_otherwise),
        T(read__gets_its_long_answer_from_another_one_although_all_are_far_away),
        T(request__is_not_repeated_while_its_answer_is_on_the_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
