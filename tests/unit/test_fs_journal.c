/* SPDX-License-Identifier: MIT */
#include "tests/lib/journal_rig.h"

#include "base/alloc.h"
#include "base/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- append and replay ----------------------------------------------------------------------- */

static void
open__makes_an_empty_journal(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    jr_open(r);
    assert_int_equal(r->found.count, 0);
    assert_int_equal(jr_stats(r).used_bytes, 0);
    assert_int_equal(jr_stats(r).last_seq, 0);
    jr_reopen(r);
    assert_int_equal(r->found.count, 0);
    jr_free(r);
}

static void
append__is_replayed_in_order_with_its_pieces(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    uint8_t bytes[3000];
    jr_fill(bytes, sizeof bytes, 3);
    jr_open(r);
    assert_int_equal(jr_append(r, "one", c2_slice(bytes, 3000)), 1);
    assert_int_equal(jr_append_meta(r, "two"), 2);
    assert_int_equal(jr_append(r, "", c2_slice(bytes, 1)), 3);
    assert_int_equal(jr_append(r, "four", c2_slice(bytes, 0)), 4);
    jr_reopen(r);
    assert_int_equal(r->found.count, 4);
    assert_string_equal(r->found.metas[0], "one");
    assert_string_equal(r->found.metas[1], "two");
    assert_string_equal(r->found.metas[2], "");
    assert_string_equal(r->found.metas[3], "four");
    assert_int_equal(r->found.replay.groups, 4);
    assert_int_equal(r->found.replay.bytes, 3 + 3000 + 3 + 0 + 1 + 4);
    assert_int_equal(r->found.replay.torn_bytes, 0);
    assert_int_equal(r->found.replay.damaged_groups, 0);
    jr_assert_piece(r, r->found.locs[0], bytes, 3000);
    jr_assert_piece(r, r->found.locs[2], bytes, 1);
    jr_assert_piece(r, r->found.locs[3], bytes, 0);
    assert_int_equal(jr_append_meta(r, "five"), 5);
    jr_reopen(r);
    assert_int_equal(r->found.count, 5);
    assert_int_equal(r->found.replay.damaged_groups, 0);
    jr_free(r);
}

static void
append__of_a_large_group_goes_through_the_pool(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    struct jr_write w;
    uint8_t *bytes = c2_alloc(JOURNAL_PIECE_MAX);
    jr_fill(bytes, JOURNAL_PIECE_MAX, 9);
    jr_open(r);
    jr_write_init(&w, "large");
    for (size_t i = 0; i < 4; i++)
        w.pieces[i] = c2_slice(bytes, JOURNAL_PIECE_MAX - i);
    w.a.npieces = 4;
    jr_write_start(r, &w);
    test_env_run_until(r->env, &w.done);
    assert_int_equal(w.a.err, C2_E_OK);
    for (size_t i = 0; i < 4; i++)
        jr_assert_piece(r, w.a.locs[i], bytes, JOURNAL_PIECE_MAX - i);
    jr_write_free(&w);
    jr_reopen(r);
    assert_int_equal(r->found.count, 1);
    assert_int_equal(r->found.nlocs[0], 4);
    jr_assert_piece(r, r->found.locs[0], bytes, JOURNAL_PIECE_MAX);
    c2_free(bytes);
    jr_free(r);
}

/* Larger than what replay reads at a time. */
static void
append__of_much_metadata_is_replayed(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    size_t len = 6u << 20;
    uint8_t *meta = c2_alloc(len);
    jr_fill(meta, len, 4);
    jr_open(r);
    for (unsigned k = 0; k < 3; k++) {
        struct jr_write w;
        jr_write_init(&w, "");
        w.a.meta = c2_slice(meta, len);
        jr_write_start(r, &w);
        test_env_run_until(r->env, &w.done);
        assert_int_equal(w.a.err, C2_E_OK);
        jr_write_free(&w);
    }
    jr_append_meta(r, "small");
    jr_reopen(r);
    assert_int_equal(r->found.count, 4);
    assert_int_equal(r->found.replay.damaged_groups, 0);
    assert_int_equal(r->found.replay.torn_bytes, 0);
    c2_free(meta);
    jr_free(r);
}

static void
append__small_needs_one_disk_request(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    jr_open(r);
    jr_append_meta(r, "first makes the segment");
    uint64_t before = test_env_disk_count(r->env, C2_DISK_PWRITE);
    assert_int_equal(test_env_disk_count(r->env, C2_DISK_SYNC), 1); /* of the header */
    jr_append_meta(r, "second");
    assert_int_equal(test_env_disk_count(r->env, C2_DISK_PWRITE), before + 1);
    assert_int_equal(test_env_disk_count(r->env, C2_DISK_SYNC), 1);
    assert_int_equal(test_env_disk_count(r->env, C2_DISK_OPEN), 1);
    jr_free(r);
}

static void
append__many_at_once_share_one_write_and_one_sync(void **state)
{
    (void)state;
    enum { N = 200 };
    struct journal_rig *r = jr_new();
    struct jr_write *w = c2_calloc(N, sizeof *w);
    jr_open(r);
    jr_append_meta(r, "makes the segment");
    uint64_t writes = test_env_disk_count(r->env, C2_DISK_PWRITE);
    uint64_t syncs = test_env_disk_count(r->env, C2_DISK_SYNC);
    for (size_t i = 0; i < N; i++) {
        char name[32];
        snprintf(name, sizeof name, "%zu", i);
        jr_write_init(&w[i], name);
        w[i].a.sync = true;
        jr_write_start(r, &w[i]);
        assert_int_equal(w[i].a.seq, i + 2);
    }
    for (size_t i = 0; i < N; i++) {
        test_env_run_until(r->env, &w[i].done);
        assert_int_equal(w[i].a.err, C2_E_OK);
        jr_write_free(&w[i]);
    }
    assert_int_equal(test_env_disk_count(r->env, C2_DISK_PWRITE), writes + 1);
    assert_int_equal(test_env_disk_count(r->env, C2_DISK_SYNC), syncs + 1);
    assert_int_equal(test_env_disk_count(r->env, C2_DISK_SYNC_DIR), 1);
    assert_int_equal(jr_stats(r).synced_seq, N + 1);
    jr_reopen(r);
    assert_int_equal(r->found.count, N + 1);
    assert_string_equal(r->found.metas[N], "199");
    c2_free(w);
    jr_free(r);
}

static void
sync__covers_everything_appended_before(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    jr_open(r);
    assert_int_equal(jr_sync_all(r), C2_E_OK); /* nothing yet */
    struct jr_write w;
    jr_write_init(&w, "x");
    jr_write_start(r, &w);
    assert_int_equal(jr_sync_all(r), C2_E_OK);
    assert_true(w.done);
    assert_int_equal(jr_stats(r).synced_seq, 1);
    jr_write_free(&w);
    uint64_t syncs = test_env_disk_count(r->env, C2_DISK_SYNC);
    assert_int_equal(jr_sync_all(r), C2_E_OK);
    assert_int_equal(test_env_disk_count(r->env, C2_DISK_SYNC), syncs); /* nothing new */
    jr_free(r);
}

static void
sync__covers_what_an_earlier_process_wrote(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    jr_open(r);
    jr_append_meta(r, "x");
    jr_reopen(r);
    assert_int_equal(jr_stats(r).synced_seq, 0);
    uint64_t syncs = test_env_disk_count(r->env, C2_DISK_SYNC);
    assert_int_equal(jr_sync_all(r), C2_E_OK);
    assert_int_equal(test_env_disk_count(r->env, C2_DISK_SYNC), syncs + 1);
    jr_free(r);
}

static void
open__skips_committed_groups_and_the_first_trim_frees_them(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    jr_open(r);
    jr_append_meta(r, "one");
    jr_append_meta(r, "two");
    jr_append_meta(r, "three");
    jr_close(r);
    jr_open_after(r, 2);
    assert_int_equal(r->open_err, C2_E_OK);
    assert_int_equal(r->found.count, 1);
    assert_int_equal(r->found.seqs[0], 3);
    jr_close(r);
    jr_open_after(r, 3);
    test_env_run_ready(r->env);
    assert_int_equal(r->found.count, 0);
    assert_true(jr_segment_exists(r, 1)); /* later groups may name pieces in it */
    journal_trim(r->journal, 3);
    test_env_run_ready(r->env);
    assert_int_equal(jr_stats(r).used_bytes, 0);
    assert_false(jr_segment_exists(r, 1));
    assert_int_equal(jr_append_meta(r, "four"), 4);
    jr_close(r);
    jr_open_after(r, 3);
    assert_int_equal(r->found.count, 1);
    assert_int_equal(r->found.replay.damaged_groups, 0);
    jr_free(r);
}

static void
open__starts_after_the_committed_number_of_an_empty_journal(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    jr_open_after(r, 77);
    assert_int_equal(jr_append_meta(r, "x"), 78);
    jr_close(r);
    jr_open_after(r, 77);
    assert_int_equal(r->found.count, 1);
    assert_int_equal(r->found.replay.damaged_groups, 0);
    jr_free(r);
}

static void
open__returns_the_error_of_the_group_callback(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    jr_open(r);
    jr_append_meta(r, "x");
    jr_close(r);
    struct journal_open o = { .config = r->config, .replay = &r->found.replay };
    memset(&r->found, 0, sizeof r->found);
    r->found.replay.group = jr_group_found;
    r->found.answer = C2_E_PARSE;
    r->flag = false;
    o.done = jr_opened;
    o.priv = &r->flag;
    journal_open_start(test_env_env(r->env), &o);
    test_env_run_until(r->env, &r->flag);
    assert_int_equal(o.err, C2_E_PARSE);
    assert_null(o.journal);
    assert_non_null(strstr(o.error, "cannot be replayed"));
    c2_free(o.error);
    jr_free(r);
}

/* ---- torn and damaged ------------------------------------------------------------------------ */

static void
open__cuts_a_torn_tail_at_every_byte(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    uint8_t bytes[300];
    jr_fill(bytes, sizeof bytes, 1);
    jr_open(r);
    size_t ends[4] = { 0 };
    for (size_t i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof name, "g%zu", i + 1);
        jr_append(r, name, c2_slice(bytes, 100 * i + 1));
        ends[i] = (size_t)jr_stats(r).used_bytes;
    }
    jr_close(r);
    struct c2_buf whole = jr_segment_read(r, 1);
    for (size_t len = 0; len < whole.len; len++) {
        jr_segment_write(r, 1, whole.data, len);
        jr_open(r);
        size_t groups = 0;
        while (ends[groups] != 0 && ends[groups] <= len)
            groups++;
        assert_int_equal(r->found.count, groups);
        assert_int_equal(r->found.replay.damaged_groups, 0);
        size_t good = groups > 0                   ? ends[groups - 1]
                      : len >= JOURNAL_HEADER_AREA ? JOURNAL_HEADER_AREA
                                                   : 0;
        assert_int_equal(r->found.replay.torn_bytes, len - good);
        jr_close(r);
        jr_open(r); /* the cut is on disk */
        assert_int_equal(r->found.count, groups);
        assert_int_equal(r->found.replay.torn_bytes, 0);
        jr_close(r);
    }
    c2_buf_done(&whole);
    jr_free(r);
}

static void
open__goes_on_after_a_torn_tail_without_calling_it_damage(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    jr_open(r);
    jr_append_meta(r, "one");
    jr_append_meta(r, "two");
    jr_close(r);
    struct c2_buf whole = jr_segment_read(r, 1);
    jr_segment_write(r, 1, whole.data, whole.len - 5);
    c2_buf_done(&whole);
    jr_open(r);
    assert_int_equal(r->found.count, 1);
    assert_true(r->found.replay.torn_bytes > 0);
    assert_int_equal(jr_append_meta(r, "new two"), 3); /* 2 was seen: not given again */
    jr_reopen(r);
    assert_int_equal(r->found.count, 2);
    assert_string_equal(r->found.metas[1], "new two");
    assert_int_equal(r->found.replay.damaged_groups, 0);
    assert_int_equal(r->found.replay.torn_bytes, 0);
    jr_free(r);
}

static void
open__reports_every_bit_flip_in_the_middle_and_delivers_the_rest(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    uint8_t bytes[40];
    jr_fill(bytes, sizeof bytes, 5);
    jr_open(r);
    jr_append(r, "one", c2_slice(bytes, sizeof bytes));
    size_t from = (size_t)jr_stats(r).used_bytes;
    jr_append(r, "two", c2_slice(bytes, sizeof bytes));
    size_t to = (size_t)jr_stats(r).used_bytes;
    assert_int_equal(jr_sync_all(r), C2_E_OK); /* "three" will say so */
    jr_append(r, "three", c2_slice(bytes, sizeof bytes));
    jr_close(r);
    struct c2_buf whole = jr_segment_read(r, 1);
    size_t pieces = 0;
    for (size_t at = from; at < to; at++) {
        jr_segment_flip(r, 1, at);
        jr_open(r);
        bool padding = r->found.replay.damaged_groups == 0;
        if (padding) { /* nothing reads the zeros between frames */
            assert_int_equal(whole.data[at], 0);
            assert_int_equal(r->found.count, 3);
        } else {
            size_t last = r->found.count - 1;
            assert_int_equal(r->found.replay.damaged_groups, 1);
            assert_string_equal(r->found.metas[0], "one");
            assert_string_equal(r->found.metas[last], "three");
            assert_true(r->found.replay.damage[0] != '\0');
            assert_false(r->found.locs[0].damaged || r->found.locs[last].damaged);
            jr_assert_piece(r, r->found.locs[last], bytes, sizeof bytes);
            if (last == 2) { /* its data cannot be read, what it says can */
                pieces++;
                assert_string_equal(r->found.metas[1], "two");
                assert_true(r->found.locs[1].damaged);
            }
        }
        assert_int_equal(r->found.replay.torn_bytes, 0);
        jr_close(r);
        jr_segment_write(r, 1, whole.data, whole.len);
    }
    assert_true(pieces >= JOURNAL_FRAME_HEAD + sizeof bytes);
    c2_buf_done(&whole);
    jr_free(r);
}

/* A power cut keeps any of the writes since the last sync. */
static void
open__ends_the_log_before_a_group_that_was_never_durable(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    uint8_t bytes[40];
    jr_fill(bytes, sizeof bytes, 5);
    jr_open(r);
    jr_append_meta(r, "one");
    assert_int_equal(jr_sync_all(r), C2_E_OK);
    size_t from = (size_t)jr_stats(r).used_bytes;
    jr_append(r, "two", c2_slice(bytes, sizeof bytes));
    jr_append_meta(r, "three");
    jr_close(r);
    jr_segment_flip(r, 1, from + JOURNAL_FRAME_HEAD); /* data of "two" */
    jr_open(r);
    assert_int_equal(r->found.count, 1);
    assert_int_equal(r->found.replay.damaged_groups, 0);
    assert_true(r->found.replay.torn_bytes > 0);
    assert_int_equal(jr_append_meta(r, "four"), 4);
    assert_int_equal(jr_sync_all(r), C2_E_OK);
    jr_append_meta(r, "five");
    jr_reopen(r);
    assert_int_equal(r->found.count, 3);
    assert_string_equal(r->found.metas[1], "four");
    assert_int_equal(r->found.replay.damaged_groups, 0);
    jr_free(r);
}

/* The same over several segments: those behind the end go. */
static void
open__drops_segments_behind_the_end_of_the_log(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    r->config.segment_size = JOURNAL_HEADER_AREA + 400;
    jr_open(r);
    jr_append_meta(r, "one");
    assert_int_equal(jr_sync_all(r), C2_E_OK);
    size_t from = (size_t)jr_stats(r).used_bytes;
    for (size_t i = 0; i < 5; i++)
        jr_append_meta(r, "more");
    jr_close(r);
    assert_true(jr_segment_exists(r, 2));
    jr_segment_flip(r, 1, from + 2);
    jr_open(r);
    assert_int_equal(r->found.count, 1);
    assert_int_equal(r->found.replay.damaged_groups, 0);
    assert_false(jr_segment_exists(r, 2));
    jr_append_meta(r, "new");
    jr_reopen(r);
    assert_int_equal(r->found.count, 2);
    assert_string_equal(r->found.metas[1], "new");
    jr_free(r);
}

static void
open__reports_a_missing_segment(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    jr_open(r);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(jr_sync_all(r), C2_E_OK);
        jr_append_meta(r, "a");
        jr_append_meta(r, "b");
        jr_reopen(r); /* a new segment each time */
    }
    jr_close(r);
    char *path = jr_segment_path(r, 2);
    assert_int_equal(unlink(path), 0);
    c2_free(path);
    jr_open(r);
    assert_int_equal(r->found.count, 4);
    assert_int_equal(r->found.replay.damaged_groups, 2);
    assert_non_null(strstr(r->found.replay.damage, "groups 3 to 4"));
    jr_close(r);
    jr_open_after(r, 4); /* committed elsewhere: nothing is missing */
    assert_int_equal(r->found.count, 2);
    assert_int_equal(r->found.replay.damaged_groups, 0);
    jr_free(r);
}

static void
open__reports_a_missing_first_segment(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    jr_open(r);
    jr_append_meta(r, "a");
    jr_reopen(r);
    assert_int_equal(jr_sync_all(r), C2_E_OK);
    jr_append_meta(r, "b");
    jr_close(r);
    char *path = jr_segment_path(r, 1);
    assert_int_equal(unlink(path), 0);
    c2_free(path);
    jr_open(r);
    assert_int_equal(r->found.count, 1);
    assert_int_equal(r->found.replay.damaged_groups, 1);
    jr_free(r);
}

static void
open__uses_the_second_copy_of_a_damaged_header(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    jr_open(r);
    jr_append_meta(r, "one");
    jr_close(r);
    for (size_t at = 0; at < 88; at++) {
        jr_segment_flip(r, 1, at);
        jr_open(r);
        assert_int_equal(r->found.count, 1);
        jr_close(r);
        jr_segment_flip(r, 1, at);
    }
    jr_free(r);
}

static void
open__fails_as_damaged_when_nothing_can_be_read_and_changes_nothing(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    jr_open(r);
    jr_append_meta(r, "one");
    jr_close(r);
    jr_segment_flip(r, 1, 3);
    jr_segment_flip(r, 1, JOURNAL_HEADER_COPY + 3);
    for (int i = 0; i < 2; i++) {
        jr_open_after(r, 0);
        assert_int_equal(r->open_err, C2_E_DAMAGED);
        assert_non_null(strstr(r->open_error, r->config.dir));
    }
    jr_segment_flip(r, 1, 3);
    jr_open(r);
    assert_int_equal(r->found.count, 1);
    jr_free(r);
}

/* The header is durable before groups follow it: one with nothing behind it was never finished. */
static void
open__takes_an_unreadable_header_alone_for_torn(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    uint8_t zeros[JOURNAL_HEADER_AREA] = { 0 };
    jr_open(r);
    jr_append_meta(r, "one");
    jr_close(r);
    jr_segment_write(r, 1, zeros, sizeof zeros);
    jr_open(r);
    assert_int_equal(r->found.count, 0);
    assert_int_equal(r->found.replay.damaged_groups, 0);
    assert_int_equal(r->found.replay.torn_bytes, sizeof zeros);
    jr_append_meta(r, "two");
    jr_reopen(r);
    assert_int_equal(r->found.count, 1);
    jr_free(r);
}

static void
open__sets_an_unreadable_segment_aside(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    jr_open(r);
    jr_append_meta(r, "one");
    jr_reopen(r);
    jr_append_meta(r, "two");
    jr_close(r);
    jr_segment_flip(r, 2, 3);
    jr_segment_flip(r, 2, JOURNAL_HEADER_COPY + 3);
    jr_open(r);
    assert_int_equal(r->found.count, 1);
    assert_int_equal(r->found.replay.damaged_groups, 1);
    assert_false(jr_segment_exists(r, 2));
    jr_append_meta(r, "three");
    assert_true(jr_segment_exists(r, 3)); /* the number of the damaged one is not used again */
    jr_reopen(r);
    assert_int_equal(r->found.count, 2);
    jr_free(r);
}

static void
open__says_key_when_sealed_by_another_key(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    jr_open(r);
    jr_append_meta(r, "one");
    jr_close(r);
    r->config.key[31] ^= 1;
    jr_open_after(r, 0);
    assert_int_equal(r->open_err, C2_E_KEY);
    r->config.key[31] ^= 1;
    jr_open(r);
    assert_int_equal(r->found.count, 1);
    jr_free(r);
}

static void
open__says_version_when_newer(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    jr_open(r);
    jr_append_meta(r, "one");
    jr_close(r);
    struct c2_buf b = jr_segment_read(r, 1);
    for (size_t copy = 0; copy <= JOURNAL_HEADER_COPY; copy += JOURNAL_HEADER_COPY) {
        uint8_t hash[32];
        b.data[copy + 8] = 2;
        c2_sha256(c2_slice(b.data + copy, 64), hash);
        memcpy(b.data + copy + 64, hash, 8);
    }
    jr_segment_write(r, 1, b.data, b.len);
    c2_buf_done(&b);
    jr_open_after(r, 0);
    assert_int_equal(r->open_err, C2_E_VERSION);
    jr_free(r);
}

static void
open__refuses_a_segment_under_another_name(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    jr_open(r);
    jr_append_meta(r, "one");
    jr_close(r);
    struct c2_buf b = jr_segment_read(r, 1);
    jr_segment_write(r, 9, b.data, b.len);
    c2_buf_done(&b);
    jr_open(r);
    assert_int_equal(r->found.count, 1); /* and not twice */
    assert_int_equal(r->found.replay.damaged_groups, 1);
    jr_free(r);
}

static void
open__fails_when_the_disk_does_and_changes_nothing(void **state)
{
    (void)state;
    static const enum c2_disk_verb verbs[] = { C2_DISK_MKDIR, C2_DISK_LIST,  C2_DISK_OPEN,
                                               C2_DISK_STAT,  C2_DISK_PREAD, C2_DISK_TRUNCATE,
                                               C2_DISK_SYNC };
    struct journal_rig *r = jr_new();
    jr_open(r);
    jr_append_meta(r, "one");
    jr_append_meta(r, "two");
    jr_close(r);
    struct c2_buf whole = jr_segment_read(r, 1);
    for (size_t i = 0; i < C2_ARRAY_LEN(verbs); i++) {
        struct c2_disk_req want = { .verb = verbs[i], .err = C2_E_IO };
        jr_segment_write(r, 1, whole.data, whole.len - 20);
        test_env_set_disk_hook(r->env, jr_fail_verb, &want);
        jr_open_after(r, 0);
        assert_int_equal(r->open_err, C2_E_IO);
        assert_non_null(strstr(r->open_error, r->config.dir));
        test_env_set_disk_hook(r->env, NULL, NULL);
        test_env_run_idle(r->env);
        jr_open(r);
        assert_int_equal(r->found.count, 1);
        jr_close(r);
    }
    c2_buf_done(&whole);
    jr_free(r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open__makes_an_empty_journal),
        cmocka_unit_test(append__is_replayed_in_order_with_its_pieces),
        cmocka_unit_test(append__of_a_large_group_goes_through_the_pool),
        cmocka_unit_test(append__of_much_metadata_is_replayed),
        cmocka_unit_test(append__small_needs_one_disk_request),
        cmocka_unit_test(append__many_at_once_share_one_write_and_one_sync),
        cmocka_unit_test(sync__covers_everything_appended_before),
        cmocka_unit_test(sync__covers_what_an_earlier_process_wrote),
        cmocka_unit_test(open__skips_committed_groups_and_the_first_trim_frees_them),
        cmocka_unit_test(open__starts_after_the_committed_number_of_an_empty_journal),
        cmocka_unit_test(open__returns_the_error_of_the_group_callback),
        cmocka_unit_test(open__cuts_a_torn_tail_at_every_byte),
        cmocka_unit_test(open__goes_on_after_a_torn_tail_without_calling_it_damage),
        cmocka_unit_test(open__reports_every_bit_flip_in_the_middle_and_delivers_the_rest),
        cmocka_unit_test(open__ends_the_log_before_a_group_that_was_never_durable),
        cmocka_unit_test(open__drops_segments_behind_the_end_of_the_log),
        cmocka_unit_test(open__reports_a_missing_segment),
        cmocka_unit_test(open__reports_a_missing_first_segment),
        cmocka_unit_test(open__uses_the_second_copy_of_a_damaged_header),
        cmocka_unit_test(open__fails_as_damaged_when_nothing_can_be_read_and_changes_nothing),
        cmocka_unit_test(open__takes_an_unreadable_header_alone_for_torn),
        cmocka_unit_test(open__sets_an_unreadable_segment_aside),
        cmocka_unit_test(open__says_key_when_sealed_by_another_key),
        cmocka_unit_test(open__says_version_when_newer),
        cmocka_unit_test(open__refuses_a_segment_under_another_name),
        cmocka_unit_test(open__fails_when_the_disk_does_and_changes_nothing),
    };
    if (c2_crypto_init() != C2_E_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
