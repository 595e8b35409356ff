/* SPDX-License-Identifier: MIT */
/*
 * The table of inodes: find, create, dirty, publish, drop. See fs/inode.h for the rules.
 */
#include "fs/inode.h"

#include <string.h>

#include "base/alloc.h"
#include "fs/deferred.h"
#include "fs/fs.h"
#include "fs/load.h"
#include "fs/manifest.h"
#include "fs/records.h"

struct lookup {
    struct c2_map_node node;
    uint64_t ino;
    uint64_t count;
};

/* ---- table --------------------------------------------------------------------------------- */

struct fs_inode *
fs_inode_peek(struct fs *fs, uint64_t ino)
{
    uint64_t hash = c2_map_hash_u64(&fs->inodes, ino);
    struct c2_map_node *n = c2_map_find(&fs->inodes, hash);
    while (n != NULL) {
        struct fs_inode *i = C2_CONTAINER_OF(n, struct fs_inode, node);
        if (i->ino == ino)
            return i;
        n = c2_map_find_next(n);
    }
    return NULL;
}

struct fs_inode *
fs_inode_insert(struct fs *fs, uint64_t ino)
{
    C2_ASSERT(fs_inode_peek(fs, ino) == NULL);
    struct fs_inode *i = c2_calloc(1, sizeof(*i));
    i->ino = ino;
    i->attr.ino = ino;
    i->node.hash = c2_map_hash_u64(&fs->inodes, ino);
    c2_list_init(&i->dirty_entries);
    c2_map_insert(&fs->inodes, &i->node);
    c2_list_append(&fs->inode_lru, &i->lru);
    return i;
}

static void
stable_free(struct fs_inode *i)
{
    struct fs_stable *s = i->stable;
    if (s == NULL)
        return;
    c2_buf_done(&s->record);
    fs_map_unref(s->map);
    c2_free(s);
    i->stable = NULL;
}

void
fs_stable_settle(struct fs_inode *i)
{
    /* A group that is being written may fail: then it is wanted once more. */
    if (i->stable != NULL && !i->stable->dirty_journal && !i->stable->dirty_commit &&
        !i->journaling)
        stable_free(i);
}

static void
inode_drop(struct fs *fs, struct fs_inode *i)
{
    C2_ASSERT(i->opens == 0 && c2_list_empty(&i->dirty_entries));
    if (c2_link_linked(&i->lru))
        c2_list_remove(&fs->inode_lru, &i->lru);
    fs_map_unref(i->map);
    fs_map_unref(i->journaled);
    fs_map_unref(i->committed);
    fs_manifest_free(i->manifest);
    stable_free(i);
    c2_free(i->symlink);
    c2_buf_done(&i->xattrs);
    c2_free(i);
}

static void
inode_free(struct fs *fs, struct fs_inode *i)
{
    c2_map_remove(&fs->inodes, &i->node);
    inode_drop(fs, i);
}

static struct lookup *lookup_find(struct fs *fs, uint64_t ino);

/* One without a name stays as long as the kernel may ask for it (the working directory of a
 * process): the store has it no more. */
static bool
idle(struct fs *fs, const struct fs_inode *i)
{
    return i->pins == 0 && i->opens == 0 && !i->dirty_journal && !i->dirty_commit &&
           c2_list_empty(&i->dirty_entries) && (!i->gone || lookup_find(fs, i->ino) == NULL);
}

void
fs_inode_settle(struct fs *fs, struct fs_inode *i)
{
    if (c2_link_linked(&i->lru))
        c2_list_remove(&fs->inode_lru, &i->lru);
    if (!idle(fs, i))
        return;
    c2_list_append(&fs->inode_lru, &i->lru);
    while (fs->inode_lru.count > fs->conf.inodes_max)
        inode_free(fs, C2_LIST_FIRST(&fs->inode_lru, struct fs_inode, lru));
}

void
fs_inode_pin(struct fs *fs, struct fs_inode *i)
{
    i->pins++;
    if (c2_link_linked(&i->lru))
        c2_list_remove(&fs->inode_lru, &i->lru);
}

void
fs_inode_unpin(struct fs *fs, struct fs_inode *i)
{
    C2_ASSERT(i->pins > 0);
    i->pins--;
    fs_inode_settle(fs, i);
}

void
fs_inode_free_all(struct fs *fs)
{
    struct c2_map_node *next;
    for (struct c2_map_node *n = c2_map_take_all(&fs->dentries); n != NULL; n = next) {
        struct fs_dentry *e = C2_CONTAINER_OF(n, struct fs_dentry, node);
        struct fs_inode *dir = fs_inode_peek(fs, e->dir);
        if (c2_link_linked(&e->dir_link))
            c2_list_remove(&dir->dirty_entries, &e->dir_link);
        next = n->next;
        c2_free(e);
    }
    for (struct c2_map_node *n = c2_map_take_all(&fs->inodes); n != NULL; n = next) {
        struct fs_inode *i = C2_CONTAINER_OF(n, struct fs_inode, node);
        next = n->next;
        i->opens = 0;
        inode_drop(fs, i);
    }
    for (struct c2_map_node *n = c2_map_take_all(&fs->lookups); n != NULL; n = next) {
        next = n->next;
        c2_free(C2_CONTAINER_OF(n, struct lookup, node));
    }
}

/* ---- finding ------------------------------------------------------------------------------- */

C2_RESULT
fs_inode_find(struct fs_req *r, uint64_t ino, struct fs_inode **ret_inode)
{
    struct fs *fs = r->fs;
    struct fs_inode *i = fs_inode_peek(fs, ino);
    if (i == NULL) {
        fs_load_inode(r, ino);
        return C2_E_AGAIN;
    }
    if (i->attr.mode == 0)
        return C2_E_STALE;
    fs_inode_settle(fs, i);
    *ret_inode = i;
    return C2_E_OK;
}

C2_RESULT
fs_inode_find_content(struct fs_req *r, uint64_t ino, struct fs_inode **ret_inode)
{
    struct fs_inode *i;
    C2_TRY(fs_inode_find(r, ino, &i));
    if (S_ISREG(i->attr.mode) && (i->map == NULL || c2_link_linked(&i->deferred_link))) {
        fs_load_content(r, i);
        return C2_E_AGAIN;
    }
    *ret_inode = i;
    return C2_E_OK;
}

C2_RESULT
fs_dir_find(struct fs_req *r, uint64_t ino, struct fs_inode **ret_dir)
{
    struct fs_inode *i;
    C2_TRY(fs_inode_find(r, ino, &i));
    if (!S_ISDIR(i->attr.mode))
        return C2_E_NOT_DIR;
    *ret_dir = i;
    return C2_E_OK;
}

/* ---- changing ------------------------------------------------------------------------------ */

static struct fs_time
now(struct fs *fs)
{
    return fs_time_of(c2_wall_ns(fs->part.env));
}

struct fs_inode *
fs_inode_create(struct fs_req *r, struct fs_inode *dir, uint32_t mode)
{
    struct fs *fs = r->fs;
    struct fs_inode *i = fs_inode_insert(fs, fs->next_ino++);
    bool inherit = (dir->attr.mode & S_ISGID) != 0;
    i->attr.mode = mode;
    i->attr.uid = r->uid;
    i->attr.gid = inherit ? dir->attr.gid : r->gid;
    if (inherit && S_ISDIR(mode))
        i->attr.mode |= S_ISGID;
    i->attr.nlink = S_ISDIR(mode) ? 1 : 0;
    i->attr.rdev = S_ISCHR(mode) || S_ISBLK(mode) ? r->rdev : 0;
    i->attr.btime = now(fs);
    i->attr.atime = i->attr.mtime = i->attr.ctime = i->attr.btime;
    i->parent = S_ISDIR(mode) ? dir->ino : 0;
    i->dir_ino = dir->ino;
    i->is_new = i->journal_new = true;
    if (S_ISREG(mode)) {
        i->map = fs_map_new();
        i->unpublished = true;
        i->unpublished_since_ns = c2_now_ns(fs->part.env);
    }
    fs->used_files++;
    fs_inode_dirty(fs, i);
    return i;
}

void
fs_inode_dirty(struct fs *fs, struct fs_inode *i)
{
    if (!i->dirty_journal) {
        i->dirty_journal = true;
        c2_list_append(&fs->journal_inodes, &i->journal_link);
    }
    if (!i->dirty_commit) {
        i->dirty_commit = true;
        if (fs->waiting_since_ns == 0)
            fs->waiting_since_ns = c2_now_ns(fs->part.env);
        fs->ready_items++;
        fs->ready_attr_bytes += i->xattrs.len;
        c2_list_append(&fs->commit_inodes, &i->commit_link);
    }
    if (c2_link_linked(&i->lru))
        c2_list_remove(&fs->inode_lru, &i->lru);
}

void
fs_inode_touch(struct fs *fs, struct fs_inode *i, unsigned which)
{
    struct fs_time t = now(fs);
    if (which & FS_SET_ATIME)
        i->attr.atime = t;
    if (which & FS_SET_MTIME)
        i->attr.mtime = t;
    if (which & FS_SET_CTIME)
        i->attr.ctime = t;
    fs_inode_dirty(fs, i);
}

void
fs_inode_links_changed(struct fs *fs, struct fs_inode *i)
{
    bool unlinked = S_ISDIR(i->attr.mode) ? i->attr.nlink <= 1 : i->attr.nlink == 0;
    if (!unlinked || i->gone)
        return;
    if (i->opens > 0) {
        if (!i->orphaned)
            fs_inode_dirty(fs, i);
        i->orphaned = true;
        return;
    }
    i->gone = true;
    fs->used_files -= fs->used_files > 0;
    fs->used_bytes -=
        C2_MIN(fs->used_bytes, S_ISREG(i->attr.mode) ? fs_counted_bytes(i->attr.size) : 0);
    fs_inode_publish(fs, i);
    fs_inode_dirty(fs, i);
    fs_deferred_forget(fs, i);
}

/* Bytes that became ready for the clouds by it. */
static uint64_t
freeze(const struct fs_map *m)
{
    uint64_t bytes = 0;
    for (size_t k = 0; m != NULL && k < m->n; k++) {
        if (m->e[k].source->kind != FS_SOURCE_CHUNK)
            continue;
        struct fs_chunk *c = C2_CONTAINER_OF(m->e[k].source, struct fs_chunk, source);
        bytes += c->frozen ? 0 : c->len;
        c->frozen = true;
    }
    return bytes;
}

void
fs_inode_publish(struct fs *fs, struct fs_inode *i)
{
    if (!i->unpublished)
        return;
    i->unpublished = false;
    i->truncated = false;
    i->tail = NULL;
    fs->ready_bytes += freeze(i->map);
    stable_free(i);
    fs_inode_dirty(fs, i);
}

void
fs_inode_unpublish(struct fs *fs, struct fs_inode *i)
{
    if (i->unpublished)
        return;
    C2_ASSERT(i->stable == NULL);
    if (i->dirty_commit || i->dirty_journal || i->journaling) {
        i->stable = c2_calloc(1, sizeof(*i->stable));
        fs_inode_count_blocks(i);
        fs_inode_record_encode(i, &i->stable->record);
        i->stable->map = fs_map_ref(i->map);
        i->stable->size = i->attr.size;
        i->stable->dirty_journal = i->dirty_journal || i->journaling;
        i->stable->dirty_commit = i->dirty_commit;
        fs->ready_bytes += freeze(i->map);
        i->tail = NULL;
    }
    i->unpublished = true;
    i->unpublished_since_ns = c2_now_ns(fs->part.env);
}

bool
fs_inode_held(const struct fs *fs, const struct fs_inode *i)
{
    if (!i->unpublished || i->write_opens == 0 || i->gone)
        return false;
    if (i->truncated && i->attr.size == 0)
        return true;
    uint64_t limit = i->is_new || i->truncated ? FS_HOLD_NEW_NS : FS_HOLD_NS;
    return c2_now_ns(fs->part.env) - i->unpublished_since_ns < limit;
}

void
fs_inode_count_blocks(struct fs_inode *i)
{
    if (S_ISREG(i->attr.mode) && i->map != NULL)
        i->attr.blocks = (fs_map_bytes(i->map) + 511) / 512;
}

void
fs_inode_attr(const struct fs_inode *i, struct fs_attr *ret_attr)
{
    *ret_attr = i->attr;
    if (S_ISDIR(i->attr.mode)) {
        ret_attr->size = 4096;
        ret_attr->blocks = 0;
    } else if (S_ISREG(i->attr.mode) && i->map != NULL) {
        ret_attr->blocks = (fs_map_bytes(i->map) + 511) / 512;
    } else if (S_ISLNK(i->attr.mode) && i->symlink != NULL) {
        ret_attr->size = strlen(i->symlink);
    }
}

/* ---- lookups ------------------------------------------------------------------------------- */

static struct lookup *
lookup_find(struct fs *fs, uint64_t ino)
{
    struct c2_map_node *n = c2_map_find(&fs->lookups, c2_map_hash_u64(&fs->lookups, ino));
    while (n != NULL) {
        struct lookup *l = C2_CONTAINER_OF(n, struct lookup, node);
        if (l->ino == ino)
            return l;
        n = c2_map_find_next(n);
    }
    return NULL;
}

void
fs_lookup_add(struct fs *fs, uint64_t ino, uint64_t count)
{
    struct lookup *l = lookup_find(fs, ino);
    if (l == NULL) {
        l = c2_calloc(1, sizeof(*l));
        l->ino = ino;
        l->node.hash = c2_map_hash_u64(&fs->lookups, ino);
        c2_map_insert(&fs->lookups, &l->node);
    }
    l->count += count;
}

void
fs_lookup_forget(struct fs *fs, uint64_t ino, uint64_t count)
{
    struct lookup *l = lookup_find(fs, ino);
    if (l == NULL)
        return;
    l->count -= C2_MIN(l->count, count);
    if (l->count > 0)
        return;
    c2_map_remove(&fs->lookups, &l->node);
    c2_free(l);
    struct fs_inode *i = fs_inode_peek(fs, ino);
    if (i != NULL && i->gone && idle(fs, i))
        inode_free(fs, i);
}
