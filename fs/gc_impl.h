/* SPDX-License-Identifier: MIT */
/*
 * Private to fs/gc*.c. A round is a row of steps; one thing is under way at a time, and when it
 * ends g->then goes on with its result.
 */
#ifndef C2_FS_GC_IMPL_H
#define C2_FS_GC_IMPL_H

#include "fs/coord_keys.h"
#include "fs/fs.h"
#include "fs/gc.h"
#include "fs/gc_record.h"

#define GC_PAGE        1000u  /* records looked at in one go */
#define GC_CONDEMN_MAX 120u   /* in one transaction: two conditions each */
#define GC_VALUE_MAX   120u   /* of an O record */
#define GC_ORPHANS_MAX 20000u /* in one round: a lying seat can list as many as it likes */

struct gc_item {
    struct ds_oid oid;
    uint32_t placed;
    uint64_t stored_bytes;
    uint64_t o_version, r_version;
    uint8_t value[GC_VALUE_MAX];
    size_t value_len;
};

struct fs_gc {
    struct fs *fs;
    struct c2_timer timer; /* begins rounds */
    struct c2_timer pause; /* within one */
    struct c2_list runs;   /* fs_gc_run.link: waiting */
    struct fs_gc_run *run; /* whose round it is; NULL: in the background */
    bool running, stopped;
    bool canceled; /* this round ends as soon as it can */
    struct fs_gc_status status;
    uint64_t next_round_ns;

    /* this round */
    bool dry_run;
    uint64_t retention_ns;
    uint64_t wall_ns; /* when it began */
    struct fs_gc_report report;
    struct gc_clock clock;
    uint64_t dead_version;  /* dead long enough: not changed since */
    uint64_t ended_session; /* sessions before it ended long enough ago */
    struct gc_item *items;  /* GC_PAGE of them, while a round runs */
    size_t nitems, next;
    struct ck prefix, cursor;
    bool more, shipped;
    uint64_t orphans_sid, orphans_seq; /* LIST goes on after this one */
    bool looked_twice;

    /* under way */
    void (*then)(struct fs_gc *g, enum c2_err err);
    bool asking, syncing, shipping, deleting, listing;
    struct coord_req req;
    struct coord_cond conds[2 + 2 * GC_CONDEMN_MAX];
    struct coord_op *ops;    /* GC_PAGE of them, while a round runs */
    struct c2_buf bytes;     /* values of ops */
    struct ck *keys;         /* 3 * GC_CONDEMN_MAX or GC_PAGE of them */
    struct c2_slice *slices; /* GC_PAGE */
    struct fs_sync sync;
    struct fs_ship_wait ship;
    enum c2_err pause_err;
    struct ds_delete delete;
    struct ds_oid *oids; /* GC_PAGE */
    struct ds_list list;
};

typedef void gc_step(struct fs_gc *g, enum c2_err err);

/* ---- gc.c: steps that the phases share; each goes on with `then`, never from inside -----------
 */

/* g->req, filled in up to the deadline; the next step frees it. */
void gc_ask(struct fs_gc *g, gc_step *then);
/* The next page of records under g->prefix after g->cursor. */
void gc_ask_page(struct fs_gc *g, size_t limit, gc_step *then);
/* g->ops, on condition that the mount still has the volume; the first two conditions are filled
 * in. */
void gc_commit(struct fs_gc *g, size_t nconds, size_t nops, gc_step *then);
/* Everything that memory and journal name is committed. */
void gc_sync(struct fs_gc *g, gc_step *then);
/* The log up to the last commit is in the clouds. */
void gc_ship(struct fs_gc *g, gc_step *then);
/* Deletes g->oids. */
void gc_delete(struct fs_gc *g, size_t n, gc_step *then);
/* As long as so many objects may take. */
void gc_pause(struct fs_gc *g, size_t n, gc_step *then);
void gc_add_delete(struct fs_gc *g, size_t at, struct ck key);
void gc_count_seats(struct fs_gc *g, uint32_t placed, uint64_t stored_bytes);
/* The round ends. */
void gc_round_over(struct fs_gc *g, enum c2_err err);

/* ---- the phases, in this order ----------------------------------------------------------------
 */

void gc_clock_start(struct fs_gc *g);   /* gc_condemn.c */
void gc_condemn_start(struct fs_gc *g); /* gc_condemn.c */
void gc_delete_start(struct fs_gc *g);  /* gc_delete.c */
void gc_orphans_start(struct fs_gc *g); /* gc_orphans.c */
/* The record T with one proof more: a commit whose shipping proves that the volume is ours. */
void gc_prove(struct fs_gc *g, gc_step *then); /* gc_condemn.c */

#endif
