/* SPDX-License-Identifier: MIT */
/*
 * What the operations share. An operation finds everything it needs (each find may park the
 * request, which then runs again from the start), checks, asks for admission, and only then
 * changes anything; changes cannot fail.
 */
#ifndef C2_FS_OP_H
#define C2_FS_OP_H

#include <fcntl.h>

#include "fs/fs.h"
#include "fs/records.h"

/* What a change of metadata may add to the journal, for back-pressure. */
#define FS_CHANGE_BYTES 512u

/* A name that a new or existing entry can have. */
C2_RESULT fs_name_check(const char *name);
/* The entry and what it leads to; *ret_child is NULL when there is no such entry. */
C2_RESULT fs_child_find(struct fs_req *r, struct fs_inode *dir, const char *name,
                        struct fs_dentry **ret_dentry, struct fs_inode **ret_child);
/* The same, NOT_FOUND when there is no such entry. */
C2_RESULT fs_child_get(struct fs_req *r, struct fs_inode *dir, const char *name,
                       struct fs_dentry **ret_dentry, struct fs_inode **ret_child);
/* A directory that still has a name, and a name in it that is free. */
C2_RESULT fs_place_find(struct fs_req *r, uint64_t dir_ino, const char *name,
                        struct fs_inode **ret_dir, struct fs_dentry **ret_dentry);

/* The last thing before the first change. FENCED, AGAIN. */
C2_RESULT fs_change_admit(struct fs_req *r, size_t bytes);

/* Set-user-id and set-group-id bits do not survive a change of owner, nor one of content by anybody
 * but root. (The kernel knows CAP_FSETID and sends a SETATTR for most changes of those without it;
 * for an open that truncates it does not.) */
void fs_clear_suid(struct fs *fs, struct fs_inode *i);
void fs_written_by(struct fs_req *r, struct fs_inode *i);

/* Attributes of an inode; the found one is borrowed from it until the next change. */
bool fs_xattr_find(const struct fs_inode *i, const char *name, struct fs_xattr *ret_xattr);
/* Replaces or adds; an empty value removes. Marks nothing dirty. */
void fs_xattr_put(struct fs_inode *i, const char *name, struct c2_slice value);

/* Answers with an entry: its attributes, and one lookup that the kernel holds from now on. */
void fs_answer_entry(struct fs_req *r, const struct fs_inode *i);

static inline bool
fs_handle_may_write(const struct fs_handle *h)
{
    return (h->flags & O_ACCMODE) != O_RDONLY;
}

#endif
