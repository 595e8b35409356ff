/* SPDX-License-Identifier: MIT */
/*
 * A coordination service in front of another one, that says of transactions which happened that
 * they failed: what a client of replicas sees when its session with them is lost. Or that answers
 * nothing, or late, or says not even that it does not answer.
 */
#ifndef C2_TESTS_LIB_COORD_GATE_H
#define C2_TESTS_LIB_COORD_GATE_H

#include "metadata/coord.h"

struct coord_gate_call {
    struct coord_gate *gate;
    struct coord_req *req; /* NULL = free */
    void (*done)(struct coord_req *r);
    bool mute; /* it is not asked for, and ends with its deadline, or when it is cancelled */
    struct c2_timer timer;
};

#define COORD_GATE_CALLS   64
#define COORD_GATE_MUTE_NS (3 * C2_NS_PER_S) /* until what is cancelled ends */

struct coord_gate {
    struct coord base;
    struct coord *inner;  /* borrowed */
    unsigned lie;         /* about so many transactions */
    bool silent;          /* nothing gets through: what is submitted ends with TIMEOUT, at once */
    bool mute;            /* nothing gets through, and nobody says so */
    struct c2_slice late; /* a prefix: the next answer to a RANGE of it is kept */
    struct coord_req *kept;
    struct coord_gate_call calls[COORD_GATE_CALLS];
};

/* What comes through it ends before the gate does; closing it is nothing. */
void coord_gate_init(struct coord_gate *g, struct coord *inner);
/* The kept answer arrives. */
void coord_gate_let_go(struct coord_gate *g);

#endif
