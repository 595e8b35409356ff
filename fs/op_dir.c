/* SPDX-License-Identifier: MIT */
/*
 * Reading directories. The order is that of the name hashes, and a cookie is the first 63 bits of
 * one: it means "after this name" whatever is created or deleted meanwhile, so a listing that
 * goes on after changes neither repeats nor misses what was there all the time.
 *
 *   cookie 0 the start, 1 after ".", 2 after "..", c >= 3 after the names whose hash maps to c
 *
 * A handle reads the store in runs of RUN entries and answers from the run. What changed in memory
 * and may not be in the store yet is merged in as it was when the run was asked for; in addition
 * every entry is compared with memory when it is delivered, because memory is always right.
 *
 * Names with equal cookies are one group: only its last member carries the group's own cookie,
 * the others that of the group before, so that an answer cut inside a group repeats it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "fs/coord_keys.h"
#include "fs/load.h"
#include "fs/op.h"
#include "fs/records.h"

#define COOKIE_DOT     1u
#define COOKIE_DOTDOT  2u
#define COOKIE_FIRST   3u
#define COOKIE_END     UINT64_MAX /* beyond every name */
#define RUN            1024u      /* entries read from the store at a time */
#define RUN_MERGED_MAX 4096u      /* with those in memory */
#define ANSWER         128u       /* entries of one answer with attributes */
#define AHEAD          512u       /* entries after it whose inodes are loaded, too */

/* fs_req.count while a READDIR is under way: what it has waited for already. */
#define WAITED_RUN    1u
#define WAITED_INODES 2u

struct entry {
    uint8_t hash[KEYS_NAME_HASH_LEN];
    uint64_t ino;  /* 0 = deleted */
    uint32_t type; /* S_IFMT bits */
    size_t name;   /* where it starts in names */
};

struct run {
    struct entry *e; /* owned; sorted by hash */
    size_t n, cap;
    struct c2_buf names; /* zero-terminated each */
};

struct dir_state {
    struct fs *fs;
    uint64_t dir_ino;

    struct run run;
    bool valid;
    uint64_t from, to; /* the run has every entry with a cookie in (from, to] */

    bool fetching;
    uint64_t fetch_after; /* cookie */
    struct run overlay;   /* entries in memory when the fetch began */
    struct coord_req coord;
    struct ck prefix, after;
    struct c2_slice key;
    struct c2_list waiting; /* requests that need the run or the end of the fetch */
};

static uint64_t
cookie_of(const uint8_t hash[KEYS_NAME_HASH_LEN])
{
    uint64_t h = c2_get_be64(hash); /* the top bit is 0 */
    return C2_MAX(h, COOKIE_FIRST);
}

/* ---- runs ---------------------------------------------------------------------------------- */

static void
run_clear(struct run *run)
{
    run->n = 0;
    c2_buf_clear(&run->names);
}

static void
run_done(struct run *run)
{
    c2_free(run->e);
    c2_buf_done(&run->names);
}

static void
run_add(struct run *run, const uint8_t hash[KEYS_NAME_HASH_LEN], uint64_t ino, uint32_t type,
        const char *name)
{
    if (run->n == run->cap) {
        run->cap = C2_MAX(run->cap * 2, (size_t)64);
        run->e = c2_realloc(run->e, run->cap, sizeof(*run->e));
    }
    struct entry *e = &run->e[run->n++];
    memcpy(e->hash, hash, KEYS_NAME_HASH_LEN);
    e->ino = ino;
    e->type = type;
    e->name = run->names.len;
    c2_buf_append(&run->names, name, strlen(name) + 1);
}

static const char *
run_name(const struct run *run, const struct entry *e)
{
    return (const char *)run->names.data + e->name;
}

static int
compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return memcmp(x->hash, y->hash, KEYS_NAME_HASH_LEN);
}

/* Index of the first entry with a greater cookie. */
static size_t
run_find(const struct run *run, uint64_t cookie)
{
    size_t lo = 0, hi = run->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (cookie_of(run->e[mid].hash) > cookie)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

/* Both are sorted; `over` wins. */
static void
run_merge(const struct run *base, const struct run *over, uint64_t to, struct run *out)
{
    size_t b = 0, o = 0;
    while (b < base->n || o < over->n) {
        int order = o == over->n ? -1 : 1;
        if (b < base->n && o < over->n)
            order = compare_entries(&base->e[b], &over->e[o]);
        const struct run *from = order < 0 ? base : over;
        const struct entry *e = order < 0 ? &base->e[b] : &over->e[o];
        if (cookie_of(e->hash) > to)
            break;
        if (e->ino != 0)
            run_add(out, e->hash, e->ino, e->type, run_name(from, e));
        b += order <= 0;
        o += order >= 0;
    }
}

/* Cuts the run to at most n entries without splitting a group; returns the cookie of the last. */
static uint64_t
run_cut(struct run *run, size_t n)
{
    C2_ASSERT(n > 0 && n <= run->n);
    uint64_t last = cookie_of(run->e[n - 1].hash);
    if (n < run->n && cookie_of(run->e[n].hash) == last) {
        size_t keep = n;
        while (keep > 0 && cookie_of(run->e[keep - 1].hash) == last)
            keep--;
        if (keep > 0) {
            n = keep;
            last = cookie_of(run->e[n - 1].hash);
        }
    }
    run->n = n;
    return last;
}

/* ---- reading the store --------------------------------------------------------------------- */

static void
take_overlay(struct dir_state *d, const struct fs_inode *dir)
{
    run_clear(&d->overlay);
    C2_LIST_FOREACH (&dir->dirty_entries, struct fs_dentry, e, dir_link) {
        if (cookie_of(e->hash) > d->fetch_after)
            run_add(&d->overlay, e->hash, e->ino, e->type, e->name);
    }
    if (d->overlay.n > 1)
        qsort(d->overlay.e, d->overlay.n, sizeof(*d->overlay.e), compare_entries);
}

/* `stored` ends at `to`. */
static void
build_run(struct dir_state *d, const struct run *stored, uint64_t to)
{
    run_clear(&d->run);
    run_merge(stored, &d->overlay, to, &d->run);
    d->to = to;
    if (d->run.n > RUN_MERGED_MAX)
        d->to = run_cut(&d->run, RUN_MERGED_MAX);
    d->valid = true;
    run_clear(&d->overlay);
}

static C2_RESULT
open_entry(struct dir_state *d, const struct coord_entry *c, struct c2_buf *plain,
           struct run *stored)
{
    struct fs_dentry_record rec;
    if (c->key.len != d->prefix.len + KEYS_NAME_HASH_LEN)
        return C2_E_PARSE;
    c2_buf_clear(plain);
    C2_TRY(keys_open(d->fs->part.keys, c->key, c->value, plain));
    struct c2_rd r = c2_rd_init(c2_buf_slice(plain));
    C2_TRY(fs_dentry_record_decode(&r, &rec));
    C2_TRY(c2_rd_finish(&r));
    run_add(stored, c->key.data + d->prefix.len, rec.ino, rec.type, rec.name);
    return C2_E_OK;
}

static C2_RESULT
take_answer(struct dir_state *d)
{
    struct run stored = { 0 };
    struct c2_buf plain = { 0 };
    enum c2_err err = d->coord.err;
    for (size_t k = 0; err == C2_E_OK && k < d->coord.nentries; k++)
        err = open_entry(d, &d->coord.entries[k], &plain, &stored);
    if (err == C2_E_OK) {
        uint64_t to = COOKIE_END;
        if (d->coord.more && stored.n > 0) {
            /* The group at the end may go on in the next run. */
            uint64_t last = cookie_of(stored.e[stored.n - 1].hash);
            size_t keep = stored.n;
            while (keep > 0 && cookie_of(stored.e[keep - 1].hash) == last)
                keep--;
            to = keep > 0 ? run_cut(&stored, keep) : last;
        }
        build_run(d, &stored, to);
    } else if (c2_err_class(err) == C2_CLASS_DATA) {
        c2_log(ERROR, "dir", "ino=%llu err=%s an entry of this directory cannot be read",
               (unsigned long long)d->dir_ino, c2_err_name(err));
        err = C2_E_DAMAGED;
    }
    c2_buf_done(&plain);
    run_done(&stored);
    return err;
}

static void
fetched(struct coord_req *c)
{
    struct dir_state *d = C2_CONTAINER_OF(c, struct dir_state, coord);
    enum c2_err err = take_answer(d);
    coord_req_done(c);
    d->fetching = false;
    /* Whoever waits is taken off first: the last one may be RELEASEDIR, which frees the state. */
    struct c2_list ready;
    c2_list_init(&ready);
    struct fs_req *r;
    while ((r = C2_LIST_FIRST(&d->waiting, struct fs_req, link)) != NULL) {
        fs_unpark(r);
        fs_park(r, &ready);
    }
    while ((r = C2_LIST_FIRST(&ready, struct fs_req, link)) != NULL) {
        fs_unpark(r);
        if (err != C2_E_OK && r->op == FS_READDIR)
            fs_reply(r, err);
        else
            fs_rerun(r);
    }
}

/* Makes a run of what follows `after`; C2_E_AGAIN when the store has to be asked. */
static C2_RESULT
fetch(struct fs_req *r, struct dir_state *d, const struct fs_inode *dir, uint64_t after)
{
    static const struct run nothing;
    r->count |= WAITED_RUN;
    d->fetch_after = after;
    take_overlay(d, dir);
    if (dir->is_new) {
        build_run(d, &nothing, COOKIE_END);
        return C2_E_OK;
    }
    d->prefix = ck_dentries(d->dir_ino);
    d->key = ck_slice(&d->prefix);
    d->after = d->prefix;
    if (after >= COOKIE_FIRST) {
        c2_put_be64(d->after.bytes + d->after.len, after);
        memset(d->after.bytes + d->after.len + 8, 0xff, KEYS_NAME_HASH_LEN - 8);
        d->after.len += KEYS_NAME_HASH_LEN;
    }
    d->coord = (struct coord_req){ .verb = COORD_RANGE,
                                   .keys = &d->key,
                                   .nkeys = 1,
                                   .limit = RUN,
                                   .deadline_ns = C2_NEVER,
                                   .done = fetched };
    if (after >= COOKIE_FIRST)
        d->coord.after = ck_slice(&d->after);
    d->fetching = true;
    fs_park(r, &d->waiting);
    coord_submit(d->fs->part.coord, &d->coord);
    return C2_E_AGAIN;
}

/* ---- answering ----------------------------------------------------------------------------- */

/* What memory says about an entry of the run: its inode now, 0 = deleted. */
static uint64_t
current(const struct dir_state *d, const struct entry *e, uint32_t *ret_type)
{
    const struct fs_dentry *now = fs_dentry_peek(d->fs, d->dir_ino, e->hash, run_name(&d->run, e));
    *ret_type = now == NULL ? e->type : now->type;
    return now == NULL ? e->ino : now->ino;
}

/* Whether another entry of the same group follows that still exists. */
static bool
group_goes_on(const struct dir_state *d, size_t at)
{
    uint64_t cookie = cookie_of(d->run.e[at].hash);
    uint32_t type;
    for (size_t k = at + 1; k < d->run.n && cookie_of(d->run.e[k].hash) == cookie; k++)
        if (current(d, &d->run.e[k], &type) != 0)
            return true;
    return false;
}

static bool
deliver(struct fs_req *r, const struct fs_dirent *e)
{
    if (!r->ops->dirent(r, e))
        return false;
    if (e->attr != NULL)
        fs_lookup_add(r->fs, e->ino, 1);
    return true;
}

/* "." and ".." as far as r->off asks for them. */
static size_t
deliver_dots(struct fs_req *r, const struct fs_inode *dir, bool *ret_full)
{
    const struct fs_dirent dots[] = {
        { .name = ".", .ino = dir->ino, .type = S_IFDIR, .cookie = COOKIE_DOT },
        { .name = "..", .ino = dir->parent, .type = S_IFDIR, .cookie = COOKIE_DOTDOT },
    };
    size_t n = 0;
    for (size_t k = (size_t)C2_MIN(r->off, C2_ARRAY_LEN(dots)); k < C2_ARRAY_LEN(dots); k++) {
        *ret_full = !deliver(r, &dots[k]);
        if (*ret_full)
            break;
        n++;
    }
    return n;
}

/* Entries of the run from index `at` on, at most `max`; how many were delivered. */
static size_t
deliver_run(struct fs_req *r, const struct dir_state *d, size_t at, size_t max, bool *ret_full)
{
    size_t n = 0;
    uint64_t before = C2_MAX(r->off, COOKIE_DOTDOT); /* cookie of the group before */
    for (; at < d->run.n && n < max && !*ret_full; at++) {
        const struct entry *e = &d->run.e[at];
        struct fs_dirent out = { .name = run_name(&d->run, e) };
        struct fs_attr attr;
        out.ino = current(d, e, &out.type);
        if (out.ino == 0)
            continue;
        const struct fs_inode *i = r->plus ? fs_inode_peek(r->fs, out.ino) : NULL;
        if (i != NULL && i->attr.mode != 0) {
            fs_inode_attr(i, &attr);
            out.attr = &attr;
        }
        bool last = !group_goes_on(d, at);
        out.cookie = last ? cookie_of(e->hash) : before;
        *ret_full = !deliver(r, &out);
        n += !*ret_full;
        if (last)
            before = out.cookie;
    }
    return n;
}

/* The inodes for an answer; those of the answers after it are loaded at the same time. */
static C2_RESULT
need_inodes(struct fs_req *r, const struct dir_state *d, size_t at)
{
    uint64_t inos[ANSWER + AHEAD];
    size_t n = 0;
    uint32_t type;
    if (!r->plus)
        return C2_E_OK;
    for (; at < d->run.n && n < C2_ARRAY_LEN(inos); at++) {
        uint64_t ino = current(d, &d->run.e[at], &type);
        if (ino != 0)
            inos[n++] = ino;
    }
    size_t now = C2_MIN(n, (size_t)ANSWER);
    if ((r->count & WAITED_INODES) == 0) {
        fs_load_inodes(r->fs, inos, now);
        fs_load_ahead(r->fs, inos + now, n - now);
    }
    r->count |= WAITED_INODES;
    return fs_load_join(r, inos, now) ? C2_E_AGAIN : C2_E_OK;
}

/* A run that begins at r->off: a listing from the start is always read anew. */
static C2_RESULT
need_run(struct fs_req *r, struct dir_state *d, const struct fs_inode *dir)
{
    if (d->fetching) {
        fs_park(r, &d->waiting);
        return C2_E_AGAIN;
    }
    bool covers = d->valid && r->off >= d->from && r->off < d->to;
    if (covers && (r->off != 0 || (r->count & WAITED_RUN) != 0))
        return C2_E_OK;
    d->valid = false;
    d->from = r->off;
    return fetch(r, d, dir, r->off);
}

enum c2_err
fs_op_readdir(struct fs_req *r)
{
    struct fs_inode *dir = r->handle->inode;
    struct dir_state *d = r->handle->dir;
    size_t n;
    if (dir->attr.nlink == 0)
        return C2_E_OK; /* removed while open: nothing is in it, not even the dots */
    bool full;
    for (;;) {
        C2_TRY(need_run(r, d, dir));
        size_t at = run_find(&d->run, r->off);
        C2_TRY(need_inodes(r, d, at));
        full = false;
        n = deliver_dots(r, dir, &full);
        n += deliver_run(r, d, at, r->plus ? ANSWER : SIZE_MAX, &full);
        if (n > 0 || full || d->to == COOKIE_END)
            break;
        /* All of the run was deleted meanwhile: an empty answer would mean the end. */
        d->valid = false;
        r->count &= ~(uint64_t)WAITED_INODES;
        C2_TRY(fetch(r, d, dir, d->to));
    }
    return n == 0 && full ? C2_E_INVALID : C2_E_OK;
}

enum c2_err
fs_op_opendir(struct fs_req *r)
{
    struct fs_inode *dir;
    C2_TRY(fs_dir_find(r, r->ino, &dir));
    struct dir_state *d = c2_calloc(1, sizeof(*d));
    d->fs = r->fs;
    d->dir_ino = dir->ino;
    c2_list_init(&d->waiting);
    r->handle = fs_handle_new(r->fs, dir, O_RDONLY);
    r->handle->dir = d;
    return C2_E_OK;
}

enum c2_err
fs_op_releasedir(struct fs_req *r)
{
    struct dir_state *d = r->handle->dir;
    if (d->fetching) {
        fs_park(r, &d->waiting);
        return C2_E_AGAIN;
    }
    C2_ASSERT(c2_list_empty(&d->waiting));
    run_done(&d->run);
    run_done(&d->overlay);
    c2_free(d);
    r->handle->dir = NULL;
    fs_handle_free(r->fs, r->handle);
    r->handle = NULL;
    return C2_E_OK;
}
