/* SPDX-License-Identifier: MIT */
/*
 * What the files of a replica at work share: node.c drives the protocol, node_conn.c the
 * connections, node_reply.c the answers to clients, node_share.c what a client may cost,
 * node_watch.c what clients watch, node_report.c says how it is.
 */
#ifndef C2_METADATA_NODE_INT_H
#define C2_METADATA_NODE_INT_H

#include "base/map.h"
#include "metadata/exec.h"
#include "metadata/node.h"
#include "metadata/rights.h"
#include "metadata/store.h"
#include "metadata/wal.h"

#define NODE_PREFIXES_MAX 64
#define NODE_JOBS_MAX     32           /* that the pool gets at once */
#define NODE_PARTS_MAX    4            /* ... and of those for parts of a state */
#define NODE_TURN_MAX     32           /* messages of one key in a row */
#define NODE_TURN_BYTES   (256u << 10) /* ... and bytes, but for the last one */
#define NODE_UNKNOWN_MAX  128          /* connections without certificate: the oldest makes room */
#define NODE_CAUGHT_MAX   64           /* keys that are remembered for it */
#define NODE_DEBTORS_MAX  64           /* keys that are remembered though they have left */

/* A key that has connections to us: what it may do is counted over all of them. */
struct node_peer_key {
    struct c2_map_node node; /* n->keys */
    uint8_t key[C2_NET_KEY_LEN];
    unsigned conns;
    unsigned turn; /* messages since the last rest */
    size_t turn_bytes;
    uint64_t paid_ns;      /* when what it has cost so far is paid; see node_share.c */
    struct c2_link debtor; /* n->debtors: without connections, but not paid */
    uint64_t pass;         /* in which a connection of it went on last */
};

/* A key that has sent what no honest client sends. */
struct node_caught {
    uint8_t key[C2_NET_KEY_LEN];
    uint64_t until_ns; /* it is not let in; 0 = none */
    unsigned times;
};

/* A connection that somebody made to us. */
struct node_conn {
    struct c2_map_node node; /* n->conns, by id */
    struct c2_link link;     /* n->conn_list */
    struct c2_link rest;     /* n->resting: has had its turn */
    struct node *owner;
    struct c2_net_link *net; /* borrowed */
    uint64_t id;
    bool replica;    /* else a client */
    uint16_t member; /* of a replica */
    bool known;      /* a client that has shown a certificate */
    uint64_t nonce;  /* of the OPEN that came last: its session is at the other end; 0 = none */
    struct node_peer_key *whose;
    uint64_t since_ns;

    /* What it watches. */
    bool watching;
    bool lost; /* the last event could not be sent */
    uint64_t wseq;
    uint64_t last_n; /* of the event before */
    uint32_t nprefixes;
    struct c2_buf prefixes; /* owned; byte strings */
};

/* A way to another replica. */
struct node_peer {
    struct node *owner;
    struct c2_net_link *net; /* owned; NULL = none */
    uint16_t member;
    bool asked; /* for the certificate of an epoch, and not answered yet */
    char address[BFT_ADDRESS_MAX];
    uint8_t key[MSG_KEY_LEN];
};

/* The check of the store. */
struct node_patrol {
    struct node *node;
    struct c2_timer timer;
    struct c2_work work;
    bool running;
    struct store_patrol walk;
    enum c2_err err;
    uint64_t walks, keys; /* since the start */
};

struct node {
    struct c2_env *env;
    struct node_options o;
    struct bft_replica *core;        /* owned */
    struct bft_exec *exec;           /* owned */
    struct replica_app *app;         /* borrowed from exec */
    const struct bft_crypto *crypto; /* borrowed */
    uint16_t id;                     /* of the member */
    struct wal *wal;                 /* owned */
    char *wal_path, *marker_path;

    struct c2_list jobs;    /* of bft_job.link */
    struct c2_list running; /* those that the pool has now */
    struct c2_work work;
    struct c2_timer tick;
    struct node_patrol patrol;

    struct node_peer peers[MSG_REPLICAS_MAX]; /* by seat */
    struct c2_map conns, keys;
    struct c2_list conn_list;
    struct c2_list debtors; /* keys without connections that owe us, the longest gone first */
    struct c2_list resting;
    struct c2_task resume;
    struct c2_timer rest;           /* until somebody who rests has paid */
    struct node_peer_key strangers; /* the account of all who have shown no certificate */
    struct node_caught culprits[NODE_CAUGHT_MAX];
    uint64_t pass; /* of letting those who rest go on */
    uint64_t next_conn;
    unsigned nclients, nunknown; /* connections of clients, and those without certificate */
    struct rights rights;        /* of the batch that was told last */

    struct c2_disk_req req; /* of the marker */
    bool req_busy;
    bool fresh;
    bool started;
    bool failed;
    bool closing;
    bool wal_closed;
    bool log_damaged;
    bool store_damaged;
    bool fetching;          /* a state */
    bool clock_told;        /* the log says that the clock is wrong */
    uint64_t clock_told_ns; /* last; 0 = never */
    uint64_t last_lsn;
    uint64_t requests;
    uint64_t fetch_since_ns, fetch_bytes; /* of the state that is fetched, or was last */
    uint64_t unsent;                      /* messages without a way */
    uint64_t caught;                      /* clients that have sent what no honest one sends */
    uint64_t turned_away;                 /* those who came back too soon */
    uint64_t rests;                       /* times that a client had to wait for its share */
    unsigned alarms;
    char alarm[160];
    void (*closed)(void *arg);
    void *closed_arg;
};

/* node.c */
void node_step(struct node *n, struct bft_event *ev);
void node_fail(struct node *n, enum c2_err err, const char *why);
void node_go_on_closing(struct node *n);

/* node_report.c */
/* Says in the log when our clock is wrong, now and then, and when it is right again. */
void node_look_at_clock(struct node *n);

/* node_patrol.c */
void node_patrol_start(struct node *n);
void node_patrol_stop(struct node *n); /* a piece may still be running */

/* node_conn.c */
C2_RESULT node_listen(struct node *n, const char *address);
void node_connect(struct node *n, const struct bft_config *c);
void node_send(struct node *n, uint32_t seats, struct c2_blob *msg);
struct node_conn *node_find_conn(const struct node *n, uint64_t id); /* NULL = it has ended */
/* No connection comes any more. */
void node_disconnect(struct node *n);

/* node_reply.c */
void node_reply_on(struct node *n, struct node_conn *c, struct c2_blob *msg);
/* What the action says, with this message. */
void node_reply(struct node *n, const struct bft_action *a, struct c2_blob *msg);

/* node_share.c */

void node_share_init(struct node *n);
/* The account of a connection's key; a new one when it is the first. */
struct node_peer_key *node_join_key(struct node *n, const uint8_t *key);
void node_leave_key(struct node *n, struct node_peer_key *k);
void node_forget_debtors(struct node *n);
/* A message of a client has come, which may be the last one for a while; an answer leaves. */
void node_charge(struct node_conn *c, struct c2_slice m);
void node_charge_answer(struct node_conn *c, size_t len);
/* ... which a key that has had its share gets all the same. */
void node_charge_owed(struct node_conn *c, size_t len);
/* What the executed commands, or a question, have cost beyond that. */
void node_charge_work(struct node *n, const struct bft_job *job);
bool node_has_had_its_share(const struct node_conn *c); /* it owes more than it may */
/* Until the next turn of the loop, and as long as its key has had its share. */
void node_rest(struct node_conn *c);
void node_punish(struct node *n, const uint8_t key[C2_NET_KEY_LEN]);
bool node_is_punished(struct node *n, const uint8_t key[C2_NET_KEY_LEN]);

/* node_watch.c */
void node_watch(struct node *n, struct node_conn *c, struct c2_slice msg);
/* What an executed batch has changed. */
void node_tell(struct node *n, const struct bft_job *job);
void node_unwatch(struct node_conn *c);
/* There is room again in the queue of the connection. */
void node_watch_writable(struct node *n, struct node_conn *c);
/* The state has changed without batches that could be told of. */
void node_watches_lost(struct node *n);

#endif
