/* SPDX-License-Identifier: MIT */
/*
 * From plaintext to shares and back; pure functions that run as pool jobs on immutable inputs.
 *
 *   plaintext -> segments of 64 KiB -> zlib where it shrinks -> AES-256-GCM -> stripes -> RS rows
 *             -> leaf hashes -> headers
 *
 * Key schedule: S = 32 random bytes, Shamir-shared. content key = HKDF-SHA256(ikm = S | data_key,
 * or S alone when keyless; salt = oid; info = "c2fs object key v1"). key_commit = HKDF(ikm =
 * content key, salt = oid, info = "c2fs key commit v1"): it binds the object to its key (GCM alone
 * does not) and tells a wrong volume key from damaged bytes.
 *
 * Nonce discipline: a content key seals one object once. Nonce = 7 zeros | u32 segment | u8 last.
 * AAD = oid | u32 segment | u32 plain length of the segment.
 */
#ifndef C2_DEPSKY_CODEC_H
#define C2_DEPSKY_CODEC_H

#include "depsky/share.h"

/* One sealing. Inputs are borrowed until it has run. */
struct ds_seal {
    const struct ds_config *config;
    struct ds_oid oid;
    const struct c2_slice *data;
    size_t ndata;
    uint64_t plain_len;
    const uint32_t *cuts;
    size_t ncuts;
    uint8_t secret[DS_SECRET_LEN];          /* uniform; wiped by ds_codec_seal */
    uint8_t coef[DS_F_MAX * DS_SECRET_LEN]; /* uniform; wiped by ds_codec_seal */

    struct c2_blob *share[DS_SEATS_MAX]; /* out: one reference each, the caller's */
    uint32_t hdr_len;                    /* out: the same for all shares */
    bool compressed;                     /* out */
    struct ds_ref ref;                   /* out */
};

void ds_codec_seal(struct ds_seal *s);

void ds_codec_key(const struct ds_oid *oid, const uint8_t secret[DS_SECRET_LEN],
                  const uint8_t *data_key /* NULL = keyless */, uint8_t key[C2_KEY_LEN],
                  uint8_t commit[C2_SHA256_LEN]);

/* One opening of a plaintext range from verified row bytes. */
struct ds_unseal {
    const struct ds_layout *layout;
    struct ds_oid oid;
    const uint8_t *key;
    enum ds_engine engine;
    enum ds_compress compress;
    unsigned n;
    struct ds_row_bytes {
        const uint8_t *data; /* row bytes [span.lo, span.hi), verified; NULL = not there */
        struct ds_span span;
    } row[DS_SEATS_MAX];
    uint64_t offset, len; /* inside the object, len > 0 */

    enum c2_err err;     /* out: OK; CORRUPT when verified bytes do not decrypt */
    struct c2_blob *out; /* out: one reference, the caller's */
};

/* Each data row, or k rows, must hold what the range needs: asserted. */
void ds_codec_unseal(struct ds_unseal *u);

#endif
