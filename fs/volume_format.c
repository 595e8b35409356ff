/* SPDX-License-Identifier: MIT */
/*
 * Making a volume.
 *
 *   START (names, providers, duplicates) -> KEY_STAT -> DEVICE_STAT -> STORE (none, or an empty one
 *   that an interrupted format left) -> LIST of every provider -> PROBE of every provider
 *   -> KEY_SEAL (passphrase; Argon2id on the pool) -> KEY_WRITE -> store -> SESSION -> TXN (V, C
 * and the root directory) -> SESSION_CLOSE -> done
 *
 * A dry run ends before PROBE. The key file is written first: no volume ever exists whose key is
 * nowhere. When the transaction surely did not happen the key file is removed again.
 */
#include "fs/volume_impl.h"

#include <stdio.h>
#include <string.h>

#include "backends/registry.h"
#include "base/alloc.h"
#include "metadata/registry.h"

#define REQUEST_TIMEOUT_NS (60 * C2_NS_PER_S)
#define ROOT_OPS_MAX       14

/* One provider under examination. */
struct candidate {
    struct volume_formatting *p;
    struct provider *provider; /* owned */
    struct prov_req list;
    struct prov_probe probe;
    enum c2_err err;
    char text[320];
};

struct volume_formatting {
    struct volume_format *o;
    struct volume_config config;
    struct volume_key key;
    struct volume_error error;
    struct candidate candidates[DS_SEATS_MAX];
    unsigned pending; /* candidates that have not answered */
    char prefix[VOLUME_PREFIX_LEN];
    char list_prefix[VOLUME_PREFIX_LEN + 1];
    char *device_path; /* owned */
    struct keys *keys;
    struct coord *coord;
    uint64_t session;
    bool key_written, committed;
    struct coord_req req;
    struct ck ck[2];
    struct c2_slice prefix_all;
    struct coord_cond cond;
    struct coord_op ops[2 + ROOT_OPS_MAX];
    struct c2_buf values[3];
    struct c2_disk_req io;
    struct c2_slice iov;
    struct c2_task task;
};

static const char *
conf_str(const struct volume_formatting *p, const char *key)
{
    return c2_conf_str(p->o->conf, "volume", p->o->volume, key);
}

static struct volume_secrets
secrets_of(const struct volume_formatting *p)
{
    return (struct volume_secrets){
        .conf = p->o->conf, .volume = p->o->volume, .ask = p->o->ask, .ask_arg = p->o->ask_arg
    };
}

/* ---- end ----------------------------------------------------------------------------------- */

static void
finish(struct volume_formatting *p)
{
    struct volume_format *o = p->o;
    o->error = p->error;
    o->config = p->config;
    for (unsigned i = 0; i < p->config.n; i++)
        prov_close(p->candidates[i].provider);
    for (size_t i = 0; i < C2_ARRAY_LEN(p->values); i++)
        c2_buf_done(&p->values[i]);
    volume_key_done(&p->key);
    keys_free(p->keys);
    coord_close(p->coord);
    c2_free(p->device_path);
    c2_free(p);
    o->own = NULL;
    o->done(o);
}

static void
key_removed(struct c2_disk_req *io)
{
    finish(C2_CONTAINER_OF(io, struct volume_formatting, io));
}

static void
fail(struct volume_formatting *p)
{
    C2_ASSERT(p->error.err != C2_E_OK);
    if (!p->key_written || p->committed) {
        finish(p);
        return;
    }
    p->io =
        (struct c2_disk_req){ .verb = C2_DISK_UNLINK, .path = p->key.path, .done = key_removed };
    c2_disk(p->o->env, &p->io);
}

static void
submit(struct volume_formatting *p, void (*done)(struct coord_req *r))
{
    p->req.deadline_ns = c2_now_ns(p->o->env) + REQUEST_TIMEOUT_NS;
    p->req.done = done;
    coord_submit(p->coord, &p->req);
}

/* ---- writing the store ----------------------------------------------------------------------- */

static void
session_closed(struct coord_req *r)
{
    struct volume_formatting *p = C2_CONTAINER_OF(r, struct volume_formatting, req);
    coord_req_done(r); /* it would expire as well */
    if (p->error.err != C2_E_OK) {
        fail(p);
        return;
    }
    if (p->o->ret_recovery_kit != NULL)
        key_recovery_kit(&p->key.info, p->key.volume_key, p->o->ret_recovery_kit);
    finish(p);
}

static void
close_session(struct volume_formatting *p)
{
    p->req = (struct coord_req){ .verb = COORD_SESSION_CLOSE, .session = p->session };
    submit(p, session_closed);
}

static void
committed(struct coord_req *r)
{
    struct volume_formatting *p = C2_CONTAINER_OF(r, struct volume_formatting, req);
    enum c2_err err = r->err;
    coord_req_done(r);
    /* These say that nothing happened; after any other nobody knows. */
    p->committed = err != C2_E_CONFLICT && err != C2_E_NO_SPACE && err != C2_E_TOO_LARGE;
    if (err != C2_E_OK) {
        volume_fail(&p->error, err, "the metadata of volume \"%s\" could not be written: %s",
                    p->o->volume, c2_err_text(err));
        if (p->committed)
            volume_hint(&p->error,
                        "the volume may exist: try to mount it; if not, remove %s and %s",
                        p->key.path, conf_str(p, "metadata"));
    }
    close_session(p);
}

static void
write_store(struct volume_formatting *p)
{
    struct volume_id id = { .format_version = VOLUME_FORMAT_VERSION, .keyless = p->o->keyless };
    struct c2_buf plain = { 0 };
    size_t root_ops = 0;
    memcpy(id.uuid, p->config.uuid, sizeof id.uuid);
    keys_check_value(p->keys, id.key_check);
    p->ck[0] = ck_letter('V');
    p->ck[1] = ck_letter('C');
    volume_id_encode(&id, &p->values[0]);
    volume_config_encode(&p->config, &plain);
    keys_seal(p->keys, ck_slice(&p->ck[1]), c2_buf_slice(&plain), &p->values[1]);
    c2_buf_done(&plain);
    for (size_t i = 0; i < 2; i++)
        p->ops[i] = (struct coord_op){ .kind = COORD_PUT,
                                       .key = ck_slice(&p->ck[i]),
                                       .value = c2_buf_slice(&p->values[i]) };
    if (p->o->put_root != NULL)
        p->o->put_root(p->o->put_root_arg, p->keys, &p->values[2], &p->ops[2], ROOT_OPS_MAX,
                       &root_ops);
    C2_ASSERT(root_ops <= ROOT_OPS_MAX);
    p->cond = (struct coord_cond){ .kind = COORD_ABSENT, .key = ck_slice(&p->ck[0]) };
    p->req = (struct coord_req){ .verb = COORD_TXN, .conds = &p->cond, .nconds = 1 };
    p->req.ops = p->ops;
    p->req.nops = 2 + root_ops;
    submit(p, committed);
}

static void
session_opened(struct coord_req *r)
{
    struct volume_formatting *p = C2_CONTAINER_OF(r, struct volume_formatting, req);
    uint64_t counter;
    enum c2_err err = r->err;
    p->session = r->session;
    coord_req_done(r);
    if (err != C2_E_OK) {
        volume_fail(&p->error, err, "no session at %s: %s", conf_str(p, "metadata"),
                    c2_err_text(err));
        fail(p);
        return;
    }
    c2_random(p->o->env, &counter, sizeof counter);
    keys_set_session(p->keys, p->session);
    keys_set_counter(p->keys, counter);
    write_store(p);
}

static void
make_store(struct volume_formatting *p)
{
    char *text = NULL;
    if (p->coord == NULL) {
        enum c2_err err =
            coord_open_conf(p->o->env, p->o->conf, conf_str(p, "metadata"), true, &p->coord, &text);
        if (err != C2_E_OK) {
            volume_fail(&p->error, err, "volume \"%s\": %s", p->o->volume,
                        text == NULL ? c2_err_text(err) : text);
            c2_free(text);
            fail(p);
            return;
        }
    }
    p->req = (struct coord_req){ .verb = COORD_SESSION_OPEN, .ttl_ns = VOLUME_SESSION_TTL_NS };
    submit(p, session_opened);
}

/* ---- key file ------------------------------------------------------------------------------ */

static void
key_written(struct c2_disk_req *io)
{
    struct volume_formatting *p = C2_CONTAINER_OF(io, struct volume_formatting, io);
    if (io->err != C2_E_OK) {
        volume_fail(&p->error, io->err, "the key file %s cannot be written: %s", p->key.path,
                    c2_err_text(io->err));
        fail(p);
        return;
    }
    p->key_written = true;
    make_store(p);
}

static void
key_sealed(struct volume_key *k)
{
    struct volume_formatting *p = C2_CONTAINER_OF(k, struct volume_formatting, key);
    if (k->err != C2_E_OK) {
        volume_fail(&p->error, k->err, "the key file cannot be sealed: %s", c2_err_text(k->err));
        fail(p);
        return;
    }
    p->iov = c2_buf_slice(&k->text);
    p->io = (struct c2_disk_req){ .verb = C2_DISK_WRITE,
                                  .flags = C2_DISK_EXCL | C2_DISK_DURABLE | C2_DISK_MAKE_DIRS,
                                  .path = k->path,
                                  .iov = &p->iov,
                                  .niov = 1,
                                  .done = key_written };
    c2_disk(p->o->env, &p->io);
}

static void
make_key(struct volume_formatting *p)
{
    struct volume_secrets secrets = secrets_of(p);
    struct volume_key *k = &p->key;
    if (!p->o->no_passphrase && volume_key_ask_new(k, &secrets, &p->error) != C2_E_OK) {
        fail(p);
        return;
    }
    k->volume_key = c2_secret_alloc(C2_KEY_LEN);
    c2_random(p->o->env, k->volume_key, C2_KEY_LEN);
    memcpy(k->info.uuid, p->config.uuid, sizeof k->info.uuid);
    memcpy(k->info.volume, p->config.name, sizeof k->info.volume);
    k->info.keyless = p->o->keyless;
    k->info.sealed = !p->o->no_passphrase;
    p->keys = keys_new(k->volume_key, p->config.uuid);
    k->done = key_sealed;
    volume_key_seal(k, p->o->env);
}

/* ---- providers ----------------------------------------------------------------------------- */

/* The first provider that cannot be used, if any, ends it all. */
static bool
candidates_ok(struct volume_formatting *p)
{
    for (unsigned i = 0; i < p->config.n; i++) {
        const struct candidate *c = &p->candidates[i];
        if (c->err == C2_E_OK)
            continue;
        volume_fail(&p->error, c->err, "provider \"%s\" %s", p->config.seats[i].provider, c->text);
        if (c->err == C2_E_UNREACHABLE && strncmp(p->config.seats[i].url, "dir:", 4) == 0)
            volume_hint(&p->error,
                        "mkdir -p %s makes a new folder; one on another disk may not be "
                        "mounted",
                        p->config.seats[i].url + 4);
        volume_hint(&p->error, "c2fsctl provider test %s shows all that works and what does not",
                    p->config.seats[i].provider);
        return false;
    }
    return true;
}

static void
candidate_answered(struct volume_formatting *p, void (*next)(struct volume_formatting *p))
{
    if (--p->pending > 0)
        return;
    if (candidates_ok(p))
        next(p);
    else
        fail(p);
}

static void
probed(struct prov_probe *probe)
{
    struct candidate *c = C2_CONTAINER_OF(probe, struct candidate, probe);
    c->err = probe->err;
    for (size_t i = 0; i < PROV_CHECK_COUNT && c->text[0] == '\0'; i++) {
        const struct prov_probe_check *k = &probe->checks[i];
        if (k->required && k->ran && k->err != C2_E_OK)
            snprintf(c->text, sizeof c->text, "cannot %s: %s", k->title,
                     k->detail[0] == '\0' ? c2_err_text(k->err) : k->detail);
    }
    if (c->err != C2_E_OK && c->text[0] == '\0')
        snprintf(c->text, sizeof c->text, "cannot be used: %s", c2_err_text(c->err));
    candidate_answered(c->p, make_key);
}

static void
probe_all(struct volume_formatting *p)
{
    if (p->o->dry_run) {
        finish(p);
        return;
    }
    p->pending = p->config.n;
    for (unsigned i = 0; i < p->config.n; i++) {
        struct candidate *c = &p->candidates[i];
        c->probe = (struct prov_probe){ .provider = c->provider,
                                        .key_prefix = p->prefix,
                                        .deadline_ns = C2_NEVER,
                                        .done = probed };
        prov_probe_start(&c->probe);
    }
}

static void
listed(struct prov_req *r)
{
    struct candidate *c = C2_CONTAINER_OF(r, struct candidate, list);
    c->err = r->err;
    if (r->err != C2_E_OK) {
        snprintf(c->text, sizeof c->text, "does not answer: %s%s%s", c2_err_text(r->err),
                 r->detail[0] == '\0' ? "" : ": ", r->detail);
    } else if (r->nentries > 0) {
        c->err = C2_E_EXISTS;
        snprintf(c->text, sizeof c->text, "already holds a volume under %s", c->p->prefix);
    }
    prov_req_done(r);
    candidate_answered(c->p, probe_all);
}

static void
list_all(struct volume_formatting *p)
{
    p->pending = p->config.n;
    for (unsigned i = 0; i < p->config.n; i++) {
        struct candidate *c = &p->candidates[i];
        c->list = (struct prov_req){ .verb = PROV_LIST,
                                     .key = p->list_prefix,
                                     .deadline_ns = C2_NEVER,
                                     .list_max = 1,
                                     .done = listed };
        prov_submit(c->provider, &c->list);
    }
}

static void
open_providers(struct volume_formatting *p)
{
    for (unsigned i = 0; i < p->config.n; i++) {
        struct candidate *c = &p->candidates[i];
        char *text = NULL;
        c->p = p;
        enum c2_err err = prov_open(p->o->env, p->o->os, p->o->conf, p->config.seats[i].provider,
                                    &c->provider, &text);
        if (err == C2_E_OK)
            continue;
        volume_fail(&p->error, err, "%s", text == NULL ? c2_err_text(err) : text);
        c2_free(text);
        fail(p);
        return;
    }
    list_all(p);
}

/* ---- what must not be there ----------------------------------------------------------------- */

#define PART_HINT                                                                                  \
    "several volumes on one service have a part of it each: c2fsctl meta client DIR --prefix NAME"

static bool
is_shared(const struct volume_formatting *p)
{
    return strncmp(conf_str(p, "metadata"), "bft:", 4) == 0;
}

static void
store_exists(struct volume_formatting *p)
{
    volume_fail(&p->error, C2_E_EXISTS, "%s holds a volume already", conf_str(p, "metadata"));
    if (is_shared(p))
        volume_hint(&p->error, PART_HINT);
    else
        volume_hint(&p->error, "choose another metadata folder, or mount %s", p->o->volume);
    fail(p);
}

static void
store_read(struct coord_req *r)
{
    struct volume_formatting *p = C2_CONTAINER_OF(r, struct volume_formatting, req);
    enum c2_err err = r->err;
    size_t entries = r->nentries;
    coord_req_done(r);
    if (err != C2_E_OK) {
        volume_fail(&p->error, err, "%s cannot be read: %s", conf_str(p, "metadata"),
                    c2_err_text(err));
        if (err == C2_E_NOT_PERMITTED)
            volume_hint(&p->error, "c2fsctl meta acl shows what this client may use; " PART_HINT);
        fail(p);
    } else if (entries > 0) {
        store_exists(p);
    } else {
        open_providers(p); /* left by a format that was interrupted */
    }
}

static void
check_store(struct volume_formatting *p)
{
    char *text = NULL;
    enum c2_err err =
        coord_open_conf(p->o->env, p->o->conf, conf_str(p, "metadata"), false, &p->coord, &text);
    if (err == C2_E_NOT_FOUND) {
        c2_free(text);
        open_providers(p);
        return;
    }
    if (err != C2_E_OK) {
        volume_fail(&p->error, err, "volume \"%s\": %s", p->o->volume,
                    text == NULL ? c2_err_text(err) : text);
        c2_free(text);
        fail(p);
        return;
    }
    p->prefix_all = c2_slice("", 0);
    p->req = (struct coord_req){ .verb = COORD_RANGE, .keys = &p->prefix_all, .nkeys = 1 };
    p->req.limit = 1;
    submit(p, store_read);
}

static void
device_looked_at(struct c2_disk_req *io)
{
    struct volume_formatting *p = C2_CONTAINER_OF(io, struct volume_formatting, io);
    if (io->err == C2_E_NOT_FOUND || io->err == C2_E_NOT_DIR) {
        check_store(p);
        return;
    }
    if (io->err == C2_E_OK) {
        volume_fail(&p->error, C2_E_EXISTS, "cache_dir of volume \"%s\" is in use by a volume: %s",
                    p->o->volume, p->device_path);
        volume_hint(&p->error, "choose another cache_dir, or remove the folder when its volume is "
                               "gone");
    } else {
        volume_fail(&p->error, io->err, "%s: %s", p->device_path, c2_err_text(io->err));
    }
    fail(p);
}

static void
key_looked_at(struct c2_disk_req *io)
{
    struct volume_formatting *p = C2_CONTAINER_OF(io, struct volume_formatting, io);
    if (io->err == C2_E_NOT_FOUND || io->err == C2_E_NOT_DIR) {
        p->device_path = c2_asprintf("%s/device.key", conf_str(p, "cache_dir"));
        p->io = (struct c2_disk_req){ .verb = C2_DISK_STAT,
                                      .path = p->device_path,
                                      .done = device_looked_at };
        c2_disk(p->o->env, &p->io);
        return;
    }
    if (io->err == C2_E_OK) {
        volume_fail(&p->error, C2_E_EXISTS, "the key file %s is there already", p->key.path);
        volume_hint(&p->error, "it may be the only key of a volume: move it away, or give this "
                               "volume another key_file");
    } else {
        volume_fail(&p->error, io->err, "%s: %s", p->key.path, c2_err_text(io->err));
    }
    fail(p);
}

/* ---- start --------------------------------------------------------------------------------- */

static enum c2_err
check_name(struct volume_formatting *p)
{
    const char *name = p->o->volume;
    size_t len = strlen(name);
    bool good = len >= 1 && len <= VOLUME_NAME_MAX && name[0] != '-' && name[0] != '.';
    for (size_t i = 0; good && i < len; i++) {
        char c = name[i];
        good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_' || c == '.';
    }
    if (good)
        return C2_E_OK;
    volume_fail(&p->error, C2_E_INVALID, "\"%.80s\" cannot be the name of a volume", name);
    volume_hint(&p->error, "letters, digits, and - _ . inside; at most %d", VOLUME_NAME_MAX);
    return C2_E_INVALID;
}

static enum c2_err
check_conf(struct volume_formatting *p)
{
    static const char *const needed[] = { "metadata", "cache_dir" };
    const char *name = p->o->volume;
    C2_TRY(check_name(p));
    if (!c2_conf_has_section(p->o->conf, "volume", name)) {
        volume_fail(&p->error, C2_E_CONFIG, "there is no [volume \"%s\"] in the configuration",
                    name);
        volume_hint(&p->error, "add the section with metadata, key_file and cache_dir");
        return C2_E_CONFIG;
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

static enum c2_err
prepare(struct volume_formatting *p)
{
    struct volume_config *c = &p->config;
    struct volume_secrets secrets = secrets_of(p);
    C2_TRY(check_conf(p));
    C2_TRY(volume_key_path(&secrets, &p->key.path, &p->error));
    C2_TRY(volume_seats_choose(p->o, c, &p->error));
    c->format_version = VOLUME_FORMAT_VERSION;
    snprintf(c->name, sizeof c->name, "%s", p->o->volume);
    c->keyless = p->o->keyless;
    c->redundancy_full = strcmp(conf_str(p, "redundancy"), "full") == 0;
    c->config_epoch = 1;
    if (p->o->uuid != NULL)
        memcpy(c->uuid, p->o->uuid, sizeof c->uuid);
    else
        c2_random(p->o->env, c->uuid, sizeof c->uuid);
    volume_prefix(c->uuid, p->prefix);
    snprintf(p->list_prefix, sizeof p->list_prefix, "%s/", p->prefix);
    return C2_E_OK;
}

static void
start(struct c2_task *t)
{
    struct volume_formatting *p = C2_CONTAINER_OF(t, struct volume_formatting, task);
    if (prepare(p) != C2_E_OK) {
        fail(p);
        return;
    }
    p->io =
        (struct c2_disk_req){ .verb = C2_DISK_STAT, .path = p->key.path, .done = key_looked_at };
    c2_disk(p->o->env, &p->io);
}

void
volume_format_start(struct volume_format *o)
{
    struct volume_formatting *p = c2_calloc(1, sizeof *p);
    C2_ASSERT(o->done != NULL && o->conf != NULL);
    p->o = o;
    o->own = p;
    p->task.run = start;
    c2_defer(o->env, &p->task);
}
