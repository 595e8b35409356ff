/* SPDX-License-Identifier: MIT */
/*
 * One mount, random clients, misbehaving clouds, crashes. Checked:
 *
 *   answers    every operation gives what the reference gives, every read the bytes of a moment
 *   crashes    what is left equals one moment of the past, not before the last promise (fsync for
 *              a power cut, close for a killed daemon); files that were being written are old, new
 *              or absent, never torn; links and names agree
 *   bounded    every operation ends; a sync ends while at most f clouds misbehave
 *   I11        after a sync the store names exactly the objects that files use, with their live
 *              bytes, and the clouds hold them
 *   I10        the collector runs all the time, also when clouds and node fail: every check above
 *   I11        at the end it has its way, and the clouds hold nothing that no record names
 *   I4, I7     ledger.c
 *   I12, I14   fs_repair.c: in the end every object is at its goal, byte for byte as it was
 *   I13        fs_change.c: providers are replaced, added, drained and removed meanwhile
 *   leaks      an orderly end gives back everything
 */
#include "tests/sim/scene.h"

#include "base/alloc.h"
#include "base/mark.h"
#include "tests/sim/disk.h"
#include "tests/sim/fs_scene.h"

#include <string.h>

#define OPS_MAX      160
#define RUN_NS_MAX   (300 * C2_NS_PER_S)
#define SYNC_NS_MAX  (1800 * C2_NS_PER_S)
#define CRASHES_MAX  3
#define COLLECTS_MAX 40

static void
configure(struct fs_scene *s)
{
    struct sim_mount *m = s->m;
    struct ds_config *d = &m->ds_config;
    s->big = sim_rng_chance(&s->rng, 15);
    m->conf = (struct fs_config){
        .close_sync = sim_rng_chance(&s->rng, 15),
        .fsync_cloud = sim_rng_chance(&s->rng, 15),
        .write_buffer = sim_rng_scale(&s->rng, 64u << 10, 16u << 20),
        .upload_parallel = (unsigned)sim_rng_between(&s->rng, 1, 4),
        .readahead = sim_rng_scale(&s->rng, 64u << 10, 4u << 20),
        .pack_size = sim_rng_scale(&s->rng, s->big ? 256u << 10 : 16u << 10, 4u << 20),
        .pack_delay_ns = sim_rng_scale(&s->rng, 50 * C2_NS_PER_MS, 10 * C2_NS_PER_S),
        .journal_delay_ns = sim_rng_scale(&s->rng, 100 * C2_NS_PER_MS, 5 * C2_NS_PER_S),
    };
    struct sim_rng rng = sim_rng_fork(&s->w->rng, 7);
    m->conf.repair_auto = sim_rng_chance(&rng, 70);
    m->conf.repair_delay_ns = sim_rng_scale(&rng, 10 * C2_NS_PER_MS, 100 * C2_NS_PER_S);
    m->conf.repair_parallel = (unsigned)sim_rng_between(&rng, 1, 4);
    m->journal_size = 256u << 20;
    m->journal_segment_size = sim_rng_scale(&s->rng, 64u << 10, 64u << 20);
    m->stacked = sim_rng_chance(&s->rng, 50);
    m->cache_on_disk = sim_rng_chance(&s->rng, 50);
    ds_config_default(d);
    d->write_all = sim_rng_chance(&s->rng, 20);
    d->compress = (enum ds_compress)sim_rng_below(&s->rng, 3);
    memset(d->volume, 0xc2, sizeof d->volume);
    sim_rng_fill(&s->rng, d->data_key, sizeof d->data_key);
}

/* Of its own generator, so that the rest of a seed does not depend on it. */
static void
configure_gc(struct fs_scene *s)
{
    struct fs_config *c = &s->m->conf;
    struct sim_rng rng = sim_rng_fork(&s->w->rng, 8);
    c->gc = sim_rng_chance(&rng, 80);
    c->gc_retention_ns =
        sim_rng_chance(&rng, 50) ? 0 : sim_rng_scale(&rng, C2_NS_PER_S, 60 * C2_NS_PER_S);
    c->gc_interval_ns = sim_rng_scale(&rng, 200 * C2_NS_PER_MS, 60 * C2_NS_PER_S);
    c->gc_rate = (unsigned)sim_rng_scale(&rng, 1, 1000);
    c->gc_orphan_ns = sim_rng_scale(&rng, 5 * C2_NS_PER_S, 600 * C2_NS_PER_S);
    c->compact = sim_rng_chance(&rng, 60);
    c->compact_worth = 1;
    c->compact_rate = sim_rng_scale(&rng, 64u << 10, 16u << 20);
    rng = sim_rng_fork(&s->w->rng, 10);
    if (sim_rng_chance(&rng, 50))
        c->extents_max = (size_t)sim_rng_scale(&rng, 8, 20);
}

static void
next_due(struct c2_timer *t)
{
    struct fs_scene *s = C2_CONTAINER_OF(t, struct fs_scene, next);
    if (!s->m->up)
        return;
    if (s->ops_left == 0) {
        client_close_all(s);
        s->idle = !client_has_handles(s);
        if (!s->idle)
            sim_arm(s->w, t, s->w->now_ns + 100 * C2_NS_PER_MS);
        return;
    }
    s->ops_left--;
    client_start_one(s);
    uint64_t pause_ns = sim_rng_chance(&s->rng, 70)   ? 20 * C2_NS_PER_MS
                        : sim_rng_chance(&s->rng, 95) ? C2_NS_PER_S
                                                      : 40 * C2_NS_PER_S;
    sim_arm(s->w, t, s->w->now_ns + sim_rng_below(&s->rng, pause_ns));
}

static void
crash_due(struct c2_timer *t)
{
    struct fs_scene *s = C2_CONTAINER_OF(t, struct fs_scene, crash);
    s->crash_how = sim_rng_chance(&s->rng, 50) ? SIM_CRASH_DAEMON : SIM_CRASH_MACHINE;
    model_tick(&s->model);
    sim_node_crash(s->m->node, s->crash_how);
    client_died(s);
    change_died(s);
    sim_stop(s->w, &s->next);
}

static void
plan_crash(struct fs_scene *s)
{
    if (s->crashes_left == 0)
        return;
    s->crashes_left--;
    uint64_t max_ns = sim_rng_scale(&s->rng, 10 * C2_NS_PER_MS, 120 * C2_NS_PER_S);
    sim_arm(s->w, &s->crash, s->w->now_ns + sim_rng_below(&s->rng, max_ns));
}

/* Mounts, as often as it takes, and checks what a crash left. A killed daemon that is followed by
 * a power cut before the check has ended counts as a power cut. */
static void
come_back(struct fs_scene *s)
{
    int how = (int)s->crash_how;
    do {
        sim_stop(s->w, &s->crash);
        if (s->m->died && s->crash_how == SIM_CRASH_MACHINE)
            how = SIM_CRASH_MACHINE;
        if (sim_rng_chance(&s->rng, 50))
            plan_crash(s);
    } while (!sim_mount_up(s->m) || !verify_mount(s, how));
    sim_stop(s->w, &s->crash);
}

static void
set_flag(struct fs_sync *sync)
{
    *(bool *)sync->priv = true;
}

/* Everything reaches the clouds while at most f of them misbehave. */
static bool
sync_all(struct fs_scene *s)
{
    bool done = false;
    struct fs_sync sync = { .done = set_flag, .priv = &done };
    struct sim_life *before = sim_node_enter(s->m->node);
    fs_sync_start(s->m->fs, &sync);
    sim_life_leave(before);
    if (!sim_mount_wait(s->m, &done, SYNC_NS_MAX, "the last sync"))
        return false;
    SIM_CHECK(s->w, sync.err == C2_E_OK, "the last sync failed: %s", c2_err_name(sync.err));
    return true;
}

static void
heal(struct fs_scene *s)
{
    s->healed = true;
    sim_clouds_heal(s->clouds);
}

/* The clients work until they are done; crashes come in between. */
static void
work(struct fs_scene *s)
{
    for (;;) {
        s->idle = false;
        plan_crash(s);
        change_plan(s);
        sim_arm(s->w, &s->next, s->w->now_ns);
        uint64_t heal_ns = s->w->now_ns + RUN_NS_MAX;
        while (!s->idle && !s->m->died) {
            SIM_CHECK(s->w, sim_step(s->w), "nothing is pending");
            bool heavy = s->weather == SIM_STORM || s->change.frail;
            if (heavy && !s->healed && s->w->now_ns > heal_ns)
                heal(s);
        }
        if (!s->m->died)
            break;
        come_back(s);
    }
    sim_stop(s->w, &s->crash);
    sim_stop(s->w, &s->next);
    change_stop(s);
}

static void
gc_ended(struct fs_gc_run *run)
{
    *(bool *)run->priv = true;
}

static bool
collect(struct fs_scene *s, struct fs_gc_run *run)
{
    bool done = false;
    *run = (struct fs_gc_run){ .done = gc_ended, .priv = &done };
    struct sim_life *before = sim_node_enter(s->m->node);
    fs_gc_run_start(s->m->fs, run);
    sim_life_leave(before);
    if (!sim_mount_wait(s->m, &done, SYNC_NS_MAX, "a round of the collector"))
        return false;
    SIM_CHECK(s->w, run->err == C2_E_OK || run->err == C2_E_QUORUM, "a round of the collector: %s",
              c2_err_name(run->err));
    return true;
}

/* In good weather nothing that no file uses stays for ever. */
static bool
collect_all(struct fs_scene *s)
{
    struct fs_gc_run run;
    for (unsigned round = 0; round < COLLECTS_MAX; round++) {
        if (!collect(s, &run))
            return false;
        const struct fs_gc_report *r = &run.report;
        bool clean = run.err == C2_E_OK && r->young_objects == 0 && r->held_up_objects == 0 &&
                     r->orphans == r->orphans_deleted;
        if (clean && round >= 2)
            return true;
        sim_run_for(s->w, 60 * C2_NS_PER_S + s->m->conf.gc_orphan_ns);
    }
    sim_fail(s->w, "garbage is left: young=%llu held_up=%llu orphans=%llu deleted=%llu err=%s",
             (unsigned long long)run.report.young_objects,
             (unsigned long long)run.report.held_up_objects, (unsigned long long)run.report.orphans,
             (unsigned long long)run.report.orphans_deleted, c2_err_name(run.err));
}

/* The last part, without crashes: everything to the clouds, unmount, mount, look. */
static void
finish(struct fs_scene *s)
{
    /* What is compared with the store must not change meanwhile. */
    s->m->conf.compact = s->m->fs->conf.compact = false;
    bool alive = true;
    if ((s->weather == SIM_STORM || s->change.frail) && !s->healed) {
        heal(s);
        alive = change_settle(s);
        C2_ASSERT(alive);
    }
    alive = sync_all(s) && verify_mount(s, -1) && verify_store(s) && sim_mount_down(s->m) &&
            sim_mount_up(s->m) && verify_mount(s, -1) && verify_store(s);
    C2_ASSERT(alive);
    if (!s->healed)
        heal(s);
    alive = change_settle(s) && repair_all(s) && collect_all(s) && sync_all(s) &&
            verify_clouds(s) && verify_store(s) && sim_mount_down(s->m) && sim_mount_up(s->m) &&
            verify_mount(s, -1) && sim_mount_down(s->m);
    C2_ASSERT(alive);
}

static void
add_root(struct fs_scene *s)
{
    const struct fs_attr root = { .ino = FS_ROOT_INO, .mode = S_IFDIR | 0755, .nlink = 2 };
    struct model_node *n = &s->model.node[0];
    n->ino = FS_ROOT_INO;
    n->live.attr = root;
    n->live.attr.uid = n->live.attr.gid = 1000;
    n->ever_published = true;
}

/* The root is in memory from now on; its times are the reference's. */
static void
first_look(struct fs_scene *s)
{
    model_commit(&s->model, s->m->fs);
    bool alive = verify_mount(s, SIM_CRASH_MACHINE);
    C2_ASSERT(alive);
}

void
sim_scene_fs(uint64_t seed, const struct sim_options *o, struct sim_tally *tally)
{
    static const enum sim_weather weathers[] = { SIM_CALM, SIM_CALM, SIM_ROTATE, SIM_STORM };
    struct fs_scene *s = c2_calloc(1, sizeof *s);
    s->w = sim_world_new("fs", seed, o->trace);
    s->rng = sim_rng_fork(&s->w->rng, 6);
    s->clouds = sim_clouds_new(s->w, SCENE_CLOUDS);
    change_init(s);
    s->m = sim_mount_new(s->w, s->clouds, o->dir);
    s->weather = weathers[sim_rng_below(&s->rng, C2_ARRAY_LEN(weathers))];
    configure(s);
    configure_gc(s);
    model_init(&s->model, s->w);
    c2_list_init(&s->ops);
    s->next.fire = next_due;
    s->crash.fire = crash_due;
    s->ops_left = (unsigned)sim_rng_between(&s->rng, 10, OPS_MAX);
    s->ops_at_once = (unsigned)sim_rng_between(&s->rng, 1, 6);
    s->crashes_left = (unsigned)sim_rng_below(&s->rng, CRASHES_MAX + 1);
    sim_clouds_plan(s->clouds, s->weather, 1, s->w->now_ns + RUN_NS_MAX);
    add_root(s);
    bool alive = sim_mount_up(s->m);
    C2_ASSERT(alive);
    first_look(s);
    work(s);
    finish(s);
    for (unsigned i = 0; i < SIM_FAULTS; i++)
        tally->struck[i] += s->clouds->struck[i];
    tally->events += s->w->events;
    sim_mount_free(s->m);
    sim_clouds_free(s->clouds);
    model_done(&s->model);
    sim_world_free(s->w);
    c2_free(s);
}
