/* SPDX-License-Identifier: MIT */
/*
 * Agreement on one sequence number within a view.
 *
 *   proposal accepted, batch here and good ──► PROPOSAL in the log ──durable──► PREPARE
 *   proposal + q-1 PREPAREs of others than the primary ──► PREPARED in the log ──durable──► COMMIT
 *   q COMMITs of one view + the batch ──► decided
 *
 * A vote is counted in its own seat when it is signed, and it is signed when its record is
 * durable. The primary's proposal is its PREPARE. Whether this replica has the proposal or the
 * certificate does not matter for the last step.
 */
#include <string.h>

#include "base/mark.h"
#include "metadata/bft_int.h"

uint16_t
bft_primary(const struct bft_replica *r, uint64_t view)
{
    return (uint16_t)(view % r->config.n);
}

bool
bft_is_primary(const struct bft_replica *r)
{
    return r->phase == BFT_NORMAL && r->seat == bft_primary(r, r->view);
}

bool
bft_may_vote(const struct bft_replica *r)
{
    return (r->mode == BFT_RUNNING || r->mode == BFT_SYNCING) && r->have_secret && !r->quarantined;
}

bool
bft_may_follow(const struct bft_replica *r)
{
    return bft_may_vote(r) || r->mode == BFT_QUARANTINED;
}

static void
accuse(struct bft_replica *r, const char *what)
{
    if (r->accused)
        return;
    r->accused = true;
    bft_alarm(r, BFT_ALARM_EVIDENCE, what);
    bft_wish(r, r->view + 1);
}

/* ---- proposals ------------------------------------------------------------------------------- */

void
bft_take_proposal(struct bft_replica *r, struct bft_slot *s, const struct msg_proposal *p,
                  struct c2_slice proposal, bool reissued)
{
    C2_ASSERT(p->view == r->view && p->n == s->n && r->phase == BFT_NORMAL);
    bool same = s->have_proposal && bft_digest_equal(s->digest, p->digest);
    s->have_proposal = true;
    s->reissued = reissued;
    s->view = p->view;
    s->seen_ns = r->now_ns;
    s->held = s->timed = false;
    s->crowded = bft_pace_crowded(r, s->n);
    s->voted = s->prepared = false;
    s->prepare_lsn = s->commit_lsn = 0;
    memcpy(s->proposal, proposal.data, MSG_PROPOSAL_LEN);
    if (!same) {
        bft_bytes_clear(r, &s->body);
        s->have_body = false;
        memcpy(s->digest, p->digest, MSG_DIGEST_LEN);
    }
    if (s->decided && !bft_digest_equal(s->decided_digest, p->digest)) {
        s->have_proposal = false;
        if (p->view < s->decided_view)
            return; /* what this view proposed was given up */
        /* In the view of the decision: its primary has sent two NEW-VIEWs, on different proofs. */
        if (reissued && p->view > s->decided_view)
            bft_halt(r, "a new view proposes something else for what was decided");
        accuse(r, "a primary proposes something else for what was decided");
    }
}

/* Keeps a proposal of a view to come, the nearest; only one that its primary has signed. */
static void
keep_for_later(struct bft_replica *r, struct bft_slot *s, const struct msg_pre_prepare *m)
{
    if (s->have_later && s->later_view >= r->view && s->later_view <= m->p.view)
        return;
    if (!bft_verify_seat(r, bft_primary(r, m->p.view), m->proposal))
        return;
    s->have_later = true;
    s->later_view = m->p.view;
    memcpy(s->later, m->proposal.data, MSG_PROPOSAL_LEN);
}

/* The batch that everything waits for is always taken: the room comes back only with the next
 * checkpoint, which lies behind it. */
static bool
may_keep(struct bft_replica *r, const struct bft_slot *s, size_t len)
{
    bool next = s->n <= r->issued + 1;
    return bft_body_room(r, len) || next;
}

/* digest: of the batch; a large one is not hashed for each slot that waits for another. */
static void
attach_batch(struct bft_replica *r, struct bft_slot *s, struct c2_blob *blob, struct c2_slice batch,
             const uint8_t digest[MSG_DIGEST_LEN])
{
    if (s->have_body || !s->have_proposal || !bft_digest_equal(digest, s->digest) ||
        !may_keep(r, s, batch.len))
        return;
    bft_bytes_set(r, &s->body, blob, batch);
    s->have_body = true;
}

static void
attach_body(struct bft_replica *r, struct bft_slot *s, struct c2_blob *blob, struct c2_slice batch)
{
    uint8_t digest[MSG_DIGEST_LEN];
    if (s->have_body || !s->have_proposal)
        return;
    msg_batch_digest(batch, digest);
    attach_batch(r, s, blob, batch, digest);
}

void
bft_on_pre_prepare(struct bft_replica *r, uint16_t seat, struct c2_blob *blob)
{
    struct msg_pre_prepare m;
    if (msg_read_pre_prepare(c2_blob_slice(blob), &m) != C2_E_OK) {
        r->count.dropped++;
        return;
    }
    bft_hear_of(r, seat, m.p.n);
    struct bft_slot *s = bft_in_window(r, m.p.n) ? bft_slot_make(r, m.p.n) : NULL;
    if (s == NULL || m.p.view < r->view)
        return;
    if (m.p.view > r->view || r->phase != BFT_NORMAL) {
        keep_for_later(r, s, &m);
        return;
    }
    if (s->have_proposal && s->view == r->view) {
        if (!bft_digest_equal(s->digest, m.p.digest)) {
            if (bft_verify_seat(r, bft_primary(r, r->view), m.proposal))
                accuse(r, "a primary has proposed two batches for one number");
            return;
        }
    } else {
        if (bft_is_primary(r) || !bft_verify_seat(r, bft_primary(r, r->view), m.proposal)) {
            r->count.dropped++;
            return;
        }
        bft_take_proposal(r, s, &m.p, m.proposal, false);
    }
    attach_body(r, s, blob, m.batch);
    if (s->have_proposal && !bft_look_for_body(r, s))
        bft_fetch_body(r, s->digest, seat);
    bft_slot_step(r, s);
}

void
bft_take_later(struct bft_replica *r)
{
    for (uint64_t n = r->stable + 1; n <= r->stable + r->config.window; n++) {
        struct bft_slot *s = bft_slot(r, n);
        struct msg_head h;
        struct msg_proposal p;
        if (s == NULL || !s->have_later || s->later_view > r->view)
            continue;
        s->have_later = false;
        bool taken = s->have_proposal && s->view == r->view;
        struct c2_slice proposal = c2_slice(s->later, MSG_PROPOSAL_LEN);
        if (s->later_view < r->view || taken || bft_is_primary(r) ||
            msg_read_proposal(proposal, &h, &p) != C2_E_OK)
            continue;
        bft_take_proposal(r, s, &p, proposal, false);
        s->held = true;
        if (s->have_proposal && !bft_look_for_body(r, s))
            bft_fetch_body(r, s->digest, bft_primary(r, r->view));
        bft_slot_step(r, s);
    }
}

/* A batch that no correct primary proposes is false; one to be judged later leaves *ret_wait. */
static bool
batch_is_good(struct bft_replica *r, struct bft_slot *s, bool *ret_wait)
{
    struct c2_slice bytes = bft_bytes_slice(&s->body);
    struct msg_batch b;
    if (msg_read_batch(bytes, &b) != C2_E_OK)
        return false;
    if (bytes.len == 0)
        return true;
    bft_clock_compare(r, s, b.time_ns, false);
    *ret_wait = !bft_clock_accepts(r, b.time_ns);
    if (*ret_wait)
        return true; /* what is in it is looked at once, and that may take long */
    struct c2_slice rest = b.requests;
    unsigned commands = 0, reads = 0;
    for (uint32_t i = 0; i < b.count; i++) {
        struct c2_slice item;
        struct msg_request m;
        if (msg_next_bytes(&rest, &item) != C2_E_OK || !bft_request_valid(r, item, &m))
            return false;
        commands += bft_request_commands(&m);
        reads += m.kind == MSG_REQ_QUERY;
    }
    return commands <= BFT_COMMANDS_MAX && reads <= BFT_READS_MAX;
}

static void
log_proposal(struct bft_replica *r, struct bft_slot *s)
{
    struct wal_record rec = { .epoch = r->config.epoch };
    rec.proposal = c2_slice(s->proposal, MSG_PROPOSAL_LEN);
    s->voted = true;
    r->seen_n = C2_MAX(r->seen_n, s->n);
    s->prepare_lsn = bft_append(r, WAL_PROPOSAL, &rec, &s->body);
    if (s->first_lsn == 0)
        s->first_lsn = s->prepare_lsn;
}

static void
judge_proposal(struct bft_replica *r, struct bft_slot *s)
{
    bool wait = false;
    if (!s->have_body)
        return;
    if (!s->reissued && !bft_is_primary(r)) {
        if (!batch_is_good(r, s, &wait)) {
            accuse(r, "a primary has proposed a bad batch");
            s->have_proposal = false;
            return;
        }
        if (wait)
            return;
    }
    log_proposal(r, s);
}

/* ---- certificates ---------------------------------------------------------------------------- */

static bool
is_prepared(const struct bft_replica *r, const struct bft_slot *s)
{
    return bft_vote_count(r, s->prepare, s->view, s->digest) >= r->q - 1;
}

static void
make_cert(struct bft_replica *r, struct bft_slot *s)
{
    struct bft_cert *c = &s->cert;
    bft_cert_clear(r, c);
    c->have = true;
    c->view = s->view;
    memcpy(c->digest, s->digest, MSG_DIGEST_LEN);
    memcpy(c->proposal, s->proposal, MSG_PROPOSAL_LEN);
    bft_bytes_share(r, &c->body, &s->body);
    for (unsigned i = 0; i < r->config.n && c->nvotes < r->q - 1; i++) {
        const struct bft_vote *v = &s->prepare[i];
        if (v->msg != NULL && v->view == s->view && bft_digest_equal(v->digest, s->digest))
            c->votes[c->nvotes++] = c2_blob_ref(v->msg);
    }
    C2_ASSERT(c->nvotes == r->q - 1);
}

void
bft_log_cert(struct bft_replica *r, struct bft_slot *s)
{
    struct wal_record rec = { .epoch = r->config.epoch, .view = s->cert.view, .n = s->n };
    memcpy(rec.digest, s->cert.digest, MSG_DIGEST_LEN);
    c2_buf_clear(&r->scratch);
    for (unsigned i = 0; i < s->cert.nvotes; i++)
        msg_put_bytes(&r->scratch, c2_blob_slice(s->cert.votes[i]));
    rec.count = s->cert.nvotes;
    rec.list = c2_buf_slice(&r->scratch);
    s->commit_lsn = bft_append(r, WAL_PREPARED, &rec, NULL);
    c2_buf_clear(&r->scratch);
}

static void
become_prepared(struct bft_replica *r, struct bft_slot *s)
{
    make_cert(r, s);
    s->prepared = true;
    r->committed_to = C2_MAX(r->committed_to, s->n);
    bft_log_cert(r, s);
}

/* ---- decisions ------------------------------------------------------------------------------- */

/* The batch of a decision is here. */
static void
finish_decision(struct bft_replica *r, struct bft_slot *s, struct c2_blob *blob,
                struct c2_slice batch)
{
    bft_final_set(r, s, blob, batch);
    struct wal_record rec = { .epoch = r->config.epoch, .view = s->decided_view, .n = s->n };
    memcpy(rec.digest, s->decided_digest, MSG_DIGEST_LEN);
    uint64_t lsn = bft_append(r, WAL_DECIDED, &rec, NULL);
    if (s->first_lsn == 0)
        s->first_lsn = lsn;
}

void
bft_decide(struct bft_replica *r, struct bft_slot *s, uint64_t view, const uint8_t *digest,
           const struct bft_bytes *body)
{
    struct bft_bytes found;
    C2_ASSERT(!s->decided);
    if (body == NULL && s->have_body && bft_digest_equal(s->digest, digest))
        body = &s->body;
    s->decided = true;
    s->decided_view = view;
    memcpy(s->decided_digest, digest, MSG_DIGEST_LEN);
    r->count.decided++;
    r->seen_n = C2_MAX(r->seen_n, s->n);
    r->progress_ns = r->now_ns;
    bft_pace_decided(r, s);
    if (++r->decided_in_view % 16 == 0 && r->backoff > 0)
        r->backoff--;
    if (body != NULL || bft_find_body(r, digest, &found)) {
        const struct bft_bytes *b = body != NULL ? body : &found;
        finish_decision(r, s, b->blob,
                        c2_slice(b->blob != NULL ? b->blob->data + b->at : NULL, b->len));
        return;
    }
    C2_MARK("bft: decided without the batch");
    bft_fetch_body(r, digest, MSG_SENDER_CLIENT);
}

static void
look_for_decision(struct bft_replica *r, struct bft_slot *s)
{
    for (unsigned i = 0; i < r->config.n && !s->decided; i++) {
        const struct bft_vote *v = &s->commit[i];
        if (v->msg != NULL && bft_vote_count(r, s->commit, v->view, v->digest) >= r->q)
            bft_decide(r, s, v->view, v->digest, NULL);
    }
    bool arrived = s->have_body && bft_digest_equal(s->digest, s->decided_digest);
    if (s->decided && !s->have_final && arrived)
        finish_decision(r, s, s->body.blob, bft_bytes_slice(&s->body));
}

void
bft_slot_step(struct bft_replica *r, struct bft_slot *s)
{
    bool mine = s->have_proposal && s->view == r->view && r->phase == BFT_NORMAL;
    if (mine && bft_may_vote(r) && bft_in_window(r, s->n) && bft_may_issue(r, s->n)) {
        if (!s->voted)
            judge_proposal(r, s);
        if (s->have_proposal && s->voted && !s->prepared && is_prepared(r, s))
            become_prepared(r, s);
    }
    look_for_decision(r, s);
}

void
bft_on_batch_body(struct bft_replica *r, struct c2_blob *blob, struct c2_slice bytes)
{
    uint8_t digest[MSG_DIGEST_LEN];
    msg_batch_digest(bytes, digest);
    /* what is executed gets votes, too */
    uint64_t n = bft_first_slot(r, C2_MIN(r->stable, r->executed) + 1);
    for (; n <= r->stable + r->config.window; n++) {
        struct bft_slot *s = bft_slot(r, n);
        if (s == NULL)
            continue;
        attach_batch(r, s, blob, bytes, digest);
        if (s->decided && !s->have_final && bft_digest_equal(digest, s->decided_digest))
            finish_decision(r, s, blob, bytes);
        bft_slot_step(r, s);
    }
}

/* ---- votes of others ------------------------------------------------------------------------- */

static void
take_vote(struct bft_replica *r, uint16_t seat, struct c2_blob *blob, bool commit, uint64_t view,
          const struct msg_vote *v)
{
    bft_hear_of(r, seat, v->n);
    struct bft_slot *s = bft_slot_make(r, v->n);
    if (s == NULL)
        return;
    struct bft_vote *mine = commit ? &s->commit[seat] : &s->prepare[seat];
    if (mine->msg != NULL && mine->view >= view) {
        if (mine->view == view && !bft_digest_equal(mine->digest, v->digest))
            bft_alarm(r, BFT_ALARM_EVIDENCE, "a replica has voted twice");
        return;
    }
    bft_vote_set(mine, blob, view, v->digest);
    bft_slot_step(r, s);
}

/* What they would prove is proven already: nothing needs their signature. */
static bool
are_late(struct bft_replica *r, const struct msg_votes *v)
{
    bool late = true;
    for (uint32_t i = 0; i < v->count && late; i++) {
        const struct bft_slot *s = bft_slot(r, v->vote[i].n);
        late = s != NULL && s->have_proposal && s->prepared && s->view == v->view &&
               bft_digest_equal(s->digest, v->vote[i].digest);
    }
    return late;
}

void
bft_on_votes(struct bft_replica *r, uint16_t seat, struct c2_blob *blob)
{
    struct msg_head h;
    struct msg_votes v;
    if (msg_read_votes(c2_blob_slice(blob), &h, &v) != C2_E_OK || h.sender != seat) {
        r->count.dropped++;
        return;
    }
    bool commit = h.type == MSG_COMMIT;
    if (!commit && (bft_primary(r, v.view) == seat || v.view < r->view || are_late(r, &v)))
        return;
    if (!commit && !bft_verify_seat(r, seat, c2_blob_slice(blob))) {
        r->count.dropped++;
        return;
    }
    for (uint32_t i = 0; i < v.count; i++)
        take_vote(r, seat, blob, commit, v.view, &v.vote[i]);
}

/* ---- own votes ------------------------------------------------------------------------------- */

/* Signs what was collected and puts it into the own seat. */
static void
sign_votes(struct bft_replica *r, enum msg_type type, struct msg_votes *v, uint32_t seats)
{
    if (v->count == 0)
        return;
    struct msg_head h = bft_head(r, type);
    v->view = r->view;
    c2_buf_clear(&r->scratch);
    msg_write_votes(&r->scratch, &h, v);
    bft_sign_scratch(r, 0);
    struct c2_blob *msg = bft_take_scratch(r);
    bft_send(r, seats, msg);
    struct msg_votes own = *v;
    v->count = 0;
    for (uint32_t i = 0; i < own.count; i++) {
        struct bft_slot *s = bft_slot(r, own.vote[i].n);
        C2_ASSERT(s != NULL);
        struct bft_vote *votes = type == MSG_COMMIT ? s->commit : s->prepare;
        if (votes[r->seat].msg != NULL && votes[r->seat].view >= r->view)
            continue;
        bft_vote_set(&votes[r->seat], msg, r->view, own.vote[i].digest);
        bft_slot_step(r, s);
    }
    c2_blob_unref(msg);
}

static void
add_vote(struct bft_replica *r, enum msg_type type, struct msg_votes *v, const struct bft_slot *s,
         uint32_t seats)
{
    v->vote[v->count].n = s->n;
    memcpy(v->vote[v->count].digest, s->digest, MSG_DIGEST_LEN);
    if (++v->count == MSG_VOTES_MAX)
        sign_votes(r, type, v, seats);
}

void
bft_votes_durable(struct bft_replica *r)
{
    struct msg_votes prepares = { 0 };
    struct msg_votes commits = { 0 };
    uint64_t end = r->stable + r->config.window;
    uint32_t all = bft_others(r);
    for (uint64_t n = r->stable + 1; n <= end; n++) {
        struct bft_slot *s = bft_slot(r, n);
        if (s == NULL)
            continue;
        bool current = s->view == r->view && r->phase == BFT_NORMAL && bft_may_vote(r);
        if (s->prepare_lsn != 0 && s->prepare_lsn <= r->durable_lsn) {
            s->prepare_lsn = 0;
            if (current && !bft_is_primary(r))
                add_vote(r, MSG_PREPARE, &prepares, s, all);
        }
        if (s->commit_lsn != 0 && s->commit_lsn <= r->durable_lsn) {
            s->commit_lsn = 0;
            if (current)
                add_vote(r, MSG_COMMIT, &commits, s, all);
        }
    }
    sign_votes(r, MSG_PREPARE, &prepares, all);
    sign_votes(r, MSG_COMMIT, &commits, all);
}

void
bft_resend_votes(struct bft_replica *r, uint32_t seats, uint64_t from, uint64_t to)
{
    struct msg_votes prepares = { 0 };
    struct msg_votes commits = { 0 };
    if (!bft_may_vote(r) || r->phase != BFT_NORMAL)
        return;
    for (uint64_t n = from; n <= to; n++) {
        struct bft_slot *s = bft_slot(r, n);
        if (s == NULL || s->view != r->view)
            continue;
        if (s->voted && s->prepare_lsn == 0 && !bft_is_primary(r))
            add_vote(r, MSG_PREPARE, &prepares, s, seats);
        if (s->prepared && s->commit_lsn == 0)
            add_vote(r, MSG_COMMIT, &commits, s, seats);
    }
    sign_votes(r, MSG_PREPARE, &prepares, seats);
    sign_votes(r, MSG_COMMIT, &commits, seats);
}
