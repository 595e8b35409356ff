/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os_loop.h"
#include "fs/ctl.h"

struct fixture {
    struct c2_os *os;
    struct ctl *ctl;
    char dir[32];
    struct ctl_call *held; /* a FLUSH waits until the test answers it */
    unsigned requests;
    bool changed;
};

static void
on_request(void *arg, struct ctl_call *c, const struct ctl_request *q)
{
    struct fixture *f = arg;
    f->requests++;
    f->changed = true;
    if (q->verb == CTL_FLUSH) {
        f->held = c;
        return;
    }
    ctl_result(c, C2_E_OK, "hello", q->text);
}

static int
setup(void **state)
{
    struct fixture *f = c2_calloc(1, sizeof(*f));
    char *error = NULL;
    strcpy(f->dir, "/tmp/c2fs-ctl.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(c2_os_new(1, &f->os), C2_E_OK);
    const struct ctl_handler handler = { .arg = f, .request = on_request };
    assert_int_equal(ctl_new(f->os, f->dir, &handler, &f->ctl, &error), C2_E_OK);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    ctl_free(f->ctl);
    c2_os_free(f->os);
    assert_int_equal(rmdir(f->dir), 0); /* the socket is gone too */
    c2_free(f);
    return 0;
}

static int
client(const struct fixture *f)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    (void)snprintf(a.sun_path, sizeof(a.sun_path), "%s/" CTL_SOCKET, f->dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static void
send_request(int fd, enum ctl_verb verb, const char *text)
{
    struct ctl_request q = { .verb = verb, .text = c2_slice_str(text) };
    struct c2_buf payload = { 0 }, frame = { 0 };
    ctl_request_encode(&q, &payload);
    c2_wr_bytes(&frame, c2_buf_slice(&payload));
    assert_int_equal(send(fd, frame.data, frame.len, 0), frame.len);
    c2_buf_done(&payload);
    c2_buf_done(&frame);
}

static void
run_until_changed(struct fixture *f)
{
    f->changed = false;
    c2_os_run_until(f->os, &f->changed);
}

/* The next frame, which the daemon has written already; 0 = the connection was closed. */
static size_t
read_frame(int fd, uint8_t *out, size_t size)
{
    uint8_t head[4];
    if (recv(fd, head, 4, MSG_WAITALL) != 4)
        return 0;
    size_t len = c2_get_u32(head);
    assert_true(len <= size);
    assert_int_equal(recv(fd, out, len, MSG_WAITALL), len);
    return len;
}

static struct ctl_answer
read_answer(int fd, uint8_t buf[1024])
{
    struct ctl_answer a;
    size_t len = read_frame(fd, buf, 1024);
    assert_true(len > 0);
    assert_int_equal(ctl_answer_decode(c2_slice(buf, len), &a), C2_E_OK);
    return a;
}

static void
socket__is_for_its_owner_only(void **state)
{
    struct fixture *f = *state;
    char path[64];
    struct stat st;
    (void)snprintf(path, sizeof(path), "%s/" CTL_SOCKET, f->dir);
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void
request__gets_its_answer(void **state)
{
    struct fixture *f = *state;
    uint8_t buf[1024];
    int fd = client(f);
    send_request(fd, CTL_STATUS, "body");
    run_until_changed(f);
    struct ctl_answer a = read_answer(fd, buf);
    assert_int_equal(a.kind, CTL_RESULT);
    assert_int_equal(a.err, C2_E_OK);
    assert_true(c2_slice_equal(a.message, c2_slice_str("hello")));
    assert_true(c2_slice_equal(a.body, c2_slice_str("body")));
    close(fd);
}

static void
request__second_one_waits_for_the_first(void **state)
{
    struct fixture *f = *state;
    uint8_t buf[1024];
    int fd = client(f);
    send_request(fd, CTL_FLUSH, "");
    send_request(fd, CTL_STATUS, "second");
    run_until_changed(f);
    assert_int_equal(f->requests, 1);
    ctl_progress(f->held, 5, 500);
    ctl_result(f->held, C2_E_TIMEOUT, NULL, c2_slice("", 0));
    assert_int_equal(f->requests, 2);
    struct ctl_answer a = read_answer(fd, buf);
    assert_int_equal(a.kind, CTL_PROGRESS);
    assert_int_equal(a.bytes, 500);
    a = read_answer(fd, buf);
    assert_int_equal(a.kind, CTL_RESULT);
    assert_int_equal(a.err, C2_E_TIMEOUT);
    a = read_answer(fd, buf);
    assert_true(c2_slice_equal(a.body, c2_slice_str("second")));
    close(fd);
}

static void
request__client_that_left_is_no_harm(void **state)
{
    struct fixture *f = *state;
    uint8_t buf[1024];
    int fd = client(f);
    send_request(fd, CTL_FLUSH, "");
    run_until_changed(f);
    assert_false(ctl_client_is_gone(f->held));
    close(fd);
    /* Another client's request comes after the end of the first connection. */
    int fd2 = client(f);
    send_request(fd2, CTL_STATUS, "x");
    run_until_changed(f);
    ctl_progress(f->held, 1, 1);
    assert_true(ctl_client_is_gone(f->held));
    ctl_result(f->held, C2_E_OK, NULL, c2_slice("", 0));
    (void)read_answer(fd2, buf);
    close(fd2);
}

static void
request__malformed_is_answered_and_dropped(void **state)
{
    struct fixture *f = *state;
    uint8_t buf[1024];
    static const uint8_t junk[] = { 3, 0, 0, 0, CTL_VERSION, CTL_STATUS, 1 };
    static const uint8_t huge[] = { 0xff, 0xff, 0xff, 0xff };
    int fd = client(f), fd2 = client(f), fd3 = client(f);
    assert_int_equal(send(fd, junk, sizeof(junk), 0), sizeof(junk));
    assert_int_equal(send(fd2, huge, sizeof(huge), 0), sizeof(huge));
    send_request(fd3, CTL_STATUS, "x");
    run_until_changed(f);
    assert_int_equal(f->requests, 1);
    assert_int_equal(read_answer(fd, buf).err, C2_E_PARSE);
    assert_int_equal(read_frame(fd, buf, sizeof(buf)), 0);
    assert_int_equal(read_answer(fd2, buf).err, C2_E_TOO_LARGE);
    assert_int_equal(read_frame(fd2, buf, sizeof(buf)), 0);
    close(fd);
    close(fd2);
    close(fd3);
}

static void
new__refuses_a_folder_that_is_served_and_replaces_a_dead_socket(void **state)
{
    struct fixture *f = *state;
    struct ctl *second = NULL;
    char *error = NULL;
    const struct ctl_handler handler = { .arg = f, .request = on_request };
    assert_int_equal(ctl_new(f->os, f->dir, &handler, &second, &error), C2_E_BUSY);
    assert_non_null(strstr(error, "in use"));
    c2_free(error);

    /* A daemon that was killed leaves its socket behind. */
    ctl_free(f->ctl);
    char path[64];
    (void)snprintf(path, sizeof(path), "%s/" CTL_SOCKET, f->dir);
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    strcpy(a.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    close(fd);
    assert_int_equal(ctl_new(f->os, f->dir, &handler, &f->ctl, &error), C2_E_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(socket__is_for_its_owner_only, setup, teardown),
        cmocka_unit_test_setup_teardown(request__gets_its_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(request__second_one_waits_for_the_first, setup, teardown),
        cmocka_unit_test_setup_teardown(request__client_that_left_is_no_harm, setup, teardown),
        cmocka_unit_test_setup_teardown(request__malformed_is_answered_and_dropped, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            new__refuses_a_folder_that_is_served_and_replaces_a_dead_socket, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
