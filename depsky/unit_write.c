/* SPDX-License-Identifier: MIT */
/*
 * Writing a unit (DepSky-A and DepSky-CA, §3.3 and §3.4), in the paper's order:
 *
 *   QUERY ──revision = highest known or claimed + 1──► VALUE ──stable──► META ──n-f acks──► done
 *     ▲ skipped while the lock is held and the latest is known (the paper's cached max_ver)
 *
 * VALUE   A: the value itself on n-f clouds; CA: its shares on k+f clouds (ds_put); an empty value
 *         is only its claim, an empty object on n-f clouds.
 * META    starts ONLY when the value is stable, and only if the lock is still ours then: a version
 *         that can be seen can be read, whatever f clouds do. The signed metadata of the revision
 *         goes to all clouds at once.
 *
 * A writer that stops in VALUE leaves a claim that nobody sees; one that stops in META leaves a
 * version that some reads may return and others not, until the next write, which is newer than
 * it: the value's name is its claim (unit_impl.h).
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/sm.h"
#include "depsky/unit_impl.h"

enum write_state { WRITE_QUERY, WRITE_VALUE, WRITE_META, WRITE_END };

static const struct c2_sm_state states[] = {
    [WRITE_QUERY] = { "query", C2_SM_TO(WRITE_VALUE) | C2_SM_TO(WRITE_END) },
    [WRITE_VALUE] = { "value", C2_SM_TO(WRITE_META) | C2_SM_TO(WRITE_END) },
    [WRITE_META] = { "meta", C2_SM_TO(WRITE_END) },
    [WRITE_END] = { "end", 0 },
};

struct write {
    struct ds_unit *u;
    struct ds_unit_write *w; /* the caller's */
    struct c2_sm sm;
    enum c2_err err; /* of the phase that ended last */
    uint64_t size;
    uint64_t tenure;   /* of the lock when it began */
    struct unit_id id; /* of the attempt */
    struct ds_unit_version version;
    struct unit_meta *meta; /* owned */
    struct unit_query query;
    struct unit_put put;    /* replicas, claims, metadata */
    struct ds_put coded;    /* CA */
    struct c2_blob *value;  /* A: all pieces together */
    struct c2_work work;    /* A: gathers and hashes them */
    char key[PROV_KEY_MAX]; /* of the value */
    struct c2_task task;
};

static void
finish(struct write *op, enum c2_err err)
{
    struct ds_unit *u = op->u;
    struct ds_unit_write *w = op->w;
    c2_sm_go(&op->sm, WRITE_END);
    w->err = err;
    w->priv = NULL;
    c2_blob_unref(op->value);
    c2_free(op->meta);
    c2_free(op);
    unit_writing_end(u);
    unit_request_end(u);
    w->done(w);
}

/* ---- VALUE ----------------------------------------------------------------------------- */

static void step(struct write *op);

static void
replicated(struct unit_put *p)
{
    struct write *op = C2_CONTAINER_OF(p, struct write, put);
    op->err = p->err;
    op->version.placed = p->placed;
    step(op);
}

static void
put_copy(struct write *op, struct c2_blob *body)
{
    struct unit_put *p = &op->put;
    *p = (struct unit_put){ .u = op->u, .body = body, .preferred = true, .done = replicated };
    memcpy(p->key, op->key, sizeof(p->key));
    if (op->size > 0)
        p->sha256 = op->version.hash;
    unit_put_start(p);
}

static void
run_gather(struct c2_work *work)
{
    struct write *op = C2_CONTAINER_OF(work, struct write, work);
    size_t at = 0;
    for (size_t i = 0; i < op->w->ndata; i++) {
        if (op->w->data[i].len > 0)
            memcpy(op->value->data + at, op->w->data[i].data, op->w->data[i].len);
        at += op->w->data[i].len;
    }
    c2_sha256(c2_blob_slice(op->value), op->version.hash);
}

static void
gathered(struct c2_work *work)
{
    struct write *op = C2_CONTAINER_OF(work, struct write, work);
    put_copy(op, op->value);
    op->value = NULL;
}

static void
coded(struct ds_put *p)
{
    struct write *op = C2_CONTAINER_OF(p, struct write, coded);
    /* More than f clouds claim that a fresh name exists: they do not store. */
    op->err = p->err == C2_E_EXISTS ? C2_E_QUORUM : p->err;
    op->version.placed = p->placed;
    op->version.key_epoch = p->ref.key_epoch;
    op->version.domain_id = p->ref.domain_id;
    memcpy(op->version.hash, p->ref.root, sizeof(op->version.hash));
    step(op);
}

static void
put_coded(struct write *op)
{
    op->coded = (struct ds_put){ .key = op->key,
                                 .oid = unit_oid(&op->version),
                                 .data = op->w->data,
                                 .ndata = op->w->ndata,
                                 .done = coded };
    ds_put_start(op->u->c, &op->coded);
}

static void
put_value(struct write *op)
{
    struct ds_unit *u = op->u;
    op->id = unit_next_id(u);
    unit_key(u, UNIT_VALUE, &op->id, op->key);
    op->version = (struct ds_unit_version){ .version = op->id.number,
                                            .protocol = op->w->protocol,
                                            .size = op->size,
                                            .time_ns = unit_wall_ns(u) };
    memcpy(op->version.rnd, op->id.rnd, sizeof(op->version.rnd));
    memcpy(op->version.sig, op->id.sig, sizeof(op->version.sig));
    memcpy(op->version.writer, u->public_key, DS_UNIT_PUBLIC_LEN);
    if (op->size == 0) {
        put_copy(op, c2_blob_new(0));
    } else if (op->w->protocol == DS_UNIT_CA) {
        put_coded(op);
    } else {
        op->value = c2_blob_new(op->size);
        op->work = (struct c2_work){ .run = run_gather, .done = gathered };
        c2_work(u->c->env, &op->work);
    }
}

/* ---- META ------------------------------------------------------------------------------ */

static void
published(struct unit_put *p)
{
    struct write *op = C2_CONTAINER_OF(p, struct write, put);
    op->err = p->err;
    op->w->published = p->placed;
    step(op);
}

static void
put_meta(struct write *op)
{
    struct ds_unit *u = op->u;
    struct unit_meta *m = op->meta;
    unsigned keep = op->w->keep == 0 ? DS_UNIT_VERSIONS_MAX : op->w->keep;
    unsigned old = C2_MIN(u->known->count, C2_MIN(keep, DS_UNIT_VERSIONS_MAX) - 1);
    m->id = op->id;
    m->time_ns = op->version.time_ns;
    memcpy(m->writer, u->public_key, sizeof(m->writer));
    m->version[0] = op->version;
    memcpy(&m->version[1], u->known->version, old * sizeof(m->version[0]));
    m->count = 1 + old;
    unit_meta_put(u, m, &op->put, published);
}

/* ---- steps ----------------------------------------------------------------------------- */

static void
after_value(struct write *op)
{
    enum c2_err fence = unit_may_write(op->u, op->tenure);
    if (op->err != C2_E_OK) {
        finish(op, op->err);
    } else if (fence != C2_E_OK) {
        C2_MARK("unit: the lock was lost before the metadata");
        finish(op, fence);
    } else {
        c2_sm_go(&op->sm, WRITE_META);
        put_meta(op);
    }
}

static void
after_meta(struct write *op)
{
    if (op->err == C2_E_OK) {
        unit_learn(op->u, op->meta, op->put.placed);
        op->w->written = op->version;
    } else {
        op->u->fresh = false; /* it may be the latest, or not */
    }
    finish(op, op->err);
}

static void
step(struct write *op)
{
    switch ((enum write_state)op->sm.state) {
    case WRITE_QUERY:
        if (op->err != C2_E_OK) {
            finish(op, op->err);
            return;
        }
        op->u->fresh = unit_lock_valid(op->u) && op->u->lock.number == op->tenure;
        c2_sm_go(&op->sm, WRITE_VALUE);
        put_value(op);
        return;
    case WRITE_VALUE:
        after_value(op);
        return;
    case WRITE_META:
        after_meta(op);
        return;
    case WRITE_END:
        break;
    }
    C2_UNREACHABLE();
}

static void
queried(struct unit_query *q)
{
    struct write *op = C2_CONTAINER_OF(q, struct write, query);
    op->err = q->err;
    step(op);
}

/* The lock may have been held by somebody else since we looked: fresh counts only with it. */
static void
run_task(struct c2_task *t)
{
    struct write *op = C2_CONTAINER_OF(t, struct write, task);
    struct ds_unit *u = op->u;
    if (u->fresh && unit_lock_valid(u)) {
        C2_MARK("unit: writes without asking first");
        step(op);
        return;
    }
    op->query.u = u;
    op->query.claims = true;
    op->query.done = queried;
    unit_query_start(&op->query);
}

static void
refuse(struct c2_task *t)
{
    struct write *op = C2_CONTAINER_OF(t, struct write, task);
    struct ds_unit *u = op->u;
    struct ds_unit_write *w = op->w;
    w->err = op->err;
    w->priv = NULL;
    c2_free(op->meta);
    c2_free(op);
    unit_request_end(u);
    w->done(w);
}

static enum c2_err
acceptable(const struct ds_unit_write *w, uint64_t *ret_size)
{
    uint64_t size = 0;
    for (size_t i = 0; i < w->ndata; i++) {
        if (w->data[i].len > DS_OBJECT_SIZE_MAX - size)
            return C2_E_TOO_LARGE;
        size += w->data[i].len;
    }
    *ret_size = size;
    return C2_E_OK;
}

void
ds_unit_write_start(struct ds_unit *u, struct ds_unit_write *w)
{
    C2_ASSERT(w->done != NULL);
    struct write *op = c2_calloc(1, sizeof(*op));
    op->u = u;
    op->w = w;
    op->meta = c2_calloc(1, sizeof(*op->meta));
    c2_sm_init(&op->sm, states, WRITE_QUERY);
    w->priv = op;
    w->published = 0;
    w->written = (struct ds_unit_version){ 0 };
    op->tenure = u->lock.number;
    unit_request_begin(u);
    op->err = acceptable(w, &op->size);
    if (op->err == C2_E_OK)
        op->err = unit_writing_begin(u);
    op->task.run = op->err == C2_E_OK ? run_task : refuse;
    c2_defer(u->c->env, &op->task);
}
