/* SPDX-License-Identifier: MIT */
/*
 * Changing the credentials file: of one provider, and of nobody else.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os_file.h"
#include "tools/conf_edit.h"

#define TEXT_MAX 4096

struct rig {
    char dir[64];
    char *credentials, *input;
    struct cmd_ctx x;
    char *error;
};

static void
write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int
setup(void **state)
{
    struct rig *g = c2_calloc(1, sizeof(*g));
    char conf[256];
    snprintf(g->dir, sizeof(g->dir), "/tmp/c2fs-conf-edit-XXXXXX");
    assert_non_null(mkdtemp(g->dir));
    g->credentials = c2_asprintf("%s/credentials", g->dir);
    g->input = c2_asprintf("%s/input", g->dir);
    g->x.conf = c2_conf_new();
    snprintf(conf, sizeof(conf), "[c2fs]\ncredentials = %s\n", g->credentials);
    assert_int_equal(c2_conf_load_text(g->x.conf, c2_slice_str(conf), "test"), C2_E_OK);
    *state = g;
    return 0;
}

static int
teardown(void **state)
{
    struct rig *g = *state;
    (void)unlink(g->credentials);
    (void)unlink(g->input);
    (void)rmdir(g->dir);
    c2_conf_free(g->x.conf);
    c2_free(g->credentials);
    c2_free(g->input);
    c2_free(g->error);
    c2_free(g);
    return 0;
}

static enum c2_err
set(struct rig *g, const char *name, const char *input)
{
    write_text(g->input, input);
    assert_non_null(freopen(g->input, "re", stdin));
    c2_free(g->error);
    g->error = NULL;
    return conf_edit_credentials(&g->x, name, &g->error);
}

static void
expect(struct rig *g, const char *text)
{
    struct c2_buf b = { 0 };
    assert_int_equal(c2_os_read_file(g->credentials, TEXT_MAX, &b, NULL), C2_E_OK);
    assert_string_equal(c2_buf_cstr(&b), text);
    c2_buf_done(&b);
}

static void
credentials__replace_those_of_their_provider_only(void **state)
{
    struct rig *g = *state;
    assert_int_equal(set(g, "a", "A\nS\n"), C2_E_OK);
    expect(g, "[a]\naccess_key_id = A\nsecret_access_key = S\n");
    /* As people write it: whatever the reader takes for a section is one. */
    write_text(g->credentials, "; all of them\n[ a ] ; old\naccess_key_id = 1\n"
                               "  [b]\naccess_key_id = 2\nsecret_access_key = 3\n"
                               "[ab]\naccess_key_id = 4\n"
                               "\t[ a ]\nsecret_access_key = 5\n[c]\naccess_key_id = 6");
    assert_int_equal(set(g, "a", "A\nS\n"), C2_E_OK);
    expect(g, "; all of them\n"
              "  [b]\naccess_key_id = 2\nsecret_access_key = 3\n"
              "[ab]\naccess_key_id = 4\n"
              "[c]\naccess_key_id = 6\n"
              "[a]\naccess_key_id = A\nsecret_access_key = S\n");
}

static void
credentials__that_could_not_be_read_back_are_refused(void **state)
{
    static const char *const bad[] = { "A\n",     "",      "A B\nS\n",   "A\nS S\n",  "A\n\"S\n",
                                       ";A\nS\n", "A\n\n", "A\n\"S\"\n", "A\x7f\nS\n" };
    struct rig *g = *state;
    const char *before = "[a]\naccess_key_id = 1\nsecret_access_key = 2\n";
    write_text(g->credentials, before);
    for (size_t k = 0; k < C2_ARRAY_LEN(bad); k++) {
        assert_int_equal(set(g, "a", bad[k]), C2_E_INVALID);
        assert_non_null(g->error);
        expect(g, before);
    }
}

static void
credentials__stay_where_they_are_with_their_owner_and_mode(void **state)
{
    struct rig *g = *state;
    struct stat st;
    char *real = c2_asprintf("%s/real", g->dir);
    write_text(real, "");
    assert_int_equal(chmod(real, 0640), 0);
    if (geteuid() == 0)
        assert_int_equal(chown(real, 1234, 4321), 0);
    assert_int_equal(symlink(real, g->credentials), 0);
    assert_int_equal(set(g, "a", "A\nS\n"), C2_E_OK);
    expect(g, "[a]\naccess_key_id = A\nsecret_access_key = S\n");
    assert_int_equal(lstat(g->credentials, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(lstat(real, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(st.st_uid, geteuid() == 0 ? 1234 : geteuid());
    assert_int_equal(st.st_gid, geteuid() == 0 ? 4321 : st.st_gid);
    assert_int_equal(unlink(real), 0);
    c2_free(real);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(credentials__replace_those_of_their_provider_only),
        TEST(credentials__that_could_not_be_read_back_are_refused),
        TEST(credentials__stay_where_they_are_with_their_owner_and_mode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
