/* SPDX-License-Identifier: MIT */
/*
 * What a trap is made of: scene_trap.c has those of other implementations, trap_lies.c those that
 * need a liar, trap_restart.c those of a replica that starts again, trap_views.c those of what
 * views leave behind, trap_clocks.c those of clocks that are set back.
 */
#ifndef C2_TESTS_SIM_TRAP_H
#define C2_TESTS_SIM_TRAP_H

#include "tests/sim/bft_scene.h"

struct bs_trap {
    const char *name;
    void (*poll)(struct bs *s, unsigned *stage); /* NULL = nothing happens by itself */
    bool (*filter)(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                   unsigned type, struct c2_slice msg);
    unsigned requests; /* 0 = 20 */
    unsigned stages;   /* the script must have come so far */
    uint64_t view;     /* ... and the replicas to this view */

    unsigned f;    /* 0 = 1 */
    uint32_t lies; /* 0 = nobody lies */
    unsigned liar;
    unsigned damaged; /* 1 + the replica whose disk is damaged by the script; 0 = none */
    bool stays;       /* nobody leaves the first view */
    uint64_t (*delay)(struct bs *s, const struct bs_proc *from, unsigned type);
    void (*prepare)(struct bs *s); /* before anybody starts */
};

extern const struct bs_trap bs_lie_traps[];
extern const unsigned bs_lie_traps_count;
extern const struct bs_trap bs_restart_traps[];
extern const unsigned bs_restart_traps_count;
extern const struct bs_trap bs_view_traps[];
extern const unsigned bs_view_traps_count;
extern const struct bs_trap bs_clock_traps[];
extern const unsigned bs_clock_traps_count;

struct bft_info bs_info(struct bs *s, unsigned i);
uint64_t bs_highest_view(struct bs *s);
uint64_t bs_highest_executed(struct bs *s);
void bs_put_down(struct bs *s, unsigned i);
void bs_crash_and_start(struct bs *s, unsigned i);
/* Nobody complains until the script has come so far. */
void bs_have_patience(struct bs *s);
/* Messages that the script keeps back: one of each process and kind of its own. */
void bs_keep(struct bs *s, unsigned from, unsigned what, struct c2_slice msg);
void bs_give_kept(struct bs *s, unsigned from, unsigned to, unsigned what);
/* A filter: the first primary's proposals do not arrive, so everybody complains. */
bool bs_first_is_mute(struct bs *s, const struct bs_proc *from, const struct bs_proc *to,
                      unsigned type, struct c2_slice msg);
bool bs_is_vote_before_view(unsigned type, unsigned wanted, struct c2_slice msg, uint64_t view);

#endif
