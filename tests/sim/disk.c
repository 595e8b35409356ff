/* SPDX-License-Identifier: MIT */
/*
 * Requests and crashes of the disk; what is on it is in disk_names.c. A request takes effect at one
 * moment and completes at a later one; both are events.
 */
#include "tests/sim/disk_int.h"

#include "base/alloc.h"
#include "base/mark.h"

#include <stdio.h>
#include <string.h>

#define SECTOR      512u
#define TOTAL_BYTES (1ull << 40)

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
    struct name *n = disk_find(&d->cache, r->path);
    if (n != NULL && (r->flags & C2_DISK_EXCL) != 0)
        return C2_E_EXISTS;
    if (n != NULL && n->file->is_dir)
        return C2_E_IS_DIR;
    if (n == NULL && ((r->flags & C2_DISK_CREATE) == 0 ||
                      !disk_dir_exists(&d->cache, r->path, disk_parent_len(r->path))))
        return C2_E_NOT_FOUND;
    if (n == NULL)
        disk_change(d, NULL, r->path, disk_file_new(false));
    struct handle *h = c2_calloc(1, sizeof *h);
    h->node = node;
    h->file = disk_file_ref(disk_find(&d->cache, r->path)->file);
    h->number = ++d->next_number;
    c2_list_append(&d->handles, &h->link);
    r->file = h->number;
    return C2_E_OK;
}

static void
handle_free(struct sim_disk *d, struct handle *h)
{
    c2_list_remove(&d->handles, &h->link);
    disk_file_unref(d, h->file);
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
        C2_TRY(disk_file_write(d, f, off, r->iov[i].data, r->iov[i].len));
        off += r->iov[i].len;
    }
    return C2_E_OK;
}

static C2_RESULT
do_write(struct sim_disk *d, struct c2_disk_req *r)
{
    char *parent = c2_strndup(r->path, disk_parent_len(r->path));
    bool durable = (r->flags & C2_DISK_DURABLE) != 0;
    if ((r->flags & C2_DISK_MAKE_DIRS) != 0)
        disk_make_dirs(d, parent, durable);
    enum c2_err err = C2_E_OK;
    if (!disk_dir_exists(&d->cache, parent, strlen(parent)))
        err = C2_E_NOT_FOUND;
    else if ((r->flags & C2_DISK_EXCL) != 0 && disk_find(&d->cache, r->path) != NULL)
        err = C2_E_EXISTS;
    struct file *f = disk_file_ref(disk_file_new(false));
    if (err == C2_E_OK)
        err = write_iov(d, f, r);
    if (err == C2_E_OK && durable)
        disk_file_sync(f);
    if (err == C2_E_OK)
        disk_change(d, NULL, r->path, f);
    if (err == C2_E_OK && durable)
        disk_sync_dir(d, parent);
    disk_file_unref(d, f);
    c2_free(parent);
    return err;
}

static C2_RESULT
do_list(struct sim_disk *d, struct sim_node *node, struct c2_disk_req *r)
{
    if (!disk_dir_exists(&d->cache, r->path, strlen(r->path)))
        return C2_E_NOT_FOUND;
    struct c2_buf names = { 0 };
    for (size_t i = 0; i < d->cache.count; i++) {
        const struct name *n = &d->cache.n[i];
        if (!disk_is_parent(r->path, n->path))
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
    struct name *n = disk_find(&d->cache, path);
    if (n == NULL)
        return C2_E_NOT_FOUND;
    if (n->file->is_dir != want_dir)
        return want_dir ? C2_E_NOT_DIR : C2_E_IS_DIR;
    for (size_t i = 0; want_dir && i < d->cache.count; i++) {
        if (disk_is_parent(path, d->cache.n[i].path))
            return C2_E_NOT_EMPTY;
    }
    disk_change(d, path, NULL, NULL);
    return C2_E_OK;
}

static C2_RESULT
do_stat(struct sim_disk *d, struct c2_disk_req *r)
{
    struct name *n = disk_find(&d->cache, r->path);
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
    struct name *n = disk_find(&d->cache, r->path);
    switch ((int)r->verb) {
    case C2_DISK_READ:
        if (n == NULL)
            return C2_E_NOT_FOUND;
        do_read(node, r, n->file);
        return C2_E_OK;
    case C2_DISK_RENAME:
        if (n == NULL)
            return C2_E_NOT_FOUND;
        C2_ASSERT(disk_parent_len(r->path) == disk_parent_len(r->path2));
        disk_change(d, r->path, r->path2, n->file);
        return C2_E_OK;
    case C2_DISK_SYNC_DIR:
        if (!disk_dir_exists(&d->cache, r->path, strlen(r->path)))
            return C2_E_NOT_FOUND;
        disk_sync_dir(d, r->path);
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
        disk_pending_free(f, p);
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
        disk_file_sync(h->file);
        return C2_E_OK;
    case C2_DISK_TRUNCATE:
        return disk_file_truncate(d, h->file, r->offset);
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
        disk_make_dirs(d, r->path, (r->flags & C2_DISK_DURABLE) != 0);
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
            disk_bytes_write(&f->platter, p->off + at, p->data + at, piece);
        at += piece;
    }
    disk_pending_free(f, p);
}

static void
lose_bytes(struct sim_disk *d, struct file *f)
{
    C2_LIST_FOREACH (&f->pending, struct pending, p, link) {
        unsigned dice = (unsigned)sim_rng_below(&d->rng, 3);
        if (dice == 0)
            disk_pending_apply(f, p);
        else if (dice == 1 && p->data != NULL)
            tear(d, f, p);
        else
            disk_pending_free(f, p);
    }
    d->used -= f->cache.len;
    d->used += f->platter.len;
    f->cache.len = 0;
    disk_bytes_write(&f->cache, 0, f->platter.data, f->platter.len);
    f->cache.len = f->platter.len;
}

/* Each directory keeps its changes up to a point. */
static void
lose_names(struct sim_disk *d)
{
    while (!c2_list_empty(&d->changes)) {
        struct change *first = C2_LIST_FIRST(&d->changes, struct change, link);
        const char *path = first->add != NULL ? first->add : first->remove;
        char *dir = c2_strndup(path, disk_parent_len(path));
        bool keep = true;
        C2_LIST_FOREACH (&d->changes, struct change, c, link) {
            if (!disk_change_is_in(c, dir))
                continue;
            keep = keep && sim_rng_chance(&d->rng, 70);
            if (keep)
                disk_names_change(d, &d->platter, c);
            else
                C2_MARK("sim: name lost in a power cut");
            disk_change_free(d, c);
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
        if (!disk_dir_exists(&d->platter, path, disk_parent_len(path))) {
            disk_names_remove(d, &d->platter, path);
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
        disk_names_remove(d, &d->cache, d->cache.n[0].path);
    for (size_t i = 0; i < d->platter.count; i++)
        disk_names_add(d, &d->cache, d->platter.n[i].path, d->platter.n[i].file);
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
        disk_change_free(d, c);
    while (d->cache.count > 0)
        disk_names_remove(d, &d->cache, d->cache.n[0].path);
    while (d->platter.count > 0)
        disk_names_remove(d, &d->platter, d->platter.n[0].path);
    c2_free(d->cache.n);
    c2_free(d->platter.n);
    c2_free(d);
}
