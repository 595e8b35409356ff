/* SPDX-License-Identifier: MIT */
/*
 * A kind's slot. Private to fs/job.c (steps and what is kept of them) and fs/jobs.c (what is asked
 * for, beginning and end).
 */
#ifndef C2_FS_JOB_IMPL_H
#define C2_FS_JOB_IMPL_H

#include "fs/job.h"

#define JOB_SAMPLES         8u /* for the rate */
#define JOB_SAMPLE_EVERY_NS (2 * C2_NS_PER_S)
#define JOB_LAST_NS         (10 * C2_NS_PER_S) /* for what is saved when the mount ends */

struct job_sample {
    uint64_t at_ns, bytes;
};

struct job_own {
    struct jobs *js;
    struct job job;
    struct ck key;
    enum job_state want; /* NONE = nothing is asked for */
    bool begun;          /* between the kind's begin and end */
    bool stepping, in_step;
    bool saving;     /* a transaction is under way */
    bool dirty;      /* the store has an older record */
    bool save_first; /* before anything else: the state changed */
    bool tell_over;
    uint64_t saved_ns;
    uint64_t counted_ns; /* rec.run_ns is right up to here */
    uint64_t allowed_ns; /* the next step not before */
    struct job_sample rate[JOB_SAMPLES];
    unsigned nrate;
    struct c2_timer timer; /* next step, or another attempt to save */
    struct c2_list asks;
    struct coord_req req;
    struct coord_op *ops;     /* owned */
    struct coord_cond *conds; /* owned */
    struct c2_buf sealed;
    struct job_commit *commit; /* the running one, or NULL */
};

struct jobs {
    struct jobs_parts part;
    struct job_own *slots[JOB_KINDS_MAX];
    size_t n;
    bool opened, opening, stopping;
    bool fenced;
    struct ck prefix_key;
    struct c2_slice prefix;
    struct coord_req list;
    void (*open_done)(void *arg, enum c2_err err);
    void *open_arg;
    struct c2_task stop_task;
    void (*stop_done)(void *arg);
    void *stop_arg;
};

/* ---- job.c ---- */

bool job_is_over(enum job_state state);
void job_enter(struct job_own *s, enum job_state state);
/* What comes next, with no step and no transaction running. */
void job_turn(struct job_own *s);

/* ---- jobs.c ---- */

/* Who waits for the slot to reach a state is told. */
void job_answer_all(struct job_own *s, enum c2_err err);
/* The slot came to rest: the last one lets jobs_stop end. */
void jobs_check_stopped(struct jobs *js);

#endif
