/* SPDX-License-Identifier: MIT */
/*
 * The coordination service on one store: the queue, the group in work, reads, time.
 *
 * Changes wait in a queue. A task takes those that came in one turn of the loop as a group
 * (local_group.h), which the pool applies with one durable commit. Then the watchers hear of the
 * changes, then the requests complete, in order. There is one group at a time.
 *
 *            submit                    form                    applied
 *   request ───────► queue ──────────────────────► group ─────────────────► done
 *                      ▲                             │ AGAIN: grow the map, apply again
 *                      └── LOG_TRIM not finished ────┤ NO_SPACE: the group fails, nothing happened
 *                                                    └ else: the store has stopped
 *
 * Reads are answered on the loop from the last commit, which has all that completed before.
 *
 * The store's clock is max(its own time, wall clock at opening) and goes on with the monotonic
 * clock, so that it never goes back and sessions also end while nobody has the store open. When
 * the next session is due, a timer puts an EXPIRE command into the next group.
 *
 * Nothing is touched after a completion that may have been the last one: its callback may close.
 */
#include "metadata/local.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/wire.h"
#include "metadata/cmd.h"
#include "metadata/local_group.h"
#include "metadata/registry.h"
#include "metadata/replica.h"
#include "metadata/store.h"
#include "metadata/watch.h"

#define RETRY_NS (50 * C2_NS_PER_MS)

struct local {
    struct coord base;
    struct replica_app *app; /* owned */
    struct c2_list queue;    /* of coord_req.link */
    struct watch_list watches;
    struct c2_task kick;
    struct c2_timer expiry;  /* the next session ends */
    struct c2_timer timeout; /* the next queued request gives up */
    struct c2_timer retry;   /* the map could not grow yet */
    struct local_group group;
    unsigned reads; /* that are to be done */
    bool kicked;    /* the task is on its way */
    bool running;   /* the group is on the pool, or waits for the map to grow */
    bool expire_due;
    bool closing;
    bool rebuilt;       /* a load or replay has changed sessions and clock */
    enum c2_err failed; /* the store has stopped */
    uint64_t clock_base_ns;
    uint64_t mono_base_ns;
    uint64_t commits;
};

static const struct coord_ops local_ops;

static struct local *
local_of(struct coord *c)
{
    C2_ASSERT(c->ops == &local_ops);
    return C2_CONTAINER_OF(c, struct local, base);
}

static uint64_t
clock_ns(const struct local *l)
{
    return l->clock_base_ns + (c2_now_ns(l->base.env) - l->mono_base_ns);
}

/* Arms the timer for a time on the store's clock. */
static void
arm_expiry(struct local *l, uint64_t deadline_ns)
{
    if (deadline_ns == C2_NEVER) {
        c2_timer_stop(l->base.env, &l->expiry);
        return;
    }
    uint64_t now_ns = clock_ns(l);
    uint64_t wait_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 1; /* another time */
    c2_timer_arm(l->base.env, &l->expiry, c2_now_ns(l->base.env) + wait_ns);
}

static C2_RESULT
sync_clock(struct local *l, uint64_t at_least_ns)
{
    uint64_t now_ns = 0;
    uint64_t deadline_ns = 0;
    C2_TRY(l->app->ops->clock(l->app, &now_ns, &deadline_ns));
    l->clock_base_ns = C2_MAX(now_ns, at_least_ns);
    l->mono_base_ns = c2_now_ns(l->base.env);
    arm_expiry(l, deadline_ns);
    return C2_E_OK;
}

static void
fail_for_good(struct local *l, enum c2_err err)
{
    l->failed = err == C2_E_DAMAGED ? C2_E_DAMAGED : C2_E_IO;
    c2_log(ERROR, "metadata", "store=stopped err=%s; every request fails until it is opened again",
           c2_err_name(err));
    c2_timer_stop(l->base.env, &l->expiry);
}

/* --- groups ---------------------------------------------------------------------------------- */

static void
kick(struct local *l)
{
    if (l->running || l->kicked)
        return;
    l->kicked = true;
    c2_defer(l->base.env, &l->kick);
}

static void
free_local(struct local *l)
{
    c2_timer_stop(l->base.env, &l->expiry);
    c2_timer_stop(l->base.env, &l->timeout);
    c2_timer_stop(l->base.env, &l->retry);
    local_group_done(&l->group);
    l->app->ops->close(l->app);
    c2_free(l);
}

static void
kick_task(struct c2_task *t)
{
    struct local *l = C2_CONTAINER_OF(t, struct local, kick);
    l->kicked = false;
    if (l->closing) {
        free_local(l);
        return;
    }
    if (l->running || l->failed != C2_E_OK || (c2_list_empty(&l->queue) && !l->expire_due))
        return;
    l->running = true;
    local_group_form(&l->group, &l->queue, clock_ns(l), l->expire_due);
    l->expire_due = false;
    c2_work(l->base.env, &l->group.work);
}

/* The last thing to do: any done may close the service. */
static void
complete_all(struct c2_list *finished)
{
    while (!c2_list_empty(finished)) {
        struct coord_req *r = C2_LIST_FIRST(finished, struct coord_req, link);
        c2_list_remove(finished, &r->link);
        r->done(r);
    }
}

static void
group_failed(struct local *l, enum c2_err err)
{
    if (err != C2_E_NO_SPACE && err != C2_E_UNAVAILABLE) {
        fail_for_good(l, err);
        return;
    }
    c2_log(WARN, "metadata", "err=%s requests=%zu; they fail, nothing was changed",
           c2_err_name(err), l->group.reqs.count);
    if (l->group.expire)
        c2_timer_arm(l->base.env, &l->expiry, c2_now_ns(l->base.env) + C2_NS_PER_S);
}

static void
group_done(struct c2_work *w)
{
    struct local *l = C2_CONTAINER_OF(w, struct local, group.work);
    struct local_group *g = &l->group;
    struct c2_list finished;
    c2_list_init(&finished);
    if (g->err == C2_E_AGAIN) {
        g->err = l->app->ops->grow(l->app);
        if (g->err == C2_E_OK) {
            c2_work(l->base.env, &g->work);
            return;
        }
        if (g->err == C2_E_BUSY) { /* a dump is running */
            c2_timer_arm(l->base.env, &l->retry, c2_now_ns(l->base.env) + RETRY_NS);
            return;
        }
    }
    if (g->err == C2_E_OK) {
        l->commits += g->durable;
        arm_expiry(l, g->deadline_ns);
        watch_list_deliver(&l->watches, c2_buf_slice(&g->events), g->events_lost);
    } else {
        group_failed(l, g->err);
    }
    enum c2_err err = g->err != C2_E_OK && l->failed != C2_E_OK ? l->failed : g->err;
    local_group_settle(g, err, &l->queue, &finished);
    l->running = false;
    if (l->failed != C2_E_OK) {
        C2_LIST_FOREACH (&l->queue, struct coord_req, r, link) {
            c2_list_remove(&l->queue, &r->link);
            r->err = l->failed;
            c2_list_append(&finished, &r->link);
        }
    }
    if (l->closing) {
        C2_MARK("metadata: closed after a group");
        C2_ASSERT(c2_list_empty(&finished));
        free_local(l);
        return;
    }
    if (!c2_list_empty(&l->queue) || l->expire_due)
        kick(l);
    complete_all(&finished);
}

static void
retry_fired(struct c2_timer *t)
{
    struct local *l = C2_CONTAINER_OF(t, struct local, retry);
    l->group.err = C2_E_AGAIN;
    group_done(&l->group.work);
}

static void
expiry_fired(struct c2_timer *t)
{
    struct local *l = C2_CONTAINER_OF(t, struct local, expiry);
    C2_MARK("metadata: expiry due");
    l->expire_due = true;
    kick(l);
}

/* --- requests -------------------------------------------------------------------------------- */

static void
complete_task(struct c2_task *t)
{
    struct coord_req *r = C2_CONTAINER_OF(t, struct coord_req, task);
    r->done(r);
}

static void
complete_later(struct local *l, struct coord_req *r, enum c2_err err)
{
    r->err = err;
    r->priv = NULL;
    r->task.run = complete_task;
    c2_defer(l->base.env, &r->task);
}

static void
read_task(struct c2_task *t)
{
    struct coord_req *r = C2_CONTAINER_OF(t, struct coord_req, task);
    struct local *l = r->priv;
    l->reads--;
    struct c2_buf cmd = { 0 };
    struct c2_buf reply = { 0 };
    coord_txn_encode(r, &cmd);
    enum c2_err err = l->failed;
    if (err == C2_E_OK)
        err = l->app->ops->query(l->app, NULL, c2_buf_slice(&cmd), &reply);
    if (err == C2_E_OK) {
        cmd_reply_take(r, &reply);
    } else {
        r->err = err;
        c2_buf_done(&reply);
    }
    c2_buf_done(&cmd);
    r->priv = NULL;
    r->done(r);
}

static void
timeout_fired(struct c2_timer *t)
{
    struct local *l = C2_CONTAINER_OF(t, struct local, timeout);
    struct c2_list finished;
    c2_list_init(&finished);
    uint64_t now_ns = c2_now_ns(l->base.env);
    uint64_t next_ns = C2_NEVER;
    C2_LIST_FOREACH (&l->queue, struct coord_req, r, link) {
        if (r->deadline_ns > now_ns) {
            next_ns = C2_MIN(next_ns, r->deadline_ns);
            continue;
        }
        c2_list_remove(&l->queue, &r->link);
        r->err = C2_E_TIMEOUT;
        c2_list_append(&finished, &r->link);
    }
    if (next_ns != C2_NEVER)
        c2_timer_arm(l->base.env, &l->timeout, next_ns);
    complete_all(&finished);
}

static void
local_submit(struct coord *c, struct coord_req *r)
{
    struct local *l = local_of(c);
    C2_ASSERT(!l->closing);
    if (l->rebuilt && l->failed == C2_E_OK) {
        l->rebuilt = false;
        enum c2_err err = sync_clock(l, clock_ns(l));
        if (err != C2_E_OK)
            fail_for_good(l, err);
    }
    if (l->failed != C2_E_OK) {
        complete_later(l, r, l->failed);
        return;
    }
    if (r->deadline_ns <= c2_now_ns(l->base.env)) {
        complete_later(l, r, C2_E_TIMEOUT);
        return;
    }
    if (r->verb == COORD_GET || r->verb == COORD_RANGE || r->verb == COORD_LOG_READ ||
        r->verb == COORD_ACL_LIST) {
        l->reads++;
        r->priv = l;
        r->task.run = read_task;
        c2_defer(l->base.env, &r->task);
        return;
    }
    c2_list_append(&l->queue, &r->link);
    if (r->deadline_ns != C2_NEVER &&
        (!c2_timer_armed(&l->timeout) || r->deadline_ns < l->timeout.deadline_ns))
        c2_timer_arm(l->base.env, &l->timeout, r->deadline_ns);
    kick(l);
}

static void
local_cancel(struct coord *c, struct coord_req *r)
{
    struct local *l = local_of(c);
    if (r->priv == &l->group)
        return; /* it is being applied: its own result comes */
    if (c2_link_linked(&r->link)) {
        c2_list_remove(&l->queue, &r->link);
        complete_later(l, r, C2_E_CANCELED);
    } else if (r->task.run == read_task && r->priv == l) {
        l->reads--;
        complete_later(l, r, C2_E_CANCELED);
    }
}

static void
local_watch(struct coord *c, struct coord_watch *w)
{
    watch_list_add(&local_of(c)->watches, w);
}

static void
local_unwatch(struct coord *c, struct coord_watch *w)
{
    watch_list_remove(&local_of(c)->watches, w);
}

static void
local_close(struct coord *c)
{
    struct local *l = local_of(c);
    C2_ASSERT(c2_list_empty(&l->queue) && c2_list_empty(&l->group.reqs) && l->reads == 0);
    watch_list_clear(&l->watches);
    if (l->running || l->kicked) { /* an expiry; the last step of its completion frees */
        l->closing = true;
        return;
    }
    free_local(l);
}

static const struct coord_ops local_ops = {
    .submit = local_submit,
    .cancel = local_cancel,
    .watch = local_watch,
    .unwatch = local_unwatch,
    .close = local_close,
};

/* --- opening, and what only a local store can do --------------------------------------------- */

C2_RESULT
coord_local_open(struct c2_env *env, const char *path, bool create, uint64_t map_size,
                 struct coord **ret_coord, char **ret_error)
{
    struct replica_app *app = NULL;
    const struct store_options o = { .map_size = map_size, .create = create, .keep_log = true };
    C2_TRY(store_open(path, &o, &app, ret_error));
    struct local *l = c2_calloc(1, sizeof *l);
    l->base.ops = &local_ops;
    l->base.env = env;
    l->app = app;
    l->kick.run = kick_task;
    l->expiry.fire = expiry_fired;
    l->timeout.fire = timeout_fired;
    l->retry.fire = retry_fired;
    local_group_init(&l->group, app, group_done);
    c2_list_init(&l->queue);
    watch_list_init(&l->watches);
    enum c2_err err = sync_clock(l, c2_wall_ns(env));
    if (err != C2_E_OK) {
        *ret_error =
            c2_asprintf("cannot read the metadata store in %s: %s", path, c2_err_text(err));
        free_local(l);
        return err;
    }
    *ret_coord = &l->base;
    return C2_E_OK;
}

void
coord_local_crash(struct coord *c)
{
    struct local *l = local_of(c);
    l->app->ops->close(l->app);
}

uint64_t
coord_local_commits(struct coord *c)
{
    return local_of(c)->commits;
}

/* Whether to do it again: the map was full and has grown. */
static bool
grown(struct local *l, enum c2_err *err)
{
    if (*err != C2_E_AGAIN)
        return false;
    *err = l->app->ops->grow(l->app);
    return *err == C2_E_OK;
}

C2_RESULT
coord_local_digest(struct coord *c, uint8_t out[32])
{
    struct local *l = local_of(c);
    uint64_t version = 0;
    enum c2_err err = C2_E_OK;
    do {
        err = l->app->ops->checkpoint(l->app, &version, out);
    } while (grown(l, &err));
    return err;
}

C2_RESULT
coord_local_replay_log(struct coord *c, struct c2_slice log)
{
    struct local *l = local_of(c);
    enum c2_err err = C2_E_OK;
    do {
        err = store_replay(l->app, log);
    } while (grown(l, &err));
    l->rebuilt = true;
    return err;
}

C2_RESULT
coord_local_replay(struct coord *c, uint64_t version, struct c2_slice txn)
{
    C2_AUTO(c2_buf_done) struct c2_buf log = { 0 };
    c2_wr_u64(&log, version);
    c2_wr_bytes(&log, txn);
    return coord_local_replay_log(c, c2_buf_slice(&log));
}

C2_RESULT
coord_local_dump(struct coord *c, enum c2_err (*fn)(void *arg, struct c2_slice chunk), void *arg,
                 uint64_t *ret_version)
{
    struct local *l = local_of(c);
    return l->app->ops->dump(l->app, fn, arg, ret_version);
}

C2_RESULT
coord_local_load(struct coord *c, struct c2_slice chunk)
{
    struct local *l = local_of(c);
    enum c2_err err = C2_E_OK;
    do {
        err = l->app->ops->restore(l->app, chunk);
    } while (grown(l, &err));
    l->rebuilt = true;
    return err;
}
