/* SPDX-License-Identifier: MIT */
/*
 * Where a bucket is: from the configuration's texts to the parts that requests are made of. Pure.
 */
#ifndef C2_BACKENDS_S3_TARGET_H
#define C2_BACKENDS_S3_TARGET_H

#include "backends/s3.h"

#define S3_PREFIX_MAX 256

struct s3_target {
    bool tls;
    bool loopback;   /* the endpoint's host is literally this host */
    char *origin;    /* owned; "https://bucket.s3.example:8443", where requests go */
    char *host;      /* owned; the Host header's value */
    char *base_path; /* owned; "" or "/bucket" */
    char *prefix;    /* owned; "" or "folder/": in front of every key */
    char *region;    /* owned */
};

/* On failure *ret_error gets a sentence for people (c2_free). */
C2_RESULT s3_target_parse(const struct prov_s3_config *cfg, struct s3_target *ret_target,
                          char **ret_error);
void s3_target_done(struct s3_target *t);

#endif
