/* SPDX-License-Identifier: MIT */
#include "backends/s3_target.h"

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/os_loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct prov_s3_config
config(const char *url, const char *endpoint)
{
    return (struct prov_s3_config){ .name = "p",
                                    .url = url,
                                    .endpoint = endpoint,
                                    .region = "eu-central-1",
                                    .addressing = PROV_S3_AUTO,
                                    .access_key_id = "AK",
                                    .secret_access_key = "secret" };
}

static void
target__knows_where_requests_go(void **state)
{
    (void)state;
    static const struct {
        const char *url, *endpoint, *origin, *host, *base_path, *prefix;
        enum prov_s3_addressing addressing;
        bool tls, loopback;
    } cases[] = {
        { "s3://b", NULL, "https://b.s3.eu-central-1.amazonaws.com",
          "b.s3.eu-central-1.amazonaws.com", "", "", PROV_S3_AUTO, true, false },
        { "s3://b/x", NULL, "https://s3.eu-central-1.amazonaws.com",
          "s3.eu-central-1.amazonaws.com", "/b", "x/", PROV_S3_PATH, true, false },
        { "s3://b.dot", "", "https://s3.eu-central-1.amazonaws.com",
          "s3.eu-central-1.amazonaws.com", "/b.dot", "", PROV_S3_AUTO, true, false },
        { "s3://b/x/y//", "https://h:443/", "https://h", "h", "/b", "x/y/", PROV_S3_AUTO, true,
          false },
        { "s3://b", "h.example:8443", "https://b.h.example:8443", "b.h.example:8443", "", "",
          PROV_S3_VHOST, true, false },
        { "s3://b", "http://127.0.0.1:7480", "http://127.0.0.1:7480", "127.0.0.1:7480", "/b", "",
          PROV_S3_AUTO, false, true },
        { "s3://b", "http://LOCALHOST:80", "http://LOCALHOST", "LOCALHOST", "/b", "", PROV_S3_AUTO,
          false, true },
        { "s3://b", "http://[::1]:9000", "http://[::1]:9000", "[::1]:9000", "/b", "", PROV_S3_AUTO,
          false, true },
        { "s3://b", "HTTPS://h:80", "https://h:80", "h:80", "/b", "", PROV_S3_AUTO, true, false },
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(cases); i++) {
        struct s3_target t;
        char *error = NULL;
        struct prov_s3_config cfg = config(cases[i].url, cases[i].endpoint);
        cfg.addressing = cases[i].addressing;
        assert_int_equal(s3_target_parse(&cfg, &t, &error), C2_E_OK);
        assert_string_equal(t.origin, cases[i].origin);
        assert_string_equal(t.host, cases[i].host);
        assert_string_equal(t.base_path, cases[i].base_path);
        assert_string_equal(t.prefix, cases[i].prefix);
        assert_int_equal(t.tls, cases[i].tls);
        assert_int_equal(t.loopback, cases[i].loopback);
        s3_target_done(&t);
    }
}

static void
target__refuses_what_it_cannot_mean(void **state)
{
    (void)state;
    static const struct {
        const char *url, *endpoint, *says;
        enum prov_s3_addressing addressing;
    } cases[] = {
        { NULL, NULL, "s3://bucket", PROV_S3_AUTO },
        { "s3://", NULL, "bucket", PROV_S3_AUTO },
        { "s3:///x", NULL, "bucket", PROV_S3_AUTO },
        { "http://b", NULL, "s3://bucket", PROV_S3_AUTO },
        { "s3://b c", NULL, "bucket", PROV_S3_AUTO },
        { "s3://b/x y", NULL, "prefix", PROV_S3_AUTO },
        { "s3://b/x?y", NULL, "prefix", PROV_S3_AUTO },
        { "s3://b", "ftp://h", "https://host", PROV_S3_AUTO },
        { "s3://b", "https://", "https://host", PROV_S3_AUTO },
        { "s3://b", "https://h/path", "https://host", PROV_S3_AUTO },
        { "s3://b", "https://u:p@h", "https://host", PROV_S3_AUTO },
        { "s3://b", "https://h:0", "https://host", PROV_S3_AUTO },
        { "s3://b", "https://h:65536", "https://host", PROV_S3_AUTO },
        { "s3://b", "https://h:", "https://host", PROV_S3_AUTO },
        { "s3://b", "https://[::1", "https://host", PROV_S3_AUTO },
        { "s3://b", "https://[::1]x", "https://host", PROV_S3_AUTO },
        { "s3://b", "https://[", "https://host", PROV_S3_AUTO },
        { "s3://b", "https://h\nX: y", "https://host", PROV_S3_AUTO },
        { "s3://b", "http://s3.example", "insecure_http = yes", PROV_S3_AUTO },
        { "s3://b", "http://127.0.0.1.example", "insecure_http = yes", PROV_S3_AUTO },
        { "s3://b", "http://10.0.0.1:80", "insecure_http = yes", PROV_S3_AUTO },
        { "s3://b.c", "https://h", "addressing = path", PROV_S3_VHOST },
        { "s3://b", "http://127.0.0.1", "host name", PROV_S3_VHOST },
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(cases); i++) {
        struct s3_target t;
        char *error = NULL;
        struct prov_s3_config cfg = config(cases[i].url, cases[i].endpoint);
        cfg.addressing = cases[i].addressing;
        if (s3_target_parse(&cfg, &t, &error) != C2_E_CONFIG)
            fail_msg("accepted: %s %s", cases[i].url, cases[i].endpoint);
        if (strstr(error, cases[i].says) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", error, cases[i].says);
        c2_free(error);
    }
}

static void
target__takes_plain_http_when_told(void **state)
{
    (void)state;
    struct s3_target t;
    char *error = NULL;
    struct prov_s3_config cfg = config("s3://b", "http://10.0.0.1");
    cfg.insecure_http = true;
    assert_int_equal(s3_target_parse(&cfg, &t, &error), C2_E_OK);
    assert_false(t.tls);
    s3_target_done(&t);
}

static void
target__refuses_a_region_that_breaks_headers(void **state)
{
    (void)state;
    struct s3_target t;
    char *error = NULL;
    struct prov_s3_config cfg = config("s3://b", "https://h");
    cfg.region = "eu/1\r\nX: y";
    assert_int_equal(s3_target_parse(&cfg, &t, &error), C2_E_CONFIG);
    c2_free(error);
    cfg.region = NULL;
    assert_int_equal(s3_target_parse(&cfg, &t, &error), C2_E_OK);
    assert_string_equal(t.region, "us-east-1");
    s3_target_done(&t);
}

static void
target__tells_of_a_region_that_makes_no_host_name(void **state)
{
    (void)state;
    struct s3_target t;
    char *error = NULL;
    struct prov_s3_config cfg = config("s3://b", NULL);
    cfg.region = "our_region";
    assert_int_equal(s3_target_parse(&cfg, &t, &error), C2_E_CONFIG);
    assert_non_null(strstr(error, "set endpoint"));
    c2_free(error);
    cfg.endpoint = "https://h";
    assert_int_equal(s3_target_parse(&cfg, &t, &error), C2_E_OK);
    s3_target_done(&t);
}

static void
provider__refuses_missing_and_malformed_credentials(void **state)
{
    (void)state;
    static const char *const ids[] = { NULL, "", "A K", "A/K", "AK\n", "AK" };
    struct c2_os *os = NULL;
    assert_int_equal(c2_os_new(1, &os), C2_E_OK);
    for (size_t i = 0; i < C2_ARRAY_LEN(ids); i++) {
        struct provider *p = NULL;
        char *error = NULL;
        struct prov_s3_config cfg = config("s3://b", "https://h");
        cfg.access_key_id = ids[i];
        enum c2_err err = prov_s3_new(c2_os_env(os), os, &cfg, &p, &error);
        bool good = i == C2_ARRAY_LEN(ids) - 1;
        assert_int_equal(err, good ? C2_E_OK : C2_E_CONFIG);
        if (good) {
            prov_close(p);
        } else {
            assert_non_null(strstr(error, "credentials"));
            assert_null(strstr(error, "secret\""));
        }
        c2_free(error);
    }
    c2_os_free(os);
}

static void
provider__refuses_a_ca_file_that_is_none(void **state)
{
    (void)state;
    struct c2_os *os = NULL;
    assert_int_equal(c2_os_new(1, &os), C2_E_OK);
    static const char *const files[] = { "/does/not/exist.pem", "/dev/null" };
    for (size_t i = 0; i < C2_ARRAY_LEN(files); i++) {
        struct provider *p = NULL;
        char *error = NULL;
        struct prov_s3_config cfg = config("s3://b", "https://h");
        cfg.ca_file = files[i];
        assert_int_equal(prov_s3_new(c2_os_env(os), os, &cfg, &p, &error), C2_E_CONFIG);
        assert_non_null(strstr(error, files[i]));
        c2_free(error);
    }
    c2_os_free(os);
}

int
main(void)
{
    if (c2_crypto_init() != C2_E_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(target__knows_where_requests_go),
        cmocka_unit_test(target__refuses_what_it_cannot_mean),
        cmocka_unit_test(target__takes_plain_http_when_told),
        cmocka_unit_test(target__refuses_a_region_that_breaks_headers),
        cmocka_unit_test(target__tells_of_a_region_that_makes_no_host_name),
        cmocka_unit_test(provider__refuses_missing_and_malformed_credentials),
        cmocka_unit_test(provider__refuses_a_ca_file_that_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
