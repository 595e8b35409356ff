/* SPDX-License-Identifier: MIT */
/*
 * The lying client: it does what it likes.
 */
#include "base/alloc.h"
#include "base/mark.h"
#include "tests/sim/bft_scene.h"

static void
lie_request(struct bs_client *c, struct msg_request *m, struct c2_buf *op)
{
    struct bs *s = c->s;
    uint8_t junk[64];
    sim_rng_fill(&s->rng, junk, sizeof junk);
    m->kind = MSG_REQ_COMMAND;
    m->session = c->session;
    m->cseq = sim_rng_between(&s->rng, 1, 80);
    switch (sim_rng_below(&s->rng, 9)) {
    case 0: /* two requests with one number */
        bs_encode_op(c, BS_OP_ADD, (unsigned)sim_rng_below(&s->rng, 1000) + 10, op);
        return;
    case 1: /* a session to come */
        m->session = (s->model_n + sim_rng_below(&s->rng, 1000)) << 12 | 1;
        bs_encode_op(c, BS_OP_ADD, 11, op);
        return;
    case 2: /* somebody else's session */
        m->session = s->client[0].session | 1;
        bs_encode_op(c, BS_OP_ADD, 11, op);
        return;
    case 3: /* far outside of the window, or as far as numbers go */
        m->cseq = UINT64_MAX - sim_rng_below(&s->rng, 70);
        m->ack_low = sim_rng_below(&s->rng, m->cseq);
        if (m->ack_low % 4 == 0)
            m->ack_low = UINT64_MAX - BFT_SESSION_WINDOW + 1 - m->ack_low / 4 % 3;
        bs_encode_op(c, BS_OP_ADD, 11, op);
        return;
    case 4: /* no command at all */
        c2_buf_append(op, junk, sim_rng_below(&s->rng, sizeof junk));
        return;
    case 5: /* a change in the clothes of a query, and the other way round */
        m->kind = MSG_REQ_QUERY;
        bs_encode_op(c, BS_OP_ADD, 11, op);
        return;
    case 6:
        bs_encode_get(op);
        return;
    case 7:
        m->kind = MSG_REQ_ADMIN;
        bs_encode_admin(s, op);
        if (sim_rng_chance(&s->rng, 50)) {
            op->data[op->len - 1] ^= 1;
        } else { /* one administrator alone */
            op->len -= 1 + MSG_SIG_LEN;
            op->data[op->len - 1 - MSG_SIG_LEN - 1] = 1;
        }
        return;
    default:
        m->kind = MSG_REQ_CLOSE;
        c->session = 0;
        return;
    }
}

void
bs_liar_due(struct c2_timer *t)
{
    struct bs_client *c = C2_CONTAINER_OF(t, struct bs_client, next);
    struct bs *s = c->s;
    struct c2_buf op = { 0 };
    struct msg_request m = { 0 };
    C2_MARK("sim: a client lies");
    if (c->session == 0) {
        uint8_t hash[C2_SHA256_LEN];
        m.kind = MSG_REQ_OPEN;
        m.cseq = c->nonce++ + 1;
        msg_client_hash(s->config.cluster, c->key, hash);
        bs_crypto.sign(&bs_crypto, s->authority, hash, c2_buf_extend(&op, MSG_SIG_LEN));
    } else {
        lie_request(c, &m, &op);
    }
    struct c2_blob *msg = bs_sign_request(c, &m, c2_buf_slice(&op));
    if (sim_rng_chance(&s->rng, 10))
        msg->data[sim_rng_below(&s->rng, msg->len)] ^= 1;
    uint32_t to = (uint32_t)sim_rng_next(&s->rng);
    for (uint16_t id = 0; id <= s->config.n; id++) {
        if ((to >> id & 1) != 0)
            bs_from_client(c, id, msg);
    }
    c2_blob_unref(msg);
    c2_buf_done(&op);
    if (!s->done)
        sim_arm(s->w, t, s->w->now_ns + sim_rng_scale(&s->rng, 100000, 300 * C2_NS_PER_MS));
}
