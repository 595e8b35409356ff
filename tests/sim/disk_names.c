/* SPDX-License-Identifier: MIT */
/*
 * Bytes and names of the disk. Names are absolute paths in two tables, as the kernel sees them and
 * as they are on the platter; `changes` are the differences of both, in order. A file has its bytes
 * in the page cache and on the platter, and the writes between.
 */
#include "base/alloc.h"
#include "base/mark.h"
#include "tests/sim/disk_int.h"

#include <string.h>

#define DIR_CHAR '/'

/* ---- bytes ----------------------------------------------------------------------------------- */

static void
bytes_resize(struct bytes *b, size_t len)
{
    if (len > b->cap) {
        b->cap = C2_MAX(len, C2_MIN(b->cap * 2, b->cap + (1u << 20)));
        b->data = c2_realloc(b->data, b->cap, 1);
    }
    if (len > b->len)
        memset(b->data + b->len, 0, len - b->len);
    b->len = len;
}

void
disk_bytes_write(struct bytes *b, uint64_t off, const uint8_t *data, size_t len)
{
    if (len == 0)
        return;
    if (off + len > b->len)
        bytes_resize(b, (size_t)off + len);
    memcpy(b->data + off, data, len);
}

void
disk_pending_free(struct file *f, struct pending *p)
{
    c2_list_remove(&f->pending, &p->link);
    c2_free(p->data);
    c2_free(p);
}

void
disk_pending_apply(struct file *f, struct pending *p)
{
    if (p->data == NULL)
        bytes_resize(&f->platter, (size_t)p->off);
    else
        disk_bytes_write(&f->platter, p->off, p->data, p->len);
    disk_pending_free(f, p);
}

void
disk_file_sync(struct file *f)
{
    C2_LIST_FOREACH (&f->pending, struct pending, p, link)
        disk_pending_apply(f, p);
}

struct file *
disk_file_new(bool is_dir)
{
    struct file *f = c2_calloc(1, sizeof *f);
    f->is_dir = is_dir;
    c2_list_init(&f->pending);
    return f;
}

struct file *
disk_file_ref(struct file *f)
{
    f->refs++;
    return f;
}

void
disk_file_unref(struct sim_disk *d, struct file *f)
{
    C2_ASSERT(f->refs > 0);
    if (--f->refs > 0)
        return;
    C2_LIST_FOREACH (&f->pending, struct pending, p, link)
        disk_pending_free(f, p);
    d->used -= f->cache.len;
    c2_free(f->cache.data);
    c2_free(f->platter.data);
    c2_free(f);
}

static C2_RESULT
file_resize_cache(struct sim_disk *d, struct file *f, uint64_t len)
{
    if (len > f->cache.len && d->capacity > 0 && d->used + (len - f->cache.len) > d->capacity) {
        C2_MARK("sim: disk full");
        return C2_E_NO_SPACE;
    }
    d->used += len;
    d->used -= f->cache.len;
    bytes_resize(&f->cache, (size_t)len);
    return C2_E_OK;
}

C2_RESULT
disk_file_write(struct sim_disk *d, struct file *f, uint64_t off, const uint8_t *data, size_t len)
{
    if (len == 0)
        return C2_E_OK;
    if (off + len > f->cache.len)
        C2_TRY(file_resize_cache(d, f, off + len));
    disk_bytes_write(&f->cache, off, data, len);
    f->mtime_ns = d->w->now_ns;
    struct pending *p = c2_calloc(1, sizeof *p);
    p->off = off;
    p->len = len;
    p->data = c2_alloc(len);
    memcpy(p->data, data, len);
    c2_list_append(&f->pending, &p->link);
    return C2_E_OK;
}

C2_RESULT
disk_file_truncate(struct sim_disk *d, struct file *f, uint64_t len)
{
    C2_TRY(file_resize_cache(d, f, len));
    struct pending *p = c2_calloc(1, sizeof *p);
    p->off = len;
    c2_list_append(&f->pending, &p->link);
    return C2_E_OK;
}

/* ---- names ----------------------------------------------------------------------------------- */

struct name *
disk_find(const struct names *names, const char *path)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->n[i].path, path) == 0)
            return &names->n[i];
    }
    return NULL;
}

void
disk_names_remove(struct sim_disk *d, struct names *names, const char *path)
{
    struct name *n = disk_find(names, path);
    if (n == NULL)
        return;
    disk_file_unref(d, n->file);
    c2_free(n->path);
    *n = names->n[--names->count];
}

void
disk_names_add(struct sim_disk *d, struct names *names, const char *path, struct file *f)
{
    disk_file_ref(f);
    disk_names_remove(d, names, path);
    if (names->count == names->cap) {
        names->cap = C2_MAX(16, 2 * names->cap);
        names->n = c2_realloc(names->n, names->cap, sizeof *names->n);
    }
    names->n[names->count++] = (struct name){ .path = c2_strdup(path), .file = f };
}

void
disk_names_change(struct sim_disk *d, struct names *names, const struct change *c)
{
    if (c->remove != NULL)
        disk_names_remove(d, names, c->remove);
    if (c->add != NULL)
        disk_names_add(d, names, c->add, c->file);
}

void
disk_change_free(struct sim_disk *d, struct change *c)
{
    c2_list_remove(&d->changes, &c->link);
    if (c->file != NULL)
        disk_file_unref(d, c->file);
    c2_free(c->remove);
    c2_free(c->add);
    c2_free(c);
}

void
disk_change(struct sim_disk *d, const char *remove, const char *add, struct file *f)
{
    struct change *c = c2_calloc(1, sizeof *c);
    c->remove = remove != NULL ? c2_strdup(remove) : NULL;
    c->add = add != NULL ? c2_strdup(add) : NULL;
    c->file = f != NULL ? disk_file_ref(f) : NULL;
    c2_list_append(&d->changes, &c->link);
    disk_names_change(d, &d->cache, c);
}

size_t
disk_parent_len(const char *path)
{
    const char *slash = strrchr(path, DIR_CHAR);
    C2_ASSERT(slash != NULL);
    return (size_t)(slash - path);
}

bool
disk_is_parent(const char *dir, const char *path)
{
    size_t len = strlen(dir);
    return disk_parent_len(path) == len && strncmp(dir, path, len) == 0;
}

bool
disk_change_is_in(const struct change *c, const char *dir)
{
    return (c->remove != NULL && disk_is_parent(dir, c->remove)) ||
           (c->add != NULL && disk_is_parent(dir, c->add));
}

void
disk_sync_dir(struct sim_disk *d, const char *dir)
{
    C2_LIST_FOREACH (&d->changes, struct change, c, link) {
        if (disk_change_is_in(c, dir)) {
            disk_names_change(d, &d->platter, c);
            disk_change_free(d, c);
        }
    }
}

bool
disk_dir_exists(const struct names *names, const char *path, size_t len)
{
    if (len == 0)
        return true;
    for (size_t i = 0; i < names->count; i++) {
        if (names->n[i].file->is_dir && strlen(names->n[i].path) == len &&
            strncmp(names->n[i].path, path, len) == 0)
            return true;
    }
    return false;
}

void
disk_make_dirs(struct sim_disk *d, const char *path, bool durable)
{
    for (size_t len = 1; len <= strlen(path); len++) {
        if (path[len] != '\0' && path[len] != DIR_CHAR)
            continue;
        char *part = c2_strndup(path, len);
        if (disk_find(&d->cache, part) == NULL)
            disk_change(d, NULL, part, disk_file_new(true));
        if (durable) {
            char *parent = c2_strndup(part, disk_parent_len(part));
            disk_sync_dir(d, parent);
            c2_free(parent);
        }
        c2_free(part);
    }
}
