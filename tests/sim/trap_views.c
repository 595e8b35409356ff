/* SPDX-License-Identifier: MIT */
/*
 * Traps around a view change: what was given up with a view, two NEW-VIEWs for one view, and one
 * that never comes.
 */
#include "tests/sim/trap.h"

/* ---- a proposal of a view that the others have given up -------------------------------------- */

enum { KEPT_FIRST };

/* The third has not left the first view, but knows what was decided in the second. */
static void
given_up_arrives(struct bs *s, unsigned *stage)
{
    struct bft_info in = bs_info(s, 3);
    if (*stage == 0 && s->kept[0][KEPT_FIRST] != NULL && in.executed >= 1) {
        SIM_CHECK(s->w, in.view == 0 && !in.leaving, "the third has left the view");
        bs_give_kept(s, 0, 3, KEPT_FIRST);
        *stage = 1;
    }
}

static bool
third_hears_of_decisions_only(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                              unsigned type, struct c2_slice msg)
{
    struct msg_pre_prepare m;
    if (s->stage > 0)
        return false;
    if (msg_read_pre_prepare(msg, &m) == C2_E_OK && m.p.view == 0) {
        if (m.p.n == 1)
            bs_keep(s, from->index, KEPT_FIRST, msg);
        return true;
    }
    return to->index == 3 && type != MSG_DECIDED;
}

/* ---- a primary makes two NEW-VIEWs, both good ------------------------------------------------ */

enum { THIRD_PREPARES_FIRST, OTHERS_PREPARE_SECOND, TWO_VIEWS, BOTH_ARE_KNOWN, ONE_IS_LEFT };
enum { KEPT_NEW_VIEW };
#define ALL_VOTE_NS (500 * C2_NS_PER_MS) /* until everybody has voted for the first batch alone */

static void
primary_has_a_twin(struct bs *s)
{
    struct bs_proc *twin = bs_add_proc(s, 1);
    s->proc[1].faulty = twin->faulty = true;
    s->clean = false;
    bs_have_patience(s);
    for (unsigned i = 0; i < s->nprocs; i++)
        s->proc[i].skew_ns = 0; /* nobody waits with a vote */
    bs_start(twin);
}

/* The second has decided by one of them when the other one arrives. */
static void
two_new_views(struct bs *s, unsigned *stage)
{
    struct bft_info second = bs_info(s, 2);
    unsigned twin = s->nprocs - 1;
    if (*stage == THIRD_PREPARES_FIRST && bs_info(s, 3).committed_to < 1) {
        s->mark = s->w->now_ns + ALL_VOTE_NS;
    } else if (*stage == THIRD_PREPARES_FIRST && s->w->now_ns >= s->mark) {
        *stage = OTHERS_PREPARE_SECOND;
    } else if (*stage == OTHERS_PREPARE_SECOND && bs_info(s, 0).committed_to >= 2 &&
               second.committed_to >= 2) {
        *stage = TWO_VIEWS;
    } else if (*stage == TWO_VIEWS && s->kept[twin][KEPT_NEW_VIEW] != NULL &&
               second.executed >= 2 && second.leaving && second.view == 1) {
        *stage = BOTH_ARE_KNOWN;
        bs_give_kept(s, twin, 2, KEPT_NEW_VIEW);
    } else if (*stage == BOTH_ARE_KNOWN && !second.leaving) {
        bs_put_down(s, twin);
        *stage = ONE_IS_LEFT;
    }
}

/* Votes of the first view: the third prepares one batch, the others only what comes after it. */
static bool
vote_is_lost(const struct bs *s, const struct bs_proc *to, struct c2_slice msg)
{
    struct msg_head h;
    struct msg_votes v;
    bool first = false;
    if (msg_read_votes(msg, &h, &v) != C2_E_OK || v.view > 0)
        return false;
    for (uint32_t i = 0; i < v.count; i++)
        first = first || v.vote[i].n == 1;
    bool third = to->index == 3 && s->stage == THIRD_PREPARES_FIRST;
    bool others = to->index != 3 && s->stage == OTHERS_PREPARE_SECOND && !first;
    return h.type == MSG_COMMIT || !(third || others);
}

static bool
all_are_there(const struct bs *s)
{
    bool all = true;
    for (unsigned i = 0; i < s->nprocs; i++)
        all = all && (s->proc[i].started || i == s->config.n);
    return all;
}

/* One of the twins knows what the third has prepared, the other one does not. */
static bool
twins_know_different_things(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                            unsigned type, struct c2_slice msg)
{
    struct msg_pre_prepare m;
    unsigned twin = s->nprocs - 1;
    bool to_twins = to->index == 1 || to->index == twin;
    if ((s->stage == THIRD_PREPARES_FIRST && !all_are_there(s)) || vote_is_lost(s, to, msg))
        return true;
    if (msg_read_pre_prepare(msg, &m) == C2_E_OK && m.p.view == 0)
        return m.p.n > (s->stage == THIRD_PREPARES_FIRST ? 1 : 2);
    if (type == MSG_VIEW_CHANGE && s->stage <= TWO_VIEWS)
        return from->index == (to->index == twin ? 0 : 3) && to_twins;
    if (type == MSG_BODY && s->stage <= TWO_VIEWS)
        return to_twins;
    bool views = s->stage == TWO_VIEWS || s->stage == BOTH_ARE_KNOWN;
    if (views && from->index == twin && to->index == 2 && type == MSG_NEW_VIEW)
        bs_keep(s, twin, KEPT_NEW_VIEW, msg);
    if (views && from->index == twin)
        return type != MSG_BODY; /* the other one speaks for both */
    return views && type == MSG_NEW_VIEW &&
           (to->index == 2 || s->kept[twin][KEPT_NEW_VIEW] == NULL);
}

/* ---- a NEW-VIEW of a view to come lacks something for ever ------------------------------------
 */

static bool
first_is_mute_third_incomplete(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                               unsigned type, struct c2_slice msg)
{
    return bs_first_is_mute(s, from, to, type, msg) || (from->index == 3 && type == MSG_BODY);
}

/* ---- all of them ---------------------------------------------------------------------------- */

const struct bs_trap bs_view_traps[] = {
    { .name = "a proposal that was given up",
      .poll = given_up_arrives,
      .filter = third_hears_of_decisions_only,
      .stages = 1,
      .view = 1 },
    { .name = "two NEW-VIEWs of one primary",
      .prepare = primary_has_a_twin,
      .poll = two_new_views,
      .filter = twins_know_different_things,
      .stages = ONE_IS_LEFT,
      .view = 1 },
    { .name = "a NEW-VIEW that is never complete",
      .prepare = bs_have_patience,
      .filter = first_is_mute_third_incomplete,
      .view = 1,
      .lies = 1u << BS_LIE_VIEW,
      .liar = 3 },
};

const unsigned bs_view_traps_count = C2_ARRAY_LEN(bs_view_traps);
