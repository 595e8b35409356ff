/* SPDX-License-Identifier: MIT */
/*
 * The files that say who is who in a coordination service: small texts of a title, comments and
 * base64, described in docs/formats-local.md. Reading and writing files is the caller's; bytes of
 * secrets are wiped.
 */
#ifndef C2_METADATA_IDENTITY_H
#define C2_METADATA_IDENTITY_H

#include "metadata/bft.h"

#define IDENTITY_FILE_MAX (64u << 10)
#define IDENTITY_OWNER    "replica" /* in the data folder of a replica */

enum identity_kind {
    IDENTITY_CLUSTER, /* root.pub: the configuration of epoch 0; what everybody trusts */
    IDENTITY_REPLICA, /* replica.key */
    IDENTITY_CLIENT,  /* client.key */
    IDENTITY_ADMIN,   /* admin.key */
};

struct identity_replica {
    uint64_t cluster;
    uint16_t id;
    uint8_t identity_seed[32];
    uint8_t sign_seed[32];
};

struct identity_client {
    uint64_t cluster;
    uint8_t seed[32];
    uint8_t cert[MSG_SIG_LEN]; /* the client authority's, see msg_client_hash */
};

struct identity_admin {
    uint64_t cluster;
    uint8_t admin_seed[32];
    uint8_t authority_seed[32]; /* of the client authority */
};

/* Appends the text of a file. `comment` may have several lines. */
void identity_write_cluster(struct c2_buf *out, const char *comment, const struct bft_config *c);
void identity_write_replica(struct c2_buf *out, const char *comment,
                            const struct identity_replica *k);
void identity_write_client(struct c2_buf *out, const char *comment,
                           const struct identity_client *k);
void identity_write_admin(struct c2_buf *out, const char *comment, const struct identity_admin *k);

/* PARSE: not such a file; VERSION: a newer one; CORRUPT: changed by accident. */
C2_RESULT identity_read_cluster(struct c2_slice text, struct bft_config *ret);
C2_RESULT identity_read_replica(struct c2_slice text, struct identity_replica *ret);
C2_RESULT identity_read_client(struct c2_slice text, struct identity_client *ret);
C2_RESULT identity_read_admin(struct c2_slice text, struct identity_admin *ret);

/* Why a reading failed, in words: files are taken for each other. */
const char *identity_problem(struct c2_slice text, enum identity_kind wanted, enum c2_err err);

/* Appends what IDENTITY_OWNER says: replicas that exchange their folders or their keys would sign
 * what contradicts what was signed. */
void identity_write_owner(struct c2_buf *out, uint64_t cluster, unsigned id);

/* A new client of the cluster. */
void identity_make_client(const struct identity_admin *a, const uint8_t seed[32],
                          struct identity_client *ret);

#endif
