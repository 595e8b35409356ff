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
 * each time when processes start with clocks that were set back. Sessions may last longer when
 * clocks are wrong; they end too early by 2 * clock_skew_ns at most, as ever.
 *
 * None of that sets a clock right, so people have to know: how far the wall clock is from the times
 * of proposals, as they come, also of those that get no vote for it. A few alone may come from a
 * primary that lies, or late; a decision whose time is right takes that back.
 */
#include "metadata/bft_int.h"

#define OFF_MIN 3 /* proposals without a good decision, before the clock is said to be wrong */

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
    bool set_back = r->time_ns > r->wall_ns + skew_ns;
    r->last_time_ns = C2_MAX(r->last_time_ns, r->time_ns);
    if (r->time_ns == 0)
        return;
    if (now_ns == 0 && set_back)
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

void
bft_clock_compare(struct bft_replica *r, struct bft_slot *s, uint64_t time_ns, bool decided)
{
    if (!s->have_proposal || s->view != r->view || s->reissued || s->held)
        return;
    uint64_t was_ns = r->wall_ns - (r->now_ns - s->seen_ns);
    int64_t ahead_ns = (int64_t)(was_ns - time_ns);
    uint64_t by_ns = ahead_ns < 0 ? 0 - (uint64_t)ahead_ns : (uint64_t)ahead_ns;
    r->clock_ahead_ns = ahead_ns;
    if (by_ns > r->config.clock_skew_ns)
        r->clock_off += !s->timed;
    else if (decided)
        r->clock_off = 0;
    s->timed = true;
}

bool
bft_clock_is_wrong(const struct bft_replica *r, int64_t *ret_ahead_ns)
{
    *ret_ahead_ns = r->clock_ahead_ns;
    return r->clock_off >= OFF_MIN;
}
