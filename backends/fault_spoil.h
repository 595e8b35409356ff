/* SPDX-License-Identifier: MIT */
/*
 * What misbehaving clouds do to answers, for layer_fault.c: an answer that came is changed.
 */
#ifndef C2_BACKENDS_FAULT_SPOIL_H
#define C2_BACKENDS_FAULT_SPOIL_H

#include "backends/fault_spec.h"

/* Chance, and what has happened by it. */
struct fault_dice {
    uint64_t state;
    uint64_t counts[FAULT_KIND_COUNT];
};

uint64_t fault_random(struct fault_dice *d);
/* Applies those of the kinds (OR of 1 << enum fault_kind) that change answers, and counts them. */
void fault_spoil(struct fault_dice *d, unsigned kinds, struct prov_req *r);

#endif
