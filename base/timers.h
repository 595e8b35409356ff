/* SPDX-License-Identifier: MIT */
/*
 * Binary heap of timers, for implementations of c2_env. Zeroed is a valid empty one.
 */
#ifndef C2_BASE_TIMERS_H
#define C2_BASE_TIMERS_H

#include "base/env.h"

struct c2_timers {
    struct c2_timer **heap; /* owned array, borrowed timers; heap[0] is due first */
    size_t count;
    size_t cap;
};

void c2_timers_done(struct c2_timers *h);
/* An armed timer moves. */
void c2_timers_arm(struct c2_timers *h, struct c2_timer *t, uint64_t deadline_ns);
void c2_timers_stop(struct c2_timers *h, struct c2_timer *t); /* idle is fine */
struct c2_timer *c2_timers_first(const struct c2_timers *h);  /* NULL when empty */

#endif
