/* SPDX-License-Identifier: MIT */
/*
 * Access keys of a provider: one function per place to look at, tried in order. Each answers
 * C2_E_NOT_FOUND for "nothing here", or an error with a sentence, or the keys. Buffers that held
 * secrets are reserved once and wiped.
 */
#include "base/credentials.h"

#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "base/conf_ini.h"
#include "base/env.h"
#include "base/os_env.h"
#include "base/os_file.h"
#include "base/os_spawn.h"
#include "base/str.h"

#define COMMAND_TIMEOUT_NS (30 * C2_NS_PER_S)

enum field { ID, SECRET, TOKEN, FIELDS };

static const char *const field_names[FIELDS] = { "access_key_id", "secret_access_key",
                                                 "session_token" };
static const char *const json_names[FIELDS] = { "AccessKeyId", "SecretAccessKey", "SessionToken" };
static const char *const env_names[FIELDS] = { "ACCESS_KEY_ID", "SECRET_ACCESS_KEY",
                                               "SESSION_TOKEN" };

/* What one place gave. */
struct found {
    char *value[FIELDS]; /* secret memory */
    char *command;       /* owned, or NULL */
};

static void
secret_str_free(char *s)
{
    if (s != NULL)
        c2_secret_free(s, strlen(s) + 1);
}

static void
found_done(struct found *f)
{
    for (int i = 0; i < FIELDS; i++)
        secret_str_free(f->value[i]);
    c2_free(f->command);
    *f = (struct found){ 0 };
}

void
c2_credentials_done(struct c2_credentials *c)
{
    secret_str_free(c->access_key_id);
    secret_str_free(c->secret_access_key);
    secret_str_free(c->session_token);
    c2_free(c->origin);
    *c = (struct c2_credentials){ 0 };
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

/* Empty values count as absent. */
static enum c2_err
keep(struct found *f, enum field field, struct c2_slice v, const char *origin, char **ret_error)
{
    if (!good_value(v)) {
        *ret_error = c2_asprintf("%s: %s has characters that no key has, or is too long", origin,
                                 field_names[field]);
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
take_key(struct found *f, const struct c2_ini *ini, const char *origin, char **ret_error)
{
    const char *const names[] = { field_names[ID], field_names[SECRET], field_names[TOKEN],
                                  "credential_command" };
    const char *key = c2_ini_first(ini), *value = c2_ini_second(ini);
    for (int i = 0; i < FIELDS; i++) {
        if (strcmp(key, field_names[i]) == 0)
            return keep(f, (enum field)i, c2_slice_str(value), origin, ret_error);
    }
    if (strcmp(key, "credential_command") == 0) {
        c2_free(f->command);
        f->command = *value == '\0' ? NULL : c2_strdup(value);
        return C2_E_OK;
    }
    const char *nearest = c2_nearest(key, names, C2_ARRAY_LEN(names));
    *ret_error = c2_asprintf("%s:%u: unknown key \"%s\", %s \"%s\"", origin, ini->line, key,
                             nearest == NULL ? "want for example" : "did you mean",
                             nearest == NULL ? names[ID] : nearest);
    return C2_E_CONFIG;
}

/*
 * `key = value` lines. With a section name only the lines below [section] count, but all are
 * checked; without one there must be no sections.
 */
static enum c2_err
parse_lines(struct c2_slice text, const char *section, const char *origin, struct found *f,
            char **ret_error)
{
    struct c2_ini ini;
    struct found others = { 0 };
    struct found *into = section == NULL ? f : NULL;
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
    found_done(&others);
    c2_ini_done(&ini);
    return err;
}

/* The string behind "name": in the flat JSON object of credential_process; no escapes in keys. */
static struct c2_slice
json_string(const char *json, const char *name)
{
    size_t len = strlen(name);
    for (const char *p = strchr(json, '"'); p != NULL; p = strchr(p + 1, '"')) {
        if (strncmp(p + 1, name, len) != 0 || p[1 + len] != '"')
            continue;
        const char *value = p + 2 + len;
        value += strspn(value, " \t\r\n");
        if (*value != ':')
            continue;
        value++;
        value += strspn(value, " \t\r\n");
        if (*value != '"')
            continue;
        return c2_slice(value + 1, strcspn(value + 1, "\""));
    }
    return c2_slice("", 0);
}

/* Some JSON writers escape the slash, which secrets like to contain. */
static void
unescape_slashes(struct c2_buf *text)
{
    size_t kept = 0;
    for (size_t i = 0; i < text->len; i++) {
        if (text->data[i] == '\\' && i + 1 < text->len && text->data[i + 1] == '/')
            continue;
        text->data[kept++] = text->data[i];
    }
    text->len = kept;
}

static enum c2_err
parse_output(struct c2_buf *text, const char *origin, struct found *f, char **ret_error)
{
    const char *s = c2_buf_cstr(text);
    if (s[strspn(s, " \t\r\n")] != '{')
        return parse_lines(c2_buf_slice(text), NULL, origin, f, ret_error);
    unescape_slashes(text);
    s = c2_buf_cstr(text);
    for (int i = 0; i < FIELDS; i++)
        C2_TRY(keep(f, (enum field)i, json_string(s, json_names[i]), origin, ret_error));
    return C2_E_OK;
}

/* NULL when the file is safe from other users, else what is wrong and what to type. */
static char *
unsafe_file(const char *path, const struct c2_os_file_info *info)
{
    unsigned me = c2_os_user_id();
    if (info->uid != me && info->uid != 0 && me != 0)
        return c2_asprintf("%s belongs to user %u, who could change it; type: chown %u %s", path,
                           info->uid, me, path);
    /* A file of root may be given to us through its group. */
    unsigned forbidden = info->uid == 0 && me != 0 ? 027 : 077;
    if ((info->mode & forbidden) == 0)
        return NULL;
    return c2_asprintf("%s can be read or changed by others (mode %04o); type: chmod %s %s", path,
                       info->mode, forbidden == 077 ? "600" : "640", path);
}

/* Appends a file of secrets to a buffer that will not move. */
static enum c2_err
read_secret_file(const char *path, struct c2_buf *out, char **ret_error)
{
    struct c2_os_file_info info;
    c2_buf_reserve(out, 2 * (size_t)C2_CREDENTIAL_FILE_MAX);
    enum c2_err err = c2_os_read_file(path, C2_CREDENTIAL_FILE_MAX, out, &info);
    if (err == C2_E_NOT_FOUND || err == C2_E_NOT_DIR)
        return C2_E_NOT_FOUND;
    if (err != C2_E_OK) {
        *ret_error = c2_asprintf("cannot read %s: %s", path, c2_err_text(err));
        return err == C2_E_ACCESS ? err : C2_E_CONFIG;
    }
    char *problem = unsafe_file(path, &info);
    if (problem == NULL)
        return C2_E_OK;
    *ret_error = problem;
    return C2_E_ACCESS;
}

static void
wipe_buf(struct c2_buf *b)
{
    if (b->data != NULL)
        c2_wipe(b->data, b->cap);
    c2_buf_done(b);
}

/* NOT_FOUND when the place has nothing; an error when it has half. Takes what f holds. */
static enum c2_err
deliver(struct found *f, const char *origin, struct c2_credentials *ret, char **ret_error)
{
    if (f->value[ID] == NULL && f->value[SECRET] == NULL)
        return C2_E_NOT_FOUND;
    for (int i = ID; i <= SECRET; i++) {
        if (f->value[i] == NULL) {
            *ret_error = c2_asprintf("%s: %s is missing", origin, field_names[i]);
            return C2_E_CONFIG;
        }
    }
    *ret = (struct c2_credentials){ .access_key_id = f->value[ID],
                                    .secret_access_key = f->value[SECRET],
                                    .session_token = f->value[TOKEN],
                                    .origin = c2_strdup(origin) };
    for (int i = 0; i < FIELDS; i++)
        f->value[i] = NULL;
    return C2_E_OK;
}

static enum c2_err
from_systemd(const char *provider, struct c2_credentials *ret, char **ret_error)
{
    const char *folder = c2_os_getenv("CREDENTIALS_DIRECTORY");
    if (folder == NULL)
        return C2_E_NOT_FOUND;
    C2_AUTO(c2_free_auto) char *path = c2_asprintf("%s/%s", folder, provider);
    struct c2_buf text = { 0 };
    struct found f = { 0 };
    enum c2_err err = read_secret_file(path, &text, ret_error);
    if (err == C2_E_OK)
        err = parse_lines(c2_buf_slice(&text), NULL, path, &f, ret_error);
    if (err == C2_E_OK)
        err = deliver(&f, path, ret, ret_error);
    found_done(&f);
    wipe_buf(&text);
    return err;
}

static enum c2_err
from_command(const char *command, const char *provider, const char *path,
             struct c2_credentials *ret, char **ret_error)
{
    C2_AUTO(c2_free_auto)
    char *origin = c2_asprintf("credential_command of [%s] in %s", provider, path);
    C2_AUTO(c2_free_auto) char *variable = c2_asprintf("C2FS_PROVIDER=%s", provider);
    struct c2_buf text = { 0 };
    struct found f = { 0 };
    char *problem;
    enum c2_err err = c2_os_command(command, variable, COMMAND_TIMEOUT_NS, &text, &problem);
    if (err != C2_E_OK) {
        *ret_error = c2_asprintf("%s %s", origin, problem);
        c2_free(problem);
    } else {
        err = parse_output(&text, origin, &f, ret_error);
    }
    if (err == C2_E_OK)
        err = deliver(&f, origin, ret, ret_error);
    if (err == C2_E_NOT_FOUND) {
        *ret_error = c2_asprintf("%s printed no access_key_id", origin);
        err = C2_E_CONFIG;
    }
    found_done(&f);
    wipe_buf(&text);
    return err;
}

static enum c2_err
from_file(const char *path, const char *provider, struct c2_credentials *ret, char **ret_error)
{
    struct c2_buf text = { 0 };
    struct found f = { 0 };
    enum c2_err err = read_secret_file(path, &text, ret_error);
    if (err == C2_E_OK)
        err = parse_lines(c2_buf_slice(&text), provider, path, &f, ret_error);
    wipe_buf(&text);
    if (err == C2_E_OK && f.command != NULL)
        err = from_command(f.command, provider, path, ret, ret_error);
    else if (err == C2_E_OK)
        err = deliver(&f, path, ret, ret_error);
    found_done(&f);
    return err;
}

/* "C2FS_AWS_FRA_" of "aws-fra"; the caller frees. */
static char *
env_prefix(const char *provider)
{
    char *prefix = c2_asprintf("C2FS_%s_", provider);
    for (char *p = prefix; *p != '\0'; p++)
        *p = isalnum((unsigned char)*p) ? (char)toupper((unsigned char)*p) : '_';
    return prefix;
}

static enum c2_err
from_environment(const char *prefix, struct c2_credentials *ret, char **ret_error)
{
    struct found f = { 0 };
    enum c2_err err = C2_E_OK;
    C2_AUTO(c2_free_auto) char *origin = c2_asprintf("environment %s*", prefix);
    for (int i = 0; i < FIELDS && err == C2_E_OK; i++) {
        C2_AUTO(c2_free_auto) char *name = c2_asprintf("%s%s", prefix, env_names[i]);
        const char *value = c2_os_getenv(name);
        if (value != NULL)
            err = keep(&f, (enum field)i, c2_slice_str(value), origin, ret_error);
    }
    if (err == C2_E_OK)
        err = deliver(&f, origin, ret, ret_error);
    found_done(&f);
    return err;
}

enum c2_err
c2_credentials_lookup(const struct c2_conf *conf, const char *provider, struct c2_credentials *ret,
                      char **ret_error)
{
    const char *file = c2_conf_str(conf, "c2fs", NULL, "credentials");
    C2_AUTO(c2_free_auto) char *prefix = env_prefix(provider);
    enum c2_err err = from_systemd(provider, ret, ret_error);
    if (err == C2_E_NOT_FOUND)
        err = from_file(file, provider, ret, ret_error);
    if (err == C2_E_NOT_FOUND)
        err = from_environment(prefix, ret, ret_error);
    if (err == C2_E_NOT_FOUND)
        err = from_environment("AWS_", ret, ret_error);
    if (err == C2_E_NOT_FOUND)
        *ret_error = c2_asprintf("no access keys for provider \"%s\": add a section [%s] with "
                                 "access_key_id and secret_access_key to %s, or set "
                                 "%sACCESS_KEY_ID and %sSECRET_ACCESS_KEY",
                                 provider, provider, file, prefix, prefix);
    return err;
}
