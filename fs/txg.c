/* SPDX-License-Identifier: MIT */
/*
 * Cutting groups and leading them to their commit.
 *
 *   cut --> UPLOAD (chunks to packs) --> MANIFESTS (leaves of large files, uploaded too) -->
 *   first in the queue: COMMIT (anchor.c) --> journal is trimmed
 *
 * What a cut takes: fs/txg_cut.c. Order between operations is kept, because groups commit in order
 * and each is consistent. A commit that is refused because the mount's lock is gone fences the file
 * system. While the extents of a file that a replay changed are not here (fs/deferred.h) none is
 * cut.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "fs/deferred.h"
#include "fs/manifest.h"
#include "fs/pack.h"
#include "fs/publish.h"
#include "fs/txg_impl.h"

#define POSITION_PERCENT 50         /* of the journal in use */
#define SYNC_DEFERRED    UINT64_MAX /* fs_sync.txg: the group after the last deferred file */

struct fs_txgs {
    struct fs *fs;
    struct c2_list queue; /* oldest first */
    struct c2_list syncs; /* fs_sync.link */
    uint64_t last_id, committed_id;
    uint64_t cut_seq; /* journal position of the latest group */
    struct c2_timer cut_timer;
    bool committing, stopped;
    struct anchor anchor;
    uint64_t committed, txns;
};

static void end_syncs(struct fs_txgs *q);

/* ---- cut ------------------------------------------------------------------------------------ */

/*
 * A group that only moves the position lets go what the journal has and nobody needs any more:
 *   - it fills with data of files that are held;
 *   - everything is in the store, and its last groups say so once more: they were written between
 *     a cut and its commit, or had nothing but data. What they name would stay for ever.
 */
static bool
position_wanted(const struct fs_txgs *q, const struct journal_stats *js)
{
    const struct fs *fs = q->fs;
    bool settled = c2_list_empty(&fs->commit_inodes) && c2_list_empty(&fs->commit_dentries);
    uint64_t enough = settled ? js->segment_size : js->size_max / 100 * POSITION_PERCENT;
    return c2_list_empty(&q->queue) && js->last_seq > q->cut_seq && js->used_bytes > enough;
}

/* What is left is held. */
static void
note_waiting(struct fs *fs)
{
    const struct fs_inode *i = C2_LIST_FIRST(&fs->commit_inodes, struct fs_inode, commit_link);
    fs->waiting_since_ns = i == NULL                      ? 0
                           : i->unpublished_since_ns != 0 ? i->unpublished_since_ns
                                                          : c2_now_ns(fs->part.env);
}

static void
cut(struct fs_txgs *q, bool position)
{
    struct fs *fs = q->fs;
    if (fs_deferred_files(fs) > 0)
        return;
    c2_timer_stop(fs->part.env, &q->cut_timer);
    fs->ready_bytes = fs->ready_items = fs->ready_attr_bytes = 0;
    uint64_t since_ns = fs->waiting_since_ns;
    struct txg *t = txg_take(fs, q->last_id + 1);
    note_waiting(fs);
    fs_pack_flush(fs);
    struct journal_stats js;
    journal_stats(fs->journal, &js);
    position = position_wanted(q, &js) || (position && js.last_seq > q->cut_seq);
    if (t->ninodes == 0 && t->ndentries == 0 && !position) {
        txg_free(fs, t);
        return;
    }
    q->last_id = t->id;
    q->cut_seq = t->journal_seq = js.last_seq;
    t->next_ino = fs->next_ino;
    t->since_ns = since_ns != 0 ? since_ns : c2_now_ns(fs->part.env);
    fs->queued_items += t->ninodes + t->ndentries;
    c2_list_append(&q->queue, &t->link);
}

static void
cut_due(struct c2_timer *timer)
{
    struct fs_txgs *q = C2_CONTAINER_OF(timer, struct fs_txgs, cut_timer);
    if (q->queue.count < FS_TXGS_MAX)
        cut(q, false);
    fs_txg_progress(q->fs);
    end_syncs(q);
    fs_txg_changed(q->fs);
}

void
fs_txg_changed(struct fs *fs)
{
    struct fs_txgs *q = fs->txgs;
    struct journal_stats js;
    bool dirty = !c2_list_empty(&fs->commit_inodes) || !c2_list_empty(&fs->commit_dentries);
    journal_stats(fs->journal, &js);
    if ((!dirty && !position_wanted(q, &js)) || q->stopped || fs->fenced)
        return;
    bool full = fs->ready_items >= FS_TXG_ITEMS || fs->ready_attr_bytes >= FS_TXG_BYTES ||
                fs->ready_bytes >= fs->conf.pack_size;
    if (full) { /* whatever waits: a group must fit one transaction, FS_DIRTY_MAX bounds them */
        cut(q, false);
        fs_txg_progress(fs);
    }
    if (!c2_timer_armed(&q->cut_timer))
        c2_timer_arm(fs->part.env, &q->cut_timer, c2_now_ns(fs->part.env) + fs->conf.pack_delay_ns);
}

/* ---- commit --------------------------------------------------------------------------------- */

static void
sync_shipped(struct fs_ship_wait *w)
{
    struct fs_sync *s = C2_CONTAINER_OF(w, struct fs_sync, ship);
    s->err = w->err;
    s->done(s);
}

static void
end_syncs(struct fs_txgs *q)
{
    C2_LIST_FOREACH (&q->syncs, struct fs_sync, s, link) {
        bool over = q->fs->fenced || s->txg <= q->committed_id;
        if (!over)
            continue;
        c2_list_remove(&q->syncs, &s->link);
        s->ship = (struct fs_ship_wait){ .done = sync_shipped };
        if (q->fs->fenced)
            s->ship.err = C2_E_FENCED;
        else if (!fs_ship_wait(q->fs, &s->ship))
            continue;
        sync_shipped(&s->ship);
        end_syncs(q); /* the list may be another one now */
        return;
    }
}

/* The latest state is in the store: it no longer waits for the journal. */
static void
forget_journal(struct fs *fs, struct fs_inode *i)
{
    if (i->dirty_journal)
        c2_list_remove(&fs->journal_inodes, &i->journal_link);
    i->dirty_journal = false;
    i->journal_new = false;
    i->journal_seq = 0;
    fs_map_unref(i->journaled);
    i->journaled = i->map == NULL ? NULL : fs_map_ref(i->map);
}

/* Chunks that are objects now need not be kept; unchanged content is kept once. */
static void
share_content(struct fs_inode *i, struct fs_map *committed)
{
    fs_map_unref(i->committed);
    i->committed = fs_map_ref(committed);
    fs_map_resolve(&i->map);
    if (i->map != committed && fs_map_equal(i->map, committed)) {
        fs_map_unref(i->map);
        i->map = fs_map_ref(committed);
        i->tail = NULL;
    }
    if (i->journaled != NULL)
        fs_map_resolve(&i->journaled);
}

static void
inode_committed(struct fs *fs, const struct txg *t, struct txg_inode *x)
{
    struct fs_inode *i = x->inode;
    if (x->manifest != NULL) {
        fs_manifest_free(i->manifest);
        i->manifest = x->manifest;
        x->manifest = NULL;
    }
    if (x->deleted)
        txg_content_gone(i);
    else if (x->map != NULL)
        share_content(i, x->map);
    fs_compact_hint(fs, i);
    i->committed_size = x->size;
    i->committed_version = fs->commit_version;
    i->committed_counted = !x->deleted;
    if (!i->dirty_commit && i->cut_txg == t->id)
        forget_journal(fs, i);
}

static void
dentry_committed(struct fs *fs, const struct txg *t, const struct txg_dentry *x)
{
    struct fs_dentry *e = x->entry;
    if (e->dirty_commit || e->cut_txg != t->id)
        return;
    e->in_store = x->ino != 0;
    if (!e->dirty_journal)
        return;
    e->dirty_journal = false;
    c2_list_remove(&fs->journal_dentries, &e->journal_link);
}

static void
txg_committed(struct fs_txgs *q, struct txg *t)
{
    struct fs *fs = q->fs;
    for (size_t k = 0; k < t->ninodes; k++)
        inode_committed(fs, t, &t->inodes[k]);
    for (size_t k = 0; k < t->ndentries; k++)
        dentry_committed(fs, t, &t->dentries[k]);
    fs_journal_trim(fs, t->journal_seq);
    q->committed_id = t->id;
    q->committed++;
    c2_list_remove(&q->queue, &t->link);
    fs->queued_items -= t->ninodes + t->ndentries;
    txg_free(fs, t);
}

static void
anchored(struct anchor *a)
{
    struct fs *fs = a->fs;
    struct fs_txgs *q = fs->txgs;
    q->committing = false;
    q->txns += a->txns;
    if (a->err == C2_E_OK) {
        txg_committed(q, a->txg);
        end_syncs(q);
        fs_unblock(fs);
        fs_txg_progress(fs);
        fs_txg_changed(fs); /* was it the last one, and the journal has more? */
        return;
    }
    if (a->err == C2_E_FENCED) {
        c2_log(ERROR, "txg",
               "the mount's lock is gone: another mount may be active, read-only now");
        fs_fence(fs);
        return;
    }
}

void
fs_fence(struct fs *fs)
{
    if (fs->fenced)
        return;
    fs->fenced = true;
    end_syncs(fs->txgs);
    fs_ship_fenced(fs);
    fs_unblock(fs);
}

static bool
uploaded(struct txg *t)
{
    while (t->next_chunk < t->nchunks && t->chunks[t->next_chunk]->object != NULL)
        t->next_chunk++;
    return t->next_chunk == t->nchunks;
}

void
fs_txg_progress(struct fs *fs)
{
    struct fs_txgs *q = fs->txgs;
    struct txg *t = C2_LIST_FIRST(&q->queue, struct txg, link);
    bool may = !q->committing && !q->stopped && !fs->fenced && fs->store_held == 0;
    if (t == NULL || !may || !uploaded(t))
        return;
    if (!t->manifests_built) {
        txg_build_manifests(fs, t);
        if (!uploaded(t))
            return;
    }
    q->committing = true;
    q->anchor = (struct anchor){ .fs = fs, .txg = t, .done = anchored };
    anchor_start(&q->anchor);
}

/* ---- sync ----------------------------------------------------------------------------------- */

static void
publish_all(struct fs *fs)
{
    C2_LIST_FOREACH (&fs->commit_inodes, struct fs_inode, i, commit_link) {
        fs_inode_publish(fs, i);
    }
}

void
fs_sync_start(struct fs *fs, struct fs_sync *s)
{
    struct fs_txgs *q = fs->txgs;
    if (!s->published_only)
        publish_all(fs);
    cut(q, s->journal);
    s->txg = fs_deferred_files(fs) > 0 ? SYNC_DEFERRED : q->last_id;
    s->err = C2_E_OK;
    s->ship = (struct fs_ship_wait){ .done = sync_shipped };
    c2_list_append(&q->syncs, &s->link);
    fs_txg_progress(fs);
    /* Nothing to wait for: answered from the loop, not from here. */
    if (s->txg <= q->committed_id || fs->fenced)
        c2_timer_arm(fs->part.env, &q->cut_timer, c2_now_ns(fs->part.env));
}

void
fs_txgs_resume(struct fs *fs)
{
    struct fs_txgs *q = fs->txgs;
    bool position = false;
    C2_LIST_FOREACH (&q->syncs, struct fs_sync, s, link) {
        if (s->txg == SYNC_DEFERRED && !s->published_only)
            publish_all(fs);
        position = position || (s->txg == SYNC_DEFERRED && s->journal);
    }
    cut(q, position);
    C2_LIST_FOREACH (&q->syncs, struct fs_sync, s, link) {
        if (s->txg == SYNC_DEFERRED)
            s->txg = q->last_id;
    }
    fs_txg_progress(fs);
    end_syncs(q);
    fs_txg_changed(fs);
}

void
fs_sync_cancel(struct fs *fs, struct fs_sync *s)
{
    if (!c2_link_linked(&s->link)) {
        fs_ship_wait_cancel(fs, &s->ship);
        return;
    }
    c2_list_remove(&fs->txgs->syncs, &s->link);
    s->err = C2_E_CANCELED;
    s->done(s);
}

/* ---- life and numbers ----------------------------------------------------------------------- */

struct fs_txgs *
fs_txgs_new(struct fs *fs)
{
    struct fs_txgs *q = c2_calloc(1, sizeof(*q));
    q->fs = fs;
    q->cut_timer.fire = cut_due;
    c2_list_init(&q->queue);
    c2_list_init(&q->syncs);
    return q;
}

void
fs_txgs_stop(struct fs *fs)
{
    fs->txgs->stopped = true;
    c2_timer_stop(fs->part.env, &fs->txgs->cut_timer);
    if (fs->txgs->committing)
        anchor_stop(&fs->txgs->anchor);
}

bool
fs_txgs_committing(const struct fs *fs)
{
    return fs->txgs->committing;
}

void
fs_txgs_free(struct fs_txgs *q)
{
    if (q == NULL)
        return;
    C2_ASSERT(!q->committing);
    while (!c2_list_empty(&q->queue)) {
        struct txg *t = C2_LIST_FIRST(&q->queue, struct txg, link);
        c2_list_remove(&q->queue, &t->link);
        txg_free(q->fs, t);
    }
    c2_free(q);
}

void
fs_txgs_numbers(const struct fs *fs, struct fs_txgs_numbers *ret)
{
    const struct fs_txgs *q = fs->txgs;
    const struct txg *first = C2_LIST_FIRST(&q->queue, struct txg, link);
    *ret = (struct fs_txgs_numbers){ .cut = q->last_id,
                                     .committed = q->committed,
                                     .txns = q->txns,
                                     .last_error = q->committing ? q->anchor.last_error : C2_E_OK };
    uint64_t since_ns = first != NULL ? first->since_ns : fs->waiting_since_ns;
    if (since_ns != 0)
        ret->oldest_ns = c2_now_ns(fs->part.env) - since_ns;
    C2_LIST_FOREACH (&q->queue, struct txg, t, link) {
        ret->inodes += t->ninodes;
    }
}
