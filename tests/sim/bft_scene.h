/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the replicated service's scenarios share.
 *
 *   bft_node.c    a replica's process: core, executor with the real store, the real log on a
 *                 simulated disk
 *   bft_net.c     the network between processes and clients
 *   bft_liar.c    what a Byzantine replica makes of the messages of a correct one
 *   bft_client.c  honest clients; bft_client_lie.c lying ones; bft_command.c what they ask for
 *   bft_check.c   what must hold, checked at each event; bft_durable.c: votes and the disk
 *   scene_bft.c   a random run: faults, then recovery while the liars go on
 *   scene_trap.c  known traps, one script each; trap_clocks.c, trap_lies.c, trap_restart.c,
 *                 trap_views.c
 *
 * Processes have an id each, as members of a configuration have. A liar may be two processes with
 * one id and one key: that gives equivocation and amnesia without a line of code about them.
 */
#ifndef C2_TESTS_SIM_BFT_SCENE_H
#define C2_TESTS_SIM_BFT_SCENE_H

#include "metadata/bft.h"
#include "metadata/cmd.h"
#include "metadata/exec.h"
#include "metadata/wal.h"
#include "tests/sim/disk.h"
#include "tests/sim/scene.h"

#define BS_IDS      8 /* seven members and a spare */
#define BS_PROCS    (BS_IDS + BFT_F_MAX)
#define BS_CLIENTS  4
#define BS_KEYS     4
#define BS_LOG_MAX  8192
#define BS_CSEQ_MAX 256
#define BS_OUT_MAX  4 /* requests of a client that are on their way */
#define BS_INTERVAL 8
#define BS_PATH_MAX 300
#define BS_EPOCHS   8
#define BS_TAPE     64
#define BS_WALL_NS  (1700000000ull * C2_NS_PER_S) /* the true time when a run begins */

enum bs_lie {
    BS_LIE_DROP,    /* some types of messages, to some of the others */
    BS_LIE_EXCLUDE, /* f of the others hear nothing */
    BS_LIE_SLOW,    /* just below the timeout */
    BS_LIE_MUTATE,  /* numbers off by one, bytes changed, signed again */
    BS_LIE_REPLAY,  /* what anybody sent before */
    BS_LIE_SPLIT,   /* different proposals and votes to different replicas */
    BS_LIE_BODY,    /* other bytes than the digest says */
    BS_LIE_HIDE,    /* VIEW-CHANGEs without certificates, or with false ones */
    BS_LIE_VIEW,    /* NEW-VIEWs out of nothing, wishes for far-away views */
    BS_LIE_STATE,   /* a state that is not the state, before anybody else answers */
    BS_LIE_STATUS,  /* numbers at their limits */
    BS_LIE_FLOOD,   /* requests of nobody, proposals for views to come */
    BS_LIE_ANSWER,  /* wrong answers to clients */
    BS_LIE_FIRST,   /* answers for a state before whoever was asked */
    BS_LIE_STABLE,  /* certificates of checkpoints that nobody else has signed */
    BS_LIE_SELECT,  /* NEW-VIEWs without what was prepared */
    BS_LIE_OVER,    /* proposals beyond the end of an epoch */
    BS_LIE_FORGET,  /* VIEW-CHANGEs of somebody who has never prepared anything */
    BS_LIE_AGAIN,   /* another proposal to whoever was away: it may have forgotten the first one */
    BS_LIES,
};

struct bs;

struct bs_proc {
    struct bs *s;
    unsigned index;
    uint16_t id;
    bool faulty; /* nothing it does is checked */
    bool rotten; /* its disk was damaged: it may forget votes, but executes what is right */
    uint32_t lies;
    uint32_t deaf; /* ids that do not exist for it (EXCLUDE, twins) */
    uint64_t slow_ns;
    char path[BS_PATH_MAX + 8];
    bool created, fresh;
    struct sim_disk *disk;
    struct sim_node *node;
    struct wal *wal; /* owned by the node's life */
    uint64_t durable_lsn;
    uint64_t voted_lsn;       /* the highest record of a vote that it has sent */
    struct bs_logged *logged; /* owned; NULL = nothing yet */
    struct sim_life life;     /* of the core */
    size_t life_base;
    struct bft_replica *core;
    struct bft_exec *exec;
    bool up, started, keep_down;
    bool aborts; /* it has found that its disk does not do what it should */
    bool frail;  /* it was killed, and may lose power soon after it has started again */
    unsigned lives;
    struct c2_list jobs; /* bft_job.link */
    uint64_t exec_ns;    /* a job takes up to this */
    struct c2_timer exec_timer, tick, restart, lie, die;
    int64_t skew_ns;
    struct bft_info last; /* of this life */
    uint64_t alarms;
};

/* One request or read of an honest client. */
struct bs_op {
    struct bs_client *c;
    bool used, read, query;
    uint64_t cseq;
    unsigned key, kind;
    uint64_t sent_ns;
    uint64_t low; /* everything up to here had been seen completed when it began */
    struct c2_blob *msg;
    struct c2_timer again;
    unsigned tries;
    uint32_t have; /* ids that have answered */
    uint8_t digest[BS_IDS][MSG_DIGEST_LEN];
    uint64_t n[BS_IDS];
    uint8_t code[BS_IDS];
    struct c2_blob *result; /* of any that had it, by digest */
    uint8_t result_digest[MSG_DIGEST_LEN];
};

struct bs_issued {
    uint8_t op[C2_SHA256_LEN];
    unsigned kind, key;
    uint64_t executed_at, token;
    bool done;
};

struct bs_commit {
    uint32_t epoch;
    uint64_t view_1; /* view + 1; 0 = none */
};

struct bs_client {
    struct bs *s;
    unsigned i;
    bool liar;
    uint8_t key[MSG_KEY_LEN], secret[C2_ED25519_SECRET_LEN];
    uint64_t session, cseq, ack_low, rseq;
    uint64_t nonce;
    unsigned left, outstanding, window;
    struct bs_op *held[BS_OUT_MAX]; /* to go with one signature */
    unsigned nheld;
    struct c2_buf held_ops; /* byte strings */
    struct bs_op op[BS_OUT_MAX];
    struct bs_issued issued[BS_CSEQ_MAX];
    struct c2_timer next;
    /* the lock */
    bool locker;
    unsigned stage;
    uint64_t store_session, token;
};

struct bs_trap;

struct bs {
    struct sim_world *w;
    struct sim_rng rng;
    char dir[BS_PATH_MAX];
    struct bft_config config; /* epoch 0 */
    struct bft_config epochs[BS_EPOCHS];
    bool have_epoch[BS_EPOCHS];
    struct bft_timing timing;
    struct bft_limits limits;
    uint8_t secret[BS_IDS][C2_ED25519_SECRET_LEN], next_secret[BS_IDS][C2_ED25519_SECRET_LEN];
    uint8_t authority[C2_ED25519_SECRET_LEN], admin[2][C2_ED25519_SECRET_LEN];
    struct bs_proc proc[BS_PROCS];
    unsigned nprocs;
    struct bs_client client[BS_CLIENTS];
    unsigned nclients;

    /* network */
    unsigned loss, dup;
    uint64_t delay_ns;
    bool cut[BS_PROCS][BS_PROCS];
    uint64_t clogged_ns[BS_PROCS][BS_PROCS]; /* until then nothing arrives, then all at once */
    struct c2_blob *tape[BS_TAPE];
    unsigned tape_at;
    /* A correct replica of these ids loses power right after it has sent something signed, so
     * often (percent). */
    unsigned sudden;
    uint32_t sudden_ids;
    uint64_t sudden_types; /* of messages */
    /* A script's own rule: true = the message is not delivered. */
    bool (*filter)(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                   unsigned type, struct c2_slice msg);
    const struct bs_trap *trap;
    unsigned stage;                    /* the script's */
    uint64_t mark;                     /* a number that it remembers */
    struct c2_blob *kept[BS_PROCS][2]; /* messages that it has kept back, of each replica; owned */

    /* truth */
    uint8_t decided[BS_LOG_MAX][MSG_DIGEST_LEN];
    bool have[BS_LOG_MAX];
    uint8_t ckpt[BS_LOG_MAX][MSG_DIGEST_LEN];
    bool have_ckpt[BS_LOG_MAX];
    uint64_t hist[BS_LOG_MAX][BS_KEYS];
    uint64_t model_n;
    uint64_t low; /* no read that begins now may see less */
    uint64_t acked[BS_KEYS];
    uint64_t last_token;
    uint8_t *votes;
    struct bs_commit *commits; /* of each id and number, what it sent a COMMIT for last */
    uint64_t fast_reads;
    bool clean; /* no evidence of anything may appear */

    /* script */
    struct c2_timer chaos, look;
    unsigned chaos_left;
    bool outages; /* power is cut everywhere at once, now and then */
    bool healed, done, converged;
    int victim;          /* process whose disk is damaged in this run; -1 = none */
    unsigned admin_kind; /* 0 = no reconfiguration; 1 = keys, 2 = a member, 3 = both */
    unsigned admin_at;
    bool admin_more; /* and again and again */
    int admin_seat;  /* whose member goes; -1 = anybody's */
    unsigned admins; /* configurations that were really asked for */
    bool acl;        /* the last client has no right on the counters, once the first has said so */
    bool acl_asked;
    uint64_t acl_n; /* when that was executed; 0 = not yet */
};

static inline bool
bs_is_outsider(const struct bs *s, const struct bs_client *c)
{
    return s->acl && c->i == BS_CLIENTS - 1;
}

extern const struct bft_crypto bs_crypto;
void bs_make_key(struct bs *s, uint8_t secret[C2_ED25519_SECRET_LEN], uint8_t key[MSG_KEY_LEN]);

/* scene_bft.c: a cluster of 3f+1 and a spare, nobody started. */
struct bs *bs_new(const char *name, uint64_t seed, const struct sim_options *o, unsigned f);
struct bs_proc *bs_add_proc(struct bs *s, uint16_t id);
/* With which it signs in its epoch. */
const uint8_t *bs_secret_of(const struct bs_proc *p);
void bs_free(struct bs *s, struct sim_tally *tally);
bool bs_converged(struct bs *s);

/* bft_node.c */
void bs_start(struct bs_proc *p);
void bs_crash(struct bs_proc *p); /* its machine loses power */
void bs_kill(struct bs_proc *p);  /* the process alone: the page cache stays */
void bs_event(struct bs_proc *p, struct bft_event *ev);
void bs_proc_init(struct bs_proc *p);
void bs_proc_done(struct bs_proc *p);
/* Everything on its disks is gone; it must be down. */
void bs_lose_store(struct bs_proc *p);
void bs_lose_log(struct bs_proc *p);

/* bft_net.c */
void bs_send(struct bs *s, struct bs_proc *from, struct bs_proc *to, struct c2_slice msg,
             uint64_t extra_ns);
void bs_to_client(struct bs_proc *from, const struct bft_action *a);
/* Arrives now, whatever the script says. */
void bs_deliver(struct bs *s, const struct bs_proc *from, struct bs_proc *to,
                const struct c2_blob *msg);
/* From a client (i) to everybody with the id. */
void bs_from_client(struct bs_client *c, uint16_t id, struct c2_blob *msg);
void bs_cut(struct bs *s, unsigned a, unsigned b, bool cut);
struct bs_proc *bs_proc_of(struct bs *s, uint16_t id, bool second);

/* scene_trap.c: how much later a message arrives. */
uint64_t bs_trap_delay(struct bs *s, const struct bs_proc *from, struct c2_slice msg);

/* bft_liar.c: sends what the liar makes of it. */
void bs_lie_send(struct bs_proc *p, struct bs_proc *to, struct c2_slice msg);
void bs_lie_reply(struct bs_proc *p, struct c2_buf *msg);
void bs_lie_start(struct bs_proc *p);
/* A liar hears what somebody else has sent. */
void bs_lie_overhear(struct bs *s, struct bs_proc *from, struct c2_slice msg);
void bs_resign(struct bs_proc *p, struct c2_buf *msg);

/* bft_client.c */
void bs_client_init(struct bs_client *c, struct bs *s, unsigned i);
void bs_client_start(struct bs_client *c);
void bs_client_stop(struct bs_client *c);
void bs_client_hears(struct bs_client *c, uint16_t id, struct c2_slice msg);
bool bs_clients_done(const struct bs *s);

/* bft_command.c */
void bs_encode_get(struct c2_buf *out);
void bs_encode_op(struct bs_client *c, unsigned kind, unsigned key, struct c2_buf *out);
void bs_encode_admin(struct bs *s, struct c2_buf *out);
/* cmd: the command that is executed; out: with its signatures. */
void bs_encode_acl(struct bs_client *c, struct c2_buf *cmd, struct c2_buf *out);
struct c2_blob *bs_sign_request(struct bs_client *c, struct msg_request *m, struct c2_slice op);

/* bft_client_lie.c */
void bs_liar_due(struct c2_timer *t);

/* bft_durable.c */
void bs_durable_append(struct bs_proc *p, unsigned type, struct c2_slice bytes, uint64_t lsn);
void bs_durable_synced(struct bs_proc *p, uint64_t lsn);
void bs_durable_opened(struct bs_proc *p, uint64_t last_lsn);
void bs_durable_voted(struct bs_proc *p, const struct msg_head *h, const struct msg_votes *v);
void bs_durable_done(struct bs_proc *p);

/* bft_check.c */
void bs_check_sent(struct bs_proc *p, struct c2_slice msg);
void bs_check_job(struct bs_proc *p, const struct bft_job *job);
void bs_check_step(struct bs_proc *p);
void bs_check_read(struct bs *s, struct bs_op *op, const uint64_t value[BS_KEYS]);
void bs_check_end(struct bs *s);
/* What an honest client asks for. */
enum {
    BS_OP_ADD,
    BS_OP_GET,
    BS_OP_OPEN,
    BS_OP_LOCK,
    BS_OP_COMMIT,
    BS_OP_CLOSE,
    BS_OP_ADMIN,
    BS_OP_ACL
};

#endif
