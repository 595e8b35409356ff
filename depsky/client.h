/* SPDX-License-Identifier: MIT */
/*
 * Private to depsky/: the client, its seats and the calls on their providers.
 *
 * A call is one request to one seat. It belongs to the client, not to the operation that started
 * it: an operation that is finished abandons its calls (they run on; a late fourth PUT) or cancels
 * them, and never waits for them. Every outcome is reported to the seat's health.
 */
#ifndef C2_DEPSKY_CLIENT_H
#define C2_DEPSKY_CLIENT_H

#include "base/stats.h"
#include "depsky/cache.h"
#include "depsky/share.h"

#define DS_STRAGGLERS_MAX 4 /* abandoned calls per seat; the oldest is canceled beyond that */
#define DS_PROBE_NS       (30 * C2_NS_PER_S)
#define DS_SMALL_BYTES    (256u << 10) /* requests up to here share one latency histogram */

enum ds_class { DS_CLASS_PUT, DS_CLASS_GET, DS_CLASS_COUNT };

/* Recent successful requests of one class and size. */
struct ds_latency {
    struct c2_hist hist;
    uint64_t p95_ns; /* refreshed now and then */
};

struct ds_seat {
    struct provider *provider; /* borrowed; NULL = empty */
    enum ds_seat_use use;
    uint64_t changed; /* ds_client.changes at the latest one that concerned it */
    enum ds_seat_state state;
    bool open;           /* circuit breaker: asked only when nothing else is left */
    unsigned fails, oks; /* in a row */
    unsigned refused;    /* PUTs, in a row: for want of space or of rights */
    bool readonly;       /* the breaker for PUTs alone */
    uint64_t readonly_since_ns;
    unsigned verified;                            /* good shares since the last bad one */
    struct ds_latency latency[DS_CLASS_COUNT][2]; /* [class][large] */
    uint64_t ewma_ns[DS_CLASS_COUNT];             /* 0 = nothing seen yet */
    bool slow[DS_CLASS_COUNT];                    /* ranked behind the others */
    uint64_t slow_since_ns[DS_CLASS_COUNT];
    unsigned trouble; /* share of recent requests that failed, see health.c */
    bool flaky;       /* ranked behind the others */
    uint64_t flaky_since_ns;
    unsigned stragglers;
    uint64_t puts_ok, gets_ok, errors, absent, corrupt, hedges;
    enum c2_err last_error;
    char last_detail[160];
    uint64_t last_ok_ns;
};

struct ds_client {
    struct c2_env *env;       /* borrowed */
    struct ds_config *config; /* owned, in the secret arena; never changes, but may be replaced */
    struct ds_config **old;   /* owned: replaced ones, pool jobs may still use them */
    size_t nold;
    unsigned n, f, k, w;
    unsigned voters;
    struct ds_seat seat[DS_SEATS_MAX];
    uint64_t changes;     /* of seats, counted */
    struct c2_list calls; /* outstanding struct ds_call, oldest first */
    size_t ops;           /* internal states alive: operations and their pool jobs */
    struct ds_cache cache;
    bool expect_raw; /* the object seen last was not compressed */
    struct ds_evidence evidence[DS_EVIDENCE_MAX];
    size_t nevidence;
    uint64_t evidence_version;
    uint32_t hedge_credit[DS_CLASS_COUNT]; /* hundredths of a request, see hedge.c */
    bool quiescing;                        /* background calls are canceled at once */
    struct c2_timer probe_timer;
    struct c2_task drain_task;
    void (*drain_done)(void *arg); /* NULL = not draining */
    void *drain_arg;
};

/* ---- calls ----------------------------------------------------------------------------- */

struct ds_call {
    struct c2_link link; /* client->calls */
    struct ds_client *c;
    unsigned seat;
    struct provider *provider; /* the seat's, or one that is not in a seat (any more) */
    struct prov_req req;
    uint64_t started_ns;
    bool straggler;
    bool canceled;
    bool background;                    /* of a check, a rebuild or a list for one */
    void (*done)(struct ds_call *call); /* NULL = abandoned; may take req.reply, frees nothing */
    void *owner;
    char key[PROV_KEY_MAX];
    char after[PROV_KEY_MAX + 1];  /* for req.list_after */
    uint8_t sha256[C2_SHA256_LEN]; /* for req.body_sha256 */
};

/* The seat is occupied. `key` may be NULL when the verb has none. */
struct ds_call *ds_call_new(struct ds_client *c, unsigned seat, enum prov_verb verb,
                            const char *key);
/* Of a provider outside the seats; its health is nobody's. */
struct ds_call *ds_call_new_outside(struct ds_client *c, unsigned seat, struct provider *provider,
                                    enum prov_verb verb, const char *key);
/* After the verb's own fields of call->req are set. A PUT body gets a reference of its own. */
void ds_call_start(struct ds_call *call, uint64_t timeout_ns);
void ds_call_abandon(struct ds_call *call); /* NULL is fine */
void ds_call_cancel(struct ds_call *call);  /* NULL is fine; done will not run */

/* An operation's state begins and ends; the last one lets a drain finish. */
void ds_op_begin(struct ds_client *c);
void ds_op_end(struct ds_client *c);

/* ---- health (health.c) ----------------------------------------------------------------- */

/* A request is about to be sent to its seat. */
void ds_health_asked(struct ds_client *c, struct ds_call *call);
/* How a request ended; CANCELED says nothing about the seat. */
void ds_health_outcome(struct ds_client *c, const struct ds_call *call);
void ds_health_late(struct ds_client *c, unsigned seat);    /* others were faster by far */
void ds_health_absent(struct ds_client *c, unsigned seat);  /* a share that should be there */
void ds_health_corrupt(struct ds_client *c, unsigned seat); /* a share that fails verification */
/* root: of the object, NULL = not known; got: what came. Besides ds_health_corrupt. */
void ds_evidence_add(struct ds_client *c, unsigned seat, const char *key, const uint8_t *root,
                     struct c2_slice got);
void ds_health_verified(struct ds_client *c, unsigned seat); /* a share that passed */

/* Occupied seats, best first: health, then price; returns their number. */
unsigned ds_health_rank(struct ds_client *c, enum ds_class class, unsigned out[DS_SEATS_MAX]);
/* It is not asked now, unless nothing else is left. */
bool ds_health_closed(const struct ds_client *c, enum ds_class class, unsigned seat);
/* True for a seat that nothing speaks against. */
bool ds_health_good(const struct ds_client *c, enum ds_class class, unsigned seat);
/* When a request of that size counts as late: max(p95 of a typical seat, the configured least). */
uint64_t ds_health_hedge_ns(const struct ds_client *c, enum ds_class class, size_t bytes);

/* ---- hedging (hedge.c) ----------------------------------------------------------------- */

void ds_hedge_init(struct ds_client *c);
void ds_hedge_earn(struct ds_client *c, const struct ds_call *call);
/* This PUT or GET of so many bytes is late: true when other seats may be asked as well, which takes
 * `more` requests. Else the timer is armed to ask again. */
bool ds_hedge_now(const struct ds_call *call, size_t bytes, unsigned more, struct c2_timer *again);

/* False for a reference that no object can have; it may come from damaged metadata. */
bool ds_ref_possible(const struct ds_ref *ref);
/* Whether a verified share is what this seat should hold of this object. */
bool ds_share_belongs(const struct ds_client *c, const struct ds_share *sh,
                      const struct ds_ref *ref, unsigned seat);

/* Keys. */
#define DS_PREFIX_MAX 128
#define DS_VOL_BYTES  4 /* of the volume's id, in keys */
void ds_kind_prefix(const struct ds_client *c, enum ds_kind kind, char out[DS_PREFIX_MAX]);
void ds_probe_key(const struct ds_client *c, char out[PROV_KEY_MAX]);

/* It has a provider that may be asked. */
static inline bool
ds_seat_used(const struct ds_client *c, unsigned seat)
{
    enum ds_seat_use use = c->seat[seat].use;
    return c->seat[seat].provider != NULL && use != DS_USE_OFF && use != DS_USE_GONE;
}

static inline unsigned
ds_bits(uint32_t set)
{
    return (unsigned)__builtin_popcount(set);
}

#endif
