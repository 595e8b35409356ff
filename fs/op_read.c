/* SPDX-License-Identifier: MIT */
/*
 * read(2): the range is cut into pieces of one source each, fetched side by side, and put into one
 * answer. A range that lies in one piece is answered from where the bytes are, without a copy.
 *
 *   plan pieces --> fetch all --> copy --> answer
 *        ^--------- more ----------'
 *
 * An answer is short at the end of the file only: the kernel takes a short one for the end.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "fs/fetch.h"

#define PIECES_MAX            512        /* fetched at a time */
#define SMALL_FILE            (1u << 20) /* its pack neighbours are worth reading along */
#define READAHEAD_STREAK      2
#define READAHEAD_OBJECTS_MAX 8

struct piece {
    struct fs_fetch fetch;
    size_t at; /* in the answer */
    struct read *read;
};

struct read {
    struct fs_req *req;
    struct fs_inode *inode; /* one pin; the handle may go before the answer, when a mount ends */
    struct fs_map *map;     /* the moment of the read */
    size_t len;
    size_t next, left; /* extents of the map that were not planned yet */
    size_t npieces, running;
    bool whole_objects;
    enum c2_err err;
    struct piece piece[];
};

static void fetched(struct fs_fetch *f);

static void
zero_answer(struct fs_req *r, size_t len)
{
    r->iov_blob = c2_blob_new(len);
    memset(r->iov_blob->data, 0, len);
    r->iov = c2_blob_slice(r->iov_blob);
}

static void
plan(struct read *d)
{
    uint64_t off = d->req->off, end = off + d->len;
    d->npieces = C2_MIN(d->left, PIECES_MAX);
    for (size_t k = 0; k < d->npieces; k++) {
        const struct fs_extent *e = &d->map->e[d->next + k];
        uint64_t from = C2_MAX(off, e->off);
        struct piece *p = &d->piece[k];
        p->read = d;
        p->at = (size_t)(from - off);
        p->fetch = (struct fs_fetch){ .source = e->source,
                                      .off = e->source_off + (from - e->off),
                                      .len = C2_MIN(end, e->off + e->len) - from,
                                      .whole_object = d->whole_objects,
                                      .done = fetched };
    }
    d->next += d->npieces;
    d->left -= d->npieces;
}

static void
fetch_pieces(struct read *d)
{
    struct fs *fs = d->req->fs;
    plan(d);
    d->running = d->npieces;
    for (size_t k = 0, n = d->npieces; k < n; k++)
        fs_fetch_start(fs, &d->piece[k].fetch);
}

static void
copy_pieces(struct read *d)
{
    struct fs_req *r = d->req;
    struct fs_fetch *f = &d->piece[0].fetch;
    if (r->iov_blob == NULL && f->len == d->len) {
        /* One blob holds it all: hand it over. */
        struct c2_blob *b = f->joined != NULL         ? f->joined
                            : f->journal.data != NULL ? f->journal.data
                                                      : f->block[0];
        r->iov_blob = c2_blob_ref(b);
        r->iov = f->data;
        return;
    }
    if (r->iov_blob == NULL)
        zero_answer(r, d->len);
    for (size_t k = 0; k < d->npieces; k++)
        memcpy(r->iov_blob->data + d->piece[k].at, d->piece[k].fetch.data.data,
               d->piece[k].fetch.data.len);
}

static void
pieces_ended(struct read *d)
{
    struct fs_req *r = d->req;
    enum c2_err err = d->err;
    if (err == C2_E_OK)
        copy_pieces(d);
    for (size_t k = 0; k < d->npieces; k++)
        fs_fetch_done(&d->piece[k].fetch);
    if (err == C2_E_OK && d->left > 0) {
        C2_MARK("read: pieces in several rounds");
        fetch_pieces(d);
        return;
    }
    fs_map_unref(d->map);
    fs_inode_unpin(r->fs, d->inode);
    c2_free(d);
    fs_reply(r, err);
}

static void
fetched(struct fs_fetch *f)
{
    struct piece *p = C2_CONTAINER_OF(f, struct piece, fetch);
    struct read *d = p->read;
    if (f->err != C2_E_OK && d->err == C2_E_OK)
        d->err = f->err;
    if (--d->running == 0)
        pieces_ended(d);
}

/* Objects that a sequential reader will want next are fetched whole, ahead of it. */
static void
read_ahead(struct fs *fs, struct fs_handle *h, uint64_t end)
{
    const struct fs_map *m = h->inode->map;
    uint64_t limit = end + fs->conf.readahead;
    const struct fs_source *last = NULL;
    unsigned started = 0;
    if (h->ahead_to > limit - fs->conf.readahead / 2)
        return; /* still far enough ahead */
    for (size_t k = fs_map_find(m, C2_MAX(end, h->ahead_to));
         k < m->n && m->e[k].off < limit && started < READAHEAD_OBJECTS_MAX; k++) {
        uint64_t off;
        struct fs_source *s = fs_extent_source(&m->e[k], &off);
        h->ahead_to = m->e[k].off + m->e[k].len;
        if (s == last || s->kind != FS_SOURCE_OBJECT)
            continue;
        fs_prefetch(fs, C2_CONTAINER_OF(s, struct fs_object, source));
        last = s;
        started++;
    }
}

static bool
note_pattern(struct fs_handle *h, uint64_t off, size_t len)
{
    if (off == h->read_next) {
        h->streak++;
    } else {
        h->streak = off == 0 ? 1 : 0;
        h->ahead_to = 0;
    }
    h->read_next = off + len;
    return h->streak >= READAHEAD_STREAK;
}

static size_t
count_pieces(const struct fs_map *m, uint64_t off, uint64_t end)
{
    size_t n = 0;
    for (size_t k = fs_map_find(m, off); k < m->n && m->e[k].off < end; k++)
        n++;
    return n;
}

enum c2_err
fs_op_read(struct fs_req *r)
{
    struct fs *fs = r->fs;
    struct fs_inode *i;
    C2_TRY(fs_inode_find_content(r, r->handle->inode->ino, &i));
    if (r->len > FS_READ_MAX)
        r->len = FS_READ_MAX;
    if (r->off >= i->attr.size || r->len == 0)
        return C2_E_OK;
    size_t len = (size_t)C2_MIN(r->len, i->attr.size - r->off);
    bool sequential = note_pattern(r->handle, r->off, len);
    size_t n = count_pieces(i->map, r->off, r->off + len);
    if (n == 0) {
        zero_answer(r, len);
        return C2_E_OK;
    }
    struct read *d = c2_calloc(1, sizeof(*d) + C2_MIN(n, PIECES_MAX) * sizeof(d->piece[0]));
    d->req = r;
    d->inode = i;
    d->map = fs_map_ref(i->map);
    d->len = len;
    d->next = fs_map_find(i->map, r->off);
    d->left = n;
    d->whole_objects = sequential || i->attr.size <= SMALL_FILE;
    fs_inode_pin(fs, i);
    if (sequential)
        read_ahead(fs, r->handle, r->off + len);
    fetch_pieces(d);
    return C2_E_AGAIN;
}
