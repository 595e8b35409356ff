/* SPDX-License-Identifier: MIT */
/*
 * Opening. Missing data rows are rebuilt over exactly the bytes the range needs; then each
 * segment is decrypted from where it lies (or gathered when it crosses rows) and lands in the
 * result directly when it is wanted whole.
 */
#include <string.h>

#include "base/alloc.h"
#include "depsky/codec.h"
#include "depsky/codec_segment.h"
#include "depsky/compress.h"
#include "depsky/erasure.h"

#define SEALED_MAX (DS_SEGMENT_SIZE + DS_TAG_LEN)

struct opener {
    struct ds_unseal *u;
    struct ds_row_bytes row[DS_K_MAX]; /* the data rows, all of them usable where needed */
    uint8_t *rebuilt[DS_K_MAX];        /* owned */
    uint8_t *gathered;                 /* owned; one sealed segment */
    uint8_t *stored;                   /* owned; one opened segment */
    uint8_t *plain;                    /* owned; one segment of which a part is wanted */
    struct ds_inflate *inflate;        /* owned */
};

static bool
covers(const struct ds_row_bytes *row, struct ds_span need)
{
    return row->data != NULL && row->span.lo <= need.lo && row->span.hi >= need.hi;
}

static void
rebuild_row(struct opener *o, unsigned want, struct ds_span need)
{
    const struct ds_unseal *u = o->u;
    unsigned k = u->layout->k;
    struct ds_erasure_rows have = { { 0 }, { NULL } };
    unsigned count = 0;
    for (unsigned r = 0; r < u->n && count < k; r++) {
        if (!covers(&u->row[r], need))
            continue;
        have.index[count] = r;
        have.data[count++] = u->row[r].data + (need.lo - u->row[r].span.lo);
    }
    C2_ASSERT(count == k);
    size_t len = need.hi - need.lo;
    o->rebuilt[want] = c2_alloc_aligned(len);
    ds_erasure_rebuild(u->engine, k, &have, want, o->rebuilt[want], len);
    o->row[want] = (struct ds_row_bytes){ .data = o->rebuilt[want], .span = need };
}

/* The sealed bytes of a segment: in place when one row holds all of them. */
static const uint8_t *
locate(struct opener *o, uint32_t seg)
{
    const struct ds_layout *l = o->u->layout;
    size_t done = 0;
    for (unsigned r = 0; r < l->k; r++) {
        struct ds_span need = ds_layout_need(l, seg, seg, r);
        if (need.lo == need.hi)
            continue;
        C2_ASSERT(covers(&o->row[r], need));
        const uint8_t *at = o->row[r].data + (need.lo - o->row[r].span.lo);
        if (need.hi - need.lo == ds_layout_stored(l, seg) + DS_TAG_LEN)
            return at;
        memcpy(o->gathered + done, at, need.hi - need.lo);
        done += need.hi - need.lo;
    }
    C2_ASSERT(done == ds_layout_stored(l, seg) + DS_TAG_LEN);
    return o->gathered;
}

/* Writes the whole plaintext of a segment to out. */
static enum c2_err
open_segment(struct opener *o, uint32_t seg, uint8_t *out)
{
    const struct ds_unseal *u = o->u;
    uint32_t plain = ds_layout_plain(u->layout, seg);
    uint32_t stored = ds_layout_stored(u->layout, seg);
    bool raw = stored == plain;
    uint8_t nonce[C2_GCM_NONCE_LEN];
    uint8_t aad[DS_AAD_LEN];
    ds_segment_nonce(seg, seg + 1 == u->layout->nseg, nonce);
    ds_segment_aad(&u->oid, seg, plain, aad);
    struct c2_slice sealed = c2_slice(locate(o, seg), (size_t)stored + DS_TAG_LEN);
    C2_TRY(c2_gcm_open(u->key, nonce, c2_slice(aad, sizeof(aad)), sealed, raw ? out : o->stored));
    if (raw)
        return C2_E_OK;
    if (o->inflate == NULL)
        o->inflate = ds_inflate_new(u->compress);
    return ds_inflate_run(o->inflate, c2_slice(o->stored, stored), out, plain);
}

static enum c2_err
open_range(struct opener *o)
{
    struct ds_unseal *u = o->u;
    uint64_t end = u->offset + u->len;
    uint32_t first = (uint32_t)(u->offset / DS_SEGMENT_SIZE);
    uint32_t last = (uint32_t)((end - 1) / DS_SEGMENT_SIZE);
    for (uint32_t seg = first; seg <= last; seg++) {
        uint64_t start = (uint64_t)seg * DS_SEGMENT_SIZE;
        uint32_t plain = ds_layout_plain(u->layout, seg);
        uint64_t from = C2_MAX(start, u->offset);
        uint64_t to = C2_MIN(start + plain, end);
        uint8_t *at = u->out->data + (from - u->offset);
        bool whole = to - from == plain;
        C2_TRY(open_segment(o, seg, whole ? at : o->plain));
        if (!whole)
            memcpy(at, o->plain + (from - start), to - from);
    }
    return C2_E_OK;
}

void
ds_codec_unseal(struct ds_unseal *u)
{
    const struct ds_layout *l = u->layout;
    C2_ASSERT(u->len > 0 && u->offset < l->plain_len && u->len <= l->plain_len - u->offset);
    struct opener o = { .u = u };
    uint32_t first = (uint32_t)(u->offset / DS_SEGMENT_SIZE);
    uint32_t last = (uint32_t)((u->offset + u->len - 1) / DS_SEGMENT_SIZE);
    for (unsigned r = 0; r < l->k; r++) {
        struct ds_span need = ds_layout_need(l, first, last, r);
        o.row[r] = u->row[r];
        if (need.lo != need.hi && !covers(&o.row[r], need))
            rebuild_row(&o, r, need);
    }
    o.gathered = c2_alloc_aligned(SEALED_MAX);
    o.stored = c2_alloc_aligned(DS_SEGMENT_SIZE);
    o.plain = c2_alloc_aligned(DS_SEGMENT_SIZE);
    u->out = c2_blob_new(u->len);
    u->err = open_range(&o);
    if (u->err != C2_E_OK) {
        c2_blob_unref(u->out);
        u->out = NULL;
    }
    for (unsigned r = 0; r < l->k; r++)
        c2_free(o.rebuilt[r]);
    c2_free(o.gathered);
    c2_free(o.stored);
    c2_free(o.plain);
    ds_inflate_free(o.inflate);
}
