/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the jobs in fs/volume_job.h share: one that runs. Private to fs/volume_job*.c.
 */
#ifndef C2_FS_VOLUME_JOB_IMPL_H
#define C2_FS_VOLUME_JOB_IMPL_H

#include "backends/registry.h"
#include "fs/seat_walk.h"
#include "fs/volume_job.h"

enum seat_job_phase {
    SEAT_JOB_COUNT,
    SEAT_JOB_ENTER,
    SEAT_JOB_SAVE_FIRST,
    SEAT_JOB_WALK,
    SEAT_JOB_SYNC,
    SEAT_JOB_LEAVE,
    SEAT_JOB_SAVE_LAST,
    SEAT_JOB_PHASES
};

/* The record's counters. */
enum { SEAT_JOB_MOVED, SEAT_JOB_WRITTEN, SEAT_JOB_READ, SEAT_JOB_LOST, SEAT_JOB_WALKS };

struct seat_run {
    struct seat_jobs *x;
    struct job *j;
    bool drain;
    bool remove;
    bool stopping;
    char *old, *name; /* owned; drain: only name */
    unsigned seat;

    /* the cursor */
    uint8_t phase;
    bool synced;       /* the walk at hand began after SYNC */
    uint64_t undone;   /* shares that the walk at hand moved or failed to move */
    uint64_t failed;   /* of them, failed */
    uint64_t wall_ns;  /* SAVE: a checkpoint after this moment */
    uint64_t objects;  /* that the walk at hand has dealt with */
    uint64_t bytes;    /* of their shares */
    uint32_t at_risks; /* numbers of good shares that objects had, a bit each; walked so far: not */
    struct ck after;

    struct seat_walk walk;
    struct volume_change change;
    struct prov_probe probe;
    struct provider *opened; /* owned until the change takes it */
    struct provider *source; /* the volume's */
    struct fs_sync sync;
    bool syncing, probing, walking;
    struct c2_timer timer;
    struct c2_task task; /* the end of a step that was decided at once */
    enum c2_err err;
    bool finished;
};

static inline struct volume *
seat_run_volume(const struct seat_run *r)
{
    return r->x->volume;
}

C2_RESULT seat_run_open(struct seat_run *r, const char *name, struct provider **ret_provider,
                        char **ret_error);
void seat_run_say(struct seat_run *r, const char *text);
void seat_run_say_end(struct seat_run *r);
/* The end of a step, never from inside it. */
void seat_run_step_over(struct seat_run *r, enum c2_err err, bool finished);
/* From a phase to the next. */
void seat_run_go(struct seat_run *r, enum seat_job_phase phase);

/* ---- volume_job_walk.c: steps of COUNT, WALK and SYNC ---- */

void seat_run_count(struct seat_run *r);
void seat_run_walk(struct seat_run *r);
void seat_run_sync(struct seat_run *r);

#endif
