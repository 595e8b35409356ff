/* SPDX-License-Identifier: MIT */
/*
 * A round:
 *
 *   start ──► probe and checks run ──both ended──► end, asks are done, next round later
 *                   └──WATCH_CHECKS_NS after the probe ended──► asks are done
 *
 * A probe ends after WATCH_PATIENCE_NS at the latest; the check of a share at a seat that hangs
 * takes as long as a read may take, so asks do not wait for it.
 */
#include "fs/watch.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "fs/repair.h"

#define OBJECTS_LOOKED_AT 4096u /* of fs->objects, when samples are drawn */

struct sample {
    struct ds_check check;
    struct watch *w;
};

struct watch {
    struct c2_env *env;   /* borrowed */
    struct ds_client *ds; /* borrowed */
    struct fs *fs;        /* borrowed until watch_stop */
    struct c2_timer next; /* round */
    struct c2_timer impatient;
    struct c2_list asks;
    struct ds_probe probe;
    struct sample sample[WATCH_SAMPLES];
    bool probing;
    unsigned checks;   /* running */
    unsigned sampled;  /* objects of the last round */
    size_t known_then; /* objects that the mount knew at its start */
    uint64_t ended_ns;
    bool seen; /* a round has ended */
    bool stopped;
};

static void round_start(struct watch *w);

static bool
running(const struct watch *w)
{
    return w->probing || w->checks > 0;
}

/* Whether the last round saw as many objects as another one would. */
static bool
saw_enough(const struct watch *w)
{
    return w->sampled == WATCH_SAMPLES || w->fs->objects.count == w->known_then;
}

static void
answer_asks(struct watch *w)
{
    c2_timer_stop(w->env, &w->impatient);
    while (!c2_list_empty(&w->asks)) {
        struct watch_ask *a = C2_LIST_FIRST(&w->asks, struct watch_ask, link);
        c2_list_remove(&w->asks, &a->link);
        a->done(a);
    }
}

static void
part_ended(struct watch *w)
{
    if (running(w))
        return;
    w->ended_ns = c2_now_ns(w->env);
    w->seen = true;
    if (w->stopped)
        return;
    if (!c2_list_empty(&w->asks) && !saw_enough(w)) {
        round_start(w);
        return;
    }
    c2_timer_arm(w->env, &w->next, w->ended_ns + WATCH_EVERY_NS);
    answer_asks(w);
}

static void
probed(struct ds_probe *p)
{
    struct watch *w = C2_CONTAINER_OF(p, struct watch, probe);
    w->probing = false;
    if (w->checks > 0 && !c2_list_empty(&w->asks))
        c2_timer_arm(w->env, &w->impatient, c2_now_ns(w->env) + WATCH_CHECKS_NS);
    part_ended(w);
}

static void
asks_waited_enough(struct c2_timer *t)
{
    C2_MARK("watch: a check takes longer than a status may");
    answer_asks(C2_CONTAINER_OF(t, struct watch, impatient));
}

static void
checked(struct ds_check *k)
{
    struct watch *w = C2_CONTAINER_OF(k, struct sample, check)->w;
    if ((k->absent | k->bad) != 0) {
        c2_log(WARN, "watch", "object=%llx.%llx seats_absent=%x seats_bad=%x", /* no secret: keys */
               (unsigned long long)k->ref.oid.sid, (unsigned long long)k->ref.oid.seq, k->absent,
               k->bad);
        if (!w->stopped)
            fs_repair_found(w->fs, &k->ref, k->seats, k->absent | k->bad);
    }
    w->checks--;
    part_ended(w);
}

/* Draws objects that are committed somewhere and may be checked; each is equally likely. */
static unsigned
draw(struct watch *w, const struct fs_object *ret_objects[WATCH_SAMPLES])
{
    unsigned seen = 0;
    const struct c2_map *m = &w->fs->objects;
    for (struct c2_map_node *n = c2_map_next(m, NULL); n != NULL && seen < OBJECTS_LOOKED_AT;
         n = c2_map_next(m, n)) {
        const struct fs_object *o = C2_CONTAINER_OF(n, struct fs_object, node);
        if (!o->recorded || !o->placed_known || o->placed == 0)
            continue;
        unsigned at = seen++;
        if (at >= WATCH_SAMPLES) {
            uint32_t random;
            c2_random(w->env, &random, sizeof(random));
            at = random % seen;
        }
        if (at < WATCH_SAMPLES)
            ret_objects[at] = o;
    }
    return C2_MIN(seen, (unsigned)WATCH_SAMPLES);
}

static void
round_start(struct watch *w)
{
    const struct fs_object *objects[WATCH_SAMPLES];
    C2_ASSERT(!running(w));
    c2_timer_stop(w->env, &w->next);
    w->probing = true;
    w->checks = w->sampled = draw(w, objects);
    w->known_then = w->fs->objects.count;
    for (unsigned k = 0, n = w->checks; k < n; k++) {
        w->sample[k].w = w;
        w->sample[k].check = (struct ds_check){ .kind = DS_KIND_OBJECT,
                                                .ref = objects[k]->ref,
                                                .seats = objects[k]->placed,
                                                .headers_only = true,
                                                .done = checked };
        ds_check_start(w->ds, &w->sample[k].check);
    }
    w->probe = (struct ds_probe){ .patience_ns = WATCH_PATIENCE_NS, .done = probed };
    ds_probe_start(w->ds, &w->probe);
}

static void
next_round(struct c2_timer *t)
{
    round_start(C2_CONTAINER_OF(t, struct watch, next));
}

struct watch *
watch_new(struct c2_env *env, struct ds_client *ds, struct fs *fs)
{
    struct watch *w = c2_calloc(1, sizeof(*w));
    w->env = env;
    w->ds = ds;
    w->fs = fs;
    w->next.fire = next_round;
    w->impatient.fire = asks_waited_enough;
    c2_list_init(&w->asks);
    round_start(w);
    return w;
}

void
watch_stop(struct watch *w)
{
    if (w == NULL || w->stopped)
        return;
    w->stopped = true;
    w->fs = NULL;
    c2_timer_stop(w->env, &w->next);
    answer_asks(w);
}

void
watch_free(struct watch *w)
{
    if (w == NULL)
        return;
    C2_ASSERT(w->stopped);
    C2_ASSERT(!running(w));
    c2_free(w);
}

bool
watch_is_fresh(const struct watch *w)
{
    if (w->stopped)
        return true;
    return w->seen && saw_enough(w) && c2_now_ns(w->env) - w->ended_ns < WATCH_FRESH_NS;
}

void
watch_ask(struct watch *w, struct watch_ask *a)
{
    C2_ASSERT(!w->stopped);
    c2_list_append(&w->asks, &a->link);
    if (!running(w))
        round_start(w);
    if (!w->probing && !c2_timer_armed(&w->impatient))
        c2_timer_arm(w->env, &w->impatient, c2_now_ns(w->env) + WATCH_CHECKS_NS);
}
