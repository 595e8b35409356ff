/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/alloc.h"
#include "base/conf.h"
#include "fs/mount_opts.h"

static void
parse__takes_what_fstab_and_mount_write(void **state)
{
    (void)state;
    struct mount_opts o = { 0 };
    char *error = NULL;
    assert_int_equal(mount_opts_parse("_netdev,nofail,x-systemd.automount,user,rw,nosuid,noatime,"
                                      "comment=hello,,nonempty,config=/etc/a.conf",
                                      false, &o, &error),
                     C2_E_OK);
    assert_null(error);
    assert_string_equal(c2_buf_cstr(&o.kernel), "nosuid,noatime");
    assert_true(o.nonempty);
    assert_false(o.read_only);
    assert_string_equal(o.config, "/etc/a.conf");
    assert_int_equal(o.settings.len, 0);
    mount_opts_done(&o);
}

static void
parse__ro_is_passed_on_and_known(void **state)
{
    (void)state;
    struct mount_opts o = { 0 };
    char *error = NULL;
    assert_int_equal(mount_opts_parse("ro", false, &o, &error), C2_E_OK);
    assert_true(o.read_only);
    assert_string_equal(c2_buf_cstr(&o.kernel), "ro");
    mount_opts_done(&o);
}

static void
parse__unknown_option_names_the_nearest(void **state)
{
    (void)state;
    struct mount_opts o = { 0 };
    char *error = NULL;
    assert_int_equal(mount_opts_parse("rw,cach_size=5G", false, &o, &error), C2_E_CONFIG);
    assert_non_null(strstr(error, "cach_size"));
    assert_non_null(strstr(error, "\"cache_size\""));
    c2_free(error);
    error = NULL;
    assert_int_equal(mount_opts_parse("nosiud", false, &o, &error), C2_E_CONFIG);
    assert_non_null(strstr(error, "\"nosuid\""));
    c2_free(error);
    error = NULL;
    assert_int_equal(mount_opts_parse("rw,cach_size=5G", true, &o, &error), C2_E_OK);
    assert_null(error);
    mount_opts_done(&o);
}

static void
parse__a_remount_is_told_what_to_do(void **state)
{
    (void)state;
    struct mount_opts o = { 0 };
    char *error = NULL;
    assert_int_equal(mount_opts_parse("rw,remount", true, &o, &error), C2_E_CONFIG);
    assert_non_null(strstr(error, "hint: unmount and mount again"));
    c2_free(error);
    mount_opts_done(&o);
}

static void
parse__value_where_none_belongs_is_unknown(void **state)
{
    (void)state;
    struct mount_opts o = { 0 };
    char *error = NULL;
    assert_int_equal(mount_opts_parse("nosuid=1", false, &o, &error), C2_E_CONFIG);
    c2_free(error);
    error = NULL;
    assert_int_equal(mount_opts_parse("cache_size", false, &o, &error), C2_E_CONFIG);
    assert_non_null(strstr(error, "needs a value"));
    c2_free(error);
    mount_opts_done(&o);
}

static void
apply__settings_reach_the_volume_and_later_ones_win(void **state)
{
    (void)state;
    struct mount_opts o = { 0 };
    char *error = NULL;
    struct c2_conf *conf = c2_conf_new();
    assert_int_equal(
        mount_opts_parse("attr-timeout=5s,allow_other,close=sync,close=async", false, &o, &error),
        C2_E_OK);
    assert_int_equal(mount_opts_apply(&o, conf, "phr"), C2_E_OK);
    assert_int_equal(c2_conf_u64(conf, "volume", "phr", "attr_timeout"), 5000000000ull);
    assert_true(c2_conf_bool(conf, "volume", "phr", "allow_other"));
    assert_string_equal(c2_conf_str(conf, "volume", "phr", "close"), "async");
    mount_opts_done(&o);

    assert_int_equal(mount_opts_parse("close=perhaps", false, &o, &error), C2_E_OK);
    assert_int_equal(mount_opts_apply(&o, conf, "phr"), C2_E_CONFIG);
    assert_true(strlen(c2_conf_error(conf)) > 0);
    mount_opts_done(&o);
    c2_conf_free(conf);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse__takes_what_fstab_and_mount_write),
        cmocka_unit_test(parse__ro_is_passed_on_and_known),
        cmocka_unit_test(parse__unknown_option_names_the_nearest),
        cmocka_unit_test(parse__a_remount_is_told_what_to_do),
        cmocka_unit_test(parse__value_where_none_belongs_is_unknown),
        cmocka_unit_test(apply__settings_reach_the_volume_and_later_ones_win),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
