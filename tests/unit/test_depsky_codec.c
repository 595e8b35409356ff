/* SPDX-License-Identifier: MIT */
/*
 * The pure half of the layer: what a share contains, what it does not give away, and that nothing
 * in it can be changed without being noticed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "depsky/codec.h"
#include "depsky/erasure.h"
#include "tests/lib/ds_rig.h"

#define MIB (1024u * 1024u)

struct sealed {
    struct ds_config config;
    struct ds_seal seal;
    struct c2_blob *plain;
};

/* Takes over plain. */
static void
seal_with(struct sealed *s, struct c2_blob *plain, const uint32_t *cuts, size_t ncuts)
{
    struct c2_slice piece = c2_blob_slice(plain);
    assert_int_equal(c2_crypto_init(), C2_E_OK);
    ds_erasure_init();
    s->plain = plain;
    s->seal = (struct ds_seal){ .config = &s->config, .data = &piece, .ndata = 1 };
    s->seal.oid = (struct ds_oid){ .sid = 0x1122334455667788, .seq = 9, .rnd = { 1, 2, 3 } };
    s->seal.plain_len = plain->len;
    s->seal.cuts = cuts;
    s->seal.ncuts = ncuts;
    memset(s->seal.secret, 0xa1, sizeof(s->seal.secret));
    memset(s->seal.coef, 0xb2, sizeof(s->seal.coef));
    ds_codec_seal(&s->seal);
    s->seal.data = NULL;
}

static struct sealed
sealed_default(struct c2_blob *plain)
{
    struct sealed s;
    ds_config_default(&s.config);
    memset(s.config.volume, 0xc2, sizeof(s.config.volume));
    memset(s.config.data_key, 0x77, sizeof(s.config.data_key));
    s.config.key_epoch = 3;
    s.config.domain_id = 4;
    s.config.config_epoch = 5;
    seal_with(&s, plain, NULL, 0);
    return s;
}

static void
sealed_done(struct sealed *s)
{
    for (unsigned i = 0; i < s->config.n; i++)
        c2_blob_unref(s->seal.share[i]);
    c2_blob_unref(s->plain);
}

/* Verifies the given seats' shares under the root and opens the object with them. */
static enum c2_err
open_with(const struct sealed *s, uint32_t seats, struct c2_blob **ret_plain)
{
    struct ds_unseal u = { .oid = s->seal.oid, .n = s->config.n };
    struct ds_layout layout = { 0 };
    struct ds_share sh;
    uint8_t x[DS_K_MAX] = { 0 };
    uint8_t y[DS_K_MAX * DS_SECRET_LEN];
    unsigned k = s->config.f + 1;
    unsigned count = 0;
    for (unsigned i = 0; i < s->config.n; i++) {
        if ((seats & (1u << i)) == 0)
            continue;
        const uint8_t *leaves;
        struct c2_slice share = c2_blob_slice(s->seal.share[i]);
        ds_layout_done(&layout);
        C2_TRY(ds_share_verify(share, s->seal.ref.root, &sh, &layout, &leaves));
        struct c2_slice body = c2_slice(share.data + sh.hdr_len, share.len - sh.hdr_len);
        C2_TRY(ds_leaves_verify(body, leaves, 0));
        u.row[i] = (struct ds_row_bytes){ body.data, { 0, sh.row_len } };
        if (count < k) {
            x[count] = sh.x;
            memcpy(y + DS_SECRET_LEN * count++, sh.y, DS_SECRET_LEN);
        }
    }
    uint8_t secret[DS_SECRET_LEN];
    uint8_t key[C2_KEY_LEN];
    uint8_t commit[C2_SHA256_LEN];
    ds_shamir_combine(x, y, k, 0, secret);
    bool keyless = (sh.flags & DS_SHARE_KEYLESS) != 0;
    ds_codec_key(&sh.oid, secret, keyless ? NULL : s->config.data_key, key, commit);
    assert_memory_equal(commit, sh.key_commit, sizeof(commit));
    u.layout = &layout;
    u.key = key;
    u.engine = s->config.engine;
    u.compress = s->config.compress;
    u.len = layout.plain_len;
    ds_codec_unseal(&u);
    ds_layout_done(&layout);
    *ret_plain = u.out;
    return u.err;
}

static void
expect_opens(const struct sealed *s)
{
    for (uint32_t seats = 0; seats < 1u << s->config.n; seats++) {
        if ((unsigned)__builtin_popcount(seats) != s->config.f + 1)
            continue;
        struct c2_blob *plain;
        assert_int_equal(open_with(s, seats, &plain), C2_E_OK);
        assert_int_equal(plain->len, s->plain->len);
        assert_memory_equal(plain->data, s->plain->data, plain->len);
        c2_blob_unref(plain);
    }
}

static void
codec__any_k_shares_open_the_object(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 100, 65535, 65536, 65537, 131072, 131073, 200000, 400001 };
    for (size_t i = 0; i < C2_ARRAY_LEN(sizes); i++) {
        struct sealed s = sealed_default(ds_rig_random(i, sizes[i]));
        assert_false(s.seal.compressed);
        expect_opens(&s);
        sealed_done(&s);
        s = sealed_default(ds_rig_text(sizes[i]));
        expect_opens(&s);
        sealed_done(&s);
    }
}

/* Segments that shrink beside segments that do not, so that stripes have all kinds of length. */
static void
codec__mixed_segments_open(void **state)
{
    (void)state;
    for (unsigned phase = 0; phase < 3; phase++) {
        struct c2_blob *plain = ds_rig_random(phase, 9 * DS_SEGMENT_SIZE + 777);
        struct c2_blob *text = ds_rig_text(plain->len);
        for (unsigned seg = phase; seg < 10; seg += 1 + phase) {
            size_t at = (size_t)seg * DS_SEGMENT_SIZE;
            size_t len = C2_MIN(plain->len - at, DS_SEGMENT_SIZE / (seg + 1));
            memcpy(plain->data + at, text->data + at, len);
        }
        c2_blob_unref(text);
        struct sealed s = sealed_default(plain);
        assert_true(s.seal.compressed);
        expect_opens(&s);
        sealed_done(&s);
    }
}

static void
codec__any_three_of_seven_open_with_f_2(void **state)
{
    (void)state;
    for (unsigned text = 0; text < 2; text++) {
        struct sealed s;
        ds_config_default(&s.config);
        s.config.n = 7;
        s.config.f = 2;
        seal_with(&s, text == 1 ? ds_rig_text(500000) : ds_rig_random(1, 500000), NULL, 0);
        expect_opens(&s);
        sealed_done(&s);
    }
}

static void
codec__engines_give_the_same_bytes(void **state)
{
    (void)state;
    struct sealed a = sealed_default(ds_rig_random(3, 700001));
    struct sealed b;
    b.config = a.config;
    b.config.engine = DS_ENGINE_JERASURE;
    seal_with(&b, ds_rig_random(3, 700001), NULL, 0);
    for (unsigned i = 0; i < 4; i++)
        assert_true(c2_slice_equal(c2_blob_slice(a.seal.share[i]), c2_blob_slice(b.seal.share[i])));
    expect_opens(&b);
    sealed_done(&a);
    sealed_done(&b);
}

static void
codec__pieces_of_any_cut_give_the_same_bytes(void **state)
{
    (void)state;
    struct c2_blob *plain = ds_rig_random(4, 200000);
    struct sealed whole = sealed_default(c2_blob_ref(plain));
    const struct c2_slice pieces[] = {
        c2_slice(plain->data, 0),          c2_slice(plain->data, 1),
        c2_slice(plain->data + 1, 65535),  c2_slice(plain->data + 65536, 70000),
        c2_slice(plain->data + 65536, 0),  c2_slice(plain->data + 135536, 64464),
        c2_slice(plain->data + 200000, 0),
    };
    struct ds_seal seal = { .config = &whole.config, .oid = whole.seal.oid, .data = pieces };
    seal.ndata = C2_ARRAY_LEN(pieces);
    seal.plain_len = 200000;
    memset(seal.secret, 0xa1, sizeof(seal.secret));
    memset(seal.coef, 0xb2, sizeof(seal.coef));
    ds_codec_seal(&seal);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(
            c2_slice_equal(c2_blob_slice(seal.share[i]), c2_blob_slice(whole.seal.share[i])));
        c2_blob_unref(seal.share[i]);
    }
    sealed_done(&whole);
    c2_blob_unref(plain);
}

static void
codec__wipes_the_secret_it_was_given(void **state)
{
    (void)state;
    struct sealed s = sealed_default(ds_rig_random(1, 10));
    static const uint8_t zeros[sizeof(s.seal.coef)];
    assert_memory_equal(s.seal.secret, zeros, sizeof(s.seal.secret));
    assert_memory_equal(s.seal.coef, zeros, sizeof(s.seal.coef));
    sealed_done(&s);
}

/* Every single byte of header and tables, every bit of each. */
static void
share__every_change_of_header_or_tables_is_noticed(void **state)
{
    (void)state;
    struct sealed s = sealed_default(ds_rig_text(150000));
    assert_true(s.seal.compressed);
    for (unsigned seat = 0; seat < 4; seat += 3) {
        struct c2_blob *share = s.seal.share[seat];
        for (uint32_t at = 0; at < s.seal.hdr_len; at++) {
            for (unsigned bit = 0; bit < 8; bit++) {
                struct ds_share sh;
                struct ds_layout layout;
                const uint8_t *leaves;
                share->data[at] ^= (uint8_t)(1u << bit);
                enum c2_err err =
                    ds_share_verify(c2_blob_slice(share), s.seal.ref.root, &sh, &layout, &leaves);
                if (err == C2_E_OK)
                    fail_msg("byte %u bit %u", at, bit);
                share->data[at] ^= (uint8_t)(1u << bit);
            }
        }
    }
    sealed_done(&s);
}

static void
share__change_of_the_body_is_found_in_its_leaf(void **state)
{
    (void)state;
    struct sealed s = sealed_default(ds_rig_random(2, 300000));
    struct c2_blob *share = s.seal.share[2];
    struct ds_share sh;
    struct ds_layout layout;
    const uint8_t *leaves;
    assert_int_equal(ds_share_verify(c2_blob_slice(share), s.seal.ref.root, &sh, &layout, &leaves),
                     C2_E_OK);
    uint8_t *body = share->data + sh.hdr_len;
    for (uint32_t at = 0; at < sh.row_len; at += 4999) {
        uint32_t leaf = at / DS_LEAF_SIZE;
        uint32_t lo = leaf * DS_LEAF_SIZE;
        size_t len = C2_MIN(DS_LEAF_SIZE, sh.row_len - lo);
        body[at] ^= 1;
        assert_int_equal(ds_leaves_verify(c2_slice(body + lo, len), leaves, leaf), C2_E_CORRUPT);
        body[at] ^= 1;
        assert_int_equal(ds_leaves_verify(c2_slice(body + lo, len), leaves, leaf), C2_E_OK);
    }
    ds_layout_done(&layout);
    sealed_done(&s);
}

static void
share__of_another_root_is_refused(void **state)
{
    (void)state;
    struct sealed a = sealed_default(ds_rig_random(1, 1000));
    struct sealed b = sealed_default(ds_rig_random(2, 1000));
    struct ds_share sh;
    struct ds_layout layout;
    const uint8_t *leaves;
    assert_int_equal(
        ds_share_verify(c2_blob_slice(a.seal.share[0]), b.seal.ref.root, &sh, &layout, &leaves),
        C2_E_CORRUPT);
    sealed_done(&a);
    sealed_done(&b);
}

static void
share__cut_anywhere_is_refused(void **state)
{
    (void)state;
    struct sealed s = sealed_default(ds_rig_text(150000));
    struct ds_share sh;
    struct ds_layout layout;
    const uint8_t *leaves;
    for (size_t len = 0; len < s.seal.hdr_len; len++) {
        C2_AUTO(c2_free_auto) uint8_t *copy = c2_alloc(len);
        memcpy(copy, s.seal.share[0]->data, len);
        enum c2_err err =
            ds_share_verify(c2_slice(copy, len), s.seal.ref.root, &sh, &layout, &leaves);
        assert_int_equal(err, len < DS_SHARE_HEADER_LEN ? C2_E_PARSE : C2_E_RANGE);
    }
    sealed_done(&s);
}

static void
share__newer_version_is_told_apart_from_damage(void **state)
{
    (void)state;
    struct sealed s = sealed_default(ds_rig_random(1, 10));
    struct ds_share sh;
    s.seal.share[0]->data[8] = 2;
    assert_int_equal(ds_share_decode(c2_blob_slice(s.seal.share[0]), &sh), C2_E_VERSION);
    sealed_done(&s);
}

static void
codec__stores_little_more_than_three_halves(void **state)
{
    (void)state;
    struct sealed s = sealed_default(ds_rig_random(5, 8 * MIB));
    size_t stored = 0;
    for (unsigned i = 0; i < 3; i++)
        stored += s.seal.share[i]->len;
    assert_true((double)stored / (8.0 * MIB) <= 1.5021);
    sealed_done(&s);
    s = sealed_default(ds_rig_random(5, 1));
    assert_true(s.seal.share[0]->len <= 512 + 32 + 9);
    sealed_done(&s);
}

static bool
contains(struct c2_slice hay, const void *needle, size_t len)
{
    return memmem(hay.data, hay.len, needle, len) != NULL;
}

/* A canary in the plaintext and both keys are looked for in every share, and in XORs of pairs. */
static void
codec__shares_contain_neither_plaintext_nor_keys(void **state)
{
    (void)state;
    static const char canary[] = "BLOOD-PRESSURE-CANARY";
    struct c2_blob *plain = ds_rig_random(6, 200000);
    for (size_t at = 0; at + sizeof(canary) < plain->len; at += 1000)
        memcpy(plain->data + at, canary, sizeof(canary));
    struct sealed s = sealed_default(plain);
    uint8_t secret[DS_SECRET_LEN];
    memset(secret, 0xa1, sizeof(secret));
    for (unsigned i = 0; i < 4; i++) {
        struct c2_slice share = c2_blob_slice(s.seal.share[i]);
        assert_false(contains(share, canary, sizeof(canary) - 1));
        assert_false(contains(share, s.config.data_key, 16));
        assert_false(contains(share, secret, 16));
        for (unsigned j = 0; j < i; j++) {
            struct c2_blob *mix = c2_blob_copy(share.data, share.len);
            for (size_t b = 0; b < mix->len; b++)
                mix->data[b] ^= s.seal.share[j]->data[b];
            assert_false(contains(c2_blob_slice(mix), canary, sizeof(canary) - 1));
            c2_blob_unref(mix);
        }
    }
    sealed_done(&s);
}

/* All shares together do not give the key without the volume's. */
static void
codec__keyed_object_needs_the_data_key(void **state)
{
    (void)state;
    struct sealed s = sealed_default(ds_rig_random(1, 5000));
    uint8_t secret[DS_SECRET_LEN];
    uint8_t key[C2_KEY_LEN];
    uint8_t commit[C2_SHA256_LEN];
    uint8_t wrong[C2_KEY_LEN] = { 1 };
    struct ds_share sh;
    memset(secret, 0xa1, sizeof(secret));
    assert_int_equal(ds_share_decode(c2_blob_slice(s.seal.share[0]), &sh), C2_E_OK);
    ds_codec_key(&sh.oid, secret, NULL, key, commit);
    assert_memory_not_equal(commit, sh.key_commit, sizeof(commit));
    ds_codec_key(&sh.oid, secret, wrong, key, commit);
    assert_memory_not_equal(commit, sh.key_commit, sizeof(commit));
    ds_codec_key(&sh.oid, secret, s.config.data_key, key, commit);
    assert_memory_equal(commit, sh.key_commit, sizeof(commit));
    sealed_done(&s);
}

static void
codec__keyless_object_opens_from_shares_alone(void **state)
{
    (void)state;
    struct sealed s;
    ds_config_default(&s.config);
    s.config.keyless = true;
    memset(s.config.data_key, 0x11, sizeof(s.config.data_key));
    seal_with(&s, ds_rig_random(1, 5000), NULL, 0);
    memset(s.config.data_key, 0x22, sizeof(s.config.data_key));
    expect_opens(&s);
    sealed_done(&s);
}

/* Segments are bound to their place: the same plaintext twice never gives the same ciphertext. */
static void
codec__equal_segments_differ_when_sealed(void **state)
{
    (void)state;
    struct c2_blob *plain = ds_rig_random(1, 4 * DS_SEGMENT_SIZE);
    for (unsigned i = 1; i < 4; i++)
        memcpy(plain->data + i * DS_SEGMENT_SIZE, plain->data, DS_SEGMENT_SIZE);
    struct sealed s = sealed_default(plain);
    const uint8_t *row = s.seal.share[0]->data + s.seal.hdr_len;
    assert_memory_not_equal(row, row + DS_SEGMENT_SIZE + DS_TAG_LEN, DS_SEGMENT_SIZE);
    sealed_done(&s);
}

/* Two equal files in one pack: what is stored must not be shorter for it. */
static void
codec__cuts_hide_how_files_resemble_each_other(void **state)
{
    (void)state;
    enum { FILE_LEN = 1500, FILES = 80 };
    uint32_t cuts[FILES - 1];
    struct c2_blob *plain = ds_rig_random(1, FILE_LEN * FILES);
    for (unsigned i = 1; i < FILES; i++) {
        memcpy(plain->data + i * FILE_LEN, plain->data, FILE_LEN);
        cuts[i - 1] = i * FILE_LEN;
    }
    struct sealed apart;
    struct sealed joined;
    ds_config_default(&apart.config);
    ds_config_default(&joined.config);
    seal_with(&apart, c2_blob_ref(plain), cuts, FILES - 1);
    seal_with(&joined, plain, NULL, 0);
    assert_true(joined.seal.compressed);
    assert_false(apart.seal.compressed);
    expect_opens(&apart);
    expect_opens(&joined);
    sealed_done(&apart);
    sealed_done(&joined);
}

static void
ref__is_72_bytes_and_reads_back(void **state)
{
    (void)state;
    struct ds_ref ref = { .oid = { 0x0102030405060708, 9, { 7 } }, .plain_len = 5, .key_epoch = 6 };
    ref.domain_id = 8;
    memset(ref.root, 0xab, sizeof(ref.root));
    struct c2_buf out = { 0 };
    ds_ref_encode(&ref, &out);
    assert_int_equal(out.len, DS_REF_LEN);
    assert_int_equal(out.data[0], 1); /* big-endian, so that keys sort */
    struct c2_rd r = c2_rd_init(c2_buf_slice(&out));
    struct ds_ref back = ds_ref_decode(&r);
    assert_int_equal(c2_rd_finish(&r), C2_E_OK);
    assert_true(ds_oid_equal(&back.oid, &ref.oid));
    assert_memory_equal(back.root, ref.root, sizeof(ref.root));
    assert_int_equal(back.plain_len, 5);
    assert_int_equal(back.key_epoch, 6);
    assert_int_equal(back.domain_id, 8);
    r = c2_rd_init(c2_slice(out.data, DS_REF_LEN - 1));
    (void)ds_ref_decode(&r);
    assert_int_equal(c2_rd_finish(&r), C2_E_PARSE);
    c2_buf_done(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codec__any_k_shares_open_the_object),
        cmocka_unit_test(codec__mixed_segments_open),
        cmocka_unit_test(codec__any_three_of_seven_open_with_f_2),
        cmocka_unit_test(codec__engines_give_the_same_bytes),
        cmocka_unit_test(codec__pieces_of_any_cut_give_the_same_bytes),
        cmocka_unit_test(codec__wipes_the_secret_it_was_given),
        cmocka_unit_test(share__every_change_of_header_or_tables_is_noticed),
        cmocka_unit_test(share__change_of_the_body_is_found_in_its_leaf),
        cmocka_unit_test(share__of_another_root_is_refused),
        cmocka_unit_test(share__cut_anywhere_is_refused),
        cmocka_unit_test(share__newer_version_is_told_apart_from_damage),
        cmocka_unit_test(codec__stores_little_more_than_three_halves),
        cmocka_unit_test(codec__shares_contain_neither_plaintext_nor_keys),
        cmocka_unit_test(codec__keyed_object_needs_the_data_key),
        cmocka_unit_test(codec__keyless_object_opens_from_shares_alone),
        cmocka_unit_test(codec__equal_segments_differ_when_sealed),
        cmocka_unit_test(codec__cuts_hide_how_files_resemble_each_other),
        cmocka_unit_test(ref__is_72_bytes_and_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
