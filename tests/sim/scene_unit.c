/* SPDX-License-Identifier: MIT */
/*
 * One data unit over misbehaving clouds: readers, and either one writer or two that take turns
 * with the lock. Every actor is a machine of its own that may die at any event, between the phases
 * of a write as well; late PUTs of the dead arrive. Checked:
 *
 *   content     a read gives exactly what one write wrote, with that write's version
 *   regular     never older than a write that ended before the read began, never from its future
 *   monotonic   a handle never goes back
 *   order       a write that begins after another has ended gets a greater version
 *   acks        an acknowledged write is in n-f clouds, f of which may have lied
 *   fenced      what failed with FENCED is never seen
 *   exclusive   at no moment do two sessions hold the lock
 *   I4, I7, I15 ledger.c; NOT_FOUND only when no write has ended
 *   liveness    in CALM weather, and after the last fault, everything succeeds; a collection
 *               leaves just what it keeps
 *
 * In WRECK weather more clouds lie than may: only content and the ledger are checked then.
 */
#include "tests/sim/unit_scene.h"

#include "backends/registry.h"
#include "base/alloc.h"

#include <stdio.h>
#include <string.h>

/* ---- lives ----------------------------------------------------------------------------------- */

static void
open_actor(struct unit_actor *a)
{
    struct unit_scene *s = a->s;
    struct sim_life *before = sim_node_enter(a->node);
    for (unsigned i = 0; i < s->config.n; i++) {
        struct provider *p = sim_cloud_provider(s->clouds, i, a->node);
        if (s->stacked) {
            p = prov_limit_new(prov_stats_new(p), 8, 1000, 0);
            p = prov_retry_new(p, 3, 100 * C2_NS_PER_MS, 5 * C2_NS_PER_S);
        }
        a->seat[i] = p;
    }
    enum c2_err err = ds_client_new(sim_node_env(a->node), &s->config, a->seat, &a->c);
    C2_ASSERT(err == C2_E_OK);
    struct ds_unit_config config = {
        .name = "unit",
        .writers = (const uint8_t(*)[DS_UNIT_PUBLIC_LEN])s->public_key,
        .nwriters = s->nwriters,
        .secret = a->writes ? s->secret[a->index % s->nwriters] : NULL,
        .single_writer = !s->shared,
        .skew_ns = SKEW_NS,
    };
    err = ds_unit_open(a->c, &config, &a->unit);
    C2_ASSERT(err == C2_E_OK);
    a->seen = 0;
    sim_life_leave(before);
}

static void
actor_died(void *arg, struct sim_node *n)
{
    struct unit_actor *a = arg;
    (void)n;
    a->c = NULL;
    a->unit = NULL;
    if (a->op == NULL)
        return;
    if (a->op->verb == WRITE)
        a->s->written[a->op->index].outcome = LOST;
    unit_op_free(a->op);
}

static void
set_flag(void *arg)
{
    *(bool *)arg = true;
}

static void
close_actor(struct unit_actor *a)
{
    struct unit_scene *s = a->s;
    struct sim_life *before = sim_node_enter(a->node);
    a->drained = false;
    ds_client_drain(a->c, set_flag, &a->drained);
    sim_life_leave(before);
    sim_run_until(s->w, &a->drained, 120 * C2_NS_PER_S, "drain");
    before = sim_node_enter(a->node);
    ds_unit_close(a->unit);
    ds_client_free(a->c);
    for (unsigned i = 0; i < s->config.n; i++)
        prov_close(a->seat[i]);
    sim_life_leave(before);
    a->c = NULL;
    a->unit = NULL;
}

/* ---- script ---------------------------------------------------------------------------------- */

static uint64_t
some_version(struct unit_scene *s)
{
    if (s->newest == 0 || sim_rng_chance(&s->rng, 70))
        return 0;
    return sim_rng_between(&s->rng, 1, s->newest);
}

static void
act_read(struct unit_actor *a)
{
    if (sim_rng_chance(&a->s->rng, 85))
        unit_start_read(a, some_version(a->s));
    else
        unit_start_versions(a);
}

static void
act_write(struct unit_actor *a)
{
    struct unit_scene *s = a->s;
    unsigned dice = (unsigned)sim_rng_below(&s->rng, 100);
    bool locked = ds_unit_locked(a->unit);
    if (s->shared && !locked && dice < 90)
        unit_start_lock(a, LOCK, sim_rng_below(&s->rng, 60) * C2_NS_PER_S);
    else if (dice < 70)
        unit_start_write(a);
    else if (dice < 78)
        unit_start_gc(a, (unsigned)sim_rng_between(&s->rng, 1, 5));
    else if (dice < 84 && locked)
        unit_start_lock(a, RENEW, 0);
    else if (dice < 92 && locked)
        unit_start_unlock(a);
    else
        act_read(a);
}

/* Dead for a while. */
static void
act_crash(struct unit_actor *a)
{
    if (a->s->crashes_left == 0 || a->unit == NULL)
        return;
    a->s->crashes_left--;
    sim_node_crash(a->node, SIM_CRASH_DAEMON);
}

static void
dagger_due(struct c2_timer *t)
{
    act_crash(C2_CONTAINER_OF(t, struct unit_actor, dagger));
}

static void
next_due(struct c2_timer *t)
{
    struct unit_actor *a = C2_CONTAINER_OF(t, struct unit_actor, next);
    struct unit_scene *s = a->s;
    uint64_t pause_max_ns = sim_rng_chance(&s->rng, 80) ? C2_NS_PER_S : 10 * C2_NS_PER_S;
    if (!a->writes)
        pause_max_ns *= 3;
    if (s->ops_left == 0)
        return;
    sim_arm(s->w, t, s->w->now_ns + 1 + sim_rng_below(&s->rng, pause_max_ns));
    if (sim_rng_below(&s->rng, 300) == 0) {
        act_crash(a);
    } else if (a->unit == NULL) {
        open_actor(a);
    } else if (a->op == NULL) {
        s->ops_left--;
        if (a->writes)
            act_write(a);
        else
            act_read(a);
    }
}

static void
add_actor(struct unit_scene *s, bool writes)
{
    struct unit_actor *a = &s->actor[s->nactors];
    char name[16];
    a->s = s;
    a->index = s->nactors++;
    a->writes = writes;
    snprintf(name, sizeof name, "%s%u", writes ? "writer" : "reader", a->index);
    a->node = sim_node_new(s->w, name, NULL);
    /* Nobody relies on the clocks of clients. */
    a->node->wall_offset_ns += sim_rng_below(&s->rng, 48 * 3600 * C2_NS_PER_S);
    sim_clouds_attach(s->clouds, &a->clouds_hook, a->node);
    a->hook = (struct sim_hook){ .died = actor_died, .arg = a };
    sim_node_hook(a->node, &a->hook);
    a->next.fire = next_due;
    a->dagger.fire = dagger_due;
    open_actor(a);
    sim_arm(s->w, &a->next, s->w->now_ns + sim_rng_below(&s->rng, C2_NS_PER_S));
}

static void
set_up(struct unit_scene *s)
{
    static const enum sim_weather weathers[] = { SIM_CALM,   SIM_CALM,   SIM_CALM, SIM_SQUALL,
                                                 SIM_SQUALL, SIM_SQUALL, SIM_WRECK };
    s->rng = sim_rng_fork(&s->w->rng, 5);
    ds_config_default(&s->config);
    unsigned size = (unsigned)sim_rng_below(&s->rng, 10);
    s->config.f = size == 0 ? 2 : 1;
    s->config.n = size == 0 ? 7 : size == 1 ? 5 : 4;
    s->config.keyless = sim_rng_chance(&s->rng, 50);
    sim_rng_fill(&s->rng, s->config.volume, sizeof s->config.volume);
    s->weather = weathers[sim_rng_below(&s->rng, C2_ARRAY_LEN(weathers))];
    s->shared = sim_rng_chance(&s->rng, 40);
    s->stacked = sim_rng_chance(&s->rng, 60);
    s->ops_left = (unsigned)sim_rng_between(&s->rng, 15, 100);
    s->crashes_left = (unsigned)sim_rng_below(&s->rng, 12);
    s->clouds = sim_clouds_new(s->w, s->config.n);
    s->nwriters = s->shared ? WRITERS_MAX : 1;
    for (unsigned i = 0; i < s->nwriters; i++) {
        uint8_t seed[DS_UNIT_SEED_LEN];
        sim_rng_fill(&s->rng, seed, sizeof seed);
        ds_unit_keypair(seed, s->secret[i], s->public_key[i]);
    }
    sim_clouds_plan(s->clouds, s->weather, s->config.f, s->w->now_ns + 120 * C2_NS_PER_S);
    for (unsigned i = 0; i < s->nwriters; i++)
        add_actor(s, true);
    for (uint64_t i = sim_rng_between(&s->rng, 1, 3); i > 0; i--)
        add_actor(s, false);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void
wait_for(struct unit_scene *s, struct unit_actor *a)
{
    uint64_t until_ns = s->w->now_ns + OP_NS_MAX;
    while (a->op != NULL && s->w->now_ns < until_ns && sim_step(s->w))
        continue;
    SIM_CHECK(s->w, a->op == NULL, "%s is not finished", a->node->name);
}

/* A collection sees n-f lists, and f clouds may be broken for good. */
static void
check_collected(struct unit_scene *s)
{
    unsigned dirty = 0;
    for (unsigned i = 0; i < s->config.n; i++) {
        const struct sim_cloud *c = &s->clouds->cloud[i];
        dirty += unit_count_in(c, "/m/") > 1 || unit_count_in(c, "/v/") > 2;
    }
    SIM_CHECK(s->w, dirty <= 2 * s->config.f, "%u clouds have garbage after a collection", dirty);
}

/* A writer and a reader that know nothing, after the last fault. */
static void
verify(struct unit_scene *s)
{
    struct unit_actor *writer = &s->actor[0];
    struct unit_actor *reader = &s->actor[s->nwriters];
    s->crashes_left = 0;
    for (unsigned i = 0; i < s->nactors; i++) {
        sim_stop(s->w, &s->actor[i].next);
        sim_stop(s->w, &s->actor[i].dagger);
        if (s->actor[i].unit != NULL && !sim_rng_chance(&s->rng, 30))
            close_actor(&s->actor[i]);
        else
            sim_node_crash(s->actor[i].node, SIM_CRASH_DAEMON);
    }
    sim_run_for(s->w, 100 * C2_NS_PER_S); /* locks end, late PUTs arrive */
    open_actor(writer);
    open_actor(reader);
    unit_start_read(reader, 0);
    wait_for(s, reader);
    if (s->shared) {
        unit_start_lock(writer, LOCK, 200 * C2_NS_PER_S);
        wait_for(s, writer);
        SIM_CHECK(s->w, ds_unit_locked(writer->unit) || !unit_model_holds(s), "no lock at the end");
    }
    unit_start_write(writer);
    wait_for(s, writer);
    unit_start_gc(writer, 1);
    wait_for(s, writer);
    if (unit_model_holds(s))
        check_collected(s);
    unit_start_read(reader, 0);
    wait_for(s, reader);
    unit_start_read(writer, 0);
    wait_for(s, writer);
}

static void
tear_down(struct unit_scene *s, struct sim_tally *tally)
{
    for (unsigned i = 0; i < s->nactors; i++) {
        if (s->actor[i].unit != NULL)
            close_actor(&s->actor[i]);
        sim_node_free(s->actor[i].node);
    }
    for (unsigned i = 0; i < SIM_FAULTS; i++)
        tally->struck[i] += s->clouds->struck[i];
    tally->events += s->w->events;
    sim_clouds_free(s->clouds);
    for (unsigned i = 0; i < s->nwritten; i++)
        c2_blob_unref(s->written[i].body);
    sim_world_free(s->w);
    c2_free(s);
}

void
sim_scene_unit(uint64_t seed, const struct sim_options *o, struct sim_tally *tally)
{
    struct unit_scene *s = c2_calloc(1, sizeof *s);
    s->w = sim_world_new("unit", seed, o->trace);
    set_up(s);
    while (s->ops_left > 0)
        C2_ASSERT(sim_step(s->w));
    for (unsigned i = 0; i < s->nactors; i++)
        wait_for(s, &s->actor[i]);
    s->healed = true;
    sim_clouds_heal(s->clouds);
    verify(s);
    tear_down(s, tally);
}
