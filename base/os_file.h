/* SPDX-License-Identifier: MIT */
/*
 * Blocking file helpers for start-up and for the log: configuration, credentials, keys. Nothing
 * that runs on a loop uses them; the loop has c2_disk.
 */
#ifndef C2_BASE_OS_FILE_H
#define C2_BASE_OS_FILE_H

#include "base/buf.h"

struct c2_os_file_info {
    unsigned mode; /* permission bits */
    unsigned uid;
};

/* Appends the whole file to out; C2_E_TOO_LARGE when it is longer than len_max. ret_info may be
 * NULL and describes the very file that was read. */
C2_RESULT c2_os_read_file(const char *path, size_t len_max, struct c2_buf *out,
                          struct c2_os_file_info *ret_info);
/* Names in a folder, each zero-terminated, in byte order, without . and .. */
C2_RESULT c2_os_list_dir(const char *path, struct c2_buf *out);
/* Opens for appending, creates with mode 0600. */
C2_RESULT c2_os_open_append(const char *path, int *ret_fd);
C2_RESULT c2_os_write_all(int fd, const void *data, size_t len);
/* All or nothing, also after a crash: writes PATH.new, durable, and renames it. */
C2_RESULT c2_os_replace_file(const char *path, struct c2_slice text, unsigned mode);
/* What was made or renamed in the folder is durable. */
C2_RESULT c2_os_sync_dir(const char *path);
/* An empty file for reading and writing that has lost its name: nothing is left of it after a crash
 * or c2_os_close. */
C2_RESULT c2_os_open_scratch(const char *path, int *ret_fd);
/* Exactly len bytes; IO when the file ends before. */
C2_RESULT c2_os_read_at(int fd, void *data, size_t len, uint64_t offset);
/* Gives the space back; writing goes on at the beginning. */
C2_RESULT c2_os_empty(int fd);
/* What is free on the disk of this path for this process. */
C2_RESULT c2_os_free_space(const char *path, uint64_t *ret_bytes);
void c2_os_close(int fd);
/* The current folder; the caller frees. "/" when it cannot be told. */
char *c2_os_current_dir(void);
unsigned c2_os_user_id(void);

/* Whole pages that stay out of core dumps; zeroed, never NULL. For secrets beyond the arena. */
void *c2_os_pages_alloc(size_t size);
void c2_os_pages_free(void *ptr, size_t size);

#endif
