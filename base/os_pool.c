/* SPDX-License-Identifier: MIT */
/*
 * The pool. One lock guards all lists; a thread takes it once per job, to hand in the old one and
 * to fetch the next. The owner's eventfd is written only when it said that it sleeps, and once per
 * sleep; a thread is woken only when one sleeps. Whoever wakes somebody does not hold the lock, or
 * the other would wake only to wait for it.
 */
#include "base/os_pool.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "base/alloc.h"

struct lane {
    struct c2_pool *pool;
    struct c2_lane_config config;
    pthread_t *threads; /* owned */
    unsigned nstarted;
    unsigned nasleep; /* threads */
    pthread_cond_t more;
    struct c2_list queue;
    struct c2_list completed;
};

struct c2_pool {
    pthread_mutex_t lock;
    int wake_fd;
    bool stopping;
    bool owner_sleeps;
    struct lane lanes[C2_LANE_COUNT];
};

/* A job has ended. Returns with the lock. */
static void
hand_in(struct lane *l, struct c2_link *job)
{
    struct c2_pool *p = l->pool;
    pthread_mutex_lock(&p->lock);
    c2_list_append(&l->completed, job);
    if (!p->owner_sleeps)
        return;
    p->owner_sleeps = false;
    pthread_mutex_unlock(&p->lock);
    eventfd_write(p->wake_fd, 1);
    pthread_mutex_lock(&p->lock);
}

static void *
thread_main(void *arg)
{
    struct lane *l = arg;
    struct c2_pool *p = l->pool;
    pthread_setname_np(pthread_self(), l->config.name);
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (c2_list_empty(&l->queue) && !p->stopping) {
            l->nasleep++;
            pthread_cond_wait(&l->more, &p->lock);
            l->nasleep--;
        }
        if (p->stopping)
            break;
        struct c2_link *job = l->queue.head.next;
        c2_list_remove(&l->queue, job);
        pthread_mutex_unlock(&p->lock);
        l->config.run(job);
        hand_in(l, job);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Signals belong to the loop; those that a thread causes itself stay deliverable. */
static void
thread_signals(sigset_t *set)
{
    sigfillset(set);
    sigdelset(set, SIGSEGV);
    sigdelset(set, SIGBUS);
    sigdelset(set, SIGILL);
    sigdelset(set, SIGFPE);
    sigdelset(set, SIGABRT);
}

static enum c2_err
start_threads(struct c2_pool *p)
{
    int rc = 0;
    sigset_t blocked, old;
    thread_signals(&blocked);
    pthread_sigmask(SIG_SETMASK, &blocked, &old);
    for (struct lane *l = p->lanes; l < p->lanes + C2_LANE_COUNT; l++) {
        for (unsigned i = 0; i < l->config.nthreads && rc == 0; i++) {
            rc = pthread_create(&l->threads[i], NULL, thread_main, l);
            l->nstarted += rc == 0;
        }
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return c2_err_from_errno(rc);
}

enum c2_err
c2_pool_new(const struct c2_lane_config config[C2_LANE_COUNT], int wake_fd,
            struct c2_pool **ret_pool)
{
    struct c2_pool *p = c2_calloc(1, sizeof(*p));
    p->wake_fd = wake_fd;
    pthread_mutex_init(&p->lock, NULL);
    for (unsigned i = 0; i < C2_LANE_COUNT; i++) {
        struct lane *l = &p->lanes[i];
        l->pool = p;
        l->config = config[i];
        l->threads = c2_calloc(config[i].nthreads, sizeof(pthread_t));
        pthread_cond_init(&l->more, NULL);
        c2_list_init(&l->queue);
        c2_list_init(&l->completed);
    }
    enum c2_err err = start_threads(p);
    if (err != C2_E_OK) {
        c2_pool_join(p);
        c2_pool_free(p);
        return err;
    }
    *ret_pool = p;
    return C2_E_OK;
}

void
c2_pool_join(struct c2_pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    for (unsigned i = 0; i < C2_LANE_COUNT; i++)
        pthread_cond_broadcast(&p->lanes[i].more);
    pthread_mutex_unlock(&p->lock);
    for (struct lane *l = p->lanes; l < p->lanes + C2_LANE_COUNT; l++) {
        for (unsigned i = 0; i < l->nstarted; i++)
            pthread_join(l->threads[i], NULL);
        l->nstarted = 0;
    }
}

void
c2_pool_free(struct c2_pool *p)
{
    if (p == NULL)
        return;
    for (struct lane *l = p->lanes; l < p->lanes + C2_LANE_COUNT; l++) {
        C2_ASSERT(l->nstarted == 0);
        pthread_cond_destroy(&l->more);
        c2_free(l->threads);
    }
    pthread_mutex_destroy(&p->lock);
    c2_free(p);
}

void
c2_pool_submit(struct c2_pool *p, enum c2_lane lane, struct c2_link *job)
{
    struct lane *l = &p->lanes[lane];
    pthread_mutex_lock(&p->lock);
    c2_list_append(&l->queue, job);
    bool wake = l->nasleep > 0;
    pthread_mutex_unlock(&p->lock);
    if (wake)
        pthread_cond_signal(&l->more);
}

void
c2_pool_collect(struct c2_pool *p, enum c2_lane lane, struct c2_list *ret_jobs)
{
    struct c2_list *from = &p->lanes[lane].completed;
    C2_ASSERT(c2_list_empty(ret_jobs));
    pthread_mutex_lock(&p->lock);
    if (!c2_list_empty(from)) {
        *ret_jobs = *from;
        ret_jobs->head.next->prev = &ret_jobs->head;
        ret_jobs->head.prev->next = &ret_jobs->head;
        c2_list_init(from);
    }
    pthread_mutex_unlock(&p->lock);
}

bool
c2_pool_may_sleep(struct c2_pool *p)
{
    bool empty = true;
    pthread_mutex_lock(&p->lock);
    for (unsigned i = 0; i < C2_LANE_COUNT; i++)
        empty = empty && c2_list_empty(&p->lanes[i].completed);
    p->owner_sleeps = empty;
    pthread_mutex_unlock(&p->lock);
    return empty;
}

void
c2_pool_awake(struct c2_pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->owner_sleeps = false;
    pthread_mutex_unlock(&p->lock);
}
