/* SPDX-License-Identifier: MIT */
/*
 *   LOAD (inode, extents) --> next piece --> READ ... --> SET --> pause --> next piece ... --> over
 *
 * A piece is a range of the file without holes, at most a chunk. It is read like any other read,
 * verified against the hashes in the store; when all of it is there and the file still has the same
 * extents there, they are replaced by the chunk: what they stand for cannot change, as all of it is
 * in objects or frozen. Whether the file is open, held or written to elsewhere does not matter.
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
    bool failed = err != C2_E_OK && err != C2_E_CANCELED;
    if (failed)
        c2_log(INFO, "compact", "err=%s a file is left as it is", c2_err_name(err));
    c->status.skipped += failed || c->changed;
    drop_piece(c);
    c->status.files += c->rewrote;
    if (c->joining && c->inode != NULL)
        compact_join_end(c);
    if (c->inode != NULL)
        fs_inode_unpin(fs, c->inode);
    c->inode = NULL;
    compact_file_over(c);
    fs_unblock(fs); /* who waits for fewer pieces */
}

/* ---- pieces --------------------------------------------------------------------------------- */

static bool
may_change(const struct fs_inode *i)
{
    return S_ISREG(i->attr.mode) && !i->gone && !i->deleted &&
           (i->attr.nlink > 0 || i->opens > 0) && i->map != NULL &&
           !c2_link_linked(&i->deferred_link);
}

static void
note_change(void *arg, const struct fs_extent *changed)
{
    bool *found = arg;
    *found = changed->len > 0;
}

static bool
has_changed(const struct fs_compact *c)
{
    bool found = false;
    struct fs_map *now = fs_map_slice(c->inode->map, c->piece_off, c->piece_len);
    fs_map_diff(c->seen, now, note_change, &found);
    fs_map_unref(now);
    return found;
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

/* The rest of the file is looked at all the same. */
static void
skip_piece(struct fs_compact *c)
{
    drop_piece(c);
    c->off = c->piece_off + c->piece_len;
    pause_for(c, 0);
}

static void
set_piece(struct fs_compact *c)
{
    struct fs *fs = c->fs;
    struct fs_inode *i = c->inode;
    if (!may_change(i) || (!fs->conf.compact && !c->joining)) {
        file_end(c, C2_E_BUSY);
        return;
    }
    if (has_changed(c)) {
        C2_MARK("compact: the file changed meanwhile");
        c->changed = true;
        skip_piece(c);
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
    uint64_t ns = c->piece_len * C2_NS_PER_S / C2_MAX(fs->conf.compact_rate, UINT64_C(1));
    pause_for(c, c->joining ? compact_join_pause(c, ns) : ns);
    if (c->joining)
        fs_unblock(fs);
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
    if (err == C2_E_OK) {
        read_on(c);
    } else if (c->joining && err != C2_E_CANCELED) {
        C2_MARK("compact: a piece of a crowded file that cannot be read");
        c->join_again = c->join_again || c2_err_class(err) == C2_CLASS_RETRY;
        skip_piece(c);
    } else {
        file_end(c, err);
    }
}

static void
read_on(struct fs_compact *c)
{
    size_t k = fs_map_find(c->seen, c->piece_off + c->fill);
    if (k < c->seen->n && c->seen->e[k].off > c->piece_off + c->fill) {
        uint64_t hole = c->seen->e[k].off - (c->piece_off + c->fill);
        C2_MARK("compact: a hole between extents is filled");
        memset(c->chunk->mem + c->fill, 0, hole);
        c->fill += (uint32_t)hole;
    }
    if (c->fill == c->piece_len) {
        set_piece(c);
        return;
    }
    uint64_t off = c->piece_off + c->fill;
    const struct fs_extent *e = &c->seen->e[k];
    C2_ASSERT(k < c->seen->n && e->off <= off);
    uint64_t len = C2_MIN(e->off + e->len - off, c->piece_len - c->fill);
    c->fetch = (struct fs_fetch){ .source = e->source,
                                  .off = e->source_off + (off - e->off),
                                  .len = C2_MIN(len, (uint64_t)FS_READ_MAX),
                                  .whole_object = true,
                                  .done = was_read };
    c->fetching = true;
    fs_fetch_start(c->fs, &c->fetch);
}

uint64_t
compact_piece_max(const struct fs_compact *c)
{
    return C2_MIN(c->fs->conf.pack_size, (uint64_t)FS_CHUNK_SIZE_MAX);
}

static bool
wanted(struct fs_compact *c, const struct fs_map *map, const struct fs_extent *e)
{
    return c->joining ? compact_join_wanted(c, e) : qualifies(c, map, e);
}

static bool
reaches(const struct fs_compact *c, uint64_t end, const struct fs_extent *e)
{
    return e->off <= end || (c->joining && compact_join_reaches(c, end, e));
}

/* A run of extents that are wanted, from the k-th one on; returns the extent after it. */
static size_t
choose_from(struct fs_compact *c, const struct fs_map *map, size_t k)
{
    uint64_t max = compact_piece_max(c);
    c->piece_off = C2_MAX(map->e[k].off, c->off);
    uint64_t end = map->e[k].off + map->e[k].len;
    for (k++; k < map->n && end - c->piece_off < max; k++) {
        const struct fs_extent *e = &map->e[k];
        if (!reaches(c, end, e) || !wanted(c, map, e))
            break;
        end = e->off + e->len;
    }
    c->piece_len = C2_MIN(end - c->piece_off, max);
    return k;
}

/* The next run; false: there is none left. */
static bool
choose(struct fs_compact *c)
{
    const struct fs_map *map = c->inode->map;
    size_t k = fs_map_find(map, c->off);
    while (k < map->n) {
        size_t first = k;
        if (!wanted(c, map, &map->e[k])) {
            k++;
            continue;
        }
        k = choose_from(c, map, first);
        /* A single extent becomes a single one: of use only where it is part of a large range. */
        if (!c->joining || k - first > 1 || c->piece_len >= compact_piece_max(c) / 2)
            return true;
    }
    return false;
}

/* Nobody writes into them any more: a chunk of a file that is being written, too. */
static void
freeze(const struct fs_map *m)
{
    for (size_t k = 0; k < m->n; k++) {
        if (m->e[k].source->kind == FS_SOURCE_CHUNK)
            C2_CONTAINER_OF(m->e[k].source, struct fs_chunk, source)->frozen = true;
    }
}

static void
next_piece(struct fs_compact *c)
{
    struct fs *fs = c->fs;
    if (!may_change(c->inode)) {
        file_end(c, c->rewrote ? C2_E_OK : C2_E_BUSY);
        return;
    }
    if (!c->joining && c->ncrowded > 0) {
        C2_MARK("compact: a crowded file comes first");
        fs_compact_hint(fs, c->inode);
        file_end(c, C2_E_CANCELED);
        return;
    }
    uint64_t wait_ns =
        c->joining ? compact_join_wait(c) : (compact_may_go_on(c) ? 0 : COMPACT_WAIT_NS);
    if (wait_ns == C2_NEVER || (wait_ns == 0 && !choose(c))) {
        file_end(c, C2_E_OK);
        return;
    }
    if (wait_ns > 0) {
        pause_for(c, wait_ns);
        return;
    }
    c->seen = fs_map_slice(c->inode->map, c->piece_off, c->piece_len);
    freeze(c->seen);
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
    if (err == C2_E_OK && c->joining && may_change(c->inode))
        compact_join_begin(c);
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
    struct fs_inode *i = fs_inode_peek(c->fs, c->ino);
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
    if (c->stopped || fs_inode_peek(c->fs, c->ino) != NULL)
        inode_loaded(c, c->stopped ? C2_E_CANCELED : C2_E_OK);
    else
        fs_load_inodes_for(c->fs, &c->ino, 1, inode_loaded, c);
}

void
compact_file_start(struct fs_compact *c)
{
    c->off = 0;
    c->window_judged = c->rewrote = c->changed = c->join_again = false;
    c->load.fire = load_due;
    c->pause.fire = paused;
    uint64_t now = c2_now_ns(c->fs->part.env);
    c2_timer_arm(c->fs->part.env, &c->load, c->joining ? C2_MAX(now, c->again_ns) : now);
}

void
compact_file_stop(struct fs_compact *c)
{
    struct c2_env *env = c->fs->part.env;
    if (c2_timer_armed(&c->pause))
        c2_timer_arm(env, &c->pause, c2_now_ns(env));
    if (c2_timer_armed(&c->load))
        c2_timer_arm(env, &c->load, c2_now_ns(env));
}
