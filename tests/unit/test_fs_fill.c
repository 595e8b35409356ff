/* SPDX-License-Identifier: MIT */
/*
 * A seat gets the shares that it should have, in batches that may end and be repeated anywhere.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "backends/mem.h"
#include "backends/registry.h"
#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "fs/fill.h"
#include "fs/repair.h"
#include "tests/lib/fs_objects.h"

#define FILES 5

struct mount {
    struct fsx x;
    struct fso o[FILES];
};

static int
setup(void **state)
{
    static const char *const names[FILES] = { "a", "b", "c", "d", "e" };
    struct mount *m = c2_calloc(1, sizeof(*m));
    fsx_init(&m->x);
    fsx_mount(&m->x);
    for (unsigned k = 0; k < FILES; k++)
        m->o[k] = fso_put(&m->x, names[k]);
    *state = m;
    c2_mark_reset();
    return 0;
}

static int
teardown(void **state)
{
    struct mount *m = *state;
    for (unsigned k = 0; k < FILES; k++)
        fso_done(&m->o[k]);
    fsx_stop(&m->x);
    fsx_done(&m->x);
    c2_free(m);
    return 0;
}

struct fill {
    struct fs_fill f;
    bool done;
};

static void
fill_done(struct fs_fill *f)
{
    C2_CONTAINER_OF(f, struct fill, f)->done = true;
}

/* One batch of at most max records; goes on where *f ended. */
static void
batch(struct mount *m, struct fs_fill *f, unsigned max)
{
    struct fill w = { .f = *f };
    w.f.fs = m->x.fs;
    w.f.max = max;
    w.f.parallel = 3;
    w.f.done = fill_done;
    fs_fill_start(&w.f);
    assert_false(w.done);
    test_env_run_until(m->x.t, &w.done);
    *f = w.f;
}

static void
lose_seat(struct mount *m, unsigned seat)
{
    for (unsigned k = 0; k < FILES; k++)
        prov_mem_delete(m->x.mem[seat], m->o[k].key);
}

static void
fill__brings_back_what_the_seat_should_have(void **state)
{
    struct mount *m = *state;
    unsigned seat = fso_seat(&m->o[0]);
    struct fs_fill f = { .seat = seat };
    lose_seat(m, seat);
    uint64_t txns = m->x.coord->txns;
    unsigned batches = 0, filled = 0;
    for (; !f.finished; batches++) {
        batch(m, &f, 2);
        assert_int_equal(f.err, C2_E_OK);
        assert_int_equal(f.failed, 0);
        filled += f.filled;
    }
    assert_int_equal(batches, 3);
    assert_int_equal(filled, FILES);
    assert_int_equal(m->x.coord->txns, txns); /* the records were right all the time */
    for (unsigned k = 0; k < FILES; k++)
        assert_true(fso_whole(&m->x, &m->o[k], m->o[k].placed));
    struct fs_fill again = { .seat = seat };
    batch(m, &again, 100);
    assert_true(again.finished);
    assert_int_equal(again.present, FILES);
    assert_int_equal(again.filled, 0);
}

static void
fill__copies_from_the_provider_that_leaves(void **state)
{
    struct mount *m = *state;
    unsigned seat = fso_seat(&m->o[0]);
    struct provider *old = prov_mem_new(m->x.env, "old");
    for (unsigned k = 0; k < FILES; k++) {
        const struct c2_blob *b = prov_mem_peek(m->x.mem[seat], m->o[k].key);
        prov_mem_store(old, m->o[k].key, c2_blob_slice(b));
    }
    prov_mem_corrupt(old, m->o[1].key, m->o[1].share[seat]->len - 1);
    lose_seat(m, seat);
    struct fs_fill f = { .seat = seat, .source = old };
    uint64_t gets = fsx_requests(&m->x, PROV_GET);
    batch(m, &f, 100);
    assert_int_equal(f.filled, FILES);
    /* A look before and after at the seat itself; the others were read for the damaged one only. */
    assert_int_equal(fsx_requests(&m->x, PROV_GET) - gets, 2 * FILES + 2);
    for (unsigned k = 0; k < FILES; k++)
        assert_true(fso_whole(&m->x, &m->o[k], m->o[k].placed));
    prov_close(old);
}

static void
fill__of_every_object_records_where_it_is_now(void **state)
{
    struct mount *m = *state;
    unsigned seat = fso_spare(&m->o[0]);
    struct fs_fill f = { .seat = seat, .every = true };
    uint64_t txns = m->x.coord->txns;
    batch(m, &f, 100);
    assert_int_equal(f.filled, FILES);
    assert_true(f.finished);
    assert_int_equal(m->x.coord->txns - txns, 1);
    struct fs_fill placed = { .seat = seat };
    batch(m, &placed, 100);
    assert_int_equal(placed.present, FILES); /* the records say so */
    for (unsigned k = 0; k < FILES; k++)
        assert_int_equal(fso_recorded(&m->x, &m->o[k]), 0xf);
}

static void
fill__of_a_target_that_fails_goes_on_and_tells_repair(void **state)
{
    struct mount *m = *state;
    struct fs_repair_status s;
    unsigned seat = fso_seat(&m->o[0]);
    lose_seat(m, seat);
    fsx_fault(&m->x, seat, "put.error:40%");
    struct fs_fill f = { .seat = seat };
    batch(m, &f, 100);
    assert_int_equal(f.err, C2_E_OK);
    assert_true(f.finished);
    assert_int_equal(f.filled + f.failed, FILES);
    assert_true(f.failed > 0 && f.filled > 0);
    fs_repair_status(m->x.fs, &s);
    assert_int_equal(s.objects, f.failed);
    fsx_fault(&m->x, seat, "");
    unsigned failed = f.failed;
    struct fs_fill again = { .seat = seat };
    batch(m, &again, 100);
    assert_int_equal(again.filled, failed);
    for (unsigned k = 0; k < FILES; k++)
        assert_true(fso_whole(&m->x, &m->o[k], m->o[k].placed));
}

static void
fill__finds_the_root_of_an_old_record(void **state)
{
    struct mount *m = *state;
    struct c2_buf old = { 0 };
    struct ck key = ck_object(&m->o[0].ref.oid);
    c2_wr_u8(&old, 1);
    c2_wr_u8(&old, 0);
    c2_wr_u32(&old, m->o[0].placed);
    c2_wr_u64(&old, FSO_SIZE);
    c2_wr_u64(&old, 1);
    struct coord_op op = { .kind = COORD_PUT, .key = ck_slice(&key), .value = c2_buf_slice(&old) };
    fsx_txn(&m->x, &op, 1);
    c2_buf_done(&old);
    struct fs_fill f = { .seat = fso_spare(&m->o[0]), .every = true };
    batch(m, &f, 100);
    assert_int_equal(f.filled, FILES);
    assert_int_equal(c2_mark_count("mend: an old record, the shares tell their root"), 1);
    c2_mark_reset();
    struct fs_fill again = { .seat = fso_spare(&m->o[0]) };
    batch(m, &again, 100);
    assert_int_equal(again.present, FILES); /* it has one now */
    assert_int_equal(c2_mark_count("mend: an old record, the shares tell their root"), 0);
}

static void
fill__that_is_canceled_begins_nothing_new(void **state)
{
    struct mount *m = *state;
    unsigned seat = fso_seat(&m->o[0]);
    lose_seat(m, seat);
    struct fill w = { .f = { .fs = m->x.fs, .seat = seat, .max = 10, .parallel = 1 } };
    w.f.done = fill_done;
    fs_fill_start(&w.f);
    while (!fso_whole(&m->x, &m->o[0], 1u << seat))
        assert_true(test_env_step(m->x.t));
    fs_fill_cancel(&w.f);
    test_env_run_until(m->x.t, &w.done);
    assert_int_equal(w.f.err, C2_E_CANCELED);
    assert_false(w.f.after.set);
    assert_null(prov_mem_peek(m->x.mem[seat], m->o[FILES - 1].key));
    batch(m, &w.f, 10); /* the batch is repeated */
    assert_true(w.f.finished);
    assert_int_equal(w.f.present, 1);
    assert_int_equal(w.f.filled, FILES - 1);
}

int
main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(fill__brings_back_what_the_seat_should_have),
        T(fill__copies_from_the_provider_that_leaves),
        T(fill__of_every_object_records_where_it_is_now),
        T(fill__of_a_target_that_fails_goes_on_and_tells_repair),
        T(fill__finds_the_root_of_an_old_record),
        T(fill__that_is_canceled_begins_nothing_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
