/* SPDX-License-Identifier: MIT */
/*
 * Results of the file system become answers to the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/alloc.h"
#include "fs/mount_fuse_impl.h"

#define STATFS_BLOCK 4096u
#define IO_SIZE      (128u << 10) /* what stat recommends for reads and writes */

static void call_done(struct fs_req *r);
static bool call_dirent(struct fs_req *r, const struct fs_dirent *e);

const struct fs_req_ops mf_call_ops = { .done = call_done, .dirent = call_dirent };

static struct timespec
timespec_of(struct fs_time t)
{
    return (struct timespec){ .tv_sec = t.sec, .tv_nsec = (long)t.nsec };
}

static struct stat
stat_of(const struct fs_attr *a)
{
    struct stat s = { 0 };
    s.st_ino = a->ino;
    s.st_mode = a->mode;
    s.st_nlink = a->nlink;
    s.st_uid = a->uid;
    s.st_gid = a->gid;
    s.st_rdev = a->rdev;
    s.st_size = (off_t)a->size;
    s.st_blocks = (blkcnt_t)a->blocks;
    s.st_blksize = IO_SIZE;
    s.st_atim = timespec_of(a->atime);
    s.st_mtim = timespec_of(a->mtime);
    s.st_ctim = timespec_of(a->ctime);
    return s;
}

static struct fuse_entry_param
entry_of(const struct mount_fuse *m, const struct fs_attr *a)
{
    return (struct fuse_entry_param){ .ino = a->ino,
                                      .attr = stat_of(a),
                                      .attr_timeout = m->attr_timeout,
                                      .entry_timeout = m->entry_timeout };
}

static struct mf_handle *
handle_new(struct mount_fuse *m, struct fs_handle *h, bool dir)
{
    struct mf_handle *k = c2_calloc(1, sizeof(*k));
    k->h = h;
    k->dir = dir;
    c2_list_append(&m->handles, &k->link);
    return k;
}

static void
answer_entry(struct mf_call *c)
{
    struct fuse_entry_param e = entry_of(c->m, &c->r.attr);
    if (fuse_reply_entry(c->req, &e) != 0)
        mf_forget(c->m, c->r.attr.ino, 1);
}

static void
answer_open(struct mf_call *c)
{
    struct mount_fuse *m = c->m;
    struct mf_handle *h = handle_new(m, c->r.handle, c->r.op == FS_OPENDIR);
    struct fuse_file_info *fi = &c->fi;
    int failed;
    fi->fh = (uint64_t)(uintptr_t)h;
    fi->keep_cache = c->r.keep_cache ? 1 : 0;
    /* Nothing to write back, nothing that close(2) could report. */
    fi->noflush = c->r.op == FS_OPEN && (c->r.flags & O_ACCMODE) == O_RDONLY ? 1 : 0;
    if (c->r.op == FS_CREATE) {
        struct fuse_entry_param e = entry_of(m, &c->r.attr);
        failed = fuse_reply_create(c->req, &e, fi);
        if (failed != 0)
            mf_forget(m, c->r.attr.ino, 1);
    } else {
        failed = fuse_reply_open(c->req, fi);
    }
    if (failed != 0)
        mf_release(m, h, NULL);
}

static void
answer_statfs(struct mf_call *c)
{
    const struct fs_statfs *s = &c->r.statfs;
    struct statvfs v = { .f_bsize = STATFS_BLOCK,
                         .f_frsize = STATFS_BLOCK,
                         .f_namemax = FS_NAME_MAX };
    v.f_blocks = s->total_bytes / STATFS_BLOCK;
    v.f_bfree = v.f_bavail = s->free_bytes / STATFS_BLOCK;
    v.f_files = s->files;
    v.f_ffree = v.f_favail = s->files_free;
    (void)fuse_reply_statfs(c->req, &v);
}

/* Size 0 asks how large the answer is. */
static void
answer_xattr(struct mf_call *c)
{
    const struct c2_buf *reply = &c->r.reply;
    if (c->size == 0)
        (void)fuse_reply_xattr(c->req, reply->len);
    else if (reply->len > c->size)
        (void)fuse_reply_err(c->req, ERANGE);
    else
        (void)fuse_reply_buf(c->req, (const char *)reply->data, reply->len);
}

static void
answer_error(struct mf_call *c)
{
    /* An absent name is remembered by the kernel: only this mount could create it. */
    if (c->r.op == FS_LOOKUP && c->r.err == C2_E_NOT_FOUND && c->m->entry_timeout > 0) {
        struct fuse_entry_param absent = { .entry_timeout = c->m->entry_timeout };
        (void)fuse_reply_entry(c->req, &absent);
        return;
    }
    (void)fuse_reply_err(c->req, c2_err_errno(c->r.err));
}

static void
answer_attr(struct mf_call *c)
{
    struct stat s = stat_of(&c->r.attr);
    (void)fuse_reply_attr(c->req, &s, c->m->attr_timeout);
}

static void
answer(struct mf_call *c)
{
    switch (c->r.op) {
    case FS_LOOKUP:
    case FS_MKNOD:
    case FS_MKDIR:
    case FS_SYMLINK:
    case FS_LINK:
        answer_entry(c);
        break;
    case FS_CREATE:
    case FS_OPEN:
    case FS_OPENDIR:
        answer_open(c);
        break;
    case FS_GETATTR:
    case FS_SETATTR:
        answer_attr(c);
        break;
    case FS_READLINK:
        (void)fuse_reply_readlink(c->req, c2_buf_cstr(&c->r.reply));
        break;
    case FS_READ:
        (void)fuse_reply_buf(c->req, (const char *)c->r.iov.data, c->r.iov.len);
        break;
    case FS_READDIR:
        (void)fuse_reply_buf(c->req, c->out, c->out_len);
        break;
    case FS_WRITE:
    case FS_COPY_RANGE:
        (void)fuse_reply_write(c->req, (size_t)c->r.count);
        break;
    case FS_STATFS:
        answer_statfs(c);
        break;
    case FS_GETXATTR:
    case FS_LISTXATTR:
        answer_xattr(c);
        break;
    case FS_LSEEK:
        (void)fuse_reply_lseek(c->req, (off_t)c->r.off);
        break;
    case FS_UNLINK:
    case FS_RMDIR:
    case FS_RENAME:
    case FS_FLUSH:
    case FS_RELEASE:
    case FS_FSYNC:
    case FS_RELEASEDIR:
    case FS_SETXATTR:
    case FS_REMOVEXATTR:
    case FS_FALLOCATE:
        (void)fuse_reply_err(c->req, 0);
        break;
    case FS_FORGET:
    case FS_SYNCFS:
    case FS_OPCODE_COUNT:
        C2_UNREACHABLE();
    }
}

static void
call_done(struct fs_req *r)
{
    struct mf_call *c = C2_CONTAINER_OF(r, struct mf_call, r);
    c2_list_remove(&c->m->calls, &c->link);
    if (c->req != NULL && r->err != C2_E_OK)
        answer_error(c);
    else if (c->req != NULL)
        answer(c);
    if (c->submitting)
        c->answered = true;
    else
        mf_call_free(c);
}

static bool
call_dirent(struct fs_req *r, const struct fs_dirent *e)
{
    struct mf_call *c = C2_CONTAINER_OF(r, struct mf_call, r);
    char *at = c->out + c->out_len;
    size_t room = c->size - c->out_len;
    size_t need;
    if (r->plus) {
        struct fuse_entry_param p = { 0 };
        if (e->attr != NULL)
            p = entry_of(c->m, e->attr);
        /* Without attributes the kernel takes the entry only, and asks when it needs more. */
        p.attr.st_ino = e->ino;
        p.attr.st_mode = e->attr != NULL ? e->attr->mode : e->type;
        need = fuse_add_direntry_plus(c->req, at, room, e->name, &p, (off_t)e->cookie);
    } else {
        struct stat s = { .st_ino = e->ino, .st_mode = e->type };
        need = fuse_add_direntry(c->req, at, room, e->name, &s, (off_t)e->cookie);
    }
    if (need > room)
        return false;
    c->out_len += need;
    return true;
}
