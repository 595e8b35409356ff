/* SPDX-License-Identifier: MIT */
/*
 * A layer that can hold requests back until the test lets them go, and that can tell another time
 * than ours.
 */
#ifndef C2_TESTS_LIB_PROV_GATE_H
#define C2_TESTS_LIB_PROV_GATE_H

#include "backends/provider.h"

struct provider *prov_gate_new(struct provider *inner);
/* From now on requests of this verb whose key contains `part` (static) wait at the gate. */
void prov_gate_close(struct provider *gate, enum prov_verb verb, const char *part);
/* Lets everything go that waits, and holds nothing back any more. */
void prov_gate_open(struct provider *gate);
size_t prov_gate_waiting(const struct provider *gate);
/* The cloud's clock minus the one below. */
void prov_gate_set_clock(struct provider *gate, int64_t offset_ns);

#endif
