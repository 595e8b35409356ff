/* SPDX-License-Identifier: MIT */
/*
 * A replicated application in memory, for tests that need thousands of them a second: its state is
 * a hash of everything that was applied, and the service's own keys. It is fetched as one part.
 */
#ifndef C2_TESTS_LIB_SMALL_APP_H
#define C2_TESTS_LIB_SMALL_APP_H

#include "metadata/replica.h"

#define SMALL_KEYS 256

struct small_state {
    uint64_t version;
    uint8_t hash[32];
    struct c2_buf key[SMALL_KEYS]; /* owned; ascending */
    struct c2_buf value[SMALL_KEYS];
    size_t nkeys;
};

/* What outlives an application: its disk. Begins as zeros. */
struct small_disk {
    struct small_state state;
    bool loading;
};

void small_disk_done(struct small_disk *d);
/* The disk is borrowed while it is open. */
struct replica_app *small_app_open(struct small_disk *d);

#endif
