/* SPDX-License-Identifier: MIT */
/*
 * Is a directory empty? Memory knows what changed, the store knows the rest: it is when no entry in
 * memory exists and every entry of the store is one that memory says was removed.
 */
#include "base/alloc.h"
#include "fs/coord_keys.h"
#include "fs/op.h"

#define SCAN_RUN 1024

#define SCANNED 1u /* fs_req.count of RMDIR and RENAME: the store has nothing that counts */

struct scan {
    struct fs_req *req;
    struct fs_inode *dir; /* one pin */
    struct ck prefix, after;
    struct c2_slice key;
    struct coord_req coord;
};

static void
submit(struct scan *s, void (*done)(struct coord_req *c))
{
    s->key = ck_slice(&s->prefix);
    s->coord = (struct coord_req){ .verb = COORD_RANGE,
                                   .keys = &s->key,
                                   .nkeys = 1,
                                   .after = ck_slice(&s->after),
                                   .limit = SCAN_RUN,
                                   .deadline_ns = C2_NEVER,
                                   .done = done };
    coord_submit(s->req->fs->part.coord, &s->coord);
}

static bool
exists(struct scan *s, const struct coord_entry *e)
{
    if (e->key.len != s->prefix.len + KEYS_NAME_HASH_LEN)
        return true;
    const struct fs_dentry *now =
        fs_dentry_peek_hash(s->req->fs, s->dir->ino, e->key.data + s->prefix.len);
    return now == NULL || now->ino != 0;
}

static void
scanned(struct coord_req *c)
{
    struct scan *s = C2_CONTAINER_OF(c, struct scan, coord);
    struct fs_req *r = s->req;
    enum c2_err err = c->err;
    bool more = c->more;
    for (size_t k = 0; err == C2_E_OK && k < c->nentries; k++) {
        if (exists(s, &c->entries[k]))
            err = C2_E_NOT_EMPTY;
    }
    if (err == C2_E_OK && more) {
        const struct coord_entry *last = &c->entries[c->nentries - 1];
        s->after = ck_dentry(s->dir->ino, last->key.data + s->prefix.len);
        coord_req_done(c);
        submit(s, scanned);
        return;
    }
    coord_req_done(c);
    fs_inode_unpin(r->fs, s->dir);
    c2_free(s);
    if (err != C2_E_OK) {
        fs_reply(r, err);
        return;
    }
    r->count |= SCANNED;
    fs_rerun(r);
}

C2_RESULT
fs_dir_empty(struct fs_req *r, struct fs_inode *dir)
{
    C2_LIST_FOREACH (&dir->dirty_entries, struct fs_dentry, e, dir_link) {
        if (e->ino != 0)
            return C2_E_NOT_EMPTY;
    }
    if (dir->is_new || (r->count & SCANNED) != 0)
        return C2_E_OK;
    struct scan *s = c2_calloc(1, sizeof(*s));
    s->req = r;
    s->dir = dir;
    s->prefix = ck_dentries(dir->ino);
    fs_inode_pin(r->fs, dir);
    submit(s, scanned);
    return C2_E_AGAIN;
}
