/* SPDX-License-Identifier: MIT */
/*
 * Journal replay.
 *
 *   OPEN (journal reads its files, hands over the groups above the committed position) -->
 *   for each group: LOAD (the inodes it names, as the store has them) --> APPLY --> next
 *   --> OBJECTS (which of those it names have a record)
 *
 * A group is the state after a moment, not a list of operations, so applying one twice does no harm
 * and no case of any operation is repeated here. Of the content of a file it has what changed since
 * the group before: where the disk has lost that one, the file stays as it was then (its size and
 * mtime, too, so that whoever compares sees it), until a group has all of its content again; a file
 * that began in the lost group has nothing but what came later, and errors. The data stays in the
 * journal: chunks point to it. Nothing is read from the clouds, which may not answer: see
 * fs/deferred.h.
 */
#include "fs/replay.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/wire.h"
#include "fs/deferred.h"
#include "fs/group_read.h"
#include "fs/leftover.h"
#include "fs/load.h"
#include "fs/object_get.h"
#include "fs/publish.h"
#include "fs/records.h"

struct group {
    struct c2_link link;
    uint64_t seq;
    uint8_t flags;
    struct c2_buf meta;
    struct journal_loc *locs;
    size_t nlocs;
};

/* The chunk of each journal piece met so far, so that each piece has one. */
struct piece {
    struct c2_map_node node;
    struct fs_chunk *chunk; /* one reference */
};

struct replay {
    struct fs_replay *r;
    struct fs *fs;
    struct journal_replay jr;
    struct journal_open open;
    struct c2_list groups;
    struct c2_map pieces;
    uint64_t inos[COORD_GET_KEYS_MAX];
    uint64_t moment; /* the first group of the one at hand */
    unsigned behind; /* times that content was left out */
};

static void next_group(struct replay *p);

/* ---- pieces --------------------------------------------------------------------------------- */

static struct fs_chunk *
piece_chunk(struct replay *p, const struct journal_loc *loc, bool held)
{
    uint64_t hash = c2_map_hash_u64(&p->pieces, loc->segment * 0x9e3779b97f4a7c15ull ^ loc->offset);
    for (struct c2_map_node *n = c2_map_find(&p->pieces, hash); n != NULL;
         n = c2_map_find_next(n)) {
        struct fs_chunk *c = C2_CONTAINER_OF(n, struct piece, node)->chunk;
        if (c->loc.segment == loc->segment && c->loc.offset == loc->offset)
            return c;
    }
    struct piece *x = c2_calloc(1, sizeof(*x));
    struct fs_chunk *c = fs_chunk_new(p->fs, 0);
    c->len = loc->len;
    c->loc = *loc;
    c->journaled = c->frozen = true;
    if (!held)
        journal_hold(p->fs->journal, loc);
    x->chunk = c;
    x->node.hash = hash;
    c2_map_insert(&p->pieces, &x->node);
    return c;
}

static void
drop_pieces(struct replay *p)
{
    struct c2_map_node *next;
    for (struct c2_map_node *n = c2_map_take_all(&p->pieces); n != NULL; n = next) {
        struct piece *x = C2_CONTAINER_OF(n, struct piece, node);
        next = n->next;
        fs_source_unref(&x->chunk->source);
        c2_free(x);
    }
    c2_map_done(&p->pieces);
}

/* ---- extents of a group ---------------------------------------------------------------------- */

struct extent_item {
    uint64_t off, len;
    struct fs_source *source; /* one reference, or NULL = hole */
    uint64_t source_off;
};

/* The source of an extent and how many bytes it has. */
static uint64_t
extent_source(struct replay *p, const struct group *g, const struct group_extent *in,
              struct fs_source **ret_source)
{
    if (in->kind == GROUP_OBJECT) {
        struct fs_object *o = fs_object_get(p->fs, &in->ref);
        if (in->placed != 0) {
            o->placed = in->placed;
            o->placed_known = true;
            o->stored_bytes = in->stored_bytes;
        }
        *ret_source = &o->source;
        return o->ref.plain_len; /* which counts when two references differ */
    }
    bool own = in->kind == GROUP_PIECE;
    struct fs_chunk *c = piece_chunk(p, own ? &g->locs[in->piece] : &in->loc, own);
    if (!own)
        c->named_seq = C2_MAX(c->named_seq, g->seq);
    fs_source_ref(&c->source);
    *ret_source = &c->source;
    return c->len;
}

static void
next_extent(struct replay *p, const struct group *g, struct c2_rd *r, struct extent_item *x)
{
    struct group_extent in;
    uint64_t limit = 0;
    group_read_extent(r, &in);
    *x = (struct extent_item){ .off = in.off, .len = in.len, .source_off = in.source_off };
    if (in.kind == GROUP_PIECE && in.piece >= g->nlocs)
        c2_rd_fail(r);
    if (!c2_rd_ok(r))
        return;
    if (in.kind != GROUP_HOLE)
        limit = extent_source(p, g, &in, &x->source);
    bool inside = x->source == NULL || (x->source_off <= limit && x->len <= limit - x->source_off);
    if (x->len == 0 || x->off > (uint64_t)FS_FILE_SIZE_MAX || !inside ||
        (x->source != NULL && x->len > (uint64_t)FS_FILE_SIZE_MAX - x->off))
        c2_rd_fail(r);
}

/* ---- applying ------------------------------------------------------------------------------- */

static void
apply_extents(struct replay *p, const struct group *g, struct c2_rd *r, struct fs_inode *i,
              const struct group_item *it)
{
    if (i->map == NULL && i->manifest != NULL)
        fs_deferred_add(p->fs, i);
    else if (i->map == NULL)
        i->map = fs_map_new();
    for (uint32_t k = 0; k < it->nextents && c2_rd_ok(r); k++) {
        struct extent_item x;
        next_extent(p, g, r, &x);
        if (c2_rd_ok(r) && x.source == NULL)
            fs_map_punch(&i->map, x.off, x.len);
        else if (c2_rd_ok(r))
            fs_map_set(&i->map, x.off, x.len, x.source, x.source_off);
        if (x.source != NULL && x.source->kind == FS_SOURCE_CHUNK) {
            struct fs_chunk *c = C2_CONTAINER_OF(x.source, struct fs_chunk, source);
            c->ino = i->ino;
            c->dir_ino = i->dir_ino;
        }
        fs_source_unref(x.source);
    }
}

static void
stay_behind(struct replay *p, const struct group *g, struct fs_inode *i)
{
    char name[FS_DESCRIPTION_MAX];
    C2_MARK("replay: content that builds on a lost group is left out");
    fs_describe_inode(p->fs, i->ino, name);
    if (!i->behind)
        c2_log(ERROR, "replay",
               "file=\"%s\" group=%llu builds on one that the disk has lost: the file stays as it "
               "was before that",
               name, (unsigned long long)g->seq);
    i->behind = true;
    p->behind++;
}

static void
apply_content(struct replay *p, const struct group *g, struct c2_rd *r, struct fs_inode *i,
              const struct group_item *it)
{
    bool fits = !it->content || it->before <= p->r->after_seq || it->before == i->journal_seq;
    bool here = i->map != NULL || i->manifest == NULL; /* or the clouds have to be asked for it */
    if (!fits && here && group_is_whole(*r, it, i->attr.size)) {
        C2_MARK("replay: all of the content again");
        fs_map_unref(i->map);
        i->map = fs_map_new();
    } else if (!fits && !(i->is_new && i->map == NULL)) {
        stay_behind(p, g, i);
        group_skip_extents(r, it);
        return;
    } else if (!fits) {
        fs_inode_lose(p->fs, i);
    }
    apply_extents(p, g, r, i, it);
    if (!it->content)
        return;
    i->behind = false;
    i->journal_seq = p->moment;
}

static void
journal_has_it(struct fs *fs, struct fs_inode *i)
{
    if (i->dirty_journal) {
        i->dirty_journal = false;
        c2_list_remove(&fs->journal_inodes, &i->journal_link);
    }
    i->journal_new = false;
    fs_map_unref(i->journaled);
    i->journaled = i->map == NULL ? NULL : fs_map_ref(i->map);
}

static C2_RESULT
apply_inode(struct replay *p, const struct group *g, struct c2_rd *r, const struct group_item *it)
{
    struct fs *fs = p->fs;
    struct fs_inode *i = fs_inode_peek(fs, it->ino);
    C2_ASSERT(i != NULL);
    if (i->gone) { /* it was written to after it had lost its name; nobody has it open any more */
        group_skip_extents(r, it);
        return C2_E_OK;
    }
    bool absent = i->attr.mode == 0;
    const struct fs_attr before = i->attr;
    uint64_t old_size = absent || !S_ISREG(i->attr.mode) ? 0 : fs_counted_bytes(i->attr.size);
    struct c2_rd record = c2_rd_init(it->record);
    C2_TRY(fs_inode_record_decode(&record, i));
    C2_TRY(c2_rd_finish(&record));
    if (i->attr.ino != it->ino)
        return C2_E_PARSE;
    if (absent) {
        i->is_new = true;
        fs->used_files++;
    }
    i->dir_ino = it->dir;
    if (it->content || (absent && S_ISREG(i->attr.mode)))
        apply_content(p, g, r, i, it);
    if (i->behind) {
        i->attr.size = before.size;
        i->attr.mtime = before.mtime;
    }
    if (S_ISREG(i->attr.mode)) {
        fs->used_bytes += fs_counted_bytes(i->attr.size);
        fs->used_bytes -= C2_MIN(fs->used_bytes, old_size);
    }
    fs->next_ino = C2_MAX(fs->next_ino, it->ino + 1);
    fs_inode_dirty(fs, i);
    fs_inode_links_changed(fs, i);
    journal_has_it(fs, i);
    return C2_E_OK;
}

static C2_RESULT
apply_more(struct replay *p, const struct group *g, struct c2_rd *r, const struct group_item *it)
{
    struct fs_inode *i = fs_inode_peek(p->fs, it->ino);
    if (i == NULL || !S_ISREG(i->attr.mode))
        return C2_E_PARSE;
    if (i->behind || i->gone)
        group_skip_extents(r, it);
    else
        apply_extents(p, g, r, i, it);
    journal_has_it(p->fs, i);
    return C2_E_OK;
}

static void
apply_dentry(struct replay *p, const struct group_item *it)
{
    struct fs *fs = p->fs;
    struct fs_inode *dir = fs_inode_peek(fs, it->dir);
    char name[FS_NAME_MAX + 1] = { 0 };
    uint8_t hash[KEYS_NAME_HASH_LEN];
    C2_ASSERT(dir != NULL && it->name.data != NULL);
    memcpy(name, it->name.data, it->name.len);
    keys_name_hash(fs->part.keys, it->dir, it->name, hash);
    struct fs_dentry *e = fs_dentry_peek(fs, it->dir, hash, name);
    if (e == NULL)
        e = fs_dentry_insert(fs, it->dir, name);
    e->in_store = true; /* it may be: then a removal has to say so */
    fs_dentry_restore(fs, dir, e, it->ino, it->type);
}

static C2_RESULT
apply_group(struct replay *p, const struct group *g)
{
    uint8_t version;
    struct c2_rd r = group_read_begin(c2_buf_slice(&g->meta), &version);
    struct group_item it;
    if ((g->flags & GROUP_FOLLOWS) == 0)
        p->moment = g->seq;
    for (size_t k = 0; k < g->nlocs; k++)
        (void)piece_chunk(p, &g->locs[k], true);
    while (group_read_item(&r, version, &it)) {
        if (it.kind == 'N')
            p->fs->next_ino = C2_MAX(p->fs->next_ino, it.next_ino);
        else if (it.kind == 'I')
            C2_TRY(apply_inode(p, g, &r, &it));
        else if (it.kind == 'X')
            C2_TRY(apply_more(p, g, &r, &it));
        else
            apply_dentry(p, &it);
    }
    return c2_rd_finish(&r);
}

/* ---- the walk through the groups ------------------------------------------------------------- */

static void
drop_group(struct replay *p, struct group *g)
{
    c2_list_remove(&p->groups, &g->link);
    c2_buf_done(&g->meta);
    c2_free(g->locs);
    c2_free(g);
}

/* Its pieces stay: other groups may name them. */
static void
forget_items(struct group *g)
{
    C2_MARK("replay: part of a moment that is not there as a whole");
    c2_buf_clear(&g->meta);
    c2_wr_u8(&g->meta, GROUP_VERSION);
    c2_wr_u8(&g->meta, 0);
}

static void
forget_before(struct c2_link *link, size_t n)
{
    for (; n > 0; n--) {
        link = link->prev;
        forget_items(C2_CONTAINER_OF(link, struct group, link));
    }
}

/* Moments that are not there as a whole: the last one was being written at the crash, or the store
 * has all of it and only its end is left in the journal. */
static void
forget_incomplete(struct replay *p)
{
    size_t open = 0; /* groups of a moment that goes on */
    uint64_t last_seq = 0;
    C2_LIST_FOREACH (&p->groups, struct group, g, link) {
        bool follows = (g->flags & GROUP_FOLLOWS) != 0;
        bool next = open > 0 && follows && g->seq == last_seq + 1;
        if (!next) {
            forget_before(&g->link, open);
            open = 0;
        }
        last_seq = g->seq;
        if (follows && !next)
            forget_items(g);
        else
            open = (g->flags & GROUP_CONTINUES) != 0 ? open + 1 : 0;
    }
    forget_before(&p->groups.head, open);
}

/* Of what the journal could not read, files and groups know by now what they need. */
static void
lose_damaged(struct replay *p)
{
    for (struct c2_map_node *n = c2_map_next(&p->pieces, NULL); n != NULL;
         n = c2_map_next(&p->pieces, n)) {
        struct fs_chunk *c = C2_CONTAINER_OF(n, struct piece, node)->chunk;
        if (c->loc.damaged)
            fs_chunk_lose(p->fs, c);
    }
}

static void
tell_behind(const struct replay *p)
{
    char *text = p->r->report->damage;
    size_t len = strlen(text), max = sizeof(p->r->report->damage);
    (void)snprintf(text + len, max - len,
                   "; changes of files that build on it and are left out: %u", p->behind);
}

static void
end(struct replay *p, enum c2_err err)
{
    struct fs_replay *r = p->r;
    while (!c2_list_empty(&p->groups))
        drop_group(p, C2_LIST_FIRST(&p->groups, struct group, link));
    if (p->fs->journal != NULL) {
        if (err == C2_E_OK)
            lose_damaged(p);
        if (p->behind > 0)
            tell_behind(p);
        drop_pieces(p);
        if (err == C2_E_OK)
            fs_journal_trim(p->fs, r->after_seq);
    }
    if (err != C2_E_OK && r->error == NULL)
        r->error = c2_asprintf("the journal cannot be replayed: %s", c2_err_text(err));
    c2_free(p);
    r->err = err;
    r->done(r);
}

/* What this device promised was made for a state that another one has replaced. */
static C2_RESULT
check_owner(struct replay *p)
{
    struct fs_replay *r = p->r;
    struct leftover l = { 0 };
    C2_LIST_FOREACH (&p->groups, struct group, g, link) {
        leftover_count(&l, c2_buf_slice(&g->meta));
    }
    if (r->foreign && l.groups > 0) {
        C2_MARK("replay: refused, another device has committed since");
        r->error = leftover_text(&l, p->fs->part.journal_dir, c2_wall_ns(p->fs->part.env));
    }
    leftover_done(&l);
    return r->error == NULL ? C2_E_OK : C2_E_CONFLICT;
}

static size_t
missing_inodes(struct replay *p, const struct group *g)
{
    uint8_t version;
    struct c2_rd r = group_read_begin(c2_buf_slice(&g->meta), &version);
    struct group_item it;
    size_t n = 0;
    while (n < COORD_GET_KEYS_MAX && group_read_item(&r, version, &it)) {
        group_skip_extents(&r, &it);
        uint64_t ino = it.kind == 'D' ? it.dir : it.ino;
        bool known = ino == 0 || fs_inode_peek(p->fs, ino) != NULL;
        for (size_t k = n; !known && k > 0 && n - k < 16; k--)
            known = p->inos[k - 1] == ino;
        if (!known)
            p->inos[n++] = ino;
    }
    return n;
}

static void
inodes_loaded(void *arg, enum c2_err err)
{
    struct replay *p = arg;
    if (err != C2_E_OK)
        end(p, err);
    else
        next_group(p);
}

static void
objects_looked_up(void *arg, enum c2_err err)
{
    end(arg, err);
}

static void
next_group(struct replay *p)
{
    struct group *g;
    while ((g = C2_LIST_FIRST(&p->groups, struct group, link)) != NULL) {
        size_t n = missing_inodes(p, g);
        if (n > 0) {
            fs_load_inodes_for(p->fs, p->inos, n, inodes_loaded, p);
            return;
        }
        enum c2_err err = apply_group(p, g);
        if (err != C2_E_OK) {
            /* It was sealed by us and read back whole: another version of this program wrote it. */
            end(p, err);
            return;
        }
        drop_group(p, g);
    }
    fs_objects_look_up(p->fs, objects_looked_up, p);
}

static enum c2_err
take_group(struct journal_replay *jr, uint64_t seq, struct c2_slice meta,
           const struct journal_loc *locs, size_t nlocs)
{
    C2_TRY(group_check_version(meta));
    struct replay *p = C2_CONTAINER_OF(jr, struct replay, jr);
    struct group *g = c2_calloc(1, sizeof(*g));
    g->seq = seq;
    g->nlocs = nlocs;
    g->locs = c2_calloc(nlocs, sizeof(*g->locs));
    for (size_t k = 0; k < nlocs; k++)
        g->locs[k] = locs[k];
    if (meta.len > 0) {
        c2_buf_append(&g->meta, meta.data, meta.len);
        g->flags = meta.data[1];
    } else {
        c2_wr_u8(&g->meta, GROUP_VERSION);
        c2_wr_u8(&g->meta, 0);
    }
    c2_list_append(&p->groups, &g->link);
    return C2_E_OK;
}

static void
opened(struct journal_open *o)
{
    struct replay *p = C2_CONTAINER_OF(o, struct replay, open);
    struct fs_open_report *rep = p->r->report;
    if (o->err != C2_E_OK) {
        p->r->error = o->error;
        end(p, o->err);
        return;
    }
    p->fs->journal = o->journal;
    rep->replayed_groups = p->jr.groups;
    rep->replayed_bytes = p->jr.bytes;
    rep->damaged_groups = p->jr.damaged_groups;
    memcpy(rep->damage, p->jr.damage, sizeof(rep->damage));
    if (p->jr.damaged_groups > 0)
        c2_log(ERROR, "replay", "journal damaged: groups=%llu %s, what follows is replayed",
               (unsigned long long)p->jr.damaged_groups, p->jr.damage);
    forget_incomplete(p);
    enum c2_err err = check_owner(p);
    if (err == C2_E_OK)
        next_group(p);
    else
        end(p, err);
}

void
fs_replay_start(struct fs_replay *r, const struct fs_parts *parts)
{
    struct replay *p = c2_calloc(1, sizeof(*p));
    p->r = r;
    p->fs = r->fs;
    c2_list_init(&p->groups);
    c2_map_init(&p->pieces, parts->session);
    p->jr = (struct journal_replay){ .group = take_group, .after_seq = r->after_seq };
    p->open = (struct journal_open){ .replay = &p->jr, .done = opened };
    p->open.config.dir = parts->journal_dir;
    p->open.config.size_max = parts->journal_size;
    p->open.config.segment_size = parts->journal_segment_size;
    memcpy(p->open.config.key, parts->journal_key, sizeof(parts->journal_key));
    journal_open_start(parts->env, &p->open);
    c2_wipe(p->open.config.key, sizeof(p->open.config.key));
}
