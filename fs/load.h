/* SPDX-License-Identifier: MIT */
/*
 * Loading of inodes and entries from the coordination store. Requests that need the same thing
 * wait for the same load; when it ends they run again from the start.
 */
#ifndef C2_FS_LOAD_H
#define C2_FS_LOAD_H

#include "fs/fs.h"

/* Each parks r. */
void fs_load_inodes(struct fs_req *r, const uint64_t *inos, size_t n);
void fs_load_dentry(struct fs_req *r, uint64_t dir, const uint8_t *hash, const char *name);
/* The manifest of an inode that is in memory. */
void fs_load_content(struct fs_req *r, struct fs_inode *i);
/* Without a request (start-up): done(arg, OK) when the inodes are in memory. */
void fs_load_inodes_for(struct fs *fs, const uint64_t *inos, size_t n,
                        void (*done)(void *arg, enum c2_err err), void *arg);
/* The same for the manifest of an inode; a load that runs is joined. */
void fs_load_content_for(struct fs *fs, struct fs_inode *i,
                         void (*done)(void *arg, enum c2_err err), void *arg);
/* At the end of a mount: loads that nobody waits for end soon. */
void fs_loads_cancel(struct fs *fs);

#endif
