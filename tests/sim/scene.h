/* SPDX-License-Identifier: MIT */
/*
 * A scenario: builds a world from a seed, lets things happen, checks the invariants. Returns when
 * the run is good; a run that is not ends the process (sim_fail).
 */
#ifndef C2_TESTS_SIM_SCENE_H
#define C2_TESTS_SIM_SCENE_H

#include "tests/sim/clouds.h"

/* What happened in all runs of a process, to show that faults were faults. */
struct sim_tally {
    uint64_t struck[SIM_FAULTS];
    uint64_t events;
    uint64_t batches; /* of the replicated service */
};

struct sim_options {
    bool trace;
    const char *dir; /* a temporary folder for real files */
};

void sim_scene_depsky(uint64_t seed, const struct sim_options *o, struct sim_tally *tally);
void sim_scene_bft(uint64_t seed, const struct sim_options *o, struct sim_tally *tally);
void sim_scene_trap(uint64_t seed, const struct sim_options *o, struct sim_tally *tally);
void sim_scene_fs(uint64_t seed, const struct sim_options *o, struct sim_tally *tally);
void sim_scene_unit(uint64_t seed, const struct sim_options *o, struct sim_tally *tally);

#endif
