/* SPDX-License-Identifier: MIT */
/*
 *   the store must be absent -> key file, if any -> PROVIDERS: whose shares are there, of which
 *   seat, as they say and as the checkpoint says -> client -> recover (fs/recover.c), again with an
 *   older checkpoint when a part of the newest is unreadable -> the store moves to its place, the
 *   old journal aside -> key file of a keyless volume
 */
#include "fs/volume_recover.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/os_loop.h"
#include "fs/key_file.h"
#include "fs/volume_recover_impl.h"
#include "metadata/registry.h"

#define ATTEMPTS_MAX 8 /* checkpoints */

/* ---- blocking calls ------------------------------------------------------------------------- */

struct disk_call {
    struct c2_disk_req req;
    bool done;
};

static void
disk_call_done(struct c2_disk_req *req)
{
    C2_CONTAINER_OF(req, struct disk_call, req)->done = true;
}

static C2_RESULT
disk_run(struct recovering *p, struct c2_disk_req req, struct c2_blob **ret_reply)
{
    struct disk_call c = { .req = req };
    c.req.done = disk_call_done;
    c2_disk(p->env, &c.req);
    c2_os_run_until(p->r->os, &c.done);
    if (ret_reply != NULL)
        *ret_reply = c.req.reply;
    else
        c2_blob_unref(c.req.reply);
    return c.req.err;
}

/* A folder with files only; absent is fine. */
static void
remove_folder(struct recovering *p, const char *path)
{
    struct c2_blob *names = NULL;
    struct c2_disk_req list = { .verb = C2_DISK_LIST, .path = path };
    if (disk_run(p, list, &names) != C2_E_OK)
        return;
    for (size_t at = 0; at < names->len;) {
        const char *name = (const char *)names->data + at;
        char *file = c2_asprintf("%s/%s", path, name);
        struct c2_disk_req unlink = { .verb = C2_DISK_UNLINK, .path = file };
        if (disk_run(p, unlink, NULL) != C2_E_OK)
            c2_log(WARN, "recover", "file=%s cannot be removed", file);
        at += strlen(name) + 1;
        c2_free(file);
    }
    c2_blob_unref(names);
    struct c2_disk_req rmdir = { .verb = C2_DISK_RMDIR, .path = path };
    if (disk_run(p, rmdir, NULL) != C2_E_OK)
        c2_log(WARN, "recover", "folder=%s cannot be removed", path);
}

static const char *
conf_str(const struct recovering *p, const char *key)
{
    const char *value = c2_conf_str(p->r->conf, "volume", p->r->volume, key);
    return value == NULL ? "" : value;
}

/* ---- store and key -------------------------------------------------------------------------- */

static C2_RESULT
check_store(struct recovering *p)
{
    struct volume_error *e = &p->r->error;
    const char *url = conf_str(p, "metadata");
    struct coord *coord = NULL;
    if (strncmp(url, "local:", 6) != 0 || url[6] == '\0') {
        volume_fail(e, C2_E_CONFIG, "metadata of volume \"%s\" is not local:PATH", p->r->volume);
        volume_hint(e, "a coordination service has the metadata itself: nothing has to be "
                       "recovered, mount the volume");
        return C2_E_CONFIG;
    }
    p->store = c2_strdup(url + 6);
    for (size_t len = strlen(p->store); len > 1 && p->store[len - 1] == '/'; len--)
        p->store[len - 1] = '\0';
    p->work = c2_asprintf("%s.recovering", p->store);
    enum c2_err err = coord_open(p->env, url, false, &coord, NULL);
    if (err == C2_E_NOT_FOUND)
        return C2_E_OK;
    coord_close(coord);
    volume_fail(e, C2_E_EXISTS, "this machine has a store of the volume in %s%s", p->store,
                err == C2_E_OK ? "" : ", though it cannot be opened");
    volume_hint(e, "mount the volume; or, to go back to what the clouds have, move %s away first",
                p->store);
    return C2_E_EXISTS;
}

static void
key_opened(struct volume_key *k)
{
    C2_CONTAINER_OF(k, struct recovering, key)->flag = true;
}

static C2_RESULT
open_key(struct recovering *p)
{
    struct volume_recover *r = p->r;
    struct volume_secrets secrets = { .conf = r->conf, .volume = r->volume, .ask = r->ask };
    char *path;
    C2_TRY(volume_key_path(&secrets, &path, &r->error));
    struct c2_disk_req stat = { .verb = C2_DISK_STAT, .path = path };
    enum c2_err err = disk_run(p, stat, NULL);
    c2_free(path);
    if (err == C2_E_NOT_FOUND)
        return C2_E_OK; /* then only a keyless volume can be recovered */
    C2_TRY(volume_key_read(&p->key, &secrets, &r->error));
    p->key.done = key_opened;
    p->flag = false;
    volume_key_open(&p->key, p->env);
    c2_os_run_until(r->os, &p->flag);
    if (p->key.err != C2_E_OK) {
        volume_key_explain(&p->key, &r->error);
        return p->key.err;
    }
    memcpy(p->uuid, p->key.info.uuid, sizeof(p->uuid));
    p->have_uuid = true;
    return C2_E_OK;
}

/* ---- recovery ------------------------------------------------------------------------------- */

struct attempt {
    struct recover rec;
    bool done;
};

static void
attempt_done(struct recover *rec)
{
    C2_CONTAINER_OF(rec, struct attempt, rec)->done = true;
}

static void
attempt_run(struct recovering *p, struct attempt *a)
{
    a->rec.env = p->env;
    a->rec.ds = p->v->ds;
    a->rec.volume_key = p->key.volume_key;
    a->rec.done = attempt_done;
    memcpy(a->rec.uuid, p->uuid, sizeof(a->rec.uuid));
    recover_start(&a->rec);
    c2_os_run_until(p->r->os, &a->done);
}

/* What the checkpoint says about the seats. No checkpoint, no change. */
static C2_RESULT
look(struct recovering *p, uint32_t doubted, bool *ret_found)
{
    struct attempt a = { .rec = { .look_only = true } };
    struct volume_config known;
    p->doubted = doubted;
    C2_TRY(recovering_connect(p, NULL));
    attempt_run(p, &a);
    enum c2_err err = C2_E_OK;
    *ret_found = a.rec.err == C2_E_OK &&
                 volume_config_decode(c2_buf_slice(&a.rec.config), &known) == C2_E_OK;
    if (*ret_found)
        err = recovering_connect(p, &known);
    c2_wipe(a.rec.ret_volume_key, sizeof(a.rec.ret_volume_key));
    c2_buf_done(&a.rec.config);
    c2_free(a.rec.error);
    return err;
}

/* Nobody has signed which seat a cloud has. Where two say the same, up to f of them lie: those that
 * could are not believed in turn, until the checkpoint can be read. */
static C2_RESULT
find_seats(struct recovering *p)
{
    bool found = false;
    C2_TRY(look(p, 0, &found));
    uint32_t contested = found ? 0 : recovering_contested(p);
    for (unsigned i = 0; i < p->nclouds; i++) {
        if (!found && (contested & 1u << i) != 0)
            C2_TRY(look(p, 1u << i, &found));
    }
    for (unsigned i = 0; i < p->nclouds && p->info.k > 2; i++) {
        for (unsigned j = 0; j < i; j++) {
            uint32_t both = 1u << i | 1u << j;
            if (!found && (contested & both) == both)
                C2_TRY(look(p, both, &found));
        }
    }
    if (found || contested == 0)
        return C2_E_OK;
    p->doubted = 0;
    return recovering_connect(p, NULL);
}

static C2_RESULT
rebuild(struct recovering *p, struct attempt *a)
{
    struct volume_recover *r = p->r;
    char *text = NULL, *url = c2_asprintf("local:%s", p->work);
    remove_folder(p, p->work);
    enum c2_err err = coord_open(p->env, url, true, &a->rec.coord, &text);
    c2_free(url);
    if (err != C2_E_OK) {
        volume_fail(&r->error, err, "%s", text == NULL ? c2_err_text(err) : text);
        c2_free(text);
        return err;
    }
    attempt_run(p, a);
    coord_close(a->rec.coord);
    c2_os_drain(r->os);
    r->report = a->rec.report;
    c2_buf_done(&a->rec.config);
    return a->rec.err;
}

static C2_RESULT
write_key(struct recovering *p, const uint8_t volume_key[C2_KEY_LEN])
{
    struct volume_recover *r = p->r;
    struct volume_secrets secrets = { .conf = r->conf, .volume = r->volume };
    struct key_file info = { .keyless = true };
    struct c2_buf text = { 0 };
    char *path;
    memcpy(info.uuid, p->uuid, sizeof(info.uuid));
    (void)snprintf(info.volume, sizeof(info.volume), "%s", r->volume);
    C2_TRY(volume_key_path(&secrets, &path, &r->error));
    enum c2_err err = key_file_encode(&info, volume_key, NULL, &text);
    struct c2_slice bytes = c2_buf_slice(&text);
    if (err == C2_E_OK)
        err = disk_run(
            p,
            (struct c2_disk_req){ .verb = C2_DISK_WRITE,
                                  .flags = C2_DISK_EXCL | C2_DISK_DURABLE | C2_DISK_MAKE_DIRS,
                                  .path = path,
                                  .iov = &bytes,
                                  .niov = 1 },
            NULL);
    if (err != C2_E_OK)
        volume_fail(&r->error, err, "the key file %s cannot be written: %s", path,
                    c2_err_text(err));
    r->key_written = err == C2_E_OK;
    c2_wipe(text.data, text.cap);
    c2_buf_done(&text);
    c2_free(path);
    return err;
}

static C2_RESULT
move(struct recovering *p, const char *from, const char *to)
{
    enum c2_err err = disk_run(
        p, (struct c2_disk_req){ .verb = C2_DISK_RENAME, .path = from, .path2 = to }, NULL);
    if (err != C2_E_OK && err != C2_E_NOT_FOUND)
        volume_fail(&p->r->error, err, "%s cannot be moved to %s: %s", from, to, c2_err_text(err));
    return err;
}

static C2_RESULT
set_journal_aside(struct recovering *p)
{
    char *from = c2_asprintf("%s/journal", conf_str(p, "cache_dir"));
    char *to = c2_asprintf("%s.before-recovery-%llu", from,
                           (unsigned long long)(c2_wall_ns(p->env) / C2_NS_PER_S));
    enum c2_err err = move(p, from, to);
    c2_free(from);
    if (err == C2_E_OK) {
        p->r->journal_aside = to;
        return C2_E_OK;
    }
    c2_free(to);
    return err == C2_E_NOT_FOUND ? C2_E_OK : err;
}

/* The store is whole; the last step is the one that makes the volume mountable. */
static C2_RESULT
put_in_place(struct recovering *p, const struct attempt *a)
{
    if (p->key.volume_key == NULL)
        C2_TRY(write_key(p, a->rec.ret_volume_key));
    C2_TRY(set_journal_aside(p));
    return move(p, p->work, p->store);
}

static C2_RESULT
recover(struct recovering *p)
{
    struct volume_recover *r = p->r;
    char *head = c2_asprintf("%s/" RECOVER_HEAD_NAME, conf_str(p, "cache_dir"));
    struct attempt *a = c2_calloc(1, sizeof(*a));
    enum c2_err err = C2_E_CORRUPT;
    for (unsigned k = 0; k < ATTEMPTS_MAX && err == C2_E_CORRUPT; k++) {
        c2_free(a->rec.error);
        *a = (struct attempt){
            .rec = { .head_path = head, .skip_checkpoints = k, .accept_loss = r->accept_loss }
        };
        err = rebuild(p, a);
    }
    if (err == C2_E_OK) {
        err = put_in_place(p, a);
    } else {
        remove_folder(p, p->work);
        volume_fail(&r->error, err, "%s", a->rec.error == NULL ? c2_err_text(err) : a->rec.error);
        if (err == C2_E_DAMAGED)
            volume_hint(&r->error, "--accept-loss takes the state before the damage");
    }
    c2_wipe(a->rec.ret_volume_key, sizeof(a->rec.ret_volume_key));
    c2_free(a->rec.error);
    c2_free(a);
    c2_free(head);
    return err;
}

/* ---- run ------------------------------------------------------------------------------------ */

static void
recovering_free(struct recovering *p)
{
    recovering_disconnect(p);
    for (size_t k = 0; k < p->nclouds; k++)
        prov_close(p->clouds[k].provider);
    volume_key_done(&p->key);
    c2_free(p->store);
    c2_free(p->work);
    c2_free(p);
}

C2_RESULT
volume_recover_run(struct volume_recover *r)
{
    struct recovering *p = c2_calloc(1, sizeof(*p));
    p->r = r;
    p->env = c2_os_env(r->os);
    enum c2_err err = check_store(p);
    if (err == C2_E_OK)
        err = open_key(p);
    if (err == C2_E_OK)
        err = recovering_probe(p);
    if (err == C2_E_OK)
        err = find_seats(p);
    if (err == C2_E_OK)
        err = recover(p);
    recovering_free(p);
    return err;
}
