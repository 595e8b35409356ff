/* SPDX-License-Identifier: MIT */
/*
 * The lock of a unit: who gets it, for how long, by whose clock, and what is written without it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "backends/mem.h"
#include "base/alloc.h"
#include "base/mark.h"
#include "tests/lib/prov_gate.h"
#include "tests/lib/test_env.h"
#include "tests/lib/unit_rig.h"

#define HOUR_NS (3600 * C2_NS_PER_S)

struct fixture {
    struct unit_rig rig;
    struct ds_unit *a, *b; /* two writers */
};

static struct fixture
open_default(void)
{
    struct fixture f;
    unit_rig_init(&f.rig, 4, 1);
    f.a = unit_rig_open(&f.rig, "config", 0, false);
    f.b = unit_rig_open(&f.rig, "config", 1, false);
    c2_mark_reset();
    return f;
}

static void
close_all(struct fixture *f)
{
    ds_unit_close(f->a);
    ds_unit_close(f->b);
    unit_rig_done(&f->rig);
}

static enum c2_err
lock(struct fixture *f, struct ds_unit *u)
{
    return unit_rig_lock(&f->rig, u, 0, 0).err;
}

static void
lock__is_held_by_one_at_a_time(void **state)
{
    (void)state;
    struct fixture f = open_default();
    struct ds_unit_lock l = unit_rig_lock(&f.rig, f.a, 0, 0);
    assert_int_equal(l.err, C2_E_OK);
    assert_true(ds_unit_locked(f.a));
    assert_int_equal(l.expires_wall_ns, c2_wall_ns(f.rig.ds.env) + DS_UNIT_LEASE_NS);
    struct ds_unit_lock other = unit_rig_lock(&f.rig, f.b, 0, 0);
    assert_int_equal(other.err, C2_E_BUSY);
    assert_int_equal(other.expires_wall_ns, l.expires_wall_ns);
    assert_memory_equal(other.holder, f.rig.public_key[0], DS_UNIT_PUBLIC_LEN);
    assert_false(ds_unit_locked(f.b));
    assert_int_equal(unit_rig_unlock(&f.rig, f.a), C2_E_OK);
    assert_false(ds_unit_locked(f.a));
    assert_int_equal(lock(&f, f.b), C2_E_OK);
    close_all(&f);
}

static void
lock__leaves_nothing_behind_when_released(void **state)
{
    (void)state;
    struct fixture f = open_default();
    assert_int_equal(lock(&f, f.a), C2_E_OK);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(unit_rig_count(&f.rig, i, "/l/"), 1);
    assert_int_equal(unit_rig_unlock(&f.rig, f.a), C2_E_OK);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(unit_rig_count(&f.rig, i, "/l/"), 0);
    assert_int_equal(unit_rig_unlock(&f.rig, f.a), C2_E_FENCED);
    close_all(&f);
}

static void
lock__allows_writing_and_skips_the_question(void **state)
{
    (void)state;
    struct fixture f = open_default();
    assert_int_equal(lock(&f, f.a), C2_E_OK);
    unit_rig_store(&f.rig, f.a, DS_UNIT_A, "one");
    assert_int_equal(c2_mark_count("unit: writes without asking first"), 0);
    uint64_t lists = ds_rig_requests(&f.rig.ds, PROV_LIST);
    unit_rig_store(&f.rig, f.a, DS_UNIT_CA, "two");
    assert_int_equal(c2_mark_count("unit: writes without asking first"), 1);
    assert_int_equal(ds_rig_requests(&f.rig.ds, PROV_LIST), lists);
    unit_rig_expect(&f.rig, f.b, 0, "two");
    close_all(&f);
}

static void
lock__the_next_holder_asks_again(void **state)
{
    (void)state;
    struct fixture f = open_default();
    for (unsigned i = 1; i <= 6; i += 2) {
        assert_int_equal(lock(&f, f.a), C2_E_OK);
        assert_int_equal(unit_rig_store(&f.rig, f.a, DS_UNIT_A, "a"), i);
        assert_int_equal(unit_rig_unlock(&f.rig, f.a), C2_E_OK);
        assert_int_equal(lock(&f, f.b), C2_E_OK);
        assert_int_equal(unit_rig_store(&f.rig, f.b, DS_UNIT_A, "b"), i + 1);
        assert_int_equal(unit_rig_unlock(&f.rig, f.b), C2_E_OK);
    }
    struct ds_unit_versions v = unit_rig_versions(&f.rig, f.a);
    assert_int_equal(v.nitems, 6);
    c2_free(v.items);
    close_all(&f);
}

static void
lock__ends_by_itself(void **state)
{
    (void)state;
    struct fixture f = open_default();
    assert_int_equal(unit_rig_lock(&f.rig, f.a, 20 * C2_NS_PER_S, 0).err, C2_E_OK);
    test_env_run_for(f.rig.ds.t, 14 * C2_NS_PER_S);
    assert_true(ds_unit_locked(f.a));
    test_env_run_for(f.rig.ds.t, 1 * C2_NS_PER_S);
    assert_false(ds_unit_locked(f.a)); /* 5 s before its time: clocks differ */
    assert_int_equal(unit_rig_write(&f.rig, f.a, DS_UNIT_A, "x", 1).err, C2_E_FENCED);
    assert_int_equal(unit_rig_renew(&f.rig, f.a).err, C2_E_FENCED);
    test_env_run_for(f.rig.ds.t, 10 * C2_NS_PER_S);
    assert_int_equal(lock(&f, f.b), C2_E_BUSY); /* 5 s after its time: not yet */
    test_env_run_for(f.rig.ds.t, 1 * C2_NS_PER_S);
    assert_int_equal(lock(&f, f.b), C2_E_OK);
    assert_int_equal(unit_rig_count(&f.rig, 0, "/l/"), 1); /* the old one is gone */
    close_all(&f);
}

static void
lock__is_waited_for(void **state)
{
    (void)state;
    struct fixture f = open_default();
    uint64_t before = c2_now_ns(f.rig.ds.env);
    assert_int_equal(unit_rig_lock(&f.rig, f.a, 20 * C2_NS_PER_S, 0).err, C2_E_OK);
    assert_int_equal(unit_rig_lock(&f.rig, f.b, 0, 10 * C2_NS_PER_S).err, C2_E_BUSY);
    assert_true(c2_now_ns(f.rig.ds.env) - before <= 10 * C2_NS_PER_S);
    assert_int_equal(unit_rig_lock(&f.rig, f.b, 0, 60 * C2_NS_PER_S).err, C2_E_OK);
    assert_true(c2_now_ns(f.rig.ds.env) - before >= 25 * C2_NS_PER_S);
    assert_true(c2_now_ns(f.rig.ds.env) - before <= 30 * C2_NS_PER_S);
    close_all(&f);
}

static void
lock__is_renewed_without_a_gap(void **state)
{
    (void)state;
    struct fixture f = open_default();
    assert_int_equal(lock(&f, f.a), C2_E_OK);
    unit_rig_store(&f.rig, f.a, DS_UNIT_A, "one");
    for (unsigned i = 0; i < 10; i++) {
        test_env_run_for(f.rig.ds.t, 40 * C2_NS_PER_S);
        assert_true(ds_unit_locked(f.a));
        assert_int_equal(lock(&f, f.b), C2_E_BUSY);
        assert_int_equal(unit_rig_renew(&f.rig, f.a).err, C2_E_OK);
        assert_int_equal(unit_rig_count(&f.rig, 0, "/l/"), 1);
    }
    unit_rig_store(&f.rig, f.a, DS_UNIT_A, "two");
    assert_int_equal(c2_mark_count("unit: writes without asking first"), 1);
    close_all(&f);
}

static void
lock__a_renewal_that_comes_too_late_is_none(void **state)
{
    (void)state;
    struct fixture f = open_default();
    assert_int_equal(unit_rig_lock(&f.rig, f.a, 20 * C2_NS_PER_S, 0).err, C2_E_OK);
    for (unsigned i = 0; i < 4; i++)
        prov_mem_set_latency(f.rig.ds.mem[i], 16 * C2_NS_PER_S, 0);
    assert_int_equal(unit_rig_renew(&f.rig, f.a).err, C2_E_FENCED);
    assert_false(ds_unit_locked(f.a));
    close_all(&f);
}

static void
lock__one_cloud_may_fail_in_any_way(void **state)
{
    (void)state;
    static const char *const faults[] = { "down",   "error", "noack", "lie",
                                          "absent", "empty", "forge", "throttle" };
    for (unsigned i = 0; i < C2_ARRAY_LEN(faults); i++) {
        struct fixture f = open_default();
        ds_rig_fault(&f.rig.ds, i % 4, faults[i]);
        assert_int_equal(lock(&f, f.a), C2_E_OK);
        assert_int_equal(lock(&f, f.b), C2_E_BUSY);
        unit_rig_store(&f.rig, f.a, DS_UNIT_A, "one");
        assert_int_equal(unit_rig_unlock(&f.rig, f.a), C2_E_OK);
        ds_rig_fault(&f.rig.ds, i % 4, "");
        test_env_run_for(f.rig.ds.t, 2 * DS_UNIT_LEASE_NS);
        assert_int_equal(lock(&f, f.b), C2_E_OK);
        close_all(&f);
    }
}

static void
lock__two_clouds_down_are_no_free_lock(void **state)
{
    (void)state;
    struct fixture f = open_default();
    assert_int_equal(lock(&f, f.a), C2_E_OK);
    ds_rig_fault(&f.rig.ds, 0, "down");
    ds_rig_fault(&f.rig.ds, 1, "down");
    assert_int_equal(lock(&f, f.b), C2_E_QUORUM);
    assert_int_equal(unit_rig_unlock(&f.rig, f.a), C2_E_QUORUM);
    assert_false(ds_unit_locked(f.a));
    close_all(&f);
}

struct waited_unlock {
    struct ds_unit_unlock l;
    bool done;
};

static void
unlock_done(struct ds_unit_unlock *l)
{
    C2_CONTAINER_OF(l, struct waited_unlock, l)->done = true;
}

/* A command that took the lock has ended; the next one has its session's number only. */
static void
unlock__of_a_whole_session_needs_no_handle_that_held_it(void **state)
{
    (void)state;
    struct fixture f = open_default();
    struct ds_unit *first = unit_rig_open_session(&f.rig, "config", 0, 77);
    struct ds_unit *later = unit_rig_open_session(&f.rig, "config", 0, 77);
    struct ds_unit *other = unit_rig_open_session(&f.rig, "config", 0, 78);
    struct waited_unlock w = { .l = { .whole_session = true, .done = unlock_done } };
    assert_int_equal(lock(&f, first), C2_E_OK);
    test_env_run_for(f.rig.ds.t, C2_NS_PER_S);
    assert_int_equal(unit_rig_renew(&f.rig, first).err, C2_E_OK);
    ds_unit_close(first);
    ds_unit_unlock_start(other, &w.l); /* not its own */
    ds_rig_wait(&f.rig.ds, &w.done);
    assert_int_equal(w.l.err, C2_E_OK);
    assert_int_equal(lock(&f, f.b), C2_E_BUSY);
    w.done = false;
    ds_unit_unlock_start(later, &w.l);
    ds_rig_wait(&f.rig.ds, &w.done);
    assert_int_equal(w.l.err, C2_E_OK);
    assert_int_equal(lock(&f, f.b), C2_E_OK);
    ds_rig_fault(&f.rig.ds, 0, "down");
    ds_rig_fault(&f.rig.ds, 1, "down");
    w.done = false;
    ds_unit_unlock_start(later, &w.l);
    ds_rig_wait(&f.rig.ds, &w.done);
    assert_int_equal(w.l.err, C2_E_QUORUM);
    ds_unit_close(later);
    ds_unit_close(other);
    close_all(&f);
}

/* Else the late PUT would bring the lock back, and nobody could take it until the lease is over. */
static void
unlock__waits_for_a_late_put_of_the_lock(void **state)
{
    (void)state;
    struct fixture f = open_default();
    struct waited_unlock w = { .l = { .done = unlock_done } };
    prov_gate_close(f.rig.gate[3], PROV_PUT, "/l/");
    assert_int_equal(lock(&f, f.a), C2_E_OK);
    ds_unit_unlock_start(f.a, &w.l);
    test_env_run_for(f.rig.ds.t, C2_NS_PER_S);
    assert_false(w.done);
    prov_gate_open(f.rig.gate[3]);
    ds_rig_wait(&f.rig.ds, &w.done);
    assert_int_equal(w.l.err, C2_E_OK);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(unit_rig_count(&f.rig, i, "/l/"), 0);
    assert_int_equal(lock(&f, f.b), C2_E_OK);
    /* It does not wait for ever. */
    assert_int_equal(unit_rig_unlock(&f.rig, f.b), C2_E_OK);
    prov_gate_close(f.rig.gate[3], PROV_PUT, "/l/");
    assert_int_equal(lock(&f, f.a), C2_E_OK);
    assert_int_equal(unit_rig_unlock(&f.rig, f.a), C2_E_OK);
    prov_gate_open(f.rig.gate[3]);
    close_all(&f);
}

struct waited_lock {
    struct ds_unit_lock l;
    bool done;
};

static void
lock_done(struct ds_unit_lock *l)
{
    C2_CONTAINER_OF(l, struct waited_lock, l)->done = true;
}

/* Both have listed nothing; then both put, then both list. */
static void
lock__of_two_at_the_same_moment_at_most_one_wins(void **state)
{
    (void)state;
    struct fixture f = open_default();
    struct waited_lock one = { .l = { .done = lock_done } };
    struct waited_lock two = { .l = { .done = lock_done } };
    for (unsigned i = 0; i < 4; i++)
        prov_gate_close(f.rig.gate[i], PROV_PUT, "/l/");
    ds_unit_lock_start(f.a, &one.l);
    ds_unit_lock_start(f.b, &two.l);
    test_env_run_ready(f.rig.ds.t);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(prov_gate_waiting(f.rig.gate[i]), 2);
        prov_gate_open(f.rig.gate[i]);
    }
    ds_rig_wait(&f.rig.ds, &one.done);
    ds_rig_wait(&f.rig.ds, &two.done);
    assert_false(one.l.err == C2_E_OK && two.l.err == C2_E_OK);
    assert_true(c2_mark_count("unit: two try to lock at the same time") > 0);
    /* With some patience each gets its turn. */
    assert_int_equal(unit_rig_lock(&f.rig, f.a, 0, HOUR_NS).err, C2_E_OK);
    assert_int_equal(unit_rig_unlock(&f.rig, f.a), C2_E_OK);
    assert_int_equal(unit_rig_lock(&f.rig, f.b, 0, HOUR_NS).err, C2_E_OK);
    close_all(&f);
}

static void
lock__both_get_it_in_turn_when_they_wait(void **state)
{
    (void)state;
    struct fixture f = open_default();
    struct waited_lock one = { .l = { .wait_ns = HOUR_NS, .done = lock_done } };
    struct waited_lock two = one;
    for (unsigned i = 0; i < 4; i++)
        prov_mem_set_latency(f.rig.ds.mem[i], 50 * C2_NS_PER_MS, 20 * C2_NS_PER_MS);
    ds_unit_lock_start(f.a, &one.l);
    ds_unit_lock_start(f.b, &two.l);
    while (!one.done && !two.done)
        assert_true(test_env_step(f.rig.ds.t));
    assert_true(one.done != two.done);
    struct ds_unit *first = one.done ? f.a : f.b;
    assert_int_equal(unit_rig_unlock(&f.rig, first), C2_E_OK);
    ds_rig_wait(&f.rig.ds, one.done ? &two.done : &one.done);
    assert_int_equal(one.l.err, C2_E_OK);
    assert_int_equal(two.l.err, C2_E_OK);
    close_all(&f);
}

static void
lock__a_write_that_outlives_its_lock_is_not_published(void **state)
{
    (void)state;
    static const enum ds_unit_protocol both[] = { DS_UNIT_A, DS_UNIT_CA };
    for (unsigned i = 0; i < C2_ARRAY_LEN(both); i++) {
        struct fixture f = open_default();
        assert_int_equal(unit_rig_lock(&f.rig, f.a, 20 * C2_NS_PER_S, 0).err, C2_E_OK);
        for (unsigned k = 0; k < 4; k++)
            prov_mem_set_latency(f.rig.ds.mem[k], 10 * C2_NS_PER_S, 0);
        assert_int_equal(unit_rig_write(&f.rig, f.a, both[i], "late", 4).err, C2_E_FENCED);
        for (unsigned k = 0; k < 4; k++) {
            prov_mem_set_latency(f.rig.ds.mem[k], 0, 0);
            assert_int_equal(unit_rig_count(&f.rig, k, "/m/"), 0);
        }
        assert_int_equal(c2_mark_count("unit: the lock was lost before the metadata"), 1);
        assert_int_equal(unit_rig_read(&f.rig, f.b, 0).err, C2_E_NOT_FOUND);
        close_all(&f);
    }
}

struct waited_write {
    struct ds_unit_write w;
    bool done;
};

static void
write_done(struct ds_unit_write *w)
{
    C2_CONTAINER_OF(w, struct waited_write, w)->done = true;
}

/* The value is under way when the lock ends; before it arrives, the same handle has the lock again
 * and somebody else has written in between. */
static void
lock__a_new_tenure_does_not_save_an_old_write(void **state)
{
    (void)state;
    struct fixture f = open_default();
    struct c2_slice piece = c2_slice_str("old");
    struct waited_write w = { .w = { .data = &piece, .ndata = 1, .done = write_done } };
    assert_int_equal(unit_rig_lock(&f.rig, f.a, 20 * C2_NS_PER_S, 0).err, C2_E_OK);
    for (unsigned i = 0; i < 4; i++)
        prov_gate_close(f.rig.gate[i], PROV_PUT, "/v/");
    ds_unit_write_start(f.a, &w.w);
    test_env_run_for(f.rig.ds.t, 26 * C2_NS_PER_S);
    assert_int_equal(unit_rig_lock(&f.rig, f.a, 0, 0).err, C2_E_OK);
    for (unsigned i = 0; i < 4; i++)
        prov_gate_open(f.rig.gate[i]);
    ds_rig_wait(&f.rig.ds, &w.done);
    assert_int_equal(w.w.err, C2_E_FENCED);
    assert_int_equal(unit_rig_read(&f.rig, f.b, 0).err, C2_E_NOT_FOUND);
    close_all(&f);
}

static void
lock__handles_of_one_session_share_it(void **state)
{
    (void)state;
    struct fixture f = open_default();
    struct ds_unit *outer = unit_rig_open_session(&f.rig, "config", 0, 77);
    struct ds_unit *inner = unit_rig_open_session(&f.rig, "config", 0, 77);
    assert_int_equal(ds_unit_session(inner), 77);
    assert_int_equal(lock(&f, outer), C2_E_OK);
    test_env_run_for(f.rig.ds.t, C2_NS_PER_S); /* another end, so another name */
    assert_int_equal(lock(&f, inner), C2_E_OK);
    unit_rig_store(&f.rig, inner, DS_UNIT_A, "one");
    assert_int_equal(unit_rig_unlock(&f.rig, inner), C2_E_OK);
    assert_true(ds_unit_locked(outer));
    assert_int_equal(lock(&f, f.b), C2_E_BUSY); /* the outer one is still there */
    assert_int_equal(unit_rig_unlock(&f.rig, outer), C2_E_OK);
    assert_int_equal(lock(&f, f.b), C2_E_OK);
    ds_unit_close(inner);
    ds_unit_close(outer);
    close_all(&f);
}

static void
lock__leases_have_limits(void **state)
{
    (void)state;
    struct fixture f = open_default();
    assert_int_equal(unit_rig_lock(&f.rig, f.a, 15 * C2_NS_PER_S - 1, 0).err, C2_E_INVALID);
    assert_int_equal(unit_rig_lock(&f.rig, f.a, DS_UNIT_LEASE_MAX_NS + 1, 0).err, C2_E_INVALID);
    assert_int_equal(ds_rig_requests(&f.rig.ds, PROV_LIST), 0);
    struct ds_unit *reader = unit_rig_open(&f.rig, "config", UNIT_RIG_NOBODY, false);
    assert_int_equal(lock(&f, reader), C2_E_NOT_PERMITTED);
    ds_unit_close(reader);
    close_all(&f);
}

static void
lock__one_request_at_a_time(void **state)
{
    (void)state;
    struct fixture f = open_default();
    struct waited_lock one = { .l = { .done = lock_done } };
    struct waited_lock two = one;
    ds_unit_lock_start(f.a, &one.l);
    ds_unit_lock_start(f.a, &two.l);
    assert_int_equal(unit_rig_unlock(&f.rig, f.a), C2_E_BUSY);
    ds_rig_wait(&f.rig.ds, &one.done);
    ds_rig_wait(&f.rig.ds, &two.done);
    assert_int_equal(one.l.err, C2_E_OK);
    assert_int_equal(two.l.err, C2_E_BUSY);
    assert_int_equal(unit_rig_unlock(&f.rig, f.a), C2_E_OK);
    close_all(&f);
}

static void
lock__a_lying_clock_moves_nothing(void **state)
{
    (void)state;
    static const int64_t offsets[] = { INT64_C(86400000000000), -INT64_C(86400000000000) };
    for (unsigned i = 0; i < C2_ARRAY_LEN(offsets); i++) {
        struct fixture f = open_default();
        prov_gate_set_clock(f.rig.gate[2], offsets[i]);
        struct ds_unit_lock l = unit_rig_lock(&f.rig, f.a, 0, 0);
        assert_int_equal(l.err, C2_E_OK);
        assert_int_equal(l.expires_wall_ns, c2_wall_ns(f.rig.ds.env) + DS_UNIT_LEASE_NS);
        assert_int_equal(lock(&f, f.b), C2_E_BUSY);
        test_env_run_for(f.rig.ds.t, DS_UNIT_LEASE_NS + 6 * C2_NS_PER_S);
        assert_int_equal(lock(&f, f.b), C2_E_OK);
        close_all(&f);
    }
}

static void
lock__a_machine_that_slept_has_lost_it(void **state)
{
    (void)state;
    struct fixture f = open_default();
    assert_int_equal(lock(&f, f.a), C2_E_OK);
    test_env_wall_jump(f.rig.ds.t, INT64_C(120000000000)); /* the monotonic clock stood still */
    assert_false(ds_unit_locked(f.a));
    assert_int_equal(unit_rig_write(&f.rig, f.a, DS_UNIT_A, "x", 1).err, C2_E_FENCED);
    close_all(&f);
}

static void
lock__forged_locks_hold_nobody_up(void **state)
{
    (void)state;
    struct fixture f = open_default();
    struct ds_unit *stranger = unit_rig_open(&f.rig, "config", 2, false);
    assert_int_equal(lock(&f, stranger), C2_E_OK); /* in all clouds, signed by nobody we trust */
    assert_int_equal(lock(&f, f.a), C2_E_OK);
    ds_unit_close(stranger);
    close_all(&f);
}

static void
lock__a_draining_client_ends_the_waiting(void **state)
{
    (void)state;
    struct fixture f = open_default();
    assert_int_equal(lock(&f, f.a), C2_E_OK);
    struct waited_lock w = { .l = { .wait_ns = HOUR_NS, .done = lock_done } };
    ds_unit_lock_start(f.b, &w.l);
    test_env_run_for(f.rig.ds.t, C2_NS_PER_S);
    assert_false(w.done);
    ds_rig_close(&f.rig.ds);
    assert_true(w.done);
    assert_int_equal(w.l.err, C2_E_CANCELED);
    close_all(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lock__is_held_by_one_at_a_time),
        cmocka_unit_test(lock__leaves_nothing_behind_when_released),
        cmocka_unit_test(lock__allows_writing_and_skips_the_question),
        cmocka_unit_test(lock__the_next_holder_asks_again),
        cmocka_unit_test(lock__ends_by_itself),
        cmocka_unit_test(lock__is_waited_for),
        cmocka_unit_test(lock__is_renewed_without_a_gap),
        cmocka_unit_test(lock__a_renewal_that_comes_too_late_is_none),
        cmocka_unit_test(lock__one_cloud_may_fail_in_any_way),
        cmocka_unit_test(lock__two_clouds_down_are_no_free_lock),
        cmocka_unit_test(lock__of_two_at_the_same_moment_at_most_one_wins),
        cmocka_unit_test(lock__both_get_it_in_turn_when_they_wait),
        cmocka_unit_test(lock__a_write_that_outlives_its_lock_is_not_published),
        cmocka_unit_test(lock__a_new_tenure_does_not_save_an_old_write),
        cmocka_unit_test(unlock__of_a_whole_session_needs_no_handle_that_held_it),
        cmocka_unit_test(unlock__waits_for_a_late_put_of_the_lock),
        cmocka_unit_test(lock__handles_of_one_session_share_it),
        cmocka_unit_test(lock__leases_have_limits),
        cmocka_unit_test(lock__one_request_at_a_time),
        cmocka_unit_test(lock__a_lying_clock_moves_nothing),
        cmocka_unit_test(lock__a_machine_that_slept_has_lost_it),
        cmocka_unit_test(lock__forged_locks_hold_nobody_up),
        cmocka_unit_test(lock__a_draining_client_ends_the_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
