/* SPDX-License-Identifier: MIT */
/*
 * Counts what passes. Where it sits decides what that means: prov_open puts it below retry and
 * limit, so a request is one attempt that leaves for the cloud, and the latency is the cloud's,
 * without the time in our own queue.
 *
 * "Not found", "exists already", "out of range" and "larger than its limit" are good answers of a
 * working cloud; canceled requests say nothing about it. None of them is an error here.
 */
#include "backends/layer.h"
#include "backends/registry.h"

#include "base/alloc.h"
#include "base/stats.h"

#include <stdio.h>

#define FADE_EVERY 1024 /* successes between two halvings of the histogram */

struct stats_layer {
    struct provider p;
    struct prov_stats stats;
    struct c2_hist latency;
    unsigned since_fade;
    size_t outstanding;
};

struct op {
    struct prov_call call; /* first */
    uint64_t start_ns;
};

static bool
is_answer(enum c2_err err)
{
    return err == C2_E_OK || err == C2_E_NOT_FOUND || err == C2_E_EXISTS ||
           err == C2_E_PRECONDITION || err == C2_E_RANGE || err == C2_E_TOO_LARGE;
}

static void
count_success(struct stats_layer *l, uint64_t latency_ns)
{
    c2_hist_add(&l->latency, latency_ns);
    if (++l->since_fade == FADE_EVERY) {
        c2_hist_decay(&l->latency);
        l->since_fade = 0;
    }
    l->stats.latency_p50_ns = c2_hist_quantile(&l->latency, 0.5);
    l->stats.latency_p99_ns = c2_hist_quantile(&l->latency, 0.99);
}

static void
count(struct stats_layer *l, const struct prov_req *r, uint64_t start_ns)
{
    uint64_t now_ns = c2_now_ns(l->p.env);
    if (r->reply != NULL)
        l->stats.bytes_down += r->reply->len;
    l->stats.bytes_down += r->list_text.len;
    if (is_answer(r->err)) {
        l->stats.last_ok_ns = now_ns;
        if (r->err == C2_E_OK)
            count_success(l, now_ns - start_ns);
    } else if (r->err != C2_E_CANCELED) {
        l->stats.errors[r->verb]++;
        l->stats.last_error_ns = now_ns;
        l->stats.last_error = r->err;
        snprintf(l->stats.last_detail, sizeof l->stats.last_detail, "%s", r->detail);
    }
}

static void
answered(struct prov_req *r)
{
    struct op *op = prov_call_top(r);
    struct stats_layer *l = C2_CONTAINER_OF(op->call.p, struct stats_layer, p);
    count(l, r, op->start_ns);
    l->outstanding--;
    prov_call_pop(&op->call);
    c2_free(op);
    r->done(r);
}

static void
stats_submit(struct provider *p, struct prov_req *r)
{
    struct stats_layer *l = C2_CONTAINER_OF(p, struct stats_layer, p);
    struct op *op = c2_calloc(1, sizeof *op);
    op->start_ns = c2_now_ns(p->env);
    l->stats.requests[r->verb]++;
    if (r->verb == PROV_PUT)
        l->stats.bytes_up += r->body->len;
    l->outstanding++;
    prov_call_push(&op->call, p, r, answered);
    prov_submit(p->inner, r);
}

static void
stats_cancel(struct provider *p, struct prov_req *r)
{
    prov_cancel(p->inner, r);
}

static void
stats_close(struct provider *p)
{
    struct stats_layer *l = C2_CONTAINER_OF(p, struct stats_layer, p);
    C2_ASSERT(l->outstanding == 0);
    c2_free(l);
}

static const struct provider_ops stats_ops = {
    .submit = stats_submit,
    .cancel = stats_cancel,
    .close = stats_close,
};

struct provider *
prov_stats_new(struct provider *inner)
{
    struct stats_layer *l = c2_calloc(1, sizeof *l);
    prov_layer_init(&l->p, &stats_ops, inner);
    l->p.stats = &l->stats;
    return &l->p;
}
