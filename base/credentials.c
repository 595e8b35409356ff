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
#include "base/credentials_text.h"
#include "base/env.h"
#include "base/os_env.h"
#include "base/os_file.h"
#include "base/os_spawn.h"
#include "base/str.h"

#define COMMAND_TIMEOUT_NS (30 * C2_NS_PER_S)

static const char *const env_names[C2_CRED_FIELDS] = { "ACCESS_KEY_ID", "SECRET_ACCESS_KEY",
                                                       "SESSION_TOKEN" };

void
c2_credentials_done(struct c2_credentials *c)
{
    struct c2_cred_found f = { .value = { [C2_CRED_ID] = c->access_key_id,
                                          [C2_CRED_SECRET] = c->secret_access_key,
                                          [C2_CRED_TOKEN] = c->session_token } };
    c2_cred_found_done(&f);
    c2_free(c->origin);
    *c = (struct c2_credentials){ 0 };
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
deliver(struct c2_cred_found *f, const char *origin, struct c2_credentials *ret, char **ret_error)
{
    if (f->value[C2_CRED_ID] == NULL && f->value[C2_CRED_SECRET] == NULL)
        return C2_E_NOT_FOUND;
    for (int i = C2_CRED_ID; i <= C2_CRED_SECRET; i++) {
        if (f->value[i] == NULL) {
            *ret_error = c2_asprintf("%s: %s is missing", origin, c2_cred_names[i]);
            return C2_E_CONFIG;
        }
    }
    *ret = (struct c2_credentials){ .access_key_id = f->value[C2_CRED_ID],
                                    .secret_access_key = f->value[C2_CRED_SECRET],
                                    .session_token = f->value[C2_CRED_TOKEN],
                                    .origin = c2_strdup(origin) };
    for (int i = 0; i < C2_CRED_FIELDS; i++)
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
    struct c2_cred_found f = { 0 };
    enum c2_err err = read_secret_file(path, &text, ret_error);
    if (err == C2_E_OK)
        err = c2_cred_parse_lines(c2_buf_slice(&text), NULL, path, &f, ret_error);
    if (err == C2_E_OK)
        err = deliver(&f, path, ret, ret_error);
    c2_cred_found_done(&f);
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
    struct c2_cred_found f = { 0 };
    char *problem;
    enum c2_err err = c2_os_command(command, variable, COMMAND_TIMEOUT_NS, &text, &problem);
    if (err != C2_E_OK) {
        *ret_error = c2_asprintf("%s %s", origin, problem);
        c2_free(problem);
    } else {
        err = c2_cred_parse_output(&text, origin, &f, ret_error);
    }
    if (err == C2_E_OK)
        err = deliver(&f, origin, ret, ret_error);
    if (err == C2_E_NOT_FOUND) {
        *ret_error = c2_asprintf("%s printed no access_key_id", origin);
        err = C2_E_CONFIG;
    }
    c2_cred_found_done(&f);
    wipe_buf(&text);
    return err;
}

static enum c2_err
from_file(const char *path, const char *provider, struct c2_credentials *ret, char **ret_error)
{
    struct c2_buf text = { 0 };
    struct c2_cred_found f = { 0 };
    enum c2_err err = read_secret_file(path, &text, ret_error);
    if (err == C2_E_OK)
        err = c2_cred_parse_lines(c2_buf_slice(&text), provider, path, &f, ret_error);
    wipe_buf(&text);
    if (err == C2_E_OK && f.command != NULL)
        err = from_command(f.command, provider, path, ret, ret_error);
    else if (err == C2_E_OK)
        err = deliver(&f, path, ret, ret_error);
    c2_cred_found_done(&f);
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
    struct c2_cred_found f = { 0 };
    enum c2_err err = C2_E_OK;
    C2_AUTO(c2_free_auto) char *origin = c2_asprintf("environment %s*", prefix);
    for (int i = 0; i < C2_CRED_FIELDS && err == C2_E_OK; i++) {
        C2_AUTO(c2_free_auto) char *name = c2_asprintf("%s%s", prefix, env_names[i]);
        const char *value = c2_os_getenv(name);
        if (value != NULL)
            err = c2_cred_keep(&f, (enum c2_cred_field)i, c2_slice_str(value), origin, ret_error);
    }
    if (err == C2_E_OK)
        err = deliver(&f, origin, ret, ret_error);
    c2_cred_found_done(&f);
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
