/* SPDX-License-Identifier: MIT */
#include "metadata/local_group.h"

#include "base/alloc.h"
#include "metadata/cmd.h"

#define GROUP_REQS_MAX  1024
#define GROUP_BYTES_MAX (1u << 20) /* LMDB keeps the memory of all pages that one commit wrote */

static C2_RESULT
apply_one(struct local_group *g, struct replica_batch *b, const struct coord_req *r,
          struct c2_buf *reply)
{
    c2_buf_clear(&g->cmd);
    c2_buf_clear(reply);
    coord_txn_encode(r, &g->cmd);
    return g->app->ops->apply(b, g->time_ns, NULL, c2_buf_slice(&g->cmd), reply);
}

static C2_RESULT
apply_group(struct local_group *g, struct replica_batch *b)
{
    if (g->expire) {
        const struct coord_req r = { .verb = COORD_EXPIRE };
        C2_AUTO(c2_buf_done) struct c2_buf unused = { 0 };
        C2_TRY(apply_one(g, b, &r, &unused));
    }
    size_t i = 0;
    C2_LIST_FOREACH (&g->reqs, struct coord_req, r, link) {
        C2_TRY(apply_one(g, b, r, &g->replies[i++]));
    }
    return g->app->ops->commit(b);
}

static void
group_run(struct c2_work *w)
{
    struct local_group *g = C2_CONTAINER_OF(w, struct local_group, work);
    struct replica_batch *b = NULL;
    g->err = g->app->ops->begin(g->app, &b);
    if (g->err == C2_E_OK)
        g->err = apply_group(g, b);
    if (g->err == C2_E_OK) {
        g->events = b->events;
        b->events = (struct c2_buf){ 0 };
        g->events_lost = b->events_lost;
        g->durable = b->durable;
        g->deadline_ns = b->deadline_ns;
    }
    g->app->ops->end(b);
}

void
local_group_init(struct local_group *g, struct replica_app *app, void (*done)(struct c2_work *))
{
    g->app = app;
    g->work.run = group_run;
    g->work.done = done;
    c2_list_init(&g->reqs);
}

void
local_group_done(struct local_group *g)
{
    c2_buf_done(&g->cmd);
}

static size_t
estimate(const struct coord_req *r)
{
    size_t bytes = 64;
    for (size_t i = 0; i < r->nops; i++)
        bytes += r->ops[i].key.len + r->ops[i].value.len;
    return bytes;
}

void
local_group_form(struct local_group *g, struct c2_list *queue, uint64_t time_ns, bool expire)
{
    size_t bytes = 0;
    while (g->reqs.count < GROUP_REQS_MAX && bytes < GROUP_BYTES_MAX) {
        struct coord_req *r = C2_LIST_FIRST(queue, struct coord_req, link);
        if (r == NULL)
            break;
        c2_list_remove(queue, &r->link);
        c2_list_append(&g->reqs, &r->link);
        r->priv = g;
        bytes += estimate(r);
    }
    g->replies = c2_calloc(g->reqs.count, sizeof *g->replies);
    g->expire = expire;
    g->time_ns = time_ns;
}

void
local_group_settle(struct local_group *g, enum c2_err err, struct c2_list *queue,
                   struct c2_list *finished)
{
    size_t i = 0;
    C2_LIST_FOREACH (&g->reqs, struct coord_req, r, link) {
        c2_list_remove(&g->reqs, &r->link);
        if (err == C2_E_OK) {
            cmd_reply_take(r, &g->replies[i]);
        } else {
            r->err = err;
            c2_buf_done(&g->replies[i]);
        }
        i++;
        r->priv = NULL;
        if (r->verb == COORD_LOG_TRIM && r->err == C2_E_OK && r->more) {
            c2_list_prepend(queue, &r->link);
        } else {
            c2_list_append(finished, &r->link);
        }
    }
    c2_free(g->replies);
    g->replies = NULL;
    c2_buf_done(&g->events);
}
