/* SPDX-License-Identifier: MIT */
/*
 * Why fusermount3 could not unmount.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tools/mounts.h"

static void
fusermount_errno__tells_a_busy_mount_from_other_failures(void **state)
{
    (void)state;
    assert_int_equal(mounts_fusermount_errno(0, ""), 0);
    assert_int_equal(mounts_fusermount_errno(
                         1, "fusermount3: failed to unmount /mnt: Device or resource busy\n"),
                     EBUSY);
    assert_int_equal(mounts_fusermount_errno(
                         1, "fusermount3: failed to unmount /mnt: Operation not permitted\n"),
                     EPERM);
    assert_int_equal(mounts_fusermount_errno(
                         1, "fusermount3: failed to open /etc/fuse.conf: Permission denied\n"),
                     EPERM);
    assert_int_equal(
        mounts_fusermount_errno(1, "fusermount3: entry for /mnt not found in /etc/mtab\n"), EINVAL);
    assert_int_equal(mounts_fusermount_errno(1, "something else"), EIO);
    assert_int_equal(mounts_fusermount_errno(127, ""), ENOPKG);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fusermount_errno__tells_a_busy_mount_from_other_failures),
    };
    return cmocka_run_group_tests_name("tools/mounts", tests, NULL, NULL);
}
