/* SPDX-License-Identifier: MIT */
#include "tests/lib/http_fixture.h"

#include "base/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define REPLIES_MAX  256
#define REQUESTS_MAX 256
#define DRIP_NS      (2 * C2_NS_PER_MS)
#define READ_LEN     65536

struct conn {
    struct http_fixture *f;
    struct c2_link link;
    struct c2_fd_watch watch;
    struct c2_timer drip;
    struct c2_buf in;
    struct c2_buf out;
    size_t sent;
    const struct http_fixture_reply *reply; /* being sent, or NULL */
    size_t repeats_left;
};

struct http_fixture {
    struct c2_os *os;
    struct c2_fd_watch listener;
    struct c2_list conns;
    char url[64];
    struct http_fixture_reply replies[REPLIES_MAX];
    char *owned[REPLIES_MAX]; /* texts of http_fixture_answer, or NULL */
    size_t nreplies, next_reply;
    struct c2_buf requests[REQUESTS_MAX];
    size_t nrequests, nconnections;
};

static const struct http_fixture_reply out_of_script = {
    .text = "HTTP/1.1 500 Script ran out\r\nContent-Length: 0\r\n\r\n"
};

static void serve(struct conn *c);

static void
watch(struct conn *c, unsigned events)
{
    c->watch.events = events;
    if (c2_os_watch(c->f->os, &c->watch) != C2_E_OK)
        abort();
}

static void
conn_free(struct conn *c)
{
    c2_timer_stop(c2_os_env(c->f->os), &c->drip);
    c2_os_unwatch(c->f->os, &c->watch);
    close(c->watch.fd);
    c2_list_remove(&c->f->conns, &c->link);
    c2_buf_done(&c->in);
    c2_buf_done(&c->out);
    c2_free(c);
}

static void
conn_reset(struct conn *c)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };
    setsockopt(c->watch.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    conn_free(c);
}

/* Length of the first complete request in c->in, 0 = not yet. */
static size_t
request_len(struct conn *c)
{
    const char *text = c2_buf_cstr(&c->in);
    const char *end = strstr(text, "\r\n\r\n");
    if (end == NULL)
        return 0;
    size_t len = (size_t)(end - text) + 4;
    const char *header = strcasestr(text, "\r\nContent-Length:");
    if (header != NULL && header < end)
        len += strtoull(header + strlen("\r\nContent-Length:"), NULL, 10);
    return len <= c->in.len ? len : 0;
}

static void
start_reply(struct conn *c)
{
    struct http_fixture *f = c->f;
    c->reply = f->next_reply < f->nreplies ? &f->replies[f->next_reply++] : &out_of_script;
    c->repeats_left = c->reply->repeat != NULL ? c->reply->repeat_count : 0;
    c->sent = 0;
    c2_buf_clear(&c->out);
    const char *text = c->reply->text != NULL ? c->reply->text : "";
    c2_buf_append(&c->out, text, c->reply->text_len != 0 ? c->reply->text_len : strlen(text));
}

/* Puts more of `repeat` into the output; false when there is none. */
static bool
refill(struct conn *c)
{
    if (c->repeats_left == 0)
        return false;
    bool drip = (c->reply->flags & FIXTURE_DRIP) != 0;
    c2_buf_clear(&c->out);
    c->sent = 0;
    do {
        c2_buf_puts(&c->out, c->reply->repeat);
        if (c->repeats_left != SIZE_MAX)
            c->repeats_left--;
    } while (!drip && c->repeats_left > 0 && c->out.len < READ_LEN);
    return true;
}

static void
send_more(struct conn *c)
{
    size_t left = c->out.len - c->sent;
    if (left == 0)
        return;
    ssize_t n = send(c->watch.fd, c->out.data + c->sent, left, MSG_NOSIGNAL);
    if (n > 0)
        c->sent += (size_t)n;
    else if (errno != EAGAIN)
        c->sent = SIZE_MAX; /* the client is gone */
}

static void
drip_fires(struct c2_timer *t)
{
    struct conn *c = C2_CONTAINER_OF(t, struct conn, drip);
    if (refill(c))
        send_more(c);
    if (c->sent == SIZE_MAX)
        conn_free(c);
    else
        c2_timer_arm(c2_os_env(c->f->os), t, c2_now_ns(c2_os_env(c->f->os)) + DRIP_NS);
}

/* The first bytes are out: what comes behind them. */
static void
reply_sent(struct conn *c)
{
    if ((c->reply->flags & FIXTURE_DRIP) != 0) {
        watch(c, C2_FD_IN);
        c2_timer_arm(c2_os_env(c->f->os), &c->drip, c2_now_ns(c2_os_env(c->f->os)));
        return;
    }
    if (refill(c))
        return; /* the descriptor is still watched for output */
    if ((c->reply->flags & FIXTURE_CLOSE) != 0) {
        conn_free(c);
        return;
    }
    c->reply = NULL;
    watch(c, C2_FD_IN);
    serve(c);
}

/* Answers the next complete request, if no other is being answered. */
static void
serve(struct conn *c)
{
    struct http_fixture *f = c->f;
    size_t len = request_len(c);
    if (c->reply != NULL || len == 0)
        return;
    if (f->nrequests == REQUESTS_MAX)
        abort();
    c2_buf_append(&f->requests[f->nrequests++], c->in.data, len);
    memmove(c->in.data, c->in.data + len, c->in.len - len);
    c->in.len -= len;
    start_reply(c);
    if ((c->reply->flags & FIXTURE_RESET) != 0)
        conn_reset(c);
    else if ((c->reply->flags & FIXTURE_HANG) == 0)
        watch(c, C2_FD_OUT);
}

static void
conn_ready(struct c2_fd_watch *w, unsigned events)
{
    struct conn *c = C2_CONTAINER_OF(w, struct conn, watch);
    if ((events & C2_FD_OUT) != 0) {
        send_more(c);
        if (c->sent == SIZE_MAX)
            conn_free(c);
        else if (c->sent == c->out.len)
            reply_sent(c);
        return;
    }
    c2_buf_reserve(&c->in, READ_LEN);
    ssize_t n = recv(w->fd, c->in.data + c->in.len, READ_LEN, 0);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            conn_free(c);
        return;
    }
    c->in.len += (size_t)n;
    serve(c);
}

static void
listener_ready(struct c2_fd_watch *w, unsigned events)
{
    (void)events;
    struct http_fixture *f = C2_CONTAINER_OF(w, struct http_fixture, listener);
    int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    struct conn *c = c2_calloc(1, sizeof(*c));
    c->f = f;
    c->watch.fd = fd;
    c->watch.ready = conn_ready;
    c->drip.fire = drip_fires;
    c2_list_append(&f->conns, &c->link);
    f->nconnections++;
    watch(c, C2_FD_IN);
}

struct http_fixture *
http_fixture_new(struct c2_os *os)
{
    struct http_fixture *f = c2_calloc(1, sizeof(*f));
    struct sockaddr_in addr = { .sin_family = AF_INET };
    socklen_t len = sizeof(addr);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)(void *)&addr, sizeof(addr)) < 0 ||
        listen(fd, 16) < 0 || getsockname(fd, (struct sockaddr *)(void *)&addr, &len) < 0)
        abort();
    f->os = os;
    c2_list_init(&f->conns);
    snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%u", (unsigned)ntohs(addr.sin_port));
    f->listener = (struct c2_fd_watch){ .fd = fd, .events = C2_FD_IN, .ready = listener_ready };
    if (c2_os_watch(os, &f->listener) != C2_E_OK)
        abort();
    return f;
}

void
http_fixture_free(struct http_fixture *f)
{
    while (!c2_list_empty(&f->conns))
        conn_free(C2_LIST_FIRST(&f->conns, struct conn, link));
    c2_os_unwatch(f->os, &f->listener);
    close(f->listener.fd);
    for (size_t i = 0; i < REQUESTS_MAX; i++)
        c2_buf_done(&f->requests[i]);
    for (size_t i = 0; i < REPLIES_MAX; i++)
        c2_free(f->owned[i]);
    c2_free(f);
}

const char *
http_fixture_url(const struct http_fixture *f)
{
    return f->url;
}

void
http_fixture_script(struct http_fixture *f, const struct http_fixture_reply *replies, size_t count)
{
    if (f->nreplies + count > REPLIES_MAX)
        abort();
    memcpy(f->replies + f->nreplies, replies, count * sizeof(replies[0]));
    f->nreplies += count;
}

void
http_fixture_answer(struct http_fixture *f, const char *text)
{
    char *copy = c2_strdup(text);
    struct http_fixture_reply reply = { .text = copy };
    http_fixture_script(f, &reply, 1);
    f->owned[f->nreplies - 1] = copy;
}

size_t
http_fixture_connections(const struct http_fixture *f)
{
    return f->nconnections;
}

size_t
http_fixture_requests(const struct http_fixture *f)
{
    return f->nrequests;
}

const char *
http_fixture_request(struct http_fixture *f, size_t n)
{
    if (n >= f->nrequests)
        abort();
    return c2_buf_cstr(&f->requests[n]);
}

bool
http_fixture_saw(struct http_fixture *f, size_t n, const char *text)
{
    return strstr(http_fixture_request(f, n), text) != NULL;
}

size_t
http_fixture_left(const struct http_fixture *f)
{
    return f->nreplies - f->next_reply;
}
