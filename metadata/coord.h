/* SPDX-License-Identifier: MIT */
/*
 * The coordination service: an ordered key-value store with multi-key conditional transactions,
 * sessions, ephemeral keys and watches. Keys and values are opaque bytes. Two implementations,
 * local: (embedded, on LMDB) and bft: (replicated), behave the same.
 *
 * Every successful transaction gets the next sequence number; a key's version is the number of
 * the transaction that changed it last. A lock is an ephemeral key; its version is the fencing
 * token, and a commit that lists "version(lock) == token" among its conditions can never be made
 * by a stale holder.
 *
 * Caller owns the request until done; done runs exactly once, on the loop, never from inside
 * submit. A cancelled request completes with CANCELED unless it is being applied already, then with
 * its own result, or with TIMEOUT when a replicated service does not give that soon. A completed
 * TXN is durable. Reads are linearizable: they see every transaction completed before they were
 * submitted.
 */
#ifndef C2_METADATA_COORD_H
#define C2_METADATA_COORD_H

#include "base/env.h"

#define COORD_KEY_MAX          500 /* LMDB's limit is 511, less 8 for the session index */
#define COORD_VALUE_MAX        (64u << 10)
#define COORD_TXN_BYTES_MAX    (1u << 20) /* encoded */
#define COORD_TXN_OPS_MAX      4096
#define COORD_TXN_CONDS_MAX    256
#define COORD_RANGE_MAX        4096 /* entries in one answer */
#define COORD_REPLY_BYTES_MAX  (1u << 20)
#define COORD_LOG_BYTES_MAX    (COORD_TXN_BYTES_MAX + 64) /* LOG_READ with one big entry */
#define COORD_GET_KEYS_MAX     1024
#define COORD_DELETE_RANGE_MAX 4096
#define COORD_TXN_CHANGES_MAX  8192        /* keys one transaction may change */
#define COORD_REPLACED_MAX     (32u << 20) /* bytes one transaction may overwrite or delete */
#define COORD_SESSIONS_MAX     16384
#define COORD_EPHEMERALS_MAX   COORD_TXN_CHANGES_MAX /* per session: they go in one step */
#define COORD_TTL_NS_MIN       C2_NS_PER_MS
#define COORD_TTL_NS_MAX       (7 * 24 * 3600 * C2_NS_PER_S)
#define COORD_SESSIONS_KEY     1024 /* of one principal */
#define COORD_PRINCIPAL_LEN    32   /* an Ed25519 public key */
#define COORD_ACL_PREFIX_MAX   (COORD_KEY_MAX - 2)
#define COORD_ACL_ENTRIES_MAX  1024
#define COORD_ACL_GRANTS_MAX   64 /* of one entry */

/* Keys have 1..COORD_KEY_MAX bytes, the first of them not 0xff; only the prefix of a RANGE may be
 * empty. */

enum coord_cond_kind {
    COORD_EXISTS,
    COORD_ABSENT,
    COORD_VERSION_EQ, /* key's version == number */
    COORD_VERSION_LE, /* key's version <= number; absent counts as 0 */
    COORD_VALUE_EQ,
    COORD_SESSION_ALIVE, /* session == number; key unused */
};

struct coord_cond {
    enum coord_cond_kind kind;
    struct c2_slice key;
    struct c2_slice value;
    uint64_t number;
};

enum coord_op_kind {
    COORD_PUT,           /* value; the key outlives any session from now on */
    COORD_DELETE,        /* absent is fine */
    COORD_DELETE_RANGE,  /* key = prefix; at most COORD_DELETE_RANGE_MAX keys, else TOO_LARGE; all
                          * operations together change COORD_TXN_CHANGES_MAX keys at most */
    COORD_ADD,           /* number is added to the key's little-endian signed 64-bit counter; absent
                          * counts as 0; RANGE when it overflows, INVALID when not 8 bytes */
    COORD_PUT_EPHEMERAL, /* number = session (SESSION when not alive), value; deleted in the step
                          * that ends the session */
};

struct coord_op {
    enum coord_op_kind kind;
    struct c2_slice key;
    struct c2_slice value;
    int64_t number;
};

enum coord_verb {
    COORD_TXN,
    COORD_GET,               /* keys[nkeys] -> entries in that order, absent keys have version 0;
                              * TOO_LARGE beyond COORD_REPLY_BYTES_MAX: ask for fewer */
    COORD_RANGE,             /* keys[0] = prefix, after, limit (0 = max) -> entries in key order */
    COORD_SESSION_OPEN,      /* ttl_ns -> session */
    COORD_SESSION_KEEPALIVE, /* session: lives ttl_ns from now; SESSION when it is not alive */
    COORD_SESSION_CLOSE,     /* session: its ephemeral keys go; SESSION when it is not alive */
    COORD_LOG_READ,          /* version_in = after, limit = bytes (0 = max): -> reply, at least one
                              * entry if there is one; NOT_FOUND when some were trimmed */
    COORD_LOG_TRIM,          /* version_in: entries up to it are stored elsewhere */
    COORD_EXPIRE,            /* ordered by the service itself, refused from anybody else: sessions
                              * past their deadline end */
    COORD_ACL_SET,           /* keys[0] = prefix, grants (none = remove the entry), version_in = the
                              * number of changes that the caller knows of, else CONFLICT; ->
                              * session = the new number */
    COORD_ACL_LIST,          /* after, limit (0 = max) -> session = the number of changes; entries:
                              * key = prefix, value = grants as COORD_GRANT_LEN bytes each */
};

/*
 * Who may do what, where the service has several clients (principals; a bft: service knows them by
 * their keys). An entry names a prefix and grants rights to principals; where several entries
 * cover a key, a principal has all that they give it. Keys that no entry covers are everybody's to
 * read and write. Whoever has COORD_MAY_ADMINISTER may change the grants of the entry, or of those
 * below it; making and removing entries takes the signature of the service's administrators.
 *
 * A request with one key that the caller may not touch does nothing: NOT_PERMITTED. Conditions
 * read. A RANGE needs the right to read all that may lie below its prefix. Watches do not show what
 * may not be read. A session belongs to the principal that opened it: for others it is not alive.
 */
#define COORD_MAY_READ       1u
#define COORD_MAY_WRITE      2u
#define COORD_MAY_ADMINISTER 4u
#define COORD_GRANT_LEN      (COORD_PRINCIPAL_LEN + 1)

/* Ascending by key. */
struct coord_grant {
    uint8_t key[COORD_PRINCIPAL_LEN];
    uint8_t rights; /* COORD_MAY_..., not 0 */
};

struct coord_entry {
    struct c2_slice key;   /* borrowed from the request's reply */
    struct c2_slice value; /* empty when absent */
    uint64_t version;      /* 0 = absent */
    uint64_t session;      /* of an ephemeral key, else 0 */
};

struct coord_req {
    enum coord_verb verb;
    const struct coord_cond *conds; /* borrowed until done, with the bytes behind it */
    size_t nconds;
    const struct coord_op *ops; /* borrowed until done, with the bytes behind it */
    size_t nops;
    const struct c2_slice *keys; /* borrowed until done, with the bytes behind it */
    size_t nkeys;
    const struct coord_grant *grants; /* borrowed until done */
    size_t ngrants;
    struct c2_slice
        after; /* RANGE, ACL_LIST: strictly after this full key; empty = from the start */
    size_t limit;
    uint64_t session;
    uint64_t ttl_ns;
    uint64_t version_in;
    uint64_t deadline_ns; /* C2_NEVER or 0 = wait */
    void (*done)(struct coord_req *r);

    /* out */
    enum c2_err err;             /* TXN: C2_E_CONFLICT when a condition failed */
    uint64_t version;            /* TXN: the new number; reads: the state they saw */
    uint64_t cond_failed;        /* TXN: index of the first condition that failed */
    struct coord_entry *entries; /* TXN conflict: current state of each failed condition's key, in
                                  * order, as far as COORD_REPLY_BYTES_MAX goes */
    size_t nentries;
    bool more;           /* the limit cut the answer */
    struct c2_buf reply; /* backing store of entries; for LOG_READ the log: u64 version, u32 len,
                          * len bytes (u64 agreed time, coord_txn_encode), repeated */

    struct c2_task task; /* private to the implementation */
    struct c2_link link; /* private to the implementation */
    void *priv;          /* private to the implementation */
};

/* Frees what a completed request holds; the struct stays the caller's. */
void coord_req_done(struct coord_req *r);

/* An event for every changed key under the prefix, in version order; `reload` = events were lost,
 * read the prefix again. Runs on the loop. */
struct coord_watch {
    struct c2_slice prefix; /* borrowed while watching */
    void (*event)(struct coord_watch *w, struct c2_slice key, uint64_t version, bool deleted);
    void (*reload)(struct coord_watch *w);
    struct c2_link link; /* private */
};

struct coord;

struct coord_ops {
    void (*submit)(struct coord *c, struct coord_req *r);
    void (*cancel)(struct coord *c, struct coord_req *r);
    void (*watch)(struct coord *c, struct coord_watch *w);
    void (*unwatch)(struct coord *c, struct coord_watch *w);
    void (*close)(struct coord *c); /* no request may be outstanding; watches end */
};

struct coord {
    const struct coord_ops *ops;
    struct c2_env *env;
    uint64_t txns; /* counters for tests and status */
    uint64_t reads;
};

/* Checked entry points. A request beyond a bound fails with TOO_LARGE through done. */
void coord_submit(struct coord *c, struct coord_req *r);
void coord_cancel(struct coord *c, struct coord_req *r);
void coord_watch(struct coord *c, struct coord_watch *w);
void coord_unwatch(struct coord *c, struct coord_watch *w);
void coord_close(struct coord *c); /* NULL is fine */

/* The canonical encoding of a request, of any verb: what is ordered, logged and shipped. */
void coord_txn_encode(const struct coord_req *r, struct c2_buf *out);

#endif
