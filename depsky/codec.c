/* SPDX-License-Identifier: MIT */
/*
 * Sealing. Two passes: the first compresses (raw segments are not copied), because the lengths of
 * all segments decide where the rows begin; the second seals each segment straight into its place
 * and computes parity while the stripe is hot in the cache.
 */
#include "depsky/codec.h"

#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "depsky/codec_segment.h"
#include "depsky/compress.h"
#include "depsky/erasure.h"

#define SEALED_MAX (DS_SEGMENT_SIZE + DS_TAG_LEN)

/* Reads the plaintext pieces in order. */
struct cursor {
    const struct c2_slice *data; /* borrowed */
    size_t piece, pos;
};

struct sealer {
    struct ds_seal *s;
    struct ds_layout layout;  /* owned */
    struct c2_slice *segment; /* owned; stored bytes of each segment, when contiguous */
    struct c2_buf packed;     /* owned; compressed segments */
    uint32_t *stored;         /* owned */
    uint8_t *scratch;         /* owned; one gathered segment */
    uint8_t *stripe;          /* owned; one stripe that does not fall on the rows */
    uint8_t key[C2_KEY_LEN];  /* wiped */
    struct ds_share share;
    uint8_t *body[DS_SEATS_MAX]; /* into s->share[i] */
};

void
ds_segment_nonce(uint32_t seg, bool last, uint8_t nonce[C2_GCM_NONCE_LEN])
{
    memset(nonce, 0, C2_GCM_NONCE_LEN);
    c2_put_u32(nonce + 7, seg);
    nonce[11] = last ? 1 : 0;
}

void
ds_segment_aad(const struct ds_oid *oid, uint32_t seg, uint32_t plain, uint8_t aad[DS_AAD_LEN])
{
    ds_oid_encode(oid, aad);
    c2_put_u32(aad + DS_OID_LEN, seg);
    c2_put_u32(aad + DS_OID_LEN + 4, plain);
}

void
ds_codec_key(const struct ds_oid *oid, const uint8_t secret[DS_SECRET_LEN], const uint8_t *data_key,
             uint8_t key[C2_KEY_LEN], uint8_t commit[C2_SHA256_LEN])
{
    uint8_t ikm[DS_SECRET_LEN + C2_KEY_LEN];
    uint8_t salt[DS_OID_LEN];
    size_t ikm_len = DS_SECRET_LEN;
    ds_oid_encode(oid, salt);
    memcpy(ikm, secret, DS_SECRET_LEN);
    if (data_key != NULL) {
        memcpy(ikm + DS_SECRET_LEN, data_key, C2_KEY_LEN);
        ikm_len += C2_KEY_LEN;
    }
    c2_hkdf(c2_slice(ikm, ikm_len), c2_slice(salt, sizeof(salt)),
            c2_slice_str("c2fs object key v1"), key, C2_KEY_LEN);
    c2_hkdf(c2_slice(key, C2_KEY_LEN), c2_slice(salt, sizeof(salt)),
            c2_slice_str("c2fs key commit v1"), commit, C2_SHA256_LEN);
    c2_wipe(ikm, sizeof(ikm));
}

/*
 * The next len bytes: in place when one piece holds them, else gathered into scratch (NULL: only
 * passed over).
 */
static const uint8_t *
take(struct cursor *c, uint8_t *scratch, size_t len)
{
    while (c->data[c->piece].len == c->pos) {
        c->piece++;
        c->pos = 0;
    }
    const struct c2_slice *first = &c->data[c->piece];
    if (first->len - c->pos >= len) {
        const uint8_t *at = first->data + c->pos;
        c->pos += len;
        return at;
    }
    for (size_t done = 0; done < len;) {
        const struct c2_slice *piece = &c->data[c->piece];
        size_t part = C2_MIN(len - done, piece->len - c->pos);
        if (scratch != NULL)
            memcpy(scratch + done, piece->data + c->pos, part);
        done += part;
        c->pos += part;
        if (c->pos == piece->len && done < len) {
            c->piece++;
            c->pos = 0;
        }
    }
    return scratch;
}

static uint32_t
plain_of(const struct ds_seal *s, uint32_t seg)
{
    uint64_t start = (uint64_t)seg * DS_SEGMENT_SIZE;
    return (uint32_t)C2_MIN((uint64_t)DS_SEGMENT_SIZE, s->plain_len - start);
}

static struct ds_cuts
cuts_of(const struct ds_seal *s, uint32_t seg, size_t *cut_index)
{
    struct ds_cuts cuts = { .base = seg * DS_SEGMENT_SIZE };
    size_t i = *cut_index;
    while (i < s->ncuts && s->cuts[i] <= cuts.base)
        i++;
    size_t first = i;
    while (i < s->ncuts && s->cuts[i] < cuts.base + plain_of(s, seg))
        i++;
    cuts.count = i - first;
    cuts.at = cuts.count > 0 ? s->cuts + first : NULL;
    *cut_index = i;
    return cuts;
}

/* First pass: which segments shrink. Offsets into `packed` become pointers when it stands still. */
static void
compress_all(struct sealer *z, uint32_t nseg)
{
    struct ds_seal *s = z->s;
    struct cursor cursor = { .data = s->data };
    struct ds_deflate *deflate = ds_deflate_new(s->config->compress);
    size_t cut = 0;
    for (uint32_t seg = 0; seg < nseg; seg++) {
        uint32_t plain = plain_of(s, seg);
        const uint8_t *in = take(&cursor, z->scratch, plain);
        struct ds_cuts cuts = cuts_of(s, seg, &cut);
        size_t start = z->packed.len;
        uint8_t *out = c2_buf_extend(&z->packed, plain);
        size_t len = ds_deflate_run(deflate, c2_slice(in, plain), &cuts, out, plain - 1);
        z->packed.len = start + len;
        z->stored[seg] = len > 0 ? (uint32_t)len : plain;
        s->compressed = s->compressed || len > 0;
    }
    ds_deflate_free(deflate);
    size_t pos = 0;
    for (uint32_t seg = 0; seg < nseg; seg++) {
        if (z->stored[seg] == plain_of(s, seg))
            continue;
        z->segment[seg] = c2_slice(z->packed.data + pos, z->stored[seg]);
        pos += z->stored[seg];
    }
}

static void
seal_segment(struct sealer *z, struct cursor *cursor, uint32_t seg, uint8_t *out)
{
    uint32_t plain = ds_layout_plain(&z->layout, seg);
    struct c2_slice in = z->segment[seg];
    bool packed = in.data != NULL;
    const uint8_t *raw = take(cursor, packed ? NULL : z->scratch, plain);
    if (!packed)
        in = c2_slice(raw, plain);
    uint8_t nonce[C2_GCM_NONCE_LEN];
    uint8_t aad[DS_AAD_LEN];
    ds_segment_nonce(seg, seg + 1 == z->layout.nseg, nonce);
    ds_segment_aad(&z->s->oid, seg, plain, aad);
    c2_gcm_seal(z->key, nonce, c2_slice(aad, sizeof(aad)), in, out);
}

/* True when every sealed segment of the stripe is exactly one unit. */
static bool
stripe_falls_on_rows(const struct ds_layout *l, uint32_t stripe)
{
    uint32_t first = stripe * l->k;
    if (first + l->k > l->nseg)
        return false;
    for (uint32_t s = first; s < first + l->k; s++) {
        if (ds_layout_stored(l, s) + DS_TAG_LEN != ds_layout_unit(l, stripe))
            return false;
    }
    return true;
}

static void
seal_stripe(struct sealer *z, struct cursor *cursor, uint32_t stripe)
{
    const struct ds_layout *l = &z->layout;
    uint32_t unit = ds_layout_unit(l, stripe);
    uint32_t at = l->stripe_off[stripe];
    uint32_t end = C2_MIN(l->nseg, (stripe + 1) * l->k);
    bool direct = stripe_falls_on_rows(l, stripe);
    size_t pos = 0;
    for (uint32_t seg = stripe * l->k; seg < end; seg++) {
        uint8_t *out = direct ? z->body[seg - stripe * l->k] + at : z->stripe + pos;
        seal_segment(z, cursor, seg, out);
        pos += ds_layout_stored(l, seg) + DS_TAG_LEN;
    }
    if (!direct) {
        memset(z->stripe + pos, 0, (size_t)unit * l->k - pos);
        for (unsigned r = 0; r < l->k; r++)
            memcpy(z->body[r] + at, z->stripe + (size_t)r * unit, unit);
    }
    const uint8_t *rows[DS_K_MAX] = { NULL };
    uint8_t *parity[DS_SEATS_MAX] = { NULL };
    for (unsigned r = 0; r < l->k; r++)
        rows[r] = z->body[r] + at;
    for (unsigned r = l->k; r < z->share.n; r++)
        parity[r - l->k] = z->body[r] + at;
    ds_erasure_encode(z->s->config->engine, l->k, z->share.n, rows, parity, unit);
}

static void
fill_header(struct sealer *z)
{
    struct ds_seal *s = z->s;
    struct ds_share *sh = &z->share;
    sh->flags = (uint16_t)((s->compressed ? DS_SHARE_COMPRESSED : 0) |
                           (s->config->keyless ? DS_SHARE_KEYLESS : 0));
    memcpy(sh->volume, s->config->volume, sizeof(sh->volume));
    sh->oid = s->oid;
    sh->n = (uint8_t)s->config->n;
    sh->k = (uint8_t)z->layout.k;
    sh->plain_len = s->plain_len;
    sh->cipher_len = z->layout.cipher_len;
    sh->nseg = z->layout.nseg;
    sh->row_len = z->layout.row_len;
    sh->nleaf = z->layout.nleaf;
    sh->hdr_len = DS_SHARE_HEADER_LEN + sh->nleaf * C2_SHA256_LEN;
    if (s->compressed)
        sh->hdr_len += sh->nseg * 4u;
    sh->key_epoch = s->config->key_epoch;
    sh->domain_id = s->config->domain_id;
    sh->config_epoch = s->config->config_epoch;
    s->hdr_len = sh->hdr_len;
    for (unsigned i = 0; i < sh->n; i++) {
        s->share[i] = c2_blob_new((size_t)sh->hdr_len + sh->row_len);
        z->body[i] = s->share[i]->data + sh->hdr_len;
    }
}

/* Leaves, row roots, object root, then the headers that carry them. */
static void
finish_shares(struct sealer *z)
{
    struct ds_seal *s = z->s;
    struct ds_share *sh = &z->share;
    uint32_t lengths_at = DS_SHARE_HEADER_LEN + sh->nleaf * C2_SHA256_LEN;
    for (unsigned i = 0; i < sh->n; i++) {
        uint8_t *data = s->share[i]->data;
        ds_leaves_hash(c2_slice(z->body[i], sh->row_len), data + DS_SHARE_HEADER_LEN);
        for (uint32_t seg = 0; s->compressed && seg < sh->nseg; seg++)
            c2_put_u32(data + lengths_at + seg * 4u, z->stored[seg]);
        sh->seat = (uint8_t)i;
        sh->x = (uint8_t)(i + 1);
        ds_shamir_share(s->secret, s->coef, sh->k, sh->x, sh->y);
        ds_row_root(sh, data + DS_SHARE_HEADER_LEN, sh->row_root[i]);
    }
    struct c2_slice lengths =
        c2_slice(s->share[0]->data + lengths_at, (size_t)sh->hdr_len - lengths_at);
    ds_object_root(sh, lengths, sh->object_root);
    for (unsigned i = 0; i < sh->n; i++) {
        sh->seat = (uint8_t)i;
        sh->x = (uint8_t)(i + 1);
        ds_shamir_share(s->secret, s->coef, sh->k, sh->x, sh->y);
        ds_share_encode(sh, s->share[i]->data);
    }
    s->ref = (struct ds_ref){
        .oid = s->oid,
        .plain_len = s->plain_len,
        .key_epoch = sh->key_epoch,
        .domain_id = sh->domain_id,
    };
    memcpy(s->ref.root, sh->object_root, DS_ROOT_LEN);
}

static void
done(struct sealer *z)
{
    ds_layout_done(&z->layout);
    c2_buf_done(&z->packed);
    c2_free(z->segment);
    c2_free(z->stored);
    c2_free(z->scratch);
    c2_free(z->stripe);
    c2_wipe(z->key, sizeof(z->key));
    c2_wipe(&z->share, sizeof(z->share));
    c2_wipe(z->s->secret, sizeof(z->s->secret));
    c2_wipe(z->s->coef, sizeof(z->s->coef));
}

void
ds_codec_seal(struct ds_seal *s)
{
    C2_ASSERT(s->plain_len >= 1 && s->plain_len <= DS_OBJECT_SIZE_MAX);
    const struct ds_config *config = s->config;
    unsigned k = config->f + 1;
    uint32_t nseg = (uint32_t)((s->plain_len + DS_SEGMENT_SIZE - 1) / DS_SEGMENT_SIZE);
    struct sealer z = { .s = s };
    z.segment = c2_calloc(nseg, sizeof(*z.segment));
    z.stored = c2_calloc(nseg, sizeof(*z.stored));
    z.scratch = c2_alloc_aligned(DS_SEGMENT_SIZE);
    z.stripe = c2_alloc_aligned((size_t)SEALED_MAX * k + DS_K_MAX);
    s->compressed = false;
    if (config->compress != DS_COMPRESS_NONE)
        compress_all(&z, nseg);
    enum c2_err err = ds_layout_init(&z.layout, k, s->plain_len, s->compressed ? z.stored : NULL);
    C2_ASSERT(err == C2_E_OK);
    ds_codec_key(&s->oid, s->secret, config->keyless ? NULL : config->data_key, z.key,
                 z.share.key_commit);
    fill_header(&z);
    struct cursor cursor = { .data = s->data };
    for (uint32_t stripe = 0; stripe < z.layout.nstripe; stripe++)
        seal_stripe(&z, &cursor, stripe);
    finish_shares(&z);
    done(&z);
}
