/* SPDX-License-Identifier: MIT */
/*
 * A server-less volume back from the clouds alone: the newest checkpoint, then the journal after
 * it, then a seal, so that the machine that had the volume cannot go on beside us. Formats:
 * fs/ship_format.h; the writer: fs/ship.c.
 *
 * f faulty clouds can neither change nor hide anything: what was acknowledged is listed by more
 * than f seats and readable from the others. A journal with a gap, a fork or an unreadable object
 * ends the recovery with an error that says what would be recovered up to which time; accept_loss
 * takes that.
 */
#ifndef C2_FS_RECOVER_H
#define C2_FS_RECOVER_H

#include "base/crypto.h"
#include "base/buf.h"
#include "base/env.h"

struct coord;
struct ds_client;
struct recovery;

struct recover_report {
    uint64_t checkpoint_version; /* 0 = none was there */
    uint64_t checkpoint_wall_ns;
    uint64_t checkpoint_bytes;
    unsigned checkpoints_bad;      /* newer ones that could not be read */
    uint64_t objects, objects_max; /* of the journal: applied, to be applied */
    uint64_t log_bytes;
    uint64_t version; /* of the rebuilt store */
    uint64_t time_ns; /* wall clock of the last transaction; 0 = unknown */
    uint64_t sealed;  /* the generation that cannot go on */
    bool lossy;       /* something after `version` is lost */
    char loss[256];   /* what */
};

struct recover {
    struct c2_env *env;
    struct ds_client *ds; /* borrowed; of the volume, with its data key unless it is keyless */
    struct coord *coord;  /* borrowed; a new, empty local: store. After an error it is of no use */
    uint8_t uuid[16];
    const uint8_t *volume_key; /* borrowed; NULL: keyless, the checkpoint has it */
    const char *head_path;     /* what this machine saw last, or NULL; see RECOVER_HEAD_NAME */
    unsigned skip_checkpoints; /* the newest ones are not to be used */
    bool accept_loss;
    bool look_only; /* ends when the checkpoint's index was read: config and key, nothing else */
    void (*done)(struct recover *r);

    /* out */
    enum c2_err err; /* NOT_FOUND: nothing of the volume is there; DAMAGED: accept_loss would help;
                        CORRUPT: a part of the checkpoint cannot be read, an older one may do;
                        QUORUM: too few clouds answer; CONFLICT: another machine recovers too */
    char *error;     /* a sentence for people; the caller's (c2_free) */
    struct recover_report report;       /* may be read while it runs */
    struct c2_buf config;               /* record C as it was at the checkpoint; the caller's */
    bool found_key;                     /* ret_volume_key was in the checkpoint */
    uint8_t ret_volume_key[C2_KEY_LEN]; /* the caller wipes it */
    struct recovery *own;               /* private */
};

#define RECOVER_HEAD_NAME "ship.head" /* in cache_dir */

void recover_start(struct recover *r);

#endif
