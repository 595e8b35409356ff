/* SPDX-License-Identifier: MIT */
/*
 * What a read may return when more clouds are faulty than it tolerates: the newest completely
 * written version or nothing, never an older one; and the same whatever the order of answers is.
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
#include "depsky/unit.h"
#include "tests/lib/test_env.h"
#include "tests/lib/unit_rig.h"

enum condition {
    GOOD,
    GONE,    /* cannot be reached */
    DAMAGED, /* the newest metadata it has is not what was written */
    STALE,   /* does not show the newest metadata it has: a lie */
    CONDITIONS,
};

enum { SEATS = 4, MISSED = 3 /* this one was away when the newest version was written */ };

struct fixture {
    struct unit_rig rig;
    struct ds_unit *writer;
    char *key[SEATS];            /* owned: of the newest metadata that each seat has */
    struct c2_blob *meta[SEATS]; /* owned: its bytes */
};

static struct fixture
open_written(enum ds_unit_protocol protocol)
{
    struct fixture f;
    unit_rig_init(&f.rig, SEATS, 1);
    f.writer = unit_rig_open(&f.rig, "unit", 0, true);
    unit_rig_store(&f.rig, f.writer, protocol, "old");
    ds_rig_fault(&f.rig.ds, MISSED, "down");
    unit_rig_store(&f.rig, f.writer, protocol, "new");
    ds_rig_fault(&f.rig.ds, MISSED, "");
    for (unsigned i = 0; i < SEATS; i++) {
        f.key[i] = c2_strdup(unit_rig_key(&f.rig, i, "/m/", 0));
        const struct c2_blob *b = prov_mem_peek(f.rig.ds.mem[i], f.key[i]);
        f.meta[i] = c2_blob_copy(b->data, b->len);
    }
    assert_int_equal(unit_rig_count(&f.rig, 0, "/m/"), 2);
    assert_int_equal(unit_rig_count(&f.rig, MISSED, "/m/"), 1);
    return f;
}

static void
close_all(struct fixture *f)
{
    for (unsigned i = 0; i < SEATS; i++) {
        c2_free(f->key[i]);
        c2_blob_unref(f->meta[i]);
    }
    ds_unit_close(f->writer);
    unit_rig_done(&f->rig);
}

static void
make(struct fixture *f, unsigned seat, enum condition condition)
{
    struct provider *mem = f->rig.ds.mem[seat];
    ds_rig_fault(&f->rig.ds, seat, condition == GONE ? "down" : "");
    prov_mem_store(mem, f->key[seat], c2_blob_slice(f->meta[seat]));
    if (condition == DAMAGED)
        prov_mem_corrupt(mem, f->key[seat], 100);
    if (condition == STALE)
        assert_true(prov_mem_delete(mem, f->key[seat]));
}

/* The seats answer one after the other, in an order of the 24. */
static void
set_order(struct fixture *f, unsigned order)
{
    unsigned left[SEATS] = { 0, 1, 2, 3 };
    for (unsigned place = 0; place < SEATS; place++) {
        unsigned pick = order % (SEATS - place);
        order /= SEATS - place;
        prov_mem_set_latency(f->rig.ds.mem[left[pick]], (1 + 10 * place) * C2_NS_PER_MS, 0);
        memmove(&left[pick], &left[pick + 1], (SEATS - 1 - pick) * sizeof(left[0]));
    }
}

/* A handle that knows nothing reads; gives whether it got the value. */
static bool
read_is_exact_or_refused(struct fixture *f)
{
    struct ds_unit *reader = unit_rig_open(&f->rig, "unit", UNIT_RIG_NOBODY, false);
    struct ds_unit_read r = unit_rig_read(&f->rig, reader, 0);
    if (r.err == C2_E_OK) {
        assert_int_equal(r.found.version, 2);
        assert_true(c2_slice_equal(c2_blob_slice(r.data), c2_slice_str("new")));
        c2_blob_unref(r.data);
    } else {
        assert_int_equal(r.err, C2_E_QUORUM);
        /* What it has learnt by that makes no second attempt succeed. */
        assert_int_equal(unit_rig_read(&f->rig, reader, 0).err, C2_E_QUORUM);
    }
    ds_unit_close(reader);
    return r.err == C2_E_OK;
}

static void
query__order_of_answers_decides_nothing(void **state)
{
    (void)state;
    static const enum ds_unit_protocol both[] = { DS_UNIT_A, DS_UNIT_CA };
    for (unsigned i = 0; i < C2_ARRAY_LEN(both); i++) {
        struct fixture f = open_written(both[i]);
        make(&f, 1, GONE);
        make(&f, 2, DAMAGED);
        for (unsigned order = 0; order < 24; order++) {
            set_order(&f, order);
            assert_false(read_is_exact_or_refused(&f));
        }
        make(&f, 1, GOOD);
        for (unsigned order = 0; order < 24; order++) {
            set_order(&f, order);
            assert_true(read_is_exact_or_refused(&f));
        }
        close_all(&f);
    }
}

/* All combinations of faults of which at most f = 1 is a list that lies; the others only keep a
 * read from succeeding. */
static void
query__never_an_old_version_whatever_is_gone_or_damaged(void **state)
{
    (void)state;
    struct fixture f = open_written(DS_UNIT_A);
    unsigned refused = 0, exact = 0;
    for (unsigned which = 0; which < 1u << (2 * SEATS); which++) {
        unsigned answers = 0, lies = 0;
        for (unsigned i = 0; i < SEATS; i++) {
            enum condition condition = which >> (2 * i) & 3;
            answers += condition == GOOD || condition == STALE;
            lies += condition == STALE;
        }
        if (lies > 1)
            continue;
        for (unsigned i = 0; i < SEATS; i++)
            make(&f, i, which >> (2 * i) & 3);
        set_order(&f, which % 24);
        bool got = read_is_exact_or_refused(&f);
        assert_int_equal(got, answers >= SEATS - 1);
        exact += got;
        refused += !got;
    }
    assert_int_equal(exact, 1 + 3 * 4 + 2 * 4 * 3); /* at most one fault, or a lie and another */
    assert_int_equal(exact + refused, 3 * 3 * 3 * 3 + 4 * 3 * 3 * 3);
    close_all(&f);
}

/* A handle that has seen a seat's metadata does not fetch it again; another seat's copy does not
 * count for it. */
static void
query__each_seat_shows_its_own_metadata_once(void **state)
{
    (void)state;
    struct fixture f = open_written(DS_UNIT_A);
    struct ds_unit *reader = unit_rig_open(&f.rig, "unit", UNIT_RIG_NOBODY, false);
    uint64_t before = ds_rig_requests(&f.rig.ds, PROV_GET);
    unit_rig_expect(&f.rig, reader, 0, "new");
    uint64_t first = ds_rig_requests(&f.rig.ds, PROV_GET) - before;
    assert_in_range(first, 3 + 1, 4 + 1); /* metadata of n-f or more, and one replica */
    make(&f, 0, DAMAGED);
    before = ds_rig_requests(&f.rig.ds, PROV_GET);
    unit_rig_expect(&f.rig, reader, 0, "new"); /* seat 0 has proved it before */
    assert_in_range(ds_rig_requests(&f.rig.ds, PROV_GET) - before, 1, 2);
    make(&f, 1, GONE);
    make(&f, 2, GONE);
    assert_int_equal(unit_rig_read(&f.rig, reader, 0).err, C2_E_QUORUM);
    ds_unit_close(reader);
    close_all(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(query__order_of_answers_decides_nothing),
        cmocka_unit_test(query__never_an_old_version_whatever_is_gone_or_damaged),
        cmocka_unit_test(query__each_seat_shows_its_own_metadata_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
