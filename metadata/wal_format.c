/* SPDX-License-Identifier: MIT */
/*
 * Encoding of the log's blocks. Each has a checksum over what is before it, so that a head is
 * recognised even when what it describes cannot be read.
 */
#include "metadata/wal_format.h"

#include <string.h>

#include "base/str.h"
#include "base/wire.h"

#define ANCHOR_MAGIC  0x41573243u      /* "C2WA" */
#define SEGMENT_MAGIC 0x53573243u      /* "C2WS" */
#define GROUP_MAGIC   0x47573243u      /* "C2WG" */
#define HASHED_LEN    72u              /* bytes of a group's head that its hash covers */
#define SUM_AT        104u             /* and those that the sum of the head covers */
#define NUMBER_MAX    (UINT64_MAX / 4) /* no log gets there: nothing that counts on runs over */

/* The first 8 bytes of a SHA-256. */
static uint64_t
sum(const uint8_t *data, size_t len)
{
    uint8_t hash[C2_SHA256_LEN];
    c2_sha256(c2_slice(data, len), hash);
    return c2_get_u64(hash);
}

static bool
are_numbers(const uint8_t *at, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t n = c2_get_u64(at + 8 * i);
        if (n == 0 || n > NUMBER_MAX)
            return false;
    }
    return true;
}

bool
wal_parse_segment_name(struct c2_slice name, uint64_t *ret_number)
{
    uint8_t number[8];
    if (name.len != 2 * sizeof number + 4 || memcmp(name.data + 16, ".wal", 4) != 0 ||
        c2_hex_decode_name(c2_slice(name.data, 16), number, sizeof number) != C2_E_OK)
        return false;
    uint64_t n = c2_get_be64(number);
    if (n == 0 || n > NUMBER_MAX)
        return false;
    *ret_number = n;
    return true;
}

void
wal_put_anchor(const struct wal_anchor *a, uint8_t out[WAL_ANCHOR_LEN])
{
    memset(out, 0, WAL_ANCHOR_LEN);
    c2_put_u32(out, ANCHOR_MAGIC);
    c2_put_u32(out + 4, WAL_FORMAT);
    c2_put_u64(out + 8, a->log_id);
    c2_put_u64(out + 16, a->segment);
    c2_put_u64(out + 24, a->seq);
    c2_put_u64(out + 32, a->lsn);
    memcpy(out + 40, a->prev, sizeof a->prev);
    c2_put_u64(out + 72, a->lost);
    c2_put_u64(out + WAL_ANCHOR_LEN - 8, sum(out, WAL_ANCHOR_LEN - 8));
}

C2_RESULT
wal_get_anchor(struct c2_slice in, struct wal_anchor *ret)
{
    if (in.len != WAL_ANCHOR_LEN || c2_get_u32(in.data) != ANCHOR_MAGIC ||
        c2_get_u64(in.data + WAL_ANCHOR_LEN - 8) != sum(in.data, WAL_ANCHOR_LEN - 8))
        return C2_E_DAMAGED;
    if (c2_get_u32(in.data + 4) != WAL_FORMAT)
        return C2_E_VERSION;
    if (!are_numbers(in.data + 16, 3))
        return C2_E_DAMAGED;
    ret->log_id = c2_get_u64(in.data + 8);
    ret->segment = c2_get_u64(in.data + 16);
    ret->seq = c2_get_u64(in.data + 24);
    ret->lsn = c2_get_u64(in.data + 32);
    memcpy(ret->prev, in.data + 40, sizeof ret->prev);
    ret->lost = c2_get_u64(in.data + 72) != 0;
    return C2_E_OK;
}

void
wal_put_segment_head(const struct wal_segment_head *h, uint8_t out[WAL_BLOCK])
{
    memset(out, 0, WAL_BLOCK);
    c2_put_u32(out, SEGMENT_MAGIC);
    c2_put_u32(out + 4, WAL_FORMAT);
    c2_put_u64(out + 8, h->log_id);
    c2_put_u64(out + 16, h->number);
    c2_put_u64(out + 24, h->resumes);
    c2_put_u64(out + 32, h->seq);
    c2_put_u64(out + 40, h->lsn);
    c2_put_u64(out + 48, sum(out, 48));
}

C2_RESULT
wal_get_segment_head(struct c2_slice in, struct wal_segment_head *ret)
{
    if (in.len < WAL_BLOCK || c2_get_u32(in.data) != SEGMENT_MAGIC ||
        c2_get_u64(in.data + 48) != sum(in.data, 48))
        return C2_E_DAMAGED;
    if (c2_get_u32(in.data + 4) != WAL_FORMAT)
        return C2_E_VERSION;
    bool resumes = c2_get_u64(in.data + 24) != 0;
    if (!are_numbers(in.data + 16, 1) || (resumes && !are_numbers(in.data + 32, 2)))
        return C2_E_DAMAGED;
    ret->log_id = c2_get_u64(in.data + 8);
    ret->number = c2_get_u64(in.data + 16);
    ret->resumes = resumes;
    ret->seq = c2_get_u64(in.data + 32);
    ret->lsn = c2_get_u64(in.data + 40);
    return C2_E_OK;
}

size_t
wal_group_size(size_t payload_len)
{
    return (WAL_HEAD_LEN + payload_len + WAL_BLOCK - 1) / WAL_BLOCK * WAL_BLOCK;
}

static void
hash_group(const uint8_t *head_bytes, struct c2_slice payload, uint8_t out[C2_SHA256_LEN])
{
    const struct c2_slice parts[] = { c2_slice(head_bytes, HASHED_LEN), payload };
    c2_sha256_v(parts, C2_ARRAY_LEN(parts), out);
}

void
wal_put_group_head(struct wal_group_head *head, struct c2_slice payload, uint8_t out[WAL_HEAD_LEN])
{
    C2_ASSERT(payload.len == head->payload_len);
    memset(out, 0, WAL_HEAD_LEN);
    c2_put_u32(out, GROUP_MAGIC);
    c2_put_u32(out + 4, head->kind);
    c2_put_u64(out + 8, head->log_id);
    c2_put_u64(out + 16, head->seq);
    c2_put_u64(out + 24, head->first_lsn);
    c2_put_u32(out + 32, head->payload_len);
    c2_put_u32(out + 36, head->nrecords);
    memcpy(out + 40, head->prev, sizeof head->prev);
    hash_group(out, payload, head->hash);
    memcpy(out + HASHED_LEN, head->hash, sizeof head->hash);
    c2_put_u64(out + SUM_AT, sum(out, SUM_AT));
}

C2_RESULT
wal_get_group_head(struct c2_slice in, struct wal_group_head *ret)
{
    if (in.len < WAL_HEAD_LEN || c2_get_u32(in.data) != GROUP_MAGIC ||
        c2_get_u64(in.data + SUM_AT) != sum(in.data, SUM_AT) || !are_numbers(in.data + 16, 2))
        return C2_E_DAMAGED;
    ret->kind = c2_get_u32(in.data + 4);
    ret->log_id = c2_get_u64(in.data + 8);
    ret->seq = c2_get_u64(in.data + 16);
    ret->first_lsn = c2_get_u64(in.data + 24);
    ret->payload_len = c2_get_u32(in.data + 32);
    ret->nrecords = c2_get_u32(in.data + 36);
    memcpy(ret->prev, in.data + 40, sizeof ret->prev);
    memcpy(ret->hash, in.data + HASHED_LEN, sizeof ret->hash);
    return C2_E_OK;
}

C2_RESULT
wal_check_payload(const struct wal_group_head *h, const uint8_t *head_bytes,
                  struct c2_slice payload)
{
    uint8_t hash[C2_SHA256_LEN];
    hash_group(head_bytes, payload, hash);
    return memcmp(hash, h->hash, sizeof hash) == 0 ? C2_E_OK : C2_E_DAMAGED;
}
