/* SPDX-License-Identifier: MIT */
/*
 * Compression of one segment into the zlib format (RFC 1950), and back. Two engines read each
 * other's output: ISA-L (igzip level 1) and zlib. Contexts belong to one job at a time.
 *
 * History never crosses from one file of a pack into the next: at each cut the stream is flushed
 * and its window forgotten (Z_FULL_FLUSH), so the length of what is stored tells nothing about how
 * one file resembles another.
 */
#ifndef C2_DEPSKY_COMPRESS_H
#define C2_DEPSKY_COMPRESS_H

#include "base/buf.h"
#include "depsky/depsky.h"

struct ds_deflate;

struct ds_deflate *ds_deflate_new(enum ds_compress engine); /* not DS_COMPRESS_NONE */
void ds_deflate_free(struct ds_deflate *d);                 /* NULL is fine */

/* Where files begin inside a segment: ascending offsets, each > 0 and < its length; borrowed. */
struct ds_cuts {
    const uint32_t *at; /* absolute plaintext offsets */
    size_t count;
    uint32_t base; /* plaintext offset of the segment */
};

/* The compressed length, or 0 when it would be more than out_max. */
size_t ds_deflate_run(struct ds_deflate *d, struct c2_slice in, const struct ds_cuts *cuts,
                      uint8_t *out, size_t out_max);

struct ds_inflate;

struct ds_inflate *ds_inflate_new(enum ds_compress engine); /* NONE means ISA-L */
void ds_inflate_free(struct ds_inflate *i);
/* C2_E_CORRUPT unless `in` is one whole stream of exactly out_len bytes; never writes more. */
C2_RESULT ds_inflate_run(struct ds_inflate *i, struct c2_slice in, uint8_t *out, size_t out_len);

#endif
