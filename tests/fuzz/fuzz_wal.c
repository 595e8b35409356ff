/* SPDX-License-Identifier: MIT */
/*
 * A write-ahead log made by somebody who knows its checksums: the input is a little program that
 * writes the files of its folder.
 *
 *   'A' segment seq lsn lost     the file "head"
 *   'a' len bytes                ... as these bytes
 *   'S' number resumes seq lsn   a segment begins
 *   'G' records len              a group as we write it: so many records of so many bytes
 *   'g' kind seq lsn records chained len bytes    any other group, with right checksums
 *   'R' len bytes                the next blocks, as they are
 *   'F' at                       one bit of byte `at` (16 bit) of the segment changes
 *   'T' at                       the segment ends at `at`
 *
 * Looking at it changes nothing. Opening it gives the same records; what is appended then is there
 * at the next opening, after the same records, and nothing else is.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "metadata/wal.h"
#include "metadata/wal_format.h"
#include "tests/lib/test_env.h"

#define SEGMENTS 8u
#define FILE_MAX (64u << 10)
#define LOG_ID   7u
#define STEPS    64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct build {
    struct c2_buf anchor;
    bool has_anchor;
    struct c2_buf file[SEGMENTS];
    uint64_t number[SEGMENTS];
    unsigned nfiles;
    uint64_t seq, lsn;
    uint8_t prev[C2_SHA256_LEN];
};

static struct c2_buf *
current(struct build *b)
{
    return b->nfiles > 0 ? &b->file[b->nfiles - 1] : NULL;
}

/* Small numbers, and those at the limit. */
static uint64_t
number(struct c2_rd *in)
{
    uint8_t n = c2_rd_u8(in);
    return n < 250 ? n : UINT64_MAX - (255u - n);
}

static void
pad(struct c2_buf *f)
{
    while (f->len % WAL_BLOCK != 0)
        c2_buf_append(f, "", 1);
}

/* ---- the files ------------------------------------------------------------------------------- */

static void
add_anchor(struct build *b, struct c2_rd *in)
{
    struct wal_anchor a = { .log_id = LOG_ID, .segment = number(in) };
    uint8_t bytes[WAL_ANCHOR_LEN];
    a.seq = number(in);
    a.lsn = number(in);
    a.lost = c2_rd_u8(in) % 2 != 0;
    wal_put_anchor(&a, bytes);
    c2_buf_clear(&b->anchor);
    c2_buf_append(&b->anchor, bytes, sizeof bytes);
    b->has_anchor = true;
}

static void
add_segment(struct build *b, struct c2_rd *in)
{
    struct wal_segment_head h = { .log_id = LOG_ID, .number = number(in) };
    uint8_t bytes[WAL_BLOCK];
    h.resumes = c2_rd_u8(in) % 2 != 0;
    h.seq = number(in);
    h.lsn = number(in);
    if (b->nfiles == SEGMENTS)
        return;
    b->number[b->nfiles++] = h.number;
    wal_put_segment_head(&h, bytes);
    c2_buf_append(current(b), bytes, sizeof bytes);
    if (h.resumes) {
        b->seq = h.seq;
        b->lsn = h.lsn;
        memset(b->prev, 0, sizeof b->prev);
    }
}

static void
add_group(struct build *b, struct wal_group_head *h, struct c2_slice payload)
{
    struct c2_buf *f = current(b);
    uint8_t head[WAL_HEAD_LEN];
    if (f == NULL || f->len + wal_group_size(payload.len) > FILE_MAX)
        return;
    h->log_id = LOG_ID;
    h->payload_len = (uint32_t)payload.len;
    wal_put_group_head(h, payload, head);
    c2_buf_append(f, head, sizeof head);
    c2_buf_append(f, payload.data, payload.len);
    pad(f);
    b->seq = h->seq + 1;
    b->lsn = h->first_lsn + h->nrecords;
    memcpy(b->prev, h->hash, sizeof b->prev);
}

static void
add_good_group(struct build *b, struct c2_rd *in)
{
    static const uint8_t body[256];
    struct wal_group_head h = { .kind = WAL_GROUP_RECORDS, .seq = b->seq, .first_lsn = b->lsn };
    struct c2_buf payload = { 0 };
    h.nrecords = c2_rd_u8(in) % 16;
    size_t len = c2_rd_u8(in);
    memcpy(h.prev, b->prev, sizeof h.prev);
    for (uint32_t i = 0; i < h.nrecords; i++) {
        c2_wr_u32(&payload, i);
        c2_wr_bytes(&payload, c2_slice(body, len));
    }
    add_group(b, &h, c2_buf_slice(&payload));
    c2_buf_done(&payload);
}

static void
add_other_group(struct build *b, struct c2_rd *in)
{
    struct wal_group_head h = { .kind = c2_rd_u8(in) % 4 };
    h.seq = number(in);
    h.first_lsn = number(in);
    h.nrecords = (uint32_t)number(in);
    if (c2_rd_u8(in) % 2 != 0)
        memcpy(h.prev, b->prev, sizeof h.prev);
    add_group(b, &h, c2_rd_raw(in, c2_rd_u16(in)));
}

static void
add_raw(struct build *b, struct c2_rd *in)
{
    struct c2_slice raw = c2_rd_raw(in, c2_rd_u16(in));
    struct c2_buf *f = current(b);
    if (f == NULL || f->len + raw.len > FILE_MAX)
        return;
    c2_buf_append(f, raw.data, raw.len);
    pad(f);
}

static void
add_one(struct build *b, struct c2_rd *in)
{
    struct c2_buf *f = current(b);
    struct c2_slice raw;
    size_t at;
    switch (c2_rd_u8(in)) {
    case 'A':
        add_anchor(b, in);
        break;
    case 'a':
        raw = c2_rd_raw(in, c2_rd_u8(in));
        c2_buf_clear(&b->anchor);
        c2_buf_append(&b->anchor, raw.data, raw.len);
        b->has_anchor = true;
        break;
    case 'S':
        add_segment(b, in);
        break;
    case 'G':
        add_good_group(b, in);
        break;
    case 'g':
        add_other_group(b, in);
        break;
    case 'R':
        add_raw(b, in);
        break;
    case 'F':
        at = c2_rd_u16(in);
        if (f != NULL && f->len > 0)
            f->data[at % f->len] ^= 4;
        break;
    case 'T':
        at = c2_rd_u16(in);
        if (f != NULL)
            f->len = C2_MIN(f->len, at);
        break;
    default:
        c2_rd_fail(in);
    }
}

static void
write_files(const struct build *b, const char *folder)
{
    C2_ASSERT(mkdir(folder, 0700) == 0);
    if (b->has_anchor) {
        C2_AUTO(c2_free_auto) char *path = c2_asprintf("%s/head", folder);
        test_disk_write_file(path, b->anchor.data, b->anchor.len);
    }
    for (unsigned i = 0; i < b->nfiles; i++) {
        C2_AUTO(c2_free_auto)
        char *path = c2_asprintf("%s/%016" PRIx64 ".wal", folder, b->number[i]);
        test_disk_write_file(path, b->file[i].data, b->file[i].len);
    }
}

/* ---- opening --------------------------------------------------------------------------------- */

struct found {
    struct c2_buf records; /* lsn, type, body */
    uint64_t last, count;
    struct wal_report report;
    enum c2_err err;
    bool opened, synced, closed;
};

static void
replay(void *arg, uint64_t lsn, unsigned type, struct c2_slice body)
{
    struct found *f = arg;
    C2_ASSERT(!f->opened && (f->count == 0 || lsn > f->last));
    c2_wr_u64(&f->records, lsn);
    c2_wr_u32(&f->records, type);
    c2_wr_bytes(&f->records, body);
    f->last = lsn;
    f->count++;
}

static void
opened(void *arg, enum c2_err err, const struct wal_report *r)
{
    struct found *f = arg;
    f->opened = true;
    f->err = err;
    f->report = *r;
}

static void
synced(void *arg, uint64_t lsn)
{
    struct found *f = arg;
    f->synced = lsn == f->report.last_lsn + 1;
}

static void
failed(void *arg, enum c2_err err)
{
    (void)arg;
    (void)err;
    C2_UNREACHABLE();
}

static void
closed(void *arg)
{
    struct found *f = arg;
    f->closed = true;
}

/* Opens the log, appends a record (unless it only looks) and closes it. */
static void
open_log(struct test_env *t, const char *folder, bool read_only, struct found *f)
{
    static const struct c2_slice body = { (const uint8_t *)"appended", 8 };
    const struct wal_options o = { .path = folder,
                                   .segment_size = WAL_SEGMENT_SIZE_MIN,
                                   .read_only = read_only,
                                   .replay = replay,
                                   .opened = opened,
                                   .synced = synced,
                                   .failed = failed,
                                   .arg = f };
    struct wal *w = wal_open(test_env_env(t), &o);
    test_env_run_until(t, &f->opened);
    if (f->err == C2_E_OK && !read_only) {
        uint64_t lsn = wal_append(w, 9, &body, 1);
        C2_ASSERT(lsn == f->report.last_lsn + 1 && (f->count == 0 || lsn > f->last));
        test_env_run_until(t, &f->synced);
    }
    wal_close(w, closed, f);
    test_env_run_until(t, &f->closed);
}

static void
check(struct test_env *t, const char *folder)
{
    struct found look = { 0 }, first = { 0 }, second = { 0 };
    open_log(t, folder, true, &look);
    open_log(t, folder, false, &first);
    C2_ASSERT(look.err == first.err);
    C2_ASSERT(c2_slice_equal(c2_buf_slice(&look.records), c2_buf_slice(&first.records)));
    if (first.err == C2_E_OK) {
        C2_ASSERT(look.report.damaged == first.report.damaged);
        open_log(t, folder, false, &second);
        C2_ASSERT(second.err == C2_E_OK && second.count == first.count + 1);
        C2_ASSERT(second.last == first.report.last_lsn + 1 &&
                  second.records.len > first.records.len);
        C2_ASSERT(
            c2_slice_starts_with(c2_buf_slice(&second.records), c2_buf_slice(&first.records)));
        C2_ASSERT(second.report.damaged == first.report.damaged);
        C2_ASSERT(!second.report.torn || second.report.damaged);
    }
    c2_buf_done(&look.records);
    c2_buf_done(&first.records);
    c2_buf_done(&second.records);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct build b = { .seq = 1, .lsn = 1 };
    struct c2_rd in = c2_rd_init(c2_slice(data, size));
    static bool ready;
    if (!ready)
        C2_ASSERT(c2_crypto_init() == C2_E_OK);
    ready = true;
    for (unsigned i = 0; i < STEPS && c2_rd_left(&in) > 0 && c2_rd_ok(&in); i++)
        add_one(&b, &in);
    struct test_env *t = test_env_new(1);
    C2_AUTO(c2_free_auto) char *folder = test_env_path(t, "wal");
    write_files(&b, folder);
    check(t, folder);
    test_env_free(t);
    c2_buf_done(&b.anchor);
    for (unsigned i = 0; i < b.nfiles; i++)
        c2_buf_done(&b.file[i]);
    return 0;
}
