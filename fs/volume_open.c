/* SPDX-License-Identifier: MIT */
/*
 * Opening a volume.
 *
 *   START -> KEY (Argon2id, pool) -> READ (V, C, lock) -> DEVICE_DIR -> DEVICE_READ [->
 * DEVICE_WRITE]
 *         -> END_OLD (session of a process that is gone) -> SESSION -> LOCK -> done
 *
 * Everything that may block the loop (credential commands) is before SESSION, so that the session
 * does not run out meanwhile; LOCK is refused when C changed since READ. Any failure closes what
 * was reached, then reports.
 */
#include "fs/volume_impl.h"

#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "metadata/registry.h"

#define REQUEST_TIMEOUT_NS (60 * C2_NS_PER_S)
#define HOLDER_MAX         256

struct volume_opening {
    struct volume_open *o;
    struct volume *v; /* owned until done */
    struct volume_key key;
    struct volume_error error;
    struct c2_task task;
    struct coord_req req;
    struct ck keys[3], owner_key;
    struct c2_slice slices[3];
    struct coord_cond conds[2];
    struct coord_op ops[2];
    uint8_t owner[LEASE_OWNER_LEN];
    struct c2_buf sealed;
    uint64_t old_session;   /* of the lock that was found */
    struct c2_buf old_lock; /* its value: see lock_value */
    struct c2_disk_req io;
    char *cache_dir, *device_path; /* owned */
    uint8_t device_file[VOLUME_DEVICE_FILE_LEN];
    struct c2_slice iov;
    bool device_written;
};

static const char *
conf_str(const struct volume_opening *p, const char *key)
{
    return c2_conf_str(p->o->conf, "volume", p->o->volume, key);
}

/* ---- end ----------------------------------------------------------------------------------- */

static void
finish(void *arg)
{
    struct volume_opening *p = arg;
    struct volume_open *o = p->o;
    o->error = p->error;
    o->volume_out = p->error.err == C2_E_OK ? p->v : NULL;
    volume_key_done(&p->key);
    c2_buf_done(&p->sealed);
    c2_buf_done(&p->old_lock);
    c2_free(p->cache_dir);
    c2_free(p->device_path);
    c2_free(p);
    o->own = NULL;
    o->done(o);
}

static void
fail(struct volume_opening *p)
{
    C2_ASSERT(p->error.err != C2_E_OK);
    volume_close(p->v, finish, p);
}

/* Checks a completed request; a failed one ends the opening. */
static bool
request_ok(struct volume_opening *p, const char *what)
{
    if (p->req.err == C2_E_OK)
        return true;
    volume_fail(&p->error, p->req.err, "volume \"%s\": %s failed: %s", p->o->volume, what,
                c2_err_text(p->req.err));
    coord_req_done(&p->req);
    fail(p);
    return false;
}

static void
submit(struct volume_opening *p, void (*done)(struct coord_req *r))
{
    p->req.deadline_ns = c2_now_ns(p->o->env) + REQUEST_TIMEOUT_NS;
    p->req.done = done;
    coord_submit(p->v->coord, &p->req);
}

/* ---- session and lock ---------------------------------------------------------------------- */

/* Who has the volume: bytes text, 16 bytes of the device. */
static void
lock_value(const struct volume_opening *p, struct c2_buf *out)
{
    const char *holder = p->o->holder == NULL ? "" : p->o->holder;
    c2_wr_bytes(out, c2_slice(holder, strnlen(holder, HOLDER_MAX)));
    c2_wr_raw(out, p->v->device_id, sizeof p->v->device_id);
}

/* What is left of a lock by a process of this very device is left by one that is gone: whoever
 * opens a volume for writing has its cache_dir for itself. */
static bool
lock_is_ours(const struct volume_opening *p, struct c2_slice *ret_holder)
{
    const uint8_t *own = p->v->device_id;
    struct c2_rd r = c2_rd_init(c2_buf_slice(&p->old_lock));
    *ret_holder = c2_rd_bytes(&r, HOLDER_MAX);
    struct c2_slice device = c2_rd_raw(&r, sizeof p->v->device_id);
    return c2_rd_finish(&r) == C2_E_OK && memcmp(device.data, own, device.len) == 0;
}

static void
locked(struct coord_req *r)
{
    struct volume_opening *p = C2_CONTAINER_OF(r, struct volume_opening, req);
    struct volume *v = p->v;
    if (r->err == C2_E_CONFLICT) {
        bool config = r->cond_failed == 1;
        volume_fail(&p->error, C2_E_BUSY,
                    config ? "the configuration of volume \"%s\" is being changed"
                           : "volume \"%s\" was just opened by somebody else",
                    v->name);
        volume_hint(&p->error, "try again in a moment");
        coord_req_done(r);
        fail(p);
        return;
    }
    if (!request_ok(p, "taking the lock"))
        return;
    v->fence_token = r->version;
    coord_req_done(r);
    volume_lease_start(v, c2_buf_slice(&p->sealed), p->owner);
    finish(p);
}

static void
take_lock(struct volume_opening *p)
{
    struct volume *v = p->v;
    struct c2_buf value = { 0 };
    p->keys[0] = v->fence_key;
    p->keys[1] = ck_letter('C');
    lock_value(p, &value);
    keys_seal(v->keys, ck_slice(&p->keys[0]), c2_buf_slice(&value), &p->sealed);
    c2_buf_done(&value);
    p->conds[0] = (struct coord_cond){ .kind = COORD_ABSENT, .key = ck_slice(&p->keys[0]) };
    p->conds[1] = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                       .key = ck_slice(&p->keys[1]),
                                       .number = p->v->config_version };
    p->owner_key = ck_session(VOLUME_OWNER_NAME);
    c2_random(v->env, p->owner, sizeof p->owner);
    p->ops[0] = (struct coord_op){ .kind = COORD_PUT_EPHEMERAL,
                                   .key = ck_slice(&p->keys[0]),
                                   .value = c2_buf_slice(&p->sealed),
                                   .number = (int64_t)v->session };
    p->ops[1] = (struct coord_op){ .kind = COORD_PUT,
                                   .key = ck_slice(&p->owner_key),
                                   .value = c2_slice(p->owner, sizeof p->owner) };
    p->req = (struct coord_req){ .verb = COORD_TXN, .conds = p->conds, .nconds = 2 };
    p->req.ops = p->ops;
    p->req.nops = 2;
    submit(p, locked);
}

static void
session_opened(struct coord_req *r)
{
    struct volume_opening *p = C2_CONTAINER_OF(r, struct volume_opening, req);
    struct volume *v = p->v;
    uint64_t counter;
    if (!request_ok(p, "opening a session"))
        return;
    v->session = r->session;
    coord_req_done(r);
    c2_random(v->env, &counter, sizeof counter);
    keys_set_session(v->keys, v->session);
    keys_set_counter(v->keys, counter);
    take_lock(p);
}

static void
open_session(struct volume_opening *p)
{
    p->req = (struct coord_req){
        .verb = COORD_SESSION_OPEN,
    };
    p->req.ttl_ns = c2_conf_u64(p->o->conf, "volume", p->o->volume, "lease");
    submit(p, session_opened);
}

static void
old_ended(struct coord_req *r)
{
    struct volume_opening *p = C2_CONTAINER_OF(r, struct volume_opening, req);
    if (r->err == C2_E_SESSION) /* it expired meanwhile */
        r->err = C2_E_OK;
    if (!request_ok(p, "ending the session of a process that is gone"))
        return;
    coord_req_done(r);
    open_session(p);
}

static void
end_old(struct volume_opening *p)
{
    struct c2_slice holder;
    if (p->old_session == 0) {
        open_session(p);
        return;
    }
    bool ours = lock_is_ours(p, &holder);
    if (strncmp(conf_str(p, "metadata"), "local:", 6) != 0 && !ours) {
        volume_fail(&p->error, C2_E_BUSY, "volume \"%s\" is in use by another machine: %.*s",
                    p->o->volume, (int)holder.len,
                    holder.len == 0 ? "" : (const char *)holder.data);
        volume_hint(&p->error, "a volume has one mount at a time; unmount it there. If that "
                               "machine has crashed, its lock goes when its lease is over");
        fail(p);
        return;
    }
    p->req = (struct coord_req){ .verb = COORD_SESSION_CLOSE, .session = p->old_session };
    submit(p, old_ended);
}

/* ---- device -------------------------------------------------------------------------------- */

static void device_read(struct volume_opening *p);

static void
disk_failed(struct volume_opening *p, const char *what)
{
    volume_fail(&p->error, p->io.err, "cannot %s %s: %s", what, p->io.path, c2_err_text(p->io.err));
    if (p->io.err == C2_E_ACCESS)
        volume_hint(&p->error, "cache_dir of volume \"%s\" must be writable", p->o->volume);
    fail(p);
}

static void
device_written(struct c2_disk_req *io)
{
    struct volume_opening *p = C2_CONTAINER_OF(io, struct volume_opening, io);
    if (io->err == C2_E_EXISTS && !p->device_written) {
        p->device_written = true;
        device_read(p);
        return;
    }
    if (io->err != C2_E_OK) {
        disk_failed(p, "write");
        return;
    }
    end_old(p);
}

static void
device_write(struct volume_opening *p)
{
    volume_device_new(p->v, p->device_file);
    p->iov = c2_slice(p->device_file, sizeof p->device_file);
    p->io = (struct c2_disk_req){ .verb = C2_DISK_WRITE,
                                  .flags = C2_DISK_EXCL | C2_DISK_DURABLE,
                                  .path = p->device_path,
                                  .iov = &p->iov,
                                  .niov = 1,
                                  .done = device_written };
    c2_disk(p->o->env, &p->io);
}

static void
device_refused(struct volume_opening *p, enum c2_err err)
{
    if (err == C2_E_KEY) {
        volume_fail(&p->error, C2_E_KEY, "cache_dir %s belongs to another volume", p->cache_dir);
        volume_hint(&p->error, "give volume \"%s\" a cache_dir of its own", p->o->volume);
    } else if (err == C2_E_VERSION) {
        volume_fail(&p->error, err, "%s was written by a newer version of c2fs", p->device_path);
    } else {
        volume_fail(&p->error, C2_E_DAMAGED, "%s is damaged", p->device_path);
        volume_hint(&p->error,
                    "moving %s away starts with an empty cache; changes in its journal that did "
                    "not reach the providers are lost then",
                    p->cache_dir);
    }
    fail(p);
}

static void
device_was_read(struct c2_disk_req *io)
{
    struct volume_opening *p = C2_CONTAINER_OF(io, struct volume_opening, io);
    if (io->err == C2_E_NOT_FOUND) {
        device_write(p);
        return;
    }
    if (io->err != C2_E_OK) {
        disk_failed(p, "read");
        return;
    }
    enum c2_err err = volume_device_decode(p->v, c2_blob_slice(io->reply));
    c2_blob_unref(io->reply);
    if (err != C2_E_OK)
        device_refused(p, err);
    else
        end_old(p);
}

static void
device_read(struct volume_opening *p)
{
    p->io = (struct c2_disk_req){ .verb = C2_DISK_READ,
                                  .path = p->device_path,
                                  .len_max = VOLUME_DEVICE_FILE_LEN + 1,
                                  .done = device_was_read };
    c2_disk(p->o->env, &p->io);
}

static void
cache_dir_made(struct c2_disk_req *io)
{
    struct volume_opening *p = C2_CONTAINER_OF(io, struct volume_opening, io);
    if (io->err != C2_E_OK)
        disk_failed(p, "make the folder");
    else
        device_read(p);
}

static void
make_cache_dir(struct volume_opening *p)
{
    p->cache_dir = c2_strdup(conf_str(p, "cache_dir"));
    p->device_path = c2_asprintf("%s/device.key", p->cache_dir);
    p->io =
        (struct c2_disk_req){ .verb = C2_DISK_MKDIR, .path = p->cache_dir, .done = cache_dir_made };
    c2_disk(p->o->env, &p->io);
}

/* ---- V, C and the lock ---------------------------------------------------------------------- */

static enum c2_err
check_id(struct volume_opening *p, struct c2_slice value)
{
    struct volume_id id;
    uint8_t check[16];
    const struct key_file *info = &p->key.info;
    enum c2_err err = volume_id_decode(value, &id);
    if (err == C2_E_VERSION) {
        volume_fail(&p->error, err, "volume \"%s\" has a format that is newer than this c2fs",
                    p->o->volume);
        volume_hint(&p->error, "install a newer c2fs");
        return err;
    }
    if (err != C2_E_OK) {
        volume_fail(&p->error, C2_E_DAMAGED, "the metadata of volume \"%s\" is damaged",
                    p->o->volume);
        return C2_E_DAMAGED;
    }
    keys_free(p->v->keys);
    p->v->keys = keys_new(p->key.volume_key, id.uuid);
    keys_check_value(p->v->keys, check);
    if (memcmp(id.uuid, info->uuid, sizeof id.uuid) == 0 &&
        c2_equal_secret(check, id.key_check, sizeof check))
        return C2_E_OK;
    volume_fail(&p->error, C2_E_KEY, "the key file %s belongs to another volume (\"%s\")",
                p->key.path, info->volume);
    volume_hint(&p->error,
                "key_file of [volume \"%s\"] must name the file that c2fsctl format "
                "wrote for it",
                p->o->volume);
    return C2_E_KEY;
}

static enum c2_err
take_config(struct volume_opening *p, const struct coord_entry *e)
{
    struct c2_buf plain = { 0 };
    struct ck key = ck_letter('C');
    enum c2_err err = keys_open(p->v->keys, ck_slice(&key), e->value, &plain);
    if (err == C2_E_OK)
        err = volume_config_decode(c2_buf_slice(&plain), &p->v->config);
    c2_buf_done(&plain);
    if (err == C2_E_VERSION)
        volume_fail(&p->error, err,
                    "volume \"%s\" has a configuration that is newer than this c2fs", p->o->volume);
    else if (err != C2_E_OK)
        volume_fail(&p->error, err = C2_E_DAMAGED, "the configuration of volume \"%s\" is damaged",
                    p->o->volume);
    p->v->config_version = e->version;
    return err;
}

static void
take_holder(struct volume_opening *p, const struct coord_entry *e)
{
    p->old_session = e->session;
    if (e->version != 0 && keys_open(p->v->keys, e->key, e->value, &p->old_lock) != C2_E_OK)
        c2_buf_clear(&p->old_lock);
}

static enum c2_err
take_entries(struct volume_opening *p)
{
    const struct coord_entry *e = p->req.entries;
    C2_ASSERT(p->req.nentries == 3);
    if (e[0].version == 0) {
        volume_fail(&p->error, C2_E_NOT_FOUND, "%s holds no volume", conf_str(p, "metadata"));
        volume_hint(&p->error, "c2fsctl format %s makes one", p->o->volume);
        return C2_E_NOT_FOUND;
    }
    C2_TRY(check_id(p, e[0].value));
    C2_TRY(take_config(p, &e[1]));
    take_holder(p, &e[2]);
    return C2_E_OK;
}

static void
was_read(struct coord_req *r)
{
    struct volume_opening *p = C2_CONTAINER_OF(r, struct volume_opening, req);
    if (!request_ok(p, "reading the metadata"))
        return;
    enum c2_err err = take_entries(p);
    coord_req_done(r);
    if (err == C2_E_OK)
        err = volume_seats_open(p->v, p->o->os, &p->error);
    if (err == C2_E_OK)
        err = volume_client_new(p->v, &p->error);
    if (err != C2_E_OK)
        fail(p);
    else if (p->o->read_only)
        finish(p);
    else
        make_cache_dir(p);
}

static enum c2_err
open_store(struct volume_opening *p)
{
    char *text = NULL;
    const char *url = conf_str(p, "metadata");
    enum c2_err err = coord_open_conf(p->o->env, p->o->conf, url, false, &p->v->coord, &text);
    p->v->changes = p->v->coord;
    if (err == C2_E_OK)
        return C2_E_OK;
    volume_fail(&p->error, err, "volume \"%s\": %s", p->o->volume,
                text == NULL ? c2_err_text(err) : text);
    if (err == C2_E_NOT_FOUND)
        volume_hint(&p->error,
                    "c2fsctl format %s makes a new volume; c2fsctl recover --from-clouds brings "
                    "back one whose machine was lost",
                    p->o->volume);
    else if (err == C2_E_BUSY)
        volume_hint(&p->error, "c2fsctl mounts shows who has it");
    c2_free(text);
    return err;
}

static void
key_opened(struct volume_key *k)
{
    struct volume_opening *p = C2_CONTAINER_OF(k, struct volume_opening, key);
    if (k->err != C2_E_OK) {
        volume_key_explain(k, &p->error);
        fail(p);
        return;
    }
    if (open_store(p) != C2_E_OK) {
        fail(p);
        return;
    }
    p->keys[0] = ck_letter('V');
    p->keys[1] = ck_letter('C');
    p->keys[2] = p->v->fence_key;
    for (size_t i = 0; i < 3; i++)
        p->slices[i] = ck_slice(&p->keys[i]);
    p->req = (struct coord_req){ .verb = COORD_GET, .keys = p->slices, .nkeys = 3 };
    submit(p, was_read);
}

/* ---- start --------------------------------------------------------------------------------- */

static enum c2_err
check_conf(struct volume_opening *p)
{
    static const char *const needed[] = { "metadata", "key_file", "cache_dir" };
    const char *name = p->o->volume;
    if (!c2_conf_has_section(p->o->conf, "volume", name)) {
        volume_fail(&p->error, C2_E_NOT_FOUND, "there is no [volume \"%s\"] in the configuration",
                    name);
        volume_hint(&p->error, "c2fsctl config shows what is configured and where");
        return C2_E_NOT_FOUND;
    }
    for (size_t i = 0; i < C2_ARRAY_LEN(needed); i++) {
        const char *value = conf_str(p, needed[i]);
        if (value != NULL && *value != '\0')
            continue;
        volume_fail(&p->error, C2_E_CONFIG, "volume \"%s\" has no %s", name, needed[i]);
        volume_hint(&p->error, "add %s = ... to [volume \"%s\"]", needed[i], name);
        return C2_E_CONFIG;
    }
    return C2_E_OK;
}

static void
start(struct c2_task *t)
{
    struct volume_opening *p = C2_CONTAINER_OF(t, struct volume_opening, task);
    const struct volume_open *o = p->o;
    const struct volume_secrets secrets = {
        .conf = o->conf, .volume = o->volume, .ask = o->ask, .ask_arg = o->ask_arg
    };
    if (check_conf(p) != C2_E_OK || volume_key_read(&p->key, &secrets, &p->error) != C2_E_OK) {
        fail(p);
        return;
    }
    p->key.done = key_opened;
    volume_key_open(&p->key, o->env);
}

void
volume_open_start(struct volume_open *o)
{
    struct volume_opening *p = c2_calloc(1, sizeof *p);
    C2_ASSERT(o->done != NULL && o->conf != NULL);
    o->volume_out = NULL;
    o->own = p;
    p->o = o;
    p->v = volume_new(o->env, o->conf, o->volume);
    p->task.run = start;
    c2_defer(o->env, &p->task);
}
