/* SPDX-License-Identifier: MIT */
/*
 * The disk of disk.h. Names are absolute paths in two tables, as the kernel sees them and as they
 * are on the platter; `changes` are the differences of both, in order. A file has its bytes in the
 * page cache and on the platter, and the writes between.
 *
 * A request takes effect at one moment and completes at a later one; both are events.
 */
#include "tests/sim/disk.h"

#include "base/alloc.h"
#include "base/mark.h"

#include <stdio.h>
#include <string.h>

#define SECTOR      512u
#define DIR_CHAR    '/'
#define TOTAL_BYTES (1ull << 40)

struct bytes {
    uint8_t *data;
    size_t len, cap;
};

/* A write since the last sync, or a truncation (data NULL). */
struct pending {
    struct c2_link link;
    uint64_t off;
    size_t len;
    uint8_t *data;
};

struct file {
    unsigned refs; /* names, changes and open handles */
    bool is_dir;
    uint64_t mtime_ns;
    struct bytes cache, platter;
    struct c2_list pending;
};

struct name {
    char *path;
    struct file *file;
};

struct names {
    struct name *n;
    size_t count, cap;
};

/* Removes one name and adds another in one step; either may be absent. */
struct change {
    struct c2_link link;
    char *remove, *add;
    struct file *file; /* of add */
};

struct handle {
    struct c2_link link;
    struct sim_node *node;
    struct file *file;
    int number;
};

struct sim_disk {
    struct sim_world *w;
    struct sim_rng rng;
    struct names cache, platter;
    struct c2_list changes;
    struct c2_list handles;
    struct c2_list requests; /* c2_disk_req.link */
    uint64_t capacity, used;
    uint64_t latency_max_ns;
    bool sync_fails; /* the next SYNC */
    int next_number;
    unsigned next_tmp;
};

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

static void
bytes_write(struct bytes *b, uint64_t off, const uint8_t *data, size_t len)
{
    if (len == 0)
        return;
    if (off + len > b->len)
        bytes_resize(b, (size_t)off + len);
    memcpy(b->data + off, data, len);
}

static void
pending_free(struct file *f, struct pending *p)
{
    c2_list_remove(&f->pending, &p->link);
    c2_free(p->data);
    c2_free(p);
}

static void
pending_apply(struct file *f, struct pending *p)
{
    if (p->data == NULL)
        bytes_resize(&f->platter, (size_t)p->off);
    else
        bytes_write(&f->platter, p->off, p->data, p->len);
    pending_free(f, p);
}

static void
file_sync(struct file *f)
{
    C2_LIST_FOREACH (&f->pending, struct pending, p, link)
        pending_apply(f, p);
}

static struct file *
file_new(bool is_dir)
{
    struct file *f = c2_calloc(1, sizeof *f);
    f->is_dir = is_dir;
    c2_list_init(&f->pending);
    return f;
}

static struct file *
file_ref(struct file *f)
{
    f->refs++;
    return f;
}

static void
file_unref(struct sim_disk *d, struct file *f)
{
    C2_ASSERT(f->refs > 0);
    if (--f->refs > 0)
        return;
    C2_LIST_FOREACH (&f->pending, struct pending, p, link)
        pending_free(f, p);
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

static C2_RESULT
file_write(struct sim_disk *d, struct file *f, uint64_t off, const uint8_t *data, size_t len)
{
    if (len == 0)
        return C2_E_OK;
    if (off + len > f->cache.len)
        C2_TRY(file_resize_cache(d, f, off + len));
    bytes_write(&f->cache, off, data, len);
    f->mtime_ns = d->w->now_ns;
    struct pending *p = c2_calloc(1, sizeof *p);
    p->off = off;
    p->len = len;
    p->data = c2_alloc(len);
    memcpy(p->data, data, len);
    c2_list_append(&f->pending, &p->link);
    return C2_E_OK;
}

static C2_RESULT
file_truncate(struct sim_disk *d, struct file *f, uint64_t len)
{
    C2_TRY(file_resize_cache(d, f, len));
    struct pending *p = c2_calloc(1, sizeof *p);
    p->off = len;
    c2_list_append(&f->pending, &p->link);
    return C2_E_OK;
}

/* ---- names ----------------------------------------------------------------------------------- */

static struct name *
find(const struct names *names, const char *path)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->n[i].path, path) == 0)
            return &names->n[i];
    }
    return NULL;
}

static void
names_remove(struct sim_disk *d, struct names *names, const char *path)
{
    struct name *n = find(names, path);
    if (n == NULL)
        return;
    file_unref(d, n->file);
    c2_free(n->path);
    *n = names->n[--names->count];
}

static void
names_add(struct sim_disk *d, struct names *names, const char *path, struct file *f)
{
    file_ref(f);
    names_remove(d, names, path);
    if (names->count == names->cap) {
        names->cap = C2_MAX(16, 2 * names->cap);
        names->n = c2_realloc(names->n, names->cap, sizeof *names->n);
    }
    names->n[names->count++] = (struct name){ .path = c2_strdup(path), .file = f };
}

static void
names_change(struct sim_disk *d, struct names *names, const struct change *c)
{
    if (c->remove != NULL)
        names_remove(d, names, c->remove);
    if (c->add != NULL)
        names_add(d, names, c->add, c->file);
}

static void
change_free(struct sim_disk *d, struct change *c)
{
    c2_list_remove(&d->changes, &c->link);
    if (c->file != NULL)
        file_unref(d, c->file);
    c2_free(c->remove);
    c2_free(c->add);
    c2_free(c);
}

static void
change(struct sim_disk *d, const char *remove, const char *add, struct file *f)
{
    struct change *c = c2_calloc(1, sizeof *c);
    c->remove = remove != NULL ? c2_strdup(remove) : NULL;
    c->add = add != NULL ? c2_strdup(add) : NULL;
    c->file = f != NULL ? file_ref(f) : NULL;
    c2_list_append(&d->changes, &c->link);
    names_change(d, &d->cache, c);
}

static size_t
parent_len(const char *path)
{
    const char *slash = strrchr(path, DIR_CHAR);
    C2_ASSERT(slash != NULL);
    return (size_t)(slash - path);
}

static bool
is_parent(const char *dir, const char *path)
{
    size_t len = strlen(dir);
    return parent_len(path) == len && strncmp(dir, path, len) == 0;
}

static bool
change_is_in(const struct change *c, const char *dir)
{
    return (c->remove != NULL && is_parent(dir, c->remove)) ||
           (c->add != NULL && is_parent(dir, c->add));
}

static void
sync_dir(struct sim_disk *d, const char *dir)
{
    C2_LIST_FOREACH (&d->changes, struct change, c, link) {
        if (change_is_in(c, dir)) {
            names_change(d, &d->platter, c);
            change_free(d, c);
        }
    }
}

static bool
dir_exists(const struct names *names, const char *path, size_t len)
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

/* With `durable` every directory on the way is synced as well. */
static void
make_dirs(struct sim_disk *d, const char *path, bool durable)
{
    for (size_t len = 1; len <= strlen(path); len++) {
        if (path[len] != '\0' && path[len] != DIR_CHAR)
            continue;
        char *part = c2_strndup(path, len);
        if (find(&d->cache, part) == NULL)
            change(d, NULL, part, file_new(true));
        if (durable) {
            char *parent = c2_strndup(part, parent_len(part));
            sync_dir(d, parent);
            c2_free(parent);
        }
        c2_free(part);
    }
}

/* ---- verbs ----------------------------------------------------------------------------------- */

static struct handle *
handle_of(const struct sim_disk *d, int number)
{
    C2_LIST_FOREACH (&d->handles, struct handle, h, link) {
        if (h->number == number)
            return h;
    }
    sim_fail(d->w, "disk: a closed file is used");
}

static C2_RESULT
do_open(struct sim_disk *d, struct sim_node *node, struct c2_disk_req *r)
{
    struct name *n = find(&d->cache, r->path);
    if (n != NULL && (r->flags & C2_DISK_EXCL) != 0)
        return C2_E_EXISTS;
    if (n != NULL && n->file->is_dir)
        return C2_E_IS_DIR;
    if (n == NULL &&
        ((r->flags & C2_DISK_CREATE) == 0 || !dir_exists(&d->cache, r->path, parent_len(r->path))))
        return C2_E_NOT_FOUND;
    if (n == NULL)
        change(d, NULL, r->path, file_new(false));
    struct handle *h = c2_calloc(1, sizeof *h);
    h->node = node;
    h->file = file_ref(find(&d->cache, r->path)->file);
    h->number = ++d->next_number;
    c2_list_append(&d->handles, &h->link);
    r->file = h->number;
    return C2_E_OK;
}

static void
handle_free(struct sim_disk *d, struct handle *h)
{
    c2_list_remove(&d->handles, &h->link);
    file_unref(d, h->file);
    c2_free(h);
}

/* The reply belongs to the node. */
static void
reply_with(struct sim_node *node, struct c2_disk_req *r, const void *data, size_t len)
{
    struct sim_life *before = sim_node_enter(node);
    r->reply = c2_blob_copy(data, len);
    sim_life_leave(before);
}

static void
do_read(struct sim_node *node, struct c2_disk_req *r, const struct file *f)
{
    r->size = f->cache.len;
    uint64_t off = C2_MIN(r->offset, (uint64_t)f->cache.len);
    size_t len = C2_MIN(f->cache.len - (size_t)off, r->len_max);
    reply_with(node, r, len > 0 ? f->cache.data + off : NULL, len);
}

static C2_RESULT
write_iov(struct sim_disk *d, struct file *f, const struct c2_disk_req *r)
{
    uint64_t off = r->verb == C2_DISK_PWRITE ? r->offset : 0;
    for (size_t i = 0; i < r->niov; i++) {
        C2_TRY(file_write(d, f, off, r->iov[i].data, r->iov[i].len));
        off += r->iov[i].len;
    }
    return C2_E_OK;
}

static C2_RESULT
do_write(struct sim_disk *d, struct c2_disk_req *r)
{
    char *parent = c2_strndup(r->path, parent_len(r->path));
    bool durable = (r->flags & C2_DISK_DURABLE) != 0;
    if ((r->flags & C2_DISK_MAKE_DIRS) != 0)
        make_dirs(d, parent, durable);
    enum c2_err err = C2_E_OK;
    if (!dir_exists(&d->cache, parent, strlen(parent)))
        err = C2_E_NOT_FOUND;
    else if ((r->flags & C2_DISK_EXCL) != 0 && find(&d->cache, r->path) != NULL)
        err = C2_E_EXISTS;
    struct file *f = file_ref(file_new(false));
    if (err == C2_E_OK)
        err = write_iov(d, f, r);
    if (err == C2_E_OK && durable)
        file_sync(f);
    if (err == C2_E_OK)
        change(d, NULL, r->path, f);
    if (err == C2_E_OK && durable)
        sync_dir(d, parent);
    file_unref(d, f);
    c2_free(parent);
    return err;
}

static C2_RESULT
do_list(struct sim_disk *d, struct sim_node *node, struct c2_disk_req *r)
{
    if (!dir_exists(&d->cache, r->path, strlen(r->path)))
        return C2_E_NOT_FOUND;
    struct c2_buf names = { 0 };
    for (size_t i = 0; i < d->cache.count; i++) {
        const struct name *n = &d->cache.n[i];
        if (!is_parent(r->path, n->path))
            continue;
        c2_buf_puts(&names, n->path + strlen(r->path) + 1);
        if ((r->flags & C2_DISK_MARK_DIRS) != 0 && n->file->is_dir)
            c2_buf_puts(&names, "/");
        c2_buf_append(&names, "", 1);
    }
    bool fits = r->len_max == 0 || names.len <= r->len_max;
    if (fits)
        reply_with(node, r, names.data, names.len);
    c2_buf_done(&names);
    return fits ? C2_E_OK : C2_E_TOO_LARGE;
}

static C2_RESULT
do_remove(struct sim_disk *d, const char *path, bool want_dir)
{
    struct name *n = find(&d->cache, path);
    if (n == NULL)
        return C2_E_NOT_FOUND;
    if (n->file->is_dir != want_dir)
        return want_dir ? C2_E_NOT_DIR : C2_E_IS_DIR;
    for (size_t i = 0; want_dir && i < d->cache.count; i++) {
        if (is_parent(path, d->cache.n[i].path))
            return C2_E_NOT_EMPTY;
    }
    change(d, path, NULL, NULL);
    return C2_E_OK;
}

static C2_RESULT
do_stat(struct sim_disk *d, struct c2_disk_req *r)
{
    struct name *n = find(&d->cache, r->path);
    if (n == NULL)
        return C2_E_NOT_FOUND;
    r->size = n->file->cache.len;
    r->mtime_ns = n->file->mtime_ns;
    r->is_dir = n->file->is_dir;
    return C2_E_OK;
}

static C2_RESULT
do_path(struct sim_disk *d, struct sim_node *node, struct c2_disk_req *r)
{
    struct name *n = find(&d->cache, r->path);
    switch ((int)r->verb) {
    case C2_DISK_READ:
        if (n == NULL)
            return C2_E_NOT_FOUND;
        do_read(node, r, n->file);
        return C2_E_OK;
    case C2_DISK_RENAME:
        if (n == NULL)
            return C2_E_NOT_FOUND;
        C2_ASSERT(parent_len(r->path) == parent_len(r->path2));
        change(d, r->path, r->path2, n->file);
        return C2_E_OK;
    case C2_DISK_SYNC_DIR:
        if (!dir_exists(&d->cache, r->path, strlen(r->path)))
            return C2_E_NOT_FOUND;
        sync_dir(d, r->path);
        return C2_E_OK;
    case C2_DISK_STATFS:
        r->size = d->capacity > 0 ? d->capacity : TOTAL_BYTES;
        r->free_bytes = r->size > d->used ? r->size - d->used : 0;
        return C2_E_OK;
    default:
        C2_UNREACHABLE();
    }
}

/* The kernel has given up on the pages and takes them for clean. */
static enum c2_err
sync_error(struct sim_disk *d, struct file *f)
{
    d->sync_fails = false;
    C2_LIST_FOREACH (&f->pending, struct pending, p, link)
        pending_free(f, p);
    return C2_E_IO;
}

static C2_RESULT
do_handle(struct sim_disk *d, struct sim_node *node, struct c2_disk_req *r)
{
    struct handle *h = handle_of(d, r->file);
    switch ((int)r->verb) {
    case C2_DISK_CLOSE:
        handle_free(d, h);
        return C2_E_OK;
    case C2_DISK_PREAD:
        do_read(node, r, h->file);
        return C2_E_OK;
    case C2_DISK_PWRITE:
        return write_iov(d, h->file, r);
    case C2_DISK_SYNC:
        if (d->sync_fails)
            return sync_error(d, h->file);
        file_sync(h->file);
        return C2_E_OK;
    case C2_DISK_TRUNCATE:
        return file_truncate(d, h->file, r->offset);
    default:
        C2_UNREACHABLE();
    }
}

static C2_RESULT
execute(struct sim_disk *d, struct sim_node *node, struct c2_disk_req *r)
{
    switch (r->verb) {
    case C2_DISK_OPEN:
        return do_open(d, node, r);
    case C2_DISK_CLOSE:
    case C2_DISK_PREAD:
    case C2_DISK_PWRITE:
    case C2_DISK_SYNC:
    case C2_DISK_TRUNCATE:
        return do_handle(d, node, r);
    case C2_DISK_WRITE:
        return do_write(d, r);
    case C2_DISK_STAT:
        return do_stat(d, r);
    case C2_DISK_UNLINK:
        return do_remove(d, r->path, false);
    case C2_DISK_RMDIR:
        return do_remove(d, r->path, true);
    case C2_DISK_MKDIR:
        make_dirs(d, r->path, (r->flags & C2_DISK_DURABLE) != 0);
        return C2_E_OK;
    case C2_DISK_LIST:
        return do_list(d, node, r);
    case C2_DISK_READ:
    case C2_DISK_RENAME:
    case C2_DISK_SYNC_DIR:
    case C2_DISK_STATFS:
        return do_path(d, node, r);
    }
    C2_UNREACHABLE();
}

/* ---- requests -------------------------------------------------------------------------------- */

static void
completed(struct c2_timer *t)
{
    struct c2_disk_req *r = C2_CONTAINER_OF(t, struct c2_disk_req, sim);
    r->done(r);
}

struct order {
    struct c2_link link; /* disk->requests */
    struct c2_timer timer;
    struct sim_disk *d;
    struct sim_node *node;
    struct c2_disk_req *r;
    bool written; /* of a durable PWRITE only the sync is left */
};

static void
order_free(struct order *o)
{
    c2_list_remove(&o->d->requests, &o->link);
    sim_stop(o->d->w, &o->timer);
    c2_free(o);
}

static void
order_due(struct c2_timer *t)
{
    struct order *o = C2_CONTAINER_OF(t, struct order, timer);
    struct sim_disk *d = o->d;
    struct c2_disk_req *r = o->r;
    struct sim_life *before = sim_life_enter(NULL);
    enum c2_disk_verb verb = r->verb;
    if (o->written)
        r->verb = C2_DISK_SYNC;
    r->err = execute(d, o->node, r);
    r->verb = verb;
    bool durable = verb == C2_DISK_PWRITE && (r->flags & C2_DISK_DURABLE) != 0;
    if (durable && r->err == C2_E_OK && !o->written) {
        o->written = true;
        sim_arm(d->w, &o->timer, d->w->now_ns + sim_rng_below(&d->rng, d->latency_max_ns));
        sim_life_leave(before);
        return;
    }
    sim_life_leave(before);
    r->sim.fire = completed;
    sim_arm_node(o->node, &r->sim, d->w->now_ns + sim_rng_below(&d->rng, d->latency_max_ns));
    order_free(o);
}

void
sim_disk_submit(struct sim_disk *d, struct sim_node *n, struct c2_disk_req *r)
{
    struct sim_life *before = sim_life_enter(NULL);
    struct order *o = c2_calloc(1, sizeof *o);
    r->reply = NULL;
    r->is_dir = false;
    r->sim = (struct c2_timer){ 0 };
    o->d = d;
    o->node = n;
    o->r = r;
    o->timer.fire = order_due;
    c2_list_append(&d->requests, &o->link);
    sim_arm(d->w, &o->timer, d->w->now_ns + sim_rng_below(&d->rng, d->latency_max_ns));
    sim_life_leave(before);
}

/* ---- crashes --------------------------------------------------------------------------------- */

/* The kernel may have begun it when the process died; a write may end early. */
static void
finish_half(struct sim_disk *d, struct order *o)
{
    struct c2_disk_req r = *o->r;
    struct c2_slice first;
    if (o->written)
        r.verb = C2_DISK_SYNC;
    if (r.verb == C2_DISK_OPEN || r.verb == C2_DISK_CLOSE || r.verb == C2_DISK_PREAD ||
        r.verb == C2_DISK_READ || r.verb == C2_DISK_LIST || sim_rng_chance(&d->rng, 50))
        return;
    if (r.verb == C2_DISK_PWRITE && r.niov > 0) {
        C2_MARK("sim: write cut short by a crash");
        r.niov = sim_rng_between(&d->rng, 1, r.niov);
        if (r.niov == 1 && r.iov[0].len > 0) {
            first = c2_slice(r.iov[0].data, sim_rng_below(&d->rng, r.iov[0].len) + 1);
            r.iov = &first;
        }
    }
    enum c2_err ignored = execute(d, o->node, &r);
    (void)ignored;
}

static void
tear(struct sim_disk *d, struct file *f, struct pending *p)
{
    C2_MARK("sim: write torn by a power cut");
    size_t at = 0;
    while (at < p->len) {
        size_t piece = C2_MIN(p->len - at, SECTOR - (size_t)((p->off + at) % SECTOR));
        if (sim_rng_chance(&d->rng, 50))
            bytes_write(&f->platter, p->off + at, p->data + at, piece);
        at += piece;
    }
    pending_free(f, p);
}

static void
lose_bytes(struct sim_disk *d, struct file *f)
{
    C2_LIST_FOREACH (&f->pending, struct pending, p, link) {
        unsigned dice = (unsigned)sim_rng_below(&d->rng, 3);
        if (dice == 0)
            pending_apply(f, p);
        else if (dice == 1 && p->data != NULL)
            tear(d, f, p);
        else
            pending_free(f, p);
    }
    d->used -= f->cache.len;
    d->used += f->platter.len;
    f->cache.len = 0;
    bytes_write(&f->cache, 0, f->platter.data, f->platter.len);
    f->cache.len = f->platter.len;
}

/* Each directory keeps its changes up to a point. */
static void
lose_names(struct sim_disk *d)
{
    while (!c2_list_empty(&d->changes)) {
        struct change *first = C2_LIST_FIRST(&d->changes, struct change, link);
        const char *path = first->add != NULL ? first->add : first->remove;
        char *dir = c2_strndup(path, parent_len(path));
        bool keep = true;
        C2_LIST_FOREACH (&d->changes, struct change, c, link) {
            if (!change_is_in(c, dir))
                continue;
            keep = keep && sim_rng_chance(&d->rng, 70);
            if (keep)
                names_change(d, &d->platter, c);
            else
                C2_MARK("sim: name lost in a power cut");
            change_free(d, c);
        }
        c2_free(dir);
    }
}

/* A name whose directory is gone is gone as well. */
static bool
drop_one_orphan(struct sim_disk *d)
{
    for (size_t i = 0; i < d->platter.count; i++) {
        const char *path = d->platter.n[i].path;
        if (!dir_exists(&d->platter, path, parent_len(path))) {
            names_remove(d, &d->platter, path);
            return true;
        }
    }
    return false;
}

static void
lose_power(struct sim_disk *d)
{
    lose_names(d);
    while (drop_one_orphan(d)) {
    }
    while (d->cache.count > 0)
        names_remove(d, &d->cache, d->cache.n[0].path);
    for (size_t i = 0; i < d->platter.count; i++)
        names_add(d, &d->cache, d->platter.n[i].path, d->platter.n[i].file);
    for (size_t i = 0; i < d->cache.count; i++)
        lose_bytes(d, d->cache.n[i].file);
}

void
sim_disk_crash(struct sim_disk *d, struct sim_node *n, enum sim_crash how)
{
    C2_LIST_FOREACH (&d->requests, struct order, o, link) {
        if (o->node != n)
            continue;
        if (how == SIM_CRASH_DAEMON || sim_rng_chance(&d->rng, 50))
            finish_half(d, o);
        order_free(o);
    }
    C2_LIST_FOREACH (&d->handles, struct handle, h, link) {
        if (h->node == n)
            handle_free(d, h);
    }
    if (how == SIM_CRASH_MACHINE)
        lose_power(d);
}

bool
sim_disk_in_use(const struct sim_disk *d, const struct sim_node *n)
{
    C2_LIST_FOREACH (&d->requests, struct order, o, link) {
        if (o->node == n)
            return true;
    }
    C2_LIST_FOREACH (&d->handles, struct handle, h, link) {
        if (h->node == n)
            return true;
    }
    return false;
}

struct sim_disk *
sim_disk_new(struct sim_world *w)
{
    struct sim_disk *d = c2_calloc(1, sizeof *d);
    d->w = w;
    d->rng = sim_rng_fork(&w->rng, 2);
    d->latency_max_ns = sim_rng_scale(&d->rng, 10000, 20 * C2_NS_PER_MS);
    c2_list_init(&d->changes);
    c2_list_init(&d->handles);
    c2_list_init(&d->requests);
    return d;
}

void
sim_disk_set_capacity(struct sim_disk *d, uint64_t bytes)
{
    d->capacity = bytes;
}

void
sim_disk_fail_sync(struct sim_disk *d)
{
    d->sync_fails = true;
}

bool
sim_disk_rot(struct sim_disk *d)
{
    for (unsigned tries = 0; tries < 100 && d->platter.count > 0; tries++) {
        struct file *f = d->platter.n[sim_rng_below(&d->rng, d->platter.count)].file;
        if (f->is_dir || f->platter.len == 0)
            continue;
        size_t at = (size_t)sim_rng_below(&d->rng, f->platter.len);
        if (f->platter.data[at] == 0)
            continue; /* most likely nothing is there */
        f->platter.data[at] ^= (uint8_t)(1u << sim_rng_below(&d->rng, 8));
        if (at < f->cache.len)
            f->cache.data[at] = f->platter.data[at];
        return true;
    }
    return false;
}

void
sim_disk_free(struct sim_disk *d)
{
    C2_ASSERT(c2_list_empty(&d->handles) && c2_list_empty(&d->requests));
    C2_LIST_FOREACH (&d->changes, struct change, c, link)
        change_free(d, c);
    while (d->cache.count > 0)
        names_remove(d, &d->cache, d->cache.n[0].path);
    while (d->platter.count > 0)
        names_remove(d, &d->platter, d->platter.n[0].path);
    c2_free(d->cache.n);
    c2_free(d->platter.n);
    c2_free(d);
}
