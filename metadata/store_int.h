/* SPDX-License-Identifier: MIT */
/*
 * What the files of the store share: its state record, the batch, and access to keys and sessions.
 */
#ifndef C2_METADATA_STORE_INT_H
#define C2_METADATA_STORE_INT_H

#include "metadata/cmd.h"
#include "metadata/kv.h"
#include "metadata/replica.h"
#include "metadata/rights.h"
#include "metadata/store.h"
#include "metadata/tree.h"

#define STORE_PART_MAX       4000 /* bytes of a log entry per record: one page each */
#define STORE_TRIM_MAX       4096 /* log records removed by one LOG_TRIM, then `more` */
#define STORE_DIRTY_MAX      16384
#define STORE_EVENTS_MAX     (8u << 20)
#define STORE_EXPIRE_MAX     2048 /* sessions and keys that end at one time, and the last session */
#define STORE_LOG_KEY_LEN    10
#define STORE_ENTRY_HEAD_LEN 16 /* version, session */

/* The part of the state that is not in tables; a record in KV_META. */
struct store_state {
    uint64_t version;
    uint64_t now_ns;
    uint64_t trimmed; /* the log begins after it; not part of the digest */
    uint64_t ndirty;  /* records in KV_DIRTY; not part of the digest */
    uint64_t folded;  /* when the digest tree was up to date last; not part of the digest */
    uint64_t nsessions;
    bool loading; /* a restore or a fetch has begun and not ended */
    bool torn;    /* loading, and the digest tree is not that of the keys; see store_merge.c */
};

/* A restore in progress. */
struct store_restore {
    bool active;
    uint64_t seq; /* of the chunk that must come next */
    uint8_t chain[32];
    uint64_t nentries;
    uint64_t nsessions;
    uint8_t last_key[COORD_KEY_MAX];
    size_t last_key_len;
};

struct store_fetch;
struct store_merge;

struct store {
    struct replica_app app;
    struct kv *kv; /* owned */
    /* The access control list, as of so many changes; for commands of clients, all of which come
     * on one thread. */
    struct rights rights;
    uint64_t rights_of; /* UINT64_MAX = not loaded */
    bool keep_log;
    bool replicated;
    struct store_restore restore;
    struct store_fetch *fetch; /* owned; NULL = none under way */
    struct store_merge *merge; /* owned; NULL = nothing was fetched */
    struct store_fetch_limits limits;
};

struct store_entry {
    uint64_t version;
    uint64_t session;      /* 0 = not ephemeral */
    struct c2_slice value; /* borrowed from the table */
};

struct store_session {
    uint64_t ttl_ns;
    uint64_t deadline_ns;
    uint32_t nkeys; /* its ephemeral keys */
};

/* What a key was before the running transaction changed it. */
struct store_undo {
    size_t at; /* key, then value, in undo_bytes */
    size_t key_len;
    size_t value_len;
    uint64_t version;
    uint64_t session;
    bool present;
};

struct store_batch {
    struct replica_batch base;
    struct store *store; /* borrowed */
    struct kv_txn *txn;  /* owned; NULL after commit */
    struct store_state state;
    bool changed;
    struct cmd cmd;                  /* owned; the command being applied */
    const struct replica_client *by; /* borrowed; who gives it */
    uint64_t now_ns;                 /* its time */

    /* The running transaction. */
    uint64_t step;            /* the version it will get */
    enum c2_err verdict;      /* why it fails; OK so far */
    bool keep_undo;           /* false while undoing */
    struct c2_buf undo;       /* owned; of struct store_undo */
    struct c2_buf undo_bytes; /* owned */
};

static inline struct store *
store_of(struct replica_app *a)
{
    return C2_CONTAINER_OF(a, struct store, app);
}

static inline struct store_batch *
batch_of(struct replica_batch *b)
{
    return C2_CONTAINER_OF(b, struct store_batch, base);
}

/* store_table.c: one key, one session, one log entry at a time. */
C2_RESULT store_read_state(struct kv_txn *txn, struct store_state *ret_state);
C2_RESULT store_write_state(struct kv_txn *txn, const struct store_state *s);
C2_RESULT store_get(struct kv_txn *txn, struct c2_slice key, struct store_entry *ret_entry);
/* A record of KV_DATA; DAMAGED when it is too short. */
C2_RESULT store_parse_entry(struct c2_slice record, struct store_entry *ret_entry);
/* Sets the key, or removes it (e == NULL, absent is fine), with everything that depends on it: the
 * session's index, the digest's dirty mark, the undo list. e->value must not lie in a table. May
 * set the verdict, then nothing was changed. */
C2_RESULT store_change(struct store_batch *b, struct c2_slice key, const struct store_entry *e);
/* Writes or removes (e == NULL) the key's record and its place in the index of its session, and
 * nothing else that depends on it. last: the key is behind all others. */
C2_RESULT store_write_entry(struct store_batch *b, struct c2_slice key, uint64_t old_session,
                            const struct store_entry *e, bool last);
void store_event(struct store_batch *b, struct c2_slice key, bool deleted);
/* C2_E_NOT_FOUND: not alive. */
C2_RESULT store_get_session(struct kv_txn *txn, uint64_t id, struct store_session *ret_session);
/* Replaces or makes a session; moves its place in KV_EXPIRY. */
C2_RESULT store_put_session(struct store_batch *b, uint64_t id, const struct store_session *s);
/* Removes the session and its ephemeral keys. */
C2_RESULT store_end_session(struct store_batch *b, uint64_t id);
/* When a session that is heard of now ends; never C2_NEVER. */
uint64_t store_deadline(uint64_t now_ns, uint64_t ttl_ns);
/* C2_NEVER when there is no session. */
C2_RESULT store_next_deadline(struct kv_txn *txn, uint64_t *ret_ns, uint64_t *ret_session);

/* store_log.c */
C2_RESULT store_log_append(struct store_batch *b, struct c2_slice cmd);
C2_RESULT store_log_read(struct kv_txn *txn, const struct coord_req *r, struct c2_buf *log,
                         bool *ret_more);
C2_RESULT store_log_trim(struct store_batch *b, uint64_t upto, bool *ret_more);

/* store_digest.c */
/* Must come before a key changes: remembers what stands for it in the digest tree. */
C2_RESULT store_mark_dirty(struct store_batch *b, struct c2_slice key,
                           const struct store_entry *old);
/* Brings the digest tree up to date. */
C2_RESULT store_fold(struct store_batch *b);
/* The hash of one key's record, as it is in the digest tree. */
void store_entry_hash(struct c2_slice key, const struct store_entry *e, uint8_t out[32]);

/* Entries of a leaf, hashed all at once: each is a record of its hash, and what that is the hash
 * of: u64 version, u64 session, u32 length of the key, key, value. */
#define STORE_HASHED_VERSION_AT 32
#define STORE_HASHED_SESSION_AT 40
#define STORE_HASHED_LENGTH_AT  48
#define STORE_HASHED_KEY_AT     52

struct store_hashed {
    struct c2_buf bytes; /* owned; the records one behind the other */
    size_t end[TREE_LEAF_MAX];
    size_t count;
};

/* No more than TREE_LEAF_MAX. */
void store_hashed_add(struct store_hashed *h, struct c2_slice key, const struct store_entry *e);
void store_hashed_compute(struct store_hashed *h);
/* Borrowed until the next is added. */
struct c2_slice store_hashed_at(const struct store_hashed *h, size_t i);
/* The record's key and entry, borrowed from it. */
struct c2_slice store_hashed_entry(struct c2_slice record, struct store_entry *ret_entry);
void store_hashed_clear(struct store_hashed *h);
void store_hashed_done(struct store_hashed *h);
C2_RESULT store_checkpoint(struct replica_app *a, uint64_t *ret_version, uint8_t digest[32]);
C2_RESULT store_digest(struct replica_batch *b, uint8_t digest[32]);

/* What the digest is the hash of. */
struct store_head {
    uint64_t version;
    uint64_t now_ns;
    uint64_t nkeys;
    uint8_t root[32];
    struct c2_slice sessions; /* u64 big-endian id, u64 ttl, u64 deadline; repeated */
};

void store_head_digest(const struct store_head *h, uint8_t out[32]);
/* Everything but the sessions, which are appended to the list. */
C2_RESULT store_read_head(struct kv_txn *txn, const struct store_state *s, struct store_head *h,
                          struct c2_buf *sessions);

/* store_part.c */
/* A leaf's key in KV_LEAF: its first half. */
struct c2_slice store_leaf_half(const uint8_t hash[32]);
/* The key of the entry that is the leaf. */
C2_RESULT store_leaf_key(struct kv_txn *txn, const uint8_t hash[32], struct c2_slice *ret_key);
C2_RESULT store_index_leaf(struct store_batch *b, const uint8_t hash[32], struct c2_slice key,
                           bool add);
C2_RESULT store_put_system(struct replica_batch *b, struct c2_slice key,
                           const struct c2_slice *value);
C2_RESULT store_list_system(struct replica_app *a, struct c2_buf *out, bool *ret_complete);
C2_RESULT store_part(struct replica_app *a, const struct replica_part *p, struct c2_buf *out);
C2_RESULT store_parse_head(struct c2_slice bytes, struct store_head *h);
/* The record of an ENTRY: key, version, session, value. */
C2_RESULT store_parse_part_entry(struct c2_slice bytes, struct c2_slice *ret_key,
                                 struct store_entry *ret_entry);

/* store_fetch.c */
C2_RESULT store_fetch_begin(struct replica_app *a, const uint8_t digest[32]);
C2_RESULT store_fetch_want(struct replica_app *a, size_t max, struct c2_buf *out, bool *ret_done);
C2_RESULT store_fetch_put(struct replica_app *a, uint8_t kind, const uint8_t hash[32],
                          struct c2_slice bytes);
void store_fetch_free(struct store *s);

/* store_merge.c: entries that were fetched, until they are in the tables. */
struct store_merge *store_merge_new(struct store *s);
void store_merge_free(struct store_merge *m); /* NULL is fine */
/* A record of store_hashed, of which the session is there, and no version above the state's. Adds
 * to ret_changed what it changes in the tables at once, as bytes. */
C2_RESULT store_merge_add(struct store_merge *m, struct store_batch *b, struct c2_slice record,
                          size_t *ret_changed);
/* What is there should be put in place before there is more. */
bool store_merge_is_full(const struct store_merge *m);
/* There is something to put in place, or to put right. */
bool store_merge_is_due(const struct store_merge *m, const struct store_batch *b);
/* A batch was lost, or a process: what was begun begins again. */
C2_RESULT store_merge_again(struct store_merge *m);
/* One piece of the work, to be committed before the next; ret_done: nothing is left to do. */
C2_RESULT store_merge_step(struct store_merge *m, struct store_batch *b, bool *ret_done);

/* store_read.c */
C2_RESULT store_read(struct replica_batch *b, const struct replica_client *by, struct c2_slice cmd,
                     struct c2_buf *reply);
C2_RESULT store_query(struct replica_app *a, const struct replica_client *by, struct c2_slice cmd,
                      struct c2_buf *reply);

/* store_acl.c */
/* How often the list has changed. */
C2_RESULT store_acl_changes(struct kv_txn *txn, uint64_t *ret_changes);
/* Whether the client may have this command done: OK, or why not, in ret_verdict. */
C2_RESULT store_acl_check(struct store *s, struct kv_txn *txn, const struct replica_client *by,
                          const struct coord_req *r, enum c2_err *ret_verdict);
/* ACL_SET. */
C2_RESULT store_acl_set(struct store_batch *b, const struct coord_req *r);
/* ACL_LIST: the entries in which the client has a right. */
C2_RESULT store_acl_list(struct kv_txn *txn, const struct replica_client *by,
                         const struct coord_req *r, struct c2_buf *reply, struct cmd_reply *head);
C2_RESULT store_acl(struct replica_batch *b, struct c2_buf *out);
/* What is in the tables is not what it was. */
void store_acl_forget(struct store *s);
/* Makes who gives the command the owner of a new session; QUOTA in the verdict when it has too
 * many. */
C2_RESULT store_own_session(struct store_batch *b, uint64_t id);
/* Whether the client may use the session, as far as others are concerned. */
C2_RESULT store_session_is_of(struct kv_txn *txn, const struct replica_client *by, uint64_t id,
                              bool *ret_is);
/* The session has ended. */
C2_RESULT store_disown_session(struct store_batch *b, uint64_t id);

/* store_dump.c */
C2_RESULT store_dump(struct replica_app *a, enum c2_err (*fn)(void *arg, struct c2_slice chunk),
                     void *arg, uint64_t *ret_version);
C2_RESULT store_restore(struct replica_app *a, struct c2_slice chunk);

/* store.c, for the restore: a batch on a store that may be loading. */
C2_RESULT store_batch_begin(struct store *s, struct store_batch **ret_batch);

#endif
