/* SPDX-License-Identifier: MIT */
/*
 * The network. A packet goes from one process to another; who the sender is, the receiver knows
 * for certain (channels are authenticated), as a seat of the epoch it is in.
 */
#include <string.h>

#include "base/alloc.h"
#include "tests/sim/bft_scene.h"

struct packet {
    struct c2_timer timer;
    struct bs *s;
    unsigned from, to; /* to >= BS_PROCS: client */
    uint16_t from_id;
    unsigned life_to;
    struct c2_blob *msg;
};

static struct c2_blob *
own_copy(struct bs_proc *to, const struct c2_blob *msg)
{
    struct sim_life *before = sim_life_enter(&to->life);
    struct c2_blob *copy = c2_blob_copy(msg->data, msg->len);
    sim_life_leave(before);
    return copy;
}

/* The seat of an id in the configuration of whoever receives; n = none. */
static unsigned
seat_of(const struct bs_proc *to, uint16_t id)
{
    const struct bft_config *c = bft_current_config(to->core);
    unsigned seat = 0;
    while (seat < c->n && c->member[seat].id != id)
        seat++;
    return seat;
}

static void
give(struct bs_proc *to, struct bft_event *ev, const struct c2_blob *msg)
{
    struct c2_blob *copy = own_copy(to, msg);
    ev->msg = copy;
    bs_event(to, ev);
    c2_blob_unref(copy);
}

void
bs_deliver(struct bs *s, const struct bs_proc *from, struct bs_proc *to, const struct c2_blob *msg)
{
    struct bft_event ev = { .kind = BFT_EV_MESSAGE };
    SIM_CHECK(s->w, to->up && to->started, "the script's replica is down");
    ev.seat = (uint16_t)seat_of(to, from->id);
    give(to, &ev, msg);
}

static void
to_replica(struct packet *p)
{
    struct bs *s = p->s;
    struct bs_proc *to = &s->proc[p->to];
    struct bft_event ev = { .kind = BFT_EV_MESSAGE };
    struct msg_head h = { 0 };
    if (!to->up || !to->started || to->lives != p->life_to)
        return;
    if (p->from >= BS_PROCS) {
        ev.kind = BFT_EV_CLIENT;
        ev.conn = p->from + 1;
        ev.key = s->client[p->from - BS_PROCS].key;
    } else {
        bool readable = msg_read_head(c2_blob_slice(p->msg), &h) == C2_E_OK;
        if (s->filter != NULL &&
            s->filter(s, &s->proc[p->from], to, readable ? h.type : 0, c2_blob_slice(p->msg)))
            return;
        unsigned seat = seat_of(to, p->from_id);
        if (seat < bft_current_config(to->core)->n) {
            ev.seat = (uint16_t)seat;
        } else if (h.type == MSG_EPOCH_FETCH) { /* of a stranger nothing else counts */
            ev.kind = BFT_EV_CLIENT;
            ev.conn = p->from + 1;
            ev.key = s->client[0].key;
        } else {
            return;
        }
    }
    give(to, &ev, p->msg);
}

static void
packet_due(struct c2_timer *t)
{
    struct packet *p = C2_CONTAINER_OF(t, struct packet, timer);
    if (p->to >= BS_PROCS)
        bs_client_hears(&p->s->client[p->to - BS_PROCS], p->from_id, c2_blob_slice(p->msg));
    else
        to_replica(p);
    c2_blob_unref(p->msg);
    c2_free(p);
}

static void
send_one(struct bs *s, struct packet like, struct c2_slice msg, uint64_t extra_ns)
{
    struct packet *p = c2_calloc(1, sizeof *p);
    *p = like;
    p->timer.fire = packet_due;
    p->s = s;
    p->life_to = p->to < BS_PROCS ? s->proc[p->to].lives : 0;
    p->msg = c2_blob_copy(msg.data, msg.len);
    uint64_t at_ns = s->w->now_ns + 1000 + extra_ns + sim_rng_below(&s->rng, s->delay_ns);
    if (p->from < BS_PROCS && p->to < BS_PROCS)
        at_ns = C2_MAX(at_ns, s->clogged_ns[p->from][p->to]);
    sim_arm(s->w, &p->timer, at_ns);
}

static void
send_some(struct bs *s, struct packet like, struct c2_slice msg, uint64_t extra_ns)
{
    if (!sim_rng_chance(&s->rng, s->loss))
        send_one(s, like, msg, extra_ns);
    if (sim_rng_chance(&s->rng, s->dup))
        send_one(s, like, msg, extra_ns);
}

void
bs_send(struct bs *s, struct bs_proc *from, struct bs_proc *to, struct c2_slice msg,
        uint64_t extra_ns)
{
    struct packet like = { .from = from->index, .to = to->index, .from_id = from->id };
    bool deaf = (from->deaf >> to->index & 1) != 0 || (to->deaf >> from->index & 1) != 0;
    if (s->trap != NULL)
        extra_ns += bs_trap_delay(s, from, msg);
    if (!s->cut[from->index][to->index] && !deaf)
        send_some(s, like, msg, extra_ns);
}

void
bs_to_client(struct bs_proc *from, const struct bft_action *a)
{
    struct bs *s = from->s;
    if (a->conn != 0 && a->conn <= BS_PROCS) {
        bs_lie_send(from, &s->proc[a->conn - 1], c2_blob_slice(a->msg));
        return;
    }
    for (unsigned i = 0; i < s->nclients; i++) {
        struct packet like = { .from = from->index, .to = BS_PROCS + i, .from_id = from->id };
        bool mine = a->conn != 0 ? a->conn == BS_PROCS + i + 1
                                 : memcmp(s->client[i].key, a->key, MSG_KEY_LEN) == 0;
        if (!mine)
            continue;
        struct c2_buf msg = { 0 };
        c2_buf_append(&msg, a->msg->data, a->msg->len);
        bs_lie_reply(from, &msg);
        send_some(s, like, c2_buf_slice(&msg), 0);
        c2_buf_done(&msg);
    }
}

void
bs_from_client(struct bs_client *c, uint16_t id, struct c2_blob *msg)
{
    struct bs *s = c->s;
    for (unsigned i = 0; i < s->nprocs; i++) {
        struct packet like = { .from = BS_PROCS + c->i, .to = i };
        if (s->proc[i].id == id)
            send_some(s, like, c2_blob_slice(msg), 0);
    }
}

void
bs_cut(struct bs *s, unsigned a, unsigned b, bool cut)
{
    s->cut[a][b] = s->cut[b][a] = cut;
}

struct bs_proc *
bs_proc_of(struct bs *s, uint16_t id, bool second)
{
    for (unsigned i = 0; i < s->nprocs; i++) {
        if (s->proc[i].id == id && !second)
            return &s->proc[i];
        second = second && s->proc[i].id != id;
    }
    return NULL;
}
