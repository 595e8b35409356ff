/* SPDX-License-Identifier: MIT */
/*
 * Private to compact.c (what to rewrite), compact_file.c (rewriting one file) and compact_crowd.c
 * (files in very many pieces).
 */
#ifndef C2_FS_COMPACT_IMPL_H
#define C2_FS_COMPACT_IMPL_H

#include "fs/compact.h"
#include "fs/coord_keys.h"
#include "fs/fetch.h"
#include "fs/fs.h"

#define COMPACT_PAGE    256u
#define COMPACT_SPARSE  4096u /* objects in one pass */
#define COMPACT_HINTS   256u
#define COMPACT_CROWDED 16u
#define COMPACT_WAIT_NS C2_NS_PER_S /* until others are done */

struct compact_object {
    uint64_t sid, seq;
};

struct fs_compact {
    struct fs *fs;
    struct c2_timer timer; /* begins passes */
    uint64_t due_ns;       /* the next pass through everything */
    bool running, stopped;
    struct fs_compact_status status;
    uint64_t crowded[COMPACT_CROWDED]; /* files that come before all others */
    size_t ncrowded;
    uint64_t again_ns; /* not before: what was read last for a crowded one could not be */
    uint64_t hints[COMPACT_HINTS];
    size_t nhints;

    /* this pass */
    bool walking; /* through all files */
    bool crowded_only;
    struct compact_object *sparse; /* sorted */
    size_t nsparse;
    uint64_t waste, live;
    struct coord_req req;
    bool asking;
    struct ck prefix, cursor;
    bool more;
    struct ck *keys;         /* COMPACT_PAGE */
    struct c2_slice *slices; /* COMPACT_PAGE */
    struct compact_object page[COMPACT_PAGE];
    uint64_t page_len[COMPACT_PAGE];
    size_t npage;
    uint64_t inos[COMPACT_PAGE + COMPACT_HINTS];
    size_t ninos, next;

    /* this file, compact_file.c */
    struct c2_timer pause, load;
    uint64_t ino;
    bool joining;           /* it is crowded: these two say which windows are rewritten */
    size_t join_least;      /* those that become so many extents fewer */
    bool join_holes;        /* zeros are written into holes between extents */
    bool join_again;        /* something could not be read now */
    struct fs_inode *inode; /* one pin */
    uint64_t off;           /* done up to here */
    uint64_t window;        /* the one judged last, and whether it is in too many pieces */
    bool window_judged, window_fragmented;
    struct fs_map *seen;    /* the piece's extents when it was begun; one reference */
    struct fs_chunk *chunk; /* the piece; one reference */
    uint64_t piece_off, piece_len;
    uint32_t fill;
    struct fs_fetch fetch;
    bool fetching, rewrote, changed;
};

/* Whether some part of the content should be rewritten. */
bool compact_wanted(const struct fs_compact *c, const struct fs_map *map);
/* Everything is as it must be for rewriting: all seats online, nobody works, not too much under
 * way. */
bool compact_may_go_on(struct fs_compact *c);
/* The most bytes of one piece. */
uint64_t compact_piece_max(const struct fs_compact *c);

/* ---- compact_crowd.c ------------------------------------------------------------------------- */

bool compact_seats_are_well(const struct fs *fs);
/* Chooses the windows of c->inode. */
void compact_join_begin(struct fs_compact *c);
/* How long the next piece has to wait; 0 = go on, NEVER = not now, a write will ask again. */
uint64_t compact_join_wait(struct fs_compact *c);
/* What is left of a pause of so many nanoseconds, which compact_rate asks for after a piece. */
uint64_t compact_join_pause(const struct fs_compact *c, uint64_t ns);
/* Whether the extent is in one of the windows, and small. */
bool compact_join_wanted(struct fs_compact *c, const struct fs_extent *e);
/* Whether an extent may be in one piece with what ends before it. */
bool compact_join_reaches(const struct fs_compact *c, uint64_t end, const struct fs_extent *e);
/* What was learnt about the file. */
void compact_join_end(struct fs_compact *c);

/* ---- compact_file.c -------------------------------------------------------------------------- */

/* Rewrites the file c->ino; then compact_file_over. */
void compact_file_start(struct fs_compact *c);
void compact_file_over(struct fs_compact *c);
void compact_file_stop(struct fs_compact *c);

#endif
