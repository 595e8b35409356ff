/* SPDX-License-Identifier: MIT */
/*
 * After the faults: scans and repairs until a scan that reads every byte finds nothing below its
 * goal (I14), and then no cloud lacks what the store says that it has, destroyed before or not.
 * That a rebuilt share equals the first one (I12) is checked by the ledger: a PUT of other bytes
 * under a known key ends the run.
 */
#include "tests/sim/fs_scene.h"

#include "fs/repair.h"
#include "fs/scan.h"

#define PATIENCE_NS (24 * 3600 * C2_NS_PER_S)
#define ROUNDS_MAX  4

struct scan {
    struct fs_scan s;
    bool done;
};

static void
scan_done(struct fs_scan *s)
{
    C2_CONTAINER_OF(s, struct scan, s)->done = true;
}

/* False when the node died. */
static bool
scan_all(struct fs_scene *s, struct fs_scan_counts *ret_counts)
{
    struct scan k = { .s = { .fs = s->m->fs, .mode = FS_SCAN_DATA, .parallel = 2 } };
    k.s.window = (unsigned)sim_rng_between(&s->rng, 1, FS_SCAN_WINDOW);
    k.s.done = scan_done;
    while (!k.s.finished) {
        struct sim_life *before = sim_node_enter(s->m->node);
        k.done = false;
        fs_scan_start(&k.s);
        sim_life_leave(before);
        if (!sim_mount_wait(s->m, &k.done, PATIENCE_NS, "a scan"))
            return false;
        SIM_CHECK(s->w, k.s.err == C2_E_OK, "a scan of healthy clouds failed: %s",
                  c2_err_name(k.s.err));
    }
    *ret_counts = k.s.counts;
    return true;
}

struct mending {
    struct fs_repair_run r;
    bool done;
};

static void
run_done(struct fs_repair_run *r)
{
    C2_CONTAINER_OF(r, struct mending, r)->done = true;
}

static bool
run_queue(struct fs_scene *s, uint64_t id)
{
    struct mending k = { .r = { .id = id, .max = 1u << 20, .done = run_done } };
    struct sim_life *before = sim_node_enter(s->m->node);
    fs_repair_run_start(s->m->fs, &k.r);
    sim_life_leave(before);
    if (!sim_mount_wait(s->m, &k.done, PATIENCE_NS, "a repair"))
        return false;
    /* One that the collector takes while it is read is gone, and no failure. */
    SIM_CHECK(s->w, k.r.healthy + k.r.gone == k.r.objects,
              "%u of %u objects could not be repaired: %s", k.r.objects - k.r.healthy - k.r.gone,
              k.r.objects, c2_err_name(k.r.last_error));
    return true;
}

bool
repair_all(struct fs_scene *s)
{
    struct fs_scan_counts c;
    sim_clouds_heal(s->clouds);
    if (!scan_all(s, &c))
        return false;
    for (unsigned round = 1; c.below > 0; round++) {
        SIM_CHECK(s->w, round <= ROUNDS_MAX, "I14: %llu of %llu objects stay below their goal",
                  (unsigned long long)c.below, (unsigned long long)c.objects);
        if (!run_queue(s, round) || !scan_all(s, &c))
            return false;
    }
    SIM_CHECK(s->w, c.healthy == c.objects, "I14: %llu of %llu objects are healthy",
              (unsigned long long)c.healthy, (unsigned long long)c.objects);
    sim_trace(s->w, s->m->node->name, "all %llu objects are at their goal",
              (unsigned long long)c.objects);
    s->repaired = true;
    return true;
}
