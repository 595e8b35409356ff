/* SPDX-License-Identifier: MIT */
/*
 * Operations of the clients that look: lookup, getattr, attributes, directories.
 */
#include "tests/sim/fs_client.h"

#include <stdio.h>

/* ---- looking --------------------------------------------------------------------------------- */

static bool
finish_look(struct op *op)
{
    struct fs_scene *s = op->s;
    struct fs_req *r = &op->req;
    struct model_node *n = model_find(&s->model, r->ino);
    if (r->op == FS_LOOKUP) {
        const struct model_entry *e = model_entry_find(&s->model, r->ino, op->name);
        if (!client_expect(op, e != NULL ? C2_E_OK : C2_E_NOT_FOUND))
            return false;
        n = model_find(&s->model, e->ino);
    } else if (!client_expect(op, C2_E_OK)) {
        return false;
    }
    SIM_CHECK(s->w,
              r->attr.ino == n->ino && r->attr.mode == n->live.attr.mode &&
                  r->attr.nlink == n->live.attr.nlink,
              "%s of %llu %s: wrong attributes", client_op_name(r->op), (unsigned long long)r->ino,
              op->name);
    SIM_CHECK(s->w, !S_ISREG(r->attr.mode) || r->attr.size == n->live.attr.size,
              "%s of %llu: size is %llu, should be %llu", client_op_name(r->op),
              (unsigned long long)n->ino, (unsigned long long)r->attr.size,
              (unsigned long long)n->live.attr.size);
    return false;
}

void
client_look(struct fs_scene *s, enum fs_opcode opcode)
{
    struct op *op = client_op(s, opcode, finish_look);
    uint32_t type = opcode == FS_LOOKUP || sim_rng_chance(&s->rng, 30) ? S_IFDIR : S_IFREG;
    struct model_node *n = client_pick_node(s, type);
    if (n == NULL || !client_lock(op, n)) {
        client_give_up(op);
        return;
    }
    op->req.ino = n->ino;
    client_pick_name(s, op->name);
    client_submit(op);
}

static bool
finish_xattr(struct op *op)
{
    struct fs_scene *s = op->s;
    struct model_node *n = model_find(&s->model, op->req.ino);
    if (op->req.op == FS_SETXATTR) {
        if (!client_expect(op, C2_E_OK))
            return false;
        memset(n->live.xattr, 0, sizeof n->live.xattr);
        memcpy(n->live.xattr, op->name2, sizeof n->live.xattr);
        client_commit(op, n, NULL);
        return false;
    }
    if (!client_expect(op, n->live.xattr[0] != '\0' ? C2_E_OK : C2_E_NO_DATA))
        return false;
    SIM_CHECK(s->w, c2_slice_equal(c2_buf_slice(&op->req.reply), c2_slice_str(n->live.xattr)),
              "getxattr of %llu: wrong value", (unsigned long long)n->ino);
    return false;
}

void
client_xattr(struct fs_scene *s, enum fs_opcode opcode)
{
    struct op *op = client_op(s, opcode, finish_xattr);
    struct model_node *n = client_pick_node(s, sim_rng_chance(&s->rng, 30) ? S_IFDIR : S_IFREG);
    if (n == NULL || !client_lock(op, n)) {
        client_give_up(op);
        return;
    }
    op->req.ino = n->ino;
    snprintf(op->name, sizeof op->name, "user.x");
    if (opcode == FS_SETXATTR) {
        client_pick_name(s, op->name2);
        op->req.data = c2_slice_str(op->name2);
    }
    client_submit(op);
}

/* ---- directories ----------------------------------------------------------------------------- */

static bool
finish_releasedir(struct op *op)
{
    client_expect(op, C2_E_OK);
    return false;
}

/* The directory is locked: nothing changed while it was read. */
static bool
finish_readdir(struct op *op)
{
    struct fs_scene *s = op->s;
    struct model_node *dir = model_find(&s->model, op->req.ino);
    if (client_expect(op, C2_E_OK) && op->cookie != op->req.off) {
        struct fs_req *r = &op->req;
        uint64_t cookie = op->cookie;
        bool plus = r->plus;
        struct fs_req next = { .op = FS_READDIR, .ino = r->ino, .handle = r->handle };
        next.off = cookie;
        next.plus = plus;
        fs_req_done(r);
        *r = next;
        client_submit(op);
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
    return client_go_on(op, FS_RELEASEDIR, finish_releasedir);
}

static bool
finish_opendir(struct op *op)
{
    if (!client_expect(op, C2_E_OK))
        return false;
    struct fs_req next = { .op = FS_READDIR, .ino = op->req.ino, .handle = op->req.handle };
    next.plus = sim_rng_chance(&op->s->rng, 50);
    op->req = next;
    op->finish = finish_readdir;
    client_submit(op);
    return true;
}

void
client_readdir(struct fs_scene *s)
{
    struct op *op = client_op(s, FS_OPENDIR, finish_opendir);
    struct model_node *dir = client_pick_node(s, S_IFDIR);
    if (!client_lock(op, dir)) {
        client_give_up(op);
        return;
    }
    op->req.ino = dir->ino;
    client_submit(op);
}
