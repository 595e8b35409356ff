/* SPDX-License-Identifier: MIT */
/*
 * What a mount daemon does to itself and to its mount point before and after it serves: checks,
 * locks, privileges, limits. Everything here may block; it runs at start-up.
 */
#ifndef C2_FS_MAIN_SETUP_H
#define C2_FS_MAIN_SETUP_H

#include "base/base.h"

/*
 * The folder exists, is empty (unless nonempty), and nothing of ours is mounted on it. A mount
 * whose daemon died (ENOTCONN) is cleaned up first. *ret_real is the absolute path (c2_free).
 */
C2_RESULT setup_mountpoint(const char *path, bool nonempty, char **ret_real, char **ret_error);

/* <cache_dir>/mount.lock says who has the volume mounted; held until the process ends. The folder
 * is made when it is absent. BUSY names the other process. */
C2_RESULT setup_mount_lock(const char *cache_dir, const char *mountpoint, char **ret_error);

/* Files are opened as `user` from now on ("" = nothing happens); call before threads start. */
C2_RESULT setup_user_files(const char *user, char **ret_error);
/* For the mount itself: root, and back. */
C2_RESULT setup_user_root(const char *user, bool on, char **ret_error);
/* After the mount: the user for good. Only the right to unmount is kept. */
C2_RESULT setup_user_drop(const char *user, char **ret_error);

/* Best effort, needs root: how far the kernel reads ahead on the mount. */
void setup_read_ahead(const char *mountpoint, unsigned kib);

/*
 * Best effort, needs root: makes umount(8) run umount.fuse.c2fs for this mount, which waits for the
 * clouds (the kernel does not wait for a FUSE daemon). config = the -C file, or NULL. Only while
 * the daemon serves: mount(8) looks at the mount.
 */
void setup_umount_helper(const char *volume, const char *mountpoint, const char *config);

#endif
