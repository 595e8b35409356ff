/* SPDX-License-Identifier: MIT */
/*
 * Who is let in to shake hands, and how fast.
 *
 * At most STRANGERS_MAX connections belong to somebody who has not said who it is; the oldest of
 * them makes room for a new one. A hello costs its sender nothing and makes us sign: accepting
 * connections and shaking hands on them get one part in ACCEPT_SHARE of a processor, and
 * ACCEPT_BURST_NS of its time in a row. Then nobody is accepted until that is paid; meanwhile the
 * kernel lets LISTEN_BACKLOG wait, in the order in which they came.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mark.h"
#include "base/os_env.h"
#include "base/os_net_impl.h"

#define STRANGERS_MAX   128
#define ACCEPT_MAX      16 /* per turn of the loop */
#define ACCEPT_SHARE    8
#define ACCEPT_BURST_NS (16 * C2_NS_PER_MS)
#define REST_NS         (100 * C2_NS_PER_MS)

void
os_net_charge(struct os_net *n, uint64_t cpu_ns)
{
    n->paid_ns = C2_MAX(n->paid_ns, c2_now_ns(n->base.env)) + cpu_ns * ACCEPT_SHARE;
}

static void
make_room(struct os_net *n)
{
    struct os_link *oldest = NULL;
    unsigned strangers = 0;
    C2_LIST_FOREACH (&n->links, struct os_link, l, link) {
        if (l->base.dialled || l->base.up)
            continue;
        oldest = oldest == NULL ? l : oldest;
        strangers++;
    }
    if (oldest != NULL && (strangers >= STRANGERS_MAX || n->naccepted >= n->how.links_max)) {
        C2_MARK("net: the oldest stranger makes room");
        os_link_fail(oldest, C2_E_TIMEOUT);
    }
}

static void
accepted(struct os_net *n, int fd)
{
    make_room(n);
    if (n->naccepted >= n->how.links_max) {
        C2_MARK("net: too many links");
        close(fd);
        return;
    }
    os_net_set_options(fd, &n->opts);
    struct os_link *l = os_link_new(n, false);
    n->naccepted++;
    l->watch.fd = fd;
    os_link_shake_hands(l);
    os_link_update(l);
}

static void
pause_listener(struct os_net *n, uint64_t until_ns)
{
    c2_os_unwatch(n->os, &n->listener);
    c2_timer_arm(n->base.env, &n->rest, until_ns);
}

/* False: nobody waits any more, or nobody can be let in. */
static bool
accept_one(struct os_net *n)
{
    uint64_t since_ns = c2_os_cpu_ns();
    int fd = accept4(n->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        accepted(n, fd);
        os_net_charge(n, c2_os_cpu_ns() - since_ns);
        return true;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        c2_log(WARN, "net", "cannot accept connections: no descriptors left, resting");
        pause_listener(n, c2_now_ns(n->base.env) + REST_NS);
    }
    return false;
}

void
os_net_accept(struct c2_fd_watch *w, unsigned events)
{
    (void)events;
    struct os_net *n = C2_CONTAINER_OF(w, struct os_net, listener);
    for (unsigned i = 0; i < ACCEPT_MAX; i++) {
        if (n->paid_ns > c2_now_ns(n->base.env) + ACCEPT_BURST_NS) {
            C2_MARK("net: accepting has had its share");
            pause_listener(n, n->paid_ns - ACCEPT_BURST_NS);
            return;
        }
        if (!accept_one(n))
            return;
    }
}

void
os_net_accept_again(struct c2_timer *t)
{
    struct os_net *n = C2_CONTAINER_OF(t, struct os_net, rest);
    if (c2_os_watch(n->os, &n->listener) != C2_E_OK)
        c2_timer_arm(n->base.env, &n->rest, c2_now_ns(n->base.env) + REST_NS);
}
