/* SPDX-License-Identifier: MIT */
/*
 * Traps of clocks: an operator sets them back by an hour. The service must go on, and so must its
 * time: as if nobody had touched them, no faster, and not much more slowly.
 */
#include "tests/sim/trap.h"

#define HOUR_NS (3600ll * (int64_t)C2_NS_PER_S)
#define LASTS   (60 * C2_NS_PER_S) /* the time is looked at for so long */
#define OFF     C2_NS_PER_S        /* replicas' clocks differ by as much from the true one */
#define LATE    (10 * C2_NS_PER_S) /* the agreed time may be, in the end */

enum { NOTHING_YET, SET_BACK, TIME_GOES_ON };

static void
check_time(struct bs *s)
{
    uint64_t true_ns = BS_WALL_NS + s->w->now_ns;
    uint64_t latest_ns = true_ns + OFF + s->config.clock_skew_ns;
    for (unsigned i = 0; i < s->config.n; i++) {
        struct bft_info in = bs_info(s, i);
        SIM_CHECK(s->w, in.time_ns <= latest_ns, "replica %u is ahead of all clocks", i);
        bool ends = s->stage == SET_BACK && s->w->now_ns > s->mark + LASTS;
        SIM_CHECK(s->w, !ends || in.time_ns + LATE >= true_ns, "time does not go on at replica %u",
                  i);
    }
}

static void
set_back(struct bs *s, unsigned clocks)
{
    for (unsigned i = 0; i < clocks; i++)
        s->proc[i].skew_ns -= HOUR_NS;
    s->mark = s->w->now_ns;
    s->stage = SET_BACK;
}

static void
watch_clocks(struct bs *s, unsigned clocks)
{
    check_time(s);
    if (s->stage == NOTHING_YET && bs_highest_executed(s) >= 5)
        set_back(s, clocks);
    else if (s->stage == SET_BACK && s->w->now_ns > s->mark + LASTS)
        s->stage = TIME_GOES_ON;
}

static void
all_are_set_back(struct bs *s, unsigned *stage)
{
    (void)stage;
    watch_clocks(s, s->config.n);
}

static void
some_are_set_back(struct bs *s, unsigned *stage)
{
    (void)stage;
    watch_clocks(s, 2);
}

/* Nothing but what is on their disks says what time it was. */
static void
all_start_again(struct bs *s, unsigned *stage)
{
    bool before = *stage == NOTHING_YET;
    watch_clocks(s, s->config.n);
    for (unsigned i = 0; before && *stage == SET_BACK && i < s->config.n; i++)
        bs_crash_and_start(s, i);
}

const struct bs_trap bs_clock_traps[] = {
    { .name = "all clocks are set back",
      .prepare = bs_have_patience,
      .poll = all_are_set_back,
      .requests = 60,
      .stages = TIME_GOES_ON,
      .stays = true },
    { .name = "two clocks are set back",
      .prepare = bs_have_patience,
      .poll = some_are_set_back,
      .requests = 60,
      .stages = TIME_GOES_ON,
      .stays = true },
    { .name = "all clocks are set back while nobody runs",
      .poll = all_start_again,
      .requests = 60,
      .stages = TIME_GOES_ON },
};

const unsigned bs_clock_traps_count = C2_ARRAY_LEN(bs_clock_traps);
