/* SPDX-License-Identifier: MIT */
/*
 * The log's files: the next segment is prepared before it is needed, those that nobody needs go.
 *
 *   head            where the log begins (struct wal_anchor); replaced as a whole
 *   <16 hex>.wal    segments, numbered from 1
 *   spare.wal       an old segment that may become the next one
 *
 * Preparing writes every block of a new file, so that a later fdatasync has no metadata to write,
 * then the segment's head, and makes both and the name durable. An old segment goes after the new
 * anchor is durable; its stale groups have lower numbers than any that will follow.
 *
 * One request at a time:
 *
 *   IDLE ─► CLOSE ─► IDLE                            a segment that is full
 *   IDLE ─► ANCHOR ─► IDLE   IDLE ─► REMOVE ─► IDLE  after a trim
 *   IDLE ─► [REUSE ─►] OPEN ─► FILL … ─► HEAD ─► SYNC ─► SYNC_DIR ─► IDLE
 *             no space anywhere there, or in ANCHOR or REMOVE: GIVE_UP ─► IDLE, and again later
 *
 * Without space for the anchor everything that it names stays; a spare segment needs none. After a
 * sync without space nobody knows what of a new segment is on the disk: it is written anew.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "metadata/wal_impl.h"

#define FILL_SIZE  (64u << 10) /* large ones make the page cache slow for the small writes later */
#define RETRY_NS   C2_NS_PER_S
#define SPARE_NAME "spare.wal"

#define BIT(state) (1u << (state))
#define PREPARING                                                                                  \
    (BIT(WAL_FILES_OPEN) | BIT(WAL_FILES_FILL) | BIT(WAL_FILES_HEAD) | BIT(WAL_FILES_SYNC) |       \
     BIT(WAL_FILES_SYNC_DIR))

static void files_done(struct c2_disk_req *r);

static void
retry_fired(struct c2_timer *t)
{
    struct wal *w = C2_CONTAINER_OF(t, struct wal, files.retry);
    w->files.held = 0;
    wal_files_kick(w);
}

void
wal_files_init(struct wal *w)
{
    struct wal_files *f = &w->files;
    f->req.done = files_done;
    f->retry.fire = retry_fired;
    f->file = f->close_file = -1;
    f->size_wanted = w->o.segment_size;
    c2_list_init(&f->doomed);
}

void
wal_files_done(struct wal *w)
{
    struct wal_files *f = &w->files;
    c2_timer_stop(w->env, &f->retry);
    C2_LIST_FOREACH (&f->doomed, struct wal_segment, s, link)
        wal_segment_free(s);
    c2_free(f->path);
    c2_free(f->path2);
    c2_free(f->block);
}

bool
wal_files_busy(const struct wal *w)
{
    return w->files.state != WAL_FILES_IDLE || w->files.close_file >= 0;
}

char *
wal_segment_path(const struct wal *w, uint64_t number)
{
    return c2_asprintf("%s/%016llx.wal", w->o.path, (unsigned long long)number);
}

void
wal_files_want(struct wal *w, size_t group_size)
{
    struct wal_files *f = &w->files;
    size_t size = C2_MAX(w->o.segment_size, group_size + WAL_BLOCK);
    f->size_wanted = C2_MAX(f->size_wanted, size);
    if (f->ready && f->size < f->size_wanted)
        f->ready = false; /* it grows */
}

/* Nothing will be appended any more. */
static bool
is_closing(const struct wal *w)
{
    return w->closing && w->reader == NULL;
}

/* ---- one request ----------------------------------------------------------------------------- */

static void
submit(struct wal *w, enum wal_files_state state, enum c2_disk_verb verb)
{
    struct wal_files *f = &w->files;
    f->state = state;
    f->req.verb = verb;
    c2_disk(w->env, &f->req);
}

static void
set_path(struct wal_files *f, char *path)
{
    c2_free(f->path);
    f->path = path;
    f->req.path = path;
    f->req.flags = 0;
}

static void
start_close(struct wal *w)
{
    w->files.req.file = w->files.close_file;
    submit(w, WAL_FILES_CLOSE, C2_DISK_CLOSE);
}

static void
start_anchor(struct wal *w)
{
    struct wal_files *f = &w->files;
    f->anchor_due = false;
    set_path(f, c2_asprintf("%s/head", w->o.path));
    wal_put_anchor(&w->anchor, f->anchor);
    f->iov = c2_slice(f->anchor, sizeof f->anchor);
    f->req.iov = &f->iov;
    f->req.niov = 1;
    f->req.flags = C2_DISK_DURABLE;
    submit(w, WAL_FILES_ANCHOR, C2_DISK_WRITE);
}

/* The first of the doomed becomes the spare one, if there is none. */
static void
start_remove(struct wal *w)
{
    struct wal_files *f = &w->files;
    const struct wal_segment *s = C2_LIST_FIRST(&f->doomed, struct wal_segment, link);
    set_path(f, wal_segment_path(w, s->number));
    if (f->has_spare || s->size != w->o.segment_size) {
        submit(w, WAL_FILES_REMOVE, C2_DISK_UNLINK);
        return;
    }
    c2_free(f->path2);
    f->path2 = c2_asprintf("%s/" SPARE_NAME, w->o.path);
    f->req.path2 = f->path2;
    submit(w, WAL_FILES_REMOVE, C2_DISK_RENAME);
}

static void
start_open(struct wal *w)
{
    struct wal_files *f = &w->files;
    set_path(f, wal_segment_path(w, f->number));
    f->req.flags = C2_DISK_CREATE;
    submit(w, WAL_FILES_OPEN, C2_DISK_OPEN);
}

static void
start_fill(struct wal *w)
{
    struct wal_files *f = &w->files;
    size_t len = C2_MIN(f->size - f->filled, (size_t)FILL_SIZE);
    c2_free(f->block);
    f->block = c2_calloc(1, len);
    f->iov = c2_slice(f->block, len);
    f->req.file = f->file;
    f->req.offset = f->filled;
    f->req.iov = &f->iov;
    f->req.niov = 1;
    f->filled += len;
    submit(w, WAL_FILES_FILL, C2_DISK_PWRITE);
}

static void
start_head(struct wal *w)
{
    struct wal_files *f = &w->files;
    c2_free(f->block);
    f->block = c2_calloc(1, WAL_BLOCK);
    f->head.log_id = w->log_id;
    f->head.number = f->number;
    wal_put_segment_head(&f->head, f->block);
    f->iov = c2_slice(f->block, WAL_BLOCK);
    f->req.file = f->file;
    f->req.offset = 0;
    f->req.iov = &f->iov;
    f->req.niov = 1;
    submit(w, WAL_FILES_HEAD, C2_DISK_PWRITE);
}

static void
fill_or_head(struct wal *w)
{
    if (w->files.filled < w->files.size)
        start_fill(w);
    else
        start_head(w);
}

static void
start_prepare(struct wal *w)
{
    struct wal_files *f = &w->files;
    f->size = f->size_wanted;
    if (f->file >= 0) { /* it was ready, but is too small */
        fill_or_head(w);
    } else if (f->has_spare) {
        C2_MARK("wal: an old segment is used again");
        f->has_spare = false;
        f->filled = f->spare_filled;
        c2_free(f->path2);
        f->path2 = wal_segment_path(w, f->number);
        set_path(f, c2_asprintf("%s/" SPARE_NAME, w->o.path));
        f->req.path2 = f->path2;
        submit(w, WAL_FILES_REUSE, C2_DISK_RENAME);
    } else {
        f->filled = f->prefilled;
        f->prefilled = 0;
        start_open(w);
    }
}

static size_t
waiting_bytes(const struct wal *w)
{
    size_t bytes = 0;
    C2_LIST_FOREACH (&w->groups, struct wal_group, g, link)
        bytes += g->bytes.len;
    return bytes;
}

/* What was to be written waits, and nothing is removed: that is safe for as long as it takes. */
static void
give_up(struct wal *w)
{
    struct wal_files *f = &w->files;
    if (!f->full)
        c2_log(
            ERROR, "wal",
            "path=%s the disk is full; nothing is lost, but a vote that does not fit waits: make "
            "room, this goes on by itself",
            w->o.path);
    f->full = true;
    if (w->closing && (w->reader != NULL || !c2_list_empty(&w->groups)))
        wal_give_up(w);
    else if (waiting_bytes(w) > WAL_WAIT_MAX)
        wal_fail(w, C2_E_NO_SPACE);
    else if (!w->closing)
        c2_timer_arm(w->env, &f->retry, c2_now_ns(w->env) + RETRY_NS);
    f->held |= BIT(f->state);
    f->anchor_due = f->anchor_due || f->state == WAL_FILES_ANCHOR;
    f->has_spare = f->has_spare || f->state == WAL_FILES_REUSE;
    if (f->file < 0 || (BIT(f->state) & PREPARING) == 0) {
        f->state = WAL_FILES_IDLE;
        return;
    }
    f->req.file = f->file;
    f->file = -1;
    submit(w, WAL_FILES_GIVE_UP, C2_DISK_CLOSE);
}

/* ---- what comes next ------------------------------------------------------------------------- */

/* ... for what is done in these states. */
static void
has_space(struct wal *w, unsigned states)
{
    struct wal_files *f = &w->files;
    f->held &= ~states;
    if (f->anchor_due || f->held != 0 || (f->wanted && !f->ready))
        return; /* what there was space for has needed none, perhaps */
    if (f->full)
        c2_log(INFO, "wal", "path=%s there is space again", w->o.path);
    f->full = false;
}

static void
prepared(struct wal *w)
{
    struct wal_files *f = &w->files;
    c2_free(f->block);
    f->block = NULL;
    f->head = (struct wal_segment_head){ .log_id = 0 };
    f->state = WAL_FILES_IDLE;
    f->ready = true;
    has_space(w, PREPARING | BIT(WAL_FILES_REUSE));
    if (w->reader != NULL) {
        wal_adopt(w);
        wal_reader_prepared(w);
    }
}

static void
step(struct wal *w)
{
    struct wal_files *f = &w->files;
    switch (f->state) {
    case WAL_FILES_CLOSE:
        f->close_file = -1;
        f->state = WAL_FILES_IDLE;
        break;
    case WAL_FILES_ANCHOR:
        f->state = WAL_FILES_IDLE;
        has_space(w, BIT(WAL_FILES_ANCHOR));
        if (w->reader != NULL)
            wal_reader_prepared(w);
        break;
    case WAL_FILES_REMOVE: {
        struct wal_segment *s = C2_LIST_FIRST(&f->doomed, struct wal_segment, link);
        c2_list_remove(&f->doomed, &s->link);
        wal_segment_free(s);
        if (f->req.verb == C2_DISK_RENAME) {
            f->has_spare = true;
            f->spare_filled = w->o.segment_size;
        }
        f->state = WAL_FILES_IDLE;
        has_space(w, BIT(WAL_FILES_REMOVE));
        break;
    }
    case WAL_FILES_REUSE:
        start_open(w);
        break;
    case WAL_FILES_OPEN:
        f->file = f->req.file;
        fill_or_head(w);
        break;
    case WAL_FILES_FILL:
        fill_or_head(w);
        break;
    case WAL_FILES_HEAD:
        f->req.file = f->file;
        submit(w, WAL_FILES_SYNC, C2_DISK_SYNC);
        break;
    case WAL_FILES_SYNC:
        set_path(f, c2_strdup(w->o.path));
        submit(w, WAL_FILES_SYNC_DIR, C2_DISK_SYNC_DIR);
        break;
    case WAL_FILES_SYNC_DIR:
        prepared(w);
        break;
    case WAL_FILES_GIVE_UP:
    case WAL_FILES_IDLE:
        f->state = WAL_FILES_IDLE;
        break;
    }
}

/* What may fail for want of space and be done again: the log itself is not touched. */
static bool
may_wait(enum wal_files_state state)
{
    return (BIT(state) & (PREPARING | BIT(WAL_FILES_REUSE) | BIT(WAL_FILES_ANCHOR) |
                          BIT(WAL_FILES_REMOVE))) != 0;
}

static void
files_done(struct c2_disk_req *r)
{
    struct wal *w = C2_CONTAINER_OF(r, struct wal, files.req);
    struct wal_files *f = &w->files;
    bool gone = f->state == WAL_FILES_REMOVE && r->err == C2_E_NOT_FOUND;
    bool full = r->err == C2_E_NO_SPACE || r->err == C2_E_QUOTA;
    if (full && f->state == WAL_FILES_REMOVE && r->verb == C2_DISK_RENAME) {
        submit(w, WAL_FILES_REMOVE, C2_DISK_UNLINK); /* no spare one, but space */
    } else if (full && may_wait(f->state)) {
        C2_MARK("wal: no space for a segment");
        give_up(w);
    } else if (r->err != C2_E_OK && !gone) {
        enum c2_err err = r->err;
        f->state = WAL_FILES_IDLE;
        f->close_file = -1;
        wal_fail(w, err);
    } else {
        step(w);
    }
    if (f->state == WAL_FILES_IDLE) {
        wal_files_kick(w);
        wal_kick(w);
    }
}

void
wal_files_kick(struct wal *w)
{
    struct wal_files *f = &w->files;
    if (f->state != WAL_FILES_IDLE)
        return;
    if (f->close_file >= 0) {
        start_close(w);
        return;
    }
    if (w->failed || (is_closing(w) && c2_list_empty(&w->groups)))
        return;
    bool fits = (f->held & (f->has_spare ? BIT(WAL_FILES_REUSE) : PREPARING)) == 0;
    if (f->anchor_due && (f->held & BIT(WAL_FILES_ANCHOR)) == 0 && !is_closing(w))
        start_anchor(w);
    else if (!f->anchor_due && !c2_list_empty(&f->doomed) && (f->held & BIT(WAL_FILES_REMOVE)) == 0)
        start_remove(w);
    else if (f->wanted && !f->ready && fits)
        start_prepare(w);
}
