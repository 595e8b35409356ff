/* SPDX-License-Identifier: MIT */
/*
 * Walks over the object records for the sake of one seat: shares come, go elsewhere, are given up.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "backends/mem.h"
#include "backends/registry.h"
#include "base/alloc.h"
#include "base/mark.h"
#include "fs/seat_walk.h"
#include "tests/lib/fs_fixture.h"

#define FILES 5u
#define SEAT  1u

struct fix {
    struct fsx x;
    struct provider *extra; /* the cloud that comes */
    struct seat_walk walk;
    unsigned good_below;
    bool done;
};

static void
walked(struct seat_walk *w)
{
    C2_CONTAINER_OF(w, struct fix, walk)->done = true;
}

static int
setup(void **state)
{
    struct fix *f = c2_calloc(1, sizeof(*f));
    char name[8], text[32];
    fsx_init(&f->x);
    fsx_mount(&f->x);
    f->extra = prov_mem_new(f->x.env, "new");
    for (unsigned k = 0; k < FILES; k++) { /* an object each */
        (void)snprintf(name, sizeof(name), "f%u", k);
        (void)snprintf(text, sizeof(text), "content of file %u", k);
        fsx_put(&f->x, FS_ROOT_INO, name, text, strlen(text));
        assert_int_equal(fsx_sync(&f->x), C2_E_OK);
    }
    c2_mark_reset();
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fix *f = *state;
    fsx_unmount(&f->x);
    prov_close(f->extra);
    fsx_done(&f->x);
    c2_free(f);
    return 0;
}

/* One whole walk in one batch. */
static void
walk(struct fix *f, enum seat_walk_what what, struct provider *source, bool give_up)
{
    f->walk = (struct seat_walk){ .fs = f->x.fs,
                                  .what = what,
                                  .seat = SEAT,
                                  .target = f->extra,
                                  .source = source,
                                  .good_below = f->good_below,
                                  .give_up = give_up,
                                  .done = walked };
    f->done = false;
    seat_walk_start(&f->walk);
    assert_false(f->done);
    test_env_run_until(f->x.t, &f->done);
}

static void
replace_seat(struct fix *f)
{
    ds_client_set_seat(f->x.ds, SEAT, f->extra, DS_USE_NEW);
}

static struct fs_object *
any_object(struct fix *f)
{
    struct c2_map_node *n = c2_map_next(&f->x.fs->objects, NULL);
    assert_non_null(n);
    return C2_CONTAINER_OF(n, struct fs_object, node);
}

static const char *
key_of(struct fix *f, const struct fs_object *o, char key[PROV_KEY_MAX])
{
    ds_object_key(f->x.ds, DS_KIND_OBJECT, o->ref.oid, key);
    return key;
}

static void
expect_files(struct fix *f)
{
    char name[8], text[32];
    fsx_drop_cache(&f->x);
    for (unsigned k = 0; k < FILES; k++) {
        (void)snprintf(name, sizeof(name), "f%u", k);
        (void)snprintf(text, sizeof(text), "content of file %u", k);
        fsx_expect(&f->x, FS_ROOT_INO, name, text, strlen(text));
    }
}

static void
count__tells_shares_and_bytes(void **state)
{
    struct fix *f = *state;
    char key[PROV_KEY_MAX];
    size_t len = prov_mem_peek(f->x.mem[SEAT], key_of(f, any_object(f), key))->len;
    walk(f, SEAT_WALK_COUNT, NULL, false);
    assert_int_equal(f->walk.err, C2_E_OK);
    assert_true(f->walk.at_end);
    assert_int_equal(f->walk.objects, FILES);
    assert_int_equal(f->walk.bytes, FILES * len);
    assert_int_equal(f->walk.moved, 0);
}

static void
fill__copies_what_the_new_provider_lacks_and_nothing_twice(void **state)
{
    struct fix *f = *state;
    char key[PROV_KEY_MAX];
    replace_seat(f);
    walk(f, SEAT_WALK_FILL, f->x.seat[SEAT], false);
    assert_int_equal(f->walk.err, C2_E_OK);
    assert_int_equal(f->walk.moved, FILES);
    assert_int_equal(f->walk.failed, 0);
    key_of(f, any_object(f), key);
    const struct c2_blob *moved = prov_mem_peek(f->extra, key);
    assert_non_null(moved);
    assert_true(
        c2_slice_equal(c2_blob_slice(moved), c2_blob_slice(prov_mem_peek(f->x.mem[SEAT], key))));
    walk(f, SEAT_WALK_FILL, f->x.seat[SEAT], false);
    assert_int_equal(f->walk.objects, FILES);
    assert_int_equal(f->walk.moved, 0);
    assert_int_equal(f->walk.moved_bytes, 0);
}

/* A provider that had another seat before: the same keys, and no share of this seat. */
static void
fill__replaces_shares_of_another_seat(void **state)
{
    struct fix *f = *state;
    char key[PROV_KEY_MAX];
    key_of(f, any_object(f), key);
    prov_mem_store(f->extra, key, c2_blob_slice(prov_mem_peek(f->x.mem[0], key)));
    replace_seat(f);
    walk(f, SEAT_WALK_FILL, f->x.seat[SEAT], false);
    assert_int_equal(f->walk.err, C2_E_OK);
    assert_int_equal(f->walk.moved, FILES);
    assert_int_equal(f->walk.failed, 0);
    assert_true(c2_slice_equal(c2_blob_slice(prov_mem_peek(f->extra, key)),
                               c2_blob_slice(prov_mem_peek(f->x.mem[SEAT], key))));
}

static void
fill__asks_again_when_a_header_cannot_be_read(void **state)
{
    struct fix *f = *state;
    struct provider *flaky = NULL;
    assert_int_equal(prov_fault_new(prov_mem_new(f->x.env, "flaky"), "", 1, &flaky), C2_E_OK);
    ds_client_set_seat(f->x.ds, SEAT, flaky, DS_USE_NEW);
    struct provider *extra = f->extra;
    f->extra = flaky;
    walk(f, SEAT_WALK_FILL, f->x.seat[SEAT], false);
    assert_int_equal(f->walk.moved, FILES);
    assert_int_equal(prov_fault_set(flaky, "get.error"), C2_E_OK);
    walk(f, SEAT_WALK_FILL, f->x.seat[SEAT], false);
    assert_int_equal(f->walk.err, C2_E_OK);
    assert_int_equal(f->walk.failed, FILES);
    assert_int_equal(f->walk.moved, 0);
    assert_int_equal(prov_fault_set(flaky, ""), C2_E_OK);
    walk(f, SEAT_WALK_FILL, f->x.seat[SEAT], false);
    assert_int_equal(f->walk.failed, 0);
    assert_int_equal(f->walk.moved, 0);
    ds_client_set_seat(f->x.ds, SEAT, f->x.seat[SEAT], DS_USE_ALL);
    test_env_run_for(f->x.t, C2_NS_PER_S);
    f->extra = extra;
    prov_close(flaky);
}

static void
fill__rebuilds_when_the_old_provider_is_lost(void **state)
{
    struct fix *f = *state;
    char key[PROV_KEY_MAX];
    fsx_fault(&f->x, SEAT, "down");
    replace_seat(f);
    walk(f, SEAT_WALK_FILL, f->x.seat[SEAT], false);
    assert_int_equal(f->walk.moved, FILES);
    key_of(f, any_object(f), key);
    assert_true(c2_slice_equal(c2_blob_slice(prov_mem_peek(f->extra, key)),
                               c2_blob_slice(prov_mem_peek(f->x.mem[SEAT], key))));
    fsx_fault(&f->x, SEAT, "");
}

static void
fill__goes_on_after_an_object_that_cannot_be_rebuilt(void **state)
{
    struct fix *f = *state;
    char key[PROV_KEY_MAX];
    struct fs_object *o = any_object(f);
    key_of(f, o, key);
    for (unsigned s = 0; s < FSX_SEATS; s++)
        if (s != 0)
            prov_mem_delete(f->x.mem[s], key);
    replace_seat(f);
    walk(f, SEAT_WALK_FILL, NULL, false);
    assert_int_equal(f->walk.err, C2_E_OK);
    assert_int_equal(f->walk.moved, FILES - 1);
    assert_int_equal(f->walk.failed, 1);
    assert_int_equal(f->walk.lost, 0);
    assert_true((o->placed & (1u << SEAT)) != 0);
    walk(f, SEAT_WALK_FILL, NULL, true);
    assert_int_equal(f->walk.failed, 0);
    assert_int_equal(f->walk.lost, 1);
    assert_true((o->placed & (1u << SEAT)) != 0); /* for the scrub to report it */
    assert_int_equal(f->walk.moved, 0);
}

static void
fill__asks_again_when_the_new_provider_cannot_be_listed(void **state)
{
    struct fix *f = *state;
    struct provider *flaky = NULL;
    assert_int_equal(prov_fault_new(prov_mem_new(f->x.env, "flaky"), "list.error", 1, &flaky),
                     C2_E_OK);
    ds_client_set_seat(f->x.ds, SEAT, flaky, DS_USE_NEW);
    struct provider *extra = f->extra;
    f->extra = flaky;
    walk(f, SEAT_WALK_FILL, f->x.seat[SEAT], false);
    assert_int_not_equal(f->walk.err, C2_E_OK);
    assert_int_equal(f->walk.after.len, 0); /* from the same place */
    assert_int_equal(f->walk.moved, 0);
    assert_int_equal(prov_fault_set(flaky, ""), C2_E_OK);
    walk(f, SEAT_WALK_FILL, f->x.seat[SEAT], false);
    assert_int_equal(f->walk.moved, FILES);
    ds_client_set_seat(f->x.ds, SEAT, f->x.seat[SEAT], DS_USE_ALL);
    test_env_run_for(f->x.t, C2_NS_PER_S);
    f->extra = extra;
    prov_close(flaky);
}

static void
request_done(struct coord_req *r)
{
    assert_int_equal(r->err, C2_E_OK);
}

/* Between the look at the records and the PUT of the share. */
static void
fill__is_not_held_up_by_lists_that_never_end(void **state)
{
    struct fix *f = *state;
    struct provider *bad = f->extra;
    assert_int_equal(prov_fault_new(bad, "list.loop", 1, &bad), C2_E_OK);
    f->extra = bad;
    replace_seat(f);
    walk(f, SEAT_WALK_FILL, NULL, false); /* nothing at all, and more of it */
    assert_int_equal(f->walk.err, C2_E_UNAVAILABLE);
    assert_int_equal(f->walk.why, C2_E_PROTOCOL);
    assert_int_equal(f->walk.moved, 0);

    /* Before everything that it should have, again and again. */
    char key[PROV_KEY_MAX];
    key_of(f, any_object(f), key);
    memset(key + strlen(key) - 33, '0', 16);
    prov_mem_store(bad, key, c2_slice_str("x"));
    walk(f, SEAT_WALK_FILL, NULL, false);
    assert_int_equal(f->walk.err, C2_E_UNAVAILABLE);
    assert_int_equal(f->walk.why, C2_E_PROTOCOL);
    assert_int_equal(prov_fault_count_kind(bad, "loop"), 3);

    assert_int_equal(prov_fault_set(bad, ""), C2_E_OK);
    walk(f, SEAT_WALK_FILL, NULL, false);
    assert_int_equal(f->walk.err, C2_E_OK);
    assert_int_equal(f->walk.moved, FILES);
}

static void
fill__goes_on_later_whatever_the_list_ends_with(void **state)
{
    static const char *const specs[] = { "list.tls", "list.redirect", "list.protocol",
                                         "list.denied" };
    struct fix *f = *state;
    assert_int_equal(prov_fault_new(f->extra, "", 1, &f->extra), C2_E_OK);
    replace_seat(f);
    for (size_t i = 0; i < C2_ARRAY_LEN(specs); i++) {
        assert_int_equal(prov_fault_set(f->extra, specs[i]), C2_E_OK);
        walk(f, SEAT_WALK_FILL, NULL, false);
        assert_int_equal(f->walk.err, C2_E_UNAVAILABLE);
    }
    assert_int_equal(prov_fault_set(f->extra, ""), C2_E_OK);
    walk(f, SEAT_WALK_FILL, NULL, false);
    assert_int_equal(f->walk.err, C2_E_OK);
    assert_int_equal(f->walk.moved, FILES);
}

static void
fill__takes_back_the_share_of_an_object_that_was_deleted_meanwhile(void **state)
{
    struct fix *f = *state;
    struct fs_object *o = any_object(f);
    char key[PROV_KEY_MAX];
    struct ck record = ck_object(&o->ref.oid);
    struct coord_op op = { .kind = COORD_DELETE, .key = ck_slice(&record) };
    struct coord_req del = { .verb = COORD_TXN, .ops = &op, .nops = 1, .done = request_done };
    replace_seat(f);
    f->walk = (struct seat_walk){ .fs = f->x.fs,
                                  .what = SEAT_WALK_FILL,
                                  .seat = SEAT,
                                  .target = f->extra,
                                  .source = f->x.seat[SEAT],
                                  .done = walked };
    f->done = false;
    seat_walk_start(&f->walk);
    while (!f->walk.listing)
        assert_true(test_env_step(f->x.t));
    del.deadline_ns = C2_NEVER;
    coord_submit(f->x.coord, &del);
    test_env_run_until(f->x.t, &f->done);
    coord_req_done(&del);
    assert_int_equal(f->walk.err, C2_E_OK);
    assert_int_equal(c2_mark_count("seat walk: an object was deleted meanwhile"), 1);
    assert_null(prov_mem_peek(f->extra, key_of(f, o, key)));
}

static void
record_changed(struct fs_place *p)
{
    assert_int_equal(p->err, C2_E_OK);
    p->n = 0;
}

static void
fill__brings_endangered_objects_first_when_told(void **state)
{
    struct fix *f = *state;
    char key[PROV_KEY_MAX];
    struct fs_object *o = any_object(f);
    struct fs_place *less = c2_calloc(1, sizeof(*less));
    *less = (struct fs_place){ .fs = f->x.fs, .n = 1, .done = record_changed };
    less->item[0] = (struct fs_place_item){ .ref = o->ref, .clear = 1u << 2 };
    fs_place_start(less);
    while (less->n > 0)
        assert_true(test_env_step(f->x.t));
    walk(f, SEAT_WALK_COUNT, NULL, false);
    assert_int_equal(f->walk.at_risks, 1u << 1 | 1u << 2); /* good shares beside the seat's */
    replace_seat(f);
    f->good_below = 2;
    walk(f, SEAT_WALK_FILL, f->x.seat[SEAT], false);
    assert_int_equal(f->walk.objects, 1);
    assert_int_equal(f->walk.moved, 1);
    assert_non_null(prov_mem_peek(f->extra, key_of(f, o, key)));
    f->good_below = 0;
    walk(f, SEAT_WALK_FILL, f->x.seat[SEAT], false);
    assert_int_equal(f->walk.objects, FILES);
    assert_int_equal(f->walk.moved, FILES - 1);
    c2_free(less);
}

static void
count__takes_shares_of_a_seat_that_does_not_answer_for_lost(void **state)
{
    struct fix *f = *state;
    fsx_fault(&f->x, 0, "down");
    fsx_drop_cache(&f->x);
    for (unsigned k = 0; k < FILES; k++) { /* until that shows */
        char name[8], text[32];
        (void)snprintf(name, sizeof(name), "f%u", k);
        (void)snprintf(text, sizeof(text), "content of file %u", k);
        fsx_expect(&f->x, FS_ROOT_INO, name, text, strlen(text));
    }
    walk(f, SEAT_WALK_COUNT, NULL, false);
    assert_int_equal(f->walk.at_risks, 1u << 1);
    fsx_fault(&f->x, 0, "");
}

static void
leave__moves_shares_to_the_spare_and_says_so_in_the_records(void **state)
{
    struct fix *f = *state;
    char key[PROV_KEY_MAX];
    struct fs_object *o = any_object(f);
    uint32_t before = o->placed;
    assert_int_equal(before, 0x7);
    ds_client_set_seat(f->x.ds, SEAT, f->x.seat[SEAT], DS_USE_READ);
    walk(f, SEAT_WALK_LEAVE, NULL, false);
    assert_int_equal(f->walk.err, C2_E_OK);
    assert_int_equal(f->walk.moved, FILES);
    assert_int_equal(o->placed, 0xd);
    assert_non_null(prov_mem_peek(f->x.mem[3], key_of(f, o, key)));
    walk(f, SEAT_WALK_LEAVE, NULL, false);
    assert_int_equal(f->walk.objects, 0);
    ds_client_set_seat(f->x.ds, SEAT, f->x.seat[SEAT], DS_USE_OFF);
    expect_files(f);
}

static void
leave__without_a_place_to_go_to_changes_nothing(void **state)
{
    struct fix *f = *state;
    struct fs_object *o = any_object(f);
    ds_client_set_seat(f->x.ds, SEAT, f->x.seat[SEAT], DS_USE_READ);
    fsx_fault(&f->x, 3, "down");
    walk(f, SEAT_WALK_LEAVE, NULL, false);
    assert_int_equal(f->walk.err, C2_E_OK);
    assert_int_equal(f->walk.moved, 0);
    assert_int_equal(f->walk.failed, FILES);
    assert_int_equal(o->placed, 0x7);
    fsx_fault(&f->x, 3, "");
}

/* The records go on naming the seat that is left. */
static void
leave__that_moved_to_a_seat_which_changes_meanwhile_has_not_moved(void **state)
{
    struct fix *f = *state;
    struct fs_object *o = any_object(f);
    ds_client_set_seat(f->x.ds, SEAT, f->x.seat[SEAT], DS_USE_READ);
    f->walk =
        (struct seat_walk){ .fs = f->x.fs, .what = SEAT_WALK_LEAVE, .seat = SEAT, .done = walked };
    f->done = false;
    seat_walk_start(&f->walk);
    while (f->walk.moved_bytes == 0)
        assert_true(test_env_step(f->x.t));
    ds_client_set_seat(f->x.ds, 3, f->extra, DS_USE_NEW);
    test_env_run_until(f->x.t, &f->done);
    assert_int_equal(f->walk.err, C2_E_OK);
    assert_int_equal(f->walk.failed, FILES);
    assert_int_equal(o->placed, 0x7);
    walk(f, SEAT_WALK_LEAVE, NULL, false);
    assert_int_equal(f->walk.moved, FILES);
    assert_int_equal(o->placed, 0xd);
    char key[PROV_KEY_MAX];
    assert_non_null(prov_mem_peek(f->extra, key_of(f, o, key)));
}

/* No seat may take anything: each item is over at once. */
static void
leave__with_no_seat_that_takes_ends_once(void **state)
{
    struct fix *f = *state;
    ds_client_set_seat(f->x.ds, SEAT, f->x.seat[SEAT], DS_USE_READ);
    ds_client_set_seat(f->x.ds, 3, f->x.seat[3], DS_USE_READ);
    walk(f, SEAT_WALK_LEAVE, NULL, false);
    assert_int_equal(f->walk.err, C2_E_OK);
    assert_int_equal(f->walk.objects, FILES);
    assert_int_equal(f->walk.failed, FILES);
    assert_int_equal(f->walk.moved, 0);
    assert_int_equal(f->walk.why, C2_E_QUORUM);
}

static void
synced(struct fs_sync *s)
{
    *(bool *)s->priv = true;
}

/* Another epoch has begun, and this mount has not heard of it yet. */
static void
commit__under_an_old_epoch_waits_until_the_mount_has_moved_on(void **state)
{
    struct fix *f = *state;
    struct fsx *x = &f->x;
    const struct coord_op op = { .kind = COORD_PUT,
                                 .key = c2_slice_str("C"),
                                 .value = c2_slice_str("another configuration") };
    struct coord_req put = {
        .verb = COORD_TXN, .ops = &op, .nops = 1, .deadline_ns = C2_NEVER, .done = request_done
    };
    coord_submit(x->coord, &put);
    test_env_run_ready(x->t);
    uint64_t version = put.version, before = fsx_status(x).txgs_committed;
    coord_req_done(&put);
    assert_true(version > 0);
    bool done = false;
    struct fs_sync sync = { .done = synced, .priv = &done };
    fsx_put(x, FS_ROOT_INO, "late", "bytes", 5);
    fs_sync_start(x->fs, &sync);
    test_env_run_for(x->t, 5 * C2_NS_PER_S);
    assert_false(done);
    assert_int_equal(fsx_status(x).txgs_committed, before);
    assert_false(fsx_status(x).fenced);
    assert_true(c2_mark_count("anchor: under an old configuration") > 0);
    x->config_version = version;
    test_env_run_until(x->t, &done);
    assert_int_equal(sync.err, C2_E_OK);
    assert_true(fsx_status(x).txgs_committed > before);
    fsx_expect(x, FS_ROOT_INO, "late", "bytes", 5);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(count__tells_shares_and_bytes),
        T(fill__copies_what_the_new_provider_lacks_and_nothing_twice),
        T(fill__replaces_shares_of_another_seat),
        T(fill__asks_again_when_a_header_cannot_be_read),
        T(fill__rebuilds_when_the_old_provider_is_lost),
        T(fill__goes_on_after_an_object_that_cannot_be_rebuilt),
        T(fill__asks_again_when_the_new_provider_cannot_be_listed),
        T(fill__is_not_held_up_by_lists_that_never_end),
        T(fill__goes_on_later_whatever_the_list_ends_with),
        T(fill__takes_back_the_share_of_an_object_that_was_deleted_meanwhile),
        T(fill__brings_endangered_objects_first_when_told),
        T(count__takes_shares_of_a_seat_that_does_not_answer_for_lost),
        T(leave__moves_shares_to_the_spare_and_says_so_in_the_records),
        T(commit__under_an_old_epoch_waits_until_the_mount_has_moved_on),
        T(leave__without_a_place_to_go_to_changes_nothing),
        T(leave__that_moved_to_a_seat_which_changes_meanwhile_has_not_moved),
        T(leave__with_no_seat_that_takes_ends_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
