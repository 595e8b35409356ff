/* SPDX-License-Identifier: MIT */
/*
 * Loading, precedence, values, error messages, the dump.
 */
#include "base/conf.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/env.h"
#include "base/os_file.h"
#include "tests/lib/death.h"
#include "tests/lib/test_env.h"

struct fixture {
    char dir[64];
    struct c2_conf *conf;
};

static int
setup(void **state)
{
    struct fixture *f = c2_calloc(1, sizeof(*f));
    strcpy(f->dir, "/tmp/c2fs-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->conf = c2_conf_new();
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    c2_conf_free(f->conf);
    test_disk_remove_tree(f->dir);
    c2_free(f);
    return 0;
}

/* Replaces @ by the fixture's folder; the caller frees. */
static char *
expand(const struct fixture *f, const char *text)
{
    struct c2_buf b = { 0 };
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '@')
            c2_buf_puts(&b, f->dir);
        else
            c2_buf_append(&b, p, 1);
    }
    char *s = c2_strdup(c2_buf_cstr(&b));
    c2_buf_done(&b);
    return s;
}

static void
write_file(const struct fixture *f, const char *name, const char *text)
{
    C2_AUTO(c2_free_auto) char *path = c2_asprintf("%s/%s", f->dir, name);
    C2_AUTO(c2_free_auto) char *content = expand(f, text);
    test_disk_write_file(path, content, strlen(content));
    assert_int_equal(chmod(path, 0644), 0);
}

static enum c2_err
load(struct fixture *f, const char *name)
{
    C2_AUTO(c2_free_auto) char *path = c2_asprintf("%s/%s", f->dir, name);
    return c2_conf_load_file(f->conf, path);
}

static enum c2_err
load_text(struct fixture *f, const char *text)
{
    return c2_conf_load_text(f->conf, c2_slice_str(text), "test");
}

static void
check_str(const struct fixture *f, const char *section, const char *name, const char *key,
          const char *expected)
{
    C2_AUTO(c2_free_auto) char *want = expand(f, expected);
    assert_string_equal(c2_conf_str(f->conf, section, name, key), want);
}

static void
check_error(struct fixture *f, const char *text, const char *expected)
{
    C2_AUTO(c2_free_auto) char *want = expand(f, expected);
    assert_int_equal(load_text(f, text), C2_E_CONFIG);
    assert_string_equal(c2_conf_error(f->conf), want);
}

static void
conf__gives_values_and_defaults(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(load_text(f, "[volume \"phr\"]\n"
                                  "cache_size = 10G\n"
                                  "attr_timeout = 5m\n"
                                  "allow_other = yes\n"
                                  "threads = 3\n"
                                  "close = sync\n"
                                  "[provider \"aws\"]\n"
                                  "bandwidth = 3M\n"),
                     C2_E_OK);
    assert_true(c2_conf_u64(f->conf, "volume", "phr", "cache_size") == 10ull << 30);
    assert_true(c2_conf_u64(f->conf, "volume", "phr", "attr_timeout") == 300 * C2_NS_PER_S);
    assert_true(c2_conf_u64(f->conf, "volume", "phr", "threads") == 3);
    assert_true(c2_conf_u64(f->conf, "provider", "aws", "bandwidth") == 3 << 20);
    assert_true(c2_conf_u64(f->conf, "provider", "aws", "retries") == 4);
    assert_true(c2_conf_bool(f->conf, "volume", "phr", "allow_other"));
    check_str(f, "volume", "phr", "close", "sync");

    assert_true(c2_conf_u64(f->conf, "volume", "phr", "journal_size") == 4ull << 30);
    assert_true(c2_conf_u64(f->conf, "volume", "other", "cache_size") == 20ull << 30);
    assert_false(c2_conf_bool(f->conf, "volume", "phr", "writeback_cache"));
    check_str(f, "volume", "phr", "fsync", "journal");
    assert_null(c2_conf_str(f->conf, "volume", "phr", "key_file"));
    assert_true(c2_conf_is_set(f->conf, "volume", "phr", "close"));
    assert_false(c2_conf_is_set(f->conf, "volume", "phr", "fsync"));
    assert_string_equal(c2_conf_error(f->conf), "");
}

static void
conf__lists_sections_in_file_order(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(load_text(f, "[provider \"b\"]\n[volume \"v\"]\n[provider \"a\"]\n"
                                  "[provider \"b\"]\nregion = x\n"),
                     C2_E_OK);
    assert_string_equal(c2_conf_section(f->conf, "provider", 0), "b");
    assert_string_equal(c2_conf_section(f->conf, "provider", 1), "a");
    assert_null(c2_conf_section(f->conf, "provider", 2));
    assert_string_equal(c2_conf_section(f->conf, "volume", 0), "v");
    assert_null(c2_conf_section(f->conf, "metadata", 0));
    assert_true(c2_conf_has_section(f->conf, "provider", "a"));
    assert_false(c2_conf_has_section(f->conf, "volume", "a"));
    assert_false(c2_conf_has_section(f->conf, "c2fs", NULL));
    check_str(f, "provider", "b", "region", "x");
}

static void
conf__relative_paths_belong_to_the_file(void **state)
{
    struct fixture *f = *state;
    write_file(f, "c2fs.conf",
               "[volume \"v\"]\nkey_file = v.key\ncache_dir = ./sub/cache\n"
               "log_file = /var/log/v\nmetadata = local:meta\n"
               "[provider \"p\"]\nurl = dir:clouds/1\n[provider \"q\"]\nurl = s3://b/p\n");
    assert_int_equal(load(f, "c2fs.conf"), C2_E_OK);
    check_str(f, "volume", "v", "key_file", "@/v.key");
    check_str(f, "volume", "v", "cache_dir", "@/sub/cache");
    check_str(f, "volume", "v", "log_file", "/var/log/v");
    check_str(f, "volume", "v", "metadata", "local:@/meta");
    check_str(f, "provider", "p", "url", "dir:@/clouds/1");
    check_str(f, "provider", "q", "url", "s3://b/p");
    check_str(f, "volume", "other", "log_file", "");
    assert_int_equal(c2_conf_set(f->conf, "volume", "v", "log_file", "", "-o"), C2_E_OK);
    check_str(f, "volume", "v", "log_file", "");
}

static void
conf__relative_file_names_work(void **state)
{
    struct fixture *f = *state;
    C2_AUTO(c2_free_auto) char *before = c2_os_current_dir();
    write_file(f, "c2fs.conf", "[volume \"v\"]\nkey_file = v.key\n");
    assert_int_equal(chdir(f->dir), 0);
    enum c2_err err = c2_conf_load_file(f->conf, "c2fs.conf");
    enum c2_err set = c2_conf_set(f->conf, "volume", "v", "cache_dir", "here", "-o");
    assert_int_equal(chdir(before), 0);
    assert_int_equal(err, C2_E_OK);
    assert_int_equal(set, C2_E_OK);
    check_str(f, "volume", "v", "key_file", "@/v.key");
    check_str(f, "volume", "v", "cache_dir", "@/here");
}

static void
include__continues_in_the_section_it_stands_in(void **state)
{
    struct fixture *f = *state;
    write_file(f, "main.conf",
               "include = meta.conf\n[volume \"v\"]\nthreads = 5\ninclude = \"@/extra.conf\"\n"
               "upload_parallel = 9\n");
    write_file(f, "meta.conf", "[metadata \"m\"]\nreplicas = a:1 b:2\ntrust = root.pub\n");
    write_file(f, "extra.conf",
               "[provider \"p\"]\nretries = 7\n[provider \"q\"]\n"
               "[provider \"r\"]\n[provider \"s\"]\n");
    assert_int_equal(load(f, "main.conf"), C2_E_OK);
    check_str(f, "metadata", "m", "replicas", "a:1 b:2");
    check_str(f, "metadata", "m", "trust", "@/root.pub");
    assert_int_equal(c2_conf_u64(f->conf, "provider", "p", "retries"), 7);
    assert_int_equal(c2_conf_u64(f->conf, "volume", "v", "upload_parallel"), 9);
}

static void
include__errors_name_the_line_at_fault(void **state)
{
    struct fixture *f = *state;
    C2_AUTO(c2_free_auto)
    char *missing = expand(f, "@/main.conf:2: cannot read @/none.conf: not found");
    write_file(f, "main.conf", "\ninclude = none.conf\n");
    assert_int_equal(load(f, "main.conf"), C2_E_NOT_FOUND);
    assert_string_equal(c2_conf_error(f->conf), missing);

    C2_AUTO(c2_free_auto)
    char *inner =
        expand(f, "@/bad.conf:2: unknown key \"thread\" in [volume], did you mean \"threads\"?");
    write_file(f, "main.conf", "include = bad.conf\n");
    write_file(f, "bad.conf", "[volume \"v\"]\nthread = 1\n");
    assert_int_equal(load(f, "main.conf"), C2_E_CONFIG);
    assert_string_equal(c2_conf_error(f->conf), inner);

    write_file(f, "main.conf", "include =\n");
    assert_int_equal(load(f, "main.conf"), C2_E_CONFIG);
    assert_non_null(strstr(c2_conf_error(f->conf), "main.conf:1: include without a file"));
}

static void
include__loops_and_floods_end(void **state)
{
    struct fixture *f = *state;
    write_file(f, "loop.conf", "include = loop.conf\n");
    assert_int_equal(load(f, "loop.conf"), C2_E_CONFIG);
    assert_non_null(strstr(c2_conf_error(f->conf), "does one include itself?"));

    struct c2_buf many = { 0 };
    for (int i = 0; i < C2_CONF_FILES_MAX; i++)
        c2_buf_puts(&many, "include = empty.conf\n");
    write_file(f, "empty.conf", "");
    write_file(f, "many.conf", c2_buf_cstr(&many));
    assert_int_equal(load(f, "many.conf"), C2_E_CONFIG);
    assert_non_null(strstr(c2_conf_error(f->conf), "many.conf:256: more than 256 files"));
    c2_buf_done(&many);
}

static void
load__refuses_files_that_everyone_may_change(void **state)
{
    struct fixture *f = *state;
    C2_AUTO(c2_free_auto) char *path = expand(f, "@/open.conf");
    write_file(f, "open.conf", "");
    assert_int_equal(chmod(path, 0646), 0);
    assert_int_equal(load(f, "open.conf"), C2_E_CONFIG);
    assert_non_null(strstr(c2_conf_error(f->conf), "chmod o-w "));
    assert_int_equal(chmod(path, 0664), 0);
    assert_int_equal(load(f, "open.conf"), C2_E_OK);
}

static void
load__bounds_size_and_number_of_keys(void **state)
{
    struct fixture *f = *state;
    char *big = c2_alloc(C2_CONF_FILE_MAX + 2);
    memset(big, '\n', C2_CONF_FILE_MAX + 1);
    big[C2_CONF_FILE_MAX + 1] = '\0';
    write_file(f, "big.conf", big);
    assert_int_equal(load(f, "big.conf"), C2_E_CONFIG);
    assert_non_null(strstr(c2_conf_error(f->conf), "larger than its limit"));
    c2_free(big);

    struct c2_buf many = { 0 };
    for (unsigned i = 0; i <= C2_CONF_ENTRIES_MAX; i++)
        c2_buf_printf(&many, "[provider \"p%u\"]\n", i);
    assert_int_equal(load_text(f, c2_buf_cstr(&many)), C2_E_CONFIG);
    assert_string_equal(c2_conf_error(f->conf), "test:4097: more than 4096 sections");
    c2_buf_done(&many);
}

static void
load_system__reads_the_parts_in_name_order(void **state)
{
    struct fixture *f = *state;
    C2_AUTO(c2_free_auto) char *parts = expand(f, "@/conf.d");
    assert_int_equal(c2_conf_load_system(f->conf, f->dir), C2_E_OK); /* nothing there */
    assert_string_equal(c2_conf_error(f->conf), "");
    write_file(f, "c2fs.conf", "[volume \"v\"]\nthreads = 1\nupload_parallel = 1\nclose = sync\n");
    assert_int_equal(mkdir(parts, 0755), 0);
    write_file(f, "conf.d/20.conf", "[volume \"v\"]\nthreads = 3\n");
    write_file(f, "conf.d/10.conf", "[volume \"v\"]\nthreads = 2\nupload_parallel = 2\n");
    write_file(f, "conf.d/.hidden.conf", "nonsense");
    write_file(f, "conf.d/30.conf~", "nonsense");
    write_file(f, "conf.d/README", "nonsense");
    assert_int_equal(c2_conf_load_system(f->conf, f->dir), C2_E_OK);
    assert_int_equal(c2_conf_u64(f->conf, "volume", "v", "threads"), 3);
    assert_int_equal(c2_conf_u64(f->conf, "volume", "v", "upload_parallel"), 2);
    check_str(f, "volume", "v", "close", "sync");
    write_file(f, "conf.d/40.conf", "nonsense");
    assert_int_equal(c2_conf_load_system(f->conf, f->dir), C2_E_CONFIG);
    assert_non_null(strstr(c2_conf_error(f->conf), "/conf.d/40.conf:1: expected"));
}

static void
load_default__environment_beats_files_and_options_beat_it(void **state)
{
    struct fixture *f = *state;
    C2_AUTO(c2_free_auto) char *path = expand(f, "@/c2fs.conf");
    write_file(f, "c2fs.conf", "[volume \"v\"]\nthreads = 2\nclose = sync\n[volume \"w\"]\n");
    assert_int_equal(setenv("C2FS_THREADS", "7", 1), 0);
    assert_int_equal(c2_conf_load_default(f->conf, path), C2_E_OK);
    assert_int_equal(c2_conf_u64(f->conf, "volume", "v", "threads"), 7);
    assert_int_equal(c2_conf_u64(f->conf, "volume", "w", "threads"), 7);
    check_str(f, "volume", "v", "close", "sync");
    assert_int_equal(c2_conf_set(f->conf, "volume", "v", "threads", "9", "-o"), C2_E_OK);
    assert_int_equal(c2_conf_u64(f->conf, "volume", "v", "threads"), 9);
    assert_int_equal(c2_conf_u64(f->conf, "volume", "w", "threads"), 7);
    assert_null(c2_conf_section(f->conf, "volume", 2)); /* "*" is no volume */

    assert_int_equal(setenv("C2FS_THREADS", "many", 1), 0);
    assert_int_equal(c2_conf_load_default(f->conf, path), C2_E_CONFIG);
    assert_string_equal(c2_conf_error(f->conf), "C2FS_THREADS: bad value \"many\" for threads in "
                                                "[volume], want a number, 1..16");
    assert_int_equal(unsetenv("C2FS_THREADS"), 0);
    assert_int_equal(c2_conf_load_default(f->conf, "/nonexistent.conf"), C2_E_NOT_FOUND);
    assert_string_equal(c2_conf_error(f->conf),
                        "/nonexistent.conf: cannot read /nonexistent.conf: not found");
}

static void
error__names_place_and_nearest_match(void **state)
{
    struct fixture *f = *state;
    check_error(f, "[volume \"v\"]\n\ncach_size = 1G\n",
                "test:3: unknown key \"cach_size\" in [volume], did you mean \"cache_size\"?");
    check_error(f, "[volume \"v\"]\nendpoint = x\n",
                "test:2: unknown key \"endpoint\" in [volume], it belongs to [provider]");
    check_error(f, "[volume \"v\"]\nfrobnicate = x\n",
                "test:2: unknown key \"frobnicate\" in [volume]");
    check_error(f, "[volumes \"v\"]\n",
                "test:1: unknown section [volumes], did you mean [volume]?");
    check_error(f, "[aws]\n",
                "test:1: unknown section [aws], want c2fs, volume, provider, metadata or replica");
    check_error(f, "threads = 1\n", "test:1: key \"threads\" stands before the first section");
    check_error(f, "[volume]\n", "test:1: section [volume] needs a name: [volume \"NAME\"]");
    check_error(f, "[c2fs \"x\"]\n", "test:1: section [c2fs] has no name");
    check_error(f, "[volume \"../x\"]\n",
                "test:1: bad name \"../x\": want up to 63 letters, digits, \".\", \"_\" and "
                "\"-\", a letter or digit first");
    check_error(f, "[volume \"v\"]\nx", "test:2: expected \"key = value\" or \"[section]\"");
    assert_int_equal(c2_conf_set(f->conf, "volume", "v", "thread", "1", "-o"), C2_E_CONFIG);
    assert_string_equal(c2_conf_error(f->conf),
                        "-o: unknown key \"thread\" in [volume], did you mean \"threads\"?");
}

static void
error__says_what_a_value_may_be(void **state)
{
    struct fixture *f = *state;
    check_error(f, "[volume \"v\"]\nclose = asinc\n",
                "test:2: bad value \"asinc\" for close in [volume], did you mean \"async\"?, want "
                "async, sync");
    check_error(f, "[volume \"v\"]\nclose =\n",
                "test:2: bad value \"\" for close in [volume], want async, sync");
    check_error(f, "[volume \"v\"]\ncache_size = 20X\n",
                "test:2: bad value \"20X\" for cache_size in [volume], want a size like 512K, 64M "
                "or 10G, 16M or more");
    check_error(f, "[volume \"v\"]\ncache_size = 1M\n",
                "test:2: bad value \"1M\" for cache_size in [volume], want a size like 512K, 64M "
                "or 10G, 16M or more");
    check_error(f, "[volume \"v\"]\npack_delay = 2\n",
                "test:2: bad value \"2\" for pack_delay in [volume], want a duration like 200ms, "
                "30s, 5m, 2h or 1d, 0..1h");
    check_error(f, "[provider \"p\"]\nprice_get = cheap\n",
                "test:2: bad value \"cheap\" for price_get in [provider], want a decimal number "
                "like 0.0053");
    check_error(f, "[provider \"p\"]\nprice_egress = -1\n",
                "test:2: bad value \"-1\" for price_egress in [provider], want a decimal number "
                "like 0.0053");
    check_error(f, "[provider \"p\"]\nprice_put = 0,0053\n",
                "test:2: bad value \"0,0053\" for price_put in [provider], want a decimal number "
                "like 0.0053");
    check_error(f, "[volume \"v\"]\nupload_parallel = 17\n",
                "test:2: bad value \"17\" for upload_parallel in [volume], want a number, 1..16");
    check_error(f, "[volume \"v\"]\nallow_other = maybe\n",
                "test:2: bad value \"maybe\" for allow_other in [volume], want yes or no");
    check_error(f, "[provider \"p\"]\nurl = ftp://x\n",
                "test:2: bad value \"ftp://x\" for url in [provider], want s3://BUCKET[/PREFIX], "
                "dir:PATH, mem:");
    check_error(f, "[provider \"p\"]\nurl = s3://\n",
                "test:2: bad value \"s3://\" for url in [provider], want s3://BUCKET[/PREFIX], "
                "dir:PATH, mem:");
    /* The value before stays. */
    check_str(f, "volume", "v", "close", "async");
}

static void
value__booleans(void **state)
{
    struct fixture *f = *state;
    static const char *const yes[] = { "yes", "true", "on", "1", "YES" };
    static const char *const no[] = { "no", "false", "off", "0", "No" };
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(c2_conf_set(f->conf, "volume", "v", "allow_other", yes[i], "t"), C2_E_OK);
        assert_true(c2_conf_bool(f->conf, "volume", "v", "allow_other"));
        assert_int_equal(c2_conf_set(f->conf, "volume", "v", "allow_other", no[i], "t"), C2_E_OK);
        assert_false(c2_conf_bool(f->conf, "volume", "v", "allow_other"));
    }
}

static void
dump__names_origins_and_loads_again(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(load_text(f, "[volume \"v\"]\nthreads = 5\n"
                                  "passphrase_command = \"a \\\"b ; c\\\" \\\\d\"\n"),
                     C2_E_OK);
    assert_int_equal(c2_conf_set(f->conf, "volume", "v", "close", "sync", "-o"), C2_E_OK);
    struct c2_buf first = { 0 };
    c2_conf_dump(f->conf, &first);
    const char *text = c2_buf_cstr(&first);
    assert_non_null(strstr(text, "[volume \"v\"]\n"));
    assert_non_null(strstr(text, "\nthreads = 5 ; test:2\n"));
    assert_non_null(strstr(text, "\nclose = sync ; -o\n"));
    assert_non_null(strstr(text, "\nfsync = journal ; default\n"));
    assert_null(strstr(text, "key_file"));

    struct c2_conf *again = c2_conf_new();
    assert_int_equal(c2_conf_load_text(again, c2_buf_slice(&first), "dump"), C2_E_OK);
    assert_string_equal(c2_conf_str(again, "volume", "v", "passphrase_command"), "a \"b ; c\" \\d");
    assert_int_equal(c2_conf_u64(again, "volume", "v", "threads"), 5);
    c2_conf_free(again);
    c2_buf_done(&first);
}

static void
ask_for_unknown_key(void *arg)
{
    c2_conf_str(arg, "volume", "v", "no_such_key");
}

static void
ask_for_wrong_type(void *arg)
{
    c2_conf_u64(arg, "volume", "v", "close");
}

static void
get__asserts_key_and_type(void **state)
{
    struct fixture *f = *state;
    test_aborts(ask_for_unknown_key, f->conf, "assertion failed");
    test_aborts(ask_for_wrong_type, f->conf, "assertion failed");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(conf__gives_values_and_defaults),
        CASE(conf__lists_sections_in_file_order),
        CASE(conf__relative_paths_belong_to_the_file),
        CASE(conf__relative_file_names_work),
        CASE(include__continues_in_the_section_it_stands_in),
        CASE(include__errors_name_the_line_at_fault),
        CASE(include__loops_and_floods_end),
        CASE(load__refuses_files_that_everyone_may_change),
        CASE(load__bounds_size_and_number_of_keys),
        CASE(load_system__reads_the_parts_in_name_order),
        CASE(load_default__environment_beats_files_and_options_beat_it),
        CASE(error__names_place_and_nearest_match),
        CASE(error__says_what_a_value_may_be),
        CASE(value__booleans),
        CASE(dump__names_origins_and_loads_again),
        CASE(get__asserts_key_and_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
