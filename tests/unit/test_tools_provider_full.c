/* SPDX-License-Identifier: MIT */
/*
 * provider test --full against clouds that are good, and against each kind that is not.
 */
#include "tools/provider_full.h"

#include "backends/mem.h"
#include "base/alloc.h"
#include "base/conf.h"
#include "base/os_loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct ctx {
    struct c2_os *os;
    struct c2_conf *conf;
    struct provider *p;
    struct provider_full f;
};

static int
setup(void **state)
{
    struct ctx *x = c2_calloc(1, sizeof(*x));
    assert_int_equal(c2_os_new(1, &x->os), C2_E_OK);
    x->conf = c2_conf_new();
    assert_int_equal(c2_conf_set(x->conf, "provider", "p", "url", "mem:", "test"), C2_E_OK);
    x->p = prov_mem_new(c2_os_env(x->os), "p");
    *state = x;
    return 0;
}

static int
teardown(void **state)
{
    struct ctx *x = *state;
    prov_close(x->p);
    c2_conf_free(x->conf);
    c2_os_drain(x->os);
    c2_os_free(x->os);
    c2_free(x);
    return 0;
}

static enum c2_err
run(struct ctx *x, const char *fault)
{
    assert_int_equal(prov_fault_new(x->p, fault, 1, &x->p), C2_E_OK);
    return provider_full_run(x->os, x->conf, "p", x->p, &x->f);
}

static void
full__passes_a_good_cloud_and_leaves_nothing_behind(void **state)
{
    struct ctx *x = *state;
    assert_int_equal(run(x, ""), C2_E_OK);
    for (unsigned i = 0; i < FULL_MD5; i++) {
        assert_true(x->f.line[i].ran);
        assert_string_equal(x->f.line[i].detail, "");
        assert_int_equal(x->f.line[i].err, C2_E_OK);
    }
    for (unsigned i = FULL_MD5; i < FULL_COUNT; i++) /* there is no network */
        assert_false(x->f.line[i].ran);
    assert_int_equal(x->f.put.n, 20);
    assert_int_equal(x->f.get.n, 20);
    assert_in_range(x->f.get.p50_ns, 1, x->f.get.p95_ns);
    assert_true(x->f.put_8mib_ns > 0 && x->f.get_8mib_ns > 0);
    assert_int_equal(prov_mem_count(x->p), 0);
}

static void
full__says_which_promise_is_not_kept(void **state)
{
    static const struct {
        const char *fault;
        enum full_check line;
        enum c2_err err;
    } cases[] = {
        { "get.corrupt", FULL_READ_AFTER_WRITE, C2_E_CORRUPT },
        { "put.lie", FULL_READ_AFTER_WRITE, C2_E_NOT_FOUND },
        { "get.stale", FULL_READ_AFTER_REPLACE, C2_E_NOT_FOUND },
        { "list.empty", FULL_LIST_AFTER_WRITE, C2_E_PROTOCOL },
        { "list.forge", FULL_LIST_ORDER, C2_E_PROTOCOL },
        { "get.truncate", FULL_RANGES, C2_E_CORRUPT },
        { "delete_many.error", FULL_DELETE_MANY, C2_E_UNAVAILABLE },
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(cases); i++) {
        struct ctx *x = *state;
        enum c2_err err = run(x, cases[i].fault);
        assert_int_not_equal(err, C2_E_OK); /* of the first line that failed */
        assert_true(x->f.line[cases[i].line].ran);
        assert_int_equal(x->f.line[cases[i].line].err, cases[i].err);
        assert_string_not_equal(x->f.line[cases[i].line].detail, "");
        teardown(state);
        setup(state);
    }
}

/* It costs a safety margin only. */
static void
full__accepts_a_cloud_without_conditional_writes(void **state)
{
    struct ctx *x = *state;
    prov_mem_set_if_absent(x->p, false);
    assert_int_equal(run(x, ""), C2_E_OK);
    assert_false(x->f.line[FULL_CREATE_RACE].ran);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(full__passes_a_good_cloud_and_leaves_nothing_behind, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(full__says_which_promise_is_not_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(full__accepts_a_cloud_without_conditional_writes, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
