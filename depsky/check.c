/* SPDX-License-Identifier: MIT */
/*
 * Which seats hold their share of an object. Health of an object is the number of seats whose
 * share was verified, nothing less.
 */
#include "base/alloc.h"
#include "depsky/fetch.h"

struct check {
    struct ds_client *c;
    struct ds_check *k;  /* the caller's */
    struct c2_task task; /* nobody to ask */
    unsigned waiting;
};

static void
finish(struct check *op)
{
    struct ds_client *c = op->c;
    struct ds_check *k = op->k;
    k->priv = NULL;
    c2_free(op);
    ds_op_end(c);
    k->done(k);
}

static void
run_task(struct c2_task *t)
{
    finish(C2_CONTAINER_OF(t, struct check, task));
}

static void
fetched(struct ds_fetch *f)
{
    struct check *op = f->owner;
    struct ds_check *k = op->k;
    uint32_t bit = 1u << f->seat;
    k->bytes_read += f->bytes;
    if (f->err == C2_E_OK) {
        k->good |= bit;
        ds_health_verified(op->c, f->seat);
    } else if (f->err == C2_E_NOT_FOUND && (k->unsure || op->c->seat[f->seat].use != DS_USE_NEW)) {
        k->absent |= bit;
        if (k->seats != 0 && !k->unsure)
            ds_health_absent(op->c, f->seat);
    } else if (f->err == C2_E_CORRUPT) {
        k->bad |= bit;
    } else {
        k->unknown |= bit; /* also what is still to be brought to a new provider */
    }
    ds_fetch_free(f);
    if (--op->waiting == 0)
        finish(op);
}

void
ds_check_start(struct ds_client *c, struct ds_check *k)
{
    C2_ASSERT(k->done != NULL);
    struct check *op = c2_calloc(1, sizeof(*op));
    char key[PROV_KEY_MAX];
    op->c = c;
    op->k = k;
    op->task.run = run_task;
    k->priv = op;
    k->good = k->absent = k->bad = k->unknown = 0;
    k->bytes_read = 0;
    ds_object_key(c, k->kind, k->ref.oid, key);
    ds_op_begin(c);
    bool possible = ds_ref_possible(&k->ref);
    for (unsigned i = 0; i < c->n; i++) {
        if (k->seats != 0 && (k->seats & (1u << i)) == 0)
            continue;
        if (!ds_seat_used(c, i) || !possible) {
            k->unknown |= k->seats != 0 ? 1u << i : 0u;
            continue;
        }
        struct ds_fetch setup = { .c = c, .seat = i, .headers_only = k->headers_only };
        setup.ref = k->ref;
        setup.done = fetched;
        setup.owner = op;
        op->waiting++;
        ds_fetch_start(&setup, key, NULL);
    }
    if (op->waiting == 0)
        c2_defer(c->env, &op->task);
}
