/* SPDX-License-Identifier: MIT */
/*
 * What the collector keeps in the store. Neither record says anything of files, so neither is
 * sealed; bounds are checked all the same.
 *
 *   K sid8 seq8 rnd8   a condemned object: u8 1, u64 wall time of the sentence, then its O record
 *   T                  the collector's clock, see struct gc_clock: u8 1, u64 wall time of the last
 *                      complete look for orphans, u64 count of proofs, u16 n, n * (u64 wall time,
 *                      u64 version), u16 n, n * (u64 wall time, u64 session)
 */
#ifndef C2_FS_GC_RECORD_H
#define C2_FS_GC_RECORD_H

#include "base/wire.h"
#include "fs/object_record.h"

#define GC_SAMPLES_MAX  40
#define GC_SESSIONS_MAX 64
#define GC_SPACING      16 /* samples per retention */

/*
 * The store has versions and no times. From time to time the collector notes which version it had:
 * a counter that is 0 and has not changed since a version noted a day ago was 0 all day. So no
 * object needs a time of its own.
 */
struct gc_clock {
    uint64_t orphans_wall_ns; /* last complete look for orphans; 0 = never */
    uint64_t proofs;          /* changes when a commit is wanted that has nothing else to say */
    size_t nsamples, nsessions;
    struct gc_sample {
        uint64_t wall_ns, version;
    } samples[GC_SAMPLES_MAX]; /* oldest first */
    struct gc_session {
        uint64_t wall_ns, session; /* since when this session is the mount's */
    } sessions[GC_SESSIONS_MAX];   /* oldest first */
};

void gc_clock_encode(const struct gc_clock *c, struct c2_buf *out);
C2_RESULT gc_clock_decode(struct c2_slice in, struct gc_clock *ret_clock);

/* Notes the present and drops what is not needed any more; true when something changed. What lies
 * in the future was noted with a clock that has been set back since, and does not count. */
bool gc_clock_tick(struct gc_clock *c, uint64_t wall_ns, uint64_t version, uint64_t session,
                   uint64_t retention_ns, uint64_t orphan_age_ns);
/* The newest version that is known to be `age` old; 0 = none. With age 0 that is `version`. */
uint64_t gc_clock_version_before(const struct gc_clock *c, uint64_t wall_ns, uint64_t age_ns,
                                 uint64_t version);
/* Sessions smaller than this one ended at least `age` ago; 0 = none is known to have. */
uint64_t gc_clock_session_before(const struct gc_clock *c, uint64_t wall_ns, uint64_t age_ns);

void gc_sentence_encode(uint64_t wall_ns, struct c2_slice object_record, struct c2_buf *out);
/* ret->ref.oid stays. */
C2_RESULT gc_sentence_decode(struct c2_slice in, struct fs_object_record *ret);

#endif
