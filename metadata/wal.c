/* SPDX-License-Identifier: MIT */
/*
 * Appending to the log.
 *
 *              append            end of turn                   durable
 *   record ───────────► group ─────────────────► write and sync ─────────► told
 *
 * Records that nobody waits for start no group: they go with the next one that somebody waits for,
 * or after LATER_NS without one.
 *
 * One group is under way at a time, so what a crash tears is always the last one. A group that does
 * not fit goes to the next segment, which wal_files.c has ready; if it is not, records wait.
 *
 * When nothing was appended for a while, a seal is written behind the last group. It needs no
 * fdatasync: it is there so that a group which rots on the disk is not taken for one that a crash
 * tore. The next group takes its place.
 */
#include "metadata/wal.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/wire.h"
#include "metadata/wal_impl.h"

#define LATER_NS (20 * C2_NS_PER_MS) /* after the last group, or the first record */

void
wal_segment_free(struct wal_segment *s)
{
    c2_free(s);
}

static void
group_free(struct wal_group *g)
{
    c2_buf_done(&g->bytes);
    c2_free(g);
}

static void
wal_free(struct wal *w)
{
    C2_LIST_FOREACH (&w->segments, struct wal_segment, s, link)
        wal_segment_free(s);
    C2_LIST_FOREACH (&w->groups, struct wal_group, g, link)
        group_free(g);
    c2_timer_stop(w->env, &w->idle_timer);
    wal_files_done(w);
    wal_reader_free(w->reader);
    c2_free(w->seal);
    c2_free(w);
}

void
wal_fail(struct wal *w, enum c2_err err)
{
    if (w->failed)
        return;
    w->failed = true;
    c2_timer_stop(w->env, &w->idle_timer);
    c2_log(ERROR, "wal", "path=%s err=%s; the log cannot go on", w->o.path, c2_err_name(err));
    w->o.failed(w->o.arg, err);
}

void
wal_give_up(struct wal *w)
{
    C2_MARK("wal: ends without space");
    w->failed = true;
    c2_log(WARN, "wal", "path=%s ends without space for its last records", w->o.path);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void
start_write(struct wal *w, enum wal_io io, bool durable, const void *bytes, size_t len)
{
    w->io = io;
    w->iov = c2_slice(bytes, len);
    w->req.verb = C2_DISK_PWRITE;
    w->req.flags = durable ? C2_DISK_DURABLE : 0;
    w->req.file = w->file;
    w->req.offset = w->pos;
    w->req.iov = &w->iov;
    w->req.niov = 1;
    c2_disk(w->env, &w->req);
}

static void
write_group(struct wal *w, struct wal_group *g)
{
    size_t payload_len = g->bytes.len - WAL_HEAD_LEN;
    struct wal_group_head h = { .kind = WAL_GROUP_RECORDS };
    h.nrecords = g->nrecords;
    h.log_id = w->log_id;
    h.seq = w->seq;
    h.first_lsn = g->first_lsn;
    h.payload_len = (uint32_t)payload_len;
    memcpy(h.prev, w->prev, sizeof h.prev);
    wal_put_group_head(&h, c2_slice(g->bytes.data + WAL_HEAD_LEN, payload_len), g->bytes.data);
    size_t pad = wal_group_size(payload_len) - g->bytes.len;
    memset(c2_buf_extend(&g->bytes, pad), 0, pad);

    struct wal_segment *s = wal_current(w);
    if (!s->started) {
        s->first_seq = h.seq;
        s->first_lsn = h.first_lsn;
        memcpy(s->prev, h.prev, sizeof s->prev);
    }
    memcpy(w->prev, h.hash, sizeof w->prev);
    w->sealed = false;
    start_write(w, WAL_IO_GROUP, true, g->bytes.data, g->bytes.len);
}

static void
write_seal(struct wal *w)
{
    struct wal_group_head h = { .kind = WAL_GROUP_SEAL, .log_id = w->log_id, .seq = w->seq - 1 };
    h.first_lsn = w->lsn;
    memcpy(h.prev, w->prev, sizeof h.prev);
    wal_put_group_head(&h, c2_slice(NULL, 0), w->seal);
    start_write(w, WAL_IO_SEAL, w->closing, w->seal, WAL_BLOCK);
}

static void
finish_close(struct wal *w)
{
    void (*closed)(void *arg) = w->closed;
    void *arg = w->closed_arg;
    wal_free(w);
    closed(arg);
}

static bool
seal_fits(const struct wal *w)
{
    return w->file >= 0 && w->seq > 1 && w->pos + WAL_BLOCK <= wal_current(w)->size;
}

void
wal_adopt(struct wal *w)
{
    struct wal_files *f = &w->files;
    C2_ASSERT(f->ready && f->close_file < 0);
    struct wal_segment *s = c2_calloc(1, sizeof *s);
    s->number = f->number;
    s->size = f->size;
    c2_list_append(&w->segments, &s->link);
    f->close_file = w->file;
    f->ready = false;
    f->number++;
    w->file = f->file;
    f->file = -1;
    f->size_wanted = w->o.segment_size;
    w->pos = WAL_BLOCK;
}

static void
next_group(struct wal *w)
{
    struct wal_group *g = C2_LIST_FIRST(&w->groups, struct wal_group, link);
    size_t size = wal_group_size(g->bytes.len - WAL_HEAD_LEN);
    if (w->pos + size > wal_current(w)->size) {
        if (w->files.ready && w->files.size < WAL_BLOCK + size)
            wal_files_want(w, size);
        if (!w->files.ready || w->files.close_file >= 0) {
            wal_files_want(w, size);
            wal_files_kick(w);
            return;
        }
        wal_adopt(w);
        wal_files_kick(w);
    }
    write_group(w, g);
}

/* Closing: seal and sync, then the files, then everything. */
static void
go_on_closing(struct wal *w)
{
    struct wal_files *f = &w->files;
    if (wal_files_busy(w) || c2_link_linked(&w->flush.link))
        return;
    if (!w->failed && w->ready && !w->sealed && seal_fits(w)) {
        w->sealed = true;
        write_seal(w);
        return;
    }
    int *open = f->file >= 0 ? &f->file : &w->file;
    if (*open < 0) {
        finish_close(w);
        return;
    }
    f->close_file = *open;
    *open = -1;
    wal_files_kick(w);
}

void
wal_kick(struct wal *w)
{
    if (w->io != WAL_IO_IDLE || (w->reader != NULL && !w->failed))
        return;
    bool due = w->nurgent > 0 || w->closing;
    if (w->ready && !w->failed && due && !c2_list_empty(&w->groups))
        next_group(w);
    else if (w->closing)
        go_on_closing(w);
}

static void
group_synced(struct wal *w)
{
    struct wal_group *g = C2_LIST_FIRST(&w->groups, struct wal_group, link);
    c2_list_remove(&w->groups, &g->link);
    wal_current(w)->started = true;
    w->pos += g->bytes.len;
    w->seq++;
    w->ngroups++;
    w->synced = g->first_lsn + g->nrecords - 1;
    w->nurgent -= g->urgent;
    group_free(g);
    c2_timer_arm(w->env, &w->idle_timer, c2_now_ns(w->env) + LATER_NS);
    if (!w->closing)
        w->o.synced(w->o.arg, w->synced);
}

static void
io_done(struct c2_disk_req *r)
{
    struct wal *w = C2_CONTAINER_OF(r, struct wal, req);
    enum wal_io io = w->io;
    w->io = WAL_IO_IDLE;
    if (r->err != C2_E_OK)
        wal_fail(w, r->err);
    else if (io == WAL_IO_GROUP)
        group_synced(w);
    wal_kick(w);
}

static void
flush_task(struct c2_task *t)
{
    wal_kick(C2_CONTAINER_OF(t, struct wal, flush));
}

static void
make_urgent(struct wal *w, struct wal_group *g)
{
    w->nurgent += !g->urgent;
    g->urgent = true;
}

static void
idle_fired(struct c2_timer *t)
{
    struct wal *w = C2_CONTAINER_OF(t, struct wal, idle_timer);
    if (!c2_list_empty(&w->groups)) {
        make_urgent(w, C2_LIST_LAST(&w->groups, struct wal_group, link));
        wal_kick(w);
        return;
    }
    if (w->io != WAL_IO_IDLE || w->sealed || !seal_fits(w) || w->closing)
        return;
    w->sealed = true;
    write_seal(w);
}

/* ---- the interface --------------------------------------------------------------------------- */

struct wal *
wal_open(struct c2_env *env, const struct wal_options *o)
{
    struct wal *w = c2_calloc(1, sizeof *w);
    w->env = env;
    w->o = *o;
    if (w->o.segment_size == 0)
        w->o.segment_size = WAL_SEGMENT_SIZE_DEFAULT;
    C2_ASSERT(w->o.segment_size % WAL_BLOCK == 0 && w->o.segment_size >= WAL_SEGMENT_SIZE_MIN);
    w->file = -1;
    c2_list_init(&w->segments);
    c2_list_init(&w->groups);
    w->req.done = io_done;
    w->flush.run = flush_task;
    w->idle_timer.fire = idle_fired;
    w->seal = c2_calloc(1, WAL_BLOCK);
    wal_files_init(w);
    wal_reader_start(w);
    return w;
}

/* Into the last group; returns it. */
static struct wal_group *
add_record(struct wal *w, unsigned type, const struct c2_slice *parts, size_t nparts)
{
    C2_ASSERT(w->ready && !w->closing && !w->o.read_only);
    size_t len = 0;
    for (size_t i = 0; i < nparts; i++)
        len += parts[i].len;
    C2_ASSERT(len <= WAL_BODY_MAX);
    struct wal_group *g = C2_LIST_LAST(&w->groups, struct wal_group, link);
    bool under_way = w->io == WAL_IO_GROUP;
    if (g == NULL || (under_way && w->groups.count == 1) || g->bytes.len >= WAL_GROUP_MAX) {
        g = c2_calloc(1, sizeof *g);
        memset(c2_buf_extend(&g->bytes, WAL_HEAD_LEN), 0, WAL_HEAD_LEN);
        g->first_lsn = w->lsn;
        c2_list_append(&w->groups, &g->link);
    }
    c2_wr_u32(&g->bytes, type);
    c2_wr_u32(&g->bytes, (uint32_t)len);
    for (size_t i = 0; i < nparts; i++)
        c2_wr_raw(&g->bytes, parts[i].data, parts[i].len);
    g->nrecords++;
    w->lsn++;
    return g;
}

uint64_t
wal_append(struct wal *w, unsigned type, const struct c2_slice *parts, size_t nparts)
{
    make_urgent(w, add_record(w, type, parts, nparts));
    c2_defer(w->env, &w->flush);
    return w->lsn - 1;
}

uint64_t
wal_append_later(struct wal *w, unsigned type, const struct c2_slice *parts, size_t nparts)
{
    add_record(w, type, parts, nparts);
    if (!c2_timer_armed(&w->idle_timer))
        c2_timer_arm(w->env, &w->idle_timer, c2_now_ns(w->env) + LATER_NS);
    return w->lsn - 1;
}

/* The last segment that may be the first: everything up to lsn is behind its beginning. */
static struct wal_segment *
first_needed(const struct wal *w, uint64_t lsn)
{
    struct wal_segment *first = NULL;
    C2_LIST_FOREACH (&w->segments, struct wal_segment, s, link) {
        if (s->started && s->first_lsn <= lsn)
            first = s;
    }
    return first;
}

void
wal_trim(struct wal *w, uint64_t lsn)
{
    struct wal_segment *first = first_needed(w, lsn);
    if (w->failed || first == NULL || first->number == w->anchor.segment)
        return;
    while (C2_LIST_FIRST(&w->segments, struct wal_segment, link) != first) {
        struct wal_segment *s = C2_LIST_FIRST(&w->segments, struct wal_segment, link);
        c2_list_remove(&w->segments, &s->link);
        c2_list_append(&w->files.doomed, &s->link);
    }
    w->anchor.segment = first->number;
    w->anchor.seq = first->first_seq;
    w->anchor.lsn = first->first_lsn;
    memcpy(w->anchor.prev, first->prev, sizeof w->anchor.prev);
    w->anchor.lost = false;
    w->files.anchor_due = true;
    wal_files_kick(w);
}

uint64_t
wal_last(const struct wal *w)
{
    return w->lsn - 1;
}

uint64_t
wal_synced(const struct wal *w)
{
    return w->synced;
}

uint64_t
wal_bytes(const struct wal *w)
{
    uint64_t bytes = 0;
    C2_LIST_FOREACH (&w->segments, struct wal_segment, s, link)
        bytes += s->size;
    return bytes;
}

bool
wal_waits_for_space(const struct wal *w)
{
    return w->files.full;
}

uint64_t
wal_groups(const struct wal *w)
{
    return w->ngroups;
}

void
wal_close(struct wal *w, void (*done)(void *arg), void *arg)
{
    C2_ASSERT(!w->closing);
    w->closing = true;
    w->closed = done;
    w->closed_arg = arg;
    c2_timer_stop(w->env, &w->idle_timer);
    if (w->reader != NULL && c2_timer_armed(&w->files.retry))
        wal_give_up(w);
    c2_timer_stop(w->env, &w->files.retry);
    w->files.held = 0; /* tried once more */
    c2_defer(w->env, &w->flush);
}
