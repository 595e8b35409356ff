/* SPDX-License-Identifier: MIT */
/*
 * DepSky data units: named, versioned values with signed metadata in every cloud, for whatever has
 * no trusted place that could hold a hash (Bessani et al., EuroSys 2011, §2.3 and §3). Both
 * published protocols: DepSky-A stores the value as it is in every cloud, DepSky-CA stores it
 * encrypted, erasure-coded and with its key shared. docs/depsky.md has the protocol and the
 * reasons, docs/formats.md every byte.
 *
 * A unit is a single-writer multi-reader regular register over n >= 3f+1 clouds, f of which may
 * be Byzantine: a read that follows a completed write returns it or a newer one, and never bytes
 * that no trusted writer wrote. When more than f clouds are faulty it may return nothing; an older
 * version it can only return when more than f clouds hide the newest one in their lists, however
 * many are unreachable or damaged. Writers may crash at any point. Several writers take turns with
 * the unit's lock.
 *
 * Requests are the caller's from start until done; done runs exactly once, never from inside
 * start. A draining client ends them soon, without success.
 */
#ifndef C2_DEPSKY_UNIT_H
#define C2_DEPSKY_UNIT_H

#include "depsky/depsky.h"

#define DS_UNIT_NAME_MAX     64 /* A-Z a-z 0-9 . _ -, not beginning with a dot */
#define DS_UNIT_VERSIONS_MAX 64 /* that a unit remembers */
#define DS_UNIT_WRITERS_MAX  16
#define DS_UNIT_SEED_LEN     32
#define DS_UNIT_PUBLIC_LEN   32
#define DS_UNIT_SECRET_LEN   64
#define DS_UNIT_HASH_LEN     32
#define DS_UNIT_RND_LEN      8
#define DS_UNIT_SIG_LEN      64

/* Ed25519 keys of a writer from 32 secret random bytes. */
void ds_unit_keypair(const uint8_t seed[DS_UNIT_SEED_LEN], uint8_t secret[DS_UNIT_SECRET_LEN],
                     uint8_t public_key[DS_UNIT_PUBLIC_LEN]);

enum ds_unit_protocol {
    DS_UNIT_A,  /* replicated and readable by each cloud; any one correct cloud restores it */
    DS_UNIT_CA, /* confidential; f+1 clouds restore it. Keys and code as in ds_config */
};

struct ds_unit_config {
    const char *name;
    const uint8_t (*writers)[DS_UNIT_PUBLIC_LEN]; /* whose signatures count; copied */
    size_t nwriters;
    const uint8_t *secret; /* DS_UNIT_SECRET_LEN bytes, copied; its public half is in `writers`.
                            * NULL = reads only */
    bool single_writer;    /* nobody else ever writes: writing needs no lock. Without it, write, gc
                            * and delete fail with FENCED unless the lock is held */
    uint64_t session; /* who we are for the lock: handles with the same one share it. 0 = random */
    uint64_t skew_ns; /* most that two clouds' clocks may differ; 0 = 5 s */
};

struct ds_unit;

/* The client is borrowed. INVALID: name or keys. */
C2_RESULT ds_unit_open(struct ds_client *c, const struct ds_unit_config *config,
                       struct ds_unit **ret_unit);
void ds_unit_close(struct ds_unit *u); /* no request outstanding; NULL is fine. Keeps the lock */
/* The session's number, for a handle of another process that shares the lock. */
uint64_t ds_unit_session(const struct ds_unit *u);
bool ds_unit_name_valid(const char *name);

struct ds_unit_version {
    uint64_t version; /* grows; an attempt that failed leaves a gap */
    enum ds_unit_protocol protocol;
    uint64_t size;
    uint64_t time_ns; /* wall clock, as the writer knew it */
    uint8_t writer[DS_UNIT_PUBLIC_LEN];
    uint8_t hash[DS_UNIT_HASH_LEN]; /* A: SHA-256 of the value; CA: of all block hashes, the root
                                     * of docs/formats.md §3.1 */
    uint32_t placed;                /* seats that had acknowledged the value */
    /* where it is */
    uint8_t rnd[DS_UNIT_RND_LEN];
    uint8_t sig[DS_UNIT_SIG_LEN];
    uint32_t key_epoch, domain_id;
};

/* ---- write ----------------------------------------------------------------------------- */

struct ds_unit_write {
    enum ds_unit_protocol protocol;
    const struct c2_slice *data; /* pieces of the value, 0..DS_OBJECT_SIZE_MAX bytes together;
                                  * borrowed until done */
    size_t ndata;
    unsigned keep; /* versions the unit remembers from now on, this one included; 0 = as many as it
                    * can. ds_unit_gc frees the others */
    void (*done)(struct ds_unit_write *w);

    /* out: OK; QUORUM (fewer than n-f clouds; the value may or may not appear later, but never
     * after a later write of this unit); TOO_LARGE; FENCED (the lock is not held, or was lost
     * before the value could be published: nothing is visible); KEY (somebody whom we do not trust
     * writes this unit); NOT_PERMITTED (no secret key); BUSY (this handle writes already);
     * CANCELED */
    enum c2_err err;
    struct ds_unit_version written; /* out */
    uint32_t published;             /* out: seats that acknowledged the metadata */
    void *priv;
};

void ds_unit_write_start(struct ds_unit *u, struct ds_unit_write *w);

/* ---- read ------------------------------------------------------------------------------ */

struct ds_unit_read {
    uint64_t version;  /* one of those the unit remembers; 0 = the latest */
    uint64_t at_least; /* the caller knows of this version; an older answer is an error */
    void (*done)(struct ds_unit_read *r);

    /* out: OK; NOT_FOUND (n-f clouds answered, and there is no such unit or version); QUORUM (fewer
     * than n-f clouds gave the signed metadata of the newest version they list, or too few a block
     * of the value that verifies); KEY (written by somebody whom we do not trust); CANCELED */
    enum c2_err err;
    struct c2_blob *data;         /* out: the caller's */
    struct ds_unit_version found; /* out */
    void *priv;
};

void ds_unit_read_start(struct ds_unit *u, struct ds_unit_read *r);

/* ---- versions -------------------------------------------------------------------------- */

/* What the latest metadata tells; no value is read. */
struct ds_unit_versions {
    void (*done)(struct ds_unit_versions *v);
    enum c2_err err;               /* out: as for read; NOT_FOUND: no such unit */
    struct ds_unit_version *items; /* out: newest first, the caller's (c2_free) */
    size_t nitems;
    void *priv;
};

void ds_unit_versions_start(struct ds_unit *u, struct ds_unit_versions *v);

/* ---- lock ------------------------------------------------------------------------------ */

#define DS_UNIT_LEASE_NS     (60 * C2_NS_PER_S)
#define DS_UNIT_LEASE_MAX_NS (24 * 3600 * C2_NS_PER_S)

/*
 * The paper's low-contention lock (§3.5): it ends by itself when the lease is over, by the clouds'
 * clocks. It is safe whoever crashes; two writers who try at the same moment may both have to try
 * again.
 */
struct ds_unit_lock {
    uint64_t lease_ns; /* 0 = DS_UNIT_LEASE_NS; at least three times the skew */
    uint64_t wait_ns;  /* go on trying for so long; 0 = one attempt */
    void (*done)(struct ds_unit_lock *l);

    /* out: OK; BUSY (somebody else has it, or tries at the same time); QUORUM; FENCED (renewal:
     * the lock was lost before); NOT_PERMITTED (no secret key); INVALID (the lease); CANCELED */
    enum c2_err err;
    uint64_t expires_wall_ns;           /* out: OK: when it ends; BUSY: when the other's ends */
    uint8_t holder[DS_UNIT_PUBLIC_LEN]; /* out: BUSY: whose key signed it */
    void *priv;
};

/* One lock, renewal or unlock at a time per handle; another one gets BUSY. */
void ds_unit_lock_start(struct ds_unit *u, struct ds_unit_lock *l);
/* A longer lease for a lock that is held; wait_ns is not used. */
void ds_unit_renew_start(struct ds_unit *u, struct ds_unit_lock *l);
bool ds_unit_locked(const struct ds_unit *u); /* held, and not yet over */

struct ds_unit_unlock {
    bool whole_session; /* also what other handles of this session hold, in other processes too;
                         * then nothing needs to be held here */
    void (*done)(struct ds_unit_unlock *l);
    enum c2_err err; /* out: OK (a cloud that was away may show it until it expires); QUORUM: fewer
                      * than n-f clouds have heard of it; FENCED: it was not held; NOT_PERMITTED (no
                      * secret key); BUSY */
    void *priv;
};

void ds_unit_unlock_start(struct ds_unit *u, struct ds_unit_unlock *l);

/* ---- garbage and deletion -------------------------------------------------------------- */

/*
 * Forgets all versions but the newest ones, in the metadata first, then deletes their values,
 * older metadata, what writers left behind that crashed, and locks that are over.
 */
struct ds_unit_gc {
    unsigned keep; /* 1..DS_UNIT_VERSIONS_MAX */
    void (*done)(struct ds_unit_gc *g);

    enum c2_err err;    /* out: as for write; NOT_FOUND: no such unit */
    unsigned forgotten; /* out: versions */
    size_t removed;     /* out: objects, the same one in several clouds counted once */
    uint32_t confirmed; /* out: seats that have deleted all of them; the others' next time */
    void *priv;
};

void ds_unit_gc_start(struct ds_unit *u, struct ds_unit_gc *g);

/* Everything. What is left is a signed note that the unit is deleted, so that a cloud which was
 * away cannot bring it back; it can be written again. `keep` is not used. */
void ds_unit_delete_start(struct ds_unit *u, struct ds_unit_gc *g);

/* ---- all units ------------------------------------------------------------------------- */

/* Names that at least one of n-f clouds lists, deleted units and lies of f clouds included: a
 * read tells. */
struct ds_unit_list {
    void (*done)(struct ds_unit_list *l);
    enum c2_err err;                     /* out: OK, QUORUM */
    char (*names)[DS_UNIT_NAME_MAX + 1]; /* out: sorted, the caller's (c2_free) */
    size_t nnames;
    void *priv;
};

void ds_unit_list_start(struct ds_client *c, struct ds_unit_list *l);

#endif
