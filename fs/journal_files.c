/* SPDX-License-Identifier: MIT */
/*
 * The journal's segment files: reading pieces, holding and freeing. A segment goes when all its
 * groups are committed elsewhere, nobody holds a piece in it and no request uses its file.
 */
#include "fs/journal_state.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"

/* The current segment is replaced when everything in it is committed and it is at least so big. */
#define RECYCLE_BYTES_MIN ((uint64_t)1 << 20)
/* Groups written within this time share one entry of the age list. */
#define AGE_STEP_NS (100 * C2_NS_PER_MS)

/* ---- files in the background --------------------------------------------------------------- */

struct drop {
    struct c2_env *env;
    struct c2_disk_req io;
    char *path; /* owned; NULL = close only */
};

static void
drop_done(struct c2_disk_req *io)
{
    struct drop *d = C2_CONTAINER_OF(io, struct drop, io);
    if (io->verb == C2_DISK_CLOSE && d->path != NULL) {
        io->verb = C2_DISK_UNLINK;
        io->path = d->path;
        c2_disk(d->env, io);
        return;
    }
    if (io->verb == C2_DISK_UNLINK && io->err != C2_E_OK)
        c2_log(WARN, "journal", "cannot remove file=%s err=%s, it stays until the next mount",
               d->path, c2_err_name(io->err));
    c2_free(d->path);
    c2_free(d);
}

void
journal_file_drop(struct c2_env *env, int file, char *path_owned)
{
    struct drop *d = c2_calloc(1, sizeof *d);
    d->env = env;
    d->path = path_owned;
    d->io.verb = C2_DISK_CLOSE;
    d->io.file = file;
    d->io.done = drop_done;
    c2_disk(env, &d->io);
}

void
journal_file_close(struct c2_env *env, int file)
{
    journal_file_drop(env, file, NULL);
}

/* ---- segments ------------------------------------------------------------------------------ */

size_t
journal_lower_bound(const struct journal *j, uint64_t id)
{
    size_t low = 0, high = j->nsegments;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (j->segments[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct journal_segment *
find_segment(const struct journal *j, uint64_t id)
{
    size_t at = journal_lower_bound(j, id);
    return at < j->nsegments && j->segments[at]->id == id ? j->segments[at] : NULL;
}

uint64_t
journal_used_bytes(const struct journal *j)
{
    uint64_t total = 0;
    for (size_t i = 0; i < j->nsegments; i++)
        total += j->segments[i]->end;
    return total;
}

bool
journal_droppable(const struct journal *j, const struct journal_segment *s)
{
    return !j->replaying && s->last_seq <= j->stats.trimmed_seq && s->holds == 0 && s->uses == 0 &&
           s->end == s->size;
}

void
journal_drop_segment(struct journal *j, struct journal_segment *s)
{
    size_t at = journal_lower_bound(j, s->id);
    C2_ASSERT(at < j->nsegments && j->segments[at] == s);
    memmove(&j->segments[at], &j->segments[at + 1],
            (j->nsegments - at - 1) * sizeof(struct journal_segment *));
    j->nsegments--;
    if (j->current == s)
        j->current = NULL;
    journal_file_drop(j->env, s->file, journal_segment_path(j->dir, s->id));
    journal_segment_free(s);
}

void
journal_drop_unneeded(struct journal *j)
{
    for (size_t i = j->nsegments; i-- > 0;) {
        struct journal_segment *s = j->segments[i];
        C2_ASSERT(s != NULL);
        bool keep = s == j->current && s->size < RECYCLE_BYTES_MIN;
        if (!keep && journal_droppable(j, s))
            journal_drop_segment(j, s);
    }
}

void
journal_release_use(struct journal *j, struct journal_segment *s)
{
    C2_ASSERT(s->uses > 0);
    if (--s->uses == 0)
        journal_drop_unneeded(j);
}

/* ---- holds, trim --------------------------------------------------------------------------- */

/* A segment that is unknown was lost before this mount: its pieces cannot be read either way. */
void
journal_hold(struct journal *j, const struct journal_loc *loc)
{
    struct journal_segment *s = find_segment(j, loc->segment);
    if (s != NULL)
        s->holds++;
}

void
journal_unhold(struct journal *j, const struct journal_loc *loc)
{
    struct journal_segment *s = find_segment(j, loc->segment);
    if (s == NULL)
        return;
    C2_ASSERT(s->holds > 0);
    if (--s->holds == 0)
        journal_drop_unneeded(j);
}

struct journal_age {
    struct c2_link link;
    uint64_t last_seq, since_ns;
};

void
journal_note_age(struct journal *j, uint64_t seq)
{
    struct journal_age *last = C2_LIST_LAST(&j->ages, struct journal_age, link);
    uint64_t now_ns = c2_now_ns(j->env);
    C2_ASSERT(j->ages.head.prev != NULL);
    if (last == NULL || now_ns - last->since_ns > AGE_STEP_NS) {
        last = c2_calloc(1, sizeof *last);
        last->since_ns = now_ns;
        c2_list_append(&j->ages, &last->link);
    }
    last->last_seq = seq;
}

static void
forget_ages(struct journal *j, uint64_t seq)
{
    for (;;) {
        struct journal_age *a = C2_LIST_FIRST(&j->ages, struct journal_age, link);
        if (a == NULL || a->last_seq > seq)
            return;
        c2_list_remove(&j->ages, &a->link);
        c2_free(a);
    }
}

void
journal_trim(struct journal *j, uint64_t seq)
{
    C2_ASSERT(seq <= j->seq);
    j->replaying = false;
    j->stats.trimmed_seq = C2_MAX(j->stats.trimmed_seq, seq);
    forget_ages(j, j->stats.trimmed_seq);
    journal_drop_unneeded(j);
}

void
journal_stats(const struct journal *j, struct journal_stats *ret_stats)
{
    const struct journal_age *oldest = C2_LIST_FIRST(&j->ages, struct journal_age, link);
    *ret_stats = j->stats;
    ret_stats->size_max = j->size_max;
    ret_stats->segment_size = j->segment_size;
    ret_stats->used_bytes = journal_used_bytes(j);
    ret_stats->last_seq = j->seq;
    ret_stats->oldest_ns = oldest == NULL ? 0 : oldest->since_ns;
    ret_stats->err = j->err;
}

void
journal_free_files(struct journal *j)
{
    while (j->nsegments > 0) {
        struct journal_segment *s = j->segments[j->nsegments - 1];
        C2_ASSERT(s->uses == 0);
        if (journal_droppable(j, s)) {
            journal_drop_segment(j, s);
            continue;
        }
        journal_file_close(j->env, s->file);
        journal_segment_free(s);
        j->nsegments--;
    }
    c2_free(j->segments);
    forget_ages(j, UINT64_MAX);
}

/* ---- reading ------------------------------------------------------------------------------- */

struct read_op {
    struct journal *journal;
    struct journal_read *req;
    struct journal_segment *segment; /* one use; NULL = not there */
    struct c2_task task;
    struct c2_disk_req io;
    struct c2_work work;
    struct c2_blob *data; /* owned */
    enum c2_err err;
};

static void
read_finish(struct read_op *op)
{
    struct journal_read *r = op->req;
    struct journal *j = op->journal;
    struct journal_segment *s = op->segment;
    r->err = op->err;
    r->data = op->err == C2_E_OK ? op->data : NULL;
    if (op->err != C2_E_OK)
        c2_blob_unref(op->data);
    c2_blob_unref(op->io.reply);
    c2_free(op);
    j->reads--;
    if (s != NULL)
        journal_release_use(j, s);
    r->done(r);
}

static void
open_piece(struct c2_work *w)
{
    struct read_op *op = C2_CONTAINER_OF(w, struct read_op, work);
    const struct journal_loc *loc = &op->req->loc;
    struct journal_frame f;
    const uint8_t *whole = op->io.reply->data;
    op->err = C2_E_DAMAGED;
    if (op->io.reply->len < (size_t)JOURNAL_FRAME_HEAD + loc->len + C2_GCM_TAG_LEN ||
        !journal_frame_decode(op->segment, loc->offset, whole, &f) || f.type != JOURNAL_PIECE ||
        f.len != loc->len)
        return;
    op->data = c2_blob_new(f.len);
    if (journal_frame_open(op->segment, loc->offset, &f, whole, op->data->data) == C2_E_OK)
        op->err = C2_E_OK;
}

static void
piece_opened(struct c2_work *w)
{
    read_finish(C2_CONTAINER_OF(w, struct read_op, work));
}

static void
piece_read(struct c2_disk_req *io)
{
    struct read_op *op = C2_CONTAINER_OF(io, struct read_op, io);
    op->err = io->err;
    if (io->err != C2_E_OK) {
        read_finish(op);
        return;
    }
    op->work = (struct c2_work){ .run = open_piece, .done = piece_opened };
    if (op->req->loc.len > JOURNAL_INLINE_MAX) {
        c2_work(op->journal->env, &op->work);
        return;
    }
    open_piece(&op->work);
    read_finish(op);
}

static void
read_nothing(struct c2_task *t)
{
    struct read_op *op = C2_CONTAINER_OF(t, struct read_op, task);
    op->err = C2_E_NOT_FOUND;
    read_finish(op);
}

void
journal_read_start(struct journal *j, struct journal_read *r)
{
    struct read_op *op = c2_calloc(1, sizeof *op);
    op->journal = j;
    op->req = r;
    op->segment = find_segment(j, r->loc.segment);
    j->reads++;
    if (op->segment == NULL || r->loc.len > JOURNAL_PIECE_MAX) {
        op->segment = NULL;
        op->task.run = read_nothing;
        c2_defer(j->env, &op->task);
        return;
    }
    op->segment->uses++;
    op->io =
        (struct c2_disk_req){ .verb = C2_DISK_PREAD,
                              .file = op->segment->file,
                              .offset = r->loc.offset,
                              .len_max = (size_t)JOURNAL_FRAME_HEAD + r->loc.len + C2_GCM_TAG_LEN,
                              .done = piece_read };
    c2_disk(j->env, &op->io);
}
