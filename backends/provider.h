/* SPDX-License-Identifier: MIT */
/*
 * One storage cloud: a flat map from keys to immutable byte strings.
 *
 * Contract of every implementation and layer:
 *  - The caller owns the request from submit until done; done runs exactly once, on the loop,
 *    never from inside submit or cancel, and is the last thing the provider does with it.
 *  - PUT is whole or nothing: a GET that succeeds sees all bytes of one PUT. With if_absent an
 *    existing key gives C2_E_EXISTS when the provider can tell (caps), else the flag is ignored.
 *    A successful PUT is one the cloud acknowledged with a checksum that matches where it gives
 * one.
 *  - GET of a range [offset, offset + len): len 0 = to the end; a range that starts at or after the
 *    end gives C2_E_RANGE; one that ends after it is cut. A body longer than body_len_max gives
 *    C2_E_TOO_LARGE and is not buffered further.
 *  - DELETE of an absent key succeeds. DELETE_MANY reports the first failure.
 *  - LIST gives keys in byte order, at most list_max, strictly after list_after; `truncated` tells
 *    whether more follow.
 *  - "Absent" (C2_E_NOT_FOUND) and "cannot tell" (UNREACHABLE, TIMEOUT, UNAVAILABLE, THROTTLED) are
 *    never confused.
 *  - Nothing a provider returns is trusted: callers verify hashes before they interpret bytes.
 */
#ifndef C2_BACKENDS_PROVIDER_H
#define C2_BACKENDS_PROVIDER_H

#include "base/env.h"

#define PROV_KEY_MAX         512
#define PROV_LIST_MAX        1000
#define PROV_NAME_MAX        64
#define PROV_DELETE_MANY_MAX 1000
#define PROV_LAYERS_MAX      6 /* depth of request contexts */

enum prov_verb {
    PROV_PUT,
    PROV_GET,
    PROV_HEAD,
    PROV_DELETE,
    PROV_DELETE_MANY,
    PROV_LIST,
    PROV_VERB_COUNT,
};

const char *prov_verb_name(enum prov_verb verb); /* "put" */

/* A checksum that is wrong on purpose: does the cloud look at it? For probes; where there are no
 * checksums on the way it changes nothing. */
enum prov_tamper {
    PROV_TAMPER_NONE,
    PROV_TAMPER_MD5,     /* Content-MD5 */
    PROV_TAMPER_SHA256,  /* x-amz-checksum-sha256 */
    PROV_TAMPER_PAYLOAD, /* the hash of the body under the request's signature */
};

struct prov_list_entry {
    const char *key; /* borrowed from the request's list_text */
    uint64_t size;
};

struct prov_req {
    enum prov_verb verb;
    const char *key;       /* LIST: the prefix. Borrowed until done */
    uint64_t deadline_ns;  /* monotonic; C2_NEVER = the provider's own timeout */
    unsigned attempts_max; /* 0 = as many as the provider's section says; never more than these */

    struct c2_blob *body;       /* PUT: the caller's reference is borrowed until done */
    const uint8_t *body_sha256; /* PUT: hash of the body when the caller has it, else NULL */
    bool if_absent;             /* PUT */
    enum prov_tamper tamper;    /* PUT */

    uint64_t offset, len; /* GET */
    size_t body_len_max;  /* GET: what the caller is ready to hold */

    const char *const *keys; /* DELETE_MANY: borrowed */
    size_t nkeys;

    const char *list_after; /* LIST: NULL or a key */
    size_t list_max;        /* LIST: 1..PROV_LIST_MAX */

    void (*done)(struct prov_req *r);

    /* out */
    enum c2_err err;
    unsigned http_status;            /* 0 when there was no HTTP answer */
    char detail[160];                /* what the cloud said, sanitised, for people */
    struct c2_blob *reply;           /* GET: one reference, the caller's */
    uint64_t size;                   /* HEAD, GET: size of the whole object when known */
    uint64_t retry_after_ns;         /* the cloud's wish, 0 = none */
    uint64_t server_wall_ns;         /* the cloud's own clock when it answered, 0 = unknown */
    struct prov_list_entry *entries; /* LIST: owned by the request, prov_req_done frees */
    size_t nentries;
    struct c2_buf list_text; /* LIST: where entries point into */
    bool truncated;          /* LIST */

    /* private: one context per layer on the way down */
    void *layer[PROV_LAYERS_MAX];
    unsigned depth;
};

/* Frees what a completed request holds (reply, entries); the struct stays the caller's. */
void prov_req_done(struct prov_req *r);

enum prov_caps {
    PROV_CAP_IF_ABSENT = 1 << 0, /* conditional PUT works and is atomic */
    PROV_CAP_LOCAL = 1 << 1,     /* no network */
};

struct provider;

struct provider_ops {
    void (*submit)(struct provider *p, struct prov_req *r);
    /* done will run soon with C2_E_CANCELED, or with the real outcome when that is faster */
    void (*cancel)(struct provider *p, struct prov_req *r);
    /* Frees the provider. No request may be outstanding. */
    void (*close)(struct provider *p);
};

/* What the statistics layer counts; all zero for a stack without one. */
struct prov_stats {
    uint64_t requests[PROV_VERB_COUNT]; /* attempts sent, retries included */
    uint64_t errors[PROV_VERB_COUNT];
    uint64_t bytes_up, bytes_down;
    uint64_t last_ok_ns; /* monotonic, 0 = never */
    uint64_t last_error_ns;
    enum c2_err last_error;
    char last_detail[160];
    uint64_t latency_p50_ns, latency_p99_ns; /* of recent successful requests */
};

/* What the cloud charges, as configured; all zero = nothing is known. */
struct prov_price {
    double put, get;        /* of 1,000 requests */
    double egress, storage; /* of 1 GB (10^9 bytes); stored for a month */
};

/* Of one GET that brings so many bytes. */
static inline double
prov_price_read(const struct prov_price *p, uint64_t bytes)
{
    return p->get / 1e3 + p->egress * (double)bytes / 1e9;
}

/* Of one PUT of so many bytes, and of keeping them for a month. */
static inline double
prov_price_store(const struct prov_price *p, uint64_t bytes)
{
    return p->put / 1e3 + p->storage * (double)bytes / 1e9;
}

struct provider {
    const struct provider_ops *ops;
    struct c2_env *env;       /* borrowed */
    char name[PROV_NAME_MAX]; /* the configuration's section name */
    unsigned caps;            /* enum prov_caps */
    struct provider *inner;   /* layers: owned; NULL at the bottom */
    struct prov_stats *stats; /* of the stack's stats layer, or NULL; borrowed */
    struct prov_price price;  /* of the whole stack: set at its top */
};

/* Checked entry points: assert the contract, then dispatch. */
void prov_submit(struct provider *p, struct prov_req *r);
void prov_cancel(struct provider *p, struct prov_req *r);
void prov_close(struct provider *p); /* NULL is fine; closes inner layers too */

#endif
