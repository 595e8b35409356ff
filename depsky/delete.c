/* SPDX-License-Identifier: MIT */
/*
 * Deleting objects: one DELETE_MANY per occupied seat. An absent key counts as deleted, so a round
 * can be repeated until every seat confirmed. A seat whose breaker is open is not waited for.
 */
#include "base/alloc.h"
#include "depsky/client.h"

struct delete
{
    struct ds_client *c;
    struct ds_delete *d; /* the caller's */
    struct c2_task task; /* nobody to ask */
    unsigned waiting;
    uint32_t wanted;   /* seats that must confirm */
    const char **keys; /* owned, with the texts */
    char *text;        /* owned */
};

static void finish(struct delete *op)
{
    struct ds_client *c = op->c;
    struct ds_delete *d = op->d;
    d->err = d->confirmed == op->wanted ? C2_E_OK : C2_E_QUORUM;
    d->priv = NULL;
    c2_free(op->keys);
    c2_free(op->text);
    c2_free(op);
    ds_op_end(c);
    d->done(d);
}

static void
run_task(struct c2_task *t)
{
    finish(C2_CONTAINER_OF(t, struct delete, task));
}

static void
arrived(struct ds_call *call)
{
    struct delete *op = call->owner;
    if (call->req.err == C2_E_OK)
        op->d->confirmed |= 1u << call->seat;
    if (--op->waiting == 0)
        finish(op);
}

static void write_keys(struct delete *op)
{
    const struct ds_delete *d = op->d;
    op->keys = c2_calloc(d->noids, sizeof(*op->keys));
    op->text = c2_alloc(d->noids * PROV_KEY_MAX);
    for (size_t i = 0; i < d->noids; i++) {
        char *key = op->text + i * PROV_KEY_MAX;
        ds_object_key(op->c, d->kind, d->oids[i], key);
        op->keys[i] = key;
    }
}

void
ds_delete_start(struct ds_client *c, struct ds_delete *d)
{
    C2_ASSERT(d->done != NULL);
    C2_ASSERT(d->noids <= PROV_DELETE_MANY_MAX);
    struct delete *op = c2_calloc(1, sizeof(*op));
    op->c = c;
    op->d = d;
    op->task.run = run_task;
    d->priv = op;
    d->confirmed = 0;
    ds_op_begin(c);
    write_keys(op);
    for (unsigned i = 0; i < c->n; i++) {
        bool gone = c->seat[i].use == DS_USE_GONE;
        d->confirmed |= gone ? 1u << i : 0;
        op->wanted |= gone || ds_seat_used(c, i) ? 1u << i : 0;
        if (!ds_seat_used(c, i))
            continue;
        if (c->seat[i].open || d->noids == 0)
            continue;
        struct ds_call *call = ds_call_new(c, i, PROV_DELETE_MANY, NULL);
        call->req.keys = op->keys;
        call->req.nkeys = d->noids;
        call->done = arrived;
        call->owner = op;
        op->waiting++;
        ds_call_start(call, c->config->get_timeout_ns);
    }
    if (d->noids == 0)
        d->confirmed = op->wanted;
    if (op->waiting == 0)
        c2_defer(c->env, &op->task);
}
