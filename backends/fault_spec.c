/* SPDX-License-Identifier: MIT */
/*
 * Parser of the language in fault_spec.h. The text comes from configuration and from people.
 */
#include "backends/fault_spec.h"

#include "base/alloc.h"
#include "base/str.h"

#include <string.h>

#define SPEC_TEXT_MAX 4096

#define VERB(verb) (1u << PROV_##verb)
#define VERBS_ALL  ((1u << PROV_VERB_COUNT) - 1)

static const struct {
    const char *name;
    unsigned verbs;
} kinds[FAULT_KIND_COUNT] = {
    [FAULT_ERROR] = { "error", VERBS_ALL },
    [FAULT_DOWN] = { "down", VERBS_ALL },
    [FAULT_THROTTLE] = { "throttle", VERBS_ALL },
    [FAULT_NOACK] = { "noack", VERBS_ALL },
    [FAULT_DELAY] = { "delay", VERBS_ALL },
    [FAULT_HANG] = { "hang", VERBS_ALL },
    [FAULT_LIE] = { "lie", VERB(PUT) },
    [FAULT_ABSENT] = { "absent", VERB(GET) | VERB(HEAD) | VERB(LIST) },
    [FAULT_EMPTY] = { "empty", VERB(GET) | VERB(LIST) },
    [FAULT_CORRUPT] = { "corrupt", VERB(GET) },
    [FAULT_TRUNCATE] = { "truncate", VERB(GET) },
    [FAULT_HUGE] = { "huge", VERB(GET) | VERB(HEAD) },
    [FAULT_SWAP] = { "swap", VERB(GET) },
    [FAULT_STALE] = { "stale", VERB(GET) | VERB(HEAD) },
    [FAULT_FORGE] = { "forge", VERB(LIST) },
};

const char *
fault_kind_name(enum fault_kind kind)
{
    C2_ASSERT(kind < FAULT_KIND_COUNT);
    return kinds[kind].name;
}

bool
fault_kind_find(const char *name, enum fault_kind *ret_kind)
{
    for (unsigned i = 0; i < FAULT_KIND_COUNT; i++) {
        if (strcmp(name, kinds[i].name) != 0)
            continue;
        *ret_kind = (enum fault_kind)i;
        return true;
    }
    return false;
}

/* Refusals are written through here; a caller that does not care passes NULL. */
static enum c2_err
refuse(char **ret_error, char *sentence)
{
    if (ret_error != NULL)
        *ret_error = sentence;
    else
        c2_free(sentence);
    return C2_E_CONFIG;
}

static enum c2_err
refuse_word(char **ret_error, const char *what, const char *word, const char *const *known,
            size_t count)
{
    const char *near = c2_nearest(word, known, count);
    if (near != NULL)
        return refuse(ret_error,
                      c2_asprintf("unknown %s \"%s\", did you mean \"%s\"?", what, word, near));
    struct c2_buf all = { 0 };
    for (size_t i = 0; i < count; i++)
        c2_buf_printf(&all, "%s%s", i == 0 ? "" : " ", known[i]);
    char *sentence = c2_asprintf("unknown %s \"%s\", known are: %s", what, word, c2_buf_cstr(&all));
    c2_buf_done(&all);
    return refuse(ret_error, sentence);
}

static enum c2_err
parse_verb(const char *word, unsigned *ret_verbs, char **ret_error)
{
    const char *names[PROV_VERB_COUNT];
    for (unsigned i = 0; i < PROV_VERB_COUNT; i++) {
        names[i] = prov_verb_name((enum prov_verb)i);
        if (strcmp(word, names[i]) == 0) {
            *ret_verbs = 1u << i;
            return C2_E_OK;
        }
    }
    return refuse_word(ret_error, "request", word, names, PROV_VERB_COUNT);
}

static enum c2_err
parse_kind(const char *word, enum fault_kind *ret_kind, char **ret_error)
{
    if (fault_kind_find(word, ret_kind))
        return C2_E_OK;
    const char *names[FAULT_KIND_COUNT];
    for (unsigned i = 0; i < FAULT_KIND_COUNT; i++)
        names[i] = kinds[i].name;
    return refuse_word(ret_error, "fault", word, names, FAULT_KIND_COUNT);
}

/* "5%", "0.25%": up to four decimals. */
static enum c2_err
parse_chance(const char *text, uint32_t *ret_ppm)
{
    size_t len = strlen(text);
    if (len < 2 || text[len - 1] != '%')
        return C2_E_PARSE;
    const char *point = memchr(text, '.', len);
    size_t whole_len = point == NULL ? len - 1 : (size_t)(point - text);
    uint64_t ppm = 0;
    C2_TRY(c2_u64_parse(c2_slice(text, whole_len), 100, &ppm));
    ppm *= FAULT_CHANCE_FULL / 100;
    if (point != NULL) {
        size_t digits = len - 1 - whole_len - 1;
        uint64_t fraction = 0;
        if (digits > 4)
            return C2_E_PARSE;
        C2_TRY(c2_u64_parse(c2_slice(point + 1, digits), 9999, &fraction));
        for (size_t i = digits; i < 4; i++)
            fraction *= 10;
        ppm += fraction;
    }
    if (ppm > FAULT_CHANCE_FULL)
        return C2_E_PARSE;
    *ret_ppm = (uint32_t)ppm;
    return C2_E_OK;
}

static enum c2_err
parse_arguments(char *arguments, struct fault_rule *rule, const char *word, char **ret_error)
{
    char *rest = arguments;
    while (rest != NULL) {
        const char *one = strsep(&rest, ":");
        if (parse_chance(one, &rule->chance_ppm) == C2_E_OK)
            continue;
        if (rule->kind != FAULT_DELAY)
            return refuse(ret_error, c2_asprintf("\"%s\" of \"%s\" is not a chance: write %s:5%%",
                                                 one, word, kinds[rule->kind].name));
        if (c2_duration_parse(one, &rule->delay_ns) != C2_E_OK)
            return refuse(ret_error, c2_asprintf("\"%s\" of \"%s\" is neither a duration nor a "
                                                 "chance: write delay:200ms or delay:10%%:2s",
                                                 one, word));
    }
    if (rule->kind == FAULT_DELAY && rule->delay_ns == 0)
        return refuse(ret_error, c2_asprintf("\"%s\" needs a duration: write delay:200ms", word));
    return C2_E_OK;
}

/* Cuts `text` into pieces. */
static enum c2_err
parse_rule(char *text, struct fault_rule *ret_rule, char **ret_error)
{
    struct fault_rule rule = { .chance_ppm = FAULT_CHANCE_FULL };
    char *arguments = text;
    char *word = strsep(&arguments, ":");
    unsigned verbs = VERBS_ALL;
    char *kind = strchr(word, '.');
    if (kind != NULL) {
        *kind++ = '\0';
        C2_TRY(parse_verb(word, &verbs, ret_error));
    } else {
        kind = word;
    }
    C2_TRY(parse_kind(kind, &rule.kind, ret_error));
    rule.verbs = verbs & kinds[rule.kind].verbs;
    if (rule.verbs == 0)
        return refuse(ret_error,
                      c2_asprintf("\"%s\" makes no sense for the request \"%s\"", kind, word));
    C2_TRY(parse_arguments(arguments, &rule, kind, ret_error));
    *ret_rule = rule;
    return C2_E_OK;
}

static char *
trim(char *text)
{
    text += strspn(text, " \t");
    size_t len = strlen(text);
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
        text[--len] = '\0';
    return text;
}

C2_RESULT
fault_spec_parse(const char *text, struct fault_spec *ret_spec, char **ret_error)
{
    if (strnlen(text, SPEC_TEXT_MAX + 1) > SPEC_TEXT_MAX)
        return refuse(ret_error, c2_strdup("the list of faults is too long"));
    struct fault_spec spec = { .count = 0 };
    C2_AUTO(c2_free_auto) char *copy = c2_strdup(text);
    char *rest = trim(copy);
    while (rest != NULL && (*rest != '\0' || spec.count > 0)) {
        if (spec.count == FAULT_RULES_MAX)
            return refuse(ret_error, c2_asprintf("more than %d faults", FAULT_RULES_MAX));
        char *one = trim(strsep(&rest, ","));
        C2_TRY(parse_rule(one, &spec.rules[spec.count], ret_error));
        spec.count++;
    }
    *ret_spec = spec;
    return C2_E_OK;
}
