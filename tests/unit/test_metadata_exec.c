/* SPDX-License-Identifier: MIT */
/*
 * Jobs of a replica on a real store: what is on disk when.
 */
#include "metadata/exec.h"

#include "base/alloc.h"
#include "base/wire.h"
#include "metadata/cmd.h"
#include "metadata/rights.h"
#include "metadata/store.h"
#include "tests/lib/test_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct rig {
    struct test_env *t;
    char *path;
    struct bft_exec *x;
    uint64_t n;
};

static void
start_sized(struct rig *g, bool create, uint64_t map_size)
{
    const struct store_options o = { .map_size = map_size, .create = create, .replicated = true };
    struct replica_app *app = NULL;
    char *error = NULL;
    assert_int_equal(store_open(g->path, &o, &app, &error), C2_E_OK);
    g->x = bft_exec_new(app);
}

static void
start(struct rig *g, bool create)
{
    start_sized(g, create, 8u << 20);
}

static int
set_up(void **state)
{
    struct rig *g = c2_calloc(1, sizeof *g);
    g->t = test_env_new(1);
    g->path = test_env_path(g->t, "store");
    start(g, true);
    *state = g;
    return 0;
}

static int
tear_down(void **state)
{
    struct rig *g = *state;
    bft_exec_free(g->x);
    c2_free(g->path);
    test_env_free(g->t);
    c2_free(g);
    return 0;
}

static void
run(struct rig *g, struct bft_job *job)
{
    bft_exec_run(g->x, job);
    assert_int_equal(job->err, C2_E_OK);
}

/* One batch with one command: key = value. */
static void
execute(struct rig *g, const char *key, const char *value)
{
    struct coord_op op = { .kind = COORD_PUT };
    struct coord_req r = { .verb = COORD_TXN, .ops = &op, .nops = 1 };
    struct c2_buf cmd = { 0 };
    op.key = c2_slice_str(key);
    op.value = c2_slice_str(value);
    coord_txn_encode(&r, &cmd);
    struct bft_job *job = c2_calloc(1, sizeof *job);
    job->kind = BFT_JOB_EXECUTE;
    job->n = ++g->n;
    job->time_ns = g->n * 1000;
    job->body = c2_blob_copy(cmd.data, cmd.len);
    job->commands = c2_calloc(1, sizeof *job->commands);
    job->ncommands = 1;
    job->commands[0].op = c2_blob_slice(job->body);
    run(g, job);
    bft_job_free(job);
    c2_buf_done(&cmd);
}

static void
checkpoint(struct rig *g, bool hold, uint8_t digest[MSG_DIGEST_LEN])
{
    struct bft_job *job = c2_calloc(1, sizeof *job);
    uint8_t number[8];
    c2_put_u64(number, g->n);
    job->kind = BFT_JOB_CHECKPOINT;
    job->n = g->n;
    job->hold = hold;
    c2_wr_bytes(&job->records, c2_slice("m", 1));
    c2_wr_u8(&job->records, 1);
    c2_wr_bytes(&job->records, c2_slice(number, sizeof number));
    run(g, job);
    memcpy(digest, job->digest, MSG_DIGEST_LEN);
    bft_job_free(job);
}

/* Whether the held checkpoint n was there. */
static bool
commit(struct rig *g, uint64_t n)
{
    struct bft_job *job = c2_calloc(1, sizeof *job);
    job->kind = BFT_JOB_COMMIT;
    job->n = n;
    run(g, job);
    bool done = job->finished;
    bft_job_free(job);
    return done;
}

/* Whether the state with this digest can be had from here. */
static bool
serves(struct rig *g, const uint8_t digest[MSG_DIGEST_LEN])
{
    struct msg_head h = { .type = MSG_STATE_FETCH };
    struct msg_state_fetch f = { .count = 1 };
    struct c2_buf msg = { 0 };
    f.item[0].kind = MSG_STATE_HEAD;
    memcpy(f.item[0].hash, digest, MSG_DIGEST_LEN);
    msg_write_state_fetch(&msg, &h, &f);
    struct bft_job *job = c2_calloc(1, sizeof *job);
    job->kind = BFT_JOB_SERVE;
    job->body = c2_blob_copy(msg.data, msg.len);
    job->in = c2_blob_slice(job->body);
    run(g, job);
    assert_int_equal(job->count, 1);
    struct c2_rd in = c2_rd_init(c2_buf_slice(&job->out));
    assert_int_equal(c2_rd_u8(&in), MSG_STATE_HEAD);
    c2_rd_raw(&in, MSG_DIGEST_LEN);
    bool found = c2_rd_bytes(&in, MSG_BYTES_MAX).len > 0;
    bft_job_free(job);
    c2_buf_done(&msg);
    return found;
}

/* The version of the state that a reading command sees. */
static uint64_t
query(struct rig *g)
{
    const struct c2_slice key = c2_slice_str("a");
    struct coord_req r = { .verb = COORD_GET, .keys = &key, .nkeys = 1 };
    struct c2_buf cmd = { 0 };
    coord_txn_encode(&r, &cmd);
    struct bft_job *job = c2_calloc(1, sizeof *job);
    job->kind = BFT_JOB_QUERY;
    job->in = c2_buf_slice(&cmd);
    run(g, job);
    uint64_t version = job->version;
    bft_job_free(job);
    c2_buf_done(&cmd);
    return version;
}

/* The digest of what is on disk, after a restart. */
static void
restart(struct rig *g, uint8_t digest[MSG_DIGEST_LEN])
{
    bft_exec_free(g->x);
    start(g, false);
    struct bft_job *job = c2_calloc(1, sizeof *job);
    job->kind = BFT_JOB_LOAD;
    run(g, job);
    assert_true(job->finished);
    memcpy(digest, job->digest, MSG_DIGEST_LEN);
    bft_job_free(job);
}

static void
checkpoint__is_on_disk_and_served(void **state)
{
    struct rig *g = *state;
    uint8_t first[MSG_DIGEST_LEN], second[MSG_DIGEST_LEN], disk[MSG_DIGEST_LEN];
    execute(g, "a", "1");
    checkpoint(g, false, first);
    execute(g, "a", "2");
    assert_true(serves(g, first));
    checkpoint(g, false, second);
    assert_false(serves(g, first));
    assert_true(serves(g, second));
    execute(g, "b", "lost");
    restart(g, disk);
    assert_memory_equal(disk, second, sizeof disk);
}

static void
held_checkpoint__leaves_the_one_before_on_disk(void **state)
{
    struct rig *g = *state;
    uint8_t base[MSG_DIGEST_LEN], held[MSG_DIGEST_LEN], disk[MSG_DIGEST_LEN];
    execute(g, "a", "1");
    checkpoint(g, false, base);
    execute(g, "a", "2");
    checkpoint(g, true, held);
    assert_memory_not_equal(base, held, sizeof base);
    assert_true(serves(g, base));
    assert_false(serves(g, held));
    restart(g, disk);
    assert_memory_equal(disk, base, sizeof disk);
}

static void
commit__makes_a_held_checkpoint_durable_and_keeps_what_came_after_it(void **state)
{
    struct rig *g = *state;
    uint8_t base[MSG_DIGEST_LEN], one[MSG_DIGEST_LEN], two[MSG_DIGEST_LEN];
    uint8_t last[MSG_DIGEST_LEN], disk[MSG_DIGEST_LEN];
    execute(g, "a", "1");
    checkpoint(g, false, base);
    execute(g, "a", "2");
    checkpoint(g, true, one);
    uint64_t n = g->n;
    execute(g, "b", "3");
    checkpoint(g, true, two);
    execute(g, "c", "4");
    assert_true(commit(g, n));
    assert_int_equal(query(g), 4);
    assert_true(serves(g, one));
    assert_false(serves(g, base));
    assert_true(commit(g, n + 1));
    assert_true(serves(g, two));
    checkpoint(g, false, last);
    restart(g, disk);
    assert_memory_equal(disk, last, sizeof disk);

    /* The same without any held one in between. */
    g->n = 0;
    bft_exec_free(g->x);
    c2_free(g->path);
    g->path = test_env_path(g->t, "other");
    start(g, true);
    uint8_t again[MSG_DIGEST_LEN];
    execute(g, "a", "1");
    checkpoint(g, false, again);
    assert_memory_equal(again, base, sizeof base);
    execute(g, "a", "2");
    checkpoint(g, false, again);
    assert_memory_equal(again, one, sizeof one);
    execute(g, "b", "3");
    checkpoint(g, false, again);
    assert_memory_equal(again, two, sizeof two);
    execute(g, "c", "4");
    checkpoint(g, false, again);
    assert_memory_equal(again, last, sizeof last);
}

static void
commit__of_the_newest_held_checkpoint_goes_through(void **state)
{
    struct rig *g = *state;
    uint8_t held[MSG_DIGEST_LEN], disk[MSG_DIGEST_LEN];
    execute(g, "a", "1");
    checkpoint(g, true, held);
    assert_true(commit(g, g->n));
    restart(g, disk);
    assert_memory_equal(disk, held, sizeof disk);
}

static void
commit__of_what_is_not_held_changes_nothing(void **state)
{
    struct rig *g = *state;
    uint8_t base[MSG_DIGEST_LEN], disk[MSG_DIGEST_LEN];
    execute(g, "a", "1");
    checkpoint(g, false, base);
    execute(g, "a", "2");
    assert_false(commit(g, g->n));
    assert_false(commit(g, 1));
    restart(g, disk);
    assert_memory_equal(disk, base, sizeof disk);
}

/* ---- answers --------------------------------------------------------------------------------- */

#define GREEDY 32u /* commands of one batch, with answers of almost a mebibyte each */
#define VALUES 15u

/* A command that wants keys to be absent that are there: it is answered with all of them. */
static void
encode_greedy(struct c2_buf *cmd)
{
    struct coord_cond conds[VALUES];
    char names[VALUES][8];
    struct coord_op op = { .kind = COORD_PUT, .key = c2_slice_str("never") };
    struct coord_req r = { .verb = COORD_TXN, .conds = conds, .nconds = VALUES };
    r.ops = &op;
    r.nops = 1;
    for (unsigned i = 0; i < VALUES; i++) {
        snprintf(names[i], sizeof names[i], "key%u", i);
        conds[i] = (struct coord_cond){ .kind = COORD_ABSENT, .key = c2_slice_str(names[i]) };
    }
    coord_txn_encode(&r, cmd);
}

static void
answers__of_one_batch_take_bounded_memory(void **state)
{
    struct rig *g = *state;
    static char value[COORD_VALUE_MAX];
    memset(value, 'v', sizeof value - 1);
    for (unsigned i = 0; i < VALUES; i++) {
        char key[8];
        snprintf(key, sizeof key, "key%u", i);
        execute(g, key, value);
    }
    struct c2_buf cmd = { 0 };
    encode_greedy(&cmd);
    struct bft_job *job = c2_calloc(1, sizeof *job);
    job->kind = BFT_JOB_EXECUTE;
    job->n = ++g->n;
    job->time_ns = g->n * 1000;
    job->body = c2_blob_copy(cmd.data, cmd.len);
    job->commands = c2_calloc(GREEDY, sizeof *job->commands);
    job->ncommands = GREEDY;
    for (unsigned i = 0; i < GREEDY; i++)
        job->commands[i].op = c2_blob_slice(job->body);
    run(g, job);
    assert_true(job->out.len > BFT_ANSWERS_MAX / 2 && job->out.len <= BFT_ANSWERS_MAX);
    assert_true(job->out_end[0] > COORD_VALUE_MAX); /* the first ones are answered */
    assert_int_equal(job->out_end[GREEDY - 1], job->out_end[GREEDY - 2]);
    bft_job_free(job);
    c2_buf_done(&cmd);
}

/* ---- transfer -------------------------------------------------------------------------------- */

#define KEYS       200 /* more than one node holds */
#define BIG_KEYS   100 /* more than a small store has room for */
#define WANTED_LEN 66  /* of a part that is wanted */

/* Answers of g to what `wanted` (as SYNC gives it) names, as many as one message may ask for. */
static void
serve(struct rig *g, const struct c2_buf *wanted, struct c2_buf *answers)
{
    struct msg_head h = { .type = MSG_STATE_FETCH };
    struct msg_state_fetch f = { 0 };
    struct c2_buf msg = { 0 };
    struct c2_rd in = c2_rd_init(c2_buf_slice(wanted));
    while (c2_rd_left(&in) > 0 && f.count < MSG_WANTED_MAX) {
        struct msg_state_item *item = &f.item[f.count++];
        item->kind = c2_rd_u8(&in);
        item->depth = c2_rd_u8(&in);
        c2_rd_copy(&in, item->path, sizeof item->path);
        c2_rd_copy(&in, item->hash, sizeof item->hash);
    }
    msg_write_state_fetch(&msg, &h, &f);
    struct bft_job *job = c2_calloc(1, sizeof *job);
    job->kind = BFT_JOB_SERVE;
    job->body = c2_blob_copy(msg.data, msg.len);
    job->in = c2_blob_slice(job->body);
    run(g, job);
    c2_buf_append(answers, job->out.data, job->out.len);
    bft_job_free(job);
    c2_buf_done(&msg);
}

/* One SYNC; what it wants is appended. */
static void
sync_step(struct rig *g, const uint8_t *digest, const struct c2_buf *answers, struct c2_buf *wanted,
          struct bft_job *ret)
{
    struct bft_job *job = c2_calloc(1, sizeof *job);
    job->kind = BFT_JOB_SYNC;
    job->begin = answers == NULL;
    job->count = MSG_WANTED_MAX;
    memcpy(job->digest, digest, MSG_DIGEST_LEN);
    if (answers != NULL)
        job->in = c2_buf_slice(answers);
    run(g, job);
    c2_buf_clear(wanted);
    c2_buf_append(wanted, job->out.data, job->out.len);
    *ret = (struct bft_job){ .bad = job->bad, .finished = job->finished };
    bft_job_free(job);
}

/* Changes the last byte of the first answer of this kind; false = there is none. */
static bool
spoil(struct c2_buf *answers, uint8_t kind)
{
    struct c2_rd in = c2_rd_init(c2_buf_slice(answers));
    while (c2_rd_left(&in) > 0) {
        uint8_t have = c2_rd_u8(&in);
        c2_rd_raw(&in, MSG_DIGEST_LEN);
        struct c2_slice bytes = c2_rd_bytes(&in, MSG_BYTES_MAX);
        if (have != kind)
            continue;
        answers->data[bytes.data + bytes.len - 1 - answers->data] ^= 1;
        return true;
    }
    return false;
}

/* Copies the state of one to the other; the first part of this kind is wrong when it comes first.
 * Returns how many parts were asked for. */
static size_t
transfer(struct rig *from, struct rig *to, const uint8_t *digest, uint8_t wrong)
{
    struct c2_buf wanted = { 0 };
    struct bft_job r;
    bool spoiled = false;
    size_t asked = 0;
    sync_step(to, digest, NULL, &wanted, &r);
    while (!r.finished) {
        struct c2_buf answers = { 0 };
        asked += wanted.len / WANTED_LEN;
        serve(from, &wanted, &answers);
        bool now = !spoiled && spoil(&answers, wrong);
        sync_step(to, digest, &answers, &wanted, &r);
        assert_true(r.bad == now);
        spoiled = spoiled || now;
        c2_buf_done(&answers);
    }
    assert_true(spoiled || wrong == 0);
    c2_buf_done(&wanted);
    return asked;
}

static void
execute_keys(struct rig *g, const char *value)
{
    for (unsigned i = 0; i < KEYS; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%u", i);
        execute(g, key, value);
    }
}

static void
transfer__notices_a_wrong_part_of_each_kind_and_asks_again(void **state)
{
    static const uint8_t kinds[] = { MSG_STATE_HEAD, MSG_STATE_NODE, MSG_STATE_ENTRY,
                                     MSG_STATE_BRANCH };
    struct rig *g = *state;
    uint8_t digest[MSG_DIGEST_LEN], disk[MSG_DIGEST_LEN];
    execute_keys(g, "value");
    checkpoint(g, false, digest);
    for (size_t i = 0; i < C2_ARRAY_LEN(kinds); i++) {
        struct rig other = { .t = g->t };
        char name[16];
        snprintf(name, sizeof name, "other%zu", i);
        other.path = test_env_path(g->t, name);
        start(&other, true);
        if (kinds[i] == MSG_STATE_NODE || kinds[i] == MSG_STATE_ENTRY) {
            execute_keys(&other, "another value"); /* it has nodes to compare with */
            checkpoint(&other, false, disk);
        }
        transfer(g, &other, digest, kinds[i]);
        restart(&other, disk);
        assert_memory_equal(disk, digest, sizeof disk);
        bft_exec_free(other.x);
        c2_free(other.path);
    }
}

/* Two answers are on their way, and the first one has all that is missing. */
static void
transfer__is_over_when_one_more_answer_comes(void **state)
{
    struct rig *g = *state;
    struct rig other = { .t = g->t, .path = test_env_path(g->t, "other") };
    struct c2_buf none = { 0 }, wanted = { 0 };
    uint8_t digest[MSG_DIGEST_LEN], disk[MSG_DIGEST_LEN];
    struct bft_job r;
    execute(g, "key", "value");
    checkpoint(g, false, digest);
    start(&other, true);
    transfer(g, &other, digest, 0);
    sync_step(&other, digest, &none, &wanted, &r);
    assert_false(r.bad);
    assert_false(r.finished);
    assert_int_equal(wanted.len, 0);
    restart(&other, disk);
    assert_memory_equal(disk, digest, sizeof disk);
    bft_exec_free(other.x);
    c2_free(other.path);
    c2_buf_done(&wanted);
}

/* The room for the store is found too small while a state is fetched into it. */
static void
transfer__goes_on_when_the_store_must_grow(void **state)
{
    struct rig *g = *state;
    struct rig other = { .t = g->t };
    uint8_t digest[MSG_DIGEST_LEN], disk[MSG_DIGEST_LEN];
    static char value[COORD_VALUE_MAX];
    memset(value, 'v', sizeof value - 1);
    for (unsigned i = 0; i < BIG_KEYS; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%u", i);
        execute(g, key, value);
    }
    checkpoint(g, false, digest);
    other.path = test_env_path(g->t, "other");
    start_sized(&other, true, 2u << 20);
    transfer(g, &other, digest, 0);
    restart(&other, disk);
    assert_memory_equal(disk, digest, sizeof disk);
    bft_exec_free(other.x);
    c2_free(other.path);
}

static void
transfer__to_an_empty_replica_takes_whole_leaves(void **state)
{
    struct rig *g = *state;
    struct rig other = { .t = g->t };
    uint8_t digest[MSG_DIGEST_LEN], disk[MSG_DIGEST_LEN];
    execute_keys(g, "value");
    checkpoint(g, false, digest);
    other.path = test_env_path(g->t, "other");
    start(&other, true);
    /* The head, the root and its children, each with all that is below it. */
    assert_true(transfer(g, &other, digest, 0) <= 2 + 16);
    restart(&other, disk);
    assert_memory_equal(disk, digest, sizeof disk);
    bft_exec_free(other.x);
    c2_free(other.path);
}

/* ---- who may do what ---------------------------------------------------------------------------
 */

/* One batch in which administrators give the prefix to a client; the list that the job tells of. */
static uint64_t
change_acl(struct rig *g, const char *prefix, uint64_t number, bool *ret_told)
{
    struct coord_grant grant = { .key = { 1 }, .rights = COORD_MAY_READ };
    struct c2_slice key = c2_slice_str(prefix);
    struct coord_req r = { .verb = COORD_ACL_SET, .keys = &key, .nkeys = 1 };
    struct c2_buf cmd = { 0 };
    struct rights t = { 0 };
    r.grants = &grant;
    r.ngrants = 1;
    r.version_in = number;
    coord_txn_encode(&r, &cmd);
    struct bft_job *job = c2_calloc(1, sizeof *job);
    job->kind = BFT_JOB_EXECUTE;
    job->n = ++g->n;
    job->time_ns = g->n * 1000;
    job->body = c2_blob_copy(cmd.data, cmd.len);
    job->commands = c2_calloc(1, sizeof *job->commands);
    job->ncommands = 1;
    job->commands[0].op = c2_blob_slice(job->body);
    job->commands[0].admin = true;
    run(g, job);
    *ret_told = job->acl_changed;
    assert_int_equal(rights_load(&t, c2_buf_slice(&job->acl)), C2_E_OK);
    uint64_t entries = t.n;
    rights_done(&t);
    bft_job_free(job);
    c2_buf_done(&cmd);
    return entries;
}

static enum c2_err
ask(struct rig *g, const char *key, uint8_t who)
{
    struct c2_slice k = c2_slice_str(key);
    struct coord_req r = { .verb = COORD_GET, .keys = &k, .nkeys = 1 };
    struct c2_buf cmd = { 0 };
    coord_txn_encode(&r, &cmd);
    struct bft_job *job = c2_calloc(1, sizeof *job);
    job->kind = BFT_JOB_QUERY;
    job->body = c2_blob_copy(cmd.data, cmd.len);
    job->in = c2_blob_slice(job->body);
    job->key[0] = who;
    run(g, job);
    struct coord_req answer = { .verb = COORD_GET };
    cmd_reply_take(&answer, &job->out);
    enum c2_err err = answer.err;
    coord_req_done(&answer);
    bft_job_free(job);
    c2_buf_done(&cmd);
    return err;
}

static void
rights__hold_for_queries_and_are_told_when_they_change(void **state)
{
    struct rig *g = *state;
    uint8_t digest[MSG_DIGEST_LEN], disk[MSG_DIGEST_LEN];
    bool told = false;
    assert_int_equal(change_acl(g, "/v/", 0, &told), 1);
    assert_true(told);
    assert_int_equal(ask(g, "/v/k", 1), C2_E_OK);
    assert_int_equal(ask(g, "/v/k", 2), C2_E_NOT_PERMITTED);
    assert_int_equal(change_acl(g, "/w/", 0, &told), 0); /* refused: nothing new */
    assert_false(told);
    assert_int_equal(ask(g, "/w/k", 2), C2_E_OK);
    checkpoint(g, false, digest);
    assert_int_equal(change_acl(g, "/w/", 1, &told), 2);
    assert_true(told);
    assert_int_equal(ask(g, "/w/k", 2), C2_E_NOT_PERMITTED);
    restart(g, disk); /* what was not on disk is gone, and is done again */
    assert_int_equal(ask(g, "/w/k", 2), C2_E_OK);
    assert_int_equal(ask(g, "/v/k", 2), C2_E_NOT_PERMITTED);
    assert_int_equal(change_acl(g, "/w/", 1, &told), 2);
    assert_true(told);
}

static void
rights__come_with_a_state_that_is_fetched(void **state)
{
    struct rig *g = *state;
    struct rig other = { .t = g->t };
    uint8_t digest[MSG_DIGEST_LEN];
    bool told = false;
    other.path = test_env_path(g->t, "other");
    start(&other, true);
    assert_int_equal(change_acl(&other, "/x/", 0, &told), 1); /* as many changes, but others */
    assert_int_equal(ask(&other, "/v/k", 2), C2_E_OK);
    assert_int_equal(change_acl(g, "/v/", 0, &told), 1);
    execute_keys(g, "value");
    checkpoint(g, false, digest);
    transfer(g, &other, digest, MSG_STATE_HEAD);
    assert_int_equal(ask(&other, "/v/k", 2), C2_E_NOT_PERMITTED);
    assert_int_equal(ask(&other, "/x/k", 2), C2_E_OK);
    assert_int_equal(change_acl(&other, "/w/", 0, &told), 1); /* refused */
    assert_true(told);
    bft_exec_free(other.x);
    c2_free(other.path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(checkpoint__is_on_disk_and_served),
        TEST(held_checkpoint__leaves_the_one_before_on_disk),
        TEST(commit__makes_a_held_checkpoint_durable_and_keeps_what_came_after_it),
        TEST(commit__of_the_newest_held_checkpoint_goes_through),
        TEST(commit__of_what_is_not_held_changes_nothing),
        TEST(rights__hold_for_queries_and_are_told_when_they_change),
        TEST(rights__come_with_a_state_that_is_fetched),
        TEST(answers__of_one_batch_take_bounded_memory),
        TEST(transfer__notices_a_wrong_part_of_each_kind_and_asks_again),
        TEST(transfer__goes_on_when_the_store_must_grow),
        TEST(transfer__is_over_when_one_more_answer_comes),
        TEST(transfer__to_an_empty_replica_takes_whole_leaves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
