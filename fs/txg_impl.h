/* SPDX-License-Identifier: MIT */
/*
 * Private to fs/txg*.c.
 */
#ifndef C2_FS_TXG_IMPL_H
#define C2_FS_TXG_IMPL_H

#include "fs/txg.h"

/* Everything that is dirty for the store and not held; it may be nothing. */
struct txg *txg_take(struct fs *fs, uint64_t id);
/* Files with too many extents for their record get a manifest; its leaves are data to upload. */
void txg_build_manifests(struct fs *fs, struct txg *t);
void txg_free(struct fs *fs, struct txg *t);
/* Nothing of it is in the store any more: its objects need not stay for it. */
void txg_content_gone(struct fs_inode *i);

#endif
