/* SPDX-License-Identifier: MIT */
/*
 * A coordination service in a test environment: replicas with real logs and stores, on a network
 * in memory, and clients of it.
 */
#ifndef C2_TESTS_LIB_BFT_RIG_H
#define C2_TESTS_LIB_BFT_RIG_H

#include "metadata/bft_client.h"
#include "metadata/node.h"
#include "tests/lib/test_env.h"
#include "tests/lib/test_net.h"

#define BFT_RIG_MAX     10
#define BFT_RIG_CLIENTS 4
#define BFT_RIG_CLIENT  20 /* number of the first client on the network; replicas are 0.. */

struct bft_rig_replica {
    struct bft_rig *rig;
    struct bft_setup setup;
    uint8_t identity_secret[C2_ED25519_SECRET_LEN];
    char *data;         /* folder, owned */
    struct c2_env *env; /* of its own; NULL = the rig's */
    struct c2_net *net;
    struct node *node; /* NULL = it does not run */
    bool started, closed;
    enum c2_err failed; /* and why it ended by itself */
};

struct bft_rig {
    struct test_env *t;
    struct c2_env *env;
    struct test_hub *hub;
    struct bft_config config;
    unsigned n;
    uint8_t admin_secret[C2_ED25519_SECRET_LEN];
    struct bft_rig_replica replica[BFT_RIG_MAX];
    struct {
        uint8_t secret[C2_ED25519_SECRET_LEN];
        uint8_t key[C2_ED25519_PUBLIC_LEN];
        uint8_t cert[MSG_SIG_LEN];
    } client[BFT_RIG_CLIENTS];
};

/* 3f+1 replicas, none of them started. */
struct bft_rig *bft_rig_new(struct test_env *t, unsigned f);
void bft_rig_free(struct bft_rig *r); /* stops those that run */
/* It listens, and has read nothing from its disk yet. */
void bft_rig_open(struct bft_rig *r, unsigned i);
/* Runs until it takes part. */
void bft_rig_start(struct bft_rig *r, unsigned i);
void bft_rig_start_all(struct bft_rig *r);
void bft_rig_stop(struct bft_rig *r, unsigned i);
/* Forgets everything on its disk. */
void bft_rig_wipe(struct bft_rig *r, unsigned i);
struct bft_info bft_rig_info(const struct bft_rig *r, unsigned i);
/* Clients that the replica has disconnected because of a wrong signature. */
uint64_t bft_rig_caught(const struct bft_rig *r, unsigned i);
/* A client that connects; closed with coord_close. k < BFT_RIG_CLIENTS is its key. */
struct coord *bft_rig_client(struct bft_rig *r, unsigned k);
/* ... with this before each of its keys. */
struct coord *bft_rig_client_at(struct bft_rig *r, unsigned k, const char *prefix);

#endif
