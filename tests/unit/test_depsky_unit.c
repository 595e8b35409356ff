/* SPDX-License-Identifier: MIT */
/*
 * Data units with both protocols: what is written can be read, by whom, from how many clouds, and
 * what is said when that is not possible.
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
#include "tests/lib/test_env.h"
#include "tests/lib/unit_rig.h"

static const enum ds_unit_protocol both[] = { DS_UNIT_A, DS_UNIT_CA };

struct fixture {
    struct unit_rig rig;
    struct ds_unit *writer, *reader;
};

static struct fixture
open_default(void)
{
    struct fixture f;
    unit_rig_init(&f.rig, 4, 1);
    f.writer = unit_rig_open(&f.rig, "config", 0, true);
    f.reader = unit_rig_open(&f.rig, "config", UNIT_RIG_NOBODY, false);
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

static void
unit__reads_what_was_written(void **state)
{
    (void)state;
    for (unsigned i = 0; i < C2_ARRAY_LEN(both); i++) {
        struct fixture f = open_default();
        struct ds_unit_write w = unit_rig_write(&f.rig, f.writer, both[i], "hello, units", 12);
        assert_int_equal(w.err, C2_E_OK);
        assert_int_equal(w.written.version, 1);
        assert_int_equal(w.written.size, 12);
        assert_int_equal(w.written.placed, 0x7);
        assert_true(__builtin_popcount(w.published) >= 3);
        assert_memory_equal(w.written.writer, f.rig.public_key[0], DS_UNIT_PUBLIC_LEN);
        struct ds_unit_read r = unit_rig_read(&f.rig, f.reader, 0);
        assert_int_equal(r.err, C2_E_OK);
        assert_int_equal(r.found.version, 1);
        assert_int_equal(r.found.protocol, both[i]);
        assert_true(c2_slice_equal(c2_blob_slice(r.data), c2_slice_str("hello, units")));
        c2_blob_unref(r.data);
        close_all(&f);
    }
}

static void
unit__large_and_empty_values_survive(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 3000000 };
    for (unsigned i = 0; i < 2 * C2_ARRAY_LEN(sizes); i++) {
        struct fixture f = open_default();
        struct c2_blob *data = ds_rig_random(i, sizes[i / 2]);
        struct ds_unit_write w =
            unit_rig_write(&f.rig, f.writer, both[i % 2], data->data, data->len);
        assert_int_equal(w.err, C2_E_OK);
        assert_int_equal(w.written.size, data->len);
        ds_rig_fault(&f.rig.ds, i % 4, "hang");
        struct ds_unit_read r = unit_rig_read(&f.rig, f.reader, 0);
        assert_int_equal(r.err, C2_E_OK);
        assert_true(c2_slice_equal(c2_blob_slice(r.data), c2_blob_slice(data)));
        c2_blob_unref(r.data);
        c2_blob_unref(data);
        close_all(&f);
    }
}

static void
unit__a_value_above_the_limit_is_refused_before_any_request(void **state)
{
    (void)state;
    struct fixture f = open_default();
    struct c2_blob *data = c2_blob_new(DS_OBJECT_SIZE_MAX + 1);
    memset(data->data, 'x', data->len);
    struct ds_unit_write w = unit_rig_write(&f.rig, f.writer, DS_UNIT_A, data->data, data->len);
    assert_int_equal(w.err, C2_E_TOO_LARGE);
    assert_int_equal(ds_rig_requests(&f.rig.ds, PROV_PUT), 0);
    assert_int_equal(ds_rig_requests(&f.rig.ds, PROV_LIST), 0);
    c2_blob_unref(data);
    close_all(&f);
}

static void
unit__versions_are_kept_and_listed_newest_first(void **state)
{
    (void)state;
    struct fixture f = open_default();
    unit_rig_store(&f.rig, f.writer, DS_UNIT_A, "one");
    unit_rig_store(&f.rig, f.writer, DS_UNIT_CA, "two");
    unit_rig_store(&f.rig, f.writer, DS_UNIT_A, "three");
    unit_rig_expect(&f.rig, f.reader, 0, "three");
    unit_rig_expect(&f.rig, f.reader, 1, "one");
    unit_rig_expect(&f.rig, f.reader, 2, "two");
    struct ds_unit_read r = unit_rig_read(&f.rig, f.reader, 4);
    assert_int_equal(r.err, C2_E_NOT_FOUND);
    struct ds_unit_versions v = unit_rig_versions(&f.rig, f.reader);
    assert_int_equal(v.err, C2_E_OK);
    assert_int_equal(v.nitems, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(v.items[i].version, 3 - i);
    assert_int_equal(v.items[1].protocol, DS_UNIT_CA);
    c2_free(v.items);
    close_all(&f);
}

static void
unit__remembers_no_more_versions_than_asked_for(void **state)
{
    (void)state;
    struct fixture f = open_default();
    char text[16];
    for (unsigned i = 1; i <= DS_UNIT_VERSIONS_MAX + 3; i++) {
        snprintf(text, sizeof(text), "v%u", i);
        unit_rig_store(&f.rig, f.writer, DS_UNIT_A, text);
    }
    struct ds_unit_versions v = unit_rig_versions(&f.rig, f.reader);
    assert_int_equal(v.nitems, DS_UNIT_VERSIONS_MAX);
    assert_int_equal(v.items[DS_UNIT_VERSIONS_MAX - 1].version, 4);
    c2_free(v.items);
    unit_rig_expect(&f.rig, f.reader, 4, "v4");
    assert_int_equal(unit_rig_read(&f.rig, f.reader, 3).err, C2_E_NOT_FOUND);
    close_all(&f);
}

static void
unit__absent_is_said_only_when_enough_clouds_say_so(void **state)
{
    (void)state;
    struct fixture f = open_default();
    assert_int_equal(unit_rig_read(&f.rig, f.reader, 0).err, C2_E_NOT_FOUND);
    assert_int_equal(unit_rig_versions(&f.rig, f.reader).err, C2_E_NOT_FOUND);
    ds_rig_fault(&f.rig.ds, 0, "down");
    assert_int_equal(unit_rig_read(&f.rig, f.reader, 0).err, C2_E_NOT_FOUND);
    ds_rig_fault(&f.rig.ds, 1, "down");
    assert_int_equal(unit_rig_read(&f.rig, f.reader, 0).err, C2_E_QUORUM);
    assert_int_equal(unit_rig_versions(&f.rig, f.reader).err, C2_E_QUORUM);
    close_all(&f);
}

static void
unit__any_one_cloud_may_fail_in_any_way(void **state)
{
    (void)state;
    static const char *const faults[] = { "down",   "error", "hang",    "noack",    "lie",
                                          "absent", "empty", "corrupt", "truncate", "huge",
                                          "swap",   "stale", "forge",   "throttle" };
    for (unsigned i = 0; i < C2_ARRAY_LEN(faults) * 2; i++) {
        struct fixture f = open_default();
        unsigned seat = i % 4;
        unit_rig_store(&f.rig, f.writer, both[i % 2], "before");
        ds_rig_fault(&f.rig.ds, seat, faults[i / 2]);
        unit_rig_expect(&f.rig, f.reader, 0, "before");
        unit_rig_store(&f.rig, f.writer, both[i % 2], "during");
        unit_rig_expect(&f.rig, f.reader, 0, "during");
        ds_rig_fault(&f.rig.ds, seat, "");
        unit_rig_expect(&f.rig, f.reader, 0, "during");
        unit_rig_store(&f.rig, f.writer, both[i % 2], "after");
        ds_rig_fault(&f.rig.ds, seat, "down");
        unit_rig_expect(&f.rig, f.reader, 0, "after");
        unit_rig_expect(&f.rig, f.reader, 2, "during");
        close_all(&f);
    }
}

static void
unit__a_replica_is_asked_of_one_cloud_only(void **state)
{
    (void)state;
    struct fixture f = open_default();
    unit_rig_store(&f.rig, f.writer, DS_UNIT_A, "value");
    unit_rig_expect(&f.rig, f.reader, 0, "value");
    uint64_t gets = ds_rig_requests(&f.rig.ds, PROV_GET);
    uint64_t lists = ds_rig_requests(&f.rig.ds, PROV_LIST);
    unit_rig_expect(&f.rig, f.reader, 0, "value");
    assert_int_equal(ds_rig_requests(&f.rig.ds, PROV_GET), gets + 1);
    assert_int_equal(ds_rig_requests(&f.rig.ds, PROV_LIST), lists + 4);
    close_all(&f);
}

static void
unit__a_late_replica_is_overtaken(void **state)
{
    (void)state;
    struct fixture f = open_default();
    unit_rig_store(&f.rig, f.writer, DS_UNIT_A, "value");
    unit_rig_expect(&f.rig, f.reader, 0, "value"); /* the metadata is known now */
    ds_rig_fault(&f.rig.ds, 0, "get.hang");
    uint64_t before = c2_now_ns(f.rig.ds.env);
    unit_rig_expect(&f.rig, f.reader, 0, "value");
    assert_true(c2_now_ns(f.rig.ds.env) - before < C2_NS_PER_S);
    assert_int_equal(c2_mark_count("unit: a replica is late"), 1);
    close_all(&f);
}

static void
unit__a_late_put_is_overtaken(void **state)
{
    (void)state;
    struct fixture f = open_default();
    ds_rig_fault(&f.rig.ds, 1, "put.hang");
    uint64_t before = c2_now_ns(f.rig.ds.env);
    unit_rig_store(&f.rig, f.writer, DS_UNIT_A, "value");
    assert_true(c2_now_ns(f.rig.ds.env) - before < 10 * C2_NS_PER_S);
    assert_int_equal(c2_mark_count("unit: a put is late"), 1);
    unit_rig_expect(&f.rig, f.reader, 0, "value");
    close_all(&f);
}

static void
unit__a_handle_never_goes_back(void **state)
{
    (void)state;
    struct fixture f = open_default();
    unit_rig_store(&f.rig, f.writer, DS_UNIT_A, "one");
    unit_rig_store(&f.rig, f.writer, DS_UNIT_A, "two");
    unit_rig_expect(&f.rig, f.reader, 0, "two");
    /* Three clouds, one more than may, forget the newest metadata. */
    for (unsigned i = 0; i < 3; i++)
        assert_true(prov_mem_delete(f.rig.ds.mem[i], unit_rig_key(&f.rig, i, "/m/", 0)));
    unit_rig_expect(&f.rig, f.reader, 0, "two");
    close_all(&f);
}

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
unit__an_answer_older_than_the_caller_knows_is_an_error(void **state)
{
    (void)state;
    struct fixture f = open_default();
    unit_rig_store(&f.rig, f.writer, DS_UNIT_A, "one");
    struct waited_read w = { .r = { .at_least = 2, .done = read_done } };
    ds_unit_read_start(f.reader, &w.r);
    ds_rig_wait(&f.rig.ds, &w.done);
    assert_int_equal(w.r.err, C2_E_QUORUM);
    assert_null(w.r.data);
    unit_rig_store(&f.rig, f.writer, DS_UNIT_A, "two");
    w.done = false;
    ds_unit_read_start(f.reader, &w.r);
    ds_rig_wait(&f.rig.ds, &w.done);
    assert_int_equal(w.r.err, C2_E_OK);
    c2_blob_unref(w.r.data);
    close_all(&f);
}

static void
unit__a_published_value_that_is_gone_is_no_absence(void **state)
{
    (void)state;
    for (unsigned i = 0; i < C2_ARRAY_LEN(both); i++) {
        struct fixture f = open_default();
        unit_rig_store(&f.rig, f.writer, both[i], "one");
        for (unsigned seat = 0; seat < 3; seat++)
            assert_true(prov_mem_delete(f.rig.ds.mem[seat], unit_rig_key(&f.rig, seat, "/v/", 0)));
        assert_int_equal(unit_rig_read(&f.rig, f.reader, 0).err, C2_E_QUORUM);
        assert_int_equal(c2_mark_count("unit: the value is gone, is there a newer one?"), 1);
        close_all(&f);
    }
}

static void
unit__damaged_metadata_is_never_used(void **state)
{
    (void)state;
    struct fixture f = open_default();
    unit_rig_store(&f.rig, f.writer, DS_UNIT_A, "one");
    const char *key = unit_rig_key(&f.rig, 1, "/m/", 0);
    size_t len = prov_mem_peek(f.rig.ds.mem[1], key)->len;
    for (size_t at = 0; at < len; at++) {
        struct ds_unit *fresh = unit_rig_open(&f.rig, "config", UNIT_RIG_NOBODY, false);
        prov_mem_corrupt(f.rig.ds.mem[1], key, at);
        unit_rig_expect(&f.rig, fresh, 0, "one");
        prov_mem_corrupt(f.rig.ds.mem[1], key, at); /* inverted twice: whole again */
        ds_unit_close(fresh);
    }
    assert_int_equal(c2_mark_count("unit: metadata does not verify"), len);
    close_all(&f);
}

static void
unit__two_clouds_with_damaged_metadata_are_too_many(void **state)
{
    (void)state;
    struct fixture f = open_default();
    unit_rig_store(&f.rig, f.writer, DS_UNIT_A, "one");
    for (unsigned seat = 0; seat < 2; seat++)
        prov_mem_corrupt(f.rig.ds.mem[seat], unit_rig_key(&f.rig, seat, "/m/", 0), 100);
    assert_int_equal(unit_rig_read(&f.rig, f.reader, 0).err, C2_E_QUORUM);
    close_all(&f);
}

static void
unit__a_stranger_is_reported_and_not_believed(void **state)
{
    (void)state;
    struct fixture f = open_default();
    unit_rig_store(&f.rig, f.writer, DS_UNIT_A, "ours");
    unit_rig_expect(&f.rig, f.reader, 0, "ours");
    struct ds_unit *stranger = unit_rig_open(&f.rig, "config", 2, true);
    unit_rig_store(&f.rig, stranger, DS_UNIT_A, "theirs");
    assert_int_equal(unit_rig_read(&f.rig, f.reader, 0).err, C2_E_KEY);
    assert_int_equal(unit_rig_write(&f.rig, f.writer, DS_UNIT_A, "x", 1).err, C2_E_KEY);
    /* One cloud alone cannot make that happen. */
    for (unsigned seat = 1; seat < 4; seat++) {
        for (const char *key; (key = unit_rig_key(&f.rig, seat, "/m/", 0)) != NULL &&
                              unit_rig_count(&f.rig, seat, "/m/") > 1;)
            assert_true(prov_mem_delete(f.rig.ds.mem[seat], key));
        while (unit_rig_count(&f.rig, seat, "/v/") > 1)
            assert_true(prov_mem_delete(f.rig.ds.mem[seat], unit_rig_key(&f.rig, seat, "/v/", 0)));
    }
    unit_rig_expect(&f.rig, f.reader, 0, "ours");
    ds_unit_close(stranger);
    close_all(&f);
}

static void
unit__names_that_are_not_ours_are_skipped(void **state)
{
    (void)state;
    struct fixture f = open_default();
    unit_rig_store(&f.rig, f.writer, DS_UNIT_A, "one");
    for (unsigned seat = 0; seat < 4; seat++) {
        prov_mem_store(f.rig.ds.mem[seat], "v1/c2c2c2c2/u/config/m/!readme", c2_slice_str("x"));
        prov_mem_store(f.rig.ds.mem[seat], "v1/c2c2c2c2/u/config/v/0", c2_slice_str("x"));
    }
    unit_rig_expect(&f.rig, f.reader, 0, "one");
    assert_int_equal(unit_rig_store(&f.rig, f.writer, DS_UNIT_A, "two"), 2);
    close_all(&f);
}

static void
unit__units_do_not_mix(void **state)
{
    (void)state;
    struct fixture f = open_default();
    struct ds_unit *other = unit_rig_open(&f.rig, "config2", 0, true);
    unit_rig_store(&f.rig, f.writer, DS_UNIT_A, "one");
    assert_int_equal(unit_rig_read(&f.rig, other, 0).err, C2_E_NOT_FOUND);
    unit_rig_store(&f.rig, other, DS_UNIT_CA, "two");
    unit_rig_expect(&f.rig, f.reader, 0, "one");
    unit_rig_expect(&f.rig, other, 0, "two");
    ds_unit_close(other);
    close_all(&f);
}

/* The key says which unit; a cloud that gives one unit's objects for another's is not believed. */
static void
unit__metadata_of_another_unit_is_not_accepted(void **state)
{
    (void)state;
    struct fixture f = open_default();
    struct ds_unit *other = unit_rig_open(&f.rig, "config2", 0, true);
    unit_rig_store(&f.rig, f.writer, DS_UNIT_A, "one");
    for (unsigned seat = 0; seat < 4; seat++) {
        const char *key = unit_rig_key(&f.rig, seat, "/config/m/", 0);
        char *moved = c2_asprintf("v1/c2c2c2c2/u/config2/m/%s", strrchr(key, '/') + 1);
        prov_mem_store(f.rig.ds.mem[seat], moved,
                       c2_blob_slice(prov_mem_peek(f.rig.ds.mem[seat], key)));
        c2_free(moved);
    }
    assert_int_equal(unit_rig_read(&f.rig, other, 0).err, C2_E_KEY);
    ds_unit_close(other);
    close_all(&f);
}

static void
unit__readers_and_unlocked_writers_cannot_write(void **state)
{
    (void)state;
    struct fixture f = open_default();
    assert_int_equal(unit_rig_write(&f.rig, f.reader, DS_UNIT_A, "x", 1).err, C2_E_NOT_PERMITTED);
    struct ds_unit *second = unit_rig_open(&f.rig, "config", 1, false);
    assert_int_equal(unit_rig_write(&f.rig, second, DS_UNIT_A, "x", 1).err, C2_E_FENCED);
    assert_int_equal(ds_rig_requests(&f.rig.ds, PROV_PUT), 0);
    ds_unit_close(second);
    close_all(&f);
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
unit__a_handle_writes_one_version_at_a_time(void **state)
{
    (void)state;
    struct fixture f = open_default();
    struct c2_slice piece = c2_slice_str("one");
    struct waited_write first = { .w = { .data = &piece, .ndata = 1, .done = write_done } };
    struct waited_write second = first;
    ds_unit_write_start(f.writer, &first.w);
    ds_unit_write_start(f.writer, &second.w);
    ds_rig_wait(&f.rig.ds, &second.done);
    ds_rig_wait(&f.rig.ds, &first.done);
    assert_int_equal(first.w.err, C2_E_OK);
    assert_int_equal(second.w.err, C2_E_BUSY);
    assert_int_equal(unit_rig_store(&f.rig, f.writer, DS_UNIT_A, "two"), 2);
    close_all(&f);
}

static void
unit__names_have_rules(void **state)
{
    (void)state;
    assert_true(ds_unit_name_valid("a"));
    assert_true(ds_unit_name_valid("Volume-7_config.v2"));
    assert_false(ds_unit_name_valid(""));
    assert_false(ds_unit_name_valid(".hidden"));
    assert_false(ds_unit_name_valid("a/b"));
    assert_false(ds_unit_name_valid("a b"));
    char name[DS_UNIT_NAME_MAX + 2];
    memset(name, 'n', sizeof(name));
    name[DS_UNIT_NAME_MAX] = '\0';
    assert_true(ds_unit_name_valid(name));
    name[DS_UNIT_NAME_MAX] = 'n';
    name[DS_UNIT_NAME_MAX + 1] = '\0';
    assert_false(ds_unit_name_valid(name));
}

static void
unit__a_handle_needs_a_good_name_and_its_own_key_among_the_trusted(void **state)
{
    (void)state;
    struct unit_rig rig;
    unit_rig_init(&rig, 4, 1);
    struct ds_unit *u = NULL;
    struct ds_unit_config config = {
        .name = "a/b",
        .writers = (const uint8_t(*)[DS_UNIT_PUBLIC_LEN])rig.public_key,
        .nwriters = 1,
    };
    assert_int_equal(ds_unit_open(rig.ds.c, &config, &u), C2_E_INVALID);
    config.name = "a";
    config.nwriters = 0;
    assert_int_equal(ds_unit_open(rig.ds.c, &config, &u), C2_E_INVALID);
    config.nwriters = 1;
    config.secret = rig.secret[1];
    assert_int_equal(ds_unit_open(rig.ds.c, &config, &u), C2_E_INVALID);
    assert_null(u);
    unit_rig_done(&rig);
}

static void
unit__a_draining_client_ends_requests(void **state)
{
    (void)state;
    struct fixture f = open_default();
    unit_rig_store(&f.rig, f.writer, DS_UNIT_A, "one");
    for (unsigned seat = 0; seat < 4; seat++)
        ds_rig_fault(&f.rig.ds, seat, "hang");
    struct waited_read w = { .r = { .done = read_done } };
    ds_unit_read_start(f.reader, &w.r);
    test_env_run_ready(f.rig.ds.t);
    assert_false(w.done);
    ds_rig_close(&f.rig.ds);
    assert_true(w.done);
    assert_int_equal(w.r.err, C2_E_QUORUM);
    f.rig.ds.c = NULL;
    ds_unit_close(f.writer);
    ds_unit_close(f.reader);
    unit_rig_done(&f.rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unit__reads_what_was_written),
        cmocka_unit_test(unit__large_and_empty_values_survive),
        cmocka_unit_test(unit__a_value_above_the_limit_is_refused_before_any_request),
        cmocka_unit_test(unit__versions_are_kept_and_listed_newest_first),
        cmocka_unit_test(unit__remembers_no_more_versions_than_asked_for),
        cmocka_unit_test(unit__absent_is_said_only_when_enough_clouds_say_so),
        cmocka_unit_test(unit__any_one_cloud_may_fail_in_any_way),
        cmocka_unit_test(unit__a_replica_is_asked_of_one_cloud_only),
        cmocka_unit_test(unit__a_late_replica_is_overtaken),
        cmocka_unit_test(unit__a_late_put_is_overtaken),
        cmocka_unit_test(unit__a_handle_never_goes_back),
        cmocka_unit_test(unit__an_answer_older_than_the_caller_knows_is_an_error),
        cmocka_unit_test(unit__a_published_value_that_is_gone_is_no_absence),
        cmocka_unit_test(unit__damaged_metadata_is_never_used),
        cmocka_unit_test(unit__two_clouds_with_damaged_metadata_are_too_many),
        cmocka_unit_test(unit__a_stranger_is_reported_and_not_believed),
        cmocka_unit_test(unit__names_that_are_not_ours_are_skipped),
        cmocka_unit_test(unit__units_do_not_mix),
        cmocka_unit_test(unit__metadata_of_another_unit_is_not_accepted),
        cmocka_unit_test(unit__readers_and_unlocked_writers_cannot_write),
        cmocka_unit_test(unit__a_handle_writes_one_version_at_a_time),
        cmocka_unit_test(unit__names_have_rules),
        cmocka_unit_test(unit__a_handle_needs_a_good_name_and_its_own_key_among_the_trusted),
        cmocka_unit_test(unit__a_draining_client_ends_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
