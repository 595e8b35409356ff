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
#define CLUSTER_OWNER        "replica"     /* there, too: whose it is */

/* Texts of the files, each to be stored where its comment says. */
struct cluster_files {
    struct c2_buf trust;                       /* root.pub: for everybody */
    struct c2_buf client;                      /* client.key: secret */
    struct c2_buf client_conf;                 /* client.conf, beside those */
    struct c2_buf admin;                       /* admin.key: secret, to be kept elsewhere */
    struct c2_buf key[CLUSTER_REPLICAS_MAX];   /* replica.key: secret, of one replica */
    struct c2_buf conf[CLUSTER_REPLICAS_MAX];  /* c2fs-metad.conf, beside it */
    struct c2_buf owner[CLUSTER_REPLICAS_MAX]; /* data/replica of each */
    struct c2_buf first_start;                 /* data/first-start of each */
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
    uint32_t epoch; /* version of the configuration */
    uint64_t view;  /* what f + 1 replicas say */
    bool session;   /* requests can be answered */
    struct cluster_replica replica[CLUSTER_REPLICAS_MAX];
};

/* How many of n replicas must run so that the service does. */
unsigned cluster_quorum(unsigned n, unsigned f);
/* False: not a replicated service. */
bool cluster_look(struct coord *c, struct cluster_info *ret_info);
/* Asks every connected replica; told gets the JSON of each that answers, until the next question or
 * the end. Replicas say about themselves what they like. */
void cluster_ask(struct coord *c, void (*told)(void *arg, unsigned seat, struct c2_slice json),
                 void *arg);

/* The same for those that were members, and are none now, as far as the client has followed that;
 * each once. Returns from how many there may be something yet: ask again to know. */
unsigned cluster_ask_former(struct coord *c,
                            void (*told)(void *arg, const char *address, struct c2_slice json),
                            void *arg);

/* Appends the text of a root.pub with the members that the client knows now: it has verified them
 * from those of its own root.pub on. */
void cluster_write_trust(const struct coord *c, const char *name, struct c2_buf *out);

/* ---- other members ----------------------------------------------------------------------------
 */

struct cluster_change {
    const char *address; /* HOST:PORT of a new replica; NULL = none comes */
    unsigned leaves;     /* the place of the one that goes, from 1; 0 = none does */
};

/* What a change needs. */
struct cluster_plan {
    uint32_t epoch;            /* that it makes */
    unsigned id;               /* of the new replica; 0 = none comes */
    struct c2_buf request;     /* signed */
    struct c2_buf key;         /* replica.key of the new replica: secret */
    struct c2_buf conf;        /* its c2fs-metad.conf */
    struct c2_buf owner;       /* its data/replica */
    struct c2_buf first_start; /* its data/first-start */
};

/*
 * Signs a change of the configuration that the client knows, with the text of admin.key. CONFIG
 * with a sentence (c2_free) when it makes no sense, KEY when the key is of another service.
 */
C2_RESULT cluster_plan_change(const struct coord *c, const struct cluster_change *change,
                              struct c2_slice admin, struct cluster_plan *ret_plan,
                              char **ret_error);
void cluster_plan_done(struct cluster_plan *p); /* wipes and frees */
/* Whether a client that begins with this root.pub finds a member after the change: nobody else
 * tells it who they are. */
bool cluster_trust_lasts(const struct coord *c, const struct cluster_change *change,
                         struct c2_slice trust);

/* Asks the service for the change. */
struct cluster_request {
    struct c2_slice request; /* borrowed for the call */
    uint64_t deadline_ns;    /* 0 = wait */
    void (*done)(struct cluster_request *q);
    enum c2_err err; /* out: OK; NOT_PERMITTED: why says it; UNAVAILABLE, TIMEOUT: it may have
                      * happened, or happen yet */
    uint64_t last;   /* out: the old epoch ends with this batch */
    char why[160];   /* out */
};

void cluster_submit(struct coord *c, struct cluster_request *q);

/* ---- clients, and what they may do ------------------------------------------------------------
 */

/* What another client needs. */
struct cluster_client {
    struct c2_buf key;  /* client.key: secret */
    struct c2_buf conf; /* client.conf, beside it and root.pub */
    uint8_t principal[COORD_PRINCIPAL_LEN];
};

struct cluster_client_options {
    const struct c2_conf *conf;
    const char *service;   /* a [metadata] section of it */
    const char *prefix;    /* the part of the service that is used; NULL = all */
    struct c2_slice admin; /* the text of admin.key */
    struct c2_slice trust; /* and of root.pub */
};

/* KEY, CONFIG with a sentence (c2_free). */
C2_RESULT cluster_make_client(const struct cluster_client_options *o,
                              struct cluster_client *ret_client, char **ret_error);
void cluster_client_done(struct cluster_client *c); /* wipes and frees */

/* The principal of a client, from the text of its client.key. */
C2_RESULT cluster_principal(struct c2_slice client, uint8_t ret[COORD_PRINCIPAL_LEN]);

/* Submits ACL_SET or ACL_LIST, signed with the text of admin.key; empty = as any client. KEY or
 * CONFIG with a sentence (c2_free): it was not submitted. */
C2_RESULT cluster_submit_acl(struct coord *c, struct coord_req *r, struct c2_slice admin,
                             char **ret_error);

/* The list as it was at one moment, from as many ACL_LISTs as it takes. Begins as zeros. */
struct cluster_acl {
    uint64_t changes; /* of the list, so far: ACL_SET wants it */
    bool complete;
    struct cluster_acl_page *pages; /* owned */
    size_t npages, nentries;
};

/* What the next ACL_LIST begins after; borrowed until its answer was taken. */
struct c2_slice cluster_acl_after(const struct cluster_acl *l);
/* Takes an answer without error, with what it owns. CONFLICT: the list was changed between two of
 * them, all is forgotten and must be asked for anew; PROTOCOL: no list has so many entries. */
C2_RESULT cluster_acl_take(struct cluster_acl *l, struct coord_req *r);
void cluster_acl_each(const struct cluster_acl *l,
                      void (*fn)(void *arg, const struct coord_entry *e), void *arg);
void cluster_acl_done(struct cluster_acl *l);

#endif
