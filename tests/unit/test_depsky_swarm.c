/* SPDX-License-Identifier: MIT */
/*
 * Random objects, ranges, latencies, cancellations and faults of up to f seats, many requests at
 * once. Whatever happens: right bytes, no error that f faults do not explain, every request ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backends/mem.h"
#include "backends/registry.h"
#include "tests/lib/ds_rig.h"
#include "tests/lib/test_env.h"

#define SEEDS   12u
#define OBJECTS 12u
#define READS   40u

static const char *const faults[] = {
    "error:30%",
    "down:50%",
    "down",
    "hang:20%",
    "hang",
    "put.lie:50%",
    "put.lie",
    "get.absent:30%",
    "get.corrupt:50%",
    "get.corrupt",
    "get.truncate:40%",
    "get.huge:40%",
    "get.empty:40%",
    "get.swap:40%",
    "noack:30%",
    "delay:30%:5s",
    "throttle:40%",
    "put.noack",
    "",
};

struct swarm {
    struct ds_rig rig;
    unsigned seed;
    uint64_t random;
    unsigned open; /* requests */
    bool idle;
};

struct object {
    struct swarm *s;
    struct ds_put p;
    struct c2_slice pieces[2];
    struct c2_blob *data;
    bool ended, canceled;
};

struct reading {
    struct swarm *s;
    struct ds_get g;
    const struct object *o;
    bool ended, canceled;
};

static uint32_t
pick(struct swarm *s, uint32_t below)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return (uint32_t)(s->random >> 33) % below;
}

static void
one_ended(struct swarm *s)
{
    s->idle = --s->open == 0;
}

static void
put_ended(struct ds_put *p)
{
    struct object *o = C2_CONTAINER_OF(p, struct object, p);
    assert_false(o->ended);
    o->ended = true;
    if (p->err != C2_E_OK && !(o->canceled && p->err == C2_E_CANCELED))
        fail_msg("seed %u: a put ended with %s", o->s->seed, c2_err_name(p->err));
    one_ended(o->s);
}

static void
start_put(struct swarm *s, struct object *o)
{
    static const uint32_t sizes[] = { 1, 60, 5000, 65536, 131072, 200001, 600000, 1100000 };
    size_t len = sizes[pick(s, C2_ARRAY_LEN(sizes))] + pick(s, 40);
    o->s = s;
    o->data = pick(s, 2) == 0 ? ds_rig_random(s->random, len) : ds_rig_text(len);
    size_t cut = pick(s, (uint32_t)len);
    o->pieces[0] = c2_slice(o->data->data, cut);
    o->pieces[1] = c2_slice(o->data->data + cut, len - cut);
    o->p.data = o->pieces;
    o->p.ndata = 2;
    o->p.oid = (struct ds_oid){ .sid = 3, .seq = ++s->rig.seq };
    o->p.persist = pick(s, 3) == 0;
    o->p.done = put_ended;
    s->open++;
    s->idle = false;
    ds_put_start(s->rig.c, &o->p);
}

static void
get_ended(struct ds_get *g)
{
    struct reading *r = C2_CONTAINER_OF(g, struct reading, g);
    assert_false(r->ended);
    r->ended = true;
    if (r->canceled && g->err == C2_E_CANCELED) {
        one_ended(r->s);
        return;
    }
    if (g->err != C2_E_OK)
        fail_msg("seed %u: a get ended with %s", r->s->seed, c2_err_name(g->err));
    const struct c2_blob *whole = r->o->data;
    size_t want = C2_MIN(whole->len - g->offset, g->len == 0 ? whole->len : g->len);
    assert_int_equal(g->data->len, want);
    assert_memory_equal(g->data->data, whole->data + g->offset, want);
    c2_blob_unref(g->data);
    one_ended(r->s);
}

static void
start_get(struct swarm *s, struct reading *r, const struct object *o)
{
    r->s = s;
    r->o = o;
    r->g.ref = o->p.ref;
    r->g.placed = pick(s, 2) == 0 ? o->p.placed : 0;
    r->g.offset = pick(s, (uint32_t)o->data->len);
    r->g.len = pick(s, 3) == 0 ? 0 : 1 + pick(s, 100000);
    r->g.done = get_ended;
    s->open++;
    s->idle = false;
    ds_get_start(s->rig.c, &r->g);
}

static void
break_seats(struct swarm *s)
{
    unsigned n = s->rig.config.n;
    unsigned first = pick(s, n);
    for (unsigned i = 0; i < s->rig.config.f; i++) {
        ds_rig_fault(&s->rig, (first + i * 2) % n, faults[pick(s, C2_ARRAY_LEN(faults))]);
    }
    for (unsigned i = 0; i < n; i++)
        prov_mem_set_latency(s->rig.mem[i], pick(s, 50) * C2_NS_PER_MS,
                             pick(s, 200) * C2_NS_PER_MS);
}

static void
run_seed(unsigned seed)
{
    static struct object object[OBJECTS];
    static struct reading reading[READS];
    struct swarm s = { .seed = seed, .random = seed * 0x9e3779b97f4a7c15u + 1 };
    bool big = pick(&s, 3) == 0;
    ds_rig_init(&s.rig, big ? 7 : 4, big ? 2 : 1);
    s.rig.config.engine = pick(&s, 2) == 0 ? DS_ENGINE_ISAL : DS_ENGINE_JERASURE;
    s.rig.config.compress = (enum ds_compress)pick(&s, 3);
    s.rig.config.header_cache_max = pick(&s, 2) == 0 ? 5 : 4096;
    s.rig.config.write_all = pick(&s, 4) == 0;
    ds_rig_open(&s.rig);
    break_seats(&s);
    memset(object, 0, sizeof(object));
    memset(reading, 0, sizeof(reading));
    for (unsigned i = 0; i < OBJECTS; i++) {
        start_put(&s, &object[i]);
        for (unsigned step = pick(&s, 30); step > 0; step--)
            test_env_step(s.rig.t);
        if (pick(&s, 8) == 0 && !object[i].ended) {
            object[i].canceled = true;
            ds_put_cancel(s.rig.c, &object[i].p);
        }
    }
    test_env_run_until(s.rig.t, &s.idle);
    if (pick(&s, 2) == 0)
        ds_rig_reopen(&s.rig);
    for (unsigned i = 0; i < READS; i++) {
        const struct object *o = &object[pick(&s, OBJECTS)];
        if (o->p.err != C2_E_OK)
            continue;
        start_get(&s, &reading[i], o);
        for (unsigned step = pick(&s, 20); step > 0; step--)
            test_env_step(s.rig.t);
        if (pick(&s, 8) == 0 && !reading[i].ended) {
            reading[i].canceled = true;
            ds_get_cancel(s.rig.c, &reading[i].g);
        }
    }
    if (s.open > 0)
        test_env_run_until(s.rig.t, &s.idle);
    for (unsigned i = 0; i < OBJECTS; i++)
        c2_blob_unref(object[i].data);
    ds_rig_done(&s.rig);
}

static void
swarm__gives_right_bytes_whatever_f_seats_do(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= SEEDS; seed++)
        run_seed(seed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(swarm__gives_right_bytes_whatever_f_seats_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
