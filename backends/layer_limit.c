/* SPDX-License-Identifier: MIT */
/*
 * At most in_flight_max requests at a time; the others wait in a first-in first-out queue of at
 * most queue_max, and what finds it full is answered BUSY at once. With bytes_per_s, a request
 * starts only when the transfers before it have been paid for: free_at_ns is the time at which they
 * are, with a second of idle time credited at most. A PUT pays when it starts, a GET when its size
 * is known. A deadline also counts in the queue.
 *
 *     submit --> QUEUED --> SENT --> done
 *                   `-----> REFUSED (full, deadline, cancel) --> done, from the loop
 */
#include "backends/layer.h"
#include "backends/registry.h"

#include "base/alloc.h"
#include "base/list.h"

#define CREDIT_MAX_NS C2_NS_PER_S
/* Keeps bytes * 1e9 within 64 bits; no request moves more. */
#define CHARGE_MAX (UINT64_C(16) << 30)

struct limit {
    struct provider p;
    unsigned in_flight, in_flight_max;
    struct c2_list queue; /* of struct op, QUEUED */
    size_t queue_max;
    uint64_t bytes_per_s; /* 0 = unlimited */
    uint64_t free_at_ns;
    struct c2_timer free_timer;
    size_t outstanding;
};

enum state { QUEUED, SENT, REFUSED };

struct op {
    struct prov_call call; /* first */
    enum state state;
    enum c2_err refusal;
    struct c2_link link;      /* QUEUED */
    struct c2_timer deadline; /* QUEUED */
    struct c2_task task;      /* REFUSED */
};

static struct limit *
layer_of(const struct op *op)
{
    return C2_CONTAINER_OF(op->call.p, struct limit, p);
}

static void
finish(struct op *op)
{
    struct prov_req *r = op->call.r;
    layer_of(op)->outstanding--;
    prov_call_pop(&op->call);
    c2_free(op);
    r->done(r);
}

static void
charge(struct limit *l, uint64_t bytes)
{
    if (l->bytes_per_s == 0)
        return;
    uint64_t now_ns = c2_now_ns(l->p.env);
    uint64_t oldest_ns = now_ns > CREDIT_MAX_NS ? now_ns - CREDIT_MAX_NS : 0;
    uint64_t cost_ns = C2_MIN(bytes, CHARGE_MAX) * C2_NS_PER_S / l->bytes_per_s;
    l->free_at_ns = C2_MAX(l->free_at_ns, oldest_ns) + cost_ns;
}

/* Starts what may start. */
static void
pump(struct limit *l)
{
    uint64_t now_ns = c2_now_ns(l->p.env);
    while (!c2_list_empty(&l->queue) && l->in_flight < l->in_flight_max) {
        if (l->free_at_ns > now_ns) {
            c2_timer_arm(l->p.env, &l->free_timer, l->free_at_ns);
            return;
        }
        struct op *op = C2_LIST_FIRST(&l->queue, struct op, link);
        c2_list_remove(&l->queue, &op->link);
        c2_timer_stop(l->p.env, &op->deadline);
        op->state = SENT;
        l->in_flight++;
        charge(l, op->call.r->verb == PROV_PUT ? op->call.r->body->len : 0);
        prov_submit(l->p.inner, op->call.r);
    }
}

static void
free_again(struct c2_timer *t)
{
    pump(C2_CONTAINER_OF(t, struct limit, free_timer));
}

static void
answered(struct prov_req *r)
{
    struct op *op = prov_call_top(r);
    struct limit *l = layer_of(op);
    C2_ASSERT(op->state == SENT && l->in_flight > 0);
    l->in_flight--;
    if (r->reply != NULL)
        charge(l, r->reply->len);
    pump(l); /* before done: nobody may touch the layer after it */
    finish(op);
}

static void
refused(struct c2_task *t)
{
    struct op *op = C2_CONTAINER_OF(t, struct op, task);
    struct limit *l = layer_of(op);
    if (op->refusal == C2_E_BUSY)
        prov_req_fail(op->call.r, C2_E_BUSY, "%zu requests are waiting already", l->queue_max);
    else
        prov_req_fail(op->call.r, op->refusal, "%s while waiting for its turn",
                      c2_err_text(op->refusal));
    finish(op);
}

static void
refuse(struct op *op, enum c2_err err)
{
    C2_ASSERT(op->state == QUEUED);
    struct limit *l = layer_of(op);
    if (c2_link_linked(&op->link))
        c2_list_remove(&l->queue, &op->link);
    c2_timer_stop(l->p.env, &op->deadline);
    op->state = REFUSED;
    op->refusal = err;
    c2_defer(l->p.env, &op->task);
}

static void
deadline_passed(struct c2_timer *t)
{
    refuse(C2_CONTAINER_OF(t, struct op, deadline), C2_E_TIMEOUT);
}

static void
limit_submit(struct provider *p, struct prov_req *r)
{
    struct limit *l = C2_CONTAINER_OF(p, struct limit, p);
    struct op *op = c2_calloc(1, sizeof *op);
    op->state = QUEUED;
    op->deadline.fire = deadline_passed;
    op->task.run = refused;
    l->outstanding++;
    prov_call_push(&op->call, p, r, answered);

    bool must_wait = l->in_flight >= l->in_flight_max || !c2_list_empty(&l->queue) ||
                     l->free_at_ns > c2_now_ns(p->env);
    if (must_wait && l->queue.count >= l->queue_max) {
        refuse(op, C2_E_BUSY);
        return;
    }
    c2_list_append(&l->queue, &op->link);
    if (r->deadline_ns != C2_NEVER)
        c2_timer_arm(p->env, &op->deadline, r->deadline_ns);
    pump(l);
}

static void
limit_cancel(struct provider *p, struct prov_req *r)
{
    struct op *op = prov_call_find(p, r);
    if (op->state == SENT)
        prov_cancel(p->inner, r);
    else if (op->state == QUEUED)
        refuse(op, C2_E_CANCELED);
}

static void
limit_close(struct provider *p)
{
    struct limit *l = C2_CONTAINER_OF(p, struct limit, p);
    C2_ASSERT(l->outstanding == 0 && c2_list_empty(&l->queue));
    c2_timer_stop(p->env, &l->free_timer);
    c2_free(l);
}

static const struct provider_ops limit_ops = {
    .submit = limit_submit,
    .cancel = limit_cancel,
    .close = limit_close,
};

struct provider *
prov_limit_new(struct provider *inner, unsigned in_flight_max, size_t queue_max,
               uint64_t bytes_per_s)
{
    C2_ASSERT(in_flight_max >= 1);
    struct limit *l = c2_calloc(1, sizeof *l);
    prov_layer_init(&l->p, &limit_ops, inner);
    l->in_flight_max = in_flight_max;
    c2_list_init(&l->queue);
    l->queue_max = queue_max;
    l->bytes_per_s = bytes_per_s;
    l->free_timer.fire = free_again;
    return &l->p;
}
