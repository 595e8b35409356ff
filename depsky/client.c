/* SPDX-License-Identifier: MIT */
/*
 * Client life, calls, probe and drain. A call's memory is freed when its provider answers, whoever
 * still wanted it then; ds_client_drain waits for exactly that.
 */
#include "depsky/client.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "depsky/erasure.h"

#define PUT_HEDGE_NS   (2 * C2_NS_PER_S)
#define GET_HEDGE_NS   (200 * C2_NS_PER_MS)
#define PUT_TIMEOUT_NS (60 * C2_NS_PER_S)
#define GET_TIMEOUT_NS (30 * C2_NS_PER_S)
#define HEADERS_MAX    4096
#define HEDGE_PERCENT  5
#define PATIENCE_RATE  (64u << 10)
#define PATIENCE_BYTES ((size_t)16 << 20) /* a share of the largest object */

void
ds_config_default(struct ds_config *c)
{
    *c = (struct ds_config){
        .n = 4,
        .f = 1,
        .engine = DS_ENGINE_ISAL,
        .compress = DS_COMPRESS_ISAL,
        .put_hedge_min_ns = PUT_HEDGE_NS,
        .get_hedge_min_ns = GET_HEDGE_NS,
        .hedge_percent = HEDGE_PERCENT,
        .put_timeout_ns = PUT_TIMEOUT_NS,
        .get_timeout_ns = GET_TIMEOUT_NS,
        .header_cache_max = HEADERS_MAX,
    };
}

static void
cancel(struct ds_call *call)
{
    if (!call->canceled)
        prov_cancel(call->provider, &call->req);
    call->canceled = true;
}

static void
drain_ready(struct c2_task *t)
{
    struct ds_client *c = C2_CONTAINER_OF(t, struct ds_client, drain_task);
    if (c->drain_done == NULL || !c2_list_empty(&c->calls) || c->ops > 0)
        return;
    void (*done)(void *arg) = c->drain_done;
    c->drain_done = NULL;
    done(c->drain_arg);
}

static void
drain_check(struct ds_client *c)
{
    if (c->drain_done != NULL && c2_list_empty(&c->calls) && c->ops == 0)
        c2_defer(c->env, &c->drain_task);
}

static void probe_again(struct c2_timer *t);

C2_RESULT
ds_client_new(struct c2_env *env, const struct ds_config *config, struct provider *const *seats,
              struct ds_client **ret_client)
{
    if (config->f < 1 || config->f > DS_F_MAX || config->n > DS_SEATS_MAX ||
        config->n < 3 * config->f + 1 || config->voters > config->n)
        return C2_E_INVALID;
    ds_erasure_init();
    struct ds_client *c = c2_calloc(1, sizeof(*c));
    c->env = env;
    c->config = c2_secret_alloc(sizeof(*c->config));
    *c->config = *config;
    c->n = config->n;
    c->f = config->f;
    c->k = config->f + 1;
    c->w = c->k + config->f;
    c->voters = config->voters == 0 ? c->n : config->voters;
    for (unsigned i = 0; i < c->n; i++) {
        c->seat[i].provider = seats[i];
        c->seat[i].state = seats[i] != NULL ? DS_SEAT_ONLINE : DS_SEAT_EMPTY;
    }
    uint64_t seed;
    c2_random(env, &seed, sizeof(seed));
    ds_cache_init(&c->cache, seed, config->header_cache_max);
    c2_list_init(&c->calls);
    ds_hedge_init(c);
    c->expect_raw = config->compress == DS_COMPRESS_NONE;
    c->probe_timer.fire = probe_again;
    c->drain_task.run = drain_ready;
    *ret_client = c;
    return C2_E_OK;
}

void
ds_client_free(struct ds_client *c)
{
    if (c == NULL)
        return;
    C2_ASSERT(c2_list_empty(&c->calls));
    C2_ASSERT(c->ops == 0);
    c2_timer_stop(c->env, &c->probe_timer);
    ds_cache_done(&c->cache);
    c2_secret_free(c->config, sizeof(*c->config));
    for (size_t k = 0; k < c->nold; k++)
        c2_secret_free(c->old[k], sizeof(**c->old));
    c2_free(c->old);
    c2_free(c);
}

void
ds_client_drain(struct ds_client *c, void (*done)(void *arg), void *arg)
{
    C2_ASSERT(c->drain_done == NULL);
    c->drain_done = done;
    c->drain_arg = arg;
    c2_timer_stop(c->env, &c->probe_timer);
    C2_LIST_FOREACH (&c->calls, struct ds_call, call, link) {
        cancel(call);
    }
    drain_check(c);
}

unsigned
ds_client_n(const struct ds_client *c)
{
    return c->n;
}

unsigned
ds_client_f(const struct ds_client *c)
{
    return c->f;
}

/* Seats of the first `count` that an object should be in. */
static unsigned
goal_among(const struct ds_client *c, unsigned count, uint32_t placed)
{
    unsigned goal = 0;
    if (!c->config->write_all)
        return c->w;
    for (unsigned i = 0; i < C2_MIN(count, c->n); i++)
        goal += ds_client_seat_takes(c, i) || (ds_seat_used(c, i) && (placed & 1u << i) != 0);
    return C2_MAX(goal, c->w);
}

unsigned
ds_client_goal(const struct ds_client *c)
{
    return goal_among(c, c->n, 0);
}

/* Which seats there were when an object was written is not known. There were 3f+1 and those that it
 * is placed in; for a seat that came later it has no share and cannot get one. A seat that does not
 * take new shares counts where it has one. */
unsigned
ds_client_goal_of(const struct ds_client *c, uint32_t placed)
{
    unsigned there = 3 * c->f + 1;
    for (unsigned i = there; i < c->n; i++)
        there = (placed & 1u << i) != 0 ? i + 1 : there;
    return goal_among(c, there, placed);
}

void
ds_client_quiesce(struct ds_client *c)
{
    c->quiescing = true;
    C2_LIST_FOREACH (&c->calls, struct ds_call, call, link) {
        if (call->background)
            cancel(call);
    }
}

void
ds_op_begin(struct ds_client *c)
{
    c->ops++;
}

void
ds_op_end(struct ds_client *c)
{
    C2_ASSERT(c->ops > 0);
    c->ops--;
    drain_check(c);
}

/* ---- keys ------------------------------------------------------------------------------ */

static void
volume_prefix(const struct ds_client *c, char out[2 * DS_VOL_BYTES + 1])
{
    c2_hex_encode(c->config->volume, DS_VOL_BYTES, out);
}

void
ds_kind_prefix(const struct ds_client *c, enum ds_kind kind, char out[DS_PREFIX_MAX])
{
    static const char letter[] = { 'o', 'j', 'c' };
    char vol[2 * DS_VOL_BYTES + 1];
    volume_prefix(c, vol);
    snprintf(out, DS_PREFIX_MAX, "v1/%s/%c/", vol, letter[kind]);
}

void
ds_object_key(const struct ds_client *c, enum ds_kind kind, struct ds_oid oid,
              char out[PROV_KEY_MAX])
{
    char prefix[DS_PREFIX_MAX];
    ds_kind_prefix(c, kind, prefix);
    int width = kind == DS_KIND_OBJECT ? 16 : 8;
    C2_ASSERT(kind == DS_KIND_OBJECT || oid.sid <= UINT32_MAX);
    snprintf(out, PROV_KEY_MAX, "%s%0*llx/%016llx", prefix, width, (unsigned long long)oid.sid,
             (unsigned long long)oid.seq);
}

void
ds_probe_key(const struct ds_client *c, char out[PROV_KEY_MAX])
{
    char vol[2 * DS_VOL_BYTES + 1];
    volume_prefix(c, vol);
    snprintf(out, PROV_KEY_MAX, "v1/%s/probe/health", vol);
}

bool
ds_ref_possible(const struct ds_ref *ref)
{
    return ref->plain_len >= 1 && ref->plain_len <= DS_OBJECT_SIZE_MAX;
}

bool
ds_share_belongs(const struct ds_client *c, const struct ds_share *sh, const struct ds_ref *ref,
                 unsigned seat)
{
    return sh->seat == seat && sh->k == c->k && ds_oid_equal(&sh->oid, &ref->oid) &&
           sh->plain_len == ref->plain_len &&
           memcmp(sh->volume, c->config->volume, sizeof(sh->volume)) == 0;
}

/* ---- calls ----------------------------------------------------------------------------- */

static void
call_free(struct ds_call *call)
{
    struct ds_client *c = call->c;
    if (call->straggler)
        c->seat[call->seat].stragglers--;
    c2_list_remove(&c->calls, &call->link);
    prov_req_done(&call->req);
    c2_blob_unref(call->req.body);
    c2_free(call);
    drain_check(c);
}

static void
call_done(struct prov_req *r)
{
    struct ds_call *call = C2_CONTAINER_OF(r, struct ds_call, req);
    if (call->provider == call->c->seat[call->seat].provider)
        ds_health_outcome(call->c, call);
    if (call->done != NULL)
        call->done(call);
    call_free(call);
}

struct ds_call *
ds_call_new_outside(struct ds_client *c, unsigned seat, struct provider *provider,
                    enum prov_verb verb, const char *key)
{
    C2_ASSERT(seat < c->n && provider != NULL);
    struct ds_call *call = c2_calloc(1, sizeof(*call));
    call->c = c;
    call->seat = seat;
    call->provider = provider;
    call->req.verb = verb;
    if (key != NULL) {
        snprintf(call->key, sizeof(call->key), "%s", key);
        call->req.key = call->key;
    }
    return call;
}

struct ds_call *
ds_call_new(struct ds_client *c, unsigned seat, enum prov_verb verb, const char *key)
{
    return ds_call_new_outside(c, seat, c->seat[seat].provider, verb, key);
}

/* 1 s per 64 KiB of body. */
static uint64_t
patience_ns(const struct ds_call *call)
{
    size_t bytes = call->req.body_len_max;
    if (call->req.body != NULL)
        bytes = call->req.body->len;
    return C2_MIN(bytes, PATIENCE_BYTES) / PATIENCE_RATE * C2_NS_PER_S;
}

void
ds_call_start(struct ds_call *call, uint64_t timeout_ns)
{
    struct ds_client *c = call->c;
    call->started_ns = c2_now_ns(c->env);
    call->req.deadline_ns = call->started_ns + timeout_ns + patience_ns(call);
    call->req.done = call_done;
    if (call->provider == c->seat[call->seat].provider)
        ds_health_asked(c, call);
    c2_blob_ref(call->req.body);
    c2_list_append(&c->calls, &call->link);
    ds_hedge_earn(c, call);
    prov_submit(call->provider, &call->req);
    if (c->drain_done != NULL || (c->quiescing && call->background))
        cancel(call);
}

static void
cancel_oldest_straggler(struct ds_client *c, unsigned seat)
{
    C2_LIST_FOREACH (&c->calls, struct ds_call, call, link) {
        if (call->straggler && call->seat == seat && !call->canceled) {
            cancel(call);
            return;
        }
    }
}

void
ds_call_abandon(struct ds_call *call)
{
    if (call == NULL)
        return;
    struct ds_client *c = call->c;
    call->done = NULL;
    call->straggler = true;
    if (++c->seat[call->seat].stragglers > DS_STRAGGLERS_MAX)
        cancel_oldest_straggler(c, call->seat);
}

void
ds_call_cancel(struct ds_call *call)
{
    if (call == NULL)
        return;
    call->done = NULL;
    cancel(call);
}

/* ---- probe ----------------------------------------------------------------------------- */

struct probe {
    struct ds_client *c;
    struct ds_probe *p;                 /* NULL: our own timer's */
    struct ds_call *call[DS_SEATS_MAX]; /* NULL = none, or answered */
    uint64_t started_ns;
    struct c2_timer patience;
    unsigned waiting;
    uint32_t answered;
    struct c2_task none; /* runs when there is nobody to ask */
};

static void
probe_finish(struct probe *s)
{
    struct ds_client *c = s->c;
    struct ds_probe *p = s->p;
    uint32_t answered = s->answered;
    c2_timer_stop(c->env, &s->patience);
    c2_free(s);
    ds_op_end(c);
    if (p == NULL)
        return;
    p->answered = answered;
    p->done(p);
}

static void
probe_none(struct c2_task *t)
{
    probe_finish(C2_CONTAINER_OF(t, struct probe, none));
}

static void
probe_answered(struct ds_call *call)
{
    struct probe *s = call->owner;
    s->call[call->seat] = NULL;
    if (call->req.err == C2_E_OK || call->req.err == C2_E_NOT_FOUND)
        s->answered |= 1u << call->seat;
    if (--s->waiting == 0)
        probe_finish(s);
}

/* A seat that answered something else meanwhile is busy, not silent. */
static void
probe_lost_patience(struct c2_timer *t)
{
    struct probe *s = C2_CONTAINER_OF(t, struct probe, patience);
    for (unsigned i = 0; i < s->c->n; i++) {
        if (s->call[i] == NULL)
            continue;
        ds_call_abandon(s->call[i]);
        if (s->c->seat[i].last_ok_ns < s->started_ns) {
            ds_health_late(s->c, i);
            snprintf(s->c->seat[i].last_detail, sizeof(s->c->seat[i].last_detail),
                     "no answer for %u s", (unsigned)(s->p->patience_ns / C2_NS_PER_S));
        }
    }
    probe_finish(s);
}

static void
probe_seats(struct ds_client *c, uint32_t seats, struct ds_probe *p)
{
    struct probe *s = c2_calloc(1, sizeof(*s));
    char key[PROV_KEY_MAX];
    s->c = c;
    s->p = p;
    s->started_ns = c2_now_ns(c->env);
    s->none.run = probe_none;
    ds_op_begin(c);
    ds_probe_key(c, key);
    s->waiting = ds_bits(seats);
    for (unsigned i = 0; i < c->n; i++) {
        if ((seats & (1u << i)) == 0)
            continue;
        struct ds_call *call = ds_call_new(c, i, PROV_HEAD, key);
        call->done = probe_answered;
        call->owner = s;
        s->call[i] = call;
        ds_call_start(call, c->config->get_timeout_ns);
    }
    s->patience.fire = probe_lost_patience;
    if (p != NULL && p->patience_ns != 0)
        c2_timer_arm(c->env, &s->patience, s->started_ns + p->patience_ns);
    if (s->waiting == 0)
        c2_defer(c->env, &s->none);
}

void
ds_probe_start(struct ds_client *c, struct ds_probe *p)
{
    uint32_t occupied = 0;
    for (unsigned i = 0; i < c->n; i++)
        occupied |= ds_seat_used(c, i) ? 1u << i : 0u;
    probe_seats(c, occupied, p);
}

/* Every 30 s while a seat is not well. */
static void
probe_again(struct c2_timer *t)
{
    struct ds_client *c = C2_CONTAINER_OF(t, struct ds_client, probe_timer);
    uint32_t unwell = 0;
    for (unsigned i = 0; i < c->n; i++) {
        const struct ds_seat *s = &c->seat[i];
        if (ds_seat_used(c, i) &&
            (s->open || s->state == DS_SEAT_DEGRADED || s->state == DS_SEAT_UNREACH))
            unwell |= 1u << i;
    }
    if (unwell == 0)
        return;
    probe_seats(c, unwell, NULL);
    c2_timer_arm(c->env, t, c2_now_ns(c->env) + DS_PROBE_NS);
}
