/* SPDX-License-Identifier: MIT */
/*
 * What a replica keeps in its write-ahead log. The log itself (segments, checksums, chaining,
 * group commit) sees a type and bytes; the core appends records with consecutive numbers (lsn,
 * from 1), hears which are durable, and gets them all back in order when it starts. It trims
 * explicitly: what is before the trimmed lsn is never needed again.
 *
 * After a restart the last EPOCH, VIEW, NEW_VIEW and STABLE count; PROPOSAL, PREPARED, VOTED and
 * DECIDED fill the window. Whatever was signed is here before it is sent, so no correct replica
 * ever signs two different votes for one (epoch, view, n, phase).
 *
 * Bodies, format 1 (little-endian, byte strings with u32 length):
 *   EPOCH     config, certificate of the checkpoint before (empty for epoch 0)
 *   VIEW      u32 epoch, u64 view, u8 leaving, own VIEW-CHANGE message (empty unless leaving)
 *   NEW_VIEW  u32 epoch, u64 view, NEW-VIEW message, u32 count, VIEW-CHANGE messages it builds on
 *   PROPOSAL  u32 epoch, signed proposal (MSG_PROPOSAL_LEN), batch; the vote of PREPARE is implied
 *   PREPARED  u32 epoch, u64 view, u64 n, digest[32], u32 count, PREPARE messages; the vote of
 *             COMMIT is implied
 *   DECIDED   u32 epoch, u64 view, u64 n, digest[32]; hint only, needs no fsync
 *   STABLE    encoded certificate
 *   WISH      u32 epoch, u64 view
 *   MODE      u8 quarantined, u64 view, u64 n: no votes before view and stable checkpoint n
 */
#ifndef C2_METADATA_WAL_RECORD_H
#define C2_METADATA_WAL_RECORD_H

#include "metadata/msg.h"

#define WAL_RECORD_MAX                                                                             \
    ((MSG_REPLICAS_MAX + 1) * (MSG_BYTES_MAX + 64u)) /* NEW_VIEW with its VIEW-CHANGEs */

enum wal_type {
    WAL_EPOCH = 1,
    WAL_VIEW,
    WAL_NEW_VIEW,
    WAL_PROPOSAL,
    WAL_PREPARED,
    WAL_DECIDED,
    WAL_STABLE,
    WAL_WISH,
    WAL_MODE,
};

struct wal_record {
    uint32_t epoch;
    uint64_t view;
    uint64_t n;
    uint8_t leaving;
    uint8_t quarantined;
    uint8_t digest[MSG_DIGEST_LEN];
    struct c2_slice proposal;
    struct c2_slice msg; /* VIEW, NEW_VIEW; EPOCH, STABLE: the certificate */
    struct c2_slice batch;
    uint32_t count;
    struct c2_slice list;   /* PREPARED, NEW_VIEW: messages, u32 length each */
    struct c2_slice config; /* EPOCH */
};

/* Appends the body of a record without the batch, which is last and may be written from where it
 * lies. */
void wal_record_write(enum wal_type type, const struct wal_record *r, struct c2_buf *out);
/* PARSE for malformed bytes or an unknown type. */
C2_RESULT wal_record_read(unsigned type, struct c2_slice in, struct wal_record *ret);

#endif
