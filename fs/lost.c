/* SPDX-License-Identifier: MIT */
#include "fs/lost.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mark.h"
#include "fs/fs.h"

bool
fs_object_is_lost(const struct fs_object *o)
{
    return fs_object_is_nowhere(o) && o->ref.oid.seq == FS_OBJECT_LOST;
}

struct fs_object *
fs_object_lost(struct fs *fs)
{
    const struct ds_ref ref = { .oid = { .seq = FS_OBJECT_LOST }, .plain_len = FS_FILE_SIZE_MAX };
    return fs_object_get(fs, &ref);
}

bool
fs_map_has_lost(const struct fs_map *m)
{
    for (size_t k = 0; m != NULL && k < m->n; k++) {
        uint64_t off;
        struct fs_source *s = fs_extent_source(&m->e[k], &off);
        if (s->kind == FS_SOURCE_OBJECT &&
            fs_object_is_lost(C2_CONTAINER_OF(s, struct fs_object, source)))
            return true;
    }
    return false;
}

/* A name that leads to the inode, if one is in memory. */
static const struct fs_dentry *
find_name(const struct fs *fs, uint64_t ino)
{
    for (struct c2_map_node *n = c2_map_next(&fs->dentries, NULL); n != NULL;
         n = c2_map_next(&fs->dentries, n)) {
        const struct fs_dentry *e = C2_CONTAINER_OF(n, struct fs_dentry, node);
        if (e->ino == ino)
            return e;
    }
    return NULL;
}

void
fs_describe_inode(const struct fs *fs, uint64_t ino, char out[FS_DESCRIPTION_MAX])
{
    const struct fs_dentry *e = find_name(fs, ino);
    (void)snprintf(out, FS_DESCRIPTION_MAX, "%.40s%s(inode %llu)", e == NULL ? "" : e->name,
                   e == NULL ? "" : " ", (unsigned long long)ino);
}

static void
note_file(struct fs *fs, uint64_t ino)
{
    struct fs_lost *l = &fs->lost;
    char name[FS_DESCRIPTION_MAX];
    size_t known = C2_MIN(l->files, (uint64_t)FS_LOST_NAMES);
    for (size_t k = 0; k < known; k++) {
        if (l->inos[k] == ino)
            return;
    }
    size_t len = strlen(l->text);
    fs_describe_inode(fs, ino, name);
    if (l->files < FS_LOST_NAMES) {
        l->inos[l->files] = ino;
        (void)snprintf(l->text + len, sizeof(l->text) - len, "%s%s", len == 0 ? "" : ", ", name);
    }
    l->files++;
    c2_log(ERROR, "lost",
           "file=\"%s\" data is lost: the journal on the local disk is damaged, reads of it fail "
           "until it is written again",
           name);
}

void
fs_chunk_lose(struct fs *fs, struct fs_chunk *c)
{
    C2_ASSERT(c->object == NULL);
    C2_MARK("lost: a piece of the journal");
    c->object = fs_object_lost(fs);
    c->object_off = 0;
    c->uploading = false;
    fs_chunk_leave_journal(fs, c);
    fs->lost.bytes += c->len;
    if (c->source.refs > 1) /* else nothing needs it any more */
        note_file(fs, c->ino);
}

void
fs_inode_lose(struct fs *fs, struct fs_inode *i)
{
    C2_MARK("lost: the beginning of a file");
    struct fs_object *o = fs_object_lost(fs);
    if (i->map == NULL)
        i->map = fs_map_new();
    if (i->attr.size > 0)
        fs_map_set(&i->map, 0, i->attr.size, &o->source, 0);
    fs_source_unref(&o->source);
    fs->lost.bytes += i->attr.size;
    note_file(fs, i->ino);
}
