/* SPDX-License-Identifier: MIT */
/*
 * Which units there are: one list request per unit and seat at most, however many versions a unit
 * has, because each page is followed by a jump past the unit it ended in.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "depsky/unit_impl.h"

struct list {
    struct ds_unit_list *l; /* the caller's */
    struct unit_names names;
};

static void
listed(struct unit_names *n)
{
    struct list *op = C2_CONTAINER_OF(n, struct list, names);
    struct ds_client *c = n->c;
    struct ds_unit_list *l = op->l;
    l->err = n->err;
    l->nnames = n->nitems;
    if (l->err == C2_E_OK)
        l->names = c2_calloc(n->nitems, sizeof(*l->names));
    for (size_t i = 0; i < n->nitems; i++)
        snprintf(l->names[i], sizeof(l->names[i]), "%s", n->items[i].text);
    l->priv = NULL;
    unit_names_free(n);
    c2_free(op);
    ds_op_end(c);
    l->done(l);
}

void
ds_unit_list_start(struct ds_client *c, struct ds_unit_list *l)
{
    C2_ASSERT(l->done != NULL);
    struct list *op = c2_calloc(1, sizeof(*op));
    op->l = l;
    op->names.c = c;
    op->names.units = true;
    op->names.grace_ns = c->config->get_hedge_min_ns;
    op->names.done = listed;
    unit_root(c, op->names.prefix);
    l->priv = op;
    l->names = NULL;
    ds_op_begin(c);
    unit_names_start(&op->names);
}
