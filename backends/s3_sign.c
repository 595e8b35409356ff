/* SPDX-License-Identifier: MIT */
/*
 * Signature Version 4:
 *   canonical request = method, path, query, headers, names of headers, payload hash
 *   string to sign    = algorithm, date, scope, SHA-256(canonical request)
 *   signing key       = HMAC chain over secret, day, region, service; changes once a day
 *   signature         = HMAC(signing key, string to sign)
 * What other signers got wrong: headers are sorted by name, not by line (':' sorts after '-');
 * query parameters are sorted after encoding; a valueless parameter is signed as "name=".
 */
#include "backends/s3_sign.h"

#include "base/alloc.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

#define DAY_LEN 8 /* "20130524" */

struct s3_signer {
    char *access_key_id;     /* owned */
    char *secret_access_key; /* owned, in the secret arena */
    size_t secret_size;
    char *region;  /* owned */
    char *service; /* owned */
    uint8_t *key;  /* owned, in the secret arena; of `day` */
    char day[DAY_LEN + 1];
};

struct s3_signer *
s3_signer_new(const char *access_key_id, const char *secret_access_key, const char *region,
              const char *service)
{
    struct s3_signer *s = c2_calloc(1, sizeof(*s));
    s->access_key_id = c2_strdup(access_key_id);
    s->secret_size = strlen(secret_access_key) + 1;
    s->secret_access_key = c2_secret_alloc(s->secret_size);
    memcpy(s->secret_access_key, secret_access_key, s->secret_size);
    s->region = c2_strdup(region);
    s->service = c2_strdup(service);
    s->key = c2_secret_alloc(C2_SHA256_LEN);
    return s;
}

void
s3_signer_free(struct s3_signer *s)
{
    if (s == NULL)
        return;
    c2_secret_free(s->secret_access_key, s->secret_size);
    c2_secret_free(s->key, C2_SHA256_LEN);
    c2_free(s->access_key_id);
    c2_free(s->region);
    c2_free(s->service);
    c2_free(s);
}

void
s3_amz_date(uint64_t wall_ns, char out[S3_AMZ_DATE_LEN + 1])
{
    char iso[C2_SIZE_TEXT_MAX];
    c2_time_format(wall_ns, iso); /* 2013-05-24T00:00:00Z */
    size_t len = 0;
    for (const char *p = iso; *p != '\0' && len < S3_AMZ_DATE_LEN; p++) {
        if (*p != '-' && *p != ':')
            out[len++] = *p;
    }
    out[len] = '\0';
}

static int
compare_pairs(const void *a, const void *b)
{
    const struct s3_pair *x = a;
    const struct s3_pair *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : strcmp(x->value, y->value);
}

static char *
encode(const char *text)
{
    C2_AUTO(c2_buf_done) struct c2_buf b = { 0 };
    c2_url_encode(c2_slice_str(text), false, &b);
    return c2_strdup(c2_buf_cstr(&b));
}

void
s3_query_build(const struct s3_pair *pairs, size_t npairs, struct c2_buf *out)
{
    C2_ASSERT(npairs <= S3_SIGN_QUERY_MAX);
    struct {
        struct s3_pair pair; /* sorted by it */
        char *name, *value;  /* owned, the same texts */
    } encoded[S3_SIGN_QUERY_MAX];
    for (size_t i = 0; i < npairs; i++) {
        encoded[i].name = encode(pairs[i].name);
        encoded[i].value = encode(pairs[i].value);
        encoded[i].pair = (struct s3_pair){ encoded[i].name, encoded[i].value };
    }
    qsort(encoded, npairs, sizeof(encoded[0]), compare_pairs);
    for (size_t i = 0; i < npairs; i++) {
        c2_buf_printf(out, "%s%s=%s", i == 0 ? "" : "&", encoded[i].name, encoded[i].value);
        c2_free(encoded[i].name);
        c2_free(encoded[i].value);
    }
}

/* Without blanks at the ends, runs of blanks as one. */
static void
append_trimmed(struct c2_buf *out, const char *value)
{
    bool blank = false;
    bool empty = true;
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == ' ' || *p == '\t') {
            blank = true;
            continue;
        }
        if (blank && !empty)
            c2_buf_append(out, " ", 1);
        c2_buf_append(out, p, 1);
        blank = false;
        empty = false;
    }
}

void
s3_sign_canonical(const struct s3_sign_request *r, struct c2_buf *out,
                  struct c2_buf *signed_headers)
{
    C2_ASSERT(r->nheaders > 0 && r->nheaders <= S3_SIGN_HEADERS_MAX);
    C2_ASSERT(r->path[0] == '/');
    struct s3_pair sorted[S3_SIGN_HEADERS_MAX];
    memcpy(sorted, r->headers, r->nheaders * sizeof(sorted[0]));
    qsort(sorted, r->nheaders, sizeof(sorted[0]), compare_pairs);

    c2_buf_printf(out, "%s\n%s\n%s\n", r->method, r->path, r->query);
    for (size_t i = 0; i < r->nheaders; i++) {
        c2_buf_printf(out, "%s:", sorted[i].name);
        append_trimmed(out, sorted[i].value);
        c2_buf_puts(out, "\n");
        c2_buf_printf(signed_headers, "%s%s", i == 0 ? "" : ";", sorted[i].name);
    }
    c2_buf_puts(out, "\n");
    struct c2_slice names = c2_buf_slice(signed_headers);
    c2_buf_append(out, names.data, names.len);
    c2_buf_printf(out, "\n%s", r->payload_hash);
}

static void
hmac(struct c2_slice key, const char *text, uint8_t out[C2_SHA256_LEN])
{
    struct c2_slice in = c2_slice_str(text);
    c2_hmac_sha256(key, &in, 1, out);
}

static void
derive_key(struct s3_signer *s, const char *day)
{
    if (memcmp(s->day, day, DAY_LEN) == 0)
        return;
    size_t len = strlen("AWS4") + s->secret_size - 1;
    char *start = c2_secret_alloc(len + 1);
    memcpy(start, "AWS4", 4);
    memcpy(start + 4, s->secret_access_key, s->secret_size);
    memcpy(s->day, day, DAY_LEN);
    s->day[DAY_LEN] = '\0';

    uint8_t a[C2_SHA256_LEN];
    uint8_t b[C2_SHA256_LEN];
    hmac(c2_slice(start, len), s->day, a);
    hmac(c2_slice(a, sizeof(a)), s->region, b);
    hmac(c2_slice(b, sizeof(b)), s->service, a);
    hmac(c2_slice(a, sizeof(a)), "aws4_request", s->key);
    c2_wipe(a, sizeof(a));
    c2_wipe(b, sizeof(b));
    c2_secret_free(start, len + 1);
}

void
s3_sign(struct s3_signer *s, const struct s3_sign_request *r, struct c2_buf *out)
{
    C2_ASSERT(strlen(r->amz_date) == S3_AMZ_DATE_LEN);
    C2_AUTO(c2_buf_done) struct c2_buf canonical = { 0 };
    C2_AUTO(c2_buf_done) struct c2_buf names = { 0 };
    C2_AUTO(c2_buf_done) struct c2_buf to_sign = { 0 };
    s3_sign_canonical(r, &canonical, &names);
    derive_key(s, r->amz_date);

    uint8_t hash[C2_SHA256_LEN];
    char hex[2 * C2_SHA256_LEN + 1];
    c2_sha256(c2_buf_slice(&canonical), hash);
    c2_hex_encode(hash, sizeof(hash), hex);
    c2_buf_printf(&to_sign, "AWS4-HMAC-SHA256\n%s\n%s/%s/%s/aws4_request\n%s", r->amz_date, s->day,
                  s->region, s->service, hex);

    struct c2_slice text = c2_buf_slice(&to_sign);
    c2_hmac_sha256(c2_slice(s->key, C2_SHA256_LEN), &text, 1, hash);
    c2_hex_encode(hash, sizeof(hash), hex);
    c2_buf_printf(out,
                  "AWS4-HMAC-SHA256 Credential=%s/%s/%s/%s/aws4_request, SignedHeaders=%s, "
                  "Signature=%s",
                  s->access_key_id, s->day, s->region, s->service, c2_buf_cstr(&names), hex);
}
