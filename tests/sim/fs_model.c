/* SPDX-License-Identifier: MIT */
/*
 * The reference of fs_model.h: nodes, names, publication, history.
 */
#include "tests/sim/fs_model.h"

#include "base/alloc.h"
#include "fs/inode.h"
#include "fs/fs.h"

#include <stdio.h>
#include <string.h>

/* ---- images ---------------------------------------------------------------------------------- */

static struct model_image
image_ref(const struct model_image *i)
{
    struct model_image copy = *i;
    c2_blob_ref(copy.data);
    return copy;
}

static void
image_drop(struct model_image *i)
{
    c2_blob_unref(i->data);
    *i = (struct model_image){ 0 };
}

static void
drop_maybe(struct model_node *n, unsigned first)
{
    for (unsigned k = 0; k < first; k++)
        image_drop(&n->maybe[k]);
    memmove(n->maybe, n->maybe + first, (n->nmaybe - first) * sizeof n->maybe[0]);
    n->nmaybe -= first;
}

static void
node_free(struct model_node *n)
{
    drop_maybe(n, n->nmaybe);
    image_drop(&n->live);
    image_drop(&n->pub);
    *n = (struct model_node){ 0 };
}

/* ---- finding --------------------------------------------------------------------------------- */

struct model_node *
model_find(struct model *m, uint64_t ino)
{
    for (unsigned k = 0; k < MODEL_NODES_MAX && ino != 0; k++) {
        if (m->node[k].ino == ino)
            return &m->node[k];
    }
    return NULL;
}

struct model_entry *
model_entry_find(struct model *m, uint64_t dir, const char *name)
{
    for (unsigned k = 0; k < m->nentries; k++) {
        if (m->entry[k].dir == dir && strcmp(m->entry[k].name, name) == 0)
            return &m->entry[k];
    }
    return NULL;
}

/* ---- publication ----------------------------------------------------------------------------- */

static bool
is_regular(const struct model_node *n)
{
    return S_ISREG(n->live.attr.mode);
}

static bool
is_held(const struct model_node *n)
{
    return n->ino != 0 && n->unpublished && n->write_opens > 0;
}

static bool
same_time(struct fs_time a, struct fs_time b)
{
    return a.sec == b.sec && a.nsec == b.nsec;
}

static bool
same_image(const struct model_image *a, const struct model_image *b)
{
    const struct fs_attr *x = &a->attr, *y = &b->attr;
    return a->data == b->data && strcmp(a->xattr, b->xattr) == 0 && x->mode == y->mode &&
           x->nlink == y->nlink && x->uid == y->uid && x->gid == y->gid &&
           same_time(x->atime, y->atime) && same_time(x->mtime, y->mtime) &&
           same_time(x->ctime, y->ctime);
}

static void
add_maybe(struct model *m, struct model_node *n)
{
    const struct model_image *last = n->nmaybe > 0 ? &n->maybe[n->nmaybe - 1] : NULL;
    if (last != NULL && same_image(last, &n->live))
        return;
    SIM_CHECK(m->w, n->nmaybe < MODEL_MAYBE_MAX, "model: too many versions");
    n->maybe[n->nmaybe++] = image_ref(&n->live);
}

static bool
may_have_aged(const struct model *m, const struct model_node *n)
{
    return m->w->now_ns - n->since_ns >= (n->truncated ? FS_HOLD_NEW_NS : FS_HOLD_NS);
}

void
model_publish(struct model *m, struct model_node *n)
{
    (void)m;
    n->ever_published = true;
    n->unpublished = n->maybe_clean = false;
    n->truncated = false;
    drop_maybe(n, n->nmaybe);
    n->epoch++;
}

void
model_unpublish(struct model *m, struct model_node *n)
{
    n->maybe_clean = false;
    if (n->unpublished)
        return;
    image_drop(&n->pub);
    n->pub = image_ref(&n->live);
    n->unpublished = true;
    n->since_ns = m->w->now_ns;
}

/* A sync of a job may have taken the content; other attributes are not held back after that. */
static bool
content_may_be_out(const struct model_node *n)
{
    return n->nmaybe > 0 && n->maybe[n->nmaybe - 1].data == n->live.data;
}

/* What is live now may reach the journal before the next change. */
static bool
may_be_published(const struct model *m, const struct model_node *n)
{
    return n->unpublished && (n->write_opens == 0 || n->maybe_clean || m->syncs > 0 ||
                              may_have_aged(m, n) || content_may_be_out(n));
}

void
model_tick(struct model *m)
{
    struct model_snapshot *last = m->nhistory > 0 ? &m->history[m->nhistory - 1] : NULL;
    for (unsigned k = 0; k < MODEL_NODES_MAX; k++) {
        struct model_node *n = &m->node[k];
        if (n->ino == 0 || !may_be_published(m, n))
            continue;
        add_maybe(m, n);
        for (unsigned s = 0; last != NULL && s < last->nnodes; s++) {
            if (last->nodes[s].ino == n->ino)
                last->nodes[s].live_ok = true;
        }
    }
}

void
model_open_write(struct model *m, struct model_node *n)
{
    model_tick(m);
    n->maybe_clean = n->unpublished && (n->write_opens == 0 || n->maybe_clean);
    n->opens++;
    n->write_opens++;
}

void
model_sync_begin(struct model *m, struct model_mark marks[MODEL_NODES_MAX])
{
    m->syncs++;
    model_tick(m);
    for (unsigned k = 0; k < MODEL_NODES_MAX; k++) {
        const struct model_node *n = &m->node[k];
        marks[k] = (struct model_mark){ 0 };
        if (is_held(n))
            marks[k] = (struct model_mark){ n->ino, n->epoch, n->nmaybe - 1 };
    }
}

void
model_sync_end(struct model *m, const struct model_mark marks[MODEL_NODES_MAX], bool well)
{
    model_tick(m);
    C2_ASSERT(m->syncs > 0);
    m->syncs--;
    for (unsigned k = 0; k < MODEL_NODES_MAX && well; k++) {
        struct model_node *n = &m->node[k];
        if (marks[k].ino == 0 || n->ino != marks[k].ino || n->epoch != marks[k].epoch)
            continue;
        if (n->maybe[marks[k].version].data == n->live.data) {
            model_publish(m, n);
            continue;
        }
        image_drop(&n->pub);
        n->pub = image_ref(&n->maybe[marks[k].version]);
        n->ever_published = true;
    }
}

/* ---- changes --------------------------------------------------------------------------------- */

struct model_node *
model_add(struct model *m, const struct fs_attr *attr, uint64_t dir, const char *name)
{
    unsigned k = 0;
    while (k < MODEL_NODES_MAX && m->node[k].ino != 0)
        k++;
    SIM_CHECK(m->w, k < MODEL_NODES_MAX, "model: too many inodes");
    struct model_node *n = &m->node[k];
    *n = (struct model_node){ .ino = attr->ino };
    n->live.attr = *attr;
    n->parent = S_ISDIR(attr->mode) ? dir : 0;
    if (is_regular(n)) {
        n->live.data = c2_blob_new(0);
        n->unpublished = true;
        n->since_ns = m->w->now_ns;
    } else {
        n->ever_published = true;
    }
    model_entry_add(m, dir, name, attr->ino);
    return n;
}

void
model_entry_add(struct model *m, uint64_t dir, const char *name, uint64_t ino)
{
    SIM_CHECK(m->w, m->nentries < MODEL_ENTRIES_MAX, "model: too many entries");
    struct model_entry *e = &m->entry[m->nentries++];
    *e = (struct model_entry){ .dir = dir, .ino = ino };
    snprintf(e->name, sizeof e->name, "%s", name);
}

void
model_entry_remove(struct model *m, struct model_entry *e)
{
    *e = m->entry[--m->nentries];
}

void
model_unlinked(struct model *m, struct model_node *n)
{
    (void)m;
    if (n->live.attr.nlink == 0 && n->opens == 0)
        node_free(n);
}

static void
set_data(struct model_node *n, struct c2_blob *b)
{
    c2_blob_unref(n->live.data);
    n->live.data = b;
    n->live.attr.size = b->len;
}

static struct c2_blob *
resized(const struct model_node *n, size_t len)
{
    const struct c2_blob *old = n->live.data;
    struct c2_blob *b = c2_blob_new(len);
    size_t keep = C2_MIN(len, old->len);
    if (keep > 0)
        memcpy(b->data, old->data, keep);
    if (len > keep)
        memset(b->data + keep, 0, len - keep);
    return b;
}

void
model_write(struct model *m, struct model_node *n, uint64_t off, struct c2_slice data)
{
    if (data.len == 0)
        return;
    model_unpublish(m, n);
    struct c2_blob *b = resized(n, C2_MAX(n->live.data->len, (size_t)off + data.len));
    memcpy(b->data + off, data.data, data.len);
    set_data(n, b);
}

void
model_truncate(struct model *m, struct model_node *n, uint64_t size)
{
    model_unpublish(m, n);
    set_data(n, resized(n, (size_t)size));
}

void
model_punch(struct model *m, struct model_node *n, uint64_t off, uint64_t len)
{
    uint64_t end = C2_MIN(off + len, n->live.attr.size);
    if (off >= end)
        return;
    model_unpublish(m, n);
    struct c2_blob *b = resized(n, n->live.data->len);
    memset(b->data + off, 0, (size_t)(end - off));
    set_data(n, b);
}

/* ---- history --------------------------------------------------------------------------------- */

static void
snapshot_free(struct model_snapshot *s)
{
    for (unsigned k = 0; k < s->nnodes; k++) {
        image_drop(&s->nodes[k].live);
        image_drop(&s->nodes[k].pub);
        for (unsigned v = 0; v < s->nodes[k].nmaybe; v++)
            image_drop(&s->nodes[k].maybe[v]);
        c2_free(s->nodes[k].maybe);
    }
    c2_free(s->nodes);
    c2_free(s->entries);
}

static void
snap_node(const struct model *m, const struct model_node *n, struct model_snap_node *out)
{
    *out = (struct model_snap_node){ .ino = n->ino, .parent = n->parent };
    out->held = is_held(n);
    out->never = out->held && !n->ever_published;
    out->live_ok = !out->held || may_be_published(m, n);
    out->live = image_ref(&n->live);
    if (out->held && n->ever_published && n->pub.data != NULL)
        out->pub = image_ref(&n->pub);
    if (out->held && n->nmaybe > 0)
        out->maybe = c2_calloc(n->nmaybe, sizeof *out->maybe);
    for (unsigned v = 0; out->maybe != NULL && v < n->nmaybe; v++)
        out->maybe[out->nmaybe++] = image_ref(&n->maybe[v]);
    memcpy(out->symlink, n->symlink, sizeof out->symlink);
}

/* Attributes that clocks decide; the others must be as predicted. */
static void
take_times(struct model *m, struct model_node *n, struct fs *fs)
{
    const struct fs_inode *i = fs_inode_peek(fs, n->ino);
    if (i == NULL)
        return;
    struct fs_attr *a = &n->live.attr;
    SIM_CHECK(m->w, i->attr.mode == a->mode, "inode %llu: mode is %o, should be %o",
              (unsigned long long)n->ino, i->attr.mode, a->mode);
    SIM_CHECK(m->w, i->attr.nlink == a->nlink, "inode %llu: nlink is %u, should be %u",
              (unsigned long long)n->ino, i->attr.nlink, a->nlink);
    SIM_CHECK(m->w, !is_regular(n) || i->attr.size == a->size,
              "inode %llu: size is %llu, should be %llu", (unsigned long long)n->ino,
              (unsigned long long)i->attr.size, (unsigned long long)a->size);
    a->atime = i->attr.atime;
    a->mtime = i->attr.mtime;
    a->ctime = i->attr.ctime;
    a->btime = i->attr.btime;
}

void
model_commit(struct model *m, struct fs *fs)
{
    struct model_snapshot s = { 0 };
    size_t count = 0;
    for (unsigned k = 0; k < MODEL_NODES_MAX; k++)
        count += m->node[k].ino != 0;
    s.nodes = c2_calloc(count, sizeof *s.nodes);
    for (unsigned k = 0; k < MODEL_NODES_MAX; k++) {
        if (m->node[k].ino == 0)
            continue;
        take_times(m, &m->node[k], fs);
        snap_node(m, &m->node[k], &s.nodes[s.nnodes++]);
    }
    s.entries = c2_calloc(m->nentries, sizeof *s.entries);
    s.nentries = m->nentries;
    memcpy(s.entries, m->entry, m->nentries * sizeof *s.entries);
    if (m->nhistory == m->history_cap) {
        m->history_cap = C2_MAX(64, 2 * m->history_cap);
        m->history = c2_realloc(m->history, m->history_cap, sizeof *m->history);
    }
    m->history[m->nhistory++] = s;
}

void
model_promise(struct model *m, size_t index, bool machine)
{
    m->floor_daemon = C2_MAX(m->floor_daemon, index);
    if (machine)
        m->floor_machine = C2_MAX(m->floor_machine, index);
}

static void
forget_history(struct model *m)
{
    for (size_t k = 0; k < m->nhistory; k++)
        snapshot_free(&m->history[k]);
    m->nhistory = 0;
    m->floor_daemon = m->floor_machine = 0;
}

void
model_clear(struct model *m, bool forget)
{
    if (forget)
        forget_history(m);
    m->syncs = 0;
    m->nentries = 0;
    for (unsigned k = 0; k < MODEL_NODES_MAX; k++)
        node_free(&m->node[k]);
}

void
model_init(struct model *m, struct sim_world *w)
{
    *m = (struct model){ .w = w };
}

void
model_done(struct model *m)
{
    forget_history(m);
    c2_free(m->history);
    for (unsigned k = 0; k < MODEL_NODES_MAX; k++)
        node_free(&m->node[k]);
}
