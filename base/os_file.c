/* SPDX-License-Identifier: MIT */
/*
 * Blocking file helpers for start-up and for the log.
 */
#include "base/os_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/str.h"

#define READ_CHUNK ((size_t)16384)

static enum c2_err
last_error(void)
{
    return c2_err_from_errno(errno);
}

static enum c2_err
read_to_end(int fd, size_t len_max, struct c2_buf *out)
{
    size_t total = 0;
    for (;;) {
        c2_buf_reserve(out, READ_CHUNK);
        ssize_t n = read(fd, out->data + out->len, READ_CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return last_error();
        if (n == 0)
            return C2_E_OK;
        out->len += (size_t)n;
        total += (size_t)n;
        if (total > len_max)
            return C2_E_TOO_LARGE;
    }
}

enum c2_err
c2_os_read_file(const char *path, size_t len_max, struct c2_buf *out,
                struct c2_os_file_info *ret_info)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return last_error();
    struct stat st;
    enum c2_err err = fstat(fd, &st) == 0 ? C2_E_OK : last_error();
    if (err == C2_E_OK)
        err = read_to_end(fd, len_max, out);
    c2_os_close(fd);
    if (err == C2_E_OK && ret_info != NULL)
        *ret_info = (struct c2_os_file_info){ .mode = st.st_mode & 07777, .uid = st.st_uid };
    return err;
}

/* alphasort would follow the locale. */
static int
by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

enum c2_err
c2_os_list_dir(const char *path, struct c2_buf *out)
{
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, NULL, by_bytes);
    if (n < 0)
        return last_error();
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
            c2_buf_append(out, name, strlen(name) + 1);
        free(entries[i]);
    }
    free(entries);
    return C2_E_OK;
}

enum c2_err
c2_os_open_append(const char *path, int *ret_fd)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return last_error();
    *ret_fd = fd;
    return C2_E_OK;
}

enum c2_err
c2_os_write_all(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return last_error();
        p += n;
        len -= (size_t)n;
    }
    return C2_E_OK;
}

enum c2_err
c2_os_replace_file(const char *path, struct c2_slice text, unsigned mode)
{
    C2_AUTO(c2_free_auto) char *beside = c2_asprintf("%s.new", path);
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return last_error();
    enum c2_err err = c2_os_write_all(fd, text.data, text.len);
    if (err == C2_E_OK && fsync(fd) != 0)
        err = last_error();
    close(fd);
    if (err == C2_E_OK && rename(beside, path) != 0)
        err = last_error();
    if (err != C2_E_OK)
        (void)unlink(beside);
    return err;
}

enum c2_err
c2_os_sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return last_error();
    enum c2_err err = fsync(fd) == 0 ? C2_E_OK : last_error();
    close(fd);
    return err;
}

enum c2_err
c2_os_open_scratch(const char *path, int *ret_fd)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return last_error();
    if (unlink(path) != 0) {
        enum c2_err err = last_error();
        close(fd);
        return err;
    }
    *ret_fd = fd;
    return C2_E_OK;
}

enum c2_err
c2_os_read_at(int fd, void *data, size_t len, uint64_t offset)
{
    uint8_t *p = data;
    while (len > 0) {
        ssize_t n = pread(fd, p, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return last_error();
        if (n == 0)
            return C2_E_IO;
        p += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return C2_E_OK;
}

enum c2_err
c2_os_empty(int fd)
{
    return ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0 ? C2_E_OK : last_error();
}

enum c2_err
c2_os_free_space(const char *path, uint64_t *ret_bytes)
{
    struct statvfs st;
    if (statvfs(path, &st) != 0)
        return last_error();
    *ret_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return C2_E_OK;
}

void
c2_os_close(int fd)
{
    close(fd);
}

char *
c2_os_current_dir(void)
{
    char *dir = getcwd(NULL, 0);
    char *copy = c2_strdup(dir == NULL ? "/" : dir); /* c2_free takes what c2_alloc gave */
    free(dir);
    return copy;
}

unsigned
c2_os_user_id(void)
{
    return geteuid();
}

void *
c2_os_pages_alloc(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        fprintf(stderr, "c2fs: out of memory: %zu bytes for keys; aborting\n", size);
        abort();
    }
    madvise(p, size, MADV_DONTDUMP);
    return p;
}

void
c2_os_pages_free(void *ptr, size_t size)
{
    munmap(ptr, size);
}
