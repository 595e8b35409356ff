/* SPDX-License-Identifier: MIT */
/*
 * The real environment. One round of the loop:
 *
 *   deferred tasks -> completed pool jobs -> due timers -> descriptors (the only place that waits)
 *
 * Each phase handles what was there when it began, so none can starve the others. Before it waits,
 * the loop tells the pool that it sleeps; a thread that completes a job writes the eventfd only
 * then, so that a busy loop costs no system calls.
 */
#include "base/os_loop.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/os_disk.h"
#include "base/os_env.h"
#include "base/os_pool.h"
#include "base/timers.h"

#define EVENTS_MAX   64
#define DISK_THREADS 4

struct c2_os {
    struct c2_env env;
    struct c2_timers timers;
    struct c2_list tasks;
    struct c2_pool *pool; /* owned */
    int epoll_fd;
    bool running;
    bool stop; /* atomic */
    const bool *until;
    struct c2_fd_watch wake; /* eventfd */
    bool whole_ms;           /* the kernel waits for milliseconds only */

    struct epoll_event events[EVENTS_MAX]; /* of the current round; unwatch clears entries */
    int nevents;

    size_t jobs;   /* submitted to the pool and not completed */
    bool draining; /* run until there is none */

    struct c2_fd_watch signals; /* signalfd, or -1 */
    sigset_t old_mask;
    struct sigaction old_pipe;
    void (*on_signal)(void *arg, int signo);
    bool from_terminal; /* the last signal */
    void *on_signal_arg;
};

static struct c2_os *
os_of(struct c2_env *e)
{
    return C2_CONTAINER_OF(e, struct c2_os, env);
}

static uint64_t
op_now_ns(struct c2_env *e)
{
    (void)e;
    return c2_os_now_ns();
}

static uint64_t
op_wall_ns(struct c2_env *e)
{
    (void)e;
    return c2_os_wall_ns();
}

static void
op_random(struct c2_env *e, void *out, size_t len)
{
    (void)e;
    c2_random_bytes(out, len);
}

static void
op_timer_arm(struct c2_env *e, struct c2_timer *t, uint64_t deadline_ns)
{
    C2_ASSERT(t->fire != NULL);
    c2_timers_arm(&os_of(e)->timers, t, deadline_ns);
}

static void
op_timer_stop(struct c2_env *e, struct c2_timer *t)
{
    c2_timers_stop(&os_of(e)->timers, t);
}

static void
op_defer(struct c2_env *e, struct c2_task *t)
{
    C2_ASSERT(t->run != NULL);
    if (!c2_link_linked(&t->link))
        c2_list_append(&os_of(e)->tasks, &t->link);
}

static void
op_work(struct c2_env *e, struct c2_work *w)
{
    C2_ASSERT(w->run != NULL && w->done != NULL);
    os_of(e)->jobs++;
    c2_pool_submit(os_of(e)->pool, C2_LANE_WORK, &w->link);
}

static void
op_disk(struct c2_env *e, struct c2_disk_req *r)
{
    C2_ASSERT(r->done != NULL);
    os_of(e)->jobs++;
    c2_pool_submit(os_of(e)->pool, C2_LANE_DISK, &r->link);
}

static const struct c2_env_ops os_ops = {
    .now_ns = op_now_ns,
    .wall_ns = op_wall_ns,
    .random = op_random,
    .timer_arm = op_timer_arm,
    .timer_stop = op_timer_stop,
    .defer = op_defer,
    .work = op_work,
    .disk = op_disk,
};

static void
run_work(struct c2_link *job)
{
    struct c2_work *w = C2_CONTAINER_OF(job, struct c2_work, link);
    w->run(w);
}

static void
run_disk(struct c2_link *job)
{
    c2_os_disk_run(C2_CONTAINER_OF(job, struct c2_disk_req, link));
}

static void
wake_ready(struct c2_fd_watch *w, unsigned events)
{
    (void)events;
    eventfd_t count;
    eventfd_read(w->fd, &count);
}

static enum c2_err
open_all(struct c2_os *os, unsigned nthreads)
{
    os->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (os->epoll_fd < 0)
        return c2_err_from_errno(errno);
    os->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (os->wake.fd < 0)
        return c2_err_from_errno(errno);
    os->wake.events = C2_FD_IN;
    os->wake.ready = wake_ready;
    C2_TRY(c2_os_watch(os, &os->wake));
    const struct c2_lane_config lanes[C2_LANE_COUNT] = {
        [C2_LANE_WORK] = { .nthreads = nthreads, .name = "c2-work", .run = run_work },
        [C2_LANE_DISK] = { .nthreads = DISK_THREADS, .name = "c2-disk", .run = run_disk },
    };
    return c2_pool_new(lanes, os->wake.fd, &os->pool);
}

enum c2_err
c2_os_new(unsigned nthreads, struct c2_os **ret_os)
{
    C2_ASSERT(nthreads >= 1 && nthreads <= C2_POOL_THREADS_MAX);
    c2_alloc_init();
    struct c2_os *os = c2_calloc(1, sizeof(*os));
    os->env.ops = &os_ops;
    os->epoll_fd = os->wake.fd = os->signals.fd = -1;
    c2_list_init(&os->tasks);
    enum c2_err err = open_all(os, nthreads);
    if (err != C2_E_OK) {
        c2_os_free(os);
        return err;
    }
    *ret_os = os;
    return C2_E_OK;
}

/* Replies that nobody will be told about any more. */
static void
drop_replies(struct c2_os *os)
{
    struct c2_list jobs;
    c2_list_init(&jobs);
    c2_pool_collect(os->pool, C2_LANE_DISK, &jobs);
    C2_LIST_FOREACH (&jobs, struct c2_disk_req, r, link)
        c2_blob_unref(r->reply);
}

void
c2_os_free(struct c2_os *os)
{
    if (os == NULL)
        return;
    C2_ASSERT(!os->running);
    if (os->pool != NULL) {
        c2_pool_join(os->pool);
        drop_replies(os);
        c2_pool_free(os->pool);
    }
    if (os->signals.fd >= 0) {
        close(os->signals.fd);
        pthread_sigmask(SIG_SETMASK, &os->old_mask, NULL);
        sigaction(SIGPIPE, &os->old_pipe, NULL);
    }
    if (os->wake.fd >= 0)
        close(os->wake.fd);
    if (os->epoll_fd >= 0)
        close(os->epoll_fd);
    c2_timers_done(&os->timers);
    c2_free(os);
}

struct c2_env *
c2_os_env(struct c2_os *os)
{
    return &os->env;
}

struct c2_os *
c2_os_of(struct c2_env *env)
{
    return env->ops == &os_ops ? os_of(env) : NULL;
}

enum c2_err
c2_os_watch(struct c2_os *os, struct c2_fd_watch *w)
{
    if (w->events == 0) {
        c2_os_unwatch(os, w);
        return C2_E_OK;
    }
    struct epoll_event ev = { .data.ptr = w };
    ev.events = ((w->events & C2_FD_IN) != 0 ? (uint32_t)EPOLLIN : 0) |
                ((w->events & C2_FD_OUT) != 0 ? (uint32_t)EPOLLOUT : 0);
    int op = w->active ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(os->epoll_fd, op, w->fd, &ev) < 0)
        return c2_err_from_errno(errno);
    w->active = true;
    return C2_E_OK;
}

void
c2_os_unwatch(struct c2_os *os, struct c2_fd_watch *w)
{
    if (!w->active)
        return;
    w->active = false;
    epoll_ctl(os->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    /* The owner may free w now; what this round still holds for it must not be delivered. */
    for (int i = 0; i < os->nevents; i++) {
        if (os->events[i].data.ptr == w)
            os->events[i].data.ptr = NULL;
    }
}

static bool
finished(const struct c2_os *os)
{
    bool drained = os->draining && os->jobs == 0 && c2_list_empty(&os->tasks);
    return drained || __atomic_load_n(&os->stop, __ATOMIC_ACQUIRE) ||
           (os->until != NULL && *os->until);
}

static void
run_tasks(struct c2_os *os)
{
    for (size_t n = os->tasks.count; n > 0 && !c2_list_empty(&os->tasks); n--) {
        struct c2_task *t = C2_LIST_FIRST(&os->tasks, struct c2_task, link);
        c2_list_remove(&os->tasks, &t->link);
        t->run(t);
    }
}

static void
run_completions(struct c2_os *os)
{
    struct c2_list jobs;
    c2_list_init(&jobs);
    c2_pool_collect(os->pool, C2_LANE_WORK, &jobs);
    while (!c2_list_empty(&jobs)) {
        struct c2_work *w = C2_LIST_FIRST(&jobs, struct c2_work, link);
        c2_list_remove(&jobs, &w->link);
        os->jobs--;
        w->done(w);
    }
    c2_pool_collect(os->pool, C2_LANE_DISK, &jobs);
    while (!c2_list_empty(&jobs)) {
        struct c2_disk_req *r = C2_LIST_FIRST(&jobs, struct c2_disk_req, link);
        c2_list_remove(&jobs, &r->link);
        os->jobs--;
        r->done(r);
    }
}

static void
run_timers(struct c2_os *os)
{
    if (os->timers.count == 0)
        return;
    uint64_t now = c2_os_now_ns();
    for (size_t n = os->timers.count; n > 0; n--) {
        struct c2_timer *t = c2_timers_first(&os->timers);
        if (t == NULL || t->deadline_ns > now)
            return;
        c2_timers_stop(&os->timers, t);
        t->fire(t);
    }
}

/* Until the next timer is due; C2_NEVER without one. */
static uint64_t
wait_ns(const struct c2_os *os)
{
    const struct c2_timer *t = c2_timers_first(&os->timers);
    if (t == NULL || t->deadline_ns == C2_NEVER)
        return C2_NEVER;
    uint64_t now = c2_os_now_ns();
    return t->deadline_ns <= now ? 0 : t->deadline_ns - now;
}

static void
deliver(struct c2_os *os, int i)
{
    struct c2_fd_watch *w = os->events[i].data.ptr;
    if (w == NULL)
        return;
    uint32_t got = os->events[i].events;
    unsigned events =
        ((got & EPOLLIN) != 0 ? C2_FD_IN : 0) | ((got & EPOLLOUT) != 0 ? C2_FD_OUT : 0);
    /* Errors show themselves to whoever reads or writes next. */
    if ((got & (EPOLLERR | EPOLLHUP)) != 0)
        events |= C2_FD_IN | C2_FD_OUT;
    events &= w->events;
    if (events != 0)
        w->ready(w, events);
}

/* A millisecond is long for those who wait for an agreement; but what runs programs on a kernel of
 * its own, or lets them have some calls only, may know nothing else. */
static int
wait_events(struct c2_os *os, uint64_t ns)
{
    struct timespec wait = { .tv_sec = (time_t)(ns / C2_NS_PER_S),
                             .tv_nsec = (long)(ns % C2_NS_PER_S) };
    if (!os->whole_ms) {
        int n =
            epoll_pwait2(os->epoll_fd, os->events, EVENTS_MAX, ns == C2_NEVER ? NULL : &wait, NULL);
        if (n >= 0 || errno == EINTR)
            return n;
        os->whole_ms = true;
    }
    int ms = ns == C2_NEVER ? -1 : ns == 0 ? 0 : (int)C2_MIN(ns / C2_NS_PER_MS + 1, 1000000ull);
    return epoll_wait(os->epoll_fd, os->events, EVENTS_MAX, ms);
}

static void
run_descriptors(struct c2_os *os)
{
    uint64_t ns = 0;
    bool sleeps = false;
    if (!finished(os) && c2_list_empty(&os->tasks)) {
        ns = wait_ns(os);
        sleeps = ns != 0 && c2_pool_may_sleep(os->pool);
    }
    int n = wait_events(os, sleeps ? ns : 0);
    if (sleeps)
        c2_pool_awake(os->pool);
    C2_ASSERT(n >= 0 || errno == EINTR);
    os->nevents = C2_MAX(n, 0);
    for (int i = 0; i < os->nevents; i++)
        deliver(os, i);
    os->nevents = 0;
}

static void
run_rounds(struct c2_os *os, const bool *until)
{
    C2_ASSERT(!os->running);
    os->running = true;
    os->until = until;
    while (!finished(os)) {
        run_tasks(os);
        run_completions(os);
        run_timers(os);
        run_descriptors(os);
    }
    os->until = NULL;
    os->running = false;
    __atomic_store_n(&os->stop, false, __ATOMIC_RELEASE);
}

void
c2_os_run(struct c2_os *os)
{
    run_rounds(os, NULL);
}

void
c2_os_run_until(struct c2_os *os, const bool *flag)
{
    run_rounds(os, flag);
}

void
c2_os_drain(struct c2_os *os)
{
    os->draining = true;
    run_rounds(os, NULL);
    os->draining = false;
}

void
c2_os_stop(struct c2_os *os)
{
    __atomic_store_n(&os->stop, true, __ATOMIC_RELEASE);
    eventfd_write(os->wake.fd, 1);
}

static void
signals_ready(struct c2_fd_watch *w, unsigned events)
{
    (void)events;
    struct c2_os *os = C2_CONTAINER_OF(w, struct c2_os, signals);
    struct signalfd_siginfo info;
    if (read(w->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    os->from_terminal = info.ssi_code == SI_KERNEL;
    os->on_signal(os->on_signal_arg, (int)info.ssi_signo);
}

bool
c2_os_signal_from_terminal(const struct c2_os *os)
{
    return os->from_terminal;
}

enum c2_err
c2_os_signals(struct c2_os *os, void (*on_signal)(void *arg, int signo), void *arg)
{
    C2_ASSERT(os->signals.fd < 0);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, &os->old_mask);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        enum c2_err err = c2_err_from_errno(errno);
        pthread_sigmask(SIG_SETMASK, &os->old_mask, NULL);
        return err;
    }
    /* A peer or a reader of our output that goes away is an error to handle, not the end. */
    const struct sigaction ignore = { .sa_handler = SIG_IGN };
    sigaction(SIGPIPE, &ignore, &os->old_pipe);
    os->signals = (struct c2_fd_watch){ .fd = fd, .events = C2_FD_IN, .ready = signals_ready };
    os->on_signal = on_signal;
    os->on_signal_arg = arg;
    return c2_os_watch(os, &os->signals);
}
