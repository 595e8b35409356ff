/* SPDX-License-Identifier: MIT */
/*
 * Another environment, with a wall clock that is wrong.
 */
#ifndef C2_TESTS_LIB_SKEWED_ENV_H
#define C2_TESTS_LIB_SKEWED_ENV_H

#include "base/env.h"

struct skewed_env {
    struct c2_env env;
    struct c2_env *inner; /* borrowed */
    int64_t ahead_ns;
};

void skewed_env_init(struct skewed_env *s, struct c2_env *inner);

#endif
