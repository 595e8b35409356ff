/* SPDX-License-Identifier: MIT */
#include "tools/ctl_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"

static void
take(struct ctl_client *c, int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    c->fd = fd;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid > 0)
        c->pid_fd = pidfd_open(peer.pid, 0);
}

C2_RESULT
ctl_client_open(const char *cache_dir, struct ctl_client *c)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    *c = (struct ctl_client){ .fd = -1, .pid_fd = -1 };
    int dir = open(cache_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return errno == EACCES ? C2_E_ACCESS : C2_E_NOT_MOUNTED;
    /* The path of the socket may be longer than sun_path: it is named through the folder. */
    (void)snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/" CTL_SOCKET, dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    enum c2_err err = C2_E_OK;
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0)
        err = errno == EACCES ? C2_E_ACCESS : C2_E_NOT_MOUNTED;
    close(dir);
    if (err == C2_E_OK)
        take(c, fd);
    else if (fd >= 0)
        close(fd);
    return err;
}

void
ctl_client_close(struct ctl_client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    if (c->pid_fd >= 0)
        close(c->pid_fd);
    c->fd = c->pid_fd = -1;
    c2_buf_done(&c->frame);
}

static C2_RESULT
send_all(int fd, struct c2_slice s)
{
    for (size_t at = 0; at < s.len;) {
        ssize_t n = send(fd, s.data + at, s.len - at, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return C2_E_UNREACHABLE;
        at += n > 0 ? (size_t)n : 0;
    }
    return C2_E_OK;
}

static C2_RESULT
recv_all(int fd, uint8_t *out, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = recv(fd, out + at, len - at, 0);
        if (n == 0 || (n < 0 && errno != EINTR))
            return C2_E_UNREACHABLE;
        at += n > 0 ? (size_t)n : 0;
    }
    return C2_E_OK;
}

static C2_RESULT
read_answer(struct ctl_client *c, struct ctl_answer *ret_answer)
{
    uint8_t head[4];
    C2_TRY(recv_all(c->fd, head, sizeof(head)));
    uint32_t len = c2_get_u32(head);
    if (len > 2 * CTL_ANSWER_MAX)
        return C2_E_PROTOCOL;
    c2_buf_clear(&c->frame);
    C2_TRY(recv_all(c->fd, c2_buf_extend(&c->frame, len), len));
    return ctl_answer_decode(c2_buf_slice(&c->frame), ret_answer);
}

C2_RESULT
ctl_client_call(struct ctl_client *c, const struct ctl_request *q,
                void (*progress)(void *arg, const struct ctl_answer *a), void *arg,
                struct ctl_answer *ret_answer)
{
    struct c2_buf payload = { 0 }, frame = { 0 };
    ctl_request_encode(q, &payload);
    c2_wr_bytes(&frame, c2_buf_slice(&payload));
    enum c2_err err = send_all(c->fd, c2_buf_slice(&frame));
    c2_buf_done(&payload);
    c2_buf_done(&frame);
    while (err == C2_E_OK) {
        err = read_answer(c, ret_answer);
        if (err == C2_E_OK && ret_answer->kind == CTL_RESULT)
            break;
        if (err == C2_E_OK && progress != NULL)
            progress(arg, ret_answer);
    }
    return err;
}

void
ctl_client_wait_end(struct ctl_client *c)
{
    uint8_t byte;
    ssize_t n;
    do
        n = recv(c->fd, &byte, 1, 0);
    while (n > 0 || (n < 0 && errno == EINTR));
    struct pollfd p = { .fd = c->pid_fd, .events = POLLIN };
    while (c->pid_fd >= 0 && poll(&p, 1, -1) < 0 && errno == EINTR)
        ;
}
