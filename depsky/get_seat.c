/* SPDX-License-Identifier: MIT */
/*
 * One seat of a read: at most two GETs, header with tables and row bytes, or one for both when
 * they lie close together. Row bytes wait for the seat's header, whose leaf hashes verify them on
 * the pool. Whatever is wrong with an answer fails the seat; another one takes its place.
 */
#include <string.h>

#include "base/log.h"
#include "base/mark.h"
#include "depsky/get.h"

#define NEAR_BYTES (256u << 10) /* rather read over this many bytes than ask twice */

bool
get_seat_active(const struct get_seat *s)
{
    return s->head != NULL || s->body != NULL || s->verifying || s->held != NULL;
}

static void
quiet(struct get_seat *s)
{
    if (!get_seat_active(s))
        c2_timer_stop(s->op->c->env, &s->hedge);
}

static void
drop_blob(struct get_seat *s)
{
    c2_blob_unref(s->blob);
    s->blob = NULL;
}

void
get_seat_forget_body(struct get_seat *s)
{
    ds_call_cancel(s->body);
    s->body = NULL;
    s->want = (struct ds_span){ 0, 0 };
    if (!s->verifying)
        drop_blob(s);
}

void
get_seat_stop(struct get_seat *s)
{
    c2_timer_stop(s->op->c->env, &s->hedge);
    ds_call_cancel(s->head);
    ds_call_cancel(s->body);
    s->head = s->body = NULL;
    c2_blob_unref(s->held);
    s->held = NULL;
    if (!s->verifying)
        drop_blob(s);
}

void
get_seat_done(struct get_seat *s)
{
    C2_ASSERT(!s->verifying);
    drop_blob(s);
    c2_blob_unref(s->have_blob);
    s->have_blob = NULL;
}

void
get_seat_fail(struct get_seat *s, enum c2_err err, const char *detail)
{
    struct get *op = s->op;
    uint32_t bit = 1u << s->index;
    c2_log(DEBUG, "get", "seat failed seat=%u key=%s err=%s detail=%s", s->index, op->key,
           c2_err_name(err), detail);
    get_seat_stop(s);
    s->failed = true;
    if (err == C2_E_NOT_FOUND) {
        s->absent = true;
        if ((op->g->placed & bit) == 0 || op->c->seat[s->index].use == DS_USE_NEW)
            return; /* nobody said that it should be there, or it is still to be brought */
        op->g->seats_bad |= bit;
        ds_health_absent(op->c, s->index);
    } else if (err == C2_E_CORRUPT) {
        s->corrupt = true;
        op->g->seats_bad |= bit;
        ds_health_corrupt(op->c, s->index);
    } else {
        op->g->seats_slow |= bit;
    }
}

static void
blame(struct get_seat *s, const struct c2_blob *blob)
{
    struct get *op = s->op;
    ds_evidence_add(op->c, s->index, op->key, op->trusted ? op->ref.root : NULL,
                    c2_blob_slice(blob));
}

/* ---- row bytes ------------------------------------------------------------------------- */

static void
run_verify(struct c2_work *w)
{
    struct get_seat *s = C2_CONTAINER_OF(w, struct get_seat, work);
    s->work_err = ds_leaves_verify(s->work_body, s->work_leaves, s->want.lo / DS_LEAF_SIZE);
}

static void
verify_done(struct c2_work *w)
{
    struct get_seat *s = C2_CONTAINER_OF(w, struct get_seat, work);
    struct get *op = s->op;
    s->verifying = false;
    if (op->finished) {
        get_job_over(op);
        return;
    }
    op->jobs--;
    if (s->work_err != C2_E_OK) {
        C2_MARK("get: a leaf does not match");
        blame(s, s->blob);
        get_seat_fail(s, C2_E_CORRUPT, "a leaf does not match its hash");
    } else {
        c2_blob_unref(s->have_blob);
        s->have_blob = s->blob;
        s->blob = NULL;
        s->have = (struct ds_row_bytes){ .data = s->work_body.data, .span = s->want };
        quiet(s);
    }
    get_step(op);
}

/* Once both the header and the bytes are there. */
static void
verify_when_ready(struct get_seat *s)
{
    struct get *op = s->op;
    if (s->blob == NULL || !get_seat_has_row(s) || s->verifying)
        return;
    C2_ASSERT(s->want.lo >= s->blob_lo && s->want.hi <= op->obj->layout.row_len);
    size_t from = s->skip + (s->want.lo - s->blob_lo);
    size_t len = s->want.hi - s->want.lo;
    bool fits = from <= s->blob->len && len <= s->blob->len - from;
    if (!fits || (s->whole && from + len != s->blob->len)) {
        C2_MARK("get: wrong length");
        blame(s, s->blob);
        get_seat_fail(s, C2_E_CORRUPT, "the share has another length");
        return;
    }
    s->work_body = c2_slice(s->blob->data + from, len);
    s->work_leaves = op->obj->leaves[s->index];
    s->work.run = run_verify;
    s->work.done = verify_done;
    s->verifying = true;
    op->jobs++;
    c2_work(op->c->env, &s->work);
}

/* ---- headers --------------------------------------------------------------------------- */

static bool
share_fits(const struct get_seat *s, const struct ds_share *sh)
{
    struct ds_ref ref = s->op->ref;
    if (!s->op->trusted) { /* the name gives sid and seq, nobody gives the rest */
        memcpy(ref.oid.rnd, sh->oid.rnd, sizeof(ref.oid.rnd));
        ref.plain_len = sh->plain_len;
    }
    return ds_share_belongs(s->op->c, sh, &ref, s->index);
}

/* Takes over the blob: a share from its first byte on, at least its header and tables. */
static void
accept_head(struct get_seat *s, struct c2_blob *blob)
{
    struct get *op = s->op;
    struct ds_share sh;
    struct ds_layout layout;
    const uint8_t *leaves;
    enum c2_err err = ds_share_verify(c2_blob_slice(blob), op->ref.root, &sh, &layout, &leaves);
    if (err != C2_E_OK || !share_fits(s, &sh)) {
        if (err == C2_E_OK)
            ds_layout_done(&layout);
        blame(s, blob);
        c2_blob_unref(blob);
        C2_MARK("get: a header does not match the root");
        get_seat_fail(s, C2_E_CORRUPT, "the header does not match the trusted root");
        return;
    }
    bool first = op->obj == NULL;
    if (first) {
        op->obj = ds_cache_add(&op->c->cache, &sh, &layout);
    } else {
        ds_layout_done(&layout);
    }
    ds_cache_add_row(&op->c->cache, op->obj, &sh, leaves);
    ds_health_verified(op->c, s->index);
    s->want_head = false;
    if (first)
        get_layout_known(op);
    if (s->whole)
        s->want = (struct ds_span){ 0, op->obj->layout.row_len };
    bool with_body = s->whole || (s->body == NULL && s->blob == NULL && s->want.lo != s->want.hi);
    if (with_body) {
        s->blob = blob;
        s->skip = op->obj->hdr_len;
        s->blob_lo = 0;
    } else {
        c2_blob_unref(blob);
    }
    verify_when_ready(s);
}

/* A share that agrees with itself; whether it is THE object, k seats must agree on. */
static void
hold(struct get_seat *s, struct c2_blob *blob)
{
    struct ds_share sh;
    struct ds_layout layout;
    const uint8_t *leaves;
    enum c2_err err = ds_share_verify(c2_blob_slice(blob), NULL, &sh, &layout, &leaves);
    if (err == C2_E_OK)
        ds_layout_done(&layout);
    if (err != C2_E_OK || !share_fits(s, &sh)) {
        blame(s, blob);
        c2_blob_unref(blob);
        get_seat_fail(s, C2_E_CORRUPT, "the header does not match itself");
        return;
    }
    s->held = blob;
    memcpy(s->held_root, sh.object_root, sizeof(s->held_root));
}

void
get_seat_adopt(struct get_seat *s)
{
    struct c2_blob *blob = s->held;
    s->held = NULL;
    accept_head(s, blob);
}

/* ---- calls ----------------------------------------------------------------------------- */

/* An answer that no correct seat gives to this question is as bad as wrong bytes. */
static enum c2_err
judge(enum c2_err err)
{
    return err == C2_E_TOO_LARGE || err == C2_E_RANGE ? C2_E_CORRUPT : err;
}

static struct c2_blob *
take_reply(struct ds_call *call)
{
    struct c2_blob *blob = call->req.reply;
    call->req.reply = NULL;
    return blob;
}

static void
head_arrived(struct ds_call *call)
{
    struct get_seat *s = call->owner;
    struct get *op = s->op;
    s->head = NULL;
    if (call->req.err != C2_E_OK) {
        get_seat_fail(s, judge(call->req.err), call->req.detail);
    } else if (!op->trusted) {
        hold(s, take_reply(call));
    } else {
        accept_head(s, take_reply(call));
    }
    if (!s->failed)
        quiet(s);
    get_step(op);
}

static void
body_arrived(struct ds_call *call)
{
    struct get_seat *s = call->owner;
    struct get *op = s->op;
    s->body = NULL;
    if (call->req.err == C2_E_RANGE && op->guessing) {
        s->want = (struct ds_span){ 0, 0 }; /* we guessed wrong; the header will tell */
    } else if (call->req.err != C2_E_OK) {
        get_seat_fail(s, judge(call->req.err), call->req.detail);
    } else {
        s->blob = take_reply(call);
        s->skip = 0;
        s->blob_lo = s->want.lo;
        verify_when_ready(s);
    }
    if (!s->failed)
        quiet(s);
    get_step(op);
}

static void
hedge_fired(struct c2_timer *t)
{
    struct get_seat *s = C2_CONTAINER_OF(t, struct get_seat, hedge);
    struct get *op = s->op;
    if (s->verifying || s->held != NULL)
        return; /* the seat has answered */
    const struct ds_call *call = s->head != NULL ? s->head : s->body;
    if (call != NULL && !ds_hedge_now(call, s->hedge_bytes, get_helpers(s), t))
        return;
    C2_MARK("get: a seat is late");
    s->late = true;
    op->g->seats_slow |= 1u << s->index;
    for (unsigned i = 0; i < op->c->n; i++) {
        const struct get_seat *other = &op->seat[i];
        if (other->have.data != NULL || (i != s->index && get_seat_has_row(other))) {
            ds_health_late(op->c, s->index);
            break;
        }
    }
    get_step(op);
}

/* One GET of [offset, offset + len); len 0 = to the end, at most `most` bytes. */
static struct ds_call *
ask(struct get_seat *s, struct ds_span range, size_t most, void (*done)(struct ds_call *call))
{
    struct get *op = s->op;
    struct ds_call *call = ds_call_new(op->c, s->index, PROV_GET, op->key);
    call->req.offset = range.lo;
    call->req.len = range.hi - range.lo;
    call->req.body_len_max = most;
    call->done = done;
    call->owner = s;
    ds_call_start(call, op->c->config->get_timeout_ns);
    return call;
}

static void
arm_hedge(struct get_seat *s, size_t bytes)
{
    struct ds_client *c = s->op->c;
    s->late = false;
    s->hedge_bytes = bytes;
    c2_timer_arm(c->env, &s->hedge, c2_now_ns(c->env) + ds_health_hedge_ns(c, DS_CLASS_GET, bytes));
}

void
get_seat_fetch_whole(struct get_seat *s)
{
    struct get *op = s->op;
    uint64_t plain = op->trusted ? op->ref.plain_len : DS_OBJECT_SIZE_MAX;
    uint32_t most = ds_share_len_max(op->c->k, plain);
    s->whole = true;
    s->want_head = true;
    s->head = ask(s, (struct ds_span){ 0, 0 }, most, head_arrived);
    arm_hedge(s, op->trusted ? most : DS_SMALL_BYTES + 1);
}

void
get_seat_fetch(struct get_seat *s, struct ds_span want)
{
    struct get *op = s->op;
    C2_ASSERT(!get_seat_active(s) && !s->failed);
    bool need_head = !get_seat_has_row(s);
    bool need_body = want.lo != want.hi;
    uint32_t tables = ds_share_tables_max(op->c->k, op->ref.plain_len);
    uint32_t body_at = DS_SHARE_HEADER_LEN + op->guess.nleaf * C2_SHA256_LEN;
    if (op->obj != NULL)
        body_at = op->obj->hdr_len;
    struct ds_span in_share = { body_at + want.lo, body_at + want.hi };
    s->want = want;
    s->want_head = need_head;
    arm_hedge(s, want.hi - want.lo);
    if (need_head && need_body && in_share.lo <= tables + NEAR_BYTES) {
        C2_MARK("get: header and data in one request");
        struct ds_span both = { 0, C2_MAX(tables, in_share.hi) };
        s->head = ask(s, both, both.hi, head_arrived);
        return;
    }
    if (need_head)
        s->head = ask(s, (struct ds_span){ 0, tables }, tables, head_arrived);
    if (need_body)
        s->body = ask(s, in_share, in_share.hi - in_share.lo, body_arrived);
}

void
get_seat_init(struct get_seat *s, struct get *op, unsigned index)
{
    s->op = op;
    s->index = index;
    s->hedge.fire = hedge_fired;
}
