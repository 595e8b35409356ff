/* SPDX-License-Identifier: MIT */
/*
 * The loop with real threads, timers, descriptors and signals.
 */
#include "base/os_loop.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/alloc.h"

struct fixture {
    struct c2_os *os;
    struct c2_env *env;
    struct c2_buf trace; /* one letter per event */
    bool over;
};

/* Anything that writes a letter when it runs, and may end the run. */
struct probe {
    struct fixture *f;
    char letter;
    bool last;
    int count;
    struct c2_task task;
    struct c2_timer timer;
    struct c2_work work;
    pthread_t ran_on;
    bool all_signals_blocked;
};

static int
setup(void **state)
{
    struct fixture *f = c2_calloc(1, sizeof(*f));
    assert_int_equal(c2_os_new(2, &f->os), C2_E_OK);
    f->env = c2_os_env(f->os);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    c2_os_free(f->os);
    c2_buf_done(&f->trace);
    c2_free(f);
    return 0;
}

static void
note(struct probe *p)
{
    c2_buf_append(&p->f->trace, &p->letter, 1);
    p->count++;
    if (p->last)
        p->f->over = true;
}

static void
task_run(struct c2_task *t)
{
    note(C2_CONTAINER_OF(t, struct probe, task));
}

static void
timer_fire(struct c2_timer *t)
{
    note(C2_CONTAINER_OF(t, struct probe, timer));
}

static void
work_run(struct c2_work *w)
{
    struct probe *p = C2_CONTAINER_OF(w, struct probe, work);
    p->ran_on = pthread_self();
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    p->all_signals_blocked = sigismember(&mask, SIGINT) == 1 && sigismember(&mask, SIGTERM) == 1 &&
                             sigismember(&mask, SIGHUP) == 1 && sigismember(&mask, SIGCHLD) == 1;
}

static void
work_done(struct c2_work *w)
{
    note(C2_CONTAINER_OF(w, struct probe, work));
}

static struct probe
probe(struct fixture *f, char letter, bool last)
{
    return (struct probe){ .f = f,
                           .letter = letter,
                           .last = last,
                           .task.run = task_run,
                           .timer.fire = timer_fire,
                           .work.run = work_run,
                           .work.done = work_done };
}

static void
check_trace(struct fixture *f, const char *expected)
{
    assert_string_equal(c2_buf_cstr(&f->trace), expected);
}

static void
defer__runs_in_order_and_once(void **state)
{
    struct fixture *f = *state;
    struct probe a = probe(f, 'a', false), b = probe(f, 'b', false), c = probe(f, 'c', true);
    c2_defer(f->env, &a.task);
    c2_defer(f->env, &b.task);
    c2_defer(f->env, &a.task);
    c2_defer(f->env, &c.task);
    assert_int_equal(f->trace.len, 0);
    c2_os_run_until(f->os, &f->over);
    check_trace(f, "abc");
}

static void
again_run(struct c2_task *t)
{
    struct probe *p = C2_CONTAINER_OF(t, struct probe, task);
    note(p);
    c2_defer(p->f->env, t);
}

/* A task that defers itself for ever must not keep timers and pool jobs from running. */
static void
defer__does_not_starve_the_others(void **state)
{
    struct fixture *f = *state;
    struct probe again = probe(f, 'x', false), work = probe(f, 'w', false);
    struct probe timer = probe(f, 't', false);
    again.task.run = again_run;
    c2_defer(f->env, &again.task);
    c2_work(f->env, &work.work);
    work.last = true;
    c2_os_run_until(f->os, &f->over);
    f->over = false;
    timer.last = true;
    c2_timer_arm(f->env, &timer.timer, c2_now_ns(f->env));
    c2_os_run_until(f->os, &f->over);
    assert_int_equal(work.count, 1);
    assert_int_equal(timer.count, 1);
    assert_true(again.count > 0);
}

static void
timer__fires_in_deadline_order_and_not_early(void **state)
{
    struct fixture *f = *state;
    struct probe a = probe(f, 'a', false), b = probe(f, 'b', false), c = probe(f, 'c', true);
    struct probe stopped = probe(f, 's', false);
    uint64_t now = c2_now_ns(f->env);
    c2_timer_arm(f->env, &c.timer, now + 3 * C2_NS_PER_MS);
    c2_timer_arm(f->env, &stopped.timer, now + 1);
    c2_timer_arm(f->env, &a.timer, now + 9 * C2_NS_PER_MS);
    c2_timer_arm(f->env, &b.timer, now + 2 * C2_NS_PER_MS);
    c2_timer_arm(f->env, &a.timer, now + C2_NS_PER_MS); /* moves */
    assert_true(c2_timer_armed(&stopped.timer));
    c2_timer_stop(f->env, &stopped.timer);
    assert_false(c2_timer_armed(&stopped.timer));
    c2_timer_stop(f->env, &stopped.timer);
    c2_os_run_until(f->os, &f->over);
    check_trace(f, "abc");
    assert_true(c2_now_ns(f->env) >= now + 3 * C2_NS_PER_MS);
    assert_false(c2_timer_armed(&c.timer));
}

static void
rearm_fire(struct c2_timer *t)
{
    struct probe *p = C2_CONTAINER_OF(t, struct probe, timer);
    note(p);
    if (p->count < 3)
        c2_timer_arm(p->f->env, t, 0);
    else
        p->f->over = true;
}

static void
timer__may_be_armed_again_from_fire(void **state)
{
    struct fixture *f = *state;
    struct probe p = probe(f, 'r', false);
    p.timer.fire = rearm_fire;
    c2_timer_arm(f->env, &p.timer, 0);
    c2_os_run_until(f->os, &f->over);
    check_trace(f, "rrr");
}

static void
work__runs_elsewhere_with_signals_blocked(void **state)
{
    struct fixture *f = *state;
    struct probe p = probe(f, 'w', true);
    c2_work(f->env, &p.work);
    assert_int_equal(f->trace.len, 0);
    c2_os_run_until(f->os, &f->over);
    check_trace(f, "w");
    assert_false(pthread_equal(p.ran_on, pthread_self()));
    assert_true(p.all_signals_blocked);
}

static void
count_done(struct c2_work *w)
{
    struct probe *p = C2_CONTAINER_OF(w, struct probe, work);
    note(p);
    if (p->f->trace.len == 1000)
        p->f->over = true;
}

static void
work__completes_all_of_many(void **state)
{
    struct fixture *f = *state;
    enum { JOBS = 1000 };
    struct probe *p = c2_calloc(JOBS, sizeof(*p));
    for (int i = 0; i < JOBS; i++) {
        p[i] = probe(f, 'm', false);
        p[i].work.done = count_done;
        c2_work(f->env, &p[i].work);
    }
    c2_os_run_until(f->os, &f->over);
    for (int i = 0; i < JOBS; i++)
        assert_int_equal(p[i].count, 1);
    c2_free(p);
}

struct gate {
    struct probe probe;
    int fds[2];
};

static void
gate_run(struct c2_work *w)
{
    struct gate *g = C2_CONTAINER_OF(w, struct gate, probe.work);
    char byte;
    g->probe.ran_on = pthread_self();
    while (read(g->fds[0], &byte, 1) < 0)
        continue;
}

struct disk_probe {
    struct c2_disk_req req;
    bool over;
};

static void
disk_done(struct c2_disk_req *r)
{
    C2_CONTAINER_OF(r, struct disk_probe, req)->over = true;
}

static void
disk__goes_on_while_work_is_stuck(void **state)
{
    struct fixture *f = *state;
    struct gate gates[2];
    for (int i = 0; i < 2; i++) {
        gates[i].probe = probe(f, 'g', false);
        gates[i].probe.work.run = gate_run;
        assert_int_equal(pipe(gates[i].fds), 0);
        c2_work(f->env, &gates[i].probe.work);
    }
    struct disk_probe d = { .req = { .verb = C2_DISK_STATFS, .path = "/", .done = disk_done } };
    c2_disk(f->env, &d.req);
    assert_false(d.over);
    c2_os_run_until(f->os, &d.over);
    assert_int_equal(d.req.err, C2_E_OK);
    assert_true(d.req.size > 0);
    check_trace(f, "");

    struct probe after = probe(f, 'a', true); /* first in, first out: the gates come before */
    c2_work(f->env, &after.work);
    for (int i = 0; i < 2; i++)
        assert_int_equal(write(gates[i].fds[1], "x", 1), 1);
    while (f->trace.len < 3) {
        f->over = false;
        after.last = gates[0].probe.last = gates[1].probe.last = true;
        c2_os_run_until(f->os, &f->over);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(gates[i].probe.count, 1);
        close(gates[i].fds[0]);
        close(gates[i].fds[1]);
    }
}

/* The reply of a request that completes, or not, while the loop is freed. */
static void
free__drops_what_nobody_waits_for(void **state)
{
    struct fixture *f = *state;
    struct disk_probe d[20];
    for (size_t i = 0; i < C2_ARRAY_LEN(d); i++) {
        d[i] = (struct disk_probe){ .req = { .verb = C2_DISK_READ,
                                             .path = "/proc/self/exe",
                                             .len_max = 1000,
                                             .done = disk_done } };
        c2_disk(f->env, &d[i].req);
    }
    c2_os_free(f->os);
    for (size_t i = 0; i < C2_ARRAY_LEN(d); i++)
        assert_false(d[i].over);
    assert_int_equal(c2_os_new(1, &f->os), C2_E_OK);
}

static void *
stop_from_elsewhere(void *arg)
{
    c2_os_stop(arg);
    return NULL;
}

static void
stop__ends_a_run_from_another_thread(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    struct probe p = probe(f, 'p', true);
    assert_int_equal(pthread_create(&thread, NULL, stop_from_elsewhere, f->os), 0);
    c2_os_run(f->os);
    assert_int_equal(pthread_join(thread, NULL), 0);
    /* ... and the loop can run again. */
    c2_defer(f->env, &p.task);
    c2_os_run_until(f->os, &f->over);
    check_trace(f, "p");
}

struct reader {
    struct c2_fd_watch watch;
    struct fixture *f;
    struct reader *victim; /* is unwatched by the first event */
    int fds[2];
    unsigned last_events;
    int count;
};

static void
reader_ready(struct c2_fd_watch *w, unsigned events)
{
    struct reader *r = C2_CONTAINER_OF(w, struct reader, watch);
    r->count++;
    r->last_events = events;
    if (r->victim != NULL)
        c2_os_unwatch(r->f->os, &r->victim->watch);
    r->f->over = true;
}

static void
reader_init(struct reader *r, struct fixture *f)
{
    *r = (struct reader){ .f = f };
    assert_int_equal(pipe(r->fds), 0);
    r->watch = (struct c2_fd_watch){ .fd = r->fds[0], .events = C2_FD_IN, .ready = reader_ready };
    assert_int_equal(c2_os_watch(f->os, &r->watch), C2_E_OK);
}

static void
reader_done(struct reader *r)
{
    c2_os_unwatch(r->f->os, &r->watch);
    close(r->fds[0]);
    if (r->fds[1] >= 0)
        close(r->fds[1]);
}

static void
run_again(struct fixture *f)
{
    f->over = false;
    c2_os_run_until(f->os, &f->over);
}

static void
watch__is_level_triggered_and_can_pause(void **state)
{
    struct fixture *f = *state;
    struct reader r;
    reader_init(&r, f);
    assert_int_equal(write(r.fds[1], "x", 1), 1);
    run_again(f);
    run_again(f);
    assert_int_equal(r.count, 2);
    assert_int_equal(r.last_events, C2_FD_IN);

    r.watch.events = 0;
    assert_int_equal(c2_os_watch(f->os, &r.watch), C2_E_OK);
    struct probe p = probe(f, 'p', true);
    c2_timer_arm(f->env, &p.timer, c2_now_ns(f->env) + C2_NS_PER_MS);
    run_again(f);
    assert_int_equal(r.count, 2);
    r.watch.events = C2_FD_IN;
    assert_int_equal(c2_os_watch(f->os, &r.watch), C2_E_OK);
    run_again(f);
    assert_int_equal(r.count, 3);
    reader_done(&r);
}

static void
watch__tells_about_room_to_write_and_hang_up(void **state)
{
    struct fixture *f = *state;
    struct reader r, w;
    reader_init(&r, f);
    close(r.fds[1]);
    r.fds[1] = -1;
    run_again(f);
    assert_int_equal(r.count, 1);
    assert_int_equal(r.last_events, C2_FD_IN);
    reader_done(&r);

    reader_init(&w, f);
    c2_os_unwatch(f->os, &w.watch);
    w.watch.fd = w.fds[1];
    w.watch.events = C2_FD_OUT;
    assert_int_equal(c2_os_watch(f->os, &w.watch), C2_E_OK);
    run_again(f);
    assert_int_equal(w.last_events, C2_FD_OUT);
    reader_done(&w);
}

/* Both have an event in the same round; whoever comes first takes the other away. */
static void
unwatch__holds_in_the_same_round(void **state)
{
    struct fixture *f = *state;
    struct reader a, b;
    reader_init(&a, f);
    reader_init(&b, f);
    a.victim = &b;
    b.victim = &a;
    assert_int_equal(write(a.fds[1], "x", 1), 1);
    assert_int_equal(write(b.fds[1], "x", 1), 1);
    run_again(f);
    assert_int_equal(a.count + b.count, 1);
    reader_done(&a);
    reader_done(&b);
}

static void
watch__refuses_a_descriptor_that_is_none(void **state)
{
    struct fixture *f = *state;
    struct c2_fd_watch w = { .fd = -1, .events = C2_FD_IN, .ready = reader_ready };
    assert_int_equal(c2_os_watch(f->os, &w), C2_E_BAD_HANDLE);
    c2_os_unwatch(f->os, &w);
}

static void
on_signal(void *arg, int signo)
{
    struct fixture *f = arg;
    c2_buf_printf(&f->trace, "%d ", signo);
    f->over = true;
}

static void
signals__arrive_on_the_loop(void **state)
{
    struct fixture *f = *state;
    char expected[32];
    snprintf(expected, sizeof(expected), "%d %d ", SIGHUP, SIGTERM);
    assert_int_equal(c2_os_signals(f->os, on_signal, f), C2_E_OK);
    assert_int_equal(kill(getpid(), SIGHUP), 0);
    run_again(f);
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    run_again(f);
    check_trace(f, expected);
    assert_int_equal(kill(getpid(), SIGPIPE), 0); /* does not end the process */
}

/* Each descriptor that new needs is refused once; the leak check sees what is left behind. */
static void
new__fails_cleanly_without_descriptors(void **state)
{
    (void)state;
    struct rlimit before, none;
    int lowest = dup(STDERR_FILENO);
    assert_true(lowest >= 0);
    close(lowest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (int extra = 0; extra < 2; extra++) {
        struct c2_os *os = NULL;
        none = (struct rlimit){ .rlim_cur = (rlim_t)(lowest + extra), .rlim_max = before.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        enum c2_err err = c2_os_new(1, &os);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_equal(err, C2_E_BUSY);
        assert_null(os);
    }
    c2_os_free(NULL);
}

static void
clocks__move_and_random_differs(void **state)
{
    struct fixture *f = *state;
    uint64_t a = c2_now_ns(f->env), b = c2_now_ns(f->env);
    assert_true(b >= a);
    assert_true(c2_wall_ns(f->env) > 1600000000 * C2_NS_PER_S);
    uint8_t x[16], y[16];
    c2_random(f->env, x, sizeof(x));
    c2_random(f->env, y, sizeof(y));
    assert_memory_not_equal(x, y, sizeof(x));
}

/* A request whose completion starts another one, as the removal of a file does: close, unlink. */
struct chain {
    struct c2_env *env;
    struct c2_disk_req disk;
    int left;
};

static void
next_of_chain(struct c2_disk_req *r)
{
    struct chain *c = C2_CONTAINER_OF(r, struct chain, disk);
    if (--c->left > 0)
        c2_disk(c->env, &c->disk);
}

static void
never(struct c2_timer *t)
{
    (void)t;
    fail_msg("the timer was not to be waited for");
}

static void
drain__ends_what_ends_by_itself_and_waits_for_no_timer(void **state)
{
    struct fixture *f = *state;
    struct c2_timer timer = { .fire = never };
    struct chain c = { .env = f->env, .left = 3 };
    c.disk = (struct c2_disk_req){ .verb = C2_DISK_STAT, .path = "/", .done = next_of_chain };
    c2_timer_arm(f->env, &timer, c2_now_ns(f->env) + 3600 * C2_NS_PER_S);
    c2_disk(f->env, &c.disk);
    c2_os_drain(f->os);
    assert_int_equal(c.left, 0);
    c2_os_drain(f->os); /* nothing is left: returns at once */
    c2_timer_stop(f->env, &timer);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(defer__runs_in_order_and_once, setup, teardown),
        cmocka_unit_test_setup_teardown(defer__does_not_starve_the_others, setup, teardown),
        cmocka_unit_test_setup_teardown(timer__fires_in_deadline_order_and_not_early, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(timer__may_be_armed_again_from_fire, setup, teardown),
        cmocka_unit_test_setup_teardown(work__runs_elsewhere_with_signals_blocked, setup, teardown),
        cmocka_unit_test_setup_teardown(work__completes_all_of_many, setup, teardown),
        cmocka_unit_test_setup_teardown(disk__goes_on_while_work_is_stuck, setup, teardown),
        cmocka_unit_test_setup_teardown(free__drops_what_nobody_waits_for, setup, teardown),
        cmocka_unit_test_setup_teardown(stop__ends_a_run_from_another_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(watch__is_level_triggered_and_can_pause, setup, teardown),
        cmocka_unit_test_setup_teardown(watch__tells_about_room_to_write_and_hang_up, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(unwatch__holds_in_the_same_round, setup, teardown),
        cmocka_unit_test_setup_teardown(watch__refuses_a_descriptor_that_is_none, setup, teardown),
        cmocka_unit_test_setup_teardown(signals__arrive_on_the_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(drain__ends_what_ends_by_itself_and_waits_for_no_timer,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(clocks__move_and_random_differs, setup, teardown),
        cmocka_unit_test_setup_teardown(new__fails_cleanly_without_descriptors, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
