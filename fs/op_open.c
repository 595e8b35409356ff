/* SPDX-License-Identifier: MIT */
/*
 * open(2) of an existing file, release. O_TRUNC arrives with the open: the old content stays the
 * published one until the new one is.
 */
#include <fcntl.h>

#include "fs/op.h"

enum c2_err
fs_op_open(struct fs_req *r)
{
    struct fs *fs = r->fs;
    struct fs_inode *i;
    bool writes = (r->flags & O_ACCMODE) != O_RDONLY;
    bool truncates = (r->flags & O_TRUNC) != 0; /* with O_RDONLY too, as Linux does */
    if (truncates)
        C2_TRY(fs_inode_find_content(r, r->ino, &i));
    else
        C2_TRY(fs_inode_find(r, r->ino, &i));
    if (S_ISDIR(i->attr.mode))
        return C2_E_IS_DIR;
    if (!S_ISREG(i->attr.mode))
        return C2_E_NO_DEVICE;
    if (i->gone)
        return C2_E_STALE; /* unlinked since the kernel looked */
    if (writes || truncates)
        C2_TRY(fs_admit(r, 0));
    if (truncates && i->attr.size > 0) {
        fs_content_truncate(fs, i, 0);
        i->truncated = true;
    }
    if (truncates) {
        /* Of an empty file, too: make's time stamps are files like that. */
        fs_inode_touch(fs, i, FS_SET_MTIME | FS_SET_CTIME);
        fs_written_by(r, i);
    }
    r->handle = fs_handle_new(fs, i, r->flags);
    r->keep_cache = true; /* nobody else writes while this mount holds the volume */
    if (truncates)
        fs_changed(fs);
    return C2_E_OK;
}

enum c2_err
fs_op_release(struct fs_req *r)
{
    struct fs *fs = r->fs;
    struct fs_inode *i = r->handle->inode;
    /* Nobody can write through this one any more: it did mean an empty file. */
    if ((r->handle->flags & O_TRUNC) != 0 && i->truncated && i->attr.size == 0)
        fs_inode_publish(fs, i);
    fs_handle_free(fs, r->handle);
    r->handle = NULL;
    fs_changed(fs);
    return C2_E_OK;
}
