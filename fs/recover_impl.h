/* SPDX-License-Identifier: MIT */
/*
 * Private to recover.c (checkpoint, apply), recover_chain.c (the journal) and recover_seal.c (the
 * takeover).
 */
#ifndef C2_FS_RECOVER_IMPL_H
#define C2_FS_RECOVER_IMPL_H

#include "fs/coord_keys.h"
#include "fs/recover.h"
#include "fs/ship_format.h"

#define RECOVER_LIST_MAX (1u << 20)
#define RECOVER_WINDOW   8 /* journal objects in flight */

/* A journal object to be read; in the order of the history. */
struct recover_step {
    uint64_t generation, seq;
    uint32_t seats;
};

struct recover_fetch {
    struct recovery *v;
    bool used, done;
    struct ds_get get;
};

/* Blocking work on the store. */
struct recover_apply {
    struct c2_work work;
    struct coord *coord;   /* borrowed */
    struct c2_slice bytes; /* borrowed */
    bool parts;            /* of a snapshot, else log */
    enum c2_err err;
    void (*done)(struct recovery *v);
};

struct recovery {
    struct recover *r;
    bool ending;
    enum c2_err end_err;
    char *end_error;
    unsigned running; /* gets of the window that are outstanding */
    struct c2_task end_task;

    struct c2_disk_req disk;
    bool have_head;
    struct ship_position head;
    struct ds_list checkpoints, journal;
    struct ds_get get; /* one at a time: index, part, first object of a generation, re-read */

    /* checkpoint */
    size_t candidate; /* items of checkpoints not looked at yet */
    unsigned skipped;
    bool have_index;
    struct ship_checkpoint checkpoint;
    struct ds_ref *parts; /* owned */
    size_t nparts, next_part;

    /* the way through the journal */
    uint64_t look;               /* generations up to this one may still be on the way */
    bool must;                   /* this one is, a newer one says so */
    struct ship_position *bases; /* owned: of the generations on the way, newest first */
    uint64_t *generations;       /* owned: the same */
    size_t nbases;
    struct recover_step *steps; /* owned */
    size_t nsteps, next_step, next_fetch;
    struct recover_fetch fetch[RECOVER_WINDOW];
    bool walking, applying, rereading;
    bool cut; /* the step after the last one could not be read */
    enum c2_err cut_err;
    bool broken; /* a loss was accepted: the journal is not whole up to v->at */

    /* the object that was read and waits for its successor to confirm it */
    struct c2_blob *held_blob; /* owned */
    struct ship_object held;
    struct ds_ref held_ref;
    struct ship_object successor; /* of the held one, not checked yet */
    bool exact;                   /* the held one was read again by its successor's reference */

    bool device_known;
    uint8_t device[C2_ED25519_PUBLIC_LEN]; /* the signer of the generation at hand */

    struct ship_position at; /* all before it is applied */
    uint64_t version;        /* of the store */
    struct recover_apply apply;
    void (*after_apply)(struct recovery *v);

    /* takeover */
    uint8_t secret[C2_ED25519_SECRET_LEN];
    struct ship_object seal;
    struct c2_buf body;
    struct c2_slice body_slice;
    struct ds_put put;
    unsigned seals;
    struct keys *keys; /* owned */
    struct coord_req req;
    uint64_t session;
    struct coord_op op;
    struct ck key;
    struct c2_buf sealed;
};

/* Ends with an error sentence (printf-like), once everything that runs is over. */
void recover_fail(struct recovery *v, enum c2_err err, const char *fmt, ...) C2_PRINTF(3, 4);
void recover_end(struct recovery *v);
/* The journal ends here although it should not: an error, or (accept_loss) the end. False: over. */
bool recover_loss(struct recovery *v, const char *what, uint64_t generation, uint64_t seq,
                  enum c2_err err);
/* On the pool; done is not called when it failed. */
void recover_apply_start(struct recovery *v, struct c2_slice bytes, bool parts,
                         void (*done)(struct recovery *v));
/* More than f seats list it: it may have been acknowledged. */
bool recover_counts(const struct recovery *v, const struct ds_list_item *i);
/* Reads a slot by majority (root zero) or exactly. */
void recover_get(struct recovery *v, enum ds_kind kind, const struct ds_ref *ref, uint32_t placed,
                 void (*done)(struct ds_get *g));
/* Decodes what was read from a slot. */
C2_RESULT recover_decode(const struct recovery *v, const struct c2_blob *blob, uint64_t generation,
                         uint64_t seq, struct ship_object *ret_object);
/* Applies v->held, then `after` runs (perhaps from inside). False: it is not what comes next. */
bool recover_apply_held(struct recovery *v, void (*after)(struct recovery *v));
/* The object goes on at v->at. */
bool recover_continues(const struct recovery *v, const struct ship_object *o);

/* recover_chain.c: from the checkpoint (or nothing) to the end of the journal, then
 * recover_take_over. */
void recover_chain_start(struct recovery *v);
/* recover_seal.c */
void recover_take_over(struct recovery *v);

#endif
