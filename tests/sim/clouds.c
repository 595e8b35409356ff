/* SPDX-License-Identifier: MIT */
/*
 * Clouds of clouds.h: storage, faults. The way there and back is in clouds_way.c, the ledger in
 * ledger.c, the plans in clouds_plan.c.
 */
#include "tests/sim/clouds_int.h"

#include "base/alloc.h"
#include "base/mark.h"
#include "tests/sim/ledger.h"

#include <stdio.h>
#include <string.h>

#define LIST_PAGE_MAX 1000

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

uint32_t
cloud_draw_faults(struct sim_cloud *c)
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
bool
cloud_meets(struct cloud_trip *t, enum sim_fault f)
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
do_put(struct cloud_trip *t)
{
    struct sim_cloud *c = t->cloud;
    struct sim_rng *rng = &c->clouds->rng;
    if (cloud_meets(t, SIM_LIE_ACK) || cloud_meets(t, SIM_ROLLBACK))
        return;
    if (t->if_absent && cloud_meets(t, SIM_LIE_EXISTS)) {
        t->err = C2_E_EXISTS;
        return;
    }
    if (t->if_absent && c->if_absent && find(c, t->key) != NULL) {
        t->err = C2_E_EXISTS;
        return;
    }
    store(c, t->key, t->body->data, t->body->len);
    struct c2_blob *stored = find(c, t->key)->body;
    if (stored->len > 0 && cloud_meets(t, SIM_CORRUPT_STORED))
        stored->data[sim_rng_below(rng, stored->len)] ^= (uint8_t)sim_rng_between(rng, 1, 255);
    if (stored->len > 0 && cloud_meets(t, SIM_TRUNCATE_STORED))
        stored->len = sim_rng_below(rng, stored->len);
    if (cloud_meets(t, SIM_LIE_CHECKSUM))
        t->err = C2_E_CORRUPT;
}

/* The whole object that answers: the right one, or another of the same cloud. */
static const struct c2_blob *
answering(struct cloud_trip *t)
{
    struct sim_cloud *c = t->cloud;
    if (find(c, t->key) != NULL && cloud_meets(t, SIM_LOSE))
        erase(c, t->key);
    if (cloud_meets(t, SIM_LIE_ABSENT))
        return NULL;
    if (c->count > 1 && find(c, t->key) != NULL && cloud_meets(t, SIM_SWAP_ANSWER))
        return c->objects[sim_rng_below(&c->clouds->rng, c->count)].body;
    const struct sim_object *o = find(c, t->key);
    if (o != NULL && cloud_meets(t, SIM_STALE_ANSWER))
        return o->old;
    return o != NULL ? o->body : NULL;
}

/* More than was asked for, as far as the client takes it. */
static void
exaggerate(struct cloud_trip *t)
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
do_get(struct cloud_trip *t)
{
    struct sim_rng *rng = &t->cloud->clouds->rng;
    const struct c2_blob *b = answering(t);
    if (b == NULL) {
        t->err = C2_E_NOT_FOUND;
        return;
    }
    t->size = b->len;
    if (t->verb == PROV_HEAD) {
        if (cloud_meets(t, SIM_HUGE_ANSWER))
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
    if (len > 0 && cloud_meets(t, SIM_TRUNCATE_ANSWER))
        len = sim_rng_below(rng, len);
    if (cloud_meets(t, SIM_EMPTY_ANSWER))
        len = 0;
    t->reply = c2_blob_copy(b->data + t->offset, len);
    if (len > 0 && cloud_meets(t, SIM_CORRUPT_ANSWER))
        t->reply->data[sim_rng_below(rng, len)] ^= (uint8_t)sim_rng_between(rng, 1, 255);
    if (cloud_meets(t, SIM_HUGE_ANSWER))
        exaggerate(t);
}

static void
do_list(struct cloud_trip *t)
{
    struct sim_cloud *c = t->cloud;
    size_t max = C2_MIN(t->list_max, (size_t)LIST_PAGE_MAX);
    bool lies = cloud_meets(t, SIM_LIE_LIST);
    bool again = cloud_meets(t, SIM_LOOP_LIST);
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
do_delete(struct cloud_trip *t)
{
    if (cloud_meets(t, SIM_ROLLBACK))
        return;
    if (t->verb == PROV_DELETE)
        erase(t->cloud, t->key);
    for (size_t i = 0; i < t->nkeys; i++)
        erase(t->cloud, t->keys[i]);
}

/* An error instead of what was asked for. */
static bool
refuses(struct cloud_trip *t)
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
        if (!cloud_meets(t, refusals[i].fault))
            continue;
        t->err = refusals[i].err;
        return true;
    }
    return false;
}

void
cloud_take_effect(struct cloud_trip *t)
{
    struct sim_rng *rng = &t->cloud->clouds->rng;
    t->wall_ns = t->cloud->clouds->w->now_ns + t->cloud->wall_ns;
    if (t->cloud->index % 2 == 0) /* as in the Date of HTTP */
        t->wall_ns -= t->wall_ns % C2_NS_PER_S;
    if (cloud_meets(t, SIM_LIE_CLOCK))
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
    if (cloud_meets(t, SIM_LOST_ANSWER))
        t->err = C2_E_UNREACHABLE;
}

/* ---- all of them ----------------------------------------------------------------------------- */

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
        C2_LIST_FOREACH (&cloud->calls, struct cloud_trip, t, link) {
            C2_ASSERT(t->op == NULL);
            cloud_trip_free(t);
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
        C2_LIST_FOREACH (&c->cloud[i].calls, struct cloud_trip, t, link)
            t->faults = 0;
    }
}
