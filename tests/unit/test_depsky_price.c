/* SPDX-License-Identifier: MIT */
/*
 * Prices in the order of the seats, by counts: a dear one is asked for nothing while the cheap ones
 * are well, and for all that is needed when they are not.
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

#define KIB 1024u
#define MIB (1024u * 1024u)

struct fixture {
    struct ds_rig rig;
    struct c2_blob *data;
    struct ds_ref ref;
};

/* An object in all four seats. Takes over data. */
static struct fixture
open_all(struct c2_blob *data)
{
    struct fixture f;
    ds_rig_init(&f.rig, 4, 1);
    f.rig.config.write_all = true;
    ds_rig_open(&f.rig);
    f.data = data;
    f.ref = ds_rig_store(&f.rig, data->data, data->len);
    ds_rig_reopen(&f.rig);
    c2_mark_reset();
    return f;
}

static void
close_all(struct fixture *f)
{
    c2_blob_unref(f->data);
    ds_rig_done(&f->rig);
}

static uint64_t
gets(const struct fixture *f, unsigned seat)
{
    return prov_mem_requests(f->rig.mem[seat], PROV_GET);
}

static struct prov_price *
price_of(struct fixture *f, unsigned seat)
{
    return &f->rig.seat[seat]->price;
}

/* One way of reading each: whole, a first range, a range with cached headers, an object that is
 * read whole because it is small. Nothing is cached before. */
static void
read_every_way(struct fixture *f)
{
    struct ds_ref small = ds_rig_store(&f->rig, f->data->data, 5000);
    struct ds_ref raw = ds_rig_store(&f->rig, f->data->data, f->data->len);
    ds_rig_expect(&f->rig, &raw, f->data, 70 * KIB, 10 * KIB); /* the layout is guessed */
    ds_rig_reopen(&f->rig);
    ds_rig_expect(&f->rig, &f->ref, f->data, 100 * KIB, 20 * KIB);
    ds_rig_expect(&f->rig, &f->ref, f->data, 700 * KIB, 20 * KIB);
    ds_rig_expect(&f->rig, &f->ref, f->data, 0, 0);
    ds_rig_expect(&f->rig, &small, f->data, 0, 5000);
}

static void
price__dear_seat_is_not_read_on_a_calm_day(void **state)
{
    (void)state;
    for (unsigned dear = 0; dear < 4; dear++) {
        struct fixture f = open_all(ds_rig_random(1, 2 * MIB));
        for (unsigned i = 0; i < 4; i++)
            price_of(&f, i)->egress = i == dear ? 0.09 : 0.01;
        read_every_way(&f);
        assert_int_equal(gets(&f, dear), 0);
        assert_true(ds_rig_requests(&f.rig, PROV_GET) >= 8);
        close_all(&f);
    }
}

/* Of the three that have it one is dear. */
static void
price__dear_seat_helps_when_a_cheap_one_fails(void **state)
{
    (void)state;
    static const char *const faults[] = { "get.down", "get.absent", "get.corrupt", "get.hang" };
    for (size_t k = 0; k < C2_ARRAY_LEN(faults); k++) {
        struct fixture f = open_all(ds_rig_random(1, 300 * KIB));
        price_of(&f, 2)->egress = 0.09;
        ds_rig_fault(&f.rig, 3, "get.absent");
        ds_rig_fault(&f.rig, 1, faults[k]);
        ds_rig_expect(&f.rig, &f.ref, f.data, 0, 0);
        assert_int_equal(gets(&f, 0), 1);
        assert_int_equal(gets(&f, 2), 1);
        close_all(&f);
    }
}

static void
price__dear_seat_is_read_when_a_cheap_one_is_clearly_slower(void **state)
{
    (void)state;
    struct fixture f = open_all(ds_rig_random(1, 5000));
    price_of(&f, 2)->get = 0.001;
    price_of(&f, 3)->get = 0.002;
    for (unsigned i = 0; i < 4; i++)
        prov_mem_set_latency(f.rig.mem[i], 10 * C2_NS_PER_MS, 0);
    prov_mem_set_latency(f.rig.mem[1], 150 * C2_NS_PER_MS, 0); /* not late, but slow */
    ds_rig_expect(&f.rig, &f.ref, f.data, 0, 0);
    assert_int_equal(gets(&f, 1), 1);
    assert_int_equal(gets(&f, 2), 0);
    for (unsigned i = 0; i < 10; i++)
        ds_rig_expect(&f.rig, &f.ref, f.data, 0, 0);
    assert_int_equal(gets(&f, 0), 11);
    assert_int_equal(gets(&f, 1), 1);
    assert_int_equal(gets(&f, 2), 10); /* the cheaper of the dear ones */
    assert_int_equal(gets(&f, 3), 0);
    close_all(&f);
}

/* Decoding takes k times the bytes: it must be worth it. */
static void
price__small_range_comes_from_the_seat_that_has_it_unless_decoding_is_cheaper(void **state)
{
    (void)state;
    struct fixture f = open_all(ds_rig_random(1, 2 * MIB));
    for (unsigned i = 0; i < 4; i++)
        *price_of(&f, i) = (struct prov_price){ .get = 0.0004, .egress = i == 0 ? 0.015 : 0.01 };
    ds_rig_expect(&f.rig, &f.ref, f.data, 0, 20 * KIB);
    uint64_t before = gets(&f, 0);
    for (unsigned i = 1; i < 5; i++)
        ds_rig_expect(&f.rig, &f.ref, f.data, i * 192 * KIB, 20 * KIB);
    assert_true(gets(&f, 0) > before); /* row 0 has some of these */
    before = gets(&f, 0);
    price_of(&f, 0)->egress = 0.03;
    price_of(&f, 0)->get = 0.0012;
    for (unsigned i = 1; i < 5; i++)
        ds_rig_expect(&f.rig, &f.ref, f.data, i * 192 * KIB, 20 * KIB);
    assert_int_equal(gets(&f, 0), before);
    close_all(&f);
}

static void
price__new_shares_go_where_storing_and_reading_is_cheap(void **state)
{
    (void)state;
    struct ds_rig rig;
    ds_rig_init(&rig, 4, 1);
    ds_rig_open(&rig);
    for (unsigned i = 0; i < 4; i++)
        rig.seat[i]->price = (struct prov_price){ .storage = 0.02, .egress = 0.01 };
    assert_int_equal(ds_rig_put(&rig, "abc", 3).placed, 0x7);
    rig.seat[1]->price.storage = 0.03;
    assert_int_equal(ds_rig_put(&rig, "abc", 3).placed, 0xd);
    rig.seat[2]->price.egress = 0.09;
    assert_int_equal(ds_rig_put(&rig, "abc", 3).placed, 0xb);
    ds_rig_fault(&rig, 0, "put.down");
    assert_int_equal(ds_rig_put(&rig, "abc", 3).placed, 0xe); /* safety is not for sale */
    ds_rig_done(&rig);
}

/* A seat that fails now and then comes behind one that does not, whatever it costs, for a while. */
static void
price__seat_that_often_fails_comes_behind_a_dear_one(void **state)
{
    (void)state;
    struct fixture f = open_all(ds_rig_random(1, 5000));
    price_of(&f, 2)->egress = price_of(&f, 3)->egress = 0.09;
    for (unsigned i = 0; i < 3; i++) { /* every other one: no breaker opens */
        ds_rig_fault(&f.rig, 1, "get.error");
        ds_rig_expect(&f.rig, &f.ref, f.data, 0, 0);
        ds_rig_fault(&f.rig, 1, "");
        ds_rig_expect(&f.rig, &f.ref, f.data, 0, 0);
    }
    assert_int_equal(gets(&f, 2), 4); /* the third error was too much */
    uint64_t before = gets(&f, 1);
    for (unsigned i = 0; i < 5; i++)
        ds_rig_expect(&f.rig, &f.ref, f.data, 0, 0);
    assert_int_equal(gets(&f, 1), before);
    test_env_run_for(f.rig.t, 200 * C2_NS_PER_S);
    ds_rig_expect(&f.rig, &f.ref, f.data, 0, 0);
    assert_int_equal(gets(&f, 1), before + 1); /* it gets another chance */
    close_all(&f);
}

/* ---- repair ---------------------------------------------------------------------------- */

struct waited {
    struct ds_rebuild r;
    bool done;
};

static void
rebuilt(struct ds_rebuild *r)
{
    C2_CONTAINER_OF(r, struct waited, r)->done = true;
}

static enum c2_err
rebuild(struct fixture *f, unsigned seat, struct provider *source)
{
    struct waited w = { .r = { .ref = f->ref, .seat = seat, .source = source, .done = rebuilt } };
    ds_rebuild_start(f->rig.c, &w.r);
    test_env_run_until(f->rig.t, &w.done);
    return w.r.err;
}

static void
price__rebuild_reads_the_cheap_seats(void **state)
{
    (void)state;
    struct fixture f = open_all(ds_rig_random(1, 300 * KIB));
    price_of(&f, 0)->egress = 0.09;
    assert_int_equal(rebuild(&f, 1, NULL), C2_E_OK);
    assert_int_equal(gets(&f, 0), 0);
    ds_rig_fault(&f.rig, 2, "get.down");
    assert_int_equal(rebuild(&f, 1, NULL), C2_E_OK);
    assert_int_equal(gets(&f, 0), 1);
    close_all(&f);
}

static void
price__rebuild_asks_a_dear_source_only_when_the_others_cannot_help(void **state)
{
    (void)state;
    struct fixture f = open_all(ds_rig_random(1, 300 * KIB));
    struct provider *old = f.rig.seat[3];
    ds_rig_close(&f.rig);
    struct provider *new_mem = prov_mem_new(f.rig.env, "new");
    f.rig.seat[3] = new_mem;
    ds_rig_open(&f.rig);
    for (unsigned i = 0; i < 3; i++)
        price_of(&f, i)->egress = 0.01;

    old->price.egress = 0.015; /* its one share is cheaper than two of others */
    assert_int_equal(rebuild(&f, 3, old), C2_E_OK);
    assert_int_equal(gets(&f, 3), 1);
    old->price.egress = 0.03;
    assert_int_equal(rebuild(&f, 3, old), C2_E_OK);
    assert_int_equal(gets(&f, 3), 1);
    ds_rig_fault(&f.rig, 0, "get.down");
    ds_rig_fault(&f.rig, 1, "get.absent");
    prov_mem_clear(new_mem);
    assert_int_equal(rebuild(&f, 3, old), C2_E_OK);
    assert_int_equal(gets(&f, 3), 2);
    assert_int_equal(c2_mark_count("rebuild: the leaving provider after all"), 1);
    assert_int_equal(prov_mem_count(new_mem), 1);
    prov_mem_clear(f.rig.mem[3]); /* and when it has nothing either */
    assert_int_equal(rebuild(&f, 3, old), C2_E_QUORUM);

    ds_rig_close(&f.rig);
    prov_close(new_mem);
    f.rig.seat[3] = old;
    ds_rig_open(&f.rig);
    close_all(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(price__dear_seat_is_not_read_on_a_calm_day),
        cmocka_unit_test(price__dear_seat_helps_when_a_cheap_one_fails),
        cmocka_unit_test(price__dear_seat_is_read_when_a_cheap_one_is_clearly_slower),
        cmocka_unit_test(
            price__small_range_comes_from_the_seat_that_has_it_unless_decoding_is_cheaper),
        cmocka_unit_test(price__new_shares_go_where_storing_and_reading_is_cheap),
        cmocka_unit_test(price__seat_that_often_fails_comes_behind_a_dear_one),
        cmocka_unit_test(price__rebuild_reads_the_cheap_seats),
        cmocka_unit_test(price__rebuild_asks_a_dear_source_only_when_the_others_cannot_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
