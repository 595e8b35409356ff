/* SPDX-License-Identifier: MIT */
/*
 * The account of requests: by month and provider, bounded, kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "fs/usage.h"

#define DAY_NS (24 * 3600 * 1000000000ull)

static const struct usage_counts one = { .requests = { 1, 2, 3, 4, 5, 6 }, .up = 7, .down = 8 };

static const struct ds_evidence lie = { .wall_ns = 5,
                                        .count = 3,
                                        .seat = 1,
                                        .provider = "a",
                                        .key = "v1/x",
                                        .expected = { 1 },
                                        .found = { 2 },
                                        .len = 9 };

static int
setup(void **state)
{
    *state = c2_calloc(1, sizeof(struct usage));
    return 0;
}

static int
teardown(void **state)
{
    c2_free(*state);
    return 0;
}

static void
usage__is_kept_by_month_and_provider(void **state)
{
    struct usage *u = *state;
    usage_add(u, 40 * DAY_NS, "a", &one);
    usage_add(u, 41 * DAY_NS, "a", &one);
    usage_add(u, 41 * DAY_NS, "b", &one);
    usage_add(u, 5 * DAY_NS, "a", &one); /* the clock was set back */
    assert_int_equal(u->n, 3);
    assert_string_equal(u->row[0].month, "1970-01");
    assert_string_equal(u->row[1].month, "1970-02");
    assert_string_equal(u->row[1].provider, "a");
    assert_int_equal(u->row[1].counts.requests[5], 12);
    assert_int_equal(u->row[1].counts.down, 16);
    assert_string_equal(u->row[2].provider, "b");
}

static void
usage__forgets_the_oldest_month_when_it_is_full(void **state)
{
    struct usage *u = *state;
    char name[16];
    for (unsigned k = 0; k < USAGE_ROWS_MAX; k++) {
        snprintf(name, sizeof(name), "p%u", k);
        usage_add(u, (k < 10 ? 1 : 40) * DAY_NS, name, &one);
    }
    usage_add(u, 100 * DAY_NS, "new", &one);
    assert_int_equal(u->n, USAGE_ROWS_MAX - 10 + 1);
    assert_string_equal(u->row[0].month, "1970-02");
    assert_string_equal(u->row[u->n - 1].provider, "new");
}

static void
usage__counts_what_came_since(void **state)
{
    (void)state;
    struct usage_counts now = one, before = one;
    now.requests[1] += 5;
    before.down = 100; /* the counter began anew */
    struct usage_counts more = usage_since(&now, &before);
    assert_int_equal(more.requests[0], 0);
    assert_int_equal(more.requests[1], 5);
    assert_int_equal(more.down, 8);
    assert_false(usage_is_zero(&more));
    more = usage_since(&one, &one);
    assert_true(usage_is_zero(&more));
}

static void
file__gives_back_what_was_saved_and_nothing_else(void **state)
{
    struct usage *u = *state, *got = c2_calloc(1, sizeof(*got));
    struct c2_buf b = { 0 }, again = { 0 };
    usage_add(u, DAY_NS, "a", &one);
    usage_add(u, 40 * DAY_NS, "b", &one);
    usage_add_proof(u, &lie);
    usage_encode(u, &b);
    assert_int_equal(usage_decode(c2_buf_slice(&b), got), C2_E_OK);
    assert_int_equal(got->n, 2);
    assert_string_equal(got->row[1].provider, "b");
    assert_memory_equal(&got->row[1].counts, &one, sizeof(one));
    assert_int_equal(got->nproofs, 1);
    assert_memory_equal(got->proof[0].found, lie.found, sizeof(lie.found));
    usage_encode(got,
                 &again); /* and all the rest: structs have padding, what is encoded has none */
    assert_int_equal(again.len, b.len);
    assert_memory_equal(again.data, b.data, b.len);
    for (size_t k = 0; k < b.len; k++) {
        assert_int_not_equal(usage_decode(c2_slice(b.data, k), got), C2_E_OK);
        b.data[k] ^= 1;
        assert_int_not_equal(usage_decode(c2_buf_slice(&b), got), C2_E_OK);
        b.data[k] ^= 1;
    }
    c2_buf_done(&b);
    c2_buf_done(&again);
    c2_free(got);
}

static void
proofs__are_the_latest_and_each_is_there_once(void **state)
{
    struct usage *u = *state;
    struct ds_evidence e = lie;
    usage_add_proof(u, &e);
    e.count = 1; /* another mount has seen it once */
    e.wall_ns = 77;
    usage_add_proof(u, &e);
    assert_int_equal(u->nproofs, 1);
    assert_int_equal(u->proof[0].count, 3);
    assert_int_equal(u->proof[0].wall_ns, 77);
    for (unsigned k = 1; k <= DS_EVIDENCE_MAX; k++) {
        e.found[1] = (uint8_t)k;
        usage_add_proof(u, &e);
    }
    assert_int_equal(u->nproofs, DS_EVIDENCE_MAX);
    assert_int_equal(u->proof[0].found[1], 1);
    usage_add_proof(u, &u->proof[0]);
    assert_int_equal(u->proof[DS_EVIDENCE_MAX - 1].found[1], 1);
    assert_int_equal(u->proof[0].found[1], 2);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(usage__is_kept_by_month_and_provider),
        T(usage__forgets_the_oldest_month_when_it_is_full),
        T(usage__counts_what_came_since),
        T(proofs__are_the_latest_and_each_is_there_once),
        T(file__gives_back_what_was_saved_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
