/* SPDX-License-Identifier: MIT */
/*
 * Looks at everything a stopped replica has on its disk, and changes nothing.
 */
#ifndef C2_METADATA_VERIFY_H
#define C2_METADATA_VERIFY_H

#include "base/env.h"

struct verify_run;

/* done: OK; DAMAGED when something is lost or wrong; UNAVAILABLE when nothing is, and the state was
 * being fetched; or why it cannot be told. `text` is a report for people. Never from inside the
 * call; the run is freed after it. */
struct verify_run *verify_start(struct c2_env *env, const char *data,
                                void (*done)(void *arg, enum c2_err err, const char *text),
                                void *arg);

#endif
