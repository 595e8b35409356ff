/* SPDX-License-Identifier: MIT */
/*
 * One slot per kind:
 *
 *   IDLE --start, resume, open--> SAVE --> [ STEP --> (SAVE) --> WAIT (rate limit) --> ] ... -->
 * IDLE
 *
 * Whatever is asked for while a step runs (pause, cancel, the end of the mount) is a wish that is
 * granted after the step. Only one transaction of a slot is under way at a time: a commit of a step
 * or a save between steps. A mount that has lost its right to write halts its jobs where they are;
 * whoever has the right now goes on from the record.
 */
#include "fs/job_impl.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"

/* ---- transactions ---------------------------------------------------------------------------- */

uint64_t
job_run_ns(const struct job *j)
{
    const struct job_own *s = j->own;
    uint64_t now = c2_now_ns(s->js->part.env);
    return j->rec.run_ns + (s->begun ? now - s->counted_ns : 0);
}

static void
count_time(struct job_own *s)
{
    s->job.rec.run_ns = job_run_ns(&s->job);
    s->counted_ns = c2_now_ns(s->js->part.env);
}

/* The record last in the transaction, after the operations of a step. */
static void
submit(struct job_own *s, const struct job_commit *c, void (*done)(struct coord_req *r))
{
    const struct jobs_parts *part = &s->js->part;
    size_t nops = c == NULL ? 0 : c->nops, nconds = c == NULL ? 0 : c->nconds;
    struct c2_buf plain = { 0 };
    C2_ASSERT(!s->saving);
    C2_ASSERT(nops <= JOB_OPS_MAX && nconds <= JOB_CONDS_MAX);
    s->saving = true;
    count_time(s);
    job_record_encode(&s->job.rec, &plain);
    c2_buf_clear(&s->sealed);
    keys_seal(part->keys, ck_slice(&s->key), c2_buf_slice(&plain), &s->sealed);
    c2_buf_done(&plain);
    s->ops = c2_realloc(s->ops, nops + 1, sizeof(*s->ops));
    s->conds = c2_realloc(s->conds, nconds + 2, sizeof(*s->conds));
    if (nops > 0)
        memcpy(s->ops, c->ops, nops * sizeof(*s->ops));
    if (nconds > 0)
        memcpy(s->conds, c->conds, nconds * sizeof(*s->conds));
    s->ops[nops] = (struct coord_op){ .kind = COORD_PUT,
                                      .key = ck_slice(&s->key),
                                      .value = c2_buf_slice(&s->sealed) };
    s->conds[nconds] = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                            .key = part->fence_key,
                                            .number = part->fence_token };
    s->conds[nconds + 1] =
        (struct coord_cond){ .kind = COORD_SESSION_ALIVE, .number = part->session };
    s->req = (struct coord_req){ .verb = COORD_TXN,
                                 .conds = s->conds,
                                 .nconds = nconds + 2,
                                 .ops = s->ops,
                                 .nops = nops + 1,
                                 .deadline_ns = C2_NEVER,
                                 .done = done };
    if (s->js->stopping) /* nobody waits for it for long */
        s->req.deadline_ns = c2_now_ns(part->env) + JOB_LAST_NS;
    coord_submit(part->coord, &s->req);
}

/* FENCED when it was our right to write that failed. */
static enum c2_err
result_of(struct job_own *s, size_t nconds)
{
    enum c2_err err = s->req.err;
    if (err == C2_E_SESSION || (err == C2_E_CONFLICT && s->req.cond_failed >= nconds))
        err = C2_E_FENCED;
    if (err == C2_E_FENCED)
        s->js->fenced = true;
    if (err == C2_E_OK) {
        s->dirty = s->save_first = false;
        s->saved_ns = c2_now_ns(s->js->part.env);
    }
    s->saving = false;
    return err;
}

static void
committed(struct coord_req *r)
{
    struct job_own *s = C2_CONTAINER_OF(r, struct job_own, req);
    struct job_commit *c = s->commit;
    s->commit = NULL;
    c->err = result_of(s, c->nconds);
    c->cond_failed = r->cond_failed;
    c->version = r->version;
    coord_req_done(r);
    c->done(c);
}

void
job_commit(struct job *j, struct job_commit *c)
{
    struct job_own *s = j->own;
    C2_ASSERT(s->stepping && s->commit == NULL);
    s->commit = c;
    c->job = j;
    submit(s, c, committed);
}

static void
saved(struct coord_req *r)
{
    struct job_own *s = C2_CONTAINER_OF(r, struct job_own, req);
    struct jobs *js = s->js;
    enum c2_err err = result_of(s, 0);
    coord_req_done(r);
    if (err == C2_E_CANCELED && js->stopping) {
        C2_MARK("job: a save was cut short, the last one comes");
        job_turn(s);
        return;
    }
    if (err != C2_E_OK && err != C2_E_FENCED) {
        c2_log(WARN, "job", "kind=%s err=%s its progress cannot be saved, trying again",
               s->job.kind->name, c2_err_name(err));
        if (!js->stopping) {
            c2_timer_arm(js->part.env, &s->timer, c2_now_ns(js->part.env) + JOB_RETRY_NS);
            return;
        }
        /* The next mount repeats what the record does not know. */
        s->dirty = s->save_first = s->tell_over = false;
    }
    job_turn(s);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void
slot_end(struct job_own *s)
{
    if (!s->begun)
        return;
    count_time(s);
    s->begun = false;
    if (s->job.kind->end != NULL)
        s->job.kind->end(&s->job);
    s->job.run = NULL;
}

static void
slot_begin(struct job_own *s)
{
    s->begun = true;
    s->counted_ns = s->allowed_ns = c2_now_ns(s->js->part.env);
    s->nrate = 0;
    if (s->job.kind->begin != NULL)
        s->job.kind->begin(&s->job);
}

static void
next_step(struct job_own *s)
{
    if (!s->begun)
        slot_begin(s);
    C2_MARK("job: step");
    s->stepping = true;
    s->in_step = true;
    s->job.kind->step(&s->job);
    s->in_step = false;
}

bool
job_is_over(enum job_state state)
{
    return state == JOB_DONE || state == JOB_FAILED || state == JOB_CANCELED;
}

void
job_enter(struct job_own *s, enum job_state state)
{
    struct job_record *rec = &s->job.rec;
    rec->state = state;
    s->dirty = s->save_first = true;
    if (state != JOB_FAILED)
        rec->err = C2_E_OK;
    if (job_is_over(state)) {
        s->tell_over = true;
        rec->ended_wall_ns = c2_wall_ns(s->js->part.env);
        c2_log(INFO, "job", "kind=%s state=%s objects=%llu errors=%llu err=%s", s->job.kind->name,
               job_state_name(state), (unsigned long long)rec->objects_done,
               (unsigned long long)rec->errors, c2_err_name(rec->err));
    }
}

/* A slot at rest: nothing runs, the record is saved. */
static void
rest(struct job_own *s)
{
    struct jobs *js = s->js;
    slot_end(s);
    if (s->tell_over && !js->fenced && s->job.kind->over != NULL)
        s->job.kind->over(&s->job);
    s->tell_over = false;
    job_answer_all(s, js->fenced ? C2_E_FENCED : C2_E_OK);
    jobs_check_stopped(js);
}

void
job_turn(struct job_own *s)
{
    struct jobs *js = s->js;
    struct job_record *rec = &s->job.rec;
    uint64_t now = c2_now_ns(js->part.env);
    C2_ASSERT(!s->stepping && !s->saving);
    if (js->fenced) {
        rest(s);
        return;
    }
    if (s->want != JOB_NONE && !job_is_over(rec->state) && rec->state != s->want)
        job_enter(s, s->want);
    s->want = JOB_NONE;
    bool running = rec->state == JOB_RUNNING && !js->stopping;
    if (!running)
        slot_end(s);
    if (s->dirty && (!running || s->save_first || now - s->saved_ns >= JOB_SAVE_NS)) {
        submit(s, NULL, saved);
    } else if (!running) {
        rest(s);
    } else if (s->begun && now < s->allowed_ns) {
        c2_timer_arm(js->part.env, &s->timer, s->allowed_ns);
    } else {
        job_answer_all(s, C2_E_OK);
        next_step(s);
    }
}

static void
take_sample(struct job_own *s, uint64_t now)
{
    if (s->nrate > 0 && now - s->rate[(s->nrate - 1) % JOB_SAMPLES].at_ns < JOB_SAMPLE_EVERY_NS)
        return;
    s->rate[s->nrate++ % JOB_SAMPLES] =
        (struct job_sample){ .at_ns = now, .bytes = s->job.rec.bytes_done };
}

uint64_t
job_rate(const struct job *j)
{
    const struct job_own *s = j->own;
    if (!s->begun || s->nrate == 0)
        return 0;
    const struct job_sample *old = &s->rate[s->nrate < JOB_SAMPLES ? 0 : s->nrate % JOB_SAMPLES];
    uint64_t ns = c2_now_ns(s->js->part.env) - old->at_ns;
    if (ns == 0 || j->rec.bytes_done <= old->bytes)
        return 0;
    return (uint64_t)((double)(j->rec.bytes_done - old->bytes) * 1e9 / (double)ns);
}

void
job_spend(struct job *j, uint64_t bytes)
{
    struct job_own *s = j->own;
    j->rec.spent += bytes;
    if (j->rec.rate_limit == 0)
        return;
    uint64_t now = c2_now_ns(s->js->part.env);
    double ns = (double)bytes * 1e9 / (double)j->rec.rate_limit;
    s->allowed_ns = C2_MAX(s->allowed_ns, now) + (uint64_t)ns;
}

void
job_step_done(struct job *j, enum c2_err err, bool finished)
{
    struct job_own *s = j->own;
    struct jobs *js = s->js;
    uint64_t now = c2_now_ns(js->part.env);
    C2_ASSERT(s->stepping && !s->in_step && s->commit == NULL);
    s->stepping = false;
    s->dirty = true;
    take_sample(s, now);
    if (err == C2_E_FENCED) {
        js->fenced = true;
    } else if (err == C2_E_OK) {
        j->rec.err = C2_E_OK;
        if (finished)
            job_enter(s, JOB_DONE);
    } else if (err == C2_E_CANCELED && (js->stopping || s->want != JOB_NONE)) {
        C2_MARK("job: a step was cut short");
    } else if (c2_err_class(err) == C2_CLASS_RETRY) {
        C2_MARK("job: a step is repeated");
        j->rec.err = err;
        s->allowed_ns = C2_MAX(s->allowed_ns, now + JOB_RETRY_NS);
    } else {
        j->rec.err = err;
        job_enter(s, JOB_FAILED);
    }
    job_turn(s);
}
