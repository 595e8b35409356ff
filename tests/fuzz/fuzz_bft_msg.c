/* SPDX-License-Identifier: MIT */
/*
 * Messages of the coordination service and bodies of its log records, as bytes from anywhere. The
 * first byte says what the rest is: 'M' a message of any type; 'Q' a request whose commands are
 * taken apart; 'B' a batch; 'S' a certificate; 'V' the prepared list of a VIEW-CHANGE; 'W' a type
 * and the body of a log record.
 *
 * What decodes is canonical, and what it promises about counts and bounds holds.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "metadata/wal_record.h"
#include "tests/lib/msg_recode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
expect_same(struct c2_slice in, struct c2_buf *again)
{
    C2_ASSERT(c2_slice_equal(in, c2_buf_slice(again)));
    c2_buf_done(again);
}

static void
message(struct c2_slice in)
{
    struct c2_buf again = { 0 };
    if (msg_recode(in, &again) == C2_E_OK)
        expect_same(in, &again);
    c2_buf_done(&again);
}

static void
request(struct c2_slice in)
{
    struct msg_request m, one;
    if (msg_read_request(in, &m) != C2_E_OK)
        return;
    struct c2_slice rest = m.op;
    size_t bytes = 0;
    uint32_t count = 0;
    for (; msg_next_command(&m, count, &rest, &one); count++) {
        C2_ASSERT(one.kind != MSG_REQ_COMMANDS && one.session == m.session);
        C2_ASSERT(one.cseq == m.cseq + count && one.ack_low == m.ack_low);
        for (size_t i = 0; i < one.op.len; i++)
            bytes += one.op.data[i] != 0;
    }
    C2_ASSERT(count >= 1 && count <= MSG_COMMANDS_MAX && bytes <= in.len);
}

static void
batch(struct c2_slice in)
{
    struct msg_batch b;
    if (msg_read_batch(in, &b) != C2_E_OK)
        return;
    struct c2_buf again = { 0 };
    struct c2_slice rest = b.requests, item;
    if (in.len > 0) {
        c2_wr_u64(&again, b.time_ns);
        c2_wr_u32(&again, b.count);
    }
    for (uint32_t i = 0; i < b.count; i++) {
        C2_ASSERT(msg_next_bytes(&rest, &item) == C2_E_OK);
        msg_put_bytes(&again, item);
    }
    C2_ASSERT(rest.len == 0);
    expect_same(in, &again);
}

static void
certificate(struct c2_slice in)
{
    struct msg_stable s;
    struct c2_buf again = { 0 };
    if (msg_get_stable(in, &s) != C2_E_OK)
        return;
    for (uint32_t i = 0; i < s.count; i++)
        C2_ASSERT(s.sig[i].seat < MSG_REPLICAS_MAX &&
                  (i == 0 || s.sig[i].seat > s.sig[i - 1].seat));
    msg_put_stable(&again, &s);
    expect_same(in, &again);
}

static void
prepared(struct c2_slice in)
{
    struct c2_slice rest = in;
    struct c2_buf again = { 0 };
    struct msg_prepared p;
    while (rest.len > 0 && msg_next_prepared(&rest, &p) == C2_E_OK) {
        C2_ASSERT(p.nvotes <= MSG_REPLICAS_MAX && p.proposal.len == MSG_PROPOSAL_LEN);
        msg_put_prepared(&again, &p);
    }
    expect_same(c2_slice(in.data, in.len - rest.len), &again);
}

static void
record(struct c2_slice in)
{
    struct wal_record r;
    struct c2_buf again = { 0 };
    if (in.len == 0)
        return;
    unsigned type = in.data[0];
    struct c2_slice body = c2_slice(in.data + 1, in.len - 1);
    if (wal_record_read(type, body, &r) != C2_E_OK)
        return;
    struct c2_slice rest = r.list, item;
    for (uint32_t i = 0; i < r.count; i++)
        C2_ASSERT(msg_next_bytes(&rest, &item) == C2_E_OK);
    C2_ASSERT(rest.len == 0);
    wal_record_write((enum wal_type)type, &r, &again);
    c2_wr_raw(&again, r.batch.data, r.batch.len);
    expect_same(body, &again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct c2_slice rest = c2_slice(data + 1, size - 1);
    switch (data[0]) {
    case 'M':
        message(rest);
        break;
    case 'Q':
        request(rest);
        break;
    case 'B':
        batch(rest);
        break;
    case 'S':
        certificate(rest);
        break;
    case 'V':
        prepared(rest);
        break;
    case 'W':
        record(rest);
        break;
    default:
        break;
    }
    return 0;
}
