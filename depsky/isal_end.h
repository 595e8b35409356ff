/* SPDX-License-Identifier: MIT */
/*
 * To be called after ISA-L worked on this thread: the library never executes vzeroupper, and with
 * dirty upper halves of the vector registers legacy SSE code (jerasure) runs 3.4x slower.
 */
#ifndef C2_DEPSKY_ISAL_END_H
#define C2_DEPSKY_ISAL_END_H

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx"))) static inline void
ds_isal_zero_upper(void)
{
    _mm256_zeroupper();
}

static inline void
ds_isal_end(void)
{
    if (__builtin_cpu_supports("avx"))
        ds_isal_zero_upper();
}
#else
static inline void
ds_isal_end(void)
{
}
#endif

#endif
