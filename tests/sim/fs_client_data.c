/* SPDX-License-Identifier: MIT */
/*
 * Operations of the clients that make and open files and change their content.
 */
#include "tests/sim/fs_client.h"

#include <fcntl.h>
#include <linux/falloc.h>

#define NODES_SOFT_MAX 26
#define FILE_SIZE_SOFT 60000
#define BIG_FILE_SIZE  1500000

static unsigned
count_nodes(const struct fs_scene *s)
{
    unsigned n = 0;
    for (unsigned k = 0; k < MODEL_NODES_MAX; k++)
        n += s->model.node[k].ino != 0;
    return n;
}

/* ---- making ---------------------------------------------------------------------------------- */

static bool
finish_make(struct op *op)
{
    struct fs_scene *s = op->s;
    struct fs_req *r = &op->req;
    if (!client_expect(op, C2_E_OK))
        return false;
    struct model_node *n = model_add(&s->model, &r->attr, r->ino, op->name);
    uint32_t type = r->op == FS_MKDIR ? S_IFDIR : r->op == FS_SYMLINK ? S_IFLNK : S_IFREG;
    SIM_CHECK(s->w, (r->attr.mode & S_IFMT) == type, "%s made another type", client_op_name(r->op));
    if (type == S_IFDIR) {
        model_find(&s->model, r->ino)->live.attr.nlink++;
        SIM_CHECK(s->w, r->attr.nlink == 2, "mkdir: nlink is %u", r->attr.nlink);
    } else {
        SIM_CHECK(s->w, r->attr.nlink == 1, "%s: nlink is %u", client_op_name(r->op),
                  r->attr.nlink);
    }
    if (type == S_IFLNK)
        memcpy(n->symlink, op->name2, sizeof n->symlink);
    if (r->op == FS_CREATE) {
        n->opens++;
        n->write_opens++;
        *op->handle = (struct scene_handle){ .handle = r->handle, .ino = n->ino, .writes = true };
    }
    client_commit(op, n, model_find(&s->model, r->ino));
    return false;
}

void
client_make(struct fs_scene *s, enum fs_opcode opcode)
{
    struct op *op = client_op(s, opcode, finish_make);
    struct model_node *dir = client_pick_node(s, S_IFDIR);
    client_pick_name(s, op->name);
    if (count_nodes(s) >= NODES_SOFT_MAX || !client_lock(op, dir) ||
        model_entry_find(&s->model, dir->ino, op->name) != NULL) {
        client_give_up(op);
        return;
    }
    op->req.ino = dir->ino;
    op->req.mode = opcode == FS_MKDIR ? 0755 : 0644;
    if (opcode == FS_SYMLINK)
        client_pick_name(s, op->name2);
    if (opcode == FS_CREATE) {
        struct scene_handle *h = client_free_handle(s);
        if (h == NULL) {
            client_give_up(op);
            return;
        }
        op->handle = h;
        op->req.flags = O_RDWR | O_CREAT;
        h->busy = true;
        h->ino = dir->ino;
    }
    client_submit(op);
}

/* ---- opening, closing ------------------------------------------------------------------------ */

static bool
finish_open(struct op *op)
{
    struct fs_scene *s = op->s;
    struct model_node *n = model_find(&s->model, op->req.ino);
    if (!client_expect(op, C2_E_OK))
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
    client_commit(op, truncates ? n : NULL, NULL);
    return false;
}

void
client_open(struct fs_scene *s)
{
    static const int flags[] = { O_RDONLY, O_RDWR, O_WRONLY | O_TRUNC };
    struct op *op = client_op(s, FS_OPEN, finish_open);
    struct model_node *n = client_pick_node(s, S_IFREG);
    struct scene_handle *h = client_free_handle(s);
    if (n == NULL || h == NULL || !client_lock(op, n)) {
        client_give_up(op);
        return;
    }
    op->handle = h;
    h->ino = n->ino;
    op->req.flags = flags[sim_rng_below(&s->rng, C2_ARRAY_LEN(flags))];
    client_submit(op);
}

static bool
finish_release(struct op *op)
{
    struct fs_scene *s = op->s;
    struct model_node *n = model_find(&s->model, op->handle->ino);
    client_expect(op, C2_E_OK);
    n->opens--;
    if (op->handle->writes)
        n->write_opens--;
    op->handle->handle = NULL;
    const struct fs_inode *i = fs_inode_peek(s->m->fs, n->ino);
    if (n->truncated && i != NULL && !i->unpublished)
        model_publish(&s->model, n); /* at the latest now it is empty */
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
    if (client_expect(op, C2_E_OK) && op->promises)
        model_promise(&s->model, op->promise, op->machine);
    return op->req.op == FS_FLUSH ? client_go_on(op, FS_RELEASE, finish_release) : false;
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
    if (op->req.op == FS_FLUSH && i->unpublished && i->truncated && i->attr.size == 0)
        return; /* that may be `cmd > file`: nothing is promised yet */
    model_publish(&s->model, n);
    model_commit(&s->model, s->m->fs);
    bool whole = op->req.op == FS_FSYNC || i->dirty_journal;
    if (whole)
        n->changed = s->model.nhistory - 1;
    op->promises = true;
    op->promise = whole ? s->model.nhistory - 1 : last_change;
}

void
client_flush(struct fs_scene *s, struct scene_handle *h, enum fs_opcode opcode)
{
    struct op *op = client_op(s, opcode, finish_flush);
    struct model_node *n = model_find(&s->model, h->ino);
    if (!client_lock(op, n)) {
        client_give_up(op);
        return;
    }
    op->handle = h;
    if (h->writes || opcode == FS_FSYNC)
        publish_now(op, n);
    op->machine = opcode == FS_FSYNC || s->m->conf.close_sync;
    client_submit(op);
}

void
client_syncfs(struct fs_scene *s)
{
    struct op *op = client_op(s, FS_SYNCFS, finish_flush);
    op->syncs = op->promises = op->machine = true;
    op->promise = s->model.nhistory - 1;
    model_sync_begin(&s->model, op->marks);
    client_submit(op);
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
    if (!client_expect(op, C2_E_OK))
        return false;
    SIM_CHECK(s->w, op->req.count == op->data->len, "a short write");
    model_write(&s->model, n, op->req.off, c2_blob_slice(op->data));
    client_commit(op, n, NULL);
    return false;
}

void
client_write(struct fs_scene *s)
{
    struct op *op = client_op(s, FS_WRITE, finish_write);
    struct scene_handle *h = client_pick_handle(s, true);
    struct model_node *n = h != NULL ? model_find(&s->model, h->ino) : NULL;
    uint64_t max = s->big ? BIG_FILE_SIZE : FILE_SIZE_SOFT;
    if (n == NULL || !client_lock(op, n)) {
        client_give_up(op);
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
    client_submit(op);
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
    if (!client_expect(op, C2_E_OK))
        return false;
    bool found = false;
    for (size_t k = op->began; k < s->model.nhistory && !found; k++)
        found = equals_at(&s->model.history[k], op);
    SIM_CHECK(s->w, found, "read of inode %llu at %llu, %llu bytes: %zu wrong bytes",
              (unsigned long long)op->handle->ino, (unsigned long long)op->req.off,
              (unsigned long long)op->req.len, op->req.iov.len);
    return false;
}

void
client_read(struct fs_scene *s)
{
    struct scene_handle *h = client_pick_handle(s, false);
    struct model_node *n = h != NULL ? model_find(&s->model, h->ino) : NULL;
    if (n == NULL)
        return;
    struct op *op = client_op(s, FS_READ, finish_read);
    op->handle = h;
    if (sim_rng_chance(&s->rng, 60))
        op->req.off = sim_rng_below(&s->rng, n->live.attr.size + 100);
    op->req.len = sim_rng_scale(&s->rng, 1, s->big ? 1000000 : 80000);
    client_submit(op);
}

static bool
finish_setattr(struct op *op)
{
    struct fs_scene *s = op->s;
    struct fs_req *r = &op->req;
    if (!client_expect(op, C2_E_OK))
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
    client_commit(op, n, NULL);
    return false;
}

/* What is asked for is remembered in off and mode: attr is the answer's too. */
void
client_setattr(struct fs_scene *s, unsigned valid)
{
    struct op *op = client_op(s, FS_SETATTR, finish_setattr);
    struct scene_handle *h = sim_rng_chance(&s->rng, 50) ? client_pick_handle(s, true) : NULL;
    struct model_node *n = h != NULL ? model_find(&s->model, h->ino) : client_pick_node(s, S_IFREG);
    if (n == NULL || !client_lock(op, n)) {
        client_give_up(op);
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
    client_submit(op);
}

static bool
finish_fallocate(struct op *op)
{
    struct fs_scene *s = op->s;
    struct fs_req *r = &op->req;
    struct model_node *n = model_find(&s->model, op->handle->ino);
    if (!client_expect(op, C2_E_OK))
        return false;
    if (r->mode != 0)
        model_punch(&s->model, n, r->off, r->len);
    else if (r->off + r->len > n->live.attr.size)
        model_truncate(&s->model, n, r->off + r->len);
    client_commit(op, n, NULL);
    return false;
}

void
client_fallocate(struct fs_scene *s)
{
    struct op *op = client_op(s, FS_FALLOCATE, finish_fallocate);
    struct scene_handle *h = client_pick_handle(s, true);
    struct model_node *n = h != NULL ? model_find(&s->model, h->ino) : NULL;
    if (n == NULL || !client_lock(op, n)) {
        client_give_up(op);
        return;
    }
    op->handle = h;
    op->req.mode = sim_rng_chance(&s->rng, 70) ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : 0;
    op->req.off = sim_rng_below(&s->rng, n->live.attr.size + 100);
    op->req.len = sim_rng_between(&s->rng, 1, 8000);
    client_submit(op);
}

static bool
finish_copy(struct op *op)
{
    struct fs_scene *s = op->s;
    struct fs_req *r = &op->req;
    if (!client_expect(op, C2_E_OK))
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
    client_commit(op, to, NULL);
    return false;
}

void
client_copy(struct fs_scene *s)
{
    struct op *op = client_op(s, FS_COPY_RANGE, finish_copy);
    struct scene_handle *from = client_pick_handle(s, false);
    struct scene_handle *to = client_pick_handle(s, true);
    if (from == NULL || to == NULL || from->ino == to->ino ||
        !client_lock(op, model_find(&s->model, from->ino)) ||
        !client_lock(op, model_find(&s->model, to->ino))) {
        client_give_up(op);
        return;
    }
    op->handle = from;
    op->handle2 = to;
    op->req.off = sim_rng_below(&s->rng, model_find(&s->model, from->ino)->live.attr.size + 10);
    op->req.off2 = sim_rng_below(&s->rng, model_find(&s->model, to->ino)->live.attr.size + 10);
    op->req.len = sim_rng_between(&s->rng, 1, 20000);
    client_submit(op);
}
