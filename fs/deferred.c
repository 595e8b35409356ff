/* SPDX-License-Identifier: MIT */
#include "fs/deferred.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "fs/fs.h"
#include "fs/load.h"
#include "fs/txg.h"

#define RETRY_NS (5 * C2_NS_PER_S)

struct fs_deferred {
    struct fs *fs;
    struct c2_list files; /* fs_inode.deferred_link, one pin each */
    struct c2_timer timer;
    bool loading, told;
};

/* ---- the stand-in ---------------------------------------------------------------------------- */

static bool
is_stand_in(struct fs_source *s)
{
    if (s->kind != FS_SOURCE_OBJECT || s == &s->fs->unknown)
        return false;
    const struct fs_object *o = C2_CONTAINER_OF(s, struct fs_object, source);
    return fs_object_is_nowhere(o) && o->ref.oid.seq == FS_OBJECT_STAND_IN;
}

void
fs_deferred_add(struct fs *fs, struct fs_inode *i)
{
    static const struct ds_ref ref = { .oid = { .seq = FS_OBJECT_STAND_IN },
                                       .plain_len = FS_FILE_SIZE_MAX };
    C2_ASSERT(i->map == NULL && i->manifest != NULL && !c2_link_linked(&i->deferred_link));
    C2_MARK("deferred: a large file that the journal has changes of");
    i->map = fs_map_new();
    if (i->committed_size > 0) {
        struct fs_object *o = fs_object_get(fs, &ref);
        fs_map_set(&i->map, 0, i->committed_size, &o->source, 0);
        fs_source_unref(&o->source);
    }
    fs_inode_pin(fs, i);
    c2_list_append(&fs->deferred->files, &i->deferred_link);
}

struct fs_map *
fs_deferred_merge(struct fs_map *content, const struct fs_map *changes)
{
    struct fs_map *m = fs_map_ref(content);
    uint64_t at = 0;
    for (size_t k = 0; k < changes->n; k++) {
        const struct fs_extent *e = &changes->e[k];
        if (e->off > at)
            fs_map_punch(&m, at, e->off - at);
        if (!is_stand_in(e->source))
            fs_map_set(&m, e->off, e->len, e->source, e->source_off);
        at = e->off + e->len;
    }
    fs_map_punch(&m, at, UINT64_MAX);
    return m;
}

/* ---- the end of waiting ---------------------------------------------------------------------- */

static void
remove_file(struct fs *fs, struct fs_inode *i)
{
    struct fs_deferred *d = fs->deferred;
    c2_list_remove(&d->files, &i->deferred_link);
    fs_inode_unpin(fs, i);
    /* Not here: the caller may be in the middle of a change. */
    if (c2_list_empty(&d->files) && !fs->stopping)
        c2_timer_arm(fs->part.env, &d->timer, c2_now_ns(fs->part.env));
}

void
fs_deferred_loaded(struct fs *fs, struct fs_inode *i, struct fs_map *content)
{
    struct fs_map *changes = i->map, *journaled = i->journaled;
    i->map = fs_deferred_merge(content, changes);
    i->journaled =
        journaled == changes ? fs_map_ref(i->map) : fs_deferred_merge(content, journaled);
    i->committed = fs_map_ref(content);
    i->tail = NULL;
    fs_map_unref(changes);
    fs_map_unref(journaled);
    remove_file(fs, i);
}

void
fs_deferred_forget(struct fs *fs, struct fs_inode *i)
{
    if (!c2_link_linked(&i->deferred_link))
        return;
    C2_MARK("deferred: the file is deleted before its extents were here");
    fs_map_unref(i->map);
    fs_map_unref(i->journaled);
    i->map = i->journaled = NULL;
    remove_file(fs, i);
}

/* ---- loading --------------------------------------------------------------------------------- */

static void load_next(struct fs_deferred *d);

static void
loaded(void *arg, enum c2_err err)
{
    struct fs_deferred *d = arg;
    struct fs *fs = d->fs;
    d->loading = false;
    if (fs->stopping)
        return;
    if (err == C2_E_OK) {
        load_next(d);
        return;
    }
    if (!d->told)
        c2_log(WARN, "mount",
               "files=%zu err=%s the extents of changed files cannot be read from the providers, "
               "uploads wait for them, trying again",
               d->files.count, c2_err_name(err));
    d->told = true;
    /* Another one may be readable. */
    struct fs_inode *first = C2_LIST_FIRST(&d->files, struct fs_inode, deferred_link);
    if (first != NULL) {
        c2_list_remove(&d->files, &first->deferred_link);
        c2_list_append(&d->files, &first->deferred_link);
        c2_timer_arm(fs->part.env, &d->timer, c2_now_ns(fs->part.env) + RETRY_NS);
    }
}

static void
load_next(struct fs_deferred *d)
{
    struct fs_inode *i = C2_LIST_FIRST(&d->files, struct fs_inode, deferred_link);
    if (i == NULL || d->loading || d->fs->stopping)
        return;
    d->loading = true;
    fs_load_content_for(d->fs, i, loaded, d);
}

static void
due(struct c2_timer *t)
{
    struct fs_deferred *d = C2_CONTAINER_OF(t, struct fs_deferred, timer);
    if (!c2_list_empty(&d->files)) {
        load_next(d);
        return;
    }
    if (d->told)
        c2_log(INFO, "mount", "the extents of all changed files are here, uploads go on");
    fs_txgs_resume(d->fs);
}

void
fs_deferred_start(struct fs *fs)
{
    load_next(fs->deferred);
}

void
fs_deferred_stop(struct fs *fs)
{
    c2_timer_stop(fs->part.env, &fs->deferred->timer);
}

uint64_t
fs_deferred_files(const struct fs *fs)
{
    return fs->deferred->files.count;
}

void
fs_deferred_describe(const struct fs *fs, char out[FS_DESCRIPTION_MAX])
{
    const struct fs_inode *i = C2_LIST_FIRST(&fs->deferred->files, struct fs_inode, deferred_link);
    out[0] = '\0';
    if (i != NULL)
        fs_describe_inode(fs, i->ino, out);
}

struct fs_deferred *
fs_deferred_new(struct fs *fs)
{
    struct fs_deferred *d = c2_calloc(1, sizeof(*d));
    d->fs = fs;
    d->timer.fire = due;
    c2_list_init(&d->files);
    return d;
}

void
fs_deferred_free(struct fs_deferred *d)
{
    c2_free(d);
}
