/* SPDX-License-Identifier: MIT */
/*
 * Shares written by version 1 of the format, in tests/fixtures/v1. They never change: every later
 * program must read them, and write the same bytes from the same inputs (compressed objects only
 * read: their bytes depend on the version of the compressor).
 *
 * `test_depsky_fixtures --write` writes the files anew; for a new format they get a new folder.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "depsky/codec.h"
#include "depsky/erasure.h"
#include "tests/lib/ds_rig.h"

#define FOLDER    "tests/fixtures/v1"
#define SHARE_MAX 100000u

struct fixture {
    const char *name;
    unsigned n, f;
    size_t len;
    bool text, keyless;
};

static const struct fixture fixtures[] = {
    { "byte", 4, 1, 1, false, false },     { "raw", 4, 1, 5000, false, false },
    { "text", 4, 1, 140000, true, false }, { "keyless", 4, 1, 300, false, true },
    { "seven", 7, 2, 3000, false, false },
};

static struct c2_blob *
plain_of(const struct fixture *fx)
{
    return fx->text ? ds_rig_text(fx->len) : ds_rig_random(fx->len, fx->len);
}

static struct ds_config
config_of(const struct fixture *fx)
{
    struct ds_config c;
    ds_config_default(&c);
    c.n = fx->n;
    c.f = fx->f;
    c.keyless = fx->keyless;
    c.key_epoch = 7;
    c.domain_id = 8;
    c.config_epoch = 9;
    for (unsigned i = 0; i < sizeof(c.volume); i++)
        c.volume[i] = (uint8_t)(0xf0 + i);
    for (unsigned i = 0; i < sizeof(c.data_key); i++)
        c.data_key[i] = (uint8_t)(3 * i + 1);
    return c;
}

/* The caller frees the shares. */
static struct ds_seal
seal(const struct fixture *fx, const struct ds_config *config)
{
    struct c2_blob *plain = plain_of(fx);
    struct c2_slice piece = c2_blob_slice(plain);
    struct ds_seal s = { .config = config, .data = &piece, .ndata = 1, .plain_len = fx->len };
    s.oid = (struct ds_oid){ 0x0102030405060708, 0x1112131415161718, { 9, 8, 7, 6, 5, 4, 3, 2 } };
    for (unsigned i = 0; i < sizeof(s.secret); i++)
        s.secret[i] = (uint8_t)(7 * i + 5);
    for (unsigned i = 0; i < sizeof(s.coef); i++)
        s.coef[i] = (uint8_t)(11 * i + 3);
    ds_codec_seal(&s);
    c2_blob_unref(plain);
    return s;
}

static void
path_of(const struct fixture *fx, unsigned seat, char out[128])
{
    snprintf(out, 128, FOLDER "/%s.share%u", fx->name, seat);
}

static struct c2_blob *
load(const struct fixture *fx, unsigned seat)
{
    char path[128];
    path_of(fx, seat, path);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("cannot open %s", path);
    struct c2_blob *b = c2_blob_new(SHARE_MAX);
    b->len = fread(b->data, 1, SHARE_MAX, file);
    assert_int_equal(fclose(file), 0);
    return b;
}

static void
write_all(void)
{
    for (size_t i = 0; i < C2_ARRAY_LEN(fixtures); i++) {
        struct ds_config config = config_of(&fixtures[i]);
        struct ds_seal s = seal(&fixtures[i], &config);
        for (unsigned seat = 0; seat < config.n; seat++) {
            char path[128];
            path_of(&fixtures[i], seat, path);
            FILE *file = fopen(path, "wb");
            C2_ASSERT(file != NULL);
            C2_ASSERT(fwrite(s.share[seat]->data, 1, s.share[seat]->len, file) ==
                      s.share[seat]->len);
            C2_ASSERT(fclose(file) == 0);
            c2_blob_unref(s.share[seat]);
        }
    }
}

/* Opens with the k seats given, under the root that seat 0's header names. */
static void
open_with(const struct fixture *fx, struct c2_blob *const *share, uint32_t seats)
{
    struct ds_config config = config_of(fx);
    struct ds_unseal u = { .n = fx->n };
    struct ds_layout layout = { 0 };
    struct ds_share sh;
    uint8_t x[DS_K_MAX] = { 0 };
    uint8_t y[DS_K_MAX * DS_SECRET_LEN];
    unsigned count = 0;
    for (unsigned i = 0; i < fx->n; i++) {
        if ((seats & (1u << i)) == 0)
            continue;
        const uint8_t *leaves;
        ds_layout_done(&layout);
        assert_int_equal(ds_share_verify(c2_blob_slice(share[i]), NULL, &sh, &layout, &leaves),
                         C2_E_OK);
        struct c2_slice body = c2_slice(share[i]->data + sh.hdr_len, sh.row_len);
        assert_int_equal(share[i]->len, sh.hdr_len + sh.row_len);
        assert_int_equal(ds_leaves_verify(body, leaves, 0), C2_E_OK);
        u.row[i] = (struct ds_row_bytes){ body.data, { 0, sh.row_len } };
        x[count] = sh.x;
        memcpy(y + DS_SECRET_LEN * count++, sh.y, DS_SECRET_LEN);
    }
    uint8_t secret[DS_SECRET_LEN];
    uint8_t key[C2_KEY_LEN];
    uint8_t commit[C2_SHA256_LEN];
    ds_shamir_combine(x, y, count, 0, secret);
    ds_codec_key(&sh.oid, secret, fx->keyless ? NULL : config.data_key, key, commit);
    assert_memory_equal(commit, sh.key_commit, sizeof(commit));
    u.layout = &layout;
    u.oid = sh.oid;
    u.key = key;
    u.len = fx->len;
    ds_codec_unseal(&u);
    assert_int_equal(u.err, C2_E_OK);
    struct c2_blob *plain = plain_of(fx);
    assert_true(c2_slice_equal(c2_blob_slice(u.out), c2_blob_slice(plain)));
    c2_blob_unref(plain);
    c2_blob_unref(u.out);
    ds_layout_done(&layout);
}

static void
fixtures__of_version_1_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < C2_ARRAY_LEN(fixtures); i++) {
        const struct fixture *fx = &fixtures[i];
        struct c2_blob *share[DS_SEATS_MAX];
        for (unsigned seat = 0; seat < fx->n; seat++)
            share[seat] = load(fx, seat);
        for (uint32_t seats = 0; seats < 1u << fx->n; seats++) {
            if ((unsigned)__builtin_popcount(seats) == fx->f + 1)
                open_with(fx, share, seats);
        }
        for (unsigned seat = 0; seat < fx->n; seat++)
            c2_blob_unref(share[seat]);
    }
}

static void
fixtures__of_version_1_are_written_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < C2_ARRAY_LEN(fixtures); i++) {
        const struct fixture *fx = &fixtures[i];
        if (fx->text)
            continue;
        for (unsigned engine = 0; engine < 2; engine++) {
            struct ds_config config = config_of(fx);
            config.engine = engine == 0 ? DS_ENGINE_ISAL : DS_ENGINE_JERASURE;
            struct ds_seal s = seal(fx, &config);
            for (unsigned seat = 0; seat < fx->n; seat++) {
                struct c2_blob *stored = load(fx, seat);
                assert_true(c2_slice_equal(c2_blob_slice(stored), c2_blob_slice(s.share[seat])));
                c2_blob_unref(stored);
                c2_blob_unref(s.share[seat]);
            }
        }
    }
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixtures__of_version_1_are_read),
        cmocka_unit_test(fixtures__of_version_1_are_written_again),
    };
    C2_ASSERT(c2_crypto_init() == C2_E_OK);
    ds_erasure_init();
    if (argc == 2 && strcmp(argv[1], "--write") == 0) {
        write_all();
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
