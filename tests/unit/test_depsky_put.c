/* SPDX-License-Identifier: MIT */
/*
 * Writing with faulty clouds: who is asked, how often, what counts as an acknowledgement, and what
 * is left behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "backends/mem.h"
#include "backends/registry.h"
#include "base/mark.h"
#include "tests/lib/ds_rig.h"
#include "tests/lib/test_env.h"

#define LEN 200000u

struct fixture {
    struct ds_rig rig;
    struct c2_blob *data;
};

static struct fixture
open_default(void)
{
    struct fixture f;
    ds_rig_init(&f.rig, 4, 1);
    ds_rig_open(&f.rig);
    f.data = ds_rig_random(1, LEN);
    c2_mark_reset();
    return f;
}

static void
close_all(struct fixture *f)
{
    c2_blob_unref(f->data);
    ds_rig_done(&f->rig);
}

static struct ds_put
put(struct fixture *f)
{
    return ds_rig_put(&f->rig, f->data->data, f->data->len);
}

static void
put__sends_three_shares_to_three_seats(void **state)
{
    (void)state;
    struct fixture f = open_default();
    struct ds_put p = put(&f);
    assert_int_equal(p.err, C2_E_OK);
    assert_int_equal(p.placed, 0x7);
    assert_int_equal(ds_rig_requests(&f.rig, PROV_PUT), 3);
    assert_int_equal(ds_rig_requests(&f.rig, PROV_GET), 0);
    assert_int_equal(prov_mem_count(f.rig.mem[3]), 0);
    char key[PROV_KEY_MAX];
    ds_rig_key(&f.rig, &p.ref, key);
    assert_string_equal(key, "v1/c2c2c2c2/o/0000000000000001/0000000000000001");
    size_t stored = 0;
    for (unsigned i = 0; i < 3; i++)
        stored += prov_mem_peek(f.rig.mem[i], key)->len;
    assert_int_equal(p.stored_bytes, stored);
    assert_int_equal(p.ref.plain_len, LEN);
    close_all(&f);
}

/* Every kind of fault of any one seat: the object is written and reads back without that seat. */
static void
put__survives_every_fault_of_one_seat(void **state)
{
    (void)state;
    static const char *const kinds[] = { "put.error", "put.down", "put.throttle",
                                         "put.noack", "put.hang", "put.lie",
                                         "down",      "hang",     "put.delay:10s" };
    for (size_t k = 0; k < C2_ARRAY_LEN(kinds); k++) {
        for (unsigned seat = 0; seat < 4; seat++) {
            struct fixture f = open_default();
            ds_rig_fault(&f.rig, seat, kinds[k]);
            struct ds_put p = put(&f);
            assert_int_equal(p.err, C2_E_OK);
            assert_true(__builtin_popcount(p.placed) >= 3);
            if (seat < 3)
                assert_true(prov_fault_count(f.rig.seat[seat]) > 0 ||
                            strstr(kinds[k], "hang") != NULL || strstr(kinds[k], "delay") != NULL);
            ds_rig_fault(&f.rig, seat, "get.absent");
            ds_rig_reopen(&f.rig);
            ds_rig_expect(&f.rig, &p.ref, f.data, 0, 0);
            close_all(&f);
        }
    }
}

static void
put__reports_quorum_when_two_seats_fail(void **state)
{
    (void)state;
    for (unsigned a = 0; a < 4; a++) {
        for (unsigned b = 0; b < a; b++) {
            struct fixture f = open_default();
            ds_rig_fault(&f.rig, a, "put.error");
            ds_rig_fault(&f.rig, b, "put.down");
            struct ds_put p = put(&f);
            assert_int_equal(p.err, C2_E_QUORUM);
            assert_int_equal(p.seat_err[a], C2_E_UNAVAILABLE);
            assert_int_equal(p.seat_err[b], C2_E_UNREACHABLE);
            assert_int_equal(p.placed & (1u << a | 1u << b), 0);
            close_all(&f);
        }
    }
}

static void
put__survives_two_faults_with_seven_seats(void **state)
{
    (void)state;
    for (unsigned a = 0; a < 7; a++) {
        for (unsigned b = 0; b < a; b++) {
            struct ds_rig rig;
            ds_rig_init(&rig, 7, 2);
            ds_rig_open(&rig);
            struct c2_blob *data = ds_rig_random(1, 70000);
            ds_rig_fault(&rig, a, "put.lie");
            ds_rig_fault(&rig, b, "put.down");
            struct ds_ref ref = ds_rig_store(&rig, data->data, data->len);
            ds_rig_reopen(&rig);
            ds_rig_expect(&rig, &ref, data, 0, 0);
            c2_blob_unref(data);
            ds_rig_done(&rig);
        }
    }
}

static void
fill_key(struct fixture *f, unsigned seat, const char *text)
{
    char key[PROV_KEY_MAX];
    struct ds_ref next = { .oid = { .sid = 1, .seq = f->rig.seq + 1 } };
    ds_rig_key(&f->rig, &next, key);
    prov_mem_store(f->rig.mem[seat], key, c2_slice(text, strlen(text)));
}

static void
put__does_not_take_a_foreign_object_for_an_ack(void **state)
{
    (void)state;
    struct fixture f = open_default();
    fill_key(&f, 1, "something else");
    struct ds_put p = put(&f);
    assert_int_equal(p.err, C2_E_OK);
    assert_int_equal(p.placed, 0xd);
    assert_int_equal(p.seat_err[1], C2_E_EXISTS);
    assert_int_equal(c2_mark_count("put: another object has the key"), 1);
    close_all(&f);
}

static void
put__says_exists_only_when_more_than_f_seats_do(void **state)
{
    (void)state;
    struct fixture f = open_default();
    fill_key(&f, 1, "something else");
    fill_key(&f, 2, "something else");
    assert_int_equal(put(&f).err, C2_E_EXISTS);
    fill_key(&f, 1, "something else");
    ds_rig_fault(&f.rig, 2, "put.down");
    assert_int_equal(put(&f).err, C2_E_QUORUM);
    char key[PROV_KEY_MAX];
    struct ds_ref second = { .oid = { .sid = 1, .seq = 2 } };
    ds_rig_key(&f.rig, &second, key);
    assert_int_equal(prov_mem_peek(f.rig.mem[1], key)->len, 14); /* not overwritten */
    close_all(&f);
}

static void
put__starts_the_spare_when_a_seat_is_late(void **state)
{
    (void)state;
    struct fixture f = open_default();
    ds_rig_fault(&f.rig, 1, "put.hang");
    uint64_t start = c2_now_ns(f.rig.env);
    struct ds_put p = put(&f);
    assert_int_equal(p.err, C2_E_OK);
    assert_int_equal(p.placed, 0xd);
    assert_int_equal(p.seat_err[1], C2_E_TIMEOUT);
    assert_int_equal(c2_now_ns(f.rig.env) - start, f.rig.config.put_hedge_min_ns);
    assert_int_equal(c2_mark_count("put: a seat is late"), 1);
    close_all(&f);
}

/* A slow line makes every PUT slow; a fourth copy would make it slower. */
static void
put__does_not_hedge_while_nobody_has_answered(void **state)
{
    (void)state;
    struct fixture f = open_default();
    for (unsigned i = 0; i < 4; i++)
        prov_mem_set_latency(f.rig.mem[i], 9 * C2_NS_PER_S, 0);
    assert_int_equal(put(&f).err, C2_E_OK);
    assert_int_equal(ds_rig_requests(&f.rig, PROV_PUT), 3);
    close_all(&f);
}

static void
put__lets_a_late_share_arrive_after_done(void **state)
{
    (void)state;
    struct fixture f = open_default();
    ds_rig_fault(&f.rig, 0, "put.delay:5s");
    struct ds_put p = put(&f);
    char key[PROV_KEY_MAX];
    ds_rig_key(&f.rig, &p.ref, key);
    assert_int_equal(p.placed, 0xe);
    assert_null(prov_mem_peek(f.rig.mem[0], key));
    test_env_run_for(f.rig.t, 10 * C2_NS_PER_S);
    assert_non_null(prov_mem_peek(f.rig.mem[0], key));
    close_all(&f);
}

static void
put__keeps_few_stragglers(void **state)
{
    (void)state;
    struct fixture f = open_default();
    f.rig.config.put_timeout_ns = 3600 * C2_NS_PER_S;
    ds_rig_reopen(&f.rig);
    prov_mem_set_latency(f.rig.mem[0], 1800 * C2_NS_PER_S, 0);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(put(&f).err, C2_E_OK);
    ds_rig_close(&f.rig); /* asserts that none is left */
    ds_rig_open(&f.rig);
    close_all(&f);
}

static void
put__skips_a_seat_that_keeps_failing(void **state)
{
    (void)state;
    struct fixture f = open_default();
    ds_rig_fault(&f.rig, 0, "hang");
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(put(&f).err, C2_E_OK);
    struct ds_seat_status status;
    ds_seat_status(f.rig.c, 0, &status);
    assert_int_equal(status.state, DS_SEAT_UNREACH);
    uint64_t start = c2_now_ns(f.rig.env);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(put(&f).err, C2_E_OK);
    assert_int_equal(c2_now_ns(f.rig.env), start); /* not a moment lost */
    close_all(&f);
}

static void
put__with_write_all_tries_every_seat(void **state)
{
    (void)state;
    struct fixture f = open_default();
    f.rig.config.write_all = true;
    ds_rig_reopen(&f.rig);
    struct ds_put p = put(&f);
    assert_int_equal(p.err, C2_E_OK);
    assert_int_equal(p.placed, 0xf);
    ds_rig_fault(&f.rig, 2, "put.error");
    p = put(&f);
    assert_int_equal(p.err, C2_E_OK);
    assert_int_equal(p.placed, 0xb);
    ds_rig_fault(&f.rig, 2, "put.hang");
    p = put(&f);
    assert_int_equal(p.err, C2_E_OK);
    assert_int_equal(p.placed, 0xb);
    close_all(&f);
}

static void
put__with_an_empty_seat_uses_the_other_three(void **state)
{
    (void)state;
    struct fixture f = open_default();
    struct provider *seat2 = f.rig.seat[2];
    ds_rig_close(&f.rig);
    f.rig.seat[2] = NULL;
    ds_rig_open(&f.rig);
    struct ds_put p = put(&f);
    assert_int_equal(p.err, C2_E_OK);
    assert_int_equal(p.placed, 0xb);
    assert_int_equal(p.seat_err[2], C2_E_UNREACHABLE);
    ds_rig_expect(&f.rig, &p.ref, f.data, 0, 0);
    ds_rig_close(&f.rig);
    f.rig.seat[2] = seat2;
    ds_rig_open(&f.rig);
    close_all(&f);
}

static void
put__refuses_objects_of_impossible_size(void **state)
{
    (void)state;
    struct fixture f = open_default();
    assert_int_equal(ds_rig_put(&f.rig, "", 0).err, C2_E_INVALID);
    struct c2_blob *big = c2_blob_new(DS_OBJECT_SIZE_MAX + 1);
    assert_int_equal(ds_rig_put(&f.rig, big->data, big->len).err, C2_E_TOO_LARGE);
    assert_int_equal(ds_rig_requests(&f.rig, PROV_PUT), 0);
    c2_blob_unref(big);
    close_all(&f);
}

static void
put__stores_nothing_that_gives_the_content_away(void **state)
{
    (void)state;
    static const char canary[] = "PATIENT-NAME-CANARY";
    struct fixture f = open_default();
    for (size_t at = 0; at + sizeof(canary) < LEN; at += 500)
        memcpy(f.data->data + at, canary, sizeof(canary));
    assert_int_equal(put(&f).err, C2_E_OK);
    for (unsigned i = 0; i < 4; i++) {
        for (size_t j = 0; j < prov_mem_count(f.rig.mem[i]); j++) {
            const char *key = prov_mem_key(f.rig.mem[i], j);
            const struct c2_blob *body = prov_mem_peek(f.rig.mem[i], key);
            assert_null(memmem(body->data, body->len, canary, sizeof(canary) - 1));
            assert_null(memmem(body->data, body->len, f.rig.config.data_key, 32));
        }
    }
    close_all(&f);
}

/* ---- requests that are driven by hand -------------------------------------------------- */

struct manual {
    struct ds_put p;
    struct c2_slice piece;
    bool done;
};

static void
manual_done(struct ds_put *p)
{
    struct manual *m = C2_CONTAINER_OF(p, struct manual, p);
    assert_false(m->done);
    m->done = true;
}

static void
manual_start(struct fixture *f, struct manual *m)
{
    m->piece = c2_blob_slice(f->data);
    m->done = false;
    m->p.data = &m->piece;
    m->p.ndata = 1;
    m->p.oid = (struct ds_oid){ .sid = 2, .seq = ++f->rig.seq };
    m->p.done = manual_done;
    ds_put_start(f->rig.c, &m->p);
    assert_false(m->done);
}

static void
put__can_be_canceled_at_any_moment(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 40; steps++) {
        struct fixture f = open_default();
        struct manual m = { 0 };
        for (unsigned i = 0; i < 4; i++)
            prov_mem_set_latency(f.rig.mem[i], C2_NS_PER_MS * (i + 1), 0);
        manual_start(&f, &m);
        for (unsigned i = 0; i < steps && !m.done; i++)
            test_env_step(f.rig.t);
        if (!m.done) {
            ds_put_cancel(f.rig.c, &m.p);
            assert_false(m.done);
            test_env_run_until(f.rig.t, &m.done);
            assert_true(m.p.err == C2_E_CANCELED);
        } else {
            assert_int_equal(m.p.err, C2_E_OK);
        }
        close_all(&f);
    }
}

static void
put__persists_until_the_seats_are_back(void **state)
{
    (void)state;
    struct fixture f = open_default();
    struct manual m = { .p = { .persist = true } };
    ds_rig_fault(&f.rig, 1, "down");
    ds_rig_fault(&f.rig, 2, "hang");
    manual_start(&f, &m);
    test_env_run_for(f.rig.t, 3600 * C2_NS_PER_S);
    assert_false(m.done);
    assert_int_equal(m.p.placed, 0x9);
    assert_int_equal(m.p.seat_err[1], C2_E_UNREACHABLE);
    assert_true(c2_mark_count("put: persists") > 0);
    uint64_t tried = ds_rig_requests(&f.rig, PROV_PUT);
    assert_true(tried < 20); /* probes are cheap, bodies are not */
    ds_rig_fault(&f.rig, 1, "");
    test_env_run_until(f.rig.t, &m.done);
    assert_int_equal(m.p.err, C2_E_OK);
    assert_int_equal(m.p.placed, 0xb);
    ds_rig_reopen(&f.rig);
    ds_rig_expect(&f.rig, &m.p.ref, f.data, 0, 0);
    close_all(&f);
}

/* A line so slow that no share arrives in the usual time: the attempts take longer, then. */
static void
put__that_persists_gets_through_a_slow_line(void **state)
{
    (void)state;
    static const char *const delays[] = { "put.delay:100s", "put.delay:10m" };
    for (size_t k = 0; k < C2_ARRAY_LEN(delays); k++) {
        struct fixture f = open_default();
        struct manual m = { .p = { .persist = true } };
        for (unsigned i = 0; i < 4; i++)
            ds_rig_fault(&f.rig, i, delays[k]);
        manual_start(&f, &m);
        test_env_run_for(f.rig.t, 3600 * C2_NS_PER_S);
        assert_true(m.done);
        assert_int_equal(m.p.err, C2_E_OK);
        assert_true(ds_rig_requests(&f.rig, PROV_PUT) <= 4);
        close_all(&f);
    }
}

/* One that never answers does not keep one that is back from being asked. */
static void
put__that_persists_does_not_wait_for_a_hung_seat(void **state)
{
    (void)state;
    struct fixture f = open_default();
    struct manual m = { .p = { .persist = true } };
    ds_rig_fault(&f.rig, 0, "put.hang");
    ds_rig_fault(&f.rig, 1, "put.error");
    uint64_t start = c2_now_ns(f.rig.env);
    manual_start(&f, &m);
    test_env_run_for(f.rig.t, C2_NS_PER_S);
    ds_rig_fault(&f.rig, 1, "");
    test_env_run_until(f.rig.t, &m.done);
    assert_int_equal(m.p.err, C2_E_OK);
    assert_int_equal(m.p.placed, 0xe);
    assert_true(c2_now_ns(f.rig.env) - start < f.rig.config.put_timeout_ns / 2);
    close_all(&f);
}

/* The answer got lost, the share did not: the second PUT finds our own bytes. */
static void
put__accepts_its_own_share_found_under_the_key(void **state)
{
    (void)state;
    struct fixture f = open_default();
    struct manual m = { .p = { .persist = true } };
    ds_rig_fault(&f.rig, 0, "put.noack");
    ds_rig_fault(&f.rig, 1, "put.noack");
    manual_start(&f, &m);
    test_env_run_ready(f.rig.t);
    assert_int_equal(m.p.placed, 0xc);
    ds_rig_fault(&f.rig, 0, "");
    ds_rig_fault(&f.rig, 1, "");
    test_env_run_until(f.rig.t, &m.done);
    assert_int_equal(m.p.err, C2_E_OK);
    assert_true((m.p.placed & 0x3) != 0);
    assert_true(c2_mark_count("put: an earlier attempt had arrived") > 0);
    close_all(&f);
}

static void
put__that_persists_can_be_canceled(void **state)
{
    (void)state;
    struct fixture f = open_default();
    struct manual m = { .p = { .persist = true } };
    ds_rig_fault(&f.rig, 1, "down");
    ds_rig_fault(&f.rig, 2, "down");
    manual_start(&f, &m);
    test_env_run_for(f.rig.t, 100 * C2_NS_PER_S);
    assert_false(m.done);
    ds_put_cancel(f.rig.c, &m.p);
    test_env_run_until(f.rig.t, &m.done);
    assert_int_equal(m.p.err, C2_E_CANCELED);
    close_all(&f);
}

static void
put__that_persists_gives_up_on_a_foreign_object(void **state)
{
    (void)state;
    struct fixture f = open_default();
    struct manual m = { .p = { .persist = true } };
    char key[PROV_KEY_MAX];
    ds_object_key(f.rig.c, DS_KIND_OBJECT, (struct ds_oid){ .sid = 2, .seq = 1 }, key);
    prov_mem_store(f.rig.mem[0], key, c2_slice_str("theirs"));
    prov_mem_store(f.rig.mem[1], key, c2_slice_str("theirs"));
    manual_start(&f, &m);
    test_env_run_until(f.rig.t, &m.done);
    assert_int_equal(m.p.err, C2_E_EXISTS);
    close_all(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put__sends_three_shares_to_three_seats),
        cmocka_unit_test(put__survives_every_fault_of_one_seat),
        cmocka_unit_test(put__reports_quorum_when_two_seats_fail),
        cmocka_unit_test(put__survives_two_faults_with_seven_seats),
        cmocka_unit_test(put__accepts_its_own_share_found_under_the_key),
        cmocka_unit_test(put__does_not_take_a_foreign_object_for_an_ack),
        cmocka_unit_test(put__says_exists_only_when_more_than_f_seats_do),
        cmocka_unit_test(put__starts_the_spare_when_a_seat_is_late),
        cmocka_unit_test(put__does_not_hedge_while_nobody_has_answered),
        cmocka_unit_test(put__lets_a_late_share_arrive_after_done),
        cmocka_unit_test(put__keeps_few_stragglers),
        cmocka_unit_test(put__skips_a_seat_that_keeps_failing),
        cmocka_unit_test(put__with_write_all_tries_every_seat),
        cmocka_unit_test(put__with_an_empty_seat_uses_the_other_three),
        cmocka_unit_test(put__refuses_objects_of_impossible_size),
        cmocka_unit_test(put__stores_nothing_that_gives_the_content_away),
        cmocka_unit_test(put__can_be_canceled_at_any_moment),
        cmocka_unit_test(put__persists_until_the_seats_are_back),
        cmocka_unit_test(put__that_persists_gets_through_a_slow_line),
        cmocka_unit_test(put__that_persists_does_not_wait_for_a_hung_seat),
        cmocka_unit_test(put__that_persists_can_be_canceled),
        cmocka_unit_test(put__that_persists_gives_up_on_a_foreign_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
