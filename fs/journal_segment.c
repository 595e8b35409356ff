/* SPDX-License-Identifier: MIT */
/*
 * Encoding of segment headers, frames and groups. Pure functions of memory.
 *
 *   segment   header area (two copies), frames
 *   frame     header 48, ciphertext, tag 16, zeros up to a multiple of 16
 *   header    magic, type, seq, counter, length, index, 8 bytes of HMAC over itself and its place
 *   group     its piece frames, then its commit frame: chain of the commit frame before and its
 * seq, the seq that was durable when it was sealed, list of the pieces (offset, length, tag), meta
 *
 * AAD of every frame: segment id, offset in the file, frame header. So a frame opens nowhere else.
 */
#include "fs/journal_segment.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/wire.h"

#define HEADER_MAGIC   "C2FSJRNL"
#define HEADER_VERSION 1
#define HEADER_BODY    64 /* what checksum and tag cover */
#define HEADER_CHECK   8
#define FRAME_MAGIC    0x4652324au /* "J2RF" */
#define FRAME_BODY     40          /* the header without its check */
#define FRAME_CHECK    8
#define PLACE_LEN      16
#define NAME_HEX       16

/* ---- segment ------------------------------------------------------------------------------- */

struct journal_segment *
journal_segment_new(const uint8_t key[C2_KEY_LEN], uint64_t id, const uint8_t salt[16])
{
    struct journal_segment *s = c2_calloc(1, sizeof *s);
    s->id = id;
    s->file = -1;
    s->counter = 1;
    memcpy(s->salt, salt, sizeof s->salt);
    s->keys = c2_secret_alloc(sizeof *s->keys);
    c2_hkdf(c2_slice(key, C2_KEY_LEN), c2_slice(salt, 16), c2_slice_str("c2fs journal segment 1"),
            s->keys, sizeof *s->keys);
    return s;
}

void
journal_segment_free(struct journal_segment *s)
{
    if (s == NULL)
        return;
    c2_secret_free(s->keys, sizeof *s->keys);
    c2_free(s);
}

/* Authenticates the header under the segment's key: its tag over an empty text, nonce 0. */
static void
header_tag(const struct journal_segment *s, const uint8_t body[HEADER_BODY],
           uint8_t tag[C2_GCM_TAG_LEN])
{
    static const uint8_t nonce[C2_GCM_NONCE_LEN];
    c2_gcm_seal(s->keys->seal, nonce, c2_slice(body, HEADER_BODY), c2_slice(NULL, 0), tag);
}

void
journal_header_encode(const struct journal_segment *s, uint8_t out[JOURNAL_HEADER_AREA])
{
    uint8_t hash[C2_SHA256_LEN];
    memset(out, 0, JOURNAL_HEADER_AREA);
    memcpy(out, HEADER_MAGIC, 8);
    c2_put_u16(out + 8, HEADER_VERSION);
    c2_put_u64(out + 16, s->id);
    memcpy(out + 24, s->salt, sizeof s->salt);
    c2_sha256(c2_slice(out, HEADER_BODY), hash);
    memcpy(out + HEADER_BODY, hash, HEADER_CHECK);
    header_tag(s, out, out + HEADER_BODY + HEADER_CHECK);
    memcpy(out + JOURNAL_HEADER_COPY, out, JOURNAL_HEADER_COPY);
}

static enum c2_err
decode_copy(const uint8_t *copy, const uint8_t key[C2_KEY_LEN], uint64_t id,
            struct journal_segment **ret_segment)
{
    uint8_t hash[C2_SHA256_LEN];
    uint8_t tag[C2_GCM_TAG_LEN];
    c2_sha256(c2_slice(copy, HEADER_BODY), hash);
    if (memcmp(copy, HEADER_MAGIC, 8) != 0 || memcmp(hash, copy + HEADER_BODY, HEADER_CHECK) != 0)
        return C2_E_DAMAGED;
    if (c2_get_u16(copy + 8) != HEADER_VERSION)
        return C2_E_VERSION;
    if (c2_get_u64(copy + 16) != id)
        return C2_E_DAMAGED; /* a copy of another segment under this name */
    struct journal_segment *s = journal_segment_new(key, id, copy + 24);
    header_tag(s, copy, tag);
    if (!c2_equal_secret(tag, copy + HEADER_BODY + HEADER_CHECK, sizeof tag)) {
        journal_segment_free(s);
        return C2_E_KEY;
    }
    *ret_segment = s;
    return C2_E_OK;
}

enum c2_err
journal_header_decode(struct c2_slice area, const uint8_t key[C2_KEY_LEN], uint64_t id,
                      struct journal_segment **ret_segment)
{
    if (area.len < JOURNAL_HEADER_AREA)
        return C2_E_DAMAGED;
    enum c2_err first = decode_copy(area.data, key, id, ret_segment);
    if (first == C2_E_OK)
        return C2_E_OK;
    enum c2_err second = decode_copy(area.data + JOURNAL_HEADER_COPY, key, id, ret_segment);
    return second == C2_E_DAMAGED ? first : second;
}

char *
journal_segment_path(const char *dir, uint64_t id)
{
    return c2_asprintf("%s/%016llx.seg", dir, (unsigned long long)id);
}

bool
journal_segment_parse_name(const char *name, const char *suffix, uint64_t *ret_id)
{
    uint8_t id[8];
    if (strlen(name) != NAME_HEX + strlen(suffix) || strcmp(name + NAME_HEX, suffix) != 0)
        return false;
    if (c2_hex_decode_name(c2_slice(name, NAME_HEX), id, sizeof id) != C2_E_OK)
        return false;
    *ret_id = c2_get_be64(id);
    return true;
}

/* ---- frames -------------------------------------------------------------------------------- */

size_t
journal_frame_size(size_t len)
{
    size_t bytes = JOURNAL_FRAME_HEAD + len + C2_GCM_TAG_LEN;
    return (bytes + JOURNAL_FRAME_ALIGN - 1) / JOURNAL_FRAME_ALIGN * JOURNAL_FRAME_ALIGN;
}

static void
put_place(const struct journal_segment *s, uint64_t offset, uint8_t out[PLACE_LEN])
{
    c2_put_u64(out, s->id);
    c2_put_u64(out + 8, offset);
}

static void
head_check(const struct journal_segment *s, uint64_t offset, const uint8_t *head,
           uint8_t out[FRAME_CHECK])
{
    uint8_t place[PLACE_LEN];
    uint8_t mac[C2_SHA256_LEN];
    put_place(s, offset, place);
    struct c2_slice in[2] = { c2_slice(place, sizeof place), c2_slice(head, FRAME_BODY) };
    c2_hmac_sha256(c2_slice(s->keys->mac, C2_KEY_LEN), in, 2, mac);
    memcpy(out, mac, FRAME_CHECK);
}

static void
put_head(const struct journal_segment *s, uint64_t offset, const struct journal_frame *f,
         uint8_t *out)
{
    memset(out, 0, JOURNAL_FRAME_HEAD);
    c2_put_u32(out, FRAME_MAGIC);
    out[4] = (uint8_t)f->type;
    c2_put_u64(out + 8, f->seq);
    c2_put_u64(out + 16, f->counter);
    c2_put_u32(out + 24, f->len);
    c2_put_u32(out + 28, f->index);
    head_check(s, offset, out, out + FRAME_BODY);
}

static bool
lengths_allowed(const struct journal_frame *f)
{
    if (f->type == JOURNAL_PIECE)
        return f->len <= JOURNAL_PIECE_MAX && f->index < JOURNAL_PIECES_MAX;
    return f->len <= JOURNAL_COMMIT_MAX && f->index <= JOURNAL_PIECES_MAX;
}

bool
journal_frame_decode(const struct journal_segment *s, uint64_t offset, const uint8_t *head,
                     struct journal_frame *ret_frame)
{
    uint8_t check[FRAME_CHECK];
    if (c2_get_u32(head) != FRAME_MAGIC || (head[4] != JOURNAL_PIECE && head[4] != JOURNAL_COMMIT))
        return false;
    head_check(s, offset, head, check);
    if (!c2_equal_secret(check, head + FRAME_BODY, sizeof check))
        return false;
    struct journal_frame f = { .type = head[4] == JOURNAL_PIECE ? JOURNAL_PIECE : JOURNAL_COMMIT };
    f.seq = c2_get_u64(head + 8);
    f.counter = c2_get_u64(head + 16);
    f.len = c2_get_u32(head + 24);
    f.index = c2_get_u32(head + 28);
    if (!lengths_allowed(&f))
        return false;
    *ret_frame = f;
    return true;
}

static void
frame_aad(const struct journal_segment *s, uint64_t offset, const uint8_t *head,
          uint8_t out[PLACE_LEN + FRAME_BODY])
{
    put_place(s, offset, out);
    memcpy(out + PLACE_LEN, head, FRAME_BODY);
}

static void
frame_nonce(uint64_t counter, uint8_t nonce[C2_GCM_NONCE_LEN])
{
    memset(nonce, 0, C2_GCM_NONCE_LEN);
    c2_put_u64(nonce, counter);
}

enum c2_err
journal_frame_open(const struct journal_segment *s, uint64_t offset,
                   const struct journal_frame *frame, const uint8_t *whole, uint8_t *out)
{
    uint8_t aad[PLACE_LEN + FRAME_BODY];
    uint8_t nonce[C2_GCM_NONCE_LEN];
    frame_aad(s, offset, whole, aad);
    frame_nonce(frame->counter, nonce);
    struct c2_slice in = c2_slice(whole + JOURNAL_FRAME_HEAD, (size_t)frame->len + C2_GCM_TAG_LEN);
    return c2_gcm_open(s->keys->seal, nonce, c2_slice(aad, sizeof aad), in, out);
}

void
journal_frame_chain(const uint8_t *whole, const struct journal_frame *frame,
                    uint8_t out[JOURNAL_CHAIN_LEN])
{
    uint8_t hash[C2_SHA256_LEN];
    struct c2_slice in[2] = { c2_slice(whole, JOURNAL_FRAME_HEAD),
                              c2_slice(whole + JOURNAL_FRAME_HEAD + frame->len, C2_GCM_TAG_LEN) };
    c2_sha256_v(in, 2, hash);
    memcpy(out, hash, JOURNAL_CHAIN_LEN);
}

void
journal_frame_seal(struct journal_sealer *s, struct journal_frame *f, struct c2_slice plain)
{
    uint8_t aad[PLACE_LEN + FRAME_BODY];
    uint8_t nonce[C2_GCM_NONCE_LEN];
    size_t size = journal_frame_size(plain.len);
    size_t used = JOURNAL_FRAME_HEAD + plain.len + C2_GCM_TAG_LEN;
    f->counter = s->counter++;
    f->len = (uint32_t)plain.len;
    C2_ASSERT(lengths_allowed(f));
    put_head(s->segment, s->offset, f, s->out);
    frame_aad(s->segment, s->offset, s->out, aad);
    frame_nonce(f->counter, nonce);
    c2_gcm_seal(s->segment->keys->seal, nonce, c2_slice(aad, sizeof aad), plain,
                s->out + JOURNAL_FRAME_HEAD);
    memset(s->out + used, 0, size - used);
    s->out += size;
    s->offset += size;
}

/* ---- groups -------------------------------------------------------------------------------- */

static size_t
commit_len(const struct journal_group *g)
{
    return JOURNAL_COMMIT_HEAD + g->npieces * JOURNAL_PIECE_ENTRY + g->meta.len;
}

size_t
journal_group_size(const struct journal_group *g)
{
    size_t total = journal_frame_size(commit_len(g));
    for (size_t i = 0; i < g->npieces; i++)
        total += journal_frame_size(g->pieces[i].len);
    return total;
}

/* Seals the pieces and writes their list at `list`. */
static void
seal_pieces(struct journal_sealer *s, const struct journal_group *g, struct journal_loc *ret_locs,
            uint8_t *list)
{
    for (size_t i = 0; i < g->npieces; i++) {
        struct journal_frame f = { .type = JOURNAL_PIECE, .seq = g->seq, .index = (uint32_t)i };
        const uint8_t *start = s->out;
        uint8_t *entry = list + i * JOURNAL_PIECE_ENTRY;
        ret_locs[i] = (struct journal_loc){ .segment = s->segment->id,
                                            .offset = s->offset,
                                            .len = (uint32_t)g->pieces[i].len };
        c2_put_u32(entry, (uint32_t)s->offset);
        c2_put_u32(entry + 4, (uint32_t)g->pieces[i].len);
        journal_frame_seal(s, &f, g->pieces[i]);
        memcpy(entry + 8, start + JOURNAL_FRAME_HEAD + f.len, C2_GCM_TAG_LEN);
    }
}

void
journal_group_seal(struct journal_sealer *s, const struct journal_group *g,
                   struct journal_loc *ret_locs)
{
    /* The commit's plaintext is built where its ciphertext goes: behind the pieces. */
    size_t total = journal_group_size(g);
    size_t plain_len = commit_len(g);
    uint8_t *commit = s->out + total - journal_frame_size(plain_len);
    uint8_t *plain = commit + JOURNAL_FRAME_HEAD;
    C2_ASSERT(s->offset + total <= UINT32_MAX && g->seq > s->chain_seq);
    memcpy(plain, s->chain, JOURNAL_CHAIN_LEN);
    c2_put_u64(plain + JOURNAL_CHAIN_LEN, s->chain_seq);
    c2_put_u64(plain + JOURNAL_CHAIN_LEN + 8, s->synced_seq);
    c2_put_u32(plain + JOURNAL_CHAIN_LEN + 16, (uint32_t)g->npieces);
    seal_pieces(s, g, ret_locs, plain + JOURNAL_COMMIT_HEAD);
    C2_ASSERT(s->out == commit);
    if (g->meta.len > 0)
        memcpy(plain + plain_len - g->meta.len, g->meta.data, g->meta.len);
    struct journal_frame f = { .type = JOURNAL_COMMIT,
                               .seq = g->seq,
                               .index = (uint32_t)g->npieces };
    journal_frame_seal(s, &f, c2_slice(plain, plain_len));
    journal_frame_chain(commit, &f, s->chain);
    s->chain_seq = g->seq;
}

enum c2_err
journal_commit_decode(struct c2_slice plain, struct journal_commit *ret_commit)
{
    struct c2_rd r = c2_rd_init(plain);
    struct journal_commit c = { 0 };
    c2_rd_copy(&r, c.chain, sizeof c.chain);
    c.chain_seq = c2_rd_u64(&r);
    c.synced_seq = c2_rd_u64(&r);
    c.npieces = c2_rd_u32(&r);
    if (!c2_rd_ok(&r) || c.npieces > JOURNAL_PIECES_MAX)
        return C2_E_PARSE;
    c.list = c2_rd_raw(&r, (size_t)c.npieces * JOURNAL_PIECE_ENTRY);
    c.meta = c2_rd_raw(&r, c2_rd_left(&r));
    C2_TRY(c2_rd_finish(&r));
    *ret_commit = c;
    return C2_E_OK;
}

struct journal_piece
journal_commit_piece(const struct journal_commit *c, size_t index)
{
    const uint8_t *entry = c->list.data + index * JOURNAL_PIECE_ENTRY;
    struct journal_piece p = { .offset = c2_get_u32(entry), .len = c2_get_u32(entry + 4) };
    C2_ASSERT(index < c->npieces);
    memcpy(p.tag, entry + 8, sizeof p.tag);
    return p;
}

void
journal_loc_encode(const struct journal_loc *l, struct c2_buf *out)
{
    c2_wr_u64(out, l->segment);
    c2_wr_u64(out, l->offset);
    c2_wr_u32(out, l->len);
}

struct journal_loc
journal_loc_decode(struct c2_rd *r)
{
    struct journal_loc l = { 0 };
    l.segment = c2_rd_u64(r);
    l.offset = c2_rd_u64(r);
    l.len = c2_rd_u32(r);
    return l;
}
