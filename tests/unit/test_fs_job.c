/* SPDX-License-Identifier: MIT */
/*
 * Jobs: a toy kind that counts to a number, a step at a time.
 */
#include "fs/job.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "tests/lib/coord_fixture.h"

static const char *const counter_names[] = { "evens", NULL };

struct rig {
    struct coord_fixture store;
    struct keys *keys;
    struct ck fence;
    uint64_t token, session;
    struct job_kind kind;
    struct jobs *jobs;
    bool flag;
    enum c2_err err;
    struct coord deaf; /* answers nothing; what is cancelled, or late, ends */
    struct c2_timer late;
    struct coord_req *asked; /* of it */

    /* the toy */
    struct c2_timer timer;
    struct job *job; /* in a step */
    uint64_t step_bytes;
    enum c2_err step_err; /* of the next step */
    bool hang;            /* steps end only when they are stopped */
    bool commits;         /* each step puts the key "n" */
    enum c2_err commit_err;
    uint64_t guard; /* version that "n" must have, 0 = any */
    struct job_commit commit;
    struct coord_op op;
    struct coord_cond cond;
    unsigned begins, ends, steps, overs, stops;
};

static void
toy_end_step(struct rig *r, enum c2_err err)
{
    struct job *j = r->job;
    r->job = NULL;
    job_step_done(j, err, err == C2_E_OK && j->rec.objects_done == j->rec.objects_total);
}

static void
toy_committed(struct job_commit *c)
{
    struct rig *r = C2_CONTAINER_OF(c, struct rig, commit);
    r->commit_err = c->err;
    toy_end_step(r, c->err);
}

static void
toy_work(struct rig *r)
{
    struct job_record *rec = &r->job->rec;
    C2_ASSERT(rec->cursor_len == 0 || c2_get_u64(rec->cursor) == rec->objects_done);
    rec->objects_done++;
    rec->counter[0] += rec->objects_done % 2 == 0;
    rec->bytes_done += r->step_bytes;
    c2_put_u64(rec->cursor, rec->objects_done);
    rec->cursor_len = 8;
    job_spend(r->job, r->step_bytes);
}

static void
toy_due(struct c2_timer *t)
{
    struct rig *r = C2_CONTAINER_OF(t, struct rig, timer);
    enum c2_err err = r->step_err;
    r->step_err = C2_E_OK;
    if (err == C2_E_OK)
        toy_work(r);
    if (err != C2_E_OK || !r->commits) {
        toy_end_step(r, err);
        return;
    }
    r->op = op(COORD_PUT, "n", "x", 0);
    r->cond = cond(COORD_VERSION_EQ, "n", NULL, r->guard);
    r->commit = (struct job_commit){
        .ops = &r->op, .nops = 1, .conds = &r->cond, .nconds = r->guard != 0, .done = toy_committed
    };
    job_commit(r->job, &r->commit);
}

static void
toy_step(struct job *j)
{
    struct rig *r = j->kind->arg;
    r->job = j;
    r->steps++;
    r->timer.fire = toy_due;
    if (!r->hang)
        c2_timer_arm(r->store.env, &r->timer, c2_now_ns(r->store.env) + C2_NS_PER_S);
}

static void
toy_stop(struct job *j)
{
    struct rig *r = j->kind->arg;
    r->stops++;
    if (!r->hang)
        return;
    r->step_err = C2_E_CANCELED;
    c2_timer_arm(r->store.env, &r->timer, c2_now_ns(r->store.env));
}

static enum c2_err
toy_check(struct job *j, char **ret_error)
{
    char *text = job_param(j, "to");
    if (text == NULL) {
        *ret_error = c2_strdup("to what?");
        return C2_E_INVALID;
    }
    j->rec.objects_total = strtoull(text, NULL, 10);
    c2_free(text);
    return C2_E_OK;
}

static void
toy_begin(struct job *j)
{
    struct rig *r = j->kind->arg;
    assert_null(j->run);
    j->run = r;
    r->begins++;
}

static void
toy_end(struct job *j)
{
    struct rig *r = j->kind->arg;
    assert_ptr_equal(j->run, r);
    r->ends++;
}

static void
toy_over(struct job *j)
{
    struct rig *r = j->kind->arg;
    r->overs++;
}

/* ---- rig ------------------------------------------------------------------------------------- */

static void
opened(void *arg, enum c2_err err)
{
    struct rig *r = arg;
    r->err = err;
    r->flag = true;
}

static void
open_jobs(struct rig *r)
{
    const struct jobs_parts parts = { .env = r->store.env,
                                      .coord = r->deaf.ops != NULL ? &r->deaf : r->store.c,
                                      .keys = r->keys,
                                      .fence_key = ck_slice(&r->fence),
                                      .fence_token = r->token,
                                      .session = r->session };
    r->jobs = jobs_new(&parts);
    jobs_register(r->jobs, &r->kind);
    r->flag = false;
    jobs_open(r->jobs, opened, r);
    test_env_run_until(r->store.t, &r->flag);
    assert_int_equal(r->err, C2_E_OK);
}

static void
was_stopped(void *arg)
{
    struct rig *r = arg;
    r->flag = true;
}

static void
close_jobs(struct rig *r)
{
    r->flag = false;
    jobs_stop(r->jobs, was_stopped, r);
    test_env_run_until(r->store.t, &r->flag);
    jobs_free(r->jobs);
    r->jobs = NULL;
}

static int
setup(void **state)
{
    static const uint8_t key[C2_KEY_LEN] = "volume key", uuid[16] = "uuid";
    struct rig *r = c2_calloc(1, sizeof(*r));
    coord_fixture_init(&r->store);
    r->keys = keys_new(key, uuid);
    r->session = session_open(&r->store, COORD_TTL_NS_MAX);
    keys_set_session(r->keys, r->session);
    r->fence = ck_session("lock");
    r->token = put(&r->store, "Slock", "");
    r->step_bytes = 100;
    r->kind = (struct job_kind){ .name = "toy",
                                 .arg = r,
                                 .counters = counter_names,
                                 .check = toy_check,
                                 .begin = toy_begin,
                                 .step = toy_step,
                                 .stop = toy_stop,
                                 .end = toy_end,
                                 .over = toy_over };
    open_jobs(r);
    c2_mark_reset();
    *state = r;
    return 0;
}

static int
teardown(void **state)
{
    struct rig *r = *state;
    close_jobs(r);
    assert_int_equal(r->begins, r->ends);
    keys_free(r->keys);
    coord_fixture_done(&r->store);
    c2_free(r);
    return 0;
}

struct asking {
    struct job_ask ask;
    bool done;
};

static void
answered(struct job_ask *a)
{
    C2_CONTAINER_OF(a, struct asking, ask)->done = true;
}

static enum c2_err
wait_for(struct rig *r, struct asking *a, const char *text)
{
    test_env_run_until(r->store.t, &a->done);
    if (text == NULL)
        assert_null(a->ask.error);
    else
        assert_non_null(strstr(a->ask.error, text));
    c2_free(a->ask.error);
    return a->ask.err;
}

static enum c2_err
start(struct rig *r, const char *params, uint64_t rate, const char *text)
{
    struct asking a = { .ask.done = answered };
    jobs_start(r->jobs, "toy", params, rate, &a.ask);
    assert_false(a.done);
    return wait_for(r, &a, text);
}

static enum c2_err
control(struct rig *r, enum job_control what, const char *text)
{
    struct asking a = { .ask.done = answered };
    jobs_control(r->jobs, "toy", what, &a.ask);
    assert_false(a.done);
    return wait_for(r, &a, text);
}

static const struct job_record *
record(struct rig *r)
{
    return &jobs_find(r->jobs, "toy")->rec;
}

static void
run_for(struct rig *r, unsigned seconds)
{
    test_env_run_for(r->store.t, seconds * C2_NS_PER_S);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void
job__runs_in_steps_until_it_is_done(void **state)
{
    struct rig *r = *state;
    assert_null(jobs_find(r->jobs, "toy"));
    assert_null(jobs_at(r->jobs, 0));
    assert_int_equal(start(r, "a=b to=12", 0, NULL), C2_E_OK);
    assert_int_equal(record(r)->state, JOB_RUNNING);
    run_for(r, 7);
    assert_true(record(r)->objects_done >= 5 && record(r)->objects_done < 12);
    assert_int_equal(job_rate(jobs_at(r->jobs, 0)), 100);
    run_for(r, 60);
    assert_int_equal(record(r)->state, JOB_DONE);
    assert_int_equal(record(r)->objects_done, 12);
    assert_int_equal(record(r)->counter[0], 6);
    assert_int_equal(record(r)->spent, 1200);
    assert_int_equal(record(r)->run_ns, 12 * C2_NS_PER_S);
    assert_int_equal(job_rate(jobs_at(r->jobs, 0)), 0);
    assert_true(record(r)->ended_wall_ns > record(r)->started_wall_ns);
    assert_int_equal(r->steps, 12);
    assert_int_equal(r->overs, 1);
    assert_int_equal(start(r, "to=1", 0, NULL), C2_E_OK);
    run_for(r, 60);
    assert_int_equal(record(r)->objects_done, 1);
}

static void
start__refuses_what_cannot_be(void **state)
{
    struct rig *r = *state;
    assert_int_equal(start(r, "", 0, "to what?"), C2_E_INVALID);
    assert_null(jobs_find(r->jobs, "toy"));
    struct asking a = { .ask.done = answered };
    jobs_start(r->jobs, "other", "", 0, &a.ask);
    assert_int_equal(wait_for(r, &a, "no job"), C2_E_NOT_FOUND);
    assert_int_equal(control(r, JOB_PAUSE, "no toy is running"), C2_E_NOT_FOUND);
    assert_int_equal(start(r, "to=9", 0, NULL), C2_E_OK);
    assert_int_equal(start(r, "to=9", 0, "running already"), C2_E_BUSY);
    assert_int_equal(control(r, JOB_PAUSE, NULL), C2_E_OK);
    assert_int_equal(start(r, "to=9", 0, "paused already"), C2_E_BUSY);
    assert_int_equal(control(r, JOB_CANCEL, NULL), C2_E_OK);
    assert_int_equal(start(r, "", 0, "to what?"), C2_E_INVALID);
    assert_int_equal(record(r)->state, JOB_CANCELED);
}

static void
job__goes_on_at_the_next_mount(void **state)
{
    struct rig *r = *state;
    assert_int_equal(start(r, "to=20", 0, NULL), C2_E_OK);
    run_for(r, 8);
    uint64_t done = record(r)->objects_done;
    close_jobs(r);
    open_jobs(r);
    assert_true(record(r)->objects_done >= done && done > 0);
    assert_int_equal(record(r)->state, JOB_RUNNING);
    run_for(r, 60);
    assert_int_equal(c2_mark_count("job: goes on after a restart"), 1);
    assert_int_equal(record(r)->state, JOB_DONE);
    assert_int_equal(r->steps, 20);
    close_jobs(r);
    open_jobs(r);
    assert_int_equal(record(r)->state, JOB_DONE);
    run_for(r, 5);
    assert_int_equal(r->steps, 20);
}

/* What a crash leaves: the record as it was saved while the job ran. */
static void
record__is_saved_while_the_job_runs(void **state)
{
    struct rig *r = *state;
    struct job_record kept;
    struct c2_buf plain = { 0 };
    assert_int_equal(start(r, "to=20", 0, NULL), C2_E_OK);
    run_for(r, 13);
    struct coord_call call = { .r = { .verb = COORD_GET, .nkeys = 1 } };
    struct c2_slice key = c2_slice_str("Wtoy");
    call.r.keys = &key;
    assert_int_equal(coord_call_run(&r->store, &call), C2_E_OK);
    assert_int_equal(keys_open(r->keys, key, call.r.entries[0].value, &plain), C2_E_OK);
    assert_int_equal(job_record_decode(c2_buf_slice(&plain), &kept), C2_E_OK);
    assert_true(kept.objects_done >= 5 && kept.objects_done <= record(r)->objects_done);
    assert_int_equal(c2_get_u64(kept.cursor), kept.objects_done);
    for (size_t len = 0; len < plain.len; len++)
        assert_int_not_equal(job_record_decode(c2_slice(plain.data, len), &kept), C2_E_OK);
    coord_req_done(&call.r);
    c2_buf_done(&plain);
}

static void
pause__lasts_until_resume(void **state)
{
    struct rig *r = *state;
    assert_int_equal(start(r, "to=10", 0, NULL), C2_E_OK);
    run_for(r, 3);
    assert_int_equal(control(r, JOB_PAUSE, NULL), C2_E_OK);
    assert_int_equal(record(r)->state, JOB_PAUSED);
    uint64_t done = record(r)->objects_done;
    assert_int_equal(r->begins, r->ends);
    run_for(r, 100);
    close_jobs(r);
    open_jobs(r);
    run_for(r, 100);
    assert_int_equal(record(r)->state, JOB_PAUSED);
    assert_int_equal(record(r)->objects_done, done);
    assert_int_equal(control(r, JOB_RESUME, NULL), C2_E_OK);
    run_for(r, 100);
    assert_int_equal(record(r)->state, JOB_DONE);
    assert_int_equal(record(r)->objects_done, 10);
    assert_int_equal(record(r)->run_ns, 10 * C2_NS_PER_S);
}

static void
cancel__ends_a_step_that_takes_long(void **state)
{
    struct rig *r = *state;
    r->hang = true;
    assert_int_equal(start(r, "to=10", 0, NULL), C2_E_OK);
    run_for(r, 3);
    assert_int_equal(r->steps, 1);
    assert_int_equal(control(r, JOB_CANCEL, NULL), C2_E_OK);
    assert_int_equal(record(r)->state, JOB_CANCELED);
    assert_int_equal(c2_mark_count("job: a step was cut short"), 1);
    assert_int_equal(r->stops, 1);
    assert_int_equal(r->overs, 1);
}

static void
rate__holds_a_job_back(void **state)
{
    struct rig *r = *state;
    r->step_bytes = 1000;
    assert_int_equal(start(r, "to=10", 100, NULL), C2_E_OK);
    run_for(r, 55);
    assert_true(record(r)->objects_done >= 5 && record(r)->objects_done <= 6);
    assert_int_equal(jobs_set_rate(r->jobs, "toy", 0), C2_E_OK);
    run_for(r, 10);
    assert_int_equal(record(r)->state, JOB_DONE);
    assert_int_equal(jobs_set_rate(r->jobs, "toy", 0), C2_E_NOT_FOUND);
}

static void
step__that_fails_for_a_while_is_repeated(void **state)
{
    struct rig *r = *state;
    r->step_err = C2_E_QUORUM;
    assert_int_equal(start(r, "to=3", 0, NULL), C2_E_OK);
    run_for(r, 3);
    assert_int_equal(record(r)->err, C2_E_QUORUM);
    assert_int_equal(record(r)->state, JOB_RUNNING);
    run_for(r, 60);
    assert_int_equal(c2_mark_count("job: a step is repeated"), 1);
    assert_int_equal(record(r)->state, JOB_DONE);
    assert_int_equal(record(r)->err, C2_E_OK);
}

static void
step__that_fails_for_good_ends_the_job(void **state)
{
    struct rig *r = *state;
    r->step_err = C2_E_AUTH;
    assert_int_equal(start(r, "to=3", 0, NULL), C2_E_OK);
    run_for(r, 3);
    assert_int_equal(record(r)->state, JOB_FAILED);
    assert_int_equal(record(r)->err, C2_E_AUTH);
    close_jobs(r);
    open_jobs(r);
    assert_int_equal(record(r)->state, JOB_FAILED);
    assert_int_equal(record(r)->err, C2_E_AUTH);
}

static void
commit__changes_store_and_record_together(void **state)
{
    struct rig *r = *state;
    r->commits = true;
    assert_int_equal(start(r, "to=3", 0, NULL), C2_E_OK);
    run_for(r, 60);
    assert_int_equal(record(r)->state, JOB_DONE);
    assert_value(&r->store, "n", "x");
    r->guard = 1; /* not its version */
    assert_int_equal(start(r, "to=3", 0, NULL), C2_E_OK);
    run_for(r, 3);
    assert_int_equal(r->commit_err, C2_E_CONFLICT);
    assert_int_equal(r->commit.cond_failed, 0);
    assert_int_equal(record(r)->state, JOB_FAILED);
}

static void
commit__of_a_mount_that_lost_its_lock_changes_nothing(void **state)
{
    struct rig *r = *state;
    r->commits = true;
    assert_int_equal(start(r, "to=9", 0, NULL), C2_E_OK);
    (void)put(&r->store, "Slock", "somebody else");
    run_for(r, 30);
    assert_absent(&r->store, "n");
    assert_int_equal(r->commit_err, C2_E_FENCED);
    assert_int_equal(r->steps, 1);
    assert_int_equal(record(r)->state, JOB_RUNNING); /* for the one who has it now */
    assert_int_equal(start(r, "to=9", 0, "may not write"), C2_E_UNAVAILABLE);
}

/* ---- a service that does not answer ---------------------------------------------------------- */

static void
deaf_end(struct rig *r, enum c2_err err)
{
    struct coord_req *q = r->asked;
    r->asked = NULL;
    c2_timer_stop(r->store.env, &r->late);
    q->err = err;
    q->done(q);
}

static void
deaf_late(struct c2_timer *t)
{
    deaf_end(C2_CONTAINER_OF(t, struct rig, late), C2_E_TIMEOUT);
}

static void
deaf_submit(struct coord *c, struct coord_req *q)
{
    struct rig *r = C2_CONTAINER_OF(c, struct rig, deaf);
    if (q->verb != COORD_TXN) {
        r->store.c->ops->submit(r->store.c, q);
        return;
    }
    assert_null(r->asked);
    r->asked = q;
    if (q->deadline_ns != C2_NEVER)
        c2_timer_arm(r->store.env, &r->late, q->deadline_ns);
}

static void
deaf_cancel(struct coord *c, struct coord_req *q)
{
    struct rig *r = C2_CONTAINER_OF(c, struct rig, deaf);
    assert_ptr_equal(q, r->asked);
    c2_timer_arm(r->store.env, &r->late, c2_now_ns(r->store.env) + C2_NS_PER_S);
}

/* A mount that ends does not wait for it, neither with what it saves nor with a step's commit. */
static void
jobs__end_although_the_service_does_not_answer(void **state)
{
    static const struct coord_ops ops = { .submit = deaf_submit, .cancel = deaf_cancel };
    struct rig *r = *state;
    for (unsigned commits = 0; commits < 2; commits++) {
        struct asking a = { .ask.done = answered };
        close_jobs(r);
        r->deaf = (struct coord){ .ops = &ops, .env = r->store.env };
        r->late.fire = deaf_late;
        r->commits = commits == 1;
        open_jobs(r);
        jobs_start(r->jobs, "toy", "to=12", 0, &a.ask);
        if (r->commits)
            deaf_end(r, C2_E_OK); /* the beginning; a step comes next */
        run_for(r, 3600);
        assert_non_null(r->asked);
        uint64_t from_ns = c2_now_ns(r->store.env);
        close_jobs(r);
        assert_in_range(c2_now_ns(r->store.env) - from_ns, 0, 30 * C2_NS_PER_S);
        assert_true(a.done);
        c2_free(a.ask.error);
        r->deaf.ops = NULL;
        r->commits = false;
        open_jobs(r);
    }
}

/* The end of the mount meets the save of a job that is over: it is not work for the next mount. */
static void
job__that_is_over_when_the_mount_ends_stays_over(void **state)
{
    struct rig *r = *state;
    assert_int_equal(start(r, "to=3", 0, NULL), C2_E_OK);
    while (record(r)->state == JOB_RUNNING)
        assert_true(test_env_step(r->store.t));
    close_jobs(r);
    open_jobs(r);
    assert_int_equal(record(r)->state, JOB_DONE);
    assert_int_equal(r->overs, 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(job__runs_in_steps_until_it_is_done),
        T(start__refuses_what_cannot_be),
        T(job__goes_on_at_the_next_mount),
        T(record__is_saved_while_the_job_runs),
        T(pause__lasts_until_resume),
        T(cancel__ends_a_step_that_takes_long),
        T(rate__holds_a_job_back),
        T(step__that_fails_for_a_while_is_repeated),
        T(step__that_fails_for_good_ends_the_job),
        T(commit__changes_store_and_record_together),
        T(commit__of_a_mount_that_lost_its_lock_changes_nothing),
        T(jobs__end_although_the_service_does_not_answer),
        T(job__that_is_over_when_the_mount_ends_stays_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
