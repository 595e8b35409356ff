/* SPDX-License-Identifier: MIT */
/*
 * Published vectors for every algorithm, and our own SHA-256 against libcrypto's.
 */
#include "base/crypto.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>

#include "base/alloc.h"
#include "base/sha256_x2.h"
#include "base/str.h"

struct hex {
    uint8_t data[256];
    size_t len;
};

static struct hex
unhex(const char *text)
{
    struct hex h = { .len = strlen(text) / 2 };
    assert_true(h.len <= sizeof(h.data));
    assert_int_equal(c2_hex_decode(c2_slice_str(text), h.data, h.len), C2_E_OK);
    return h;
}

static struct c2_slice
slice_of(const struct hex *h)
{
    return c2_slice(h->data, h->len);
}

static void
check_hex(const void *data, size_t len, const char *expected)
{
    char text[2 * 256 + 1];
    assert_true(len <= 256);
    c2_hex_encode(data, len, text);
    assert_string_equal(text, expected);
}

static void
sha256__matches_fips_180_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *in, *digest;
    } vectors[] = {
        { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
        { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
        { "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqr"
          "lmnopqrsmnopqrstnopqrstu",
          "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1" },
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(vectors); i++) {
        uint8_t out[C2_SHA256_LEN];
        c2_sha256(c2_slice_str(vectors[i].in), out);
        check_hex(out, sizeof(out), vectors[i].digest);
    }
}

static void
sha256__stream_and_parts_equal_the_whole(void **state)
{
    (void)state;
    struct c2_slice parts[] = { c2_slice_str("a"), c2_slice(NULL, 0), c2_slice_str("bc") };
    uint8_t out[C2_SHA256_LEN];
    const char *abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    c2_sha256_v(parts, 3, out);
    check_hex(out, sizeof(out), abc);
    struct c2_sha256_stream *s = c2_sha256_stream_new();
    for (size_t i = 0; i < 3; i++)
        c2_sha256_stream_add(s, parts[i]);
    c2_sha256_stream_finish(s, out);
    check_hex(out, sizeof(out), abc);
}

static void
check_pair(const uint8_t *data, size_t len_a, size_t len_b)
{
    uint8_t got[2][C2_SHA256_LEN], expected[C2_SHA256_LEN];
    c2_sha256_x2(c2_slice(data, len_a), c2_slice(data + 7, len_b), got[0], got[1]);
    assert_int_equal(EVP_Digest(data, len_a, expected, NULL, EVP_sha256(), NULL), 1);
    assert_memory_equal(got[0], expected, C2_SHA256_LEN);
    assert_int_equal(EVP_Digest(data + 7, len_b, expected, NULL, EVP_sha256(), NULL), 1);
    assert_memory_equal(got[1], expected, C2_SHA256_LEN);
}

static void
sha256_x2__equals_libcrypto_for_all_lengths(void **state)
{
    (void)state;
    if (!c2_sha256_x2_supported()) {
        print_message("this CPU has no SHA extensions\n");
        skip();
    }
    static uint8_t data[100000];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 131 + (i >> 8));
    for (size_t len = 0; len < 520; len++) {
        check_pair(data, len, len);
        check_pair(data, len, 519 - len);
        check_pair(data, len, 3 * len);
    }
    check_pair(data, 65536, 65536);
    check_pair(data, 99990, 12345);
    check_pair(data, 0, 99990);
}

static void
sha256_many__hashes_odd_and_even_counts(void **state)
{
    (void)state;
    static const char *const words[] = { "", "a", "bc", "def", "ghij" };
    struct c2_slice in[C2_ARRAY_LEN(words)];
    for (size_t i = 0; i < C2_ARRAY_LEN(words); i++)
        in[i] = c2_slice_str(words[i]);
    for (size_t n = 0; n <= C2_ARRAY_LEN(words); n++) {
        uint8_t out[C2_ARRAY_LEN(words) + 1][C2_SHA256_LEN] = { 0 };
        static const uint8_t untouched[C2_SHA256_LEN];
        c2_sha256_many(in, n, out);
        for (size_t i = 0; i < n; i++) {
            uint8_t expected[C2_SHA256_LEN];
            c2_sha256(in[i], expected);
            assert_memory_equal(out[i], expected, C2_SHA256_LEN);
        }
        assert_memory_equal(out[n], untouched, C2_SHA256_LEN);
    }
}

static void
md5__matches_rfc_1321(void **state)
{
    (void)state;
    uint8_t out[16];
    c2_md5(c2_slice_str("message digest"), out);
    check_hex(out, sizeof(out), "f96b697d7cb7938d525a2f31aaf161d0");
}

static void
hmac__matches_rfc_4231(void **state)
{
    (void)state;
    uint8_t out[C2_SHA256_LEN], long_key[131];
    struct hex key = unhex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b");
    struct c2_slice in = c2_slice_str("Hi There");
    c2_hmac_sha256(slice_of(&key), &in, 1, out);
    check_hex(out, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");

    struct c2_slice parts[] = { c2_slice_str("what do ya want "), c2_slice_str("for nothing?") };
    c2_hmac_sha256(c2_slice_str("Jefe"), parts, 2, out);
    check_hex(out, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");

    memset(long_key, 0xaa, sizeof(long_key));
    in = c2_slice_str("Test Using Larger Than Block-Size Key - Hash Key First");
    c2_hmac_sha256(c2_slice(long_key, sizeof(long_key)), &in, 1, out);
    check_hex(out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void
hmac__empty_key_is_a_key_not_the_last_one(void **state)
{
    (void)state;
    uint8_t out[C2_SHA256_LEN];
    struct c2_slice in = c2_slice_str("");
    c2_hmac_sha256(c2_slice_str("some key"), &in, 1, out);
    c2_hmac_sha256(c2_slice(NULL, 0), &in, 1, out);
    check_hex(out, 32, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void
hkdf__matches_rfc_5869(void **state)
{
    (void)state;
    uint8_t out[82];
    struct hex ikm = unhex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b");
    struct hex salt = unhex("000102030405060708090a0b0c");
    struct hex info = unhex("f0f1f2f3f4f5f6f7f8f9");
    c2_hkdf(slice_of(&ikm), slice_of(&salt), slice_of(&info), out, 42);
    check_hex(
        out, 42,
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");

    uint8_t ikm2[80], salt2[80], info2[80];
    for (unsigned i = 0; i < 80; i++) {
        ikm2[i] = (uint8_t)i;
        salt2[i] = (uint8_t)(0x60 + i);
        info2[i] = (uint8_t)(0xb0 + i);
    }
    c2_hkdf(c2_slice(ikm2, 80), c2_slice(salt2, 80), c2_slice(info2, 80), out, 82);
    check_hex(
        out, 82,
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c6"
        "5e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87");

    c2_hkdf(slice_of(&ikm), c2_slice(NULL, 0), c2_slice(NULL, 0), out, 42);
    check_hex(
        out, 42,
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

/* Test cases 13 to 16 of the GCM specification, the ones with 256-bit keys. */
static const struct {
    const char *key, *nonce, *aad, *plain, *sealed;
} gcm_vectors[] = {
    { "0000000000000000000000000000000000000000000000000000000000000000",
      "000000000000000000000000", "", "", "530f8afbc74536b9a963b4f1c4cb738b" },
    { "0000000000000000000000000000000000000000000000000000000000000000",
      "000000000000000000000000", "", "00000000000000000000000000000000",
      "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919" },
    { "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
      "cafebabefacedbaddecaf888", "",
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e24"
      "49a6b525b16aedf5aa0de657ba637b391aafd255",
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b10"
      "56828838c5f61e6393ba7a0abcc9f662898015adb094dac5d93471bdec1a502270e3cc6c" },
    { "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
      "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e24"
      "49a6b525b16aedf5aa0de657ba637b39",
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b10"
      "56828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b" },
};

static void
gcm__seals_as_the_specification_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < C2_ARRAY_LEN(gcm_vectors); i++) {
        struct hex key = unhex(gcm_vectors[i].key), nonce = unhex(gcm_vectors[i].nonce);
        struct hex aad = unhex(gcm_vectors[i].aad), plain = unhex(gcm_vectors[i].plain);
        uint8_t out[256];
        c2_gcm_seal(key.data, nonce.data, slice_of(&aad), slice_of(&plain), out);
        check_hex(out, plain.len + C2_GCM_TAG_LEN, gcm_vectors[i].sealed);
    }
}

static void
gcm__opens_in_place_what_it_sealed_in_place(void **state)
{
    (void)state;
    uint8_t key[C2_KEY_LEN] = { 1 }, nonce[C2_GCM_NONCE_LEN] = { 2 };
    uint8_t data[100 + C2_GCM_TAG_LEN], original[100];
    memset(original, 0x5a, sizeof(original));
    memcpy(data, original, sizeof(original));
    c2_gcm_seal(key, nonce, c2_slice_str("aad"), c2_slice(data, 100), data);
    assert_memory_not_equal(data, original, 100);
    assert_int_equal(
        c2_gcm_open(key, nonce, c2_slice_str("aad"), c2_slice(data, sizeof(data)), data), C2_E_OK);
    assert_memory_equal(data, original, 100);
}

static void
gcm__refuses_and_wipes_when_anything_changed(void **state)
{
    (void)state;
    uint8_t key[C2_KEY_LEN] = { 1 }, nonce[C2_GCM_NONCE_LEN] = { 2 };
    uint8_t sealed[20 + C2_GCM_TAG_LEN], out[20];
    static const uint8_t zeros[20];
    c2_gcm_seal(key, nonce, c2_slice_str("aad"), c2_slice_str("twenty bytes of text"), sealed);
    struct c2_slice in = c2_slice(sealed, sizeof(sealed));
    for (size_t i = 0; i < sizeof(sealed); i++) {
        sealed[i] ^= 1;
        memset(out, 0xff, sizeof(out));
        assert_int_equal(c2_gcm_open(key, nonce, c2_slice_str("aad"), in, out), C2_E_CORRUPT);
        assert_memory_equal(out, zeros, sizeof(out));
        sealed[i] ^= 1;
    }
    assert_int_equal(c2_gcm_open(key, nonce, c2_slice_str("axd"), in, out), C2_E_CORRUPT);
    nonce[0] ^= 1;
    assert_int_equal(c2_gcm_open(key, nonce, c2_slice_str("aad"), in, out), C2_E_CORRUPT);
    nonce[0] ^= 1;
    key[0] ^= 1;
    assert_int_equal(c2_gcm_open(key, nonce, c2_slice_str("aad"), in, out), C2_E_CORRUPT);
    key[0] ^= 1;
    /* The context is good for more after all those failures. */
    assert_int_equal(c2_gcm_open(key, nonce, c2_slice_str("aad"), in, out), C2_E_OK);
    assert_memory_equal(out, "twenty bytes of text", 20);
}

static void
ed25519__matches_rfc_8032(void **state)
{
    (void)state;
    static const struct {
        const char *seed, *public_key, *message, *sig;
    } vectors[] = {
        { "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
          "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
          "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39"
          "701cf9b46bd25bf5f0595bbe24655141438e7a100b" },
        { "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
          "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
          "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f7"
          "60984dc6594a7c15e9716ed28dc027beceea1ec40a" },
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(vectors); i++) {
        struct hex seed = unhex(vectors[i].seed), message = unhex(vectors[i].message);
        uint8_t secret[C2_ED25519_SECRET_LEN], public_key[C2_ED25519_PUBLIC_LEN];
        uint8_t sig[C2_ED25519_SIG_LEN];
        c2_ed25519_keypair(seed.data, secret, public_key);
        check_hex(public_key, sizeof(public_key), vectors[i].public_key);
        c2_ed25519_sign(secret, slice_of(&message), sig);
        check_hex(sig, sizeof(sig), vectors[i].sig);
        assert_int_equal(c2_ed25519_verify(public_key, slice_of(&message), sig), C2_E_OK);
        sig[5] ^= 4;
        assert_int_equal(c2_ed25519_verify(public_key, slice_of(&message), sig), C2_E_CORRUPT);
        sig[5] ^= 4;
        assert_int_equal(c2_ed25519_verify(public_key, c2_slice_str("x"), sig), C2_E_CORRUPT);
    }
}

/* libsodium has an implementation of its own, for one lane. */
static void
argon2id__equals_libsodium(void **state)
{
    (void)state;
    static const uint8_t salt[C2_ARGON2_SALT_LEN] = "sixteen salty by";
    uint8_t got[C2_KEY_LEN], expected[C2_KEY_LEN];
    assert_int_equal(c2_argon2id(c2_slice_str("correct horse"), salt, 1024, 3, 1, got), C2_E_OK);
    assert_int_equal(crypto_pwhash_argon2id(expected, sizeof(expected), "correct horse", 13, salt,
                                            3, (size_t)1024 * 1024,
                                            crypto_pwhash_argon2id_ALG_ARGON2ID13),
                     0);
    assert_memory_equal(got, expected, sizeof(got));
    assert_int_equal(c2_argon2id(c2_slice_str("correct hors"), salt, 1024, 3, 1, got), C2_E_OK);
    assert_memory_not_equal(got, expected, sizeof(got));
}

static void
argon2id__refuses_absurd_costs(void **state)
{
    (void)state;
    static const uint8_t salt[C2_ARGON2_SALT_LEN];
    uint8_t out[C2_KEY_LEN];
    struct c2_slice pass = c2_slice_str("x");
    assert_int_equal(c2_argon2id(pass, salt, UINT32_MAX, 1, 1, out), C2_E_INVALID);
    assert_int_equal(c2_argon2id(pass, salt, 1024, UINT32_MAX, 1, out), C2_E_INVALID);
    assert_int_equal(c2_argon2id(pass, salt, 1024, 1, 1000, out), C2_E_INVALID);
    assert_int_equal(c2_argon2id(pass, salt, 1024, 0, 1, out), C2_E_INVALID);
    assert_int_equal(c2_argon2id(pass, salt, 1, 1, 1, out), C2_E_INVALID);
}

static void
equal_secret__sees_every_byte(void **state)
{
    (void)state;
    uint8_t a[32] = { 0 }, b[32] = { 0 };
    assert_true(c2_equal_secret(a, b, 32));
    for (size_t i = 0; i < 32; i++) {
        b[i] = 1;
        assert_false(c2_equal_secret(a, b, 32));
        b[i] = 0;
    }
}

static void
random_bytes__do_not_repeat(void **state)
{
    (void)state;
    uint8_t a[32], b[32];
    c2_random_bytes(a, sizeof(a));
    c2_random_bytes(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
}

static void
secret__memory_is_zeroed_and_outlasts_the_arena(void **state)
{
    (void)state;
    enum { COUNT = 40, SIZE = 20000 }; /* more than the arena holds */
    static const uint8_t zeros[SIZE];
    uint8_t *p[COUNT];
    for (int i = 0; i < COUNT; i++) {
        p[i] = c2_secret_alloc(SIZE);
        assert_memory_equal(p[i], zeros, SIZE);
        memset(p[i], i + 1, SIZE);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(p[i][0], i + 1);
        assert_int_equal(p[i][SIZE - 1], i + 1);
        c2_secret_free(p[i], SIZE);
    }
    uint8_t *again = c2_secret_alloc(SIZE);
    assert_memory_equal(again, zeros, SIZE);
    c2_secret_free(again, SIZE);
    c2_secret_free(NULL, 0);
}

static void *
hash_in_thread(void *arg)
{
    uint8_t key[C2_KEY_LEN] = { 9 }, nonce[C2_GCM_NONCE_LEN] = { 0 }, sealed[16 + 3], plain[3];
    for (int i = 0; i < 100; i++) {
        c2_sha256(c2_slice_str("abc"), arg);
        c2_gcm_seal(key, nonce, c2_slice(NULL, 0), c2_slice_str("abc"), sealed);
        if (c2_gcm_open(key, nonce, c2_slice(NULL, 0), c2_slice(sealed, sizeof(sealed)), plain) !=
            C2_E_OK)
            memset(arg, 0, C2_SHA256_LEN);
    }
    return NULL;
}

/* What the threads leave behind shows up in the leak check. */
static void
crypto__works_in_many_threads(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    uint8_t out[THREADS][C2_SHA256_LEN];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash_in_thread, out[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        check_hex(out[i], C2_SHA256_LEN,
                  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crypto__works_in_many_threads),
        cmocka_unit_test(sha256__matches_fips_180_vectors),
        cmocka_unit_test(sha256__stream_and_parts_equal_the_whole),
        cmocka_unit_test(sha256_x2__equals_libcrypto_for_all_lengths),
        cmocka_unit_test(sha256_many__hashes_odd_and_even_counts),
        cmocka_unit_test(md5__matches_rfc_1321),
        cmocka_unit_test(hmac__matches_rfc_4231),
        cmocka_unit_test(hmac__empty_key_is_a_key_not_the_last_one),
        cmocka_unit_test(hkdf__matches_rfc_5869),
        cmocka_unit_test(gcm__seals_as_the_specification_says),
        cmocka_unit_test(gcm__opens_in_place_what_it_sealed_in_place),
        cmocka_unit_test(gcm__refuses_and_wipes_when_anything_changed),
        cmocka_unit_test(ed25519__matches_rfc_8032),
        cmocka_unit_test(argon2id__equals_libsodium),
        cmocka_unit_test(argon2id__refuses_absurd_costs),
        cmocka_unit_test(equal_secret__sees_every_byte),
        cmocka_unit_test(random_bytes__do_not_repeat),
        cmocka_unit_test(secret__memory_is_zeroed_and_outlasts_the_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
