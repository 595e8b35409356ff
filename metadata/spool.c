/* SPDX-License-Identifier: MIT */
/*
 * A record in memory and in the file is a head and the bytes; a run is records in order. Nobody
 * else reads the file, so numbers are the machine's.
 *
 * While records are added they lie in `pool` as they came. Reading goes through a heap of sources,
 * one for each run, each with a window of its part of the file; or, when there is no run, through
 * the sorted pool itself.
 */
#include "metadata/spool.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os_file.h"
#include "base/wire.h"

#define PREFIX_LEN   8u
#define WRITE_BYTES  ((size_t)1 << 20)
#define WINDOW_MIN   ((size_t)4096)
#define WINDOW_MAX   ((size_t)1 << 20)
#define SUM_MULTIPLY 0x9e3779b97f4a7c15ull
#define DIGITS       256u
#define EQUAL_MANY   64u
#define AHEAD        12u /* records that are on their way to the cache */
#define LINE         64u
#define LINES        6u

struct head {
    uint64_t sum; /* of what follows; in the file */
    uint32_t len;
    uint16_t key_at, key_len;
};

#define HEAD_LEN sizeof(struct head)

/* A record of the pool: the first bytes of its key behind what all keys have in common, big-endian,
 * so that most comparisons need no more. */
struct place {
    uint64_t prefix;
    size_t at;
};

struct run {
    uint64_t from, end;   /* in the file */
    uint64_t at;          /* of what is behind the window */
    struct c2_buf window; /* owned */
    size_t next;          /* in the window: what is behind the record */
    struct spool_record record;
};

struct spool {
    char *path; /* owned */
    size_t memory;
    struct c2_buf pool;   /* owned */
    struct c2_buf places; /* owned; of struct place */
    struct c2_buf spare;  /* owned; as long as places */
    struct c2_buf runs;   /* owned; of struct run */
    struct c2_buf heap;   /* owned; of struct run *: the one with the lowest key first */
    size_t read;          /* in places: the next; there is no run */
    uint64_t bytes;
    uint64_t end; /* of the file */
    int fd;       /* -1 = none */
    bool reading;
};

struct spool *
spool_new(const char *path, size_t memory)
{
    struct spool *s = c2_calloc(1, sizeof *s);
    s->path = c2_strdup(path);
    s->memory = memory;
    s->fd = -1;
    return s;
}

static struct run *
runs_of(const struct spool *s)
{
    return (struct run *)(void *)s->runs.data;
}

static size_t
count_runs(const struct spool *s)
{
    return s->runs.len / sizeof(struct run);
}

static struct place *
places_of(const struct spool *s)
{
    return (struct place *)(void *)s->places.data;
}

static size_t
count_places(const struct spool *s)
{
    return s->places.len / sizeof(struct place);
}

static void
free_windows(struct spool *s)
{
    for (size_t i = 0; i < count_runs(s); i++)
        c2_buf_done(&runs_of(s)[i].window);
    c2_buf_clear(&s->heap);
}

void
spool_free(struct spool *s)
{
    if (s == NULL)
        return;
    free_windows(s);
    if (s->fd >= 0)
        c2_os_close(s->fd);
    c2_buf_done(&s->pool);
    c2_buf_done(&s->places);
    c2_buf_done(&s->spare);
    c2_buf_done(&s->runs);
    c2_buf_done(&s->heap);
    c2_free(s->path);
    c2_free(s);
}

uint64_t
spool_bytes(const struct spool *s)
{
    return s->bytes;
}

bool
spool_is_full(const struct spool *s)
{
    return count_runs(s) >= SPOOL_RUNS_MAX;
}

/* ---- records --------------------------------------------------------------------------------- */

/* Against a disk that gives back other bytes, not against anybody: four sums side by side. */
static uint64_t
sum_of(const struct spool_record *r)
{
    struct c2_slice s = r->bytes;
    uint64_t lane[4] = { s.len, r->key.len, (uint64_t)(r->key.data - s.data), 0 };
    uint64_t word[4];
    size_t at = 0;
    for (; at + sizeof word <= s.len; at += sizeof word) {
        memcpy(word, s.data + at, sizeof word);
        for (unsigned i = 0; i < 4; i++) {
            lane[i] = (lane[i] ^ word[i]) * SUM_MULTIPLY;
            lane[i] ^= lane[i] >> 32;
        }
    }
    for (; at < s.len; at++)
        lane[at % 4] = (lane[at % 4] ^ s.data[at]) * SUM_MULTIPLY;
    uint64_t all = 0;
    for (unsigned i = 0; i < 4; i++)
        all = (all ^ lane[i]) * SUM_MULTIPLY;
    return all ^ all >> 32;
}

static struct head
head_at(const uint8_t *p)
{
    struct head h;
    memcpy(&h, p, sizeof h);
    return h;
}

/* What lies at this place, with head and bytes. */
static struct spool_record
record_at(const uint8_t *p)
{
    const struct head h = head_at(p);
    return (struct spool_record){ .bytes = c2_slice(p + HEAD_LEN, h.len),
                                  .key = c2_slice(p + HEAD_LEN + h.key_at, h.key_len) };
}

static size_t
length_of(const struct spool_record *r)
{
    return HEAD_LEN + r->bytes.len;
}

static uint64_t
prefix_of(struct c2_slice key, size_t skip)
{
    uint8_t first[PREFIX_LEN] = { 0 };
    if (key.len > skip)
        memcpy(first, key.data + skip, C2_MIN(key.len - skip, sizeof first));
    return c2_get_be64(first);
}

static size_t
common(struct c2_slice a, struct c2_slice b, size_t most)
{
    size_t n = C2_MIN(most, C2_MIN(a.len, b.len));
    size_t i = 0;
    while (i < n && a.data[i] == b.data[i])
        i++;
    return i;
}

static int
compare_keys(const void *a, const void *b, void *arg)
{
    const struct place *x = a;
    const struct place *y = b;
    const uint8_t *pool = arg;
    return c2_slice_compare(record_at(pool + x->at).key, record_at(pool + y->at).key);
}

/* By their prefixes, a byte at a time from the last one; `to` has as much room. Returns where they
 * are then. */
static struct place *
sort_places(struct place *from, struct place *to, size_t n)
{
    size_t count[PREFIX_LEN][DIGITS] = { 0 };
    for (size_t i = 0; i < n; i++) {
        for (unsigned d = 0; d < PREFIX_LEN; d++)
            count[d][from[i].prefix >> 8 * d & 0xff]++;
    }
    for (unsigned d = 0; d < PREFIX_LEN; d++) {
        size_t at = 0;
        if (count[d][from[0].prefix >> 8 * d & 0xff] == n)
            continue; /* the same in all of them */
        for (unsigned i = 0; i < DIGITS; i++) {
            size_t here = count[d][i];
            count[d][i] = at;
            at += here;
        }
        for (size_t i = 0; i < n; i++)
            to[count[d][from[i].prefix >> 8 * d & 0xff]++] = from[i];
        struct place *sorted = to;
        to = from;
        from = sorted;
    }
    return from;
}

/* Prefixes behind what these keys have in common. */
static void
set_prefixes(const struct spool *s, struct place *p, size_t n)
{
    struct c2_slice first = record_at(s->pool.data + p[0].at).key;
    size_t skip = first.len;
    for (size_t i = 1; i < n; i++)
        skip = common(first, record_at(s->pool.data + p[i].at).key, skip);
    for (size_t i = 0; i < n; i++)
        p[i].prefix = prefix_of(record_at(s->pool.data + p[i].at).key, skip);
}

/* Sorts by prefixes; `spare` has room for as many. */
static void
sort_by_prefix(const struct spool *s, struct place *p, struct place *spare, size_t n)
{
    set_prefixes(s, p, n);
    if (sort_places(p, spare, n) == spare)
        memcpy(p, spare, n * sizeof *p);
}

static size_t
count_equal(const struct place *p, size_t n)
{
    size_t i = 1;
    while (i < n && p[i].prefix == p[0].prefix)
        i++;
    return i;
}

/* Some of one prefix: behind it many may have more in common than all had. */
static void
sort_equal(const struct spool *s, struct place *p, struct place *spare, size_t n)
{
    if (n >= EQUAL_MANY)
        sort_by_prefix(s, p, spare, n);
    for (size_t from = 0, count; from < n; from += count) {
        count = n >= EQUAL_MANY ? count_equal(p + from, n - from) : n;
        if (count > 1)
            qsort_r(p + from, count, sizeof *p, compare_keys, s->pool.data);
    }
}

static void
sort_pool(struct spool *s)
{
    struct place *p = places_of(s);
    size_t n = count_places(s);
    if (n == 0)
        return;
    c2_buf_clear(&s->spare);
    struct place *spare = (struct place *)(void *)c2_buf_extend(&s->spare, s->places.len);
    sort_by_prefix(s, p, spare, n);
    for (size_t from = 0, count; from < n; from += count) {
        count = count_equal(p + from, n - from);
        sort_equal(s, p + from, spare, count);
    }
}

/* The place of record i, with those that come soon on their way. */
static const uint8_t *
place_at(const struct spool *s, size_t i)
{
    const struct place *p = places_of(s);
    if (i + AHEAD < count_places(s)) {
        for (unsigned line = 0; line < LINES; line++)
            __builtin_prefetch(s->pool.data + p[i + AHEAD].at + (size_t)line * LINE);
    }
    return s->pool.data + p[i].at;
}

/* ---- adding ---------------------------------------------------------------------------------- */

static C2_RESULT
write_out(struct spool *s, struct c2_buf *out)
{
    C2_TRY(c2_os_write_all(s->fd, out->data, out->len));
    s->end += out->len;
    c2_buf_clear(out);
    return C2_E_OK;
}

static C2_RESULT
write_pool(struct spool *s, struct c2_buf *out)
{
    for (size_t i = 0; i < count_places(s); i++) {
        const uint8_t *at = place_at(s, i);
        struct head h = head_at(at);
        uint8_t *to = c2_buf_extend(out, sizeof h + h.len);
        memcpy(to, at, sizeof h + h.len);
        const struct spool_record r = record_at(to); /* this one is in the cache */
        h.sum = sum_of(&r);
        memcpy(to, &h, sizeof h);
        if (out->len >= WRITE_BYTES)
            C2_TRY(write_out(s, out));
    }
    return write_out(s, out);
}

/* Makes a run of what is in memory. */
static C2_RESULT
flush(struct spool *s)
{
    C2_AUTO(c2_buf_done) struct c2_buf out = { 0 };
    struct run run = { .from = s->end };
    if (s->fd < 0)
        C2_TRY(c2_os_open_scratch(s->path, &s->fd));
    sort_pool(s);
    C2_TRY(write_pool(s, &out));
    run.end = s->end;
    c2_buf_append(&s->runs, &run, sizeof run);
    c2_buf_clear(&s->pool);
    c2_buf_clear(&s->places);
    return C2_E_OK;
}

C2_RESULT
spool_add(struct spool *s, const struct spool_record *r)
{
    const struct place p = { .at = s->pool.len };
    size_t len = length_of(r);
    size_t used = s->pool.len + 2 * s->places.len;
    C2_ASSERT(!s->reading && r->bytes.len <= SPOOL_RECORD_MAX);
    C2_ASSERT(r->key.data >= r->bytes.data);
    size_t key_at = (size_t)(r->key.data - r->bytes.data);
    C2_ASSERT(key_at + r->key.len <= r->bytes.len && key_at + r->key.len <= UINT16_MAX);
    if (used > 0 && used + len + 2 * sizeof p > s->memory) {
        C2_TRY(flush(s));
        return spool_add(s, r);
    }
    const struct head h = { .len = (uint32_t)r->bytes.len,
                            .key_at = (uint16_t)key_at,
                            .key_len = (uint16_t)r->key.len };
    c2_buf_append(&s->pool, &h, sizeof h);
    c2_buf_append(&s->pool, r->bytes.data, r->bytes.len);
    c2_buf_append(&s->places, &p, sizeof p);
    s->bytes += len;
    return C2_E_OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Has at least `need` bytes in the window from the record on; IO when the run ends before. */
static C2_RESULT
fill(struct spool *s, struct run *r, size_t need, size_t window)
{
    size_t have = r->window.len - r->next;
    if (have >= need)
        return C2_E_OK;
    if (need - have > r->end - r->at)
        return C2_E_IO;
    if (have > 0)
        memmove(r->window.data, r->window.data + r->next, have);
    r->window.len = have;
    r->next = 0;
    size_t more = (size_t)C2_MIN((uint64_t)(C2_MAX(need, window) - have), r->end - r->at);
    C2_TRY(c2_os_read_at(s->fd, c2_buf_extend(&r->window, more), more, r->at));
    r->at += more;
    return C2_E_OK;
}

/* Goes to the next record of a run; NOT_FOUND at its end. */
static C2_RESULT
advance(struct spool *s, struct run *r)
{
    size_t window = C2_MIN(C2_MAX(s->memory / count_runs(s), WINDOW_MIN), WINDOW_MAX);
    if (r->next == r->window.len && r->at == r->end)
        return C2_E_NOT_FOUND;
    C2_TRY(fill(s, r, HEAD_LEN, window));
    const struct head h = head_at(r->window.data + r->next);
    if (h.len > SPOOL_RECORD_MAX || (uint32_t)h.key_at + h.key_len > h.len)
        return C2_E_IO;
    C2_TRY(fill(s, r, HEAD_LEN + h.len, window));
    const struct spool_record record = record_at(r->window.data + r->next);
    if (sum_of(&record) != h.sum)
        return C2_E_IO;
    r->record = record;
    r->next += length_of(&record);
    return C2_E_OK;
}

static struct run **
heap_of(const struct spool *s)
{
    return (struct run **)(void *)s->heap.data;
}

/* Lets the run at place i sink to where it belongs. */
static void
sift(struct spool *s, size_t i)
{
    struct run **h = heap_of(s);
    size_t n = s->heap.len / sizeof *h;
    struct run *r = h[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < n && c2_slice_compare(h[child + 1]->record.key, h[child]->record.key) < 0)
            child++;
        if (child >= n || c2_slice_compare(r->record.key, h[child]->record.key) <= 0)
            break;
        h[i] = h[child];
        i = child;
    }
    h[i] = r;
}

static C2_RESULT
open_runs(struct spool *s)
{
    for (size_t i = 0; i < count_runs(s); i++) {
        struct run *r = &runs_of(s)[i];
        c2_buf_clear(&r->window);
        r->at = r->from;
        r->next = 0;
        enum c2_err err = advance(s, r);
        if (err != C2_E_OK) /* none is empty */
            return err == C2_E_NOT_FOUND ? C2_E_IO : err;
        c2_buf_append(&s->heap, &r, sizeof(struct run *));
    }
    for (size_t i = count_runs(s) / 2; i > 0; i--)
        sift(s, i - 1);
    return C2_E_OK;
}

C2_RESULT
spool_rewind(struct spool *s)
{
    c2_buf_clear(&s->heap);
    s->read = 0;
    if (s->reading && count_runs(s) == 0)
        return C2_E_OK;
    if (count_runs(s) == 0) {
        sort_pool(s);
    } else if (count_places(s) > 0) {
        C2_TRY(flush(s));
        c2_buf_done(&s->pool); /* its memory is for the windows */
        c2_buf_done(&s->places);
        c2_buf_done(&s->spare);
    }
    s->reading = true;
    return open_runs(s);
}

static C2_RESULT
next_of_pool(struct spool *s, struct spool_record *ret)
{
    if (s->read == count_places(s))
        return C2_E_NOT_FOUND;
    *ret = record_at(place_at(s, s->read++));
    return C2_E_OK;
}

C2_RESULT
spool_next(struct spool *s, struct spool_record *ret)
{
    struct run **h = heap_of(s);
    C2_ASSERT(s->reading);
    if (count_runs(s) == 0)
        return next_of_pool(s, ret);
    if (s->heap.len == 0)
        return C2_E_NOT_FOUND;
    if (s->read++ > 0) { /* the one that was read last goes only now: its bytes were borrowed */
        enum c2_err err = advance(s, h[0]);
        if (err == C2_E_NOT_FOUND) {
            s->heap.len -= sizeof *h;
            h[0] = h[s->heap.len / sizeof *h];
        } else if (err != C2_E_OK) {
            return err;
        }
    }
    if (s->heap.len == 0)
        return C2_E_NOT_FOUND;
    sift(s, 0);
    *ret = h[0]->record;
    return C2_E_OK;
}

C2_RESULT
spool_clear(struct spool *s)
{
    free_windows(s);
    c2_buf_clear(&s->runs);
    c2_buf_clear(&s->pool);
    c2_buf_clear(&s->places);
    s->bytes = s->end = 0;
    s->reading = false;
    return s->fd >= 0 ? c2_os_empty(s->fd) : C2_E_OK;
}
