/* SPDX-License-Identifier: MIT */
/*
 * What providers will charge for: requests and bytes per provider and month, as this machine has
 * caused them. A bounded table; the oldest month goes first. Kept in <cache_dir>/usage.
 *
 *   file   u8 version 1, u32 n, n * { bytes month "2026-11", bytes provider, 6 * u64 requests by
 *          verb, u64 bytes up, u64 bytes down }, u32 m, m * { evidence of misbehaviour: u64 wall
 *          time, u64 count, u32 seat, bytes provider, bytes key, expected root[32], found
 *          sha256[32], u64 bytes found }, u8 sha256[32] of what comes before
 */
#ifndef C2_FS_USAGE_H
#define C2_FS_USAGE_H

#include "depsky/depsky.h"

#define USAGE_ROWS_MAX  256u
#define USAGE_VERBS     6u /* in the order of prov_verb */
#define USAGE_MONTH_LEN 7u
#define USAGE_NAME_MAX  64u
#define USAGE_FILE_MAX  (256u << 10)
#define USAGE_SAVE_NS   (60 * 1000000000ull)

struct usage_counts {
    uint64_t requests[USAGE_VERBS];
    uint64_t up, down; /* bytes */
};

struct usage_row {
    char month[USAGE_MONTH_LEN + 1]; /* UTC */
    char provider[USAGE_NAME_MAX + 1];
    struct usage_counts counts;
};

struct usage {
    size_t n;
    struct usage_row row[USAGE_ROWS_MAX]; /* oldest month first */
    size_t nproofs;
    struct ds_evidence proof[DS_EVIDENCE_MAX]; /* the latest ones, of earlier mounts as well */
};

/* Replaces what there is of the same provider, object and bytes. */
void usage_add_proof(struct usage *u, const struct ds_evidence *e);

/* Adds to the row of that month and provider. */
void usage_add(struct usage *u, uint64_t wall_ns, const char *provider,
               const struct usage_counts *more);
/* now - before, field by field; what has become less begins anew. */
struct usage_counts usage_since(const struct usage_counts *now, const struct usage_counts *before);
bool usage_is_zero(const struct usage_counts *c);
struct c2_rd;
void usage_proof_encode(const struct ds_evidence *e, struct c2_buf *out);
void usage_proof_decode(struct c2_rd *r, struct ds_evidence *ret); /* failure is sticky in r */
void usage_encode(const struct usage *u, struct c2_buf *out);
/* VERSION, PARSE, CORRUPT; *ret is untouched then. */
C2_RESULT usage_decode(struct c2_slice in, struct usage *ret);

#endif
