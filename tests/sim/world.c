/* SPDX-License-Identifier: MIT */
/*
 * Clock, events, nodes. Events at one time run in the order in which they were armed.
 */
#include "tests/sim/world.h"

#include "base/alloc.h"
#include "tests/sim/disk.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_MAX 3000000u

/* ---- randomness ------------------------------------------------------------------------------ */

/* splitmix64 */
uint64_t
sim_rng_next(struct sim_rng *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

uint64_t
sim_rng_below(struct sim_rng *r, uint64_t bound)
{
    C2_ASSERT(bound > 0);
    return sim_rng_next(r) % bound;
}

uint64_t
sim_rng_between(struct sim_rng *r, uint64_t lo, uint64_t hi)
{
    C2_ASSERT(lo <= hi);
    return lo + sim_rng_below(r, hi - lo + 1);
}

bool
sim_rng_chance(struct sim_rng *r, unsigned percent)
{
    return sim_rng_below(r, 100) < percent;
}

uint64_t
sim_rng_scale(struct sim_rng *r, uint64_t lo, uint64_t hi)
{
    C2_ASSERT(lo > 0 && lo <= hi);
    unsigned doublings = 0;
    while (doublings < 63 && lo << doublings <= hi / 2)
        doublings++;
    uint64_t base = lo << sim_rng_below(r, doublings + 1);
    return sim_rng_between(r, base, C2_MIN(hi, 2 * base));
}

struct sim_rng
sim_rng_fork(struct sim_rng *r, uint64_t purpose)
{
    return (struct sim_rng){ .state = sim_rng_next(r) ^ (purpose * 0xd6e8feb86659fd93ull) };
}

void
sim_rng_fill(struct sim_rng *r, void *out, size_t len)
{
    uint8_t *bytes = out;
    for (size_t i = 0; i < len; i += 8) {
        uint64_t word = sim_rng_next(r);
        memcpy(bytes + i, &word, C2_MIN(len - i, sizeof word));
    }
}

/* ---- events ---------------------------------------------------------------------------------- */

static bool
earlier(const struct sim_entry *a, const struct sim_entry *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->seq < b->seq;
}

static void
place(struct sim_world *w, size_t index, struct sim_entry e)
{
    w->heap[index] = e;
    e.timer->heap_index = index;
}

static void
move_up(struct sim_world *w, size_t index)
{
    struct sim_entry e = w->heap[index];
    for (; index > 1 && earlier(&e, &w->heap[index / 2]); index /= 2)
        place(w, index, w->heap[index / 2]);
    place(w, index, e);
}

static void
move_down(struct sim_world *w, size_t index)
{
    struct sim_entry e = w->heap[index];
    for (size_t child = 2 * index; child <= w->heap_count; child = 2 * index) {
        if (child < w->heap_count && earlier(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!earlier(&w->heap[child], &e))
            break;
        place(w, index, w->heap[child]);
        index = child;
    }
    place(w, index, e);
}

static void
remove_at(struct sim_world *w, size_t index)
{
    struct sim_entry gone = w->heap[index];
    struct sim_entry last = w->heap[w->heap_count--];
    gone.timer->heap_index = 0;
    if (last.timer == gone.timer)
        return;
    place(w, index, last);
    move_up(w, index);
    move_down(w, last.timer->heap_index);
}

void
sim_stop(struct sim_world *w, struct c2_timer *t)
{
    if (t->heap_index == 0)
        return;
    C2_ASSERT(t->heap_index <= w->heap_count && w->heap[t->heap_index].timer == t);
    remove_at(w, t->heap_index);
}

static void
arm(struct sim_world *w, struct c2_timer *t, uint64_t at_ns, struct sim_node *node)
{
    C2_ASSERT(t->fire != NULL);
    sim_stop(w, t);
    if (w->heap_count + 2 > w->heap_cap) {
        struct sim_life *before = sim_life_enter(NULL);
        w->heap_cap = C2_MAX(256, w->heap_cap * 2);
        w->heap = c2_realloc(w->heap, w->heap_cap, sizeof *w->heap);
        sim_life_leave(before);
    }
    w->heap_count++;
    w->heap[w->heap_count] =
        (struct sim_entry){ .at_ns = at_ns, .seq = w->seq++, .timer = t, .node = node };
    move_up(w, w->heap_count);
}

void
sim_arm(struct sim_world *w, struct c2_timer *t, uint64_t at_ns)
{
    t->deadline_ns = at_ns;
    arm(w, t, at_ns, NULL);
}

void
sim_arm_node(struct sim_node *n, struct c2_timer *t, uint64_t at_ns)
{
    arm(n->w, t, at_ns, n);
}

static void
disarm_node(struct sim_world *w, const struct sim_node *n)
{
    for (size_t i = w->heap_count; i >= 1; i--) {
        if (w->heap[i].node == n) {
            remove_at(w, i);
            i = w->heap_count + 1; /* the heap has moved */
        }
    }
}

bool
sim_step(struct sim_world *w)
{
    if (w->heap_count == 0 || w->heap[1].at_ns == C2_NEVER)
        return false;
    struct sim_entry e = w->heap[1];
    w->now_ns = C2_MAX(w->now_ns, e.at_ns);
    SIM_CHECK(w, ++w->events < w->events_max, "livelock: more than %llu events",
              (unsigned long long)w->events_max);
    remove_at(w, 1);
    struct sim_life *before = sim_life_enter(e.node != NULL ? &e.node->life : NULL);
    e.timer->fire(e.timer);
    sim_life_leave(before);
    return true;
}

void
sim_run_until(struct sim_world *w, const bool *flag, uint64_t max_ns, const char *what)
{
    uint64_t end_ns = w->now_ns + max_ns;
    while (!*flag) {
        SIM_CHECK(w, sim_step(w), "%s: nothing is pending, it would never happen", what);
        SIM_CHECK(w, w->now_ns <= end_ns, "%s: not within %llu virtual seconds", what,
                  (unsigned long long)(max_ns / C2_NS_PER_S));
    }
}

void
sim_run_for(struct sim_world *w, uint64_t ns)
{
    uint64_t end_ns = w->now_ns + ns;
    while (w->heap_count > 0 && w->heap[1].at_ns <= end_ns)
        sim_step(w);
    w->now_ns = end_ns;
}

struct sim_world *
sim_world_new(const char *scenario, uint64_t seed, bool trace)
{
    struct sim_world *w = c2_calloc(1, sizeof *w);
    w->seed = seed;
    w->scenario = scenario;
    w->trace = trace;
    w->now_ns = C2_NS_PER_S; /* not 0: nobody may take 0 for a time */
    w->events_max = EVENTS_MAX;
    w->rng.state = seed;
    return w;
}

void
sim_world_free(struct sim_world *w)
{
    C2_ASSERT(w->heap_count == 0);
    c2_free(w->heap);
    c2_free(w);
}

void
sim_trace(struct sim_world *w, const char *who, const char *fmt, ...)
{
    if (!w->trace)
        return;
    va_list args;
    va_start(args, fmt);
    printf("%4llu.%06llu  %-8s ", (unsigned long long)(w->now_ns / C2_NS_PER_S),
           (unsigned long long)(w->now_ns % C2_NS_PER_S / 1000), who);
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
}

void
sim_fail(struct sim_world *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fflush(stdout);
    fprintf(stderr, "c2sim: seed %llu, %s, at %llu.%06llu s: ", (unsigned long long)w->seed,
            w->scenario, (unsigned long long)(w->now_ns / C2_NS_PER_S),
            (unsigned long long)(w->now_ns % C2_NS_PER_S / 1000));
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n");
    va_end(args);
    abort();
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static struct sim_node *
from_env(struct c2_env *e)
{
    return C2_CONTAINER_OF(e, struct sim_node, env);
}

static uint64_t
node_now_ns(struct c2_env *e)
{
    return from_env(e)->w->now_ns;
}

static uint64_t
node_wall_ns(struct c2_env *e)
{
    return from_env(e)->w->now_ns + from_env(e)->wall_offset_ns;
}

static void
node_random(struct c2_env *e, void *out, size_t len)
{
    sim_rng_fill(&from_env(e)->rng, out, len);
}

static void
node_timer_arm(struct c2_env *e, struct c2_timer *t, uint64_t deadline_ns)
{
    struct sim_node *n = from_env(e);
    t->deadline_ns = deadline_ns;
    uint64_t slack_ns = sim_rng_below(&n->rng, n->slack_max_ns + 1);
    arm(n->w, t, deadline_ns < C2_NEVER - slack_ns ? deadline_ns + slack_ns : C2_NEVER, n);
}

static void
node_timer_stop(struct c2_env *e, struct c2_timer *t)
{
    sim_stop(from_env(e)->w, t);
}

static void
node_defer(struct c2_env *e, struct c2_task *task)
{
    struct sim_node *n = from_env(e);
    C2_ASSERT(task->run != NULL);
    if (c2_link_linked(&task->link))
        return;
    c2_list_append(&n->tasks, &task->link);
    if (!c2_timer_armed(&n->task_timer))
        arm(n->w, &n->task_timer, n->w->now_ns, n);
}

static void
run_task(struct c2_timer *t)
{
    struct sim_node *n = C2_CONTAINER_OF(t, struct sim_node, task_timer);
    struct c2_task *task = C2_LIST_FIRST(&n->tasks, struct c2_task, link);
    c2_list_remove(&n->tasks, &task->link);
    if (!c2_list_empty(&n->tasks))
        arm(n->w, t, n->w->now_ns, n);
    task->run(task);
}

struct job {
    struct c2_link link; /* node->jobs */
    struct c2_timer timer;
    struct sim_node *n;
    struct c2_work *work;
    bool ran;
};

/* The work and its completion are two events: a crash fits between them. */
static void
job_due(struct c2_timer *t)
{
    struct job *job = C2_CONTAINER_OF(t, struct job, timer);
    struct sim_node *n = job->n;
    struct c2_work *work = job->work;
    if (!job->ran) {
        job->ran = true;
        work->run(work);
        arm(n->w, t, n->w->now_ns + sim_rng_below(&n->rng, n->job_max_ns + 1), n);
        return;
    }
    c2_list_remove(&n->jobs, &job->link);
    c2_free(job);
    work->done(work);
}

static void
node_work(struct c2_env *e, struct c2_work *work)
{
    struct sim_node *n = from_env(e);
    C2_ASSERT(work->run != NULL && work->done != NULL);
    struct job *job = c2_calloc(1, sizeof *job);
    job->n = n;
    job->work = work;
    job->timer.fire = job_due;
    c2_list_append(&n->jobs, &job->link);
    arm(n->w, &job->timer, n->w->now_ns + sim_rng_below(&n->rng, n->job_max_ns + 1), n);
}

static void
node_disk(struct c2_env *e, struct c2_disk_req *r)
{
    struct sim_node *n = from_env(e);
    C2_ASSERT(n->disk != NULL && r->done != NULL);
    sim_disk_submit(n->disk, n, r);
}

static const struct c2_env_ops node_ops = {
    .now_ns = node_now_ns,
    .wall_ns = node_wall_ns,
    .random = node_random,
    .timer_arm = node_timer_arm,
    .timer_stop = node_timer_stop,
    .defer = node_defer,
    .work = node_work,
    .disk = node_disk,
};

static void
begin_life(struct sim_node *n)
{
    sim_life_init(&n->life);
    c2_list_init(&n->tasks);
    c2_list_init(&n->jobs);
    n->task_timer = (struct c2_timer){ .fire = run_task };
    n->lives++;
}

struct sim_node *
sim_node_new(struct sim_world *w, const char *name, struct sim_disk *disk)
{
    struct sim_node *n = c2_calloc(1, sizeof *n);
    n->env.ops = &node_ops;
    n->w = w;
    n->disk = disk;
    snprintf(n->name, sizeof n->name, "%s", name);
    n->rng = sim_rng_fork(&w->rng, 1);
    n->wall_offset_ns = SIM_WALL_BASE_NS;
    n->job_max_ns = sim_rng_scale(&n->rng, 10000, 20 * C2_NS_PER_MS);
    n->slack_max_ns = sim_rng_scale(&n->rng, 1000, 10 * C2_NS_PER_MS);
    c2_list_init(&n->hooks);
    begin_life(n);
    return n;
}

void
sim_node_hook(struct sim_node *n, struct sim_hook *h)
{
    c2_list_append(&n->hooks, &h->link);
}

void
sim_node_quiet(struct sim_node *n)
{
    struct sim_world *w = n->w;
    SIM_CHECK(w, c2_list_empty(&n->tasks), "%s ended with a task", n->name);
    SIM_CHECK(w, c2_list_empty(&n->jobs), "%s ended with a job", n->name);
    for (size_t i = 1; i <= w->heap_count; i++)
        SIM_CHECK(w, w->heap[i].node != n, "%s ended with a timer or disk request", n->name);
    SIM_CHECK(w, n->life.blocks.count == 0, "%s leaked %zu bytes in %zu blocks", n->name,
              n->life.bytes, n->life.blocks.count);
    if (n->disk != NULL)
        SIM_CHECK(w, !sim_disk_in_use(n->disk, n), "%s ended with an open file or request",
                  n->name);
}

void
sim_node_free(struct sim_node *n)
{
    sim_node_quiet(n);
    c2_free(n);
}

struct c2_env *
sim_node_env(struct sim_node *n)
{
    return &n->env;
}

struct sim_life *
sim_node_enter(struct sim_node *n)
{
    return sim_life_enter(&n->life);
}

void
sim_node_crash(struct sim_node *n, enum sim_crash how)
{
    struct sim_life *before = sim_life_enter(NULL);
    sim_trace(n->w, n->name, "%s", how == SIM_CRASH_DAEMON ? "is killed" : "loses power");
    if (n->disk != NULL)
        sim_disk_crash(n->disk, n, how);
    disarm_node(n->w, n);
    C2_LIST_FOREACH (&n->hooks, struct sim_hook, h, link)
        h->died(h->arg, n);
    sim_life_drop(&n->life);
    begin_life(n);
    sim_life_leave(before);
}
