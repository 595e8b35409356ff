/* SPDX-License-Identifier: MIT */
/*
 * Requests that wait to be executed, by session: their arrival, their room, and how long they wait.
 *
 * Of the room for requests a key has a quarter at the primary, which keeps more for what backups
 * have taken: a part each. A backup measures how long each session has waited since anything of it
 * was executed: first it tells everybody, later it wishes for another view. So a client that floods
 * makes only itself wait; and while the sessions of a key take turns (bft_batch.c) they wait for
 * each other, not for the primary. What was executed under another form (one by one, or with others
 * in one request) leaves the queue before anybody is told.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "metadata/bft_int.h"

#define FORWARDS_MAX 256                    /* to a new primary at once */
#define FAIR_MAX     (4 * BFT_SESSIONS_KEY) /* requests of a key between two of one session */
#define FAIR_TIMES   4                      /* times request_ns that it may take at most */
#define PACED_MAX    (2 * BFT_SHARE) /* commands of a key before one that waits for the primary */

static bool
command_is_over(struct bft_replica *r, const struct msg_request *m)
{
    struct bft_session *s = NULL;
    switch (bft_session_check(r, m, &s)) {
    case BFT_NEW:
        return false;
    case BFT_DONE:
        return true;
    case BFT_OUTSIDE:
        return m->cseq <= s->ack_low;
    case BFT_UNKNOWN:
        return bft_session_is_gone(r, m->session);
    }
    C2_UNREACHABLE();
}

static bool
commands_are_over(struct bft_replica *r, const struct msg_request *m)
{
    struct c2_slice rest = m->op;
    struct msg_request one;
    bool over = true;
    for (uint32_t i = 0; msg_next_command(m, i, &rest, &one); i++)
        over = over && command_is_over(r, &one);
    return over;
}

/* Nothing of it will ever be executed: it was, or its session has ended, or those who have admitted
 * it are not the ones of this epoch: a batch with it would be a bad one. */
static bool
is_over(struct bft_replica *r, const struct bft_request *req)
{
    struct msg_request m;
    enum c2_err err = msg_read_request(bft_bytes_slice(&req->msg), &m);
    C2_ASSERT(err == C2_E_OK);
    bool by_others =
        m.kind == MSG_REQ_OPEN || m.kind == MSG_REQ_ADMIN || m.kind == MSG_REQ_ADMIN_COMMAND;
    if (by_others && !bft_request_valid(r, bft_bytes_slice(&req->msg), &m))
        return true;
    return commands_are_over(r, &m);
}

/* ---- validity: never depends on the state, which may lag ------------------------------------- */

static bool
open_is_admitted(struct bft_replica *r, const struct msg_request *m)
{
    uint8_t hash[C2_SHA256_LEN];
    msg_client_hash(r->config.cluster, m->key, hash);
    r->count.sig_checked++;
    return r->crypto->verify(r->crypto, r->config.client_authority, hash, m->op.data);
}

bool
bft_request_valid(struct bft_replica *r, struct c2_slice msg, struct msg_request *ret)
{
    struct msg_head h;
    if (msg_read_request(msg, ret) != C2_E_OK || msg_read_head(msg, &h) != C2_E_OK ||
        h.cluster != r->config.cluster)
        return false;
    if (!bft_verify(r, ret->key, msg))
        return false;
    if (ret->kind == MSG_REQ_ADMIN || ret->kind == MSG_REQ_ADMIN_COMMAND)
        return bft_admin_valid(r, ret);
    return ret->kind != MSG_REQ_OPEN || open_is_admitted(r, ret);
}

/* ---- queues ---------------------------------------------------------------------------------- */

static uint64_t
queue_hash(const struct bft_replica *r, const uint8_t *key, uint64_t session)
{
    uint8_t bytes[MSG_KEY_LEN + 8];
    memcpy(bytes, key, MSG_KEY_LEN);
    c2_put_u64(bytes + MSG_KEY_LEN, session);
    return c2_map_hash_bytes(&r->queues, c2_slice(bytes, sizeof bytes));
}

static struct bft_queue *
find_queue(const struct bft_replica *r, const uint8_t *key, uint64_t session)
{
    struct c2_map_node *node = c2_map_find(&r->queues, queue_hash(r, key, session));
    for (; node != NULL; node = c2_map_find_next(node)) {
        struct bft_queue *q = C2_CONTAINER_OF(node, struct bft_queue, node);
        if (q->session == session && memcmp(q->key, key, MSG_KEY_LEN) == 0)
            return q;
    }
    return NULL;
}

static struct bft_principal *
find_principal(const struct bft_replica *r, const uint8_t *key)
{
    uint64_t hash = c2_map_hash_bytes(&r->principals, c2_slice(key, MSG_KEY_LEN));
    struct c2_map_node *node = c2_map_find(&r->principals, hash);
    for (; node != NULL; node = c2_map_find_next(node)) {
        struct bft_principal *p = C2_CONTAINER_OF(node, struct bft_principal, node);
        if (memcmp(p->key, key, MSG_KEY_LEN) == 0)
            return p;
    }
    return NULL;
}

static struct bft_principal *
make_principal(struct bft_replica *r, const uint8_t *key)
{
    struct bft_principal *p = c2_calloc(1, sizeof *p);
    memcpy(p->key, key, MSG_KEY_LEN);
    c2_list_init(&p->turns);
    p->node.hash = c2_map_hash_bytes(&r->principals, c2_slice(key, MSG_KEY_LEN));
    c2_map_insert(&r->principals, &p->node);
    return p;
}

static struct bft_queue *
make_queue(struct bft_replica *r, const uint8_t *key, uint64_t session)
{
    struct bft_queue *q = c2_calloc(1, sizeof *q);
    memcpy(q->key, key, MSG_KEY_LEN);
    q->principal = find_principal(r, key);
    if (q->principal == NULL)
        q->principal = make_principal(r, key);
    q->principal->queues++;
    q->session = session;
    q->wait_ns = r->now_ns;
    q->seen = q->principal->served;
    c2_list_init(&q->requests);
    q->node.hash = queue_hash(r, key, session);
    c2_map_insert(&r->queues, &q->node);
    c2_list_append(&r->ages, &q->by_age);
    return q;
}

static struct bft_request *
find_request(const struct bft_queue *q, uint64_t cseq)
{
    C2_LIST_FOREACH (&q->requests, struct bft_request, req, link) {
        if (req->cseq == cseq)
            return req;
    }
    return NULL;
}

static void
remove_request(struct bft_replica *r, struct bft_request *req)
{
    C2_ASSERT(req != NULL);
    struct bft_queue *q = req->queue;
    struct bft_principal *p = q->principal;
    bft_batch_leave(r, req);
    p->bytes -= req->msg.len;
    p->requests--;
    c2_list_remove(&q->requests, &req->link);
    r->nrequests--;
    r->nstrangers -= req->stranger;
    r->requests_bytes -= req->msg.len;
    c2_blob_unref(req->msg.blob);
    c2_free(req);
    if (!c2_list_empty(&q->requests))
        return;
    c2_list_remove(&r->ages, &q->by_age);
    c2_map_remove(&r->queues, &q->node);
    c2_free(q);
    if (--p->queues > 0)
        return;
    c2_map_remove(&r->principals, &p->node);
    c2_free(p);
}

void
bft_requests_free(struct bft_replica *r)
{
    while (!c2_list_empty(&r->ages)) {
        struct bft_queue *q = C2_LIST_FIRST(&r->ages, struct bft_queue, by_age);
        remove_request(r, C2_LIST_FIRST(&q->requests, struct bft_request, link));
    }
    c2_map_done(&r->queues);
    c2_map_done(&r->principals);
}

unsigned
bft_request_commands(const struct msg_request *m)
{
    struct c2_slice rest = m->op;
    struct msg_request one;
    unsigned count = 0;
    while (msg_next_command(m, count, &rest, &one))
        count++;
    return count;
}

uint64_t
bft_request_done(struct bft_replica *r, const struct msg_request *m)
{
    struct bft_principal *p = find_principal(r, m->key);
    struct bft_queue *q = p == NULL ? NULL : find_queue(r, m->key, m->session);
    uint64_t passed_ns = 0;
    if (p != NULL) {
        p->served++;
        p->served_ns = r->now_ns;
        p->commands += bft_request_commands(m);
    }
    if (q == NULL)
        return 0;
    q->wait_ns = r->now_ns; /* its turn came */
    q->seen = p->served;
    q->told = false;
    c2_list_remove(&r->ages, &q->by_age);
    c2_list_append(&r->ages, &q->by_age);
    struct bft_request *req = find_request(q, m->cseq);
    if (req != NULL) {
        bool for_itself = p->commands - req->before > PACED_MAX; /* behind others of its key */
        passed_ns = for_itself ? 0 : req->passed_ns;
        remove_request(r, req);
    }
    return passed_ns;
}

/* ---- arrival --------------------------------------------------------------------------------- */

/* Anybody can make keys and name sessions to come. Only a replica that lags has a use for such
 * requests, so they get a small part of the room. */
static bool
is_stranger(struct bft_replica *r, const struct msg_request *m)
{
    return bft_session_check(r, m, NULL) == BFT_UNKNOWN;
}

/* There is room for one more. What another replica forwards has a reserve: a client must not be
 * able to make the primary drop what a backup waits for. */
static bool
has_room(const struct bft_replica *r, const struct bft_queue *q, const uint8_t *key, size_t len,
         bool forwarded)
{
    const struct bft_limits *l = &r->setup.limits;
    uint32_t reserve = forwarded ? l->requests / 8 : 0;
    size_t part = l->requests_bytes / 16, reserve_bytes = forwarded ? 2 * part : 0;
    if (r->nrequests >= l->requests + reserve ||
        r->requests_bytes + len > l->requests_bytes + reserve_bytes)
        return false;
    const struct bft_principal *p = find_principal(r, key);
    size_t share = forwarded ? (4 + r->config.n) * part : bft_is_primary(r) ? 4 * part : part;
    if (p != NULL && p->bytes + len > share)
        return false;
    return q == NULL || q->requests.count < l->requests_client;
}

static void
forward(struct bft_replica *r, uint32_t seats, const struct bft_bytes *msg)
{
    struct msg_head h = bft_head(r, MSG_FORWARD);
    c2_buf_clear(&r->scratch);
    msg_write_forward(&r->scratch, &h, bft_bytes_slice(msg));
    struct c2_blob *blob = bft_take_scratch(r);
    bft_send(r, seats, blob);
    c2_blob_unref(blob);
}

static struct bft_request *
insert(struct bft_replica *r, struct bft_queue *q, const struct msg_request *m,
       struct c2_blob *blob, struct c2_slice msg)
{
    struct bft_request *req = c2_calloc(1, sizeof *req);
    if (q == NULL)
        q = make_queue(r, m->key, m->session);
    req->queue = q;
    req->cseq = m->cseq;
    req->commands = bft_request_commands(m);
    req->read = m->kind == MSG_REQ_QUERY;
    q->principal->bytes += msg.len;
    q->principal->requests++;
    bft_note_key(r, m->key);
    req->stranger = is_stranger(r, m);
    r->nstrangers += req->stranger;
    req->msg.blob = c2_blob_ref(blob);
    req->msg.at = (size_t)(msg.data - blob->data);
    req->msg.len = msg.len;
    c2_list_append(&q->requests, &req->link);
    r->nrequests++;
    r->requests_bytes += msg.len;
    bft_batch_join(r, req);
    return req;
}

/* To the primary. */
static void
pass_on(struct bft_replica *r, struct bft_request *req)
{
    forward(r, 1u << bft_primary(r, r->view), &req->msg);
    req->passed_ns = r->now_ns;
    req->before = req->queue->principal->commands;
}

void
bft_on_request(struct bft_replica *r, struct c2_blob *blob, struct c2_slice msg, uint64_t conn,
               bool forwarded)
{
    struct msg_request m;
    if (msg_read_request(msg, &m) != C2_E_OK) {
        r->count.dropped++;
        return;
    }
    /* Who passes it on again has not asked, and the client would pay for the answers. */
    if (forwarded ? commands_are_over(r, &m) : bft_answer_again(r, &m, conn))
        return;
    struct bft_queue *q = find_queue(r, m.key, m.session);
    if (q != NULL && find_request(q, m.cseq) != NULL)
        return;
    bool crowded = is_stranger(r, &m) && r->nstrangers >= r->setup.limits.requests / 8;
    if (crowded || !has_room(r, q, m.key, msg.len, forwarded) || !bft_request_valid(r, msg, &m)) {
        r->count.dropped++;
        return;
    }
    struct bft_request *req = insert(r, q, &m, blob, msg);
    if (!forwarded && r->phase == BFT_NORMAL && !bft_is_primary(r))
        pass_on(r, req);
}

/* ---- time and views -------------------------------------------------------------------------- */

/* What was proposed waits again. */
static void
take_back(struct bft_replica *r, struct bft_request *req)
{
    if (!req->proposed)
        return;
    bft_batch_leave(r, req);
    bft_batch_join(r, req);
}

void
bft_requests_new_view(struct bft_replica *r)
{
    unsigned sent = 0;
    C2_LIST_FOREACH (&r->ages, struct bft_queue, q, by_age) {
        q->told = false;
        C2_LIST_FOREACH (&q->requests, struct bft_request, req, link) {
            take_back(r, req);
            if (!bft_is_primary(r) && sent++ < FORWARDS_MAX)
                pass_on(r, req);
        }
    }
}

/* Removes what is over. False: that was all, the queue is gone. */
static bool
still_waits(struct bft_replica *r, struct bft_queue *q)
{
    struct c2_link *link = q->requests.head.next;
    size_t left = q->requests.count;
    for (size_t count = left; count > 0; count--) {
        struct bft_request *req = C2_CONTAINER_OF(link, struct bft_request, link);
        link = link->next;
        if (!is_over(r, req))
            continue;
        remove_request(r, req);
        left--;
    }
    return left > 0;
}

/* What this primary has proposed may be in batches that were skipped. Of commands the state says
 * so; what is left (of ordered reads it says nothing) is proposed once more, or would count for
 * ever. */
void
bft_requests_recheck(struct bft_replica *r)
{
    struct bft_queue *q = C2_LIST_FIRST(&r->ages, struct bft_queue, by_age);
    for (size_t left = r->ages.count; left > 0; left--) {
        struct bft_queue *next = C2_CONTAINER_OF(q->by_age.next, struct bft_queue, by_age);
        if (still_waits(r, q)) {
            C2_LIST_FOREACH (&q->requests, struct bft_request, req, link)
                take_back(r, req);
        }
        q = next;
    }
}

static uint64_t
own_wait_since(const struct bft_replica *r, const struct bft_queue *q)
{
    return C2_MAX(q->wait_ns, r->view_ns);
}

/* Never before own_wait_since, by which r->ages is sorted. */
static uint64_t
wait_since(const struct bft_replica *r, const struct bft_queue *q)
{
    const struct bft_principal *p = q->principal;
    uint64_t since_ns = own_wait_since(r, q);
    if (p->served - q->seen > FAIR_MAX || p->served_ns <= since_ns)
        return since_ns;
    return C2_MIN(p->served_ns, since_ns + FAIR_TIMES * r->setup.timing.request_ns);
}

uint64_t
bft_requests_wait_since(const struct bft_replica *r)
{
    uint64_t since_ns = C2_NEVER;
    C2_LIST_FOREACH (&r->ages, struct bft_queue, q, by_age) {
        if (own_wait_since(r, q) >= since_ns)
            break;
        since_ns = C2_MIN(since_ns, wait_since(r, q));
    }
    return since_ns;
}

void
bft_requests_tick(struct bft_replica *r)
{
    uint64_t forward_ns = r->setup.timing.forward_ns;
    unsigned sent = 0;
    C2_LIST_FOREACH (&r->ages, struct bft_queue, q, by_age) {
        if (own_wait_since(r, q) + forward_ns > r->now_ns || sent == FORWARDS_MAX)
            break;
        if (wait_since(r, q) + forward_ns > r->now_ns || q->told || !still_waits(r, q))
            continue;
        q->told = true;
        sent++;
        forward(r, bft_others(r), &C2_LIST_FIRST(&q->requests, struct bft_request, link)->msg);
    }
}

/* When the next queue is to be told to all. */
uint64_t
bft_requests_deadline(const struct bft_replica *r)
{
    uint64_t since_ns = C2_NEVER;
    C2_LIST_FOREACH (&r->ages, struct bft_queue, q, by_age) {
        if (own_wait_since(r, q) >= since_ns)
            break;
        if (!q->told)
            since_ns = C2_MIN(since_ns, wait_since(r, q));
    }
    return since_ns == C2_NEVER ? C2_NEVER : since_ns + r->setup.timing.forward_ns;
}
