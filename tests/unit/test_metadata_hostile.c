/* SPDX-License-Identifier: MIT */
/*
 * What one hostile client or replica could do to all others, if it were let: with numbers at their
 * limits, with messages as large as they may be, with what others have said before.
 */
#include "base/alloc.h"
#include "base/wire.h"
#include "metadata/bft_int.h"
#include "tests/lib/bft_trio.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define EVERYBODY ((1u << TRIO_CORRECT) - 1)

/* ---- a client -------------------------------------------------------------------------------- */

static void
client_sends(struct trio *t, struct msg_request *m)
{
    struct c2_buf out = { 0 };
    memcpy(m->key, t->client[0] + 32, sizeof m->key);
    msg_write_request(&out, t->config.cluster, m);
    msg_sign(&cheap_sign, t->client[0], &out, 0);
    struct c2_blob *msg = c2_blob_copy(out.data, out.len);
    trio_client_sends(t, 0, EVERYBODY, msg);
    trio_settle(t);
    c2_blob_unref(msg);
    c2_buf_done(&out);
}

static void
open_session(struct trio *t)
{
    struct msg_request m = { .kind = MSG_REQ_OPEN, .cseq = 1 };
    uint8_t cert[MSG_SIG_LEN];
    uint8_t hash[C2_SHA256_LEN];
    msg_client_hash(t->config.cluster, t->client[0] + 32, hash);
    cheap_sign.sign(&cheap_sign, t->authority, hash, cert);
    m.op = c2_slice(cert, sizeof cert);
    client_sends(t, &m);
    trio_time_passes(t, 10);
    assert_true(t->session[0] != 0);
}

/* Nothing that counts from such a number on may run over. */
static void
session__whose_client_counts_as_far_as_numbers_go_is_saved(void **state)
{
    struct trio *t = trio_new();
    (void)state;
    open_session(t);
    struct msg_request m = { .kind = MSG_REQ_COMMAND, .session = t->session[0] };
    m.cseq = UINT64_MAX;
    m.ack_low = UINT64_MAX - BFT_SESSION_WINDOW;
    m.op = c2_slice_str("a command");
    client_sends(t, &m);
    for (unsigned i = 0; i < 2 * TRIO_INTERVAL; i++)
        trio_time_passes(t, 100); /* idle primaries propose, too: checkpoints are made */
    for (unsigned i = 0; i < TRIO_CORRECT; i++) {
        struct bft_replica *r = t->replica[i].core;
        struct bft_session *s = bft_session_find(r, m.session);
        assert_true(r->stable >= TRIO_INTERVAL);
        assert_non_null(s);
        assert_int_equal(s->ack_low, m.ack_low);
        assert_non_null(bft_session_find_answer(s, m.cseq));
    }
    trio_stop(t, 0);
    trio_start(t, 0); /* from what was saved */
    trio_settle(t);
    assert_non_null(bft_session_find(t->replica[0].core, m.session));
    trio_free(t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(session__whose_client_counts_as_far_as_numbers_go_is_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
