/* SPDX-License-Identifier: MIT */
/*
 * The manual pages say what the tables say: every command, every key with its default, every error
 * with its errno, and nothing that is not there any more. Runs in the top folder.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/alloc.h"
#include "base/conf.h"
#include "base/os_file.h"
#include "tools/cmd.h"

#define PAGE_MAX (1u << 20)

static char *
page(const char *name)
{
    struct c2_buf b = { 0 };
    char *path = c2_asprintf("docs/man/%s", name);
    assert_int_equal(c2_os_read_file(path, PAGE_MAX, &b, NULL), C2_E_OK);
    char *text = c2_strdup(c2_buf_cstr(&b));
    c2_free(path);
    c2_buf_done(&b);
    return text;
}

static size_t
count_lines(const char *text, const char *prefix)
{
    size_t n = 0;
    for (const char *at = text; at != NULL; at = strchr(at, '\n')) {
        at += *at == '\n';
        n += strncmp(at, prefix, strlen(prefix)) == 0;
    }
    return n;
}

/* The item that begins with this line, up to the next one; freed by the caller. */
static char *
item(const char *text, const char *line, const char *next)
{
    char *start = c2_asprintf("\n%s", line), *stop = c2_asprintf("\n%s", next);
    const char *at = strstr(text, start);
    if (at == NULL)
        fail_msg("no line begins with: %s", line);
    const char *end = strstr(at + strlen(start), stop);
    char *found = end == NULL ? c2_strdup(at) : c2_strndup(at, (size_t)(end - at));
    c2_free(start);
    c2_free(stop);
    return found;
}

static void
conf__page_has_every_key_with_its_default(void **state)
{
    (void)state;
    char *text = page("c2fs.conf.5");
    for (size_t k = 0; k < c2_conf_keys_count; k++) {
        const struct c2_conf_key *key = &c2_conf_keys[k];
        char *line = c2_asprintf(".It Ic %s No = ", key->name);
        char *entry = item(text, line, ".It Ic ");
        char *want = key->def == NULL      ? c2_strdup("Not set by default.")
                     : key->def[0] == '\0' ? c2_strdup("Empty by default.")
                                           : c2_asprintf("Default: %s.", key->def);
        if (strstr(entry, want) == NULL)
            fail_msg("%s: the page does not say: %s", key->name, want);
        c2_free(want);
        c2_free(entry);
        c2_free(line);
    }
    assert_int_equal(count_lines(text, ".It Ic "), c2_conf_keys_count);
    c2_free(text);
}

static void
errors__page_has_every_code_with_text_and_errno(void **state)
{
    (void)state;
    static const struct {
        enum c2_err err;
        const char *err_no;
    } errors[] = {
#define X(name, err_no, err_class, text) { C2_E_##name, #err_no },
#include "base/err.def"
#undef X
    };
    char *text = page("c2fs-errors.7");
    for (size_t k = 1; k < C2_ARRAY_LEN(errors); k++) {
        char code[CTL_CODE_MAX];
        ctl_error_code(errors[k].err, code);
        char *line = c2_asprintf(".It Sy %s Pq %s, Er %s", code, c2_err_text(errors[k].err),
                                 errors[k].err_no);
        char *entry = item(text, line, ".It Sy ");
        /* What it means and what to do: a line each at least. */
        if (count_lines(entry, "") < 3)
            fail_msg("%s: the page says too little", code);
        c2_free(entry);
        c2_free(line);
    }
    assert_int_equal(count_lines(text, ".It Sy "), C2_ARRAY_LEN(errors) - 1);
    c2_free(text);
}

/* "a|b" is written "a\*(Bab" in the page. */
static char *
in_mdoc(const char *text)
{
    struct c2_buf b = { 0 };
    for (; *text != '\0'; text++) {
        if (*text == '|')
            c2_buf_puts(&b, "\\*(Ba");
        else
            c2_buf_append(&b, text, 1);
    }
    char *result = c2_strdup(c2_buf_cstr(&b));
    c2_buf_done(&b);
    return result;
}

static void
ctl__page_has_every_command_with_its_arguments_and_options(void **state)
{
    (void)state;
    char *text = page("c2fsctl.1");
    const struct cmd *c;
    size_t n = 0;
    for (; (c = cmd_at(n)) != NULL; n++) {
        char *args = in_mdoc(c->args);
        char *line = c2_asprintf(".It Ic %s%s%s\n", c->name, args[0] != '\0' ? " No " : "", args);
        c2_free(item(text, line, ".It Ic "));
        c2_free(line);
        c2_free(args);
    }
    assert_int_equal(count_lines(text, ".It Ic "), n + 1); /* and help */
    c2_free(text);
}

static void
commands__names_are_unique_and_groups_are_neighbours(void **state)
{
    (void)state;
    const struct cmd *c;
    for (size_t n = 0; (c = cmd_at(n)) != NULL; n++) {
        assert_ptr_equal(cmd_find(c->name), c);
        assert_non_null(c->run);
        assert_true(c->summary[0] != '\0');
        assert_true(c->summary[strlen(c->summary) - 1] != '.');
        assert_true(c->help[0] == '\0' || c->help[strlen(c->help) - 1] == '\n');
        /* Every option of the completion is explained by the usage line. */
        char *options = c2_strdup(c->options), *rest = options;
        const char *word;
        while ((word = strsep(&rest, " ")) != NULL)
            if (word[0] == '-' && strstr(c->args, word) == NULL)
                fail_msg("%s: %s is not in the arguments", c->name, word);
        c2_free(options);
    }
    assert_null(cmd_find("no such command"));
}

static void
commands__acting_ones_exist(void **state)
{
    (void)state;
    for (size_t i = 0; cmd_acting[i] != NULL; i++) {
        const struct cmd *c = cmd_find(cmd_acting[i]);
        assert_non_null(c);
        assert_true(cmd_acts_at_once(c));
    }
    assert_false(cmd_acts_at_once(cmd_find("status")));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conf__page_has_every_key_with_its_default),
        cmocka_unit_test(errors__page_has_every_code_with_text_and_errno),
        cmocka_unit_test(ctl__page_has_every_command_with_its_arguments_and_options),
        cmocka_unit_test(commands__names_are_unique_and_groups_are_neighbours),
        cmocka_unit_test(commands__acting_ones_exist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
