/* SPDX-License-Identifier: MIT */
/*
 * A walk over all object records for the sake of one seat, a batch at a time:
 *
 *   COUNT  how many shares the seat should hold, and their bytes
 *   FILL   whatever the seat's new provider does not hold yet is brought there: copied from the one
 *          who had the seat before, when that gives it and it verifies, else rebuilt from others
 *   LEAVE  each object gets a share in another seat instead, unless it has enough without this one;
 *          then its record says so
 *
 * The walk remembers nothing but the last key: what exists is asked anew each time, so that it may
 * be repeated from anywhere. A failing object never stops the others.
 */
#ifndef C2_FS_SEAT_WALK_H
#define C2_FS_SEAT_WALK_H

#include "fs/placement.h"

enum seat_walk_what { SEAT_WALK_COUNT, SEAT_WALK_FILL, SEAT_WALK_LEAVE };

struct seat_walk_item;

/* Caller-owned, zeroed before the first batch. */
struct seat_walk {
    struct fs *fs; /* borrowed, as all of these */
    enum seat_walk_what what;
    unsigned seat;
    struct provider *target; /* FILL: the provider that has the seat now */
    struct provider *source; /* FILL: the one before; NULL = none */
    uint64_t bytes_max;      /* of shares in one batch, about; 0 = as many as a batch takes */
    unsigned good_below; /* only objects with fewer good shares than that in other seats; 0 = all */
    bool give_up; /* an object of which too few shares are left counts as lost, not as failed */
    void (*done)(struct seat_walk *w);

    struct ck after; /* in and out: the last key that was dealt with; len 0 = from the start */

    /* out, of this batch */
    enum c2_err err; /* of the store; UNAVAILABLE or another one of class RETRY when the target's
                      * list failed; `after` did not move */
    bool at_end;
    uint64_t objects; /* that the seat should hold, or should have held */
    uint64_t bytes;   /* of their shares, about */
    uint64_t moved;   /* shares brought to their place */
    uint64_t moved_bytes;
    uint64_t read_bytes;
    uint64_t failed;   /* left as they were; another walk may do better */
    uint64_t lost;     /* given up */
    uint32_t at_risks; /* numbers of good shares in other seats that its objects have, a bit each */
    enum c2_err why;   /* of the last failure */

    /* private */
    uint64_t since; /* ds_client_changes() at the start */
    bool canceled;
    struct coord_req req;
    struct ck prefix_key;
    struct c2_slice prefix;
    struct prov_req list;
    bool listing, deleting, starting;
    char list_prefix[PROV_KEY_MAX], list_after[PROV_KEY_MAX + 1];
    struct seat_walk_item *item; /* owned */
    size_t n, next;
    unsigned running;
    uint64_t running_bytes;
    struct fs_place place;
    struct ck last; /* becomes `after` */
    bool last_is_end;
    struct prov_req del;
    char *keys_text;   /* owned */
    const char **keys; /* owned */
};

void seat_walk_start(struct seat_walk *w);
/* The batch ends soon. */
void seat_walk_cancel(struct seat_walk *w);

#endif
