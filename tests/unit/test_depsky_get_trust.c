/* SPDX-License-Identifier: MIT */
/*
 * What a read believes: absent or unreachable, which key, which root, and objects that nobody has
 * a reference of.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backends/mem.h"
#include "tests/lib/ds_read.h"

#define KIB 1024u
#define MIB (1024u * 1024u)

/* Reads with the placement known; the caller unrefs. */
static struct ds_get
get_placed(struct ds_read *f, uint64_t offset, uint64_t len)
{
    return ds_rig_get_placed(&f->rig, &f->ref, f->placed, offset, len);
}

/* ---- absent or unreachable ------------------------------------------------------------- */

static void
get__says_not_found_only_when_too_few_can_have_it(void **state)
{
    (void)state;
    struct ds_read f = ds_read_open(ds_rig_random(1, 1000));
    struct ds_ref unknown = f.ref;
    unknown.oid.seq = 777;
    struct ds_get g = ds_rig_get(&f.rig, &unknown, 0, 0);
    assert_int_equal(g.err, C2_E_NOT_FOUND);
    ds_rig_fault(&f.rig, 3, "down");
    g = ds_rig_get(&f.rig, &unknown, 0, 0);
    assert_int_equal(g.err, C2_E_NOT_FOUND); /* three of four say so */
    ds_rig_fault(&f.rig, 2, "down");
    g = ds_rig_get(&f.rig, &unknown, 0, 0);
    assert_int_equal(g.err, C2_E_QUORUM); /* the two silent ones may have it */
    ds_read_close(&f);
}

static void
get__does_not_take_unreachable_for_absent(void **state)
{
    (void)state;
    struct ds_read f = ds_read_open(ds_rig_random(1, 1000));
    for (unsigned i = 0; i < 4; i++)
        ds_rig_fault(&f.rig, i, "down");
    struct ds_get g = ds_rig_get(&f.rig, &f.ref, 0, 0);
    assert_int_equal(g.err, C2_E_QUORUM);
    for (unsigned i = 0; i < 4; i++)
        ds_rig_fault(&f.rig, i, "hang");
    g = ds_rig_get(&f.rig, &f.ref, 0, 0);
    assert_int_equal(g.err, C2_E_QUORUM);
    assert_int_equal(g.seats_bad, 0);
    assert_int_equal(g.seats_slow, 0xf);
    ds_read_close(&f);
}

/* One seat never had it, one lies, one is down: it exists all the same. */
static void
get__one_absent_one_liar_one_down_is_not_not_found(void **state)
{
    (void)state;
    struct ds_read f = ds_read_open(ds_rig_random(1, 1000));
    ds_rig_fault(&f.rig, 0, "get.absent");
    ds_rig_fault(&f.rig, 1, "down");
    struct ds_get g = get_placed(&f, 0, 0);
    assert_int_equal(g.err, C2_E_QUORUM);
    ds_read_close(&f);
}

/* ---- keys ------------------------------------------------------------------------------ */

static void
get__with_the_wrong_volume_key_says_so(void **state)
{
    (void)state;
    struct ds_read f = ds_read_open(ds_rig_random(1, 1000));
    f.rig.config.data_key[5] ^= 1;
    ds_rig_reopen(&f.rig);
    for (unsigned i = 0; i < 2; i++) {
        struct ds_get g = ds_rig_get(&f.rig, &f.ref, 0, 0);
        assert_int_equal(g.err, C2_E_KEY);
        assert_int_equal(g.seats_bad, 0);
    }
    ds_read_close(&f);
}

static void
get__of_a_keyless_object_needs_no_key(void **state)
{
    (void)state;
    struct ds_rig rig;
    ds_rig_init(&rig, 4, 1);
    rig.config.keyless = true;
    ds_rig_open(&rig);
    struct c2_blob *data = ds_rig_random(1, 70000);
    struct ds_ref ref = ds_rig_store(&rig, data->data, data->len);
    memset(rig.config.data_key, 0, sizeof(rig.config.data_key));
    rig.config.keyless = false;
    ds_rig_reopen(&rig);
    ds_rig_expect(&rig, &ref, data, 0, 0);
    c2_blob_unref(data);
    ds_rig_done(&rig);
}

static void
get__of_another_volume_is_refused(void **state)
{
    (void)state;
    struct ds_read f = ds_read_open(ds_rig_random(1, 1000));
    f.rig.config.volume[15] ^= 1; /* not part of the key's text */
    ds_rig_reopen(&f.rig);
    struct ds_get g = ds_rig_get(&f.rig, &f.ref, 0, 0);
    assert_int_equal(g.err, C2_E_QUORUM);
    ds_read_close(&f);
}

static void
get__of_an_impossible_reference_is_refused(void **state)
{
    (void)state;
    struct ds_read f = ds_read_open(ds_rig_random(1, 1000));
    static const uint64_t lengths[] = { 0, DS_OBJECT_SIZE_MAX + 1, UINT64_MAX };
    for (size_t i = 0; i < C2_ARRAY_LEN(lengths); i++) {
        struct ds_ref wrong = f.ref;
        wrong.plain_len = lengths[i];
        struct ds_get g = ds_rig_get(&f.rig, &wrong, 0, 0);
        assert_int_equal(g.err, C2_E_INVALID);
    }
    assert_int_equal(ds_rig_requests(&f.rig, PROV_GET), 0);
    ds_read_close(&f);
}

static void
get__with_another_root_is_refused(void **state)
{
    (void)state;
    struct ds_read f = ds_read_open(ds_rig_random(1, 1000));
    struct ds_ref wrong = f.ref;
    wrong.root[0] ^= 1;
    struct ds_get g = ds_rig_get(&f.rig, &wrong, 0, 0);
    assert_int_equal(g.err, C2_E_QUORUM);
    ds_read_close(&f);
}

/* ---- self-certified -------------------------------------------------------------------- */

static struct ds_get
get_self_certified(struct ds_read *f)
{
    struct ds_ref name = { .oid = { .sid = f->ref.oid.sid, .seq = f->ref.oid.seq } };
    return ds_rig_get_self_certified(&f->rig, &name);
}

static void
self_certified__takes_what_k_seats_agree_on(void **state)
{
    (void)state;
    struct ds_read f = ds_read_open(ds_rig_text(300000));
    struct ds_get g = get_self_certified(&f);
    assert_int_equal(g.err, C2_E_OK);
    assert_int_equal(g.data->len, f.data->len);
    assert_memory_equal(g.data->data, f.data->data, f.data->len);
    assert_memory_equal(g.ref_found.root, f.ref.root, sizeof(f.ref.root));
    assert_int_equal(g.ref_found.plain_len, f.ref.plain_len);
    assert_memory_equal(g.ref_found.oid.rnd, f.ref.oid.rnd, 8);
    c2_blob_unref(g.data);
    ds_read_close(&f);
}

/* Puts another object under the same key: what one seat returns in place of the real one. */
static struct ds_read
with_two_versions(uint32_t seats_with_other)
{
    struct ds_read f = ds_read_open(ds_rig_random(1, 100000));
    struct ds_rig other;
    char key[PROV_KEY_MAX];
    ds_rig_init(&other, 4, 1);
    other.config.write_all = true;
    ds_rig_open(&other);
    struct c2_blob *data = ds_rig_random(2, 100000);
    ds_rig_store(&other, data->data, data->len);
    ds_rig_key(&f.rig, &f.ref, key);
    for (unsigned i = 0; i < 4; i++) {
        if ((seats_with_other & (1u << i)) != 0)
            prov_mem_store(f.rig.mem[i], key, c2_blob_slice(prov_mem_peek(other.mem[i], key)));
    }
    c2_blob_unref(data);
    ds_rig_done(&other);
    return f;
}

static void
self_certified__is_not_fooled_by_one_seat(void **state)
{
    (void)state;
    for (unsigned seat = 0; seat < 4; seat++) {
        struct ds_read f = with_two_versions(1u << seat);
        struct ds_get g = get_self_certified(&f);
        assert_int_equal(g.err, C2_E_OK);
        assert_memory_equal(g.data->data, f.data->data, f.data->len);
        c2_blob_unref(g.data);
        ds_read_close(&f);
    }
}

static void
self_certified__without_agreement_is_an_error(void **state)
{
    (void)state;
    struct ds_read f = with_two_versions(0x1);
    ds_rig_fault(&f.rig, 2, "down");
    struct ds_get g = get_self_certified(&f);
    assert_int_equal(g.err, C2_E_QUORUM);
    ds_read_close(&f);
}

static void
self_certified__survives_every_fault_of_one_seat(void **state)
{
    (void)state;
    for (size_t k = 0; k < ds_read_faults_count; k++) {
        for (unsigned seat = 0; seat < 4; seat++) {
            struct ds_read f = ds_read_open(ds_rig_random(k, 50000));
            ds_read_add_other(&f);
            ds_rig_fault(&f.rig, seat, ds_read_faults[k]);
            struct ds_get g = get_self_certified(&f);
            assert_int_equal(g.err, C2_E_OK);
            assert_memory_equal(g.data->data, f.data->data, f.data->len);
            c2_blob_unref(g.data);
            ds_read_close(&f);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(get__says_not_found_only_when_too_few_can_have_it),
        cmocka_unit_test(get__does_not_take_unreachable_for_absent),
        cmocka_unit_test(get__one_absent_one_liar_one_down_is_not_not_found),
        cmocka_unit_test(get__with_the_wrong_volume_key_says_so),
        cmocka_unit_test(get__of_a_keyless_object_needs_no_key),
        cmocka_unit_test(get__of_another_volume_is_refused),
        cmocka_unit_test(get__of_an_impossible_reference_is_refused),
        cmocka_unit_test(get__with_another_root_is_refused),
        cmocka_unit_test(self_certified__takes_what_k_seats_agree_on),
        cmocka_unit_test(self_certified__is_not_fooled_by_one_seat),
        cmocka_unit_test(self_certified__without_agreement_is_an_error),
        cmocka_unit_test(self_certified__survives_every_fault_of_one_seat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
