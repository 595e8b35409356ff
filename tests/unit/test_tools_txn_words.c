/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/alloc.h"
#include "tools/txn_words.h"

/* Parses the words, up to NULL; what is wrong must contain `problem`, NULL = nothing is. */
static void
expect(struct txn_words *t, const char *const *word, const char *problem)
{
    char *copy[8];
    int n = 0;
    for (; word[n] != NULL; n++)
        copy[n] = c2_strdup(word[n]);
    char *found = txn_words_parse(t, n, copy);
    if (problem == NULL)
        assert_null(found);
    else
        assert_true(found != NULL && strstr(found, problem) != NULL);
    c2_free(found);
    for (int i = 0; i < n; i++)
        c2_free(copy[i]);
}

#define EXPECT(t, problem, ...) expect(t, (const char *const[]){ __VA_ARGS__, NULL }, problem)

static void
words__keep_what_was_said_in_its_order(void **state)
{
    struct txn_words t;
    static char put[] = "--put", version[] = "--if-version", delete[] = "--delete";
    static char k[] = "k", v[] = "v", seven[] = "7";
    char *word[] = { put, k, v, version, k, seven, delete, put };
    (void)state;
    assert_null(txn_words_parse(&t, C2_ARRAY_LEN(word), word));
    assert_int_equal(t.nconds, 1);
    assert_int_equal(t.conds[0].kind, COORD_VERSION_EQ);
    assert_int_equal(t.conds[0].number, 7);
    assert_int_equal(t.nops, 2);
    assert_int_equal(t.ops[0].kind, COORD_PUT);
    assert_true(c2_slice_equal(t.ops[0].value, c2_slice_str("v")));
    assert_int_equal(t.ops[1].kind, COORD_DELETE);
    assert_true(c2_slice_equal(t.ops[1].key, c2_slice_str("--put")));
    assert_int_equal(t.stdin_op, t.nops);
    assert_string_equal(txn_words_cond(t.conds[0].kind), "--if-version");
}

static void
words__name_the_one_value_that_is_standard_input(void **state)
{
    struct txn_words t;
    (void)state;
    EXPECT(&t, NULL, "--delete", "a", "--put", "b", "-");
    assert_int_equal(t.stdin_op, 1);
    EXPECT(&t, "one key only", "--put", "a", "-", "--put", "b", "-");
    EXPECT(&t, NULL, "--if-value", "a", "-");
    assert_int_equal(t.stdin_op, t.nops);
}

static void
words__take_the_numbers_of_64_bits_and_no_others(void **state)
{
    struct txn_words t;
    (void)state;
    EXPECT(&t, NULL, "--add", "a", "-9223372036854775808");
    assert_true(t.ops[0].number == INT64_MIN);
    EXPECT(&t, NULL, "--add", "a", "+9223372036854775807");
    assert_true(t.ops[0].number == INT64_MAX);
    EXPECT(&t, NULL, "--add", "a", "-0");
    assert_int_equal(t.ops[0].number, 0);
    EXPECT(&t, NULL, "--if-version", "a", "18446744073709551615");
    assert_true(t.conds[0].number == UINT64_MAX);
    EXPECT(&t, "64 bits", "--add", "a", "9223372036854775808");
    EXPECT(&t, "64 bits", "--add", "a", "-9223372036854775809");
    EXPECT(&t, "64 bits", "--add", "a", "");
    EXPECT(&t, "64 bits", "--add", "a", "-");
    EXPECT(&t, "64 bits", "--add", "a", "+-1");
    EXPECT(&t, "64 bits", "--add", "a", " 1");
    EXPECT(&t, "is a number", "--if-version", "a", "18446744073709551616");
    EXPECT(&t, "is a number", "--if-version", "a", "-1");
}

static void
words__are_bounded(void **state)
{
    static char delete[] = "--delete", key[] = "key";
    struct txn_words t;
    char *word[2 * TXN_WORDS_MAX + 2];
    (void)state;
    for (size_t i = 0; i < C2_ARRAY_LEN(word); i += 2) {
        word[i] = delete;
        word[i + 1] = key;
    }
    assert_null(txn_words_parse(&t, 2 * TXN_WORDS_MAX, word));
    assert_int_equal(t.nops, TXN_WORDS_MAX);
    char *problem = txn_words_parse(&t, 2 * TXN_WORDS_MAX + 2, word);
    assert_non_null(problem);
    c2_free(problem);

    char *value = c2_calloc(1, COORD_VALUE_MAX + 2);
    memset(value, 'v', COORD_VALUE_MAX);
    EXPECT(&t, NULL, "--put", "a", value);
    value[COORD_VALUE_MAX] = 'v';
    EXPECT(&t, "up to 64 KiB", "--put", "a", value);
    c2_free(value);
}

static void
words__that_are_missing_or_unknown_are_refused(void **state)
{
    struct txn_words t;
    (void)state;
    EXPECT(&t, "--remove is no condition", "--delete", "a", "--remove", "a");
    EXPECT(&t, "--put takes KEY VALUE", "--delete", "a", "--put", "b");
    EXPECT(&t, "--if-exists takes a key", "--if-exists");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words__keep_what_was_said_in_its_order),
        cmocka_unit_test(words__name_the_one_value_that_is_standard_input),
        cmocka_unit_test(words__take_the_numbers_of_64_bits_and_no_others),
        cmocka_unit_test(words__are_bounded),
        cmocka_unit_test(words__that_are_missing_or_unknown_are_refused),
    };
    return cmocka_run_group_tests_name("tools/txn_words", tests, NULL, NULL);
}
