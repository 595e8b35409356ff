/* SPDX-License-Identifier: MIT */
/*
 * One bucket, or a folder of one, at an S3-compatible service. Private to backends/.
 */
#ifndef C2_BACKENDS_S3_H
#define C2_BACKENDS_S3_H

#include "backends/provider.h"

struct c2_os;

enum prov_s3_addressing {
    PROV_S3_AUTO, /* vhost at amazonaws.com when the bucket's name allows it, else path */
    PROV_S3_PATH, /* https://host/bucket/key */
    PROV_S3_VHOST /* https://bucket.host/key */
};

/* Everything is copied; secrets into the locked arena. */
struct prov_s3_config {
    const char *name;     /* the configuration's section name */
    const char *url;      /* s3://bucket[/prefix] */
    const char *endpoint; /* [https://|http://]host[:port]; NULL = AWS in `region` */
    const char *region;   /* NULL = us-east-1 */
    enum prov_s3_addressing addressing;
    const char *ca_file;         /* PEM; NULL = the system's */
    const char *proxy;           /* http://host:port; NULL = none, whatever the environment says */
    bool insecure_http;          /* plain http:// to hosts other than this one */
    uint64_t timeout_ns;         /* of one attempt, and 1 s more for each 64 KiB of its data; 0 = as
                                  * long as the caller waits, 60 s if that is for ever */
    uint64_t connect_timeout_ns; /* 0 = 5 s */
    unsigned connections;        /* at a time; 0 = 8 */
    const char *access_key_id;
    const char *secret_access_key;
    const char *session_token; /* NULL = none */
};

/*
 * On failure ret_error, if not NULL, gets a sentence for people (c2_free): what is wrong and what
 * to type. Nothing is sent yet.
 */
C2_RESULT prov_s3_new(struct c2_env *env, struct c2_os *os, const struct prov_s3_config *cfg,
                      struct provider **ret_provider, char **ret_error);

#endif
