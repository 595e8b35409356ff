/* SPDX-License-Identifier: MIT */
/*
 * What leaves the replica in a step, and what must be signed or checked for that.
 */
#include <string.h>

#include "base/alloc.h"
#include "metadata/bft_int.h"

#define EVIDENCE_MAX 8 /* alarms in a second */

struct msg_head
bft_head(const struct bft_replica *r, enum msg_type type)
{
    struct msg_head h = { .type = (uint8_t)type, .sender = r->seat };
    h.epoch = r->config.epoch;
    h.cluster = r->config.cluster;
    return h;
}

struct c2_blob *
bft_take_scratch(struct bft_replica *r)
{
    struct c2_blob *b = c2_blob_copy(r->scratch.data, r->scratch.len);
    c2_buf_clear(&r->scratch);
    return b;
}

static struct bft_action *
action(struct bft_replica *r, enum bft_action_kind kind)
{
    struct bft_actions_buf *o = &r->out;
    if (o->count == o->cap) {
        o->cap = C2_MAX(o->cap * 2, 32);
        o->list = c2_realloc(o->list, o->cap, sizeof *o->list);
    }
    struct bft_action *a = &o->list[o->count++];
    memset(a, 0, sizeof *a);
    a->kind = kind;
    return a;
}

uint32_t
bft_others(const struct bft_replica *r)
{
    uint32_t all = (1u << r->config.n) - 1;
    return r->seat < r->config.n ? all & ~(1u << r->seat) : all;
}

void
bft_send(struct bft_replica *r, uint32_t seats, struct c2_blob *msg)
{
    seats &= bft_others(r);
    if (seats == 0)
        return;
    struct bft_action *a = action(r, BFT_ACT_SEND);
    a->seats = seats;
    a->msg = c2_blob_ref(msg);
}

void
bft_reply_to(struct bft_replica *r, uint64_t conn, struct c2_blob *msg)
{
    struct bft_action *a = action(r, BFT_ACT_REPLY);
    a->conn = conn;
    a->msg = c2_blob_ref(msg);
}

void
bft_reply_session(struct bft_replica *r, const uint8_t *key, uint64_t nonce, struct c2_blob *msg)
{
    struct bft_action *a = action(r, BFT_ACT_REPLY);
    memcpy(a->key, key, MSG_KEY_LEN);
    a->nonce = nonce;
    a->msg = c2_blob_ref(msg);
}

uint64_t
bft_append(struct bft_replica *r, enum wal_type type, const struct wal_record *rec,
           const struct bft_bytes *body)
{
    size_t from = r->out.arena.len;
    wal_record_write(type, rec, &r->out.arena);
    struct bft_action *a = action(r, BFT_ACT_APPEND);
    a->type = type;
    a->lsn = ++r->lsn;
    /* The votes prove a decision again; the record only spares a restart from asking for them. */
    a->later = type == WAL_DECIDED;
    a->body_at = from; /* offsets until bft_out_end */
    a->bytes.len = r->out.arena.len - from;
    if (body != NULL && body->blob != NULL) {
        a->body = c2_blob_ref(body->blob);
        a->body_len = body->len;
        a->bytes.data = body->blob->data + body->at;
    }
    return a->lsn;
}

void
bft_trim(struct bft_replica *r, uint64_t lsn)
{
    action(r, BFT_ACT_TRIM)->lsn = lsn;
}

void
bft_give_job(struct bft_replica *r, struct bft_job *job)
{
    r->jobs++;
    action(r, BFT_ACT_JOB)->job = job;
}

/* A liar can give as much evidence as it likes, and people need some of it. */
static bool
is_one_too_many(struct bft_replica *r)
{
    if (r->now_ns >= r->evidence_ns + C2_NS_PER_S) {
        r->evidence_ns = r->now_ns;
        r->evidence = 0;
    }
    return r->evidence++ >= EVIDENCE_MAX;
}

void
bft_alarm(struct bft_replica *r, enum bft_alarm alarm, const char *text)
{
    if (alarm == BFT_ALARM_EVIDENCE && is_one_too_many(r))
        return;
    struct bft_action *a = action(r, BFT_ACT_ALARM);
    a->alarm = alarm;
    a->text = text;
}

void
bft_announce_config(struct bft_replica *r)
{
    action(r, BFT_ACT_CONFIG)->config = &r->config;
}

void
bft_halt(struct bft_replica *r, const char *text)
{
    if (r->mode == BFT_HALTED)
        return;
    r->mode = BFT_HALTED;
    bft_alarm(r, BFT_ALARM_HALT, text);
}

void
bft_out_begin(struct bft_replica *r)
{
    for (size_t i = 0; i < r->out.count; i++) {
        c2_blob_unref(r->out.list[i].msg);
        c2_blob_unref(r->out.list[i].body);
    }
    r->out.count = 0;
    c2_buf_clear(&r->out.arena);
}

void
bft_out_end(struct bft_replica *r, struct bft_actions *ret_actions)
{
    for (size_t i = 0; i < r->out.count; i++) {
        struct bft_action *a = &r->out.list[i];
        if (a->kind != BFT_ACT_APPEND)
            continue;
        size_t at = a->body_at;
        a->body_at = a->body != NULL ? (size_t)(a->bytes.data - a->body->data) : 0;
        a->bytes.data = r->out.arena.data + at;
    }
    ret_actions->action = r->out.list;
    ret_actions->count = r->out.count;
}

void
bft_out_done(struct bft_replica *r)
{
    bft_out_begin(r);
    c2_free(r->out.list);
    c2_buf_done(&r->out.arena);
    c2_buf_done(&r->scratch);
}

/* ---- signatures ------------------------------------------------------------------------------ */

void
bft_sign_scratch(struct bft_replica *r, size_t from)
{
    r->count.sig_made++;
    msg_sign(r->crypto, r->secret, &r->scratch, from);
}

bool
bft_verify(struct bft_replica *r, const uint8_t key[MSG_KEY_LEN], struct c2_slice msg)
{
    uint8_t hash[C2_SHA256_LEN];
    const struct c2_slice in[] = { c2_slice(key, MSG_KEY_LEN), msg };
    c2_sha256_v(in, C2_ARRAY_LEN(in), hash);
    uint8_t *known = r->sig_cache[(hash[0] | hash[1] << 8) % BFT_SIG_CACHE];
    if (memcmp(known, hash + 2, sizeof r->sig_cache[0]) == 0)
        return true;
    r->count.sig_checked++;
    if (!msg_verify(r->crypto, key, msg)) {
        r->count.sig_bad++;
        return false;
    }
    memcpy(known, hash + 2, sizeof r->sig_cache[0]);
    return true;
}

bool
bft_verify_seat(struct bft_replica *r, uint16_t seat, struct c2_slice msg)
{
    struct msg_head h;
    if (msg_read_head(msg, &h) != C2_E_OK || h.sender != seat || seat >= r->config.n ||
        h.epoch != r->config.epoch || h.cluster != r->config.cluster)
        return false;
    return bft_verify(r, r->config.member[seat].sign_key, msg);
}

bool
bft_verify_stable(struct bft_replica *r, const struct msg_stable *s)
{
    if (s->epoch != r->config.epoch || s->count < r->q)
        return false;
    for (uint32_t i = 0; i < s->count; i++) {
        uint8_t hash[C2_SHA256_LEN];
        uint16_t seat = s->sig[i].seat;
        if (seat >= r->config.n)
            return false;
        msg_checkpoint_hash(r->config.cluster, s->epoch, seat, &s->c, hash);
        r->count.sig_checked++;
        if (!r->crypto->verify(r->crypto, r->config.member[seat].sign_key, hash, s->sig[i].sig)) {
            r->count.sig_bad++;
            return false;
        }
    }
    return true;
}
