/* SPDX-License-Identifier: MIT */
/*
 * The entry to libdepsky: seats from URLs and from files, what is refused and how it is said, the
 * blocking calls.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "depsky/clouds.h"

static enum c2_err
open_urls(const char *const *urls, size_t nurls, struct ds_clouds **ret_clouds, char **ret_error)
{
    struct ds_clouds_config c;
    ds_clouds_config_default(&c);
    c.urls = urls;
    c.nurls = nurls;
    return ds_clouds_open(&c, ret_clouds, ret_error);
}

static const char *
seat_name(struct ds_clouds *c, unsigned seat)
{
    struct ds_seat_status s;
    ds_seat_status(ds_clouds_client(c), seat, &s);
    return s.name;
}

static void
urls__take_the_seats_in_order(void **state)
{
    (void)state;
    static const char *const urls[] = { "mem:", "left=mem:?retries=0&timeout=2s",
                                        "mem:", "x-1=dir:/nowhere?connections=2" };
    struct ds_clouds *c;
    assert_int_equal(open_urls(urls, 4, &c, NULL), C2_E_OK);
    assert_int_equal(ds_client_n(ds_clouds_client(c)), 4);
    assert_int_equal(ds_client_f(ds_clouds_client(c)), 1);
    assert_string_equal(seat_name(c, 0), "p1");
    assert_string_equal(seat_name(c, 1), "left");
    assert_string_equal(seat_name(c, 2), "p3");
    assert_string_equal(seat_name(c, 3), "x-1");
    ds_clouds_close(c);
}

static void
urls__what_is_wrong_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *urls[DS_SEATS_MAX + 1];
        enum c2_err err;
        const char *says;
    } cases[] = {
        { { "mem:", "mem:", "mem:", "ftp://x" }, C2_E_CONFIG, "ftp://x" },
        { { "mem:", "mem:", "mem:", "" }, C2_E_CONFIG, "url" },
        { { "mem:", "mem:", "mem:", "a=" }, C2_E_CONFIG, "url" },
        { { "a=mem:", "mem:", "a=mem:", "mem:" }, C2_E_CONFIG, "two providers are called a" },
        { { "p2=mem:", "mem:", "mem:", "mem:" }, C2_E_CONFIG, "two providers are called p2" },
        { { "mem:", "mem:?retries", "mem:", "mem:" }, C2_E_CONFIG, "\"retries\" is not KEY=VALUE" },
        { { "mem:", "mem:?retrys=1", "mem:", "mem:" }, C2_E_CONFIG, "retries" },
        { { "mem:", "mem:?retries=x", "mem:", "mem:" }, C2_E_CONFIG, "retries" },
        { { "mem:", "mem:?", "mem:", "mem:" }, C2_E_CONFIG, "KEY=VALUE" },
        { { "mem:", "mem:", "mem:" }, C2_E_INVALID, "3 providers" },
        { { NULL }, C2_E_INVALID, "configuration file or URLs" },
        { { "mem:", "mem:", "mem:", "mem:", "mem:", "mem:", "mem:", "mem:", "mem:" },
          C2_E_INVALID,
          "more than 8" },
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(cases); i++) {
        struct ds_clouds *c = NULL;
        char *error = NULL;
        size_t n = 0;
        while (n < C2_ARRAY_LEN(cases[i].urls) && cases[i].urls[n] != NULL)
            n++;
        assert_int_equal(open_urls(cases[i].urls, n, &c, &error), cases[i].err);
        assert_null(c);
        if (error == NULL || strstr(error, cases[i].says) == NULL)
            fail_msg("case %zu: \"%s\" is not in: %s", i, cases[i].says, error);
        c2_free(error);
        assert_int_equal(open_urls(cases[i].urls, n, &c, NULL), cases[i].err); /* unasked */
    }
}

static void
urls__a_provider_without_keys_is_refused(void **state)
{
    (void)state;
    static const char *const urls[] = { "mem:", "mem:", "mem:",
                                        "s3://b?endpoint=http://127.0.0.1:9" };
    struct ds_clouds *c = NULL;
    char *error = NULL;
    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("CREDENTIALS_DIRECTORY");
    struct ds_clouds_config config;
    ds_clouds_config_default(&config);
    config.urls = urls;
    config.nurls = 4;
    config.credentials_file = "/nowhere/credentials";
    assert_int_equal(ds_clouds_open(&config, &c, &error), C2_E_AUTH);
    assert_non_null(strstr(error, "p4"));
    c2_free(error);
}

static void
file__sections_take_the_seats(void **state)
{
    (void)state;
    static const char text[] = "[provider \"a\"]\nurl = mem:\n[provider \"b\"]\nurl = mem:\n"
                               "[provider \"c\"]\nurl = mem:\n[provider \"d\"]\nurl = mem:\n"
                               "[provider \"e\"]\nurl = mem:\n";
    static const char *const names[] = { "e", "c", "b", "a" };
    char path[] = "/tmp/c2-clouds-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    close(fd);
    struct ds_clouds_config config;
    struct ds_clouds *c = NULL;
    char *error = NULL;
    ds_clouds_config_default(&config);
    config.config_file = path;
    assert_int_equal(ds_clouds_open(&config, &c, NULL), C2_E_OK);
    assert_int_equal(ds_client_n(ds_clouds_client(c)), 5);
    assert_string_equal(seat_name(c, 4), "e");
    ds_clouds_close(c);
    config.names = names;
    config.nnames = 4;
    assert_int_equal(ds_clouds_open(&config, &c, NULL), C2_E_OK);
    assert_int_equal(ds_client_n(ds_clouds_client(c)), 4);
    assert_string_equal(seat_name(c, 0), "e");
    ds_clouds_close(c);
    c = NULL;
    static const char *const unknown[] = { "e", "c", "b", "aa" };
    config.names = unknown;
    assert_int_equal(ds_clouds_open(&config, &c, &error), C2_E_NOT_FOUND);
    assert_non_null(strstr(error, "aa"));
    c2_free(error);
    unlink(path);
    assert_int_not_equal(ds_clouds_open(&config, &c, &error), C2_E_OK);
    assert_non_null(strstr(error, path));
    c2_free(error);
    assert_null(c);
}

/* Four clouds in memory. */
static struct ds_clouds *
open_memory(void)
{
    static const char *const urls[] = { "mem:", "mem:", "mem:", "mem:" };
    struct ds_clouds *c;
    assert_int_equal(open_urls(urls, 4, &c, NULL), C2_E_OK);
    return c;
}

static void
wait__objects_come_back(void **state)
{
    (void)state;
    struct ds_clouds *c = open_memory();
    struct c2_slice piece = c2_slice_str("an object");
    struct ds_put p = { .oid = { .sid = 1, .seq = 2 }, .data = &piece, .ndata = 1 };
    c2_os_stop(ds_clouds_os(c)); /* ends a run, not a wait */
    assert_int_equal(ds_wait_put(c, &p), C2_E_OK);
    assert_null(p.done);
    struct ds_get g = { .ref = p.ref, .offset = 3 };
    assert_int_equal(ds_wait_get(c, &g), C2_E_OK);
    assert_true(c2_slice_equal(c2_blob_slice(g.data), c2_slice_str("object")));
    c2_blob_unref(g.data);
    struct ds_check k = { .ref = p.ref };
    ds_wait_check(c, &k);
    assert_int_equal(k.good, p.placed);
    assert_int_equal(k.absent, 0xf & ~p.placed);
    struct ds_rebuild r = { .ref = p.ref, .seat = k.absent == 8 ? 3 : 0, .placed = p.placed };
    assert_int_equal(ds_wait_rebuild(c, &r), C2_E_OK);
    struct ds_list l = { .all_sids = true, .after_seq = UINT64_MAX, .max = 10 };
    assert_int_equal(ds_wait_list(c, &l), C2_E_OK);
    assert_int_equal(l.nitems, 1);
    c2_free(l.items);
    struct ds_delete d = { .oids = &p.oid, .noids = 1 };
    assert_int_equal(ds_wait_delete(c, &d), C2_E_OK);
    assert_int_equal(ds_wait_get(c, &g), C2_E_NOT_FOUND);
    struct ds_probe b = { 0 };
    ds_wait_probe(c, &b);
    assert_int_equal(b.answered, 0xf);
    ds_clouds_close(c);
}

static void
wait__units_go_through_their_life(void **state)
{
    (void)state;
    struct ds_clouds *c = open_memory();
    uint8_t seed[DS_UNIT_SEED_LEN] = { 1 }, secret[DS_UNIT_SECRET_LEN];
    uint8_t writers[1][DS_UNIT_PUBLIC_LEN];
    ds_unit_keypair(seed, secret, writers[0]);
    const struct ds_unit_config config = {
        .name = "life", .writers = (const uint8_t(*)[32])writers, .nwriters = 1, .secret = secret
    };
    struct ds_unit *u;
    assert_int_equal(ds_unit_open(ds_clouds_client(c), &config, &u), C2_E_OK);
    struct c2_slice piece = c2_slice_str("value");
    struct ds_unit_write w = { .protocol = DS_UNIT_CA, .data = &piece, .ndata = 1 };
    struct ds_unit_unlock unlock = { 0 };
    assert_int_equal(ds_wait_unit_write(c, u, &w), C2_E_FENCED);
    assert_int_equal(ds_wait_unit_unlock(c, u, &unlock), C2_E_FENCED);
    struct ds_unit_lock lock = { 0 };
    assert_int_equal(ds_wait_unit_lock(c, u, &lock), C2_E_OK);
    assert_int_equal(ds_wait_unit_renew(c, u, &lock), C2_E_OK);
    assert_int_equal(ds_wait_unit_write(c, u, &w), C2_E_OK);
    assert_int_equal(ds_wait_unit_write(c, u, &w), C2_E_OK);
    assert_int_equal(w.written.version, 2);
    struct ds_unit_read r = { 0 };
    assert_int_equal(ds_wait_unit_read(c, u, &r), C2_E_OK);
    assert_true(c2_slice_equal(c2_blob_slice(r.data), piece));
    c2_blob_unref(r.data);
    struct ds_unit_gc g = { .keep = 1 };
    assert_int_equal(ds_wait_unit_gc(c, u, &g), C2_E_OK);
    assert_int_equal(g.forgotten, 1);
    struct ds_unit_versions v = { 0 };
    assert_int_equal(ds_wait_unit_versions(c, u, &v), C2_E_OK);
    assert_int_equal(v.nitems, 1);
    c2_free(v.items);
    struct ds_unit_list l = { 0 };
    assert_int_equal(ds_wait_unit_list(c, &l), C2_E_OK);
    assert_int_equal(l.nnames, 1);
    assert_string_equal(l.names[0], "life");
    c2_free(l.names);
    assert_int_equal(ds_wait_unit_delete(c, u, &g), C2_E_OK);
    assert_int_equal(ds_wait_unit_read(c, u, &r), C2_E_NOT_FOUND);
    assert_int_equal(ds_wait_unit_unlock(c, u, &unlock), C2_E_OK);
    ds_unit_close(u);
    ds_clouds_close(c);
}

struct waited_list {
    struct ds_list l;
    bool done;
};

static void
list_done(struct ds_list *l)
{
    C2_CONTAINER_OF(l, struct waited_list, l)->done = true;
}

static void
close__ends_what_is_under_way(void **state)
{
    (void)state;
    struct ds_clouds *c = open_memory();
    struct waited_list w = { .l = { .all_sids = true, .after_seq = UINT64_MAX, .max = 10 } };
    w.l.done = list_done;
    ds_list_start(ds_clouds_client(c), &w.l);
    assert_false(w.done);
    ds_clouds_close(c);
    assert_true(w.done);
    c2_free(w.l.items);
    ds_clouds_close(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls__take_the_seats_in_order),
        cmocka_unit_test(urls__what_is_wrong_is_said),
        cmocka_unit_test(urls__a_provider_without_keys_is_refused),
        cmocka_unit_test(file__sections_take_the_seats),
        cmocka_unit_test(wait__objects_come_back),
        cmocka_unit_test(wait__units_go_through_their_life),
        cmocka_unit_test(close__ends_what_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
