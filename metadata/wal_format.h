/* SPDX-License-Identifier: MIT */
/*
 * The bytes of the log, format 1; described in docs/formats-local.md. Private to the log.
 */
#ifndef C2_METADATA_WAL_FORMAT_H
#define C2_METADATA_WAL_FORMAT_H

#include "base/crypto.h"

#define WAL_FORMAT      1
#define WAL_BLOCK       4096u /* everything begins at a multiple of it */
#define WAL_HEAD_LEN    128u  /* of a group */
#define WAL_RECORD_HEAD 8u
#define WAL_ANCHOR_LEN  128u

/* The file "head": where the log begins. Written whole. */
struct wal_anchor {
    uint64_t log_id;
    uint64_t segment; /* the first */
    uint64_t seq;     /* of its first group */
    uint64_t lsn;     /* of that group's first record */
    uint8_t prev[C2_SHA256_LEN];
    bool lost; /* there was a log before this one, and it is gone */
};

/* The first block of a segment. */
struct wal_segment_head {
    uint64_t log_id;
    uint64_t number;
    bool resumes; /* what is before it ends in damage: here it goes on, with */
    uint64_t seq; /* this group */
    uint64_t lsn; /* and this record; both 0 unless it resumes */
};

enum wal_group_kind {
    WAL_GROUP_RECORDS = 1,
    WAL_GROUP_SEAL, /* says only that the group `seq` before it was durable; overwritten */
};

struct wal_group_head {
    uint32_t kind; /* enum wal_group_kind */
    uint32_t nrecords;
    uint64_t log_id;
    uint64_t seq;
    uint64_t first_lsn;
    uint32_t payload_len;
    uint8_t prev[C2_SHA256_LEN]; /* hash of the group before */
    uint8_t hash[C2_SHA256_LEN];
};

/* "<16 lower-case hex digits>.wal"; false: no segment has that name. */
bool wal_parse_segment_name(struct c2_slice name, uint64_t *ret_number);
void wal_put_anchor(const struct wal_anchor *a, uint8_t out[WAL_ANCHOR_LEN]);
C2_RESULT wal_get_anchor(struct c2_slice in, struct wal_anchor *ret);
void wal_put_segment_head(const struct wal_segment_head *h, uint8_t out[WAL_BLOCK]);
C2_RESULT wal_get_segment_head(struct c2_slice in, struct wal_segment_head *ret);

/* Whole blocks that a group with so long a payload takes. */
size_t wal_group_size(size_t payload_len);
/* Fills head->hash from the payload, and the first WAL_HEAD_LEN bytes. */
void wal_put_group_head(struct wal_group_head *head, struct c2_slice payload,
                        uint8_t out[WAL_HEAD_LEN]);
/* The head alone: whether these bytes were ever written as one. */
C2_RESULT wal_get_group_head(struct c2_slice in, struct wal_group_head *ret);
/* Whether the payload (payload_len bytes) is what the head says. */
C2_RESULT wal_check_payload(const struct wal_group_head *h, const uint8_t *head_bytes,
                            struct c2_slice payload);

#endif
