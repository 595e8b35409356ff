/* SPDX-License-Identifier: MIT */
/*
 *   start --> SENT --answer--> done
 *              ^  |
 *              |  | 403, and the cloud's Date is far from the time we signed with: learn the
 *              +--+ offset, sign again, once
 *
 * Every attempt is signed anew, also one that a layer above repeats.
 *
 * Absent and unknown are different: 404 is "not found" only with the code NoSuchKey. The body of an
 * answer to HEAD is missing by definition, so there the caller decides (bucket_seen). A 404 of
 * NoSuchBucket, or of some web server that is no S3 at all, is a configuration error. A 200 with an
 * <Error> is what the error says.
 */
#include "backends/s3_call.h"

#include "base/alloc.h"
#include "base/mark.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

/* Servers refuse at 15 minutes; nothing we talk to is off by 4 without being wrong. */
#define SKEW_NOTICED_NS (4ull * 60 * C2_NS_PER_S)

static void attempt(struct s3_call *c);

void
s3_call_done(struct s3_call *c)
{
    http_req_done(&c->http);
    if (c->lines.len > 0) /* the session token is in it */
        c2_wipe(c->lines.data, c->lines.len);
    c2_buf_done(&c->url);
    c2_buf_done(&c->lines);
    c2_buf_done(&c->auth);
    c->url = c->lines = c->auth = (struct c2_buf){ 0 };
}

/* ---- what an answer means ---- */

struct code_meaning {
    const char *code;
    enum c2_err err;
};

/* Codes that say more than their status. */
static const struct code_meaning codes[] = {
    { "NoSuchKey", C2_E_NOT_FOUND },
    { "NoSuchBucket", C2_E_CONFIG },
    { "InvalidBucketName", C2_E_CONFIG },
    { "AuthorizationHeaderMalformed", C2_E_CONFIG },
    { "IllegalLocationConstraintException", C2_E_CONFIG },
    { "AccessDenied", C2_E_ACCESS },
    { "InvalidAccessKeyId", C2_E_AUTH },
    { "SignatureDoesNotMatch", C2_E_AUTH },
    { "InvalidSecurity", C2_E_AUTH },
    { "InvalidToken", C2_E_AUTH },
    { "ExpiredToken", C2_E_AUTH },
    { "TokenRefreshRequired", C2_E_AUTH },
    { "RequestTimeTooSkewed", C2_E_AUTH },
    { "RequestExpired", C2_E_AUTH },
    { "QuotaExceeded", C2_E_QUOTA },
    { "InsufficientStorage", C2_E_NO_SPACE },
    { "BadDigest", C2_E_CORRUPT },
    { "InvalidDigest", C2_E_CORRUPT },
    { "XAmzContentSHA256Mismatch", C2_E_CORRUPT },
    { "IncompleteBody", C2_E_UNREACHABLE },
    { "RequestTimeout", C2_E_UNREACHABLE },
    { "EntityTooLarge", C2_E_TOO_LARGE },
    { "KeyTooLongError", C2_E_NAME_TOO_LONG },
    { "KeyTooLong", C2_E_NAME_TOO_LONG },
    { "NotImplemented", C2_E_UNSUPPORTED },
    { "SlowDown", C2_E_THROTTLED },
    { "InternalError", C2_E_UNAVAILABLE },
};

static enum c2_err
error_of_status(unsigned status)
{
    switch (status) {
    case 400:
        return C2_E_INVALID;
    case 401:
        return C2_E_AUTH;
    case 403:
        return C2_E_ACCESS;
    case 404: /* without NoSuchKey: nobody said that the key is absent */
        return C2_E_PROTOCOL;
    case 405:
    case 501:
        return C2_E_UNSUPPORTED;
    case 408:
        return C2_E_UNREACHABLE;
    case 409: /* another operation on the key is under way */
        return C2_E_UNAVAILABLE;
    case 412:
        return C2_E_PRECONDITION;
    case 413:
        return C2_E_TOO_LARGE;
    case 416:
        return C2_E_RANGE;
    case 429:
    case 503:
        return C2_E_THROTTLED;
    case 507:
        return C2_E_NO_SPACE;
    default:
        break;
    }
    if (status / 100 == 3)
        return C2_E_REDIRECT;
    return status / 100 == 5 ? C2_E_UNAVAILABLE : C2_E_PROTOCOL;
}

enum c2_err
s3_error_of(unsigned status, const char *code)
{
    for (size_t i = 0; i < C2_ARRAY_LEN(codes); i++) {
        if (strcmp(codes[i].code, code) == 0)
            return codes[i].err;
    }
    return error_of_status(status);
}

/* The region the bucket is in, when the answer says that ours is wrong. */
static void
find_region(struct s3_call *c)
{
    const char *header = http_head_get(&c->http.head, "x-amz-bucket-region");
    if (c->error.region[0] == '\0' && header != NULL)
        http_sanitise(c2_slice_str(header), c->error.region, sizeof(c->error.region));
    if (strcmp(c->error.region, c->client->target.region) == 0)
        c->error.region[0] = '\0';
}

static void
describe(struct s3_call *c, unsigned status)
{
    const char *location = http_head_get(&c->http.head, "location");
    const struct s3_error *e = &c->error;
    char clean[64] = "";
    if (e->region[0] != '\0' && (status == 400 || status / 100 == 3)) {
        snprintf(c->detail, sizeof(c->detail),
                 "the bucket is in region %s: set region = %s in [provider \"%.40s\"]", e->region,
                 e->region, c->client->name);
        c->err = C2_E_CONFIG;
    } else if (status / 100 == 3) {
        if (location != NULL)
            http_sanitise(c2_slice_str(location), clean, sizeof(clean));
        snprintf(c->detail, sizeof(c->detail),
                 "%u redirect to \"%s\" not followed: check endpoint, region and addressing",
                 status, clean);
    } else if (e->code[0] != '\0') {
        snprintf(c->detail, sizeof(c->detail), "%u %s%s%.80s", status, e->code,
                 e->message[0] != '\0' ? ": " : "", e->message);
    } else if (status == 404 && c->method != HTTP_HEAD) {
        snprintf(c->detail, sizeof(c->detail), "404 without an S3 error code: is endpoint right?");
    } else {
        snprintf(c->detail, sizeof(c->detail), "status %u without an S3 error code", status);
    }
}

/* Whether an answer that began as a success ends as a failure: some servers begin before they know.
 * The bytes of an object mean nothing. */
static bool
is_late_error(struct s3_call *c)
{
    bool is_object = c->method == HTTP_GET && c->key != NULL;
    return !is_object && c->http.reply != NULL &&
           s3_xml_error(c2_blob_slice(c->http.reply), &c->error) == C2_E_OK;
}

static void
take_answer(struct s3_call *c)
{
    const struct http_head *head = &c->http.head;
    bool late = head->status / 100 == 2 && is_late_error(c);
    if (head->status / 100 == 2 && !late) {
        c->client->bucket_seen = true;
        return;
    }
    if (!late && s3_xml_error(c2_buf_slice(&c->http.error_body), &c->error) != C2_E_OK)
        c->error = (struct s3_error){ 0 };
    if (strcmp(c->error.code, "NoSuchKey") == 0)
        c->client->bucket_seen = true;
    c->err = s3_error_of(late ? 500 : head->status, c->error.code);
    c->retry_after_ns =
        http_retry_after_parse(http_head_get(head, "retry-after"), c2_wall_ns(c->client->env));
    find_region(c);
    describe(c, head->status);
}

/* Whether this 403 may be about our clock; then the next attempt is signed with the cloud's. */
static bool
learn_clock(struct s3_call *c)
{
    if (c->http.head.status != 403 || c->resigned || c->server_wall_ns == 0)
        return false;
    uint64_t low = C2_MIN(c->server_wall_ns, c->signed_wall_ns);
    uint64_t high = C2_MAX(c->server_wall_ns, c->signed_wall_ns);
    if (high - low < SKEW_NOTICED_NS)
        return false;
    C2_MARK("s3: signed again with the cloud's clock");
    c->client->clock_offset_ns = (int64_t)(c->server_wall_ns - c2_wall_ns(c->client->env));
    c->resigned = true;
    return true;
}

static void
answered(struct http_req *r)
{
    struct s3_call *c = C2_CONTAINER_OF(r, struct s3_call, http);
    c->err = r->err;
    snprintf(c->detail, sizeof(c->detail), "%s", r->detail);
    if (r->err == C2_E_OK) {
        const char *date = http_head_get(&r->head, "date");
        if (date == NULL || http_date_parse(date, &c->server_wall_ns) != C2_E_OK)
            c->server_wall_ns = 0;
        if (learn_clock(c)) {
            s3_call_done(c);
            attempt(c);
            return;
        }
        take_answer(c);
    }
    c->done(c);
}

/* ---- one attempt ---- */

static void
build_url(struct s3_call *c, size_t *ret_path_at, size_t *ret_query_at)
{
    const struct s3_target *t = &c->client->target;
    c2_buf_puts(&c->url, t->origin);
    *ret_path_at = c->url.len;
    c2_buf_puts(&c->url, t->base_path);
    if (c->key != NULL || t->base_path[0] == '\0')
        c2_buf_puts(&c->url, "/");
    if (c->key != NULL)
        c2_url_encode(c2_slice_str(c->key), true, &c->url);
    *ret_query_at = c->url.len;
    if (c->nquery > 0) {
        c2_buf_puts(&c->url, "?");
        s3_query_build(c->query, c->nquery, &c->url);
    }
}

struct header_set {
    struct s3_pair pair[S3_SIGN_HEADERS_MAX];
    size_t n;
};

static void
add(struct header_set *h, const char *name, const char *value)
{
    if (value == NULL)
        return;
    C2_ASSERT(h->n < S3_SIGN_HEADERS_MAX);
    h->pair[h->n++] = (struct s3_pair){ name, value };
}

static const char *
method_name(enum http_method method)
{
    static const char *const names[] = { [HTTP_GET] = "GET",
                                         [HTTP_HEAD] = "HEAD",
                                         [HTTP_PUT] = "PUT",
                                         [HTTP_POST] = "POST",
                                         [HTTP_DELETE] = "DELETE" };
    return names[method];
}

static void
sign(struct s3_call *c, const struct header_set *h, const char *amz_date)
{
    size_t path_at, query_at;
    build_url(c, &path_at, &query_at);
    C2_AUTO(c2_free_auto)
    char *path = c2_strndup((const char *)c->url.data + path_at, query_at - path_at);
    struct s3_sign_request r = {
        .method = method_name(c->method),
        .path = path,
        .query = c2_buf_cstr(&c->url) + query_at + (c->nquery > 0 ? 1 : 0),
        .headers = h->pair,
        .nheaders = h->n,
        .payload_hash = c->payload_hash,
        .amz_date = amz_date,
    };
    c2_buf_puts(&c->auth, "Authorization: ");
    s3_sign(c->client->signer, &r, &c->auth);
}

/* The lines that are sent: all signed headers and the signature. Host is one of them: libcurl
 * writes addresses in another form than they may have here. */
static size_t
build_lines(struct s3_call *c, const struct header_set *h)
{
    size_t at[S3_SIGN_HEADERS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < h->n; i++) {
        at[n++] = c->lines.len;
        c2_buf_printf(&c->lines, "%s: %s", h->pair[i].name, h->pair[i].value);
        c2_buf_append(&c->lines, "", 1);
    }
    C2_ASSERT(n + 2 <= S3_CALL_LINES_MAX);
    for (size_t i = 0; i < n; i++)
        c->line[i] = (const char *)c->lines.data + at[i];
    c->line[n++] = c2_buf_cstr(&c->auth);
    if (c->content_type == NULL)
        c->line[n++] = "Content-Type:"; /* none, instead of libcurl's for forms */
    return n;
}

static void
attempt(struct s3_call *c)
{
    struct s3_client *client = c->client;
    char amz_date[S3_AMZ_DATE_LEN + 1];
    struct header_set h = { 0 };
    c->signed_wall_ns = c2_wall_ns(client->env) + (uint64_t)client->clock_offset_ns;
    s3_amz_date(c->signed_wall_ns, amz_date);
    add(&h, "host", client->target.host);
    add(&h, "x-amz-date", amz_date);
    add(&h, "x-amz-content-sha256", c->payload_hash);
    add(&h, "x-amz-security-token", client->session_token);
    add(&h, "range", c->range);
    add(&h, "content-type", c->content_type);
    add(&h, "content-md5", c->content_md5);
    add(&h, "x-amz-checksum-sha256", c->checksum);
    add(&h, "if-none-match", c->if_none_match ? "*" : NULL);
    sign(c, &h, amz_date);

    c->http = (struct http_req){
        .method = c->method,
        .url = c2_buf_cstr(&c->url),
        .header = c->line,
        .nheaders = build_lines(c, &h),
        .body = c->body,
        .once = c->if_none_match, /* the repetition would be refused because of the original */
        .reply_len_max = c->reply_len_max,
        .deadline_ns = c->deadline_ns,
        .done = answered,
    };
    http_submit(client->http, &c->http);
}

/* The checksums of nothing, for a body of something. */
void
s3_call_tamper(struct s3_call *c, enum prov_tamper what)
{
    switch (what) {
    case PROV_TAMPER_NONE:
        return;
    case PROV_TAMPER_MD5:
        c->content_md5 = "1B2M2Y8AsgTpgAmY7PhCfg==";
        return;
    case PROV_TAMPER_SHA256:
        c->checksum = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        return;
    case PROV_TAMPER_PAYLOAD:
        c->payload_hash = S3_EMPTY_SHA256;
        return;
    }
    C2_UNREACHABLE();
}

void
s3_call_start(struct s3_call *c)
{
    C2_ASSERT(c->done != NULL && c->payload_hash != NULL);
    C2_ASSERT(c->url.len == 0 && c->http.reply == NULL);
    c->err = C2_E_OK;
    c->detail[0] = '\0';
    c->error = (struct s3_error){ 0 };
    c->server_wall_ns = c->retry_after_ns = 0;
    c->resigned = false;
    attempt(c);
}

void
s3_call_cancel(struct s3_call *c)
{
    http_cancel(c->client->http, &c->http);
}
