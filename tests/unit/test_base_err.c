/* SPDX-License-Identifier: MIT */
/*
 * The error table.
 */
#include "base/err.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/base.h"

static const char *const table_names[] = {
#define X(name, err_no, err_class, text) #name,
#include "base/err.def"
#undef X
};

static void
err__names_are_the_table_in_lower_case(void **state)
{
    (void)state;
    for (unsigned i = 0; i < C2_E_COUNT; i++) {
        char lower[64] = { 0 };
        for (size_t k = 0; table_names[i][k] != '\0'; k++)
            lower[k] = (char)tolower((unsigned char)table_names[i][k]);
        assert_string_equal(c2_err_name((enum c2_err)i), lower);
    }
}

static void
err__every_row_has_text_and_errno(void **state)
{
    (void)state;
    for (unsigned i = 0; i < C2_E_COUNT; i++) {
        enum c2_err err = (enum c2_err)i;
        assert_true(strlen(c2_err_text(err)) > 0);
        assert_int_equal(c2_err_errno(err) == 0, err == C2_E_OK);
        assert_int_equal(c2_err_class(err) == C2_CLASS_OK, err == C2_E_OK);
    }
    assert_string_equal(c2_err_text(C2_E_QUORUM), "too few providers answered correctly");
    assert_int_equal(c2_err_class(C2_E_CORRUPT), C2_CLASS_DATA);
    assert_int_equal(c2_err_class(C2_E_TIMEOUT), C2_CLASS_RETRY);
    assert_int_equal(c2_err_errno(C2_E_FENCED), EROFS);
}

static void
err__unknown_values_are_harmless(void **state)
{
    (void)state;
    unsigned beyond = C2_E_COUNT;
    assert_string_equal(c2_err_name((enum c2_err)beyond), "unknown");
    assert_string_equal(c2_err_text((enum c2_err)beyond), "unknown error");
    assert_int_equal(c2_err_errno((enum c2_err)beyond), EIO);
    assert_int_equal(c2_err_class((enum c2_err)beyond), C2_CLASS_BUG);
}

static void
err__from_errno_takes_the_plain_meaning(void **state)
{
    (void)state;
    static const struct {
        int err_no;
        enum c2_err err;
    } cases[] = {
        { 0, C2_E_OK },
        { ENOENT, C2_E_NOT_FOUND },
        { EEXIST, C2_E_EXISTS },
        { EACCES, C2_E_ACCESS },
        { EPERM, C2_E_NOT_PERMITTED },
        { EROFS, C2_E_READ_ONLY },
        { EBUSY, C2_E_BUSY },
        { EIO, C2_E_IO },
        { EPROTO, C2_E_IO },
        { EINVAL, C2_E_INVALID },
        { EAGAIN, C2_E_AGAIN },
        { EFBIG, C2_E_TOO_LARGE },
        { ENOSPC, C2_E_NO_SPACE },
        { ECONNREFUSED, C2_E_UNREACHABLE },
        { ECONNRESET, C2_E_UNREACHABLE },
        { ETIMEDOUT, C2_E_TIMEOUT },
        { EUCLEAN, C2_E_DAMAGED },
        { EMFILE, C2_E_BUSY },
        { ENODEV, C2_E_NO_DEVICE },
        { EOVERFLOW, C2_E_RANGE },
        { 9999, C2_E_IO },
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(cases); i++)
        assert_int_equal(c2_err_from_errno(cases[i].err_no), cases[i].err);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err__names_are_the_table_in_lower_case),
        cmocka_unit_test(err__every_row_has_text_and_errno),
        cmocka_unit_test(err__unknown_values_are_harmless),
        cmocka_unit_test(err__from_errno_takes_the_plain_meaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
