/* SPDX-License-Identifier: MIT */
/*
 * What a replica knows about one sequence number: the proposal, who has voted for it, the proof
 * that it was prepared, what was decided. Private to the replica; bft_slot.c says how long it
 * lasts.
 */
#ifndef C2_METADATA_BFT_SLOT_H
#define C2_METADATA_BFT_SLOT_H

#include "base/buf.h"
#include "metadata/msg.h"

#define BFT_RING (2 * MSG_WINDOW_MAX) /* slots */

struct bft_replica;

/* A piece of a shared blob. */
struct bft_bytes {
    struct c2_blob *blob; /* owned reference; NULL = none */
    size_t at, len;
    bool shared; /* with the body of its slot, which is counted */
};

struct bft_vote {
    struct c2_blob *msg; /* owned reference: the whole PREPARE or COMMIT; NULL = none */
    uint64_t view;
    uint8_t digest[MSG_DIGEST_LEN];
};

/* Proof that (view, n, digest) was prepared. */
struct bft_cert {
    bool have;
    uint64_t view;
    uint8_t digest[MSG_DIGEST_LEN];
    uint8_t proposal[MSG_PROPOSAL_LEN];
    struct c2_blob *votes[MSG_REPLICAS_MAX]; /* owned references: PREPARE messages */
    unsigned nvotes;
    struct bft_bytes body; /* empty for the null batch */
};

struct bft_slot {
    uint64_t n; /* 0 = free */

    /* The proposal of the current view, or of the last one this replica voted in. */
    bool have_proposal;
    bool reissued; /* by a NEW-VIEW: nothing in it is ours to judge */
    uint64_t view;
    uint8_t digest[MSG_DIGEST_LEN];
    uint8_t proposal[MSG_PROPOSAL_LEN];
    bool have_body;
    struct bft_bytes body; /* of digest; empty for the null batch */
    uint64_t seen_ns;
    bool crowded; /* it came into a full pipeline */
    bool held;    /* it came before its view */
    bool timed;   /* our clock was compared with it */

    uint64_t prepare_lsn; /* not 0: our PREPARE waits for this record */
    uint64_t commit_lsn;  /* not 0: our COMMIT waits for this record */
    bool voted;           /* the proposal is in the log: our PREPARE, sent or to be sent */
    bool prepared;        /* in `view`: our COMMIT, sent or to be sent */
    uint64_t first_lsn;   /* oldest record about this slot; 0 = none */

    struct bft_vote prepare[MSG_REPLICAS_MAX]; /* verified */
    struct bft_vote commit[MSG_REPLICAS_MAX];  /* authenticated by the channel only */
    struct bft_cert cert;

    bool decided;
    uint64_t decided_view;
    uint8_t decided_digest[MSG_DIGEST_LEN];
    struct bft_bytes final; /* batch of decided_digest */
    bool have_final;        /* false: dropped, or decided before a restart and not found yet */
    struct c2_blob *proof;  /* owned reference: DECIDED message as it came, or NULL */

    bool have_later; /* a proposal of a view to come; its batch is fetched when the view is there */
    uint64_t later_view;
    uint8_t later[MSG_PROPOSAL_LEN];
};

/* NULL when n is outside of what the ring may hold now, or unused. */
struct bft_slot *bft_slot(struct bft_replica *r, uint64_t n);
/* The first number from n on that may have one. */
uint64_t bft_first_slot(const struct bft_replica *r, uint64_t n);
/* Takes the slot into use; NULL when n is out of range. */
struct bft_slot *bft_slot_make(struct bft_replica *r, uint64_t n);
void bft_slot_clear(struct bft_replica *r, struct bft_slot *s);
bool bft_in_window(const struct bft_replica *r, uint64_t n);
void bft_bytes_set(struct bft_replica *r, struct bft_bytes *dst, struct c2_blob *blob,
                   struct c2_slice bytes);
/* What a slot holds of its body under another name takes no more memory. */
void bft_bytes_share(struct bft_replica *r, struct bft_bytes *dst, const struct bft_bytes *body);
void bft_final_set(struct bft_replica *r, struct bft_slot *s, struct c2_blob *blob,
                   struct c2_slice bytes);
void bft_bytes_clear(struct bft_replica *r, struct bft_bytes *b);
struct c2_slice bft_bytes_slice(const struct bft_bytes *b);
/* In any slot; false when none has it. */
bool bft_find_body(struct bft_replica *r, const uint8_t digest[MSG_DIGEST_LEN],
                   struct bft_bytes *ret_body);
/* For the slot's proposal; whether it has its batch now. */
bool bft_look_for_body(struct bft_replica *r, struct bft_slot *s);
bool bft_is_null(const uint8_t digest[MSG_DIGEST_LEN]);
void bft_vote_set(struct bft_vote *v, struct c2_blob *msg, uint64_t view, const uint8_t *digest);
void bft_vote_clear(struct bft_vote *v);
/* Votes for (view, digest). */
unsigned bft_vote_count(const struct bft_replica *r, const struct bft_vote *votes, uint64_t view,
                        const uint8_t *digest);
void bft_cert_clear(struct bft_replica *r, struct bft_cert *c);
/* A stable checkpoint covers it: only what helps others to catch up is kept. */
void bft_slot_settle(struct bft_replica *r, struct bft_slot *s);
/* What is proposed and not decided has to reach the others and their disks before anything else:
 * large batches must not make each other, and the primary, look slow. */
size_t bft_bytes_under_way(const struct bft_replica *r);
/* Makes room in the pool for len bytes; false when there is none. */
bool bft_body_room(struct bft_replica *r, size_t len);

#endif
