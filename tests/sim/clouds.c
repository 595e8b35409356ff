/* SPDX-License-Identifier: MIT */
/*
 * Clouds of clouds.h: travel, storage, faults. The ledger is in ledger.c, the plans in
 * clouds_plan.c.
 *
 *   submit ──way there──► take effect, prepare the answer ──way back──► done
 *      │                                                         ▲
 *      └── deadline or cancel: done at once; what is on its way goes on without the node. When the
 *          node dies, some of it had not left.
 */
#include "tests/sim/clouds.h"

#include "backends/layer.h"
#include "base/alloc.h"
#include "base/mark.h"
#include "tests/sim/ledger.h"

#include <stdio.h>
#include <string.h>

#define LIST_PAGE_MAX 1000

struct way {
    struct provider p; /* first */
    struct sim_cloud *cloud;
    struct sim_node *node;
};

/* The node's half of a request, in its memory. */
struct op {
    struct prov_call call; /* first */
    struct trip *trip;     /* NULL once it is detached */
    struct sim_node *node;
    struct c2_timer deadline;
    struct c2_timer canceled;
};

/* The world's half. */
struct trip {
    struct c2_link link; /* cloud->calls */
    struct c2_timer timer;
    struct sim_cloud *cloud;
    struct op *op; /* NULL: nobody waits */
    enum prov_verb verb;
    bool arrived, if_absent;
    uint32_t faults; /* bitmap, as of the moment of departure or arrival */
    char *key, *after;
    char **keys;
    size_t nkeys, list_max, body_len_max;
    uint64_t offset, len;
    struct c2_blob *body;
    /* the answer */
    enum c2_err err;
    struct c2_blob *reply;
    uint64_t size, retry_after_ns, wall_ns;
    char **names;
    uint64_t *sizes;
    size_t nnames;
    bool truncated;
};

static const struct {
    enum fault_kind kind;
    const char *name; /* NULL = the kind's */
} known[SIM_FAULTS] = {
    [SIM_SLOW] = { FAULT_DELAY, NULL },
    [SIM_HANG] = { FAULT_HANG, NULL },
    [SIM_DRIP] = { FAULT_DRIP, NULL },
    [SIM_DOWN] = { FAULT_DOWN, NULL },
    [SIM_ERROR] = { FAULT_ERROR, NULL },
    [SIM_THROTTLE] = { FAULT_THROTTLE, NULL },
    [SIM_LOST_ANSWER] = { FAULT_NOACK, NULL },
    [SIM_PROTOCOL] = { FAULT_PROTOCOL, NULL },
    [SIM_REDIRECT] = { FAULT_REDIRECT, NULL },
    [SIM_TLS] = { FAULT_TLS, NULL },
    [SIM_DENIED] = { FAULT_DENIED, NULL },
    [SIM_LIE_ABSENT] = { FAULT_ABSENT, NULL },
    [SIM_LIE_EXISTS] = { FAULT_KIND_COUNT, "exists" },
    [SIM_LIE_LIST] = { FAULT_FORGE, NULL },
    [SIM_LOOP_LIST] = { FAULT_LOOP, NULL },
    [SIM_LIE_CHECKSUM] = { FAULT_CHECKSUM, NULL },
    [SIM_CORRUPT_ANSWER] = { FAULT_CORRUPT, NULL },
    [SIM_TRUNCATE_ANSWER] = { FAULT_TRUNCATE, NULL },
    [SIM_SWAP_ANSWER] = { FAULT_SWAP, NULL },
    [SIM_EMPTY_ANSWER] = { FAULT_EMPTY, NULL },
    [SIM_HUGE_ANSWER] = { FAULT_HUGE, NULL },
    [SIM_STALE_ANSWER] = { FAULT_STALE, NULL },
    [SIM_LIE_CLOCK] = { FAULT_SKEW, NULL },
    [SIM_LIE_ACK] = { FAULT_LIE, NULL },
    [SIM_CORRUPT_STORED] = { FAULT_CORRUPT, "corrupt-stored" },
    [SIM_TRUNCATE_STORED] = { FAULT_TRUNCATE, "truncate-stored" },
    [SIM_LOSE] = { FAULT_ABSENT, "lose" },
    [SIM_ROLLBACK] = { FAULT_ROLLBACK, NULL },
};

const char *
sim_fault_name(enum sim_fault f)
{
    return known[f].name != NULL ? known[f].name : fault_kind_name(known[f].kind);
}

enum fault_kind
sim_fault_kind(enum sim_fault f)
{
    return known[f].kind;
}

/* ---- storage --------------------------------------------------------------------------------- */

static size_t
lower_bound(const struct sim_cloud *c, const char *key)
{
    size_t low = 0;
    size_t high = c->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(c->objects[mid].key, key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct sim_object *
find(const struct sim_cloud *c, const char *key)
{
    size_t at = lower_bound(c, key);
    return at < c->count && strcmp(c->objects[at].key, key) == 0 ? &c->objects[at] : NULL;
}

const struct c2_blob *
sim_cloud_peek(const struct sim_cloud *c, const char *key)
{
    const struct sim_object *o = find(c, key);
    return o != NULL ? o->body : NULL;
}

static void
store(struct sim_cloud *c, const char *key, const uint8_t *data, size_t len)
{
    struct sim_object *old = find(c, key);
    if (old != NULL) {
        c2_blob_unref(old->old);
        old->old = old->body;
        old->body = c2_blob_copy(data, len);
        return;
    }
    if (c->count == c->cap) {
        c->cap = C2_MAX(16, 2 * c->cap);
        c->objects = c2_realloc(c->objects, c->cap, sizeof *c->objects);
    }
    size_t at = lower_bound(c, key);
    memmove(&c->objects[at + 1], &c->objects[at], (c->count - at) * sizeof *c->objects);
    c->objects[at] = (struct sim_object){ .key = c2_strdup(key), .body = c2_blob_copy(data, len) };
    c->count++;
}

static void
erase(struct sim_cloud *c, const char *key)
{
    struct sim_object *o = find(c, key);
    if (o == NULL)
        return;
    size_t at = (size_t)(o - c->objects);
    c2_free(o->key);
    c2_blob_unref(o->body);
    c2_blob_unref(o->old);
    c->count--;
    memmove(o, o + 1, (c->count - at) * sizeof *o);
}

/* ---- faults ---------------------------------------------------------------------------------- */

static uint32_t
draw_faults(struct sim_cloud *c)
{
    struct sim_world *w = c->clouds->w;
    uint32_t faults = 0;
    for (unsigned i = 0; i < c->nwindows; i++) {
        const struct sim_window *win = &c->windows[i];
        if (w->now_ns >= win->from_ns && w->now_ns < win->to_ns &&
            sim_rng_chance(&c->clouds->rng, win->percent))
            faults |= 1u << win->fault;
    }
    return faults;
}

/* Whether the request meets this fault; counts it. */
static bool
meets(struct trip *t, enum sim_fault f)
{
    if ((t->faults & (1u << f)) == 0)
        return false;
    t->cloud->clouds->struck[f]++;
    if (f >= SIM_LIE_ABSENT)
        t->cloud->lied = true;
    if (f >= SIM_LIE_ACK)
        t->cloud->destroyed = true;
    sim_trace(t->cloud->clouds->w, t->cloud->name, "%s %s: %s", prov_verb_name(t->verb),
              t->key != NULL ? t->key : "", sim_fault_name(f));
    return true;
}

/* ---- effect ---------------------------------------------------------------------------------- */

static void
do_put(struct trip *t)
{
    struct sim_cloud *c = t->cloud;
    struct sim_rng *rng = &c->clouds->rng;
    if (meets(t, SIM_LIE_ACK) || meets(t, SIM_ROLLBACK))
        return;
    if (t->if_absent && meets(t, SIM_LIE_EXISTS)) {
        t->err = C2_E_EXISTS;
        return;
    }
    if (t->if_absent && c->if_absent && find(c, t->key) != NULL) {
        t->err = C2_E_EXISTS;
        return;
    }
    store(c, t->key, t->body->data, t->body->len);
    struct c2_blob *stored = find(c, t->key)->body;
    if (stored->len > 0 && meets(t, SIM_CORRUPT_STORED))
        stored->data[sim_rng_below(rng, stored->len)] ^= (uint8_t)sim_rng_between(rng, 1, 255);
    if (stored->len > 0 && meets(t, SIM_TRUNCATE_STORED))
        stored->len = sim_rng_below(rng, stored->len);
    if (meets(t, SIM_LIE_CHECKSUM))
        t->err = C2_E_CORRUPT;
}

/* The whole object that answers: the right one, or another of the same cloud. */
static const struct c2_blob *
answering(struct trip *t)
{
    struct sim_cloud *c = t->cloud;
    if (find(c, t->key) != NULL && meets(t, SIM_LOSE))
        erase(c, t->key);
    if (meets(t, SIM_LIE_ABSENT))
        return NULL;
    if (c->count > 1 && find(c, t->key) != NULL && meets(t, SIM_SWAP_ANSWER))
        return c->objects[sim_rng_below(&c->clouds->rng, c->count)].body;
    const struct sim_object *o = find(c, t->key);
    if (o != NULL && meets(t, SIM_STALE_ANSWER))
        return o->old;
    return o != NULL ? o->body : NULL;
}

/* More than was asked for, as far as the client takes it. */
static void
exaggerate(struct trip *t)
{
    size_t room = t->body_len_max - t->reply->len;
    size_t extra = C2_MIN(room, (size_t)sim_rng_scale(&t->cloud->clouds->rng, 1, 64u << 10));
    if (extra == 0) {
        t->err = C2_E_TOO_LARGE;
        return;
    }
    struct c2_blob *b = c2_blob_new(t->reply->len + extra);
    memcpy(b->data, t->reply->data, t->reply->len);
    memset(b->data + t->reply->len, 0x5a, extra);
    c2_blob_unref(t->reply);
    t->reply = b;
    t->size += extra;
}

static void
do_get(struct trip *t)
{
    struct sim_rng *rng = &t->cloud->clouds->rng;
    const struct c2_blob *b = answering(t);
    if (b == NULL) {
        t->err = C2_E_NOT_FOUND;
        return;
    }
    t->size = b->len;
    if (t->verb == PROV_HEAD) {
        if (meets(t, SIM_HUGE_ANSWER))
            t->size = UINT64_C(1) << 62;
        return;
    }
    if (t->offset >= b->len && (t->offset > 0 || t->len > 0)) {
        t->err = C2_E_RANGE;
        return;
    }
    size_t len = b->len - (size_t)t->offset;
    if (t->len > 0)
        len = C2_MIN(len, (size_t)t->len);
    if (len > t->body_len_max) {
        t->err = C2_E_TOO_LARGE;
        return;
    }
    if (len > 0 && meets(t, SIM_TRUNCATE_ANSWER))
        len = sim_rng_below(rng, len);
    if (meets(t, SIM_EMPTY_ANSWER))
        len = 0;
    t->reply = c2_blob_copy(b->data + t->offset, len);
    if (len > 0 && meets(t, SIM_CORRUPT_ANSWER))
        t->reply->data[sim_rng_below(rng, len)] ^= (uint8_t)sim_rng_between(rng, 1, 255);
    if (meets(t, SIM_HUGE_ANSWER))
        exaggerate(t);
}

static void
do_list(struct trip *t)
{
    struct sim_cloud *c = t->cloud;
    size_t max = C2_MIN(t->list_max, (size_t)LIST_PAGE_MAX);
    bool lies = meets(t, SIM_LIE_LIST);
    bool again = meets(t, SIM_LOOP_LIST);
    t->names = c2_calloc(max, sizeof *t->names);
    t->sizes = c2_calloc(max, sizeof *t->sizes);
    for (size_t i = 0; i < c->count && !t->truncated; i++) {
        const struct sim_object *o = &c->objects[i];
        if (strncmp(o->key, t->key, strlen(t->key)) != 0 ||
            (!again && t->after != NULL && strcmp(o->key, t->after) <= 0))
            continue;
        if (t->nnames == max) {
            t->truncated = true;
            break;
        }
        if (lies && sim_rng_chance(&c->clouds->rng, 40))
            continue;
        char *name = c2_strdup(o->key);
        if (lies && sim_rng_chance(&c->clouds->rng, 20)) /* one that is not there; order is kept */
            name[strlen(name) - 1] = 'f';
        bool ordered = t->nnames == 0 || strcmp(t->names[t->nnames - 1], name) < 0;
        if (ordered) {
            t->sizes[t->nnames] = o->body->len;
            t->names[t->nnames++] = name;
        } else {
            c2_free(name);
        }
    }
    t->truncated = t->truncated || again;
}

static void
do_delete(struct trip *t)
{
    if (meets(t, SIM_ROLLBACK))
        return;
    if (t->verb == PROV_DELETE)
        erase(t->cloud, t->key);
    for (size_t i = 0; i < t->nkeys; i++)
        erase(t->cloud, t->keys[i]);
}

/* An error instead of what was asked for. */
static bool
refuses(struct trip *t)
{
    static const struct {
        enum sim_fault fault;
        enum c2_err err;
    } refusals[] = {
        { SIM_THROTTLE, C2_E_THROTTLED },
        { SIM_ERROR, C2_E_UNAVAILABLE },
        { SIM_TLS, C2_E_TLS },
        { SIM_REDIRECT, C2_E_REDIRECT },
        { SIM_DENIED, C2_E_AUTH },
        { SIM_PROTOCOL, C2_E_PROTOCOL },
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(refusals); i++) {
        if (!meets(t, refusals[i].fault))
            continue;
        t->err = refusals[i].err;
        return true;
    }
    return false;
}

static void
take_effect(struct trip *t)
{
    struct sim_rng *rng = &t->cloud->clouds->rng;
    t->wall_ns = t->cloud->clouds->w->now_ns + t->cloud->wall_ns;
    if (t->cloud->index % 2 == 0) /* as in the Date of HTTP */
        t->wall_ns -= t->wall_ns % C2_NS_PER_S;
    if (meets(t, SIM_LIE_CLOCK))
        t->wall_ns = sim_rng_scale(rng, 1, C2_NEVER / 2);
    if (refuses(t)) {
        bool wish = t->err == C2_E_THROTTLED && sim_rng_chance(rng, 50);
        t->retry_after_ns = wish ? sim_rng_below(rng, 3 * C2_NS_PER_S) : 0;
        return;
    }
    switch (t->verb) {
    case PROV_PUT:
        do_put(t);
        break;
    case PROV_GET:
    case PROV_HEAD:
        do_get(t);
        break;
    case PROV_LIST:
        do_list(t);
        break;
    case PROV_DELETE:
    case PROV_DELETE_MANY:
        do_delete(t);
        break;
    case PROV_VERB_COUNT:
        C2_UNREACHABLE();
    }
    if (meets(t, SIM_LOST_ANSWER))
        t->err = C2_E_UNREACHABLE;
}

/* ---- travel ---------------------------------------------------------------------------------- */

static void
trip_free(struct trip *t)
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
op_finish(struct op *op)
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
hand_over(struct trip *t, struct prov_req *r)
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
way_ns(struct trip *t)
{
    struct sim_rng *rng = &t->cloud->clouds->rng;
    uint64_t ns = t->cloud->latency_ns / 2 + sim_rng_below(rng, t->cloud->latency_ns + 1);
    if (sim_rng_chance(rng, 2))
        ns *= 10;
    if ((t->faults & (1u << SIM_SLOW)) != 0)
        ns += sim_rng_scale(rng, 100 * C2_NS_PER_MS, 20 * C2_NS_PER_S);
    bool drips = t->arrived && (t->verb == PROV_GET || t->verb == PROV_LIST);
    if (drips && t->err == C2_E_OK && meets(t, SIM_DRIP))
        ns += sim_rng_scale(rng, C2_NS_PER_S, 120 * C2_NS_PER_S);
    return ns;
}

static void
trip_due(struct c2_timer *timer)
{
    struct trip *t = C2_CONTAINER_OF(timer, struct trip, timer);
    struct sim_world *w = t->cloud->clouds->w;
    if (!t->arrived) {
        t->arrived = true;
        t->faults |= draw_faults(t->cloud);
        take_effect(t);
        sim_trace(w, t->cloud->name, "%s %s: %s", prov_verb_name(t->verb),
                  t->key != NULL ? t->key : "", c2_err_name(t->err));
        sim_arm(w, timer, w->now_ns + way_ns(t));
        return;
    }
    struct op *op = t->op;
    if (op != NULL) {
        struct sim_life *before = sim_node_enter(op->node);
        hand_over(t, op->call.r);
        op_finish(op);
        sim_life_leave(before);
    } else {
        C2_MARK("sim: an answer that nobody waits for");
    }
    trip_free(t);
}

static struct trip *
trip_new(struct sim_cloud *c, struct op *op, const struct prov_req *r)
{
    struct trip *t = c2_calloc(1, sizeof *t);
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
depart(struct sim_cloud *c, struct op *op, const struct prov_req *r)
{
    struct sim_world *w = c->clouds->w;
    struct trip *t = trip_new(c, op, r);
    op->trip = t;
    if (r->verb == PROV_PUT)
        sim_ledger_put(c->clouds, r->key, c2_blob_slice(r->body));
    t->faults = draw_faults(c) & (1u << SIM_HANG | 1u << SIM_DOWN | 1u << SIM_SLOW);
    if (meets(t, SIM_HANG)) {
        t->arrived = true;
        t->err = C2_E_TIMEOUT;
        sim_arm(w, &t->timer, w->now_ns + 3600 * C2_NS_PER_S);
    } else if (meets(t, SIM_DOWN)) {
        t->arrived = true; /* it never will */
        t->err = C2_E_UNREACHABLE;
        sim_arm(w, &t->timer, w->now_ns + sim_rng_below(&c->clouds->rng, 500 * C2_NS_PER_MS));
    } else {
        meets(t, SIM_SLOW); /* way_ns sees it */
        sim_arm(w, &t->timer, w->now_ns + way_ns(t));
    }
}

/* ---- provider -------------------------------------------------------------------------------- */

static void
give_up(struct op *op, enum c2_err err)
{
    struct prov_req *r = op->call.r;
    prov_req_fail(r, err, "%s", c2_err_text(err));
    op_finish(op);
}

static void
deadline_passed(struct c2_timer *t)
{
    C2_MARK("sim: deadline of a request");
    give_up(C2_CONTAINER_OF(t, struct op, deadline), C2_E_TIMEOUT);
}

static void
cancel_due(struct c2_timer *t)
{
    give_up(C2_CONTAINER_OF(t, struct op, canceled), C2_E_CANCELED);
}

static void
way_submit(struct provider *p, struct prov_req *r)
{
    struct way *way = C2_CONTAINER_OF(p, struct way, p);
    struct op *op = c2_calloc(1, sizeof *op);
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
    struct op *op = prov_call_find(p, r);
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

/* ---- all of them ----------------------------------------------------------------------------- */

static void
node_died(void *arg, struct sim_node *n)
{
    struct sim_clouds *c = arg;
    for (unsigned i = 0; i < c->n; i++) {
        C2_LIST_FOREACH (&c->cloud[i].calls, struct trip, t, link) {
            if (t->op == NULL || t->op->node != n)
                continue;
            t->op = NULL;
            if (!t->arrived && sim_rng_chance(&c->rng, 40)) /* it had not left the machine yet */
                trip_free(t);
        }
    }
}

void
sim_clouds_attach(struct sim_clouds *c, struct sim_hook *hook, struct sim_node *n)
{
    *hook = (struct sim_hook){ .died = node_died, .arg = c };
    sim_node_hook(n, hook);
}

static struct sim_cloud *
cloud_init(struct sim_clouds *c, unsigned index, struct sim_rng *rng, uint64_t latency_ns)
{
    struct sim_cloud *cloud = &c->cloud[index];
    cloud->clouds = c;
    cloud->index = index;
    snprintf(cloud->name, sizeof cloud->name, "cloud%u", index);
    cloud->if_absent = sim_rng_chance(rng, 75);
    cloud->latency_ns = sim_rng_between(rng, latency_ns / 2, 2 * latency_ns);
    cloud->wall_ns = SIM_WALL_BASE_NS + sim_rng_below(rng, SIM_CLOCK_NS_MAX);
    c2_list_init(&cloud->calls);
    return cloud;
}

struct sim_cloud *
sim_clouds_add(struct sim_clouds *c, struct sim_rng *rng)
{
    C2_ASSERT(c->n < SIM_CLOUDS_MAX);
    return cloud_init(c, c->n++, rng, C2_MAX(c->cloud[0].latency_ns, 2));
}

struct sim_clouds *
sim_clouds_new(struct sim_world *w, unsigned n)
{
    C2_ASSERT(n <= SIM_CLOUDS_MAX);
    struct sim_clouds *c = c2_calloc(1, sizeof *c);
    c->w = w;
    c->n = c->planned = n;
    c->rng = sim_rng_fork(&w->rng, 3);
    uint64_t latency_ns = sim_rng_scale(&c->rng, C2_NS_PER_MS, 200 * C2_NS_PER_MS);
    for (unsigned i = 0; i < n; i++)
        cloud_init(c, i, &c->rng, latency_ns);
    sim_ledger_init(c);
    return c;
}

void
sim_clouds_free(struct sim_clouds *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        struct sim_cloud *cloud = &c->cloud[i];
        C2_LIST_FOREACH (&cloud->calls, struct trip, t, link) {
            C2_ASSERT(t->op == NULL);
            trip_free(t);
        }
        for (size_t k = 0; k < cloud->count; k++) {
            c2_free(cloud->objects[k].key);
            c2_blob_unref(cloud->objects[k].body);
            c2_blob_unref(cloud->objects[k].old);
        }
        c2_free(cloud->objects);
    }
    sim_ledger_done(c);
    c2_free(c);
}

void
sim_clouds_heal(struct sim_clouds *c)
{
    sim_trace(c->w, "clouds", "all faults are over");
    for (unsigned i = 0; i < c->n; i++) {
        c->cloud[i].nwindows = 0;
        C2_LIST_FOREACH (&c->cloud[i].calls, struct trip, t, link)
            t->faults = 0;
    }
}
