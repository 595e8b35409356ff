/* SPDX-License-Identifier: MIT */
/*
 * Two SHA-256 computations at once on one core: the SHA instructions of x86 have a latency of
 * several cycles that one stream cannot fill. Private to crypto.c.
 */
#ifndef C2_BASE_SHA256_X2_H
#define C2_BASE_SHA256_X2_H

#include "base/buf.h"

/* Asks the CPU, which is slow inside a virtual machine: ask once. */
bool c2_sha256_x2_supported(void);
/* Only when supported. The lengths may differ. */
void c2_sha256_x2(struct c2_slice a, struct c2_slice b, uint8_t out_a[32], uint8_t out_b[32]);

#endif
