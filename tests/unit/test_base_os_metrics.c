/* SPDX-License-Identifier: MIT */
/*
 * The metrics socket against plain clients.
 */
#include "base/os_metrics.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"

struct fixture {
    struct c2_os *os;
    char dir[64];
    char address[128];
    struct c2_os_metrics *m;
    unsigned asked;

    const char *say;
    char got[4096];
    bool done;
};

static void
write_text(void *arg, struct c2_buf *out)
{
    struct fixture *f = arg;
    f->asked++;
    c2_buf_printf(out, "c2fs_up 1\n");
}

static int
setup(void **state)
{
    struct fixture *f = c2_calloc(1, sizeof *f);
    strcpy(f->dir, "/tmp/c2fs-metrics-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->address, sizeof f->address, "unix:%s/socket", f->dir);
    assert_int_equal(c2_os_new(1, &f->os), C2_E_OK);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    c2_os_metrics_close(f->m);
    c2_os_free(f->os);
    assert_int_equal(rmdir(f->dir), 0); /* the socket is gone */
    c2_free(f);
    return 0;
}

static void
open_metrics(struct fixture *f)
{
    char *error = NULL;
    assert_int_equal(c2_os_metrics_open(f->os, f->address, write_text, f, &f->m, &error), C2_E_OK);
}

static void *
client_main(void *arg)
{
    struct fixture *f = arg;
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    strcpy(to.sun_path, f->address + 5);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    size_t len = strlen(f->say), sent = 0, got = 0;
    while (sent < len) {
        ssize_t n = send(fd, f->say + sent, C2_MIN(len - sent, (size_t)3000), MSG_NOSIGNAL);
        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    ssize_t n;
    while (got < sizeof f->got - 1 && (n = recv(fd, f->got + got, sizeof f->got - 1 - got, 0)) > 0)
        got += (size_t)n;
    f->got[got] = '\0';
    close(fd);
    __atomic_store_n(&f->done, true, __ATOMIC_RELEASE);
    c2_os_stop(f->os);
    return NULL;
}

static void
talk(struct fixture *f, const char *say)
{
    pthread_t t;
    f->say = say;
    f->done = false;
    assert_int_equal(pthread_create(&t, NULL, client_main, f), 0);
    while (!__atomic_load_n(&f->done, __ATOMIC_ACQUIRE))
        c2_os_run(f->os);
    pthread_join(t, NULL);
}

static void
metrics__answers_every_request_with_the_text(void **state)
{
    struct fixture *f = *state;
    open_metrics(f);
    for (unsigned i = 1; i <= 3; i++) {
        talk(f, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_non_null(strstr(f->got, "HTTP/1.0 200 OK\r\n"));
        assert_non_null(strstr(f->got, "\r\nContent-Length: 10\r\n"));
        assert_non_null(strstr(f->got, "\r\n\r\nc2fs_up 1\n"));
        assert_int_equal(f->asked, i);
    }
}

static void
metrics__ends_a_request_without_end(void **state)
{
    struct fixture *f = *state;
    char *endless = c2_calloc(1, 20001);
    memset(endless, 'x', 20000);
    open_metrics(f);
    talk(f, endless);
    assert_string_equal(f->got, "");
    assert_int_equal(f->asked, 0);
    c2_free(endless);
}

static void
metrics__takes_the_place_of_a_socket_left_behind(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    strcpy(at.sun_path, f->address + 5);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    close(fd);
    open_metrics(f);
    talk(f, "GET /\n\n");
    assert_non_null(strstr(f->got, "c2fs_up 1"));
}

static void
metrics__refuses_addresses_that_others_could_reach(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = { "0.0.0.0:9100",    "192.168.1.1:9100",
                                       "[::]:9100",       "[2001:db8::1]:1",
                                       "127.0.0.1:99999", "127.0.0.1",
                                       "unix:",           "" };
    for (unsigned i = 0; i < C2_ARRAY_LEN(bad); i++) {
        char *error = NULL;
        assert_int_equal(c2_os_metrics_open(f->os, bad[i], write_text, f, &f->m, &error),
                         C2_E_CONFIG);
        assert_non_null(strstr(error, "metrics = "));
        c2_free(error);
    }
    static const char *const good[] = { "127.0.0.1:0", "localhost:0" };
    for (unsigned i = 0; i < C2_ARRAY_LEN(good); i++) {
        char *error = NULL;
        assert_int_equal(c2_os_metrics_open(f->os, good[i], write_text, f, &f->m, &error), C2_E_OK);
        c2_os_metrics_close(f->m);
        f->m = NULL;
    }
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(metrics__answers_every_request_with_the_text),
        T(metrics__ends_a_request_without_end),
        T(metrics__takes_the_place_of_a_socket_left_behind),
        T(metrics__refuses_addresses_that_others_could_reach),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
