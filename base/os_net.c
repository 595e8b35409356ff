/* SPDX-License-Identifier: MIT */
/*
 * How links begin and end.
 *
 *   dialled:  WAITING ─► RESOLVING ─► CONNECTING ─► HANDSHAKE ─► ADMISSION ─► UP
 *                ▲ back-off  │              │             │            │        │
 *                └───────────┴──────────────┴─────────────┴────────────┴────────┘ any failure
 *
 *   accepted: HANDSHAKE ─► UP ─► CLOSED     (a stranger goes from HANDSHAKE to CLOSED)
 *
 * Strangers cost little: each state but UP has a deadline, there are at most STRANGERS_MAX
 * connections whose owner is not known yet, and the oldest of them makes room for a new one, so
 * that many half-open connections cannot lock out a peer that is quick (os_net_accept.c).
 */
#include "base/os_net.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/os_env.h"
#include "base/os_net_impl.h"

#define LISTEN_BACKLOG 256
#define ADDRESSES_MAX  8
#define HOST_MAX       256
#define STEADY         4 /* a link that is up for so many times its back-off begins anew with it */

static const struct c2_sm_state link_states[] = {
    [OS_LINK_WAITING] = { "waiting", C2_SM_TO(OS_LINK_RESOLVING) | C2_SM_TO(OS_LINK_CLOSED) },
    [OS_LINK_RESOLVING] = { "resolving", C2_SM_TO(OS_LINK_CONNECTING) | C2_SM_TO(OS_LINK_WAITING) |
                                             C2_SM_TO(OS_LINK_CLOSED) },
    [OS_LINK_CONNECTING] = { "connecting", C2_SM_TO(OS_LINK_HANDSHAKE) | C2_SM_TO(OS_LINK_WAITING) |
                                               C2_SM_TO(OS_LINK_CLOSED) },
    [OS_LINK_HANDSHAKE] = { "handshake", C2_SM_TO(OS_LINK_ADMISSION) | C2_SM_TO(OS_LINK_UP) |
                                             C2_SM_TO(OS_LINK_WAITING) | C2_SM_TO(OS_LINK_CLOSED) },
    [OS_LINK_ADMISSION] = { "admission", C2_SM_TO(OS_LINK_UP) | C2_SM_TO(OS_LINK_WAITING) |
                                             C2_SM_TO(OS_LINK_CLOSED) },
    [OS_LINK_UP] = { "up", C2_SM_TO(OS_LINK_WAITING) | C2_SM_TO(OS_LINK_CLOSED) },
    [OS_LINK_CLOSED] = { "closed", 0 },
};

static struct os_net *
net_of(struct c2_net *n)
{
    return C2_CONTAINER_OF(n, struct os_net, base);
}

static void
arm(struct os_link *l, uint64_t ns)
{
    struct c2_env *e = l->net->base.env;
    c2_timer_arm(e, &l->timer, c2_now_ns(e) + ns);
}

/* ---- addresses ------------------------------------------------------------------------------- */

/* The lookup runs on the pool; a link that goes away meanwhile leaves it alone. */
struct os_resolve {
    struct c2_work work;
    struct os_link *link; /* NULL when it is gone */
    char host[HOST_MAX];
    char port[8];
    bool passive;
    bool busy;
    enum c2_err err;
    size_t count;
    struct sockaddr_storage addresses[ADDRESSES_MAX];
    socklen_t lens[ADDRESSES_MAX];
};

static C2_RESULT
split_address(const char *address, struct os_resolve *r)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL)
        return C2_E_INVALID;
    size_t host_len = (size_t)(colon - address);
    size_t port_len = strlen(colon + 1);
    if (host_len >= 2 && address[0] == '[' && colon[-1] == ']') {
        address++;
        host_len -= 2;
    }
    if (host_len == 0 || host_len >= sizeof r->host || port_len == 0 ||
        port_len >= sizeof r->port || strspn(colon + 1, "0123456789") != port_len)
        return C2_E_INVALID;
    memcpy(r->host, address, host_len);
    memcpy(r->port, colon + 1, port_len);
    return C2_E_OK;
}

static void
look_up(struct os_resolve *r, int flags)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    hints.ai_flags = flags | AI_NUMERICSERV | (r->passive ? AI_PASSIVE : 0);
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(r->host, r->port, &hints, &list);
    r->err = rc == 0 ? C2_E_OK : C2_E_UNREACHABLE;
    r->count = 0;
    for (const struct addrinfo *a = list; rc == 0 && a != NULL; a = a->ai_next) {
        if (r->count == ADDRESSES_MAX || a->ai_addrlen > sizeof r->addresses[0])
            break;
        memcpy(&r->addresses[r->count], a->ai_addr, a->ai_addrlen);
        r->lens[r->count++] = a->ai_addrlen;
    }
    if (rc == 0)
        freeaddrinfo(list);
}

static void
resolve_run(struct c2_work *w)
{
    look_up(C2_CONTAINER_OF(w, struct os_resolve, work), 0);
}

static void try_address(struct os_link *l);

static void
resolve_done(struct c2_work *w)
{
    struct os_resolve *r = C2_CONTAINER_OF(w, struct os_resolve, work);
    r->busy = false;
    if (r->link == NULL) {
        c2_free(r);
        return;
    }
    try_address(r->link);
}

static void
forget_addresses(struct os_link *l)
{
    struct os_resolve *r = l->resolve;
    l->resolve = NULL;
    if (r != NULL && r->busy) {
        r->link = NULL;
    } else {
        c2_free(r);
    }
}

/* Numbers need no lookup; names are asked for anew once every address has been tried. */
static void
resolve(struct os_link *l)
{
    c2_sm_go(&l->sm, OS_LINK_RESOLVING);
    if (l->resolve != NULL) {
        try_address(l);
        return;
    }
    struct os_resolve *r = c2_calloc(1, sizeof *r);
    r->link = l;
    l->resolve = r;
    l->next_address = 0;
    if (split_address(l->address, r) != C2_E_OK) {
        forget_addresses(l);
        os_link_fail(l, C2_E_INVALID);
        return;
    }
    look_up(r, AI_NUMERICHOST);
    if (r->err == C2_E_OK) {
        try_address(l);
        return;
    }
    r->busy = true;
    r->work.run = resolve_run;
    r->work.done = resolve_done;
    c2_work(l->net->base.env, &r->work);
}

/* ---- connections ----------------------------------------------------------------------------- */

void
os_net_set_options(int fd, const struct c2_os_net_options *o)
{
    int on = 1;
    unsigned ms = (unsigned)C2_MIN(o->dead_ns / C2_NS_PER_MS, 1000000ull);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
}

void
os_link_shake_hands(struct os_link *l)
{
    c2_sm_go(&l->sm, OS_LINK_HANDSHAKE);
    l->tls = c2_tls_new(l->net->tls, l->watch.fd, l->base.dialled,
                        l->base.dialled ? l->base.peer : NULL);
    arm(l, l->net->opts.setup_ns);
}

static void
try_address(struct os_link *l)
{
    struct os_resolve *r = l->resolve;
    if (r->err != C2_E_OK || l->next_address >= r->count) {
        enum c2_err err = r->err != C2_E_OK || r->count == 0 ? C2_E_UNREACHABLE : l->base.error;
        forget_addresses(l);
        os_link_fail(l, err);
        return;
    }
    size_t i = l->next_address++;
    c2_sm_go(&l->sm, OS_LINK_CONNECTING);
    int fd = socket(r->addresses[i].ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        os_link_fail(l, c2_err_from_errno(errno));
        return;
    }
    os_net_set_options(fd, &l->net->opts);
    l->watch.fd = fd;
    const struct sockaddr *address = (const struct sockaddr *)&r->addresses[i];
    if (connect(fd, address, r->lens[i]) != 0 && errno != EINPROGRESS) {
        os_link_fail(l, c2_err_from_errno(errno));
        return;
    }
    arm(l, l->net->opts.setup_ns);
    os_link_update(l);
}

static void
connected(struct os_link *l)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(l->watch.fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error != 0) {
        os_link_fail(l, c2_err_from_errno(error));
        return;
    }
    os_link_shake_hands(l);
}

/* The peer has proved who it is: does anybody here know it? */
static C2_RESULT
admit(struct os_link *l)
{
    struct os_net *n = l->net;
    memcpy(l->base.peer, c2_tls_peer(l->tls), sizeof l->base.peer);
    if (!n->how.admit(n->how.arg, l->base.peer, &l->as))
        return C2_E_AUTH;
    C2_ASSERT(l->as.events != NULL && l->as.frame_max <= C2_NET_FRAME_MAX);
    l->base.events = l->as.events;
    l->base.user = l->as.user;
    struct os_link *oldest = NULL;
    unsigned same = 0;
    C2_LIST_FOREACH (&n->links, struct os_link, o, link) {
        if (o == l || o->base.dialled || !o->base.up ||
            memcmp(o->base.peer, l->base.peer, sizeof l->base.peer) != 0)
            continue;
        oldest = oldest == NULL ? o : oldest;
        same++;
    }
    if (l->as.links_max != 0 && same >= l->as.links_max) {
        C2_MARK("net: an older link of the same peer ends");
        os_link_fail(oldest, C2_E_EXISTS);
    }
    return C2_E_OK;
}

static void
shake_hands(struct os_link *l)
{
    unsigned events = 0;
    uint64_t since_ns = c2_os_cpu_ns();
    enum c2_err err = c2_tls_handshake(l->tls, &events);
    if (!l->base.dialled)
        os_net_charge(l->net, c2_os_cpu_ns() - since_ns);
    if (err == C2_E_AGAIN) {
        l->wants_out = events == C2_FD_OUT;
        os_link_update(l);
        return;
    }
    l->wants_out = false;
    if (err == C2_E_OK && !l->base.dialled)
        err = admit(l);
    if (err != C2_E_OK) {
        os_link_fail(l, err);
        return;
    }
    if (l->base.dialled) {
        c2_sm_go(&l->sm, OS_LINK_ADMISSION);
        arm(l, l->net->opts.setup_ns);
        os_link_move(l, C2_FD_IN);
    } else {
        os_link_ping(l);
        os_link_up(l);
    }
}

static void
link_ready(struct c2_fd_watch *w, unsigned events)
{
    struct os_link *l = C2_CONTAINER_OF(w, struct os_link, watch);
    if (l->sm.state == OS_LINK_CONNECTING)
        connected(l);
    if (l->sm.state == OS_LINK_HANDSHAKE)
        shake_hands(l);
    else if (l->sm.state == OS_LINK_ADMISSION || l->sm.state == OS_LINK_UP)
        os_link_move(l, events);
}

static void
link_timer(struct c2_timer *t)
{
    struct os_link *l = C2_CONTAINER_OF(t, struct os_link, timer);
    if (l->sm.state == OS_LINK_WAITING)
        resolve(l);
    else if (l->sm.state == OS_LINK_UP)
        os_link_tick(l);
    else
        os_link_fail(l, C2_E_TIMEOUT);
}

/* The net may be gone. */
static void
link_free(struct os_link *l)
{
    c2_buf_done(&l->in);
    c2_buf_done(&l->out);
    c2_free(l->address);
    c2_free(l);
}

static void
link_task(struct c2_task *t)
{
    struct os_link *l = C2_CONTAINER_OF(t, struct os_link, task);
    if (l->sm.state == OS_LINK_UP) {
        os_link_move(l, C2_FD_IN | C2_FD_OUT);
    } else if (l->sm.state == OS_LINK_CLOSED) {
        if (l->net != NULL)
            c2_list_remove(&l->net->closed, &l->link);
        link_free(l);
    }
}

struct os_link *
os_link_new(struct os_net *n, bool dialled)
{
    struct os_link *l = c2_calloc(1, sizeof *l);
    os_link_init(l, n);
    l->base.dialled = dialled;
    l->watch.ready = link_ready;
    l->timer.fire = link_timer;
    l->task.run = link_task;
    c2_sm_init(&l->sm, link_states, dialled ? OS_LINK_WAITING : OS_LINK_CONNECTING);
    c2_list_append(&n->links, &l->link);
    return l;
}

static void
drop_connection(struct os_link *l)
{
    l->base.up = false;
    c2_timer_stop(l->net->base.env, &l->timer);
    c2_os_unwatch(l->net->os, &l->watch);
    c2_tls_free(l->tls);
    l->tls = NULL;
    if (l->watch.fd >= 0)
        close(l->watch.fd);
    l->watch.fd = -1;
    os_link_reset(l);
}

void
os_link_close(struct os_link *l)
{
    struct os_net *n = l->net;
    if (l->sm.state == OS_LINK_CLOSED)
        return;
    os_link_flush(l);
    drop_connection(l);
    forget_addresses(l);
    if (!l->base.dialled)
        n->naccepted--;
    c2_sm_go(&l->sm, OS_LINK_CLOSED);
    c2_list_remove(&n->links, &l->link);
    c2_list_append(&n->closed, &l->link);
    c2_defer(n->base.env, &l->task);
}

/* Doubled from try to try, with a random part, so that many peers do not come at once. */
static void
back_off(struct os_link *l)
{
    const struct c2_os_net_options *o = &l->net->opts;
    uint64_t jitter = 0;
    c2_random(l->net->base.env, &jitter, sizeof jitter);
    l->backoff_ns = C2_MIN(C2_MAX(l->backoff_ns * 2, o->backoff_min_ns), o->backoff_max_ns);
    arm(l, l->backoff_ns / 2 + jitter % (l->backoff_ns / 2 + 1));
}

void
os_link_fail(struct os_link *l, enum c2_err why)
{
    bool was_up = l->base.up;
    uint64_t up_ns = was_up ? c2_now_ns(l->net->base.env) - l->up_at_ns : 0;
    l->base.error = why;
    l->backoff_ns -= C2_MIN(l->backoff_ns, up_ns / STEADY); /* ended soon again, it waits longer */
    if (l->base.dialled) {
        drop_connection(l);
        c2_sm_go(&l->sm, OS_LINK_WAITING);
        back_off(l);
    } else {
        os_link_close(l);
    }
    c2_log(DEBUG, "net", "dialled=%d was_up=%d err=%s", l->base.dialled, was_up, c2_err_name(why));
    if (was_up)
        l->base.events->down(&l->base, why);
}

/* ---- listening ------------------------------------------------------------------------------- */

static C2_RESULT
open_listener(struct os_net *n, const struct os_resolve *r)
{
    int on = 1;
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    const struct sockaddr *address = (const struct sockaddr *)&r->addresses[0];
    int fd = socket(r->addresses[0].ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return c2_err_from_errno(errno);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address, r->lens[0]) != 0 || listen(fd, LISTEN_BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&bound, &len) != 0) {
        enum c2_err err = errno == EADDRINUSE ? C2_E_EXISTS : c2_err_from_errno(errno);
        close(fd);
        return err;
    }
    /* The port is at the same place in both families. */
    uint16_t port;
    memcpy(&port, (const char *)&bound + 2, sizeof port);
    n->base.port = (uint16_t)(port >> 8 | port << 8);
    n->listener.fd = fd;
    return C2_E_OK;
}

static C2_RESULT
os_net_listen(struct c2_net *base, const struct c2_net_listen *how)
{
    struct os_net *n = net_of(base);
    C2_ASSERT(n->listener.fd < 0 && how->admit != NULL && how->links_max > 0);
    C2_AUTO(c2_free_auto) struct os_resolve *r = c2_calloc(1, sizeof *r);
    C2_TRY(split_address(how->address, r));
    r->passive = true;
    look_up(r, 0);
    C2_TRY(r->err);
    C2_TRY(open_listener(n, r));
    n->how = *how;
    n->how.address = NULL;
    n->listener.events = C2_FD_IN;
    n->listener.ready = os_net_accept;
    return c2_os_watch(n->os, &n->listener);
}

/* ---- the net --------------------------------------------------------------------------------- */

static struct c2_net_link *
os_net_dial(struct c2_net *base, const struct c2_net_dial *d)
{
    struct os_net *n = net_of(base);
    C2_ASSERT(d->as.events != NULL && d->as.frame_max <= C2_NET_FRAME_MAX);
    struct os_link *l = os_link_new(n, true);
    l->as = d->as;
    l->base.events = d->as.events;
    l->base.user = d->as.user;
    memcpy(l->base.peer, d->peer, sizeof l->base.peer);
    l->address = c2_strdup(d->address);
    arm(l, 0);
    return &l->base;
}

static void
os_net_close(struct c2_net_link *l)
{
    os_link_close(os_link_of(l));
}

static void
os_net_free(struct c2_net *base)
{
    struct os_net *n = net_of(base);
    while (!c2_list_empty(&n->links))
        os_link_close(C2_LIST_FIRST(&n->links, struct os_link, link));
    while (!c2_list_empty(&n->closed)) { /* each has a task that frees it */
        struct os_link *l = C2_LIST_FIRST(&n->closed, struct os_link, link);
        c2_list_remove(&n->closed, &l->link);
        l->net = NULL;
    }
    c2_timer_stop(n->base.env, &n->rest);
    c2_os_unwatch(n->os, &n->listener);
    if (n->listener.fd >= 0)
        close(n->listener.fd);
    c2_tls_context_free(n->tls);
    c2_free(n);
}

static const struct c2_net_ops os_net_ops = {
    .listen = os_net_listen,
    .dial = os_net_dial,
    .send = os_link_send,
    .pause = os_link_pause,
    .close = os_net_close,
    .free = os_net_free,
};

C2_RESULT
c2_os_net_new(struct c2_os *os, const struct c2_os_net_options *o, struct c2_net **ret_net)
{
    struct c2_tls_context *tls = NULL;
    C2_TRY(c2_tls_context_new(o->secret, o->protocol, &tls));
    struct os_net *n = c2_calloc(1, sizeof *n);
    n->base.ops = &os_net_ops;
    n->base.env = c2_os_env(os);
    n->os = os;
    n->tls = tls;
    n->opts = *o;
    n->opts.secret = NULL;
    n->opts.protocol = NULL;
    n->opts.ping_ns = n->opts.ping_ns != 0 ? n->opts.ping_ns : C2_NS_PER_S;
    n->opts.dead_ns = n->opts.dead_ns != 0 ? n->opts.dead_ns : 5 * C2_NS_PER_S;
    n->opts.setup_ns = n->opts.setup_ns != 0 ? n->opts.setup_ns : 5 * C2_NS_PER_S;
    n->opts.frame_ns = n->opts.frame_ns != 0 ? n->opts.frame_ns : 60 * C2_NS_PER_S;
    n->opts.backoff_min_ns =
        n->opts.backoff_min_ns != 0 ? n->opts.backoff_min_ns : 50 * C2_NS_PER_MS;
    n->opts.backoff_max_ns = n->opts.backoff_max_ns != 0 ? n->opts.backoff_max_ns : 5 * C2_NS_PER_S;
    c2_list_init(&n->links);
    c2_list_init(&n->closed);
    n->listener.fd = -1;
    n->rest.fire = os_net_accept_again;
    *ret_net = &n->base;
    return C2_E_OK;
}
