/* SPDX-License-Identifier: MIT */
/*
 * Private to fs/repair*.c.
 */
#ifndef C2_FS_REPAIR_IMPL_H
#define C2_FS_REPAIR_IMPL_H

#include "fs/mend.h"
#include "fs/placement.h"
#include "fs/repair.h"

#define REPAIR_PARALLEL_MAX 16u

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
    bool stopped;
    struct fs_repair_status total;
};

/* Places were committed, or cannot be. */
void repair_placed(struct fs_repair *r);

#endif
