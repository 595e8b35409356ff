/* SPDX-License-Identifier: MIT */
/*
 * Checkpoints: every K batches the application makes everything durable and gives the digest of
 * its whole state. A quorum's signatures over it make it stable; the window then begins after it
 * and the log forgets what is before it.
 *
 * A stable checkpoint ahead of this replica moves the window all the same: it goes on voting and
 * catches up by decisions, or fetches the state. A stable digest that differs from our own means
 * that our state is wrong: it is repaired by the same fetch.
 *
 * The state with which an epoch begins stays on disk, to be served, until a checkpoint of the epoch
 * is stable. Old members have made it stable; of those that are still there a single correct one
 * may have it, and if that moved on alone nobody could prove where it went. Later it is different:
 * f + 1 correct members have executed a stable checkpoint, and the next ones as well. Checkpoints
 * meanwhile are executed and signed, but held in the application's open batch.
 *
 * System records: "m": u64 n, time, log hash, configuration in force after n, u64 boundary and
 * configuration to come (0 and empty when there is none); "s": sessions.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "metadata/bft_int.h"

bool
bft_is_boundary(const struct bft_replica *r, uint64_t n)
{
    return r->next_boundary != 0 && n == r->next_boundary;
}

/* The configuration that is in force after n, encoded. */
static struct c2_slice
config_after(const struct bft_replica *r, uint64_t n)
{
    return c2_buf_slice(bft_is_boundary(r, n) ? &r->next_config : &r->config_bytes);
}

/* ---- system records -------------------------------------------------------------------------- */

void
bft_save_records(struct bft_replica *r, struct c2_buf *records)
{
    struct c2_buf value = { 0 };
    bool over = bft_is_boundary(r, r->issued);
    c2_wr_u64(&value, r->issued);
    c2_wr_u64(&value, r->time_ns);
    c2_wr_raw(&value, r->log_hash, MSG_DIGEST_LEN);
    c2_wr_bytes(&value, config_after(r, r->issued));
    c2_wr_u64(&value, over ? 0 : r->next_boundary);
    c2_wr_bytes(&value, over ? c2_slice(NULL, 0) : c2_buf_slice(&r->next_config));
    c2_wr_bytes(records, c2_slice("m", 1));
    c2_wr_u8(records, 1);
    c2_wr_bytes(records, c2_buf_slice(&value));
    c2_buf_done(&value);
    bft_sessions_save(r, records);
}

static void
set_buf(struct c2_buf *b, struct c2_slice s)
{
    c2_buf_clear(b);
    c2_buf_append(b, s.data, s.len);
}

/* Our own view of epochs comes from the log; the state may be one step ahead of it, or more when
 * the log is lost. */
static C2_RESULT
load_config(struct bft_replica *r, uint64_t n, struct c2_slice bytes)
{
    struct bft_config c;
    C2_TRY(bft_config_decode(bytes, &c));
    r->state_epoch = c.epoch;
    c2_sha256(bytes, r->state_config);
    if (c.epoch == r->config.epoch + 1 && c.base == n) {
        set_buf(&r->next_config, bytes);
        r->next_boundary = n;
    }
    return C2_E_OK;
}

/* What is agreed on and in force from the boundary on; 0 = nothing is. */
static bool
is_next(struct c2_slice config, uint64_t boundary)
{
    struct bft_config c;
    return boundary == 0 || (bft_config_decode(config, &c) == C2_E_OK && c.base == boundary);
}

static C2_RESULT
load_meta(struct bft_replica *r, struct c2_slice value, uint64_t *ret_n)
{
    struct c2_rd in = c2_rd_init(value);
    uint64_t n = c2_rd_u64(&in);
    uint64_t time_ns = c2_rd_u64(&in);
    uint8_t log_hash[MSG_DIGEST_LEN];
    c2_rd_copy(&in, log_hash, sizeof log_hash);
    struct c2_slice config = c2_rd_bytes(&in, BFT_CONFIG_MAX);
    uint64_t boundary = c2_rd_u64(&in);
    struct c2_slice next = c2_rd_bytes(&in, BFT_CONFIG_MAX);
    C2_TRY(c2_rd_finish(&in));
    if (!is_next(next, boundary))
        return C2_E_PARSE;
    r->time_ns = time_ns;
    bft_clock_agreed(r);
    memcpy(r->log_hash, log_hash, sizeof log_hash);
    set_buf(&r->next_config, next);
    r->next_boundary = boundary;
    *ret_n = n;
    return load_config(r, n, config);
}

C2_RESULT
bft_load_records(struct bft_replica *r, struct c2_slice records, uint64_t *ret_n)
{
    struct c2_rd in = c2_rd_init(records);
    *ret_n = 0;
    bft_sessions_clear(r);
    while (c2_rd_left(&in) > 0) {
        struct c2_slice key = c2_rd_bytes(&in, 64);
        uint8_t present = c2_rd_u8(&in);
        struct c2_slice value = c2_rd_bytes(&in, MSG_BYTES_MAX);
        if (!c2_rd_ok(&in) || key.len == 0 || present != 1)
            return C2_E_PARSE;
        if (key.data[0] == 'm' && key.len == 1)
            C2_TRY(load_meta(r, value, ret_n));
        else if (key.data[0] == 's' && key.len == 9)
            C2_TRY(bft_session_load(r, c2_get_be64(key.data + 1), value));
        else
            return C2_E_PARSE;
    }
    return C2_E_OK;
}

/* ---- votes ----------------------------------------------------------------------------------- */

static struct msg_checkpoint *
own_checkpoint(struct bft_replica *r, uint64_t n)
{
    for (unsigned i = 0; i < BFT_CKPT_OWN; i++) {
        if (r->own[i].n == n)
            return &r->own[i];
    }
    return NULL;
}

/* Replaces the oldest of the seat's votes; false when this one is older, or there already. */
static bool
store_vote(struct bft_replica *r, uint16_t seat, const struct msg_checkpoint *c, const uint8_t *sig)
{
    struct bft_ckpt_vote *votes = r->ckpt[seat];
    struct bft_ckpt_vote *oldest = &votes[0];
    for (unsigned i = 0; i < BFT_CKPT_VOTES; i++) {
        if (votes[i].c.n == c->n) {
            if (!bft_digest_equal(votes[i].c.digest, c->digest))
                bft_alarm(r, BFT_ALARM_EVIDENCE, "a replica has signed two states");
            return false;
        }
        if (votes[i].c.n < oldest->c.n)
            oldest = &votes[i];
    }
    if (oldest->c.n > c->n)
        return false;
    oldest->c = *c;
    memcpy(oldest->sig, sig, MSG_SIG_LEN);
    return true;
}

static const struct bft_ckpt_vote *
find_vote(const struct bft_replica *r, unsigned seat, const struct msg_checkpoint *c)
{
    for (unsigned i = 0; i < BFT_CKPT_VOTES; i++) {
        const struct bft_ckpt_vote *v = &r->ckpt[seat][i];
        if (v->c.n == c->n && bft_digest_equal(v->c.digest, c->digest) &&
            bft_digest_equal(v->c.config, c->config))
            return v;
    }
    return NULL;
}

static void
look_for_stable(struct bft_replica *r, const struct msg_checkpoint *c)
{
    struct msg_stable s = { .epoch = r->config.epoch, .c = *c };
    for (unsigned seat = 0; seat < r->config.n && s.count < r->q; seat++) {
        const struct bft_ckpt_vote *v = find_vote(r, seat, c);
        if (v == NULL)
            continue;
        s.sig[s.count].seat = (uint16_t)seat;
        memcpy(s.sig[s.count].sig, v->sig, MSG_SIG_LEN);
        s.count++;
    }
    if (s.count >= r->q)
        bft_adopt_stable(r, &s);
}

const struct msg_checkpoint *
bft_sync_target(const struct bft_replica *r)
{
    const struct msg_checkpoint *best = &r->stable_c;
    if (bft_holds_base(r))
        return best; /* what everybody serves; newer ones are held */
    for (unsigned i = 0; i < r->config.n * BFT_CKPT_VOTES; i++) {
        const struct msg_checkpoint *c = &r->ckpt[i / BFT_CKPT_VOTES][i % BFT_CKPT_VOTES].c;
        unsigned signers = 0;
        for (unsigned seat = 0; seat < r->config.n && c->n > best->n; seat++)
            signers += seat != r->seat && find_vote(r, seat, c) != NULL;
        if (signers > r->config.f)
            best = c;
    }
    return best;
}

void
bft_on_checkpoint(struct bft_replica *r, uint16_t seat, struct c2_blob *blob)
{
    struct msg_checkpoint c;
    struct c2_slice msg = c2_blob_slice(blob);
    if (msg_read_checkpoint(msg, &c) != C2_E_OK || c.n % r->config.checkpoint_interval != 0) {
        r->count.dropped++;
        return;
    }
    if (c.n <= r->stable || c.n <= r->config.base)
        return;
    if (!bft_verify_seat(r, seat, msg)) {
        r->count.dropped++;
        return;
    }
    if (store_vote(r, seat, &c, msg.data + msg.len - MSG_SIG_LEN))
        look_for_stable(r, &c);
}

void
bft_send_checkpoint(struct bft_replica *r, uint32_t seats, const struct msg_checkpoint *c)
{
    struct msg_head h = bft_head(r, MSG_CHECKPOINT);
    if (!bft_may_vote(r))
        return;
    c2_buf_clear(&r->scratch);
    msg_write_checkpoint(&r->scratch, &h, c);
    bft_sign_scratch(r, 0);
    struct c2_blob *blob = bft_take_scratch(r);
    bft_send(r, seats, blob);
    if (store_vote(r, r->seat, c, blob->data + blob->len - MSG_SIG_LEN))
        look_for_stable(r, c);
    c2_blob_unref(blob);
}

const struct msg_checkpoint *
bft_last_own_checkpoint(const struct bft_replica *r)
{
    const struct msg_checkpoint *last = &r->own[0];
    for (unsigned i = 1; i < BFT_CKPT_OWN; i++) {
        if (r->own[i].n > last->n)
            last = &r->own[i];
    }
    return last->n > 0 ? last : NULL;
}

/* ---- stable ---------------------------------------------------------------------------------- */

/* Records that must outlive the log before `stable` are written again; what is older than all that
 * is needed may go once those are durable. */
static void
plan_trim(struct bft_replica *r)
{
    uint64_t lsn = r->lsn + 1;
    uint64_t from = C2_MIN(r->stable, r->last_ckpt); /* what is not in the application on disk */
    bft_log_again(r);
    r->trim_wait_lsn = r->lsn;
    if (r->nv_lsn != 0) /* our own NEW-VIEW, not installed yet: there must never be another */
        lsn = C2_MIN(lsn, r->nv_lsn);
    for (size_t i = 0; i < BFT_RING; i++) {
        const struct bft_slot *s = &r->ring[i];
        if (s->n > from && s->n <= r->stable + r->config.window && s->first_lsn != 0)
            lsn = C2_MIN(lsn, s->first_lsn);
    }
    r->trim_lsn = lsn;
}

static void
settle_slots(struct bft_replica *r, uint64_t from)
{
    for (size_t i = 0; i < BFT_RING; i++) { /* the numbers between may be very many */
        struct bft_slot *s = &r->ring[i];
        if (s->n == 0 || s->n < from || s->n > r->stable)
            continue;
        uint64_t first = s->first_lsn;
        bft_slot_settle(r, s);
        if (s->n > r->last_ckpt)
            s->first_lsn = first;
    }
}

bool
bft_holds_base(const struct bft_replica *r)
{
    return r->config.base > 0 && r->stable == r->config.base;
}

void
bft_committed(struct bft_replica *r, uint64_t n)
{
    r->last_ckpt = n;
    settle_slots(r, n > r->config.window ? n - r->config.window : 1);
}

/* A held checkpoint is stable: it may become durable. */
static void
commit_held(struct bft_replica *r)
{
    if (r->mode == BFT_SYNCING || r->stable <= r->last_ckpt || own_checkpoint(r, r->stable) == NULL)
        return;
    C2_MARK("bft: a held checkpoint becomes durable");
    struct bft_job *job = bft_job_new(BFT_JOB_COMMIT);
    job->n = r->stable;
    bft_give_job(r, job);
}

void
bft_adopt_stable(struct bft_replica *r, const struct msg_stable *s)
{
    if (s->c.n <= r->stable)
        return;
    uint64_t before = r->stable;
    c2_buf_clear(&r->stable_cert);
    msg_put_stable(&r->stable_cert, s);
    r->stable = s->c.n;
    r->stable_c = s->c;
    r->count.checkpoints++;
    r->committed_to = C2_MAX(r->committed_to, r->stable);
    r->proposed = C2_MAX(r->proposed, r->stable);
    r->progress_ns = r->now_ns;
    if (r->backoff > 0)
        r->backoff--;
    r->seen_n = C2_MAX(r->seen_n, r->stable);
    settle_slots(r, before + 1);
    plan_trim(r);
    const struct msg_checkpoint *own = own_checkpoint(r, r->stable);
    if (own != NULL && !bft_digest_equal(own->digest, r->stable_c.digest)) {
        bft_alarm(r, BFT_ALARM_DIVERGED, "the state differs from a stable checkpoint");
        bft_sync_start(r);
        return;
    }
    commit_held(r);
    if (r->executed < r->stable && r->lag_since_ns == 0)
        r->lag_since_ns = r->now_ns;
}

void
bft_on_stable(struct bft_replica *r, struct c2_blob *blob)
{
    struct msg_stable s;
    if (msg_read_stable(c2_blob_slice(blob), &s) != C2_E_OK) {
        r->count.dropped++;
        return;
    }
    if (s.c.n <= r->stable || s.c.n % r->config.checkpoint_interval != 0)
        return;
    if (bft_verify_stable(r, &s))
        bft_adopt_stable(r, &s);
}

void
bft_remember_checkpoint(struct bft_replica *r, uint64_t n, const uint8_t *digest)
{
    struct msg_checkpoint *c = &r->own[n / r->config.checkpoint_interval % BFT_CKPT_OWN];
    *c = (struct msg_checkpoint){ .n = n };
    memcpy(c->digest, digest, MSG_DIGEST_LEN);
    if (bft_epoch_is_old(r))
        memcpy(c->config, r->state_config, MSG_DIGEST_LEN);
    else
        c2_sha256(config_after(r, n), c->config);
}

void
bft_checkpointed(struct bft_replica *r, const struct bft_job *job)
{
    uint64_t n = job->n;
    if (!job->hold)
        r->last_ckpt = n;
    bft_remember_checkpoint(r, n, job->digest);
    if (n > r->stable) {
        bft_send_checkpoint(r, bft_others(r), own_checkpoint(r, n));
        return;
    }
    /* The others were faster. */
    if (n == r->stable && !bft_digest_equal(job->digest, r->stable_c.digest)) {
        bft_alarm(r, BFT_ALARM_DIVERGED, "the state differs from a stable checkpoint");
        bft_sync_start(r);
        return;
    }
    if (job->hold)
        commit_held(r);
    else
        bft_committed(r, n);
}
