/* SPDX-License-Identifier: MIT */
/*
 * The deterministic environment of test_env.h. Ready things wait in four lists that are served in
 * turn (tasks first), timers in a binary heap ordered by deadline and then by the order of arming.
 */
#include "tests/lib/test_env.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_AT_ONE_TIME_MAX 20000000u

struct heap_entry {
    struct c2_timer *timer;
    uint64_t seq;
};

struct test_env {
    struct c2_env env;
    uint64_t now_ns;
    uint64_t wall_offset_ns;
    uint64_t random_state;
    struct c2_list tasks, works, works_done, disks;
    struct heap_entry *heap; /* 1-based: heap[0] is unused */
    size_t heap_count, heap_cap;
    uint64_t timer_seq;
    uint64_t steps_at_now;
    bool fast_disk;
    char dir[64];
    enum c2_err (*disk_hook)(void *arg, const struct c2_disk_req *r);
    void *disk_hook_arg;
    uint64_t disk_counts[C2_DISK_STATFS + 1];
};

static struct test_env *
from_env(struct c2_env *e)
{
    return C2_CONTAINER_OF(e, struct test_env, env);
}

static uint64_t
env_now_ns(struct c2_env *e)
{
    return from_env(e)->now_ns;
}

static uint64_t
env_wall_ns(struct c2_env *e)
{
    return from_env(e)->now_ns + from_env(e)->wall_offset_ns;
}

/* splitmix64 */
static uint64_t
next_random(struct test_env *t)
{
    uint64_t z = (t->random_state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static void
env_random(struct c2_env *e, void *out, size_t len)
{
    uint8_t *bytes = out;
    for (size_t i = 0; i < len; i += 8) {
        uint64_t word = next_random(from_env(e));
        memcpy(bytes + i, &word, C2_MIN(len - i, sizeof word));
    }
}

static bool
earlier(const struct heap_entry *a, const struct heap_entry *b)
{
    if (a->timer->deadline_ns != b->timer->deadline_ns)
        return a->timer->deadline_ns < b->timer->deadline_ns;
    return a->seq < b->seq;
}

static void
heap_place(struct test_env *t, size_t index, struct heap_entry entry)
{
    t->heap[index] = entry;
    entry.timer->heap_index = index;
}

static void
heap_up(struct test_env *t, size_t index)
{
    struct heap_entry entry = t->heap[index];
    while (index > 1 && earlier(&entry, &t->heap[index / 2])) {
        heap_place(t, index, t->heap[index / 2]);
        index /= 2;
    }
    heap_place(t, index, entry);
}

static void
heap_down(struct test_env *t, size_t index)
{
    struct heap_entry entry = t->heap[index];
    for (;;) {
        size_t child = 2 * index;
        if (child > t->heap_count)
            break;
        if (child < t->heap_count && earlier(&t->heap[child + 1], &t->heap[child]))
            child++;
        if (!earlier(&t->heap[child], &entry))
            break;
        heap_place(t, index, t->heap[child]);
        index = child;
    }
    heap_place(t, index, entry);
}

static void
env_timer_stop(struct c2_env *e, struct c2_timer *timer)
{
    struct test_env *t = from_env(e);
    size_t index = timer->heap_index;
    if (index == 0)
        return;
    C2_ASSERT(index <= t->heap_count && t->heap[index].timer == timer);
    struct heap_entry last = t->heap[t->heap_count--];
    timer->heap_index = 0;
    if (last.timer == timer)
        return;
    heap_place(t, index, last);
    heap_up(t, index);
    heap_down(t, last.timer->heap_index);
}

static void
env_timer_arm(struct c2_env *e, struct c2_timer *timer, uint64_t deadline_ns)
{
    struct test_env *t = from_env(e);
    C2_ASSERT(timer->fire != NULL);
    env_timer_stop(e, timer);
    timer->deadline_ns = deadline_ns;
    if (t->heap_count + 2 > t->heap_cap) {
        t->heap_cap = C2_MAX(64, t->heap_cap * 2);
        t->heap = c2_realloc(t->heap, t->heap_cap, sizeof *t->heap);
    }
    t->heap_count++;
    t->heap[t->heap_count] = (struct heap_entry){ .timer = timer, .seq = t->timer_seq++ };
    heap_up(t, t->heap_count);
}

static void
env_defer(struct c2_env *e, struct c2_task *task)
{
    C2_ASSERT(task->run != NULL);
    if (!c2_link_linked(&task->link))
        c2_list_append(&from_env(e)->tasks, &task->link);
}

static void
env_work(struct c2_env *e, struct c2_work *w)
{
    C2_ASSERT(w->run != NULL && w->done != NULL);
    c2_list_append(&from_env(e)->works, &w->link);
}

static void
env_disk(struct c2_env *e, struct c2_disk_req *r)
{
    C2_ASSERT(r->done != NULL);
    c2_list_append(&from_env(e)->disks, &r->link);
}

static const struct c2_env_ops env_ops = {
    .now_ns = env_now_ns,
    .wall_ns = env_wall_ns,
    .random = env_random,
    .timer_arm = env_timer_arm,
    .timer_stop = env_timer_stop,
    .defer = env_defer,
    .work = env_work,
    .disk = env_disk,
};

struct test_env *
test_env_new(uint64_t seed)
{
    struct test_env *t = c2_calloc(1, sizeof *t);
    t->env.ops = &env_ops;
    t->random_state = seed;
    t->now_ns = C2_NS_PER_S; /* not 0: nobody may take 0 for a time */
    t->wall_offset_ns = 1700000000ull * C2_NS_PER_S;
    c2_list_init(&t->tasks);
    c2_list_init(&t->works);
    c2_list_init(&t->works_done);
    c2_list_init(&t->disks);
    snprintf(t->dir, sizeof t->dir, "/tmp/c2fs-test-XXXXXX");
    if (mkdtemp(t->dir) == NULL)
        fail_msg("cannot make a temporary directory");
    return t;
}

void
test_env_free(struct test_env *t)
{
    if (t == NULL)
        return;
    C2_ASSERT(c2_list_empty(&t->tasks) && c2_list_empty(&t->disks));
    C2_ASSERT(c2_list_empty(&t->works) && c2_list_empty(&t->works_done));
    test_disk_remove_tree(t->dir);
    c2_free(t->heap);
    c2_free(t);
}

struct c2_env *
test_env_env(struct test_env *t)
{
    return &t->env;
}

void
test_env_fast_disk(struct test_env *t)
{
    t->fast_disk = true;
}

const char *
test_env_dir(const struct test_env *t)
{
    return t->dir;
}

char *
test_env_path(const struct test_env *t, const char *name)
{
    return c2_asprintf("%s/%s", t->dir, name);
}

static void
run_verb(struct test_env *t, struct c2_disk_req *r)
{
    t->disk_counts[r->verb]++;
    enum c2_err err = t->disk_hook == NULL ? C2_E_OK : t->disk_hook(t->disk_hook_arg, r);
    if (err == C2_E_OK) {
        test_disk_execute(r);
    } else {
        r->err = err;
        r->reply = NULL;
    }
}

/* To hooks and counters, a durable PWRITE is a PWRITE and a SYNC. */
static void
run_disk(struct test_env *t, struct c2_disk_req *r)
{
    size_t dir_len = strlen(t->dir);
    C2_ASSERT(r->path == NULL || strncmp(r->path, t->dir, dir_len) == 0);
    C2_ASSERT(r->path2 == NULL || strncmp(r->path2, t->dir, dir_len) == 0);
    run_verb(t, r);
    if (r->err == C2_E_OK && r->verb == C2_DISK_PWRITE && (r->flags & C2_DISK_DURABLE) != 0) {
        r->verb = C2_DISK_SYNC;
        run_verb(t, r);
        r->verb = C2_DISK_PWRITE;
    }
    r->done(r);
}

static bool
step_disk(struct test_env *t)
{
    if (c2_list_empty(&t->disks))
        return false;
    struct c2_disk_req *r = C2_LIST_FIRST(&t->disks, struct c2_disk_req, link);
    c2_list_remove(&t->disks, &r->link);
    run_disk(t, r);
    return true;
}

static bool
step_work(struct test_env *t)
{
    bool done = !c2_list_empty(&t->works_done);
    struct c2_work *w = C2_LIST_FIRST(done ? &t->works_done : &t->works, struct c2_work, link);
    if (w == NULL)
        return false;
    c2_list_remove(done ? &t->works_done : &t->works, &w->link);
    if (done) {
        w->done(w);
    } else {
        w->run(w);
        c2_list_append(&t->works_done, &w->link);
    }
    return true;
}

/* Something that needs no time to pass. */
static bool
step_ready(struct test_env *t)
{
    if (!c2_list_empty(&t->tasks)) {
        struct c2_task *task = C2_LIST_FIRST(&t->tasks, struct c2_task, link);
        c2_list_remove(&t->tasks, &task->link);
        task->run(task);
    } else if (!(t->fast_disk && step_disk(t)) && !step_work(t) && !step_disk(t)) {
        return false;
    }
    if (++t->steps_at_now > STEPS_AT_ONE_TIME_MAX)
        fail_msg("test_env: a loop that never lets time pass");
    return true;
}

/* The next timer, if it is due by then. */
static bool
step_timer(struct test_env *t, uint64_t until_ns)
{
    if (t->heap_count == 0 || t->heap[1].timer->deadline_ns > until_ns)
        return false;
    struct c2_timer *timer = t->heap[1].timer;
    if (timer->deadline_ns > t->now_ns) {
        t->now_ns = timer->deadline_ns;
        t->steps_at_now = 0;
    } else if (++t->steps_at_now > STEPS_AT_ONE_TIME_MAX) {
        fail_msg("test_env: a timer that never lets time pass");
    }
    env_timer_stop(&t->env, timer);
    timer->fire(timer);
    return true;
}

/* A timer at C2_NEVER is armed but will not fire. */
bool
test_env_step(struct test_env *t)
{
    return step_ready(t) || step_timer(t, C2_NEVER - 1);
}

void
test_env_run_until(struct test_env *t, const bool *flag)
{
    uint64_t end_ns = t->now_ns + TEST_ENV_RUN_MAX_NS;
    while (!*flag) {
        if (!test_env_step(t))
            fail_msg("test_env: nothing is pending, the flag would never be set");
        if (t->now_ns > end_ns)
            fail_msg("test_env: the flag was not set within the longest virtual time");
    }
}

void
test_env_run_ready(struct test_env *t)
{
    while (step_ready(t)) {
    }
}

void
test_env_run_for(struct test_env *t, uint64_t ns)
{
    uint64_t end_ns = t->now_ns + ns;
    while (step_ready(t) || step_timer(t, end_ns)) {
    }
    t->now_ns = end_ns;
}

void
test_env_run_idle(struct test_env *t)
{
    uint64_t end_ns = t->now_ns + TEST_ENV_RUN_MAX_NS;
    while (test_env_step(t)) {
        if (t->now_ns > end_ns)
            fail_msg("test_env: did not become idle within the longest virtual time");
    }
}

bool
test_env_has_timers(const struct test_env *t)
{
    return t->heap_count > 0;
}

void
test_env_wall_jump(struct test_env *t, int64_t ns)
{
    t->wall_offset_ns += (uint64_t)ns;
}

void
test_env_set_disk_hook(struct test_env *t,
                       enum c2_err (*hook)(void *arg, const struct c2_disk_req *r), void *arg)
{
    t->disk_hook = hook;
    t->disk_hook_arg = arg;
}

uint64_t
test_env_disk_count(const struct test_env *t, enum c2_disk_verb verb)
{
    return t->disk_counts[verb];
}
