/* SPDX-License-Identifier: MIT */
/*
 * The watches of one service, and how they hear of changes. A watch may begin or end from inside
 * an event, its own or another's.
 */
#ifndef C2_METADATA_WATCH_H
#define C2_METADATA_WATCH_H

#include "metadata/coord.h"

struct watch_list {
    struct c2_list watches; /* of coord_watch.link */
    struct c2_link *next;   /* where the delivery goes on; moved when that watch ends */
};

void watch_list_init(struct watch_list *l);
void watch_list_add(struct watch_list *l, struct coord_watch *w);
void watch_list_remove(struct watch_list *l, struct coord_watch *w);
/* Ends all of them; no event comes any more. */
void watch_list_clear(struct watch_list *l);
/* Events as a replica_batch lists them; lost: every watch has to reload. */
void watch_list_deliver(struct watch_list *l, struct c2_slice events, bool lost);

#endif
