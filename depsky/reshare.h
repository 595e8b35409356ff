/* SPDX-License-Identifier: MIT */
/*
 * A lost share from k others: row, leaves, key share and header, byte for byte what was first
 * written. A pure function for the pool.
 */
#ifndef C2_DEPSKY_RESHARE_H
#define C2_DEPSKY_RESHARE_H

#include "depsky/erasure.h"
#include "depsky/share.h"

struct ds_reshare {
    enum ds_engine engine;
    const struct ds_share *have[DS_K_MAX]; /* k verified shares of different seats */
    struct c2_blob *blob[DS_K_MAX];        /* their bytes; nobody else looks at blob[0] */
    uint8_t seat;                          /* wanted */

    enum c2_err err;     /* out: OK; CORRUPT when the object's root names another share */
    struct c2_blob *out; /* out: one reference, the caller's, to blob[0], which has become it; NULL
                          * with an error: then blob[0] is what it was */
};

void ds_codec_reshare(struct ds_reshare *r);

#endif
