/* SPDX-License-Identifier: MIT */
/*
 * Three correct replicas and a fourth, whose key and whose messages are the fuzzer's, as the keys
 * of the clients are: bytes behind signatures and digests are its as well. The input is a little
 * program; each step is carried out until nothing is on its way any more.
 *
 *   'm' to type len bytes     a message of the liar: head and signature are made right
 *   'e' to back n edits       something that was sent before, n bytes (u16 at, u8 new) of it
 *                             changed, told and signed as the liar's own
 *   'p' to view n len bytes   a proposal with a batch of these bytes
 *   'q' to view n client      a proposal with a batch of a client's last request
 *   'c' client to kind seq len bytes    a signed request
 *   'r' client to type len bytes        anything else of a client
 *   'a' client to n edits     a configuration with new keys, n bytes of it changed, signed by the
 *                             administrator
 *   't' n                     time passes
 *   'x' pairs                 which replicas do not hear which, from now on
 *   'k' who                   one of them crashes and starts again
 *   'w' who type len bytes    ... with such a record at the end of its log
 *
 * tests/lib/bft_trio.h says what must hold. A log that was changed is one fault too many, and so is
 * an administrator who signs nonsense: then only that nothing breaks.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "tests/lib/bft_trio.h"

#define STEPS 128u  /* of one program */
#define BYTES 2048u /* of one message */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct trio *trio;                     /* owned */
    struct c2_blob *request[TRIO_CLIENTS]; /* owned references: the last */
};

/* ---- what the fuzzer says -------------------------------------------------------------------- */

static struct msg_head
liar_head(const struct trio *t, uint8_t type)
{
    return (struct msg_head){
        .type = type, .sender = TRIO_LIAR, .cluster = t->config.cluster, .epoch = t->config.epoch
    };
}

static void
put_head(struct c2_buf *out, const struct msg_head *h)
{
    c2_wr_u8(out, MSG_FORMAT);
    c2_wr_u8(out, h->type);
    c2_wr_u16(out, h->sender);
    c2_wr_u32(out, h->epoch);
    c2_wr_u64(out, h->cluster);
}

static void
say(struct trio *t, unsigned to, struct c2_buf *m)
{
    struct c2_blob *b = c2_blob_copy(m->data, m->len);
    trio_send(t, TRIO_LIAR, to, b);
    c2_blob_unref(b);
    c2_buf_done(m);
}

static void
say_bytes(struct trio *t, struct c2_rd *in)
{
    unsigned to = c2_rd_u8(in);
    struct c2_buf m = { 0 };
    struct msg_head h = liar_head(t, c2_rd_u8(in));
    struct c2_slice body = c2_rd_raw(in, c2_rd_u16(in) % BYTES);
    put_head(&m, &h);
    c2_buf_append(&m, body.data, body.len);
    if (msg_is_signed(h.type) && h.type != MSG_PRE_PREPARE)
        msg_sign(&cheap_sign, t->secret[TRIO_LIAR], &m, 0);
    say(t, to, &m);
}

/* A signed proposal with the right digest. */
static void
propose(struct trio *t, unsigned to, struct msg_proposal *p, struct c2_slice batch)
{
    struct c2_buf proposal = { 0 }, m = { 0 };
    struct msg_head h = liar_head(t, MSG_PRE_PREPARE);
    msg_batch_digest(batch, p->digest);
    msg_write_proposal(&proposal, &h, p);
    msg_sign(&cheap_sign, t->secret[TRIO_LIAR], &proposal, 0);
    msg_write_pre_prepare(&m, c2_buf_slice(&proposal), batch);
    c2_buf_done(&proposal);
    say(t, to, &m);
}

static void
say_proposal(struct world *w, struct c2_rd *in, bool of_client)
{
    struct trio *t = w->trio;
    unsigned to = c2_rd_u8(in);
    struct msg_proposal p = { .view = c2_rd_u8(in) };
    struct c2_buf batch = { 0 };
    p.n = c2_rd_u8(in);
    if (of_client) {
        const struct c2_blob *request = w->request[c2_rd_u8(in) % TRIO_CLIENTS];
        c2_wr_u64(&batch, TRIO_START_NS + t->now_ns);
        c2_wr_u32(&batch, request != NULL);
        if (request != NULL)
            msg_put_bytes(&batch, c2_blob_slice(request));
    } else {
        struct c2_slice bytes = c2_rd_raw(in, c2_rd_u16(in) % BYTES);
        c2_buf_append(&batch, bytes.data, bytes.len);
    }
    propose(t, to, &p, c2_buf_slice(&batch));
    c2_buf_done(&batch);
}

/* Something that was said before, told as the liar's own. */
static void
say_again(struct trio *t, struct c2_rd *in)
{
    unsigned to = c2_rd_u8(in);
    const struct c2_blob *old = t->tape[(t->tape_at - 1 - c2_rd_u8(in)) % TRIO_TAPE];
    unsigned edits = c2_rd_u8(in) % 8;
    if (old == NULL)
        return;
    struct c2_buf m = { 0 };
    c2_buf_append(&m, old->data, old->len);
    c2_put_u16(m.data + 2, TRIO_LIAR);
    for (unsigned i = 0; i < edits; i++) {
        size_t at = c2_rd_u16(in);
        m.data[at % m.len] = c2_rd_u8(in);
    }
    unsigned type = m.data[1];
    if (msg_is_signed(type) && type != MSG_PRE_PREPARE && m.len >= MSG_HEAD_LEN + MSG_SIG_LEN) {
        m.len -= MSG_SIG_LEN;
        msg_sign(&cheap_sign, t->secret[TRIO_LIAR], &m, 0);
    }
    struct msg_pre_prepare pp;
    struct msg_head h;
    struct msg_proposal p;
    bool proposal = type == MSG_PRE_PREPARE &&
                    msg_read_pre_prepare(c2_buf_slice(&m), &pp) == C2_E_OK &&
                    msg_read_proposal(pp.proposal, &h, &p) == C2_E_OK;
    if (proposal)
        propose(t, to, &p, pp.batch);
    else
        say(t, to, &m);
    if (proposal)
        c2_buf_done(&m);
}

static void
send_request(struct world *w, unsigned k, unsigned to, struct msg_request *m)
{
    struct trio *t = w->trio;
    struct c2_buf out = { 0 };
    memcpy(m->key, t->client[k] + 32, sizeof m->key);
    msg_write_request(&out, t->config.cluster, m);
    msg_sign(&cheap_sign, t->client[k], &out, 0);
    c2_blob_unref(w->request[k]);
    w->request[k] = c2_blob_copy(out.data, out.len);
    trio_client_sends(t, k, to, w->request[k]);
    c2_buf_done(&out);
}

static void
say_request(struct world *w, struct c2_rd *in)
{
    struct trio *t = w->trio;
    unsigned k = c2_rd_u8(in) % TRIO_CLIENTS;
    unsigned to = c2_rd_u8(in);
    struct msg_request m = { .kind = c2_rd_u8(in), .session = t->session[k] };
    struct c2_buf op = { 0 };
    uint8_t hash[C2_SHA256_LEN];
    memcpy(m.key, t->client[k] + 32, sizeof m.key);
    m.cseq = c2_rd_u8(in);
    struct c2_slice bytes = c2_rd_raw(in, c2_rd_u16(in) % BYTES);
    if (m.kind == MSG_REQ_OPEN && bytes.len == 0) {
        m.session = 0;
        msg_client_hash(t->config.cluster, m.key, hash);
        cheap_sign.sign(&cheap_sign, t->authority, hash, c2_buf_extend(&op, MSG_SIG_LEN));
    }
    c2_buf_append(&op, bytes.data, bytes.len);
    m.op = c2_buf_slice(&op);
    send_request(w, k, to, &m);
    c2_buf_done(&op);
}

static void
say_client_bytes(struct trio *t, struct c2_rd *in)
{
    unsigned k = c2_rd_u8(in) % TRIO_CLIENTS;
    unsigned to = c2_rd_u8(in);
    struct c2_buf m = { 0 };
    struct msg_head h = liar_head(t, c2_rd_u8(in));
    struct c2_slice body = c2_rd_raw(in, c2_rd_u16(in) % BYTES);
    h.sender = MSG_SENDER_CLIENT;
    put_head(&m, &h);
    c2_buf_append(&m, body.data, body.len);
    if (h.type == MSG_REQUEST)
        msg_sign(&cheap_sign, t->client[k], &m, 0);
    struct c2_blob *b = c2_blob_copy(m.data, m.len);
    trio_client_sends(t, k, to, b);
    c2_blob_unref(b);
    c2_buf_done(&m);
}

/* A record that the replica has not written: only its own disk can do that. */
static void
tamper(struct trio *t, struct c2_rd *in, unsigned i)
{
    unsigned type = c2_rd_u8(in);
    struct c2_slice bytes = c2_rd_raw(in, c2_rd_u16(in) % BYTES);
    trio_add_record(t, i, type, bytes);
    t->lawless = true;
}

/* The next configuration, in which everybody has another key. */
static void
encode_next(const struct trio *t, struct c2_buf *out)
{
    struct bft_config c = t->config;
    c.epoch++;
    c.base = 0;
    for (unsigned i = 0; i <= TRIO_LIAR; i++) {
        const uint8_t *secret = c.epoch % 2 == 1 ? t->next_secret[i] : t->secret[i];
        memcpy(c.member[i].sign_key, secret + 32, MSG_KEY_LEN);
    }
    bft_config_encode(&c, out);
}

static void
say_admin(struct world *w, struct c2_rd *in)
{
    struct trio *t = w->trio;
    unsigned k = c2_rd_u8(in) % TRIO_CLIENTS;
    unsigned to = c2_rd_u8(in);
    unsigned edits = c2_rd_u8(in) % 8;
    struct msg_request m = { .kind = MSG_REQ_ADMIN, .session = t->session[k] };
    struct c2_buf config = { 0 }, op = { 0 };
    uint8_t hash[C2_SHA256_LEN];
    m.cseq = c2_rd_u8(in);
    encode_next(t, &config);
    for (unsigned i = 0; i < edits; i++) {
        size_t at = c2_rd_u16(in);
        config.data[at % config.len] = c2_rd_u8(in);
    }
    t->lawless = t->lawless || edits > 0;
    bft_admin_hash(t->config.cluster, c2_buf_slice(&config), hash);
    c2_wr_bytes(&op, c2_buf_slice(&config));
    c2_wr_u8(&op, 1);
    c2_wr_u8(&op, 0);
    cheap_sign.sign(&cheap_sign, t->admin, hash, c2_buf_extend(&op, MSG_SIG_LEN));
    m.op = c2_buf_slice(&op);
    send_request(w, k, to, &m);
    c2_buf_done(&config);
    c2_buf_done(&op);
}

static void
run_one(struct world *w, struct c2_rd *in)
{
    struct trio *t = w->trio;
    unsigned i;
    uint8_t op = c2_rd_u8(in);
    switch (op) {
    case 'm':
        say_bytes(t, in);
        break;
    case 'e':
        say_again(t, in);
        break;
    case 'p':
    case 'q':
        say_proposal(w, in, op == 'q');
        break;
    case 'c':
        say_request(w, in);
        break;
    case 'r':
        say_client_bytes(t, in);
        break;
    case 'a':
        say_admin(w, in);
        break;
    case 't':
        trio_time_passes(t, c2_rd_u8(in));
        break;
    case 'x':
        t->lost = c2_rd_u16(in);
        break;
    case 'k':
    case 'w':
        i = c2_rd_u8(in) % TRIO_CORRECT;
        trio_stop(t, i);
        if (op == 'w')
            tamper(t, in, i);
        trio_start(t, i);
        break;
    default:
        c2_rd_fail(in);
    }
    trio_settle(t);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready)
        C2_ASSERT(c2_crypto_init() == C2_E_OK);
    ready = true;
    struct world w = { .trio = trio_new() };
    struct c2_rd in = c2_rd_init(c2_slice(data, size));
    for (unsigned i = 0; i < STEPS && c2_rd_left(&in) > 0 && c2_rd_ok(&in); i++)
        run_one(&w, &in);
    trio_free(w.trio);
    for (unsigned i = 0; i < TRIO_CLIENTS; i++)
        c2_blob_unref(w.request[i]);
    return 0;
}
