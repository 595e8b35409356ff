/* SPDX-License-Identifier: MIT */
/*
 * A directory as a cloud: the object KEY is the file ROOT/KEY. For development, demonstrations,
 * tests, and for anything that is mounted: a NAS, another disk.
 *
 *  - PUT is atomic and durable: the environment writes a temporary file beside the target, syncs
 *    it, and renames (or, with if_absent, links) it into place. Temporary names are never keys;
 *    LIST removes those that a crash has left, a day later.
 *  - DELETE removes folders that became empty, so a PUT may find its folder gone between two steps
 *    and tries again.
 *  - The root is never made here. A root that is missing is an unplugged disk, an unmounted NAS or
 *    a deleted cloud, so everything answers UNREACHABLE then, never "not found". That is why every
 *    "not found" of the disk is followed by a look at the root.
 *  - Keys are cut into segments at '/'; empty, "." and ".." segments are refused, so none escapes.
 *  - A file system cannot hold both "a" and "a/b": the second PUT gets an error.
 *  - Deadline and cancel are looked at between disk requests; one that hangs in the kernel cannot
 *    be interrupted.
 */
#include "backends/dir.h"
#include "backends/registry.h"

#include "base/alloc.h"

#include <string.h>

static struct dir *
dir_of(const struct dir_op *op)
{
    return C2_CONTAINER_OF(op->call.p, struct dir, p);
}

char *
dir_path_of(const struct dir_op *op, const char *key)
{
    size_t len = strlen(key);
    if (len > 0 && key[len - 1] == '/')
        len--;
    return len == 0 ? c2_strdup(dir_of(op)->root)
                    : c2_asprintf("%s/%.*s", dir_of(op)->root, (int)len, key);
}

void
dir_finish(struct dir_op *op)
{
    struct prov_req *r = op->call.r;
    dir_of(op)->outstanding--;
    r->server_wall_ns = c2_wall_ns(op->call.p->env);
    c2_free(op->path);
    dir_walk_done(&op->walk);
    prov_call_pop(&op->call);
    c2_free(op);
    r->done(r);
}

/*
 * What an error of the disk means for a cloud. Errors of a mount that went away are a cloud that
 * cannot be reached.
 */
static enum c2_err
translate(enum c2_err err)
{
    if (err == C2_E_NOT_MOUNTED || err == C2_E_STALE || err == C2_E_NO_DEVICE)
        return C2_E_UNREACHABLE;
    return err == C2_E_NOT_DIR || err == C2_E_IS_DIR ? C2_E_INVALID : err;
}

void
dir_fail(struct dir_op *op, enum c2_err err)
{
    struct prov_req *r = op->call.r;
    const char *root = dir_of(op)->root;
    enum c2_err meaning = translate(err);
    if (meaning == C2_E_UNREACHABLE)
        prov_req_fail(r, meaning, "directory %s is not there (unmounted, or never made)", root);
    else if (meaning == C2_E_NO_SPACE)
        prov_req_fail(r, meaning, "no space left in %s", root);
    else if (meaning == C2_E_INVALID && err != C2_E_INVALID)
        prov_req_fail(r, meaning, "a key and a longer one below it cannot both be files");
    else if (meaning == C2_E_INVALID)
        prov_req_fail(r, meaning, "not a key that a directory can hold");
    else
        prov_req_fail(r, meaning, "%s", c2_err_text(meaning));
    dir_finish(op);
}

static void
refuse(struct c2_task *t)
{
    struct dir_op *op = C2_CONTAINER_OF(t, struct dir_op, task);
    C2_ASSERT(op->step == DIR_REFUSE);
    dir_fail(op, op->refusal);
}

static void
take_path(struct dir_op *op, char *path)
{
    c2_free(op->path);
    op->path = path;
}

static bool
is_late(const struct dir_op *op)
{
    return op->call.r->deadline_ns <= c2_now_ns(op->call.p->env);
}

static void answered(struct c2_disk_req *d);

void
dir_next(struct dir_op *op, enum dir_step step, enum c2_disk_verb verb)
{
    struct prov_req *r = op->call.r;
    if (op->started && (op->canceled || is_late(op))) {
        dir_fail(op, op->canceled ? C2_E_CANCELED : C2_E_TIMEOUT);
        return;
    }
    op->step = step;
    op->disk = (struct c2_disk_req){ .verb = verb, .path = op->path, .done = answered };
    switch (step) {
    case DIR_WRITE:
    case DIR_WRITE_DEEP:
        op->disk.flags = C2_DISK_DURABLE | (r->if_absent ? C2_DISK_EXCL : 0) |
                         (step == DIR_WRITE_DEEP ? C2_DISK_MAKE_DIRS : 0);
        op->disk.iov = &op->body;
        op->disk.niov = 1;
        break;
    case DIR_READ:
        op->disk.offset = r->offset;
        op->disk.len_max = r->len == 0 ? r->body_len_max : (size_t)C2_MIN(r->len, r->body_len_max);
        break;
    case DIR_WALK_LIST:
        op->disk.flags = C2_DISK_MARK_DIRS;
        op->disk.len_max = DIR_NAMES_MAX;
        break;
    case DIR_REFUSE:
    case DIR_ROOT:
    case DIR_STAT:
    case DIR_UNLINK:
    case DIR_RMDIR:
    case DIR_WALK_STAT:
    case DIR_LEFT_STAT:
    case DIR_LEFT_UNLINK:
    default:
        break;
    }
    c2_disk(op->call.p->env, &op->disk);
}

void
dir_check_root(struct dir_op *op)
{
    take_path(op, c2_strdup(dir_of(op)->root));
    dir_next(op, DIR_ROOT, C2_DISK_STAT);
}

/* No file of that name; the folder above may be missing or be a file itself. */
static bool
is_absence(enum c2_err err)
{
    return err == C2_E_NOT_FOUND || err == C2_E_NOT_DIR;
}

/* ---- PUT ---- */

static void
put_start(struct dir_op *op, enum dir_step step)
{
    op->tries++;
    take_path(op, dir_path_of(op, op->call.r->key));
    dir_next(op, step, C2_DISK_WRITE);
}

static void
written(struct dir_op *op)
{
    enum c2_err err = op->disk.err;
    if (err == C2_E_OK) {
        dir_finish(op);
    } else if (is_absence(err)) {
        op->failure = err;
        dir_check_root(op);
    } else {
        dir_fail(op, err);
    }
}

/* ---- GET, HEAD ---- */

static void
read_done(struct dir_op *op)
{
    struct prov_req *r = op->call.r;
    uint64_t offset = 0;
    size_t len = 0;
    r->size = op->disk.size;
    enum c2_err err = prov_get_range(r, op->disk.size, &offset, &len);
    if (err == C2_E_OK && op->disk.reply->len != len)
        err = C2_E_IO; /* somebody cut the file while we read it */
    if (err == C2_E_OK) {
        r->reply = op->disk.reply;
        dir_finish(op);
        return;
    }
    c2_blob_unref(op->disk.reply);
    dir_fail(op, err);
}

static void
looked_up(struct dir_op *op)
{
    bool is_folder = op->disk.err == C2_E_IS_DIR ||
                     (op->disk.err == C2_E_OK && op->step == DIR_STAT && op->disk.is_dir);
    if (is_folder) {
        dir_fail(op, C2_E_NOT_FOUND);
    } else if (is_absence(op->disk.err)) {
        dir_check_root(op);
    } else if (op->disk.err != C2_E_OK) {
        dir_fail(op, op->disk.err);
    } else if (op->step == DIR_READ) {
        read_done(op);
    } else {
        op->call.r->size = op->disk.size;
        dir_finish(op);
    }
}

/* ---- DELETE, DELETE_MANY ---- */

static const char *
delete_key(const struct dir_op *op)
{
    const struct prov_req *r = op->call.r;
    return r->verb == PROV_DELETE ? r->key : r->keys[op->index];
}

static void
delete_start(struct dir_op *op)
{
    take_path(op, dir_path_of(op, delete_key(op)));
    dir_next(op, DIR_UNLINK, C2_DISK_UNLINK);
}

static void
delete_next(struct dir_op *op)
{
    op->index++;
    if (op->call.r->verb == PROV_DELETE_MANY && op->index < op->call.r->nkeys)
        delete_start(op);
    else if (op->failure != C2_E_OK)
        dir_fail(op, op->failure);
    else
        dir_finish(op);
}

/* Removes the folder that op->path is in, if it is empty; the disk says when it is not. */
static void
tidy(struct dir_op *op)
{
    size_t root_len = strlen(dir_of(op)->root);
    char *slash = strrchr(op->path, '/');
    if ((size_t)(slash - op->path) <= root_len) {
        delete_next(op);
        return;
    }
    *slash = '\0';
    dir_next(op, DIR_RMDIR, C2_DISK_RMDIR);
}

static void
unlinked(struct dir_op *op)
{
    enum c2_err err = op->disk.err;
    if (err == C2_E_OK) {
        tidy(op);
    } else if (is_absence(err)) {
        dir_check_root(op);
    } else {
        /* A folder is no object, so the key is absent; Linux says EISDIR, others EPERM. */
        bool is_folder = err == C2_E_IS_DIR;
        if (!is_folder && op->failure == C2_E_OK)
            op->failure = err;
        delete_next(op);
    }
}

static void
tidied(struct dir_op *op)
{
    if (op->disk.err == C2_E_OK)
        tidy(op);
    else
        delete_next(op);
}

/* ---- all ---- */

/* The disk said "not found" before. */
static void
root_checked(struct dir_op *op)
{
    if (op->disk.err != C2_E_OK || !op->disk.is_dir) {
        dir_fail(op, op->disk.err == C2_E_OK || is_absence(op->disk.err) ? C2_E_UNREACHABLE
                                                                         : op->disk.err);
        return;
    }
    switch (op->call.r->verb) {
    case PROV_PUT:
        if (op->failure == C2_E_NOT_DIR)
            dir_fail(op, op->failure);
        else if (op->tries < DIR_PUT_TRIES_MAX)
            put_start(op, DIR_WRITE_DEEP);
        else
            dir_fail(op, C2_E_BUSY); /* somebody keeps removing the folder */
        break;
    case PROV_GET:
    case PROV_HEAD:
        dir_fail(op, C2_E_NOT_FOUND);
        break;
    case PROV_DELETE:
    case PROV_DELETE_MANY:
        delete_next(op);
        break;
    case PROV_LIST:
        dir_walk_end(op);
        break;
    case PROV_VERB_COUNT:
    default:
        C2_UNREACHABLE();
    }
}

static void
answered(struct c2_disk_req *d)
{
    struct dir_op *op = C2_CONTAINER_OF(d, struct dir_op, disk);
    switch (op->step) {
    case DIR_ROOT:
        root_checked(op);
        break;
    case DIR_WRITE:
    case DIR_WRITE_DEEP:
        written(op);
        break;
    case DIR_READ:
    case DIR_STAT:
        looked_up(op);
        break;
    case DIR_UNLINK:
        unlinked(op);
        break;
    case DIR_RMDIR:
        tidied(op);
        break;
    case DIR_WALK_LIST:
    case DIR_WALK_STAT:
    case DIR_LEFT_STAT:
    case DIR_LEFT_UNLINK:
        dir_walk_answered(op);
        break;
    case DIR_REFUSE:
    default:
        C2_UNREACHABLE();
    }
}

/* The folder part of a LIST prefix may be empty; what follows it is only compared. */
static bool
segments_ok(const char *key, bool is_prefix)
{
    for (;;) {
        size_t len = strcspn(key, "/");
        bool is_last = key[len] == '\0';
        if (is_last && is_prefix)
            return true;
        if (len == 0 || len > DIR_SEGMENT_MAX)
            return false;
        if (strncmp(key, "..", len) == 0) /* "." or ".." */
            return false;
        if (strncmp(key, C2_DISK_TMP_PREFIX, strlen(C2_DISK_TMP_PREFIX)) == 0)
            return false;
        if (is_last)
            return true;
        key += len + 1;
    }
}

static bool
keys_ok(const struct prov_req *r)
{
    if (r->verb != PROV_DELETE_MANY)
        return segments_ok(r->key, r->verb == PROV_LIST);
    for (size_t i = 0; i < r->nkeys; i++) {
        if (!segments_ok(r->keys[i], false))
            return false;
    }
    return true;
}

static void
start(struct dir_op *op)
{
    struct prov_req *r = op->call.r;
    switch (r->verb) {
    case PROV_PUT:
        op->body = c2_blob_slice(r->body);
        put_start(op, DIR_WRITE);
        break;
    case PROV_GET:
        take_path(op, dir_path_of(op, r->key));
        dir_next(op, DIR_READ, C2_DISK_READ);
        break;
    case PROV_HEAD:
        take_path(op, dir_path_of(op, r->key));
        dir_next(op, DIR_STAT, C2_DISK_STAT);
        break;
    case PROV_DELETE:
    case PROV_DELETE_MANY:
        delete_start(op);
        break;
    case PROV_LIST:
        dir_walk_start(op);
        break;
    case PROV_VERB_COUNT:
    default:
        C2_UNREACHABLE();
    }
}

static void
dir_submit(struct provider *p, struct prov_req *r)
{
    struct dir *d = C2_CONTAINER_OF(p, struct dir, p);
    struct dir_op *op = c2_calloc(1, sizeof *op);
    op->task.run = refuse;
    d->outstanding++;
    prov_call_push(&op->call, p, r, NULL);
    bool in_time = !is_late(op);
    if (in_time && keys_ok(r)) {
        start(op);
        op->started = true;
        return;
    }
    op->step = DIR_REFUSE;
    op->refusal = in_time ? C2_E_INVALID : C2_E_TIMEOUT;
    c2_defer(p->env, &op->task);
}

static void
dir_cancel(struct provider *p, struct prov_req *r)
{
    struct dir_op *op = prov_call_find(p, r);
    op->canceled = true;
}

static void
dir_close(struct provider *p)
{
    struct dir *d = C2_CONTAINER_OF(p, struct dir, p);
    C2_ASSERT(d->outstanding == 0);
    c2_free(d->root);
    c2_free(d);
}

static const struct provider_ops dir_ops = {
    .submit = dir_submit,
    .cancel = dir_cancel,
    .close = dir_close,
};

struct provider *
prov_dir_new(struct c2_env *env, const char *name, const char *path)
{
    C2_ASSERT(path[0] == '/');
    struct dir *d = c2_calloc(1, sizeof *d);
    prov_bottom_init(&d->p, &dir_ops, env, name);
    d->p.caps = PROV_CAP_IF_ABSENT | PROV_CAP_LOCAL;
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    d->root = c2_strndup(path, len);
    return &d->p;
}
