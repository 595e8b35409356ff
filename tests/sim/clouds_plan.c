/* SPDX-License-Identifier: MIT */
/*
 * Who misbehaves when. A plan is a set of windows per cloud, drawn from the seed.
 *
 *   CALM    f clouds have windows of every kind, the others none
 *   ROTATE  time is cut into turns; in each at most f clouds have windows, of passing faults only
 *   STORM   f clouds have windows of every kind, all have windows of passing faults
 *   SQUALL  the same, but all the others only fail to answer: the model of the paper
 *   WRECK   f+1 clouds have windows of every kind
 */
#include "tests/sim/clouds.h"

#define TURNS_MAX 6

enum kinds { SILENT = SIM_LIE_ABSENT, PASSING = SIM_LIE_ACK, ALL = SIM_FAULTS };

static void
add_window(struct sim_cloud *c, uint64_t from_ns, uint64_t to_ns, enum kinds kinds)
{
    struct sim_rng *rng = &c->clouds->rng;
    static const unsigned percents[] = { 5, 30, 100 };
    if (c->nwindows == SIM_WINDOWS_MAX)
        return;
    struct sim_window win = { .from_ns = from_ns, .to_ns = to_ns };
    win.fault = (enum sim_fault)sim_rng_below(rng, kinds == ALL ? PASSING : kinds);
    if (kinds == ALL && sim_rng_chance(rng, 35)) /* there are few of them */
        win.fault = (enum sim_fault)sim_rng_between(rng, PASSING, ALL - 1);
    win.percent = percents[sim_rng_below(rng, C2_ARRAY_LEN(percents))];
    c->windows[c->nwindows++] = win;
    sim_trace(c->clouds->w, c->name, "plan: %s, %u %%, %.1f s to %.1f s", sim_fault_name(win.fault),
              win.percent, (double)from_ns / 1e9, (double)to_ns / 1e9);
}

static void
add_windows(struct sim_cloud *c, unsigned count_max, uint64_t until_ns, enum kinds kinds)
{
    struct sim_rng *rng = &c->clouds->rng;
    uint64_t now_ns = c->clouds->w->now_ns;
    unsigned count = (unsigned)sim_rng_between(rng, 1, count_max);
    for (unsigned i = 0; i < count; i++) {
        uint64_t from_ns = now_ns;
        uint64_t to_ns = until_ns;
        if (sim_rng_chance(rng, 70)) {
            from_ns = sim_rng_between(rng, now_ns, until_ns - 1);
            to_ns = C2_MIN(until_ns, from_ns + sim_rng_scale(rng, C2_NS_PER_S, 60 * C2_NS_PER_S));
        }
        add_window(c, from_ns, to_ns, kinds);
    }
}

static void
plan_rotation(struct sim_clouds *c, unsigned f, uint64_t until_ns)
{
    uint64_t now_ns = c->w->now_ns;
    uint64_t turns = sim_rng_between(&c->rng, 1, TURNS_MAX);
    uint64_t turn_ns = (until_ns - now_ns) / turns;
    for (uint64_t i = 0; i < turns; i++) {
        unsigned first = (unsigned)sim_rng_below(&c->rng, c->planned);
        for (unsigned k = 0; k < f; k++) {
            struct sim_cloud *cloud = &c->cloud[(first + k) % c->planned];
            add_window(cloud, now_ns + i * turn_ns, now_ns + (i + 1) * turn_ns, PASSING);
        }
    }
}

void
sim_clouds_plan(struct sim_clouds *c, enum sim_weather weather, unsigned f, uint64_t until_ns)
{
    static const char *const names[] = { "calm", "rotate", "storm", "squall", "wreck" };
    sim_trace(c->w, "clouds", "n=%u f=%u weather=%s", c->planned, f, names[weather]);
    c->weather = weather;
    if (weather == SIM_ROTATE) {
        plan_rotation(c, f, until_ns);
        return;
    }
    unsigned bad = weather == SIM_WRECK ? f + 1 : f;
    unsigned first = (unsigned)sim_rng_below(&c->rng, c->planned);
    for (unsigned k = 0; k < bad; k++)
        add_windows(&c->cloud[(first + k) % c->planned], 5, until_ns, ALL);
    for (unsigned i = 0; i < c->planned && weather == SIM_STORM; i++)
        add_windows(&c->cloud[i], 3, until_ns, PASSING);
    for (unsigned i = 0; i < c->planned && weather == SIM_SQUALL; i++)
        add_windows(&c->cloud[i], 6, until_ns, SILENT);
}

void
sim_cloud_plan(struct sim_cloud *c, uint64_t until_ns)
{
    add_windows(c, 3, until_ns, PASSING);
}
