/* SPDX-License-Identifier: MIT */
/*
 * What a group has: the state of every inode and entry that is dirty for the store and not held, at
 * one instant, and the chunks that have to be objects before it can be committed.
 */
#include "base/alloc.h"
#include "base/mark.h"
#include "fs/manifest.h"
#include "fs/pack.h"
#include "fs/records.h"
#include "fs/txg_impl.h"

static void
wait_for_chunk(struct txg *t, struct fs_chunk *c)
{
    if (t->nchunks == t->chunks_cap) {
        t->chunks_cap = t->chunks_cap == 0 ? 64 : t->chunks_cap * 2;
        t->chunks = c2_realloc(t->chunks, t->chunks_cap, sizeof(struct fs_chunk *));
    }
    fs_source_ref(&c->source);
    t->chunks[t->nchunks++] = c;
}

static void
need_content(struct fs *fs, struct txg *t, const struct fs_map *m)
{
    for (size_t k = 0; m != NULL && k < m->n; k++) {
        if (m->e[k].source->kind != FS_SOURCE_CHUNK)
            continue;
        struct fs_chunk *c = C2_CONTAINER_OF(m->e[k].source, struct fs_chunk, source);
        if (c->object != NULL)
            continue;
        fs_pack_add(fs, c);
        wait_for_chunk(t, c);
    }
}

/* The stable state of a held file; false: there is none that the store lacks. */
static bool
cut_stable(struct txg_inode *x, struct fs_inode *i)
{
    struct fs_stable *s = i->stable;
    if (s == NULL || !s->dirty_commit)
        return false;
    C2_MARK("txg: stable state of a held file");
    *x = (struct txg_inode){ .inode = i, .size = s->size, .orphaned = i->orphaned };
    c2_buf_append(&x->record, s->record.data, s->record.len);
    x->map = fs_map_ref(s->map);
    s->dirty_commit = false;
    fs_stable_settle(i);
    return true;
}

void
txg_content_gone(struct fs_inode *i)
{
    fs_manifest_free(i->manifest);
    i->manifest = NULL;
    fs_map_unref(i->committed);
    i->committed = NULL;
    fs_map_unref(i->journaled);
    i->journaled = NULL;
    if (!S_ISREG(i->attr.mode))
        return;
    fs_map_unref(i->map);
    i->map = fs_map_new();
    i->tail = NULL;
}

/* False: the store need not know. */
static bool
cut_live(struct fs *fs, struct txg_inode *x, struct fs_inode *i)
{
    fs_inode_publish(fs, i);
    i->dirty_commit = false;
    c2_list_remove(&fs->commit_inodes, &i->commit_link);
    if (i->deleted || (i->gone && i->is_new)) {
        /* It came and went between two cuts, or was touched after its end. What the journal knows
         * of it, it has to take back. */
        if (i->journal_new && i->dirty_journal) {
            i->dirty_journal = false;
            c2_list_remove(&fs->journal_inodes, &i->journal_link);
        }
        if (!i->deleted) /* else a group that is not committed yet counts what it had */
            txg_content_gone(i);
        fs_inode_settle(fs, i);
        return false;
    }
    *x = (struct txg_inode){ .inode = i, .deleted = i->gone };
    x->size = S_ISREG(i->attr.mode) ? i->attr.size : 0;
    x->map = i->map == NULL ? NULL : fs_map_ref(i->map);
    x->orphaned = i->orphaned;
    i->deleted = i->gone;
    fs_inode_count_blocks(i);
    fs_inode_record_encode(i, &x->record);
    return true;
}

struct mark {
    struct fs *fs;
    struct fs_map **map;
};

static void
mark_unknown(void *arg, const struct fs_extent *e)
{
    struct mark *m = arg;
    fs_map_set(m->map, e->off, e->len, &m->fs->unknown, e->off);
}

/* A content that no journal group has: whether a replay begins with it, or with what was there
 * before, depends on the moment of the crash. The next journal group has to cover both. */
static void
content_cut(struct fs *fs, struct fs_inode *i, const struct fs_map *map)
{
    if (map == NULL || map == i->journaled)
        return;
    struct fs_map *before = i->journaled == NULL ? fs_map_new() : fs_map_ref(i->journaled);
    struct mark m = { .fs = fs, .map = &i->journaled };
    if (i->journaled == NULL)
        i->journaled = fs_map_new();
    fs_map_diff(before, map, mark_unknown, &m);
    fs_map_unref(before);
}

/* The item of one inode: its live state, or its stable one while it is held. */
static void
cut_inode(struct fs *fs, struct txg *t, struct fs_inode *i)
{
    struct txg_inode *x = &t->inodes[t->ninodes];
    if (!(fs_inode_held(fs, i) ? cut_stable(x, i) : cut_live(fs, x, i)))
        return;
    fs_inode_pin(fs, i);
    i->is_new = false;
    i->cut_txg = t->id;
    t->ninodes++;
    if (x->deleted)
        return;
    need_content(fs, t, x->map);
    content_cut(fs, i, x->map);
}

static void
cut_dentry(struct fs *fs, struct txg *t, struct fs_dentry *e)
{
    const struct fs_inode *child = e->ino == 0 ? NULL : fs_inode_peek(fs, e->ino);
    bool defer = child != NULL && child->is_new; /* held, so not in this group either */
    struct txg_dentry *x = &t->dentries[t->ndentries];
    if (defer && (!e->in_store || e->removal_cut))
        return;
    *x = (struct txg_dentry){ .entry = e };
    e->removal_cut = defer;
    if (!defer) {
        x->ino = e->ino;
        x->type = e->type;
        e->dirty_commit = false;
        c2_list_remove(&fs->commit_dentries, &e->commit_link);
        if (e->ino == 0 && !e->in_store) {
            fs_dentry_settle(fs, e);
            return;
        }
    }
    e->in_store = x->ino != 0 || e->in_store;
    e->cut_txg = t->id;
    e->pins++;
    t->ndentries++;
}

void
txg_free(struct fs *fs, struct txg *t)
{
    for (size_t k = 0; k < t->ninodes; k++) {
        c2_buf_done(&t->inodes[k].record);
        fs_map_unref(t->inodes[k].map);
        fs_manifest_free(t->inodes[k].manifest);
        fs_inode_unpin(fs, t->inodes[k].inode);
    }
    for (size_t k = 0; k < t->ndentries; k++) {
        t->dentries[k].entry->pins--;
        fs_dentry_settle(fs, t->dentries[k].entry);
    }
    for (size_t k = 0; k < t->nchunks; k++)
        fs_source_unref(&t->chunks[k]->source);
    c2_free(t->inodes);
    c2_free(t->dentries);
    c2_free(t->chunks);
    c2_free(t);
}

struct txg *
txg_take(struct fs *fs, uint64_t id)
{
    struct txg *t = c2_calloc(1, sizeof(*t));
    t->id = id;
    t->inodes = c2_calloc(fs->commit_inodes.count, sizeof(*t->inodes));
    t->dentries = c2_calloc(fs->commit_dentries.count, sizeof(*t->dentries));
    C2_LIST_FOREACH (&fs->commit_inodes, struct fs_inode, i, commit_link) {
        cut_inode(fs, t, i);
    }
    C2_LIST_FOREACH (&fs->commit_dentries, struct fs_dentry, e, commit_link) {
        cut_dentry(fs, t, e);
    }
    return t;
}

/* ---- manifests ------------------------------------------------------------------------------ */

void
txg_build_manifests(struct fs *fs, struct txg *t)
{
    t->manifests_built = true;
    for (size_t k = 0; k < t->ninodes; k++) {
        struct txg_inode *x = &t->inodes[k];
        if (x->deleted || x->map == NULL)
            continue;
        fs_map_resolve(&x->map);
        if (fs_content_fits_inline(x->inode->manifest, x->map))
            continue;
        C2_MARK("txg: manifest written");
        x->manifest = fs_manifest_build(fs, x->inode->manifest, x->map);
        for (size_t l = 0; l < x->manifest->nleaves; l++) {
            struct fs_source *s = x->manifest->leaves[l].source;
            if (s->kind != FS_SOURCE_CHUNK)
                continue;
            struct fs_chunk *c = C2_CONTAINER_OF(s, struct fs_chunk, source);
            if (c->object != NULL)
                continue;
            fs_pack_add(fs, c);
            wait_for_chunk(t, c);
        }
    }
    fs_pack_flush(fs);
}
