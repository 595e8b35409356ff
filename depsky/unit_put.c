/* SPDX-License-Identifier: MIT */
/*
 * The same bytes to n-f clouds: the paper's writeQuorum (§3.3).
 *
 * Per seat:  IDLE ──PUT──► SENT ──ok──► ACKED
 *                            │ └─error─► FAILED, another seat is started at once
 *                            └─ late: another seat is started as well
 *
 * Only acknowledgements count, never replies. A late PUT is not stopped: it cannot do harm, because
 * nothing is ever overwritten.
 */
#include "base/log.h"
#include "base/mark.h"
#include "depsky/unit_impl.h"

#include <string.h>

static unsigned
count(const struct unit_put *p, enum put_state state)
{
    unsigned found = 0;
    for (unsigned i = 0; i < p->u->c->n; i++)
        found += p->seat[i].state == state;
    return found;
}

static unsigned
count_prompt(const struct unit_put *p)
{
    unsigned found = 0;
    for (unsigned i = 0; i < p->u->c->n; i++)
        found += p->seat[i].state == PUT_SENT && !p->seat[i].late;
    return found;
}

static void
finish(struct unit_put *p, enum c2_err err)
{
    struct ds_client *c = p->u->c;
    p->err = err;
    for (unsigned i = 0; i < c->n; i++) {
        struct put_seat *s = &p->seat[i];
        c2_timer_stop(c->env, &s->hedge);
        if (err == C2_E_OK)
            ds_call_abandon(s->call);
        else
            ds_call_cancel(s->call);
        s->call = NULL;
    }
    c2_blob_unref(p->body);
    p->body = NULL;
    p->done(p);
}

static void step(struct unit_put *p);

static void
arrived(struct ds_call *call)
{
    struct put_seat *s = call->owner;
    struct unit_put *p = s->p;
    enum c2_err err = call->req.err;
    s->call = NULL;
    c2_timer_stop(p->u->c->env, &s->hedge);
    if (err == C2_E_OK) {
        s->state = PUT_ACKED;
        p->placed |= 1u << s->index;
    } else {
        s->state = PUT_FAILED;
        c2_log(DEBUG, "unit", "put failed seat=%u key=%s err=%s detail=%s", s->index, p->key,
               c2_err_name(err), call->req.detail);
    }
    step(p);
}

/* While nobody has answered, the line is slow, not a seat. */
static void
hedge_fired(struct c2_timer *t)
{
    struct put_seat *s = C2_CONTAINER_OF(t, struct put_seat, hedge);
    struct unit_put *p = s->p;
    struct ds_client *c = p->u->c;
    if (count(p, PUT_ACKED) + count(p, PUT_FAILED) == 0) {
        uint64_t more = ds_health_hedge_ns(c, DS_CLASS_PUT, p->body->len);
        c2_timer_arm(c->env, t, c2_now_ns(c->env) + more);
        return;
    }
    if (!ds_hedge_now(s->call, p->body->len, 1, t))
        return;
    C2_MARK("unit: a put is late");
    s->late = true;
    ds_health_late(c, s->index);
    step(p);
}

static void
send_to(struct put_seat *s)
{
    struct unit_put *p = s->p;
    struct ds_client *c = p->u->c;
    s->state = PUT_SENT;
    s->call = ds_call_new(c, s->index, PROV_PUT, p->key);
    s->call->req.body = p->body;
    if (p->sha256 != NULL) { /* the call may outlive its operation */
        memcpy(s->call->sha256, p->sha256, sizeof(s->call->sha256));
        s->call->req.body_sha256 = s->call->sha256;
    }
    s->call->done = arrived;
    s->call->owner = s;
    uint64_t late = ds_health_hedge_ns(c, DS_CLASS_PUT, p->body->len);
    c2_timer_arm(c->env, &s->hedge, c2_now_ns(c->env) + late);
    ds_call_start(s->call, c->config->put_timeout_ns);
}

static void
extend(struct unit_put *p)
{
    struct ds_client *c = p->u->c;
    unsigned rank[DS_SEATS_MAX];
    unsigned ranked = ds_health_rank(c, DS_CLASS_PUT, rank);
    unsigned wanted = p->preferred && !c->config->write_all ? c->n - c->f : c->n;
    for (unsigned i = 0; i < ranked; i++) {
        if (count(p, PUT_ACKED) + count_prompt(p) >= wanted)
            return;
        if (p->seat[rank[i]].state == PUT_IDLE)
            send_to(&p->seat[rank[i]]);
    }
}

static void
step(struct unit_put *p)
{
    struct ds_client *c = p->u->c;
    unsigned acks = count(p, PUT_ACKED);
    if (acks >= c->n - c->f) {
        finish(p, C2_E_OK);
        return;
    }
    extend(p);
    if (acks + count(p, PUT_SENT) < c->n - c->f)
        finish(p, C2_E_QUORUM);
}

static void
run_task(struct c2_task *t)
{
    step(C2_CONTAINER_OF(t, struct unit_put, task));
}

void
unit_put_start(struct unit_put *p)
{
    C2_ASSERT(p->done != NULL && p->body != NULL);
    memset(p->seat, 0, sizeof(p->seat));
    p->placed = 0;
    p->task = (struct c2_task){ .run = run_task };
    for (unsigned i = 0; i < p->u->c->n; i++) {
        p->seat[i].p = p;
        p->seat[i].index = i;
        p->seat[i].hedge.fire = hedge_fired;
    }
    c2_defer(p->u->c->env, &p->task);
}

void
unit_meta_put(struct ds_unit *u, const struct unit_meta *m, struct unit_put *p,
              void (*done)(struct unit_put *p))
{
    *p = (struct unit_put){ .u = u, .body = unit_meta_encode(u, m), .done = done };
    unit_key(u, UNIT_META, &m->id, p->key);
    unit_put_start(p);
}
