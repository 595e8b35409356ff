/* SPDX-License-Identifier: MIT */
/*
 * Messages of clients, and those that carry state or configurations.
 */
#include <string.h>

#include "metadata/cmd.h"
#include "metadata/msg_int.h"

#define CONFIG_BYTES_MAX 16384
#define RESULT_MAX       (COORD_REPLY_BYTES_MAX + 65536)
#define PREFIXES_MAX     1024

/* ---- state ----------------------------------------------------------------------------------- */

void
msg_write_state_fetch(struct c2_buf *out, const struct msg_head *h, const struct msg_state_fetch *f)
{
    C2_ASSERT(f->count <= MSG_WANTED_MAX);
    msg_put_head(out, h, MSG_STATE_FETCH);
    c2_wr_u64(out, f->n);
    c2_wr_u8(out, (uint8_t)f->count);
    for (uint32_t i = 0; i < f->count; i++) {
        c2_wr_u8(out, f->item[i].kind);
        c2_wr_u8(out, f->item[i].depth);
        c2_wr_raw(out, f->item[i].path, sizeof f->item[i].path);
        c2_wr_raw(out, f->item[i].hash, MSG_DIGEST_LEN);
    }
}

C2_RESULT
msg_read_state_fetch(struct c2_slice in, struct msg_state_fetch *ret)
{
    struct c2_rd r;
    C2_TRY(msg_body(in, MSG_STATE_FETCH, &r));
    ret->n = c2_rd_u64(&r);
    ret->count = c2_rd_u8(&r);
    if (ret->count > MSG_WANTED_MAX)
        return C2_E_PARSE;
    for (uint32_t i = 0; i < ret->count; i++) {
        struct msg_state_item *item = &ret->item[i];
        item->kind = c2_rd_u8(&r);
        item->depth = c2_rd_u8(&r);
        c2_rd_copy(&r, item->path, sizeof item->path);
        c2_rd_copy(&r, item->hash, MSG_DIGEST_LEN);
        if (item->kind < MSG_STATE_HEAD || item->kind > MSG_STATE_BRANCH ||
            item->depth > MSG_PATH_MAX)
            c2_rd_fail(&r);
    }
    return c2_rd_finish(&r);
}

void
msg_write_state(struct c2_buf *out, const struct msg_head *h, const struct msg_state *s)
{
    msg_put_head(out, h, MSG_STATE);
    c2_wr_u64(out, s->n);
    c2_wr_u8(out, (uint8_t)s->count);
    c2_wr_raw(out, s->answers.data, s->answers.len);
}

C2_RESULT
msg_read_state(struct c2_slice in, struct msg_state *ret)
{
    struct c2_rd r;
    C2_TRY(msg_body(in, MSG_STATE, &r));
    struct msg_state s = { .n = c2_rd_u64(&r) };
    s.count = c2_rd_u8(&r);
    if (s.count > MSG_WANTED_MAX)
        return C2_E_PARSE;
    size_t from = r.pos;
    for (uint32_t i = 0; i < s.count; i++) {
        uint8_t kind = c2_rd_u8(&r);
        c2_rd_raw(&r, MSG_DIGEST_LEN);
        c2_rd_bytes(&r, MSG_BYTES_MAX);
        if (kind < MSG_STATE_HEAD || kind > MSG_STATE_BRANCH)
            c2_rd_fail(&r);
    }
    C2_TRY(c2_rd_finish(&r));
    s.answers = c2_slice(r.data + from, r.pos - from);
    *ret = s;
    return C2_E_OK;
}

/* ---- epochs ---------------------------------------------------------------------------------- */

void
msg_write_epoch_fetch(struct c2_buf *out, const struct msg_head *h, uint32_t epoch)
{
    msg_put_head(out, h, MSG_EPOCH_FETCH);
    c2_wr_u32(out, epoch);
}

C2_RESULT
msg_read_epoch_fetch(struct c2_slice in, uint32_t *ret_epoch)
{
    struct c2_rd r;
    C2_TRY(msg_body(in, MSG_EPOCH_FETCH, &r));
    uint32_t epoch = c2_rd_u32(&r);
    C2_TRY(c2_rd_finish(&r));
    *ret_epoch = epoch;
    return C2_E_OK;
}

void
msg_write_epoch(struct c2_buf *out, const struct msg_head *h, const struct msg_epoch *e)
{
    msg_put_head(out, h, MSG_EPOCH);
    c2_wr_bytes(out, e->config);
    c2_wr_bytes(out, e->stable);
}

C2_RESULT
msg_read_epoch(struct c2_slice in, struct msg_epoch *ret)
{
    struct c2_rd r;
    C2_TRY(msg_body(in, MSG_EPOCH, &r));
    struct msg_epoch e = { 0 };
    e.config = c2_rd_bytes(&r, CONFIG_BYTES_MAX);
    e.stable = c2_rd_bytes(&r, CONFIG_BYTES_MAX);
    C2_TRY(c2_rd_finish(&r));
    *ret = e;
    return C2_E_OK;
}

/* ---- requests -------------------------------------------------------------------------------- */

void
msg_write_request(struct c2_buf *out, uint64_t cluster, const struct msg_request *m)
{
    const struct msg_head h = { .sender = MSG_SENDER_CLIENT, .cluster = cluster };
    msg_put_head(out, &h, MSG_REQUEST);
    c2_wr_u8(out, m->kind);
    c2_wr_raw(out, m->key, MSG_KEY_LEN);
    c2_wr_u64(out, m->session);
    c2_wr_u64(out, m->cseq);
    c2_wr_u64(out, m->ack_low);
    c2_wr_bytes(out, m->op);
}

bool
msg_next_command(const struct msg_request *m, uint32_t i, struct c2_slice *rest,
                 struct msg_request *ret_one)
{
    struct c2_slice op;
    if (m->kind != MSG_REQ_COMMANDS) {
        *ret_one = *m;
        return i == 0;
    }
    if (rest->len == 0 || msg_next_bytes(rest, &op) != C2_E_OK)
        return false;
    *ret_one = *m;
    ret_one->kind = MSG_REQ_COMMAND;
    ret_one->cseq += i;
    ret_one->op = op;
    return true;
}

static bool
commands_are_good(const struct msg_request *m)
{
    struct c2_slice rest = m->op;
    struct c2_slice op;
    uint32_t count = 0;
    while (rest.len > 0) {
        if (msg_next_bytes(&rest, &op) != C2_E_OK || ++count > MSG_COMMANDS_MAX)
            return false;
    }
    return count > 0 && m->cseq <= UINT64_MAX - count;
}

C2_RESULT
msg_read_request(struct c2_slice in, struct msg_request *ret)
{
    struct c2_rd r;
    struct msg_head h;
    if (in.len > MSG_REQUEST_MAX)
        return C2_E_PARSE;
    C2_TRY(msg_body(in, MSG_REQUEST, &r));
    C2_TRY(msg_read_head(in, &h));
    if (h.sender != MSG_SENDER_CLIENT || h.epoch != 0)
        return C2_E_PARSE;
    struct msg_request m = { .kind = c2_rd_u8(&r) };
    c2_rd_copy(&r, m.key, MSG_KEY_LEN);
    m.session = c2_rd_u64(&r);
    m.cseq = c2_rd_u64(&r);
    m.ack_low = c2_rd_u64(&r);
    m.op = c2_rd_bytes(&r, MSG_REQUEST_MAX);
    C2_TRY(c2_rd_finish(&r));
    bool open = m.kind == MSG_REQ_OPEN;
    if (m.kind < MSG_REQ_COMMAND || m.kind > MSG_REQ_ADMIN_COMMAND || open != (m.session == 0) ||
        m.cseq == 0 || m.ack_low >= m.cseq || (open && m.op.len != MSG_SIG_LEN) ||
        (m.kind == MSG_REQ_COMMANDS && !commands_are_good(&m)))
        return C2_E_PARSE;
    *ret = m;
    return C2_E_OK;
}

static void
put_result(struct c2_buf *out, const uint8_t digest[MSG_DIGEST_LEN], uint8_t has_result,
           struct c2_slice result)
{
    c2_wr_raw(out, digest, MSG_DIGEST_LEN);
    c2_wr_u8(out, has_result);
    if (has_result != 0)
        c2_wr_bytes(out, result);
}

static struct c2_slice
read_result(struct c2_rd *r, uint8_t digest[MSG_DIGEST_LEN], uint8_t *ret_has)
{
    c2_rd_copy(r, digest, MSG_DIGEST_LEN);
    uint8_t has = c2_rd_u8(r);
    if (has > 1)
        c2_rd_fail(r);
    *ret_has = has;
    return has == 1 ? c2_rd_bytes(r, RESULT_MAX) : c2_slice(NULL, 0);
}

void
msg_write_reply(struct c2_buf *out, const struct msg_head *h, const struct msg_reply *m)
{
    msg_put_head(out, h, MSG_REPLY);
    c2_wr_u64(out, m->view);
    c2_wr_u64(out, m->session);
    c2_wr_u64(out, m->cseq);
    c2_wr_u64(out, m->n);
    c2_wr_u8(out, m->code);
    put_result(out, m->digest, m->has_result, m->result);
}

C2_RESULT
msg_read_reply(struct c2_slice in, struct msg_reply *ret)
{
    struct c2_rd r;
    C2_TRY(msg_body(in, MSG_REPLY, &r));
    struct msg_reply m = { .view = c2_rd_u64(&r) };
    m.session = c2_rd_u64(&r);
    m.cseq = c2_rd_u64(&r);
    m.n = c2_rd_u64(&r);
    m.code = c2_rd_u8(&r);
    m.result = read_result(&r, m.digest, &m.has_result);
    C2_TRY(c2_rd_finish(&r));
    if (m.code > MSG_RETRY)
        return C2_E_PARSE;
    *ret = m;
    return C2_E_OK;
}

/* ---- reads and watches ----------------------------------------------------------------------- */

void
msg_write_read(struct c2_buf *out, const struct msg_head *h, const struct msg_read *m)
{
    msg_put_head(out, h, MSG_READ);
    c2_wr_u64(out, m->rseq);
    c2_wr_u8(out, m->full);
    c2_wr_bytes(out, m->op);
}

C2_RESULT
msg_read_read(struct c2_slice in, struct msg_read *ret)
{
    struct c2_rd r;
    if (in.len > MSG_REQUEST_MAX)
        return C2_E_PARSE;
    C2_TRY(msg_body(in, MSG_READ, &r));
    struct msg_read m = { .rseq = c2_rd_u64(&r) };
    m.full = c2_rd_u8(&r);
    m.op = c2_rd_bytes(&r, MSG_REQUEST_MAX);
    C2_TRY(c2_rd_finish(&r));
    if (m.full > 1)
        return C2_E_PARSE;
    *ret = m;
    return C2_E_OK;
}

void
msg_write_read_reply(struct c2_buf *out, const struct msg_head *h, const struct msg_read_reply *m)
{
    msg_put_head(out, h, MSG_READ_REPLY);
    c2_wr_u64(out, m->view);
    c2_wr_u64(out, m->rseq);
    c2_wr_u8(out, m->code);
    c2_wr_u64(out, m->version);
    put_result(out, m->digest, m->has_result, m->result);
}

C2_RESULT
msg_read_read_reply(struct c2_slice in, struct msg_read_reply *ret)
{
    struct c2_rd r;
    C2_TRY(msg_body(in, MSG_READ_REPLY, &r));
    struct msg_read_reply m = { .view = c2_rd_u64(&r) };
    m.rseq = c2_rd_u64(&r);
    m.code = c2_rd_u8(&r);
    m.version = c2_rd_u64(&r);
    m.result = read_result(&r, m.digest, &m.has_result);
    C2_TRY(c2_rd_finish(&r));
    if (m.code > MSG_RETRY)
        return C2_E_PARSE;
    *ret = m;
    return C2_E_OK;
}

void
msg_write_watch(struct c2_buf *out, const struct msg_head *h, const struct msg_watch *m)
{
    msg_put_head(out, h, MSG_WATCH);
    c2_wr_u64(out, m->wseq);
    c2_wr_u32(out, m->count);
    c2_wr_raw(out, m->prefixes.data, m->prefixes.len);
}

C2_RESULT
msg_read_watch(struct c2_slice in, struct msg_watch *ret)
{
    struct c2_rd r;
    C2_TRY(msg_body(in, MSG_WATCH, &r));
    struct msg_watch m = { .wseq = c2_rd_u64(&r) };
    m.count = c2_rd_u32(&r);
    if (m.count > PREFIXES_MAX)
        return C2_E_PARSE;
    size_t from = r.pos;
    for (uint32_t i = 0; i < m.count; i++)
        c2_rd_bytes(&r, COORD_KEY_MAX);
    C2_TRY(c2_rd_finish(&r));
    m.prefixes = c2_slice(r.data + from, r.pos - from);
    *ret = m;
    return C2_E_OK;
}

void
msg_write_event(struct c2_buf *out, const struct msg_head *h, const struct msg_event *m)
{
    msg_put_head(out, h, MSG_EVENT);
    c2_wr_u64(out, m->wseq);
    c2_wr_u64(out, m->n);
    c2_wr_u64(out, m->after);
    c2_wr_u8(out, m->lost);
    c2_wr_bytes(out, m->events);
}

C2_RESULT
msg_read_event(struct c2_slice in, struct msg_event *ret)
{
    struct c2_rd r;
    C2_TRY(msg_body(in, MSG_EVENT, &r));
    struct msg_event m = { .wseq = c2_rd_u64(&r) };
    m.n = c2_rd_u64(&r);
    m.after = c2_rd_u64(&r);
    m.lost = c2_rd_u8(&r);
    m.events = c2_rd_bytes(&r, MSG_BYTES_MAX);
    C2_TRY(c2_rd_finish(&r));
    if (m.lost > 1)
        return C2_E_PARSE;
    *ret = m;
    return C2_E_OK;
}

void
msg_write_ask_status(struct c2_buf *out, const struct msg_head *h)
{
    msg_put_head(out, h, MSG_ASK_STATUS);
}

C2_RESULT
msg_read_ask_status(struct c2_slice in)
{
    struct c2_rd r;
    C2_TRY(msg_body(in, MSG_ASK_STATUS, &r));
    return c2_rd_finish(&r);
}

void
msg_write_tell_status(struct c2_buf *out, const struct msg_head *h, struct c2_slice json)
{
    msg_put_head(out, h, MSG_TELL_STATUS);
    c2_wr_bytes(out, json);
}

C2_RESULT
msg_read_tell_status(struct c2_slice in, struct c2_slice *ret_json)
{
    struct c2_rd r;
    C2_TRY(msg_body(in, MSG_TELL_STATUS, &r));
    struct c2_slice json = c2_rd_bytes(&r, MSG_STATUS_MAX);
    C2_TRY(c2_rd_finish(&r));
    *ret_json = json;
    return C2_E_OK;
}
