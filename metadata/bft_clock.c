/* SPDX-License-Identifier: MIT */
/*
 * The agreed time. A primary gives each batch one, from its own clock; a backup votes for it while
 * it differs from the backup's by clock_skew_ns at most. The state's is the largest of all so far,
 * so it never goes back.
 *
 * But clocks are set back, of one machine or of all at once. So each replica has a second one,
 * `steady`. It runs with the monotonic clock, keeps up with the wall clock as far as the agreed
 * time does, and is never farther away from the agreed time than clock_skew_ns. A backup votes also
 * for what is too late by its wall clock, but not by steady; a primary proposes no less than a
 * quarter of clock_skew_ns before steady. So the agreed time goes on when the clocks do not.
 *
 * No liar makes the time run by that. What a correct replica votes for is at most clock_skew_ns
 * after its wall clock or its steady; and steady is pushed up by nobody else's word but to
 * clock_skew_ns before a time that some correct replica has voted for. So none of them gets ahead
 * of what a correct wall clock would show if it had only gone on, but for half of clock_skew_ns
 * when a process starts with a clock that was set back. Sessions may last longer when clocks are
 * wrong; they end too early by 2 * clock_skew_ns at most, as ever.
 */
#include "metadata/bft_int.h"

static uint64_t
before(uint64_t time_ns, uint64_t by_ns)
{
    return time_ns > by_ns ? time_ns - by_ns : 0;
}

/* 0 = nothing is agreed yet. */
static uint64_t
steady(const struct bft_replica *r)
{
    return r->steady_ns != 0 ? r->steady_ns + (r->now_ns - r->steady_at_ns) : 0;
}

void
bft_clock_agreed(struct bft_replica *r)
{
    uint64_t skew_ns = r->config.clock_skew_ns;
    uint64_t now_ns = steady(r);
    r->last_time_ns = C2_MAX(r->last_time_ns, r->time_ns);
    if (r->time_ns == 0)
        return;
    if (now_ns == 0)
        now_ns = before(r->time_ns, skew_ns / 2);
    now_ns = C2_MAX(now_ns, C2_MIN(r->time_ns, r->wall_ns));
    now_ns = C2_MIN(C2_MAX(now_ns, before(r->time_ns, skew_ns)), r->time_ns + skew_ns);
    r->steady_ns = C2_MAX(now_ns, 1);
    r->steady_at_ns = r->now_ns;
}

bool
bft_clock_accepts(const struct bft_replica *r, uint64_t time_ns)
{
    uint64_t skew_ns = r->config.clock_skew_ns;
    return time_ns <= C2_MAX(r->wall_ns, steady(r)) + skew_ns && time_ns + skew_ns >= r->wall_ns;
}

void
bft_clock_new_view(struct bft_replica *r)
{
    if (!bft_clock_accepts(r, r->last_time_ns))
        r->last_time_ns = r->time_ns;
}

uint64_t
bft_clock_propose(struct bft_replica *r)
{
    uint64_t least_ns = before(steady(r), r->config.clock_skew_ns / 4);
    r->last_time_ns = C2_MAX(C2_MAX(r->wall_ns, least_ns), r->last_time_ns + 1);
    return r->last_time_ns;
}
