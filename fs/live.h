/* SPDX-License-Identifier: MIT */
/*
 * How many bytes of each object are in use: what a change of files adds and takes away. The store
 * keeps the sums (R keys); an object of which nothing is in use may be collected.
 */
#ifndef C2_FS_LIVE_H
#define C2_FS_LIVE_H

#include "fs/fs.h"

struct fs_manifest;

struct fs_live_change {
    struct c2_map_node node;
    struct c2_link link;
    struct fs_object *object; /* one reference */
    int64_t bytes;
};

struct fs_live {
    struct c2_map by_object;
    struct c2_list changes; /* fs_live_change.link, in the order of their first mention */
};

void fs_live_init(struct fs_live *l);
void fs_live_done(struct fs_live *l);
void fs_live_add(struct fs_live *l, struct fs_object *o, int64_t bytes);
void fs_live_forget(struct fs_live *l, struct fs_live_change *c); /* one of its changes */
/* A file whose content was `from` is `to` now; NULL = nothing. Everything must be in objects. */
void fs_live_content(struct fs_live *l, const struct fs_map *from, const struct fs_map *to);
/* The leaves of a manifest (NULL = none) came (1) or went (-1). */
void fs_live_leaves(struct fs_live *l, const struct fs_manifest *m, int sign);

#endif
