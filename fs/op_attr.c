/* SPDX-License-Identifier: MIT */
/*
 * Attributes: getattr and setattr (chmod, chown, truncate, utimens in one). Who may do it was
 * checked by the kernel (default_permissions).
 */
#include "fs/acl.h"
#include "fs/op.h"

#define FS_SET_TIMES                                                                               \
    (FS_SET_ATIME | FS_SET_MTIME | FS_SET_ATIME_NOW | FS_SET_MTIME_NOW | FS_SET_CTIME)

void
fs_clear_suid(struct fs *fs, struct fs_inode *i)
{
    if (!S_ISREG(i->attr.mode))
        return;
    uint32_t mode = i->attr.mode & ~(uint32_t)S_ISUID;
    /* Set-group-id without group execution is not a privilege (POSIX chown, write). */
    if ((mode & S_IXGRP) != 0)
        mode &= ~(uint32_t)S_ISGID;
    if (mode == i->attr.mode)
        return;
    i->attr.mode = mode;
    fs_inode_touch(fs, i, FS_SET_CTIME);
}

void
fs_written_by(struct fs_req *r, struct fs_inode *i)
{
    if (r->uid != 0)
        fs_clear_suid(r->fs, i);
}

enum c2_err
fs_op_getattr(struct fs_req *r)
{
    struct fs_inode *i;
    C2_TRY(fs_inode_find(r, r->handle != NULL ? r->handle->inode->ino : r->ino, &i));
    fs_inode_attr(i, &r->attr);
    return C2_E_OK;
}

static C2_RESULT
check_size(const struct fs_req *r, const struct fs_inode *i)
{
    if (S_ISDIR(i->attr.mode))
        return C2_E_IS_DIR;
    if (!S_ISREG(i->attr.mode))
        return C2_E_INVALID;
    return r->attr.size > FS_FILE_SIZE_MAX ? C2_E_TOO_LARGE : C2_E_OK;
}

static void
set_owner(struct fs_req *r, struct fs_inode *i)
{
    if ((r->valid & FS_SET_UID) != 0)
        i->attr.uid = r->attr.uid;
    if ((r->valid & FS_SET_GID) != 0)
        i->attr.gid = r->attr.gid;
    fs_clear_suid(r->fs, i);
}

static void
set_mode(struct fs_inode *i, uint32_t mode)
{
    struct fs_xattr acl;
    i->attr.mode = (i->attr.mode & S_IFMT) | (mode & 07777);
    if (!fs_xattr_find(i, FS_ACL_ACCESS, &acl))
        return;
    struct c2_buf changed = { 0 };
    fs_acl_chmod(acl.value, mode, &changed);
    fs_xattr_put(i, FS_ACL_ACCESS, c2_buf_slice(&changed));
    c2_buf_done(&changed);
}

static void
set_times(struct fs_req *r, struct fs_inode *i)
{
    if ((r->valid & FS_SET_ATIME_NOW) != 0)
        fs_inode_touch(r->fs, i, FS_SET_ATIME);
    else if ((r->valid & FS_SET_ATIME) != 0)
        i->attr.atime = r->attr.atime;
    if ((r->valid & FS_SET_MTIME_NOW) != 0)
        fs_inode_touch(r->fs, i, FS_SET_MTIME);
    else if ((r->valid & FS_SET_MTIME) != 0)
        i->attr.mtime = r->attr.mtime;
}

/*
 * No name leads to it and nobody has it open: a process is in it (a directory), or the kernel
 * writes back the times of a file that was unlinked (writeback_cache), and syncfs(2) would report
 * an error. Nothing of it is kept.
 */
static enum c2_err
set_gone(struct fs_req *r, struct fs_inode *i)
{
    if ((r->valid & FS_SET_SIZE) != 0)
        return C2_E_STALE;
    if ((r->valid & FS_SET_UID) != 0)
        i->attr.uid = r->attr.uid;
    if ((r->valid & FS_SET_GID) != 0)
        i->attr.gid = r->attr.gid;
    if ((r->valid & FS_SET_MODE) != 0)
        i->attr.mode = (i->attr.mode & S_IFMT) | (r->attr.mode & 07777);
    if ((r->valid & FS_SET_MTIME) != 0)
        i->attr.mtime = r->attr.mtime;
    if ((r->valid & FS_SET_CTIME) != 0)
        i->attr.ctime = r->attr.ctime;
    fs_inode_attr(i, &r->attr);
    return C2_E_OK;
}

enum c2_err
fs_op_setattr(struct fs_req *r)
{
    struct fs *fs = r->fs;
    uint64_t ino = r->handle != NULL ? r->handle->inode->ino : r->ino;
    struct fs_inode *i;
    bool resize = (r->valid & FS_SET_SIZE) != 0;
    if (resize)
        C2_TRY(fs_inode_find_content(r, ino, &i));
    else
        C2_TRY(fs_inode_find(r, ino, &i));
    if (i->gone)
        return set_gone(r, i);
    if (resize)
        C2_TRY(check_size(r, i));
    if (resize)
        C2_TRY(fs_admit_size(fs, i, r->attr.size));
    C2_TRY(fs_change_admit(r, FS_CHANGE_BYTES));

    if (resize) {
        fs_content_truncate(fs, i, r->attr.size);
        fs_written_by(r, i);
    }
    if ((r->valid & (FS_SET_UID | FS_SET_GID)) != 0)
        set_owner(r, i);
    if ((r->valid & FS_SET_MODE) != 0)
        set_mode(i, r->attr.mode);
    fs_inode_touch(fs, i, FS_SET_CTIME);
    /* Last: explicit times win over what the other changes did to them. */
    if ((r->valid & FS_SET_TIMES) != 0)
        set_times(r, i);
    if ((r->valid & FS_SET_CTIME) != 0)
        i->attr.ctime = r->attr.ctime;
    fs_changed(fs);
    fs_inode_attr(i, &r->attr);
    return C2_E_OK;
}
