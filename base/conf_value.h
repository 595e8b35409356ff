/* SPDX-License-Identifier: MIT */
/*
 * Values of configuration keys: from text to what the type says, within the limits. Private to
 * base.
 */
#ifndef C2_BASE_CONF_VALUE_H
#define C2_BASE_CONF_VALUE_H

#include "base/conf.h"

/*
 * Checks a value. On success ret_text gets what to keep (relative paths belong to base_dir) and
 * ret_number the number behind sizes, durations, integers and booleans. On failure
 * ret_problem gets a sentence. The caller frees either.
 */
C2_RESULT c2_conf_value_parse(const struct c2_conf_key *key, const char *text, const char *base_dir,
                              char **ret_text, uint64_t *ret_number, char **ret_problem);
/* "16M or more", "1..16", "async, sync": for people; empty when anything goes. */
void c2_conf_limits_describe(const struct c2_conf_key *key, struct c2_buf *out);

#endif
