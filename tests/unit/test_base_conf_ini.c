/* SPDX-License-Identifier: MIT */
/*
 * The INI grammar.
 */
#include "base/conf_ini.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

/* Items of a text as "[type|name] key=<value> !line:problem". */
static void
check_slice(struct c2_slice text, const char *expected)
{
    struct c2_ini ini;
    struct c2_buf out = { 0 };
    c2_ini_init(&ini, text);
    while (c2_ini_next(&ini) != C2_INI_END) {
        if (ini.kind == C2_INI_SECTION)
            c2_buf_printf(&out, "[%s|%s] ", c2_ini_first(&ini), c2_ini_second(&ini));
        else if (ini.kind == C2_INI_KEY)
            c2_buf_printf(&out, "%s=<%s> ", c2_ini_first(&ini), c2_ini_second(&ini));
        else
            c2_buf_printf(&out, "!%u:%s ", ini.line, ini.problem);
    }
    assert_string_equal(c2_buf_cstr(&out), expected);
    c2_buf_done(&out);
    c2_ini_done(&ini);
}

static void
check(const char *text, const char *expected)
{
    check_slice(c2_slice_str(text), expected);
}

static void
ini__reads_sections_keys_and_comments(void **state)
{
    (void)state;
    check("", "");
    check("\n\n  \t\n", "");
    check("; comment\n# comment\n  ; indented", "");
    check("[c2fs]\nkey = value\n", "[c2fs|] key=<value> ");
    check("[volume \"phr\"]\r\na=1\r\n", "[volume|phr] a=<1> ");
    check(" [ volume   \"a.b-c\" ] ; why\n\t a  =  b c  ", "[volume|a.b-c] a=<b c> ");
    check("\xef\xbb\xbfkey = 1", "key=<1> ");
    check("url = s3://b/p#x=y", "url=<s3://b/p#x=y> ");
}

static void
ini__strips_comments_behind_values(void **state)
{
    (void)state;
    check("a = b ; c", "a=<b> ");
    check("a = b\t;c", "a=<b> ");
    check("a = b;c", "a=<b;c> ");
    check("a = b # c", "a=<b # c> ");
    check("a = ; nothing", "a=<> ");
    check("a =", "a=<> ");
    check("a = sh -c \"x ; y\" ; z", "a=<sh -c \"x ; y\"> ");
    check("a = \"b ; c\" ; d", "a=<b ; c> ");
}

static void
ini__unquotes_a_value_that_is_one_string(void **state)
{
    (void)state;
    check("a = \"\"", "a=<> ");
    check("a = \"  b  \"", "a=<  b  > ");
    check("a = \"q\\\" b\\\\ n\\n t\\t.\"", "a=<q\" b\\ n\n t\t.> ");
    check("a = \"b\" c", "a=<\"b\" c> ");
    check("a = \"b\" \"c\"", "a=<\"b\" \"c\"> ");
    check("a = b\\n", "a=<b\\n> ");
}

static void
ini__names_line_and_problem(void **state)
{
    (void)state;
    check("a=1\n\nnonsense\nb=2", "a=<1> !3:expected \"key = value\" or \"[section]\" b=<2> ");
    check("= x", "!1:no key in front of \"=\" ");
    check("a = \"b", "!1:quote is not closed ");
    check("a = \"b\\\"", "!1:quote is not closed ");
    check("a = x \"b ; c", "!1:quote is not closed ");
    check("a = \"\\x\"", "!1:unknown escape inside quotes, want \\\" \\\\ \\n or \\t ");
    check("[volume", "!1:\"]\" is missing ");
    check("[]", "!1:section without a type ");
    check("[ \"x\"]", "!1:section without a type ");
    check("[volume phr]", "!1:name of a section must be quoted: [type \"name\"] ");
    check("[volume \"]", "!1:name of a section must be quoted: [type \"name\"] ");
    check("[volume \"\"]", "!1:bad name of a section ");
    check("[volume \"a\" \"b\"]", "!1:bad name of a section ");
    check("[volume \"a\"] x", "!1:text after \"]\" ");
    check("a = b\x01", "!1:control character ");
    check("a = b\x7f", "!1:control character ");
    check_slice(c2_slice("a = b\0c", 7), "!1:control character ");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ini__reads_sections_keys_and_comments),
        cmocka_unit_test(ini__strips_comments_behind_values),
        cmocka_unit_test(ini__unquotes_a_value_that_is_one_string),
        cmocka_unit_test(ini__names_line_and_problem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
