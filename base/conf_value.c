/* SPDX-License-Identifier: MIT */
/*
 * Values of configuration keys.
 */
#include "base/conf_value.h"

#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/str.h"

#define WORDS_MAX    16
#define WORD_LEN_MAX 32

/* The words of "async|sync". */
struct words {
    char text[WORDS_MAX][WORD_LEN_MAX];
    const char *word[WORDS_MAX];
    size_t count;
};

static void
words_of(const char *limits, struct words *w)
{
    w->count = 0;
    for (const char *p = limits; *p != '\0';) {
        size_t len = strcspn(p, "|");
        C2_ASSERT(w->count < WORDS_MAX && len < WORD_LEN_MAX);
        memcpy(w->text[w->count], p, len);
        w->text[w->count][len] = '\0';
        w->word[w->count] = w->text[w->count];
        w->count++;
        p += len + (p[len] == '|');
    }
}

static enum c2_err
parse_bool(const char *text, uint64_t *ret_value)
{
    static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };
    for (size_t i = 0; i < C2_ARRAY_LEN(words); i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *ret_value = i % 2;
            return C2_E_OK;
        }
    }
    return C2_E_PARSE;
}

static enum c2_err
parse_number(enum c2_conf_type type, const char *text, uint64_t *ret_value)
{
    switch (type) {
    case C2_CONF_SIZE:
        return c2_size_parse(text, ret_value);
    case C2_CONF_DURATION:
        return c2_duration_parse(text, ret_value);
    case C2_CONF_DECIMAL:
        return c2_decimal_parse(text, ret_value);
    case C2_CONF_U64:
        return c2_u64_parse(c2_slice_str(text), UINT64_MAX, ret_value);
    case C2_CONF_BOOL:
        return parse_bool(text, ret_value);
    case C2_CONF_STR:
    case C2_CONF_PATH:
    case C2_CONF_ENUM:
    case C2_CONF_LOCATION:
        break;
    }
    C2_UNREACHABLE();
}

static const char *
type_example(enum c2_conf_type type)
{
    switch (type) {
    case C2_CONF_SIZE:
        return "a size like 512K, 64M or 10G";
    case C2_CONF_DURATION:
        return "a duration like 200ms, 30s, 5m, 2h or 1d";
    case C2_CONF_U64:
        return "a number";
    case C2_CONF_DECIMAL:
        return "a decimal number like 0.0053";
    case C2_CONF_BOOL:
        return "yes or no";
    case C2_CONF_STR:
    case C2_CONF_PATH:
    case C2_CONF_ENUM:
    case C2_CONF_LOCATION:
        break;
    }
    C2_UNREACHABLE();
}

/* "16M..1G": both texts; empty when there is no such side. */
static void
range_of(const struct c2_conf_key *key, char min[WORD_LEN_MAX], char max[WORD_LEN_MAX])
{
    min[0] = max[0] = '\0';
    if (key->limits == NULL)
        return;
    const char *dots = strstr(key->limits, "..");
    C2_ASSERT(dots != NULL);
    size_t min_len = (size_t)(dots - key->limits), max_len = strlen(dots + 2);
    C2_ASSERT(min_len < WORD_LEN_MAX && max_len < WORD_LEN_MAX);
    memcpy(min, key->limits, min_len);
    min[min_len] = '\0';
    memcpy(max, dots + 2, max_len + 1);
}

void
c2_conf_limits_describe(const struct c2_conf_key *key, struct c2_buf *out)
{
    if (key->limits == NULL)
        return;
    if (key->type == C2_CONF_ENUM || key->type == C2_CONF_LOCATION) {
        struct words w;
        words_of(key->limits, &w);
        for (size_t i = 0; i < w.count; i++)
            c2_buf_printf(out, "%s%s", i == 0 ? "" : ", ", w.word[i]);
        return;
    }
    char min[WORD_LEN_MAX], max[WORD_LEN_MAX];
    range_of(key, min, max);
    if (max[0] == '\0')
        c2_buf_printf(out, "%s or more", min);
    else if (min[0] == '\0')
        c2_buf_printf(out, "%s or less", max);
    else
        c2_buf_printf(out, "%s..%s", min, max);
}

static char *
problem(const struct c2_conf_key *key, const char *text, const char *wanted, const char *nearest)
{
    struct c2_buf limits = { 0 };
    c2_conf_limits_describe(key, &limits);
    char *s = c2_asprintf("bad value \"%s\" for %s in [%s]%s%s%s, want %s%s%s", text, key->name,
                          key->section, nearest == NULL ? "" : ", did you mean \"",
                          nearest == NULL ? "" : nearest, nearest == NULL ? "" : "\"?", wanted,
                          limits.len == 0 || *wanted == '\0' ? "" : ", ", c2_buf_cstr(&limits));
    c2_buf_done(&limits);
    return s;
}

static enum c2_err
number_value(const struct c2_conf_key *key, const char *text, uint64_t *ret_number,
             char **ret_problem)
{
    char min[WORD_LEN_MAX], max[WORD_LEN_MAX];
    uint64_t value, low = 0, high = UINT64_MAX;
    enum c2_err err = parse_number(key->type, text, &value);
    if (err == C2_E_OK) {
        range_of(key, min, max);
        C2_ASSERT(min[0] == '\0' || parse_number(key->type, min, &low) == C2_E_OK);
        C2_ASSERT(max[0] == '\0' || parse_number(key->type, max, &high) == C2_E_OK);
    }
    if (err != C2_E_OK || value < low || value > high) {
        *ret_problem = problem(key, text, type_example(key->type), NULL);
        return C2_E_CONFIG;
    }
    *ret_number = value;
    return C2_E_OK;
}

static enum c2_err
enum_value(const struct c2_conf_key *key, const char *text, char **ret_problem)
{
    struct words w;
    words_of(key->limits, &w);
    for (size_t i = 0; i < w.count; i++) {
        if (strcmp(w.word[i], text) == 0)
            return C2_E_OK;
    }
    *ret_problem = problem(key, text, "", c2_nearest(text, w.word, w.count));
    return C2_E_CONFIG;
}

static char *
absolute(const char *path, const char *base_dir)
{
    if (*path == '\0' || *path == '/')
        return c2_strdup(path);
    while (strncmp(path, "./", 2) == 0)
        path += 2;
    return c2_asprintf("%s%s%s", base_dir, strcmp(base_dir, "/") == 0 ? "" : "/", path);
}

/* One of the forms "scheme:REST"; a REST that is a PATH becomes absolute. */
static enum c2_err
location_value(const struct c2_conf_key *key, const char *text, const char *base_dir,
               char **ret_text, char **ret_problem)
{
    struct words w;
    words_of(key->limits, &w);
    for (size_t i = 0; i < w.count; i++) {
        const char *rest = strchr(w.word[i], ':') + 1;
        size_t prefix = (size_t)(rest - w.word[i]);
        bool wants_more = *rest != '\0';
        prefix += strncmp(rest, "//", 2) == 0 ? 2 : 0;
        if (strncmp(text, w.word[i], prefix) != 0 || (text[prefix] != '\0') != wants_more)
            continue;
        if (strcmp(rest, "PATH") != 0) {
            *ret_text = c2_strdup(text);
            return C2_E_OK;
        }
        C2_AUTO(c2_free_auto) char *path = absolute(text + prefix, base_dir);
        *ret_text = c2_asprintf("%.*s%s", (int)prefix, text, path);
        return C2_E_OK;
    }
    *ret_problem = problem(key, text, "", NULL);
    return C2_E_CONFIG;
}

enum c2_err
c2_conf_value_parse(const struct c2_conf_key *key, const char *text, const char *base_dir,
                    char **ret_text, uint64_t *ret_number, char **ret_problem)
{
    uint64_t number = 0;
    switch (key->type) {
    case C2_CONF_PATH:
        *ret_text = absolute(text, base_dir);
        return C2_E_OK;
    case C2_CONF_LOCATION:
        return location_value(key, text, base_dir, ret_text, ret_problem);
    case C2_CONF_ENUM:
        C2_TRY(enum_value(key, text, ret_problem));
        break;
    case C2_CONF_SIZE:
    case C2_CONF_DURATION:
    case C2_CONF_U64:
    case C2_CONF_DECIMAL:
    case C2_CONF_BOOL:
        C2_TRY(number_value(key, text, &number, ret_problem));
        break;
    case C2_CONF_STR:
        break;
    }
    *ret_text = c2_strdup(text);
    *ret_number = number;
    return C2_E_OK;
}
