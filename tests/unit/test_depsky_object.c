/* SPDX-License-Identifier: MIT */
/*
 * Whole objects and ranges through healthy clouds: every size around a boundary, compressible and
 * not, both engines, keyed and keyless, f = 1 and f = 2.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backends/mem.h"
#include "tests/lib/ds_rig.h"

#define KIB 1024u
#define MIB (1024u * 1024u)

static const size_t sizes[] = {
    1,
    2,
    15,
    16,
    17,
    4095,
    64 * KIB - 1,
    64 * KIB,
    64 * KIB + 1,
    128 * KIB - 1,
    128 * KIB,
    128 * KIB + 1,
    192 * KIB,
    192 * KIB + 7,
    256 * KIB + 100,
    1 * MIB,
    1 * MIB + 1,
    3 * MIB + 12345,
};

static void
round_trip_all_sizes(struct ds_rig *rig)
{
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct c2_blob *data = ds_rig_random(i, sizes[i]);
        struct c2_blob *text = ds_rig_text(sizes[i]);
        struct ds_ref a = ds_rig_store(rig, data->data, data->len);
        struct ds_ref b = ds_rig_store(rig, text->data, text->len);
        ds_rig_reopen(rig);
        ds_rig_expect(rig, &a, data, 0, 0);
        ds_rig_expect(rig, &b, text, 0, 0);
        c2_blob_unref(data);
        c2_blob_unref(text);
    }
}

static void
object__reads_back_at_all_sizes(void **state)
{
    (void)state;
    struct ds_rig rig;
    ds_rig_init(&rig, 4, 1);
    ds_rig_open(&rig);
    round_trip_all_sizes(&rig);
    ds_rig_done(&rig);
}

static void
object__reads_back_with_jerasure_and_zlib(void **state)
{
    (void)state;
    struct ds_rig rig;
    ds_rig_init(&rig, 4, 1);
    rig.config.engine = DS_ENGINE_JERASURE;
    rig.config.compress = DS_COMPRESS_ZLIB;
    ds_rig_open(&rig);
    round_trip_all_sizes(&rig);
    ds_rig_done(&rig);
}

static void
object__reads_back_with_seven_seats_and_two_faults(void **state)
{
    (void)state;
    struct ds_rig rig;
    ds_rig_init(&rig, 7, 2);
    ds_rig_open(&rig);
    round_trip_all_sizes(&rig);
    ds_rig_done(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(object__reads_back_at_all_sizes),
        cmocka_unit_test(object__reads_back_with_jerasure_and_zlib),
        cmocka_unit_test(object__reads_back_with_seven_seats_and_two_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
