/* SPDX-License-Identifier: MIT */
/*
 * Loading of inodes and entries from the coordination store. Requests that need the same thing
 * wait for the same load; when it ends they run again from the start. Some is loaded ahead of the
 * request that will need it.
 */
#ifndef C2_FS_LOAD_H
#define C2_FS_LOAD_H

#include "fs/fs.h"

/* Each parks r. */
void fs_load_inode(struct fs_req *r, uint64_t ino);
void fs_load_dentry(struct fs_req *r, uint64_t dir, const uint8_t *hash, const char *name);
/* The manifest of an inode that is in memory. */
void fs_load_content(struct fs_req *r, struct fs_inode *i);
/* Starts to load those that are neither in memory nor on their way; nobody waits yet. */
void fs_load_inodes(struct fs *fs, const uint64_t *inos, size_t n);
/* The same for what may be needed later: only while not much is loaded. */
void fs_load_ahead(struct fs *fs, const uint64_t *inos, size_t n);
/* If one of them is on its way: parks r until it is here, and returns true. */
bool fs_load_join(struct fs_req *r, const uint64_t *inos, size_t n);
/* Without a request (start-up): done(arg, OK) when the inodes are in memory. */
void fs_load_inodes_for(struct fs *fs, const uint64_t *inos, size_t n,
                        void (*done)(void *arg, enum c2_err err), void *arg);
/* The same for the manifest of an inode; a load that runs is joined. */
void fs_load_content_for(struct fs *fs, struct fs_inode *i,
                         void (*done)(void *arg, enum c2_err err), void *arg);
/* At the end of a mount: loads that nobody waits for end soon. */
void fs_loads_cancel(struct fs *fs);

#endif
