/* SPDX-License-Identifier: MIT */
/*
 * Finding things by name: lookup, forget, readlink, and the finds that other operations share.
 */
#include <string.h>

#include "base/log.h"
#include "fs/op.h"
#include "fs/records.h"

C2_RESULT
fs_name_check(const char *name)
{
    size_t len = strlen(name);
    if (len > FS_NAME_MAX)
        return C2_E_NAME_TOO_LONG;
    return fs_name_valid(c2_slice(name, len)) ? C2_E_OK : C2_E_INVALID;
}

C2_RESULT
fs_child_find(struct fs_req *r, struct fs_inode *dir, const char *name,
              struct fs_dentry **ret_dentry, struct fs_inode **ret_child)
{
    struct fs_dentry *e;
    struct fs_inode *child = NULL;
    C2_TRY(fs_name_check(name));
    C2_TRY(fs_dentry_find(r, dir, name, &e));
    if (e->ino != 0) {
        enum c2_err err = fs_inode_find(r, e->ino, &child);
        if (err == C2_E_NOT_FOUND || err == C2_E_STALE) {
            /* Not "no such file": the name is there, what it leads to is lost. */
            c2_log(ERROR, "lookup", "dir=%llu ino=%llu entry leads to an inode that is not there",
                   (unsigned long long)dir->ino, (unsigned long long)e->ino);
            return C2_E_DAMAGED;
        }
        C2_TRY(err);
    }
    *ret_dentry = e;
    *ret_child = child;
    return C2_E_OK;
}

C2_RESULT
fs_child_get(struct fs_req *r, struct fs_inode *dir, const char *name,
             struct fs_dentry **ret_dentry, struct fs_inode **ret_child)
{
    struct fs_dentry *e;
    struct fs_inode *child;
    C2_TRY(fs_child_find(r, dir, name, &e, &child));
    if (child == NULL)
        return C2_E_NOT_FOUND;
    *ret_dentry = e;
    *ret_child = child;
    return C2_E_OK;
}

C2_RESULT
fs_place_find(struct fs_req *r, uint64_t dir_ino, const char *name, struct fs_inode **ret_dir,
              struct fs_dentry **ret_dentry)
{
    struct fs_inode *dir;
    struct fs_dentry *e;
    C2_TRY(fs_name_check(name));
    C2_TRY(fs_dir_find(r, dir_ino, &dir));
    if (dir->attr.nlink == 0)
        return C2_E_NOT_FOUND;
    C2_TRY(fs_dentry_find(r, dir, name, &e));
    if (e->ino != 0)
        return C2_E_EXISTS;
    *ret_dir = dir;
    *ret_dentry = e;
    return C2_E_OK;
}

C2_RESULT
fs_change_admit(struct fs_req *r, size_t bytes)
{
    if (r->fs->fenced)
        return C2_E_FENCED;
    return fs_admit(r, bytes);
}

void
fs_answer_entry(struct fs_req *r, const struct fs_inode *i)
{
    fs_inode_attr(i, &r->attr);
    fs_lookup_add(r->fs, i->ino, 1);
}

enum c2_err
fs_op_lookup(struct fs_req *r)
{
    struct fs_inode *dir, *child;
    struct fs_dentry *e;
    C2_TRY(fs_name_check(r->name));
    C2_TRY(fs_dir_find(r, r->ino, &dir));
    C2_TRY(fs_child_get(r, dir, r->name, &e, &child));
    fs_answer_entry(r, child);
    return C2_E_OK;
}

enum c2_err
fs_op_forget(struct fs_req *r)
{
    fs_lookup_forget(r->fs, r->ino, r->len);
    return C2_E_OK;
}

enum c2_err
fs_op_readlink(struct fs_req *r)
{
    struct fs_inode *i;
    C2_TRY(fs_inode_find(r, r->ino, &i));
    if (i->symlink == NULL)
        return C2_E_INVALID;
    c2_buf_puts(&r->reply, i->symlink);
    return C2_E_OK;
}
