/* SPDX-License-Identifier: MIT */
/*
 * Private to ship.c (the log), ship_check.c (is the volume still ours) and checkpoint.c (the
 * snapshots).
 */
#ifndef C2_FS_SHIP_STATE_H
#define C2_FS_SHIP_STATE_H

#include "fs/coord_keys.h"
#include "fs/fs.h"
#include "fs/repair.h"
#include "fs/ship.h"
#include "fs/ship_format.h"

#define SHIP_LIST_MAX (1u << 20)

struct ship_check;
struct checkpoint;

struct fs_ship {
    struct fs *fs;
    bool stopped;
    enum c2_err failed;  /* shipping cannot go on; OK otherwise */
    uint64_t generation; /* of this mount; 0 until the check is over */

    struct ship_record rec; /* rec.at: acknowledged by the clouds */
    uint64_t rec_serial;    /* counts changes of rec */
    uint64_t saved_serial, saving_serial;
    uint64_t saving_version;
    uint64_t trim_version, trimmed_version;
    struct coord_req trim;
    bool trimming;
    bool saving; /* at the end */
    struct coord_req save;
    struct coord_op save_op;
    struct coord_cond save_cond;
    struct ck save_key;
    struct c2_buf save_value;

    struct coord_watch watch;
    uint64_t seen;      /* newest version that changed a key */
    bool unsure;        /* events were lost: seen may be too low until the next read */
    uint64_t oldest_ns; /* since when something waits that is not in flight, 0 = nothing */
    struct coord_req read;
    bool reading;
    uint64_t read_version;   /* the log up to here was read */
    struct c2_buf log, next; /* read, not in flight; next: did not fit into the same object */
    bool full;               /* log is as large as an object may be */
    struct c2_task kick;
    struct c2_timer timer;

    bool putting;
    struct ds_put put;
    struct ship_object object;
    struct c2_buf body;
    struct c2_slice body_slice;
    uint64_t flight_log, flight_oldest_ns;

    struct c2_list waiters;

    bool head_writing, head_stale;
    struct c2_disk_req head;
    struct c2_buf head_body;
    struct c2_slice head_slice;
    char *head_path; /* owned */

    struct ship_check *check;      /* running, or NULL */
    struct checkpoint *checkpoint; /* owned; its state tells whether it runs */
    uint64_t objects, object_bytes, stored_bytes;
    enum c2_err last_error;
};

void ship_progress(struct fs_ship *s);
/* err OK: those who have what they wait for, else everybody. */
void ship_end_waiters(struct fs_ship *s, enum c2_err err);
/* Somebody else has the volume, or may have it: nothing can be committed any more. */
void ship_fence(struct fs_ship *s, const char *why, uint64_t generation, uint64_t seq);
void ship_record_changed(struct fs_ship *s);

/* ship_check.c: ends with s->generation set, or fenced. */
void ship_check_start(struct fs_ship *s);
void ship_check_stop(struct fs_ship *s);

/* checkpoint.c */
struct checkpoint *checkpoint_new(struct fs_ship *s);
void checkpoint_free(struct checkpoint *c); /* idle; NULL is fine */
bool checkpoint_idle(const struct checkpoint *c);
void checkpoint_stop(struct checkpoint *c);
/* After a shipped object: makes one when it is due. */
void checkpoint_consider(struct checkpoint *c);
/* One is due now, unless one is being made. */
void checkpoint_want(struct checkpoint *c);

#endif
