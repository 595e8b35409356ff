/* SPDX-License-Identifier: MIT */
#include "tools/conf_edit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/conf_ini.h"
#include "base/os_file.h"

#define SYSTEM_FOLDER "/etc/c2fs/conf.d"
#define LINE_LEN_MAX  4096

/* Through a file beside it, so that nobody ever sees half of it. A file that is there keeps its
 * place behind a symbolic link, its owner and its mode: the daemon may be another user. */
static enum c2_err
write_file(const char *path, const struct c2_buf *text, mode_t mode_of_new)
{
    char real[PATH_MAX];
    struct stat st = { .st_mode = mode_of_new };
    if (realpath(path, real) != NULL)
        path = real;
    bool existed = stat(path, &st) == 0;
    mode_t mode = st.st_mode & 07777;
    char *beside = c2_asprintf("%s.new-%d", path, (int)getpid());
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    enum c2_err err = fd < 0 ? c2_err_from_errno(errno) : C2_E_OK;
    if (err == C2_E_OK && existed && fchown(fd, st.st_uid, st.st_gid) != 0)
        err = c2_err_from_errno(errno);
    if (err == C2_E_OK && fchmod(fd, mode) != 0)
        err = c2_err_from_errno(errno);
    if (err == C2_E_OK)
        err = c2_os_write_all(fd, text->data, text->len);
    if (err == C2_E_OK && fsync(fd) != 0)
        err = c2_err_from_errno(errno);
    if (fd >= 0)
        close(fd);
    if (err == C2_E_OK && rename(beside, path) != 0)
        err = c2_err_from_errno(errno);
    if (err != C2_E_OK)
        (void)unlink(beside);
    c2_free(beside);
    return err;
}

void
conf_edit_done(struct conf_edit *e)
{
    c2_free(e->path);
    c2_buf_done(&e->before);
    *e = (struct conf_edit){ 0 };
}

void
conf_edit_undo(struct conf_edit *e)
{
    if (e->path == NULL)
        return;
    enum c2_err err = C2_E_OK;
    if (e->existed)
        err = write_file(e->path, &e->before, 0644);
    else if (unlink(e->path) != 0)
        err = c2_err_from_errno(errno);
    if (err != C2_E_OK)
        (void)fprintf(stderr, "c2fsctl: %s cannot be put back as it was: %s\n", e->path,
                      c2_err_text(err));
    conf_edit_done(e);
}

static bool
append_section(struct c2_buf *text, const char *name, const char *const *words, size_t nwords)
{
    if (text->len > 0 && text->data[text->len - 1] != '\n')
        c2_buf_append(text, "\n", 1);
    c2_buf_printf(text, "\n[provider \"%s\"]\nurl = %s\n", name, words[0]);
    for (size_t k = 1; k < nwords; k++) {
        const char *equal = strchr(words[k], '=');
        if (equal == NULL || strchr(words[k], '\n') != NULL)
            return false;
        c2_buf_printf(text, "%.*s = %s\n", (int)(equal - words[k]), words[k], equal + 1);
    }
    return strchr(words[0], '\n') == NULL && strpbrk(name, "\"\n/") == NULL;
}

C2_RESULT
conf_edit_add(struct conf_edit *e, const struct cmd_ctx *x, const char *name,
              const char *const *words, size_t nwords, char **ret_error)
{
    struct c2_buf text = { 0 };
    e->path = x->config_file != NULL ? c2_strdup(x->config_file)
                                     : c2_asprintf(SYSTEM_FOLDER "/%s.conf", name);
    enum c2_err err = c2_os_read_file(e->path, C2_CONF_FILE_MAX, &e->before, NULL);
    e->existed = err == C2_E_OK;
    if (err == C2_E_NOT_FOUND)
        err = C2_E_OK;
    c2_buf_append(&text, e->before.data, e->before.len);
    if (err == C2_E_OK && !append_section(&text, name, words, nwords)) {
        *ret_error = c2_strdup("further words must be KEY=VALUE");
        err = C2_E_INVALID;
    }
    if (err == C2_E_OK)
        err = write_file(e->path, &text, 0644);
    if (err != C2_E_OK) {
        if (*ret_error == NULL)
            *ret_error = c2_asprintf("cannot write %s: %s", e->path, c2_err_text(err));
        conf_edit_done(e);
    } else {
        struct c2_conf *conf = c2_conf_new();
        err = c2_conf_load_default(conf, x->config_file);
        if (err != C2_E_OK) {
            *ret_error = c2_strdup(c2_conf_error(conf));
            err = C2_E_CONFIG;
            conf_edit_undo(e);
        }
        c2_conf_free(conf);
    }
    c2_buf_done(&text);
    return err;
}

/* ---- credentials ----------------------------------------------------------------------------- */

/* Whether the line begins a section, as the reader of the file sees it, and which. */
static bool
begins_section(struct c2_slice line, const char *name, bool *ret_ours)
{
    struct c2_ini ini;
    c2_ini_init(&ini, line);
    bool begins = c2_ini_next(&ini) == C2_INI_SECTION;
    *ret_ours = begins && strcmp(c2_ini_first(&ini), name) == 0;
    c2_ini_done(&ini);
    return begins;
}

/* Every line but those of the provider's section. */
static void
copy_others(const struct c2_buf *before, const char *name, struct c2_buf *out)
{
    bool ours = false, is_ours;
    for (size_t at = 0; at < before->len;) {
        const uint8_t *end = memchr(before->data + at, '\n', before->len - at);
        size_t len = end == NULL ? before->len - at : (size_t)(end - (before->data + at)) + 1;
        struct c2_slice line = c2_slice(before->data + at, len);
        if (begins_section(line, name, &is_ours))
            ours = is_ours;
        if (!ours)
            c2_buf_append(out, line.data, line.len);
        at += len;
    }
    if (out->len > 0 && out->data[out->len - 1] != '\n')
        c2_buf_append(out, "\n", 1);
}

/* What the reader of the file refuses, it refuses for all providers. */
static bool
reads_back(const struct c2_buf *text, const char *name, const char *id, const char *secret)
{
    struct c2_ini ini;
    bool ours = false;
    unsigned found = 0;
    c2_ini_init(&ini, c2_buf_slice(text));
    enum c2_ini_kind kind;
    while ((kind = c2_ini_next(&ini)) == C2_INI_SECTION || kind == C2_INI_KEY) {
        const char *first = c2_ini_first(&ini), *second = c2_ini_second(&ini);
        if (kind == C2_INI_SECTION)
            ours = strcmp(first, name) == 0;
        else if (ours)
            found += (strcmp(first, "access_key_id") == 0 && strcmp(second, id) == 0) ||
                     (strcmp(first, "secret_access_key") == 0 && strcmp(second, secret) == 0);
    }
    c2_ini_done(&ini);
    return kind == C2_INI_END && found == 2;
}

static bool
is_key_text(const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if (*p <= ' ' || *p > '~')
            return false;
    }
    return true;
}

static bool
read_line(char *line)
{
    if (fgets(line, LINE_LEN_MAX, stdin) == NULL)
        return false;
    line[strcspn(line, "\r\n")] = '\0';
    return line[0] != '\0';
}

C2_RESULT
conf_edit_credentials(const struct cmd_ctx *x, const char *name, char **ret_error)
{
    const char *path = c2_conf_str(x->conf, "c2fs", NULL, "credentials");
    char id[LINE_LEN_MAX], secret[LINE_LEN_MAX];
    struct c2_buf before = { 0 }, text = { 0 };
    enum c2_err err = C2_E_INVALID;
    if (read_line(id) && read_line(secret)) {
        err = c2_os_read_file(path, C2_CONF_FILE_MAX, &before, NULL);
        if (err == C2_E_NOT_FOUND)
            err = C2_E_OK;
    } else {
        *ret_error = c2_strdup("standard input must have two lines, the access key id and the "
                               "secret access key");
    }
    if (err == C2_E_OK) {
        c2_buf_reserve(&text, before.len + 4 * LINE_LEN_MAX); /* no copies of secrets stay behind */
        copy_others(&before, name, &text);
        c2_buf_printf(&text, "[%s]\naccess_key_id = %s\nsecret_access_key = %s\n", name, id,
                      secret);
        if (!is_key_text(id) || !is_key_text(secret) || !reads_back(&text, name, id, secret)) {
            *ret_error = c2_asprintf("%s could not be read with these keys in it: they, or lines "
                                     "that are there already, are malformed",
                                     path);
            err = C2_E_INVALID;
        }
    }
    if (err == C2_E_OK)
        err = write_file(path, &text, 0600);
    if (err != C2_E_OK && *ret_error == NULL)
        *ret_error = c2_asprintf("cannot change %s: %s", path, c2_err_text(err));
    c2_wipe(id, sizeof(id));
    c2_wipe(secret, sizeof(secret));
    if (before.data != NULL)
        c2_wipe(before.data, before.len);
    if (text.data != NULL)
        c2_wipe(text.data, text.len);
    c2_buf_done(&before);
    c2_buf_done(&text);
    return err;
}
