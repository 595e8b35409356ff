/* SPDX-License-Identifier: MIT */
/*
 * What a replica knows: requests, sessions, checkpoints, votes, its state's transfer.
 *
 * Invariants
 *   stable <= h + window; proposals are accepted for n in (stable, stable + window]
 *   stable, executed, issued and committed_to never go down, except that a restart or a repair
 *   goes back to the last checkpoint (executed, issued)
 *   executed <= issued <= highest decided; every batch up to issued is decided or in the state
 *   a vote in a slot's own seat exists only after its log record is durable
 */
#ifndef C2_METADATA_BFT_REPLICA_H
#define C2_METADATA_BFT_REPLICA_H

#include "base/env.h"
#include "base/map.h"
#include "metadata/bft.h"
#include "metadata/bft_slot.h"
#include "metadata/demand.h"

#define BFT_SIG_CACHE    4096
#define BFT_CKPT_VOTES   4    /* of each seat, the newest */
#define BFT_CKPT_OWN     8    /* own checkpoints remembered */
#define BFT_SYNC_OUT     8    /* STATE-FETCH messages of one peer in work */
#define BFT_SYNC_ITEMS   1024 /* parts of a state that are wanted, under way or not in place */
#define BFT_SYNC_BYTES   (16u << 20) /* of answers: under way, by the size of others, or waiting */
#define BFT_SYNC_ANSWER  (1u << 20)  /* taken for the size of the first one */
#define BFT_ANSWER_BYTES 49152u      /* cached answers of one session, at a checkpoint */
#define BFT_SESSIONS_KEY 32 /* sessions of one client key: a mount, and commands beside it */
#define BFT_BACKOFF_MAX  6  /* timeouts double up to 64 times */
#define BFT_SECRETS_MAX  4
#define BFT_READERS      64                 /* keys that have fast reads at the executor */
#define BFT_UNDER_WAY    (2u << 20)         /* bytes of batches, but for the last one */
#define BFT_COMMANDS_MAX 4096               /* of a batch: they are kept until a checkpoint */
#define BFT_READS_MAX    64                 /* of a batch: one takes as long as many commands */
#define BFT_SHARE        BFT_SESSION_WINDOW /* commands of a key under way while others want some */

/* ---- requests -------------------------------------------------------------------------------- */

/* A client's key, with requests that are not executed. */
struct bft_principal {
    struct c2_map_node node; /* r->principals */
    struct c2_link turn;     /* r->turns while it has requests to propose */
    struct c2_list turns;    /* of bft_queue.turn: whose turn it is of its sessions */
    uint8_t key[MSG_KEY_LEN];
    unsigned queues;
    unsigned proposed;  /* its commands that are proposed, by this primary, and not executed */
    size_t bytes;       /* of its requests */
    unsigned requests;  /* all of them */
    uint64_t served;    /* requests that were executed */
    uint64_t served_ns; /* the last one */
    uint64_t commands;  /* in those */
};

/* Requests of one session (or OPENs of one key) that are not executed. */
struct bft_queue {
    struct c2_map_node node; /* r->queues */
    struct bft_principal *principal;
    struct c2_link turn;   /* principal->turns while it has requests to propose */
    struct c2_link by_age; /* r->ages, the longest wait first */
    uint8_t key[MSG_KEY_LEN];
    uint64_t session;
    struct c2_list requests; /* bft_request.link, all of them */
    unsigned unproposed;
    uint64_t wait_ns; /* nothing of it was executed since then */
    uint64_t seen;    /* principal->served then */
    bool told;        /* ... and all replicas were told */
};

struct bft_request {
    struct c2_link link; /* queue->requests, in the order of arrival */
    struct bft_queue *queue;
    struct bft_bytes msg; /* the whole REQUEST */
    uint64_t cseq;
    unsigned commands;
    uint64_t passed_ns; /* to the primary, by us; 0 = not */
    uint64_t before;    /* principal->commands then */
    bool proposed;      /* in this view */
    bool read;          /* a reading command */
    bool stranger;      /* of a session that is not known here (yet) */
};

/* A key that was heard of lately. */
struct bft_recent {
    uint8_t key[MSG_KEY_LEN];
    uint64_t seen_ns; /* 0 = none */
};

struct bft_reader {
    uint8_t key[MSG_KEY_LEN];
    unsigned jobs;
};

struct bft_read {
    struct c2_link link; /* r->reads */
    uint64_t conn, rseq;
    uint8_t key[MSG_KEY_LEN];
    uint64_t needs; /* answered when issued is at least this */
    uint64_t deadline_ns;
    struct c2_blob *msg; /* owned reference */
    bool full;
};

/* ---- sessions: part of the replicated state -------------------------------------------------- */

struct bft_answer {
    uint64_t cseq; /* 0 = none */
    uint64_t n;
    uint8_t code;
    bool pending;           /* the executor has not answered yet; never at a checkpoint */
    struct c2_blob *result; /* owned; NULL = empty or gone */
};

struct bft_session {
    struct c2_map_node node; /* r->sessions */
    struct c2_link link;     /* r->session_list, least recently used first */
    uint64_t id;
    uint8_t key[MSG_KEY_LEN];
    uint64_t nonce;
    uint64_t last_n;  /* sequence number of its last request */
    uint64_t ack_low; /* answers up to here have arrived */
    uint64_t bitmap;  /* bit i: ack_low + 1 + i was executed */
    size_t answer_bytes;
    struct bft_answer answer[BFT_SESSION_WINDOW]; /* cseq % window */
    bool dirty;                                   /* differs from its record in the application */

    /* Not part of the state: requests for which the primary took long, and others. */
    unsigned slow, fast;
    uint64_t pace_view, pace_since_ns; /* counted in this view, since then */
};

/* Sessions that ended since the last checkpoint. */
struct bft_gone {
    uint64_t *ids; /* owned */
    size_t count, cap;
};

/* ---- checkpoints ----------------------------------------------------------------------------- */

struct bft_ckpt_vote {
    struct msg_checkpoint c; /* n = 0: none */
    uint8_t sig[MSG_SIG_LEN];
};

/* ---- replica --------------------------------------------------------------------------------- */

struct bft_actions_buf {
    struct bft_action *list; /* owned */
    size_t count, cap;
    struct c2_buf arena; /* record bytes; actions hold offsets until the step ends */
};

enum bft_phase { BFT_NORMAL, BFT_LEAVING };

struct bft_vc {
    struct c2_blob *msg; /* owned reference; NULL = none. A valid VIEW-CHANGE */
    uint64_t view;
    uint8_t digest[MSG_DIGEST_LEN];
};

struct bft_sync_item {
    struct msg_state_item item;
    uint64_t due_ns; /* not asked for before */
    uint32_t vain;   /* seats that have not got it, or did not answer */
    unsigned tries;  /* times it was asked for */
};

/* A STATE-FETCH that waits for its answer; nobody else's answer counts. */
struct bft_sync_ask {
    uint64_t since_ns;
    unsigned patience; /* of the seat, then; see bft_transfer.c */
    unsigned tries;    /* the most of an item */
    bool answered;     /* just now */
    unsigned nitems;   /* 0 = none */
    struct bft_sync_item item[MSG_WANTED_MAX];
};

struct bft_sync {
    uint64_t n; /* target */
    uint8_t digest[MSG_DIGEST_LEN];
    struct bft_sync_item item[BFT_SYNC_ITEMS]; /* wanted, and not under way */
    unsigned nitems;
    struct bft_sync_ask ask[MSG_REPLICAS_MAX][BFT_SYNC_OUT]; /* by seat */
    unsigned turn;                                           /* the seat that was asked last */
    bool vain;         /* an item may have been asked for in vain by all */
    uint64_t again_ns; /* when all such items are asked for again */
    unsigned jobs;
    size_t waiting;                      /* bytes of answers in those jobs */
    size_t answer;                       /* bytes of an answer, of late */
    unsigned patience[MSG_REPLICAS_MAX]; /* of seats: doublings of the time for an answer */
    uint32_t silent;                     /* seats that did not answer in time the last time */
    uint32_t liars;                      /* seats that have sent wrong parts: not asked any more */
    bool finished;
};

struct bft_epoch_proof {
    uint32_t epoch;       /* 0 = none */
    struct c2_buf config; /* owned */
    struct c2_buf stable; /* owned */
};

struct bft_new_view {
    struct c2_blob *msg; /* owned reference; NULL = none */
    uint64_t view;
    unsigned nvcs;
    struct bft_vc vc[MSG_REPLICAS_MAX]; /* what it builds on; msg NULL = missing */
};

struct bft_replica {
    struct bft_setup setup;
    const struct bft_crypto *crypto;
    struct bft_config config;
    struct c2_buf config_bytes; /* owned: config, encoded */
    uint8_t config_hash[MSG_DIGEST_LEN];
    struct bft_epoch_proof epochs[BFT_EPOCHS_KEPT];
    uint8_t secrets[BFT_SECRETS_MAX][C2_ED25519_SECRET_LEN];
    unsigned nsecrets;
    bool have_secret; /* the one for this epoch: in `secret` */
    unsigned q;       /* quorum */
    uint16_t seat;    /* of this replica in config; MSG_SENDER_CLIENT = none */
    uint8_t secret[C2_ED25519_SECRET_LEN];
    enum bft_mode mode;
    uint64_t now_ns, wall_ns; /* of the event in work */
    uint64_t rng;
    uint64_t lsn, durable_lsn;
    uint64_t view_lsn;      /* the record with which this view began */
    uint64_t trim_lsn;      /* what may be trimmed ... */
    uint64_t trim_wait_lsn; /* ... once this is durable; 0 = nothing */

    /* agreement */
    uint64_t view;
    enum bft_phase phase;
    bool abdicated;            /* primary of this view before a restart: proposes nothing in it */
    uint64_t stable;           /* last stable checkpoint; the window begins after it */
    struct c2_buf stable_cert; /* owned: encoded; empty at the base */
    struct msg_checkpoint stable_c;
    uint64_t proposed;     /* highest sequence number proposed in this view (primary) */
    uint64_t committed_to; /* highest n for which a COMMIT was ever sent */
    uint64_t seen_n;       /* highest n that is decided or stable, or that we have voted for */
    uint64_t heard_n[MSG_REPLICAS_MAX]; /* highest n that a seat has spoken of */
    struct bft_slot *ring;              /* owned, BFT_RING */
    uint64_t last_time_ns;              /* highest agreed time proposed or accepted */
    size_t bodies_bytes;
    uint64_t dropped_to; /* bodies up to here were dropped to make room */

    /* execution */
    uint64_t issued;                  /* batches up to here were given to the executor */
    uint64_t issued_ns;               /* the last of them */
    uint64_t executed;                /* ... and have come back */
    uint64_t time_ns;                 /* agreed time of `issued` */
    bool due;                         /* the next batch has work, whatever is in it */
    uint64_t steady_ns, steady_at_ns; /* the other clock (bft_clock.c): then; 0 = none yet */
    int64_t clock_ahead_ns;           /* the wall clock, of the last proposal's time */
    unsigned clock_off;               /* proposals that were off, since a decision that was not */
    uint8_t log_hash[MSG_DIGEST_LEN]; /* chain over the batches up to issued */
    unsigned refusals;                /* answers in `issued` that refuse something */
    unsigned jobs;
    bool started, damaged; /* the log was read; something in it was not understood */
    bool was_member;       /* of some epoch that is known here */
    uint32_t log_epoch;    /* highest epoch of a record; the EPOCH record itself may come later */
    uint64_t orphan;       /* highest PREPARED in the log whose proposal was trimmed */
    bool quarantined;
    uint64_t safe_view, safe_n; /* votes again from there; safe_n = 0: not known yet */
    uint32_t heard;             /* quarantine: seats that have reported */
    uint64_t heard_view[MSG_REPLICAS_MAX];
    bool syncing;         /* fetching state: results of older jobs mean nothing */
    bool at_checkpoint;   /* issued is a checkpoint whose records were not taken yet */
    uint64_t last_ckpt;   /* the application is durable up to here */
    uint64_t progress_ns; /* last time a batch was decided */
    struct c2_map sessions;
    struct c2_list session_list;
    uint32_t nclosed; /* sessions in it that are closed */
    struct bft_gone gone;
    struct c2_buf next_config; /* owned: decided configuration that waits for its boundary */
    uint64_t next_boundary;    /* 0 = none */
    uint32_t state_epoch;      /* in which the state is that was loaded */
    uint8_t state_config[MSG_DIGEST_LEN];

    /* checkpoints */
    struct msg_checkpoint own[BFT_CKPT_OWN];
    struct bft_ckpt_vote ckpt[MSG_REPLICAS_MAX][BFT_CKPT_VOTES];

    /* requests */
    struct c2_map queues, principals;
    struct c2_list turns; /* of bft_principal.turn: whose turn it is */
    struct bft_recent recent[BFT_RECENT];
    struct bft_reader readers[BFT_READERS]; /* whose fast reads are at the executor */
    unsigned nreaders;
    struct c2_list ages; /* of bft_queue.by_age */
    uint32_t nrequests;
    uint32_t nstrangers; /* ... of sessions that are not known */
    size_t requests_bytes;
    struct c2_list reads;
    size_t reads_bytes;
    unsigned unproposed;     /* requests that wait to be proposed */
    uint64_t batch_since_ns; /* ... since then; 0 = none */
    unsigned waiting;        /* commands in them */
    unsigned under_way;      /* commands that this primary has proposed, and that are not issued */
    struct demand demand;    /* commands that waited or were under way at once, of late */
    uint64_t proposed_ns;    /* last proposal of this replica */

    /* views */
    uint64_t wish[MSG_REPLICAS_MAX];
    uint64_t my_wish;  /* in the log, or on its way there */
    uint64_t wish_lsn; /* not 0: my_wish waits for this record */
    unsigned backoff;
    unsigned decided_in_view;
    uint64_t agree_ns;                  /* what an agreement takes of late, from the proposal on */
    unsigned slow_views;                /* left because the primary was slow, one after the other */
    uint64_t view_ns;                   /* when this view, or leaving for it, began */
    struct bft_vc vc[MSG_REPLICAS_MAX]; /* the highest of each seat */
    struct c2_blob *own_vc;             /* owned reference: of `view` while leaving */
    uint64_t vc_lsn;                    /* not 0: it waits for this record */
    struct bft_new_view nv;             /* of `view`, or none */
    /* Later ones by their makers, which lack VIEW-CHANGEs or wait for nv_lsn: a liar's may lack
     * them for ever, and must not be in the way of others. */
    struct bft_new_view nv_next[MSG_REPLICAS_MAX];
    uint64_t nv_lsn; /* not 0: own NEW-VIEW waits for this record */
    bool accused;    /* the primary of this view was caught, or asks to be replaced */

    /* catching up */
    uint64_t status_ns; /* when the next STATUS is due */
    uint64_t fetch_ns;
    unsigned fetch_turn;
    uint64_t answered_ns[MSG_REPLICAS_MAX]; /* last STATUS of a seat that was answered */
    uint64_t spoke_ns[MSG_REPLICAS_MAX];    /* last message of a seat in this epoch; 0 = none */
    uint64_t epoch_ask_ns;                  /* when the next epoch may be asked for again */
    uint64_t bodies_ns[MSG_REPLICAS_MAX];   /* since then it got so many bytes of bodies */
    size_t bodies_sent[MSG_REPLICAS_MAX];
    uint64_t peer_executed[MSG_REPLICAS_MAX];
    uint64_t lag_executed;
    uint64_t lag_since_ns; /* behind a stable checkpoint without progress since; 0 = not */

    struct bft_sync sync;
    unsigned serving[MSG_REPLICAS_MAX]; /* STATE-FETCHes of a seat in work */

    uint64_t evidence_ns; /* since then, so many alarms of evidence */
    unsigned evidence;
    struct bft_actions_buf out;
    struct c2_buf scratch;
    uint8_t (*sig_cache)[16]; /* owned */
    struct bft_counters count;
};

#endif
