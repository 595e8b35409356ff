/* SPDX-License-Identifier: MIT */
/*
 * What has happened in a long run of the replicated service: faults and lies by kind, view changes,
 * transfers, batches. A run that is long enough must have had all of it.
 */
#ifndef C2_TESTS_SIM_REPORT_H
#define C2_TESTS_SIM_REPORT_H

#include "tests/sim/scene.h"

#define SIM_REPORT_KINDS 64

struct sim_report {
    uint64_t hits[SIM_REPORT_KINDS];
};

/* Adds what happened in this process since its marks were reset. */
void sim_report_add(struct sim_report *r);
/* Prints it. Returns what is missing: kinds that never happened, batches below the minimum. */
uint64_t sim_report_print(const struct sim_report *r, const struct sim_tally *tally, uint64_t seeds,
                          uint64_t elapsed_ns, uint64_t batches_min);

#endif
