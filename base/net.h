/* SPDX-License-Identifier: MIT */
/*
 * Framed, authenticated messages between peers. os_net.c speaks TLS 1.3 over TCP; the simulator
 * and the unit tests have networks of their own.
 *
 * A peer is an Ed25519 public key. A link is a way to one peer: a dialled one lives until it is
 * closed and is connected again whenever it breaks; an accepted one ends with its connection.
 * What arrives on a link was sent by the owner of `peer`, whole and unchanged, in the order within
 * its class. Messages may be lost when a link goes down, or when a queue is full; nothing else
 * loses one, and nothing is delivered twice.
 *
 * All calls and callbacks on the loop. Callbacks never run from inside a call of this interface;
 * any call is allowed from inside a callback, closing the link itself too.
 */
#ifndef C2_BASE_NET_H
#define C2_BASE_NET_H

#include "base/env.h"

#define C2_NET_KEY_LEN   32
#define C2_NET_FRAME_MAX (8u << 20) /* bytes of one message */

/* Higher classes leave first, and stay when a queue with C2_NET_DROP is full. */
enum c2_net_class { C2_NET_BULK, C2_NET_NORMAL, C2_NET_URGENT, C2_NET_CLASSES };

/* What happens when the send queue of a link is full. */
enum c2_net_policy {
    C2_NET_DROP,     /* the oldest messages of the lowest class go: for peers that ask again */
    C2_NET_PRESSURE, /* send refuses with BUSY; nothing is read from the peer until half of it has
                      * left; a peer that does not take it in time is disconnected */
};

struct c2_net_link;

struct c2_net_events {
    /* Connected and authenticated: send from now on. A dialled link comes up many times. */
    void (*up)(struct c2_net_link *l);
    void (*message)(struct c2_net_link *l, struct c2_slice m); /* borrowed for the call */
    /* After a send was refused with BUSY: half of the queue is free. */
    void (*writable)(struct c2_net_link *l);
    /* What was queued is lost. An accepted link is gone when this returns. A dialled link that
     * cannot be connected does not report each try, `error` has the last reason. */
    void (*down)(struct c2_net_link *l, enum c2_err why);
};

/* Owned by the net; a caller reads, and sets only `user`. */
struct c2_net_link {
    struct c2_net *net;
    const struct c2_net_events *events; /* borrowed */
    void *user;
    uint8_t peer[C2_NET_KEY_LEN];
    bool dialled;
    bool up;
    enum c2_err error;   /* why it was down last; OK = never */
    uint64_t dropped;    /* messages that a full queue lost */
    uint64_t sent_bytes; /* of messages, over all connections */
    uint64_t got_bytes;
};

struct c2_net_admission {
    const struct c2_net_events *events; /* borrowed */
    void *user;
    enum c2_net_policy policy;
    size_t queue_max;   /* bytes that may wait to be sent */
    size_t frame_max;   /* longest message that is taken from it, <= C2_NET_FRAME_MAX */
    unsigned links_max; /* with this key at once; when reached, the oldest ends. 0 = no limit */
};

struct c2_net_listen {
    const char *address; /* "HOST:PORT", "[ADDRESS]:PORT"; port 0 = any; borrowed for the call */
    unsigned links_max;  /* accepted connections at once, those that are not admitted yet too */
    /* Whether the owner of this key may connect, and as what; set ret and say true. */
    bool (*admit)(void *arg, const uint8_t key[C2_NET_KEY_LEN], struct c2_net_admission *ret);
    void *arg; /* borrowed while listening */
};

struct c2_net_dial {
    const char *address; /* borrowed for the call */
    uint8_t peer[C2_NET_KEY_LEN];
    struct c2_net_admission as;
};

struct c2_net;

struct c2_net_ops {
    C2_RESULT (*listen)(struct c2_net *n, const struct c2_net_listen *l);
    struct c2_net_link *(*dial)(struct c2_net *n, const struct c2_net_dial *d);
    C2_RESULT (*send)(struct c2_net_link *l, enum c2_net_class c, struct c2_blob *m);
    void (*pause)(struct c2_net_link *l, bool paused);
    void (*close)(struct c2_net_link *l);
    void (*free)(struct c2_net *n);
};

struct c2_net {
    const struct c2_net_ops *ops;
    struct c2_env *env;
    uint16_t port; /* where it listens, 0 = nowhere */
};

/* Once. C2_E_EXISTS: somebody else listens there. */
static inline C2_RESULT
c2_net_listen(struct c2_net *n, const struct c2_net_listen *l)
{
    return n->ops->listen(n, l);
}

/* Starts to connect; a bad address shows as link->error. */
static inline struct c2_net_link *
c2_net_dial(struct c2_net *n, const struct c2_net_dial *d)
{
    return n->ops->dial(n, d);
}

/*
 * Takes a reference of the message (1..C2_NET_FRAME_MAX bytes, not changed any more), which leaves
 * at the end of this turn of the loop together with others. UNREACHABLE: the link is not up.
 * C2_NET_PRESSURE: BUSY, the queue is full. C2_NET_DROP: OK, even when this very message is the
 * one that a full queue loses.
 */
static inline C2_RESULT
c2_net_send(struct c2_net_link *l, enum c2_net_class c, struct c2_blob *m)
{
    C2_ASSERT(m->len >= 1 && m->len <= C2_NET_FRAME_MAX);
    return l->net->ops->send(l, c, m);
}

/* Nothing is read from the peer while paused, so that it feels our load. Ends with the connection.
 */
static inline void
c2_net_pause(struct c2_net_link *l, bool paused)
{
    l->net->ops->pause(l, paused);
}

/* No event comes any more. What is queued leaves as far as it can without waiting. */
static inline void
c2_net_close(struct c2_net_link *l)
{
    l->net->ops->close(l);
}

/* Closes every link, and the listener. NULL is fine. */
static inline void
c2_net_free(struct c2_net *n)
{
    if (n != NULL)
        n->ops->free(n);
}

#endif
