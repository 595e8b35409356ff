/* SPDX-License-Identifier: MIT */
/*
 * The jobs of a mount: kinds, requests about them, and what goes on after a restart.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "fs/job_impl.h"

/* ---- the slots ------------------------------------------------------------------------------- */

struct jobs *
jobs_new(const struct jobs_parts *parts)
{
    struct jobs *js = c2_calloc(1, sizeof(*js));
    js->part = *parts;
    return js;
}

static struct job_own *
find(const struct jobs *js, const char *kind)
{
    for (size_t k = 0; k < js->n; k++)
        if (strcmp(js->slots[k]->job.kind->name, kind) == 0)
            return js->slots[k];
    return NULL;
}

const struct job *
jobs_find(const struct jobs *js, const char *kind)
{
    const struct job_own *s = find(js, kind);
    return s == NULL || s->job.rec.state == JOB_NONE ? NULL : &s->job;
}

const struct job *
jobs_at(const struct jobs *js, size_t n)
{
    for (size_t k = 0; k < js->n; k++)
        if (js->slots[k]->job.rec.state != JOB_NONE && n-- == 0)
            return &js->slots[k]->job;
    return NULL;
}

static void
due(struct c2_timer *t)
{
    job_turn(C2_CONTAINER_OF(t, struct job_own, timer));
}

void
jobs_register(struct jobs *js, const struct job_kind *kind)
{
    C2_ASSERT(js->n < JOB_KINDS_MAX && !js->opened && find(js, kind->name) == NULL);
    C2_ASSERT(strlen(kind->name) <= JOB_NAME_MAX);
    struct job_own *s = c2_calloc(1, sizeof(*s));
    s->js = js;
    s->job.kind = kind;
    s->job.own = s;
    s->key = ck_job(kind->name);
    s->timer.fire = due;
    c2_list_init(&s->asks);
    js->slots[js->n++] = s;
}

/* ---- asks ------------------------------------------------------------------------------------ */

static void
ask_over(struct c2_task *t)
{
    struct job_ask *a = C2_CONTAINER_OF(t, struct job_ask, task);
    a->done(a);
}

/* Never from inside the call that asked. */
static void
answer(struct jobs *js, struct job_ask *a, enum c2_err err, char *error)
{
    a->err = err;
    a->error = error;
    a->task = (struct c2_task){ .run = ask_over };
    c2_defer(js->part.env, &a->task);
}

void
job_answer_all(struct job_own *s, enum c2_err err)
{
    while (!c2_list_empty(&s->asks)) {
        struct job_ask *a = C2_LIST_FIRST(&s->asks, struct job_ask, link);
        c2_list_remove(&s->asks, &a->link);
        answer(s->js, a, err, NULL);
    }
}

/* ---- what is asked for ----------------------------------------------------------------------- */

/* A wish is known: what waits need not wait any longer. */
static void
nudge(struct job_own *s)
{
    if (s->stepping) {
        if (s->job.kind->stop != NULL)
            s->job.kind->stop(&s->job);
    } else if (!s->saving) {
        c2_timer_stop(s->js->part.env, &s->timer);
        job_turn(s);
    }
}

static bool
is_busy(const struct job_own *s)
{
    enum job_state state = s->job.rec.state;
    return state == JOB_RUNNING || state == JOB_PAUSED || s->stepping || s->saving;
}

/* OK when a request may be made of this kind. */
static enum c2_err
may_ask(const struct jobs *js, const struct job_own *s, const char *kind, char **ret_error)
{
    if (s == NULL) {
        *ret_error = c2_asprintf("there is no job \"%s\"", kind);
        return C2_E_NOT_FOUND;
    }
    if (js->stopping || js->fenced || !js->opened) {
        *ret_error = c2_strdup("the mount is beginning or ending, or may not write any more");
        return C2_E_UNAVAILABLE;
    }
    return C2_E_OK;
}

static enum c2_err
start(struct job_own *s, const char *params, uint64_t rate_limit, char **ret_error)
{
    if (is_busy(s)) {
        *ret_error =
            c2_asprintf("a %s is %s already\nhint: c2fsctl job watch %s", s->job.kind->name,
                        job_state_name(s->job.rec.state), s->job.kind->name);
        return C2_E_BUSY;
    }
    if (strlen(params) > JOB_PARAMS_MAX)
        return C2_E_TOO_LARGE;
    struct job_record *rec = &s->job.rec, old = *rec;
    *rec = (struct job_record){ .rate_limit = rate_limit };
    rec->started_wall_ns = c2_wall_ns(s->js->part.env);
    c2_random(s->js->part.env, &rec->id, sizeof(rec->id));
    memcpy(rec->params, params, strlen(params));
    enum c2_err err = s->job.kind->check(&s->job, ret_error);
    if (err != C2_E_OK)
        *rec = old;
    return err;
}

void
jobs_start(struct jobs *js, const char *kind, const char *params, uint64_t rate_limit,
           struct job_ask *a)
{
    struct job_own *s = find(js, kind);
    char *error = NULL;
    enum c2_err err = may_ask(js, s, kind, &error);
    if (err == C2_E_OK)
        err = start(s, params, rate_limit, &error);
    if (err != C2_E_OK) {
        answer(js, a, err, error);
        return;
    }
    c2_log(INFO, "job", "kind=%s params=\"%s\" started", kind, params);
    c2_list_append(&s->asks, &a->link);
    job_enter(s, JOB_RUNNING);
    job_turn(s);
}

void
jobs_control(struct jobs *js, const char *kind, enum job_control what, struct job_ask *a)
{
    static const enum job_state wanted[] = {
        [JOB_PAUSE] = JOB_PAUSED, [JOB_RESUME] = JOB_RUNNING, [JOB_CANCEL] = JOB_CANCELED
    };
    struct job_own *s = find(js, kind);
    char *error = NULL;
    enum c2_err err = may_ask(js, s, kind, &error);
    if (err == C2_E_OK && (s->job.rec.state == JOB_NONE || job_is_over(s->job.rec.state))) {
        err = C2_E_NOT_FOUND;
        error = c2_asprintf("no %s is running", kind);
    }
    if (err != C2_E_OK) {
        answer(js, a, err, error);
        return;
    }
    c2_list_append(&s->asks, &a->link);
    s->want = wanted[what];
    nudge(s);
}

C2_RESULT
jobs_set_rate(struct jobs *js, const char *kind, uint64_t rate_limit)
{
    struct job_own *s = find(js, kind);
    if (s == NULL || s->job.rec.state == JOB_NONE || job_is_over(s->job.rec.state))
        return C2_E_NOT_FOUND;
    s->job.rec.rate_limit = rate_limit;
    s->allowed_ns = C2_MIN(s->allowed_ns, c2_now_ns(js->part.env));
    s->dirty = true;
    if (!s->stepping && c2_timer_armed(&s->timer))
        nudge(s);
    return C2_E_OK;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static void
take_record(struct jobs *js, const struct coord_entry *e)
{
    struct c2_buf plain = { 0 };
    for (size_t k = 0; k < js->n; k++) {
        struct job_own *s = js->slots[k];
        if (!c2_slice_equal(e->key, ck_slice(&s->key)))
            continue;
        enum c2_err err = keys_open(js->part.keys, e->key, e->value, &plain);
        if (err == C2_E_OK)
            err = job_record_decode(c2_buf_slice(&plain), &s->job.rec);
        if (err != C2_E_OK)
            c2_log(ERROR, "job", "kind=%s err=%s its record cannot be read, the job is forgotten",
                   s->job.kind->name, c2_err_name(err));
    }
    c2_buf_done(&plain);
}

static void
listed(struct coord_req *r)
{
    struct jobs *js = C2_CONTAINER_OF(r, struct jobs, list);
    enum c2_err err = r->err;
    for (size_t k = 0; err == C2_E_OK && k < r->nentries; k++)
        take_record(js, &r->entries[k]);
    coord_req_done(r);
    js->opening = false;
    js->opened = err == C2_E_OK;
    if (js->open_done != NULL)
        js->open_done(js->open_arg, err);
    for (size_t k = 0; js->opened && !js->stopping && k < js->n; k++) {
        struct job_own *s = js->slots[k];
        if (s->job.rec.state != JOB_RUNNING)
            continue;
        C2_MARK("job: goes on after a restart");
        c2_log(INFO, "job", "kind=%s objects=%llu goes on", s->job.kind->name,
               (unsigned long long)s->job.rec.objects_done);
        s->saved_ns = c2_now_ns(js->part.env);
        job_turn(s);
    }
    jobs_check_stopped(js);
}

void
jobs_open(struct jobs *js, void (*done)(void *arg, enum c2_err err), void *arg)
{
    js->open_done = done;
    js->open_arg = arg;
    js->opening = true;
    js->prefix_key = ck_letter('W');
    js->prefix = ck_slice(&js->prefix_key);
    js->list = (struct coord_req){ .verb = COORD_RANGE,
                                   .keys = &js->prefix,
                                   .nkeys = 1,
                                   .deadline_ns = C2_NEVER,
                                   .done = listed };
    coord_submit(js->part.coord, &js->list);
}

static void
stopped(struct c2_task *t)
{
    struct jobs *js = C2_CONTAINER_OF(t, struct jobs, stop_task);
    void (*done)(void *arg) = js->stop_done;
    js->stop_done = NULL;
    if (done != NULL)
        done(js->stop_arg);
}

void
jobs_check_stopped(struct jobs *js)
{
    if (js->stop_done == NULL || js->opening)
        return;
    for (size_t k = 0; k < js->n; k++) {
        const struct job_own *s = js->slots[k];
        if (s->stepping || s->saving || s->begun || c2_timer_armed(&s->timer))
            return;
    }
    c2_defer(js->part.env, &js->stop_task);
}

void
jobs_stop(struct jobs *js, void (*done)(void *arg), void *arg)
{
    C2_ASSERT(!js->stopping);
    js->stopping = true;
    js->stop_done = done;
    js->stop_arg = arg;
    js->stop_task.run = stopped;
    if (js->opening)
        coord_cancel(js->part.coord, &js->list);
    for (size_t k = 0; k < js->n; k++) {
        if (js->slots[k]->saving)
            coord_cancel(js->part.coord, &js->slots[k]->req);
        nudge(js->slots[k]);
    }
    jobs_check_stopped(js);
}

void
jobs_free(struct jobs *js)
{
    if (js == NULL)
        return;
    for (size_t k = 0; k < js->n; k++) {
        struct job_own *s = js->slots[k];
        C2_ASSERT(!s->stepping && !s->saving && !s->begun && c2_list_empty(&s->asks));
        c2_free(s->ops);
        c2_free(s->conds);
        c2_buf_done(&s->sealed);
        c2_free(s);
    }
    c2_free(js);
}
