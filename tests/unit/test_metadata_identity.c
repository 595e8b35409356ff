/* SPDX-License-Identifier: MIT */
/*
 * Key files: what is written is read, anything else is refused.
 */
#include "metadata/identity.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "base/alloc.h"

static void
replica__survives_the_way_through_its_text(void **state)
{
    (void)state;
    struct identity_replica k = { .cluster = 0x1122334455667788ull, .id = 3 }, got = { 0 };
    memset(k.identity_seed, 7, sizeof k.identity_seed);
    memset(k.sign_seed, 9, sizeof k.sign_seed);
    C2_AUTO(c2_buf_done) struct c2_buf text = { 0 };
    identity_write_replica(&text, "first line\nsecond line", &k);
    assert_non_null(
        strstr(c2_buf_cstr(&text), "C2FS-REPLICA-KEY 1\n# first line\n# second line\n"));
    assert_int_equal(identity_read_replica(c2_buf_slice(&text), &got), C2_E_OK);
    assert_memory_equal(&k, &got, sizeof k);
}

static void
admin_and_client__survive_and_the_certificate_is_good(void **state)
{
    (void)state;
    struct identity_admin a = { .cluster = 5 }, a2 = { 0 };
    struct identity_client c, c2 = { 0 };
    uint8_t seed[32] = { 1 }, secret[C2_ED25519_SECRET_LEN], authority[32], key[32];
    uint8_t hash[C2_SHA256_LEN];
    memset(a.admin_seed, 1, sizeof a.admin_seed);
    memset(a.authority_seed, 2, sizeof a.authority_seed);
    identity_make_client(&a, seed, &c);
    C2_AUTO(c2_buf_done) struct c2_buf text = { 0 };
    identity_write_admin(&text, "", &a);
    assert_int_equal(identity_read_admin(c2_buf_slice(&text), &a2), C2_E_OK);
    assert_memory_equal(&a, &a2, sizeof a);
    c2_buf_clear(&text);
    identity_write_client(&text, "", &c);
    assert_int_equal(identity_read_client(c2_buf_slice(&text), &c2), C2_E_OK);
    assert_memory_equal(&c, &c2, sizeof c);
    c2_ed25519_keypair(a.authority_seed, secret, authority);
    c2_ed25519_keypair(seed, secret, key);
    msg_client_hash(5, key, hash);
    assert_true(bft_crypto_ed25519.verify(&bft_crypto_ed25519, authority, hash, c2.cert));
    hash[0] ^= 1;
    assert_false(bft_crypto_ed25519.verify(&bft_crypto_ed25519, authority, hash, c2.cert));
}

static void
cluster__survives_the_way_through_its_text(void **state)
{
    (void)state;
    struct bft_config c, got;
    bft_config_default(&c);
    c.cluster = 77;
    c.f = 1;
    c.n = 4;
    c.nadmins = c.admins_needed = 1;
    memset(c.admin[0], 5, sizeof c.admin[0]);
    memset(c.client_authority, 6, sizeof c.client_authority);
    for (unsigned i = 0; i < 4; i++) {
        c.member[i].id = (uint16_t)(i + 1);
        strcpy(c.member[i].address, "host:1");
        memset(c.member[i].identity_key, (int)i + 10, MSG_KEY_LEN);
        memset(c.member[i].sign_key, (int)i + 20, MSG_KEY_LEN);
    }
    C2_AUTO(c2_buf_done) struct c2_buf text = { 0 };
    identity_write_cluster(&text, "", &c);
    assert_int_equal(identity_read_cluster(c2_buf_slice(&text), &got), C2_E_OK);
    C2_AUTO(c2_buf_done) struct c2_buf a = { 0 }, b = { 0 };
    bft_config_encode(&c, &a);
    bft_config_encode(&got, &b);
    assert_true(c2_slice_equal(c2_buf_slice(&a), c2_buf_slice(&b)));
}

static void
reading__refuses_what_is_not_such_a_file(void **state)
{
    (void)state;
    struct identity_client c = { .cluster = 1 };
    struct identity_replica r;
    C2_AUTO(c2_buf_done) struct c2_buf text = { 0 };
    identity_write_client(&text, "comment", &c);
    assert_int_equal(identity_read_replica(c2_buf_slice(&text), &r), C2_E_PARSE);
    assert_string_equal(identity_problem(c2_buf_slice(&text), IDENTITY_REPLICA, C2_E_PARSE),
                        "it is the key of a client");
    assert_string_equal(identity_problem(c2_slice_str("x"), IDENTITY_REPLICA, C2_E_PARSE),
                        c2_err_text(C2_E_PARSE));
    assert_int_equal(identity_read_client(c2_slice_str(""), &c), C2_E_PARSE);
    assert_int_equal(identity_read_client(c2_slice_str("C2FS-CLIENT-KEY 2\nAAAA\n"), &c),
                     C2_E_VERSION);
    assert_int_equal(identity_read_client(c2_slice_str("C2FS-CLIENT-KEY 1\n"), &c), C2_E_PARSE);
    assert_int_equal(identity_read_client(c2_slice_str("C2FS-CLIENT-KEY 1\n!\n"), &c), C2_E_PARSE);
    for (size_t cut = 1; cut < text.len - 1; cut++) {
        enum c2_err err = identity_read_client(c2_slice(text.data, cut), &c);
        assert_true(err != C2_E_OK);
    }
    unsigned good = 0;
    for (size_t at = 0; at < text.len; at++) {
        uint8_t was = text.data[at];
        text.data[at] = was == 'B' ? 'C' : 'B';
        good += identity_read_client(c2_buf_slice(&text), &c) == C2_E_OK;
        text.data[at] = was;
    }
    assert_int_equal(good, strlen(" comment")); /* only the comment may change */
}

static void
reading__takes_lines_that_end_in_cr_lf(void **state)
{
    (void)state;
    struct identity_client c = { .cluster = 1 }, got;
    C2_AUTO(c2_buf_done) struct c2_buf text = { 0 }, dos = { 0 };
    identity_write_client(&text, "x", &c);
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\n')
            c2_buf_append(&dos, "\r", 1);
        c2_buf_append(&dos, &text.data[i], 1);
    }
    assert_int_equal(identity_read_client(c2_buf_slice(&dos), &got), C2_E_OK);
    assert_memory_equal(&c, &got, sizeof c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replica__survives_the_way_through_its_text),
        cmocka_unit_test(admin_and_client__survive_and_the_certificate_is_good),
        cmocka_unit_test(cluster__survives_the_way_through_its_text),
        cmocka_unit_test(reading__refuses_what_is_not_such_a_file),
        cmocka_unit_test(reading__takes_lines_that_end_in_cr_lf),
    };
    return c2_crypto_init() == C2_E_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
