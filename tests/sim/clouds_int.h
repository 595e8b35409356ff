/* SPDX-License-Identifier: MIT */
/*
 * What the files of the clouds share: clouds.c has what is stored and what goes wrong with it,
 * clouds_way.c the way there and back.
 */
#ifndef C2_TESTS_SIM_CLOUDS_INT_H
#define C2_TESTS_SIM_CLOUDS_INT_H

#include "backends/layer.h"
#include "tests/sim/clouds.h"

/* The node's half of a request, in its memory. */
struct cloud_op {
    struct prov_call call;   /* first */
    struct cloud_trip *trip; /* NULL once it is detached */
    struct sim_node *node;
    struct c2_timer deadline;
    struct c2_timer canceled;
};

/* The world's half. */
struct cloud_trip {
    struct c2_link link; /* cloud->calls */
    struct c2_timer timer;
    struct sim_cloud *cloud;
    struct cloud_op *op; /* NULL: nobody waits */
    enum prov_verb verb;
    bool arrived, if_absent;
    uint32_t faults; /* bitmap, as of the moment of departure or arrival */
    char *key, *after;
    char **keys;
    size_t nkeys, list_max, body_len_max;
    uint64_t offset, len;
    struct c2_blob *body;
    /* the answer */
    enum c2_err err;
    struct c2_blob *reply;
    uint64_t size, retry_after_ns, wall_ns;
    char **names;
    uint64_t *sizes;
    size_t nnames;
    bool truncated;
};

/* clouds.c */
/* The faults that are in force now, each by its chance. */
uint32_t cloud_draw_faults(struct sim_cloud *c);
/* Whether this one is; then it has struck. */
bool cloud_meets(struct cloud_trip *t, enum sim_fault f);
/* The request is at its cloud: does it, and prepares the answer. */
void cloud_take_effect(struct cloud_trip *t);

/* clouds_way.c */
void cloud_trip_free(struct cloud_trip *t);

#endif
