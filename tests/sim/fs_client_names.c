/* SPDX-License-Identifier: MIT */
/*
 * Operations of the clients on names: link, unlink, rmdir, rename.
 */
#include "tests/sim/fs_client.h"

#define RENAME_EXCLUSIVE 1 /* RENAME_NOREPLACE */
#define RENAME_SWAP      2 /* RENAME_EXCHANGE */

/* ---- names ----------------------------------------------------------------------------------- */

static bool
finish_link(struct op *op)
{
    struct fs_scene *s = op->s;
    if (!client_expect(op, C2_E_OK))
        return false;
    struct model_node *n = model_find(&s->model, op->req.ino);
    if (S_ISREG(n->live.attr.mode))
        model_publish(&s->model, n);
    n->live.attr.nlink++;
    model_entry_add(&s->model, op->req.ino2, op->name2, n->ino);
    client_commit(op, n, model_find(&s->model, op->req.ino2));
    return false;
}

void
client_link(struct fs_scene *s)
{
    struct op *op = client_op(s, FS_LINK, finish_link);
    struct model_node *n = client_pick_node(s, S_IFREG);
    struct model_node *dir = client_pick_node(s, S_IFDIR);
    client_pick_name(s, op->name2);
    if (n == NULL || !client_lock(op, n) || !client_lock(op, dir) ||
        model_entry_find(&s->model, dir->ino, op->name2) != NULL) {
        client_give_up(op);
        return;
    }
    op->req.ino = n->ino;
    op->req.ino2 = dir->ino;
    client_submit(op);
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
    if (!client_expect(op, wanted))
        return false;
    drop_link(op, n);
    if (op->req.op == FS_RMDIR)
        dir->live.attr.nlink--;
    model_entry_remove(m, e);
    client_commit(op, n, dir);
    model_unlinked(m, n);
    return false;
}

void
client_unlink(struct fs_scene *s)
{
    const struct model_entry *e = client_pick_entry(s);
    if (e == NULL)
        return;
    struct model_node *n = model_find(&s->model, e->ino);
    struct model_node *dir = model_find(&s->model, e->dir);
    bool is_dir = S_ISDIR(n->live.attr.mode);
    struct op *op = client_op(s, is_dir ? FS_RMDIR : FS_UNLINK, finish_unlink);
    if (!client_lock(op, dir) || !client_lock(op, n)) {
        client_give_up(op);
        return;
    }
    memcpy(op->name, e->name, sizeof op->name);
    op->req.ino = e->dir;
    client_submit(op);
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
    if (!client_expect(op, rename_result(op, from, to)) || from == to)
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
    client_commit(op, from, to);
    model_find(m, r->ino)->changed = model_find(m, r->ino2)->changed = m->nhistory - 1;
    if (to != NULL)
        model_unlinked(m, to);
    return false;
}

void
client_rename(struct fs_scene *s)
{
    const struct model_entry *e = client_pick_entry(s);
    if (e == NULL)
        return;
    struct op *op = client_op(s, FS_RENAME, finish_rename);
    struct model_node *dir2 = client_pick_node(s, S_IFDIR);
    client_pick_name(s, op->name2);
    memcpy(op->name, e->name, sizeof op->name);
    op->req.ino = e->dir;
    op->req.ino2 = dir2->ino;
    const struct model_entry *e2 = model_entry_find(&s->model, dir2->ino, op->name2);
    if (!client_lock(op, model_find(&s->model, e->dir)) || !client_lock(op, dir2) ||
        !client_lock(op, model_find(&s->model, e->ino)) ||
        (e2 != NULL && !client_lock(op, model_find(&s->model, e2->ino)))) {
        client_give_up(op);
        return;
    }
    unsigned dice = (unsigned)sim_rng_below(&s->rng, 10);
    op->req.flags = dice == 0 ? RENAME_EXCLUSIVE : dice == 1 ? RENAME_SWAP : 0;
    client_submit(op);
}
