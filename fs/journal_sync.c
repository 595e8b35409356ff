/* SPDX-License-Identifier: MIT */
/*
 * fdatasync of the journal: runs only when somebody waits for it, beside the writes, and covers
 * what was written when it began. One at a time; who arrives meanwhile shares the next one.
 *
 *   waiting -> (files with unsynced bytes, one after the other) -> folder, when a file was made
 *           -> everybody covered is answered
 *
 * A failure is final and never tried again: after a failed fdatasync the kernel may have dropped
 * the pages, and a second one that succeeds says nothing about them.
 */
#include "fs/journal_state.h"

#include "base/log.h"

void
journal_complete_syncs(struct c2_list *syncs, enum c2_err err)
{
    while (!c2_list_empty(syncs)) {
        struct journal_sync *s = C2_LIST_FIRST(syncs, struct journal_sync, link);
        c2_list_remove(syncs, &s->link);
        s->err = err;
        s->done(s);
    }
}

static void
sync_finish(struct journal *j)
{
    struct c2_list appends, syncs;
    enum c2_err err = j->err;
    c2_list_init(&appends);
    c2_list_init(&syncs);
    journal_move_all(&j->covered_appends, &appends);
    journal_move_all(&j->covered_syncs, &syncs);
    j->syncing = false;
    if (err == C2_E_OK)
        j->stats.synced_seq = j->sync_seq;
    journal_step(j);
    journal_complete_appends(&appends, err);
    journal_complete_syncs(&syncs, err);
}

static void sync_done(struct c2_disk_req *io);

/* Issues the next request of the running sync; false when there is none left. */
static bool
sync_next(struct journal *j)
{
    j->sync_io = (struct c2_disk_req){ .done = sync_done };
    for (size_t at = journal_lower_bound(j, j->sync_from);
         at < j->nsegments && j->segments[at]->id <= j->sync_to; at++) {
        struct journal_segment *s = j->segments[at];
        if (!s->dirty)
            continue;
        s->dirty = false;
        s->uses++;
        j->sync_segment = s;
        j->sync_from = s->id + 1;
        j->sync_io.verb = C2_DISK_SYNC;
        j->sync_io.file = s->file;
        j->stats.syncs++;
        c2_disk(j->env, &j->sync_io);
        return true;
    }
    if (!j->dir_dirty)
        return false;
    j->dir_dirty = false;
    j->sync_from = j->sync_to + 1;
    j->sync_io.verb = C2_DISK_SYNC_DIR;
    j->sync_io.path = j->dir;
    c2_disk(j->env, &j->sync_io);
    return true;
}

static void
sync_done(struct c2_disk_req *io)
{
    struct journal *j = C2_CONTAINER_OF(io, struct journal, sync_io);
    struct journal_segment *s = j->sync_segment;
    j->sync_segment = NULL;
    if (s != NULL)
        journal_release_use(j, s);
    if (io->err != C2_E_OK && j->err == C2_E_OK) {
        c2_log(ERROR, "journal", "sync failed err=%s, no more changes are accepted",
               c2_err_name(io->err));
        j->err = io->err;
    }
    if (j->err != C2_E_OK || !sync_next(j))
        sync_finish(j);
}

void
journal_sync_step(struct journal *j)
{
    uint64_t settled = journal_settled(j);
    if (j->syncing || j->err != C2_E_OK)
        return;
    journal_move_all(&j->wait_sync, &j->covered_appends);
    C2_LIST_FOREACH (&j->syncs, struct journal_sync, s, link) {
        if (s->seq <= settled) {
            c2_list_remove(&j->syncs, &s->link);
            c2_list_append(&j->covered_syncs, &s->link);
        }
    }
    if (c2_list_empty(&j->covered_appends) && c2_list_empty(&j->covered_syncs))
        return;
    j->syncing = true;
    j->sync_seq = j->written_seq;
    j->sync_from = 0;
    j->sync_to = j->nsegments == 0 ? 0 : j->segments[j->nsegments - 1]->id;
    if (!sync_next(j))
        sync_finish(j);
}

void
journal_sync_start(struct journal *j, struct journal_sync *s)
{
    C2_ASSERT(s->done != NULL && !j->closed);
    s->seq = j->seq;
    c2_list_append(&j->syncs, &s->link);
    c2_defer(j->env, &j->kick);
}
