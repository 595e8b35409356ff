/* SPDX-License-Identifier: MIT */
/*
 * Providers of the mounted volume are replaced, added, drained and removed while clients work, in
 * whatever weather and between crashes. Nobody may notice: as long as the seat that changes is the
 * only one with faults, no operation fails. Otherwise, and until the shares are in their places,
 * the volume is frail: answers may fail, wrong bytes never come.
 *
 * What was refused is left alone. What was begun comes to its end once the faults are over (I13).
 */
#include "tests/sim/fs_scene.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "fs/seat_rules.h"
#include "fs/volume_job_impl.h"

#define PAUSE_NS    (5 * C2_NS_PER_S)
#define PATIENCE_NS (24 * 3600 * C2_NS_PER_S)
#define ROUNDS_MAX  8
#define PARAMS_MAX  100

static const struct volume_config *
config(const struct fs_scene *s)
{
    return &s->m->volume.config;
}

static bool
runs(const struct fs_scene *s, const char *kind)
{
    const struct job *j = jobs_find(s->m->jobs, kind);
    return j != NULL && j->rec.state == JOB_RUNNING;
}

bool
change_runs(const struct fs_scene *s)
{
    const struct scene_change *c = &s->change;
    return c->asking || c->adding || runs(s, "replace") || runs(s, "drain");
}

bool
change_has_lost(struct fs_scene *s)
{
    const struct job *j = jobs_find(s->m->jobs, "replace");
    if (j != NULL && j->rec.counter[SEAT_JOB_LOST] > 0) {
        C2_MARK("sim: a replacement gave shares up");
        s->change.lost = true;
    }
    return s->change.lost;
}

/* A job syncs once or more, and what is held is published then. */
static void
sync_begin(struct fs_scene *s)
{
    if (!s->change.syncs)
        model_sync_begin(&s->model, s->change.marks);
    s->change.syncs = true;
}

static void
sync_end(struct fs_scene *s)
{
    if (s->change.syncs)
        model_sync_end(&s->model, s->change.marks, false);
    s->change.syncs = false;
}

/* ---- choosing -------------------------------------------------------------------------------- */

static bool
in_use(const struct fs_scene *s, const struct sim_cloud *cloud)
{
    for (unsigned i = 0; i < config(s)->n; i++) {
        const struct volume_seat *seat = &config(s)->seats[i];
        if (strcmp(seat->provider, cloud->name) == 0 ||
            strcmp(seat->old_provider, cloud->name) == 0)
            return true;
    }
    return false;
}

/* One that is in no seat: it may have had this one before, or another, and has shares of then. */
static struct sim_cloud *
pick_spare(struct fs_scene *s)
{
    for (unsigned i = 0; i < s->clouds->n; i++) {
        struct sim_cloud *cloud = &s->clouds->cloud[i];
        if (cloud->nwindows == 0 && !in_use(s, cloud))
            return cloud;
    }
    return NULL;
}

static unsigned
count_active(const struct fs_scene *s)
{
    unsigned active = 0;
    for (unsigned i = 0; i < config(s)->n; i++)
        active += config(s)->seats[i].state == VOLUME_SEAT_ACTIVE;
    return active;
}

/* Most often the one that does not work. */
static unsigned
pick_seat(struct fs_scene *s)
{
    unsigned seat, n = config(s)->n;
    do
        seat = (unsigned)sim_rng_below(&s->change.rng, n);
    while (config(s)->seats[seat].state != VOLUME_SEAT_ACTIVE);
    for (unsigned i = 0; i < n && sim_rng_chance(&s->change.rng, 70); i++) {
        const struct sim_cloud *cloud = sim_mount_cloud(s->m, i);
        if (config(s)->seats[i].state == VOLUME_SEAT_ACTIVE && cloud->nwindows > 0)
            return i;
    }
    return seat;
}

/* Whether another seat than this one may misbehave. */
static bool
others_may_fail(const struct fs_scene *s, unsigned seat)
{
    for (unsigned i = 0; i < config(s)->n; i++) {
        const struct sim_cloud *cloud =
            config(s)->seats[i].state == VOLUME_SEAT_EMPTY ? NULL : sim_mount_cloud(s->m, i);
        if (i != seat && cloud != NULL && (cloud->nwindows > 0 || cloud->destroyed))
            return true;
    }
    return false;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void
answered(struct job_ask *a)
{
    struct fs_scene *s = C2_CONTAINER_OF(a, struct fs_scene, change.ask);
    struct scene_change *c = &s->change;
    sim_trace(s->w, "change", "%s", a->err == C2_E_OK ? "begun" : a->error);
    if (a->err == C2_E_OK && others_may_fail(s, c->seat))
        c->frail = true;
    if (a->err == C2_E_OK)
        C2_MARK("sim: a change of providers");
    else
        C2_MARK("sim: a change of providers is refused");
    c->refused = a->err != C2_E_OK;
    c2_free(a->error);
    c->asking = false;
}

static void
start(struct fs_scene *s, const char *kind, unsigned seat, const char *params)
{
    sim_trace(s->w, "change", "%s %s", kind, params);
    (void)change_has_lost(s); /* the job before is forgotten now */
    s->change.ask = (struct job_ask){ .done = answered };
    s->change.asking = true;
    s->change.seat = seat;
    sync_begin(s);
    struct sim_life *before = sim_node_enter(s->m->node);
    jobs_start(s->m->jobs, kind, params, 0, &s->change.ask);
    sim_life_leave(before);
}

static void
start_replace(struct fs_scene *s, unsigned seat, const char *old, const char *name)
{
    char params[PARAMS_MAX];
    (void)snprintf(params, sizeof params, "old=%s new=%s", old, name);
    start(s, "replace", seat, params);
}

static void
start_drain(struct fs_scene *s, unsigned seat, bool remove)
{
    char params[PARAMS_MAX];
    (void)snprintf(params, sizeof params, "name=%s%s", config(s)->seats[seat].provider,
                   remove ? " remove=yes" : "");
    start(s, "drain", seat, params);
}

static void
added(struct volume_change *v)
{
    struct fs_scene *s = C2_CONTAINER_OF(v, struct fs_scene, change.add);
    SIM_CHECK(s->w, v->err == C2_E_OK, "a provider cannot be added: %s", c2_err_name(v->err));
    C2_MARK("sim: a provider more");
    s->change.adding = false;
}

static void
start_add(struct fs_scene *s, const struct sim_cloud *cloud)
{
    struct volume *v = &s->m->volume;
    struct scene_change *c = &s->change;
    unsigned seat;
    char *error = NULL;
    struct sim_life *before = sim_node_enter(s->m->node);
    if (seat_may_add(v, cloud->name, &seat, &error) == C2_E_OK) {
        sim_trace(s->w, "change", "add %s", cloud->name);
        c->adding = true;
        c->add = (struct volume_change){ .volume = v, .next = v->config, .done = added };
        c->add.seat = seat;
        c->add.provider = sim_mount_open_cloud(s->m, cloud->name);
        c->add.next.n = C2_MAX(v->config.n, seat + 1);
        struct volume_seat *next = &c->add.next.seats[seat];
        *next = (struct volume_seat){ .state = VOLUME_SEAT_ACTIVE };
        (void)snprintf(next->provider, sizeof next->provider, "%s", cloud->name);
        (void)snprintf(next->url, sizeof next->url, "dir:/%s", cloud->name);
        volume_change_start(&c->add);
    }
    c2_free(error);
    sim_life_leave(before);
}

/* ---- when ------------------------------------------------------------------------------------ */

static void
begin_one(struct fs_scene *s)
{
    struct sim_rng *rng = &s->change.rng;
    struct sim_cloud *spare = pick_spare(s);
    unsigned seat = pick_seat(s), active = count_active(s);
    s->change.left--;
    if (active > SCENE_CLOUDS && (spare == NULL || sim_rng_chance(rng, 60))) {
        start_drain(s, seat, sim_rng_chance(rng, 60));
    } else if (spare != NULL && active == SCENE_CLOUDS && sim_rng_chance(rng, 30)) {
        start_add(s, spare);
    } else if (spare != NULL) {
        if (sim_rng_chance(rng, 30) && !others_may_fail(s, seat) && !s->healed)
            sim_cloud_plan(spare, s->w->now_ns + 60 * C2_NS_PER_S);
        start_replace(s, seat, config(s)->seats[seat].provider, spare->name);
    }
}

static void
change_due(struct c2_timer *t)
{
    struct fs_scene *s = C2_CONTAINER_OF(t, struct fs_scene, change.due);
    if (!s->m->up)
        return;
    if (!change_runs(s)) {
        sync_end(s);
        if (s->change.left > 0)
            begin_one(s);
    }
    if (s->change.left > 0 || s->change.syncs)
        sim_arm(s->w, t, s->w->now_ns + sim_rng_below(&s->change.rng, 4 * PAUSE_NS));
}

void
change_init(struct fs_scene *s)
{
    struct scene_change *c = &s->change;
    c->rng = sim_rng_fork(&s->w->rng, 9);
    c->due.fire = change_due;
    c->left = sim_rng_chance(&c->rng, 50) ? 0 : (unsigned)sim_rng_between(&c->rng, 1, 4);
    for (unsigned i = 0; i < SCENE_SPARES && c->left > 0; i++)
        sim_clouds_add(s->clouds, &c->rng);
}

void
change_plan(struct fs_scene *s)
{
    struct scene_change *c = &s->change;
    if (change_runs(s)) {
        C2_MARK("sim: a change of providers goes on after a crash");
        sync_begin(s);
    }
    if (c->left > 0 || c->syncs)
        sim_arm(s->w, &c->due, s->w->now_ns + sim_rng_below(&c->rng, 2 * PAUSE_NS));
}

void
change_stop(struct fs_scene *s)
{
    sim_stop(s->w, &s->change.due);
    sync_end(s);
}

void
change_died(struct fs_scene *s)
{
    sim_stop(s->w, &s->change.due);
    s->change.asking = s->change.adding = s->change.syncs = false;
}

/* ---- the end --------------------------------------------------------------------------------- */

static bool
wait_for_jobs(struct fs_scene *s)
{
    uint64_t end_ns = s->w->now_ns + PATIENCE_NS;
    while (!s->m->died && change_runs(s)) {
        SIM_CHECK(s->w, s->w->now_ns < end_ns, "I13: a change of providers does not end");
        sim_run_for(s->w, C2_NS_PER_S);
    }
    return !s->m->died;
}

/* Starts again what failed for good; false when there is nothing to start. */
static bool
start_again(struct fs_scene *s)
{
    for (unsigned i = 0; i < config(s)->n; i++) {
        const struct volume_seat *seat = &config(s)->seats[i];
        if (seat->state == VOLUME_SEAT_REBUILDING)
            start_replace(s, i, seat->old_provider, seat->provider);
        else if (seat->state == VOLUME_SEAT_DRAINING && !s->change.drained)
            start_drain(s, i, false);
        else
            continue;
        s->change.drained = seat->state == VOLUME_SEAT_DRAINING;
        return true;
    }
    return false;
}

bool
change_settle(struct fs_scene *s)
{
    bool alive = wait_for_jobs(s);
    for (unsigned round = 0; alive && start_again(s); round++) {
        SIM_CHECK(s->w, round < ROUNDS_MAX, "I13: a change of providers fails again and again");
        alive = wait_for_jobs(s);
        SIM_CHECK(s->w, !alive || !s->change.refused || s->change.drained,
                  "I13: a replacement that was begun is refused");
    }
    sync_end(s);
    s->change.frail = false;
    return alive;
}
