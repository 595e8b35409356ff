/* SPDX-License-Identifier: MIT */
/*
 * The right to change a volume: a session with the coordination service that is kept alive, and the
 * lock S/mount, an ephemeral key of it, whose version is the fencing token.
 *
 * A session ends when the service did not hear of us for its length: it was away, or we were. Then
 * the lock may be anybody's. Who has had it last is in S/owner: 16 random bytes that whoever takes
 * the lock writes with it, and that stay when the lock goes. Only while it has our bytes and nobody
 * has the lock, one transaction takes the lock again, for a new session; else the right is lost for
 * good.
 *
 *   HELD ──(the session is over)──────────────► OPEN ──► TAKE ──► HELD, with another token
 *     │                                          ▲         │
 *     └─(a transaction was fenced)─► CHECK ──────┘         └─(another owner)─► LOST
 *                                      └─(the session lives: somebody took the lock away)─► LOST
 *
 * Whoever changes the volume submits to lease_coord() and names the first session and token for
 * ever: those two conditions are kept, with the numbers of the day, on every attempt. A transaction
 * that they refuse has changed nothing: it waits until the lock is ours again and is sent again, or
 * gets its conflict when the right is lost. So nothing is ever committed under a token that is not
 * the lock's.
 */
#ifndef C2_FS_LEASE_H
#define C2_FS_LEASE_H

#include "fs/coord_keys.h"
#include "metadata/coord.h"

#define LEASE_OWNER_LEN 16

struct lease;

struct lease_config {
    struct c2_env *env;
    struct coord *coord;                 /* borrowed */
    const char *name;                    /* of the volume, for the log; borrowed */
    struct ck lock_key, owner_key;       /* the lock has been taken with */
    struct c2_slice lock_value;          /* copied */
    uint8_t owner[LEASE_OWNER_LEN];      /* this value in owner_key, */
    uint64_t session, token;             /* for this session; the lock's version */
    uint64_t ttl_ns;                     /* of the session */
    void (*lost)(void *arg, bool taken); /* once; taken: another mount had it meanwhile */
    void *arg;
};

/* Keeps the session alive from now on. */
struct lease *lease_new(const struct lease_config *c);
/* Nothing may be outstanding on lease_coord. ended runs when nothing of the lease is in flight;
 * gives the session that is to be closed, 0 = none. */
void lease_stop(struct lease *l, void (*ended)(void *arg, uint64_t session), void *arg);
void lease_free(struct lease *l); /* stopped, or never started; NULL is fine */

/* The service, for everybody whose transactions name the first session and token. */
struct coord *lease_coord(struct lease *l);

bool lease_is_held(const struct lease *l); /* as far as we know */
uint64_t lease_renewals(const struct lease *l);

#endif
