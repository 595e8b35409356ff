/* SPDX-License-Identifier: MIT */
/*
 * Answers that do not arrive, and requests that arrive in two forms: a command is executed once,
 * its answer is kept, and no replica waits for what was done.
 */
#include "base/alloc.h"
#include "base/mark.h"
#include "metadata/bft_int.h"
#include "metadata/msg.h"
#include "tests/lib/bft_rig.h"
#include "tests/lib/coord_fixture.h"
#include "tests/lib/death.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LAGGARD 3u
#define GROUP   4u

#define LONG_KEYS  15u /* of which one answer has all */
#define LONG_CALLS 12u

/* What is lost on the network. */
struct losses {
    uint64_t first, last; /* answers to these numbers; 0 = to the first number that comes */
    unsigned answers;
    bool laggard; /* and whatever tells LAGGARD that something was decided */
};

static bool
passes(void *arg, unsigned from, unsigned to, struct c2_slice m)
{
    struct losses *l = arg;
    struct msg_head h;
    struct msg_reply reply;
    (void)from;
    if (msg_read_head(m, &h) != C2_E_OK)
        return true;
    if (l->laggard && to == LAGGARD && (h.type == MSG_COMMIT || h.type == MSG_DECIDED))
        return false;
    if (h.type != MSG_REPLY || msg_read_reply(m, &reply) != C2_E_OK || reply.session == 0)
        return true;
    if (l->first == 0)
        l->first = l->last = reply.cseq;
    bool lost = reply.cseq >= l->first && reply.cseq <= l->last;
    l->answers += lost;
    return !lost;
}

static void
start_add(struct coord_fixture *f, struct coord_call *call, const struct coord_op *add)
{
    *call = (struct coord_call){ .r = { .verb = COORD_TXN, .ops = add, .nops = 1 } };
    coord_call_start(f, call);
}

static void
end_add(struct coord_fixture *f, struct coord_call *call)
{
    coord_call_wait(f, call);
    assert_int_equal(call->r.err, C2_E_OK);
    coord_req_done(&call->r);
}

/* Every answer to a command is lost, while others get so long ones that not all can be kept. */
static void
command__is_executed_once_whatever_was_answered_since(void **state)
{
    struct coord_fixture *f = *state;
    const struct coord_op add = op(COORD_ADD, "counter", NULL, 1);
    struct losses lost = { 0 };
    struct coord_call call;
    char value[4000];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    put(f, "long", value);
    test_env_run_for(f->t, C2_NS_PER_S);
    test_hub_filter(f->rig->hub, passes, &lost);
    start_add(f, &call, &add);
    test_env_run_for(f->t, C2_NS_PER_S);
    assert_true(lost.answers > 0);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(
            txn_if(f, cond(COORD_VALUE_EQ, "long", "other", 0), op(COORD_PUT, "never", "x", 0)),
            C2_E_CONFLICT);
    assert_false(call.completed);
    test_hub_filter(f->rig->hub, NULL, NULL);
    end_add(f, &call);
    assert_value(f, "counter", "\1");
}

/* Whoever cancels a command that was sent gets its answer, if there is one soon. */
static void
command__that_is_cancelled_ends_although_nobody_answers(void **state)
{
    struct coord_fixture *f = *state;
    const struct coord_op add = op(COORD_ADD, "counter", NULL, 1);
    struct losses lost = { .first = 1, .last = UINT64_MAX };
    struct coord_call call;
    put(f, "key", "value");
    start_add(f, &call, &add);
    while (bft_rig_info(f->rig, 0).requests == 0)
        assert_true(test_env_step(f->t));
    coord_cancel(f->c, &call.r);
    end_add(f, &call); /* OK */
    test_hub_filter(f->rig->hub, passes, &lost);
    start_add(f, &call, &add);
    test_env_run_for(f->t, 60 * C2_NS_PER_S);
    assert_false(call.completed);
    coord_cancel(f->c, &call.r);
    assert_false(call.completed);
    test_env_run_for(f->t, 10 * C2_NS_PER_S);
    assert_true(call.completed);
    assert_int_equal(call.r.err, C2_E_TIMEOUT);
    coord_req_done(&call.r);
    test_hub_filter(f->rig->hub, NULL, NULL);
    assert_value(f, "counter", "\2"); /* it has happened, once */
}

static void
assert_no_answer(struct coord_fixture *f, struct coord_call *call)
{
    static const struct c2_slice key = { (const uint8_t *)"key", 3 };
    *call = (struct coord_call){ .r = { .verb = COORD_GET, .keys = &key, .nkeys = 1 } };
    coord_call_start(f, call);
    test_env_run_for(f->t, 10 * C2_NS_PER_S);
    assert_false(call->completed);
}

/* It changes nothing, so nobody has to wait for what becomes of it. Many, so that their numbers are
 * needed again. */
static void
read__that_is_cancelled_ends_at_once_although_nobody_answers(void **state)
{
    struct coord_fixture *f = *state;
    struct coord_call call;
    put(f, "key", "value");
    for (unsigned k = 0; k < f->rig->n; k++)
        test_hub_cut(f->rig->hub, BFT_RIG_CLIENT, k, true);
    for (unsigned i = 0; i < 2 * BFT_SESSION_WINDOW; i++) {
        assert_no_answer(f, &call);
        coord_cancel(f->c, &call.r);
        test_env_run_ready(f->t);
        assert_true(call.completed);
        assert_int_equal(call.r.err, C2_E_CANCELED);
        coord_req_done(&call.r);
    }
    for (unsigned k = 0; k < f->rig->n; k++)
        test_hub_cut(f->rig->hub, BFT_RIG_CLIENT, k, false);
    for (unsigned i = 0; i < 2 * BFT_SESSION_WINDOW; i++)
        put(f, "key", "again");
    assert_value(f, "key", "again");
}

/* One replica lags, and gets one by one what it is about to execute as a group. */
static void
request__that_was_part_of_a_group_is_not_waited_for(void **state)
{
    struct coord_fixture *f = *state;
    const struct coord_op add = op(COORD_ADD, "counter", NULL, 1);
    struct coord_call call[GROUP];
    put(f, "key", "value");
    test_env_run_for(f->t, C2_NS_PER_S);
    uint64_t groups = c2_mark_count("client: commands with one signature");
    struct losses lost = { .first = 1, .last = UINT64_MAX, .laggard = true };
    test_hub_filter(f->rig->hub, passes, &lost);
    for (unsigned i = 0; i < GROUP; i++)
        start_add(f, &call[i], &add);
    while (bft_rig_info(f->rig, LAGGARD).requests < GROUP) /* the client has repeated them */
        assert_true(test_env_step(f->t));
    assert_true(c2_mark_count("client: commands with one signature") > groups);
    test_hub_filter(f->rig->hub, NULL, NULL);
    for (unsigned i = 0; i < GROUP; i++)
        end_add(f, &call[i]);
    test_env_run_for(f->t, 30 * C2_NS_PER_S);
    for (unsigned i = 0; i < f->rig->n; i++)
        assert_int_equal(bft_rig_info(f->rig, i).requests, 0);
    assert_value(f, "counter", "\4");
}

/* Long answers to commands of one batch are too much for it: those that are left out are asked for
 * anew. */
static void
answers__that_are_too_many_for_one_batch_come_all_the_same(void **state)
{
    struct coord_fixture *f = *state;
    static char value[COORD_VALUE_MAX];
    struct coord_cond conds[LONG_KEYS];
    char names[LONG_KEYS][8];
    struct coord_call call[LONG_CALLS];
    memset(value, 'v', sizeof value - 1);
    for (unsigned i = 0; i < LONG_KEYS; i++) {
        snprintf(names[i], sizeof names[i], "long%u", i);
        put(f, names[i], value);
        conds[i] = cond(COORD_ABSENT, names[i], NULL, 0);
    }
    const struct coord_op add = op(COORD_ADD, "counter", NULL, 1);
    uint64_t left_out = c2_mark_count("exec: too many answers for one batch");
    for (unsigned i = 0; i < LONG_CALLS; i++) {
        call[i] = (struct coord_call){ .r = { .verb = COORD_TXN, .conds = conds } };
        call[i].r.nconds = LONG_KEYS;
        call[i].r.ops = &add;
        call[i].r.nops = 1;
        coord_call_start(f, &call[i]);
    }
    for (unsigned i = 0; i < LONG_CALLS; i++) {
        coord_call_wait(f, &call[i]);
        assert_int_equal(call[i].r.err, C2_E_CONFLICT);
        assert_int_equal(call[i].r.nentries, LONG_KEYS);
        coord_req_done(&call[i].r);
    }
    assert_true(c2_mark_count("exec: too many answers for one batch") > left_out);
    assert_absent(f, "counter");
}

/* A second process with the key of the first client of the rig, in the same moment. */
static struct coord *
client_of_same_key(struct coord_fixture *f, unsigned number)
{
    struct bft_client_options o = { .config = &f->rig->config };
    o.secret = f->rig->client[1].secret;
    o.cert = f->rig->client[1].cert;
    o.net = test_net_new(f->rig->hub, BFT_RIG_CLIENT + number, f->rig->client[1].key);
    return bft_client_new(f->env, &o);
}

static void
clients__with_one_key_that_begin_at_once_are_not_taken_for_one(void **state)
{
    struct coord_fixture *f = *state;
    const struct coord_op add = op(COORD_ADD, "counter", NULL, 1);
    struct coord_fixture g[2] = { *f, *f };
    struct coord_call call[2];
    for (unsigned round = 0; round < 2; round++) {
        /* The second time their clock is behind what the service knows of this key. */
        for (unsigned i = 0; i < 2; i++)
            g[i].c = client_of_same_key(f, 1 + i);
        for (unsigned i = 0; i < 2; i++)
            start_add(&g[i], &call[i], &add);
        for (unsigned i = 0; i < 2; i++)
            end_add(&g[i], &call[i]);
        for (unsigned i = 0; i < 2; i++)
            coord_close(g[i].c);
        test_env_run_for(f->t, C2_NS_PER_S);
        if (round == 0)
            assert_value(f, "counter", "\2");
        test_env_wall_jump(f->t, -(int64_t)(2 * C2_NS_PER_S));
    }
    assert_value(f, "counter", "\4");
}

/* The replicas end the sessions of the protocol of a key that has many: what is kept alive is a
 * session of the service. */
static void
keepalive__is_answered_although_many_use_the_key(void **state)
{
    struct coord_fixture *f = *state;
    struct coord_fixture g[1 + BFT_SESSIONS_KEY];
    for (unsigned i = 0; i < C2_ARRAY_LEN(g); i++) {
        g[i] = *f;
        g[i].c = client_of_same_key(f, 1 + i);
    }
    uint64_t session = session_open(&g[0], 3600 * C2_NS_PER_S);
    for (unsigned i = 1; i < C2_ARRAY_LEN(g); i++)
        put(&g[i], "key", "value");
    assert_int_equal(session_keepalive(&g[0], session), C2_E_OK);
    for (unsigned i = 0; i < C2_ARRAY_LEN(g); i++)
        coord_close(g[i].c);
    test_env_run_for(f->t, C2_NS_PER_S);
}

static void
close_it(void *arg)
{
    struct coord_fixture *f = arg;
    coord_close(f->c);
}

/* Whoever asked it would never be answered. */
static void
close__before_a_request_is_done_is_a_mistake(void **state)
{
    struct coord_fixture *f = *state;
    static const struct c2_slice key = { (const uint8_t *)"key", 3 };
    const struct coord_op add = op(COORD_ADD, "counter", NULL, 1);
    struct coord_call get = { .r = { .verb = COORD_GET, .keys = &key, .nkeys = 1 } }, call;
    struct losses lost = { .first = 1, .last = UINT64_MAX };
    put(f, "key", "value");
    for (unsigned k = 1; k < f->rig->n; k++)
        test_hub_cut(f->rig->hub, BFT_RIG_CLIENT, k, true);
    coord_call_start(f, &get);
    test_env_run_for(f->t, 10 * C2_NS_PER_MS); /* it is sent */
    assert_false(get.completed);
    test_aborts(close_it, f, "assertion failed");
    for (unsigned k = 1; k < f->rig->n; k++)
        test_hub_cut(f->rig->hub, BFT_RIG_CLIENT, k, false);
    coord_call_wait(f, &get);
    coord_req_done(&get.r);
    test_hub_filter(f->rig->hub, passes, &lost);
    start_add(f, &call, &add);
    while (lost.answers == 0)
        assert_true(test_env_step(f->t));
    test_aborts(close_it, f, "assertion failed");
    test_hub_filter(f->rig->hub, NULL, NULL);
    end_add(f, &call);
}

/* ---- long answers, which one replica sends --------------------------------------------------- */

#define SILENT 2u
#define SOON   (200 * C2_NS_PER_MS) /* before the client repeats a request that is not answered */

/* Instead of the answer to a fast read: nobody says the same as anybody else. */
static void
tell_another(struct test_hub *hub, unsigned from, unsigned to, struct msg_head h,
             struct msg_read_reply reply)
{
    struct c2_buf out = { 0 };
    reply.has_result = 0;
    reply.result = c2_slice(NULL, 0);
    memset(reply.digest, (int)from, sizeof reply.digest);
    msg_write_read_reply(&out, &h, &reply);
    test_hub_inject(hub, from, to, c2_buf_slice(&out));
    c2_buf_done(&out);
}

/* All reads become ordered ones; SILENT executes them, and answers nothing. */
static bool
passes_but_answers(void *arg, unsigned from, unsigned to, struct c2_slice m)
{
    struct msg_head h;
    struct msg_read_reply reply;
    if (to < BFT_RIG_CLIENT || msg_read_head(m, &h) != C2_E_OK)
        return true;
    if (msg_read_read_reply(m, &reply) == C2_E_OK) {
        tell_another(arg, from, to, h, reply);
        return false;
    }
    return h.type != MSG_REPLY || from != SILENT;
}

/* So many reads and conflicts that everybody's turn to answer comes; each has its answer soon. */
static void
ask_for_long_answers(struct coord_fixture *f, const char *value)
{
    for (unsigned i = 0; i < 2 * f->rig->n; i++) {
        uint64_t from_ns = c2_now_ns(f->env);
        assert_value(f, "long", value);
        assert_in_range(c2_now_ns(f->env) - from_ns, 0, SOON);
        from_ns = c2_now_ns(f->env);
        assert_int_equal(
            txn_if(f, cond(COORD_VALUE_EQ, "long", "other", 0), op(COORD_PUT, "never", "x", 0)),
            C2_E_CONFLICT);
        assert_in_range(c2_now_ns(f->env) - from_ns, 0, SOON);
    }
}

static void
answers__come_soon_when_the_one_that_has_to_send_them_does_not(void **state)
{
    struct coord_fixture *f = *state;
    struct bft_client_info before, after;
    char value[4000];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    put(f, "long", value);
    assert_value(f, "long", value); /* the client knows how long a read takes */
    test_hub_filter(f->rig->hub, passes_but_answers, f->rig->hub);
    bft_client_info(f->c, &before);
    ask_for_long_answers(f, value);
    bft_client_info(f->c, &after);
    assert_true(after.ordered_reads - before.ordered_reads >= 2 * f->rig->n);
    test_hub_filter(f->rig->hub, NULL, NULL);
}

/* It is not even asked to. */
static void
answers__are_not_expected_from_a_replica_that_is_down(void **state)
{
    struct coord_fixture *f = *state;
    struct bft_client_info before, after;
    char value[4000];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    put(f, "long", value);
    assert_value(f, "long", value);
    bft_rig_stop(f->rig, SILENT);
    test_env_run_for(f->t, C2_NS_PER_S);
    test_hub_filter(f->rig->hub, passes_but_answers, f->rig->hub);
    uint64_t anew = c2_mark_count("client: an ordered read gets another number");
    bft_client_info(f->c, &before);
    for (unsigned i = 0; i < 2 * f->rig->n; i++)
        assert_value(f, "long", value);
    bft_client_info(f->c, &after);
    assert_int_equal(after.ordered_reads - before.ordered_reads, 2 * f->rig->n);
    assert_int_equal(c2_mark_count("client: an ordered read gets another number"), anew);
    put(f, "long", "short");
    assert_value(f, "long", "short");
    test_hub_filter(f->rig->hub, NULL, NULL);
}

int
main(void)
{
#define T(name)                                                                                    \
    cmocka_unit_test_setup_teardown(name, coord_fixture_setup_bft, coord_fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(command__is_executed_once_whatever_was_answered_since),
        T(command__that_is_cancelled_ends_although_nobody_answers),
        T(read__that_is_cancelled_ends_at_once_although_nobody_answers),
        T(request__that_was_part_of_a_group_is_not_waited_for),
        T(answers__that_are_too_many_for_one_batch_come_all_the_same),
        T(clients__with_one_key_that_begin_at_once_are_not_taken_for_one),
        T(close__before_a_request_is_done_is_a_mistake),
        T(keepalive__is_answered_although_many_use_the_key),
        T(answers__come_soon_when_the_one_that_has_to_send_them_does_not),
        T(answers__are_not_expected_from_a_replica_that_is_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
