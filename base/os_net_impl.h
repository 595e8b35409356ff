/* SPDX-License-Identifier: MIT */
/*
 * What the files of the network share. os_net.c makes and ends connections, os_net_accept.c lets
 * others in, os_net_link.c moves messages over them.
 */
#ifndef C2_BASE_OS_NET_IMPL_H
#define C2_BASE_OS_NET_IMPL_H

#include "base/os_net.h"
#include "base/os_tls.h"
#include "base/sm.h"

enum os_link_state {
    OS_LINK_WAITING,   /* dialled: until the next try */
    OS_LINK_RESOLVING, /* dialled: the name is being looked up */
    OS_LINK_CONNECTING,
    OS_LINK_HANDSHAKE,
    OS_LINK_ADMISSION, /* dialled: the other side has not said yet that we are welcome */
    OS_LINK_UP,
    OS_LINK_CLOSED, /* nothing may touch it any more but the task that frees it */
};

struct os_net;
struct os_resolve;

struct os_link {
    struct c2_net_link base;
    struct c2_link link; /* in the net's list */
    struct os_net *net;  /* borrowed */
    struct c2_sm sm;
    struct c2_net_admission as;
    char *address;              /* owned; of a dialled link */
    struct os_resolve *resolve; /* the lookup under way, or its result; owned */
    size_t next_address;
    uint64_t backoff_ns;
    uint64_t up_at_ns; /* dialled: since when it is up, last */

    struct c2_fd_watch watch; /* fd -1 = none */
    struct c2_tls *tls;       /* owned */
    struct c2_timer timer;    /* of the state */
    struct c2_task task;      /* flush and read on; frees when closed */

    struct c2_list queues[C2_NET_CLASSES]; /* of struct os_message */
    size_t queued;                         /* bytes in them */
    struct c2_buf out;                     /* frames on their way; out_pos is sent */
    size_t out_pos;
    struct c2_buf in; /* the beginning of the next frame; in_pos is consumed */
    size_t in_pos;

    bool paused;          /* by the caller */
    bool choked;          /* by C2_NET_PRESSURE: nothing is read until the queue is half empty */
    bool refused;         /* a send was: writable is owed */
    bool wants_out;       /* TLS waits for room in the socket */
    uint64_t got_at_ns;   /* when bytes came in last */
    uint64_t sent_at_ns;  /* when something was queued last */
    uint64_t took_at_ns;  /* when the peer took bytes last, or had nothing to take */
    uint64_t frame_at_ns; /* when the frame at the head of `in` began */
};

struct os_net {
    struct c2_net base;
    struct c2_os *os;              /* borrowed */
    struct c2_os_net_options opts; /* without the secret */
    struct c2_tls_context *tls;    /* owned */
    struct c2_list links;          /* all that are not closed, oldest first */
    struct c2_list closed;         /* until their task frees them */
    unsigned naccepted;

    struct c2_fd_watch listener; /* fd -1 = none */
    struct c2_timer rest;        /* until the listener goes on */
    uint64_t paid_ns;            /* when the time that accepting has taken is paid */
    struct c2_net_listen how;    /* without the address */
};

static inline struct os_link *
os_link_of(struct c2_net_link *l)
{
    return C2_CONTAINER_OF(l, struct os_link, base);
}

/* os_net.c */

/* The connection is over; says so if it was up, then tries again or ends. May run callbacks. */
void os_link_fail(struct os_link *l, enum c2_err why);
void os_link_close(struct os_link *l);

struct os_link *os_link_new(struct os_net *n, bool dialled);
/* Begins with it on a socket that is connected. */
void os_link_shake_hands(struct os_link *l);
void os_net_set_options(int fd, const struct c2_os_net_options *o);

/* os_net_accept.c */

void os_net_accept(struct c2_fd_watch *w, unsigned events); /* of the listener */
void os_net_accept_again(struct c2_timer *t);
/* So much of our time somebody has taken who is not let in yet. */
void os_net_charge(struct os_net *n, uint64_t cpu_ns);

/* os_net_link.c */

void os_link_init(struct os_link *l, struct os_net *net);
/* Forgets everything of one connection. */
void os_link_reset(struct os_link *l);
void os_link_up(struct os_link *l);
/* Tells the loop what the link waits for. */
void os_link_update(struct os_link *l);
/* The socket or the task says that something can go on. */
void os_link_move(struct os_link *l, unsigned events);
void os_link_tick(struct os_link *l);
/* Sends what can be sent at once. */
void os_link_flush(struct os_link *l);
/* A frame without a message. */
void os_link_ping(struct os_link *l);
C2_RESULT os_link_send(struct c2_net_link *base, enum c2_net_class c, struct c2_blob *m);
void os_link_pause(struct c2_net_link *base, bool paused);

#endif
