/* SPDX-License-Identifier: MIT */
/*
 * Cryptography over libcrypto (SHA-256, HMAC, AES-GCM), libsodium (Ed25519, which is twice as fast
 * there) and libargon2.
 *
 * `lib` is set up once per process and read-only afterwards. Each thread has its contexts, made on
 * first use and freed when the thread ends. A context remembers the last key it was given until
 * the next one or the thread's end; that memory is freed wiped.
 */
#include "base/crypto.h"

#include <argon2.h>
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/os_file.h"
#include "base/sha256_x2.h"

/*
 * libcrypto's assembler is not instrumented: in builds with the address sanitizer, look for it
 * whether memory that goes there is alive.
 */
#ifdef __SANITIZE_ADDRESS__
#define C2_HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define C2_HAVE_ASAN 1
#endif
#endif
#ifdef C2_HAVE_ASAN
#include <sanitizer/asan_interface.h>
#define CHECK_MEMORY(p, len)                                                                       \
    C2_ASSERT((len) == 0 || __asan_region_is_poisoned((void *)(uintptr_t)(p), (len)) == NULL)
#else
#define CHECK_MEMORY(p, len) ((void)(p), (void)(len))
#endif

#define SECRET_ARENA_SIZE     ((size_t)1 << 19)
#define SECRET_ARENA_MIN_UNIT ((size_t)32)
#define HKDF_LEN_MAX          ((size_t)255 * C2_SHA256_LEN)
#define ARGON2_MEMORY_KIB_MAX (4u << 20)
#define ARGON2_ITERATIONS_MAX 1000u
#define ARGON2_LANES_MAX      16u

static struct {
    pthread_once_t once;
    pthread_key_t thread_key;
    bool ready;
    bool sha256_x2;
    EVP_MD *sha256;
    EVP_MD *md5;
    EVP_CIPHER *gcm;
    EVP_MAC *hmac;
} lib = { .once = PTHREAD_ONCE_INIT };

struct thread_contexts {
    EVP_MD_CTX *digest;
    EVP_CIPHER_CTX *seal;
    EVP_CIPHER_CTX *open;
    EVP_MAC_CTX *hmac;
};

static void
thread_contexts_free(void *arg)
{
    struct thread_contexts *t = arg;
    EVP_MD_CTX_free(t->digest);
    EVP_CIPHER_CTX_free(t->seal);
    EVP_CIPHER_CTX_free(t->open);
    EVP_MAC_CTX_free(t->hmac);
    c2_free(t);
}

static void
arena_init(void)
{
    int rc = CRYPTO_secure_malloc_init(SECRET_ARENA_SIZE, SECRET_ARENA_MIN_UNIT);
    if (rc != 1)
        c2_log(WARN, "crypto",
               "keys are not locked in memory and may be swapped out; "
               "raise the memlock limit (ulimit -l, LimitMEMLOCK=)");
}

static void
lib_init(void)
{
    lib.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    lib.md5 = EVP_MD_fetch(NULL, "MD5", NULL);
    lib.gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    lib.hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    lib.sha256_x2 = c2_sha256_x2_supported();
    lib.ready = lib.sha256 != NULL && lib.md5 != NULL && lib.gcm != NULL && lib.hmac != NULL &&
                sodium_init() >= 0 &&
                pthread_key_create(&lib.thread_key, thread_contexts_free) == 0;
    arena_init();
}

enum c2_err
c2_crypto_init(void)
{
    pthread_once(&lib.once, lib_init);
    return lib.ready ? C2_E_OK : C2_E_UNSUPPORTED;
}

/* What libcrypto refuses here is our mistake or no memory; nothing can go on without it. */
static void
must(int rc)
{
    C2_ASSERT(rc == 1);
}

static struct thread_contexts *
contexts(void)
{
    C2_ASSERT(c2_crypto_init() == C2_E_OK);
    struct thread_contexts *t = pthread_getspecific(lib.thread_key);
    if (t != NULL)
        return t;
    t = c2_calloc(1, sizeof(*t));
    t->digest = EVP_MD_CTX_new();
    t->seal = EVP_CIPHER_CTX_new();
    t->open = EVP_CIPHER_CTX_new();
    t->hmac = EVP_MAC_CTX_new(lib.hmac);
    C2_ASSERT(t->digest != NULL && t->seal != NULL && t->open != NULL && t->hmac != NULL);
    /* The cipher once: naming it again in each call would allocate its state anew. */
    must(EVP_EncryptInit_ex2(t->seal, lib.gcm, NULL, NULL, NULL));
    must(EVP_DecryptInit_ex2(t->open, lib.gcm, NULL, NULL, NULL));
    char digest[] = "SHA256";
    OSSL_PARAM params[] = { OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                            OSSL_PARAM_END };
    must(EVP_MAC_CTX_set_params(t->hmac, params));
    must(pthread_setspecific(lib.thread_key, t) == 0);
    return t;
}

static void
digest_v(const EVP_MD *md, const struct c2_slice *in, size_t n, uint8_t *out)
{
    EVP_MD_CTX *ctx = contexts()->digest;
    must(EVP_DigestInit_ex2(ctx, md, NULL));
    for (size_t i = 0; i < n; i++) {
        CHECK_MEMORY(in[i].data, in[i].len);
        must(EVP_DigestUpdate(ctx, in[i].data, in[i].len));
    }
    must(EVP_DigestFinal_ex(ctx, out, NULL));
}

void
c2_sha256_v(const struct c2_slice *in, size_t n, uint8_t out[C2_SHA256_LEN])
{
    C2_ASSERT(c2_crypto_init() == C2_E_OK);
    digest_v(lib.sha256, in, n, out);
}

void
c2_sha256(struct c2_slice in, uint8_t out[C2_SHA256_LEN])
{
    c2_sha256_v(&in, 1, out);
}

void
c2_md5(struct c2_slice in, uint8_t out[16])
{
    C2_ASSERT(c2_crypto_init() == C2_E_OK);
    digest_v(lib.md5, &in, 1, out);
}

void
c2_sha256_many(const struct c2_slice *in, size_t n, uint8_t (*out)[C2_SHA256_LEN])
{
    C2_ASSERT(c2_crypto_init() == C2_E_OK);
    size_t i = 0;
    for (; lib.sha256_x2 && i + 1 < n; i += 2)
        c2_sha256_x2(in[i], in[i + 1], out[i], out[i + 1]);
    for (; i < n; i++)
        c2_sha256(in[i], out[i]);
}

struct c2_sha256_stream {
    EVP_MD_CTX *ctx; /* owned */
};

struct c2_sha256_stream *
c2_sha256_stream_new(void)
{
    C2_ASSERT(c2_crypto_init() == C2_E_OK);
    struct c2_sha256_stream *s = c2_calloc(1, sizeof(*s));
    s->ctx = EVP_MD_CTX_new();
    C2_ASSERT(s->ctx != NULL);
    must(EVP_DigestInit_ex2(s->ctx, lib.sha256, NULL));
    return s;
}

void
c2_sha256_stream_add(struct c2_sha256_stream *s, struct c2_slice in)
{
    CHECK_MEMORY(in.data, in.len);
    must(EVP_DigestUpdate(s->ctx, in.data, in.len));
}

void
c2_sha256_stream_finish(struct c2_sha256_stream *s, uint8_t out[C2_SHA256_LEN])
{
    must(EVP_DigestFinal_ex(s->ctx, out, NULL));
    EVP_MD_CTX_free(s->ctx);
    c2_free(s);
}

void
c2_hmac_sha256(struct c2_slice key, const struct c2_slice *in, size_t n, uint8_t out[C2_SHA256_LEN])
{
    static const uint8_t empty[1];
    EVP_MAC_CTX *ctx = contexts()->hmac;
    /* A NULL key would mean "the same as before". */
    must(EVP_MAC_init(ctx, key.len == 0 ? empty : key.data, key.len, NULL));
    for (size_t i = 0; i < n; i++)
        must(EVP_MAC_update(ctx, in[i].data, in[i].len));
    size_t len;
    must(EVP_MAC_final(ctx, out, &len, C2_SHA256_LEN));
    C2_ASSERT(len == C2_SHA256_LEN);
}

void
c2_hkdf(struct c2_slice ikm, struct c2_slice salt, struct c2_slice info, void *out, size_t out_len)
{
    C2_ASSERT(out_len <= HKDF_LEN_MAX);
    uint8_t prk[C2_SHA256_LEN], block[C2_SHA256_LEN];
    /* RFC 5869: without a salt the key is zeros, which HMAC pads an empty key to. */
    c2_hmac_sha256(salt, &ikm, 1, prk);
    uint8_t *p = out;
    size_t block_len = 0;
    uint8_t counter = 0;
    for (size_t done = 0; done < out_len;) {
        counter++;
        struct c2_slice parts[] = { c2_slice(block, block_len), info, c2_slice(&counter, 1) };
        c2_hmac_sha256(c2_slice(prk, sizeof(prk)), parts, 3, block);
        block_len = sizeof(block);
        size_t n = C2_MIN(block_len, out_len - done);
        memcpy(p + done, block, n);
        done += n;
    }
    c2_wipe(prk, sizeof(prk));
    c2_wipe(block, sizeof(block));
}

/* libcrypto counts in int. */
#define GCM_STEP ((size_t)1 << 30)

static void
gcm_update(EVP_CIPHER_CTX *ctx, uint8_t *out, struct c2_slice in)
{
    int n;
    CHECK_MEMORY(in.data, in.len);
    if (out != NULL)
        CHECK_MEMORY(out, in.len);
    for (size_t at = 0; at < in.len; at += GCM_STEP) {
        int len = (int)C2_MIN(in.len - at, GCM_STEP);
        must(EVP_CipherUpdate(ctx, out == NULL ? NULL : out + at, &n, in.data + at, len));
    }
}

void
c2_gcm_seal(const uint8_t key[C2_KEY_LEN], const uint8_t nonce[C2_GCM_NONCE_LEN],
            struct c2_slice aad, struct c2_slice in, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = contexts()->seal;
    int n;
    must(EVP_EncryptInit_ex2(ctx, NULL, key, nonce, NULL));
    gcm_update(ctx, NULL, aad);
    gcm_update(ctx, out, in);
    must(EVP_EncryptFinal_ex(ctx, out + in.len, &n));
    must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, C2_GCM_TAG_LEN, out + in.len));
}

enum c2_err
c2_gcm_open(const uint8_t key[C2_KEY_LEN], const uint8_t nonce[C2_GCM_NONCE_LEN],
            struct c2_slice aad, struct c2_slice in, uint8_t *out)
{
    C2_ASSERT(in.len >= C2_GCM_TAG_LEN);
    size_t len = in.len - C2_GCM_TAG_LEN;
    uint8_t tag[C2_GCM_TAG_LEN], rest[C2_GCM_TAG_LEN];
    memcpy(tag, in.data + len, sizeof(tag));
    EVP_CIPHER_CTX *ctx = contexts()->open;
    int n;
    must(EVP_DecryptInit_ex2(ctx, NULL, key, nonce, NULL));
    gcm_update(ctx, NULL, aad);
    gcm_update(ctx, out, c2_slice(in.data, len));
    must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, sizeof(tag), tag));
    if (EVP_DecryptFinal_ex(ctx, rest, &n) == 1)
        return C2_E_OK;
    if (len > 0)
        c2_wipe(out, len);
    return C2_E_CORRUPT;
}

void
c2_ed25519_keypair(const uint8_t seed[32], uint8_t secret[C2_ED25519_SECRET_LEN],
                   uint8_t public_key[C2_ED25519_PUBLIC_LEN])
{
    C2_ASSERT(c2_crypto_init() == C2_E_OK);
    crypto_sign_ed25519_seed_keypair(public_key, secret, seed);
}

void
c2_ed25519_sign(const uint8_t secret[C2_ED25519_SECRET_LEN], struct c2_slice in,
                uint8_t sig[C2_ED25519_SIG_LEN])
{
    C2_ASSERT(c2_crypto_init() == C2_E_OK);
    crypto_sign_ed25519_detached(sig, NULL, in.data, in.len, secret);
}

enum c2_err
c2_ed25519_verify(const uint8_t public_key[C2_ED25519_PUBLIC_LEN], struct c2_slice in,
                  const uint8_t sig[C2_ED25519_SIG_LEN])
{
    C2_ASSERT(c2_crypto_init() == C2_E_OK);
    int rc = crypto_sign_ed25519_verify_detached(sig, in.data, in.len, public_key);
    return rc == 0 ? C2_E_OK : C2_E_CORRUPT;
}

enum c2_err
c2_argon2id(struct c2_slice passphrase, const uint8_t salt[C2_ARGON2_SALT_LEN], uint32_t memory_kib,
            uint32_t iterations, uint32_t lanes, uint8_t out[C2_KEY_LEN])
{
    /* The costs may come from a file that somebody else wrote. */
    if (memory_kib > ARGON2_MEMORY_KIB_MAX || iterations > ARGON2_ITERATIONS_MAX ||
        lanes > ARGON2_LANES_MAX || passphrase.len > UINT32_MAX)
        return C2_E_INVALID;
    int rc = argon2id_hash_raw(iterations, memory_kib, lanes, passphrase.data, passphrase.len, salt,
                               C2_ARGON2_SALT_LEN, out, C2_KEY_LEN);
    if (rc == ARGON2_MEMORY_ALLOCATION_ERROR)
        return C2_E_NOMEM;
    return rc == ARGON2_OK ? C2_E_OK : C2_E_INVALID;
}

bool
c2_equal_secret(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

void
c2_random_bytes(void *out, size_t len)
{
    randombytes_buf(out, len);
}

void
c2_wipe(void *ptr, size_t size)
{
    OPENSSL_cleanse(ptr, size);
}

void *
c2_secret_alloc(size_t size)
{
    C2_ASSERT(c2_crypto_init() == C2_E_OK);
    size_t wanted = C2_MAX(size, (size_t)1);
    void *p = CRYPTO_secure_malloc_initialized() ? OPENSSL_secure_zalloc(wanted) : NULL;
    return p != NULL ? p : c2_os_pages_alloc(wanted);
}

void
c2_secret_free(void *ptr, size_t size)
{
    if (ptr == NULL)
        return;
    if (CRYPTO_secure_allocated(ptr)) {
        OPENSSL_secure_clear_free(ptr, size);
        return;
    }
    c2_wipe(ptr, size);
    c2_os_pages_free(ptr, C2_MAX(size, (size_t)1));
}
