/* SPDX-License-Identifier: MIT */
/*
 * The questions of the lease are asked one at a time; one that gets no answer is asked again. The
 * outcome of TAKE may stay unknown: asked again, it finds the lock there, as a key of the session
 * that only we know.
 */
#include "fs/lease.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"

#define RETRY_NS_MAX C2_NS_PER_S

enum lease_state {
    LEASE_HELD,
    LEASE_CHECK, /* is the session alive, although the lock is not ours? */
    LEASE_OPEN,
    LEASE_TAKE,
    LEASE_LOST,
};

struct lease {
    struct coord base; /* what others submit to */
    struct lease_config c;
    struct c2_buf lock_value; /* owned */
    enum lease_state state;
    uint64_t session, token; /* of the day */
    uint64_t opened;         /* TAKE: the session that shall have the lock */
    uint64_t renewals;
    struct c2_timer timer;
    struct coord_req req;
    struct coord_cond conds[2];
    struct coord_op op;
    bool asking;
    bool stale;                  /* what is being answered was asked before the state changed */
    bool silent;                 /* the service does not answer, and the log has it */
    struct c2_list held, flying; /* struct lease_txn */
    void (*ended)(void *arg, uint64_t session);
    void *ended_arg;
    struct c2_task end_task;
};

/* A transaction of others that names session or token. */
struct lease_txn {
    struct c2_link link;
    struct lease *l;
    struct coord_req *outer; /* the caller's */
    struct coord_req inner;
    struct coord_cond *conds; /* owned */
    size_t fence;             /* the first of the conditions that are ours */
    uint64_t token;           /* that it was sent with */
    struct c2_timer deadline; /* while it is held */
    struct c2_task task;      /* it ends */
    bool ending;
    bool canceled; /* while it was under way: it does not wait for the lock */
};

static const struct coord_ops lease_ops;
static void ask(struct lease *l);

static struct lease *
lease_of(struct coord *c)
{
    C2_ASSERT(c->ops == &lease_ops);
    return C2_CONTAINER_OF(c, struct lease, base);
}

/* ---- transactions of others ------------------------------------------------------------------ */

/* The condition is the first token or session, in the words of the caller. */
static bool
is_fence(const struct lease *l, const struct coord_cond *c)
{
    if (c->kind == COORD_SESSION_ALIVE)
        return c->number == l->c.session;
    return c->kind == COORD_VERSION_EQ && c->number == l->c.token &&
           c2_slice_equal(c->key, ck_slice(&l->c.lock_key));
}

static void
end_txn(struct lease_txn *t)
{
    struct coord_req *r = t->outer;
    c2_timer_stop(t->l->c.env, &t->deadline);
    c2_list_remove(t->ending || t->token == 0 ? &t->l->held : &t->l->flying, &t->link);
    c2_free(t->conds);
    c2_free(t);
    r->done(r);
}

static void
end_task(struct c2_task *task)
{
    end_txn(C2_CONTAINER_OF(task, struct lease_txn, task));
}

/* Of a held one, from the loop. */
static void
end_later(struct lease_txn *t, enum c2_err err)
{
    C2_ASSERT(t->token == 0);
    if (t->ending)
        return;
    t->ending = true;
    t->outer->err = err;
    t->outer->cond_failed = err == C2_E_CONFLICT ? t->fence : 0;
    t->task.run = end_task;
    c2_defer(t->l->c.env, &t->task);
}

static void
deadline_fired(struct c2_timer *timer)
{
    end_later(C2_CONTAINER_OF(timer, struct lease_txn, deadline), C2_E_TIMEOUT);
}

static void
hold(struct lease_txn *t)
{
    struct lease *l = t->l;
    t->token = 0;
    c2_list_append(&l->held, &t->link);
    if (l->state == LEASE_LOST)
        end_later(t, C2_E_CONFLICT);
    else if (t->canceled)
        end_later(t, C2_E_CANCELED);
    else if (t->outer->deadline_ns != C2_NEVER)
        c2_timer_arm(l->c.env, &t->deadline, t->outer->deadline_ns);
}

static void txn_done(struct coord_req *r);

static void
fly(struct lease_txn *t)
{
    struct lease *l = t->l;
    const struct coord_req *r = t->outer;
    for (size_t i = 0; i < r->nconds; i++) {
        t->conds[i] = r->conds[i];
        if (is_fence(l, &r->conds[i]))
            t->conds[i].number = r->conds[i].kind == COORD_SESSION_ALIVE ? l->session : l->token;
    }
    t->token = l->token;
    t->inner = (struct coord_req){ .verb = r->verb,
                                   .conds = t->conds,
                                   .nconds = r->nconds,
                                   .ops = r->ops,
                                   .nops = r->nops,
                                   .deadline_ns = r->deadline_ns,
                                   .done = txn_done };
    c2_list_append(&l->flying, &t->link);
    coord_submit(l->c.coord, &t->inner);
}

static void
pass_on(struct lease_txn *t)
{
    struct coord_req *r = t->outer;
    const struct coord_req *in = &t->inner;
    r->err = in->err;
    r->version = in->version;
    r->cond_failed = in->cond_failed;
    r->entries = in->entries;
    r->nentries = in->nentries;
    r->more = in->more;
    r->reply = in->reply;
    end_txn(t);
}

static void
doubt(struct lease *l)
{
    C2_MARK("lease: a transaction was fenced");
    C2_ASSERT(l->state == LEASE_HELD);
    c2_timer_stop(l->c.env, &l->timer);
    l->state = LEASE_CHECK;
    l->stale = l->asking;
    if (!l->asking)
        ask(l);
}

static void
txn_done(struct coord_req *r)
{
    struct lease_txn *t = C2_CONTAINER_OF(r, struct lease_txn, inner);
    struct lease *l = t->l;
    bool fenced = r->err == C2_E_CONFLICT && r->cond_failed < t->outer->nconds &&
                  is_fence(l, &t->outer->conds[r->cond_failed]);
    if (!fenced || l->state == LEASE_LOST) {
        pass_on(t);
        return;
    }
    bool old = t->token != l->token;
    coord_req_done(r);
    c2_list_remove(&l->flying, &t->link);
    if (l->state == LEASE_HELD && !old)
        doubt(l);
    if (l->state == LEASE_HELD && !t->canceled)
        fly(t);
    else
        hold(t);
}

static void
lease_submit(struct coord *base, struct coord_req *r)
{
    struct lease *l = lease_of(base);
    size_t fence = 0;
    C2_ASSERT(l->ended == NULL);
    while (fence < r->nconds && !is_fence(l, &r->conds[fence]))
        fence++;
    if (r->verb != COORD_TXN || fence == r->nconds) {
        coord_submit(l->c.coord, r);
        return;
    }
    struct lease_txn *t = c2_calloc(1, sizeof *t);
    t->l = l;
    t->outer = r;
    t->fence = fence;
    t->conds = c2_calloc(r->nconds, sizeof *t->conds);
    t->deadline.fire = deadline_fired;
    if (l->state == LEASE_HELD)
        fly(t);
    else
        hold(t);
}

static void
lease_cancel(struct coord *base, struct coord_req *r)
{
    struct lease *l = lease_of(base);
    C2_LIST_FOREACH (&l->held, struct lease_txn, t, link) {
        if (t->outer == r) {
            end_later(t, C2_E_CANCELED);
            return;
        }
    }
    C2_LIST_FOREACH (&l->flying, struct lease_txn, t, link) {
        if (t->outer == r) {
            t->canceled = true;
            coord_cancel(l->c.coord, &t->inner);
            return;
        }
    }
    coord_cancel(l->c.coord, r);
}

static void
lease_watch(struct coord *base, struct coord_watch *w)
{
    coord_watch(lease_of(base)->c.coord, w);
}

static void
lease_unwatch(struct coord *base, struct coord_watch *w)
{
    coord_unwatch(lease_of(base)->c.coord, w);
}

static void
lease_close(struct coord *base)
{
    (void)base;
    C2_UNREACHABLE(); /* it is the volume's, see lease_stop */
}

static const struct coord_ops lease_ops = {
    .submit = lease_submit,
    .cancel = lease_cancel,
    .watch = lease_watch,
    .unwatch = lease_unwatch,
    .close = lease_close,
};

/* ---- keeping it ------------------------------------------------------------------------------ */

static void
again_after(struct lease *l, uint64_t ns)
{
    c2_timer_arm(l->c.env, &l->timer, c2_now_ns(l->c.env) + ns);
}

static void
lose(struct lease *l, bool taken)
{
    l->state = LEASE_LOST;
    if (taken)
        c2_log(ERROR, "volume",
               "volume=%s another mount has taken the volume over while this one was cut off: "
               "nothing can be written; unmount, and mount again",
               l->c.name);
    else
        c2_log(ERROR, "volume", "volume=%s the lock was taken away: nothing can be written",
               l->c.name);
    C2_LIST_FOREACH (&l->held, struct lease_txn, t, link) {
        end_later(t, C2_E_CONFLICT);
    }
    if (l->c.lost != NULL)
        l->c.lost(l->c.arg, taken);
}

static void
held_again(struct lease *l, uint64_t token)
{
    C2_MARK("lease: taken again");
    l->session = l->opened;
    l->token = token;
    l->opened = 0;
    l->renewals++;
    l->state = LEASE_HELD;
    c2_log(WARN, "volume", "volume=%s the session was over, nobody else had the volume: going on",
           l->c.name);
    again_after(l, l->c.ttl_ns / 3);
    size_t n = l->held.count; /* those that end stay where they are */
    while (n-- > 0) {
        struct lease_txn *t = C2_LIST_FIRST(&l->held, struct lease_txn, link);
        c2_list_remove(&l->held, &t->link);
        if (t->ending) {
            c2_list_append(&l->held, &t->link);
            continue;
        }
        c2_timer_stop(l->c.env, &t->deadline);
        fly(t);
    }
}

/* A condition of TAKE has failed: the lock is somebody's, or has been. */
static void
refused(struct lease *l, const struct coord_req *r)
{
    bool locked = r->cond_failed == 0, owner = r->nentries < 2;
    if (locked && owner && r->nentries == 1 && r->entries[0].session == l->opened) {
        C2_MARK("lease: it had been taken already");
        held_again(l, r->entries[0].version);
    } else {
        lose(l, true);
    }
}

static void
go_to(struct lease *l, enum lease_state state)
{
    l->state = state;
    ask(l);
}

static void
keepalive_answered(struct lease *l, enum c2_err err)
{
    if (err == C2_E_SESSION) {
        go_to(l, LEASE_OPEN);
    } else if (l->state == LEASE_CHECK) {
        lose(l, false);
    } else {
        again_after(l, l->c.ttl_ns / 3);
    }
}

/* True: it is no answer, the same is asked again. */
static bool
no_answer(struct lease *l, enum c2_err err)
{
    bool answer = err == C2_E_OK || err == C2_E_SESSION || err == C2_E_CONFLICT;
    if (answer && l->silent)
        c2_log(INFO, "volume", "volume=%s the metadata service answers again", l->c.name);
    if (!answer && !l->silent)
        c2_log(WARN, "volume",
               "volume=%s err=%s the metadata service does not answer: changes wait in the "
               "journal, trying again",
               l->c.name, c2_err_name(err));
    l->silent = !answer;
    return !answer;
}

static void
answered(struct coord_req *r)
{
    struct lease *l = C2_CONTAINER_OF(r, struct lease, req);
    bool stale = l->stale;
    l->asking = l->stale = false;
    if (l->ended != NULL) {
        coord_req_done(r);
        c2_defer(l->c.env, &l->end_task);
        return;
    }
    if (no_answer(l, r->err)) {
        again_after(l, C2_MIN(l->c.ttl_ns / 4, RETRY_NS_MAX));
    } else if (stale) {
        ask(l);
    } else if (l->state == LEASE_HELD || l->state == LEASE_CHECK) {
        keepalive_answered(l, r->err);
    } else if (l->state == LEASE_OPEN && r->err == C2_E_OK) {
        l->opened = r->session;
        go_to(l, LEASE_TAKE);
    } else if (l->state == LEASE_TAKE && r->err == C2_E_OK) {
        held_again(l, r->version);
    } else if (l->state == LEASE_TAKE && r->err == C2_E_CONFLICT) {
        refused(l, r);
    } else { /* the new session is over already */
        go_to(l, LEASE_OPEN);
    }
    if (!l->asking)
        coord_req_done(r);
}

static void
prepare_take(struct lease *l)
{
    l->conds[0] = (struct coord_cond){ .kind = COORD_ABSENT, .key = ck_slice(&l->c.lock_key) };
    l->conds[1] = (struct coord_cond){ .kind = COORD_VALUE_EQ,
                                       .key = ck_slice(&l->c.owner_key),
                                       .value = c2_slice(l->c.owner, sizeof l->c.owner) };
    l->op = (struct coord_op){ .kind = COORD_PUT_EPHEMERAL,
                               .key = ck_slice(&l->c.lock_key),
                               .value = c2_buf_slice(&l->lock_value),
                               .number = (int64_t)l->opened };
    l->req = (struct coord_req){
        .verb = COORD_TXN, .conds = l->conds, .nconds = 2, .ops = &l->op, .nops = 1
    };
}

/* What the state is about. */
static void
ask(struct lease *l)
{
    C2_ASSERT(!l->asking && l->state != LEASE_LOST);
    coord_req_done(&l->req);
    if (l->state == LEASE_OPEN)
        l->req = (struct coord_req){ .verb = COORD_SESSION_OPEN, .ttl_ns = l->c.ttl_ns };
    else if (l->state == LEASE_TAKE)
        prepare_take(l);
    else
        l->req = (struct coord_req){ .verb = COORD_SESSION_KEEPALIVE, .session = l->session };
    l->req.deadline_ns = c2_now_ns(l->c.env) + C2_MAX(l->c.ttl_ns / 3, RETRY_NS_MAX);
    l->req.done = answered;
    l->asking = true;
    coord_submit(l->c.coord, &l->req);
}

static void
timer_fired(struct c2_timer *t)
{
    ask(C2_CONTAINER_OF(t, struct lease, timer));
}

/* ---- life ------------------------------------------------------------------------------------ */

static void
end_now(struct c2_task *t)
{
    struct lease *l = C2_CONTAINER_OF(t, struct lease, end_task);
    bool have = l->state == LEASE_HELD || l->state == LEASE_CHECK;
    l->ended(l->ended_arg, have ? l->session : 0);
}

struct lease *
lease_new(const struct lease_config *c)
{
    struct lease *l = c2_calloc(1, sizeof *l);
    C2_ASSERT(c->session != 0 && c->token != 0 && c->ttl_ns > 0);
    l->base.ops = &lease_ops;
    l->base.env = c->env;
    l->c = *c;
    l->c.lock_value = c2_slice(NULL, 0);
    c2_buf_append(&l->lock_value, c->lock_value.data, c->lock_value.len);
    l->session = c->session;
    l->token = c->token;
    l->timer.fire = timer_fired;
    l->end_task.run = end_now;
    c2_list_init(&l->held);
    c2_list_init(&l->flying);
    again_after(l, c->ttl_ns / 3);
    return l;
}

void
lease_stop(struct lease *l, void (*ended)(void *arg, uint64_t session), void *arg)
{
    C2_ASSERT(l->ended == NULL);
    C2_ASSERT(c2_list_empty(&l->held) && c2_list_empty(&l->flying));
    c2_timer_stop(l->c.env, &l->timer);
    l->ended = ended;
    l->ended_arg = arg;
    if (l->asking)
        coord_cancel(l->c.coord, &l->req);
    else
        c2_defer(l->c.env, &l->end_task);
}

void
lease_free(struct lease *l)
{
    if (l == NULL)
        return;
    c2_buf_done(&l->lock_value);
    c2_free(l);
}

struct coord *
lease_coord(struct lease *l)
{
    return &l->base;
}

bool
lease_is_held(const struct lease *l)
{
    return l->state == LEASE_HELD;
}

uint64_t
lease_renewals(const struct lease *l)
{
    return l->renewals;
}
