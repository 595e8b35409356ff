/* SPDX-License-Identifier: MIT */
#include "tests/lib/attack.h"

#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/os_net.h"
#include "base/wire.h"
#include "metadata/node.h"

#define QUEUE_MAX (256u << 10)
#define RETRY_NS  (C2_NS_PER_MS)

/* ---- messages -------------------------------------------------------------------------------- */

struct c2_blob *
attack_take(struct c2_buf *b)
{
    struct c2_blob *blob = c2_blob_copy(b->data, b->len);
    c2_buf_done(b);
    return blob;
}

struct c2_blob *
attack_request(struct attack_person *p, struct attack_session *s, uint8_t kind, uint64_t cseq,
               struct c2_slice op)
{
    struct msg_request m = { .kind = kind, .session = s->id, .cseq = cseq, .ack_low = s->low };
    struct c2_buf out = { 0 };
    memcpy(m.key, p->key, sizeof m.key);
    m.op = op;
    if (kind == MSG_REQ_OPEN)
        m.session = m.ack_low = 0;
    msg_write_request(&out, p->attack->config.cluster, &m);
    msg_sign(&bft_crypto_ed25519, p->secret, &out, 0);
    return attack_take(&out);
}

static void
send_on(struct attack_lane *l, struct c2_blob *b)
{
    struct attack *a = l->attack;
    if (l->net == NULL || !l->net->up)
        return;
    l->stuck = c2_net_send(l->net, C2_NET_NORMAL, b) != C2_E_OK;
    l->number += !l->stuck;
    a->sent += !l->stuck;
    a->bytes += l->stuck ? 0 : b->len;
}

static struct attack_lane *
lane_of(struct attack *a, const struct attack_person *p, unsigned replica, unsigned session)
{
    return p == &a->me ? &a->lane[replica][session % a->nlinks] : &a->witness[replica];
}

void
attack_send_to_all(struct attack_person *p, const struct attack_session *s, struct c2_blob *b)
{
    struct attack *a = p->attack;
    for (unsigned i = 0; i < a->config.n; i++)
        send_on(lane_of(a, p, i, (unsigned)(s - p->session)), b);
}

/* ---- what must be there before --------------------------------------------------------------- */

void
attack_prepare_by(struct attack *a, struct attack_person *p,
                  struct c2_blob *(*make)(struct attack_person *p))
{
    if (p->session[0].id == 0)
        return;
    a->prepares = p;
    if (a->before == NULL)
        a->before = make(p);
    if (a->ammunition == NULL)
        a->ammunition = c2_blob_ref(a->before);
    attack_send_to_all(p, &p->session[0], a->before);
}

/* ---- connections ----------------------------------------------------------------------------- */

static void
go_on(struct c2_task *t)
{
    struct attack_lane *l = C2_CONTAINER_OF(t, struct attack_lane, more);
    struct attack *a = l->attack;
    if (!l->net->up || l->stuck || !a->prepared || l->person != &a->me)
        return;
    for (unsigned i = 0; i < ATTACK_IN_A_ROW && !l->stuck; i++) {
        struct c2_blob *b = a->kind->next(l);
        if (b == NULL)
            return;
        send_on(l, b);
        c2_blob_unref(b);
    }
    if (!l->stuck)
        c2_defer(a->env, &l->more);
}

static void
all_go_on(struct attack *a)
{
    for (unsigned i = 0; i < a->config.n; i++) {
        for (unsigned k = 0; k < a->nlinks; k++)
            c2_defer(a->env, &a->lane[i][k].more);
    }
}

static void
lane_up(struct c2_net_link *net)
{
    struct attack_lane *l = net->user;
    l->attack->connected++;
    l->stuck = false;
    l->number = 0;
    send_on(l, l->session->open);
    if (l->attack->kind->deaf && l->person == &l->attack->me)
        c2_net_pause(net, true);
    c2_defer(l->attack->env, &l->more);
}

static void
lane_down(struct c2_net_link *net, enum c2_err why)
{
    (void)why;
    struct attack_lane *l = net->user;
    l->attack->ended++;
}

static void
lane_writable(struct c2_net_link *net)
{
    struct attack_lane *l = net->user;
    l->stuck = false;
    c2_defer(l->attack->env, &l->more);
}

static void
opened(struct attack_person *p, struct attack_session *s, const struct msg_reply *m)
{
    if (m->code != MSG_OK || m->result.len != 8 || s->id != 0)
        return;
    s->id = c2_get_u64(m->result.data);
    struct attack *a = p->attack;
    if (a->kind->prepare == NULL)
        a->prepared = true;
    else if (!a->prepared && s == &p->session[0])
        a->kind->prepare(a);
    all_go_on(a);
}

static void
answered(struct attack_session *s, uint64_t cseq)
{
    if (cseq > s->low && cseq <= s->low + BFT_SESSION_WINDOW)
        s->done |= 1ull << (cseq - s->low - 1);
    while ((s->done & 1) != 0) {
        s->done >>= 1;
        s->low++;
    }
}

/* The prepared request has happened, and should not happen again: its answer stays the same. */
static void
check_again(struct attack *a, const struct attack_session *s, const struct msg_reply *m)
{
    if (s != &a->prepares->session[0] || m->cseq != 1 || m->n == 0)
        return;
    if (m->n != a->version)
        a->versions++;
    a->version = m->n;
    if (!a->prepared) {
        a->prepared = true;
        all_go_on(a);
    }
}

static void
lane_message(struct c2_net_link *net, struct c2_slice bytes)
{
    struct attack_lane *l = net->user;
    struct attack *a = l->attack;
    struct attack_person *p = l->person;
    struct msg_reply m;
    a->answers++;
    if (msg_read_reply(bytes, &m) != C2_E_OK)
        return;
    for (unsigned i = 0; i < p->nsessions; i++) {
        struct attack_session *s = &p->session[i];
        if (m.session == 0 && m.cseq == s->nonce) {
            opened(p, s, &m);
        } else if (m.session == s->id && s->id != 0) {
            if (a->prepares != NULL)
                check_again(a, s, &m);
            else
                answered(s, m.cseq);
        }
    }
    if (a->prepares == NULL)
        c2_defer(a->env, &lane_of(a, p, 0, (unsigned)(l->session - p->session))->more);
}

static const struct c2_net_events lane_events = {
    .up = lane_up, .message = lane_message, .writable = lane_writable, .down = lane_down
};

static void
dial(struct attack_lane *l, struct attack_person *p, unsigned replica, unsigned session)
{
    const struct bft_member *m = &p->attack->config.member[replica];
    struct c2_net_dial d = { .address = m->address };
    l->attack = p->attack;
    l->person = p;
    l->session = &p->session[session];
    l->more.run = go_on;
    memcpy(d.peer, m->identity_key, sizeof d.peer);
    d.as = (struct c2_net_admission){ .events = &lane_events,
                                      .user = l,
                                      .policy = C2_NET_PRESSURE,
                                      .queue_max = QUEUE_MAX,
                                      .frame_max = MSG_BYTES_MAX };
    l->net = c2_net_dial(p->net, &d);
}

static bool
person_begin(struct attack *a, struct attack_person *p, unsigned nsessions)
{
    uint8_t seed[32];
    struct identity_client id;
    c2_random_bytes(seed, sizeof seed);
    identity_make_client(&a->admin, seed, &id);
    c2_ed25519_keypair(seed, p->secret, p->key);
    memcpy(p->cert, id.cert, sizeof p->cert);
    p->attack = a;
    p->nsessions = nsessions;
    for (unsigned i = 0; i < nsessions; i++) {
        struct attack_session *s = &p->session[i];
        s->nonce = c2_wall_ns(a->env) + i;
        s->open = attack_request(p, s, MSG_REQ_OPEN, s->nonce, c2_slice(p->cert, sizeof p->cert));
    }
    const struct c2_os_net_options net = { .secret = p->secret,
                                           .protocol = NODE_PROTOCOL,
                                           .backoff_min_ns = RETRY_NS,
                                           .backoff_max_ns = RETRY_NS };
    return c2_os_net_new(a->os, &net, &p->net) == C2_E_OK;
}

bool
attack_begin(struct attack *a)
{
    a->env = c2_os_env(a->os);
    if (!person_begin(a, &a->me, a->kind->sessions) || !person_begin(a, &a->other, 1))
        return false;
    for (unsigned i = 0; i < a->config.n; i++) {
        for (unsigned k = 0; k < a->nlinks; k++)
            dial(&a->lane[i][k], &a->me, i, k % a->kind->sessions);
        dial(&a->witness[i], &a->other, i, 0);
    }
    return true;
}

void
attack_again(struct attack *a)
{
    for (unsigned i = 0; i < a->me.nsessions; i++) {
        if (a->me.session[i].id == 0)
            attack_send_to_all(&a->me, &a->me.session[i], a->me.session[i].open);
    }
    if (!a->prepared && a->kind->prepare != NULL)
        a->kind->prepare(a);
}
