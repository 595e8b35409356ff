/* SPDX-License-Identifier: MIT */
/*
 * Changing the content of a file. Bytes are copied once, into a chunk that the map points to;
 * sequential writes grow the last chunk, so that a small file is one chunk and a large one a row
 * of 1 MiB chunks. A frozen chunk never changes: an overwrite makes a new one.
 */
#include <string.h>

#include "base/alloc.h"
#include "fs/fs.h"

#define CHUNK_CAP_FIRST 4096u

static void
changed(struct fs *fs, struct fs_inode *i)
{
    fs_inode_touch(fs, i, FS_SET_MTIME | FS_SET_CTIME);
}

static void
set_size(struct fs *fs, struct fs_inode *i, uint64_t size)
{
    fs->used_bytes += fs_counted_bytes(size);
    fs->used_bytes -= C2_MIN(fs->used_bytes, fs_counted_bytes(i->attr.size));
    i->attr.size = size;
}

/* Room for `want` more bytes at the end of a growing chunk; how many there are then. */
static uint32_t
chunk_room(struct fs *fs, struct fs_chunk *c, size_t want)
{
    size_t need = C2_MIN(c->len + want, (size_t)FS_CHUNK_SIZE_MAX);
    if (need > c->cap) {
        uint32_t cap = C2_MAX(c->cap, CHUNK_CAP_FIRST);
        while (cap < need)
            cap = C2_MIN(cap * 2, FS_CHUNK_SIZE_MAX);
        c->mem = c2_realloc(c->mem, cap, 1);
        fs->chunk_bytes += cap - c->cap;
        c->cap = cap;
    }
    return c->cap - c->len;
}

/* The chunk that ends where a write at off begins, if it may grow. */
static struct fs_chunk *
growing_chunk(const struct fs_inode *i, uint64_t off)
{
    struct fs_chunk *c = i->tail;
    const struct fs_extent *e = i->map->n == 0 ? NULL : &i->map->e[i->map->n - 1];
    /* First of all: it is alive when the map holds it. */
    if (c == NULL || e == NULL || e->source != &c->source)
        return NULL;
    if (c->frozen || c->mem == NULL || c->len >= FS_CHUNK_SIZE_MAX)
        return NULL;
    return e->off + e->len == off && e->source_off + e->len == c->len ? c : NULL;
}

/* An extent whose chunk can be overwritten in place at off: returns how many bytes. */
static size_t
overwrite(struct fs_inode *i, uint64_t off, struct c2_slice data)
{
    size_t at = fs_map_find(i->map, off);
    if (at == i->map->n || i->map->e[at].off > off || i->map->e[at].source->kind != FS_SOURCE_CHUNK)
        return 0;
    struct fs_extent *e = &i->map->e[at];
    struct fs_chunk *c = C2_CONTAINER_OF(e->source, struct fs_chunk, source);
    if (c->frozen || c->mem == NULL)
        return 0;
    uint64_t skip = off - e->off;
    size_t len = (size_t)C2_MIN(e->len - skip, data.len);
    memcpy(c->mem + e->source_off + skip, data.data, len);
    return len;
}

static size_t
append_or_insert(struct fs *fs, struct fs_inode *i, uint64_t off, struct c2_slice data)
{
    struct fs_chunk *c = growing_chunk(i, off);
    bool fresh = c == NULL;
    if (fresh) {
        c = fs_chunk_new(fs, (uint32_t)C2_MIN(C2_MAX(data.len, (size_t)CHUNK_CAP_FIRST),
                                              (size_t)FS_CHUNK_SIZE_MAX));
        c->ino = i->ino;
        c->dir_ino = i->dir_ino;
    }
    size_t len = C2_MIN(data.len, chunk_room(fs, c, data.len));
    memcpy(c->mem + c->len, data.data, len);
    fs_map_set(&i->map, off, len, &c->source, c->len);
    c->len += (uint32_t)len;
    const struct fs_extent *last = &i->map->e[i->map->n - 1];
    i->tail = last->source == &c->source ? c : NULL;
    if (fresh)
        fs_source_unref(&c->source); /* the map holds it now */
    return len;
}

void
fs_content_write(struct fs *fs, struct fs_inode *i, uint64_t off, struct c2_slice data)
{
    C2_ASSERT(i->map != NULL);
    if (data.len == 0)
        return;
    fs_inode_unpublish(fs, i);
    uint64_t end = off + data.len;
    while (data.len > 0) {
        size_t len = overwrite(i, off, data);
        if (len == 0) {
            /* Up to the next extent that could be overwritten in place; simply all of it: the map
             * replaces what is there. */
            len = append_or_insert(fs, i, off, data);
        }
        off += len;
        data = c2_slice(data.data + len, data.len - len);
    }
    if (end > i->attr.size)
        set_size(fs, i, end);
    changed(fs, i);
}

void
fs_content_truncate(struct fs *fs, struct fs_inode *i, uint64_t size)
{
    C2_ASSERT(i->map != NULL);
    fs_inode_unpublish(fs, i);
    if (size < i->attr.size)
        fs_map_punch(&i->map, size, UINT64_MAX);
    i->tail = NULL;
    set_size(fs, i, size);
    changed(fs, i);
}

void
fs_content_punch(struct fs *fs, struct fs_inode *i, uint64_t off, uint64_t len)
{
    C2_ASSERT(i->map != NULL);
    fs_inode_unpublish(fs, i);
    fs_map_punch(&i->map, off, len);
    i->tail = NULL;
    changed(fs, i);
}

void
fs_content_clone(struct fs *fs, struct fs_inode *from, uint64_t from_off, struct fs_inode *to,
                 uint64_t to_off, uint64_t len)
{
    struct fs_map *src = fs_map_ref(from->map);
    fs_inode_unpublish(fs, to);
    fs_map_punch(&to->map, to_off, len);
    to->tail = NULL;
    for (size_t k = fs_map_find(src, from_off); k < src->n && src->e[k].off < from_off + len; k++) {
        const struct fs_extent *e = &src->e[k];
        uint64_t off = C2_MAX(e->off, from_off);
        uint64_t end = C2_MIN(e->off + e->len, from_off + len);
        if (e->source->kind == FS_SOURCE_CHUNK)
            C2_CONTAINER_OF(e->source, struct fs_chunk, source)->frozen = true;
        fs_map_set(&to->map, to_off + (off - from_off), end - off, e->source,
                   e->source_off + (off - e->off));
    }
    fs_map_unref(src);
    if (to_off + len > to->attr.size)
        set_size(fs, to, to_off + len);
    changed(fs, to);
}

C2_RESULT
fs_content_seek(const struct fs_inode *i, uint64_t off, bool data, uint64_t *ret_off)
{
    if (off >= i->attr.size)
        return C2_E_NO_DEVICE;
    size_t at = fs_map_find(i->map, off);
    if (data) {
        if (at == i->map->n)
            return C2_E_NO_DEVICE;
        *ret_off = C2_MAX(off, i->map->e[at].off);
        return *ret_off < i->attr.size ? C2_E_OK : C2_E_NO_DEVICE;
    }
    while (at < i->map->n && i->map->e[at].off <= off) {
        off = i->map->e[at].off + i->map->e[at].len;
        at++;
    }
    *ret_off = C2_MIN(off, i->attr.size);
    return C2_E_OK;
}
