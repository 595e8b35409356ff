/* SPDX-License-Identifier: MIT */
/*
 * A connection: reads until the end of the head of a request, answers, closes. What else the client
 * sends is not read.
 */
#include "base/os_metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/list.h"
#include "base/log.h"
#include "base/str.h"
#include "base/os_socket.h"

#define CONNECTIONS_MAX 8
#define REQUEST_MAX     4096u
#define DEADLINE_NS     (5 * C2_NS_PER_S)
#define ADDRESS_MAX     64

struct c2_os_metrics {
    struct c2_os *os; /* borrowed */
    void (*write)(void *arg, struct c2_buf *out);
    void *arg;
    uint64_t deadline_ns; /* of a request */
    int dir_fd;           /* the folder of a Unix socket, or -1 */
    char *name;           /* owned: the socket in it */
    struct c2_fd_watch listener;
    struct c2_list conns;
};

struct conn {
    struct c2_os_metrics *m;
    struct c2_link link;
    struct c2_fd_watch watch;
    struct c2_timer deadline;
    struct c2_buf in, out; /* out is filled once */
    size_t out_at;         /* sent so far */
};

static void
conn_free(struct conn *k)
{
    c2_timer_stop(c2_os_env(k->m->os), &k->deadline);
    c2_os_unwatch(k->m->os, &k->watch);
    close(k->watch.fd);
    c2_list_remove(&k->m->conns, &k->link);
    c2_buf_done(&k->in);
    c2_buf_done(&k->out);
    c2_free(k);
}

static void
conn_late(struct c2_timer *t)
{
    conn_free(C2_CONTAINER_OF(t, struct conn, deadline));
}

/* ---- answers --------------------------------------------------------------------------------- */

static void
flush_out(struct conn *k)
{
    enum c2_err err = c2_os_socket_send(k->watch.fd, c2_buf_slice(&k->out), &k->out_at);
    k->watch.events = C2_FD_OUT;
    if (err != C2_E_OK || k->out_at == k->out.len || c2_os_watch(k->m->os, &k->watch) != C2_E_OK)
        conn_free(k);
}

static void
answer(struct conn *k, const char *status, const char *type, struct c2_slice body)
{
    c2_buf_printf(&k->out,
                  "HTTP/1.1 %s\r\n"
                  "Content-Type: %s\r\n"
                  "Content-Length: %zu\r\n"
                  "Allow: GET\r\n"
                  "Connection: close\r\n"
                  "\r\n",
                  status, type, body.len);
    c2_buf_append(&k->out, body.data, body.len);
    flush_out(k);
}

static void
refuse(struct conn *k, const char *status)
{
    char *body = c2_asprintf("%s\n", status);
    answer(k, status, "text/plain", c2_slice_str(body));
    c2_free(body);
}

static void
answer_metrics(struct conn *k)
{
    struct c2_buf body = { 0 };
    k->m->write(k->m->arg, &body);
    answer(k, "200 OK", "text/plain; version=0.0.4; charset=utf-8", c2_buf_slice(&body));
    c2_buf_done(&body);
}

/* The request line: METHOD SP PATH[?QUERY] SP HTTP/1.x. */
static void
answer_request(struct conn *k, char *line)
{
    const char *method = strsep(&line, " ");
    char *path = strsep(&line, " ");
    if (path == NULL || line == NULL || strncmp(line, "HTTP/1.", 7) != 0) {
        refuse(k, "400 Bad Request");
        return;
    }
    path[strcspn(path, "?")] = '\0';
    if (strcmp(path, "/metrics") != 0)
        refuse(k, "404 Not Found");
    else if (strcmp(method, "GET") != 0)
        refuse(k, "405 Method Not Allowed");
    else
        answer_metrics(k);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void
conn_ready(struct c2_fd_watch *w, unsigned events)
{
    struct conn *k = C2_CONTAINER_OF(w, struct conn, watch);
    (void)events;
    if (k->out.len > 0) {
        flush_out(k);
        return;
    }
    uint8_t chunk[REQUEST_MAX];
    ssize_t n = recv(w->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        conn_free(k);
        return;
    }
    c2_buf_append(&k->in, chunk, (size_t)n);
    const char *end = memmem(k->in.data, k->in.len, "\r\n\r\n", 4);
    if (end == NULL ? k->in.len >= REQUEST_MAX
                    : end - (const char *)k->in.data > (ptrdiff_t)REQUEST_MAX - 4) {
        refuse(k, "431 Request Header Fields Too Large");
    } else if (end != NULL) {
        char *line = c2_strndup((const char *)k->in.data, k->in.len);
        line[strcspn(line, "\r")] = '\0';
        answer_request(k, line);
        c2_free(line);
    }
}

static void
listener_ready(struct c2_fd_watch *w, unsigned events)
{
    struct c2_os_metrics *m = C2_CONTAINER_OF(w, struct c2_os_metrics, listener);
    (void)events;
    int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (m->conns.count >= CONNECTIONS_MAX) {
        c2_log(DEBUG, "metrics", "connections=%zu a connection was refused", m->conns.count);
        close(fd);
        return;
    }
    struct c2_env *env = c2_os_env(m->os);
    struct conn *k = c2_calloc(1, sizeof(*k));
    k->m = m;
    k->watch = (struct c2_fd_watch){ .fd = fd, .events = C2_FD_IN, .ready = conn_ready };
    k->deadline.fire = conn_late;
    c2_list_append(&m->conns, &k->link);
    c2_timer_arm(env, &k->deadline, c2_now_ns(env) + m->deadline_ns);
    if (c2_os_watch(m->os, &k->watch) != C2_E_OK)
        conn_free(k);
}

/* ---- listening ------------------------------------------------------------------------------- */

union address {
    struct sockaddr any;
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;
};

/* False for what is not a loopback address and a port. */
static bool
parse_loopback(const char *text, union address *ret_address, socklen_t *ret_len)
{
    const char *colon = strrchr(text, ':');
    uint64_t port;
    if (colon == NULL || colon - text >= ADDRESS_MAX ||
        c2_u64_parse(c2_slice_str(colon + 1), UINT16_MAX, &port) != C2_E_OK || port == 0)
        return false;
    char host[ADDRESS_MAX] = { 0 };
    memcpy(host, text, (size_t)(colon - text));
    union address a = { 0 };
    if (strcmp(host, "[::1]") == 0) {
        a.in6.sin6_family = AF_INET6;
        a.in6.sin6_port = htons((uint16_t)port);
        a.in6.sin6_addr = in6addr_loopback;
        *ret_len = sizeof(a.in6);
    } else {
        a.in4.sin_family = AF_INET;
        a.in4.sin_port = htons((uint16_t)port);
        if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host,
                      &a.in4.sin_addr) != 1 ||
            ntohl(a.in4.sin_addr.s_addr) >> 24 != IN_LOOPBACKNET)
            return false;
        *ret_len = sizeof(a.in4);
    }
    *ret_address = a;
    return true;
}

static C2_RESULT
listen_tcp(const union address *a, socklen_t len, int *ret_fd)
{
    int on = 1;
    int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return c2_err_from_errno(errno);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, &a->any, len) != 0 || listen(fd, CONNECTIONS_MAX) != 0) {
        enum c2_err err = errno == EADDRINUSE ? C2_E_BUSY : c2_err_from_errno(errno);
        close(fd);
        return err;
    }
    *ret_fd = fd;
    return C2_E_OK;
}

static C2_RESULT
listen_unix(struct c2_os_metrics *m, const char *path, int *ret_fd)
{
    const char *slash = strrchr(path, '/');
    C2_ASSERT(slash != NULL);
    char *dir = c2_strndup(path, (size_t)(slash - path) + 1);
    m->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    enum c2_err err = m->dir_fd < 0 ? c2_err_from_errno(errno) : C2_E_OK;
    c2_free(dir);
    C2_TRY(err);
    C2_TRY(c2_os_socket_listen(m->dir_fd, slash + 1, CONNECTIONS_MAX, ret_fd));
    m->name = c2_strdup(slash + 1);
    return C2_E_OK;
}

static C2_RESULT
listen_at(struct c2_os_metrics *m, const char *text, char **ret_error)
{
    bool is_unix = strncmp(text, "unix:/", 6) == 0 && text[strlen(text) - 1] != '/';
    union address a;
    socklen_t len = 0;
    if (!is_unix && !parse_loopback(text, &a, &len)) {
        *ret_error = c2_asprintf("metrics = %s: want unix:/PATH, 127.0.0.1:PORT or [::1]:PORT\n"
                                 "hint: metrics are served without authentication, so on this "
                                 "machine only; to others through a server that asks for it",
                                 text);
        return C2_E_CONFIG;
    }
    int fd;
    enum c2_err err = is_unix ? listen_unix(m, text + 5, &fd) : listen_tcp(&a, len, &fd);
    if (err == C2_E_OK) {
        m->listener = (struct c2_fd_watch){ .fd = fd, .events = C2_FD_IN, .ready = listener_ready };
        err = c2_os_watch(m->os, &m->listener);
    }
    if (err == C2_E_BUSY)
        *ret_error = c2_asprintf("metrics = %s: another program serves this address", text);
    else if (err != C2_E_OK)
        *ret_error = c2_asprintf("metrics = %s: cannot listen: %s", text, c2_err_text(err));
    return err;
}

C2_RESULT
c2_os_metrics_open(struct c2_os *os, const char *address,
                   void (*write)(void *arg, struct c2_buf *out), void *arg,
                   struct c2_os_metrics **ret_metrics, char **ret_error)
{
    struct c2_os_metrics *m = c2_calloc(1, sizeof(*m));
    m->os = os;
    m->write = write;
    m->arg = arg;
    m->deadline_ns = DEADLINE_NS;
    m->dir_fd = -1;
    m->listener.fd = -1;
    c2_list_init(&m->conns);
    enum c2_err err = listen_at(m, address, ret_error);
    if (err == C2_E_OK)
        *ret_metrics = m;
    else
        c2_os_metrics_close(m);
    return err;
}

void
c2_os_metrics_set_deadline(struct c2_os_metrics *m, uint64_t ns)
{
    m->deadline_ns = ns;
}

void
c2_os_metrics_close(struct c2_os_metrics *m)
{
    if (m == NULL)
        return;
    struct conn *k;
    while ((k = C2_LIST_FIRST(&m->conns, struct conn, link)) != NULL)
        conn_free(k);
    if (m->listener.fd >= 0) {
        c2_os_unwatch(m->os, &m->listener);
        close(m->listener.fd);
    }
    if (m->name != NULL)
        (void)unlinkat(m->dir_fd, m->name, 0);
    if (m->dir_fd >= 0)
        close(m->dir_fd);
    c2_free(m->name);
    c2_free(m);
}
