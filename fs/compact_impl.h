/* SPDX-License-Identifier: MIT */
/*
 * Private to compact.c (what to rewrite) and compact_file.c (rewriting one file).
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
#define COMPACT_WAIT_NS C2_NS_PER_S /* until others are done */

struct compact_object {
    uint64_t sid, seq;
};

struct fs_compact {
    struct fs *fs;
    struct c2_timer timer; /* begins passes */
    bool running, stopped;
    struct fs_compact_status status;
    uint64_t hints[COMPACT_HINTS];
    size_t nhints;

    /* this pass */
    bool walking;                  /* through all files */
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
    struct fs_inode *inode; /* one pin */
    uint64_t off;           /* done up to here */
    uint64_t window;        /* the one judged last, and whether it is in too many pieces */
    bool window_judged, window_fragmented;
    struct fs_map *seen;    /* the file when the piece was begun; one reference */
    struct fs_chunk *chunk; /* the piece; one reference */
    uint64_t piece_off, piece_len;
    uint32_t fill;
    struct fs_fetch fetch;
    bool fetching, rewrote;
};

/* Whether some part of the content should be rewritten. */
bool compact_wanted(const struct fs_compact *c, const struct fs_map *map);
/* Everything is as it must be for rewriting: all seats online, nobody works, not too much under
 * way. */
bool compact_may_go_on(struct fs_compact *c);
/* Rewrites the file c->inos[c->next]; then compact_file_over. */
void compact_file_start(struct fs_compact *c);
void compact_file_over(struct fs_compact *c);
void compact_file_stop(struct fs_compact *c);

#endif
