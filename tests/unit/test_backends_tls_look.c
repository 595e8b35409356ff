/* SPDX-License-Identifier: MIT */
/*
 * What a look at an endpoint tells when there is no TLS; tests/integration/test_s3_volume.sh has
 * servers with certificates.
 */
#include "backends/registry.h"

#include "base/alloc.h"
#include "base/conf.h"
#include "base/os_loop.h"
#include "tests/lib/http_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct ctx {
    struct c2_os *os;
    struct http_fixture *server;
    struct c2_conf *conf;
    struct prov_tls_look l;
    bool done;
};

static void
set(struct ctx *x, const char *key, const char *value)
{
    assert_int_equal(c2_conf_set(x->conf, "provider", "p", key, value, "test"), C2_E_OK);
}

static int
setup(void **state)
{
    struct ctx *x = c2_calloc(1, sizeof(*x));
    assert_int_equal(c2_os_new(1, &x->os), C2_E_OK);
    x->server = http_fixture_new(x->os);
    x->conf = c2_conf_new();
    set(x, "url", "s3://bucket");
    set(x, "endpoint", http_fixture_url(x->server));
    *state = x;
    return 0;
}

static int
teardown(void **state)
{
    struct ctx *x = *state;
    http_fixture_free(x->server);
    c2_conf_free(x->conf);
    c2_os_drain(x->os);
    c2_os_free(x->os);
    c2_free(x);
    return 0;
}

static void
looked(struct prov_tls_look *l)
{
    C2_CONTAINER_OF(l, struct ctx, l)->done = true;
}

static void
look(struct ctx *x)
{
    x->l = (struct prov_tls_look){ .done = looked };
    assert_int_equal(prov_tls_look_start(c2_os_env(x->os), x->os, x->conf, "p", &x->l), C2_E_OK);
    assert_false(x->done);
    c2_os_run_until(x->os, &x->done);
    assert_null(x->l.private_state);
}

static void
look__tells_a_redirect_and_does_not_follow_it(void **state)
{
    struct ctx *x = *state;
    http_fixture_answer(x->server, "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1/"
                                   "elsewhere\r\nContent-Length: 0\r\n\r\n");
    look(x);
    assert_true(x->l.network);
    assert_false(x->l.tls);
    assert_int_equal(x->l.err, C2_E_OK);
    assert_int_equal(x->l.status, 307);
    assert_string_equal(x->l.location, "http://127.0.0.1/elsewhere");
    assert_string_equal(x->l.version, "");
    assert_int_equal(http_fixture_requests(x->server), 1);
    assert_false(http_fixture_saw(x->server, 0, "Authorization"));
    assert_false(http_fixture_saw(x->server, 0, "bucket"));
}

static void
look__tells_why_there_is_no_answer(void **state)
{
    struct ctx *x = *state;
    set(x, "endpoint", "https://127.0.0.1:1"); /* nobody listens there */
    look(x);
    assert_true(x->l.tls);
    assert_int_equal(x->l.err, C2_E_UNREACHABLE);
    assert_string_not_equal(x->l.detail, "");
    assert_int_equal(x->l.status, 0);
}

static void
look__asks_nothing_of_a_local_provider(void **state)
{
    struct ctx *x = *state;
    set(x, "url", "mem:");
    look(x);
    assert_false(x->l.network);
    assert_int_equal(http_fixture_requests(x->server), 0);
}

static void
look__refuses_a_section_that_is_wrong(void **state)
{
    struct ctx *x = *state;
    struct prov_tls_look l = { .done = looked };
    set(x, "endpoint", "ftp://example.com");
    assert_int_equal(prov_tls_look_start(c2_os_env(x->os), x->os, x->conf, "p", &l), C2_E_CONFIG);
    assert_int_equal(prov_tls_look_start(c2_os_env(x->os), x->os, x->conf, "q", &l),
                     C2_E_NOT_FOUND);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(look__tells_a_redirect_and_does_not_follow_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(look__tells_why_there_is_no_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(look__asks_nothing_of_a_local_provider, setup, teardown),
        cmocka_unit_test_setup_teardown(look__refuses_a_section_that_is_wrong, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
