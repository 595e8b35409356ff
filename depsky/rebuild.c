/* SPDX-License-Identifier: MIT */
/*
 * Rebuilding one share.
 *
 *   COPY ──good────────────────────► PUT ──► done
 *    │ absent, wrong, unreachable     ▲
 *    ▼                                │ right
 *   GATHER ──k shares──► RESHARE ─────┤
 *    │  ▲                             ▼ wrong
 *    │  └─── the liars are out ─── ACCUSE ──none lied──► CORRUPT
 *    └─ no seat left ──► NOT_FOUND, QUORUM
 *
 * COPY only with a source. It comes before GATHER unless k shares of the others are cheaper to read
 * than the source's one; then it is what is left when GATHER fails. What goes out was verified
 * against the object's root in either case, so a rebuilt share equals the lost one and nothing else
 * changes: no reference, no other share.
 *
 * The headers and tables of the k shares are verified as they arrive, their bodies are not: right
 * ones alone give a body that has the trusted row_root, so one hash of the result proves all. Only
 * when it does not are they hashed one by one (ACCUSE).
 */
#include "base/alloc.h"
#include "base/mark.h"
#include "base/sm.h"
#include "depsky/fetch.h"
#include "depsky/reshare.h"

enum { REBUILD_COPY, REBUILD_GATHER, REBUILD_RESHARE, REBUILD_ACCUSE, REBUILD_PUT };

static const struct c2_sm_state states[] = {
    [REBUILD_COPY] = { "copy", C2_SM_TO(REBUILD_PUT) | C2_SM_TO(REBUILD_GATHER) },
    [REBUILD_GATHER] = { "gather", C2_SM_TO(REBUILD_RESHARE) | C2_SM_TO(REBUILD_COPY) },
    [REBUILD_RESHARE] = { "reshare", C2_SM_TO(REBUILD_PUT) | C2_SM_TO(REBUILD_ACCUSE) },
    [REBUILD_ACCUSE] = { "accuse", C2_SM_TO(REBUILD_GATHER) },
    [REBUILD_PUT] = { "put", 0 },
};

struct rebuild {
    struct ds_client *c;
    struct ds_rebuild *r; /* the caller's */
    struct c2_sm sm;
    struct c2_task task; /* the first step */
    struct c2_work work;
    struct ds_reshare reshare;
    struct c2_blob *share; /* one reference; what is to be stored */
    uint32_t absent;       /* seats */
    uint32_t lied;         /* entries of good[]; set on the pool */
    uint32_t tried;        /* seats */
    bool copied;           /* the source has been asked */
    unsigned running;      /* fetches */
    unsigned ngood;
    struct ds_fetch *good[DS_K_MAX]; /* owned */
    char key[PROV_KEY_MAX];
};

static void
finish(struct rebuild *op, enum c2_err err)
{
    struct ds_client *c = op->c;
    struct ds_rebuild *r = op->r;
    C2_ASSERT(op->running == 0);
    r->err = err;
    r->priv = NULL;
    for (unsigned i = 0; i < op->ngood; i++)
        ds_fetch_free(op->good[i]);
    c2_blob_unref(op->share);
    c2_free(op);
    ds_op_end(c);
    r->done(r);
}

static void
put_done(struct ds_call *call)
{
    struct rebuild *op = call->owner;
    if (call->req.err == C2_E_OK)
        op->r->bytes_written = op->share->len;
    finish(op, call->req.err);
}

/* Not if_absent: what is there may be a damaged share, and the right one may replace itself. */
static void
put(struct rebuild *op)
{
    c2_sm_go(&op->sm, REBUILD_PUT);
    struct ds_call *call = ds_call_new(op->c, op->r->seat, PROV_PUT, op->key);
    call->req.body = op->share;
    call->background = true;
    call->done = put_done;
    call->owner = op;
    ds_call_start(call, op->c->config->put_timeout_ns);
}

static void step(struct rebuild *op);

static void
run_accuse(struct c2_work *w)
{
    struct rebuild *op = C2_CONTAINER_OF(w, struct rebuild, work);
    op->lied = 0;
    for (unsigned i = 0; i < op->ngood; i++) {
        const struct ds_fetch *f = op->good[i];
        struct c2_slice body = c2_slice(f->blob->data + f->sh.hdr_len, f->sh.row_len);
        op->lied |= ds_leaves_verify(body, f->leaves, 0) == C2_E_OK ? 0 : 1u << i;
    }
}

static void
accuse_done(struct c2_work *w)
{
    struct rebuild *op = C2_CONTAINER_OF(w, struct rebuild, work);
    unsigned left = 0;
    if (op->lied == 0) {
        finish(op, C2_E_CORRUPT); /* all shares are the writer's, and do not fit */
        return;
    }
    C2_MARK("rebuild: a share was wrong");
    for (unsigned i = 0; i < op->ngood; i++) {
        struct ds_fetch *f = op->good[i];
        if ((op->lied & 1u << i) == 0) {
            op->good[left++] = f;
            continue;
        }
        ds_health_corrupt(op->c, f->seat);
        ds_evidence_add(op->c, f->seat, op->key, op->r->ref.root, c2_blob_slice(f->blob));
        ds_fetch_free(f);
    }
    op->ngood = left;
    c2_sm_go(&op->sm, REBUILD_GATHER);
    step(op);
}

static void
accuse(struct rebuild *op)
{
    c2_sm_go(&op->sm, REBUILD_ACCUSE);
    op->work.run = run_accuse;
    op->work.done = accuse_done;
    c2_work(op->c->env, &op->work);
}

/* The first of the shares becomes the new one; others may have a reference to its bytes. */
static void
own_first(struct rebuild *op)
{
    struct ds_fetch *f = op->good[0];
    if (!c2_blob_is_shared(f->blob))
        return;
    struct c2_blob *mine = c2_blob_copy(f->blob->data, f->blob->len);
    f->leaves = mine->data + (f->leaves - f->blob->data);
    c2_blob_unref(f->blob);
    f->blob = op->reshare.blob[0] = mine;
}

static void
run_reshare(struct c2_work *w)
{
    struct rebuild *op = C2_CONTAINER_OF(w, struct rebuild, work);
    own_first(op);
    ds_codec_reshare(&op->reshare);
}

static void
reshare_done(struct c2_work *w)
{
    struct rebuild *op = C2_CONTAINER_OF(w, struct rebuild, work);
    op->share = op->reshare.out;
    if (op->reshare.err != C2_E_OK) {
        accuse(op);
        return;
    }
    for (unsigned i = 0; i < op->ngood; i++)
        ds_health_verified(op->c, op->good[i]->seat);
    put(op);
}

static void
reshare(struct rebuild *op)
{
    c2_sm_go(&op->sm, REBUILD_RESHARE);
    op->reshare.engine = op->c->config->engine;
    op->reshare.seat = (uint8_t)op->r->seat;
    for (unsigned i = 0; i < op->ngood; i++) {
        op->reshare.have[i] = &op->good[i]->sh;
        op->reshare.blob[i] = op->good[i]->blob;
    }
    op->work.run = run_reshare;
    op->work.done = reshare_done;
    c2_work(op->c->env, &op->work);
}

static void
fetched(struct ds_fetch *f)
{
    struct rebuild *op = f->owner;
    op->running--;
    op->r->bytes_read += f->bytes;
    if (f->err == C2_E_OK) {
        C2_ASSERT(op->ngood < op->c->k);
        op->good[op->ngood++] = f;
    } else {
        if (f->err == C2_E_NOT_FOUND)
            op->absent |= 1u << f->seat;
        ds_fetch_free(f);
    }
    step(op);
}

static struct ds_fetch
fetch_of(struct rebuild *op, unsigned seat, void (*done)(struct ds_fetch *f))
{
    struct ds_fetch setup = { .c = op->c, .seat = seat, .ref = op->r->ref };
    setup.done = done;
    setup.owner = op;
    return setup;
}

/* Seats where the object should be come first, best first; each is asked once. */
static bool
ask_next(struct rebuild *op)
{
    unsigned rank[DS_SEATS_MAX];
    unsigned ranked = ds_health_rank(op->c, DS_CLASS_GET, rank);
    uint32_t placed = op->r->placed;
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < ranked; i++) {
            uint32_t bit = 1u << rank[i];
            bool expected = placed == 0 || (placed & bit) != 0;
            if (expected != (pass == 0) || (op->tried & bit) != 0)
                continue;
            op->tried |= bit;
            op->running++;
            struct ds_fetch setup = fetch_of(op, rank[i], fetched);
            setup.unhashed = true;
            ds_fetch_start(&setup, op->key, NULL);
            return true;
        }
    }
    return false;
}

static void copy(struct rebuild *op);

static void
step(struct rebuild *op)
{
    struct ds_client *c = op->c;
    while (op->ngood + op->running < c->k && ask_next(op))
        continue;
    if (op->running > 0)
        return;
    if (op->ngood == c->k && op->r->seat >= op->good[0]->sh.n) {
        finish(op, C2_E_INVALID); /* the object is older than the seat */
    } else if (op->ngood == c->k) {
        reshare(op);
    } else if (op->r->source != NULL && !op->copied) {
        C2_MARK("rebuild: the leaving provider after all");
        c2_sm_go(&op->sm, REBUILD_COPY);
        copy(op);
    } else {
        /* Fewer than k of the other seats can have it. */
        finish(op, ds_bits(op->absent) >= c->n - c->k ? C2_E_NOT_FOUND : C2_E_QUORUM);
    }
}

static void
copied(struct ds_fetch *f)
{
    struct rebuild *op = f->owner;
    op->running--;
    op->r->bytes_read += f->bytes;
    if (f->err == C2_E_OK) {
        C2_MARK("rebuild: copied from the leaving provider");
        op->share = c2_blob_ref(f->blob);
        ds_fetch_free(f);
        put(op);
        return;
    }
    C2_MARK("rebuild: the leaving provider cannot give it");
    ds_fetch_free(f);
    c2_sm_go(&op->sm, REBUILD_GATHER);
    step(op);
}

static void
copy(struct rebuild *op)
{
    op->copied = true;
    op->running++;
    struct ds_fetch setup = fetch_of(op, op->r->seat, copied);
    ds_fetch_start(&setup, op->key, op->r->source);
}

/* k shares of seats that are well, by the prices of the configuration. */
static bool
gathering_is_cheaper(const struct rebuild *op)
{
    struct ds_client *c = op->c;
    unsigned rank[DS_SEATS_MAX];
    unsigned ranked = ds_health_rank(c, DS_CLASS_GET, rank);
    uint32_t placed = op->r->placed;
    uint64_t len = ds_share_len_max(c->k, op->r->ref.plain_len);
    unsigned found = 0;
    double sum = 0;
    for (unsigned i = 0; i < ranked && found < c->k; i++) {
        uint32_t bit = 1u << rank[i];
        if ((op->tried & bit) != 0 || (placed != 0 && (placed & bit) == 0) ||
            !ds_health_good(c, DS_CLASS_GET, rank[i]))
            continue;
        sum += prov_price_read(&c->seat[rank[i]].provider->price, len);
        found++;
    }
    return found == c->k && sum < prov_price_read(&op->r->source->price, len);
}

static void
run_task(struct c2_task *t)
{
    struct rebuild *op = C2_CONTAINER_OF(t, struct rebuild, task);
    if (!ds_ref_possible(&op->r->ref)) {
        finish(op, C2_E_INVALID);
        return;
    }
    if (!ds_seat_used(op->c, op->r->seat)) {
        finish(op, C2_E_UNREACHABLE); /* nowhere to put it */
        return;
    }
    if (op->r->source == NULL || gathering_is_cheaper(op)) {
        c2_sm_init(&op->sm, states, REBUILD_GATHER);
        step(op);
    } else {
        c2_sm_init(&op->sm, states, REBUILD_COPY);
        copy(op);
    }
}

void
ds_rebuild_start(struct ds_client *c, struct ds_rebuild *r)
{
    C2_ASSERT(r->done != NULL);
    C2_ASSERT(r->seat < c->n);
    struct rebuild *op = c2_calloc(1, sizeof(*op));
    op->c = c;
    op->r = r;
    op->task.run = run_task;
    op->tried = 1u << r->seat;
    r->priv = op;
    r->bytes_read = r->bytes_written = 0;
    ds_object_key(c, r->kind, r->ref.oid, op->key);
    ds_op_begin(c);
    c2_defer(c->env, &op->task);
}
