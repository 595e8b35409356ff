/* SPDX-License-Identifier: MIT */
/*
 * Requests of the caller, and the session they are sent in.
 *
 *              pump                      f + 1 equal answers
 *   WAITING ─────────► ORDERED ──────────────────────────────────► done
 *      ▲                  │ the session is lost
 *      ├──────────────────┘ (it could not have happened: again in the next one)
 *      │ pump                            a quorum of equal answers
 *      └─────────────► READING ──────────────────────────────────► done
 *                         └─► WAITING, as an ordered query, when the answers differ or do not come
 *
 * The session of the protocol (MSG_REQ_OPEN) is not a session of the service (SESSION_OPEN): it
 * makes every request happen at most once, in a window of BFT_SESSION_WINDOW numbers. A request
 * whose caller has given up keeps its number until it is answered.
 *
 * Every completion is deferred, so no callback runs inside anything here.
 */
#include "metadata/bft_client.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/wire.h"
#include "metadata/bft_client_int.h"
#include "metadata/cmd.h"

#define NONCE_SPREAD (1u << 24)        /* 17 ms */
#define CANCEL_NS    (3 * C2_NS_PER_S) /* for the answer to a request that is not wanted any more */

static const struct coord_ops client_ops;

static struct bft_client *
client_of(struct coord *c)
{
    C2_ASSERT(c->ops == &client_ops);
    return C2_CONTAINER_OF(c, struct bft_client, base);
}

bool
bft_client_is(const struct coord *c)
{
    return c->ops == &client_ops;
}

static const struct bft_client *
const_client_of(const struct coord *c)
{
    C2_ASSERT(bft_client_is(c));
    return (const struct bft_client *)(const void *)((const char *)c -
                                                     offsetof(struct bft_client, base));
}

/* ---- completion ------------------------------------------------------------------------------ */

void
client_call_free(struct bft_call *call)
{
    c2_timer_stop(call->c->base.env, &call->timer);
    client_votes_clear(call);
    c2_buf_done(&call->op);
    c2_blob_unref(call->msg);
    c2_free(call);
}

static void
complete_task(struct c2_task *t)
{
    struct coord_req *r = C2_CONTAINER_OF(t, struct coord_req, task);
    r->done(r);
}

static void
complete_later(struct bft_client *c, struct coord_req *r)
{
    r->priv = NULL;
    r->task.run = complete_task;
    c2_defer(c->base.env, &r->task);
}

void
client_complete(struct bft_call *call, struct c2_buf *answer)
{
    struct coord_req *r = call->req;
    call->req = NULL;
    if (r == NULL) {
        c2_buf_done(answer);
        return;
    }
    cmd_reply_take(r, answer);
    cmd_strip(r, c2_buf_slice(&call->c->prefix));
    complete_later(call->c, r);
}

void
client_complete_err(struct bft_call *call, enum c2_err err)
{
    struct coord_req *r = call->req;
    call->req = NULL;
    if (r == NULL)
        return;
    r->err = err;
    complete_later(call->c, r);
}

void
client_enlist(struct bft_call *call, struct c2_list *list)
{
    C2_ASSERT(call->list == NULL);
    call->list = list;
    call->state = CALL_WAITING;
    call->retry_at = C2_NEVER;
    c2_list_append(list, &call->link);
    client_arm(call);
    client_pump(call->c);
}

void
client_unlist(struct bft_call *call)
{
    c2_list_remove(call->list, &call->link);
    call->list = NULL;
}

/* ---- the session ----------------------------------------------------------------------------- */

struct c2_blob *
client_make_request(struct bft_client *c, enum msg_request_kind kind, uint64_t number,
                    struct c2_slice op)
{
    struct msg_request m = {
        .kind = (uint8_t)kind,
        .session = kind == MSG_REQ_OPEN ? 0 : c->session,
        .cseq = number,
        .ack_low = kind == MSG_REQ_OPEN ? 0 : c->ack_low,
        .op = op,
    };
    struct c2_buf out = { 0 };
    memcpy(m.key, c->key, sizeof m.key);
    msg_write_request(&out, c->config.cluster, &m);
    msg_sign(&bft_crypto_ed25519, c->secret, &out, 0);
    struct c2_blob *msg = c2_blob_copy(out.data, out.len);
    c2_buf_done(&out);
    return msg;
}

static void
encode_request(struct bft_client *c, struct bft_call *call, struct c2_slice op)
{
    c2_blob_unref(call->msg);
    call->msg = client_make_request(c, call->kind, call->number, op);
}

struct c2_blob *
client_call_msg(struct bft_call *call)
{
    if (call->msg == NULL)
        encode_request(call->c, call, c2_buf_slice(&call->op));
    return call->msg;
}

static void
start_open(struct bft_client *c)
{
    struct bft_call *o = &c->opening;
    client_votes_clear(o);
    o->c = c;
    o->kind = MSG_REQ_OPEN;
    o->state = CALL_ORDERED;
    o->number = c->nonce;
    o->timer.fire = client_call_timer;
    o->tries = 0;
    encode_request(c, o, c2_slice(c->cert, sizeof c->cert));
    client_call_send(o, true);
}

/* The clock makes nonces of one key grow over all processes that use it. Two that begin at once
 * must not choose the same: they would share a session, and each take the other's answers for its
 * own. */
void
client_open_again(struct bft_client *c, uint64_t nonce_above)
{
    uint64_t nonce = C2_MAX(c2_wall_ns(c->base.env), nonce_above + 1);
    uint32_t part = 0;
    c2_random(c->base.env, &part, sizeof part);
    nonce = C2_MAX(nonce, c->nonce + 1);
    c->nonce = nonce + part % NONCE_SPREAD;
    start_open(c);
}

void
client_opened(struct bft_client *c, uint64_t session)
{
    c->open = true;
    c->session = session;
    c->next_cseq = 1;
    c->ack_low = 0;
    c2_timer_stop(c->base.env, &c->opening.timer);
    memset(c->answered, 0, sizeof c->answered);
    c2_log(DEBUG, "metadata", "session=%llu opened", (unsigned long long)session);
    client_pump(c);
}

/* A read, or a session that is kept alive: one of the service, which has not ended with ours. */
static bool
may_happen_twice(const struct bft_call *call)
{
    return call->kind == MSG_REQ_QUERY || call->req->verb == COORD_SESSION_KEEPALIVE;
}

void
client_session_lost(struct bft_client *c)
{
    if (!c->open)
        return;
    c->open = false;
    c->under_way = 0;
    c2_log(WARN, "metadata", "session=%llu is not known to the service any more, opening another",
           (unsigned long long)c->session);
    for (unsigned i = 0; i < CALLS_MAX; i++) {
        struct bft_call *call = c->calls[i];
        c->calls[i] = NULL;
        if (call == NULL)
            continue;
        bool again = call->req != NULL && may_happen_twice(call);
        if (!again) {
            C2_MARK("client: unknown outcome");
            if (call->admin != NULL)
                client_admin_end(call, C2_E_UNAVAILABLE, c2_slice(NULL, 0));
            client_complete_err(call, C2_E_UNAVAILABLE);
            client_call_free(call);
            continue;
        }
        client_votes_clear(call);
        client_enlist(call, &c->waiting);
    }
    client_open_again(c, c->nonce);
}

/* ---- sending what waits ---------------------------------------------------------------------- */

static bool
read_slot_free(const struct bft_client *c)
{
    return c->reads[c->next_rseq % READS_MAX] == NULL;
}

static void
pump_task(struct c2_task *t)
{
    struct bft_client *c = C2_CONTAINER_OF(t, struct bft_client, pump);
    client_send_waiting(c);
    while (!c2_list_empty(&c->reading) && read_slot_free(c)) {
        struct bft_call *call = C2_LIST_FIRST(&c->reading, struct bft_call, link);
        client_unlist(call);
        call->number = c->next_rseq++;
        call->state = CALL_READING;
        c->reads[call->number % READS_MAX] = call;
        client_read_start(call);
    }
}

/* After closing nothing may be deferred behind the task that frees all. */
void
client_pump(struct bft_client *c)
{
    if (!c->closing)
        c2_defer(c->base.env, &c->pump);
}

void
client_order(struct bft_call *call)
{
    struct bft_client *c = call->c;
    C2_ASSERT(call->state == CALL_READING);
    c->reads[call->number % READS_MAX] = NULL;
    client_votes_clear(call);
    c2_blob_unref(call->msg);
    call->msg = NULL;
    call->kind = MSG_REQ_QUERY;
    c->ordered_reads++;
    client_enlist(call, &c->waiting);
}

/* ---- the interface --------------------------------------------------------------------------- */

static void
fail_later(struct bft_client *c, struct coord_req *r, enum c2_err err)
{
    r->err = err;
    complete_later(c, r);
}

static struct bft_call *
new_call(struct bft_client *c, struct coord_req *r, enum msg_request_kind kind)
{
    struct bft_call *call = c2_calloc(1, sizeof *call);
    call->c = c;
    call->req = r;
    call->kind = kind;
    call->patient_ns = r->deadline_ns == 0 ? C2_NEVER : r->deadline_ns;
    call->timer.fire = client_call_timer;
    r->priv = call;
    return call;
}

static void
client_submit(struct coord *base, struct coord_req *r)
{
    struct bft_client *c = client_of(base);
    C2_ASSERT(!c->closing);
    if (r->verb == COORD_LOG_READ || r->verb == COORD_LOG_TRIM) {
        fail_later(c, r, C2_E_UNSUPPORTED);
        return;
    }
    if (r->deadline_ns <= c2_now_ns(base->env)) {
        fail_later(c, r, C2_E_TIMEOUT);
        return;
    }
    if (!cmd_fits(r, c2_buf_slice(&c->prefix))) {
        fail_later(c, r, C2_E_TOO_LARGE);
        return;
    }
    bool reads = r->verb == COORD_GET || r->verb == COORD_RANGE || r->verb == COORD_ACL_LIST;
    struct bft_call *call = new_call(c, r, MSG_REQ_COMMAND);
    cmd_encode(r, c2_buf_slice(&c->prefix), &call->op);
    if (call->op.len > COORD_TXN_BYTES_MAX) { /* no replica would take it, for ever */
        client_complete_err(call, C2_E_TOO_LARGE);
        client_call_free(call);
        return;
    }
    client_enlist(call, reads ? &c->reading : &c->waiting);
}

void
bft_client_admin_hash(const struct coord *base, const struct coord_req *r,
                      uint8_t out[C2_SHA256_LEN])
{
    const struct bft_client *c = const_client_of(base);
    C2_AUTO(c2_buf_done) struct c2_buf cmd = { 0 };
    coord_txn_encode(r, &cmd);
    bft_admin_command_hash(c->config.cluster, c->key, c2_buf_slice(&cmd), out);
}

void
bft_client_submit_signed(struct coord *base, struct coord_req *r, struct c2_slice sigs)
{
    struct bft_client *c = client_of(base);
    struct bft_call *call = new_call(c, r, MSG_REQ_ADMIN_COMMAND);
    C2_AUTO(c2_buf_done) struct c2_buf cmd = { 0 };
    C2_ASSERT(sigs.len % (1 + MSG_SIG_LEN) == 0 && r->deadline_ns != 0);
    coord_txn_encode(r, &cmd);
    c2_wr_bytes(&call->op, c2_buf_slice(&cmd));
    c2_wr_u8(&call->op, (uint8_t)(sigs.len / (1 + MSG_SIG_LEN)));
    c2_wr_raw(&call->op, sigs.data, sigs.len);
    client_enlist(call, &c->waiting);
}

/* A command that was sent may be happening now, and its answer be on the way: that is waited for,
 * but not for ever, since whoever cancels wants to end. An ordered read changes nothing; only its
 * number is in use until it is answered, or given up for another one. */
static void
client_cancel(struct coord *base, struct coord_req *r)
{
    struct bft_client *c = client_of(base);
    struct bft_call *call = r->priv;
    if (call == NULL)
        return; /* it has its answer */
    if (call->state == CALL_ORDERED && call->kind == MSG_REQ_QUERY) {
        client_complete_err(call, C2_E_CANCELED);
        client_arm(call);
        return;
    }
    if (call->state == CALL_ORDERED) {
        call->patient_ns = C2_MIN(call->patient_ns, c2_now_ns(base->env) + CANCEL_NS);
        client_arm(call);
        return;
    }
    if (call->state == CALL_READING)
        c->reads[call->number % READS_MAX] = NULL;
    else
        client_unlist(call);
    client_complete_err(call, C2_E_CANCELED);
    client_call_free(call);
    client_pump(c);
}

static void
client_watch(struct coord *base, struct coord_watch *w)
{
    struct bft_client *c = client_of(base);
    watch_list_add(&c->watches, w);
    client_watches_changed(c);
}

static void
client_unwatch(struct coord *base, struct coord_watch *w)
{
    struct bft_client *c = client_of(base);
    watch_list_remove(&c->watches, w);
    if (c2_list_empty(&c->watches.watches)) /* else what comes too much is not for anybody */
        client_watches_changed(c);
}

/* The service forgets the session earlier, if this arrives. */
static void
say_goodbye(struct bft_client *c)
{
    struct bft_call bye = { .c = c, .kind = MSG_REQ_CLOSE, .number = c->next_cseq };
    if (!c->open || c->next_cseq > c->ack_low + CALLS_MAX)
        return;
    encode_request(c, &bye, c2_slice(NULL, 0));
    for (unsigned i = 0; i < c->config.n; i++)
        client_send(c, i, bye.msg);
    c2_blob_unref(bye.msg);
}

static void
free_client(struct bft_client *c)
{
    for (unsigned i = 0; i < CALLS_MAX; i++) {
        if (c->calls[i] != NULL)
            client_call_free(c->calls[i]);
    }
    c2_timer_stop(c->base.env, &c->opening.timer);
    client_gather_done(c);
    client_votes_clear(&c->opening);
    c2_blob_unref(c->opening.msg);
    client_watch_done(c);
    c2_net_free(c->net);
    c2_buf_done(&c->prefix);
    c2_wipe(c->secret, sizeof c->secret);
    c2_free(c);
}

static void
bye_task(struct c2_task *t)
{
    free_client(C2_CONTAINER_OF(t, struct bft_client, bye));
}

static void
client_close(struct coord *base)
{
    struct bft_client *c = client_of(base);
    C2_LIST_FOREACH (&c->waiting, struct bft_call, call, link) {
        C2_ASSERT(call->admin != NULL);
        client_unlist(call);
        client_call_free(call);
    }
    C2_ASSERT(c2_list_empty(&c->waiting) && c2_list_empty(&c->reading));
    for (unsigned i = 0; i < CALLS_MAX; i++) /* a number may be in use, but nobody waits for it */
        C2_ASSERT(c->calls[i] == NULL || c->calls[i]->req == NULL);
    for (unsigned i = 0; i < READS_MAX; i++)
        C2_ASSERT(c->reads[i] == NULL);
    c->closing = true;
    say_goodbye(c);
    client_disconnect(c);
    watch_list_clear(&c->watches);
    c2_defer(base->env, &c->bye); /* behind every other task of ours */
}

static const struct coord_ops client_ops = {
    .submit = client_submit,
    .cancel = client_cancel,
    .watch = client_watch,
    .unwatch = client_unwatch,
    .close = client_close,
};

struct coord *
bft_client_new(struct c2_env *env, const struct bft_client_options *o)
{
    struct bft_client *c = c2_calloc(1, sizeof *c);
    c->base.ops = &client_ops;
    c->base.env = env;
    c->o = *o;
    c->o.retry_ns = o->retry_ns != 0 ? o->retry_ns : 300 * C2_NS_PER_MS;
    c->o.retry_max_ns = o->retry_max_ns != 0 ? o->retry_max_ns : 10 * C2_NS_PER_S;
    c->o.hedge_ns = o->hedge_ns != 0 ? o->hedge_ns : 20 * C2_NS_PER_MS;
    c->config = *o->config;
    c->net = o->net;
    c2_buf_append(&c->prefix, o->prefix.data, o->prefix.len);
    c->rng = o->seed;
    memcpy(c->secret, o->secret, sizeof c->secret);
    memcpy(c->key, o->secret + 32, sizeof c->key); /* libsodium keeps the public key there */
    memcpy(c->cert, o->cert, sizeof c->cert);
    c2_list_init(&c->waiting);
    c2_list_init(&c->reading);
    c->pump.run = pump_task;
    client_gather_init(c);
    c->bye.run = bye_task;
    c->next_rseq = 1;
    c->next_cseq = 1;
    client_watch_init(c);
    client_epoch_init(c);
    client_connect(c);
    client_open_again(c, 0);
    return &c->base;
}

const char *
bft_client_address(const struct coord *base, unsigned seat)
{
    return const_client_of(base)->replicas[seat].address;
}

void
bft_client_info(const struct coord *base, struct bft_client_info *ret_info)
{
    const struct bft_client *c = const_client_of(base);
    struct bft_client_info i = { .replicas = c->config.n, .f = c->config.f, .session = c->open };
    i.epoch = c->config.epoch;
    i.view = client_view(c);
    i.requests = c->requests;
    i.repeated = c->repeated;
    i.fast_reads = c->fast_reads;
    i.ordered_reads = c->ordered_reads;
    i.mismatches = c->mismatches;
    i.reloads = c->reloads;
    for (unsigned s = 0; s < c->config.n; s++) {
        i.up[s] = client_is_up(c, s);
        i.error[s] = c->replicas[s].net->error;
        i.connected += i.up[s];
    }
    *ret_info = i;
}

struct c2_blob *
client_make_ask_status(const struct bft_client *c)
{
    struct msg_head h = { .type = MSG_ASK_STATUS, .sender = MSG_SENDER_CLIENT };
    struct c2_buf out = { 0 };
    h.epoch = c->config.epoch;
    h.cluster = c->config.cluster;
    msg_write_ask_status(&out, &h);
    struct c2_blob *b = c2_blob_copy(out.data, out.len);
    c2_buf_done(&out);
    return b;
}

void
bft_client_ask_status(struct coord *base,
                      void (*told)(void *arg, unsigned seat, struct c2_slice json), void *arg)
{
    struct bft_client *c = client_of(base);
    struct c2_blob *b = client_make_ask_status(c);
    c->told = told;
    c->told_arg = arg;
    for (unsigned i = 0; i < c->config.n; i++)
        client_send(c, i, b);
    c2_blob_unref(b);
}
