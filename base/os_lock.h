/* SPDX-License-Identifier: MIT */
/*
 * Folders that belong to one process: made private, locked while in use. Blocking, for start-up
 * and for the wrapper of a library that does its own file access.
 */
#ifndef C2_BASE_OS_LOCK_H
#define C2_BASE_OS_LOCK_H

#include "base/base.h"

/* Makes the folder and its missing parents, mode 0700; an existing folder is fine. */
C2_RESULT c2_os_make_private_dir(const char *path);
/* C2_E_NOT_FOUND when there is no such file. */
C2_RESULT c2_os_file_size(const char *path, uint64_t *ret_size);
/* Whether a file in this place could get len bytes at offset: makes one, allocates, removes it.
 * C2_E_NO_SPACE when the disk is full or a quota or limit is reached. */
C2_RESULT c2_os_probe_space(const char *path, uint64_t offset, uint64_t len);
/*
 * Takes the lock file, made when absent, and writes our pid into it. C2_E_BUSY when another
 * process or another part of this one holds it; *ret_pid is then its pid, 0 when unknown. The
 * lock goes with the descriptor, so a killed process leaves none behind.
 */
C2_RESULT c2_os_lock_file(const char *path, int *ret_fd, uint64_t *ret_pid);
void c2_os_unlock_file(int fd);

#endif
