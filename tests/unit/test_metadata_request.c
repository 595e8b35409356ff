/* SPDX-License-Identifier: MIT */
/*
 * The room that replicas have for requests: anybody can make keys and name sessions to come, and
 * must not be in the way of real clients with it. And whom a repeated request costs an answer.
 */
#include "base/alloc.h"
#include "metadata/bft_int.h"
#include "tests/lib/bft_trio.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define EVERYBODY 7u /* all correct replicas */
#define STRANGERS 256u

static struct c2_blob *
sign(struct trio *t, const uint8_t *secret, struct msg_request *m)
{
    struct c2_buf out = { 0 };
    memcpy(m->key, secret + 32, sizeof m->key);
    msg_write_request(&out, t->config.cluster, m);
    msg_sign(&cheap_sign, secret, &out, 0);
    struct c2_blob *msg = c2_blob_copy(out.data, out.len);
    c2_buf_done(&out);
    return msg;
}

/* The requests of keys that nobody has seen, for sessions far ahead, passed on by the liar. */
static void
pass_on_stranger(struct trio *t, unsigned number)
{
    uint8_t secret[C2_ED25519_SECRET_LEN];
    uint8_t key[MSG_KEY_LEN];
    struct msg_request m = { .kind = MSG_REQ_COMMAND, .session = 1000000ull << 12 };
    struct msg_head h = { .type = MSG_FORWARD, .sender = TRIO_LIAR, .cluster = t->config.cluster };
    struct c2_buf out = { 0 };
    cheap_sign_key("stranger", number % STRANGERS, secret, key);
    m.cseq = 1 + number / STRANGERS;
    struct c2_blob *request = sign(t, secret, &m);
    msg_write_forward(&out, &h, c2_blob_slice(request));
    struct c2_blob *msg = c2_blob_copy(out.data, out.len);
    trio_send(t, TRIO_LIAR, EVERYBODY, msg);
    trio_settle(t);
    c2_blob_unref(msg);
    c2_blob_unref(request);
    c2_buf_done(&out);
}

static struct c2_blob *
make_open(struct trio *t, unsigned k)
{
    struct msg_request m = { .kind = MSG_REQ_OPEN, .cseq = 1 };
    uint8_t cert[MSG_SIG_LEN];
    uint8_t hash[C2_SHA256_LEN];
    msg_client_hash(t->config.cluster, t->client[k] + 32, hash);
    cheap_sign.sign(&cheap_sign, t->authority, hash, cert);
    m.op = c2_slice(cert, sizeof cert);
    return sign(t, t->client[k], &m);
}

static void
open_session(struct trio *t, unsigned k)
{
    struct c2_blob *msg = make_open(t, k);
    trio_client_sends(t, k, EVERYBODY, msg);
    trio_settle(t);
    c2_blob_unref(msg);
}

static uint32_t
waiting(const struct trio *t, unsigned i)
{
    struct bft_info in;
    bft_info(t->replica[i].core, &in);
    return in.requests;
}

static void
requests__of_unknown_sessions_get_a_small_part_of_the_room(void **state)
{
    struct bft_limits limits;
    struct trio *t = trio_new();
    (void)state;
    bft_limits_default(&limits);
    uint32_t part = limits.requests / 8;
    t->lost = (1u << TRIO_CORRECT * TRIO_CORRECT) - 1; /* nothing can be decided */
    for (unsigned i = 0; i < part + 100; i++)
        pass_on_stranger(t, i);
    for (unsigned i = 0; i < TRIO_CORRECT; i++)
        assert_int_equal(waiting(t, i), part);
    t->lost = 0;
    open_session(t, 0);
    trio_time_passes(t, 100);
    assert_true(t->session[0] != 0);
    trio_free(t);
}

/* Or each connection of the key would get it, and none while the key owes something. */
static void
open__that_is_repeated_is_answered_where_it_came_from(void **state)
{
    const uint64_t conn = 77;
    struct trio *t = trio_new();
    (void)state;
    open_session(t, 0);
    trio_time_passes(t, 100);
    assert_true(t->session[0] != 0);
    struct bft_replica *r = t->replica[0].core;
    struct c2_blob *msg = make_open(t, 0);
    bft_out_begin(r);
    bft_on_request(r, msg, c2_blob_slice(msg), conn, false);
    assert_int_equal(r->out.count, 1);
    assert_int_equal(r->out.list[0].kind, BFT_ACT_REPLY);
    assert_int_equal(r->out.list[0].conn, conn);
    bft_out_begin(r);
    c2_blob_unref(msg);
    trio_free(t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests__of_unknown_sessions_get_a_small_part_of_the_room),
        cmocka_unit_test(open__that_is_repeated_is_answered_where_it_came_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
