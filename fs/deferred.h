/* SPDX-License-Identifier: MIT */
/*
 * Large files that the journal has changes of, when a mount begins. The map of such a file (its
 * manifest) is in the clouds, which may not answer. So the replay puts its changes onto a stand-in
 * for the committed content, and the mount goes on; the real content is put below the changes when
 * the clouds have given it.
 *
 *   REPLAY (map = stand-in + changes) --> LOAD, again and again --> the stand-in becomes the
 * content
 *
 * Until the last one has its content no transaction group is cut: their order is the order of the
 * journal. Whoever needs the content before that loads it, and gets an error while it cannot be
 * had; attributes and names need none, and a deleted file is waited for no more.
 */
#ifndef C2_FS_DEFERRED_H
#define C2_FS_DEFERRED_H

#include "fs/lost.h"

struct fs_inode;
struct fs_deferred;

struct fs_deferred *fs_deferred_new(struct fs *fs);
void fs_deferred_free(struct fs_deferred *d); /* no load runs */
/* The replay needs the content of a file that has a manifest: a map to work with. */
void fs_deferred_add(struct fs *fs, struct fs_inode *i);
void fs_deferred_start(struct fs *fs); /* the replay is over */
void fs_deferred_stop(struct fs *fs);
/* Its content was loaded: puts it below the changes. Or the file is deleted. */
void fs_deferred_loaded(struct fs *fs, struct fs_inode *i, struct fs_map *content);
void fs_deferred_forget(struct fs *fs, struct fs_inode *i);
uint64_t fs_deferred_files(const struct fs *fs);
void fs_deferred_describe(const struct fs *fs, char out[FS_DESCRIPTION_MAX]); /* one of them */

/* What `changes` says beside the stand-in, on top of `content`; one reference for the caller. */
struct fs_map *fs_deferred_merge(struct fs_map *content, const struct fs_map *changes);

#endif
