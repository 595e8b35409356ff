/* SPDX-License-Identifier: MIT */
/*
 * Garbage collection: objects of which no file uses a byte are deleted from the clouds. A round:
 *
 *   condemn   a dead object that has been dead for gc_retention and that nothing in memory or in
 *             the journal names: its O and R records become a K record, in one transaction. From
 *             then on no commit can name it (fs/anchor.c: EXISTS(O) is a condition).
 *   ship      the log up to here is in the clouds: whoever recovers the volume knows it, too
 *   delete    from every seat; absent is fine, a seat that cannot be asked is not
 *   forget    the K record goes when every seat has confirmed
 *   orphans   objects that no record names, of sessions that ended a day ago: by LIST
 *
 * Everything can be repeated, so a crash anywhere is harmless. docs/garbage.md says why each step
 * is there.
 */
#ifndef C2_FS_GC_H
#define C2_FS_GC_H

#include "depsky/depsky.h"

struct fs;
struct fs_gc;

#define FS_GC_AS_CONFIGURED UINT64_MAX

/* Bytes are those at all providers together. */
struct fs_gc_report {
    uint64_t records;                        /* looked at */
    uint64_t young_objects, young_bytes;     /* dead, but not long enough, or still named */
    uint64_t free_objects, free_bytes;       /* may go: dead long enough, or condemned before */
    uint64_t deleted_objects, deleted_bytes; /* gone from every seat */
    uint64_t held_up_objects, held_up_bytes; /* condemned; a seat has not confirmed yet */
    uint64_t orphans;                        /* objects without a record, found */
    uint64_t orphans_deleted;                /* confirmed by every seat */
    uint64_t seat_objects[DS_SEATS_MAX];     /* of those that may go */
    uint64_t seat_bytes[DS_SEATS_MAX];
};

/* A round on demand. */
struct fs_gc_run {
    bool dry_run;                      /* nothing is changed */
    uint64_t retention_ns;             /* FS_GC_AS_CONFIGURED */
    void (*done)(struct fs_gc_run *r); /* never from inside start */
    enum c2_err
        err; /* out: OK, also when seats did not confirm; CANCELED, FENCED, why a LIST failed */
    struct fs_gc_report report; /* out */
    struct c2_link link;        /* private */
    void *priv;
};
/* After the round that runs. */
void fs_gc_run_start(struct fs *fs, struct fs_gc_run *r);
/* done runs soon with CANCELED, unless it is over. */
void fs_gc_run_cancel(struct fs *fs, struct fs_gc_run *r);

struct fs_gc_status {
    bool on; /* rounds in the background */
    bool running;
    uint64_t rounds;                         /* of this mount, complete ones */
    uint64_t last_wall_ns;                   /* when the last complete one ended, 0 = none yet */
    enum c2_err last_error;                  /* of the last one */
    uint64_t waiting_objects, waiting_bytes; /* dead or condemned, as the last round saw it */
    uint64_t deleted_objects, deleted_bytes; /* of this mount */
    uint64_t orphans_deleted;
};
void fs_gc_status(const struct fs *fs, struct fs_gc_status *ret_status);

/* ---- for life.c ----------------------------------------------------------------------------- */

struct fs_gc *fs_gc_new(struct fs *fs);
void fs_gc_free(struct fs_gc *g); /* idle; NULL is fine */
void fs_gc_start(struct fs *fs);  /* the volume is open */
void fs_gc_stop(struct fs *fs);   /* nothing new; what runs ends soon */
bool fs_gc_idle(const struct fs *fs);

#endif
