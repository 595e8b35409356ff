/* SPDX-License-Identifier: MIT */
/*
 * Sorts more records than memory has room for: what fits is sorted in memory, becomes a run in a
 * file without a name, and the runs are merged while they are read. As long as all of it fits,
 * there is no file. A crash leaves nothing behind.
 */
#ifndef C2_METADATA_SPOOL_H
#define C2_METADATA_SPOOL_H

#include "base/buf.h"

#define SPOOL_RUNS_MAX   1024       /* then no more should be added */
#define SPOOL_RECORD_MAX (2u << 20) /* bytes of one record */

struct spool;

struct spool_record {
    struct c2_slice bytes, key; /* borrowed; the key lies in the bytes */
};

/* path: where the file is made when it is needed. memory: of records at most, beside one; and again
 * as much while runs are merged, beside one record of each. */
struct spool *spool_new(const char *path, size_t memory);
void spool_free(struct spool *s); /* NULL is fine */

/* Not after spool_rewind, until spool_clear. */
C2_RESULT spool_add(struct spool *s, const struct spool_record *r);
uint64_t spool_bytes(const struct spool *s);
bool spool_is_full(const struct spool *s);

/* Begins to read, also again. */
C2_RESULT spool_rewind(struct spool *s);
/* The next in the order of keys, those of one key in any order; borrowed until the next call.
 * NOT_FOUND at the end; IO when the file does not give back what was written. */
C2_RESULT spool_next(struct spool *s, struct spool_record *ret);
/* Forgets all records; ready for others. */
C2_RESULT spool_clear(struct spool *s);

#endif
