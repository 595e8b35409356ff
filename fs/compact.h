/* SPDX-License-Identifier: MIT */
/*
 * Compaction: files are rewritten where reading them would touch too many objects, and where they
 * keep objects alive that are mostly unused. What it does is what a program would do that reads a
 * range and writes the same bytes back, without touching the times: it goes through journal and
 * transaction groups like any write, so a crash anywhere is harmless, and the collector (fs/gc.h)
 * takes the objects that nothing uses any more. Files that are open for writing are no exception:
 * a range that somebody changed while it was read keeps the change.
 *
 * It works when nobody else does, at compact_rate, and only while every seat is online: bytes are
 * verified when they are read, and never written where they would be less safe than they were.
 *
 * A file that comes near to the number of extents that a file can have is *crowded*: its extents
 * are joined at once, whoever else works, so that a file can be written to for ever
 * (fs/compact_crowd.c).
 */
#ifndef C2_FS_COMPACT_H
#define C2_FS_COMPACT_H

#include "base/base.h"

struct fs;
struct fs_inode;
struct fs_req;
struct fs_compact;

#define FS_COMPACT_EXTENTS 16 /* in a window of pack_size bytes: more are rewritten */

struct fs_compact_status {
    bool on, running;
    uint64_t passes;       /* of this mount, complete ones */
    uint64_t files, bytes; /* rewritten */
    uint64_t skipped;      /* files that could not be read, or changed meanwhile */
    uint64_t sparse_bytes; /* unused bytes of objects that are less than half used, last pass */
};
void fs_compact_status(const struct fs *fs, struct fs_compact_status *ret_status);

struct fs_compact *fs_compact_new(struct fs *fs);
void fs_compact_free(struct fs_compact *c); /* idle; NULL is fine */
void fs_compact_start(struct fs *fs);       /* the volume is open */
void fs_compact_stop(struct fs *fs);        /* nothing new; what runs ends soon */
bool fs_compact_idle(const struct fs *fs);
/* Before a change of content. AGAIN: the file has too many extents, and r is parked until they are
 * fewer; TOO_LARGE: they cannot be made fewer. */
C2_RESULT fs_compact_admit(struct fs_req *r, struct fs_inode *i);
/* The same, before so many of one file are added to another. */
C2_RESULT fs_compact_admit_copy(struct fs_req *r, struct fs_inode *from, struct fs_inode *to,
                                size_t extents);
/* The file was committed: the next pass looks at it when it is in many pieces. */
void fs_compact_hint(struct fs *fs, const struct fs_inode *i);

#endif
