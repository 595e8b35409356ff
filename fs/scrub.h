/* SPDX-License-Identifier: MIT */
/*
 * The jobs that look for damage and remove it (fs/job.h):
 *
 *   scrub   params "mode=exists|sample|data", "permille=N": every object is looked at (fs/scan.h).
 *           rec.errors = objects below their goal.
 *   repair  a scan, the repair queue (fs/repair.h), and another scan, again and again as long as
 *           that helps. Success is what the last scan says, not what was done.
 */
#ifndef C2_FS_SCRUB_H
#define C2_FS_SCRUB_H

#include "fs/job.h"
#include "fs/scan.h"

struct fs_scrub_config {
    unsigned from_hour, to_hour;      /* a scrub works from .. to only, UTC; equal = at any time */
    uint64_t seat_rate[DS_SEATS_MAX]; /* bytes per second that a scrub reads there; 0 = no limit */
};

struct fs_scrubber;

struct fs_scrubber *fs_scrubber_new(struct fs *fs, const struct fs_scrub_config *config);
/* After jobs_free; NULL is fine. */
void fs_scrubber_free(struct fs_scrubber *s);
/* For jobs_register. */
const struct job_kind *fs_scrubber_scrub(const struct fs_scrubber *s);
const struct job_kind *fs_scrubber_repair(const struct fs_scrubber *s);

/* What a scrub, or the last scan of a repair, has counted so far, per seat. */
void fs_scrub_counts(const struct job *j, struct fs_scan_counts *ret_counts);

#endif
