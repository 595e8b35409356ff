/* SPDX-License-Identifier: MIT */
/*
 * Reading a unit (§3.3, §3.4) and what is known of its versions.
 *
 *   QUERY ──highest of n-f signed answers, never below what is known──► VALUE ──verified──► done
 *     ▲                                                                   │
 *     └──── the value is gone: is there a newer version? ─────────────────┘
 *
 * VALUE   A: one good replica, the best seat first; CA: f+1 good shares, the best seats first
 *         (ds_get). All bytes are verified against the hash in the signed metadata.
 *
 * A version that is in the metadata was stable before the metadata was written. So a value of
 * which too few blocks are left was perhaps collected meanwhile; then there is a newer one, and
 * the read begins anew. An older version is never given in its place.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/sm.h"
#include "depsky/unit_impl.h"

#define ROUNDS_MAX 8

enum read_state { READ_QUERY, READ_VALUE, READ_END };

static const struct c2_sm_state states[] = {
    [READ_QUERY] = { "query", C2_SM_TO(READ_VALUE) | C2_SM_TO(READ_END) },
    [READ_VALUE] = { "value", C2_SM_TO(READ_QUERY) | C2_SM_TO(READ_END) },
    [READ_END] = { "end", 0 },
};

struct read {
    struct ds_unit *u;
    struct ds_unit_read *r; /* the caller's */
    struct c2_sm sm;
    enum c2_err err; /* of the phase that ended last */
    unsigned rounds;
    struct c2_blob *data; /* owned */
    struct unit_query query;
    struct unit_get copy;   /* A */
    struct ds_get coded;    /* CA */
    char key[PROV_KEY_MAX]; /* CA */
    struct ds_unit_version version;
    struct c2_task task; /* an empty value */
};

static void
finish(struct read *op, enum c2_err err)
{
    struct ds_unit *u = op->u;
    struct ds_unit_read *r = op->r;
    c2_sm_go(&op->sm, READ_END);
    r->err = err;
    r->priv = NULL;
    if (err == C2_E_OK) {
        r->data = op->data;
        r->found = op->version;
    } else {
        c2_blob_unref(op->data);
    }
    c2_free(op);
    unit_request_end(u);
    r->done(r);
}

/* ---- QUERY ----------------------------------------------------------------------------- */

static void step(struct read *op);

static void
queried(struct unit_query *q)
{
    struct read *op = C2_CONTAINER_OF(q, struct read, query);
    op->err = q->err;
    step(op);
}

static void
query(struct read *op)
{
    op->rounds++;
    op->query.u = op->u;
    op->query.done = queried;
    unit_query_start(&op->query);
}

/* The version that was asked for, from the catalogue. */
static enum c2_err
choose(const struct ds_unit *u, const struct ds_unit_read *r, struct ds_unit_version *ret_version)
{
    const struct unit_meta *m = u->known;
    if (m->id.number < r->at_least)
        return C2_E_QUORUM; /* more than f clouds are not what they should be */
    for (unsigned i = 0; i < m->count; i++) {
        if (r->version == 0 || m->version[i].version == r->version) {
            *ret_version = m->version[i];
            return C2_E_OK;
        }
    }
    return C2_E_NOT_FOUND;
}

/* ---- VALUE ----------------------------------------------------------------------------- */

static void
copied(struct unit_get *g)
{
    struct read *op = C2_CONTAINER_OF(g, struct read, copy);
    op->err = g->err;
    op->data = g->data;
    step(op);
}

static void
decoded(struct ds_get *g)
{
    struct read *op = C2_CONTAINER_OF(g, struct read, coded);
    op->err = g->err;
    op->data = g->data;
    step(op);
}

static void
nothing_to_get(struct c2_task *t)
{
    struct read *op = C2_CONTAINER_OF(t, struct read, task);
    op->err = C2_E_OK;
    op->data = c2_blob_new(0);
    step(op);
}

static void
get_coded(struct read *op)
{
    const struct ds_unit_version *v = &op->version;
    struct unit_id id = { .number = v->version };
    memcpy(id.rnd, v->rnd, sizeof(id.rnd));
    memcpy(id.sig, v->sig, sizeof(id.sig));
    unit_key(op->u, UNIT_VALUE, &id, op->key);
    op->coded = (struct ds_get){ .key = op->key, .placed = v->placed, .done = decoded };
    op->coded.ref = (struct ds_ref){ .oid = unit_oid(v),
                                     .plain_len = v->size,
                                     .key_epoch = v->key_epoch,
                                     .domain_id = v->domain_id };
    memcpy(op->coded.ref.root, v->hash, sizeof(v->hash));
    ds_get_start(op->u->c, &op->coded);
}

static void
get_value(struct read *op)
{
    if (op->version.size == 0) {
        op->task = (struct c2_task){ .run = nothing_to_get };
        c2_defer(op->u->c->env, &op->task);
    } else if (op->version.protocol == DS_UNIT_CA) {
        get_coded(op);
    } else {
        op->copy.u = op->u;
        op->copy.version = &op->version;
        op->copy.done = copied;
        unit_get_start(&op->copy);
    }
}

/* ---- steps ----------------------------------------------------------------------------- */

static void
after_query(struct read *op)
{
    struct ds_unit_version v = { 0 };
    enum c2_err err = op->err;
    if (err == C2_E_OK)
        err = choose(op->u, op->r, &v);
    if (err == C2_E_OK && op->rounds > 1 && v.version == op->version.version)
        err = C2_E_QUORUM; /* published, and yet gone */
    if (err != C2_E_OK) {
        finish(op, err);
        return;
    }
    op->version = v;
    c2_sm_go(&op->sm, READ_VALUE);
    get_value(op);
}

static void
after_value(struct read *op)
{
    bool gone = op->err == C2_E_NOT_FOUND || op->err == C2_E_QUORUM;
    if (gone && op->rounds < ROUNDS_MAX) {
        C2_MARK("unit: the value is gone, is there a newer one?");
        c2_sm_go(&op->sm, READ_QUERY);
        query(op);
        return;
    }
    finish(op, gone ? C2_E_QUORUM : op->err);
}

static void
step(struct read *op)
{
    switch ((enum read_state)op->sm.state) {
    case READ_QUERY:
        after_query(op);
        return;
    case READ_VALUE:
        after_value(op);
        return;
    case READ_END:
        break;
    }
    C2_UNREACHABLE();
}

void
ds_unit_read_start(struct ds_unit *u, struct ds_unit_read *r)
{
    C2_ASSERT(r->done != NULL);
    struct read *op = c2_calloc(1, sizeof(*op));
    op->u = u;
    op->r = r;
    c2_sm_init(&op->sm, states, READ_QUERY);
    r->priv = op;
    r->data = NULL;
    r->found = (struct ds_unit_version){ 0 };
    unit_request_begin(u);
    query(op);
}

/* ---- versions -------------------------------------------------------------------------- */

struct versions {
    struct ds_unit *u;
    struct ds_unit_versions *v; /* the caller's */
    struct unit_query query;
};

static void
versions_known(struct unit_query *q)
{
    struct versions *op = C2_CONTAINER_OF(q, struct versions, query);
    struct ds_unit *u = op->u;
    struct ds_unit_versions *v = op->v;
    v->err = q->err;
    if (v->err == C2_E_OK && u->known->count == 0)
        v->err = C2_E_NOT_FOUND;
    if (v->err == C2_E_OK) {
        v->nitems = u->known->count;
        v->items = c2_calloc(v->nitems, sizeof(*v->items));
        memcpy(v->items, u->known->version, v->nitems * sizeof(*v->items));
    }
    v->priv = NULL;
    c2_free(op);
    unit_request_end(u);
    v->done(v);
}

void
ds_unit_versions_start(struct ds_unit *u, struct ds_unit_versions *v)
{
    C2_ASSERT(v->done != NULL);
    struct versions *op = c2_calloc(1, sizeof(*op));
    op->u = u;
    op->v = v;
    op->query.u = u;
    op->query.done = versions_known;
    v->priv = op;
    v->items = NULL;
    v->nitems = 0;
    unit_request_begin(u);
    unit_query_start(&op->query);
}
