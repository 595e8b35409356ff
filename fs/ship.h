/* SPDX-License-Identifier: MIT */
/*
 * Server-less volumes (metadata = local:): the store's transaction log goes to the clouds as
 * journal objects, the store itself now and then as a checkpoint, so that the clouds alone are
 * enough to rebuild the volume (fs/recover.h). Formats: fs/ship_format.h.
 *
 * A mount without a device key ships nothing, and nothing ever waits for it.
 */
#ifndef C2_FS_SHIP_H
#define C2_FS_SHIP_H

#include "base/env.h"

struct fs;
struct fs_ship;

/* Everything that is committed now is shipped: with any f clouds lost it can be recovered. */
struct fs_ship_wait {
    void (*done)(struct fs_ship_wait *w);
    enum c2_err err;     /* OK, FENCED, CANCELED, or why shipping has stopped */
    uint64_t version;    /* private */
    bool any_base;       /* private: the volume need not have a checkpoint */
    struct c2_link link; /* private */
};
/* True: over already, w->err tells, done does not run. */
bool fs_ship_wait(struct fs *fs, struct fs_ship_wait *w);
/* Whether the clouds have everything up to a version of the store; always when nothing ships. */
bool fs_ship_has(const struct fs *fs, uint64_t version);
void fs_ship_wait_cancel(struct fs *fs, struct fs_ship_wait *w); /* done runs with CANCELED */

struct fs_ship_status {
    bool on;
    uint64_t unshipped_txns;
    uint64_t unshipped_bytes;                     /* read from the log so far: at least so many */
    uint64_t unshipped_oldest_ns;                 /* age of the oldest, 0 = nothing */
    uint64_t objects, object_bytes, stored_bytes; /* of this mount, checkpoints included */
    uint64_t generation;                          /* 0 = not known yet */
    uint64_t checkpoint_version;                  /* of the last one, 0 = none */
    uint64_t checkpoint_wall_ns;
    enum c2_err last_error;
};
void fs_ship_status(const struct fs *fs, struct fs_ship_status *ret_status);

/* A checkpoint is made soon, unless one is being made; the status tells when. To be repeated
 * until it has one that began late enough. */
void fs_ship_checkpoint(struct fs *fs);

/* ---- for life.c, txg.c, anchor.c -------------------------------------------------------------
 */

/* record: value of key H as it is in the store, still sealed; empty = none. version: the store's.
 */
C2_RESULT fs_ship_new(struct fs *fs, struct c2_slice record, uint64_t version,
                      struct fs_ship **ret_ship);
void fs_ship_start(struct fs *fs);      /* the volume is open */
void fs_ship_stop(struct fs *fs);       /* nothing new; what runs ends soon */
bool fs_ship_idle(const struct fs *fs); /* nothing runs */
void fs_ship_free(struct fs_ship *s);   /* idle; NULL is fine */
/* The mount is fenced: who waits is told so. */
void fs_ship_fenced(struct fs *fs);

/* The plain record for key H when it changed since it was saved last, to be put into the next
 * transaction; then it is saved. */
bool fs_ship_record(struct fs *fs, struct c2_buf *out);
void fs_ship_record_saved(struct fs *fs);
/* At the end of a mount, before fs_ship_stop: saves it by itself. */
void fs_ship_save(struct fs *fs);

#endif
