/* SPDX-License-Identifier: MIT */
/*
 * Reading with faulty clouds: right bytes or an error, never wrong bytes; how many requests; who is
 * blamed.
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
#include "tests/lib/ds_read.h"
#include "tests/lib/test_env.h"

#define KIB 1024u
#define MIB (1024u * 1024u)

static uint64_t
gets(struct ds_read *f)
{
    return ds_rig_requests(&f->rig, PROV_GET);
}

static void
expect_range(struct ds_read *f, uint64_t offset, uint64_t len)
{
    ds_rig_expect(&f->rig, &f->ref, f->data, offset, len);
}

/* Reads with the placement known; the caller unrefs. */
static struct ds_get
get_placed(struct ds_read *f, uint64_t offset, uint64_t len)
{
    return ds_rig_get_placed(&f->rig, &f->ref, f->placed, offset, len);
}

/* ---- counts ---------------------------------------------------------------------------- */

static void
get__reads_a_whole_object_with_two_requests(void **state)
{
    (void)state;
    struct ds_read f = ds_read_open(ds_rig_random(1, 8 * MIB));
    expect_range(&f, 0, 0);
    assert_int_equal(gets(&f), 2);
    ds_read_close(&f);
    f = ds_read_open(ds_rig_text(8 * MIB));
    expect_range(&f, 0, 0);
    assert_int_equal(gets(&f), 2);
    ds_read_close(&f);
    f = ds_read_open(ds_rig_random(1, 1));
    expect_range(&f, 0, 0);
    assert_int_equal(gets(&f), 2);
    ds_read_close(&f);
}

static void
get__reads_a_file_of_a_cold_pack_with_three_requests_and_its_neighbours_with_one(void **state)
{
    (void)state;
    struct ds_read f = ds_read_open(ds_rig_random(1, 8 * MIB));
    expect_range(&f, 5 * MIB, 16 * KIB);
    assert_int_equal(gets(&f), 3);
    for (unsigned i = 0; i < 20; i++) {
        uint64_t before = gets(&f);
        expect_range(&f, 64 * KIB * (i * 6 + 1), 16 * KIB);
        assert_int_equal(gets(&f), before + 1);
    }
    ds_read_close(&f);
}

/* Once the client has seen that objects are not compressed, it guesses the layout. */
static void
get__reads_a_raw_range_in_one_round_trip(void **state)
{
    (void)state;
    struct ds_read f = ds_read_open(ds_rig_random(1, 8 * MIB));
    struct ds_ref second = ds_rig_store(&f.rig, f.data->data, f.data->len);
    for (unsigned i = 0; i < 4; i++)
        prov_mem_set_latency(f.rig.mem[i], 50 * C2_NS_PER_MS, 0);
    uint64_t before = gets(&f);
    uint64_t start = c2_now_ns(f.rig.env);
    ds_rig_expect(&f.rig, &second, f.data, 5 * MIB, 64 * KIB);
    assert_int_equal(gets(&f), before + 3);
    assert_int_equal(c2_now_ns(f.rig.env) - start, 50 * C2_NS_PER_MS);
    ds_rig_reopen(&f.rig);
    second = ds_rig_store(&f.rig, f.data->data, f.data->len);
    before = gets(&f);
    ds_rig_expect(&f.rig, &second, f.data, 70 * KIB, 10 * KIB);
    assert_int_equal(gets(&f), before + 2); /* header and data in one */
    assert_true(c2_mark_count("get: header and data in one request") > 0);
    ds_read_close(&f);
}

static void
get__recovers_from_a_wrong_guess(void **state)
{
    (void)state;
    struct c2_blob *noise = ds_rig_random(1, 100);
    struct ds_read f = ds_read_open(ds_rig_text(8 * MIB));
    for (uint64_t offset = 0; offset < f.data->len; offset += 700 * KIB) {
        ds_rig_reopen(&f.rig);
        ds_rig_store(&f.rig, noise->data, noise->len); /* "objects are raw" */
        uint64_t before = gets(&f);
        expect_range(&f, offset, 16 * KIB);
        assert_true(gets(&f) - before <= 6);
    }
    assert_true(c2_mark_count("get: guessed wrong") > 0);
    c2_blob_unref(noise);
    ds_read_close(&f);
}

static void
get__ranges_equal_the_reference(void **state)
{
    (void)state;
    for (unsigned text = 0; text < 2; text++) {
        struct ds_read f = ds_read_open(text ? ds_rig_text(1300001) : ds_rig_random(9, 1300001));
        uint64_t x = 88172645463325252u;
        for (unsigned i = 0; i < 150; i++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            if (i % 5 == 0)
                ds_rig_reopen(&f.rig);
            uint64_t offset = x % 1400000;
            uint64_t len = (x >> 32) % (i % 2 == 0 ? 300000 : 3000);
            expect_range(&f, offset, len);
        }
        expect_range(&f, 1300000, 1);
        expect_range(&f, 1300001, 1);
        expect_range(&f, 0, UINT64_MAX);
        expect_range(&f, UINT64_MAX, 5);
        ds_read_close(&f);
    }
}

/* ---- faults ---------------------------------------------------------------------------- */

static void
try_fault(const char *fault, unsigned seat, struct c2_blob *data, bool known)
{
    static const uint64_t ranges[][2] = { { 0, 0 },          { 0, 1 },         { 70000, 100 },
                                          { 130000, 70000 }, { 300000, 5000 }, { 200000, 300000 } };
    struct ds_read f = ds_read_open(data);
    ds_read_add_other(&f);
    ds_rig_fault(&f.rig, seat, fault);
    for (size_t i = 0; i < C2_ARRAY_LEN(ranges); i++) {
        ds_rig_reopen(&f.rig);
        struct ds_get g =
            ds_rig_get_placed(&f.rig, &f.ref, known ? f.placed : 0, ranges[i][0], ranges[i][1]);
        if (g.err != C2_E_OK)
            fail_msg("%s seat %u range %zu: %s", fault, seat, i, c2_err_name(g.err));
        size_t len = ranges[i][1] != 0 ? ranges[i][1] : data->len;
        assert_int_equal(g.data->len, len);
        assert_memory_equal(g.data->data, data->data + ranges[i][0], len);
        c2_blob_unref(g.data);
        assert_int_equal((g.seats_bad | g.seats_slow) & ~(1u << seat), 0);
    }
    if (seat < 2)
        assert_true(prov_fault_count(f.rig.seat[seat]) > 0);
    ds_read_close(&f);
}

static void
get__survives_every_fault_of_any_one_seat(void **state)
{
    (void)state;
    for (size_t k = 0; k < ds_read_faults_count; k++) {
        for (unsigned seat = 0; seat < 4; seat++) {
            try_fault(ds_read_faults[k], seat, ds_rig_random(k, 640000), k % 2 == 0);
            try_fault(ds_read_faults[k], seat, ds_rig_text(640000), k % 2 == 1);
        }
    }
}

/* f+1 faults: an error, never other bytes; and right bytes where k good seats are left. */
static void
get__never_returns_wrong_bytes_with_two_faulty_seats(void **state)
{
    (void)state;
    for (size_t k = 0; k < ds_read_faults_count; k++) {
        struct ds_read f = ds_read_open(ds_rig_random(k, 300000));
        ds_read_add_other(&f);
        for (unsigned pair = 0; pair < 16; pair++) {
            if (__builtin_popcount(pair) != 2)
                continue;
            ds_rig_reopen(&f.rig);
            for (unsigned i = 0; i < 4; i++)
                ds_rig_fault(&f.rig, i, (pair & (1u << i)) != 0 ? ds_read_faults[k] : "");
            struct ds_get g = get_placed(&f, 1000, 150000);
            bool delayed_only = strstr(ds_read_faults[k], "delay") != NULL;
            if ((pair & 0x8) != 0 || delayed_only) {
                assert_int_equal(g.err, C2_E_OK); /* seat 3 has no share anyway */
            } else {
                if (g.err != C2_E_QUORUM && g.err != C2_E_NOT_FOUND)
                    fail_msg("%s pair %x %s", ds_read_faults[k], pair, c2_err_name(g.err));
                if (strstr(ds_read_faults[k], "absent") == NULL)
                    assert_int_equal(g.err, C2_E_QUORUM);
            }
            if (g.err == C2_E_OK)
                assert_memory_equal(g.data->data, f.data->data + 1000, 150000);
            c2_blob_unref(g.data);
        }
        ds_read_close(&f);
    }
}

static void
get__survives_any_two_faults_of_seven_seats(void **state)
{
    (void)state;
    struct ds_rig rig;
    ds_rig_init(&rig, 7, 2);
    ds_rig_open(&rig);
    struct c2_blob *data = ds_rig_random(1, 500000);
    struct ds_ref ref = ds_rig_store(&rig, data->data, data->len);
    for (size_t k = 0; k < ds_read_faults_count; k++) {
        for (unsigned a = 0; a < 7; a++) {
            unsigned b = (a + 1 + (unsigned)k % 5) % 7;
            ds_rig_reopen(&rig);
            ds_rig_fault(&rig, a, ds_read_faults[k]);
            ds_rig_fault(&rig, b, ds_read_faults[(k + 3) % ds_read_faults_count]);
            ds_rig_expect(&rig, &ref, data, 100000, 200000);
            ds_rig_fault(&rig, a, "");
            ds_rig_fault(&rig, b, "");
        }
    }
    c2_blob_unref(data);
    ds_rig_done(&rig);
}

/* Every byte of a stored share, one at a time would take long: a spread of them. */
static void
get__notices_damage_anywhere_in_a_share(void **state)
{
    (void)state;
    struct ds_read f = ds_read_open(ds_rig_random(1, 100000));
    char key[PROV_KEY_MAX];
    ds_rig_key(&f.rig, &f.ref, key);
    size_t len = prov_mem_peek(f.rig.mem[0], key)->len;
    for (size_t at = 0; at < len; at += at < 600 ? 7 : 1009) {
        ds_rig_reopen(&f.rig);
        prov_mem_corrupt(f.rig.mem[0], key, at);
        struct ds_get g = get_placed(&f, 0, 0);
        assert_int_equal(g.err, C2_E_OK);
        assert_memory_equal(g.data->data, f.data->data, f.data->len);
        assert_int_equal(g.seats_bad, 1);
        c2_blob_unref(g.data);
        prov_mem_corrupt(f.rig.mem[0], key, at); /* inverted again: healed */
    }
    ds_read_close(&f);
}

static void
get__blames_the_seat_that_lost_a_share(void **state)
{
    (void)state;
    struct ds_read f = ds_read_open(ds_rig_random(1, 1000));
    char key[PROV_KEY_MAX];
    assert_true(prov_mem_delete(f.rig.mem[1], ds_rig_key(&f.rig, &f.ref, key)));
    struct ds_get g = get_placed(&f, 0, 0);
    assert_int_equal(g.err, C2_E_OK);
    assert_int_equal(g.seats_bad, 0x2);
    assert_int_equal(g.seats_slow, 0);
    struct ds_seat_status status;
    ds_seat_status(f.rig.c, 1, &status);
    assert_int_equal(status.absent, 1);
    assert_int_equal(status.state, DS_SEAT_DEGRADED);
    c2_blob_unref(g.data);
    ds_read_close(&f);
}

static void
get__suspects_the_seat_that_returned_other_bytes(void **state)
{
    (void)state;
    struct ds_read f = ds_read_open(ds_rig_random(1, 1000));
    ds_rig_fault(&f.rig, 0, "get.corrupt");
    struct ds_get g = get_placed(&f, 0, 0);
    assert_int_equal(g.err, C2_E_OK);
    c2_blob_unref(g.data);
    struct ds_seat_status status;
    ds_seat_status(f.rig.c, 0, &status);
    assert_int_equal(status.state, DS_SEAT_SUSPECT);
    uint64_t before = prov_mem_requests(f.rig.mem[0], PROV_GET);
    g = get_placed(&f, 0, 0);
    assert_int_equal(g.err, C2_E_OK);
    assert_int_equal(prov_mem_requests(f.rig.mem[0], PROV_GET), before); /* others first */
    c2_blob_unref(g.data);
    ds_read_close(&f);
}

/* ---- speed ----------------------------------------------------------------------------- */

static void
get__asks_the_next_seat_when_one_is_late(void **state)
{
    (void)state;
    struct ds_read f = ds_read_open(ds_rig_random(1, 300000));
    ds_rig_fault(&f.rig, 0, "hang");
    uint64_t start = c2_now_ns(f.rig.env);
    struct ds_get g = get_placed(&f, 0, 0);
    assert_int_equal(g.err, C2_E_OK);
    assert_int_equal(g.seats_slow, 0x1);
    assert_int_equal(c2_now_ns(f.rig.env) - start, f.rig.config.get_hedge_min_ns);
    assert_int_equal(c2_mark_count("get: a seat is late"), 1);
    c2_blob_unref(g.data);
    ds_read_close(&f);
}

static void
get__uses_a_late_answer_when_the_others_fail(void **state)
{
    (void)state;
    struct ds_read f = ds_read_open(ds_rig_random(1, 300000));
    ds_rig_fault(&f.rig, 0, "get.delay:2s");
    ds_rig_fault(&f.rig, 2, "down");
    struct ds_get g = get_placed(&f, 0, 0);
    assert_int_equal(g.err, C2_E_OK);
    c2_blob_unref(g.data);
    ds_read_close(&f);
}

static void
get__stops_asking_a_seat_that_hangs(void **state)
{
    (void)state;
    struct ds_read f = ds_read_open(ds_rig_random(1, 300000));
    ds_rig_fault(&f.rig, 0, "hang");
    for (unsigned i = 0; i < 3; i++) {
        struct ds_get g = get_placed(&f, 0, 0);
        assert_int_equal(g.err, C2_E_OK);
        c2_blob_unref(g.data);
    }
    uint64_t start = c2_now_ns(f.rig.env);
    for (unsigned i = 0; i < 50; i++) {
        struct ds_get g = get_placed(&f, i * 1000, 500);
        assert_int_equal(g.err, C2_E_OK);
        c2_blob_unref(g.data);
    }
    assert_int_equal(c2_now_ns(f.rig.env), start);
    ds_read_close(&f);
}

static void
get__cache_of_headers_is_bounded(void **state)
{
    (void)state;
    struct ds_read f = ds_read_open(ds_rig_random(1, 2 * MIB));
    f.rig.config.header_cache_max = 4;
    ds_rig_reopen(&f.rig);
    struct ds_ref ref[5];
    for (unsigned i = 0; i < 5; i++)
        ref[i] = ds_rig_store(&f.rig, f.data->data, f.data->len);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 5; i++)
            ds_rig_expect(&f.rig, &ref[i], f.data, MIB, 1000);
    }
    uint64_t before = gets(&f);
    ds_rig_expect(&f.rig, &ref[4], f.data, MIB + 64 * KIB, 1000);
    assert_int_equal(gets(&f), before + 1); /* still known */
    ds_rig_expect(&f.rig, &ref[0], f.data, MIB, 1000);
    assert_true(gets(&f) >= before + 3); /* forgotten */
    ds_read_close(&f);
}

/* ---- cancellation ---------------------------------------------------------------------- */

struct manual {
    struct ds_get g;
    bool done;
};

static void
manual_done(struct ds_get *g)
{
    struct manual *m = C2_CONTAINER_OF(g, struct manual, g);
    assert_false(m->done);
    m->done = true;
}

static void
get__can_be_canceled_at_any_moment(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 40; steps++) {
        struct ds_read f = ds_read_open(ds_rig_text(300000));
        struct manual m = { .g = { .ref = f.ref, .offset = 1000, .len = 90000 } };
        for (unsigned i = 0; i < 4; i++)
            prov_mem_set_latency(f.rig.mem[i], C2_NS_PER_MS * (i + 1), 0);
        m.g.done = manual_done;
        ds_get_start(f.rig.c, &m.g);
        for (unsigned i = 0; i < steps && !m.done; i++)
            test_env_step(f.rig.t);
        if (!m.done) {
            ds_get_cancel(f.rig.c, &m.g);
            assert_false(m.done);
            test_env_run_until(f.rig.t, &m.done);
            assert_int_equal(m.g.err, C2_E_CANCELED);
            assert_null(m.g.data);
        } else {
            assert_int_equal(m.g.err, C2_E_OK);
            c2_blob_unref(m.g.data);
        }
        ds_read_close(&f);
    }
}

/* Many at once over the same objects share what each of them learns. */
static void
get__many_at_once(void **state)
{
    (void)state;
    enum { COUNT = 64 };
    struct ds_read f = ds_read_open(ds_rig_random(1, 4 * MIB));
    static struct manual m[COUNT];
    for (unsigned i = 0; i < 4; i++)
        prov_mem_set_latency(f.rig.mem[i], C2_NS_PER_MS, 30 * C2_NS_PER_MS);
    ds_rig_fault(&f.rig, 1, "get.corrupt:30%,get.error:20%");
    for (unsigned i = 0; i < COUNT; i++) {
        m[i] = (struct manual){ .g = { .ref = f.ref, .offset = i * 60000, .len = 50000 } };
        m[i].g.done = manual_done;
        ds_get_start(f.rig.c, &m[i].g);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        test_env_run_until(f.rig.t, &m[i].done);
        assert_int_equal(m[i].g.err, C2_E_OK);
        assert_memory_equal(m[i].g.data->data, f.data->data + i * 60000, 50000);
        c2_blob_unref(m[i].g.data);
    }
    ds_read_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(get__reads_a_whole_object_with_two_requests),
        cmocka_unit_test(
            get__reads_a_file_of_a_cold_pack_with_three_requests_and_its_neighbours_with_one),
        cmocka_unit_test(get__reads_a_raw_range_in_one_round_trip),
        cmocka_unit_test(get__recovers_from_a_wrong_guess),
        cmocka_unit_test(get__ranges_equal_the_reference),
        cmocka_unit_test(get__survives_every_fault_of_any_one_seat),
        cmocka_unit_test(get__never_returns_wrong_bytes_with_two_faulty_seats),
        cmocka_unit_test(get__survives_any_two_faults_of_seven_seats),
        cmocka_unit_test(get__notices_damage_anywhere_in_a_share),
        cmocka_unit_test(get__blames_the_seat_that_lost_a_share),
        cmocka_unit_test(get__suspects_the_seat_that_returned_other_bytes),
        cmocka_unit_test(get__asks_the_next_seat_when_one_is_late),
        cmocka_unit_test(get__uses_a_late_answer_when_the_others_fail),
        cmocka_unit_test(get__stops_asking_a_seat_that_hangs),
        cmocka_unit_test(get__cache_of_headers_is_bounded),
        cmocka_unit_test(get__can_be_canceled_at_any_moment),
        cmocka_unit_test(get__many_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
