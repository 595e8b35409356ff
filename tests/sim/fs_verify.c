/* SPDX-License-Identifier: MIT */
/*
 * What a mount shows, read through its own operations, against the reference.
 */
#include "tests/sim/fs_scene.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"

#define READ_PIECE  (256u << 10)
#define CALL_NS_MAX (3600 * C2_NS_PER_S)

struct found_node {
    uint64_t ino, parent;
    struct model_image image;
    char symlink[MODEL_NAME_MAX];
};

struct found {
    struct found_node node[MODEL_NODES_MAX];
    unsigned nnodes;
    struct model_entry entry[MODEL_ENTRIES_MAX];
    unsigned nentries;
};

/* ---- calls that wait ------------------------------------------------------------------------- */

struct call {
    struct fs_req req;
    struct fs_scene *s;
    struct found *found; /* readdir */
    uint64_t cookie;
    bool done;
};

static void
call_done(struct fs_req *r)
{
    C2_CONTAINER_OF(r, struct call, req)->done = true;
}

static bool
call_dirent(struct fs_req *r, const struct fs_dirent *e)
{
    struct call *c = C2_CONTAINER_OF(r, struct call, req);
    struct found *f = c->found;
    c->cookie = e->cookie;
    if (strcmp(e->name, ".") == 0 || strcmp(e->name, "..") == 0)
        return true;
    SIM_CHECK(c->s->w, f->nentries < MODEL_ENTRIES_MAX, "a directory does not end");
    struct model_entry *out = &f->entry[f->nentries++];
    *out = (struct model_entry){ .dir = r->ino, .ino = e->ino };
    snprintf(out->name, sizeof out->name, "%s", e->name);
    return true;
}

static const struct fs_req_ops call_ops = { .done = call_done, .dirent = call_dirent };

/* False when the node died: then the request is gone with it. */
static bool
run(struct call *c)
{
    struct fs_scene *s = c->s;
    c->req.ops = &call_ops;
    c->done = false;
    struct sim_life *before = sim_node_enter(s->m->node);
    fs_submit(s->m->fs, &c->req);
    sim_life_leave(before);
    return sim_mount_wait(s->m, &c->done, CALL_NS_MAX, "a request of the check");
}

/* The same, and it must succeed; in a storm it is tried again. */
static bool
must(struct call *c, const char *what)
{
    struct fs_scene *s = c->s;
    struct fs_req again = c->req;
    for (;;) {
        if (!run(c))
            return false;
        if (c->req.err == C2_E_OK)
            return true;
        SIM_CHECK(s->w, scene_tolerates(s, c->req.err), "%s of inode %llu failed: %s", what,
                  (unsigned long long)c->req.ino, c2_err_name(c->req.err));
        fs_req_done(&c->req);
        c->req = again;
        sim_run_for(s->w, C2_NS_PER_S);
        if (s->m->died)
            return false;
    }
}

/* ---- reading everything ---------------------------------------------------------------------- */

static struct found_node *
found_find(struct found *f, uint64_t ino)
{
    for (unsigned k = 0; k < f->nnodes; k++) {
        if (f->node[k].ino == ino)
            return &f->node[k];
    }
    return NULL;
}

static bool
read_content(struct call *c, struct found_node *n)
{
    struct fs_scene *s = c->s;
    size_t size = n->image.attr.size;
    c->req = (struct fs_req){ .op = FS_OPEN, .ino = n->ino, .flags = O_RDONLY };
    if (!must(c, "open"))
        return false;
    struct fs_handle *h = c->req.handle;
    SIM_CHECK(s->w, size < 64u << 20, "inode %llu: size %zu", (unsigned long long)n->ino, size);
    n->image.data = c2_blob_new(size);
    for (size_t at = 0; at < size; at += READ_PIECE) {
        c->req = (struct fs_req){ .op = FS_READ, .ino = n->ino, .handle = h, .off = at };
        c->req.len = READ_PIECE;
        if (!must(c, "read"))
            return false;
        size_t want = C2_MIN(size - at, (size_t)READ_PIECE);
        SIM_CHECK(s->w, c->req.iov.len == want, "inode %llu: a short read",
                  (unsigned long long)n->ino);
        memcpy(n->image.data->data + at, c->req.iov.data, want);
        fs_req_done(&c->req);
    }
    c->req = (struct fs_req){ .op = FS_RELEASE, .ino = n->ino, .handle = h };
    return must(c, "release");
}

static bool
read_xattr(struct call *c, struct found_node *n)
{
    c->req = (struct fs_req){ .op = FS_GETXATTR, .ino = n->ino, .name = "user.x" };
    if (!run(c))
        return false;
    if (c->req.err == C2_E_OK)
        snprintf(n->image.xattr, sizeof n->image.xattr, "%s", c2_buf_cstr(&c->req.reply));
    else
        SIM_CHECK(c->s->w, c->req.err == C2_E_NO_DATA, "getxattr: %s", c2_err_name(c->req.err));
    fs_req_done(&c->req);
    return true;
}

static bool
read_dir(struct call *c, struct found *f, uint64_t ino)
{
    c->req = (struct fs_req){ .op = FS_OPENDIR, .ino = ino };
    c->found = f;
    if (!must(c, "opendir"))
        return false;
    struct fs_handle *h = c->req.handle;
    bool plus = sim_rng_chance(&c->s->rng, 50);
    c->cookie = 0;
    for (uint64_t from = UINT64_MAX; from != c->cookie;) {
        from = c->cookie;
        c->req = (struct fs_req){ .op = FS_READDIR, .ino = ino, .handle = h, .off = from };
        c->req.plus = plus;
        if (!must(c, "readdir"))
            return false;
        fs_req_done(&c->req);
    }
    c->req = (struct fs_req){ .op = FS_RELEASEDIR, .ino = ino, .handle = h };
    return must(c, "releasedir");
}

static bool
read_node(struct call *c, struct found *f, uint64_t ino, uint64_t parent)
{
    struct fs_scene *s = c->s;
    SIM_CHECK(s->w, f->nnodes < MODEL_NODES_MAX, "too many inodes");
    struct found_node *n = &f->node[f->nnodes++];
    n->ino = ino;
    n->parent = parent;
    c->req = (struct fs_req){ .op = FS_GETATTR, .ino = ino };
    if (!must(c, "getattr"))
        return false;
    n->image.attr = c->req.attr;
    fs_req_done(&c->req);
    if (!read_xattr(c, n))
        return false;
    if (S_ISREG(n->image.attr.mode))
        return read_content(c, n);
    if (S_ISDIR(n->image.attr.mode))
        return read_dir(c, f, ino);
    c->req = (struct fs_req){ .op = FS_READLINK, .ino = ino };
    if (!must(c, "readlink"))
        return false;
    snprintf(n->symlink, sizeof n->symlink, "%s", c2_buf_cstr(&c->req.reply));
    fs_req_done(&c->req);
    return true;
}

static bool
read_all(struct call *c, struct found *f)
{
    if (!read_node(c, f, FS_ROOT_INO, 0))
        return false;
    for (unsigned k = 0; k < f->nentries; k++) {
        struct model_entry e = f->entry[k];
        c->req = (struct fs_req){ .op = FS_LOOKUP, .ino = e.dir, .name = e.name };
        if (!must(c, "lookup"))
            return false;
        SIM_CHECK(c->s->w, c->req.attr.ino == e.ino, "%s leads to %llu, readdir says %llu", e.name,
                  (unsigned long long)c->req.attr.ino, (unsigned long long)e.ino);
        fs_req_done(&c->req);
        if (found_find(f, e.ino) == NULL && !read_node(c, f, e.ino, e.dir))
            return false;
    }
    return true;
}

static void
found_free(struct found *f)
{
    for (unsigned k = 0; k < f->nnodes; k++)
        c2_blob_unref(f->node[k].image.data);
    c2_free(f);
}

/* ---- comparing ------------------------------------------------------------------------------- */

struct mismatch {
    unsigned count;
    char first[200];
};

static void C2_PRINTF(2, 3) differ(struct mismatch *mm, const char *fmt, ...)
{
    va_list args;
    if (mm->count++ > 0)
        return;
    va_start(args, fmt);
    vsnprintf(mm->first, sizeof mm->first, fmt, args);
    va_end(args);
}

static bool
same_time(struct fs_time a, struct fs_time b)
{
    return a.sec == b.sec && a.nsec == b.nsec;
}

static const char *
image_difference(const struct model_image *a, const struct model_image *b)
{
    const struct fs_attr *x = &a->attr, *y = &b->attr;
    if (x->mode != y->mode)
        return "mode";
    if (x->nlink != y->nlink)
        return "nlink";
    if (x->uid != y->uid || x->gid != y->gid)
        return "owner";
    if (S_ISREG(x->mode) && x->size != y->size)
        return "size";
    if (a->data != NULL && !c2_slice_equal(c2_blob_slice(a->data), c2_blob_slice(b->data)))
        return "content";
    if (!same_time(x->mtime, y->mtime))
        return "mtime";
    if (!same_time(x->ctime, y->ctime) || !same_time(x->btime, y->btime))
        return "ctime or btime";
    return strcmp(a->xattr, b->xattr) != 0 ? "xattr" : NULL;
}

static size_t
first_difference(const struct c2_blob *a, const struct c2_blob *b)
{
    size_t at = 0;
    while (a != NULL && b != NULL && at < a->len && at < b->len && a->data[at] == b->data[at])
        at++;
    return at;
}

static void
compare_node(const struct model_snap_node *s, const struct found_node *f, struct mismatch *mm)
{
    const char *what = "never published";
    bool ok = false;
    if (s->held && !s->never) {
        what = image_difference(&s->pub, &f->image);
        ok = what == NULL;
    }
    if (!ok && s->live_ok) {
        what = image_difference(&s->live, &f->image);
        ok = what == NULL;
    }
    for (unsigned v = 0; v < s->nmaybe && !ok; v++)
        ok = s->held && image_difference(&s->maybe[v], &f->image) == NULL;
    if (!ok)
        differ(mm, "inode %llu: %s%s (size %llu, different from byte %zu on)",
               (unsigned long long)f->ino, what, s->held ? ", held" : "",
               (unsigned long long)f->image.attr.size,
               first_difference(s->live.data, f->image.data));
    if (S_ISDIR(s->live.attr.mode) && s->parent != f->parent && f->ino != FS_ROOT_INO)
        differ(mm, "inode %llu: parent", (unsigned long long)f->ino);
    if (strcmp(s->symlink, f->symlink) != 0)
        differ(mm, "inode %llu: symlink", (unsigned long long)f->ino);
}

static const struct model_snap_node *
snap_find(const struct model_snapshot *s, uint64_t ino)
{
    for (unsigned k = 0; k < s->nnodes; k++) {
        if (s->nodes[k].ino == ino)
            return &s->nodes[k];
    }
    return NULL;
}

static bool
has_entry(const struct model_entry *all, unsigned n, const struct model_entry *e)
{
    for (unsigned k = 0; k < n; k++) {
        if (all[k].dir == e->dir && all[k].ino == e->ino && strcmp(all[k].name, e->name) == 0)
            return true;
    }
    return false;
}

static void
compare(const struct model_snapshot *s, struct found *f, struct mismatch *mm)
{
    *mm = (struct mismatch){ 0 };
    for (unsigned k = 0; k < s->nentries; k++) {
        const struct model_entry *e = &s->entries[k];
        const struct model_snap_node *n = snap_find(s, e->ino);
        if (!has_entry(f->entry, f->nentries, e) && !n->never)
            differ(mm, "entry %s in %llu -> %llu is missing", e->name, (unsigned long long)e->dir,
                   (unsigned long long)e->ino);
    }
    for (unsigned k = 0; k < f->nentries; k++) {
        const struct model_entry *e = &f->entry[k];
        if (!has_entry(s->entries, s->nentries, e))
            differ(mm, "entry %s in %llu -> %llu should not be", e->name,
                   (unsigned long long)e->dir, (unsigned long long)e->ino);
    }
    for (unsigned k = 0; k < f->nnodes; k++) {
        const struct model_snap_node *n = snap_find(s, f->node[k].ino);
        if (n != NULL)
            compare_node(n, &f->node[k], mm);
        else
            differ(mm, "inode %llu should not be", (unsigned long long)f->node[k].ino);
    }
}

/* Whatever the reference says: links and names agree. */
static void
check_links(struct fs_scene *s, struct found *f)
{
    for (unsigned k = 0; k < f->nnodes; k++) {
        const struct found_node *n = &f->node[k];
        bool is_dir = S_ISDIR(n->image.attr.mode);
        unsigned names = 0, subdirs = 0;
        for (unsigned e = 0; e < f->nentries; e++) {
            names += f->entry[e].ino == n->ino;
            const struct found_node *child = found_find(f, f->entry[e].ino);
            subdirs += f->entry[e].dir == n->ino && S_ISDIR(child->image.attr.mode);
        }
        unsigned wanted = is_dir ? 2 + subdirs : names;
        SIM_CHECK(s->w, n->image.attr.nlink == wanted, "inode %llu: nlink is %u with %u names",
                  (unsigned long long)n->ino, n->image.attr.nlink, names);
    }
}

/* ---- adopting -------------------------------------------------------------------------------- */

static void
adopt(struct fs_scene *s, struct found *f, bool forget)
{
    struct model *m = &s->model;
    model_clear(m, forget);
    for (unsigned k = 0; k < f->nnodes; k++) {
        struct found_node *n = &f->node[k];
        struct model_node *out = &m->node[k];
        out->ino = n->ino;
        out->parent = n->parent;
        out->live = n->image;
        c2_blob_ref(out->live.data);
        out->ever_published = true;
        memcpy(out->symlink, n->symlink, sizeof out->symlink);
    }
    m->nentries = f->nentries;
    memcpy(m->entry, f->entry, f->nentries * sizeof f->entry[0]);
    model_commit(m, s->m->fs);
    for (unsigned k = 0; k < f->nnodes; k++)
        m->node[k].changed = m->nhistory - 1;
    model_promise(m, m->nhistory - 1, forget);
}

static void
match(struct fs_scene *s, struct found *f, int how)
{
    struct model *m = &s->model;
    struct mismatch best = { .count = UINT32_MAX };
    size_t best_index = 0;
    size_t floor = how < 0                    ? m->nhistory - 1
                   : how == SIM_CRASH_MACHINE ? m->floor_machine
                                              : m->floor_daemon;
    for (size_t k = m->nhistory; k-- > floor;) {
        struct mismatch mm;
        compare(&m->history[k], f, &mm);
        if (mm.count < best.count) {
            best = mm;
            best_index = k;
        }
        if (mm.count == 0)
            break;
    }
    if (best.count > 0) {
        for (size_t k = floor; k-- > 0;) {
            struct mismatch mm;
            compare(&m->history[k], f, &mm);
            if (mm.count == 0)
                sim_fail(s->w, "snapshot %zu is back, but %zu of %zu was promised", k, floor,
                         m->nhistory);
        }
        sim_fail(s->w, "no snapshot of %zu..%zu matches; nearest is %zu with %u differences: %s",
                 floor, m->nhistory - 1, best_index, best.count, best.first);
    }
    sim_trace(s->w, "check", "equals snapshot %zu of %zu..%zu", best_index, floor, m->nhistory - 1);
    if (best_index + 1 < m->nhistory)
        C2_MARK("sim: a crash lost what was not promised");
}

bool
verify_mount(struct fs_scene *s, int how)
{
    struct call *c = c2_calloc(1, sizeof *c);
    struct found *f = c2_calloc(1, sizeof *f);
    c->s = s;
    bool alive = read_all(c, f);
    if (alive) {
        check_links(s, f);
        match(s, f, how);
        if (how >= 0)
            adopt(s, f, how == SIM_CRASH_MACHINE);
    }
    found_free(f);
    c2_free(c);
    return alive;
}
