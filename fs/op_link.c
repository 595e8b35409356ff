/* SPDX-License-Identifier: MIT */
/*
 * A further name of a file.
 */
#include "fs/op.h"

enum c2_err
fs_op_link(struct fs_req *r)
{
    struct fs *fs = r->fs;
    struct fs_inode *i, *dir;
    struct fs_dentry *e;
    C2_TRY(fs_inode_find(r, r->ino, &i));
    if (S_ISDIR(i->attr.mode))
        return C2_E_NOT_PERMITTED;
    C2_TRY(fs_place_find(r, r->ino2, r->name2, &dir, &e));
    if (i->attr.nlink == 0)
        return C2_E_NOT_FOUND;
    if (i->attr.nlink >= FS_LINK_MAX)
        return C2_E_LINKS;
    C2_TRY(fs_change_admit(r, FS_CHANGE_BYTES));

    /* Two names of one file must never show two moments of it after a crash. */
    fs_inode_publish(fs, i);
    i->attr.nlink++;
    fs_inode_touch(fs, i, FS_SET_CTIME);
    fs_dentry_set(fs, dir, e, i);
    fs_answer_entry(r, i);
    fs_changed(fs);
    return C2_E_OK;
}
