/* SPDX-License-Identifier: MIT */
/*
 * The erasure code: systematic Reed-Solomon over GF(2^8)/0x11d, n rows of which any k restore all.
 *
 * Generator: rows 0..k-1 are the identity, parity row p (p = 0, 1, …) is [1 g g^2 …] with g = p+1,
 * so the first parity row is plain XOR. For k = 2: [1 0] [0 1] [1 1] [1 2] [1 3] …; for k = 3:
 * … [1 1 1] [1 2 4] [1 3 5] [1 4 16]. Every square submatrix of the parity part is regular for
 * k <= 3 (Vandermonde determinants and, for columns 0 and 2, (g+h)^2), so the code is MDS. A row
 * does not depend on n: a seat can be added later without touching older objects.
 *
 * Two engines, ISA-L and jerasure, give the same bytes: the format names the matrix, not a library.
 */
#ifndef C2_DEPSKY_ERASURE_H
#define C2_DEPSKY_ERASURE_H

#include "depsky/depsky.h"

#define DS_K_MAX (DS_F_MAX + 1)

/* Once before the first use, from any thread, any number of times. */
void ds_erasure_init(void);

/* The k coefficients of generator row `row`. */
void ds_erasure_row(unsigned k, unsigned row, uint8_t *coef);

/* parity[0..n-k-1] from data[0..k-1], each len bytes. Any alignment; no overlap. */
void ds_erasure_encode(enum ds_engine engine, unsigned k, unsigned n, const uint8_t *const *data,
                       uint8_t *const *parity, size_t len);

struct ds_erasure_rows {
    unsigned index[DS_K_MAX];      /* which k different rows */
    const uint8_t *data[DS_K_MAX]; /* borrowed */
};

/* Row `want`, data or parity, from k rows. out must not overlap an input. */
void ds_erasure_rebuild(enum ds_engine engine, unsigned k, const struct ds_erasure_rows *have,
                        unsigned want, uint8_t *out, size_t len);

#endif
