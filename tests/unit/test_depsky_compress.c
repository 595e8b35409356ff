/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "depsky/compress.h"
#include "tests/lib/ds_rig.h"

static const enum ds_compress engines[] = { DS_COMPRESS_ISAL, DS_COMPRESS_ZLIB };
static const struct ds_cuts no_cuts;

static size_t
deflate_once(enum ds_compress engine, struct c2_slice in, struct ds_cuts cuts, uint8_t *out,
             size_t out_max)
{
    struct ds_deflate *d = ds_deflate_new(engine);
    size_t len = ds_deflate_run(d, in, &cuts, out, out_max);
    ds_deflate_free(d);
    return len;
}

static enum c2_err
inflate_once(enum ds_compress engine, struct c2_slice in, uint8_t *out, size_t out_len)
{
    struct ds_inflate *i = ds_inflate_new(engine);
    enum c2_err err = ds_inflate_run(i, in, out, out_len);
    ds_inflate_free(i);
    return err;
}

static void
compress__each_engine_reads_the_other(void **state)
{
    (void)state;
    static const size_t lengths[] = { 40, 1000, DS_SEGMENT_SIZE - 1, DS_SEGMENT_SIZE };
    uint8_t *packed = c2_alloc(DS_SEGMENT_SIZE);
    uint8_t *back = c2_alloc(DS_SEGMENT_SIZE);
    for (size_t i = 0; i < C2_ARRAY_LEN(lengths); i++) {
        struct c2_blob *text = ds_rig_text(lengths[i]);
        memset(text->data, 'x', 30); /* so that even the short ones shrink */
        for (size_t w = 0; w < 2; w++) {
            size_t len =
                deflate_once(engines[w], c2_blob_slice(text), no_cuts, packed, lengths[i] - 1);
            assert_true(len > 0 && len < lengths[i]);
            for (size_t r = 0; r < 2; r++) {
                memset(back, 0, lengths[i]);
                assert_int_equal(inflate_once(engines[r], c2_slice(packed, len), back, lengths[i]),
                                 C2_E_OK);
                assert_memory_equal(back, text->data, lengths[i]);
            }
        }
        c2_blob_unref(text);
    }
    c2_free(packed);
    c2_free(back);
}

/* One context for many segments gives what a fresh one gives: nothing is carried over. */
static void
compress__context_has_no_memory(void **state)
{
    (void)state;
    uint8_t *first = c2_alloc(DS_SEGMENT_SIZE);
    uint8_t *again = c2_alloc(DS_SEGMENT_SIZE);
    struct c2_blob *text = ds_rig_text(DS_SEGMENT_SIZE);
    struct c2_blob *noise = ds_rig_random(1, DS_SEGMENT_SIZE);
    for (size_t e = 0; e < 2; e++) {
        struct ds_deflate *d = ds_deflate_new(engines[e]);
        size_t len = ds_deflate_run(d, c2_blob_slice(text), &no_cuts, first, DS_SEGMENT_SIZE - 1);
        assert_int_equal(
            ds_deflate_run(d, c2_blob_slice(noise), &no_cuts, again, DS_SEGMENT_SIZE - 1), 0);
        assert_int_equal(
            ds_deflate_run(d, c2_blob_slice(text), &no_cuts, again, DS_SEGMENT_SIZE - 1), len);
        assert_memory_equal(first, again, len);
        ds_deflate_free(d);
    }
    c2_blob_unref(text);
    c2_blob_unref(noise);
    c2_free(first);
    c2_free(again);
}

static void
compress__gives_up_when_it_does_not_shrink(void **state)
{
    (void)state;
    uint8_t *out = c2_alloc(DS_SEGMENT_SIZE);
    struct c2_blob *noise = ds_rig_random(1, DS_SEGMENT_SIZE);
    for (size_t e = 0; e < 2; e++) {
        for (size_t len = 1; len <= DS_SEGMENT_SIZE; len = len * 4)
            assert_int_equal(
                deflate_once(engines[e], c2_slice(noise->data, len), no_cuts, out, len - 1), 0);
    }
    c2_blob_unref(noise);
    c2_free(out);
}

/* Two equal files side by side: a match would make the second one free. */
static void
compress__finds_no_match_across_a_cut(void **state)
{
    (void)state;
    enum { HALF = 2000 };
    const uint32_t at = 5 * DS_SEGMENT_SIZE + HALF;
    uint8_t *out = c2_alloc(DS_SEGMENT_SIZE);
    uint8_t *back = c2_alloc(2 * HALF);
    struct c2_blob *noise = ds_rig_random(1, 2 * HALF);
    memcpy(noise->data + HALF, noise->data, HALF);
    struct ds_cuts cut = { .at = &at, .count = 1, .base = 5 * DS_SEGMENT_SIZE };
    for (size_t e = 0; e < 2; e++) {
        struct c2_slice in = c2_blob_slice(noise);
        size_t joined = deflate_once(engines[e], in, no_cuts, out, DS_SEGMENT_SIZE);
        assert_true(joined > HALF && joined < HALF + HALF * 3 / 4);
        size_t apart = deflate_once(engines[e], in, cut, out, DS_SEGMENT_SIZE);
        assert_true(apart >= 2 * HALF);
        assert_int_equal(inflate_once(engines[e], c2_slice(out, apart), back, 2 * HALF), C2_E_OK);
        assert_memory_equal(back, noise->data, 2 * HALF);
    }
    c2_blob_unref(noise);
    c2_free(out);
    c2_free(back);
}

static void
compress__many_cuts_still_read_back(void **state)
{
    (void)state;
    uint32_t at[600];
    uint8_t *out = c2_alloc(DS_SEGMENT_SIZE);
    uint8_t *back = c2_alloc(DS_SEGMENT_SIZE);
    struct c2_blob *zeros = ds_rig_text(DS_SEGMENT_SIZE);
    memset(zeros->data, 0, DS_SEGMENT_SIZE);
    for (uint32_t i = 0; i < C2_ARRAY_LEN(at); i++)
        at[i] = i * 100 + 1;
    struct ds_cuts cuts = { .at = at, .count = C2_ARRAY_LEN(at) };
    for (size_t e = 0; e < 2; e++) {
        size_t len = deflate_once(engines[e], c2_blob_slice(zeros), cuts, out, DS_SEGMENT_SIZE);
        assert_true(len > 0);
        assert_int_equal(inflate_once(engines[1 - e], c2_slice(out, len), back, DS_SEGMENT_SIZE),
                         C2_E_OK);
        assert_memory_equal(back, zeros->data, DS_SEGMENT_SIZE);
    }
    c2_blob_unref(zeros);
    c2_free(out);
    c2_free(back);
}

/* Guard bytes around the output show a write outside; ASan would too. */
static void
expect_corrupt(enum ds_compress engine, struct c2_slice in, size_t out_len)
{
    uint8_t *out = c2_alloc(out_len);
    assert_int_equal(inflate_once(engine, in, out, out_len), C2_E_CORRUPT);
    c2_free(out);
}

static void
inflate__accepts_exactly_one_whole_stream_of_the_right_length(void **state)
{
    (void)state;
    enum { LEN = 5000 };
    uint8_t *packed = c2_alloc(DS_SEGMENT_SIZE);
    struct c2_blob *text = ds_rig_text(LEN);
    size_t len = deflate_once(DS_COMPRESS_ZLIB, c2_blob_slice(text), no_cuts, packed, LEN);
    packed[len] = 0;
    for (size_t e = 0; e < 2; e++) {
        expect_corrupt(engines[e], c2_slice(packed, len), LEN - 1);
        expect_corrupt(engines[e], c2_slice(packed, len), LEN + 1);
        expect_corrupt(engines[e], c2_slice(packed, len + 1), LEN);
        expect_corrupt(engines[e], c2_slice(packed, len - 1), LEN);
        expect_corrupt(engines[e], c2_slice(packed, 0), LEN);
        packed[len - 1] ^= 1; /* the checksum */
        expect_corrupt(engines[e], c2_slice(packed, len), LEN);
        packed[len - 1] ^= 1;
        packed[0] ^= 0x10; /* the header */
        expect_corrupt(engines[e], c2_slice(packed, len), LEN);
        packed[0] ^= 0x10;
    }
    c2_blob_unref(text);
    c2_free(packed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compress__each_engine_reads_the_other),
        cmocka_unit_test(compress__context_has_no_memory),
        cmocka_unit_test(compress__gives_up_when_it_does_not_shrink),
        cmocka_unit_test(compress__finds_no_match_across_a_cut),
        cmocka_unit_test(compress__many_cuts_still_read_back),
        cmocka_unit_test(inflate__accepts_exactly_one_whole_stream_of_the_right_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
