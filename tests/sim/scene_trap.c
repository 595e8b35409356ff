/* SPDX-License-Identifier: MIT */
/*
 * Traps in which other implementations of such protocols were stuck for ever, or worse. Each is a
 * script: which messages do not arrive until when, who crashes when. In the end every request must
 * be answered and every replica that is up must have everything. The seed picks the trap (and its
 * delays), so as many seeds in a row as there are traps are all of them.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "tests/sim/trap.h"

#define LIVE_NS (120 * C2_NS_PER_S)
#define POLL_NS (2 * C2_NS_PER_MS)
#define HOLD_NS (900 * C2_NS_PER_MS)

/* ---- conditions and deeds -------------------------------------------------------------------- */

struct bft_info
bs_info(struct bs *s, unsigned i)
{
    struct bft_info in = { .mode = BFT_BOOTING };
    if (s->proc[i].up)
        bft_info(s->proc[i].core, &in);
    return in;
}

uint64_t
bs_highest_view(struct bs *s)
{
    uint64_t view = 0;
    for (unsigned i = 0; i < s->config.n; i++)
        view = C2_MAX(view, bs_info(s, i).view);
    return view;
}

uint64_t
bs_highest_executed(struct bs *s)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < s->config.n; i++)
        n = C2_MAX(n, bs_info(s, i).executed);
    return n;
}

void
bs_put_down(struct bs *s, unsigned i)
{
    s->proc[i].keep_down = true;
    if (s->proc[i].up)
        bs_crash(&s->proc[i]);
}

void
bs_have_patience(struct bs *s)
{
    s->timing.request_ns = 10 * C2_NS_PER_S;
}

void
bs_keep(struct bs *s, unsigned from, unsigned what, struct c2_slice msg)
{
    c2_blob_unref(s->kept[from][what]);
    s->kept[from][what] = c2_blob_copy(msg.data, msg.len);
}

void
bs_give_kept(struct bs *s, unsigned from, unsigned to, unsigned what)
{
    bs_deliver(s, &s->proc[from], &s->proc[to], s->kept[from][what]);
}

void
bs_crash_and_start(struct bs *s, unsigned i)
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

bool
bs_is_vote_before_view(unsigned type, unsigned wanted, struct c2_slice msg, uint64_t view)
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

/* ---- 1: a NEW-VIEW names VIEW-CHANGEs whose authors do not send them ------------------------ */

static void
first_primary_down(struct bs *s, unsigned *stage)
{
    if (*stage == 0 && bs_highest_executed(s) >= 3) {
        bs_put_down(s, 0);
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

/* ---- 2: whoever was away asks for the highest view, not for the last one it saw ------------- */

static bool
third_returns_in_view_2(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                        unsigned type, struct c2_slice msg)
{
    bool third = from->index == 3 || to->index == 3;
    return mute_first(type, msg) || (type == MSG_NEW_VIEW && from->index == 1) ||
           (third && bs_highest_view(s) < 2);
}

/* ---- 3: a state transfer ends while a view change waits for this replica -------------------- */

static void
transfer_then_view(struct bs *s, unsigned *stage)
{
    if (*stage == 0 && bs_info(s, 3).mode == BFT_SYNCING) {
        bs_put_down(s, 0);
        *stage = 1;
    }
}

static bool
third_is_left_behind(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                     unsigned type, struct c2_slice msg)
{
    bool third = from->index == 3 || to->index == 3;
    (void)msg;
    if (bs_highest_executed(s) < 30)
        return third;
    bool early = type == MSG_STATE && bs_highest_view(s) == 0;
    return to->index == 3 && (early || type == MSG_DECIDED);
}

/* ---- 4: the new primary lacks a batch it must propose again --------------------------------- */

static void
down_after_prepared(struct bs *s, unsigned *stage)
{
    if (*stage == 0 && bs_info(s, 2).committed_to >= 1 && bs_info(s, 3).committed_to >= 1) {
        bs_put_down(s, 0);
        *stage = 1;
    }
}

static bool
first_successor_knows_nothing(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                              unsigned type, struct c2_slice msg)
{
    (void)s;
    bool body = type == MSG_PRE_PREPARE || type == MSG_BODY || type == MSG_DECIDED;
    return bs_is_vote_before_view(type, MSG_COMMIT, msg, 1) ||
           (to->index == 1 && body && from->index != 3) ||
           (to->index == 1 && type == MSG_PRE_PREPARE);
}

/* ---- 5, 6: restarts in the middle of a view change ------------------------------------------ */

static void
restart_leaving(struct bs *s, unsigned *stage)
{
    for (unsigned i = 0; i < s->config.n; i++) {
        if ((*stage >> i & 1) == 0 && bs_info(s, i).leaving && s->proc[i].started) {
            bs_crash_and_start(s, i);
            *stage |= 1u << i;
        }
    }
}

bool
bs_first_is_mute(struct bs *s, const struct bs_proc *from, const struct bs_proc *to, unsigned type,
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
    if (*stage >= 40 || !bs_info(s, 2).leaving)
        return;
    if (*stage % 10 == 9)
        bs_crash_and_start(s, *stage / 10);
    ++*stage;
}

static bool
no_new_view_at_first(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                     unsigned type, struct c2_slice msg)
{
    (void)from;
    (void)to;
    return mute_first(type, msg) || (type == MSG_NEW_VIEW && bs_highest_view(s) < 2);
}

/* ---- 7: the second view change begins while the first one is under way ---------------------- */

static bool
two_primaries_are_mute(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                       unsigned type, struct c2_slice msg)
{
    (void)s;
    (void)to;
    return mute_first(type, msg) || (type == MSG_NEW_VIEW && from->index == 1);
}

/* ---- 8, 9, 10: checkpoints that not everybody knows ----------------------------------------- */

static void
down_after_checkpoint(struct bs *s, unsigned *stage)
{
    if (*stage == 0 && bs_info(s, 0).stable >= BS_INTERVAL && bs_info(s, 1).stable >= BS_INTERVAL) {
        bs_put_down(s, 0);
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
    return bs_highest_view(s) == 0 && (type == MSG_CHECKPOINT || type == MSG_STABLE);
}

static void
down_after_two_checkpoints(struct bs *s, unsigned *stage)
{
    if (*stage == 0 && bs_info(s, 1).stable >= 2 * BS_INTERVAL) {
        bs_put_down(s, 0);
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

/* ---- 12: COMMITs were sent, nothing was decided --------------------------------------------- */

static bool
no_commit_before_view_2(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                        unsigned type, struct c2_slice msg)
{
    (void)s;
    (void)from;
    (void)to;
    return bs_is_vote_before_view(type, MSG_COMMIT, msg, 2);
}

/* ---- 13: a replica fetches the state it should have, and is needed at once ------------------ */

static void
lost_store_then_needed(struct bs *s, unsigned *stage)
{
    if (*stage == 0 && bs_info(s, 3).stable >= BS_INTERVAL) {
        bs_crash(&s->proc[3]);
        bs_lose_store(&s->proc[3]);
        bs_start(&s->proc[3]);
        *stage = 1;
    }
    if (*stage == 1 && s->proc[3].started && bs_info(s, 3).mode == BFT_RUNNING &&
        bs_info(s, 3).executed >= BS_INTERVAL) {
        bs_put_down(s, 2);
        *stage = 2;
    }
}

/* ---- 14: decisions arrive while the view is being left -------------------------------------- */

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

/* ---- 15: the primary has one link only ------------------------------------------------------ */

static bool
one_link(struct bs *s, const struct bs_proc *from, const struct bs_proc *to, unsigned type,
         struct c2_slice msg)
{
    (void)s;
    (void)type;
    (void)msg;
    return (from->index == 0 && to->index >= 2) || (to->index == 0 && from->index >= 2);
}

/* ---- all of them ---------------------------------------------------------------------------- */

static const struct bs_trap traps[] = {
    { .name = "authors of VIEW-CHANGEs are silent",
      .poll = first_primary_down,
      .filter = only_the_third_tells,
      .stages = 1,
      .view = 1 },
    { .name = "the highest view, not the last quorum",
      .filter = third_returns_in_view_2,
      .view = 2 },
    { .name = "state transfer ends in a view change",
      .poll = transfer_then_view,
      .filter = third_is_left_behind,
      .requests = 60,
      .stages = 1,
      .view = 1 },
    { .name = "new primary lacks a batch",
      .poll = down_after_prepared,
      .filter = first_successor_knows_nothing,
      .stages = 1,
      .view = 1 },
    { .name = "restart while leaving",
      .poll = restart_leaving,
      .filter = none_before_restarts,
      .stages = 7,
      .view = 1 },
    { .name = "VIEW-CHANGE again, byte by byte",
      .poll = restart_all_leaving,
      .filter = no_new_view_at_first,
      .stages = 40,
      .view = 2 },
    { .name = "view change in a view change", .filter = two_primaries_are_mute, .view = 2 },
    { .name = "2f know the checkpoint",
      .poll = down_after_checkpoint,
      .filter = two_know_the_checkpoint,
      .requests = 60,
      .stages = 1,
      .view = 1 },
    { .name = "window full in a new view",
      .filter = no_checkpoint_in_view_0,
      .requests = 60,
      .view = 1 },
    { .name = "different checkpoints",
      .poll = down_after_two_checkpoints,
      .filter = each_knows_another_checkpoint,
      .requests = 60,
      .stages = 1,
      .view = 1 },
    { .name = "a poisoned VIEW-CHANGE",
      .filter = bs_first_is_mute,
      .view = 1,
      .lies = 1u << BS_LIE_HIDE,
      .liar = 3 },
    { .name = "COMMITs without a decision", .filter = no_commit_before_view_2, .view = 2 },
    { .name = "transfer of the same height",
      .poll = lost_store_then_needed,
      .requests = 60,
      .stages = 2 },
    { .name = "decisions while leaving", .filter = commits_come_late, .view = 1 },
    { .name = "primary outside of the core", .filter = one_link },
};

static const struct bs_trap *
trap_of(uint64_t seed)
{
    const struct {
        const struct bs_trap *list;
        size_t count;
    } all[] = {
        { traps, C2_ARRAY_LEN(traps) },
        { bs_lie_traps, bs_lie_traps_count },
        { bs_restart_traps, bs_restart_traps_count },
        { bs_view_traps, bs_view_traps_count },
        { bs_clock_traps, bs_clock_traps_count },
    };
    size_t count = 0;
    for (size_t k = 0; k < C2_ARRAY_LEN(all); k++)
        count += all[k].count;
    size_t i = seed % count;
    size_t k = 0;
    while (i >= all[k].count)
        i -= all[k++].count;
    return &all[k].list[i];
}

uint64_t
bs_trap_delay(struct bs *s, const struct bs_proc *from, struct c2_slice msg)
{
    struct msg_head h;
    if (s->trap->delay == NULL || msg_read_head(msg, &h) != C2_E_OK)
        return 0;
    return s->trap->delay(s, from, h.type);
}

static void
poll_due(struct c2_timer *t)
{
    struct bs *s = C2_CONTAINER_OF(t, struct bs, look);
    if (s->trap->poll != NULL)
        s->trap->poll(s, &s->stage);
    s->converged = s->done && s->stage >= s->trap->stages && bs_converged(s);
    if (!s->converged)
        sim_arm(s->w, t, s->w->now_ns + POLL_NS);
}

static void
set_up(struct bs *s, const struct bs_trap *trap)
{
    s->delay_ns = sim_rng_scale(&s->rng, 100000, 8 * C2_NS_PER_MS);
    s->trap = trap;
    s->filter = trap->filter;
    s->clean = trap->lies == 0;
    s->proc[trap->liar].faulty = trap->lies != 0;
    s->proc[trap->liar].lies = trap->lies;
    if (trap->damaged != 0)
        s->proc[trap->damaged - 1].rotten = true;
    if (trap->prepare != NULL)
        trap->prepare(s);
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
}

void
sim_scene_trap(uint64_t seed, const struct sim_options *o, struct sim_tally *tally)
{
    const struct bs_trap *trap = trap_of(seed);
    struct bs *s = bs_new("trap", seed, o, trap->f != 0 ? trap->f : 1);
    sim_trace(s->w, "trap", "%s", trap->name);
    set_up(s, trap);
    sim_run_until(s->w, &s->converged, LIVE_NS, trap->name);
    bs_check_end(s);
    SIM_CHECK(s->w, bs_highest_view(s) >= trap->view, "%s: it did not happen (view %llu)",
              trap->name, (unsigned long long)bs_highest_view(s));
    SIM_CHECK(s->w, !trap->stays || bs_highest_view(s) == 0, "%s: the view was left", trap->name);
    bs_free(s, tally);
}
