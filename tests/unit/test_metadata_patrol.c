/* SPDX-License-Identifier: MIT */
/*
 * The check of a store at work: it sees every key, keys may come and go meanwhile, and whatever is
 * not what it was is found.
 */
#include "base/alloc.h"
#include "base/crypto.h"
#include "metadata/kv.h"
#include "metadata/node.h"
#include "metadata/store.h"
#include "tests/lib/bft_rig.h"
#include "tests/lib/coord_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MAP_SIZE (64u << 20)
#define KEYS     3000u

struct rig {
    struct test_env *t;
    char *path;
    struct replica_app *app;
    uint8_t digest[32]; /* of the last checkpoint */
    uint64_t now_ns;
};

static void
open_store(struct rig *g, bool create)
{
    const struct store_options o = { .map_size = MAP_SIZE, .create = create, .replicated = true };
    char *error = NULL;
    assert_int_equal(store_open(g->path, &o, &g->app, &error), C2_E_OK);
}

static int
set_up(void **state)
{
    struct rig *g = c2_calloc(1, sizeof *g);
    assert_int_equal(c2_crypto_init(), C2_E_OK);
    g->t = test_env_new(1);
    g->path = test_env_path(g->t, "store");
    open_store(g, true);
    *state = g;
    return 0;
}

static int
tear_down(void **state)
{
    struct rig *g = *state;
    if (g->app != NULL)
        g->app->ops->close(g->app);
    c2_free(g->path);
    test_env_free(g->t);
    c2_free(g);
    return 0;
}

static void
apply(struct rig *g, struct replica_batch *b, const struct coord_req *r)
{
    C2_AUTO(c2_buf_done) struct c2_buf cmd = { 0 };
    C2_AUTO(c2_buf_done) struct c2_buf reply = { 0 };
    coord_txn_encode(r, &cmd);
    g->now_ns += 1000;
    assert_int_equal(g->app->ops->apply(b, g->now_ns, NULL, c2_buf_slice(&cmd), &reply), C2_E_OK);
}

/* Sets or deletes keys from..to-1, and makes a checkpoint. */
static void
change(struct rig *g, unsigned from, unsigned to, enum coord_op_kind kind)
{
    struct replica_batch *b = NULL;
    assert_int_equal(g->app->ops->begin(g->app, &b), C2_E_OK);
    for (unsigned i = from; i < to; i++) {
        char key[32];
        snprintf(key, sizeof key, "key-%u", i);
        struct coord_op op = { .kind = kind, .key = c2_slice_str(key) };
        if (kind == COORD_PUT)
            op.value = c2_slice_str("some value");
        const struct coord_req r = { .verb = COORD_TXN, .ops = &op, .nops = 1 };
        apply(g, b, &r);
    }
    assert_int_equal(g->app->ops->digest(b, g->digest), C2_E_OK);
    assert_int_equal(g->app->ops->commit(b), C2_E_OK);
    g->app->ops->end(b);
}

static void
open_session(struct rig *g)
{
    const struct coord_req r = { .verb = COORD_SESSION_OPEN, .ttl_ns = C2_NS_PER_S };
    struct replica_batch *b = NULL;
    assert_int_equal(g->app->ops->begin(g->app, &b), C2_E_OK);
    apply(g, b, &r);
    assert_int_equal(g->app->ops->digest(b, g->digest), C2_E_OK);
    assert_int_equal(g->app->ops->commit(b), C2_E_OK);
    g->app->ops->end(b);
}

/* All pieces; their number when it is good. */
static enum c2_err
walk(struct rig *g, struct store_patrol *p, unsigned *ret_pieces)
{
    enum c2_err err = C2_E_OK;
    *p = (struct store_patrol){ .digest = g->digest };
    *ret_pieces = 0;
    while (err == C2_E_OK && !p->finished) {
        uint64_t before = p->keys;
        err = store_patrol(g->app, p);
        assert_true(p->keys - before <= STORE_PATROL_ITEMS);
        ++*ret_pieces;
        assert_true(*ret_pieces < KEYS);
    }
    return err;
}

static void
assert_good(struct rig *g, uint64_t keys)
{
    struct store_patrol p;
    unsigned pieces;
    assert_int_equal(walk(g, &p, &pieces), C2_E_OK);
    assert_int_equal(p.keys, keys);
}

static void
assert_damaged(struct rig *g, const char *problem)
{
    struct store_patrol p;
    unsigned pieces;
    assert_int_equal(walk(g, &p, &pieces), C2_E_DAMAGED);
    if (strstr(p.problem, problem) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", p.problem, problem);
    assert_false(p.finished);
}

static void
patrol__sees_every_key_in_small_pieces(void **state)
{
    struct rig *g = *state;
    struct store_patrol p;
    unsigned pieces;
    change(g, 0, KEYS, COORD_PUT);
    assert_int_equal(walk(g, &p, &pieces), C2_E_OK);
    assert_int_equal(p.keys, KEYS);
    assert_true(pieces >= KEYS / STORE_PATROL_ITEMS);
    assert_true(p.bytes > KEYS * strlen("some value"));
}

static void
patrol__of_few_keys_or_none_is_one_piece(void **state)
{
    struct rig *g = *state;
    struct store_patrol p;
    unsigned pieces;
    change(g, 0, 0, COORD_PUT);
    assert_int_equal(walk(g, &p, &pieces), C2_E_OK);
    assert_int_equal(p.keys, 0);
    assert_int_equal(pieces, 1);
    change(g, 0, 10, COORD_PUT);
    assert_int_equal(walk(g, &p, &pieces), C2_E_OK);
    assert_int_equal(p.keys, 10);
    assert_int_equal(pieces, 1);
}

static void
patrol__does_not_mind_changes_between_pieces(void **state)
{
    struct rig *g = *state;
    struct store_patrol p = { .digest = g->digest };
    unsigned pieces = 0;
    change(g, 0, KEYS, COORD_PUT);
    while (!p.finished) {
        assert_int_equal(store_patrol(g->app, &p), C2_E_OK);
        unsigned at = 100 * pieces++;
        if (at + 100 <= KEYS)
            change(g, at, at + 100, COORD_DELETE);
        if (at + 100 <= KEYS)
            change(g, KEYS + at, KEYS + at + 50, COORD_PUT);
    }
    assert_true(pieces > 5);
    assert_true(p.keys > 0);
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* The first entry of a table at or after a key. */
struct entry {
    struct c2_buf key, value;
};

static struct entry
find(struct rig *g, enum kv_table table, struct c2_slice at)
{
    struct entry e = { 0 };
    struct kv *kv = NULL;
    struct kv_txn *txn = NULL;
    struct c2_slice key, value;
    char *error = NULL;
    assert_int_equal(kv_open(g->path, MAP_SIZE, false, &kv, &error), C2_E_OK);
    assert_int_equal(kv_begin(kv, false, &txn), C2_E_OK);
    assert_int_equal(kv_seek(txn, table, at, &key, &value), C2_E_OK);
    c2_buf_append(&e.key, key.data, key.len);
    c2_buf_append(&e.value, value.data, value.len);
    kv_abort(txn);
    kv_close(kv);
    return e;
}

static void
replace(struct rig *g, enum kv_table table, const struct entry *e, bool delete)
{
    struct kv *kv = NULL;
    struct kv_txn *txn = NULL;
    char *error = NULL;
    struct c2_slice key = c2_buf_slice(&e->key);
    assert_int_equal(kv_open(g->path, MAP_SIZE, false, &kv, &error), C2_E_OK);
    assert_int_equal(kv_begin(kv, true, &txn), C2_E_OK);
    assert_int_equal(delete ? kv_del(txn, table, key)
                            : kv_put(txn, table, key, c2_buf_slice(&e->value)),
                     C2_E_OK);
    assert_int_equal(kv_commit(txn), C2_E_OK);
    kv_close(kv);
}

/* Flips a bit of a value (at < 0: removes the entry), looks, and mends it. */
static void
damage_is_found(struct rig *g, enum kv_table table, struct c2_slice where, int at,
                const char *problem)
{
    g->app->ops->close(g->app);
    struct entry e = find(g, table, where);
    if (at >= 0) {
        assert_true((size_t)at < e.value.len);
        e.value.data[at] ^= 4;
    }
    replace(g, table, &e, at < 0);
    open_store(g, false);
    assert_damaged(g, problem);
    g->app->ops->close(g->app);
    if (at >= 0)
        e.value.data[at] ^= 4;
    replace(g, table, &e, false);
    open_store(g, false);
    assert_good(g, KEYS);
    c2_buf_done(&e.key);
    c2_buf_done(&e.value);
}

static void
patrol__finds_damage_of_every_kind(void **state)
{
    struct rig *g = *state;
    const struct c2_slice first = c2_slice(NULL, 0);
    open_session(g);
    change(g, 0, KEYS, COORD_PUT);
    assert_good(g, KEYS);
    damage_is_found(g, KV_DATA, c2_slice_str("key-17"), 20, "differs from its hash");  /* value */
    damage_is_found(g, KV_DATA, c2_slice_str("key-2999"), 0, "differs from its hash"); /* version */
    damage_is_found(g, KV_DATA, c2_slice_str("key-1"), -1, "cannot be read");
    damage_is_found(g, KV_LEAF, first, -1, "cannot be read");
    damage_is_found(g, KV_LEAF, first, 4, "");                      /* another key, or none */
    damage_is_found(g, KV_TREE, first, -1, "");                     /* the root */
    damage_is_found(g, KV_TREE, first, 9, "differs from its hash"); /* of its first child */
    damage_is_found(g, KV_TREE, c2_slice("\2", 1), 7, "differs from its hash"); /* a leaf */
    damage_is_found(g, KV_TREE, c2_slice("\2", 1), -1, "cannot be read");
    damage_is_found(g, KV_SESSION, first, 9, "differs from its last checkpoint");
}

static void
patrol__waits_while_another_state_is_fetched(void **state)
{
    struct rig *g = *state;
    struct store_patrol p = { .digest = NULL };
    const uint8_t other[32] = { 1 };
    change(g, 0, 10, COORD_PUT);
    assert_int_equal(g->app->ops->fetch_begin(g->app, other), C2_E_OK);
    assert_int_equal(store_patrol(g->app, &p), C2_E_BUSY);
}

/* ---- a replica ------------------------------------------------------------------------------- */

/* More than a checkpoint interval. */
static void
fill(struct coord_fixture *f)
{
    for (unsigned i = 0; bft_rig_info(f->rig, 2).stable == 0; i++) {
        char key[32];
        assert_true(i < 1000);
        snprintf(key, sizeof key, "key-%u", i);
        put(f, key, "some value");
        test_env_run_ready(f->t);
    }
    test_env_run_for(f->t, C2_NS_PER_S);
}

static struct node_info
info_of(struct coord_fixture *f, unsigned i)
{
    struct node_info info;
    node_info(f->rig->replica[i].node, &info);
    return info;
}

static void
replica__checks_its_store_after_the_start_and_daily(void **state)
{
    struct coord_fixture *f = *state;
    fill(f);
    test_env_run_for(f->t, 5 * C2_NS_PER_S);
    assert_int_equal(info_of(f, 0).checks, 1);
    coord_fixture_close(f);
    coord_fixture_open(f);
    test_env_run_for(f->t, 5 * C2_NS_PER_S);
    for (unsigned i = 0; i < f->rig->n; i++) {
        assert_int_equal(info_of(f, i).checks, 1);
        assert_true(info_of(f, i).checked_keys > 0);
    }
}

static void
replica__ends_when_the_check_finds_damage_and_recovers(void **state)
{
    struct coord_fixture *f = *state;
    struct bft_rig_replica *p = &f->rig->replica[2];
    struct kv *kv = NULL;
    struct kv_txn *txn = NULL;
    char *error = NULL;
    fill(f);
    bft_rig_stop(f->rig, 2);
    C2_AUTO(c2_free_auto) char *store = c2_asprintf("%s/store", p->data);
    assert_int_equal(kv_open(store, MAP_SIZE, false, &kv, &error), C2_E_OK);
    assert_int_equal(kv_begin(kv, true, &txn), C2_E_OK);
    assert_int_equal(
        kv_put(txn, KV_DATA, c2_slice_str("key-3"), c2_slice_str("no more what it was")), C2_E_OK);
    assert_int_equal(kv_commit(txn), C2_E_OK);
    kv_close(kv);
    bft_rig_start(f->rig, 2);
    test_env_run_for(f->t, 5 * C2_NS_PER_S);
    assert_int_equal(p->failed, C2_E_DAMAGED);
    assert_true(node_store_is_damaged(p->node));
    assert_int_equal(info_of(f, 2).checks, 0);
    bft_rig_stop(f->rig, 2);
    test_disk_remove_tree(store); /* as the daemon does */
    bft_rig_start(f->rig, 2);
    test_env_run_for(f->t, 10 * C2_NS_PER_S);
    assert_int_equal(p->failed, C2_E_OK);
    assert_int_equal(bft_rig_info(f->rig, 2).mode, BFT_RUNNING);
    assert_true(info_of(f, 2).checks > 0);
    assert_value(f, "key-3", "some value");
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define R(name)                                                                                    \
    cmocka_unit_test_setup_teardown(name, coord_fixture_setup_bft, coord_fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(patrol__sees_every_key_in_small_pieces),
        T(patrol__of_few_keys_or_none_is_one_piece),
        T(patrol__does_not_mind_changes_between_pieces),
        T(patrol__finds_damage_of_every_kind),
        T(patrol__waits_while_another_state_is_fetched),
        R(replica__checks_its_store_after_the_start_and_daily),
        R(replica__ends_when_the_check_finds_damage_and_recovers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
