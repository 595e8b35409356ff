/* SPDX-License-Identifier: MIT */
/*
 * write(2): one copy into the file's chunks. A file that grows sequentially sends its full chunks
 * to the clouds while it is being written.
 */
#include "fs/op.h"
#include "fs/pack.h"

enum c2_err
fs_op_write(struct fs_req *r)
{
    struct fs *fs = r->fs;
    struct fs_inode *i;
    if (r->data.len > FS_WRITE_MAX)
        return C2_E_INVALID;
    if (r->off > (uint64_t)FS_FILE_SIZE_MAX - r->data.len)
        return C2_E_TOO_LARGE;
    C2_TRY(fs_inode_find_content(r, r->handle->inode->ino, &i));
    C2_TRY(fs_compact_admit(r, i));
    C2_TRY(fs_admit_size(fs, i, r->off + r->data.len));
    C2_TRY(fs_admit(r, r->data.len));
    fs_content_write(fs, i, r->off, r->data);
    fs_written_by(r, i);
    fs_pack_stream(fs, i);
    fs_changed(fs);
    r->count = r->data.len;
    return C2_E_OK;
}
