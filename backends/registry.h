/* SPDX-License-Identifier: MIT */
/*
 * From configuration to a ready stack: retry( limit( stats( fault( s3 | dir | mem ) ) ) ).
 * Statistics are of what leaves for the cloud: every attempt counts, our own queue and back-off do
 * not. The fault layer is there only when the key `fault` is set, be it to nothing.
 */
#ifndef C2_BACKENDS_REGISTRY_H
#define C2_BACKENDS_REGISTRY_H

#include "backends/provider.h"
#include "base/conf.h"

struct c2_os;

/*
 * Builds the stack of [provider "name"]. `os` is needed for s3: (sockets live on its loop); it may
 * be NULL for dir: and mem:. On failure ret_error, if not NULL, gets a sentence for people
 * (caller frees with c2_free): what is wrong and what to type.
 */
C2_RESULT prov_open(struct c2_env *env, struct c2_os *os, const struct c2_conf *conf,
                    const char *name, struct provider **ret_provider, char **ret_error);

/* Bare constructors, for tests and for stacks built by hand. */
struct provider *prov_mem_new(struct c2_env *env, const char *name);
struct provider *prov_dir_new(struct c2_env *env, const char *name, const char *path);
/* Each takes ownership of inner. */
struct provider *prov_stats_new(struct provider *inner);
struct provider *prov_retry_new(struct provider *inner, unsigned attempts_max, uint64_t backoff_ns,
                                uint64_t backoff_max_ns);
struct provider *prov_limit_new(struct provider *inner, unsigned in_flight_max, size_t queue_max,
                                uint64_t bytes_per_s); /* 0 = unlimited */
/*
 * A cloud that misbehaves. spec is a comma-separated list of faults, each one for all requests it
 * makes sense for or for one kind ("get.error:5%"), always or with a chance:
 *     error down throttle noack delay:200ms hang          any request
 *     protocol redirect tls denied skew                   any request
 *     full                                                PUT: refused, no space or no right
 *     lie checksum                                        PUT: acknowledged, not stored; or wrongly
 *     rollback                                            PUT, DELETE: nothing changes
 *     absent empty corrupt truncate huge swap stale drip  GET, HEAD
 *     absent empty forge loop drip                        LIST
 *     T01 ... T15                                         what a threat of docs/faults.md is
 * See backends/fault_spec.h. "" = pass through. Ownership of inner passes on success only.
 */
C2_RESULT prov_fault_new(struct provider *inner, const char *spec, uint64_t seed,
                         struct provider **ret_provider);
/* Changes the faults of the stack's fault layer while it runs; C2_E_UNSUPPORTED without one. */
C2_RESULT prov_fault_set(struct provider *stack, const char *spec);
/* On failure ret_error, if not NULL, gets a sentence for people (c2_free). */
C2_RESULT prov_fault_check(const char *spec, char **ret_error);
/* The names of the kinds, then NULL. */
const char *prov_fault_kind(size_t index);
/* How many faults of any kind, or of one ("corrupt"), the stack's fault layer injected so far. */
uint64_t prov_fault_count(const struct provider *stack);
uint64_t prov_fault_count_kind(const struct provider *stack, const char *kind);

/*
 * Probe: exercises a provider stack under keys "<key_prefix>/probe/<random>/..." and removes them
 * again. Every check runs even when others fail, except those that cannot without an earlier one.
 */
enum prov_check {
    PROV_CHECK_PUT,               /* writes an object */
    PROV_CHECK_GET,               /* reads it back, byte by byte */
    PROV_CHECK_RANGE,             /* inner range, cut range, range past the end */
    PROV_CHECK_HEAD,              /* size without the bytes */
    PROV_CHECK_OVERWRITE,         /* a second PUT replaces, the next GET sees it */
    PROV_CHECK_IF_ABSENT,         /* conditional PUT is refused on an existing key ... */
    PROV_CHECK_IF_ABSENT_GUARD,   /* ... and the first object is untouched by it */
    PROV_CHECK_LIST,              /* read-after-write: all keys are listed, in byte order */
    PROV_CHECK_LIST_PAGING,       /* the same, in pages of two */
    PROV_CHECK_DELETE,            /* DELETE, again DELETE, DELETE_MANY */
    PROV_CHECK_NOT_FOUND,         /* a deleted key is "not found", for GET and HEAD */
    PROV_CHECK_LIST_AFTER_DELETE, /* and no longer listed */
    PROV_CHECK_CLOCK,             /* the cloud's clock and ours agree */
    PROV_CHECK_COUNT,
};

#define PROV_PROBE_PREFIX_MAX 128
#define PROV_PROBE_PREFIX     "v1"               /* where C2FS lets probes write */
#define PROV_PROBE_NS         (60 * C2_NS_PER_S) /* how long one may take */

struct prov_probe_check {
    const char *name;  /* "put": stable, for JSON */
    const char *title; /* "write an object": for people */
    bool required;     /* false: a failure costs comfort or safety margin, the provider is usable */
    bool ran;
    enum c2_err err;
    char detail[160]; /* "" or a sentence: what failed, what it means */
};

struct prov_probe {
    struct provider *provider; /* borrowed until done */
    const char *key_prefix;    /* borrowed until done; "" or without a slash at the end */
    uint64_t deadline_ns;      /* monotonic, of the whole probe; C2_NEVER = one minute */
    void (*done)(struct prov_probe *p);

    /* out */
    enum c2_err err; /* of the first required check that failed, else C2_E_OK */
    struct prov_probe_check checks[PROV_CHECK_COUNT];
    uint64_t latency_put_ns, latency_get_ns; /* medians of small requests; 0 = none succeeded */
    bool clock_known;
    int64_t clock_skew_ns; /* the cloud's minus ours */

    void *private_state; /* owned by the probe while it runs */
};

/* done runs exactly once, never from inside the call; the struct is the caller's. */
void prov_probe_start(struct prov_probe *p);
/* For people: why the provider cannot be used; of the first required check that failed. */
const char *prov_probe_reason(const struct prov_probe *p);
/* done will run soon with C2_E_CANCELED. */
void prov_probe_cancel(struct prov_probe *p);

/*
 * A look at the TLS of a provider's endpoint, with requests that are not signed and that touch no
 * bucket: as configured, believing no certificate at all, and under another host's name. The last
 * two must fail with C2_E_TLS; if one does not, somebody between here and there makes certificates.
 */
struct prov_tls_look {
    void (*done)(struct prov_tls_look *l);

    /* out */
    bool network;       /* false: dir: or mem:, nothing was asked */
    bool tls;           /* false: plain http://; `nobody` and `other_host` were not asked */
    enum c2_err err;    /* as configured: OK = the certificate verified, and there was an answer */
    char detail[160];   /* why not */
    char version[80];   /* "TLSv1.3 / TLS_AES_256_GCM_SHA384" */
    unsigned status;    /* of the answer */
    char location[160]; /* where a redirect would have led, else "" */
    enum c2_err nobody, other_host; /* how these attempts ended */

    void *private_state; /* owned by the look while it runs */
};

/* CONFIG, NOT_FOUND: the section; done will not run. Else it runs once, never from inside. */
C2_RESULT prov_tls_look_start(struct c2_env *env, struct c2_os *os, const struct c2_conf *conf,
                              const char *name, struct prov_tls_look *l);

#endif
