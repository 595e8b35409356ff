/* SPDX-License-Identifier: MIT */
/*
 * Deleted files whose objects still count as in use, because their extents were not known when they
 * were deleted, or were too many. Their last record is kept (G keys with a value) and worked off in
 * the background, one file at a time.
 */
#ifndef C2_FS_GARBAGE_H
#define C2_FS_GARBAGE_H

#include "fs/fs.h"

struct fs_garbage;

struct fs_garbage *fs_garbage_new(struct fs *fs);
void fs_garbage_free(struct fs_garbage *g); /* idle; NULL is fine */
/* There is something to do: it begins soon. */
void fs_garbage_wake(struct fs *fs);
/* Nothing new is begun, what runs ends soon. */
void fs_garbage_stop(struct fs *fs);
bool fs_garbage_idle(const struct fs *fs);

#endif
