/* SPDX-License-Identifier: MIT */
/*
 * A failed assertion: say which one, show what led to it, leave a core for the debugger.
 */
#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

void
c2_assert_failed(const char *cond, const char *file, int line, const char *func)
{
    fprintf(stderr, "c2fs: assertion failed: %s, in %s at %s:%d (this is a bug in c2fs)\n", cond,
            func, file, line);
    c2_log_dump_ring();
    abort();
}
