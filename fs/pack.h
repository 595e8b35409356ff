/* SPDX-License-Identifier: MIT */
/*
 * Chunks on their way to the clouds: small ones share a pack (grouped by directory, then age), the
 * full chunks of a file that is written sequentially become objects of their own while it is still
 * being written. One object, one put: w PUTs.
 */
#ifndef C2_FS_PACK_H
#define C2_FS_PACK_H

#include "fs/fs.h"

#define FS_PACK_CHUNKS_MAX 4096
#define FS_LARGE_FILE      (1ull << 30) /* from here on objects of FS_LARGE_OBJECT */
#define FS_LARGE_OBJECT    (32u << 20)
#define FS_UPLOAD_BYTES_MIN                                                                        \
    (64u << 20) /* in flight at least, so that two large objects overlap                           \
                 */

struct fs_packer *fs_packer_new(struct fs *fs);
void fs_packer_free(struct fs_packer *p); /* nothing running */

/* Queues a chunk, unless it is on its way or there; freezes it. */
void fs_pack_add(struct fs *fs, struct fs_chunk *c);
/* Everything queued goes: the last pack is closed however small. */
void fs_pack_flush(struct fs *fs);
/* After a sequential write: full chunks of the inode that make up a whole object go at once. */
void fs_pack_stream(struct fs *fs, struct fs_inode *i);
/* Changes wait for room: the data of files that are being written goes to the clouds before it is
 * published, a little at a time. */
void fs_pack_held(struct fs *fs);
/* At the end of a mount: running puts are canceled, nothing new is started; done when none runs. */
void fs_packer_stop(struct fs *fs, void (*done)(void *arg), void *arg);

struct fs_pack_stats {
    uint64_t objects, object_bytes, stored_bytes; /* written */
    uint64_t waiting_bytes;                       /* queued or in flight */
    enum c2_err last_error;
};
void fs_pack_stats(const struct fs *fs, struct fs_pack_stats *ret_stats);

#endif
