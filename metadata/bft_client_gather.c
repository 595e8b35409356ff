/* SPDX-License-Identifier: MIT */
/*
 * Ordered requests get their numbers and go to the service; commands that go together have one
 * signature, which is most of what they cost.
 *
 * Those that come one by one wait for each other: for a quarter of GATHER_NS, since callers that
 * were answered together go on together; and for GATHER_NS after those that are under way, if any
 * are. When about as many wait as there were at once of late (demand.h), they go at once.
 */
#include "base/alloc.h"
#include "base/mark.h"
#include "metadata/bft_client_int.h"

#define TOGETHER_BYTES (64u << 10) /* of commands with one signature */
#define GATHER_NS      C2_NS_PER_MS

/* The next one of those that wait for a number, if one may go now. */
static struct bft_call *
next_waiting(const struct bft_client *c)
{
    bool may = c->open && c->next_cseq <= c->ack_low + CALLS_MAX;
    return may ? C2_LIST_FIRST(&c->waiting, struct bft_call, link) : NULL;
}

static void
number_call(struct bft_client *c, struct bft_call *call)
{
    client_unlist(call);
    if (call->kind == MSG_REQ_QUERY)
        client_skip_numbers(c);
    call->number = c->next_cseq++;
    call->state = CALL_ORDERED;
    call->tries = 0;
    C2_ASSERT(c->calls[call->number % CALLS_MAX] == NULL);
    c->calls[call->number % CALLS_MAX] = call;
    c->under_way++;
    c2_blob_unref(call->msg);
    call->msg = NULL;
    c->requests++;
}

/* Each command is answered, and repeated, alone. */
static void
send_together(struct bft_client *c, struct bft_call *first)
{
    struct c2_buf ops = { 0 };
    struct bft_call *next = first;
    unsigned count = 0;
    bool room = true;
    while (next != NULL && next->kind == MSG_REQ_COMMAND && count < MSG_COMMANDS_MAX && room) {
        number_call(c, next);
        msg_put_bytes(&ops, c2_buf_slice(&next->op));
        count++;
        next = next_waiting(c);
        room = next != NULL && ops.len + next->op.len < TOGETHER_BYTES;
    }
    if (count > 1) {
        C2_MARK("client: commands with one signature");
        struct c2_blob *msg =
            client_make_request(c, MSG_REQ_COMMANDS, first->number, c2_buf_slice(&ops));
        client_calls_send(c, first->number, count, msg);
        c2_blob_unref(msg);
    } else {
        if (count == 0)
            number_call(c, first);
        client_call_send(first, false);
    }
    c2_buf_done(&ops);
}

/* Whether what waits goes on waiting; then the timer is armed. */
static bool
gathers(struct bft_client *c)
{
    struct client_gather *g = &c->gather;
    uint64_t now_ns = c2_now_ns(c->base.env);
    unsigned waiting = (unsigned)c->waiting.count;
    if (g->since_ns == 0)
        g->since_ns = now_ns;
    demand_note(&g->demand, waiting + c->under_way);
    uint64_t at_ns = g->since_ns + GATHER_NS / 4;
    if (c->under_way > 0)
        at_ns = C2_MAX(at_ns, g->sent_ns + GATHER_NS);
    if (demand_all_wait(&g->demand, waiting) || at_ns <= now_ns)
        return false;
    c2_timer_arm(c->base.env, &g->timer, at_ns);
    return true;
}

void
client_send_waiting(struct bft_client *c)
{
    struct client_gather *g = &c->gather;
    struct bft_call *call = next_waiting(c);
    if (call == NULL || gathers(c))
        return;
    for (; call != NULL; call = next_waiting(c))
        send_together(c, call);
    c2_timer_stop(c->base.env, &g->timer);
    g->since_ns = 0;
    g->sent_ns = c2_now_ns(c->base.env);
    demand_served(&g->demand);
}

static void
gathered(struct c2_timer *t)
{
    client_pump(C2_CONTAINER_OF(t, struct bft_client, gather.timer));
}

void
client_gather_init(struct bft_client *c)
{
    c->gather.timer.fire = gathered;
}

void
client_gather_done(struct bft_client *c)
{
    c2_timer_stop(c->base.env, &c->gather.timer);
}
