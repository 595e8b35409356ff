/* SPDX-License-Identifier: MIT */
#include "fs/journal_segment.h"

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "tests/lib/test_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define GROUPS_MAX 4096

/* ---- a journal in a test environment -------------------------------------------------------- */

struct found {
    struct journal_replay replay;
    uint64_t seqs[GROUPS_MAX];
    struct journal_loc locs[GROUPS_MAX]; /* of each group's first piece */
    size_t nlocs[GROUPS_MAX];
    char metas[GROUPS_MAX][32];
    size_t count;
    enum c2_err answer;
};

struct rig {
    struct test_env *env;
    struct journal *journal;
    struct journal_config config;
    struct found found;
    enum c2_err open_err;
    char *open_error;
    bool flag;
};

static enum c2_err
group_found(struct journal_replay *r, uint64_t seq, struct c2_slice meta,
            const struct journal_loc *locs, size_t nlocs)
{
    struct found *f = C2_CONTAINER_OF(r, struct found, replay);
    assert_true(f->count < GROUPS_MAX);
    if (f->count > 0)
        assert_true(seq > f->seqs[f->count - 1]);
    f->seqs[f->count] = seq;
    f->nlocs[f->count] = nlocs;
    if (nlocs > 0)
        f->locs[f->count] = locs[0];
    snprintf(f->metas[f->count], sizeof f->metas[0], "%.*s", (int)C2_MIN(meta.len, (size_t)31),
             (const char *)meta.data);
    f->count++;
    return f->answer;
}

static void
opened(struct journal_open *o)
{
    *(bool *)o->priv = true;
}

static void
rig_open_after(struct rig *r, uint64_t after_seq)
{
    struct journal_open o = { .config = r->config, .replay = &r->found.replay };
    memset(&r->found, 0, sizeof r->found);
    r->found.replay.group = group_found;
    r->found.replay.after_seq = after_seq;
    r->flag = false;
    o.done = opened;
    o.priv = &r->flag;
    journal_open_start(test_env_env(r->env), &o);
    assert_false(r->flag);
    test_env_run_until(r->env, &r->flag);
    r->journal = o.journal;
    r->open_err = o.err;
    c2_free(r->open_error);
    r->open_error = o.error;
    assert_int_equal(o.err == C2_E_OK, o.journal != NULL);
    assert_int_equal(o.err == C2_E_OK, o.error == NULL);
}

static void
rig_open(struct rig *r)
{
    rig_open_after(r, 0);
    if (r->open_err != C2_E_OK)
        fail_msg("%s", r->open_error);
}

static void
rig_close(struct rig *r)
{
    journal_close(r->journal);
    r->journal = NULL;
    test_env_run_idle(r->env);
}

static void
rig_reopen(struct rig *r)
{
    rig_close(r);
    rig_open(r);
}

static struct rig *
rig_new(void)
{
    struct rig *r = c2_calloc(1, sizeof *r);
    r->env = test_env_new(7);
    r->config.dir = test_env_path(r->env, "journal");
    memset(r->config.key, 0x5a, sizeof r->config.key);
    r->config.size_max = 1u << 30;
    return r;
}

static void
rig_free(struct rig *r)
{
    if (r->journal != NULL)
        rig_close(r);
    test_env_run_idle(r->env);
    c2_free((void *)(uintptr_t)r->config.dir);
    c2_free(r->open_error);
    test_env_free(r->env);
    c2_free(r);
}

/* ---- appends ------------------------------------------------------------------------------- */

struct write {
    struct journal_append a;
    struct c2_slice pieces[4];
    char meta[32];
    bool done;
};

static void
write_done(struct journal_append *a)
{
    struct write *w = C2_CONTAINER_OF(a, struct write, a);
    assert_false(w->done);
    w->done = true;
}

static void
write_init(struct write *w, const char *meta)
{
    memset(w, 0, sizeof *w);
    snprintf(w->meta, sizeof w->meta, "%s", meta);
    w->a.meta = c2_slice_str(w->meta);
    w->a.pieces = w->pieces;
    w->a.done = write_done;
}

static void
write_start(struct rig *r, struct write *w)
{
    journal_append_start(r->journal, &w->a);
    assert_false(w->done);
}

static void
write_free(struct write *w)
{
    c2_free(w->a.locs);
    w->a.locs = NULL;
}

/* Appends a group of a meta and a piece (may be empty) and returns the sequence number. */
static uint64_t
append(struct rig *r, const char *meta, struct c2_slice piece)
{
    struct write w;
    write_init(&w, meta);
    w.pieces[0] = piece;
    w.a.npieces = piece.data == NULL ? 0 : 1;
    write_start(r, &w);
    test_env_run_until(r->env, &w.done);
    assert_int_equal(w.a.err, C2_E_OK);
    uint64_t seq = w.a.seq;
    write_free(&w);
    return seq;
}

static uint64_t
append_meta(struct rig *r, const char *meta)
{
    return append(r, meta, c2_slice(NULL, 0));
}

static enum c2_err
append_fails(struct rig *r, size_t piece_len)
{
    struct write w;
    uint8_t *bytes = c2_calloc(1, piece_len);
    write_init(&w, "refused");
    w.pieces[0] = c2_slice(bytes, piece_len);
    w.a.npieces = 1;
    write_start(r, &w);
    test_env_run_until(r->env, &w.done);
    if (w.a.err != C2_E_OK)
        assert_null(w.a.locs);
    write_free(&w);
    c2_free(bytes);
    return w.a.err;
}

struct sync {
    struct journal_sync s;
    bool done;
};

static void
sync_done(struct journal_sync *s)
{
    C2_CONTAINER_OF(s, struct sync, s)->done = true;
}

static enum c2_err
sync_all(struct rig *r)
{
    struct sync s = { .s.done = sync_done };
    journal_sync_start(r->journal, &s.s);
    assert_false(s.done);
    test_env_run_until(r->env, &s.done);
    return s.s.err;
}

struct reading {
    struct journal_read r;
    bool done;
};

static void
read_done(struct journal_read *r)
{
    C2_CONTAINER_OF(r, struct reading, r)->done = true;
}

static enum c2_err
read_piece(struct rig *r, struct journal_loc loc, struct c2_blob **ret_data)
{
    struct reading x = { .r = { .loc = loc, .done = read_done } };
    journal_read_start(r->journal, &x.r);
    assert_false(x.done);
    test_env_run_until(r->env, &x.done);
    *ret_data = x.r.data;
    return x.r.err;
}

static void
assert_piece(struct rig *r, struct journal_loc loc, const void *bytes, size_t len)
{
    struct c2_blob *data;
    assert_int_equal(read_piece(r, loc, &data), C2_E_OK);
    assert_int_equal(data->len, len);
    assert_memory_equal(data->data, bytes, len);
    c2_blob_unref(data);
}

static struct journal_stats
stats(const struct rig *r)
{
    struct journal_stats s;
    journal_stats(r->journal, &s);
    return s;
}

/* ---- files --------------------------------------------------------------------------------- */

static char *
segment_path(const struct rig *r, uint64_t id)
{
    return journal_segment_path(r->config.dir, id);
}

static bool
segment_exists(const struct rig *r, uint64_t id)
{
    char *path = segment_path(r, id);
    bool exists = test_disk_exists(path);
    c2_free(path);
    return exists;
}

static struct c2_buf
segment_read(const struct rig *r, uint64_t id)
{
    struct c2_buf b = { 0 };
    char *path = segment_path(r, id);
    FILE *f = fopen(path, "rbe");
    assert_non_null(f);
    for (int c = getc(f); c != EOF; c = getc(f)) {
        uint8_t byte = (uint8_t)c;
        c2_buf_append(&b, &byte, 1);
    }
    fclose(f);
    c2_free(path);
    return b;
}

static void
segment_write(const struct rig *r, uint64_t id, const void *data, size_t len)
{
    char *path = segment_path(r, id);
    test_disk_write_file(path, data, len);
    c2_free(path);
}

static void
segment_flip(const struct rig *r, uint64_t id, size_t at)
{
    struct c2_buf b = segment_read(r, id);
    assert_true(at < b.len);
    b.data[at] ^= 0x10;
    segment_write(r, id, b.data, b.len);
    c2_buf_done(&b);
}

static void
fill(uint8_t *out, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(seed + i * 7 + i / 251);
}

/* ---- append and replay --------------------------------------------------------------------- */

static void
open__makes_an_empty_journal(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_open(r);
    assert_int_equal(r->found.count, 0);
    assert_int_equal(stats(r).used_bytes, 0);
    assert_int_equal(stats(r).last_seq, 0);
    rig_reopen(r);
    assert_int_equal(r->found.count, 0);
    rig_free(r);
}

static void
append__is_replayed_in_order_with_its_pieces(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    uint8_t bytes[3000];
    fill(bytes, sizeof bytes, 3);
    rig_open(r);
    assert_int_equal(append(r, "one", c2_slice(bytes, 3000)), 1);
    assert_int_equal(append_meta(r, "two"), 2);
    assert_int_equal(append(r, "", c2_slice(bytes, 1)), 3);
    assert_int_equal(append(r, "four", c2_slice(bytes, 0)), 4);
    rig_reopen(r);
    assert_int_equal(r->found.count, 4);
    assert_string_equal(r->found.metas[0], "one");
    assert_string_equal(r->found.metas[1], "two");
    assert_string_equal(r->found.metas[2], "");
    assert_string_equal(r->found.metas[3], "four");
    assert_int_equal(r->found.replay.groups, 4);
    assert_int_equal(r->found.replay.bytes, 3 + 3000 + 3 + 0 + 1 + 4);
    assert_int_equal(r->found.replay.torn_bytes, 0);
    assert_int_equal(r->found.replay.damaged_groups, 0);
    assert_piece(r, r->found.locs[0], bytes, 3000);
    assert_piece(r, r->found.locs[2], bytes, 1);
    assert_piece(r, r->found.locs[3], bytes, 0);
    assert_int_equal(append_meta(r, "five"), 5);
    rig_reopen(r);
    assert_int_equal(r->found.count, 5);
    assert_int_equal(r->found.replay.damaged_groups, 0);
    rig_free(r);
}

static void
append__of_a_large_group_goes_through_the_pool(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    struct write w;
    uint8_t *bytes = c2_alloc(JOURNAL_PIECE_MAX);
    fill(bytes, JOURNAL_PIECE_MAX, 9);
    rig_open(r);
    write_init(&w, "large");
    for (size_t i = 0; i < 4; i++)
        w.pieces[i] = c2_slice(bytes, JOURNAL_PIECE_MAX - i);
    w.a.npieces = 4;
    write_start(r, &w);
    test_env_run_until(r->env, &w.done);
    assert_int_equal(w.a.err, C2_E_OK);
    for (size_t i = 0; i < 4; i++)
        assert_piece(r, w.a.locs[i], bytes, JOURNAL_PIECE_MAX - i);
    write_free(&w);
    rig_reopen(r);
    assert_int_equal(r->found.count, 1);
    assert_int_equal(r->found.nlocs[0], 4);
    assert_piece(r, r->found.locs[0], bytes, JOURNAL_PIECE_MAX);
    c2_free(bytes);
    rig_free(r);
}

static void
append__small_needs_one_disk_request(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_open(r);
    append_meta(r, "first makes the segment");
    uint64_t before = test_env_disk_count(r->env, C2_DISK_PWRITE);
    append_meta(r, "second");
    assert_int_equal(test_env_disk_count(r->env, C2_DISK_PWRITE), before + 1);
    assert_int_equal(test_env_disk_count(r->env, C2_DISK_SYNC), 0);
    assert_int_equal(test_env_disk_count(r->env, C2_DISK_OPEN), 1);
    rig_free(r);
}

static void
append__many_at_once_share_one_write_and_one_sync(void **state)
{
    (void)state;
    enum { N = 200 };
    struct rig *r = rig_new();
    struct write *w = c2_calloc(N, sizeof *w);
    rig_open(r);
    append_meta(r, "makes the segment");
    uint64_t writes = test_env_disk_count(r->env, C2_DISK_PWRITE);
    for (size_t i = 0; i < N; i++) {
        char name[32];
        snprintf(name, sizeof name, "%zu", i);
        write_init(&w[i], name);
        w[i].a.sync = true;
        write_start(r, &w[i]);
        assert_int_equal(w[i].a.seq, i + 2);
    }
    for (size_t i = 0; i < N; i++) {
        test_env_run_until(r->env, &w[i].done);
        assert_int_equal(w[i].a.err, C2_E_OK);
        write_free(&w[i]);
    }
    assert_int_equal(test_env_disk_count(r->env, C2_DISK_PWRITE), writes + 1);
    assert_int_equal(test_env_disk_count(r->env, C2_DISK_SYNC), 1);
    assert_int_equal(test_env_disk_count(r->env, C2_DISK_SYNC_DIR), 1);
    assert_int_equal(stats(r).synced_seq, N + 1);
    rig_reopen(r);
    assert_int_equal(r->found.count, N + 1);
    assert_string_equal(r->found.metas[N], "199");
    c2_free(w);
    rig_free(r);
}

static void
sync__covers_everything_appended_before(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_open(r);
    assert_int_equal(sync_all(r), C2_E_OK); /* nothing yet */
    struct write w;
    write_init(&w, "x");
    write_start(r, &w);
    assert_int_equal(sync_all(r), C2_E_OK);
    assert_true(w.done);
    assert_int_equal(stats(r).synced_seq, 1);
    write_free(&w);
    uint64_t syncs = test_env_disk_count(r->env, C2_DISK_SYNC);
    assert_int_equal(sync_all(r), C2_E_OK);
    assert_int_equal(test_env_disk_count(r->env, C2_DISK_SYNC), syncs); /* nothing new */
    rig_free(r);
}

static void
sync__covers_what_an_earlier_process_wrote(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_open(r);
    append_meta(r, "x");
    rig_reopen(r);
    assert_int_equal(stats(r).synced_seq, 0);
    uint64_t syncs = test_env_disk_count(r->env, C2_DISK_SYNC);
    assert_int_equal(sync_all(r), C2_E_OK);
    assert_int_equal(test_env_disk_count(r->env, C2_DISK_SYNC), syncs + 1);
    rig_free(r);
}

static void
open__skips_committed_groups_and_frees_their_segment(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_open(r);
    append_meta(r, "one");
    append_meta(r, "two");
    append_meta(r, "three");
    rig_close(r);
    rig_open_after(r, 2);
    assert_int_equal(r->open_err, C2_E_OK);
    assert_int_equal(r->found.count, 1);
    assert_int_equal(r->found.seqs[0], 3);
    rig_close(r);
    rig_open_after(r, 3);
    test_env_run_ready(r->env);
    assert_int_equal(r->found.count, 0);
    assert_int_equal(stats(r).used_bytes, 0);
    assert_false(segment_exists(r, 1));
    assert_int_equal(append_meta(r, "four"), 4);
    rig_close(r);
    rig_open_after(r, 3);
    assert_int_equal(r->found.count, 1);
    assert_int_equal(r->found.replay.damaged_groups, 0);
    rig_free(r);
}

static void
open__starts_after_the_committed_number_of_an_empty_journal(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_open_after(r, 77);
    assert_int_equal(append_meta(r, "x"), 78);
    rig_close(r);
    rig_open_after(r, 77);
    assert_int_equal(r->found.count, 1);
    assert_int_equal(r->found.replay.damaged_groups, 0);
    rig_free(r);
}

static void
open__returns_the_error_of_the_group_callback(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_open(r);
    append_meta(r, "x");
    rig_close(r);
    struct journal_open o = { .config = r->config, .replay = &r->found.replay };
    memset(&r->found, 0, sizeof r->found);
    r->found.replay.group = group_found;
    r->found.answer = C2_E_PARSE;
    r->flag = false;
    o.done = opened;
    o.priv = &r->flag;
    journal_open_start(test_env_env(r->env), &o);
    test_env_run_until(r->env, &r->flag);
    assert_int_equal(o.err, C2_E_PARSE);
    assert_null(o.journal);
    assert_non_null(strstr(o.error, "cannot be replayed"));
    c2_free(o.error);
    rig_free(r);
}

/* ---- torn and damaged ---------------------------------------------------------------------- */

static void
open__cuts_a_torn_tail_at_every_byte(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    uint8_t bytes[300];
    fill(bytes, sizeof bytes, 1);
    rig_open(r);
    size_t ends[4] = { 0 };
    for (size_t i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof name, "g%zu", i + 1);
        append(r, name, c2_slice(bytes, 100 * i + 1));
        ends[i] = (size_t)stats(r).used_bytes;
    }
    rig_close(r);
    struct c2_buf whole = segment_read(r, 1);
    for (size_t len = 0; len < whole.len; len++) {
        segment_write(r, 1, whole.data, len);
        rig_open(r);
        size_t groups = 0;
        while (ends[groups] != 0 && ends[groups] <= len)
            groups++;
        assert_int_equal(r->found.count, groups);
        assert_int_equal(r->found.replay.damaged_groups, 0);
        size_t good = groups > 0                   ? ends[groups - 1]
                      : len >= JOURNAL_HEADER_AREA ? JOURNAL_HEADER_AREA
                                                   : 0;
        assert_int_equal(r->found.replay.torn_bytes, len - good);
        rig_close(r);
        rig_open(r); /* the cut is on disk */
        assert_int_equal(r->found.count, groups);
        assert_int_equal(r->found.replay.torn_bytes, 0);
        rig_close(r);
    }
    c2_buf_done(&whole);
    rig_free(r);
}

static void
open__goes_on_after_a_torn_tail_without_calling_it_damage(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_open(r);
    append_meta(r, "one");
    append_meta(r, "two");
    rig_close(r);
    struct c2_buf whole = segment_read(r, 1);
    segment_write(r, 1, whole.data, whole.len - 5);
    c2_buf_done(&whole);
    rig_open(r);
    assert_int_equal(r->found.count, 1);
    assert_true(r->found.replay.torn_bytes > 0);
    assert_int_equal(append_meta(r, "new two"), 3); /* 2 was seen: not given again */
    rig_reopen(r);
    assert_int_equal(r->found.count, 2);
    assert_string_equal(r->found.metas[1], "new two");
    assert_int_equal(r->found.replay.damaged_groups, 0);
    assert_int_equal(r->found.replay.torn_bytes, 0);
    rig_free(r);
}

static void
open__reports_every_bit_flip_in_the_middle_and_delivers_the_rest(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    uint8_t bytes[40];
    fill(bytes, sizeof bytes, 5);
    rig_open(r);
    append(r, "one", c2_slice(bytes, sizeof bytes));
    size_t from = (size_t)stats(r).used_bytes;
    append(r, "two", c2_slice(bytes, sizeof bytes));
    size_t to = (size_t)stats(r).used_bytes;
    append(r, "three", c2_slice(bytes, sizeof bytes));
    rig_close(r);
    struct c2_buf whole = segment_read(r, 1);
    for (size_t at = from; at < to; at++) {
        segment_flip(r, 1, at);
        rig_open(r);
        bool padding = r->found.replay.damaged_groups == 0;
        if (padding) { /* nothing reads the zeros between frames */
            assert_int_equal(whole.data[at], 0);
            assert_int_equal(r->found.count, 3);
        } else {
            assert_int_equal(r->found.replay.damaged_groups, 1);
            assert_int_equal(r->found.count, 2);
            assert_string_equal(r->found.metas[0], "one");
            assert_string_equal(r->found.metas[1], "three");
            assert_true(r->found.replay.damage[0] != '\0');
            assert_piece(r, r->found.locs[1], bytes, sizeof bytes);
        }
        assert_int_equal(r->found.replay.torn_bytes, 0);
        rig_close(r);
        segment_write(r, 1, whole.data, whole.len);
    }
    c2_buf_done(&whole);
    rig_free(r);
}

static void
open__reports_a_missing_segment(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_open(r);
    for (size_t i = 0; i < 3; i++) {
        append_meta(r, "a");
        append_meta(r, "b");
        rig_reopen(r); /* a new segment each time */
    }
    rig_close(r);
    char *path = segment_path(r, 2);
    assert_int_equal(unlink(path), 0);
    c2_free(path);
    rig_open(r);
    assert_int_equal(r->found.count, 4);
    assert_int_equal(r->found.replay.damaged_groups, 2);
    assert_non_null(strstr(r->found.replay.damage, "groups 3 to 4"));
    rig_close(r);
    rig_open_after(r, 4); /* committed elsewhere: nothing is missing */
    assert_int_equal(r->found.count, 2);
    assert_int_equal(r->found.replay.damaged_groups, 0);
    rig_free(r);
}

static void
open__reports_a_missing_first_segment(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_open(r);
    append_meta(r, "a");
    rig_reopen(r);
    append_meta(r, "b");
    rig_close(r);
    char *path = segment_path(r, 1);
    assert_int_equal(unlink(path), 0);
    c2_free(path);
    rig_open(r);
    assert_int_equal(r->found.count, 1);
    assert_int_equal(r->found.replay.damaged_groups, 1);
    rig_free(r);
}

static void
open__uses_the_second_copy_of_a_damaged_header(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_open(r);
    append_meta(r, "one");
    rig_close(r);
    for (size_t at = 0; at < 88; at++) {
        segment_flip(r, 1, at);
        rig_open(r);
        assert_int_equal(r->found.count, 1);
        rig_close(r);
        segment_flip(r, 1, at);
    }
    rig_free(r);
}

static void
open__fails_as_damaged_when_nothing_can_be_read_and_changes_nothing(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_open(r);
    append_meta(r, "one");
    rig_close(r);
    segment_flip(r, 1, 3);
    segment_flip(r, 1, JOURNAL_HEADER_COPY + 3);
    for (int i = 0; i < 2; i++) {
        rig_open_after(r, 0);
        assert_int_equal(r->open_err, C2_E_DAMAGED);
        assert_non_null(strstr(r->open_error, r->config.dir));
    }
    segment_flip(r, 1, 3);
    rig_open(r);
    assert_int_equal(r->found.count, 1);
    rig_free(r);
}

static void
open__sets_an_unreadable_segment_aside(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_open(r);
    append_meta(r, "one");
    rig_reopen(r);
    append_meta(r, "two");
    rig_close(r);
    segment_flip(r, 2, 3);
    segment_flip(r, 2, JOURNAL_HEADER_COPY + 3);
    rig_open(r);
    assert_int_equal(r->found.count, 1);
    assert_int_equal(r->found.replay.damaged_groups, 1);
    assert_false(segment_exists(r, 2));
    append_meta(r, "three");
    assert_true(segment_exists(r, 3)); /* the number of the damaged one is not used again */
    rig_reopen(r);
    assert_int_equal(r->found.count, 2);
    rig_free(r);
}

static void
open__says_key_when_sealed_by_another_key(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_open(r);
    append_meta(r, "one");
    rig_close(r);
    r->config.key[31] ^= 1;
    rig_open_after(r, 0);
    assert_int_equal(r->open_err, C2_E_KEY);
    r->config.key[31] ^= 1;
    rig_open(r);
    assert_int_equal(r->found.count, 1);
    rig_free(r);
}

static void
open__says_version_when_newer(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_open(r);
    append_meta(r, "one");
    rig_close(r);
    struct c2_buf b = segment_read(r, 1);
    for (size_t copy = 0; copy <= JOURNAL_HEADER_COPY; copy += JOURNAL_HEADER_COPY) {
        uint8_t hash[32];
        b.data[copy + 8] = 2;
        c2_sha256(c2_slice(b.data + copy, 64), hash);
        memcpy(b.data + copy + 64, hash, 8);
    }
    segment_write(r, 1, b.data, b.len);
    c2_buf_done(&b);
    rig_open_after(r, 0);
    assert_int_equal(r->open_err, C2_E_VERSION);
    rig_free(r);
}

static void
open__refuses_a_segment_under_another_name(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_open(r);
    append_meta(r, "one");
    rig_close(r);
    struct c2_buf b = segment_read(r, 1);
    segment_write(r, 9, b.data, b.len);
    c2_buf_done(&b);
    rig_open(r);
    assert_int_equal(r->found.count, 1); /* and not twice */
    assert_int_equal(r->found.replay.damaged_groups, 1);
    rig_free(r);
}

static enum c2_err
fail_verb(void *arg, const struct c2_disk_req *q)
{
    const struct c2_disk_req *want = arg;
    return q->verb == want->verb ? want->err : C2_E_OK;
}

static void
open__fails_when_the_disk_does_and_changes_nothing(void **state)
{
    (void)state;
    static const enum c2_disk_verb verbs[] = { C2_DISK_MKDIR, C2_DISK_LIST,  C2_DISK_OPEN,
                                               C2_DISK_STAT,  C2_DISK_PREAD, C2_DISK_TRUNCATE,
                                               C2_DISK_SYNC };
    struct rig *r = rig_new();
    rig_open(r);
    append_meta(r, "one");
    append_meta(r, "two");
    rig_close(r);
    struct c2_buf whole = segment_read(r, 1);
    for (size_t i = 0; i < C2_ARRAY_LEN(verbs); i++) {
        struct c2_disk_req want = { .verb = verbs[i], .err = C2_E_IO };
        segment_write(r, 1, whole.data, whole.len - 20);
        test_env_set_disk_hook(r->env, fail_verb, &want);
        rig_open_after(r, 0);
        assert_int_equal(r->open_err, C2_E_IO);
        assert_non_null(strstr(r->open_error, r->config.dir));
        test_env_set_disk_hook(r->env, NULL, NULL);
        test_env_run_idle(r->env);
        rig_open(r);
        assert_int_equal(r->found.count, 1);
        rig_close(r);
    }
    c2_buf_done(&whole);
    rig_free(r);
}

/* ---- segments, trim, holds ----------------------------------------------------------------- */

static void
trim__frees_segments_whose_pieces_nobody_holds(void **state)
{
    (void)state;
    enum { N = 6 };
    struct rig *r = rig_new();
    uint8_t *bytes = c2_alloc(JOURNAL_PIECE_MAX);
    struct write w[N];
    fill(bytes, JOURNAL_PIECE_MAX, 2);
    r->config.segment_size = 2u << 20; /* one such group each */
    rig_open(r);
    for (size_t i = 0; i < N; i++) {
        write_init(&w[i], "x");
        w[i].pieces[0] = c2_slice(bytes, JOURNAL_PIECE_MAX);
        w[i].a.npieces = 1;
        write_start(r, &w[i]);
        test_env_run_until(r->env, &w[i].done);
        assert_int_equal(w[i].a.locs[0].segment, i + 1);
    }
    journal_trim(r->journal, 4);
    test_env_run_idle(r->env);
    assert_true(segment_exists(r, 1)); /* held */
    journal_unhold(r->journal, &w[0].a.locs[0]);
    journal_hold(r->journal, &w[1].a.locs[0]);
    journal_unhold(r->journal, &w[1].a.locs[0]);
    journal_unhold(r->journal, &w[2].a.locs[0]);
    journal_unhold(r->journal, &w[4].a.locs[0]); /* not trimmed yet */
    test_env_run_idle(r->env);
    assert_false(segment_exists(r, 1));
    assert_true(segment_exists(r, 2));
    assert_false(segment_exists(r, 3));
    assert_true(segment_exists(r, 5));
    assert_piece(r, w[1].a.locs[0], bytes, JOURNAL_PIECE_MAX);
    uint64_t used = stats(r).used_bytes;
    assert_true(used > 4u << 20 && used < 5u << 20);
    journal_trim(r->journal, 5);
    test_env_run_idle(r->env);
    assert_false(segment_exists(r, 5));
    struct c2_blob *data;
    assert_int_equal(read_piece(r, w[4].a.locs[0], &data), C2_E_NOT_FOUND);
    assert_null(data);
    rig_close(r);
    rig_open_after(r, 5); /* out of order: nothing is missing */
    assert_int_equal(r->found.count, 1);
    assert_int_equal(r->found.replay.damaged_groups, 0);
    for (size_t i = 0; i < N; i++)
        write_free(&w[i]);
    c2_free(bytes);
    rig_free(r);
}

static void
trim__keeps_a_segment_whose_piece_is_being_read(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    uint8_t *bytes = c2_alloc(JOURNAL_PIECE_MAX);
    struct write w;
    fill(bytes, JOURNAL_PIECE_MAX, 2);
    r->config.segment_size = 1u << 20;
    rig_open(r);
    write_init(&w, "x");
    w.pieces[0] = c2_slice(bytes, JOURNAL_PIECE_MAX);
    w.a.npieces = 1;
    write_start(r, &w);
    test_env_run_until(r->env, &w.done);
    struct reading x = { .r = { .loc = w.a.locs[0], .done = read_done } };
    journal_read_start(r->journal, &x.r);
    journal_unhold(r->journal, &w.a.locs[0]);
    journal_trim(r->journal, 1);
    test_env_run_until(r->env, &x.done);
    assert_int_equal(x.r.err, C2_E_OK);
    assert_memory_equal(x.r.data->data, bytes, JOURNAL_PIECE_MAX);
    test_env_run_idle(r->env);
    assert_false(segment_exists(r, 1));
    c2_blob_unref(x.r.data);
    write_free(&w);
    c2_free(bytes);
    rig_free(r);
}

static void
replayed_pieces__hold_their_segment(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    uint8_t bytes[10];
    fill(bytes, sizeof bytes, 2);
    rig_open(r);
    append(r, "x", c2_slice(bytes, sizeof bytes));
    rig_reopen(r);
    journal_trim(r->journal, 1);
    test_env_run_idle(r->env);
    assert_piece(r, r->found.locs[0], bytes, sizeof bytes);
    journal_unhold(r->journal, &r->found.locs[0]);
    test_env_run_idle(r->env);
    assert_false(segment_exists(r, 1));
    assert_int_equal(stats(r).used_bytes, 0);
    rig_free(r);
}

static void
close__of_an_empty_backlog_leaves_no_file(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_open(r);
    append_meta(r, "x");
    append_meta(r, "y");
    journal_trim(r->journal, 2);
    assert_int_equal(stats(r).oldest_ns, 0);
    rig_close(r);
    assert_false(segment_exists(r, 1));
    rig_free(r);
}

static void
stats__tell_the_age_of_the_oldest_untrimmed_group(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_open(r);
    uint64_t start_ns = c2_now_ns(test_env_env(r->env));
    append_meta(r, "a");
    test_env_run_for(r->env, 3 * C2_NS_PER_S);
    append_meta(r, "b");
    assert_int_equal(stats(r).oldest_ns, start_ns);
    journal_trim(r->journal, 1);
    assert_int_equal(stats(r).oldest_ns, start_ns + 3 * C2_NS_PER_S);
    rig_reopen(r);
    assert_true(stats(r).oldest_ns > 0);
    rig_free(r);
}

static void
read__of_damaged_bytes_is_an_error(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    uint8_t bytes[100];
    struct c2_blob *data;
    fill(bytes, sizeof bytes, 2);
    rig_open(r);
    append(r, "x", c2_slice(bytes, sizeof bytes));
    rig_reopen(r);
    struct journal_loc loc = r->found.locs[0];
    segment_flip(r, 1, (size_t)loc.offset + JOURNAL_FRAME_HEAD + 50);
    assert_int_equal(read_piece(r, loc, &data), C2_E_DAMAGED);
    segment_flip(r, 1, (size_t)loc.offset + JOURNAL_FRAME_HEAD + 50);
    assert_piece(r, loc, bytes, sizeof bytes);
    loc.len++;
    assert_int_equal(read_piece(r, loc, &data), C2_E_DAMAGED);
    loc.len--;
    loc.offset += 16;
    assert_int_equal(read_piece(r, loc, &data), C2_E_DAMAGED);
    loc.offset = 1ull << 40;
    assert_int_equal(read_piece(r, loc, &data), C2_E_DAMAGED);
    loc.segment = 99;
    assert_int_equal(read_piece(r, loc, &data), C2_E_NOT_FOUND);
    rig_free(r);
}

static void
loc__survives_encoding(void **state)
{
    (void)state;
    struct journal_loc l = { .segment = 0x1122334455667788, .offset = 1ull << 40, .len = 77 };
    struct c2_buf b = { 0 };
    journal_loc_encode(&l, &b);
    assert_int_equal(b.len, 20);
    struct c2_rd r = c2_rd_init(c2_buf_slice(&b));
    struct journal_loc m = journal_loc_decode(&r);
    assert_int_equal(c2_rd_finish(&r), C2_E_OK);
    assert_int_equal(m.segment, l.segment);
    assert_int_equal(m.offset, l.offset);
    assert_int_equal(m.len, l.len);
    c2_buf_done(&b);
}

/* ---- out of space, errors ------------------------------------------------------------------ */

static void
append__beyond_size_max_is_refused_until_space_returns(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    r->config.size_max = 3u << 20;
    rig_open(r);
    uint64_t last = 0;
    unsigned count = 0;
    c2_mark_reset();
    for (; append_fails(r, 512u << 10) == C2_E_OK; count++)
        last = stats(r).last_seq;
    assert_int_equal(count, 5);
    assert_int_equal(c2_mark_count("journal: size_max reached"), 1);
    assert_true(stats(r).used_bytes <= 3u << 20);
    assert_int_equal(stats(r).err, C2_E_OK);
    assert_int_equal(append_fails(r, 100), C2_E_OK); /* a small one has room */
    rig_close(r);
    rig_open_after(r, last);
    assert_int_equal(r->found.count, 1);
    assert_int_equal(r->found.replay.damaged_groups, 0);
    journal_unhold(r->journal, &r->found.locs[0]);
    journal_trim(r->journal, r->found.seqs[0]);
    test_env_run_idle(r->env);
    assert_int_equal(append_fails(r, 512u << 10), C2_E_OK);
    rig_free(r);
}

static void
append__replaces_a_committed_segment_that_is_in_the_way(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    r->config.size_max = 200u << 10;
    rig_open(r);
    c2_mark_reset();
    for (int i = 0; i < 20; i++) {
        struct write w;
        uint8_t bytes[60000] = { 1 };
        write_init(&w, "x");
        w.pieces[0] = c2_slice(bytes, sizeof bytes);
        w.a.npieces = 1;
        write_start(r, &w);
        test_env_run_until(r->env, &w.done);
        assert_int_equal(w.a.err, C2_E_OK);
        journal_unhold(r->journal, &w.a.locs[0]);
        journal_trim(r->journal, w.a.seq);
        write_free(&w);
    }
    assert_true(c2_mark_count("journal: committed segment gives up its place") > 3);
    assert_true(stats(r).used_bytes <= 200u << 10);
    rig_free(r);
}

/* A disk that runs full: writes half of what it is given and says so. */
struct full_disk {
    unsigned refuse; /* how many writes from now on */
    enum c2_err err;
};

static enum c2_err
half_write(void *arg, const struct c2_disk_req *q)
{
    struct full_disk *d = arg;
    if (q->verb != C2_DISK_PWRITE || d->refuse == 0)
        return C2_E_OK;
    d->refuse--;
    size_t half = q->iov[0].len / 2;
    assert_int_equal(pwrite(q->file, q->iov[0].data, half, (off_t)q->offset), half);
    return d->err;
}

static void
append__on_a_full_disk_fails_with_all_that_is_outstanding_and_recovers(void **state)
{
    (void)state;
    enum { N = 3 };
    struct rig *r = rig_new();
    struct full_disk disk = { .refuse = 1, .err = C2_E_NO_SPACE };
    struct write w[N];
    uint8_t *bytes = c2_alloc(JOURNAL_PIECE_MAX);
    fill(bytes, JOURNAL_PIECE_MAX, 4);
    rig_open(r);
    append_meta(r, "good");
    uint64_t size = stats(r).used_bytes;
    test_env_set_disk_hook(r->env, half_write, &disk);
    c2_mark_reset();
    for (size_t i = 0; i < N; i++) { /* large: sealed while the one before is written */
        write_init(&w[i], "outstanding");
        for (size_t k = 0; k < 4; k++)
            w[i].pieces[k] = c2_slice(bytes, JOURNAL_PIECE_MAX);
        w[i].a.npieces = 4;
        w[i].a.sync = i == 1;
        write_start(r, &w[i]);
    }
    struct sync s = { .s.done = sync_done };
    journal_sync_start(r->journal, &s.s);
    for (size_t i = 0; i < N; i++) {
        test_env_run_until(r->env, &w[i].done);
        assert_int_equal(w[i].a.err, C2_E_NO_SPACE);
        assert_null(w[i].a.locs);
    }
    test_env_run_until(r->env, &s.done);
    assert_int_equal(s.s.err, C2_E_OK); /* what was accepted is durable */
    assert_int_equal(c2_mark_count("journal: half-written tail is cut"), 1);
    assert_int_equal(stats(r).used_bytes, size);
    assert_int_equal(stats(r).err, C2_E_OK);
    struct c2_buf file = segment_read(r, 1);
    assert_int_equal(file.len, size);
    c2_buf_done(&file);
    append(r, "after", c2_slice(bytes, 1000));
    rig_reopen(r);
    assert_int_equal(r->found.count, 2);
    assert_string_equal(r->found.metas[1], "after");
    assert_int_equal(r->found.replay.damaged_groups, 0);
    assert_piece(r, r->found.locs[1], bytes, 1000);
    c2_free(bytes);
    rig_free(r);
}

static void
append__first_ever_on_a_full_disk_recovers(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    struct full_disk disk = { .refuse = 2, .err = C2_E_QUOTA };
    rig_open(r);
    test_env_set_disk_hook(r->env, half_write, &disk);
    assert_int_equal(append_fails(r, 10), C2_E_NO_SPACE);
    assert_int_equal(append_fails(r, 10), C2_E_NO_SPACE);
    assert_int_equal(append_fails(r, 10), C2_E_OK);
    rig_reopen(r);
    assert_int_equal(r->found.count, 1);
    assert_int_equal(r->found.replay.damaged_groups, 0);
    rig_free(r);
}

static void
append__fails_when_no_segment_can_be_made(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    struct c2_disk_req want = { .verb = C2_DISK_OPEN, .err = C2_E_NO_SPACE };
    rig_open(r);
    test_env_set_disk_hook(r->env, fail_verb, &want);
    assert_int_equal(append_fails(r, 10), C2_E_NO_SPACE);
    test_env_set_disk_hook(r->env, NULL, NULL);
    assert_int_equal(append_fails(r, 10), C2_E_OK);
    rig_reopen(r);
    want.err = C2_E_IO;
    test_env_set_disk_hook(r->env, fail_verb, &want);
    assert_int_equal(append_fails(r, 10), C2_E_IO);
    test_env_set_disk_hook(r->env, NULL, NULL);
    assert_int_equal(append_fails(r, 10), C2_E_IO); /* sticky */
    assert_int_equal(stats(r).err, C2_E_IO);
    rig_free(r);
}

static void
append__after_an_io_error_fails_for_ever(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    struct full_disk disk = { .refuse = 1, .err = C2_E_IO };
    rig_open(r);
    append_meta(r, "good");
    test_env_set_disk_hook(r->env, half_write, &disk);
    assert_int_equal(append_fails(r, 10), C2_E_IO);
    assert_int_equal(append_fails(r, 10), C2_E_IO);
    assert_int_equal(sync_all(r), C2_E_IO);
    test_env_set_disk_hook(r->env, NULL, NULL);
    rig_reopen(r);
    assert_int_equal(r->found.count, 1);
    assert_int_equal(append_fails(r, 10), C2_E_OK);
    rig_free(r);
}

static void
append__fails_for_ever_when_the_tail_cannot_be_cut(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_open(r);
    append_meta(r, "good");
    struct c2_disk_req want = { .verb = C2_DISK_PWRITE, .err = C2_E_NO_SPACE };
    test_env_set_disk_hook(r->env, fail_verb, &want);
    struct write w;
    write_init(&w, "x");
    write_start(r, &w);
    while (test_env_disk_count(r->env, C2_DISK_PWRITE) < 2)
        assert_true(test_env_step(r->env));
    want.verb = C2_DISK_TRUNCATE;
    want.err = C2_E_IO;
    test_env_run_until(r->env, &w.done);
    assert_int_equal(w.a.err, C2_E_IO);
    test_env_set_disk_hook(r->env, NULL, NULL);
    assert_int_equal(append_fails(r, 10), C2_E_IO);
    rig_free(r);
}

static void
sync__failure_is_final_and_never_tried_again(void **state)
{
    (void)state;
    static const enum c2_disk_verb verbs[] = { C2_DISK_SYNC, C2_DISK_SYNC_DIR };
    for (size_t i = 0; i < C2_ARRAY_LEN(verbs); i++) {
        struct rig *r = rig_new();
        struct c2_disk_req want = { .verb = verbs[i], .err = C2_E_IO };
        struct write w;
        rig_open(r);
        test_env_set_disk_hook(r->env, fail_verb, &want);
        write_init(&w, "x");
        w.a.sync = true;
        write_start(r, &w);
        test_env_run_until(r->env, &w.done);
        assert_int_equal(w.a.err, C2_E_IO);
        assert_null(w.a.locs);
        test_env_set_disk_hook(r->env, NULL, NULL);
        uint64_t tries = test_env_disk_count(r->env, verbs[i]);
        assert_int_equal(sync_all(r), C2_E_IO);
        assert_int_equal(append_fails(r, 10), C2_E_IO);
        assert_int_equal(test_env_disk_count(r->env, verbs[i]), tries);
        assert_int_equal(stats(r).synced_seq, 0);
        rig_free(r);
    }
}

/* ---- kill -9 ------------------------------------------------------------------------------- */

/* Appends until killed and tells each completed sequence number. */
C2_NORETURN static void
append_for_ever(struct rig *r, int out)
{
    enum { DEPTH = 5 };
    static struct write w[DEPTH];
    static uint8_t bytes[100000];
    for (uint32_t round = 0;; round++) {
        for (size_t i = 0; i < DEPTH; i++) {
            char name[32];
            snprintf(name, sizeof name, "group %u", round * DEPTH + (unsigned)i + 1);
            write_init(&w[i], name);
            w[i].pieces[0] = c2_slice(bytes, (round * 7919u + i * 31) % sizeof bytes);
            w[i].a.npieces = round % 3 == 0 ? 0 : 1;
            w[i].a.sync = i == 2;
            write_start(r, &w[i]);
        }
        for (size_t i = 0; i < DEPTH; i++) {
            test_env_run_until(r->env, &w[i].done);
            if (w[i].a.err != C2_E_OK ||
                write(out, &w[i].a.seq, sizeof w[i].a.seq) != sizeof w[i].a.seq)
                _exit(1);
            write_free(&w[i]);
        }
    }
}

static void
append__completed_survives_kill_9(void **state)
{
    (void)state;
    for (uint64_t kill_after = 1; kill_after < 400; kill_after = kill_after * 2 + 1) {
        struct rig *r = rig_new();
        int fds[2];
        uint64_t seq = 0, last = 0;
        r->config.segment_size = 4u << 20;
        rig_open(r);
        assert_int_equal(pipe(fds), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            close(fds[0]);
            append_for_ever(r, fds[1]);
        }
        close(fds[1]);
        while (last < kill_after && read(fds[0], &seq, sizeof seq) == sizeof seq)
            last = seq;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        while (read(fds[0], &seq, sizeof seq) == sizeof seq)
            last = seq;
        close(fds[0]);
        rig_close(r);
        rig_open(r);
        assert_true(last >= kill_after);
        assert_true(r->found.count >= last);
        for (uint64_t i = 0; i < r->found.count; i++) {
            char name[32];
            snprintf(name, sizeof name, "group %u", (unsigned)i + 1);
            assert_int_equal(r->found.seqs[i], i + 1);
            assert_string_equal(r->found.metas[i], name);
        }
        assert_int_equal(r->found.replay.damaged_groups, 0);
        rig_free(r);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open__makes_an_empty_journal),
        cmocka_unit_test(append__is_replayed_in_order_with_its_pieces),
        cmocka_unit_test(append__of_a_large_group_goes_through_the_pool),
        cmocka_unit_test(append__small_needs_one_disk_request),
        cmocka_unit_test(append__many_at_once_share_one_write_and_one_sync),
        cmocka_unit_test(sync__covers_everything_appended_before),
        cmocka_unit_test(sync__covers_what_an_earlier_process_wrote),
        cmocka_unit_test(open__skips_committed_groups_and_frees_their_segment),
        cmocka_unit_test(open__starts_after_the_committed_number_of_an_empty_journal),
        cmocka_unit_test(open__returns_the_error_of_the_group_callback),
        cmocka_unit_test(open__cuts_a_torn_tail_at_every_byte),
        cmocka_unit_test(open__goes_on_after_a_torn_tail_without_calling_it_damage),
        cmocka_unit_test(open__reports_every_bit_flip_in_the_middle_and_delivers_the_rest),
        cmocka_unit_test(open__reports_a_missing_segment),
        cmocka_unit_test(open__reports_a_missing_first_segment),
        cmocka_unit_test(open__uses_the_second_copy_of_a_damaged_header),
        cmocka_unit_test(open__fails_as_damaged_when_nothing_can_be_read_and_changes_nothing),
        cmocka_unit_test(open__sets_an_unreadable_segment_aside),
        cmocka_unit_test(open__says_key_when_sealed_by_another_key),
        cmocka_unit_test(open__says_version_when_newer),
        cmocka_unit_test(open__refuses_a_segment_under_another_name),
        cmocka_unit_test(open__fails_when_the_disk_does_and_changes_nothing),
        cmocka_unit_test(trim__frees_segments_whose_pieces_nobody_holds),
        cmocka_unit_test(trim__keeps_a_segment_whose_piece_is_being_read),
        cmocka_unit_test(replayed_pieces__hold_their_segment),
        cmocka_unit_test(close__of_an_empty_backlog_leaves_no_file),
        cmocka_unit_test(stats__tell_the_age_of_the_oldest_untrimmed_group),
        cmocka_unit_test(read__of_damaged_bytes_is_an_error),
        cmocka_unit_test(loc__survives_encoding),
        cmocka_unit_test(append__beyond_size_max_is_refused_until_space_returns),
        cmocka_unit_test(append__replaces_a_committed_segment_that_is_in_the_way),
        cmocka_unit_test(append__on_a_full_disk_fails_with_all_that_is_outstanding_and_recovers),
        cmocka_unit_test(append__first_ever_on_a_full_disk_recovers),
        cmocka_unit_test(append__fails_when_no_segment_can_be_made),
        cmocka_unit_test(append__after_an_io_error_fails_for_ever),
        cmocka_unit_test(append__fails_for_ever_when_the_tail_cannot_be_cut),
        cmocka_unit_test(sync__failure_is_final_and_never_tried_again),
        cmocka_unit_test(append__completed_survives_kill_9),
    };
    if (c2_crypto_init() != C2_E_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
