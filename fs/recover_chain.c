/* SPDX-License-Identifier: MIT */
/*
 * From the checkpoint to the end of the journal.
 *
 * First the way: the newest generation whose first object is there says where it goes on in an
 * older one, and so back to the checkpoint. What an older generation has beyond the point where
 * another one goes on is not part of the history (it was shipped again, fs/ship.c).
 *
 * Then the objects in order, several in flight:
 *
 *   fetched ─► HELD until the next one is there ─► confirmed by the next one's hash ─► applied
 *                                   └─ not ─► read again by the reference that the next one has
 *
 * Two machines that wanted the same slot can leave two objects in it, each in two clouds, when
 * neither was acknowledged; which of them is history is said by what was written after it.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "fs/recover_impl.h"

static void pump(struct recovery *v);
static void next_generation(struct recovery *v);

/* ---- the way -------------------------------------------------------------------------------- */

/* Binary search: the list is sorted. */
static const struct ds_list_item *
find_item(const struct recovery *v, uint64_t generation, uint64_t seq)
{
    size_t lo = 0, hi = v->journal.nitems;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct ds_list_item *i = &v->journal.items[mid];
        if (i->sid < generation || (i->sid == generation && i->seq < seq))
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == v->journal.nitems)
        return NULL;
    const struct ds_list_item *i = &v->journal.items[lo];
    bool same = i->sid == generation && i->seq == seq;
    return same && recover_counts(v, i) ? i : NULL;
}

/* The last object of a generation that counts, or NULL. */
static const struct ds_list_item *
last_item(const struct recovery *v, uint64_t generation)
{
    for (size_t k = v->journal.nitems; k > 0; k--) {
        const struct ds_list_item *i = &v->journal.items[k - 1];
        if (i->sid < generation)
            return NULL;
        if (i->sid == generation && recover_counts(v, i))
            return i;
    }
    return NULL;
}

static void
add_step(struct recovery *v, uint64_t generation, uint64_t seq)
{
    const struct ds_list_item *i = find_item(v, generation, seq);
    C2_ASSERT(v->nsteps <= v->journal.nitems);
    v->steps[v->nsteps++] = (struct recover_step){ .generation = generation,
                                                   .seq = seq,
                                                   .seats = i == NULL ? 0 : i->seats };
}

/* The objects [from, to) of a generation; false when one is missing, which is then the last step:
 * reading it will tell. */
static bool
add_steps(struct recovery *v, uint64_t generation, uint64_t from, uint64_t to)
{
    for (uint64_t seq = from; seq < to; seq++) {
        add_step(v, generation, seq);
        if (v->steps[v->nsteps - 1].seats == 0)
            return false;
    }
    return true;
}

static void
way_found(struct recovery *v)
{
    struct recover_report *rep = &v->r->report;
    uint64_t generation = v->at.generation, from = v->at.seq;
    bool whole = true;
    v->steps = c2_calloc(v->journal.nitems + 1, sizeof(*v->steps));
    for (size_t k = v->nbases; whole && k > 0; k--) {
        const struct ship_position *b = &v->bases[k - 1];
        if (ship_position_compare(b, &v->at) < 0 && k == v->nbases)
            v->at = *b; /* the checkpoint has more than this generation begins with */
        else
            whole = add_steps(v, generation, from, b->seq);
        generation = v->generations[k - 1];
        from = 0;
    }
    const struct ds_list_item *last = last_item(v, generation);
    if (whole && last != NULL && last->seq >= from)
        (void)add_steps(v, generation, from, last->seq + 1);
    rep->objects_max = v->nsteps;
    v->walking = true;
    pump(v);
}

/* A generation is on the way: where does it go on? */
static void
add_generation(struct recovery *v, const struct ship_object *o)
{
    v->bases = c2_realloc(v->bases, v->nbases + 1, sizeof(*v->bases));
    v->generations = c2_realloc(v->generations, v->nbases + 1, sizeof(*v->generations));
    v->bases[v->nbases] = o->base;
    v->generations[v->nbases++] = o->generation;
    v->look = o->base.generation;
    v->must = true;
    next_generation(v);
}

static void
without_generation(struct recovery *v, const char *what, enum c2_err err)
{
    if (!recover_loss(v, what, v->look, 0, err))
        return;
    v->broken = true;
    v->nbases = 0; /* what newer ones go on from is lost */
    v->must = false;
    v->look--;
    next_generation(v);
}

static void
got_first(struct ds_get *g)
{
    struct recovery *v = C2_CONTAINER_OF(g, struct recovery, get);
    struct ship_object o = { .kind = SHIP_LOG };
    enum c2_err err = g->err;
    if (err == C2_E_NOT_FOUND && !v->must) {
        C2_MARK("recover: a generation that was never begun");
        v->look--;
        next_generation(v);
        return;
    }
    if (err == C2_E_OK)
        err = recover_decode(v, g->data, v->look, 0, &o);
    if (err == C2_E_OK && o.base.generation >= v->look)
        err = C2_E_CORRUPT;
    if (err != C2_E_OK)
        without_generation(v, "cannot be read", err);
    else
        add_generation(v, &o);
}

static void
next_generation(struct recovery *v)
{
    for (size_t k = v->journal.nitems; !v->must && k > 0; k--) {
        const struct ds_list_item *i = &v->journal.items[k - 1];
        if (i->sid <= v->look && recover_counts(v, i)) {
            v->look = i->sid;
            break;
        }
        if (k == 1)
            v->look = 0;
    }
    if (v->look <= v->at.generation) {
        way_found(v);
        return;
    }
    const struct ds_list_item *i = find_item(v, v->look, 0);
    if (i == NULL) {
        without_generation(v, "is missing", C2_E_NOT_FOUND);
        return;
    }
    struct ds_ref ref = { .oid = { .sid = v->look, .seq = 0 } };
    recover_get(v, DS_KIND_JOURNAL, &ref, i->seats, got_first);
}

void
recover_chain_start(struct recovery *v)
{
    v->look = v->journal.nitems == 0 ? 0 : UINT64_MAX;
    next_generation(v);
}

/* ---- applying ------------------------------------------------------------------------------- */

static void
walk_over(struct recovery *v)
{
    v->walking = false;
    c2_blob_unref(v->held_blob);
    v->held_blob = NULL;
    recover_take_over(v);
}

/* The journal ends before the held object or after it. */
static void
stop_at(struct recovery *v, const char *what, const struct recover_step *s, enum c2_err err)
{
    v->walking = false;
    if (!recover_loss(v, what, s->generation, s->seq, err))
        return;
    v->broken = true;
    walk_over(v);
}

static void
held_applied(struct recovery *v)
{
    struct recover_report *rep = &v->r->report;
    const struct ship_object *o = &v->held;
    v->applying = false;
    v->version = C2_MAX(v->version, o->version);
    v->at = (struct ship_position){
        .generation = o->generation, .seq = o->seq + 1, .ref = v->held_ref, .version = o->version
    };
    memcpy(v->at.hash, o->hash, sizeof(v->at.hash));
    if (o->seq == 0)
        memcpy(v->device, o->device, sizeof(v->device));
    rep->objects++;
    rep->log_bytes += o->log.len;
    rep->version = v->version;
    rep->time_ns = C2_MAX(rep->time_ns, o->time_ns);
    c2_blob_unref(v->held_blob);
    v->held_blob = NULL;
    v->after_apply(v);
}

/* The signer may change with the generation only; a seal is somebody else's by nature. */
static bool
signer_ok(const struct recovery *v, const struct ship_object *o)
{
    return o->seq == 0 || o->kind == SHIP_SEAL || v->at.generation != o->generation ||
           !v->device_known || memcmp(v->device, o->device, sizeof(v->device)) == 0;
}

bool
recover_apply_held(struct recovery *v, void (*after)(struct recovery *v))
{
    const struct ship_object *o = &v->held;
    struct c2_slice log = ship_log_after(o->log, v->version);
    if (!recover_continues(v, o) || !signer_ok(v, o) || o->base.version > v->version)
        return false;
    if (o->seq == 0)
        v->device_known = true;
    v->applying = true;
    v->after_apply = after;
    if (log.len == 0)
        held_applied(v);
    else
        recover_apply_start(v, log, false, held_applied);
    return true;
}

static void
hold_successor(struct recovery *v)
{
    struct recover_fetch *f = &v->fetch[v->next_step % RECOVER_WINDOW];
    v->held = v->successor;
    v->held_ref = f->get.ref_found;
    v->held_blob = f->get.data;
    f->get.data = NULL;
    f->used = false;
    v->exact = false;
    v->next_step++;
    pump(v);
}

/* ---- walking -------------------------------------------------------------------------------- */

static void
got_again(struct ds_get *g)
{
    struct recovery *v = C2_CONTAINER_OF(g, struct recovery, get);
    const struct recover_step *s = &v->steps[v->next_step];
    struct ship_object o = { .kind = SHIP_LOG };
    enum c2_err err = g->err;
    if (err == C2_E_OK)
        err = recover_decode(v, g->data, v->held.generation, v->held.seq, &o);
    if (err == C2_E_OK && memcmp(o.hash, v->successor.base.hash, sizeof(o.hash)) != 0)
        err = C2_E_CORRUPT;
    if (err != C2_E_OK) {
        stop_at(v, "does not continue what is before it", s, err);
        return;
    }
    C2_MARK("recover: the other object of a slot");
    c2_blob_unref(v->held_blob);
    v->held = o;
    v->held_ref = g->ref_found;
    v->held_blob = g->data;
    g->data = NULL;
    v->exact = true;
    pump(v);
}

/* The held object is the one that the successor goes on from. */
static bool
confirmed(const struct recovery *v)
{
    const struct ship_object *o = &v->successor, *h = &v->held;
    return o->base.generation == h->generation && o->base.seq == h->seq + 1 &&
           memcmp(o->base.hash, h->hash, sizeof(h->hash)) == 0;
}

/* The next object is there: what it says about the held one. */
static void
step_fetched(struct recovery *v, struct recover_fetch *f)
{
    const struct recover_step *s = &v->steps[v->next_step];
    bool last = v->next_step + 1 == v->nsteps;
    enum c2_err err = f->get.err;
    if (err == C2_E_NOT_FOUND && last && s->seats != 0) {
        C2_MARK("recover: the last object was never acknowledged");
        v->nsteps--;
        pump(v);
        return;
    }
    if (err == C2_E_OK)
        err = recover_decode(v, f->get.data, s->generation, s->seq, &v->successor);
    if (err != C2_E_OK) {
        v->nsteps = v->next_step; /* the held one is the last, then */
        v->cut = true;
        v->cut_err = err;
        pump(v);
        return;
    }
    if (v->held_blob == NULL) {
        hold_successor(v);
    } else if (confirmed(v)) {
        if (!recover_apply_held(v, hold_successor))
            stop_at(v, "does not continue what is before it", s - 1, C2_E_CORRUPT);
    } else if (v->exact || v->successor.base.generation != v->held.generation ||
               v->successor.base.seq != v->held.seq + 1) {
        stop_at(v, "does not continue what is before it", s, C2_E_CORRUPT);
    } else {
        v->rereading = true;
        recover_get(v, DS_KIND_JOURNAL, &v->successor.base.ref, 0, got_again);
    }
}

static void
fetched(struct ds_get *g)
{
    struct recover_fetch *f = C2_CONTAINER_OF(g, struct recover_fetch, get);
    struct recovery *v = f->v;
    f->done = true;
    v->running--;
    if (v->ending)
        recover_end(v);
    else
        pump(v);
}

static void
fetch_more(struct recovery *v)
{
    while (v->next_fetch < v->nsteps && v->next_fetch < v->next_step + RECOVER_WINDOW) {
        const struct recover_step *s = &v->steps[v->next_fetch];
        struct recover_fetch *f = &v->fetch[v->next_fetch % RECOVER_WINDOW];
        v->next_fetch++;
        f->used = true;
        f->done = false;
        f->get = (struct ds_get){ .kind = DS_KIND_JOURNAL,
                                  .ref = { .oid = { .sid = s->generation, .seq = s->seq } },
                                  .self_certified = true,
                                  .placed = s->seats,
                                  .done = fetched };
        v->running++;
        ds_get_start(v->r->ds, &f->get);
    }
}

static void
last_applied(struct recovery *v)
{
    pump(v);
}

static void
walk_end(struct recovery *v)
{
    if (v->held_blob != NULL) {
        if (!recover_apply_held(v, last_applied))
            stop_at(v, "does not continue what is before it", &v->steps[v->next_step - 1],
                    C2_E_CORRUPT);
    } else if (v->cut) {
        stop_at(v, "cannot be read", &v->steps[v->next_step], v->cut_err);
    } else {
        walk_over(v);
    }
}

static void
pump(struct recovery *v)
{
    if (!v->walking || v->applying)
        return;
    if (v->rereading) {
        if (!v->exact)
            return;
        v->rereading = false;
    }
    if (v->next_step == v->nsteps) {
        walk_end(v);
        return;
    }
    fetch_more(v);
    struct recover_fetch *f = &v->fetch[v->next_step % RECOVER_WINDOW];
    if (f->used && f->done)
        step_fetched(v, f);
}
