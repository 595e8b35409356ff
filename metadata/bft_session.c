/* SPDX-License-Identifier: MIT */
/*
 * Client sessions: which requests were executed, and their last answers. They are part of the
 * replicated state: everything here depends only on the batches executed so far. At each
 * checkpoint the sessions that changed become system records of the application.
 *
 * A session is opened by a request whose nonce is above all earlier ones of its key, so that an
 * old OPEN, played again, opens nothing and pushes nobody out. For that the last session of a key
 * stays in the table when it is closed, until the next one is opened or the table is full: it
 * counts as gone, but its nonce is known. Its id holds the sequence number, so an id that is not in
 * the table and not from the future is gone for good.
 *
 * Record "s", big-endian id: key, u64 nonce, last n, ack_low, bitmap, u8 answers, then for each in
 * ascending order: u64 cseq, u64 n, u8 code, result. A closed one has acknowledged everything.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "metadata/bft_int.h"

#define PLACE_BITS 12
#define CLOSED     UINT64_MAX /* ack_low; no request has it */

_Static_assert(MSG_BATCH_REQS_MAX < 1 << PLACE_BITS, "a session id has room for the place");

static bool
is_closed(const struct bft_session *s)
{
    return s->ack_low == CLOSED;
}

/* Closed or not. */
static struct bft_session *
find_record(struct bft_replica *r, uint64_t id)
{
    struct c2_map_node *node = c2_map_find(&r->sessions, c2_map_hash_u64(&r->sessions, id));
    for (; node != NULL; node = c2_map_find_next(node)) {
        struct bft_session *s = C2_CONTAINER_OF(node, struct bft_session, node);
        if (s->id == id)
            return s;
    }
    return NULL;
}

struct bft_session *
bft_session_find(struct bft_replica *r, uint64_t id)
{
    struct bft_session *s = find_record(r, id);
    return s != NULL && !is_closed(s) ? s : NULL;
}

bool
bft_session_is_gone(struct bft_replica *r, uint64_t id)
{
    return id >> PLACE_BITS <= r->issued && bft_session_find(r, id) == NULL;
}

uint64_t
bft_session_opened_at(const struct bft_session *s)
{
    return s->id >> PLACE_BITS;
}

static struct bft_session *
opened_by(struct bft_replica *r, const struct msg_request *m)
{
    C2_LIST_FOREACH (&r->session_list, struct bft_session, s, link) {
        if (s->nonce == m->cseq && memcmp(s->key, m->key, MSG_KEY_LEN) == 0)
            return is_closed(s) ? NULL : s;
    }
    return NULL;
}

static bool
bit_is_set(const struct bft_session *s, uint64_t cseq)
{
    uint64_t at = cseq - s->ack_low - 1;
    return at < BFT_SESSION_WINDOW && (s->bitmap >> at & 1) != 0;
}

enum bft_seen
bft_session_check(struct bft_replica *r, const struct msg_request *m,
                  struct bft_session **ret_session)
{
    bool open = m->kind == MSG_REQ_OPEN;
    struct bft_session *s = open ? opened_by(r, m) : bft_session_find(r, m->session);
    if (ret_session != NULL)
        *ret_session = s;
    if (open)
        return s != NULL ? BFT_DONE : BFT_NEW;
    if (s == NULL || memcmp(s->key, m->key, MSG_KEY_LEN) != 0)
        return BFT_UNKNOWN;
    if (m->kind == MSG_REQ_QUERY)
        return BFT_NEW;
    uint64_t low = C2_MAX(s->ack_low, m->ack_low);
    /* A sum that runs over is small: no session gets within a window of the last number. */
    if (m->cseq <= s->ack_low || m->cseq > low + BFT_SESSION_WINDOW)
        return BFT_OUTSIDE;
    return bit_is_set(s, m->cseq) ? BFT_DONE : BFT_NEW;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void
drop_result(struct bft_session *s, struct bft_answer *a)
{
    if (a->result != NULL)
        s->answer_bytes -= a->result->len;
    c2_blob_unref(a->result);
    a->result = NULL;
}

static void
drop_answer(struct bft_session *s, struct bft_answer *a)
{
    drop_result(s, a);
    *a = (struct bft_answer){ 0 };
}

static void
acknowledge(struct bft_session *s, uint64_t ack_low)
{
    if (ack_low <= s->ack_low)
        return;
    uint64_t step = ack_low - s->ack_low;
    s->bitmap = step < BFT_SESSION_WINDOW ? s->bitmap >> step : 0;
    s->ack_low = ack_low;
    for (unsigned i = 0; i < BFT_SESSION_WINDOW; i++) {
        if (s->answer[i].cseq != 0 && s->answer[i].cseq <= ack_low)
            drop_answer(s, &s->answer[i]);
    }
}

void
bft_session_touch(struct bft_session *s, uint64_t n)
{
    s->last_n = n;
    s->dirty = true;
}

struct bft_answer *
bft_session_mark(struct bft_session *s, const struct msg_request *m, uint64_t n)
{
    bft_session_touch(s, n);
    acknowledge(s, m->ack_low);
    C2_ASSERT(!bit_is_set(s, m->cseq) && m->cseq > s->ack_low);
    s->bitmap |= 1ull << (m->cseq - s->ack_low - 1);
    struct bft_answer *a = &s->answer[m->cseq % BFT_SESSION_WINDOW];
    drop_answer(s, a);
    a->cseq = m->cseq;
    a->n = n;
    a->pending = true;
    return a;
}

struct bft_answer *
bft_session_find_answer(struct bft_session *s, uint64_t cseq)
{
    struct bft_answer *a = &s->answer[cseq % BFT_SESSION_WINDOW];
    return a->cseq == cseq ? a : NULL;
}

struct c2_slice
bft_answer_result(const struct bft_answer *a)
{
    return a->result != NULL ? c2_blob_slice(a->result) : c2_slice(NULL, 0);
}

/* The oldest long answers give way to the newest. Only queries and what did not happen (conflicts)
 * have long ones, so a client may ask for them anew; what a command has changed is never forgotten.
 * This happens at checkpoints only, when every answer is there: answers come from the executor
 * while later batches, which acknowledge some, are issued already, in another order on each
 * replica. */
static void
make_room(struct bft_session *s)
{
    _Static_assert(BFT_SESSION_WINDOW * BFT_ANSWER_SHORT <= BFT_ANSWER_BYTES,
                   "room can always be made");
    for (unsigned i = 1; s->answer_bytes > BFT_ANSWER_BYTES; i++) {
        C2_ASSERT(i <= BFT_SESSION_WINDOW);
        struct bft_answer *a = bft_session_find_answer(s, s->ack_low + i);
        if (a == NULL || a->result == NULL || a->result->len <= BFT_ANSWER_SHORT)
            continue;
        drop_result(s, a);
        a->code = MSG_RESULT_GONE;
    }
}

void
bft_session_answer(struct bft_session *s, struct bft_answer *a, uint8_t code,
                   struct c2_slice result)
{
    a->pending = false;
    a->code = code;
    if (result.len > BFT_ANSWER_KEPT_MAX) {
        a->code = MSG_RESULT_GONE;
    } else if (result.len > 0) {
        a->result = c2_blob_copy(result.data, result.len);
        s->answer_bytes += result.len;
    }
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static void
forget(struct bft_replica *r, struct bft_session *s)
{
    for (unsigned i = 0; i < BFT_SESSION_WINDOW; i++)
        drop_answer(s, &s->answer[i]);
    r->nclosed -= is_closed(s);
    c2_map_remove(&r->sessions, &s->node);
    c2_list_remove(&r->session_list, &s->link);
    c2_free(s);
}

/* Its record goes, too. */
static void
end(struct bft_replica *r, struct bft_session *s)
{
    struct bft_gone *g = &r->gone;
    if (g->count == g->cap) {
        g->cap = C2_MAX(g->cap * 2, 64);
        g->ids = c2_realloc(g->ids, g->cap, sizeof *g->ids);
    }
    g->ids[g->count++] = s->id;
    forget(r, s);
}

static uint64_t
last_nonce(const struct bft_replica *r, const uint8_t *key)
{
    uint64_t last = 0;
    C2_LIST_FOREACH (&r->session_list, struct bft_session, s, link) {
        if (memcmp(s->key, key, MSG_KEY_LEN) == 0)
            last = C2_MAX(last, s->nonce);
    }
    return last;
}

void
bft_session_close(struct bft_replica *r, struct bft_session *s)
{
    if (s->nonce < last_nonce(r, s->key)) {
        end(r, s);
        return;
    }
    acknowledge(s, CLOSED);
    bft_session_touch(s, r->issued);
    r->nclosed++;
}

static struct bft_session *
session_new(struct bft_replica *r, uint64_t id)
{
    struct bft_session *s = c2_calloc(1, sizeof *s);
    s->id = id;
    s->node.hash = c2_map_hash_u64(&r->sessions, id);
    c2_map_insert(&r->sessions, &s->node);
    c2_list_append(&r->session_list, &s->link);
    return s;
}

static bool
goes_before(const struct bft_session *a, const struct bft_session *b)
{
    if (is_closed(a) != is_closed(b))
        return is_closed(a);
    return a->last_n < b->last_n || (a->last_n == b->last_n && a->id < b->id);
}

/* A closed session, or the least recently used one, of the key or of all (NULL). The order is part
 * of the state: last use, then id. */
static struct bft_session *
oldest(struct bft_replica *r, const uint8_t *key, unsigned *ret_count)
{
    struct bft_session *found = NULL;
    *ret_count = 0;
    C2_LIST_FOREACH (&r->session_list, struct bft_session, s, link) {
        if (key != NULL && memcmp(s->key, key, MSG_KEY_LEN) != 0)
            continue;
        ++*ret_count;
        if (found == NULL || goes_before(s, found))
            found = s;
    }
    return found;
}

/* For one more session of the key, whose nonce will be the last one. */
static void
make_place(struct bft_replica *r, const uint8_t *key)
{
    unsigned count = 0;
    struct bft_session *old = oldest(r, key, &count);
    if (old != NULL && (is_closed(old) || count >= BFT_SESSIONS_KEY))
        end(r, old);
    old = oldest(r, NULL, &count);
    if (count >= r->config.sessions_max)
        end(r, old);
}

uint64_t
bft_session_open(struct bft_replica *r, const struct msg_request *m, uint64_t n, unsigned place,
                 uint64_t *ret_last)
{
    const struct bft_session *same = opened_by(r, m);
    if (same != NULL)
        return same->id;
    *ret_last = last_nonce(r, m->key);
    if (m->cseq <= *ret_last)
        return 0;
    make_place(r, m->key);
    struct bft_session *s = session_new(r, n << PLACE_BITS | (place + 1));
    memcpy(s->key, m->key, MSG_KEY_LEN);
    s->nonce = m->cseq;
    bft_session_touch(s, n);
    return s->id;
}

void
bft_sessions_clear(struct bft_replica *r)
{
    while (!c2_list_empty(&r->session_list))
        forget(r, C2_LIST_FIRST(&r->session_list, struct bft_session, link));
    c2_free(r->gone.ids);
    r->gone = (struct bft_gone){ 0 };
}

/* ---- records --------------------------------------------------------------------------------- */

static void
put_key(struct c2_buf *out, uint64_t id)
{
    uint8_t key[9] = { 's' };
    c2_put_be64(key + 1, id);
    c2_wr_bytes(out, c2_slice(key, sizeof key));
}

static void
put_value(struct c2_buf *out, struct bft_session *s)
{
    c2_wr_raw(out, s->key, MSG_KEY_LEN);
    c2_wr_u64(out, s->nonce);
    c2_wr_u64(out, s->last_n);
    c2_wr_u64(out, s->ack_low);
    c2_wr_u64(out, s->bitmap);
    size_t at = out->len;
    c2_wr_u8(out, 0);
    if (is_closed(s))
        return; /* it has no answers */
    for (unsigned i = 1; i <= BFT_SESSION_WINDOW; i++) {
        const struct bft_answer *a = bft_session_find_answer(s, s->ack_low + i);
        if (a == NULL)
            continue;
        C2_ASSERT(!a->pending);
        out->data[at]++;
        c2_wr_u64(out, a->cseq);
        c2_wr_u64(out, a->n);
        c2_wr_u8(out, a->code);
        c2_wr_bytes(out, bft_answer_result(a));
    }
}

void
bft_sessions_save(struct bft_replica *r, struct c2_buf *records)
{
    struct c2_buf value = { 0 };
    for (size_t i = 0; i < r->gone.count; i++) {
        put_key(records, r->gone.ids[i]);
        c2_wr_u8(records, 0);
        c2_wr_bytes(records, c2_slice(NULL, 0));
    }
    r->gone.count = 0;
    C2_LIST_FOREACH (&r->session_list, struct bft_session, s, link) {
        if (!s->dirty)
            continue;
        c2_buf_clear(&value);
        make_room(s);
        put_value(&value, s);
        put_key(records, s->id);
        c2_wr_u8(records, 1);
        c2_wr_bytes(records, c2_buf_slice(&value));
        s->dirty = false;
    }
    c2_buf_done(&value);
}

static C2_RESULT
load_answer(struct bft_session *s, struct c2_rd *in)
{
    uint64_t cseq = c2_rd_u64(in);
    uint64_t n = c2_rd_u64(in);
    uint8_t code = c2_rd_u8(in);
    struct c2_slice result = c2_rd_bytes(in, BFT_ANSWER_KEPT_MAX);
    if (!c2_rd_ok(in) || !bit_is_set(s, cseq) || code > MSG_RETRY)
        return C2_E_PARSE;
    struct bft_answer *a = &s->answer[cseq % BFT_SESSION_WINDOW];
    drop_answer(s, a);
    a->cseq = cseq;
    a->n = n;
    bft_session_answer(s, a, code, result);
    return C2_E_OK;
}

C2_RESULT
bft_session_load(struct bft_replica *r, uint64_t id, struct c2_slice value)
{
    struct c2_rd in = c2_rd_init(value);
    if (id == 0 || find_record(r, id) != NULL)
        return C2_E_PARSE;
    struct bft_session *s = session_new(r, id);
    c2_rd_copy(&in, s->key, MSG_KEY_LEN);
    s->nonce = c2_rd_u64(&in);
    s->last_n = c2_rd_u64(&in);
    s->ack_low = c2_rd_u64(&in);
    s->bitmap = c2_rd_u64(&in);
    r->nclosed += is_closed(s);
    if (!is_closed(s) && s->ack_low > UINT64_MAX - BFT_SESSION_WINDOW)
        return C2_E_PARSE; /* no request gets there */
    unsigned count = c2_rd_u8(&in);
    for (unsigned i = 0; i < count; i++)
        C2_TRY(load_answer(s, &in));
    return c2_rd_finish(&in);
}
