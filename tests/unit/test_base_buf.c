/* SPDX-License-Identifier: MIT */
/*
 * Slices, buffers, blobs.
 */
#include "base/buf.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "tests/lib/death.h"

static void
slice__compares_like_memcmp_then_by_length(void **state)
{
    (void)state;
    struct c2_slice a = c2_slice_str("abc"), ab = c2_slice_str("ab"), b = c2_slice_str("b");
    struct c2_slice empty = c2_slice(NULL, 0), high = c2_slice("\xff", 1);
    assert_int_equal(c2_slice_compare(a, a), 0);
    assert_int_equal(c2_slice_compare(ab, a), -1);
    assert_int_equal(c2_slice_compare(a, ab), 1);
    assert_int_equal(c2_slice_compare(a, b), -1);
    assert_int_equal(c2_slice_compare(high, a), 1); /* bytes are unsigned */
    assert_int_equal(c2_slice_compare(empty, empty), 0);
    assert_int_equal(c2_slice_compare(empty, a), -1);
    assert_true(c2_slice_equal(empty, c2_slice_str("")));
    assert_false(c2_slice_equal(a, ab));
    assert_true(c2_slice_starts_with(a, ab));
    assert_true(c2_slice_starts_with(a, empty));
    assert_false(c2_slice_starts_with(ab, a));
    assert_false(c2_slice_starts_with(a, b));
}

static void
buf__grows_and_keeps_everything(void **state)
{
    (void)state;
    struct c2_buf b = { 0 };
    for (unsigned i = 0; i < 10000; i++) {
        uint8_t byte = (uint8_t)(i % 251);
        c2_buf_append(&b, &byte, 1);
    }
    assert_int_equal(b.len, 10000);
    for (unsigned i = 0; i < 10000; i++)
        assert_int_equal(b.data[i], i % 251);
    size_t cap = b.cap;
    c2_buf_clear(&b);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.cap, cap);
    c2_buf_append(&b, NULL, 0);
    assert_int_equal(b.len, 0);
    c2_buf_done(&b);
    assert_null(b.data);
    c2_buf_done(&b);
}

static void
buf__text_is_terminated_on_demand(void **state)
{
    (void)state;
    struct c2_buf b = { 0 };
    assert_string_equal(c2_buf_cstr(&b), "");
    c2_buf_puts(&b, "x=");
    c2_buf_printf(&b, "%d %s", 7, "seven");
    assert_string_equal(c2_buf_cstr(&b), "x=7 seven");
    assert_int_equal(b.len, 9);
    char longer[300];
    memset(longer, 'y', sizeof(longer));
    longer[299] = '\0';
    c2_buf_printf(&b, "%s", longer);
    assert_int_equal(b.len, 9 + 299);
    assert_int_equal(strlen(c2_buf_cstr(&b)), b.len);
    c2_buf_done(&b);
}

static void
buf__extend_gives_room_at_the_end(void **state)
{
    (void)state;
    struct c2_buf b = { 0 };
    assert_non_null(c2_buf_extend(&b, 0));
    memcpy(c2_buf_extend(&b, 3), "abc", 3);
    memcpy(c2_buf_extend(&b, 2), "de", 2);
    assert_true(c2_slice_equal(c2_buf_slice(&b), c2_slice_str("abcde")));
    c2_buf_done(&b);
}

static void
blob__is_aligned_and_lives_until_the_last_reference(void **state)
{
    (void)state;
    struct c2_blob *b = c2_blob_copy("data", 4);
    assert_int_equal((uintptr_t)b->data % 64, 0);
    assert_int_equal(b->len, 4);
    assert_false(c2_blob_is_shared(b));
    assert_ptr_equal(c2_blob_ref(b), b);
    assert_true(c2_blob_is_shared(b));
    c2_blob_unref(b);
    assert_false(c2_blob_is_shared(b));
    assert_memory_equal(c2_blob_slice(b).data, "data", 4); /* the sanitizer sees a freed one */
    c2_blob_unref(b);
    assert_null(c2_blob_ref(NULL));
    c2_blob_unref(NULL);
    struct c2_blob *empty = c2_blob_new(0);
    assert_int_equal(c2_blob_slice(empty).len, 0);
    c2_blob_unref(empty);
}

static void *
ref_and_unref(void *arg)
{
    for (int i = 0; i < 10000; i++)
        c2_blob_unref(c2_blob_ref(arg));
    c2_blob_unref(arg);
    return NULL;
}

static void
blob__counts_references_of_many_threads(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    struct c2_blob *b = c2_blob_copy("shared", 6);
    for (int i = 0; i < THREADS; i++) {
        c2_blob_ref(b);
        assert_int_equal(pthread_create(&threads[i], NULL, ref_and_unref, b), 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(b->refs, 1);
    assert_memory_equal(b->data, "shared", 6);
    c2_blob_unref(b);
}

static void
reserve_too_much(void *arg)
{
    c2_buf_reserve(arg, SIZE_MAX - 3);
}

static void
buf__asserts_against_absurd_sizes(void **state)
{
    (void)state;
    struct c2_buf b = { 0 };
    test_aborts(reserve_too_much, &b, "assertion failed");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slice__compares_like_memcmp_then_by_length),
        cmocka_unit_test(buf__grows_and_keeps_everything),
        cmocka_unit_test(buf__text_is_terminated_on_demand),
        cmocka_unit_test(buf__extend_gives_room_at_the_end),
        cmocka_unit_test(blob__is_aligned_and_lives_until_the_last_reference),
        cmocka_unit_test(blob__counts_references_of_many_threads),
        cmocka_unit_test(buf__asserts_against_absurd_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
