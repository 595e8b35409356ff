/* SPDX-License-Identifier: MIT */
#include "depsky/layout.h"

#include <string.h>

#include "base/alloc.h"

static uint32_t
div_up(uint64_t a, uint64_t b)
{
    return (uint32_t)((a + b - 1) / b);
}

uint32_t
ds_layout_plain(const struct ds_layout *l, uint32_t seg)
{
    C2_ASSERT(seg < l->nseg);
    uint64_t start = (uint64_t)seg * DS_SEGMENT_SIZE;
    return (uint32_t)C2_MIN((uint64_t)DS_SEGMENT_SIZE, l->plain_len - start);
}

uint32_t
ds_layout_stored(const struct ds_layout *l, uint32_t seg)
{
    return l->stored != NULL ? l->stored[seg] : ds_layout_plain(l, seg);
}

static void
place_stripes(struct ds_layout *l)
{
    uint32_t row = 0;
    for (uint32_t j = 0; j < l->nstripe; j++) {
        uint64_t total = 0;
        uint32_t end = C2_MIN(l->nseg, (j + 1) * l->k);
        for (uint32_t s = j * l->k; s < end; s++)
            total += ds_layout_stored(l, s) + DS_TAG_LEN;
        l->stripe_off[j] = row;
        l->cipher_len += total;
        row += div_up(total, l->k);
    }
    l->stripe_off[l->nstripe] = row;
    l->row_len = row;
    l->nleaf = div_up(row, DS_LEAF_SIZE);
}

C2_RESULT
ds_layout_init(struct ds_layout *l, unsigned k, uint64_t plain_len, const uint32_t *stored)
{
    C2_ASSERT(k >= 1 && k <= DS_F_MAX + 1);
    C2_ASSERT(plain_len >= 1 && plain_len <= DS_OBJECT_SIZE_MAX);
    struct ds_layout v = { .k = k, .plain_len = plain_len };
    v.nseg = div_up(plain_len, DS_SEGMENT_SIZE);
    v.nstripe = div_up(v.nseg, k);
    for (uint32_t s = 0; stored != NULL && s < v.nseg; s++) {
        if (stored[s] == 0 || stored[s] > ds_layout_plain(&v, s))
            return C2_E_PARSE;
    }
    if (stored != NULL) {
        v.stored = c2_calloc(v.nseg, sizeof(uint32_t));
        memcpy(v.stored, stored, v.nseg * sizeof(uint32_t));
    }
    v.stripe_off = c2_calloc(v.nstripe + 1u, sizeof(uint32_t));
    place_stripes(&v);
    *l = v;
    return C2_E_OK;
}

void
ds_layout_done(struct ds_layout *l)
{
    c2_free(l->stored);
    c2_free(l->stripe_off);
    *l = (struct ds_layout){ 0 };
}

uint32_t
ds_layout_unit(const struct ds_layout *l, uint32_t stripe)
{
    C2_ASSERT(stripe < l->nstripe);
    return l->stripe_off[stripe + 1] - l->stripe_off[stripe];
}

uint32_t
ds_layout_pos(const struct ds_layout *l, uint32_t seg)
{
    uint32_t pos = 0;
    for (uint32_t s = seg - seg % l->k; s < seg; s++)
        pos += ds_layout_stored(l, s) + DS_TAG_LEN;
    return pos;
}

static struct ds_span
need_of_segment(const struct ds_layout *l, uint32_t seg, unsigned row)
{
    uint32_t stripe = seg / l->k;
    uint32_t unit = ds_layout_unit(l, stripe);
    uint32_t pos = ds_layout_pos(l, seg);
    uint32_t lo = C2_MAX(pos, row * unit);
    uint32_t hi = C2_MIN(pos + ds_layout_stored(l, seg) + DS_TAG_LEN, (row + 1) * unit);
    if (lo >= hi)
        return (struct ds_span){ 0, 0 };
    uint32_t base = l->stripe_off[stripe];
    return (struct ds_span){ base + lo - row * unit, base + hi - row * unit };
}

struct ds_span
ds_layout_need(const struct ds_layout *l, uint32_t first, uint32_t last, unsigned row)
{
    C2_ASSERT(first <= last && last < l->nseg);
    C2_ASSERT(row < l->k);
    struct ds_span all = { 0, 0 };
    for (uint32_t s = first; s <= last; s++) {
        struct ds_span one = need_of_segment(l, s, row);
        if (one.lo == one.hi)
            continue;
        if (all.lo == all.hi)
            all.lo = one.lo;
        all.hi = one.hi;
    }
    return all;
}

struct ds_span
ds_layout_to_leaves(const struct ds_layout *l, struct ds_span s)
{
    if (s.lo == s.hi)
        return s;
    s.lo -= s.lo % DS_LEAF_SIZE;
    s.hi = C2_MIN(l->row_len, div_up(s.hi, DS_LEAF_SIZE) * DS_LEAF_SIZE);
    return s;
}
