/* SPDX-License-Identifier: MIT */
/*
 * LIST of the dir: provider: a walk over the folders in the byte order of keys.
 *
 * A folder's keys all start with its name and a slash, so sorting the names of a directory with
 * that slash appended to folders gives the order of the keys below them. The walk keeps one frame
 * per folder it is in. A frame holds only as many of the smallest names as the answer can still
 * take, plus one; if that was too few (empty folders, objects deleted meanwhile), the directory is
 * read again from the last name on. So memory is bounded by list_max and the depth, and one page of
 * a directory of n names costs one read of it and n log(list_max) comparisons.
 *
 * A kill in the middle of a PUT leaves a temporary file. Nobody else looks into all folders again
 * and again, as a scrub does; so what is a day old, and in nobody's hands for sure, is removed
 * here.
 */
#include "backends/dir.h"

#include "base/alloc.h"
#include "base/mark.h"

#include <stdlib.h>
#include <string.h>

#define LEFT_NS        (24 * 3600 * C2_NS_PER_S)
#define LEFT_BYTES_MAX ((size_t)64 << 10) /* of names, looked at in one go */

static struct dir_frame *
top(struct dir_walk *w)
{
    C2_ASSERT(w->depth > 0);
    return &w->frames[w->depth - 1];
}

/* Takes over prefix. */
static void
push(struct dir_walk *w, char *prefix)
{
    if (w->depth == w->cap) {
        w->cap = C2_MAX(8, w->cap * 2);
        w->frames = c2_realloc(w->frames, w->cap, sizeof *w->frames);
    }
    w->frames[w->depth++] = (struct dir_frame){ .prefix = prefix };
}

static void
pop(struct dir_walk *w)
{
    struct dir_frame *f = top(w);
    c2_free(f->prefix);
    c2_free(f->last);
    c2_buf_done(&f->text);
    w->depth--;
}

void
dir_walk_done(struct dir_walk *w)
{
    while (w->depth > 0)
        pop(w);
    c2_free(w->frames);
    w->frames = NULL;
    c2_buf_done(&w->left);
}

static bool
starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Whether a name of the frame is a key of the answer, or a folder that may hold some. */
static bool
wanted(const struct prov_req *r, const struct dir_frame *f, const char *name)
{
    char key[PROV_KEY_MAX + 1];
    size_t prefix_len = strlen(f->prefix);
    size_t name_len = strlen(name);
    if (name_len == 0 || starts_with(name, C2_DISK_TMP_PREFIX))
        return false;
    if (prefix_len + name_len > PROV_KEY_MAX)
        return false;
    memcpy(key, f->prefix, prefix_len);
    memcpy(key + prefix_len, name, name_len + 1);
    if (!starts_with(key, r->key))
        return false;
    if (f->last != NULL && strcmp(name, f->last) <= 0)
        return false;
    if (r->list_after == NULL || strcmp(key, r->list_after) > 0)
        return true;
    /* A folder that sorts before the start may still reach beyond it. */
    return name[name_len - 1] == '/' && starts_with(r->list_after, key);
}

/* ---- the n smallest names: a heap with the largest of them on top ---- */

struct smallest {
    const char **names; /* owned, borrowed texts; a max-heap */
    size_t count, max;
    bool cut; /* something did not fit */
};

static void
sift_down(struct smallest *s, const char *name)
{
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= s->count)
            break;
        if (child + 1 < s->count && strcmp(s->names[child + 1], s->names[child]) > 0)
            child++;
        if (strcmp(s->names[child], name) <= 0)
            break;
        s->names[i] = s->names[child];
        i = child;
    }
    s->names[i] = name;
}

static void
offer(struct smallest *s, const char *name)
{
    if (s->count < s->max) {
        size_t i = s->count++;
        for (; i > 0 && strcmp(s->names[(i - 1) / 2], name) < 0; i = (i - 1) / 2)
            s->names[i] = s->names[(i - 1) / 2];
        s->names[i] = name;
        return;
    }
    s->cut = true;
    if (strcmp(name, s->names[0]) < 0)
        sift_down(s, name);
}

static int
by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Fills the innermost frame with the smallest wanted names of its directory. */
static void
fill(struct dir_op *op, struct c2_slice names)
{
    struct prov_req *r = op->call.r;
    struct dir_frame *f = top(&op->walk);
    struct smallest s = { .max = r->list_max - r->nentries + 1 };
    s.names = c2_calloc(s.max, sizeof *s.names);
    const char *end = (const char *)names.data + names.len;
    for (const char *name = (const char *)names.data; name < end; name += strlen(name) + 1) {
        if (wanted(r, f, name))
            offer(&s, name);
        else if (starts_with(name, C2_DISK_TMP_PREFIX) && op->walk.left.len < LEFT_BYTES_MAX)
            c2_buf_append(&op->walk.left, name, strlen(name) + 1);
    }
    qsort(s.names, s.count, sizeof *s.names, by_bytes);
    c2_buf_clear(&f->text);
    f->at = 0;
    f->cut = s.cut;
    for (size_t i = 0; i < s.count; i++)
        c2_buf_append(&f->text, s.names[i], strlen(s.names[i]) + 1);
    c2_free(s.names);
}

/* ---- the walk ---- */

static void
read_folder(struct dir_op *op)
{
    c2_free(op->path);
    op->path = dir_path_of(op, top(&op->walk)->prefix);
    dir_next(op, DIR_WALK_LIST, C2_DISK_LIST);
}

void
dir_walk_end(struct dir_op *op)
{
    prov_list_finish(op->call.r);
    dir_finish(op);
}

/* NULL when the frame has no more; its directory may, see cut. */
static const char *
next_name(struct dir_frame *f)
{
    if (f->at >= f->text.len)
        return NULL;
    const char *name = (const char *)f->text.data + f->at;
    f->at += strlen(name) + 1;
    c2_free(f->last);
    f->last = c2_strdup(name);
    return name;
}

/* Goes on until the disk has to be asked or the walk is over. */
static void
go_on(struct dir_op *op)
{
    struct prov_req *r = op->call.r;
    struct dir_walk *w = &op->walk;
    while (w->depth > 0) {
        struct dir_frame *f = top(w);
        const char *name = next_name(f);
        if (name == NULL && f->cut) {
            read_folder(op);
            return;
        }
        if (name == NULL) {
            pop(w);
            continue;
        }
        char *key = c2_asprintf("%s%s", f->prefix, name);
        if (key[strlen(key) - 1] == '/') {
            push(w, key);
            read_folder(op);
            return;
        }
        if (r->nentries < r->list_max) {
            c2_free(op->path);
            op->path = dir_path_of(op, key);
            c2_free(key);
            dir_next(op, DIR_WALK_STAT, C2_DISK_STAT);
            return;
        }
        c2_free(key);
        r->truncated = true;
        break;
    }
    /* A list that is short because the cloud went away under it must not look complete. */
    if (w->folder_vanished)
        dir_check_root(op);
    else
        dir_walk_end(op);
}

/* ---- what a kill has left ---- */

/* The next temporary file of the folder; then the walk. Whether one can be removed or not is
 * nothing to the LIST. */
static void
next_left(struct dir_op *op)
{
    struct dir_walk *w = &op->walk;
    if (w->left_at >= w->left.len) {
        c2_buf_clear(&w->left);
        w->left_at = 0;
        go_on(op);
        return;
    }
    const char *name = (const char *)w->left.data + w->left_at;
    w->left_at += strlen(name) + 1;
    char *key = c2_asprintf("%s%s", top(w)->prefix, name);
    c2_free(op->path);
    op->path = dir_path_of(op, key);
    c2_free(key);
    dir_next(op, DIR_LEFT_STAT, C2_DISK_STAT);
}

static void
age_arrived(struct dir_op *op)
{
    uint64_t now = c2_wall_ns(op->call.p->env);
    if (op->disk.err != C2_E_OK || op->disk.is_dir || op->disk.mtime_ns > now ||
        now - op->disk.mtime_ns < LEFT_NS) {
        next_left(op);
        return;
    }
    C2_MARK("dir: a temporary file that a kill has left");
    dir_next(op, DIR_LEFT_UNLINK, C2_DISK_UNLINK);
}

/* ---- answers of the disk ---- */

static bool
is_absence(enum c2_err err)
{
    return err == C2_E_NOT_FOUND || err == C2_E_NOT_DIR;
}

static void
names_arrived(struct dir_op *op)
{
    enum c2_err err = op->disk.err;
    if (err != C2_E_OK && !is_absence(err)) {
        dir_fail(op, err);
        return;
    }
    if (err == C2_E_OK) {
        fill(op, c2_blob_slice(op->disk.reply));
        c2_blob_unref(op->disk.reply);
        next_left(op);
        return;
    }
    op->walk.folder_vanished = true;
    pop(&op->walk);
    go_on(op);
}

static void
size_arrived(struct dir_op *op)
{
    struct dir_frame *f = top(&op->walk);
    enum c2_err err = op->disk.err;
    if (err != C2_E_OK && !is_absence(err)) {
        dir_fail(op, err);
        return;
    }
    if (err == C2_E_OK && !op->disk.is_dir) {
        char *key = c2_asprintf("%s%s", f->prefix, f->last);
        prov_list_add(op->call.r, key, op->disk.size);
        c2_free(key);
    } else if (err != C2_E_OK) {
        op->walk.folder_vanished = true; /* deleted meanwhile, or everything was */
    }
    go_on(op);
}

void
dir_walk_answered(struct dir_op *op)
{
    if (op->step == DIR_WALK_LIST)
        names_arrived(op);
    else if (op->step == DIR_WALK_STAT)
        size_arrived(op);
    else if (op->step == DIR_LEFT_STAT)
        age_arrived(op);
    else
        next_left(op);
}

void
dir_walk_start(struct dir_op *op)
{
    const char *prefix = op->call.r->key;
    const char *slash = strrchr(prefix, '/');
    push(&op->walk, c2_strndup(prefix, slash == NULL ? 0 : (size_t)(slash - prefix) + 1));
    read_folder(op);
}
