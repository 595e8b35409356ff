/* SPDX-License-Identifier: MIT */
/*
 * What has happened in a run: branches taken, faults and lies by kind, view changes, transfers. One
 * list says what every full run must have had, and what the report of a long run of the replicated
 * service tells and demands.
 */
#ifndef C2_TESTS_SIM_REPORT_H
#define C2_TESTS_SIM_REPORT_H

#include "tests/sim/scene.h"

#define SIM_KINDS_MAX 96

struct sim_report {
    uint64_t hits[SIM_KINDS_MAX];
};

/* Adds what happened in this process since its marks were reset. */
void sim_report_add(struct sim_report *r);
void sim_report_join(struct sim_report *sum, const struct sim_report *r);
/* Complains about what a full run lacks. Returns how much that is. */
uint64_t sim_report_check(const struct sim_report *r);
/* Prints what belongs to the replicated service. Returns what is missing: kinds that never
 * happened, batches below the minimum. */
uint64_t sim_report_print(const struct sim_report *r, const struct sim_tally *tally, uint64_t seeds,
                          uint64_t elapsed_ns, uint64_t batches_min);

#endif
