/* SPDX-License-Identifier: MIT */
/*
 * DepSky-CA over n = 3f+1 providers, f of which may be Byzantine (Bessani et al., "DepSky:
 * Dependable and Secure Storage in a Cloud-of-Clouds", EuroSys 2011, §3.3-3.5; preferred quorums
 * §3.6). Objects are immutable: written once under a fresh id, verified on reading against a hash
 * that a trusted place holds (SCFS's consistency anchor). docs/formats.md has the share format.
 *
 * One loop thread owns a client and all its requests. Requests are caller-owned from start until
 * done; done runs exactly once, never from inside start. An acknowledged put has w = k + f
 * verified acks and stays readable with any f seats faulty in any way, lying acks included.
 */
#ifndef C2_DEPSKY_DEPSKY_H
#define C2_DEPSKY_DEPSKY_H

#include "backends/provider.h"
#include "base/env.h"

#define DS_SEATS_MAX           8
#define DS_F_MAX               2
#define DS_ROOT_LEN            32
#define DS_SEGMENT_SIZE        (64u << 10) /* plaintext per sealed segment */
#define DS_OBJECT_SIZE_MAX     (32u << 20) /* plaintext of one object */
#define DS_OBJECT_SIZE_DEFAULT (8u << 20)
#define DS_CUTS_MAX            8192 /* files in one pack */
#define DS_KEY_PREFIX_MAX      200

/* Written by one session only, never reused: (session, counter, random). 24 bytes encoded, BE. */
struct ds_oid {
    uint64_t sid;
    uint64_t seq;
    uint8_t rnd[8];
};

/* What a trusted place must remember of an object: 72 bytes encoded. */
struct ds_ref {
    struct ds_oid oid;
    uint8_t root[DS_ROOT_LEN];
    uint64_t plain_len;
    uint32_t key_epoch;
    uint32_t domain_id;
};

#define DS_REF_LEN 72
struct c2_rd;
void ds_ref_encode(const struct ds_ref *ref, struct c2_buf *out);
struct ds_ref ds_ref_decode(struct c2_rd *r); /* failure is sticky in r */

enum ds_kind {                     /* which folder of the bucket */
               DS_KIND_OBJECT,     /* <prefix>/v1/<vol8>/o/<sid16>/<seq16> */
               DS_KIND_JOURNAL,    /* <prefix>/v1/<vol8>/j/<gen8>/<seq16>: oid.sid = generation */
               DS_KIND_CHECKPOINT, /* <prefix>/v1/<vol8>/c/<gen8>/<seq16> */
};

enum ds_engine { DS_ENGINE_ISAL, DS_ENGINE_JERASURE };
enum ds_compress { DS_COMPRESS_NONE, DS_COMPRESS_ISAL, DS_COMPRESS_ZLIB };

struct ds_config {
    unsigned n, f;   /* n >= 3f+1; k = f+1, w = k+f are derived */
    unsigned voters; /* seats that belong to somebody, reachable or not; 0 = all n. Journal and
                      * checkpoints need so many acks that any two writers meet in f+1 seats */
    bool write_all;  /* redundancy = full: all n seats must be tried, w acks suffice */
    uint8_t volume[16];
    bool keyless;         /* plain DepSky-CA: content key from the shared secret alone */
    uint8_t data_key[32]; /* domain epoch key, mixed with each object's secret */
    uint32_t key_epoch, domain_id, config_epoch;
    enum ds_engine engine;
    enum ds_compress compress;
    uint64_t put_hedge_min_ns; /* spare seat starts after max(p95, this); default 2 s */
    uint64_t get_hedge_min_ns; /* default 200 ms */
    unsigned hedge_percent;    /* most requests more, of all, that are sent because others are late;
                                * default 5. What takes the place of a failed one does not count */
    /* Per attempt on one seat, and 1 s more for each 64 KiB of body up to 16 MiB: slow lines are no
     * faults. A put that persists gives the next attempt twice as long. Default 60 s and 30 s. */
    uint64_t put_timeout_ns;
    uint64_t get_timeout_ns;
    size_t header_cache_max; /* verified share headers kept; default 4096 */
};

void ds_config_default(struct ds_config *c); /* n = 4, f = 1 and the times above */

struct ds_client;

/* seats[i] occupies seat i; borrowed, NULL = an empty seat. The config is copied. */
C2_RESULT ds_client_new(struct c2_env *env, const struct ds_config *config,
                        struct provider *const *seats, struct ds_client **ret_client);
void ds_client_free(struct ds_client *c); /* no request outstanding; stragglers are cancelled by
                                           * ds_client_drain first */
/* Cancels stragglers (a late fourth PUT) and calls done when none is left. Lists, deletes, probes,
 * checks and rebuilds that are still running end soon, without success. */
void ds_client_drain(struct ds_client *c, void (*done)(void *arg), void *arg);

/* ---- changing seats while the client works ------------------------------------------------- */

enum ds_seat_use {
    DS_USE_ALL,
    DS_USE_NEW,  /* written; read only when no other seat helps: shares are still being moved in */
    DS_USE_READ, /* no new objects */
    DS_USE_OFF,  /* not asked for anything, as if the seat were empty */
    DS_USE_GONE, /* it is empty, for good: as OFF, and nobody waits for what was there */
};

/* This provider is in the seat from now on; NULL only if there was none. Requests that another one
 * has been sent end as they end; it may be closed when ds_client_uses says no. seat <= n: a new
 * last one. A seat that is to be empty stays occupied with DS_USE_GONE: operations that chose it
 * before may still have a request for it. */
void ds_client_set_seat(struct ds_client *c, unsigned seat, struct provider *p,
                        enum ds_seat_use use);
/* Objects are written under this epoch from now on. */
void ds_client_set_epoch(struct ds_client *c, unsigned voters, uint32_t config_epoch);
/* Seats that belong to another provider than at an earlier moment, or are being left since: that a
 * share was put there before, or was not there, says nothing about the seat any more. */
uint64_t ds_client_changes(const struct ds_client *c); /* the moment */
uint32_t ds_client_changed(const struct ds_client *c, uint64_t since);
/* Whether new shares may be put into the seat. */
bool ds_client_seat_takes(const struct ds_client *c, unsigned seat);
bool ds_client_uses(const struct ds_client *c, const struct provider *p);

/* ---- put ------------------------------------------------------------------------------- */

struct ds_put {
    enum ds_kind kind;
    const char *key;   /* NULL: as kind and oid say. Else it, wherever that is; borrowed */
    struct ds_oid oid; /* fresh; never used before with other bytes */
    const struct c2_slice *data; /* plaintext pieces; borrowed until done */
    size_t ndata;
    const uint32_t *cuts; /* ascending plaintext offsets where another file begins: compression
                           * history is reset there; borrowed until done */
    size_t ncuts;
    bool
        persist; /* go on until w seats have acknowledged, paced by the seats' probes: QUORUM is
                  * never returned, only OK, CANCELED or a permanent error; seat_err and placed tell
                  * the progress meanwhile. The same sealed bytes are sent again, never new ones. */
    void (*done)(struct ds_put *p);

    /* out: OK; QUORUM (fewer than w acks); EXISTS (that, and more than f seats hold another object
     * under the key); CANCELED; INVALID or TOO_LARGE (an object has 1..DS_OBJECT_SIZE_MAX bytes) */
    enum c2_err err;
    struct ds_ref ref;                  /* out */
    uint32_t placed;                    /* out: bitmap of seats that acknowledged */
    uint64_t stored_bytes;              /* out: sum over acknowledged seats */
    enum c2_err seat_err[DS_SEATS_MAX]; /* out; AGAIN = was not needed */
    void *priv;
};

void ds_put_start(struct ds_client *c, struct ds_put *p);
/* done runs soon with C2_E_CANCELED unless the outcome was decided already. */
void ds_put_cancel(struct ds_client *c, struct ds_put *p);

/* ---- get ------------------------------------------------------------------------------- */

struct ds_get {
    enum ds_kind kind;
    const char *key;      /* as for put */
    struct ds_ref ref;    /* the anchor. root all zero and self_certified set: see below */
    bool self_certified;  /* take the root on which k seats agree; the CALLER must then authenticate
                           * the content (journal objects are signed inside) */
    uint32_t placed;      /* seats that should hold a share; 0 = unknown, all are asked in turn.
                           * Self-certified and no more than 2f: when these do not agree it was
                           * never written to the end, and that is NOT_FOUND */
    uint64_t offset, len; /* plaintext range; len 0 = to the end */
    void (*done)(struct ds_get *g);

    enum c2_err err;      /* out: OK; NOT_FOUND (so many say absent that fewer than k can have it);
                           * QUORUM; KEY;      CORRUPT (verified bytes that do not decrypt: the writer's
                           * fault); INVALID (a      reference that no object has) */
    struct c2_blob *data; /* out: exactly the range, cut at the object's end; the caller's */
    struct ds_ref ref_found; /* out: for self_certified */
    uint32_t seats_bad;      /* out: seats whose share was absent, corrupt or of another object */
    uint32_t seats_slow;     /* out: seats that failed or were late */
    void *priv;
};

void ds_get_start(struct ds_client *c, struct ds_get *g);
void ds_get_cancel(struct ds_client *c, struct ds_get *g);

/* ---- delete ---------------------------------------------------------------------------- */

struct ds_delete {
    enum ds_kind kind;
    const struct ds_oid *oids; /* borrowed; at most PROV_DELETE_MANY_MAX */
    size_t noids;
    void (*done)(struct ds_delete *d);
    enum c2_err err;    /* out: OK only when every occupied seat confirmed */
    uint32_t confirmed; /* out: bitmap of seats, those that are gone included */
    void *priv;
};

void ds_delete_start(struct ds_client *c, struct ds_delete *d);

/* ---- list ------------------------------------------------------------------------------ */

/* The (sid, seq) of journal or checkpoint objects of one generation, or of one session's objects:
 * the union over at least n-f seats that answered completely. */
struct ds_list {
    enum ds_kind kind;
    bool all_sids; /* false: only `sid` */
    uint64_t sid;
    uint64_t after_seq; /* with one sid: strictly after; UINT64_MAX = from the start */
    bool resume;        /* with all_sids: strictly after (sid, after_seq) */
    bool patient;       /* waits for every seat, at least as long as a request may take */
    bool background;    /* canceled when the client quiesces */
    uint32_t without;   /* seats that are not asked: they say too much */
    bool whole;         /* no correct seat has more than max: one that lists more has failed */
    size_t max;         /* stop after that many per seat: more = true */
    void (*done)(struct ds_list *l);
    enum c2_err err; /* out: OK, QUORUM */
    struct ds_list_item {
        uint64_t sid, seq;
        uint32_t seats; /* who lists it */
    } * items;          /* out: sorted, the caller's (c2_free) */
    size_t nitems;
    bool more;
    uint32_t answered; /* out: seats whose list is complete */
    void *priv;
};

void ds_list_start(struct ds_client *c, struct ds_list *l);

/* ---- check and rebuild: scrub, repair, change of a provider ---------------------------- */

/* Which seats hold their share. Every byte is read and verified; with headers_only the header, the
 * tables and, where the provider tells it, the length. */
struct ds_check {
    enum ds_kind kind;
    struct ds_ref ref;
    uint32_t seats; /* 0 = all occupied ones */
    bool headers_only;
    bool unsure; /* whether the seats should hold it is not known: one that does not is no worse */
    void (*done)(struct ds_check *k);
    /* out: bitmaps, disjoint, together the seats asked; unknown = could not be asked */
    uint32_t good, absent, bad, unknown;
    uint64_t bytes_read; /* out */
    void *priv;
};

void ds_check_start(struct ds_client *c, struct ds_check *k);

/*
 * Makes the share of one seat present and right on the seat's provider, replacing what is there.
 * The share is byte for byte what was first written: it follows from k other shares and is checked
 * against the object's root. Needs no key.
 */
struct ds_rebuild {
    enum ds_kind kind;
    struct ds_ref ref;
    unsigned seat;
    uint32_t placed;         /* seats that should hold a share; 0 = unknown */
    struct provider *source; /* asked first for that very share, unless k others are cheaper to
                              * read: the provider that leaves the seat; NULL = none. Borrowed until
                              * done */
    void (*done)(struct ds_rebuild *r);
    enum c2_err err; /* out: OK; NOT_FOUND, QUORUM, INVALID as for get (INVALID also when the object
                      * was written before the seat existed); else why the PUT failed */
    uint64_t bytes_read, bytes_written; /* out */
    void *priv;
};

void ds_rebuild_start(struct ds_client *c, struct ds_rebuild *r);

/* ---- health ---------------------------------------------------------------------------- */

enum ds_seat_state {
    DS_SEAT_EMPTY,
    DS_SEAT_ONLINE,
    DS_SEAT_DEGRADED, /* answers, but errors or missing shares were seen recently */
    DS_SEAT_UNREACH,  /* does not answer */
    DS_SEAT_SUSPECT,  /* returned bytes that fail verification */
    DS_SEAT_READONLY, /* answers and gives what it has, but refuses to store more: space, quota,
                       * rights */
};

const char *ds_seat_state_name(enum ds_seat_state s); /* "online" */

struct ds_seat_status {
    enum ds_seat_state state;
    const char *name; /* provider's, borrowed */
    uint64_t puts_ok, gets_ok;
    uint64_t errors;  /* failed or late requests */
    uint64_t absent;  /* shares that should be there and are not */
    uint64_t corrupt; /* shares that failed verification */
    uint64_t hedges;  /* requests that were late, so that another seat was asked as well */
    enum c2_err last_error;
    char last_detail[160];
    uint64_t last_ok_ns;            /* monotonic, 0 = never */
    const struct prov_stats *stats; /* may be NULL; borrowed */
};

unsigned ds_client_n(const struct ds_client *c);
unsigned ds_client_f(const struct ds_client *c);
/* Verified shares that a new object should have: w = k + f, or with write_all one in every seat
 * that takes them. */
unsigned ds_client_goal(const struct ds_client *c);
/* The same for one that is there: no more than it can have, since seats come and go. */
unsigned ds_client_goal_of(const struct ds_client *c, uint32_t placed);
/* The client is about to be drained: from now on checks, rebuilds and patient lists end soon,
 * without success. Puts and gets go on. */
void ds_client_quiesce(struct ds_client *c);
void ds_seat_status(const struct ds_client *c, unsigned seat, struct ds_seat_status *ret_status);

/* A seat gave something else than what was stored there. */
#define DS_EVIDENCE_MAX   64
#define DS_EVIDENCE_BYTES (64u << 10)
#define DS_EVIDENCE_KEY   80
struct ds_evidence {
    uint64_t wall_ns; /* the last time */
    uint64_t count;   /* the same bytes for the same object */
    unsigned seat;
    char provider[PROV_NAME_MAX];
    char key[DS_EVIDENCE_KEY];     /* of the object, without the provider's prefix */
    uint8_t expected[DS_ROOT_LEN]; /* the object's root; zero = it was not known */
    uint8_t found[32];             /* SHA-256 of the first DS_EVIDENCE_BYTES that came */
    uint64_t len; /* bytes that came; 0 = more than the object can have, or nothing */
};
/* The latest ones, oldest first; borrowed until the loop runs again. The version changes with them.
 */
const struct ds_evidence *ds_client_evidence(const struct ds_client *c, size_t *ret_n,
                                             uint64_t *ret_version);

/* Asks every occupied seat whether it answers (a tiny HEAD); updates the states. */
struct ds_probe {
    uint64_t patience_ns; /* a seat that is silent for so long counts as late; 0 = as long as a
                           * request may take */
    void (*done)(struct ds_probe *p);
    uint32_t answered; /* out */
    void *priv;
};
void ds_probe_start(struct ds_client *c, struct ds_probe *p);

/* What the first bytes of a share say of its volume and seat. They prove nothing: for finding out
 * how a volume lies in the clouds when nothing else knows any more. */
#define DS_SHARE_INFO_BYTES 512
struct ds_share_info {
    uint8_t volume[16];
    unsigned n, k, seat; /* f = k - 1 */
    bool keyless;
    uint32_t key_epoch, domain_id, config_epoch;
};
C2_RESULT ds_share_info(struct c2_slice head, struct ds_share_info *ret_info);

/* The key of an object in every bucket, without the provider's own prefix. */
void ds_object_key(const struct ds_client *c, enum ds_kind kind, struct ds_oid oid,
                   char out[PROV_KEY_MAX]);

#endif
