/* SPDX-License-Identifier: MIT */
/*
 * From configuration text to stacks that work, and what the refusals say.
 */
#include "backends/mem.h"
#include "backends/registry.h"
#include "base/alloc.h"
#include "tests/lib/provider_contract.h"
#include "tests/lib/test_env.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>

struct fixture {
    struct test_env *t;
    struct c2_conf *conf;
};

static int
setup(void **state)
{
    static struct fixture f;
    f.t = test_env_new(1);
    f.conf = c2_conf_new();
    *state = &f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    c2_conf_free(f->conf);
    test_env_free(f->t);
    return 0;
}

static void
load(struct fixture *f, const char *text)
{
    enum c2_err err = c2_conf_load_text(f->conf, c2_slice_str(text), "test");
    if (err != C2_E_OK)
        fail_msg("%s", c2_conf_error(f->conf));
}

static struct provider *
open_ok(struct fixture *f, const char *name)
{
    struct provider *p = NULL;
    char *error = NULL;
    enum c2_err err = prov_open(test_env_env(f->t), NULL, f->conf, name, &p, &error);
    if (err != C2_E_OK)
        fail_msg("%s", error);
    assert_null(error);
    return p;
}

static void
expect_refusal(struct fixture *f, const char *name, enum c2_err want, const char *says)
{
    struct provider *p = NULL;
    char *error = NULL;
    assert_int_equal(prov_open(test_env_env(f->t), NULL, f->conf, name, &p, &error), want);
    assert_null(p);
    if (error == NULL || strstr(error, says) == NULL)
        fail_msg("the refusal says: %s", error);
    c2_free(error);
    assert_int_equal(prov_open(test_env_env(f->t), NULL, f->conf, name, &p, NULL), want);
}

static void
registry__mem_stack_passes_the_contract(void **state)
{
    struct fixture *f = *state;
    load(f, "[provider \"m\"]\nurl = mem:\n");
    struct provider_contract c = provider_contract_in(f->t, open_ok(f, "m"));
    provider_contract_run_all(&c);
    assert_string_equal(c.p->name, "m");
    assert_int_equal(prov_fault_set(c.p, "error"), C2_E_UNSUPPORTED);
    prov_close(c.p);
}

static void
registry__dir_stack_with_every_layer_busy_passes_the_contract(void **state)
{
    struct fixture *f = *state;
    C2_AUTO(c2_free_auto) char *root = test_env_path(f->t, "cloud");
    assert_int_equal(mkdir(root, 0700), 0);
    C2_AUTO(c2_free_auto)
    char *text =
        c2_asprintf("[provider \"d\"]\nurl = dir:%s\nconnections = 2\nbandwidth = 10M\n"
                    "retries = 20\nbackoff = 1ms\nfault = noack:15%%,error:10%%,delay:5ms\n",
                    root);
    load(f, text);
    struct provider_contract c = provider_contract_in(f->t, open_ok(f, "d"));
    provider_contract_run_all(&c);
    assert_true(prov_fault_count_kind(c.p, "noack") > 10);
    prov_close(c.p);
}

static void
registry__statistics_count_every_attempt(void **state)
{
    struct fixture *f = *state;
    load(f, "[provider \"m\"]\nurl = mem:\nretries = 3\nfault = get.error\n");
    struct provider_contract c = provider_contract_in(f->t, open_ok(f, "m"));
    struct c2_blob *body = NULL;
    assert_int_equal(test_prov_get(&c, "k", &body), C2_E_UNAVAILABLE);
    assert_non_null(c.p->stats);
    assert_int_equal(c.p->stats->requests[PROV_GET], 4);
    assert_int_equal(c.p->stats->errors[PROV_GET], 4);
    prov_close(c.p);
}

static void
registry__prices_are_those_of_the_section(void **state)
{
    struct fixture *f = *state;
    load(f, "[provider \"m\"]\nurl = mem:\nprice_put = 2000\nprice_get = 500\n"
            "price_egress = 0.25\nprice_storage = 0.5\n");
    struct provider *p = open_ok(f, "m");
    assert_true(prov_price_read(&p->price, 0) == 0.5);
    assert_true(prov_price_read(&p->price, 2000000000) == 1.0);
    assert_true(prov_price_store(&p->price, 1000000000) == 2.5);
    prov_close(p);
}

static void
registry__retries_0_means_one_attempt(void **state)
{
    struct fixture *f = *state;
    load(f, "[provider \"m\"]\nurl = mem:\nretries = 0\nbackoff = 0ms\nfault = error\n");
    struct provider_contract c = provider_contract_in(f->t, open_ok(f, "m"));
    struct c2_blob *body = NULL;
    assert_int_equal(test_prov_get(&c, "k", &body), C2_E_UNAVAILABLE);
    assert_int_equal(c.p->stats->requests[PROV_GET], 1);
    prov_close(c.p);
}

static void
registry__empty_fault_can_be_switched_on_later(void **state)
{
    struct fixture *f = *state;
    load(f, "[provider \"m\"]\nurl = mem:\nretries = 0\nfault =\n");
    struct provider_contract c = provider_contract_in(f->t, open_ok(f, "m"));
    struct c2_blob *body = NULL;
    assert_int_equal(test_prov_get(&c, "k", &body), C2_E_NOT_FOUND);
    assert_int_equal(prov_fault_set(c.p, "down"), C2_E_OK);
    assert_int_equal(test_prov_get(&c, "k", &body), C2_E_UNREACHABLE);
    assert_int_equal(prov_fault_count(c.p), 1);
    prov_close(c.p);
}

static void
registry__connections_limit_what_is_in_flight(void **state)
{
    enum { COUNT = 6 };
    struct fixture *f = *state;
    struct test_prov_req t[COUNT];
    load(f, "[provider \"m\"]\nurl = mem:\nconnections = 2\n");
    struct provider_contract c = provider_contract_in(f->t, open_ok(f, "m"));
    prov_mem_set_latency(c.p, C2_NS_PER_S, 0);
    for (size_t i = 0; i < COUNT; i++) {
        test_prov_req_init(&c, &t[i], PROV_HEAD, "k");
        prov_submit(c.p, &t[i].r);
    }
    assert_int_equal(prov_mem_requests(c.p, PROV_HEAD), 2);
    test_env_run_idle(f->t);
    assert_int_equal(prov_mem_requests(c.p, PROV_HEAD), COUNT);
    prov_close(c.p);
}

static void
registry__missing_directory_opens_and_is_unreachable(void **state)
{
    struct fixture *f = *state;
    C2_AUTO(c2_free_auto)
    char *text =
        c2_asprintf("[provider \"d\"]\nurl = dir:%s/none\nretries = 1\n", test_env_dir(f->t));
    load(f, text);
    struct provider_contract c = provider_contract_in(f->t, open_ok(f, "d"));
    struct test_prov_req t;
    test_prov_req_init(&c, &t, PROV_GET, "k");
    assert_int_equal(test_prov_run(&c, &t), C2_E_UNREACHABLE);
    assert_non_null(strstr(t.r.detail, "/none is not there"));
    prov_close(c.p);
}

static void
registry__unknown_provider_is_told_the_nearest(void **state)
{
    struct fixture *f = *state;
    load(f, "[provider \"aws-fra\"]\nurl = mem:\n[provider \"other\"]\nurl = mem:\n");
    expect_refusal(f, "aws-far", C2_E_NOT_FOUND, "did you mean \"aws-fra\"");
    expect_refusal(f, "completely different", C2_E_NOT_FOUND, "url = s3://BUCKET");
}

static void
registry__missing_url_is_told_what_to_write(void **state)
{
    struct fixture *f = *state;
    load(f, "[provider \"m\"]\nretries = 1\n");
    expect_refusal(f, "m", C2_E_CONFIG, "write url = s3://BUCKET or url = dir:/PATH");
}

static void
registry__bad_fault_is_told_the_nearest(void **state)
{
    struct fixture *f = *state;
    load(f, "[provider \"m\"]\nurl = mem:\nfault = corupt:1%\n");
    expect_refusal(f, "m", C2_E_CONFIG,
                   "provider \"m\": fault: unknown fault \"corupt\", did you "
                   "mean \"corrupt\"?");
}

static void
registry__s3_without_a_network_is_refused(void **state)
{
    struct fixture *f = *state;
    load(f, "[provider \"s\"]\nurl = s3://bucket\n");
    expect_refusal(f, "s", C2_E_UNSUPPORTED, "provider \"s\": s3: needs the network");
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(registry__mem_stack_passes_the_contract),
        TEST(registry__dir_stack_with_every_layer_busy_passes_the_contract),
        TEST(registry__statistics_count_every_attempt),
        TEST(registry__prices_are_those_of_the_section),
        TEST(registry__retries_0_means_one_attempt),
        TEST(registry__empty_fault_can_be_switched_on_later),
        TEST(registry__connections_limit_what_is_in_flight),
        TEST(registry__missing_directory_opens_and_is_unreachable),
        TEST(registry__unknown_provider_is_told_the_nearest),
        TEST(registry__missing_url_is_told_what_to_write),
        TEST(registry__bad_fault_is_told_the_nearest),
        TEST(registry__s3_without_a_network_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
