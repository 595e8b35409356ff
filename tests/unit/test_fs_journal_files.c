/* SPDX-License-Identifier: MIT */
#include "tests/lib/journal_rig.h"

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- segments, trim, holds ------------------------------------------------------------------- */

static void
trim__frees_segments_whose_pieces_nobody_holds(void **state)
{
    (void)state;
    enum { N = 6 };
    struct journal_rig *r = jr_new();
    uint8_t *bytes = c2_alloc(JOURNAL_PIECE_MAX);
    struct jr_write w[N];
    jr_fill(bytes, JOURNAL_PIECE_MAX, 2);
    r->config.segment_size = 2u << 20; /* one such group each */
    jr_open(r);
    for (size_t i = 0; i < N; i++) {
        jr_write_init(&w[i], "x");
        w[i].pieces[0] = c2_slice(bytes, JOURNAL_PIECE_MAX);
        w[i].a.npieces = 1;
        jr_write_start(r, &w[i]);
        test_env_run_until(r->env, &w[i].done);
        assert_int_equal(w[i].a.locs[0].segment, i + 1);
    }
    journal_trim(r->journal, 4);
    test_env_run_idle(r->env);
    assert_true(jr_segment_exists(r, 1)); /* held */
    journal_unhold(r->journal, &w[0].a.locs[0]);
    journal_hold(r->journal, &w[1].a.locs[0]);
    journal_unhold(r->journal, &w[1].a.locs[0]);
    journal_unhold(r->journal, &w[2].a.locs[0]);
    journal_unhold(r->journal, &w[4].a.locs[0]); /* not trimmed yet */
    test_env_run_idle(r->env);
    assert_false(jr_segment_exists(r, 1));
    assert_true(jr_segment_exists(r, 2));
    assert_false(jr_segment_exists(r, 3));
    assert_true(jr_segment_exists(r, 5));
    jr_assert_piece(r, w[1].a.locs[0], bytes, JOURNAL_PIECE_MAX);
    uint64_t used = jr_stats(r).used_bytes;
    assert_true(used > 4u << 20 && used < 5u << 20);
    journal_trim(r->journal, 5);
    test_env_run_idle(r->env);
    assert_false(jr_segment_exists(r, 5));
    struct c2_blob *data;
    assert_int_equal(jr_read_piece(r, w[4].a.locs[0], &data), C2_E_NOT_FOUND);
    assert_null(data);
    jr_close(r);
    jr_open_after(r, 5); /* out of order: nothing is missing */
    assert_int_equal(r->found.count, 1);
    assert_int_equal(r->found.replay.damaged_groups, 0);
    for (size_t i = 0; i < N; i++)
        jr_write_free(&w[i]);
    c2_free(bytes);
    jr_free(r);
}

static void
trim__keeps_a_segment_whose_piece_is_being_read(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    uint8_t *bytes = c2_alloc(JOURNAL_PIECE_MAX);
    struct jr_write w;
    jr_fill(bytes, JOURNAL_PIECE_MAX, 2);
    r->config.segment_size = 1u << 20;
    jr_open(r);
    jr_write_init(&w, "x");
    w.pieces[0] = c2_slice(bytes, JOURNAL_PIECE_MAX);
    w.a.npieces = 1;
    jr_write_start(r, &w);
    test_env_run_until(r->env, &w.done);
    struct jr_reading x = { .r = { .loc = w.a.locs[0], .done = jr_read_done } };
    journal_read_start(r->journal, &x.r);
    journal_unhold(r->journal, &w.a.locs[0]);
    journal_trim(r->journal, 1);
    test_env_run_until(r->env, &x.done);
    assert_int_equal(x.r.err, C2_E_OK);
    assert_memory_equal(x.r.data->data, bytes, JOURNAL_PIECE_MAX);
    test_env_run_idle(r->env);
    assert_false(jr_segment_exists(r, 1));
    c2_blob_unref(x.r.data);
    jr_write_free(&w);
    c2_free(bytes);
    jr_free(r);
}

static void
replayed_pieces__hold_their_segment(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    uint8_t bytes[10];
    jr_fill(bytes, sizeof bytes, 2);
    jr_open(r);
    jr_append(r, "x", c2_slice(bytes, sizeof bytes));
    jr_reopen(r);
    journal_trim(r->journal, 1);
    test_env_run_idle(r->env);
    jr_assert_piece(r, r->found.locs[0], bytes, sizeof bytes);
    journal_unhold(r->journal, &r->found.locs[0]);
    test_env_run_idle(r->env);
    assert_false(jr_segment_exists(r, 1));
    assert_int_equal(jr_stats(r).used_bytes, 0);
    jr_free(r);
}

static void
close__of_an_empty_backlog_leaves_no_file(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    jr_open(r);
    jr_append_meta(r, "x");
    jr_append_meta(r, "y");
    journal_trim(r->journal, 2);
    assert_int_equal(jr_stats(r).oldest_ns, 0);
    jr_close(r);
    assert_false(jr_segment_exists(r, 1));
    jr_free(r);
}

static void
stats__tell_the_age_of_the_oldest_untrimmed_group(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    jr_open(r);
    uint64_t start_ns = c2_now_ns(test_env_env(r->env));
    jr_append_meta(r, "a");
    test_env_run_for(r->env, 3 * C2_NS_PER_S);
    jr_append_meta(r, "b");
    assert_int_equal(jr_stats(r).oldest_ns, start_ns);
    journal_trim(r->journal, 1);
    assert_int_equal(jr_stats(r).oldest_ns, start_ns + 3 * C2_NS_PER_S);
    jr_reopen(r);
    assert_true(jr_stats(r).oldest_ns > 0);
    jr_free(r);
}

static void
read__of_damaged_bytes_is_an_error(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    uint8_t bytes[100];
    struct c2_blob *data;
    jr_fill(bytes, sizeof bytes, 2);
    jr_open(r);
    jr_append(r, "x", c2_slice(bytes, sizeof bytes));
    jr_reopen(r);
    struct journal_loc loc = r->found.locs[0];
    jr_segment_flip(r, 1, (size_t)loc.offset + JOURNAL_FRAME_HEAD + 50);
    assert_int_equal(jr_read_piece(r, loc, &data), C2_E_DAMAGED);
    jr_segment_flip(r, 1, (size_t)loc.offset + JOURNAL_FRAME_HEAD + 50);
    jr_assert_piece(r, loc, bytes, sizeof bytes);
    loc.len++;
    assert_int_equal(jr_read_piece(r, loc, &data), C2_E_DAMAGED);
    loc.len--;
    loc.offset += 16;
    assert_int_equal(jr_read_piece(r, loc, &data), C2_E_DAMAGED);
    loc.offset = 1ull << 40;
    assert_int_equal(jr_read_piece(r, loc, &data), C2_E_DAMAGED);
    loc.segment = 99;
    assert_int_equal(jr_read_piece(r, loc, &data), C2_E_NOT_FOUND);
    jr_free(r);
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

/* ---- out of space, errors -------------------------------------------------------------------- */

static void
append__beyond_size_max_is_refused_until_space_returns(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    r->config.size_max = 3u << 20;
    jr_open(r);
    uint64_t last = 0;
    unsigned count = 0;
    c2_mark_reset();
    for (; jr_append_fails(r, 512u << 10) == C2_E_OK; count++)
        last = jr_stats(r).last_seq;
    assert_int_equal(count, 5);
    assert_int_equal(c2_mark_count("journal: size_max reached"), 1);
    assert_true(jr_stats(r).used_bytes <= 3u << 20);
    assert_int_equal(jr_stats(r).err, C2_E_OK);
    assert_int_equal(jr_append_fails(r, 100), C2_E_OK); /* a small one has room */
    jr_close(r);
    jr_open_after(r, last);
    assert_int_equal(r->found.count, 1);
    assert_int_equal(r->found.replay.damaged_groups, 0);
    journal_unhold(r->journal, &r->found.locs[0]);
    journal_trim(r->journal, r->found.seqs[0]);
    test_env_run_idle(r->env);
    assert_int_equal(jr_append_fails(r, 512u << 10), C2_E_OK);
    jr_free(r);
}

static void
append__replaces_a_committed_segment_that_is_in_the_way(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    r->config.size_max = 200u << 10;
    jr_open(r);
    c2_mark_reset();
    for (int i = 0; i < 20; i++) {
        struct jr_write w;
        uint8_t bytes[60000] = { 1 };
        jr_write_init(&w, "x");
        w.pieces[0] = c2_slice(bytes, sizeof bytes);
        w.a.npieces = 1;
        jr_write_start(r, &w);
        test_env_run_until(r->env, &w.done);
        assert_int_equal(w.a.err, C2_E_OK);
        journal_unhold(r->journal, &w.a.locs[0]);
        journal_trim(r->journal, w.a.seq);
        jr_write_free(&w);
    }
    assert_true(c2_mark_count("journal: committed segment gives up its place") > 3);
    assert_true(jr_stats(r).used_bytes <= 200u << 10);
    jr_free(r);
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
    struct journal_rig *r = jr_new();
    struct full_disk disk = { .refuse = 1, .err = C2_E_NO_SPACE };
    struct jr_write w[N];
    uint8_t *bytes = c2_alloc(JOURNAL_PIECE_MAX);
    jr_fill(bytes, JOURNAL_PIECE_MAX, 4);
    jr_open(r);
    jr_append_meta(r, "good");
    uint64_t size = jr_stats(r).used_bytes;
    test_env_set_disk_hook(r->env, half_write, &disk);
    c2_mark_reset();
    for (size_t i = 0; i < N; i++) { /* large: sealed while the one before is written */
        jr_write_init(&w[i], "outstanding");
        for (size_t k = 0; k < 4; k++)
            w[i].pieces[k] = c2_slice(bytes, JOURNAL_PIECE_MAX);
        w[i].a.npieces = 4;
        w[i].a.sync = i == 1;
        jr_write_start(r, &w[i]);
    }
    struct jr_sync s = { .s.done = jr_sync_done };
    journal_sync_start(r->journal, &s.s);
    for (size_t i = 0; i < N; i++) {
        test_env_run_until(r->env, &w[i].done);
        assert_int_equal(w[i].a.err, C2_E_NO_SPACE);
        assert_null(w[i].a.locs);
    }
    test_env_run_until(r->env, &s.done);
    assert_int_equal(s.s.err, C2_E_OK); /* what was accepted is durable */
    assert_int_equal(c2_mark_count("journal: half-written tail is cut"), 1);
    assert_int_equal(jr_stats(r).used_bytes, size);
    assert_int_equal(jr_stats(r).err, C2_E_OK);
    struct c2_buf file = jr_segment_read(r, 1);
    assert_int_equal(file.len, size);
    c2_buf_done(&file);
    jr_append(r, "after", c2_slice(bytes, 1000));
    jr_reopen(r);
    assert_int_equal(r->found.count, 2);
    assert_string_equal(r->found.metas[1], "after");
    assert_int_equal(r->found.replay.damaged_groups, 0);
    jr_assert_piece(r, r->found.locs[1], bytes, 1000);
    c2_free(bytes);
    jr_free(r);
}

static void
append__first_ever_on_a_full_disk_recovers(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    struct full_disk disk = { .refuse = 2, .err = C2_E_QUOTA };
    jr_open(r);
    test_env_set_disk_hook(r->env, half_write, &disk);
    assert_int_equal(jr_append_fails(r, 10), C2_E_NO_SPACE);
    assert_int_equal(jr_append_fails(r, 10), C2_E_NO_SPACE);
    assert_int_equal(jr_append_fails(r, 10), C2_E_OK);
    jr_reopen(r);
    assert_int_equal(r->found.count, 1);
    assert_int_equal(r->found.replay.damaged_groups, 0);
    jr_free(r);
}

static void
append__fails_when_no_segment_can_be_made(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    struct c2_disk_req want = { .verb = C2_DISK_OPEN, .err = C2_E_NO_SPACE };
    jr_open(r);
    test_env_set_disk_hook(r->env, jr_fail_verb, &want);
    assert_int_equal(jr_append_fails(r, 10), C2_E_NO_SPACE);
    test_env_set_disk_hook(r->env, NULL, NULL);
    assert_int_equal(jr_append_fails(r, 10), C2_E_OK);
    jr_reopen(r);
    want.err = C2_E_IO;
    test_env_set_disk_hook(r->env, jr_fail_verb, &want);
    assert_int_equal(jr_append_fails(r, 10), C2_E_IO);
    test_env_set_disk_hook(r->env, NULL, NULL);
    assert_int_equal(jr_append_fails(r, 10), C2_E_IO); /* sticky */
    assert_int_equal(jr_stats(r).err, C2_E_IO);
    jr_free(r);
}

static void
append__after_an_io_error_fails_for_ever(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    struct full_disk disk = { .refuse = 1, .err = C2_E_IO };
    jr_open(r);
    jr_append_meta(r, "good");
    test_env_set_disk_hook(r->env, half_write, &disk);
    assert_int_equal(jr_append_fails(r, 10), C2_E_IO);
    assert_int_equal(jr_append_fails(r, 10), C2_E_IO);
    assert_int_equal(jr_sync_all(r), C2_E_IO);
    test_env_set_disk_hook(r->env, NULL, NULL);
    jr_reopen(r);
    assert_int_equal(r->found.count, 1);
    assert_int_equal(jr_append_fails(r, 10), C2_E_OK);
    jr_free(r);
}

static void
append__fails_for_ever_when_the_tail_cannot_be_cut(void **state)
{
    (void)state;
    struct journal_rig *r = jr_new();
    jr_open(r);
    jr_append_meta(r, "good");
    struct c2_disk_req want = { .verb = C2_DISK_PWRITE, .err = C2_E_NO_SPACE };
    test_env_set_disk_hook(r->env, jr_fail_verb, &want);
    uint64_t writes = test_env_disk_count(r->env, C2_DISK_PWRITE);
    struct jr_write w;
    jr_write_init(&w, "x");
    jr_write_start(r, &w);
    while (test_env_disk_count(r->env, C2_DISK_PWRITE) == writes)
        assert_true(test_env_step(r->env));
    want.verb = C2_DISK_TRUNCATE;
    want.err = C2_E_IO;
    test_env_run_until(r->env, &w.done);
    assert_int_equal(w.a.err, C2_E_IO);
    test_env_set_disk_hook(r->env, NULL, NULL);
    assert_int_equal(jr_append_fails(r, 10), C2_E_IO);
    jr_free(r);
}

static void
sync__failure_is_final_and_never_tried_again(void **state)
{
    (void)state;
    static const enum c2_disk_verb verbs[] = { C2_DISK_SYNC, C2_DISK_SYNC_DIR };
    for (size_t i = 0; i < C2_ARRAY_LEN(verbs); i++) {
        struct journal_rig *r = jr_new();
        struct c2_disk_req want = { .verb = verbs[i], .err = C2_E_IO };
        struct jr_write w;
        jr_open(r);
        test_env_set_disk_hook(r->env, jr_fail_verb, &want);
        jr_write_init(&w, "x");
        w.a.sync = true;
        jr_write_start(r, &w);
        test_env_run_until(r->env, &w.done);
        assert_int_equal(w.a.err, C2_E_IO);
        assert_null(w.a.locs);
        test_env_set_disk_hook(r->env, NULL, NULL);
        uint64_t tries = test_env_disk_count(r->env, verbs[i]);
        assert_int_equal(jr_sync_all(r), C2_E_IO);
        assert_int_equal(jr_append_fails(r, 10), C2_E_IO);
        assert_int_equal(test_env_disk_count(r->env, verbs[i]), tries);
        assert_int_equal(jr_stats(r).synced_seq, 0);
        jr_free(r);
    }
}

/* ---- kill -9 --------------------------------------------------------------------------------- */

/* Appends until killed and tells each completed sequence number. */
C2_NORETURN static void
append_for_ever(struct journal_rig *r, int out)
{
    enum { DEPTH = 5 };
    static struct jr_write w[DEPTH];
    static uint8_t bytes[100000];
    for (uint32_t round = 0;; round++) {
        for (size_t i = 0; i < DEPTH; i++) {
            char name[32];
            snprintf(name, sizeof name, "group %u", round * DEPTH + (unsigned)i + 1);
            jr_write_init(&w[i], name);
            w[i].pieces[0] = c2_slice(bytes, (round * 7919u + i * 31) % sizeof bytes);
            w[i].a.npieces = round % 3 == 0 ? 0 : 1;
            w[i].a.sync = i == 2;
            jr_write_start(r, &w[i]);
        }
        for (size_t i = 0; i < DEPTH; i++) {
            test_env_run_until(r->env, &w[i].done);
            if (w[i].a.err != C2_E_OK ||
                write(out, &w[i].a.seq, sizeof w[i].a.seq) != sizeof w[i].a.seq)
                _exit(1);
            jr_write_free(&w[i]);
        }
    }
}

static void
append__completed_survives_kill_9(void **state)
{
    (void)state;
    for (uint64_t kill_after = 1; kill_after < 400; kill_after = kill_after * 2 + 1) {
        struct journal_rig *r = jr_new();
        int fds[2];
        uint64_t seq = 0, last = 0;
        r->config.segment_size = 4u << 20;
        jr_open(r);
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
        jr_close(r);
        jr_open(r);
        assert_true(last >= kill_after);
        assert_true(r->found.count >= last);
        for (uint64_t i = 0; i < r->found.count; i++) {
            char name[32];
            snprintf(name, sizeof name, "group %u", (unsigned)i + 1);
            assert_int_equal(r->found.seqs[i], i + 1);
            assert_string_equal(r->found.metas[i], name);
        }
        assert_int_equal(r->found.replay.damaged_groups, 0);
        jr_free(r);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
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
