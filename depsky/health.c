/* SPDX-License-Identifier: MIT */
/*
 * How the seats are doing, with hysteresis, and which of them to prefer.
 *
 *   ONLINE ──error, late or absent──► DEGRADED ──3 failures in a row──► UNREACH (breaker open)
 *      ▲                                 │  ▲                              │
 *      └────────4 answers in a row───────┘  └───────any answer─────────────┘
 *   any state ──a share that fails verification──► SUSPECT ──32 good shares──► DEGRADED
 *   ONLINE, DEGRADED ──3 PUTs in a row refused, GETs are not──► READONLY ──a PUT──► DEGRADED
 *
 * A seat that is gone is asked when nothing else is left, and by probes; then two attempts are
 * enough, since three requests with all theirs were in vain: whoever needs it learns soon that it
 * is not there. The breaker also opens after three refusals (credentials): such a seat answers, so
 * it stays DEGRADED, but it is not asked before the others either. One that refuses PUTs for want
 * of space or of rights has a breaker of its own for them: what it holds is read as before. Every
 * 30 s the next PUT tries it again, before all others: no probe could tell. While a seat is not
 * ONLINE it is probed every 30 s.
 *
 * The order: first the seats that nothing speaks against; one with an open breaker, that lied, that
 * is much slower than the others or fails often comes behind. Among equals the cheaper comes first,
 * so a dear one is asked only when the cheap ones are not well or clearly slower; and at the same
 * price the lower seat.
 */
#include <stdio.h>
#include <string.h>

#include "depsky/client.h"

#define FAILS_OPEN      3
#define OKS_ONLINE      4
#define VERIFIED_TRUST  32
#define P95_REFRESH     16
#define GONE_ATTEMPTS   2
#define DECAY_AT        1024
#define READONLY_TRY_NS DS_PROBE_NS
#define EWMA_SHIFT      3 /* weight 1/8 */
#define SLOW_FACTOR     2 /* slower than the typical seat by this factor and … */
#define SLOW_EXTRA_NS   (20 * C2_NS_PER_MS)
#define SLOW_RETRY_NS   (60 * C2_NS_PER_S) /* then it gets another chance */
#define TROUBLE_ALL     1024               /* every recent request failed */
#define FLAKY_FROM      (TROUBLE_ALL / 4)
#define FLAKY_BELOW     (TROUBLE_ALL / 8)
#define PRICED_BYTES    1000000 /* the request by which prices are compared */

static void
watch(struct ds_client *c)
{
    if (c->drain_done == NULL && !c2_timer_armed(&c->probe_timer))
        c2_timer_arm(c->env, &c->probe_timer, c2_now_ns(c->env) + DS_PROBE_NS);
}

static void
went_well(struct ds_seat *s)
{
    s->trouble -= s->trouble >> EWMA_SHIFT;
    if (s->trouble < FLAKY_BELOW)
        s->flaky = false;
    s->fails = 0;
    s->open = false;
    if (s->oks < UINT32_MAX)
        s->oks++;
    if (s->state == DS_SEAT_UNREACH)
        s->state = DS_SEAT_DEGRADED;
    if (s->state == DS_SEAT_DEGRADED && s->oks >= OKS_ONLINE)
        s->state = DS_SEAT_ONLINE;
}

static void
went_wrong(struct ds_client *c, struct ds_seat *s, bool answered)
{
    s->oks = 0;
    s->trouble += (TROUBLE_ALL - s->trouble) >> EWMA_SHIFT;
    if (!s->flaky && s->trouble >= FLAKY_FROM) {
        s->flaky = true;
        s->flaky_since_ns = c2_now_ns(c->env);
    }
    if (s->fails < UINT32_MAX)
        s->fails++;
    if (s->state == DS_SEAT_ONLINE)
        s->state = DS_SEAT_DEGRADED;
    if (s->fails >= FAILS_OPEN) {
        s->open = true;
        if (!answered && s->state == DS_SEAT_DEGRADED)
            s->state = DS_SEAT_UNREACH;
    }
    watch(c);
}

/* The median of what the occupied, seen seats have; 0 when none has anything. */
static uint64_t
median(const uint64_t *value, unsigned count)
{
    uint64_t sorted[DS_SEATS_MAX];
    unsigned used = 0;
    for (unsigned i = 0; i < count; i++) {
        if (value[i] == 0)
            continue;
        unsigned at = used++;
        for (; at > 0 && sorted[at - 1] > value[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = value[i];
    }
    return used == 0 ? 0 : sorted[(used - 1) / 2];
}

static void
update_slow(struct ds_client *c, struct ds_seat *s, enum ds_class class)
{
    uint64_t ewma[DS_SEATS_MAX];
    for (unsigned i = 0; i < c->n; i++)
        ewma[i] = c->seat[i].ewma_ns[class];
    uint64_t typical = median(ewma, c->n);
    uint64_t limit = typical * SLOW_FACTOR + SLOW_EXTRA_NS;
    if (!s->slow[class] && s->ewma_ns[class] > limit) {
        s->slow[class] = true;
        s->slow_since_ns[class] = c2_now_ns(c->env);
    } else if (s->slow[class] && s->ewma_ns[class] < limit - limit / 4) {
        s->slow[class] = false;
    }
}

static void
took(struct ds_client *c, struct ds_seat *s, enum ds_class class, size_t bytes, uint64_t ns)
{
    struct ds_latency *l = &s->latency[class][bytes > DS_SMALL_BYTES];
    c2_hist_add(&l->hist, ns);
    if (l->hist.count % P95_REFRESH == 1)
        l->p95_ns = c2_hist_quantile(&l->hist, 0.95);
    if (l->hist.count >= DECAY_AT)
        c2_hist_decay(&l->hist);
    uint64_t old = s->ewma_ns[class];
    s->ewma_ns[class] = old == 0 ? C2_MAX(ns, 1) : old - (old >> EWMA_SHIFT) + (ns >> EWMA_SHIFT);
    update_slow(c, s, class);
}

/* A PUT that was refused while nothing is wrong with the provider otherwise. */
static bool
is_refusal(enum c2_err err)
{
    return err == C2_E_QUOTA || err == C2_E_NO_SPACE || err == C2_E_ACCESS || err == C2_E_READ_ONLY;
}

static void
refused(struct ds_client *c, struct ds_seat *s)
{
    s->oks = 0;
    if (s->state == DS_SEAT_ONLINE)
        s->state = DS_SEAT_DEGRADED;
    if (s->refused < UINT32_MAX)
        s->refused++;
    if (s->refused >= FAILS_OPEN) {
        s->readonly = true;
        s->readonly_since_ns = c2_now_ns(c->env);
    }
    watch(c);
}

static void
stored(struct ds_seat *s)
{
    s->refused = 0;
    if (s->readonly && s->state == DS_SEAT_ONLINE) {
        s->state = DS_SEAT_DEGRADED;
        s->oks = 0;
    }
    s->readonly = false;
}

static bool
is_answer(enum c2_err err)
{
    return err == C2_E_OK || err == C2_E_NOT_FOUND || err == C2_E_EXISTS ||
           err == C2_E_PRECONDITION || err == C2_E_RANGE;
}

void
ds_health_outcome(struct ds_client *c, const struct ds_call *call)
{
    struct ds_seat *s = &c->seat[call->seat];
    const struct prov_req *r = &call->req;
    if (r->err == C2_E_CANCELED)
        return;
    if (!is_answer(r->err)) {
        s->errors++;
        s->last_error = r->err;
        snprintf(s->last_detail, sizeof(s->last_detail), "%s", r->detail);
        if (r->verb == PROV_PUT && is_refusal(r->err))
            refused(c, s);
        else
            went_wrong(c, s, c2_err_class(r->err) != C2_CLASS_RETRY);
        return;
    }
    s->last_ok_ns = c2_now_ns(c->env);
    went_well(s);
    if (r->err != C2_E_OK)
        return;
    uint64_t ns = c2_now_ns(c->env) - call->started_ns;
    if (r->verb == PROV_PUT) {
        s->puts_ok++;
        stored(s);
        took(c, s, DS_CLASS_PUT, r->body->len, ns);
    } else if (r->verb == PROV_GET) {
        s->gets_ok++;
        took(c, s, DS_CLASS_GET, r->reply != NULL ? r->reply->len : 0, ns);
    }
}

void
ds_health_late(struct ds_client *c, unsigned seat)
{
    struct ds_seat *s = &c->seat[seat];
    s->errors++;
    s->last_error = C2_E_TIMEOUT;
    snprintf(s->last_detail, sizeof(s->last_detail), "slower than the others by far");
    went_wrong(c, s, false);
}

void
ds_health_absent(struct ds_client *c, unsigned seat)
{
    struct ds_seat *s = &c->seat[seat];
    if (s->use == DS_USE_NEW)
        return; /* it has not been brought there yet */
    s->absent++;
    s->oks = 0;
    s->last_error = C2_E_NOT_FOUND;
    snprintf(s->last_detail, sizeof(s->last_detail), "a share is missing");
    if (s->state == DS_SEAT_ONLINE)
        s->state = DS_SEAT_DEGRADED;
    watch(c);
}

void
ds_health_corrupt(struct ds_client *c, unsigned seat)
{
    struct ds_seat *s = &c->seat[seat];
    s->corrupt++;
    s->oks = 0;
    s->verified = 0;
    s->last_error = C2_E_CORRUPT;
    snprintf(s->last_detail, sizeof(s->last_detail), "a share fails verification");
    s->state = DS_SEAT_SUSPECT;
    watch(c);
}

void
ds_health_verified(struct ds_client *c, unsigned seat)
{
    struct ds_seat *s = &c->seat[seat];
    s->verified++;
    if (s->state == DS_SEAT_SUSPECT && s->verified >= VERIFIED_TRUST) {
        s->state = DS_SEAT_DEGRADED;
        s->oks = 0;
    }
}

/* Its time to be tried with a PUT has come. */
static bool
half_open(const struct ds_client *c, const struct ds_seat *s)
{
    return s->readonly && c2_now_ns(c->env) - s->readonly_since_ns >= READONLY_TRY_NS;
}

bool
ds_health_closed(const struct ds_client *c, enum ds_class class, unsigned seat)
{
    const struct ds_seat *s = &c->seat[seat];
    return s->open || (class == DS_CLASS_PUT && s->readonly && !half_open(c, s));
}

/* The breaker is open because it does not answer, however often it is asked. One that asks for
 * patience is not gone. */
static bool
is_gone(const struct ds_seat *s)
{
    return s->open && s->state == DS_SEAT_UNREACH &&
           (s->last_error == C2_E_UNREACHABLE || s->last_error == C2_E_UNAVAILABLE ||
            s->last_error == C2_E_TIMEOUT);
}

void
ds_health_asked(struct ds_client *c, struct ds_call *call)
{
    struct ds_seat *s = &c->seat[call->seat];
    if (call->req.verb != PROV_PUT && is_gone(s))
        call->req.attempts_max = GONE_ATTEMPTS;
    if (call->req.verb == PROV_PUT && s->readonly)
        s->readonly_since_ns = c2_now_ns(c->env); /* one try at a time */
}

bool
ds_health_good(const struct ds_client *c, enum ds_class class, unsigned seat)
{
    const struct ds_seat *s = &c->seat[seat];
    return ds_seat_used(c, seat) && !ds_health_closed(c, class, seat) &&
           s->state != DS_SEAT_SUSPECT && !s->slow[class] && !s->flaky;
}

static unsigned
penalty(const struct ds_client *c, unsigned seat, enum ds_class class)
{
    const struct ds_seat *s = &c->seat[seat];
    if (class == DS_CLASS_PUT && !s->open && half_open(c, s))
        return 0; /* before all others: else the fourth of four would never be tried */
    return 1 + (class == DS_CLASS_GET && s->use == DS_USE_NEW ? 8u : 0u) +
           (ds_health_closed(c, class, seat) ? 4u : 0u) + (s->state == DS_SEAT_SUSPECT ? 2u : 0u) +
           (s->slow[class] ? 1u : 0u) + (s->flaky ? 1u : 0u);
}

/* What is written is kept, and read one day: where it is cheap to read it should be. */
static double
price(const struct ds_client *c, unsigned seat, enum ds_class class)
{
    const struct prov_price *p = &c->seat[seat].provider->price;
    double read = prov_price_read(p, PRICED_BYTES);
    return class == DS_CLASS_PUT ? read + prov_price_store(p, PRICED_BYTES) : read;
}

static bool
is_better(const struct ds_client *c, unsigned seat, unsigned than, enum ds_class class)
{
    unsigned a = penalty(c, seat, class), b = penalty(c, than, class);
    return a != b ? a < b : price(c, seat, class) < price(c, than, class);
}

/* Of all others it is known by now how they are doing. */
static void
forgive(struct ds_seat *s, enum ds_class class, uint64_t now)
{
    if (s->slow[class] && now - s->slow_since_ns[class] > SLOW_RETRY_NS) {
        s->slow[class] = false;
        s->ewma_ns[class] = 0;
    }
    if (s->flaky && now - s->flaky_since_ns > SLOW_RETRY_NS) {
        s->flaky = false;
        s->trouble = 0;
    }
}

/* Among equals the lower seat comes first: seats below k hold plain rows, which need no decoding.
 */
unsigned
ds_health_rank(struct ds_client *c, enum ds_class class, unsigned out[DS_SEATS_MAX])
{
    unsigned count = 0;
    uint64_t now = c2_now_ns(c->env);
    for (unsigned i = 0; i < c->n; i++) {
        struct ds_seat *s = &c->seat[i];
        if (!ds_seat_used(c, i) || (class == DS_CLASS_PUT && s->use == DS_USE_READ))
            continue;
        forgive(s, class, now);
        unsigned at = count++;
        for (; at > 0 && is_better(c, i, out[at - 1], class); at--)
            out[at] = out[at - 1];
        out[at] = i;
    }
    return count;
}

uint64_t
ds_health_hedge_ns(const struct ds_client *c, enum ds_class class, size_t bytes)
{
    uint64_t p95[DS_SEATS_MAX];
    for (unsigned i = 0; i < c->n; i++)
        p95[i] = c->seat[i].latency[class][bytes > DS_SMALL_BYTES].p95_ns;
    uint64_t least =
        class == DS_CLASS_PUT ? c->config->put_hedge_min_ns : c->config->get_hedge_min_ns;
    return C2_MAX(median(p95, c->n), least);
}

const char *
ds_seat_state_name(enum ds_seat_state s)
{
    switch (s) {
    case DS_SEAT_EMPTY:
        return "empty";
    case DS_SEAT_ONLINE:
        return "online";
    case DS_SEAT_DEGRADED:
        return "degraded";
    case DS_SEAT_UNREACH:
        return "unreachable";
    case DS_SEAT_SUSPECT:
        return "suspect";
    case DS_SEAT_READONLY:
        return "readonly";
    }
    C2_UNREACHABLE();
}

/* Reads are what counts first: a seat that fails them as well is not only read-only. */
static enum ds_seat_state
shown_state(const struct ds_seat *s)
{
    bool serves = s->state == DS_SEAT_ONLINE || s->state == DS_SEAT_DEGRADED;
    return s->readonly && serves && !s->open ? DS_SEAT_READONLY : s->state;
}

void
ds_seat_status(const struct ds_client *c, unsigned seat, struct ds_seat_status *ret_status)
{
    C2_ASSERT(seat < c->n);
    const struct ds_seat *s = &c->seat[seat];
    *ret_status = (struct ds_seat_status){
        .state = ds_seat_used(c, seat) ? shown_state(s) : DS_SEAT_EMPTY,
        .name = s->provider != NULL ? s->provider->name : "",
        .puts_ok = s->puts_ok,
        .gets_ok = s->gets_ok,
        .errors = s->errors,
        .absent = s->absent,
        .corrupt = s->corrupt,
        .hedges = s->hedges,
        .last_error = s->last_error,
        .last_ok_ns = s->last_ok_ns,
        .stats = s->provider != NULL ? s->provider->stats : NULL,
    };
    memcpy(ret_status->last_detail, s->last_detail, sizeof(s->last_detail));
}
