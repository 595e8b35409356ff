/* SPDX-License-Identifier: MIT */
/*
 * Bytes of a share as a hostile seat may send them. They are verified as they are, and once more
 * after the hashes were put right, because no fuzzer gets past SHA-256 and the checks behind it
 * must hold as well. An input that does not begin with 'C' is a compressed segment instead, given
 * to both engines.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "depsky/compress.h"
#include "depsky/share.h"

#define AT_ROW_ROOTS   192
#define AT_OBJECT_ROOT 448

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Everything a reader does with a layout stays inside the row. */
static void
walk(const struct ds_layout *l)
{
    for (uint32_t s = 0; s < l->nseg; s++) {
        uint32_t total = 0;
        for (unsigned r = 0; r < l->k; r++) {
            struct ds_span need = ds_layout_need(l, s, s, r);
            struct ds_span wide = ds_layout_to_leaves(l, need);
            C2_ASSERT(need.lo <= need.hi && need.hi <= l->row_len);
            C2_ASSERT(wide.hi <= l->row_len && wide.hi <= l->nleaf * DS_LEAF_SIZE);
            total += need.hi - need.lo;
        }
        C2_ASSERT(total == ds_layout_stored(l, s) + DS_TAG_LEN);
    }
}

static void
verify(struct c2_slice in)
{
    struct ds_share sh;
    struct ds_layout layout;
    const uint8_t *leaves;
    if (ds_share_verify(in, NULL, &sh, &layout, &leaves) != C2_E_OK)
        return;
    C2_ASSERT(leaves + (size_t)sh.nleaf * 32 <= in.data + in.len);
    C2_ASSERT(sh.hdr_len <= ds_share_tables_max(sh.k, sh.plain_len));
    C2_ASSERT(sh.row_len <= ds_share_len_max(sh.k, sh.plain_len));
    walk(&layout);
    size_t body = C2_MIN(in.len - sh.hdr_len, sh.row_len);
    if (ds_leaves_verify(c2_slice(in.data + sh.hdr_len, body), leaves, 0) == C2_E_OK)
        C2_ASSERT(body <= sh.row_len);
    ds_layout_done(&layout);
}

static void
verify_with_good_hashes(const uint8_t *data, size_t size)
{
    struct ds_share sh;
    if (ds_share_decode(c2_slice(data, size), &sh) != C2_E_OK || size < sh.hdr_len)
        return;
    C2_AUTO(c2_free_auto) uint8_t *copy = c2_alloc(size);
    memcpy(copy, data, size);
    uint32_t lengths_at = DS_SHARE_HEADER_LEN + sh.nleaf * 32;
    ds_row_root(&sh, copy + DS_SHARE_HEADER_LEN, sh.row_root[sh.seat]);
    memcpy(copy + AT_ROW_ROOTS + sh.seat * 32u, sh.row_root[sh.seat], 32);
    ds_object_root(&sh, c2_slice(copy + lengths_at, sh.hdr_len - lengths_at),
                   copy + AT_OBJECT_ROOT);
    verify(c2_slice(copy, size));
}

static void
inflate_both(const uint8_t *data, size_t size)
{
    if (size < 2)
        return;
    size_t out_len = C2_MIN((size_t)data[0] * 257 + data[1] + 1, (size_t)DS_SEGMENT_SIZE);
    struct c2_slice in = c2_slice(data + 2, size - 2);
    uint8_t *a = c2_calloc(out_len, 1);
    uint8_t *b = c2_calloc(out_len, 1);
    struct ds_inflate *isal = ds_inflate_new(DS_COMPRESS_ISAL);
    struct ds_inflate *zlib = ds_inflate_new(DS_COMPRESS_ZLIB);
    enum c2_err by_isal = ds_inflate_run(isal, in, a, out_len);
    enum c2_err by_zlib = ds_inflate_run(zlib, in, b, out_len);
    if (by_isal == C2_E_OK && by_zlib == C2_E_OK)
        C2_ASSERT(memcmp(a, b, out_len) == 0);
    ds_inflate_free(isal);
    ds_inflate_free(zlib);
    c2_free(a);
    c2_free(b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] != 'C') {
        inflate_both(data, size);
        return 0;
    }
    verify(c2_slice(data, size));
    verify_with_good_hashes(data, size);
    return 0;
}
