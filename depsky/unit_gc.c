/* SPDX-License-Identifier: MIT */
/*
 * Collecting the garbage of a unit, and deleting it.
 *
 *   QUERY ──► NAMES ──garbage──► CLAIM ──n-f acks──► META ──n-f acks──► PURGE ──► done
 *               └── nothing to do ───────────────────────────────────────────────► done
 *
 * The metadata goes first: a revision with the trimmed catalogue (or with the mark "deleted"),
 * claimed and published as if it were a write. Once n-f clouds have it, no reader that asks now can
 * be told of anything older, so all that is older than this revision and not in its catalogue can
 * go: values, metadata of earlier revisions, claims of writers that crashed. What a writer may
 * have begun since is newer and stays.
 *
 * Lists decide only what exists, never what is kept: a cloud that lies in its list makes us delete
 * keys that are not there, or leaves garbage behind.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/sm.h"
#include "depsky/unit_impl.h"

enum gc_state { GC_QUERY, GC_NAMES, GC_CLAIM, GC_META, GC_PURGE, GC_END };

static const struct c2_sm_state states[] = {
    [GC_QUERY] = { "query", C2_SM_TO(GC_NAMES) | C2_SM_TO(GC_END) },
    [GC_NAMES] = { "names", C2_SM_TO(GC_CLAIM) | C2_SM_TO(GC_PURGE) | C2_SM_TO(GC_END) },
    [GC_CLAIM] = { "claim", C2_SM_TO(GC_META) | C2_SM_TO(GC_END) },
    [GC_META] = { "meta", C2_SM_TO(GC_PURGE) | C2_SM_TO(GC_END) },
    [GC_PURGE] = { "purge", C2_SM_TO(GC_END) },
    [GC_END] = { "end", 0 },
};

struct gc {
    struct ds_unit *u;
    struct ds_unit_gc *g; /* the caller's */
    bool deleting;
    struct c2_sm sm;
    enum c2_err err; /* of the phase that ended last */
    uint64_t tenure;
    struct unit_meta *meta; /* owned: what is left afterwards */
    struct unit_query query;
    struct unit_names names;
    struct unit_put put;
    struct c2_task task;
};

static void
finish(struct gc *op, enum c2_err err)
{
    struct ds_unit *u = op->u;
    struct ds_unit_gc *g = op->g;
    c2_sm_go(&op->sm, GC_END);
    g->err = err;
    g->priv = NULL;
    unit_names_free(&op->names);
    c2_free(op->meta);
    c2_free(op);
    unit_writing_end(u);
    unit_request_end(u);
    g->done(g);
}

/* ---- what is garbage ------------------------------------------------------------------- */

static bool
in_catalogue(const struct unit_meta *m, const struct unit_id *id)
{
    for (unsigned i = 0; i < m->count; i++) {
        if (m->version[i].version == id->number &&
            memcmp(m->version[i].rnd, id->rnd, sizeof(id->rnd)) == 0)
            return true;
    }
    return false;
}

/* In the light of the metadata m, of which n-f clouds know. */
static bool
is_garbage(const struct gc *op, const struct unit_meta *m, const char *key)
{
    const struct ds_unit *u = op->u;
    struct unit_id id;
    size_t at = strlen(op->names.prefix);
    if (strlen(key) < at + 2 || key[at + 1] != '/' || !unit_id_parse(key + at + 2, &id))
        return false;
    if (key[at] == UNIT_LOCK) {
        uint64_t now = c2_now_ns(u->c->env) + op->names.clock_low;
        return id.number < now && now - id.number > u->skew_ns;
    }
    if (id.number >= m->id.number) /* its own, or of a writer whom we do not know */
        return false;
    return key[at] == UNIT_META || (key[at] == UNIT_VALUE && !in_catalogue(m, &id));
}

/* Whether a new revision would make anything garbage but locks. */
static bool
needs_revision(const struct gc *op)
{
    const struct unit_meta *known = op->u->known;
    struct unit_meta *after = c2_alloc(sizeof(*after));
    size_t at = strlen(op->names.prefix);
    bool needed = op->g->forgotten > 0 || (op->deleting && !known->deleted);
    *after = *op->meta;
    after->id.number = op->u->used + 1;
    for (size_t i = 0; i < op->names.nitems && !needed; i++) {
        const char *key = op->names.items[i].text;
        struct unit_id id;
        needed = key[at] != UNIT_LOCK && is_garbage(op, after, key) &&
                 unit_id_parse(key + at + 2, &id) && !unit_id_equal(&id, &known->id);
    }
    c2_free(after);
    return needed;
}

/* ---- phases ---------------------------------------------------------------------------- */

static void step(struct gc *op);

static void
queried(struct unit_query *q)
{
    struct gc *op = C2_CONTAINER_OF(q, struct gc, query);
    op->err = q->err;
    step(op);
}

static void
listed(struct unit_names *n)
{
    struct gc *op = C2_CONTAINER_OF(n, struct gc, names);
    op->err = n->err;
    step(op);
}

static void
list(struct gc *op)
{
    struct ds_unit *u = op->u;
    op->names.c = u->c;
    op->names.grace_ns = u->c->config->get_hedge_min_ns;
    op->names.done = listed;
    unit_root(u->c, op->names.prefix);
    size_t len = strlen(op->names.prefix);
    memcpy(op->names.prefix + len, u->name, strlen(u->name));
    memcpy(op->names.prefix + len + strlen(u->name), "/", 2);
    unit_names_start(&op->names);
}

static void
put_done(struct unit_put *p)
{
    struct gc *op = C2_CONTAINER_OF(p, struct gc, put);
    op->err = p->err;
    step(op);
}

static void
claim(struct gc *op)
{
    struct ds_unit *u = op->u;
    op->meta->id = unit_next_id(u);
    op->meta->time_ns = unit_wall_ns(u);
    memcpy(op->meta->writer, u->public_key, sizeof(op->meta->writer));
    op->put = (struct unit_put){ .u = u, .body = c2_blob_new(0), .done = put_done };
    unit_key(u, UNIT_VALUE, &op->meta->id, op->put.key);
    unit_put_start(&op->put);
}

static void
purged(void *arg, uint32_t confirmed, bool all)
{
    struct gc *op = arg;
    (void)all;
    op->g->confirmed = confirmed;
    step(op);
}

static void
purge(struct gc *op)
{
    struct unit_names *n = &op->names;
    char **keys = c2_calloc(n->nitems, sizeof(*keys));
    size_t nkeys = 0;
    for (size_t i = 0; i < n->nitems; i++) {
        if (!is_garbage(op, op->meta, n->items[i].text))
            continue;
        keys[nkeys++] = n->items[i].text;
        n->items[i].text = NULL;
    }
    op->g->removed = nkeys;
    c2_sm_go(&op->sm, GC_PURGE);
    unit_purge(op->u->c, keys, nkeys, purged, op);
}

/* ---- steps ----------------------------------------------------------------------------- */

static void
after_query(struct gc *op)
{
    const struct unit_meta *known = op->u->known;
    unsigned keep = op->deleting ? 0 : op->g->keep;
    if (op->err == C2_E_OK && op->u->used == 0)
        op->err = C2_E_NOT_FOUND;
    if (op->err != C2_E_OK) {
        finish(op, op->err);
        return;
    }
    op->meta->count = C2_MIN(known->count, keep);
    op->meta->deleted = op->meta->count == 0;
    op->meta->id = known->id;
    memcpy(op->meta->version, known->version, op->meta->count * sizeof(known->version[0]));
    op->g->forgotten = known->count - op->meta->count;
    c2_sm_go(&op->sm, GC_NAMES);
    list(op);
}

static void
after_names(struct gc *op)
{
    if (op->err != C2_E_OK) {
        finish(op, op->err);
    } else if (needs_revision(op)) {
        c2_sm_go(&op->sm, GC_CLAIM);
        claim(op);
    } else {
        C2_MARK("unit: nothing to collect");
        purge(op);
    }
}

static void
after_claim(struct gc *op)
{
    enum c2_err fence = unit_may_write(op->u, op->tenure);
    if (op->err != C2_E_OK || fence != C2_E_OK) {
        finish(op, op->err != C2_E_OK ? op->err : fence);
        return;
    }
    c2_sm_go(&op->sm, GC_META);
    unit_meta_put(op->u, op->meta, &op->put, put_done);
}

static void
after_meta(struct gc *op)
{
    if (op->err != C2_E_OK) {
        op->u->fresh = false;
        finish(op, op->err);
        return;
    }
    unit_learn(op->u, op->meta, op->put.placed);
    purge(op);
}

static void
step(struct gc *op)
{
    switch ((enum gc_state)op->sm.state) {
    case GC_QUERY:
        after_query(op);
        return;
    case GC_NAMES:
        after_names(op);
        return;
    case GC_CLAIM:
        after_claim(op);
        return;
    case GC_META:
        after_meta(op);
        return;
    case GC_PURGE:
        finish(op, C2_E_OK);
        return;
    case GC_END:
        break;
    }
    C2_UNREACHABLE();
}

/* ---- start ----------------------------------------------------------------------------- */

static void
run_task(struct c2_task *t)
{
    struct gc *op = C2_CONTAINER_OF(t, struct gc, task);
    op->query.u = op->u;
    op->query.claims = true;
    op->query.done = queried;
    unit_query_start(&op->query);
}

static void
refuse(struct c2_task *t)
{
    struct gc *op = C2_CONTAINER_OF(t, struct gc, task);
    struct ds_unit *u = op->u;
    struct ds_unit_gc *g = op->g;
    g->err = op->err;
    g->priv = NULL;
    c2_free(op->meta);
    c2_free(op);
    unit_request_end(u);
    g->done(g);
}

static void
start(struct ds_unit *u, struct ds_unit_gc *g, bool deleting)
{
    C2_ASSERT(g->done != NULL);
    C2_ASSERT(deleting || (g->keep >= 1 && g->keep <= DS_UNIT_VERSIONS_MAX));
    struct gc *op = c2_calloc(1, sizeof(*op));
    op->u = u;
    op->g = g;
    op->deleting = deleting;
    op->tenure = u->lock.number;
    op->meta = c2_calloc(1, sizeof(*op->meta));
    c2_sm_init(&op->sm, states, GC_QUERY);
    g->priv = op;
    g->forgotten = 0;
    g->removed = 0;
    g->confirmed = 0;
    unit_request_begin(u);
    op->err = unit_writing_begin(u);
    op->task.run = op->err == C2_E_OK ? run_task : refuse;
    c2_defer(u->c->env, &op->task);
}

void
ds_unit_gc_start(struct ds_unit *u, struct ds_unit_gc *g)
{
    start(u, g, false);
}

void
ds_unit_delete_start(struct ds_unit *u, struct ds_unit_gc *g)
{
    start(u, g, true);
}
