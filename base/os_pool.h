/* SPDX-License-Identifier: MIT */
/*
 * Threads that run jobs and hand them back in batches. Two lanes with threads of their own, so that
 * a slow disk does not hold up CPU work. Private to base.
 */
#ifndef C2_BASE_OS_POOL_H
#define C2_BASE_OS_POOL_H

#include "base/list.h"

enum c2_lane { C2_LANE_WORK, C2_LANE_DISK, C2_LANE_COUNT };

struct c2_lane_config {
    unsigned nthreads;
    const char *name;                 /* of the threads, static */
    void (*run)(struct c2_link *job); /* on a thread of the lane */
};

struct c2_pool;

/* wake_fd: an eventfd that is written when a job completes while the owner sleeps. */
C2_RESULT c2_pool_new(const struct c2_lane_config config[C2_LANE_COUNT], int wake_fd,
                      struct c2_pool **ret_pool);
/* Waits for running jobs; jobs that no thread has begun are dropped. */
void c2_pool_join(struct c2_pool *p);
void c2_pool_free(struct c2_pool *p); /* after join; NULL is fine */

void c2_pool_submit(struct c2_pool *p, enum c2_lane lane, struct c2_link *job);
/* Moves the completed jobs to the (empty) list. */
void c2_pool_collect(struct c2_pool *p, enum c2_lane lane, struct c2_list *ret_jobs);
/* The owner is about to wait on wake_fd; false: completed jobs wait, do not. */
bool c2_pool_may_sleep(struct c2_pool *p);
void c2_pool_awake(struct c2_pool *p);

#endif
