/* SPDX-License-Identifier: MIT */
/*
 * The state of one store into another: whatever is there before, in whatever order parts come, with
 * limits that let every way be taken, and with a crash, another target or a full map at any point.
 */
#include "metadata/store.h"

#include "base/alloc.h"
#include "base/crypto.h"
#include "metadata/cmd.h"
#include "metadata/store_int.h"
#include "metadata/verify.h"
#include "tests/lib/test_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define KEYS       300u
#define MAP_SIZE   (64u << 20)
#define PARTS      7u
#define STEPS_MAX  100000u
#define LIST_BYTES (PARTS * sizeof(struct replica_part))

struct side {
    char *path;
    struct replica_app *app;
    uint8_t digest[32]; /* of the last checkpoint */
    uint64_t session;   /* of ephemeral keys; 0 = none */
    uint64_t map_size;
    struct store_fetch_limits limits;
};

struct rig {
    char folder[64];
    struct side from, to;
    uint64_t now_ns, random;
    unsigned sides;
    unsigned entries; /* that have come */
};

/* Nothing sorted in a file; a file; a file that is full again and again, in small pieces. */
static const struct store_fetch_limits all_limits[] = {
    { .memory = 0 },
    { .memory = 4096, .piece = 8192 },
    { .memory = 2048, .file = 20000, .piece = 3000 },
    { .memory = 1, .file = 1, .piece = 1000 },
};

static void
open_side(struct side *s, bool create)
{
    char *error = NULL;
    const struct store_options o = { .map_size = s->map_size != 0 ? s->map_size : MAP_SIZE,
                                     .create = create,
                                     .replicated = true,
                                     .fetch = s->limits };
    assert_int_equal(store_open(s->path, &o, &s->app, &error), C2_E_OK);
}

static void
close_side(struct side *s)
{
    if (s->app == NULL)
        return;
    s->app->ops->close(s->app);
    test_disk_remove_tree(s->path);
    c2_free(s->path);
    *s = (struct side){ 0 };
}

static void
new_side(struct rig *g, struct side *s, const struct store_fetch_limits *limits)
{
    *s = (struct side){ .path = c2_asprintf("%s/%u", g->folder, g->sides++) };
    if (limits != NULL)
        s->limits = *limits;
    open_side(s, true);
}

static int
set_up(void **state)
{
    struct rig *g = c2_calloc(1, sizeof *g);
    /* In memory, if there is such a place: every piece is made durable. */
    const char *top = access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
    assert_int_equal(c2_crypto_init(), C2_E_OK);
    snprintf(g->folder, sizeof g->folder, "%s/c2fs-fetch-XXXXXX", top);
    assert_non_null(mkdtemp(g->folder));
    g->random = 88172645463325252ull;
    new_side(g, &g->from, NULL);
    *state = g;
    return 0;
}

static int
tear_down(void **state)
{
    struct rig *g = *state;
    close_side(&g->from);
    close_side(&g->to);
    test_disk_remove_tree(g->folder);
    c2_free(g);
    return 0;
}

static unsigned
below(struct rig *g, unsigned n)
{
    g->random ^= g->random << 13;
    g->random ^= g->random >> 7;
    g->random ^= g->random << 17;
    return (unsigned)(g->random % n);
}

/* ---- what is in a store ---------------------------------------------------------------------- */

static uint64_t
apply(struct rig *g, struct replica_batch *b, const struct coord_req *r)
{
    C2_AUTO(c2_buf_done) struct c2_buf cmd = { 0 };
    struct c2_buf reply = { 0 };
    struct coord_req answer = { .verb = r->verb };
    coord_txn_encode(r, &cmd);
    g->now_ns += 1000;
    assert_int_equal(b->app->ops->apply(b, g->now_ns, NULL, c2_buf_slice(&cmd), &reply), C2_E_OK);
    cmd_reply_take(&answer, &reply);
    assert_int_equal(answer.err, C2_E_OK);
    uint64_t session = answer.session;
    coord_req_done(&answer);
    return session;
}

static struct replica_batch *
begin(struct side *s)
{
    struct replica_batch *b = NULL;
    assert_int_equal(s->app->ops->begin(s->app, &b), C2_E_OK);
    return b;
}

static void
end(struct side *s, struct replica_batch *b)
{
    assert_int_equal(s->app->ops->digest(b, s->digest), C2_E_OK);
    assert_int_equal(s->app->ops->commit(b), C2_E_OK);
    s->app->ops->end(b);
}

static void
change_one(struct rig *g, struct side *s, struct replica_batch *b, unsigned i,
           enum coord_op_kind kind)
{
    static char value[3000];
    char key[32];
    snprintf(key, sizeof key, "key-%u", i);
    struct coord_op op = { .kind = kind, .key = c2_slice_str(key) };
    if (kind != COORD_DELETE) {
        size_t len = i % 50 == 0 ? sizeof value : i % 400;
        memset(value, (int)(i % 26 + 'a'), len);
        op.value = c2_slice(value, len);
    }
    if (kind == COORD_PUT_EPHEMERAL)
        op.number = (int64_t)s->session;
    const struct coord_req r = { .verb = COORD_TXN, .ops = &op, .nops = 1 };
    (void)apply(g, b, &r);
}

/* Keys from..to-1, `step` apart, each fifth of them of a session; a checkpoint. */
static void
put(struct rig *g, struct side *s, unsigned from, unsigned to, unsigned step)
{
    const struct coord_req open = { .verb = COORD_SESSION_OPEN, .ttl_ns = 3600 * C2_NS_PER_S };
    struct replica_batch *b = begin(s);
    if (s->session == 0)
        s->session = apply(g, b, &open);
    for (unsigned i = from; i < to; i += step)
        change_one(g, s, b, i, i % 5 == 0 ? COORD_PUT_EPHEMERAL : COORD_PUT);
    end(s, b);
}

static void
delete_keys(struct rig *g, struct side *s, unsigned from, unsigned to, unsigned step)
{
    struct replica_batch *b = begin(s);
    for (unsigned i = from; i < to; i += step)
        change_one(g, s, b, i, COORD_DELETE);
    end(s, b);
}

/* ---- fetching -------------------------------------------------------------------------------- */

/* Parts that are on their way, in the order in which they will come. */
struct way {
    struct c2_buf parts; /* owned; of struct replica_part */
    bool done;
};

/* Gives the part at a random place. */
static enum c2_err
give_one(struct rig *g, struct way *w)
{
    C2_AUTO(c2_buf_done) struct c2_buf part = { 0 };
    struct replica_part p;
    size_t at = below(g, (unsigned)(w->parts.len / sizeof p)) * sizeof p;
    memcpy(&p, w->parts.data + at, sizeof p);
    w->parts.len -= sizeof p;
    memmove(w->parts.data + at, w->parts.data + w->parts.len, sizeof p);
    assert_int_equal(g->from.app->ops->part(g->from.app, &p, &part), C2_E_OK);
    g->entries += p.kind == REPLICA_ENTRY || p.kind == REPLICA_BRANCH;
    return g->to.app->ops->fetch_put(g->to.app, p.kind, p.hash, c2_buf_slice(&part));
}

/* One call; what is wanted or a part, as chance will have it. */
static enum c2_err
step(struct rig *g, struct way *w)
{
    size_t count = w->parts.len / sizeof(struct replica_part);
    if (count > 0 && below(g, 3) > 0)
        return give_one(g, w);
    return g->to.app->ops->fetch_want(g->to.app, PARTS, &w->parts, &w->done);
}

static enum c2_err
steps(struct rig *g, struct way *w, unsigned most)
{
    enum c2_err err = C2_E_OK;
    for (unsigned i = 0; i < most && err == C2_E_OK && !w->done; i++) {
        err = step(g, w);
        assert_true(w->parts.len <= LIST_BYTES);
    }
    return err;
}

static void
finish(struct rig *g)
{
    struct way w = { .done = false };
    assert_int_equal(g->to.app->ops->fetch_begin(g->to.app, g->from.digest), C2_E_OK);
    assert_int_equal(steps(g, &w, STEPS_MAX), C2_E_OK);
    assert_true(w.done);
    c2_buf_done(&w.parts);
}

/* Runs `most` steps of a fetch and leaves it there. */
static bool
fetch_for(struct rig *g, unsigned most)
{
    struct way w = { .done = false };
    assert_int_equal(g->to.app->ops->fetch_begin(g->to.app, g->from.digest), C2_E_OK);
    assert_int_equal(steps(g, &w, most), C2_E_OK);
    c2_buf_done(&w.parts);
    return w.done;
}

static uint64_t
count_leaves(struct replica_app *app)
{
    struct kv_txn *txn = NULL;
    struct c2_slice key;
    struct c2_slice value;
    uint64_t n = 0;
    assert_int_equal(kv_begin(store_of(app)->kv, false, &txn), C2_E_OK);
    enum c2_err err = kv_seek(txn, KV_LEAF, c2_slice(NULL, 0), &key, &value);
    for (; err == C2_E_OK; n++)
        err = kv_next(txn, KV_LEAF, &key, &value);
    assert_int_equal(err, C2_E_NOT_FOUND);
    kv_abort(txn);
    return n;
}

static void
assert_same(struct rig *g)
{
    struct store_verified from;
    struct store_verified to;
    struct store_patrol p = { .digest = g->from.digest };
    uint8_t digest[32];
    uint64_t version = 0;
    assert_int_equal(store_verify(g->from.app, &from), C2_E_OK);
    enum c2_err err = store_verify(g->to.app, &to);
    if (err != C2_E_OK)
        fail_msg("%s", to.problem);
    assert_memory_equal(to.digest, from.digest, sizeof to.digest);
    assert_int_equal(to.keys, from.keys);
    assert_int_equal(to.ephemerals, from.ephemerals);
    assert_int_equal(to.sessions, from.sessions);
    assert_int_equal(count_leaves(g->to.app), to.keys);
    while (!p.finished) /* and each leaf has its key */
        assert_int_equal(store_patrol(g->to.app, &p), C2_E_OK);
    assert_int_equal(g->to.app->ops->checkpoint(g->to.app, &version, digest), C2_E_OK);
    assert_memory_equal(digest, g->from.digest, sizeof digest);
}

/* It goes on from there as the other one does. */
static void
assert_goes_on(struct rig *g)
{
    uint64_t now_ns = g->now_ns;
    g->to.session = g->from.session;
    for (unsigned i = 0; i < 2; i++) {
        struct side *s = i == 0 ? &g->from : &g->to;
        g->now_ns = now_ns;
        put(g, s, 0, KEYS, 3);
        delete_keys(g, s, 1, KEYS, 7);
    }
    assert_memory_equal(g->from.digest, g->to.digest, sizeof g->to.digest);
    assert_same(g);
}

static void
fetch__gives_an_empty_store_the_state_for_any_limits(void **state)
{
    struct rig *g = *state;
    put(g, &g->from, 0, KEYS, 1);
    for (size_t i = 0; i < C2_ARRAY_LEN(all_limits); i++) {
        new_side(g, &g->to, &all_limits[i]);
        finish(g);
        assert_same(g);
        assert_goes_on(g);
        close_side(&g->to);
    }
}

/* Of the keys that both have, some are the same, some older, some of another session. */
static void
give_half_of_it(struct rig *g, const struct store_fetch_limits *limits)
{
    close_side(&g->from);
    new_side(g, &g->from, NULL);
    put(g, &g->from, 0, KEYS, 2);
    new_side(g, &g->to, limits);
    finish(g);
    put(g, &g->from, 1, KEYS, 3);
    put(g, &g->from, 0, KEYS, 10);
    delete_keys(g, &g->from, 0, KEYS, 14);
    g->entries = 0;
}

static void
fetch__brings_what_a_store_lacks_and_removes_what_it_has_too_much(void **state)
{
    struct rig *g = *state;
    for (size_t i = 0; i < C2_ARRAY_LEN(all_limits); i++) {
        give_half_of_it(g, &all_limits[i]);
        finish(g);
        assert_same(g);
        assert_goes_on(g);
        put(g, &g->from, 4, 5, 1);
        g->entries = 0;
        finish(g);
        assert_true(g->entries <= 2); /* of what is there already nothing comes */
        assert_same(g);
        close_side(&g->to);
    }
}

static void
fetch__of_a_state_that_has_nothing_in_common_replaces_all(void **state)
{
    struct rig *g = *state;
    put(g, &g->from, 0, KEYS, 1);
    for (size_t i = 0; i < C2_ARRAY_LEN(all_limits); i++) {
        new_side(g, &g->to, &all_limits[i]);
        put(g, &g->to, KEYS / 2, KEYS * 2, 1);
        finish(g);
        assert_same(g);
        close_side(&g->to);
    }
    close_side(&g->from);
    new_side(g, &g->from, NULL);
    put(g, &g->from, 0, 0, 1); /* and the state without keys */
    new_side(g, &g->to, &all_limits[2]);
    put(g, &g->to, 0, KEYS, 1);
    finish(g);
    assert_same(g);
}

/* What was not committed is gone; the store is opened again. */
static void
crash(struct side *s)
{
    const struct replica_part head = { .kind = REPLICA_HEAD };
    C2_AUTO(c2_buf_done) struct c2_buf out = { 0 };
    bool complete = true;
    s->app->ops->close(s->app);
    open_side(s, false);
    assert_int_equal(s->app->ops->list_system(s->app, &out, &complete), C2_E_OK);
    assert_false(complete);
    assert_int_equal(s->app->ops->part(s->app, &head, &out), C2_E_NOT_FOUND);
}

static void
fetch__is_right_after_a_crash_at_any_point(void **state)
{
    struct rig *g = *state;
    for (size_t i = 1; i < C2_ARRAY_LEN(all_limits); i++) {
        for (unsigned half = 0; half < 2; half++) {
            bool done = false;
            for (unsigned at = 1 + below(g, 3); !done; at += 1 + below(g, at / 2 + 1)) {
                if (half == 1) {
                    give_half_of_it(g, &all_limits[i]);
                } else {
                    put(g, &g->from, 0, KEYS, 1);
                    new_side(g, &g->to, &all_limits[i]);
                }
                done = fetch_for(g, at);
                if (!done)
                    crash(&g->to);
                if (!done && !fetch_for(g, 1 + below(g, at))) { /* and before all is right again */
                    crash(&g->to);
                    finish(g);
                }
                assert_same(g);
                close_side(&g->to);
            }
        }
    }
}

static void
fetch__keeps_what_it_has_when_the_target_moves(void **state)
{
    struct rig *g = *state;
    for (size_t i = 0; i < C2_ARRAY_LEN(all_limits); i++) {
        put(g, &g->from, 0, KEYS, 1);
        new_side(g, &g->to, &all_limits[i]);
        g->entries = 0;
        bool done = false;
        for (unsigned round = 1; !done; round++) {
            assert_true(round < 1000);
            done = fetch_for(g, 20 * round);
            if (!done && round < 20)
                put(g, &g->from, round, KEYS, 100);
        }
        assert_same(g);
        close_side(&g->to);
    }
}

static void
fetch__goes_on_when_the_map_was_full(void **state)
{
    struct rig *g = *state;
    put(g, &g->from, 0, KEYS, 1);
    for (size_t i = 0; i < C2_ARRAY_LEN(all_limits); i++) {
        unsigned grown = 0;
        enum c2_err err = C2_E_AGAIN;
        new_side(g, &g->to, &all_limits[i]);
        g->to.app->ops->close(g->to.app);
        g->to.map_size = 128 << 10; /* less than is needed */
        open_side(&g->to, false);
        for (; err == C2_E_AGAIN; grown++) {
            struct way w = { .done = false };
            assert_true(grown < 20);
            err = g->to.app->ops->fetch_begin(g->to.app, g->from.digest);
            if (err == C2_E_OK)
                err = steps(g, &w, STEPS_MAX);
            c2_buf_done(&w.parts);
            if (err == C2_E_AGAIN)
                assert_int_equal(g->to.app->ops->grow(g->to.app), C2_E_OK);
        }
        assert_int_equal(err, C2_E_OK);
        assert_true(grown > 1);
        assert_same(g);
        close_side(&g->to);
    }
}

static void
verify__says_that_a_state_is_half_in_its_place(void **state)
{
    struct rig *g = *state;
    struct store_verified v;
    unsigned torn = 0, whole = 0;
    put(g, &g->from, 0, KEYS, 1);
    for (unsigned at = 1; at < 3000; at += 1 + at / 4) {
        new_side(g, &g->to, &all_limits[3]);
        if (!fetch_for(g, at)) {
            crash(&g->to);
            assert_int_equal(store_verify(g->to.app, &v), C2_E_UNAVAILABLE);
            torn += strstr(v.problem, "half") != NULL;
            whole += strstr(v.problem, "not complete") != NULL;
        }
        close_side(&g->to);
    }
    assert_true(torn > 0);
    assert_true(whole > 0);
}

/* What the daemon prints. */
struct verdict {
    enum c2_err err;
    struct c2_buf text;
    bool over;
};

static void
verified(void *arg, enum c2_err err, const char *text)
{
    struct verdict *v = arg;
    v->err = err;
    c2_buf_puts(&v->text, text);
    v->over = true;
}

static void
verify__says_what_a_replica_has_that_stopped_while_it_fetched(void **state)
{
    struct rig *g = *state;
    struct test_env *t = test_env_new(1);
    C2_AUTO(c2_free_auto) char *data = test_env_path(t, "data");
    C2_AUTO(c2_free_auto) char *store = c2_asprintf("%s/store", data);
    struct verdict v = { .err = C2_E_OK };
    put(g, &g->from, 0, KEYS, 1);
    assert_int_equal(mkdir(data, 0700), 0);
    g->to = (struct side){ .path = store };
    open_side(&g->to, true);
    assert_false(fetch_for(g, 3));
    g->to.app->ops->close(g->to.app);
    g->to = (struct side){ 0 };
    (void)verify_start(test_env_env(t), data, verified, &v);
    test_env_run_until(t, &v.over);
    assert_null(strstr(c2_buf_cstr(&v.text), "store: good"));
    assert_non_null(strstr(c2_buf_cstr(&v.text), "store: INCOMPLETE: "));
    c2_buf_done(&v.text);
    test_env_free(t);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(fetch__gives_an_empty_store_the_state_for_any_limits),
        T(fetch__brings_what_a_store_lacks_and_removes_what_it_has_too_much),
        T(fetch__of_a_state_that_has_nothing_in_common_replaces_all),
        T(fetch__is_right_after_a_crash_at_any_point),
        T(fetch__keeps_what_it_has_when_the_target_moves),
        T(fetch__goes_on_when_the_map_was_full),
        T(verify__says_that_a_state_is_half_in_its_place),
        T(verify__says_what_a_replica_has_that_stopped_while_it_fetched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
