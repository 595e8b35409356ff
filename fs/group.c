/* SPDX-License-Identifier: MIT */
/*
 * Building moments: what the groups say, and what becomes of it when they are written or not.
 *
 * The extents of an inode are those that differ from fs_inode.journaled: what a replay has before
 * the group. They name the group before that: without it they would make half of two states. A part
 * that is full is closed wherever it is, even within an inode; so neither many changes nor a file
 * in many pieces can be too much for the journal's frames.
 */
#include "fs/group.h"

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "fs/records.h"

/* A part is closed when it has so much: with what one item may add it stays below
 * JOURNAL_GROUP_BYTES_MAX. */
#define PART_META_BYTES  (4u << 20)
#define PART_PIECE_BYTES (16u << 20)

struct fs_taken {
    struct fs_inode *inode;
    bool stable;
    bool new_before;
};

/* ---- parts ---------------------------------------------------------------------------------- */

static struct fs_part *
last_part(struct fs_moment *m)
{
    C2_ASSERT(m->nparts > 0);
    return &m->parts[m->nparts - 1];
}

static struct fs_part *
add_part(struct fs_moment *m)
{
    if (m->nparts == m->parts_cap) {
        m->parts_cap = m->parts_cap == 0 ? 1 : m->parts_cap * 2;
        m->parts = c2_realloc(m->parts, m->parts_cap, sizeof(*m->parts));
    }
    struct fs_part *p = &m->parts[m->nparts++];
    *p = (struct fs_part){ 0 };
    return p;
}

static void
begin_part(struct fs_moment *m, uint8_t flags)
{
    struct c2_buf *b = &add_part(m)->meta;
    c2_wr_u8(b, GROUP_VERSION);
    c2_wr_u8(b, flags);
}

static bool
part_full(const struct fs_part *p)
{
    return p->meta.len >= PART_META_BYTES || p->piece_bytes >= PART_PIECE_BYTES ||
           p->npieces == JOURNAL_PIECES_MAX;
}

/* Room for one more item or extent; true: it begins another part. */
static bool
make_room(struct fs_moment *m)
{
    struct fs_part *p = last_part(m);
    if (!part_full(p))
        return false;
    C2_MARK("group: a moment in several parts");
    p->meta.data[1] |= GROUP_CONTINUES;
    begin_part(m, GROUP_FOLLOWS);
    return true;
}

/* Whether the chunk's bytes exist only in memory. */
static bool
only_in_memory(const struct fs_chunk *c)
{
    return !c->journaled && c->object == NULL;
}

/* Index of the piece that carries this chunk in the last part. */
static size_t
add_piece(struct fs_moment *m, struct fs_chunk *c)
{
    struct fs_part *p = last_part(m);
    if (c->part == m->nparts)
        return c->piece;
    if (p->npieces == p->cap) {
        p->cap = p->cap == 0 ? 64 : p->cap * 2;
        p->chunks = c2_realloc(p->chunks, p->cap, sizeof(struct fs_chunk *));
        p->pieces = c2_realloc(p->pieces, p->cap, sizeof(*p->pieces));
    }
    C2_ASSERT(c->mem != NULL && c->len > 0);
    c->frozen = true;
    c->part = m->nparts;
    c->piece = p->npieces;
    fs_chunk_use_mem(m->fs, c);
    fs_source_ref(&c->source);
    p->chunks[p->npieces] = c;
    p->pieces[p->npieces] = c2_slice(c->mem, c->len);
    p->piece_bytes += c->len;
    return p->npieces++;
}

/* ---- inodes --------------------------------------------------------------------------------- */

struct diff_out {
    struct fs_moment *m;
    uint64_t ino;
    size_t count_at; /* in the part's meta */
    uint32_t n;
};

static void
begin_extents(struct diff_out *d)
{
    struct c2_buf *b = &last_part(d->m)->meta;
    d->n = 0;
    d->count_at = b->len;
    c2_wr_u32(b, 0);
}

static void
encode_chunk(struct fs_moment *m, struct c2_buf *b, struct fs_chunk *c)
{
    if (only_in_memory(c)) {
        c2_wr_u8(b, GROUP_PIECE);
        c2_wr_u32(b, (uint32_t)add_piece(m, c));
        return;
    }
    c2_wr_u8(b, GROUP_LOC);
    journal_loc_encode(&c->loc, b);
    c->named_seq = m->seq + m->nparts - 1;
}

static void
encode_changed(void *arg, const struct fs_extent *e)
{
    struct diff_out *d = arg;
    if (make_room(d->m)) {
        c2_wr_u8(&last_part(d->m)->meta, 'X');
        c2_wr_u64(&last_part(d->m)->meta, d->ino);
        begin_extents(d);
    }
    struct c2_buf *b = &last_part(d->m)->meta;
    c2_put_u32(b->data + d->count_at, ++d->n);
    c2_wr_u64(b, e->off);
    c2_wr_u64(b, e->len);
    if (e->source == NULL) {
        c2_wr_u8(b, GROUP_HOLE);
        return;
    }
    if (e->source->kind == FS_SOURCE_CHUNK) {
        encode_chunk(d->m, b, C2_CONTAINER_OF(e->source, struct fs_chunk, source));
    } else {
        struct fs_object *o = C2_CONTAINER_OF(e->source, struct fs_object, source);
        c2_wr_u8(b, GROUP_OBJECT);
        ds_ref_encode(&o->ref, b);
        c2_wr_u32(b, o->placed);
        c2_wr_u64(b, o->stored_bytes);
    }
    c2_wr_u64(b, e->source_off);
}

static void
encode_inode(struct fs_moment *m, struct fs_inode *i, struct c2_slice record,
             const struct fs_map *map)
{
    make_room(m);
    struct c2_buf *b = &last_part(m)->meta;
    c2_wr_u8(b, 'I');
    c2_wr_u64(b, i->ino);
    c2_wr_u64(b, i->dir_ino);
    c2_wr_u64(b, i->journal_seq);
    if (map != NULL)
        i->journal_seq = m->seq; /* all of the moment is replayed, or none of it */
    c2_wr_bytes(b, record);
    c2_wr_u8(b, map != NULL);
    if (map == NULL)
        return;
    struct diff_out d = { .m = m, .ino = i->ino };
    begin_extents(&d);
    fs_map_diff(i->journaled, map, encode_changed, &d);
}

static void
take_inode(struct fs_moment *m, struct fs_inode *i, struct fs_map *map, bool stable)
{
    if (m->ntaken == m->taken_cap) {
        m->taken_cap = m->taken_cap == 0 ? 64 : m->taken_cap * 2;
        m->taken = c2_realloc(m->taken, m->taken_cap, sizeof(*m->taken));
    }
    m->taken[m->ntaken++] =
        (struct fs_taken){ .inode = i, .stable = stable, .new_before = i->journal_new };
    fs_inode_pin(m->fs, i);
    fs_map_unref(i->journaled);
    i->journaled = map == NULL ? NULL : fs_map_ref(map);
    i->journal_new = false;
    i->journaling = true;
}

static void
emit_stable(struct fs_moment *m, struct fs_inode *i)
{
    if (i->stable == NULL || !i->stable->dirty_journal)
        return;
    C2_MARK("publish: stable state of a held file");
    encode_inode(m, i, c2_buf_slice(&i->stable->record), i->stable->map);
    take_inode(m, i, i->stable->map, true);
    i->stable->dirty_journal = false;
}

static void
emit_inode(struct fs_moment *m, struct fs_inode *i)
{
    struct fs *fs = m->fs;
    if (fs_inode_held(fs, i)) {
        emit_stable(m, i); /* the live state stays dirty */
        return;
    }
    fs_inode_publish(fs, i);
    if (!(i->gone && i->journal_new && i->is_new)) {
        struct fs_map *map = i->gone ? NULL : i->map;
        struct c2_buf record = { 0 };
        fs_inode_count_blocks(i);
        fs_inode_record_encode(i, &record);
        encode_inode(m, i, c2_buf_slice(&record), map);
        c2_buf_done(&record);
        take_inode(m, i, map, false);
    }
    i->dirty_journal = false;
    c2_list_remove(&fs->journal_inodes, &i->journal_link);
    fs_inode_settle(fs, i);
}

/* ---- entries -------------------------------------------------------------------------------- */

static void
take_dentry(struct fs_moment *m, struct fs_dentry *e)
{
    if (m->nentries == m->entries_cap) {
        m->entries_cap = m->entries_cap == 0 ? 64 : m->entries_cap * 2;
        m->entries = c2_realloc(m->entries, m->entries_cap, sizeof(struct fs_dentry *));
    }
    m->entries[m->nentries++] = e;
    e->pins++;
}

static void
emit_dentry(struct fs_moment *m, struct fs_dentry *e)
{
    struct fs *fs = m->fs;
    /* An entry of a new file that is held waits for it; what it replaced does not. */
    const struct fs_inode *child = e->ino == 0 ? NULL : fs_inode_peek(fs, e->ino);
    bool defer = child != NULL && child->journal_new;
    bool known = e->in_store || e->in_journal;
    if (defer && (!known || e->removal_journaled))
        return;
    make_room(m);
    struct c2_buf *b = &last_part(m)->meta;
    c2_wr_u8(b, 'D');
    c2_wr_u64(b, e->dir);
    c2_wr_u64(b, defer ? 0 : e->ino);
    c2_wr_u32(b, defer ? 0 : e->type);
    c2_wr_bytes(b, c2_slice_str(e->name));
    take_dentry(m, e);
    e->removal_journaled = defer;
    if (defer)
        return;
    e->in_journal = e->in_journal || e->ino != 0;
    e->dirty_journal = false;
    c2_list_remove(&fs->journal_dentries, &e->journal_link);
    fs_dentry_settle(fs, e);
}

/* ---- moments -------------------------------------------------------------------------------- */

void
fs_moment_build(struct fs_moment *m)
{
    struct fs *fs = m->fs;
    struct journal_stats js;
    C2_ASSERT(m->nparts == 0);
    journal_stats(fs->journal, &js);
    m->seq = js.last_seq + 1; /* nobody else appends */
    begin_part(m, 0);
    c2_wr_u8(&m->parts[0].meta, 'N');
    c2_wr_u64(&m->parts[0].meta, fs->next_ino);
    C2_LIST_FOREACH (&fs->journal_inodes, struct fs_inode, i, journal_link) {
        emit_inode(m, i);
    }
    C2_LIST_FOREACH (&fs->journal_dentries, struct fs_dentry, e, journal_link) {
        emit_dentry(m, e);
    }
    if (m->ntaken + m->nentries == 0)
        fs_moment_end(m, true);
}

void
fs_moment_spill(struct fs_moment *m, uint64_t bytes)
{
    struct fs_part *p = add_part(m);
    C2_LIST_FOREACH (&m->fs->chunks_mem, struct fs_chunk, c, link) {
        if (part_full(p) || p->piece_bytes >= bytes)
            break;
        if (only_in_memory(c) && c->mem_users == 0 && c->len > 0)
            add_piece(m, c);
    }
    if (p->npieces == 0)
        fs_moment_end(m, true);
}

static void
part_clear(struct fs_moment *m, struct fs_part *p)
{
    for (size_t k = 0; k < p->npieces; k++) {
        p->chunks[k]->part = 0;
        fs_chunk_unuse_mem(m->fs, p->chunks[k]);
        fs_source_unref(&p->chunks[k]->source);
    }
    c2_free(p->chunks);
    c2_free(p->pieces);
    c2_buf_done(&p->meta);
    *p = (struct fs_part){ 0 };
}

void
fs_part_written(struct fs_moment *m, struct fs_part *p, const struct journal_loc *locs)
{
    for (size_t k = 0; k < p->npieces; k++) {
        struct fs_chunk *c = p->chunks[k];
        if (c->object != NULL || c->journaled) {
            /* The clouds were faster, or an earlier part had it too. */
            journal_unhold(m->fs->journal, &locs[k]);
            continue;
        }
        c->loc = locs[k];
        c->journaled = true;
    }
    part_clear(m, p);
}

/* Not in the journal after all, and nobody knows what is: the next moment says everything. */
static void
inode_not_written(struct fs *fs, const struct fs_taken *t)
{
    struct fs_inode *i = t->inode;
    i->journal_new = t->new_before && !i->committed_counted;
    i->journal_seq = 0;
    if (i->map != NULL) {
        fs_map_unref(i->journaled);
        i->journaled = fs_map_new();
        fs_map_set(&i->journaled, 0, FS_FILE_SIZE_MAX, &fs->unknown, 0);
    }
    if (t->stable && i->stable != NULL)
        i->stable->dirty_journal = true;
    fs_inode_dirty(fs, i);
}

void
fs_moment_end(struct fs_moment *m, bool written)
{
    struct fs *fs = m->fs;
    for (size_t k = 0; k < m->nparts; k++)
        part_clear(m, &m->parts[k]);
    for (size_t k = 0; k < m->ntaken; k++) {
        struct fs_inode *i = m->taken[k].inode;
        i->journaling = false;
        if (!written)
            inode_not_written(fs, &m->taken[k]);
        fs_stable_settle(i);
        fs_inode_unpin(fs, i);
    }
    for (size_t k = 0; k < m->nentries; k++) {
        struct fs_dentry *e = m->entries[k];
        e->removal_journaled = e->removal_journaled && written;
        if (!written && !e->dirty_journal) {
            e->dirty_journal = true;
            c2_list_append(&fs->journal_dentries, &e->journal_link);
        }
        e->pins--;
        fs_dentry_settle(fs, e);
    }
    m->nparts = m->ntaken = m->nentries = 0;
}

void
fs_moment_done(struct fs_moment *m)
{
    C2_ASSERT(m->nparts == 0);
    c2_free(m->parts);
    c2_free(m->taken);
    c2_free(m->entries);
}
