/* SPDX-License-Identifier: MIT */
#include "fs/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/list.h"
#include "base/log.h"
#include "base/os_loop.h"
#include "base/os_socket.h"

#define IN_MAX  (4u + CTL_REQUEST_MAX)
#define OUT_MAX (1u << 20)

struct ctl {
    struct c2_os *os;
    struct ctl_handler handler;
    int dir_fd;
    struct c2_fd_watch listener;
    struct c2_list conns;
};

struct conn {
    struct ctl *ctl;
    struct c2_link link;
    struct c2_fd_watch watch;
    struct c2_buf in, out;
    size_t out_at;         /* sent so far */
    struct ctl_call *call; /* the request that waits for its answer, or NULL */
    bool *gone;            /* set while requests are handed out: told when the connection goes */
};

struct ctl_call {
    struct conn *conn; /* NULL: the client is gone */
};

static void
conn_free(struct conn *k)
{
    struct ctl *c = k->ctl;
    if (k->call != NULL)
        k->call->conn = NULL;
    if (k->gone != NULL)
        *k->gone = true;
    c2_os_unwatch(c->os, &k->watch);
    close(k->watch.fd);
    c2_list_remove(&c->conns, &k->link);
    c2_buf_done(&k->in);
    c2_buf_done(&k->out);
    c2_free(k);
}

/* ---- writing -------------------------------------------------------------------------------- */

/* False when the connection broke; it is gone then. */
static bool
flush_out(struct conn *k)
{
    if (c2_os_socket_send(k->watch.fd, c2_buf_slice(&k->out), &k->out_at) != C2_E_OK) {
        conn_free(k);
        return false;
    }
    bool sent = k->out_at == k->out.len;
    if (sent) {
        c2_buf_clear(&k->out);
        k->out_at = 0;
    }
    k->watch.events = sent ? C2_FD_IN : C2_FD_IN | C2_FD_OUT;
    if (c2_os_watch(k->ctl->os, &k->watch) == C2_E_OK)
        return true;
    conn_free(k);
    return false;
}

static bool
send_answer(struct conn *k, const struct ctl_answer *a)
{
    struct c2_buf frame = { 0 };
    ctl_answer_encode(a, &frame);
    c2_wr_bytes(&k->out, c2_buf_slice(&frame));
    c2_buf_done(&frame);
    if (k->out.len > OUT_MAX) {
        conn_free(k);
        return false;
    }
    return flush_out(k);
}

bool
ctl_client_is_gone(const struct ctl_call *c)
{
    return c->conn == NULL;
}

void
ctl_progress(struct ctl_call *c, uint64_t files, uint64_t bytes)
{
    struct ctl_answer a = { .kind = CTL_PROGRESS, .files = files, .bytes = bytes };
    /* Whoever does not read gets less of it. */
    if (c->conn != NULL && c->conn->out.len == 0)
        (void)send_answer(c->conn, &a);
}

/* ---- reading -------------------------------------------------------------------------------- */

static void
refuse(struct conn *k, enum c2_err err)
{
    struct ctl_answer a = { .kind = CTL_RESULT, .err = err };
    a.message = c2_slice_str(err == C2_E_VERSION ? "another version of the control protocol"
                                                 : "malformed request");
    if (send_answer(k, &a))
        conn_free(k);
}

/* Hands the first whole request out; false when there is none, or the connection is gone. */
static bool
take_request(struct conn *k)
{
    struct ctl *c = k->ctl;
    if (k->in.len < 4)
        return false;
    uint32_t len = c2_get_u32(k->in.data);
    if (len > CTL_REQUEST_MAX) {
        refuse(k, C2_E_TOO_LARGE);
        return false;
    }
    if (k->in.len < 4 + (size_t)len)
        return false;
    struct ctl_request q;
    struct c2_buf frame = { 0 };
    c2_buf_append(&frame, k->in.data + 4, len);
    memmove(k->in.data, k->in.data + 4 + len, k->in.len - 4 - len);
    k->in.len -= 4 + (size_t)len;
    bool gone = false;
    enum c2_err err = ctl_request_decode(c2_buf_slice(&frame), &q);
    if (err == C2_E_OK) {
        k->gone = &gone;
        k->call = c2_calloc(1, sizeof(*k->call));
        k->call->conn = k;
        c->handler.request(c->handler.arg, k->call, &q);
        if (!gone)
            k->gone = NULL;
    } else {
        refuse(k, err);
        gone = true;
    }
    c2_buf_done(&frame);
    return !gone;
}

/* One at a time; the rest waits in `in`. */
static void
take_requests(struct conn *k)
{
    while (k->call == NULL && take_request(k))
        ;
}

void
ctl_result(struct ctl_call *c, enum c2_err err, const char *message, struct c2_slice body)
{
    struct conn *k = c->conn;
    c2_free(c);
    if (k == NULL)
        return;
    k->call = NULL;
    struct ctl_answer a = { .kind = CTL_RESULT, .err = err, .body = body };
    a.message = c2_slice_str(message == NULL ? "" : message);
    bool handing_out = k->gone != NULL; /* the loop in take_requests goes on by itself */
    if (send_answer(k, &a) && !handing_out)
        take_requests(k);
}

static void
conn_ready(struct c2_fd_watch *w, unsigned events)
{
    struct conn *k = C2_CONTAINER_OF(w, struct conn, watch);
    if ((events & C2_FD_OUT) != 0 && !flush_out(k))
        return;
    if ((events & C2_FD_IN) == 0)
        return;
    uint8_t chunk[4096];
    ssize_t n = recv(w->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || k->in.len + (size_t)n > IN_MAX) {
        conn_free(k);
        return;
    }
    c2_buf_append(&k->in, chunk, (size_t)n);
    take_requests(k);
}

/* ---- listening ------------------------------------------------------------------------------ */

static bool
peer_allowed(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    return peer.uid == 0 || peer.uid == geteuid();
}

static void
listener_ready(struct c2_fd_watch *w, unsigned events)
{
    struct ctl *c = C2_CONTAINER_OF(w, struct ctl, listener);
    (void)events;
    int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (c->conns.count >= CTL_CONNECTIONS_MAX || !peer_allowed(fd)) {
        c2_log(WARN, "ctl", "connections=%zu a connection was refused", c->conns.count);
        close(fd);
        return;
    }
    struct conn *k = c2_calloc(1, sizeof(*k));
    k->ctl = c;
    k->watch = (struct c2_fd_watch){ .fd = fd, .events = C2_FD_IN, .ready = conn_ready };
    c2_list_append(&c->conns, &k->link);
    if (c2_os_watch(c->os, &k->watch) != C2_E_OK)
        conn_free(k);
}

static C2_RESULT
listen_at(struct ctl *c)
{
    int fd;
    C2_TRY(c2_os_socket_listen(c->dir_fd, CTL_SOCKET, CTL_CONNECTIONS_MAX, &fd));
    c->listener = (struct c2_fd_watch){ .fd = fd, .events = C2_FD_IN, .ready = listener_ready };
    return c2_os_watch(c->os, &c->listener);
}

C2_RESULT
ctl_new(struct c2_os *os, const char *dir, const struct ctl_handler *handler, struct ctl **ret_ctl,
        char **ret_error)
{
    struct ctl *c = c2_calloc(1, sizeof(*c));
    c->os = os;
    c->handler = *handler;
    c->listener.fd = -1;
    c2_list_init(&c->conns);
    c->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    enum c2_err err = c->dir_fd < 0 ? c2_err_from_errno(errno) : listen_at(c);
    if (err == C2_E_OK) {
        *ret_ctl = c;
        return C2_E_OK;
    }
    if (err == C2_E_BUSY)
        *ret_error = c2_asprintf("%s is in use by another mount", dir);
    else
        *ret_error = c2_asprintf("cannot make the control socket in %s: %s", dir, c2_err_text(err));
    ctl_free(c);
    return err;
}

void
ctl_free(struct ctl *c)
{
    if (c == NULL)
        return;
    struct conn *k;
    while ((k = C2_LIST_FIRST(&c->conns, struct conn, link)) != NULL) {
        C2_ASSERT(k->call == NULL);
        conn_free(k);
    }
    if (c->listener.fd >= 0) {
        c2_os_unwatch(c->os, &c->listener);
        close(c->listener.fd);
        (void)unlinkat(c->dir_fd, CTL_SOCKET, 0);
    }
    if (c->dir_fd >= 0)
        close(c->dir_fd);
    c2_free(c);
}
