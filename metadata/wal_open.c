/* SPDX-License-Identifier: MIT */
/*
 * Opening the log: reads every segment in order, gives its records back, and says what is lost.
 *
 *   MKDIR ─► ANCHOR ─► LIST ─► SEGMENT … ─► judge ─┬─► TAIL ─► LAST ──────────────► opened
 *                                                  └─► (new segment, new anchor) ─► opened
 *
 * A group is taken when its number, its first record's number and its link to the group before are
 * the expected ones and its hash is right. The first place where that does not hold is the end of
 * the log, unless there is proof that more was durable: a group with a later number (it was written
 * after the missing one was synced), a seal, a segment that is gone although a later one exists.
 * Then the log is damaged. It goes on in a new segment that says so ("resumes"), and what is before
 * it stays readable until it is trimmed.
 *
 * The last group of a killed process may be in the page cache alone, also for ever if its sync has
 * failed: it is written and synced again (LAST) before anybody acts on it.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/wire.h"
#include "metadata/wal_impl.h"

#define LIST_MAX (4u << 20)

enum reader_state {
    READER_MKDIR,
    READER_ANCHOR,
    READER_LIST,
    READER_SEGMENT,
    READER_TAIL,
    READER_LAST,
    READER_SETUP, /* wal_files.c prepares a segment, then the anchor */
};

struct wal_reader {
    struct wal *w; /* borrowed */
    struct c2_disk_req req;
    enum reader_state state;
    char *path;        /* owned; of the request */
    uint64_t *numbers; /* owned; of the segments, ascending */
    size_t nnumbers;
    size_t index; /* of the segment after the one being read */
    bool has_anchor;
    bool anchor_bad;
    bool any_group; /* anything that was ever written as a group of this log */

    /* What must come next. */
    bool follow; /* false: it did not come, proof of damage is looked for */
    uint64_t seq;
    uint64_t lsn;
    uint8_t prev[C2_SHA256_LEN];
    bool any_prev; /* the first group of a log whose anchor is gone */
    uint64_t max_seq;

    /* Where the log goes on. */
    uint64_t tail; /* number of a segment, 0 = none */
    uint64_t tail_pos;
    size_t spare_size; /* of a prepared and empty one behind the tail; 0 = none */
    /* The last group that was taken. */
    uint64_t last_segment, last_at; /* 0 = none */
    struct c2_buf last;             /* owned */

    struct wal_report report;
};

void
wal_reader_free(struct wal_reader *r)
{
    if (r == NULL)
        return;
    c2_free(r->path);
    c2_free(r->numbers);
    c2_buf_done(&r->last);
    c2_free(r);
}

static void
finish(struct wal *w, enum c2_err err)
{
    struct wal_reader *r = w->reader;
    w->reader = NULL;
    struct wal_report report = r->report;
    report.bytes = wal_bytes(w);
    wal_reader_free(r);
    if (err == C2_E_OK && !w->o.read_only) {
        w->ready = true;
        w->files.wanted = true;
        w->sealed = false;
    }
    if (!w->closing && !w->failed)
        w->o.opened(w->o.arg, err, &report);
    if (w->ready)
        wal_files_kick(w);
    if (w->closing)
        c2_defer(w->env, &w->flush);
}

__attribute__((format(printf, 2, 3))) static void
damaged(struct wal_reader *r, const char *fmt, ...)
{
    va_list ap;
    r->report.damaged = true;
    if (r->report.damage[0] != '\0')
        return; /* the first place says most */
    va_start(ap, fmt);
    vsnprintf(r->report.damage, sizeof r->report.damage, fmt, ap);
    va_end(ap);
}

static void
submit(struct wal *w, enum reader_state state, enum c2_disk_verb verb, char *path)
{
    struct wal_reader *r = w->reader;
    c2_free(r->path);
    r->path = path;
    r->state = state;
    r->req.verb = verb;
    r->req.path = path;
    r->req.flags = verb == C2_DISK_MKDIR ? C2_DISK_DURABLE : 0;
    r->req.offset = 0;
    r->req.reply = NULL;
    c2_disk(w->env, &r->req);
}

/* ---- one segment ----------------------------------------------------------------------------- */

/* The group at pos, when it is the expected one. */
static C2_RESULT
expected_group(const struct wal *w, struct c2_slice file, size_t pos, struct wal_group_head *ret,
               struct c2_slice *ret_payload)
{
    const struct wal_reader *r = w->reader;
    struct wal_group_head h;
    C2_TRY(wal_get_group_head(c2_slice(file.data + pos, file.len - pos), &h));
    bool next = r->any_prev || (h.seq == r->seq && h.first_lsn == r->lsn &&
                                memcmp(h.prev, r->prev, sizeof h.prev) == 0);
    if (h.kind != WAL_GROUP_RECORDS || h.log_id != w->log_id || !next ||
        h.payload_len > file.len - pos - WAL_HEAD_LEN)
        return C2_E_NOT_FOUND;
    *ret_payload = c2_slice(file.data + pos + WAL_HEAD_LEN, h.payload_len);
    C2_TRY(wal_check_payload(&h, file.data + pos, *ret_payload));
    *ret = h;
    return C2_E_OK;
}

static C2_RESULT
replay_group(struct wal *w, const struct wal_group_head *h, struct c2_slice payload)
{
    struct wal_reader *r = w->reader;
    struct c2_rd rd = c2_rd_init(payload);
    for (uint32_t i = 0; i < h->nrecords; i++) {
        unsigned type = c2_rd_u32(&rd);
        struct c2_slice body = c2_rd_bytes(&rd, WAL_BODY_MAX);
        if (!c2_rd_ok(&rd))
            return C2_E_PARSE;
        if (!w->closing && w->o.replay != NULL)
            w->o.replay(w->o.arg, h->first_lsn + i, type, body);
    }
    C2_TRY(c2_rd_finish(&rd));
    r->report.groups++;
    if (r->report.first_lsn == 0)
        r->report.first_lsn = h->first_lsn;
    return C2_E_OK;
}

static struct wal_segment *
add_segment(struct wal *w, uint64_t number, size_t size)
{
    struct wal_segment *s = c2_calloc(1, sizeof *s);
    s->number = number;
    s->size = size;
    c2_list_append(&w->segments, &s->link);
    return s;
}

/* Takes groups from pos on as long as they are the expected ones. Returns where that ends. */
static size_t
follow_groups(struct wal *w, struct wal_segment *s, struct c2_slice file, size_t pos)
{
    struct wal_reader *r = w->reader;
    struct wal_group_head h;
    struct c2_slice payload;
    while (pos + WAL_BLOCK <= file.len && expected_group(w, file, pos, &h, &payload) == C2_E_OK) {
        if (!s->started) {
            s->started = true;
            s->first_seq = h.seq;
            s->first_lsn = h.first_lsn;
            memcpy(s->prev, h.prev, sizeof s->prev);
        }
        if (replay_group(w, &h, payload) != C2_E_OK)
            damaged(r, "segment %" PRIu64 " at %zu: group %" PRIu64 " holds no records", s->number,
                    pos, h.seq);
        r->any_prev = false;
        r->any_group = true;
        r->seq = h.seq + 1;
        r->lsn = h.first_lsn + h.nrecords;
        memcpy(r->prev, h.hash, sizeof r->prev);
        r->max_seq = C2_MAX(r->max_seq, h.seq);
        r->last_segment = s->number;
        r->last_at = pos;
        pos += wal_group_size(h.payload_len);
    }
    if (r->last_segment == s->number) {
        c2_buf_clear(&r->last);
        c2_buf_append(&r->last, file.data + r->last_at, C2_MIN(pos, file.len) - r->last_at);
    }
    return pos;
}

/* Does anything from pos on prove that more groups were durable than were taken? */
static void
look_for_proof(struct wal *w, uint64_t number, struct c2_slice file, size_t pos)
{
    struct wal_reader *r = w->reader;
    for (size_t at = pos; at + WAL_BLOCK <= file.len; at += WAL_BLOCK) {
        struct wal_group_head h;
        if (wal_get_group_head(c2_slice(file.data + at, file.len - at), &h) != C2_E_OK ||
            h.log_id != w->log_id)
            continue;
        bool proof = h.kind == WAL_GROUP_SEAL ? h.seq >= r->seq : h.seq > r->seq;
        if (at == pos && h.kind == WAL_GROUP_RECORDS && h.seq == r->seq)
            r->report.torn = true;
        if (!proof)
            continue;
        r->any_group = true;
        r->max_seq = C2_MAX(r->max_seq, h.seq);
        damaged(r,
                "segment %" PRIu64 " at %zu: group %" PRIu64 " was durable, group %" PRIu64
                " before it cannot be read",
                number, at, h.seq, r->seq);
    }
}

/* What goes before "resumes" is known to be damaged; here the log goes on. */
static void
resume(struct wal *w, const struct wal_segment_head *head)
{
    struct wal_reader *r = w->reader;
    C2_MARK("wal: resumed after damage");
    damaged(r, "the records before %" PRIu64 " are not complete", head->lsn);
    if (head->seq < r->seq || head->lsn < r->lsn) { /* it goes on before what was read */
        r->follow = false;
        return;
    }
    r->follow = true;
    r->any_prev = false;
    r->seq = head->seq;
    r->lsn = head->lsn;
    memset(r->prev, 0, sizeof r->prev);
}

/* A segment whose first block is not its head: never prepared to the end, or damaged. */
static void
headless_segment(struct wal *w, uint64_t number, struct c2_slice file)
{
    struct wal_reader *r = w->reader;
    bool was = r->report.damaged;
    look_for_proof(w, number, file, 0);
    bool groups = r->report.damaged && !was;
    bool first = r->has_anchor && number == w->anchor.segment; /* durable before the anchor was */
    if (groups || first || r->index < r->nnumbers) {
        damaged(r, "segment %" PRIu64 " has no readable head", number);
        add_segment(w, number, file.len);
        r->follow = false;
        return;
    }
    C2_MARK("wal: a segment that was not prepared to the end");
    struct wal_segment *s = c2_calloc(1, sizeof *s);
    s->number = number;
    c2_list_append(&w->files.doomed, &s->link);
}

static void
read_segment(struct wal *w, uint64_t number, struct c2_slice file)
{
    struct wal_reader *r = w->reader;
    struct wal_segment_head head;
    bool good = wal_get_segment_head(file, &head) == C2_E_OK && head.number == number;
    if (good && w->log_id == 0)
        w->log_id = head.log_id;
    if (!good || head.log_id != w->log_id) {
        headless_segment(w, number, file);
        return;
    }
    if (head.resumes && !(r->has_anchor && number == w->anchor.segment))
        resume(w, &head);
    size_t pos = WAL_BLOCK;
    struct wal_segment *s = NULL;
    if (r->follow) {
        s = add_segment(w, number, file.len);
        pos = follow_groups(w, s, file, pos);
    }
    look_for_proof(w, number, file, pos);
    if (s == NULL) {
        add_segment(w, number, file.len);
        return;
    }
    bool lost = r->report.damaged && r->seq <= r->max_seq;
    /* An empty one behind the tail was prepared for later; one with groups proves that some before
     * them are lost. */
    bool empty = !s->started && r->tail != 0 && !head.resumes && !lost;
    if (empty && r->index == r->nnumbers && number == r->tail + 1) {
        c2_list_remove(&w->segments, &s->link);
        wal_segment_free(s);
        r->spare_size = file.len;
        return;
    }
    r->tail = number;
    r->tail_pos = pos;
    if (lost)
        r->follow = false;
}

/* ---- after the last segment ------------------------------------------------------------------ */

/* A part of the log begins: in a new segment, then the anchor. */
static void
begin_part(struct wal *w, bool resumes)
{
    struct wal_reader *r = w->reader;
    struct wal_files *f = &w->files;
    uint64_t last = r->nnumbers > 0 ? r->numbers[r->nnumbers - 1] : 0;
    r->state = READER_SETUP;
    f->number = C2_MAX(last, w->anchor.segment) + 1;
    if (resumes) {
        r->seq = C2_MAX(r->max_seq, r->seq) + 1;
        f->head = (struct wal_segment_head){ .resumes = true, .seq = r->seq, .lsn = r->lsn };
    }
    memset(r->prev, 0, sizeof r->prev);
    f->wanted = true;
    wal_files_kick(w);
}

static void
take_position(struct wal *w)
{
    struct wal_reader *r = w->reader;
    w->seq = r->seq;
    w->lsn = r->lsn;
    w->synced = r->lsn - 1;
    memcpy(w->prev, r->prev, sizeof w->prev);
    r->report.last_lsn = r->lsn - 1;
}

static void
new_log(struct wal *w)
{
    struct wal_reader *r = w->reader;
    if (!w->o.fresh)
        damaged(r, "there was a log, and it is gone");
    if (w->o.read_only) {
        finish(w, C2_E_OK);
        return;
    }
    do {
        c2_random(w->env, &w->log_id, sizeof w->log_id);
    } while (w->log_id == 0);
    for (size_t i = 0; i < r->nnumbers; i++) {
        struct wal_segment *s = c2_calloc(1, sizeof *s);
        s->number = r->numbers[i];
        c2_list_append(&w->files.doomed, &s->link);
    }
    r->seq = r->lsn = 1;
    w->anchor = (struct wal_anchor){ .log_id = w->log_id, .seq = 1, .lsn = 1 };
    w->anchor.lost = r->report.damaged;
    begin_part(w, false);
}

static void
judge(struct wal *w)
{
    struct wal_reader *r = w->reader;
    if (!r->any_group && !r->has_anchor) {
        C2_LIST_FOREACH (&w->segments, struct wal_segment, s, link) {
            c2_list_remove(&w->segments, &s->link);
            wal_segment_free(s);
        }
        new_log(w);
        return;
    }
    if (!r->has_anchor)
        damaged(r, "the file \"head\" is gone");
    take_position(w);
    if (w->o.read_only) {
        finish(w, C2_E_OK);
        return;
    }
    if (!r->follow || r->tail == 0) {
        begin_part(w, true);
        return;
    }
    w->files.number = r->tail + 1;
    submit(w, READER_TAIL, C2_DISK_OPEN, wal_segment_path(w, r->tail));
}

void
wal_reader_prepared(struct wal *w)
{
    struct wal_reader *r = w->reader;
    if (w->anchor.segment == 0 || r->anchor_bad) { /* the log had none, and needs one now */
        const struct wal_segment *first = C2_LIST_FIRST(&w->segments, struct wal_segment, link);
        C2_ASSERT(first != NULL);
        w->anchor.segment = first->number;
        if (first->started) {
            w->anchor.seq = first->first_seq;
            w->anchor.lsn = first->first_lsn;
            memcpy(w->anchor.prev, first->prev, sizeof w->anchor.prev);
        }
        w->anchor.log_id = w->log_id;
        w->anchor.lost = r->report.damaged;
        r->anchor_bad = false;
        w->files.anchor_due = true;
        return;
    }
    if (w->files.anchor_due)
        return;
    take_position(w);
    finish(w, C2_E_OK);
}

/* ---- the steps ------------------------------------------------------------------------------- */

static int
compare_numbers(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void
next_segment(struct wal *w)
{
    struct wal_reader *r = w->reader;
    if (r->index == r->nnumbers) {
        judge(w);
        return;
    }
    uint64_t number = r->numbers[r->index];
    if (r->index > 0 && number != r->numbers[r->index - 1] + 1) {
        damaged(r, "segment %" PRIu64 " is gone", r->numbers[r->index - 1] + 1);
        r->follow = false;
    }
    r->req.len_max = WAL_FILE_MAX;
    submit(w, READER_SEGMENT, C2_DISK_READ, wal_segment_path(w, number));
}

static void
got_anchor(struct wal *w, enum c2_err err, struct c2_slice bytes)
{
    struct wal_reader *r = w->reader;
    if (err == C2_E_OK)
        err = wal_get_anchor(bytes, &w->anchor);
    if (err == C2_E_VERSION) {
        finish(w, err);
        return;
    }
    if (err == C2_E_OK) {
        r->has_anchor = true;
        w->log_id = w->anchor.log_id;
        r->seq = w->anchor.seq;
        r->lsn = w->anchor.lsn;
        memcpy(r->prev, w->anchor.prev, sizeof r->prev);
        if (w->anchor.lost)
            damaged(r, "the records before %" PRIu64 " are lost", r->lsn);
    } else {
        /* Without it, whatever the first segment begins with is the beginning. */
        r->any_prev = r->anchor_bad = true;
        r->seq = r->lsn = 1;
        if (err != C2_E_NOT_FOUND)
            damaged(r, "the file \"head\" cannot be read");
    }
    r->follow = true;
    r->req.len_max = LIST_MAX;
    submit(w, READER_LIST, C2_DISK_LIST, c2_strdup(w->o.path));
}

static void
got_list(struct wal *w, struct c2_slice names)
{
    struct wal_reader *r = w->reader;
    for (size_t at = 0; at < names.len;) {
        struct c2_slice name = c2_slice_str((const char *)names.data + at);
        at += name.len + 1;
        if (c2_slice_equal(name, c2_slice_str("spare.wal")))
            w->files.has_spare = true;
        uint64_t n;
        if (!wal_parse_segment_name(name, &n))
            continue;                                 /* no segment of ours */
        if (r->has_anchor && n < w->anchor.segment) { /* a crash came before its removal */
            struct wal_segment *s = c2_calloc(1, sizeof *s);
            s->number = n;
            c2_list_append(&w->files.doomed, &s->link);
            continue;
        }
        if (r->nnumbers == WAL_SEGMENTS_MAX) {
            finish(w, C2_E_TOO_LARGE);
            return;
        }
        r->numbers = c2_realloc(r->numbers, r->nnumbers + 1, sizeof *r->numbers);
        r->numbers[r->nnumbers++] = n;
    }
    if (r->nnumbers > 0)
        qsort(r->numbers, r->nnumbers, sizeof *r->numbers, compare_numbers);
    if (r->has_anchor && (r->nnumbers == 0 || r->numbers[0] != w->anchor.segment)) {
        damaged(r, "segment %" PRIu64 ", the first one, is gone", w->anchor.segment);
        r->follow = false;
    }
    next_segment(w);
}

static void
write_last(struct wal *w, int file)
{
    struct wal_reader *r = w->reader;
    w->file = file;
    r->state = READER_LAST;
    w->iov = c2_buf_slice(&r->last);
    r->req.verb = C2_DISK_PWRITE;
    r->req.flags = C2_DISK_DURABLE;
    r->req.file = file;
    r->req.offset = r->last_at;
    r->req.iov = &w->iov;
    r->req.niov = 1;
    c2_disk(w->env, &r->req);
}

static void
go_on_at_tail(struct wal *w, int file)
{
    struct wal_reader *r = w->reader;
    w->file = file;
    w->pos = r->tail_pos;
    w->files.prefilled = r->spare_size;
    if (r->anchor_bad) { /* everything is there but the anchor */
        r->state = READER_SETUP;
        wal_reader_prepared(w);
        wal_files_kick(w);
        return;
    }
    finish(w, C2_E_OK);
}

static void
reader_done(struct c2_disk_req *req)
{
    struct wal_reader *r = C2_CONTAINER_OF(req, struct wal_reader, req);
    struct wal *w = r->w;
    struct c2_blob *reply = req->reply;
    struct c2_slice bytes = reply != NULL ? c2_blob_slice(reply) : c2_slice(NULL, 0);
    req->reply = NULL;
    bool optional = r->state == READER_ANCHOR ||
                    (w->o.read_only && r->state == READER_LIST && req->err == C2_E_NOT_FOUND);
    if (req->err != C2_E_OK && !optional) {
        finish(w, req->err);
    } else if (r->state == READER_MKDIR) {
        r->req.len_max = WAL_ANCHOR_LEN + 1;
        submit(w, READER_ANCHOR, C2_DISK_READ, c2_asprintf("%s/head", w->o.path));
    } else if (r->state == READER_ANCHOR) {
        got_anchor(w, req->err, bytes);
    } else if (r->state == READER_LIST) {
        got_list(w, bytes);
    } else if (r->state == READER_SEGMENT) {
        read_segment(w, r->numbers[r->index++], bytes);
        next_segment(w);
    } else if (r->state == READER_TAIL && r->last_segment == r->tail) {
        write_last(w, req->file);
    } else {
        go_on_at_tail(w, req->file);
    }
    c2_blob_unref(reply);
}

void
wal_reader_start(struct wal *w)
{
    struct wal_reader *r = c2_calloc(1, sizeof *r);
    r->w = w;
    r->req.done = reader_done;
    w->reader = r;
    if (w->o.read_only) {
        r->req.len_max = WAL_ANCHOR_LEN + 1;
        submit(w, READER_ANCHOR, C2_DISK_READ, c2_asprintf("%s/head", w->o.path));
    } else {
        submit(w, READER_MKDIR, C2_DISK_MKDIR, c2_strdup(w->o.path));
    }
}
