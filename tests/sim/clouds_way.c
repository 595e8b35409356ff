/* SPDX-License-Identifier: MIT */
/*
 * Requests to the clouds on their way.
 *
 *   submit ──way there──► take effect, prepare the answer ──way back──► done
 *      │                                                         ▲
 *      └── deadline or cancel: done at once; what is on its way goes on without the node. When the
 *          node dies, some of it had not left.
 */
#include "base/alloc.h"
#include "base/mark.h"
#include "tests/sim/clouds_int.h"
#include "tests/sim/ledger.h"

#include <stdio.h>

struct way {
    struct provider p; /* first */
    struct sim_cloud *cloud;
    struct sim_node *node;
};

/* ---- travel ---------------------------------------------------------------------------------- */

void
cloud_trip_free(struct cloud_trip *t)
{
    c2_list_remove(&t->cloud->calls, &t->link);
    sim_stop(t->cloud->clouds->w, &t->timer);
    for (size_t i = 0; i < t->nkeys; i++)
        c2_free(t->keys[i]);
    for (size_t i = 0; i < t->nnames; i++)
        c2_free(t->names[i]);
    c2_free(t->names);
    c2_free(t->sizes);
    c2_free(t->keys);
    c2_free(t->key);
    c2_free(t->after);
    c2_blob_unref(t->body);
    c2_blob_unref(t->reply);
    c2_free(t);
}

/* Ends the node's half; runs in the node's name. */
static void
op_finish(struct cloud_op *op)
{
    struct prov_req *r = op->call.r;
    struct sim_world *w = op->node->w;
    sim_stop(w, &op->deadline);
    sim_stop(w, &op->canceled);
    if (op->trip != NULL)
        op->trip->op = NULL;
    prov_call_pop(&op->call);
    c2_free(op);
    r->done(r);
}

static void
hand_over(struct cloud_trip *t, struct prov_req *r)
{
    r->err = t->err;
    r->size = t->size;
    r->retry_after_ns = t->retry_after_ns;
    r->server_wall_ns = t->wall_ns;
    if (t->err != C2_E_OK) {
        snprintf(r->detail, sizeof r->detail, "%s", c2_err_text(t->err));
        return;
    }
    if (t->reply != NULL)
        r->reply = c2_blob_copy(t->reply->data, t->reply->len);
    for (size_t i = 0; i < t->nnames; i++)
        prov_list_add(r, t->names[i], t->sizes[i]);
    if (t->verb == PROV_LIST)
        prov_list_finish(r);
    r->truncated = t->truncated;
}

static uint64_t
way_ns(struct cloud_trip *t)
{
    struct sim_rng *rng = &t->cloud->clouds->rng;
    uint64_t ns = t->cloud->latency_ns / 2 + sim_rng_below(rng, t->cloud->latency_ns + 1);
    if (sim_rng_chance(rng, 2))
        ns *= 10;
    if ((t->faults & (1u << SIM_SLOW)) != 0)
        ns += sim_rng_scale(rng, 100 * C2_NS_PER_MS, 20 * C2_NS_PER_S);
    bool drips = t->arrived && (t->verb == PROV_GET || t->verb == PROV_LIST);
    if (drips && t->err == C2_E_OK && cloud_meets(t, SIM_DRIP))
        ns += sim_rng_scale(rng, C2_NS_PER_S, 120 * C2_NS_PER_S);
    return ns;
}

static void
trip_due(struct c2_timer *timer)
{
    struct cloud_trip *t = C2_CONTAINER_OF(timer, struct cloud_trip, timer);
    struct sim_world *w = t->cloud->clouds->w;
    if (!t->arrived) {
        t->arrived = true;
        t->faults |= cloud_draw_faults(t->cloud);
        cloud_take_effect(t);
        sim_trace(w, t->cloud->name, "%s %s: %s", prov_verb_name(t->verb),
                  t->key != NULL ? t->key : "", c2_err_name(t->err));
        sim_arm(w, timer, w->now_ns + way_ns(t));
        return;
    }
    struct cloud_op *op = t->op;
    if (op != NULL) {
        struct sim_life *before = sim_node_enter(op->node);
        hand_over(t, op->call.r);
        op_finish(op);
        sim_life_leave(before);
    } else {
        C2_MARK("sim: an answer that nobody waits for");
    }
    cloud_trip_free(t);
}

static struct cloud_trip *
trip_new(struct sim_cloud *c, struct cloud_op *op, const struct prov_req *r)
{
    struct cloud_trip *t = c2_calloc(1, sizeof *t);
    t->cloud = c;
    t->op = op;
    t->verb = r->verb;
    t->key = r->key != NULL ? c2_strdup(r->key) : NULL;
    t->after = r->list_after != NULL ? c2_strdup(r->list_after) : NULL;
    t->list_max = r->list_max;
    t->body_len_max = r->body_len_max;
    t->offset = r->offset;
    t->len = r->len;
    t->if_absent = r->if_absent;
    if (r->verb == PROV_PUT)
        t->body = c2_blob_copy(r->body->data, r->body->len);
    if (r->verb == PROV_DELETE_MANY) {
        t->nkeys = r->nkeys;
        t->keys = c2_calloc(r->nkeys, sizeof *t->keys);
        for (size_t i = 0; i < r->nkeys; i++)
            t->keys[i] = c2_strdup(r->keys[i]);
    }
    t->timer.fire = trip_due;
    c2_list_append(&c->calls, &t->link);
    return t;
}

/* In the world's name. */
static void
depart(struct sim_cloud *c, struct cloud_op *op, const struct prov_req *r)
{
    struct sim_world *w = c->clouds->w;
    struct cloud_trip *t = trip_new(c, op, r);
    op->trip = t;
    if (r->verb == PROV_PUT)
        sim_ledger_put(c->clouds, r->key, c2_blob_slice(r->body));
    t->faults = cloud_draw_faults(c) & (1u << SIM_HANG | 1u << SIM_DOWN | 1u << SIM_SLOW);
    if (cloud_meets(t, SIM_HANG)) {
        t->arrived = true;
        t->err = C2_E_TIMEOUT;
        sim_arm(w, &t->timer, w->now_ns + 3600 * C2_NS_PER_S);
    } else if (cloud_meets(t, SIM_DOWN)) {
        t->arrived = true; /* it never will */
        t->err = C2_E_UNREACHABLE;
        sim_arm(w, &t->timer, w->now_ns + sim_rng_below(&c->clouds->rng, 500 * C2_NS_PER_MS));
    } else {
        cloud_meets(t, SIM_SLOW); /* way_ns sees it */
        sim_arm(w, &t->timer, w->now_ns + way_ns(t));
    }
}

/* ---- provider -------------------------------------------------------------------------------- */

static void
give_up(struct cloud_op *op, enum c2_err err)
{
    struct prov_req *r = op->call.r;
    prov_req_fail(r, err, "%s", c2_err_text(err));
    op_finish(op);
}

static void
deadline_passed(struct c2_timer *t)
{
    C2_MARK("sim: deadline of a request");
    give_up(C2_CONTAINER_OF(t, struct cloud_op, deadline), C2_E_TIMEOUT);
}

static void
cancel_due(struct c2_timer *t)
{
    give_up(C2_CONTAINER_OF(t, struct cloud_op, canceled), C2_E_CANCELED);
}

static void
way_submit(struct provider *p, struct prov_req *r)
{
    struct way *way = C2_CONTAINER_OF(p, struct way, p);
    struct cloud_op *op = c2_calloc(1, sizeof *op);
    op->node = way->node;
    op->deadline.fire = deadline_passed;
    op->canceled.fire = cancel_due;
    prov_call_push(&op->call, p, r, NULL);
    uint64_t latest_ns = way->node->w->now_ns + 60 * C2_NS_PER_S;
    sim_arm_node(way->node, &op->deadline, C2_MIN(r->deadline_ns, latest_ns));
    struct sim_life *before = sim_life_enter(NULL);
    depart(way->cloud, op, r);
    sim_life_leave(before);
}

static void
way_cancel(struct provider *p, struct prov_req *r)
{
    struct cloud_op *op = prov_call_find(p, r);
    if (!c2_timer_armed(&op->canceled))
        sim_arm_node(op->node, &op->canceled, op->node->w->now_ns);
}

static void
way_close(struct provider *p)
{
    c2_free(C2_CONTAINER_OF(p, struct way, p));
}

static const struct provider_ops way_ops = {
    .submit = way_submit,
    .cancel = way_cancel,
    .close = way_close,
};

struct provider *
sim_cloud_provider(struct sim_clouds *c, unsigned index, struct sim_node *n)
{
    struct way *way = c2_calloc(1, sizeof *way);
    way->cloud = &c->cloud[index];
    way->node = n;
    prov_bottom_init(&way->p, &way_ops, sim_node_env(n), way->cloud->name);
    way->p.caps = way->cloud->if_absent ? PROV_CAP_IF_ABSENT : 0;
    return &way->p;
}

static void
node_died(void *arg, struct sim_node *n)
{
    struct sim_clouds *c = arg;
    for (unsigned i = 0; i < c->n; i++) {
        C2_LIST_FOREACH (&c->cloud[i].calls, struct cloud_trip, t, link) {
            if (t->op == NULL || t->op->node != n)
                continue;
            t->op = NULL;
            if (!t->arrived && sim_rng_chance(&c->rng, 40)) /* it had not left the machine yet */
                cloud_trip_free(t);
        }
    }
}

void
sim_clouds_attach(struct sim_clouds *c, struct sim_hook *hook, struct sim_node *n)
{
    *hook = (struct sim_hook){ .died = node_died, .arg = c };
    sim_node_hook(n, hook);
}
