/* SPDX-License-Identifier: MIT */
/*
 * Collection and deletion of units: what goes, what stays, and that what a crashed writer left
 * behind is never mistaken for data.
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
#include "tests/lib/prov_gate.h"
#include "tests/lib/test_env.h"
#include "tests/lib/unit_rig.h"

struct fixture {
    struct unit_rig rig;
    struct ds_unit *writer, *reader;
};

static struct fixture
open_with_versions(unsigned count)
{
    struct fixture f;
    char text[16];
    unit_rig_init(&f.rig, 4, 1);
    f.writer = unit_rig_open(&f.rig, "config", 0, true);
    f.reader = unit_rig_open(&f.rig, "config", UNIT_RIG_NOBODY, false);
    for (unsigned i = 1; i <= count; i++) {
        snprintf(text, sizeof(text), "v%u", i);
        unit_rig_store(&f.rig, f.writer, i % 2 != 0 ? DS_UNIT_A : DS_UNIT_CA, text);
    }
    c2_mark_reset();
    return f;
}

static void
close_all(struct fixture *f)
{
    ds_unit_close(f->writer);
    ds_unit_close(f->reader);
    unit_rig_done(&f->rig);
}

/* A handle that knows nothing: what somebody sees who comes anew. */
static void
expect_versions(struct fixture *f, unsigned count, uint64_t newest)
{
    struct ds_unit *fresh = unit_rig_open(&f->rig, "config", UNIT_RIG_NOBODY, false);
    struct ds_unit_versions v = unit_rig_versions(&f->rig, fresh);
    assert_int_equal(v.err, C2_E_OK);
    assert_int_equal(v.nitems, count);
    assert_int_equal(v.items[0].version, newest);
    for (size_t i = 0; i < v.nitems; i++) {
        char text[24];
        snprintf(text, sizeof(text), "v%llu", (unsigned long long)v.items[i].version);
        unit_rig_expect(&f->rig, fresh, v.items[i].version, text);
    }
    c2_free(v.items);
    ds_unit_close(fresh);
}

struct waited_write {
    struct ds_unit_write w;
    bool done;
};

static void
write_done(struct ds_unit_write *w)
{
    C2_CONTAINER_OF(w, struct waited_write, w)->done = true;
}

static void
gc__keeps_the_newest_versions(void **state)
{
    (void)state;
    struct fixture f = open_with_versions(6);
    struct ds_unit_gc g = unit_rig_gc(&f.rig, f.writer, 2);
    assert_int_equal(g.err, C2_E_OK);
    assert_int_equal(g.forgotten, 4);
    assert_int_equal(g.confirmed, 0xf);
    assert_int_equal(g.removed, 4 + 6);
    expect_versions(&f, 2, 6);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(unit_rig_count(&f.rig, i, "/m/"), 1);
        assert_in_range(unit_rig_count(&f.rig, i, "/v/"), 1, 3); /* the claim, two values */
    }
    assert_int_equal(unit_rig_read(&f.rig, f.reader, 4).err, C2_E_NOT_FOUND);
    close_all(&f);
}

static void
gc__finds_nothing_the_second_time(void **state)
{
    (void)state;
    struct fixture f = open_with_versions(3);
    assert_int_equal(unit_rig_gc(&f.rig, f.writer, 2).err, C2_E_OK);
    uint64_t puts = ds_rig_requests(&f.rig.ds, PROV_PUT);
    struct ds_unit_gc g = unit_rig_gc(&f.rig, f.writer, 2);
    assert_int_equal(g.err, C2_E_OK);
    assert_int_equal(g.removed, 0);
    assert_int_equal(g.forgotten, 0);
    assert_int_equal(ds_rig_requests(&f.rig.ds, PROV_PUT), puts);
    assert_int_equal(c2_mark_count("unit: nothing to collect"), 1);
    close_all(&f);
}

static void
gc__with_fewer_versions_than_it_keeps_is_fine(void **state)
{
    (void)state;
    struct fixture f = open_with_versions(1);
    struct ds_unit_gc g = unit_rig_gc(&f.rig, f.writer, 5);
    assert_int_equal(g.err, C2_E_OK);
    assert_int_equal(g.forgotten, 0);
    expect_versions(&f, 1, 1);
    close_all(&f);
}

static void
gc__of_nothing_says_so(void **state)
{
    (void)state;
    struct fixture f = open_with_versions(0);
    assert_int_equal(unit_rig_gc(&f.rig, f.writer, 1).err, C2_E_NOT_FOUND);
    assert_int_equal(unit_rig_delete(&f.rig, f.writer).err, C2_E_NOT_FOUND);
    close_all(&f);
}

/* A write with `keep` forgets; its collection frees the values. */
static void
gc__frees_what_writes_forgot(void **state)
{
    (void)state;
    struct fixture f = open_with_versions(4);
    struct c2_slice piece = c2_slice_str("v5");
    struct waited_write w = { .w = { .data = &piece, .ndata = 1, .keep = 2, .done = write_done } };
    ds_unit_write_start(f.writer, &w.w);
    ds_rig_wait(&f.rig.ds, &w.done);
    assert_int_equal(w.w.err, C2_E_OK);
    expect_versions(&f, 2, 5);
    struct ds_unit_gc g = unit_rig_gc(&f.rig, f.writer, DS_UNIT_VERSIONS_MAX);
    assert_int_equal(g.forgotten, 0);
    assert_int_equal(g.removed, 3 + 5); /* values, metadata */
    expect_versions(&f, 2, 5);
    close_all(&f);
}

static void
gc__goes_on_with_one_cloud_down_and_finishes_later(void **state)
{
    (void)state;
    struct fixture f = open_with_versions(4);
    ds_rig_fault(&f.rig.ds, 1, "down");
    struct ds_unit_gc g = unit_rig_gc(&f.rig, f.writer, 1);
    assert_int_equal(g.err, C2_E_OK);
    assert_int_equal(g.confirmed, 0xd);
    expect_versions(&f, 1, 4);
    ds_rig_fault(&f.rig.ds, 1, "");
    assert_true(unit_rig_count(&f.rig, 1, "/m/") > 1);
    test_env_run_for(f.rig.ds.t, 60 * C2_NS_PER_S); /* the client notices that it is back */
    g = unit_rig_gc(&f.rig, f.writer, 1);
    assert_int_equal(g.err, C2_E_OK);
    assert_int_equal(g.confirmed, 0xf);
    assert_int_equal(unit_rig_count(&f.rig, 1, "/m/"), 1);
    expect_versions(&f, 1, 4);
    close_all(&f);
}

static void
gc__two_clouds_down_remove_nothing(void **state)
{
    (void)state;
    struct fixture f = open_with_versions(3);
    ds_rig_fault(&f.rig.ds, 0, "down");
    ds_rig_fault(&f.rig.ds, 1, "down");
    assert_int_equal(unit_rig_gc(&f.rig, f.writer, 1).err, C2_E_QUORUM);
    ds_rig_fault(&f.rig.ds, 0, "");
    ds_rig_fault(&f.rig.ds, 1, "");
    expect_versions(&f, 3, 3);
    close_all(&f);
}

static void
gc__a_failed_trim_removes_nothing(void **state)
{
    (void)state;
    struct fixture f = open_with_versions(3);
    size_t before = unit_rig_count(&f.rig, 2, "/u/config/");
    ds_rig_fault(&f.rig.ds, 0, "put.error");
    ds_rig_fault(&f.rig.ds, 1, "put.error");
    assert_int_equal(unit_rig_gc(&f.rig, f.writer, 1).err, C2_E_QUORUM);
    assert_true(unit_rig_count(&f.rig, 2, "/u/config/") >= before);
    expect_versions(&f, 3, 3);
    close_all(&f);
}

static void
gc__needs_the_lock(void **state)
{
    (void)state;
    struct fixture f = open_with_versions(3);
    struct ds_unit *second = unit_rig_open(&f.rig, "config", 1, false);
    assert_int_equal(unit_rig_gc(&f.rig, second, 1).err, C2_E_FENCED);
    assert_int_equal(unit_rig_lock(&f.rig, second, 0, 0).err, C2_E_OK);
    assert_int_equal(unit_rig_gc(&f.rig, second, 1).err, C2_E_OK);
    expect_versions(&f, 1, 3);
    assert_int_equal(unit_rig_gc(&f.rig, f.reader, 1).err, C2_E_NOT_PERMITTED);
    ds_unit_close(second);
    close_all(&f);
}

static void
gc__loses_no_version_when_its_lock_ends(void **state)
{
    (void)state;
    struct fixture f = open_with_versions(3);
    struct ds_unit *second = unit_rig_open(&f.rig, "config", 1, false);
    assert_int_equal(unit_rig_lock(&f.rig, second, 20 * C2_NS_PER_S, 0).err, C2_E_OK);
    for (unsigned i = 0; i < 4; i++)
        prov_mem_set_latency(f.rig.ds.mem[i], 5 * C2_NS_PER_S, 0);
    assert_int_equal(unit_rig_gc(&f.rig, second, 1).err, C2_E_FENCED);
    for (unsigned i = 0; i < 4; i++)
        prov_mem_set_latency(f.rig.ds.mem[i], 0, 0);
    expect_versions(&f, 3, 3);
    ds_unit_close(second);
    close_all(&f);
}

/* ---- crashed writers --------------------------------------------------------------------------
 */

/* A writer that dies when its PUTs of `part` are under way: those that `arrive` get through. */
static void
crash_while_putting(struct fixture *f, const char *part, uint32_t arrive)
{
    struct c2_slice piece = c2_slice_str("lost");
    struct waited_write w = { .w = { .data = &piece, .ndata = 1, .done = write_done } };
    struct ds_unit *doomed = unit_rig_open(&f->rig, "config", 1, true);
    for (unsigned i = 0; i < 4; i++)
        prov_gate_close(f->rig.gate[i], PROV_PUT, part);
    ds_unit_write_start(doomed, &w.w);
    test_env_run_ready(f->rig.ds.t);
    for (unsigned i = 0; i < 4; i++) {
        if ((arrive & (1u << i)) != 0)
            prov_gate_open(f->rig.gate[i]);
    }
    test_env_run_ready(f->rig.ds.t);
    assert_false(w.done);
    ds_rig_close(&f->rig.ds); /* cancels the others */
    assert_true(w.done);
    for (unsigned i = 0; i < 4; i++)
        prov_gate_open(f->rig.gate[i]);
    ds_unit_close(doomed);
    ds_unit_close(f->writer);
    ds_unit_close(f->reader);
    ds_rig_open(&f->rig.ds);
    f->writer = unit_rig_open(&f->rig, "config", 0, true);
    f->reader = unit_rig_open(&f->rig, "config", UNIT_RIG_NOBODY, false);
}

static void
crash__before_the_value_is_stable_nobody_sees_anything(void **state)
{
    (void)state;
    struct fixture f = open_with_versions(2);
    crash_while_putting(&f, "/v/", 0x3);
    unit_rig_expect(&f.rig, f.reader, 0, "v2");
    struct ds_unit_gc g = unit_rig_gc(&f.rig, f.writer, 2);
    assert_int_equal(g.err, C2_E_OK);
    assert_int_equal(g.removed, 1 + 2); /* the claim, and metadata of both */
    expect_versions(&f, 2, 2);
    close_all(&f);
}

/*
 * The metadata has reached one cloud only. Whatever n-f clouds are asked next, the next version is
 * newer than the lost one, so a read never prefers the lost one to a completed write.
 */
static void
crash__in_the_metadata_phase_never_shadows_a_later_write(void **state)
{
    (void)state;
    for (unsigned lucky = 0; lucky < 4; lucky++) {
        struct fixture f = open_with_versions(2);
        crash_while_putting(&f, "/m/", 1u << lucky);
        c2_mark_reset();
        ds_rig_fault(&f.rig.ds, lucky, "down"); /* the next writer cannot see it */
        assert_int_equal(unit_rig_store(&f.rig, f.writer, DS_UNIT_A, "v4"), 4);
        assert_int_equal(c2_mark_count("unit: a claim is newer than all metadata"), 1);
        ds_rig_fault(&f.rig.ds, lucky, "");
        expect_versions(&f, 3, 4);
        ds_rig_fault(&f.rig.ds, (lucky + 1) % 4, "down");
        expect_versions(&f, 3, 4);
        close_all(&f);
    }
}

static void
crash__in_the_metadata_phase_what_is_seen_can_be_read(void **state)
{
    (void)state;
    struct fixture f = open_with_versions(2);
    crash_while_putting(&f, "/m/", 0x1);
    unit_rig_expect(&f.rig, f.reader, 0, "lost");
    ds_rig_fault(&f.rig.ds, 0, "down");
    unit_rig_expect(&f.rig, f.reader, 0, "lost"); /* this handle knows it now */
    struct ds_unit *fresh = unit_rig_open(&f.rig, "config", UNIT_RIG_NOBODY, false);
    unit_rig_expect(&f.rig, fresh, 0, "v2"); /* a regular register: the write never ended */
    ds_unit_close(fresh);
    close_all(&f);
}

/* ---- readers meanwhile ------------------------------------------------------------------------
 */

struct waited_read {
    struct ds_unit_read r;
    bool done;
};

static void
read_done(struct ds_unit_read *r)
{
    C2_CONTAINER_OF(r, struct waited_read, r)->done = true;
}

static void
gc__a_slow_reader_gets_the_newer_version(void **state)
{
    (void)state;
    struct fixture f = open_with_versions(1);
    struct waited_read w = { .r = { .done = read_done } };
    for (unsigned i = 0; i < 4; i++)
        prov_gate_close(f.rig.gate[i], PROV_GET, "/v/");
    ds_unit_read_start(f.reader, &w.r);
    test_env_run_ready(f.rig.ds.t);
    unit_rig_store(&f.rig, f.writer, DS_UNIT_A, "v2");
    assert_int_equal(unit_rig_gc(&f.rig, f.writer, 1).err, C2_E_OK);
    for (unsigned i = 0; i < 4; i++)
        prov_gate_open(f.rig.gate[i]);
    ds_rig_wait(&f.rig.ds, &w.done);
    assert_int_equal(w.r.err, C2_E_OK);
    assert_true(c2_slice_equal(c2_blob_slice(w.r.data), c2_slice_str("v2")));
    assert_int_equal(c2_mark_count("unit: the value is gone, is there a newer one?"), 1);
    c2_blob_unref(w.r.data);
    close_all(&f);
}

static void
gc__a_slow_question_is_asked_again(void **state)
{
    (void)state;
    struct fixture f = open_with_versions(1);
    struct waited_read w = { .r = { .done = read_done } };
    for (unsigned i = 0; i < 4; i++)
        prov_gate_close(f.rig.gate[i], PROV_GET, "/m/");
    ds_unit_read_start(f.reader, &w.r);
    test_env_run_ready(f.rig.ds.t);
    unit_rig_store(&f.rig, f.writer, DS_UNIT_A, "v2");
    assert_int_equal(unit_rig_gc(&f.rig, f.writer, 1).err, C2_E_OK);
    for (unsigned i = 0; i < 4; i++)
        prov_gate_open(f.rig.gate[i]);
    ds_rig_wait(&f.rig.ds, &w.done);
    assert_int_equal(w.r.err, C2_E_OK);
    assert_int_equal(w.r.found.version, 2);
    assert_true(c2_mark_count("unit: metadata was collected meanwhile") >= 3);
    c2_blob_unref(w.r.data);
    close_all(&f);
}

/* ---- deletion and names -----------------------------------------------------------------------
 */

static void
delete__removes_everything_but_the_note(void **state)
{
    (void)state;
    struct fixture f = open_with_versions(3);
    struct ds_unit_gc g = unit_rig_delete(&f.rig, f.writer);
    assert_int_equal(g.err, C2_E_OK);
    assert_int_equal(g.forgotten, 3);
    assert_int_equal(unit_rig_read(&f.rig, f.reader, 0).err, C2_E_NOT_FOUND);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(unit_rig_count(&f.rig, i, "/m/"), 1);
        assert_int_equal(unit_rig_count(&f.rig, i, "/v/"), 1);
    }
    uint64_t puts = ds_rig_requests(&f.rig.ds, PROV_PUT);
    g = unit_rig_delete(&f.rig, f.writer);
    assert_int_equal(g.err, C2_E_OK);
    assert_int_equal(ds_rig_requests(&f.rig.ds, PROV_PUT), puts);
    close_all(&f);
}

static void
delete__a_cloud_that_was_away_cannot_bring_it_back(void **state)
{
    (void)state;
    struct fixture f = open_with_versions(2);
    ds_rig_fault(&f.rig.ds, 3, "down");
    assert_int_equal(unit_rig_delete(&f.rig, f.writer).err, C2_E_OK);
    ds_rig_fault(&f.rig.ds, 3, "");
    for (unsigned down = 0; down < 3; down++) {
        struct ds_unit *fresh = unit_rig_open(&f.rig, "config", UNIT_RIG_NOBODY, false);
        ds_rig_fault(&f.rig.ds, down, "down");
        assert_int_equal(unit_rig_read(&f.rig, fresh, 0).err, C2_E_NOT_FOUND);
        ds_rig_fault(&f.rig.ds, down, "");
        ds_unit_close(fresh);
    }
    close_all(&f);
}

static void
delete__a_deleted_unit_can_be_written_again(void **state)
{
    (void)state;
    struct fixture f = open_with_versions(2);
    assert_int_equal(unit_rig_delete(&f.rig, f.writer).err, C2_E_OK);
    assert_int_equal(unit_rig_store(&f.rig, f.writer, DS_UNIT_CA, "v4"), 4);
    unit_rig_expect(&f.rig, f.reader, 0, "v4");
    expect_versions(&f, 1, 4);
    close_all(&f);
}

static void
list__names_all_units_with_few_requests(void **state)
{
    (void)state;
    struct fixture f = open_with_versions(1);
    static const char *const names[] = { "a", "a-b", "a.b", "b", "zz" };
    for (unsigned i = 0; i < C2_ARRAY_LEN(names); i++) {
        struct ds_unit *u = unit_rig_open(&f.rig, names[i], 0, true);
        unit_rig_store(&f.rig, u, DS_UNIT_A, "x");
        ds_unit_close(u);
    }
    for (unsigned i = 0; i < 4000; i++) { /* a unit with very many objects */
        char key[64];
        snprintf(key, sizeof(key), "v1/c2c2c2c2/u/b/v/%08u", i);
        for (unsigned seat = 0; seat < 4; seat++)
            prov_mem_store(f.rig.ds.mem[seat], key, c2_slice_str("x"));
    }
    prov_mem_store(f.rig.ds.mem[0], "v1/c2c2c2c2/u/bad name/v/x", c2_slice_str("x"));
    uint64_t lists = ds_rig_requests(&f.rig.ds, PROV_LIST);
    ds_rig_fault(&f.rig.ds, 1, "down");
    struct ds_unit_list l = unit_rig_list(&f.rig);
    assert_int_equal(l.err, C2_E_OK);
    assert_int_equal(l.nnames, 6);
    static const char *const sorted[] = { "a", "a-b", "a.b", "b", "config", "zz" };
    for (unsigned i = 0; i < l.nnames; i++)
        assert_string_equal(l.names[i], sorted[i]);
    assert_true(ds_rig_requests(&f.rig.ds, PROV_LIST) - lists <= (uint64_t)3 * 4);
    c2_free(l.names);
    ds_rig_fault(&f.rig.ds, 2, "down");
    l = unit_rig_list(&f.rig);
    assert_int_equal(l.err, C2_E_QUORUM);
    assert_null(l.names);
    close_all(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gc__keeps_the_newest_versions),
        cmocka_unit_test(gc__finds_nothing_the_second_time),
        cmocka_unit_test(gc__with_fewer_versions_than_it_keeps_is_fine),
        cmocka_unit_test(gc__of_nothing_says_so),
        cmocka_unit_test(gc__frees_what_writes_forgot),
        cmocka_unit_test(gc__goes_on_with_one_cloud_down_and_finishes_later),
        cmocka_unit_test(gc__two_clouds_down_remove_nothing),
        cmocka_unit_test(gc__a_failed_trim_removes_nothing),
        cmocka_unit_test(gc__needs_the_lock),
        cmocka_unit_test(gc__loses_no_version_when_its_lock_ends),
        cmocka_unit_test(crash__before_the_value_is_stable_nobody_sees_anything),
        cmocka_unit_test(crash__in_the_metadata_phase_never_shadows_a_later_write),
        cmocka_unit_test(crash__in_the_metadata_phase_what_is_seen_can_be_read),
        cmocka_unit_test(gc__a_slow_reader_gets_the_newer_version),
        cmocka_unit_test(gc__a_slow_question_is_asked_again),
        cmocka_unit_test(delete__removes_everything_but_the_note),
        cmocka_unit_test(delete__a_cloud_that_was_away_cannot_bring_it_back),
        cmocka_unit_test(delete__a_deleted_unit_can_be_written_again),
        cmocka_unit_test(list__names_all_units_with_few_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
