/* SPDX-License-Identifier: MIT */
/*
 * Very many sessions that end at once, with very many keys: nobody waits long for it, all replicas
 * do the same, and a session that is still to be ended is as dead as one that has ended.
 */
#include "base/alloc.h"
#include "base/crypto.h"
#include "metadata/cmd.h"
#include "metadata/store_int.h"
#include "tests/lib/bft_rig.h"
#include "tests/lib/coord_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MAP_SIZE (64u << 20)
#define SESSIONS 8u
#define KEYS     1000u /* of each */
#define TTL_NS   (10 * C2_NS_PER_S)
#define LATER_NS (100 * C2_NS_PER_S)

struct rig {
    struct test_env *t;
    unsigned stores;
};

struct side {
    struct replica_app *app;
    struct replica_batch *b;
};

static int
set_up(void **state)
{
    struct rig *g = c2_calloc(1, sizeof *g);
    assert_int_equal(c2_crypto_init(), C2_E_OK);
    g->t = test_env_new(1);
    *state = g;
    return 0;
}

static int
tear_down(void **state)
{
    struct rig *g = *state;
    test_env_free(g->t);
    c2_free(g);
    return 0;
}

static void
begin(struct side *s)
{
    assert_int_equal(s->app->ops->begin(s->app, &s->b), C2_E_OK);
}

static void
commit(struct side *s)
{
    assert_int_equal(s->app->ops->commit(s->b), C2_E_OK);
    s->app->ops->end(s->b);
    s->b = NULL;
}

static struct side
new_side(struct rig *g)
{
    struct side s = { 0 };
    char name[32], *error = NULL;
    const struct store_options o = { .map_size = MAP_SIZE, .create = true, .replicated = true };
    snprintf(name, sizeof name, "store-%u", g->stores++);
    C2_AUTO(c2_free_auto) char *path = test_env_path(g->t, name);
    assert_int_equal(store_open(path, &o, &s.app, &error), C2_E_OK);
    begin(&s);
    return s;
}

static void
close_side(struct side *s)
{
    s->app->ops->end(s->b);
    s->app->ops->close(s->app);
}

/* The answer's error; its session in *ret_session, which may be NULL. */
static enum c2_err
apply(struct side *s, uint64_t time_ns, const struct coord_req *r, uint64_t *ret_session)
{
    C2_AUTO(c2_buf_done) struct c2_buf cmd = { 0 };
    struct c2_buf reply = { 0 };
    struct coord_req answer = { .verb = r->verb };
    coord_txn_encode(r, &cmd);
    assert_int_equal(s->app->ops->apply(s->b, time_ns, NULL, c2_buf_slice(&cmd), &reply), C2_E_OK);
    cmd_reply_take(&answer, &reply);
    enum c2_err err = answer.err;
    if (ret_session != NULL)
        *ret_session = answer.session;
    coord_req_done(&answer);
    return err;
}

static enum c2_err
put_keys(struct side *s, uint64_t time_ns, uint64_t session, unsigned count)
{
    static char names[KEYS][24];
    static struct coord_op ops[KEYS];
    for (unsigned i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "%llu/%u", (unsigned long long)session, i);
        ops[i] = op(COORD_PUT_EPHEMERAL, names[i], "", (int64_t)session);
    }
    const struct coord_req r = { .verb = COORD_TXN, .ops = ops, .nops = count };
    return apply(s, time_ns, &r, NULL);
}

static uint64_t
open_session(struct side *s, uint64_t time_ns, unsigned keys)
{
    const struct coord_req r = { .verb = COORD_SESSION_OPEN, .ttl_ns = TTL_NS };
    uint64_t session = 0;
    assert_int_equal(apply(s, time_ns, &r, &session), C2_E_OK);
    assert_int_equal(put_keys(s, time_ns, session, keys), C2_E_OK);
    return session;
}

static enum c2_err
pass(struct side *s, uint64_t time_ns)
{
    const struct coord_req r = { .verb = COORD_EXPIRE };
    return apply(s, time_ns, &r, NULL);
}

static unsigned
count_keys(struct side *s, uint64_t session)
{
    C2_AUTO(c2_buf_done) struct c2_buf cmd = { 0 };
    struct c2_buf reply = { 0 };
    char prefix[24];
    snprintf(prefix, sizeof prefix, "%llu/", (unsigned long long)session);
    const struct c2_slice key = c2_slice_str(prefix);
    struct coord_req r = { .verb = COORD_RANGE, .keys = &key, .nkeys = 1 };
    coord_txn_encode(&r, &cmd);
    assert_int_equal(s->app->ops->read(s->b, NULL, c2_buf_slice(&cmd), &reply), C2_E_OK);
    cmd_reply_take(&r, &reply);
    unsigned count = (unsigned)r.nentries;
    coord_req_done(&r);
    return count;
}

static void
expire__ends_a_bounded_number_of_keys_at_one_time(void **state)
{
    struct side s = new_side(*state);
    uint64_t session[SESSIONS];
    for (unsigned i = 0; i < SESSIONS; i++)
        session[i] = open_session(&s, 1 + i, KEYS);
    unsigned ended = 0, times = 0;
    for (uint64_t at_ns = LATER_NS; ended < SESSIONS; at_ns++, times++) {
        uint64_t version = s.b->version;
        unsigned before = ended;
        for (unsigned again = 0; again < 3; again++)
            assert_int_equal(pass(&s, at_ns), C2_E_OK);
        assert_int_equal(s.b->version, version + 1);
        while (ended < SESSIONS && count_keys(&s, session[ended]) == 0)
            ended++;
        for (unsigned i = ended; i < SESSIONS; i++)
            assert_int_equal(count_keys(&s, session[i]), KEYS); /* all of a session or nothing */
        assert_true(ended > before);
        assert_true((ended - before - 1) * (KEYS + 1) < STORE_EXPIRE_MAX);
        assert_int_equal(s.b->due, ended < SESSIONS);
    }
    assert_true(times > 1);
    close_side(&s);
}

static void
expire__leaves_nothing_alive_that_is_late(void **state)
{
    struct side s = new_side(*state);
    for (unsigned i = 0; i < SESSIONS; i++)
        (void)open_session(&s, 1, KEYS);
    uint64_t late = open_session(&s, 2, 1), other = 0;
    assert_int_equal(pass(&s, LATER_NS), C2_E_OK);
    assert_int_equal(count_keys(&s, late), 1); /* it is still to be ended */
    struct coord_req r = { .verb = COORD_SESSION_KEEPALIVE, .session = late };
    assert_int_equal(apply(&s, LATER_NS, &r, NULL), C2_E_SESSION);
    r.verb = COORD_SESSION_CLOSE;
    assert_int_equal(apply(&s, LATER_NS, &r, NULL), C2_E_SESSION);
    assert_int_equal(put_keys(&s, LATER_NS, late, 1), C2_E_SESSION);
    const struct coord_cond alive = { .kind = COORD_SESSION_ALIVE, .number = late };
    const struct coord_op o = op(COORD_PUT, "x", "", 0);
    const struct coord_req t = {
        .verb = COORD_TXN, .conds = &alive, .nconds = 1, .ops = &o, .nops = 1
    };
    assert_int_equal(apply(&s, LATER_NS, &t, NULL), C2_E_CONFLICT);
    other = open_session(&s, LATER_NS, 1); /* others go on at once */
    assert_int_equal(count_keys(&s, other), 1);
    for (unsigned i = 1; s.b->due; i++)
        assert_int_equal(pass(&s, LATER_NS + i), C2_E_OK);
    assert_int_equal(count_keys(&s, late), 0);
    assert_int_equal(count_keys(&s, other), 1);
    close_side(&s);
}

/* A batch that ends with a checkpoint after each command, and one that goes on. */
static void
expire__is_the_same_for_who_starts_again_in_the_middle(void **state)
{
    struct side a = new_side(*state), b = new_side(*state);
    struct side *sides[] = { &a, &b };
    uint8_t digest[2][32];
    for (unsigned k = 0; k < 2; k++) {
        for (unsigned i = 0; i < SESSIONS; i++)
            (void)open_session(sides[k], 1 + i / 2, KEYS - i);
    }
    for (unsigned i = 0; i < 2 * SESSIONS; i++) {
        for (unsigned k = 0; k < 2; k++) {
            if (i % 3 == 0)
                (void)open_session(sides[k], LATER_NS + i / 2, i);
            else
                assert_int_equal(pass(sides[k], LATER_NS + i / 2), C2_E_OK);
            if (k == 0) {
                commit(sides[k]);
                begin(sides[k]);
            }
            assert_int_equal(sides[k]->app->ops->digest(sides[k]->b, digest[k]), C2_E_OK);
        }
        assert_memory_equal(digest[0], digest[1], sizeof digest[0]);
        assert_int_equal(a.b->version, b.b->version);
    }
    close_side(&a);
    close_side(&b);
}

static void
session__has_no_more_keys_than_one_step_may_change(void **state)
{
    struct side s = new_side(*state);
    const struct coord_req open = { .verb = COORD_SESSION_OPEN, .ttl_ns = TTL_NS };
    uint64_t session = 0;
    assert_int_equal(apply(&s, 1, &open, &session), C2_E_OK);
    for (unsigned i = 0; i <= COORD_TXN_CHANGES_MAX; i++) {
        char name[24];
        snprintf(name, sizeof name, "%u", i);
        const struct coord_op o = op(COORD_PUT_EPHEMERAL, name, "", (int64_t)session);
        const struct coord_req r = { .verb = COORD_TXN, .ops = &o, .nops = 1 };
        enum c2_err err = i < COORD_TXN_CHANGES_MAX ? C2_E_OK : C2_E_QUOTA;
        assert_int_equal(apply(&s, 1, &r, NULL), err);
    }
    const struct coord_op again = op(COORD_PUT_EPHEMERAL, "7", "other", (int64_t)session);
    const struct coord_req r = { .verb = COORD_TXN, .ops = &again, .nops = 1 };
    assert_int_equal(apply(&s, 1, &r, NULL), C2_E_OK); /* it is one of them */
    close_side(&s);
}

/* ---- services -------------------------------------------------------------------------------- */

static void
let_many_end(struct coord_fixture *f)
{
    static char names[KEYS][24];
    static struct coord_op ops[KEYS];
    uint64_t version = 0, last = 0;
    (void)put(f, "n", "");
    for (unsigned i = 0; i < SESSIONS; i++) {
        uint64_t session = session_open(f, TTL_NS);
        for (unsigned k = 0; k < KEYS; k++) {
            snprintf(names[k], sizeof names[k], "%u/%u", i, k);
            ops[k] = op(COORD_PUT_EPHEMERAL, names[k], "", (int64_t)session);
        }
        assert_int_equal(txn(f, NULL, 0, ops, KEYS, &version), C2_E_OK);
    }
    test_env_run_for(f->t, 2 * TTL_NS);
    for (unsigned i = 0; i < SESSIONS; i++) {
        char name[24];
        snprintf(name, sizeof name, "%u/0", i);
        assert_absent(f, name);
    }
    last = put(f, "n", "");
    assert_true(last - version > 2); /* steps */
}

static void
local__ends_all_of_them_by_itself(void **state)
{
    let_many_end(*state);
}

/* Nobody asks for anything meanwhile. */
static void
replicas__end_all_of_them_by_themselves(void **state)
{
    struct coord_fixture *f = *state;
    let_many_end(f);
    test_env_run_for(f->t, C2_NS_PER_S);
    struct bft_info first = bft_rig_info(f->rig, 0);
    for (unsigned i = 1; i < f->rig->n; i++) {
        struct bft_info info = bft_rig_info(f->rig, i);
        assert_int_equal(info.executed, first.executed);
        assert_int_equal(info.view, 0);
    }
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(expire__ends_a_bounded_number_of_keys_at_one_time),
        T(expire__leaves_nothing_alive_that_is_late),
        T(expire__is_the_same_for_who_starts_again_in_the_middle),
        T(session__has_no_more_keys_than_one_step_may_change),
        cmocka_unit_test_setup_teardown(local__ends_all_of_them_by_itself, coord_fixture_setup,
                                        coord_fixture_teardown),
        cmocka_unit_test_setup_teardown(replicas__end_all_of_them_by_themselves,
                                        coord_fixture_setup_bft, coord_fixture_teardown),
    };
    return cmocka_run_group_tests_name("metadata_expire", tests, NULL, NULL);
}
