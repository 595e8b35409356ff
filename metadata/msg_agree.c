/* SPDX-License-Identifier: MIT */
/*
 * Messages between replicas, except those that carry state.
 */
#include <string.h>

#include "metadata/msg_int.h"

static void
put_digest(struct c2_buf *out, const uint8_t digest[MSG_DIGEST_LEN])
{
    c2_wr_raw(out, digest, MSG_DIGEST_LEN);
}

/* A flag that is 0 or 1. */
static uint8_t
read_choice(struct c2_rd *r, uint8_t last)
{
    uint8_t v = c2_rd_u8(r);
    if (v > last)
        c2_rd_fail(r);
    return v;
}

/* ---- proposals and votes --------------------------------------------------------------------- */

void
msg_write_proposal(struct c2_buf *out, const struct msg_head *h, const struct msg_proposal *p)
{
    msg_put_head(out, h, MSG_PRE_PREPARE);
    c2_wr_u64(out, p->view);
    c2_wr_u64(out, p->n);
    put_digest(out, p->digest);
}

C2_RESULT
msg_read_proposal(struct c2_slice in, struct msg_head *ret_head, struct msg_proposal *ret)
{
    struct c2_rd r;
    struct msg_proposal p = { 0 };
    if (in.len != MSG_PROPOSAL_LEN)
        return C2_E_PARSE;
    C2_TRY(msg_body(in, MSG_PRE_PREPARE, &r));
    p.view = c2_rd_u64(&r);
    p.n = c2_rd_u64(&r);
    c2_rd_copy(&r, p.digest, MSG_DIGEST_LEN);
    C2_TRY(msg_read_head(in, ret_head));
    *ret = p;
    return C2_E_OK;
}

void
msg_write_pre_prepare(struct c2_buf *out, struct c2_slice proposal, struct c2_slice batch)
{
    C2_ASSERT(proposal.len == MSG_PROPOSAL_LEN && batch.len <= MSG_BATCH_MAX);
    c2_wr_raw(out, proposal.data, proposal.len);
    if (batch.len > 0)
        c2_wr_raw(out, batch.data, batch.len);
}

C2_RESULT
msg_read_pre_prepare(struct c2_slice in, struct msg_pre_prepare *ret)
{
    struct msg_head h;
    if (in.len < MSG_PROPOSAL_LEN || in.len > MSG_PROPOSAL_LEN + MSG_BATCH_MAX)
        return C2_E_PARSE;
    struct msg_pre_prepare m = { .proposal = c2_slice(in.data, MSG_PROPOSAL_LEN) };
    m.batch = c2_slice(in.data + MSG_PROPOSAL_LEN, in.len - MSG_PROPOSAL_LEN);
    C2_TRY(msg_read_proposal(m.proposal, &h, &m.p));
    *ret = m;
    return C2_E_OK;
}

void
msg_write_votes(struct c2_buf *out, const struct msg_head *h, const struct msg_votes *v)
{
    C2_ASSERT(v->count > 0 && v->count <= MSG_VOTES_MAX);
    C2_ASSERT(h->type == MSG_PREPARE || h->type == MSG_COMMIT);
    msg_put_head(out, h, (enum msg_type)h->type);
    c2_wr_u64(out, v->view);
    c2_wr_u8(out, (uint8_t)v->count);
    for (uint32_t i = 0; i < v->count; i++) {
        c2_wr_u64(out, v->vote[i].n);
        put_digest(out, v->vote[i].digest);
    }
}

C2_RESULT
msg_read_votes(struct c2_slice in, struct msg_head *ret_head, struct msg_votes *ret)
{
    struct c2_rd r;
    C2_TRY(msg_read_head(in, ret_head));
    if (ret_head->type != MSG_PREPARE && ret_head->type != MSG_COMMIT)
        return C2_E_PARSE;
    C2_TRY(msg_body(in, (enum msg_type)ret_head->type, &r));
    ret->view = c2_rd_u64(&r);
    ret->count = c2_rd_u8(&r);
    if (ret->count == 0 || ret->count > MSG_VOTES_MAX)
        return C2_E_PARSE;
    for (uint32_t i = 0; i < ret->count; i++) {
        ret->vote[i].n = c2_rd_u64(&r);
        c2_rd_copy(&r, ret->vote[i].digest, MSG_DIGEST_LEN);
        if (i > 0 && ret->vote[i].n <= ret->vote[i - 1].n)
            c2_rd_fail(&r);
    }
    return c2_rd_finish(&r);
}

void
msg_write_checkpoint(struct c2_buf *out, const struct msg_head *h, const struct msg_checkpoint *c)
{
    msg_put_head(out, h, MSG_CHECKPOINT);
    c2_wr_u64(out, c->n);
    put_digest(out, c->digest);
    put_digest(out, c->config);
}

C2_RESULT
msg_read_checkpoint(struct c2_slice in, struct msg_checkpoint *ret)
{
    struct c2_rd r;
    C2_TRY(msg_body(in, MSG_CHECKPOINT, &r));
    struct msg_checkpoint c = { .n = c2_rd_u64(&r) };
    c2_rd_copy(&r, c.digest, MSG_DIGEST_LEN);
    c2_rd_copy(&r, c.config, MSG_DIGEST_LEN);
    C2_TRY(c2_rd_finish(&r));
    *ret = c;
    return C2_E_OK;
}

void
msg_write_wish(struct c2_buf *out, const struct msg_head *h, const struct msg_wish *w)
{
    msg_put_head(out, h, MSG_WISH);
    c2_wr_u64(out, w->view);
}

C2_RESULT
msg_read_wish(struct c2_slice in, struct msg_wish *ret)
{
    struct c2_rd r;
    C2_TRY(msg_body(in, MSG_WISH, &r));
    struct msg_wish w = { .view = c2_rd_u64(&r) };
    C2_TRY(c2_rd_finish(&r));
    *ret = w;
    return C2_E_OK;
}

/* ---- view change ----------------------------------------------------------------------------- */

void
msg_put_prepared(struct c2_buf *out, const struct msg_prepared *p)
{
    C2_ASSERT(p->proposal.len == MSG_PROPOSAL_LEN && p->nvotes <= MSG_REPLICAS_MAX);
    c2_wr_raw(out, p->proposal.data, p->proposal.len);
    c2_wr_u8(out, (uint8_t)p->nvotes);
    for (uint32_t i = 0; i < p->nvotes; i++)
        c2_wr_u16(out, p->votes[i]);
}

static C2_RESULT
read_prepared(struct c2_rd *r, struct msg_prepared *ret)
{
    struct msg_prepared p = { 0 };
    struct msg_head h;
    p.proposal = c2_rd_raw(r, MSG_PROPOSAL_LEN);
    p.nvotes = c2_rd_u8(r);
    if (!c2_rd_ok(r) || p.nvotes > MSG_REPLICAS_MAX)
        return C2_E_PARSE;
    for (uint32_t i = 0; i < p.nvotes; i++)
        p.votes[i] = c2_rd_u16(r);
    if (!c2_rd_ok(r))
        return C2_E_PARSE;
    C2_TRY(msg_read_proposal(p.proposal, &h, &p.p));
    *ret = p;
    return C2_E_OK;
}

C2_RESULT
msg_next_prepared(struct c2_slice *rest, struct msg_prepared *ret)
{
    struct c2_rd r = c2_rd_init(*rest);
    C2_TRY(read_prepared(&r, ret));
    *rest = c2_slice(rest->data + r.pos, rest->len - r.pos);
    return C2_E_OK;
}

void
msg_write_view_change(struct c2_buf *out, const struct msg_head *h, const struct msg_view_change *m)
{
    msg_put_head(out, h, MSG_VIEW_CHANGE);
    c2_wr_u64(out, m->view);
    c2_wr_u64(out, m->h);
    c2_wr_bytes(out, m->stable);
    c2_wr_u32(out, m->nprepares);
    c2_wr_raw(out, m->prepares.data, m->prepares.len);
    c2_wr_u32(out, m->nprepared);
    c2_wr_raw(out, m->prepared.data, m->prepared.len);
}

static struct c2_slice
read_prepared_list(struct c2_rd *r, uint32_t count, uint64_t h)
{
    size_t from = r->pos;
    uint64_t last = h;
    for (uint32_t i = 0; i < count && c2_rd_ok(r); i++) {
        struct msg_prepared p;
        if (read_prepared(r, &p) != C2_E_OK || p.p.n <= last) {
            c2_rd_fail(r);
            break;
        }
        last = p.p.n;
    }
    return c2_rd_ok(r) ? c2_slice(r->data + from, r->pos - from) : c2_slice(NULL, 0);
}

C2_RESULT
msg_read_view_change(struct c2_slice in, struct msg_view_change *ret)
{
    struct c2_rd r;
    C2_TRY(msg_body(in, MSG_VIEW_CHANGE, &r));
    struct msg_view_change m = { .view = c2_rd_u64(&r) };
    m.h = c2_rd_u64(&r);
    m.stable = c2_rd_bytes(&r, MSG_BYTES_MAX);
    m.nprepares = c2_rd_u32(&r);
    if (m.nprepares > MSG_WINDOW_MAX * MSG_REPLICAS_MAX)
        return C2_E_PARSE;
    m.prepares = msg_rd_list(&r, m.nprepares);
    m.nprepared = c2_rd_u32(&r);
    if (m.nprepared > MSG_WINDOW_MAX)
        return C2_E_PARSE;
    m.prepared = read_prepared_list(&r, m.nprepared, m.h);
    C2_TRY(c2_rd_finish(&r));
    *ret = m;
    return C2_E_OK;
}

void
msg_write_new_view(struct c2_buf *out, const struct msg_head *h, const struct msg_new_view *m)
{
    C2_ASSERT(m->proposals.len == (size_t)m->nproposals * MSG_PROPOSAL_LEN);
    msg_put_head(out, h, MSG_NEW_VIEW);
    c2_wr_u64(out, m->view);
    c2_wr_u8(out, (uint8_t)m->nvcs);
    for (uint32_t i = 0; i < m->nvcs; i++) {
        c2_wr_u16(out, m->vc[i].seat);
        put_digest(out, m->vc[i].digest);
    }
    c2_wr_u32(out, m->nproposals);
    c2_wr_raw(out, m->proposals.data, m->proposals.len);
}

C2_RESULT
msg_read_new_view(struct c2_slice in, struct msg_new_view *ret)
{
    struct c2_rd r;
    C2_TRY(msg_body(in, MSG_NEW_VIEW, &r));
    struct msg_new_view m = { .view = c2_rd_u64(&r) };
    m.nvcs = c2_rd_u8(&r);
    if (m.nvcs > MSG_REPLICAS_MAX)
        return C2_E_PARSE;
    for (uint32_t i = 0; i < m.nvcs; i++) {
        m.vc[i].seat = c2_rd_u16(&r);
        c2_rd_copy(&r, m.vc[i].digest, MSG_DIGEST_LEN);
        bool ascending = i == 0 || m.vc[i].seat > m.vc[i - 1].seat;
        if (!ascending || m.vc[i].seat >= MSG_REPLICAS_MAX)
            c2_rd_fail(&r);
    }
    m.nproposals = c2_rd_u32(&r);
    if (m.nproposals > MSG_WINDOW_MAX)
        return C2_E_PARSE;
    m.proposals = c2_rd_raw(&r, (size_t)m.nproposals * MSG_PROPOSAL_LEN);
    C2_TRY(c2_rd_finish(&r));
    *ret = m;
    return C2_E_OK;
}

/* ---- catching up ----------------------------------------------------------------------------- */

void
msg_write_status(struct c2_buf *out, const struct msg_head *h, const struct msg_status *s)
{
    msg_put_head(out, h, MSG_STATUS);
    c2_wr_u64(out, s->view);
    c2_wr_u8(out, s->phase);
    c2_wr_u64(out, s->wish);
    c2_wr_u64(out, s->stable);
    c2_wr_u64(out, s->executed);
    c2_wr_u64(out, s->committed_to);
    c2_wr_u64(out, s->wall_ns);
    c2_wr_u16(out, s->vcs);
    for (size_t i = 0; i < C2_ARRAY_LEN(s->window); i++)
        c2_wr_u64(out, s->window[i]);
    c2_wr_u8(out, (uint8_t)s->nwanted);
    for (uint32_t i = 0; i < s->nwanted; i++)
        put_digest(out, s->wanted[i]);
}

C2_RESULT
msg_read_status(struct c2_slice in, struct msg_status *ret)
{
    struct c2_rd r;
    C2_TRY(msg_body(in, MSG_STATUS, &r));
    ret->view = c2_rd_u64(&r);
    ret->phase = read_choice(&r, MSG_PHASE_QUARANTINE);
    ret->wish = c2_rd_u64(&r);
    ret->stable = c2_rd_u64(&r);
    ret->executed = c2_rd_u64(&r);
    ret->committed_to = c2_rd_u64(&r);
    ret->wall_ns = c2_rd_u64(&r);
    ret->vcs = c2_rd_u16(&r);
    for (size_t i = 0; i < C2_ARRAY_LEN(ret->window); i++)
        ret->window[i] = c2_rd_u64(&r);
    ret->nwanted = read_choice(&r, MSG_WANTED_MAX);
    for (uint32_t i = 0; i < ret->nwanted && c2_rd_ok(&r); i++)
        c2_rd_copy(&r, ret->wanted[i], MSG_DIGEST_LEN);
    return c2_rd_finish(&r);
}

static bool
is_body_kind(uint8_t kind)
{
    return kind == MSG_BODY_BATCH || kind == MSG_BODY_VIEW_CHANGE;
}

void
msg_write_fetch(struct c2_buf *out, const struct msg_head *h, const struct msg_fetch *f)
{
    msg_put_head(out, h, MSG_FETCH);
    c2_wr_u8(out, f->kind);
    put_digest(out, f->digest);
}

C2_RESULT
msg_read_fetch(struct c2_slice in, struct msg_fetch *ret)
{
    struct c2_rd r;
    C2_TRY(msg_body(in, MSG_FETCH, &r));
    struct msg_fetch f = { .kind = c2_rd_u8(&r) };
    c2_rd_copy(&r, f.digest, MSG_DIGEST_LEN);
    C2_TRY(c2_rd_finish(&r));
    if (!is_body_kind(f.kind))
        return C2_E_PARSE;
    *ret = f;
    return C2_E_OK;
}

void
msg_write_body(struct c2_buf *out, const struct msg_head *h, const struct msg_body *b)
{
    msg_put_head(out, h, MSG_BODY);
    c2_wr_u8(out, b->kind);
    c2_wr_bytes(out, b->bytes);
}

C2_RESULT
msg_read_body(struct c2_slice in, struct msg_body *ret)
{
    struct c2_rd r;
    C2_TRY(msg_body(in, MSG_BODY, &r));
    struct msg_body b = { .kind = c2_rd_u8(&r) };
    b.bytes = c2_rd_bytes(&r, MSG_BYTES_MAX);
    C2_TRY(c2_rd_finish(&r));
    if (!is_body_kind(b.kind))
        return C2_E_PARSE;
    *ret = b;
    return C2_E_OK;
}

void
msg_write_decided(struct c2_buf *out, const struct msg_head *h, const struct msg_decided *d)
{
    msg_put_head(out, h, MSG_DECIDED);
    c2_wr_u64(out, d->n);
    put_digest(out, d->digest);
    c2_wr_u8(out, (uint8_t)d->ncommits);
    c2_wr_raw(out, d->commits.data, d->commits.len);
    c2_wr_bytes(out, d->batch);
}

C2_RESULT
msg_read_decided(struct c2_slice in, struct msg_decided *ret)
{
    struct c2_rd r;
    C2_TRY(msg_body(in, MSG_DECIDED, &r));
    struct msg_decided d = { .n = c2_rd_u64(&r) };
    c2_rd_copy(&r, d.digest, MSG_DIGEST_LEN);
    d.ncommits = read_choice(&r, MSG_REPLICAS_MAX);
    d.commits = msg_rd_list(&r, d.ncommits);
    d.batch = c2_rd_bytes(&r, MSG_BATCH_MAX);
    C2_TRY(c2_rd_finish(&r));
    *ret = d;
    return C2_E_OK;
}

void
msg_write_stable(struct c2_buf *out, const struct msg_head *h, const struct msg_stable *s)
{
    msg_put_head(out, h, MSG_STABLE);
    msg_put_stable(out, s);
}

C2_RESULT
msg_read_stable(struct c2_slice in, struct msg_stable *ret)
{
    struct c2_rd r;
    C2_TRY(msg_body(in, MSG_STABLE, &r));
    return msg_get_stable(c2_slice(r.data, r.len), ret);
}

void
msg_write_forward(struct c2_buf *out, const struct msg_head *h, struct c2_slice request)
{
    msg_put_head(out, h, MSG_FORWARD);
    c2_wr_raw(out, request.data, request.len);
}

C2_RESULT
msg_read_forward(struct c2_slice in, struct c2_slice *ret_request)
{
    struct c2_rd r;
    C2_TRY(msg_body(in, MSG_FORWARD, &r));
    if (r.len < MSG_HEAD_LEN || r.len > MSG_REQUEST_MAX)
        return C2_E_PARSE;
    *ret_request = c2_slice(r.data, r.len);
    return C2_E_OK;
}
