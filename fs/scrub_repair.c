/* SPDX-License-Identifier: MIT */
/*
 *   repair:  TOTALS ──► JOURNAL, CHECKPOINTS (mended at once) ──► SCAN
 *            SCAN ──► MEND (the queue, some objects per step) ──► VERIFY ──► LOG AGAIN ──► done
 *             │        ▲                                           │          ▲
 *             │        ├──── still below, and it helped before ────┤          │
 *             │        └──── only the queue says so: once ──────────┤          │
 *             └─ nothing to do ───────────────────────────────────►┴──────────┘
 *
 * LOG AGAIN: JOURNAL and CHECKPOINTS once more. The log is written all the time: a piece that was
 * on its way to a provider that still failed, while the log was listed, is whole at the end, too.
 *
 * The queue is in memory: after a restart in MEND the scan comes first again, and in LOG AGAIN
 * everything.
 */
#include <stdio.h>
#include <string.h>

#include "base/mark.h"
#include "fs/scrub_impl.h"

#define MEND_OBJECTS 16u /* in one step */
#define ROUNDS_MAX   5u

/* After those of every scan. */
enum { REPAIRED_SHARES = SCRUB_COUNTERS, REPAIR_FAILURES };

static const char *const counters[] = {
    "objects",     "healthy",        "below_goal",      "unreadable",
    "verified",    "present",        "missing",         "corrupt",
    "unreached",   "extra",          "orphans",         "orphan_shares",
    "log_objects", "log_below_goal", "repaired_shares", "failed_attempts",
    NULL
};

static void
go(struct scrub_run *r, enum scrub_phase phase)
{
    r->place.phase = phase;
    r->place.set = false;
    if (phase == PHASE_MEND) {
        r->place.round++;
        r->place.healed = 0;
    } else {
        r->place.counts = (struct fs_scan_counts){ 0 };
    }
}

static uint64_t
queue_length(const struct scrub_run *r)
{
    struct fs_repair_status s;
    fs_repair_status(r->own->fs, &s);
    return s.objects;
}

/* The last phase: the log, as it is now. */
static void
conclude(struct scrub_run *r)
{
    r->log_last = true;
    r->place.phase = PHASE_JOURNAL;
    r->place.set = false;
    scrub_step_end(r, false);
}

/* What the scan cannot see: shares that something else found to be bad, and that could not be
 * mended. */
static void
log_over(struct scrub_run *r)
{
    struct job_record *rec = &r->job->rec;
    uint64_t queued = queue_length(r);
    if (rec->errors == 0 && queued > 0) {
        rec->errors = queued;
        (void)snprintf(rec->message, sizeof(rec->message),
                       "%llu objects have shares that could not be repaired",
                       (unsigned long long)queued);
    }
    scrub_step_end(r, true);
}

static void
scanned(struct scrub_run *r)
{
    const struct fs_scan_counts *c = &r->place.counts;
    scrub_message(r);
    if (!r->scan.finished) {
        scrub_step_end(r, false);
        return;
    }
    bool work = c->below > 0 || queue_length(r) > 0;
    bool first = r->place.phase == PHASE_SCAN;
    bool helped = r->place.healed > 0 && r->place.round < ROUNDS_MAX;
    bool doubtful = c->below == 0 && !r->last_turns;
    if (work && (first || helped || doubtful)) {
        r->last_turns = !first && !helped;
        go(r, PHASE_MEND);
        scrub_step_end(r, false);
        return;
    }
    conclude(r);
}

static void
mended(struct fs_repair_run *m)
{
    struct scrub_run *r = C2_CONTAINER_OF(m, struct scrub_run, mend);
    struct job_record *rec = &r->job->rec;
    r->mending = false;
    job_spend(r->job, m->bytes);
    rec->bytes_done += m->bytes;
    rec->counter[REPAIRED_SHARES] += m->shares;
    rec->counter[REPAIR_FAILURES] += m->objects - m->healthy - m->gone;
    r->place.healed += m->healed;
    (void)snprintf(rec->message, sizeof(rec->message), "%llu shares rebuilt, %llu objects to do",
                   (unsigned long long)rec->counter[REPAIRED_SHARES],
                   (unsigned long long)queue_length(r));
    if (!m->more && !m->canceled && r->last_turns && r->place.healed == 0) {
        C2_MARK("scrub: what the queue had is gone, or as it was");
        scrub_message(r);
        conclude(r);
        return;
    }
    if (!m->more && !m->canceled) {
        C2_MARK("scrub: healthy is what a new scan says");
        go(r, PHASE_VERIFY);
    }
    scrub_step_end(r, false);
}

static void
mend_step(struct scrub_run *r)
{
    r->mend = (struct fs_repair_run){ .id = r->job->rec.id + r->place.round,
                                      .max = MEND_OBJECTS,
                                      .done = mended };
    if (r->mend.id == 0)
        r->mend.id = 1;
    r->mending = true;
    fs_repair_run_start(r->own->fs, &r->mend);
}

static void
step(struct job *j)
{
    struct scrub_run *r = j->run;
    r->scanned = scanned;
    switch (r->place.phase) {
    case PHASE_TOTALS:
        scrub_totals_step(r);
        break;
    case PHASE_SCAN:
    case PHASE_VERIFY:
        scrub_scan_step(r);
        break;
    case PHASE_MEND:
        mend_step(r);
        break;
    case PHASE_JOURNAL:
    case PHASE_CHECKPOINTS:
        r->log_over = r->log_last ? log_over : NULL;
        scrub_log_step(r, true, PHASE_SCAN, false);
        break;
    }
}

static enum c2_err
check(struct job *j, char **ret_error)
{
    const struct fs_scrubber *own = j->kind->arg;
    (void)ret_error;
    return own->fs->fenced ? C2_E_FENCED : C2_E_OK;
}

static void
begin(struct job *j)
{
    struct scrub_run *r = scrub_run_new(j, j->kind->arg);
    r->mode = FS_SCAN_EXISTS;
    r->totals_then = PHASE_JOURNAL;
    if (r->place.phase == PHASE_MEND)
        go(r, PHASE_SCAN);
    j->run = r;
}

struct job_kind
scrub_repair_kind(struct fs_scrubber *own)
{
    return (struct job_kind){ .name = "repair",
                              .arg = own,
                              .counters = counters,
                              .check = check,
                              .begin = begin,
                              .step = step };
}
