/* SPDX-License-Identifier: MIT */
/*
 * Names, for one window of inodes after the other:
 *
 *   I (until the window is full) --> D (all: who leads into the window, what is in its folders)
 *     --> G (all) --> judge --> next window ... --> do all folders hang from the root?
 *
 * More than FSCK_FOLDERS folders are not followed to the root.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "fs/fsck_impl.h"
#include "fs/records.h"

#define KEY_INODE  9u
#define KEY_DENTRY (9u + KEYS_NAME_HASH_LEN)

static fsck_step inodes_read, entries_read, orphans_read;

static unsigned long long
llu(uint64_t v)
{
    return (unsigned long long)v;
}

/* ---- inodes --------------------------------------------------------------------------------- */

static struct fsck_node *
node_of(struct fsck *f, uint64_t ino)
{
    size_t low = 0, high = f->nnodes;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (f->nodes[middle].ino < ino)
            low = middle + 1;
        else
            high = middle;
    }
    return low < f->nnodes && f->nodes[low].ino == ino ? &f->nodes[low] : NULL;
}

static bool
in_window(const struct fsck *f, uint64_t ino)
{
    return ino >= f->from_ino && ino <= f->to_ino;
}

static void
note_inode(struct fsck *f, struct fsck_node *n, const struct fs_inode *i)
{
    struct fs_fsck_counts *c = &f->k->counts;
    n->mode = i->attr.mode;
    n->nlink = i->attr.nlink;
    n->parent = S_ISDIR(n->mode) ? i->parent : 0;
    f->sum_bytes += S_ISREG(n->mode) ? (int64_t)fs_counted_bytes(i->attr.size) : 0;
    c->folders += S_ISDIR(n->mode);
    if (i->ino != n->ino)
        fsck_problem(f, FSCK_LOST, "inode %llu: its record says that it is inode %llu", llu(n->ino),
                     llu(i->ino));
}

static bool
visit_inode(struct fsck *f, const struct coord_entry *e)
{
    size_t max = f->k->window_inodes != 0 ? f->k->window_inodes : FS_FSCK_INODES;
    struct c2_buf plain = { 0 };
    struct fs_inode i = { 0 };
    if (f->nnodes == max)
        return false;
    if (e->key.len != KEY_INODE)
        return true;
    if (f->nnodes == f->nodes_cap) {
        f->nodes_cap = f->nodes_cap == 0 ? 1024 : 2 * f->nodes_cap;
        f->nodes = c2_realloc(f->nodes, f->nodes_cap, sizeof(*f->nodes));
    }
    struct fsck_node *n = &f->nodes[f->nnodes++];
    *n = (struct fsck_node){ .ino = c2_get_be64(e->key.data + 1) };
    f->k->counts.inodes++;
    f->sum_files += n->ino != FS_ROOT_INO;
    f->ino_max = C2_MAX(f->ino_max, n->ino);
    enum c2_err err = keys_open(f->k->keys, e->key, e->value, &plain);
    struct c2_rd r = c2_rd_init(c2_buf_slice(&plain));
    if (err == C2_E_OK)
        err = fs_inode_record_decode(&r, &i);
    if (err == C2_E_OK)
        note_inode(f, n, &i);
    else
        fsck_problem(f, FSCK_LOST, "inode %llu: its record cannot be read: %s", llu(n->ino),
                     c2_err_text(err));
    c2_free(i.symlink);
    c2_buf_done(&i.xattrs);
    c2_buf_done(&plain);
    return true;
}

static void
next_window(struct fsck *f)
{
    f->nnodes = 0;
    fsck_walk(f, 'I', &f->inodes_after, visit_inode, inodes_read);
}

static bool visit_entry(struct fsck *f, const struct coord_entry *e);

static void
inodes_read(struct fsck *f, enum c2_err err)
{
    (void)err; /* the walk ends everything when it fails */
    f->to_ino = f->cut_short ? f->nodes[f->nnodes - 1].ino : UINT64_MAX;
    f->inodes_after = f->cursor;
    fsck_walk(f, 'D', NULL, visit_entry, entries_read);
}

/* ---- entries -------------------------------------------------------------------------------- */

static void
drop_key(struct fsck *f, const struct coord_entry *e)
{
    struct fsck_fix *fix = fsck_fix(f, FSCK_DELETE_KEY);
    if (fix == NULL)
        return;
    fix->key.len = C2_MIN(e->key.len, sizeof(fix->key.bytes));
    memcpy(fix->key.bytes, e->key.data, fix->key.len);
    fix->version = e->version;
}

static void
fix_entry(struct fsck *f, enum fsck_fix_kind kind, uint64_t dir, const struct fs_dentry_record *rec)
{
    struct fsck_fix *fix = fsck_fix(f, kind);
    if (fix == NULL)
        return;
    fix->dir = dir;
    fix->ino = rec->ino;
    fix->name = c2_strdup(rec->name);
}

/* False: the entry goes, because its folder is none. */
static bool
check_folder(struct fsck *f, const struct coord_entry *e, uint64_t dir,
             const struct fs_dentry_record *rec)
{
    struct fsck_node *d = node_of(f, dir);
    if (!in_window(f, dir))
        return true;
    if (d == NULL || (d->mode != 0 && !S_ISDIR(d->mode))) {
        fsck_problem(f, FSCK_MENDABLE, "entry \"%s\" of inode %llu is in inode %llu, which is %s",
                     rec->name, llu(rec->ino), llu(dir), d == NULL ? "not there" : "no folder");
        drop_key(f, e);
        return false;
    }
    d->subdirs += S_ISDIR(rec->type);
    return true;
}

static void
check_child(struct fsck *f, uint64_t dir, const struct fs_dentry_record *rec)
{
    struct fsck_node *n = node_of(f, rec->ino);
    if (!in_window(f, rec->ino))
        return;
    if (n == NULL) {
        fsck_problem(f, FSCK_LOST,
                     "entry \"%s\" in folder %llu leads to inode %llu, which is not there",
                     rec->name, llu(dir), llu(rec->ino));
        fix_entry(f, FSCK_UNNAME, dir, rec);
        return;
    }
    n->entries++;
    n->seen_in = dir;
    if (n->mode != 0 && (n->mode & S_IFMT) != rec->type) {
        fsck_problem(f, FSCK_MENDABLE,
                     "entry \"%s\" in folder %llu: its type is not that of inode %llu", rec->name,
                     llu(dir), llu(rec->ino));
        fix_entry(f, FSCK_TYPE, dir, rec);
    }
}

static bool
visit_entry(struct fsck *f, const struct coord_entry *e)
{
    struct fs_dentry_record rec = { 0 };
    struct c2_buf plain = { 0 };
    uint8_t hash[KEYS_NAME_HASH_LEN];
    if (e->key.len != KEY_DENTRY)
        return true;
    uint64_t dir = c2_get_be64(e->key.data + 1);
    f->k->counts.entries += f->first_pass;
    enum c2_err err = keys_open(f->k->keys, e->key, e->value, &plain);
    struct c2_rd r = c2_rd_init(c2_buf_slice(&plain));
    if (err == C2_E_OK)
        err = fs_dentry_record_decode(&r, &rec);
    if (err == C2_E_OK)
        err = c2_rd_finish(&r);
    c2_buf_done(&plain);
    if (err != C2_E_OK) {
        if (f->first_pass)
            fsck_problem(f, FSCK_LOST, "an entry in folder %llu cannot be read: %s", llu(dir),
                         c2_err_text(err));
        return true;
    }
    keys_name_hash(f->k->keys, dir, c2_slice_str(rec.name), hash);
    if (f->first_pass && memcmp(hash, e->key.data + KEY_INODE, sizeof(hash)) != 0)
        fsck_problem(f, FSCK_STAYS, "entry \"%s\" in folder %llu is not where its name leads to",
                     rec.name, llu(dir));
    if (check_folder(f, e, dir, &rec))
        check_child(f, dir, &rec);
    return true;
}

static bool visit_orphan(struct fsck *f, const struct coord_entry *e);

static void
entries_read(struct fsck *f, enum c2_err err)
{
    (void)err;
    fsck_walk(f, 'G', NULL, visit_orphan, orphans_read);
}

/* ---- orphans -------------------------------------------------------------------------------- */

static bool
visit_orphan(struct fsck *f, const struct coord_entry *e)
{
    if (e->key.len != KEY_INODE)
        return true;
    uint64_t ino = c2_get_be64(e->key.data + 1);
    struct fsck_node *n = node_of(f, ino);
    if (e->value.len > 0) {
        f->k->counts.garbage += f->first_pass;
        if (n != NULL)
            fsck_problem(f, FSCK_STAYS, "inode %llu is there and deleted", llu(ino));
        return true;
    }
    if (!in_window(f, ino))
        return true;
    if (n == NULL) {
        fsck_problem(f, FSCK_MENDABLE, "orphan record of inode %llu, which is not there", llu(ino));
        drop_key(f, e);
        return true;
    }
    n->orphan = true;
    return true;
}

/* ---- judging -------------------------------------------------------------------------------- */

static void
fix_links(struct fsck *f, const struct fsck_node *n, uint64_t nlink)
{
    struct fsck_fix *fix = fsck_fix(f, FSCK_LINKS);
    if (fix == NULL)
        return;
    fix->ino = n->ino;
    fix->number = (int64_t)nlink - n->nlink;
}

static void
judge_folder(struct fsck *f, const struct fsck_node *n)
{
    bool root = n->ino == FS_ROOT_INO;
    uint64_t seen_in = root ? FS_ROOT_INO : n->seen_in;
    if (n->entries > (root ? 0u : 1u))
        fsck_problem(f, FSCK_STAYS, "folder %llu has %u names", llu(n->ino), n->entries);
    if (n->parent != seen_in && n->entries <= 1) {
        fsck_problem(f, FSCK_MENDABLE, "folder %llu: .. leads to %llu, it is in %llu", llu(n->ino),
                     llu(n->parent), llu(seen_in));
        struct fsck_fix *fix = fsck_fix(f, FSCK_PARENT);
        if (fix != NULL) {
            fix->ino = n->ino;
            fix->dir = seen_in;
        }
    }
}

static void
judge_unnamed(struct fsck *f, const struct fsck_node *n)
{
    if (n->orphan) {
        f->k->counts.open_orphans++;
        return;
    }
    fsck_problem(f, FSCK_MENDABLE, "inode %llu has no name", llu(n->ino));
    struct fsck_fix *fix = n->mode != 0 ? fsck_fix(f, FSCK_NAME) : NULL;
    if (fix == NULL)
        return;
    fix->ino = n->ino;
    fix->number = S_ISDIR(n->mode) ? 2 + (int64_t)n->subdirs : 1;
}

static void
judge(struct fsck *f, const struct fsck_node *n)
{
    uint64_t nlink = S_ISDIR(n->mode) ? 2 + (uint64_t)n->subdirs : n->entries;
    if (n->entries == 0 && n->ino != FS_ROOT_INO) {
        judge_unnamed(f, n);
        return;
    }
    if (n->orphan) {
        fsck_problem(f, FSCK_MENDABLE, "inode %llu has a name, and an orphan record", llu(n->ino));
        struct fsck_fix *fix = fsck_fix(f, FSCK_DELETE_KEY);
        if (fix != NULL)
            fix->key = ck_orphan(n->ino);
    }
    if (n->mode == 0)
        return;
    if (S_ISDIR(n->mode))
        judge_folder(f, n);
    if (n->nlink == nlink)
        return;
    fsck_problem(f, FSCK_MENDABLE, "inode %llu: its link count is %u, should be %llu", llu(n->ino),
                 n->nlink, llu(nlink));
    fix_links(f, n, nlink);
}

static void
keep_folder(struct fsck *f, const struct fsck_node *n)
{
    if (!S_ISDIR(n->mode) || f->nfolders == FSCK_FOLDERS)
        return;
    if (f->nfolders == f->folders_cap) {
        f->folders_cap = f->folders_cap == 0 ? 256 : 2 * f->folders_cap;
        f->folders = c2_realloc(f->folders, f->folders_cap, sizeof(*f->folders));
    }
    f->folders[f->nfolders++] = (struct fsck_folder){ .ino = n->ino, .parent = n->seen_in };
}

/* ---- the tree ------------------------------------------------------------------------------- */

struct fsck_folder *
fsck_folder(struct fsck *f, uint64_t ino)
{
    size_t low = 0, high = f->nfolders;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (f->folders[middle].ino < ino)
            low = middle + 1;
        else
            high = middle;
    }
    return low < f->nfolders && f->folders[low].ino == ino ? &f->folders[low] : NULL;
}

/* Upwards from each folder to the root, to one that leads there, or to one that was reported for
 * another reason; back to where this walk has been is a circle. */
static void
check_tree(struct fsck *f)
{
    for (size_t k = 0; k < f->nfolders; k++) {
        uint32_t mark = (uint32_t)k + 1;
        struct fsck_folder *d = &f->folders[k];
        while (d != NULL && d->mark == 0) {
            d->mark = mark;
            d = d->ino == FS_ROOT_INO ? NULL : fsck_folder(f, d->parent);
        }
        if (d != NULL && d->mark == mark)
            fsck_problem(f, FSCK_STAYS, "folder %llu is in itself: it does not hang from the root",
                         llu(d->ino));
    }
}

static void
orphans_read(struct fsck *f, enum c2_err err)
{
    (void)err;
    for (size_t k = 0; k < f->nnodes; k++) {
        judge(f, &f->nodes[k]);
        keep_folder(f, &f->nodes[k]);
    }
    if (f->first_pass && node_of(f, FS_ROOT_INO) == NULL)
        fsck_problem(f, FSCK_LOST, "the root folder is not there");
    f->first_pass = false;
    if (f->to_ino != UINT64_MAX) {
        f->from_ino = f->to_ino + 1;
        next_window(f);
        return;
    }
    check_tree(f);
    fsck_objects_start(f);
}

void
fsck_names_start(struct fsck *f)
{
    f->first_pass = true;
    f->from_ino = 0;
    f->inodes_after = ck_letter('I');
    next_window(f);
}
