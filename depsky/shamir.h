/* SPDX-License-Identifier: MIT */
/*
 * Shamir's secret sharing of a 32-byte secret over GF(2^8)/0x11d, byte by byte, in constant time.
 * Any k shares give the secret and every other share; k-1 give nothing. Shares carry no
 * authentication of their own: row_root covers them (share.h), and they are verified before they
 * are combined.
 */
#ifndef C2_DEPSKY_SHAMIR_H
#define C2_DEPSKY_SHAMIR_H

#include "base/base.h"

#define DS_SECRET_LEN 32

/*
 * The share at x (not 0). coef holds the k-1 further coefficients of the polynomial, 32 bytes
 * each: ALL of them uniformly random, zero included, and never used for another secret.
 */
void ds_shamir_share(const uint8_t secret[DS_SECRET_LEN], const uint8_t *coef, unsigned k,
                     uint8_t x, uint8_t y[DS_SECRET_LEN]);

/* The value at `at` from k shares y (32 bytes each) with different x: the secret at 0, a lost share
 * elsewhere. */
void ds_shamir_combine(const uint8_t *x, const uint8_t *y, unsigned k, uint8_t at,
                       uint8_t out[DS_SECRET_LEN]);

#endif
