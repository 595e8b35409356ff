/* SPDX-License-Identifier: MIT */
/*
 * Brings one object back to its goal: finds out which of its shares are lost, rebuilds exactly
 * those, and asks again. What is rebuilt is byte for byte what was first written; no key is needed.
 */
#ifndef C2_FS_MEND_H
#define C2_FS_MEND_H

#include "depsky/depsky.h"

struct fs_mend {
    struct ds_client *ds; /* borrowed until done */
    enum ds_kind kind;
    struct ds_ref ref; /* without a root (all zero): the one on which f + 1 shares agree is used */
    uint32_t placed;   /* seats that should hold a share */
    uint32_t suspect;  /* of them: looked at to the last byte, not only the headers */
    /* Not 0: nothing is looked at before, these seats get their share whatever they hold. */
    uint32_t fill;
    struct provider *source; /* with one seat in fill: asked first for that share; NULL = none */
    void (*done)(struct fs_mend *m);

    /*
     * out: OK = the query after the work found as many shares as ds_client_goal_of() wants, or
     * those in fill. UNREACHABLE = what is missing could not be asked. NOT_FOUND, QUORUM = too few
     * good shares to rebuild from. INVALID = no such object can be. CANCELED. Else why a target
     * failed.
     */
    enum c2_err err;
    uint32_t good;         /* verified, after the work */
    uint32_t missing, bad; /* found before it */
    uint32_t unknown;      /* could not be asked */
    uint32_t rebuilt;      /* and verified; a seat outside `placed` took the place of another */
    uint32_t spare;        /* seats outside `placed` that had a good share already */
    uint32_t failed;       /* should have been rebuilt and is not */
    uint32_t placed_now;   /* what the record should say */
    uint64_t since;        /* ds_client_changes() when it began: placed_now holds for those seats */
    uint64_t bytes_read, bytes_written;

    /* private */
    struct ds_get get;
    struct ds_check check;
    struct ds_rebuild rebuild;
    uint32_t todo;
    bool spares; /* others have taken the place of what failed, or cannot */
    enum c2_err why;
};

void fs_mend_start(struct fs_mend *m);

#endif
