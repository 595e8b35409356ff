/* SPDX-License-Identifier: MIT */
/*
 * What replicas must do alike whatever the order in which their disks, executors and networks let
 * things happen, and what none of them may be made to do without bound.
 */
#include "base/alloc.h"
#include "base/wire.h"
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
    struct bft_setup setup;
    struct bft_replica *r = NULL;
    const char *why = NULL;
    cheap_sign_setup(&setup, 0, 1);
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

static uint64_t
open_of(struct bft_replica *r, uint8_t key, uint64_t nonce)
{
    const struct msg_request open = { .kind = MSG_REQ_OPEN, .key = { key }, .cseq = nonce };
    uint64_t last = 0;
    uint64_t id = bft_session_open(r, &open, ++r->issued, 0, &last);
    assert_true(id != 0 || last >= nonce); /* the client knows what to take next */
    return id;
}

/* A mount, and commands beside it that have come and gone: a lying primary has what they sent. */
static void
session__is_not_pushed_out_by_old_opens_that_are_played_again(void **state)
{
    (void)state;
    struct bft_replica *r = make_replica();
    uint64_t mount = open_of(r, 1, 10);
    for (uint64_t nonce = 11; nonce <= 10 + 2 * BFT_SESSIONS_KEY; nonce++)
        bft_session_close(r, bft_session_find(r, open_of(r, 1, nonce)));
    bft_session_close(r, bft_session_find(r, open_of(r, 2, 10))); /* and one that is alone */
    for (uint64_t nonce = 1; nonce <= 10 + 2 * BFT_SESSIONS_KEY; nonce++) {
        uint64_t id = open_of(r, 1, nonce);
        assert_true(id == 0 || (nonce == 10 && id == mount));
        assert_true(nonce > 10 || open_of(r, 2, nonce) == 0);
    }
    assert_non_null(bft_session_find(r, mount));
    assert_true(open_of(r, 1, 1000) != 0);
    bft_free(r);
}

/* ... nor is it after a restart, or at a replica that has fetched the state. */
static void
session__that_was_closed_is_known_from_its_record(void **state)
{
    (void)state;
    struct c2_buf records = { 0 };
    struct bft_replica *r = make_replica();
    uint64_t id = open_of(r, 1, 10);
    mark(bft_session_find(r, id), 1, 0);
    answer(bft_session_find(r, id), 1, 200);
    bft_session_close(r, bft_session_find(r, id));
    bft_sessions_save(r, &records);
    bft_free(r);

    r = make_replica();
    struct c2_rd in = c2_rd_init(c2_buf_slice(&records));
    (void)c2_rd_bytes(&in, 64);
    assert_int_equal(c2_rd_u8(&in), 1);
    assert_int_equal(bft_session_load(r, id, c2_rd_bytes(&in, SIZE_MAX)), C2_E_OK);
    assert_int_equal(c2_rd_left(&in), 0);
    r->issued = 1;
    assert_true(bft_session_is_gone(r, id));
    assert_int_equal(open_of(r, 1, 10), 0);
    assert_true(open_of(r, 1, 11) != 0);
    c2_buf_done(&records);
    bft_free(r);
}

static void
session__that_was_closed_makes_room_before_any_other(void **state)
{
    (void)state;
    struct bft_replica *r = make_replica();
    struct bft_info info;
    r->config.sessions_max = 8;
    uint64_t first = open_of(r, 1, 1);
    for (uint8_t k = 2; k <= 8; k++)
        bft_session_close(r, bft_session_find(r, open_of(r, k, 1)));
    bft_info(r, &info);
    assert_int_equal(info.sessions, 1);
    for (uint8_t k = 12; k <= 18; k++)
        assert_true(open_of(r, k, 1) != 0);
    assert_non_null(bft_session_find(r, first));
    assert_true(open_of(r, 19, 1) != 0);
    assert_null(bft_session_find(r, first)); /* the least recently used of the others */
    bft_info(r, &info);
    assert_int_equal(info.sessions, 8);
    bft_free(r);
}

/* ---- numbers --------------------------------------------------------------------------------- */

#define FAR (1ull << 40) /* nobody counts so far */

static struct bft_replica *
make_running(void)
{
    struct bft_replica *r = make_replica();
    r->mode = BFT_RUNNING;
    r->started = true;
    r->now_ns = C2_NS_PER_S;
    r->wall_ns = 1700000000ull * C2_NS_PER_S;
    return r;
}

static void
newcomer__is_not_busy_with_numbers_that_nobody_has_any_more(void **state)
{
    (void)state;
    struct bft_replica *r = make_running();
    const struct msg_stable stable = { .c.n = FAR };
    uint8_t nothing[16] = { 0 };
    struct c2_blob *batch = c2_blob_copy(nothing, sizeof nothing);
    r->issued = r->executed = 5;
    bft_adopt_stable(r, &stable);
    assert_int_equal(r->stable, FAR);
    r->status_ns = 0;
    bft_catchup_tick(r); /* it says what it lacks */
    bft_on_batch_body(r, batch, c2_blob_slice(batch));
    c2_blob_unref(batch);
    bft_free(r);
}

/* ---- the log --------------------------------------------------------------------------------- */

/* The primary of a view makes one NEW-VIEW for it, also if it starts again. */
static void
log__keeps_a_new_view_that_was_made_and_not_installed(void **state)
{
    (void)state;
    struct bft_replica *r = make_running();
    const struct msg_stable stable = { .c.n = 128 };
    uint8_t left[] = "a VIEW-CHANGE";
    r->view = 4;
    r->phase = BFT_LEAVING;
    r->own_vc = c2_blob_copy(left, sizeof left);
    r->lsn = 20;
    r->nv_lsn = 17;
    bft_adopt_stable(r, &stable);
    assert_true(r->trim_wait_lsn > 20);
    assert_int_equal(r->trim_lsn, 17);
    bft_free(r);
}

/* ---- lagging --------------------------------------------------------------------------------- */

static void
replica__that_only_executes_slowly_does_not_fetch_the_state(void **state)
{
    (void)state;
    struct bft_replica *r = make_running();
    const struct msg_stable stable = { .c.n = 128 };
    r->issued = 128;
    r->executed = 100;
    bft_adopt_stable(r, &stable);
    for (unsigned i = 0; i < 2; i++) {
        r->now_ns += 60 * C2_NS_PER_S;
        bft_catchup_tick(r);
        assert_int_equal(r->mode, BFT_RUNNING);
    }
    r->issued = 100; /* the decisions are what is lacking */
    for (unsigned i = 0; i < 2; i++) {
        r->now_ns += 60 * C2_NS_PER_S;
        bft_catchup_tick(r);
    }
    assert_int_equal(r->mode, BFT_SYNCING);
    for (size_t i = 0; i < r->out.count; i++)
        bft_job_free(r->out.list[i].job);
    bft_free(r);
}

/* ---- epochs ---------------------------------------------------------------------------------- */

static void
admit(const struct bft_config *c, const uint8_t *authority, const uint8_t *client,
      struct c2_buf *out)
{
    uint8_t hash[C2_SHA256_LEN], cert[MSG_SIG_LEN];
    struct msg_request m = { .kind = MSG_REQ_OPEN, .cseq = 1 };
    memcpy(m.key, client + C2_ED25519_SECRET_LEN - MSG_KEY_LEN, MSG_KEY_LEN);
    msg_client_hash(c->cluster, m.key, hash);
    cheap_sign.sign(&cheap_sign, authority, hash, cert);
    m.op = c2_slice(cert, sizeof cert);
    msg_write_request(out, c->cluster, &m);
    msg_sign(&cheap_sign, client, out, 0);
}

/* The epoch after this one, as its members have signed it. */
static struct c2_blob *
make_epoch(const struct bft_replica *r, const struct bft_config *next)
{
    struct c2_buf config = { 0 }, cert = { 0 }, out = { 0 };
    struct msg_stable s = { .epoch = r->config.epoch, .c.n = next->base, .count = 3 };
    const struct msg_head h = { .type = MSG_EPOCH, .epoch = r->config.epoch };
    bft_config_encode(next, &config);
    c2_sha256(c2_buf_slice(&config), s.c.config);
    for (uint16_t i = 0; i < 3; i++) {
        uint8_t secret[C2_ED25519_SECRET_LEN], key[MSG_KEY_LEN], hash[C2_SHA256_LEN];
        cheap_sign_key("replica", i, secret, key);
        s.sig[i].seat = i;
        msg_checkpoint_hash(r->config.cluster, s.epoch, i, &s.c, hash);
        cheap_sign.sign(&cheap_sign, secret, hash, s.sig[i].sig);
    }
    msg_put_stable(&cert, &s);
    const struct msg_epoch e = { c2_buf_slice(&config), c2_buf_slice(&cert) };
    msg_write_epoch(&out, &h, &e);
    struct c2_blob *blob = c2_blob_copy(out.data, out.len);
    c2_buf_done(&config);
    c2_buf_done(&cert);
    c2_buf_done(&out);
    return blob;
}

/* Whoever proposed it in the new epoch would be taken for a liar, and so would its successors. */
static void
request__that_an_epoch_makes_invalid_is_not_proposed_in_it(void **state)
{
    (void)state;
    struct bft_replica *r = make_running();
    struct c2_buf open = { 0 };
    uint8_t authority[2][C2_ED25519_SECRET_LEN], key[2][MSG_KEY_LEN], client[C2_ED25519_SECRET_LEN];
    uint8_t unused[MSG_KEY_LEN];
    cheap_sign_key("client", 0, client, unused);
    for (unsigned i = 0; i < 2; i++)
        cheap_sign_key("authority", i, authority[i], key[i]);
    memcpy(r->config.client_authority, key[0], MSG_KEY_LEN);
    admit(&r->config, authority[0], client, &open);
    struct c2_blob *request = c2_blob_copy(open.data, open.len);
    bft_on_request(r, request, c2_blob_slice(request), 1, false);
    assert_int_equal(r->nrequests, 1);

    struct bft_config next = r->config;
    next.epoch++;
    next.base = 128;
    memcpy(next.client_authority, key[1], MSG_KEY_LEN);
    struct c2_blob *epoch = make_epoch(r, &next);
    r->issued = r->executed = r->last_ckpt = next.base;
    bft_on_epoch(r, epoch);
    assert_int_equal(r->config.epoch, 1);
    assert_int_equal(r->nrequests, 0);
    c2_blob_unref(request);
    c2_blob_unref(epoch);
    c2_buf_done(&open);
    bft_free(r);
}

/* What an administrator's request for these members is answered. */
static void
ask_for_members(struct bft_replica *r, const uint16_t *ids, uint8_t n, struct bft_answer *a)
{
    struct bft_config next = r->config;
    struct c2_buf config = { 0 }, op = { 0 };
    struct bft_session s = { 0 };
    next.epoch++;
    next.base = 0;
    next.n = n;
    for (unsigned i = 0; i < n; i++) {
        uint8_t secret[C2_ED25519_SECRET_LEN];
        cheap_sign_key("replica", ids[i], secret, next.member[i].sign_key);
        memcpy(next.member[i].identity_key, next.member[i].sign_key, MSG_KEY_LEN);
        next.member[i].id = ids[i];
    }
    bft_config_encode(&next, &config);
    msg_put_bytes(&op, c2_buf_slice(&config));
    c2_wr_u8(&op, 0);
    const struct msg_request m = { .kind = MSG_REQ_ADMIN, .cseq = 1, .op = c2_buf_slice(&op) };
    *a = (struct bft_answer){ .cseq = 1 };
    bft_admin(r, &m, 10, &s, a);
    c2_buf_done(&config);
    c2_buf_done(&op);
}

/* Of those who have made the state with which an epoch begins one correct one must stay. */
static void
change__takes_no_more_members_away_than_may_lie(void **state)
{
    (void)state;
    static const uint16_t now[] = { 0, 1, 2, 3, 4, 5 };
    static const uint16_t three_leave[] = { 3, 4, 5, 6 };
    static const uint16_t one_leaves[] = { 1, 2, 3, 4, 5, 6 };
    struct bft_replica *r = make_running();
    struct bft_answer a;
    struct bft_config six = r->config;
    six.n = C2_ARRAY_LEN(now);
    for (unsigned i = 4; i < six.n; i++)
        six.member[i].id = now[i];
    bft_use_config(r, &six);
    ask_for_members(r, three_leave, C2_ARRAY_LEN(three_leave), &a);
    assert_int_equal(a.code, MSG_ADMIN_REFUSED);
    assert_true(c2_slice_equal(bft_answer_result(&a),
                               c2_slice_str("at most f members can leave at a time")));
    c2_blob_unref(a.result);
    ask_for_members(r, one_leaves, C2_ARRAY_LEN(one_leaves), &a);
    assert_int_equal(a.code, MSG_OK);
    c2_blob_unref(a.result);
    bft_free(r);
}

/* The epoch after this one, without this replica or with it again. */
static void
begin_next_epoch(struct bft_replica *r, bool member)
{
    struct bft_config next = r->config;
    next.epoch++;
    next.base = r->stable + next.window;
    for (unsigned i = 0; i < next.n; i++) /* the keys stay, so that all can sign */
        next.member[i].id = (uint16_t)(i == 0 && !member ? 50 : i);
    struct c2_blob *epoch = make_epoch(r, &next);
    bft_on_epoch(r, epoch);
    c2_blob_unref(epoch);
    assert_int_equal(r->config.epoch, next.epoch);
}

static void
jobs_done(struct bft_replica *r)
{
    for (size_t i = 0; i < r->out.count; i++) {
        if (r->out.list[i].kind == BFT_ACT_JOB)
            bft_job_free(r->out.list[i].job);
    }
    bft_out_begin(r);
}

static struct bft_job *
loaded(struct bft_replica *r)
{
    struct bft_job *job = bft_job_new(BFT_JOB_LOAD);
    job->finished = true;
    r->jobs++;
    return job;
}

/* Its state was complete, and is being loaded. */
static void
former_member__stays_one_when_its_state_is_there(void **state)
{
    (void)state;
    struct bft_replica *r = make_running();
    r->mode = BFT_SYNCING;
    r->syncing = r->sync.finished = true;
    begin_next_epoch(r, false);
    assert_int_equal(r->mode, BFT_REMOVED);
    bft_on_job(r, loaded(r));
    assert_int_equal(r->mode, BFT_REMOVED);
    assert_false(r->syncing);
    jobs_done(r);
    bft_free(r);
}

/* Half a state is none, however many epochs it is old. */
static void
former_member__that_comes_back_fetches_what_it_lacks(void **state)
{
    (void)state;
    for (unsigned booting = 0; booting < 2; booting++) {
        struct bft_replica *r = make_running();
        if (booting == 0) {
            r->mode = BFT_SYNCING;
            r->syncing = true;
            begin_next_epoch(r, false);
        } else {
            begin_next_epoch(r, false);
            struct bft_job *job = loaded(r);
            job->finished = false;
            r->mode = BFT_BOOTING;
            bft_on_job(r, job);
        }
        assert_int_equal(r->mode, BFT_REMOVED);
        r->executed = r->issued = r->last_ckpt = r->stable + r->config.window;
        begin_next_epoch(r, true);
        assert_int_equal(r->mode, BFT_SYNCING);
        jobs_done(r);
        bft_free(r);
    }
}

/* The state at 128, when the change is agreed on with which an epoch begins after 256. */
static void
save_state_before_epoch(struct bft_replica *r, struct c2_buf *records)
{
    struct bft_config next = r->config;
    next.epoch++;
    next.base = 256;
    r->issued = 128;
    r->next_boundary = next.base;
    bft_config_encode(&next, &r->next_config);
    bft_save_records(r, records);
}

static void
give_loaded(struct bft_replica *r, const struct c2_buf *records)
{
    struct bft_job *job = loaded(r);
    struct bft_event ev = { .kind = BFT_EV_JOB, .job = job };
    struct bft_actions actions;
    c2_buf_append(&job->records, records->data, records->len);
    bft_step(r, &ev, &actions);
}

/* It has decided all of the epoch before, but executed only a part: a crash came between, or it has
 * heard of the new epoch when a state of the old one was there already. */
static void
member__whose_state_is_of_an_earlier_epoch_fetches_that_of_its_own(void **state)
{
    (void)state;
    for (unsigned booting = 0; booting < 2; booting++) {
        struct bft_replica *r = make_running();
        struct c2_buf records = { 0 };
        save_state_before_epoch(r, &records);
        for (uint64_t n = 1; n <= 256; n++) {
            struct bft_slot *s = bft_slot_make(r, n);
            s->decided = s->have_final = true;
        }
        r->mode = BFT_SYNCING;
        r->syncing = r->sync.finished = true;
        begin_next_epoch(r, true);
        assert_int_equal(r->config.base, 256);
        r->mode = booting != 0 ? BFT_BOOTING : BFT_SYNCING;
        jobs_done(r);
        give_loaded(r, &records);
        assert_int_equal(r->executed, 128);
        assert_int_equal(r->issued, 128); /* nothing of the old epoch by rules of the new one */
        assert_int_equal(r->mode, BFT_SYNCING);
        assert_int_equal(r->sync.n, 256);
        assert_true(bft_may_issue(r, 257)); /* meanwhile it votes */
        jobs_done(r);
        c2_buf_done(&records);
        bft_free(r);
    }
}

/* The epoch that begins after this number. */
static struct bft_config
epoch_after(const struct bft_config *c, uint64_t base)
{
    struct bft_config next = *c;
    next.epoch++;
    next.base = base;
    return next;
}

/* The state at 384, in the second of these epochs; the third one is agreed on. */
static void
save_later_state(const struct bft_config *second, const struct bft_config *third,
                 struct c2_buf *records)
{
    struct bft_replica *r = make_running();
    bft_use_config(r, second);
    r->issued = 384;
    r->next_boundary = third->base;
    bft_config_encode(third, &r->next_config);
    bft_save_records(r, records);
    bft_free(r);
}

static void
hear_of(struct bft_replica *r, const struct bft_config *next)
{
    struct c2_blob *epoch = make_epoch(r, next);
    bft_on_epoch(r, epoch);
    c2_blob_unref(epoch);
    assert_int_equal(r->config.epoch, next->epoch);
}

/* Its log is lost, or its end, and with it how the epoch of the state has begun. */
static void
member__whose_state_is_of_a_later_epoch_knows_what_is_agreed_on_in_it(void **state)
{
    (void)state;
    struct bft_replica *r = make_running();
    const struct bft_config second = epoch_after(&r->config, 256);
    const struct bft_config third = epoch_after(&second, 768);
    struct c2_buf records = { 0 };
    save_later_state(&second, &third, &records);
    r->stable = 256;
    struct bft_slot *s = bft_slot_make(r, 385);
    s->decided = s->have_final = true;
    r->mode = BFT_BOOTING;
    give_loaded(r, &records);
    assert_int_equal(r->mode, BFT_RUNNING);
    assert_int_equal(r->executed, 384);
    assert_int_equal(r->issued, 384); /* nothing of the old epoch in this state */
    jobs_done(r);
    hear_of(r, &second);
    assert_int_equal(r->mode, BFT_RUNNING); /* it has all of it */
    assert_int_equal(r->next_boundary, third.base);
    struct bft_config next;
    assert_int_equal(bft_config_decode(c2_buf_slice(&r->next_config), &next), C2_E_OK);
    assert_int_equal(next.epoch, third.epoch);
    assert_memory_equal(bft_last_own_checkpoint(r)->config, r->config_hash, MSG_DIGEST_LEN);
    hear_of(r, &third); /* others are there already */
    assert_int_equal(r->next_boundary, 0);
    jobs_done(r);
    c2_buf_done(&records);
    bft_free(r);
}

/* At the end of an epoch, with this configuration to come, says its state; and those who have
 * signed the last checkpoint say so, too, or not. */
static uint32_t
epoch_of_end(bool agreed)
{
    struct bft_replica *r = make_running();
    const struct bft_config next = epoch_after(&r->config, 256);
    bft_config_encode(&next, &r->next_config);
    r->next_boundary = r->stable = r->executed = r->issued = r->last_ckpt = next.base;
    struct msg_stable cert = { .c.n = next.base, .count = 3 };
    for (uint16_t i = 0; i < 3; i++)
        cert.sig[i].seat = i;
    if (agreed)
        c2_sha256(c2_buf_slice(&r->next_config), cert.c.config);
    msg_put_stable(&r->stable_cert, &cert);
    r->stable_c = cert.c;
    bft_epoch_step(r);
    uint32_t epoch = r->config.epoch;
    bft_free(r);
    return epoch;
}

/* It is repaired; an epoch that nobody else is in could not be left any more. */
static void
epoch__of_a_state_that_is_wrong_does_not_begin(void **state)
{
    (void)state;
    assert_int_equal(epoch_of_end(true), 1);
    assert_int_equal(epoch_of_end(false), 0);
}

/* ---- memory and time for others -------------------------------------------------------------- */

#define MANY 100u

/* The actions of what was done since the step before. */
static size_t
count_sent(struct bft_replica *r)
{
    size_t count = 0;
    for (size_t i = 0; i < r->out.count; i++)
        count += r->out.list[i].kind == BFT_ACT_SEND;
    bft_out_begin(r);
    return count;
}

static void
bodies__are_not_sent_as_fast_as_they_can_be_asked_for(void **state)
{
    (void)state;
    struct bft_replica *r = make_running();
    const struct msg_head h = { .type = MSG_FETCH, .sender = 1 };
    struct msg_fetch f = { .kind = MSG_BODY_BATCH };
    struct c2_buf batch = { 0 }, out = { 0 };
    memset(c2_buf_extend(&batch, 1u << 20), 1, 1u << 20);
    struct c2_blob *body = c2_blob_copy(batch.data, batch.len);
    struct bft_slot *s = bft_slot_make(r, 1);
    msg_batch_digest(c2_blob_slice(body), s->decided_digest);
    s->decided = true;
    bft_final_set(r, s, body, c2_blob_slice(body));
    memcpy(f.digest, s->decided_digest, MSG_DIGEST_LEN);
    msg_write_fetch(&out, &h, &f);
    struct c2_blob *fetch = c2_blob_copy(out.data, out.len);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < MANY; i++)
            bft_on_fetch(r, 1, fetch);
        size_t sent = count_sent(r);
        assert_true(sent >= 4 && sent <= 12);
        bft_on_fetch(r, 2, fetch); /* others get theirs */
        assert_int_equal(count_sent(r), 1);
        r->now_ns += C2_NS_PER_S;
    }
    c2_blob_unref(fetch);
    c2_blob_unref(body);
    c2_buf_done(&batch);
    c2_buf_done(&out);
    bft_free(r);
}

static void
reads__that_wait_take_bounded_memory(void **state)
{
    (void)state;
    struct bft_replica *r = make_running();
    const struct msg_head h = { .type = MSG_READ, .sender = MSG_SENDER_CLIENT };
    const uint8_t key[MSG_KEY_LEN] = { 1 };
    struct c2_buf op = { 0 }, out = { 0 };
    memset(c2_buf_extend(&op, 1u << 20), 1, 1u << 20);
    const struct msg_read m = { .rseq = 1, .op = c2_buf_slice(&op) };
    msg_write_read(&out, &h, &m);
    struct c2_blob *read = c2_blob_copy(out.data, out.len);
    r->committed_to = 1; /* not executed yet */
    for (unsigned i = 0; i < MANY; i++)
        bft_on_read(r, 1, key, read);
    assert_true(r->reads.count > 0 && r->reads_bytes == r->reads.count * read->len);
    assert_true(r->reads_bytes <= r->setup.limits.requests_bytes / 8);
    r->now_ns += C2_NS_PER_S;
    bft_reads_step(r);
    assert_int_equal(r->reads_bytes, 0);
    c2_blob_unref(read);
    c2_buf_done(&op);
    c2_buf_done(&out);
    bft_free(r);
}

/* ---- what a liar says --------------------------------------------------------------------- */

/* From the seat: that it has executed so much. */
static void
claim(struct bft_replica *r, uint16_t seat, uint64_t executed)
{
    const struct msg_head h = { .type = MSG_STATUS, .sender = seat };
    const struct msg_status st = { .executed = executed };
    struct c2_buf out = { 0 };
    msg_write_status(&out, &h, &st);
    struct c2_blob *msg = c2_blob_copy(out.data, out.len);
    bft_on_status(r, seat, msg);
    c2_blob_unref(msg);
    c2_buf_done(&out);
}

/* Times that it says what it has, in ten seconds. */
static unsigned
count_own_statuses(struct bft_replica *r)
{
    const uint64_t end_ns = r->now_ns + 10 * C2_NS_PER_S;
    unsigned count = 0;
    bft_catchup_tick(r);
    count_sent(r);
    while (r->status_ns < end_ns) {
        r->now_ns = r->status_ns;
        bft_catchup_tick(r);
        count += count_sent(r) > 0;
    }
    return count;
}

static void
number__that_one_replica_alone_has_seen_keeps_nobody_busy(void **state)
{
    (void)state;
    struct bft_replica *r = make_running();
    const unsigned idle = (unsigned)(10 * C2_NS_PER_S / r->setup.timing.status_idle_ns);
    claim(r, 3, 100);
    assert_in_range(count_own_statuses(r), idle / 2, idle);
    claim(r, 2, 50);
    assert_true(count_own_statuses(r) > 5 * idle);
    r->issued = r->executed = 50; /* what both have seen */
    assert_in_range(count_own_statuses(r), idle / 2, idle);
    bft_free(r);
}

static struct c2_blob *
signed_commit(uint16_t seat, uint64_t n, const uint8_t *digest, bool good)
{
    const struct msg_head h = { .type = MSG_COMMIT, .sender = seat };
    struct msg_votes v = { .count = 1, .vote[0].n = n };
    uint8_t secret[C2_ED25519_SECRET_LEN], key[MSG_KEY_LEN];
    struct c2_buf out = { 0 };
    memcpy(v.vote[0].digest, digest, MSG_DIGEST_LEN);
    cheap_sign_key(good ? "replica" : "nobody", seat, secret, key);
    msg_write_votes(&out, &h, &v);
    msg_sign(&cheap_sign, secret, &out, 0);
    struct c2_blob *msg = c2_blob_copy(out.data, out.len);
    c2_buf_done(&out);
    return msg;
}

/* Number 1 is decided here, and of those who have committed to it the liar in seat 1 has not
 * signed.
 */
static void
decide_with_liar(struct bft_replica *r)
{
    uint8_t bytes[16] = { 0 };
    struct c2_blob *body = c2_blob_copy(bytes, sizeof bytes);
    struct bft_slot *s = bft_slot_make(r, 1);
    msg_batch_digest(c2_blob_slice(body), s->decided_digest);
    s->decided = true;
    bft_final_set(r, s, body, c2_blob_slice(body));
    for (uint16_t i = 0; i < 4; i++) {
        struct c2_blob *vote = signed_commit(i, 1, s->decided_digest, i != 1);
        bft_vote_set(&s->commit[i], vote, 0, s->decided_digest);
        c2_blob_unref(vote);
    }
    r->issued = r->executed = 1;
    c2_blob_unref(body);
}

static void
vote__that_nobody_has_signed_is_looked_at_once(void **state)
{
    (void)state;
    struct bft_replica *r = make_running();
    decide_with_liar(r);
    for (unsigned i = 0; i < MANY; i++) {
        claim(r, 2, 0); /* it wants the decision, with its proof */
        assert_true(count_sent(r) > 0);
        r->now_ns += C2_NS_PER_S;
    }
    assert_int_equal(r->count.sig_bad, 1);
    assert_in_range(r->count.sig_checked, 4, 2 * 4);
    bft_free(r);
}

/* A null batch as number 1 of view 1, passed on by seat 2. */
static void
propose(struct bft_replica *r, const char *signer)
{
    const struct msg_head h = { .type = MSG_PRE_PREPARE, .sender = 1 };
    struct msg_proposal p = { .view = 1, .n = 1 };
    uint8_t secret[C2_ED25519_SECRET_LEN], key[MSG_KEY_LEN];
    struct c2_buf proposal = { 0 }, out = { 0 };
    msg_batch_digest(c2_slice(NULL, 0), p.digest);
    cheap_sign_key(signer, 1, secret, key);
    msg_write_proposal(&proposal, &h, &p);
    msg_sign(&cheap_sign, secret, &proposal, 0);
    msg_write_pre_prepare(&out, c2_buf_slice(&proposal), c2_slice(NULL, 0));
    struct c2_blob *msg = c2_blob_copy(out.data, out.len);
    bft_on_pre_prepare(r, 2, msg);
    c2_blob_unref(msg);
    c2_buf_done(&proposal);
    c2_buf_done(&out);
}

static void
proposal__that_its_primary_has_not_signed_is_not_taken(void **state)
{
    (void)state;
    struct bft_replica *r = make_running();
    r->view = 1;
    propose(r, "nobody");
    assert_int_equal(r->count.sig_bad, 1);
    assert_false(bft_slot(r, 1)->have_proposal);
    propose(r, "replica");
    assert_true(bft_slot(r, 1)->have_proposal);
    bft_free(r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions__are_the_same_whenever_the_executor_has_answered),
        cmocka_unit_test(sessions__keep_the_newest_of_long_answers_and_all_short_ones),
        cmocka_unit_test(session__is_not_pushed_out_by_old_opens_that_are_played_again),
        cmocka_unit_test(session__that_was_closed_is_known_from_its_record),
        cmocka_unit_test(session__that_was_closed_makes_room_before_any_other),
        cmocka_unit_test(newcomer__is_not_busy_with_numbers_that_nobody_has_any_more),
        cmocka_unit_test(log__keeps_a_new_view_that_was_made_and_not_installed),
        cmocka_unit_test(replica__that_only_executes_slowly_does_not_fetch_the_state),
        cmocka_unit_test(request__that_an_epoch_makes_invalid_is_not_proposed_in_it),
        cmocka_unit_test(change__takes_no_more_members_away_than_may_lie),
        cmocka_unit_test(former_member__stays_one_when_its_state_is_there),
        cmocka_unit_test(former_member__that_comes_back_fetches_what_it_lacks),
        cmocka_unit_test(member__whose_state_is_of_an_earlier_epoch_fetches_that_of_its_own),
        cmocka_unit_test(member__whose_state_is_of_a_later_epoch_knows_what_is_agreed_on_in_it),
        cmocka_unit_test(epoch__of_a_state_that_is_wrong_does_not_begin),
        cmocka_unit_test(bodies__are_not_sent_as_fast_as_they_can_be_asked_for),
        cmocka_unit_test(reads__that_wait_take_bounded_memory),
        cmocka_unit_test(number__that_one_replica_alone_has_seen_keeps_nobody_busy),
        cmocka_unit_test(vote__that_nobody_has_signed_is_looked_at_once),
        cmocka_unit_test(proposal__that_its_primary_has_not_signed_is_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
