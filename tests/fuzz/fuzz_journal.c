/* SPDX-License-Identifier: MIT */
/*
 * A journal segment made by somebody who knows its key: the input is a little program that builds
 * the file, so that the bytes behind every checksum and tag are the fuzzer's as well.
 *
 *   'G' n m   a group as we write it: n pieces of m bytes
 *   'C' s n l a commit frame with sequence number s, n pieces, and the next l bytes as its
 * plaintext 'P' s i l a piece frame 'R' l     the next l bytes as they are 'F' a     one bit of
 * byte a (16 bit) changes 'T' a     the file ends at a (16 bit)
 *
 * What the scanner finds must not depend on how much it is given at a time.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "fs/journal_segment.h"

#define FILE_MAX    (256u << 10)
#define GROUPS_MAX  1024
#define FRAME_BYTES 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct build {
    struct c2_buf file;
    struct journal_sealer sealer;
};

/* Room for `size` more bytes of frames, where the sealer writes. */
static uint8_t *
room(struct build *b, size_t size)
{
    b->sealer.offset = b->file.len;
    b->sealer.out = c2_buf_extend(&b->file, size);
    return b->sealer.out;
}

static void
add_group(struct build *b, unsigned npieces, size_t len)
{
    static const uint8_t bytes[256];
    struct c2_slice pieces[8];
    struct journal_loc locs[8];
    struct journal_group g = { .seq = b->sealer.chain_seq + 1, .pieces = pieces };
    g.meta = c2_slice_str("meta");
    g.npieces = npieces % 8;
    for (size_t i = 0; i < g.npieces; i++)
        pieces[i] = c2_slice(bytes, len);
    room(b, journal_group_size(&g));
    journal_group_seal(&b->sealer, &g, locs);
}

static void
add_frame(struct build *b, struct journal_frame f, struct c2_slice plain)
{
    room(b, journal_frame_size(plain.len));
    journal_frame_seal(&b->sealer, &f, plain);
}

static void
add_one(struct build *b, struct c2_rd *r)
{
    uint8_t op = c2_rd_u8(r);
    size_t end;
    struct journal_frame f = { .type = op == 'P' ? JOURNAL_PIECE : JOURNAL_COMMIT };
    switch (op) {
    case 'G':
        f.index = c2_rd_u8(r);
        add_group(b, f.index, c2_rd_u8(r));
        break;
    case 'C':
    case 'P':
        f.seq = c2_rd_u8(r);
        f.index = c2_rd_u8(r);
        add_frame(b, f, c2_rd_bytes(r, FRAME_BYTES));
        break;
    case 'R': {
        struct c2_slice raw = c2_rd_bytes(r, FRAME_BYTES);
        c2_buf_append(&b->file, raw.data, raw.len);
        while (b->file.len % JOURNAL_FRAME_ALIGN != 0)
            c2_buf_append(&b->file, "", 1);
        break;
    }
    case 'F':
        b->file.data[c2_rd_u16(r) % b->file.len] ^= 4;
        break;
    case 'T':
        end = JOURNAL_HEADER_AREA + c2_rd_u16(r);
        b->file.len = C2_MIN(b->file.len, end);
        while (b->file.len % JOURNAL_FRAME_ALIGN != 0)
            b->file.len--;
        break;
    default:
        c2_rd_fail(r);
    }
}

struct result {
    struct journal_replay replay;
    uint64_t seqs[GROUPS_MAX];
    size_t pieces[GROUPS_MAX];
    size_t count;
};

static enum c2_err
found(struct journal_replay *replay, uint64_t seq, struct c2_slice meta,
      const struct journal_loc *locs, size_t nlocs)
{
    struct result *r = C2_CONTAINER_OF(replay, struct result, replay);
    size_t sum = meta.len;
    if (r->count == GROUPS_MAX)
        return C2_E_NO_SPACE;
    C2_ASSERT(r->count == 0 || seq > r->seqs[r->count - 1]);
    for (size_t i = 0; i < nlocs; i++) {
        C2_ASSERT(locs[i].len <= JOURNAL_PIECE_MAX && locs[i].offset >= JOURNAL_HEADER_AREA);
        sum += locs[i].len;
    }
    r->seqs[r->count] = seq;
    r->pieces[r->count++] = sum;
    return C2_E_OK;
}

/* Gives the scanner what it wants and `window` bytes at least. */
static void
scan(struct journal_segment *segment, struct c2_slice file, size_t window, struct result *ret)
{
    struct journal_scan s;
    size_t need = 1;
    memset(ret, 0, sizeof *ret);
    ret->replay.group = found;
    journal_scan_init(&s, &ret->replay);
    segment->size = file.len;
    segment->holds = segment->last_seq = 0;
    journal_scan_segment(&s, segment);
    while (need > 0) {
        size_t left = file.len - (size_t)s.pos;
        size_t len = C2_MIN(left, C2_MAX(need, window));
        uint64_t before = s.pos;
        if (journal_scan_bytes(&s, c2_slice(file.data + s.pos, len), &need) != C2_E_OK)
            break;
        C2_ASSERT(need == 0 || s.pos > before || need > len);
        if (s.pos == before && need > left)
            break;
    }
    journal_scan_done(&s);
}

static void
compare(const struct result *a, const struct result *b)
{
    C2_ASSERT(a->count == b->count);
    C2_ASSERT(a->replay.damaged_groups == b->replay.damaged_groups);
    C2_ASSERT(memcmp(a->seqs, b->seqs, a->count * sizeof a->seqs[0]) == 0);
    C2_ASSERT(memcmp(a->pieces, b->pieces, a->count * sizeof a->pieces[0]) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[C2_KEY_LEN] = { 1 }, salt[16] = { 2 };
    static struct result all, little;
    static bool ready;
    struct build b = { 0 };
    struct journal_segment *s = journal_segment_new(key, 1, salt), *read = NULL;
    struct c2_rd r = c2_rd_init(c2_slice(data, size));
    if (!ready)
        C2_ASSERT(c2_crypto_init() == C2_E_OK);
    ready = true;
    b.sealer = (struct journal_sealer){ .segment = s, .counter = 1 };
    journal_header_encode(s, c2_buf_extend(&b.file, JOURNAL_HEADER_AREA));
    while (c2_rd_left(&r) > 0 && c2_rd_ok(&r) && b.file.len < FILE_MAX)
        add_one(&b, &r);
    if (journal_header_decode(c2_buf_slice(&b.file), key, 1, &read) == C2_E_OK) {
        scan(read, c2_buf_slice(&b.file), FILE_MAX * 2, &all);
        scan(read, c2_buf_slice(&b.file), 64, &little);
        compare(&all, &little);
    }
    journal_segment_free(read);
    journal_segment_free(s);
    c2_buf_done(&b.file);
    return 0;
}
