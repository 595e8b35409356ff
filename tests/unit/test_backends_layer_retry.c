/* SPDX-License-Identifier: MIT */
/*
 * When a request is sent again, when not, how long it waits, and whose object it is that exists.
 */
#include "backends/mem.h"
#include "backends/registry.h"
#include "base/mark.h"
#include "tests/lib/prov_script.h"
#include "tests/lib/provider_contract.h"
#include "tests/lib/test_env.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#define BACKOFF_NS     (100 * C2_NS_PER_MS)
#define BACKOFF_MAX_NS (400 * C2_NS_PER_MS)

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
    f.c = provider_contract_in(f.t, prov_retry_new(f.script, 5, BACKOFF_NS, BACKOFF_MAX_NS));
    c2_mark_reset();
    *state = &f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    assert_false(test_env_has_timers(f->t));
    prov_close(f->c.p);
    test_env_free(f->t);
    return 0;
}

static void
script(struct fixture *f, enum c2_err err, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        prov_script_add(f->script, (struct prov_script_step){ .err = err });
}

static size_t
attempts(struct fixture *f)
{
    size_t count = 0;
    prov_script_log(f->script, &count);
    return count;
}

static void
retry__passes_the_contract(void **state)
{
    struct fixture *f = *state;
    struct provider *mem = prov_mem_new(test_env_env(f->t), "m");
    struct provider_contract c =
        provider_contract_in(f->t, prov_retry_new(mem, 3, BACKOFF_NS, BACKOFF_MAX_NS));
    provider_contract_run_all(&c);
    prov_close(c.p);
}

/* A third of all requests fails, some of them after they took effect. */
static void
retry__passes_the_contract_over_a_bad_cloud(void **state)
{
    struct fixture *f = *state;
    struct provider *p = prov_mem_new(test_env_env(f->t), "m");
    assert_int_equal(prov_fault_new(p, "error:10%,noack:20%,throttle:5%", 7, &p), C2_E_OK);
    struct provider_contract c = provider_contract_in(f->t, prov_retry_new(p, 20, 1, 1000));
    provider_contract_run_all(&c);
    assert_true(prov_fault_count_kind(c.p, "noack") > 20);
    assert_true(c2_mark_count("retry: the object that exists is ours") > 0);
    prov_close(c.p);
}

static void
retry__repeats_after_passing_errors(void **state)
{
    static const enum c2_err passing[] = { C2_E_TIMEOUT,   C2_E_UNREACHABLE, C2_E_UNAVAILABLE,
                                           C2_E_THROTTLED, C2_E_IO,          C2_E_NO_SPACE };
    struct fixture *f = *state;
    prov_mem_store(f->c.p, "a", c2_slice_str("x"));
    for (size_t i = 0; i < C2_ARRAY_LEN(passing); i++) {
        size_t before = attempts(f);
        script(f, passing[i], 2);
        script(f, C2_E_OK, 1);
        test_prov_assert_body(&f->c, "a", c2_slice_str("x"));
        assert_int_equal(attempts(f) - before, 3);
    }
}

static void
retry__final_errors_are_returned_at_once(void **state)
{
    static const enum c2_err final[] = { C2_E_NOT_FOUND, C2_E_AUTH,     C2_E_CORRUPT,
                                         C2_E_INVALID,   C2_E_CANCELED, C2_E_TOO_LARGE };
    struct fixture *f = *state;
    struct c2_blob *body = NULL;
    for (size_t i = 0; i < C2_ARRAY_LEN(final); i++) {
        size_t before = attempts(f);
        script(f, final[i], 1);
        assert_int_equal(test_prov_get(&f->c, "a", &body), final[i]);
        assert_int_equal(attempts(f) - before, 1);
    }
}

static void
retry__gives_up_after_the_last_attempt(void **state)
{
    struct fixture *f = *state;
    struct c2_blob *body = NULL;
    script(f, C2_E_UNREACHABLE, 9);
    assert_int_equal(test_prov_get(&f->c, "a", &body), C2_E_UNREACHABLE);
    assert_int_equal(attempts(f), 5);
}

static void
retry__request_may_be_content_with_fewer_attempts(void **state)
{
    struct fixture *f = *state;
    static const unsigned most[] = { 1, 2, 99 };
    for (size_t i = 0; i < C2_ARRAY_LEN(most); i++) {
        struct test_prov_req t;
        size_t before = attempts(f);
        script(f, C2_E_UNREACHABLE, C2_MIN(most[i], 5u));
        test_prov_req_init(&f->c, &t, PROV_GET, "a");
        t.r.attempts_max = most[i];
        assert_int_equal(test_prov_run(&f->c, &t), C2_E_UNREACHABLE);
        assert_int_equal(attempts(f) - before, C2_MIN(most[i], 5u));
    }
}

static void
retry__waits_double_up_to_the_maximum_with_jitter(void **state)
{
    struct fixture *f = *state;
    struct c2_blob *body = NULL;
    script(f, C2_E_UNREACHABLE, 5);
    assert_int_equal(test_prov_get(&f->c, "a", &body), C2_E_UNREACHABLE);
    size_t count = 0;
    const struct prov_script_entry *log = prov_script_log(f->script, &count);
    uint64_t longest_ns = BACKOFF_NS;
    for (size_t i = 1; i < count; i++) {
        uint64_t waited_ns = log[i].at_ns - log[i - 1].at_ns;
        assert_in_range(waited_ns, longest_ns / 2, longest_ns);
        assert_int_not_equal(waited_ns, longest_ns);
        longest_ns = C2_MIN(2 * longest_ns, BACKOFF_MAX_NS);
    }
    assert_int_equal(longest_ns, BACKOFF_MAX_NS);
}

static void
retry__honours_the_wish_of_the_cloud_within_bounds(void **state)
{
    static const struct {
        uint64_t wish_ns, waited_ns;
    } cases[] = {
        { 3 * C2_NS_PER_S, 3 * C2_NS_PER_S },
        { 1000000 * C2_NS_PER_S, 60 * C2_NS_PER_S }, /* nobody waits for eleven days */
    };
    struct fixture *f = *state;
    prov_mem_store(f->c.p, "a", c2_slice_str("x"));
    for (size_t i = 0; i < C2_ARRAY_LEN(cases); i++) {
        prov_script_add(f->script, (struct prov_script_step){ .err = C2_E_THROTTLED,
                                                              .retry_after_ns = cases[i].wish_ns });
        uint64_t start_ns = c2_now_ns(f->c.p->env);
        test_prov_assert_body(&f->c, "a", c2_slice_str("x"));
        assert_int_equal(c2_now_ns(f->c.p->env) - start_ns, cases[i].waited_ns);
    }
}

static void
retry__does_not_wait_past_the_deadline(void **state)
{
    struct fixture *f = *state;
    struct test_prov_req t;
    uint64_t start_ns = c2_now_ns(f->c.p->env);
    prov_script_add(f->script, (struct prov_script_step){ .err = C2_E_THROTTLED,
                                                          .retry_after_ns = 5 * C2_NS_PER_S });
    test_prov_req_init(&f->c, &t, PROV_GET, "a");
    t.r.deadline_ns = start_ns + 4 * C2_NS_PER_S;
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_THROTTLED);
    assert_int_equal(c2_now_ns(f->c.p->env), start_ns);
    assert_int_equal(attempts(f), 1);
}

static void
retry__can_be_canceled_while_it_waits(void **state)
{
    struct fixture *f = *state;
    struct test_prov_req t;
    uint64_t start_ns = c2_now_ns(f->c.p->env);
    script(f, C2_E_UNREACHABLE, 1);
    test_prov_req_init(&f->c, &t, PROV_GET, "a");
    prov_submit(f->c.p, &t.r);
    test_env_run_ready(f->t);
    assert_false(t.completed);
    prov_cancel(f->c.p, &t.r);
    assert_false(t.completed);
    test_prov_wait(&f->c, &t);
    assert_int_equal(t.r.err, C2_E_CANCELED);
    assert_int_equal(c2_now_ns(f->c.p->env), start_ns);
    assert_int_equal(attempts(f), 1);
}

static void
retry__can_be_canceled_while_it_is_sent(void **state)
{
    struct fixture *f = *state;
    struct test_prov_req t;
    prov_mem_set_latency(f->c.p, C2_NEVER, 0);
    test_prov_req_init(&f->c, &t, PROV_GET, "a");
    prov_submit(f->c.p, &t.r);
    test_env_run_for(f->t, C2_NS_PER_S);
    prov_cancel(f->c.p, &t.r);
    test_prov_wait(&f->c, &t);
    assert_int_equal(t.r.err, C2_E_CANCELED);
    assert_int_equal(attempts(f), 1);
}

/* ---- PUT if absent after an attempt of unknown end ---- */

static void
lost_ack(struct fixture *f)
{
    prov_script_add(f->script, (struct prov_script_step){ .err = C2_E_TIMEOUT, .apply = true });
}

static void
retry__own_object_of_a_lost_answer_is_a_success(void **state)
{
    struct fixture *f = *state;
    lost_ack(f);
    assert_int_equal(test_prov_put(&f->c, "a", c2_slice_str("mine"), true), C2_E_OK);
    assert_int_equal(c2_mark_count("retry: the object that exists is ours"), 1);
    size_t count = 0;
    const struct prov_script_entry *log = prov_script_log(f->script, &count);
    assert_int_equal(count, 3);
    assert_int_equal(log[2].verb, PROV_GET);
}

static void
retry__other_object_of_equal_size_exists(void **state)
{
    struct fixture *f = *state;
    prov_mem_store(f->c.p, "a", c2_slice_str("them"));
    script(f, C2_E_TIMEOUT, 1);
    assert_int_equal(test_prov_put(&f->c, "a", c2_slice_str("mine"), true), C2_E_EXISTS);
    test_prov_assert_body(&f->c, "a", c2_slice_str("them"));
}

static void
retry__other_objects_of_other_sizes_exist(void **state)
{
    struct fixture *f = *state;
    prov_mem_store(f->c.p, "longer", c2_slice_str("much longer"));
    prov_mem_store(f->c.p, "shorter", c2_slice_str("x"));
    script(f, C2_E_TIMEOUT, 1);
    assert_int_equal(test_prov_put(&f->c, "longer", c2_slice_str("mine"), true), C2_E_EXISTS);
    script(f, C2_E_OK, 1);
    script(f, C2_E_TIMEOUT, 1);
    assert_int_equal(test_prov_put(&f->c, "shorter", c2_slice_str("mine"), true), C2_E_EXISTS);
}

static void
retry__exists_at_the_first_attempt_is_believed(void **state)
{
    struct fixture *f = *state;
    prov_mem_store(f->c.p, "a", c2_slice_str("mine"));
    assert_int_equal(test_prov_put(&f->c, "a", c2_slice_str("mine"), true), C2_E_EXISTS);
    assert_int_equal(attempts(f), 1);
}

static void
retry__throttled_attempt_has_had_no_effect(void **state)
{
    struct fixture *f = *state;
    prov_mem_store(f->c.p, "a", c2_slice_str("mine"));
    script(f, C2_E_THROTTLED, 1);
    assert_int_equal(test_prov_put(&f->c, "a", c2_slice_str("mine"), true), C2_E_EXISTS);
    assert_int_equal(prov_mem_requests(f->c.p, PROV_GET), 0);
}

static void
retry__comparison_is_repeated_after_a_passing_error(void **state)
{
    struct fixture *f = *state;
    lost_ack(f);
    script(f, C2_E_OK, 1);          /* the second PUT: EXISTS */
    script(f, C2_E_UNREACHABLE, 1); /* the comparison */
    assert_int_equal(test_prov_put(&f->c, "a", c2_slice_str("mine"), true), C2_E_OK);
    assert_int_equal(attempts(f), 5);
}

static void
retry__comparison_that_cannot_tell_is_not_exists(void **state)
{
    struct fixture *f = *state;
    lost_ack(f);
    for (unsigned i = 0; i < 4; i++) {
        script(f, C2_E_OK, 1);
        script(f, C2_E_UNREACHABLE, 1);
    }
    assert_int_equal(test_prov_put(&f->c, "a", c2_slice_str("mine"), true), C2_E_UNREACHABLE);
}

static void
retry__object_gone_again_is_put_again(void **state)
{
    struct fixture *f = *state;
    lost_ack(f);
    script(f, C2_E_EXISTS, 1);
    script(f, C2_E_NOT_FOUND, 1);
    struct test_prov_req t;
    test_prov_req_init(&f->c, &t, PROV_PUT, "a");
    t.r.body = c2_blob_copy("mine", 4);
    t.r.if_absent = true;
    prov_submit(f->c.p, &t.r);
    test_env_run_ready(f->t);
    assert_true(prov_mem_delete(f->c.p, "a"));
    test_prov_wait(&f->c, &t);
    assert_int_equal(t.r.err, C2_E_OK);
    assert_non_null(prov_mem_peek(f->c.p, "a"));
    assert_int_equal(attempts(f), 4);
    c2_blob_unref(t.r.body);
    test_prov_req_done(&t);
}

static void
retry__can_be_canceled_while_it_compares(void **state)
{
    struct fixture *f = *state;
    lost_ack(f);
    struct test_prov_req t;
    test_prov_req_init(&f->c, &t, PROV_PUT, "a");
    t.r.body = c2_blob_copy("mine", 4);
    t.r.if_absent = true;
    prov_submit(f->c.p, &t.r);
    while (prov_mem_requests(f->c.p, PROV_GET) == 0) {
        if (prov_mem_requests(f->c.p, PROV_PUT) == 2)
            prov_mem_set_latency(f->c.p, C2_NEVER, 0);
        assert_true(test_env_step(f->t));
    }
    prov_cancel(f->c.p, &t.r);
    test_prov_wait(&f->c, &t);
    assert_int_equal(t.r.err, C2_E_CANCELED);
    c2_blob_unref(t.r.body);
    test_prov_req_done(&t);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(retry__passes_the_contract),
        TEST(retry__passes_the_contract_over_a_bad_cloud),
        TEST(retry__repeats_after_passing_errors),
        TEST(retry__final_errors_are_returned_at_once),
        TEST(retry__gives_up_after_the_last_attempt),
        TEST(retry__request_may_be_content_with_fewer_attempts),
        TEST(retry__waits_double_up_to_the_maximum_with_jitter),
        TEST(retry__honours_the_wish_of_the_cloud_within_bounds),
        TEST(retry__does_not_wait_past_the_deadline),
        TEST(retry__can_be_canceled_while_it_waits),
        TEST(retry__can_be_canceled_while_it_is_sent),
        TEST(retry__own_object_of_a_lost_answer_is_a_success),
        TEST(retry__other_object_of_equal_size_exists),
        TEST(retry__other_objects_of_other_sizes_exist),
        TEST(retry__exists_at_the_first_attempt_is_believed),
        TEST(retry__throttled_attempt_has_had_no_effect),
        TEST(retry__comparison_is_repeated_after_a_passing_error),
        TEST(retry__comparison_that_cannot_tell_is_not_exists),
        TEST(retry__object_gone_again_is_put_again),
        TEST(retry__can_be_canceled_while_it_compares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
