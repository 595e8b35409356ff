/* SPDX-License-Identifier: MIT */
/*
 * What the files of the replica share. docs/bft.md says which part of the protocol is where.
 *
 * Invariants
 *   stable <= h + window; proposals are accepted for n in (stable, stable + window]
 *   stable, executed, issued and committed_to never go down, except that a restart or a repair
 *   goes back to the last checkpoint (executed, issued)
 *   executed <= issued <= highest decided; every batch up to issued is decided or in the state
 *   a vote in a slot's own seat exists only after its log record is durable
 */
#ifndef C2_METADATA_BFT_INT_H
#define C2_METADATA_BFT_INT_H

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

/* ---- bft_out.c: actions, signatures ---- */
struct msg_head bft_head(const struct bft_replica *r, enum msg_type type);
/* A blob of what is in r->scratch, which becomes empty; one reference, the caller's. */
struct c2_blob *bft_take_scratch(struct bft_replica *r);
void bft_send(struct bft_replica *r, uint32_t seats, struct c2_blob *msg);
uint32_t bft_others(const struct bft_replica *r);
void bft_reply_to(struct bft_replica *r, uint64_t conn, struct c2_blob *msg);
/* ... wherever the session of the key is that was opened with the nonce; 0 = not known. */
void bft_reply_session(struct bft_replica *r, const uint8_t *key, uint64_t nonce,
                       struct c2_blob *msg);
/* Returns the record's lsn; body may be NULL. */
uint64_t bft_append(struct bft_replica *r, enum wal_type type, const struct wal_record *rec,
                    const struct bft_bytes *body);
void bft_trim(struct bft_replica *r, uint64_t lsn);
void bft_give_job(struct bft_replica *r, struct bft_job *job);
void bft_alarm(struct bft_replica *r, enum bft_alarm alarm, const char *text);
void bft_halt(struct bft_replica *r, const char *text);
void bft_announce_config(struct bft_replica *r);
void bft_out_begin(struct bft_replica *r);
void bft_out_end(struct bft_replica *r, struct bft_actions *ret_actions);
void bft_out_done(struct bft_replica *r);
/* A whole signed message by the key; remembers good ones. */
bool bft_verify(struct bft_replica *r, const uint8_t key[MSG_KEY_LEN], struct c2_slice msg);
bool bft_verify_seat(struct bft_replica *r, uint16_t seat, struct c2_slice msg);
bool bft_verify_stable(struct bft_replica *r, const struct msg_stable *s);
void bft_sign_scratch(struct bft_replica *r, size_t from);

/* ---- bft_recent.c ---- */
void bft_note_key(struct bft_replica *r, const uint8_t key[MSG_KEY_LEN]); /* it wants something */

/* ---- bft_request.c ---- */
void bft_on_request(struct bft_replica *r, struct c2_blob *blob, struct c2_slice msg, uint64_t conn,
                    bool forwarded);
/* Forgets the request, if it is there: it was executed. Returns when it was passed on to the
 * primary, 0 = it was not. */
uint64_t bft_request_done(struct bft_replica *r, const struct msg_request *m);
void bft_requests_new_view(struct bft_replica *r); /* nothing is proposed any more */
/* After the session table changed wholesale, or the configuration. */
void bft_requests_recheck(struct bft_replica *r);
void bft_requests_tick(struct bft_replica *r);
void bft_requests_free(struct bft_replica *r);
bool bft_request_valid(struct bft_replica *r, struct c2_slice msg, struct msg_request *ret);
unsigned bft_request_commands(const struct msg_request *m); /* how many it has */
/* Since when the session that waits longest has waited in this view; C2_NEVER = none waits. */
uint64_t bft_requests_wait_since(const struct bft_replica *r);
uint64_t bft_requests_deadline(const struct bft_replica *r);

/* ---- bft_batch.c ---- */
/* The request waits to be proposed. */
void bft_batch_join(struct bft_replica *r, struct bft_request *req);
/* It neither waits any more nor is it under way. */
void bft_batch_leave(struct bft_replica *r, struct bft_request *req);
/* Proposes what there is, as far as the pipeline allows. */
void bft_propose(struct bft_replica *r);
uint64_t bft_propose_deadline(const struct bft_replica *r);

/* ---- bft_normal.c ---- */
void bft_on_pre_prepare(struct bft_replica *r, uint16_t seat, struct c2_blob *blob);
void bft_on_votes(struct bft_replica *r, uint16_t seat, struct c2_blob *blob);
/* Takes a proposal of the current view whose signature is good; its batch is the caller's to find.
 */
void bft_take_proposal(struct bft_replica *r, struct bft_slot *s, const struct msg_proposal *p,
                       struct c2_slice proposal, bool reissued);
/* Proposals of this view that came before it. */
void bft_take_later(struct bft_replica *r);
/* Goes on with a slot after anything about it has changed. */
void bft_slot_step(struct bft_replica *r, struct bft_slot *s);
void bft_votes_durable(struct bft_replica *r);
/* Appends the slot's certificate to the log. */
void bft_log_cert(struct bft_replica *r, struct bft_slot *s);
/* body: NULL = look for it. */
void bft_decide(struct bft_replica *r, struct bft_slot *s, uint64_t view, const uint8_t *digest,
                const struct bft_bytes *body);
/* Gives a batch to every slot that waits for it. */
void bft_on_batch_body(struct bft_replica *r, struct c2_blob *blob, struct c2_slice bytes);
bool bft_is_primary(const struct bft_replica *r);
uint16_t bft_primary(const struct bft_replica *r, uint64_t view);
/* This replica may vote. */
bool bft_may_vote(const struct bft_replica *r);
/* It follows views and decisions. */
bool bft_may_follow(const struct bft_replica *r);
/* Sends own votes for the slots again, those given by the callback's seats. */
void bft_resend_votes(struct bft_replica *r, uint32_t seats, uint64_t from, uint64_t to);

/* ---- bft_clock.c ---- */
/* r->time_ns may have changed. */
void bft_clock_agreed(struct bft_replica *r);
/* False: perhaps later, our clock or the primary's is off. */
bool bft_clock_accepts(const struct bft_replica *r, uint64_t time_ns);
/* The time of the next batch of this primary. */
uint64_t bft_clock_propose(struct bft_replica *r);
/* What was proposed when our own clock was wrong does not count any more. */
void bft_clock_new_view(struct bft_replica *r);
/* Our clock with the time of the slot's proposal, or of the decision. */
void bft_clock_compare(struct bft_replica *r, struct bft_slot *s, uint64_t time_ns, bool decided);

/* ---- bft_execute.c ---- */
void bft_execute(struct bft_replica *r); /* everything that can be */
void bft_on_job(struct bft_replica *r, struct bft_job *job);
/* The state already knows what becomes of the request: answers it and returns true. */
bool bft_answer_again(struct bft_replica *r, const struct msg_request *m, uint64_t conn);
void bft_on_read(struct bft_replica *r, uint64_t conn, const uint8_t *key, struct c2_blob *blob);
void bft_reads_step(struct bft_replica *r);
void bft_reads_free(struct bft_replica *r);
uint64_t bft_reads_deadline(const struct bft_replica *r);
struct bft_job *bft_job_new(enum bft_job_kind kind);

/* ---- bft_session.c ---- */
enum bft_seen { BFT_NEW, BFT_DONE, BFT_UNKNOWN, BFT_OUTSIDE };

struct bft_session *bft_session_find(struct bft_replica *r, uint64_t id);
/* What the state says about a request. */
enum bft_seen bft_session_check(struct bft_replica *r, const struct msg_request *m,
                                struct bft_session **ret_session);
/* An id that can never mean a session again. */
bool bft_session_is_gone(struct bft_replica *r, uint64_t id);
/* The sequence number of the OPEN that made it. */
uint64_t bft_session_opened_at(const struct bft_session *s);
void bft_session_touch(struct bft_session *s, uint64_t n);
/* Marks the request executed at n; its answer is pending. */
struct bft_answer *bft_session_mark(struct bft_session *s, const struct msg_request *m, uint64_t n);
struct c2_slice bft_answer_result(const struct bft_answer *a);
struct bft_answer *bft_session_find_answer(struct bft_session *s, uint64_t cseq);
void bft_session_answer(struct bft_session *s, struct bft_answer *a, uint8_t code,
                        struct c2_slice result);
/* Opens one at (n, place in the batch), or finds the one the nonce has opened before; 0 and the
 * last nonce when the nonce is too old. */
uint64_t bft_session_open(struct bft_replica *r, const struct msg_request *m, uint64_t n,
                          unsigned place, uint64_t *ret_last);
/* In the batch that is being issued. */
void bft_session_close(struct bft_replica *r, struct bft_session *s);
/* Appends the records that changed since the last time, and marks them clean. */
void bft_sessions_save(struct bft_replica *r, struct c2_buf *records);
C2_RESULT bft_session_load(struct bft_replica *r, uint64_t id, struct c2_slice value);
void bft_sessions_clear(struct bft_replica *r);

/* ---- bft_pace.c ---- */
void bft_pace_decided(struct bft_replica *r, const struct bft_slot *s);
/* Whether a proposal of n has many before it that are not executed. */
bool bft_pace_crowded(const struct bft_replica *r, uint64_t n);
/* A request in this slot is executed; passed_ns: as bft_request_done has it. */
void bft_pace_request(struct bft_replica *r, const struct bft_slot *s, uint64_t session,
                      uint64_t passed_ns);

/* ---- bft_checkpoint.c ---- */
void bft_on_checkpoint(struct bft_replica *r, uint16_t seat, struct c2_blob *blob);
void bft_on_stable(struct bft_replica *r, struct c2_blob *blob);
/* Takes a certificate whose signatures are good. */
void bft_adopt_stable(struct bft_replica *r, const struct msg_stable *s);
void bft_checkpointed(struct bft_replica *r, const struct bft_job *job);
/* The application is durable up to n. */
void bft_committed(struct bft_replica *r, uint64_t n);
/* Whether what the application has on disk must stay there. */
bool bft_holds_base(const struct bft_replica *r);
void bft_remember_checkpoint(struct bft_replica *r, uint64_t n, const uint8_t *digest);
void bft_send_checkpoint(struct bft_replica *r, uint32_t seats, const struct msg_checkpoint *c);
/* The newest one that f + 1 have signed, at least the stable one: a state to fetch. */
const struct msg_checkpoint *bft_sync_target(const struct bft_replica *r);
/* The newest one of this replica since it started; NULL = none. */
const struct msg_checkpoint *bft_last_own_checkpoint(const struct bft_replica *r);
void bft_save_records(struct bft_replica *r, struct c2_buf *records);
C2_RESULT bft_load_records(struct bft_replica *r, struct c2_slice records, uint64_t *ret_n);
bool bft_is_boundary(const struct bft_replica *r, uint64_t n);

/* ---- bft_view.c, bft_new_view.c ---- */
void bft_wish(struct bft_replica *r, uint64_t view);
void bft_on_wish(struct bft_replica *r, uint16_t seat, uint64_t view);
/* From a seat, which may pass on that of another. */
void bft_on_view_change(struct bft_replica *r, uint16_t seat, struct c2_slice msg);
void bft_view_durable(struct bft_replica *r);
void bft_view_tick(struct bft_replica *r);
uint64_t bft_patience_ns(const struct bft_replica *r);
void bft_on_new_view(struct bft_replica *r, struct c2_blob *blob);
/* Makes or installs a NEW-VIEW if everything for it is there. */
void bft_try_new_view(struct bft_replica *r);
struct c2_blob *bft_find_vc(struct bft_replica *r, const uint8_t digest[MSG_DIGEST_LEN]);
/* Bytes of a VIEW-CHANGE, at most. */
size_t bft_vc_len_max(const struct bft_replica *r);
/* Everything a VIEW-CHANGE says is proven. */
bool bft_vc_valid(struct bft_replica *r, struct c2_slice msg);
void bft_vc_set(struct bft_vc *v, struct c2_blob *msg, uint64_t view);
void bft_vc_clear(struct bft_vc *v);
void bft_nv_clear(struct bft_new_view *nv);
/* A NEW-VIEW waits to be complete. */
bool bft_nv_waits(const struct bft_replica *r);
void bft_leave(struct bft_replica *r, uint64_t view);
uint64_t bft_view_deadline(const struct bft_replica *r);
void bft_log_view(struct bft_replica *r);
uint64_t bft_log_new_view(struct bft_replica *r, const struct bft_new_view *nv);
/* The NEW-VIEW of this view, if there is one. */
void bft_send_new_view(struct bft_replica *r, uint32_t seats);
/* After a restart: proposals of the NEW-VIEW that were not voted on yet. */
void bft_retake_proposals(struct bft_replica *r);
void bft_on_vc_body(struct bft_replica *r, struct c2_slice msg);
/* Digests of VIEW-CHANGEs that a NEW-VIEW names and that are missing. */
unsigned bft_missing_vcs(const struct bft_replica *r, uint8_t (*out)[MSG_DIGEST_LEN], unsigned max);
/* The view's record is on its way: everything else about it starts afresh. */
void bft_enter_view(struct bft_replica *r);

/* ---- bft_transfer.c ---- */
/* Starts to fetch the state of the stable checkpoint. */
void bft_sync_start(struct bft_replica *r);
/* The application is incomplete, a fetch was interrupted: nothing is executed before it has a state
 * again, even if no checkpoint is known yet (what told of it was not durable). */
void bft_sync_resume(struct bft_replica *r);
/* The state was loaded after a fetch. */
void bft_sync_over(struct bft_replica *r);
void bft_served(struct bft_replica *r, struct bft_job *job);
void bft_synced(struct bft_replica *r, struct bft_job *job);
void bft_on_state_fetch(struct bft_replica *r, uint16_t seat, struct c2_blob *blob);
void bft_on_state(struct bft_replica *r, uint16_t seat, struct c2_blob *blob);
void bft_sync_tick(struct bft_replica *r);
uint64_t bft_sync_deadline(const struct bft_replica *r);

/* ---- bft_restart.c ---- */
void bft_on_record(struct bft_replica *r, unsigned type, uint64_t lsn, struct c2_slice bytes);
void bft_start(struct bft_replica *r, uint64_t lsn, enum bft_wal_health health);
void bft_load_state(struct bft_replica *r, struct bft_job *job);
/* What a quarantined replica learns from the others. */
void bft_quarantine_hears(struct bft_replica *r, uint16_t seat, const struct msg_status *st);
/* ... and what an epoch that begins means for it. */
void bft_quarantine_epoch(struct bft_replica *r);
/* Appends what the log must not forget: epoch, view, wish, stable checkpoint, mode. */
void bft_log_again(struct bft_replica *r);

/* ---- bft_epoch.c ---- */
/* An administrative request; sets the answer. */
void bft_admin(struct bft_replica *r, const struct msg_request *m, uint64_t n,
               struct bft_session *s, struct bft_answer *a);
C2_RESULT bft_epoch_load(struct bft_replica *r, struct c2_slice config, struct c2_slice stable);
/* While the log is read: a record of the epoch. False when it is of an epoch that is over. */
bool bft_epoch_of_log(struct bft_replica *r, uint32_t epoch);
void bft_epoch_log(struct bft_replica *r);
void bft_on_epoch(struct bft_replica *r, struct c2_blob *blob);
void bft_on_epoch_fetch(struct bft_replica *r, uint32_t seats, uint64_t conn, struct c2_blob *blob);
/* A message of another epoch has come from the seat. */
void bft_other_epoch(struct bft_replica *r, uint16_t seat, uint32_t epoch);
bool bft_admin_valid(struct bft_replica *r, const struct msg_request *m);
/* The command inside a MSG_REQ_ADMIN_COMMAND; empty when it is malformed. */
struct c2_slice bft_admin_command(const struct msg_request *m);
/* Moves on to the next epoch when its certificate is complete. */
void bft_epoch_step(struct bft_replica *r);
/* Not a member: asks from time to time whether that has changed. */
void bft_epoch_tick(struct bft_replica *r);
/* Asks whether this epoch is over, if too few speak in it: they may all be in another one, in which
 * this replica is nobody to them. */
void bft_epoch_ask(struct bft_replica *r);
/* To a client when this replica is not a member: the certificate of the epoch after the client's.
 */
void bft_epoch_pass_on(struct bft_replica *r, uint64_t conn, uint32_t epoch);
/* It is no member, and has the whole state of its last checkpoint or not. */
void bft_epoch_none(struct bft_replica *r, bool complete);
/* The state that was loaded is of a later epoch: the log, or its end, is lost. */
bool bft_epoch_is_old(const struct bft_replica *r);
/* Nothing beyond the end of an epoch is executed in it. */
bool bft_may_issue(const struct bft_replica *r, uint64_t n);
void bft_epochs_free(struct bft_replica *r);
/* Makes a configuration the one in force. */
void bft_use_config(struct bft_replica *r, const struct bft_config *c);

/* ---- bft_catchup.c ---- */
void bft_on_status(struct bft_replica *r, uint16_t seat, struct c2_blob *blob);
void bft_on_fetch(struct bft_replica *r, uint16_t seat, struct c2_blob *blob);
void bft_on_body(struct bft_replica *r, uint16_t seat, struct c2_blob *blob);
void bft_on_decided(struct bft_replica *r, uint16_t seat, struct c2_blob *blob);
void bft_catchup_tick(struct bft_replica *r);
uint64_t bft_catchup_deadline(const struct bft_replica *r);
/* A seat speaks of this number; one alone is not believed. */
void bft_hear_of(struct bft_replica *r, uint16_t seat, uint64_t n);
/* Asks for a batch at once. */
void bft_fetch_body(struct bft_replica *r, const uint8_t digest[MSG_DIGEST_LEN], uint16_t seat);

static inline bool
bft_digest_equal(const uint8_t *a, const uint8_t *b)
{
    return __builtin_memcmp(a, b, MSG_DIGEST_LEN) == 0;
}

#endif
