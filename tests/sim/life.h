/* SPDX-License-Identifier: MIT */
/*
 * Whose memory it is. Every allocation of the product (base/alloc.h) is made in the name of the
 * life that is current: the one of the node whose event runs, or none (the world's own). A crash
 * gives all memory of a life back at once, without running any code of the node; an orderly end
 * must leave nothing. life.c takes the place of base/alloc.c in the simulator.
 */
#ifndef C2_TESTS_SIM_LIFE_H
#define C2_TESTS_SIM_LIFE_H

#include "base/list.h"

struct sim_life {
    struct c2_list blocks;
    size_t bytes;
};

void sim_life_init(struct sim_life *l);
/* Makes l current (NULL = the world) and returns the one before, for sim_life_leave. */
struct sim_life *sim_life_enter(struct sim_life *l);
void sim_life_leave(struct sim_life *before);
/* Frees everything that was allocated in its name. */
void sim_life_drop(struct sim_life *l);

#endif
