/* SPDX-License-Identifier: MIT */
#include "base/credentials_text.h"

#include <string.h>

#include "base/alloc.h"
#include "base/conf_ini.h"
#include "base/str.h"

const char *const c2_cred_names[C2_CRED_FIELDS] = { "access_key_id", "secret_access_key",
                                                    "session_token" };
static const char *const json_names[C2_CRED_FIELDS] = { "AccessKeyId", "SecretAccessKey",
                                                        "SessionToken" };

/* NULL is fine. */
static void
secret_str_free(char *s)
{
    if (s != NULL)
        c2_secret_free(s, strlen(s) + 1);
}

void
c2_cred_found_done(struct c2_cred_found *f)
{
    for (int i = 0; i < C2_CRED_FIELDS; i++)
        secret_str_free(f->value[i]);
    c2_free(f->command);
    *f = (struct c2_cred_found){ 0 };
}

/* They end up in HTTP headers. */
static bool
good_value(struct c2_slice v)
{
    for (size_t i = 0; i < v.len; i++) {
        if (v.data[i] <= ' ' || v.data[i] > '~')
            return false;
    }
    return v.len <= C2_CREDENTIAL_LEN_MAX;
}

enum c2_err
c2_cred_keep(struct c2_cred_found *f, enum c2_cred_field field, struct c2_slice v,
             const char *origin, char **ret_error)
{
    if (!good_value(v)) {
        *ret_error = c2_asprintf("%s: %s has characters that no key has, or is too long", origin,
                                 c2_cred_names[field]);
        return C2_E_CONFIG;
    }
    secret_str_free(f->value[field]);
    f->value[field] = NULL;
    if (v.len > 0) {
        f->value[field] = c2_secret_alloc(v.len + 1);
        memcpy(f->value[field], v.data, v.len);
    }
    return C2_E_OK;
}

static enum c2_err
take_key(struct c2_cred_found *f, const struct c2_ini *ini, const char *origin, char **ret_error)
{
    const char *const names[] = { c2_cred_names[C2_CRED_ID], c2_cred_names[C2_CRED_SECRET],
                                  c2_cred_names[C2_CRED_TOKEN], "credential_command" };
    const char *key = c2_ini_first(ini), *value = c2_ini_second(ini);
    for (int i = 0; i < C2_CRED_FIELDS; i++) {
        if (strcmp(key, c2_cred_names[i]) == 0)
            return c2_cred_keep(f, (enum c2_cred_field)i, c2_slice_str(value), origin, ret_error);
    }
    if (strcmp(key, "credential_command") == 0) {
        c2_free(f->command);
        f->command = *value == '\0' ? NULL : c2_strdup(value);
        return C2_E_OK;
    }
    const char *nearest = c2_nearest(key, names, C2_ARRAY_LEN(names));
    *ret_error = c2_asprintf("%s:%u: unknown key \"%s\", %s \"%s\"", origin, ini->line, key,
                             nearest == NULL ? "want for example" : "did you mean",
                             nearest == NULL ? names[C2_CRED_ID] : nearest);
    return C2_E_CONFIG;
}

enum c2_err
c2_cred_parse_lines(struct c2_slice text, const char *section, const char *origin,
                    struct c2_cred_found *f, char **ret_error)
{
    struct c2_ini ini;
    struct c2_cred_found others = { 0 };
    struct c2_cred_found *into = section == NULL ? f : NULL;
    enum c2_err err = C2_E_OK;
    c2_ini_init(&ini, text);
    while (err == C2_E_OK && c2_ini_next(&ini) != C2_INI_END) {
        const char *problem = NULL;
        if (ini.kind == C2_INI_BAD)
            problem = ini.problem;
        else if (ini.kind == C2_INI_SECTION && (section == NULL || *c2_ini_second(&ini) != '\0'))
            problem = section == NULL ? "no sections here" : "want [NAME] of a provider";
        else if (ini.kind == C2_INI_SECTION)
            into = strcmp(c2_ini_first(&ini), section) == 0 ? f : &others;
        else if (into == NULL)
            problem = "key before the first [NAME] of a provider";
        else
            err = take_key(into, &ini, origin, ret_error);
        if (problem != NULL) {
            *ret_error = c2_asprintf("%s:%u: %s", origin, ini.line, problem);
            err = C2_E_CONFIG;
        }
    }
    c2_cred_found_done(&others);
    c2_ini_done(&ini);
    return err;
}

/* What an escape stands for, 0 when no key has that; moves behind it. */
static char
unescape(char **at)
{
    static const char hex[] = "u00";
    const char *in = *at + 1;
    uint8_t c = 0;
    if (*in == '/') {
        *at += 2;
        return '/';
    }
    if (strncmp(in, hex, strlen(hex)) != 0 || strlen(in) < strlen(hex) + 2 ||
        c2_hex_decode(c2_slice(in + strlen(hex), 2), &c, 1) != C2_E_OK)
        return 0;
    *at += 1 + strlen(hex) + 2;
    return c > ' ' && c <= '~' && c != '"' && c != '\\' ? (char)c : 0;
}

/* A string whose first quote is before `at`, unescaped in place; what is wrong with it, or NULL. */
static const char *
take_string(char *at, struct c2_slice *ret)
{
    char *out = at;
    *ret = c2_slice(at, 0);
    while (*at != '"') {
        char c = *at;
        if (c == '\0')
            return "is cut off";
        if (c != '\\')
            at++;
        else if ((c = unescape(&at)) == 0)
            return "has an escape that no key needs";
        *out++ = c;
        ret->len++;
    }
    return NULL;
}

/* The string behind "name": in the flat JSON object of credential_process, empty when there is
 * none; no escapes in names. */
static const char *
json_string(char *json, const char *name, struct c2_slice *ret)
{
    size_t len = strlen(name);
    *ret = c2_slice("", 0);
    for (char *p = strchr(json, '"'); p != NULL; p = strchr(p + 1, '"')) {
        if (strncmp(p + 1, name, len) != 0 || p[1 + len] != '"')
            continue;
        char *value = p + 2 + len;
        value += strspn(value, " \t\r\n");
        if (*value != ':')
            continue;
        value++;
        value += strspn(value, " \t\r\n");
        if (*value == '"')
            return take_string(value + 1, ret);
    }
    return NULL;
}

enum c2_err
c2_cred_parse_output(struct c2_buf *text, const char *origin, struct c2_cred_found *f,
                     char **ret_error)
{
    const char *s = c2_buf_cstr(text);
    if (s[strspn(s, " \t\r\n")] != '{')
        return c2_cred_parse_lines(c2_buf_slice(text), NULL, origin, f, ret_error);
    for (int i = 0; i < C2_CRED_FIELDS; i++) {
        struct c2_slice value;
        const char *problem = json_string((char *)text->data, json_names[i], &value);
        if (problem != NULL) {
            *ret_error = c2_asprintf("%s: %s %s", origin, json_names[i], problem);
            return C2_E_CONFIG;
        }
        C2_TRY(c2_cred_keep(f, (enum c2_cred_field)i, value, origin, ret_error));
    }
    return C2_E_OK;
}
