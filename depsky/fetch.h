/* SPDX-License-Identifier: MIT */
/*
 * One whole share of one seat, or its header, fetched and verified to the last byte. For checks
 * and rebuilds, which are in no hurry: no hedging.
 */
#ifndef C2_DEPSKY_FETCH_H
#define C2_DEPSKY_FETCH_H

#include "depsky/client.h"

struct ds_fetch {
    struct ds_client *c;
    unsigned seat;
    bool unhashed; /* of a body only the length is checked: the caller proves the rest */
    bool headers_only;
    struct ds_ref ref;
    void (*done)(struct ds_fetch *f);
    void *owner;

    enum c2_err err;      /* out: OK, NOT_FOUND, CORRUPT, or why the request failed */
    struct c2_blob *blob; /* out: owned; the share, from its first byte */
    struct ds_share sh;   /* out */
    uint64_t bytes;       /* out: that came over the line */

    char key[PROV_KEY_MAX]; /* private */
    bool outside;           /* private: not from the seat's own provider */
    struct ds_call *call;   /* private */
    struct c2_work work;    /* private */
    const uint8_t *leaves;  /* private; into blob */
};

/* source = NULL: the seat's own provider. The rest of *setup says what and for whom. */
void ds_fetch_start(const struct ds_fetch *setup, const char *key, struct provider *source);
void ds_fetch_free(struct ds_fetch *f); /* after done; NULL is fine */

#endif
