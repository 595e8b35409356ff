/* SPDX-License-Identifier: MIT */
/*
 * Changes of where the shares of objects are, in object records: one transaction for a batch. Each
 * record is changed on condition that it is still as it was read, so that nothing which happened to
 * it meanwhile (a collection above all) is undone; what changed is read again. A record that is
 * gone, or no longer of a live object, is left alone.
 *
 * What somebody found out about a seat holds for the provider that the seat had then. Where it has
 * another one by now, or is being left, nothing is changed: who moves the seat looks at the record,
 * not at what was going to be written there. So the commit names the configuration, too.
 */
#ifndef C2_FS_PLACEMENT_H
#define C2_FS_PLACEMENT_H

#include "fs/object_record.h"
#include "metadata/coord.h"

#define FS_PLACE_MAX     128 /* objects in one batch */
#define FS_PLACE_CONDS   3u  /* lock, session and configuration */
#define FS_PLACE_WAIT_NS (10 * C2_NS_PER_S)

struct fs;

struct fs_place_item {
    struct ds_ref
        ref; /* the root counts for a record that has none (version 1); zero = not known */
    uint32_t set, clear; /* seats */
    uint64_t since;      /* ds_client_changes() before anything was found out about them */
    bool gone;           /* out: there is nothing to change any more */
    bool stale;          /* out: nothing was changed, one of the seats is not what it was */
    uint32_t placed;     /* out: as the record has it; not when it is gone */
};

struct fs_place {
    struct fs *fs; /* borrowed until done */
    struct fs_place_item item[FS_PLACE_MAX];
    size_t n;
    void (*done)(struct fs_place *p); /* never from inside start */
    /* out: OK; FENCED when this mount may not write any more; CONFLICT when the records change all
     * the time; else the store did not answer in FS_PLACE_WAIT_NS: start it again */
    enum c2_err err;

    /* private */
    struct coord_req req;
    unsigned tries;
    uint64_t deadline_ns;
    struct c2_timer retry;
    size_t nops;
    struct ck keys[FS_PLACE_MAX];
    struct c2_slice slices[FS_PLACE_MAX];
    struct fs_object_record rec[FS_PLACE_MAX];
    struct ck config_key;
    struct coord_cond conds[FS_PLACE_MAX + FS_PLACE_CONDS];
    struct coord_op ops[FS_PLACE_MAX];
    struct c2_buf values;
};

/* n > 0 */
void fs_place_start(struct fs_place *p);

#endif
