/* SPDX-License-Identifier: MIT */
/*
 * flock(2) on a file that stays: removing it would let two processes lock two different files of
 * the same name.
 */
#include "base/os_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/str.h"

#define PID_TEXT_MAX 24

static C2_RESULT
make_one_dir(const char *path)
{
    if (mkdir(path, 0700) == 0)
        return C2_E_OK;
    if (errno != EEXIST)
        return c2_err_from_errno(errno);
    struct stat st;
    if (stat(path, &st) != 0)
        return c2_err_from_errno(errno);
    return S_ISDIR(st.st_mode) ? C2_E_OK : C2_E_NOT_DIR;
}

C2_RESULT
c2_os_make_private_dir(const char *path)
{
    C2_ASSERT(path[0] != '\0');
    C2_AUTO(c2_free_auto) char *part = c2_strdup(path);
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        C2_TRY(make_one_dir(part));
        *slash = '/';
    }
    return make_one_dir(path);
}

C2_RESULT
c2_os_file_size(const char *path, uint64_t *ret_size)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return errno == ENOENT ? C2_E_NOT_FOUND : c2_err_from_errno(errno);
    *ret_size = (uint64_t)st.st_size;
    return C2_E_OK;
}

C2_RESULT
c2_os_probe_space(const char *path, uint64_t offset, uint64_t len)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno == ENOSPC || errno == EDQUOT ? C2_E_NO_SPACE : c2_err_from_errno(errno);
    int rc = posix_fallocate(fd, (off_t)offset, (off_t)len);
    close(fd);
    unlink(path);
    if (rc == ENOSPC || rc == EDQUOT || rc == EFBIG)
        return C2_E_NO_SPACE;
    return rc == 0 ? C2_E_OK : c2_err_from_errno(rc);
}

static uint64_t
read_pid(int fd)
{
    char text[PID_TEXT_MAX];
    ssize_t n = pread(fd, text, sizeof text, 0);
    if (n <= 0)
        return 0;
    const char *end = memchr(text, '\n', (size_t)n);
    uint64_t pid = 0;
    size_t len = end == NULL ? (size_t)n : (size_t)(end - text);
    return c2_u64_parse(c2_slice(text, len), UINT64_MAX, &pid) == C2_E_OK ? pid : 0;
}

static C2_RESULT
write_pid(int fd)
{
    char text[PID_TEXT_MAX];
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n)
        return c2_err_from_errno(errno);
    return C2_E_OK;
}

C2_RESULT
c2_os_lock_file(const char *path, int *ret_fd, uint64_t *ret_pid)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return c2_err_from_errno(errno);
    enum c2_err err = C2_E_OK;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        err = errno == EWOULDBLOCK ? C2_E_BUSY : c2_err_from_errno(errno);
        if (err == C2_E_BUSY)
            *ret_pid = read_pid(fd);
    } else {
        err = write_pid(fd);
    }
    if (err != C2_E_OK) {
        close(fd);
        return err;
    }
    *ret_fd = fd;
    return C2_E_OK;
}

void
c2_os_unlock_file(int fd)
{
    C2_ASSERT(fd >= 0);
    close(fd);
}
