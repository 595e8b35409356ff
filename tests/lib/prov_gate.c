/* SPDX-License-Identifier: MIT */
#include "tests/lib/prov_gate.h"

#include <string.h>

#include "backends/layer.h"
#include "base/alloc.h"

struct gate {
    struct provider p; /* first */
    bool closed;
    enum prov_verb verb;
    const char *part;
    struct c2_list waiting;
    int64_t clock_ns;
};

struct op {
    struct prov_call call; /* first */
    struct c2_link link;   /* gate->waiting */
    struct c2_task task;   /* canceled at the gate */
};

static void
answered(struct prov_req *r)
{
    struct op *op = prov_call_top(r);
    struct gate *g = C2_CONTAINER_OF(op->call.p, struct gate, p);
    if (r->server_wall_ns != 0)
        r->server_wall_ns += (uint64_t)g->clock_ns;
    prov_call_pop(&op->call);
    c2_free(op);
    r->done(r);
}

static void
canceled(struct c2_task *t)
{
    struct op *op = C2_CONTAINER_OF(t, struct op, task);
    struct prov_req *r = op->call.r;
    prov_req_fail(r, C2_E_CANCELED, "canceled at the gate");
    prov_call_pop(&op->call);
    c2_free(op);
    r->done(r);
}

static void
gate_submit(struct provider *p, struct prov_req *r)
{
    struct gate *g = C2_CONTAINER_OF(p, struct gate, p);
    struct op *op = c2_calloc(1, sizeof(*op));
    op->task.run = canceled;
    prov_call_push(&op->call, p, r, answered);
    if (g->closed && r->verb == g->verb && r->key != NULL && strstr(r->key, g->part) != NULL)
        c2_list_append(&g->waiting, &op->link);
    else
        prov_submit(p->inner, r);
}

static void
gate_cancel(struct provider *p, struct prov_req *r)
{
    struct gate *g = C2_CONTAINER_OF(p, struct gate, p);
    struct op *op = prov_call_find(p, r);
    if (c2_link_linked(&op->link)) {
        c2_list_remove(&g->waiting, &op->link);
        c2_defer(p->env, &op->task);
    } else if (!c2_link_linked(&op->task.link)) {
        prov_cancel(p->inner, r);
    }
}

static void
gate_close(struct provider *p)
{
    c2_free(C2_CONTAINER_OF(p, struct gate, p));
}

static const struct provider_ops gate_ops = {
    .submit = gate_submit,
    .cancel = gate_cancel,
    .close = gate_close,
};

static struct gate *
gate_of(const struct provider *p)
{
    C2_ASSERT(p->ops == &gate_ops);
    return (struct gate *)(uintptr_t)p;
}

struct provider *
prov_gate_new(struct provider *inner)
{
    struct gate *g = c2_calloc(1, sizeof(*g));
    prov_layer_init(&g->p, &gate_ops, inner);
    c2_list_init(&g->waiting);
    return &g->p;
}

void
prov_gate_close(struct provider *gate, enum prov_verb verb, const char *part)
{
    struct gate *g = gate_of(gate);
    g->closed = true;
    g->verb = verb;
    g->part = part;
}

void
prov_gate_open(struct provider *gate)
{
    struct gate *g = gate_of(gate);
    g->closed = false;
    while (!c2_list_empty(&g->waiting)) {
        struct op *op = C2_LIST_FIRST(&g->waiting, struct op, link);
        c2_list_remove(&g->waiting, &op->link);
        prov_submit(gate->inner, op->call.r);
    }
}

size_t
prov_gate_waiting(const struct provider *gate)
{
    return gate_of(gate)->waiting.count;
}

void
prov_gate_set_clock(struct provider *gate, int64_t offset_ns)
{
    gate_of(gate)->clock_ns = offset_ns;
}
