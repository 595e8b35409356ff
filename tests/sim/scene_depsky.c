/* SPDX-License-Identifier: MIT */
/*
 * One DepSky client over misbehaving clouds: random puts, gets, ranges, deletes and lists, canceled
 * at times, with crashes of the client. Checked:
 *
 *   I1, I17  a get never gives wrong bytes, whatever the clouds do
 *   I2       an acknowledged put has w acks, at least w - f of them true
 *   I4, I7   ledger.c
 *   I15      NOT_FOUND for what is acknowledged only when clouds beyond f lie
 *   bounded  every operation ends; in CALM weather it also succeeds
 *   liveness after the last fault every acknowledged object reads back exactly and is listed
 */
#include "tests/sim/scene.h"

#include "backends/registry.h"
#include "base/alloc.h"
#include "base/mark.h"
#include "depsky/depsky.h"

#include <stdlib.h>
#include <string.h>

#define OBJECTS_MAX 64
#define OPS_MAX     60
#define OP_NS_MAX   (900 * C2_NS_PER_S)

enum state { PUTTING, ACKED, UNKNOWN, DELETING, DELETED };

struct object {
    enum state state;
    struct ds_oid oid;
    struct ds_ref ref;
    bool have_ref;
    uint32_t placed;
    uint64_t acked_ns;
    struct c2_blob *body;
    size_t cut;
};

enum kind { PUT, GET, DELETE, LIST };

struct op {
    struct c2_link link; /* scene->ops */
    struct scene *s;
    enum kind kind;
    struct object *object;
    uint64_t started_ns;
    bool canceled, final;
    struct c2_slice piece[2];
    uint32_t cut;
    union {
        struct ds_put put;
        struct ds_get get;
        struct ds_delete del;
        struct ds_list list;
    } u;
};

struct scene {
    struct sim_world *w;
    struct sim_rng rng;
    struct sim_clouds *clouds;
    struct sim_node *node;
    struct sim_hook clouds_hook, hook;
    enum sim_weather weather;
    struct ds_config config;
    struct provider *seat[DS_SEATS_MAX];
    struct ds_client *c;
    bool stacked; /* with the product's layers */
    uint64_t sid, seq;
    struct object object[OBJECTS_MAX];
    unsigned nobjects;
    struct c2_list ops;
    unsigned ops_left, crashes_left;
    uint64_t until_ns;
    bool healed;
    struct c2_timer next;
    bool script_over, idle, drained;
};

/* ---- the client's life ------------------------------------------------------------------------
 */

static struct provider *
open_seat(struct scene *s, unsigned i)
{
    struct provider *p = sim_cloud_provider(s->clouds, i, s->node);
    if (!s->stacked)
        return p;
    p = prov_limit_new(prov_stats_new(p), 8, 1000, 0);
    return prov_retry_new(p, 3, 100 * C2_NS_PER_MS, 5 * C2_NS_PER_S);
}

static void
open_client(struct scene *s)
{
    struct sim_life *before = sim_node_enter(s->node);
    s->sid++;
    s->seq = 0;
    for (unsigned i = 0; i < s->config.n; i++)
        s->seat[i] = open_seat(s, i);
    enum c2_err err = ds_client_new(sim_node_env(s->node), &s->config, s->seat, &s->c);
    C2_ASSERT(err == C2_E_OK);
    sim_life_leave(before);
}

static void
op_free(struct op *op)
{
    c2_list_remove(&op->s->ops, &op->link);
    if (op->s->script_over && c2_list_empty(&op->s->ops))
        op->s->idle = true;
    c2_free(op);
}

/* What was under way is forgotten; a put may have arrived or not. */
static void
client_died(void *arg, struct sim_node *n)
{
    struct scene *s = arg;
    (void)n;
    C2_LIST_FOREACH (&s->ops, struct op, op, link) {
        if (op->kind == PUT) {
            op->object->state = UNKNOWN;
            op->object->ref = op->u.put.ref;
            op->object->have_ref = op->u.put.ref.plain_len > 0;
        }
        op_free(op);
    }
    s->c = NULL;
}

static void
set_flag(void *arg)
{
    *(bool *)arg = true;
}

static void
close_client(struct scene *s)
{
    struct sim_life *before = sim_node_enter(s->node);
    ds_client_drain(s->c, set_flag, &s->drained);
    sim_life_leave(before);
    sim_run_until(s->w, &s->drained, 120 * C2_NS_PER_S, "drain");
    before = sim_node_enter(s->node);
    ds_client_free(s->c);
    for (unsigned i = 0; i < s->config.n; i++)
        prov_close(s->seat[i]);
    sim_life_leave(before);
}

/* ---- operations ------------------------------------------------------------------------------ */

static struct op *
op_new(struct scene *s, enum kind kind, struct object *o)
{
    struct op *op = c2_calloc(1, sizeof *op);
    op->s = s;
    op->kind = kind;
    op->object = o;
    op->started_ns = s->w->now_ns;
    c2_list_append(&s->ops, &op->link);
    return op;
}

static void
check_time(struct op *op, const char *what)
{
    struct scene *s = op->s;
    uint64_t took_ns = s->w->now_ns - op->started_ns;
    SIM_CHECK(s->w, took_ns <= OP_NS_MAX, "a %s took %llu s", what,
              (unsigned long long)(took_ns / C2_NS_PER_S));
}

/* Nothing but f clouds has ever misbehaved, or nobody does any more. */
static bool
must_work(const struct scene *s, const struct op *op)
{
    return !op->canceled && s->weather != SIM_WRECK && (s->weather == SIM_CALM || op->final);
}

static void
fill_body(struct scene *s, struct c2_blob *b)
{
    static const char text[] = "2026-01-07 03:11:59,bed 12,pulse 61,SpO2 97,";
    if (sim_rng_chance(&s->rng, 60)) {
        sim_rng_fill(&s->rng, b->data, b->len);
        return;
    }
    for (size_t i = 0; i < b->len; i++)
        b->data[i] = (uint8_t)text[(i + i / 1000) % (sizeof text - 1)];
    sim_rng_fill(&s->rng, b->data, C2_MIN(b->len, (size_t)8));
}

static struct object *
object_new(struct scene *s)
{
    struct object *o = &s->object[s->nobjects++];
    unsigned dice = (unsigned)sim_rng_below(&s->rng, 100);
    size_t len_max = dice < 4 ? 1500000 : dice < 15 ? 400000 : dice < 40 ? 70000 : 4000;
    o->body = c2_blob_new(sim_rng_scale(&s->rng, 1, len_max));
    fill_body(s, o->body);
    o->oid = (struct ds_oid){ .sid = s->sid, .seq = ++s->seq };
    sim_rng_fill(&s->rng, o->oid.rnd, sizeof o->oid.rnd);
    return o;
}

/* How many clouds really hold the share. */
static unsigned
count_held(struct scene *s, const struct object *o)
{
    char key[PROV_KEY_MAX];
    unsigned held = 0;
    ds_object_key(s->c, DS_KIND_OBJECT, o->oid, key);
    for (unsigned i = 0; i < s->clouds->n; i++)
        held += (o->placed & 1u << i) != 0 && sim_cloud_peek(&s->clouds->cloud[i], key) != NULL;
    return held;
}

static void
put_done(struct ds_put *p)
{
    struct op *op = C2_CONTAINER_OF(p, struct op, u.put);
    struct scene *s = op->s;
    struct object *o = op->object;
    unsigned w = 2 * s->config.f + 1;
    sim_trace(s->w, "client", "put %llu/%llu: %s, placed %x", (unsigned long long)p->oid.sid,
              (unsigned long long)p->oid.seq, c2_err_name(p->err), p->placed);
    if (!p->persist)
        check_time(op, "put");
    o->ref = p->ref;
    o->have_ref = p->ref.plain_len > 0;
    o->placed = p->placed;
    o->state = p->err == C2_E_OK ? ACKED : UNKNOWN;
    o->acked_ns = s->w->now_ns;
    if (p->err == C2_E_OK) {
        SIM_CHECK(s->w, (unsigned)__builtin_popcount(p->placed) >= w, "I2: too few acks");
        if (s->weather != SIM_WRECK)
            SIM_CHECK(s->w, count_held(s, o) >= w - s->config.f, "I2: too few true acks");
    } else {
        SIM_CHECK(s->w, !must_work(s, op), "a put failed: %s", c2_err_name(p->err));
        SIM_CHECK(s->w, p->err == C2_E_QUORUM || p->err == C2_E_CANCELED || p->err == C2_E_EXISTS,
                  "a put failed with %s", c2_err_name(p->err));
    }
    op_free(op);
}

static void
start_put(struct scene *s)
{
    struct object *o = object_new(s);
    struct op *op = op_new(s, PUT, o);
    size_t len = o->body->len;
    size_t at = sim_rng_below(&s->rng, len + 1);
    op->piece[0] = c2_slice(o->body->data, at);
    op->piece[1] = c2_slice(o->body->data + at, len - at);
    op->cut = (uint32_t)sim_rng_below(&s->rng, len);
    op->u.put = (struct ds_put){ .oid = o->oid, .data = op->piece, .ndata = 2, .done = put_done };
    op->u.put.persist = sim_rng_chance(&s->rng, 30);
    op->u.put.cuts = &op->cut;
    op->u.put.ncuts = op->cut > 0 ? 1 : 0;
    sim_trace(s->w, "client", "put %llu/%llu of %zu bytes%s", (unsigned long long)o->oid.sid,
              (unsigned long long)o->oid.seq, len, op->u.put.persist ? ", persist" : "");
    struct sim_life *before = sim_node_enter(s->node);
    ds_put_start(s->c, &op->u.put);
    sim_life_leave(before);
}

static void
check_get(struct op *op, const struct ds_get *g)
{
    struct scene *s = op->s;
    const struct c2_blob *body = op->object->body;
    if (g->err == C2_E_OK) {
        size_t from = C2_MIN(g->offset, body->len);
        size_t want = body->len - from;
        if (g->len > 0)
            want = C2_MIN(want, g->len);
        SIM_CHECK(s->w, g->data->len == want && memcmp(g->data->data, body->data + from, want) == 0,
                  "I1: wrong bytes");
        return;
    }
    SIM_CHECK(s->w, g->err == C2_E_NOT_FOUND || g->err == C2_E_QUORUM || g->err == C2_E_CANCELED,
              "a get failed with %s", c2_err_name(g->err));
    if (op->object->state != ACKED || !must_work(s, op))
        return;
    SIM_CHECK(s->w, g->err != C2_E_NOT_FOUND, "I15: an acknowledged object is called absent");
    sim_fail(s->w, "I1: an acknowledged object cannot be read: %s", c2_err_name(g->err));
}

static void
get_done(struct ds_get *g)
{
    struct op *op = C2_CONTAINER_OF(g, struct op, u.get);
    struct scene *s = op->s;
    sim_trace(s->w, "client", "get %llu/%llu: %s", (unsigned long long)g->ref.oid.sid,
              (unsigned long long)g->ref.oid.seq, c2_err_name(g->err));
    check_time(op, "get");
    check_get(op, g);
    c2_blob_unref(g->data);
    op_free(op);
}

static void
start_get(struct scene *s, struct object *o, bool final)
{
    struct op *op = op_new(s, GET, o);
    op->final = final;
    op->u.get = (struct ds_get){ .ref = o->ref, .done = get_done };
    if (sim_rng_chance(&s->rng, 60))
        op->u.get.placed = o->placed;
    if (!final && sim_rng_chance(&s->rng, 60)) {
        op->u.get.offset = sim_rng_below(&s->rng, o->body->len + 10);
        op->u.get.len = sim_rng_below(&s->rng, o->body->len + 10);
    }
    sim_trace(s->w, "client", "get %llu/%llu from %llu, %llu bytes", (unsigned long long)o->oid.sid,
              (unsigned long long)o->oid.seq, (unsigned long long)op->u.get.offset,
              (unsigned long long)op->u.get.len);
    struct sim_life *before = sim_node_enter(s->node);
    ds_get_start(s->c, &op->u.get);
    sim_life_leave(before);
}

static void
delete_done(struct ds_delete *d)
{
    struct op *op = C2_CONTAINER_OF(d, struct op, u.del);
    sim_trace(op->s->w, "client", "delete: %s", c2_err_name(d->err));
    check_time(op, "delete");
    SIM_CHECK(op->s->w, d->err == C2_E_OK || d->err == C2_E_QUORUM, "a delete failed with %s",
              c2_err_name(d->err));
    op_free(op);
}

static void
start_delete(struct scene *s, struct object *o)
{
    struct op *op = op_new(s, DELETE, o);
    o->state = DELETING;
    op->u.del = (struct ds_delete){ .oids = &o->oid, .noids = 1, .done = delete_done };
    sim_trace(s->w, "client", "delete %llu/%llu", (unsigned long long)o->oid.sid,
              (unsigned long long)o->oid.seq);
    struct sim_life *before = sim_node_enter(s->node);
    ds_delete_start(s->c, &op->u.del);
    sim_life_leave(before);
}

static bool
listed(const struct ds_list *l, struct ds_oid oid)
{
    for (size_t i = 0; i < l->nitems; i++) {
        if (l->items[i].sid == oid.sid && l->items[i].seq == oid.seq)
            return true;
    }
    return false;
}

/* What is acknowledged while a list runs need not be in it. */
static void
list_done(struct ds_list *l)
{
    struct op *op = C2_CONTAINER_OF(l, struct op, u.list);
    struct scene *s = op->s;
    sim_trace(s->w, "client", "list: %s, %zu items", c2_err_name(l->err), l->nitems);
    check_time(op, "list");
    SIM_CHECK(s->w, l->err == C2_E_OK || l->err == C2_E_QUORUM, "a list failed with %s",
              c2_err_name(l->err));
    SIM_CHECK(s->w, l->err == C2_E_OK || !must_work(s, op), "a list failed");
    for (unsigned i = 0; l->err == C2_E_OK && must_work(s, op) && i < s->nobjects; i++) {
        const struct object *o = &s->object[i];
        bool expected = o->state == ACKED && o->acked_ns < op->started_ns && !l->more;
        SIM_CHECK(s->w, !expected || listed(l, o->oid), "%llu/%llu is acknowledged and not listed",
                  (unsigned long long)o->oid.sid, (unsigned long long)o->oid.seq);
    }
    c2_free(l->items);
    op_free(op);
}

static void
start_list(struct scene *s, bool final)
{
    struct op *op = op_new(s, LIST, NULL);
    op->final = final;
    op->u.list = (struct ds_list){ .all_sids = true, .max = 1000, .done = list_done };
    if (!final && sim_rng_chance(&s->rng, 30))
        op->u.list.max = sim_rng_between(&s->rng, 1, 5);
    struct sim_life *before = sim_node_enter(s->node);
    ds_list_start(s->c, &op->u.list);
    sim_life_leave(before);
}

/* ---- script ---------------------------------------------------------------------------------- */

static void
cancel_one(struct scene *s)
{
    C2_LIST_FOREACH (&s->ops, struct op, op, link) {
        if (op->canceled || op->kind > GET || !sim_rng_chance(&s->rng, 50))
            continue;
        op->canceled = true;
        sim_trace(s->w, "client", "cancels");
        struct sim_life *before = sim_node_enter(s->node);
        if (op->kind == PUT)
            ds_put_cancel(s->c, &op->u.put);
        else
            ds_get_cancel(s->c, &op->u.get);
        sim_life_leave(before);
        return;
    }
}

static void
act_on_object(struct scene *s, unsigned dice)
{
    if (s->nobjects == 0)
        return;
    struct object *o = &s->object[sim_rng_below(&s->rng, s->nobjects)];
    if (!o->have_ref || o->state == PUTTING)
        return;
    if (dice < 85)
        start_get(s, o, false);
    else if (o->state == ACKED)
        start_delete(s, o);
}

static void
act(struct scene *s)
{
    unsigned dice = (unsigned)sim_rng_below(&s->rng, 100);
    if (dice < 40 && s->nobjects < OBJECTS_MAX) {
        start_put(s);
    } else if (dice < 90) {
        act_on_object(s, dice);
    } else if (dice < 94) {
        cancel_one(s);
    } else if (dice < 97) {
        start_list(s, false);
    } else if (s->crashes_left > 0) {
        s->crashes_left--;
        sim_node_crash(s->node, SIM_CRASH_DAEMON);
        open_client(s);
    }
}

static void
next_due(struct c2_timer *t)
{
    struct scene *s = C2_CONTAINER_OF(t, struct scene, next);
    uint64_t pause_max_ns = sim_rng_chance(&s->rng, 50) ? 100 * C2_NS_PER_MS : 10 * C2_NS_PER_S;
    if (s->ops_left == 0 && !s->healed) {
        s->healed = true;
        sim_clouds_heal(s->clouds);
    }
    if (s->ops_left == 0) {
        s->script_over = true;
        s->idle = c2_list_empty(&s->ops);
        return;
    }
    s->ops_left--;
    act(s);
    sim_arm(s->w, t, s->w->now_ns + sim_rng_below(&s->rng, pause_max_ns));
}

static void
set_up(struct scene *s)
{
    static const enum sim_weather weathers[] = { SIM_CALM,  SIM_CALM,  SIM_ROTATE, SIM_ROTATE,
                                                 SIM_STORM, SIM_STORM, SIM_WRECK };
    s->rng = sim_rng_fork(&s->w->rng, 4);
    ds_config_default(&s->config);
    unsigned size = (unsigned)sim_rng_below(&s->rng, 10);
    s->config.f = size == 0 ? 2 : 1;
    s->config.n = size == 0 ? 7 : size == 1 ? 5 : 4;
    s->config.engine = sim_rng_chance(&s->rng, 80) ? DS_ENGINE_ISAL : DS_ENGINE_JERASURE;
    s->config.compress = (enum ds_compress)sim_rng_below(&s->rng, 3);
    s->config.write_all = sim_rng_chance(&s->rng, 20);
    s->config.keyless = sim_rng_chance(&s->rng, 20);
    sim_rng_fill(&s->rng, s->config.volume, sizeof s->config.volume);
    sim_rng_fill(&s->rng, s->config.data_key, sizeof s->config.data_key);
    s->weather = weathers[sim_rng_below(&s->rng, C2_ARRAY_LEN(weathers))];
    s->stacked = sim_rng_chance(&s->rng, 60);
    s->ops_left = (unsigned)sim_rng_between(&s->rng, 6, OPS_MAX);
    s->crashes_left = (unsigned)sim_rng_below(&s->rng, 3);
    s->clouds = sim_clouds_new(s->w, s->config.n);
    s->node = sim_node_new(s->w, "client", NULL);
    sim_clouds_attach(s->clouds, &s->clouds_hook, s->node);
    s->hook = (struct sim_hook){ .died = client_died, .arg = s };
    sim_node_hook(s->node, &s->hook);
    c2_list_init(&s->ops);
    s->next.fire = next_due;
    sim_clouds_plan(s->clouds, s->weather, s->config.f, s->w->now_ns + 150 * C2_NS_PER_S);
    open_client(s);
}

/* Everything acknowledged is there, for a client that has nothing in its caches. */
static void
verify(struct scene *s)
{
    sim_node_crash(s->node, SIM_CRASH_DAEMON);
    open_client(s);
    s->idle = true;
    for (unsigned i = 0; i < s->nobjects; i++) {
        if (s->object[i].have_ref && s->object[i].state != DELETING) {
            s->idle = false;
            start_get(s, &s->object[i], true);
        }
    }
    sim_run_until(s->w, &s->idle, OP_NS_MAX, "the last reads");
    s->idle = false;
    start_list(s, true);
    sim_run_until(s->w, &s->idle, OP_NS_MAX, "the last list");
}

void
sim_scene_depsky(uint64_t seed, const struct sim_options *o, struct sim_tally *tally)
{
    struct scene *s = c2_calloc(1, sizeof *s);
    s->w = sim_world_new("depsky", seed, o->trace);
    set_up(s);
    sim_arm(s->w, &s->next, s->w->now_ns);
    sim_run_until(s->w, &s->idle, 3600 * C2_NS_PER_S, "the end of all operations");
    verify(s);
    close_client(s);
    sim_node_free(s->node);
    for (unsigned i = 0; i < SIM_FAULTS; i++)
        tally->struck[i] += s->clouds->struck[i];
    tally->events += s->w->events;
    sim_clouds_free(s->clouds);
    for (unsigned i = 0; i < s->nobjects; i++)
        c2_blob_unref(s->object[i].body);
    sim_world_free(s->w);
    c2_free(s);
}
