/* SPDX-License-Identifier: MIT */
/*
 * Reading journal groups (fs/publish.h has their format). Decodes and checks bounds, nothing else.
 * Private to fs/replay*.c.
 */
#ifndef C2_FS_GROUP_READ_H
#define C2_FS_GROUP_READ_H

#include "base/wire.h"
#include "depsky/depsky.h"
#include "fs/journal.h"
#include "fs/publish.h"

struct group_item {
    char kind; /* N, I, X, D */
    uint64_t next_ino;
    uint64_t ino, dir;
    uint64_t before; /* I: the group that its content builds on; 0 = none */
    uint32_t type;
    struct c2_slice record, name; /* borrowed from the group */
    bool content;
    uint32_t nextents; /* follow: read or skip them before the next item */
};

struct group_extent {
    uint64_t off, len;
    enum group_source kind;
    uint32_t piece;         /* GROUP_PIECE */
    struct journal_loc loc; /* GROUP_LOC */
    struct ds_ref ref;      /* GROUP_OBJECT, as the two below */
    uint32_t placed;
    uint64_t stored_bytes;
    uint64_t source_off;
};

/* The meta record of a group, empty for one of data only. VERSION. */
C2_RESULT group_check_version(struct c2_slice meta);
/* Its version was checked. */
struct c2_rd group_read_begin(struct c2_slice meta, uint8_t *ret_version);
/* False at the end, or when it is malformed (see r). */
bool group_read_item(struct c2_rd *r, uint8_t version, struct group_item *it);
void group_read_extent(struct c2_rd *r, struct group_extent *x);
/* Whether its extents, which r is at, are the whole file, whatever was there before. */
bool group_is_whole(struct c2_rd r, const struct group_item *it, uint64_t size);
void group_skip_extents(struct c2_rd *r, const struct group_item *it);

#endif
