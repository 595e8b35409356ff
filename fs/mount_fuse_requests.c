/* SPDX-License-Identifier: MIT */
/*
 * Kernel requests become file system requests.
 *
 * What the kernel decides for us: permissions (default_permissions), clearing of set-user-id on
 * write and chown (FUSE_HANDLE_KILLPRIV is declined, so it tells us by SETATTR), advisory locks.
 */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "fs/acl.h"
#include "fs/mount_fuse_impl.h"

#define BACKGROUND_MAX 64u

/* ---- calls --------------------------------------------------------------------------------- */

struct mf_call *
mf_call_new(struct mount_fuse *m, fuse_req_t req, enum fs_opcode op, uint64_t ino)
{
    struct mf_call *c = c2_calloc(1, sizeof(*c));
    c->m = m;
    c->req = req;
    c->r.ops = &mf_call_ops;
    c->r.op = op;
    c->r.ino = ino;
    if (req != NULL) {
        const struct fuse_ctx *ctx = fuse_req_ctx(req);
        c->r.uid = ctx->uid;
        c->r.gid = ctx->gid;
        c->r.umask = ctx->umask;
        c->pid = ctx->pid;
    }
    return c;
}

static struct mf_call *
call_start(fuse_req_t req, enum fs_opcode op, uint64_t ino)
{
    return mf_call_new(fuse_req_userdata(req), req, op, ino);
}

/* A name that is too long is cut one byte over the limit: the file system refuses it. */
static void
set_name(const char **field, char store[FS_NAME_MAX + 2], const char *name)
{
    size_t len = strnlen(name, FS_NAME_MAX + 1);
    memcpy(store, name, len);
    store[len] = '\0';
    *field = store;
}

static struct mf_handle *
handle_of(const struct fuse_file_info *fi)
{
    return (struct mf_handle *)(uintptr_t)fi->fh; /* the kernel gives back what open gave it */
}

static void
call_set_handle(struct mf_call *c, const struct fuse_file_info *fi)
{
    if (fi != NULL)
        c->r.handle = handle_of(fi)->h;
}

void
mf_call_free(struct mf_call *c)
{
    fs_req_done(&c->r);
    c2_free(c->out);
    c2_free(c->text);
    c2_free(c->groups);
    c2_free(c->handle);
    c2_free(c);
}

static void
interrupted(fuse_req_t req, void *data)
{
    (void)req;
    mf_signalled(data);
}

void
mf_call_submit(struct mf_call *c)
{
    struct mount_fuse *m = c->m;
    c2_list_append(&m->calls, &c->link);
    m->counts[c->r.op]++;
    c->submitting = true;
    fs_submit(m->fs, &c->r);
    if (c->answered) {
        mf_call_free(c);
        return;
    }
    c->submitting = false;
    mf_waits(c);
    if (c->req != NULL)
        fuse_req_interrupt_func(c->req, interrupted, c);
}

/* ---- requests ------------------------------------------------------------------------------ */

static struct fs_time
time_of(struct timespec t)
{
    return (struct fs_time){ .sec = t.tv_sec, .nsec = (uint32_t)t.tv_nsec };
}

static void
on_init(void *userdata, struct fuse_conn_info *conn)
{
    struct mount_fuse *m = userdata;
    conn->max_write = MF_WRITE_MAX;
    conn->max_background = BACKGROUND_MAX;
    conn->congestion_threshold = BACKGROUND_MAX * 3 / 4;
    conn->time_gran = 1;
    /* Nobody else changes files, so a changed mtime never means that pages are old. */
    conn->want &=
        ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
                    FUSE_CAP_SPLICE_MOVE | FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_READDIRPLUS_AUTO);
    unsigned wish = FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS |
                    FUSE_CAP_READDIRPLUS | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPLICIT_INVAL_DATA |
                    FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK;
    if (m->writeback_cache)
        wish |= FUSE_CAP_WRITEBACK_CACHE;
    conn->want |= wish & conn->capable;
    m->initialised = true;
}

static void
on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct mf_call *c = call_start(req, FS_LOOKUP, parent);
    set_name(&c->r.name, c->name, name);
    mf_call_submit(c);
}

void
mf_forget(struct mount_fuse *m, uint64_t ino, uint64_t count)
{
    struct mf_call *c = mf_call_new(m, NULL, FS_FORGET, ino);
    c->r.len = count;
    mf_call_submit(c);
}

static void
on_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
    mf_forget(fuse_req_userdata(req), ino, nlookup);
    fuse_reply_none(req);
}

static void
on_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    for (size_t k = 0; k < count; k++)
        mf_forget(fuse_req_userdata(req), forgets[k].ino, forgets[k].nlookup);
    fuse_reply_none(req);
}

static void
on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mf_call *c = call_start(req, FS_GETATTR, ino);
    call_set_handle(c, fi);
    mf_call_submit(c);
}

static void
on_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
    static const struct {
        int fuse;
        unsigned ours;
    } bits[] = {
        { FUSE_SET_ATTR_MODE, FS_SET_MODE },
        { FUSE_SET_ATTR_UID, FS_SET_UID },
        { FUSE_SET_ATTR_GID, FS_SET_GID },
        { FUSE_SET_ATTR_SIZE, FS_SET_SIZE },
        { FUSE_SET_ATTR_ATIME, FS_SET_ATIME },
        { FUSE_SET_ATTR_MTIME, FS_SET_MTIME },
        { FUSE_SET_ATTR_ATIME_NOW, FS_SET_ATIME_NOW },
        { FUSE_SET_ATTR_MTIME_NOW, FS_SET_MTIME_NOW },
        { FUSE_SET_ATTR_CTIME, FS_SET_CTIME },
    };
    struct mf_call *c = call_start(req, FS_SETATTR, ino);
    for (size_t k = 0; k < C2_ARRAY_LEN(bits); k++)
        if ((to_set & bits[k].fuse) != 0)
            c->r.valid |= bits[k].ours;
    c->r.attr.mode = attr->st_mode;
    c->r.attr.uid = attr->st_uid;
    c->r.attr.gid = attr->st_gid;
    c->r.attr.size = (uint64_t)attr->st_size;
    c->r.attr.atime = time_of(attr->st_atim);
    c->r.attr.mtime = time_of(attr->st_mtim);
    c->r.attr.ctime = time_of(attr->st_ctim);
    call_set_handle(c, fi);
    mf_call_submit(c);
}

static void
on_readlink(fuse_req_t req, fuse_ino_t ino)
{
    mf_call_submit(call_start(req, FS_READLINK, ino));
}

static void
on_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    struct mf_call *c = call_start(req, FS_MKNOD, parent);
    set_name(&c->r.name, c->name, name);
    c->r.mode = mode;
    c->r.rdev = rdev;
    mf_call_submit(c);
}

static void
on_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct mf_call *c = call_start(req, FS_MKDIR, parent);
    set_name(&c->r.name, c->name, name);
    c->r.mode = mode;
    mf_call_submit(c);
}

static void
on_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct mf_call *c = call_start(req, FS_UNLINK, parent);
    set_name(&c->r.name, c->name, name);
    mf_call_submit(c);
}

static void
on_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct mf_call *c = call_start(req, FS_RMDIR, parent);
    set_name(&c->r.name, c->name, name);
    mf_call_submit(c);
}

static void
on_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    struct mf_call *c = call_start(req, FS_SYMLINK, parent);
    set_name(&c->r.name, c->name, name);
    c->text = c2_strdup(target);
    c->r.name2 = c->text;
    mf_call_submit(c);
}

static void
on_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
          const char *newname, unsigned flags)
{
    struct mf_call *c = call_start(req, FS_RENAME, parent);
    set_name(&c->r.name, c->name, name);
    set_name(&c->r.name2, c->name2, newname);
    c->r.ino2 = newparent;
    c->r.flags = (int)flags;
    mf_call_submit(c);
}

static void
on_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
    struct mf_call *c = call_start(req, FS_LINK, ino);
    set_name(&c->r.name2, c->name2, newname);
    c->r.ino2 = newparent;
    mf_call_submit(c);
}

static void
on_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
          struct fuse_file_info *fi)
{
    struct mf_call *c = call_start(req, FS_CREATE, parent);
    set_name(&c->r.name, c->name, name);
    c->r.mode = mode;
    c->r.flags = fi->flags;
    c->fi = *fi;
    mf_call_submit(c);
}

static void
on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mf_call *c = call_start(req, FS_OPEN, ino);
    c->r.flags = fi->flags;
    c->fi = *fi;
    mf_call_submit(c);
}

static void
on_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mf_call *c = call_start(req, FS_OPENDIR, ino);
    c->fi = *fi;
    mf_call_submit(c);
}

static void
on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct mf_call *c = call_start(req, FS_READ, ino);
    call_set_handle(c, fi);
    c->r.off = (uint64_t)off;
    c->r.len = C2_MIN(size, FS_READ_MAX);
    mf_call_submit(c);
}

static void
on_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
         struct fuse_file_info *fi)
{
    struct mf_call *c = call_start(req, FS_WRITE, ino);
    call_set_handle(c, fi);
    c->r.off = (uint64_t)off;
    c->r.len = size;
    c->r.data = c2_slice(buf, size);
    mf_call_submit(c);
}

static void
on_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mf_call *c = call_start(req, FS_FLUSH, ino);
    call_set_handle(c, fi);
    mf_call_submit(c);
}

void
mf_release(struct mount_fuse *m, struct mf_handle *h, fuse_req_t req)
{
    struct mf_call *c = mf_call_new(m, req, h->dir ? FS_RELEASEDIR : FS_RELEASE, 0);
    c2_list_remove(&m->handles, &h->link);
    c->r.handle = h->h;
    c->handle = h;
    mf_call_submit(c);
}

static void
on_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    mf_release(fuse_req_userdata(req), handle_of(fi), req);
}

static void
on_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct mf_call *c = call_start(req, FS_FSYNC, ino);
    c->r.flags = datasync;
    call_set_handle(c, fi);
    mf_call_submit(c);
}

static void
submit_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
               const struct fuse_file_info *fi, bool plus)
{
    struct mf_call *c = call_start(req, FS_READDIR, ino);
    call_set_handle(c, fi);
    c->r.off = (uint64_t)off;
    c->r.plus = plus;
    c->size = C2_MIN(size, MF_READDIR_MAX);
    c->out = c2_alloc(c->size);
    mf_call_submit(c);
}

static void
on_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    submit_readdir(req, ino, size, off, fi, false);
}

static void
on_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    submit_readdir(req, ino, size, off, fi, true);
}

static void
on_statfs(fuse_req_t req, fuse_ino_t ino)
{
    mf_call_submit(call_start(req, FS_STATFS, ino));
}

/* Those that the kernel does not send. In doubt (another process name space) there are none. */
static void
set_groups(struct mf_call *c)
{
    int n = fuse_req_getgroups(c->req, 0, NULL);
    if (n <= 0)
        return;
    c->groups = c2_calloc((size_t)n, sizeof(*c->groups));
    int now = fuse_req_getgroups(c->req, n, c->groups);
    c->r.groups = c->groups;
    c->r.ngroups = now <= 0 ? 0 : (size_t)C2_MIN(n, now);
}

static void
on_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
            int flags)
{
    struct mf_call *c = call_start(req, FS_SETXATTR, ino);
    set_name(&c->r.name, c->name, name);
    c->text = c2_alloc(size);
    memcpy(c->text, value, size);
    c->r.data = c2_slice(c->text, size);
    c->r.flags = flags;
    if (strcmp(name, FS_ACL_ACCESS) == 0)
        set_groups(c);
    mf_call_submit(c);
}

static void
on_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct mf_call *c = call_start(req, FS_GETXATTR, ino);
    set_name(&c->r.name, c->name, name);
    c->size = size;
    mf_call_submit(c);
}

static void
on_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct mf_call *c = call_start(req, FS_LISTXATTR, ino);
    c->size = size;
    mf_call_submit(c);
}

static void
on_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    struct mf_call *c = call_start(req, FS_REMOVEXATTR, ino);
    set_name(&c->r.name, c->name, name);
    mf_call_submit(c);
}

static void
on_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
             struct fuse_file_info *fi)
{
    struct mf_call *c = call_start(req, FS_FALLOCATE, ino);
    call_set_handle(c, fi);
    c->r.mode = (uint32_t)mode;
    c->r.off = (uint64_t)off;
    c->r.len = (uint64_t)len;
    mf_call_submit(c);
}

static void
on_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
    const struct mount_fuse *m = fuse_req_userdata(req);
    if (m->writeback_cache) {
        /* The kernel has data that we do not know of, which would be holes: copies of a file that
         * is being written would have zeros there. It takes all of it for data from now on. */
        (void)fuse_reply_err(req, ENOSYS);
        return;
    }
    struct mf_call *c = call_start(req, FS_LSEEK, ino);
    call_set_handle(c, fi);
    c->r.off = (uint64_t)off;
    c->r.flags = whence;
    mf_call_submit(c);
}

static void /* NOLINTNEXTLINE(readability-function-size): libfuse's signature */
on_copy_file_range(fuse_req_t req, fuse_ino_t ino, off_t off, struct fuse_file_info *fi,
                   fuse_ino_t ino2, off_t off2, struct fuse_file_info *fi2, size_t len, int flags)
{
    struct mf_call *c = call_start(req, FS_COPY_RANGE, ino);
    (void)ino2;
    (void)flags; /* the kernel refuses all that it does not know */
    call_set_handle(c, fi);
    c->r.handle2 = handle_of(fi2)->h;
    c->r.off = (uint64_t)off;
    c->r.off2 = (uint64_t)off2;
    c->r.len = len;
    mf_call_submit(c);
}

const struct fuse_lowlevel_ops mf_ops = {
    .init = on_init,
    .lookup = on_lookup,
    .forget = on_forget,
    .forget_multi = on_forget_multi,
    .getattr = on_getattr,
    .setattr = on_setattr,
    .readlink = on_readlink,
    .mknod = on_mknod,
    .mkdir = on_mkdir,
    .unlink = on_unlink,
    .rmdir = on_rmdir,
    .symlink = on_symlink,
    .rename = on_rename,
    .link = on_link,
    .create = on_create,
    .open = on_open,
    .read = on_read,
    .write = on_write,
    .flush = on_flush,
    .release = on_release,
    .fsync = on_fsync,
    .opendir = on_opendir,
    .readdir = on_readdir,
    .readdirplus = on_readdirplus,
    .releasedir = on_release,
    .fsyncdir = on_fsync,
    .statfs = on_statfs,
    .setxattr = on_setxattr,
    .getxattr = on_getxattr,
    .listxattr = on_listxattr,
    .removexattr = on_removexattr,
    .fallocate = on_fallocate,
    .lseek = on_lseek,
    .copy_file_range = on_copy_file_range,
};
