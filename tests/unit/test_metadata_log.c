/* SPDX-License-Identifier: MIT */
/*
 * The log, the digest and snapshots: three ways to the same state.
 */
#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "metadata/local.h"
#include "metadata/registry.h"
#include "tests/lib/coord_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Two stores in one environment: the original and its copy. */
struct pair {
    struct coord_fixture f;
    struct coord_fixture copy;
};

static void
open_copy(struct pair *p, const char *name)
{
    char *error = NULL;
    p->copy = p->f;
    p->copy.path = test_env_path(p->f.t, name);
    assert_int_equal(
        coord_local_open(p->f.env, p->copy.path, true, COORD_FIXTURE_MAP_SIZE, &p->copy.c, &error),
        C2_E_OK);
}

static void
close_copy(struct pair *p)
{
    coord_fixture_close(&p->copy);
    c2_free(p->copy.path);
    p->copy.path = NULL;
}

static int
setup(void **state)
{
    struct pair *p = c2_calloc(1, sizeof *p);
    coord_fixture_init(&p->f);
    open_copy(p, "copy");
    *state = p;
    return 0;
}

static int
teardown(void **state)
{
    struct pair *p = *state;
    close_copy(p);
    coord_fixture_done(&p->f);
    c2_free(p);
    return 0;
}

/* A history with everything in it: 0..9 of it make different states. */
static void
write_history(struct coord_fixture *f)
{
    uint64_t s = session_open(f, 5 * C2_NS_PER_S);
    session_open(f, 500 * C2_NS_PER_S);
    put(f, "a", "1");
    txn_op(f, op(COORD_PUT_EPHEMERAL, "e", "x", (int64_t)s), NULL);
    txn_op(f, op(COORD_ADD, "n", NULL, 41), NULL);
    txn_if(f, cond(COORD_EXISTS, "none", NULL, 0), op(COORD_PUT, "a", "2", 0));
    test_env_run_for(f->t, 6 * C2_NS_PER_S); /* the first session expires */
    for (int i = 0; i < 200; i++) {
        char key[16];
        snprintf(key, sizeof key, "d/%d", i * 7919 % 1000);
        put(f, key, key);
    }
    txn_op(f, op(COORD_DELETE_RANGE, "d/1", NULL, 0), NULL);
    static uint8_t big[COORD_VALUE_MAX];
    memset(big, 7, sizeof big);
    txn_op(f, (struct coord_op){ COORD_PUT, c2_slice_str("big"), c2_slice(big, sizeof big), 0 },
           NULL);
}

static enum c2_err
log_read(struct coord_fixture *f, uint64_t after, size_t limit, struct coord_call *call)
{
    *call = (struct coord_call){ 0 };
    call->r.verb = COORD_LOG_READ;
    call->r.version_in = after;
    call->r.limit = limit;
    return coord_call_run(f, call);
}

static enum c2_err
log_trim(struct coord_fixture *f, uint64_t upto)
{
    struct coord_call call = { 0 };
    call.r.verb = COORD_LOG_TRIM;
    call.r.version_in = upto;
    return coord_call_run(f, &call);
}

/* The last version in a piece of log; checks that they follow `after`. */
static uint64_t
last_version(struct c2_slice log, uint64_t after)
{
    struct c2_rd r = c2_rd_init(log);
    while (c2_rd_left(&r) > 0) {
        assert_int_equal(c2_rd_u64(&r), after + 1);
        after++;
        assert_true(c2_rd_bytes(&r, COORD_LOG_BYTES_MAX).len > 8);
    }
    assert_true(c2_rd_ok(&r));
    return after;
}

static void
assert_same_state(struct coord_fixture *a, struct coord_fixture *b, bool same)
{
    uint8_t x[32];
    uint8_t y[32];
    assert_int_equal(coord_local_digest(a->c, x), C2_E_OK);
    assert_int_equal(coord_local_digest(b->c, y), C2_E_OK);
    assert_true((memcmp(x, y, sizeof x) == 0) == same);
}

/* --- log ------------------------------------------------------------------------------------- */

/* Ships the log in pieces of at most limit bytes. */
static void
ship(struct pair *p, size_t limit, size_t *ret_pieces)
{
    uint64_t after = 0;
    bool more = true;
    *ret_pieces = 0;
    while (more) {
        struct coord_call call;
        assert_int_equal(log_read(&p->f, after, limit, &call), C2_E_OK);
        after = last_version(c2_buf_slice(&call.r.reply), after);
        assert_int_equal(coord_local_replay_log(p->copy.c, c2_buf_slice(&call.r.reply)), C2_E_OK);
        more = call.r.more;
        ++*ret_pieces;
        if (!more)
            assert_int_equal(after, call.r.version);
        coord_req_done(&call.r);
    }
}

static void
log__replayed_gives_the_same_state(void **state)
{
    struct pair *p = *state;
    write_history(&p->f);
    size_t pieces = 0;
    ship(p, 1000, &pieces);
    assert_true(pieces > 5);
    assert_same_state(&p->f, &p->copy, true);
    assert_value(&p->copy, "a", "1");
    assert_absent(&p->copy, "e");
    /* And both go on alike. */
    put(&p->f, "next", "x");
    put(&p->copy, "next", "x");
    assert_same_state(&p->f, &p->copy, true);
}

static void
log__entry_by_entry_must_follow(void **state)
{
    struct pair *p = *state;
    write_history(&p->f);
    struct coord_call call;
    assert_int_equal(log_read(&p->f, 0, 0, &call), C2_E_OK);
    struct c2_rd r = c2_rd_init(c2_buf_slice(&call.r.reply));
    uint64_t first = c2_rd_u64(&r);
    struct c2_slice entry = c2_rd_bytes(&r, COORD_LOG_BYTES_MAX);
    uint64_t second = c2_rd_u64(&r);
    struct c2_slice next = c2_rd_bytes(&r, COORD_LOG_BYTES_MAX);
    assert_int_equal(coord_local_replay(p->copy.c, second, next), C2_E_CORRUPT);
    assert_int_equal(coord_local_replay(p->copy.c, first, entry), C2_E_OK);
    assert_int_equal(coord_local_replay(p->copy.c, first, entry), C2_E_CORRUPT);
    assert_int_equal(coord_local_replay(p->copy.c, second, c2_slice(next.data, next.len - 1)),
                     C2_E_CORRUPT);
    assert_int_equal(coord_local_replay(p->copy.c, second, c2_slice(next.data, 3)), C2_E_CORRUPT);
    assert_int_equal(coord_local_replay(p->copy.c, second, next), C2_E_OK);
    coord_req_done(&call.r);
}

/* A piece with a bad entry in it changes nothing. */
static void
log__piece_is_applied_whole_or_not_at_all(void **state)
{
    struct pair *p = *state;
    write_history(&p->f);
    struct coord_call call;
    assert_int_equal(log_read(&p->f, 0, 0, &call), C2_E_OK);
    struct c2_slice log = c2_buf_slice(&call.r.reply);
    assert_int_equal(coord_local_replay_log(p->copy.c, c2_slice(log.data, log.len - 1)),
                     C2_E_CORRUPT);
    assert_absent(&p->copy, "a");
    assert_int_equal(coord_local_replay_log(p->copy.c, log), C2_E_OK);
    assert_same_state(&p->f, &p->copy, true);
    coord_req_done(&call.r);
}

static void
log__is_trimmed_up_to_a_version(void **state)
{
    struct pair *p = *state;
    struct coord_fixture *f = &p->f;
    write_history(f);
    uint64_t last = put(f, "last", "");
    struct coord_call call;
    assert_int_equal(log_trim(f, 100), C2_E_OK);
    assert_int_equal(log_read(f, 99, 0, &call), C2_E_NOT_FOUND);
    assert_int_equal(log_read(f, 100, 0, &call), C2_E_OK);
    assert_int_equal(last_version(c2_buf_slice(&call.r.reply), 100), last);
    coord_req_done(&call.r);
    assert_int_equal(log_trim(f, last + 1), C2_E_INVALID);
    assert_int_equal(log_trim(f, last), C2_E_OK);
    assert_int_equal(log_trim(f, 50), C2_E_OK); /* long gone */
    coord_fixture_close(f);
    coord_fixture_open(f);
    assert_int_equal(log_read(f, last - 1, 0, &call), C2_E_NOT_FOUND);
    assert_int_equal(log_read(f, last, 0, &call), C2_E_OK);
    assert_int_equal(call.r.reply.len, 0);
    coord_req_done(&call.r);
    assert_int_equal(put(f, "again", ""), last + 1); /* trimming is no step */
    assert_int_equal(log_read(f, last, 0, &call), C2_E_OK);
    assert_int_equal(last_version(c2_buf_slice(&call.r.reply), last), last + 1);
    coord_req_done(&call.r);
}

/* More records than one command removes: the service goes on until all are gone. */
static void
log__long_trim_is_done_in_pieces(void **state)
{
    struct pair *p = *state;
    struct coord_fixture *f = &p->f;
    static uint8_t value[COORD_VALUE_MAX];
    struct coord_op ops[15];
    for (size_t i = 0; i < 15; i++)
        ops[i] =
            (struct coord_op){ COORD_PUT, c2_slice_str("k"), c2_slice(value, sizeof value), 0 };
    uint64_t version = 0;
    for (int i = 0; i < 20; i++) /* 250 records each */
        assert_int_equal(txn(f, NULL, 0, ops, 15, &version), C2_E_OK);
    uint64_t before = coord_local_commits(f->c);
    assert_int_equal(log_trim(f, version), C2_E_OK);
    assert_true(coord_local_commits(f->c) > before + 1);
    struct coord_call call;
    assert_int_equal(log_read(f, version - 1, 0, &call), C2_E_NOT_FOUND);
    assert_int_equal(log_read(f, version, 0, &call), C2_E_OK);
    assert_int_equal(call.r.reply.len, 0);
    coord_req_done(&call.r);
}

static void
log__gives_an_entry_larger_than_the_limit(void **state)
{
    struct pair *p = *state;
    static uint8_t value[COORD_VALUE_MAX];
    struct coord_op ops[15];
    for (size_t i = 0; i < 15; i++)
        ops[i] =
            (struct coord_op){ COORD_PUT, c2_slice_str("k"), c2_slice(value, sizeof value), 0 };
    assert_int_equal(txn(&p->f, NULL, 0, ops, 15, NULL), C2_E_OK);
    put(&p->f, "small", "");
    struct coord_call call;
    assert_int_equal(log_read(&p->f, 0, 10, &call), C2_E_OK);
    assert_int_equal(last_version(c2_buf_slice(&call.r.reply), 0), 1);
    assert_true(call.r.more);
    coord_req_done(&call.r);
    size_t pieces = 0;
    ship(p, 10, &pieces);
    assert_int_equal(pieces, 2);
    assert_same_state(&p->f, &p->copy, true);
}

/* --- snapshots ------------------------------------------------------------------------------ */

struct chunks {
    struct c2_buf bytes; /* each with its length */
    size_t n;
    size_t fail_at; /* 0 = never */
};

static enum c2_err
keep_chunk(void *arg, struct c2_slice chunk)
{
    struct chunks *c = arg;
    assert_in_range(chunk.len, 1, 1u << 20);
    c2_wr_bytes(&c->bytes, chunk);
    c->n++;
    return c->fail_at == c->n ? C2_E_CANCELED : C2_E_OK;
}

static struct c2_slice
chunk_at(const struct chunks *c, size_t index)
{
    struct c2_rd r = c2_rd_init(c2_buf_slice(&c->bytes));
    struct c2_slice chunk = { 0 };
    for (size_t i = 0; i <= index; i++)
        chunk = c2_rd_bytes(&r, 1u << 20);
    return chunk;
}

/* --- digest ---------------------------------------------------------------------------------- */

static void
digest__differs_with_any_difference(void **state)
{
    struct pair *p = *state;
    struct coord_fixture *a = &p->f;
    struct coord_fixture *b = &p->copy;
    assert_same_state(a, b, true);
    put(a, "k", "v");
    assert_same_state(a, b, false); /* a key */
    put(b, "k", "w");
    assert_same_state(a, b, false); /* a value */
    put(a, "k", "x");
    put(b, "k", "x");
    assert_same_state(a, b, true);
    put(a, "l", "");
    put(a, "m", "");
    put(b, "m", "");
    put(b, "l", "");
    assert_same_state(a, b, false); /* versions */
    put(a, "l", "");
    put(a, "m", "");
    put(b, "l", "");
    put(b, "m", "");
    assert_same_state(a, b, true);
    uint64_t s = session_open(a, C2_NS_PER_S);
    put(b, "x", "");
    txn_op(b, op(COORD_DELETE, "x", NULL, 0), NULL);
    put(a, "y", "");
    txn_op(a, op(COORD_DELETE, "y", NULL, 0), NULL);
    put(b, "y", "");
    assert_same_state(a, b, false); /* a session */
    assert_int_equal(session_close(a, s), C2_E_OK);
}

static void
digest__knows_a_session_from_another_and_its_keys(void **state)
{
    struct pair *p = *state;
    struct coord_fixture *a = &p->f;
    struct coord_fixture *b = &p->copy;
    uint64_t s1 = session_open(a, 100 * C2_NS_PER_S);
    uint64_t s2 = session_open(a, 100 * C2_NS_PER_S);
    assert_int_equal(session_open(b, 100 * C2_NS_PER_S), s1);
    assert_int_equal(session_open(b, 100 * C2_NS_PER_S), s2);
    assert_same_state(a, b, true);
    txn_op(a, op(COORD_PUT_EPHEMERAL, "e", "", (int64_t)s1), NULL);
    txn_op(b, op(COORD_PUT_EPHEMERAL, "e", "", (int64_t)s2), NULL);
    assert_same_state(a, b, false); /* whose key it is */
    put(a, "e", "");
    put(b, "e", "");
    assert_same_state(a, b, true);
    test_env_run_for(a->t, C2_NS_PER_S);
    assert_int_equal(session_keepalive(a, s1), C2_E_OK);
    assert_int_equal(session_keepalive(b, s2), C2_E_OK);
    assert_same_state(a, b, false); /* deadlines */
}

/* However often it was brought up to date on the way, over splits and merges of the tree. */
static void
digest__does_not_depend_on_when_it_was_asked(void **state)
{
    struct pair *p = *state;
    uint8_t unused[32];
    for (int i = 0; i < 400; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        put(&p->f, key, key);
        if (i % 7 == 0)
            assert_int_equal(coord_local_digest(p->f.c, unused), C2_E_OK);
    }
    for (int i = 0; i < 390; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(txn_op(&p->f, op(COORD_DELETE, key, NULL, 0), NULL), C2_E_OK);
        if (i % 11 == 0)
            assert_int_equal(coord_local_digest(p->f.c, unused), C2_E_OK);
    }
    size_t pieces = 0;
    ship(p, 0, &pieces);
    assert_same_state(&p->f, &p->copy, true);
    uint64_t before = coord_local_commits(p->f.c);
    assert_int_equal(coord_local_digest(p->f.c, unused), C2_E_OK); /* nothing left to do */
    assert_int_equal(coord_local_commits(p->f.c), before);
}

/* Many changes without a digest fold the tree in the middle of transactions, failed ones too. */
static void
digest__is_right_when_folds_fall_inside_transactions(void **state)
{
    struct pair *p = *state;
    static struct coord_op ops[COORD_TXN_OPS_MAX];
    static char keys[COORD_TXN_OPS_MAX][12];
    uint64_t folds[2] = { 0 };
    c2_mark_reset();
    for (size_t round = 0; round < 16; round++) {
        for (size_t i = 0; i < COORD_TXN_OPS_MAX; i++) {
            snprintf(keys[i], sizeof keys[i], "%zu", round * 2500 + i);
            bool deletes = (round + i) % 5 == 0;
            ops[i] = op(deletes ? COORD_DELETE : COORD_PUT, keys[i], keys[i], 0);
        }
        bool fails = round % 2 == 1;
        if (fails)
            ops[COORD_TXN_OPS_MAX - 1] = op(COORD_PUT_EPHEMERAL, "e", "", 99);
        assert_int_equal(txn(&p->f, NULL, 0, ops, COORD_TXN_OPS_MAX, NULL),
                         fails ? C2_E_SESSION : C2_E_OK);
        folds[fails] += c2_mark_count("metadata: folded in the middle");
        c2_mark_reset();
    }
    assert_true(folds[false] > 0 && folds[true] > 0);
    struct chunks c = { 0 };
    uint64_t version = 0;
    assert_int_equal(coord_local_dump(p->f.c, keep_chunk, &c, &version), C2_E_OK);
    for (size_t i = 0; i < c.n; i++)
        assert_int_equal(coord_local_load(p->copy.c, chunk_at(&c, i)), C2_E_OK);
    assert_same_state(&p->f, &p->copy, true);
    c2_buf_done(&c.bytes);
}

/* --- taking snapshots
 * ------------------------------------------------------------------------------- */

static void
write_much(struct coord_fixture *f)
{
    static uint8_t value[40000];
    write_history(f);
    for (int i = 0; i < 60; i++) {
        char key[16];
        snprintf(key, sizeof key, "m/%d", i);
        value[0] = (uint8_t)i;
        struct coord_op o = { COORD_PUT, c2_slice_str(key), c2_slice(value, sizeof value), 0 };
        assert_int_equal(txn_op(f, o, NULL), C2_E_OK);
    }
}

static void
dump__loaded_gives_the_same_state(void **state)
{
    struct pair *p = *state;
    write_much(&p->f);
    struct chunks c = { 0 };
    uint64_t version = 0;
    assert_int_equal(coord_local_dump(p->f.c, keep_chunk, &c, &version), C2_E_OK);
    assert_true(c.n > 5);
    for (size_t i = 0; i < c.n; i++)
        assert_int_equal(coord_local_load(p->copy.c, chunk_at(&c, i)), C2_E_OK);
    assert_same_state(&p->f, &p->copy, true);
    struct coord_call call;
    assert_int_equal(log_read(&p->copy, version - 1, 0, &call), C2_E_NOT_FOUND);
    assert_int_equal(log_read(&p->copy, version, 0, &call), C2_E_OK);
    coord_req_done(&call.r);
    /* Log on top of a snapshot. */
    put(&p->f, "later", "");
    assert_int_equal(log_read(&p->f, version, 0, &call), C2_E_OK);
    assert_int_equal(coord_local_replay_log(p->copy.c, c2_buf_slice(&call.r.reply)), C2_E_OK);
    coord_req_done(&call.r);
    assert_same_state(&p->f, &p->copy, true);
    /* Sessions of the snapshot end on the copy, too. */
    test_env_run_for(p->f.t, 600 * C2_NS_PER_S);
    assert_int_equal(put(&p->copy, "x", ""), put(&p->f, "x", ""));
    assert_false(test_env_has_timers(p->f.t));
    assert_int_equal(coord_local_load(p->copy.c, chunk_at(&c, 0)), C2_E_EXISTS);
    c2_buf_done(&c.bytes);
}

static void
dump__ends_with_the_error_of_its_reader(void **state)
{
    struct pair *p = *state;
    write_much(&p->f);
    struct chunks c = { .fail_at = 2 };
    uint64_t version = 0;
    assert_int_equal(coord_local_dump(p->f.c, keep_chunk, &c, &version), C2_E_CANCELED);
    assert_int_equal(c.n, 2);
    c2_buf_done(&c.bytes);
}

static void
load__refuses_chunks_that_are_not_one_dump(void **state)
{
    struct pair *p = *state;
    write_much(&p->f);
    struct chunks c = { 0 };
    uint64_t version = 0;
    assert_int_equal(coord_local_dump(p->f.c, keep_chunk, &c, &version), C2_E_OK);
    struct coord *copy = p->copy.c;
    assert_int_equal(coord_local_load(copy, chunk_at(&c, 1)), C2_E_CORRUPT); /* no head */
    assert_int_equal(coord_local_load(copy, chunk_at(&c, 0)), C2_E_OK);
    const struct c2_slice key = c2_slice_str("a");
    struct coord_call read = { .r = { .verb = COORD_GET, .keys = &key, .nkeys = 1 } };
    assert_int_equal(coord_call_run(&p->copy, &read), C2_E_UNAVAILABLE); /* half a state */
    assert_int_equal(txn_op(&p->copy, op(COORD_PUT, "a", "", 0), NULL), C2_E_UNAVAILABLE);
    assert_int_equal(coord_local_load(copy, chunk_at(&c, 2)), C2_E_CORRUPT); /* a gap */
    assert_int_equal(coord_local_load(copy, chunk_at(&c, 1)), C2_E_OK);
    struct c2_slice good = chunk_at(&c, 2);
    assert_int_equal(coord_local_load(copy, c2_slice(good.data, good.len - 1)), C2_E_CORRUPT);
    for (size_t i = 2; i < c.n - 1; i++)
        assert_int_equal(coord_local_load(copy, chunk_at(&c, i)), C2_E_OK);
    assert_int_equal(coord_local_load(copy, good), C2_E_CORRUPT); /* again */
    uint8_t end[128];
    struct c2_slice last = chunk_at(&c, c.n - 1);
    memcpy(end, last.data, last.len);
    end[last.len - 1] ^= 1;
    assert_int_equal(coord_local_load(copy, c2_slice(end, last.len)), C2_E_CORRUPT);
    assert_int_equal(coord_local_load(copy, last), C2_E_OK);
    assert_same_state(&p->f, &p->copy, true);
    c2_buf_done(&c.bytes);
}

/* One flipped bit anywhere is found at the end at the latest. */
static void
load__finds_a_flipped_bit(void **state)
{
    struct pair *p = *state;
    put(&p->f, "key", "value");
    session_open(&p->f, C2_NS_PER_S);
    struct chunks c = { 0 };
    uint64_t version = 0;
    assert_int_equal(coord_local_dump(p->f.c, keep_chunk, &c, &version), C2_E_OK);
    size_t flips = 0;
    for (size_t i = 0; i < c.n; i++) {
        for (size_t at = 0; at < chunk_at(&c, i).len; at += 17) {
            char name[16];
            snprintf(name, sizeof name, "flip%zu", flips++);
            close_copy(p);
            open_copy(p, name);
            enum c2_err err = C2_E_OK;
            for (size_t j = 0; j < c.n && err == C2_E_OK; j++) {
                uint8_t bytes[256];
                struct c2_slice chunk = chunk_at(&c, j);
                memcpy(bytes, chunk.data, chunk.len);
                if (j == i)
                    bytes[at] ^= 0x10;
                err = coord_local_load(p->copy.c, c2_slice(bytes, chunk.len));
            }
            assert_int_not_equal(err, C2_E_OK);
        }
    }
    c2_buf_done(&c.bytes);
}

static void
load__cut_short_cannot_be_opened_again(void **state)
{
    struct pair *p = *state;
    write_history(&p->f);
    struct chunks c = { 0 };
    uint64_t version = 0;
    assert_int_equal(coord_local_dump(p->f.c, keep_chunk, &c, &version), C2_E_OK);
    for (size_t i = 0; i + 1 < c.n; i++)
        assert_int_equal(coord_local_load(p->copy.c, chunk_at(&c, i)), C2_E_OK);
    coord_fixture_close(&p->copy);
    char *error = NULL;
    assert_int_equal(
        coord_local_open(p->f.env, p->copy.path, false, COORD_FIXTURE_MAP_SIZE, &p->copy.c, &error),
        C2_E_DAMAGED);
    assert_non_null(strstr(error, "interrupted"));
    c2_free(error);
    c2_buf_done(&c.bytes);
}

int
main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(log__replayed_gives_the_same_state),
        T(log__entry_by_entry_must_follow),
        T(log__piece_is_applied_whole_or_not_at_all),
        T(log__is_trimmed_up_to_a_version),
        T(log__long_trim_is_done_in_pieces),
        T(log__gives_an_entry_larger_than_the_limit),
        T(digest__differs_with_any_difference),
        T(digest__knows_a_session_from_another_and_its_keys),
        T(digest__does_not_depend_on_when_it_was_asked),
        T(digest__is_right_when_folds_fall_inside_transactions),
        T(dump__loaded_gives_the_same_state),
        T(dump__ends_with_the_error_of_its_reader),
        T(load__refuses_chunks_that_are_not_one_dump),
        T(load__finds_a_flipped_bit),
        T(load__cut_short_cannot_be_opened_again),
    };
    return cmocka_run_group_tests_name("metadata_log", tests, NULL, NULL);
}
