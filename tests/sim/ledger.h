/* SPDX-License-Identifier: MIT */
/*
 * Remembers every PUT of a share that ever left a node, for the invariants I4 and I7.
 */
#ifndef C2_TESTS_SIM_LEDGER_H
#define C2_TESTS_SIM_LEDGER_H

#include "tests/sim/clouds.h"

void sim_ledger_init(struct sim_clouds *c);
void sim_ledger_done(struct sim_clouds *c);
/* Fails the run when the PUT breaks an invariant. */
void sim_ledger_put(struct sim_clouds *c, const char *key, struct c2_slice body);

#endif
