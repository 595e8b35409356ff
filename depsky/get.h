/* SPDX-License-Identifier: MIT */
/*
 * Private to object_get.c (which seats to ask for what) and get_seat.c (asking one seat and
 * verifying what comes).
 */
#ifndef C2_DEPSKY_GET_H
#define C2_DEPSKY_GET_H

#include "depsky/client.h"
#include "depsky/codec.h"

enum get_plan {
    PLAN_HEADERS, /* the layout is unknown: headers of k seats first */
    PLAN_WHOLE,   /* the layout is unknown: whole shares of k seats */
    PLAN_DIRECT,  /* from each data row exactly what the range needs of it */
    PLAN_DECODE,  /* one window of any k rows */
};

struct get_seat {
    struct get *op;
    unsigned index;
    bool failed, absent, corrupt, late;
    bool want_head;       /* the header is on its way */
    bool whole;           /* so is everything else */
    struct ds_span want;  /* row bytes on their way, in verification or verified */
    struct ds_call *head; /* outstanding, or NULL; may bring row bytes as well */
    struct ds_call *body; /* outstanding, or NULL */
    struct c2_blob *held; /* self-certified: a share whose root is not adopted yet */
    uint8_t held_root[DS_ROOT_LEN];
    struct c2_blob *blob; /* row bytes not verified yet, from blob->data + skip on */
    size_t skip;
    uint32_t blob_lo;    /* row offset of the first of them */
    struct c2_work work; /* leaf verification */
    bool verifying;
    struct c2_slice work_body;
    const uint8_t *work_leaves;
    enum c2_err work_err;
    struct ds_row_bytes have; /* verified; points into have_blob */
    struct c2_blob *have_blob;
    struct c2_timer hedge;
    size_t hedge_bytes; /* for which it was armed */
};

struct get {
    struct ds_client *c;
    struct ds_get *g; /* the caller's; not to be touched when finished */
    struct c2_task task;
    bool canceled, finished, trusted; /* trusted: ref.root is */
    bool refused;                     /* no object can have this reference */
    unsigned jobs;                    /* pool jobs that use this struct */
    struct ds_ref ref;
    uint64_t offset, len; /* clipped to the object once plain_len is known */
    enum get_plan plan;
    struct ds_object *obj;  /* a reference; NULL until a header is verified */
    bool guessing;          /* the plan assumes a raw object and nobody has confirmed it */
    struct ds_layout guess; /* while guessing */
    struct ds_span need[DS_F_MAX + 1]; /* by data row, whole leaves */
    struct ds_span window;             /* the hull of need */
    struct c2_work work;               /* unsealing */
    struct ds_unseal unseal;
    bool unsealing;
    char key[PROV_KEY_MAX];
    struct get_seat seat[DS_SEATS_MAX];
};

/* object_get.c */
void get_step(struct get *op);
/* How many requests replace this late one: more than one when a row is to be decoded instead. */
unsigned get_helpers(const struct get_seat *late);
/* The first verified header: the real layout is known now. */
void get_layout_known(struct get *op);
/* A job is over; frees the state when that was the last thing. */
void get_job_over(struct get *op);

/* get_seat.c */
void get_seat_init(struct get_seat *s, struct get *op, unsigned index);
bool get_seat_active(const struct get_seat *s);
/* Asks for the header unless it is known, and for row bytes when `want` is not empty. */
void get_seat_fetch(struct get_seat *s, struct ds_span want);
void get_seat_fetch_whole(struct get_seat *s);
/* A self-certified share whose root was adopted. */
void get_seat_adopt(struct get_seat *s);
/* Drops row bytes asked for under a wrong layout. */
void get_seat_forget_body(struct get_seat *s);
void get_seat_fail(struct get_seat *s, enum c2_err err, const char *detail);
/* Cancels calls and frees what no job uses. */
void get_seat_stop(struct get_seat *s);
/* After the last job. */
void get_seat_done(struct get_seat *s);

static inline bool
get_span_covers(struct ds_span outer, struct ds_span inner)
{
    return inner.lo == inner.hi || (outer.lo <= inner.lo && outer.hi >= inner.hi);
}

static inline bool
get_seat_has_row(const struct get_seat *s)
{
    return s->op->obj != NULL && s->op->obj->leaves[s->index] != NULL;
}

#endif
