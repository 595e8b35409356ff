/* SPDX-License-Identifier: MIT */
/*
 * Repair: the queue of objects of which shares are known to be lost. Whoever finds one tells it
 * here: reads, the watch over the providers, scrubs, and commits of what could not be written to as
 * many seats as it should be in (redundancy = full, and a provider was away). Objects with the
 * fewest good shares come first; each is mended (fs/mend.h) after a grace time, or at once when
 * somebody runs the queue. What cannot be mended now is tried again later, and never stops the
 * others.
 *
 * The queue is bounded and in memory only: what it forgets, the next scrub finds.
 */
#ifndef C2_FS_REPAIR_H
#define C2_FS_REPAIR_H

#include "fs/fs.h"

#define FS_REPAIR_QUEUE_MAX  65536u
#define FS_REPAIR_MEMORY_MAX (96u << 20) /* of objects that are mended at the same time */

struct fs_repair;

struct fs_repair *fs_repair_new(struct fs *fs);
void fs_repair_free(struct fs_repair *r); /* idle; NULL is fine */
/* Nothing new is begun, what runs ends soon (the client quiesces). */
void fs_repair_stop(struct fs *fs);
bool fs_repair_idle(const struct fs *fs);

/* Some of the seats in `placed` have no good share of this object, or there are too few of them. */
void fs_repair_found(struct fs *fs, const struct ds_ref *ref, uint32_t placed, uint32_t lost);

/* A piece of the metadata log or of a checkpoint was written to, or is at, these seats. When they
 * are too few, the log is looked through after the same grace time, and mended (fs/scan_log.h). */
void fs_repair_log_found(struct fs *fs, uint32_t placed);

/* Works through the queue without waiting for grace times, until `max` objects had their turn or
 * there is none that had not. Caller-owned until done; one at a time. */
struct fs_repair_run {
    uint64_t id;  /* objects that had their turn in a run with this id are not tried again */
    unsigned max; /* objects */
    void (*done)(struct fs_repair_run *run); /* never from inside start */

    /* out */
    unsigned objects; /* had their turn */
    unsigned healthy; /* of them are at their goal now */
    unsigned shares;  /* rebuilt */
    unsigned healed;  /* objects that are at their goal because of that */
    unsigned gone;    /* objects that are in use no more */
    uint64_t bytes;   /* read and written */
    enum c2_err last_error;
    bool canceled;
    bool more; /* objects are left that had no turn */

    /* private */
    unsigned running;
    struct c2_task task;
    struct fs_repair *repair;
};
void fs_repair_run_start(struct fs *fs, struct fs_repair_run *run);
void fs_repair_run_cancel(struct fs *fs, struct fs_repair_run *run); /* begins nothing new */

struct fs_repair_status {
    uint64_t objects; /* waiting or running */
    uint64_t shares;  /* lost ones of them, as far as is known */
    uint64_t at_risk; /* objects that the loss of one more share would make unreadable */
    uint64_t running;
    uint64_t forgotten;      /* did not fit the queue: a scrub finds them again */
    uint64_t shares_total;   /* rebuilt since the mount began, as all below */
    uint64_t objects_total;  /* mended */
    uint64_t failures_total; /* turns that left an object below its goal */
    uint64_t bytes_read, bytes_written;
    enum c2_err last_error; /* of the latest turn, OK after a success */
};
void fs_repair_status(const struct fs *fs, struct fs_repair_status *ret_status);

#endif
