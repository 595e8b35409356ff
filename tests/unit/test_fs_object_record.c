/* SPDX-License-Identifier: MIT */
/*
 * The object record: everything that repair needs, and records of older volumes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/wire.h"
#include "fs/object_record.h"

static const struct fs_object_record sample = {
    .placed = 0xb,
    .stored_bytes = 1234,
    .ref = { .root = { 1, 2, 3 }, .plain_len = 777, .key_epoch = 4, .domain_id = 5 },
    .has_root = true
};

static void
record__says_where_the_shares_are_and_what_they_are_checked_against(void **state)
{
    (void)state;
    struct c2_buf b = { 0 };
    struct fs_object_record r = { .ref = { .oid = { .sid = 9, .seq = 8 } } };
    fs_object_rec_encode(&sample, &b);
    assert_int_equal(fs_object_rec_decode(c2_buf_slice(&b), &r), C2_E_OK);
    assert_int_equal(r.placed, 0xb);
    assert_int_equal(r.stored_bytes, 1234);
    assert_int_equal(r.ref.oid.sid, 9);
    assert_int_equal(r.ref.plain_len, 777);
    assert_int_equal(r.ref.key_epoch, 4);
    assert_int_equal(r.ref.domain_id, 5);
    assert_memory_equal(r.ref.root, sample.ref.root, DS_ROOT_LEN);
    assert_true(r.has_root);
    c2_buf_done(&b);
}

static void
record__of_an_older_volume_has_no_root(void **state)
{
    (void)state;
    struct c2_buf b = { 0 };
    struct fs_object_record r = { 0 };
    c2_wr_u8(&b, 1);
    c2_wr_u8(&b, 0);
    c2_wr_u32(&b, 7);
    c2_wr_u64(&b, 100);
    c2_wr_u64(&b, 300);
    assert_int_equal(fs_object_rec_decode(c2_buf_slice(&b), &r), C2_E_OK);
    assert_false(r.has_root);
    assert_int_equal(r.placed, 7);
    assert_int_equal(r.ref.plain_len, 100);
    assert_int_equal(r.stored_bytes, 300);
    c2_buf_done(&b);
}

static void
record__that_is_cut_or_newer_is_refused(void **state)
{
    (void)state;
    struct c2_buf b = { 0 };
    struct fs_object_record r = { 0 };
    fs_object_rec_encode(&sample, &b);
    for (size_t len = 0; len < b.len; len++)
        assert_int_not_equal(fs_object_rec_decode(c2_slice(b.data, len), &r), C2_E_OK);
    b.data[0] = 3;
    assert_int_equal(fs_object_rec_decode(c2_buf_slice(&b), &r), C2_E_VERSION);
    assert_int_equal(r.placed, 0);
    c2_buf_done(&b);
}

static void
key__names_the_object(void **state)
{
    (void)state;
    struct ds_oid oid = { .sid = 1, .seq = 2, .rnd = { 3 } }, got;
    struct ck key = ck_object(&oid);
    assert_int_equal(fs_object_key_decode(ck_slice(&key), &got), C2_E_OK);
    assert_memory_equal(&got, &oid, sizeof(oid));
    key.len--;
    assert_int_equal(fs_object_key_decode(ck_slice(&key), &got), C2_E_PARSE);
}

int
main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record__says_where_the_shares_are_and_what_they_are_checked_against),
        cmocka_unit_test(record__of_an_older_volume_has_no_root),
        cmocka_unit_test(record__that_is_cut_or_newer_is_refused),
        cmocka_unit_test(key__names_the_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
