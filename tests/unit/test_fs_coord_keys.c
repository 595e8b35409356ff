/* SPDX-License-Identifier: MIT */
#include "fs/coord_keys.h"

#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

static const struct ds_oid oid = { .sid = 0x0102030405060708,
                                   .seq = 0x1112131415161718,
                                   .rnd = "abcdefg" };
static const uint8_t hash[KEYS_NAME_HASH_LEN] = { 0x7f, 0xee, 1 };

static void
keys__have_their_bytes(void **state)
{
    (void)state;
    const struct {
        struct ck key;
        const char *hex;
    } rows[] = {
        { ck_inode(1), "490000000000000001" },
        { ck_inode(UINT64_MAX), "49ffffffffffffffff" },
        { ck_dentries(0x0203), "440000000000000203" },
        { ck_dentry(0x0203, hash), "4400000000000002037fee0100000000000000000000000000" },
        { ck_xattr(5, 0x01020304), "58000000000000000501020304" },
        { ck_object(&oid), "4f010203040506070811121314151617186162636465666700" },
        { ck_live(&oid), "52010203040506070811121314151617186162636465666700" },
        { ck_orphan(9), "470000000000000009" },
        { ck_usage("bytes"), "516279746573" },
        { ck_letter('J'), "4a" },
        { ck_journal(hash), "4a7fee0100000000000000000000000000" },
        { ck_letter('C'), "43" },
        { ck_letter('V'), "56" },
        { ck_session("/mount"), "532f6d6f756e74" },
        { ck_job("gc"), "576763" },
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(rows); i++) {
        char hex[2 * CK_KEY_MAX + 1];
        c2_hex_encode(rows[i].key.bytes, rows[i].key.len, hex);
        assert_string_equal(hex, rows[i].hex);
    }
}

static void
keys__sort_by_number_and_below_their_prefix(void **state)
{
    (void)state;
    static const uint64_t numbers[] = { 0, 1, 255, 256, 65536, 1ull << 32, 1ull << 63, UINT64_MAX };
    for (size_t i = 0; i + 1 < C2_ARRAY_LEN(numbers); i++) {
        struct ck a = ck_inode(numbers[i]), b = ck_inode(numbers[i + 1]);
        assert_true(c2_slice_compare(ck_slice(&a), ck_slice(&b)) < 0);
        struct ck last = ck_dentry(numbers[i], (const uint8_t[KEYS_NAME_HASH_LEN]){ 0x7f, 0xff });
        struct ck own = ck_dentries(numbers[i]), next = ck_dentries(numbers[i + 1]);
        assert_true(c2_slice_starts_with(ck_slice(&last), ck_slice(&own)));
        assert_false(c2_slice_starts_with(ck_slice(&last), ck_slice(&next)));
        assert_true(c2_slice_compare(ck_slice(&last), ck_slice(&next)) < 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys__have_their_bytes),
        cmocka_unit_test(keys__sort_by_number_and_below_their_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
