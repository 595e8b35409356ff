/* SPDX-License-Identifier: MIT */
#include "backends/mem.h"
#include "backends/registry.h"

#include "base/alloc.h"
#include "base/crypto.h"
#include "tests/lib/test_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct ctx {
    struct test_env *t;
    struct provider *mem; /* the bottom of p */
    struct provider *p;
};

struct run {
    struct prov_probe p;
    bool completed;
};

static int
setup(void **state)
{
    struct ctx *c = c2_calloc(1, sizeof(*c));
    c->t = test_env_new(1);
    c->mem = prov_mem_new(test_env_env(c->t), "m");
    c->p = c->mem;
    *state = c;
    return 0;
}

static int
teardown(void **state)
{
    struct ctx *c = *state;
    prov_close(c->p);
    test_env_free(c->t);
    c2_free(c);
    return 0;
}

static void
completed(struct prov_probe *p)
{
    struct run *r = C2_CONTAINER_OF(p, struct run, p);
    assert_false(r->completed);
    r->completed = true;
}

static void
start(struct ctx *c, struct run *r)
{
    *r = (struct run){ .p = { .provider = c->p,
                              .key_prefix = "v1/vol",
                              .deadline_ns = C2_NEVER,
                              .done = completed } };
    prov_probe_start(&r->p);
    assert_false(r->completed);
}

static void
run(struct ctx *c, struct run *r)
{
    start(c, r);
    test_env_run_until(c->t, &r->completed);
    assert_null(r->p.private_state);
}

/* "put=corrupt list=protocol": the checks that failed, in order. */
static void
failures(const struct run *r, struct c2_buf *out)
{
    for (unsigned i = 0; i < PROV_CHECK_COUNT; i++) {
        const struct prov_probe_check *c = &r->p.checks[i];
        if (c->err != C2_E_OK)
            c2_buf_printf(out, "%s%s=%s", out->len > 0 ? " " : "", c->name, c2_err_name(c->err));
        assert_true(c->err == C2_E_OK || (c->ran && c->detail[0] != '\0'));
    }
}

static void
probe__passes_a_good_provider_and_leaves_nothing(void **state)
{
    struct ctx *c = *state;
    struct run r;
    prov_mem_set_latency(c->mem, 5 * C2_NS_PER_MS, 0);
    run(c, &r);
    assert_int_equal(r.p.err, C2_E_OK);
    for (unsigned i = 0; i < PROV_CHECK_COUNT; i++) {
        assert_true(r.p.checks[i].ran);
        assert_int_equal(r.p.checks[i].err, C2_E_OK);
        assert_non_null(r.p.checks[i].name);
        assert_non_null(r.p.checks[i].title);
    }
    assert_int_equal(r.p.latency_put_ns, 5 * C2_NS_PER_MS);
    assert_int_equal(r.p.latency_get_ns, 5 * C2_NS_PER_MS);
    assert_int_equal(prov_mem_count(c->mem), 0);
}

static void
probe__names_what_is_wrong(void **state)
{
    struct ctx *c = *state;
    static const struct {
        const char *fault, *failures;
        enum c2_err err;
    } cases[] = {
        { "corrupt", "get=corrupt range=corrupt overwrite=corrupt if_absent_guard=corrupt",
          C2_E_CORRUPT },
        { "get.empty",
          "get=corrupt range=corrupt overwrite=corrupt if_absent_guard=corrupt "
          "not_found=protocol",
          C2_E_CORRUPT },
        { "truncate", "get=corrupt range=corrupt overwrite=corrupt if_absent_guard=corrupt",
          C2_E_CORRUPT },
        { "head.huge", "head=protocol", C2_E_PROTOCOL },
        { "get.stale",
          "get=not_found range=not_found overwrite=not_found if_absent_guard=not_found",
          C2_E_NOT_FOUND },
        { "list.empty", "list=protocol list_paging=protocol", C2_E_PROTOCOL },
        { "forge", "list=protocol list_after_delete=protocol", C2_E_PROTOCOL },
        { "delete_many.error", "delete=unavailable not_found=protocol list_after_delete=protocol",
          C2_E_UNAVAILABLE },
        { "delete.throttle", "delete=throttled not_found=protocol list_after_delete=protocol",
          C2_E_THROTTLED },
        { "head.error", "head=unavailable not_found=unavailable", C2_E_UNAVAILABLE },
        { "put.down", "put=unreachable", C2_E_UNREACHABLE },
        { "list.down", "list=unreachable list_paging=unreachable list_after_delete=unreachable",
          C2_E_UNREACHABLE },
    };
    struct provider *fault = NULL;
    assert_int_equal(prov_fault_new(c->mem, "", 1, &fault), C2_E_OK);
    c->p = fault;
    for (size_t i = 0; i < C2_ARRAY_LEN(cases); i++) {
        struct run r;
        C2_AUTO(c2_buf_done) struct c2_buf got = { 0 };
        prov_mem_clear(c->mem);
        assert_int_equal(prov_fault_set(fault, cases[i].fault), C2_E_OK);
        run(c, &r);
        failures(&r, &got);
        if (strcmp(c2_buf_cstr(&got), cases[i].failures) != 0)
            fail_msg("%s: got \"%s\", want \"%s\"", cases[i].fault, c2_buf_cstr(&got),
                     cases[i].failures);
        assert_int_equal(r.p.err, cases[i].err);
    }
    assert_true(prov_fault_count(fault) > 0);
}

static void
probe__reports_ignored_conditions_without_refusing(void **state)
{
    struct ctx *c = *state;
    struct run r;
    C2_AUTO(c2_buf_done) struct c2_buf got = { 0 };
    prov_mem_set_if_absent(c->mem, false);
    run(c, &r);
    failures(&r, &got);
    assert_string_equal(c2_buf_cstr(&got), "if_absent=unsupported");
    assert_false(r.p.checks[PROV_CHECK_IF_ABSENT_GUARD].ran);
    assert_int_equal(r.p.err, C2_E_OK);
    assert_int_equal(prov_mem_count(c->mem), 0);
}

static void
probe__stops_when_nothing_can_be_written(void **state)
{
    struct ctx *c = *state;
    struct run r;
    struct provider *fault = NULL;
    assert_int_equal(prov_fault_new(c->mem, "put.error", 1, &fault), C2_E_OK);
    c->p = fault;
    run(c, &r);
    assert_int_equal(r.p.err, C2_E_UNAVAILABLE);
    assert_true(r.p.checks[PROV_CHECK_PUT].ran);
    assert_false(r.p.checks[PROV_CHECK_GET].ran);
    assert_int_equal(prov_mem_requests(c->mem, PROV_GET), 0);
    assert_int_equal(r.p.latency_put_ns, 0);
}

/* A layer that turns the cloud's clock; nothing else in it. */
struct turned {
    struct provider p;
    int64_t offset_ns;
    void (*done_above)(struct prov_req *r);
};

static struct turned *turned; /* the only one */

static void
turn(struct prov_req *r)
{
    r->server_wall_ns += (uint64_t)turned->offset_ns;
    r->done = turned->done_above;
    r->done(r);
}

static void
turned_submit(struct provider *p, struct prov_req *r)
{
    turned->done_above = r->done;
    r->done = turn;
    prov_submit(p->inner, r);
}

static void
turned_cancel(struct provider *p, struct prov_req *r)
{
    prov_cancel(p->inner, r);
}

static void
turned_close(struct provider *p)
{
    (void)p;
}

static const struct provider_ops turned_ops = { turned_submit, turned_cancel, turned_close };

static void
probe__sees_a_wrong_clock(void **state)
{
    struct ctx *c = *state;
    static const struct {
        int64_t offset_s;
        enum c2_err err;
        const char *says;
    } cases[] = {
        { 30, C2_E_OK, "" },
        { -30, C2_E_OK, "" },
        { 3600, C2_E_CONFIG, "3600 s ahead of ours" },
        { -86400, C2_E_CONFIG, "s behind ours" },
    };
    struct turned t = { .p = { .ops = &turned_ops, .env = c->mem->env, .inner = c->mem } };
    turned = &t;
    c->p = &t.p;
    for (size_t i = 0; i < C2_ARRAY_LEN(cases); i++) {
        struct run r;
        t.offset_ns = cases[i].offset_s * (int64_t)C2_NS_PER_S;
        run(c, &r);
        const struct prov_probe_check *clock = &r.p.checks[PROV_CHECK_CLOCK];
        assert_int_equal(r.p.err, C2_E_OK); /* worth a warning only */
        assert_true(clock->ran && r.p.clock_known);
        assert_int_equal(clock->err, cases[i].err);
        assert_non_null(strstr(clock->detail, cases[i].says));
    }
    c->p = c->mem;
    turned = NULL;
}

static void
probe__ends_at_its_deadline(void **state)
{
    struct ctx *c = *state;
    struct run r;
    prov_mem_set_latency(c->mem, C2_NS_PER_S, 0);
    start(c, &r);
    r.p.deadline_ns = c2_now_ns(test_env_env(c->t)) + 7 * C2_NS_PER_S + 1;
    test_env_run_until(c->t, &r.completed);
    assert_int_equal(r.p.err, C2_E_TIMEOUT);
    assert_int_equal(r.p.checks[PROV_CHECK_PUT].err, C2_E_OK);
    assert_int_equal(r.p.checks[PROV_CHECK_RANGE].err, C2_E_TIMEOUT);
    assert_false(r.p.checks[PROV_CHECK_LIST].ran);
}

static void
probe__can_be_canceled_at_any_moment(void **state)
{
    struct ctx *c = *state;
    prov_mem_set_latency(c->mem, C2_NS_PER_MS, 0);
    for (unsigned steps = 0; steps < 20; steps++) {
        struct run r;
        start(c, &r);
        for (unsigned i = 0; i < steps; i++)
            test_env_step(c->t);
        assert_false(r.completed);
        prov_probe_cancel(&r.p);
        assert_false(r.completed);
        test_env_run_until(c->t, &r.completed);
        assert_int_equal(r.p.err, C2_E_CANCELED);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    if (c2_crypto_init() != C2_E_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        TEST(probe__passes_a_good_provider_and_leaves_nothing),
        TEST(probe__names_what_is_wrong),
        TEST(probe__reports_ignored_conditions_without_refusing),
        TEST(probe__stops_when_nothing_can_be_written),
        TEST(probe__sees_a_wrong_clock),
        TEST(probe__ends_at_its_deadline),
        TEST(probe__can_be_canceled_at_any_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
