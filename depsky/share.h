/* SPDX-License-Identifier: MIT */
/*
 * A share: what one seat stores of an object. 512-byte header, table of leaf hashes, table of
 * stored lengths (compressed objects only), body. docs/formats.md has every byte.
 *
 *   leaf[i]     = SHA-256 of the i-th 32 KiB of the body
 *   row_root    = SHA-256("c2row" | oid | seat | x | y | leaves)
 *   object_root = SHA-256("c2obj" | header bytes [0, 112) with seat = 0 | key_commit |
 *                         row_root[0..n) | stored lengths)
 *
 * Order of trust, always: lengths are bounded, object_root equals the trusted one, row_root
 * equals the one under object_root, each leaf equals the body before use. Then only decryption.
 */
#ifndef C2_DEPSKY_SHARE_H
#define C2_DEPSKY_SHARE_H

#include "base/crypto.h"
#include "depsky/layout.h"
#include "depsky/shamir.h"

#define DS_SHARE_HEADER_LEN 512u
#define DS_SHARE_VERSION    1
#define DS_OID_LEN          24

enum {
    DS_SHARE_COMPRESSED = 1 << 0, /* the table of stored lengths is present */
    DS_SHARE_KEYLESS = 1 << 1,    /* the content key comes from the shared secret alone */
};

struct ds_share {
    uint16_t flags;
    uint8_t volume[16];
    struct ds_oid oid;
    uint8_t n, k, seat;
    uint64_t plain_len, cipher_len;
    uint32_t nseg, row_len, hdr_len, nleaf;
    uint32_t key_epoch, domain_id, config_epoch;
    uint8_t key_commit[C2_SHA256_LEN];
    uint8_t x, y[DS_SECRET_LEN];
    uint8_t row_root[DS_SEATS_MAX][C2_SHA256_LEN];
    uint8_t object_root[DS_ROOT_LEN];
};

void ds_oid_encode(const struct ds_oid *oid, uint8_t out[DS_OID_LEN]);
struct ds_oid ds_oid_decode(const uint8_t in[DS_OID_LEN]);
bool ds_oid_equal(const struct ds_oid *a, const struct ds_oid *b);

/* The whole header; sh->seat, x, y are the seat's own. */
void ds_share_encode(const struct ds_share *sh, uint8_t out[DS_SHARE_HEADER_LEN]);

/*
 * Reads and bounds the fixed header (in.len >= 512, any bytes): every length agrees with
 * plain_len, n, k and flags, except row_len, hdr_len and cipher_len of a compressed object, which
 * are only bounded until ds_share_verify has seen the table. Proves nothing about the content.
 * C2_E_PARSE, C2_E_VERSION.
 */
C2_RESULT ds_share_decode(struct c2_slice in, struct ds_share *ret_share);

/*
 * in = the first hdr_len bytes or more of a share. Checks object_root (against `root`, or against
 * itself when root is NULL), the layout, and this seat's row_root. On success *ret_layout is the
 * caller's (ds_layout_done) and *ret_leaves points into `in`: nleaf hashes of 32 bytes.
 * C2_E_PARSE, C2_E_VERSION, C2_E_CORRUPT; C2_E_RANGE when `in` ends before the tables do.
 */
C2_RESULT ds_share_verify(struct c2_slice in, const uint8_t *root, struct ds_share *ret_share,
                          struct ds_layout *ret_layout, const uint8_t **ret_leaves);

/* Body bytes [first_leaf * 32 KiB, …) against their hashes; C2_E_CORRUPT. */
C2_RESULT ds_leaves_verify(struct c2_slice body, const uint8_t *leaves, uint32_t first_leaf);
/* One hash per 32 KiB of the body. */
void ds_leaves_hash(struct c2_slice body, uint8_t *leaves);

void ds_row_root(const struct ds_share *sh, const uint8_t *leaves, uint8_t out[C2_SHA256_LEN]);
/* `lengths` is the encoded table, empty for a raw object. */
void ds_object_root(const struct ds_share *sh, struct c2_slice lengths, uint8_t out[DS_ROOT_LEN]);

/* Upper bounds for an object of plain_len bytes, whatever its compression. */
uint32_t ds_share_tables_max(unsigned k, uint64_t plain_len); /* header and tables */
uint32_t ds_share_len_max(unsigned k, uint64_t plain_len);    /* whole share */

#endif
