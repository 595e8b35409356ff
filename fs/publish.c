/* SPDX-License-Identifier: MIT */
/*
 * When the journal is written.
 *
 *   IDLE --request or timer--> MOMENT (its groups, one after the other) --> (SYNC) --> IDLE, or the
 *                              next round
 *   IDLE --memory is short--> SPILL (one group with data only) --> IDLE, or the next round
 *
 * Requests that come while a round runs share the next one (group commit). What a round writes is
 * decided at one instant (fs/group.c).
 *
 * NO_SPACE leaves everything dirty; the next request tries again.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "fs/group.h"

#define SPILL_BYTES (16u << 20)
#define SPARE_BYTES (1u << 20) /* more than a group takes beside its data */

struct fs_publisher {
    struct fs *fs;
    struct c2_list waiting, current; /* fs_publish.link */
    bool running;
    bool spill_wanted;
    struct c2_timer timer;
    struct c2_task nothing;
    struct fs_moment moment; /* being written */
    size_t part;
    struct journal_append append;
    struct journal_sync sync;
    struct fs_publish tick; /* the timer's own request */
    bool ticking;
    bool failing;   /* the last append did */
    bool disk_full; /* the last append found no room although the journal is not full */
    enum c2_err err;
    enum c2_err append_error, sync_error; /* of the disk: why the latest attempt failed */
};

static void round_start(struct fs_publisher *p);

/* ---- a round -------------------------------------------------------------------------------- */

static void
round_end(struct fs_publisher *p)
{
    enum c2_err err = p->err;
    /* Still running: what the callbacks ask for waits for the next round. */
    while (!c2_list_empty(&p->current)) {
        struct fs_publish *q = C2_LIST_FIRST(&p->current, struct fs_publish, link);
        c2_list_remove(&p->current, &q->link);
        q->err = err;
        q->done(q);
    }
    p->running = false;
    fs_unblock(p->fs);
    if (!p->running && (!c2_list_empty(&p->waiting) || p->spill_wanted))
        round_start(p);
}

static void
synced(struct journal_sync *s)
{
    struct fs_publisher *p = s->priv;
    p->err = s->err;
    p->sync_error = s->err;
    if (s->err != C2_E_OK)
        c2_log(ERROR, "publish", "journal sync failed: err=%s", c2_err_name(s->err));
    round_end(p);
}

static bool
sync_wanted(const struct fs_publisher *p)
{
    C2_LIST_FOREACH (&p->current, struct fs_publish, q, link) {
        if (q->sync)
            return true;
    }
    return false;
}

/* What the journal has need not stay in memory when that is short. */
static void
drop_journaled(struct fs *fs)
{
    /* A small buffer must become quite empty: else a large write never fits beside the rest. */
    uint64_t keep = fs->conf.write_buffer / 2;
    if (fs->conf.write_buffer - keep < FS_WRITE_MAX)
        keep = 0;
    C2_LIST_FOREACH (&fs->chunks_mem, struct fs_chunk, c, link) {
        if (fs->chunk_bytes - fs->chunk_bytes_in_use <= keep)
            break;
        if (c->journaled && c->mem_users == 0)
            fs_chunk_drop_mem(fs, c);
    }
}

/* Everything was written, or it ended early. */
static void
moment_over(struct fs_publisher *p)
{
    fs_moment_end(&p->moment, p->err == C2_E_OK);
    if (c2_list_empty(&p->current))
        drop_journaled(p->fs);
    if (p->err != C2_E_OK || !sync_wanted(p)) {
        round_end(p);
        return;
    }
    p->sync = (struct journal_sync){ .done = synced, .priv = p };
    journal_sync_start(p->fs->journal, &p->sync);
}

static void
nothing_new(struct c2_task *t)
{
    moment_over(C2_CONTAINER_OF(t, struct fs_publisher, nothing));
}

static void write_part(struct fs_publisher *p);

static void
append_failed(struct fs_publisher *p)
{
    const struct fs_part *part = &p->moment.parts[p->part];
    uint64_t bytes = part->meta.len + part->piece_bytes + SPARE_BYTES;
    struct journal_stats s;
    journal_stats(p->fs->journal, &s);
    /* What its size does not allow, the clouds will make room for; a full disk, nobody. */
    p->disk_full = p->err == C2_E_NO_SPACE && s.used_bytes + bytes < s.size_max;
    p->append_error = p->err == C2_E_NO_SPACE && !p->disk_full ? C2_E_OK : p->err;
    if (!p->failing) /* it is tried again and again */
        c2_log(ERROR, "publish", "journal append failed: err=%s, the data stays in memory",
               c2_err_name(p->err));
    p->failing = true;
}

static void
part_written(struct journal_append *a)
{
    struct fs_publisher *p = a->priv;
    p->err = a->err;
    if (p->err != C2_E_OK) {
        append_failed(p);
        moment_over(p);
        return;
    }
    p->failing = p->disk_full = false;
    p->append_error = C2_E_OK;
    fs_part_written(&p->moment, &p->moment.parts[p->part], a->locs);
    c2_free(a->locs);
    if (++p->part < p->moment.nparts)
        write_part(p);
    else
        moment_over(p);
}

static void
write_part(struct fs_publisher *p)
{
    const struct fs_part *part = &p->moment.parts[p->part];
    p->append = (struct journal_append){ .meta = c2_buf_slice(&part->meta),
                                         .pieces = part->pieces,
                                         .npieces = part->npieces,
                                         .done = part_written,
                                         .priv = p };
    journal_append_start(p->fs->journal, &p->append);
    C2_ASSERT(part->meta.len == 0 || p->append.seq == p->moment.seq + p->part);
}

/* The part of the journal that changes must find free is not for spilled data. */
static uint64_t
spill_room(const struct fs_publisher *p)
{
    struct journal_stats s;
    journal_stats(p->fs->journal, &s);
    uint64_t limit = s.size_max / 100 * FS_JOURNAL_FULL_PERCENT;
    return s.used_bytes >= limit ? 0 : C2_MIN(limit - s.used_bytes, (uint64_t)SPILL_BYTES);
}

static void
round_start(struct fs_publisher *p)
{
    struct fs *fs = p->fs;
    p->running = true;
    p->err = C2_E_OK;
    p->part = 0;
    while (!c2_list_empty(&p->waiting)) {
        struct fs_publish *q = C2_LIST_FIRST(&p->waiting, struct fs_publish, link);
        c2_list_remove(&p->waiting, &q->link);
        c2_list_append(&p->current, &q->link);
    }
    if (p->spill_wanted)
        drop_journaled(fs);
    p->spill_wanted = false;
    if (!c2_list_empty(&p->current)) {
        fs_moment_build(&p->moment);
    } else if (spill_room(p) > 0) {
        C2_MARK("publish: memory short, data spilled to the journal");
        fs_moment_spill(&p->moment, spill_room(p));
    }
    /* Nothing new, but what was written earlier may have to be durable. */
    if (p->moment.nparts == 0)
        c2_defer(fs->part.env, &p->nothing);
    else
        write_part(p);
}

/* ---- interface ------------------------------------------------------------------------------ */

void
fs_publish_start(struct fs *fs, struct fs_publish *q)
{
    struct fs_publisher *p = fs->publisher;
    c2_list_append(&p->waiting, &q->link);
    if (!p->running)
        round_start(p);
}

static void
ticked(struct fs_publish *q)
{
    struct fs_publisher *p = q->priv;
    p->ticking = false;
    fs_publisher_changed(p->fs);
}

static void
tick(struct c2_timer *t)
{
    struct fs_publisher *p = C2_CONTAINER_OF(t, struct fs_publisher, timer);
    p->ticking = true;
    p->tick = (struct fs_publish){ .sync = true, .done = ticked, .priv = p };
    fs_publish_start(p->fs, &p->tick);
}

void
fs_publisher_changed(struct fs *fs)
{
    struct fs_publisher *p = fs->publisher;
    bool dirty = !c2_list_empty(&fs->journal_inodes) || !c2_list_empty(&fs->journal_dentries);
    if (dirty && !p->ticking && !c2_timer_armed(&p->timer) && !fs->stopping)
        c2_timer_arm(fs->part.env, &p->timer, c2_now_ns(fs->part.env) + fs->conf.journal_delay_ns);
}

void
fs_publisher_stop(struct fs *fs)
{
    c2_timer_stop(fs->part.env, &fs->publisher->timer);
}

void
fs_publisher_spill(struct fs *fs)
{
    struct fs_publisher *p = fs->publisher;
    p->spill_wanted = true;
    if (!p->running)
        round_start(p);
}

enum c2_err
fs_publisher_error(const struct fs *fs)
{
    const struct fs_publisher *p = fs->publisher;
    return p->err == C2_E_NO_SPACE && !p->disk_full ? C2_E_OK : p->err;
}

enum c2_err
fs_publisher_trouble(const struct fs *fs)
{
    const struct fs_publisher *p = fs->publisher;
    bool waits = !c2_list_empty(&fs->journal_inodes) || !c2_list_empty(&fs->journal_dentries);
    if (p->sync_error != C2_E_OK)
        return p->sync_error;
    return waits ? p->append_error : C2_E_OK;
}

bool
fs_publisher_idle(const struct fs *fs)
{
    return !fs->publisher->running;
}

struct fs_publisher *
fs_publisher_new(struct fs *fs)
{
    struct fs_publisher *p = c2_calloc(1, sizeof(*p));
    p->fs = p->moment.fs = fs;
    p->timer.fire = tick;
    p->nothing.run = nothing_new;
    c2_list_init(&p->waiting);
    c2_list_init(&p->current);
    return p;
}

void
fs_publisher_free(struct fs_publisher *p)
{
    if (p == NULL)
        return;
    C2_ASSERT(!p->running);
    fs_moment_done(&p->moment);
    c2_free(p);
}
