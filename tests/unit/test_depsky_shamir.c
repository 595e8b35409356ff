/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "depsky/shamir.h"
#include "tests/lib/ds_rig.h"

#define N_MAX 8u
#define K_MAX 3u

struct shares {
    uint8_t secret[DS_SECRET_LEN];
    uint8_t coef[(K_MAX - 1) * DS_SECRET_LEN];
    uint8_t y[N_MAX][DS_SECRET_LEN];
};

static struct shares
split(unsigned k, unsigned n)
{
    struct shares s;
    struct c2_blob *random = ds_rig_random(k * 10 + n, sizeof(s));
    memcpy(s.secret, random->data, sizeof(s.secret));
    memcpy(s.coef, random->data + sizeof(s.secret), sizeof(s.coef));
    c2_blob_unref(random);
    for (unsigned i = 0; i < n; i++)
        ds_shamir_share(s.secret, s.coef, k, (uint8_t)(i + 1), s.y[i]);
    return s;
}

static void
check_all_subsets(unsigned k, unsigned n)
{
    struct shares s = split(k, n);
    for (unsigned subset = 0; subset < 1u << n; subset++) {
        if ((unsigned)__builtin_popcount(subset) != k)
            continue;
        uint8_t x[K_MAX] = { 0 };
        uint8_t y[K_MAX * DS_SECRET_LEN];
        unsigned count = 0;
        for (unsigned i = 0; i < n; i++) {
            if ((subset & (1u << i)) == 0)
                continue;
            x[count] = (uint8_t)(i + 1);
            memcpy(y + count++ * DS_SECRET_LEN, s.y[i], DS_SECRET_LEN);
        }
        uint8_t out[DS_SECRET_LEN];
        ds_shamir_combine(x, y, k, 0, out);
        assert_memory_equal(out, s.secret, sizeof(out));
        for (unsigned i = 0; i < n; i++) {
            ds_shamir_combine(x, y, k, (uint8_t)(i + 1), out);
            assert_memory_equal(out, s.y[i], sizeof(out));
        }
    }
}

static void
shamir__any_k_shares_give_the_secret_and_every_other_share(void **state)
{
    (void)state;
    check_all_subsets(2, 4);
    check_all_subsets(2, 8);
    check_all_subsets(3, 7);
}

/* For one share and any candidate secret there is exactly one coefficient that explains it. */
static void
shamir__one_share_of_two_fits_every_secret_equally(void **state)
{
    (void)state;
    for (unsigned secret_byte = 0; secret_byte < 256; secret_byte++) {
        bool seen[256] = { false };
        for (unsigned coef_byte = 0; coef_byte < 256; coef_byte++) {
            uint8_t secret[DS_SECRET_LEN] = { (uint8_t)secret_byte };
            uint8_t coef[DS_SECRET_LEN] = { (uint8_t)coef_byte };
            uint8_t y[DS_SECRET_LEN];
            ds_shamir_share(secret, coef, 2, 3, y);
            assert_false(seen[y[0]]);
            seen[y[0]] = true;
        }
    }
}

static void
shamir__two_shares_of_three_fit_every_secret_equally(void **state)
{
    (void)state;
    uint8_t secret[DS_SECRET_LEN] = { 0x17 };
    uint8_t coef[2 * DS_SECRET_LEN] = { 0 };
    uint8_t y[2 * DS_SECRET_LEN];
    coef[0] = 0xd1;
    coef[DS_SECRET_LEN] = 0x60;
    ds_shamir_share(secret, coef, 3, 1, y);
    ds_shamir_share(secret, coef, 3, 2, y + DS_SECRET_LEN);
    unsigned explanations = 0;
    for (unsigned c1 = 0; c1 < 256; c1++) {
        for (unsigned c2 = 0; c2 < 256; c2++) {
            uint8_t other[DS_SECRET_LEN] = { 0x99 }; /* another secret */
            uint8_t try_y[DS_SECRET_LEN];
            coef[0] = (uint8_t)c1;
            coef[DS_SECRET_LEN] = (uint8_t)c2;
            ds_shamir_share(other, coef, 3, 1, try_y);
            if (try_y[0] != y[0])
                continue;
            ds_shamir_share(other, coef, 3, 2, try_y);
            explanations += try_y[0] == y[DS_SECRET_LEN];
        }
    }
    assert_int_equal(explanations, 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shamir__any_k_shares_give_the_secret_and_every_other_share),
        cmocka_unit_test(shamir__one_share_of_two_fits_every_secret_equally),
        cmocka_unit_test(shamir__two_shares_of_three_fit_every_secret_equally),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
