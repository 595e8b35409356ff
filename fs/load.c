/* SPDX-License-Identifier: MIT */
/*
 * Loads: one coordination GET (inodes, entries) or a row of reads (manifest leaves), and the
 * requests that wait for it.
 *
 *   inodes, entry:  GET --> insert into the table --> run the waiting requests again
 *                   (inodes whose answer would be too large: in pieces, one after the other)
 *   content:        leaf 0, 1, ... --> base map --> run again
 *   names ahead:    RANGE --> insert into the table --> their inodes
 *
 * Programs that compare a tree with another one (rsync) ask for the names of a directory one by
 * one, which would be two round trips for each. So the MISSES_MANY'th name that the store had and
 * memory had not starts a load of the next NAMES_AHEAD names of that directory, and of their
 * inodes; nobody waits for it, and what is asked for before it has ended is loaded by itself. A
 * directory that would fill half the table of entries is left alone from there on.
 *
 * What comes from the store is right as long as nothing else is in memory: an inode or an entry
 * that is on its way is loaded once, so that nobody can change it meanwhile. But a name of a range
 * can be loaded by itself, changed, committed and dropped before the range is here: names that were
 * changed and dropped are counted (forgotten), and then the range is not used. Nor is a name of it
 * whose own load has not ended.
 *
 * What the store does not have is remembered as absent (inode with mode 0, entry with ino 0), so
 * that running again ends.
 */
#include "fs/load.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/wire.h"
#include "fs/coord_keys.h"
#include "fs/fetch.h"
#include "fs/manifest.h"
#include "fs/records.h"

#define INODES_AT_ONCE  128u  /* in one GET */
#define NAMES_AHEAD     1024u /* in one RANGE */
#define MISSES_MANY     3u
#define LOADS_AHEAD_MAX 32u /* loads that run, beyond which none ahead is started */

/* Who waits without a request. */
struct listener {
    struct listener *next;
    void (*done)(void *arg, enum c2_err err);
    void *arg;
};

struct fs_load {
    struct fs *fs;
    struct c2_link link;        /* in fs->loads */
    struct c2_list waiting;     /* fs_req.link */
    struct listener *listeners; /* owned */
    struct coord_req req;
    struct c2_slice *slices;
    struct ck *keys;
    size_t nkeys;
    size_t at, piece;           /* of the keys: what is read now */
    uint64_t *inos;             /* NULL: no inodes */
    enum c2_err bad;            /* the first of them that cannot be used */
    const struct fs_req *asker; /* whose answer a failure is; only compared */
    uint64_t dir;
    char name[FS_NAME_MAX + 1];
    /* names ahead */
    struct fs_inode *names_of;
    uint64_t forgotten;
    /* content */
    struct fs_inode *inode;
    size_t leaf;
    struct fs_fetch fetch;
    struct fs_map *base;
};

static void
load_free(struct fs_load *l)
{
    coord_req_done(&l->req);
    c2_free(l->slices);
    c2_free(l->keys);
    c2_free(l->inos);
    c2_free(l);
}

/* Every waiting request runs again, or is answered with the error. That an inode cannot be read is
 * the affair of those that need it: they find it out by a load of their own. */
static void
load_end(struct fs_load *l, enum c2_err err)
{
    c2_list_remove(&l->fs->loads, &l->link);
    while (!c2_list_empty(&l->waiting)) {
        struct fs_req *r = C2_LIST_FIRST(&l->waiting, struct fs_req, link);
        fs_unpark(r);
        if (err == C2_E_OK || (l->inos != NULL && l->asker != r))
            fs_rerun(r);
        else
            fs_reply(r, err);
    }
    while (l->listeners != NULL) {
        struct listener *t = l->listeners;
        l->listeners = t->next;
        t->done(t->arg, err);
        c2_free(t);
    }
    load_free(l);
}

static struct fs_load *
load_new(struct fs *fs)
{
    struct fs_load *l = c2_calloc(1, sizeof(*l));
    l->fs = fs;
    c2_list_init(&l->waiting);
    c2_list_append(&fs->loads, &l->link);
    return l;
}

static void
listen_to(struct fs_load *l, void (*done)(void *arg, enum c2_err err), void *arg)
{
    struct listener *t = c2_calloc(1, sizeof(*t));
    *t = (struct listener){ .next = l->listeners, .done = done, .arg = arg };
    l->listeners = t;
}

/* ---- inodes -------------------------------------------------------------------------------- */

static C2_RESULT
decode_inode(struct fs_load *l, size_t k, const struct coord_entry *e)
{
    struct fs *fs = l->fs;
    if (fs_inode_peek(fs, l->inos[k]) != NULL)
        return C2_E_OK; /* made or loaded meanwhile: newer than what we read */
    struct c2_buf plain = { 0 };
    struct fs_inode loaded = { .ino = l->inos[k] };
    enum c2_err err = C2_E_OK;
    if (e->version != 0) {
        err = keys_open(fs->part.keys, ck_slice(&l->keys[k]), e->value, &plain);
        struct c2_rd r = c2_rd_init(c2_buf_slice(&plain));
        if (err == C2_E_OK)
            err = fs_inode_record_decode(&r, &loaded);
        if (err == C2_E_OK && S_ISREG(loaded.attr.mode))
            err = fs_content_decode(fs, &r, &loaded);
        if (err == C2_E_OK && loaded.manifest == NULL)
            err = c2_rd_finish(&r);
        if (err == C2_E_OK && loaded.attr.ino != l->inos[k])
            err = C2_E_CORRUPT;
    }
    if (err == C2_E_OK) {
        struct fs_inode *i = fs_inode_insert(fs, l->inos[k]);
        i->attr = loaded.attr;
        i->attr.ino = i->ino;
        i->parent = loaded.parent;
        i->symlink = loaded.symlink;
        i->xattrs = loaded.xattrs;
        i->map = loaded.map;
        i->journaled = loaded.journaled;
        i->committed = loaded.committed;
        i->manifest = loaded.manifest;
        i->committed_counted = e->version != 0;
        i->committed_size = S_ISREG(i->attr.mode) ? i->attr.size : 0;
        fs_inode_settle(fs, i);
    } else {
        c2_log(ERROR, "load", "inode=%llu err=%s, the record in the store is unusable",
               (unsigned long long)l->inos[k], c2_err_name(err));
        c2_free(loaded.symlink);
        c2_buf_done(&loaded.xattrs);
        fs_map_unref(loaded.map);
        fs_map_unref(loaded.journaled);
        fs_map_unref(loaded.committed);
        fs_manifest_free(loaded.manifest);
    }
    c2_buf_done(&plain);
    return err;
}

static void
submit(struct fs_load *l)
{
    l->req.verb = COORD_GET;
    l->req.keys = l->slices + l->at;
    l->req.nkeys = l->piece;
    l->req.deadline_ns = fs_load_deadline(l->fs);
    coord_submit(l->fs->part.coord, &l->req);
}

/* All keys with one GET, if the answer is not too large. */
static void
start(struct fs_load *l)
{
    l->slices = c2_calloc(l->nkeys, sizeof(*l->slices));
    for (size_t k = 0; k < l->nkeys; k++)
        l->slices[k] = ck_slice(&l->keys[k]);
    l->piece = l->nkeys;
    submit(l);
}

static void
inodes_read(struct coord_req *r)
{
    struct fs_load *l = C2_CONTAINER_OF(r, struct fs_load, req);
    enum c2_err err = r->err;
    if (err == C2_E_TOO_LARGE && l->piece > 1) {
        C2_MARK("load: inodes in smaller pieces");
        coord_req_done(r);
        l->piece = (l->piece + 1) / 2;
        submit(l);
        return;
    }
    for (size_t k = 0; err == C2_E_OK && k < l->piece; k++) {
        enum c2_err bad = decode_inode(l, l->at + k, &r->entries[k]);
        l->bad = l->bad == C2_E_OK ? bad : l->bad;
    }
    coord_req_done(r);
    l->at += l->piece;
    if (err == C2_E_OK && l->at < l->nkeys) {
        l->piece = C2_MIN(l->piece, l->nkeys - l->at);
        submit(l);
        return;
    }
    load_end(l, err == C2_E_OK ? l->bad : err);
}

static struct fs_load *
load_inodes(struct fs *fs, const uint64_t *inos, size_t n)
{
    C2_ASSERT(n > 0 && n <= COORD_GET_KEYS_MAX);
    struct fs_load *l = load_new(fs);
    l->nkeys = n;
    l->inos = c2_calloc(n, sizeof(*l->inos));
    l->keys = c2_calloc(n, sizeof(*l->keys));
    for (size_t k = 0; k < n; k++) {
        l->inos[k] = inos[k];
        l->keys[k] = ck_inode(inos[k]);
    }
    l->req.done = inodes_read;
    start(l);
    return l;
}

/* The running load that has it; NULL = there is none. */
static struct fs_load *
load_of(struct fs *fs, uint64_t ino)
{
    C2_LIST_FOREACH (&fs->loads, struct fs_load, l, link) {
        for (size_t k = 0; l->inos != NULL && k < l->nkeys; k++) {
            if (l->inos[k] == ino)
                return l;
        }
    }
    return NULL;
}

bool
fs_load_join(struct fs_req *r, const uint64_t *inos, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        struct fs_load *l = fs_inode_peek(r->fs, inos[k]) == NULL ? load_of(r->fs, inos[k]) : NULL;
        if (l != NULL) {
            fs_park(r, &l->waiting);
            return true;
        }
    }
    return false;
}

void
fs_load_inode(struct fs_req *r, uint64_t ino)
{
    if (fs_load_join(r, &ino, 1))
        return;
    struct fs_load *l = load_inodes(r->fs, &ino, 1);
    l->asker = r;
    fs_park(r, &l->waiting);
}

void
fs_load_inodes(struct fs *fs, const uint64_t *inos, size_t n)
{
    uint64_t wanted[INODES_AT_ONCE];
    size_t nwanted = 0;
    for (size_t k = 0; k < n; k++) {
        if (fs_inode_peek(fs, inos[k]) == NULL && load_of(fs, inos[k]) == NULL)
            wanted[nwanted++] = inos[k];
        if (nwanted == INODES_AT_ONCE || (nwanted > 0 && k + 1 == n)) {
            (void)load_inodes(fs, wanted, nwanted);
            nwanted = 0;
        }
    }
}

static bool
may_load_ahead(const struct fs *fs)
{
    return !fs->loads_over && fs->loads.count < LOADS_AHEAD_MAX;
}

void
fs_load_ahead(struct fs *fs, const uint64_t *inos, size_t n)
{
    if (may_load_ahead(fs))
        fs_load_inodes(fs, inos, n);
}

void
fs_load_inodes_for(struct fs *fs, const uint64_t *inos, size_t n,
                   void (*done)(void *arg, enum c2_err err), void *arg)
{
    listen_to(load_inodes(fs, inos, n), done, arg);
}

void
fs_loads_cancel(struct fs *fs)
{
    fs->loads_over = true;
    C2_LIST_FOREACH (&fs->loads, struct fs_load, l, link) {
        if (l->inode == NULL)
            coord_cancel(fs->part.coord, &l->req);
    }
}

/* ---- entries ------------------------------------------------------------------------------- */

static C2_RESULT
open_entry(struct fs *fs, struct c2_slice key, struct c2_slice value, struct fs_dentry_record *ret)
{
    C2_AUTO(c2_buf_done) struct c2_buf plain = { 0 };
    C2_TRY(keys_open(fs->part.keys, key, value, &plain));
    struct c2_rd r = c2_rd_init(c2_buf_slice(&plain));
    C2_TRY(fs_dentry_record_decode(&r, ret));
    return c2_rd_finish(&r);
}

/* rec.ino 0: there is none. */
static void
insert_entry(struct fs *fs, uint64_t dir, const char *name, const struct fs_dentry_record *rec)
{
    struct fs_dentry *e = fs_dentry_insert(fs, dir, name);
    e->ino = rec->ino;
    e->type = rec->type;
    e->in_store = rec->ino != 0;
    fs_dentry_settle(fs, e);
}

/* The running load of one entry; NULL = there is none. */
static struct fs_load *
load_of_entry(struct fs *fs, uint64_t dir, const char *name)
{
    C2_LIST_FOREACH (&fs->loads, struct fs_load, l, link) {
        if (l->inos == NULL && l->inode == NULL && l->dir == dir && strcmp(l->name, name) == 0)
            return l;
    }
    return NULL;
}

/* ---- names ahead --------------------------------------------------------------------------- */

static C2_RESULT
take_name(struct fs_load *l, const struct coord_entry *c, uint64_t *ret_ino)
{
    struct fs *fs = l->fs;
    struct fs_dentry_record rec = { 0 };
    uint8_t hash[KEYS_NAME_HASH_LEN];
    C2_TRY(open_entry(fs, c->key, c->value, &rec));
    keys_name_hash(fs->part.keys, l->dir, c2_slice_str(rec.name), hash);
    const struct ck key = ck_dentry(l->dir, hash);
    if (!c2_slice_equal(c->key, ck_slice(&key)))
        return C2_E_CORRUPT;
    *ret_ino = rec.ino;
    if (fs_dentry_peek(fs, l->dir, hash, rec.name) == NULL &&
        load_of_entry(fs, l->dir, rec.name) == NULL)
        insert_entry(fs, l->dir, rec.name, &rec);
    return C2_E_OK;
}

/* Whoever needs what cannot be read finds it out by itself. */
static void
names_read(struct coord_req *r)
{
    struct fs_load *l = C2_CONTAINER_OF(r, struct fs_load, req);
    struct fs *fs = l->fs;
    struct fs_inode *dir = l->names_of;
    uint64_t inos[NAMES_AHEAD];
    size_t n = 0;
    enum c2_err err = r->err;
    if (err == C2_E_OK && l->forgotten != dir->names_forgotten)
        err = C2_E_STALE;
    for (; err == C2_E_OK && n < C2_MIN(r->nentries, (size_t)NAMES_AHEAD); n++)
        err = take_name(l, &r->entries[n], &inos[n]);
    bool more = err == C2_E_OK && r->more && n > 0;
    dir->names_loading = false;
    dir->names_after = more ? c2_get_be64(r->entries[n - 1].key.data + l->keys[0].len) : 0;
    dir->names_ahead = more || err != C2_E_OK ? dir->names_ahead + NAMES_AHEAD : 0;
    fs_inode_unpin(fs, dir);
    load_end(l, C2_E_OK);
    if (err == C2_E_OK) {
        C2_MARK("load: names of a directory ahead");
        fs_load_ahead(fs, inos, n);
    }
}

/* The next names of the directory. */
static void
load_names(struct fs *fs, struct fs_inode *dir)
{
    struct fs_load *l = load_new(fs);
    l->dir = dir->ino;
    l->names_of = dir;
    l->forgotten = dir->names_forgotten;
    l->nkeys = 2; /* the prefix, and where the names before end */
    l->keys = c2_calloc(2, sizeof(*l->keys));
    l->keys[0] = l->keys[1] = ck_dentries(dir->ino);
    l->slices = c2_calloc(1, sizeof(*l->slices));
    l->slices[0] = ck_slice(&l->keys[0]);
    l->req.verb = COORD_RANGE;
    l->req.keys = l->slices;
    l->req.nkeys = 1;
    l->req.limit = NAMES_AHEAD;
    l->req.deadline_ns = fs_load_deadline(l->fs);
    l->req.done = names_read;
    if (dir->names_after != 0) {
        struct ck *after = &l->keys[1];
        c2_put_be64(after->bytes + after->len, dir->names_after);
        memset(after->bytes + after->len + 8, 0xff, KEYS_NAME_HASH_LEN - 8);
        after->len += KEYS_NAME_HASH_LEN;
        l->req.after = ck_slice(after);
    }
    dir->names_missed = 0;
    dir->names_loading = true;
    fs_inode_pin(fs, dir);
    coord_submit(fs->part.coord, &l->req);
}

/* A name was in the store and not in memory. */
static void
missed(struct fs *fs, uint64_t dir_ino)
{
    struct fs_inode *dir = fs_inode_peek(fs, dir_ino);
    if (dir != NULL && ++dir->names_missed >= MISSES_MANY && !dir->names_loading &&
        may_load_ahead(fs) && dir->names_ahead + NAMES_AHEAD <= fs->conf.dentries_max / 2)
        load_names(fs, dir);
}

/* ---- one entry ----------------------------------------------------------------------------- */

static C2_RESULT
take_entry(struct fs_load *l, const struct coord_entry *e)
{
    struct fs_dentry_record rec = { 0 };
    if (e->version != 0)
        C2_TRY(open_entry(l->fs, ck_slice(&l->keys[0]), e->value, &rec));
    if (e->version != 0 && strcmp(rec.name, l->name) != 0)
        return C2_E_CORRUPT; /* 128 bits of an HMAC collide: not by accident */
    insert_entry(l->fs, l->dir, l->name, &rec);
    return C2_E_OK;
}

static void
dentry_read(struct coord_req *r)
{
    struct fs_load *l = C2_CONTAINER_OF(r, struct fs_load, req);
    enum c2_err err = r->err;
    if (err == C2_E_OK) {
        uint8_t hash[KEYS_NAME_HASH_LEN];
        keys_name_hash(l->fs->part.keys, l->dir, c2_slice_str(l->name), hash);
        if (fs_dentry_peek(l->fs, l->dir, hash, l->name) == NULL)
            err = take_entry(l, &r->entries[0]);
        if (err == C2_E_OK && r->entries[0].version != 0)
            missed(l->fs, l->dir);
    }
    load_end(l, err);
}

void
fs_load_dentry(struct fs_req *r, uint64_t dir, const uint8_t *hash, const char *name)
{
    struct fs_load *l = load_of_entry(r->fs, dir, name);
    if (l != NULL) {
        fs_park(r, &l->waiting);
        return;
    }
    l = load_new(r->fs);
    l->dir = dir;
    memcpy(l->name, name, strlen(name) + 1);
    l->nkeys = 1;
    l->keys = c2_calloc(1, sizeof(*l->keys));
    l->keys[0] = ck_dentry(dir, hash);
    l->req.done = dentry_read;
    fs_park(r, &l->waiting);
    start(l);
}

/* ---- content ------------------------------------------------------------------------------- */

static void leaf_read(struct fs_fetch *f);

static void
next_leaf(struct fs_load *l)
{
    const struct fs_leaf *leaf = &l->inode->manifest->leaves[l->leaf];
    l->fetch = (struct fs_fetch){ .source = leaf->source,
                                  .off = leaf->source_off,
                                  .len = leaf->len,
                                  .whole_object = true,
                                  .done = leaf_read };
    fs_fetch_start(l->fs, &l->fetch);
}

static void
content_end(struct fs_load *l, enum c2_err err)
{
    struct fs_inode *i = l->inode;
    if (err == C2_E_OK) {
        i->manifest->base = l->base;
        err = fs_content_loaded(l->fs, i);
        if (err != C2_E_OK)
            i->manifest->base = NULL;
        else
            l->base = NULL;
    }
    fs_map_unref(l->base);
    fs_inode_unpin(l->fs, i);
    load_end(l, err);
}

static void
leaf_read(struct fs_fetch *f)
{
    struct fs_load *l = C2_CONTAINER_OF(f, struct fs_load, fetch);
    const struct fs_manifest *m = l->inode->manifest;
    if (m == NULL) { /* deleted meanwhile */
        fs_fetch_done(f);
        content_end(l, C2_E_STALE);
        return;
    }
    uint64_t end = l->leaf + 1 < m->nleaves ? m->leaves[l->leaf + 1].off : FS_FILE_SIZE_MAX;
    enum c2_err err = f->err;
    if (err == C2_E_OK)
        err = fs_leaf_decode(l->fs, f->data, m->leaves[l->leaf].off, end, &l->base);
    fs_fetch_done(f);
    if (err == C2_E_OK && ++l->leaf < m->nleaves)
        next_leaf(l);
    else
        content_end(l, err);
}

/* The running load of the inode's content, or a new one. */
static struct fs_load *
content_load(struct fs *fs, struct fs_inode *i)
{
    C2_ASSERT(i->manifest != NULL);
    C2_ASSERT(i->map == NULL || c2_link_linked(&i->deferred_link));
    C2_LIST_FOREACH (&fs->loads, struct fs_load, l, link) {
        if (l->inode == i)
            return l;
    }
    struct fs_load *l = load_new(fs);
    l->inode = i;
    l->base = fs_map_new();
    fs_inode_pin(fs, i);
    next_leaf(l);
    return l;
}

void
fs_load_content(struct fs_req *r, struct fs_inode *i)
{
    fs_park(r, &content_load(r->fs, i)->waiting);
}

void
fs_load_content_for(struct fs *fs, struct fs_inode *i, void (*done)(void *arg, enum c2_err err),
                    void *arg)
{
    listen_to(content_load(fs, i), done, arg);
}
