/* SPDX-License-Identifier: MIT */
/*
 * The metrics socket against plain clients on the same loop.
 */
#include "base/os_metrics.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"

#define GET             "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define CONNECTIONS_MAX 8
#define REQUEST_MAX     4096

struct fixture {
    struct c2_os *os;
    struct c2_os_metrics *metrics;
    char dir[32];
    char *address; /* unix:DIR/m */
    size_t body_len;
    unsigned collected;
};

static void
collect(void *arg, struct c2_buf *out)
{
    struct fixture *f = arg;
    f->collected++;
    while (out->len < f->body_len)
        c2_buf_puts(out, "one 1\n");
}

static C2_RESULT
serve(struct fixture *f, const char *address, char **ret_error)
{
    return c2_os_metrics_open(f->os, address, collect, f, &f->metrics, ret_error);
}

static int
setup(void **state)
{
    struct fixture *f = c2_calloc(1, sizeof(*f));
    strcpy(f->dir, "/tmp/c2fs-metrics.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->address = c2_asprintf("unix:%s/m", f->dir);
    f->body_len = 6;
    assert_int_equal(c2_os_new(1, &f->os), C2_E_OK);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    c2_os_metrics_close(f->metrics);
    c2_os_free(f->os);
    assert_int_equal(rmdir(f->dir), 0); /* the socket is gone too */
    c2_free(f->address);
    c2_free(f);
    return 0;
}

struct client {
    struct c2_fd_watch watch;
    struct c2_buf answer;
    struct c2_os *os;
    bool ended;
};

static void
client_ready(struct c2_fd_watch *w, unsigned events)
{
    struct client *c = C2_CONTAINER_OF(w, struct client, watch);
    char chunk[4096];
    (void)events;
    ssize_t n = recv(w->fd, chunk, sizeof(chunk), 0);
    if (n > 0) {
        c2_buf_append(&c->answer, chunk, (size_t)n);
        return;
    }
    c2_os_unwatch(c->os, w);
    c->ended = true;
}

static void
client_start(struct fixture *f, struct client *c, const struct sockaddr *a, socklen_t len)
{
    int fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, a, len), 0);
    *c = (struct client){ .os = f->os };
    c->watch = (struct c2_fd_watch){ .fd = fd, .events = C2_FD_IN, .ready = client_ready };
    assert_int_equal(c2_os_watch(f->os, &c->watch), C2_E_OK);
}

static void
client_unix(struct fixture *f, struct client *c)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    (void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", f->address + strlen("unix:"));
    client_start(f, c, (const struct sockaddr *)&a, sizeof(a));
}

/* Sends the rest of a request and reads until the server closes. */
static void
client_finish(struct client *c, const char *request)
{
    size_t len = strlen(request);
    assert_int_equal(send(c->watch.fd, request, len, MSG_NOSIGNAL), len);
    c2_os_run_until(c->os, &c->ended);
    c2_buf_cstr(&c->answer);
}

static void
client_done(struct client *c)
{
    if (!c->ended)
        c2_os_unwatch(c->os, &c->watch);
    close(c->watch.fd);
    c2_buf_done(&c->answer);
}

static void
check_status(struct fixture *f, const char *request, const char *status)
{
    struct client c;
    client_unix(f, &c);
    client_finish(&c, request);
    char *line = c2_asprintf("HTTP/1.1 %s\r\n", status);
    assert_true(c2_slice_starts_with(c2_buf_slice(&c.answer), c2_slice_str(line)));
    c2_free(line);
    client_done(&c);
}

static void
get__is_answered_on_a_socket_of_the_owner(void **state)
{
    struct fixture *f = *state;
    char *error = NULL;
    struct stat st;
    struct client c;
    assert_int_equal(serve(f, f->address, &error), C2_E_OK);
    assert_int_equal(lstat(f->address + strlen("unix:"), &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
    client_unix(f, &c);
    client_finish(&c, GET);
    assert_string_equal(c2_buf_cstr(&c.answer),
                        "HTTP/1.1 200 OK\r\n"
                        "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
                        "Content-Length: 6\r\n"
                        "Allow: GET\r\n"
                        "Connection: close\r\n"
                        "\r\n"
                        "one 1\n");
    client_done(&c);
}

/* A free port, for a moment. */
static void
free_port(struct sockaddr_in *ret_address)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    socklen_t len = sizeof(a);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    close(fd);
    *ret_address = a;
}

static void
get__is_answered_on_a_loopback_address(void **state)
{
    struct fixture *f = *state;
    char *error = NULL, text[32];
    struct sockaddr_in a;
    struct c2_os_metrics *first, *second = NULL;
    struct client c;
    free_port(&a);
    (void)snprintf(text, sizeof(text), "127.0.0.1:%u", (unsigned)ntohs(a.sin_port));
    f->body_len = 4u << 20; /* more than the socket takes at once */
    assert_int_equal(serve(f, text, &error), C2_E_OK);
    client_start(f, &c, (const struct sockaddr *)&a, sizeof(a));
    client_finish(&c, GET);
    assert_true(c.answer.len > f->body_len);
    assert_non_null(strstr(c2_buf_cstr(&c.answer), "HTTP/1.1 200 OK\r\n"));
    assert_memory_equal(c.answer.data + c.answer.len - 6, "one 1\n", 6);
    client_done(&c);

    first = f->metrics;
    f->metrics = second;
    assert_int_equal(serve(f, text, &error), C2_E_BUSY);
    assert_non_null(strstr(error, "another program serves this address"));
    f->metrics = first;
    c2_free(error);
}

static void
request__other_ones_are_refused(void **state)
{
    struct fixture *f = *state;
    char *error = NULL;
    char large[REQUEST_MAX + 1];
    assert_int_equal(serve(f, f->address, &error), C2_E_OK);
    check_status(f, "GET /metrics?x=1 HTTP/1.0\r\n\r\n", "200 OK");
    assert_int_equal(f->collected, 1);
    check_status(f, "GET / HTTP/1.1\r\n\r\n", "404 Not Found");
    check_status(f, "GET /metricsx HTTP/1.1\r\n\r\n", "404 Not Found");
    check_status(f, "POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed");
    check_status(f, "GET /metrics\r\n\r\n", "400 Bad Request");
    check_status(f, "GET /metrics SPDY/1\r\n\r\n", "400 Bad Request");
    check_status(f, "\r\n\r\n", "400 Bad Request");
    memset(large, 'x', sizeof(large));
    large[REQUEST_MAX] = '\0';
    check_status(f, large, "431 Request Header Fields Too Large");
    assert_int_equal(f->collected, 1);
}

static void
request__comes_in_pieces(void **state)
{
    struct fixture *f = *state;
    char *error = NULL;
    struct client pieces, whole;
    assert_int_equal(serve(f, f->address, &error), C2_E_OK);
    client_unix(f, &pieces);
    assert_int_equal(send(pieces.watch.fd, GET, 10, 0), 10);
    client_unix(f, &whole); /* is served meanwhile */
    client_finish(&whole, GET);
    assert_int_equal(f->collected, 1);
    assert_false(pieces.ended);
    client_finish(&pieces, &GET[10]);
    assert_int_equal(f->collected, 2);
    client_done(&pieces);
    client_done(&whole);
}

static void
connection__one_too_many_is_closed(void **state)
{
    struct fixture *f = *state;
    char *error = NULL;
    struct client c[CONNECTIONS_MAX], more;
    assert_int_equal(serve(f, f->address, &error), C2_E_OK);
    for (size_t k = 0; k < C2_ARRAY_LEN(c); k++)
        client_unix(f, &c[k]);
    client_unix(f, &more);
    c2_os_run_until(f->os, &more.ended);
    assert_int_equal(more.answer.len, 0);
    client_done(&more);
    for (size_t k = 0; k < C2_ARRAY_LEN(c); k++) {
        client_finish(&c[k], GET);
        client_done(&c[k]);
    }
    assert_int_equal(f->collected, CONNECTIONS_MAX);
    check_status(f, GET, "200 OK"); /* there is room again */
}

static void
connection__silent_one_is_closed_at_its_deadline(void **state)
{
    struct fixture *f = *state;
    char *error = NULL;
    struct client c;
    assert_int_equal(serve(f, f->address, &error), C2_E_OK);
    c2_os_metrics_set_deadline(f->metrics, C2_NS_PER_MS);
    client_unix(f, &c);
    c2_os_run_until(f->os, &c.ended);
    assert_int_equal(c.answer.len, 0);
    client_done(&c);
}

static void
free__closes_open_connections(void **state)
{
    struct fixture *f = *state;
    char *error = NULL;
    struct client open, served;
    assert_int_equal(serve(f, f->address, &error), C2_E_OK);
    client_unix(f, &open);
    client_unix(f, &served);
    client_finish(&served, GET);
    assert_false(open.ended);
    c2_os_metrics_close(f->metrics);
    f->metrics = NULL;
    c2_os_run_until(f->os, &open.ended);
    client_done(&open);
    client_done(&served);
}

static void
new__refuses_what_others_could_reach(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {
        "0.0.0.0:9090",     "192.0.2.1:9090",  "[::]:9090",    "[2001:db8::1]:80",
        "example.org:9090", ":9090",           "9090",         "127.0.0.1",
        "127.0.0.1:",       "127.0.0.1:0",     "127.0.0.1:-1", "127.0.0.1:65536",
        "127.0.0.1:http",   "::1:9090",        "128.0.0.1:80", "unix:",
        "unix:relative/m",  "unix:/tmp/",      "unix://",      "/tmp/m",
        "127.1:9090",       "127.0.0.1:90:90",
    };
    for (size_t k = 0; k < C2_ARRAY_LEN(bad); k++) {
        char *error = NULL;
        if (serve(f, bad[k], &error) != C2_E_CONFIG)
            fail_msg("%s was accepted", bad[k]);
        assert_non_null(strstr(error, "want unix:/PATH, 127.0.0.1:PORT or [::1]:PORT"));
        assert_non_null(strstr(error, bad[k]));
        c2_free(error);
    }
}

static void
new__replaces_dead_sockets_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    const char *path = f->address + strlen("unix:");
    char *error = NULL;
    struct stat st;

    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(serve(f, f->address, &error), C2_E_EXISTS);
    assert_non_null(strstr(error, "exists already"));
    c2_free(error);
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(unlink(path), 0);

    struct sockaddr_un a = { .sun_family = AF_UNIX };
    (void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(serve(f, f->address, &error), C2_E_BUSY);
    c2_free(error);
    close(fd);
    assert_int_equal(serve(f, f->address, &error), C2_E_OK);
    check_status(f, GET, "200 OK");

    assert_int_equal(serve(f, "unix:/nonexistent/folder/m", &error), C2_E_NOT_FOUND);
    c2_free(error);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(get__is_answered_on_a_socket_of_the_owner),
        CASE(get__is_answered_on_a_loopback_address),
        CASE(request__other_ones_are_refused),
        CASE(request__comes_in_pieces),
        CASE(connection__one_too_many_is_closed),
        CASE(connection__silent_one_is_closed_at_its_deadline),
        CASE(free__closes_open_connections),
        CASE(new__refuses_what_others_could_reach),
        CASE(new__replaces_dead_sockets_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
