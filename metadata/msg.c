/* SPDX-License-Identifier: MIT */
/*
 * What all messages share: head, signature, digests, lists, batches and certificates.
 */
#include "metadata/msg.h"

#include <string.h>

#include "base/wire.h"
#include "metadata/msg_int.h"

static const char sign_tag[] = "C2FS-BFT1";
static const char client_tag[] = "C2FS-BFT1-CLIENT";
static const char batch_tag[] = "C2FS-BFT1-BATCH";

/* ---- Ed25519 --------------------------------------------------------------------------------- */

static void
sign(const struct bft_crypto *c, const uint8_t secret[C2_ED25519_SECRET_LEN],
     const uint8_t hash[C2_SHA256_LEN], uint8_t sig[MSG_SIG_LEN])
{
    (void)c;
    c2_ed25519_sign(secret, c2_slice(hash, C2_SHA256_LEN), sig);
}

static bool
verify(const struct bft_crypto *c, const uint8_t key[MSG_KEY_LEN],
       const uint8_t hash[C2_SHA256_LEN], const uint8_t sig[MSG_SIG_LEN])
{
    (void)c;
    return c2_ed25519_verify(key, c2_slice(hash, C2_SHA256_LEN), sig) == C2_E_OK;
}

const struct bft_crypto bft_crypto_ed25519 = { .sign = sign, .verify = verify };

static void
signed_hash(struct c2_slice signed_part, uint8_t out[C2_SHA256_LEN])
{
    const struct c2_slice in[] = { c2_slice_str(sign_tag), signed_part };
    c2_sha256_v(in, C2_ARRAY_LEN(in), out);
}

void
msg_sign(const struct bft_crypto *c, const uint8_t secret[C2_ED25519_SECRET_LEN],
         struct c2_buf *out, size_t from)
{
    C2_ASSERT(out->len - from >= MSG_HEAD_LEN && msg_is_signed(out->data[from + 1]));
    uint8_t hash[C2_SHA256_LEN];
    signed_hash(c2_slice(out->data + from, out->len - from), hash);
    uint8_t sig[MSG_SIG_LEN];
    c->sign(c, secret, hash, sig);
    c2_buf_append(out, sig, sizeof sig);
}

bool
msg_verify(const struct bft_crypto *c, const uint8_t key[MSG_KEY_LEN], struct c2_slice msg)
{
    if (msg.len < MSG_HEAD_LEN + MSG_SIG_LEN)
        return false;
    uint8_t hash[C2_SHA256_LEN];
    size_t len = msg.len - MSG_SIG_LEN;
    signed_hash(c2_slice(msg.data, len), hash);
    return c->verify(c, key, hash, msg.data + len);
}

void
msg_digest(struct c2_slice msg, uint8_t out[MSG_DIGEST_LEN])
{
    c2_sha256(msg, out);
}

void
msg_batch_digest(struct c2_slice batch, uint8_t out[MSG_DIGEST_LEN])
{
    const struct c2_slice in[] = { c2_slice_str(batch_tag), batch };
    c2_sha256_v(in, C2_ARRAY_LEN(in), out);
}

void
msg_checkpoint_hash(uint64_t cluster, uint32_t epoch, uint16_t seat, const struct msg_checkpoint *c,
                    uint8_t out[C2_SHA256_LEN])
{
    uint8_t bytes[MSG_HEAD_LEN + 8 + 2 * MSG_DIGEST_LEN];
    bytes[0] = MSG_FORMAT;
    bytes[1] = MSG_CHECKPOINT;
    c2_put_u16(bytes + 2, seat);
    c2_put_u32(bytes + 4, epoch);
    c2_put_u64(bytes + 8, cluster);
    c2_put_u64(bytes + MSG_HEAD_LEN, c->n);
    memcpy(bytes + MSG_HEAD_LEN + 8, c->digest, MSG_DIGEST_LEN);
    memcpy(bytes + MSG_HEAD_LEN + 8 + MSG_DIGEST_LEN, c->config, MSG_DIGEST_LEN);
    signed_hash(c2_slice(bytes, sizeof bytes), out);
}

void
msg_client_hash(uint64_t cluster, const uint8_t key[MSG_KEY_LEN], uint8_t out[C2_SHA256_LEN])
{
    uint8_t number[8];
    c2_put_u64(number, cluster);
    const struct c2_slice in[] = {
        c2_slice_str(client_tag),
        c2_slice(number, sizeof number),
        c2_slice(key, MSG_KEY_LEN),
    };
    c2_sha256_v(in, C2_ARRAY_LEN(in), out);
}

/* ---- head ------------------------------------------------------------------------------------ */

const char *
msg_type_name(unsigned type)
{
    static const char *const peer[] = {
        [MSG_PRE_PREPARE] = "PRE-PREPARE",
        [MSG_PREPARE] = "PREPARE",
        [MSG_COMMIT] = "COMMIT",
        [MSG_CHECKPOINT] = "CHECKPOINT",
        [MSG_WISH] = "WISH",
        [MSG_VIEW_CHANGE] = "VIEW-CHANGE",
        [MSG_NEW_VIEW] = "NEW-VIEW",
        [MSG_STATUS] = "STATUS",
        [MSG_FETCH] = "FETCH",
        [MSG_BODY] = "BODY",
        [MSG_DECIDED] = "DECIDED",
        [MSG_STABLE] = "STABLE",
        [MSG_FORWARD] = "FORWARD",
        [MSG_STATE_FETCH] = "STATE-FETCH",
        [MSG_STATE] = "STATE",
        [MSG_EPOCH_FETCH] = "EPOCH-FETCH",
        [MSG_EPOCH] = "EPOCH",
    };
    static const char *const from_client[] = { "REQUEST", "READ", "WATCH", "ASK-STATUS" };
    static const char *const to_client[] = { "REPLY", "READ-REPLY", "EVENT", "TELL-STATUS" };
    if (type >= MSG_PRE_PREPARE && type <= MSG_EPOCH)
        return peer[type];
    if (type >= MSG_REQUEST && type <= MSG_ASK_STATUS)
        return from_client[type - MSG_REQUEST];
    if (type >= MSG_REPLY && type <= MSG_TELL_STATUS)
        return to_client[type - MSG_REPLY];
    return NULL;
}

bool
msg_is_signed(unsigned type)
{
    return (type >= MSG_PRE_PREPARE && type <= MSG_CHECKPOINT) || type == MSG_VIEW_CHANGE ||
           type == MSG_NEW_VIEW || type == MSG_REQUEST;
}

C2_RESULT
msg_read_head(struct c2_slice in, struct msg_head *ret_head)
{
    if (in.len < MSG_HEAD_LEN || in.len > MSG_BYTES_MAX || in.data[0] != MSG_FORMAT)
        return C2_E_PARSE;
    if (msg_type_name(in.data[1]) == NULL)
        return C2_E_PARSE;
    ret_head->type = in.data[1];
    ret_head->sender = c2_get_u16(in.data + 2);
    ret_head->epoch = c2_get_u32(in.data + 4);
    ret_head->cluster = c2_get_u64(in.data + 8);
    return C2_E_OK;
}

void
msg_put_head(struct c2_buf *out, const struct msg_head *h, enum msg_type type)
{
    c2_wr_u8(out, MSG_FORMAT);
    c2_wr_u8(out, (uint8_t)type);
    c2_wr_u16(out, h->sender);
    c2_wr_u32(out, h->epoch);
    c2_wr_u64(out, h->cluster);
}

C2_RESULT
msg_body(struct c2_slice in, enum msg_type type, struct c2_rd *ret_body)
{
    struct msg_head h;
    C2_TRY(msg_read_head(in, &h));
    if (h.type != type)
        return C2_E_PARSE;
    size_t tail = msg_is_signed(type) && type != MSG_PRE_PREPARE ? MSG_SIG_LEN : 0;
    if (in.len < MSG_HEAD_LEN + tail)
        return C2_E_PARSE;
    *ret_body = c2_rd_init(c2_slice(in.data + MSG_HEAD_LEN, in.len - MSG_HEAD_LEN - tail));
    return C2_E_OK;
}

/* ---- lists ----------------------------------------------------------------------------------- */

C2_RESULT
msg_next_bytes(struct c2_slice *rest, struct c2_slice *ret_item)
{
    struct c2_rd r = c2_rd_init(*rest);
    struct c2_slice item = c2_rd_bytes(&r, MSG_BYTES_MAX);
    if (!c2_rd_ok(&r))
        return C2_E_PARSE;
    *rest = c2_slice(rest->data + r.pos, rest->len - r.pos);
    *ret_item = item;
    return C2_E_OK;
}

void
msg_put_bytes(struct c2_buf *out, struct c2_slice item)
{
    c2_wr_bytes(out, item);
}

struct c2_slice
msg_rd_list(struct c2_rd *r, uint32_t count)
{
    size_t from = r->pos;
    for (uint32_t i = 0; i < count && c2_rd_ok(r); i++)
        c2_rd_bytes(r, MSG_BYTES_MAX);
    return c2_rd_ok(r) ? c2_slice(r->data + from, r->pos - from) : c2_slice(NULL, 0);
}

C2_RESULT
msg_read_batch(struct c2_slice in, struct msg_batch *ret)
{
    struct msg_batch b = { 0 };
    if (in.len == 0) {
        *ret = b;
        return C2_E_OK;
    }
    if (in.len > MSG_BATCH_MAX)
        return C2_E_PARSE;
    struct c2_rd r = c2_rd_init(in);
    b.time_ns = c2_rd_u64(&r);
    b.count = c2_rd_u32(&r);
    if (b.count > MSG_BATCH_REQS_MAX || b.time_ns == 0)
        return C2_E_PARSE;
    b.requests = msg_rd_list(&r, b.count);
    C2_TRY(c2_rd_finish(&r));
    *ret = b;
    return C2_E_OK;
}

/* ---- certificates ---------------------------------------------------------------------------- */

void
msg_put_stable(struct c2_buf *out, const struct msg_stable *s)
{
    c2_wr_u32(out, s->epoch);
    c2_wr_u64(out, s->c.n);
    c2_wr_raw(out, s->c.digest, MSG_DIGEST_LEN);
    c2_wr_raw(out, s->c.config, MSG_DIGEST_LEN);
    c2_wr_u8(out, (uint8_t)s->count);
    for (uint32_t i = 0; i < s->count; i++) {
        c2_wr_u16(out, s->sig[i].seat);
        c2_wr_raw(out, s->sig[i].sig, MSG_SIG_LEN);
    }
}

static void
read_stable(struct c2_rd *r, struct msg_stable *s)
{
    s->epoch = c2_rd_u32(r);
    s->c.n = c2_rd_u64(r);
    c2_rd_copy(r, s->c.digest, MSG_DIGEST_LEN);
    c2_rd_copy(r, s->c.config, MSG_DIGEST_LEN);
    s->count = c2_rd_u8(r);
    if (s->count > MSG_REPLICAS_MAX)
        c2_rd_fail(r);
    for (uint32_t i = 0; i < s->count && c2_rd_ok(r); i++) {
        s->sig[i].seat = c2_rd_u16(r);
        c2_rd_copy(r, s->sig[i].sig, MSG_SIG_LEN);
        bool ascending = i == 0 || s->sig[i].seat > s->sig[i - 1].seat;
        if (!ascending || s->sig[i].seat >= MSG_REPLICAS_MAX)
            c2_rd_fail(r);
    }
}

C2_RESULT
msg_get_stable(struct c2_slice in, struct msg_stable *ret)
{
    struct c2_rd r = c2_rd_init(in);
    struct msg_stable s = { 0 };
    read_stable(&r, &s);
    C2_TRY(c2_rd_finish(&r));
    *ret = s;
    return C2_E_OK;
}
