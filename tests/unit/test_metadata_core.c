/* SPDX-License-Identifier: MIT */
/*
 * What replicas must do alike whatever the order in which their disks, executors and networks let
 * things happen, and what none of them may be made to do without bound.
 */
#include "base/alloc.h"
#include "metadata/bft_int.h"
#include "tests/lib/cheap_sign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct bft_replica *
make_replica(void)
{
    struct bft_setup setup = { .crypto = &cheap_sign };
    struct bft_replica *r = NULL;
    const char *why = NULL;
    bft_config_default(&setup.config);
    bft_limits_default(&setup.limits);
    bft_timing_lan(&setup.timing);
    setup.config.f = 1;
    setup.config.n = 4;
    for (unsigned i = 0; i < 4; i++) {
        struct bft_member *m = &setup.config.member[i];
        uint8_t secret[C2_ED25519_SECRET_LEN];
        m->id = (uint16_t)i;
        cheap_sign_key("replica", i, secret, m->sign_key);
        memcpy(m->identity_key, m->sign_key, MSG_KEY_LEN);
        if (i == 0)
            memcpy(setup.sign_secret, secret, sizeof secret);
    }
    assert_int_equal(bft_new(&setup, &r, &why), C2_E_OK);
    return r;
}

/* ---- sessions -------------------------------------------------------------------------------- */

#define LONG 4096

static void
mark(struct bft_session *s, uint64_t cseq, uint64_t ack_low)
{
    const struct msg_request m = { .kind = MSG_REQ_COMMAND, .cseq = cseq, .ack_low = ack_low };
    bft_session_mark(s, &m, cseq);
}

static void
answer(struct bft_session *s, uint64_t cseq, size_t len)
{
    static const uint8_t bytes[LONG];
    bft_session_answer(s, bft_session_find_answer(s, cseq), MSG_OK, c2_slice(bytes, len));
}

/* A session with as many answers as are kept, but for little. */
static struct bft_session *
full_session(struct bft_replica *r)
{
    const struct msg_request open = { .kind = MSG_REQ_OPEN, .cseq = 1 };
    uint64_t last = 0;
    struct bft_session *s = bft_session_find(r, bft_session_open(r, &open, 1, 0, &last));
    mark(s, 1, 0);
    answer(s, 1, 200);
    for (uint64_t c = 2; c <= 12; c++) {
        mark(s, c, 0);
        answer(s, c, LONG);
    }
    return s;
}

static void
sessions__are_the_same_whenever_the_executor_has_answered(void **state)
{
    (void)state;
    struct c2_buf records[2] = { 0 };
    for (unsigned late = 0; late < 2; late++) {
        struct bft_replica *r = make_replica();
        struct bft_session *s = full_session(r);
        mark(s, 13, 0);
        if (late == 0)
            answer(s, 13, LONG - 96);
        mark(s, 14, 1); /* what it acknowledges makes enough room */
        if (late == 1)
            answer(s, 13, LONG - 96);
        answer(s, 14, 8);
        bft_sessions_save(r, &records[late]);
        bft_free(r);
    }
    assert_true(c2_slice_equal(c2_buf_slice(&records[0]), c2_buf_slice(&records[1])));
    c2_buf_done(&records[0]);
    c2_buf_done(&records[1]);
}

static void
sessions__keep_the_newest_of_long_answers_and_all_short_ones(void **state)
{
    (void)state;
    struct c2_buf records = { 0 };
    struct bft_replica *r = make_replica();
    struct bft_session *s = full_session(r);
    mark(s, 13, 0);
    answer(s, 13, LONG);
    bft_sessions_save(r, &records);
    assert_true(s->answer_bytes <= BFT_ANSWER_BYTES);
    assert_int_equal(bft_session_find_answer(s, 1)->code, MSG_OK);
    assert_int_equal(bft_session_find_answer(s, 2)->code, MSG_RESULT_GONE);
    assert_int_equal(bft_session_find_answer(s, 3)->code, MSG_OK);
    assert_int_equal(bft_session_find_answer(s, 13)->code, MSG_OK);
    c2_buf_done(&records);
    bft_free(r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions__are_the_same_whenever_the_executor_has_answered),
        cmocka_unit_test(sessions__keep_the_newest_of_long_answers_and_all_short_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
