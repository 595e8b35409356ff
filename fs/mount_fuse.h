/* SPDX-License-Identifier: MIT */
/*
 * The kernel's side of a mount: FUSE requests become fs_req, results become answers. One session
 * on the loop, no threads.
 *
 * One mount owns the volume, so the kernel's own flock and fcntl locks are the locks of the volume,
 * and what the kernel caches (names, absent names, attributes, pages) is always right.
 */
#ifndef C2_FS_MOUNT_FUSE_H
#define C2_FS_MOUNT_FUSE_H

#include "base/base.h"

struct c2_os;
struct fs;

struct mount_fuse_config {
    const char *source;     /* "c2fs:phr", shown by mount(8) */
    const char *mountpoint; /* absolute */
    const char *options;    /* comma-separated, for the kernel and fusermount3; may be "" */
    bool allow_other;
    bool writeback_cache;
    bool debug; /* libfuse prints every request */
    uint64_t attr_timeout_ns;
    uint64_t entry_timeout_ns; /* of absent names as well */
};

struct mount_fuse_events {
    void *arg;
    void (*ready)(void *arg); /* the kernel has the mount and its requests are answered */
    void (*ended)(void *arg); /* it was unmounted, from outside or by mount_fuse_unmount */
};

struct mount_fuse;

/* Mounts. On failure ret_error gets a sentence for people (c2_free). Events come from the loop. */
C2_RESULT mount_fuse_new(struct c2_os *os, struct fs *fs, const struct mount_fuse_config *config,
                         const struct mount_fuse_events *events, struct mount_fuse **ret_mount,
                         char **ret_error);
/* Takes the mount out of the name space; what has it open keeps working until it is closed, but
 * nothing new is answered once `ended` ran. */
void mount_fuse_unmount(struct mount_fuse *m);
/* Requests the file system has not answered yet. */
size_t mount_fuse_pending(const struct mount_fuse *m);
/* After `ended`: interrupts what waits and closes the handles that the kernel still had. What is
 * pending ends by itself then. */
void mount_fuse_release(struct mount_fuse *m);
/* After `ended`, with nothing pending; NULL is fine. */
void mount_fuse_free(struct mount_fuse *m);

/* Requests answered, by opcode name; for statistics: fn gets each name and its count. */
void mount_fuse_counts(const struct mount_fuse *m,
                       void (*fn)(void *arg, const char *op, uint64_t count), void *arg);

#endif
