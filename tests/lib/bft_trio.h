/* SPDX-License-Identifier: MIT */
/*
 * Three correct replicas of four in one process, for programs that speak for the fourth and for the
 * clients, whose keys they have. Every event is carried out at once; time passes on demand.
 *
 * What the replicas execute is the same, none of them stops or doubts its state (unless `lawless`),
 * and what they keep for others is bounded: all that is asserted here.
 */
#ifndef C2_TESTS_LIB_BFT_TRIO_H
#define C2_TESTS_LIB_BFT_TRIO_H

#include "base/env.h"
#include "metadata/exec.h"
#include "tests/lib/cheap_sign.h"
#include "tests/lib/small_app.h"

#define TRIO_CORRECT  3u
#define TRIO_LIAR     3u /* the seat of the fourth */
#define TRIO_CLIENTS  2u
#define TRIO_TAPE     64u
#define TRIO_LOG_MAX  4096u
#define TRIO_BATCHES  1024u
#define TRIO_EVENTS   20000u /* the rest is lost */
#define TRIO_INTERVAL 4u
#define TRIO_SESSIONS 8u
#define TRIO_START_NS (1700000000ull * C2_NS_PER_S)

struct trio_record {
    unsigned type;
    struct c2_buf bytes; /* owned */
};

struct trio_replica {
    struct bft_replica *core;
    struct bft_exec *exec;
    struct small_disk disk;
    struct trio_record log[TRIO_LOG_MAX]; /* lsn - 1 */
    uint64_t last, trimmed, durable;
};

struct trio {
    struct bft_config first, config; /* of epoch 0, and the newest */
    uint8_t secret[TRIO_CORRECT + 1][C2_ED25519_SECRET_LEN];
    uint8_t next_secret[TRIO_CORRECT + 1][C2_ED25519_SECRET_LEN];
    uint8_t client[TRIO_CLIENTS][C2_ED25519_SECRET_LEN];
    uint8_t authority[C2_ED25519_SECRET_LEN], admin[C2_ED25519_SECRET_LEN];
    struct trio_replica replica[TRIO_CORRECT];
    struct c2_list events;
    size_t nevents;
    struct c2_blob *tape[TRIO_TAPE]; /* owned references: what was sent last */
    unsigned tape_at;
    uint8_t batch[TRIO_BATCHES][C2_SHA256_LEN]; /* what was executed, by number */
    bool have[TRIO_BATCHES];
    uint64_t session[TRIO_CLIENTS]; /* that was opened last */
    uint64_t now_ns;
    unsigned lost; /* bit from * 3 + to: does not arrive */
    bool lawless;  /* more is wrong than one replica: anything may be decided */
};

struct trio *trio_new(void);
void trio_free(struct trio *t);
/* From a seat to the replicas in `mask`. */
void trio_send(struct trio *t, unsigned from, unsigned mask, struct c2_blob *msg);
void trio_client_sends(struct trio *t, unsigned k, unsigned mask, struct c2_blob *msg);
/* Until nothing is on its way. */
void trio_settle(struct trio *t);
void trio_time_passes(struct trio *t, unsigned n); /* n times 10 ms */
/* A crash: what was not durable is gone. */
void trio_stop(struct trio *t, unsigned i);
void trio_start(struct trio *t, unsigned i);
/* A record that the stopped replica has not written itself. */
void trio_add_record(struct trio *t, unsigned i, unsigned type, struct c2_slice bytes);

#endif
