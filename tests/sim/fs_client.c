/* SPDX-License-Identifier: MIT */
/*
 * Random operations on a mount, as a kernel would send them: names are looked up in the reference,
 * operations on one directory or one file's content exclude each other, a handle is used by one
 * operation at a time. What an operation does is applied to the reference when it is answered, and
 * the answer must be the one the reference gives.
 */
#include "tests/sim/fs_client.h"

#include <stdio.h>

#include "base/mark.h"

const char *
client_op_name(enum fs_opcode o)
{
    static const char *const names[FS_OPCODE_COUNT] = {
        [FS_LOOKUP] = "lookup",
        [FS_GETATTR] = "getattr",
        [FS_SETATTR] = "setattr",
        [FS_READLINK] = "readlink",
        [FS_MKNOD] = "mknod",
        [FS_MKDIR] = "mkdir",
        [FS_SYMLINK] = "symlink",
        [FS_UNLINK] = "unlink",
        [FS_RMDIR] = "rmdir",
        [FS_RENAME] = "rename",
        [FS_LINK] = "link",
        [FS_CREATE] = "create",
        [FS_OPEN] = "open",
        [FS_READ] = "read",
        [FS_WRITE] = "write",
        [FS_FLUSH] = "flush",
        [FS_RELEASE] = "release",
        [FS_FSYNC] = "fsync",
        [FS_OPENDIR] = "opendir",
        [FS_READDIR] = "readdir",
        [FS_RELEASEDIR] = "releasedir",
        [FS_STATFS] = "statfs",
        [FS_SETXATTR] = "setxattr",
        [FS_GETXATTR] = "getxattr",
        [FS_FALLOCATE] = "fallocate",
        [FS_COPY_RANGE] = "copy_range",
        [FS_SYNCFS] = "syncfs",
        [FS_FORGET] = "forget",
    };
    return names[o] != NULL ? names[o] : "?";
}

/* ---- running --------------------------------------------------------------------------------- */

bool
client_lock(struct op *op, struct model_node *n)
{
    for (unsigned k = 0; k < op->nlocks; k++) {
        if (op->lock[k] == n->ino)
            return true;
    }
    if (n->busy)
        return false;
    n->busy = true;
    op->lock[op->nlocks++] = n->ino;
    return true;
}

static void
unlock_all(struct op *op)
{
    for (unsigned k = 0; k < op->nlocks; k++) {
        struct model_node *n = model_find(&op->s->model, op->lock[k]);
        if (n != NULL)
            n->busy = false;
    }
    op->nlocks = 0;
    if (op->handle != NULL)
        op->handle->busy = false;
    if (op->handle2 != NULL)
        op->handle2->busy = false;
}

struct op *
client_op(struct fs_scene *s, enum fs_opcode opcode, bool (*finish)(struct op *op))
{
    struct op *op = c2_calloc(1, sizeof *op);
    op->s = s;
    op->finish = finish;
    op->req.op = opcode;
    op->req.uid = op->req.gid = CLIENT_UID;
    c2_list_append(&s->ops, &op->link);
    return op;
}

static void
op_free(struct op *op)
{
    unlock_all(op);
    c2_blob_unref(op->data);
    c2_list_remove(&op->s->ops, &op->link);
    c2_free(op);
}

static void
answered(struct fs_req *r)
{
    struct op *op = C2_CONTAINER_OF(r, struct op, req);
    struct fs_scene *s = op->s;
    struct sim_life *before = sim_life_enter(NULL);
    sim_trace(s->w, "client", "  %s ino=%llu: %s", client_op_name(r->op),
              (unsigned long long)r->ino, c2_err_name(r->err));
    uint64_t took_ns = s->w->now_ns - op->started_ns;
    SIM_CHECK(s->w, took_ns < 3600 * C2_NS_PER_S, "%s took %llu s", client_op_name(r->op),
              (unsigned long long)(took_ns / C2_NS_PER_S));
    model_tick(&s->model);
    if (!op->finish(op)) {
        fs_req_done(&op->req);
        op_free(op);
    }
    sim_life_leave(before);
}

static bool
add_dirent(struct fs_req *r, const struct fs_dirent *e)
{
    struct op *op = C2_CONTAINER_OF(r, struct op, req);
    struct fs_scene *s = op->s;
    if (op->cookie != r->off && sim_rng_chance(&s->rng, 10))
        return false; /* the answer is full */
    op->cookie = e->cookie;
    if (strcmp(e->name, ".") == 0 || strcmp(e->name, "..") == 0)
        return true;
    SIM_CHECK(s->w, op->nseen < MODEL_ENTRIES_MAX, "readdir does not end");
    struct model_entry *seen = &op->seen[op->nseen++];
    seen->ino = e->ino;
    snprintf(seen->name, sizeof seen->name, "%s", e->name);
    return true;
}

static const struct fs_req_ops req_ops = { .done = answered, .dirent = add_dirent };

void
client_submit(struct op *op)
{
    struct fs_scene *s = op->s;
    op->req.ops = &req_ops;
    op->req.name = op->name;
    op->req.name2 = op->name2;
    if (op->handle != NULL) {
        op->req.handle = op->handle->handle;
        op->handle->busy = true;
        op->req.ino = op->handle->ino;
    }
    if (op->handle2 != NULL) {
        op->req.handle2 = op->handle2->handle;
        op->handle2->busy = true;
    }
    op->began = s->model.nhistory - 1;
    op->started_ns = s->w->now_ns;
    sim_trace(s->w, "client", "%s ino=%llu %s ino2=%llu %s off=%llu len=%llu flags=%x",
              client_op_name(op->req.op), (unsigned long long)op->req.ino, op->name,
              (unsigned long long)op->req.ino2, op->name2, (unsigned long long)op->req.off,
              (unsigned long long)(op->req.op == FS_WRITE ? op->req.data.len : op->req.len),
              (unsigned)op->req.flags);
    struct sim_life *before = sim_node_enter(s->m->node);
    fs_submit(s->m->fs, &op->req);
    sim_life_leave(before);
}

/* The next request of an operation that has several. */
bool
client_go_on(struct op *op, enum fs_opcode opcode, bool (*finish)(struct op *op))
{
    struct fs_req next = { .op = opcode, .ino = op->req.ino, .uid = CLIENT_UID, .gid = CLIENT_UID };
    next.handle = op->req.handle;
    fs_req_done(&op->req);
    op->req = next;
    op->finish = finish;
    client_submit(op);
    return true;
}

void
client_give_up(struct op *op)
{
    op_free(op);
}

/* ---- choosing -------------------------------------------------------------------------------- */

struct model_node *
client_pick_node(struct fs_scene *s, uint32_t type)
{
    struct model_node *found = NULL;
    unsigned seen = 0;
    for (unsigned k = 0; k < MODEL_NODES_MAX; k++) {
        struct model_node *n = &s->model.node[k];
        if (n->ino == 0 || n->live.attr.nlink == 0 || (n->live.attr.mode & S_IFMT) != type)
            continue;
        if (sim_rng_below(&s->rng, ++seen) == 0)
            found = n;
    }
    return found;
}

struct scene_handle *
client_pick_handle(struct fs_scene *s, bool writes)
{
    struct scene_handle *found = NULL;
    unsigned seen = 0;
    for (unsigned k = 0; k < SCENE_HANDLES_MAX; k++) {
        struct scene_handle *h = &s->handle[k];
        if (h->handle == NULL || h->busy || (writes && !h->writes))
            continue;
        if (sim_rng_below(&s->rng, ++seen) == 0)
            found = h;
    }
    return found;
}

void
client_pick_name(struct fs_scene *s, char out[MODEL_NAME_MAX])
{
    snprintf(out, MODEL_NAME_MAX, "n%u", (unsigned)sim_rng_below(&s->rng, 6));
}

const struct model_entry *
client_pick_entry(struct fs_scene *s)
{
    if (s->model.nentries == 0)
        return NULL;
    return &s->model.entry[sim_rng_below(&s->rng, s->model.nentries)];
}

struct scene_handle *
client_free_handle(struct fs_scene *s)
{
    for (unsigned k = 0; k < SCENE_HANDLES_MAX; k++) {
        if (s->handle[k].handle == NULL && !s->handle[k].busy)
            return &s->handle[k];
    }
    return NULL;
}

/* ---- answers --------------------------------------------------------------------------------- */

bool
scene_tolerates(const struct fs_scene *s, enum c2_err err)
{
    return ((s->weather == SIM_STORM && !s->healed) || s->change.frail) &&
           (c2_err_class(err) == C2_CLASS_RETRY || c2_err_class(err) == C2_CLASS_DATA ||
            err == C2_E_NOT_FOUND);
}

/* True when it succeeded, as it should. */
bool
client_expect(struct op *op, enum c2_err wanted)
{
    struct fs_scene *s = op->s;
    enum c2_err err = op->req.err;
    if (err != wanted && scene_tolerates(s, err)) {
        C2_MARK("sim: an operation failed in a storm");
        return false;
    }
    if (err == C2_E_TOO_LARGE && s->m->conf.extents_max > 0) {
        C2_MARK("sim: a file has too many extents, and none can be joined");
        return false;
    }
    SIM_CHECK(s->w, err == wanted, "%s of inode %llu (%s): %s, should be %s",
              client_op_name(op->req.op), (unsigned long long)op->req.ino, op->name,
              c2_err_name(err), c2_err_name(wanted));
    return err == C2_E_OK;
}

void
client_commit(struct op *op, struct model_node *a, struct model_node *b)
{
    struct fs_scene *s = op->s;
    model_commit(&s->model, s->m->fs);
    if (a != NULL)
        a->changed = s->model.nhistory - 1;
    if (b != NULL)
        b->changed = s->model.nhistory - 1;
}

/* ---- interface ------------------------------------------------------------------------------- */

static void
start_close(struct fs_scene *s)
{
    struct scene_handle *h = client_pick_handle(s, false);
    if (h != NULL)
        client_flush(s, h, FS_FLUSH);
}

static void
start_fsync(struct fs_scene *s)
{
    struct scene_handle *h = client_pick_handle(s, true);
    if (h != NULL)
        client_flush(s, h, FS_FSYNC);
}

void
client_start_one(struct fs_scene *s)
{
    unsigned dice = (unsigned)sim_rng_below(&s->rng, 100);
    if (s->ops.count >= s->ops_at_once)
        return;
    if (dice < 10)
        client_make(s, FS_CREATE);
    else if (dice < 14)
        client_make(s, FS_MKDIR);
    else if (dice < 16)
        client_make(s, sim_rng_chance(&s->rng, 50) ? FS_SYMLINK : FS_MKNOD);
    else if (dice < 24)
        client_open(s);
    else if (dice < 44)
        client_write(s);
    else if (dice < 50)
        client_read(s);
    else if (dice < 60)
        start_close(s);
    else if (dice < 64)
        start_fsync(s);
    else if (dice < 65)
        client_syncfs(s);
    else if (dice < 69)
        client_setattr(s, FS_SET_SIZE);
    else if (dice < 71)
        client_setattr(s, sim_rng_chance(&s->rng, 50) ? FS_SET_MODE : FS_SET_MTIME);
    else if (dice < 75)
        client_link(s);
    else if (dice < 80)
        client_unlink(s);
    else if (dice < 88)
        client_rename(s);
    else if (dice < 91)
        client_look(s, sim_rng_chance(&s->rng, 60) ? FS_LOOKUP : FS_GETATTR);
    else if (dice < 94)
        client_readdir(s);
    else if (dice < 96)
        client_fallocate(s);
    else if (dice < 98)
        client_copy(s);
    else
        client_xattr(s, sim_rng_chance(&s->rng, 50) ? FS_SETXATTR : FS_GETXATTR);
}

void
client_close_all(struct fs_scene *s)
{
    for (unsigned k = 0; k < SCENE_HANDLES_MAX; k++) {
        if (s->handle[k].handle != NULL && !s->handle[k].busy)
            client_flush(s, &s->handle[k], FS_FLUSH);
    }
}

bool
client_has_handles(const struct fs_scene *s)
{
    for (unsigned k = 0; k < SCENE_HANDLES_MAX; k++) {
        if (s->handle[k].handle != NULL)
            return true;
    }
    return !c2_list_empty(&s->ops);
}

void
client_died(struct fs_scene *s)
{
    C2_LIST_FOREACH (&s->ops, struct op, op, link)
        op_free(op);
    memset(s->handle, 0, sizeof s->handle);
}
