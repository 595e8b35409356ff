/* SPDX-License-Identifier: MIT */
/*
 * rename(2) and renameat2(2). What the source holds is published with the new name, so that a
 * crash never leaves the name of a replaced file with half of the new content (POSIX programs
 * write to a temporary name and rename over the old one).
 */
#include <stdio.h>

#include "fs/op.h"

#define ANCESTORS_MAX 4096

/* One side of a rename. */
struct place {
    struct fs_inode *dir;
    struct fs_dentry *entry;
    struct fs_inode *child; /* NULL = no such entry */
};

static bool
is_dir(const struct fs_inode *i)
{
    return i != NULL && S_ISDIR(i->attr.mode);
}

/* INVALID when `dir` is `top` or lies below it. */
static C2_RESULT
check_not_below(struct fs_req *r, const struct fs_inode *dir, const struct fs_inode *top)
{
    uint64_t ino = dir->ino;
    for (unsigned depth = 0; depth < ANCESTORS_MAX; depth++) {
        if (ino == top->ino)
            return C2_E_INVALID;
        if (ino == FS_ROOT_INO)
            return C2_E_OK;
        struct fs_inode *i;
        C2_TRY(fs_dir_find(r, ino, &i));
        ino = i->parent;
    }
    return C2_E_LOOP;
}

/* A directory that goes to another parent must not end up below itself, and the new parent gets
 * its .. entry. `replaced` is what makes room for it there. */
static C2_RESULT
check_move(struct fs_req *r, const struct fs_inode *moved, const struct fs_inode *to_dir,
           const struct fs_inode *replaced)
{
    if (!is_dir(moved))
        return C2_E_OK;
    C2_TRY(check_not_below(r, to_dir, moved));
    if (!is_dir(replaced) && to_dir->attr.nlink >= FS_DIR_LINK_MAX)
        return C2_E_LINKS;
    return C2_E_OK;
}

static C2_RESULT
check_replace(struct fs_req *r, const struct fs_inode *child, struct fs_inode *replaced)
{
    if (replaced == NULL)
        return C2_E_OK;
    if (is_dir(replaced) && !is_dir(child))
        return C2_E_IS_DIR;
    if (!is_dir(replaced) && is_dir(child))
        return C2_E_NOT_DIR;
    return is_dir(replaced) ? fs_dir_empty(r, replaced) : C2_E_OK;
}

/* The parents' link counts and the way up after a directory moved. */
static void
move_parent(struct fs_inode *child, struct fs_inode *from, struct fs_inode *to)
{
    if (!is_dir(child) || from == to)
        return;
    from->attr.nlink -= from->attr.nlink > 2;
    to->attr.nlink++;
    child->parent = to->ino;
}

static void
replace(struct fs *fs, struct place *from, struct place *to)
{
    struct fs_inode *child = from->child, *old = to->child;
    if (is_dir(old)) {
        old->attr.nlink = 0;
        to->dir->attr.nlink -= to->dir->attr.nlink > 2;
    } else if (old != NULL) {
        old->attr.nlink -= old->attr.nlink > 0;
    }
    fs_inode_publish(fs, child);
    if (old != NULL)
        fs_inode_publish(fs,
                         old); /* as in unlink: other names of it, or its end, are decided now */
    move_parent(child, from->dir, to->dir);
    fs_inode_touch(fs, child, FS_SET_CTIME);
    fs_dentry_set(fs, to->dir, to->entry, child);
    fs_dentry_set(fs, from->dir, from->entry, NULL);
    if (old != NULL) {
        fs_inode_touch(fs, old, FS_SET_CTIME);
        fs_inode_links_changed(fs, old);
    }
}

static void
exchange(struct fs *fs, struct place *a, struct place *b)
{
    fs_inode_publish(fs, a->child);
    fs_inode_publish(fs, b->child);
    move_parent(a->child, a->dir, b->dir);
    move_parent(b->child, b->dir, a->dir);
    fs_inode_touch(fs, a->child, FS_SET_CTIME);
    fs_inode_touch(fs, b->child, FS_SET_CTIME);
    fs_dentry_set(fs, a->dir, a->entry, b->child);
    fs_dentry_set(fs, b->dir, b->entry, a->child);
}

static C2_RESULT
find_places(struct fs_req *r, struct place *from, struct place *to)
{
    C2_TRY(fs_name_check(r->name));
    C2_TRY(fs_name_check(r->name2));
    C2_TRY(fs_dir_find(r, r->ino, &from->dir));
    C2_TRY(fs_dir_find(r, r->ino2, &to->dir));
    C2_TRY(fs_child_get(r, from->dir, r->name, &from->entry, &from->child));
    if (to->dir->attr.nlink == 0)
        return C2_E_NOT_FOUND;
    return fs_child_find(r, to->dir, r->name2, &to->entry, &to->child);
}

enum c2_err
fs_op_rename(struct fs_req *r)
{
    struct fs *fs = r->fs;
    struct place from, to;
    unsigned flags = (unsigned)r->flags;
    if (flags != 0 && flags != RENAME_NOREPLACE && flags != RENAME_EXCHANGE)
        return C2_E_INVALID;
    C2_TRY(find_places(r, &from, &to));
    if (flags == RENAME_NOREPLACE && to.child != NULL)
        return C2_E_EXISTS;
    if (flags == RENAME_EXCHANGE && to.child == NULL)
        return C2_E_NOT_FOUND;
    if (from.child == to.child)
        return C2_E_OK; /* two names of one file: POSIX says that nothing happens */
    if (from.dir != to.dir)
        C2_TRY(check_move(r, from.child, to.dir, to.child));
    if (flags == RENAME_EXCHANGE) {
        if (from.dir != to.dir)
            C2_TRY(check_move(r, to.child, from.dir, from.child));
    } else {
        C2_TRY(check_replace(r, from.child, to.child));
    }
    C2_TRY(fs_change_admit(r, 2 * FS_CHANGE_BYTES));

    if (flags == RENAME_EXCHANGE)
        exchange(fs, &from, &to);
    else
        replace(fs, &from, &to);
    fs_changed(fs);
    return C2_E_OK;
}
