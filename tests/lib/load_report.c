/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "tests/lib/load_report.h"

static int
by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void
load_report(uint64_t *latency_us, uint64_t ops, uint64_t errors, uint64_t taken_ns)
{
    qsort(latency_us, ops, sizeof *latency_us, by_size);
    printf("ops=%" PRIu64 " errors=%" PRIu64 " seconds=%.3f per_second=%.0f p50_us=%" PRIu64
           " p95_us=%" PRIu64 " p99_us=%" PRIu64 "\n",
           ops, errors, (double)taken_ns / 1e9, (double)ops * 1e9 / (double)taken_ns,
           latency_us[ops / 2], latency_us[ops * 95 / 100], latency_us[ops * 99 / 100]);
}
