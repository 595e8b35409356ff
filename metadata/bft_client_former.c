/* SPDX-License-Identifier: MIT */
/*
 * Replicas that were members in an epoch that the client knows, and are none now. They are asked
 * only for how they are, by whoever wants to know whether one was forgotten: it goes on until
 * somebody stops it, and nobody else hears of it.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "metadata/bft_client_int.h"

void
client_former_note(struct bft_client *c, const struct bft_config *next)
{
    for (unsigned i = 0; i < c->config.n && c->nformer < FORMER_MAX; i++) {
        const struct bft_member *m = &c->config.member[i];
        if (bft_config_seat(next, m->id) < next->n)
            continue;
        struct client_former *f = &c->former[c->nformer++];
        f->c = c;
        memcpy(f->key, m->identity_key, sizeof f->key);
        memcpy(f->address, c->replicas[i].address, sizeof f->address);
    }
}

static void
former_up(struct c2_net_link *l)
{
    struct client_former *f = l->user;
    struct bft_client *c = f->c;
    struct c2_blob *ask = client_make_ask_status(c);
    enum c2_err err =
        c->opening.msg != NULL ? c2_net_send(l, C2_NET_NORMAL, c->opening.msg) : C2_E_UNAVAILABLE;
    if (err == C2_E_OK)
        err = c2_net_send(l, C2_NET_NORMAL, ask);
    f->over = f->over || err != C2_E_OK;
    c2_blob_unref(ask);
}

static void
former_down(struct c2_net_link *l, enum c2_err why)
{
    struct client_former *f = l->user;
    (void)why;
    f->over = true;
}

static void
former_message(struct c2_net_link *l, struct c2_slice m)
{
    struct client_former *f = l->user;
    struct bft_client *c = f->c;
    struct msg_head h;
    struct c2_slice json;
    if (f->over || msg_read_head(m, &h) != C2_E_OK || h.cluster != c->config.cluster ||
        h.type != MSG_TELL_STATUS || msg_read_tell_status(m, &json) != C2_E_OK)
        return;
    f->over = true;
    c->former_told(c->former_arg, f->address, json);
}

static const struct c2_net_events former_events = { .up = former_up,
                                                    .message = former_message,
                                                    .down = former_down };

unsigned
bft_client_ask_former(struct coord *base,
                      void (*told)(void *arg, const char *address, struct c2_slice json), void *arg)
{
    C2_ASSERT(bft_client_is(base));
    struct bft_client *c = C2_CONTAINER_OF(base, struct bft_client, base);
    unsigned under_way = 0;
    c->former_told = told;
    c->former_arg = arg;
    for (unsigned i = 0; i < c->nformer; i++) {
        struct client_former *f = &c->former[i];
        struct c2_net_dial d = { .address = f->address };
        memcpy(d.peer, f->key, sizeof d.peer);
        d.as = (struct c2_net_admission){ .events = &former_events,
                                          .user = f,
                                          .policy = C2_NET_DROP,
                                          .queue_max = MSG_REQUEST_MAX,
                                          .frame_max = MSG_BYTES_MAX };
        if (f->net == NULL)
            f->net = c2_net_dial(c->net, &d);
        f->over = f->over || f->net->error != C2_E_OK;
        under_way += !f->over;
    }
    return under_way;
}

void
client_former_done(struct bft_client *c)
{
    for (unsigned i = 0; i < c->nformer; i++) {
        if (c->former[i].net != NULL)
            c2_net_close(c->former[i].net);
        c->former[i].net = NULL;
    }
}
