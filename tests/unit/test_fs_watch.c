/* SPDX-License-Identifier: MIT */
#include "fs/watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "tests/lib/fs_fixture.h"

#define FILES 8

struct mount {
    struct fsx x;
    struct watch *w;
};

struct waited {
    struct watch_ask ask;
    bool done;
};

static void
asked(struct watch_ask *a)
{
    C2_CONTAINER_OF(a, struct waited, ask)->done = true;
}

/* Waits for what a status would wait for; how long that took. */
static uint64_t
ask(struct mount *m)
{
    struct waited a = { .ask = { .done = asked } };
    uint64_t start = c2_now_ns(m->x.env);
    watch_ask(m->w, &a.ask);
    assert_false(a.done);
    test_env_run_until(m->x.t, &a.done);
    return c2_now_ns(m->x.env) - start;
}

/* A mount with a few committed objects, and a watch that has not looked at them yet. */
static int
setup(void **state)
{
    struct mount *m = c2_calloc(1, sizeof(*m));
    fsx_init(&m->x);
    fsx_mount(&m->x);
    for (unsigned k = 0; k < FILES; k++) {
        char name[16];
        snprintf(name, sizeof(name), "f%u", k);
        uint8_t *data = fsx_bytes(k, 300000);
        fsx_put(&m->x, FS_ROOT_INO, name, data, 300000);
        c2_free(data);
    }
    assert_int_equal(fsx_sync(&m->x), C2_E_OK);
    *state = m;
    return 0;
}

static int
teardown(void **state)
{
    struct mount *m = *state;
    for (unsigned seat = 0; seat < FSX_SEATS; seat++)
        fsx_fault(&m->x, seat, "");
    watch_stop(m->w);
    fsx_unmount(&m->x);
    watch_free(m->w);
    fsx_done(&m->x);
    c2_free(m);
    return 0;
}

static struct ds_seat_status
seat(const struct mount *m, unsigned index)
{
    struct ds_seat_status s;
    ds_seat_status(m->x.ds, index, &s);
    return s;
}

/* A seat that has shares and that no read asks: the last one that was written to. */
static unsigned
unread_seat(const struct mount *m)
{
    unsigned found = 0;
    for (unsigned k = 0; k < FSX_SEATS; k++)
        if (seat(m, k).puts_ok > 0)
            found = k;
    assert_int_equal(seat(m, found).gets_ok, 0);
    return found;
}

static void
watch__finds_nothing_where_nothing_is_wrong(void **state)
{
    struct mount *m = *state;
    uint64_t gets = fsx_requests(&m->x, PROV_GET);
    uint64_t heads = fsx_requests(&m->x, PROV_HEAD);
    m->w = watch_new(m->x.env, m->x.ds, m->x.fs);
    assert_false(watch_is_fresh(m->w));
    ask(m);
    assert_true(watch_is_fresh(m->w));
    for (unsigned k = 0; k < FSX_SEATS; k++)
        assert_int_equal(seat(m, k).state, DS_SEAT_ONLINE);
    /* What a round costs. */
    assert_in_range(fsx_requests(&m->x, PROV_GET) - gets, 1, WATCH_SAMPLES * FSX_SEATS * 2);
    assert_in_range(fsx_requests(&m->x, PROV_HEAD) - heads, FSX_SEATS,
                    FSX_SEATS + WATCH_SAMPLES * FSX_SEATS);
}

static void
watch__finds_a_seat_with_wrong_bytes_that_no_read_asks(void **state)
{
    struct mount *m = *state;
    unsigned bad = unread_seat(m);
    fsx_fault(&m->x, bad, "corrupt");
    m->w = watch_new(m->x.env, m->x.ds, m->x.fs);
    ask(m);
    assert_int_equal(seat(m, bad).state, DS_SEAT_SUSPECT);
    assert_true(seat(m, bad).corrupt > 0);
}

static void
watch__finds_a_seat_that_lost_its_shares(void **state)
{
    struct mount *m = *state;
    unsigned bad = unread_seat(m);
    fsx_fault(&m->x, bad, "absent");
    m->w = watch_new(m->x.env, m->x.ds, m->x.fs);
    ask(m);
    assert_int_equal(seat(m, bad).state, DS_SEAT_DEGRADED);
    assert_true(seat(m, bad).absent > 0);
}

static void
watch__takes_silence_for_no_answer(void **state)
{
    struct mount *m = *state;
    fsx_fault(&m->x, 3, "hang");
    m->w = watch_new(m->x.env, m->x.ds, m->x.fs);
    uint64_t took = ask(m);
    assert_in_range(took, WATCH_PATIENCE_NS, WATCH_PATIENCE_NS + 2 * WATCH_CHECKS_NS);
    assert_int_equal(seat(m, 3).state, DS_SEAT_DEGRADED);
    assert_string_equal(seat(m, 3).last_detail, "no answer for 5 s");
}

static void
watch__an_ask_does_not_wait_for_a_check_that_hangs(void **state)
{
    struct mount *m = *state;
    unsigned bad = unread_seat(m);
    fsx_fault(&m->x, bad, "get.hang");
    c2_mark_reset();
    m->w = watch_new(m->x.env, m->x.ds, m->x.fs);
    assert_true(ask(m) <= 2 * WATCH_CHECKS_NS);
    assert_int_equal(c2_mark_count("watch: a check takes longer than a status may"), 1);
    /* The round still runs: the next one is as quick. */
    assert_true(ask(m) <= 2 * WATCH_CHECKS_NS);
}

static void
watch__answers_every_ask_when_it_stops(void **state)
{
    struct mount *m = *state;
    fsx_fault(&m->x, 3, "hang");
    m->w = watch_new(m->x.env, m->x.ds, m->x.fs);
    struct waited a[2] = { { .ask = { .done = asked } }, { .ask = { .done = asked } } };
    watch_ask(m->w, &a[0].ask);
    watch_ask(m->w, &a[1].ask);
    watch_stop(m->w);
    assert_true(a[0].done);
    assert_true(a[1].done);
    assert_true(watch_is_fresh(m->w));
}

/* The round at the start of a mount knows no object: the first status must not rest on it. */
static void
watch__is_not_fresh_when_more_objects_are_known(void **state)
{
    struct mount *m = *state;
    unsigned bad = unread_seat(m);
    fsx_unmount(&m->x);
    fsx_mount(&m->x);
    m->w = watch_new(m->x.env, m->x.ds, m->x.fs);
    ask(m);
    assert_true(watch_is_fresh(m->w));
    fsx_fault(&m->x, bad, "corrupt");
    uint8_t *data = fsx_bytes(0, 300000);
    fsx_expect(&m->x, FS_ROOT_INO, "f0", data, 300000);
    c2_free(data);
    assert_false(watch_is_fresh(m->w));
    ask(m);
    assert_int_equal(seat(m, bad).state, DS_SEAT_SUSPECT);
}

static void
watch__looks_again_by_itself(void **state)
{
    struct mount *m = *state;
    m->w = watch_new(m->x.env, m->x.ds, m->x.fs);
    ask(m);
    fsx_fault(&m->x, 3, "down");
    test_env_run_for(m->x.t, WATCH_EVERY_NS + C2_NS_PER_S);
    assert_int_not_equal(seat(m, 3).state, DS_SEAT_ONLINE);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(watch__finds_nothing_where_nothing_is_wrong, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(watch__finds_a_seat_with_wrong_bytes_that_no_read_asks,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(watch__finds_a_seat_that_lost_its_shares, setup, teardown),
        cmocka_unit_test_setup_teardown(watch__takes_silence_for_no_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(watch__an_ask_does_not_wait_for_a_check_that_hangs, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(watch__answers_every_ask_when_it_stops, setup, teardown),
        cmocka_unit_test_setup_teardown(watch__is_not_fresh_when_more_objects_are_known, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(watch__looks_again_by_itself, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
