/* SPDX-License-Identifier: MIT */
/*
 * The signer against AWS's published vectors: the examples of the S3 documentation ("Authenticating
 * Requests: Using the Authorization Header") and cases of the Signature Version 4 test suite that
 * apply to S3 (single encoding, path not normalised).
 */
#include "backends/s3_sign.h"

#include "base/alloc.h"
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SUITE_KEY    "AKIDEXAMPLE"
#define SUITE_SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define SUITE_DATE   "20150830T123600Z"
#define DOC_KEY      "AKIAIOSFODNN7EXAMPLE"
#define DOC_SECRET   "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define DOC_DATE     "20130524T000000Z"
#define ALNUM        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

struct vector {
    const char *title;
    const char *method;
    const char *path; /* before encoding */
    struct s3_pair query[3];
    struct s3_pair headers[6]; /* besides host and x-amz-date */
    const char *payload_hash;
    const char *signed_headers;
    const char *signature;
};

static const struct vector suite[] = {
    { .title = "get-vanilla",
      .method = "GET",
      .path = "/",
      .signed_headers = "host;x-amz-date",
      .signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
    { .title = "post-vanilla",
      .method = "POST",
      .path = "/",
      .signed_headers = "host;x-amz-date",
      .signature = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" },
    { .title = "get-vanilla-query-order-key-case",
      .method = "GET",
      .path = "/",
      .query = { { "Param2", "value2" }, { "Param1", "value1" } },
      .signed_headers = "host;x-amz-date",
      .signature = "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500" },
    { .title = "get-vanilla-query-order-encoded",
      .method = "GET",
      .path = "/",
      .query = { { "Param-3", "Value3" }, { "Param", "Value2" }, { "\u1234", "Value1" } },
      .signed_headers = "host;x-amz-date",
      .signature = "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac" },
    { .title = "get-vanilla-query-unreserved",
      .method = "GET",
      .path = "/",
      .query = { { "-._~" ALNUM, "-._~" ALNUM } },
      .signed_headers = "host;x-amz-date",
      .signature = "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197" },
    { .title = "get-vanilla-utf8-query",
      .method = "GET",
      .path = "/",
      .query = { { "\u1234", "bar" } },
      .signed_headers = "host;x-amz-date",
      .signature = "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04" },
    { .title = "get-unreserved",
      .method = "GET",
      .path = "/-._~" ALNUM,
      .signed_headers = "host;x-amz-date",
      .signature = "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f" },
    { .title = "get-utf8",
      .method = "GET",
      .path = "/\u1234",
      .signed_headers = "host;x-amz-date",
      .signature = "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85" },
    { .title = "get-space-unnormalized",
      .method = "GET",
      .path = "/example space/",
      .signed_headers = "host;x-amz-date",
      .signature = "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741" },
    { .title = "get-slashes-unnormalized",
      .method = "GET",
      .path = "//example//",
      .signed_headers = "host;x-amz-date",
      .signature = "87cca117541a147f6df867677d98a7d80dff226d2bfca9e4ffa899665623c7e5" },
    { .title = "get-header-value-trim",
      .method = "GET",
      .path = "/",
      .headers = { { "my-header1", " value1" }, { "my-header2", " \"a   b   c\" " } },
      .signed_headers = "host;my-header1;my-header2;x-amz-date",
      .signature = "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736" },
    { .title = "get-vanilla-with-session-token",
      .method = "GET",
      .path = "/",
      .headers = { { "x-amz-security-token",
                     "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267" } },
      .signed_headers = "host;x-amz-date;x-amz-security-token",
      .signature = "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8" },
    { .title = "post-x-www-form-urlencoded",
      .method = "POST",
      .path = "/",
      .headers = { { "content-type", "application/x-www-form-urlencoded" },
                   { "content-length", "13" },
                   { "x-amz-content-sha256",
                     "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e" } },
      .payload_hash = "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e",
      .signed_headers = "content-length;content-type;host;x-amz-content-sha256;x-amz-date",
      .signature = "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b" },
};

static const struct vector documentation[] = {
    { .title = "GET Object",
      .method = "GET",
      .path = "/test.txt",
      .headers = { { "range", "bytes=0-9" }, { "x-amz-content-sha256", S3_EMPTY_SHA256 } },
      .signed_headers = "host;range;x-amz-content-sha256;x-amz-date",
      .signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41" },
    { .title = "PUT Object",
      .method = "PUT",
      .path = "/test$file.text",
      .headers = { { "date", "Fri, 24 May 2013 00:00:00 GMT" },
                   { "x-amz-content-sha256",
                     "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072" },
                   { "x-amz-storage-class", "REDUCED_REDUNDANCY" } },
      .payload_hash = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
      .signed_headers = "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
      .signature = "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd" },
    { .title = "GET Bucket Lifecycle",
      .method = "GET",
      .path = "/",
      .query = { { "lifecycle", "" } },
      .headers = { { "x-amz-content-sha256", S3_EMPTY_SHA256 } },
      .signed_headers = "host;x-amz-content-sha256;x-amz-date",
      .signature = "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543" },
    { .title = "List Objects",
      .method = "GET",
      .path = "/",
      .query = { { "prefix", "J" }, { "max-keys", "2" } },
      .headers = { { "x-amz-content-sha256", S3_EMPTY_SHA256 } },
      .signed_headers = "host;x-amz-content-sha256;x-amz-date",
      .signature = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7" },
};

static size_t
count_pairs(const struct s3_pair *p, size_t max)
{
    size_t n = 0;
    while (n < max && p[n].name != NULL)
        n++;
    return n;
}

static void
check_vector(struct s3_signer *s, const struct vector *v, const char *host, const char *date,
             const char *scope)
{
    C2_AUTO(c2_buf_done) struct c2_buf path = { 0 };
    C2_AUTO(c2_buf_done) struct c2_buf query = { 0 };
    C2_AUTO(c2_buf_done) struct c2_buf got = { 0 };
    C2_AUTO(c2_buf_done) struct c2_buf want = { 0 };
    struct s3_pair headers[8] = { { "x-amz-date", date }, { "host", host } };
    size_t n = count_pairs(v->headers, C2_ARRAY_LEN(v->headers));
    memcpy(headers + 2, v->headers, n * sizeof(headers[0]));
    c2_url_encode(c2_slice_str(v->path), true, &path);
    s3_query_build(v->query, count_pairs(v->query, C2_ARRAY_LEN(v->query)), &query);

    struct s3_sign_request r = {
        .method = v->method,
        .path = c2_buf_cstr(&path),
        .query = c2_buf_cstr(&query),
        .headers = headers,
        .nheaders = n + 2,
        .payload_hash = v->payload_hash != NULL ? v->payload_hash : S3_EMPTY_SHA256,
        .amz_date = date,
    };
    s3_sign(s, &r, &got);
    c2_buf_printf(&want, "AWS4-HMAC-SHA256 Credential=%s, SignedHeaders=%s, Signature=%s", scope,
                  v->signed_headers, v->signature);
    if (strcmp(c2_buf_cstr(&got), c2_buf_cstr(&want)) != 0)
        fail_msg("%s:\n got %s\nwant %s", v->title, c2_buf_cstr(&got), c2_buf_cstr(&want));
}

static void
sign__matches_aws_test_suite(void **state)
{
    (void)state;
    struct s3_signer *s = s3_signer_new(SUITE_KEY, SUITE_SECRET, "us-east-1", "service");
    for (size_t i = 0; i < C2_ARRAY_LEN(suite); i++)
        check_vector(s, &suite[i], "example.amazonaws.com", SUITE_DATE,
                     SUITE_KEY "/20150830/us-east-1/service/aws4_request");
    s3_signer_free(s);
}

static void
sign__matches_s3_documentation(void **state)
{
    (void)state;
    struct s3_signer *s = s3_signer_new(DOC_KEY, DOC_SECRET, "us-east-1", "s3");
    for (size_t i = 0; i < C2_ARRAY_LEN(documentation); i++)
        check_vector(s, &documentation[i], "examplebucket.s3.amazonaws.com", DOC_DATE,
                     DOC_KEY "/20130524/us-east-1/s3/aws4_request");
    s3_signer_free(s);
}

static void
canonical__is_the_documented_text(void **state)
{
    (void)state;
    const struct s3_pair headers[] = {
        { "x-amz-date", DOC_DATE },
        { "x-amz-content-sha256", S3_EMPTY_SHA256 },
        { "range", "bytes=0-9" },
        { "host", "examplebucket.s3.amazonaws.com" },
    };
    struct s3_sign_request r = { "GET",           "/test.txt", "", headers, C2_ARRAY_LEN(headers),
                                 S3_EMPTY_SHA256, DOC_DATE };
    C2_AUTO(c2_buf_done) struct c2_buf text = { 0 };
    C2_AUTO(c2_buf_done) struct c2_buf names = { 0 };
    s3_sign_canonical(&r, &text, &names);
    assert_string_equal(c2_buf_cstr(&text),
                        "GET\n/test.txt\n\n"
                        "host:examplebucket.s3.amazonaws.com\n"
                        "range:bytes=0-9\n"
                        "x-amz-content-sha256:" S3_EMPTY_SHA256 "\n"
                        "x-amz-date:20130524T000000Z\n\n"
                        "host;range;x-amz-content-sha256;x-amz-date\n" S3_EMPTY_SHA256);
    uint8_t hash[C2_SHA256_LEN];
    char hex[65];
    c2_sha256(c2_buf_slice(&text), hash);
    c2_hex_encode(hash, sizeof(hash), hex);
    assert_string_equal(hex, "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972");
}

static void
canonical__sorts_headers_by_name_not_by_line(void **state)
{
    (void)state;
    /* ':' sorts after '-': a signer that sorts lines puts the longer name first. */
    const struct s3_pair headers[] = {
        { "x-amz-meta-foo-bar", "2" },
        { "x-amz-meta-foo", "1" },
        { "host", "h" },
    };
    struct s3_sign_request r = { "GET", "/", "", headers, 3, S3_UNSIGNED_PAYLOAD, DOC_DATE };
    C2_AUTO(c2_buf_done) struct c2_buf text = { 0 };
    C2_AUTO(c2_buf_done) struct c2_buf names = { 0 };
    s3_sign_canonical(&r, &text, &names);
    assert_string_equal(c2_buf_cstr(&names), "host;x-amz-meta-foo;x-amz-meta-foo-bar");
}

static void
query__is_sorted_after_encoding(void **state)
{
    (void)state;
    C2_AUTO(c2_buf_done) struct c2_buf q = { 0 };
    const struct s3_pair pairs[] = {
        { "prefix", "a b/+~*'" },
        { "delete", "" },
        { "start-after", "a&b=c" },
        { "list-type", "2" },
    };
    s3_query_build(pairs, C2_ARRAY_LEN(pairs), &q);
    assert_string_equal(c2_buf_cstr(&q), "delete=&list-type=2&prefix=a%20b%2F%2B~%2A%27"
                                         "&start-after=a%26b%3Dc");
}

static void
key__follows_the_day(void **state)
{
    (void)state;
    /* The cached key of another day must not be used: the first day's signature comes back. */
    struct s3_signer *s = s3_signer_new(SUITE_KEY, SUITE_SECRET, "us-east-1", "service");
    const char *scope = SUITE_KEY "/20150830/us-east-1/service/aws4_request";
    check_vector(s, &suite[0], "example.amazonaws.com", SUITE_DATE, scope);
    const struct s3_pair h[] = { { "host", "example.amazonaws.com" },
                                 { "x-amz-date", "20150831T123600Z" } };
    struct s3_sign_request r = { "GET", "/", "", h, 2, S3_EMPTY_SHA256, "20150831T123600Z" };
    C2_AUTO(c2_buf_done) struct c2_buf other = { 0 };
    s3_sign(s, &r, &other);
    assert_null(strstr(c2_buf_cstr(&other), suite[0].signature));
    assert_non_null(strstr(c2_buf_cstr(&other), "/20150831/"));
    check_vector(s, &suite[0], "example.amazonaws.com", SUITE_DATE, scope);
    s3_signer_free(s);
}

static void
date__is_compact_utc(void **state)
{
    (void)state;
    char text[S3_AMZ_DATE_LEN + 1];
    s3_amz_date(1369353600ull * 1000000000ull, text);
    assert_string_equal(text, DOC_DATE);
    s3_amz_date(1440938160ull * 1000000000ull + 999999999ull, text);
    assert_string_equal(text, SUITE_DATE);
}

int
main(void)
{
    if (c2_crypto_init() != C2_E_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sign__matches_aws_test_suite),
        cmocka_unit_test(sign__matches_s3_documentation),
        cmocka_unit_test(canonical__is_the_documented_text),
        cmocka_unit_test(canonical__sorts_headers_by_name_not_by_line),
        cmocka_unit_test(query__is_sorted_after_encoding),
        cmocka_unit_test(key__follows_the_day),
        cmocka_unit_test(date__is_compact_utc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
