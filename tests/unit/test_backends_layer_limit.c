/* SPDX-License-Identifier: MIT */
/*
 * How many requests run, which wait, which are refused, and how fast bytes flow.
 */
#include "backends/mem.h"
#include "backends/registry.h"
#include "tests/lib/prov_script.h"
#include "tests/lib/provider_contract.h"
#include "tests/lib/test_env.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#define LATENCY_NS (100 * C2_NS_PER_MS)

struct fixture {
    struct test_env *t;
    struct provider *script;
    struct provider_contract c;
};

static int
setup(void **state)
{
    static struct fixture f;
    f.t = test_env_new(1);
    f.script = prov_script_new(prov_mem_new(test_env_env(f.t), "mem1"));
    f.c = provider_contract_in(f.t, NULL);
    *state = &f;
    return 0;
}

static void
limit(struct fixture *f, unsigned in_flight_max, size_t queue_max, uint64_t bytes_per_s)
{
    prov_mem_set_latency(f->script, LATENCY_NS, 0);
    f->c.p = prov_limit_new(f->script, in_flight_max, queue_max, bytes_per_s);
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    prov_close(f->c.p);
    test_env_free(f->t);
    return 0;
}

static size_t
arrived(struct fixture *f)
{
    size_t count = 0;
    prov_script_log(f->script, &count);
    return count;
}

static void
submit(struct fixture *f, struct test_prov_req *t, const char *key)
{
    test_prov_req_init(&f->c, t, PROV_HEAD, key);
    prov_submit(f->c.p, &t->r);
}

static void
limit__passes_the_contract(void **state)
{
    struct fixture *f = *state;
    f->c.p = prov_limit_new(f->script, 2, 100, 0);
    struct provider_contract c = provider_contract_in(
        f->t, prov_limit_new(prov_mem_new(test_env_env(f->t), "m"), 2, 100, 1000000));
    provider_contract_run_all(&c);
    prov_close(c.p);
}

static void
limit__runs_so_many_at_a_time_in_order(void **state)
{
    struct fixture *f = *state;
    struct test_prov_req t[7];
    limit(f, 3, 10, 0);
    for (size_t i = 0; i < C2_ARRAY_LEN(t); i++)
        submit(f, &t[i], "k");
    assert_int_equal(arrived(f), 3);
    test_env_run_for(f->t, LATENCY_NS);
    assert_true(t[0].completed && t[2].completed && !t[3].completed);
    assert_int_equal(arrived(f), 6);
    test_env_run_for(f->t, LATENCY_NS);
    assert_true(t[5].completed && !t[6].completed);
    assert_int_equal(arrived(f), 7);
    test_env_run_idle(f->t);
    assert_true(t[6].completed);
}

static void
limit__full_queue_is_busy(void **state)
{
    struct fixture *f = *state;
    struct test_prov_req t[4];
    limit(f, 1, 2, 0);
    for (size_t i = 0; i < C2_ARRAY_LEN(t); i++)
        submit(f, &t[i], "k");
    assert_false(t[3].completed); /* never from inside submit */
    test_env_run_ready(f->t);
    assert_true(t[3].completed);
    assert_int_equal(t[3].r.err, C2_E_BUSY);
    test_env_run_idle(f->t);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(t[i].r.err, C2_E_NOT_FOUND);
    assert_int_equal(arrived(f), 3);
}

static void
limit__deadline_counts_in_the_queue(void **state)
{
    struct fixture *f = *state;
    struct test_prov_req t[3];
    limit(f, 1, 2, 0);
    submit(f, &t[0], "k");
    test_prov_req_init(&f->c, &t[1], PROV_HEAD, "k");
    t[1].r.deadline_ns = c2_now_ns(f->c.p->env) + LATENCY_NS / 2;
    prov_submit(f->c.p, &t[1].r);
    submit(f, &t[2], "k");
    test_prov_wait(&f->c, &t[1]);
    assert_int_equal(t[1].r.err, C2_E_TIMEOUT);
    assert_int_equal(c2_now_ns(f->c.p->env), t[1].r.deadline_ns);
    assert_false(t[0].completed);
    test_env_run_idle(f->t);
    assert_int_equal(t[2].r.err, C2_E_NOT_FOUND);
    assert_int_equal(arrived(f), 2);
}

static void
limit__can_be_canceled_in_the_queue(void **state)
{
    struct fixture *f = *state;
    struct test_prov_req t[3];
    limit(f, 1, 2, 0);
    for (size_t i = 0; i < C2_ARRAY_LEN(t); i++)
        submit(f, &t[i], "k");
    prov_cancel(f->c.p, &t[1].r);
    assert_false(t[1].completed);
    prov_cancel(f->c.p, &t[1].r);
    test_env_run_ready(f->t);
    assert_int_equal(t[1].completions, 1);
    assert_int_equal(t[1].r.err, C2_E_CANCELED);
    test_env_run_idle(f->t);
    assert_int_equal(arrived(f), 2);
    assert_true(t[2].completed);
}

static void
limit__can_be_canceled_when_sent(void **state)
{
    struct fixture *f = *state;
    struct test_prov_req t[2];
    limit(f, 1, 2, 0);
    submit(f, &t[0], "k");
    submit(f, &t[1], "k");
    prov_cancel(f->c.p, &t[0].r);
    test_env_run_ready(f->t);
    assert_int_equal(t[0].r.err, C2_E_CANCELED);
    assert_int_equal(arrived(f), 2); /* its place is taken */
    test_env_run_idle(f->t);
}

static void
put_size(struct fixture *f, struct test_prov_req *t, size_t len)
{
    test_prov_req_init(&f->c, t, PROV_PUT, "k");
    t->r.body = c2_blob_new(len);
    for (size_t i = 0; i < len; i++)
        t->r.body->data[i] = (uint8_t)i;
    prov_submit(f->c.p, &t->r);
}

static void
limit__bytes_per_second_holds_for_puts(void **state)
{
    enum { COUNT = 20, SIZE = 50000, RATE = 100000 };
    struct fixture *f = *state;
    struct test_prov_req t[COUNT];
    limit(f, 4, COUNT, RATE);
    uint64_t start_ns = c2_now_ns(f->c.p->env);
    for (size_t i = 0; i < COUNT; i++)
        put_size(f, &t[i], SIZE);
    test_env_run_idle(f->t);
    uint64_t took_ns = c2_now_ns(f->c.p->env) - start_ns;
    /* Ten seconds' worth; one is credited, and the last transfer runs into the time after. */
    assert_in_range(took_ns, 8 * C2_NS_PER_S, 11 * C2_NS_PER_S);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(t[i].r.err, C2_E_OK);
        c2_blob_unref(t[i].r.body);
    }
}

static void
limit__bytes_per_second_holds_for_gets(void **state)
{
    enum { COUNT = 20, SIZE = 50000, RATE = 100000 };
    struct fixture *f = *state;
    struct test_prov_req t[COUNT];
    static const uint8_t body[SIZE];
    limit(f, 1, COUNT, RATE);
    prov_mem_store(f->c.p, "k", c2_slice(body, SIZE));
    uint64_t start_ns = c2_now_ns(f->c.p->env);
    for (size_t i = 0; i < COUNT; i++) {
        test_prov_req_init(&f->c, &t[i], PROV_GET, "k");
        prov_submit(f->c.p, &t[i].r);
    }
    test_env_run_idle(f->t);
    uint64_t took_ns = c2_now_ns(f->c.p->env) - start_ns;
    assert_in_range(took_ns, 8 * C2_NS_PER_S, 11 * C2_NS_PER_S);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(t[i].r.err, C2_E_OK);
        test_prov_req_done(&t[i]);
    }
}

static void
limit__idle_time_is_not_saved_up(void **state)
{
    enum { COUNT = 6, SIZE = 100000, RATE = 100000 };
    struct fixture *f = *state;
    struct test_prov_req t[COUNT];
    limit(f, COUNT, COUNT, RATE);
    test_env_run_for(f->t, 3600 * C2_NS_PER_S);
    uint64_t start_ns = c2_now_ns(f->c.p->env);
    for (size_t i = 0; i < COUNT; i++)
        put_size(f, &t[i], SIZE);
    test_env_run_idle(f->t);
    assert_true(c2_now_ns(f->c.p->env) - start_ns >= (COUNT - 2) * C2_NS_PER_S);
    for (size_t i = 0; i < COUNT; i++)
        c2_blob_unref(t[i].r.body);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(limit__passes_the_contract),
        TEST(limit__runs_so_many_at_a_time_in_order),
        TEST(limit__full_queue_is_busy),
        TEST(limit__deadline_counts_in_the_queue),
        TEST(limit__can_be_canceled_in_the_queue),
        TEST(limit__can_be_canceled_when_sent),
        TEST(limit__bytes_per_second_holds_for_puts),
        TEST(limit__bytes_per_second_holds_for_gets),
        TEST(limit__idle_time_is_not_saved_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
