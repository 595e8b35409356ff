/* SPDX-License-Identifier: MIT */
/*
 * The cloud in memory: the contract, and what tests can do to its objects.
 */
#include "backends/mem.h"
#include "backends/registry.h"
#include "tests/lib/provider_contract.h"
#include "tests/lib/test_env.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

struct fixture {
    struct test_env *t;
    struct provider_contract c;
};

static int
setup(void **state)
{
    static struct fixture f;
    f.t = test_env_new(1);
    f.c = provider_contract_in(f.t, prov_mem_new(test_env_env(f.t), "mem1"));
    *state = &f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    prov_close(f->c.p);
    test_env_free(f->t);
    return 0;
}

static void
mem__passes_the_contract(void **state)
{
    struct fixture *f = *state;
    provider_contract_run_all(&f->c);
}

static void
mem__passes_the_contract_with_latency(void **state)
{
    struct fixture *f = *state;
    uint64_t start_ns = c2_now_ns(f->c.p->env);
    prov_mem_set_latency(f->c.p, 30 * C2_NS_PER_MS, 40 * C2_NS_PER_MS);
    provider_contract_run_all(&f->c);
    assert_true(c2_now_ns(f->c.p->env) - start_ns > 3 * C2_NS_PER_S);
}

static void
mem__passes_the_contract_without_if_absent(void **state)
{
    struct fixture *f = *state;
    prov_mem_set_if_absent(f->c.p, false);
    provider_contract_run_all(&f->c);
}

static void
mem__hangs_until_the_deadline(void **state)
{
    struct fixture *f = *state;
    struct test_prov_req t;
    prov_mem_set_latency(f->c.p, C2_NEVER, 0);
    test_prov_req_init(&f->c, &t, PROV_GET, "k");
    t.r.deadline_ns = c2_now_ns(f->c.p->env) + 7 * C2_NS_PER_S;
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_TIMEOUT);
    assert_int_equal(c2_now_ns(f->c.p->env), t.r.deadline_ns);
}

static void
mem__hanging_put_can_be_canceled_and_has_no_effect(void **state)
{
    struct fixture *f = *state;
    struct test_prov_req t;
    prov_mem_set_latency(f->c.p, C2_NEVER, 0);
    test_prov_req_init(&f->c, &t, PROV_PUT, "k");
    t.r.body = c2_blob_copy("x", 1);
    prov_submit(f->c.p, &t.r);
    test_env_run_for(f->t, C2_NS_PER_S);
    assert_false(t.completed);
    prov_cancel(f->c.p, &t.r);
    test_prov_wait(&f->c, &t);
    assert_int_equal(t.r.err, C2_E_CANCELED);
    assert_int_equal(prov_mem_count(f->c.p), 0);
    c2_blob_unref(t.r.body);
}

static void
mem__put_with_a_wrong_hash_is_refused(void **state)
{
    struct fixture *f = *state;
    static const uint8_t wrong[32] = { 1 };
    struct test_prov_req t;
    test_prov_req_init(&f->c, &t, PROV_PUT, "k");
    t.r.body = c2_blob_copy("x", 1);
    t.r.body_sha256 = wrong;
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_CORRUPT);
    assert_null(prov_mem_peek(f->c.p, "k"));
    c2_blob_unref(t.r.body);
}

static void
mem__objects_can_be_inspected_and_tampered_with(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(test_prov_put(&f->c, "b", c2_slice_str("hello"), false), C2_E_OK);
    struct c2_blob *before = NULL;
    assert_int_equal(test_prov_get(&f->c, "b", &before), C2_E_OK);

    prov_mem_store(f->c.p, "a", c2_slice_str("new"));
    test_prov_assert_body(&f->c, "a", c2_slice_str("new"));
    assert_int_equal(prov_mem_count(f->c.p), 2);
    assert_string_equal(prov_mem_key(f->c.p, 0), "a");
    assert_string_equal(prov_mem_key(f->c.p, 1), "b");
    assert_null(prov_mem_key(f->c.p, 2));

    prov_mem_corrupt(f->c.p, "b", 1);
    test_prov_assert_body(&f->c, "b", c2_slice_str("h\x9allo"));
    prov_mem_truncate(f->c.p, "b", 1);
    test_prov_assert_body(&f->c, "b", c2_slice_str("h"));
    assert_true(prov_mem_delete(f->c.p, "b"));
    assert_false(prov_mem_delete(f->c.p, "b"));
    assert_null(prov_mem_peek(f->c.p, "b"));
    prov_mem_clear(f->c.p);
    assert_int_equal(prov_mem_count(f->c.p), 0);

    /* Whoever read the object before keeps what they read. */
    assert_true(c2_slice_equal(c2_blob_slice(before), c2_slice_str("hello")));
    c2_blob_unref(before);
    assert_int_equal(prov_mem_requests(f->c.p, PROV_PUT), 1);
    assert_int_equal(prov_mem_requests(f->c.p, PROV_GET), 4);
}

static void
mem__shared_store_outlives_the_first_provider(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(test_prov_put(&f->c, "k", c2_slice_str("v"), false), C2_E_OK);
    struct provider *second = prov_mem_share(f->c.p, test_env_env(f->t), "mem2");
    prov_close(f->c.p);
    f->c.p = second;
    test_prov_assert_body(&f->c, "k", c2_slice_str("v"));
    assert_string_equal(second->name, "mem2");
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(mem__passes_the_contract),
        TEST(mem__passes_the_contract_with_latency),
        TEST(mem__passes_the_contract_without_if_absent),
        TEST(mem__hangs_until_the_deadline),
        TEST(mem__hanging_put_can_be_canceled_and_has_no_effect),
        TEST(mem__put_with_a_wrong_hash_is_refused),
        TEST(mem__objects_can_be_inspected_and_tampered_with),
        TEST(mem__shared_store_outlives_the_first_provider),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
