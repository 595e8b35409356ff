/* SPDX-License-Identifier: MIT */
/*
 * Reading a range of a source, wherever its bytes are: memory, journal, cache, clouds.
 */
#ifndef C2_FS_FETCH_H
#define C2_FS_FETCH_H

#include "fs/fs.h"

#define FS_FETCH_BLOCKS_MAX 3 /* cache blocks that a range of FS_READ_MAX can touch, and one */

struct fs_fetch {
    struct fs_source *source; /* borrowed until done */
    uint64_t off, len;        /* len <= FS_READ_MAX */
    bool whole_object; /* on a miss read the whole object: its neighbours will be wanted soon */
    void (*done)(struct fs_fetch *f); /* never from inside start */

    enum c2_err err;
    struct c2_slice data; /* out: valid until fs_fetch_done */

    /* private */
    struct fs *fs;
    struct fs_object *object; /* one reference */
    uint64_t object_off;
    uint32_t first_block, nblocks, have;
    struct c2_blob *block[FS_FETCH_BLOCKS_MAX];
    struct c2_blob *joined;
    struct cache_get cache;
    struct journal_read journal;
    struct c2_task task;
};

void fs_fetch_start(struct fs *fs, struct fs_fetch *f);
/* Frees what a completed fetch holds. */
void fs_fetch_done(struct fs_fetch *f);

/* Brings an object into the cache in the background, unless it is there or on its way. */
void fs_prefetch(struct fs *fs, struct fs_object *o);

#endif
