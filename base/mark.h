/* SPDX-License-Identifier: MIT */
/*
 * Coverage marks: C2_MARK("get: third seat asked") at a branch that some test must take. Test
 * builds count the hits; in other builds a mark is nothing.
 */
#ifndef C2_BASE_MARK_H
#define C2_BASE_MARK_H

#include <stdint.h>

#ifdef C2_TEST_BUILD
#define C2_MARK(name) c2_mark_hit(name)
void c2_mark_hit(const char *name);
/* Hits since the last reset. */
uint64_t c2_mark_count(const char *name);
void c2_mark_reset(void);
#else
#define C2_MARK(name) ((void)0)
#endif

#endif
