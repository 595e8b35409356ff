/* SPDX-License-Identifier: MIT */
#include "fs/key_admin.h"

#include <string.h>

#include "base/alloc.h"
#include "base/conf.h"
#include "base/os_file.h"
#include "base/os_loop.h"
#include "fs/key_file.h"
#include "fs/volume_impl.h"

struct step {
    struct volume_key key;
    bool done;
};

static void
key_step_done(struct volume_key *k)
{
    C2_CONTAINER_OF(k, struct step, key)->done = true;
}

static struct volume_secrets
secrets_of(const struct key_admin *a)
{
    return (struct volume_secrets){ .conf = a->conf, .volume = a->volume, .ask = a->ask };
}

static void
step_free(struct step *s)
{
    volume_key_done(&s->key);
    c2_free(s);
}

static struct step *
step_new(void)
{
    struct step *s = c2_calloc(1, sizeof(*s));
    s->key.done = key_step_done;
    return s;
}

/* Reads and opens the key file; the caller frees the step in any case. */
static C2_RESULT
open_key(struct key_admin *a, struct step *s)
{
    struct volume_secrets secrets = secrets_of(a);
    C2_TRY(volume_key_read(&s->key, &secrets, &a->error));
    volume_key_open(&s->key, c2_os_env(a->os));
    c2_os_run_until(a->os, &s->done);
    if (s->key.err != C2_E_OK)
        volume_key_explain(&s->key, &a->error);
    return s->key.err;
}

C2_RESULT
key_admin_status(struct key_admin *a, char **ret_path, struct key_file *ret_info)
{
    struct volume_secrets secrets = secrets_of(a);
    struct c2_buf text = { 0 };
    uint8_t key[C2_KEY_LEN];
    char *path = NULL;
    C2_TRY(volume_key_path(&secrets, &path, &a->error));
    enum c2_err err = c2_os_read_file(path, KEY_FILE_TEXT_MAX, &text, NULL);
    if (err == C2_E_OK)
        err = key_file_decode(c2_buf_slice(&text), NULL, ret_info, key);
    if (err == C2_E_KEY)
        err = C2_E_OK; /* sealed: the header is all we want */
    c2_wipe(key, sizeof(key));
    if (text.data != NULL)
        c2_wipe(text.data, text.cap);
    c2_buf_done(&text);
    if (err != C2_E_OK)
        volume_fail(&a->error, err, "the key file %s cannot be used: %s", path, c2_err_text(err));
    if (err == C2_E_OK)
        *ret_path = path;
    else
        c2_free(path);
    return err;
}

C2_RESULT
key_admin_verify(struct key_admin *a, struct key_file *ret_info, uint8_t ret_check[16])
{
    struct step *s = step_new();
    enum c2_err err = open_key(a, s);
    if (err == C2_E_OK) {
        struct keys *k = keys_new(s->key.volume_key, s->key.info.uuid);
        keys_check_value(k, ret_check);
        keys_free(k);
        *ret_info = s->key.info;
    }
    step_free(s);
    return err;
}

C2_RESULT
key_admin_kit(struct key_admin *a, struct c2_buf *ret_kit)
{
    struct step *s = step_new();
    enum c2_err err = open_key(a, s);
    if (err == C2_E_OK)
        key_recovery_kit(&s->key.info, s->key.volume_key, ret_kit);
    step_free(s);
    return err;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct writing {
    struct c2_disk_req disk;
    struct c2_slice piece;
    bool done;
};

static void
written(struct c2_disk_req *r)
{
    C2_CONTAINER_OF(r, struct writing, disk)->done = true;
}

/* The passphrase of the new file into key->secret. */
static C2_RESULT
set_passphrase(struct key_admin *a, struct volume_key *k, const char *new_passphrase)
{
    struct volume_secrets secrets = secrets_of(a);
    if (k->secret.data != NULL)
        c2_wipe(k->secret.data, k->secret.cap);
    c2_buf_clear(&k->secret);
    k->info.sealed = new_passphrase == NULL || new_passphrase[0] != '\0';
    if (new_passphrase == NULL)
        return volume_key_ask_new(k, &secrets, &a->error);
    c2_buf_puts(&k->secret, new_passphrase);
    (void)c2_buf_cstr(&k->secret);
    return C2_E_OK;
}

static C2_RESULT
seal_and_write(struct key_admin *a, struct step *s, unsigned flags)
{
    if (s->key.text.data != NULL)
        c2_wipe(s->key.text.data, s->key.text.cap);
    c2_buf_clear(&s->key.text);
    s->done = false;
    volume_key_seal(&s->key, c2_os_env(a->os));
    c2_os_run_until(a->os, &s->done);
    enum c2_err err = s->key.err;
    if (err == C2_E_OK) {
        struct writing w = { .piece = c2_buf_slice(&s->key.text) };
        w.disk = (struct c2_disk_req){ .verb = C2_DISK_WRITE,
                                       .flags = C2_DISK_DURABLE | flags,
                                       .path = s->key.path,
                                       .iov = &w.piece,
                                       .niov = 1,
                                       .done = written };
        c2_disk(c2_os_env(a->os), &w.disk);
        c2_os_run_until(a->os, &w.done);
        err = w.disk.err;
    }
    if (err != C2_E_OK)
        volume_fail(&a->error, err, "the key file %s cannot be written: %s", s->key.path,
                    c2_err_text(err));
    return err;
}

C2_RESULT
key_admin_change(struct key_admin *a, const char *new_passphrase)
{
    struct step *s = step_new();
    enum c2_err err = open_key(a, s);
    if (err == C2_E_OK)
        err = set_passphrase(a, &s->key, new_passphrase);
    if (err == C2_E_OK)
        err = seal_and_write(a, s, 0);
    step_free(s);
    return err;
}

C2_RESULT
key_admin_restore(struct key_admin *a, struct c2_slice kit, const char *new_passphrase,
                  unsigned *ret_bad_line)
{
    struct volume_secrets secrets = secrets_of(a);
    struct step *s = step_new();
    *ret_bad_line = 0;
    s->key.volume_key = c2_secret_alloc(C2_KEY_LEN);
    enum c2_err err = key_recovery_kit_decode(kit, &s->key.info, s->key.volume_key);
    if (err != C2_E_OK) {
        *ret_bad_line = key_recovery_kit_bad_line(kit);
        volume_fail(&a->error, err, "this is not a complete recovery kit");
    }
    if (err == C2_E_OK)
        err = volume_key_path(&secrets, &s->key.path, &a->error);
    if (err == C2_E_OK)
        err = set_passphrase(a, &s->key, new_passphrase);
    if (err == C2_E_OK)
        err = seal_and_write(a, s, C2_DISK_EXCL | C2_DISK_MAKE_DIRS);
    step_free(s);
    return err;
}
