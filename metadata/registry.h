/* SPDX-License-Identifier: MIT */
/*
 * "local:PATH" -> an open coordination service.
 */
#ifndef C2_METADATA_REGISTRY_H
#define C2_METADATA_REGISTRY_H

#include "metadata/coord.h"

#define COORD_MAP_SIZE_DEFAULT (64ull << 30) /* address space of the LMDB map, not memory */

/*
 * Opens local:PATH, a folder. create: make a new, empty store and fail with EXISTS when there is
 * one; otherwise a missing store is NOT_FOUND. A store that another process has open is BUSY, one
 * of a newer format VERSION. ret_error, if not NULL, gets a sentence for people (c2_free).
 */
C2_RESULT coord_open(struct c2_env *env, const char *url, bool create, struct coord **ret_coord,
                     char **ret_error);

/* SHA-256 over the whole state (keys, values, versions, sessions): equal logs, equal digests. */
C2_RESULT coord_local_digest(struct coord *c, uint8_t out[32]);
/* Applies an encoded transaction of a log, in order; version must be the next one. Used when a
 * store is rebuilt from shipped logs. */
C2_RESULT coord_local_replay(struct coord *c, uint64_t version, struct c2_slice txn);
/* A consistent snapshot as a stream of chunks (<= 1 MiB each), and its reverse into an empty
 * store. `fn` gets each chunk; an error from it ends the dump. Blocking: pool only. */
C2_RESULT coord_local_dump(struct coord *c, enum c2_err (*fn)(void *arg, struct c2_slice chunk),
                           void *arg, uint64_t *ret_version);
C2_RESULT coord_local_load(struct coord *c, struct c2_slice chunk);

#endif
