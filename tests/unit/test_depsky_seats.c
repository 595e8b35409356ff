/* SPDX-License-Identifier: MIT */
/*
 * Providers that come and go while a client works.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backends/mem.h"
#include "backends/registry.h"
#include "tests/lib/ds_rig.h"
#include "tests/lib/test_env.h"

#define LEN 300000u

struct fix {
    struct ds_rig rig;
    struct provider *extra; /* the cloud that comes */
    struct c2_blob *data;
    char key[PROV_KEY_MAX];
};

static void
open_fix(struct fix *f)
{
    *f = (struct fix){ 0 };
    ds_rig_init(&f->rig, 4, 1);
    ds_rig_open(&f->rig);
    f->extra = prov_mem_new(f->rig.env, "new");
    f->data = ds_rig_random(3, LEN);
}

static void
close_fix(struct fix *f)
{
    ds_rig_close(&f->rig);
    prov_close(f->extra);
    c2_blob_unref(f->data);
    ds_rig_done(&f->rig);
}

static struct ds_ref
store(struct fix *f)
{
    return ds_rig_store(&f->rig, f->data->data, f->data->len);
}

static const struct c2_blob *
share(struct fix *f, struct provider *cloud, const struct ds_ref *ref)
{
    return prov_mem_peek(cloud, ds_rig_key(&f->rig, ref, f->key));
}

struct waited {
    struct ds_rebuild rebuild;
    struct ds_put put;
    bool done;
};

static void
rebuilt(struct ds_rebuild *r)
{
    C2_CONTAINER_OF(r, struct waited, rebuild)->done = true;
}

static void
was_put(struct ds_put *p)
{
    C2_CONTAINER_OF(p, struct waited, put)->done = true;
}

static enum c2_err
rebuild(struct fix *f, const struct ds_ref *ref, unsigned seat, struct provider *source)
{
    struct waited w = { .rebuild = { .ref = *ref, .seat = seat, .source = source } };
    w.rebuild.done = rebuilt;
    ds_rebuild_start(f->rig.c, &w.rebuild);
    test_env_run_until(f->rig.t, &w.done);
    return w.rebuild.err;
}

static void
replacement__gets_new_shares_and_the_old_ones_when_they_are_moved(void **state)
{
    (void)state;
    struct fix f;
    open_fix(&f);
    struct ds_ref before = store(&f);
    struct provider *old = f.rig.seat[1];
    ds_client_set_seat(f.rig.c, 1, f.extra, DS_USE_NEW);
    ds_client_set_epoch(f.rig.c, 4, 2);
    assert_false(ds_client_uses(f.rig.c, old));
    assert_true(ds_client_uses(f.rig.c, f.extra));
    struct ds_ref after = store(&f);
    assert_non_null(share(&f, f.extra, &after));
    assert_null(share(&f, f.rig.mem[1], &after));
    ds_rig_expect(&f.rig, &before, f.data, 0, LEN);
    ds_rig_expect(&f.rig, &after, f.data, 0, LEN);
    struct ds_seat_status s;
    ds_seat_status(f.rig.c, 1, &s); /* that it lacks what was never there is no fault */
    assert_int_equal(s.state, DS_SEAT_ONLINE);
    assert_int_equal(s.absent, 0);
    assert_int_equal(rebuild(&f, &before, 1, old), C2_E_OK);
    const struct c2_blob *moved = share(&f, f.extra, &before);
    assert_true(
        c2_slice_equal(c2_blob_slice(share(&f, f.rig.mem[1], &before)), c2_blob_slice(moved)));
    ds_client_set_seat(f.rig.c, 1, f.extra, DS_USE_ALL);
    ds_rig_fault(&f.rig, 0, "down");
    ds_rig_expect(&f.rig, &before, f.data, 0, LEN);
    close_fix(&f);
}

static void
seat__that_is_off_is_asked_for_nothing(void **state)
{
    (void)state;
    struct fix f;
    open_fix(&f);
    struct ds_ref before = store(&f);
    ds_client_set_seat(f.rig.c, 0, f.rig.seat[0], DS_USE_OFF);
    ds_rig_fault(&f.rig, 0, "error"); /* counts who asks */
    struct ds_put p = ds_rig_put(&f.rig, f.data->data, LEN);
    assert_int_equal(p.err, C2_E_OK);
    assert_int_equal(p.placed, 0xe);
    ds_rig_expect(&f.rig, &before, f.data, 0, LEN);
    ds_rig_fault(&f.rig, 2, "down");
    p = ds_rig_put(&f.rig, f.data->data, LEN);
    assert_int_equal(p.err, C2_E_QUORUM);
    assert_int_equal(prov_fault_count(f.rig.seat[0]), 0);
    ds_rig_fault(&f.rig, 0, "");
    ds_client_set_seat(f.rig.c, 0, f.rig.seat[0], DS_USE_ALL);
    p = ds_rig_put(&f.rig, f.data->data, LEN);
    assert_int_equal(p.err, C2_E_OK);
    close_fix(&f);
}

static void
seat__that_is_read_only_gets_no_new_shares(void **state)
{
    (void)state;
    struct fix f;
    open_fix(&f);
    struct ds_ref before = store(&f);
    ds_client_set_seat(f.rig.c, 0, f.rig.seat[0], DS_USE_READ);
    struct ds_put p = ds_rig_put(&f.rig, f.data->data, LEN);
    assert_int_equal(p.placed, 0xe);
    ds_rig_fault(&f.rig, 1, "down");
    ds_rig_fault(&f.rig, 3, "down");
    ds_rig_expect(&f.rig, &before, f.data, 0, LEN);
    close_fix(&f);
}

/* An object has the shares that there were seats for when it was sealed. */
static void
seat__that_is_added_serves_new_objects_only(void **state)
{
    (void)state;
    struct fix f;
    open_fix(&f);
    struct ds_ref before = store(&f);
    ds_client_set_seat(f.rig.c, 4, f.extra, DS_USE_ALL);
    ds_client_set_epoch(f.rig.c, 5, 2);
    assert_int_equal(ds_client_n(f.rig.c), 5);
    ds_rig_fault(&f.rig, 0, "down");
    ds_rig_fault(&f.rig, 1, "down");
    struct ds_put p = ds_rig_put(&f.rig, f.data->data, LEN);
    assert_int_equal(p.err, C2_E_OK);
    assert_int_equal(p.placed, 0x1c);
    ds_rig_expect(&f.rig, &p.ref, f.data, 0, LEN);
    assert_int_equal(rebuild(&f, &p.ref, 0, NULL), C2_E_UNREACHABLE);
    ds_rig_fault(&f.rig, 0, "");
    ds_rig_fault(&f.rig, 1, "");
    assert_int_equal(rebuild(&f, &p.ref, 0, NULL), C2_E_OK);
    assert_int_equal(rebuild(&f, &before, 4, NULL), C2_E_INVALID);
    ds_rig_expect(&f.rig, &before, f.data, 0, LEN);
    close_fix(&f);
}

/* Sealed before the seat came, sent after: it has no share for it. */
static void
seat__may_be_added_while_an_object_is_written(void **state)
{
    (void)state;
    struct fix f;
    open_fix(&f);
    const struct c2_slice piece = c2_blob_slice(f.data);
    struct waited w = { .put = { .oid = { .sid = 9, .seq = 9 }, .data = &piece, .ndata = 1 } };
    w.put.done = was_put;
    ds_rig_fault(&f.rig, 0, "error");
    ds_put_start(f.rig.c, &w.put);
    ds_client_set_seat(f.rig.c, 4, f.extra, DS_USE_ALL);
    ds_client_set_epoch(f.rig.c, 5, 2);
    test_env_run_until(f.rig.t, &w.done);
    assert_int_equal(w.put.err, C2_E_OK);
    assert_int_equal(w.put.placed, 0xe);
    close_fix(&f);
}

/* With five seats, three acks of one writer and three of another may meet in one liar only. */
static void
journal__needs_so_many_seats_that_two_writers_meet_in_more_than_f(void **state)
{
    (void)state;
    struct fix f;
    open_fix(&f);
    ds_client_set_seat(f.rig.c, 4, f.extra, DS_USE_ALL);
    ds_client_set_epoch(f.rig.c, 5, 2);
    const struct c2_slice piece = c2_blob_slice(f.data);
    for (unsigned kind = DS_KIND_OBJECT; kind <= DS_KIND_CHECKPOINT; kind++) {
        struct waited w = { .put = { .oid = { .sid = 1, .seq = 9 }, .data = &piece, .ndata = 1 } };
        w.put.kind = (enum ds_kind)kind;
        w.put.done = was_put;
        ds_put_start(f.rig.c, &w.put);
        test_env_run_until(f.rig.t, &w.done);
        assert_int_equal(w.put.err, C2_E_OK);
        assert_int_equal(__builtin_popcount(w.put.placed), kind == DS_KIND_OBJECT ? 3 : 4);
    }
    ds_client_set_seat(f.rig.c, 0, f.rig.seat[0], DS_USE_OFF);
    ds_client_set_epoch(f.rig.c, 4, 3); /* one has left: four, as in the beginning */
    struct waited w = { .put = { .kind = DS_KIND_JOURNAL, .data = &piece, .ndata = 1 } };
    w.put.oid = (struct ds_oid){ .sid = 1, .seq = 10 };
    w.put.done = was_put;
    ds_put_start(f.rig.c, &w.put);
    test_env_run_until(f.rig.t, &w.done);
    assert_int_equal(__builtin_popcount(w.put.placed), 3);
    close_fix(&f);
}

/* Whose shares are not what they were: other bytes, or soon none. */
static void
change__is_remembered_where_what_was_known_of_a_seat_does_not_hold_any_more(void **state)
{
    (void)state;
    struct fix f;
    open_fix(&f);
    uint64_t start = ds_client_changes(f.rig.c);
    assert_int_equal(ds_client_changed(f.rig.c, start), 0);
    ds_client_set_seat(f.rig.c, 0, f.rig.seat[0], DS_USE_OFF); /* comes back with all it has */
    ds_client_set_seat(f.rig.c, 0, f.rig.seat[0], DS_USE_ALL);
    struct provider *again = prov_mem_new(f.rig.env, f.rig.seat[2]->name); /* other credentials */
    ds_client_set_seat(f.rig.c, 2, again, DS_USE_ALL);
    assert_int_equal(ds_client_changed(f.rig.c, start), 0);
    ds_client_set_seat(f.rig.c, 1, f.extra, DS_USE_NEW);
    assert_int_equal(ds_client_changed(f.rig.c, start), 1u << 1);
    uint64_t between = ds_client_changes(f.rig.c);
    ds_client_set_seat(f.rig.c, 1, f.extra, DS_USE_ALL);
    ds_client_set_seat(f.rig.c, 0, f.rig.seat[0], DS_USE_READ);
    assert_int_equal(ds_client_changed(f.rig.c, start), 1u << 0 | 1u << 1);
    assert_int_equal(ds_client_changed(f.rig.c, between), 1u << 0);
    uint64_t late = ds_client_changes(f.rig.c);
    ds_client_set_seat(f.rig.c, 0, f.rig.seat[0], DS_USE_GONE);
    assert_int_equal(ds_client_changed(f.rig.c, late), 1u << 0);
    ds_client_set_seat(f.rig.c, 2, f.rig.seat[2], DS_USE_ALL);
    prov_close(again);
    close_fix(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replacement__gets_new_shares_and_the_old_ones_when_they_are_moved),
        cmocka_unit_test(seat__that_is_off_is_asked_for_nothing),
        cmocka_unit_test(seat__that_is_read_only_gets_no_new_shares),
        cmocka_unit_test(seat__that_is_added_serves_new_objects_only),
        cmocka_unit_test(seat__may_be_added_while_an_object_is_written),
        cmocka_unit_test(
            change__is_remembered_where_what_was_known_of_a_seat_does_not_hold_any_more),
        cmocka_unit_test(journal__needs_so_many_seats_that_two_writers_meet_in_more_than_f),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
