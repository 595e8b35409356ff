/* SPDX-License-Identifier: MIT */
/*
 * From a request to its operation and back. An operation that has to wait returns C2_E_AGAIN after
 * it has parked the request (fs_park, or a completion of its own); whoever ends the wait calls
 * fs_rerun (the operation starts again) or fs_reply (the answer is known). A request is never run
 * again from inside the call that parked it.
 */
#include "base/alloc.h"
#include "fs/op.h"

static enum c2_err (*const operations[FS_OPCODE_COUNT])(struct fs_req *r) = {
    [FS_LOOKUP] = fs_op_lookup,
    [FS_FORGET] = fs_op_forget,
    [FS_GETATTR] = fs_op_getattr,
    [FS_SETATTR] = fs_op_setattr,
    [FS_READLINK] = fs_op_readlink,
    [FS_MKNOD] = fs_op_mknod,
    [FS_MKDIR] = fs_op_mkdir,
    [FS_SYMLINK] = fs_op_symlink,
    [FS_UNLINK] = fs_op_unlink,
    [FS_RMDIR] = fs_op_rmdir,
    [FS_RENAME] = fs_op_rename,
    [FS_LINK] = fs_op_link,
    [FS_CREATE] = fs_op_create,
    [FS_OPEN] = fs_op_open,
    [FS_READ] = fs_op_read,
    [FS_WRITE] = fs_op_write,
    [FS_FLUSH] = fs_op_flush,
    [FS_RELEASE] = fs_op_release,
    [FS_FSYNC] = fs_op_fsync,
    [FS_OPENDIR] = fs_op_opendir,
    [FS_READDIR] = fs_op_readdir,
    [FS_RELEASEDIR] = fs_op_releasedir,
    [FS_STATFS] = fs_op_statfs,
    [FS_SETXATTR] = fs_op_setxattr,
    [FS_GETXATTR] = fs_op_getxattr,
    [FS_LISTXATTR] = fs_op_listxattr,
    [FS_REMOVEXATTR] = fs_op_removexattr,
    [FS_FALLOCATE] = fs_op_fallocate,
    [FS_LSEEK] = fs_op_lseek,
    [FS_COPY_RANGE] = fs_op_copy_range,
    [FS_SYNCFS] = fs_op_syncfs,
};

/* ---- requests ------------------------------------------------------------------------------ */

void
fs_reply(struct fs_req *r, enum c2_err err)
{
    struct fs *fs = r->fs;
    C2_ASSERT(err != C2_E_AGAIN);
    C2_ASSERT(fs->requests > 0);
    fs->requests--;
    r->err = err;
    C2_ASSERT(r->parked == NULL);
    r->ops->done(r);
}

/* The answer is known, or the request is parked. */
static bool
run(struct fs_req *r)
{
    enum c2_err err = operations[r->op](r);
    if (err == C2_E_AGAIN)
        return false;
    fs_reply(r, err);
    return true;
}

void
fs_submit(struct fs *fs, struct fs_req *r)
{
    C2_ASSERT((unsigned)r->op < FS_OPCODE_COUNT);
    r->fs = fs;
    r->err = C2_E_OK;
    r->parked = NULL;
    r->interrupt = NULL;
    r->count = 0;
    fs->requests++;
    if (run(r))
        return;
    /* The bytes of a write are the submitter's only until now. */
    if (r->op == FS_WRITE && r->data_owned == NULL) {
        r->data_owned = c2_blob_copy(r->data.data, r->data.len);
        r->data = c2_blob_slice(r->data_owned);
    }
}

void
fs_rerun(struct fs_req *r)
{
    fs_unpark(r);
    (void)run(r);
}

void
fs_park(struct fs_req *r, struct c2_list *list)
{
    C2_ASSERT(r->parked == NULL);
    r->parked = list;
    c2_list_append(list, &r->link);
}

void
fs_unpark(struct fs_req *r)
{
    if (r->parked == NULL)
        return;
    c2_list_remove(r->parked, &r->link);
    r->parked = NULL;
}

void
fs_interrupt(struct fs *fs, struct fs_req *r)
{
    C2_ASSERT(r->fs == fs);
    if (r->parked != NULL) {
        fs_unpark(r);
        fs_reply(r, C2_E_INTERRUPTED);
    } else if (r->interrupt != NULL) {
        r->interrupt(r);
    } /* else what it waits for ends by itself */
}

void
fs_req_done(struct fs_req *r)
{
    c2_buf_done(&r->reply);
    c2_blob_unref(r->iov_blob);
    c2_blob_unref(r->data_owned);
    r->iov_blob = NULL;
    r->data_owned = NULL;
}

/* ---- handles ------------------------------------------------------------------------------- */

struct fs_handle *
fs_handle_new(struct fs *fs, struct fs_inode *i, int flags)
{
    struct fs_handle *h = c2_calloc(1, sizeof(*h));
    h->inode = i;
    h->flags = flags;
    fs_inode_pin(fs, i);
    i->opens++;
    if (fs_handle_may_write(h))
        i->write_opens++;
    return h;
}

void
fs_handle_free(struct fs *fs, struct fs_handle *h)
{
    struct fs_inode *i = h->inode;
    C2_ASSERT(h->dir == NULL);
    C2_ASSERT(i->opens > 0);
    i->opens--;
    if (fs_handle_may_write(h)) {
        C2_ASSERT(i->write_opens > 0);
        i->write_opens--;
    }
    c2_free(h);
    fs_inode_links_changed(fs, i);
    fs_inode_unpin(fs, i);
}
