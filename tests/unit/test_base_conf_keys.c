/* SPDX-License-Identifier: MIT */
/*
 * The key table, and c2fs.conf.example against it.
 */
#include "base/conf.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/conf_value.h"
#include "base/os_file.h"

static void
keys__have_valid_defaults_and_help(void **state)
{
    (void)state;
    for (size_t i = 0; i < c2_conf_keys_count; i++) {
        const struct c2_conf_key *k = &c2_conf_keys[i];
        struct c2_buf limits = { 0 };
        c2_conf_limits_describe(k, &limits);
        assert_int_equal(limits.len == 0, k->limits == NULL);
        c2_buf_done(&limits);
        assert_true(k->help[strlen(k->help) - 1] == '.');
        for (size_t other = 0; other < i; other++)
            assert_true(strcmp(k->name, c2_conf_keys[other].name) != 0 ||
                        strcmp(k->section, c2_conf_keys[other].section) != 0);
        if (k->def == NULL)
            continue;
        char *text, *problem;
        uint64_t number;
        assert_int_equal(c2_conf_value_parse(k, k->def, "/", &text, &number, &problem), C2_E_OK);
        assert_string_equal(text, k->def);
        c2_free(text);
    }
}

/* A line "key = value" or ";key = value" of the example. */
static void
check_example_line(const char *section, const char *line, bool *seen)
{
    bool active = *line != ';';
    if (!active)
        line++;
    size_t len = strcspn(line, " ");
    const char *value = strstr(line, " =");
    assert_ptr_equal(value, line + len);
    value += value[2] == ' ' ? 3 : 2;
    for (size_t i = 0; i < c2_conf_keys_count; i++) {
        const struct c2_conf_key *k = &c2_conf_keys[i];
        if (strcmp(k->section, section) != 0 || strlen(k->name) != len ||
            strncmp(k->name, line, len) != 0)
            continue;
        seen[i] = true;
        if (!active && k->def != NULL && strcmp(k->def, value) != 0)
            fail_msg("[%s] %s: the example says \"%s\", the table \"%s\"", section, k->name, value,
                     k->def);
        return;
    }
    fail_msg("not in the table: [%s] %s", section, line);
}

static void
read_example(struct c2_buf *text)
{
    enum c2_err err = c2_os_read_file("c2fs.conf.example", C2_CONF_FILE_MAX, text, NULL);
    if (err == C2_E_NOT_FOUND) {
        print_message("c2fs.conf.example is not in the current folder\n");
        skip();
    }
    assert_int_equal(err, C2_E_OK);
}

static void
example__has_every_key_with_its_default(void **state)
{
    (void)state;
    struct c2_buf text = { 0 };
    bool seen[128] = { 0 };
    char section[32] = "";
    read_example(&text);
    assert_true(c2_conf_keys_count <= C2_ARRAY_LEN(seen));
    c2_buf_cstr(&text);
    char *rest = (char *)text.data;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        if (*line == '[')
            snprintf(section, sizeof(section), "%.*s", (int)strcspn(line + 1, " ]"), line + 1);
        else if (*line != '#' && *line != '\0')
            check_example_line(section, line, seen);
    }
    for (size_t i = 0; i < c2_conf_keys_count; i++) {
        if (!seen[i])
            fail_msg("[%s] %s is not in c2fs.conf.example", c2_conf_keys[i].section,
                     c2_conf_keys[i].name);
    }
    c2_buf_done(&text);
}

/* As it is, and with every key set. */
static void
example__loads(void **state)
{
    (void)state;
    struct c2_conf *conf = c2_conf_new();
    struct c2_buf text = { 0 };
    read_example(&text);
    enum c2_err err = c2_conf_load_text(conf, c2_buf_slice(&text), "example");
    assert_string_equal(c2_conf_error(conf), "");
    assert_int_equal(err, C2_E_OK);
    size_t providers = 0;
    while (c2_conf_section(conf, "provider", providers) != NULL)
        providers++;
    assert_int_equal(providers, 4);
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == ';' && (i == 0 || text.data[i - 1] == '\n'))
            text.data[i] = ' ';
    }
    err = c2_conf_load_text(conf, c2_buf_slice(&text), "example");
    assert_string_equal(c2_conf_error(conf), "");
    assert_int_equal(err, C2_E_OK);
    assert_string_equal(c2_conf_str(conf, "metadata", "hospital", "trust"),
                        "/etc/c2fs/hospital/root.pub");
    c2_conf_free(conf);
    c2_buf_done(&text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys__have_valid_defaults_and_help),
        cmocka_unit_test(example__has_every_key_with_its_default),
        cmocka_unit_test(example__loads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
