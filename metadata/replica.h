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

/* Keys that begin with this byte are the service's own: no command can name one. Those that go on
 * with a letter from 'A' to 'Z' are the application's. */
#define REPLICA_SYSTEM_KEY 0xff

/* Who gives a command. NULL: the process that has the application, which may do everything. */
struct replica_client {
    const uint8_t *key; /* borrowed; COORD_PRINCIPAL_LEN bytes */
    bool admin;         /* the administrators of the service have signed the command */
};

struct replica_app;

struct replica_batch {
    struct replica_app *app; /* borrowed */
    uint64_t version;        /* of the last applied change */
    uint64_t acl;            /* changes of the access control list so far */
    uint64_t work;           /* keys that were changed so far, also back again, and sessions */
    uint64_t deadline_ns;    /* after commit: when the next session ends, C2_NEVER = none */
    bool due;                /* sessions are past their deadline that end at the next time */
    bool durable;            /* after commit: something was written */
    bool events_lost;        /* there were too many to list */
    struct c2_buf events;    /* owned; u64 version, u8 deleted, u32 length, key; repeated */
};

enum replica_part_kind {
    REPLICA_HEAD = 1, /* what the digest of the state is made of, with the root of its tree */
    REPLICA_NODE,     /* a node of the tree, by path */
    REPLICA_ENTRY,    /* a key with its record, by the hash that is its leaf in the tree */
    REPLICA_BRANCH,   /* a node like NODE; if it is a leaf, with entries of it */
};

/* A part of a state. Whoever has the digest can verify the head, and from there all the rest. */
struct replica_part {
    uint8_t kind;     /* enum replica_part_kind */
    uint8_t depth;    /* NODE: nibbles of the path */
    uint8_t path[32]; /* NODE, BRANCH; two nibbles a byte, zeros beyond depth */
    uint8_t hash[32];
};

struct replica_app_ops {
    C2_RESULT (*begin)(struct replica_app *a, struct replica_batch **ret_batch);
    /* Executes the next command at the agreed time; a time before the state's is raised to it.
     * Sessions that are due end first, in a step of their own; of very many some end at the next
     * time (due), until when they can do nothing. Appends the answer. */
    C2_RESULT (*apply)(struct replica_batch *b, uint64_t time_ns, const struct replica_client *by,
                       struct c2_slice cmd, struct c2_buf *reply);
    /* Durable when it returns; a batch that changed nothing writes nothing. Only end may follow. */
    C2_RESULT (*commit)(struct replica_batch *b);
    /* Frees the batch and forgets what was not committed. NULL is fine. */
    void (*end)(struct replica_batch *b);

    /* Answers a reading command; sees what the batch has done so far. */
    C2_RESULT (*read)(struct replica_batch *b, const struct replica_client *by, struct c2_slice cmd,
                      struct c2_buf *reply);
    /* The access control list as the batch has made it, see rights_load. */
    C2_RESULT (*acl)(struct replica_batch *b, struct c2_buf *out);
    /* Sets a key of the service's own (without its first byte), or removes it: value NULL. It is
     * part of the state like any other, but no step, and causes no event. */
    C2_RESULT (*put_system)(struct replica_batch *b, struct c2_slice key,
                            const struct c2_slice *value);
    /* The digest of the whole state with what the batch has done. */
    C2_RESULT (*digest)(struct replica_batch *b, uint8_t digest[32]);

    /* Answers a reading command. */
    C2_RESULT (*query)(struct replica_app *a, const struct replica_client *by, struct c2_slice cmd,
                       struct c2_buf *reply);
    /* The state's clock, and when the next session ends. */
    C2_RESULT (*clock)(struct replica_app *a, uint64_t *ret_now_ns, uint64_t *ret_deadline_ns);
    /* The digest of the whole state; costs what has changed since the last one. */
    C2_RESULT (*checkpoint)(struct replica_app *a, uint64_t *ret_version, uint8_t digest[32]);
    /* A snapshot as chunks of at most REPLICA_CHUNK_MAX; an error of fn ends it. */
    C2_RESULT (*dump)(struct replica_app *a, enum c2_err (*fn)(void *arg, struct c2_slice chunk),
                      void *arg, uint64_t *ret_version);
    /* The next chunk into an empty application, which is unusable until the last one. */
    C2_RESULT (*restore)(struct replica_app *a, struct c2_slice chunk);

    /* What put_system has set, as of the last commit: (bytes key, u8 1, bytes value) repeated.
     * complete: false while a state is being fetched. */
    C2_RESULT (*list_system)(struct replica_app *a, struct c2_buf *out, bool *ret_complete);
    /* A part of the state as of the last commit; NOT_FOUND when that state has no such part. */
    C2_RESULT (*part)(struct replica_app *a, const struct replica_part *p, struct c2_buf *out);

    /* Fetching another state, of which only what differs is asked for. No batch may be open. Until
     * it is complete the application is unusable, also after it was opened again: then the fetch
     * begins anew, over what is there. An error ends the fetch; after AGAIN: grow, begin anew. */
    C2_RESULT (*fetch_begin)(struct replica_app *a, const uint8_t digest[32]);
    /* Parts to ask for, in any order, `max` of them on their way at most; done: all is there. When
     * there are none, and none is on its way, there is work that no part is needed for: again. */
    C2_RESULT (*fetch_want)(struct replica_app *a, size_t max, struct c2_buf *out, bool *ret_done);
    /* CORRUPT: not the part that was wanted; it will be wanted again. */
    C2_RESULT (*fetch_put)(struct replica_app *a, uint8_t kind, const uint8_t hash[32],
                           struct c2_slice bytes);

    /* More room after AGAIN; BUSY while anything runs on another thread. */
    C2_RESULT (*grow)(struct replica_app *a);
    void (*close)(struct replica_app *a);
};

struct replica_app {
    const struct replica_app_ops *ops;
};

#endif
