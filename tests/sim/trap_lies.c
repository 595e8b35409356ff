/* SPDX-License-Identifier: MIT */
/*
 * Traps with a liar, or with power cut at the worst moment. Each is what one rule of the protocol
 * is for: without the rule the script ends in a violation, or never.
 */
#include <string.h>

#include "base/mark.h"
#include "base/wire.h"
#include "tests/sim/trap.h"

#define WINDOW (2 * BS_INTERVAL)

static bool
is_view_change(unsigned type)
{
    return type == MSG_WISH || type == MSG_VIEW_CHANGE || type == MSG_NEW_VIEW;
}

/* ---- power is cut right after a vote, and the primary says something else then -------------- */

#define CUTS 80

static void
cuts_begin(struct bs *s)
{
    s->sudden = 50;
    s->sudden_ids = 1u << 1;
    s->sudden_types = 1ull << MSG_PREPARE;
}

static void
cuts_go_on(struct bs *s, unsigned *stage)
{
    struct bs_proc *p = &s->proc[1];
    *stage = p->lives;
    if (*stage >= CUTS)
        s->sudden = 0;
    else if (!p->up)
        bs_start(p);
}

/* So long only the primary talks to its victim. */
static bool
primary_has_a_victim(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                     unsigned type, struct c2_slice msg)
{
    (void)type;
    (void)msg;
    return s->sudden != 0 && to->index == 1 && from->index != 0;
}

/* ---- two views have prepared two batches for one number ------------------------------------- */

enum { ONLY_THIRD_PREPARES, THIRD_IS_AWAY, THIRD_IS_NEEDED, ALL_ARE_TOGETHER };

static void
prepare_twice(struct bs *s, unsigned *stage)
{
    bool decided = bs_info(s, 0).executed >= 1 && bs_info(s, 2).executed >= 1;
    if (*stage == ONLY_THIRD_PREPARES && bs_info(s, 3).committed_to >= 1) {
        *stage = THIRD_IS_AWAY;
    } else if (*stage == THIRD_IS_AWAY && decided) {
        bs_put_down(s, 1);
        *stage = THIRD_IS_NEEDED;
    } else if (*stage == THIRD_IS_NEEDED) {
        for (unsigned i = 0; i < s->config.n; i++) {
            if (bs_info(s, i).view >= 2 && !bs_info(s, i).leaving)
                *stage = ALL_ARE_TOGETHER;
        }
    }
}

static bool
third_knows_the_first_only(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                           unsigned type, struct c2_slice msg)
{
    bool third = from->index == 3 || to->index == 3;
    bool checkpoint = type == MSG_CHECKPOINT || type == MSG_STABLE;
    if (s->stage == ALL_ARE_TOGETHER)
        return false;
    if (checkpoint || bs_is_vote_before_view(type, MSG_COMMIT, msg, 1) ||
        (to->index != 3 && bs_is_vote_before_view(type, MSG_PREPARE, msg, 1)))
        return true;
    if (s->stage == THIRD_IS_AWAY)
        return third;
    return s->stage == THIRD_IS_NEEDED && to->index == 3 && !is_view_change(type) &&
           type != MSG_STATUS && type != MSG_BODY;
}

/* ---- power is cut right after a COMMIT, and the view is left --------------------------------- */

static void
one_cut(struct bs *s)
{
    s->sudden = 30;
    s->sudden_ids = 1u << 1;
    s->sudden_types = 1ull << MSG_COMMIT;
}

static void
cut_then_view(struct bs *s, unsigned *stage)
{
    if (*stage != 0 || s->proc[1].lives == 0)
        return;
    *stage = 1;
    s->sudden = 0;
    bs_put_down(s, 0);
    if (!s->proc[1].up)
        bs_start(&s->proc[1]);
}

/* Nobody tells it what it has known. */
static bool
first_is_not_told(struct bs *s, const struct bs_proc *from, const struct bs_proc *to, unsigned type,
                  struct c2_slice msg)
{
    (void)from;
    (void)type;
    return s->stage == 1 && to->index == 1 && bs_is_vote_before_view(type, MSG_PREPARE, msg, 1);
}

/* ---- two COMMITs, one of a liar that will not know of it ------------------------------------- */

#define TWO_ARRIVE 60 /* polls until both have arrived */

static void
two_commit(struct bs *s, unsigned *stage)
{
    if (*stage == 0 && bs_info(s, 3).committed_to >= 1 && bs_info(s, 2).committed_to >= 1)
        *stage = 1;
    else if (*stage > 0 && *stage < TWO_ARRIVE)
        ++*stage;
    else if (*stage == TWO_ARRIVE && bs_info(s, 0).executed >= 1)
        *stage = TWO_ARRIVE + 1;
}

static bool
two_are_not_enough(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                   unsigned type, struct c2_slice msg)
{
    bool third = from->index == 3 || to->index == 3;
    if (bs_is_vote_before_view(type, MSG_PREPARE, msg, 1) && to->index < 2)
        return true;
    if (bs_is_vote_before_view(type, MSG_COMMIT, msg, 1) && !(from->index == 2 && to->index == 3))
        return true;
    if (s->stage < TWO_ARRIVE)
        return is_view_change(type) || type == MSG_DECIDED;
    return s->stage == TWO_ARRIVE && third;
}

/* ---- the new primary leaves out what was prepared, and decided at one ----------------------- */

static void
down_after_a_decision(struct bs *s, unsigned *stage)
{
    if (*stage == 0 && bs_info(s, 2).executed >= 1) {
        bs_put_down(s, 0);
        *stage = 1;
    }
}

static bool
one_decides(struct bs *s, const struct bs_proc *from, const struct bs_proc *to, unsigned type,
            struct c2_slice msg)
{
    (void)from;
    (void)s;
    return (to->index != 2 && bs_is_vote_before_view(type, MSG_COMMIT, msg, 1)) ||
           (type == MSG_DECIDED && bs_highest_view(s) < 2);
}

/* ---- a liar's answer is always there before the right one ----------------------------------- */

static bool
third_must_fetch(struct bs *s, const struct bs_proc *from, const struct bs_proc *to, unsigned type,
                 struct c2_slice msg)
{
    bool third = from->index == 3 || to->index == 3;
    (void)msg;
    if (bs_highest_executed(s) < 30 && bs_info(s, 3).stable == 0)
        return third;
    return to->index == 3 && type == MSG_DECIDED && bs_info(s, 3).executed < BS_INTERVAL;
}

static uint64_t
states_take_time(struct bs *s, const struct bs_proc *from, unsigned type)
{
    (void)s;
    return type == MSG_STATE && from->lies == 0 ? 20 * C2_NS_PER_MS : 0;
}

/* ---- who lags has no complaint of its own, but is needed to leave the view ---------- */

static void
lags_without_primary(struct bs *s, unsigned *stage)
{
    if (*stage == 0 && bs_info(s, 3).stable >= BS_INTERVAL) {
        bs_crash(&s->proc[3]);
        bs_lose_store(&s->proc[3]);
        bs_start(&s->proc[3]);
        *stage = 1;
    } else if (*stage == 1 && s->proc[3].started && bs_info(s, 3).stable > 0) {
        bs_put_down(s, 0);
        *stage = 2;
    }
}

static bool
third_stays_behind(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                   unsigned type, struct c2_slice msg)
{
    (void)from;
    (void)msg;
    return s->stage > 0 && to->index == 3 && bs_highest_view(s) == 0 &&
           (type == MSG_STATE || type == MSG_DECIDED);
}

/* ---- the primary goes on after the end of an epoch ------------------------------------------- */

static void
ask_for_epoch(struct bs *s)
{
    s->admin_kind = 1;
    s->admin_at = 30;
}

static void
epoch_has_begun(struct bs *s, unsigned *stage)
{
    *stage = s->have_epoch[1];
}

/* ---- one correct member has the state with which an epoch begins ------------------------------
 */

static void
replace_third(struct bs *s)
{
    s->admin_kind = 2;
    s->admin_seat = 3;
    s->admin_at = 80;
    bs_start(&s->proc[s->config.n]); /* the new one */
}

/* The only holder goes as far as it can without a stable checkpoint of the epoch. */
static void
holder_goes_on(struct bs *s, unsigned *stage)
{
    if (*stage == 0 && s->have_epoch[1])
        *stage = 1;
    else if (*stage == 1 && bs_info(s, 0).executed >= s->epochs[1].base + WINDOW)
        *stage = 2;
}

/* The liar serves no state. Where the first one was not quick enough to have the state, it gets it
 * before it is alone with it. */
static bool
second_lags(struct bs *s, const struct bs_proc *from, const struct bs_proc *to, unsigned type,
            struct c2_slice msg)
{
    (void)msg;
    bool batch = type == MSG_PRE_PREPARE || type == MSG_DECIDED || type == MSG_BODY;
    if (s->stage == 0)
        return to->index == 2 && bs_highest_executed(s) >= 20 && (batch || type == MSG_STATE);
    struct bft_info first = bs_info(s, 0);
    bool holds = first.mode == BFT_RUNNING && first.executed >= s->epochs[1].base;
    return type == MSG_STATE && (from->index == 1 || (s->stage == 1 && holds));
}

/* Nor does it sign a checkpoint of the epoch. */
static bool
second_lags_alone(struct bs *s, const struct bs_proc *from, const struct bs_proc *to, unsigned type,
                  struct c2_slice msg)
{
    bool checkpoint = type == MSG_CHECKPOINT || type == MSG_STABLE;
    return (s->stage > 0 && checkpoint && from->index == 1) || second_lags(s, from, to, type, msg);
}

/* ---- others are in the next epoch, and one of them in the old one as well ---------------------
 */

#define OLD_LASTS 400 /* polls after something was decided in the new one */

static void
replace_third_beside_twins(struct bs *s)
{
    struct bs_proc *twin = bs_add_proc(s, 1);
    s->proc[1].faulty = twin->faulty = true;
    s->clean = false;
    replace_third(s);
    s->admin_at = 180;
    bs_start(twin);
}

static void
old_epoch_ends(struct bs *s, unsigned *stage)
{
    bool decided = s->have_epoch[1] && bs_info(s, 0).executed > s->epochs[1].base;
    if (*stage < OLD_LASTS && decided)
        ++*stage;
}

static bool
is_of_new_config(const struct bs *s, struct c2_slice msg)
{
    struct msg_checkpoint c;
    struct msg_stable st;
    struct c2_buf config = { 0 };
    uint8_t hash[MSG_DIGEST_LEN];
    bft_config_encode(&s->config, &config);
    c2_sha256(c2_buf_slice(&config), hash);
    c2_buf_done(&config);
    if (msg_read_stable(msg, &st) == C2_E_OK)
        c = st.c;
    else if (msg_read_checkpoint(msg, &c) != C2_E_OK)
        return false;
    return memcmp(c.config, hash, sizeof hash) != 0;
}

/* The second, the third and the liar's twin have executed all of the old epoch, and do not know
 * that there is another one: what they could answer is old. */
static bool
old_epoch_lasts(struct bs *s, const struct bs_proc *from, const struct bs_proc *to, unsigned type,
                struct c2_slice msg)
{
    bool behind = to->index == 2 || to->index == 3 || to->index > s->config.n;
    (void)from;
    return s->stage < OLD_LASTS && behind && (type == MSG_EPOCH || is_of_new_config(s, msg));
}

/* ---- a liar answers wrongly when it is asked, and nobody has the state any more ----------------
 */

#define CAUGHT_ON_WAY                                                                              \
    10                  /* polls after the first wrong answer until what it was asked has arrived */
#define CAUGHT_HOLD 500 /* polls until anybody else answers */

static void
liar_is_caught(struct bs *s, unsigned *stage)
{
    if (*stage > 0 && *stage < CAUGHT_HOLD)
        ++*stage;
    else if (*stage == 0 && (s->proc[3].alarms >> BFT_ALARM_EVIDENCE & 1) != 0)
        *stage = 1;
}

static bool
is_nonsense(struct c2_slice msg)
{
    struct c2_slice nonsense = c2_slice_str("nonsense");
    return msg.len > nonsense.len &&
           memcmp(msg.data + msg.len - nonsense.len, nonsense.data, nonsense.len) == 0;
}

/* Good answers arrive when the others have gone on: the target is another one then. */
static bool
liar_is_asked_once(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                   unsigned type, struct c2_slice msg)
{
    bool third = from->index == 3 || to->index == 3;
    if (bs_highest_executed(s) < 30 && bs_info(s, 3).stable == 0)
        return third;
    SIM_CHECK(s->w, type != MSG_STATE_FETCH || to->lies == 0 || s->stage < CAUGHT_ON_WAY,
              "who has sent a wrong part is asked again");
    if (to->index == 3 && type == MSG_STATE)
        return s->stage < CAUGHT_HOLD && !is_nonsense(msg);
    return to->index == 3 && type == MSG_DECIDED && bs_info(s, 3).executed < BS_INTERVAL;
}

/* ---- a liar among those who say when a quarantine ends ----------------------------------------
 */

static void
third_recovers(struct bs *s, unsigned *stage)
{
    struct bs_proc *p = &s->proc[3];
    struct bft_info in = bs_info(s, 3);
    if (*stage == 0 && in.committed_to >= 2) {
        bs_crash(p);
        bs_lose_log(p);
        bs_start(p);
        *stage = 1;
    } else if ((*stage == 1 && in.mode == BFT_QUARANTINED) ||
               (*stage == 2 && in.mode == BFT_RUNNING)) {
        ++*stage;
    }
}

/* It needs the liar for a quorum of reports. */
static bool
first_says_nothing(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                   unsigned type, struct c2_slice msg)
{
    (void)msg;
    return s->stage > 0 && from->index == 0 && to->index == 3 && type == MSG_STATUS;
}

/* ---- the primary is slow, but nobody has to wait for too long -------------------------------- */

static void
slow_below_patience(struct bs *s)
{
    s->proc[0].slow_ns = s->timing.request_ns * 7 / 10;
}

/* ---- a liar's VIEW-CHANGEs cannot be passed on, and are there first ---------------------------
 */

static void
first_lies(struct bs *s)
{
    s->proc[0].faulty = true;
    s->clean = false;
}

/* As long as a message may be, with what nobody asks for. */
static void
blow_up(struct bs_proc *p, struct c2_slice msg, struct c2_buf *out)
{
    struct msg_view_change m;
    struct msg_head h;
    struct c2_buf padding = { 0 };
    bool good = msg_read_head(msg, &h) == C2_E_OK && msg_read_view_change(msg, &m) == C2_E_OK;
    SIM_CHECK(p->s->w, good, "a malformed VIEW-CHANGE");
    size_t pad = MSG_BYTES_MAX - msg.len - 4;
    c2_buf_append(&padding, m.prepares.data, m.prepares.len);
    c2_wr_u32(&padding, (uint32_t)pad);
    memset(c2_buf_extend(&padding, pad), 7, pad);
    m.nprepares++;
    m.prepares = c2_buf_slice(&padding);
    msg_write_view_change(out, &h, &m);
    c2_buf_extend(out, MSG_SIG_LEN);
    bs_resign(p, out);
    c2_buf_done(&padding);
}

/* The liar sends them to the new primary alone, and makes no view itself. */
static bool
view_changes_are_large(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                       unsigned type, struct c2_slice msg)
{
    struct msg_view_change m;
    struct c2_buf large = { 0 };
    if (!from->faulty || type != MSG_VIEW_CHANGE || msg.len == MSG_BYTES_MAX)
        return bs_first_is_mute(s, from, to, type, msg) || (type == MSG_NEW_VIEW && from->faulty);
    if (msg_read_view_change(msg, &m) != C2_E_OK || m.view % s->config.n != to->index)
        return true;
    blow_up(&s->proc[from->index], msg, &large);
    bs_send(s, &s->proc[from->index], &s->proc[to->index], c2_buf_slice(&large), 0);
    c2_buf_done(&large);
    s->stage = 1;
    return true;
}

static uint64_t
others_leave_later(struct bs *s, const struct bs_proc *from, unsigned type)
{
    (void)s;
    return type == MSG_VIEW_CHANGE && !from->faulty ? 200 * C2_NS_PER_MS : 0;
}

/* ---- all of them ---------------------------------------------------------------------------- */

const struct bs_trap bs_lie_traps[] = {
    { .name = "power cuts after votes",
      .prepare = cuts_begin,
      .poll = cuts_go_on,
      .filter = primary_has_a_victim,
      .requests = 120,
      .stages = 4,
      .lies = 1u << BS_LIE_AGAIN },
    { .name = "two certificates for one number",
      .poll = prepare_twice,
      .filter = third_knows_the_first_only,
      .stages = ALL_ARE_TOGETHER,
      .view = 2 },
    { .name = "a new view without what was prepared",
      .poll = down_after_a_decision,
      .filter = one_decides,
      .stages = 1,
      .view = 2,
      .lies = 1u << BS_LIE_SELECT,
      .liar = 1 },
    { .name = "views out of nothing", .lies = 1u << BS_LIE_VIEW, .liar = 3, .stays = true },
    { .name = "numbers at their limits", .lies = 1u << BS_LIE_STATUS, .liar = 3, .stays = true },
    { .name = "checkpoints out of nothing", .lies = 1u << BS_LIE_STABLE, .liar = 3, .stays = true },
    { .name = "who lags is needed",
      .poll = lags_without_primary,
      .filter = third_stays_behind,
      .requests = 60,
      .stages = 2,
      .view = 1 },
    { .name = "beyond the end of an epoch",
      .prepare = ask_for_epoch,
      .poll = epoch_has_begun,
      .requests = 40,
      .stages = 1,
      .lies = 1u << BS_LIE_OVER },
    { .name = "a power cut after a COMMIT",
      .prepare = one_cut,
      .poll = cut_then_view,
      .filter = first_is_not_told,
      .requests = 60,
      .stages = 1,
      .view = 1 },
    { .name = "two COMMITs are no decision",
      .poll = two_commit,
      .filter = two_are_not_enough,
      .stages = TWO_ARRIVE + 1,
      .view = 1,
      .lies = 1u << BS_LIE_FORGET,
      .liar = 2 },
    { .name = "one has the state of an epoch",
      .prepare = replace_third,
      .poll = holder_goes_on,
      .filter = second_lags,
      .requests = 100,
      .stages = 2,
      .lies = 1u << BS_LIE_FIRST,
      .liar = 1 },
    { .name = "one has the state of an epoch, and no other signs",
      .prepare = replace_third,
      .poll = holder_goes_on,
      .filter = second_lags_alone,
      .requests = 100,
      .stages = 2,
      .lies = 1u << BS_LIE_FIRST,
      .liar = 1 },
    { .name = "reads in an epoch that is over",
      .prepare = replace_third_beside_twins,
      .poll = old_epoch_ends,
      .filter = old_epoch_lasts,
      .requests = 200,
      .stages = OLD_LASTS },
    { .name = "a liar is asked once",
      .poll = liar_is_caught,
      .filter = liar_is_asked_once,
      .requests = 60,
      .stages = CAUGHT_HOLD,
      .lies = 1u << BS_LIE_FIRST,
      .liar = 2 },
    { .name = "when a quarantine ends",
      .f = 2,
      .poll = third_recovers,
      .filter = first_says_nothing,
      .requests = 100,
      .stages = 3,
      .lies = 1u << BS_LIE_STATUS,
      .liar = 6,
      .damaged = 1 + 3 },
    { .name = "a slow primary",
      .prepare = slow_below_patience,
      .requests = 100,
      .view = 1,
      .lies = 1u << BS_LIE_SLOW },
    { .name = "a VIEW-CHANGE that cannot be passed on",
      .prepare = first_lies,
      .filter = view_changes_are_large,
      .delay = others_leave_later,
      .stages = 1,
      .view = 1 },
    { .name = "a liar answers first",
      .filter = third_must_fetch,
      .delay = states_take_time,
      .requests = 60,
      .lies = 1u << BS_LIE_FIRST,
      .liar = 2 },
};

const unsigned bs_lie_traps_count = C2_ARRAY_LEN(bs_lie_traps);
