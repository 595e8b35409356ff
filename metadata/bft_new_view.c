/* SPDX-License-Identifier: MIT */
/*
 * Entering a view.
 *
 * The new primary takes q valid VIEW-CHANGEs and computes from them
 *
 *   h*   the highest stable checkpoint among them
 *   N    the highest prepared n, at least h*
 *   for every n in h*+1..N: the digest of the highest view in which n was prepared, else null
 *
 * and signs a proposal of the new view for each. Everybody else computes the same from the same
 * VIEW-CHANGEs, which are named by digest and can be had from anybody, and compares. Proposals of
 * the new view are voted on like others, without judging what is in them, also those that were
 * executed already: others may need the votes.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "metadata/bft_int.h"

struct choice {
    uint64_t view;
    uint8_t digest[MSG_DIGEST_LEN];
    bool have;
};

struct selection {
    uint64_t h, last;
    struct msg_stable cert; /* of h; count = 0 at the base */
    struct choice choice[MSG_WINDOW_MAX];
    bool conflict; /* two proofs that exclude each other: more than f have lied */
};

void
bft_nv_clear(struct bft_new_view *nv)
{
    c2_blob_unref(nv->msg);
    for (unsigned i = 0; i < MSG_REPLICAS_MAX; i++)
        bft_vc_clear(&nv->vc[i]);
    *nv = (struct bft_new_view){ 0 };
}

static void
read_vc(const struct bft_vc *v, struct msg_view_change *m)
{
    enum c2_err err = msg_read_view_change(c2_blob_slice(v->msg), m);
    C2_ASSERT(err == C2_E_OK); /* it was verified */
}

static void
choose(struct selection *sel, const struct msg_view_change *m)
{
    struct c2_slice rest = m->prepared;
    for (uint32_t i = 0; i < m->nprepared; i++) {
        struct msg_prepared p;
        enum c2_err err = msg_next_prepared(&rest, &p);
        C2_ASSERT(err == C2_E_OK);
        if (p.p.n <= sel->h)
            continue;
        C2_ASSERT(p.p.n - sel->h <= MSG_WINDOW_MAX);
        struct choice *c = &sel->choice[p.p.n - sel->h - 1];
        if (c->have && c->view == p.p.view && !bft_digest_equal(c->digest, p.p.digest))
            sel->conflict = true;
        if (c->have && c->view >= p.p.view)
            continue;
        c->have = true;
        c->view = p.p.view;
        memcpy(c->digest, p.p.digest, MSG_DIGEST_LEN);
        sel->last = C2_MAX(sel->last, p.p.n);
    }
}

/* The caller frees it. */
static struct selection *
select_proposals(const struct bft_replica *r, const struct bft_new_view *nv)
{
    struct selection *sel = c2_calloc(1, sizeof *sel);
    struct msg_view_change m;
    sel->h = r->config.base;
    for (unsigned i = 0; i < nv->nvcs; i++) {
        read_vc(&nv->vc[i], &m);
        if (m.h <= sel->h)
            continue;
        sel->h = m.h;
        enum c2_err err = msg_get_stable(m.stable, &sel->cert);
        C2_ASSERT(err == C2_E_OK);
    }
    sel->last = sel->h;
    for (unsigned i = 0; i < nv->nvcs; i++) {
        read_vc(&nv->vc[i], &m);
        choose(sel, &m);
    }
    uint8_t null[MSG_DIGEST_LEN];
    msg_batch_digest(c2_slice(NULL, 0), null);
    for (uint64_t n = sel->h + 1; n <= sel->last; n++) {
        struct choice *c = &sel->choice[n - sel->h - 1];
        if (!c->have)
            memcpy(c->digest, null, MSG_DIGEST_LEN);
    }
    return sel;
}

/* ---- making one ------------------------------------------------------------------------------ */

static bool
gather(struct bft_replica *r, struct bft_new_view *nv)
{
    const struct bft_vc *own = &r->vc[r->seat];
    unsigned have = 0;
    if (own->msg == NULL || own->view != r->view)
        return false;
    for (unsigned i = 0; i < r->config.n; i++)
        have += r->vc[i].msg != NULL && r->vc[i].view == r->view;
    if (have < r->q)
        return false;
    unsigned others = r->q - 1;
    for (unsigned i = 0; i < r->config.n; i++) {
        if (r->vc[i].msg == NULL || r->vc[i].view != r->view)
            continue;
        if (i != r->seat && others == 0)
            continue;
        others -= i != r->seat;
        bft_vc_set(&nv->vc[nv->nvcs++], r->vc[i].msg, r->view);
    }
    return true;
}

static struct c2_blob *
write_new_view(struct bft_replica *r, const struct bft_new_view *nv, const struct selection *sel)
{
    struct msg_head ph = bft_head(r, MSG_PRE_PREPARE);
    struct msg_head h = bft_head(r, MSG_NEW_VIEW);
    struct msg_new_view m = { .view = r->view, .nvcs = nv->nvcs };
    struct c2_buf proposals = { 0 };
    for (unsigned i = 0; i < nv->nvcs; i++) {
        m.vc[i].seat = c2_get_u16(nv->vc[i].msg->data + 2);
        memcpy(m.vc[i].digest, nv->vc[i].digest, MSG_DIGEST_LEN);
    }
    for (uint64_t n = sel->h + 1; n <= sel->last; n++) {
        struct msg_proposal p = { .view = r->view, .n = n };
        memcpy(p.digest, sel->choice[n - sel->h - 1].digest, MSG_DIGEST_LEN);
        size_t from = proposals.len;
        msg_write_proposal(&proposals, &ph, &p);
        r->count.sig_made++;
        msg_sign(r->crypto, r->secret, &proposals, from);
        m.nproposals++;
    }
    m.proposals = c2_buf_slice(&proposals);
    c2_buf_clear(&r->scratch);
    msg_write_new_view(&r->scratch, &h, &m);
    bft_sign_scratch(r, 0);
    c2_buf_done(&proposals);
    return bft_take_scratch(r);
}

uint64_t
bft_log_new_view(struct bft_replica *r, const struct bft_new_view *nv)
{
    struct wal_record rec = { .epoch = r->config.epoch, .view = nv->view };
    c2_buf_clear(&r->scratch);
    for (unsigned i = 0; i < nv->nvcs; i++)
        msg_put_bytes(&r->scratch, c2_blob_slice(nv->vc[i].msg));
    rec.msg = c2_blob_slice(nv->msg);
    rec.count = nv->nvcs;
    rec.list = c2_buf_slice(&r->scratch);
    uint64_t lsn = bft_append(r, WAL_NEW_VIEW, &rec, NULL);
    c2_buf_clear(&r->scratch);
    return lsn;
}

/* The primary of the view that is being entered. */
static void
make_new_view(struct bft_replica *r)
{
    struct bft_new_view nv = { .view = r->view };
    if (!gather(r, &nv)) {
        bft_nv_clear(&nv);
        return;
    }
    struct selection *sel = select_proposals(r, &nv);
    if (sel->conflict) {
        bft_halt(r, "two batches were prepared for one number in one view");
        bft_nv_clear(&nv);
    } else {
        nv.msg = write_new_view(r, &nv, sel);
        bft_nv_clear(&r->nv_next[r->seat]);
        r->nv_next[r->seat] = nv;
        r->nv_lsn = bft_log_new_view(r, &nv);
    }
    c2_free(sel);
}

void
bft_send_new_view(struct bft_replica *r, uint32_t seats)
{
    if (r->phase == BFT_NORMAL && r->nv.msg != NULL)
        bft_send(r, seats, r->nv.msg);
}

/* ---- entering -------------------------------------------------------------------------------- */

static bool
proposals_match(struct bft_replica *r, const struct msg_new_view *m, const struct selection *sel)
{
    uint16_t primary = bft_primary(r, m->view);
    if (m->nproposals != sel->last - sel->h)
        return false;
    for (uint32_t i = 0; i < m->nproposals; i++) {
        struct c2_slice one =
            c2_slice(m->proposals.data + (size_t)i * MSG_PROPOSAL_LEN, MSG_PROPOSAL_LEN);
        struct msg_head h;
        struct msg_proposal p;
        if (msg_read_proposal(one, &h, &p) != C2_E_OK || p.view != m->view ||
            p.n != sel->h + 1 + i || !bft_digest_equal(p.digest, sel->choice[i].digest))
            return false;
        if (!bft_verify_seat(r, primary, one))
            return false;
    }
    return true;
}

static void
take_proposals(struct bft_replica *r, const struct msg_new_view *m)
{
    for (uint32_t i = 0; i < m->nproposals; i++) {
        struct c2_slice one =
            c2_slice(m->proposals.data + (size_t)i * MSG_PROPOSAL_LEN, MSG_PROPOSAL_LEN);
        struct msg_head h;
        struct msg_proposal p;
        enum c2_err err = msg_read_proposal(one, &h, &p);
        C2_ASSERT(err == C2_E_OK);
        struct bft_slot *s = bft_in_window(r, p.n) ? bft_slot_make(r, p.n) : NULL;
        if (s == NULL || (s->have_proposal && s->view == r->view))
            continue;
        bft_take_proposal(r, s, &p, one, true);
        if (s->have_proposal && !bft_look_for_body(r, s))
            bft_fetch_body(r, s->digest, MSG_SENDER_CLIENT);
        bft_slot_step(r, s);
    }
}

void
bft_retake_proposals(struct bft_replica *r)
{
    struct msg_new_view m;
    if (r->nv.msg != NULL && msg_read_new_view(c2_blob_slice(r->nv.msg), &m) == C2_E_OK)
        take_proposals(r, &m);
}

void
bft_enter_view(struct bft_replica *r)
{
    C2_MARK("bft: enters a view");
    r->phase = BFT_NORMAL;
    r->abdicated = r->accused = false;
    r->decided_in_view = 0;
    r->view_ns = r->progress_ns = r->now_ns;
    r->my_wish = C2_MAX(r->my_wish, r->view);
    r->vc_lsn = 0;
    c2_blob_unref(r->own_vc);
    r->own_vc = NULL;
    r->count.new_views++;
    bft_clock_new_view(r);
    r->status_ns = r->now_ns + r->setup.timing.status_ns;
    bft_requests_new_view(r);
}

static void
install(struct bft_replica *r, struct bft_new_view *nv, const struct msg_new_view *m,
        const struct selection *sel)
{
    bool mine = bft_primary(r, m->view) == r->seat;
    bft_nv_clear(&r->nv);
    r->nv = *nv;
    *nv = (struct bft_new_view){ 0 };
    r->view = m->view;
    for (uint64_t n = r->stable + 1; n <= r->stable + r->config.window; n++) {
        struct bft_slot *s = bft_slot(r, n);
        if (s != NULL)
            s->prepare_lsn = s->commit_lsn = 0;
    }
    bft_enter_view(r);
    r->view_lsn = mine ? r->durable_lsn : bft_log_new_view(r, &r->nv);
    if (sel->cert.count > 0)
        bft_adopt_stable(r, &sel->cert);
    r->proposed = C2_MAX(sel->last, r->stable);
    take_proposals(r, m);
    bft_take_later(r);
}

static bool
all_vcs_are_good(struct bft_replica *r, const struct bft_new_view *nv, const struct msg_new_view *m)
{
    for (unsigned i = 0; i < nv->nvcs; i++) {
        struct msg_head h;
        struct msg_view_change vc;
        struct c2_slice msg = c2_blob_slice(nv->vc[i].msg);
        if (msg_read_head(msg, &h) != C2_E_OK || h.sender != m->vc[i].seat ||
            msg_read_view_change(msg, &vc) != C2_E_OK || vc.view != m->view ||
            !bft_vc_valid(r, msg))
            return false;
    }
    return nv->nvcs >= r->q;
}

static void
refuse(struct bft_replica *r, struct bft_new_view *nv)
{
    uint64_t view = nv->view;
    bft_alarm(r, BFT_ALARM_EVIDENCE, "a primary has sent a wrong NEW-VIEW");
    bft_nv_clear(nv);
    if (view == r->view)
        bft_wish(r, view + 1); /* a later view is nothing to leave: the others are not there */
}

static void
try_install(struct bft_replica *r, struct bft_new_view *nv)
{
    struct msg_new_view m;
    for (unsigned i = 0; i < nv->nvcs; i++) {
        if (nv->vc[i].msg == NULL)
            return;
    }
    enum c2_err err = msg_read_new_view(c2_blob_slice(nv->msg), &m);
    C2_ASSERT(err == C2_E_OK);
    if (!all_vcs_are_good(r, nv, &m)) {
        refuse(r, nv);
        return;
    }
    struct selection *sel = select_proposals(r, nv);
    if (sel->conflict)
        bft_halt(r, "two batches were prepared for one number in one view");
    else if (!proposals_match(r, &m, sel))
        refuse(r, nv);
    else
        install(r, nv, &m, sel);
    c2_free(sel);
}

/* ---- finding the VIEW-CHANGEs ---------------------------------------------------------------- */

static struct c2_blob *
find_in(const struct bft_vc *list, const uint8_t digest[MSG_DIGEST_LEN])
{
    for (unsigned i = 0; i < MSG_REPLICAS_MAX; i++) {
        if (list[i].msg != NULL && bft_digest_equal(list[i].digest, digest))
            return list[i].msg;
    }
    return NULL;
}

struct c2_blob *
bft_find_vc(struct bft_replica *r, const uint8_t digest[MSG_DIGEST_LEN])
{
    struct c2_blob *found = find_in(r->vc, digest);
    if (found == NULL)
        found = find_in(r->nv.vc, digest);
    for (unsigned i = 0; i < MSG_REPLICAS_MAX && found == NULL; i++)
        found = find_in(r->nv_next[i].vc, digest);
    return found;
}

static void
fetch_vc(struct bft_replica *r, const uint8_t digest[MSG_DIGEST_LEN], uint32_t seats)
{
    struct msg_head h = bft_head(r, MSG_FETCH);
    struct msg_fetch f = { .kind = MSG_BODY_VIEW_CHANGE };
    memcpy(f.digest, digest, MSG_DIGEST_LEN);
    c2_buf_clear(&r->scratch);
    msg_write_fetch(&r->scratch, &h, &f);
    struct c2_blob *blob = bft_take_scratch(r);
    bft_send(r, seats, blob);
    c2_blob_unref(blob);
}

void
bft_on_new_view(struct bft_replica *r, struct c2_blob *blob)
{
    struct msg_head h;
    struct msg_new_view m;
    struct c2_slice msg = c2_blob_slice(blob);
    if (msg_read_head(msg, &h) != C2_E_OK || msg_read_new_view(msg, &m) != C2_E_OK ||
        h.sender != bft_primary(r, m.view)) {
        r->count.dropped++;
        return;
    }
    struct bft_new_view *nv = &r->nv_next[h.sender];
    if (m.view < r->view || (m.view == r->view && r->phase == BFT_NORMAL) || !bft_may_follow(r) ||
        (nv->msg != NULL && nv->view >= m.view) || h.sender == r->seat)
        return;
    if (!bft_verify_seat(r, h.sender, msg)) {
        r->count.dropped++;
        return;
    }
    bft_nv_clear(nv);
    nv->msg = c2_blob_ref(blob);
    nv->view = m.view;
    nv->nvcs = m.nvcs;
    for (unsigned i = 0; i < m.nvcs; i++) {
        struct c2_blob *vc = bft_find_vc(r, m.vc[i].digest);
        if (vc != NULL)
            bft_vc_set(&nv->vc[i], vc, m.view);
        else
            fetch_vc(r, m.vc[i].digest, 1u << h.sender);
    }
    bft_try_new_view(r);
}

static void
give_vc(struct bft_new_view *nv, struct c2_slice msg, const uint8_t *digest)
{
    struct msg_new_view m;
    if (nv->msg == NULL || msg_read_new_view(c2_blob_slice(nv->msg), &m) != C2_E_OK)
        return;
    for (unsigned i = 0; i < nv->nvcs; i++) {
        if (nv->vc[i].msg != NULL || !bft_digest_equal(m.vc[i].digest, digest))
            continue;
        struct c2_blob *copy = c2_blob_copy(msg.data, msg.len);
        bft_vc_set(&nv->vc[i], copy, nv->view);
        c2_blob_unref(copy);
    }
}

void
bft_on_vc_body(struct bft_replica *r, struct c2_slice msg)
{
    uint8_t digest[MSG_DIGEST_LEN];
    if (!bft_nv_waits(r) || !bft_vc_valid(r, msg))
        return;
    msg_digest(msg, digest);
    for (unsigned i = 0; i < MSG_REPLICAS_MAX; i++)
        give_vc(&r->nv_next[i], msg, digest);
    bft_try_new_view(r);
}

bool
bft_nv_waits(const struct bft_replica *r)
{
    bool waits = false;
    for (unsigned i = 0; i < MSG_REPLICAS_MAX; i++)
        waits = waits || r->nv_next[i].msg != NULL;
    return waits;
}

/* Digests of VIEW-CHANGEs that are still missing; of each maker's NEW-VIEW in turn. */
unsigned
bft_missing_vcs(const struct bft_replica *r, uint8_t (*out)[MSG_DIGEST_LEN], unsigned max)
{
    struct msg_new_view m;
    unsigned count = 0;
    for (unsigned k = 0; k < MSG_REPLICAS_MAX; k++) {
        const struct bft_new_view *nv = &r->nv_next[(k + r->fetch_turn) % MSG_REPLICAS_MAX];
        if (nv->msg == NULL || msg_read_new_view(c2_blob_slice(nv->msg), &m) != C2_E_OK)
            continue;
        for (unsigned i = 0; i < nv->nvcs && count < max; i++) {
            if (nv->vc[i].msg == NULL)
                memcpy(out[count++], m.vc[i].digest, MSG_DIGEST_LEN);
        }
    }
    return count;
}

void
bft_try_new_view(struct bft_replica *r)
{
    if (!bft_may_follow(r))
        return;
    bool mine = r->seat == bft_primary(r, r->view);
    bool unmade = r->phase == BFT_LEAVING && mine && r->nv_next[r->seat].view != r->view;
    if (unmade && bft_may_vote(r))
        make_new_view(r);
    for (unsigned i = 0; i < MSG_REPLICAS_MAX; i++) {
        struct bft_new_view *nv = &r->nv_next[i];
        bool late = nv->view < r->view || (nv->view == r->view && r->phase == BFT_NORMAL);
        if (nv->msg != NULL && late)
            bft_nv_clear(nv);
        if (nv->msg != NULL && (i != r->seat || r->nv_lsn == 0) && r->mode != BFT_HALTED)
            try_install(r, nv);
    }
}
