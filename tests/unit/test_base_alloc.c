/* SPDX-License-Identifier: MIT */
/*
 * Allocation, and what a failed assertion leaves behind.
 */
#include "base/alloc.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "tests/lib/death.h"

static void
alloc__size_zero_gives_something_to_free(void **state)
{
    (void)state;
    void *a = c2_alloc(0), *b = c2_calloc(0, 8), *c = c2_alloc_aligned(0);
    assert_true(a != b && b != c);
    c2_free(a);
    c2_free(b);
    c2_free(c);
    c2_free(NULL);
}

static void
calloc__is_zeroed(void **state)
{
    (void)state;
    static const uint8_t zeros[1000];
    uint8_t *p = c2_calloc(100, 10);
    assert_memory_equal(p, zeros, sizeof(zeros));
    c2_free(p);
}

static void
realloc__keeps_the_content(void **state)
{
    (void)state;
    char *p = c2_realloc(NULL, 4, 1);
    memcpy(p, "abc", 4);
    p = c2_realloc(p, 100000, 3);
    assert_string_equal(p, "abc");
    p = c2_realloc(p, 0, 3);
    c2_free(p);
}

static void
alloc_aligned__is_aligned_and_rounded(void **state)
{
    (void)state;
    for (size_t size = 1; size < 300; size += 37) {
        uint8_t *p = c2_alloc_aligned(size);
        assert_int_equal((uintptr_t)p % 64, 0);
        memset(p, 1, (size + 63) / 64 * 64); /* the rounded size is ours */
        c2_free(p);
    }
    static const size_t large[] = { (2 << 20) - 1, 2 << 20, (4 << 20) + 77 };
    for (size_t i = 0; i < C2_ARRAY_LEN(large); i++) { /* with large pages or without */
        uint8_t *p = c2_alloc_aligned(large[i]);
        assert_int_equal((uintptr_t)p % 64, 0);
        memset(p, 1, (large[i] + 63) / 64 * 64);
        c2_free(p);
    }
}

static void
strings__are_copied_and_formatted(void **state)
{
    (void)state;
    char *a = c2_strdup("hello"), *b = c2_strndup("hello", 3), *c = c2_strndup("hi", 99);
    char *d = c2_asprintf("%s-%d", "x", 42);
    assert_string_equal(a, "hello");
    assert_string_equal(b, "hel");
    assert_string_equal(c, "hi");
    assert_string_equal(d, "x-42");
    c2_free(a);
    c2_free(b);
    c2_free(c);
    c2_free(d);
}

static void
free_auto__frees_at_the_end_of_the_scope(void **state)
{
    (void)state;
    /* Twice in a row: the leak check tells when it did not. */
    for (int i = 0; i < 2; i++) {
        C2_AUTO(c2_free_auto) char *text = c2_strdup("scope");
        assert_string_equal(text, "scope");
    }
}

static void
wipe__overwrites(void **state)
{
    (void)state;
    char secret[] = "secret";
    static const char zeros[sizeof(secret)];
    c2_wipe(secret, sizeof(secret));
    assert_memory_equal(secret, zeros, sizeof(secret));
}

static void
overflow(void *arg)
{
    (void)arg;
    volatile size_t huge = SIZE_MAX / 2;
    c2_free(c2_calloc(huge, 3));
}

static void
realloc_overflow(void *arg)
{
    (void)arg;
    volatile size_t huge = SIZE_MAX / 2;
    c2_free(c2_realloc(NULL, huge, 3));
}

static void
too_much(void *arg)
{
    (void)arg;
    volatile size_t huge = SIZE_MAX / 4;
    c2_free(c2_alloc(huge));
}

static void
too_much_aligned(void *arg)
{
    (void)arg;
    volatile size_t huge = SIZE_MAX - 10;
    c2_free(c2_alloc_aligned(huge));
}

/* The sanitizers would end the process with a report of their own. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *
__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *
__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void
alloc__aborts_with_a_message_when_there_is_no_memory(void **state)
{
    (void)state;
    test_aborts(too_much_aligned, NULL, "out of memory");
    test_aborts(overflow, NULL, "out of memory");
    test_aborts(realloc_overflow, NULL, "out of memory");
    test_aborts(too_much, NULL, "out of memory");
}

static void
fail_assertion(void *arg)
{
    int two = *(int *)arg;
    c2_log(WARN, "test", "the line before number=%d", two);
    C2_ASSERT(two + two == 5);
}

static void
assert__names_the_condition_and_dumps_the_log(void **state)
{
    (void)state;
    int two = 2;
    test_aborts(fail_assertion, &two, "assertion failed: two + two == 5, in fail_assertion at ");
    test_aborts(fail_assertion, &two, "last log lines:\n  ");
    test_aborts(fail_assertion, &two, "warn test: the line before number=2\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alloc__size_zero_gives_something_to_free),
        cmocka_unit_test(calloc__is_zeroed),
        cmocka_unit_test(realloc__keeps_the_content),
        cmocka_unit_test(alloc_aligned__is_aligned_and_rounded),
        cmocka_unit_test(strings__are_copied_and_formatted),
        cmocka_unit_test(free_auto__frees_at_the_end_of_the_scope),
        cmocka_unit_test(wipe__overwrites),
        cmocka_unit_test(alloc__aborts_with_a_message_when_there_is_no_memory),
        cmocka_unit_test(assert__names_the_condition_and_dumps_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
