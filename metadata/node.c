/* SPDX-License-Identifier: MIT */
/*
 * Drives the protocol: every event becomes a step, the step's actions are carried out at once.
 *
 *   store open ─► log opened (records) ─► first-start removed ─► START ─► events …
 *
 * Jobs run on the pool one after the other, in order, while the loop goes on; short ones that wait
 * go there together, because waking each other costs both threads more than a read, and so do some
 * parts of a state, so that neither thread waits for the other while it has something to do. The
 * log tells what is durable; the core itself holds back what must not leave before that.
 */
#include "metadata/node.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "metadata/node_int.h"
#include "metadata/registry.h"

void
node_fail(struct node *n, enum c2_err err, const char *why)
{
    if (n->failed)
        return;
    n->failed = true;
    c2_timer_stop(n->env, &n->tick);
    node_patrol_stop(n);
    c2_log(ERROR, "node", "err=%s: %s", c2_err_name(err), why);
    if (!n->closing)
        n->o.failed(n->o.arg, err, why);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

/* What somebody else asks for is of no importance to us; but parts of a state that could not be
 * stored are lost, and nobody would ask for them again. (Wrong ones are no error of the job.) */
static bool
has_failed(const struct bft_job *job)
{
    return job->err == C2_E_DAMAGED || (job->err != C2_E_OK && job->kind != BFT_JOB_SERVE);
}

/* Nothing runs after a job that has failed. */
static void
job_run(struct c2_work *w)
{
    struct node *n = C2_CONTAINER_OF(w, struct node, work);
    C2_LIST_FOREACH (&n->running, struct bft_job, job, link) {
        bft_exec_run(n->exec, job);
        if (has_failed(job))
            return;
    }
}

/* How many jobs like this one the pool gets at once. One that may take long goes alone, so that
 * nobody waits for an answer that is there; parts of a state are many, and wait for each other
 * only.
 */
static unsigned
count_together(const struct bft_job *job)
{
    switch (job->kind) {
    case BFT_JOB_EXECUTE:
    case BFT_JOB_QUERY:
        return NODE_JOBS_MAX;
    case BFT_JOB_SERVE:
    case BFT_JOB_SYNC:
        return NODE_PARTS_MAX;
    case BFT_JOB_LOAD:
    case BFT_JOB_CHECKPOINT:
    case BFT_JOB_COMMIT:
        return 1;
    }
    C2_UNREACHABLE();
}

static bool
go_together(const struct bft_job *a, const struct bft_job *b)
{
    return a->kind == b->kind ||
           (count_together(a) == NODE_JOBS_MAX && count_together(b) == NODE_JOBS_MAX);
}

static void
next_job(struct node *n)
{
    if (!c2_list_empty(&n->running) || n->failed || c2_list_empty(&n->jobs))
        return;
    const struct bft_job *first = C2_LIST_FIRST(&n->jobs, struct bft_job, link);
    unsigned most = count_together(first);
    while (!c2_list_empty(&n->jobs) && n->running.count < most) {
        struct bft_job *job = C2_LIST_FIRST(&n->jobs, struct bft_job, link);
        if (!go_together(first, job))
            break;
        c2_list_remove(&n->jobs, &job->link);
        c2_list_append(&n->running, &job->link);
    }
    c2_work(n->env, &n->work);
}

/* Of a job that reads and writes our own tables only: what should be there is not. */
static bool
says_damage(enum c2_err err)
{
    return err == C2_E_DAMAGED || err == C2_E_CORRUPT || err == C2_E_NOT_FOUND || err == C2_E_PARSE;
}

/* Says how long a state took to come, and how much did: also of those that it turned away from. */
static void
note_fetch(struct node *n, const struct bft_job *job)
{
    uint64_t now_ns = c2_now_ns(n->env);
    if (job->begin && !n->fetching) {
        n->fetching = true;
        n->fetch_since_ns = now_ns;
        n->fetch_bytes = 0;
    }
    n->fetch_bytes += job->in.len;
    if (!job->finished)
        return;
    n->fetching = false;
    c2_log(INFO, "node", "batch=%llu bytes=%llu ms=%llu: fetched a state",
           (unsigned long long)job->n, (unsigned long long)n->fetch_bytes,
           (unsigned long long)((now_ns - n->fetch_since_ns) / C2_NS_PER_MS));
}

static void
job_ended(struct node *n, struct bft_job *job)
{
    if (has_failed(job)) {
        enum c2_err err = job->err;
        bft_job_free(job);
        n->store_damaged = says_damage(err);
        node_fail(n, err, "the store has failed");
        return;
    }
    if ((job->kind == BFT_JOB_EXECUTE || job->kind == BFT_JOB_QUERY) && job->err == C2_E_OK)
        node_charge_work(n, job);
    if (job->kind == BFT_JOB_EXECUTE && job->err == C2_E_OK)
        node_tell(n, job);
    if (job->kind == BFT_JOB_SYNC)
        note_fetch(n, job);
    bool loaded = job->kind == BFT_JOB_LOAD;
    struct bft_event ev = { .kind = BFT_EV_JOB, .job = job };
    node_step(n, &ev);
    if (loaded && !n->failed)
        node_watches_lost(n);
}

static void
jobs_done(struct c2_work *w)
{
    struct node *n = C2_CONTAINER_OF(w, struct node, work);
    struct c2_list ended;
    bool closing = n->closing;
    c2_list_init(&ended);
    C2_LIST_FOREACH (&n->running, struct bft_job, job, link) {
        c2_list_remove(&n->running, &job->link);
        c2_list_append(&ended, &job->link);
    }
    C2_LIST_FOREACH (&ended, struct bft_job, job, link) {
        c2_list_remove(&ended, &job->link);
        if (n->closing || n->failed)
            bft_job_free(job);
        else
            job_ended(n, job);
    }
    if (closing)
        node_go_on_closing(n);
    else
        next_job(n);
}

/* ---- actions --------------------------------------------------------------------------------- */

static void
append(struct node *n, const struct bft_action *a)
{
    struct c2_slice parts[2] = { a->bytes };
    size_t nparts = 1;
    if (a->body != NULL)
        parts[nparts++] = c2_slice(a->body->data + a->body_at, a->body_len);
    uint64_t lsn = a->later ? wal_append_later(n->wal, a->type, parts, nparts)
                            : wal_append(n->wal, a->type, parts, nparts);
    C2_ASSERT(lsn == a->lsn);
}

static void
sound_alarm(struct node *n, enum bft_alarm alarm, const char *text)
{
    n->alarms++;
    snprintf(n->alarm, sizeof n->alarm, "%s", text);
    c2_log(ERROR, "node", "alarm=%d epoch=%u: %s", (int)alarm, bft_current_config(n->core)->epoch,
           text);
    if (alarm == BFT_ALARM_HALT)
        node_fail(n, C2_E_CORRUPT, text);
}

static void
use_config(struct node *n, const struct bft_config *config)
{
    node_connect(n, config);
    if (n->started && n->o.configured != NULL)
        n->o.configured(n->o.arg, config);
}

static void
carry_out(struct node *n, const struct bft_action *a)
{
    switch (a->kind) {
    case BFT_ACT_SEND:
        node_send(n, a->seats, a->msg);
        break;
    case BFT_ACT_REPLY:
        node_reply(n, a, a->msg);
        break;
    case BFT_ACT_APPEND:
        append(n, a);
        break;
    case BFT_ACT_TRIM:
        wal_trim(n->wal, a->lsn);
        break;
    case BFT_ACT_JOB:
        c2_list_append(&n->jobs, &a->job->link);
        break;
    case BFT_ACT_CONFIG:
        use_config(n, a->config);
        break;
    case BFT_ACT_ALARM:
        sound_alarm(n, a->alarm, a->text);
        break;
    }
}

static void
arm_tick(struct node *n)
{
    uint64_t at_ns = bft_deadline_ns(n->core);
    if (at_ns == C2_NEVER)
        c2_timer_stop(n->env, &n->tick);
    else
        c2_timer_arm(n->env, &n->tick, at_ns);
}

void
node_step(struct node *n, struct bft_event *ev)
{
    struct bft_actions actions = { 0 };
    ev->now_ns = c2_now_ns(n->env);
    ev->wall_ns = c2_wall_ns(n->env);
    bft_step(n->core, ev, &actions);
    for (size_t i = 0; i < actions.count && !n->failed; i++)
        carry_out(n, &actions.action[i]);
    if (n->failed || ev->kind == BFT_EV_RECORD)
        return;
    node_look_at_clock(n);
    arm_tick(n);
    next_job(n);
}

static void
tick_fired(struct c2_timer *t)
{
    struct node *n = C2_CONTAINER_OF(t, struct node, tick);
    struct bft_event ev = { .kind = BFT_EV_TICK };
    node_step(n, &ev);
}

/* ---- the log --------------------------------------------------------------------------------- */

static void
log_record(void *arg, uint64_t lsn, unsigned type, struct c2_slice body)
{
    struct node *n = arg;
    if (n->failed)
        return;
    struct bft_event ev = { .kind = BFT_EV_RECORD, .lsn = lsn, .type = type, .bytes = body };
    node_step(n, &ev);
}

/* What waits for it when the replica ends would only wake what has been stopped. */
static void
log_synced(void *arg, uint64_t lsn)
{
    struct node *n = arg;
    if (n->failed || n->closing)
        return;
    struct bft_event ev = { .kind = BFT_EV_DURABLE, .lsn = lsn };
    node_step(n, &ev);
}

static void
log_failed(void *arg, enum c2_err err)
{
    node_fail(arg, err,
              err == C2_E_NO_SPACE ? "the log has no space"
                                   : "the log cannot be written; what is on the disk is unknown");
}

static void
ask_disk(struct node *n, enum c2_disk_verb verb, const char *path)
{
    n->req_busy = true;
    n->req.verb = verb;
    n->req.path = path;
    c2_disk(n->env, &n->req);
}

static void
start(struct node *n)
{
    struct bft_event ev = { .kind = BFT_EV_START, .lsn = n->last_lsn };
    ev.health = n->log_damaged ? BFT_WAL_DAMAGED : BFT_WAL_GOOD;
    n->started = true;
    c2_defer(n->env, &n->resume);
    use_config(n, bft_current_config(n->core));
    node_step(n, &ev);
    if (n->failed)
        return;
    node_patrol_start(n);
    n->o.started(n->o.arg);
}

static void
marker_done(struct c2_disk_req *r)
{
    struct node *n = C2_CONTAINER_OF(r, struct node, req);
    n->req_busy = false;
    if (n->closing) {
        node_go_on_closing(n);
        return;
    }
    if (r->verb == C2_DISK_UNLINK && (r->err == C2_E_OK || r->err == C2_E_NOT_FOUND)) {
        ask_disk(n, C2_DISK_SYNC_DIR, n->o.data);
    } else if (r->err != C2_E_OK) {
        node_fail(n, r->err, "cannot remove the file \"" NODE_FIRST_START "\" durably");
    } else {
        start(n);
    }
}

static void
log_opened(void *arg, enum c2_err err, const struct wal_report *report)
{
    struct node *n = arg;
    if (n->failed)
        return;
    if (err != C2_E_OK) {
        node_fail(n, err,
                  err == C2_E_IO
                      ? "the log cannot be read; if it stays so, start this replica with "
                        "an empty data folder: it gets the state from the others"
                      : "the log cannot be opened");
        return;
    }
    n->log_damaged = report->damaged;
    n->last_lsn = report->last_lsn;
    if (report->damaged)
        c2_log(ERROR, "node", "the log is damaged: %s", report->damage);
    n->req.done = marker_done;
    ask_disk(n, C2_DISK_UNLINK, n->marker_path);
}

static void
open_log(struct node *n)
{
    const struct wal_options w = {
        .path = n->wal_path,
        .segment_size = n->o.segment_size,
        .fresh = n->fresh,
        .replay = log_record,
        .opened = log_opened,
        .synced = log_synced,
        .failed = log_failed,
        .arg = n,
    };
    n->wal = wal_open(n->env, &w);
}

static void
marker_looked_for(struct c2_disk_req *r)
{
    struct node *n = C2_CONTAINER_OF(r, struct node, req);
    n->req_busy = false;
    n->fresh = r->err == C2_E_OK;
    if (n->closing)
        node_go_on_closing(n);
    else if (r->err != C2_E_OK && r->err != C2_E_NOT_FOUND)
        node_fail(n, r->err, "the data folder cannot be read");
    else
        open_log(n);
}

/* ---- opening and closing --------------------------------------------------------------------- */

/* What is missing or cannot be read is made anew: the others have the state, the log says how much
 * of it this replica must have. */
static C2_RESULT
open_store(struct node *n, const char *path, struct replica_app **ret_app, char **ret_error)
{
    struct store_options so = { .map_size = n->o.map_size, .replicated = true };
    enum c2_err err = store_open(path, &so, ret_app, ret_error);
    if (err == C2_E_IO) {
        C2_AUTO(c2_free_auto) char *error = *ret_error;
        *ret_error =
            c2_asprintf("%s; if it stays so, remove %s: the others have the state", error, path);
    }
    if (err != C2_E_NOT_FOUND)
        return err;
    c2_free(*ret_error);
    *ret_error = NULL;
    so.create = true;
    return store_open(path, &so, ret_app, ret_error);
}

C2_RESULT
node_open(struct c2_env *env, const struct node_options *o, struct node **ret_node,
          char **ret_error)
{
    const char *why = NULL;
    struct node *n = c2_calloc(1, sizeof *n);
    n->env = env;
    n->o = *o;
    n->id = o->setup->id;
    n->crypto = o->setup->crypto;
    n->o.setup = NULL;
    n->o.listen = NULL;
    if (n->o.map_size == 0)
        n->o.map_size = COORD_MAP_SIZE_DEFAULT;
    if (n->o.clients_max == 0)
        n->o.clients_max = NODE_CLIENTS_DEFAULT;
    c2_list_init(&n->jobs);
    c2_list_init(&n->running);
    c2_list_init(&n->conn_list);
    c2_list_init(&n->debtors);
    c2_list_init(&n->resting);
    c2_map_init(&n->conns, o->setup->seed);
    c2_map_init(&n->keys, o->setup->seed ^ 1);
    n->work.run = job_run;
    n->work.done = jobs_done;
    n->tick.fire = tick_fired;

    C2_AUTO(c2_free_auto) char *store_path = c2_asprintf("%s/store", o->data);
    struct replica_app *app = NULL;
    char *error = NULL;
    enum c2_err err = bft_new(o->setup, &n->core, &why);
    if (err != C2_E_OK) {
        error = c2_asprintf("the configuration makes no sense: %s", why);
    } else {
        err = open_store(n, store_path, &app, &error);
    }
    if (err == C2_E_OK) {
        n->app = app;
        n->exec = bft_exec_new(app);
        err = node_listen(n, o->listen);
        if (err == C2_E_EXISTS)
            error = c2_asprintf("cannot listen at %s: another program does", o->listen);
        else if (err != C2_E_OK)
            error = c2_asprintf("cannot listen at %s: %s; when this machine is reached by an "
                                "address that is not its own, set listen = 0.0.0.0:PORT",
                                o->listen, c2_err_text(err));
    }
    if (err != C2_E_OK) {
        *ret_error = error;
        bft_exec_free(n->exec);
        bft_free(n->core);
        c2_map_done(&n->conns);
        c2_map_done(&n->keys);
        c2_free(n);
        return err;
    }
    n->wal_path = c2_asprintf("%s/wal", o->data);
    n->marker_path = c2_asprintf("%s/" NODE_FIRST_START, o->data);
    n->req.done = marker_looked_for;
    ask_disk(n, C2_DISK_STAT, n->marker_path);
    *ret_node = n;
    return C2_E_OK;
}

bool
node_store_is_damaged(const struct node *n)
{
    return n->store_damaged;
}

static void
exec_ended(struct c2_work *w)
{
    struct node *n = C2_CONTAINER_OF(w, struct node, work);
    void (*closed)(void *arg) = n->closed;
    void *arg = n->closed_arg;
    C2_LIST_FOREACH (&n->jobs, struct bft_job, j, link) {
        c2_list_remove(&n->jobs, &j->link);
        bft_job_free(j);
    }
    bft_free(n->core);
    c2_map_done(&n->conns);
    c2_map_done(&n->keys);
    rights_done(&n->rights);
    c2_free(n->wal_path);
    c2_free(n->marker_path);
    c2_free(n);
    closed(arg);
}

/* Its transaction belongs to the thread that began it. */
static void
end_exec(struct c2_work *w)
{
    struct node *n = C2_CONTAINER_OF(w, struct node, work);
    bft_exec_free(n->exec);
}

static void
wal_is_closed(void *arg)
{
    struct node *n = arg;
    n->wal = NULL;
    node_go_on_closing(n);
}

void
node_go_on_closing(struct node *n)
{
    if (!c2_list_empty(&n->running) || n->patrol.running)
        return;
    if (n->wal != NULL) {
        if (!n->wal_closed) {
            n->wal_closed = true;
            wal_close(n->wal, wal_is_closed, n);
        }
        return;
    }
    n->work.run = end_exec;
    n->work.done = exec_ended;
    c2_work(n->env, &n->work);
}

void
node_close(struct node *n, void (*done)(void *arg), void *arg)
{
    C2_ASSERT(!n->closing);
    n->closing = true;
    n->closed = done;
    n->closed_arg = arg;
    c2_timer_stop(n->env, &n->tick);
    node_patrol_stop(n);
    node_disconnect(n);
    if (!n->req_busy)
        node_go_on_closing(n);
}
