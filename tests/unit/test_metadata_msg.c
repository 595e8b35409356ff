/* SPDX-License-Identifier: MIT */
/*
 * Encoding of the replicas' messages and log records. The golden hash is format 1 and never
 * changes.
 */
#include "metadata/msg.h"

#include "base/alloc.h"
#include "base/str.h"
#include "base/wire.h"
#include "metadata/wal_record.h"
#include "tests/lib/msg_recode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SAMPLES_MAX 32

struct samples {
    struct c2_buf msg[SAMPLES_MAX];
    size_t count;
    size_t golden; /* so many are in the golden hash */
    uint8_t secret[C2_ED25519_SECRET_LEN];
    uint8_t key[MSG_KEY_LEN];
    uint8_t digest[MSG_DIGEST_LEN];
};

static const struct msg_head head = { .sender = 2, .epoch = 3, .cluster = 0x1122334455667788 };

static struct msg_head
typed(enum msg_type type)
{
    struct msg_head h = head;
    h.type = (uint8_t)type;
    return h;
}

static struct c2_buf *
next(struct samples *s)
{
    assert_true(s->count < SAMPLES_MAX);
    return &s->msg[s->count++];
}

static void
sign(struct samples *s)
{
    msg_sign(&bft_crypto_ed25519, s->secret, &s->msg[s->count - 1], 0);
}

static void
add_votes(struct samples *s, enum msg_type type)
{
    struct msg_votes v = { .view = 5, .count = 2 };
    struct msg_head h = typed(type);
    v.vote[0].n = 11;
    v.vote[1].n = 12;
    memcpy(v.vote[1].digest, s->digest, MSG_DIGEST_LEN);
    msg_write_votes(next(s), &h, &v);
    sign(s);
}

static void
add_stable(struct samples *s, struct msg_stable *ret)
{
    struct msg_checkpoint c = { .n = 128 };
    memcpy(c.digest, s->digest, MSG_DIGEST_LEN);
    msg_write_checkpoint(next(s), &head, &c);
    sign(s);
    *ret = (struct msg_stable){ .epoch = 3, .c = c, .count = 3 };
    for (uint16_t i = 0; i < 3; i++)
        ret->sig[i].seat = i;
    msg_write_stable(next(s), &head, ret);
}

static void
add_view_change(struct samples *s, struct c2_slice prepare, struct c2_slice proposal,
                const struct msg_stable *stable)
{
    struct c2_buf cert = { 0 };
    struct c2_buf table = { 0 };
    struct c2_buf list = { 0 };
    struct msg_prepared p = { .proposal = proposal, .nvotes = 1, .votes = { 0 } };
    msg_put_stable(&cert, stable);
    c2_wr_bytes(&table, prepare);
    msg_put_prepared(&list, &p);
    struct msg_view_change m = { .view = 6, .h = 10, .nprepares = 1, .nprepared = 1 };
    m.stable = c2_buf_slice(&cert);
    m.prepares = c2_buf_slice(&table);
    m.prepared = c2_buf_slice(&list);
    msg_write_view_change(next(s), &head, &m);
    sign(s);
    struct msg_new_view nv = { .view = 6, .nvcs = 1, .nproposals = 1, .proposals = proposal };
    nv.vc[0].seat = 2;
    msg_write_new_view(next(s), &head, &nv);
    sign(s);
    c2_buf_done(&cert);
    c2_buf_done(&table);
    c2_buf_done(&list);
}

static void
add_catching_up(struct samples *s, struct c2_slice commit)
{
    struct msg_status st = { .view = 6, .phase = MSG_PHASE_LEAVING, .wish = 7, .stable = 128 };
    st.nwanted = 1;
    st.window[3] = 0xf0;
    msg_write_status(next(s), &head, &st);
    struct msg_fetch f = { .kind = MSG_BODY_BATCH };
    msg_write_fetch(next(s), &head, &f);
    struct msg_body b = { .kind = MSG_BODY_VIEW_CHANGE, .bytes = commit };
    msg_write_body(next(s), &head, &b);
    struct c2_buf commits = { 0 };
    c2_wr_bytes(&commits, commit);
    struct msg_decided d = { .n = 12, .ncommits = 1, .commits = c2_buf_slice(&commits) };
    msg_write_decided(next(s), &head, &d);
    c2_buf_done(&commits);
    struct msg_state_fetch sf = { .n = 128, .count = 1 };
    sf.item[0].kind = MSG_STATE_NODE;
    sf.item[0].depth = 3;
    msg_write_state_fetch(next(s), &head, &sf);
    struct c2_buf answers = { 0 };
    c2_wr_u8(&answers, MSG_STATE_NODE);
    c2_wr_raw(&answers, s->digest, MSG_DIGEST_LEN);
    c2_wr_bytes(&answers, c2_slice_str("node"));
    struct msg_state state = { .n = 128, .count = 1, .answers = c2_buf_slice(&answers) };
    msg_write_state(next(s), &head, &state);
    c2_buf_done(&answers);
    msg_write_epoch_fetch(next(s), &head, 4);
    struct msg_epoch e = { .config = c2_slice_str("config"), .stable = c2_slice_str("cert") };
    msg_write_epoch(next(s), &head, &e);
}

static void
add_client(struct samples *s)
{
    struct msg_request r = { .kind = MSG_REQ_COMMAND, .session = 77, .cseq = 4, .ack_low = 2 };
    r.op = c2_slice_str("command");
    msg_write_request(next(s), head.cluster, &r);
    sign(s);
    size_t request = s->count - 1;
    msg_write_forward(next(s), &head, c2_buf_slice(&s->msg[request]));
    struct msg_reply reply = { .view = 5, .session = 77, .cseq = 4, .n = 12, .has_result = 1 };
    reply.result = c2_slice_str("done");
    msg_write_reply(next(s), &head, &reply);
    const struct msg_head h = { .sender = MSG_SENDER_CLIENT, .cluster = head.cluster };
    struct msg_read read = { .rseq = 9, .full = 1, .op = c2_slice_str("get") };
    msg_write_read(next(s), &h, &read);
    struct msg_read_reply rr = { .view = 5, .rseq = 9, .code = MSG_RETRY };
    msg_write_read_reply(next(s), &head, &rr);
    struct c2_buf prefixes = { 0 };
    c2_wr_bytes(&prefixes, c2_slice_str("a/"));
    struct msg_watch w = { .wseq = 1, .count = 1, .prefixes = c2_buf_slice(&prefixes) };
    msg_write_watch(next(s), &h, &w);
    c2_buf_done(&prefixes);
    struct msg_event ev = { .wseq = 1, .n = 12, .after = 7, .events = c2_slice_str("events") };
    msg_write_event(next(s), &head, &ev);
    s->golden = s->count;
    msg_write_ask_status(next(s), &h);
    msg_write_tell_status(next(s), &head, c2_slice_str("{}"));
}

static struct samples *
samples_new(void)
{
    struct samples *s = c2_calloc(1, sizeof *s);
    const uint8_t seed[32] = { 1 };
    memset(s->digest, 0xd1, sizeof s->digest);
    c2_ed25519_keypair(seed, s->secret, s->key);
    struct msg_proposal p = { .view = 5, .n = 12 };
    struct c2_buf proposal = { 0 };
    memcpy(p.digest, s->digest, MSG_DIGEST_LEN);
    msg_write_proposal(&proposal, &head, &p);
    msg_sign(&bft_crypto_ed25519, s->secret, &proposal, 0);
    struct c2_buf batch = { 0 };
    c2_wr_u64(&batch, 1700000000000000000ull);
    c2_wr_u32(&batch, 1);
    c2_wr_bytes(&batch, c2_slice_str("a request"));
    msg_write_pre_prepare(next(s), c2_buf_slice(&proposal), c2_buf_slice(&batch));
    add_votes(s, MSG_PREPARE);
    add_votes(s, MSG_COMMIT);
    struct msg_stable stable;
    add_stable(s, &stable);
    struct msg_wish w = { .view = 9 };
    msg_write_wish(next(s), &head, &w);
    add_view_change(s, c2_buf_slice(&s->msg[1]), c2_buf_slice(&proposal), &stable);
    add_catching_up(s, c2_buf_slice(&s->msg[2]));
    add_client(s);
    c2_buf_done(&proposal);
    c2_buf_done(&batch);
    return s;
}

static void
samples_free(struct samples *s)
{
    for (size_t i = 0; i < s->count; i++)
        c2_buf_done(&s->msg[i]);
    c2_free(s);
}

static void
message__encodes_to_the_golden_bytes(void **state)
{
    (void)state;
    struct samples *s = samples_new();
    struct c2_buf all = { 0 };
    uint8_t sum[C2_SHA256_LEN];
    char hex[2 * C2_SHA256_LEN + 1];
    for (size_t i = 0; i < s->golden; i++)
        c2_wr_bytes(&all, c2_buf_slice(&s->msg[i]));
    c2_sha256(c2_buf_slice(&all), sum);
    for (size_t i = 0; i < sizeof sum; i++)
        snprintf(hex + 2 * i, 3, "%02x", sum[i]);
    assert_string_equal(hex, "d3bc88fe7ffdb8dc2816278c04c58b3e526cf941c65003d1b8e4724244f9fa10");
    c2_buf_done(&all);
    samples_free(s);
}

static void
message__decodes_to_what_was_encoded(void **state)
{
    (void)state;
    struct samples *s = samples_new();
    bool seen[256] = { false };
    for (size_t i = 0; i < s->count; i++) {
        struct c2_buf again = { 0 };
        assert_int_equal(msg_recode(c2_buf_slice(&s->msg[i]), &again), C2_E_OK);
        assert_true(c2_slice_equal(c2_buf_slice(&s->msg[i]), c2_buf_slice(&again)));
        seen[s->msg[i].data[1]] = true;
        c2_buf_done(&again);
    }
    for (unsigned type = 0; type < 256; type++)
        assert_int_equal(seen[type], msg_type_name(type) != NULL);
    samples_free(s);
}

/* The batch after a proposal may have any length; its own decoder refuses it. */
static void
message__refuses_every_truncation(void **state)
{
    (void)state;
    struct samples *s = samples_new();
    for (size_t i = 0; i < s->count; i++) {
        struct c2_slice whole = c2_buf_slice(&s->msg[i]);
        bool open_end = whole.data[1] == MSG_PRE_PREPARE || whole.data[1] == MSG_FORWARD;
        size_t end = whole.data[1] == MSG_PRE_PREPARE ? MSG_PROPOSAL_LEN : 2 * MSG_HEAD_LEN;
        for (size_t len = 0; len < (open_end ? end : whole.len); len++) {
            struct c2_buf out = { 0 };
            enum c2_err err = msg_recode(c2_slice(whole.data, len), &out);
            assert_int_equal(err, C2_E_PARSE);
            c2_buf_done(&out);
        }
    }
    samples_free(s);
}

static void
message__survives_every_changed_byte(void **state)
{
    (void)state;
    struct samples *s = samples_new();
    for (size_t i = 0; i < s->count; i++) {
        struct c2_buf *m = &s->msg[i];
        for (size_t at = 0; at < m->len * 3; at++) {
            uint8_t keep = m->data[at / 3];
            m->data[at / 3] = at % 3 == 0 ? 0 : at % 3 == 1 ? 0xff : (uint8_t)(keep ^ 1);
            struct c2_buf out = { 0 };
            if (msg_recode(c2_buf_slice(m), &out) == C2_E_OK)
                assert_true(c2_slice_equal(c2_buf_slice(m), c2_buf_slice(&out)));
            c2_buf_done(&out);
            m->data[at / 3] = keep;
        }
    }
    samples_free(s);
}

static void
signature__covers_every_byte(void **state)
{
    (void)state;
    struct samples *s = samples_new();
    struct c2_buf *m = &s->msg[1];
    assert_int_equal(m->data[1], MSG_PREPARE);
    assert_true(msg_verify(&bft_crypto_ed25519, s->key, c2_buf_slice(m)));
    for (size_t at = 0; at < m->len; at++) {
        m->data[at] ^= 1;
        assert_false(msg_verify(&bft_crypto_ed25519, s->key, c2_buf_slice(m)));
        m->data[at] ^= 1;
    }
    assert_false(msg_verify(&bft_crypto_ed25519, s->key, c2_slice(m->data, 70)));
    samples_free(s);
}

static void
signature__of_a_checkpoint_is_rebuilt_from_the_certificate(void **state)
{
    (void)state;
    struct samples *s = samples_new();
    struct msg_checkpoint c;
    struct c2_slice m = c2_buf_slice(&s->msg[3]);
    uint8_t hash[C2_SHA256_LEN];
    assert_int_equal(msg_read_checkpoint(m, &c), C2_E_OK);
    msg_checkpoint_hash(head.cluster, head.epoch, head.sender, &c, hash);
    assert_true(
        bft_crypto_ed25519.verify(&bft_crypto_ed25519, s->key, hash, m.data + m.len - MSG_SIG_LEN));
    msg_checkpoint_hash(head.cluster, head.epoch, 1, &c, hash);
    assert_false(
        bft_crypto_ed25519.verify(&bft_crypto_ed25519, s->key, hash, m.data + m.len - MSG_SIG_LEN));
    samples_free(s);
}

static void
batch__of_nothing_is_the_null_batch(void **state)
{
    (void)state;
    struct msg_batch b;
    struct c2_buf bytes = { 0 };
    assert_int_equal(msg_read_batch(c2_slice(NULL, 0), &b), C2_E_OK);
    assert_int_equal(b.count, 0);
    assert_int_equal(b.time_ns, 0);
    c2_wr_u64(&bytes, 0); /* only the null batch has no time */
    c2_wr_u32(&bytes, 0);
    assert_int_equal(msg_read_batch(c2_buf_slice(&bytes), &b), C2_E_PARSE);
    c2_put_u64(bytes.data, 5);
    assert_int_equal(msg_read_batch(c2_buf_slice(&bytes), &b), C2_E_OK);
    c2_put_u32(bytes.data + 8, MSG_BATCH_REQS_MAX + 1);
    assert_int_equal(msg_read_batch(c2_buf_slice(&bytes), &b), C2_E_PARSE);
    c2_buf_done(&bytes);
}

static void
write_record(unsigned type, struct c2_buf *out)
{
    static uint8_t proposal[MSG_PROPOSAL_LEN];
    struct wal_record r = { .epoch = 1, .view = 2, .n = 3, .leaving = 1, .quarantined = 1 };
    struct c2_buf list = { 0 };
    c2_wr_bytes(&list, c2_slice_str("vote"));
    r.proposal = c2_slice(proposal, sizeof proposal);
    r.msg = c2_slice_str("message");
    r.config = c2_slice_str("config");
    r.count = 1;
    r.list = c2_buf_slice(&list);
    r.digest[0] = 9;
    wal_record_write((enum wal_type)type, &r, out);
    c2_buf_done(&list);
}

static void
record__decodes_to_what_was_encoded(void **state)
{
    (void)state;
    for (unsigned type = WAL_EPOCH; type <= WAL_MODE; type++) {
        struct c2_buf a = { 0 };
        struct c2_buf b = { 0 };
        struct wal_record r;
        write_record(type, &a);
        assert_int_equal(wal_record_read(type, c2_buf_slice(&a), &r), C2_E_OK);
        wal_record_write((enum wal_type)type, &r, &b);
        assert_true(c2_slice_equal(c2_buf_slice(&a), c2_buf_slice(&b)));
        for (size_t len = 0; len < a.len; len++) {
            struct c2_slice part = c2_slice(a.data, len);
            assert_int_equal(wal_record_read(type, part, &r), C2_E_PARSE);
        }
        c2_buf_done(&a);
        c2_buf_done(&b);
    }
    struct wal_record r;
    assert_int_equal(wal_record_read(0, c2_slice_str("12345"), &r), C2_E_PARSE);
    assert_int_equal(wal_record_read(WAL_MODE + 1, c2_slice_str("12345"), &r), C2_E_PARSE);
}

/* A request of kind COMMANDS with these ops, signed with nothing. */
static enum c2_err
read_commands(struct c2_buf *msg, uint64_t cseq, struct c2_slice ops, struct msg_request *ret)
{
    struct msg_request m = { .kind = MSG_REQ_COMMANDS, .session = 77, .cseq = cseq, .ack_low = 2 };
    m.op = ops;
    c2_buf_clear(msg);
    msg_write_request(msg, 1, &m);
    memset(c2_buf_extend(msg, MSG_SIG_LEN), 0, MSG_SIG_LEN);
    return msg_read_request(c2_buf_slice(msg), ret);
}

static void
commands__come_one_by_one_with_numbers_in_a_row(void **state)
{
    struct c2_buf ops = { 0 };
    struct c2_buf msg = { 0 };
    struct msg_request m;
    struct msg_request one;
    (void)state;
    msg_put_bytes(&ops, c2_slice_str("one"));
    msg_put_bytes(&ops, c2_slice_str(""));
    msg_put_bytes(&ops, c2_slice_str("three"));
    assert_int_equal(read_commands(&msg, 4, c2_buf_slice(&ops), &m), C2_E_OK);
    static const char *const want[] = { "one", "", "three" };
    struct c2_slice rest = m.op;
    for (uint32_t i = 0; i < C2_ARRAY_LEN(want); i++) {
        assert_true(msg_next_command(&m, i, &rest, &one));
        assert_int_equal(one.kind, MSG_REQ_COMMAND);
        assert_int_equal(one.session, 77);
        assert_int_equal(one.cseq, 4 + i);
        assert_int_equal(one.ack_low, 2);
        assert_true(c2_slice_equal(one.op, c2_slice_str(want[i])));
    }
    assert_false(msg_next_command(&m, 3, &rest, &one));

    m.kind = MSG_REQ_QUERY; /* any other kind is one */
    rest = m.op;
    assert_true(msg_next_command(&m, 0, &rest, &one));
    assert_int_equal(one.kind, MSG_REQ_QUERY);
    assert_true(c2_slice_equal(one.op, m.op));
    assert_false(msg_next_command(&m, 1, &rest, &one));
    c2_buf_done(&ops);
    c2_buf_done(&msg);
}

static void
commands__that_are_none_or_too_many_or_cut_are_refused(void **state)
{
    struct c2_buf ops = { 0 };
    struct c2_buf msg = { 0 };
    struct msg_request m;
    (void)state;
    assert_int_equal(read_commands(&msg, 4, c2_slice(NULL, 0), &m), C2_E_PARSE);
    for (unsigned i = 0; i < MSG_COMMANDS_MAX; i++)
        msg_put_bytes(&ops, c2_slice_str("op"));
    assert_int_equal(read_commands(&msg, 4, c2_buf_slice(&ops), &m), C2_E_OK);
    assert_int_equal(read_commands(&msg, 4, c2_slice(ops.data, ops.len - 1), &m), C2_E_PARSE);
    assert_int_equal(read_commands(&msg, UINT64_MAX - MSG_COMMANDS_MAX, c2_buf_slice(&ops), &m),
                     C2_E_OK);
    assert_int_equal(read_commands(&msg, UINT64_MAX - MSG_COMMANDS_MAX + 1, c2_buf_slice(&ops), &m),
                     C2_E_PARSE);
    msg_put_bytes(&ops, c2_slice_str("op"));
    assert_int_equal(read_commands(&msg, 4, c2_buf_slice(&ops), &m), C2_E_PARSE);
    c2_buf_done(&ops);
    c2_buf_done(&msg);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(message__encodes_to_the_golden_bytes),
        cmocka_unit_test(message__decodes_to_what_was_encoded),
        cmocka_unit_test(message__refuses_every_truncation),
        cmocka_unit_test(message__survives_every_changed_byte),
        cmocka_unit_test(signature__covers_every_byte),
        cmocka_unit_test(signature__of_a_checkpoint_is_rebuilt_from_the_certificate),
        cmocka_unit_test(batch__of_nothing_is_the_null_batch),
        cmocka_unit_test(record__decodes_to_what_was_encoded),
        cmocka_unit_test(commands__come_one_by_one_with_numbers_in_a_row),
        cmocka_unit_test(commands__that_are_none_or_too_many_or_cut_are_refused),
    };
    if (c2_crypto_init() != C2_E_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
