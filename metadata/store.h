/* SPDX-License-Identifier: MIT */
/*
 * The coordination state machine: keys with versions and sessions, sessions with leases on the
 * state's own clock, conditional transactions, the log of commands. Deterministic; see replica.h.
 * The tables and the digest are described in docs/metadata.md.
 */
#ifndef C2_METADATA_STORE_H
#define C2_METADATA_STORE_H

#include "metadata/replica.h"

#define STORE_FORMAT 1

/* How a state is fetched; 0 = default. */
struct store_fetch_limits {
    size_t memory; /* bytes of entries that are sorted at once */
    uint64_t file; /* bytes of entries in a file, until they are put in place */
    size_t piece;  /* bytes that are put in place in one call */
};

#define STORE_FETCH_MEMORY ((size_t)64 << 20)
#define STORE_FETCH_FILE   ((uint64_t)4 << 30) /* or what is in the store; a third of free space */
#define STORE_FETCH_PIECE  ((size_t)32 << 20)

struct store_options {
    uint64_t map_size; /* bytes of address space; grows */
    bool create;     /* a new store: EXISTS when there is one; else NOT_FOUND when there is none */
    bool keep_log;   /* every change is kept for LOG_READ until LOG_TRIM */
    bool replicated; /* parts can be served and fetched; an interrupted fetch may be opened */
    struct store_fetch_limits fetch;
};

/* BUSY: another process has it; VERSION: a newer format; DAMAGED: an interrupted restore, or worse.
 * ret_error gets a sentence on failure (c2_free). */
C2_RESULT store_open(const char *path, const struct store_options *o, struct replica_app **ret_app,
                     char **ret_error);

/* Applies a log as LOG_READ returns it, in one batch. The first version must be the next one;
 * CORRUPT when an entry does not give the version it has. */
C2_RESULT store_replay(struct replica_app *a, struct c2_slice log);

struct store_verified {
    uint64_t version, keys, bytes, ephemerals, sessions, nodes;
    uint8_t digest[32];
    char problem[160]; /* the first that was found, for people */
};

/* Reads and checks everything; changes nothing. DAMAGED, or what reading failed with; UNAVAILABLE
 * when a state was being fetched: problem says how far. */
C2_RESULT store_verify(struct replica_app *a, struct store_verified *ret);

/* One piece of a walk has so many keys and nodes at most, and so many bytes beside one record. */
#define STORE_PATROL_ITEMS 256
#define STORE_PATROL_BYTES (512u << 10)

/* A walk through a replicated store at work; begins as zeros. */
struct store_patrol {
    const uint8_t *digest; /* of the last commit, compared at the end; NULL = not known */
    uint8_t at[32];
    uint64_t keys, bytes; /* so far */
    bool finished;
    char problem[160]; /* for people */
};

/* Checks the next piece, as of the last commit; any thread. BUSY: not now, the state is not
 * complete; DAMAGED. */
C2_RESULT store_patrol(struct replica_app *a, struct store_patrol *p);

#endif
