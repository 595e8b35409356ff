/* SPDX-License-Identifier: MIT */
/*
 * A client of four replicas, all of which are the fuzzer's. The input is a little program; `seats`
 * are the replicas that say the same.
 *
 *   'u' seats                     their links come up;  'd' seats: go down
 *   'm' seats type len bytes      a message, its head made right
 *   'O' seats session             the answer to the client's OPEN
 *   'R' seats back code n len bytes     the answer to an ordered request, `back` before the next
 *   'r' seats back code len bytes       ... to a fast read
 *   'E' seats n after lost len bytes    changes
 *   'e' seats base n edits        the next epoch: its configuration (n bytes changed: u16 at, u8
 *                                 new) and a certificate, signed by the seats
 *   'g' 'p' 's' 'w'               the caller gets, puts, opens a session, watches
 *   'c' back                      the caller gives up
 *   't' n                         time passes
 *
 * What one replica alone says, of four of which one may lie, is never believed.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/wire.h"
#include "metadata/bft_client_int.h"
#include "tests/lib/test_env.h"

#define N           4u
#define STEPS       128u
#define BYTES       2048u
#define REQUESTS    64u
#define DEADLINE_NS (20 * C2_NS_PER_S)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct test_env *t;
    struct bft_config config;
    uint8_t secret[N][C2_ED25519_SECRET_LEN];
    struct bft_client *client;
    struct coord_req req[REQUESTS];
    bool pending[REQUESTS];
    unsigned nreqs;
    struct coord_watch watch;
    bool watching;
    unsigned spoken; /* seats that ever said something that might count */
    unsigned links;
};

static struct world *world; /* of the input in work: callbacks of requests have no argument */

/* ---- a network that does what it is told ------------------------------------------------------
 */

static struct c2_net_link *
dial(struct c2_net *n, const struct c2_net_dial *d)
{
    struct c2_net_link *l = c2_calloc(1, sizeof *l);
    l->net = n;
    l->events = d->as.events;
    l->user = d->as.user;
    l->dialled = true;
    memcpy(l->peer, d->peer, sizeof l->peer);
    world->links++;
    return l;
}

static C2_RESULT
net_send(struct c2_net_link *l, enum c2_net_class class, struct c2_blob *m)
{
    (void)class;
    l->sent_bytes += m->len;
    return C2_E_OK;
}

static void
net_pause(struct c2_net_link *l, bool paused)
{
    (void)l;
    (void)paused;
}

static void
net_close(struct c2_net_link *l)
{
    world->links--;
    c2_free(l);
}

static void
net_free(struct c2_net *n)
{
    c2_free(n);
}

static const struct c2_net_ops net_ops = {
    .dial = dial,
    .send = net_send,
    .pause = net_pause,
    .close = net_close,
    .free = net_free,
};

static void
set_up(struct world *w, unsigned seats, bool up)
{
    for (unsigned i = 0; i < w->client->config.n; i++) {
        struct c2_net_link *l = w->client->replicas[i].net;
        if ((seats >> i & 1) == 0 || l->up == up)
            continue;
        l->up = up;
        if (up)
            l->events->up(l);
        else
            l->events->down(l, C2_E_UNREACHABLE);
    }
}

/* ---- the caller ------------------------------------------------------------------------------ */

static bool
may_believe(const struct world *w)
{
    return __builtin_popcount(w->spoken) > w->config.f || w->client->config.epoch > 0;
}

static void
request_done(struct coord_req *r)
{
    C2_ASSERT(r->err != C2_E_OK || may_believe(world));
    world->pending[r - world->req] = false;
    coord_req_done(r);
}

static void
event(struct coord_watch *watch, struct c2_slice key, uint64_t version, bool deleted)
{
    (void)version;
    (void)deleted;
    C2_ASSERT(may_believe(world));
    C2_ASSERT(c2_slice_starts_with(key, watch->prefix) && key.len <= COORD_KEY_MAX);
}

static void
reload(struct coord_watch *watch)
{
    (void)watch;
}

static void
call(struct world *w, uint8_t what)
{
    static const struct c2_slice key = { (const uint8_t *)"key", 3 };
    static const struct coord_op op = { .kind = COORD_PUT, .key = { (const uint8_t *)"key", 3 } };
    struct coord_req *r = &w->req[w->nreqs];
    if (what == 'w') {
        if (w->watching)
            return;
        w->watch = (struct coord_watch){ .prefix = key, .event = event, .reload = reload };
        coord_watch(&w->client->base, &w->watch);
        w->watching = true;
        return;
    }
    if (w->nreqs == REQUESTS)
        return;
    w->pending[w->nreqs++] = true;
    *r = (struct coord_req){ .verb = COORD_GET, .keys = &key, .nkeys = 1 };
    if (what == 'p')
        *r = (struct coord_req){ .verb = COORD_TXN, .ops = &op, .nops = 1 };
    else if (what == 's')
        *r = (struct coord_req){ .verb = COORD_SESSION_OPEN, .ttl_ns = COORD_TTL_NS_MIN };
    r->deadline_ns = c2_now_ns(w->client->base.env) + DEADLINE_NS;
    r->done = request_done;
    coord_submit(&w->client->base, r);
}

static void
give_up(struct world *w, unsigned back)
{
    unsigned i = w->nreqs - 1 - back % C2_MAX(w->nreqs, 1u);
    if (w->nreqs > 0 && w->pending[i])
        coord_cancel(&w->client->base, &w->req[i]);
    test_env_run_ready(w->t);
}

/* ---- what the replicas say ------------------------------------------------------------------- */

static struct msg_head
head_of(const struct world *w, unsigned seat, uint8_t type)
{
    struct msg_head h = { .type = type, .sender = (uint16_t)seat };
    h.epoch = w->client->config.epoch;
    h.cluster = w->config.cluster;
    return h;
}

static void
deliver(struct world *w, unsigned seat, struct c2_slice m)
{
    struct c2_net_link *l = w->client->replicas[seat].net;
    if (l == NULL || !l->up)
        return;
    w->spoken |= 1u << seat;
    struct c2_blob *b = c2_blob_copy(m.data, m.len); /* exact: a read past the end is seen */
    l->events->message(l, c2_blob_slice(b));
    c2_blob_unref(b);
}

static void
say_bytes(struct world *w, struct c2_rd *in)
{
    unsigned seats = c2_rd_u8(in);
    uint8_t type = c2_rd_u8(in);
    struct c2_slice body = c2_rd_raw(in, c2_rd_u16(in) % BYTES);
    for (unsigned i = 0; i < w->client->config.n; i++) {
        struct c2_buf m = { 0 };
        struct msg_head h = head_of(w, i, type);
        c2_wr_u8(&m, MSG_FORMAT);
        c2_wr_u8(&m, h.type);
        c2_wr_u16(&m, h.sender);
        c2_wr_u32(&m, h.epoch);
        c2_wr_u64(&m, h.cluster);
        c2_buf_append(&m, body.data, body.len);
        if ((seats >> i & 1) != 0)
            deliver(w, i, c2_buf_slice(&m));
        c2_buf_done(&m);
    }
}

static void
say_reply(struct world *w, unsigned seats, struct msg_reply *r)
{
    c2_sha256(r->result, r->digest);
    r->has_result = 1;
    for (unsigned i = 0; i < w->client->config.n; i++) {
        struct c2_buf m = { 0 };
        const struct msg_head h = head_of(w, i, MSG_REPLY);
        msg_write_reply(&m, &h, r);
        if ((seats >> i & 1) != 0)
            deliver(w, i, c2_buf_slice(&m));
        c2_buf_done(&m);
    }
}

static void
say_opened(struct world *w, struct c2_rd *in)
{
    unsigned seats = c2_rd_u8(in);
    uint8_t session[8];
    struct msg_reply r = { .cseq = w->client->nonce, .n = 1, .code = MSG_OK };
    c2_put_u64(session, c2_rd_u8(in));
    r.result = c2_slice(session, sizeof session);
    say_reply(w, seats, &r);
}

static void
say_answer(struct world *w, struct c2_rd *in)
{
    unsigned seats = c2_rd_u8(in);
    struct msg_reply r = { .session = w->client->session };
    r.cseq = w->client->next_cseq - c2_rd_u8(in);
    r.code = c2_rd_u8(in);
    r.n = c2_rd_u8(in);
    r.result = c2_rd_raw(in, c2_rd_u16(in) % BYTES);
    say_reply(w, seats, &r);
}

static void
say_read(struct world *w, struct c2_rd *in)
{
    unsigned seats = c2_rd_u8(in);
    struct msg_read_reply r = { .has_result = 1, .version = 3 };
    r.rseq = w->client->next_rseq - c2_rd_u8(in);
    r.code = c2_rd_u8(in);
    r.result = c2_rd_raw(in, c2_rd_u16(in) % BYTES);
    c2_sha256(r.result, r.digest);
    for (unsigned i = 0; i < w->client->config.n; i++) {
        struct c2_buf m = { 0 };
        const struct msg_head h = head_of(w, i, MSG_READ_REPLY);
        msg_write_read_reply(&m, &h, &r);
        if ((seats >> i & 1) != 0)
            deliver(w, i, c2_buf_slice(&m));
        c2_buf_done(&m);
    }
}

static void
say_event(struct world *w, struct c2_rd *in)
{
    unsigned seats = c2_rd_u8(in);
    struct msg_event e = { .n = c2_rd_u8(in) };
    e.after = c2_rd_u8(in);
    e.lost = c2_rd_u8(in) % 2;
    e.events = c2_rd_raw(in, c2_rd_u16(in) % BYTES);
    for (unsigned i = 0; i < w->client->config.n; i++) {
        struct c2_buf m = { 0 };
        const struct msg_head h = head_of(w, i, MSG_EVENT);
        e.wseq = w->client->replicas[i].stream.wseq;
        msg_write_event(&m, &h, &e);
        if ((seats >> i & 1) != 0)
            deliver(w, i, c2_buf_slice(&m));
        c2_buf_done(&m);
    }
}

static void
certify(const struct world *w, unsigned seats, uint64_t base, struct c2_slice config,
        struct c2_buf *out)
{
    struct msg_stable s = { .epoch = w->client->config.epoch, .c = { .n = base } };
    uint8_t hash[C2_SHA256_LEN];
    c2_sha256(config, s.c.config);
    for (uint16_t i = 0; i < N; i++) {
        if ((seats >> i & 1) == 0)
            continue;
        msg_checkpoint_hash(w->config.cluster, s.epoch, i, &s.c, hash);
        s.sig[s.count].seat = i;
        bft_crypto_ed25519.sign(&bft_crypto_ed25519, w->secret[i], hash, s.sig[s.count++].sig);
    }
    msg_put_stable(out, &s);
}

static void
say_epoch(struct world *w, struct c2_rd *in)
{
    unsigned seats = c2_rd_u8(in) % 16;
    struct bft_config next = w->client->config;
    struct c2_buf config = { 0 }, stable = { 0 }, m = { 0 };
    uint32_t before = next.epoch;
    next.epoch++;
    next.base = (uint64_t)c2_rd_u8(in) * next.checkpoint_interval;
    bft_config_encode(&next, &config);
    unsigned edits = c2_rd_u8(in) % 8;
    for (unsigned i = 0; i < edits; i++) {
        size_t at = c2_rd_u16(in);
        config.data[at % config.len] = c2_rd_u8(in);
    }
    certify(w, seats, next.base, c2_buf_slice(&config), &stable);
    struct msg_epoch e = { .config = c2_buf_slice(&config), .stable = c2_buf_slice(&stable) };
    const struct msg_head h = head_of(w, 0, MSG_EPOCH);
    msg_write_epoch(&m, &h, &e);
    deliver(w, 0, c2_buf_slice(&m));
    test_env_run_ready(w->t);
    bool enough = (unsigned)__builtin_popcount(seats) >= bft_quorum(&w->config);
    C2_ASSERT(w->client->config.epoch == before || (enough && before < w->client->config.epoch));
    c2_buf_done(&config);
    c2_buf_done(&stable);
    c2_buf_done(&m);
}

static void
run_one(struct world *w, struct c2_rd *in)
{
    uint8_t op = c2_rd_u8(in);
    switch (op) {
    case 'u':
    case 'd':
        set_up(w, c2_rd_u8(in), op == 'u');
        break;
    case 'm':
        say_bytes(w, in);
        break;
    case 'O':
        say_opened(w, in);
        break;
    case 'R':
        say_answer(w, in);
        break;
    case 'r':
        say_read(w, in);
        break;
    case 'E':
        say_event(w, in);
        break;
    case 'e':
        say_epoch(w, in);
        break;
    case 'g':
    case 'p':
    case 's':
    case 'w':
        call(w, op);
        break;
    case 'c':
        give_up(w, c2_rd_u8(in));
        break;
    case 't':
        test_env_run_for(w->t, c2_rd_u8(in) * 10 * C2_NS_PER_MS);
        break;
    default:
        c2_rd_fail(in);
    }
    test_env_run_ready(w->t);
}

/* ---- the world ------------------------------------------------------------------------------- */

static void
make_config(struct world *w)
{
    uint8_t seed[32] = { 7 };
    bft_config_default(&w->config);
    w->config.cluster = 42;
    for (unsigned i = 0; i < N; i++) {
        struct bft_member *m = &w->config.member[i];
        m->id = (uint16_t)i;
        seed[1] = (uint8_t)i;
        c2_ed25519_keypair(seed, w->secret[i], m->sign_key);
        memcpy(m->identity_key, m->sign_key, sizeof m->identity_key);
    }
}

static void
start(struct world *w)
{
    static uint8_t secret[C2_ED25519_SECRET_LEN], key[MSG_KEY_LEN];
    static const uint8_t seed[32] = { 9 }, cert[MSG_SIG_LEN];
    struct c2_net *net = c2_calloc(1, sizeof *net);
    struct bft_client_options o = { .config = &w->config, .secret = secret, .cert = cert };
    make_config(w);
    w->t = test_env_new(1);
    net->ops = &net_ops;
    net->env = test_env_env(w->t);
    c2_ed25519_keypair(seed, secret, key);
    o.net = net;
    w->client = C2_CONTAINER_OF(bft_client_new(net->env, &o), struct bft_client, base);
}

static void
end(struct world *w)
{
    test_env_run_for(w->t, DEADLINE_NS + C2_NS_PER_S);
    for (unsigned i = 0; i < w->nreqs; i++)
        C2_ASSERT(!w->pending[i]);
    coord_close(&w->client->base);
    test_env_run_ready(w->t);
    C2_ASSERT(w->links == 0);
    test_env_free(w->t);
    c2_free(w);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    struct c2_rd in = c2_rd_init(c2_slice(data, size));
    if (!ready)
        C2_ASSERT(c2_crypto_init() == C2_E_OK);
    ready = true;
    world = c2_calloc(1, sizeof *world);
    start(world);
    for (unsigned i = 0; i < STEPS && c2_rd_left(&in) > 0 && c2_rd_ok(&in); i++)
        run_one(world, &in);
    end(world);
    return 0;
}
