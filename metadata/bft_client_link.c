/* SPDX-License-Identifier: MIT */
/*
 * The client's links to the replicas. A link that has come up first shows the certificate, by the
 * OPEN request of the session (which opens it once only), then gets what it may have missed.
 *
 * The queue of a link may be full of requests, which are repeated; then the oldest ones go. What is
 * short, and needed before anything else is answered or told, is urgent: it goes before them, and
 * none of them takes its place.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "metadata/bft_client_int.h"

#define QUEUE_MAX (32u << 20)

bool
client_is_up(const struct bft_client *c, unsigned seat)
{
    return c->replicas[seat].net != NULL && c->replicas[seat].net->up;
}

static void
send_as(struct bft_client *c, unsigned seat, enum c2_net_class class, struct c2_blob *m)
{
    if (!client_is_up(c, seat))
        return;
    enum c2_err err = c2_net_send(c->replicas[seat].net, class, m);
    if (err != C2_E_OK) /* it will be repeated */
        c2_log(DEBUG, "metadata", "replica=%u err=%s", seat, c2_err_name(err));
}

void
client_send(struct bft_client *c, unsigned seat, struct c2_blob *m)
{
    send_as(c, seat, C2_NET_NORMAL, m);
}

void
client_send_urgent(struct bft_client *c, unsigned seat, struct c2_blob *m)
{
    send_as(c, seat, C2_NET_URGENT, m);
}

/* The highest view that at least one correct replica is in. */
uint64_t
client_view(const struct bft_client *c)
{
    uint64_t best = 0;
    for (unsigned i = 0; i < c->config.n; i++) {
        uint64_t view = c->replicas[i].view;
        unsigned as_high = 0;
        for (unsigned k = 0; k < c->config.n; k++)
            as_high += c->replicas[k].view >= view;
        if (as_high >= client_weak(c))
            best = C2_MAX(best, view);
    }
    return best;
}

unsigned
client_primary(const struct bft_client *c)
{
    return (unsigned)(client_view(c) % c->config.n);
}

static void
link_up(struct c2_net_link *l)
{
    struct client_replica *r = l->user;
    struct bft_client *c = r->c;
    if (c->opening.msg != NULL)
        client_send_urgent(c, r->seat, c->opening.msg);
    client_stream_up(r);
    client_call_link_up(c, r->seat);
}

static void
link_down(struct c2_net_link *l, enum c2_err why)
{
    struct client_replica *r = l->user;
    c2_log(DEBUG, "metadata", "replica=%u err=%s; connecting again", r->seat, c2_err_name(why));
    client_stream_down(r);
}

static void
status_told(struct client_replica *r, struct c2_slice m)
{
    struct bft_client *c = r->c;
    struct c2_slice json;
    if (c->told != NULL && msg_read_tell_status(m, &json) == C2_E_OK)
        c->told(c->told_arg, r->seat, json);
}

static void
link_message(struct c2_net_link *l, struct c2_slice m)
{
    struct client_replica *r = l->user;
    struct msg_head h;
    if (msg_read_head(m, &h) != C2_E_OK || h.cluster != r->c->config.cluster)
        return;
    if (h.type == MSG_EPOCH)
        client_on_epoch(r, m);
    else if (h.epoch != r->c->config.epoch)
        client_other_epoch(r->c, h.epoch);
    else if (h.type == MSG_REPLY)
        client_on_reply(r, m);
    else if (h.type == MSG_READ_REPLY)
        client_on_read_reply(r, m);
    else if (h.type == MSG_EVENT)
        client_on_event(r, m);
    else if (h.type == MSG_TELL_STATUS)
        status_told(r, m);
}

static const struct c2_net_events link_events = { .up = link_up,
                                                  .message = link_message,
                                                  .down = link_down };

void
client_dial(struct bft_client *c, unsigned seat)
{
    struct client_replica *r = &c->replicas[seat];
    struct c2_net_dial d = { .address = r->address };
    r->c = c;
    r->seat = seat;
    memcpy(d.peer, c->config.member[seat].identity_key, sizeof d.peer);
    d.as = (struct c2_net_admission){ .events = &link_events,
                                      .user = r,
                                      .policy = C2_NET_DROP,
                                      .queue_max = QUEUE_MAX,
                                      .frame_max = MSG_BYTES_MAX };
    r->net = c2_net_dial(c->net, &d);
}

void
client_connect(struct bft_client *c)
{
    for (unsigned i = 0; i < c->config.n; i++) {
        const char *other = c->o.addresses != NULL ? c->o.addresses[i] : NULL;
        snprintf(c->replicas[i].address, BFT_ADDRESS_MAX, "%s",
                 other != NULL ? other : c->config.member[i].address);
        client_dial(c, i);
    }
    c->o.addresses = NULL;
}

void
client_disconnect(struct bft_client *c)
{
    for (unsigned i = 0; i < c->config.n; i++) {
        client_stream_down(&c->replicas[i]);
        c2_net_close(c->replicas[i].net);
        c->replicas[i].net = NULL;
    }
    client_former_done(c);
}
