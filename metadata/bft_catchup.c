/* SPDX-License-Identifier: MIT */
/*
 * Everybody tells everybody what it has (STATUS), often while something is missing, and sends what
 * the others lack: votes, proposals, decisions with their proof, certificates, bodies. Whatever a
 * digest names can be had from anybody, so nobody depends on its author.
 */
#include <string.h>

#include "metadata/bft_int.h"

#define DECISIONS_MAX 16 /* sent for one STATUS */
#define PROPOSALS_MAX 8
#define ANSWER_BYTES  (1u << 20)
#define BODIES_BYTES  (8u << 20) /* to one seat, in status_ns */
#define LAG_PATIENCE  6          /* times status_ns without progress */

void
bft_hear_of(struct bft_replica *r, uint16_t seat, uint64_t n)
{
    if (n > r->heard_n[seat] && n <= r->stable + 4ull * r->config.window)
        r->heard_n[seat] = n;
}

/* What f + 1 have spoken of: a liar's numbers alone would keep everybody busy for ever. */
static uint64_t
believable_n(const struct bft_replica *r)
{
    uint64_t best = 0;
    for (unsigned i = 0; i < r->config.n; i++) {
        unsigned as_high = 0;
        for (unsigned k = 0; k < r->config.n; k++)
            as_high += r->heard_n[k] >= r->heard_n[i];
        if (as_high > r->config.f)
            best = C2_MAX(best, r->heard_n[i]);
    }
    return best;
}

/* ---- fetching bodies ------------------------------------------------------------------------- */

void
bft_fetch_body(struct bft_replica *r, const uint8_t digest[MSG_DIGEST_LEN], uint16_t seat)
{
    struct msg_head h = bft_head(r, MSG_FETCH);
    struct msg_fetch f = { .kind = MSG_BODY_BATCH };
    memcpy(f.digest, digest, MSG_DIGEST_LEN);
    if (seat >= r->config.n || seat == r->seat)
        seat = (uint16_t)(r->fetch_turn++ % r->config.n);
    if (seat == r->seat)
        seat = (uint16_t)((seat + 1u) % r->config.n);
    c2_buf_clear(&r->scratch);
    msg_write_fetch(&r->scratch, &h, &f);
    struct c2_blob *blob = bft_take_scratch(r);
    bft_send(r, 1u << seat, blob);
    c2_blob_unref(blob);
    if (r->fetch_ns == 0)
        r->fetch_ns = r->now_ns + r->setup.timing.fetch_ns;
}

/* The digest of the batch that a slot waits for; NULL = none. What was executed before a restart
 * is decided, and its batch is gone all the same: a view that proposes it again needs our vote. */
static const uint8_t *
missing_body(const struct bft_replica *r, const struct bft_slot *s)
{
    if (s->have_final)
        return NULL;
    if (s->decided && s->n > r->executed)
        return s->decided_digest;
    if (s->have_proposal && s->view == r->view && !s->have_body)
        return s->digest;
    return NULL;
}

static unsigned
missing_bodies(struct bft_replica *r, uint8_t (*out)[MSG_DIGEST_LEN], unsigned max)
{
    unsigned count = 0;
    /* what is executed gets votes, too */
    uint64_t n = bft_first_slot(r, C2_MIN(r->stable, r->executed) + 1);
    for (; n <= r->stable + r->config.window && count < max; n++) {
        const struct bft_slot *s = bft_slot(r, n);
        const uint8_t *digest = s != NULL ? missing_body(r, s) : NULL;
        if (digest != NULL)
            memcpy(out[count++], digest, MSG_DIGEST_LEN);
    }
    return count;
}

static void
fetch_tick(struct bft_replica *r)
{
    uint8_t wanted[MSG_WANTED_MAX][MSG_DIGEST_LEN];
    if (r->fetch_ns == 0 || r->now_ns < r->fetch_ns)
        return;
    r->fetch_ns = 0;
    unsigned count = missing_bodies(r, wanted, MSG_WANTED_MAX);
    r->fetch_turn++; /* ask somebody else this time */
    for (unsigned i = 0; i < count; i++)
        bft_fetch_body(r, wanted[i], MSG_SENDER_CLIENT);
}

/* To ask costs little, to send a batch much: nobody gets so much that others wait for it. */
static bool
has_had_enough(struct bft_replica *r, uint16_t seat)
{
    if (r->now_ns >= r->bodies_ns[seat] + r->setup.timing.status_ns) {
        r->bodies_ns[seat] = r->now_ns;
        r->bodies_sent[seat] = 0;
    }
    return r->bodies_sent[seat] > BODIES_BYTES;
}

/* Answers with what it finds. */
static void
send_body(struct bft_replica *r, uint16_t seat, const uint8_t *digest)
{
    struct msg_head h = bft_head(r, MSG_BODY);
    struct msg_body b = { .kind = MSG_BODY_VIEW_CHANGE };
    struct c2_blob *vc = bft_find_vc(r, digest);
    struct bft_bytes found;
    if (has_had_enough(r, seat))
        return;
    if (vc != NULL) {
        b.bytes = c2_blob_slice(vc);
    } else if (bft_find_body(r, digest, &found) && found.blob != NULL) {
        b.kind = MSG_BODY_BATCH;
        b.bytes = bft_bytes_slice(&found);
    } else {
        return;
    }
    c2_buf_clear(&r->scratch);
    msg_write_body(&r->scratch, &h, &b);
    struct c2_blob *blob = bft_take_scratch(r);
    bft_send(r, 1u << seat, blob);
    r->bodies_sent[seat] += blob->len;
    c2_blob_unref(blob);
}

void
bft_on_fetch(struct bft_replica *r, uint16_t seat, struct c2_blob *blob)
{
    struct msg_fetch f;
    if (msg_read_fetch(c2_blob_slice(blob), &f) == C2_E_OK)
        send_body(r, seat, f.digest);
    else
        r->count.dropped++;
}

void
bft_on_body(struct bft_replica *r, uint16_t seat, struct c2_blob *blob)
{
    struct msg_body b;
    if (msg_read_body(c2_blob_slice(blob), &b) != C2_E_OK) {
        r->count.dropped++;
    } else if (b.kind == MSG_BODY_BATCH) {
        bft_on_batch_body(r, blob, b.bytes);
    } else {
        bft_on_view_change(r, seat, b.bytes);
        bft_on_vc_body(r, b.bytes);
    }
}

/* ---- decisions ------------------------------------------------------------------------------- */

/* Collects a quorum of good COMMITs; 0 when there are not enough. The decision does not need them
 * any more, so one that its author has not signed is forgotten: nobody looks at it again. */
static unsigned
gather_commits(struct bft_replica *r, struct bft_slot *s, uint64_t view, struct c2_buf *out)
{
    unsigned count = 0;
    c2_buf_clear(out);
    for (uint16_t i = 0; i < r->config.n && count < r->q; i++) {
        struct bft_vote *v = &s->commit[i];
        if (v->msg == NULL || v->view != view || !bft_digest_equal(v->digest, s->decided_digest))
            continue;
        if (!bft_verify_seat(r, i, c2_blob_slice(v->msg))) {
            bft_vote_clear(v);
            continue;
        }
        msg_put_bytes(out, c2_blob_slice(v->msg));
        count++;
    }
    return count >= r->q ? count : 0;
}

/* The DECIDED message of a slot; the caller's reference, NULL when it cannot be proven here. */
static struct c2_blob *
make_decided(struct bft_replica *r, struct bft_slot *s)
{
    if (!s->decided || !s->have_final)
        return NULL;
    if (s->proof != NULL)
        return c2_blob_ref(s->proof);
    struct c2_buf commits = { 0 };
    unsigned count = 0;
    for (unsigned i = 0; i < r->config.n && count == 0; i++) {
        if (s->commit[i].msg != NULL)
            count = gather_commits(r, s, s->commit[i].view, &commits);
    }
    struct c2_blob *blob = NULL;
    if (count > 0) {
        struct msg_head h = bft_head(r, MSG_DECIDED);
        struct msg_decided d = { .n = s->n, .ncommits = count };
        memcpy(d.digest, s->decided_digest, MSG_DIGEST_LEN);
        d.commits = c2_buf_slice(&commits);
        d.batch = bft_bytes_slice(&s->final);
        c2_buf_clear(&r->scratch);
        msg_write_decided(&r->scratch, &h, &d);
        blob = bft_take_scratch(r);
    }
    c2_buf_done(&commits);
    return blob;
}

static bool
commit_is_good(struct bft_replica *r, struct c2_slice msg, const struct msg_decided *d,
               uint64_t view, uint32_t *voters)
{
    struct msg_head h;
    struct msg_votes v;
    if (msg_read_votes(msg, &h, &v) != C2_E_OK || h.type != MSG_COMMIT || v.view != view ||
        h.sender >= r->config.n || (*voters >> h.sender & 1) != 0)
        return false;
    *voters |= 1u << h.sender;
    for (uint32_t i = 0; i < v.count; i++) {
        if (v.vote[i].n == d->n && bft_digest_equal(v.vote[i].digest, d->digest))
            return bft_verify_seat(r, h.sender, msg);
    }
    return false;
}

static bool
proof_is_good(struct bft_replica *r, const struct msg_decided *d, uint64_t *ret_view)
{
    struct c2_slice rest = d->commits;
    struct c2_slice item;
    uint32_t voters = 0;
    struct msg_head h;
    struct msg_votes v;
    if (d->ncommits < r->q || msg_next_bytes(&rest, &item) != C2_E_OK ||
        msg_read_votes(item, &h, &v) != C2_E_OK)
        return false;
    uint64_t view = v.view;
    rest = d->commits;
    for (uint32_t i = 0; i < d->ncommits; i++) {
        if (msg_next_bytes(&rest, &item) != C2_E_OK || !commit_is_good(r, item, d, view, &voters))
            return false;
    }
    uint8_t digest[MSG_DIGEST_LEN];
    msg_batch_digest(d->batch, digest);
    *ret_view = view;
    return bft_digest_equal(digest, d->digest);
}

void
bft_on_decided(struct bft_replica *r, uint16_t seat, struct c2_blob *blob)
{
    struct msg_decided d;
    uint64_t view = 0;
    if (msg_read_decided(c2_blob_slice(blob), &d) != C2_E_OK) {
        r->count.dropped++;
        return;
    }
    bft_hear_of(r, seat, d.n);
    struct bft_slot *s = d.n > r->executed ? bft_slot_make(r, d.n) : NULL;
    if (s == NULL || (s->decided && s->have_final))
        return;
    if (!proof_is_good(r, &d, &view)) {
        r->count.dropped++;
        return;
    }
    if (s->decided && !bft_digest_equal(s->decided_digest, d.digest)) {
        bft_halt(r, "two batches were decided for one number");
        return;
    }
    if (s->proof == NULL)
        s->proof = c2_blob_ref(blob);
    if (!s->decided) {
        struct bft_bytes body = { .blob = blob, .len = d.batch.len };
        body.at = d.batch.len > 0 ? (size_t)(d.batch.data - blob->data) : 0;
        bft_decide(r, s, view, d.digest, &body);
    } else {
        bft_on_batch_body(r, blob, d.batch);
    }
}

/* ---- STATUS ---------------------------------------------------------------------------------- */

static void
set_window(struct bft_replica *r, struct msg_status *st)
{
    for (uint64_t i = 0; i < MSG_WINDOW_MAX; i++) {
        const struct bft_slot *s = bft_slot(r, r->executed + 1 + i);
        if (s == NULL || s->view != r->view)
            continue;
        if (s->have_proposal && s->have_body)
            st->window[i / 64] |= 1ull << (i % 64);
        if (s->prepared)
            st->window[MSG_WINDOW_MAX / 64 + i / 64] |= 1ull << (i % 64);
    }
}

static void
send_status(struct bft_replica *r)
{
    struct msg_head h = bft_head(r, MSG_STATUS);
    struct msg_status st = { .view = r->view, .wish = r->wish[r->seat], .stable = r->stable };
    st.phase = r->phase == BFT_LEAVING ? MSG_PHASE_LEAVING : MSG_PHASE_NORMAL;
    if (r->mode == BFT_QUARANTINED)
        st.phase = MSG_PHASE_QUARANTINE;
    st.executed = r->executed;
    st.committed_to = r->committed_to;
    st.wall_ns = r->wall_ns;
    for (unsigned i = 0; i < r->config.n; i++) {
        if (r->vc[i].msg != NULL && r->vc[i].view == r->view)
            st.vcs |= (uint16_t)(1u << i);
    }
    set_window(r, &st);
    r->fetch_turn++; /* whose NEW-VIEW comes first: there may be more than can be asked for */
    st.nwanted = bft_missing_vcs(r, st.wanted, MSG_WANTED_MAX);
    st.nwanted += missing_bodies(r, st.wanted + st.nwanted, MSG_WANTED_MAX - st.nwanted);
    c2_buf_clear(&r->scratch);
    msg_write_status(&r->scratch, &h, &st);
    struct c2_blob *blob = bft_take_scratch(r);
    bft_send(r, bft_others(r), blob);
    c2_blob_unref(blob);
}

static bool
in_want(const struct bft_replica *r)
{
    return r->phase == BFT_LEAVING || bft_nv_waits(r) || r->executed < r->seen_n ||
           r->executed < believable_n(r) || r->nrequests > 0 || r->mode != BFT_RUNNING ||
           r->my_wish > r->view;
}

static void
status_tick(struct bft_replica *r)
{
    const struct bft_timing *t = &r->setup.timing;
    if (r->now_ns < r->status_ns)
        return;
    uint64_t pause_ns = in_want(r) ? t->status_ns : t->status_idle_ns;
    r->rng = r->rng * 6364136223846793005ull + 1442695040888963407ull;
    pause_ns += pause_ns / 5 * (r->rng >> 33) / (1u << 31); /* not all at once */
    r->status_ns = r->now_ns + pause_ns;
    send_status(r);
    bft_epoch_ask(r);
    for (uint64_t n = r->stable + 1; n <= r->stable + r->config.window; n++) {
        struct bft_slot *s = bft_slot(r, n);
        if (s != NULL && s->have_proposal && s->have_body && !s->voted)
            bft_slot_step(r, s); /* its time may be near enough to our clock by now */
    }
}

/* Behind a stable checkpoint, and nobody sends the decisions: fetch the state. What waits for our
 * own executor is not lacking; it would have to fetch the state, too. */
static void
lag_tick(struct bft_replica *r)
{
    if (r->mode != BFT_RUNNING && r->mode != BFT_QUARANTINED)
        return;
    if (r->executed >= r->stable || r->executed < r->issued) {
        r->lag_since_ns = 0;
        return;
    }
    if (r->lag_since_ns == 0 || r->lag_executed != r->executed) {
        r->lag_since_ns = r->now_ns;
        r->lag_executed = r->executed;
    }
    if (r->now_ns >= r->lag_since_ns + LAG_PATIENCE * r->setup.timing.status_ns)
        bft_sync_start(r);
}

void
bft_catchup_tick(struct bft_replica *r)
{
    status_tick(r);
    fetch_tick(r);
    lag_tick(r);
}

uint64_t
bft_catchup_deadline(const struct bft_replica *r)
{
    uint64_t due = r->status_ns;
    if (r->fetch_ns != 0)
        due = C2_MIN(due, r->fetch_ns);
    if (r->lag_since_ns != 0 && r->mode != BFT_SYNCING)
        due = C2_MIN(due, r->lag_since_ns + LAG_PATIENCE * r->setup.timing.status_ns);
    return due;
}

/* ---- answering a STATUS ---------------------------------------------------------------------- */

static void
help_with_view(struct bft_replica *r, uint16_t seat, const struct msg_status *st)
{
    uint32_t to = 1u << seat;
    bool in_view = st->phase == MSG_PHASE_NORMAL && st->view == r->view;
    if (r->phase == BFT_NORMAL && (st->view < r->view || (st->view == r->view && !in_view)))
        bft_send_new_view(r, to);
    if (r->phase != BFT_LEAVING || st->view != r->view || in_view)
        return;
    for (unsigned i = 0; i < r->config.n; i++) {
        if (r->vc[i].msg == NULL || r->vc[i].view != r->view || (st->vcs >> i & 1) != 0)
            continue;
        if (i == r->seat)
            bft_send(r, to, r->vc[i].msg);
        else
            send_body(r, seat, r->vc[i].digest);
    }
}

static bool
bit(const struct msg_status *st, uint64_t n, bool prepared)
{
    uint64_t i = n - st->executed - 1;
    size_t word = i / 64 + (prepared ? MSG_WINDOW_MAX / 64 : 0);
    return i < MSG_WINDOW_MAX && (st->window[word] >> (i % 64) & 1) != 0;
}

static void
help_with_votes(struct bft_replica *r, uint16_t seat, const struct msg_status *st)
{
    unsigned sent = 0;
    size_t bytes = 0;
    uint64_t first = C2_MAX(r->stable, st->executed) + 1;
    if (r->phase != BFT_NORMAL || st->view != r->view || st->phase == MSG_PHASE_LEAVING ||
        st->executed >= r->stable + r->config.window)
        return; /* also: nothing that follows can overflow */
    for (uint64_t n = first; n < first + 4ull * MSG_VOTES_MAX; n++) {
        const struct bft_slot *s = bft_slot(r, n);
        bool mine = s != NULL && s->have_proposal && s->view == r->view && s->have_body;
        if (!mine || bit(st, n, false) || sent == PROPOSALS_MAX || bytes > ANSWER_BYTES)
            continue;
        if (!bft_is_primary(r) && s->seen_ns + 2 * r->setup.timing.status_ns > r->now_ns)
            continue; /* the primary may still do it */
        c2_buf_clear(&r->scratch);
        msg_write_pre_prepare(&r->scratch, c2_slice(s->proposal, MSG_PROPOSAL_LEN),
                              bft_bytes_slice(&s->body));
        struct c2_blob *blob = bft_take_scratch(r);
        bft_send(r, 1u << seat, blob);
        c2_blob_unref(blob);
        bytes += s->body.len;
        sent++;
    }
    bft_resend_votes(r, 1u << seat, first, first + 4ull * MSG_VOTES_MAX);
}

static void
help_with_decisions(struct bft_replica *r, uint16_t seat, const struct msg_status *st)
{
    size_t bytes = 0;
    if (st->executed >= r->executed)
        return;
    uint64_t end = C2_MIN(r->executed, st->executed + DECISIONS_MAX);
    for (uint64_t n = st->executed + 1; n <= end && bytes < ANSWER_BYTES; n++) {
        struct bft_slot *s = bft_slot(r, n);
        struct c2_blob *blob = s != NULL ? make_decided(r, s) : NULL;
        if (blob == NULL)
            continue;
        bft_send(r, 1u << seat, blob);
        bytes += blob->len;
        c2_blob_unref(blob);
    }
}

static void
help_with_checkpoints(struct bft_replica *r, uint16_t seat, const struct msg_status *st)
{
    struct msg_head h = bft_head(r, MSG_STABLE);
    struct msg_stable cert;
    if (st->stable < r->stable && r->stable_cert.len > 0) {
        enum c2_err err = msg_get_stable(c2_buf_slice(&r->stable_cert), &cert);
        C2_ASSERT(err == C2_E_OK);
        c2_buf_clear(&r->scratch);
        msg_write_stable(&r->scratch, &h, &cert);
        struct c2_blob *blob = bft_take_scratch(r);
        bft_send(r, 1u << seat, blob);
        c2_blob_unref(blob);
    }
    const struct msg_checkpoint *own = bft_last_own_checkpoint(r);
    if (own != NULL && own->n > r->stable && own->n > st->stable)
        bft_send_checkpoint(r, 1u << seat, own);
}

void
bft_on_status(struct bft_replica *r, uint16_t seat, struct c2_blob *blob)
{
    struct msg_status st;
    if (msg_read_status(c2_blob_slice(blob), &st) != C2_E_OK) {
        r->count.dropped++;
        return;
    }
    bft_hear_of(r, seat, st.executed);
    bft_on_wish(r, seat, C2_MAX(st.wish, st.view));
    bft_quarantine_hears(r, seat, &st);
    if (r->answered_ns[seat] + r->setup.timing.status_ns / 2 > r->now_ns)
        return;
    r->answered_ns[seat] = r->now_ns;
    help_with_view(r, seat, &st);
    for (uint32_t i = 0; i < st.nwanted; i++)
        send_body(r, seat, st.wanted[i]);
    help_with_votes(r, seat, &st);
    help_with_decisions(r, seat, &st);
    help_with_checkpoints(r, seat, &st);
}
