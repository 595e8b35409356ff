/* SPDX-License-Identifier: MIT */
/*
 * What was found and can be mended without loss:
 *
 *   KEYS (counters, records: transactions, while the store is still held; a condition for each
 *        says that it is as it was seen) --> release --> FILES (links, folders, names: through the
 *        mount's memory like any change, in the journal and the next group) --> PUBLISH --> done
 *
 * The mount may have changed a file meanwhile: link counts are corrected by a difference, an entry
 * only if it still leads where it did.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "fs/fsck_impl.h"
#include "fs/load.h"

#define LOST_FOUND "lost+found"

static void next_file_fix(struct fsck *f);

static bool
is_key_fix(const struct fsck_fix *x)
{
    return x->kind == FSCK_DELETE_KEY || x->kind == FSCK_PUT_COUNTER;
}

static void
mended(struct fsck *f)
{
    C2_MARK("fsck: mended");
    f->k->counts.repaired++;
}

static void
not_mended(struct fsck *f, const struct fsck_fix *x, const char *why)
{
    char text[FS_FSCK_TEXT_MAX];
    (void)snprintf(text, sizeof(text), "inode %llu: not repaired: %s", (unsigned long long)x->ino,
                   why);
    f->k->found(f->k, text);
}

/* ---- keys ----------------------------------------------------------------------------------- */

static void next_batch(struct fsck *f);

static void
batch_done(struct fsck *f, enum c2_err err)
{
    struct fs *fs = f->k->fs;
    size_t left = f->batch;
    coord_req_done(&f->req);
    f->req = (struct coord_req){ 0 };
    if (err == C2_E_CONFLICT || err == C2_E_SESSION)
        err = C2_E_FENCED;
    if (err != C2_E_OK) {
        fsck_end(f, err);
        return;
    }
    for (; left > 0; f->fix_at++) {
        const struct fsck_fix *x = &f->fixes[f->fix_at];
        if (!is_key_fix(x))
            continue;
        left--;
        mended(f);
        if (x->used == &f->used_bytes)
            fs->used_bytes += (uint64_t)(x->number - *x->used);
        else if (x->used == &f->used_files)
            fs->used_files += (uint64_t)(x->number - *x->used);
    }
    next_batch(f);
}

static void
add_to_batch(struct fsck *f, const struct fsck_fix *x, size_t *nconds)
{
    size_t n = f->batch++;
    c2_put_u64(f->values[n], (uint64_t)x->number);
    f->ops[n] = (struct coord_op){ .kind = COORD_DELETE, .key = ck_slice(&x->key) };
    if (x->kind == FSCK_PUT_COUNTER) {
        f->ops[n].kind = COORD_PUT;
        f->ops[n].value = c2_slice(f->values[n], sizeof(f->values[n]));
    }
    if (x->kind == FSCK_PUT_COUNTER || x->version != 0)
        f->conds[(*nconds)++] = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                                     .key = ck_slice(&x->key),
                                                     .number = x->version };
}

static void
next_batch(struct fsck *f)
{
    const struct fs_parts *part = &f->k->fs->part;
    size_t nconds = 2;
    f->batch = 0;
    for (size_t n = f->fix_at; n < f->nfixes && f->batch < FSCK_BATCH; n++)
        if (is_key_fix(&f->fixes[n]))
            add_to_batch(f, &f->fixes[n], &nconds);
    if (f->batch == 0) {
        fsck_release(f);
        f->fix_at = 0;
        next_file_fix(f);
        return;
    }
    f->conds[0] = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                       .key = part->fence_key,
                                       .number = part->fence_token };
    f->conds[1] = (struct coord_cond){ .kind = COORD_SESSION_ALIVE, .number = part->session };
    f->req = (struct coord_req){
        .verb = COORD_TXN, .conds = f->conds, .nconds = nconds, .ops = f->ops, .nops = f->batch
    };
    fsck_ask(f, batch_done);
}

/* ---- files: changes in memory --------------------------------------------------------------- */

static void
fix_next(struct c2_task *t)
{
    next_file_fix(C2_CONTAINER_OF(t, struct fsck, task));
}

static void
fix_over(struct fsck *f, const char *why)
{
    if (why == NULL)
        mended(f);
    else
        not_mended(f, &f->fixes[f->fix_at], why);
    f->fix_at++;
    f->task.run = fix_next;
    c2_defer(f->k->env, &f->task); /* there may be many, and most need not wait for anything */
}

static const char *
change_inode(struct fsck *f, const struct fsck_fix *x)
{
    struct fs *fs = f->k->fs;
    struct fs_inode *i = fs_inode_peek(fs, x->ino);
    if (i == NULL || i->attr.mode == 0 || i->gone || i->deleted)
        return "it is not there any more";
    int64_t nlink = (int64_t)i->attr.nlink + x->number;
    if (x->kind == FSCK_PARENT)
        i->parent = x->dir;
    else if (nlink < 1 || nlink > UINT32_MAX)
        return "its link count changed meanwhile";
    else
        i->attr.nlink = (uint32_t)nlink;
    fs_inode_dirty(fs, i);
    return NULL;
}

static struct fs_dentry *
entry_of(struct fs *fs, uint64_t dir, const char *name)
{
    uint8_t hash[KEYS_NAME_HASH_LEN];
    keys_name_hash(fs->part.keys, dir, c2_slice_str(name), hash);
    return fs_dentry_peek(fs, dir, hash, name);
}

static const char *
change_entry(struct fsck *f, const struct fsck_fix *x)
{
    struct fs *fs = f->k->fs;
    struct fs_inode *dir = fs_inode_peek(fs, x->dir), *child = fs_inode_peek(fs, x->ino);
    struct fs_dentry *e = entry_of(fs, x->dir, x->name);
    bool absent = child == NULL || child->attr.mode == 0;
    if (dir == NULL || dir->attr.mode == 0 || e == NULL || e->ino != x->ino)
        return "it changed meanwhile";
    if (absent != (x->kind == FSCK_UNNAME))
        return "what it leads to changed meanwhile";
    fs_dentry_set(fs, dir, e, absent ? NULL : child);
    return NULL;
}

static const char *
give_name(struct fsck *f, const struct fsck_fix *x)
{
    struct fs *fs = f->k->fs;
    struct fs_inode *dir = fs_inode_peek(fs, f->lost_found), *i = fs_inode_peek(fs, x->ino);
    struct fs_dentry *e = entry_of(fs, f->lost_found, f->name);
    if (dir == NULL || e == NULL || e->ino != 0)
        return "no name is free in /" LOST_FOUND;
    if (i == NULL || i->attr.mode == 0 || i->gone || i->orphaned || i->deleted)
        return "it is not there any more";
    i->attr.nlink = (uint32_t)x->number;
    fs_inode_dirty(fs, i);
    fs_dentry_set(fs, dir, e, i);
    if (!S_ISDIR(i->attr.mode))
        return NULL;
    i->parent = dir->ino;
    dir->attr.nlink++;
    return NULL;
}

/* ---- files: what has to be in memory first -------------------------------------------------- */

static void
inode_loaded(void *arg, enum c2_err err)
{
    struct fsck *f = arg;
    const struct fsck_fix *x = &f->fixes[f->fix_at];
    f->loading = false;
    if (err != C2_E_OK)
        fix_over(f, c2_err_text(err));
    else
        fix_over(f, x->kind == FSCK_NAME ? give_name(f, x) : change_inode(f, x));
}

static void
load_inode(struct fsck *f)
{
    const struct fsck_fix *x = &f->fixes[f->fix_at];
    f->loading = true;
    if (fs_inode_peek(f->k->fs, x->ino) != NULL)
        inode_loaded(f, C2_E_OK);
    else
        fs_load_inodes_for(f->k->fs, &x->ino, 1, inode_loaded, f);
}

static void requested(struct fs_req *r);

static void
request(struct fsck *f, enum fs_opcode op, uint64_t dir, const char *name)
{
    static const struct fs_req_ops ops = { .done = requested };
    f->fs_req = (struct fs_req){ .ops = &ops, .op = op, .ino = dir, .name = name, .mode = 0700 };
    f->requesting = true;
    fs_submit(f->k->fs, &f->fs_req);
}

/* lost+found is made or found, then the name in it, then the inode. */
static void
place_step(struct fsck *f, enum c2_err err, uint64_t ino)
{
    const struct fsck_fix *x = &f->fixes[f->fix_at];
    switch (f->mend_step) {
    case MEND_FOLDER:
        f->mend_step = MEND_PLACE;
        request(f, FS_LOOKUP, FS_ROOT_INO, LOST_FOUND);
        return;
    case MEND_PLACE:
        if (err != C2_E_OK) {
            fix_over(f, c2_err_text(err));
            return;
        }
        f->lost_found = ino;
        f->mend_step = MEND_ENTRY;
        (void)snprintf(f->name, sizeof(f->name), "#%llu", (unsigned long long)x->ino);
        request(f, FS_LOOKUP, f->lost_found, f->name);
        return;
    case MEND_ENTRY:
        if (err == C2_E_NOT_FOUND)
            load_inode(f);
        else
            fix_over(f, err == C2_E_OK ? "its name is taken" : c2_err_text(err));
        return;
    }
    C2_UNREACHABLE();
}

static void
requested(struct fs_req *r)
{
    struct fsck *f = C2_CONTAINER_OF(r, struct fsck, fs_req);
    const struct fsck_fix *x = &f->fixes[f->fix_at];
    enum c2_err err = r->err;
    uint64_t ino = err == C2_E_OK ? r->attr.ino : 0;
    f->requesting = false;
    fs_req_done(r);
    if (ino != 0)
        fs_lookup_forget(f->k->fs, ino, 1);
    if (f->canceled)
        fix_over(f, "interrupted");
    else if (x->kind == FSCK_NAME)
        place_step(f, err, ino);
    else
        fix_over(f, change_entry(f, x)); /* the entry is in memory, wherever it leads */
}

/* ---- files ---------------------------------------------------------------------------------- */

static void
published(struct fs_publish *p)
{
    struct fsck *f = C2_CONTAINER_OF(p, struct fsck, publish);
    fsck_end(f, p->err);
}

static void
publish(struct fsck *f)
{
    fs_changed(f->k->fs);
    f->publish = (struct fs_publish){ .sync = true, .done = published };
    fs_publish_start(f->k->fs, &f->publish);
}

static void
start_fix(struct fsck *f)
{
    const struct fsck_fix *x = &f->fixes[f->fix_at];
    struct fs *fs = f->k->fs;
    switch (x->kind) {
    case FSCK_LINKS:
    case FSCK_PARENT:
        load_inode(f);
        return;
    case FSCK_NAME:
        f->mend_step = f->lost_found == 0 ? MEND_FOLDER : MEND_PLACE;
        if (f->lost_found == 0)
            request(f, FS_MKDIR, FS_ROOT_INO, LOST_FOUND); /* EXISTS is fine */
        else
            place_step(f, C2_E_OK, f->lost_found);
        return;
    case FSCK_UNNAME:
    case FSCK_TYPE:
        request(f, FS_LOOKUP, x->dir, x->name);
        return;
    case FSCK_NEXT_INO:
        fs->next_ino = C2_MAX(fs->next_ino, (uint64_t)x->number);
        fix_over(f, NULL);
        return;
    case FSCK_DELETE_KEY:
    case FSCK_PUT_COUNTER:
        break;
    }
    C2_UNREACHABLE();
}

static void
next_file_fix(struct fsck *f)
{
    while (f->fix_at < f->nfixes && is_key_fix(&f->fixes[f->fix_at]))
        f->fix_at++;
    if (f->fix_at == f->nfixes)
        publish(f);
    else if (f->canceled || f->k->fs->fenced)
        fsck_end(f, f->canceled ? C2_E_CANCELED : C2_E_FENCED);
    else
        start_fix(f);
}

void
fsck_mend_start(struct fsck *f)
{
    if (f->nfixes > 0)
        next_batch(f);
    else
        fsck_end(f, C2_E_OK);
}

/* What loads or is published ends by itself. */
void
fsck_mend_stop(struct fsck *f)
{
    if (f->requesting)
        fs_interrupt(f->k->fs, &f->fs_req);
}
