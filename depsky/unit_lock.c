/* SPDX-License-Identifier: MIT */
/*
 * The low-contention lock of a unit (§3.5, "LIST, PUT, LIST, back off"): a signed object in n-f
 * clouds that ends by itself.
 *
 *   LOOK ──nobody──► PUT ──n-f acks──► CHECK ──nobody else──► held
 *    ▲ │somebody else │too few           │ somebody else, or too late
 *    │ ▼              ▼                  ▼
 *   PAUSE ◄──────── REMOVE ours ◄────────┘          over when wait_ns is: BUSY or QUORUM
 *
 * Renewal: PUT of a second object with a later end while the first one counts, then the first one
 * is removed.
 *
 * Two who hold it at once would both have had n-f acknowledgements before they listed n-f clouds
 * in CHECK; the later list meets the other's object in a correct cloud. A cloud cannot forge a
 * lock (its name is signed) nor shorten one; it can go on showing one that was released, until
 * that expires.
 *
 * Time is that of the clouds (unit_names.c), which have it within `skew` of each other. Ours ends
 * for us `skew` before its time by the latest estimate, another's ends for us `skew` after its
 * time by the earliest. A machine that slept notices by its wall clock.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/sm.h"
#include "base/wire.h"
#include "depsky/unit_impl.h"

#define PAUSE_MIN_NS (250 * C2_NS_PER_MS)
#define PAUSE_MAX_NS (2 * C2_NS_PER_S)
#define LEASE_SKEWS  3
#define SETTLE_NS    (2 * C2_NS_PER_S)
#define SETTLE_AGAIN (5 * C2_NS_PER_MS)

enum lock_state { LOCK_LOOK, LOCK_PUT, LOCK_CHECK, LOCK_REMOVE, LOCK_PAUSE, LOCK_RENEW, LOCK_END };

static const struct c2_sm_state states[] = {
    [LOCK_LOOK] = { "look", C2_SM_TO(LOCK_PUT) | C2_SM_TO(LOCK_PAUSE) | C2_SM_TO(LOCK_END) },
    [LOCK_PUT] = { "put", C2_SM_TO(LOCK_CHECK) | C2_SM_TO(LOCK_REMOVE) | C2_SM_TO(LOCK_END) },
    [LOCK_CHECK] = { "check", C2_SM_TO(LOCK_REMOVE) | C2_SM_TO(LOCK_END) },
    [LOCK_REMOVE] = { "remove", C2_SM_TO(LOCK_PAUSE) | C2_SM_TO(LOCK_END) },
    [LOCK_PAUSE] = { "pause", C2_SM_TO(LOCK_LOOK) | C2_SM_TO(LOCK_END) },
    [LOCK_RENEW] = { "renew", C2_SM_TO(LOCK_END) },
    [LOCK_END] = { "end", 0 },
};

struct lock {
    struct ds_unit *u;
    struct ds_unit_lock *l; /* the caller's */
    struct c2_sm sm;
    enum c2_err err; /* of the step that ended last */
    uint64_t lease_ns, deadline_ns, pause_ns;
    struct unit_tenure ours; /* the lock that we are trying to get */
    struct unit_names names;
    struct unit_put put;
    struct c2_timer timer;
    struct c2_task task;
};

/* ---- what a list tells ----------------------------------------------------------------- */

struct seen {
    bool busy;
    struct unit_id other; /* the longest one, when busy */
    const uint8_t *signer;
    char **over; /* owned: keys of locks that have ended */
    size_t nover;
};

static uint64_t
session_of(const struct unit_id *id)
{
    return c2_get_be64(id->rnd);
}

static void
look_at(struct lock *op, const char *key, size_t prefix_len, struct seen *seen)
{
    struct ds_unit *u = op->u;
    struct unit_id id;
    if (!unit_id_parse(key + prefix_len, &id))
        return;
    uint64_t now = c2_now_ns(u->c->env) + op->names.clock_low;
    if (id.number < now && now - id.number > u->skew_ns) {
        seen->over = c2_realloc(seen->over, seen->nover + 1, sizeof(*seen->over));
        seen->over[seen->nover++] = c2_strdup(key);
        return;
    }
    if (session_of(&id) == u->session || (seen->busy && id.number <= seen->other.number))
        return;
    const uint8_t *signer = unit_id_signer(u, UNIT_LOCK, &id);
    if (signer == NULL)
        return;
    seen->busy = true;
    seen->other = id;
    seen->signer = signer;
}

/* Consumes the list. */
static struct seen
evaluate(struct lock *op)
{
    struct seen seen = { 0 };
    size_t prefix_len = strlen(op->names.prefix);
    for (size_t i = 0; i < op->names.nitems; i++)
        look_at(op, op->names.items[i].text, prefix_len, &seen);
    unit_names_free(&op->names);
    if (seen.busy) {
        op->l->expires_wall_ns = seen.other.number;
        memcpy(op->l->holder, seen.signer, sizeof(op->l->holder));
    }
    return seen;
}

static void
free_keys(char **keys, size_t nkeys)
{
    for (size_t i = 0; i < nkeys; i++)
        c2_free(keys[i]);
    c2_free(keys);
}

/* ---- steps ----------------------------------------------------------------------------- */

static void
finish(struct lock *op, enum c2_err err)
{
    struct ds_unit *u = op->u;
    struct ds_unit_lock *l = op->l;
    c2_sm_go(&op->sm, LOCK_END);
    c2_timer_stop(u->c->env, &op->timer);
    l->err = err;
    l->priv = NULL;
    unit_names_free(&op->names);
    c2_free(op);
    u->locking = false;
    unit_request_end(u);
    l->done(l);
}

static void step(struct lock *op);

static void
listed(struct unit_names *n)
{
    struct lock *op = C2_CONTAINER_OF(n, struct lock, names);
    op->err = n->err;
    step(op);
}

static void
list(struct lock *op)
{
    op->names = (struct unit_names){ .c = op->u->c, .done = listed };
    unit_prefix(op->u, UNIT_LOCK, op->names.prefix);
    unit_names_start(&op->names);
}

/* ---- removing what we wrote ------------------------------------------------------------ */

/*
 * A lock is there when n-f clouds have it; its PUT to the others may be under way still, and would
 * bring the lock back if it arrived after the DELETE: nobody could take it until the lease is over.
 * So the DELETE waits for it, for a moment.
 */
struct removal {
    struct ds_client *c; /* not the unit: it may be closed meanwhile */
    char *key;           /* owned, until it is purged */
    uint64_t deadline_ns;
    struct c2_timer timer;
    void (*done)(void *arg, uint32_t confirmed, bool all);
    void *arg;
};

/* Stops those that are under way when it is `late`. */
static bool
put_under_way(const struct removal *m, bool late)
{
    bool found = false;
    C2_LIST_FOREACH (&m->c->calls, struct ds_call, call, link) {
        if (call->req.verb != PROV_PUT || strcmp(call->key, m->key) != 0)
            continue;
        found = true;
        if (late)
            ds_call_cancel(call);
    }
    return found;
}

static void
remove_now(struct c2_timer *t)
{
    struct removal *m = C2_CONTAINER_OF(t, struct removal, timer);
    struct ds_client *c = m->c;
    uint64_t now = c2_now_ns(c->env);
    bool late = now >= m->deadline_ns;
    if (put_under_way(m, late) && !late) {
        c2_timer_arm(c->env, t, now + SETTLE_AGAIN);
        return;
    }
    char **keys = c2_calloc(1, sizeof(*keys));
    keys[0] = m->key;
    unit_purge(c, keys, 1, m->done, m->arg);
    c2_free(m);
    ds_op_end(c);
}

static void
remove_lock(const struct ds_unit *u, const struct unit_id *id,
            void (*done)(void *arg, uint32_t confirmed, bool all), void *arg)
{
    struct removal *m = c2_calloc(1, sizeof(*m));
    m->c = u->c;
    m->key = c2_alloc(PROV_KEY_MAX);
    unit_key(u, UNIT_LOCK, id, m->key);
    m->deadline_ns = c2_now_ns(u->c->env) + SETTLE_NS;
    m->timer.fire = remove_now;
    m->done = done;
    m->arg = arg;
    ds_op_begin(u->c);
    remove_now(&m->timer);
}

static void
put_done(struct unit_put *p)
{
    struct lock *op = C2_CONTAINER_OF(p, struct lock, put);
    op->err = p->err;
    step(op);
}

/* `high` and `low`: the clouds' clock minus ours, at most and at least. */
static void
put(struct lock *op, uint64_t high)
{
    struct ds_unit *u = op->u;
    struct c2_env *env = u->c->env;
    struct unit_tenure *t = &op->ours;
    uint64_t now = c2_now_ns(env);
    *t = (struct unit_tenure){ .held = true, .clock_high = high };
    t->id.number = now + high + op->lease_ns;
    t->expires_wall_ns = t->id.number;
    c2_put_be64(t->id.rnd, u->session);
    unit_id_sign(u, UNIT_LOCK, &t->id);
    t->until_ns = now + op->lease_ns - u->skew_ns;
    t->until_wall_ns = c2_wall_ns(env) + op->lease_ns - u->skew_ns;
    op->put = (struct unit_put){ .u = u, .body = c2_blob_new(0), .done = put_done };
    unit_key(u, UNIT_LOCK, &t->id, op->put.key);
    unit_put_start(&op->put);
}

static void
removed(void *arg, uint32_t confirmed, bool all)
{
    (void)confirmed;
    (void)all;
    step(arg);
}

static void
give_up(struct lock *op, enum c2_err err)
{
    op->err = err;
    c2_sm_go(&op->sm, LOCK_REMOVE);
    remove_lock(op->u, &op->ours.id, removed, op);
}

/* Nothing of ours is out there. */
static void
pause_or_end(struct lock *op)
{
    struct c2_env *env = op->u->c->env;
    uint64_t random;
    c2_random(env, &random, sizeof(random));
    uint64_t pause = op->pause_ns + random % op->pause_ns;
    bool temporary = op->err == C2_E_BUSY || op->err == C2_E_QUORUM;
    if (!temporary || c2_now_ns(env) + pause > op->deadline_ns) {
        finish(op, op->err);
        return;
    }
    c2_sm_go(&op->sm, LOCK_PAUSE);
    op->pause_ns = C2_MIN(2 * op->pause_ns, PAUSE_MAX_NS);
    c2_timer_arm(env, &op->timer, c2_now_ns(env) + pause);
}

static void
after_look(struct lock *op)
{
    if (op->err != C2_E_OK) {
        pause_or_end(op);
        return;
    }
    struct seen seen = evaluate(op);
    free_keys(seen.over, seen.nover);
    if (seen.busy) {
        op->err = C2_E_BUSY;
        pause_or_end(op);
        return;
    }
    c2_sm_go(&op->sm, LOCK_PUT);
    put(op, op->names.clock_high);
}

static void
after_put(struct lock *op)
{
    if (op->err != C2_E_OK) {
        give_up(op, op->err);
        return;
    }
    c2_sm_go(&op->sm, LOCK_CHECK);
    list(op);
}

static bool
over_already(const struct lock *op)
{
    struct c2_env *env = op->u->c->env;
    return c2_now_ns(env) >= op->ours.until_ns || c2_wall_ns(env) >= op->ours.until_wall_ns;
}

/* What we wrote before and hold no more, and the locks of others that have ended. */
static void
clean_up(struct ds_unit *u, struct seen *seen)
{
    unit_purge(u->c, seen->over, seen->nover, NULL, NULL);
    if (u->lock.id.number != 0)
        remove_lock(u, &u->lock.id, NULL, NULL);
}

static void
after_check(struct lock *op)
{
    struct ds_unit *u = op->u;
    if (op->err != C2_E_OK) {
        give_up(op, op->err);
        return;
    }
    struct seen seen = evaluate(op);
    if (seen.busy || over_already(op)) {
        C2_MARK("unit: two try to lock at the same time");
        free_keys(seen.over, seen.nover);
        give_up(op, seen.busy ? C2_E_BUSY : C2_E_QUORUM);
        return;
    }
    clean_up(u, &seen);
    op->ours.number = u->lock.number + 1;
    u->lock = op->ours;
    u->fresh = false;
    op->l->expires_wall_ns = op->ours.expires_wall_ns;
    finish(op, C2_E_OK);
}

static void
after_renewal(struct lock *op)
{
    struct ds_unit *u = op->u;
    if (op->err == C2_E_OK && unit_lock_valid(u)) {
        remove_lock(u, &u->lock.id, NULL, NULL);
        op->ours.number = u->lock.number;
        u->lock = op->ours;
        op->l->expires_wall_ns = op->ours.expires_wall_ns;
        finish(op, C2_E_OK);
        return;
    }
    remove_lock(u, &op->ours.id, NULL, NULL);
    finish(op, op->err != C2_E_OK ? op->err : C2_E_FENCED);
}

static void
step(struct lock *op)
{
    if (op->u->c->drain_done != NULL && op->sm.state != LOCK_REMOVE)
        op->err = C2_E_CANCELED;
    switch ((enum lock_state)op->sm.state) {
    case LOCK_LOOK:
        after_look(op);
        return;
    case LOCK_PUT:
        after_put(op);
        return;
    case LOCK_CHECK:
        after_check(op);
        return;
    case LOCK_REMOVE:
        pause_or_end(op);
        return;
    case LOCK_PAUSE:
        if (op->err == C2_E_CANCELED) {
            finish(op, C2_E_CANCELED);
            return;
        }
        c2_sm_go(&op->sm, LOCK_LOOK);
        list(op);
        return;
    case LOCK_RENEW:
        after_renewal(op);
        return;
    case LOCK_END:
        break;
    }
    C2_UNREACHABLE();
}

static void
pause_over(struct c2_timer *t)
{
    step(C2_CONTAINER_OF(t, struct lock, timer));
}

/* ---- start ----------------------------------------------------------------------------- */

static void
run_task(struct c2_task *t)
{
    struct lock *op = C2_CONTAINER_OF(t, struct lock, task);
    if (op->err != C2_E_OK) { /* was not acceptable */
        struct ds_unit *u = op->u;
        struct ds_unit_lock *l = op->l;
        l->err = op->err;
        l->priv = NULL;
        c2_free(op);
        unit_request_end(u);
        l->done(l);
    } else if (op->sm.state == LOCK_RENEW) {
        put(op, op->u->lock.clock_high);
    } else {
        list(op);
    }
}

static enum c2_err
acceptable(const struct ds_unit *u, uint64_t lease_ns)
{
    if (u->secret == NULL)
        return C2_E_NOT_PERMITTED;
    if (lease_ns < LEASE_SKEWS * u->skew_ns || lease_ns > DS_UNIT_LEASE_MAX_NS)
        return C2_E_INVALID;
    return u->locking ? C2_E_BUSY : C2_E_OK;
}

static void
start(struct ds_unit *u, struct ds_unit_lock *l, enum lock_state first)
{
    C2_ASSERT(l->done != NULL);
    struct lock *op = c2_calloc(1, sizeof(*op));
    op->u = u;
    op->l = l;
    op->lease_ns = l->lease_ns != 0 ? l->lease_ns : DS_UNIT_LEASE_NS;
    op->deadline_ns = c2_now_ns(u->c->env) + C2_MIN(l->wait_ns, C2_NEVER / 2);
    op->pause_ns = PAUSE_MIN_NS;
    op->timer.fire = pause_over;
    op->task.run = run_task;
    c2_sm_init(&op->sm, states, first);
    l->priv = op;
    l->expires_wall_ns = 0;
    unit_request_begin(u);
    op->err = acceptable(u, op->lease_ns);
    if (op->err == C2_E_OK && first == LOCK_RENEW && !unit_lock_valid(u))
        op->err = C2_E_FENCED;
    u->locking = u->locking || op->err == C2_E_OK;
    c2_defer(u->c->env, &op->task);
}

void
ds_unit_lock_start(struct ds_unit *u, struct ds_unit_lock *l)
{
    start(u, l, LOCK_LOOK);
}

void
ds_unit_renew_start(struct ds_unit *u, struct ds_unit_lock *l)
{
    start(u, l, LOCK_RENEW);
}

/* ---- unlock ---------------------------------------------------------------------------- */

struct unlock {
    struct ds_unit *u;
    struct ds_unit_unlock *l; /* the caller's */
    enum c2_err err;
    struct unit_names names; /* of a whole session */
    struct c2_task task;
};

static void
unlock_finish(struct unlock *op, enum c2_err err)
{
    struct ds_unit *u = op->u;
    struct ds_unit_unlock *l = op->l;
    l->err = err;
    l->priv = NULL;
    unit_names_free(&op->names);
    c2_free(op);
    unit_request_end(u);
    l->done(l);
}

static void
unlocked(void *arg, uint32_t confirmed, bool all)
{
    struct unlock *op = arg;
    const struct ds_client *c = op->u->c;
    op->u->locking = false;
    /* A cloud that is away can make others wait until the lease is over, as any cloud can. */
    unlock_finish(op, all || ds_bits(confirmed) >= c->n - c->f ? C2_E_OK : C2_E_QUORUM);
}

static void
unlock_listed(struct unit_names *n)
{
    struct unlock *op = C2_CONTAINER_OF(n, struct unlock, names);
    const struct ds_unit *u = op->u;
    size_t prefix_len = strlen(n->prefix), nkeys = 0;
    if (n->err != C2_E_OK) {
        op->u->locking = false;
        unlock_finish(op, n->err);
        return;
    }
    char **keys = c2_calloc(n->nitems + 1, sizeof(*keys));
    for (size_t i = 0; i < n->nitems; i++) {
        struct unit_id id;
        if (unit_id_parse(n->items[i].text + prefix_len, &id) && session_of(&id) == u->session)
            keys[nkeys++] = c2_strdup(n->items[i].text);
    }
    unit_purge(u->c, keys, nkeys, unlocked, op);
}

static void
run_unlock(struct c2_task *t)
{
    struct unlock *op = C2_CONTAINER_OF(t, struct unlock, task);
    struct ds_unit *u = op->u;
    if (op->err != C2_E_OK) {
        unlock_finish(op, op->err);
        return;
    }
    struct unit_id id = u->lock.id;
    u->lock.held = false;
    u->lock.id.number = 0;
    u->fresh = false;
    if (!op->l->whole_session) {
        remove_lock(u, &id, unlocked, op);
        return;
    }
    op->names = (struct unit_names){ .c = u->c, .grace_ns = C2_NS_PER_S, .done = unlock_listed };
    unit_prefix(u, UNIT_LOCK, op->names.prefix);
    unit_names_start(&op->names);
}

void
ds_unit_unlock_start(struct ds_unit *u, struct ds_unit_unlock *l)
{
    C2_ASSERT(l->done != NULL);
    struct unlock *op = c2_calloc(1, sizeof(*op));
    op->u = u;
    op->l = l;
    op->task.run = run_unlock;
    if (u->secret == NULL)
        op->err = C2_E_NOT_PERMITTED;
    else if (u->locking)
        op->err = C2_E_BUSY;
    else if (!u->lock.held && !l->whole_session)
        op->err = C2_E_FENCED;
    u->locking = u->locking || op->err == C2_E_OK;
    l->priv = op;
    unit_request_begin(u);
    c2_defer(u->c->env, &op->task);
}
