/* SPDX-License-Identifier: MIT */
/*
 *   LOAD (inode, extents) --> next piece --> READ ... --> SET --> pause --> next piece ... --> over
 *
 * A piece is a range of the file without holes, at most a chunk. It is read like any other read,
 * verified against the hashes in the store; when all of it is there and the file still has the same
 * extents, they are replaced by the chunk. A file that is being written is left alone.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "depsky/depsky.h"
#include "fs/compact_impl.h"
#include "fs/load.h"

static void next_piece(struct fs_compact *c);

/* ---- judging -------------------------------------------------------------------------------- */

static bool
is_sparse(const struct fs_compact *c, const struct fs_extent *e)
{
    uint64_t off;
    struct fs_source *s = fs_extent_source(e, &off);
    if (s->kind != FS_SOURCE_OBJECT)
        return false;
    const struct ds_oid *oid = &C2_CONTAINER_OF(s, struct fs_object, source)->ref.oid;
    size_t lo = 0, hi = c->nsparse;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct compact_object *o = &c->sparse[mid];
        if (o->sid < oid->sid || (o->sid == oid->sid && o->seq < oid->seq))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < c->nsparse && c->sparse[lo].sid == oid->sid && c->sparse[lo].seq == oid->seq;
}

/* Holes are not pieces: what they divide stays divided. */
static bool
is_fragmented(const struct fs_compact *c, const struct fs_map *map, uint64_t window)
{
    uint64_t size = c->fs->conf.pack_size, end = 0;
    size_t extents = 0, runs = 0;
    for (size_t k = fs_map_find(map, window * size); k < map->n; k++) {
        const struct fs_extent *e = &map->e[k];
        if (e->off / size > window)
            break;
        extents++;
        runs += e->off != end || extents == 1;
        end = e->off + e->len;
    }
    return extents > FS_COMPACT_EXTENTS && extents > 2 * runs;
}

bool
compact_wanted(const struct fs_compact *c, const struct fs_map *map)
{
    uint64_t size = c->fs->conf.pack_size, judged = UINT64_MAX;
    for (size_t k = 0; k < map->n; k++) {
        uint64_t window = map->e[k].off / size;
        if (is_sparse(c, &map->e[k]))
            return true;
        if (window != judged && map->n > FS_COMPACT_EXTENTS && is_fragmented(c, map, window))
            return true;
        judged = window;
    }
    return false;
}

static bool
qualifies(struct fs_compact *c, const struct fs_map *map, const struct fs_extent *e)
{
    uint64_t window = e->off / c->fs->conf.pack_size;
    if (is_sparse(c, e))
        return true;
    if (e->source->kind == FS_SOURCE_CHUNK)
        return false; /* it is on its way already */
    if (!c->window_judged || c->window != window) {
        c->window_fragmented = is_fragmented(c, map, window);
        c->window = window;
        c->window_judged = true;
    }
    return c->window_fragmented;
}

/* ---- the end -------------------------------------------------------------------------------- */

static void
drop_piece(struct fs_compact *c)
{
    fs_map_unref(c->seen);
    c->seen = NULL;
    if (c->chunk != NULL)
        fs_source_unref(&c->chunk->source);
    c->chunk = NULL;
}

static void
file_end(struct fs_compact *c, enum c2_err err)
{
    struct fs *fs = c->fs;
    if (err != C2_E_OK && err != C2_E_CANCELED) {
        c->status.skipped++;
        c2_log(INFO, "compact", "err=%s a file is left as it is", c2_err_name(err));
    }
    drop_piece(c);
    c->status.files += c->rewrote;
    if (c->inode != NULL)
        fs_inode_unpin(fs, c->inode);
    c->inode = NULL;
    compact_file_over(c);
}

/* ---- pieces --------------------------------------------------------------------------------- */

static bool
may_change(const struct fs_inode *i)
{
    return S_ISREG(i->attr.mode) && !i->gone && !i->deleted && i->attr.nlink > 0 &&
           i->write_opens == 0 && !i->unpublished && i->map != NULL &&
           !c2_link_linked(&i->deferred_link);
}

struct overlap {
    uint64_t off, len;
    bool found;
};

static void
note_change(void *arg, const struct fs_extent *changed)
{
    struct overlap *o = arg;
    o->found = o->found || (changed->off < o->off + o->len && o->off < changed->off + changed->len);
}

static void
paused(struct c2_timer *t)
{
    struct fs_compact *c = C2_CONTAINER_OF(t, struct fs_compact, pause);
    if (c->stopped || c->fs->fenced)
        file_end(c, C2_E_CANCELED);
    else
        next_piece(c);
}

static void
pause_for(struct fs_compact *c, uint64_t ns)
{
    c2_timer_arm(c->fs->part.env, &c->pause, c2_now_ns(c->fs->part.env) + ns);
}

static void
set_piece(struct fs_compact *c)
{
    struct fs *fs = c->fs;
    struct fs_inode *i = c->inode;
    struct overlap o = { .off = c->piece_off, .len = c->piece_len };
    if (may_change(i))
        fs_map_diff(c->seen, i->map, note_change, &o);
    if (!may_change(i) || o.found || !fs->conf.compact) {
        C2_MARK("compact: the file changed meanwhile");
        file_end(c, C2_E_BUSY);
        return;
    }
    C2_MARK("compact: a piece");
    c->chunk->len = (uint32_t)c->piece_len;
    c->chunk->frozen = true;
    c->chunk->ino = i->ino;
    c->chunk->dir_ino = i->dir_ino;
    fs_map_set(&i->map, c->piece_off, c->piece_len, &c->chunk->source, 0);
    i->tail = NULL;
    fs->ready_bytes += c->piece_len;
    c->status.bytes += c->piece_len;
    c->rewrote = true;
    drop_piece(c);
    c->off = c->piece_off + c->piece_len;
    fs_inode_dirty(fs, i);
    fs_changed(fs);
    pause_for(c, c->piece_len * C2_NS_PER_S / C2_MAX(fs->conf.compact_rate, UINT64_C(1)));
}

static void read_on(struct fs_compact *c);

static void
was_read(struct fs_fetch *f)
{
    struct fs_compact *c = C2_CONTAINER_OF(f, struct fs_compact, fetch);
    enum c2_err err = f->err;
    c->fetching = false;
    if (err == C2_E_OK) {
        C2_ASSERT(f->data.len <= c->piece_len - c->fill);
        memcpy(c->chunk->mem + c->fill, f->data.data, f->data.len);
        c->fill += (uint32_t)f->data.len;
    }
    fs_fetch_done(f);
    if (err == C2_E_OK && (c->stopped || c->fs->fenced))
        err = C2_E_CANCELED;
    if (err != C2_E_OK)
        file_end(c, err);
    else
        read_on(c);
}

static void
read_on(struct fs_compact *c)
{
    uint64_t off = c->piece_off + c->fill;
    if (c->fill == c->piece_len) {
        set_piece(c);
        return;
    }
    const struct fs_extent *e = &c->seen->e[fs_map_find(c->seen, off)];
    C2_ASSERT(e->off <= off);
    uint64_t len = C2_MIN(e->off + e->len - off, c->piece_len - c->fill);
    c->fetch = (struct fs_fetch){ .source = e->source,
                                  .off = e->source_off + (off - e->off),
                                  .len = C2_MIN(len, (uint64_t)FS_READ_MAX),
                                  .whole_object = true,
                                  .done = was_read };
    c->fetching = true;
    fs_fetch_start(c->fs, &c->fetch);
}

/* A run of extents that qualify, from the first one on; false: there is none left. */
static bool
choose(struct fs_compact *c)
{
    const struct fs_map *map = c->inode->map;
    uint64_t max = C2_MIN(c->fs->conf.pack_size, (uint64_t)FS_CHUNK_SIZE_MAX);
    size_t k = fs_map_find(map, c->off);
    while (k < map->n && !qualifies(c, map, &map->e[k]))
        k++;
    if (k == map->n)
        return false;
    c->piece_off = C2_MAX(map->e[k].off, c->off);
    uint64_t end = c->piece_off;
    for (; k < map->n && end - c->piece_off < max; k++) {
        const struct fs_extent *e = &map->e[k];
        if (e->off > end || (end > c->piece_off && !qualifies(c, map, e)))
            break;
        end = e->off + e->len;
    }
    c->piece_len = C2_MIN(end - c->piece_off, max);
    return true;
}

static void
next_piece(struct fs_compact *c)
{
    struct fs *fs = c->fs;
    if (!may_change(c->inode)) {
        file_end(c, c->rewrote ? C2_E_OK : C2_E_BUSY);
        return;
    }
    if (!compact_may_go_on(c)) {
        pause_for(c, COMPACT_WAIT_NS);
        return;
    }
    if (!choose(c)) {
        file_end(c, C2_E_OK);
        return;
    }
    c->seen = fs_map_ref(c->inode->map);
    c->chunk = fs_chunk_new(fs, (uint32_t)c->piece_len);
    c->fill = 0;
    read_on(c);
}

/* ---- beginning ------------------------------------------------------------------------------ */

static void
begin(struct fs_compact *c, enum c2_err err)
{
    if (err == C2_E_OK && (c->stopped || c->fs->fenced))
        err = C2_E_CANCELED;
    if (err != C2_E_OK)
        file_end(c, err);
    else
        next_piece(c);
}

static void
content_loaded(void *arg, enum c2_err err)
{
    begin(arg, err);
}

static void
inode_loaded(void *arg, enum c2_err err)
{
    struct fs_compact *c = arg;
    struct fs_inode *i = fs_inode_peek(c->fs, c->inos[c->next]);
    if (err != C2_E_OK || i == NULL || !S_ISREG(i->attr.mode) || c->stopped) {
        file_end(c, err);
        return;
    }
    c->inode = i;
    fs_inode_pin(c->fs, i);
    if (i->map != NULL || i->manifest == NULL)
        begin(c, C2_E_OK);
    else
        fs_load_content_for(c->fs, i, content_loaded, c);
}

static void
load_due(struct c2_timer *t)
{
    struct fs_compact *c = C2_CONTAINER_OF(t, struct fs_compact, load);
    uint64_t ino = c->inos[c->next];
    if (c->stopped || fs_inode_peek(c->fs, ino) != NULL)
        inode_loaded(c, c->stopped ? C2_E_CANCELED : C2_E_OK);
    else
        fs_load_inodes_for(c->fs, &c->inos[c->next], 1, inode_loaded, c);
}

void
compact_file_start(struct fs_compact *c)
{
    c->off = 0;
    c->window_judged = c->rewrote = false;
    c->load.fire = load_due;
    c->pause.fire = paused;
    c2_timer_arm(c->fs->part.env, &c->load, c2_now_ns(c->fs->part.env));
}

void
compact_file_stop(struct fs_compact *c)
{
    if (c2_timer_armed(&c->pause))
        c2_timer_arm(c->fs->part.env, &c->pause, c2_now_ns(c->fs->part.env));
}
