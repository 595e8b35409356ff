/* SPDX-License-Identifier: MIT */
/*
 * The digest tree: its root is a function of the set, and nothing else is left in the table.
 */
#include "metadata/tree.h"

#include "base/alloc.h"
#include "base/crypto.h"
#include "tests/lib/test_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct tree_fixture {
    struct test_env *t;
    struct kv *kv;
    struct kv_txn *txn;
};

static void
begin_empty(struct tree_fixture *x, const char *name)
{
    char *path = test_env_path(x->t, name);
    char *error = NULL;
    assert_int_equal(kv_open(path, 64u << 20, true, &x->kv, &error), C2_E_OK);
    assert_int_equal(kv_begin(x->kv, true, &x->txn), C2_E_OK);
    c2_free(path);
}

static void
end_empty(struct tree_fixture *x)
{
    kv_abort(x->txn);
    kv_close(x->kv);
}

static int
setup(void **state)
{
    assert_int_equal(c2_crypto_init(), C2_E_OK);
    struct tree_fixture *x = c2_calloc(1, sizeof *x);
    x->t = test_env_new(7);
    begin_empty(x, "tree");
    *state = x;
    return 0;
}

static int
teardown(void **state)
{
    struct tree_fixture *x = *state;
    end_empty(x);
    test_env_free(x->t);
    c2_free(x);
    return 0;
}

/* The hash of a number; below `clash` bits all begin alike, so that paths get deep. */
static struct tree_op
number(uint64_t n, bool insert, size_t alike)
{
    struct tree_op op = { .insert = insert };
    c2_sha256(c2_slice(&n, sizeof n), op.hash);
    memset(op.hash, 0xab, alike);
    return op;
}

static void
root_of(struct tree_fixture *x, uint8_t root[32], uint64_t count)
{
    uint64_t have = 0;
    assert_int_equal(tree_root(x->txn, root, &have), C2_E_OK);
    assert_int_equal(have, count);
}

/* Builds the set of the numbers with present[n] in one go, in a store of its own. */
static void
root_from_scratch(struct tree_fixture *x, const bool *present, size_t n, size_t alike,
                  uint8_t root[32])
{
    struct tree_fixture fresh = { .t = x->t };
    begin_empty(&fresh, "scratch");
    struct tree_op *ops = c2_calloc(n, sizeof *ops);
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (present[i])
            ops[count++] = number(i, true, alike);
    }
    assert_int_equal(tree_apply(fresh.txn, ops, count), C2_E_OK);
    root_of(&fresh, root, count);
    c2_free(ops);
    end_empty(&fresh);
}

static size_t
records(struct tree_fixture *x)
{
    struct c2_slice key;
    struct c2_slice value;
    size_t n = 0;
    enum c2_err err = kv_seek(x->txn, KV_TREE, c2_slice(NULL, 0), &key, &value);
    for (; err == C2_E_OK; err = kv_next(x->txn, KV_TREE, &key, &value))
        n++;
    return n;
}

/* Random batches of insertions and removals, compared with a tree built in one go. */
static void
churn(struct tree_fixture *x, size_t alike, size_t rounds)
{
    enum { N = 3000, BATCH = 200 };
    bool *present = c2_calloc(N, sizeof *present);
    struct tree_op ops[BATCH];
    uint64_t count = 0;
    for (size_t round = 0; round < rounds; round++) {
        bool touched[N] = { false };
        size_t nops = 0;
        /* Waves of growth and shrinking, so that leaves split and merge. */
        bool growing = round / 8 % 2 == 0;
        for (size_t i = 0; i < BATCH; i++) {
            uint64_t random = 0;
            c2_random(test_env_env(x->t), &random, sizeof random);
            size_t n = random % N;
            bool wanted = growing ? random >> 32 & 7 : !(random >> 32 & 7);
            if (touched[n] || present[n] == wanted)
                continue;
            touched[n] = true;
            present[n] = wanted;
            count += wanted ? 1 : UINT64_MAX;
            ops[nops++] = number(n, wanted, alike);
        }
        assert_int_equal(tree_apply(x->txn, ops, nops), C2_E_OK);
        uint8_t have[32];
        uint8_t want[32];
        root_of(x, have, count);
        if (round % 5 == 0) {
            root_from_scratch(x, present, N, alike, want);
            assert_memory_equal(have, want, sizeof have);
        }
    }
    c2_free(present);
}

static void
root__depends_on_the_set_alone(void **state)
{
    churn(*state, 0, 40);
}

static void
root__depends_on_the_set_alone_on_deep_paths(void **state)
{
    churn(*state, 5, 20);
}

static void
root__comes_back_and_leaves_nothing_behind(void **state)
{
    struct tree_fixture *x = *state;
    enum { N = 1000 };
    struct tree_op *ops = c2_calloc(N, sizeof *ops);
    uint8_t empty[32];
    uint8_t root[32];
    root_of(x, empty, 0);
    for (size_t i = 0; i < N; i++)
        ops[i] = number(i, true, 0);
    assert_int_equal(tree_apply(x->txn, ops, N), C2_E_OK);
    root_of(x, root, N);
    assert_memory_not_equal(root, empty, sizeof root);
    assert_true(records(x) > N / TREE_LEAF_MAX);
    for (size_t i = 0; i < N; i++)
        ops[i] = number(i, false, 0);
    assert_int_equal(tree_apply(x->txn, ops, N - 10), C2_E_OK);
    assert_int_equal(records(x), 1); /* few enough for one leaf */
    c2_free(ops);
}

/* Any two of many sets have different roots. */
static void
root__differs_for_different_sets(void **state)
{
    struct tree_fixture *x = *state;
    enum { N = 300 };
    uint8_t roots[N][32];
    for (size_t i = 0; i < N; i++) {
        struct tree_op op = number(i, true, 0);
        assert_int_equal(tree_apply(x->txn, &op, 1), C2_E_OK);
        root_of(x, roots[i], i + 1);
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(roots[i], roots[j], 32);
    }
}

static void
apply__finds_a_set_that_has_diverged(void **state)
{
    struct tree_fixture *x = *state;
    struct tree_op ops[100];
    for (size_t i = 0; i < 100; i++)
        ops[i] = number(i, true, 0);
    assert_int_equal(tree_apply(x->txn, ops, 100), C2_E_OK);
    struct tree_op op = number(5, true, 0);
    assert_int_equal(tree_apply(x->txn, &op, 1), C2_E_DAMAGED);
    op = number(500, false, 0);
    assert_int_equal(tree_apply(x->txn, &op, 1), C2_E_DAMAGED);
}

static void
apply__finds_a_damaged_record(void **state)
{
    struct tree_fixture *x = *state;
    struct tree_op op = number(1, true, 0);
    const char *const bad[] = { "", "L", "Lshort", "Nshort", "Xwhatever" };
    const uint8_t root_key[1] = { 0 };
    for (size_t i = 0; i < C2_ARRAY_LEN(bad); i++) {
        assert_int_equal(kv_put(x->txn, KV_TREE, c2_slice(root_key, 1), c2_slice_str(bad[i])),
                         C2_E_OK);
        assert_int_equal(tree_apply(x->txn, &op, 1), C2_E_DAMAGED);
    }
}

int
main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(root__depends_on_the_set_alone),
        T(root__depends_on_the_set_alone_on_deep_paths),
        T(root__comes_back_and_leaves_nothing_behind),
        T(root__differs_for_different_sets),
        T(apply__finds_a_set_that_has_diverged),
        T(apply__finds_a_damaged_record),
    };
    return cmocka_run_group_tests_name("metadata_tree", tests, NULL, NULL);
}
