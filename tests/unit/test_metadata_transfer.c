/* SPDX-License-Identifier: MIT */
/*
 * Who is asked for the parts of a state, and how many at once: a replica with an executor that
 * wants more and more, and peers that answer as a test has them do it. Time is the test's.
 */
#include "base/alloc.h"
#include "base/wire.h"
#include "metadata/bft_int.h"
#include "tests/lib/cheap_sign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SEATS    4
#define TARGET   128
#define PART_LEN 4000
#define ASKS_MAX 4096

/* A STATE-FETCH that was sent. */
struct sent {
    unsigned seat;
    uint64_t at_ns;
    bool done; /* answered, or not to be */
    struct msg_state_fetch f;
};

struct rig {
    struct bft_replica *r;
    struct sent *sent; /* owned; ASKS_MAX */
    unsigned nsent;
    unsigned to[SEATS]; /* messages to each seat */
    uint64_t next;      /* number of the next part that is wanted */
    size_t part_len;
    unsigned under; /* parts that the executor waits for */
    unsigned got;   /* parts that have come */
    unsigned twice; /* parts that were asked for before */
    uint8_t *asked; /* owned; by number of the part */
    bool hold;      /* the executor takes its time */
    struct c2_list jobs;
    unsigned begun; /* fetches */
    uint64_t n;     /* of the last one */
};

#define PARTS_MAX 65536

static struct rig *
new_rig(void)
{
    struct rig *g = c2_calloc(1, sizeof *g);
    struct bft_setup setup;
    const char *why = NULL;
    cheap_sign_setup(&setup, 0, 1);
    assert_int_equal(bft_new(&setup, &g->r, &why), C2_E_OK);
    g->r->mode = BFT_RUNNING;
    g->r->started = true;
    g->r->now_ns = C2_NS_PER_S;
    g->r->stable = g->r->stable_c.n = TARGET;
    g->sent = c2_calloc(ASKS_MAX, sizeof *g->sent);
    g->asked = c2_calloc(PARTS_MAX, 1);
    g->part_len = PART_LEN;
    c2_list_init(&g->jobs);
    return g;
}

static void
free_rig(struct rig *g)
{
    C2_LIST_FOREACH (&g->jobs, struct bft_job, job, link) {
        c2_list_remove(&g->jobs, &job->link);
        bft_job_free(job);
    }
    bft_free(g->r);
    c2_free(g->sent);
    c2_free(g->asked);
    c2_free(g);
}

/* ---- what leaves ----------------------------------------------------------------------------- */

static void
note_sent(struct rig *g, const struct bft_action *a)
{
    struct sent *s = &g->sent[g->nsent];
    if (msg_read_state_fetch(c2_blob_slice(a->msg), &s->f) != C2_E_OK)
        return;
    assert_true(g->nsent + 1 < ASKS_MAX);
    while ((a->seats >> s->seat & 1) == 0)
        s->seat++;
    assert_int_equal(a->seats, 1u << s->seat);
    assert_int_not_equal(s->seat, g->r->seat);
    s->at_ns = g->r->now_ns;
    g->nsent++;
    g->to[s->seat]++;
    for (uint32_t i = 0; i < s->f.count; i++) {
        uint64_t number = c2_get_be64(s->f.item[i].hash);
        assert_true(number < PARTS_MAX);
        g->twice += g->asked[number];
        g->asked[number] = 1;
    }
}

/* Takes what the replica has told its owner to do. */
static void
take_actions(struct rig *g)
{
    struct bft_actions_buf *o = &g->r->out;
    for (size_t i = 0; i < o->count; i++) {
        struct bft_action *a = &o->list[i];
        if (a->kind == BFT_ACT_SEND)
            note_sent(g, a);
        if (a->kind != BFT_ACT_JOB)
            continue;
        c2_list_append(&g->jobs, &a->job->link);
        a->job = NULL;
    }
    bft_out_begin(g->r);
}

/* ---- the executor ---------------------------------------------------------------------------- */

static void
want_one(struct rig *g, struct c2_buf *out)
{
    uint8_t path[MSG_PATH_MAX / 2] = { 0 }, hash[MSG_DIGEST_LEN] = { 0 };
    c2_put_be64(hash, g->next++);
    c2_wr_u8(out, MSG_STATE_BRANCH);
    c2_wr_u8(out, 4);
    c2_wr_raw(out, path, sizeof path);
    c2_wr_raw(out, hash, sizeof hash);
    g->under++;
}

static void
run_job(struct rig *g, struct bft_job *job)
{
    struct msg_state m = { .answers = job->in };
    struct c2_rd in = c2_rd_init(m.answers);
    assert_int_equal(job->kind, BFT_JOB_SYNC);
    if (job->begin) {
        g->begun++;
        g->n = job->n;
        g->under = 0;
    }
    while (c2_rd_left(&in) > 0) {
        c2_rd_u8(&in);
        c2_rd_raw(&in, MSG_DIGEST_LEN);
        unsigned there = c2_rd_bytes(&in, MSG_BYTES_MAX).len > 0;
        g->got += there;
        g->under -= there;
    }
    while (g->under < job->count)
        want_one(g, &job->out);
    bft_synced(g->r, job);
    bft_job_free(job);
    take_actions(g);
}

static void
run_jobs(struct rig *g)
{
    while (!g->hold && !c2_list_empty(&g->jobs)) {
        struct bft_job *job = C2_LIST_FIRST(&g->jobs, struct bft_job, link);
        c2_list_remove(&g->jobs, &job->link);
        run_job(g, job);
    }
}

/* ---- the peers ------------------------------------------------------------------------------- */

/* Answers with the first `count` parts of those it was asked for. */
static void
answer_some(struct rig *g, struct sent *s, uint32_t count, size_t len)
{
    struct c2_buf answers = { 0 }, out = { 0 }, bytes = { 0 };
    const struct msg_head h = { .type = MSG_STATE };
    memset(c2_buf_extend(&bytes, len), 7, len);
    bytes.len = len;
    for (uint32_t i = 0; i < count; i++) {
        c2_wr_u8(&answers, s->f.item[i].kind);
        c2_wr_raw(&answers, s->f.item[i].hash, MSG_DIGEST_LEN);
        c2_wr_bytes(&answers, c2_buf_slice(&bytes));
    }
    const struct msg_state m = { .n = TARGET, .count = count, .answers = c2_buf_slice(&answers) };
    msg_write_state(&out, &h, &m);
    struct c2_blob *blob = c2_blob_copy(out.data, out.len);
    s->done = true;
    bft_on_state(g->r, (uint16_t)s->seat, blob);
    c2_blob_unref(blob);
    c2_buf_done(&answers);
    c2_buf_done(&bytes);
    c2_buf_done(&out);
    take_actions(g);
    run_jobs(g);
}

static void
answer(struct rig *g, struct sent *s)
{
    answer_some(g, s, s->f.count, g->part_len);
}

/* The oldest that this seat has not answered, if it was sent so long ago. */
static struct sent *
oldest(struct rig *g, unsigned seat, uint64_t ago_ns)
{
    for (unsigned i = 0; i < g->nsent; i++) {
        struct sent *s = &g->sent[i];
        if (!s->done && s->seat == seat && s->at_ns + ago_ns <= g->r->now_ns)
            return s;
    }
    return NULL;
}

static unsigned
count_unanswered(const struct rig *g, unsigned seat)
{
    unsigned count = 0;
    for (unsigned i = 0; i < g->nsent; i++)
        count += !g->sent[i].done && g->sent[i].seat == seat;
    return count;
}

/* Time passes; the replica's clock rings when it has said so. */
static void
pass(struct rig *g, uint64_t ns)
{
    g->r->now_ns += ns;
    for (unsigned i = 0; bft_sync_deadline(g->r) <= g->r->now_ns; i++) {
        assert_true(i < 3); /* it does not ring all the time */
        bft_sync_tick(g->r);
        take_actions(g);
        run_jobs(g);
    }
}

static void
begin(struct rig *g)
{
    bft_sync_start(g->r);
    take_actions(g);
    run_jobs(g);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void
parts__are_asked_of_all_seats_alike_and_once(void **state)
{
    (void)state;
    struct rig *g = new_rig();
    begin(g);
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned seat = 1; seat < SEATS; seat++)
            answer(g, oldest(g, seat, 0));
    }
    for (unsigned seat = 1; seat < SEATS; seat++) {
        assert_int_equal(count_unanswered(g, seat), BFT_SYNC_OUT);
        assert_int_equal(g->to[seat], 100 + BFT_SYNC_OUT);
    }
    assert_int_equal(g->got, 100 * (SEATS - 1) * MSG_WANTED_MAX);
    assert_int_equal(g->twice, 0);
    free_rig(g);
}

/* ... and not more of them than it has put in place and says that it has room for. */
static void
parts__are_asked_for_while_the_executor_is_busy(void **state)
{
    (void)state;
    struct rig *g = new_rig();
    begin(g);
    g->hold = true;
    for (struct sent *s = g->sent; s < g->sent + g->nsent; s++)
        answer(g, s);
    assert_int_equal(g->nsent, BFT_SYNC_ITEMS / MSG_WANTED_MAX);
    assert_int_equal(g->twice, 0);
    g->hold = false;
    run_jobs(g);
    assert_int_equal(g->got, BFT_SYNC_ITEMS);
    free_rig(g);
}

static void
seat__that_says_nothing_holds_up_little(void **state)
{
    (void)state;
    struct rig *g = new_rig();
    uint64_t fetch_ns = g->r->setup.timing.fetch_ns;
    begin(g);
    const unsigned rounds = 1000;
    for (unsigned round = 0; round < rounds; round++) { /* one and two answer within 1 ms */
        answer(g, oldest(g, 1, 0));
        answer(g, oldest(g, 2, 0));
        pass(g, C2_NS_PER_MS);
    }
    assert_int_equal(g->got, rounds * 2 * MSG_WANTED_MAX);
    /* At first as much as anybody, then one message at a time. */
    assert_true(g->to[3] <= BFT_SYNC_OUT + rounds * C2_NS_PER_MS / fetch_ns);
    assert_true(g->twice <= g->to[3] * MSG_WANTED_MAX);
    free_rig(g);
}

static void
seat__that_is_back_gets_as_much_as_others(void **state)
{
    (void)state;
    struct rig *g = new_rig();
    begin(g);
    for (unsigned i = 0; i < 200; i++) {
        answer(g, oldest(g, 1, 0));
        answer(g, oldest(g, 2, 0));
        pass(g, C2_NS_PER_MS);
    }
    struct sent *last = &g->sent[g->nsent - 1];
    while (last->seat != 3)
        last--;
    answer(g, last);
    for (unsigned i = 0; i < 10; i++) {
        answer(g, oldest(g, 1, 0));
        answer(g, oldest(g, 2, 0));
        pass(g, C2_NS_PER_MS);
    }
    unsigned busy = 0;
    for (unsigned i = 0; i < BFT_SYNC_OUT; i++)
        busy += g->r->sync.ask[3][i].nitems > 0;
    assert_int_equal(busy, BFT_SYNC_OUT);
    free_rig(g);
}

/* On a line where an answer takes ten times what was expected, hardly anything is asked for twice
 * once that is known. */
static void
line__that_is_slow_gets_the_time_that_it_needs(void **state)
{
    (void)state;
    struct rig *g = new_rig();
    uint64_t takes_ns = 10 * g->r->setup.timing.fetch_ns;
    begin(g);
    unsigned twice = 0;
    for (unsigned ms = 0; ms < 20000; ms++) {
        for (unsigned seat = 1; seat < SEATS; seat++) {
            struct sent *s = oldest(g, seat, takes_ns);
            if (s != NULL)
                answer(g, s);
        }
        pass(g, C2_NS_PER_MS);
        if (ms == 10000)
            twice = g->twice;
    }
    assert_true(g->got > 0);
    assert_int_equal(g->twice, twice);
    /* 8 messages of 16 parts under way to each of them, all of the time since */
    assert_true(g->got > 10 * (SEATS - 1) * BFT_SYNC_OUT * MSG_WANTED_MAX);
    free_rig(g);
}

static void
answers__that_are_large_are_asked_for_a_few_at_a_time(void **state)
{
    (void)state;
    struct rig *g = new_rig();
    const size_t len = 900u << 10;
    begin(g);
    for (unsigned i = 0; i < 100; i++) { /* one part fills an answer */
        struct sent *s = oldest(g, i % 3 + 1, 0);
        if (s != NULL)
            answer_some(g, s, 1, len);
        size_t under = 0;
        for (unsigned seat = 1; seat < SEATS; seat++)
            under += count_unanswered(g, seat);
        assert_true(under * len <= BFT_SYNC_BYTES);
    }
    assert_true(g->got > 90);
    g->hold = true; /* what has come and is not in place counts, too */
    for (unsigned i = 0; i < 100; i++) {
        struct sent *s = oldest(g, i % 3 + 1, 0);
        if (s != NULL)
            answer_some(g, s, 1, len);
    }
    assert_true(g->r->sync.waiting <= BFT_SYNC_BYTES);
    g->hold = false;
    run_jobs(g);
    assert_int_equal(g->r->sync.waiting, 0);
    free_rig(g);
}

/* A liar that answers each part in a message of its own, with as many bytes as one may have. */
static void
answers__that_are_larger_than_all_others_take_bounded_memory(void **state)
{
    (void)state;
    struct rig *g = new_rig();
    begin(g);
    for (unsigned i = 0; i < 200; i++)
        answer(g, oldest(g, i % 3 + 1, 0));
    g->hold = true;
    for (unsigned i = 0; i < 200; i++) {
        struct sent *s = oldest(g, 3, 0);
        if (s != NULL)
            answer_some(g, s, 1, MSG_BYTES_MAX - 4096);
    }
    assert_true(g->r->sync.waiting <= 2 * (size_t)BFT_SYNC_BYTES + MSG_BYTES_MAX);
    g->hold = false;
    run_jobs(g);
    free_rig(g);
}

/* The executor has found out what a seat has sent: nobody waits for the rest. */
static void
liar__is_not_waited_for(void **state)
{
    (void)state;
    struct rig *g = new_rig();
    begin(g);
    g->hold = true;
    answer(g, oldest(g, 3, 0));
    struct bft_job *job = C2_LIST_FIRST(&g->jobs, struct bft_job, link);
    c2_list_remove(&g->jobs, &job->link);
    assert_int_equal(job->seat, 3);
    job->bad = true;
    unsigned to = g->to[3];
    g->hold = false;
    run_job(g, job);
    for (unsigned i = 0; i < BFT_SYNC_OUT; i++)
        assert_int_equal(g->r->sync.ask[3][i].nitems, 0);
    for (unsigned i = 0; i < 200; i++)
        answer(g, oldest(g, i % 2 + 1, 0));
    assert_int_equal(g->to[3], to);
    assert_true(g->twice > 0);
    free_rig(g);
}

/* It knows the state, and answers also what others are to be asked for: that is as good as nothing,
 * or the executor would want more and more beside what is still waited for. */
static void
liar__that_answers_for_others_takes_no_room(void **state)
{
    (void)state;
    struct rig *g = new_rig();
    begin(g);
    const unsigned rounds = 100;
    for (unsigned round = 0; round < rounds; round++) {
        struct sent *s = oldest(g, 3, 0);
        assert_true(g->r->sync.nitems > MSG_WANTED_MAX);
        for (unsigned i = 1; i < MSG_WANTED_MAX; i++)
            s->f.item[i] = g->r->sync.item[i].item;
        answer_some(g, s, MSG_WANTED_MAX, PART_LEN);
    }
    assert_int_equal(g->got, rounds);
    free_rig(g);
}

/* Nobody has the state any more, and there is a newer one. */
static void
target__moves_on_when_all_were_asked_in_vain(void **state)
{
    (void)state;
    struct rig *g = new_rig();
    begin(g);
    assert_int_equal(g->n, TARGET);
    for (unsigned seat = 1; seat < SEATS; seat++) {
        assert_int_equal(g->begun, 1);
        while (count_unanswered(g, seat) > 0) {
            struct sent *s = oldest(g, seat, 0);
            answer_some(g, s, s->f.count, 0);
            if (seat == 1 && g->nsent > 500)
                fail_msg("a seat is asked for what it has not got");
        }
        g->r->stable = g->r->stable_c.n = TARGET + seat;
    }
    for (unsigned i = 0; i < 1000 && g->begun == 1; i++) {
        for (unsigned seat = 1; seat < SEATS; seat++) {
            struct sent *s = oldest(g, seat, 0);
            if (s != NULL)
                answer_some(g, s, s->f.count, 0);
        }
        pass(g, C2_NS_PER_MS);
    }
    assert_int_equal(g->begun, 2);
    assert_true(g->n > TARGET);
    free_rig(g);
}

/* Nobody has it, nor is there a newer one: they are asked from time to time. */
static void
parts__that_nobody_has_are_not_asked_for_all_the_time(void **state)
{
    (void)state;
    struct rig *g = new_rig();
    uint64_t fetch_ns = g->r->setup.timing.fetch_ns;
    begin(g);
    const unsigned rounds = 10;
    uint64_t end_ns = g->r->now_ns + rounds * fetch_ns;
    while (g->r->now_ns < end_ns) {
        for (unsigned seat = 1; seat < SEATS; seat++) {
            for (struct sent *s = oldest(g, seat, 0); s != NULL; s = oldest(g, seat, 0))
                answer_some(g, s, s->f.count, 0);
        }
        pass(g, C2_NS_PER_MS);
    }
    assert_int_equal(g->begun, 1);
    unsigned once = BFT_SYNC_ITEMS / MSG_WANTED_MAX * (SEATS - 1);
    assert_true(g->nsent >= once && g->nsent <= 2 * once * (rounds + 1));
    free_rig(g);
}

/* What an answer has no room for. */
static void
parts__that_were_left_out_are_asked_for_again_at_once(void **state)
{
    (void)state;
    struct rig *g = new_rig();
    begin(g);
    g->hold = true;
    while (g->r->sync.nitems > 0)
        answer(g, oldest(g, 1, 0));
    unsigned before = g->nsent;
    struct sent *s = oldest(g, 2, 0);
    answer_some(g, s, 5, PART_LEN);
    assert_int_equal(g->nsent, before + 1);
    assert_int_equal(g->sent[before].f.count, MSG_WANTED_MAX - 5);
    assert_int_equal(g->twice, MSG_WANTED_MAX - 5);
    free_rig(g);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts__are_asked_of_all_seats_alike_and_once),
        cmocka_unit_test(parts__are_asked_for_while_the_executor_is_busy),
        cmocka_unit_test(parts__that_were_left_out_are_asked_for_again_at_once),
        cmocka_unit_test(parts__that_nobody_has_are_not_asked_for_all_the_time),
        cmocka_unit_test(seat__that_says_nothing_holds_up_little),
        cmocka_unit_test(seat__that_is_back_gets_as_much_as_others),
        cmocka_unit_test(line__that_is_slow_gets_the_time_that_it_needs),
        cmocka_unit_test(answers__that_are_large_are_asked_for_a_few_at_a_time),
        cmocka_unit_test(answers__that_are_larger_than_all_others_take_bounded_memory),
        cmocka_unit_test(liar__is_not_waited_for),
        cmocka_unit_test(liar__that_answers_for_others_takes_no_room),
        cmocka_unit_test(target__moves_on_when_all_were_asked_in_vain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
