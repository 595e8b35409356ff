/* SPDX-License-Identifier: MIT */
/*
 * "local:PATH" or "bft:NAME" -> an open coordination service.
 */
#ifndef C2_METADATA_REGISTRY_H
#define C2_METADATA_REGISTRY_H

#include "base/conf.h"
#include "metadata/coord.h"

#define COORD_MAP_SIZE_DEFAULT (64ull << 30) /* address space of the LMDB map, not memory */

/*
 * Opens local:PATH, a folder. create: make a new, empty store and fail with EXISTS when there is
 * one; otherwise a missing store is NOT_FOUND. A store that another process has open is BUSY, one
 * of a newer format VERSION. ret_error, if not NULL, gets a sentence for people (c2_free). An open
 * store does not survive fork(2): go to the background first.
 */
C2_RESULT coord_open(struct c2_env *env, const char *url, bool create, struct coord **ret_coord,
                     char **ret_error);
#define COORD_PREFIX_NAME_MAX 28

/* What stands before the keys of the part of a service that has this name: "/NAME/". False: it is
 * not a name (letters, digits, '.', '_' and '-'). */
bool coord_prefix_of(const char *name, struct c2_buf *out);

/*
 * The same, and bft:NAME, with the [metadata "NAME"] section of conf: connects in the background,
 * on an environment of os_loop.h. There is nothing to create; requests wait until enough replicas
 * are connected, so give them a deadline.
 */
C2_RESULT coord_open_conf(struct c2_env *env, const struct c2_conf *conf, const char *url,
                          bool create, struct coord **ret_coord, char **ret_error);

/*
 * Below: only for a local: service. It keeps its log until LOG_TRIM: whoever does not ship the log
 * trims it, or the folder grows with every transaction.
 *
 * All block. BUSY (the map must grow, but something else runs) may be tried again. digest, load
 * and replay may run on the loop or on the pool, not two of them at once.
 */

/* SHA-256 over the whole state (keys, values, versions, sessions, clock): equal logs, equal
 * digests. Costs what has changed since the last call. */
C2_RESULT coord_local_digest(struct coord *c, uint8_t out[32]);

/* Applies one entry of a log, the len bytes of LOG_READ; version must be the next one. CORRUPT
 * when it does not give this version. Used when a store is rebuilt from shipped logs. */
C2_RESULT coord_local_replay(struct coord *c, uint64_t version, struct c2_slice txn);
/* The same for a piece of log as LOG_READ returns it, all of it in one durable commit or nothing:
 * much faster than entry by entry. */
C2_RESULT coord_local_replay_log(struct coord *c, struct c2_slice log);

/* A consistent snapshot as a stream of chunks (<= 1 MiB each), and its reverse into an empty
 * store. `fn` gets each chunk; an error from it ends the dump. Pool only, for its length. */
C2_RESULT coord_local_dump(struct coord *c, enum c2_err (*fn)(void *arg, struct c2_slice chunk),
                           void *arg, uint64_t *ret_version);
/* Requests are UNAVAILABLE between the first and the last chunk. A store whose load was not
 * finished cannot be opened again (DAMAGED): remove it and start over. CORRUPT: the chunks are not
 * those of one dump, in order. */
C2_RESULT coord_local_load(struct coord *c, struct c2_slice chunk);

#endif
