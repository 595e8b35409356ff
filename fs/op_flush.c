/* SPDX-License-Identifier: MIT */
/*
 * What close(2), fsync(2) and syncfs(2) promise:
 *
 *   FLUSH (each close)  close=async: in the journal file, survives the daemon; close=sync: in the
 *                       clouds and committed
 *   FSYNC               fsync=journal: on the disk; fsync=cloud: in the clouds and committed
 *   SYNCFS              in the clouds and committed
 *
 *   PUBLISH (journal group) --> [SYNC (transaction groups)] --> answer
 *     ^ |
 *     '-' while the journal is full
 *
 * A full journal becomes empty again when the clouds have what is in it, this file first of all; a
 * full disk does not, and is ENOSPC.
 *
 * An interrupt ends the wait for the clouds with INTERRUPTED; what was published stays, and goes
 * its way.
 */
#include "base/alloc.h"
#include "base/mark.h"
#include "fs/op.h"
#include "fs/publish.h"

#define FULL_NS C2_NS_PER_S /* between two attempts to write to a full journal */

struct flush {
    struct fs_req *req;
    struct fs_inode *inode; /* one pin */
    bool cloud;
    bool syncing, interrupted;
    struct fs_publish publish;
    struct fs_sync sync;
    struct c2_timer full;
};

static void
finish(struct flush *f, enum c2_err err)
{
    struct fs_req *r = f->req;
    r->interrupt = NULL;
    if (f->inode != NULL)
        fs_inode_unpin(r->fs, f->inode);
    c2_free(f);
    fs_reply(r, err);
}

static void
synced(struct fs_sync *s)
{
    struct flush *f = C2_CONTAINER_OF(s, struct flush, sync);
    bool interrupted = s->err == C2_E_CANCELED && f->interrupted;
    finish(f, interrupted ? C2_E_INTERRUPTED : s->err);
}

static void
interrupt(struct fs_req *r)
{
    struct flush *f = r->waits;
    f->interrupted = true;
    if (f->syncing) {
        fs_sync_cancel(r->fs, &f->sync);
    } else if (c2_timer_armed(&f->full)) {
        c2_timer_stop(r->fs->part.env, &f->full);
        finish(f, C2_E_INTERRUPTED);
    }
}

static bool
journal_is_full(struct fs *fs, enum c2_err err)
{
    return err == C2_E_NO_SPACE && fs_publisher_error(fs) != C2_E_NO_SPACE && !fs->fenced;
}

static void
wait_for_room(struct flush *f)
{
    struct c2_env *env = f->req->fs->part.env;
    if (f->interrupted) {
        finish(f, C2_E_INTERRUPTED);
        return;
    }
    C2_MARK("flush: the journal is full");
    c2_timer_arm(env, &f->full, c2_now_ns(env) + FULL_NS);
}

static void
published(struct fs_publish *p)
{
    struct flush *f = C2_CONTAINER_OF(p, struct flush, publish);
    if (journal_is_full(f->req->fs, p->err)) {
        wait_for_room(f);
        return;
    }
    if (p->err != C2_E_OK || !f->cloud) {
        finish(f, p->err);
        return;
    }
    if (f->interrupted) {
        finish(f, C2_E_INTERRUPTED);
        return;
    }
    f->syncing = true;
    f->sync.done = synced;
    /* Other files that are being written are not this one's business. */
    f->sync.published_only = f->inode != NULL;
    fs_sync_start(f->req->fs, &f->sync);
}

static void
publish(struct flush *f, bool durable)
{
    struct fs *fs = f->req->fs;
    f->publish = (struct fs_publish){ .sync = durable, .done = published };
    fs_publish_start(fs, &f->publish);
    fs_changed(fs);
}

static void
try_again(struct c2_timer *t)
{
    struct flush *f = C2_CONTAINER_OF(t, struct flush, full);
    publish(f, f->publish.sync);
}

/*
 * There is a FLUSH for each close of a descriptor, also of a duplicate or of a fork's copy, and
 * nothing tells which is the last one. A shell that runs `cmd > file` opens with O_TRUNC, dup2()s
 * and closes before cmd has written anything: publishing then would show an empty file in place of
 * the old one after a crash. So what is only truncated so far waits for data, for fsync, or for
 * RELEASE, after which it is published within the journal's delay.
 */
static bool
only_truncated(const struct fs_inode *i)
{
    return i->unpublished && i->truncated && i->attr.size == 0;
}

static enum c2_err
flush(struct fs_req *r, struct fs_inode *i, bool durable, bool cloud)
{
    struct fs *fs = r->fs;
    struct flush *f = c2_calloc(1, sizeof(*f));
    f->req = r;
    f->inode = i;
    f->cloud = cloud;
    f->full.fire = try_again;
    r->waits = f;
    r->interrupt = interrupt;
    if (i != NULL) {
        fs_inode_pin(fs, i);
        if (durable || !only_truncated(i))
            fs_inode_publish(fs, i);
    }
    publish(f, durable);
    return C2_E_AGAIN;
}

enum c2_err
fs_op_flush(struct fs_req *r)
{
    struct fs *fs = r->fs;
    struct fs_inode *i = r->handle->inode;
    if (!fs_handle_may_write(r->handle))
        return C2_E_OK;
    if (fs->fenced)
        return C2_E_FENCED;
    bool safe = !i->dirty_commit && i->pins <= i->opens && fs_ship_has(fs, i->committed_version);
    bool cloud = fs->conf.close_sync && !safe;
    if (!i->dirty_journal && !cloud && fs_publisher_idle(fs))
        return C2_E_OK;
    return flush(r, i, false, cloud);
}

enum c2_err
fs_op_fsync(struct fs_req *r)
{
    struct fs *fs = r->fs;
    if (fs->fenced)
        return C2_E_FENCED;
    return flush(r, r->handle->inode, true, fs->conf.fsync_cloud);
}

enum c2_err
fs_op_syncfs(struct fs_req *r)
{
    if (r->fs->fenced)
        return C2_E_FENCED;
    return flush(r, NULL, true, true);
}
