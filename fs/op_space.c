/* SPDX-License-Identifier: MIT */
/*
 * Space: statfs, fallocate, lseek, copy_file_range. Clouds have no size of their own, so there is
 * always the same room left; nothing is ever reserved, and holes and copies cost no bytes.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include "fs/op.h"

#define FREE_BYTES (1ull << 50)
#define FREE_FILES (1ull << 40)

/* The kernel's protocol has 32 bits for the number of bytes copied; 4 GiB would be none, which is
 * the end of the file. Whoever wants more asks again. */
#define COPY_MAX (1ull << 30)

enum c2_err
fs_op_statfs(struct fs_req *r)
{
    r->statfs.total_bytes = r->fs->used_bytes + FREE_BYTES;
    r->statfs.free_bytes = FREE_BYTES;
    r->statfs.files = r->fs->used_files + FREE_FILES;
    r->statfs.files_free = FREE_FILES;
    return C2_E_OK;
}

static C2_RESULT
check_range(uint64_t off, uint64_t len)
{
    if (len == 0)
        return C2_E_INVALID;
    if (off > FS_FILE_SIZE_MAX || len > FS_FILE_SIZE_MAX - off)
        return C2_E_TOO_LARGE;
    return C2_E_OK;
}

static bool
mode_known(uint32_t mode)
{
    switch (mode) {
    case 0:
    case FALLOC_FL_KEEP_SIZE:
    case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
    case FALLOC_FL_ZERO_RANGE:
    case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
        return true;
    default:
        return false;
    }
}

enum c2_err
fs_op_fallocate(struct fs_req *r)
{
    struct fs *fs = r->fs;
    struct fs_inode *i;
    if (!fs_handle_may_write(r->handle))
        return C2_E_BAD_HANDLE;
    if (!mode_known(r->mode))
        return C2_E_UNSUPPORTED;
    C2_TRY(check_range(r->off, r->len));
    C2_TRY(fs_inode_find_content(r, r->handle->inode->ino, &i));
    if (!S_ISREG(i->attr.mode))
        return C2_E_NO_DEVICE;
    C2_TRY(fs_compact_admit(r, i));
    uint64_t end = r->off + r->len;
    uint64_t size = i->attr.size;
    bool zero = (r->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0;
    bool extend = (r->mode & FALLOC_FL_KEEP_SIZE) == 0 && end > size;
    if (extend)
        C2_TRY(fs_admit_size(fs, i, end));
    C2_TRY(fs_change_admit(r, FS_CHANGE_BYTES));

    if (zero && r->off < size)
        fs_content_punch(fs, i, r->off, C2_MIN(end, size) - r->off);
    if (extend)
        fs_content_truncate(fs, i, end);
    if (zero || extend) {
        fs_written_by(r, i);
        fs_changed(fs);
    }
    return C2_E_OK;
}

enum c2_err
fs_op_lseek(struct fs_req *r)
{
    struct fs_inode *i;
    uint64_t off;
    if (r->flags != SEEK_DATA && r->flags != SEEK_HOLE)
        return C2_E_INVALID;
    C2_TRY(fs_inode_find_content(r, r->handle->inode->ino, &i));
    if (!S_ISREG(i->attr.mode))
        return C2_E_INVALID;
    C2_TRY(fs_content_seek(i, r->off, r->flags == SEEK_DATA, &off));
    r->off = off;
    return C2_E_OK;
}

enum c2_err
fs_op_copy_range(struct fs_req *r)
{
    struct fs *fs = r->fs;
    struct fs_inode *from, *to;
    if (r->len == 0)
        return C2_E_OK;
    if (!fs_handle_may_write(r->handle2) || (r->handle2->flags & O_APPEND) != 0)
        return C2_E_BAD_HANDLE;
    C2_TRY(fs_inode_find_content(r, r->handle->inode->ino, &from));
    C2_TRY(fs_inode_find_content(r, r->handle2->inode->ino, &to));
    if (!S_ISREG(from->attr.mode) || !S_ISREG(to->attr.mode))
        return C2_E_INVALID;
    if (r->off >= from->attr.size)
        return C2_E_OK; /* nothing to copy: count 0 */
    uint64_t len = C2_MIN(C2_MIN(r->len, COPY_MAX), from->attr.size - r->off);
    C2_TRY(check_range(r->off2, len));
    if (from == to && r->off < r->off2 + len && r->off2 < r->off + len)
        return C2_E_INVALID;
    size_t first = fs_map_find(from->map, r->off);
    size_t last = fs_map_find(from->map, r->off + len - 1);
    C2_TRY(fs_compact_admit_copy(r, from, to, last - first + 1));
    C2_TRY(fs_admit_size(fs, to, r->off2 + len));
    C2_TRY(fs_change_admit(r, FS_CHANGE_BYTES));

    fs_content_clone(fs, from, r->off, to, r->off2, len);
    fs_written_by(r, to);
    fs_changed(fs);
    r->count = len;
    return C2_E_OK;
}
