/* SPDX-License-Identifier: MIT */
/*
 * The real environment: an epoll loop with a timer heap, a pool of threads, the disk. Only the
 * edges (HTTP, FUSE, control socket, main functions) include this header; everybody else sees
 * base/env.h.
 */
#ifndef C2_BASE_OS_LOOP_H
#define C2_BASE_OS_LOOP_H

#include "base/env.h"

#define C2_POOL_THREADS_MAX 16

struct c2_os;

/* nthreads: pool size, 1..C2_POOL_THREADS_MAX; threads start here, so fork before. */
C2_RESULT c2_os_new(unsigned nthreads, struct c2_os **ret_os);
void c2_os_free(struct c2_os *os); /* waits for running pool jobs */
struct c2_env *c2_os_env(struct c2_os *os);
/* The reverse; NULL when it is another kind of environment. */
struct c2_os *c2_os_of(struct c2_env *env);

/* Runs until c2_os_stop; the loop may be run again afterwards. */
void c2_os_run(struct c2_os *os);
void c2_os_stop(struct c2_os *os); /* from any thread; before a run: that run ends at once */
/* Runs until *flag becomes true, or c2_os_stop. For tools and tests. */
void c2_os_run_until(struct c2_os *os, const bool *flag);
/* Runs until no task, work or disk request is left: before c2_os_free, so that what ends by itself
 * (the removal of a file) does. Timers are not waited for. */
void c2_os_drain(struct c2_os *os);

enum { C2_FD_IN = 1, C2_FD_OUT = 2 };

/* Level-triggered watch of a descriptor; the caller owns the struct and the descriptor. */
struct c2_fd_watch {
    int fd;
    unsigned events; /* C2_FD_IN | C2_FD_OUT; 0 = paused */
    void (*ready)(struct c2_fd_watch *w, unsigned events);
    bool active; /* private */
};

C2_RESULT c2_os_watch(struct c2_os *os, struct c2_fd_watch *w); /* add, or change w->events */
void c2_os_unwatch(struct c2_os *os, struct c2_fd_watch *w);    /* before the fd is closed */

/*
 * Calls on_signal(signo) on the loop for SIGINT, SIGTERM and SIGHUP, which are blocked otherwise;
 * SIGPIPE is ignored. Until c2_os_free.
 */
C2_RESULT c2_os_signals(struct c2_os *os, void (*on_signal)(void *arg, int signo), void *arg);
/* In on_signal: it was sent to our whole process group, as by Ctrl-C, not to us alone. */
bool c2_os_signal_from_terminal(const struct c2_os *os);

#endif
