/* SPDX-License-Identifier: MIT */
/*
 * Simulated storage clouds with plans of what goes wrong and when. A request travels to its cloud,
 * takes effect there at one moment, and its answer travels back: a node may crash, cancel or give
 * up in between, and a late PUT still arrives.
 *
 * Faults that destroy what is stored (a lying ack, a lost or damaged object) make a cloud faulty
 * for good; the others pass.
 *
 * A ledger of all PUTs ever seen checks that no key is written with other bytes (I4), that no
 * object id and no content key serves two objects (I7), and that a revision of a unit is published
 * once.
 */
#ifndef C2_TESTS_SIM_CLOUDS_H
#define C2_TESTS_SIM_CLOUDS_H

#include "backends/fault_spec.h"
#include "backends/provider.h"
#include "base/map.h"
#include "tests/sim/world.h"

#define SIM_CLOUDS_MAX   8
#define SIM_WINDOWS_MAX  24
#define SIM_CLOCK_NS_MAX (2 * C2_NS_PER_S) /* how wrong the clock of an honest cloud is */

/* In three groups, see clouds_plan.c. Names are those of backends/fault_spec.h where there is one;
 * each belongs to a kind of the fault layer, and so to the threats T01 to T15. */
enum sim_fault {
    /* pass by: no answer, or one that says so */
    SIM_SLOW,
    SIM_HANG,
    SIM_DRIP, /* of GET and LIST: later than anybody waits */
    SIM_DOWN,
    SIM_ERROR,
    SIM_THROTTLE,
    SIM_LOST_ANSWER, /* it took effect, nobody hears of it */
    SIM_PROTOCOL,
    SIM_REDIRECT,
    SIM_TLS,
    SIM_DENIED,
    /* pass by: lies */
    SIM_LIE_ABSENT,
    SIM_LIE_EXISTS,
    SIM_LIE_LIST,
    SIM_LOOP_LIST,
    SIM_LIE_CHECKSUM, /* it took effect */
    SIM_CORRUPT_ANSWER,
    SIM_TRUNCATE_ANSWER,
    SIM_SWAP_ANSWER,
    SIM_EMPTY_ANSWER,
    SIM_HUGE_ANSWER,
    SIM_STALE_ANSWER, /* as it was before it was written last */
    SIM_LIE_CLOCK,
    /* destroy */
    SIM_LIE_ACK,
    SIM_CORRUPT_STORED,
    SIM_TRUNCATE_STORED,
    SIM_LOSE,
    SIM_ROLLBACK, /* new objects and deletions are not seen for ever */
    SIM_FAULTS,
};

struct sim_window {
    enum sim_fault fault;
    uint64_t from_ns, to_ns;
    unsigned percent; /* of the requests */
};

struct sim_object {
    char *key;
    struct c2_blob *body;
    struct c2_blob *old; /* before it was overwritten; NULL = there was none */
};

struct sim_cloud {
    struct sim_clouds *clouds;
    unsigned index;
    char name[16];
    bool if_absent; /* conditional PUTs work */
    struct sim_object *objects;
    size_t count, cap;
    struct sim_window windows[SIM_WINDOWS_MAX];
    unsigned nwindows;
    bool lied;      /* a fault that is more than silence has struck */
    bool destroyed; /* a fault that destroys has struck */
    uint64_t latency_ns;
    uint64_t wall_ns; /* its clock minus the virtual one */
    struct c2_list calls;
};

/* How bad it gets; see clouds_plan.c. */
enum sim_weather {
    SIM_CALM,   /* at most f clouds ever misbehave, in every way */
    SIM_ROTATE, /* never more than f at a time, nothing is destroyed */
    SIM_STORM,  /* f destroy, any number fails for a while */
    SIM_SQUALL, /* the same, but all others fail silently: nobody else lies */
    SIM_WRECK,  /* f+1 destroy: answers may fail, wrong bytes never */
};

struct sim_clouds {
    struct sim_world *w;
    struct sim_rng rng;
    unsigned n, planned; /* clouds; those that plans are about */
    enum sim_weather weather;
    struct sim_cloud cloud[SIM_CLOUDS_MAX];
    struct c2_map ledger;  /* by key */
    struct c2_map commits; /* by key commitment */
    uint64_t struck[SIM_FAULTS];
};

const char *sim_fault_name(enum sim_fault f);
/* FAULT_KIND_COUNT for what the fault layer does not have. */
enum fault_kind sim_fault_kind(enum sim_fault f);

struct sim_clouds *sim_clouds_new(struct sim_world *w, unsigned n);
/* One more, with no plans. */
struct sim_cloud *sim_clouds_add(struct sim_clouds *c, struct sim_rng *rng);
void sim_clouds_free(struct sim_clouds *c);
/* A crash of the node detaches its requests. Once per node. */
void sim_clouds_attach(struct sim_clouds *c, struct sim_hook *hook, struct sim_node *n);
/* The way of a node to a cloud; belongs to the node's life. */
struct provider *sim_cloud_provider(struct sim_clouds *c, unsigned index, struct sim_node *n);

void sim_clouds_plan(struct sim_clouds *c, enum sim_weather weather, unsigned f, uint64_t until_ns);
/* Passing faults of one cloud, from now on. */
void sim_cloud_plan(struct sim_cloud *c, uint64_t until_ns);
/* From now on everybody behaves; what was destroyed stays so. */
void sim_clouds_heal(struct sim_clouds *c);

/* What a cloud really holds; NULL = nothing. Borrowed until the next event. */
const struct c2_blob *sim_cloud_peek(const struct sim_cloud *c, const char *key);

#endif
