/* SPDX-License-Identifier: MIT */
/*
 * A random run of the replicated service. First everything goes wrong at once: loss, repetition,
 * delay, clogged links, cuts, crashes that lose what the logs had not made durable, failing fsyncs,
 * skewed clocks, new keys and members. At most f replicas are liars, or one disk is damaged or
 * lost. Then 2f+1 correct replicas are connected; the liars go on, the cut stays cut for the rest.
 * Every request must be answered, and in the end every correct replica has it all.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "tests/sim/bft_scene.h"

#define LIVE_NS      (400 * C2_NS_PER_S)
#define MANY_CHANGES 60 /* requests of the client that asks for them */

/* ---- what goes wrong ------------------------------------------------------------------------- */

static bool
is_spared(const struct bs *s, const struct bs_proc *p)
{
    return p->faulty || (s->healed && !p->keep_down);
}

static void
crash_one(struct bs *s, struct bs_proc *p)
{
    if (!p->up)
        return;
    C2_MARK("sim: a replica crashes");
    if (s->victim != (int)p->index && !s->outages && sim_rng_chance(&s->rng, 50))
        bs_kill(p);
    else
        bs_crash(p);
    if (s->victim == (int)p->index && sim_rng_chance(&s->rng, 50)) {
        p->rotten = true;
        unsigned dice = (unsigned)sim_rng_below(&s->rng, 4);
        if (dice == 0 || dice == 1)
            bs_lose_store(p);
        if (dice == 1 || dice == 2)
            bs_lose_log(p);
        if (dice == 3 && sim_disk_rot(p->disk))
            C2_MARK("sim: a bit of a log is flipped");
        s->victim = -1;
    }
    sim_arm(s->w, &p->restart, s->w->now_ns + sim_rng_scale(&s->rng, 1000, 3 * C2_NS_PER_S));
}

/* They come back one by one. */
static void
crash_all(struct bs *s)
{
    C2_MARK("sim: power is cut everywhere at once");
    for (unsigned i = 0; i < s->nprocs; i++) {
        if (!is_spared(s, &s->proc[i]))
            crash_one(s, &s->proc[i]);
    }
}

static void
cut_some(struct bs *s, unsigned a)
{
    unsigned b = (unsigned)sim_rng_below(&s->rng, s->nprocs);
    C2_MARK("sim: a link is cut");
    s->cut[a][b] = true;
    if (sim_rng_chance(&s->rng, 60))
        s->cut[b][a] = true;
    if (!sim_rng_chance(&s->rng, 20))
        return;
    for (unsigned i = 0; i < s->nprocs; i++) /* alone */
        bs_cut(s, a, i, true);
}

static void
clog_one(struct bs *s, unsigned a)
{
    unsigned b = (unsigned)sim_rng_below(&s->rng, s->nprocs);
    C2_MARK("sim: a link is clogged");
    s->clogged_ns[a][b] = s->w->now_ns + sim_rng_scale(&s->rng, C2_NS_PER_MS, 3 * C2_NS_PER_S);
}

/* The other one of a pair meets other peers. */
static void
shuffle_twins(struct bs *s)
{
    for (unsigned i = 0; i < s->nprocs; i++) {
        struct bs_proc *p = &s->proc[i];
        struct bs_proc *twin = bs_proc_of(s, p->id, true);
        if (twin == NULL || twin == p)
            continue;
        uint32_t mask = (uint32_t)sim_rng_next(&s->rng);
        p->deaf = mask & (uint32_t)sim_rng_next(&s->rng);
        twin->deaf = ~mask & (uint32_t)sim_rng_next(&s->rng);
    }
}

static void
heal(struct bs *s)
{
    unsigned apart = BS_PROCS;
    bool liars = s->victim != -1;
    s->healed = true;
    for (unsigned i = 0; i < s->nprocs; i++)
        liars = liars || s->proc[i].faulty || s->proc[i].rotten;
    if (!liars && s->admin_kind == 0 && sim_rng_chance(&s->rng, 50))
        apart = (unsigned)sim_rng_below(&s->rng, s->config.n);
    s->victim = -1;
    s->loss = s->dup = s->sudden = 0;
    memset(s->clogged_ns, 0, sizeof s->clogged_ns);
    for (unsigned a = 0; a < s->nprocs; a++) {
        struct bs_proc *p = &s->proc[a];
        for (unsigned b = 0; b < s->nprocs; b++)
            s->cut[a][b] = a == apart || b == apart ? s->cut[a][b] : false;
        if (a == apart) {
            C2_MARK("sim: one stays apart");
            p->keep_down = true;
            if (p->up && sim_rng_chance(&s->rng, 50))
                bs_crash(p);
        } else if (!p->up) {
            bs_start(p);
        }
    }
    sim_trace(s->w, "script", "healed, apart %u", apart);
}

static void
chaos_due(struct c2_timer *t)
{
    struct bs *s = C2_CONTAINER_OF(t, struct bs, chaos);
    struct bs_proc *p = &s->proc[sim_rng_below(&s->rng, s->nprocs)];
    shuffle_twins(s);
    if (s->healed) {
        if (!s->done)
            sim_arm(s->w, t, s->w->now_ns + sim_rng_scale(&s->rng, C2_NS_PER_MS, C2_NS_PER_S));
        return;
    }
    if (s->chaos_left-- == 0) {
        heal(s);
        sim_arm(s->w, t, s->w->now_ns + C2_NS_PER_MS);
        return;
    }
    unsigned dice = (unsigned)sim_rng_below(&s->rng, 100);
    if (dice < 40 && s->outages)
        crash_all(s);
    else if (dice < 40 && !is_spared(s, p))
        crash_one(s, p);
    else if (dice < 50 && p->up && !is_spared(s, p))
        sim_disk_fail_sync(p->disk);
    else if (dice < 70)
        cut_some(s, p->index);
    else if (dice < 80)
        clog_one(s, p->index);
    else
        memset(s->cut, 0, sizeof s->cut);
    sim_arm(s->w, t, s->w->now_ns + sim_rng_scale(&s->rng, C2_NS_PER_MS, 2 * C2_NS_PER_S));
}

static void
look_due(struct c2_timer *t)
{
    struct bs *s = C2_CONTAINER_OF(t, struct bs, look);
    s->converged = bs_converged(s);
    if (!s->converged)
        sim_arm(s->w, t, s->w->now_ns + 10 * C2_NS_PER_MS);
}

/* ---- what is different in each run ---------------------------------------------------------- */

static void
make_liar(struct bs *s, struct bs_proc *p)
{
    p->faulty = true;
    p->slow_ns = sim_rng_between(&s->rng, 1, s->timing.request_ns);
    for (unsigned lie = 0; lie < BS_LIES; lie++) {
        if (sim_rng_chance(&s->rng, 25))
            p->lies |= 1u << lie;
    }
    sim_trace(s->w, "script", "replica %u lies: %x", p->index, p->lies);
}

static void
make_liars(struct bs *s)
{
    unsigned mode = (unsigned)sim_rng_below(&s->rng, 10);
    s->clean = true;
    if (mode < 2)
        return; /* crashes only */
    if (mode == 2) {
        s->victim = (int)sim_rng_below(&s->rng, s->config.n);
        return;
    }
    s->clean = false;
    unsigned first = (unsigned)sim_rng_below(&s->rng, s->config.n);
    for (unsigned i = 0; i < s->config.f; i++) {
        struct bs_proc *p = &s->proc[(first + i) % s->config.n];
        make_liar(s, p);
        if (!sim_rng_chance(&s->rng, 30))
            continue;
        C2_MARK("sim: twins");
        struct bs_proc *twin = bs_add_proc(s, p->id);
        twin->faulty = true;
        if (sim_rng_chance(&s->rng, 50))
            p->lies = 0;
        else
            twin->lies = p->lies;
        twin->slow_ns = p->slow_ns;
    }
}

static void
set_up(struct bs *s, uint64_t seed)
{
    struct sim_rng *rng = &s->rng;
    s->loss = sim_rng_chance(rng, 50) ? (unsigned)sim_rng_below(rng, 15) : 0;
    s->dup = (unsigned)sim_rng_below(rng, 5);
    s->delay_ns = sim_rng_scale(rng, 100000, 40 * C2_NS_PER_MS);
    s->chaos_left = (unsigned)sim_rng_below(rng, 12);
    s->sudden = sim_rng_chance(rng, 30) ? (unsigned)sim_rng_between(rng, 1, 3) : 0;
    s->admin_kind = sim_rng_chance(rng, 30) ? (unsigned)sim_rng_between(rng, 1, 3) : 0;
    s->admin_at = (unsigned)sim_rng_below(rng, 12);
    if (s->admin_more)
        s->admin_kind = (unsigned)sim_rng_between(rng, 1, 3);
    make_liars(s);
    for (unsigned i = 0; i < s->nprocs; i++)
        bs_start(&s->proc[i]);
    s->nclients = BS_CLIENTS;
    for (unsigned i = 0; i < s->nclients; i++)
        bs_client_init(&s->client[i], s, i);
    s->client[1].locker = true;
    if (s->admin_more)
        s->client[0].left = MANY_CHANGES;
    s->client[BS_CLIENTS - 1].liar = sim_rng_chance(rng, 50);
    s->acl = (seed % 4 == 1 || seed % 32 == 8) && !s->client[BS_CLIENTS - 1].liar;
    for (unsigned i = 0; i < s->nclients; i++)
        bs_client_start(&s->client[i]);
    s->chaos.fire = chaos_due;
    s->look.fire = look_due;
    sim_arm(s->w, &s->chaos, s->w->now_ns + C2_NS_PER_MS);
}

void
sim_scene_bft(uint64_t seed, const struct sim_options *o, struct sim_tally *tally)
{
    struct bs *s = bs_new("bft", seed, o, seed % 64 == 40 || seed % 128 == 91 ? 2 : 1);
    s->outages = seed % 8 == 6;
    s->admin_more = seed % 16 == 11;
    set_up(s, seed);
    sim_run_until(s->w, &s->healed, 120 * C2_NS_PER_S, "the end of the faults");
    sim_run_until(s->w, &s->done, LIVE_NS, "all answers");
    sim_arm(s->w, &s->look, s->w->now_ns + 1);
    sim_run_until(s->w, &s->converged, LIVE_NS, "everybody has everything");
    bs_check_end(s);
    bs_free(s, tally);
}
