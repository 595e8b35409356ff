/* SPDX-License-Identifier: MIT */
/*
 * Looks after the providers that nobody happens to ask. Reads go to the best two of four: what
 * became of the others would show at the worst moment.
 *
 * A round asks every seat whether it answers, and checks a few known objects at every seat that
 * should have a share of them (headers and tables, not the bytes). What it finds is in
 * ds_seat_status. There is one at the start, one every WATCH_EVERY_NS, and one for a status when
 * the last is not fresh.
 */
#ifndef C2_FS_WATCH_H
#define C2_FS_WATCH_H

#include "fs/fs.h"

#define WATCH_EVERY_NS    (5 * 60 * C2_NS_PER_S)
#define WATCH_FRESH_NS    (2 * C2_NS_PER_S)
#define WATCH_PATIENCE_NS (5 * C2_NS_PER_S) /* silence for so long is no answer */
#define WATCH_CHECKS_NS   C2_NS_PER_S       /* what an ask waits for the objects of a round */
#define WATCH_SAMPLES     3

struct watch;

/* All parts are borrowed. The first round starts at once. */
struct watch *watch_new(struct c2_env *env, struct ds_client *ds, struct fs *fs);
/* No more rounds; every ask is done. Before fs is closed. NULL is fine. */
void watch_stop(struct watch *w);
/* Stopped, and the client has been drained. NULL is fine. */
void watch_free(struct watch *w);

/* Somebody who wants to know how the seats are now. Owned by the caller until done. */
struct watch_ask {
    struct c2_link link;
    void (*done)(struct watch_ask *a);
};

/* True when what ds_seat_status says is fresh. */
bool watch_is_fresh(const struct watch *w);
/* done runs after a round, or earlier when that takes too long; never from inside. */
void watch_ask(struct watch *w, struct watch_ask *a);

#endif
