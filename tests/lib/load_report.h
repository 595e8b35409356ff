/* SPDX-License-Identifier: MIT */
/* The line of figures that every generator of load prints; tests/bench/bft and tests read it. */
#ifndef C2_TESTS_LIB_LOAD_REPORT_H
#define C2_TESTS_LIB_LOAD_REPORT_H

#include <stdint.h>

/* Sorts latency_us, which has ops of them (at least one); taken_ns is the time of all together. */
void load_report(uint64_t *latency_us, uint64_t ops, uint64_t errors, uint64_t taken_ns);

#endif
