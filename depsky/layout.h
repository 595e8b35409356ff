/* SPDX-License-Identifier: MIT */
/*
 * Where the bytes of an object are. Plaintext is cut into segments of 64 KiB; each is stored raw or
 * compressed and sealed (16 bytes longer). k consecutive sealed segments are a stripe: they are
 * laid end to end and split into k units of ceil(R/k) bytes (R = their total, zeros at the end);
 * data row r gets unit r, and a row is its units of all stripes in order. For full raw segments
 * unit r is exactly segment r, so one segment can be read from one seat; a short last stripe
 * costs bytes, not segments.
 */
#ifndef C2_DEPSKY_LAYOUT_H
#define C2_DEPSKY_LAYOUT_H

#include "base/base.h"
#include "depsky/depsky.h"

#define DS_TAG_LEN      16u
#define DS_SEGMENTS_MAX (DS_OBJECT_SIZE_MAX / DS_SEGMENT_SIZE)
#define DS_LEAF_SHIFT   15
#define DS_LEAF_SIZE    (1u << DS_LEAF_SHIFT)

struct ds_layout {
    unsigned k;
    uint64_t plain_len;
    uint32_t nseg;
    uint32_t nstripe;
    uint32_t *stored;     /* owned; stored length of each segment; NULL = all raw */
    uint32_t *stripe_off; /* owned; row offset of each stripe, nstripe + 1 entries */
    uint64_t cipher_len;  /* sum of the sealed segments */
    uint32_t row_len;
    uint32_t nleaf;
};

/* Bytes [lo, hi) of a row; empty when lo == hi. */
struct ds_span {
    uint32_t lo, hi;
};

/*
 * 1 <= plain_len <= DS_OBJECT_SIZE_MAX; stored (copied) may be NULL. C2_E_PARSE when an entry of
 * `stored` is 0 or more than the plain length of its segment.
 */
C2_RESULT ds_layout_init(struct ds_layout *l, unsigned k, uint64_t plain_len,
                         const uint32_t *stored);
void ds_layout_done(struct ds_layout *l);

uint32_t ds_layout_plain(const struct ds_layout *l, uint32_t seg);
uint32_t ds_layout_stored(const struct ds_layout *l, uint32_t seg); /* without the tag */
uint32_t ds_layout_unit(const struct ds_layout *l, uint32_t stripe);
/* Offset of a sealed segment in its stripe. */
uint32_t ds_layout_pos(const struct ds_layout *l, uint32_t seg);
/* What segments [first, last] occupy of data row `row`. */
struct ds_span ds_layout_need(const struct ds_layout *l, uint32_t first, uint32_t last,
                              unsigned row);
/* Widened to whole leaves. */
struct ds_span ds_layout_to_leaves(const struct ds_layout *l, struct ds_span s);

#endif
