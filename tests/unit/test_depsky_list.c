/* SPDX-License-Identifier: MIT */
/*
 * Listing and deleting: what the union over lying and missing seats is, and when it is complete.
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
#include "tests/lib/ds_rig.h"
#include "tests/lib/test_env.h"

struct waited_list {
    struct ds_list l;
    bool done;
};

static void
list_done(struct ds_list *l)
{
    C2_CONTAINER_OF(l, struct waited_list, l)->done = true;
}

/* The caller frees items. */
static struct ds_list
list(struct ds_rig *rig, struct ds_list request)
{
    struct waited_list w = { .l = request };
    w.l.done = list_done;
    if (w.l.max == 0)
        w.l.max = 1u << 20;
    ds_list_start(rig->c, &w.l);
    assert_false(w.done);
    test_env_run_until(rig->t, &w.done);
    return w.l;
}

static const struct ds_list whole_session = { .sid = 1, .after_seq = UINT64_MAX };

static void
open_with_objects(struct ds_rig *rig, unsigned count)
{
    ds_rig_init(rig, 4, 1);
    ds_rig_open(rig);
    for (unsigned i = 0; i < count; i++)
        ds_rig_store(rig, "x", 1);
    c2_mark_reset();
}

static void
list__gives_the_objects_of_a_session_in_order(void **state)
{
    (void)state;
    struct ds_rig rig;
    open_with_objects(&rig, 12);
    struct ds_list l = list(&rig, whole_session);
    assert_int_equal(l.err, C2_E_OK);
    assert_int_equal(l.nitems, 12);
    assert_int_equal(l.answered, 0xf);
    assert_false(l.more);
    for (unsigned i = 0; i < 12; i++) {
        assert_int_equal(l.items[i].sid, 1);
        assert_int_equal(l.items[i].seq, i + 1);
        assert_int_equal(l.items[i].seats, 0x7);
    }
    c2_free(l.items);
    struct ds_list after = { .sid = 1, .after_seq = 10 };
    l = list(&rig, after);
    assert_int_equal(l.nitems, 2);
    assert_int_equal(l.items[0].seq, 11);
    c2_free(l.items);
    struct ds_list other = { .sid = 2, .after_seq = UINT64_MAX };
    l = list(&rig, other);
    assert_int_equal(l.err, C2_E_OK);
    assert_int_equal(l.nitems, 0);
    c2_free(l.items);
    ds_rig_done(&rig);
}

static void
list__kinds_do_not_mix(void **state)
{
    (void)state;
    struct ds_rig rig;
    open_with_objects(&rig, 2);
    char key[PROV_KEY_MAX];
    struct ds_oid oid = { .sid = 1, .seq = 5 };
    ds_object_key(rig.c, DS_KIND_JOURNAL, oid, key);
    assert_string_equal(key, "v1/c2c2c2c2/j/00000001/0000000000000005");
    prov_mem_store(rig.mem[0], key, c2_slice_str("j"));
    ds_object_key(rig.c, DS_KIND_CHECKPOINT, oid, key);
    assert_string_equal(key, "v1/c2c2c2c2/c/00000001/0000000000000005");
    prov_mem_store(rig.mem[0], key, c2_slice_str("c"));
    struct ds_list journal = { .kind = DS_KIND_JOURNAL, .all_sids = true };
    struct ds_list l = list(&rig, journal);
    assert_int_equal(l.nitems, 1);
    assert_int_equal(l.items[0].sid, 1);
    assert_int_equal(l.items[0].seq, 5);
    assert_int_equal(l.items[0].seats, 0x1);
    c2_free(l.items);
    l = list(&rig, whole_session);
    assert_int_equal(l.nitems, 2);
    c2_free(l.items);
    ds_rig_done(&rig);
}

/* More than one page per seat; then the same in steps of max. */
static void
list__pages_through_thousands(void **state)
{
    (void)state;
    struct ds_rig rig;
    open_with_objects(&rig, 0);
    char key[PROV_KEY_MAX];
    for (unsigned i = 1; i <= 2500; i++) {
        ds_object_key(rig.c, DS_KIND_OBJECT, (struct ds_oid){ .sid = 1, .seq = i }, key);
        prov_mem_store(rig.mem[i % 4], key, c2_slice_str("x"));
        prov_mem_store(rig.mem[(i + 1) % 4], key, c2_slice_str("x"));
    }
    struct ds_list l = list(&rig, whole_session);
    assert_int_equal(l.nitems, 2500);
    c2_free(l.items);
    uint64_t after = UINT64_MAX;
    unsigned seen = 0;
    for (;;) {
        struct ds_list step = { .sid = 1, .after_seq = after, .max = 70 };
        l = list(&rig, step);
        assert_int_equal(l.err, C2_E_OK);
        for (size_t i = 0; i < l.nitems; i++)
            assert_int_equal(l.items[i].seq, ++seen); /* without a gap */
        after = seen;
        c2_free(l.items);
        if (!l.more)
            break;
        assert_true(l.nitems >= 70);
    }
    assert_int_equal(seen, 2500);
    ds_rig_done(&rig);
}

/* Objects of several sessions in steps, from where the last step ended. */
static void
list__of_all_sessions_goes_on_where_it_ended(void **state)
{
    (void)state;
    struct ds_rig rig;
    open_with_objects(&rig, 0);
    char key[PROV_KEY_MAX];
    for (unsigned i = 0; i < 300; i++) {
        struct ds_oid oid = { .sid = 1 + i / 7, .seq = i % 7 };
        ds_object_key(rig.c, DS_KIND_OBJECT, oid, key);
        for (unsigned s = 0; s < 3; s++)
            prov_mem_store(rig.mem[(i + s) % 4], key, c2_slice_str("x"));
    }
    struct ds_list step = { .all_sids = true, .max = 20 };
    unsigned seen = 0;
    for (bool more = true; more;) {
        struct ds_list l = list(&rig, step);
        assert_int_equal(l.err, C2_E_OK);
        for (size_t i = 0; i < l.nitems; i++, seen++) {
            assert_int_equal(l.items[i].sid, 1 + seen / 7);
            assert_int_equal(l.items[i].seq, seen % 7);
            assert_int_equal(__builtin_popcount(l.items[i].seats), 3);
        }
        assert_true(l.nitems > 0);
        step.resume = true;
        step.sid = l.items[l.nitems - 1].sid;
        step.after_seq = l.items[l.nitems - 1].seq;
        more = l.more;
        c2_free(l.items);
    }
    assert_int_equal(seen, 300);
    ds_rig_done(&rig);
}

static void
list__that_is_patient_waits_for_a_slow_seat(void **state)
{
    (void)state;
    struct ds_rig rig;
    open_with_objects(&rig, 2);
    ds_rig_fault(&rig, 0, "list.delay:5s");
    struct ds_list l = list(&rig, whole_session);
    assert_int_equal(l.answered, 0xe);
    c2_free(l.items);
    struct ds_list patient = whole_session;
    patient.patient = true;
    l = list(&rig, patient);
    assert_int_equal(l.answered, 0xf);
    c2_free(l.items);
    ds_rig_done(&rig);
}

/* As long again as the others took, and as long as a request may take: a seat that lists something
 * all the time, and never the end, does not stop the others. */
static void
list__that_is_patient_is_so_within_limits(void **state)
{
    (void)state;
    struct ds_rig rig;
    open_with_objects(&rig, 2);
    for (unsigned i = 0; i < 5000; i++) {
        char key[64];
        snprintf(key, sizeof(key), "v1/c2c2c2c2/o/0000000000000001/!%08u", i);
        prov_mem_store(rig.mem[2], key, c2_slice_str(""));
    }
    ds_rig_fault(&rig, 2, "list.delay:20s");
    struct ds_list request = whole_session;
    request.patient = true;
    request.max = 100;
    uint64_t start = c2_now_ns(rig.env);
    struct ds_list l = list(&rig, request);
    assert_int_equal(l.err, C2_E_OK);
    assert_int_equal(l.nitems, 2);
    assert_int_equal(l.answered, 0xb);
    assert_in_range(c2_now_ns(rig.env) - start, rig.config.get_timeout_ns,
                    rig.config.get_timeout_ns + C2_NS_PER_S);
    c2_free(l.items);
    ds_rig_done(&rig);
}

/* A mount that is told to end looks at its journal all the same, and waits for that. */
static void
list__ends_with_the_client_only_in_the_background(void **state)
{
    (void)state;
    struct ds_rig rig;
    open_with_objects(&rig, 2);
    for (unsigned i = 0; i < 4; i++)
        ds_rig_fault(&rig, i, "list.delay:1s");
    ds_client_quiesce(rig.c);
    struct ds_list request = whole_session;
    request.patient = true;
    struct ds_list l = list(&rig, request);
    assert_int_equal(l.err, C2_E_OK);
    assert_int_equal(l.nitems, 2);
    c2_free(l.items);
    request.background = true;
    l = list(&rig, request);
    assert_int_equal(l.err, C2_E_QUORUM);
    c2_free(l.items);
    ds_rig_done(&rig);
}

/* Whoever needs all of them cannot be kept from it by one that invents more than there may be. */
static void
list__of_everything_goes_on_without_a_seat_that_invents(void **state)
{
    (void)state;
    struct ds_rig rig;
    open_with_objects(&rig, 2);
    char key[PROV_KEY_MAX];
    for (unsigned i = 0; i < 200; i++) {
        ds_object_key(rig.c, DS_KIND_OBJECT, (struct ds_oid){ .sid = 1, .seq = 100 + i }, key);
        prov_mem_store(rig.mem[2], key, c2_slice_str("x"));
    }
    struct ds_list request = whole_session;
    request.max = 100;
    struct ds_list l = list(&rig, request);
    assert_true(l.more);
    c2_free(l.items);
    request.whole = true;
    l = list(&rig, request);
    assert_int_equal(l.err, C2_E_OK);
    assert_false(l.more);
    assert_int_equal(l.nitems, 2);
    assert_int_equal(l.answered, 0xb);
    c2_free(l.items);
    ds_rig_done(&rig);
}

static void
list__needs_complete_answers_from_all_but_f(void **state)
{
    (void)state;
    static const char *const kinds[] = { "list.error", "list.down", "list.hang" };
    for (size_t k = 0; k < C2_ARRAY_LEN(kinds); k++) {
        struct ds_rig rig;
        open_with_objects(&rig, 3);
        ds_rig_fault(&rig, 1, kinds[k]);
        struct ds_list l = list(&rig, whole_session);
        assert_int_equal(l.err, C2_E_OK);
        assert_int_equal(l.nitems, 3);
        assert_int_equal(l.answered, 0xd);
        c2_free(l.items);
        ds_rig_fault(&rig, 2, kinds[k]);
        l = list(&rig, whole_session);
        assert_int_equal(l.err, C2_E_QUORUM);
        assert_null(l.items);
        ds_rig_done(&rig);
    }
}

static void
list__does_not_wait_long_for_the_last_seat(void **state)
{
    (void)state;
    struct ds_rig rig;
    open_with_objects(&rig, 3);
    ds_rig_fault(&rig, 3, "list.hang");
    uint64_t start = c2_now_ns(rig.env);
    struct ds_list l = list(&rig, whole_session);
    assert_int_equal(l.err, C2_E_OK);
    assert_int_equal(c2_now_ns(rig.env) - start, rig.config.get_hedge_min_ns);
    assert_int_equal(c2_mark_count("list: does not wait for the last seat"), 1);
    c2_free(l.items);
    ds_rig_done(&rig);
}

static void
list__one_lying_seat_hides_nothing(void **state)
{
    (void)state;
    static const char *const kinds[] = { "list.empty", "list.absent", "list.forge" };
    for (size_t k = 0; k < C2_ARRAY_LEN(kinds); k++) {
        for (unsigned seat = 0; seat < 4; seat++) {
            struct ds_rig rig;
            open_with_objects(&rig, 5);
            ds_rig_fault(&rig, seat, kinds[k]);
            struct ds_list l = list(&rig, whole_session);
            assert_int_equal(l.err, C2_E_OK);
            for (unsigned seq = 1; seq <= 5; seq++) {
                bool found = false;
                for (size_t i = 0; i < l.nitems; i++)
                    found = found || l.items[i].seq == seq;
                assert_true(found);
            }
            c2_free(l.items);
            ds_rig_done(&rig);
        }
    }
}

static void
list__ignores_names_that_are_not_ours(void **state)
{
    (void)state;
    static const char *const names[] = {
        "v1/c2c2c2c2/o/0000000000000001/000000000000000A", /* upper case */
        "v1/c2c2c2c2/o/0000000000000001/00000000000000001",
        "v1/c2c2c2c2/o/0000000000000001/000000000000001",
        "v1/c2c2c2c2/o/0000000000000001/00000000000000 1",
        "v1/c2c2c2c2/o/0000000000000001/0000000000000009/x",
        "v1/c2c2c2c2/o/0000000000000001/",
    };
    struct ds_rig rig;
    open_with_objects(&rig, 2);
    for (size_t i = 0; i < C2_ARRAY_LEN(names); i++)
        prov_mem_store(rig.mem[0], names[i], c2_slice_str("x"));
    char longest[PROV_KEY_MAX + 1] = { 0 };
    memset(longest, 'z', PROV_KEY_MAX);
    memcpy(longest, names[5], strlen(names[5]));
    prov_mem_store(rig.mem[0], longest, c2_slice_str("x"));
    struct ds_list l = list(&rig, whole_session);
    assert_int_equal(l.nitems, 2);
    assert_int_equal(l.answered, 0xf);
    c2_free(l.items);
    ds_rig_done(&rig);
}

static void
list__gives_up_on_a_seat_full_of_rubbish(void **state)
{
    (void)state;
    struct ds_rig rig;
    open_with_objects(&rig, 3);
    for (unsigned i = 0; i < 80000; i++) {
        char key[64];
        snprintf(key, sizeof(key), "v1/c2c2c2c2/o/0000000000000001/!%08u", i);
        prov_mem_store(rig.mem[2], key, c2_slice_str(""));
    }
    struct ds_list request = { .sid = 1, .after_seq = UINT64_MAX, .max = 100 };
    struct ds_list l = list(&rig, request);
    assert_int_equal(l.err, C2_E_OK);
    assert_int_equal(l.nitems, 3);
    assert_int_equal(l.answered, 0xb);
    c2_free(l.items);
    ds_rig_done(&rig);
}

/* ---- delete ---------------------------------------------------------------------------- */

struct waited_delete {
    struct ds_delete d;
    bool done;
};

static void
delete_done(struct ds_delete *d)
{
    C2_CONTAINER_OF(d, struct waited_delete, d)->done = true;
}

static struct ds_delete
delete_objects(struct ds_rig *rig, const struct ds_oid *oids, size_t noids)
{
    struct waited_delete w = { .d = { .oids = oids, .noids = noids } };
    w.d.done = delete_done;
    ds_delete_start(rig->c, &w.d);
    assert_false(w.done);
    test_env_run_until(rig->t, &w.done);
    return w.d;
}

static void
delete__removes_all_shares_with_one_request_per_seat(void **state)
{
    (void)state;
    struct ds_rig rig;
    open_with_objects(&rig, 30);
    struct ds_oid oids[30];
    for (unsigned i = 0; i < 30; i++)
        oids[i] = (struct ds_oid){ .sid = 1, .seq = i + 1 };
    struct ds_delete d = delete_objects(&rig, oids, 30);
    assert_int_equal(d.err, C2_E_OK);
    assert_int_equal(d.confirmed, 0xf);
    assert_int_equal(ds_rig_requests(&rig, PROV_DELETE_MANY), 4);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(prov_mem_count(rig.mem[i]), 0);
    d = delete_objects(&rig, oids, 30); /* repeating it is harmless */
    assert_int_equal(d.err, C2_E_OK);
    d = delete_objects(&rig, oids, 0);
    assert_int_equal(d.err, C2_E_OK);
    ds_rig_done(&rig);
}

static void
delete__is_done_only_when_every_seat_confirmed(void **state)
{
    (void)state;
    struct ds_rig rig;
    open_with_objects(&rig, 1);
    struct ds_oid oid = { .sid = 1, .seq = 1 };
    ds_rig_fault(&rig, 3, "down");
    for (unsigned i = 0; i < 4; i++) { /* the last time its breaker is open */
        struct ds_delete d = delete_objects(&rig, &oid, 1);
        assert_int_equal(d.err, C2_E_QUORUM);
        assert_int_equal(d.confirmed, 0x7);
    }
    ds_rig_fault(&rig, 3, "");
    test_env_run_for(rig.t, 31 * C2_NS_PER_S); /* the probe closes it */
    struct ds_delete d = delete_objects(&rig, &oid, 1);
    assert_int_equal(d.err, C2_E_OK);
    ds_rig_done(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list__gives_the_objects_of_a_session_in_order),
        cmocka_unit_test(list__kinds_do_not_mix),
        cmocka_unit_test(list__pages_through_thousands),
        cmocka_unit_test(list__of_all_sessions_goes_on_where_it_ended),
        cmocka_unit_test(list__that_is_patient_waits_for_a_slow_seat),
        cmocka_unit_test(list__that_is_patient_is_so_within_limits),
        cmocka_unit_test(list__ends_with_the_client_only_in_the_background),
        cmocka_unit_test(list__of_everything_goes_on_without_a_seat_that_invents),
        cmocka_unit_test(list__needs_complete_answers_from_all_but_f),
        cmocka_unit_test(list__does_not_wait_long_for_the_last_seat),
        cmocka_unit_test(list__one_lying_seat_hides_nothing),
        cmocka_unit_test(list__ignores_names_that_are_not_ours),
        cmocka_unit_test(list__gives_up_on_a_seat_full_of_rubbish),
        cmocka_unit_test(delete__removes_all_shares_with_one_request_per_seat),
        cmocka_unit_test(delete__is_done_only_when_every_seat_confirmed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
