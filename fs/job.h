/* SPDX-License-Identifier: MIT */
/*
 * Jobs: long work on a mounted volume that survives the command that started it, an unmount and a
 * crash: scrub, repair, gc, replacing a provider. What a job has done so far is a record in the
 * coordination store (key W<kind>, sealed), and the next mount goes on from there. There is at most
 * one job of a kind.
 *
 *   start ──► RUNNING ──► DONE | FAILED | CANCELED      (kept until the next start, for the report)
 *               ▲  │pause
 *        resume │  ▼
 *              PAUSED
 *
 * What a kind implements (struct job_kind). A job works in steps: one step is a bounded piece, a
 * few seconds or a batch of objects, asynchronous, several requests at once inside it if it likes.
 * Between two steps the framework saves the record, applies the rate limit, and pauses, cancels or
 * ends. A step
 *   - goes on from rec.cursor (bytes of the kind's own making, empty at the start) and moves it;
 *   - counts into rec.objects_*, rec.bytes_*, rec.errors, rec.counter[]; job_spend() tells bytes
 *     moved, for the limit;
 *   - may change the store together with the record, atomically: job_commit();
 *   - ends with job_step_done(), once, never from inside `step`.
 * The record may be older than what was done by JOB_SAVE_NS: a step that is repeated must do no
 * harm. Changes that must not be repeated go through job_commit, with the cursor moved before.
 */
#ifndef C2_FS_JOB_H
#define C2_FS_JOB_H

#include "fs/coord_keys.h"
#include "metadata/coord.h"

#define JOB_KINDS_MAX    8
#define JOB_NAME_MAX     15
#define JOB_PARAMS_MAX   1023
#define JOB_CURSOR_MAX   4096
#define JOB_COUNTERS_MAX 16
#define JOB_MESSAGE_MAX  239
#define JOB_SAVE_NS      (5 * C2_NS_PER_S)
#define JOB_RETRY_NS     (5 * C2_NS_PER_S) /* after a step that failed for a passing reason */
#define JOB_OPS_MAX      (COORD_TXN_OPS_MAX - 1)
#define JOB_CONDS_MAX    (COORD_TXN_CONDS_MAX - 2)

enum job_state { JOB_NONE, JOB_RUNNING, JOB_PAUSED, JOB_DONE, JOB_FAILED, JOB_CANCELED };

const char *job_state_name(enum job_state s); /* "running" */

/* What is kept. A kind changes the fields below the line during a step. */
struct job_record {
    uint64_t id; /* of this run; random */
    enum job_state state;
    char params[JOB_PARAMS_MAX + 1]; /* "key=value" separated by blanks; job_param */
    uint64_t rate_limit;             /* bytes per second, 0 = none */
    uint64_t started_wall_ns, ended_wall_ns;
    uint64_t run_ns; /* spent running */
    enum c2_err err; /* FAILED: why; RUNNING: why the last step is tried again */
    uint64_t spent;  /* bytes moved, all steps */
    /* ---- the kind's ---- */
    uint8_t cursor[JOB_CURSOR_MAX];
    size_t cursor_len;
    uint64_t objects_done, objects_total; /* total 0 = not known (yet) */
    uint64_t bytes_done, bytes_total;
    uint64_t errors; /* objects that could not be dealt with */
    uint64_t counter[JOB_COUNTERS_MAX];
    char message[JOB_MESSAGE_MAX + 1]; /* a phrase for people: what it does now, how it ended */
};

struct job_kind;
struct jobs;

struct job {
    const struct job_kind *kind;
    struct job_record rec;
    void *run; /* the kind's: what exists while it runs (begin to end) */
    struct job_own *own;
};

struct job_kind {
    const char *name;            /* "scrub", at most JOB_NAME_MAX; also the key in the store */
    void *arg;                   /* the kind's */
    const char *const *counters; /* names of rec.counter[], ends with NULL; NULL = none */
    /*
     * A new job is asked for: are rec.params right, and may it be done now? Fills what is known of
     * the totals. Anything but OK refuses, with a text for people ("...\nhint: ..." if there is
     * one to give; c2_free). PRECONDITION = refused for safety. Must not wait.
     */
    enum c2_err (*check)(struct job *j, char **ret_error);
    /* A new or resumed job runs from now on: makes j->run. May be NULL. */
    void (*begin)(struct job *j);
    void (*step)(struct job *j);
    /* The running step shall end soon (with whatever result). May be NULL when it does anyway. */
    void (*stop)(struct job *j);
    /* It does not run any more (ended, paused, unmounted): frees j->run. May be NULL. */
    void (*end)(struct job *j);
    /* After the record says so: CANCELED undoes what can be undone. May be NULL. */
    void (*over)(struct job *j);
};

/* A parameter's value, or NULL; the text is the caller's (c2_free). */
char *job_param(const struct job *j, const char *key);
/* Bytes moved since the last call, for the rate limit. During a step. */
void job_spend(struct job *j, uint64_t bytes);
/*
 * The end of a step. OK: another one follows, or with `finished` the job is DONE. An error whose
 * class is RETRY: the step is repeated after JOB_RETRY_NS. Any other error: FAILED.
 */
void job_step_done(struct job *j, enum c2_err err, bool finished);

/* A transaction of a step; caller-owned until done. The record as it is now, and the mount's right
 * to write, are part of it. One at a time. */
struct job_commit {
    const struct coord_cond *conds; /* borrowed until done, as ops */
    size_t nconds;                  /* at most JOB_CONDS_MAX */
    const struct coord_op *ops;
    size_t nops; /* at most JOB_OPS_MAX */
    void (*done)(struct job_commit *c);
    enum c2_err err;      /* out: CONFLICT = one of conds; FENCED = the mount lost its right */
    uint64_t cond_failed; /* out: with CONFLICT, index in conds */
    uint64_t version;     /* out: with OK */
    struct job *job;      /* private */
};
void job_commit(struct job *j, struct job_commit *c);

/* ---- for the owner of the mount -------------------------------------------------------------- */

struct jobs_parts {
    struct c2_env *env; /* borrowed, as all below */
    struct coord *coord;
    struct keys *keys;
    struct c2_slice fence_key;
    uint64_t fence_token;
    uint64_t session;
};

struct jobs *jobs_new(const struct jobs_parts *parts);
/* Before jobs_open; the kind is borrowed until jobs_free. */
void jobs_register(struct jobs *js, const struct job_kind *kind);
/* Reads the records; what ran goes on. `done` may be NULL. */
void jobs_open(struct jobs *js, void (*done)(void *arg, enum c2_err err), void *arg);
/* Running steps end, records are saved; jobs go on at the next mount. */
void jobs_stop(struct jobs *js, void (*done)(void *arg), void *arg);
void jobs_free(struct jobs *js); /* after jobs_stop; NULL is fine */

/* A request about one job; caller-owned until done. */
struct job_ask {
    void (*done)(struct job_ask *a);
    enum c2_err err; /* out: NOT_FOUND: no such kind, or no job; BUSY: one runs already; what check
                      * said */
    char *error;     /* out: for people, may be NULL; c2_free */
    struct c2_link link;
    struct c2_task task;
};
void jobs_start(struct jobs *js, const char *kind, const char *params, uint64_t rate_limit,
                struct job_ask *a);
enum job_control { JOB_PAUSE, JOB_RESUME, JOB_CANCEL };
/* Done when the job has reached that state. */
void jobs_control(struct jobs *js, const char *kind, enum job_control what, struct job_ask *a);
/* From now on; kept. */
C2_RESULT jobs_set_rate(struct jobs *js, const char *kind, uint64_t rate_limit);

/* The n-th kind that has a record, NULL after the last; in the order of registration. */
const struct job *jobs_at(const struct jobs *js, size_t n);
/* Of a kind, NULL when there is none. */
const struct job *jobs_find(const struct jobs *js, const char *kind);
/* bytes per second lately; 0 when it does not run. */
uint64_t job_rate(const struct job *j);
/* Time running, up to now. */
uint64_t job_run_ns(const struct job *j);

/* Sealed value of W<kind>. */
void job_record_encode(const struct job_record *r, struct c2_buf *out);
C2_RESULT job_record_decode(struct c2_slice in, struct job_record *ret_record);

#endif
