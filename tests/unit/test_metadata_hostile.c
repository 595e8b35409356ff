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

static struct c2_blob *
client_request(struct trio *t, struct msg_request *m)
{
    struct c2_buf out = { 0 };
    memcpy(m->key, t->client[0] + 32, sizeof m->key);
    msg_write_request(&out, t->config.cluster, m);
    msg_sign(&cheap_sign, t->client[0], &out, 0);
    struct c2_blob *msg = c2_blob_copy(out.data, out.len);
    c2_buf_done(&out);
    return msg;
}

static void
client_sends(struct trio *t, struct msg_request *m)
{
    struct c2_blob *msg = client_request(t, m);
    trio_client_sends(t, 0, EVERYBODY, msg);
    trio_settle(t);
    c2_blob_unref(msg);
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

/* ---- a replica ------------------------------------------------------------------------------- */

/* A VIEW-CHANGE of the liar for view 1, with so many bytes: what nobody asks for may be in it. */
static struct c2_blob *
make_view_change(const struct trio *t, size_t len)
{
    struct msg_head h = { .type = MSG_VIEW_CHANGE, .sender = TRIO_LIAR };
    struct msg_view_change m = { .view = 1, .nprepares = 1 };
    struct c2_buf nothing = { 0 }, padding = { 0 }, out = { 0 };
    h.cluster = t->config.cluster;
    msg_write_view_change(&nothing, &h, &m);
    size_t pad = len - nothing.len - MSG_SIG_LEN - 4;
    c2_wr_u32(&padding, (uint32_t)pad);
    memset(c2_buf_extend(&padding, pad), 7, pad);
    m.prepares = c2_buf_slice(&padding);
    msg_write_view_change(&out, &h, &m);
    msg_sign(&cheap_sign, t->secret[TRIO_LIAR], &out, 0);
    assert_int_equal(out.len, len);
    struct c2_blob *msg = c2_blob_copy(out.data, out.len);
    c2_buf_done(&nothing);
    c2_buf_done(&padding);
    c2_buf_done(&out);
    return msg;
}

static bool
can_be_passed_on(struct c2_slice vc)
{
    struct msg_head h = { .type = MSG_BODY };
    struct msg_body b = { .kind = MSG_BODY_VIEW_CHANGE, .bytes = vc };
    struct c2_buf out = { 0 };
    msg_write_body(&out, &h, &b);
    bool can = msg_read_body(c2_buf_slice(&out), &b) == C2_E_OK;
    c2_buf_done(&out);
    return can;
}

/* Or a NEW-VIEW that builds on it could never be installed by those who have not got it: the liar
 * sends it to the new primaries only, and no view change ends. */
static void
view_change__that_cannot_be_passed_on_is_none(void **state)
{
    struct trio *t = trio_new();
    (void)state;
    unsigned valid = 0;
    for (size_t len = 256; len <= MSG_BYTES_MAX; len *= 2) {
        struct c2_blob *vc = make_view_change(t, len);
        bool good = bft_vc_valid(t->replica[1].core, c2_blob_slice(vc));
        assert_true(!good || can_be_passed_on(c2_blob_slice(vc)));
        valid += good;
        c2_blob_unref(vc);
    }
    assert_true(valid > 0);
    trio_free(t);
}

/* Everything in the window is prepared, and each vote came in a message with as many others as one
 * can hold. */
static void
view_change__of_an_honest_replica_is_never_too_long(void **state)
{
    struct trio *t = trio_new();
    struct bft_replica *r = t->replica[0].core;
    const struct msg_head h = { .type = MSG_PREPARE };
    struct msg_votes v = { .count = MSG_VOTES_MAX };
    (void)state;
    for (uint64_t n = r->stable + 1; n <= r->stable + r->config.window; n++) {
        struct bft_cert *cert = &bft_slot_make(r, n)->cert;
        const struct msg_head ph = { .type = MSG_PRE_PREPARE };
        const struct msg_proposal p = { .n = n };
        struct c2_buf out = { 0 };
        msg_write_proposal(&out, &ph, &p);
        memcpy(cert->proposal, out.data, out.len);
        cert->have = true;
        while (cert->nvotes < r->q - 1) {
            v.view++; /* all of them differ */
            for (unsigned i = 0; i < v.count; i++)
                v.vote[i].n = n + i;
            c2_buf_clear(&out);
            msg_write_votes(&out, &h, &v);
            c2_buf_extend(&out, MSG_SIG_LEN);
            cert->votes[cert->nvotes++] = c2_blob_copy(out.data, out.len);
        }
        c2_buf_done(&out);
    }
    bft_out_begin(r);
    bft_leave(r, 1);
    assert_true(r->own_vc->len <= bft_vc_len_max(r));
    assert_true(r->own_vc->len > bft_vc_len_max(r) * 9 / 10);
    trio_free(t);
}

static unsigned
count_sent(const struct bft_replica *r, enum msg_type type)
{
    unsigned count = 0;
    for (size_t i = 0; i < r->out.count; i++) {
        const struct bft_action *a = &r->out.list[i];
        count += a->kind == BFT_ACT_SEND && a->msg->data[1] == type;
    }
    return count;
}

/* A replica in view 5, with the NEW-VIEW with which that began. */
static struct bft_replica *
enter_view(struct trio *t)
{
    struct bft_replica *r = t->replica[0].core;
    struct msg_head h = { .type = MSG_NEW_VIEW, .sender = 1, .cluster = t->config.cluster };
    const struct msg_new_view m = { .view = 5 };
    struct c2_buf out = { 0 };
    msg_write_new_view(&out, &h, &m);
    c2_buf_extend(&out, MSG_SIG_LEN);
    r->view = r->nv.view = m.view;
    r->nv.msg = c2_blob_copy(out.data, out.len);
    c2_buf_done(&out);
    return r;
}

static void
pass_on(struct bft_replica *r, const struct trio *t, uint16_t from, uint16_t author)
{
    struct msg_head h = { .type = MSG_VIEW_CHANGE, .sender = author };
    struct c2_buf vc = { 0 }, out = { 0 };
    const struct msg_view_change m = { .view = 1 };
    struct bft_event ev = { .kind = BFT_EV_MESSAGE, .seat = from };
    struct bft_actions acts;
    h.cluster = t->config.cluster;
    msg_write_view_change(&vc, &h, &m);
    c2_buf_extend(&vc, MSG_SIG_LEN); /* nobody has signed it */
    const struct msg_body b = { .kind = MSG_BODY_VIEW_CHANGE, .bytes = c2_buf_slice(&vc) };
    h.type = MSG_BODY;
    h.sender = from;
    msg_write_body(&out, &h, &b);
    ev.msg = from == author ? c2_blob_copy(vc.data, vc.len) : c2_blob_copy(out.data, out.len);
    ev.now_ns = r->now_ns;
    ev.wall_ns = r->wall_ns;
    bft_step(r, &ev, &acts);
    c2_blob_unref(ev.msg);
    c2_buf_done(&vc);
    c2_buf_done(&out);
}

/* It is much longer than what makes us send it. */
static void
new_view__is_sent_to_who_lacks_it_and_not_on_the_word_of_another(void **state)
{
    struct trio *t = trio_new();
    struct bft_replica *r = enter_view(t);
    (void)state;
    pass_on(r, t, 2, 2);
    assert_int_equal(count_sent(r, MSG_NEW_VIEW), 1);
    pass_on(r, t, TRIO_LIAR, 2);
    assert_int_equal(count_sent(r, MSG_NEW_VIEW), 0);
    trio_free(t);
}

/* Each says something else about number 1 than the one before. */
static void
vote_again(struct trio *t, unsigned times)
{
    struct msg_head h = { .type = MSG_COMMIT, .sender = TRIO_LIAR };
    h.cluster = t->config.cluster;
    for (unsigned i = 0; i < times; i++) {
        struct msg_votes v = { .count = 1, .vote[0] = { .n = 1 } };
        struct c2_buf out = { 0 };
        c2_put_u32(v.vote[0].digest, i + 1);
        msg_write_votes(&out, &h, &v);
        c2_buf_extend(&out, MSG_SIG_LEN);
        struct bft_event ev = { .kind = BFT_EV_MESSAGE, .seat = TRIO_LIAR };
        struct bft_actions acts;
        ev.msg = c2_blob_copy(out.data, out.len);
        ev.now_ns = t->now_ns;
        ev.wall_ns = TRIO_START_NS + t->now_ns;
        bft_step(t->replica[0].core, &ev, &acts);
        for (size_t k = 0; k < acts.count; k++)
            t->nevents += acts.action[k].kind == BFT_ACT_ALARM;
        c2_blob_unref(ev.msg);
        c2_buf_done(&out);
    }
}

/* They are lines of somebody's log, and its disk is not the liar's to fill. */
static void
alarms__of_a_liar_are_few_however_often_it_lies(void **state)
{
    struct trio *t = trio_new();
    (void)state;
    for (unsigned second = 1; second <= 3; second++) {
        t->now_ns = second * C2_NS_PER_S;
        t->nevents = 0;
        vote_again(t, 1000);
        assert_in_range(t->nevents, 1, 20);
    }
    trio_free(t);
}

/* The NEW-VIEW for view `view` of the seat that makes it, with VIEW-CHANGEs that nobody has. */
static void
take_new_view(struct bft_replica *r, uint16_t seat, uint64_t view, uint8_t digest)
{
    struct msg_head h = { .type = MSG_NEW_VIEW, .sender = seat };
    struct msg_new_view m = { .view = view, .nvcs = r->config.n };
    uint8_t secret[C2_ED25519_SECRET_LEN], key[MSG_KEY_LEN];
    struct c2_buf out = { 0 };
    h.cluster = r->config.cluster;
    for (unsigned i = 0; i < m.nvcs; i++) {
        m.vc[i].seat = (uint16_t)i;
        m.vc[i].digest[0] = digest;
        m.vc[i].digest[1] = (uint8_t)i;
    }
    cheap_sign_key("replica", seat, secret, key);
    msg_write_new_view(&out, &h, &m);
    msg_sign(&cheap_sign, secret, &out, 0);
    struct c2_blob *msg = c2_blob_copy(out.data, out.len);
    bft_on_new_view(r, msg);
    c2_blob_unref(msg);
    c2_buf_done(&out);
}

/* In the STATUS that the replica sends now. */
static bool
wants(struct bft_replica *r, uint8_t digest)
{
    struct msg_status st;
    bool found = false;
    bft_out_begin(r);
    r->status_ns = 0;
    bft_catchup_tick(r);
    for (size_t i = 0; i < r->out.count; i++) {
        const struct bft_action *a = &r->out.list[i];
        if (a->kind != BFT_ACT_SEND || msg_read_status(c2_blob_slice(a->msg), &st) != C2_E_OK)
            continue;
        for (unsigned k = 0; k < st.nwanted; k++)
            found = found || st.wanted[k][0] == digest;
    }
    bft_out_begin(r);
    return found;
}

/* Three liars of ten have made views far ahead, and a correct one the next. */
static void
view_changes__that_are_missing_are_asked_for_beside_those_of_liars(void **state)
{
    struct bft_setup setup;
    struct bft_replica *r = NULL;
    const char *why = NULL;
    (void)state;
    cheap_sign_setup(&setup, 9, 3);
    assert_int_equal(bft_new(&setup, &r, &why), C2_E_OK);
    r->mode = BFT_RUNNING;
    r->now_ns = C2_NS_PER_S;
    bft_out_begin(r);
    for (uint8_t liar = 0; liar < 3; liar++)
        take_new_view(r, liar, 1000 + liar, liar);
    take_new_view(r, 3, 3, 3);
    bool asked = false;
    for (unsigned i = 0; i < 2 * setup.config.n; i++)
        asked = wants(r, 3) || asked;
    assert_true(asked);
    bft_free(r);
}

/* It has forgotten something, and may have made another one before. */
static void
new_view__is_not_made_in_quarantine(void **state)
{
    struct trio *t = trio_new();
    struct bft_replica *r = t->replica[1].core;
    struct c2_blob *vc = make_view_change(t, 256);
    (void)state;
    r->view = 1;
    r->phase = BFT_LEAVING;
    for (unsigned i = 0; i < TRIO_CORRECT; i++)
        bft_vc_set(&r->vc[i], vc, r->view);
    r->quarantined = true;
    r->mode = BFT_QUARANTINED;
    uint64_t made = r->count.sig_made;
    bft_out_begin(r);
    bft_try_new_view(r);
    assert_int_equal(r->count.sig_made, made);
    assert_int_equal(r->out.count, 0);
    r->quarantined = false;
    r->mode = BFT_RUNNING;
    bft_try_new_view(r);
    assert_true(r->count.sig_made > made);
    c2_blob_unref(vc);
    trio_free(t);
}

/* ---- a primary ------------------------------------------------------------------------------- */

#define TIMES 1000 /* as often as a batch has room for */

/* Of a session that has executed as much as it may at once, with answers as long as are kept. */
static struct c2_blob *
make_answered(struct trio *t)
{
    static const uint8_t answer[BFT_ANSWER_KEPT_MAX];
    struct msg_request m = { .kind = MSG_REQ_COMMANDS, .session = t->session[0], .cseq = 1 };
    struct c2_buf ops = { 0 };
    struct bft_session *s = bft_session_find(t->replica[0].core, m.session);
    for (unsigned i = 0; i < MSG_COMMANDS_MAX; i++) {
        const struct msg_request one = { .kind = MSG_REQ_COMMAND, .cseq = m.cseq + i };
        struct bft_answer *a = bft_session_mark(s, &one, 1);
        bft_session_answer(s, a, MSG_OK, c2_slice(answer, sizeof answer));
        msg_put_bytes(&ops, c2_slice_str("x"));
    }
    m.op = c2_buf_slice(&ops);
    struct c2_blob *msg = client_request(t, &m);
    c2_buf_done(&ops);
    return msg;
}

static size_t
count_reply_bytes(const struct bft_replica *r)
{
    size_t bytes = 0;
    for (size_t i = 0; i < r->out.count; i++) {
        const struct bft_action *a = &r->out.list[i];
        bytes += a->kind == BFT_ACT_REPLY ? a->msg->len : 0;
    }
    return bytes;
}

static void
free_jobs(struct bft_replica *r)
{
    for (size_t i = 0; i < r->out.count; i++)
        bft_job_free(r->out.list[i].job);
    bft_out_begin(r);
}

/* A batch with the request many times is executed here; jobs are not. */
static size_t
repeat(struct trio *t, struct c2_blob *request)
{
    struct bft_replica *r = t->replica[0].core;
    struct c2_buf batch = { 0 };
    c2_wr_u64(&batch, TRIO_START_NS);
    c2_wr_u32(&batch, TIMES);
    for (unsigned i = 0; i < TIMES; i++)
        msg_put_bytes(&batch, c2_blob_slice(request));
    assert_true(batch.len <= MSG_BATCH_MAX);
    struct c2_blob *body = c2_blob_copy(batch.data, batch.len);
    struct bft_slot *s = bft_slot_make(r, r->issued + 1);
    s->decided = true;
    bft_final_set(r, s, body, c2_blob_slice(body));
    bft_out_begin(r);
    bft_execute(r);
    assert_int_equal(r->issued, s->n);
    size_t bytes = count_reply_bytes(r);
    free_jobs(r);
    c2_blob_unref(body);
    c2_buf_done(&batch);
    return bytes;
}

/* Nobody has asked for the answers again, and all of them are in memory at once. */
static void
answers__to_what_a_primary_repeats_take_little(void **state)
{
    struct trio *t = trio_new();
    struct bft_replica *r = t->replica[0].core;
    (void)state;
    open_session(t);
    struct c2_blob *request = make_answered(t);
    assert_int_equal(repeat(t, request), 0);
    assert_int_equal(r->count.duplicates, TIMES * MSG_COMMANDS_MAX);
    bft_session_close(r, bft_session_find(r, t->session[0]));
    size_t refused = repeat(t, request);
    assert_in_range(refused, 1, 256u << 10);
    c2_blob_unref(request);
    trio_free(t);
}

/* The client would pay for it with its share. */
static void
answers__to_what_others_pass_on_again_are_not_sent(void **state)
{
    struct trio *t = trio_new();
    struct bft_replica *r = t->replica[0].core;
    (void)state;
    open_session(t);
    struct c2_blob *request = make_answered(t);
    bft_out_begin(r);
    bft_on_request(r, request, c2_blob_slice(request), 0, true);
    assert_int_equal(r->out.count, 0);
    bft_on_request(r, request, c2_blob_slice(request), 77, false); /* it asks itself */
    assert_int_equal(r->out.count, MSG_COMMANDS_MAX);
    bft_out_begin(r);
    assert_int_equal(r->nrequests, 0);
    c2_blob_unref(request);
    trio_free(t);
}

/* As many requests of the kind, as the liar proposes them as the primary of its view. */
static struct c2_blob *
propose_many(struct trio *t, unsigned count, enum msg_request_kind kind, uint64_t time_ns)
{
    struct msg_head h = { .type = MSG_PRE_PREPARE, .sender = TRIO_LIAR };
    struct msg_proposal p = { .view = TRIO_LIAR, .n = 1 };
    struct c2_buf ops = { 0 }, batch = { 0 }, out = { 0 };
    bool open = kind == MSG_REQ_OPEN;
    uint8_t hash[C2_SHA256_LEN];
    h.cluster = t->config.cluster;
    msg_client_hash(h.cluster, t->client[0] + 32, hash);
    if (open)
        cheap_sign.sign(&cheap_sign, t->authority, hash, c2_buf_extend(&ops, MSG_SIG_LEN));
    for (unsigned i = 0; i < MSG_COMMANDS_MAX && !open; i++)
        msg_put_bytes(&ops, c2_slice_str("x"));
    c2_wr_u64(&batch, time_ns);
    c2_wr_u32(&batch, count);
    for (unsigned i = 0; i < count; i++) {
        struct msg_request m = { .kind = (uint8_t)kind, .session = !open };
        m.cseq = 1 + (uint64_t)i * MSG_COMMANDS_MAX;
        m.op = c2_buf_slice(&ops);
        struct c2_blob *request = client_request(t, &m);
        msg_put_bytes(&batch, c2_blob_slice(request));
        c2_blob_unref(request);
    }
    msg_batch_digest(c2_buf_slice(&batch), p.digest);
    msg_write_proposal(&out, &h, &p);
    msg_sign(&cheap_sign, t->secret[TRIO_LIAR], &out, 0);
    c2_wr_raw(&out, batch.data, batch.len);
    struct c2_blob *msg = c2_blob_copy(out.data, out.len);
    c2_buf_done(&ops);
    c2_buf_done(&batch);
    c2_buf_done(&out);
    return msg;
}

/* One replica votes for it; or wants another primary. */
static bool
votes_for(unsigned count, enum msg_request_kind kind)
{
    struct trio *t = trio_new();
    struct bft_replica *r = t->replica[0].core;
    struct c2_blob *msg = propose_many(t, count, kind, TRIO_START_NS);
    assert_true(msg->len <= MSG_PROPOSAL_LEN + MSG_BATCH_MAX);
    r->view = TRIO_LIAR;
    bft_out_begin(r);
    bft_on_pre_prepare(r, TRIO_LIAR, msg);
    bool voted = bft_slot(r, 1)->voted;
    assert_int_equal(r->accused, !voted);
    c2_blob_unref(msg);
    trio_free(t);
    return voted;
}

/* What all replicas keep until the next checkpoint, and what keeps all of them busy. */
static void
batch__with_more_than_a_correct_primary_proposes_is_none(void **state)
{
    const unsigned commands = BFT_COMMANDS_MAX / MSG_COMMANDS_MAX; /* requests with so many */
    (void)state;
    assert_true(votes_for(commands, MSG_REQ_COMMANDS));
    assert_false(votes_for(commands + 1, MSG_REQ_COMMANDS));
    assert_true(votes_for(BFT_READS_MAX, MSG_REQ_QUERY));
    assert_false(votes_for(BFT_READS_MAX + 1, MSG_REQ_QUERY));
    assert_true(votes_for(BFT_READS_MAX + 1, MSG_REQ_COMMAND));
}

/* It may wait for long, and is looked at again and again: what is in it is not, before its time. */
static void
batch__of_a_time_to_come_costs_little(void **state)
{
    struct trio *t = trio_new();
    struct bft_replica *r = t->replica[0].core;
    const uint64_t hour_ns = 3600 * C2_NS_PER_S;
    struct c2_blob *msg = propose_many(t, TIMES, MSG_REQ_OPEN, TRIO_START_NS + hour_ns);
    (void)state;
    r->view = TRIO_LIAR;
    bft_out_begin(r);
    bft_on_pre_prepare(r, TRIO_LIAR, msg);
    for (unsigned i = 0; i < 10; i++) {
        r->status_ns = 0;
        bft_catchup_tick(r);
    }
    assert_in_range(r->count.sig_checked, 1, 10);
    assert_false(bft_slot(r, 1)->voted);
    r->wall_ns += hour_ns;
    r->status_ns = 0;
    bft_catchup_tick(r);
    assert_true(r->count.sig_checked >= TIMES);
    assert_true(bft_slot(r, 1)->voted);
    c2_blob_unref(msg);
    trio_free(t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(session__whose_client_counts_as_far_as_numbers_go_is_saved),
        cmocka_unit_test(view_change__that_cannot_be_passed_on_is_none),
        cmocka_unit_test(view_change__of_an_honest_replica_is_never_too_long),
        cmocka_unit_test(new_view__is_sent_to_who_lacks_it_and_not_on_the_word_of_another),
        cmocka_unit_test(view_changes__that_are_missing_are_asked_for_beside_those_of_liars),
        cmocka_unit_test(new_view__is_not_made_in_quarantine),
        cmocka_unit_test(alarms__of_a_liar_are_few_however_often_it_lies),
        cmocka_unit_test(answers__to_what_a_primary_repeats_take_little),
        cmocka_unit_test(answers__to_what_others_pass_on_again_are_not_sent),
        cmocka_unit_test(batch__with_more_than_a_correct_primary_proposes_is_none),
        cmocka_unit_test(batch__of_a_time_to_come_costs_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
