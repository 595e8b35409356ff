/* SPDX-License-Identifier: MIT */
/*
 * Fills one seat with the shares that it should have: for a provider that replaces another one, or
 * that joins. A walk over the object records in batches, resumable after each: the next batch goes
 * on from `after`, in another mount as well, and a batch that is repeated finds its work done.
 */
#ifndef C2_FS_FILL_H
#define C2_FS_FILL_H

#include "fs/mend.h"
#include "fs/placement.h"
#include "fs/record_page.h"

struct fs_fill {
    struct fs *fs;           /* borrowed until done */
    unsigned seat;           /* occupied */
    struct provider *source; /* asked first for the very share: who leaves the seat; NULL = none */
    bool every;              /* every object gets a share there; else those whose record says so */
    unsigned max;            /* records in this batch, at most FS_PLACE_MAX */
    unsigned parallel;       /* objects at the same time, 1..16 */
    struct fs_record_after after; /* in and out */
    void (*done)(struct fs_fill *f);

    /* out: OK also when objects failed; else the records could not be read or written, and `after`
     * is where it was */
    enum c2_err err;
    bool finished;          /* there is no record after this batch */
    unsigned objects;       /* records seen */
    unsigned present;       /* the share was there already, and verified */
    unsigned filled;        /* it is now, by a query after the PUT */
    unsigned failed;        /* told to repair (fs/repair.h); run the walk again in the end */
    enum c2_err last_error; /* of a failed one */
    uint64_t bytes_read, bytes_written;

    struct fs_fill_batch *own; /* private */
};

void fs_fill_start(struct fs_fill *f);
/* What runs ends (soon when the client quiesces), nothing new is begun; done runs then, with
 * CANCELED. */
void fs_fill_cancel(struct fs_fill *f);

#endif
