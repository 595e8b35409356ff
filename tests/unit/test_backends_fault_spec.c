/* SPDX-License-Identifier: MIT */
/*
 * The language of faults: what it means, and what the refusals say.
 */
#include "backends/fault_spec.h"
#include "backends/registry.h"
#include "base/alloc.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#define VERB(verb) (1u << PROV_##verb)

static struct fault_spec
parse(const char *text)
{
    struct fault_spec spec;
    char *error = NULL;
    if (fault_spec_parse(text, &spec, &error) != C2_E_OK)
        fail_msg("\"%s\" was refused: %s", text, error);
    return spec;
}

static void
fault_spec__empty_text_is_no_rule(void **state)
{
    (void)state;
    assert_int_equal(parse("").count, 0);
    assert_int_equal(parse("  ").count, 0);
}

static void
fault_spec__every_kind_parses_alone(void **state)
{
    (void)state;
    for (unsigned i = 0; i < FAULT_KIND_COUNT; i++) {
        if (i == FAULT_DELAY)
            continue;
        struct fault_spec spec = parse(fault_kind_name((enum fault_kind)i));
        assert_int_equal(spec.count, 1);
        assert_int_equal(spec.rules[0].kind, i);
        assert_int_equal(spec.rules[0].chance_ppm, FAULT_CHANCE_FULL);
        assert_true(spec.rules[0].verbs != 0);
    }
}

static void
fault_spec__the_example_of_the_manual_parses(void **state)
{
    (void)state;
    struct fault_spec spec =
        parse("error:5%,delay:200ms,hang,corrupt:1%,absent:2%,empty,throttle:10%,lie:1%");
    assert_int_equal(spec.count, 8);
    assert_int_equal(spec.rules[0].chance_ppm, 50000);
    assert_int_equal(spec.rules[1].delay_ns, 200000000);
    assert_int_equal(spec.rules[7].verbs, VERB(PUT));
}

static void
fault_spec__chances_have_up_to_four_decimals(void **state)
{
    static const struct {
        const char *text;
        uint32_t ppm;
    } cases[] = {
        { "error:0%", 0 },        { "error:100%", 1000000 }, { "error:0.5%", 5000 },
        { "error:1.25%", 12500 }, { "error:0.0001%", 1 },    { "error:100.0%", 1000000 },
    };
    (void)state;
    for (size_t i = 0; i < C2_ARRAY_LEN(cases); i++)
        assert_int_equal(parse(cases[i].text).rules[0].chance_ppm, cases[i].ppm);
}

static void
fault_spec__verbs_narrow_a_rule(void **state)
{
    (void)state;
    struct fault_spec spec = parse("get.error:5%, put.hang , list.absent, delete_many.down");
    assert_int_equal(spec.count, 4);
    assert_int_equal(spec.rules[0].verbs, VERB(GET));
    assert_int_equal(spec.rules[1].verbs, VERB(PUT));
    assert_int_equal(spec.rules[2].verbs, VERB(LIST));
    assert_int_equal(spec.rules[3].verbs, VERB(DELETE_MANY));
}

static void
fault_spec__delay_takes_chance_and_duration(void **state)
{
    (void)state;
    struct fault_spec spec = parse("delay:10%:2s");
    assert_int_equal(spec.rules[0].chance_ppm, 100000);
    assert_int_equal(spec.rules[0].delay_ns, 2000000000);
}

static void
fault_spec__drip_may_have_a_duration(void **state)
{
    (void)state;
    assert_int_equal(parse("drip").rules[0].delay_ns, 0);
    struct fault_spec spec = parse("get.drip:10%:500ms");
    assert_int_equal(spec.rules[0].chance_ppm, 100000);
    assert_int_equal(spec.rules[0].delay_ns, 500000000);
    assert_int_equal(spec.rules[0].verbs, VERB(GET));
}

static void
fault_spec__a_threat_stands_for_its_rules(void **state)
{
    (void)state;
    struct fault_spec spec = parse("T14:10%,hang:1%");
    assert_int_equal(spec.count, 5);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(spec.rules[i].verbs, VERB(LIST));
    assert_int_equal(spec.rules[0].kind, FAULT_ABSENT);
    assert_int_equal(spec.rules[0].chance_ppm, 50000); /* a tenth of 50 % */
    assert_int_equal(spec.rules[4].kind, FAULT_HANG);
    spec = parse("get.T15");
    assert_int_equal(spec.count, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(spec.rules[i].verbs, VERB(GET));
}

static void
fault_spec__every_threat_parses_under_its_number(void **state)
{
    (void)state;
    for (unsigned i = 0; i < FAULT_THREATS; i++) {
        char name[8];
        snprintf(name, sizeof name, "T%02u", i + 1);
        assert_string_equal(fault_threats[i].name, name);
        struct fault_spec spec = parse(name);
        struct fault_spec rules = parse(fault_threats[i].spec);
        assert_true(spec.count > 0);
        assert_int_equal(spec.count, rules.count);
        for (size_t k = 0; k < spec.count; k++) {
            assert_int_equal(spec.rules[k].kind, rules.rules[k].kind);
            assert_int_equal(spec.rules[k].chance_ppm, rules.rules[k].chance_ppm);
        }
        assert_int_not_equal(fault_threat_kinds(i), 0);
    }
    assert_int_equal(fault_threat_kinds(0), 1u << FAULT_CORRUPT);
}

static void
fault_spec__refusals_say_what_to_write(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        { "eror:5%", "did you mean \"error\"" },
        { "corupt", "did you mean \"corrupt\"" },
        { "error,trottle:5%", "did you mean \"throttle\"" },
        { "xyzzyxyzzy", "known are: error down" },
        { "delte.error", "did you mean \"delete\"" },
        { "error:5", "write error:5%" },
        { "error:101%", "write error:5%" },
        { "error:-1%", "write error:5%" },
        { "error:5.12345%", "write error:5%" },
        { "error:", "write error:5%" },
        { "error:%", "write error:5%" },
        { "error:1s", "write error:5%" },
        { "delay", "write delay:200ms" },
        { "delay:5%", "write delay:200ms" },
        { "delay:soon", "write delay:200ms" },
        { "get.lie", "makes no sense" },
        { "get.T14", "makes no sense" },
        { "T16", "unknown fault" },
        { "T01:1s", "write error:5%" },
        { "drip:soon", "write drip:200ms" },
        { "put.corrupt", "makes no sense" },
        { "error,,hang", "unknown fault" },
        { "error,", "unknown fault" },
        { ",", "unknown fault" },
    };
    (void)state;
    for (size_t i = 0; i < C2_ARRAY_LEN(cases); i++) {
        struct fault_spec spec;
        char *error = NULL;
        assert_int_equal(fault_spec_parse(cases[i].text, &spec, &error), C2_E_CONFIG);
        if (error == NULL || strstr(error, cases[i].says) == NULL)
            fail_msg("\"%s\" gives: %s", cases[i].text, error);
        c2_free(error);
        assert_int_equal(fault_spec_parse(cases[i].text, &spec, NULL), C2_E_CONFIG);
    }
}

static void
fault_spec__refuses_endless_text(void **state)
{
    (void)state;
    char *error = NULL;
    char many[8000];
    for (size_t i = 0; i + 6 < sizeof many; i += 6)
        memcpy(many + i, "error,", 7);
    assert_int_equal(prov_fault_check(many, &error), C2_E_CONFIG);
    assert_non_null(strstr(error, "too long"));
    c2_free(error);
    many[40 * 6 - 1] = '\0';
    assert_int_equal(prov_fault_check(many, &error), C2_E_CONFIG);
    assert_non_null(strstr(error, "more than 32"));
    c2_free(error);
    many[32 * 6 - 1] = '\0';
    assert_int_equal(prov_fault_check(many, NULL), C2_E_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fault_spec__empty_text_is_no_rule),
        cmocka_unit_test(fault_spec__every_kind_parses_alone),
        cmocka_unit_test(fault_spec__the_example_of_the_manual_parses),
        cmocka_unit_test(fault_spec__chances_have_up_to_four_decimals),
        cmocka_unit_test(fault_spec__verbs_narrow_a_rule),
        cmocka_unit_test(fault_spec__delay_takes_chance_and_duration),
        cmocka_unit_test(fault_spec__drip_may_have_a_duration),
        cmocka_unit_test(fault_spec__a_threat_stands_for_its_rules),
        cmocka_unit_test(fault_spec__every_threat_parses_under_its_number),
        cmocka_unit_test(fault_spec__refusals_say_what_to_write),
        cmocka_unit_test(fault_spec__refuses_endless_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
