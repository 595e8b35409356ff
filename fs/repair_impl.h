/* SPDX-License-Identifier: MIT */
/*
 * Private to fs/repair*.c.
 */
#ifndef C2_FS_REPAIR_IMPL_H
#define C2_FS_REPAIR_IMPL_H

#include "fs/mend.h"
#include "fs/placement.h"
#include "fs/repair.h"
#include "fs/scan_log.h"

#define REPAIR_PARALLEL_MAX 16u
#define REPAIR_RETRY_NS     (60 * C2_NS_PER_S) /* the first time */

/* ---- what was done gets into the records (repair_place.c) ------------------------------------ */

struct repair_places {
    struct fs_repair *r;
    struct fs_place place; /* being committed, when placing */
    bool placing, again;
    struct fs_place_item pending[FS_PLACE_MAX]; /* for the next batch */
    size_t n;
    struct c2_timer timer;
    struct ds_delete undo; /* of shares whose object is gone */
    struct ds_oid undo_oids[FS_PLACE_MAX];
    bool undoing;
};

void repair_places_init(struct repair_places *p, struct fs_repair *r);
/* With the objects that run there is never more than fits. */
void repair_places_add(struct repair_places *p, const struct fs_mend *m);
void repair_places_flush(struct repair_places *p);
/* Something waits for the store, or for the clouds because of it. */
bool repair_places_busy(const struct repair_places *p);

/* ---- pieces of the metadata log (repair_log.c) ----------------------------------------------- */

struct repair_log {
    struct fs_repair *r;
    uint32_t wanted; /* seats that did not take a piece */
    bool running, again;
    unsigned tries;
    struct fs_scan_log scan;
    struct c2_timer timer;
};

void repair_log_init(struct repair_log *l, struct fs_repair *r);
void repair_log_stop(struct repair_log *l);

/* ---- the queue and its turns (repair.c) ------------------------------------------------------ */

struct fs_repair {
    struct fs *fs;
    struct c2_env *env;
    struct c2_map entries;                  /* by object id */
    struct c2_list waiting;                 /* by due_ns */
    struct c2_list ready[DS_SEATS_MAX + 1]; /* [lost shares] */
    struct c2_list running;
    size_t memory; /* of what runs */
    struct c2_timer timer;
    uint64_t pace_ns; /* the rate limit: nothing begins before */
    struct fs_repair_run *run;
    struct repair_places places;
    struct repair_log log;
    bool stopped;
    struct fs_repair_status total;
};

/* Places were committed, or cannot be. */
void repair_placed(struct fs_repair *r);
/* Until what failed so often is tried again. */
uint64_t repair_retry_ns(unsigned tries);
/* Nothing speaks against a new share there. */
bool repair_seat_takes(const struct fs_repair *r, unsigned seat);

#endif
