/* SPDX-License-Identifier: MIT */
/*
 * The records of many mended objects are brought up to date in one transaction (fs/placement.h). If
 * an object turns out to be gone then, what was rebuilt of it is deleted again; if a seat has
 * another provider by now, the object has its turn once more.
 */
#include <string.h>

#include "base/log.h"
#include "base/mark.h"
#include "fs/repair_impl.h"

#define PLACE_NS C2_NS_PER_S /* records wait for others so long */

bool
repair_places_busy(const struct repair_places *p)
{
    return p->n > 0 || p->placing || p->again || p->undoing;
}

static void
undone(struct ds_delete *d)
{
    struct repair_places *p = C2_CONTAINER_OF(d, struct repair_places, undo);
    p->undoing = false;
    if (d->err != C2_E_OK)
        c2_log(WARN, "repair", "err=%s shares of deleted objects were left behind",
               c2_err_name(d->err));
    repair_placed(p->r);
}

/* What was rebuilt of objects that are gone goes, too. */
static void
undo(struct repair_places *p)
{
    size_t n = 0;
    for (size_t k = 0; k < p->place.n; k++)
        if (p->place.item[k].gone)
            p->undo_oids[n++] = p->place.item[k].ref.oid;
    if (n == 0 || p->r->stopped)
        return;
    C2_MARK("repair: an object was deleted while it was mended");
    p->undo = (struct ds_delete){
        .kind = DS_KIND_OBJECT, .oids = p->undo_oids, .noids = n, .done = undone
    };
    p->undoing = true;
    ds_delete_start(p->r->fs->part.ds, &p->undo);
}

/* What was rebuilt is where nobody looks any more. */
static void
find_stale(const struct repair_places *p)
{
    for (size_t k = 0; k < p->place.n; k++) {
        const struct fs_place_item *it = &p->place.item[k];
        if (!it->stale || it->gone)
            continue;
        C2_MARK("repair: a seat has changed while an object was mended");
        fs_repair_found(p->r->fs, &it->ref, it->placed, it->set | it->clear);
    }
}

static void
wait_for_more(struct repair_places *p)
{
    struct c2_env *env = p->r->env;
    c2_timer_arm(env, &p->timer, c2_now_ns(env) + PLACE_NS);
}

static void
placed(struct fs_place *place)
{
    struct repair_places *p = C2_CONTAINER_OF(place, struct repair_places, place);
    p->placing = false;
    if (place->err == C2_E_OK) {
        undo(p);
        find_stale(p);
    } else {
        p->again = place->err != C2_E_FENCED && !p->r->stopped;
        c2_log(WARN, "repair", "objects=%zu err=%s their records are not up to date%s", place->n,
               c2_err_name(place->err), p->again ? ", trying again" : "");
    }
    if (p->again)
        wait_for_more(p);
    else
        repair_placed(p->r);
}

void
repair_places_flush(struct repair_places *p)
{
    if (p->placing || p->undoing || !repair_places_busy(p))
        return;
    c2_timer_stop(p->r->env, &p->timer);
    p->placing = true;
    if (p->again) {
        p->again = false;
        fs_place_start(&p->place);
        return;
    }
    p->place = (struct fs_place){ .fs = p->r->fs, .n = p->n, .done = placed };
    memcpy(p->place.item, p->pending, p->n * sizeof(p->pending[0]));
    p->n = 0;
    fs_place_start(&p->place);
}

static void
due(struct c2_timer *t)
{
    repair_places_flush(C2_CONTAINER_OF(t, struct repair_places, timer));
}

/* Also without a change: the record tells whether the object is still in use. */
void
repair_places_add(struct repair_places *p, const struct fs_mend *m)
{
    if (m->rebuilt == 0 && m->placed_now == m->placed)
        return;
    C2_ASSERT(p->n < FS_PLACE_MAX);
    p->pending[p->n++] = (struct fs_place_item){ .ref = m->ref,
                                                 .set = m->placed_now & ~m->placed,
                                                 .clear = m->placed & ~m->placed_now,
                                                 .since = m->since };
    if (p->r->stopped)
        repair_places_flush(p);
    else if (!c2_timer_armed(&p->timer))
        wait_for_more(p);
    if (p->n == FS_PLACE_MAX - REPAIR_PARALLEL_MAX)
        repair_places_flush(p);
}

void
repair_places_init(struct repair_places *p, struct fs_repair *r)
{
    p->r = r;
    p->timer.fire = due;
}
