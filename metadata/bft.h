/* SPDX-License-Identifier: MIT */
/*
 * One replica of the coordination service as a pure state machine: PBFT with signatures, batched
 * and pipelined, see docs/bft.md. No clock, socket, disk, thread or randomness: events go in,
 * actions come out, and the same events give the same actions.
 *
 * The driver (daemon or simulator)
 *   1. gives every record of its write-ahead log (BFT_EV_RECORD), then BFT_EV_START
 *   2. carries out the actions of each step, in order, before the next step:
 *        SEND, REPLY    hand to the transport; may be lost
 *        APPEND         append to the log; when it is durable: BFT_EV_DURABLE. The core holds back
 *                       by itself what must not leave before that.
 *        TRIM           the log may forget what is before lsn
 *        JOB            run it on the executor (exec.h), strictly in order, one at a time; then
 *                       BFT_EV_JOB with the same struct
 *        CONFIG         an epoch has begun: connect to its members, load its keys
 *        ALARM          tell people; after HALT the replica does nothing any more
 *   3. calls BFT_EV_TICK at bft_deadline_ns(), or later
 *
 * Memory is bounded by struct bft_limits: bodies of batches, pending requests, certificates and
 * cached answers have a pool each, and what does not fit is dropped and fetched again.
 */
#ifndef C2_METADATA_BFT_H
#define C2_METADATA_BFT_H

#include "base/list.h"
#include "metadata/msg.h"
#include "metadata/wal_record.h"

#define BFT_F_MAX           3
#define BFT_ADMINS_MAX      8
#define BFT_ADDRESS_MAX     128
#define BFT_RECENT          8    /* keys that are known to have asked lately */
#define BFT_SESSION_WINDOW  64   /* requests of a session that may be outstanding */
#define BFT_ANSWER_KEPT_MAX 4096 /* larger answers are not kept for repetitions */
#define BFT_ANSWER_SHORT    256  /* as long as the answer of a command that was done can be */
#define BFT_ANSWERS_MAX                                                                            \
    (4u << 20)               /* bytes of answers of one batch; the others have short ones only */
#define BFT_CONFIG_MAX  8192 /* encoded */
#define BFT_EPOCHS_KEPT 256  /* certificates for those who were away */

/* ---- configuration of an epoch: replicated, changed only by an ordered ADMIN request ---- */

struct bft_member {
    uint16_t id;                        /* of the replica; never used again for another one */
    char address[BFT_ADDRESS_MAX];      /* host:port; for the transport */
    uint8_t identity_key[MSG_KEY_LEN];  /* lasts as long as the member */
    uint8_t sign_key[MSG_KEY_LEN];      /* signs the messages of this epoch */
    uint8_t tls_hash[2][C2_SHA256_LEN]; /* SHA-256 of its TLS keys; the second is for rotation,
                                         * zeros = none */
};

struct bft_config {
    uint64_t cluster; /* random, once */
    uint32_t epoch;
    uint64_t base; /* the epoch's first sequence number is base + 1 */
    uint8_t f;
    uint8_t n;                                  /* 3f+1 .. 3f+3, at most MSG_REPLICAS_MAX */
    struct bft_member member[MSG_REPLICAS_MAX]; /* a place is a seat; primary of v = v mod n */
    uint8_t client_authority[MSG_KEY_LEN];      /* admits clients */
    uint8_t admins_needed;                      /* k of */
    uint8_t nadmins;                            /* m */
    uint8_t admin[BFT_ADMINS_MAX][MSG_KEY_LEN];
    uint32_t checkpoint_interval; /* K batches, a divisor of the window */
    uint32_t window;              /* L = 2K .. MSG_WINDOW_MAX */
    uint32_t sessions_max;        /* replicated: the oldest gives way */
    uint64_t clock_skew_ns;       /* a proposal's time may differ from a backup's clock by this */
};

void bft_config_default(struct bft_config *c);
/* INVALID with a sentence for people (constant) when it makes no sense. */
C2_RESULT bft_config_check(const struct bft_config *c, const char **ret_why);
void bft_config_encode(const struct bft_config *c, struct c2_buf *out);
C2_RESULT bft_config_decode(struct c2_slice in, struct bft_config *ret_config);
/* What administrators sign to make this encoded configuration (base 0) the next one. */
void bft_admin_hash(uint64_t cluster, struct c2_slice config, uint8_t out[C2_SHA256_LEN]);
/* ... and to let the client with this key have a command done. */
void bft_admin_command_hash(uint64_t cluster, const uint8_t key[MSG_KEY_LEN], struct c2_slice cmd,
                            uint8_t out[C2_SHA256_LEN]);
/* Votes that make a decision: ceil((n + f + 1) / 2). */
unsigned bft_quorum(const struct bft_config *c);
/* Of the member with that id; n = it is none. */
unsigned bft_config_seat(const struct bft_config *c, uint16_t id);

/* ---- configuration of one replica: local ---- */

struct bft_timing {
    uint64_t batch_ns;       /* a full pipeline waits this long for more requests */
    uint64_t null_ns;        /* an idle primary proposes an empty batch */
    uint64_t heartbeat_ns;   /* a backup hears nothing for this long: wish */
    uint64_t forward_ns;     /* a request is this old: tell all replicas */
    uint64_t request_ns;     /* ... and this old: wish; doubles with each view that fails */
    uint64_t request_max_ns; /* as far as this */
    uint64_t slow_ns;        /* a primary that was slow for so long is replaced */
    uint64_t status_ns;      /* while something is missing */
    uint64_t status_idle_ns;
    uint64_t fetch_ns; /* an unanswered fetch goes to the next replica */
    uint64_t read_ns;  /* a fast read waits this long for the state to catch up */
};

struct bft_limits {
    uint32_t in_flight;       /* proposals of a primary that are not decided */
    uint32_t batch_requests;  /* <= MSG_BATCH_REQS_MAX */
    uint32_t batch_bytes;     /* <= MSG_BATCH_MAX */
    uint32_t requests;        /* pending, of all clients */
    uint32_t requests_client; /* pending, of one session */
    size_t requests_bytes;
    size_t bodies_bytes; /* batches and certificates in memory */
    uint32_t reads;      /* waiting fast reads */
    uint32_t jobs;       /* on their way to the executor */
};

void bft_timing_default(struct bft_timing *t); /* for a wide-area network */
void bft_timing_lan(struct bft_timing *t);
void bft_limits_default(struct bft_limits *l);

struct bft_setup {
    struct bft_config config; /* epoch 0; later ones come from the log, and from the others */
    uint16_t id;              /* which member this is */
    uint8_t sign_secret[C2_ED25519_SECRET_LEN];
    struct bft_timing timing;
    struct bft_limits limits;
    const struct bft_crypto *crypto; /* borrowed */
    uint64_t seed;                   /* of hash tables and jitter */
};

/* ---- jobs for the executor ---- */

enum bft_job_kind {
    BFT_JOB_LOAD,       /* -> number, digest and system records of the last checkpoint; finished =
                         * false: the application is incomplete, a SYNC was interrupted */
    BFT_JOB_EXECUTE,    /* the commands of one batch, in order -> answers */
    BFT_JOB_CHECKPOINT, /* writes the system records, makes all durable (hold: later) -> digest */
    BFT_JOB_COMMIT, /* makes durable what the held checkpoint n covers -> finished: it was held */
    BFT_JOB_QUERY,  /* a reading command, after the batches before it -> answer */
    BFT_JOB_SERVE,  /* answers a STATE-FETCH from the last checkpoint */
    BFT_JOB_SYNC,   /* begin: forgets what was executed after the last checkpoint and starts to
                     * fetch the state `digest`; else takes answers -> what else is wanted */
};

struct bft_command {
    struct c2_slice op;       /* inside body */
    bool query;               /* a reading command */
    bool admin;               /* signed by the administrators, too */
    uint8_t key[MSG_KEY_LEN]; /* the client's */
    uint64_t session;
    uint64_t cseq;
    uint64_t work; /* out: keys that it has changed, also back again */
};

struct bft_job {
    struct c2_link link; /* the driver's */
    enum bft_job_kind kind;
    uint64_t n;
    uint64_t time_ns;
    struct c2_blob *body;         /* owned reference: what the slices below lie in */
    struct bft_command *commands; /* owned, EXECUTE */
    uint32_t ncommands;
    struct c2_slice in;       /* QUERY: command; SERVE, SYNC: message; in body */
    struct c2_buf records;    /* owned; CHECKPOINT: what to write; LOAD: what there is */
    bool hold;                /* CHECKPOINT: what is on disk stays there until a COMMIT */
    uint64_t conn;            /* QUERY: whom to answer */
    uint8_t key[MSG_KEY_LEN]; /* QUERY: who asks */
    uint64_t rseq;
    bool full;
    uint16_t seat; /* SERVE: who asks; SYNC: who answered */
    bool begin;
    uint32_t count; /* SERVE, out: answers; SYNC, in: items that may be on their way */

    /* out */
    enum c2_err err;      /* anything but OK: the machine has failed (or has no space), the driver
                           * stops the process; a SERVE that failed has nothing to say */
    struct c2_buf out;    /* owned; answers, one after the other (empty: it was too much for one
                           * batch); SERVE: the message's answers; SYNC: items wanted */
    uint32_t *out_end;    /* owned; EXECUTE: where each answer ends */
    struct c2_buf events; /* owned; EXECUTE: as in replica_batch.events, for the driver's watches */
    bool events_lost;
    bool due;          /* EXECUTE: sessions of the application are to end at the next time */
    bool acl_changed;  /* EXECUTE: since the job before, or this is the first one */
    struct c2_buf acl; /* owned; then: the access control list after the batch, see rights_load */
    uint64_t version;  /* QUERY: of the state it saw */
    uint8_t digest[MSG_DIGEST_LEN];
    bool finished; /* SYNC, LOAD: the state is complete */
    bool bad;      /* SYNC: an answer was not what it should have been */
};

/* ---- events ---- */

enum bft_wal_health {
    BFT_WAL_GOOD,    /* complete, or a torn tail was cut */
    BFT_WAL_DAMAGED, /* records in the middle are lost, or the whole log of a replica that ran
                      * before: something signed may be forgotten */
};

enum bft_event_kind {
    BFT_EV_RECORD,  /* lsn, type, bytes */
    BFT_EV_START,   /* lsn of the last record (0 = none), health */
    BFT_EV_MESSAGE, /* msg from the replica at `seat` of the current epoch */
    BFT_EV_CLIENT,  /* msg from a client: conn, and the key its channel proved */
    BFT_EV_TICK,
    BFT_EV_DURABLE, /* lsn: everything up to it is on disk */
    BFT_EV_JOB,     /* job has run; it is the core's again */
};

struct bft_event {
    enum bft_event_kind kind;
    uint64_t now_ns;  /* monotonic */
    uint64_t wall_ns; /* since 1970 */
    uint16_t seat;
    uint64_t conn;       /* the driver's name for the connection, never 0 */
    const uint8_t *key;  /* CLIENT: MSG_KEY_LEN bytes */
    struct c2_blob *msg; /* borrowed; the core takes a reference if it keeps it */
    uint64_t lsn;
    unsigned type;         /* RECORD: enum wal_type */
    struct c2_slice bytes; /* RECORD */
    enum bft_wal_health health;
    struct bft_job *job;
};

/* ---- actions ---- */

enum bft_alarm {
    BFT_ALARM_EVIDENCE,   /* a replica has signed what no correct one signs; text says what */
    BFT_ALARM_DIVERGED,   /* this replica's state differs from a stable checkpoint; it repairs
                           * itself */
    BFT_ALARM_QUARANTINE, /* the disk has lost votes; none until the others have moved on */
    BFT_ALARM_REMOVED,    /* not a member of the new epoch */
    BFT_ALARM_HALT,       /* more than f replicas have lied: stop, this needs people */
};

enum bft_action_kind {
    BFT_ACT_SEND,   /* msg to every seat in `seats` (bits), never to itself */
    BFT_ACT_REPLY,  /* msg to conn; conn = 0: to the connection of key on which the OPEN with this
                     * nonce came last, to all of them if there is none */
    BFT_ACT_APPEND, /* lsn, type, bytes, then body's bytes if there is one */
    BFT_ACT_TRIM,   /* lsn */
    BFT_ACT_JOB,    /* job; the driver's until it has run */
    BFT_ACT_CONFIG, /* config */
    BFT_ACT_ALARM,  /* alarm, text */
};

struct bft_action {
    enum bft_action_kind kind;
    uint32_t seats;
    uint64_t conn;
    uint8_t key[MSG_KEY_LEN];
    uint64_t nonce;      /* 0 = it is not known */
    struct c2_blob *msg; /* borrowed until the next step: take a reference to keep it */
    uint64_t lsn;
    enum wal_type type;
    bool later;            /* APPEND: nothing waits for it, it may go with a later one */
    struct c2_slice bytes; /* until the next step */
    struct c2_blob *body;  /* like msg; NULL = none. Only body_len bytes from body_at on */
    size_t body_at, body_len;
    struct bft_job *job;
    const struct bft_config *config; /* until the next CONFIG */
    enum bft_alarm alarm;
    const char *text;
};

struct bft_actions {
    const struct bft_action *action; /* until the next step */
    size_t count;
};

struct bft_replica;

/* INVALID when the setup makes no sense (ret_why: constant). */
C2_RESULT bft_new(const struct bft_setup *s, struct bft_replica **ret_replica,
                  const char **ret_why);
/* Jobs that have not come back are the driver's to free (bft_job_free). NULL is fine. */
void bft_free(struct bft_replica *r);
void bft_step(struct bft_replica *r, const struct bft_event *ev, struct bft_actions *ret_actions);
/* When the next TICK is due, C2_NEVER = not before something else happens. */
uint64_t bft_deadline_ns(const struct bft_replica *r);
void bft_job_free(struct bft_job *job);
/* Another signing key of this replica, for an epoch to come (or already here: until its key is
 * known, a replica only listens). */
void bft_add_key(struct bft_replica *r, const uint8_t secret[C2_ED25519_SECRET_LEN]);

/* ---- for status, metrics and tests ---- */

enum bft_mode { BFT_BOOTING, BFT_RUNNING, BFT_SYNCING, BFT_QUARANTINED, BFT_REMOVED, BFT_HALTED };

struct bft_counters {
    uint64_t proposed, decided, executed_batches, executed_requests, duplicates;
    uint64_t fast_reads, fast_reads_refused;
    uint64_t view_changes, new_views, wishes;
    uint64_t slow_primaries; /* wishes because of one */
    uint64_t checkpoints, syncs, sync_entries;
    uint64_t sig_made, sig_checked, sig_bad;
    uint64_t dropped; /* malformed, unauthentic, or beyond a limit */
};

struct bft_info {
    enum bft_mode mode;
    uint32_t epoch;
    uint64_t view;
    bool leaving;
    bool former; /* it was a member, and is none now */
    uint16_t seat, primary;
    uint64_t stable, executed, committed_to, proposed;
    uint64_t boundary; /* the epoch ends with this number; 0 = nothing is known of an end */
    uint64_t time_ns;  /* agreed */
    uint32_t requests, sessions, jobs;
    size_t requests_bytes, bodies_bytes;
    struct bft_counters count;
};

void bft_info(const struct bft_replica *r, struct bft_info *ret_info);
/* The wall clock is farther from what others propose than the service allows; by how much it was
 * ahead of the last proposal. */
bool bft_clock_is_wrong(const struct bft_replica *r, int64_t *ret_ahead_ns);
const struct bft_config *bft_current_config(const struct bft_replica *r);
/* How many keys have asked for something within a second, but no more than BFT_RECENT. */
unsigned bft_keys_active(const struct bft_replica *r);
/* Whether another key than this one has. */
bool bft_is_contended(const struct bft_replica *r, const uint8_t key[MSG_KEY_LEN]);

#endif
