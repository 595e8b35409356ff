/* SPDX-License-Identifier: MIT */
/*
 * One replica at work: the protocol (bft.h) with a log (wal.h), an application (store.h) and a
 * network (base/net.h). The daemon runs one, tests and the simulator run several in one process.
 *
 *   DATA/wal/         the write-ahead log
 *   DATA/store/       the state at the last checkpoint
 *   DATA/replica      whose folder it is; made with the configuration, or by a start
 *   DATA/first-start  made with the configuration, removed by the first start: a replica without
 *                     it and without a log has lost its memory, and may not vote until the others
 *                     have moved on
 *
 * The environment must run all work on one thread.
 */
#ifndef C2_METADATA_NODE_H
#define C2_METADATA_NODE_H

#include "base/net.h"
#include "metadata/bft.h"

#define NODE_FIRST_START     "first-start"
#define NODE_PROTOCOL        "c2fs-bft/1" /* what TLS connections of replicas and clients are for */
#define NODE_CLIENTS_DEFAULT 256

struct node_options {
    const struct bft_setup *setup; /* copied */
    const char *data;              /* folder, there already; borrowed while open */
    const char *listen;            /* address; borrowed for the call */
    struct c2_net *net;            /* borrowed while open; with the member's identity key */
    uint64_t map_size;             /* of the store; 0 = default */
    size_t segment_size;           /* of the log; 0 = default */
    unsigned clients_max;          /* connections; 0 = NODE_CLIENTS_DEFAULT */

    /* The configuration in force, at the start and whenever it changes; may be NULL. */
    void (*configured)(void *arg, const struct bft_config *config);
    /* The log is read, the replica takes part. */
    void (*started)(void *arg);
    /* It cannot go on, and has not confirmed anything it should not have; why is for people. The
     * process should end. Called once, nothing after it. */
    void (*failed)(void *arg, enum c2_err err, const char *why);
    void *arg;
};

struct node;

/* Opens the store (blocking) and starts. ret_error gets a sentence on failure (c2_free). */
C2_RESULT node_open(struct c2_env *env, const struct node_options *o, struct node **ret_node,
                    char **ret_error);
/* After `failed`: what the disk has of the state cannot be read. Without its store a replica gets
 * the state from the others. */
bool node_store_is_damaged(const struct node *n);
/* Ends in good order; then done(arg). */
void node_close(struct node *n, void (*done)(void *arg), void *arg);

struct node_info {
    struct bft_info bft;
    bool started;
    bool log_damaged;
    unsigned clients;  /* connections */
    unsigned peers_up; /* replicas this one can send to */
    unsigned watches;
    uint64_t log_bytes, log_groups;
    bool disk_full;         /* what is to be logged waits for space */
    bool clock_wrong;       /* the wall clock is farther from the agreed time than it may be */
    int64_t clock_ahead_ns; /* of the last proposal's time */
    uint64_t checks;        /* of the whole store, since the start */
    uint64_t checked_keys;  /* by them */
    uint64_t requests;      /* messages from clients */
    uint64_t caught;        /* clients disconnected because they had sent what no honest one does */
    uint64_t turned_away;   /* times that such a client came back too soon */
    uint64_t rests;   /* times that a client had had its share while others wanted something */
    uint64_t dropped; /* messages to replicas that full queues lost */
    unsigned alarms;  /* since the start */
    char alarm[160];  /* the last one */
};

void node_info(const struct node *n, struct node_info *ret_info);
/* Metrics in the text format of Prometheus. */
void node_metrics(const struct node *n, struct c2_buf *out);
/* One JSON object. */
void node_status(const struct node *n, struct c2_buf *out);

#endif
