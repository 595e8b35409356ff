/* SPDX-License-Identifier: MIT */
/*
 * Log-linear histogram: values below 8 have a bucket each, every power of two above is cut into 8
 * equal parts.
 */
#include "base/stats.h"

#define SUB_BITS 3
#define SUB      (1u << SUB_BITS)

static unsigned
bucket_of(uint64_t value)
{
    if (value < SUB)
        return (unsigned)value;
    unsigned exponent = 63 - (unsigned)__builtin_clzll(value);
    unsigned part = (unsigned)(value >> (exponent - SUB_BITS)) & (SUB - 1);
    return (exponent - SUB_BITS + 1) * SUB + part;
}

/* The largest value that falls into the bucket. */
static uint64_t
bucket_max(unsigned bucket)
{
    if (bucket < SUB)
        return bucket;
    unsigned shift = bucket / SUB - 1;
    return ((uint64_t)(SUB + bucket % SUB) << shift) + ((1ull << shift) - 1);
}

void
c2_hist_add(struct c2_hist *h, uint64_t value)
{
    uint32_t *bucket = &h->bucket[bucket_of(value)];
    if (*bucket < UINT32_MAX)
        ++*bucket;
    h->count++;
    h->sum += value;
    h->max = C2_MAX(h->max, value);
}

uint64_t
c2_hist_quantile(const struct c2_hist *h, double q)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < C2_HIST_BUCKETS; i++)
        total += h->bucket[i];
    uint64_t rank = (uint64_t)(q * (double)total);
    uint64_t seen = 0;
    for (unsigned i = 0; i < C2_HIST_BUCKETS; i++) {
        seen += h->bucket[i];
        if (h->bucket[i] != 0 && (seen > rank || seen == total))
            return C2_MIN(bucket_max(i), h->max);
    }
    return 0;
}

void
c2_hist_decay(struct c2_hist *h)
{
    uint64_t count = 0, max = 0;
    for (unsigned i = 0; i < C2_HIST_BUCKETS; i++) {
        h->bucket[i] /= 2;
        count += h->bucket[i];
        if (h->bucket[i] != 0)
            max = bucket_max(i);
    }
    h->count = count;
    h->sum /= 2;
    h->max = C2_MIN(h->max, max);
}
