/* SPDX-License-Identifier: MIT */
/*
 * The primary's batches: whose requests are in the next one, and when it is proposed.
 *
 * Whose. Requests are taken round-robin over the clients' keys, and of each key over its sessions,
 * so that nobody is starved by the load of others. While another key has asked for something of
 * late, a key has no more than BFT_SHARE commands between proposal and execution: the pipeline that
 * others wait for stays short.
 *
 *            bft_batch_join                fill_batch
 *   request ────────────────► in the line ────────────► proposed
 *                                  │                        │
 *                                  └──── bft_batch_leave ───┘  executed, dropped, or a new view
 *
 * When. What an agreement costs does not depend on how much is in it, and where replicas or disks
 * are busy, two that go on together take as long as both in turn. So the primary waits about as
 * long as an agreement takes for the one under way to end. Then those that were answered soon ask
 * for the next thing: a primary that has little compared to what there was of late (demand.h) gives
 * them a moment, or they would form two groups that wait for each other. Over long ways, where an
 * agreement is mostly travel, batches follow each other after a small part of it.
 */
#include "base/wire.h"
#include "metadata/bft_int.h"

#define BATCH_FACTOR 4 /* of the time for a batch, at most */

/* ---- the line -------------------------------------------------------------------------------- */

/* Whoever has something to propose is in the line. */
static void
line_up(struct bft_replica *r, struct bft_queue *q)
{
    struct bft_principal *p = q->principal;
    if (q->unproposed == 0 && c2_link_linked(&q->turn))
        c2_list_remove(&p->turns, &q->turn);
    if (q->unproposed > 0 && !c2_link_linked(&q->turn))
        c2_list_append(&p->turns, &q->turn);
    if (c2_list_empty(&p->turns) && c2_link_linked(&p->turn))
        c2_list_remove(&r->turns, &p->turn);
    if (!c2_list_empty(&p->turns) && !c2_link_linked(&p->turn))
        c2_list_append(&r->turns, &p->turn);
}

static void
set_unproposed(struct bft_replica *r, const struct bft_request *req, bool waits)
{
    struct bft_queue *q = req->queue;
    C2_ASSERT(waits || (q->unproposed > 0 && r->unproposed > 0));
    q->unproposed += waits ? 1 : -1u;
    r->unproposed += waits ? 1 : -1u;
    r->waiting += waits ? req->commands : -req->commands;
    line_up(r, q);
    if (r->unproposed == 0)
        r->batch_since_ns = 0;
    else if (r->batch_since_ns == 0)
        r->batch_since_ns = r->now_ns;
}

/* By this primary, and not executed. */
static void
set_proposed(struct bft_replica *r, struct bft_request *req, bool proposed)
{
    unsigned change = proposed ? req->commands : -req->commands;
    req->proposed = proposed;
    req->queue->principal->proposed += change;
    r->under_way += change;
}

void
bft_batch_join(struct bft_replica *r, struct bft_request *req)
{
    C2_ASSERT(!req->proposed);
    set_unproposed(r, req, true);
    demand_note(&r->demand, r->waiting + r->under_way);
}

void
bft_batch_leave(struct bft_replica *r, struct bft_request *req)
{
    if (req->proposed)
        set_proposed(r, req, false);
    else
        set_unproposed(r, req, false);
}

/* ---- what is in a batch ---------------------------------------------------------------------- */

static struct bft_request *
first_unproposed(const struct bft_queue *q)
{
    C2_LIST_FOREACH (&q->requests, struct bft_request, req, link) {
        if (!req->proposed)
            return req;
    }
    C2_UNREACHABLE();
}

/* Whose turn it is; NULL = all who wait have their share under way. */
static struct bft_queue *
next_turn(const struct bft_replica *r)
{
    C2_LIST_FOREACH (&r->turns, struct bft_principal, p, turn) {
        if (p->proposed < BFT_SHARE || !bft_is_contended(r, p->key))
            return C2_LIST_FIRST(&p->turns, struct bft_queue, turn);
    }
    return NULL;
}

/* Appends the batch to scratch. */
static void
fill_batch(struct bft_replica *r)
{
    const struct bft_limits *l = &r->setup.limits;
    size_t from = r->scratch.len;
    uint32_t count = 0;
    unsigned commands = 0, reads = 0;
    c2_wr_u64(&r->scratch, bft_clock_propose(r));
    c2_wr_u32(&r->scratch, 0);
    while (count < l->batch_requests) {
        struct bft_queue *q = next_turn(r);
        if (q == NULL)
            break;
        struct bft_principal *p = q->principal;
        struct bft_request *req = first_unproposed(q);
        size_t len = r->scratch.len - from + 4 + req->msg.len;
        commands += req->commands;
        reads += req->read;
        if (count > 0 &&
            (len > l->batch_bytes || commands > BFT_COMMANDS_MAX || reads > BFT_READS_MAX))
            break;
        msg_put_bytes(&r->scratch, bft_bytes_slice(&req->msg));
        count++;
        c2_list_remove(&p->turns, &q->turn); /* both to the end of the line */
        c2_list_remove(&r->turns, &p->turn);
        set_proposed(r, req, true);
        set_unproposed(r, req, false);
    }
    if (r->unproposed > 0)
        r->batch_since_ns = r->now_ns;
    c2_put_u32(r->scratch.data + from + 8, count);
}

static void
propose_batch(struct bft_replica *r)
{
    struct bft_slot *s = bft_slot_make(r, r->proposed + 1);
    struct msg_proposal p = { .view = r->view, .n = r->proposed + 1 };
    struct msg_head h = bft_head(r, MSG_PRE_PREPARE);
    C2_ASSERT(s != NULL && (!s->have_proposal || s->view < r->view));
    struct c2_buf batch = { 0 };
    c2_buf_clear(&r->scratch);
    fill_batch(r);
    batch = r->scratch;
    r->scratch = (struct c2_buf){ 0 };
    msg_batch_digest(c2_buf_slice(&batch), p.digest);
    msg_write_proposal(&r->scratch, &h, &p);
    bft_sign_scratch(r, 0);
    c2_wr_raw(&r->scratch, batch.data, batch.len);
    c2_buf_done(&batch);
    struct c2_blob *blob = bft_take_scratch(r);
    r->proposed = p.n;
    r->proposed_ns = r->now_ns;
    r->count.proposed++;
    demand_served(&r->demand);
    demand_note(&r->demand, r->waiting + r->under_way);
    bft_take_proposal(r, s, &p, c2_slice(blob->data, MSG_PROPOSAL_LEN), false);
    bft_bytes_set(r, &s->body, blob,
                  c2_slice(blob->data + MSG_PROPOSAL_LEN, blob->len - MSG_PROPOSAL_LEN));
    s->have_body = true;
    bft_send(r, bft_others(r), blob);
    c2_blob_unref(blob);
    bft_slot_step(r, s);
}

/* ---- when ------------------------------------------------------------------------------------ */

static uint64_t
batch_at(const struct bft_replica *r)
{
    uint64_t batch_ns = r->setup.timing.batch_ns;
    if (r->unproposed >= r->setup.limits.batch_requests)
        return 0;
    if (r->proposed > r->issued)
        return r->batch_since_ns + C2_MIN(C2_MAX(batch_ns, r->agree_ns), BATCH_FACTOR * batch_ns);
    if (demand_all_wait(&r->demand, r->waiting))
        return 0;
    return r->issued_ns + C2_MIN(r->agree_ns / 2, BATCH_FACTOR * batch_ns);
}

static bool
may_propose(const struct bft_replica *r)
{
    if (!bft_is_primary(r) || r->abdicated || r->mode != BFT_RUNNING || !bft_may_vote(r) ||
        r->view_lsn > r->durable_lsn || r->proposed < r->executed ||
        bft_bytes_under_way(r) >= BFT_UNDER_WAY)
        return false;
    uint64_t n = r->proposed + 1;
    if (r->next_boundary != 0 && n > r->next_boundary)
        return false;
    return n <= r->stable + r->config.window && n <= r->issued + r->setup.limits.in_flight;
}

static bool
worth_proposing(const struct bft_replica *r)
{
    if (r->unproposed == 0 || next_turn(r) == NULL)
        return r->next_boundary != 0 || (r->due && r->proposed == r->executed) ||
               r->now_ns >= r->proposed_ns + r->setup.timing.null_ns;
    return r->now_ns >= batch_at(r);
}

void
bft_propose(struct bft_replica *r)
{
    while (may_propose(r) && worth_proposing(r))
        propose_batch(r);
}

uint64_t
bft_propose_deadline(const struct bft_replica *r)
{
    if (!may_propose(r))
        return C2_NEVER;
    if (r->unproposed > 0 && next_turn(r) != NULL)
        return batch_at(r);
    return r->proposed_ns + r->setup.timing.null_ns;
}
