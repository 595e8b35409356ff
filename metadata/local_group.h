/* SPDX-License-Identifier: MIT */
/*
 * Changes that are applied together: in one batch of the store, each with its own conditions,
 * answer and version, and with one durable commit for all.
 *
 * The loop forms a group and settles it; in between it is the pool's, whose job reads and writes
 * nothing but the group and the store. A group that failed has changed nothing.
 */
#ifndef C2_METADATA_LOCAL_GROUP_H
#define C2_METADATA_LOCAL_GROUP_H

#include "base/buf.h"
#include "base/env.h"
#include "metadata/coord.h"
#include "metadata/replica.h"

struct local_group {
    struct c2_work work;     /* to be given to the pool; again, when the map has grown */
    struct replica_app *app; /* borrowed */
    struct c2_list reqs;     /* the requests, in order; their priv is the group */
    uint64_t time_ns;        /* on the store's clock */
    bool expire;             /* an EXPIRE command goes first */

    /* The outcome. */
    enum c2_err err;
    struct c2_buf cmd;      /* scratch */
    struct c2_buf *replies; /* owned; one per request */
    struct c2_buf events;   /* owned */
    bool events_lost;
    bool durable;
    uint64_t deadline_ns; /* of the next session, on the store's clock */
};

/* done: on the loop, when the pool has done the work. */
void local_group_init(struct local_group *g, struct replica_app *app,
                      void (*done)(struct c2_work *));
void local_group_done(struct local_group *g);

/* Takes requests from the head of the queue, as far as the limits go. */
void local_group_form(struct local_group *g, struct c2_list *queue, uint64_t time_ns, bool expire);

/* Empties the group: each request gets its answer, or the error, and goes to `finished`; trims that
 * are not finished go back to the head of the queue. */
void local_group_settle(struct local_group *g, enum c2_err err, struct c2_list *queue,
                        struct c2_list *finished);

#endif
