/* SPDX-License-Identifier: MIT */
/*
 * Data that is lost for good before it reached the clouds: a piece of the journal that the disk has
 * damaged, or the group in which a file began. It must neither block what comes after it nor turn
 * into zeros. So the range of the file becomes an extent of a reserved object, the one with id
 * zero, which is in no cloud and never counted: reading it is an error until it is overwritten,
 * user.c2fs.state is "failed", and everything else of the file and of the group goes on.
 */
#ifndef C2_FS_LOST_H
#define C2_FS_LOST_H

#include "fs/extent.h"

struct fs_inode;

#define FS_LOST_TEXT_MAX 200
#define FS_LOST_NAMES    6

/* What this mount found. */
struct fs_lost {
    uint64_t files, bytes;
    uint64_t inos[FS_LOST_NAMES]; /* the first ones */
    char text[FS_LOST_TEXT_MAX];  /* their names, for people */
};

#define FS_DESCRIPTION_MAX 80
/* "name (inode 7)", for people; the name when one is in memory. */
void fs_describe_inode(const struct fs *fs, uint64_t ino, char out[FS_DESCRIPTION_MAX]);

bool fs_object_is_lost(const struct fs_object *o);
/* One reference for the caller. */
struct fs_object *fs_object_lost(struct fs *fs);
/* Only the journal had the chunk, and it cannot be read: whatever waits for its upload goes on. */
void fs_chunk_lose(struct fs *fs, struct fs_chunk *c);
/* All of the content that a file should have. */
void fs_inode_lose(struct fs *fs, struct fs_inode *i);
bool fs_map_has_lost(const struct fs_map *m); /* NULL is fine */

#endif
