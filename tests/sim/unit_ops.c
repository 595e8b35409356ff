/* SPDX-License-Identifier: MIT */
/*
 * Requests of the actors of scene_unit.c, and what must hold when they end.
 */
#include "tests/sim/unit_scene.h"

#include "base/alloc.h"
#include "base/str.h"
#include "base/wire.h"

#include <stdio.h>
#include <string.h>

void
unit_op_free(struct unit_op *op)
{
    op->a->op = NULL;
    c2_free(op);
}

/* ---- what must hold -------------------------------------------------------------------------- */

static bool
must_work(const struct unit_scene *s)
{
    return unit_model_holds(s) && (s->weather == SIM_CALM || s->healed);
}

static struct unit_op *
op_new(struct unit_actor *a, enum unit_verb verb)
{
    struct unit_scene *s = a->s;
    struct unit_op *op = c2_calloc(1, sizeof *op);
    C2_ASSERT(a->op == NULL);
    op->a = a;
    op->verb = verb;
    op->started_ns = s->w->now_ns;
    op->at_least = s->newest;
    op->any_ended = s->newest > 0;
    a->op = op;
    return op;
}

static void
ended(struct unit_op *op, const char *what, enum c2_err err)
{
    struct unit_scene *s = op->a->s;
    uint64_t took_ns = s->w->now_ns - op->started_ns;
    sim_trace(s->w, op->a->node->name, "%s: %s", what, c2_err_name(err));
    SIM_CHECK(s->w, took_ns <= OP_NS_MAX, "a %s took %llu s", what,
              (unsigned long long)(took_ns / C2_NS_PER_S));
}

/* The attempt whose bytes these are. */
static struct unit_written *
recognise(struct unit_scene *s, const struct c2_blob *b)
{
    SIM_CHECK(s->w, b->len >= 8, "content: nobody wrote %zu bytes", b->len);
    uint64_t index = c2_get_u64(b->data);
    SIM_CHECK(s->w, index < s->nwritten, "content: nobody wrote these bytes");
    struct unit_written *w = &s->written[index];
    SIM_CHECK(s->w, c2_slice_equal(c2_blob_slice(w->body), c2_blob_slice(b)),
              "content: wrong bytes of write %llu", (unsigned long long)index);
    return w;
}

static void
check_found(struct unit_op *op, const struct ds_unit_read *r)
{
    struct unit_scene *s = op->a->s;
    struct unit_written *w = recognise(s, r->data);
    unsigned long long version = (unsigned long long)r->found.version;
    sim_trace(s->w, op->a->node->name, "read version %llu", version);
    if (w->version == 0)
        w->version = r->found.version;
    SIM_CHECK(s->w, w->version == r->found.version, "content: write has versions %llu and %llu",
              (unsigned long long)w->version, version);
    SIM_CHECK(s->w, w->outcome != FENCED, "fenced: version %llu is visible", version);
    if (!unit_model_holds(s) || r->version != 0)
        return;
    SIM_CHECK(s->w, r->found.version >= op->at_least, "regular: %llu after %llu had ended", version,
              (unsigned long long)op->at_least);
    SIM_CHECK(s->w, r->found.version >= op->a->seen, "monotonic: %llu after %llu was read", version,
              (unsigned long long)op->a->seen);
    op->a->seen = r->found.version;
}

static void
read_done(struct ds_unit_read *r)
{
    struct unit_op *op = C2_CONTAINER_OF(r, struct unit_op, u.read);
    struct unit_scene *s = op->a->s;
    ended(op, "read", r->err);
    if (r->err == C2_E_OK) {
        check_found(op, r);
    } else {
        SIM_CHECK(s->w, r->err == C2_E_NOT_FOUND || r->err == C2_E_QUORUM || !unit_model_holds(s),
                  "a read failed with %s", c2_err_name(r->err));
        bool absent = r->err == C2_E_NOT_FOUND && r->version == 0;
        SIM_CHECK(s->w, !absent || !op->any_ended || !unit_model_holds(s),
                  "I15: a unit that was written is called absent");
        SIM_CHECK(s->w, r->err != C2_E_QUORUM || !must_work(s), "a read failed");
    }
    c2_blob_unref(r->data);
    unit_op_free(op);
}

size_t
unit_count_in(const struct sim_cloud *c, const char *part)
{
    size_t count = 0;
    for (size_t i = 0; i < c->count; i++)
        count += strstr(c->objects[i].key, part) != NULL;
    return count;
}

/* How many of these clouds really have the object of an attempt. */
static unsigned
count_held(const struct unit_scene *s, uint32_t clouds, char folder,
           const struct ds_unit_version *v)
{
    char part[64];
    char rnd[2 * DS_UNIT_RND_LEN + 1];
    unsigned held = 0;
    uint64_t newest_first = ~v->version;
    c2_hex_encode(v->rnd, sizeof v->rnd, rnd);
    snprintf(part, sizeof part, "/%c/%016llx-%s-", folder, (unsigned long long)newest_first, rnd);
    for (unsigned i = 0; i < s->config.n; i++)
        held += (clouds & 1u << i) != 0 && unit_count_in(&s->clouds->cloud[i], part) > 0;
    return held;
}

static void
check_acks(const struct unit_scene *s, uint32_t clouds, char folder,
           const struct ds_unit_version *v)
{
    unsigned least = folder == 'm' ? s->config.n - s->config.f : 2 * s->config.f + 1;
    SIM_CHECK(s->w, (unsigned)__builtin_popcount(clouds) >= least, "acks: too few of /%c/", folder);
    SIM_CHECK(s->w, !unit_model_holds(s) || count_held(s, clouds, folder, v) + s->config.f >= least,
              "acks: too few true ones of /%c/", folder);
}

static void
write_done(struct ds_unit_write *w)
{
    struct unit_op *op = C2_CONTAINER_OF(w, struct unit_op, u.write);
    struct unit_scene *s = op->a->s;
    struct unit_written *mine = &s->written[op->index];
    ended(op, "write", w->err);
    mine->ended_ns = s->w->now_ns;
    mine->outcome = w->err == C2_E_OK ? DONE : w->err == C2_E_FENCED ? FENCED : LOST;
    if (w->err == C2_E_OK) {
        SIM_CHECK(s->w, mine->version == 0 || mine->version == w->written.version,
                  "content: a write changes its version");
        mine->version = w->written.version;
        check_acks(s, w->published, 'm', &w->written);
        check_acks(s, w->written.placed, 'v', &w->written);
        SIM_CHECK(s->w, !unit_model_holds(s) || mine->version > op->at_least,
                  "order: %llu is written after %llu had ended", (unsigned long long)mine->version,
                  (unsigned long long)op->at_least);
        s->newest = C2_MAX(s->newest, mine->version);
    } else {
        SIM_CHECK(s->w, w->err == C2_E_QUORUM || w->err == C2_E_FENCED || !unit_model_holds(s),
                  "a write failed with %s", c2_err_name(w->err));
        SIM_CHECK(s->w, w->err == C2_E_FENCED || !must_work(s), "a write failed");
        SIM_CHECK(s->w, w->err != C2_E_FENCED || mine->version == 0,
                  "fenced: version %llu is visible", (unsigned long long)mine->version);
    }
    unit_op_free(op);
}

static void
versions_done(struct ds_unit_versions *v)
{
    struct unit_op *op = C2_CONTAINER_OF(v, struct unit_op, u.versions);
    struct unit_scene *s = op->a->s;
    ended(op, "versions", v->err);
    if (v->err == C2_E_OK && unit_model_holds(s))
        SIM_CHECK(s->w, v->items[0].version >= op->at_least, "regular: versions end at %llu",
                  (unsigned long long)v->items[0].version);
    SIM_CHECK(s->w, v->err != C2_E_NOT_FOUND || !op->any_ended || !unit_model_holds(s),
              "I15: a unit that was written is called absent");
    SIM_CHECK(s->w, v->err != C2_E_QUORUM || !must_work(s), "a list of versions failed");
    c2_free(v->items);
    unit_op_free(op);
}

static void
gc_done(struct ds_unit_gc *g)
{
    struct unit_op *op = C2_CONTAINER_OF(g, struct unit_op, u.gc);
    struct unit_scene *s = op->a->s;
    ended(op, "gc", g->err);
    sim_trace(s->w, op->a->node->name, "forgot %u versions, removed %zu objects", g->forgotten,
              g->removed);
    SIM_CHECK(s->w, g->err != C2_E_QUORUM || !must_work(s), "a collection failed");
    SIM_CHECK(s->w, g->err != C2_E_NOT_FOUND || !op->any_ended || !unit_model_holds(s),
              "I15: a unit that was written is called absent");
    unit_op_free(op);
}

static void
lock_done(struct ds_unit_lock *l)
{
    struct unit_op *op = C2_CONTAINER_OF(l, struct unit_op, u.lock);
    struct unit_scene *s = op->a->s;
    ended(op, op->verb == LOCK ? "lock" : "renew", l->err);
    SIM_CHECK(s->w, l->err != C2_E_QUORUM || !must_work(s), "a lock failed");
    for (unsigned i = 0; l->err == C2_E_OK && unit_model_holds(s) && i < s->nactors; i++) {
        const struct unit_actor *other = &s->actor[i];
        bool held = other != op->a && other->unit != NULL && ds_unit_locked(other->unit);
        SIM_CHECK(s->w, !held || !ds_unit_locked(op->a->unit), "exclusive: %s and %s",
                  other->node->name, op->a->node->name);
    }
    unit_op_free(op);
}

static void
unlock_done(struct ds_unit_unlock *l)
{
    struct unit_op *op = C2_CONTAINER_OF(l, struct unit_op, u.unlock);
    ended(op, "unlock", l->err);
    unit_op_free(op);
}

/* ---- operations ------------------------------------------------------------------------------ */

void
unit_start_write(struct unit_actor *a)
{
    struct unit_scene *s = a->s;
    if (s->nwritten == WRITES_MAX)
        return;
    struct unit_op *op = op_new(a, WRITE);
    struct unit_written *w = &s->written[s->nwritten];
    op->index = s->nwritten++;
    w->started_ns = s->w->now_ns;
    w->body = c2_blob_new(sim_rng_scale(&s->rng, 8, sim_rng_chance(&s->rng, 10) ? 300000 : 2000));
    sim_rng_fill(&s->rng, w->body->data, w->body->len);
    c2_put_u64(w->body->data, op->index);
    op->piece = c2_blob_slice(w->body);
    op->u.write = (struct ds_unit_write){ .data = &op->piece, .ndata = 1, .done = write_done };
    if (s->crashes_left > 0 && sim_rng_chance(&s->rng, 40)) {
        uint64_t about_ns = 10 * s->clouds->cloud[0].latency_ns;
        sim_arm(s->w, &a->dagger, s->w->now_ns + sim_rng_below(&s->rng, about_ns));
    }
    op->u.write.protocol = sim_rng_chance(&s->rng, 50) ? DS_UNIT_A : DS_UNIT_CA;
    if (sim_rng_chance(&s->rng, 20))
        op->u.write.keep = (unsigned)sim_rng_between(&s->rng, 1, 4);
    struct sim_life *before = sim_node_enter(a->node);
    ds_unit_write_start(a->unit, &op->u.write);
    sim_life_leave(before);
}

void
unit_start_read(struct unit_actor *a, uint64_t version)
{
    struct unit_op *op = op_new(a, READ);
    op->u.read = (struct ds_unit_read){ .version = version, .done = read_done };
    struct sim_life *before = sim_node_enter(a->node);
    ds_unit_read_start(a->unit, &op->u.read);
    sim_life_leave(before);
}

void
unit_start_versions(struct unit_actor *a)
{
    struct unit_op *op = op_new(a, VERSIONS);
    op->u.versions = (struct ds_unit_versions){ .done = versions_done };
    struct sim_life *before = sim_node_enter(a->node);
    ds_unit_versions_start(a->unit, &op->u.versions);
    sim_life_leave(before);
}

void
unit_start_gc(struct unit_actor *a, unsigned keep)
{
    struct unit_op *op = op_new(a, GC);
    op->u.gc = (struct ds_unit_gc){ .keep = keep, .done = gc_done };
    struct sim_life *before = sim_node_enter(a->node);
    ds_unit_gc_start(a->unit, &op->u.gc);
    sim_life_leave(before);
}

void
unit_start_lock(struct unit_actor *a, enum unit_verb verb, uint64_t wait_ns)
{
    struct unit_scene *s = a->s;
    struct unit_op *op = op_new(a, verb);
    op->u.lock = (struct ds_unit_lock){ .wait_ns = wait_ns, .done = lock_done };
    op->u.lock.lease_ns = sim_rng_between(&s->rng, LEASE_MIN_S, 4 * LEASE_MIN_S) * C2_NS_PER_S;
    struct sim_life *before = sim_node_enter(a->node);
    if (verb == LOCK)
        ds_unit_lock_start(a->unit, &op->u.lock);
    else
        ds_unit_renew_start(a->unit, &op->u.lock);
    sim_life_leave(before);
}

void
unit_start_unlock(struct unit_actor *a)
{
    struct unit_op *op = op_new(a, UNLOCK);
    op->u.unlock = (struct ds_unit_unlock){ .done = unlock_done };
    struct sim_life *before = sim_node_enter(a->node);
    ds_unit_unlock_start(a->unit, &op->u.unlock);
    sim_life_leave(before);
}
