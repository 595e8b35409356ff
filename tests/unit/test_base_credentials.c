/* SPDX-License-Identifier: MIT */
/*
 * Where access keys come from, in which order, and what is refused.
 */
#include "base/credentials.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os_file.h"
#include "tests/lib/test_env.h"

struct fixture {
    char dir[64];
    char *file;
    struct c2_conf *conf;
    struct c2_credentials found;
    char *error;
};

static const char *const variables[] = {
    "CREDENTIALS_DIRECTORY",      "C2FS_AWS_FRA_ACCESS_KEY_ID", "C2FS_AWS_FRA_SECRET_ACCESS_KEY",
    "C2FS_AWS_FRA_SESSION_TOKEN", "AWS_ACCESS_KEY_ID",          "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN"
};

static int
setup(void **state)
{
    struct fixture *f = c2_calloc(1, sizeof(*f));
    for (size_t i = 0; i < C2_ARRAY_LEN(variables); i++)
        unsetenv(variables[i]);
    strcpy(f->dir, "/tmp/c2fs-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->file = c2_asprintf("%s/credentials", f->dir);
    f->conf = c2_conf_new();
    assert_int_equal(c2_conf_set(f->conf, "c2fs", NULL, "credentials", f->file, "test"), C2_E_OK);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < C2_ARRAY_LEN(variables); i++)
        unsetenv(variables[i]);
    c2_credentials_done(&f->found);
    c2_free(f->error);
    c2_conf_free(f->conf);
    test_disk_remove_tree(f->dir);
    c2_free(f->file);
    c2_free(f);
    return 0;
}

static void
write_secret(const char *path, const char *text)
{
    test_disk_write_file(path, text, strlen(text));
    assert_int_equal(chmod(path, 0600), 0);
}

static enum c2_err
look_up(struct fixture *f)
{
    c2_credentials_done(&f->found);
    c2_free(f->error);
    f->error = NULL;
    return c2_credentials_lookup(f->conf, "aws-fra", &f->found, &f->error);
}

static void
check_found(struct fixture *f, const char *id, const char *secret, const char *token)
{
    enum c2_err err = look_up(f);
    if (f->error != NULL)
        print_error("%s\n", f->error);
    assert_int_equal(err, C2_E_OK);
    assert_string_equal(f->found.access_key_id, id);
    assert_string_equal(f->found.secret_access_key, secret);
    if (token == NULL)
        assert_null(f->found.session_token);
    else
        assert_string_equal(f->found.session_token, token);
}

static void
check_refused(struct fixture *f, enum c2_err err, const char *part)
{
    assert_int_equal(look_up(f), err);
    assert_non_null(f->error);
    if (strstr(f->error, part) == NULL)
        print_error("%s\n", f->error);
    assert_non_null(strstr(f->error, part));
    assert_null(f->found.access_key_id);
}

#define AWS_KEYS                                                                                   \
    "[other]\naccess_key_id = no\nsecret_access_key = no\n[aws-fra]\n"                             \
    "access_key_id = FILEID\nsecret_access_key = file/secret+x ; comment\n"

static void
lookup__says_what_to_do_when_there_is_nothing(void **state)
{
    struct fixture *f = *state;
    check_refused(f, C2_E_NOT_FOUND, "no access keys for provider \"aws-fra\"");
    assert_non_null(strstr(f->error, f->file));
    assert_non_null(strstr(f->error, "C2FS_AWS_FRA_ACCESS_KEY_ID"));
    write_secret(f->file, "[other]\naccess_key_id = no\nsecret_access_key = no\n");
    check_refused(f, C2_E_NOT_FOUND, "no access keys");
}

static void
lookup__reads_the_section_of_the_file(void **state)
{
    struct fixture *f = *state;
    write_secret(f->file, AWS_KEYS "session_token = tok\n[third]\naccess_key_id = no\n");
    check_found(f, "FILEID", "file/secret+x", "tok");
    assert_string_equal(f->found.origin, f->file);
}

static void
lookup__follows_the_order_of_places(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(setenv("AWS_ACCESS_KEY_ID", "GENERIC", 1), 0);
    assert_int_equal(setenv("AWS_SECRET_ACCESS_KEY", "generic", 1), 0);
    check_found(f, "GENERIC", "generic", NULL);
    assert_int_equal(setenv("C2FS_AWS_FRA_ACCESS_KEY_ID", "ENVID", 1), 0);
    assert_int_equal(setenv("C2FS_AWS_FRA_SECRET_ACCESS_KEY", "env", 1), 0);
    assert_int_equal(setenv("C2FS_AWS_FRA_SESSION_TOKEN", "envtok", 1), 0);
    check_found(f, "ENVID", "env", "envtok");
    assert_string_equal(f->found.origin, "environment C2FS_AWS_FRA_*");
    write_secret(f->file, AWS_KEYS);
    check_found(f, "FILEID", "file/secret+x", NULL);
    write_secret(f->file, AWS_KEYS "credential_command = printf 'access_key_id=CMD\\n"
                                   "secret_access_key=for-%s\\n' $C2FS_PROVIDER\n");
    check_found(f, "CMD", "for-aws-fra", NULL);
    C2_AUTO(c2_free_auto) char *systemd = c2_asprintf("%s/aws-fra", f->dir);
    write_secret(systemd, "access_key_id = SYSTEMD\nsecret_access_key = systemd\n");
    check_found(f, "CMD", "for-aws-fra", NULL);
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", f->dir, 1), 0);
    check_found(f, "SYSTEMD", "systemd", NULL);
    assert_string_equal(f->found.origin, systemd);
}

static void
lookup__refuses_a_file_that_others_can_read(void **state)
{
    struct fixture *f = *state;
    C2_AUTO(c2_free_auto) char *advice = c2_asprintf("type: chmod 600 %s", f->file);
    write_secret(f->file, AWS_KEYS);
    static const mode_t bad[] = { 0640, 0604, 0620, 0602, 0610, 0644, 0777 };
    for (size_t i = 0; i < C2_ARRAY_LEN(bad); i++) {
        assert_int_equal(chmod(f->file, bad[i]), 0);
        check_refused(f, C2_E_ACCESS, advice);
    }
    static const mode_t good[] = { 0600, 0400, 0700 };
    for (size_t i = 0; i < C2_ARRAY_LEN(good); i++) {
        assert_int_equal(chmod(f->file, good[i]), 0);
        check_found(f, "FILEID", "file/secret+x", NULL);
    }
}

/* Falling through to the environment would use the keys of another account. */
static void
lookup__does_not_fall_through_a_broken_place(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(setenv("AWS_ACCESS_KEY_ID", "GENERIC", 1), 0);
    assert_int_equal(setenv("AWS_SECRET_ACCESS_KEY", "generic", 1), 0);
    static const struct {
        const char *text, *part;
    } cases[] = {
        { "[aws-fra]\naccess_key_id = X\n", "secret_access_key is missing" },
        { "[aws-fra]\nsecret_access_key = X\n", "access_key_id is missing" },
        { "[aws-fra]\nacess_key_id = X\n",
          ":2: unknown key \"acess_key_id\", did you mean \"access_key_id\"" },
        { "[other]\nzzz = X\n", ":2: unknown key \"zzz\"" },
        { "access_key_id = X\n", ":1: key before the first [NAME]" },
        { "[provider \"aws-fra\"]\n", ":1: want [NAME] of a provider" },
        { "[aws-fra]\nnonsense\n", ":2: expected" },
        { "[aws-fra]\naccess_key_id = a b\n", "access_key_id has characters" },
        { "[aws-fra]\ncredential_command = exit 3\n", "credential_command of [aws-fra] in " },
        { "[aws-fra]\ncredential_command = exit 3\n", "ended with status 3" },
        { "[aws-fra]\ncredential_command = true\n", "printed no access_key_id" },
        { "[aws-fra]\ncredential_command = echo hello\n", ":1: expected" },
        { "[aws-fra]\ncredential_command = echo [x]\n", ":1: no sections here" },
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(cases); i++) {
        write_secret(f->file, cases[i].text);
        check_refused(f, C2_E_CONFIG, cases[i].part);
    }
    assert_int_equal(unlink(f->file), 0);
    assert_int_equal(mkdir(f->file, 0700), 0);
    check_refused(f, C2_E_CONFIG, "cannot read ");
    assert_int_equal(rmdir(f->file), 0);
    check_found(f, "GENERIC", "generic", NULL);
    assert_int_equal(unsetenv("AWS_SECRET_ACCESS_KEY"), 0);
    check_refused(f, C2_E_CONFIG, "environment AWS_*: secret_access_key is missing");
}

static void
lookup__bounds_values_and_files(void **state)
{
    struct fixture *f = *state;
    struct c2_buf text = { 0 };
    c2_buf_printf(&text, "[aws-fra]\naccess_key_id = X\nsecret_access_key = ");
    for (unsigned i = 0; i < C2_CREDENTIAL_LEN_MAX; i++)
        c2_buf_puts(&text, "s");
    write_secret(f->file, c2_buf_cstr(&text));
    assert_int_equal(look_up(f), C2_E_OK);
    assert_int_equal(strlen(f->found.secret_access_key), C2_CREDENTIAL_LEN_MAX);
    c2_buf_puts(&text, "s");
    write_secret(f->file, c2_buf_cstr(&text));
    check_refused(f, C2_E_CONFIG, "is too long");
    while (text.len <= C2_CREDENTIAL_FILE_MAX)
        c2_buf_puts(&text, "\n");
    write_secret(f->file, c2_buf_cstr(&text));
    check_refused(f, C2_E_CONFIG, "larger than its limit");
    c2_buf_done(&text);
}

static void
command__may_print_the_json_of_aws(void **state)
{
    struct fixture *f = *state;
    write_secret(
        f->file,
        "[aws-fra]\ncredential_command = \"echo '{ \\\"Version\\\": 1,"
        " \\\"AccessKeyId\\\" : \\\"JSONID\\\", \\\"SecretAccessKey\\\":\\\"a\\\\\\\\/b+c=\\\","
        " \\\"SessionToken\\\":\\\"tok\\\", \\\"Expiration\\\":\\\"x\\\"}'\"\n");
    check_found(f, "JSONID", "a/b+c=", "tok");
    write_secret(f->file, "[aws-fra]\ncredential_command = echo '{\"AccessKeyId\":1}'\n");
    check_refused(f, C2_E_CONFIG, "printed no access_key_id");
    write_secret(f->file, "[aws-fra]\ncredential_command = echo '{\"AccessKeyId\":\"x\"'\n");
    check_refused(f, C2_E_CONFIG, "secret_access_key is missing");
}

/* As if the command had printed this; there are no single quotes in it. */
static void
write_output(struct fixture *f, const char *json)
{
    struct c2_buf text = { 0 };
    c2_buf_puts(&text, "[aws-fra]\ncredential_command = \"printf %s '");
    for (const char *p = json; *p != '\0'; p++)
        c2_buf_printf(&text, *p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
    c2_buf_puts(&text, "'\"\n");
    write_secret(f->file, c2_buf_cstr(&text));
    c2_buf_done(&text);
}

static void
command__knows_the_escapes_of_json_writers(void **state)
{
    struct fixture *f = *state;
    write_output(f, "{\"AccessKeyId\":\"ID\",\"SecretAccessKey\":\"a\\/b\\u002B\\u003d\"}");
    check_found(f, "ID", "a/b+=", NULL);
    write_output(f, "{\"AccessKeyId\":\"ID\",\"SecretAccessKey\":\"a\\\\b\"}");
    check_refused(f, C2_E_CONFIG, "SecretAccessKey has an escape");
    write_output(f, "{\"AccessKeyId\":\"ID\",\"SecretAccessKey\":\"a\\u00e9\"}");
    check_refused(f, C2_E_CONFIG, "SecretAccessKey has an escape");
    write_output(f, "{\"AccessKeyId\":\"I\\u0022D\",\"SecretAccessKey\":\"a\"}");
    check_refused(f, C2_E_CONFIG, "AccessKeyId has an escape");
}

/* Half a secret is no secret. */
static void
command__that_was_cut_off_gives_nothing(void **state)
{
    struct fixture *f = *state;
    write_output(f, "{\"AccessKeyId\":\"ID\",\"SecretAccessKey\":\"abc");
    check_refused(f, C2_E_CONFIG, "SecretAccessKey is cut off");
    write_output(f, "{\"AccessKeyId\":\"ID\",\"SecretAccessKey\":\"abc\\u00");
    check_refused(f, C2_E_CONFIG, "SecretAccessKey");
}

static void
done__accepts_zeroed(void **state)
{
    (void)state;
    struct c2_credentials c = { 0 };
    c2_credentials_done(&c);
    assert_null(c.access_key_id);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(command__knows_the_escapes_of_json_writers),
        CASE(command__that_was_cut_off_gives_nothing),
        CASE(lookup__says_what_to_do_when_there_is_nothing),
        CASE(lookup__reads_the_section_of_the_file),
        CASE(lookup__follows_the_order_of_places),
        CASE(lookup__refuses_a_file_that_others_can_read),
        CASE(lookup__does_not_fall_through_a_broken_place),
        CASE(lookup__bounds_values_and_files),
        CASE(command__may_print_the_json_of_aws),
        CASE(done__accepts_zeroed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
