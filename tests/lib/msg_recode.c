/* SPDX-License-Identifier: MIT */
#include "tests/lib/msg_recode.h"

static void
walk(struct c2_slice list, uint32_t count)
{
    struct c2_slice item;
    for (uint32_t i = 0; i < count; i++)
        C2_ASSERT(msg_next_bytes(&list, &item) == C2_E_OK);
    C2_ASSERT(list.len == 0);
}

static C2_RESULT
recode_view_change(struct c2_slice in, const struct msg_head *h, struct c2_buf *out)
{
    struct msg_view_change m;
    C2_TRY(msg_read_view_change(in, &m));
    walk(m.prepares, m.nprepares);
    struct c2_slice rest = m.prepared;
    struct c2_buf list = { 0 };
    for (uint32_t i = 0; i < m.nprepared; i++) {
        struct msg_prepared p;
        C2_ASSERT(msg_next_prepared(&rest, &p) == C2_E_OK);
        msg_put_prepared(&list, &p);
    }
    C2_ASSERT(c2_slice_equal(m.prepared, c2_buf_slice(&list)));
    c2_buf_done(&list);
    msg_write_view_change(out, h, &m);
    return C2_E_OK;
}

static C2_RESULT
recode_pre_prepare(struct c2_slice in, struct c2_buf *out)
{
    struct msg_pre_prepare m;
    struct msg_batch b;
    C2_TRY(msg_read_pre_prepare(in, &m));
    if (msg_read_batch(m.batch, &b) == C2_E_OK)
        walk(b.requests, b.count);
    msg_write_pre_prepare(out, m.proposal, m.batch);
    return C2_E_OK;
}

/* Reads into a struct of its own and writes that. */
#define RECODE(in, h, out, name)                                                                   \
    do {                                                                                           \
        struct msg_##name m;                                                                       \
        C2_TRY(msg_read_##name(in, &m));                                                           \
        msg_write_##name(out, h, &m);                                                              \
        return C2_E_OK;                                                                            \
    } while (0)

static C2_RESULT
recode_votes(struct c2_slice in, struct c2_buf *out)
{
    struct msg_head h;
    struct msg_votes v;
    C2_TRY(msg_read_votes(in, &h, &v));
    msg_write_votes(out, &h, &v);
    return C2_E_OK;
}

static C2_RESULT
recode_decided(struct c2_slice in, const struct msg_head *h, struct c2_buf *out)
{
    struct msg_decided m;
    C2_TRY(msg_read_decided(in, &m));
    walk(m.commits, m.ncommits);
    msg_write_decided(out, h, &m);
    return C2_E_OK;
}

static C2_RESULT
recode_client(struct c2_slice in, const struct msg_head *h, struct c2_buf *out)
{
    switch (h->type) {
    case MSG_REQUEST: {
        struct msg_request m;
        C2_TRY(msg_read_request(in, &m));
        msg_write_request(out, h->cluster, &m);
        return C2_E_OK;
    }
    case MSG_READ:
        RECODE(in, h, out, read);
    case MSG_WATCH:
        RECODE(in, h, out, watch);
    case MSG_REPLY:
        RECODE(in, h, out, reply);
    case MSG_READ_REPLY:
        RECODE(in, h, out, read_reply);
    case MSG_EVENT:
        RECODE(in, h, out, event);
    case MSG_ASK_STATUS:
        C2_TRY(msg_read_ask_status(in));
        msg_write_ask_status(out, h);
        return C2_E_OK;
    case MSG_TELL_STATUS: {
        struct c2_slice json;
        C2_TRY(msg_read_tell_status(in, &json));
        msg_write_tell_status(out, h, json);
        return C2_E_OK;
    }
    default:
        return C2_E_PARSE;
    }
}

static C2_RESULT
recode_peer(struct c2_slice in, const struct msg_head *h, struct c2_buf *out)
{
    struct c2_slice request;
    uint32_t epoch = 0;
    switch (h->type) {
    case MSG_PRE_PREPARE:
        return recode_pre_prepare(in, out);
    case MSG_PREPARE:
    case MSG_COMMIT:
        return recode_votes(in, out);
    case MSG_CHECKPOINT:
        RECODE(in, h, out, checkpoint);
    case MSG_WISH:
        RECODE(in, h, out, wish);
    case MSG_VIEW_CHANGE:
        return recode_view_change(in, h, out);
    case MSG_NEW_VIEW:
        RECODE(in, h, out, new_view);
    case MSG_STATUS:
        RECODE(in, h, out, status);
    case MSG_FETCH:
        RECODE(in, h, out, fetch);
    case MSG_BODY:
        RECODE(in, h, out, body);
    case MSG_DECIDED:
        return recode_decided(in, h, out);
    case MSG_STABLE:
        RECODE(in, h, out, stable);
    case MSG_FORWARD:
        C2_TRY(msg_read_forward(in, &request));
        msg_write_forward(out, h, request);
        return C2_E_OK;
    case MSG_STATE_FETCH:
        RECODE(in, h, out, state_fetch);
    case MSG_STATE:
        RECODE(in, h, out, state);
    case MSG_EPOCH_FETCH:
        C2_TRY(msg_read_epoch_fetch(in, &epoch));
        msg_write_epoch_fetch(out, h, epoch);
        return C2_E_OK;
    case MSG_EPOCH:
        RECODE(in, h, out, epoch);
    default:
        return recode_client(in, h, out);
    }
}

C2_RESULT
msg_recode(struct c2_slice in, struct c2_buf *out)
{
    struct msg_head h;
    C2_TRY(msg_read_head(in, &h));
    C2_TRY(recode_peer(in, &h, out));
    if (msg_is_signed(h.type) && h.type != MSG_PRE_PREPARE)
        c2_buf_append(out, in.data + in.len - MSG_SIG_LEN, MSG_SIG_LEN);
    return C2_E_OK;
}
