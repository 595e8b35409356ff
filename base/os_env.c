/* SPDX-License-Identifier: MIT */
/*
 * Clocks and environment variables.
 */
#include "base/os_env.h"

#include <stdlib.h>
#include <time.h>

#include "base/env.h"

static uint64_t
clock_ns(clockid_t id)
{
    struct timespec ts;
    C2_ASSERT(clock_gettime(id, &ts) == 0);
    return (uint64_t)ts.tv_sec * C2_NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t
c2_os_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t
c2_os_wall_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

uint64_t
c2_os_cpu_ns(void)
{
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

const char *
c2_os_getenv(const char *name)
{
    const char *value = getenv(name);
    return value == NULL || *value == '\0' ? NULL : value;
}
