/* SPDX-License-Identifier: MIT */
/*
 * What the two jobs of fs/scrub.h share: a scan in steps, and the record of where it is. Private to
 * fs/scrub*.c.
 */
#ifndef C2_FS_SCRUB_IMPL_H
#define C2_FS_SCRUB_IMPL_H

#include "fs/record_page.h"
#include "fs/repair.h"
#include "fs/scan_log.h"
#include "fs/scrub.h"

enum scrub_phase {
    PHASE_TOTALS, /* of the records: how much there is to do */
    PHASE_SCAN,
    PHASE_MEND,    /* repair only */
    PHASE_VERIFY,  /* repair only: the scan that decides */
    PHASE_JOURNAL, /* the log and its checkpoints; last of a scrub, first of a repair */
    PHASE_CHECKPOINTS,
};

/* Counters, after the twelve of the scan. */
enum { SCRUB_LOG_OBJECTS = 12, SCRUB_LOG_BELOW, SCRUB_COUNTERS };

/* The job's cursor. */
struct scrub_place {
    enum scrub_phase phase;
    uint32_t round; /* repair: of PHASE_MEND, from 1 on */
    bool set;
    uint64_t sid, seq; /* in the scan, or in the records */
    uint64_t healed;   /* repair: objects in this round */
    uint64_t log_objects, log_below;
    struct fs_scan_counts counts;
};

void scrub_place_encode(const struct scrub_place *p, struct job_record *rec);
/* The beginning when there is none, or it is not to be understood. */
void scrub_place_decode(const struct job_record *rec, struct scrub_place *ret_place);

struct fs_scrubber {
    struct fs *fs; /* borrowed */
    struct fs_scrub_config config;
    struct job_kind scrub, repair;
};

/* Without stop and end: they are the same for both. */
struct job_kind scrub_repair_kind(struct fs_scrubber *own);

/* A running scrub or repair: job->run. */
struct scrub_run {
    struct job *job;
    struct fs_scrubber *own;
    struct scrub_place place;
    enum fs_scan_mode mode;
    unsigned permille;
    struct fs_scan scan;
    bool scanning;
    struct fs_record_page page;
    bool paging;
    enum scrub_phase totals_then, log_then;
    bool log_then_done;
    bool log_last; /* repair: what comes after the log is the end */
    struct fs_repair_run mend;
    bool mending;
    bool last_turns; /* repair: the scan found nothing, only the queue is not empty */
    struct fs_scan_log log;
    bool logging;
    struct c2_timer pause;                 /* rate, hours */
    void (*scanned)(struct scrub_run *r);  /* a window was counted */
    void (*log_over)(struct scrub_run *r); /* ends the step after the log; NULL = `then` comes */
};

struct scrub_run *scrub_run_new(struct job *j, struct fs_scrubber *own);
void scrub_run_stop(struct scrub_run *r); /* the step ends soon */
/* PHASE_TOTALS: counts some records into rec.objects_total and bytes_total; ends the step. */
void scrub_totals_step(struct scrub_run *r);
/* A window; then r->scanned, unless it failed and the step was ended. */
void scrub_scan_step(struct scrub_run *r);
/* PHASE_JOURNAL and PHASE_CHECKPOINTS; then comes `then`, or the job is done. */
void scrub_log_step(struct scrub_run *r, bool mend, enum scrub_phase then, bool then_done);
/* Keeps the place and ends the step, after a pause if the seats' rates want one. */
void scrub_step_end(struct scrub_run *r, bool finished);
/* "12 of 300 objects are below their goal: 10 shares are missing, ..." */
void scrub_message(struct scrub_run *r);

#endif
