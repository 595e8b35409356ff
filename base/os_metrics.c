/* SPDX-License-Identifier: MIT */
/*
 * A connection: reads until the empty line that ends a request, writes the answer, closes. At most
 * CLIENTS_MAX at once, CLIENT_NS each; a request has at most REQUEST_MAX bytes and is not looked
 * at.
 */
#include "base/os_metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/str.h"

#define CLIENTS_MAX 16
#define CLIENT_NS   (5 * C2_NS_PER_S)
#define REQUEST_MAX 8192

struct client {
    struct c2_link link;
    struct c2_os_metrics *m;
    struct c2_fd_watch watch;
    struct c2_timer timer;
    struct c2_buf in;
    struct c2_buf out;
    size_t sent;
};

struct c2_os_metrics {
    struct c2_os *os; /* borrowed */
    struct c2_fd_watch listener;
    char *path; /* owned; of a Unix socket */
    struct c2_list clients;
    void (*write)(void *arg, struct c2_buf *out);
    void *arg;
};

static void
end_client(struct client *c)
{
    struct c2_os_metrics *m = c->m;
    c2_list_remove(&m->clients, &c->link);
    c2_timer_stop(c2_os_env(m->os), &c->timer);
    c2_os_unwatch(m->os, &c->watch);
    close(c->watch.fd);
    c2_buf_done(&c->in);
    c2_buf_done(&c->out);
    c2_free(c);
}

static void
client_late(struct c2_timer *t)
{
    end_client(C2_CONTAINER_OF(t, struct client, timer));
}

static void
answer(struct client *c)
{
    struct c2_buf text = { 0 };
    c->m->write(c->m->arg, &text);
    c2_buf_printf(&c->out,
                  "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
                  "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                  text.len);
    c2_buf_append(&c->out, text.data, text.len);
    c2_buf_done(&text);
}

/* False: the client is gone. */
static bool
read_request(struct client *c)
{
    char buf[1024];
    ssize_t n = recv(c->watch.fd, buf, sizeof buf, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0 || c->in.len + (size_t)n > REQUEST_MAX)
        return false;
    c2_buf_append(&c->in, buf, (size_t)n);
    if (memmem(c->in.data, c->in.len, "\r\n\r\n", 4) == NULL &&
        memmem(c->in.data, c->in.len, "\n\n", 2) == NULL)
        return true;
    answer(c);
    c->watch.events = C2_FD_OUT;
    return c2_os_watch(c->m->os, &c->watch) == C2_E_OK;
}

static bool
write_answer(struct client *c)
{
    ssize_t n = send(c->watch.fd, c->out.data + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    c->sent += (size_t)n;
    return c->sent < c->out.len;
}

static void
client_ready(struct c2_fd_watch *w, unsigned events)
{
    struct client *c = C2_CONTAINER_OF(w, struct client, watch);
    bool more = (events & C2_FD_OUT) != 0 ? write_answer(c) : read_request(c);
    if (!more)
        end_client(c);
}

static void
listener_ready(struct c2_fd_watch *w, unsigned events)
{
    (void)events;
    struct c2_os_metrics *m = C2_CONTAINER_OF(w, struct c2_os_metrics, listener);
    int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (m->clients.count >= CLIENTS_MAX) /* the oldest has waited long enough */
        end_client(C2_LIST_FIRST(&m->clients, struct client, link));
    struct client *c = c2_calloc(1, sizeof *c);
    c->m = m;
    c->watch = (struct c2_fd_watch){ .fd = fd, .events = C2_FD_IN, .ready = client_ready };
    c->timer.fire = client_late;
    c2_list_append(&m->clients, &c->link);
    struct c2_env *e = c2_os_env(m->os);
    c2_timer_arm(e, &c->timer, c2_now_ns(e) + CLIENT_NS);
    if (c2_os_watch(m->os, &c->watch) != C2_E_OK)
        end_client(c);
}

/* ---- listening ------------------------------------------------------------------------------- */

union any_address {
    struct sockaddr any;
    struct sockaddr_un un;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

static C2_RESULT
parse_inet(const char *address, union any_address *ret, socklen_t *ret_len)
{
    char host[64];
    uint64_t port = 0;
    const char *colon = strrchr(address, ':');
    if (colon == NULL || (size_t)(colon - address) >= sizeof host)
        return C2_E_INVALID;
    bool v6 = address[0] == '[' && colon[-1] == ']';
    size_t len = (size_t)(colon - address) - (v6 ? 2 : 0);
    memcpy(host, address + v6, len);
    host[len] = '\0';
    C2_TRY(c2_u64_parse(c2_slice_str(colon + 1), UINT16_MAX, &port));
    memset(ret, 0, sizeof *ret);
    if (v6) {
        ret->in6.sin6_family = AF_INET6;
        ret->in6.sin6_port = htons((uint16_t)port);
        *ret_len = sizeof ret->in6;
        bool good = inet_pton(AF_INET6, host, &ret->in6.sin6_addr) == 1 &&
                    IN6_IS_ADDR_LOOPBACK(&ret->in6.sin6_addr);
        return good ? C2_E_OK : C2_E_INVALID;
    }
    ret->in.sin_family = AF_INET;
    ret->in.sin_port = htons((uint16_t)port);
    *ret_len = sizeof ret->in;
    bool good = inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host,
                          &ret->in.sin_addr) == 1 &&
                ntohl(ret->in.sin_addr.s_addr) >> 24 == 127;
    return good ? C2_E_OK : C2_E_INVALID;
}

static C2_RESULT
parse_unix(const char *path, union any_address *ret, socklen_t *ret_len)
{
    if (strlen(path) >= sizeof ret->un.sun_path || path[0] == '\0')
        return C2_E_INVALID;
    memset(ret, 0, sizeof *ret);
    ret->un.sun_family = AF_UNIX;
    memcpy(ret->un.sun_path, path, strlen(path));
    *ret_len = sizeof ret->un;
    return C2_E_OK;
}

static C2_RESULT
open_listener(struct c2_os_metrics *m, const union any_address *a, socklen_t len)
{
    int on = 1;
    int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return c2_err_from_errno(errno);
    m->listener.fd = fd;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct stat st;
    if (m->path != NULL && stat(m->path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(m->path); /* of a process that was killed */
    mode_t mask = umask(0077);
    int rc = bind(fd, &a->any, len);
    umask(mask);
    if (rc != 0 || listen(fd, CLIENTS_MAX) != 0)
        return c2_err_from_errno(errno);
    m->listener.events = C2_FD_IN;
    m->listener.ready = listener_ready;
    return c2_os_watch(m->os, &m->listener);
}

C2_RESULT
c2_os_metrics_open(struct c2_os *os, const char *address,
                   void (*write)(void *arg, struct c2_buf *out), void *arg,
                   struct c2_os_metrics **ret_metrics, char **ret_error)
{
    union any_address a;
    socklen_t len = 0;
    bool local = strncmp(address, "unix:", 5) == 0;
    enum c2_err err = local ? parse_unix(address + 5, &a, &len) : parse_inet(address, &a, &len);
    if (err != C2_E_OK) {
        *ret_error =
            c2_asprintf("metrics = %s is neither unix:PATH nor a loopback ADDRESS:PORT", address);
        return C2_E_CONFIG;
    }
    struct c2_os_metrics *m = c2_calloc(1, sizeof *m);
    m->os = os;
    m->listener.fd = -1;
    m->write = write;
    m->arg = arg;
    m->path = local ? c2_strdup(address + 5) : NULL;
    c2_list_init(&m->clients);
    err = open_listener(m, &a, len);
    if (err != C2_E_OK) {
        *ret_error = c2_asprintf("cannot serve metrics at %s: %s", address, c2_err_text(err));
        c2_os_metrics_close(m);
        return err;
    }
    *ret_metrics = m;
    return C2_E_OK;
}

void
c2_os_metrics_close(struct c2_os_metrics *m)
{
    if (m == NULL)
        return;
    while (!c2_list_empty(&m->clients))
        end_client(C2_LIST_FIRST(&m->clients, struct client, link));
    c2_os_unwatch(m->os, &m->listener);
    if (m->listener.fd >= 0)
        close(m->listener.fd);
    if (m->path != NULL)
        unlink(m->path);
    c2_free(m->path);
    c2_free(m);
}
