/* SPDX-License-Identifier: MIT */
/*
 * Four replicas with logs, stores and a network, and on it strangers, admitted clients who talk
 * nonsense, and one replica that does. The input is a little program; `who` is one of four ends,
 * of which the last has a key that nobody knows, `to` a replica.
 *
 *   'u' who to               connects;  'd' who to: ends its connection
 *   'b' who to len bytes     a message
 *   'm' who to type len bytes   ... its head made right
 *   'C' who to               shows its certificate
 *   'q' who to kind session cseq ack len op   a request, signed
 *   'r' to type len bytes    the last replica says that to another one
 *   't' n                    time passes
 *
 * Whatever they say, a client is served in the end.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/wire.h"
#include "metadata/msg.h"
#include "tests/lib/bft_rig.h"
#include "tests/lib/coord_fixture.h"

#define ENDS   4u
#define NUMBER 40u /* of the first of them on the network */
#define LIAR   3u
#define STEPS  64u
#define BYTES  2048u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct end {
    struct c2_net *net;
    const uint8_t *key;
    unsigned client; /* of the rig */
    struct {
        struct c2_net_link *l;
        bool up;
    } to[LIAR + 1];
};

struct world {
    struct coord_fixture *f;
    struct end end[ENDS];
};

static void
link_up(struct c2_net_link *l)
{
    *(bool *)l->user = true;
}

static void
link_message(struct c2_net_link *l, struct c2_slice m)
{
    struct msg_head h;
    C2_ASSERT(*(bool *)l->user);
    C2_ASSERT(msg_read_head(m, &h) == C2_E_OK); /* they speak the protocol, to whomever */
}

static void
link_down(struct c2_net_link *l, enum c2_err why)
{
    (void)why;
    *(bool *)l->user = false;
}

static const struct c2_net_events events = { .up = link_up,
                                             .message = link_message,
                                             .down = link_down };

static void
connect_end(struct world *w, struct end *e, unsigned to)
{
    const struct bft_member *m = &w->f->rig->config.member[to];
    struct c2_net_dial d = { .address = m->address };
    if (e->to[to].l != NULL)
        return;
    memcpy(d.peer, m->identity_key, sizeof d.peer);
    d.as = (struct c2_net_admission){ .events = &events, .user = &e->to[to].up };
    d.as.queue_max = d.as.frame_max = 1u << 20;
    e->to[to].l = c2_net_dial(e->net, &d);
}

static void
disconnect_end(struct end *e, unsigned to)
{
    if (e->to[to].l != NULL)
        c2_net_close(e->to[to].l);
    e->to[to].l = NULL;
    e->to[to].up = false;
}

static void
say(const struct end *e, unsigned to, struct c2_slice m)
{
    if (!e->to[to].up || m.len == 0)
        return;
    struct c2_blob *b = c2_blob_copy(m.data, m.len);
    (void)(c2_net_send(e->to[to].l, C2_NET_NORMAL, b) == C2_E_OK);
    c2_blob_unref(b);
}

static void
put_head(struct c2_buf *out, const struct world *w, uint16_t sender, uint8_t type)
{
    c2_wr_u8(out, MSG_FORMAT);
    c2_wr_u8(out, type);
    c2_wr_u16(out, sender);
    c2_wr_u32(out, 0);
    c2_wr_u64(out, w->f->rig->config.cluster);
}

static void
say_framed(const struct world *w, const struct end *e, unsigned to, struct c2_rd *in)
{
    struct c2_buf m = { 0 };
    put_head(&m, w, MSG_SENDER_CLIENT, c2_rd_u8(in));
    struct c2_slice body = c2_rd_raw(in, c2_rd_u16(in) % BYTES);
    c2_buf_append(&m, body.data, body.len);
    say(e, to, c2_buf_slice(&m));
    c2_buf_done(&m);
}

static void
say_signed(const struct world *w, const struct end *e, unsigned to, struct msg_request *m)
{
    const struct bft_rig *r = w->f->rig;
    struct c2_buf out = { 0 };
    memcpy(m->key, e->key, MSG_KEY_LEN);
    msg_write_request(&out, r->config.cluster, m);
    msg_sign(&bft_crypto_ed25519, r->client[e->client].secret, &out, 0);
    say(e, to, c2_buf_slice(&out));
    c2_buf_done(&out);
}

static void
say_request(const struct world *w, const struct end *e, unsigned to, struct c2_rd *in)
{
    struct msg_request m = { .kind = c2_rd_u8(in) };
    m.session = c2_rd_u8(in);
    m.cseq = c2_rd_u8(in);
    m.ack_low = c2_rd_u8(in);
    m.op = c2_rd_raw(in, c2_rd_u16(in) % BYTES);
    say_signed(w, e, to, &m);
}

static void
show_certificate(const struct world *w, const struct end *e, unsigned to)
{
    struct msg_request m = { .kind = MSG_REQ_OPEN, .cseq = 1 };
    m.op = c2_slice(w->f->rig->client[e->client].cert, MSG_SIG_LEN);
    say_signed(w, e, to, &m);
}

static void
liar_says(const struct world *w, struct c2_rd *in)
{
    struct c2_buf m = { 0 };
    unsigned to = c2_rd_u8(in) % LIAR;
    put_head(&m, w, LIAR, c2_rd_u8(in));
    struct c2_slice body = c2_rd_raw(in, c2_rd_u16(in) % BYTES);
    c2_buf_append(&m, body.data, body.len);
    test_hub_inject(w->f->rig->hub, LIAR, to, c2_buf_slice(&m));
    c2_buf_done(&m);
}

static void
run_one(struct world *w, struct c2_rd *in)
{
    uint8_t op = c2_rd_u8(in);
    if (op == 't') {
        test_env_run_for(w->f->t, c2_rd_u8(in) * 100 * C2_NS_PER_MS);
        return;
    }
    if (op == 'r') {
        liar_says(w, in);
        test_env_run_ready(w->f->t);
        return;
    }
    struct end *e = &w->end[c2_rd_u8(in) % ENDS];
    unsigned to = c2_rd_u8(in) % (LIAR + 1);
    if (op == 'u')
        connect_end(w, e, to);
    else if (op == 'd')
        disconnect_end(e, to);
    else if (op == 'b')
        say(e, to, c2_rd_raw(in, c2_rd_u16(in) % BYTES));
    else if (op == 'm')
        say_framed(w, e, to, in);
    else if (op == 'q')
        say_request(w, e, to, in);
    else if (op == 'C')
        show_certificate(w, e, to);
    else
        c2_rd_fail(in);
    test_env_run_ready(w->f->t);
}

static void
make_ends(struct world *w)
{
    static const uint8_t nobody[C2_NET_KEY_LEN] = { 0x55 };
    struct bft_rig *r = w->f->rig;
    for (unsigned i = 0; i < ENDS; i++) {
        struct end *e = &w->end[i];
        e->client = C2_MIN(i + 1, BFT_RIG_CLIENTS - 1u); /* the first one is the good client */
        e->key = i + 1 < ENDS ? r->client[e->client].key : nobody;
        e->net = test_net_new(r->hub, NUMBER + i, e->key);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = { 0 };
    void *fixture = NULL;
    struct c2_rd in = c2_rd_init(c2_slice(data, size));
    c2_log_set_level(C2_LOG_ERROR);
    C2_ASSERT(coord_fixture_setup_bft(&fixture) == 0);
    w.f = fixture;
    make_ends(&w);
    put(w.f, "key", "before");
    for (unsigned i = 0; i < STEPS && c2_rd_left(&in) > 0 && c2_rd_ok(&in); i++)
        run_one(&w, &in);
    assert_value(w.f, "key", "before");
    put(w.f, "key", "after");
    assert_value(w.f, "key", "after");
    for (unsigned i = 0; i < ENDS; i++)
        c2_net_free(w.end[i].net);
    test_env_run_ready(w.f->t);
    C2_ASSERT(coord_fixture_teardown(&fixture) == 0);
    return 0;
}
