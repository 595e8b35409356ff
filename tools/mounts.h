/* SPDX-License-Identifier: MIT */
/*
 * The mounts of C2FS volumes in this mount name space, from /proc/self/mountinfo.
 */
#ifndef C2_TOOLS_MOUNTS_H
#define C2_TOOLS_MOUNTS_H

#include "base/base.h"

#define MOUNTS_MAX 256

struct mount_entry {
    char *volume, *mountpoint, *options; /* owned */
};

struct mounts {
    size_t n;
    struct mount_entry e[MOUNTS_MAX];
};

/* From a text in the format of mountinfo, for tests; NULL = the system's. */
void mounts_read(const char *text, struct mounts *ret_mounts);
void mounts_done(struct mounts *m);
/* The one on top of this folder, NULL when there is none. Does not touch the folder itself: its
 * daemon may be dead or hang. */
const struct mount_entry *mounts_at(const struct mounts *m, const char *mountpoint);

/* Takes a mount out of the name space; lazy: even while it is in use. 0 or an errno. */
int mounts_detach(const char *mountpoint, bool lazy);
/* What fusermount3 meant: an errno; ENOPKG: it could not be run. */
int mounts_fusermount_errno(int exit_code, const char *said);

#endif
