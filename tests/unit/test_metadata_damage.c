/* SPDX-License-Identifier: MIT */
/*
 * Records that are not what they must be: an error, and no further use of the store.
 */
#include "base/alloc.h"
#include "metadata/kv.h"
#include "metadata/local.h"
#include "metadata/registry.h"
#include "tests/lib/coord_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Closes the service, replaces one record, and leaves it closed. */
static void
damage(struct coord_fixture *f, enum kv_table table, struct c2_slice key, const char *record)
{
    struct kv *kv = NULL;
    struct kv_txn *txn = NULL;
    char *error = NULL;
    coord_fixture_close(f);
    assert_int_equal(kv_open(f->path, COORD_FIXTURE_MAP_SIZE, false, &kv, &error), C2_E_OK);
    assert_int_equal(kv_begin(kv, true, &txn), C2_E_OK);
    assert_int_equal(kv_put(txn, table, key, c2_slice_str(record)), C2_E_OK);
    assert_int_equal(kv_commit(txn), C2_E_OK);
    kv_close(kv);
}

static void
assert_cannot_open(struct coord_fixture *f)
{
    char *error = NULL;
    assert_int_equal(
        coord_local_open(f->env, f->path, false, COORD_FIXTURE_MAP_SIZE, &f->c, &error),
        C2_E_DAMAGED);
    assert_non_null(strstr(error, "damaged"));
    c2_free(error);
}

static enum c2_err
read_key(struct coord_fixture *f, const char *name)
{
    const struct c2_slice key = c2_slice_str(name);
    struct coord_call call = { .r = { .verb = COORD_GET, .keys = &key, .nkeys = 1 } };
    enum c2_err err = coord_call_run(f, &call);
    coord_req_done(&call.r);
    return err;
}

static void
damaged_key__fails_its_reader_and_stops_the_store_at_a_write(void **state)
{
    struct coord_fixture *f = *state;
    put(f, "good", "");
    put(f, "k", "v");
    damage(f, KV_DATA, c2_slice_str("k"), "short");
    coord_fixture_open(f);
    assert_int_equal(read_key(f, "k"), C2_E_DAMAGED);
    assert_int_equal(read_key(f, "good"), C2_E_OK);
    assert_int_equal(txn_op(f, op(COORD_PUT, "k", "", 0), NULL), C2_E_DAMAGED);
    assert_int_equal(read_key(f, "good"), C2_E_DAMAGED);
    assert_int_equal(txn_op(f, op(COORD_PUT, "good", "", 0), NULL), C2_E_DAMAGED);
}

static void
damaged_state_or_format__cannot_be_opened(void **state)
{
    struct coord_fixture *f = *state;
    damage(f, KV_META, c2_slice_str("state"), "short");
    assert_cannot_open(f);
    damage(f, KV_META, c2_slice_str("format"), "12345");
    assert_cannot_open(f);
}

static void
damaged_deadline__cannot_be_opened(void **state)
{
    struct coord_fixture *f = *state;
    damage(f, KV_EXPIRY, c2_slice_str("x"), "");
    assert_cannot_open(f);
}

static void
damaged_session__stops_the_store(void **state)
{
    struct coord_fixture *f = *state;
    uint64_t s = session_open(f, 100 * C2_NS_PER_S);
    const uint8_t key[8] = { 0, 0, 0, 0, 0, 0, 0, (uint8_t)s };
    damage(f, KV_SESSION, c2_slice(key, sizeof key), "short");
    coord_fixture_open(f);
    uint8_t digest[32];
    assert_int_equal(coord_local_digest(f->c, digest), C2_E_DAMAGED);
    assert_int_equal(session_keepalive(f, s), C2_E_DAMAGED);
    assert_int_equal(read_key(f, "k"), C2_E_DAMAGED);
}

static void
damaged_index__is_found_when_the_session_ends(void **state)
{
    struct coord_fixture *f = *state;
    uint64_t s = session_open(f, 100 * C2_NS_PER_S);
    const uint8_t key[8] = { 0, 0, 0, 0, 0, 0, 0, (uint8_t)s };
    damage(f, KV_EPHEMERAL, c2_slice(key, sizeof key), ""); /* no key behind the session */
    coord_fixture_open(f);
    assert_int_equal(session_close(f, s), C2_E_DAMAGED);
}

static void
damaged_log__fails_its_reader(void **state)
{
    struct coord_fixture *f = *state;
    put(f, "k", "v");
    const uint8_t keys[2][10] = { { 0, 0, 0, 0, 0, 0, 0, 2, 0, 1 }, { 0 } };
    damage(f, KV_LOG, c2_slice(keys[0], 10), "a second part without a first");
    coord_fixture_open(f);
    struct coord_call call = { .r = { .verb = COORD_LOG_READ, .version_in = 1 } };
    assert_int_equal(coord_call_run(f, &call), C2_E_DAMAGED);
    damage(f, KV_LOG, c2_slice(keys[1], 3), "a key too short");
    coord_fixture_open(f);
    call = (struct coord_call){ .r = { .verb = COORD_LOG_TRIM, .version_in = 1 } };
    assert_int_equal(coord_call_run(f, &call), C2_E_DAMAGED);
}

static void
damaged_digest__is_found_when_it_is_asked_for(void **state)
{
    struct coord_fixture *f = *state;
    put(f, "k", "v");
    const uint8_t number[8] = { 0 };
    const uint8_t root[1] = { 0 };
    uint8_t digest[32];
    damage(f, KV_DIRTY, c2_slice(number, sizeof number), "short");
    coord_fixture_open(f);
    assert_int_equal(coord_local_digest(f->c, digest), C2_E_DAMAGED);
    damage(f, KV_TREE, c2_slice(root, sizeof root), "Xnonsense");
    coord_fixture_open(f);
    assert_int_equal(coord_local_digest(f->c, digest), C2_E_DAMAGED);
    assert_int_equal(put(f, "k", "w"), 2); /* the data themselves are fine */
}

int
main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, coord_fixture_setup, coord_fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(damaged_key__fails_its_reader_and_stops_the_store_at_a_write),
        T(damaged_state_or_format__cannot_be_opened),
        T(damaged_deadline__cannot_be_opened),
        T(damaged_session__stops_the_store),
        T(damaged_index__is_found_when_the_session_ends),
        T(damaged_log__fails_its_reader),
        T(damaged_digest__is_found_when_it_is_asked_for),
    };
    return cmocka_run_group_tests_name("metadata_damage", tests, NULL, NULL);
}
