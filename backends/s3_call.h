/* SPDX-License-Identifier: MIT */
/*
 * One signed request to one bucket and what its answer means. A call knows HTTP status codes and S3
 * error codes; it does not know verbs of a provider.
 */
#ifndef C2_BACKENDS_S3_CALL_H
#define C2_BACKENDS_S3_CALL_H

#include "backends/http.h"
#include "backends/s3_sign.h"
#include "backends/s3_target.h"
#include "backends/s3_xml.h"

#define S3_CALL_LINES_MAX 12

/* What the calls of one provider share. */
struct s3_client {
    struct c2_env *env; /* borrowed */
    const char *name;   /* borrowed; of the provider, for messages */
    struct s3_target target;
    struct http_pool *http;   /* owned */
    struct s3_signer *signer; /* owned */
    char *session_token;      /* owned, in the secret arena; NULL = none */
    int64_t clock_offset_ns;  /* the cloud's clock minus ours, once it refused ours */
    bool bucket_seen;         /* some answer proved that the bucket exists */
};

struct s3_call {
    /* in; borrowed until done */
    struct s3_client *client;
    enum http_method method;
    const char *key; /* with the target's prefix; NULL = the bucket itself */
    struct s3_pair query[S3_SIGN_QUERY_MAX];
    size_t nquery;
    const char *range;        /* "bytes=0-9" or NULL */
    const char *content_type; /* or NULL */
    const char *content_md5;  /* base64 or NULL */
    const char *checksum;     /* base64 of SHA-256, or NULL */
    bool if_none_match;       /* of any ("*") */
    struct c2_slice body;
    const char *payload_hash; /* hex, or S3_UNSIGNED_PAYLOAD */
    size_t reply_len_max;
    uint64_t deadline_ns;
    void (*done)(struct s3_call *c);

    /* out */
    enum c2_err err;
    struct http_req http;    /* head, reply */
    struct s3_error error;   /* of an answer that is no 2xx, as far as it has one */
    uint64_t server_wall_ns; /* 0 = unknown */
    uint64_t retry_after_ns;
    char detail[160];

    /* private */
    bool resigned;
    uint64_t signed_wall_ns;
    struct c2_buf url, lines, auth;
    const char *line[S3_CALL_LINES_MAX];
};

/* Frees what a call holds; it may be started again afterwards with other fields. */
void s3_call_done(struct s3_call *c);
/* Before start: see prov_tamper. */
void s3_call_tamper(struct s3_call *c, enum prov_tamper what);
/* done runs exactly once, never from inside start or cancel. */
void s3_call_start(struct s3_call *c);
void s3_call_cancel(struct s3_call *c);

/* What an answer means; status is no 2xx. */
enum c2_err s3_error_of(unsigned status, const char *code);

#endif
