/* SPDX-License-Identifier: MIT */
/*
 * Leaving a view.
 *
 *   NORMAL ──complaint──► wish in the log ──durable──► WISH to all, still voting in the view
 *   f+1 wishes above mine: I wish it, too        q wishes above my view: leave
 *   leave: view and VIEW-CHANGE in the log ──durable──► VIEW-CHANGE to all, LEAVING
 *   LEAVING ──NEW-VIEW complete──► NORMAL (bft_new_view.c)
 *
 * One badly connected replica can wish what it wants, the others stay. Complaints: a session has
 * waited too long although this replica is up to date, nothing at all is decided, the primary was
 * caught or asks to be replaced, no NEW-VIEW comes. The patience doubles with each view in which
 * nothing was decided.
 *
 * A VIEW-CHANGE carries the last stable checkpoint with its certificate and, for every n above it,
 * the proof of the highest view in which this replica was prepared. Nothing of it is believed
 * before all of it is verified. None is longer than an honest one can be: a NEW-VIEW names it, and
 * then everybody must be able to get it.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "metadata/bft_int.h"

#define VOTES_LEN    (MSG_HEAD_LEN + 8 + 1 + MSG_VOTES_MAX * (8 + MSG_DIGEST_LEN) + MSG_SIG_LEN)
#define PREPARED_LEN (MSG_PROPOSAL_LEN + 1 + 2 * MSG_REPLICAS_MAX)
#define PROOF_LEN(q) (PREPARED_LEN + ((size_t)(q)-1) * (4 + VOTES_LEN)) /* of one number */
#define REST_LEN     1024                                               /* with the certificate */

_Static_assert(PROOF_LEN(MSG_REPLICAS_MAX) * MSG_WINDOW_MAX + REST_LEN < MSG_BYTES_MAX - REST_LEN,
               "a VIEW-CHANGE fits into a BODY, and others have it from anybody");

uint64_t
bft_patience_ns(const struct bft_replica *r)
{
    const struct bft_timing *t = &r->setup.timing;
    return C2_MIN(t->request_ns << r->backoff, t->request_max_ns);
}

/* ---- wishes ---------------------------------------------------------------------------------- */

static void
log_wish(struct bft_replica *r)
{
    struct wal_record rec = { .epoch = r->config.epoch, .view = r->my_wish };
    r->wish_lsn = bft_append(r, WAL_WISH, &rec, NULL);
}

void
bft_wish(struct bft_replica *r, uint64_t view)
{
    if (view <= r->my_wish || view <= r->view || !bft_may_vote(r))
        return;
    r->my_wish = view;
    r->count.wishes++;
    log_wish(r);
}

/* The k-th largest wish. */
static uint64_t
kth_wish(const struct bft_replica *r, unsigned k)
{
    uint64_t best = 0;
    for (unsigned i = 0; i < r->config.n; i++) {
        unsigned at_least = 0;
        for (unsigned j = 0; j < r->config.n; j++)
            at_least += r->wish[j] >= r->wish[i];
        if (at_least >= k && r->wish[i] > best)
            best = r->wish[i];
    }
    return best;
}

static void
weigh_wishes(struct bft_replica *r)
{
    uint64_t weak = kth_wish(r, r->config.f + 1u);
    if (weak > r->my_wish)
        bft_wish(r, weak);
    uint64_t strong = kth_wish(r, r->q);
    if (strong > r->view && bft_may_vote(r))
        bft_leave(r, strong);
}

void
bft_on_wish(struct bft_replica *r, uint16_t seat, uint64_t view)
{
    if (view <= r->wish[seat])
        return;
    r->wish[seat] = view;
    bool primary = r->phase == BFT_NORMAL && seat == bft_primary(r, r->view);
    if (primary && view > r->view)
        bft_wish(r, r->view + 1);
    weigh_wishes(r);
}

/* ---- VIEW-CHANGE ----------------------------------------------------------------------------- */

struct prepare_table {
    struct c2_slice *items; /* owned */
    uint32_t count, cap;
};

static uint16_t
table_add(struct prepare_table *t, struct c2_slice msg)
{
    for (uint32_t i = t->count; i > 0; i--) {
        if (c2_slice_equal(t->items[i - 1], msg))
            return (uint16_t)(i - 1);
    }
    if (t->count == t->cap) {
        t->cap = C2_MAX(t->cap * 2, 64);
        t->items = c2_realloc(t->items, t->cap, sizeof *t->items);
    }
    t->items[t->count] = msg;
    return (uint16_t)t->count++;
}

static void
add_cert(const struct bft_cert *c, struct prepare_table *t, struct c2_buf *prepared)
{
    struct msg_prepared p = { .nvotes = c->nvotes };
    p.proposal = c2_slice(c->proposal, MSG_PROPOSAL_LEN);
    for (unsigned i = 0; i < c->nvotes; i++)
        p.votes[i] = table_add(t, c2_blob_slice(c->votes[i]));
    msg_put_prepared(prepared, &p);
}

static struct c2_blob *
make_view_change(struct bft_replica *r)
{
    struct prepare_table table = { 0 };
    struct c2_buf prepared = { 0 };
    struct c2_buf prepares = { 0 };
    struct msg_view_change m = { .view = r->view, .h = r->stable };
    m.stable = c2_buf_slice(&r->stable_cert);
    for (uint64_t n = r->stable + 1; n <= r->stable + r->config.window; n++) {
        const struct bft_slot *s = bft_slot(r, n);
        if (s == NULL || !s->cert.have)
            continue;
        add_cert(&s->cert, &table, &prepared);
        m.nprepared++;
    }
    for (uint32_t i = 0; i < table.count; i++)
        msg_put_bytes(&prepares, table.items[i]);
    m.nprepares = table.count;
    m.prepares = c2_buf_slice(&prepares);
    m.prepared = c2_buf_slice(&prepared);
    struct msg_head h = bft_head(r, MSG_VIEW_CHANGE);
    c2_buf_clear(&r->scratch);
    msg_write_view_change(&r->scratch, &h, &m);
    bft_sign_scratch(r, 0);
    c2_buf_done(&prepared);
    c2_buf_done(&prepares);
    c2_free(table.items);
    return bft_take_scratch(r);
}

void
bft_log_view(struct bft_replica *r)
{
    struct wal_record rec = { .epoch = r->config.epoch, .view = r->view };
    rec.leaving = r->phase == BFT_LEAVING;
    if (rec.leaving)
        rec.msg = c2_blob_slice(r->own_vc);
    r->view_lsn = bft_append(r, WAL_VIEW, &rec, NULL);
}

void
bft_leave(struct bft_replica *r, uint64_t view)
{
    C2_ASSERT(view > r->view);
    C2_MARK("bft: leaves a view");
    if (r->decided_in_view == 0 && r->backoff < BFT_BACKOFF_MAX)
        r->backoff++;
    r->view = view;
    r->phase = BFT_LEAVING;
    r->abdicated = r->accused = false;
    r->decided_in_view = 0;
    r->view_ns = r->now_ns;
    r->my_wish = C2_MAX(r->my_wish, view);
    r->count.view_changes++;
    for (uint64_t n = r->stable + 1; n <= r->stable + r->config.window; n++) {
        struct bft_slot *s = bft_slot(r, n);
        if (s != NULL)
            s->prepare_lsn = s->commit_lsn = 0; /* what was not sent never will be */
    }
    bft_nv_clear(&r->nv);
    r->nv_lsn = 0;
    for (unsigned i = 0; i < MSG_REPLICAS_MAX; i++) {
        if (r->vc[i].view < view)
            bft_vc_clear(&r->vc[i]);
    }
    c2_blob_unref(r->own_vc);
    r->own_vc = make_view_change(r);
    bft_log_view(r);
    r->vc_lsn = r->view_lsn;
    r->status_ns = r->now_ns;
    bft_try_new_view(r);
}

void
bft_view_durable(struct bft_replica *r)
{
    if (r->wish_lsn != 0 && r->wish_lsn <= r->durable_lsn) {
        struct msg_head h = bft_head(r, MSG_WISH);
        struct msg_wish w = { .view = r->my_wish };
        r->wish_lsn = 0;
        c2_buf_clear(&r->scratch);
        msg_write_wish(&r->scratch, &h, &w);
        struct c2_blob *blob = bft_take_scratch(r);
        bft_send(r, bft_others(r), blob);
        c2_blob_unref(blob);
        r->wish[r->seat] = r->my_wish;
        weigh_wishes(r);
    }
    if (r->vc_lsn != 0 && r->vc_lsn <= r->durable_lsn) {
        r->vc_lsn = 0;
        bft_vc_set(&r->vc[r->seat], r->own_vc, r->view);
        bft_send(r, bft_others(r), r->own_vc);
        bft_try_new_view(r);
    }
    if (r->nv_lsn != 0 && r->nv_lsn <= r->durable_lsn) {
        r->nv_lsn = 0;
        bft_send(r, bft_others(r), r->nv_next[r->seat].msg);
        bft_try_new_view(r);
    }
}

/* ---- verification ---------------------------------------------------------------------------- */

/* The vote is for (view, n, digest), by somebody whose PREPARE counts and did not count yet. */
static bool
vote_is_good(struct bft_replica *r, struct c2_slice msg, const struct msg_proposal *p,
             uint32_t *voters)
{
    struct msg_head h;
    struct msg_votes v;
    if (msg_read_votes(msg, &h, &v) != C2_E_OK || h.type != MSG_PREPARE || v.view != p->view)
        return false;
    if (h.sender >= r->config.n || h.sender == bft_primary(r, p->view) ||
        (*voters >> h.sender & 1) != 0)
        return false;
    *voters |= 1u << h.sender;
    for (uint32_t i = 0; i < v.count; i++) {
        if (v.vote[i].n == p->n && bft_digest_equal(v.vote[i].digest, p->digest))
            return bft_verify_seat(r, h.sender, msg);
    }
    return false;
}

static bool
prepared_is_good(struct bft_replica *r, const struct msg_view_change *m,
                 const struct msg_prepared *p, const struct c2_slice *table)
{
    uint32_t voters = 0;
    if (p->p.n <= m->h || p->p.n > m->h + r->config.window || p->p.view >= m->view)
        return false;
    if (p->nvotes < r->q - 1 || !bft_verify_seat(r, bft_primary(r, p->p.view), p->proposal))
        return false;
    for (uint32_t i = 0; i < p->nvotes; i++) {
        if (p->votes[i] >= m->nprepares || !vote_is_good(r, table[p->votes[i]], &p->p, &voters))
            return false;
    }
    return true;
}

static bool
stable_is_good(struct bft_replica *r, const struct msg_view_change *m)
{
    struct msg_stable s;
    if (m->h == r->config.base)
        return m->stable.len == 0;
    if (m->h < r->config.base || m->h % r->config.checkpoint_interval != 0 ||
        msg_get_stable(m->stable, &s) != C2_E_OK || s.c.n != m->h)
        return false;
    if (c2_slice_equal(m->stable, c2_buf_slice(&r->stable_cert)))
        return true;
    return bft_verify_stable(r, &s);
}

size_t
bft_vc_len_max(const struct bft_replica *r)
{
    return r->config.window * PROOF_LEN(r->q) + REST_LEN;
}

bool
bft_vc_valid(struct bft_replica *r, struct c2_slice msg)
{
    struct msg_head h;
    struct msg_view_change m;
    if (msg.len > bft_vc_len_max(r))
        return false;
    if (msg_read_head(msg, &h) != C2_E_OK || msg_read_view_change(msg, &m) != C2_E_OK)
        return false;
    if (!bft_verify_seat(r, h.sender, msg) || !stable_is_good(r, &m))
        return false;
    struct c2_slice *table = c2_calloc(m.nprepares, sizeof *table);
    struct c2_slice rest = m.prepares;
    bool good = true;
    for (uint32_t i = 0; i < m.nprepares && good; i++)
        good = msg_next_bytes(&rest, &table[i]) == C2_E_OK;
    rest = m.prepared;
    for (uint32_t i = 0; i < m.nprepared && good; i++) {
        struct msg_prepared p;
        good = msg_next_prepared(&rest, &p) == C2_E_OK && prepared_is_good(r, &m, &p, table);
    }
    c2_free(table);
    return good;
}

void
bft_vc_set(struct bft_vc *v, struct c2_blob *msg, uint64_t view)
{
    c2_blob_ref(msg);
    c2_blob_unref(v->msg);
    v->msg = msg;
    v->view = view;
    msg_digest(c2_blob_slice(msg), v->digest);
}

void
bft_vc_clear(struct bft_vc *v)
{
    c2_blob_unref(v->msg);
    *v = (struct bft_vc){ 0 };
}

void
bft_on_view_change(struct bft_replica *r, uint16_t seat, struct c2_slice msg)
{
    struct msg_head h;
    struct msg_view_change m;
    if (msg_read_head(msg, &h) != C2_E_OK || msg_read_view_change(msg, &m) != C2_E_OK ||
        h.sender >= r->config.n) {
        r->count.dropped++;
        return;
    }
    if (m.view < r->view || (m.view == r->view && r->phase == BFT_NORMAL)) {
        if (h.sender == seat) /* it says so itself: it lacks the NEW-VIEW */
            bft_send_new_view(r, 1u << seat);
        return;
    }
    if (h.sender == r->seat || (r->vc[h.sender].msg != NULL && r->vc[h.sender].view >= m.view))
        return;
    if (!bft_vc_valid(r, msg)) {
        r->count.dropped++;
        return;
    }
    struct c2_blob *copy = c2_blob_copy(msg.data, msg.len);
    bft_vc_set(&r->vc[h.sender], copy, m.view);
    c2_blob_unref(copy);
    bft_on_wish(r, h.sender, m.view);
    bft_try_new_view(r);
}

/* ---- time ------------------------------------------------------------------------------------ */

/* Something has waited for too long, and it is not us who lag. */
static uint64_t
complaint_due(const struct bft_replica *r)
{
    uint64_t patience_ns = bft_patience_ns(r);
    if (!bft_may_vote(r))
        return C2_NEVER;
    if (r->phase == BFT_LEAVING)
        return r->view_ns + patience_ns;
    if (r->mode != BFT_RUNNING || r->issued < r->stable)
        return C2_NEVER;
    uint64_t quiet_ns = C2_MAX(r->progress_ns, r->view_ns);
    uint64_t due = quiet_ns + C2_MAX(r->setup.timing.heartbeat_ns, patience_ns);
    uint64_t wait_ns = bft_requests_wait_since(r);
    return wait_ns == C2_NEVER ? due : C2_MIN(due, wait_ns + patience_ns);
}

void
bft_view_tick(struct bft_replica *r)
{
    if (r->my_wish <= r->view && r->now_ns >= complaint_due(r))
        bft_wish(r, r->view + 1);
}

uint64_t
bft_view_deadline(const struct bft_replica *r)
{
    return r->my_wish <= r->view ? complaint_due(r) : C2_NEVER;
}
