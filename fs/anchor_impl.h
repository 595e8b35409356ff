/* SPDX-License-Identifier: MIT */
/*
 * Private to fs/anchor*.c: one group on its way into the store, a transaction at a time.
 */
#ifndef C2_FS_ANCHOR_IMPL_H
#define C2_FS_ANCHOR_IMPL_H

#include "fs/coord_keys.h"
#include "fs/live.h"
#include "fs/txg.h"

#define ANCHOR_CONDS 4u /* lock, session, marker and configuration */

struct anchor_op {
    enum coord_op_kind kind;
    size_t key, key_len, value, value_len; /* in bytes */
    int64_t number;
};

/* What goes into the next part: an item, or a piece of one that is too large. */
enum anchor_phase {
    PHASE_BEGIN,
    PHASE_INODES,
    PHASE_ENTRIES,
    PHASE_REMOVALS,
    PHASE_DELETIONS,
    PHASE_LATE, /* what large changes take away */
    PHASE_POSITION,
    PHASE_END,
};

struct anchor_build {
    struct anchor *a;
    enum anchor_phase phase;
    size_t at; /* the next item of the phase */

    /* the part */
    struct c2_buf bytes;   /* keys and values */
    struct anchor_op *ops; /* PART_OPS of them and the marker */
    size_t nops;
    struct fs_live live; /* its changes of objects; added to ops when it is full */
    size_t ngains;       /* of them: at most so many conditions */
    int64_t used_bytes, used_files;

    /* the item that is next: made ready once, however often it does not fit */
    bool ready;
    struct fs_live item; /* its changes */
    bool spread;         /* they do not fit a part: it gains some of them at a time */
    struct fs_live late; /* what such items lose */

    bool has_ship_record, has_garbage;
    struct coord_op part[COORD_TXN_OPS_MAX];
    struct coord_cond conds[COORD_TXN_CONDS_MAX];
    size_t nconds, nexists;
    struct ck exists[COORD_TXN_CONDS_MAX]; /* objects that must have their record */
    struct ck marker_key;
    uint8_t marker[FS_COMMIT_MARKER_LEN];
    struct ck config_key;
    struct c2_timer retry;
};

/* The next part: bytes, ops, exists and live. There is one until the phase is PHASE_END. */
void anchor_build_part(struct anchor_build *b);

#endif
