/* SPDX-License-Identifier: MIT */
/*
 * The checked entry points: contracts are asserted and bounds enforced here once, so that no
 * implementation has to.
 */
#include "metadata/coord.h"

#include "base/alloc.h"
#include "metadata/cmd.h"

void
coord_req_done(struct coord_req *r)
{
    c2_free(r->entries);
    r->entries = NULL;
    r->nentries = 0;
    c2_buf_done(&r->reply);
}

static void
refused(struct c2_task *t)
{
    struct coord_req *r = C2_CONTAINER_OF(t, struct coord_req, task);
    r->done(r);
}

void
coord_submit(struct coord *c, struct coord_req *r)
{
    C2_ASSERT(r->done != NULL);
    C2_ASSERT(!c2_link_linked(&r->link));
    C2_ASSERT(r->entries == NULL && r->reply.data == NULL); /* coord_req_done before reuse */
    r->err = C2_E_OK;
    r->version = 0;
    r->cond_failed = 0;
    r->more = false;
    r->priv = NULL;
    if (r->deadline_ns == 0)
        r->deadline_ns = C2_NEVER;
    r->task.run = NULL;
    enum c2_err err = r->verb == COORD_EXPIRE ? C2_E_INVALID : cmd_check(r);
    if (err != C2_E_OK) {
        r->err = err;
        r->task.run = refused;
        c2_defer(c->env, &r->task);
        return;
    }
    if (r->verb == COORD_TXN)
        c->txns++;
    if (r->verb == COORD_GET || r->verb == COORD_RANGE)
        c->reads++;
    c->ops->submit(c, r);
}

void
coord_cancel(struct coord *c, struct coord_req *r)
{
    if (r->task.run != refused) /* else its answer is on the way */
        c->ops->cancel(c, r);
}

void
coord_watch(struct coord *c, struct coord_watch *w)
{
    C2_ASSERT(w->event != NULL && w->reload != NULL);
    C2_ASSERT(!c2_link_linked(&w->link) && w->prefix.len <= COORD_KEY_MAX);
    c->ops->watch(c, w);
}

void
coord_unwatch(struct coord *c, struct coord_watch *w)
{
    C2_ASSERT(c2_link_linked(&w->link));
    c->ops->unwatch(c, w);
}

void
coord_close(struct coord *c)
{
    if (c != NULL)
        c->ops->close(c);
}
