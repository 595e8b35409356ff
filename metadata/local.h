/* SPDX-License-Identifier: MIT */
/*
 * The coordination service inside the process, on one store, for volumes without servers.
 */
#ifndef C2_METADATA_LOCAL_H
#define C2_METADATA_LOCAL_H

#include "metadata/coord.h"

/* Opens the store in the folder; blocking. map_size: first size of the LMDB map, grows. For create
 * and errors see coord_open. */
C2_RESULT coord_local_open(struct c2_env *env, const char *path, bool create, uint64_t map_size,
                           struct coord **ret_coord, char **ret_error);

/* Durable commits so far: each may carry many transactions. */
uint64_t coord_local_commits(struct coord *c);

/* Closes the files at once and completes nothing, as the end of the process would: for simulated
 * crashes. The memory is left to whoever ends the process's life. */
void coord_local_crash(struct coord *c);

#endif
