/* SPDX-License-Identifier: MIT */
/*
 * What transactions and reads mean, through the local service.
 */
#include "metadata/coord.h"

#include "base/alloc.h"
#include "base/wire.h"
#include "tests/lib/coord_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void
txn__gives_keys_its_number_as_version(void **state)
{
    struct coord_fixture *f = *state;
    assert_int_equal(put(f, "a", "1"), 1);
    assert_int_equal(put(f, "b", "2"), 2);
    const struct coord_op ops[] = { op(COORD_PUT, "a", "3", 0), op(COORD_PUT, "c", "", 0) };
    uint64_t version = 0;
    assert_int_equal(txn(f, NULL, 0, ops, 2, &version), C2_E_OK);
    assert_int_equal(version, 3);
    uint64_t versions[3];
    c2_free(get(f, "a", &versions[0]));
    c2_free(get(f, "b", &versions[1]));
    c2_free(get(f, "c", &versions[2]));
    assert_int_equal(versions[0], 3);
    assert_int_equal(versions[1], 2);
    assert_int_equal(versions[2], 3);
    assert_value(f, "a", "3");
}

static void
cond__holds_or_fails_for_each_kind(void **state)
{
    struct coord_fixture *f = *state;
    uint64_t v = put(f, "k", "value");
    uint64_t s = session_open(f, C2_NS_PER_S);
    const struct {
        struct coord_cond c;
        bool holds;
    } cases[] = {
        { cond(COORD_EXISTS, "k", NULL, 0), true },
        { cond(COORD_EXISTS, "none", NULL, 0), false },
        { cond(COORD_ABSENT, "none", NULL, 0), true },
        { cond(COORD_ABSENT, "k", NULL, 0), false },
        { cond(COORD_VERSION_EQ, "k", NULL, v), true },
        { cond(COORD_VERSION_EQ, "k", NULL, v + 1), false },
        { cond(COORD_VERSION_EQ, "none", NULL, 0), true },
        { cond(COORD_VERSION_LE, "k", NULL, v), true },
        { cond(COORD_VERSION_LE, "k", NULL, v + 5), true },
        { cond(COORD_VERSION_LE, "k", NULL, v - 1), false },
        { cond(COORD_VERSION_LE, "none", NULL, 0), true },
        { cond(COORD_VALUE_EQ, "k", "value", 0), true },
        { cond(COORD_VALUE_EQ, "k", "valu", 0), false },
        { cond(COORD_VALUE_EQ, "none", "", 0), false },
        { cond(COORD_SESSION_ALIVE, NULL, NULL, s), true },
        { cond(COORD_SESSION_ALIVE, NULL, NULL, s + 100), false },
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(cases); i++) {
        enum c2_err err = txn_if(f, cases[i].c, op(COORD_PUT, "result", "x", 0));
        if (err != (cases[i].holds ? C2_E_OK : C2_E_CONFLICT))
            fail_msg("case %zu: %s", i, c2_err_name(err));
    }
}

static void
conflict__shows_the_state_of_failed_keys_and_changes_nothing(void **state)
{
    struct coord_fixture *f = *state;
    put(f, "a", "1");
    uint64_t v = put(f, "b", "22");
    const struct coord_cond conds[] = {
        cond(COORD_EXISTS, "a", NULL, 0),
        cond(COORD_ABSENT, "b", NULL, 0),
        cond(COORD_EXISTS, "c", NULL, 0),
        cond(COORD_SESSION_ALIVE, NULL, NULL, 77),
    };
    const struct coord_op o = op(COORD_PUT, "a", "changed", 0);
    struct coord_call call = { 0 };
    call.r.conds = conds;
    call.r.nconds = 4;
    call.r.ops = &o;
    call.r.nops = 1;
    assert_int_equal(coord_call_run(f, &call), C2_E_CONFLICT);
    assert_int_equal(call.r.cond_failed, 1);
    assert_int_equal(call.r.nentries, 2);
    assert_true(c2_slice_equal(call.r.entries[0].key, c2_slice_str("b")));
    assert_true(c2_slice_equal(call.r.entries[0].value, c2_slice_str("22")));
    assert_int_equal(call.r.entries[0].version, v);
    assert_true(c2_slice_equal(call.r.entries[1].key, c2_slice_str("c")));
    assert_int_equal(call.r.entries[1].version, 0);
    coord_req_done(&call.r);
    assert_value(f, "a", "1");
    assert_int_equal(put(f, "z", ""), v + 1);
}

static void
op__does_what_it_says_in_order(void **state)
{
    struct coord_fixture *f = *state;
    const struct coord_op ops[] = {
        op(COORD_PUT, "p/1", "x", 0),      op(COORD_PUT, "p/2", "x", 0),
        op(COORD_PUT, "p0", "x", 0),       op(COORD_DELETE, "p/1", NULL, 0),
        op(COORD_DELETE, "none", NULL, 0), op(COORD_DELETE_RANGE, "p/", NULL, 0),
        op(COORD_PUT, "p/3", "after", 0),
    };
    assert_int_equal(txn(f, NULL, 0, ops, C2_ARRAY_LEN(ops), NULL), C2_E_OK);
    assert_absent(f, "p/1");
    assert_absent(f, "p/2");
    assert_value(f, "p0", "x");
    assert_value(f, "p/3", "after");
}

static int64_t
counter(struct coord_fixture *f, const char *key)
{
    const struct c2_slice k = c2_slice_str(key);
    struct coord_call call = { 0 };
    call.r.verb = COORD_GET;
    call.r.keys = &k;
    call.r.nkeys = 1;
    assert_int_equal(coord_call_run(f, &call), C2_E_OK);
    assert_int_equal(call.r.entries[0].value.len, 8);
    int64_t n = (int64_t)c2_get_u64(call.r.entries[0].value.data);
    coord_req_done(&call.r);
    return n;
}

static void
add__counts_from_zero_and_refuses_overflow(void **state)
{
    struct coord_fixture *f = *state;
    assert_int_equal(txn_op(f, op(COORD_ADD, "n", NULL, 5), NULL), C2_E_OK);
    assert_int_equal(txn_op(f, op(COORD_ADD, "n", NULL, -7), NULL), C2_E_OK);
    assert_int_equal(counter(f, "n"), -2);
    assert_int_equal(txn_op(f, op(COORD_ADD, "n", NULL, INT64_MIN), NULL), C2_E_RANGE);
    assert_int_equal(counter(f, "n"), -2);
    const struct coord_op ops[] = { op(COORD_ADD, "n", NULL, INT64_MAX),
                                    op(COORD_ADD, "n", NULL, 2) };
    assert_int_equal(txn(f, NULL, 0, ops, 2, NULL), C2_E_OK);
    assert_int_equal(counter(f, "n"), INT64_MAX);
    put(f, "text", "1234567");
    assert_int_equal(txn_op(f, op(COORD_ADD, "text", NULL, 1), NULL), C2_E_INVALID);
    assert_value(f, "text", "1234567");
}

static void
txn__leaves_no_trace_when_a_late_operation_fails(void **state)
{
    struct coord_fixture *f = *state;
    uint64_t s = session_open(f, 100 * C2_NS_PER_S);
    put(f, "keep", "old");
    put(f, "r/1", "one");
    put(f, "r/2", "two");
    assert_int_equal(txn_op(f, op(COORD_PUT_EPHEMERAL, "e", "mine", (int64_t)s), NULL), C2_E_OK);
    uint64_t before = put(f, "text", "not a counter");
    const struct coord_op ops[] = {
        op(COORD_PUT, "keep", "new", 0),       op(COORD_PUT, "fresh", "x", 0),
        op(COORD_DELETE_RANGE, "r/", NULL, 0), op(COORD_PUT, "r/2", "again", 0),
        op(COORD_PUT, "e", "plain now", 0),    op(COORD_PUT_EPHEMERAL, "keep", "e", (int64_t)s),
        op(COORD_ADD, "text", NULL, 1),
    };
    assert_int_equal(txn(f, NULL, 0, ops, C2_ARRAY_LEN(ops), NULL), C2_E_INVALID);
    assert_value(f, "keep", "old");
    assert_absent(f, "fresh");
    assert_value(f, "r/1", "one");
    assert_value(f, "r/2", "two");
    assert_value(f, "e", "mine");
    assert_int_equal(put(f, "next", ""), before + 1);
    /* The session's index is as it was, too: closing takes e and nothing else. */
    assert_int_equal(session_close(f, s), C2_E_OK);
    assert_absent(f, "e");
    assert_value(f, "keep", "old");
}

/* n keys of the form prefix + number. */
static void
put_many(struct coord_fixture *f, const char *prefix, size_t n, size_t value_len)
{
    char *value = c2_alloc(value_len + 1);
    memset(value, 'v', value_len);
    value[value_len] = '\0';
    for (size_t i = 0; i < n;) {
        struct coord_op ops[512];
        char keys[512][40];
        size_t count = 0;
        for (; i < n && count < 512 && (count + 1) * (value_len + 60) < COORD_TXN_BYTES_MAX; i++) {
            snprintf(keys[count], sizeof keys[count], "%s%06zu", prefix, i);
            ops[count] = op(COORD_PUT, keys[count], value, 0);
            count++;
        }
        assert_int_equal(txn(f, NULL, 0, ops, count, NULL), C2_E_OK);
    }
    c2_free(value);
}

static void
delete_range__is_bounded_in_keys_and_bytes(void **state)
{
    struct coord_fixture *f = *state;
    put_many(f, "m/", COORD_DELETE_RANGE_MAX + 1, 10);
    assert_int_equal(txn_op(f, op(COORD_DELETE_RANGE, "m/", NULL, 0), NULL), C2_E_TOO_LARGE);
    assert_value(f, "m/000000", "vvvvvvvvvv");
    assert_int_equal(txn_op(f, op(COORD_DELETE, "m/000007", NULL, 0), NULL), C2_E_OK);
    assert_int_equal(txn_op(f, op(COORD_DELETE_RANGE, "m/", NULL, 0), NULL), C2_E_OK);
    assert_absent(f, "m/000000");

    put_many(f, "b/", COORD_REPLACED_MAX / 65000 + 2, 65000);
    assert_int_equal(txn_op(f, op(COORD_DELETE_RANGE, "b/", NULL, 0), NULL), C2_E_TOO_LARGE);
    uint64_t version = 0;
    c2_free(get(f, "b/000000", &version));
    assert_int_not_equal(version, 0);
}

/* What fails is undone: it must not cost more than what is asked for in one go. */
static void
txn__changes_a_bounded_number_of_keys(void **state)
{
    struct coord_fixture *f = *state;
    struct coord_op ops[COORD_TXN_CHANGES_MAX / COORD_DELETE_RANGE_MAX + 1];
    char prefix[C2_ARRAY_LEN(ops)][8];
    const size_t n = C2_ARRAY_LEN(ops) - 1;
    for (size_t i = 0; i <= n; i++) {
        snprintf(prefix[i], sizeof prefix[i], "%zu/", i);
        put_many(f, prefix[i], i < n ? COORD_DELETE_RANGE_MAX : 1, 1);
        ops[i] = op(COORD_DELETE_RANGE, prefix[i], NULL, 0);
    }
    assert_int_equal(txn(f, NULL, 0, ops, n + 1, NULL), C2_E_TOO_LARGE);
    assert_value(f, "0/000000", "v");
    assert_int_equal(txn(f, NULL, 0, ops, n, NULL), C2_E_OK);
    assert_absent(f, "0/000000");
}

static void
range__pages_in_key_order(void **state)
{
    struct coord_fixture *f = *state;
    put_many(f, "d/", 25, 3);
    put(f, "d", "before");
    put(f, "d0", "after");
    const struct c2_slice prefix = c2_slice_str("d/");
    char after[16] = "";
    size_t seen = 0;
    bool more = true;
    while (more) {
        struct coord_call call = { 0 };
        call.r.verb = COORD_RANGE;
        call.r.keys = &prefix;
        call.r.nkeys = 1;
        call.r.after = c2_slice_str(after);
        call.r.limit = 10;
        assert_int_equal(coord_call_run(f, &call), C2_E_OK);
        for (size_t i = 0; i < call.r.nentries; i++) {
            char want[16];
            snprintf(want, sizeof want, "d/%06zu", seen++);
            assert_true(c2_slice_equal(call.r.entries[i].key, c2_slice_str(want)));
            memcpy(after, want, sizeof want);
        }
        more = call.r.more;
        assert_int_equal(call.r.nentries, more ? 10 : 5);
        coord_req_done(&call.r);
    }
    assert_int_equal(seen, 25);
}

static size_t
range_count(struct coord_fixture *f, const char *prefix, const char *after, bool *ret_more)
{
    const struct c2_slice p = c2_slice_str(prefix);
    struct coord_call call = { 0 };
    call.r.verb = COORD_RANGE;
    call.r.keys = &p;
    call.r.nkeys = 1;
    call.r.after = c2_slice_str(after);
    assert_int_equal(coord_call_run(f, &call), C2_E_OK);
    *ret_more = call.r.more;
    size_t n = call.r.nentries;
    coord_req_done(&call.r);
    return n;
}

static void
range__handles_its_edges(void **state)
{
    struct coord_fixture *f = *state;
    bool more = true;
    assert_int_equal(range_count(f, "", "", &more), 0);
    put(f, "a", "");
    put(f, "b", "");
    put(f, "b1", "");
    put(f, "c", "");
    assert_int_equal(range_count(f, "", "", &more), 4);
    assert_false(more);
    assert_int_equal(range_count(f, "b", "", &more), 2);
    assert_int_equal(range_count(f, "b", "a", &more), 2); /* after lies before the prefix */
    assert_int_equal(range_count(f, "b", "b", &more), 1);
    assert_int_equal(range_count(f, "b", "b0", &more), 1); /* after need not exist */
    assert_int_equal(range_count(f, "b", "c", &more), 0);
    assert_int_equal(range_count(f, "", "c", &more), 0);
    put_many(f, "x", 40, 60000); /* more bytes than one answer holds */
    size_t n = range_count(f, "x", "", &more);
    assert_true(more);
    assert_in_range(n, 15, 17);
}

static void
get__answers_each_key_or_refuses_all(void **state)
{
    struct coord_fixture *f = *state;
    put_many(f, "x", 20, 60000);
    put(f, "a", "1");
    const struct c2_slice keys[] = { c2_slice_str("none"), c2_slice_str("a"), c2_slice_str("a") };
    struct coord_call call = { 0 };
    call.r.verb = COORD_GET;
    call.r.keys = keys;
    call.r.nkeys = 3;
    assert_int_equal(coord_call_run(f, &call), C2_E_OK);
    assert_int_equal(call.r.nentries, 3);
    assert_int_equal(call.r.entries[0].version, 0);
    assert_int_equal(call.r.entries[1].version, call.r.version);
    assert_true(c2_slice_equal(call.r.entries[2].value, c2_slice_str("1")));
    coord_req_done(&call.r);

    char names[20][16];
    struct c2_slice big[20];
    for (size_t i = 0; i < 20; i++) {
        snprintf(names[i], sizeof names[i], "x%06zu", i);
        big[i] = c2_slice_str(names[i]);
    }
    call.r.keys = big;
    call.r.nkeys = 20;
    assert_int_equal(coord_call_run(f, &call), C2_E_TOO_LARGE);
    assert_int_equal(call.r.nentries, 0);
    coord_req_done(&call.r);
}

static void
submit__refuses_what_is_beyond_a_bound_through_done(void **state)
{
    struct coord_fixture *f = *state;
    static uint8_t bytes[COORD_VALUE_MAX + 1];
    memset(bytes, 'k', sizeof bytes);
    static struct coord_op many[COORD_TXN_OPS_MAX + 1];
    static struct coord_cond conds[COORD_TXN_CONDS_MAX + 1];
    for (size_t i = 0; i < C2_ARRAY_LEN(many); i++)
        many[i] = op(COORD_DELETE, "k", NULL, 0);
    for (size_t i = 0; i < C2_ARRAY_LEN(conds); i++)
        conds[i] = cond(COORD_ABSENT, "k", NULL, 0);
    assert_int_equal(txn(f, NULL, 0, many, COORD_TXN_OPS_MAX, NULL), C2_E_OK);
    assert_int_equal(txn(f, NULL, 0, many, COORD_TXN_OPS_MAX + 1, NULL), C2_E_TOO_LARGE);
    assert_int_equal(txn(f, conds, COORD_TXN_CONDS_MAX, NULL, 0, NULL), C2_E_OK);
    assert_int_equal(txn(f, conds, COORD_TXN_CONDS_MAX + 1, NULL, 0, NULL), C2_E_TOO_LARGE);

    struct coord_op o = { COORD_PUT, c2_slice(bytes, COORD_KEY_MAX), c2_slice(bytes, 0), 0 };
    assert_int_equal(txn_op(f, o, NULL), C2_E_OK);
    o.key.len++;
    assert_int_equal(txn_op(f, o, NULL), C2_E_TOO_LARGE);
    o.key.len = 0;
    assert_int_equal(txn_op(f, o, NULL), C2_E_INVALID);
    o.key.len = 1;
    o.value.len = COORD_VALUE_MAX;
    assert_int_equal(txn_op(f, o, NULL), C2_E_OK);
    o.value.len++;
    assert_int_equal(txn_op(f, o, NULL), C2_E_TOO_LARGE);

    for (size_t i = 0; i < 17; i++)
        many[i] = (struct coord_op){ COORD_PUT, c2_slice(bytes, 1 + i),
                                     c2_slice(bytes, COORD_VALUE_MAX), 0 };
    assert_int_equal(txn(f, NULL, 0, many, 15, NULL), C2_E_OK);
    assert_int_equal(txn(f, NULL, 0, many, 16, NULL), C2_E_TOO_LARGE);

    struct coord_call call = { .r = { .verb = COORD_SESSION_OPEN } };
    assert_int_equal(coord_call_run(f, &call), C2_E_INVALID);
    call = (struct coord_call){ .r = { .verb = COORD_EXPIRE } };
    assert_int_equal(coord_call_run(f, &call), C2_E_INVALID);
}

int
main(void)
{
#define T(test)                                                                                    \
    cmocka_unit_test_setup_teardown(test, coord_fixture_setup, coord_fixture_teardown),            \
    {                                                                                              \
#test "__bft", test, coord_fixture_setup_bft, coord_fixture_teardown, NULL                 \
    }
    const struct CMUnitTest tests[] = {
        T(txn__gives_keys_its_number_as_version),
        T(cond__holds_or_fails_for_each_kind),
        T(conflict__shows_the_state_of_failed_keys_and_changes_nothing),
        T(op__does_what_it_says_in_order),
        T(add__counts_from_zero_and_refuses_overflow),
        T(txn__leaves_no_trace_when_a_late_operation_fails),
        T(delete_range__is_bounded_in_keys_and_bytes),
        T(txn__changes_a_bounded_number_of_keys),
        T(range__pages_in_key_order),
        T(range__handles_its_edges),
        T(get__answers_each_key_or_refuses_all),
        T(submit__refuses_what_is_beyond_a_bound_through_done),
    };
    return cmocka_run_group_tests_name("metadata_store", tests, NULL, NULL);
}
