/* SPDX-License-Identifier: MIT */
/*
 * GF(2^8) with the polynomial 0x11d, in constant time: no table, no branch on a value. Good for
 * key shares and for the few products a decoding matrix needs; bulk data goes through erasure.c.
 */
#ifndef C2_DEPSKY_GF256_H
#define C2_DEPSKY_GF256_H

#include <stdint.h>

static inline uint8_t
ds_gf_mul(uint8_t a, uint8_t b)
{
    unsigned x = a;
    unsigned y = b;
    unsigned product = 0;
    for (unsigned bit = 0; bit < 8; bit++) {
        product ^= x & (0u - ((y >> bit) & 1u));
        x = (x << 1) ^ (0x11du & (0u - (x >> 7)));
    }
    return (uint8_t)product;
}

/* 1/a = a^254; 0 gives 0. */
static inline uint8_t
ds_gf_inv(uint8_t a)
{
    uint8_t power = a;
    uint8_t result = 1;
    for (unsigned i = 0; i < 7; i++) {
        power = ds_gf_mul(power, power); /* a^2, a^4, … a^128 */
        result = ds_gf_mul(result, power);
    }
    return result;
}

#endif
