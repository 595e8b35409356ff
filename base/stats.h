/* SPDX-License-Identifier: MIT */
/*
 * Counters and latency histograms. A histogram has log-linear buckets (8 per power of two), so a
 * quantile is right within 12.5 %. Loop thread only.
 */
#ifndef C2_BASE_STATS_H
#define C2_BASE_STATS_H

#include "base/buf.h"

#define C2_HIST_BUCKETS 512

struct c2_hist {
    uint64_t count;
    uint64_t sum;
    uint64_t max;
    uint32_t bucket[C2_HIST_BUCKETS];
};

void c2_hist_add(struct c2_hist *h, uint64_t value);
/* q in 0..1; 0 when empty. */
uint64_t c2_hist_quantile(const struct c2_hist *h, double q);
/* Halves every bucket, so that old observations fade. */
void c2_hist_decay(struct c2_hist *h);

#endif
