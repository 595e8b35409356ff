/* SPDX-License-Identifier: MIT */
/*
 * Messages of the coordination service and bodies of its log records, as bytes from anywhere. The
 * first byte says what the rest is: 'M' a message of any type; 'Q' a request whose commands are
 * taken apart; 'B' a batch; 'S' a certificate; 'V' the prepared list of a VIEW-CHANGE; 'W' a type
 * and the body of a log record; 'A' the records that a replica keeps in the state of its
 * application.
 *
 * What decodes is canonical, and what it promises about counts and bounds holds.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "metadata/bft_int.h"
#include "metadata/wal_record.h"
#include "tests/lib/cheap_sign.h"
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

/* ---- records of a state ---------------------------------------------------------------------- */

static struct bft_replica *
new_replica(void)
{
    struct bft_setup setup;
    struct bft_replica *r = NULL;
    const char *why = NULL;
    cheap_sign_setup(&setup, 0, 1);
    C2_ASSERT(bft_new(&setup, &r, &why) == C2_E_OK);
    return r;
}

/* All of them, as if everything had changed. */
static void
save(struct bft_replica *r, uint64_t n, struct c2_buf *out)
{
    r->issued = n;
    C2_LIST_FOREACH (&r->session_list, struct bft_session, s, link)
        s->dirty = true;
    bft_save_records(r, out);
}

/* As many requests as a session may have outstanding. */
static void
use(struct bft_replica *r, struct bft_session *s)
{
    struct msg_request m = { .kind = MSG_REQ_COMMAND, .session = s->id, .ack_low = s->ack_low };
    memcpy(m.key, s->key, sizeof m.key);
    for (unsigned i = 1; i <= BFT_SESSION_WINDOW; i++) {
        struct bft_session *found = NULL;
        m.cseq = s->ack_low + i;
        enum bft_seen seen = bft_session_check(r, &m, &found);
        C2_ASSERT(found == s && (seen == BFT_NEW || seen == BFT_DONE));
        if (seen == BFT_NEW)
            bft_session_answer(s, bft_session_mark(s, &m, r->issued), MSG_OK, c2_slice("x", 1));
        C2_ASSERT(bft_session_check(r, &m, &found) == BFT_DONE);
    }
}

/* It is entered at its boundary, whatever it is. */
static void
expect_good_next(const struct bft_replica *r, uint64_t n)
{
    struct bft_config c;
    if (r->next_boundary == 0)
        return;
    C2_ASSERT(bft_config_decode(c2_buf_slice(&r->next_config), &c) == C2_E_OK);
    C2_ASSERT(r->next_boundary == n || r->next_boundary == c.base);
}

static struct bft_replica *replica; /* one for all inputs: making one takes long */

static void
free_replica(void)
{
    bft_free(replica);
}

static void
state_records(struct c2_slice in)
{
    struct c2_buf first = { 0 }, second = { 0 };
    uint64_t n = 0, again = 0;
    if (replica == NULL) {
        replica = new_replica();
        (void)atexit(free_replica);
    }
    struct bft_replica *r = replica;
    r->next_boundary = 0;
    c2_buf_clear(&r->next_config);
    if (bft_load_records(r, in, &n) == C2_E_OK) {
        expect_good_next(r, n);
        save(r, n, &first);
        C2_ASSERT(bft_load_records(r, c2_buf_slice(&first), &again) == C2_E_OK && n == again);
        save(r, n, &second);
        C2_ASSERT(c2_slice_equal(c2_buf_slice(&first), c2_buf_slice(&second)));
        C2_LIST_FOREACH (&r->session_list, struct bft_session, s, link)
            if (bft_session_find(r, s->id) != NULL) /* not closed */
                use(r, s);
        bft_save_records(r, &second);
    }
    c2_buf_done(&first);
    c2_buf_done(&second);
}

/* ---------------------------------------------------------------------------------------------- */

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
    case 'A':
        state_records(rest);
        break;
    default:
        break;
    }
    return 0;
}
