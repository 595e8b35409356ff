/* SPDX-License-Identifier: MIT */
/*
 * The key file of a volume and its passphrase: from the file that C2FS_PASSPHRASE_FILE names, from
 * passphrase_command, or typed. The first that is set counts; one that fails is an error, not a
 * reason to try the next.
 */
#include "fs/volume_impl.h"

#include <string.h>

#include "base/alloc.h"
#include "base/os_env.h"
#include "base/os_file.h"
#include "base/os_spawn.h"
#include "fs/key_file.h"

#define PASSPHRASE_ENV     "C2FS_PASSPHRASE_FILE"
#define COMMAND_TIMEOUT_NS (120 * C2_NS_PER_S) /* it may ask a person */

static void
wipe(struct c2_buf *b)
{
    if (b->data != NULL)
        c2_wipe(b->data, b->cap);
    c2_buf_done(b);
}

void
volume_key_done(struct volume_key *k)
{
    wipe(&k->text);
    wipe(&k->secret);
    c2_secret_free(k->volume_key, C2_KEY_LEN);
    k->volume_key = NULL;
    c2_free(k->path);
    k->path = NULL;
}

enum c2_err
volume_key_path(const struct volume_secrets *s, char **ret_path, struct volume_error *e)
{
    const char *path = c2_conf_str(s->conf, "volume", s->volume, "key_file");
    if (path == NULL || *path == '\0') {
        volume_fail(e, C2_E_CONFIG, "volume \"%s\" has no key_file", s->volume);
        volume_hint(e, "add key_file = /etc/c2fs/%s.key to [volume \"%s\"]", s->volume, s->volume);
        return C2_E_CONFIG;
    }
    *ret_path = c2_strdup(path);
    return C2_E_OK;
}

/* ---- where passphrases come from ------------------------------------------------------------ */

static enum c2_err
from_file(const char *path, struct c2_buf *out, struct volume_error *e)
{
    enum c2_err err = c2_os_read_file(path, VOLUME_PASSPHRASE_MAX, out, NULL);
    if (err == C2_E_OK)
        return C2_E_OK;
    volume_fail(e, err == C2_E_NOT_FOUND ? C2_E_CONFIG : err,
                "the passphrase file %s cannot be read: %s", path, c2_err_text(err));
    volume_hint(e, PASSPHRASE_ENV " names it; unset it or make the file readable for this user");
    return e->err;
}

static enum c2_err
from_command(const struct volume_secrets *s, const char *command, struct c2_buf *out,
             struct volume_error *e)
{
    char *variable = c2_asprintf("C2FS_VOLUME=%s", s->volume);
    char *problem = NULL;
    enum c2_err err = c2_os_command(command, variable, COMMAND_TIMEOUT_NS, out, &problem);
    if (err != C2_E_OK) {
        volume_fail(e, err, "passphrase_command of volume \"%s\" %s", s->volume,
                    problem == NULL ? c2_err_text(err) : problem);
        volume_hint(e, "run it by hand: %s", command);
    }
    c2_free(problem);
    c2_free(variable);
    return err;
}

/* Files and commands end with a newline that is not meant. */
static enum c2_err
finish_text(struct c2_buf *b, const char *origin, struct volume_error *e)
{
    while (b->len > 0 && (b->data[b->len - 1] == '\n' || b->data[b->len - 1] == '\r'))
        b->len--;
    if (b->len == 0 || memchr(b->data, '\0', b->len) != NULL || b->len > VOLUME_PASSPHRASE_MAX) {
        volume_fail(e, C2_E_CONFIG, "the passphrase from %s is %s", origin,
                    b->len == 0 ? "empty" : "not a line of text");
        return C2_E_CONFIG;
    }
    c2_buf_cstr(b);
    return C2_E_OK;
}

/* NOT_FOUND, and nothing said, when there is no place to get one from. */
static enum c2_err
get_passphrase(const struct volume_secrets *s, const char *prompt, struct c2_buf *out,
               bool *ret_typed, struct volume_error *e)
{
    const char *path = c2_os_getenv(PASSPHRASE_ENV);
    const char *command = c2_conf_str(s->conf, "volume", s->volume, "passphrase_command");
    *ret_typed = false;
    c2_buf_reserve(out, C2_OS_COMMAND_OUTPUT_MAX + 1); /* no copy stays behind by growing */
    if (path != NULL) {
        C2_TRY(from_file(path, out, e));
        return finish_text(out, path, e);
    }
    if (command != NULL && *command != '\0') {
        C2_TRY(from_command(s, command, out, e));
        return finish_text(out, "passphrase_command", e);
    }
    if (s->ask == NULL)
        return C2_E_NOT_FOUND;
    *ret_typed = true;
    enum c2_err err = s->ask(s->ask_arg, prompt, out);
    if (err != C2_E_OK) {
        volume_fail(e, err, "no passphrase was given");
        return err;
    }
    return finish_text(out, "the terminal", e);
}

static enum c2_err
no_source(const char *what, struct volume_error *e)
{
    volume_fail(e, C2_E_KEY, "%s needs a passphrase and there is no terminal to ask on", what);
    volume_hint(e, "set passphrase_command in the configuration, or " PASSPHRASE_ENV
                   " to a file that has the passphrase");
    return C2_E_KEY;
}

/* ---- an existing key file ------------------------------------------------------------------- */

static enum c2_err
read_text(struct volume_key *k, const struct volume_secrets *s, struct volume_error *e)
{
    struct c2_os_file_info file = { 0 };
    enum c2_err err = c2_os_read_file(k->path, KEY_FILE_TEXT_MAX, &k->text, &file);
    if (err == C2_E_NOT_FOUND) {
        err = C2_E_KEY;
        volume_fail(e, err, "the key file %s of volume \"%s\" is not there", k->path, s->volume);
        volume_hint(e,
                    "bring it back from a copy or from the recovery kit (c2fsctl key restore), or "
                    "make a new volume with c2fsctl format %s",
                    s->volume);
    } else if (err != C2_E_OK) {
        volume_fail(e, err, "the key file %s cannot be read: %s", k->path, c2_err_text(err));
    } else if ((file.mode & 077) != 0) {
        err = C2_E_ACCESS;
        volume_fail(e, err, "other users may read the key file %s", k->path);
        volume_hint(e, "chmod 600 %s", k->path);
    }
    return err;
}

enum c2_err
volume_key_read(struct volume_key *k, const struct volume_secrets *s, struct volume_error *e)
{
    bool typed;
    uint8_t key[C2_KEY_LEN];
    C2_TRY(volume_key_path(s, &k->path, e));
    C2_TRY(read_text(k, s, e));
    enum c2_err err = key_file_decode(c2_buf_slice(&k->text), NULL, &k->info, key);
    c2_wipe(key, sizeof key);
    if (err != C2_E_KEY)
        return C2_E_OK; /* plain, or damaged: volume_key_open tells */
    char *prompt = c2_asprintf("Passphrase of volume %s: ", k->info.volume);
    err = get_passphrase(s, prompt, &k->secret, &typed, e);
    c2_free(prompt);
    if (err == C2_E_NOT_FOUND)
        return no_source(k->path, e);
    return err;
}

static void
open_run(struct c2_work *w)
{
    struct volume_key *k = C2_CONTAINER_OF(w, struct volume_key, work);
    const char *secret = k->secret.len == 0 ? NULL : (const char *)k->secret.data;
    k->err = key_file_decode(c2_buf_slice(&k->text), secret, &k->info, k->volume_key);
}

static void
work_done(struct c2_work *w)
{
    struct volume_key *k = C2_CONTAINER_OF(w, struct volume_key, work);
    k->done(k);
}

void
volume_key_open(struct volume_key *k, struct c2_env *env)
{
    k->volume_key = c2_secret_alloc(C2_KEY_LEN);
    k->work = (struct c2_work){ .run = open_run, .done = work_done };
    c2_work(env, &k->work);
}

void
volume_key_explain(const struct volume_key *k, struct volume_error *e)
{
    switch ((int)k->err) {
    case C2_E_KEY:
        volume_fail(e, C2_E_KEY, "wrong passphrase for the key file %s", k->path);
        volume_hint(e, "try it with c2fsctl key verify; the recovery kit (c2fsctl key restore) "
                       "needs no passphrase");
        break;
    case C2_E_VERSION:
        volume_fail(e, C2_E_VERSION, "the key file %s was written by a newer version of c2fs",
                    k->path);
        break;
    case C2_E_CORRUPT:
        volume_fail(e, C2_E_DAMAGED, "the key file %s is damaged", k->path);
        volume_hint(e, "bring it back from a copy or from the recovery kit (c2fsctl key restore)");
        break;
    case C2_E_PARSE:
        volume_fail(e, C2_E_CONFIG, "%s is not a key file of c2fs", k->path);
        break;
    default:
        volume_fail(e, k->err, "the key file %s cannot be opened: %s", k->path,
                    c2_err_text(k->err));
    }
}

/* ---- a new key file ------------------------------------------------------------------------- */

enum c2_err
volume_key_ask_new(struct volume_key *k, const struct volume_secrets *s, struct volume_error *e)
{
    struct c2_buf again = { 0 };
    bool typed;
    enum c2_err err = get_passphrase(s, "New passphrase of the key file: ", &k->secret, &typed, e);
    if (err == C2_E_NOT_FOUND) {
        volume_hint(e, "set " PASSPHRASE_ENV " to a file that has the passphrase, or use "
                       "--no-passphrase to leave the key file unsealed");
        err = no_source("a new key file", e);
    }
    if (err != C2_E_OK || !typed)
        return err;
    c2_buf_reserve(&again, C2_OS_COMMAND_OUTPUT_MAX + 1);
    err = s->ask(s->ask_arg, "The same again: ", &again);
    if (err != C2_E_OK)
        volume_fail(e, err, "no passphrase was given");
    else if (!c2_slice_equal(c2_buf_slice(&again), c2_buf_slice(&k->secret)))
        volume_fail(e, err = C2_E_INVALID, "the two passphrases are not the same");
    wipe(&again);
    return err;
}

static void
seal_run(struct c2_work *w)
{
    struct volume_key *k = C2_CONTAINER_OF(w, struct volume_key, work);
    const char *secret = k->secret.len == 0 ? NULL : (const char *)k->secret.data;
    k->err = key_file_encode(&k->info, k->volume_key, secret, &k->text);
}

void
volume_key_seal(struct volume_key *k, struct c2_env *env)
{
    k->work = (struct c2_work){ .run = seal_run, .done = work_done };
    c2_work(env, &k->work);
}
