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
    [FAULT_DRIP] = { "drip", VERB(GET) | VERB(LIST) },
    [FAULT_PROTOCOL] = { "protocol", VERBS_ALL },
    [FAULT_REDIRECT] = { "redirect", VERBS_ALL },
    [FAULT_TLS] = { "tls", VERBS_ALL },
    [FAULT_DENIED] = { "denied", VERBS_ALL },
    [FAULT_FULL] = { "full", 1u << PROV_PUT },
    [FAULT_FORBIDDEN] = { "forbidden", VERBS_ALL },
    [FAULT_SKEW] = { "skew", VERBS_ALL },
    [FAULT_CHECKSUM] = { "checksum", VERB(PUT) },
    [FAULT_ROLLBACK] = { "rollback", VERB(PUT) | VERB(DELETE) | VERB(DELETE_MANY) },
    [FAULT_LOOP] = { "loop", VERB(LIST) },
};

const struct fault_threat fault_threats[FAULT_THREATS] = {
    { "T01", "a corrupt share", "corrupt" },
    { "T02", "a stale object", "stale" },
    { "T03", "rollback of a bucket", "rollback" },
    { "T04", "two objects are swapped", "swap" },
    { "T05", "a truncated body", "truncate" },
    { "T06", "200 without storing", "lie" },
    { "T07", "404 for a stored object", "absent" },
    { "T08", "a huge body, a slow drip, never-ending headers", "huge,drip:20%:2s,protocol:20%" },
    { "T09", "hostile XML", "list.protocol,delete_many.protocol,put.protocol,get.protocol:50%" },
    { "T10", "a redirect", "redirect" },
    { "T11", "a wrong checksum echo", "checksum" },
    { "T12", "a self-signed or wrong-name certificate", "tls" },
    { "T13", "TLS is stripped", "tls:50%,redirect" },
    { "T14", "a list that lies", "list.absent:50%,list.empty:20%,forge,loop:20%" },
    { "T15", "storms of 503 and 429, clock skew", "throttle:60%,denied:20%,skew" },
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
        if (rule->kind != FAULT_DELAY && rule->kind != FAULT_DRIP)
            return refuse(ret_error, c2_asprintf("\"%s\" of \"%s\" is not a chance: write %s:5%%",
                                                 one, word, kinds[rule->kind].name));
        if (c2_duration_parse(one, &rule->delay_ns) != C2_E_OK)
            return refuse(ret_error,
                          c2_asprintf("\"%s\" of \"%s\" is neither a duration nor a "
                                      "chance: write %s:200ms or %s:10%%:2s",
                                      one, word, kinds[rule->kind].name, kinds[rule->kind].name));
    }
    if (rule->kind == FAULT_DELAY && rule->delay_ns == 0)
        return refuse(ret_error, c2_asprintf("\"%s\" needs a duration: write delay:200ms", word));
    return C2_E_OK;
}

/* One word may be several rules. */
static enum c2_err
add_rule(struct fault_spec *spec, struct fault_rule rule, char **ret_error)
{
    if (spec->count == FAULT_RULES_MAX)
        return refuse(ret_error, c2_asprintf("more than %d faults", FAULT_RULES_MAX));
    spec->rules[spec->count++] = rule;
    return C2_E_OK;
}

static const struct fault_threat *
threat_named(const char *name)
{
    for (unsigned i = 0; i < FAULT_THREATS; i++) {
        if (strcmp(name, fault_threats[i].name) == 0)
            return &fault_threats[i];
    }
    return NULL;
}

/* A rule before it is understood. */
struct words {
    unsigned verbs;
    char *kind, *arguments;
};

/* Cuts `text` into pieces. */
static enum c2_err
split(char *text, struct words *ret_words, char **ret_error)
{
    struct words w = { .verbs = VERBS_ALL, .arguments = text };
    char *word = strsep(&w.arguments, ":");
    w.kind = strchr(word, '.');
    if (w.kind != NULL) {
        *w.kind++ = '\0';
        C2_TRY(parse_verb(word, &w.verbs, ret_error));
    } else {
        w.kind = word;
    }
    *ret_words = w;
    return C2_E_OK;
}

static enum c2_err
refuse_verb(char **ret_error, const char *word)
{
    return refuse(ret_error, c2_asprintf("\"%s\" makes no sense for that request", word));
}

static enum c2_err
parse_plain(const struct words *w, struct fault_rule *ret_rule, char **ret_error)
{
    struct fault_rule rule = { .chance_ppm = FAULT_CHANCE_FULL };
    C2_TRY(parse_kind(w->kind, &rule.kind, ret_error));
    rule.verbs = w->verbs & kinds[rule.kind].verbs;
    if (rule.verbs == 0)
        return refuse_verb(ret_error, w->kind);
    C2_TRY(parse_arguments(w->arguments, &rule, w->kind, ret_error));
    *ret_rule = rule;
    return C2_E_OK;
}

/* The rules of a threat, as far as they are about these requests, each so much rarer. */
static enum c2_err
add_threat(struct fault_spec *spec, const struct fault_threat *t, const struct words *limits,
           char **ret_error)
{
    struct fault_rule often = { .chance_ppm = FAULT_CHANCE_FULL, .kind = FAULT_ERROR };
    C2_AUTO(c2_free_auto) char *copy = c2_strdup(t->spec);
    char *rest = copy;
    bool any = false;
    C2_TRY(parse_arguments(limits->arguments, &often, t->name, ret_error));
    while (rest != NULL) {
        struct words w;
        struct fault_rule rule = { .kind = FAULT_ERROR };
        C2_TRY(split(strsep(&rest, ","), &w, ret_error));
        C2_TRY(parse_plain(&w, &rule, ret_error));
        rule.verbs &= limits->verbs;
        rule.chance_ppm =
            (uint32_t)((uint64_t)rule.chance_ppm * often.chance_ppm / FAULT_CHANCE_FULL);
        if (rule.verbs == 0)
            continue;
        any = true;
        C2_TRY(add_rule(spec, rule, ret_error));
    }
    return any ? C2_E_OK : refuse_verb(ret_error, t->name);
}

static enum c2_err
parse_rule(char *text, struct fault_spec *spec, char **ret_error)
{
    struct words w;
    struct fault_rule rule = { .kind = FAULT_ERROR };
    C2_TRY(split(text, &w, ret_error));
    const struct fault_threat *threat = threat_named(w.kind);
    if (threat != NULL)
        return add_threat(spec, threat, &w, ret_error);
    C2_TRY(parse_plain(&w, &rule, ret_error));
    return add_rule(spec, rule, ret_error);
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
        char *one = trim(strsep(&rest, ","));
        C2_TRY(parse_rule(one, &spec, ret_error));
    }
    *ret_spec = spec;
    return C2_E_OK;
}

unsigned
fault_threat_kinds(unsigned threat)
{
    C2_ASSERT(threat < FAULT_THREATS);
    struct fault_spec spec;
    unsigned found = 0;
    enum c2_err err = fault_spec_parse(fault_threats[threat].spec, &spec, NULL);
    C2_ASSERT(err == C2_E_OK);
    for (size_t i = 0; i < spec.count; i++)
        found |= 1u << spec.rules[i].kind;
    return found;
}
