/* SPDX-License-Identifier: MIT */
/*
 * Clocks and environment variables of the real system, for the files that may touch it.
 */
#ifndef C2_BASE_OS_ENV_H
#define C2_BASE_OS_ENV_H

#include "base/base.h"

uint64_t c2_os_now_ns(void);  /* monotonic */
uint64_t c2_os_wall_ns(void); /* since 1970 UTC */
uint64_t c2_os_cpu_ns(void);  /* that this thread has run */
/* NULL when unset or empty; borrowed until the next change of the environment. */
const char *c2_os_getenv(const char *name);

#endif
