/* SPDX-License-Identifier: MIT */
/*
 * Compares what the object records say with what the clouds have, both ways, a window at a time:
 * shares that should be there and are not, or are not right; and objects that no record names.
 * What is damaged is told to repair (fs/repair.h).
 *
 * Lists are hints only: what one says is missing is asked for, what one says is there and should
 * not be is looked for again. So the numbers are exact while files come and go.
 */
#ifndef C2_FS_SCAN_H
#define C2_FS_SCAN_H

#include "fs/fs.h"

enum fs_scan_mode {
    FS_SCAN_EXISTS, /* lists; headers of what they lack */
    FS_SCAN_SAMPLE, /* also every byte of some objects */
    FS_SCAN_DATA,   /* every byte of all objects */
};

/* Shares of one seat. expected = present + missing + bad + unknown. */
struct fs_scan_seat {
    uint64_t expected; /* records say that it has them */
    uint64_t present;  /* listed, or verified */
    uint64_t missing;
    uint64_t bad;     /* fail verification */
    uint64_t unknown; /* the seat did not answer */
    uint64_t extra;   /* of objects that are placed elsewhere; harmless */
    uint64_t orphans; /* of objects that no record names */
};

struct fs_scan_counts {
    uint64_t objects;
    uint64_t healthy;    /* at their goal */
    uint64_t below;      /* the others ... */
    uint64_t unreadable; /* ... of them: with fewer than f + 1 shares that can still be there */
    uint64_t verified;   /* every byte was read */
    uint64_t orphans;    /* objects; of a seat that lists too many of them no more are counted */
    struct fs_scan_seat seat[DS_SEATS_MAX];
};

#define FS_SCAN_WINDOW      500u /* records in one go */
#define FS_SCAN_ORPHANS_MAX 20000u

struct fs_scan {
    struct fs *fs; /* borrowed until done */
    enum fs_scan_mode mode;
    unsigned sample_permille; /* of the objects */
    unsigned window;          /* records, 1..FS_SCAN_WINDOW */
    unsigned parallel;        /* objects that are checked at the same time, 1..16 */
    uint64_t orphans_max;     /* a seat that lists more is not asked for a list any more: it could
                               * go on for ever. 0 = FS_SCAN_ORPHANS_MAX */
    struct {
        bool set; /* false: from the first one */
        uint64_t sid, seq;
    } after;                      /* in and out */
    struct fs_scan_counts counts; /* in and out: added to */
    void (*done)(struct fs_scan *s);

    /* out: OK; else nothing was counted and `after` is where it was: QUORUM when more than f seats
     * cannot list, CANCELED, why the records cannot be read */
    enum c2_err err;
    bool finished;                     /* nothing is left after this window */
    uint64_t bytes;                    /* read */
    uint64_t seat_bytes[DS_SEATS_MAX]; /* about so many of them from each seat */

    struct fs_scan_window *own; /* private */
};

void fs_scan_start(struct fs_scan *s);
/* What runs ends (soon when the client quiesces), nothing new is begun; done runs then. */
void fs_scan_cancel(struct fs_scan *s);

#endif
