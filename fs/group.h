/* SPDX-License-Identifier: MIT */
/*
 * A moment: everything that is dirty for the journal and not held, at one instant, as one or more
 * journal groups (fs/publish.h has their format). Private to publish.c and group.c.
 */
#ifndef C2_FS_GROUP_H
#define C2_FS_GROUP_H

#include "fs/publish.h"

/* One journal group. */
struct fs_part {
    struct c2_buf meta;       /* empty: data only */
    struct fs_chunk **chunks; /* one reference and one use each */
    struct c2_slice *pieces;
    size_t npieces, cap;
    uint64_t piece_bytes;
};

struct fs_moment {
    struct fs *fs;
    struct fs_part *parts; /* written one after the other; a replay takes all or nothing */
    size_t nparts, parts_cap;
    uint64_t seq;           /* of the first part */
    struct fs_taken *taken; /* inodes it says something about, one pin each */
    size_t ntaken, taken_cap;
    struct fs_dentry **entries; /* the same, one pin each */
    size_t nentries, entries_cap;
};

/* Takes what is dirty; nparts is 0 when there is nothing. Chunks that are taken are frozen. */
void fs_moment_build(struct fs_moment *m);
/* Takes data only, oldest first, about so many bytes. */
void fs_moment_spill(struct fs_moment *m, uint64_t bytes);
/* A part is in the journal: its chunks know where. */
void fs_part_written(struct fs_moment *m, struct fs_part *p, const struct journal_loc *locs);
/* All parts are in the journal; or it failed, and everything is dirty again. Empties the moment. */
void fs_moment_end(struct fs_moment *m, bool written);
void fs_moment_done(struct fs_moment *m); /* frees what an empty one holds */

#endif
