/* SPDX-License-Identifier: MIT */
/*
 * The disk verbs as blocking calls, run on the pool.
 *
 * WRITE makes a file appear whole or not at all: it fills a temporary file in the same folder
 * (C2_DISK_TMP_PREFIX, so that listers can tell what a crash left behind) and renames it; with EXCL
 * it renames without replacing. DURABLE adds: the file is synced before the rename, the folder
 * after it, and every folder that had to be made is synced into its parent.
 */
#include "base/os_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/str.h"

#define TMP_ID_LEN 8

static enum c2_err
last_error(void)
{
    return c2_err_from_errno(errno);
}

static enum c2_err
check(int rc)
{
    return rc < 0 ? last_error() : C2_E_OK;
}

/* The folder part of a path, "." when there is none; the caller frees. */
static char *
dir_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return c2_strdup(".");
    return slash == path ? c2_strdup("/") : c2_strndup(path, (size_t)(slash - path));
}

static enum c2_err
sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return last_error();
    enum c2_err err = check(fsync(fd));
    close(fd);
    return err;
}

static enum c2_err
sync_parent(const char *path)
{
    C2_AUTO(c2_free_auto) char *dir = dir_of(path);
    return sync_dir(dir);
}

static enum c2_err
make_one_dir(const char *path, bool durable)
{
    if (mkdir(path, 0700) == 0)
        return durable ? sync_parent(path) : C2_E_OK;
    if (errno != EEXIST)
        return last_error();
    struct stat st;
    C2_TRY(check(stat(path, &st)));
    return S_ISDIR(st.st_mode) ? C2_E_OK : C2_E_NOT_DIR;
}

/* The folder and its parents. Tries the whole path first, which nearly always exists. */
static enum c2_err
make_dirs(const char *path, bool durable)
{
    enum c2_err err = make_one_dir(path, durable);
    if (err != C2_E_NOT_FOUND)
        return err;
    C2_AUTO(c2_free_auto) char *copy = c2_strdup(path);
    for (char *p = copy + 1; *p != '\0'; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        C2_TRY(make_one_dir(copy, durable));
        *p = '/';
    }
    return make_one_dir(path, durable);
}

static enum c2_err
pwrite_all(int fd, const struct c2_slice *in, size_t n, uint64_t offset)
{
    C2_ASSERT(n <= C2_DISK_IOV_MAX);
    struct iovec iov[C2_DISK_IOV_MAX];
    for (size_t i = 0; i < n; i++)
        iov[i] = (struct iovec){ .iov_base = (void *)(uintptr_t)in[i].data, .iov_len = in[i].len };
    size_t at = 0;
    for (;;) {
        while (at < n && iov[at].iov_len == 0)
            at++;
        if (at == n)
            return C2_E_OK;
        ssize_t written = pwritev(fd, iov + at, (int)(n - at), (off_t)offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return last_error();
        offset += (uint64_t)written;
        for (size_t left = (size_t)written; left > 0;) {
            C2_ASSERT(at < n);
            size_t step = C2_MIN(left, iov[at].iov_len);
            if (step > 0)
                iov[at].iov_base = (char *)iov[at].iov_base + step;
            iov[at].iov_len -= step;
            left -= step;
            at += iov[at].iov_len == 0;
        }
    }
}

static enum c2_err
verb_pwrite(const struct c2_disk_req *r)
{
    C2_TRY(pwrite_all(r->file, r->iov, r->niov, r->offset));
    return (r->flags & C2_DISK_DURABLE) != 0 ? check(fdatasync(r->file)) : C2_E_OK;
}

/* Up to len bytes into a new blob; shorter at the end of the file. */
static enum c2_err
pread_blob(int fd, uint64_t offset, size_t len, struct c2_blob **ret_blob)
{
    struct c2_blob *b = c2_blob_new(len);
    size_t have = 0;
    while (have < len) {
        ssize_t n = pread(fd, b->data + have, len - have, (off_t)(offset + have));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            enum c2_err err = last_error();
            c2_blob_unref(b);
            return err;
        }
        if (n == 0)
            break;
        have += (size_t)n;
    }
    b->len = have;
    *ret_blob = b;
    return C2_E_OK;
}

static enum c2_err
verb_open(struct c2_disk_req *r)
{
    int flags = O_CLOEXEC | O_NOFOLLOW;
    flags |= (r->flags & C2_DISK_READ_ONLY) != 0 ? O_RDONLY : O_RDWR;
    flags |= (r->flags & C2_DISK_CREATE) != 0 ? O_CREAT : 0;
    flags |= (r->flags & C2_DISK_EXCL) != 0 ? O_EXCL : 0;
    int fd = open(r->path, flags, 0600);
    if (fd < 0)
        return last_error();
    r->file = fd;
    return C2_E_OK;
}

static enum c2_err
verb_read(struct c2_disk_req *r)
{
    int fd = open(r->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return last_error();
    struct stat st;
    enum c2_err err = check(fstat(fd, &st));
    if (err == C2_E_OK && S_ISDIR(st.st_mode))
        err = C2_E_IS_DIR;
    if (err == C2_E_OK) {
        r->size = (uint64_t)st.st_size;
        uint64_t left = r->offset < r->size ? r->size - r->offset : 0;
        err = pread_blob(fd, r->offset, (size_t)C2_MIN(left, (uint64_t)r->len_max), &r->reply);
    }
    close(fd);
    return err;
}

/* Moves tmp to path; without replacing when excl. */
static enum c2_err
publish(const char *tmp, const char *path, bool excl)
{
    if (!excl)
        return check(rename(tmp, path));
    if (renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
        return C2_E_OK;
    if (errno != EINVAL && errno != ENOSYS)
        return last_error();
    /* A file system that cannot do that can usually make hard links. */
    C2_TRY(check(link(tmp, path)));
    unlink(tmp);
    return C2_E_OK;
}

static enum c2_err
fill_tmp(const struct c2_disk_req *r, const char *tmp)
{
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return last_error();
    enum c2_err err = pwrite_all(fd, r->iov, r->niov, 0);
    if (err == C2_E_OK && (r->flags & C2_DISK_DURABLE) != 0)
        err = check(fsync(fd));
    /* Some file systems report a failed write here. */
    if (close(fd) < 0 && err == C2_E_OK)
        err = last_error();
    return err;
}

static enum c2_err
verb_write(struct c2_disk_req *r)
{
    bool durable = (r->flags & C2_DISK_DURABLE) != 0;
    C2_AUTO(c2_free_auto) char *dir = dir_of(r->path);
    uint8_t id[TMP_ID_LEN];
    char id_text[2 * TMP_ID_LEN + 1];
    c2_random_bytes(id, sizeof(id));
    c2_hex_encode(id, sizeof(id), id_text);
    C2_AUTO(c2_free_auto) char *tmp = c2_asprintf("%s/" C2_DISK_TMP_PREFIX "%s", dir, id_text);

    enum c2_err err = fill_tmp(r, tmp);
    if (err == C2_E_NOT_FOUND && (r->flags & C2_DISK_MAKE_DIRS) != 0) {
        C2_TRY(make_dirs(dir, durable));
        err = fill_tmp(r, tmp);
    }
    if (err == C2_E_OK)
        err = publish(tmp, r->path, (r->flags & C2_DISK_EXCL) != 0);
    if (err != C2_E_OK) {
        unlink(tmp);
        return err;
    }
    return durable ? sync_dir(dir) : C2_E_OK;
}

static enum c2_err
verb_stat(struct c2_disk_req *r)
{
    struct stat st;
    C2_TRY(check(stat(r->path, &st)));
    r->size = (uint64_t)st.st_size;
    r->mtime_ns = (uint64_t)st.st_mtim.tv_sec * C2_NS_PER_S + (uint64_t)st.st_mtim.tv_nsec;
    r->is_dir = S_ISDIR(st.st_mode);
    return C2_E_OK;
}

static bool
is_dir(DIR *dir, const struct dirent *e)
{
    struct stat st;
    if (e->d_type != DT_UNKNOWN)
        return e->d_type == DT_DIR;
    return fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static enum c2_err
verb_list(struct c2_disk_req *r)
{
    DIR *dir = opendir(r->path);
    if (dir == NULL)
        return last_error();
    struct c2_buf names = { 0 };
    enum c2_err err = C2_E_OK;
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(dir);
        if (e == NULL) {
            err = errno != 0 ? last_error() : C2_E_OK;
            break;
        }
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        c2_buf_puts(&names, e->d_name);
        if ((r->flags & C2_DISK_MARK_DIRS) != 0 && is_dir(dir, e))
            c2_buf_puts(&names, "/");
        c2_buf_append(&names, "", 1);
        if (r->len_max != 0 && names.len > r->len_max) {
            err = C2_E_TOO_LARGE;
            break;
        }
    }
    closedir(dir);
    if (err == C2_E_OK)
        r->reply = c2_blob_copy(names.data, names.len);
    c2_buf_done(&names);
    return err;
}

static enum c2_err
verb_statfs(struct c2_disk_req *r)
{
    struct statvfs st;
    C2_TRY(check(statvfs(r->path, &st)));
    r->size = (uint64_t)st.f_blocks * st.f_frsize;
    r->free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return C2_E_OK;
}

static enum c2_err
run(struct c2_disk_req *r)
{
    switch (r->verb) {
    case C2_DISK_OPEN:
        return verb_open(r);
    case C2_DISK_CLOSE:
        return check(close(r->file));
    case C2_DISK_PREAD:
        return pread_blob(r->file, r->offset, r->len_max, &r->reply);
    case C2_DISK_PWRITE:
        return verb_pwrite(r);
    case C2_DISK_SYNC:
        return check(fdatasync(r->file));
    case C2_DISK_TRUNCATE:
        return check(ftruncate(r->file, (off_t)r->offset));
    case C2_DISK_READ:
        return verb_read(r);
    case C2_DISK_WRITE:
        return verb_write(r);
    case C2_DISK_STAT:
        return verb_stat(r);
    case C2_DISK_UNLINK:
        return check(unlink(r->path));
    case C2_DISK_RENAME:
        return check(rename(r->path, r->path2));
    case C2_DISK_MKDIR:
        return make_dirs(r->path, (r->flags & C2_DISK_DURABLE) != 0);
    case C2_DISK_RMDIR:
        return check(rmdir(r->path));
    case C2_DISK_LIST:
        return verb_list(r);
    case C2_DISK_SYNC_DIR:
        return sync_dir(r->path);
    case C2_DISK_STATFS:
        return verb_statfs(r);
    }
    C2_UNREACHABLE();
}

void
c2_os_disk_run(struct c2_disk_req *r)
{
    r->reply = NULL;
    r->is_dir = false;
    r->err = run(r);
}
