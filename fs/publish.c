/* SPDX-License-Identifier: MIT */
/*
 * Writing journal groups.
 *
 *   IDLE --request or timer--> SPILL* --> GROUP --> (SYNC) --> IDLE, or the next round
 *
 * One group at a time; requests that come meanwhile share the next one (group commit). A group is
 * built at one instant from everything that is dirty for the journal and not held, so it is a
 * consistent cut. Its data must fit one group: when there is more, groups with data only (SPILL)
 * go first. Chunks that a group takes are frozen.
 *
 * NO_SPACE leaves everything dirty; the next request tries again.
 */
#include "fs/publish.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/wire.h"
#include "fs/records.h"

#define SPILL_BYTES (16u << 20)

/* What the group being written says, in case it cannot be written. */
struct taken {
    struct fs_inode *inode; /* one pin */
    bool stable;
    bool new_before;
};

struct fs_publisher {
    struct fs *fs;
    struct c2_list waiting, current; /* fs_publish.link */
    bool running;
    bool spill_wanted;
    struct c2_timer timer;
    struct c2_task nothing;
    struct journal_append append;
    struct journal_sync sync;
    uint64_t seq; /* of the group being built */
    struct c2_buf meta;
    struct fs_chunk **chunks; /* of the group being written, one reference each */
    struct c2_slice *pieces;
    size_t nchunks, cap;
    uint64_t piece_bytes;
    struct taken *taken;
    size_t ntaken, taken_cap;
    struct fs_dentry **taken_entries; /* one pin each */
    size_t ntaken_entries, taken_entries_cap;
    struct fs_publish tick; /* the timer's own request */
    bool ticking;
    enum c2_err err;
};

static void round_start(struct fs_publisher *p);

/* ---- collecting data ------------------------------------------------------------------------ */

/* Whether the chunk's bytes exist only in memory. */
static bool
only_in_memory(const struct fs_chunk *c)
{
    return !c->journaled && c->object == NULL;
}

/* Index of the piece that carries this chunk in the group being built. */
static size_t
add_piece(struct fs_publisher *p, struct fs_chunk *c)
{
    for (size_t k = p->nchunks; k > 0 && p->nchunks - k < 8; k--)
        if (p->chunks[k - 1] == c)
            return k - 1;
    if (p->nchunks == p->cap) {
        p->cap = p->cap == 0 ? 64 : p->cap * 2;
        p->chunks = c2_realloc(p->chunks, p->cap, sizeof(*p->chunks));
        p->pieces = c2_realloc(p->pieces, p->cap, sizeof(*p->pieces));
    }
    C2_ASSERT(c->mem != NULL && c->len > 0);
    c->frozen = true;
    fs_chunk_use_mem(p->fs, c);
    fs_source_ref(&c->source);
    p->chunks[p->nchunks] = c;
    p->pieces[p->nchunks] = c2_slice(c->mem, c->len);
    p->piece_bytes += c->len;
    return p->nchunks++;
}

static void
clear_group(struct fs_publisher *p)
{
    for (size_t k = 0; k < p->nchunks; k++) {
        fs_chunk_unuse_mem(p->fs, p->chunks[k]);
        fs_source_unref(&p->chunks[k]->source);
    }
    p->nchunks = 0;
    p->piece_bytes = 0;
    c2_buf_clear(&p->meta);
}

static bool
group_full(const struct fs_publisher *p, uint64_t limit)
{
    return p->piece_bytes >= limit || p->nchunks >= JOURNAL_PIECES_MAX;
}

/* Chunks that a publication of everything publishable would have to carry. */
static void
collect_map(struct fs_publisher *p, const struct fs_map *m)
{
    for (size_t k = 0; m != NULL && k < m->n && !group_full(p, SPILL_BYTES); k++) {
        if (m->e[k].source->kind != FS_SOURCE_CHUNK)
            continue;
        struct fs_chunk *c = C2_CONTAINER_OF(m->e[k].source, struct fs_chunk, source);
        if (only_in_memory(c))
            add_piece(p, c);
    }
}

static bool
emits_live(const struct fs *fs, const struct fs_inode *i)
{
    return !fs_inode_held(fs, i);
}

static bool
emits_stable(const struct fs *fs, const struct fs_inode *i)
{
    return fs_inode_held(fs, i) && i->stable != NULL && i->stable->dirty_journal;
}

static uint64_t
bytes_to_carry(const struct fs *fs)
{
    uint64_t bytes = 0;
    C2_LIST_FOREACH (&fs->journal_inodes, struct fs_inode, i, journal_link) {
        const struct fs_map *m = emits_live(fs, i)     ? i->map
                                 : emits_stable(fs, i) ? i->stable->map
                                                       : NULL;
        for (size_t k = 0; m != NULL && !i->gone && k < m->n; k++) {
            if (m->e[k].source->kind != FS_SOURCE_CHUNK)
                continue;
            struct fs_chunk *c = C2_CONTAINER_OF(m->e[k].source, struct fs_chunk, source);
            bytes += only_in_memory(c) ? c->len : 0;
        }
    }
    return bytes;
}

/* ---- encoding ------------------------------------------------------------------------------- */

struct diff_out {
    struct fs_publisher *p;
    uint32_t n;
};

static void
encode_changed(void *arg, const struct fs_extent *e)
{
    struct diff_out *d = arg;
    struct c2_buf *b = &d->p->meta;
    d->n++;
    c2_wr_u64(b, e->off);
    c2_wr_u64(b, e->len);
    if (e->source == NULL) {
        c2_wr_u8(b, GROUP_HOLE);
        return;
    }
    if (e->source->kind == FS_SOURCE_OBJECT) {
        struct fs_object *o = C2_CONTAINER_OF(e->source, struct fs_object, source);
        c2_wr_u8(b, GROUP_OBJECT);
        ds_ref_encode(&o->ref, b);
        c2_wr_u32(b, o->placed);
        c2_wr_u64(b, o->stored_bytes);
        c2_wr_u64(b, e->source_off);
        return;
    }
    struct fs_chunk *c = C2_CONTAINER_OF(e->source, struct fs_chunk, source);
    if (c->journaled) {
        c2_wr_u8(b, GROUP_LOC);
        journal_loc_encode(&c->loc, b);
        c->named_seq = d->p->seq;
    } else {
        size_t piece = add_piece(d->p, c);
        c2_wr_u8(b, GROUP_PIECE);
        c2_wr_u32(b, (uint32_t)piece);
    }
    c2_wr_u64(b, e->source_off);
}

static void
encode_inode(struct fs_publisher *p, const struct fs_inode *i, struct c2_slice record,
             const struct fs_map *map)
{
    struct c2_buf *b = &p->meta;
    c2_wr_u8(b, 'I');
    c2_wr_u64(b, i->ino);
    c2_wr_u64(b, i->dir_ino);
    c2_wr_bytes(b, record);
    bool content = map != NULL && !i->gone;
    c2_wr_u8(b, content);
    if (!content)
        return;
    size_t at = b->len;
    struct diff_out d = { .p = p };
    c2_wr_u32(b, 0);
    fs_map_diff(i->journaled, map, encode_changed, &d);
    c2_put_u32(b->data + at, d.n);
}

static void
take_inode(struct fs_publisher *p, struct fs_inode *i, struct fs_map *map, bool stable)
{
    if (p->ntaken == p->taken_cap) {
        p->taken_cap = p->taken_cap == 0 ? 64 : p->taken_cap * 2;
        p->taken = c2_realloc(p->taken, p->taken_cap, sizeof(*p->taken));
    }
    p->taken[p->ntaken++] =
        (struct taken){ .inode = i, .stable = stable, .new_before = i->journal_new };
    fs_inode_pin(p->fs, i);
    fs_map_unref(i->journaled);
    i->journaled = map == NULL ? NULL : fs_map_ref(map);
    i->journal_new = false;
    i->journaling = true;
}

static void
take_dentry(struct fs_publisher *p, struct fs_dentry *e)
{
    if (p->ntaken_entries == p->taken_entries_cap) {
        p->taken_entries_cap = p->taken_entries_cap == 0 ? 64 : p->taken_entries_cap * 2;
        p->taken_entries =
            c2_realloc(p->taken_entries, p->taken_entries_cap, sizeof(struct fs_dentry *));
    }
    p->taken_entries[p->ntaken_entries++] = e;
    e->pins++;
}

static void
emit_inode(struct fs_publisher *p, struct fs_inode *i)
{
    struct fs *fs = p->fs;
    if (emits_stable(fs, i)) {
        C2_MARK("publish: stable state of a held file");
        encode_inode(p, i, c2_buf_slice(&i->stable->record), i->stable->map);
        take_inode(p, i, i->stable->map, true);
        i->stable->dirty_journal = false;
        return; /* the live state is still dirty */
    }
    if (!emits_live(fs, i))
        return;
    fs_inode_publish(fs, i);
    if (!(i->gone && i->journal_new && i->is_new)) {
        struct c2_buf record = { 0 };
        fs_inode_count_blocks(i);
        fs_inode_record_encode(i, &record);
        encode_inode(p, i, c2_buf_slice(&record), i->map);
        c2_buf_done(&record);
        take_inode(p, i, i->gone ? NULL : i->map, false);
    }
    i->dirty_journal = false;
    c2_list_remove(&fs->journal_inodes, &i->journal_link);
    fs_inode_settle(fs, i);
}

/* An entry of a new file that is held waits for it; what it replaced does not. */
static bool
deferred(struct fs *fs, const struct fs_dentry *e)
{
    const struct fs_inode *child = e->ino == 0 ? NULL : fs_inode_peek(fs, e->ino);
    return child != NULL && child->journal_new;
}

static void
emit_dentry(struct fs_publisher *p, struct fs_dentry *e)
{
    struct fs *fs = p->fs;
    bool defer = deferred(fs, e);
    if (defer && (!e->in_store || e->removal_journaled))
        return;
    c2_wr_u8(&p->meta, 'D');
    c2_wr_u64(&p->meta, e->dir);
    c2_wr_u64(&p->meta, defer ? 0 : e->ino);
    c2_wr_u32(&p->meta, defer ? 0 : e->type);
    c2_wr_bytes(&p->meta, c2_slice_str(e->name));
    take_dentry(p, e);
    e->removal_journaled = defer;
    if (defer)
        return;
    e->dirty_journal = false;
    c2_list_remove(&fs->journal_dentries, &e->journal_link);
    fs_dentry_settle(fs, e);
}

static void
build_group(struct fs_publisher *p)
{
    struct fs *fs = p->fs;
    struct journal_stats js;
    journal_stats(fs->journal, &js);
    p->seq = js.last_seq + 1; /* nobody else appends */
    c2_wr_u8(&p->meta, GROUP_VERSION);
    c2_wr_u8(&p->meta, 'N');
    c2_wr_u64(&p->meta, fs->next_ino);
    C2_LIST_FOREACH (&fs->journal_inodes, struct fs_inode, i, journal_link) {
        emit_inode(p, i);
    }
    C2_LIST_FOREACH (&fs->journal_dentries, struct fs_dentry, e, journal_link) {
        emit_dentry(p, e);
    }
}

/* ---- writing -------------------------------------------------------------------------------- */

static void
round_end(struct fs_publisher *p)
{
    enum c2_err err = p->err;
    /* Still running: what the callbacks ask for waits for the next round. */
    while (!c2_list_empty(&p->current)) {
        struct fs_publish *q = C2_LIST_FIRST(&p->current, struct fs_publish, link);
        c2_list_remove(&p->current, &q->link);
        q->err = err;
        q->done(q);
    }
    p->running = false;
    fs_unblock(p->fs);
    if (!p->running && (!c2_list_empty(&p->waiting) || p->spill_wanted))
        round_start(p);
}

static void
synced(struct journal_sync *s)
{
    struct fs_publisher *p = s->priv;
    p->err = s->err;
    if (s->err != C2_E_OK)
        c2_log(ERROR, "publish", "journal sync failed: err=%s", c2_err_name(s->err));
    round_end(p);
}

static bool
sync_wanted(const struct fs_publisher *p)
{
    C2_LIST_FOREACH (&p->current, struct fs_publish, q, link) {
        if (q->sync)
            return true;
    }
    return false;
}

static void
written(struct fs_publisher *p)
{
    C2_ASSERT(p->append.err != C2_E_OK || p->nchunks == 0 || p->append.locs != NULL);
    for (size_t k = 0; k < p->nchunks && p->append.err == C2_E_OK; k++) {
        struct fs_chunk *c = p->chunks[k];
        if (c->object != NULL || c->journaled) {
            /* The clouds were faster, or the group has it twice. */
            journal_unhold(p->fs->journal, &p->append.locs[k]);
            continue;
        }
        c->loc = p->append.locs[k];
        c->journaled = true;
    }
    c2_free(p->append.locs);
    p->append.locs = NULL;
    p->err = p->append.err;
    if (p->err != C2_E_OK)
        c2_log(ERROR, "publish", "journal append failed: err=%s, the data stays in memory",
               c2_err_name(p->err));
    clear_group(p);
}

/* Not in the journal after all, and nobody knows what is: the next group says everything. */
static void
inode_not_written(struct fs *fs, const struct taken *t)
{
    struct fs_inode *i = t->inode;
    i->journal_new = t->new_before && !i->committed_counted;
    if (i->map != NULL) {
        fs_map_unref(i->journaled);
        i->journaled = fs_map_new();
        fs_map_set(&i->journaled, 0, FS_FILE_SIZE_MAX, &fs->unknown, 0);
    }
    if (t->stable && i->stable != NULL)
        i->stable->dirty_journal = true;
    fs_inode_dirty(fs, i);
}

/* The group is on disk, or it is not: then all of it is dirty again. */
static void
settle_taken(struct fs_publisher *p, bool written_well)
{
    struct fs *fs = p->fs;
    for (size_t k = 0; k < p->ntaken; k++) {
        struct fs_inode *i = p->taken[k].inode;
        i->journaling = false;
        if (!written_well)
            inode_not_written(fs, &p->taken[k]);
        fs_stable_settle(i);
        fs_inode_unpin(fs, i);
    }
    for (size_t k = 0; k < p->ntaken_entries; k++) {
        struct fs_dentry *e = p->taken_entries[k];
        e->removal_journaled = e->removal_journaled && written_well;
        if (!written_well && !e->dirty_journal) {
            e->dirty_journal = true;
            c2_list_append(&fs->journal_dentries, &e->journal_link);
        }
        e->pins--;
        fs_dentry_settle(fs, e);
    }
    p->ntaken = p->ntaken_entries = 0;
}

static void
group_written(struct journal_append *a)
{
    struct fs_publisher *p = a->priv;
    written(p);
    settle_taken(p, p->err == C2_E_OK);
    if (p->err != C2_E_OK || !sync_wanted(p)) {
        round_end(p);
        return;
    }
    p->sync = (struct journal_sync){ .done = synced, .priv = p };
    journal_sync_start(p->fs->journal, &p->sync);
}

static void
append(struct fs_publisher *p, void (*done)(struct journal_append *a))
{
    p->append = (struct journal_append){ .meta = c2_buf_slice(&p->meta),
                                         .pieces = p->pieces,
                                         .npieces = p->nchunks,
                                         .done = done,
                                         .priv = p };
    journal_append_start(p->fs->journal, &p->append);
}

/* Everything fits: one group at this instant. */
static void
write_group(struct fs_publisher *p)
{
    build_group(p);
    if (p->ntaken + p->ntaken_entries > 0) {
        append(p, group_written);
        C2_ASSERT(p->append.seq == p->seq);
        return;
    }
    /* All that is dirty is held. What was written earlier may have to be durable all the same. */
    clear_group(p);
    c2_defer(p->fs->part.env, &p->nothing);
}

/* What the journal has need not stay in memory when that is short. */
static void
drop_journaled(struct fs *fs)
{
    C2_LIST_FOREACH (&fs->chunks_mem, struct fs_chunk, c, link) {
        if (fs->chunk_bytes - fs->chunk_bytes_in_use <= fs->conf.write_buffer / 2)
            break;
        if (c->journaled && c->mem_users == 0)
            fs_chunk_drop_mem(fs, c);
    }
}

static void
spilled(struct journal_append *a)
{
    struct fs_publisher *p = a->priv;
    written(p);
    if (p->err != C2_E_OK) {
        round_end(p);
        return;
    }
    drop_journaled(p->fs);
    if (c2_list_empty(&p->current))
        round_end(p);
    else
        round_start(p);
}

static bool
collect_spill(struct fs_publisher *p)
{
    struct fs *fs = p->fs;
    C2_LIST_FOREACH (&fs->chunks_mem, struct fs_chunk, c, link) {
        if (group_full(p, SPILL_BYTES))
            break;
        if (only_in_memory(c) && c->mem_users == 0 && c->len > 0)
            add_piece(p, c);
    }
    return p->nchunks > 0;
}

static void
nothing_new(struct c2_task *t)
{
    struct fs_publisher *p = C2_CONTAINER_OF(t, struct fs_publisher, nothing);
    p->append = (struct journal_append){ .priv = p };
    group_written(&p->append);
}

static void
round_start(struct fs_publisher *p)
{
    struct fs *fs = p->fs;
    p->running = true;
    p->err = C2_E_OK;
    while (!c2_list_empty(&p->waiting)) {
        struct fs_publish *q = C2_LIST_FIRST(&p->waiting, struct fs_publish, link);
        c2_list_remove(&p->waiting, &q->link);
        c2_list_append(&p->current, &q->link);
    }
    bool spill = p->spill_wanted && c2_list_empty(&p->current);
    if (p->spill_wanted)
        drop_journaled(fs);
    p->spill_wanted = false;
    if (spill && collect_spill(p)) {
        C2_MARK("publish: memory short, data spilled to the journal");
        append(p, spilled);
        return;
    }
    if (c2_list_empty(&p->current)) {
        p->running = false;
        fs_unblock(fs);
        return;
    }
    if (bytes_to_carry(fs) > SPILL_BYTES) {
        C2_MARK("publish: data groups before the group");
        C2_LIST_FOREACH (&fs->journal_inodes, struct fs_inode, i, journal_link) {
            if (emits_live(fs, i))
                collect_map(p, i->gone ? NULL : i->map);
            else if (emits_stable(fs, i))
                collect_map(p, i->stable->map);
        }
        append(p, spilled);
        return;
    }
    write_group(p);
}

/* ---- interface ------------------------------------------------------------------------------ */

void
fs_publish_start(struct fs *fs, struct fs_publish *q)
{
    struct fs_publisher *p = fs->publisher;
    c2_list_append(&p->waiting, &q->link);
    if (!p->running)
        round_start(p);
}

static void
ticked(struct fs_publish *q)
{
    struct fs_publisher *p = q->priv;
    p->ticking = false;
    fs_publisher_changed(p->fs);
}

static void
tick(struct c2_timer *t)
{
    struct fs_publisher *p = C2_CONTAINER_OF(t, struct fs_publisher, timer);
    p->ticking = true;
    p->tick = (struct fs_publish){ .sync = true, .done = ticked, .priv = p };
    fs_publish_start(p->fs, &p->tick);
}

void
fs_publisher_changed(struct fs *fs)
{
    struct fs_publisher *p = fs->publisher;
    bool dirty = !c2_list_empty(&fs->journal_inodes) || !c2_list_empty(&fs->journal_dentries);
    if (dirty && !p->ticking && !c2_timer_armed(&p->timer) && !fs->stopping)
        c2_timer_arm(fs->part.env, &p->timer, c2_now_ns(fs->part.env) + fs->conf.journal_delay_ns);
}

void
fs_publisher_stop(struct fs *fs)
{
    c2_timer_stop(fs->part.env, &fs->publisher->timer);
}

void
fs_publisher_spill(struct fs *fs)
{
    struct fs_publisher *p = fs->publisher;
    p->spill_wanted = true;
    if (!p->running)
        round_start(p);
}

enum c2_err
fs_publisher_error(const struct fs *fs)
{
    return fs->publisher->err;
}

bool
fs_publisher_idle(const struct fs *fs)
{
    return !fs->publisher->running;
}

struct fs_publisher *
fs_publisher_new(struct fs *fs)
{
    struct fs_publisher *p = c2_calloc(1, sizeof(*p));
    p->fs = fs;
    p->timer.fire = tick;
    p->nothing.run = nothing_new;
    c2_list_init(&p->waiting);
    c2_list_init(&p->current);
    return p;
}

void
fs_publisher_free(struct fs_publisher *p)
{
    if (p == NULL)
        return;
    C2_ASSERT(!p->running);
    c2_buf_done(&p->meta);
    c2_free(p->chunks);
    c2_free(p->pieces);
    c2_free(p->taken);
    c2_free(p->taken_entries);
    c2_free(p);
}
