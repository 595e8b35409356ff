/* SPDX-License-Identifier: MIT */
/*
 * Opening a journal: one disk request after the other.
 *
 *   MKDIR -> LIST -> for each segment by id: OPEN -> STAT -> HEADER -> BODY (again and again)
 *         -> CUT: TRUNCATE, SYNC of the last segment's torn tail
 *         -> DROP: UNLINK of empty segments, RENAME of unreadable ones -> done
 *
 * Nothing on disk is changed before everything was read: an open that fails leaves all as it was.
 * A disk that answers "I/O error" makes the open fail: what it hides is neither torn nor damaged.
 */
#include "fs/journal_segment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"

#define WINDOW_LEN   ((size_t)4 << 20)
#define SEGMENTS_MAX 65536

enum state {
    ST_MKDIR,
    ST_LIST,
    ST_OPEN,
    ST_STAT,
    ST_HEADER,
    ST_BODY,
    ST_CLOSE, /* of a segment without a readable header */
    ST_TRUNCATE,
    ST_SYNC,
    ST_DROP,
};

enum leftover { LEFT_NOTHING, LEFT_EMPTY, LEFT_UNREADABLE };

struct file {
    uint64_t id;
    enum leftover leftover;
};

struct replay {
    struct c2_env *env;
    struct journal_open *open; /* the caller's */
    enum state state;
    char *dir;             /* owned */
    uint8_t *key;          /* owned, in the secret arena */
    struct file *files;    /* owned, by id */
    size_t nfiles, index;  /* index: the file at hand */
    uint64_t unreadable;   /* segments without a readable header */
    enum c2_err why;       /* DAMAGED or KEY, of those */
    struct c2_disk_req io; /* the only request in flight */
    char *path, *path2;    /* owned: of the request */
    int file;              /* of the segment at hand until that has it, else -1 */
    uint64_t size;
    struct journal_start start;
    struct journal_scan scan;
};

static void io_done(struct c2_disk_req *io);

static void
submit(struct replay *r, enum state state, enum c2_disk_verb verb)
{
    r->state = state;
    r->io.verb = verb;
    r->io.path = r->path;
    r->io.path2 = r->path2;
    r->io.done = io_done;
    c2_disk(r->env, &r->io);
}

static void
set_path(struct replay *r, uint64_t id)
{
    c2_free(r->path);
    r->path = journal_segment_path(r->dir, id);
}

static void
close_files(struct replay *r)
{
    if (r->file >= 0)
        journal_file_close(r->env, r->file);
    for (size_t i = 0; i < r->start.nsegments; i++) {
        journal_file_close(r->env, r->start.segments[i]->file);
        journal_segment_free(r->start.segments[i]);
    }
    c2_free(r->start.segments);
}

static void
finish(struct replay *r, enum c2_err err, char *error)
{
    struct journal_open *o = r->open;
    if (err == C2_E_OK) {
        struct journal_config config = o->config;
        config.dir = r->dir;
        memcpy(config.key, r->key, sizeof config.key);
        o->journal = journal_new(r->env, &config, &r->start, r->scan.replay->after_seq);
        c2_wipe(config.key, sizeof config.key);
    } else {
        close_files(r);
    }
    o->err = err;
    o->error = error;
    journal_scan_done(&r->scan);
    c2_secret_free(r->key, C2_KEY_LEN);
    c2_free(r->files);
    c2_free(r->path);
    c2_free(r->path2);
    c2_free(r->dir);
    c2_free(r);
    o->done(o);
}

static void
fail_io(struct replay *r, enum c2_err err)
{
    static const char *const what[] = {
        [ST_MKDIR] = "make the folder",  [ST_LIST] = "list the folder",
        [ST_OPEN] = "open the file",     [ST_STAT] = "look at the file",
        [ST_HEADER] = "read the file",   [ST_BODY] = "read the file",
        [ST_CLOSE] = "close the file",   [ST_TRUNCATE] = "cut the torn tail of the file",
        [ST_SYNC] = "write to the file", [ST_DROP] = "remove or rename the file",
    };
    finish(r, err,
           c2_asprintf("journal: cannot %s: %s: %s", what[r->state], r->path, c2_err_text(err)));
}

/* ---- end ----------------------------------------------------------------------------------- */

static void
next_drop(struct replay *r)
{
    while (r->index < r->nfiles && r->files[r->index].leftover == LEFT_NOTHING)
        r->index++;
    if (r->index == r->nfiles) {
        finish(r, C2_E_OK, NULL);
        return;
    }
    struct file *f = &r->files[r->index++];
    set_path(r, f->id);
    c2_free(r->path2);
    r->path2 = c2_asprintf("%s/%016llx.damaged", r->dir, (unsigned long long)f->id);
    submit(r, ST_DROP, f->leftover == LEFT_EMPTY ? C2_DISK_UNLINK : C2_DISK_RENAME);
}

static void
start_drops(struct replay *r)
{
    r->index = 0;
    next_drop(r);
}

static void
drop_last_segment(struct replay *r)
{
    struct journal_segment *s = r->start.segments[--r->start.nsegments];
    for (size_t i = 0; i < r->nfiles; i++) {
        if (r->files[i].id == s->id)
            r->files[i].leftover = LEFT_EMPTY;
    }
    r->scan.replay->torn_bytes += s->size;
    journal_file_close(r->env, s->file);
    journal_segment_free(s);
}

/* Segments behind the end of the log; the rest of the segment in which it ends is its tail. */
static void
drop_behind_end(struct replay *r)
{
    struct journal_segment *good = r->scan.good_segment;
    while (r->start.nsegments > 0 && r->start.segments[r->start.nsegments - 1] != good)
        drop_last_segment(r);
    if (good != NULL)
        good->last_seq = C2_MIN(good->last_seq, r->scan.good_seq);
    r->scan.commit_end = r->scan.good_end;
}

/* What follows the last commit frame of the last segment never became a group. */
static void
cut_tail(struct replay *r)
{
    struct journal_segment *last =
        r->start.nsegments == 0 ? NULL : r->start.segments[r->start.nsegments - 1];
    uint64_t good_end = C2_MAX(r->scan.commit_end, JOURNAL_HEADER_AREA);
    C2_ASSERT(r->nfiles == 0 || r->files != NULL);
    bool more = r->nfiles > 0 && r->files[r->nfiles - 1].leftover == LEFT_UNREADABLE;
    if (last == NULL || more || last->size <= good_end) {
        start_drops(r);
        return;
    }
    r->scan.replay->torn_bytes += last->size - good_end;
    last->size = last->end = good_end;
    set_path(r, last->id);
    r->io.file = last->file;
    r->io.offset = good_end;
    submit(r, ST_TRUNCATE, C2_DISK_TRUNCATE);
}

static void
all_read(struct replay *r)
{
    if (r->start.nsegments == 0 && r->unreadable > 0) {
        bool key = r->why == C2_E_KEY;
        finish(r, r->why,
               c2_asprintf("journal: %s: %s; move the folder away to go on without the changes in "
                           "it",
                           r->dir, key ? "sealed by another key" : "no file in it can be read"));
        return;
    }
    if (journal_scan_end(&r->scan))
        drop_behind_end(r);
    struct file *last = r->nfiles == 0 ? NULL : &r->files[r->nfiles - 1];
    if (last != NULL && last->leftover == LEFT_UNREADABLE)
        journal_scan_damage(&r->scan, 1, "segment %016llx: its header cannot be read",
                            (unsigned long long)last->id);
    r->start.last_seq = C2_MAX(r->scan.seq_max, r->scan.replay->after_seq);
    r->start.chain_seq = r->scan.chain_known ? r->scan.chain_seq : r->scan.replay->after_seq;
    memcpy(r->start.chain, r->scan.chain, sizeof r->start.chain);
    cut_tail(r);
}

/* ---- one segment --------------------------------------------------------------------------- */

static void
next_segment(struct replay *r)
{
    if (r->index == r->nfiles) {
        all_read(r);
        return;
    }
    set_path(r, r->files[r->index].id);
    r->io.flags = 0;
    submit(r, ST_OPEN, C2_DISK_OPEN);
}

static void
read_body(struct replay *r, size_t need)
{
    r->io.file = r->scan.segment->file;
    r->io.offset = r->scan.pos;
    r->io.len_max = C2_MAX(need, WINDOW_LEN);
    submit(r, ST_BODY, C2_DISK_PREAD);
}

static void
set_aside(struct replay *r, enum leftover leftover, enum c2_err why)
{
    r->files[r->index].leftover = leftover;
    if (leftover == LEFT_UNREADABLE) {
        r->unreadable++;
        if (r->why != C2_E_KEY)
            r->why = why;
    }
    r->io.file = r->file;
    r->file = -1;
    submit(r, ST_CLOSE, C2_DISK_CLOSE);
}

static void
header_read(struct replay *r, struct c2_slice area)
{
    struct journal_segment *s;
    enum c2_err err = journal_header_decode(area, r->key, r->files[r->index].id, &s);
    if (err == C2_E_VERSION) {
        finish(r, err, c2_asprintf("journal: %s: written by a newer version of c2fs", r->path));
        return;
    }
    if (err != C2_E_OK && r->size == JOURNAL_HEADER_AREA) { /* nothing was ever written after it */
        C2_MARK("journal: header torn by a power cut");
        r->scan.replay->torn_bytes += r->size;
        set_aside(r, LEFT_EMPTY, C2_E_OK);
        return;
    }
    if (err != C2_E_OK) {
        set_aside(r, LEFT_UNREADABLE, err);
        return;
    }
    s->file = r->file;
    r->file = -1;
    s->size = s->end = r->size;
    r->start.segments[r->start.nsegments++] = s;
    journal_scan_segment(&r->scan, s);
    read_body(r, 1);
}

static void
stat_done(struct replay *r)
{
    r->size = r->io.size;
    if (r->size < JOURNAL_HEADER_AREA) { /* a crash right after it was made */
        r->scan.replay->torn_bytes += r->size;
        set_aside(r, LEFT_EMPTY, C2_E_OK);
        return;
    }
    r->io.file = r->file;
    r->io.offset = 0;
    r->io.len_max = JOURNAL_HEADER_AREA;
    submit(r, ST_HEADER, C2_DISK_PREAD);
}

static void
body_read(struct replay *r, struct c2_slice bytes)
{
    size_t need;
    uint64_t before = r->scan.pos;
    enum c2_err err = journal_scan_bytes(&r->scan, bytes, &need);
    if (err != C2_E_OK) {
        finish(
            r, err,
            c2_asprintf("journal: %s: a group cannot be replayed: %s", r->path, c2_err_text(err)));
        return;
    }
    /* A file that became shorter while we read it would make us ask for ever. */
    bool shorter = bytes.len < r->io.len_max && bytes.len < need;
    if (need == 0 || (shorter && r->scan.pos == before)) {
        r->index++;
        next_segment(r);
        return;
    }
    read_body(r, need);
}

/* ---- folder -------------------------------------------------------------------------------- */

static int
by_id(const void *a, const void *b)
{
    const struct file *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void
listed(struct replay *r, struct c2_slice names)
{
    const char *name = (const char *)names.data;
    size_t left = names.len;
    uint64_t id_max = 0;
    while (left > 0) {
        uint64_t id;
        size_t len = strnlen(name, left - 1) + 1;
        if (journal_segment_parse_name(name, ".seg", &id)) {
            if (r->nfiles == SEGMENTS_MAX)
                break;
            r->files = c2_realloc(r->files, r->nfiles + 1, sizeof *r->files);
            r->files[r->nfiles++] = (struct file){ .id = id };
            id_max = C2_MAX(id_max, id);
        } else if (journal_segment_parse_name(name, ".damaged", &id)) {
            id_max = C2_MAX(id_max, id);
        }
        name += len;
        left -= len;
    }
    if (left > 0 || id_max > UINT64_MAX / 2) {
        finish(r, C2_E_DAMAGED, c2_asprintf("journal: %s: names that c2fs never gives", r->dir));
        return;
    }
    if (r->nfiles > 1)
        qsort(r->files, r->nfiles, sizeof *r->files, by_id);
    r->start.next_id = id_max + 1;
    r->start.segments = c2_calloc(r->nfiles + 1, sizeof *r->start.segments);
    next_segment(r);
}

static void
step(struct replay *r, struct c2_slice reply)
{
    switch (r->state) {
    case ST_MKDIR:
        submit(r, ST_LIST, C2_DISK_LIST);
        return;
    case ST_LIST:
        listed(r, reply);
        return;
    case ST_OPEN:
        r->file = r->io.file;
        submit(r, ST_STAT, C2_DISK_STAT);
        return;
    case ST_STAT:
        stat_done(r);
        return;
    case ST_HEADER:
        header_read(r, reply);
        return;
    case ST_BODY:
        body_read(r, reply);
        return;
    case ST_CLOSE:
        r->index++;
        next_segment(r);
        return;
    case ST_TRUNCATE:
        submit(r, ST_SYNC, C2_DISK_SYNC);
        return;
    case ST_SYNC:
        start_drops(r);
        return;
    case ST_DROP:
        next_drop(r);
        return;
    }
    C2_UNREACHABLE();
}

static void
io_done(struct c2_disk_req *io)
{
    struct replay *r = C2_CONTAINER_OF(io, struct replay, io);
    struct c2_blob *reply = io->reply;
    io->reply = NULL;
    if (io->err != C2_E_OK)
        fail_io(r, io->err);
    else
        step(r, reply == NULL ? c2_slice(NULL, 0) : c2_blob_slice(reply));
    c2_blob_unref(reply);
}

void
journal_open_start(struct c2_env *env, struct journal_open *o)
{
    struct replay *r = c2_calloc(1, sizeof *r);
    C2_ASSERT(o->done != NULL && o->replay != NULL && o->replay->group != NULL);
    o->journal = NULL;
    o->error = NULL;
    o->replay->groups = o->replay->bytes = 0;
    o->replay->torn_bytes = o->replay->damaged_groups = 0;
    o->replay->damage[0] = '\0';
    r->env = env;
    r->open = o;
    r->dir = c2_strdup(o->config.dir);
    r->path = c2_strdup(o->config.dir);
    r->file = -1;
    r->key = c2_secret_alloc(C2_KEY_LEN);
    memcpy(r->key, o->config.key, C2_KEY_LEN);
    journal_scan_init(&r->scan, o->replay);
    r->io.flags = C2_DISK_DURABLE;
    submit(r, ST_MKDIR, C2_DISK_MKDIR);
}
