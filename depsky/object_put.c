/* SPDX-License-Identifier: MIT */
/*
 * Writing an object (DepSky-CA without its metadata files: the anchor holds the hash; preferred
 * quorums of §3.6).
 *
 *   SEALING ──► SENDING ──► DONE
 *
 * SENDING, per seat:
 *
 *   IDLE ──PUT──► SENT ──ok──────────────────────► ACKED
 *                  │ └──key exists──► CHECKING ────► ACKED    it holds our own header: an earlier
 *                  │                     │                    attempt of ours got through
 *                  │ late: a spare       └─────────► FAILED   somebody else's object
 *                  └──error────────────────────────► FAILED   a spare is started at once
 *
 * With `persist` the outcome QUORUM is replaced by waiting: failed seats whose breaker is closed
 * (the client probes the others) are tried again with the same bytes, every 1 s growing to 30 s,
 * late ones or not. A share that did not arrive in time has twice as long the next time: what is
 * too slow for the usual time gets through all the same.
 *
 * The w = k+f best seats are started (all n with write_all). Only verified acks count. Done at w
 * acks, or as soon as acks + running + spares < w. A late PUT is not stopped: it keeps its own
 * reference to its share and finishes, or is canceled, after done.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "depsky/client.h"
#include "depsky/codec.h"

#define RETRY_MIN_NS (1 * C2_NS_PER_S)
#define RETRY_MAX_NS (30 * C2_NS_PER_S)
#define SLOW_MAX     5 /* doublings of the time for one attempt: half an hour */

enum seat_state { SEAT_IDLE, SEAT_SENT, SEAT_CHECKING, SEAT_ACKED, SEAT_FAILED };

struct put_seat {
    struct put *op;
    unsigned index;
    enum seat_state state;
    bool late;
    struct ds_call *call; /* outstanding, or NULL */
    struct c2_timer hedge;
};

struct put {
    struct ds_client *c;
    struct ds_put *p;    /* the caller's */
    struct ds_seal seal; /* its shares are ours, each until its seat has acknowledged */
    struct c2_work work;
    struct c2_task task; /* refusal and cancellation */
    bool sealing, canceled;
    enum c2_err refused;   /* the request was not acceptable */
    struct c2_timer retry; /* persist: the next round */
    uint64_t pause_ns;
    unsigned slow; /* persist: doublings of the time for one attempt */
    unsigned need; /* acks */
    char key[PROV_KEY_MAX];
    struct put_seat seat[DS_SEATS_MAX];
};

static unsigned
count(const struct put *op, enum seat_state state)
{
    unsigned found = 0;
    for (unsigned i = 0; i < op->c->n; i++)
        found += op->seat[i].state == state;
    return found;
}

/* Running and not late. */
static unsigned
count_prompt(const struct put *op)
{
    unsigned found = 0;
    for (unsigned i = 0; i < op->c->n; i++) {
        const struct put_seat *s = &op->seat[i];
        found += (s->state == SEAT_SENT || s->state == SEAT_CHECKING) && !s->late;
    }
    return found;
}

static unsigned
count_running(const struct put *op)
{
    return count(op, SEAT_SENT) + count(op, SEAT_CHECKING);
}

static void
finish(struct put *op, enum c2_err err)
{
    struct ds_client *c = op->c;
    struct ds_put *p = op->p;
    p->err = err;
    c2_timer_stop(c->env, &op->retry);
    for (unsigned i = 0; i < c->n; i++) {
        struct put_seat *s = &op->seat[i];
        c2_timer_stop(c->env, &s->hedge);
        if (err == C2_E_OK && s->state == SEAT_SENT) {
            ds_call_abandon(s->call);
        } else {
            ds_call_cancel(s->call);
        }
        c2_blob_unref(op->seal.share[i]);
    }
    p->priv = NULL;
    c2_free(op);
    ds_op_end(c);
    p->done(p);
}

static unsigned
count_exists(const struct put *op)
{
    unsigned found = 0;
    for (unsigned i = 0; i < op->c->n; i++)
        found += op->seat[i].state == SEAT_FAILED && op->p->seat_err[i] == C2_E_EXISTS;
    return found;
}

static void step(struct put *op);

static void
acked(struct put_seat *s)
{
    struct put *op = s->op;
    s->state = SEAT_ACKED;
    op->p->seat_err[s->index] = C2_E_OK;
    op->p->placed |= 1u << s->index;
    op->p->stored_bytes += op->seal.share[s->index]->len;
    c2_blob_unref(op->seal.share[s->index]);
    op->seal.share[s->index] = NULL;
}

static void
failed(struct put_seat *s, enum c2_err err, const char *detail)
{
    s->state = SEAT_FAILED;
    s->op->p->seat_err[s->index] = err;
    c2_log(DEBUG, "put", "seat failed seat=%u key=%s err=%s detail=%s", s->index, s->op->key,
           c2_err_name(err), detail);
}

/* The header carries the object's root and this seat's row root: the same header, the same share.
 */
static void
check_arrived(struct ds_call *call)
{
    struct put_seat *s = call->owner;
    const struct ds_seal *seal = &s->op->seal;
    const struct prov_req *r = &call->req;
    const struct c2_blob *ours = seal->share[s->index];
    s->call = NULL;
    if (r->err != C2_E_OK) {
        failed(s, r->err, r->detail);
    } else if (c2_slice_equal(c2_blob_slice(r->reply), c2_slice(ours->data, seal->hdr_len)) &&
               (r->size == 0 || r->size == ours->len)) {
        C2_MARK("put: an earlier attempt had arrived");
        acked(s);
    } else {
        C2_MARK("put: another object has the key");
        failed(s, C2_E_EXISTS, "another object has the key");
    }
    step(s->op);
}

static void
check(struct put_seat *s)
{
    struct put *op = s->op;
    s->state = SEAT_CHECKING;
    s->call = ds_call_new(op->c, s->index, PROV_GET, op->key);
    s->call->req.len = op->seal.hdr_len;
    s->call->req.body_len_max = op->seal.hdr_len;
    s->call->done = check_arrived;
    s->call->owner = s;
    ds_call_start(s->call, op->c->config->get_timeout_ns);
}

static void
put_arrived(struct ds_call *call)
{
    struct put_seat *s = call->owner;
    enum c2_err err = call->req.err;
    s->call = NULL;
    c2_timer_stop(s->op->c->env, &s->hedge);
    if (err == C2_E_OK) {
        acked(s);
    } else if (err == C2_E_EXISTS || err == C2_E_PRECONDITION) {
        check(s);
    } else {
        failed(s, err, call->req.detail);
    }
    step(s->op);
}

/* While nobody has answered, the line is slow, not a seat: more requests would not help. */
static void
hedge_fired(struct c2_timer *t)
{
    struct put_seat *s = C2_CONTAINER_OF(t, struct put_seat, hedge);
    struct put *op = s->op;
    if (count(op, SEAT_ACKED) + count(op, SEAT_FAILED) == 0) {
        size_t len = op->seal.share[s->index]->len;
        uint64_t more = ds_health_hedge_ns(op->c, DS_CLASS_PUT, len);
        c2_timer_arm(op->c->env, t, c2_now_ns(op->c->env) + more);
        return;
    }
    if (!ds_hedge_now(s->call, op->seal.share[s->index]->len, 1, t))
        return;
    C2_MARK("put: a seat is late");
    s->late = true;
    ds_health_late(op->c, s->index);
    step(op);
}

static void
send_to(struct put *op, unsigned seat)
{
    struct put_seat *s = &op->seat[seat];
    struct ds_client *c = op->c;
    C2_ASSERT(s->state == SEAT_IDLE);
    s->state = SEAT_SENT;
    s->late = false;
    op->p->seat_err[seat] = C2_E_TIMEOUT; /* until it answers */
    s->call = ds_call_new(c, seat, PROV_PUT, op->key);
    s->call->req.body = op->seal.share[seat];
    s->call->req.if_absent = true;
    s->call->done = put_arrived;
    s->call->owner = s;
    uint64_t late = ds_health_hedge_ns(c, DS_CLASS_PUT, op->seal.share[seat]->len);
    c2_timer_arm(c->env, &s->hedge, c2_now_ns(c->env) + late);
    ds_call_start(s->call, c->config->put_timeout_ns << op->slow);
}

/* Starts seats until enough are running that may still be in time. */
static void
extend(struct put *op)
{
    struct ds_client *c = op->c;
    unsigned rank[DS_SEATS_MAX];
    unsigned ranked = ds_health_rank(c, DS_CLASS_PUT, rank);
    unsigned wanted = c->config->write_all ? c->n : op->need;
    for (unsigned i = 0; i < ranked; i++) {
        if (count(op, SEAT_ACKED) + count_prompt(op) >= wanted)
            return;
        if (op->seat[rank[i]].state == SEAT_IDLE && op->seal.share[rank[i]] != NULL)
            send_to(op, rank[i]);
    }
}

/* Failed seats that may do better now become idle again. */
static void
retry_fired(struct c2_timer *t)
{
    struct put *op = C2_CONTAINER_OF(t, struct put, retry);
    bool too_short = false;
    C2_MARK("put: persists");
    for (unsigned i = 0; i < op->c->n; i++) {
        struct put_seat *s = &op->seat[i];
        if (s->state != SEAT_FAILED || ds_health_closed(op->c, DS_CLASS_PUT, i) ||
            op->p->seat_err[i] == C2_E_EXISTS)
            continue;
        s->state = SEAT_IDLE;
        too_short = too_short || op->p->seat_err[i] == C2_E_TIMEOUT;
    }
    if (too_short && op->slow < SLOW_MAX)
        op->slow++;
    step(op);
}

/* Too few seats are left, or (persist) in time. A single one that claims "exists" may be lying, f+1
 * are not. */
static void
fall_short(struct put *op)
{
    struct ds_client *c = op->c;
    unsigned exists = count_exists(op);
    if (exists > c->f && (!op->p->persist || exists > c->voters - op->need)) {
        finish(op, C2_E_EXISTS);
    } else if (!op->p->persist) {
        finish(op, C2_E_QUORUM);
    } else if (!c2_timer_armed(&op->retry)) {
        op->pause_ns = C2_MIN(C2_MAX(RETRY_MIN_NS, 2 * op->pause_ns), RETRY_MAX_NS);
        c2_timer_arm(c->env, &op->retry, c2_now_ns(c->env) + op->pause_ns);
    }
}

static void
step(struct put *op)
{
    struct ds_client *c = op->c;
    if (op->canceled)
        return; /* the task finishes it */
    unsigned acks = count(op, SEAT_ACKED);
    if (acks >= op->need && (!c->config->write_all || count_prompt(op) == 0)) {
        finish(op, C2_E_OK);
        return;
    }
    extend(op);
    unsigned hoped_for = op->p->persist ? count_prompt(op) : count_running(op);
    if (acks + hoped_for < op->need)
        fall_short(op);
}

/* ---- sealing --------------------------------------------------------------------------- */

static void
run_seal(struct c2_work *w)
{
    struct put *op = C2_CONTAINER_OF(w, struct put, work);
    ds_codec_seal(&op->seal);
}

static void
seal_done(struct c2_work *w)
{
    struct put *op = C2_CONTAINER_OF(w, struct put, work);
    op->sealing = false;
    op->p->ref = op->seal.ref;
    op->c->expect_raw = !op->seal.compressed;
    if (op->canceled) {
        finish(op, C2_E_CANCELED);
        return;
    }
    step(op);
}

static void
run_task(struct c2_task *t)
{
    struct put *op = C2_CONTAINER_OF(t, struct put, task);
    finish(op, op->canceled ? C2_E_CANCELED : op->refused);
}

static enum c2_err
acceptable(const struct ds_put *p, uint64_t *ret_len)
{
    uint64_t len = 0;
    for (size_t i = 0; i < p->ndata; i++) {
        if (p->data[i].len > DS_OBJECT_SIZE_MAX - len)
            return C2_E_TOO_LARGE;
        len += p->data[i].len;
    }
    if (len == 0)
        return C2_E_INVALID;
    for (size_t i = 0; i < p->ncuts; i++) {
        C2_ASSERT(p->cuts[i] < len);
        C2_ASSERT(i == 0 || p->cuts[i] > p->cuts[i - 1]);
    }
    if (p->ncuts > DS_CUTS_MAX)
        return C2_E_INVALID;
    *ret_len = len;
    return C2_E_OK;
}

static void
start_sealing(struct put *op)
{
    struct ds_client *c = op->c;
    struct ds_put *p = op->p;
    op->seal.config = c->config;
    op->seal.oid = p->oid;
    op->seal.data = p->data;
    op->seal.ndata = p->ndata;
    op->seal.cuts = p->cuts;
    op->seal.ncuts = p->ncuts;
    c2_random(c->env, op->seal.secret, sizeof(op->seal.secret));
    c2_random(c->env, op->seal.coef, (size_t)(c->k - 1) * DS_SECRET_LEN);
    op->work.run = run_seal;
    op->work.done = seal_done;
    op->sealing = true;
    c2_work(c->env, &op->work);
}

static void
write_key(struct put *op)
{
    const struct ds_put *p = op->p;
    if (p->key == NULL) {
        ds_object_key(op->c, p->kind, p->oid, op->key);
        return;
    }
    C2_ASSERT(strnlen(p->key, sizeof(op->key)) < sizeof(op->key));
    memcpy(op->key, p->key, strlen(p->key) + 1);
}

void
ds_put_start(struct ds_client *c, struct ds_put *p)
{
    C2_ASSERT(p->done != NULL);
    struct put *op = c2_calloc(1, sizeof(*op));
    op->c = c;
    op->p = p;
    op->task.run = run_task;
    op->retry.fire = retry_fired;
    for (unsigned i = 0; i < DS_SEATS_MAX; i++) { /* a seat may come while it runs */
        op->seat[i].op = op;
        op->seat[i].index = i;
        p->seat_err[i] = ds_seat_used(c, i) ? C2_E_AGAIN : C2_E_UNREACHABLE;
        op->seat[i].hedge.fire = hedge_fired;
    }
    p->priv = op;
    p->stored_bytes = 0;
    p->placed = 0;
    /* Two writers of a journal meet in more than f seats, whatever the number of seats is. */
    op->need = p->kind == DS_KIND_OBJECT ? c->w : C2_MAX(c->w, (c->voters + c->f) / 2 + 1);
    write_key(op);
    ds_op_begin(c);
    op->refused = acceptable(p, &op->seal.plain_len);
    if (op->refused != C2_E_OK) {
        c2_defer(c->env, &op->task);
    } else {
        start_sealing(op);
    }
}

void
ds_put_cancel(struct ds_client *c, struct ds_put *p)
{
    struct put *op = p->priv;
    C2_ASSERT(op != NULL && op->c == c);
    op->canceled = true;
    if (!op->sealing)
        c2_defer(c->env, &op->task);
}
