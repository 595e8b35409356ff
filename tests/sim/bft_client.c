/* SPDX-License-Identifier: MIT */
/*
 * Clients. An honest one has several requests on their way: additions to counters, reads of all
 * counters (fast, or ordered when that fails). One takes a lock, commits under it and sometimes
 * forgets to give it back; one has administrators' signatures. bft_command.c makes the commands.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "tests/sim/bft_scene.h"

#define AGAIN_NS (300 * C2_NS_PER_MS)

/* ---- sending --------------------------------------------------------------------------------- */

static void
transmit(struct bs_op *op)
{
    struct bs *s = op->c->s;
    uint16_t only = (uint16_t)sim_rng_below(&s->rng, s->config.n);
    bool all = op->read || op->tries++ > 0 || sim_rng_chance(&s->rng, 50);
    for (uint16_t id = 0; id <= s->config.n; id++) {
        if (all || id == only)
            bs_from_client(op->c, id, op->msg);
    }
    sim_arm(s->w, &op->again, s->w->now_ns + AGAIN_NS);
}

static void
send_read(struct bs_op *op)
{
    struct bs_client *c = op->c;
    struct c2_buf cmd = { 0 };
    struct c2_buf msg = { 0 };
    const struct msg_head h = { .sender = MSG_SENDER_CLIENT, .cluster = c->s->config.cluster };
    bs_encode_get(&cmd);
    const struct msg_read m = { .rseq = ++c->rseq, .full = 1, .op = c2_buf_slice(&cmd) };
    op->cseq = m.rseq;
    msg_write_read(&msg, &h, &m);
    op->msg = c2_blob_copy(msg.data, msg.len);
    c2_buf_done(&cmd);
    c2_buf_done(&msg);
    transmit(op);
}

static void
send_query(struct bs_op *op)
{
    struct bs_client *c = op->c;
    struct c2_buf cmd = { 0 };
    struct msg_request m = { .kind = MSG_REQ_QUERY, .session = c->session };
    op->read = false;
    op->query = true;
    op->have = 0;
    op->tries = 0;
    op->cseq = m.cseq = (1ull << 40) + ++c->rseq;
    bs_encode_get(&cmd);
    c2_blob_unref(op->msg);
    op->msg = bs_sign_request(c, &m, c2_buf_slice(&cmd));
    c2_buf_done(&cmd);
    transmit(op);
}

static void
send_command(struct bs_op *op)
{
    struct bs_client *c = op->c;
    struct bs *s = c->s;
    struct c2_buf cmd = { 0 };
    struct c2_buf inner = { 0 };
    struct msg_request m = { .kind = MSG_REQ_COMMAND, .session = c->session };
    if (c->session == 0) {
        uint8_t hash[C2_SHA256_LEN];
        m.kind = MSG_REQ_OPEN;
        m.cseq = ++c->nonce;
        msg_client_hash(s->config.cluster, c->key, hash);
        bs_crypto.sign(&bs_crypto, s->authority, hash, c2_buf_extend(&cmd, MSG_SIG_LEN));
    } else {
        struct bs_issued *is = &c->issued[++c->cseq];
        m.cseq = c->cseq;
        m.ack_low = c->ack_low;
        is->kind = op->kind;
        is->key = op->key;
        is->token = c->token;
        if (op->kind == BS_OP_ADMIN) {
            m.kind = MSG_REQ_ADMIN;
            s->admins++;
            bs_encode_admin(s, &cmd);
        } else if (op->kind == BS_OP_ACL) {
            m.kind = MSG_REQ_ADMIN_COMMAND;
            bs_encode_acl(c, &inner, &cmd);
        } else {
            bs_encode_op(c, op->kind, op->key, &cmd);
        }
        c2_sha256(c2_buf_slice(inner.len > 0 ? &inner : &cmd), is->op);
    }
    op->cseq = m.cseq;
    bool hold = c->nheld > 0 || sim_rng_chance(&s->rng, 50);
    if (m.kind == MSG_REQ_COMMAND && op->kind == BS_OP_ADD && hold) {
        msg_put_bytes(&c->held_ops, c2_buf_slice(&cmd));
        c->held[c->nheld++] = op;
    } else {
        op->msg = bs_sign_request(c, &m, c2_buf_slice(&cmd));
        transmit(op);
    }
    c2_buf_done(&cmd);
    c2_buf_done(&inner);
}

/* What was held goes with one signature; their numbers are in a row. */
static void
send_held(struct bs_client *c)
{
    if (c->nheld == 0)
        return;
    struct msg_request m = { .kind = MSG_REQ_COMMANDS, .session = c->session };
    m.cseq = c->held[0]->cseq;
    m.ack_low = c->ack_low;
    struct c2_blob *msg = bs_sign_request(c, &m, c2_buf_slice(&c->held_ops));
    for (unsigned i = 0; i < c->nheld; i++) {
        c->held[i]->msg = c2_blob_ref(msg);
        transmit(c->held[i]);
    }
    C2_MARK("sim: commands with one signature");
    c2_blob_unref(msg);
    c2_buf_clear(&c->held_ops);
    c->nheld = 0;
}

static void
again_due(struct c2_timer *t)
{
    struct bs_op *op = C2_CONTAINER_OF(t, struct bs_op, again);
    if (op->read) {
        C2_MARK("sim: a fast read is ordered instead");
        send_query(op);
        return;
    }
    transmit(op);
}

/* ---- what next ------------------------------------------------------------------------------- */

static unsigned
locker_next(struct bs_client *c)
{
    if (c->store_session == 0)
        return BS_OP_OPEN;
    if (c->token == 0)
        return c->stage++ < 20 ? BS_OP_LOCK : BS_OP_CLOSE;
    if (sim_rng_chance(&c->s->rng, 60))
        return BS_OP_COMMIT;
    return BS_OP_CLOSE;
}

static bool
wants_change(const struct bs *s, unsigned left)
{
    return s->admin_kind != 0 && (left == s->admin_at || (s->admin_more && left % 10 == 0));
}

static void
start_op(struct bs_client *c)
{
    unsigned i = 0;
    while (c->op[i].used)
        i++;
    struct bs_op *op = &c->op[i];
    struct bs *s = c->s;
    struct c2_timer again = op->again;
    *op = (struct bs_op){ .c = c, .used = true, .again = again, .sent_ns = s->w->now_ns };
    op->low = s->low;
    op->key = (unsigned)sim_rng_below(&s->rng, BS_KEYS);
    c->outstanding++;
    c->left--;
    if (c->session != 0 && c->i == 0 && wants_change(s, c->left))
        op->kind = BS_OP_ADMIN;
    else if (c->session != 0 && s->acl && c->i == 0 && !s->acl_asked)
        op->kind = BS_OP_ACL;
    else if (c->locker && c->session != 0)
        op->kind = locker_next(c);
    else
        op->kind = sim_rng_chance(&s->rng, 60) ? BS_OP_ADD : BS_OP_GET;
    op->read = op->kind == BS_OP_GET && c->session != 0;
    s->acl_asked = s->acl_asked || op->kind == BS_OP_ACL;
    if (op->kind != BS_OP_ADD)
        send_held(c); /* before another one gets the next number */
    if (op->read)
        send_read(op);
    else
        send_command(op);
}

static void
next_due(struct c2_timer *t)
{
    struct bs_client *c = C2_CONTAINER_OF(t, struct bs_client, next);
    unsigned window = c->session == 0 || c->locker ? 1 : c->window;
    while (c->left > 0 && c->outstanding < window && c->cseq + 1 < BS_CSEQ_MAX)
        start_op(c);
    send_held(c);
}

static void
finish(struct bs_op *op)
{
    struct bs_client *c = op->c;
    struct bs *s = c->s;
    uint64_t pause_ns = 1;
    sim_stop(s->w, &op->again);
    c2_blob_unref(op->msg);
    c2_blob_unref(op->result);
    op->msg = op->result = NULL;
    op->used = false;
    c->outstanding--;
    /* A locker that is slow may lose what it holds. */
    if (sim_rng_chance(&s->rng, c->locker ? 20 : 5))
        pause_ns = sim_rng_below(&s->rng, 2 * C2_NS_PER_S);
    if (c->left > 0 && !c2_timer_armed(&c->next))
        sim_arm(s->w, &c->next, s->w->now_ns + pause_ns);
    s->done = bs_clients_done(s);
}

bool
bs_clients_done(const struct bs *s)
{
    for (unsigned i = 0; i < s->nclients; i++) {
        const struct bs_client *c = &s->client[i];
        if (!c->liar && (c->outstanding > 0 || c->left > 0))
            return false;
    }
    return true;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void
parse(struct bs_op *op, struct coord_req *r)
{
    struct c2_buf copy = { 0 };
    *r = (struct coord_req){ .verb = op->kind == BS_OP_GET ? COORD_GET : COORD_TXN };
    if (op->kind == BS_OP_OPEN)
        r->verb = COORD_SESSION_OPEN;
    if (op->result != NULL)
        c2_buf_append(&copy, op->result->data, op->result->len);
    cmd_reply_take(r, &copy);
}

static void
values_read(struct bs_op *op)
{
    struct bs *s = op->c->s;
    uint64_t value[BS_KEYS] = { 0 };
    struct coord_req r;
    parse(op, &r);
    if (bs_is_outsider(s, op->c) && s->acl_n != 0 &&
        (r.err == C2_E_NOT_PERMITTED || op->low >= s->acl_n)) {
        C2_MARK("sim: a client without rights reads nothing");
        SIM_CHECK(s->w, r.err == C2_E_NOT_PERMITTED && r.nentries == 0,
                  "a client without rights reads: %s", c2_err_name(r.err));
        coord_req_done(&r);
        return;
    }
    SIM_CHECK(s->w, r.err == C2_E_OK && r.nentries == BS_KEYS, "a read failed: %s",
              c2_err_name(r.err));
    for (unsigned i = 0; i < BS_KEYS; i++)
        value[i] = r.entries[i].value.len == 8 ? c2_get_u64(r.entries[i].value.data) : 0;
    coord_req_done(&r);
    bs_check_read(s, op, value);
}

/* The addition; what was executed has checked whether it had to be. */
static bool
was_done(struct bs_op *op)
{
    struct coord_req r;
    parse(op, &r);
    coord_req_done(&r);
    return r.err == C2_E_OK;
}

static void
lock_answered(struct bs_op *op)
{
    struct bs_client *c = op->c;
    struct coord_req r;
    parse(op, &r);
    if (op->kind == BS_OP_OPEN)
        c->store_session = r.session;
    if (op->kind == BS_OP_LOCK && r.err == C2_E_OK)
        c->token = r.version;
    bool lost = r.err != C2_E_OK && r.err != C2_E_CONFLICT;
    if (lost || op->kind == BS_OP_CLOSE || (op->kind == BS_OP_COMMIT && r.err != C2_E_OK)) {
        c->store_session = c->token = 0;
        c->stage = 0;
    }
    coord_req_done(&r);
}

static void
acknowledge(struct bs_client *c)
{
    while (c->ack_low < c->cseq && c->issued[c->ack_low + 1].done)
        c->ack_low++;
}

static void
accepted(struct bs_op *op, uint64_t n, uint8_t code)
{
    struct bs_client *c = op->c;
    struct bs *s = c->s;
    SIM_CHECK(s->w, code == MSG_OK || (op->kind == BS_OP_ADMIN && code == MSG_ADMIN_REFUSED),
              "client %u: code %u", c->i, code);
    SIM_CHECK(s->w, n > op->low || c->session == 0, "client %u: executed at %llu, sent after %llu",
              c->i, (unsigned long long)n, (unsigned long long)op->low);
    if (c->session == 0) {
        SIM_CHECK(s->w, op->result != NULL && op->result->len == 8, "no session");
        c->session = c2_get_u64(op->result->data);
        finish(op);
        return;
    }
    if (op->query) { /* what it shows was checked when it was executed */
        s->low = C2_MAX(s->low, n);
        finish(op);
        return;
    }
    struct bs_issued *is = &c->issued[op->cseq];
    SIM_CHECK(s->w, is->executed_at == n || op->kind == BS_OP_ADMIN,
              "client %u: request %llu was executed at %llu, not at %llu", c->i,
              (unsigned long long)op->cseq, (unsigned long long)is->executed_at,
              (unsigned long long)n);
    is->done = true;
    s->low = C2_MAX(s->low, n);
    if (op->kind == BS_OP_ADD)
        s->acked[op->key] += was_done(op);
    else if (op->kind == BS_OP_ACL)
        sim_trace(s->w, "acl", "changed at %llu", (unsigned long long)n);
    else if (op->kind == BS_OP_ADMIN)
        sim_trace(s->w, "admin", "code %u", code);
    else if (op->kind != BS_OP_GET)
        lock_answered(op);
    acknowledge(c);
    finish(op);
}

static unsigned
count_equal(const struct bs_op *op, unsigned id)
{
    unsigned same = 0;
    for (unsigned i = 0; i < BS_IDS; i++)
        same += (op->have >> i & 1) != 0 && op->n[i] == op->n[id] && op->code[i] == op->code[id] &&
                memcmp(op->digest[i], op->digest[id], MSG_DIGEST_LEN) == 0;
    return same;
}

static void
keep_result(struct bs_op *op, const uint8_t *digest, bool has, struct c2_slice result)
{
    uint8_t sum[MSG_DIGEST_LEN];
    c2_sha256(result, sum);
    if (!has || memcmp(sum, digest, sizeof sum) != 0)
        return;
    c2_blob_unref(op->result);
    op->result = c2_blob_copy(result.data, result.len);
    memcpy(op->result_digest, digest, MSG_DIGEST_LEN);
}

static void
hears_reply(struct bs_client *c, uint16_t id, const struct msg_reply *m)
{
    for (unsigned i = 0; i < BS_OUT_MAX; i++) {
        struct bs_op *op = &c->op[i];
        if (!op->used || op->read || op->cseq != m->cseq || m->session != c->session)
            continue;
        op->have |= 1u << id;
        op->n[id] = m->n;
        op->code[id] = m->code;
        memcpy(op->digest[id], m->digest, MSG_DIGEST_LEN);
        keep_result(op, m->digest, m->has_result != 0, m->result);
        bool have = op->result != NULL && memcmp(op->result_digest, m->digest, 32) == 0;
        if (count_equal(op, id) > c->s->config.f && have)
            accepted(op, m->n, m->code);
        return;
    }
}

static bool
is_member(const struct bs *s, uint32_t epoch, uint16_t id)
{
    if (epoch >= BS_EPOCHS || !s->have_epoch[epoch])
        return false;
    for (unsigned i = 0; i < s->epochs[epoch].n; i++) {
        if (s->epochs[epoch].member[i].id == id)
            return true;
    }
    return false;
}

static void
hears_read(struct bs_client *c, uint16_t id, uint32_t epoch, const struct msg_read_reply *m)
{
    for (unsigned i = 0; i < BS_OUT_MAX; i++) {
        struct bs_op *op = &c->op[i];
        if (!op->used || !op->read || op->cseq != m->rseq || !is_member(c->s, epoch, id))
            continue;
        op->have |= 1u << id;
        op->n[id] = epoch; /* must be equal, as the digest */
        op->code[id] = m->code;
        memcpy(op->digest[id], m->digest, MSG_DIGEST_LEN);
        keep_result(op, m->digest, m->has_result != 0, m->result);
        bool have = op->result != NULL && memcmp(op->result_digest, m->digest, 32) == 0;
        if (m->code != MSG_OK || !have || count_equal(op, id) < 2u * c->s->config.f + 1)
            return;
        C2_MARK("sim: a fast read");
        c->s->fast_reads++;
        values_read(op);
        finish(op);
        return;
    }
}

void
bs_client_hears(struct bs_client *c, uint16_t id, struct c2_slice msg)
{
    struct msg_head h;
    struct msg_reply m;
    struct msg_read_reply r;
    C2_ASSERT(id < BS_IDS);
    if (msg_read_head(msg, &h) != C2_E_OK)
        return;
    if (c->liar) {
        if (c->session == 0 && msg_read_reply(msg, &m) == C2_E_OK && m.result.len == 8)
            c->session = c2_get_u64(m.result.data);
        return;
    }
    if (msg_read_reply(msg, &m) == C2_E_OK)
        hears_reply(c, id, &m);
    else if (msg_read_read_reply(msg, &r) == C2_E_OK)
        hears_read(c, id, h.epoch, &r);
}

/* ---- life ------------------------------------------------------------------------------------ */

void
bs_client_init(struct bs_client *c, struct bs *s, unsigned i)
{
    *c = (struct bs_client){ .s = s, .i = i };
    bs_make_key(s, c->secret, c->key);
    c->window = (unsigned)sim_rng_between(&s->rng, 1, BS_OUT_MAX);
    c->left = (unsigned)sim_rng_between(&s->rng, 5, 40);
    for (unsigned k = 0; k < BS_OUT_MAX; k++)
        c->op[k].again.fire = again_due;
}

void
bs_client_start(struct bs_client *c)
{
    c->next.fire = c->liar ? bs_liar_due : next_due;
    sim_arm(c->s->w, &c->next, c->s->w->now_ns + 1);
}

void
bs_client_stop(struct bs_client *c)
{
    sim_stop(c->s->w, &c->next);
    c2_buf_done(&c->held_ops);
    for (unsigned k = 0; k < BS_OUT_MAX; k++) {
        sim_stop(c->s->w, &c->op[k].again);
        c2_blob_unref(c->op[k].msg);
        c2_blob_unref(c->op[k].result);
    }
}
