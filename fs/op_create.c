/* SPDX-License-Identifier: MIT */
/*
 * New entries: mknod, mkdir, symlink, create. All of them find a free place, make an inode, and
 * point the entry to it.
 */
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "fs/acl.h"
#include "fs/op.h"

/* The permissions of something new: a default list of its folder stands for the umask. */
static uint32_t
permissions(const struct fs_req *r, const struct fs_inode *dir)
{
    struct fs_xattr list;
    uint32_t mode = r->mode & 07777;
    return fs_xattr_find(dir, FS_ACL_DEFAULT, &list) ? mode : mode & ~r->umask;
}

static void
inherit(const struct fs_inode *dir, struct fs_inode *i)
{
    struct fs_xattr list;
    if (S_ISLNK(i->attr.mode) || !fs_xattr_find(dir, FS_ACL_DEFAULT, &list))
        return;
    struct c2_buf own = { 0 };
    fs_acl_inherit(list.value, i->attr.mode, &own);
    i->attr.mode = fs_acl_mode(c2_buf_slice(&own), i->attr.mode);
    if (!fs_acl_minimal(c2_buf_slice(&own)))
        fs_xattr_put(i, FS_ACL_ACCESS, c2_buf_slice(&own));
    if (S_ISDIR(i->attr.mode))
        fs_xattr_put(i, FS_ACL_DEFAULT, list.value);
    c2_buf_done(&own);
}

/* mode has the type bits. Changes begin here. */
static struct fs_inode *
make(struct fs_req *r, struct fs_inode *dir, struct fs_dentry *e, uint32_t mode)
{
    struct fs_inode *i = fs_inode_create(r, dir, mode);
    inherit(dir, i);
    i->attr.nlink++;
    fs_dentry_set(r->fs, dir, e, i);
    fs_inode_dirty(r->fs, i);
    return i;
}

static enum c2_err
answer(struct fs_req *r, const struct fs_inode *i)
{
    fs_answer_entry(r, i);
    fs_changed(r->fs);
    return C2_E_OK;
}

enum c2_err
fs_op_mknod(struct fs_req *r)
{
    struct fs_inode *dir;
    struct fs_dentry *e;
    uint32_t type = (r->mode & S_IFMT) == 0 ? S_IFREG : r->mode & S_IFMT;
    if (!fs_type_valid(type) || type == S_IFDIR || type == S_IFLNK)
        return C2_E_INVALID;
    C2_TRY(fs_place_find(r, r->ino, r->name, &dir, &e));
    C2_TRY(fs_change_admit(r, FS_CHANGE_BYTES));
    return answer(r, make(r, dir, e, type | permissions(r, dir)));
}

enum c2_err
fs_op_mkdir(struct fs_req *r)
{
    struct fs_inode *dir;
    struct fs_dentry *e;
    C2_TRY(fs_place_find(r, r->ino, r->name, &dir, &e));
    if (dir->attr.nlink >= FS_DIR_LINK_MAX)
        return C2_E_LINKS;
    C2_TRY(fs_change_admit(r, FS_CHANGE_BYTES));
    struct fs_inode *i = make(r, dir, e, S_IFDIR | permissions(r, dir));
    i->parent = dir->ino;
    dir->attr.nlink++; /* the new directory's .. */
    return answer(r, i);
}

enum c2_err
fs_op_symlink(struct fs_req *r)
{
    struct fs_inode *dir;
    struct fs_dentry *e;
    size_t len = strlen(r->name2);
    if (len == 0)
        return C2_E_NOT_FOUND;
    if (len > FS_SYMLINK_MAX)
        return C2_E_NAME_TOO_LONG;
    C2_TRY(fs_place_find(r, r->ino, r->name, &dir, &e));
    C2_TRY(fs_change_admit(r, FS_CHANGE_BYTES + len));
    struct fs_inode *i = make(r, dir, e, S_IFLNK | 0777);
    i->symlink = c2_strdup(r->name2);
    r->fs->ready_attr_bytes += strlen(i->symlink);
    i->attr.size = len;
    return answer(r, i);
}

/*
 * The kernel asks for this when it knows no such entry. When there is one all the same it must
 * look again and check the permissions of the file it finds: C2_E_STALE makes it do so.
 */
enum c2_err
fs_op_create(struct fs_req *r)
{
    struct fs_inode *dir;
    struct fs_dentry *e;
    enum c2_err err = fs_place_find(r, r->ino, r->name, &dir, &e);
    if (err == C2_E_EXISTS && (r->flags & O_EXCL) == 0)
        return C2_E_STALE;
    C2_TRY(err);
    C2_TRY(fs_change_admit(r, FS_CHANGE_BYTES));
    struct fs_inode *i = make(r, dir, e, S_IFREG | permissions(r, dir));
    r->handle = fs_handle_new(r->fs, i, r->flags);
    r->keep_cache = false;
    return answer(r, i);
}
