/* SPDX-License-Identifier: MIT */
/*
 * The jobs of a mount: which kinds there are, what c2fsctl asks of them, and their end.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "fs/wire_up_impl.h"

static const struct c2_slice nothing;

/* ---- beginning and end ----------------------------------------------------------------------- */

/* Every kind that this daemon can run. */
static void
register_kinds(struct wire *w)
{
    wire_scrub_register(w);
    w->seats =
        (struct seat_jobs){ .volume = w->volume, .fs = w->fs, .reload = wire_reload, .arg = w };
    seat_jobs_init(&w->seats);
    jobs_register(w->jobs, &w->seats.replace);
    jobs_register(w->jobs, &w->seats.drain);
}

static void
opened(void *arg, enum c2_err err)
{
    (void)arg;
    if (err != C2_E_OK && err != C2_E_CANCELED)
        c2_log(ERROR, "job", "err=%s jobs cannot be read, none runs", c2_err_name(err));
}

void
wire_jobs_start(struct wire *w)
{
    const struct jobs_parts parts = { .env = w->env,
                                      .coord = w->volume->changes,
                                      .keys = w->volume->keys,
                                      .fence_key = ck_slice(&w->volume->fence_key),
                                      .fence_token = w->volume->fence_token,
                                      .session = w->volume->session };
    w->jobs = jobs_new(&parts);
    register_kinds(w);
    jobs_open(w->jobs, opened, w);
}

static void
stopped(void *arg)
{
    struct wire *w = arg;
    jobs_free(w->jobs);
    w->jobs = NULL;
    wire_scrub_done(w);
}

void
wire_jobs_stop(struct wire *w)
{
    if (w->jobs == NULL || w->jobs_stopping)
        return;
    w->jobs_stopping = true;
    ds_client_quiesce(w->volume->ds);
    wire_change_cancel(w);
    jobs_stop(w->jobs, stopped, w);
}

static void
drained(void *arg)
{
    struct wire *w = arg;
    w->jobs_draining = false;
}

bool
wire_jobs_ended(struct wire *w)
{
    if (!wire_scrub_ended(w))
        return false;
    bool busy = w->jobs != NULL || w->change != NULL;
    if (!busy || w->jobs_draining)
        return !busy && !w->jobs_draining;
    w->jobs_draining = true; /* a step that waits for a provider shall not hold up the end */
    watch_stop(w->watch);
    ds_client_drain(w->volume->ds, drained, w);
    return false;
}

/* ---- what c2fsctl asks ----------------------------------------------------------------------- */

struct asking {
    struct job_ask ask;
    struct ctl_call *call;
};

static void
answered(struct job_ask *a)
{
    struct asking *q = C2_CONTAINER_OF(a, struct asking, ask);
    ctl_result(q->call, a->err, a->error, nothing);
    c2_free(a->error);
    c2_free(q);
}

static struct asking *
asking_new(struct ctl_call *call)
{
    struct asking *q = c2_calloc(1, sizeof(*q));
    q->call = call;
    q->ask.done = answered;
    return q;
}

static char *
text_of(struct c2_slice s)
{
    return c2_strndup((const char *)s.data, s.len);
}

static void
start(struct wire *w, struct ctl_call *call, const struct ctl_request *q)
{
    char *kind = text_of(q->text), *params = text_of(q->text2);
    jobs_start(w->jobs, kind, params, q->number, &asking_new(call)->ask);
    c2_free(kind);
    c2_free(params);
}

static void
control(struct wire *w, struct ctl_call *call, const struct ctl_request *q)
{
    static const char *const names[] = {
        [JOB_PAUSE] = "pause", [JOB_RESUME] = "resume", [JOB_CANCEL] = "cancel"
    };
    char *kind = text_of(q->text), *what = text_of(q->text2);
    unsigned k = 0;
    while (k < C2_ARRAY_LEN(names) && strcmp(what, names[k]) != 0)
        k++;
    if (k < C2_ARRAY_LEN(names)) {
        jobs_control(w->jobs, kind, (enum job_control)k, &asking_new(call)->ask);
    } else if (strcmp(what, "limit") == 0) {
        enum c2_err err = jobs_set_rate(w->jobs, kind, q->number);
        ctl_result(call, err, err == C2_E_NOT_FOUND ? "no such job is running" : NULL, nothing);
    } else {
        ctl_result(call, C2_E_UNSUPPORTED, NULL, nothing);
    }
    c2_free(kind);
    c2_free(what);
}

static void
fill_counters(const struct job *j, struct ctl_job *out)
{
    const char *const *names = j->kind->counters;
    for (unsigned k = 0; names != NULL && names[k] != NULL && k < CTL_JOB_COUNTERS_MAX; k++) {
        ctl_set(out->counters[k].name, sizeof(out->counters[k].name), names[k]);
        out->counters[k].value = j->rec.counter[k];
        out->ncounters = k + 1;
    }
}

static void
fill(const struct job *j, struct ctl_job *out)
{
    const struct job_record *r = &j->rec;
    memset(out, 0, sizeof(*out));
    ctl_set(out->kind, sizeof(out->kind), j->kind->name);
    ctl_set(out->state, sizeof(out->state), job_state_name(r->state));
    ctl_set(out->params, sizeof(out->params), r->params);
    ctl_set(out->message, sizeof(out->message), r->message);
    if (r->err != C2_E_OK)
        ctl_set(out->error, sizeof(out->error), c2_err_name(r->err));
    out->id = r->id;
    out->started_wall_ns = r->started_wall_ns;
    out->ended_wall_ns = r->ended_wall_ns;
    out->run_ns = job_run_ns(j);
    out->objects_done = r->objects_done;
    out->objects_total = r->objects_total;
    out->bytes_done = r->bytes_done;
    out->bytes_total = r->bytes_total;
    out->errors = r->errors;
    out->rate = job_rate(j);
    out->rate_limit = r->rate_limit;
    out->spent = r->spent;
    fill_counters(j, out);
}

static void
list(struct wire *w, struct ctl_call *call, const struct ctl_request *q)
{
    struct ctl_job *out = c2_calloc(1, sizeof(*out));
    struct c2_buf body = { 0 };
    const struct job *j;
    for (size_t n = 0; (j = jobs_at(w->jobs, n)) != NULL; n++) {
        if (q->text.len > 0 && !c2_slice_equal(q->text, c2_slice_str(j->kind->name)))
            continue;
        fill(j, out);
        ctl_job_encode(out, &body);
    }
    ctl_result(call, C2_E_OK, NULL, c2_buf_slice(&body));
    c2_buf_done(&body);
    c2_free(out);
}

void
wire_jobs_status(struct wire *w, struct ctl_status *ret_status)
{
    const struct job *j;
    uint32_t n = 0;
    while (w->jobs != NULL && n < CTL_JOBS_MAX && (j = jobs_at(w->jobs, n)) != NULL)
        fill(j, &ret_status->jobs[n++]);
    ret_status->njobs = n;
}

void
wire_jobs_request(struct wire *w, struct ctl_call *call, const struct ctl_request *q)
{
    if (w->jobs == NULL)
        ctl_result(call, C2_E_NOT_MOUNTED, "the mount is ending", nothing);
    else if (q->verb == CTL_JOB_START)
        start(w, call, q);
    else if (q->verb == CTL_JOB_CONTROL)
        control(w, call, q);
    else
        list(w, call, q);
}
