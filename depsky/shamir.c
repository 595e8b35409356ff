/* SPDX-License-Identifier: MIT */
/*
 * Horner's rule for shares, Lagrange interpolation for combining. x values are public (they are
 * seat numbers); secret bytes only ever meet ds_gf_mul and XOR.
 */
#include "depsky/shamir.h"

#include <string.h>

#include "base/alloc.h"
#include "depsky/gf256.h"

void
ds_shamir_share(const uint8_t secret[DS_SECRET_LEN], const uint8_t *coef, unsigned k, uint8_t x,
                uint8_t y[DS_SECRET_LEN])
{
    C2_ASSERT(k >= 1);
    C2_ASSERT(x != 0); /* the value at 0 is the secret itself */
    for (unsigned i = 0; i < DS_SECRET_LEN; i++) {
        uint8_t value = 0;
        for (unsigned degree = k - 1; degree > 0; degree--)
            value = ds_gf_mul(value ^ coef[(degree - 1) * DS_SECRET_LEN + i], x);
        y[i] = value ^ secret[i];
    }
}

void
ds_shamir_combine(const uint8_t *x, const uint8_t *y, unsigned k, uint8_t at,
                  uint8_t out[DS_SECRET_LEN])
{
    uint8_t value[DS_SECRET_LEN] = { 0 };
    for (unsigned i = 0; i < k; i++) {
        uint8_t weight = 1;
        for (unsigned j = 0; j < k; j++) {
            if (j == i)
                continue;
            C2_ASSERT(x[i] != x[j]);
            weight = ds_gf_mul(weight, ds_gf_mul(at ^ x[j], ds_gf_inv(x[i] ^ x[j])));
        }
        for (unsigned b = 0; b < DS_SECRET_LEN; b++)
            value[b] ^= ds_gf_mul(weight, y[i * DS_SECRET_LEN + b]);
    }
    memcpy(out, value, DS_SECRET_LEN);
    c2_wipe(value, sizeof(value));
}
