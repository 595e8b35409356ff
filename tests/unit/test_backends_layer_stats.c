/* SPDX-License-Identifier: MIT */
/*
 * What the statistics layer counts, and what it does not hold against a cloud.
 */
#include "backends/mem.h"
#include "backends/registry.h"
#include "tests/lib/prov_script.h"
#include "tests/lib/provider_contract.h"
#include "tests/lib/test_env.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

struct fixture {
    struct test_env *t;
    struct provider *script;
    const struct prov_stats *stats;
    struct provider_contract c;
};

static int
setup(void **state)
{
    static struct fixture f;
    f.t = test_env_new(1);
    f.script = prov_script_new(prov_mem_new(test_env_env(f.t), "mem1"));
    f.c = provider_contract_in(f.t, prov_stats_new(f.script));
    f.stats = f.c.p->stats;
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
stats__passes_the_contract(void **state)
{
    struct fixture *f = *state;
    struct provider_contract c =
        provider_contract_in(f->t, prov_stats_new(prov_mem_new(test_env_env(f->t), "other")));
    provider_contract_run_all(&c);
    assert_true(c.p->stats->requests[PROV_PUT] > 50);
    prov_close(c.p);
}

static void
stats__counts_requests_and_bytes(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(test_prov_put(&f->c, "a", c2_slice_str("12345"), false), C2_E_OK);
    assert_int_equal(test_prov_put(&f->c, "b", c2_slice_str("123"), false), C2_E_OK);
    test_prov_assert_body(&f->c, "a", c2_slice_str("12345"));
    struct c2_buf list = { 0 };
    assert_int_equal(test_prov_list(&f->c, "", NULL, 10, &list), C2_E_OK);
    c2_buf_done(&list);
    assert_int_equal(f->stats->requests[PROV_PUT], 2);
    assert_int_equal(f->stats->requests[PROV_GET], 1);
    assert_int_equal(f->stats->requests[PROV_LIST], 1);
    assert_int_equal(f->stats->requests[PROV_DELETE], 0);
    assert_int_equal(f->stats->bytes_up, 8);
    assert_int_equal(f->stats->bytes_down, 5 + 4);
    assert_int_equal(f->stats->last_ok_ns, c2_now_ns(test_env_env(f->t)));
}

static void
stats__good_answers_are_no_errors(void **state)
{
    struct fixture *f = *state;
    struct c2_blob *body = NULL;
    uint64_t size = 0;
    assert_int_equal(test_prov_get(&f->c, "absent", &body), C2_E_NOT_FOUND);
    assert_int_equal(test_prov_head(&f->c, "absent", &size), C2_E_NOT_FOUND);
    assert_int_equal(test_prov_put(&f->c, "a", c2_slice_str("x"), true), C2_E_OK);
    assert_int_equal(test_prov_put(&f->c, "a", c2_slice_str("x"), true), C2_E_EXISTS);
    prov_script_add(f->script, (struct prov_script_step){ .err = C2_E_CANCELED });
    assert_int_equal(test_prov_get(&f->c, "a", &body), C2_E_CANCELED);
    for (unsigned i = 0; i < PROV_VERB_COUNT; i++)
        assert_int_equal(f->stats->errors[i], 0);
    assert_int_equal(f->stats->last_error_ns, 0);
}

static void
stats__remembers_the_last_error(void **state)
{
    struct fixture *f = *state;
    struct c2_blob *body = NULL;
    prov_script_add(f->script, (struct prov_script_step){ .err = C2_E_TIMEOUT });
    prov_script_add(f->script, (struct prov_script_step){ .err = C2_E_UNAVAILABLE });
    assert_int_equal(test_prov_get(&f->c, "a", &body), C2_E_TIMEOUT);
    test_env_run_for(f->t, C2_NS_PER_S);
    assert_int_equal(test_prov_get(&f->c, "a", &body), C2_E_UNAVAILABLE);
    assert_int_equal(f->stats->errors[PROV_GET], 2);
    assert_int_equal(f->stats->last_error, C2_E_UNAVAILABLE);
    assert_int_equal(f->stats->last_error_ns, c2_now_ns(test_env_env(f->t)));
    assert_non_null(strstr(f->stats->last_detail, "scripted"));
    assert_int_equal(f->stats->last_ok_ns, 0);
}

static void
stats__latency_is_of_successful_requests(void **state)
{
    struct fixture *f = *state;
    struct c2_blob *body = NULL;
    assert_int_equal(f->stats->latency_p50_ns, 0);
    for (unsigned i = 0; i < 200; i++) {
        prov_mem_set_latency(f->c.p, (i % 20 == 0 ? 500 : 10) * C2_NS_PER_MS, 0);
        assert_int_equal(test_prov_put(&f->c, "a", c2_slice_str("x"), false), C2_E_OK);
    }
    prov_mem_set_latency(f->c.p, 60 * C2_NS_PER_S, 0);
    assert_int_equal(test_prov_get(&f->c, "absent", &body), C2_E_NOT_FOUND);
    /* A histogram is right within an eighth. */
    assert_in_range(f->stats->latency_p50_ns, 8750000, 11250000);
    assert_in_range(f->stats->latency_p99_ns, 437000000, 563000000);
}

static void
stats__old_latencies_fade(void **state)
{
    struct fixture *f = *state;
    prov_mem_set_latency(f->c.p, C2_NS_PER_S, 0);
    struct provider *bare = prov_stats_new(prov_mem_share(f->c.p, test_env_env(f->t), "bare"));
    struct provider_contract c = provider_contract_in(f->t, bare);
    prov_mem_set_latency(bare, C2_NS_PER_S, 0);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(test_prov_put(&c, "a", c2_slice_str("x"), false), C2_E_OK);
    assert_true(bare->stats->latency_p50_ns > 800 * C2_NS_PER_MS);
    prov_mem_set_latency(bare, C2_NS_PER_MS, 0);
    for (unsigned i = 0; i < 900; i++) /* fewer than the slow ones, but they count half by now */
        assert_int_equal(test_prov_put(&c, "a", c2_slice_str("x"), false), C2_E_OK);
    assert_true(bare->stats->latency_p50_ns < 2 * C2_NS_PER_MS);
    prov_close(bare);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(stats__passes_the_contract),
        TEST(stats__counts_requests_and_bytes),
        TEST(stats__good_answers_are_no_errors),
        TEST(stats__remembers_the_last_error),
        TEST(stats__latency_is_of_successful_requests),
        TEST(stats__old_latencies_fade),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
