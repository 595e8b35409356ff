/* SPDX-License-Identifier: MIT */
/*
 * The S3 provider against a server that answers as a script says: everything a real one does not
 * do on demand.
 */
#include "backends/s3.h"
#include "backends/s3_call.h"

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/os_loop.h"
#include "base/str.h"
#include "tests/lib/http_fixture.h"
#include "tests/lib/provider_contract.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TIMEOUT_NS (60 * C2_NS_PER_S)
#define DONE       "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define NO_KEY                                                                                     \
    "HTTP/1.1 404 Not Found\r\nContent-Length: 40\r\n\r\n"                                         \
    "<Error><Code>NoSuchKey</Code>   </Error>"
#define NO_BUCKET                                                                                  \
    "HTTP/1.1 404 Not Found\r\nContent-Length: 40\r\n\r\n"                                         \
    "<Error><Code>NoSuchBucket</Code></Error>"
#define HEAD_404 "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
#define NOT_IMPL "HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n"
#define ONE_BYTE                                                                                   \
    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/9\r\n"                               \
    "Content-Length: 1\r\n\r\nx"

struct ctx {
    struct c2_os *os;
    struct http_fixture *server;
    struct provider *p;
    struct provider_contract c;
};

static void
run_until(void *arg, const bool *flag)
{
    struct ctx *x = arg;
    c2_os_run_until(x->os, flag);
}

static struct prov_s3_config
config(struct ctx *x)
{
    return (struct prov_s3_config){ .name = "p",
                                    .url = "s3://bucket/pre",
                                    .endpoint = http_fixture_url(x->server),
                                    .region = "eu-west-3",
                                    .addressing = PROV_S3_PATH,
                                    .connect_timeout_ns = TIMEOUT_NS,
                                    .access_key_id = "AKID",
                                    .secret_access_key = "very-secret" };
}

static void
open_with(struct ctx *x, const struct prov_s3_config *cfg)
{
    char *error = NULL;
    prov_close(x->p);
    if (prov_s3_new(c2_os_env(x->os), x->os, cfg, &x->p, &error) != C2_E_OK)
        fail_msg("%s", error);
    x->c = (struct provider_contract){
        .p = x->p, .timeout_ns = TIMEOUT_NS, .run_until = run_until, .arg = x
    };
}

static void
open_provider(struct ctx *x, const char *url, const char *token)
{
    struct prov_s3_config cfg = config(x);
    cfg.url = url;
    cfg.session_token = token;
    open_with(x, &cfg);
}

static int
setup(void **state)
{
    struct ctx *x = c2_calloc(1, sizeof(*x));
    if (c2_os_new(1, &x->os) != C2_E_OK)
        return 1;
    x->server = http_fixture_new(x->os);
    open_provider(x, "s3://bucket/pre", NULL);
    *state = x;
    return 0;
}

static int
teardown(void **state)
{
    struct ctx *x = *state;
    prov_close(x->p);
    http_fixture_free(x->server);
    c2_os_free(x->os);
    c2_free(x);
    return 0;
}

static void
answer(struct ctx *x, const char *text)
{
    http_fixture_answer(x->server, text);
}

static void
answer_body(struct ctx *x, const char *status, const char *body)
{
    C2_AUTO(c2_buf_done) struct c2_buf text = { 0 };
    c2_buf_printf(&text, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", status, strlen(body),
                  body);
    answer(x, c2_buf_cstr(&text));
}

static const char *
sent(struct ctx *x, size_t n)
{
    return http_fixture_request(x->server, n);
}

static bool
starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* A GET of a range, and what came of it. */
static enum c2_err
get(struct ctx *x, uint64_t offset, uint64_t len, size_t body_len_max, struct test_prov_req *t)
{
    test_prov_req_init(&x->c, t, PROV_GET, "k");
    t->r.offset = offset;
    t->r.len = len;
    t->r.body_len_max = body_len_max;
    return test_prov_run(&x->c, t);
}

static enum c2_err
simple(struct ctx *x, enum prov_verb verb, struct test_prov_req *t)
{
    test_prov_req_init(&x->c, t, verb, "k");
    if (verb == PROV_LIST)
        t->r.list_max = 10;
    return test_prov_run(&x->c, t);
}

/* ---- PUT ---- */

static void
put__is_signed_and_whole(void **state)
{
    struct ctx *x = *state;
    open_provider(x, "s3://bucket/pre", "the/token==");
    answer(x, DONE);
    assert_int_equal(test_prov_put(&x->c, "a b/\xc3\xa9+", c2_slice_str("body"), false), C2_E_OK);
    const char *s = sent(x, 0);
    assert_true(starts_with(s, "PUT /bucket/pre/a%20b/%C3%A9%2B HTTP/1.1\r\n"));
    assert_non_null(strstr(s,
                           "\r\nx-amz-content-sha256: 230d8358dc8e8890b4c58deeb62912ee2f20357ae92"
                           "a5cc861b98e68fe31acb5\r\n"));
    assert_non_null(strstr(s, "\r\nx-amz-security-token: the/token==\r\n"));
    assert_non_null(strstr(s, "\r\nContent-Length: 4\r\n"));
    assert_non_null(strstr(s, "/eu-west-3/s3/aws4_request, SignedHeaders=content-type;host;"
                              "x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature="));
    assert_non_null(strstr(s, "\r\n\r\nbody"));
    assert_null(strstr(s, "very-secret"));
    assert_null(strstr(s, "If-None-Match"));
}

/* libcurl writes addresses in its own way; what is signed must be what is sent. */
static void
put__sends_the_host_that_it_signed(void **state)
{
    struct ctx *x = *state;
    struct prov_s3_config cfg = config(x);
    C2_AUTO(c2_free_auto)
    char *endpoint = c2_asprintf("http://127.1%s", strrchr(http_fixture_url(x->server), ':'));
    C2_AUTO(c2_free_auto) char *line = c2_asprintf("\r\nhost: %s\r\n", endpoint + 7);
    cfg.endpoint = endpoint;
    cfg.insecure_http = true;
    open_with(x, &cfg);
    answer(x, DONE);
    assert_int_equal(test_prov_put(&x->c, "k", c2_slice_str("body"), false), C2_E_OK);
    const char *host = strcasestr(sent(x, 0), "\r\nhost:");
    assert_non_null(host);
    assert_int_equal(strncasecmp(host, line, strlen(line)), 0);
    assert_null(strcasestr(host + 1, "\r\nhost:"));
}

static void
put__takes_the_callers_hash(void **state)
{
    struct ctx *x = *state;
    struct test_prov_req t;
    uint8_t hash[C2_SHA256_LEN];
    memset(hash, 0xab, sizeof(hash));
    answer(x, DONE);
    test_prov_req_init(&x->c, &t, PROV_PUT, "k");
    t.r.body = c2_blob_copy("body", 4);
    t.r.body_sha256 = hash;
    assert_int_equal(test_prov_run(&x->c, &t), C2_E_OK);
    assert_non_null(strstr(sent(x, 0), "\r\nx-amz-content-sha256: abababab"));
    c2_blob_unref(t.r.body);
    test_prov_req_done(&t);
}

/* For probes: each kind of checksum can be made wrong, and a refusal is not taken for a fault. */
static void
put__tampers_with_one_checksum_on_demand(void **state)
{
    static const struct {
        enum prov_tamper tamper;
        const char *sent;
    } cases[] = {
        { PROV_TAMPER_MD5, "\r\ncontent-md5: 1B2M2Y8AsgTpgAmY7PhCfg==\r\n" },
        { PROV_TAMPER_SHA256,
          "\r\nx-amz-checksum-sha256: 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\r\n" },
        { PROV_TAMPER_PAYLOAD, "\r\nx-amz-content-sha256: " S3_EMPTY_SHA256 "\r\n" },
    };
    struct ctx *x = *state;
    for (size_t i = 0; i < C2_ARRAY_LEN(cases); i++) {
        struct test_prov_req t;
        answer(x, "HTTP/1.1 400 Bad Request\r\nContent-Length: 40\r\n\r\n"
                  "<Error><Code>BadDigest</Code>   </Error>");
        test_prov_req_init(&x->c, &t, PROV_PUT, "k");
        t.r.body = c2_blob_copy("body", 4);
        t.r.tamper = cases[i].tamper;
        assert_int_equal(test_prov_run(&x->c, &t), C2_E_CORRUPT);
        for (size_t k = 0; k < C2_ARRAY_LEN(cases); k++)
            assert_int_equal(strstr(sent(x, i), cases[k].sent) != NULL, k == i);
        c2_blob_unref(t.r.body);
        test_prov_req_done(&t);
    }
}

static void
put_if_absent__gives_exists_on_412(void **state)
{
    struct ctx *x = *state;
    answer(x, "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(test_prov_put(&x->c, "k", c2_slice_str("b"), true), C2_E_EXISTS);
    assert_non_null(strstr(sent(x, 0), "\r\nif-none-match: *\r\n"));
    assert_non_null(strstr(sent(x, 0), ";host;if-none-match;"));
    /* 412 for a PUT without a condition is none of our doing. */
    answer(x, "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(test_prov_put(&x->c, "k", c2_slice_str("b"), false), C2_E_PRECONDITION);
}

static void
put_if_absent__asks_first_where_conditions_are_unknown(void **state)
{
    struct ctx *x = *state;
    assert_true((x->p->caps & PROV_CAP_IF_ABSENT) != 0);
    answer(x, NOT_IMPL);
    answer(x, NO_KEY);
    answer(x, DONE);
    assert_int_equal(test_prov_put(&x->c, "k", c2_slice_str("body"), true), C2_E_OK);
    assert_false((x->p->caps & PROV_CAP_IF_ABSENT) != 0);
    assert_int_equal(http_fixture_requests(x->server), 3);
    assert_true(starts_with(sent(x, 1), "GET /bucket/pre/k HTTP/1.1\r\n"));
    assert_non_null(strstr(sent(x, 1), "\r\nrange: bytes=0-0\r\n"));
    assert_null(strstr(sent(x, 2), "if-none-match"));
    assert_non_null(strstr(sent(x, 2), "\r\n\r\nbody"));

    answer(x, ONE_BYTE); /* it is remembered: no conditional attempt any more */
    assert_int_equal(test_prov_put(&x->c, "k", c2_slice_str("body"), true), C2_E_EXISTS);
    answer(x, "HTTP/1.1 416 Range\r\nContent-Length: 0\r\n\r\n"); /* there, and empty */
    assert_int_equal(test_prov_put(&x->c, "k", c2_slice_str("body"), true), C2_E_EXISTS);
    answer(x, "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"); /* unknown is not absent */
    assert_int_equal(test_prov_put(&x->c, "k", c2_slice_str("body"), true), C2_E_UNAVAILABLE);
    answer(x, NO_BUCKET);
    assert_int_equal(test_prov_put(&x->c, "k", c2_slice_str("body"), true), C2_E_CONFIG);
    assert_int_equal(http_fixture_requests(x->server), 7);
}

static void
put_if_absent__is_not_repeated_when_the_answer_is_lost(void **state)
{
    struct ctx *x = *state;
    static const struct http_fixture_reply reset = { .flags = FIXTURE_RESET };
    answer(x, DONE);
    assert_int_equal(test_prov_put(&x->c, "a", c2_slice_str("b"), false), C2_E_OK);
    http_fixture_script(x->server, &reset, 1);
    assert_int_equal(test_prov_put(&x->c, "b", c2_slice_str("b"), true), C2_E_UNREACHABLE);
    assert_int_equal(http_fixture_requests(x->server), 2);
}

/* ---- GET ---- */

static void
get__asks_for_the_range_and_checks_it(void **state)
{
    struct ctx *x = *state;
    struct test_prov_req t;
    answer(x, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/100\r\n"
              "Content-Length: 5\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nhello");
    assert_int_equal(get(x, 5, 5, 100, &t), C2_E_OK);
    assert_non_null(strstr(sent(x, 0), "\r\nrange: bytes=5-9\r\n"));
    assert_non_null(strstr(sent(x, 0), ";range;"));
    assert_int_equal(t.r.size, 100);
    assert_int_equal(t.r.reply->len, 5);
    assert_int_equal(t.r.server_wall_ns / C2_NS_PER_S, 784111777);
    test_prov_req_done(&t);

    answer(x, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 95-99/100\r\n"
              "Content-Length: 5\r\n\r\nhello");
    assert_int_equal(get(x, 95, 0, 100, &t), C2_E_OK);
    assert_non_null(strstr(sent(x, 1), "\r\nrange: bytes=95-\r\n"));
    test_prov_req_done(&t);

    answer(x, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    assert_int_equal(get(x, 0, 0, 100, &t), C2_E_OK);
    assert_null(strstr(sent(x, 2), "range:"));
    assert_int_equal(t.r.size, 5);
    test_prov_req_done(&t);
}

static void
get__refuses_answers_to_another_question(void **state)
{
    struct ctx *x = *state;
    static const struct {
        const char *status, *range, *body;
        uint64_t offset, len;
    } bad[] = {
        { "206", "bytes 4-8/100", "hello", 5, 5 }, /* other place */
        { "206", "bytes 5-8/100", "hell", 5, 5 },  /* shorter than asked, not at the end */
        { "206", "bytes 5-9/100", "hell", 5, 5 },  /* body shorter than it says */
        { "206", "bytes 5-9/9", "hello", 5, 5 },   /* ends behind the end */
        { "206", "bytes */100", "hello", 5, 5 },   /* unsatisfied, but a body */
        { "206", "bytes 5-9", "hello", 5, 5 },     /* malformed */
        { "206", "", "hello", 5, 5 },              /* missing */
        { "206", "bytes 5-8/*", "hell", 5, 5 },    /* cut, and nobody knows why */
        { "206", "bytes 5-9/*", "hello", 5, 0 },   /* to the end, which nobody knows */
        { "206", "bytes 5-9/100", "hello", 5, 0 }, /* to the end, but it is not */
        { "206", "bytes 0-4/5", "hello", 0, 0 },   /* the whole was asked for */
        { "200", "", "hello", 5, 5 },              /* range ignored */
        { "200", "", "hello", 0, 4 },              /* range ignored, longer */
        { "204", "", "", 0, 0 },
        { "206", "bytes 0-4/5", "hello", 0, 3 }, /* longer than asked */
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(bad); i++) {
        struct test_prov_req t;
        C2_AUTO(c2_buf_done) struct c2_buf text = { 0 };
        c2_buf_printf(&text, "HTTP/1.1 %s X\r\nContent-Length: %zu\r\n", bad[i].status,
                      strlen(bad[i].body));
        if (bad[i].range[0] != '\0')
            c2_buf_printf(&text, "Content-Range: %s\r\n", bad[i].range);
        c2_buf_printf(&text, "\r\n%s", bad[i].body);
        answer(x, c2_buf_cstr(&text));
        if (get(x, bad[i].offset, bad[i].len, 100, &t) != C2_E_PROTOCOL)
            fail_msg("case %zu gives %s", i, c2_err_name(t.r.err));
        assert_null(t.r.reply);
        test_prov_req_done(&t);
    }
}

static void
get__accepts_the_whole_as_its_own_first_part(void **state)
{
    struct ctx *x = *state;
    struct test_prov_req t;
    answer(x, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    assert_int_equal(get(x, 0, 50, 100, &t), C2_E_OK);
    assert_int_equal(t.r.reply->len, 5);
    test_prov_req_done(&t);
}

static void
get__is_bounded(void **state)
{
    struct ctx *x = *state;
    struct test_prov_req t;
    answer(x, "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world");
    assert_int_equal(get(x, 0, 0, 10, &t), C2_E_TOO_LARGE);
    assert_null(t.r.reply);
    test_prov_req_done(&t);
    answer(x, "HTTP/1.1 416 Range\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(get(x, 50, 5, 10, &t), C2_E_RANGE);
    test_prov_req_done(&t);
}

/* ---- absent and unknown ---- */

static void
absent__needs_the_clouds_word(void **state)
{
    struct ctx *x = *state;
    static const struct {
        const char *text;
        enum c2_err err;
    } cases[] = {
        { NO_KEY, C2_E_NOT_FOUND },
        { NO_BUCKET, C2_E_CONFIG },
        { "HTTP/1.1 404 Not Found\r\nContent-Length: 18\r\n\r\n<html>nginx</html>", C2_E_PROTOCOL },
        { HEAD_404, C2_E_PROTOCOL },
        { "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", C2_E_ACCESS },
        { "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", C2_E_UNAVAILABLE },
        { "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", C2_E_UNAVAILABLE },
        { "HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n", C2_E_PROTOCOL },
        { "HTTP/1.1 304 Not Modified\r\n\r\n", C2_E_REDIRECT },
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(cases); i++) {
        struct test_prov_req t;
        answer(x, cases[i].text);
        if (get(x, 0, 0, 100, &t) != cases[i].err)
            fail_msg("case %zu gives %s", i, c2_err_name(t.r.err));
        assert_true(t.r.detail[0] != '\0');
        test_prov_req_done(&t);
    }
}

static void
head__proves_that_the_bucket_is_there(void **state)
{
    struct ctx *x = *state;
    struct test_prov_req t;
    /* The first 404 has no body: the bucket may be missing. */
    answer(x, HEAD_404);
    answer(x, NO_BUCKET);
    assert_int_equal(simple(x, PROV_HEAD, &t), C2_E_CONFIG);
    test_prov_req_done(&t);
    answer(x, HEAD_404);
    answer(x, ONE_BYTE);
    assert_int_equal(simple(x, PROV_HEAD, &t), C2_E_UNAVAILABLE);
    test_prov_req_done(&t);
    /* That answer proved the bucket. */
    answer(x, HEAD_404);
    assert_int_equal(simple(x, PROV_HEAD, &t), C2_E_NOT_FOUND);
    test_prov_req_done(&t);
    assert_int_equal(http_fixture_left(x->server), 0);
}

static void
head__learns_of_the_bucket_from_a_missing_key(void **state)
{
    struct ctx *x = *state;
    struct test_prov_req t;
    answer(x, HEAD_404);
    answer(x, NO_KEY);
    assert_int_equal(simple(x, PROV_HEAD, &t), C2_E_NOT_FOUND);
    test_prov_req_done(&t);
    answer(x, HEAD_404);
    assert_int_equal(simple(x, PROV_HEAD, &t), C2_E_NOT_FOUND);
    test_prov_req_done(&t);
    assert_int_equal(http_fixture_requests(x->server), 3);
}

static void
head__needs_a_length(void **state)
{
    struct ctx *x = *state;
    struct test_prov_req t;
    answer(x, "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709\r\n\r\n");
    assert_int_equal(simple(x, PROV_HEAD, &t), C2_E_OK);
    assert_true(t.r.size == 18446744073709ull);
    test_prov_req_done(&t);
    answer(x, "HTTP/1.1 200 OK\r\n\r\n");
    assert_int_equal(simple(x, PROV_HEAD, &t), C2_E_PROTOCOL);
    test_prov_req_done(&t);
}

static void
delete__of_an_absent_key_succeeds_but_not_of_an_absent_bucket(void **state)
{
    struct ctx *x = *state;
    answer(x, "HTTP/1.1 204 No Content\r\n\r\n");
    assert_int_equal(test_prov_delete(&x->c, "k"), C2_E_OK);
    answer(x, NO_KEY);
    assert_int_equal(test_prov_delete(&x->c, "k"), C2_E_OK);
    answer(x, NO_BUCKET);
    assert_int_equal(test_prov_delete(&x->c, "k"), C2_E_CONFIG);
    answer(x, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(test_prov_delete(&x->c, "k"), C2_E_OK);
}

/* ---- waits, redirects, regions, clocks ---- */

static void
throttled__carries_the_clouds_wish(void **state)
{
    struct ctx *x = *state;
    struct test_prov_req t;
    answer(x, "HTTP/1.1 503 Slow Down\r\nRetry-After: 7\r\nContent-Length: 38\r\n\r\n"
              "<Error><Code>SlowDown</Code>  </Error>");
    assert_int_equal(get(x, 0, 0, 100, &t), C2_E_THROTTLED);
    assert_int_equal(t.r.retry_after_ns, 7 * C2_NS_PER_S);
    assert_int_equal(t.r.http_status, 503);
    assert_non_null(strstr(t.r.detail, "SlowDown"));
    test_prov_req_done(&t);
    answer(x, "HTTP/1.1 429 Too Many\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(get(x, 0, 0, 100, &t), C2_E_THROTTLED);
    assert_int_equal(t.r.retry_after_ns, 0);
    test_prov_req_done(&t);
}

static void
redirect__is_an_error_and_not_followed(void **state)
{
    struct ctx *x = *state;
    static const char *const redirects[] = {
        ("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://169.254.169.254/latest/\r\n"
         "Content-Length: 0\r\n\r\n"),
        "HTTP/1.1 301 Moved\r\nLocation: /bucket/pre/other\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
    };
    static const enum prov_verb verbs[] = { PROV_GET, PROV_HEAD, PROV_LIST, PROV_DELETE };
    size_t n = 0;
    for (size_t i = 0; i < C2_ARRAY_LEN(redirects); i++) {
        for (size_t v = 0; v < C2_ARRAY_LEN(verbs); v++) {
            struct test_prov_req t;
            answer(x, redirects[i]);
            assert_int_equal(simple(x, verbs[v], &t), C2_E_REDIRECT);
            test_prov_req_done(&t);
            n++;
        }
    }
    assert_int_equal(http_fixture_requests(x->server), n);
}

static void
wrong_region__names_the_right_one(void **state)
{
    struct ctx *x = *state;
    static const char *const answers[] = {
        "HTTP/1.1 301 Moved\r\nx-amz-bucket-region: ap-south-1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 400 Bad\r\nx-amz-bucket-region: ap-south-1\r\nContent-Length: 0\r\n\r\n",
        ("HTTP/1.1 400 Bad\r\nContent-Length: 84\r\n\r\n"
         "<Error><Code>AuthorizationHeaderMalformed</Code><Region>ap-south-1</Region></Error> "),
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(answers); i++) {
        struct test_prov_req t;
        answer(x, answers[i]);
        assert_int_equal(get(x, 0, 0, 100, &t), C2_E_CONFIG);
        assert_string_equal(t.r.detail, "the bucket is in region ap-south-1: set region = "
                                        "ap-south-1 in [provider \"p\"]");
        test_prov_req_done(&t);
    }
}

#define SKEWED(status)                                                                             \
    "HTTP/1.1 " status "\r\nDate: Sun, 06 Nov 2095 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n"

static void
skewed_clock__is_learned_once(void **state)
{
    struct ctx *x = *state;
    struct test_prov_req t;
    answer(x, SKEWED("403 Forbidden"));
    answer(x, SKEWED("200 OK"));
    assert_int_equal(get(x, 0, 0, 100, &t), C2_E_OK);
    test_prov_req_done(&t);
    assert_null(strstr(sent(x, 0), "x-amz-date: 20951106T0849"));
    assert_non_null(strstr(sent(x, 1), "x-amz-date: 20951106T0849"));
    assert_non_null(strstr(sent(x, 1), "Credential=AKID/20951106/"));

    answer(x, SKEWED("200 OK")); /* from now on at once */
    assert_int_equal(get(x, 0, 0, 100, &t), C2_E_OK);
    test_prov_req_done(&t);
    assert_non_null(strstr(sent(x, 2), "x-amz-date: 20951106T0849"));

    /* A refusal that the clock does not explain ends the request; nothing is tried for ever. */
    answer(x, SKEWED("403 Forbidden"));
    assert_int_equal(get(x, 0, 0, 100, &t), C2_E_ACCESS);
    test_prov_req_done(&t);
    assert_int_equal(http_fixture_requests(x->server), 4);
}

static void
skewed_clock__gives_up_after_one_more_attempt(void **state)
{
    struct ctx *x = *state;
    struct test_prov_req t;
    answer(x, SKEWED("403 Forbidden"));
    answer(x, "HTTP/1.1 403 Forbidden\r\nDate: Sun, 06 Nov 2050 08:49:37 GMT\r\n"
              "Content-Length: 0\r\n\r\n");
    answer(x, DONE);
    assert_int_equal(get(x, 0, 0, 100, &t), C2_E_ACCESS);
    test_prov_req_done(&t);
    assert_int_equal(http_fixture_requests(x->server), 2);
}

static void
detail__is_sanitised(void **state)
{
    struct ctx *x = *state;
    struct test_prov_req t;
    answer_body(x, "403 Forbidden",
                "<Error><Code>Bad\x1b[2J</Code><Message>line\none&#10;\xff</Message></Error>");
    assert_int_equal(get(x, 0, 0, 100, &t), C2_E_ACCESS);
    assert_string_equal(t.r.detail, "403 Bad?[2J: line?one??");
    test_prov_req_done(&t);
}

static void
codes__say_more_than_their_status(void **state)
{
    (void)state;
    assert_int_equal(s3_error_of(403, "SignatureDoesNotMatch"), C2_E_AUTH);
    assert_int_equal(s3_error_of(403, "QuotaExceeded"), C2_E_QUOTA);
    assert_int_equal(s3_error_of(403, ""), C2_E_ACCESS);
    assert_int_equal(s3_error_of(400, "BadDigest"), C2_E_CORRUPT);
    assert_int_equal(s3_error_of(400, "RequestTimeout"), C2_E_UNREACHABLE);
    assert_int_equal(s3_error_of(400, "ExpiredToken"), C2_E_AUTH);
    assert_int_equal(s3_error_of(400, "Whatever"), C2_E_INVALID);
    assert_int_equal(s3_error_of(409, "ConditionalRequestConflict"), C2_E_UNAVAILABLE);
    assert_int_equal(s3_error_of(507, ""), C2_E_NO_SPACE);
    assert_int_equal(s3_error_of(413, ""), C2_E_TOO_LARGE);
}

/* ---- DELETE_MANY ---- */

static enum c2_err
delete_many(struct ctx *x, struct test_prov_req *t)
{
    static const char *const keys[] = { "a", "b<&>", "c" };
    test_prov_req_init(&x->c, t, PROV_DELETE_MANY, NULL);
    t->r.keys = keys;
    t->r.nkeys = 3;
    return test_prov_run(&x->c, t);
}

static void
delete_many__sends_one_request_with_md5(void **state)
{
    struct ctx *x = *state;
    struct test_prov_req t;
    answer_body(x, "200 OK", "<DeleteResult/>");
    assert_int_equal(delete_many(x, &t), C2_E_OK);
    test_prov_req_done(&t);
    const char *s = sent(x, 0);
    const char *body = strstr(s, "\r\n\r\n") + 4;
    assert_true(starts_with(s, "POST /bucket?delete= HTTP/1.1\r\n"));
    assert_string_equal(body, "<Delete><Quiet>true</Quiet><Object><Key>pre/a</Key></Object><Object>"
                              "<Key>pre/b&lt;&amp;&gt;</Key></Object><Object><Key>pre/c</Key>"
                              "</Object></Delete>");
    uint8_t md5[16];
    C2_AUTO(c2_buf_done) struct c2_buf want = { 0 };
    c2_md5(c2_slice_str(body), md5);
    c2_buf_puts(&want, "\r\ncontent-md5: ");
    c2_base64_encode(c2_slice(md5, sizeof(md5)), &want);
    assert_non_null(strstr(s, c2_buf_cstr(&want)));
}

static void
delete_many__reports_the_first_failure(void **state)
{
    struct ctx *x = *state;
    struct test_prov_req t;
    static const struct {
        const char *code;
        enum c2_err err;
    } cases[] = { { "AccessDenied", C2_E_ACCESS },
                  { "InternalError", C2_E_UNAVAILABLE },
                  { "SlowDown", C2_E_THROTTLED },
                  { "NoSuchKey", C2_E_OK } };
    for (size_t i = 0; i < C2_ARRAY_LEN(cases); i++) {
        C2_AUTO(c2_buf_done) struct c2_buf body = { 0 };
        c2_buf_printf(&body,
                      "<DeleteResult><Error><Key>pre/b</Key><Code>%s</Code><Message>m</Message>"
                      "</Error></DeleteResult>",
                      cases[i].code);
        answer_body(x, "200 OK", c2_buf_cstr(&body));
        assert_int_equal(delete_many(x, &t), cases[i].err);
        test_prov_req_done(&t);
    }
    answer_body(x, "200 OK", "<html>");
    assert_int_equal(delete_many(x, &t), C2_E_PROTOCOL);
    test_prov_req_done(&t);
}

/* Some servers begin an answer before they know how it ends. */
static void
error__counts_in_an_answer_that_began_well(void **state)
{
    struct ctx *x = *state;
    struct test_prov_req t;
    static const char *const slow_down =
        "\n\n<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>m</Message></Error>";
    answer_body(x, "200 OK", slow_down);
    assert_int_equal(delete_many(x, &t), C2_E_THROTTLED);
    test_prov_req_done(&t);
    answer_body(x, "200 OK", slow_down);
    assert_int_equal(simple(x, PROV_LIST, &t), C2_E_THROTTLED);
    assert_string_equal(t.r.detail, "200 SlowDown: m");
    test_prov_req_done(&t);
    answer_body(x, "200 OK", slow_down);
    assert_int_equal(test_prov_put(&x->c, "k", c2_slice_str("body"), false), C2_E_THROTTLED);
    answer_body(x, "200 OK", "<Error><Code>SomethingNew</Code></Error>");
    assert_int_equal(simple(x, PROV_DELETE, &t), C2_E_UNAVAILABLE);
    test_prov_req_done(&t);
    /* What an object holds is none of our business. */
    answer_body(x, "200 OK", slow_down);
    assert_int_equal(get(x, 0, 0, 1000, &t), C2_E_OK);
    test_prov_req_done(&t);
}

static void
delete_many__goes_one_by_one_where_it_must(void **state)
{
    struct ctx *x = *state;
    struct test_prov_req t;
    answer(x, NOT_IMPL);
    answer(x, DONE);
    answer(x, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    answer(x, NO_KEY);
    assert_int_equal(delete_many(x, &t), C2_E_ACCESS);
    test_prov_req_done(&t);
    assert_true(starts_with(sent(x, 1), "DELETE /bucket/pre/a HTTP/1.1\r\n"));
    assert_true(starts_with(sent(x, 3), "DELETE /bucket/pre/c HTTP/1.1\r\n"));
    for (int i = 0; i < 3; i++)
        answer(x, DONE);
    assert_int_equal(delete_many(x, &t), C2_E_OK); /* remembered */
    test_prov_req_done(&t);
    assert_int_equal(http_fixture_requests(x->server), 7);
}

/* ---- LIST ---- */

/* keys: blank-separated, as they stand in the answer. */
static void
answer_list(struct ctx *x, const char *keys, const char *more)
{
    C2_AUTO(c2_buf_done) struct c2_buf body = { 0 };
    c2_buf_puts(&body, "<ListBucketResult><EncodingType>url</EncodingType>");
    for (const char *p = keys; *p != '\0';) {
        size_t len = strcspn(p, " ");
        c2_buf_printf(&body, "<Contents><Key>%.*s</Key><Size>1</Size></Contents>", (int)len, p);
        p += len + (p[len] == ' ');
    }
    c2_buf_printf(&body, "%s</ListBucketResult>", more);
    answer_body(x, "200 OK", c2_buf_cstr(&body));
}

#define END     "<IsTruncated>false</IsTruncated>"
#define GOES_ON "<IsTruncated>true</IsTruncated><NextContinuationToken>t/1=</NextContinuationToken>"

static void
expect_list(struct ctx *x, const char *after, size_t max, enum c2_err err, const char *want)
{
    C2_AUTO(c2_buf_done) struct c2_buf got = { 0 };
    assert_int_equal(test_prov_list(&x->c, "d/", after, max, &got), err);
    assert_string_equal(c2_buf_cstr(&got), want);
}

static void
list__asks_below_the_prefix_and_strips_it(void **state)
{
    struct ctx *x = *state;
    answer_list(x, "pre/d/a%20b pre/d/c", END);
    expect_list(x, "d/a", 7, C2_E_OK, "d/a b\nd/c\n");
    assert_true(starts_with(sent(x, 0), "GET /bucket?encoding-type=url&list-type=2&max-keys=7&"
                                        "prefix=pre%2Fd%2F&start-after=pre%2Fd%2Fa HTTP/1.1\r\n"));
}

static void
list__drops_what_was_not_asked_for(void **state)
{
    struct ctx *x = *state;
    answer_list(x, "pre/d/a pre/d/b pre/d/c pre/d/d", END); /* start-after, max-keys ignored */
    expect_list(x, "d/b", 1, C2_E_OK, "d/c\n...");
}

static void
list__refuses_lies(void **state)
{
    struct ctx *x = *state;
    answer_list(x, "pre/d/b pre/d/a", END);
    expect_list(x, NULL, 10, C2_E_PROTOCOL, "");
    answer_list(x, "pre/d/a pre/d/a", END);
    expect_list(x, NULL, 10, C2_E_PROTOCOL, "");
    answer_list(x, "other/d/a", END);
    expect_list(x, NULL, 10, C2_E_PROTOCOL, "");
    answer_list(x, "pre/e/a", END);
    expect_list(x, NULL, 10, C2_E_PROTOCOL, "");
    answer_list(x, "", "<IsTruncated>true</IsTruncated>"); /* goes on nowhere */
    expect_list(x, NULL, 10, C2_E_PROTOCOL, "");
    answer_body(x, "200 OK", "<!DOCTYPE a []><a");
    expect_list(x, NULL, 10, C2_E_PROTOCOL, "");
    answer(x, NO_BUCKET);
    expect_list(x, NULL, 10, C2_E_CONFIG, "");
}

static void
list__follows_pages_without_anything_for_us(void **state)
{
    struct ctx *x = *state;
    answer_list(x, "", GOES_ON);
    answer_list(x, "pre/d/%01", GOES_ON);
    answer_list(x, "pre/d/a", GOES_ON);
    expect_list(x, NULL, 10, C2_E_OK, "d/a\n...");
    assert_non_null(strstr(sent(x, 1), "?continuation-token=t%2F1%3D&"));
    assert_int_equal(http_fixture_requests(x->server), 3);
}

/* ---- cancel, deadline ---- */

static void
cancel__stops_a_request_of_several_calls(void **state)
{
    struct ctx *x = *state;
    struct test_prov_req t;
    static const struct http_fixture_reply hang = { .flags = FIXTURE_HANG };
    answer(x, HEAD_404);
    http_fixture_script(x->server, &hang, 1);
    test_prov_req_init(&x->c, &t, PROV_HEAD, "k");
    prov_submit(x->p, &t.r);
    while (http_fixture_requests(x->server) < 2) {
        struct test_prov_req turn; /* a loop turn or two */
        test_prov_req_init(&x->c, &turn, PROV_GET, "other");
        turn.r.deadline_ns = 1;
        test_prov_run(&x->c, &turn);
        test_prov_req_done(&turn);
    }
    prov_cancel(x->p, &t.r);
    assert_false(t.completed);
    test_prov_wait(&x->c, &t);
    assert_int_equal(t.r.err, C2_E_CANCELED);
    test_prov_req_done(&t);
}

static void
cancel__works_while_the_body_is_hashed(void **state)
{
    struct ctx *x = *state;
    struct test_prov_req t;
    test_prov_req_init(&x->c, &t, PROV_PUT, "k");
    t.r.body = c2_blob_new(1u << 20);
    memset(t.r.body->data, 0, t.r.body->len);
    prov_submit(x->p, &t.r);
    prov_cancel(x->p, &t.r);
    test_prov_wait(&x->c, &t);
    assert_int_equal(t.r.err, C2_E_CANCELED);
    assert_int_equal(http_fixture_requests(x->server), 0);
    c2_blob_unref(t.r.body);
    test_prov_req_done(&t);
}

/* The configuration's limit holds for each attempt, whatever the caller would wait for. */
static void
timeout__ends_an_attempt_before_the_deadline(void **state)
{
    struct ctx *x = *state;
    struct test_prov_req t;
    struct prov_s3_config cfg = config(x);
    cfg.timeout_ns = 50 * C2_NS_PER_MS;
    open_with(x, &cfg);
    http_fixture_script(x->server, &(struct http_fixture_reply){ .flags = FIXTURE_HANG }, 1);
    test_prov_req_init(&x->c, &t, PROV_GET, "k");
    t.r.len = t.r.body_len_max = 10;
    t.r.deadline_ns = c2_now_ns(c2_os_env(x->os)) + TIMEOUT_NS;
    assert_int_equal(test_prov_run(&x->c, &t), C2_E_TIMEOUT);
    assert_true(c2_now_ns(c2_os_env(x->os)) < t.r.deadline_ns);
    test_prov_req_done(&t);
}

static void
deadline__ends_a_silent_cloud(void **state)
{
    struct ctx *x = *state;
    struct test_prov_req t;
    static const struct http_fixture_reply hang = { .flags = FIXTURE_HANG };
    http_fixture_script(x->server, &hang, 1);
    test_prov_req_init(&x->c, &t, PROV_LIST, "d/");
    t.r.deadline_ns = c2_now_ns(c2_os_env(x->os)) + 40 * C2_NS_PER_MS;
    assert_int_equal(test_prov_run(&x->c, &t), C2_E_TIMEOUT);
    test_prov_req_done(&t);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    if (c2_crypto_init() != C2_E_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        TEST(put__is_signed_and_whole),
        TEST(put__sends_the_host_that_it_signed),
        TEST(put__takes_the_callers_hash),
        TEST(put__tampers_with_one_checksum_on_demand),
        TEST(put_if_absent__gives_exists_on_412),
        TEST(put_if_absent__asks_first_where_conditions_are_unknown),
        TEST(put_if_absent__is_not_repeated_when_the_answer_is_lost),
        TEST(get__asks_for_the_range_and_checks_it),
        TEST(get__refuses_answers_to_another_question),
        TEST(get__accepts_the_whole_as_its_own_first_part),
        TEST(get__is_bounded),
        TEST(absent__needs_the_clouds_word),
        TEST(head__proves_that_the_bucket_is_there),
        TEST(head__learns_of_the_bucket_from_a_missing_key),
        TEST(head__needs_a_length),
        TEST(delete__of_an_absent_key_succeeds_but_not_of_an_absent_bucket),
        TEST(throttled__carries_the_clouds_wish),
        TEST(redirect__is_an_error_and_not_followed),
        TEST(wrong_region__names_the_right_one),
        TEST(skewed_clock__is_learned_once),
        TEST(skewed_clock__gives_up_after_one_more_attempt),
        TEST(detail__is_sanitised),
        cmocka_unit_test(codes__say_more_than_their_status),
        TEST(delete_many__sends_one_request_with_md5),
        TEST(delete_many__reports_the_first_failure),
        TEST(error__counts_in_an_answer_that_began_well),
        TEST(delete_many__goes_one_by_one_where_it_must),
        TEST(list__asks_below_the_prefix_and_strips_it),
        TEST(list__drops_what_was_not_asked_for),
        TEST(list__refuses_lies),
        TEST(list__follows_pages_without_anything_for_us),
        TEST(cancel__stops_a_request_of_several_calls),
        TEST(cancel__works_while_the_body_is_hashed),
        TEST(timeout__ends_an_attempt_before_the_deadline),
        TEST(deadline__ends_a_silent_cloud),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
