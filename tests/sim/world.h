/* SPDX-License-Identifier: MIT */
/*
 * One simulated world: a virtual clock, one heap of events, one seed. Nodes are machines that run
 * product code under their own c2_env; everything else (clouds, clients, the script of a scenario)
 * is the world's. The same seed gives the same run, event by event.
 *
 * A node dies at any event: its timers, tasks, jobs and disk requests vanish, its memory is given
 * back (life.h), what is outside hears of it through hooks, and the disk decides what it kept.
 */
#ifndef C2_TESTS_SIM_WORLD_H
#define C2_TESTS_SIM_WORLD_H

#include "base/env.h"
#include "tests/sim/life.h"

#define SIM_WALL_BASE_NS (1700000000ull * C2_NS_PER_S) /* the wall clock at virtual time 0 */

struct sim_rng {
    uint64_t state;
};

uint64_t sim_rng_next(struct sim_rng *r);
uint64_t sim_rng_below(struct sim_rng *r, uint64_t bound); /* 0..bound-1; bound > 0 */
/* lo..hi, both included */
uint64_t sim_rng_between(struct sim_rng *r, uint64_t lo, uint64_t hi);
bool sim_rng_chance(struct sim_rng *r, unsigned percent);
/* Between lo and hi, all orders of magnitude alike. */
uint64_t sim_rng_scale(struct sim_rng *r, uint64_t lo, uint64_t hi);
/* An independent generator for a purpose. */
struct sim_rng sim_rng_fork(struct sim_rng *r, uint64_t purpose);
void sim_rng_fill(struct sim_rng *r, void *out, size_t len);

struct sim_node;
struct sim_disk;

struct sim_entry {
    uint64_t at_ns, seq;
    struct c2_timer *timer;
    struct sim_node *node; /* NULL = the world's */
};

struct sim_world {
    uint64_t seed;
    const char *scenario;
    uint64_t now_ns;
    uint64_t events, events_max;
    struct sim_rng rng;
    bool trace;
    struct sim_entry *heap; /* owned, 1-based */
    size_t heap_count, heap_cap;
    uint64_t seq;
};

struct sim_world *sim_world_new(const char *scenario, uint64_t seed, bool trace);
void sim_world_free(struct sim_world *w);

/* World timers: like c2_timer_arm, without a node. */
void sim_arm(struct sim_world *w, struct c2_timer *t, uint64_t at_ns);
/* The same in the name of a node: gone when the node dies. */
void sim_arm_node(struct sim_node *n, struct c2_timer *t, uint64_t at_ns);
void sim_stop(struct sim_world *w, struct c2_timer *t);
/* One event; false when nothing is pending. */
bool sim_step(struct sim_world *w);
/* Until *flag is set; fails the run when that takes longer than max_ns, saying `what`. */
void sim_run_until(struct sim_world *w, const bool *flag, uint64_t max_ns, const char *what);
void sim_run_for(struct sim_world *w, uint64_t ns);

/* Prints a line when the run is traced: time, who, what. */
void sim_trace(struct sim_world *w, const char *who, const char *fmt, ...) C2_PRINTF(3, 4);
/* The run has found a bug: prints it and ends the process. */
C2_NORETURN void sim_fail(struct sim_world *w, const char *fmt, ...) C2_PRINTF(2, 3);

#define SIM_CHECK(w, cond, ...)                                                                    \
    do {                                                                                           \
        if (!(cond))                                                                               \
            sim_fail(w, __VA_ARGS__);                                                              \
    } while (0)

enum sim_crash { SIM_CRASH_DAEMON, SIM_CRASH_MACHINE };

/* Told when a node dies, before its memory goes; registered by clouds and scenarios. */
struct sim_hook {
    struct c2_link link;
    void (*died)(void *arg, struct sim_node *n);
    void *arg;
};

struct sim_node {
    struct c2_env env; /* first */
    struct sim_world *w;
    char name[16];
    struct sim_life life;
    struct sim_rng rng;
    struct c2_list tasks;
    struct c2_timer task_timer;
    struct c2_list jobs;     /* c2_work on its way */
    struct c2_list hooks;    /* sim_hook.link */
    struct sim_disk *disk;   /* borrowed */
    uint64_t wall_offset_ns; /* wall clock - virtual clock */
    uint64_t job_max_ns;     /* a job takes up to this, twice */
    uint64_t slack_max_ns;   /* a timer is late by up to this */
    unsigned lives;
};

void sim_node_hook(struct sim_node *n, struct sim_hook *h);
struct sim_node *sim_node_new(struct sim_world *w, const char *name, struct sim_disk *disk);
/* The node must have ended (sim_node_quiet) or crashed. */
void sim_node_free(struct sim_node *n);
struct c2_env *sim_node_env(struct sim_node *n);
/* Runs code as the node: its allocations are the node's. */
struct sim_life *sim_node_enter(struct sim_node *n);
/* Dies at once. */
void sim_node_crash(struct sim_node *n, enum sim_crash how);
/* Fails the run unless the node has no memory, timer, task, job or disk request left. */
void sim_node_quiet(struct sim_node *n);

#endif
