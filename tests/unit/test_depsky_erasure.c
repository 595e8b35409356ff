/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "depsky/erasure.h"
#include "depsky/gf256.h"
#include "tests/lib/ds_rig.h"

#define LEN_MAX 40000u

/* The product by the schoolbook: polynomial multiplication, then long division by 0x11d. */
static uint8_t
slow_mul(uint8_t a, uint8_t b)
{
    unsigned product = 0;
    for (unsigned i = 0; i < 8; i++) {
        if ((b & (1u << i)) != 0)
            product ^= (unsigned)a << i;
    }
    for (unsigned bit = 15; bit >= 8; bit--) {
        if ((product & (1u << bit)) != 0)
            product ^= 0x11du << (bit - 8);
    }
    return (uint8_t)product;
}

static void
gf__multiplies_and_inverts_every_element(void **state)
{
    (void)state;
    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++)
            assert_int_equal(ds_gf_mul((uint8_t)a, (uint8_t)b), slow_mul((uint8_t)a, (uint8_t)b));
        if (a != 0)
            assert_int_equal(ds_gf_mul((uint8_t)a, ds_gf_inv((uint8_t)a)), 1);
    }
}

static void
row__is_what_the_format_says(void **state)
{
    (void)state;
    static const uint8_t two[][2] = { { 1, 0 }, { 0, 1 }, { 1, 1 }, { 1, 2 }, { 1, 3 }, { 1, 4 } };
    static const uint8_t three[][3] = { { 1, 0, 0 }, { 0, 1, 0 }, { 0, 0, 1 }, { 1, 1, 1 },
                                        { 1, 2, 4 }, { 1, 3, 5 }, { 1, 4, 16 } };
    uint8_t coef[DS_K_MAX];
    for (unsigned row = 0; row < C2_ARRAY_LEN(two); row++) {
        ds_erasure_row(2, row, coef);
        assert_memory_equal(coef, two[row], 2);
    }
    for (unsigned row = 0; row < C2_ARRAY_LEN(three); row++) {
        ds_erasure_row(3, row, coef);
        assert_memory_equal(coef, three[row], 3);
    }
}

struct rows {
    struct c2_blob *blob[DS_SEATS_MAX];
    uint8_t *at[DS_SEATS_MAX];
};

/* `skew` puts every row at another address modulo 16. */
static void
encode_rows(struct rows *r, enum ds_engine engine, unsigned k, unsigned n, size_t len, bool skew)
{
    const uint8_t *data[DS_K_MAX] = { NULL };
    uint8_t *parity[DS_SEATS_MAX] = { NULL };
    for (unsigned i = 0; i < n; i++) {
        r->blob[i] = ds_rig_random(i, len + 16);
        r->at[i] = r->blob[i]->data + (skew ? (i * 5) % 16 : 0);
    }
    for (unsigned i = 0; i < k; i++)
        data[i] = r->at[i];
    for (unsigned i = k; i < n; i++)
        parity[i - k] = r->at[i];
    ds_erasure_encode(engine, k, n, data, parity, len);
}

static void
free_rows(struct rows *r, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        c2_blob_unref(r->blob[i]);
}

static void
check_subset(const struct rows *r, enum ds_engine engine, unsigned k, unsigned n, unsigned subset,
             size_t len)
{
    struct ds_erasure_rows have = { { 0 }, { NULL } };
    unsigned count = 0;
    for (unsigned i = 0; i < n; i++) {
        if ((subset & (1u << i)) == 0)
            continue;
        have.index[count] = i;
        have.data[count++] = r->at[i];
    }
    struct c2_blob *out = c2_blob_new(len);
    for (unsigned want = 0; want < n; want++) {
        memset(out->data, 0xee, len);
        ds_erasure_rebuild(engine, k, &have, want, out->data, len);
        assert_memory_equal(out->data, r->at[want], len);
    }
    c2_blob_unref(out);
}

static void
any_k_rows_restore_all(unsigned k, unsigned n, size_t len, bool skew)
{
    struct rows isal;
    struct rows jerasure;
    encode_rows(&isal, DS_ENGINE_ISAL, k, n, len, skew);
    encode_rows(&jerasure, DS_ENGINE_JERASURE, k, n, len, skew);
    for (unsigned i = 0; i < n; i++)
        assert_memory_equal(isal.at[i], jerasure.at[i], len);
    for (unsigned subset = 0; subset < 1u << n; subset++) {
        if ((unsigned)__builtin_popcount(subset) != k)
            continue;
        check_subset(&isal, DS_ENGINE_ISAL, k, n, subset, len);
        check_subset(&isal, DS_ENGINE_JERASURE, k, n, subset, len);
    }
    free_rows(&isal, n);
    free_rows(&jerasure, n);
}

static void
code__restores_all_rows_from_any_k_with_both_engines(void **state)
{
    (void)state;
    static const size_t lengths[] = { 1, 7, 16, 33, 4096, 32768, LEN_MAX };
    ds_erasure_init();
    for (size_t i = 0; i < C2_ARRAY_LEN(lengths); i++) {
        for (unsigned skew = 0; skew < 2; skew++) {
            any_k_rows_restore_all(2, 4, lengths[i], skew == 1);
            any_k_rows_restore_all(3, 7, lengths[i], skew == 1);
        }
    }
    any_k_rows_restore_all(2, 8, 100, false);
    any_k_rows_restore_all(3, 8, 100, false);
}

static void
code__has_plain_xor_as_first_parity(void **state)
{
    (void)state;
    ds_erasure_init();
    struct rows r;
    encode_rows(&r, DS_ENGINE_ISAL, 3, 7, 1000, false);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(r.at[3][i], r.at[0][i] ^ r.at[1][i] ^ r.at[2][i]);
    free_rows(&r, 7);
}

static void
code__row_does_not_depend_on_n(void **state)
{
    (void)state;
    ds_erasure_init();
    struct rows four;
    struct rows six;
    encode_rows(&four, DS_ENGINE_ISAL, 2, 4, 500, false);
    encode_rows(&six, DS_ENGINE_ISAL, 2, 6, 500, false);
    for (unsigned i = 0; i < 4; i++)
        assert_memory_equal(four.at[i], six.at[i], 500);
    free_rows(&four, 4);
    free_rows(&six, 6);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gf__multiplies_and_inverts_every_element),
        cmocka_unit_test(row__is_what_the_format_says),
        cmocka_unit_test(code__restores_all_rows_from_any_k_with_both_engines),
        cmocka_unit_test(code__has_plain_xor_as_first_parity),
        cmocka_unit_test(code__row_does_not_depend_on_n),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
