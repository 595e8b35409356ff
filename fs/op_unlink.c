/* SPDX-License-Identifier: MIT */
/*
 * Removing entries: unlink and rmdir. The inode goes when its last link and its last handle went.
 */
#include "fs/op.h"

enum c2_err
fs_op_unlink(struct fs_req *r)
{
    struct fs *fs = r->fs;
    struct fs_inode *dir, *child;
    struct fs_dentry *e;
    C2_TRY(fs_dir_find(r, r->ino, &dir));
    C2_TRY(fs_child_get(r, dir, r->name, &e, &child));
    if (S_ISDIR(child->attr.mode))
        return C2_E_IS_DIR;
    C2_TRY(fs_change_admit(r, FS_CHANGE_BYTES));

    /* Another name may stay: what that shows is decided now. */
    fs_inode_publish(fs, child);
    child->attr.nlink -= child->attr.nlink > 0;
    fs_inode_touch(fs, child, FS_SET_CTIME);
    fs_dentry_set(fs, dir, e, NULL);
    fs_inode_links_changed(fs, child);
    fs_changed(fs);
    return C2_E_OK;
}

enum c2_err
fs_op_rmdir(struct fs_req *r)
{
    struct fs *fs = r->fs;
    struct fs_inode *dir, *child;
    struct fs_dentry *e;
    C2_TRY(fs_dir_find(r, r->ino, &dir));
    C2_TRY(fs_child_get(r, dir, r->name, &e, &child));
    if (!S_ISDIR(child->attr.mode))
        return C2_E_NOT_DIR;
    C2_TRY(fs_dir_empty(r, child));
    C2_TRY(fs_change_admit(r, FS_CHANGE_BYTES));

    child->attr.nlink = 0;
    dir->attr.nlink -= dir->attr.nlink > 2;
    fs_inode_touch(fs, child, FS_SET_CTIME);
    fs_dentry_set(fs, dir, e, NULL);
    fs_inode_links_changed(fs, child);
    fs_changed(fs);
    return C2_E_OK;
}
