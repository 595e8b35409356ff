/* SPDX-License-Identifier: MIT */
/*
 * A primary that does everything right, but slowly: just below the patience of those that wait.
 *
 * A backup that hears of a request before it is proposed passes it on to the primary at once. From
 * then on a correct primary needs the way there and back. The measure for that is how long the
 * other replicas need to agree on a proposal, two such ways and their disks: nothing of it is in
 * the primary's hands. When most requests of a session took several times as long, for a while and
 * often enough, the backup wishes for another view; a quorum must have seen the same. Each session
 * counts for itself, so that a primary cannot starve one and please the others.
 *
 * Not measured: what waited behind a full pipeline (that is load) or behind more of its own key
 * than a primary lets through at once, and what this replica did not pass on itself (a client could
 * make any primary look slow). Clients ask all replicas only after a while: of what the primary had
 * before, a backup sees the rest of the time, which is why some that look fast excuse nothing. The
 * patience doubles with each view left for this reason, until one lasts: where all are slow,
 * changing them does not help.
 */
#include "base/mark.h"
#include "metadata/bft_int.h"

#define SAMPLES      8 /* at least */
#define WAYS         4 /* times what an agreement takes */
#define WEIGHT       8 /* of what was measured before, against one more */
#define BACKOFF_MAX  6
#define LASTS_FACTOR 4 /* a view that lasted so many times the patience was good */

static uint64_t
patience_ns(const struct bft_replica *r)
{
    return r->setup.timing.slow_ns << r->slow_views;
}

static uint64_t
limit_ns(const struct bft_replica *r)
{
    const struct bft_timing *t = &r->setup.timing;
    return WAYS * r->agree_ns + 2 * t->batch_ns + t->request_ns / 10;
}

void
bft_pace_decided(struct bft_replica *r, const struct bft_slot *s)
{
    if (!s->have_proposal || s->view != r->view || s->reissued)
        return;
    uint64_t took_ns = C2_MIN(r->now_ns - s->seen_ns, r->setup.timing.request_ns);
    if (r->agree_ns == 0)
        r->agree_ns = took_ns;
    r->agree_ns = (r->agree_ns * (WEIGHT - 1) + took_ns) / WEIGHT;
}

bool
bft_pace_crowded(const struct bft_replica *r, uint64_t n)
{
    return n > r->issued + r->setup.limits.in_flight / 2;
}

static void
replace_primary(struct bft_replica *r)
{
    if (r->now_ns >= r->view_ns + LASTS_FACTOR * patience_ns(r))
        r->slow_views = 0;
    if (r->slow_views < BACKOFF_MAX)
        r->slow_views++;
    C2_MARK("bft: the primary is slow");
    r->count.slow_primaries++;
    bft_wish(r, r->view + 1);
}

void
bft_pace_request(struct bft_replica *r, const struct bft_slot *s, uint64_t session,
                 uint64_t passed_ns)
{
    if (passed_ns == 0 || r->phase != BFT_NORMAL || bft_is_primary(r) || !s->have_proposal ||
        s->view != r->view || s->reissued || s->crowded || passed_ns >= s->seen_ns)
        return;
    struct bft_session *e = bft_session_find(r, session);
    if (e == NULL)
        return;
    uint64_t wait_ns = s->seen_ns - C2_MAX(passed_ns, C2_MIN(r->view_ns, s->seen_ns));
    if (e->slow + e->fast == 0 || e->pace_view != r->view) {
        e->slow = e->fast = 0;
        e->pace_view = r->view;
        e->pace_since_ns = s->seen_ns;
    }
    if (wait_ns > limit_ns(r))
        e->slow++;
    else
        e->fast++;
    if (e->slow + e->fast < SAMPLES || r->now_ns < e->pace_since_ns + patience_ns(r))
        return;
    bool guilty = e->slow > e->fast;
    e->slow = e->fast = 0;
    if (guilty)
        replace_primary(r);
}
