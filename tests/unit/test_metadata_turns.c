/* SPDX-License-Identifier: MIT */
/*
 * Which requests a replica takes, and which of them a primary proposes when: whose turn it is, how
 * much may be under way, and what room is kept for requests that backups have waited for.
 */
#include "base/alloc.h"
#include "metadata/bft_int.h"
#include "tests/lib/cheap_sign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define KEYS     20u
#define PROPOSED 128u         /* requests that are looked at */
#define LARGE    (600u << 10) /* bytes of a command */
#define CONN     1u

struct bench {
    struct bft_replica *r;
    uint8_t secret[KEYS][C2_ED25519_SECRET_LEN], key[KEYS][MSG_KEY_LEN];
    uint64_t session[KEYS][2];
    uint64_t opened;

    /* What was proposed since the last look. */
    struct {
        unsigned key, session;
        uint64_t cseq;
    } seen[PROPOSED];
    unsigned nseen, batches;
    size_t batch_len[PROPOSED];
};

static void
open_sessions(struct bench *b)
{
    for (unsigned k = 0; k < KEYS; k++) {
        cheap_sign_key("client", k, b->secret[k], b->key[k]);
        for (unsigned i = 0; i < 2; i++) {
            uint64_t last = 0;
            struct msg_request open = { .kind = MSG_REQ_OPEN, .cseq = 1 + i };
            memcpy(open.key, b->key[k], MSG_KEY_LEN);
            b->session[k][i] = bft_session_open(b->r, &open, 0, (unsigned)b->opened++, &last);
            assert_true(b->session[k][i] != 0);
        }
    }
}

/* The replica in this seat of four; the first one is the primary. */
static struct bench *
bench_new(unsigned seat, const struct bft_limits *limits)
{
    struct bench *b = c2_calloc(1, sizeof *b);
    struct bft_setup setup;
    const char *why = NULL;
    cheap_sign_setup(&setup, seat, 1);
    setup.limits = *limits;
    assert_int_equal(bft_new(&setup, &b->r, &why), C2_E_OK);
    b->r->mode = BFT_RUNNING;
    b->r->started = true;
    b->r->now_ns = C2_NS_PER_S;
    b->r->wall_ns = 1700000000ull * C2_NS_PER_S;
    open_sessions(b);
    return b;
}

static void
bench_free(struct bench *b)
{
    bft_free(b->r);
    c2_free(b);
}

/* Whether it was taken. */
static bool
ask(struct bench *b, unsigned k, unsigned session, uint64_t cseq, size_t len, unsigned how)
{
    struct msg_request m = { .kind = MSG_REQ_COMMAND, .cseq = cseq };
    struct c2_buf op = { 0 }, out = { 0 };
    uint32_t before = b->r->nrequests;
    if ((how & 2u) != 0)
        m.kind = MSG_REQ_QUERY;
    memset(c2_buf_extend(&op, len), 1, len);
    if ((how & 4u) != 0) { /* many that say nothing */
        m.kind = MSG_REQ_COMMANDS;
        m.ack_low = cseq - 1;
        memset(op.data, 0, len);
    }
    m.session = b->session[k][session];
    m.op = c2_buf_slice(&op);
    memcpy(m.key, b->key[k], MSG_KEY_LEN);
    msg_write_request(&out, b->r->config.cluster, &m);
    msg_sign(&cheap_sign, b->secret[k], &out, 0);
    struct c2_blob *msg = c2_blob_copy(out.data, out.len);
    bft_on_request(b->r, msg, c2_blob_slice(msg), CONN, (how & 1u) != 0);
    c2_blob_unref(msg);
    c2_buf_done(&op);
    c2_buf_done(&out);
    return b->r->nrequests > before;
}

enum { DIRECT, FORWARDED, QUERY, COMMANDS = 4 };

static void
see_request(struct bench *b, const struct msg_request *m)
{
    assert_true(b->nseen < PROPOSED);
    for (unsigned k = 0; k < KEYS; k++) {
        for (unsigned i = 0; i < 2; i++) {
            if (b->session[k][i] != m->session)
                continue;
            b->seen[b->nseen].key = k;
            b->seen[b->nseen].session = i;
            b->seen[b->nseen++].cseq = m->cseq;
        }
    }
}

/* A moment passes, then the primary proposes what it may. */
static void
look(struct bench *b)
{
    b->nseen = b->batches = 0;
    bft_out_begin(b->r);
    b->r->now_ns += 50 * C2_NS_PER_MS;
    bft_propose(b->r);
    for (size_t i = 0; i < b->r->out.count; i++) {
        struct msg_pre_prepare p;
        struct msg_batch batch;
        if (b->r->out.list[i].kind != BFT_ACT_SEND ||
            msg_read_pre_prepare(c2_blob_slice(b->r->out.list[i].msg), &p) != C2_E_OK)
            continue;
        assert_int_equal(msg_read_batch(p.batch, &batch), C2_E_OK);
        b->batch_len[b->batches++] = p.batch.len;
        for (uint32_t q = 0; q < batch.count; q++) {
            struct c2_slice item;
            struct msg_request m;
            assert_int_equal(msg_next_bytes(&batch.requests, &item), C2_E_OK);
            assert_int_equal(msg_read_request(item, &m), C2_E_OK);
            see_request(b, &m);
        }
    }
}

/* ---- turns ----------------------------------------------------------------------------------- */

static void
clients__take_turns_and_so_do_sessions_of_one(void **state)
{
    (void)state;
    struct bft_limits limits;
    bft_limits_default(&limits);
    limits.batch_requests = 4;
    limits.in_flight = 1;
    struct bench *b = bench_new(0, &limits);
    for (uint64_t c = 1; c <= 8; c++)
        assert_true(ask(b, 0, 0, c, 10, DIRECT));
    assert_true(ask(b, 0, 1, 1, 10, DIRECT));
    assert_true(ask(b, 1, 0, 1, 10, DIRECT));
    look(b);
    assert_int_equal(b->batches, 1);
    assert_int_equal(b->nseen, 4);
    /* The first key, the other one, then the first key's other session, then it has all for it. */
    const unsigned keys[] = { 0, 1, 0, 0 }, sessions[] = { 0, 0, 1, 0 };
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(b->seen[i].key, keys[i]);
        assert_int_equal(b->seen[i].session, sessions[i]);
    }
    assert_int_equal(b->seen[3].cseq, 2); /* of one session in the order of their arrival */
    bench_free(b);
}

/* ---- under way ------------------------------------------------------------------------------- */

/* What is proposed while nothing is executed; the batch that goes beyond the bound is the last. */
static unsigned
fill_pipeline(struct bench *b)
{
    size_t bytes = 0;
    unsigned count = 0;
    for (unsigned i = 0; i < 2 * b->r->setup.limits.in_flight; i++) {
        look(b);
        for (unsigned k = 0; k < b->batches; k++) {
            assert_true(bytes < BFT_UNDER_WAY);
            bytes += b->batch_len[k];
        }
        count += b->nseen;
    }
    return count;
}

static void
batches__under_way_have_bounded_bytes(void **state)
{
    (void)state;
    const unsigned rounds[] = { 4, 4, 2 };
    struct bft_limits limits;
    bft_limits_default(&limits);
    struct bench *b = bench_new(0, &limits);
    for (unsigned k = 0; k < 10; k++)
        assert_true(ask(b, k, 0, 1, LARGE, DIRECT)); /* each is a batch of its own */
    for (unsigned i = 0; i < C2_ARRAY_LEN(rounds); i++) {
        assert_int_equal(fill_pipeline(b), rounds[i]);
        b->r->issued = b->r->proposed; /* they are executed */
    }
    bench_free(b);
}

/* ---- room ------------------------------------------------------------------------------------ */

/* Commands of LARGE bytes of one key that find room. */
static unsigned
count_taken(struct bench *b, unsigned k, unsigned how)
{
    unsigned count = 0;
    uint64_t cseq = 1;
    while (b->session[k][0] != 0 && cseq <= BFT_SESSION_WINDOW &&
           ask(b, k, 0, cseq + (how == FORWARDED ? BFT_SESSION_WINDOW / 2 : 0), LARGE, how)) {
        count++;
        cseq++;
    }
    return count;
}

/* What a command takes in memory until the next checkpoint does not depend on its length. */
static void
batch__has_no_more_commands_however_short_they_are(void **state)
{
    (void)state;
    struct bft_limits limits;
    bft_limits_default(&limits);
    limits.in_flight = 1;
    struct bench *b = bench_new(0, &limits);
    for (uint64_t c = 1; c <= (uint64_t)64 * MSG_COMMANDS_MAX; c += MSG_COMMANDS_MAX) {
        for (unsigned i = 0; i < 2; i++)
            assert_true(ask(b, 0, i, c, (size_t)4 * MSG_COMMANDS_MAX, COMMANDS));
    }
    look(b);
    assert_int_equal(b->batches, 1);
    assert_int_equal(b->nseen, BFT_COMMANDS_MAX / MSG_COMMANDS_MAX);
    assert_true(b->r->unproposed > 0); /* the rest is for the next one */
    b->r->issued = b->r->executed = b->r->proposed;
    look(b);
    assert_int_equal(b->nseen, BFT_COMMANDS_MAX / MSG_COMMANDS_MAX);
    assert_int_equal(b->r->unproposed, 0);
    bench_free(b);
}

/* One may take as long as thousands of commands. */
static void
batch__has_few_ordered_reads(void **state)
{
    (void)state;
    struct bft_limits limits;
    bft_limits_default(&limits);
    limits.in_flight = 1;
    struct bench *b = bench_new(0, &limits);
    for (uint64_t c = 1; c <= BFT_SESSION_WINDOW; c++) {
        for (unsigned i = 0; i < 2; i++)
            assert_true(ask(b, 0, i, c, 1, QUERY));
    }
    look(b);
    assert_int_equal(b->batches, 1);
    assert_int_equal(b->nseen, BFT_READS_MAX);
    b->r->issued = b->r->executed = b->r->proposed;
    look(b);
    assert_int_equal(b->nseen, BFT_READS_MAX);
    assert_int_equal(b->r->unproposed, 0);
    bench_free(b);
}

static void
room__of_a_key_is_larger_at_the_primary_and_for_what_backups_pass_on(void **state)
{
    (void)state;
    struct bft_limits limits;
    bft_limits_default(&limits);
    limits.requests_bytes = 32u << 20;
    const unsigned part = (unsigned)(limits.requests_bytes / 16 / (LARGE + 512));
    struct bench *backup = bench_new(1, &limits);
    struct bench *primary = bench_new(0, &limits);
    assert_int_equal(count_taken(backup, 0, DIRECT), part);
    const unsigned taken = (unsigned)(limits.requests_bytes / 4 / (LARGE + 512));
    assert_int_equal(count_taken(primary, 0, DIRECT), taken);
    /* A part of each backup, when the key has all that it may have. */
    assert_in_range(count_taken(primary, 0, FORWARDED), 4 * part, 4 * (part + 1));
    /* Other keys have not lost anything by it. */
    assert_int_equal(count_taken(primary, 1, DIRECT), taken);
    bench_free(backup);
    bench_free(primary);
}

static void
room__is_kept_for_what_backups_pass_on_when_clients_have_taken_all(void **state)
{
    (void)state;
    struct bft_limits limits;
    bft_limits_default(&limits);
    limits.requests = 16;
    struct bench *b = bench_new(0, &limits);
    for (unsigned k = 0; k < limits.requests; k++)
        assert_true(ask(b, k, 0, 1, 10, DIRECT));
    assert_false(ask(b, 16, 0, 1, 10, DIRECT));
    assert_true(ask(b, 16, 0, 1, 10, FORWARDED));
    assert_true(ask(b, 17, 0, 1, 10, FORWARDED));
    assert_false(ask(b, 18, 0, 1, 10, FORWARDED)); /* an eighth more */
    bench_free(b);

    bft_limits_default(&limits);
    limits.requests_bytes = 16u << 20;
    b = bench_new(0, &limits);
    unsigned k = 0;
    while (k + 1 < KEYS && count_taken(b, k, DIRECT) > 0)
        k++;
    assert_in_range(k, 4, 8); /* each had its quarter at most */
    unsigned more = count_taken(b, k, FORWARDED);
    assert_in_range(more, 3, 4); /* another eighth, and what was left */
    bench_free(b);
}

/* ---- pace ------------------------------------------------------------------------------------ */

#define AGREE_NS (100 * C2_NS_PER_MS)
#define GROUP    16u /* requests that it asks for at once, each with as many commands as it may */

static struct msg_request
ask_for_many(struct bench *b, uint64_t cseq, struct c2_slice ops)
{
    struct msg_request m = { .kind = MSG_REQ_COMMANDS, .cseq = cseq, .ack_low = cseq - 1 };
    struct c2_buf out = { 0 };
    m.session = b->session[0][0];
    m.op = ops;
    memcpy(m.key, b->key[0], MSG_KEY_LEN);
    msg_write_request(&out, b->r->config.cluster, &m);
    msg_sign(&cheap_sign, b->secret[0], &out, 0);
    struct c2_blob *msg = c2_blob_copy(out.data, out.len);
    bft_on_request(b->r, msg, c2_blob_slice(msg), CONN, false);
    c2_blob_unref(msg);
    c2_buf_done(&out);
    return m;
}

/* Its turn has come, long after others of its key: of those that this backup has seen, and of
 * those that it has not. */
static void
propose_next(struct bench *b, const struct msg_request *m)
{
    struct bft_slot s = { .have_proposal = true, .view = b->r->view };
    b->r->now_ns += AGREE_NS;
    s.seen_ns = b->r->now_ns;
    bft_pace_request(b->r, &s, m->session, bft_request_done(b->r, m));
}

/* The primary gives a client its share and not more; one that wants much more waits for itself. */
static void
primary__does_not_look_slow_because_of_a_greedy_client(void **state)
{
    (void)state;
    struct bft_limits limits;
    bft_limits_default(&limits);
    struct c2_buf ops = { 0 };
    for (unsigned i = 0; i < MSG_COMMANDS_MAX; i++)
        msg_put_bytes(&ops, c2_slice_str("x"));
    for (unsigned seen = 1; seen <= GROUP; seen *= 4) {
        struct bench *b = bench_new(1, &limits);
        uint64_t cseq = 1;
        b->r->agree_ns = AGREE_NS;
        for (unsigned round = 0; round < 20; round++) {
            struct msg_request m[GROUP];
            for (unsigned i = 0; i < GROUP; i++, cseq += MSG_COMMANDS_MAX) {
                m[i] = (struct msg_request){ .kind = MSG_REQ_COMMANDS, .cseq = cseq };
                m[i].op = c2_buf_slice(&ops);
                memcpy(m[i].key, b->key[0], MSG_KEY_LEN);
                if (i >= GROUP - seen)
                    m[i] = ask_for_many(b, cseq, c2_buf_slice(&ops));
            }
            for (unsigned i = 0; i < GROUP; i++)
                propose_next(b, &m[i]);
        }
        assert_int_equal(b->r->count.slow_primaries, 0);
        bench_free(b);
    }
    c2_buf_done(&ops);
}

/* ... but does when it alone is the reason. */
static void
primary__that_lets_a_modest_client_wait_is_slow(void **state)
{
    (void)state;
    struct bft_limits limits;
    bft_limits_default(&limits);
    struct bench *b = bench_new(1, &limits);
    struct c2_buf ops = { 0 };
    msg_put_bytes(&ops, c2_slice_str("x"));
    b->r->agree_ns = AGREE_NS;
    for (uint64_t cseq = 1; cseq <= 20; cseq++) {
        const struct msg_request m = ask_for_many(b, cseq, c2_buf_slice(&ops));
        b->r->now_ns += 6 * AGREE_NS;
        propose_next(b, &m);
    }
    assert_true(b->r->count.slow_primaries > 0);
    c2_buf_done(&ops);
    bench_free(b);
}

/* ---- a primary that has fetched the state ---------------------------------------------------- */

/* What it had proposed was perhaps executed by the others, and will never be here. Of an ordered
 * read the state does not say so: it must not count for ever, and be proposed again. */
static void
query__of_a_batch_that_was_skipped_is_proposed_again(void **state)
{
    (void)state;
    struct bft_limits limits;
    bft_limits_default(&limits);
    struct bench *b = bench_new(0, &limits);
    assert_true(ask(b, 0, 0, 1, 10, QUERY));
    look(b);
    assert_int_equal(b->nseen, 1);
    assert_int_equal(b->r->under_way, 1);
    b->r->syncing = true;
    b->r->mode = BFT_SYNCING;
    b->r->issued = b->r->executed = b->r->proposed = b->r->stable = BFT_SESSION_WINDOW;
    bft_sync_over(b->r);
    assert_int_equal(b->r->under_way, 0);
    look(b);
    assert_int_equal(b->nseen, 1);
    assert_int_equal(b->r->under_way, 1);
    bench_free(b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients__take_turns_and_so_do_sessions_of_one),
        cmocka_unit_test(batches__under_way_have_bounded_bytes),
        cmocka_unit_test(batch__has_no_more_commands_however_short_they_are),
        cmocka_unit_test(batch__has_few_ordered_reads),
        cmocka_unit_test(room__of_a_key_is_larger_at_the_primary_and_for_what_backups_pass_on),
        cmocka_unit_test(room__is_kept_for_what_backups_pass_on_when_clients_have_taken_all),
        cmocka_unit_test(primary__does_not_look_slow_because_of_a_greedy_client),
        cmocka_unit_test(primary__that_lets_a_modest_client_wait_is_slow),
        cmocka_unit_test(query__of_a_batch_that_was_skipped_is_proposed_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
