/* SPDX-License-Identifier: MIT */
/*
 * AWS Signature Version 4 as S3 wants it: one URI encoding, no normalisation of the path. Pure:
 * no clock, no sockets. The caller sends exactly the path, query and headers that it signed.
 */
#ifndef C2_BACKENDS_S3_SIGN_H
#define C2_BACKENDS_S3_SIGN_H

#include "base/buf.h"
#include "base/crypto.h"

#define S3_SIGN_HEADERS_MAX 16
#define S3_SIGN_QUERY_MAX   8
#define S3_AMZ_DATE_LEN     16 /* "20130524T000000Z" */
#define S3_UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD"
/* SHA-256 of nothing, in hex. */
#define S3_EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct s3_pair {
    const char *name; /* a header's in lower case */
    const char *value;
};

struct s3_signer;

struct s3_signer *s3_signer_new(const char *access_key_id, const char *secret_access_key,
                                const char *region, const char *service);
void s3_signer_free(struct s3_signer *s); /* wipes; NULL is fine */

struct s3_sign_request {
    const char *method;
    const char *path;              /* encoded, as sent; starts with '/' */
    const char *query;             /* from s3_query_build, as sent; "" = none */
    const struct s3_pair *headers; /* every header to sign, host and x-amz-date among them */
    size_t nheaders;
    const char *payload_hash; /* hex or S3_UNSIGNED_PAYLOAD */
    const char *amz_date;
};

/* "20130524T000000Z" of a wall clock. */
void s3_amz_date(uint64_t wall_ns, char out[S3_AMZ_DATE_LEN + 1]);
/* Appends "a=1&b=2": encoded, then sorted, "name=" for an empty value. */
void s3_query_build(const struct s3_pair *pairs, size_t npairs, struct c2_buf *out);
/* Appends the canonical request, and to signed_headers "host;x-amz-date". */
void s3_sign_canonical(const struct s3_sign_request *r, struct c2_buf *out,
                       struct c2_buf *signed_headers);
/* Appends the value of the Authorization header. The day's signing key is kept in s. */
void s3_sign(struct s3_signer *s, const struct s3_sign_request *r, struct c2_buf *out);

#endif
