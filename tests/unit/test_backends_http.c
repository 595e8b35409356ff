/* SPDX-License-Identifier: MIT */
#include "backends/http.h"

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/mark.h"
#include "base/os_loop.h"
#include "tests/lib/http_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OK_HELLO    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Test: yes\r\n\r\nhello"
#define REPLY_MAX   65536
#define GENEROUS_NS (60 * C2_NS_PER_S)

struct ctx {
    struct c2_os *os;
    struct c2_env *env;
    struct http_fixture *server;
    struct http_pool *pool;
};

struct request {
    struct http_req r;
    char url[256];
    bool completed;
};

static struct http_settings
settings(void)
{
    return (struct http_settings){ .plain = HTTP_PLAIN_LOOPBACK,
                                   .connections = 4,
                                   .connect_timeout_ns = GENEROUS_NS,
                                   .low_speed_bytes_per_s = 1,
                                   .low_speed_s = 60 };
}

static int
setup(void **state)
{
    struct ctx *c = c2_calloc(1, sizeof(*c));
    if (c2_os_new(1, &c->os) != C2_E_OK)
        return 1;
    c->env = c2_os_env(c->os);
    c->server = http_fixture_new(c->os);
    struct http_settings s = settings();
    c->pool = http_pool_new(c->env, c->os, &s);
    *state = c;
    return 0;
}

static int
teardown(void **state)
{
    struct ctx *c = *state;
    http_pool_free(c->pool);
    http_fixture_free(c->server);
    c2_os_free(c->os);
    c2_free(c);
    return 0;
}

static void
completed(struct http_req *r)
{
    struct request *q = C2_CONTAINER_OF(r, struct request, r);
    assert_false(q->completed);
    q->completed = true;
}

static void
init(struct ctx *c, struct request *q, enum http_method method, const char *path)
{
    memset(q, 0, sizeof(*q));
    snprintf(q->url, sizeof(q->url), "%s%s", http_fixture_url(c->server), path);
    q->r.method = method;
    q->r.url = q->url;
    q->r.reply_len_max = REPLY_MAX;
    q->r.deadline_ns = c2_now_ns(c->env) + GENEROUS_NS;
    q->r.done = completed;
}

static void
run(struct ctx *c, struct request *q)
{
    http_submit(c->pool, &q->r);
    assert_false(q->completed);
    c2_os_run_until(c->os, &q->completed);
}

/* One GET answered by the script's next reply. */
static enum c2_err
get(struct ctx *c, struct request *q)
{
    init(c, q, HTTP_GET, "/");
    run(c, q);
    return q->r.err;
}

static void
assert_reply(const struct request *q, const char *text)
{
    assert_int_equal(q->r.err, C2_E_OK);
    assert_non_null(q->r.reply);
    assert_int_equal(q->r.reply->len, strlen(text));
    if (q->r.reply->len > 0)
        assert_memory_equal(q->r.reply->data, text, strlen(text));
}

static void
http__gives_status_headers_body(void **state)
{
    struct ctx *c = *state;
    struct request q;
    http_fixture_answer(c->server, OK_HELLO);
    get(c, &q);
    assert_reply(&q, "hello");
    assert_int_equal(q.r.head.status, 200);
    assert_string_equal(http_head_get(&q.r.head, "x-test"), "yes");
    http_req_done(&q.r);
}

static void
http__reuses_the_connection(void **state)
{
    struct ctx *c = *state;
    for (int i = 0; i < 3; i++) {
        struct request q;
        http_fixture_answer(c->server, OK_HELLO);
        get(c, &q);
        assert_reply(&q, "hello");
        http_req_done(&q.r);
    }
    assert_int_equal(http_fixture_connections(c->server), 1);
}

static void
http__sends_exactly_what_was_signed(void **state)
{
    struct ctx *c = *state;
    struct request q;
    const char *const header[] = { "x-amz-date: 20130524T000000Z", "Content-Type: text/x" };
    init(c, &q, HTTP_PUT, "/a/../b//%2F?x=%20&y=");
    q.r.header = header;
    q.r.nheaders = 2;
    q.r.body = c2_slice_str("body");
    http_fixture_answer(c->server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    run(c, &q);
    assert_reply(&q, "");
    const char *sent = http_fixture_request(c->server, 0);
    assert_ptr_equal(strstr(sent, "PUT /a/../b//%2F?x=%20&y= HTTP/1.1\r\n"), sent);
    assert_non_null(strstr(sent, "\r\nx-amz-date: 20130524T000000Z\r\n"));
    assert_non_null(strstr(sent, "\r\nContent-Type: text/x\r\n"));
    assert_non_null(strstr(sent, "\r\nContent-Length: 4\r\n"));
    assert_non_null(strstr(sent, "\r\n\r\nbody"));
    assert_null(strcasestr(sent, "\r\nExpect:"));
    assert_null(strcasestr(sent, "\r\nAccept-Encoding:"));
    http_req_done(&q.r);
}

static void
http__uploads_large_and_empty_bodies(void **state)
{
    struct ctx *c = *state;
    size_t sizes[] = { 0, 3u << 20, 0 };
    for (size_t i = 0; i < C2_ARRAY_LEN(sizes); i++) {
        struct request q;
        char *body = c2_alloc(sizes[i] + 1);
        memset(body, 'x', sizes[i]);
        body[sizes[i]] = '\0';
        init(c, &q, HTTP_PUT, "/o");
        q.r.body = c2_slice(body, sizes[i]);
        http_fixture_answer(c->server, OK_HELLO);
        run(c, &q);
        assert_reply(&q, "hello");
        const char *sent = strstr(http_fixture_request(c->server, i), "\r\n\r\n") + 4;
        assert_string_equal(sent, body);
        assert_null(strcasestr(http_fixture_request(c->server, i), "\r\nExpect:"));
        c2_free(body);
        http_req_done(&q.r);
    }
}

static void
http__mixes_methods_on_one_handle(void **state)
{
    struct ctx *c = *state;
    static const enum http_method methods[] = { HTTP_PUT,    HTTP_HEAD, HTTP_POST, HTTP_GET,
                                                HTTP_DELETE, HTTP_GET,  HTTP_HEAD, HTTP_PUT };
    static const char *const names[] = { "PUT ",    "HEAD ", "POST ", "GET ",
                                         "DELETE ", "GET ",  "HEAD ", "PUT " };
    for (size_t i = 0; i < C2_ARRAY_LEN(methods); i++) {
        struct request q;
        bool head = methods[i] == HTTP_HEAD;
        init(c, &q, methods[i], "/o");
        q.r.body = c2_slice_str(methods[i] == HTTP_PUT || methods[i] == HTTP_POST ? "b" : "");
        http_fixture_answer(c->server,
                            head ? "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" : OK_HELLO);
        run(c, &q);
        assert_reply(&q, head ? "" : "hello");
        assert_int_equal(strncmp(http_fixture_request(c->server, i), names[i], strlen(names[i])),
                         0);
        if (q.r.body.len == 0)
            assert_null(strstr(http_fixture_request(c->server, i), "Content-Length"));
        http_req_done(&q.r);
    }
}

static void
http__does_not_follow_redirects(void **state)
{
    struct ctx *c = *state;
    struct request q;
    http_fixture_answer(c->server, "HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\n"
                                   "Content-Length: 2\r\n\r\nno");
    assert_int_equal(get(c, &q), C2_E_OK);
    assert_int_equal(q.r.head.status, 307);
    assert_null(q.r.reply);
    assert_string_equal(c2_buf_cstr(&q.r.error_body), "no");
    assert_int_equal(http_fixture_requests(c->server), 1);
    http_req_done(&q.r);
}

static void
http__does_not_decompress(void **state)
{
    struct ctx *c = *state;
    struct request q;
    http_fixture_answer(c->server, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
                                   "Content-Length: 4\r\n\r\n\x1f\x8b!!");
    get(c, &q);
    assert_reply(&q, "\x1f\x8b!!");
    http_req_done(&q.r);
}

static void
http__keeps_only_the_last_head(void **state)
{
    struct ctx *c = *state;
    struct request q;
    http_fixture_answer(c->server,
                        "HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\n"
                        "HTTP/1.1 404 Not Found\r\nX-Late: 1\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(get(c, &q), C2_E_OK);
    assert_int_equal(q.r.head.status, 404);
    assert_null(http_head_get(&q.r.head, "x-early"));
    assert_non_null(http_head_get(&q.r.head, "x-late"));
    http_req_done(&q.r);
}

static void
http__takes_chunked_bodies(void **state)
{
    struct ctx *c = *state;
    struct request q;
    http_fixture_answer(c->server, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                   "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n");
    get(c, &q);
    assert_reply(&q, "hello");
    http_req_done(&q.r);
    http_fixture_answer(c->server, "HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: Chunked\r\n\r\n"
                                   "5;x=y\r\nhello\r\n0\r\nx-trailer: z\r\n\r\n");
    get(c, &q);
    assert_reply(&q, "hello");
    http_req_done(&q.r);
}

static void
http__reports_answers_that_break_off(void **state)
{
    struct ctx *c = *state;
    static const struct http_fixture_reply cut[] = {
        { .text = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", .flags = FIXTURE_CLOSE },
        { .text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
          .flags = FIXTURE_CLOSE },
        { .text = "HTTP/1.1 200 O", .flags = FIXTURE_CLOSE },
        { .text = "", .flags = FIXTURE_CLOSE },
        { .flags = FIXTURE_RESET },
    };
    http_fixture_script(c->server, cut, C2_ARRAY_LEN(cut));
    for (size_t i = 0; i < C2_ARRAY_LEN(cut); i++) {
        struct request q;
        enum c2_err err = get(c, &q);
        if (c2_err_class(err) == C2_CLASS_OK || q.r.reply != NULL)
            fail_msg("accepted cut answer %zu", i);
        assert_true(q.r.detail[0] != '\0');
        http_req_done(&q.r);
    }
    assert_int_equal(http_fixture_left(c->server), 0);
}

static void
http__refuses_a_body_without_declared_end(void **state)
{
    struct ctx *c = *state;
    struct request q;
    struct http_fixture_reply r = { .text = "HTTP/1.1 200 OK\r\n\r\nhello",
                                    .flags = FIXTURE_CLOSE };
    http_fixture_script(c->server, &r, 1);
    assert_int_equal(get(c, &q), C2_E_PROTOCOL);
    assert_null(q.r.reply);
    http_req_done(&q.r);
}

static void
http__refuses_what_is_not_http1(void **state)
{
    struct ctx *c = *state;
    static const struct http_fixture_reply odd[] = {
        { .text = "hello\r\n", .flags = FIXTURE_CLOSE },
        { .text = "SSH-2.0-OpenSSH_9.2\r\n", .flags = FIXTURE_CLOSE },
        { .text = "HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\nContent-Length: 0\r\n\r\n" },
        { .text = "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n" },
        { .text = "HTTP/1.1 200 OK\r\nX: \x01\r\nContent-Length: 0\r\n\r\n" },
        { .text = "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", .flags = FIXTURE_CLOSE },
    };
    http_fixture_script(c->server, odd, C2_ARRAY_LEN(odd));
    for (size_t i = 0; i < C2_ARRAY_LEN(odd); i++) {
        struct request q;
        if (get(c, &q) != C2_E_PROTOCOL)
            fail_msg("odd answer %zu gives %s", i, c2_err_name(q.r.err));
        assert_null(q.r.reply);
        http_req_done(&q.r);
    }
}

static void
http__bounds_the_body(void **state)
{
    struct ctx *c = *state;
    static const struct http_fixture_reply large[] = {
        { .text = "HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n",
          .repeat = "x",
          .repeat_count = 65537 },
        { .text = "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n",
          .repeat = "x",
          .repeat_count = SIZE_MAX },
        { .text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
          .repeat = "4\r\nxxxx\r\n",
          .repeat_count = SIZE_MAX },
    };
    http_fixture_script(c->server, large, C2_ARRAY_LEN(large));
    for (size_t i = 0; i < C2_ARRAY_LEN(large); i++) {
        struct request q;
        assert_int_equal(get(c, &q), C2_E_TOO_LARGE);
        assert_null(q.r.reply);
        http_req_done(&q.r);
    }
    struct request q;
    struct http_fixture_reply fits = { .text = "HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n",
                                       .repeat = "x",
                                       .repeat_count = 65536 };
    http_fixture_script(c->server, &fits, 1);
    assert_int_equal(get(c, &q), C2_E_OK);
    assert_int_equal(q.r.reply->len, 65536);
    http_req_done(&q.r);
}

static void
http__bounds_the_head(void **state)
{
    struct ctx *c = *state;
    static const struct http_fixture_reply large[] = {
        { .text = "HTTP/1.1 200 OK\r\n", .repeat = "x-amz-meta-:\r\n", .repeat_count = SIZE_MAX },
        { .text = "HTTP/1.1 200 OK\r\nX: ", .repeat = "xxxx", .repeat_count = SIZE_MAX },
        { .text = "", .repeat = "HTTP/1.1 100 Continue\r\n\r\n", .repeat_count = SIZE_MAX },
    };
    http_fixture_script(c->server, large, C2_ARRAY_LEN(large));
    for (size_t i = 0; i < C2_ARRAY_LEN(large); i++) {
        struct request q;
        enum c2_err err = get(c, &q);
        if (c2_err_class(err) == C2_CLASS_OK || err == C2_E_TIMEOUT)
            fail_msg("head %zu gives %s", i, c2_err_name(err));
        http_req_done(&q.r);
    }
}

static void
http__cuts_endless_error_bodies(void **state)
{
    struct ctx *c = *state;
    struct request q;
    struct http_fixture_reply r = { .text = "HTTP/1.1 503 Slow Down\r\n\r\n",
                                    .repeat = "<Error>",
                                    .repeat_count = SIZE_MAX };
    http_fixture_script(c->server, &r, 1);
    assert_int_equal(get(c, &q), C2_E_OK);
    assert_int_equal(q.r.head.status, 503);
    assert_int_equal(q.r.error_body.len, HTTP_ERROR_BODY_MAX);
    http_req_done(&q.r);
}

static void
http__ends_at_the_deadline(void **state)
{
    struct ctx *c = *state;
    static const struct http_fixture_reply slow[] = {
        { .flags = FIXTURE_HANG },
        { .text = "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n",
          .repeat = "x",
          .repeat_count = SIZE_MAX,
          .flags = FIXTURE_DRIP },
        { .text = "HTTP/1.1 200 OK\r\nX: ",
          .repeat = "x",
          .repeat_count = SIZE_MAX,
          .flags = FIXTURE_DRIP },
    };
    http_fixture_script(c->server, slow, C2_ARRAY_LEN(slow));
    uint64_t patience_ns = 60 * C2_NS_PER_MS;
    for (size_t i = 0; i < C2_ARRAY_LEN(slow);) {
        struct request q;
        init(c, &q, HTTP_GET, "/");
        q.r.deadline_ns = c2_now_ns(c->env) + patience_ns;
        run(c, &q);
        assert_int_equal(q.r.err, C2_E_TIMEOUT);
        assert_null(q.r.reply);
        http_req_done(&q.r);
        /* On a loaded machine the server may not have seen it in that time. */
        if (http_fixture_requests(c->server) > i)
            i++;
        else
            patience_ns *= 2;
    }
    assert_int_equal(http_fixture_requests(c->server), C2_ARRAY_LEN(slow));
}

static void
http__ends_a_transfer_that_is_too_slow(void **state)
{
    struct ctx *c = *state;
    struct request q;
    struct http_settings s = settings();
    s.low_speed_bytes_per_s = 100000;
    s.low_speed_s = 1;
    struct http_pool *strict = http_pool_new(c->env, c->os, &s);
    struct http_fixture_reply r = { .text = "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n",
                                    .repeat = "x",
                                    .repeat_count = SIZE_MAX,
                                    .flags = FIXTURE_DRIP };
    http_fixture_script(c->server, &r, 1);
    init(c, &q, HTTP_GET, "/");
    http_submit(strict, &q.r);
    c2_os_run_until(c->os, &q.completed);
    assert_int_equal(q.r.err, C2_E_TIMEOUT);
    http_req_done(&q.r);
    http_pool_free(strict);
}

static void
http__repeats_once_on_a_dead_kept_connection(void **state)
{
    struct ctx *c = *state;
    static const struct http_fixture_reply script[] = {
        { .text = OK_HELLO },
        { .flags = FIXTURE_RESET },
        { .text = OK_HELLO },
    };
    http_fixture_script(c->server, script, C2_ARRAY_LEN(script));
    for (int i = 0; i < 2; i++) {
        struct request q;
        init(c, &q, HTTP_PUT, "/o");
        q.r.body = c2_slice_str("body");
        run(c, &q);
        assert_reply(&q, "hello");
        http_req_done(&q.r);
    }
    assert_int_equal(http_fixture_connections(c->server), 2);
    assert_true(http_fixture_saw(c->server, 2, "\r\n\r\nbody"));
}

static void
http__repeats_a_large_upload_that_met_a_dead_connection(void **state)
{
    struct ctx *c = *state;
    static const struct http_fixture_reply script[] = {
        { .text = OK_HELLO, .flags = FIXTURE_CLOSE },
        { .text = OK_HELLO },
    };
    http_fixture_script(c->server, script, C2_ARRAY_LEN(script));
    C2_AUTO(c2_buf_done) struct c2_buf body = { 0 };
    memset(c2_buf_extend(&body, 4u << 20), 'x', 4u << 20);
    for (int i = 0; i < 2; i++) {
        struct request q;
        init(c, &q, HTTP_PUT, "/o");
        q.r.body = i == 0 ? c2_slice_str("small") : c2_buf_slice(&body);
        run(c, &q);
        assert_reply(&q, "hello");
        http_req_done(&q.r);
    }
    assert_int_equal(http_fixture_connections(c->server), 2);
}

static void
http__does_not_repeat_for_ever(void **state)
{
    struct ctx *c = *state;
    struct request q;
    static const struct http_fixture_reply script[] = {
        { .flags = FIXTURE_RESET }, /* on a fresh connection: no repetition at all */
        { .text = OK_HELLO },       { .flags = FIXTURE_RESET },
        { .flags = FIXTURE_RESET }, { .text = OK_HELLO },
    };
    http_fixture_script(c->server, script, C2_ARRAY_LEN(script));
    assert_int_equal(get(c, &q), C2_E_UNREACHABLE);
    http_req_done(&q.r);
    assert_int_equal(http_fixture_requests(c->server), 1);
    assert_int_equal(get(c, &q), C2_E_OK);
    http_req_done(&q.r);
    assert_int_equal(get(c, &q), C2_E_UNREACHABLE);
    http_req_done(&q.r);
    assert_int_equal(http_fixture_left(c->server), 1);
}

static void
http__does_not_repeat_what_must_go_out_once(void **state)
{
    struct ctx *c = *state;
    static const struct http_fixture_reply lost[] = {
        { .flags = FIXTURE_RESET },             /* noticed by libcurl when it reads */
        { .text = "", .flags = FIXTURE_CLOSE }, /* an orderly end without an answer */
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(lost); i++) {
        struct request q;
        size_t before = http_fixture_requests(c->server);
        http_fixture_answer(c->server, OK_HELLO);
        http_fixture_script(c->server, &lost[i], 1);
        assert_int_equal(get(c, &q), C2_E_OK);
        http_req_done(&q.r);
        init(c, &q, HTTP_PUT, "/o");
        q.r.body = c2_slice_str("body");
        q.r.once = true;
        run(c, &q);
        assert_int_equal(q.r.err, C2_E_UNREACHABLE);
        assert_true(q.r.detail[0] != '\0');
        http_req_done(&q.r);
        assert_int_equal(http_fixture_requests(c->server), before + 2);
    }
}

static void
http__queues_beyond_its_connections(void **state)
{
    struct ctx *c = *state;
    enum { N = 20 };
    struct request q[N];
    for (int i = 0; i < N; i++) {
        http_fixture_answer(c->server, OK_HELLO);
        init(c, &q[i], HTTP_GET, "/");
        http_submit(c->pool, &q[i].r);
    }
    for (int i = 0; i < N; i++) {
        c2_os_run_until(c->os, &q[i].completed);
        assert_reply(&q[i], "hello");
        http_req_done(&q[i].r);
    }
    assert_true(http_fixture_connections(c->server) <= 4);
}

static void
http__deadline_holds_in_the_queue(void **state)
{
    struct ctx *c = *state;
    struct request busy[4];
    struct request q;
    static const struct http_fixture_reply hang = { .flags = FIXTURE_HANG };
    for (int i = 0; i < 4; i++) {
        http_fixture_script(c->server, &hang, 1);
        init(c, &busy[i], HTTP_GET, "/");
        http_submit(c->pool, &busy[i].r);
    }
    init(c, &q, HTTP_GET, "/late");
    q.r.deadline_ns = c2_now_ns(c->env) + 20 * C2_NS_PER_MS;
    run(c, &q);
    assert_int_equal(q.r.err, C2_E_TIMEOUT);
    http_req_done(&q.r);
    for (int i = 0; i < 4; i++) {
        http_cancel(c->pool, &busy[i].r);
        assert_false(busy[i].completed);
        c2_os_run_until(c->os, &busy[i].completed);
        assert_int_equal(busy[i].r.err, C2_E_CANCELED);
        http_req_done(&busy[i].r);
    }
}

static void
http__cancel_works_in_every_state(void **state)
{
    struct ctx *c = *state;
    struct request q[6];
    for (int i = 0; i < 6; i++) {
        http_fixture_answer(c->server, OK_HELLO);
        init(c, &q[i], HTTP_GET, "/");
        http_submit(c->pool, &q[i].r);
    }
    http_cancel(c->pool, &q[0].r); /* running; q[4] takes its place */
    http_cancel(c->pool, &q[5].r); /* queued */
    http_cancel(c->pool, &q[5].r); /* finished: keeps its outcome */
    for (int i = 0; i < 6; i++) {
        c2_os_run_until(c->os, &q[i].completed);
        assert_int_equal(q[i].r.err, i == 0 || i == 5 ? C2_E_CANCELED : C2_E_OK);
        http_req_done(&q[i].r);
    }
    assert_int_equal(http_fixture_left(c->server), 2);
}

static void
http__reports_a_refused_connection(void **state)
{
    struct ctx *c = *state;
    struct request q;
    struct http_fixture *gone = http_fixture_new(c->os);
    init(c, &q, HTTP_GET, "/");
    snprintf(q.url, sizeof(q.url), "%s/", http_fixture_url(gone));
    http_fixture_free(gone);
    run(c, &q);
    assert_int_equal(q.r.err, C2_E_UNREACHABLE);
    assert_non_null(strstr(q.r.detail, "onnect"));
    http_req_done(&q.r);
}

static void
http__ignores_the_proxy_of_the_environment(void **state)
{
    struct ctx *c = *state;
    struct request q;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "http://127.0.0.1:1", 1);
    setenv("no_proxy", "", 1);
    http_fixture_answer(c->server, OK_HELLO);
    enum c2_err err = get(c, &q);
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    unsetenv("no_proxy");
    assert_int_equal(err, C2_E_OK);
    http_req_done(&q.r);
}

static void
http__uses_the_proxy_it_is_told(void **state)
{
    struct ctx *c = *state;
    struct request q;
    struct http_settings s = settings();
    s.proxy = http_fixture_url(c->server);
    struct http_pool *pool = http_pool_new(c->env, c->os, &s);
    init(c, &q, HTTP_GET, "/");
    snprintf(q.url, sizeof(q.url), "http://cloud.example/x");
    http_fixture_answer(c->server, OK_HELLO);
    setenv("no_proxy", "*", 1);
    http_submit(pool, &q.r);
    c2_os_run_until(c->os, &q.completed);
    unsetenv("no_proxy");
    assert_reply(&q, "hello");
    assert_true(http_fixture_saw(c->server, 0, "GET http://cloud.example/x HTTP/1.1\r\n"));
    http_req_done(&q.r);
    http_pool_free(pool);
}

static void
http__refuses_other_schemes_and_plain_text(void **state)
{
    struct ctx *c = *state;
    struct http_settings s = settings();
    s.plain = HTTP_PLAIN_NEVER;
    struct http_pool *strict = http_pool_new(c->env, c->os, &s);
    static const char *const urls[] = { "http://127.0.0.1:1/", "file:///etc/passwd",
                                        "ftp://127.0.0.1/", "gopher://127.0.0.1/",
                                        "https://u:p@127.0.0.1/" };
    for (size_t i = 0; i < C2_ARRAY_LEN(urls); i++) {
        struct request q;
        init(c, &q, HTTP_GET, "/");
        q.r.url = urls[i];
        http_submit(strict, &q.r);
        c2_os_run_until(c->os, &q.completed);
        if (q.r.err != C2_E_CONFIG)
            fail_msg("%s gives %s", urls[i], c2_err_name(q.r.err));
        http_req_done(&q.r);
    }
    http_pool_free(strict);
}

static void
http__speaks_no_tls_to_a_plain_server(void **state)
{
    struct ctx *c = *state;
    struct request q;
    /* T13: stripping TLS must not work in either direction. The hello of TLS has no empty line. */
    init(c, &q, HTTP_GET, "/");
    snprintf(q.url, sizeof(q.url), "https%s/", http_fixture_url(c->server) + strlen("http"));
    q.r.deadline_ns = c2_now_ns(c->env) + 100 * C2_NS_PER_MS;
    run(c, &q);
    assert_int_equal(q.r.err, C2_E_TIMEOUT);
    assert_int_equal(http_fixture_requests(c->server), 0);
    http_req_done(&q.r);
}

struct last {
    struct request q;
    struct ctx *c;
};

static void
free_pool(struct http_req *r)
{
    struct last *last = C2_CONTAINER_OF(r, struct last, q.r);
    http_pool_free(last->c->pool);
    last->c->pool = NULL;
    last->q.completed = true;
}

static void
http__pool_may_be_freed_by_the_last_done(void **state)
{
    struct ctx *c = *state;
    struct last last = { .c = c };
    init(c, &last.q, HTTP_GET, "/");
    last.q.r.done = free_pool;
    http_fixture_answer(c->server, OK_HELLO);
    run(c, &last.q);
    assert_null(c->pool);
    http_req_done(&last.q.r);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    if (c2_crypto_init() != C2_E_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        TEST(http__gives_status_headers_body),
        TEST(http__reuses_the_connection),
        TEST(http__sends_exactly_what_was_signed),
        TEST(http__uploads_large_and_empty_bodies),
        TEST(http__mixes_methods_on_one_handle),
        TEST(http__does_not_follow_redirects),
        TEST(http__does_not_decompress),
        TEST(http__keeps_only_the_last_head),
        TEST(http__takes_chunked_bodies),
        TEST(http__reports_answers_that_break_off),
        TEST(http__refuses_a_body_without_declared_end),
        TEST(http__refuses_what_is_not_http1),
        TEST(http__bounds_the_body),
        TEST(http__bounds_the_head),
        TEST(http__cuts_endless_error_bodies),
        TEST(http__ends_at_the_deadline),
        TEST(http__ends_a_transfer_that_is_too_slow),
        TEST(http__repeats_once_on_a_dead_kept_connection),
        TEST(http__repeats_a_large_upload_that_met_a_dead_connection),
        TEST(http__does_not_repeat_for_ever),
        TEST(http__does_not_repeat_what_must_go_out_once),
        TEST(http__queues_beyond_its_connections),
        TEST(http__deadline_holds_in_the_queue),
        TEST(http__cancel_works_in_every_state),
        TEST(http__reports_a_refused_connection),
        TEST(http__ignores_the_proxy_of_the_environment),
        TEST(http__uses_the_proxy_it_is_told),
        TEST(http__refuses_other_schemes_and_plain_text),
        TEST(http__speaks_no_tls_to_a_plain_server),
        TEST(http__pool_may_be_freed_by_the_last_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
