/* SPDX-License-Identifier: MIT */
/*
 * The connections of a replica: clients that come while it starts, strangers that talk nonsense or
 * never show a certificate, clients that play again what was sent before.
 */
#include "base/alloc.h"
#include "base/mark.h"
#include "metadata/msg.h"
#include "metadata/node_int.h"
#include "tests/lib/bft_rig.h"
#include "tests/lib/coord_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define STRANGER 40u /* its number on the network */
#define SHOW_NS  (10 * C2_NS_PER_S)

/* ---- a client that comes early --------------------------------------------------------------- */

static unsigned
started(const struct bft_rig *r)
{
    unsigned count = 0;
    for (unsigned i = 0; i < r->n; i++)
        count += r->replica[i].started;
    return count;
}

static unsigned
connected(const struct coord *c)
{
    struct bft_client_info info;
    bft_client_info(c, &info);
    return info.connected;
}

/* All replicas end and start at once, and a client that has a session since long reaches them
 * before any of them has read its log. */
static void
client__that_comes_while_replicas_start_is_answered(void **state)
{
    struct coord_fixture *f = *state;
    struct bft_rig *r = f->rig;
    put(f, "before", "1");
    for (unsigned i = 0; i < r->n; i++)
        bft_rig_stop(r, i);
    test_env_run_ready(f->t);
    assert_int_equal(connected(f->c), 0);
    for (unsigned i = 0; i < r->n; i++)
        bft_rig_open(r, i);
    while (connected(f->c) < r->n)
        assert_true(test_env_step(f->t));
    assert_int_equal(started(r), 0);
    uint64_t from_ns = c2_now_ns(f->env);
    put(f, "after", "2");
    assert_in_range(c2_now_ns(f->env) - from_ns, 0, SHOW_NS / 2); /* not on a second connection */
    assert_int_equal(started(r), r->n);
    assert_value(f, "before", "1");
    assert_value(f, "after", "2");
}

/* ---- strangers ------------------------------------------------------------------------------- */

struct stranger {
    struct c2_net *net;
    struct c2_net_link *l;
    unsigned ups, downs;
};

static void
stranger_up(struct c2_net_link *l)
{
    ((struct stranger *)l->user)->ups++;
}

static void
stranger_message(struct c2_net_link *l, struct c2_slice m)
{
    (void)l;
    (void)m;
    fail_msg("a stranger is answered");
}

static void
stranger_down(struct c2_net_link *l, enum c2_err why)
{
    (void)why;
    ((struct stranger *)l->user)->downs++;
}

static const struct c2_net_events stranger_events = { .up = stranger_up,
                                                      .message = stranger_message,
                                                      .down = stranger_down };

/* Somebody with a key that the service does not know, connected to the first replica. */
static void
stranger_number(struct coord_fixture *f, struct stranger *s, unsigned number)
{
    const uint8_t key[C2_NET_KEY_LEN] = { 0x55, (uint8_t)number, (uint8_t)(number >> 8) };
    struct bft_rig *r = f->rig;
    *s = (struct stranger){ .net = test_net_new(r->hub, STRANGER + number, key) };
    struct c2_net_dial d = { .address = r->config.member[0].address };
    memcpy(d.peer, r->config.member[0].identity_key, sizeof d.peer);
    d.as = (struct c2_net_admission){ .events = &stranger_events, .user = s };
    d.as.queue_max = d.as.frame_max = 1u << 20;
    s->l = c2_net_dial(s->net, &d);
    test_env_run_ready(f->t);
    assert_int_equal(s->ups, 1);
}

static void
stranger_comes(struct coord_fixture *f, struct stranger *s)
{
    stranger_number(f, s, 0);
}

static void
stranger_goes(struct coord_fixture *f, struct stranger *s)
{
    c2_net_free(s->net);
    test_env_run_ready(f->t);
}

static void
say(struct coord_fixture *f, const struct stranger *s, struct c2_slice m)
{
    struct c2_blob *b = c2_blob_copy(m.data, m.len);
    assert_int_equal(c2_net_send(s->l, C2_NET_NORMAL, b), C2_E_OK);
    c2_blob_unref(b);
    test_env_run_ready(f->t);
}

static void
assert_serves(struct coord_fixture *f)
{
    struct coord *other = bft_rig_client(f->rig, 1); /* whoever comes makes strangers go */
    put(f, "key", "value");
    assert_value(f, "key", "value");
    coord_close(other);
    test_env_run_ready(f->t);
}

static void
stranger__that_talks_nonsense_is_disconnected_and_forgotten(void **state)
{
    struct coord_fixture *f = *state;
    const uint8_t nonsense[] = { 0, 1, 2 };
    struct stranger s;
    stranger_comes(f, &s);
    say(f, &s, c2_slice(nonsense, sizeof nonsense));
    assert_int_equal(s.downs, 1);
    test_env_run_for(f->t, 2 * SHOW_NS);
    assert_serves(f);
    stranger_goes(f, &s);
}

/* An admitted client does not stay half forgotten, either. */
static void
client__that_talks_nonsense_is_disconnected_and_comes_again(void **state)
{
    struct coord_fixture *f = *state;
    const uint8_t nonsense[] = { 0, 1, 2 };
    put(f, "key", "before");
    for (unsigned i = 0; i < f->rig->n; i++)
        test_hub_inject(f->rig->hub, BFT_RIG_CLIENT, i, c2_slice(nonsense, sizeof nonsense));
    test_env_run_ready(f->t);
    assert_int_equal(connected(f->c), 0);
    assert_serves(f);
}

/* Perhaps its certificate was lost: it shall come again, with it. */
static void
stranger__that_asks_without_certificate_is_disconnected_after_a_while(void **state)
{
    struct coord_fixture *f = *state;
    struct msg_head h = { .type = MSG_ASK_STATUS, .sender = MSG_SENDER_CLIENT };
    struct c2_buf ask = { 0 };
    struct stranger s;
    h.cluster = f->rig->config.cluster;
    msg_write_ask_status(&ask, &h);
    stranger_comes(f, &s);
    say(f, &s, c2_buf_slice(&ask));
    assert_int_equal(s.downs, 0);
    test_env_run_for(f->t, SHOW_NS);
    say(f, &s, c2_buf_slice(&ask));
    assert_int_equal(s.downs, 1);
    assert_serves(f);
    c2_buf_done(&ask);
    stranger_goes(f, &s);
}

/* They stay, and are as many as may: a client finds room, and the one that came first goes. */
static void
stranger__each_makes_room_for_the_next(void **state)
{
    struct coord_fixture *f = *state;
    struct stranger *s = c2_calloc(NODE_UNKNOWN_MAX, sizeof *s);
    for (unsigned i = 0; i < NODE_UNKNOWN_MAX; i++)
        stranger_number(f, &s[i], i);
    assert_int_equal(s[0].downs, 0);
    assert_serves(f);
    assert_int_equal(s[0].downs, 1);
    assert_int_equal(s[NODE_UNKNOWN_MAX - 1].downs, 0);
    for (unsigned i = 0; i < NODE_UNKNOWN_MAX; i++)
        stranger_goes(f, &s[i]);
    c2_free(s);
}

/* ---- what was sent before -------------------------------------------------------------------- */

/* The last request that `from` has sent to the first replica. */
struct record {
    unsigned from;
    struct c2_buf request;
    unsigned answers; /* to anybody */
};

static bool
record_requests(void *arg, unsigned from, unsigned to, struct c2_slice m)
{
    struct record *r = arg;
    struct msg_request request;
    struct msg_reply reply;
    r->answers += msg_read_reply(m, &reply) == C2_E_OK;
    if (from == r->from && to == 0 && msg_read_request(m, &request) == C2_E_OK) {
        c2_buf_clear(&r->request);
        c2_buf_append(&r->request, m.data, m.len);
    }
    return true;
}

static void
client__that_plays_its_own_requests_again_changes_nothing(void **state)
{
    struct coord_fixture *f = *state;
    struct record r = { .from = BFT_RIG_CLIENT };
    put(f, "key", "first");
    test_hub_filter(f->rig->hub, record_requests, &r);
    put(f, "key", "second");
    struct c2_buf old = r.request;
    r.request = (struct c2_buf){ 0 };
    uint64_t executed = bft_rig_info(f->rig, 0).count.executed_requests;
    put(f, "key", "third");
    put(f, "key", "fourth");
    test_env_run_for(f->t, C2_NS_PER_S); /* all replicas have answered */
    r.answers = 0;
    for (unsigned i = 0; i < 10; i++)
        test_hub_inject(f->rig->hub, BFT_RIG_CLIENT, 0, c2_buf_slice(&old));
    test_env_run_ready(f->t);
    assert_int_equal(r.answers, 10); /* one each, to who asked */
    test_env_run_for(f->t, C2_NS_PER_S);
    assert_int_equal(bft_rig_info(f->rig, 0).count.executed_requests, executed + 2);
    assert_value(f, "key", "fourth");
    assert_int_equal(bft_rig_caught(f->rig, 0), 0); /* an honest client repeats requests, too */
    test_hub_filter(f->rig->hub, NULL, NULL);
    c2_buf_done(&old);
    c2_buf_done(&r.request);
}

static void
client__that_plays_requests_of_another_is_shut_out_for_a_while(void **state)
{
    struct coord_fixture *f = *state;
    struct record r = { .from = BFT_RIG_CLIENT + 1 };
    test_hub_filter(f->rig->hub, record_requests, &r);
    struct coord *other = bft_rig_client(f->rig, 1);
    test_env_run_for(f->t, C2_NS_PER_S);
    test_hub_filter(f->rig->hub, NULL, NULL);
    assert_true(r.request.len > 0);
    put(f, "key", "value");
    test_hub_inject(f->rig->hub, BFT_RIG_CLIENT, 0, c2_buf_slice(&r.request));
    test_env_run_ready(f->t);
    assert_int_equal(bft_rig_caught(f->rig, 0), 1);
    test_env_run_for(f->t, C2_NS_PER_S / 2);
    assert_int_equal(connected(f->c), f->rig->n - 1);
    assert_int_equal(connected(other), f->rig->n); /* it has done nothing */
    test_env_run_for(f->t, 20 * C2_NS_PER_S);
    assert_int_equal(connected(f->c), f->rig->n);
    test_hub_inject(f->rig->hub, BFT_RIG_CLIENT, 0, c2_buf_slice(&r.request));
    test_env_run_for(f->t, 3 * C2_NS_PER_S / 2); /* longer than the first time */
    assert_int_equal(connected(f->c), f->rig->n - 1);
    assert_value(f, "key", "value");
    coord_close(other);
    c2_buf_done(&r.request);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* It has a job under way, and records that are not durable. */
static bool
is_busy(const struct node *n)
{
    return !c2_list_empty(&n->running) && wal_synced(n->wal) < wal_last(n->wal);
}

/* The log becomes durable while the last job is still running: nothing of a replica that has ended
 * goes on because of that. */
static void
replica__that_is_busy_ends_for_good(void **state)
{
    struct coord_fixture *f = *state;
    struct bft_rig *r = f->rig;
    struct coord_fixture g[BFT_RIG_CLIENTS];
    struct coord_call call[BFT_RIG_CLIENTS];
    const struct coord_op o = op(COORD_PUT, "key", "value", 0);
    for (unsigned k = 0; k < BFT_RIG_CLIENTS; k++) {
        g[k] = *f;
        g[k].c = k == 0 ? f->c : bft_rig_client(r, k);
        put(&g[k], "key", "before");
    }
    test_env_fast_disk(f->t);
    for (unsigned k = 0; k < BFT_RIG_CLIENTS; k++) {
        call[k] = (struct coord_call){ .r = { .verb = COORD_TXN, .ops = &o, .nops = 1 } };
        coord_call_start(&g[k], &call[k]);
        assert_true(test_env_step(f->t));
    }
    while (!is_busy(r->replica[0].node))
        assert_true(test_env_step(f->t));
    bft_rig_stop(r, 0);
    test_env_run_for(f->t, C2_NS_PER_S);
    for (unsigned k = 0; k < BFT_RIG_CLIENTS; k++) {
        coord_call_wait(&g[k], &call[k]);
        assert_int_equal(call[k].r.err, C2_E_OK);
        coord_req_done(&call[k].r);
        if (k > 0)
            coord_close(g[k].c);
    }
}

int
main(void)
{
#define T(name)                                                                                    \
    cmocka_unit_test_setup_teardown(name, coord_fixture_setup_bft, coord_fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(client__that_comes_while_replicas_start_is_answered),
        T(client__that_talks_nonsense_is_disconnected_and_comes_again),
        T(stranger__that_talks_nonsense_is_disconnected_and_forgotten),
        T(stranger__that_asks_without_certificate_is_disconnected_after_a_while),
        T(stranger__each_makes_room_for_the_next),
        T(client__that_plays_its_own_requests_again_changes_nothing),
        T(client__that_plays_requests_of_another_is_shut_out_for_a_while),
        T(replica__that_is_busy_ends_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
