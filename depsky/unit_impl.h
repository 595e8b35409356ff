/* SPDX-License-Identifier: MIT */
/*
 * Private to depsky/unit*.c: names, metadata, and the three quorum phases of which reads, writes,
 * locks and collections are made.
 *
 * All that a unit stores is written once under a name of its own and never overwritten, so no
 * late PUT can bring back an old state:
 *
 *   v1/<vol8>/u/<unit>/v/<name>   a value: the value itself (A), a share (CA), or nothing: a claim
 *   v1/<vol8>/u/<unit>/m/<name>   the metadata of one revision
 *   v1/<vol8>/u/<unit>/l/<name>   a lock, empty: all of it is in its name
 *
 *   <name> = <~number, 16 hex>-<random, 16 hex>-<signature, 128 hex>
 *
 * The number is inverted, so the newest comes first in every list. The signature makes the name a
 * claim that no cloud can forge: "writer W began revision NUMBER of this unit". A value is stable
 * before its metadata is written, so whoever lists the values of n-f clouds sees every revision
 * that any cloud may have metadata of, and no revision is used twice.
 */
#ifndef C2_DEPSKY_UNIT_IMPL_H
#define C2_DEPSKY_UNIT_IMPL_H

#include "depsky/client.h"
#include "depsky/unit.h"

#define UNIT_NAME_LEN   (16 + 1 + 16 + 1 + 2 * DS_UNIT_SIG_LEN)
#define UNIT_PREFIX_MAX 128
#define UNIT_META_MAX   16384 /* bytes of encoded metadata */

enum unit_folder { UNIT_LOCK = 'l', UNIT_META = 'm', UNIT_VALUE = 'v' }; /* in the order of lists */

/* What a name says. For locks the number is the time of expiry and rnd the session. */
struct unit_id {
    uint64_t number;
    uint8_t rnd[DS_UNIT_RND_LEN];
    uint8_t sig[DS_UNIT_SIG_LEN];
};

/* One revision of the metadata: the catalogue of the versions that the unit remembers. */
struct unit_meta {
    struct unit_id id;
    uint64_t time_ns;
    uint8_t writer[DS_UNIT_PUBLIC_LEN];
    bool deleted;
    unsigned count;
    struct ds_unit_version version[DS_UNIT_VERSIONS_MAX]; /* newest first */
};

struct unit_tenure {
    bool held;
    uint64_t number;          /* counts how often it was taken; a renewal goes on with the same */
    struct unit_id id;        /* of the lock object we wrote last; number 0 = none */
    uint64_t until_ns;        /* monotonic: not ours any more from here on */
    uint64_t until_wall_ns;   /* the same by the wall clock, which goes on while we are suspended */
    uint64_t expires_wall_ns; /* as the clouds know it */
    uint64_t clock_high;      /* the clouds' clock minus our monotonic one, at most */
};

struct ds_unit {
    struct ds_client *c; /* borrowed */
    char name[DS_UNIT_NAME_MAX + 1];
    uint8_t (*writers)[DS_UNIT_PUBLIC_LEN]; /* owned */
    size_t nwriters;
    uint8_t *secret;           /* owned, in the secret arena; NULL = reads only */
    const uint8_t *public_key; /* into writers; NULL = reads only */
    bool single_writer;
    uint64_t session;
    uint64_t skew_ns;
    struct unit_meta *known; /* owned: the latest that was verified; revision 0 = none */
    struct unit_id proved[DS_SEATS_MAX]; /* whose metadata each seat gave, or acknowledged, last */
    uint64_t used;                       /* no revision up to here may be used again */
    bool fresh;   /* the lock has been held since `known` was read from n-f clouds */
    bool writing; /* a write, collection or deletion is under way */
    bool locking;
    unsigned requests; /* outstanding */
    struct unit_tenure lock;
};

/* ---- unit.c ---------------------------------------------------------------------------- */

void unit_request_begin(struct ds_unit *u);
void unit_request_end(struct ds_unit *u);
/* Whether a writing operation that began in this tenure may go on: OK or FENCED. */
enum c2_err unit_may_write(const struct ds_unit *u, uint64_t tenure);
/* The lock is held and will not have expired within the next moment. */
bool unit_lock_valid(const struct ds_unit *u);
/* Begins a writing operation: OK, or why not. */
enum c2_err unit_writing_begin(struct ds_unit *u);
void unit_writing_end(struct ds_unit *u);
/* A fresh attempt: a number that was never used, random bytes, our signature. */
struct unit_id unit_next_id(struct ds_unit *u);
/* The wall clock of the clouds as far as we know it. */
uint64_t unit_wall_ns(const struct ds_unit *u);
/* What is known is never replaced by something older. `seats` have this metadata. */
void unit_learn(struct ds_unit *u, const struct unit_meta *m, uint32_t seats);
/* The id of a coded value. */
struct ds_oid unit_oid(const struct ds_unit_version *v);

/* ---- names (unit_name.c) --------------------------------------------------------------- */

/* "v1/<vol8>/u/": all units. */
void unit_root(const struct ds_client *c, char out[UNIT_PREFIX_MAX]);
/* "v1/<vol8>/u/<unit>/m/" */
void unit_prefix(const struct ds_unit *u, enum unit_folder folder, char out[UNIT_PREFIX_MAX]);
void unit_key(const struct ds_unit *u, enum unit_folder folder, const struct unit_id *id,
              char out[PROV_KEY_MAX]);
/* Fills in id->sig. The handle has a secret. */
void unit_id_sign(const struct ds_unit *u, enum unit_folder folder, struct unit_id *id);
/* `name` is what follows the folder's prefix. False: not a name of ours. Proves nothing. */
bool unit_id_parse(const char *name, struct unit_id *ret_id);
/* The writer who signed it, NULL when nobody we trust did. */
const uint8_t *unit_id_signer(const struct ds_unit *u, enum unit_folder folder,
                              const struct unit_id *id);
bool unit_id_equal(const struct unit_id *a, const struct unit_id *b);
/* By number, then by the random bytes. */
int unit_id_compare(const struct unit_id *a, const struct unit_id *b);

/* ---- metadata (unit_meta.c) ------------------------------------------------------------ */

/* Signed by the handle's writer. One reference. */
struct c2_blob *unit_meta_encode(const struct ds_unit *u, const struct unit_meta *m);
/* Any bytes: verifies the signature before anything behind it is interpreted. *ret_meta is
 * untouched on failure. CORRUPT, KEY (well-formed, but by nobody we trust), PARSE, VERSION. */
C2_RESULT unit_meta_decode(const struct ds_unit *u, struct c2_slice in, struct unit_meta *ret_meta);

/* ---- phase 1: what the clouds know (unit_query.c) -------------------------------------- */

struct unit_query {
    struct ds_unit *u;
    bool claims; /* also the highest revision that was begun: for writers */
    void (*done)(struct unit_query *q);

    enum c2_err err; /* out: OK (u->known and u->used tell what was found), QUORUM, KEY */

    struct query_seat { /* private */
        struct unit_query *q;
        unsigned index;
        enum query_state { QUERY_ASKED, QUERY_ANSWERED, QUERY_FAILED } meta, claim;
        bool foreign; /* shows names that nobody we trust has signed */
        unsigned tries;
        struct unit_id id; /* whose metadata it was asked for */
        struct ds_call *meta_call, *claim_call;
    } seat[DS_SEATS_MAX];
    bool over;
    struct c2_task task;
};

/* The struct may be freed in done. */
void unit_query_start(struct unit_query *q);

/* ---- phase 2: the same bytes to n-f clouds (unit_put.c) -------------------------------- */

struct unit_put {
    struct ds_unit *u;
    char key[PROV_KEY_MAX];
    struct c2_blob *body;  /* a reference of the put's own, released by it */
    const uint8_t *sha256; /* of the body, or NULL; borrowed until done */
    bool preferred; /* the n-f best first, the others when one fails or is late; else all at once */
    void (*done)(struct unit_put *p);

    enum c2_err err; /* out: OK, QUORUM */
    uint32_t placed; /* out */

    struct put_seat { /* private */
        struct unit_put *p;
        unsigned index;
        enum put_state { PUT_IDLE, PUT_SENT, PUT_ACKED, PUT_FAILED } state;
        bool late;
        struct ds_call *call;
        struct c2_timer hedge;
    } seat[DS_SEATS_MAX];
    struct c2_task task;
};

/* The struct may be freed in done. */
void unit_put_start(struct unit_put *p);
/* The metadata of a revision whose value, or claim, is stable; to all clouds. */
void unit_meta_put(struct ds_unit *u, const struct unit_meta *m, struct unit_put *p,
                   void (*done)(struct unit_put *p));

/* ---- phase 3: a replicated value (unit_get.c) ------------------------------------------ */

struct unit_get {
    struct ds_unit *u;
    const struct ds_unit_version *version; /* borrowed; protocol A, size > 0 */
    void (*done)(struct unit_get *g);

    enum c2_err err;      /* out: OK, NOT_FOUND (gone from so many that no write of it is whole),
                           * QUORUM */
    struct c2_blob *data; /* out: the caller's */

    struct get_a_seat { /* private */
        struct unit_get *g;
        unsigned index;
        enum get_a_state { GET_IDLE, GET_ASKED, GET_HASHING, GET_ABSENT, GET_FAILED } state;
        bool late;
        struct ds_call *call;
        struct c2_timer hedge;
        struct c2_work work;
        struct c2_blob *blob;
        bool good; /* set on the pool */
    } seat[DS_SEATS_MAX];
    char key[PROV_KEY_MAX];
    struct c2_task task;
};

/* The struct may be freed in done. */
void unit_get_start(struct unit_get *g);

/* ---- lists (unit_names.c) -------------------------------------------------------------- */

struct unit_name {
    char *text;     /* owned: the key, or the unit's name */
    uint32_t seats; /* who lists it */
};

struct unit_names {
    struct ds_client *c;
    char prefix[UNIT_PREFIX_MAX]; /* what to list */
    bool units;                   /* the prefix is unit_root: names of units instead of keys */
    uint64_t grace_ns; /* how long to wait for stragglers after the n-f'th complete list */
    void (*done)(struct unit_names *n);

    enum c2_err err;         /* out: OK, QUORUM */
    struct unit_name *items; /* out: sorted; unit_names_free */
    size_t nitems;
    /* out: clouds' clock minus our monotonic one, at least and at most; modulo 2^64 */
    uint64_t clock_low, clock_high;

    struct names_seat { /* private */
        struct unit_names *n;
        unsigned index;
        bool complete;
        struct ds_call *call;
        struct unit_name *items;
        size_t count, cap;
        unsigned pages;
        uint64_t clock_low, clock_high;
        char after[PROV_KEY_MAX + 1];
    } seat[DS_SEATS_MAX];
    struct c2_timer grace;
    struct c2_task task;
};

/* The struct may be freed in done. */
void unit_names_start(struct unit_names *n);
void unit_names_free(struct unit_names *n); /* the items */

/*
 * Deletes keys on every occupied seat, in batches. Takes the array and its texts. done (may be
 * NULL) hears which seats have confirmed all, and whether these are all there are.
 */
void unit_purge(struct ds_client *c, char **keys, size_t nkeys,
                void (*done)(void *arg, uint32_t confirmed, bool all), void *arg);

#endif
