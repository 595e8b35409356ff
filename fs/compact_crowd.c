/* SPDX-License-Identifier: MIT */
/*
 * Files in very many pieces. A file cannot have more than extents_max of them, and a file that is
 * overwritten here and there while it is open, a database or a disk of a virtual machine, would
 * have so many one day. From a half of that on it is crowded:
 *
 *   1/2  its extents are joined, at compact_rate
 *   3/4  as fast as it goes, and also while a seat is away: what is written has enough shares
 *   7/8  writes wait, until there are fewer; they fail when there is nothing to be joined
 *
 * A run over the file rewrites windows of pack_size bytes, those that have most to join: those with
 * less than half of the average keep what they have, which is less than half of everything. So each
 * run takes away half of what can be joined, and writes as few bytes for that as possible. When
 * there is little to join, because most extents stand alone between holes, holes within the windows
 * are filled: zeros are compressed to nothing.
 *
 * A chunk of the size that pieces have is not touched, it will be a part of an object with its
 * neighbours soon. Until then a window may have more extents than it had: the last eighth is for
 * that.
 */
#include "base/log.h"
#include "base/mark.h"
#include "fs/compact_impl.h"
#include "fs/lost.h"
#include "fs/manifest.h"

#define LEAST     3u  /* a window that has less to join is left alone */
#define FEW_PART  8u  /* of all extents: when less than that can be joined, holes are filled */
#define MORE_PART 64u /* of extents_max: a file that was looked at is looked at again then */
#define ROOM_PART 32u /* of extents_max: kept free when windows have more for a while */
#define WAIT_NS   (100 * C2_NS_PER_MS)

/* ---- windows -------------------------------------------------------------------------------- */

/* On its way to an object with its neighbours. */
static bool
is_large_chunk(const struct fs_compact *c, const struct fs_extent *e)
{
    uint64_t off;
    return fs_extent_source(e, &off)->kind == FS_SOURCE_CHUNK && e->len >= compact_piece_max(c) / 2;
}

struct window {
    uint64_t at;
    size_t extents, runs;
};

/* The window of extent k; returns the first extent after it. */
static size_t
look(const struct fs_compact *c, const struct fs_map *map, size_t k, struct window *w)
{
    uint64_t size = c->fs->conf.pack_size, end = UINT64_MAX;
    *w = (struct window){ .at = map->e[k].off / size };
    for (; k < map->n && map->e[k].off / size == w->at; k++) {
        const struct fs_extent *e = &map->e[k];
        if (is_large_chunk(c, e))
            continue;
        w->extents++;
        w->runs += e->off != end;
        end = e->off + e->len;
    }
    return k;
}

static size_t
to_join(const struct window *w, bool holes)
{
    return w->extents - C2_MIN(w->extents, holes ? 1 : w->runs);
}

void
compact_join_begin(struct fs_compact *c)
{
    size_t windows = 0, joined[2] = { 0, 0 };
    C2_MARK("compact: a crowded file");
    fs_map_resolve(&c->inode->map);
    const struct fs_map *map = c->inode->map;
    for (size_t k = 0; k < map->n;) {
        struct window w;
        k = look(c, map, k, &w);
        windows += w.extents > 0;
        joined[0] += to_join(&w, false);
        joined[1] += to_join(&w, true);
    }
    c->join_holes = joined[0] < map->n / FEW_PART;
    c->join_least = C2_MAX(joined[c->join_holes] / (2 * C2_MAX(windows, (size_t)1)), (size_t)LEAST);
}

bool
compact_join_wanted(struct fs_compact *c, const struct fs_extent *e)
{
    const struct fs_map *map = c->inode->map;
    uint64_t size = c->fs->conf.pack_size;
    if (!c->window_judged || c->window != e->off / size) {
        struct window w;
        c->window = e->off / size;
        c->window_judged = true;
        /* Not the extent that only reaches into it. */
        size_t k = fs_map_find(map, c->window * size);
        k += k < map->n && map->e[k].off / size < c->window;
        (void)look(c, map, k, &w);
        c->window_fragmented = to_join(&w, c->join_holes) >= c->join_least;
    }
    return c->window_fragmented && !is_large_chunk(c, e);
}

bool
compact_join_reaches(const struct fs_compact *c, uint64_t end, const struct fs_extent *e)
{
    return c->join_holes && e->off / c->fs->conf.pack_size == (end - 1) / c->fs->conf.pack_size &&
           e->off < c->piece_off + compact_piece_max(c);
}

/* ---- pieces --------------------------------------------------------------------------------- */

static size_t
limit(const struct fs *fs, size_t eighths)
{
    return fs->conf.extents_max / 8 * eighths;
}

static bool
in_a_hurry(const struct fs_compact *c)
{
    return c->inode->join_waits || c->inode->map->n >= limit(c->fs, 6);
}

/* What was joined becomes fewer extents yet. */
static bool
is_under_way(const struct fs_compact *c)
{
    const struct fs_map *map = c->inode->map;
    for (size_t k = 0; k < map->n; k++) {
        if (is_large_chunk(c, &map->e[k]))
            return true;
    }
    return false;
}

uint64_t
compact_join_wait(struct fs_compact *c)
{
    struct fs *fs = c->fs;
    size_t n = c->inode->map->n;
    if (n >= fs->conf.extents_max - fs->conf.extents_max / ROOM_PART && is_under_way(c)) {
        C2_MARK("compact: a crowded file waits until it is committed");
        fs_inode_publish(fs, c->inode);
        fs_changed(fs);
        return WAIT_NS;
    }
    if (fs_must_wait(fs, FS_CHUNK_SIZE_MAX)) {
        fs_wake_blocked(fs);
        return WAIT_NS;
    }
    return in_a_hurry(c) || compact_seats_are_well(fs) ? 0 : C2_NEVER;
}

uint64_t
compact_join_pause(const struct fs_compact *c, uint64_t ns)
{
    return in_a_hurry(c) ? 0 : ns;
}

static void
tell_stuck(const struct fs *fs, const struct fs_inode *i)
{
    char name[FS_DESCRIPTION_MAX];
    fs_describe_inode(fs, i->ino, name);
    c2_log(WARN, "compact",
           "file=\"%s\" extents=%zu they cannot be joined: changes that add to them fail", name,
           i->joined);
}

void
compact_join_end(struct fs_compact *c)
{
    struct fs_inode *i = c->inode;
    i->joined = i->map == NULL ? 0 : i->map->n;
    bool ended = c->stopped || c->fs->fenced;
    i->join_stuck = !ended && !c->rewrote && !c->changed && !c->join_again;
    if (i->join_stuck && i->join_waits)
        tell_stuck(c->fs, i);
    i->join_waits = false;
    if (c->join_again)
        c->again_ns = c2_now_ns(c->fs->part.env) + COMPACT_WAIT_NS;
}

/* ---- writes --------------------------------------------------------------------------------- */

static void
join_soon(struct fs_compact *c, uint64_t ino)
{
    struct c2_env *env = c->fs->part.env;
    bool known = c->running && c->joining && c->ino == ino;
    for (size_t k = 0; k < c->ncrowded; k++)
        known = known || c->crowded[k] == ino;
    if (known || c->stopped)
        return;
    if (c->ncrowded < COMPACT_CROWDED)
        c->crowded[c->ncrowded++] = ino;
    if (!c->running)
        c2_timer_arm(env, &c->timer, c2_now_ns(env));
}

static C2_RESULT
admit(struct fs_req *r, struct fs_inode *i, size_t n)
{
    struct fs *fs = r->fs;
    /* With other extents than then there may be something to join. */
    bool stuck = i->join_stuck && i->map->n == i->joined;
    if (fs->fenced)
        return C2_E_FENCED;
    if (n < limit(fs, 7)) {
        i->joined = C2_MIN(i->joined, n);
        if (n >= limit(fs, 4) && n >= i->joined + fs->conf.extents_max / MORE_PART)
            join_soon(fs->compact, i->ino);
        return C2_E_OK;
    }
    if (stuck)
        return C2_E_TOO_LARGE;
    C2_MARK("compact: a change waits until a file has fewer pieces");
    i->join_waits = true;
    join_soon(fs->compact, i->ino);
    fs_park(r, &fs->blocked);
    return C2_E_AGAIN;
}

C2_RESULT
fs_compact_admit(struct fs_req *r, struct fs_inode *i)
{
    return admit(r, i, i->map->n);
}

C2_RESULT
fs_compact_admit_copy(struct fs_req *r, struct fs_inode *from, struct fs_inode *to, size_t extents)
{
    return admit(r, to->map->n >= extents ? to : from, to->map->n + extents);
}
