/* SPDX-License-Identifier: MIT */
/*
 * Private to scene_unit.c (lives, script, end) and unit_ops.c (requests and what must hold).
 */
#ifndef C2_TESTS_SIM_UNIT_SCENE_H
#define C2_TESTS_SIM_UNIT_SCENE_H

#include "depsky/unit.h"
#include "tests/sim/scene.h"

#define ACTORS_MAX  6
#define WRITERS_MAX 2
#define WRITES_MAX  200
#define SKEW_NS     (4 * C2_NS_PER_S) /* clouds differ by less: SIM_CLOCK_NS_MAX and whole seconds */
#define LEASE_MIN_S 12
#define OP_NS_MAX   (1800 * C2_NS_PER_S)

enum unit_outcome { OPEN, DONE, LOST, FENCED };

/* One attempt to write. Its index is in the value. */
struct unit_written {
    enum unit_outcome outcome;
    uint64_t started_ns, ended_ns;
    uint64_t version; /* known when it is DONE or was read */
    struct c2_blob *body;
};

enum unit_verb { WRITE, READ, VERSIONS, GC, LOCK, RENEW, UNLOCK };

struct unit_op {
    struct unit_actor *a;
    enum unit_verb verb;
    uint64_t started_ns;
    unsigned index;    /* of the write */
    uint64_t at_least; /* a read: the newest version that had ended when it began */
    bool any_ended;
    struct c2_slice piece;
    union {
        struct ds_unit_write write;
        struct ds_unit_read read;
        struct ds_unit_versions versions;
        struct ds_unit_gc gc;
        struct ds_unit_lock lock;
        struct ds_unit_unlock unlock;
    } u;
};

struct unit_actor {
    struct unit_scene *s;
    unsigned index;
    bool writes;
    struct sim_node *node;
    struct sim_hook clouds_hook, hook;
    struct provider *seat[DS_SEATS_MAX];
    struct ds_client *c;
    struct ds_unit *unit;
    uint64_t seen;      /* newest version that this handle gave */
    struct unit_op *op; /* running, or NULL */
    struct c2_timer next;
    struct c2_timer dagger; /* dies in the middle of what it does */
    bool drained;
};

struct unit_scene {
    struct sim_world *w;
    struct sim_rng rng;
    struct sim_clouds *clouds;
    enum sim_weather weather;
    struct ds_config config;
    bool shared; /* two writers with the lock; else one without */
    bool stacked;
    uint8_t secret[WRITERS_MAX][DS_UNIT_SECRET_LEN];
    uint8_t public_key[WRITERS_MAX][DS_UNIT_PUBLIC_LEN];
    struct unit_actor actor[ACTORS_MAX];
    unsigned nactors, nwriters;
    struct unit_written written[WRITES_MAX];
    unsigned nwritten;
    uint64_t newest; /* version of the newest write that has ended */
    unsigned ops_left, crashes_left;
    bool healed;
    bool quiet; /* no actor does anything */
};

static inline bool
unit_model_holds(const struct unit_scene *s)
{
    return s->weather != SIM_WRECK;
}

/* Every request starts at once and ends with actor->op == NULL. */
void unit_start_write(struct unit_actor *a);
void unit_start_read(struct unit_actor *a, uint64_t version);
void unit_start_versions(struct unit_actor *a);
void unit_start_gc(struct unit_actor *a, unsigned keep);
void unit_start_lock(struct unit_actor *a, enum unit_verb verb, uint64_t wait_ns);
void unit_start_unlock(struct unit_actor *a);
void unit_op_free(struct unit_op *op);
/* Keys of a cloud that contain this. */
size_t unit_count_in(const struct sim_cloud *c, const char *part);

#endif
