/* SPDX-License-Identifier: MIT */
/*
 * A coordination service as a whole: making the files of a new one, and looking at one from
 * outside.
 */
#ifndef C2_METADATA_CLUSTER_H
#define C2_METADATA_CLUSTER_H

#include "base/conf.h"
#include "metadata/coord.h"

#define CLUSTER_REPLICAS_MAX 10
#define CLUSTER_FIRST_START  "first-start" /* in the data folder of a replica */

/* Texts of the files, each to be stored where its comment says. */
struct cluster_files {
    struct c2_buf trust;                      /* root.pub: for everybody */
    struct c2_buf client;                     /* client.key: secret */
    struct c2_buf client_conf;                /* client.conf, beside those */
    struct c2_buf admin;                      /* admin.key: secret, to be kept elsewhere */
    struct c2_buf key[CLUSTER_REPLICAS_MAX];  /* replica.key: secret, of one replica */
    struct c2_buf conf[CLUSTER_REPLICAS_MAX]; /* c2fs-metad.conf, beside it */
    struct c2_buf first_start;                /* data/first-start of each */
};

/*
 * Makes keys and a configuration for replicas at these addresses (HOST:PORT); `name` is for the
 * [metadata] section. CONFIG with a sentence (c2_free) when n, f or an address make no sense.
 */
C2_RESULT cluster_make(const char *name, const char *const *addresses, size_t n, unsigned f,
                       struct cluster_files *ret_files, char **ret_error);
/* Wipes and frees. */
void cluster_files_done(struct cluster_files *f);

struct cluster_replica {
    const char *address; /* borrowed from the service */
    bool up;             /* connected */
    enum c2_err error;   /* why it was not, last; OK = never tried */
};

struct cluster_info {
    unsigned n, f;
    uint64_t view; /* what f + 1 replicas say */
    bool session;  /* requests can be answered */
    struct cluster_replica replica[CLUSTER_REPLICAS_MAX];
};

/* False: not a replicated service. */
bool cluster_look(struct coord *c, struct cluster_info *ret_info);
/* Asks every connected replica; told gets the JSON of each that answers, until the next question or
 * the end. Replicas say about themselves what they like. */
void cluster_ask(struct coord *c, void (*told)(void *arg, unsigned seat, struct c2_slice json),
                 void *arg);

#endif
