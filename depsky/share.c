/* SPDX-License-Identifier: MIT */
#include "depsky/share.h"

#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"

#define MAGIC         "C2FSOBJ1"
#define CODE_RS       1 /* RS over GF(2^8)/0x11d, rows of erasure.h */
#define AEAD_AES_GCM  1
#define HASH_SHA256   2
#define COMP_NONE     0
#define COMP_ZLIB     1
#define SEGMENT_SHIFT 16
#define FLAGS_KNOWN   (DS_SHARE_COMPRESSED | DS_SHARE_KEYLESS)
#define LEAF_BATCH    64

enum { /* offsets in the header */
       AT_MAGIC = 0,
       AT_VERSION = 8,
       AT_FLAGS = 10,
       AT_HDR_LEN = 12,
       AT_VOLUME = 16,
       AT_OID = 32,
       AT_N = 56,
       AT_K = 57,
       AT_SEAT = 58,
       AT_CODE = 59,
       AT_AEAD = 60,
       AT_HASH = 61,
       AT_SEGMENT_SHIFT = 62,
       AT_COMP = 63,
       AT_PLAIN_LEN = 64,
       AT_CIPHER_LEN = 72,
       AT_NSEG = 80,
       AT_ROW_LEN = 84,
       AT_RESERVED_1 = 88, /* 8 */
       AT_KEY_EPOCH = 96,
       AT_DOMAIN = 100,
       AT_CONFIG_EPOCH = 104,
       AT_LEAF_SHIFT = 108,
       AT_RESERVED_2 = 109, /* 3 */
       AT_SEAT_FIELDS = 112,
       AT_KEY_COMMIT = 112,
       AT_X = 144,
       AT_Y = 145,
       AT_RESERVED_3 = 177, /* 15 */
       AT_ROW_ROOTS = 192,
       AT_OBJECT_ROOT = 448,
       AT_RESERVED_4 = 480, /* 32 */
};

void
ds_oid_encode(const struct ds_oid *oid, uint8_t out[DS_OID_LEN])
{
    c2_put_be64(out, oid->sid);
    c2_put_be64(out + 8, oid->seq);
    memcpy(out + 16, oid->rnd, sizeof(oid->rnd));
}

struct ds_oid
ds_oid_decode(const uint8_t in[DS_OID_LEN])
{
    struct ds_oid oid = { .sid = c2_get_be64(in), .seq = c2_get_be64(in + 8) };
    memcpy(oid.rnd, in + 16, sizeof(oid.rnd));
    return oid;
}

bool
ds_oid_equal(const struct ds_oid *a, const struct ds_oid *b)
{
    return a->sid == b->sid && a->seq == b->seq && memcmp(a->rnd, b->rnd, sizeof(a->rnd)) == 0;
}

void
ds_ref_encode(const struct ds_ref *ref, struct c2_buf *out)
{
    uint8_t oid[DS_OID_LEN];
    ds_oid_encode(&ref->oid, oid);
    c2_wr_raw(out, oid, sizeof(oid));
    c2_wr_raw(out, ref->root, sizeof(ref->root));
    c2_wr_u64(out, ref->plain_len);
    c2_wr_u32(out, ref->key_epoch);
    c2_wr_u32(out, ref->domain_id);
}

struct ds_ref
ds_ref_decode(struct c2_rd *r)
{
    uint8_t oid[DS_OID_LEN];
    c2_rd_copy(r, oid, sizeof(oid));
    struct ds_ref ref = { .oid = ds_oid_decode(oid) };
    c2_rd_copy(r, ref.root, sizeof(ref.root));
    ref.plain_len = c2_rd_u64(r);
    ref.key_epoch = c2_rd_u32(r);
    ref.domain_id = c2_rd_u32(r);
    return ref;
}

/* Bytes [0, 112): what all seats have in common, but for the seat number. */
static void
encode_common(const struct ds_share *sh, uint8_t seat, uint8_t *out)
{
    memset(out, 0, AT_SEAT_FIELDS);
    memcpy(out + AT_MAGIC, MAGIC, 8);
    c2_put_u16(out + AT_VERSION, DS_SHARE_VERSION);
    c2_put_u16(out + AT_FLAGS, sh->flags);
    c2_put_u32(out + AT_HDR_LEN, sh->hdr_len);
    memcpy(out + AT_VOLUME, sh->volume, sizeof(sh->volume));
    ds_oid_encode(&sh->oid, out + AT_OID);
    out[AT_N] = sh->n;
    out[AT_K] = sh->k;
    out[AT_SEAT] = seat;
    out[AT_CODE] = CODE_RS;
    out[AT_AEAD] = AEAD_AES_GCM;
    out[AT_HASH] = HASH_SHA256;
    out[AT_SEGMENT_SHIFT] = SEGMENT_SHIFT;
    out[AT_COMP] = (sh->flags & DS_SHARE_COMPRESSED) != 0 ? COMP_ZLIB : COMP_NONE;
    c2_put_u64(out + AT_PLAIN_LEN, sh->plain_len);
    c2_put_u64(out + AT_CIPHER_LEN, sh->cipher_len);
    c2_put_u32(out + AT_NSEG, sh->nseg);
    c2_put_u32(out + AT_ROW_LEN, sh->row_len);
    c2_put_u32(out + AT_KEY_EPOCH, sh->key_epoch);
    c2_put_u32(out + AT_DOMAIN, sh->domain_id);
    c2_put_u32(out + AT_CONFIG_EPOCH, sh->config_epoch);
    out[AT_LEAF_SHIFT] = DS_LEAF_SHIFT;
}

void
ds_share_encode(const struct ds_share *sh, uint8_t out[DS_SHARE_HEADER_LEN])
{
    C2_ASSERT(sh->n <= DS_SEATS_MAX && sh->seat < sh->n);
    memset(out, 0, DS_SHARE_HEADER_LEN);
    encode_common(sh, sh->seat, out);
    memcpy(out + AT_KEY_COMMIT, sh->key_commit, sizeof(sh->key_commit));
    out[AT_X] = sh->x;
    memcpy(out + AT_Y, sh->y, sizeof(sh->y));
    memcpy(out + AT_ROW_ROOTS, sh->row_root, sizeof(sh->row_root));
    memcpy(out + AT_OBJECT_ROOT, sh->object_root, sizeof(sh->object_root));
}

void
ds_row_root(const struct ds_share *sh, const uint8_t *leaves, uint8_t out[C2_SHA256_LEN])
{
    uint8_t oid[DS_OID_LEN];
    uint8_t seat_x[2] = { sh->seat, sh->x };
    ds_oid_encode(&sh->oid, oid);
    const struct c2_slice parts[] = {
        c2_slice("c2row", 5),
        c2_slice(oid, sizeof(oid)),
        c2_slice(seat_x, sizeof(seat_x)),
        c2_slice(sh->y, sizeof(sh->y)),
        c2_slice(leaves, (size_t)sh->nleaf * C2_SHA256_LEN),
    };
    c2_sha256_v(parts, C2_ARRAY_LEN(parts), out);
}

void
ds_object_root(const struct ds_share *sh, struct c2_slice lengths, uint8_t out[DS_ROOT_LEN])
{
    uint8_t common[AT_SEAT_FIELDS];
    encode_common(sh, 0, common);
    const struct c2_slice parts[] = {
        c2_slice("c2obj", 5),
        c2_slice(common, sizeof(common)),
        c2_slice(sh->key_commit, sizeof(sh->key_commit)),
        c2_slice(sh->row_root, (size_t)sh->n * C2_SHA256_LEN),
        lengths,
    };
    c2_sha256_v(parts, C2_ARRAY_LEN(parts), out);
}

/* Everything that is constant in version 1, reserved bytes included. */
static bool
constants_ok(const uint8_t *h)
{
    static const uint8_t zeros[DS_SEATS_MAX * C2_SHA256_LEN];
    unsigned comp = (c2_get_u16(h + AT_FLAGS) & DS_SHARE_COMPRESSED) != 0 ? COMP_ZLIB : COMP_NONE;
    if (h[AT_CODE] != CODE_RS || h[AT_AEAD] != AEAD_AES_GCM || h[AT_HASH] != HASH_SHA256)
        return false;
    if (h[AT_SEGMENT_SHIFT] != SEGMENT_SHIFT || h[AT_LEAF_SHIFT] != DS_LEAF_SHIFT)
        return false;
    if (h[AT_COMP] != comp || (c2_get_u16(h + AT_FLAGS) & ~FLAGS_KNOWN) != 0)
        return false;
    unsigned n = h[AT_N];
    if (n < 2 || n > DS_SEATS_MAX)
        return false;
    return memcmp(h + AT_RESERVED_1, zeros, 8) == 0 && memcmp(h + AT_RESERVED_2, zeros, 3) == 0 &&
           memcmp(h + AT_RESERVED_3, zeros, 15) == 0 && memcmp(h + AT_RESERVED_4, zeros, 32) == 0 &&
           memcmp(h + AT_ROW_ROOTS + n * C2_SHA256_LEN, zeros,
                  (DS_SEATS_MAX - n) * C2_SHA256_LEN) == 0;
}

static uint32_t
tables_len(const struct ds_share *sh)
{
    uint32_t lengths = (sh->flags & DS_SHARE_COMPRESSED) != 0 ? sh->nseg * 4u : 0u;
    return DS_SHARE_HEADER_LEN + sh->nleaf * C2_SHA256_LEN + lengths;
}

static bool
lengths_ok(struct ds_share *sh)
{
    if (sh->k < 1 || sh->k > DS_F_MAX + 1 || sh->n <= sh->k || sh->seat >= sh->n)
        return false;
    if (sh->x != sh->seat + 1)
        return false;
    if (sh->plain_len < 1 || sh->plain_len > DS_OBJECT_SIZE_MAX)
        return false;
    if (sh->nseg != (sh->plain_len + DS_SEGMENT_SIZE - 1) / DS_SEGMENT_SIZE)
        return false;
    if (sh->row_len < 1 || sh->row_len > ds_share_len_max(sh->k, sh->plain_len))
        return false;
    sh->nleaf = (sh->row_len + DS_LEAF_SIZE - 1) / DS_LEAF_SIZE;
    return sh->hdr_len == tables_len(sh);
}

C2_RESULT
ds_share_decode(struct c2_slice in, struct ds_share *ret_share)
{
    if (in.len < DS_SHARE_HEADER_LEN || memcmp(in.data + AT_MAGIC, MAGIC, 8) != 0)
        return C2_E_PARSE;
    const uint8_t *h = in.data;
    if (c2_get_u16(h + AT_VERSION) != DS_SHARE_VERSION)
        return C2_E_VERSION;
    if (!constants_ok(h))
        return C2_E_PARSE;
    struct ds_share sh = {
        .flags = c2_get_u16(h + AT_FLAGS),
        .oid = ds_oid_decode(h + AT_OID),
        .n = h[AT_N],
        .k = h[AT_K],
        .seat = h[AT_SEAT],
        .plain_len = c2_get_u64(h + AT_PLAIN_LEN),
        .cipher_len = c2_get_u64(h + AT_CIPHER_LEN),
        .nseg = c2_get_u32(h + AT_NSEG),
        .row_len = c2_get_u32(h + AT_ROW_LEN),
        .hdr_len = c2_get_u32(h + AT_HDR_LEN),
        .key_epoch = c2_get_u32(h + AT_KEY_EPOCH),
        .domain_id = c2_get_u32(h + AT_DOMAIN),
        .config_epoch = c2_get_u32(h + AT_CONFIG_EPOCH),
        .x = h[AT_X],
    };
    memcpy(sh.volume, h + AT_VOLUME, sizeof(sh.volume));
    memcpy(sh.key_commit, h + AT_KEY_COMMIT, sizeof(sh.key_commit));
    memcpy(sh.y, h + AT_Y, sizeof(sh.y));
    memcpy(sh.row_root, h + AT_ROW_ROOTS, sizeof(sh.row_root));
    memcpy(sh.object_root, h + AT_OBJECT_ROOT, sizeof(sh.object_root));
    if (!lengths_ok(&sh))
        return C2_E_PARSE;
    *ret_share = sh;
    return C2_E_OK;
}

/* The layout that the (verified) tables give must be the one that the header claims. */
static enum c2_err
derive_layout(const struct ds_share *sh, struct c2_slice lengths, struct ds_layout *ret_layout)
{
    uint32_t stored[DS_SEGMENTS_MAX];
    for (uint32_t s = 0; s < lengths.len / 4; s++)
        stored[s] = c2_get_u32(lengths.data + s * 4);
    struct ds_layout l;
    C2_TRY(ds_layout_init(&l, sh->k, sh->plain_len, lengths.len != 0 ? stored : NULL));
    if (l.row_len != sh->row_len || l.cipher_len != sh->cipher_len) {
        ds_layout_done(&l);
        return C2_E_PARSE;
    }
    *ret_layout = l;
    return C2_E_OK;
}

C2_RESULT
ds_share_verify(struct c2_slice in, const uint8_t *root, struct ds_share *ret_share,
                struct ds_layout *ret_layout, const uint8_t **ret_leaves)
{
    struct ds_share sh;
    C2_TRY(ds_share_decode(in, &sh));
    if (in.len < sh.hdr_len)
        return C2_E_RANGE;
    const uint8_t *leaves = in.data + DS_SHARE_HEADER_LEN;
    uint32_t lengths_at = DS_SHARE_HEADER_LEN + sh.nleaf * C2_SHA256_LEN;
    struct c2_slice lengths = c2_slice(in.data + lengths_at, sh.hdr_len - lengths_at);
    uint8_t hash[C2_SHA256_LEN];
    ds_object_root(&sh, lengths, hash);
    if (memcmp(hash, root != NULL ? root : sh.object_root, DS_ROOT_LEN) != 0 ||
        memcmp(hash, sh.object_root, DS_ROOT_LEN) != 0)
        return C2_E_CORRUPT;
    ds_row_root(&sh, leaves, hash);
    if (memcmp(hash, sh.row_root[sh.seat], C2_SHA256_LEN) != 0)
        return C2_E_CORRUPT;
    C2_TRY(derive_layout(&sh, lengths, ret_layout));
    *ret_share = sh;
    *ret_leaves = leaves;
    return C2_E_OK;
}

static size_t
cut_leaves(struct c2_slice body, struct c2_slice out[LEAF_BATCH])
{
    size_t count = 0;
    for (size_t pos = 0; pos < body.len && count < LEAF_BATCH; pos += DS_LEAF_SIZE)
        out[count++] = c2_slice(body.data + pos, C2_MIN((size_t)DS_LEAF_SIZE, body.len - pos));
    return count;
}

void
ds_leaves_hash(struct c2_slice body, uint8_t *leaves)
{
    while (body.len > 0) {
        struct c2_slice part[LEAF_BATCH];
        uint8_t hash[LEAF_BATCH][C2_SHA256_LEN];
        size_t count = cut_leaves(body, part);
        c2_sha256_many(part, count, hash);
        memcpy(leaves, hash, count * C2_SHA256_LEN);
        leaves += count * C2_SHA256_LEN;
        size_t used = C2_MIN(body.len, count * DS_LEAF_SIZE);
        body = c2_slice(body.data + used, body.len - used);
    }
}

C2_RESULT
ds_leaves_verify(struct c2_slice body, const uint8_t *leaves, uint32_t first_leaf)
{
    leaves += (size_t)first_leaf * C2_SHA256_LEN;
    while (body.len > 0) {
        struct c2_slice part[LEAF_BATCH];
        uint8_t hash[LEAF_BATCH][C2_SHA256_LEN];
        size_t count = cut_leaves(body, part);
        c2_sha256_many(part, count, hash);
        if (memcmp(leaves, hash, count * C2_SHA256_LEN) != 0)
            return C2_E_CORRUPT;
        leaves += count * C2_SHA256_LEN;
        size_t used = C2_MIN(body.len, count * DS_LEAF_SIZE);
        body = c2_slice(body.data + used, body.len - used);
    }
    return C2_E_OK;
}

static uint32_t
row_len_max(unsigned k, uint64_t plain_len)
{
    uint64_t nseg = (plain_len + DS_SEGMENT_SIZE - 1) / DS_SEGMENT_SIZE;
    uint64_t nstripe = (nseg + k - 1) / k;
    uint64_t whole = (nstripe - 1) * (DS_SEGMENT_SIZE + DS_TAG_LEN);
    uint64_t in_last = nseg - (nstripe - 1) * k;
    uint64_t rest = plain_len - (nstripe - 1) * k * DS_SEGMENT_SIZE + in_last * DS_TAG_LEN;
    return (uint32_t)(whole + (rest + k - 1) / k);
}

uint32_t
ds_share_tables_max(unsigned k, uint64_t plain_len)
{
    C2_ASSERT(plain_len >= 1 && plain_len <= DS_OBJECT_SIZE_MAX);
    uint32_t nleaf = (row_len_max(k, plain_len) + DS_LEAF_SIZE - 1) / DS_LEAF_SIZE;
    uint32_t nseg = (uint32_t)((plain_len + DS_SEGMENT_SIZE - 1) / DS_SEGMENT_SIZE);
    return DS_SHARE_HEADER_LEN + nleaf * C2_SHA256_LEN + nseg * 4u;
}

uint32_t
ds_share_len_max(unsigned k, uint64_t plain_len)
{
    return ds_share_tables_max(k, plain_len) + row_len_max(k, plain_len);
}

C2_RESULT
ds_share_info(struct c2_slice head, struct ds_share_info *ret_info)
{
    struct ds_share sh;
    if (head.len < DS_SHARE_HEADER_LEN)
        return C2_E_PARSE;
    C2_TRY(ds_share_decode(head, &sh));
    *ret_info = (struct ds_share_info){ .n = sh.n,
                                        .k = sh.k,
                                        .seat = sh.seat,
                                        .keyless = (sh.flags & DS_SHARE_KEYLESS) != 0,
                                        .key_epoch = sh.key_epoch,
                                        .domain_id = sh.domain_id,
                                        .config_epoch = sh.config_epoch };
    memcpy(ret_info->volume, sh.volume, sizeof(ret_info->volume));
    return C2_E_OK;
}
