/* SPDX-License-Identifier: MIT */
/*
 * Cryptography, the only user of libcrypto, libsodium and libargon2. Algorithms are fetched once
 * per process, contexts are kept per thread. Nothing here chooses a nonce: every caller states its
 * nonce discipline where it calls. All functions may be called from any thread.
 */
#ifndef C2_BASE_CRYPTO_H
#define C2_BASE_CRYPTO_H

#include "base/buf.h"

#define C2_SHA256_LEN         32
#define C2_KEY_LEN            32
#define C2_GCM_NONCE_LEN      12
#define C2_GCM_TAG_LEN        16
#define C2_ED25519_SECRET_LEN 64
#define C2_ED25519_PUBLIC_LEN 32
#define C2_ED25519_SIG_LEN    64
#define C2_ARGON2_SALT_LEN    16

/* Once in each main(), before threads; fails when the libraries lack an algorithm. */
C2_RESULT c2_crypto_init(void);

void c2_sha256(struct c2_slice in, uint8_t out[C2_SHA256_LEN]);
/* Of the concatenation of n slices. */
void c2_sha256_v(const struct c2_slice *in, size_t n, uint8_t out[C2_SHA256_LEN]);
/* Hashes n separate messages; interleaves two streams where the CPU gains by it. */
void c2_sha256_many(const struct c2_slice *in, size_t n, uint8_t (*out)[C2_SHA256_LEN]);
void c2_md5(struct c2_slice in, uint8_t out[16]); /* only because S3 asks for Content-MD5 */

struct c2_sha256_stream; /* incremental */
struct c2_sha256_stream *c2_sha256_stream_new(void);
void c2_sha256_stream_add(struct c2_sha256_stream *s, struct c2_slice in);
void c2_sha256_stream_finish(struct c2_sha256_stream *s, uint8_t out[C2_SHA256_LEN]); /* frees s */

void c2_hmac_sha256(struct c2_slice key, const struct c2_slice *in, size_t n,
                    uint8_t out[C2_SHA256_LEN]);
/* RFC 5869 with SHA-256; salt may be empty; out_len <= 8160. */
void c2_hkdf(struct c2_slice ikm, struct c2_slice salt, struct c2_slice info, void *out,
             size_t out_len);

/* AES-256-GCM; out gets in.len + 16 bytes (tag last); in place allowed when out == in.data. */
void c2_gcm_seal(const uint8_t key[C2_KEY_LEN], const uint8_t nonce[C2_GCM_NONCE_LEN],
                 struct c2_slice aad, struct c2_slice in, uint8_t *out);
/* in.len >= 16; out gets in.len - 16 bytes; C2_E_CORRUPT and wiped output when the tag is wrong. */
C2_RESULT c2_gcm_open(const uint8_t key[C2_KEY_LEN], const uint8_t nonce[C2_GCM_NONCE_LEN],
                      struct c2_slice aad, struct c2_slice in, uint8_t *out);

void c2_ed25519_keypair(const uint8_t seed[32], uint8_t secret[C2_ED25519_SECRET_LEN],
                        uint8_t public_key[C2_ED25519_PUBLIC_LEN]);
void c2_ed25519_sign(const uint8_t secret[C2_ED25519_SECRET_LEN], struct c2_slice in,
                     uint8_t sig[C2_ED25519_SIG_LEN]);
C2_RESULT c2_ed25519_verify(const uint8_t public_key[C2_ED25519_PUBLIC_LEN], struct c2_slice in,
                            const uint8_t sig[C2_ED25519_SIG_LEN]);

/* Argon2id, version 1.3. */
C2_RESULT c2_argon2id(struct c2_slice passphrase, const uint8_t salt[C2_ARGON2_SALT_LEN],
                      uint32_t memory_kib, uint32_t iterations, uint32_t lanes,
                      uint8_t out[C2_KEY_LEN]);

/* Constant time. */
bool c2_equal_secret(const void *a, const void *b, size_t len);
/* From the system; aborts when the system has none. Simulated code asks its env instead. */
void c2_random_bytes(void *out, size_t len);

#endif
