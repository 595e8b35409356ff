/* SPDX-License-Identifier: MIT */
/*
 * What is replicated: a deterministic application of ordered commands. The same commands with the
 * same times give the same state, answers and digest on every replica, so an implementation has no
 * clock, no randomness and no thread of its own: time comes with each command.
 *
 * Commands are applied in batches; a batch is durable, all of it, when its commit returns. A batch
 * stays on the thread that began it; there is one at a time, others wait in begin. Queries see the
 * last commit and may run on any thread.
 *
 * Errors that a call returns are the machine's, never the command's (those are in the answer), and
 * mean that the batch must be aborted: AGAIN = call grow, then do the batch again; NO_SPACE =
 * nothing happened, later batches may succeed; anything else = stop using the application.
 */
#ifndef C2_METADATA_REPLICA_H
#define C2_METADATA_REPLICA_H

#include "base/buf.h"

#define REPLICA_CHUNK_MAX (1u << 20)

struct replica_app;

struct replica_batch {
    struct replica_app *app; /* borrowed */
    uint64_t version;        /* of the last applied change */
    uint64_t deadline_ns;    /* after commit: when the next session ends, C2_NEVER = none */
    bool durable;            /* after commit: something was written */
    bool events_lost;        /* there were too many to list */
    struct c2_buf events;    /* owned; u64 version, u8 deleted, u32 length, key; repeated */
};

struct replica_app_ops {
    C2_RESULT (*begin)(struct replica_app *a, struct replica_batch **ret_batch);
    /* Executes the next command at the agreed time; a time before the state's is raised to it.
     * Sessions that are due end first, in a step of their own. Appends the answer. */
    C2_RESULT (*apply)(struct replica_batch *b, uint64_t time_ns, struct c2_slice cmd,
                       struct c2_buf *reply);
    /* Durable when it returns; a batch that changed nothing writes nothing. Only end may follow. */
    C2_RESULT (*commit)(struct replica_batch *b);
    /* Frees the batch and forgets what was not committed. NULL is fine. */
    void (*end)(struct replica_batch *b);

    /* Answers a reading command. */
    C2_RESULT (*query)(struct replica_app *a, struct c2_slice cmd, struct c2_buf *reply);
    /* The state's clock, and when the next session ends. */
    C2_RESULT (*clock)(struct replica_app *a, uint64_t *ret_now_ns, uint64_t *ret_deadline_ns);
    /* The digest of the whole state; costs what has changed since the last one. */
    C2_RESULT (*checkpoint)(struct replica_app *a, uint64_t *ret_version, uint8_t digest[32]);
    /* A snapshot as chunks of at most REPLICA_CHUNK_MAX; an error of fn ends it. */
    C2_RESULT (*dump)(struct replica_app *a, enum c2_err (*fn)(void *arg, struct c2_slice chunk),
                      void *arg, uint64_t *ret_version);
    /* The next chunk into an empty application, which is unusable until the last one. */
    C2_RESULT (*restore)(struct replica_app *a, struct c2_slice chunk);
    /* More room after AGAIN; BUSY while anything runs on another thread. */
    C2_RESULT (*grow)(struct replica_app *a);
    void (*close)(struct replica_app *a);
};

struct replica_app {
    const struct replica_app_ops *ops;
};

#endif
