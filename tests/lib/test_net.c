/* SPDX-License-Identifier: MIT */
/*
 * The network of test_net.h. A connection is a pair of links that know each other; a message is a
 * deferred task. A dialled link connects in the next turn, whatever the other end is doing; one
 * that is not connected tries again every RETRY_NS, and as soon as somebody listens.
 */
#include "tests/lib/test_net.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define RETRY_NS   (50 * C2_NS_PER_MS)
#define NUMBER_MAX 256

struct test_net;

struct test_link {
    struct c2_net_link base;
    struct c2_link link; /* of the net */
    struct test_net *net;
    struct test_link *other; /* NULL = not connected */
    struct c2_net_admission as;
    char *address; /* of a dialled one */
    struct c2_timer retry;
    struct c2_list inbox; /* struct parcel */
    struct c2_task task;
    bool paused, closed;
    bool dial_due; /* was never tried */
    bool down_due; /* the connection has ended, after what is in the inbox */
    bool refused;  /* something was BUSY since its queue is full */
};

struct parcel {
    struct c2_link link;
    struct c2_blob *m;
};

struct test_net {
    struct c2_net base;
    struct c2_link link; /* of the hub */
    struct test_hub *hub;
    unsigned number;
    uint8_t key[C2_NET_KEY_LEN];
    char *address; /* where it listens */
    struct c2_net_listen how;
    struct c2_list links;
    struct c2_list closed;
};

struct test_hub {
    struct c2_env *env;
    struct c2_list nets;
    bool cut[NUMBER_MAX][NUMBER_MAX];
    bool full[NUMBER_MAX][NUMBER_MAX]; /* from, to */
    bool (*filter)(void *arg, unsigned from, unsigned to, struct c2_slice m);
    void *filter_arg;
    uint16_t next_port;
};

static void link_run(struct c2_task *t);
static void link_retry(struct c2_timer *t);

static struct test_net *
net_of(struct c2_net *n)
{
    return C2_CONTAINER_OF(n, struct test_net, base);
}

static struct test_link *
link_of(struct c2_net_link *l)
{
    return C2_CONTAINER_OF(l, struct test_link, base);
}

static struct test_link *
link_new(struct test_net *n)
{
    struct test_link *l = c2_calloc(1, sizeof *l);
    l->base.net = &n->base;
    l->net = n;
    l->task.run = link_run;
    l->retry.fire = link_retry;
    c2_list_init(&l->inbox);
    c2_list_append(&n->links, &l->link);
    return l;
}

static void
empty_inbox(struct test_link *l)
{
    C2_LIST_FOREACH (&l->inbox, struct parcel, p, link) {
        c2_list_remove(&l->inbox, &p->link);
        c2_blob_unref(p->m);
        c2_free(p);
    }
}

/* The other end hears of it after what is on its way. */
static void
disconnect(struct test_link *l)
{
    struct test_link *o = l->other;
    l->other = NULL;
    l->base.up = false;
    if (o != NULL) {
        o->other = NULL;
        o->down_due = true;
        c2_defer(o->net->base.env, &o->task);
    }
}

static void
close_link(struct test_link *l)
{
    if (l->closed)
        return;
    l->closed = true;
    disconnect(l);
    empty_inbox(l);
    c2_timer_stop(l->net->base.env, &l->retry);
    c2_list_remove(&l->net->links, &l->link);
    c2_list_append(&l->net->closed, &l->link);
    c2_defer(l->net->base.env, &l->task);
}

static void
go_down(struct test_link *l)
{
    bool was_up = l->base.up;
    empty_inbox(l);
    l->down_due = l->paused = l->refused = false;
    l->base.up = false;
    l->base.error = C2_E_UNREACHABLE;
    if (l->base.dialled)
        c2_timer_arm(l->net->base.env, &l->retry, c2_now_ns(l->net->base.env) + RETRY_NS);
    else
        close_link(l);
    if (was_up)
        l->base.events->down(&l->base, C2_E_UNREACHABLE);
}

static void
link_run(struct c2_task *t)
{
    struct test_link *l = C2_CONTAINER_OF(t, struct test_link, task);
    if (l->closed) {
        if (l->net != NULL)
            c2_list_remove(&l->net->closed, &l->link);
        c2_free(l->address);
        c2_free(l);
        return;
    }
    if (l->dial_due && !l->base.up && !l->down_due) {
        l->dial_due = false;
        c2_timer_stop(l->net->base.env, &l->retry);
        link_retry(&l->retry);
    } else if (l->refused && l->other != NULL &&
               !l->net->hub->full[l->net->number][l->other->net->number]) {
        l->refused = false;
        c2_defer(l->net->base.env, &l->task);
        if (l->base.events->writable != NULL)
            l->base.events->writable(&l->base);
    } else if (!c2_list_empty(&l->inbox) && l->base.up && !l->paused) {
        struct parcel *p = C2_LIST_FIRST(&l->inbox, struct parcel, link);
        struct c2_blob *m = p->m;
        c2_list_remove(&l->inbox, &p->link);
        c2_free(p);
        if (!c2_list_empty(&l->inbox) || l->down_due)
            c2_defer(l->net->base.env, &l->task);
        l->base.got_bytes += m->len;
        l->base.events->message(&l->base, c2_blob_slice(m));
        c2_blob_unref(m);
    } else if (l->down_due) {
        go_down(l);
    }
}

static struct test_net *
find_listener(struct test_hub *h, const char *address)
{
    C2_LIST_FOREACH (&h->nets, struct test_net, n, link) {
        if (n->address != NULL && strcmp(n->address, address) == 0)
            return n;
    }
    return NULL;
}

static bool
connect_to(struct test_link *l)
{
    struct test_hub *h = l->net->hub;
    struct test_net *n = find_listener(h, l->address);
    struct c2_net_admission as;
    if (n == NULL || h->cut[n->number][l->net->number] ||
        memcmp(n->key, l->base.peer, sizeof n->key) != 0 ||
        !n->how.admit(n->how.arg, l->net->key, &as))
        return false;
    struct test_link *o = link_new(n);
    o->as = as;
    o->base.events = as.events;
    o->base.user = as.user;
    memcpy(o->base.peer, l->net->key, sizeof o->base.peer);
    o->other = l;
    l->other = o;
    o->base.up = l->base.up = true;
    if (o->base.events->up != NULL)
        o->base.events->up(&o->base);
    if (l->base.up && l->base.events->up != NULL)
        l->base.events->up(&l->base);
    return true;
}

static void
link_retry(struct c2_timer *t)
{
    struct test_link *l = C2_CONTAINER_OF(t, struct test_link, retry);
    if (connect_to(l))
        return;
    l->base.error = C2_E_UNREACHABLE;
    c2_timer_arm(l->net->base.env, &l->retry, c2_now_ns(l->net->base.env) + RETRY_NS);
}

static void
deliver(struct test_link *to, struct c2_blob *m)
{
    struct parcel *p = c2_calloc(1, sizeof *p);
    p->m = c2_blob_ref(m);
    c2_list_append(&to->inbox, &p->link);
    c2_defer(to->net->base.env, &to->task);
}

static C2_RESULT
test_send(struct c2_net_link *base, enum c2_net_class c, struct c2_blob *m)
{
    struct test_link *l = link_of(base);
    struct test_hub *h = l->net->hub;
    if (!base->up || l->other == NULL)
        return C2_E_UNREACHABLE;
    struct test_link *to = l->other;
    if (h->full[l->net->number][to->net->number]) {
        if (l->as.policy == C2_NET_PRESSURE) {
            l->refused = true;
            return C2_E_BUSY;
        }
        if (c < C2_NET_URGENT) {
            base->dropped++;
            return C2_E_OK;
        }
    }
    base->sent_bytes += m->len;
    if (m->len > to->as.frame_max) {
        disconnect(l);
        l->down_due = true;
        c2_defer(l->net->base.env, &l->task);
        return C2_E_OK;
    }
    if (h->filter == NULL ||
        h->filter(h->filter_arg, l->net->number, to->net->number, c2_blob_slice(m)))
        deliver(to, m);
    return C2_E_OK;
}

/* Whoever could not connect there tries in the next turn: as early as can be. */
static void
try_again(struct test_hub *h, const char *address)
{
    C2_LIST_FOREACH (&h->nets, struct test_net, n, link) {
        C2_LIST_FOREACH (&n->links, struct test_link, l, link) {
            if (!l->base.dialled || l->base.up || strcmp(l->address, address) != 0)
                continue;
            l->dial_due = true;
            c2_defer(h->env, &l->task);
        }
    }
}

static C2_RESULT
test_listen(struct c2_net *base, const struct c2_net_listen *how)
{
    struct test_net *n = net_of(base);
    if (find_listener(n->hub, how->address) != NULL)
        return C2_E_EXISTS;
    n->address = c2_strdup(how->address);
    n->how = *how;
    n->how.address = NULL;
    n->base.port = ++n->hub->next_port;
    try_again(n->hub, how->address);
    return C2_E_OK;
}

static struct c2_net_link *
test_dial(struct c2_net *base, const struct c2_net_dial *d)
{
    struct test_link *l = link_new(net_of(base));
    l->as = d->as;
    l->base.events = d->as.events;
    l->base.user = d->as.user;
    l->base.dialled = true;
    memcpy(l->base.peer, d->peer, sizeof l->base.peer);
    l->address = c2_strdup(d->address);
    l->dial_due = true;
    c2_defer(base->env, &l->task);
    return &l->base;
}

static void
test_pause(struct c2_net_link *base, bool paused)
{
    struct test_link *l = link_of(base);
    l->paused = paused;
    c2_defer(l->net->base.env, &l->task);
}

static void
test_close(struct c2_net_link *base)
{
    close_link(link_of(base));
}

static void
test_free(struct c2_net *base)
{
    struct test_net *n = net_of(base);
    while (!c2_list_empty(&n->links))
        close_link(C2_LIST_FIRST(&n->links, struct test_link, link));
    while (!c2_list_empty(&n->closed)) {
        struct test_link *l = C2_LIST_FIRST(&n->closed, struct test_link, link);
        c2_list_remove(&n->closed, &l->link);
        l->net = NULL;
    }
    c2_list_remove(&n->hub->nets, &n->link);
    c2_free(n->address);
    c2_free(n);
}

static const struct c2_net_ops test_net_ops = {
    .listen = test_listen,
    .dial = test_dial,
    .send = test_send,
    .pause = test_pause,
    .close = test_close,
    .free = test_free,
};

struct test_hub *
test_hub_new(struct c2_env *env)
{
    struct test_hub *h = c2_calloc(1, sizeof *h);
    h->env = env;
    c2_list_init(&h->nets);
    return h;
}

void
test_hub_free(struct test_hub *h)
{
    C2_ASSERT(c2_list_empty(&h->nets));
    c2_free(h);
}

struct c2_net *
test_net_new(struct test_hub *h, unsigned number, const uint8_t key[C2_NET_KEY_LEN])
{
    C2_ASSERT(number < NUMBER_MAX);
    struct test_net *n = c2_calloc(1, sizeof *n);
    n->base.ops = &test_net_ops;
    n->base.env = h->env;
    n->hub = h;
    n->number = number;
    memcpy(n->key, key, sizeof n->key);
    c2_list_init(&n->links);
    c2_list_init(&n->closed);
    c2_list_append(&h->nets, &n->link);
    return &n->base;
}

void
test_hub_cut(struct test_hub *h, unsigned a, unsigned b, bool cut)
{
    h->cut[a][b] = h->cut[b][a] = cut;
    if (!cut)
        return;
    C2_LIST_FOREACH (&h->nets, struct test_net, n, link) {
        if (n->number != a && n->number != b)
            continue;
        unsigned peer = n->number == a ? b : a;
        C2_LIST_FOREACH (&n->links, struct test_link, l, link) {
            if (l->other == NULL || l->other->net->number != peer)
                continue;
            empty_inbox(l);
            empty_inbox(l->other);
            struct test_link *o = l->other;
            l->other = o->other = NULL;
            l->down_due = o->down_due = true;
            c2_defer(h->env, &l->task);
            c2_defer(h->env, &o->task);
        }
    }
}

void
test_hub_fill(struct test_hub *h, unsigned from, unsigned to, bool full)
{
    h->full[from][to] = full;
    C2_LIST_FOREACH (&h->nets, struct test_net, n, link) {
        if (n->number != from)
            continue;
        C2_LIST_FOREACH (&n->links, struct test_link, l, link)
            c2_defer(h->env, &l->task);
    }
}

void
test_hub_filter(struct test_hub *h,
                bool (*filter)(void *arg, unsigned from, unsigned to, struct c2_slice m), void *arg)
{
    h->filter = filter;
    h->filter_arg = arg;
}

void
test_hub_inject(struct test_hub *h, unsigned from, unsigned to, struct c2_slice m)
{
    C2_LIST_FOREACH (&h->nets, struct test_net, n, link) {
        if (n->number != to)
            continue;
        C2_LIST_FOREACH (&n->links, struct test_link, l, link) {
            if (l->other == NULL || l->other->net->number != from)
                continue;
            struct c2_blob *b = c2_blob_copy(m.data, m.len);
            deliver(l, b);
            c2_blob_unref(b);
            return;
        }
    }
}
