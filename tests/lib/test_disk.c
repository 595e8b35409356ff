/* SPDX-License-Identifier: MIT */
/*
 * Disk requests on real files, executed at once. No fsync: tests do not cut the power.
 */
#include "tests/lib/test_env.h"

#include "base/alloc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static enum c2_err
result(int rc)
{
    return rc < 0 ? c2_err_from_errno(errno) : C2_E_OK;
}

static enum c2_err
make_dirs(const char *path)
{
    char *copy = c2_strdup(path);
    enum c2_err err = C2_E_OK;
    for (char *slash = strchr(copy + 1, '/'); err == C2_E_OK; slash = strchr(slash + 1, '/')) {
        if (slash != NULL)
            *slash = '\0';
        if (mkdir(copy, 0700) < 0 && errno != EEXIST)
            err = c2_err_from_errno(errno);
        if (slash == NULL)
            break;
        *slash = '/';
    }
    c2_free(copy);
    return err;
}

static enum c2_err
read_fully(int fd, uint64_t offset, size_t len, struct c2_blob **ret_blob)
{
    struct c2_blob *b = c2_blob_new(len);
    size_t got = 0;
    while (got < len) {
        ssize_t n = pread(fd, b->data + got, len - got, (off_t)(offset + got));
        if (n < 0) {
            c2_blob_unref(b);
            return c2_err_from_errno(errno);
        }
        if (n == 0)
            break;
        got += (size_t)n;
    }
    b->len = got;
    *ret_blob = b;
    return C2_E_OK;
}

static enum c2_err
write_fully(int fd, uint64_t offset, const struct c2_slice *iov, size_t niov)
{
    for (size_t i = 0; i < niov; i++) {
        size_t put = 0;
        while (put < iov[i].len) {
            ssize_t n = pwrite(fd, iov[i].data + put, iov[i].len - put, (off_t)(offset + put));
            if (n < 0)
                return c2_err_from_errno(errno);
            put += (size_t)n;
        }
        offset += iov[i].len;
    }
    return C2_E_OK;
}

static enum c2_err
disk_open(struct c2_disk_req *r)
{
    int flags = O_CLOEXEC | ((r->flags & C2_DISK_READ_ONLY) != 0 ? O_RDONLY : O_RDWR);
    flags |= (r->flags & C2_DISK_CREATE) != 0 ? O_CREAT : 0;
    flags |= (r->flags & C2_DISK_EXCL) != 0 ? O_EXCL : 0;
    int fd = open(r->path, flags, 0600);
    if (fd >= 0)
        r->file = fd;
    return result(fd);
}

static enum c2_err
disk_read(struct c2_disk_req *r)
{
    int fd = open(r->path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return c2_err_from_errno(errno);
    enum c2_err err = result(fstat(fd, &st));
    if (err == C2_E_OK && S_ISDIR(st.st_mode))
        err = C2_E_IS_DIR;
    if (err == C2_E_OK) {
        r->size = (uint64_t)st.st_size;
        uint64_t left = r->offset < r->size ? r->size - r->offset : 0;
        err = read_fully(fd, r->offset, C2_MIN(left, r->len_max), &r->reply);
    }
    close(fd);
    return err;
}

static enum c2_err
write_temporary(const char *tmp, struct c2_disk_req *r)
{
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return c2_err_from_errno(errno);
    enum c2_err err = write_fully(fd, 0, r->iov, r->niov);
    close(fd);
    if (err == C2_E_OK)
        err = result((r->flags & C2_DISK_EXCL) != 0 ? link(tmp, r->path) : rename(tmp, r->path));
    unlink(tmp); /* gone already after a rename */
    return err;
}

static enum c2_err
disk_write(struct c2_disk_req *r)
{
    const char *slash = strrchr(r->path, '/');
    C2_ASSERT(slash != NULL);
    char *parent = c2_strndup(r->path, (size_t)(slash - r->path));
    char *tmp = c2_asprintf("%s/" C2_DISK_TMP_PREFIX "0", parent);
    enum c2_err err = (r->flags & C2_DISK_MAKE_DIRS) != 0 ? make_dirs(parent) : C2_E_OK;
    if (err == C2_E_OK)
        err = write_temporary(tmp, r);
    c2_free(tmp);
    c2_free(parent);
    return err;
}

static enum c2_err
disk_stat(struct c2_disk_req *r)
{
    struct stat st;
    if (stat(r->path, &st) < 0)
        return c2_err_from_errno(errno);
    r->size = (uint64_t)st.st_size;
    r->mtime_ns = (uint64_t)st.st_mtim.tv_sec * C2_NS_PER_S + (uint64_t)st.st_mtim.tv_nsec;
    r->is_dir = S_ISDIR(st.st_mode);
    return C2_E_OK;
}

static enum c2_err
disk_list(struct c2_disk_req *r)
{
    DIR *dir = opendir(r->path);
    if (dir == NULL)
        return c2_err_from_errno(errno);
    struct c2_buf names = { 0 };
    for (struct dirent *d = readdir(dir); d != NULL; d = readdir(dir)) {
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
            continue;
        c2_buf_puts(&names, d->d_name);
        if ((r->flags & C2_DISK_MARK_DIRS) != 0 && d->d_type == DT_DIR)
            c2_buf_puts(&names, "/");
        c2_buf_append(&names, "", 1);
    }
    closedir(dir);
    r->reply = c2_blob_copy(names.data, names.len);
    c2_buf_done(&names);
    return C2_E_OK;
}

static enum c2_err
disk_sync_dir(struct c2_disk_req *r)
{
    int fd = open(r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return result(fd);
}

static enum c2_err
disk_statfs(struct c2_disk_req *r)
{
    struct statvfs st;
    if (statvfs(r->path, &st) < 0)
        return c2_err_from_errno(errno);
    r->size = (uint64_t)st.f_blocks * st.f_frsize;
    r->free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return C2_E_OK;
}

static enum c2_err
execute(struct c2_disk_req *r)
{
    switch (r->verb) {
    case C2_DISK_OPEN:
        return disk_open(r);
    case C2_DISK_CLOSE:
        return result(close(r->file));
    case C2_DISK_PREAD:
        return read_fully(r->file, r->offset, r->len_max, &r->reply);
    case C2_DISK_PWRITE:
        return write_fully(r->file, r->offset, r->iov, r->niov);
    case C2_DISK_SYNC:
        return result(fcntl(r->file, F_GETFD));
    case C2_DISK_TRUNCATE:
        return result(ftruncate(r->file, (off_t)r->offset));
    case C2_DISK_READ:
        return disk_read(r);
    case C2_DISK_WRITE:
        return disk_write(r);
    case C2_DISK_STAT:
        return disk_stat(r);
    case C2_DISK_UNLINK:
        return result(unlink(r->path));
    case C2_DISK_RENAME:
        return result(rename(r->path, r->path2));
    case C2_DISK_MKDIR:
        return make_dirs(r->path);
    case C2_DISK_RMDIR:
        return result(rmdir(r->path));
    case C2_DISK_LIST:
        return disk_list(r);
    case C2_DISK_SYNC_DIR:
        return disk_sync_dir(r);
    case C2_DISK_STATFS:
        return disk_statfs(r);
    }
    C2_UNREACHABLE();
}

void
test_disk_execute(struct c2_disk_req *r)
{
    r->reply = NULL;
    r->is_dir = false;
    r->err = execute(r);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    if (type == FTW_DNR || type == FTW_NS)
        return 0;
    return type == FTW_DP ? rmdir(path) : unlink(path);
}

void
test_disk_remove_tree(const char *path)
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
        fail_msg("cannot remove %s", path);
}

void
test_disk_write_file(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    if (len > 0) /* nothing may have no address */
        assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

bool
test_disk_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}
