/* SPDX-License-Identifier: MIT */
#include "depsky/reshare.h"

#include <string.h>

#include "base/alloc.h"

static void
rebuild_body(const struct ds_reshare *r, const struct ds_share *sh, uint8_t *out)
{
    struct ds_erasure_rows rows = { { 0 }, { NULL } };
    for (unsigned i = 0; i < sh->k; i++) {
        rows.index[i] = r->have[i]->seat;
        rows.data[i] = r->blob[i]->data + sh->hdr_len;
    }
    ds_erasure_rebuild(r->engine, sh->k, &rows, r->seat, out, sh->row_len);
}

static void
rebuild_key_share(const struct ds_reshare *r, struct ds_share *sh)
{
    uint8_t x[DS_K_MAX] = { 0 };
    uint8_t y[DS_K_MAX * DS_SECRET_LEN];
    for (unsigned i = 0; i < sh->k; i++) {
        x[i] = r->have[i]->x;
        memcpy(y + i * DS_SECRET_LEN, r->have[i]->y, DS_SECRET_LEN);
    }
    sh->seat = r->seat;
    sh->x = (uint8_t)(r->seat + 1);
    ds_shamir_combine(x, y, sh->k, sh->x, sh->y);
    c2_wipe(y, sizeof(y));
}

void
ds_codec_reshare(struct ds_reshare *r)
{
    struct ds_share sh = *r->have[0]; /* what all seats have in common */
    C2_ASSERT(r->seat < sh.n);
    struct c2_blob *out = c2_blob_new((size_t)sh.hdr_len + sh.row_len);
    uint8_t *leaves = out->data + DS_SHARE_HEADER_LEN;
    uint8_t *body = out->data + sh.hdr_len;
    uint32_t lengths_at = DS_SHARE_HEADER_LEN + sh.nleaf * C2_SHA256_LEN;
    rebuild_body(r, &sh, body);
    ds_leaves_hash(c2_slice(body, sh.row_len), leaves);
    memcpy(out->data + lengths_at, r->blob[0]->data + lengths_at, sh.hdr_len - lengths_at);
    rebuild_key_share(r, &sh);
    ds_share_encode(&sh, out->data);
    uint8_t root[C2_SHA256_LEN];
    ds_row_root(&sh, leaves, root);
    r->err = memcmp(root, sh.row_root[r->seat], sizeof(root)) == 0 ? C2_E_OK : C2_E_CORRUPT;
    if (r->err != C2_E_OK) {
        c2_blob_unref(out);
        out = NULL;
    }
    r->out = out;
}
