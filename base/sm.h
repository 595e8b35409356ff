/* SPDX-License-Identifier: MIT */
/*
 * Checked state machine: a table names the states and the allowed transitions; every change goes
 * through c2_sm_go, which asserts that the table allows it.
 */
#ifndef C2_BASE_SM_H
#define C2_BASE_SM_H

#include "base/base.h"

#define C2_SM_TO(state) (1u << (state))

struct c2_sm_state {
    const char *name;
    uint32_t next; /* OR of C2_SM_TO */
};

struct c2_sm {
    const struct c2_sm_state *states; /* borrowed, static */
    unsigned state;
};

static inline void
c2_sm_init(struct c2_sm *sm, const struct c2_sm_state *states, unsigned state)
{
    sm->states = states;
    sm->state = state;
}

static inline void
c2_sm_go(struct c2_sm *sm, unsigned state)
{
    C2_ASSERT(state < 32 && (sm->states[sm->state].next & C2_SM_TO(state)) != 0);
    sm->state = state;
}

#endif
