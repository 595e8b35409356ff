/* SPDX-License-Identifier: MIT */
/*
 * Messages between replicas, and between clients and replicas. Wire format 1; the layout of every
 * body is in docs/bft.md, golden bytes in the unit test pin it.
 *
 *   head       u8 format = 1, u8 type, u16 sender, u32 epoch, u64 cluster
 *   body       by type; little-endian, no padding, byte strings have a u32 length in front
 *   signature  64 bytes, for the types that msg_is_signed() names
 *
 * The transport frames messages and authenticates the other end of a channel; a message whose
 * sender is not the channel's replica is dropped there. A signature is Ed25519 over SHA-256 of
 * "C2FS-BFT1" and everything before the signature, so type, cluster, epoch and sender are covered
 * and a signed message proves the same to whoever it is shown to.
 *
 * Decoded structs borrow from the encoded bytes. Whatever decodes encodes to the same bytes.
 */
#ifndef C2_METADATA_MSG_H
#define C2_METADATA_MSG_H

#include "base/crypto.h"

#define MSG_FORMAT       1
#define MSG_HEAD_LEN     16
#define MSG_SIG_LEN      C2_ED25519_SIG_LEN
#define MSG_KEY_LEN      C2_ED25519_PUBLIC_LEN
#define MSG_DIGEST_LEN   C2_SHA256_LEN
#define MSG_PROPOSAL_LEN (MSG_HEAD_LEN + 8 + 8 + MSG_DIGEST_LEN + MSG_SIG_LEN)

#define MSG_REPLICAS_MAX   10         /* n = 3f + 1, f <= 3 */
#define MSG_VOTES_MAX      16         /* in one PREPARE or COMMIT */
#define MSG_WINDOW_MAX     512        /* sequence numbers a VIEW-CHANGE may speak of */
#define MSG_BYTES_MAX      (4u << 20) /* of any message: what a transport must carry */
#define MSG_BATCH_MAX      (2u << 20) /* bytes of a batch: one largest request fits */
#define MSG_BATCH_REQS_MAX 1024
#define MSG_REQUEST_MAX    ((1u << 20) + 4096)
#define MSG_WANTED_MAX     16    /* digests in one STATUS, items in one STATE_FETCH */
#define MSG_STATUS_MAX     16384 /* bytes of a TELL-STATUS */
#define MSG_PATH_MAX       64    /* nibbles of a digest: depth of the state's tree */

#define MSG_SENDER_CLIENT 0xffff /* in the head of what clients send */

enum msg_type {
    /* between replicas */
    MSG_PRE_PREPARE = 1, /* signed proposal, then the batch (outside of the signature) */
    MSG_PREPARE,
    MSG_COMMIT,
    MSG_CHECKPOINT,
    MSG_WISH,
    MSG_VIEW_CHANGE,
    MSG_NEW_VIEW,
    MSG_STATUS,
    MSG_FETCH,
    MSG_BODY,
    MSG_DECIDED,
    MSG_STABLE,
    MSG_FORWARD,     /* a client's request, verbatim */
    MSG_STATE_FETCH, /* parts of the state at a checkpoint */
    MSG_STATE,
    MSG_EPOCH_FETCH, /* the certificate that began an epoch; clients may ask, too */
    MSG_EPOCH,
    /* client to replica */
    MSG_REQUEST = 64,
    MSG_READ,
    MSG_WATCH,
    MSG_ASK_STATUS, /* no body; for people, answered by the driver */
    /* replica to client */
    MSG_REPLY = 96,
    MSG_READ_REPLY,
    MSG_EVENT,
    MSG_TELL_STATUS, /* JSON */
};

struct msg_head {
    uint8_t type;
    uint16_t sender; /* seat in the epoch's list of members, or MSG_SENDER_CLIENT */
    uint32_t epoch;  /* 0 in what clients sign: a request outlives an epoch */
    uint64_t cluster;
};

/* --- agreement --- */

/* "view v proposes digest for n". MSG_PROPOSAL_LEN bytes with head and signature. */
struct msg_proposal {
    uint64_t view;
    uint64_t n;
    uint8_t digest[MSG_DIGEST_LEN]; /* msg_batch_digest of the batch */
};

struct msg_pre_prepare {
    struct msg_proposal p;
    struct c2_slice proposal; /* the signed part, verbatim: MSG_PROPOSAL_LEN bytes */
    struct c2_slice batch;    /* empty = the null batch */
};

/* PREPARE and COMMIT: votes that became durable together share a signature. Ascending n. */
struct msg_vote {
    uint64_t n;
    uint8_t digest[MSG_DIGEST_LEN];
};

struct msg_votes {
    uint64_t view;
    uint32_t count;
    struct msg_vote vote[MSG_VOTES_MAX];
};

/* A batch: u64 agreed time, u32 count, that many requests (whole messages, u32 length each). */
struct msg_batch {
    uint64_t time_ns; /* of the null batch: 0 */
    uint32_t count;
    struct c2_slice requests; /* the encoded list */
};

/* --- checkpoints and views --- */

struct msg_checkpoint {
    uint64_t n;
    uint8_t digest[MSG_DIGEST_LEN]; /* of the whole state after n */
    uint8_t config[MSG_DIGEST_LEN]; /* SHA-256 of the encoded configuration in force after n */
};

struct msg_seat_sig {
    uint16_t seat;
    uint8_t sig[MSG_SIG_LEN];
};

/* A quorum's CHECKPOINT signatures: proves itself. Ascending seats. */
struct msg_stable {
    uint32_t epoch;
    struct msg_checkpoint c;
    uint32_t count;
    struct msg_seat_sig sig[MSG_REPLICAS_MAX];
};

/* Not signed: it need not be believed by third parties. */
struct msg_wish {
    uint64_t view; /* the view the sender wants to be in, at least */
};

/* Something that was prepared: proposal of view `view`, and 2f PREPARE messages by others. */
struct msg_prepared {
    struct msg_proposal p;
    struct c2_slice proposal; /* signed, verbatim */
    uint32_t nvotes;
    uint16_t votes[MSG_REPLICAS_MAX]; /* places in the table of PREPARE messages */
};

struct msg_view_change {
    uint64_t view;
    uint64_t h;             /* last stable checkpoint; 0 or the epoch's base has no certificate */
    struct c2_slice stable; /* encoded msg_stable; empty at the base */
    uint32_t nprepares;     /* PREPARE messages, each once, verbatim */
    struct c2_slice prepares;
    uint32_t nprepared; /* ascending n, all above h */
    struct c2_slice prepared;
};

/* One VIEW-CHANGE that a NEW-VIEW builds on. */
struct msg_vc_ref {
    uint16_t seat;
    uint8_t digest[MSG_DIGEST_LEN]; /* msg_digest of the whole message */
};

struct msg_new_view {
    uint64_t view;
    uint32_t nvcs;
    struct msg_vc_ref vc[MSG_REPLICAS_MAX];
    uint32_t nproposals;       /* for h+1.. of the new view, consecutive */
    struct c2_slice proposals; /* signed proposals of the new view, MSG_PROPOSAL_LEN each */
};

/* --- catching up --- */

enum msg_phase { MSG_PHASE_NORMAL, MSG_PHASE_LEAVING, MSG_PHASE_QUARANTINE };

/* What a replica has and lacks; whoever reads it may send what is missing. */
struct msg_status {
    uint64_t view;
    uint8_t phase; /* enum msg_phase */
    uint64_t wish;
    uint64_t stable;                          /* its last stable checkpoint */
    uint64_t executed;                        /* every batch up to here */
    uint64_t committed_to;                    /* highest n it ever sent COMMIT for */
    uint64_t wall_ns;                         /* its clock */
    uint16_t vcs;                             /* seats whose VIEW-CHANGE for `view` it has */
    uint64_t window[MSG_WINDOW_MAX / 64 * 2]; /* from executed + 1: bits "has the proposal",
                                               * then bits "is prepared" */
    uint32_t nwanted;
    uint8_t wanted[MSG_WANTED_MAX][MSG_DIGEST_LEN]; /* bodies: batches, VIEW-CHANGEs */
};

enum msg_body_kind { MSG_BODY_BATCH = 1, MSG_BODY_VIEW_CHANGE };

struct msg_fetch {
    uint8_t kind; /* enum msg_body_kind */
    uint8_t digest[MSG_DIGEST_LEN];
};

struct msg_body {
    uint8_t kind;
    struct c2_slice bytes; /* verified by its digest, from whomever it comes */
};

/* A committed batch that proves itself by a quorum's COMMIT messages of one view. */
struct msg_decided {
    uint64_t n;
    uint8_t digest[MSG_DIGEST_LEN];
    uint32_t ncommits;
    struct c2_slice commits; /* messages, u32 length each */
    struct c2_slice batch;
};

enum msg_state_kind {
    MSG_STATE_HEAD = 1, /* what the checkpoint digest is made of, with the root of the tree */
    MSG_STATE_NODE,     /* a node of the digest tree, by path */
    MSG_STATE_ENTRY,    /* a key's record, by its leaf hash */
    MSG_STATE_BRANCH,   /* a node; if it is a leaf, with as many of its records as fit */
};

struct msg_state_item {
    uint8_t kind;
    uint8_t depth; /* NODE: nibbles of the path */
    uint8_t path[MSG_PATH_MAX / 2];
    uint8_t hash[MSG_DIGEST_LEN]; /* what the answer must hash to */
};

struct msg_state_fetch {
    uint64_t n; /* the checkpoint wanted; a newer one may answer for what is the same in it */
    uint32_t count;
    struct msg_state_item item[MSG_WANTED_MAX];
};

struct msg_state {
    uint64_t n;              /* the checkpoint the sender has */
    uint32_t count;          /* answers, in the order of the items */
    struct c2_slice answers; /* u8 kind, hash, bytes (empty: not there any more); repeated */
};

/* An epoch begins: its configuration, and the certificate of the checkpoint that ended the epoch
 * before, which names the configuration's hash. */
struct msg_epoch {
    struct c2_slice config; /* bft_config_encode */
    struct c2_slice stable; /* encoded msg_stable of the epoch before; empty for epoch 0 */
};

/* --- clients --- */

enum msg_request_kind {
    MSG_REQ_COMMAND = 1, /* op: an encoded command (cmd.h) */
    MSG_REQ_QUERY,       /* op: a reading command, ordered because a fast read did not match */
    MSG_REQ_OPEN,        /* op: msg_open; session = 0, cseq = nonce */
    MSG_REQ_CLOSE,       /* ends the session */
    MSG_REQ_ADMIN,       /* op: admin.h; signed by administrators inside */
    MSG_REQ_COMMANDS, /* op: commands as byte strings, numbered from cseq on; one signature for all.
                       * Each is executed and answered as if it had come alone */
    MSG_REQ_ADMIN_COMMAND, /* op: a command about the access control list, with administrators'
                            * signatures; see bft_epoch.c */
};

#define MSG_COMMANDS_MAX 64 /* in one request */

/* Signed with the client's key, executed at most once per (session, cseq). */
struct msg_request {
    uint8_t kind; /* enum msg_request_kind */
    uint8_t key[MSG_KEY_LEN];
    uint64_t session;
    uint64_t cseq;    /* 1, 2, ... ; at most BFT_SESSION_WINDOW above ack_low */
    uint64_t ack_low; /* answers to cseq <= ack_low have arrived */
    struct c2_slice op;
};

/* OPEN: the certificate is the client authority's signature over SHA-256 of "C2FS-BFT1-CLIENT",
 * cluster and key. The nonce (cseq) must be above all earlier ones of this key; the same nonce
 * gives the same session again. */
struct msg_open {
    uint8_t cert[MSG_SIG_LEN];
};

enum msg_status_code {
    MSG_OK = 0,        /* result: the answer to the command; OPEN: u64 session */
    MSG_NO_SESSION,    /* closed, evicted, or of another key */
    MSG_RESULT_GONE,   /* executed, but the answer was too large to keep, or with the others */
    MSG_OUT_OF_WINDOW, /* cseq is outside of the window, or acknowledged before */
    MSG_OPEN_REFUSED,  /* the nonce is not above the last one; result: u64 last */
    MSG_ADMIN_REFUSED, /* result: text */
    MSG_RETRY,         /* READ only: this replica lags; ask for it to be ordered */
};

/* Accepted at f + 1 equal (epoch, session, cseq, n, code, digest). */
struct msg_reply {
    uint64_t view;
    uint64_t session;
    uint64_t cseq;
    uint64_t n;
    uint8_t code;                   /* enum msg_status_code */
    uint8_t digest[MSG_DIGEST_LEN]; /* SHA-256 of the result */
    uint8_t has_result;
    struct c2_slice result;
};

/* A fast read: not ordered, not signed; the channel says who asks. */
struct msg_read {
    uint64_t rseq;
    uint8_t full; /* 1 = send the result, 0 = its digest will do */
    struct c2_slice op;
};

/* Accepted at 2f + 1 equal (epoch, rseq, code, digest). The digest is of the answer with version
 * 0, since replicas may be at different versions and still agree on the result. */
struct msg_read_reply {
    uint64_t view;
    uint64_t rseq;
    uint8_t code;
    uint64_t version; /* of the sender's state; believe the (f+1)-th smallest */
    uint8_t digest[MSG_DIGEST_LEN];
    uint8_t has_result;
    struct c2_slice result; /* version 0 inside */
};

/* Replaces what this connection watches with the prefixes listed. */
struct msg_watch {
    uint64_t wseq;
    uint32_t count;
    struct c2_slice prefixes; /* byte strings */
};

/* The changes of one batch under a watched prefix; accepted at f + 1 equal (n, events). Every
 * batch with such changes has one, in order, so `after` (n of the event before) shows gaps. */
struct msg_event {
    uint64_t wseq; /* of the WATCH in force */
    uint64_t n;
    uint64_t after;
    uint8_t lost;           /* too many: read the prefixes again */
    struct c2_slice events; /* as in replica_batch.events */
};

/* --- functions --- */

/* How signatures are made and checked; the simulator has its own. */
struct bft_crypto {
    void (*sign)(const struct bft_crypto *c, const uint8_t secret[C2_ED25519_SECRET_LEN],
                 const uint8_t hash[C2_SHA256_LEN], uint8_t sig[MSG_SIG_LEN]);
    bool (*verify)(const struct bft_crypto *c, const uint8_t key[MSG_KEY_LEN],
                   const uint8_t hash[C2_SHA256_LEN], const uint8_t sig[MSG_SIG_LEN]);
};

extern const struct bft_crypto bft_crypto_ed25519;

const char *msg_type_name(unsigned type);
bool msg_is_signed(unsigned type);

/* Head only: PARSE when too short, too long, another format or an unknown type. */
C2_RESULT msg_read_head(struct c2_slice in, struct msg_head *ret_head);

/* Writers append head and body; a signed type is complete after msg_sign. */
void msg_write_pre_prepare(struct c2_buf *out, struct c2_slice proposal, struct c2_slice batch);
void msg_write_proposal(struct c2_buf *out, const struct msg_head *h, const struct msg_proposal *p);
void msg_write_votes(struct c2_buf *out, const struct msg_head *h, const struct msg_votes *v);
void msg_write_checkpoint(struct c2_buf *out, const struct msg_head *h,
                          const struct msg_checkpoint *c);
void msg_write_wish(struct c2_buf *out, const struct msg_head *h, const struct msg_wish *w);
void msg_write_view_change(struct c2_buf *out, const struct msg_head *h,
                           const struct msg_view_change *m);
void msg_write_new_view(struct c2_buf *out, const struct msg_head *h, const struct msg_new_view *m);
void msg_write_status(struct c2_buf *out, const struct msg_head *h, const struct msg_status *s);
void msg_write_fetch(struct c2_buf *out, const struct msg_head *h, const struct msg_fetch *f);
void msg_write_body(struct c2_buf *out, const struct msg_head *h, const struct msg_body *b);
void msg_write_decided(struct c2_buf *out, const struct msg_head *h, const struct msg_decided *d);
void msg_write_stable(struct c2_buf *out, const struct msg_head *h, const struct msg_stable *s);
void msg_write_forward(struct c2_buf *out, const struct msg_head *h, struct c2_slice request);
void msg_write_state_fetch(struct c2_buf *out, const struct msg_head *h,
                           const struct msg_state_fetch *f);
void msg_write_state(struct c2_buf *out, const struct msg_head *h, const struct msg_state *s);
void msg_write_epoch_fetch(struct c2_buf *out, const struct msg_head *h, uint32_t epoch);
void msg_write_epoch(struct c2_buf *out, const struct msg_head *h, const struct msg_epoch *e);
void msg_write_request(struct c2_buf *out, uint64_t cluster, const struct msg_request *m);
void msg_write_reply(struct c2_buf *out, const struct msg_head *h, const struct msg_reply *m);
void msg_write_read(struct c2_buf *out, const struct msg_head *h, const struct msg_read *m);
void msg_write_read_reply(struct c2_buf *out, const struct msg_head *h,
                          const struct msg_read_reply *m);
void msg_write_watch(struct c2_buf *out, const struct msg_head *h, const struct msg_watch *m);
void msg_write_event(struct c2_buf *out, const struct msg_head *h, const struct msg_event *m);
void msg_write_ask_status(struct c2_buf *out, const struct msg_head *h);
void msg_write_tell_status(struct c2_buf *out, const struct msg_head *h, struct c2_slice json);

/* Appends the signature over the bytes of out from `from` on. */
void msg_sign(const struct bft_crypto *c, const uint8_t secret[C2_ED25519_SECRET_LEN],
              struct c2_buf *out, size_t from);
/* Of a whole signed message; for a PRE-PREPARE pass the proposal only. */
bool msg_verify(const struct bft_crypto *c, const uint8_t key[MSG_KEY_LEN], struct c2_slice msg);

/* Readers take whole messages, check every bound, and PARSE what is malformed. */
C2_RESULT msg_read_pre_prepare(struct c2_slice in, struct msg_pre_prepare *ret);
C2_RESULT msg_read_proposal(struct c2_slice in, struct msg_head *ret_head,
                            struct msg_proposal *ret);
C2_RESULT msg_read_votes(struct c2_slice in, struct msg_head *ret_head, struct msg_votes *ret);
C2_RESULT msg_read_checkpoint(struct c2_slice in, struct msg_checkpoint *ret);
C2_RESULT msg_read_wish(struct c2_slice in, struct msg_wish *ret);
C2_RESULT msg_read_view_change(struct c2_slice in, struct msg_view_change *ret);
C2_RESULT msg_read_new_view(struct c2_slice in, struct msg_new_view *ret);
C2_RESULT msg_read_status(struct c2_slice in, struct msg_status *ret);
C2_RESULT msg_read_fetch(struct c2_slice in, struct msg_fetch *ret);
C2_RESULT msg_read_body(struct c2_slice in, struct msg_body *ret);
C2_RESULT msg_read_decided(struct c2_slice in, struct msg_decided *ret);
C2_RESULT msg_read_stable(struct c2_slice in, struct msg_stable *ret);
C2_RESULT msg_read_forward(struct c2_slice in, struct c2_slice *ret_request);
C2_RESULT msg_read_state_fetch(struct c2_slice in, struct msg_state_fetch *ret);
C2_RESULT msg_read_state(struct c2_slice in, struct msg_state *ret);
C2_RESULT msg_read_epoch_fetch(struct c2_slice in, uint32_t *ret_epoch);
C2_RESULT msg_read_epoch(struct c2_slice in, struct msg_epoch *ret);
C2_RESULT msg_read_request(struct c2_slice in, struct msg_request *ret);
C2_RESULT msg_read_reply(struct c2_slice in, struct msg_reply *ret);
C2_RESULT msg_read_read(struct c2_slice in, struct msg_read *ret);
C2_RESULT msg_read_read_reply(struct c2_slice in, struct msg_read_reply *ret);
C2_RESULT msg_read_watch(struct c2_slice in, struct msg_watch *ret);
C2_RESULT msg_read_event(struct c2_slice in, struct msg_event *ret);
C2_RESULT msg_read_ask_status(struct c2_slice in);
C2_RESULT msg_read_tell_status(struct c2_slice in, struct c2_slice *ret_json);

/* The list inside a batch, a certificate or a message: the next item, PARSE at a malformed one;
 * an empty rest is the end. */
C2_RESULT msg_next_bytes(struct c2_slice *rest, struct c2_slice *ret_item);
/* The i-th command of a request that was read, as a request of its own; a request of another kind
 * is its only one. `rest` begins as m->op. False at the end. */
bool msg_next_command(const struct msg_request *m, uint32_t i, struct c2_slice *rest,
                      struct msg_request *ret_one);
C2_RESULT msg_next_prepared(struct c2_slice *rest, struct msg_prepared *ret);
void msg_put_prepared(struct c2_buf *out, const struct msg_prepared *p);

/* Appends an item of a list. */
void msg_put_bytes(struct c2_buf *out, struct c2_slice item);

/* The empty batch is the null batch: time 0, no request. */
C2_RESULT msg_read_batch(struct c2_slice in, struct msg_batch *ret);
void msg_batch_digest(struct c2_slice batch, uint8_t out[MSG_DIGEST_LEN]);
/* Identifies a message, signature included. */
void msg_digest(struct c2_slice msg, uint8_t out[MSG_DIGEST_LEN]);

/* The certificate alone, as it lies inside other messages and on disk. */
void msg_put_stable(struct c2_buf *out, const struct msg_stable *s);
C2_RESULT msg_get_stable(struct c2_slice in, struct msg_stable *ret);
/* What one seat signs for a certificate. */
void msg_checkpoint_hash(uint64_t cluster, uint32_t epoch, uint16_t seat,
                         const struct msg_checkpoint *c, uint8_t out[C2_SHA256_LEN]);
/* What the client authority signs to admit a key. */
void msg_client_hash(uint64_t cluster, const uint8_t key[MSG_KEY_LEN], uint8_t out[C2_SHA256_LEN]);

#endif
