/* SPDX-License-Identifier: MIT */
/*
 * The coordination service on replicas: coord.h over the messages of msg.h. Nothing that fewer than
 * f + 1 replicas say is believed.
 *
 * LOG_READ and LOG_TRIM are UNSUPPORTED: the replicas have a log of their own. A change that ends
 * with TIMEOUT or UNAVAILABLE may have happened or happen yet.
 *
 * It follows the service when replicas are added, removed or replaced, from the configuration that
 * it was given on, as long as one of the replicas that it knows is still one.
 */
#ifndef C2_METADATA_BFT_CLIENT_H
#define C2_METADATA_BFT_CLIENT_H

#include "base/net.h"
#include "metadata/bft.h"
#include "metadata/coord.h"

/* Times in ns; 0 = the default. */
struct bft_client_options {
    const struct bft_config *config; /* what is trusted, of any epoch; copied */
    const char *const *addresses;    /* of its members, instead of those in it; NULL = those */
    const uint8_t *secret;           /* our Ed25519 key; copied */
    const uint8_t *cert;             /* the client authority's signature on it; copied */
    struct c2_net *net;              /* with our key; freed when the client is closed */
    struct c2_slice prefix;          /* before each key, on its way; copied */
    uint64_t retry_ns;               /* before the first repetition of a request; 300 ms, then */
    uint64_t retry_max_ns;           /* half as much again each time, up to 10 s */
    uint64_t hedge_ns;               /* before the other replicas are asked, too; 20 ms */
    uint64_t seed;
};

/* Connects in the background; requests wait. */
struct coord *bft_client_new(struct c2_env *env, const struct bft_client_options *o);

struct bft_client_info {
    unsigned replicas, f;
    uint32_t epoch;
    unsigned connected;
    bool session;
    uint64_t view; /* what f + 1 replicas say */
    uint64_t requests, repeated, fast_reads, ordered_reads, mismatches, reloads;
    bool up[MSG_REPLICAS_MAX];
    enum c2_err error[MSG_REPLICAS_MAX]; /* of the connection; OK = none yet */
};

bool bft_client_is(const struct coord *c);
/* Below: only for what bft_client_new returned. */

const char *bft_client_address(const struct coord *base, unsigned seat); /* borrowed */
/* Of the latest epoch that is known; borrowed until the next turn of the loop. */
const struct bft_config *bft_client_config(const struct coord *base);
void bft_client_info(const struct coord *base, struct bft_client_info *ret_info);

/* Asks every connected replica for its status; told gets the JSON of each that answers, in any
 * order, until the next question or the end. It says about itself what it likes. */
void bft_client_ask_status(struct coord *base,
                           void (*told)(void *arg, unsigned seat, struct c2_slice json), void *arg);

/* Asks each replica that was a member and is none any more, as far as the client has followed that,
 * once. Returns from how many there may be something yet: ask again to know. */
unsigned bft_client_ask_former(struct coord *base,
                               void (*told)(void *arg, const char *address, struct c2_slice json),
                               void *arg);

/* What administrators have to sign so that this client has a command about the access control list
 * done, and the command with what they have signed: (u8 administrator, signature) each. */
void bft_client_admin_hash(const struct coord *base, const struct coord_req *r,
                           uint8_t out[C2_SHA256_LEN]);
void bft_client_submit_signed(struct coord *base, struct coord_req *r, struct c2_slice sigs);

/* A change of the configuration, see bft_admin_hash. */
struct bft_admin_req {
    struct c2_slice op;   /* borrowed for the call */
    uint64_t deadline_ns; /* 0 = wait */
    void (*done)(struct bft_admin_req *a);
    enum c2_err err;      /* out: OK; NOT_PERMITTED: result says why; UNAVAILABLE, TIMEOUT: it may
                           * have happened, or happen yet */
    struct c2_buf result; /* out, the caller's; OK: u64 number of the epoch's last batch */
    struct c2_task task;  /* private */
};

/* The client may not be closed before it is done, or nothing of it is done any more. */
void bft_client_admin(struct coord *base, struct bft_admin_req *a);

#endif
