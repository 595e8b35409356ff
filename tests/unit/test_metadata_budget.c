/* SPDX-License-Identifier: MIT */
/*
 * A client that wants everything beside one that wants little: what is counted is what the service
 * does for the greedy one while the other one waits.
 */
#include "metadata/bft_client.h"

#include "base/alloc.h"
#include "metadata/msg.h"
#include "tests/lib/bft_rig.h"
#include "tests/lib/coord_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SESSIONS 8
#define GREEDY   1 /* its key; f->c has another one */
#define MODEST   5 /* requests of the other one, one after the other */

struct want {
    struct flood *f;
    struct coord *c;
    struct coord_req r;
    struct coord_op op;
    struct c2_slice key;
    char name[32];
};

/* So many requests at once, each again as soon as it is done. The clock of the environment stands
 * still meanwhile. */
struct flood {
    struct coord *c[SESSIONS];
    struct want *wants; /* owned */
    size_t n, under_way;
    bool reads, stop, over;
    bool warm; /* each was done once */
    uint64_t done;
};

static void submit(struct want *w);

static void
answered(struct coord_req *r)
{
    struct want *w = C2_CONTAINER_OF(r, struct want, r);
    struct flood *f = w->f;
    assert_int_equal(r->err, C2_E_OK);
    coord_req_done(r);
    f->warm = ++f->done >= f->n;
    f->under_way--;
    if (!f->stop)
        submit(w);
    f->over = f->under_way == 0;
}

static void
submit(struct want *w)
{
    w->r = (struct coord_req){ .ops = &w->op, .nops = 1, .done = answered };
    if (w->f->reads)
        w->r =
            (struct coord_req){ .verb = COORD_GET, .keys = &w->key, .nkeys = 1, .done = answered };
    w->f->under_way++;
    coord_submit(w->c, &w->r);
}

static void
flood_start(struct coord_fixture *x, struct flood *f, size_t each, bool reads)
{
    f->reads = reads;
    f->n = SESSIONS * each;
    f->wants = c2_calloc(f->n, sizeof *f->wants);
    for (unsigned i = 0; i < SESSIONS; i++) {
        test_env_run_for(x->t, C2_NS_PER_MS); /* sessions of one key differ by their time */
        f->c[i] = bft_rig_client(x->rig, GREEDY);
    }
    for (size_t i = 0; i < f->n; i++) {
        struct want *w = &f->wants[i];
        w->f = f;
        w->c = f->c[i % SESSIONS];
        snprintf(w->name, sizeof w->name, "greedy%zu", i);
        w->key = c2_slice_str(w->name);
        w->op = (struct coord_op){ .kind = COORD_PUT, .key = w->key };
        submit(w);
    }
    test_env_run_until(x->t, &f->warm);
}

static void
flood_end(struct coord_fixture *x, struct flood *f)
{
    f->stop = true;
    test_env_run_until(x->t, &f->over);
    for (unsigned i = 0; i < SESSIONS; i++)
        coord_close(f->c[i]);
    c2_free(f->wants);
}

/* Times that some replica has let a client rest because it had had its share. */
static uint64_t
rests(const struct coord_fixture *x)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < x->rig->n; i++) {
        struct node_info info;
        node_info(x->rig->replica[i].node, &info);
        sum += info.rests;
    }
    return sum;
}

static void
key__with_many_sessions_has_its_share_of_the_pipeline(void **state)
{
    struct coord_fixture *x = *state;
    struct flood f = { 0 };
    test_env_run_for(x->t, 2 * C2_NS_PER_S); /* the other one has asked for nothing since */
    flood_start(x, &f, BFT_SESSION_WINDOW, false);
    assert_int_equal(rests(x), 0); /* alone it may have everything */
    put(x, "modest", "here");      /* from now on there are two */
    for (unsigned i = 0; i < MODEST; i++) {
        uint64_t before = bft_rig_info(x->rig, 0).count.executed_requests;
        put(x, "modest", "again");
        uint64_t between = bft_rig_info(x->rig, 0).count.executed_requests - before;
        if (between > 4 * BFT_SESSION_WINDOW)
            fail_msg("%llu commands of the greedy one while one waited",
                     (unsigned long long)between);
    }
    assert_true(rests(x) > 0);
    flood_end(x, &f);
}

/* The modest ones ask the primary, the greedy one cannot reach it. */
static void
key__that_asks_backups_has_its_share_as_well(void **state)
{
    struct coord_fixture *x = *state;
    struct flood f = { 0 };
    put(x, "modest", "here");
    test_hub_cut(x->rig->hub, BFT_RIG_CLIENT + GREEDY, 0, true);
    flood_start(x, &f, BFT_SESSION_WINDOW, false);
    put(x, "modest", "again");
    uint64_t before = f.done;
    for (unsigned i = 0; i < MODEST; i++)
        put(x, "modest", "and again");
    assert_true(rests(x) > 0);
    if (f.done - before > SESSIONS * BFT_SESSION_WINDOW)
        fail_msg("%llu commands of the greedy one meanwhile",
                 (unsigned long long)(f.done - before));
    flood_end(x, &f);
    test_hub_cut(x->rig->hub, BFT_RIG_CLIENT + GREEDY, 0, false);
}

static void
key__that_was_alone_owes_nothing_for_it(void **state)
{
    struct coord_fixture *x = *state;
    struct flood f = { 0 };
    struct coord_fixture greedy = *x;
    test_env_run_for(x->t, 2 * C2_NS_PER_S);
    flood_start(x, &f, BFT_SESSION_WINDOW, false);
    flood_end(x, &f);
    put(x, "modest", "here");
    greedy.c = bft_rig_client(x->rig, GREEDY);
    put(&greedy, "greedy", "modest now");
    assert_int_equal(rests(x), 0);
    coord_close(greedy.c);
}

/* What it asks for at a time is less than it may have at once. */
static void
key__that_comes_back_still_owes(void **state)
{
    struct coord_fixture *x = *state;
    struct coord_fixture greedy = *x;
    char value[(64u << 10) + 1] = { 0 };
    memset(value, 'v', sizeof value - 1);
    put(x, "modest", "here");
    for (unsigned i = 0; i < 16; i++) {
        if (i == 1)
            assert_int_equal(rests(x), 0);
        greedy.c = bft_rig_client(x->rig, GREEDY);
        put(&greedy, "greedy", value);
        coord_close(greedy.c);
        test_env_run_for(x->t, C2_NS_PER_MS);
    }
    assert_true(rests(x) > 0);
}

/* A few bytes name many keys, and all of it is undone in the end. */
static void
key__pays_for_what_its_commands_have_done(void **state)
{
    struct coord_fixture *x = *state;
    struct coord_fixture greedy = *x;
    static struct coord_op ops[2000];
    static char names[C2_ARRAY_LEN(ops)][16];
    bool rested[2];
    const struct coord_op small = op(COORD_PUT_EPHEMERAL, "key", "of nobody", 1);
    const struct coord_op large[] = { op(COORD_DELETE_RANGE, "many/", NULL, 0), small };
    for (size_t i = 0; i < C2_ARRAY_LEN(ops); i++) {
        snprintf(names[i], sizeof names[i], "many/%zu", i);
        ops[i] = op(COORD_PUT, names[i], "", 0);
    }
    assert_int_equal(txn(x, NULL, 0, ops, C2_ARRAY_LEN(ops), NULL), C2_E_OK);
    greedy.c = bft_rig_client(x->rig, GREEDY);
    for (unsigned round = 0; round < 2; round++) {
        test_env_run_for(x->t, 20 * C2_NS_PER_S);
        uint64_t before = rests(x);
        put(x, "modest", "here");
        for (unsigned i = 0; i < MODEST; i++) {
            if (round == 0)
                assert_int_equal(txn(&greedy, NULL, 0, &small, 1, NULL), C2_E_SESSION);
            else
                assert_int_equal(txn(&greedy, NULL, 0, large, 2, NULL), C2_E_SESSION);
        }
        rested[round] = rests(x) > before;
    }
    assert_value(x, names[7], ""); /* they were undone */
    coord_close(greedy.c);
    assert_false(rested[0]);
    assert_true(rested[1]);
}

/* Each replica finds the answer, and is asked for the hash of it alone. */
static void
key__pays_for_what_is_found_for_it(void **state)
{
    struct coord_fixture *x = *state;
    struct coord_fixture greedy = *x;
    static char value[COORD_VALUE_MAX];
    const struct c2_slice prefix = c2_slice_str("large/");
    const struct coord_req range = { .verb = COORD_RANGE, .keys = &prefix, .nkeys = 1 };
    struct msg_head h = { .type = MSG_READ, .sender = MSG_SENDER_CLIENT };
    struct c2_buf op = { 0 }, ask = { 0 };
    bool rested[2];
    memset(value, 'v', sizeof value - 1);
    h.cluster = x->rig->config.cluster;
    coord_txn_encode(&range, &op);
    greedy.c = bft_rig_client(x->rig, GREEDY);
    put(&greedy, "greedy", "here");
    for (unsigned round = 0; round < 2; round++) {
        test_env_run_for(x->t, 20 * C2_NS_PER_S);
        uint64_t before = rests(x);
        put(x, "modest", "here");
        for (unsigned i = 0; i < 20; i++) {
            const struct msg_read m = { .rseq = 1000 + 20 * round + i, .op = c2_buf_slice(&op) };
            c2_buf_clear(&ask);
            msg_write_read(&ask, &h, &m);
            test_hub_inject(x->rig->hub, BFT_RIG_CLIENT + GREEDY, 1, c2_buf_slice(&ask));
            test_env_run_ready(x->t);
        }
        rested[round] = rests(x) > before;
        for (unsigned i = 0; round == 0 && i < 15; i++) {
            char name[16];
            snprintf(name, sizeof name, "large/%u", i);
            put(x, name, value);
        }
    }
    c2_buf_done(&op);
    c2_buf_done(&ask);
    coord_close(greedy.c);
    assert_false(rested[0]); /* there was nothing to be found */
    assert_true(rested[1]);
}

/* What the greedy one gets in two seconds while others put something now and then. */
static uint64_t
taken_beside(struct coord_fixture *x, unsigned others)
{
    static const unsigned keys[] = { 2, 3, 0 };
    struct coord_fixture other[C2_ARRAY_LEN(keys)];
    struct flood f = { 0 };
    uint64_t before = 0, until_ns = 0;
    for (unsigned i = 0; i < others; i++) {
        other[i] = *x;
        other[i].c = bft_rig_client(x->rig, keys[i]);
        put(&other[i], "modest", "here");
    }
    flood_start(x, &f, BFT_SESSION_WINDOW, false);
    for (unsigned round = 0; round < 40; round++) {
        for (unsigned i = 0; i < others; i++)
            put(&other[i], "modest", "again");
        if (round == 9) {
            before = f.done;
            until_ns = c2_now_ns(x->env) + 2 * C2_NS_PER_S;
        }
        if (round >= 9 && c2_now_ns(x->env) >= until_ns)
            break;
        test_env_run_for(x->t, C2_NS_PER_S / 10);
    }
    assert_true(c2_now_ns(x->env) >= until_ns);
    uint64_t taken = f.done - before;
    flood_end(x, &f);
    for (unsigned i = 0; i < others; i++)
        coord_close(other[i].c);
    return taken;
}

static void
share__gets_smaller_the_more_keys_ask(void **state)
{
    struct coord_fixture *x = *state;
    uint64_t of_two = taken_beside(x, 1), of_four = taken_beside(x, 3);
    assert_true(of_four > 0);
    if (of_four > of_two * 3 / 4)
        fail_msg("%llu commands beside one, %llu beside three", (unsigned long long)of_two,
                 (unsigned long long)of_four);
}

/* ---- answers to a key that has had its share --------------------------------------------------
 */

#define SPENT   400                  /* questions, more than it may ask in SOON */
#define SOON    (200 * C2_NS_PER_MS) /* before a client repeats what is not answered */
#define SIBLING 3u                   /* number of another client with the key of the greedy one */

/* From now on, for longer than SOON, the greedy one has had its share at this replica. */
static void
spend(struct coord_fixture *x, unsigned replica)
{
    struct msg_head h = { .type = MSG_ASK_STATUS, .sender = MSG_SENDER_CLIENT };
    struct c2_buf ask = { 0 };
    h.cluster = x->rig->config.cluster;
    msg_write_ask_status(&ask, &h);
    for (unsigned i = 0; i < SPENT; i++)
        test_hub_inject(x->rig->hub, BFT_RIG_CLIENT + GREEDY, replica, c2_buf_slice(&ask));
    c2_buf_done(&ask);
    test_env_run_ready(x->t);
}

static struct coord *
sibling(struct coord_fixture *x)
{
    struct bft_client_options o = { .config = &x->rig->config };
    o.secret = x->rig->client[GREEDY].secret;
    o.cert = x->rig->client[GREEDY].cert;
    o.net = test_net_new(x->rig->hub, BFT_RIG_CLIENT + SIBLING, x->rig->client[GREEDY].key);
    return bft_client_new(x->env, &o);
}

static void
answers__come_at_once_when_backups_have_given_the_key_its_share(void **state)
{
    struct coord_fixture *x = *state;
    struct coord_fixture greedy = *x;
    struct bft_client_info info;
    char value[4000];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    greedy.c = bft_rig_client(x->rig, GREEDY);
    put(&greedy, "long", value);
    for (unsigned i = 0; i < 2 * x->rig->n; i++) { /* a long answer comes from one after another */
        put(x, "modest", "asks");
        for (unsigned k = 1; k < x->rig->n; k++)
            spend(x, k);
        uint64_t rested = rests(x);
        uint64_t from_ns = c2_now_ns(x->env);
        put(&greedy, "short", "value");
        bft_client_info(greedy.c, &info);
        assert_int_equal(
            txn_if(&greedy, cond(COORD_ABSENT, "long", NULL, 0), op(COORD_PUT, "never", "x", 0)),
            C2_E_CONFLICT);
        assert_in_range(c2_now_ns(x->env) - from_ns, 0, SOON);
        assert_true(rested > 0);
        if (i == 0)
            assert_int_equal(info.repeated, 0);
        test_env_run_for(x->t, 2 * C2_NS_PER_S);
    }
    coord_close(greedy.c);
}

/* The clock of the one that comes is behind: its first OPEN is refused, by an answer. */
static void
session__is_opened_or_refused_at_once_whatever_its_key_owes(void **state)
{
    struct coord_fixture *x = *state;
    struct bft_client_info info;
    struct coord *c = bft_rig_client(x->rig, GREEDY);
    for (unsigned round = 0; round < 2; round++) {
        test_env_run_for(x->t, 2 * C2_NS_PER_S);
        put(x, "modest", "asks");
        for (unsigned k = 0; k < x->rig->n; k++)
            spend(x, k);
        assert_true(rests(x) > 0);
        struct coord *other = sibling(x);
        test_env_run_for(x->t, SOON);
        bft_client_info(other, &info);
        assert_true(info.session);
        coord_close(other);
        test_env_run_for(x->t, C2_NS_PER_S);
        test_env_wall_jump(x->t, -(int64_t)(5 * C2_NS_PER_S / 2));
    }
    coord_close(c);
}

/* Answers that arrive at the sibling. */
static bool
count_answers(void *arg, unsigned from, unsigned to, struct c2_slice m)
{
    unsigned *count = arg;
    struct msg_reply reply;
    (void)from;
    *count += to == BFT_RIG_CLIENT + SIBLING && msg_read_reply(m, &reply) == C2_E_OK;
    return true;
}

static void
answers__go_to_the_connection_of_their_session(void **state)
{
    struct coord_fixture *x = *state;
    struct coord_fixture greedy = *x, other = *x;
    unsigned answers = 0;
    greedy.c = bft_rig_client(x->rig, GREEDY);
    test_env_run_for(x->t, C2_NS_PER_S);
    other.c = sibling(x);
    put(&greedy, "key", "value");
    put(&other, "key", "value");
    test_env_run_for(x->t, C2_NS_PER_S);
    test_hub_filter(x->rig->hub, count_answers, &answers);
    put(&greedy, "key", "value");
    test_env_run_for(x->t, C2_NS_PER_S);
    assert_int_equal(answers, 0);
    put(&other, "key", "value");
    test_env_run_for(x->t, C2_NS_PER_S);
    assert_int_equal(answers, x->rig->n);
    test_hub_filter(x->rig->hub, NULL, NULL);
    coord_close(greedy.c);
    coord_close(other.c);
}

static void
reads__of_one_key_leave_room_for_others(void **state)
{
    struct coord_fixture *x = *state;
    struct flood f = { 0 };
    struct bft_client_info info;
    put(x, "modest", "value");
    assert_value(x, "modest", "value");
    flood_start(x, &f, 256, true);
    assert_value(x, "modest", "value");
    bft_client_info(x->c, &info);
    uint64_t ordered = info.ordered_reads;
    for (unsigned i = 0; i < MODEST; i++)
        assert_value(x, "modest", "value");
    bft_client_info(x->c, &info);
    assert_int_equal(info.ordered_reads, ordered); /* none was refused */
    flood_end(x, &f);
}

static void
client__that_signs_wrongly_is_disconnected(void **state)
{
    struct coord_fixture *x = *state;
    struct bft_client_info info;
    x->rig->client[GREEDY].secret[0] ^= 1; /* its second half says which key it is */
    struct coord *c = bft_rig_client(x->rig, GREEDY);
    test_env_run_for(x->t, 5 * C2_NS_PER_S);
    bft_client_info(c, &info);
    assert_false(info.session);
    for (unsigned i = 0; i < x->rig->n; i++)
        assert_true(bft_rig_caught(x->rig, i) > 0);
    put(x, "modest", "goes on");
    coord_close(c);
}

/* No checkpoint lies between them that could make room. */
static void
batches__larger_together_than_their_room_are_executed(void **state)
{
    struct coord_fixture *x = *state;
    static char value[COORD_VALUE_MAX];
    uint64_t views[BFT_RIG_MAX];
    for (unsigned i = 0; i < x->rig->n; i++) {
        bft_rig_stop(x->rig, i);
        x->rig->replica[i].setup.limits.bodies_bytes = 8 * sizeof value;
    }
    bft_rig_start_all(x->rig);
    memset(value, 'v', sizeof value - 1);
    put(x, "large", "small");
    for (unsigned i = 0; i < x->rig->n; i++)
        views[i] = bft_rig_info(x->rig, i).count.view_changes;
    for (unsigned i = 0; i < 24; i++)
        put(x, "large", value);
    for (unsigned i = 0; i < x->rig->n; i++) {
        struct bft_info info = bft_rig_info(x->rig, i);
        assert_true(info.executed < info.stable + x->rig->config.checkpoint_interval);
        assert_int_equal(info.count.view_changes, views[i]);
    }
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, coord_fixture_setup_bft, coord_fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(key__pays_for_what_is_found_for_it),
        TEST(key__pays_for_what_its_commands_have_done),
        TEST(key__with_many_sessions_has_its_share_of_the_pipeline),
        TEST(key__that_asks_backups_has_its_share_as_well),
        TEST(key__that_was_alone_owes_nothing_for_it),
        TEST(key__that_comes_back_still_owes),
        TEST(share__gets_smaller_the_more_keys_ask),
        TEST(answers__come_at_once_when_backups_have_given_the_key_its_share),
        TEST(session__is_opened_or_refused_at_once_whatever_its_key_owes),
        TEST(answers__go_to_the_connection_of_their_session),
        TEST(reads__of_one_key_leave_room_for_others),
        TEST(client__that_signs_wrongly_is_disconnected),
        TEST(batches__larger_together_than_their_room_are_executed),
    };
    return cmocka_run_group_tests_name("metadata_budget", tests, NULL, NULL);
}
