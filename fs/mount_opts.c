/* SPDX-License-Identifier: MIT */
#include "fs/mount_opts.h"

#include <string.h>

#include "base/alloc.h"
#include "base/conf.h"
#include "base/str.h"

#define OPTION_MAX 1024u

enum effect {
    CONSUMED, /* mount(8) and systemd look at it, or it is the default */
    KERNEL,   /* passed on */
    OWN,      /* ours, without being a setting of the volume */
};

static const struct {
    const char *name; /* '=' at the end: takes a value */
    enum effect effect;
} known[] = {
    { "_netdev", CONSUMED },
    { "async", CONSUMED },
    { "atime", CONSUMED },
    { "auto", CONSUMED },
    { "comment=", CONSUMED },
    { "default_permissions", CONSUMED }, /* always on */
    { "defaults", CONSUMED },
    { "dev", KERNEL },
    { "diratime", CONSUMED },
    { "dirsync", KERNEL },
    { "exec", CONSUMED },
    { "group", CONSUMED },
    { "noatime", KERNEL },
    { "noauto", CONSUMED },
    { "nodev", KERNEL },
    { "nodiratime", CONSUMED },
    { "noexec", KERNEL },
    { "nofail", CONSUMED },
    { "nosuid", KERNEL },
    { "nouser", CONSUMED },
    { "owner", CONSUMED },
    { "relatime", CONSUMED },
    { "ro", KERNEL },
    { "rw", CONSUMED },
    { "strictatime", CONSUMED },
    { "suid", KERNEL },
    { "sync", KERNEL },
    { "user", CONSUMED },
    { "user=", CONSUMED },
    { "users", CONSUMED },
    { "config=", OWN },
    { "nonempty", OWN },
};

#define NKNOWN C2_ARRAY_LEN(known)

void
mount_opts_done(struct mount_opts *o)
{
    c2_buf_done(&o->kernel);
    c2_buf_done(&o->settings);
    c2_free(o->config);
    o->config = NULL;
}

static const struct c2_conf_key *
find_key(const char *name)
{
    for (size_t k = 0; k < c2_conf_keys_count; k++)
        if (strcmp(c2_conf_keys[k].section, "volume") == 0 &&
            strcmp(c2_conf_keys[k].name, name) == 0)
            return &c2_conf_keys[k];
    return NULL;
}

static char *
unknown_error(const char *name)
{
    const char **words = c2_calloc(NKNOWN + c2_conf_keys_count, sizeof(*words));
    size_t n = 0;
    char *fixed[NKNOWN];
    for (size_t k = 0; k < NKNOWN; k++) {
        fixed[k] = c2_strndup(known[k].name, strcspn(known[k].name, "="));
        words[n++] = fixed[k];
    }
    for (size_t k = 0; k < c2_conf_keys_count; k++)
        if (strcmp(c2_conf_keys[k].section, "volume") == 0)
            words[n++] = c2_conf_keys[k].name;
    const char *near = c2_nearest(name, words, n);
    char *error = near != NULL
                      ? c2_asprintf("unknown mount option \"%s\", did you mean \"%s\"?", name, near)
                      : c2_asprintf("unknown mount option \"%s\"", name);
    for (size_t k = 0; k < NKNOWN; k++)
        c2_free(fixed[k]);
    c2_free(words);
    return error;
}

/* Whether `option` (with its value, if any) is entry k of the table. */
static bool
is_known(size_t k, const char *option, const char *value)
{
    const char *name = known[k].name;
    size_t len = strlen(name);
    if (name[len - 1] != '=')
        return value == NULL && strcmp(name, option) == 0;
    return value != NULL && strlen(option) == len - 1 && strncmp(name, option, len - 1) == 0;
}

static void
take_known(size_t k, const char *option, const char *value, struct mount_opts *o)
{
    if (known[k].effect == KERNEL) {
        if (o->kernel.len > 0)
            c2_buf_puts(&o->kernel, ",");
        c2_buf_puts(&o->kernel, option);
    }
    if (strcmp(option, "ro") == 0)
        o->read_only = true;
    if (strcmp(option, "nonempty") == 0)
        o->nonempty = true;
    if (strcmp(option, "config") == 0) {
        c2_free(o->config);
        o->config = c2_strdup(value);
    }
}

/* "attr-timeout" is "attr_timeout". */
static void
normalise(char *name)
{
    for (char *p = name; *p != '\0'; p++)
        if (*p == '-')
            *p = '_';
}

static C2_RESULT
take_option(char *option, bool sloppy, struct mount_opts *o, char **ret_error)
{
    if (option[0] == '\0' || strncmp(option, "x-", 2) == 0 || strncmp(option, "X-", 2) == 0)
        return C2_E_OK;
    char *value = strchr(option, '=');
    if (value != NULL)
        *value++ = '\0';
    for (size_t k = 0; k < NKNOWN; k++) {
        if (is_known(k, option, value)) {
            take_known(k, option, value, o);
            return C2_E_OK;
        }
    }
    if (strcmp(option, "remount") == 0) {
        *ret_error = c2_strdup("the options of a mount cannot be changed while it is mounted\n"
                               "hint: unmount and mount again; for ro, rw, noexec and the like "
                               "mount -i -o remount,OPTION PATH is enough");
        return C2_E_CONFIG;
    }
    char *name = c2_strdup(option);
    normalise(name);
    const struct c2_conf_key *key = find_key(name);
    enum c2_err err = C2_E_OK;
    if (key != NULL && (value != NULL || key->type == C2_CONF_BOOL)) {
        const char *text = value != NULL ? value : "yes";
        c2_buf_append(&o->settings, name, strlen(name) + 1);
        c2_buf_append(&o->settings, text, strlen(text) + 1);
    } else if (key != NULL) {
        *ret_error = c2_asprintf("mount option \"%s\" needs a value", option);
        err = C2_E_CONFIG;
    } else if (!sloppy) {
        *ret_error = unknown_error(option);
        err = C2_E_CONFIG;
    }
    c2_free(name);
    return err;
}

C2_RESULT
mount_opts_parse(const char *text, bool sloppy, struct mount_opts *o, char **ret_error)
{
    while (*text != '\0') {
        size_t len = strcspn(text, ",");
        if (len > OPTION_MAX) {
            *ret_error = c2_strdup("a mount option is too long");
            return C2_E_CONFIG;
        }
        char *option = c2_strndup(text, len);
        enum c2_err err = take_option(option, sloppy, o, ret_error);
        c2_free(option);
        C2_TRY(err);
        text += len + (text[len] == ',');
    }
    (void)c2_buf_cstr(&o->kernel); /* terminates it */
    return C2_E_OK;
}

C2_RESULT
mount_opts_apply(const struct mount_opts *o, struct c2_conf *conf, const char *volume)
{
    for (size_t at = 0; at < o->settings.len;) {
        const char *name = (const char *)o->settings.data + at;
        const char *value = name + strlen(name) + 1;
        at += strlen(name) + strlen(value) + 2;
        C2_TRY(c2_conf_set(conf, "volume", volume, name, value, "-o"));
    }
    return C2_E_OK;
}
