/* SPDX-License-Identifier: MIT */
/*
 * A layer that answers the next requests as the test says and passes the others on. It keeps a log
 * of what arrived.
 */
#ifndef C2_TESTS_LIB_PROV_SCRIPT_H
#define C2_TESTS_LIB_PROV_SCRIPT_H

#include "backends/provider.h"

#define PROV_SCRIPT_STEPS_MAX 64
#define PROV_SCRIPT_LOG_MAX   256

struct prov_script_step {
    enum c2_err err;         /* what the caller sees; OK = the answer of the inner provider */
    bool apply;              /* with an error: the inner provider gets the request all the same */
    uint64_t retry_after_ns; /* with an error */
};

struct prov_script_entry {
    enum prov_verb verb;
    uint64_t at_ns;
};

struct provider *prov_script_new(struct provider *inner);
/* Appends a step; a pass-through is { 0 }. */
void prov_script_add(struct provider *script, struct prov_script_step step);
/* Everything that arrived so far; *ret_count entries, borrowed. */
const struct prov_script_entry *prov_script_log(const struct provider *script, size_t *ret_count);

#endif
