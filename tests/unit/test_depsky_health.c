/* SPDX-License-Identifier: MIT */
/*
 * States of seats, their order, probes, and the end of a client.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backends/mem.h"
#include "backends/registry.h"
#include "base/mark.h"
#include "tests/lib/ds_rig.h"
#include "tests/lib/test_env.h"

static enum ds_seat_state
state_of(struct ds_rig *rig, unsigned seat)
{
    struct ds_seat_status status;
    ds_seat_status(rig->c, seat, &status);
    return status.state;
}

static void
open_rig(struct ds_rig *rig)
{
    ds_rig_init(rig, 4, 1);
    ds_rig_open(rig);
}

static enum c2_err
put_small(struct ds_rig *rig)
{
    return ds_rig_put(rig, "abc", 3).err;
}

static void
health__falls_step_by_step_and_recovers_by_probes(void **state)
{
    (void)state;
    struct ds_rig rig;
    open_rig(&rig);
    assert_int_equal(state_of(&rig, 1), DS_SEAT_ONLINE);
    ds_rig_fault(&rig, 1, "down");
    put_small(&rig);
    assert_int_equal(state_of(&rig, 1), DS_SEAT_DEGRADED);
    put_small(&rig);
    put_small(&rig);
    assert_int_equal(state_of(&rig, 1), DS_SEAT_UNREACH);
    struct ds_seat_status status;
    ds_seat_status(rig.c, 1, &status);
    assert_int_equal(status.last_error, C2_E_UNREACHABLE);
    assert_int_equal(status.errors, 3);
    assert_string_equal(status.name, "cloud1");
    test_env_run_for(rig.t, 100 * C2_NS_PER_S);
    assert_int_equal(state_of(&rig, 1), DS_SEAT_UNREACH);
    ds_rig_fault(&rig, 1, "");
    test_env_run_for(rig.t, 31 * C2_NS_PER_S);
    assert_int_equal(state_of(&rig, 1), DS_SEAT_DEGRADED);
    test_env_run_for(rig.t, 150 * C2_NS_PER_S);
    assert_int_equal(state_of(&rig, 1), DS_SEAT_ONLINE);
    test_env_run_idle(rig.t); /* and the probes stop */
    ds_rig_done(&rig);
}

static void
health__seat_that_refuses_is_degraded_and_skipped(void **state)
{
    (void)state;
    struct ds_rig rig;
    open_rig(&rig);
    ds_rig_fault(&rig, 0, "put.throttle");
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(put_small(&rig), C2_E_OK);
    uint64_t before = prov_mem_requests(rig.mem[3], PROV_PUT);
    struct ds_put p = ds_rig_put(&rig, "abc", 3);
    assert_int_equal(p.placed, 0xe);
    assert_int_equal(prov_mem_requests(rig.mem[3], PROV_PUT), before + 1);
    ds_rig_done(&rig);
}

static void
health__seat_that_refuses_writes_is_readonly_and_still_read(void **state)
{
    (void)state;
    struct ds_rig rig;
    open_rig(&rig);
    struct ds_ref ref = ds_rig_store(&rig, "abc", 3);
    ds_rig_fault(&rig, 0, "put.full");
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(put_small(&rig), C2_E_OK); /* by the spare seat, at once */
        assert_int_equal(state_of(&rig, 0), DS_SEAT_DEGRADED);
    }
    assert_int_equal(put_small(&rig), C2_E_OK);
    assert_int_equal(state_of(&rig, 0), DS_SEAT_READONLY);
    struct ds_seat_status status;
    ds_seat_status(rig.c, 0, &status);
    assert_int_equal(status.last_error, C2_E_QUOTA);
    assert_string_not_equal(status.last_detail, "");

    uint64_t before = prov_mem_requests(rig.mem[3], PROV_PUT);
    uint64_t refused = prov_fault_count_kind(rig.seat[0], "full");
    uint64_t gets = prov_mem_requests(rig.mem[0], PROV_GET);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(put_small(&rig), C2_E_OK);
        struct ds_get g = ds_rig_get(&rig, &ref, 0, 0);
        assert_int_equal(g.err, C2_E_OK);
        assert_int_equal(g.seats_slow | g.seats_bad, 0);
        c2_blob_unref(g.data);
    }
    assert_int_equal(prov_mem_requests(rig.mem[3], PROV_PUT), before + 8);
    assert_int_equal(prov_fault_count_kind(rig.seat[0], "full"), refused); /* it was not asked */
    assert_true(prov_mem_requests(rig.mem[0], PROV_GET) > gets);           /* here it was */
    assert_int_equal(state_of(&rig, 0), DS_SEAT_READONLY); /* answers alone say nothing */
    ds_rig_done(&rig);
}

static void
health__readonly_seat_is_tried_every_30_s(void **state)
{
    (void)state;
    struct ds_rig rig;
    open_rig(&rig);
    ds_rig_fault(&rig, 3, "full");
    ds_rig_fault(&rig, 0, "put.down"); /* so that the fourth seat is needed */
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(put_small(&rig), C2_E_QUORUM);
    ds_rig_fault(&rig, 0, "");
    assert_int_equal(state_of(&rig, 3), DS_SEAT_READONLY);
    test_env_run_for(rig.t, 200 * C2_NS_PER_S);
    assert_int_equal(state_of(&rig, 0), DS_SEAT_ONLINE);
    assert_int_equal(state_of(&rig, 3), DS_SEAT_READONLY);
    uint64_t refused = prov_fault_count_kind(rig.seat[3], "full");
    for (unsigned i = 0; i < 5; i++) /* the first one tries it, before the others */
        assert_int_equal(put_small(&rig), C2_E_OK);
    assert_int_equal(prov_fault_count_kind(rig.seat[3], "full"), refused + 1);
    ds_rig_fault(&rig, 3, "");
    assert_int_equal(put_small(&rig), C2_E_OK);
    assert_int_equal(state_of(&rig, 3), DS_SEAT_READONLY);
    test_env_run_for(rig.t, 31 * C2_NS_PER_S);
    struct ds_put p = ds_rig_put(&rig, "abc", 3);
    assert_int_equal(p.placed, 0xb);
    assert_int_not_equal(state_of(&rig, 3), DS_SEAT_READONLY);
    test_env_run_for(rig.t, 150 * C2_NS_PER_S);
    assert_int_equal(state_of(&rig, 3), DS_SEAT_ONLINE);
    p = ds_rig_put(&rig, "abc", 3);
    assert_int_equal(p.placed, 0x7);
    ds_rig_done(&rig);
}

static void
health__seat_that_refuses_everything_is_not_readonly(void **state)
{
    (void)state;
    struct ds_rig rig;
    open_rig(&rig);
    struct ds_ref ref = ds_rig_store(&rig, "abc", 3);
    ds_rig_fault(&rig, 0, "put.full,get.denied,head.denied");
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(put_small(&rig), C2_E_OK);
        ds_rig_reopen(&rig); /* nothing cached */
        struct ds_get g = ds_rig_get(&rig, &ref, 0, 0);
        c2_blob_unref(g.data);
    }
    for (unsigned i = 0; i < 4; i++) {
        put_small(&rig);
        struct ds_get g = ds_rig_get(&rig, &ref, 0, 0);
        c2_blob_unref(g.data);
    }
    test_env_run_for(rig.t, 100 * C2_NS_PER_S); /* probes fail as well */
    assert_int_equal(state_of(&rig, 0), DS_SEAT_DEGRADED);
    ds_rig_done(&rig);
}

static void
health__slow_seat_is_ranked_last_and_gets_another_chance(void **state)
{
    (void)state;
    struct ds_rig rig;
    open_rig(&rig);
    for (unsigned i = 0; i < 4; i++)
        prov_mem_set_latency(rig.mem[i], 10 * C2_NS_PER_MS, 0);
    prov_mem_set_latency(rig.mem[1], 900 * C2_NS_PER_MS, 0);
    for (unsigned i = 0; i < 3; i++)
        put_small(&rig);
    struct ds_put p = ds_rig_put(&rig, "abc", 3);
    assert_int_equal(p.placed, 0xd); /* seat 1 is the spare now */
    assert_int_equal(state_of(&rig, 1), DS_SEAT_ONLINE);
    prov_mem_set_latency(rig.mem[1], 10 * C2_NS_PER_MS, 0);
    test_env_run_for(rig.t, 61 * C2_NS_PER_S);
    p = ds_rig_put(&rig, "abc", 3);
    assert_int_equal(p.placed, 0x7);
    ds_rig_done(&rig);
}

static void
health__broken_seats_are_asked_when_nothing_else_is_left(void **state)
{
    (void)state;
    struct ds_rig rig;
    open_rig(&rig);
    ds_rig_fault(&rig, 0, "down");
    ds_rig_fault(&rig, 1, "down");
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(put_small(&rig), C2_E_QUORUM);
    assert_int_equal(state_of(&rig, 0), DS_SEAT_UNREACH);
    ds_rig_fault(&rig, 0, "");
    assert_int_equal(put_small(&rig), C2_E_OK); /* without waiting for a probe */
    assert_int_not_equal(state_of(&rig, 0), DS_SEAT_UNREACH);
    ds_rig_done(&rig);
}

static void
health__suspect_seat_earns_trust_by_good_shares(void **state)
{
    (void)state;
    struct ds_rig rig;
    ds_rig_init(&rig, 4, 1);
    rig.config.write_all = true;
    ds_rig_open(&rig);
    struct ds_ref ref = ds_rig_store(&rig, "abc", 3);
    ds_rig_fault(&rig, 0, "get.corrupt");
    struct ds_get g = ds_rig_get(&rig, &ref, 0, 0);
    c2_blob_unref(g.data);
    assert_int_equal(state_of(&rig, 0), DS_SEAT_SUSPECT);
    ds_rig_fault(&rig, 0, "");
    ds_rig_fault(&rig, 1, "get.down"); /* so that seat 0 is needed */
    ds_rig_fault(&rig, 3, "get.down");
    for (unsigned i = 0; i < 40; i++) {
        ref = ds_rig_store(&rig, "abc", 3);
        g = ds_rig_get(&rig, &ref, 0, 0);
        assert_int_equal(g.err, C2_E_OK);
        c2_blob_unref(g.data);
    }
    assert_int_not_equal(state_of(&rig, 0), DS_SEAT_SUSPECT);
    ds_rig_done(&rig);
}

static void
goal__is_what_an_object_can_have(void **state)
{
    (void)state;
    struct ds_rig rig;
    ds_rig_init(&rig, 4, 1);
    rig.config.write_all = true;
    ds_rig_open(&rig);
    assert_int_equal(ds_client_goal(rig.c), 4);
    assert_int_equal(ds_client_goal_of(rig.c, 0x7), 4);

    struct provider *late = prov_mem_new(rig.env, "late");
    ds_client_set_seat(rig.c, 4, late, DS_USE_ALL);
    assert_int_equal(ds_client_goal(rig.c), 5);
    assert_int_equal(ds_client_goal_of(rig.c, 0xf), 4); /* older than the seat, as far as we know */
    assert_int_equal(ds_client_goal_of(rig.c, 0x1e), 5);

    ds_client_set_seat(rig.c, 2, rig.seat[2], DS_USE_READ); /* it is being emptied */
    assert_int_equal(ds_client_goal(rig.c), 4);
    assert_int_equal(ds_client_goal_of(rig.c, 0xf), 4);
    assert_int_equal(ds_client_goal_of(rig.c, 0xb), 3);
    ds_client_set_seat(rig.c, 2, rig.seat[2], DS_USE_OFF); /* and is gone */
    assert_int_equal(ds_client_goal_of(rig.c, 0xb), 3);
    assert_int_equal(ds_client_goal_of(rig.c, 0x1b), 4);
    ds_client_set_seat(rig.c, 3, rig.seat[3], DS_USE_OFF); /* fewer than k+f are never enough */
    assert_int_equal(ds_client_goal_of(rig.c, 0x3), 3);
    ds_rig_done(&rig);
    prov_close(late);
}

struct slow_day {
    uint64_t late;   /* answers that came much later than usual */
    uint64_t hedges; /* by the seats' count */
    uint64_t usual;  /* GETs of a day without late answers */
    uint64_t more;   /* beyond these */
};

/* That left for the clouds, whether or not they were canceled before they arrived. */
static uint64_t
gets_sent(const struct ds_rig *rig)
{
    uint64_t sent = 0;
    for (unsigned i = 0; i < 4; i++)
        sent += rig->seat[i]->stats->requests[PROV_GET];
    return sent;
}

static struct slow_day
slow_day(unsigned percent, unsigned reads)
{
    struct ds_rig rig;
    struct slow_day d = { 0 };
    ds_rig_init(&rig, 4, 1);
    rig.config.hedge_percent = percent;
    rig.config.write_all = true;
    for (unsigned i = 0; i < 4; i++)
        rig.seat[i] = prov_stats_new(rig.seat[i]);
    ds_rig_open(&rig);
    struct ds_ref ref = ds_rig_store(&rig, "abc", 3);
    struct ds_get g = ds_rig_get(&rig, &ref, 0, 0); /* the headers are known from now on */
    c2_blob_unref(g.data);
    uint64_t before = gets_sent(&rig);
    g = ds_rig_get(&rig, &ref, 0, 0);
    c2_blob_unref(g.data);
    uint64_t usual = gets_sent(&rig) - before; /* of a read */
    for (unsigned i = 0; i < 4; i++)           /* fewer than one of 20 */
        ds_rig_fault(&rig, i, "get.delay:4%:700ms");
    before = gets_sent(&rig);
    for (unsigned i = 0; i < reads; i++) {
        g = ds_rig_get(&rig, &ref, 0, 0);
        assert_int_equal(g.err, C2_E_OK);
        assert_int_equal(g.data->len, 3);
        c2_blob_unref(g.data);
    }
    test_env_run_for(rig.t, C2_NS_PER_S); /* those that others were asked for arrive, too */
    d.more = gets_sent(&rig) - before - reads * usual;
    d.usual = reads * usual;
    for (unsigned i = 0; i < 4; i++) {
        struct ds_seat_status status;
        ds_seat_status(rig.c, i, &status);
        d.late += prov_fault_count_kind(rig.seat[i], "delay");
        d.hedges += status.hedges;
    }
    ds_rig_done(&rig);
    return d;
}

static void
hedge__budget_bounds_what_a_slow_day_costs(void **state)
{
    (void)state;
    enum { READS = 2000, BURST = 20, K = 2 };
    struct slow_day d = slow_day(100, READS);
    assert_in_range(d.hedges, BURST, d.late);         /* each late one is helped */
    assert_in_range(d.more, 2 * BURST, K * d.hedges); /* far more than the reserve */
    d = slow_day(0, READS);
    assert_true(d.late > 2 * BURST);
    assert_in_range(d.hedges, BURST / K, BURST);
    assert_in_range(d.more, BURST / K, BURST);
    d = slow_day(1, READS);
    assert_in_range(d.more, BURST + 1, BURST + (d.usual + d.more) / 100 + 1);
    assert_in_range(d.hedges, BURST / K + 1, d.late);
}

static uint64_t
hedges_of(struct ds_rig *rig, unsigned seat)
{
    struct ds_seat_status status;
    ds_seat_status(rig->c, seat, &status);
    return status.hedges;
}

static void
hedge__fires_after_the_measured_p95_and_is_counted_at_the_late_seat(void **state)
{
    (void)state;
    struct ds_rig rig;
    ds_rig_init(&rig, 4, 1);
    rig.config.write_all = true;
    ds_rig_open(&rig);
    struct ds_ref ref = ds_rig_store(&rig, "abc", 3);
    for (unsigned i = 0; i < 4; i++) /* always later than the configured least */
        prov_mem_set_latency(rig.mem[i], 3 * rig.config.get_hedge_min_ns, 0);
    for (unsigned i = 0; i < 100; i++) {
        struct ds_get g = ds_rig_get(&rig, &ref, 0, 0);
        c2_blob_unref(g.data);
    }
    for (unsigned i = 0; i < 4; i++)
        prov_mem_set_latency(rig.mem[i], 3 * rig.config.get_hedge_min_ns - C2_NS_PER_MS, 0);
    uint64_t unknown = 0; /* hedges before anything was measured */
    for (unsigned i = 0; i < 4; i++)
        unknown += hedges_of(&rig, i);
    uint64_t before = ds_rig_requests(&rig, PROV_GET);
    struct ds_get g = ds_rig_get(&rig, &ref, 0, 0);
    c2_blob_unref(g.data);
    uint64_t usual = ds_rig_requests(&rig, PROV_GET) - before; /* of a read */
    for (unsigned i = 0; i < 100; i++) {
        g = ds_rig_get(&rig, &ref, 0, 0);
        assert_int_equal(g.seats_slow, 0);
        c2_blob_unref(g.data);
    }
    assert_int_equal(ds_rig_requests(&rig, PROV_GET), before + 101 * usual);

    uint64_t at_zero = hedges_of(&rig, 0);
    prov_mem_set_latency(rig.mem[0], 60 * rig.config.get_hedge_min_ns, 0);
    uint64_t start = c2_now_ns(rig.env);
    g = ds_rig_get(&rig, &ref, 0, 0);
    uint64_t took = c2_now_ns(rig.env) - start; /* p95, then the others' answers */
    assert_int_equal(g.err, C2_E_OK);
    assert_int_equal(g.seats_slow, 1);
    c2_blob_unref(g.data);
    assert_in_range(took, 5 * rig.config.get_hedge_min_ns, 8 * rig.config.get_hedge_min_ns);
    assert_int_equal(hedges_of(&rig, 0), at_zero + 1);
    for (unsigned i = 0; i < 4; i++)
        unknown -= i == 0 ? at_zero : hedges_of(&rig, i);
    assert_int_equal(unknown, 0);
    ds_rig_done(&rig);
}

/* What hangs is no matter of budgets: it is replaced, and its breaker opens. */
static void
hedge__a_seat_that_hangs_is_replaced_without_budget(void **state)
{
    (void)state;
    struct ds_rig rig;
    ds_rig_init(&rig, 4, 1);
    rig.config.hedge_percent = 0;
    rig.config.write_all = true;
    ds_rig_open(&rig);
    struct ds_ref ref = ds_rig_store(&rig, "abc", 3);
    for (unsigned round = 0; round < 12; round++) { /* uses the budget up */
        ds_rig_fault(&rig, round % 2, "get.hang");
        for (unsigned i = 0; i < 3; i++) {
            uint64_t start = c2_now_ns(rig.env);
            struct ds_get g = ds_rig_get(&rig, &ref, 0, 0);
            assert_int_equal(g.err, C2_E_OK);
            c2_blob_unref(g.data);
            assert_true(c2_now_ns(rig.env) - start <= 4 * rig.config.get_hedge_min_ns);
        }
        assert_int_equal(state_of(&rig, round % 2), DS_SEAT_UNREACH);
        ds_rig_fault(&rig, round % 2, "");
        test_env_run_for(rig.t, 200 * C2_NS_PER_S);
        assert_int_equal(state_of(&rig, round % 2), DS_SEAT_ONLINE);
    }
    assert_true(c2_mark_count("hedge: no budget") > 0);
    ds_rig_done(&rig);
}

/* More than f are gone: all retries are made until the breakers open, and two attempts later. */
static void
gone__seats_are_soon_given_up_and_soon_found_again(void **state)
{
    (void)state;
    enum { ATTEMPTS = 5 };
    struct ds_rig rig;
    ds_rig_init(&rig, 4, 1);
    for (unsigned i = 0; i < 4; i++)
        rig.seat[i] = prov_retry_new(prov_stats_new(rig.seat[i]), ATTEMPTS, 100 * C2_NS_PER_MS,
                                     10 * C2_NS_PER_S);
    ds_rig_open(&rig);
    struct ds_ref ref = ds_rig_store(&rig, "abc", 3); /* in seats 0, 1, 2 */
    ds_rig_reopen(&rig);
    ds_rig_fault(&rig, 0, "down");
    ds_rig_fault(&rig, 1, "error");
    const uint64_t *sent = &rig.seat[0]->inner->stats->requests[PROV_GET];
    const uint64_t *sent1 = &rig.seat[1]->inner->stats->requests[PROV_GET];
    assert_int_equal(ds_rig_get(&rig, &ref, 0, 0).err, C2_E_QUORUM);
    assert_int_equal(*sent, ATTEMPTS);
    assert_int_equal(*sent1, ATTEMPTS);
    for (unsigned i = 0; i < 2; i++) /* each is late, too, and fails */
        assert_int_equal(ds_rig_get(&rig, &ref, 0, 0).err, C2_E_QUORUM);
    uint64_t before = *sent, before1 = *sent1, start = c2_now_ns(rig.env);
    assert_int_equal(ds_rig_get(&rig, &ref, 0, 0).err, C2_E_QUORUM);
    assert_int_equal(*sent, before + 2);
    assert_int_equal(*sent1, before1 + 2);
    assert_true(c2_now_ns(rig.env) - start <= 2 * 100 * C2_NS_PER_MS);

    ds_rig_fault(&rig, 0, "");
    struct ds_get g = ds_rig_get(&rig, &ref, 0, 0); /* without waiting for a probe */
    assert_int_equal(g.err, C2_E_OK);
    c2_blob_unref(g.data);
    ds_rig_fault(&rig, 1, "throttle"); /* this one is there, it wants to be asked later */
    ds_rig_fault(&rig, 0, "get.absent");
    assert_int_equal(ds_rig_get(&rig, &ref, 0, 0).err, C2_E_QUORUM);
    before1 = *sent1;
    assert_int_equal(ds_rig_get(&rig, &ref, 0, 0).err, C2_E_QUORUM);
    assert_int_equal(*sent1, before1 + ATTEMPTS);
    ds_rig_done(&rig);
}

struct waited_probe {
    struct ds_probe p;
    bool done;
};

static void
probe_done(struct ds_probe *p)
{
    C2_CONTAINER_OF(p, struct waited_probe, p)->done = true;
}

static void
probe__tells_who_answers(void **state)
{
    (void)state;
    struct ds_rig rig;
    open_rig(&rig);
    ds_rig_fault(&rig, 2, "down");
    struct waited_probe w = { .p = { .done = probe_done } };
    ds_probe_start(rig.c, &w.p);
    assert_false(w.done);
    test_env_run_until(rig.t, &w.done);
    assert_int_equal(w.p.answered, 0xb);
    assert_int_equal(ds_rig_requests(&rig, PROV_HEAD), 3);
    assert_int_equal(ds_client_n(rig.c), 4);
    assert_int_equal(ds_client_f(rig.c), 1);
    ds_rig_done(&rig);
}

static void
client__refuses_what_cannot_tolerate_f_faults(void **state)
{
    (void)state;
    static const unsigned bad[][2] = {
        { 3, 1 }, { 4, 0 }, { 6, 2 }, { 9, 2 }, { 10, 3 }, { 0, 0 }
    };
    struct ds_rig rig;
    ds_rig_init(&rig, 4, 1);
    for (size_t i = 0; i < C2_ARRAY_LEN(bad); i++) {
        struct ds_config config = rig.config;
        struct ds_client *c = NULL;
        config.n = bad[i][0];
        config.f = bad[i][1];
        assert_int_equal(ds_client_new(rig.env, &config, rig.seat, &c), C2_E_INVALID);
        assert_null(c);
    }
    ds_rig_done(&rig);
}

static void
client__drains_stragglers_and_probes(void **state)
{
    (void)state;
    struct ds_rig rig;
    open_rig(&rig);
    ds_rig_fault(&rig, 0, "hang");
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(put_small(&rig), C2_E_OK);
    test_env_run_for(rig.t, 30 * C2_NS_PER_S); /* a probe of seat 0 is under way */
    uint64_t start = c2_now_ns(rig.env);
    ds_rig_close(&rig);
    assert_int_equal(c2_now_ns(rig.env), start);
    ds_rig_done(&rig);
}

static void
names__of_states_are_stable(void **state)
{
    (void)state;
    assert_string_equal(ds_seat_state_name(DS_SEAT_EMPTY), "empty");
    assert_string_equal(ds_seat_state_name(DS_SEAT_ONLINE), "online");
    assert_string_equal(ds_seat_state_name(DS_SEAT_DEGRADED), "degraded");
    assert_string_equal(ds_seat_state_name(DS_SEAT_UNREACH), "unreachable");
    assert_string_equal(ds_seat_state_name(DS_SEAT_SUSPECT), "suspect");
    assert_string_equal(ds_seat_state_name(DS_SEAT_READONLY), "readonly");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(health__falls_step_by_step_and_recovers_by_probes),
        cmocka_unit_test(health__seat_that_refuses_is_degraded_and_skipped),
        cmocka_unit_test(health__seat_that_refuses_writes_is_readonly_and_still_read),
        cmocka_unit_test(health__readonly_seat_is_tried_every_30_s),
        cmocka_unit_test(health__seat_that_refuses_everything_is_not_readonly),
        cmocka_unit_test(health__slow_seat_is_ranked_last_and_gets_another_chance),
        cmocka_unit_test(health__broken_seats_are_asked_when_nothing_else_is_left),
        cmocka_unit_test(health__suspect_seat_earns_trust_by_good_shares),
        cmocka_unit_test(goal__is_what_an_object_can_have),
        cmocka_unit_test(hedge__budget_bounds_what_a_slow_day_costs),
        cmocka_unit_test(hedge__fires_after_the_measured_p95_and_is_counted_at_the_late_seat),
        cmocka_unit_test(hedge__a_seat_that_hangs_is_replaced_without_budget),
        cmocka_unit_test(gone__seats_are_soon_given_up_and_soon_found_again),
        cmocka_unit_test(probe__tells_who_answers),
        cmocka_unit_test(client__refuses_what_cannot_tolerate_f_faults),
        cmocka_unit_test(client__drains_stragglers_and_probes),
        cmocka_unit_test(names__of_states_are_stable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
