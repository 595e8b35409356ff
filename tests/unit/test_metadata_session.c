/* SPDX-License-Identifier: MIT */
/*
 * Sessions, ephemeral keys, locks with fencing tokens, and watches.
 */
#include "base/alloc.h"
#include "base/buf.h"
#include "metadata/local.h"
#include "tests/lib/coord_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TTL  (10 * C2_NS_PER_S)
#define MORE (3 * C2_NS_PER_S) /* of replicas with wrong clocks, when they start: clock_skew_ns */

/* Lets time pass. Replicas agree on what time it is now and then only. */
static void
pass(struct coord_fixture *f, uint64_t ns)
{
    test_env_run_for(f->t, f->rig == NULL ? ns : ns + 3 * C2_NS_PER_S);
}

/* A local store without sessions has nothing to wait for. */
static void
assert_no_timers(struct coord_fixture *f)
{
    assert_false(f->rig == NULL && test_env_has_timers(f->t));
}

static enum c2_err
put_ephemeral(struct coord_fixture *f, uint64_t session, const char *key, uint64_t *ret_version)
{
    return txn_op(f, op(COORD_PUT_EPHEMERAL, key, "mine", (int64_t)session), ret_version);
}

/* --- sessions -------------------------------------------------------------------------------- */

static void
session__expires_by_itself_with_its_keys(void **state)
{
    struct coord_fixture *f = *state;
    uint64_t s = session_open(f, TTL);
    uint64_t version = 0;
    assert_int_equal(put_ephemeral(f, s, "e1", NULL), C2_E_OK);
    assert_int_equal(put_ephemeral(f, s, "e2", &version), C2_E_OK);
    put(f, "plain", "");
    test_env_run_for(f->t, TTL - 1);
    assert_value(f, "e1", "mine");
    pass(f, 1);
    assert_absent(f, "e1");
    assert_absent(f, "e2");
    assert_value(f, "plain", "");
    assert_int_equal(put_ephemeral(f, s, "e3", NULL), C2_E_SESSION);
    assert_int_equal(session_keepalive(f, s), C2_E_SESSION);
    assert_int_equal(session_close(f, s), C2_E_SESSION);
    /* The end of the session was one step. */
    assert_int_equal(put(f, "next", ""), version + 3);
    assert_no_timers(f);
}

static void
session__lives_as_long_as_it_is_kept_alive(void **state)
{
    struct coord_fixture *f = *state;
    uint64_t kept = session_open(f, TTL);
    uint64_t other = session_open(f, TTL);
    assert_int_equal(put_ephemeral(f, kept, "kept", NULL), C2_E_OK);
    assert_int_equal(put_ephemeral(f, other, "other", NULL), C2_E_OK);
    for (int i = 0; i < 5; i++) {
        test_env_run_for(f->t, TTL - 1);
        assert_int_equal(session_keepalive(f, kept), C2_E_OK);
    }
    assert_value(f, "kept", "mine");
    assert_absent(f, "other");
    pass(f, TTL);
    assert_absent(f, "kept");
}

static void
session__ends_when_closed(void **state)
{
    struct coord_fixture *f = *state;
    uint64_t a = session_open(f, TTL);
    uint64_t b = session_open(f, TTL);
    assert_int_not_equal(a, b);
    assert_int_equal(put_ephemeral(f, a, "a", NULL), C2_E_OK);
    assert_int_equal(put_ephemeral(f, b, "b", NULL), C2_E_OK);
    assert_int_equal(session_close(f, a), C2_E_OK);
    assert_absent(f, "a");
    assert_value(f, "b", "mine");
    assert_int_equal(session_close(f, b), C2_E_OK);
}

static void
ephemeral__belongs_to_who_put_it_last(void **state)
{
    struct coord_fixture *f = *state;
    uint64_t a = session_open(f, TTL);
    uint64_t b = session_open(f, TTL);
    assert_int_equal(put_ephemeral(f, a, "moved", NULL), C2_E_OK);
    assert_int_equal(put_ephemeral(f, b, "moved", NULL), C2_E_OK);
    assert_int_equal(put_ephemeral(f, a, "made plain", NULL), C2_E_OK);
    put(f, "made plain", "stays");
    put(f, "made mine", "goes");
    assert_int_equal(put_ephemeral(f, a, "made mine", NULL), C2_E_OK);
    assert_int_equal(put_ephemeral(f, a, "deleted", NULL), C2_E_OK);
    assert_int_equal(txn_op(f, op(COORD_DELETE, "deleted", NULL, 0), NULL), C2_E_OK);
    put(f, "deleted", "new");
    assert_int_equal(txn_op(f, op(COORD_ADD, "counter", NULL, 1), NULL), C2_E_OK);
    assert_int_equal(session_close(f, a), C2_E_OK);
    assert_value(f, "moved", "mine");
    assert_value(f, "made plain", "stays");
    assert_absent(f, "made mine");
    assert_value(f, "deleted", "new");
    assert_int_equal(session_close(f, b), C2_E_OK);
    assert_absent(f, "moved");
}

static void
add__keeps_an_ephemeral_counter_ephemeral(void **state)
{
    struct coord_fixture *f = *state;
    uint64_t s = session_open(f, TTL);
    const struct coord_op o = { COORD_PUT_EPHEMERAL, c2_slice_str("n"),
                                c2_slice("\1\0\0\0\0\0\0\0", 8), (int64_t)s };
    assert_int_equal(txn_op(f, o, NULL), C2_E_OK);
    assert_int_equal(txn_op(f, op(COORD_ADD, "n", NULL, 2), NULL), C2_E_OK);
    const struct c2_slice key = c2_slice_str("n");
    struct coord_call read = { .r = { .verb = COORD_GET, .keys = &key, .nkeys = 1 } };
    assert_int_equal(coord_call_run(f, &read), C2_E_OK);
    assert_int_equal(read.r.entries[0].value.data[0], 3);
    assert_int_equal(read.r.entries[0].session, s);
    coord_req_done(&read.r);
    assert_int_equal(session_close(f, s), C2_E_OK);
    assert_absent(f, "n");
}

/* The protocol of coord.h: a lock is an ephemeral key, its version the token. */
static void
lock__fences_its_stale_holder(void **state)
{
    struct coord_fixture *f = *state;
    uint64_t first = session_open(f, TTL);
    uint64_t second = session_open(f, 100 * TTL);
    const struct coord_cond free_lock = cond(COORD_ABSENT, "lock", NULL, 0);
    struct coord_op take = op(COORD_PUT_EPHEMERAL, "lock", "1", (int64_t)first);
    uint64_t token1 = 0;
    uint64_t token2 = 0;
    assert_int_equal(txn(f, &free_lock, 1, &take, 1, &token1), C2_E_OK);
    take = op(COORD_PUT_EPHEMERAL, "lock", "2", (int64_t)second);
    assert_int_equal(txn(f, &free_lock, 1, &take, 1, NULL), C2_E_CONFLICT);
    assert_int_equal(
        txn_if(f, cond(COORD_VERSION_EQ, "lock", NULL, token1), op(COORD_PUT, "data", "by 1", 0)),
        C2_E_OK);
    pass(f, TTL); /* the first holder sleeps too long */
    assert_int_equal(txn(f, &free_lock, 1, &take, 1, &token2), C2_E_OK);
    assert_true(token2 > token1);
    assert_int_equal(
        txn_if(f, cond(COORD_VERSION_EQ, "lock", NULL, token1), op(COORD_PUT, "data", "stale", 0)),
        C2_E_CONFLICT);
    assert_value(f, "data", "by 1");
    assert_int_equal(
        txn_if(f, cond(COORD_VERSION_EQ, "lock", NULL, token2), op(COORD_PUT, "data", "by 2", 0)),
        C2_E_OK);
}

static void
session__expires_before_a_command_that_comes_too_late(void **state)
{
    struct coord_fixture *f = *state;
    uint64_t s = session_open(f, TTL);
    assert_int_equal(put_ephemeral(f, s, "e", NULL), C2_E_OK);
    coord_fixture_close(f);
    /* While nobody has the store open no timer runs; the wall clock goes on. */
    pass(f, TTL);
    coord_fixture_open(f);
    assert_int_equal(
        txn_if(f, cond(COORD_SESSION_ALIVE, NULL, NULL, s), op(COORD_PUT, "late", "", 0)),
        C2_E_CONFLICT);
    assert_absent(f, "e");
}

static void
session__survives_a_restart_within_its_time(void **state)
{
    struct coord_fixture *f = *state;
    uint64_t s = session_open(f, TTL);
    assert_int_equal(put_ephemeral(f, s, "e", NULL), C2_E_OK);
    coord_fixture_close(f);
    test_env_run_for(f->t, TTL / 2);
    coord_fixture_open(f);
    assert_value(f, "e", "mine");
    test_env_run_for(f->t, TTL / 2 - 1);
    assert_value(f, "e", "mine");
    pass(f, 1);
    assert_absent(f, "e");
}

static void
clock__does_not_follow_the_wall_backwards(void **state)
{
    struct coord_fixture *f = *state;
    test_env_run_for(f->t, 1000 * C2_NS_PER_S);
    uint64_t s = session_open(f, TTL);
    coord_fixture_close(f);
    test_env_wall_jump(f->t, -500 * (int64_t)C2_NS_PER_S);
    uint64_t from_ns = c2_now_ns(f->env);
    coord_fixture_open(f);
    assert_int_equal(session_keepalive(f, s), C2_E_OK);
    assert_in_range(c2_now_ns(f->env) - from_ns, 0, 50 * C2_NS_PER_S);
    pass(f, TTL + MORE);
    assert_int_equal(session_keepalive(f, s), C2_E_SESSION);
}

/* While it runs; of the machine, or of all machines with replicas. */
static void
clock__goes_on_when_the_wall_is_set_back(void **state)
{
    struct coord_fixture *f = *state;
    test_env_run_for(f->t, 1000 * C2_NS_PER_S);
    uint64_t s = session_open(f, TTL);
    uint64_t from_ns = c2_now_ns(f->env);
    test_env_wall_jump(f->t, -3600 * (int64_t)C2_NS_PER_S);
    put(f, "key", "value");
    assert_in_range(c2_now_ns(f->env) - from_ns, 0, C2_NS_PER_S); /* nobody waits for anything */
    assert_int_equal(session_keepalive(f, s), C2_E_OK);
    test_env_run_for(f->t, TTL - 1);
    assert_int_equal(session_keepalive(f, s), C2_E_OK);
    pass(f, TTL);
    assert_int_equal(session_keepalive(f, s), C2_E_SESSION);
}

static void
open__is_refused_beyond_the_number_of_sessions(void **state)
{
    struct coord_fixture *f = *state;
    struct coord_call *calls = c2_calloc(COORD_SESSIONS_MAX + 1, sizeof *calls);
    for (size_t i = 0; i <= COORD_SESSIONS_MAX; i++) {
        calls[i].r.verb = COORD_SESSION_OPEN;
        calls[i].r.ttl_ns = TTL;
        coord_call_start(f, &calls[i]);
    }
    for (size_t i = 0; i < COORD_SESSIONS_MAX; i++) {
        coord_call_wait(f, &calls[i]);
        assert_int_equal(calls[i].r.err, C2_E_OK);
    }
    coord_call_wait(f, &calls[COORD_SESSIONS_MAX]);
    assert_int_equal(calls[COORD_SESSIONS_MAX].r.err, C2_E_QUOTA);
    assert_int_equal(session_close(f, calls[7].r.session), C2_E_OK);
    session_open(f, TTL);
    pass(f, TTL + C2_NS_PER_MS); /* all end, some at a time */
    assert_no_timers(f);
    c2_free(calls);
}

/* --- watches --------------------------------------------------------------------------------- */

struct watcher {
    struct coord_watch w;
    struct coord_fixture *f;
    struct c2_buf seen; /* "+key@version " or "-key@version " */
    size_t reloads;
    bool once; /* unwatch in the event */
};

static void
on_event(struct coord_watch *w, struct c2_slice key, uint64_t version, bool deleted)
{
    struct watcher *watcher = C2_CONTAINER_OF(w, struct watcher, w);
    c2_buf_printf(&watcher->seen, "%c%.*s@%llu ", deleted ? '-' : '+', (int)key.len, key.data,
                  (unsigned long long)version);
    if (watcher->once)
        coord_unwatch(watcher->f->c, w);
}

static void
on_reload(struct coord_watch *w)
{
    C2_CONTAINER_OF(w, struct watcher, w)->reloads++;
}

static struct watcher
watcher(struct coord_fixture *f, const char *prefix)
{
    return (struct watcher){
        .f = f,
        .w = { .prefix = c2_slice_str(prefix), .event = on_event, .reload = on_reload },
    };
}

/* Events of replicas come when enough of them have told. */
static void
settle(struct coord_fixture *f)
{
    if (f->rig != NULL)
        test_env_run_for(f->t, 2 * C2_NS_PER_S);
}

/* Watches of replicas begin with a reload, when they have begun. */
static void
start_watch(struct coord_fixture *f, struct watcher *w)
{
    coord_watch(f->c, &w->w);
    settle(f);
    assert_int_equal(w->reloads, f->rig != NULL);
    w->reloads = 0;
}

static void
watch__tells_every_change_under_its_prefix_in_order(void **state)
{
    struct coord_fixture *f = *state;
    put(f, "a/0", ""); /* 1, before the watch */
    struct watcher w = watcher(f, "a/");
    start_watch(f, &w);
    put(f, "a/1", "");                 /* 2 */
    put(f, "b/1", "");                 /* 3 */
    uint64_t s = session_open(f, TTL); /* 4 */
    put_ephemeral(f, s, "a/e", NULL);  /* 5 */
    const struct coord_op ops[] = { op(COORD_PUT, "a/2", "", 0),
                                    op(COORD_DELETE, "a/none", NULL, 0),
                                    op(COORD_DELETE, "a/1", NULL, 0), op(COORD_ADD, "b", NULL, 1) };
    txn(f, NULL, 0, ops, 4, NULL);                                            /* 6 */
    txn_if(f, cond(COORD_EXISTS, "x", NULL, 0), op(COORD_PUT, "a/3", "", 0)); /* fails */
    const struct coord_op bad[] = { op(COORD_PUT, "a/4", "", 0), op(COORD_ADD, "a/0", NULL, 1) };
    txn(f, NULL, 0, bad, 2, NULL);                          /* fails */
    txn_op(f, op(COORD_DELETE_RANGE, "a/", NULL, 0), NULL); /* 7 */
    put_ephemeral(f, s, "a/e", NULL);                       /* 8 */
    pass(f, TTL);                                           /* 9 */
    assert_string_equal(c2_buf_cstr(&w.seen), "+a/1@2 +a/e@5 +a/2@6 -a/1@6 "
                                              "-a/0@7 -a/2@7 -a/e@7 +a/e@8 -a/e@9 ");
    assert_int_equal(w.reloads, 0);
    coord_unwatch(f->c, &w.w);
    put(f, "a/9", "");
    settle(f);
    assert_null(strstr(c2_buf_cstr(&w.seen), "a/9"));
    c2_buf_done(&w.seen);
}

static void
watch__may_end_inside_an_event(void **state)
{
    struct coord_fixture *f = *state;
    struct watcher ws[3];
    for (size_t i = 0; i < 3; i++) {
        ws[i] = watcher(f, "");
        ws[i].once = i != 1;
        start_watch(f, &ws[i]);
    }
    const struct coord_op ops[] = { op(COORD_PUT, "x", "", 0), op(COORD_PUT, "y", "", 0) };
    txn(f, NULL, 0, ops, 2, NULL);
    settle(f);
    assert_string_equal(c2_buf_cstr(&ws[0].seen), "+x@1 ");
    assert_string_equal(c2_buf_cstr(&ws[1].seen), "+x@1 +y@1 ");
    assert_string_equal(c2_buf_cstr(&ws[2].seen), "+x@1 ");
    coord_unwatch(f->c, &ws[1].w);
    for (size_t i = 0; i < 3; i++)
        c2_buf_done(&ws[i].seen);
}

/* Long keys, so that few changes make many bytes of events. */
static void
long_key(char out[COORD_KEY_MAX], size_t range, size_t i)
{
    memset(out, 'k', COORD_KEY_MAX);
    int n = snprintf(out, COORD_KEY_MAX, "%zu/%06zu", range, i);
    out[n] = '-';
}

static void
put_long_keys(struct coord_fixture *f, size_t range, size_t n)
{
    enum { BATCH = 1024 };
    char(*keys)[COORD_KEY_MAX] = c2_calloc(BATCH, COORD_KEY_MAX);
    struct coord_op ops[BATCH];
    for (size_t i = 0; i < n; i += BATCH) {
        for (size_t j = 0; j < BATCH; j++) {
            long_key(keys[j], range, i + j);
            ops[j] = (struct coord_op){ COORD_PUT, c2_slice(keys[j], COORD_KEY_MAX),
                                        c2_slice("", 0), 0 };
        }
        assert_int_equal(txn(f, NULL, 0, ops, BATCH, NULL), C2_E_OK);
    }
    c2_free(keys);
}

static void
watch__asks_to_reload_when_events_are_too_many(void **state)
{
    struct coord_fixture *f = *state;
    enum { RANGES = 5 };
    for (size_t i = 0; i < RANGES; i++)
        put_long_keys(f, i, COORD_DELETE_RANGE_MAX);
    struct watcher w = watcher(f, "3/");
    start_watch(f, &w);
    char prefixes[RANGES][4];
    struct coord_op ops[RANGES];
    struct coord_call calls[RANGES] = { 0 };
    for (size_t i = 0; i < RANGES; i++) { /* one group */
        snprintf(prefixes[i], sizeof prefixes[i], "%zu/", i);
        ops[i] = op(COORD_DELETE_RANGE, prefixes[i], NULL, 0);
        calls[i].r.ops = &ops[i];
        calls[i].r.nops = 1;
        coord_call_start(f, &calls[i]);
    }
    for (size_t i = 0; i < RANGES; i++) {
        coord_call_wait(f, &calls[i]);
        assert_int_equal(calls[i].r.err, C2_E_OK);
    }
    settle(f);
    assert_true(w.reloads == 1 || (f->rig != NULL && w.reloads > 1));
    assert_int_equal(w.seen.len, 0);
    put(f, "3/new", "");
    settle(f);
    assert_non_null(strstr(c2_buf_cstr(&w.seen), "+3/new@"));
    coord_unwatch(f->c, &w.w);
    c2_buf_done(&w.seen);
}

int
main(void)
{
#define T(test)                                                                                    \
    cmocka_unit_test_setup_teardown(test, coord_fixture_setup, coord_fixture_teardown),            \
    {                                                                                              \
#test "__bft", test, coord_fixture_setup_bft, coord_fixture_teardown, NULL                 \
    }
    const struct CMUnitTest tests[] = {
        T(session__expires_by_itself_with_its_keys),
        T(session__lives_as_long_as_it_is_kept_alive),
        T(session__ends_when_closed),
        T(ephemeral__belongs_to_who_put_it_last),
        T(add__keeps_an_ephemeral_counter_ephemeral),
        T(lock__fences_its_stale_holder),
        T(session__expires_before_a_command_that_comes_too_late),
        T(session__survives_a_restart_within_its_time),
        T(clock__does_not_follow_the_wall_backwards),
        T(clock__goes_on_when_the_wall_is_set_back),
        cmocka_unit_test_setup_teardown(open__is_refused_beyond_the_number_of_sessions,
                                        coord_fixture_setup, coord_fixture_teardown),
        T(watch__tells_every_change_under_its_prefix_in_order),
        T(watch__may_end_inside_an_event),
        T(watch__asks_to_reload_when_events_are_too_many),
    };
    return cmocka_run_group_tests_name("metadata_session", tests, NULL, NULL);
}
