/* SPDX-License-Identifier: MIT */
/*
 * The table of directory entries, negative ones included. See fs/inode.h for the rules.
 */
#include <string.h>

#include "base/alloc.h"
#include "fs/fs.h"
#include "fs/load.h"

static uint64_t
table_hash(const struct fs *fs, uint64_t dir, const uint8_t *hash)
{
    return c2_map_hash_bytes(&fs->dentries, c2_slice(hash, KEYS_NAME_HASH_LEN)) ^ dir;
}

struct fs_dentry *
fs_dentry_peek(struct fs *fs, uint64_t dir, const uint8_t *hash, const char *name)
{
    struct c2_map_node *n = c2_map_find(&fs->dentries, table_hash(fs, dir, hash));
    while (n != NULL) {
        struct fs_dentry *e = C2_CONTAINER_OF(n, struct fs_dentry, node);
        if (e->dir == dir && strcmp(e->name, name) == 0)
            return e;
        n = c2_map_find_next(n);
    }
    return NULL;
}

struct fs_dentry *
fs_dentry_peek_hash(struct fs *fs, uint64_t dir, const uint8_t *hash)
{
    struct c2_map_node *n = c2_map_find(&fs->dentries, table_hash(fs, dir, hash));
    while (n != NULL) {
        struct fs_dentry *e = C2_CONTAINER_OF(n, struct fs_dentry, node);
        if (e->dir == dir && memcmp(e->hash, hash, KEYS_NAME_HASH_LEN) == 0)
            return e;
        n = c2_map_find_next(n);
    }
    return NULL;
}

struct fs_dentry *
fs_dentry_insert(struct fs *fs, uint64_t dir, const char *name)
{
    size_t len = strlen(name);
    struct fs_dentry *e = c2_calloc(1, sizeof(*e) + len + 1);
    e->dir = dir;
    memcpy(e->name, name, len + 1);
    keys_name_hash(fs->part.keys, dir, c2_slice(name, len), e->hash);
    e->node.hash = table_hash(fs, dir, e->hash);
    c2_map_insert(&fs->dentries, &e->node);
    c2_list_append(&fs->dentry_lru, &e->lru);
    return e;
}

static void
dentry_free(struct fs *fs, struct fs_dentry *e)
{
    C2_ASSERT(!e->dirty_journal && !e->dirty_commit && !c2_link_linked(&e->dir_link));
    struct fs_inode *dir = e->cut_txg == 0 ? NULL : fs_inode_peek(fs, e->dir);
    if (dir != NULL)
        dir->names_forgotten++;
    if (c2_link_linked(&e->lru))
        c2_list_remove(&fs->dentry_lru, &e->lru);
    c2_map_remove(&fs->dentries, &e->node);
    c2_free(e);
}

void
fs_dentry_settle(struct fs *fs, struct fs_dentry *e)
{
    if (c2_link_linked(&e->lru))
        c2_list_remove(&fs->dentry_lru, &e->lru);
    if (e->pins > 0 || e->dirty_journal || e->dirty_commit)
        return;
    struct fs_inode *dir = fs_inode_peek(fs, e->dir);
    if (c2_link_linked(&e->dir_link)) {
        c2_list_remove(&dir->dirty_entries, &e->dir_link);
        fs_inode_settle(fs, dir);
    }
    c2_list_append(&fs->dentry_lru, &e->lru);
    while (fs->dentry_lru.count > fs->conf.dentries_max)
        dentry_free(fs, C2_LIST_FIRST(&fs->dentry_lru, struct fs_dentry, lru));
}

C2_RESULT
fs_dentry_find(struct fs_req *r, struct fs_inode *dir, const char *name,
               struct fs_dentry **ret_dentry)
{
    struct fs *fs = r->fs;
    if (strlen(name) > FS_NAME_MAX)
        return C2_E_NAME_TOO_LONG;
    uint8_t hash[KEYS_NAME_HASH_LEN];
    keys_name_hash(fs->part.keys, dir->ino, c2_slice_str(name), hash);
    struct fs_dentry *e = fs_dentry_peek(fs, dir->ino, hash, name);
    /* A directory that no group holds yet has only the entries that are here. */
    if (e == NULL && dir->is_new)
        e = fs_dentry_insert(fs, dir->ino, name);
    if (e == NULL) {
        fs_load_dentry(r, dir->ino, hash, name);
        return C2_E_AGAIN;
    }
    fs_dentry_settle(fs, e);
    *ret_dentry = e;
    return C2_E_OK;
}

static void
mark_dirty(struct fs *fs, struct fs_inode *dir, struct fs_dentry *e)
{
    if (!e->dirty_journal) {
        e->dirty_journal = true;
        c2_list_append(&fs->journal_dentries, &e->journal_link);
    }
    if (!e->dirty_commit) {
        e->dirty_commit = true;
        fs->ready_items++;
        c2_list_append(&fs->commit_dentries, &e->commit_link);
    }
    if (!c2_link_linked(&e->dir_link))
        c2_list_append(&dir->dirty_entries, &e->dir_link);
    if (c2_link_linked(&e->lru))
        c2_list_remove(&fs->dentry_lru, &e->lru);
    if (c2_link_linked(&dir->lru))
        c2_list_remove(&fs->inode_lru, &dir->lru);
}

void
fs_dentry_set(struct fs *fs, struct fs_inode *dir, struct fs_dentry *e, struct fs_inode *child)
{
    C2_ASSERT(e->dir == dir->ino);
    e->ino = child == NULL ? 0 : child->ino;
    e->type = child == NULL ? 0 : child->attr.mode & S_IFMT;
    mark_dirty(fs, dir, e);
    fs_inode_touch(fs, dir, FS_SET_MTIME | FS_SET_CTIME);
}

void
fs_dentry_restore(struct fs *fs, struct fs_inode *dir, struct fs_dentry *e, uint64_t ino,
                  uint32_t type)
{
    e->ino = ino;
    e->type = type;
    mark_dirty(fs, dir, e);
    e->dirty_journal = false;
    c2_list_remove(&fs->journal_dentries, &e->journal_link);
}
