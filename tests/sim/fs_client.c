/* SPDX-License-Identifier: MIT */
/*
 * Random operations on a mount, as a kernel would send them: names are looked up in the reference,
 * operations on one directory or one file's content exclude each other, a handle is used by one
 * operation at a time. What an operation does is applied to the reference when it is answered, and
 * the answer must be the one the reference gives.
 */
#include "tests/sim/fs_scene.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"

#define NODES_SOFT_MAX   26
#define FILE_SIZE_SOFT   60000
#define BIG_FILE_SIZE    1500000
#define RENAME_EXCLUSIVE 1 /* RENAME_NOREPLACE */
#define RENAME_SWAP      2 /* RENAME_EXCHANGE */
#define CLIENT_UID       1000

struct op {
    struct c2_link link; /* scene->ops */
    struct fs_scene *s;
    struct fs_req req;
    bool (*finish)(struct op *op); /* true: the operation goes on with another request */
    char name[MODEL_NAME_MAX], name2[MODEL_NAME_MAX];
    uint64_t lock[SCENE_LOCKS_MAX];
    unsigned nlocks;
    struct scene_handle *handle, *handle2;
    struct c2_blob *data;
    size_t began;   /* snapshot when it was submitted */
    size_t promise; /* snapshot that is durable when it succeeds */
    bool promises, machine;
    struct model_mark marks[MODEL_NODES_MAX];
    bool syncs;
    uint64_t started_ns;
    /* readdir */
    struct model_entry seen[MODEL_ENTRIES_MAX];
    unsigned nseen;
    uint64_t cookie;
};

static const char *
op_name(enum fs_opcode o)
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

static bool
lock(struct op *op, struct model_node *n)
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

static struct op *
op_new(struct fs_scene *s, enum fs_opcode opcode, bool (*finish)(struct op *op))
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
    sim_trace(s->w, "client", "  %s ino=%llu: %s", op_name(r->op), (unsigned long long)r->ino,
              c2_err_name(r->err));
    uint64_t took_ns = s->w->now_ns - op->started_ns;
    SIM_CHECK(s->w, took_ns < 3600 * C2_NS_PER_S, "%s took %llu s", op_name(r->op),
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

static void
submit(struct op *op)
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
              op_name(op->req.op), (unsigned long long)op->req.ino, op->name,
              (unsigned long long)op->req.ino2, op->name2, (unsigned long long)op->req.off,
              (unsigned long long)(op->req.op == FS_WRITE ? op->req.data.len : op->req.len),
              (unsigned)op->req.flags);
    struct sim_life *before = sim_node_enter(s->m->node);
    fs_submit(s->m->fs, &op->req);
    sim_life_leave(before);
}

/* The next request of an operation that has several. */
static bool
go_on(struct op *op, enum fs_opcode opcode, bool (*finish)(struct op *op))
{
    struct fs_req next = { .op = opcode, .ino = op->req.ino, .uid = CLIENT_UID, .gid = CLIENT_UID };
    next.handle = op->req.handle;
    fs_req_done(&op->req);
    op->req = next;
    op->finish = finish;
    submit(op);
    return true;
}

static void
give_up(struct op *op)
{
    op_free(op);
}

/* ---- choosing -------------------------------------------------------------------------------- */

static struct model_node *
pick_node(struct fs_scene *s, uint32_t type)
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

static struct scene_handle *
pick_handle(struct fs_scene *s, bool writes)
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

static void
pick_name(struct fs_scene *s, char out[MODEL_NAME_MAX])
{
    snprintf(out, MODEL_NAME_MAX, "n%u", (unsigned)sim_rng_below(&s->rng, 6));
}

static const struct model_entry *
pick_entry(struct fs_scene *s)
{
    if (s->model.nentries == 0)
        return NULL;
    return &s->model.entry[sim_rng_below(&s->rng, s->model.nentries)];
}

static unsigned
count_nodes(const struct fs_scene *s)
{
    unsigned n = 0;
    for (unsigned k = 0; k < MODEL_NODES_MAX; k++)
        n += s->model.node[k].ino != 0;
    return n;
}

static struct scene_handle *
free_handle(struct fs_scene *s)
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
    return s->weather == SIM_STORM && !s->healed &&
           (c2_err_class(err) == C2_CLASS_RETRY || c2_err_class(err) == C2_CLASS_DATA ||
            err == C2_E_NOT_FOUND);
}

/* True when it succeeded, as it should. */
static bool
expect(struct op *op, enum c2_err wanted)
{
    struct fs_scene *s = op->s;
    enum c2_err err = op->req.err;
    if (err != wanted && scene_tolerates(s, err)) {
        C2_MARK("sim: an operation failed in a storm");
        return false;
    }
    SIM_CHECK(s->w, err == wanted, "%s of inode %llu (%s): %s, should be %s", op_name(op->req.op),
              (unsigned long long)op->req.ino, op->name, c2_err_name(err), c2_err_name(wanted));
    return err == C2_E_OK;
}

static void
commit(struct op *op, struct model_node *a, struct model_node *b)
{
    struct fs_scene *s = op->s;
    model_commit(&s->model, s->m->fs);
    if (a != NULL)
        a->changed = s->model.nhistory - 1;
    if (b != NULL)
        b->changed = s->model.nhistory - 1;
}

/* ---- making ---------------------------------------------------------------------------------- */

static bool
finish_make(struct op *op)
{
    struct fs_scene *s = op->s;
    struct fs_req *r = &op->req;
    if (!expect(op, C2_E_OK))
        return false;
    struct model_node *n = model_add(&s->model, &r->attr, r->ino, op->name);
    uint32_t type = r->op == FS_MKDIR ? S_IFDIR : r->op == FS_SYMLINK ? S_IFLNK : S_IFREG;
    SIM_CHECK(s->w, (r->attr.mode & S_IFMT) == type, "%s made another type", op_name(r->op));
    if (type == S_IFDIR) {
        model_find(&s->model, r->ino)->live.attr.nlink++;
        SIM_CHECK(s->w, r->attr.nlink == 2, "mkdir: nlink is %u", r->attr.nlink);
    } else {
        SIM_CHECK(s->w, r->attr.nlink == 1, "%s: nlink is %u", op_name(r->op), r->attr.nlink);
    }
    if (type == S_IFLNK)
        memcpy(n->symlink, op->name2, sizeof n->symlink);
    if (r->op == FS_CREATE) {
        n->opens++;
        n->write_opens++;
        *op->handle = (struct scene_handle){ .handle = r->handle, .ino = n->ino, .writes = true };
    }
    commit(op, n, model_find(&s->model, r->ino));
    return false;
}

static void
start_make(struct fs_scene *s, enum fs_opcode opcode)
{
    struct op *op = op_new(s, opcode, finish_make);
    struct model_node *dir = pick_node(s, S_IFDIR);
    pick_name(s, op->name);
    if (count_nodes(s) >= NODES_SOFT_MAX || !lock(op, dir) ||
        model_entry_find(&s->model, dir->ino, op->name) != NULL) {
        give_up(op);
        return;
    }
    op->req.ino = dir->ino;
    op->req.mode = opcode == FS_MKDIR ? 0755 : 0644;
    if (opcode == FS_SYMLINK)
        pick_name(s, op->name2);
    if (opcode == FS_CREATE) {
        struct scene_handle *h = free_handle(s);
        if (h == NULL) {
            give_up(op);
            return;
        }
        op->handle = h;
        op->req.flags = O_RDWR | O_CREAT;
        h->busy = true;
        h->ino = dir->ino;
    }
    submit(op);
}

/* ---- opening, closing ------------------------------------------------------------------------ */

static bool
finish_open(struct op *op)
{
    struct fs_scene *s = op->s;
    struct model_node *n = model_find(&s->model, op->req.ino);
    if (!expect(op, C2_E_OK))
        return false;
    bool writes = (op->req.flags & O_ACCMODE) != O_RDONLY;
    *op->handle =
        (struct scene_handle){ .handle = op->req.handle, .ino = n->ino, .writes = writes };
    if (!writes) {
        n->opens++;
        return false;
    }
    model_open_write(&s->model, n);
    bool truncates = (op->req.flags & O_TRUNC) != 0 && n->live.attr.size > 0;
    if (truncates) {
        model_truncate(&s->model, n, 0);
        n->truncated = true;
    }
    commit(op, truncates ? n : NULL, NULL);
    return false;
}

static void
start_open(struct fs_scene *s)
{
    static const int flags[] = { O_RDONLY, O_RDWR, O_WRONLY | O_TRUNC };
    struct op *op = op_new(s, FS_OPEN, finish_open);
    struct model_node *n = pick_node(s, S_IFREG);
    struct scene_handle *h = free_handle(s);
    if (n == NULL || h == NULL || !lock(op, n)) {
        give_up(op);
        return;
    }
    op->handle = h;
    h->ino = n->ino;
    op->req.flags = flags[sim_rng_below(&s->rng, C2_ARRAY_LEN(flags))];
    submit(op);
}

static bool
finish_release(struct op *op)
{
    struct fs_scene *s = op->s;
    struct model_node *n = model_find(&s->model, op->handle->ino);
    expect(op, C2_E_OK);
    n->opens--;
    if (op->handle->writes)
        n->write_opens--;
    op->handle->handle = NULL;
    model_unlinked(&s->model, n);
    model_commit(&s->model, s->m->fs);
    return false;
}

static bool
finish_flush(struct op *op)
{
    struct fs_scene *s = op->s;
    if (op->syncs)
        model_sync_end(&s->model, op->marks, op->req.err == C2_E_OK);
    if (expect(op, C2_E_OK) && op->promises)
        model_promise(&s->model, op->promise, op->machine);
    return op->req.op == FS_FLUSH ? go_on(op, FS_RELEASE, finish_release) : false;
}

/* Publication happens when the request is submitted. What is clean for the journal was in a group
 * after its last change. */
static void
publish_now(struct op *op, struct model_node *n)
{
    struct fs_scene *s = op->s;
    const struct fs_inode *i = fs_inode_peek(s->m->fs, n->ino);
    size_t last_change = n->changed;
    model_tick(&s->model);
    model_publish(&s->model, n);
    model_commit(&s->model, s->m->fs);
    bool whole = op->req.op == FS_FSYNC || i->dirty_journal;
    if (whole)
        n->changed = s->model.nhistory - 1;
    op->promises = true;
    op->promise = whole ? s->model.nhistory - 1 : last_change;
}

static void
start_flush(struct fs_scene *s, struct scene_handle *h, enum fs_opcode opcode)
{
    struct op *op = op_new(s, opcode, finish_flush);
    struct model_node *n = model_find(&s->model, h->ino);
    if (!lock(op, n)) {
        give_up(op);
        return;
    }
    op->handle = h;
    if (h->writes || opcode == FS_FSYNC)
        publish_now(op, n);
    op->machine = opcode == FS_FSYNC || s->m->conf.close_sync;
    submit(op);
}

static void
start_syncfs(struct fs_scene *s)
{
    struct op *op = op_new(s, FS_SYNCFS, finish_flush);
    op->syncs = op->promises = op->machine = true;
    op->promise = s->model.nhistory - 1;
    model_sync_begin(&s->model, op->marks);
    submit(op);
}

/* ---- content --------------------------------------------------------------------------------- */

static struct c2_blob *
new_bytes(struct fs_scene *s, size_t len)
{
    struct c2_blob *b = c2_blob_new(len);
    uint64_t stamp = ++s->stamp * 0x9e3779b97f4a7c15ull;
    for (size_t i = 0; i < len; i++) {
        if (i % 8 == 0)
            stamp += 0x100000001b3ull;
        b->data[i] = (uint8_t)(stamp >> (i % 8 * 8));
    }
    return b;
}

static bool
finish_write(struct op *op)
{
    struct fs_scene *s = op->s;
    struct model_node *n = model_find(&s->model, op->handle->ino);
    if (!expect(op, C2_E_OK))
        return false;
    SIM_CHECK(s->w, op->req.count == op->data->len, "a short write");
    model_write(&s->model, n, op->req.off, c2_blob_slice(op->data));
    commit(op, n, NULL);
    return false;
}

static void
start_write(struct fs_scene *s)
{
    struct op *op = op_new(s, FS_WRITE, finish_write);
    struct scene_handle *h = pick_handle(s, true);
    struct model_node *n = h != NULL ? model_find(&s->model, h->ino) : NULL;
    uint64_t max = s->big ? BIG_FILE_SIZE : FILE_SIZE_SOFT;
    if (n == NULL || !lock(op, n)) {
        give_up(op);
        return;
    }
    op->handle = h;
    uint64_t size = n->live.attr.size;
    unsigned dice = (unsigned)sim_rng_below(&s->rng, 100);
    op->req.off = size;
    if (dice < 35 || size >= max)
        op->req.off = sim_rng_below(&s->rng, size + 1);
    else if (dice < 45)
        op->req.off = size + sim_rng_below(&s->rng, 9000);
    size_t len = (size_t)sim_rng_scale(&s->rng, 1, 9000);
    if (s->big && sim_rng_chance(&s->rng, 50))
        len = (size_t)sim_rng_between(&s->rng, 50000, 200000);
    op->data = new_bytes(s, len);
    op->req.data = c2_blob_slice(op->data);
    submit(op);
}

static bool
equals_at(const struct model_snapshot *snap, const struct op *op)
{
    const struct fs_req *r = &op->req;
    for (unsigned k = 0; k < snap->nnodes; k++) {
        const struct model_snap_node *n = &snap->nodes[k];
        if (n->ino != op->handle->ino)
            continue;
        size_t size = n->live.data->len;
        size_t off = C2_MIN((size_t)r->off, size);
        size_t len = C2_MIN((size_t)r->len, size - off);
        return len == r->iov.len &&
               (len == 0 || memcmp(n->live.data->data + off, r->iov.data, len) == 0);
    }
    return false;
}

/* What the file was at some moment of the read. */
static bool
finish_read(struct op *op)
{
    struct fs_scene *s = op->s;
    if (!expect(op, C2_E_OK))
        return false;
    bool found = false;
    for (size_t k = op->began; k < s->model.nhistory && !found; k++)
        found = equals_at(&s->model.history[k], op);
    SIM_CHECK(s->w, found, "read of inode %llu at %llu, %llu bytes: %zu wrong bytes",
              (unsigned long long)op->handle->ino, (unsigned long long)op->req.off,
              (unsigned long long)op->req.len, op->req.iov.len);
    return false;
}

static void
start_read(struct fs_scene *s)
{
    struct scene_handle *h = pick_handle(s, false);
    struct model_node *n = h != NULL ? model_find(&s->model, h->ino) : NULL;
    if (n == NULL)
        return;
    struct op *op = op_new(s, FS_READ, finish_read);
    op->handle = h;
    if (sim_rng_chance(&s->rng, 60))
        op->req.off = sim_rng_below(&s->rng, n->live.attr.size + 100);
    op->req.len = sim_rng_scale(&s->rng, 1, s->big ? 1000000 : 80000);
    submit(op);
}

static bool
finish_setattr(struct op *op)
{
    struct fs_scene *s = op->s;
    struct fs_req *r = &op->req;
    if (!expect(op, C2_E_OK))
        return false;
    struct model_node *n = model_find(&s->model, op->handle != NULL ? op->handle->ino : r->ino);
    if ((r->valid & FS_SET_SIZE) != 0) {
        model_truncate(&s->model, n, r->off);
    } else if ((r->valid & FS_SET_MODE) != 0) {
        n->live.attr.mode = (n->live.attr.mode & S_IFMT) | r->mode;
    } else {
        SIM_CHECK(s->w, r->attr.mtime.sec == (int64_t)r->off, "utimens is not obeyed");
    }
    SIM_CHECK(s->w, !S_ISREG(r->attr.mode) || r->attr.size == n->live.attr.size,
              "setattr: size is %llu, should be %llu", (unsigned long long)r->attr.size,
              (unsigned long long)n->live.attr.size);
    commit(op, n, NULL);
    return false;
}

/* What is asked for is remembered in off and mode: attr is the answer's too. */
static void
start_setattr(struct fs_scene *s, unsigned valid)
{
    struct op *op = op_new(s, FS_SETATTR, finish_setattr);
    struct scene_handle *h = sim_rng_chance(&s->rng, 50) ? pick_handle(s, true) : NULL;
    struct model_node *n = h != NULL ? model_find(&s->model, h->ino) : pick_node(s, S_IFREG);
    if (n == NULL || !lock(op, n)) {
        give_up(op);
        return;
    }
    op->handle = h;
    op->req.ino = n->ino;
    op->req.valid = valid;
    if ((valid & FS_SET_SIZE) != 0) {
        op->req.off = op->req.attr.size = sim_rng_below(&s->rng, n->live.attr.size + 3000);
    } else if ((valid & FS_SET_MODE) != 0) {
        op->req.mode = op->req.attr.mode = 0600 + (uint32_t)sim_rng_below(&s->rng, 8) * 9;
    } else {
        op->req.off = sim_rng_between(&s->rng, 1, 1000000000);
        op->req.attr.mtime.sec = (int64_t)op->req.off;
    }
    submit(op);
}

static bool
finish_fallocate(struct op *op)
{
    struct fs_scene *s = op->s;
    struct fs_req *r = &op->req;
    struct model_node *n = model_find(&s->model, op->handle->ino);
    if (!expect(op, C2_E_OK))
        return false;
    if (r->mode != 0)
        model_punch(&s->model, n, r->off, r->len);
    else if (r->off + r->len > n->live.attr.size)
        model_truncate(&s->model, n, r->off + r->len);
    commit(op, n, NULL);
    return false;
}

static void
start_fallocate(struct fs_scene *s)
{
    struct op *op = op_new(s, FS_FALLOCATE, finish_fallocate);
    struct scene_handle *h = pick_handle(s, true);
    struct model_node *n = h != NULL ? model_find(&s->model, h->ino) : NULL;
    if (n == NULL || !lock(op, n)) {
        give_up(op);
        return;
    }
    op->handle = h;
    op->req.mode = sim_rng_chance(&s->rng, 70) ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : 0;
    op->req.off = sim_rng_below(&s->rng, n->live.attr.size + 100);
    op->req.len = sim_rng_between(&s->rng, 1, 8000);
    submit(op);
}

static bool
finish_copy(struct op *op)
{
    struct fs_scene *s = op->s;
    struct fs_req *r = &op->req;
    if (!expect(op, C2_E_OK))
        return false;
    struct model_node *from = model_find(&s->model, op->handle->ino);
    struct model_node *to = model_find(&s->model, op->handle2->ino);
    const struct c2_blob *src = from->live.data;
    size_t off = C2_MIN((size_t)r->off, src->len);
    size_t len = C2_MIN((size_t)r->len, src->len - off);
    SIM_CHECK(s->w, r->count == len, "copy_range: a short copy");
    struct c2_blob *copy = c2_blob_copy(len > 0 ? src->data + off : NULL, len);
    model_write(&s->model, to, r->off2, c2_blob_slice(copy));
    c2_blob_unref(copy);
    commit(op, to, NULL);
    return false;
}

static void
start_copy(struct fs_scene *s)
{
    struct op *op = op_new(s, FS_COPY_RANGE, finish_copy);
    struct scene_handle *from = pick_handle(s, false);
    struct scene_handle *to = pick_handle(s, true);
    if (from == NULL || to == NULL || from->ino == to->ino ||
        !lock(op, model_find(&s->model, from->ino)) || !lock(op, model_find(&s->model, to->ino))) {
        give_up(op);
        return;
    }
    op->handle = from;
    op->handle2 = to;
    op->req.off = sim_rng_below(&s->rng, model_find(&s->model, from->ino)->live.attr.size + 10);
    op->req.off2 = sim_rng_below(&s->rng, model_find(&s->model, to->ino)->live.attr.size + 10);
    op->req.len = sim_rng_between(&s->rng, 1, 20000);
    submit(op);
}

/* ---- names ----------------------------------------------------------------------------------- */

static bool
finish_link(struct op *op)
{
    struct fs_scene *s = op->s;
    if (!expect(op, C2_E_OK))
        return false;
    struct model_node *n = model_find(&s->model, op->req.ino);
    if (S_ISREG(n->live.attr.mode))
        model_publish(&s->model, n);
    n->live.attr.nlink++;
    model_entry_add(&s->model, op->req.ino2, op->name2, n->ino);
    commit(op, n, model_find(&s->model, op->req.ino2));
    return false;
}

static void
start_link(struct fs_scene *s)
{
    struct op *op = op_new(s, FS_LINK, finish_link);
    struct model_node *n = pick_node(s, S_IFREG);
    struct model_node *dir = pick_node(s, S_IFDIR);
    pick_name(s, op->name2);
    if (n == NULL || !lock(op, n) || !lock(op, dir) ||
        model_entry_find(&s->model, dir->ino, op->name2) != NULL) {
        give_up(op);
        return;
    }
    op->req.ino = n->ino;
    op->req.ino2 = dir->ino;
    submit(op);
}

static bool
dir_has_entries(const struct fs_scene *s, uint64_t dir)
{
    for (unsigned k = 0; k < s->model.nentries; k++) {
        if (s->model.entry[k].dir == dir)
            return true;
    }
    return false;
}

static void
drop_link(struct op *op, struct model_node *n)
{
    if (S_ISREG(n->live.attr.mode))
        model_publish(&op->s->model, n);
    n->live.attr.nlink = S_ISDIR(n->live.attr.mode) ? 0 : n->live.attr.nlink - 1;
}

static bool
finish_unlink(struct op *op)
{
    struct fs_scene *s = op->s;
    struct model *m = &s->model;
    struct model_entry *e = model_entry_find(m, op->req.ino, op->name);
    struct model_node *n = model_find(m, e->ino);
    struct model_node *dir = model_find(m, op->req.ino);
    enum c2_err wanted = C2_E_OK;
    if (op->req.op == FS_RMDIR && dir_has_entries(s, n->ino))
        wanted = C2_E_NOT_EMPTY;
    if (!expect(op, wanted))
        return false;
    drop_link(op, n);
    if (op->req.op == FS_RMDIR)
        dir->live.attr.nlink--;
    model_entry_remove(m, e);
    commit(op, n, dir);
    model_unlinked(m, n);
    return false;
}

static void
start_unlink(struct fs_scene *s)
{
    const struct model_entry *e = pick_entry(s);
    if (e == NULL)
        return;
    struct model_node *n = model_find(&s->model, e->ino);
    struct model_node *dir = model_find(&s->model, e->dir);
    bool is_dir = S_ISDIR(n->live.attr.mode);
    struct op *op = op_new(s, is_dir ? FS_RMDIR : FS_UNLINK, finish_unlink);
    if (!lock(op, dir) || !lock(op, n)) {
        give_up(op);
        return;
    }
    memcpy(op->name, e->name, sizeof op->name);
    op->req.ino = e->dir;
    submit(op);
}

static bool
is_below(struct model *m, uint64_t ino, uint64_t top)
{
    for (unsigned depth = 0; depth < MODEL_NODES_MAX && ino != FS_ROOT_INO; depth++) {
        if (ino == top)
            return true;
        ino = model_find(m, ino)->parent;
    }
    return ino == top;
}

static enum c2_err
rename_result(struct op *op, struct model_node *from, struct model_node *to)
{
    struct fs_scene *s = op->s;
    bool from_dir = S_ISDIR(from->live.attr.mode);
    bool to_dir = to != NULL && S_ISDIR(to->live.attr.mode);
    bool moves = op->req.ino != op->req.ino2;
    bool swap = op->req.flags == RENAME_SWAP;
    if (op->req.flags == RENAME_EXCLUSIVE && to != NULL)
        return C2_E_EXISTS;
    if (swap && to == NULL)
        return C2_E_NOT_FOUND;
    if (from == to)
        return C2_E_OK;
    if (moves && from_dir && is_below(&s->model, op->req.ino2, from->ino))
        return C2_E_INVALID;
    if (swap && moves && to_dir && is_below(&s->model, op->req.ino, to->ino))
        return C2_E_INVALID;
    if (swap || to == NULL)
        return C2_E_OK;
    if (to_dir && !from_dir)
        return C2_E_IS_DIR;
    if (!to_dir && from_dir)
        return C2_E_NOT_DIR;
    return to_dir && dir_has_entries(s, to->ino) ? C2_E_NOT_EMPTY : C2_E_OK;
}

static void
move_dir(struct model *m, struct model_node *n, uint64_t from, uint64_t to)
{
    if (!S_ISDIR(n->live.attr.mode) || from == to)
        return;
    model_find(m, from)->live.attr.nlink--;
    model_find(m, to)->live.attr.nlink++;
    n->parent = to;
}

static void
publish_regular(struct model *m, struct model_node *n)
{
    if (S_ISREG(n->live.attr.mode))
        model_publish(m, n);
}

static bool
finish_rename(struct op *op)
{
    struct fs_scene *s = op->s;
    struct model *m = &s->model;
    struct fs_req *r = &op->req;
    struct model_entry *e1 = model_entry_find(m, r->ino, op->name);
    struct model_entry *e2 = model_entry_find(m, r->ino2, op->name2);
    struct model_node *from = model_find(m, e1->ino);
    struct model_node *to = e2 != NULL ? model_find(m, e2->ino) : NULL;
    if (!expect(op, rename_result(op, from, to)) || from == to)
        return false;
    publish_regular(m, from);
    move_dir(m, from, r->ino, r->ino2);
    if (r->flags == RENAME_SWAP) {
        publish_regular(m, to);
        move_dir(m, to, r->ino2, r->ino);
        e1->ino = to->ino;
        e2->ino = from->ino;
    } else {
        if (to != NULL) {
            if (S_ISDIR(to->live.attr.mode))
                model_find(m, r->ino2)->live.attr.nlink--;
            drop_link(op, to);
            model_entry_remove(m, e2);
            e1 = model_entry_find(m, r->ino, op->name);
        }
        model_entry_remove(m, e1);
        model_entry_add(m, r->ino2, op->name2, from->ino);
    }
    commit(op, from, to);
    model_find(m, r->ino)->changed = model_find(m, r->ino2)->changed = m->nhistory - 1;
    if (to != NULL)
        model_unlinked(m, to);
    return false;
}

static void
start_rename(struct fs_scene *s)
{
    const struct model_entry *e = pick_entry(s);
    if (e == NULL)
        return;
    struct op *op = op_new(s, FS_RENAME, finish_rename);
    struct model_node *dir2 = pick_node(s, S_IFDIR);
    pick_name(s, op->name2);
    memcpy(op->name, e->name, sizeof op->name);
    op->req.ino = e->dir;
    op->req.ino2 = dir2->ino;
    const struct model_entry *e2 = model_entry_find(&s->model, dir2->ino, op->name2);
    if (!lock(op, model_find(&s->model, e->dir)) || !lock(op, dir2) ||
        !lock(op, model_find(&s->model, e->ino)) ||
        (e2 != NULL && !lock(op, model_find(&s->model, e2->ino)))) {
        give_up(op);
        return;
    }
    unsigned dice = (unsigned)sim_rng_below(&s->rng, 10);
    op->req.flags = dice == 0 ? RENAME_EXCLUSIVE : dice == 1 ? RENAME_SWAP : 0;
    submit(op);
}

/* ---- looking --------------------------------------------------------------------------------- */

static bool
finish_look(struct op *op)
{
    struct fs_scene *s = op->s;
    struct fs_req *r = &op->req;
    struct model_node *n = model_find(&s->model, r->ino);
    if (r->op == FS_LOOKUP) {
        const struct model_entry *e = model_entry_find(&s->model, r->ino, op->name);
        if (!expect(op, e != NULL ? C2_E_OK : C2_E_NOT_FOUND))
            return false;
        n = model_find(&s->model, e->ino);
    } else if (!expect(op, C2_E_OK)) {
        return false;
    }
    SIM_CHECK(s->w,
              r->attr.ino == n->ino && r->attr.mode == n->live.attr.mode &&
                  r->attr.nlink == n->live.attr.nlink,
              "%s of %llu %s: wrong attributes", op_name(r->op), (unsigned long long)r->ino,
              op->name);
    SIM_CHECK(s->w, !S_ISREG(r->attr.mode) || r->attr.size == n->live.attr.size,
              "%s of %llu: size is %llu, should be %llu", op_name(r->op),
              (unsigned long long)n->ino, (unsigned long long)r->attr.size,
              (unsigned long long)n->live.attr.size);
    return false;
}

static void
start_look(struct fs_scene *s, enum fs_opcode opcode)
{
    struct op *op = op_new(s, opcode, finish_look);
    uint32_t type = opcode == FS_LOOKUP || sim_rng_chance(&s->rng, 30) ? S_IFDIR : S_IFREG;
    struct model_node *n = pick_node(s, type);
    if (n == NULL || !lock(op, n)) {
        give_up(op);
        return;
    }
    op->req.ino = n->ino;
    pick_name(s, op->name);
    submit(op);
}

static bool
finish_xattr(struct op *op)
{
    struct fs_scene *s = op->s;
    struct model_node *n = model_find(&s->model, op->req.ino);
    if (op->req.op == FS_SETXATTR) {
        if (!expect(op, C2_E_OK))
            return false;
        memset(n->live.xattr, 0, sizeof n->live.xattr);
        memcpy(n->live.xattr, op->name2, sizeof n->live.xattr);
        commit(op, n, NULL);
        return false;
    }
    if (!expect(op, n->live.xattr[0] != '\0' ? C2_E_OK : C2_E_NO_DATA))
        return false;
    SIM_CHECK(s->w, c2_slice_equal(c2_buf_slice(&op->req.reply), c2_slice_str(n->live.xattr)),
              "getxattr of %llu: wrong value", (unsigned long long)n->ino);
    return false;
}

static void
start_xattr(struct fs_scene *s, enum fs_opcode opcode)
{
    struct op *op = op_new(s, opcode, finish_xattr);
    struct model_node *n = pick_node(s, sim_rng_chance(&s->rng, 30) ? S_IFDIR : S_IFREG);
    if (n == NULL || !lock(op, n)) {
        give_up(op);
        return;
    }
    op->req.ino = n->ino;
    snprintf(op->name, sizeof op->name, "user.x");
    if (opcode == FS_SETXATTR) {
        pick_name(s, op->name2);
        op->req.data = c2_slice_str(op->name2);
    }
    submit(op);
}

/* ---- directories ----------------------------------------------------------------------------- */

static bool
finish_releasedir(struct op *op)
{
    expect(op, C2_E_OK);
    return false;
}

/* The directory is locked: nothing changed while it was read. */
static bool
finish_readdir(struct op *op)
{
    struct fs_scene *s = op->s;
    struct model_node *dir = model_find(&s->model, op->req.ino);
    if (expect(op, C2_E_OK) && op->cookie != op->req.off) {
        struct fs_req *r = &op->req;
        uint64_t cookie = op->cookie;
        bool plus = r->plus;
        struct fs_req next = { .op = FS_READDIR, .ino = r->ino, .handle = r->handle };
        next.off = cookie;
        next.plus = plus;
        fs_req_done(r);
        *r = next;
        submit(op);
        return true;
    }
    if (op->req.err == C2_E_OK) {
        unsigned wanted = 0;
        for (unsigned k = 0; k < s->model.nentries; k++)
            wanted += s->model.entry[k].dir == dir->ino;
        for (unsigned k = 0; k < op->nseen; k++) {
            const struct model_entry *e = model_entry_find(&s->model, dir->ino, op->seen[k].name);
            SIM_CHECK(s->w, e != NULL && e->ino == op->seen[k].ino, "readdir of %llu shows %s",
                      (unsigned long long)dir->ino, op->seen[k].name);
        }
        SIM_CHECK(s->w, op->nseen == wanted, "readdir of %llu: %u entries, should be %u",
                  (unsigned long long)dir->ino, op->nseen, wanted);
    }
    return go_on(op, FS_RELEASEDIR, finish_releasedir);
}

static bool
finish_opendir(struct op *op)
{
    if (!expect(op, C2_E_OK))
        return false;
    struct fs_req next = { .op = FS_READDIR, .ino = op->req.ino, .handle = op->req.handle };
    next.plus = sim_rng_chance(&op->s->rng, 50);
    op->req = next;
    op->finish = finish_readdir;
    submit(op);
    return true;
}

static void
start_readdir(struct fs_scene *s)
{
    struct op *op = op_new(s, FS_OPENDIR, finish_opendir);
    struct model_node *dir = pick_node(s, S_IFDIR);
    if (!lock(op, dir)) {
        give_up(op);
        return;
    }
    op->req.ino = dir->ino;
    submit(op);
}

/* ---- interface ------------------------------------------------------------------------------- */

static void
start_close(struct fs_scene *s)
{
    struct scene_handle *h = pick_handle(s, false);
    if (h != NULL)
        start_flush(s, h, FS_FLUSH);
}

static void
start_fsync(struct fs_scene *s)
{
    struct scene_handle *h = pick_handle(s, true);
    if (h != NULL)
        start_flush(s, h, FS_FSYNC);
}

void
client_start_one(struct fs_scene *s)
{
    unsigned dice = (unsigned)sim_rng_below(&s->rng, 100);
    if (s->ops.count >= s->ops_at_once)
        return;
    if (dice < 10)
        start_make(s, FS_CREATE);
    else if (dice < 14)
        start_make(s, FS_MKDIR);
    else if (dice < 16)
        start_make(s, sim_rng_chance(&s->rng, 50) ? FS_SYMLINK : FS_MKNOD);
    else if (dice < 24)
        start_open(s);
    else if (dice < 44)
        start_write(s);
    else if (dice < 50)
        start_read(s);
    else if (dice < 60)
        start_close(s);
    else if (dice < 64)
        start_fsync(s);
    else if (dice < 65)
        start_syncfs(s);
    else if (dice < 69)
        start_setattr(s, FS_SET_SIZE);
    else if (dice < 71)
        start_setattr(s, sim_rng_chance(&s->rng, 50) ? FS_SET_MODE : FS_SET_MTIME);
    else if (dice < 75)
        start_link(s);
    else if (dice < 80)
        start_unlink(s);
    else if (dice < 88)
        start_rename(s);
    else if (dice < 91)
        start_look(s, sim_rng_chance(&s->rng, 60) ? FS_LOOKUP : FS_GETATTR);
    else if (dice < 94)
        start_readdir(s);
    else if (dice < 96)
        start_fallocate(s);
    else if (dice < 98)
        start_copy(s);
    else
        start_xattr(s, sim_rng_chance(&s->rng, 50) ? FS_SETXATTR : FS_GETXATTR);
}

void
client_close_all(struct fs_scene *s)
{
    for (unsigned k = 0; k < SCENE_HANDLES_MAX; k++) {
        if (s->handle[k].handle != NULL && !s->handle[k].busy)
            start_flush(s, &s->handle[k], FS_FLUSH);
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
