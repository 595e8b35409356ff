/* SPDX-License-Identifier: MIT */
/*
 * Back-pressure. A change waits
 *   - while dirty data in memory fills the write buffer (the journal takes it, or the clouds do),
 *   - while the journal is more than 90 % full, or too many changes are uncommitted,
 *   - a moment, growing with the journal, while that is more than half full.
 * ENOSPC is given only when the disk under the journal is full.
 */
#include "fs/fs.h"
#include "fs/pack.h"
#include "fs/publish.h"
#include "fs/txg.h"

#define SLOW_PERCENT 50
#define SLOW_NS_MAX  (50 * C2_NS_PER_MS)
#define WAKE_NS      (100 * C2_NS_PER_MS)

static uint64_t
journal_percent(const struct fs *fs)
{
    struct journal_stats s;
    journal_stats(fs->journal, &s);
    return s.size_max == 0 ? 0 : s.used_bytes * 100 / s.size_max;
}

bool
fs_must_wait(const struct fs *fs, size_t bytes)
{
    /* What running uploads read is bounded by their number. */
    uint64_t buffered = fs->chunk_bytes - fs->chunk_bytes_in_use;
    if (buffered > 0 && buffered + bytes > fs->conf.write_buffer)
        return true;
    if (fs->commit_inodes.count + fs->commit_dentries.count + fs->queued_items > FS_DIRTY_MAX)
        return true;
    return journal_percent(fs) >= FS_JOURNAL_FULL_PERCENT;
}

static void
arm(struct fs *fs, uint64_t delay_ns)
{
    if (!c2_timer_armed(&fs->throttle))
        c2_timer_arm(fs->part.env, &fs->throttle, c2_now_ns(fs->part.env) + delay_ns);
}

C2_RESULT
fs_admit(struct fs_req *r, size_t bytes)
{
    struct fs *fs = r->fs;
    if (fs->fenced)
        return C2_E_FENCED;
    if (fs_must_wait(fs, bytes)) {
        if (fs_publisher_error(fs) == C2_E_NO_SPACE)
            return C2_E_NO_SPACE;
        fs_park(r, &fs->blocked);
        arm(fs, fs->unblocking ? WAKE_NS : 0);
        return C2_E_AGAIN;
    }
    uint64_t percent = journal_percent(fs);
    if (percent > SLOW_PERCENT && bytes > 0 && !r->slowed) {
        r->slowed = true;
        fs_park(r, &fs->blocked);
        arm(fs, SLOW_NS_MAX * (percent - SLOW_PERCENT) / (FS_JOURNAL_FULL_PERCENT - SLOW_PERCENT));
        return C2_E_AGAIN;
    }
    return C2_E_OK;
}

C2_RESULT
fs_admit_size(const struct fs *fs, const struct fs_inode *i, uint64_t size)
{
    uint64_t now = fs_counted_bytes(i->attr.size), then = fs_counted_bytes(size);
    return then > now && fs->used_bytes + (then - now) > FS_USED_MAX ? C2_E_NO_SPACE : C2_E_OK;
}

void
fs_wake_blocked(struct fs *fs)
{
    arm(fs, WAKE_NS);
}

void
fs_unblock(struct fs *fs)
{
    struct c2_list again;
    if (fs->unblocking || c2_list_empty(&fs->blocked))
        return;
    fs->unblocking = true;
    c2_list_init(&again);
    while (!c2_list_empty(&fs->blocked)) {
        struct fs_req *r = C2_LIST_FIRST(&fs->blocked, struct fs_req, link);
        fs_unpark(r);
        fs_park(r, &again);
    }
    while (!c2_list_empty(&again))
        fs_rerun(C2_LIST_FIRST(&again, struct fs_req, link));
    fs->unblocking = false;
}

void
fs_throttle_due(struct c2_timer *t)
{
    struct fs *fs = C2_CONTAINER_OF(t, struct fs, throttle);
    if (fs_must_wait(fs, FS_WRITE_MAX)) {
        if (fs_publisher_idle(fs))
            fs_publisher_spill(fs);
        fs_pack_held(fs);
    }
    fs_unblock(fs);
    if (!c2_list_empty(&fs->blocked))
        arm(fs, WAKE_NS);
}

void
fs_changed(struct fs *fs)
{
    fs_publisher_changed(fs);
    fs_txg_changed(fs);
}
