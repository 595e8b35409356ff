/* SPDX-License-Identifier: MIT */
/*
 * Traps in which other implementations of such protocols were stuck for ever, or worse. Each is a
 * script: which messages do not arrive until when, who crashes when. In the end every request must
 * be answered and every replica that is up must have everything. The seed picks the trap (and its
 * delays), so any fifteen seeds in a row are all of them.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "tests/sim/bft_scene.h"

#define LIVE_NS (120 * C2_NS_PER_S)
#define POLL_NS (2 * C2_NS_PER_MS)
#define HOLD_NS (900 * C2_NS_PER_MS)

struct bs_trap {
    const char *name;
    void (*poll)(struct bs *s, unsigned *stage); /* NULL = nothing happens by itself */
    bool (*filter)(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                   unsigned type, struct c2_slice msg);
    unsigned requests; /* 0 = 20 */
    unsigned stages;   /* the script must have come so far */
    uint64_t view;     /* ... and the replicas to this view */
};

/* ---- conditions and deeds -------------------------------------------------------------------- */

static struct bft_info
info(struct bs *s, unsigned i)
{
    struct bft_info in = { .mode = BFT_BOOTING };
    if (s->proc[i].up)
        bft_info(s->proc[i].core, &in);
    return in;
}

static uint64_t
highest_view(struct bs *s)
{
    uint64_t view = 0;
    for (unsigned i = 0; i < s->config.n; i++)
        view = C2_MAX(view, info(s, i).view);
    return view;
}

static uint64_t
highest_executed(struct bs *s)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < s->config.n; i++)
        n = C2_MAX(n, info(s, i).executed);
    return n;
}

static void
put_down(struct bs *s, unsigned i)
{
    s->proc[i].keep_down = true;
    if (s->proc[i].up)
        bs_crash(&s->proc[i]);
}

static void
crash_and_start(struct bs *s, unsigned i)
{
    bs_crash(&s->proc[i]);
    bs_start(&s->proc[i]);
}

static bool
is_proposal_of_view(unsigned type, struct c2_slice msg, uint64_t view)
{
    struct msg_pre_prepare m;
    return type == MSG_PRE_PREPARE && msg_read_pre_prepare(msg, &m) == C2_E_OK && m.p.view == view;
}

static bool
is_vote_before_view(unsigned type, unsigned wanted, struct c2_slice msg, uint64_t view)
{
    struct msg_head h;
    struct msg_votes v;
    return type == wanted && msg_read_votes(msg, &h, &v) == C2_E_OK && v.view < view;
}

/* The first primary's proposals do not arrive: everybody complains. */
static bool
mute_first(unsigned type, struct c2_slice msg)
{
    return is_proposal_of_view(type, msg, 0);
}

/* ---- 1: a NEW-VIEW names VIEW-CHANGEs whose authors do not send them ---------------------------
 */

static void
first_primary_down(struct bs *s, unsigned *stage)
{
    if (*stage == 0 && highest_executed(s) >= 3) {
        put_down(s, 0);
        *stage = 1;
    }
}

static bool
only_the_third_tells(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                     unsigned type, struct c2_slice msg)
{
    (void)s;
    (void)msg;
    return to->index == 3 && (type == MSG_VIEW_CHANGE || (type == MSG_BODY && from->index == 1));
}

/* ---- 2: whoever was away asks for the highest view, not for the last one it saw ----------------
 */

static bool
third_returns_in_view_2(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                        unsigned type, struct c2_slice msg)
{
    bool third = from->index == 3 || to->index == 3;
    return mute_first(type, msg) || (type == MSG_NEW_VIEW && from->index == 1) ||
           (third && highest_view(s) < 2);
}

/* ---- 3: a state transfer ends while a view change waits for this replica -----------------------
 */

static void
transfer_then_view(struct bs *s, unsigned *stage)
{
    if (*stage == 0 && info(s, 3).mode == BFT_SYNCING) {
        put_down(s, 0);
        *stage = 1;
    }
}

static bool
third_is_left_behind(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                     unsigned type, struct c2_slice msg)
{
    bool third = from->index == 3 || to->index == 3;
    (void)msg;
    if (highest_executed(s) < 30)
        return third;
    bool early = type == MSG_STATE && highest_view(s) == 0;
    return to->index == 3 && (early || type == MSG_DECIDED);
}

/* ---- 4: the new primary lacks a batch it must propose again ------------------------------------
 */

static void
down_after_prepared(struct bs *s, unsigned *stage)
{
    if (*stage == 0 && info(s, 2).committed_to >= 1 && info(s, 3).committed_to >= 1) {
        put_down(s, 0);
        *stage = 1;
    }
}

static bool
first_successor_knows_nothing(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                              unsigned type, struct c2_slice msg)
{
    (void)s;
    bool body = type == MSG_PRE_PREPARE || type == MSG_BODY || type == MSG_DECIDED;
    return is_vote_before_view(type, MSG_COMMIT, msg, 1) ||
           (to->index == 1 && body && from->index != 3) ||
           (to->index == 1 && type == MSG_PRE_PREPARE);
}

/* ---- 5, 6: restarts in the middle of a view change ----------------------------------------------
 */

static void
restart_leaving(struct bs *s, unsigned *stage)
{
    for (unsigned i = 0; i < s->config.n; i++) {
        if ((*stage >> i & 1) == 0 && info(s, i).leaving && s->proc[i].started) {
            crash_and_start(s, i);
            *stage |= 1u << i;
        }
    }
}

static bool
first_is_mute(struct bs *s, const struct bs_proc *from, const struct bs_proc *to, unsigned type,
              struct c2_slice msg)
{
    (void)s;
    (void)from;
    (void)to;
    return mute_first(type, msg);
}

static bool
none_before_restarts(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                     unsigned type, struct c2_slice msg)
{
    (void)from;
    (void)to;
    return mute_first(type, msg) || (type == MSG_NEW_VIEW && s->stage < 7);
}

/* All of them, again and again, before any NEW-VIEW arrives: what is sent again must be the same.
 */
static void
restart_all_leaving(struct bs *s, unsigned *stage)
{
    if (*stage >= 40 || !info(s, 2).leaving)
        return;
    if (*stage % 10 == 9)
        crash_and_start(s, *stage / 10);
    ++*stage;
}

static bool
no_new_view_at_first(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                     unsigned type, struct c2_slice msg)
{
    (void)from;
    (void)to;
    return mute_first(type, msg) || (type == MSG_NEW_VIEW && highest_view(s) < 2);
}

/* ---- 7: the second view change begins while the first one is under way --------------------------
 */

static bool
two_primaries_are_mute(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                       unsigned type, struct c2_slice msg)
{
    (void)s;
    (void)to;
    return mute_first(type, msg) || (type == MSG_NEW_VIEW && from->index == 1);
}

/* ---- 8, 9, 10: checkpoints that not everybody knows ---------------------------------------------
 */

static void
down_after_checkpoint(struct bs *s, unsigned *stage)
{
    if (*stage == 0 && info(s, 0).stable >= BS_INTERVAL && info(s, 1).stable >= BS_INTERVAL) {
        put_down(s, 0);
        *stage = 1;
    }
}

static bool
two_know_the_checkpoint(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                        unsigned type, struct c2_slice msg)
{
    (void)from;
    (void)msg;
    return s->proc[0].up && to->index >= 2 && (type == MSG_CHECKPOINT || type == MSG_STABLE);
}

static bool
no_checkpoint_in_view_0(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                        unsigned type, struct c2_slice msg)
{
    (void)from;
    (void)to;
    (void)msg;
    return highest_view(s) == 0 && (type == MSG_CHECKPOINT || type == MSG_STABLE);
}

static void
down_after_two_checkpoints(struct bs *s, unsigned *stage)
{
    if (*stage == 0 && info(s, 1).stable >= 2 * BS_INTERVAL) {
        put_down(s, 0);
        *stage = 1;
    }
}

static bool
each_knows_another_checkpoint(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                              unsigned type, struct c2_slice msg)
{
    struct msg_checkpoint c;
    (void)from;
    if (!s->proc[0].up || (type != MSG_CHECKPOINT && type != MSG_STABLE))
        return false;
    bool second = msg_read_checkpoint(msg, &c) != C2_E_OK || c.n > BS_INTERVAL;
    return to->index == 3 || (to->index == 2 && second);
}

/* ---- 12: COMMITs were sent, nothing was decided
 * -------------------------------------------------- */

static bool
no_commit_before_view_2(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                        unsigned type, struct c2_slice msg)
{
    (void)s;
    (void)from;
    (void)to;
    return is_vote_before_view(type, MSG_COMMIT, msg, 2);
}

/* ---- 13: a replica fetches the state it should have, and is needed at once
 * ----------------------- */

static void
lost_store_then_needed(struct bs *s, unsigned *stage)
{
    if (*stage == 0 && info(s, 3).stable >= BS_INTERVAL) {
        bs_crash(&s->proc[3]);
        bs_lose_store(&s->proc[3]);
        bs_start(&s->proc[3]);
        *stage = 1;
    }
    if (*stage == 1 && s->proc[3].started && info(s, 3).mode == BFT_RUNNING &&
        info(s, 3).executed >= BS_INTERVAL) {
        put_down(s, 2);
        *stage = 2;
    }
}

/* ---- 14: decisions arrive while the view is being left
 * ------------------------------------------- */

static bool
commits_come_late(struct bs *s, const struct bs_proc *from, const struct bs_proc *to, unsigned type,
                  struct c2_slice msg)
{
    uint64_t until_ns = C2_NS_PER_S + HOLD_NS;
    if (type != MSG_COMMIT || s->w->now_ns >= until_ns)
        return false;
    bs_send(s, &s->proc[from->index], &s->proc[to->index], msg, until_ns - s->w->now_ns);
    return true;
}

/* ---- 15: the primary has one link only
 * ------------------------------------------------------------ */

static bool
one_link(struct bs *s, const struct bs_proc *from, const struct bs_proc *to, unsigned type,
         struct c2_slice msg)
{
    (void)s;
    (void)type;
    (void)msg;
    return (from->index == 0 && to->index >= 2) || (to->index == 0 && from->index >= 2);
}

/* ---- all of them
 * ----------------------------------------------------------------------------------- */

static const struct bs_trap traps[] = {
    { "authors of VIEW-CHANGEs are silent", first_primary_down, only_the_third_tells, 0, 1, 1 },
    { "the highest view, not the last quorum", NULL, third_returns_in_view_2, 0, 0, 2 },
    { "state transfer ends in a view change", transfer_then_view, third_is_left_behind, 60, 1, 1 },
    { "new primary lacks a batch", down_after_prepared, first_successor_knows_nothing, 0, 1, 1 },
    { "restart while leaving", restart_leaving, none_before_restarts, 0, 7, 1 },
    { "VIEW-CHANGE again, byte by byte", restart_all_leaving, no_new_view_at_first, 0, 40, 2 },
    { "view change in a view change", NULL, two_primaries_are_mute, 0, 0, 2 },
    { "2f know the checkpoint", down_after_checkpoint, two_know_the_checkpoint, 60, 1, 1 },
    { "window full in a new view", NULL, no_checkpoint_in_view_0, 60, 0, 1 },
    { "different checkpoints", down_after_two_checkpoints, each_knows_another_checkpoint, 60, 1,
      1 },
    { "a poisoned VIEW-CHANGE", NULL, first_is_mute, 0, 0, 1 },
    { "COMMITs without a decision", NULL, no_commit_before_view_2, 0, 0, 2 },
    { "transfer of the same height", lost_store_then_needed, NULL, 60, 2, 0 },
    { "decisions while leaving", NULL, commits_come_late, 0, 0, 1 },
    { "primary outside of the core", NULL, one_link, 0, 0, 0 },
};

#define POISON 10

static void
poll_due(struct c2_timer *t)
{
    struct bs *s = C2_CONTAINER_OF(t, struct bs, look);
    if (s->trap->poll != NULL)
        s->trap->poll(s, &s->stage);
    s->converged = s->done && bs_converged(s);
    if (!s->converged)
        sim_arm(s->w, t, s->w->now_ns + POLL_NS);
}

void
sim_scene_trap(uint64_t seed, const struct sim_options *o, struct sim_tally *tally)
{
    const struct bs_trap *trap = &traps[seed % C2_ARRAY_LEN(traps)];
    struct bs *s = bs_new("trap", seed, o, 1);
    sim_trace(s->w, "trap", "%s", trap->name);
    s->delay_ns = sim_rng_scale(&s->rng, 100000, 8 * C2_NS_PER_MS);
    s->trap = trap;
    s->filter = trap->filter;
    s->clean = trap != &traps[POISON];
    if (!s->clean) {
        s->proc[3].faulty = true;
        s->proc[3].lies = 1u << BS_LIE_HIDE;
    }
    for (unsigned i = 0; i < s->config.n; i++)
        bs_start(&s->proc[i]);
    s->nclients = 2;
    for (unsigned i = 0; i < s->nclients; i++) {
        bs_client_init(&s->client[i], s, i);
        s->client[i].left = trap->requests != 0 ? trap->requests : 20;
        bs_client_start(&s->client[i]);
    }
    s->look.fire = poll_due;
    sim_arm(s->w, &s->look, s->w->now_ns + POLL_NS);
    sim_run_until(s->w, &s->converged, LIVE_NS, trap->name);
    bs_check_end(s);
    SIM_CHECK(s->w, s->stage >= trap->stages && highest_view(s) >= trap->view,
              "%s: it did not happen (stage %u, view %llu)", trap->name, s->stage,
              (unsigned long long)highest_view(s));
    bs_free(s, tally);
}
