/* SPDX-License-Identifier: MIT */
/*
 * A replicated value (DepSky-A §3.3, optimised read §3.6): the best seat alone, and the next one
 * when it fails, lies or is late. The first value with the signed hash wins.
 *
 * Per seat:  IDLE ──GET──► ASKED ──right length──► HASHING ──equal──► done
 *                            │ └─not found─► ABSENT    └──different──► FAILED, and suspect
 *                            └─error───────► FAILED
 *
 * NOT_FOUND only when more than 2f seats say "absent": of the n-f that acknowledged it, f may lie
 * and f may have been left out, so it is gone from a correct one that had it.
 */
#include <string.h>

#include "base/mark.h"
#include "depsky/unit_impl.h"

static unsigned
count(const struct unit_get *g, enum get_a_state state)
{
    unsigned found = 0;
    for (unsigned i = 0; i < g->u->c->n; i++)
        found += g->seat[i].state == state;
    return found;
}

static void
finish(struct unit_get *g, enum c2_err err)
{
    struct ds_client *c = g->u->c;
    g->err = err;
    for (unsigned i = 0; i < c->n; i++) {
        struct get_a_seat *s = &g->seat[i];
        c2_timer_stop(c->env, &s->hedge);
        ds_call_cancel(s->call);
        s->call = NULL;
        c2_blob_unref(s->blob);
        s->blob = NULL;
    }
    g->done(g);
}

static void step(struct unit_get *g);

/* ---- one seat -------------------------------------------------------------------------- */

static void
run_hash(struct c2_work *w)
{
    struct get_a_seat *s = C2_CONTAINER_OF(w, struct get_a_seat, work);
    uint8_t hash[C2_SHA256_LEN];
    c2_sha256(c2_blob_slice(s->blob), hash);
    s->good = memcmp(hash, s->g->version->hash, sizeof(hash)) == 0;
}

static void
corrupt(struct get_a_seat *s)
{
    C2_MARK("unit: a replica does not have its hash");
    s->state = GET_FAILED;
    ds_health_corrupt(s->g->u->c, s->index);
}

static void
hashed(struct c2_work *w)
{
    struct get_a_seat *s = C2_CONTAINER_OF(w, struct get_a_seat, work);
    struct unit_get *g = s->g;
    if (!s->good) {
        corrupt(s);
        c2_blob_unref(s->blob);
        s->blob = NULL;
    } else if (g->data == NULL) {
        s->state = GET_FAILED; /* has done its work */
        ds_health_verified(g->u->c, s->index);
        g->data = s->blob;
        s->blob = NULL;
    } else {
        s->state = GET_FAILED;
    }
    step(g);
}

static void
arrived(struct ds_call *call)
{
    struct get_a_seat *s = call->owner;
    struct unit_get *g = s->g;
    struct prov_req *r = &call->req;
    s->call = NULL;
    c2_timer_stop(g->u->c->env, &s->hedge);
    if (r->err == C2_E_NOT_FOUND) {
        s->state = GET_ABSENT;
        if ((g->version->placed & (1u << s->index)) != 0)
            ds_health_absent(g->u->c, s->index);
    } else if (r->err == C2_E_TOO_LARGE || r->err == C2_E_RANGE ||
               (r->err == C2_E_OK && r->reply->len != g->version->size)) {
        corrupt(s);
    } else if (r->err != C2_E_OK) {
        s->state = GET_FAILED;
    } else {
        s->state = GET_HASHING;
        s->blob = r->reply;
        r->reply = NULL;
        s->work = (struct c2_work){ .run = run_hash, .done = hashed };
        c2_work(g->u->c->env, &s->work);
        return;
    }
    step(g);
}

static void
hedge_fired(struct c2_timer *t)
{
    struct get_a_seat *s = C2_CONTAINER_OF(t, struct get_a_seat, hedge);
    const struct unit_get *g = s->g;
    if (!ds_hedge_now(s->call, g->version->size, 1, t))
        return;
    C2_MARK("unit: a replica is late");
    s->late = true;
    step(s->g);
}

static void
ask(struct get_a_seat *s)
{
    struct unit_get *g = s->g;
    struct ds_client *c = g->u->c;
    s->state = GET_ASKED;
    s->call = ds_call_new(c, s->index, PROV_GET, g->key);
    s->call->req.body_len_max = g->version->size;
    s->call->done = arrived;
    s->call->owner = s;
    uint64_t late = ds_health_hedge_ns(c, DS_CLASS_GET, g->version->size);
    c2_timer_arm(c->env, &s->hedge, c2_now_ns(c->env) + late);
    ds_call_start(s->call, c->config->get_timeout_ns);
}

/* ---- all of them ----------------------------------------------------------------------- */

/* The best idle seat, those that acknowledged the write first. */
static struct get_a_seat *
next_seat(struct unit_get *g)
{
    unsigned rank[DS_SEATS_MAX];
    unsigned ranked = ds_health_rank(g->u->c, DS_CLASS_GET, rank);
    struct get_a_seat *spare = NULL;
    for (unsigned i = 0; i < ranked; i++) {
        struct get_a_seat *s = &g->seat[rank[i]];
        if (s->state != GET_IDLE)
            continue;
        if ((g->version->placed & (1u << s->index)) != 0)
            return s;
        if (spare == NULL)
            spare = s;
    }
    return spare;
}

static bool
anybody_prompt(const struct unit_get *g)
{
    for (unsigned i = 0; i < g->u->c->n; i++) {
        const struct get_a_seat *s = &g->seat[i];
        if (s->state == GET_HASHING || (s->state == GET_ASKED && !s->late))
            return true;
    }
    return false;
}

static void
step(struct unit_get *g)
{
    unsigned hashing = count(g, GET_HASHING);
    if (g->data != NULL && hashing == 0) {
        finish(g, C2_E_OK);
        return;
    }
    if (hashing > 0) /* its result comes in a moment, and the pool still uses the struct */
        return;
    if (count(g, GET_ABSENT) > 2 * g->u->c->f) {
        finish(g, C2_E_NOT_FOUND);
        return;
    }
    struct get_a_seat *s = anybody_prompt(g) ? NULL : next_seat(g);
    if (s != NULL)
        ask(s);
    else if (count(g, GET_ASKED) == 0)
        finish(g, C2_E_QUORUM);
}

static void
run_task(struct c2_task *t)
{
    step(C2_CONTAINER_OF(t, struct unit_get, task));
}

void
unit_get_start(struct unit_get *g)
{
    const struct ds_unit_version *v = g->version;
    struct unit_id id = { .number = v->version };
    C2_ASSERT(g->done != NULL && v->protocol == DS_UNIT_A && v->size > 0);
    memcpy(id.rnd, v->rnd, sizeof(id.rnd));
    memcpy(id.sig, v->sig, sizeof(id.sig));
    unit_key(g->u, UNIT_VALUE, &id, g->key);
    memset(g->seat, 0, sizeof(g->seat));
    g->data = NULL;
    g->task = (struct c2_task){ .run = run_task };
    for (unsigned i = 0; i < g->u->c->n; i++) {
        g->seat[i].g = g;
        g->seat[i].index = i;
        g->seat[i].hedge.fire = hedge_fired;
    }
    c2_defer(g->u->c->env, &g->task);
}
