/* SPDX-License-Identifier: MIT */
#include "fs/gc_record.h"

#include <string.h>

#define CLOCK_VERSION    1
#define SENTENCE_VERSION 1

void
gc_clock_encode(const struct gc_clock *c, struct c2_buf *out)
{
    c2_wr_u8(out, CLOCK_VERSION);
    c2_wr_u64(out, c->orphans_wall_ns);
    c2_wr_u64(out, c->proofs);
    c2_wr_u16(out, (uint16_t)c->nsamples);
    for (size_t k = 0; k < c->nsamples; k++) {
        c2_wr_u64(out, c->samples[k].wall_ns);
        c2_wr_u64(out, c->samples[k].version);
    }
    c2_wr_u16(out, (uint16_t)c->nsessions);
    for (size_t k = 0; k < c->nsessions; k++) {
        c2_wr_u64(out, c->sessions[k].wall_ns);
        c2_wr_u64(out, c->sessions[k].session);
    }
}

C2_RESULT
gc_clock_decode(struct c2_slice in, struct gc_clock *ret_clock)
{
    struct c2_rd r = c2_rd_init(in);
    struct gc_clock c = { 0 };
    if (c2_rd_u8(&r) != CLOCK_VERSION)
        return c2_rd_ok(&r) ? C2_E_VERSION : C2_E_PARSE;
    c.orphans_wall_ns = c2_rd_u64(&r);
    c.proofs = c2_rd_u64(&r);
    c.nsamples = c2_rd_u16(&r);
    if (c.nsamples > GC_SAMPLES_MAX)
        return C2_E_PARSE;
    for (size_t k = 0; k < c.nsamples; k++) {
        c.samples[k].wall_ns = c2_rd_u64(&r);
        c.samples[k].version = c2_rd_u64(&r);
    }
    c.nsessions = c2_rd_u16(&r);
    if (c.nsessions > GC_SESSIONS_MAX)
        return C2_E_PARSE;
    for (size_t k = 0; k < c.nsessions; k++) {
        c.sessions[k].wall_ns = c2_rd_u64(&r);
        c.sessions[k].session = c2_rd_u64(&r);
    }
    C2_TRY(c2_rd_finish(&r));
    *ret_clock = c;
    return C2_E_OK;
}

static bool
is_old(uint64_t then_ns, uint64_t wall_ns, uint64_t age_ns)
{
    return then_ns <= wall_ns && wall_ns - then_ns >= age_ns;
}

static bool
drop_future(struct gc_clock *c, uint64_t wall_ns, uint64_t version)
{
    size_t samples = c->nsamples, sessions = c->nsessions;
    while (c->nsamples > 0 && (c->samples[c->nsamples - 1].wall_ns > wall_ns ||
                               c->samples[c->nsamples - 1].version > version))
        c->nsamples--;
    while (c->nsessions > 0 && c->sessions[c->nsessions - 1].wall_ns > wall_ns)
        c->nsessions--;
    if (c->orphans_wall_ns > wall_ns)
        c->orphans_wall_ns = 0;
    return c->nsamples < samples || c->nsessions < sessions;
}

/* Of those that are old enough only the newest matters. */
static bool
drop_old(struct gc_clock *c, uint64_t wall_ns, uint64_t retention_ns, uint64_t orphan_age_ns)
{
    size_t samples = 0, sessions = 0;
    while (samples + 1 < c->nsamples &&
           is_old(c->samples[samples + 1].wall_ns, wall_ns, retention_ns))
        samples++;
    while (sessions + 1 < c->nsessions &&
           is_old(c->sessions[sessions + 1].wall_ns, wall_ns, orphan_age_ns))
        sessions++;
    c->nsamples -= samples;
    c->nsessions -= sessions;
    memmove(c->samples, c->samples + samples, c->nsamples * sizeof(c->samples[0]));
    memmove(c->sessions, c->sessions + sessions, c->nsessions * sizeof(c->sessions[0]));
    return samples + sessions > 0;
}

bool
gc_clock_tick(struct gc_clock *c, uint64_t wall_ns, uint64_t version, uint64_t session,
              uint64_t retention_ns, uint64_t orphan_age_ns)
{
    bool changed = drop_future(c, wall_ns, version);
    changed = drop_old(c, wall_ns, retention_ns, orphan_age_ns) || changed;
    const struct gc_sample *last = c->nsamples > 0 ? &c->samples[c->nsamples - 1] : NULL;
    if (c->nsamples < GC_SAMPLES_MAX &&
        (last == NULL || wall_ns - last->wall_ns >= retention_ns / GC_SPACING)) {
        c->samples[c->nsamples++] = (struct gc_sample){ wall_ns, version };
        changed = true;
    }
    if (c->nsessions > 0 && c->sessions[c->nsessions - 1].session == session)
        return changed;
    if (c->nsessions == GC_SESSIONS_MAX)
        c->nsessions--; /* the others grow old meanwhile */
    c->sessions[c->nsessions++] = (struct gc_session){ wall_ns, session };
    return true;
}

uint64_t
gc_clock_version_before(const struct gc_clock *c, uint64_t wall_ns, uint64_t age_ns,
                        uint64_t version)
{
    if (age_ns == 0)
        return version;
    for (size_t k = c->nsamples; k-- > 0;) {
        if (is_old(c->samples[k].wall_ns, wall_ns, age_ns))
            return c->samples[k].version;
    }
    return 0;
}

uint64_t
gc_clock_session_before(const struct gc_clock *c, uint64_t wall_ns, uint64_t age_ns)
{
    for (size_t k = c->nsessions; k-- > 0;) {
        if (is_old(c->sessions[k].wall_ns, wall_ns, age_ns))
            return c->sessions[k].session;
    }
    return 0;
}

void
gc_sentence_encode(uint64_t wall_ns, struct c2_slice object_record, struct c2_buf *out)
{
    c2_wr_u8(out, SENTENCE_VERSION);
    c2_wr_u64(out, wall_ns);
    c2_wr_raw(out, object_record.data, object_record.len);
}

C2_RESULT
gc_sentence_decode(struct c2_slice in, struct fs_object_record *ret)
{
    struct c2_rd r = c2_rd_init(in);
    if (c2_rd_u8(&r) != SENTENCE_VERSION)
        return c2_rd_ok(&r) ? C2_E_VERSION : C2_E_PARSE;
    c2_rd_u64(&r);
    size_t left = c2_rd_left(&r);
    struct c2_slice record = c2_rd_raw(&r, left);
    if (!c2_rd_ok(&r))
        return C2_E_PARSE;
    return fs_object_rec_decode(record, ret);
}
