/* SPDX-License-Identifier: MIT */
/*
 * The state of a volume in one word, one sentence, and what to type: from a status as the daemon
 * reports it, or as it looks from outside when no daemon runs.
 */
#ifndef C2_TOOLS_HEALTH_H
#define C2_TOOLS_HEALTH_H

#include "fs/ctl_proto.h"

enum health_state { HEALTH_ONLINE, HEALTH_DEGRADED, HEALTH_FAULTED };

struct health {
    enum health_state state;
    unsigned failing; /* providers whose share of the data cannot be counted on */
    char sentence[512];
    char action[512]; /* "" = nothing to do */
};

void health_of(const struct ctl_status *s, struct health *ret_health);
const char *health_name(enum health_state s); /* "ONLINE" */
enum ctl_exit health_exit(enum health_state s);

#endif
