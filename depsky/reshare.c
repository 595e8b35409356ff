/* SPDX-License-Identifier: MIT */
/*
 * The new body takes the place of the first of the k others, piece by piece through a small buffer
 * that stays in the CPU's cache while it is hashed: another 4 MiB of fresh memory would cost as
 * much as the hashing. Any k rows give every other one, so when the result turns out to be wrong,
 * what was there is computed back from it: whoever lied can still be found.
 */
#include "depsky/reshare.h"

#include <string.h>

#include "base/alloc.h"

#define PIECE (4 * (size_t)DS_LEAF_SIZE)

/* Replaces the body of blob[0], which is row `from`, by row `to`; hashes it into leaves if any. */
static void
replace_body(const struct ds_reshare *r, uint8_t from, uint8_t to, uint8_t *leaves)
{
    const struct ds_share *sh = r->have[0];
    uint8_t *body = r->blob[0]->data + sh->hdr_len;
    uint8_t *piece = c2_alloc_aligned(PIECE);
    for (size_t pos = 0; pos < sh->row_len; pos += PIECE) {
        size_t len = C2_MIN(PIECE, sh->row_len - pos);
        struct ds_erasure_rows rows = { { from }, { body + pos } };
        for (unsigned i = 1; i < sh->k; i++) {
            rows.index[i] = r->have[i]->seat;
            rows.data[i] = r->blob[i]->data + sh->hdr_len + pos;
        }
        ds_erasure_rebuild(r->engine, sh->k, &rows, to, piece, len);
        if (leaves != NULL)
            ds_leaves_hash(c2_slice(piece, len), leaves + pos / DS_LEAF_SIZE * C2_SHA256_LEN);
        memcpy(body + pos, piece, len);
    }
    c2_free(piece);
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
    struct c2_blob *out = r->blob[0];
    C2_ASSERT(r->seat < sh.n);
    C2_ASSERT(out->len == (size_t)sh.hdr_len + sh.row_len);
    size_t leaves_len = (size_t)sh.nleaf * C2_SHA256_LEN;
    uint8_t *leaves = c2_alloc(leaves_len);
    uint8_t root[C2_SHA256_LEN];
    uint8_t from = sh.seat;
    replace_body(r, from, r->seat, leaves);
    rebuild_key_share(r, &sh);
    ds_row_root(&sh, leaves, root);
    r->out = NULL;
    r->err = memcmp(root, sh.row_root[r->seat], sizeof(root)) == 0 ? C2_E_OK : C2_E_CORRUPT;
    if (r->err == C2_E_OK) {
        ds_share_encode(&sh, out->data); /* the lengths in the tables are the same for all */
        memcpy(out->data + DS_SHARE_HEADER_LEN, leaves, leaves_len);
        r->out = c2_blob_ref(out);
    } else {
        replace_body(r, r->seat, from, NULL);
    }
    c2_free(leaves);
}
