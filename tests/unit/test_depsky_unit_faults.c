/* SPDX-License-Identifier: MIT */
/*
 * The faults of the reference implementation in Java (docs/depsky.md lists them), one test each or
 * more, so that none of them comes back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "backends/mem.h"
#include "backends/registry.h"
#include "base/alloc.h"
#include "base/crypto.h"
#include "base/mark.h"
#include "base/wire.h"
#include "depsky/share.h"
#include "depsky/unit_impl.h"
#include "tests/lib/prov_gate.h"
#include "tests/lib/test_env.h"
#include "tests/lib/unit_rig.h"

static const enum ds_unit_protocol both[] = { DS_UNIT_A, DS_UNIT_CA };

struct fixture {
    struct unit_rig rig;
    struct ds_unit *a, *b, *reader; /* a writes alone */
};

static struct fixture
open_size(unsigned n, unsigned faults)
{
    struct fixture f;
    unit_rig_init(&f.rig, n, faults);
    f.a = unit_rig_open(&f.rig, "unit", 0, true);
    f.b = unit_rig_open(&f.rig, "unit", 1, false);
    f.reader = unit_rig_open(&f.rig, "unit", UNIT_RIG_NOBODY, false);
    c2_mark_reset();
    return f;
}

static void
close_all(struct fixture *f)
{
    ds_unit_close(f->a);
    ds_unit_close(f->b);
    ds_unit_close(f->reader);
    unit_rig_done(&f->rig);
}

static struct ds_share
share_at(struct fixture *f, unsigned seat, size_t index)
{
    struct ds_share sh;
    const char *key = unit_rig_key(&f->rig, seat, "/v/", index);
    assert_non_null(key);
    struct c2_slice bytes = c2_blob_slice(prov_mem_peek(f->rig.ds.mem[seat], key));
    assert_int_equal(ds_share_decode(bytes, &sh), C2_E_OK);
    return sh;
}

/* B1: polynomial coefficients were constants, so one share gave the key. */
static void
fault_b1__key_shares_are_random_per_version(void **state)
{
    (void)state;
    struct fixture f = open_size(4, 1);
    uint8_t slope[3][DS_SECRET_LEN];
    for (unsigned i = 0; i < 3; i++) {
        unit_rig_store(&f.rig, f.a, DS_UNIT_CA, "the same value");
        struct ds_share s0 = share_at(&f, 0, 0); /* the newest comes first */
        struct ds_share s1 = share_at(&f, 1, 0);
        for (unsigned k = 0; k < DS_SECRET_LEN; k++)
            slope[i][k] = s0.y[k] ^ s1.y[k]; /* coefficient times a constant */
        for (unsigned k = 0; k < i; k++)
            assert_memory_not_equal(slope[i], slope[k], DS_SECRET_LEN);
        assert_memory_not_equal(s0.y, s1.y, DS_SECRET_LEN); /* a zero one would give it away */
    }
    close_all(&f);
}

static void
fault_b1__one_cloud_alone_gives_nothing(void **state)
{
    (void)state;
    struct fixture f = open_size(4, 1);
    unit_rig_store(&f.rig, f.a, DS_UNIT_CA, "secret");
    unit_rig_expect(&f.rig, f.reader, 0, "secret"); /* the metadata is known */
    ds_rig_reopen(&f.rig.ds);
    for (unsigned i = 1; i < 4; i++)
        ds_rig_fault(&f.rig.ds, i, "get.down");
    ds_unit_close(f.reader);
    f.reader = unit_rig_open(&f.rig, "unit", UNIT_RIG_NOBODY, false);
    assert_int_equal(unit_rig_read(&f.rig, f.reader, 0).err, C2_E_QUORUM);
    ds_unit_close(f.a);
    ds_unit_close(f.b);
    f.a = unit_rig_open(&f.rig, "unit", 0, true);
    f.b = NULL;
    close_all(&f);
}

/* B2: a constant IV and no authentication. */
static void
fault_b2__equal_values_have_different_ciphertexts(void **state)
{
    (void)state;
    struct fixture f = open_size(4, 1);
    struct c2_blob *value = ds_rig_random(1, 1000);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(unit_rig_write(&f.rig, f.a, DS_UNIT_CA, value->data, value->len).err,
                         C2_E_OK);
    const struct c2_blob *one = prov_mem_peek(f.rig.ds.mem[0], unit_rig_key(&f.rig, 0, "/v/", 0));
    const struct c2_blob *two = prov_mem_peek(f.rig.ds.mem[0], unit_rig_key(&f.rig, 0, "/v/", 1));
    assert_int_equal(one->len, two->len);
    unsigned equal = 0;
    for (size_t i = one->len - 400; i < one->len; i++) /* ciphertext only */
        equal += one->data[i] == two->data[i];
    assert_true(equal < 40);
    c2_blob_unref(value);
    close_all(&f);
}

static void
fault_b2__no_changed_byte_is_accepted(void **state)
{
    (void)state;
    for (unsigned i = 0; i < C2_ARRAY_LEN(both); i++) {
        struct fixture f = open_size(4, 1);
        unit_rig_store(&f.rig, f.a, both[i], "authenticated");
        for (unsigned seat = 0; seat < 3; seat++) {
            const char *key = unit_rig_key(&f.rig, seat, "/v/", 0);
            size_t len = prov_mem_peek(f.rig.ds.mem[seat], key)->len;
            prov_mem_corrupt(f.rig.ds.mem[seat], key, len - 1);
        }
        assert_int_equal(unit_rig_read(&f.rig, f.reader, 0).err, C2_E_QUORUM);
        close_all(&f);
    }
}

static bool
contains(const struct c2_blob *b, const char *text)
{
    return memmem(b->data, b->len, text, strlen(text)) != NULL;
}

/* B3: two clouds held halves of the plaintext's ciphertext under a key that one of them had. */
static void
fault_b3__no_cloud_holds_a_readable_part(void **state)
{
    (void)state;
    struct fixture f = open_size(4, 1);
    struct c2_buf text = { 0 };
    for (unsigned i = 0; i < 500; i++)
        c2_buf_printf(&text, "patient %u has ", i);
    unit_rig_store(&f.rig, f.a, DS_UNIT_CA, c2_buf_cstr(&text));
    for (unsigned seat = 0; seat < 4; seat++) {
        for (size_t i = 0; i < prov_mem_count(f.rig.ds.mem[seat]); i++) {
            const char *key = prov_mem_key(f.rig.ds.mem[seat], i);
            const struct c2_blob *b = prov_mem_peek(f.rig.ds.mem[seat], key);
            assert_false(contains(b, "patient"));
            assert_false(contains(b, " has "));
        }
    }
    unit_rig_expect(&f.rig, f.reader, 0, c2_buf_cstr(&text));
    c2_buf_done(&text);
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

static size_t
count_everywhere(struct fixture *f, const char *part)
{
    size_t count = 0;
    for (unsigned i = 0; i < f->rig.ds.config.n; i++)
        count += unit_rig_count(&f->rig, i, part);
    return count;
}

/* B4: metadata went to a cloud as soon as that cloud had its value. */
static void
fault_b4__no_metadata_before_the_value_is_stable(void **state)
{
    (void)state;
    for (unsigned i = 0; i < C2_ARRAY_LEN(both); i++) {
        struct fixture f = open_size(4, 1);
        struct c2_slice piece = c2_slice_str("value");
        struct waited_write w = {
            .w = { .protocol = both[i], .data = &piece, .ndata = 1, .done = write_done }
        };
        for (unsigned seat = 2; seat < 4; seat++)
            prov_gate_close(f.rig.gate[seat], PROV_PUT, "/v/");
        ds_unit_write_start(f.a, &w.w);
        test_env_run_for(f.rig.ds.t, 20 * C2_NS_PER_S);
        assert_int_equal(count_everywhere(&f, "/v/"), 2);
        assert_int_equal(count_everywhere(&f, "/m/"), 0);
        assert_false(w.done);
        prov_gate_open(f.rig.gate[2]);
        ds_rig_wait(&f.rig.ds, &w.done);
        assert_int_equal(w.w.err, C2_E_OK);
        assert_true(count_everywhere(&f, "/m/") >= 3);
        prov_gate_open(f.rig.gate[3]);
        close_all(&f);
    }
}

/* B5: replies were counted, not acknowledgements. */
static void
fault_b5__failed_replies_are_no_acknowledgements(void **state)
{
    (void)state;
    static const char *const faults[] = { "put.error", "put.throttle", "put.noack", "down" };
    for (unsigned i = 0; i < 2 * C2_ARRAY_LEN(faults); i++) {
        struct fixture f = open_size(4, 1);
        ds_rig_fault(&f.rig.ds, 0, faults[i / 2]);
        ds_rig_fault(&f.rig.ds, 2, faults[i / 2]);
        struct ds_unit_write w = unit_rig_write(&f.rig, f.a, both[i % 2], "value", 5);
        assert_int_equal(w.err, C2_E_QUORUM);
        assert_int_equal(w.published, 0);
        assert_int_equal(count_everywhere(&f, "/m/"), 0);
        close_all(&f);
    }
}

/* B6: two clouds that did not answer were "the first write": numbers and history began anew. */
static void
fault_b6__two_unreachable_clouds_are_no_first_write(void **state)
{
    (void)state;
    static const char *const faults[] = { "down", "error", "throttle", "hang" };
    for (unsigned i = 0; i < C2_ARRAY_LEN(faults); i++) {
        struct fixture f = open_size(4, 1);
        unit_rig_store(&f.rig, f.a, DS_UNIT_A, "one");
        unit_rig_store(&f.rig, f.a, DS_UNIT_A, "two");
        ds_unit_close(f.a);
        f.a = unit_rig_open(&f.rig, "unit", 0, true); /* knows nothing */
        ds_rig_fault(&f.rig.ds, 0, faults[i]);
        ds_rig_fault(&f.rig.ds, 1, faults[i]);
        assert_int_equal(unit_rig_write(&f.rig, f.a, DS_UNIT_A, "x", 1).err, C2_E_QUORUM);
        ds_rig_fault(&f.rig.ds, 1, "");
        assert_int_equal(unit_rig_store(&f.rig, f.a, DS_UNIT_A, "three"), 3);
        ds_rig_fault(&f.rig.ds, 0, "");
        struct ds_unit_versions v = unit_rig_versions(&f.rig, f.reader);
        assert_int_equal(v.nitems, 3);
        c2_free(v.items);
        close_all(&f);
    }
}

/* B7: an old version was decoded although a newer one was known. */
static void
fault_b7__an_old_version_never_stands_in_for_a_newer_one(void **state)
{
    (void)state;
    for (unsigned i = 0; i < C2_ARRAY_LEN(both); i++) {
        struct fixture f = open_size(4, 1);
        unit_rig_store(&f.rig, f.a, both[i], "old");
        unit_rig_store(&f.rig, f.a, both[i], "new");
        unit_rig_expect(&f.rig, f.reader, 1, "old");
        /* Two of the three blocks of the new version are lost, one more than may be. */
        for (unsigned seat = 0; seat < 2; seat++)
            assert_true(prov_mem_delete(f.rig.ds.mem[seat], unit_rig_key(&f.rig, seat, "/v/", 0)));
        struct ds_unit_read r = unit_rig_read(&f.rig, f.reader, 0);
        if (both[i] == DS_UNIT_A) { /* one replica is enough */
            assert_int_equal(r.err, C2_E_OK);
            assert_int_equal(r.found.version, 2);
            c2_blob_unref(r.data);
        } else {
            assert_int_equal(r.err, C2_E_QUORUM);
        }
        close_all(&f);
    }
}

static void
fault_b7__stale_clouds_do_not_hide_the_newest_version(void **state)
{
    (void)state;
    struct fixture f = open_size(4, 1);
    unit_rig_store(&f.rig, f.a, DS_UNIT_A, "old");
    unit_rig_store(&f.rig, f.a, DS_UNIT_A, "new");
    for (unsigned stale = 0; stale < 4; stale++) {
        struct ds_unit *fresh = unit_rig_open(&f.rig, "unit", UNIT_RIG_NOBODY, false);
        char *key = c2_strdup(unit_rig_key(&f.rig, stale, "/m/", 0));
        struct c2_blob *meta = c2_blob_copy(prov_mem_peek(f.rig.ds.mem[stale], key)->data,
                                            prov_mem_peek(f.rig.ds.mem[stale], key)->len);
        assert_true(prov_mem_delete(f.rig.ds.mem[stale], key)); /* shows the old one now */
        unit_rig_expect(&f.rig, fresh, 0, "new");
        prov_mem_store(f.rig.ds.mem[stale], key, c2_blob_slice(meta));
        c2_blob_unref(meta);
        c2_free(key);
        ds_unit_close(fresh);
    }
    close_all(&f);
}

/* B8: the list of versions was checked with the key of the version that was asked for. */
static void
fault_b8__old_versions_of_other_writers_can_be_read(void **state)
{
    (void)state;
    struct fixture f = open_size(4, 1);
    unit_rig_store(&f.rig, f.a, DS_UNIT_CA, "by a");
    assert_int_equal(unit_rig_lock(&f.rig, f.b, 0, 0).err, C2_E_OK);
    unit_rig_store(&f.rig, f.b, DS_UNIT_A, "by b");
    struct ds_unit_read r = unit_rig_read(&f.rig, f.reader, 1);
    assert_int_equal(r.err, C2_E_OK);
    assert_memory_equal(r.found.writer, f.rig.public_key[0], DS_UNIT_PUBLIC_LEN);
    c2_blob_unref(r.data);
    r = unit_rig_read(&f.rig, f.reader, 0);
    assert_int_equal(r.err, C2_E_OK);
    assert_memory_equal(r.found.writer, f.rig.public_key[1], DS_UNIT_PUBLIC_LEN);
    c2_blob_unref(r.data);
    close_all(&f);
}

/* B9: four clouds with fixed names, f = 1, and none might be missing at the start. */
static void
fault_b9__n_and_f_are_configuration(void **state)
{
    (void)state;
    static const unsigned sizes[][2] = { { 4, 1 }, { 5, 1 }, { 7, 2 }, { 8, 2 } };
    for (unsigned i = 0; i < 2 * C2_ARRAY_LEN(sizes); i++) {
        unsigned n = sizes[i / 2][0];
        unsigned faults = sizes[i / 2][1];
        struct fixture f = open_size(n, faults);
        unit_rig_store(&f.rig, f.a, both[i % 2], "first");
        for (unsigned k = 0; k < faults; k++)
            ds_rig_fault(&f.rig.ds, (i + k) % n, "down");
        unit_rig_expect(&f.rig, f.reader, 0, "first");
        unit_rig_store(&f.rig, f.a, both[i % 2], "second");
        unit_rig_expect(&f.rig, f.reader, 0, "second");
        ds_rig_fault(&f.rig.ds, (i + faults) % n, "down"); /* one more than f */
        assert_int_equal(unit_rig_read(&f.rig, f.reader, 0).err, C2_E_QUORUM);
        assert_int_equal(unit_rig_write(&f.rig, f.a, both[i % 2], "x", 1).err, C2_E_QUORUM);
        close_all(&f);
    }
}

static void
fault_b9__a_cloud_may_be_missing_at_the_start(void **state)
{
    (void)state;
    struct unit_rig rig;
    unit_rig_init(&rig, 4, 1);
    struct provider *missing = rig.ds.seat[2];
    ds_rig_close(&rig.ds);
    rig.ds.seat[2] = NULL;
    ds_rig_open(&rig.ds);
    struct ds_unit *u = unit_rig_open(&rig, "unit", 0, true);
    unit_rig_store(&rig, u, DS_UNIT_CA, "value");
    unit_rig_expect(&rig, u, 0, "value");
    assert_int_equal(unit_rig_gc(&rig, u, 1).err, C2_E_OK);
    ds_unit_close(u);
    ds_rig_close(&rig.ds);
    rig.ds.seat[2] = missing;
    ds_rig_open(&rig.ds);
    unit_rig_done(&rig);
}

/* B10: lists ended after 1000 names. */
static void
fault_b10__lists_have_no_end_at_1000_names(void **state)
{
    (void)state;
    struct fixture f = open_size(4, 1);
    unit_rig_store(&f.rig, f.a, DS_UNIT_A, "one");
    unit_rig_store(&f.rig, f.a, DS_UNIT_A, "two");
    const char *old = strrchr(unit_rig_key(&f.rig, 0, "/v/", 1), '/') + 1;
    for (unsigned i = 0; i < 2500; i++) { /* garbage older than what is kept */
        char *key = c2_asprintf("v1/c2c2c2c2/u/unit/v/fffffffffffffffe-%016x-%s", i, old + 34);
        for (unsigned seat = 0; seat < 4; seat++)
            prov_mem_store(f.rig.ds.mem[seat], key, c2_slice_str("x"));
        c2_free(key);
    }
    struct ds_unit_gc g = unit_rig_gc(&f.rig, f.a, 1);
    assert_int_equal(g.err, C2_E_OK);
    assert_int_equal(g.removed, 2500 + 1 + 2);
    assert_int_equal(g.confirmed, 0xf);
    for (unsigned seat = 0; seat < 4; seat++)
        assert_in_range(unit_rig_count(&f.rig, seat, "/v/"), 1, 2);
    unit_rig_expect(&f.rig, f.reader, 0, "two");
    close_all(&f);
}

/* B11: values were deleted and the metadata went on naming them. */
static void
fault_b11__a_collection_trims_the_metadata_too(void **state)
{
    (void)state;
    struct fixture f = open_size(4, 1);
    for (unsigned i = 0; i < 5; i++)
        unit_rig_store(&f.rig, f.a, DS_UNIT_CA, "value");
    size_t before = prov_mem_peek(f.rig.ds.mem[0], unit_rig_key(&f.rig, 0, "/m/", 0))->len;
    assert_int_equal(unit_rig_gc(&f.rig, f.a, 1).err, C2_E_OK);
    assert_int_equal(unit_rig_count(&f.rig, 0, "/m/"), 1);
    size_t after = prov_mem_peek(f.rig.ds.mem[0], unit_rig_key(&f.rig, 0, "/m/", 0))->len;
    assert_true(after < before / 2);
    struct ds_unit_versions v = unit_rig_versions(&f.rig, f.reader);
    assert_int_equal(v.nitems, 1);
    c2_free(v.items);
    assert_int_equal(unit_rig_gc(&f.rig, f.a, 7).err, C2_E_OK); /* fewer than are kept */
    close_all(&f);
}

/* ---- B12: bytes were interpreted before their signature was checked ---------------------------
 */

static struct c2_blob *
sign_again(struct fixture *f, struct c2_slice text)
{
    uint8_t hash[C2_SHA256_LEN];
    const struct c2_slice parts[] = { c2_slice_str("c2unit meta v1"), text };
    struct c2_blob *b = c2_blob_new(text.len + DS_UNIT_SIG_LEN);
    memcpy(b->data, text.data, text.len);
    c2_sha256_v(parts, 2, hash);
    c2_ed25519_sign(f->rig.secret[0], c2_slice(hash, sizeof(hash)), b->data + text.len);
    return b;
}

static void
fault_b12__unsigned_bytes_are_not_interpreted(void **state)
{
    (void)state;
    struct fixture f = open_size(4, 1);
    unit_rig_store(&f.rig, f.a, DS_UNIT_A, "one");
    unit_rig_store(&f.rig, f.a, DS_UNIT_CA, "two");
    const struct c2_blob *good = prov_mem_peek(f.rig.ds.mem[0], unit_rig_key(&f.rig, 0, "/m/", 0));
    struct unit_meta *m = c2_alloc(sizeof(*m));
    struct unit_meta *untouched = c2_alloc(sizeof(*m));
    assert_int_equal(unit_meta_decode(f.reader, c2_blob_slice(good), m), C2_E_OK);
    assert_int_equal(m->count, 2);
    memset(untouched, 0xee, sizeof(*untouched));
    for (size_t len = 0; len < good->len; len++) { /* each prefix, in memory of just its size */
        struct c2_blob *part = c2_blob_copy(good->data, len);
        memset(m, 0xee, sizeof(*m));
        assert_int_not_equal(unit_meta_decode(f.reader, c2_blob_slice(part), m), C2_E_OK);
        assert_memory_equal(m, untouched, sizeof(*m));
        c2_blob_unref(part);
    }
    for (size_t at = 0; at < good->len; at++) {
        struct c2_blob *changed = c2_blob_copy(good->data, good->len);
        changed->data[at] ^= 0x80;
        assert_int_not_equal(unit_meta_decode(f.reader, c2_blob_slice(changed), m), C2_E_OK);
        c2_blob_unref(changed);
    }
    assert_memory_equal(m, untouched, sizeof(*m));
    c2_free(untouched);
    c2_free(m);
    close_all(&f);
}

/* A trusted writer with a bug is bounded as well. */
static void
fault_b12__signed_nonsense_is_an_error(void **state)
{
    (void)state;
    struct fixture f = open_size(4, 1);
    unit_rig_store(&f.rig, f.a, DS_UNIT_A, "one");
    const struct c2_blob *good = prov_mem_peek(f.rig.ds.mem[0], unit_rig_key(&f.rig, 0, "/m/", 0));
    struct unit_meta *m = c2_alloc(sizeof(*m));
    size_t text_len = good->len - DS_UNIT_SIG_LEN;
    unsigned refused = 0;
    for (size_t at = 0; at < text_len; at++) {
        struct c2_blob *changed = c2_blob_copy(good->data, text_len);
        changed->data[at] ^= 0xff;
        struct c2_blob *b = sign_again(&f, c2_blob_slice(changed));
        refused += unit_meta_decode(f.reader, c2_blob_slice(b), m) != C2_E_OK;
        c2_blob_unref(b);
        c2_blob_unref(changed);
    }
    /* Times, hashes and random bytes may be anything, lengths, names and counts may not. */
    assert_true(refused >= 8 + 2 + 2 + 4 + 32 + 16 + 4 + 4 + 2);
    c2_free(m);
    close_all(&f);
}

static void
fault_b12__a_collection_believes_no_damaged_metadata(void **state)
{
    (void)state;
    struct fixture f = open_size(4, 1);
    unit_rig_store(&f.rig, f.a, DS_UNIT_A, "one");
    unit_rig_store(&f.rig, f.a, DS_UNIT_A, "two");
    ds_unit_close(f.a);
    f.a = unit_rig_open(&f.rig, "unit", 0, true);
    for (unsigned seat = 0; seat < 2; seat++)
        prov_mem_corrupt(f.rig.ds.mem[seat], unit_rig_key(&f.rig, seat, "/m/", 0), 70);
    size_t before = count_everywhere(&f, "/u/unit/");
    assert_int_equal(unit_rig_gc(&f.rig, f.a, 1).err, C2_E_QUORUM);
    assert_int_equal(count_everywhere(&f, "/u/unit/"), before);
    close_all(&f);
}

/* B13: one lock around each client, and a polling loop. */
static void
fault_b13__requests_run_side_by_side(void **state)
{
    (void)state;
    enum { COUNT = 8 };
    struct fixture f = open_size(4, 1);
    struct ds_unit *unit[COUNT];
    struct waited_write w[COUNT];
    struct c2_slice piece = c2_slice_str("value");
    for (unsigned i = 0; i < 4; i++)
        prov_mem_set_latency(f.rig.ds.mem[i], 100 * C2_NS_PER_MS, 0);
    uint64_t begin = c2_now_ns(f.rig.ds.env);
    unit_rig_store(&f.rig, f.a, DS_UNIT_A, "alone");
    uint64_t alone_ns = c2_now_ns(f.rig.ds.env) - begin;
    begin = c2_now_ns(f.rig.ds.env);
    for (unsigned i = 0; i < COUNT; i++) {
        char name[16];
        snprintf(name, sizeof(name), "unit-%u", i);
        unit[i] = unit_rig_open(&f.rig, name, 0, true);
        w[i] = (struct waited_write){ .w = { .data = &piece, .ndata = 1, .done = write_done } };
        ds_unit_write_start(unit[i], &w[i].w);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        ds_rig_wait(&f.rig.ds, &w[i].done);
        assert_int_equal(w[i].w.err, C2_E_OK);
        ds_unit_close(unit[i]);
    }
    assert_true(c2_now_ns(f.rig.ds.env) - begin <= alone_ns + alone_ns / 2);
    close_all(&f);
}

/* B14: locks were judged by the client's clock. Here it is a day away from the clouds'. */
static void
fault_b14__locks_live_by_the_clouds_clock(void **state)
{
    (void)state;
    const int64_t day_ns = INT64_C(86400000000000);
    struct fixture f = open_size(4, 1);
    struct ds_unit *c = unit_rig_open(&f.rig, "unit", 0, false);
    for (unsigned i = 0; i < 4; i++)
        prov_gate_set_clock(f.rig.gate[i], day_ns);
    struct ds_unit_lock l = unit_rig_lock(&f.rig, c, 0, 0);
    assert_int_equal(l.err, C2_E_OK);
    assert_int_equal(l.expires_wall_ns,
                     c2_wall_ns(f.rig.ds.env) + (uint64_t)day_ns + DS_UNIT_LEASE_NS);
    assert_true(ds_unit_locked(c));
    for (unsigned i = 0; i < 4; i++)
        prov_gate_set_clock(f.rig.gate[i], 0);
    assert_int_equal(unit_rig_lock(&f.rig, f.b, 0, 0).err, C2_E_BUSY); /* a day to go */
    for (unsigned i = 0; i < 4; i++)
        prov_gate_set_clock(f.rig.gate[i], day_ns + INT64_C(70000000000));
    assert_int_equal(unit_rig_lock(&f.rig, f.b, 0, 0).err, C2_E_OK);
    ds_unit_close(c);
    close_all(&f);
}

/* B14: a shared unit's lock could not be released. */
static void
fault_b14__every_writer_of_a_unit_can_unlock(void **state)
{
    (void)state;
    struct fixture f = open_size(4, 1);
    struct ds_unit *c = unit_rig_open(&f.rig, "unit", 0, false);
    for (unsigned i = 0; i < 3; i++) {
        struct ds_unit *u = i % 2 == 0 ? f.b : c;
        assert_int_equal(unit_rig_lock(&f.rig, u, 0, 0).err, C2_E_OK);
        assert_int_equal(unit_rig_unlock(&f.rig, u), C2_E_OK);
        assert_int_equal(count_everywhere(&f, "/l/"), 0);
    }
    ds_unit_close(c);
    close_all(&f);
}

/* ---- SCFS and the client above it: 32-bit offsets, whole values in memory ---------------------
 */

/* S1: lengths were 32 bits. Two pieces of 4 GiB and 5 bytes are no value of 5 bytes. */
static void
fault_s1__lengths_have_64_bits(void **state)
{
    (void)state;
    struct fixture f = open_size(4, 1);
    struct c2_slice pieces[2] = { c2_slice("abcde", (size_t)1 << 32), c2_slice("abcde", 5) };
    for (unsigned i = 0; i < C2_ARRAY_LEN(both); i++) {
        struct waited_write w = {
            .w = { .protocol = both[i], .data = pieces, .ndata = 2, .done = write_done }
        };
        ds_unit_write_start(f.a, &w.w); /* refused by the lengths alone: no byte is read */
        ds_rig_wait(&f.rig.ds, &w.done);
        assert_int_equal(w.w.err, C2_E_TOO_LARGE);
    }
    assert_int_equal(count_everywhere(&f, "/u/unit/"), 0);

    unit_rig_store(&f.rig, f.a, DS_UNIT_A, "abcde");
    const struct c2_blob *good = prov_mem_peek(f.rig.ds.mem[0], unit_rig_key(&f.rig, 0, "/m/", 0));
    struct unit_meta *m = c2_alloc(sizeof(*m));
    assert_int_equal(unit_meta_decode(f.reader, c2_blob_slice(good), m), C2_E_OK);
    assert_int_equal(m->version[0].size, 5);
    m->version[0].size += UINT64_C(1) << 32;
    struct c2_blob *large = unit_meta_encode(f.a, m);
    assert_int_equal(unit_meta_decode(f.reader, c2_blob_slice(large), m), C2_E_PARSE);
    c2_blob_unref(large);
    c2_free(m);
    close_all(&f);
}

/* S1: what a cloud sent was held in memory, however much it was. */
static void
fault_s1__no_more_is_held_than_the_metadata_says(void **state)
{
    (void)state;
    for (unsigned i = 0; i < C2_ARRAY_LEN(both); i++) {
        struct fixture f = open_size(4, 1);
        unit_rig_store(&f.rig, f.a, both[i], "value");
        ds_rig_fault(&f.rig.ds, 0, "get.huge");
        unit_rig_expect(&f.rig, f.reader, 0, "value");
        assert_true(prov_fault_count(f.rig.ds.seat[0]) > 0);
        ds_rig_fault(&f.rig.ds, 0, "");
        ds_rig_fault(&f.rig.ds, 1, "get.huge");
        unit_rig_expect(&f.rig, f.reader, 0, "value");
        close_all(&f);
    }
    /* The bound that every GET of a value has. */
    struct fixture f = open_size(4, 1);
    unit_rig_store(&f.rig, f.a, DS_UNIT_A, "value");
    for (unsigned seat = 0; seat < 4; seat++) {
        const char *key = unit_rig_key(&f.rig, seat, "/v/", 0);
        struct c2_blob *grown = c2_blob_new(6);
        memcpy(grown->data, "value!", 6);
        if (key != NULL)
            prov_mem_store(f.rig.ds.mem[seat], key, c2_blob_slice(grown));
        c2_blob_unref(grown);
    }
    assert_int_equal(unit_rig_read(&f.rig, f.reader, 0).err, C2_E_QUORUM);
    close_all(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fault_b1__key_shares_are_random_per_version),
        cmocka_unit_test(fault_b1__one_cloud_alone_gives_nothing),
        cmocka_unit_test(fault_b2__equal_values_have_different_ciphertexts),
        cmocka_unit_test(fault_b2__no_changed_byte_is_accepted),
        cmocka_unit_test(fault_b3__no_cloud_holds_a_readable_part),
        cmocka_unit_test(fault_b4__no_metadata_before_the_value_is_stable),
        cmocka_unit_test(fault_b5__failed_replies_are_no_acknowledgements),
        cmocka_unit_test(fault_b6__two_unreachable_clouds_are_no_first_write),
        cmocka_unit_test(fault_b7__an_old_version_never_stands_in_for_a_newer_one),
        cmocka_unit_test(fault_b7__stale_clouds_do_not_hide_the_newest_version),
        cmocka_unit_test(fault_b8__old_versions_of_other_writers_can_be_read),
        cmocka_unit_test(fault_b9__n_and_f_are_configuration),
        cmocka_unit_test(fault_b9__a_cloud_may_be_missing_at_the_start),
        cmocka_unit_test(fault_b10__lists_have_no_end_at_1000_names),
        cmocka_unit_test(fault_b11__a_collection_trims_the_metadata_too),
        cmocka_unit_test(fault_b12__unsigned_bytes_are_not_interpreted),
        cmocka_unit_test(fault_b12__signed_nonsense_is_an_error),
        cmocka_unit_test(fault_b12__a_collection_believes_no_damaged_metadata),
        cmocka_unit_test(fault_b13__requests_run_side_by_side),
        cmocka_unit_test(fault_b14__locks_live_by_the_clouds_clock),
        cmocka_unit_test(fault_b14__every_writer_of_a_unit_can_unlock),
        cmocka_unit_test(fault_s1__lengths_have_64_bits),
        cmocka_unit_test(fault_s1__no_more_is_held_than_the_metadata_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
