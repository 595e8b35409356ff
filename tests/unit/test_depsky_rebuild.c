/* SPDX-License-Identifier: MIT */
/*
 * Checks count only verified shares; a rebuilt share equals the lost one, whoever helps or lies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backends/mem.h"
#include "backends/registry.h"
#include "base/crypto.h"
#include "base/mark.h"
#include "depsky/reshare.h"
#include "tests/lib/ds_rig.h"
#include "tests/lib/test_env.h"

struct fixture {
    struct ds_rig rig;
    struct c2_blob *data;
    struct ds_ref ref;
    char key[PROV_KEY_MAX];
};

/* All four seats hold their share. Takes over data. */
static struct fixture
with_object(unsigned n, unsigned faults, struct c2_blob *data)
{
    struct fixture f;
    ds_rig_init(&f.rig, n, faults);
    f.rig.config.write_all = true;
    ds_rig_open(&f.rig);
    f.data = data;
    f.ref = ds_rig_store(&f.rig, data->data, data->len);
    ds_rig_key(&f.rig, &f.ref, f.key);
    memset(f.rig.config.data_key, 0, sizeof(f.rig.config.data_key)); /* repair needs none */
    ds_rig_reopen(&f.rig);
    c2_mark_reset();
    return f;
}

static void
close_all(struct fixture *f)
{
    c2_blob_unref(f->data);
    ds_rig_done(&f->rig);
}

struct waited_check {
    struct ds_check k;
    bool done;
};

static void
check_done(struct ds_check *k)
{
    C2_CONTAINER_OF(k, struct waited_check, k)->done = true;
}

static struct ds_check
check(struct fixture *f, uint32_t seats, bool headers_only)
{
    struct waited_check w = { .k = { .ref = f->ref, .seats = seats } };
    w.k.headers_only = headers_only;
    w.k.done = check_done;
    ds_check_start(f->rig.c, &w.k);
    assert_false(w.done);
    test_env_run_until(f->rig.t, &w.done);
    return w.k;
}

struct waited_rebuild {
    struct ds_rebuild r;
    bool done;
};

static void
rebuild_done(struct ds_rebuild *r)
{
    C2_CONTAINER_OF(r, struct waited_rebuild, r)->done = true;
}

static struct ds_rebuild
rebuild(struct fixture *f, unsigned seat, struct provider *source)
{
    struct waited_rebuild w = { .r = { .ref = f->ref, .seat = seat, .source = source } };
    w.r.done = rebuild_done;
    ds_rebuild_start(f->rig.c, &w.r);
    assert_false(w.done);
    test_env_run_until(f->rig.t, &w.done);
    return w.r;
}

static void
check__tells_good_absent_bad_and_unknown_apart(void **state)
{
    (void)state;
    struct fixture f = with_object(4, 1, ds_rig_text(300000));
    struct ds_check k = check(&f, 0, false);
    assert_int_equal(k.good, 0xf);
    size_t all = 0;
    for (unsigned i = 0; i < 4; i++)
        all += prov_mem_peek(f.rig.mem[i], f.key)->len;
    assert_int_equal(k.bytes_read, all);
    prov_mem_delete(f.rig.mem[0], f.key);
    prov_mem_corrupt(f.rig.mem[1], f.key, prov_mem_peek(f.rig.mem[1], f.key)->len - 1);
    ds_rig_fault(&f.rig, 2, "down");
    k = check(&f, 0, false);
    assert_int_equal(k.absent, 0x1);
    assert_int_equal(k.bad, 0x2);
    assert_int_equal(k.unknown, 0x4);
    assert_int_equal(k.good, 0x8);
    k = check(&f, 0x9, false);
    assert_int_equal(k.absent | k.good, 0x9);
    assert_int_equal(k.bad | k.unknown, 0);
    close_all(&f);
}

static void
check__of_headers_is_cheap_and_sees_lengths(void **state)
{
    (void)state;
    struct fixture f = with_object(4, 1, ds_rig_random(1, 4000000));
    prov_mem_truncate(f.rig.mem[2], f.key, prov_mem_peek(f.rig.mem[2], f.key)->len - 1);
    struct ds_check k = check(&f, 0, true);
    assert_int_equal(k.good, 0xb);
    assert_int_equal(k.bad, 0x4);
    assert_true(k.bytes_read < 4 * 4096);
    close_all(&f);
}

static void
check__is_not_fooled_by_any_fault(void **state)
{
    (void)state;
    static const char *const faults[] = { "get.empty", "get.corrupt", "get.truncate", "get.huge",
                                          "get.swap" };
    struct fixture f = with_object(4, 1, ds_rig_random(1, 90000));
    struct c2_blob *other = ds_rig_random(2, 90000);
    ds_rig_store(&f.rig, other->data, other->len);
    c2_blob_unref(other);
    for (size_t i = 0; i < C2_ARRAY_LEN(faults); i++) {
        ds_rig_fault(&f.rig, 3, faults[i]);
        assert_int_equal(check(&f, 0, false).bad, 0x8);
    }
    close_all(&f);
}

static void
rebuild_every_seat(struct fixture *f)
{
    for (unsigned seat = 0; seat < f->rig.config.n; seat++) {
        const struct c2_blob *stored = prov_mem_peek(f->rig.mem[seat], f->key);
        struct c2_blob *before = c2_blob_copy(stored->data, stored->len);
        assert_true(prov_mem_delete(f->rig.mem[seat], f->key));
        struct ds_rebuild r = rebuild(f, seat, NULL);
        assert_int_equal(r.err, C2_E_OK);
        assert_int_equal(r.bytes_written, before->len);
        assert_true(c2_slice_equal(c2_blob_slice(prov_mem_peek(f->rig.mem[seat], f->key)),
                                   c2_blob_slice(before)));
        c2_blob_unref(before);
    }
}

/* Which object, what it should be, what came; the same again is counted. */
static void
evidence__is_kept_of_what_a_seat_gave_instead(void **state)
{
    (void)state;
    struct fixture f = with_object(4, 1, ds_rig_text(30000));
    size_t n;
    uint64_t version;
    uint8_t hash[C2_SHA256_LEN];
    check(&f, 0, false);
    ds_client_evidence(f.rig.c, &n, &version);
    assert_int_equal(n, 0);
    prov_mem_corrupt(f.rig.mem[1], f.key, prov_mem_peek(f.rig.mem[1], f.key)->len - 1);
    const struct c2_blob *bad = prov_mem_peek(f.rig.mem[1], f.key);
    c2_sha256(c2_blob_slice(bad), hash);
    check(&f, 0, false);
    check(&f, 0, false);
    const struct ds_evidence *e = ds_client_evidence(f.rig.c, &n, &version);
    assert_int_equal(n, 1);
    assert_int_equal(e->count, 2);
    assert_int_equal(e->seat, 1);
    assert_string_equal(e->key, f.key);
    assert_memory_equal(e->expected, f.ref.root, DS_ROOT_LEN);
    assert_memory_equal(e->found, hash, sizeof(hash));
    assert_int_equal(e->len, bad->len);
    for (unsigned k = 0; k < 2 * DS_EVIDENCE_MAX; k++) { /* something else every time */
        prov_mem_corrupt(f.rig.mem[1], f.key, k);
        check(&f, 2, false);
    }
    ds_client_evidence(f.rig.c, &n, &version);
    assert_int_equal(n, DS_EVIDENCE_MAX);
    close_all(&f);
}

static void
rebuild__gives_the_same_bytes_on_every_seat(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 70000, 200001 };
    for (size_t i = 0; i < C2_ARRAY_LEN(sizes); i++) {
        struct fixture f = with_object(4, 1, ds_rig_random(i, sizes[i]));
        rebuild_every_seat(&f);
        close_all(&f);
        f = with_object(4, 1, ds_rig_text(sizes[i]));
        rebuild_every_seat(&f);
        close_all(&f);
        f = with_object(7, 2, ds_rig_text(sizes[i]));
        rebuild_every_seat(&f);
        close_all(&f);
    }
}

static void
rebuild__replaces_a_damaged_share(void **state)
{
    (void)state;
    struct fixture f = with_object(4, 1, ds_rig_random(1, 100000));
    prov_mem_corrupt(f.rig.mem[1], f.key, 2000);
    assert_int_equal(check(&f, 0, false).bad, 0x2);
    assert_int_equal(rebuild(&f, 1, NULL).err, C2_E_OK);
    assert_int_equal(check(&f, 0, false).good, 0xf);
    close_all(&f);
}

static void
rebuild__reads_around_a_faulty_helper(void **state)
{
    (void)state;
    static const char *const faults[] = { "get.corrupt", "get.absent", "get.error", "get.hang",
                                          "get.truncate" };
    for (size_t i = 0; i < C2_ARRAY_LEN(faults); i++) {
        struct fixture f = with_object(4, 1, ds_rig_random(1, 100000));
        prov_mem_delete(f.rig.mem[2], f.key);
        ds_rig_fault(&f.rig, 0, faults[i]);
        assert_int_equal(rebuild(&f, 2, NULL).err, C2_E_OK);
        ds_rig_fault(&f.rig, 0, "");
        assert_int_equal(check(&f, 0, false).good, 0xf);
        ds_rig_fault(&f.rig, 0, faults[i]);
        ds_rig_fault(&f.rig, 1, "get.corrupt");
        assert_int_equal(rebuild(&f, 2, NULL).err, C2_E_QUORUM);
        close_all(&f);
    }
}

/* Only the result is hashed: when it is wrong, the shares are, and who lied is found and left out.
 */
static void
rebuild__finds_out_whose_body_was_wrong(void **state)
{
    (void)state;
    struct fixture f = with_object(7, 2, ds_rig_random(1, 300000));
    size_t last = prov_mem_peek(f.rig.mem[0], f.key)->len - 1;
    prov_mem_delete(f.rig.mem[3], f.key);
    prov_mem_corrupt(f.rig.mem[0], f.key, last);
    prov_mem_corrupt(f.rig.mem[1], f.key, last);
    prov_mem_corrupt(f.rig.mem[2], f.key, last - 40000);
    assert_int_equal(rebuild(&f, 3, NULL).err, C2_E_OK);
    assert_true(c2_mark_count("rebuild: a share was wrong") >= 1);
    size_t n;
    uint64_t version;
    const struct ds_evidence *e = ds_client_evidence(f.rig.c, &n, &version);
    assert_true(n >= 1);
    for (size_t i = 0; i < n; i++) {
        uint8_t hash[C2_SHA256_LEN];
        struct c2_slice got = c2_blob_slice(prov_mem_peek(f.rig.mem[e[i].seat], f.key));
        got.len = C2_MIN(got.len, (size_t)DS_EVIDENCE_BYTES);
        c2_sha256(got, hash);
        assert_memory_equal(e[i].found, hash, sizeof(hash));
    }
    assert_int_equal(check(&f, 0, false).good, 0x78);
    struct ds_seat_status s;
    unsigned suspects = 0;
    for (unsigned seat = 0; seat < 3; seat++) {
        ds_seat_status(f.rig.c, seat, &s);
        suspects += s.corrupt > 0;
    }
    assert_int_equal(suspects, 3);
    /* Two good ones are left of three that it takes: nothing is written. */
    prov_mem_delete(f.rig.mem[3], f.key);
    prov_mem_corrupt(f.rig.mem[4], f.key, last);
    prov_mem_corrupt(f.rig.mem[5], f.key, last);
    assert_int_equal(rebuild(&f, 3, NULL).err, C2_E_QUORUM);
    assert_null(prov_mem_peek(f.rig.mem[3], f.key));
    close_all(&f);
}

/* In the memory of the first helper: it is back when the second one turns out to have lied. */
static void
reshare__changes_the_first_share_only_when_all_is_well(void **state)
{
    (void)state;
    static const enum ds_engine engines[] = { DS_ENGINE_ISAL, DS_ENGINE_JERASURE };
    struct fixture f = with_object(4, 1, ds_rig_random(1, 700001));
    const struct c2_blob *want = prov_mem_peek(f.rig.mem[3], f.key);
    for (size_t e = 0; e < C2_ARRAY_LEN(engines); e++) {
        struct ds_share sh[2];
        struct ds_reshare r = { .engine = engines[e], .seat = 3 };
        for (unsigned i = 0; i < 2; i++) {
            const struct c2_blob *is = prov_mem_peek(f.rig.mem[i + 1], f.key);
            r.blob[i] = c2_blob_copy(is->data, is->len);
            assert_int_equal(ds_share_decode(c2_blob_slice(r.blob[i]), &sh[i]), C2_E_OK);
            r.have[i] = &sh[i];
        }
        r.blob[1]->data[r.blob[1]->len - 1] ^= 1;
        ds_codec_reshare(&r);
        assert_int_equal(r.err, C2_E_CORRUPT);
        assert_null(r.out);
        assert_true(c2_slice_equal(c2_blob_slice(r.blob[0]),
                                   c2_blob_slice(prov_mem_peek(f.rig.mem[1], f.key))));
        r.blob[1]->data[r.blob[1]->len - 1] ^= 1;
        ds_codec_reshare(&r);
        assert_int_equal(r.err, C2_E_OK);
        assert_ptr_equal(r.out, r.blob[0]);
        assert_true(c2_slice_equal(c2_blob_slice(r.out), c2_blob_slice(want)));
        c2_blob_unref(r.out);
        for (unsigned i = 0; i < 2; i++)
            c2_blob_unref(r.blob[i]);
    }
    close_all(&f);
}

static void
rebuild__copies_from_the_leaving_provider(void **state)
{
    (void)state;
    struct fixture f = with_object(4, 1, ds_rig_random(1, 100000));
    struct provider *old = f.rig.seat[3];
    ds_rig_close(&f.rig);
    struct provider *new_mem = prov_mem_new(f.rig.env, "new");
    f.rig.seat[3] = new_mem;
    ds_rig_open(&f.rig);
    uint64_t before = ds_rig_requests(&f.rig, PROV_GET);
    struct ds_rebuild r = rebuild(&f, 3, old);
    assert_int_equal(r.err, C2_E_OK);
    assert_int_equal(ds_rig_requests(&f.rig, PROV_GET), before + 1); /* of the old one only */
    assert_int_equal(c2_mark_count("rebuild: copied from the leaving provider"), 1);
    assert_int_equal(r.bytes_written, r.bytes_read);
    assert_true(c2_slice_equal(c2_blob_slice(prov_mem_peek(new_mem, f.key)),
                               c2_blob_slice(prov_mem_peek(f.rig.mem[3], f.key))));
    prov_mem_clear(new_mem);
    prov_mem_corrupt(f.rig.mem[3], f.key, 700); /* the leaving one lies */
    r = rebuild(&f, 3, old);
    assert_int_equal(r.err, C2_E_OK);
    assert_int_equal(c2_mark_count("rebuild: the leaving provider cannot give it"), 1);
    struct ds_seat_status status;
    ds_seat_status(f.rig.c, 3, &status);
    assert_int_equal(status.corrupt, 0); /* the new one is not to blame */
    assert_int_equal(check(&f, 0, false).good, 0xf);
    ds_rig_close(&f.rig);
    prov_close(new_mem);
    f.rig.seat[3] = old;
    ds_rig_open(&f.rig);
    close_all(&f);
}

static void
rebuild__reports_why_it_could_not(void **state)
{
    (void)state;
    struct fixture f = with_object(4, 1, ds_rig_random(1, 100000));
    ds_rig_fault(&f.rig, 1, "put.error");
    assert_int_equal(rebuild(&f, 1, NULL).err, C2_E_UNAVAILABLE);
    ds_rig_fault(&f.rig, 1, "");
    uint64_t plain_len = f.ref.plain_len;
    f.ref.plain_len = UINT64_MAX; /* from damaged metadata */
    assert_int_equal(rebuild(&f, 1, NULL).err, C2_E_INVALID);
    assert_int_equal(check(&f, 0, false).good, 0);
    f.ref.plain_len = plain_len;
    for (unsigned i = 0; i < 4; i++)
        prov_mem_delete(f.rig.mem[i], f.key);
    assert_int_equal(rebuild(&f, 1, NULL).err, C2_E_NOT_FOUND);
    ds_rig_fault(&f.rig, 0, "down"); /* alone it would not be enough */
    assert_int_equal(rebuild(&f, 1, NULL).err, C2_E_NOT_FOUND);
    ds_rig_fault(&f.rig, 2, "down");
    assert_int_equal(rebuild(&f, 1, NULL).err, C2_E_QUORUM);
    close_all(&f);
}

/* A fifth seat: old objects keep their four rows, new ones choose three of five. */
static void
client__with_a_seat_more_reads_what_was_written_before(void **state)
{
    (void)state;
    struct fixture f = with_object(4, 1, ds_rig_text(300000));
    ds_rig_close(&f.rig);
    f.rig.mem[4] = prov_mem_new(f.rig.env, "cloud4");
    assert_int_equal(prov_fault_new(f.rig.mem[4], "", 5, &f.rig.seat[4]), C2_E_OK);
    f.rig.config.n = 5;
    f.rig.config.write_all = false;
    memset(f.rig.config.data_key, 0x5a, sizeof(f.rig.config.data_key));
    ds_rig_open(&f.rig);
    ds_rig_expect(&f.rig, &f.ref, f.data, 1000, 200000);
    assert_int_equal(rebuild(&f, 4, NULL).err, C2_E_INVALID);
    ds_rig_fault(&f.rig, 0, "down");
    ds_rig_fault(&f.rig, 1, "down");
    struct ds_put p = ds_rig_put(&f.rig, f.data->data, f.data->len);
    assert_int_equal(p.err, C2_E_OK);
    assert_int_equal(p.placed, 0x1c);
    ds_rig_reopen(&f.rig);
    ds_rig_fault(&f.rig, 2, "get.corrupt");
    ds_rig_expect(&f.rig, &p.ref, f.data, 0, 0);
    close_all(&f);
}

static void
rebuild__ends_soon_when_the_client_drains(void **state)
{
    (void)state;
    struct fixture f = with_object(4, 1, ds_rig_random(1, 100000));
    for (unsigned i = 0; i < 4; i++)
        ds_rig_fault(&f.rig, i, "hang");
    struct waited_rebuild w = { .r = { .ref = f.ref, .seat = 1, .done = rebuild_done } };
    struct waited_check k = { .k = { .ref = f.ref, .done = check_done } };
    ds_rebuild_start(f.rig.c, &w.r);
    ds_check_start(f.rig.c, &k.k);
    test_env_run_for(f.rig.t, C2_NS_PER_S);
    uint64_t start = c2_now_ns(f.rig.env);
    ds_rig_close(&f.rig);
    assert_true(w.done && k.done);
    assert_int_equal(w.r.err, C2_E_QUORUM);
    assert_int_equal(k.k.unknown, 0xf);
    assert_int_equal(c2_now_ns(f.rig.env), start);
    ds_rig_open(&f.rig);
    close_all(&f);
}

static void
rebuild__ends_soon_when_the_client_quiesces_and_reads_go_on(void **state)
{
    (void)state;
    struct fixture f = with_object(4, 1, ds_rig_random(1, 100000));
    ds_rig_fault(&f.rig, 1, "put.hang");
    struct waited_rebuild w = { .r = { .ref = f.ref, .seat = 1, .done = rebuild_done } };
    ds_rebuild_start(f.rig.c, &w.r);
    test_env_run_for(f.rig.t, C2_NS_PER_S);
    assert_false(w.done);
    uint64_t start = c2_now_ns(f.rig.env);
    ds_client_quiesce(f.rig.c);
    test_env_run_until(f.rig.t, &w.done);
    assert_int_equal(w.r.err, C2_E_CANCELED);
    ds_rig_fault(&f.rig, 2, "get.hang");
    assert_int_equal(check(&f, 0, true).unknown, 0x4);
    assert_int_equal(c2_now_ns(f.rig.env), start);
    struct ds_get g = ds_rig_get(&f.rig, &f.ref, 0, 0);
    assert_int_equal(g.err, C2_E_KEY); /* it got as far as to the key, which this client lacks */
    close_all(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check__tells_good_absent_bad_and_unknown_apart),
        cmocka_unit_test(check__of_headers_is_cheap_and_sees_lengths),
        cmocka_unit_test(check__is_not_fooled_by_any_fault),
        cmocka_unit_test(evidence__is_kept_of_what_a_seat_gave_instead),
        cmocka_unit_test(rebuild__gives_the_same_bytes_on_every_seat),
        cmocka_unit_test(rebuild__replaces_a_damaged_share),
        cmocka_unit_test(rebuild__reads_around_a_faulty_helper),
        cmocka_unit_test(rebuild__finds_out_whose_body_was_wrong),
        cmocka_unit_test(reshare__changes_the_first_share_only_when_all_is_well),
        cmocka_unit_test(rebuild__copies_from_the_leaving_provider),
        cmocka_unit_test(rebuild__reports_why_it_could_not),
        cmocka_unit_test(client__with_a_seat_more_reads_what_was_written_before),
        cmocka_unit_test(rebuild__ends_soon_when_the_client_drains),
        cmocka_unit_test(rebuild__ends_soon_when_the_client_quiesces_and_reads_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
