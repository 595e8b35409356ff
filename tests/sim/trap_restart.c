/* SPDX-License-Identifier: MIT */
/*
 * Traps for replicas that start again: what their log and their store say must be all that they
 * need to know, and they must not believe that they know more.
 */
#include "tests/sim/trap.h"

#define WINDOW (2 * BS_INTERVAL)

static bool
is_checkpoint(unsigned type)
{
    return type == MSG_CHECKPOINT || type == MSG_STABLE;
}

/* ---- a checkpoint becomes stable while a primary's own NEW-VIEW goes to the log -------------- */

enum { NO_VIEW_YET, VIEW_IS_LEFT, NEW_VIEW_IS_LOGGED, PRIMARY_PROPOSES, PRIMARY_STARTS_AGAIN };
enum { KEPT_CHECKPOINT, KEPT_VIEW_CHANGE };

/* The first successor has everything but the last VIEW-CHANGE; with it, at once, what makes its
 * checkpoint stable: its log has the NEW-VIEW, and then again that the view before was left. */
static void
new_view_then_stable(struct bs *s)
{
    bs_give_kept(s, 3, 1, KEPT_VIEW_CHANGE);
    s->stage = NEW_VIEW_IS_LOGGED;
    bs_give_kept(s, 2, 1, KEPT_CHECKPOINT);
    bs_give_kept(s, 3, 1, KEPT_CHECKPOINT);
    SIM_CHECK(s->w, bs_info(s, 1).stable == BS_INTERVAL && bs_info(s, 1).leaving,
              "the checkpoint is not stable in time");
}

static bool
successor_is_ready(struct bs *s)
{
    return s->kept[1][KEPT_CHECKPOINT] != NULL && s->kept[2][KEPT_CHECKPOINT] != NULL &&
           s->kept[3][KEPT_CHECKPOINT] != NULL && s->kept[2][KEPT_VIEW_CHANGE] != NULL &&
           s->kept[1][KEPT_VIEW_CHANGE] != NULL;
}

static bool
checkpoint_waits_for_new_view(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                              unsigned type, struct c2_slice msg)
{
    struct msg_checkpoint c;
    if (s->stage >= NEW_VIEW_IS_LOGGED)
        return false;
    if (is_checkpoint(type)) {
        bool first = msg_read_checkpoint(msg, &c) == C2_E_OK && c.n == BS_INTERVAL;
        if (type == MSG_CHECKPOINT && first)
            bs_keep(s, from->index, KEPT_CHECKPOINT, msg);
        return true;
    }
    if (type != MSG_VIEW_CHANGE || s->stage != VIEW_IS_LEFT)
        return type == MSG_BODY && to->index == 1; /* nobody passes one on */
    bs_keep(s, from->index, KEPT_VIEW_CHANGE, msg);
    bool last = from->index == 3 && to->index == 1;
    if (last && successor_is_ready(s))
        new_view_then_stable(s);
    return last;
}

static void
primary_starts_again(struct bs *s, unsigned *stage)
{
    struct bft_info in = bs_info(s, 1);
    bool all = bs_info(s, 2).executed >= BS_INTERVAL && bs_info(s, 3).executed >= BS_INTERVAL;
    if (*stage == NO_VIEW_YET && in.executed >= BS_INTERVAL && all) {
        bs_put_down(s, 0);
        *stage = VIEW_IS_LEFT;
    } else if (*stage == NEW_VIEW_IS_LOGGED && !in.leaving && in.view == 1 &&
               in.count.proposed > 0) {
        *stage = PRIMARY_PROPOSES;
        bs_crash_and_start(s, 1);
    } else if (*stage == PRIMARY_PROPOSES && in.mode == BFT_RUNNING) {
        *stage = PRIMARY_STARTS_AGAIN; /* the network has them twice */
        bs_give_kept(s, 2, 1, KEPT_VIEW_CHANGE);
        bs_give_kept(s, 3, 1, KEPT_VIEW_CHANGE);
    }
}

/* ---- a disk is lost while what this replica has voted for is not decided --------------------- */

#define LOST_ON_WAY 10  /* polls until what it sent before has arrived */
#define LOST_HOLD   200 /* polls until anything is decided again */

static void
new_keys(struct bs *s)
{
    s->admin_kind = 1;
    s->admin_at = 20;
}

/* In the epoch with the new keys, where there are any. */
static unsigned
epoch_of_loss(const struct bs *s)
{
    return s->admin_kind != 0;
}

static void
lose_disk_of_third(struct bs *s, unsigned *stage)
{
    struct bs_proc *p = &s->proc[3];
    unsigned epoch = epoch_of_loss(s);
    struct bft_info in = bs_info(s, 3);
    if (*stage == 0 && s->have_epoch[epoch] && in.epoch == epoch &&
        in.committed_to > s->epochs[epoch].base) {
        bs_crash(p);
        bs_lose_store(p);
        bs_lose_log(p);
        bs_start(p);
        *stage = 1;
    } else if (*stage > 0 && *stage < LOST_HOLD && p->started) {
        ++*stage;
    }
}

/* Whatever the third votes for now, it may have voted for something else before; with its new key,
 * too. */
static bool
third_must_not_vote(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                    unsigned type, struct c2_slice msg)
{
    struct msg_head h;
    struct msg_votes v;
    unsigned epoch = epoch_of_loss(s);
    if (s->stage > LOST_ON_WAY && from->index == 3 && msg_read_votes(msg, &h, &v) == C2_E_OK) {
        for (uint32_t i = 0; i < v.count; i++)
            SIM_CHECK(s->w, v.vote[i].n > s->epochs[epoch].base + WINDOW,
                      "a replica that has lost its log votes on %llu in epoch %u",
                      (unsigned long long)v.vote[i].n, epoch);
    }
    return s->stage < LOST_HOLD && bs_info(s, to->index).epoch == epoch &&
           (type == MSG_COMMIT || is_checkpoint(type));
}

/* ---- the log does not have a batch that was executed, and it is proposed again --------------- */

static void
first_is_gone_third_starts_again(struct bs *s, unsigned *stage)
{
    if (*stage == 0 && bs_info(s, 3).executed > BS_INTERVAL) {
        bs_put_down(s, 0);
        bs_crash_and_start(s, 3);
        *stage = 1;
    }
}

/* The first primary decides. Only the third hears of it, and of nothing else: it executes what it
 * has never voted for. What it asks for first is not answered. */
static bool
third_hears_of_decisions_only(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                              unsigned type, struct c2_slice msg)
{
    struct msg_body b;
    bool others = to->index == 1 || to->index == 2;
    (void)from;
    if (others && (bs_is_vote_before_view(type, MSG_COMMIT, msg, 1) ||
                   (type == MSG_DECIDED && bs_highest_view(s) == 0)))
        return true;
    if (s->stage == 0)
        return is_checkpoint(type) || (to->index == 3 && type != MSG_DECIDED && type != MSG_STATUS);
    if (to->index != 3 || msg_read_body(msg, &b) != C2_E_OK || b.kind != MSG_BODY_BATCH)
        return false;
    if (s->mark == 0)
        s->mark = s->w->now_ns + s->timing.fetch_ns;
    return s->w->now_ns < s->mark;
}

/* ---- votes of an epoch are in the log before the record that says so again ------------------- */

#define EPOCH_LONG                                                                                 \
    5 /* checkpoints of it: only empty batches are left, one after the other, and the              \
         record of the one before is in a part of the log that is trimmed */
#define EPOCH_HOLD 50 /* polls until the log has been trimmed */

static uint64_t
late_checkpoint(const struct bs *s)
{
    return s->have_epoch[1] ? s->epochs[1].base + EPOCH_LONG * BS_INTERVAL : UINT64_MAX;
}

/* The third learns that the checkpoint is stable when it has voted for what comes after it. */
static void
stable_after_votes(struct bs *s, unsigned *stage)
{
    uint64_t late = late_checkpoint(s);
    unsigned kept = 0;
    struct bft_info in = bs_info(s, 3);
    for (unsigned from = 0; from < 3; from++)
        kept += s->kept[from][KEPT_CHECKPOINT] != NULL;
    if (*stage == 0 && kept >= 2 && in.committed_to > late && in.executed > late) {
        for (unsigned from = 0; from < 3; from++) {
            if (s->kept[from][KEPT_CHECKPOINT] != NULL)
                bs_give_kept(s, from, 3, KEPT_CHECKPOINT);
        }
        SIM_CHECK(s->w, bs_info(s, 3).stable == late, "the checkpoint is not stable in time");
        *stage = 1;
    } else if (*stage == EPOCH_HOLD) {
        bs_put_down(s, 0);
        bs_crash_and_start(s, 3);
        *stage = EPOCH_HOLD + 1;
    } else if (*stage == EPOCH_HOLD + 1) {
        *stage += in.view > 0 && !in.leaving;
    } else if (*stage > 0 && *stage < EPOCH_HOLD) {
        ++*stage;
    }
}

/* ... and when it has started again nobody tells it what it has voted for. */
static bool
third_waits_for_checkpoint(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                           unsigned type, struct c2_slice msg)
{
    struct msg_checkpoint c;
    struct msg_stable st;
    uint64_t late = late_checkpoint(s);
    if (to->index != 3)
        return false;
    if (s->stage > EPOCH_HOLD)
        return bs_highest_view(s) == 0 && (type == MSG_PRE_PREPARE || type == MSG_DECIDED);
    if (msg_read_checkpoint(msg, &c) == C2_E_OK && c.n == late)
        bs_keep(s, from->index, KEPT_CHECKPOINT, msg);
    return (msg_read_checkpoint(msg, &c) == C2_E_OK && c.n >= late) ||
           (type == MSG_STABLE && msg_read_stable(msg, &st) == C2_E_OK && st.c.n >= late);
}

/* ---- a fetch is interrupted, and the log does not know of what ------------------------------- */

#define FETCH_LASTS 10
#define FETCH_HOLD  150 /* polls until it hears of a checkpoint */

static void
interrupt_fetch(struct bs *s, unsigned *stage)
{
    struct bs_proc *p = &s->proc[3];
    if (*stage == 0 && bs_info(s, 3).mode != BFT_SYNCING)
        return;
    if (*stage == FETCH_LASTS) {
        bs_crash(p);
        bs_lose_log(p);
        bs_start(p);
    }
    if (*stage < FETCH_HOLD && (*stage != FETCH_LASTS + 1 || p->started))
        ++*stage;
}

static bool
third_hears_of_batches_only(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                            unsigned type, struct c2_slice msg)
{
    bool third = from->index == 3 || to->index == 3;
    (void)msg;
    if (s->stage == 0 && bs_highest_executed(s) < 30)
        return third;
    if (to->index != 3 || s->stage >= FETCH_HOLD)
        return false;
    return type == MSG_STATE ||
           (s->stage <= FETCH_LASTS ? type == MSG_DECIDED : is_checkpoint(type));
}

/* ---- power is cut everywhere at once, again and again ---------------------------------------- */

#define OUTAGES 12

static void
cut_all(struct bs *s, unsigned *stage)
{
    bool all = true;
    for (unsigned i = 0; i < s->config.n; i++)
        all = all && s->proc[i].started;
    if (*stage == OUTAGES || !all || bs_highest_executed(s) < *stage)
        return;
    for (unsigned i = 0; i < s->config.n; i++) {
        bs_crash(&s->proc[i]);
        sim_arm(s->w, &s->proc[i].restart,
                s->w->now_ns + sim_rng_scale(&s->rng, 1000, 100 * C2_NS_PER_MS));
    }
    ++*stage;
}

/* ---- a replica is replaced while it is down -------------------------------------------------- */

enum { IS_DOWN = 1, IS_BACK, KNOWS };

static void
replace_third_that_is_down(struct bs *s)
{
    s->admin_kind = 2;
    s->admin_seat = 3;
    s->admin_at = 20;
    bs_start(&s->proc[s->config.n]); /* the new one */
}

static void
third_comes_too_late(struct bs *s, unsigned *stage)
{
    struct bs_proc *p = &s->proc[3];
    if (*stage == 0 && p->started && bs_info(s, 3).executed >= 2) {
        bs_crash(p);
        *stage = IS_DOWN;
    } else if (*stage == IS_DOWN && s->have_epoch[1] &&
               bs_info(s, 0).executed > s->epochs[1].base) {
        bs_start(p);
        *stage = IS_BACK;
    } else if (*stage == IS_BACK && bs_info(s, 3).mode == BFT_REMOVED) {
        SIM_CHECK(s->w, bs_info(s, 3).former && (p->alarms >> BFT_ALARM_REMOVED & 1) != 0,
                  "a replica that was replaced does not say so");
        *stage = KNOWS;
    }
}

/* ---- all of them ---------------------------------------------------------------------------- */

const struct bs_trap bs_restart_traps[] = {
    { .name = "a checkpoint beside a NEW-VIEW",
      .poll = primary_starts_again,
      .filter = checkpoint_waits_for_new_view,
      .requests = 60,
      .stages = PRIMARY_STARTS_AGAIN,
      .view = 1 },
    { .name = "a lost log",
      .poll = lose_disk_of_third,
      .filter = third_must_not_vote,
      .stages = LOST_HOLD,
      .damaged = 1 + 3 },
    { .name = "a key is not new because the log is",
      .prepare = new_keys,
      .poll = lose_disk_of_third,
      .filter = third_must_not_vote,
      .requests = 100,
      .stages = LOST_HOLD,
      .damaged = 1 + 3 },
    { .name = "a fetch without a target",
      .poll = interrupt_fetch,
      .filter = third_hears_of_batches_only,
      .requests = 60,
      .stages = FETCH_HOLD,
      .damaged = 1 + 3 },
    { .name = "a batch that was executed",
      .prepare = bs_have_patience,
      .poll = first_is_gone_third_starts_again,
      .filter = third_hears_of_decisions_only,
      .requests = 60,
      .stages = 1,
      .view = 1 },
    { .name = "votes before their epoch",
      .prepare = new_keys,
      .poll = stable_after_votes,
      .filter = third_waits_for_checkpoint,
      .requests = 24,
      .stages = EPOCH_HOLD + 2,
      .view = 1 },
    { .name = "replaced while it was down",
      .prepare = replace_third_that_is_down,
      .poll = third_comes_too_late,
      .requests = 60,
      .stages = KNOWS },
    { .name = "all at once", .poll = cut_all, .requests = 60, .stages = OUTAGES },
};

const unsigned bs_restart_traps_count = C2_ARRAY_LEN(bs_restart_traps);
