/* SPDX-License-Identifier: MIT */
/*
 * Starting again from the log.
 *
 * Everything this replica has signed is in the log, so it goes on as if it had been slow: in the
 * view it was in, with the votes it has given, which it may send again. Only one thing is not in
 * the log: the last proposals of a primary leave before their record is durable. So the primary of
 * a view proposes nothing in it after a restart, and asks for another view.
 *
 * Damage in the log (not a torn end) means that votes may be forgotten. Then the replica is in
 * quarantine: it listens, executes and repairs its state, but signs nothing until both
 *   - a checkpoint H is stable that lies beyond everything it can have voted on: two windows
 *     above the highest certificate that a quorum of the others shows;
 *   - the view is at least the highest wish that those report, with more than one of them (f > 1)
 *     the second highest. It had left for a view only if a quorum wished it, and wishes are durable
 *     before they are sent; at most f-1 of the others lie, so of a quorum of them two at least
 *     (one if f = 1) are correct and wished it.
 * H is known when a quorum of the others has reported in one epoch. An epoch that begins at H or
 * later ends the quarantine as well: no vote of this replica can be in it. Any other epoch may be
 * one that it was in before: there it begins again, even if it has a new key, which it may have
 * used. (A replica that must vote at once comes as a new member.)
 */
#include <string.h>

#include "base/alloc.h"
#include "metadata/bft_int.h"

/* ---- records --------------------------------------------------------------------------------- */

/* Slots while the log is read: the window is not known yet, newer numbers push out older ones. */
static struct bft_slot *
boot_slot(struct bft_replica *r, uint64_t n)
{
    struct bft_slot *s = &r->ring[n % BFT_RING];
    if (n == 0 || s->n > n)
        return NULL;
    if (s->n < n) {
        bft_slot_clear(r, s);
        s->n = n;
    }
    return s;
}

static struct c2_blob *
copy_of(struct c2_slice s)
{
    return c2_blob_copy(s.data, s.len);
}

static C2_RESULT
read_view(struct bft_replica *r, const struct wal_record *rec)
{
    /* A checkpoint that became stable between our own NEW-VIEW and its installation has written
     * again that the view before was left. */
    bool entered = rec->view == r->view && r->phase == BFT_NORMAL && rec->leaving != 0;
    if (rec->view < r->view || entered)
        return C2_E_OK;
    r->view = rec->view;
    r->phase = rec->leaving != 0 ? BFT_LEAVING : BFT_NORMAL;
    bft_nv_clear(&r->nv);
    c2_blob_unref(r->own_vc);
    r->own_vc = rec->leaving != 0 ? copy_of(rec->msg) : NULL;
    return C2_E_OK;
}

static C2_RESULT
read_new_view(struct bft_replica *r, const struct wal_record *rec)
{
    struct msg_new_view m;
    struct c2_slice rest = rec->list;
    if (rec->view < r->view)
        return C2_E_OK;
    C2_TRY(msg_read_new_view(rec->msg, &m));
    if (m.nvcs != rec->count || m.view != rec->view)
        return C2_E_PARSE;
    r->view = rec->view;
    r->phase = BFT_NORMAL;
    bft_nv_clear(&r->nv);
    r->nv.view = rec->view;
    r->nv.nvcs = m.nvcs;
    r->nv.msg = copy_of(rec->msg);
    for (unsigned i = 0; i < m.nvcs; i++) {
        struct c2_slice item;
        C2_TRY(msg_next_bytes(&rest, &item));
        struct c2_blob *vc = copy_of(item);
        bft_vc_set(&r->nv.vc[i], vc, rec->view);
        c2_blob_unref(vc);
    }
    return C2_E_OK;
}

static C2_RESULT
read_proposal(struct bft_replica *r, const struct wal_record *rec, uint64_t lsn)
{
    struct msg_head h;
    struct msg_proposal p;
    struct msg_batch b;
    C2_TRY(msg_read_proposal(rec->proposal, &h, &p));
    C2_TRY(msg_read_batch(rec->batch, &b));
    struct bft_slot *s = boot_slot(r, p.n);
    if (s == NULL || (s->have_proposal && s->view > p.view))
        return C2_E_OK;
    struct c2_blob *body = rec->batch.len > 0 ? copy_of(rec->batch) : NULL;
    s->have_proposal = s->voted = s->have_body = true;
    s->prepared = false;
    s->view = p.view;
    s->reissued = true; /* judged before */
    memcpy(s->digest, p.digest, MSG_DIGEST_LEN);
    memcpy(s->proposal, rec->proposal.data, MSG_PROPOSAL_LEN);
    bft_bytes_set(r, &s->body, body, body != NULL ? c2_blob_slice(body) : c2_slice(NULL, 0));
    if (s->first_lsn == 0)
        s->first_lsn = lsn;
    r->last_time_ns = C2_MAX(r->last_time_ns, b.time_ns);
    c2_blob_unref(body);
    return C2_E_OK;
}

static C2_RESULT
read_prepared(struct bft_replica *r, const struct wal_record *rec)
{
    struct bft_slot *s = boot_slot(r, rec->n);
    struct c2_slice rest = rec->list;
    if (s == NULL)
        return C2_E_OK;
    r->committed_to = C2_MAX(r->committed_to, rec->n);
    if (!s->have_proposal || s->view != rec->view || !bft_digest_equal(s->digest, rec->digest)) {
        r->orphan = C2_MAX(r->orphan, rec->n); /* fine if a stable checkpoint covers it */
        return C2_E_OK;
    }
    struct bft_cert *c = &s->cert;
    bft_cert_clear(r, c);
    c->have = true;
    c->view = rec->view;
    memcpy(c->digest, rec->digest, MSG_DIGEST_LEN);
    memcpy(c->proposal, s->proposal, MSG_PROPOSAL_LEN);
    bft_bytes_share(r, &c->body, &s->body);
    for (uint32_t i = 0; i < rec->count; i++) {
        struct c2_slice item;
        C2_TRY(msg_next_bytes(&rest, &item));
        c->votes[c->nvotes++] = copy_of(item);
    }
    s->prepared = true;
    return C2_E_OK;
}

static C2_RESULT
read_decided(struct bft_replica *r, const struct wal_record *rec, uint64_t lsn)
{
    struct bft_slot *s = boot_slot(r, rec->n);
    struct bft_bytes found;
    if (s == NULL)
        return C2_E_OK;
    s->decided = true;
    s->decided_view = rec->view;
    memcpy(s->decided_digest, rec->digest, MSG_DIGEST_LEN);
    if (bft_find_body(r, rec->digest, &found))
        bft_final_set(r, s, found.blob, bft_bytes_slice(&found));
    if (s->first_lsn == 0)
        s->first_lsn = lsn;
    return C2_E_OK;
}

static C2_RESULT
read_stable(struct bft_replica *r, const struct wal_record *rec)
{
    struct msg_stable s;
    C2_TRY(msg_get_stable(rec->msg, &s));
    if (!bft_epoch_of_log(r, s.epoch) || s.c.n < r->stable)
        return C2_E_OK;
    r->stable = s.c.n;
    r->stable_c = s.c;
    c2_buf_clear(&r->stable_cert);
    c2_buf_append(&r->stable_cert, rec->msg.data, rec->msg.len);
    r->committed_to = C2_MAX(r->committed_to, r->stable);
    return C2_E_OK;
}

static C2_RESULT
read_record(struct bft_replica *r, unsigned type, uint64_t lsn, struct c2_slice bytes)
{
    struct wal_record rec;
    C2_TRY(wal_record_read(type, bytes, &rec));
    bool of_epoch = type != WAL_EPOCH && type != WAL_STABLE && type != WAL_MODE;
    if (of_epoch && !bft_epoch_of_log(r, rec.epoch))
        return C2_E_OK;
    switch ((enum wal_type)type) {
    case WAL_EPOCH:
        return bft_epoch_load(r, rec.config, rec.msg);
    case WAL_VIEW:
        return read_view(r, &rec);
    case WAL_NEW_VIEW:
        return read_new_view(r, &rec);
    case WAL_PROPOSAL:
        return read_proposal(r, &rec, lsn);
    case WAL_PREPARED:
        return read_prepared(r, &rec);
    case WAL_DECIDED:
        return read_decided(r, &rec, lsn);
    case WAL_STABLE:
        return read_stable(r, &rec);
    case WAL_WISH:
        r->my_wish = C2_MAX(r->my_wish, rec.view);
        return C2_E_OK;
    case WAL_MODE:
        r->quarantined = rec.quarantined != 0;
        r->safe_view = rec.view;
        r->safe_n = rec.n;
        return C2_E_OK;
    }
    return C2_E_PARSE;
}

void
bft_on_record(struct bft_replica *r, unsigned type, uint64_t lsn, struct c2_slice bytes)
{
    C2_ASSERT(r->mode == BFT_BOOTING && !r->started);
    if (read_record(r, type, lsn, bytes) != C2_E_OK)
        r->damaged = true;
}

/* ---- quarantine ------------------------------------------------------------------------------ */

static void
log_mode(struct bft_replica *r)
{
    struct wal_record rec = { .quarantined = r->quarantined, .view = r->safe_view };
    rec.n = r->safe_n;
    (void)bft_append(r, WAL_MODE, &rec, NULL);
}

static void
enter_quarantine(struct bft_replica *r)
{
    r->quarantined = true;
    r->safe_view = r->safe_n = 0;
    log_mode(r);
}

/* The k-th largest of what the others have reported. */
static uint64_t
kth_heard(const struct bft_replica *r, unsigned k)
{
    uint64_t best = 0;
    for (unsigned i = 0; i < r->config.n; i++) {
        unsigned at_least = 0;
        for (unsigned j = 0; j < r->config.n; j++)
            at_least += (r->heard >> j & 1) != 0 && r->heard_view[j] >= r->heard_view[i];
        if ((r->heard >> i & 1) != 0 && at_least >= k)
            best = C2_MAX(best, r->heard_view[i]);
    }
    return best;
}

static void
maybe_leave_quarantine(struct bft_replica *r)
{
    if (r->safe_n == 0 || r->stable < r->safe_n || r->executed < r->stable)
        return;
    if (r->view < r->safe_view || r->phase != BFT_NORMAL)
        return;
    r->quarantined = false;
    r->mode = BFT_RUNNING;
    log_mode(r);
}

void
bft_quarantine_hears(struct bft_replica *r, uint16_t seat, const struct msg_status *st)
{
    if (!r->quarantined || r->mode != BFT_QUARANTINED)
        return;
    if (st->phase != MSG_PHASE_QUARANTINE && r->safe_n == 0) {
        r->heard |= 1u << seat;
        r->heard_view[seat] = C2_MAX(st->view, st->wish);
        bool shown = st->stable <= r->stable; /* its certificate is here */
        if (!shown)
            r->heard &= ~(1u << seat);
        if ((unsigned)__builtin_popcount(r->heard) >= r->q) {
            uint64_t step = r->config.checkpoint_interval;
            r->safe_n = r->stable + 2ull * r->config.window;
            r->safe_n += (step - r->safe_n % step) % step;
            r->safe_view = kth_heard(r, C2_MIN(r->config.f, 2));
            log_mode(r);
        }
    }
    maybe_leave_quarantine(r);
}

void
bft_quarantine_epoch(struct bft_replica *r)
{
    if (!r->quarantined)
        return;
    r->quarantined = r->safe_n == 0 || r->config.base < r->safe_n;
    r->safe_n = r->safe_view = 0;
    r->heard = 0;
}

/* ---- start ----------------------------------------------------------------------------------- */

void
bft_start(struct bft_replica *r, uint64_t lsn, enum bft_wal_health health)
{
    C2_ASSERT(!r->started);
    r->started = true;
    r->lsn = r->durable_lsn = lsn;
    bool unknown = r->log_epoch > r->config.epoch; /* its EPOCH record is missing */
    if (health == BFT_WAL_DAMAGED || r->damaged || unknown || r->orphan > r->stable)
        enter_quarantine(r);
    bft_give_job(r, bft_job_new(BFT_JOB_LOAD));
}

static void
resume_view(struct bft_replica *r)
{
    r->view_ns = r->progress_ns = r->now_ns;
    r->my_wish = C2_MAX(r->my_wish, r->view);
    r->wish[r->seat] = r->my_wish;
    r->proposed = C2_MAX(r->stable, r->executed);
    if (r->phase == BFT_LEAVING) {
        bft_vc_set(&r->vc[r->seat], r->own_vc, r->view);
        bft_send(r, bft_others(r), r->own_vc);
        return;
    }
    if (r->lsn == 0) {
        bft_log_view(r);
        return;
    }
    if (bft_is_primary(r)) {
        r->abdicated = true;
        bft_wish(r, r->view + 1);
    }
    bft_retake_proposals(r);
    bft_resend_votes(r, bft_others(r), r->stable + 1, r->stable + r->config.window);
}

/* What the state needs again although it is not in the application yet. */
static void
drop_old_slots(struct bft_replica *r)
{
    for (size_t i = 0; i < BFT_RING; i++) {
        struct bft_slot *s = &r->ring[i];
        bool beyond = s->n > r->stable + r->config.window;
        if (s->n != 0 && (beyond || s->n <= C2_MIN(r->stable, r->executed)))
            bft_slot_clear(r, s);
        else if (s->n != 0 && s->n <= r->stable)
            bft_slot_settle(r, s);
    }
}

/* Of an epoch that is over the slots may still have decisions, but nothing can be executed as it
 * was then: changes of the configuration would get other answers, and the end of that epoch, of
 * which the state knows, is behind. So the state with which this epoch began is fetched. */
static void
leave_old_epoch(struct bft_replica *r)
{
    if (r->executed >= r->config.base)
        return;
    r->next_boundary = 0;
    c2_buf_clear(&r->next_config);
    bft_sync_start(r);
}

void
bft_load_state(struct bft_replica *r, struct bft_job *job)
{
    uint64_t n = 0;
    bool complete = job->finished;
    bool booting = r->mode == BFT_BOOTING;
    if (!booting && !r->sync.finished)
        return; /* of a fetch that was given up */
    if (complete && bft_load_records(r, c2_buf_slice(&job->records), &n) != C2_E_OK) {
        bft_halt(r, "the application's system records are damaged");
        return;
    }
    r->executed = r->issued = r->last_ckpt = n;
    r->at_checkpoint = false;
    if (n > 0)
        bft_remember_checkpoint(r, n, job->digest);
    if (!booting) {
        bft_sync_over(r);
        leave_old_epoch(r);
        return;
    }
    drop_old_slots(r);
    r->mode = r->quarantined ? BFT_QUARANTINED : BFT_RUNNING;
    if (r->seat >= r->config.n)
        r->mode = BFT_REMOVED;
    if (r->quarantined)
        bft_alarm(r, BFT_ALARM_QUARANTINE, "the log is damaged: votes may be forgotten");
    if (r->mode != BFT_REMOVED)
        resume_view(r);
    else
        bft_epoch_none(r, complete);
    bft_requests_recheck(r);
    r->status_ns = r->now_ns;
    if (!complete && r->mode != BFT_REMOVED)
        bft_sync_resume(r);
    else
        leave_old_epoch(r);
}

void
bft_log_again(struct bft_replica *r)
{
    struct wal_record rec = { .msg = c2_buf_slice(&r->stable_cert) };
    uint64_t view_lsn = r->view_lsn;
    bft_epoch_log(r);
    if (r->phase == BFT_NORMAL && r->nv.msg != NULL)
        (void)bft_log_new_view(r, &r->nv);
    else
        bft_log_view(r);
    r->view_lsn = view_lsn;
    if (r->my_wish > r->view) {
        struct wal_record wish = { .epoch = r->config.epoch, .view = r->my_wish };
        (void)bft_append(r, WAL_WISH, &wish, NULL);
    }
    if (rec.msg.len > 0)
        (void)bft_append(r, WAL_STABLE, &rec, NULL);
    if (r->quarantined)
        log_mode(r);
}
