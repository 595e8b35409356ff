/* SPDX-License-Identifier: MIT */
/*
 * The S3 provider against a real server, and against libs3 as an independent client: what one
 * writes, the other reads. The server, a bucket in it and what it is known to get wrong come from
 * the environment; test_s3_driver.sh sets it.
 *
 *   S3_ENDPOINT S3_REGION S3_BUCKET S3_CA_FILE S3_ACCESS_KEY S3_SECRET_KEY
 *   S3_ADDRESSING=vhost      the bucket is in the host name
 *   S3_SKIP      names of tests that this server is known to fail
 *   S3_LIBS3=1   the server takes libs3's signatures
 *   S3_REGION_CHECKED=1, S3_HASH_CHECKED=1   the server refuses a wrong region, a wrong hash
 *   S3_EXPECT_TLS_ERROR=1   nothing but: the server's certificate must be refused
 */
#include "backends/registry.h"
#include "backends/s3.h"

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/mark.h"
#include "base/os_loop.h"
#include "tests/lib/provider_contract.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libs3.h>

#define TIMEOUT_NS (120 * C2_NS_PER_S)
#define TESTS_MAX  64

static struct {
    struct c2_os *os;
    struct c2_env *env;
    struct provider *p;
    struct provider_contract contract;
    const char *endpoint, *region, *bucket, *ca_file, *access, *secret;
    char folder[32]; /* in the bucket; new for each run */
} s;

static const char *
setting(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static bool
is_set(const char *name)
{
    return setting(name) != NULL;
}

static struct prov_s3_config
config(char url[256])
{
    snprintf(url, 256, "s3://%s/%s", s.bucket, s.folder);
    return (struct prov_s3_config){
        .name = "test",
        .url = url,
        .endpoint = s.endpoint,
        .region = s.region,
        .addressing = is_set("S3_ADDRESSING") ? PROV_S3_VHOST : PROV_S3_PATH,
        .ca_file = s.ca_file,
        .access_key_id = s.access,
        .secret_access_key = s.secret,
    };
}

static struct provider *
open_with(struct c2_env *env, const struct prov_s3_config *cfg)
{
    struct provider *p = NULL;
    char *error = NULL;
    if (prov_s3_new(env, s.os, cfg, &p, &error) != C2_E_OK)
        fail_msg("%s", error);
    return p;
}

static void
run_until(void *arg, const bool *flag)
{
    (void)arg;
    c2_os_run_until(s.os, flag);
}

static struct provider_contract
contract_of(struct provider *p)
{
    return (struct provider_contract){
        .p = p, .prefix = "contract/", .timeout_ns = TIMEOUT_NS, .run_until = run_until
    };
}

/* What a HEAD of a key that is not there ends with, and what the provider says about it. */
static enum c2_err
outcome(struct provider *p, enum prov_verb verb, char detail[160])
{
    struct provider_contract c = contract_of(p);
    struct test_prov_req t;
    test_prov_req_init(&c, &t, verb, "absent");
    enum c2_err err = test_prov_run(&c, &t);
    snprintf(detail, 160, "%s", t.r.detail);
    test_prov_req_done(&t);
    return err;
}

/* ---- the contract ---- */

static void
run_case(void **state)
{
    const struct provider_contract_case *one = *state;
    one->run(&s.contract);
}

/* ---- the probe ---- */

static bool probe_ended;

static void
probe_done(struct prov_probe *p)
{
    (void)p;
    probe_ended = true;
}

static void
probe__finds_nothing_wrong(void **state)
{
    (void)state;
    struct prov_probe p = {
        .provider = s.p, .key_prefix = "v1", .deadline_ns = C2_NEVER, .done = probe_done
    };
    probe_ended = false;
    prov_probe_start(&p);
    c2_os_run_until(s.os, &probe_ended);
    for (unsigned i = 0; i < PROV_CHECK_COUNT; i++) {
        const struct prov_probe_check *c = &p.checks[i];
        print_message("             %s: %s %s\n", c->name, c2_err_name(c->err), c->detail);
        bool conditional = i == PROV_CHECK_IF_ABSENT || i == PROV_CHECK_IF_ABSENT_GUARD;
        if (!conditional || (s.p->caps & PROV_CAP_IF_ABSENT) != 0)
            assert_true(c->ran && c->err == C2_E_OK);
    }
    assert_int_equal(p.err, C2_E_OK);
    assert_true(p.clock_known && p.latency_put_ns > 0 && p.latency_get_ns > 0);
}

/* ---- libs3, blocking, one request at a time ---- */

struct transfer {
    struct c2_buf *out; /* GET, LIST */
    struct c2_slice in; /* PUT */
    S3Status status;
};

static S3Status
properties(const S3ResponseProperties *p, void *arg)
{
    (void)p;
    (void)arg;
    return S3StatusOK;
}

static void
complete(S3Status status, const S3ErrorDetails *details, void *arg)
{
    (void)details;
    struct transfer *t = arg;
    t->status = status;
}

static int
give(int size, char *buffer, void *arg)
{
    struct transfer *t = arg;
    size_t n = C2_MIN((size_t)size, t->in.len);
    if (n > 0)
        memcpy(buffer, t->in.data, n);
    t->in = c2_slice(t->in.data + n, t->in.len - n);
    return (int)n;
}

static S3Status
take(int size, const char *buffer, void *arg)
{
    struct transfer *t = arg;
    c2_buf_append(t->out, buffer, (size_t)size);
    return S3StatusOK;
}

static S3Status
take_list(int truncated, const char *next, int count, const S3ListBucketContent *contents,
          int nprefixes, const char **prefixes, void *arg)
{
    (void)truncated;
    (void)next;
    (void)nprefixes;
    (void)prefixes;
    struct transfer *t = arg;
    for (int i = 0; i < count; i++)
        c2_buf_printf(t->out, "%s %llu\n", contents[i].key, (unsigned long long)contents[i].size);
    return S3StatusOK;
}

static S3BucketContext
libs3_bucket(void)
{
    const char *host = strstr(s.endpoint, "://") + 3;
    return (S3BucketContext){ .hostName = host,
                              .bucketName = s.bucket,
                              .protocol = strncmp(s.endpoint, "https", 5) == 0 ? S3ProtocolHTTPS
                                                                               : S3ProtocolHTTP,
                              .uriStyle = S3UriStylePath,
                              .accessKeyId = s.access,
                              .secretAccessKey = s.secret };
}

static void
libs3_put(const char *key, struct c2_slice body)
{
    S3BucketContext b = libs3_bucket();
    S3PutObjectHandler h = { { properties, complete }, give };
    struct transfer t = { .in = body };
    S3_put_object(&b, key, body.len, NULL, NULL, &h, &t);
    assert_string_equal(S3_get_status_name(t.status), "OK");
}

static void
libs3_get(const char *key, struct c2_buf *out)
{
    S3BucketContext b = libs3_bucket();
    S3GetObjectHandler h = { { properties, complete }, take };
    struct transfer t = { .out = out };
    S3_get_object(&b, key, NULL, 0, 0, NULL, &h, &t);
    assert_string_equal(S3_get_status_name(t.status), "OK");
}

static void
libs3_list(const char *prefix, struct c2_buf *out)
{
    S3BucketContext b = libs3_bucket();
    S3ListBucketHandler h = { { properties, complete }, take_list };
    struct transfer t = { .out = out };
    S3_list_bucket(&b, prefix, NULL, NULL, 1000, NULL, &h, &t);
    assert_string_equal(S3_get_status_name(t.status), "OK");
}

static struct c2_blob *
pattern(size_t len)
{
    struct c2_blob *b = c2_blob_new(len);
    for (size_t i = 0; i < len; i++)
        b->data[i] = (uint8_t)((i * 2654435761u) >> 11);
    return b;
}

static const struct {
    const char *key;
    size_t len;
} exchanged[] = {
    { "libs3/empty", 0 },        { "libs3/one", 1 },     { "libs3/a/b/c.d-e_f", 5000 },
    { "libs3/large", 3u << 20 }, { "libs3/~tilde", 77 }, { "libs3/x=y", 78 },
};

static void
libs3__reads_what_we_write(void **state)
{
    (void)state;
    C2_AUTO(c2_buf_done) struct c2_buf want = { 0 };
    for (size_t i = 0; i < C2_ARRAY_LEN(exchanged); i++) {
        char full[128];
        C2_AUTO(c2_buf_done) struct c2_buf got = { 0 };
        struct c2_blob *body = pattern(exchanged[i].len);
        assert_int_equal(test_prov_put(&s.contract, exchanged[i].key, c2_blob_slice(body), false),
                         C2_E_OK);
        snprintf(full, sizeof(full), "%s/%s", s.folder, exchanged[i].key);
        libs3_get(full, &got);
        assert_true(c2_slice_equal(c2_buf_slice(&got), c2_blob_slice(body)));
        c2_blob_unref(body);
    }
    C2_AUTO(c2_buf_done) struct c2_buf list = { 0 };
    char prefix[64];
    snprintf(prefix, sizeof(prefix), "%s/libs3/", s.folder);
    libs3_list(prefix, &list);
    for (size_t i = 0; i < C2_ARRAY_LEN(exchanged); i++) {
        c2_buf_clear(&want);
        c2_buf_printf(&want, "%s/%s %zu\n", s.folder, exchanged[i].key, exchanged[i].len);
        assert_non_null(strstr(c2_buf_cstr(&list), c2_buf_cstr(&want)));
    }
}

static void
libs3__writes_what_we_read(void **state)
{
    (void)state;
    C2_AUTO(c2_buf_done) struct c2_buf list = { 0 };
    for (size_t i = 0; i < C2_ARRAY_LEN(exchanged); i++) {
        char full[128];
        char key[64];
        uint64_t size = 0;
        struct c2_blob *body = pattern(exchanged[i].len);
        snprintf(key, sizeof(key), "reverse/%.40s", exchanged[i].key);
        snprintf(full, sizeof(full), "%s/%s", s.folder, key);
        libs3_put(full, c2_blob_slice(body));
        test_prov_assert_body(&s.contract, key, c2_blob_slice(body));
        assert_int_equal(test_prov_head(&s.contract, key, &size), C2_E_OK);
        assert_int_equal(size, body->len);
        c2_blob_unref(body);
    }
    assert_int_equal(test_prov_list(&s.contract, "reverse/", NULL, 1000, &list), C2_E_OK);
    assert_string_equal(c2_buf_cstr(&list), "reverse/libs3/a/b/c.d-e_f\nreverse/libs3/empty\n"
                                            "reverse/libs3/large\nreverse/libs3/one\n"
                                            "reverse/libs3/x=y\nreverse/libs3/~tilde\n");
}

/* ---- refusals ---- */

static void
wrong_secret__is_an_authentication_error(void **state)
{
    (void)state;
    char url[256];
    char detail[160];
    struct prov_s3_config cfg = config(url);
    cfg.secret_access_key = "not-the-secret";
    struct provider *p = open_with(s.env, &cfg);
    assert_int_equal(outcome(p, PROV_GET, detail), C2_E_AUTH);
    assert_null(strstr(detail, "not-the-secret"));
    assert_int_equal(outcome(p, PROV_DELETE, detail), C2_E_AUTH);
    assert_int_equal(outcome(p, PROV_LIST, detail), C2_E_AUTH);
    enum c2_err head = outcome(p, PROV_HEAD, detail); /* its answer has no code */
    assert_true(head == C2_E_ACCESS || head == C2_E_AUTH);
    prov_close(p);
}

static void
missing_bucket__is_never_a_missing_key(void **state)
{
    (void)state;
    char url[256];
    char detail[160];
    struct prov_s3_config cfg = config(url);
    snprintf(url, sizeof(url), "s3://no-such-bucket-here");
    struct provider *p = open_with(s.env, &cfg);
    static const enum prov_verb verbs[] = { PROV_HEAD, PROV_GET, PROV_LIST, PROV_DELETE };
    for (size_t i = 0; i < C2_ARRAY_LEN(verbs); i++)
        assert_int_equal(outcome(p, verbs[i], detail), C2_E_CONFIG);
    prov_close(p);
}

static void
wrong_region__names_the_right_one(void **state)
{
    (void)state;
    char url[256];
    char detail[160];
    char want[64];
    struct prov_s3_config cfg = config(url);
    cfg.region = "xx-nowhere-9";
    struct provider *p = open_with(s.env, &cfg);
    assert_int_equal(outcome(p, PROV_GET, detail), C2_E_CONFIG);
    snprintf(want, sizeof(want), "set region = %s", s.region);
    if (strstr(detail, want) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", detail, want);
    prov_close(p);
}

static void
wrong_hash__is_refused_by_the_server(void **state)
{
    (void)state;
    struct test_prov_req t;
    static const uint8_t wrong[C2_SHA256_LEN] = { 1, 2, 3 };
    struct c2_blob *got = NULL;
    test_prov_req_init(&s.contract, &t, PROV_PUT, "hash/object");
    t.r.body = c2_blob_copy("bytes", 5);
    t.r.body_sha256 = wrong;
    assert_int_equal(test_prov_run(&s.contract, &t), C2_E_CORRUPT);
    assert_int_equal(test_prov_get(&s.contract, "hash/object", &got), C2_E_NOT_FOUND);
    uint8_t right[C2_SHA256_LEN];
    c2_sha256(c2_slice("bytes", 5), right);
    t.completed = false;
    t.completions = 0;
    t.r.body_sha256 = right;
    assert_int_equal(test_prov_run(&s.contract, &t), C2_E_OK);
    c2_blob_unref(t.r.body);
    test_prov_req_done(&t);
}

/* ---- a clock that is wrong ---- */

struct skewed {
    struct c2_env env;
    int64_t offset_ns;
};

static uint64_t
skewed_now(struct c2_env *e)
{
    (void)e;
    return c2_now_ns(s.env);
}

static uint64_t
skewed_wall(struct c2_env *e)
{
    struct skewed *k = C2_CONTAINER_OF(e, struct skewed, env);
    return c2_wall_ns(s.env) + (uint64_t)k->offset_ns;
}

static void
skewed_random(struct c2_env *e, void *out, size_t len)
{
    (void)e;
    c2_random(s.env, out, len);
}

static void
skewed_arm(struct c2_env *e, struct c2_timer *t, uint64_t deadline_ns)
{
    (void)e;
    c2_timer_arm(s.env, t, deadline_ns);
}

static void
skewed_stop(struct c2_env *e, struct c2_timer *t)
{
    (void)e;
    c2_timer_stop(s.env, t);
}

static void
skewed_defer(struct c2_env *e, struct c2_task *t)
{
    (void)e;
    c2_defer(s.env, t);
}

static void
skewed_work(struct c2_env *e, struct c2_work *w)
{
    (void)e;
    c2_work(s.env, w);
}

static void
skewed_disk(struct c2_env *e, struct c2_disk_req *r)
{
    (void)e;
    c2_disk(s.env, r);
}

static const struct c2_env_ops skewed_ops = {
    skewed_now,  skewed_wall,  skewed_random, skewed_arm,
    skewed_stop, skewed_defer, skewed_work,   skewed_disk
};

static void
skewed_clock__is_learned_from_the_server(void **state)
{
    (void)state;
#ifdef C2_TEST_BUILD
    c2_mark_reset();
#endif
    static const int64_t offsets_s[] = { -3600, 3600, 86400 * 30ll };
    for (size_t i = 0; i < C2_ARRAY_LEN(offsets_s); i++) {
        struct skewed k = { .env = { &skewed_ops },
                            .offset_ns = offsets_s[i] * (int64_t)C2_NS_PER_S };
        char url[256];
        struct prov_s3_config cfg = config(url);
        struct provider *p = open_with(&k.env, &cfg);
        struct provider_contract c = contract_of(p);
        assert_int_equal(test_prov_put(&c, "skew/object", c2_slice_str("x"), false), C2_E_OK);
        test_prov_assert_body(&c, "skew/object", c2_slice_str("x"));
#ifdef C2_TEST_BUILD
        assert_int_equal(c2_mark_count("s3: signed again with the cloud's clock"), i + 1);
#endif
        prov_close(p);
    }
}

/* ---- TLS ---- */

static void
certificate__is_refused(void **state)
{
    (void)state;
    char detail[160];
    assert_int_equal(outcome(s.p, PROV_GET, detail), C2_E_TLS);
    assert_true(detail[0] != '\0');
}

static void
unknown_authority__is_refused(void **state)
{
    (void)state;
    char url[256];
    char detail[160];
    struct prov_s3_config cfg = config(url);
    cfg.ca_file = NULL;
    struct provider *p = open_with(s.env, &cfg);
    assert_int_equal(outcome(p, PROV_GET, detail), C2_E_TLS);
    prov_close(p);
}

/* ---- main ---- */

static bool
is_skipped(const char *name)
{
    const char *list = setting("S3_SKIP");
    return list != NULL && strstr(list, name) != NULL;
}

static void
skipped(void **state)
{
    (void)state;
    skip();
}

static size_t
collect(struct CMUnitTest *tests)
{
    const struct CMUnitTest ours[] = {
        cmocka_unit_test(probe__finds_nothing_wrong),
        cmocka_unit_test(wrong_secret__is_an_authentication_error),
        cmocka_unit_test(missing_bucket__is_never_a_missing_key),
        cmocka_unit_test(skewed_clock__is_learned_from_the_server),
    };
    const struct CMUnitTest libs3[] = {
        cmocka_unit_test(libs3__reads_what_we_write),
        cmocka_unit_test(libs3__writes_what_we_read),
    };
    size_t n = 0;
    for (size_t i = 0; i < provider_contract_cases_count; i++) {
        union { /* cmocka's states are not const */
            const struct provider_contract_case *one;
            void *state;
        } u = { &provider_contract_cases[i] };
        tests[n++] = (struct CMUnitTest){ .name = u.one->name,
                                          .test_func = run_case,
                                          .initial_state = u.state };
    }
    for (size_t i = 0; i < C2_ARRAY_LEN(ours); i++)
        tests[n++] = ours[i];
    for (size_t i = 0; is_set("S3_LIBS3") && i < C2_ARRAY_LEN(libs3); i++)
        tests[n++] = libs3[i];
    if (is_set("S3_REGION_CHECKED"))
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(wrong_region__names_the_right_one);
    if (is_set("S3_HASH_CHECKED"))
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(wrong_hash__is_refused_by_the_server);
    if (s.ca_file != NULL)
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(unknown_authority__is_refused);
    for (size_t i = 0; i < n; i++) {
        if (is_skipped(tests[i].name))
            tests[i].test_func = skipped;
    }
    return n;
}

int
main(void)
{
    char url[256];
    struct CMUnitTest tests[TESTS_MAX];
    size_t n = 1;
    s.endpoint = setting("S3_ENDPOINT");
    s.region = setting("S3_REGION");
    s.bucket = setting("S3_BUCKET");
    s.ca_file = setting("S3_CA_FILE");
    s.access = setting("S3_ACCESS_KEY");
    s.secret = setting("S3_SECRET_KEY");
    if (c2_crypto_init() != C2_E_OK || s.endpoint == NULL || s.bucket == NULL)
        return 2;
    if (c2_os_new(2, &s.os) != C2_E_OK || S3_initialize(NULL, S3_INIT_ALL, NULL) != S3StatusOK)
        return 2;
    s.env = c2_os_env(s.os);
    uint32_t run;
    c2_random(s.env, &run, sizeof(run));
    snprintf(s.folder, sizeof(s.folder), "driver-%08x", run);
    struct prov_s3_config cfg = config(url);
    s.p = open_with(s.env, &cfg);
    s.contract = contract_of(s.p);
    if (is_set("S3_EXPECT_TLS_ERROR"))
        tests[0] = (struct CMUnitTest)cmocka_unit_test(certificate__is_refused);
    else
        n = collect(tests);
    int rc = _cmocka_run_group_tests("s3_driver", tests, n, NULL, NULL);
    prov_close(s.p);
    S3_deinitialize();
    c2_os_free(s.os);
    return rc == 0 ? 0 : 1;
}
