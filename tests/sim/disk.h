/* SPDX-License-Identifier: MIT */
/*
 * A disk in memory that knows what is durable. Writes and names go to the page cache; SYNC makes a
 * file's bytes durable, SYNC_DIR the names in a directory, nothing else does. A killed daemon loses
 * only the requests under way, each of which may still have happened, in part even. A power cut
 * loses what was not synced: every unsynced write is kept, lost, or torn at sectors; the unsynced
 * changes of each directory are kept up to some point.
 */
#ifndef C2_TESTS_SIM_DISK_H
#define C2_TESTS_SIM_DISK_H

#include "tests/sim/world.h"

struct sim_disk *sim_disk_new(struct sim_world *w);
void sim_disk_free(struct sim_disk *d);
/* 0 = unlimited: how many bytes fit. */
void sim_disk_set_capacity(struct sim_disk *d, uint64_t bytes);

/* The next SYNC fails, and what it was to make durable never will be. */
void sim_disk_fail_sync(struct sim_disk *d);
/* Flips a bit of what is durable; no file may be open. false = there is nothing. */
bool sim_disk_rot(struct sim_disk *d);

void sim_disk_submit(struct sim_disk *d, struct sim_node *n, struct c2_disk_req *r);
void sim_disk_crash(struct sim_disk *d, struct sim_node *n, enum sim_crash how);
/* A file is open or a request is under way. */
bool sim_disk_in_use(const struct sim_disk *d, const struct sim_node *n);

#endif
