/* SPDX-License-Identifier: MIT */
#include "tests/lib/coord_gate.h"

#include "base/alloc.h"

static struct coord_gate *
gate_of(struct coord *c)
{
    return C2_CONTAINER_OF(c, struct coord_gate, base);
}

/* There is one gate at a time; its calls are found by their requests. */
static struct coord_gate *open_gate;

static struct coord_gate_call *
call_of(struct coord_gate *g, const struct coord_req *r)
{
    struct coord_gate_call *call = g->calls;
    while (call->req != r)
        C2_ASSERT(++call < g->calls + COORD_GATE_CALLS);
    return call;
}

static void
arrive(struct coord_req *r)
{
    struct coord_gate_call *call = call_of(open_gate, r);
    void (*caller)(struct coord_req *) = call->done;
    call->req = NULL;
    r->done = caller;
    if (open_gate->lie > 0 && r->verb == COORD_TXN && r->err == C2_E_OK) {
        open_gate->lie--;
        r->err = C2_E_UNAVAILABLE;
        r->version = 0;
    }
    caller(r);
}

static void
done(struct coord_req *r)
{
    struct coord_gate *g = open_gate;
    if (g->late.len > 0 && r->verb == COORD_RANGE && c2_slice_equal(r->keys[0], g->late)) {
        g->late.len = 0;
        g->kept = r;
    } else {
        arrive(r);
    }
}

void
coord_gate_let_go(struct coord_gate *g)
{
    struct coord_req *r = g->kept;
    C2_ASSERT(r != NULL);
    g->kept = NULL;
    arrive(r);
}

static void
timed_out(struct c2_task *t)
{
    struct coord_req *r = C2_CONTAINER_OF(t, struct coord_req, task);
    r->done(r);
}

static void
gave_up(struct c2_timer *t)
{
    struct coord_req *r = C2_CONTAINER_OF(t, struct coord_gate_call, timer)->req;
    r->err = C2_E_TIMEOUT;
    arrive(r);
}

static void
gate_submit(struct coord *c, struct coord_req *r)
{
    struct coord_gate *g = gate_of(c);
    if (g->silent) {
        r->err = C2_E_TIMEOUT;
        r->task.run = timed_out;
        c2_defer(c->env, &r->task);
        return;
    }
    struct coord_gate_call *call = call_of(g, NULL);
    call->req = r;
    call->done = r->done;
    call->mute = g->mute;
    if (call->mute) {
        call->timer = (struct c2_timer){ .fire = gave_up };
        if (r->deadline_ns != 0 && r->deadline_ns != C2_NEVER)
            c2_timer_arm(c->env, &call->timer, r->deadline_ns);
        return;
    }
    r->done = done;
    g->inner->ops->submit(g->inner, r);
}

static void
gate_cancel(struct coord *c, struct coord_req *r)
{
    struct coord_gate *g = gate_of(c);
    struct coord_gate_call *call = call_of(g, r);
    if (call->mute)
        c2_timer_arm(c->env, &call->timer, c2_now_ns(c->env) + COORD_GATE_MUTE_NS);
    else
        g->inner->ops->cancel(g->inner, r);
}

static void
gate_watch(struct coord *c, struct coord_watch *w)
{
    coord_watch(gate_of(c)->inner, w);
}

static void
gate_unwatch(struct coord *c, struct coord_watch *w)
{
    coord_unwatch(gate_of(c)->inner, w);
}

static void
gate_close(struct coord *c)
{
    (void)c;
}

static const struct coord_ops gate_ops = { .submit = gate_submit,
                                           .cancel = gate_cancel,
                                           .watch = gate_watch,
                                           .unwatch = gate_unwatch,
                                           .close = gate_close };

void
coord_gate_init(struct coord_gate *g, struct coord *inner)
{
    *g = (struct coord_gate){ .inner = inner };
    g->base.ops = &gate_ops;
    g->base.env = inner->env;
    open_gate = g;
}
