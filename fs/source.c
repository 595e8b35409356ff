/* SPDX-License-Identifier: MIT */
/*
 * Sources of bytes: objects (one per id and mount, found by id) and chunks (bytes that are in
 * memory, in the journal, or already in an object).
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "fs/fs.h"

/* A piece of the journal that groups name which are not committed. */
struct named_piece {
    struct c2_link link;
    struct journal_loc loc;
    uint64_t seq;
};

void
fs_chunk_leave_journal(struct fs *fs, struct fs_chunk *c)
{
    if (!c->journaled)
        return;
    c->journaled = false;
    if (c->named_seq <= fs->trimmed_seq) {
        journal_unhold(fs->journal, &c->loc);
        return;
    }
    C2_MARK("source: a piece stays for the groups that name it");
    struct named_piece *n = c2_calloc(1, sizeof(*n));
    n->loc = c->loc;
    n->seq = c->named_seq;
    c2_list_append(&fs->named_pieces, &n->link);
}

void
fs_journal_trim(struct fs *fs, uint64_t seq)
{
    fs->trimmed_seq = C2_MAX(fs->trimmed_seq, seq);
    C2_LIST_FOREACH (&fs->named_pieces, struct named_piece, n, link) {
        if (n->seq > fs->trimmed_seq)
            continue;
        c2_list_remove(&fs->named_pieces, &n->link);
        journal_unhold(fs->journal, &n->loc);
        c2_free(n);
    }
    journal_trim(fs->journal, seq);
}

void
fs_named_pieces_free(struct fs *fs)
{
    /* Their holds stay: closing the journal must not free what the next mount replays. */
    C2_LIST_FOREACH (&fs->named_pieces, struct named_piece, n, link) {
        c2_list_remove(&fs->named_pieces, &n->link);
        c2_free(n);
    }
}

static void
chunk_free(struct fs_chunk *c)
{
    struct fs *fs = c->source.fs;
    C2_ASSERT(c->mem_users == 0);
    if (c->mem != NULL) {
        c2_list_remove(&fs->chunks_mem, &c->link);
        fs->chunk_bytes -= c->cap;
        c2_free(c->mem);
    }
    fs_chunk_leave_journal(fs, c);
    if (c->object != NULL)
        fs_source_unref(&c->object->source);
    c2_free(c);
}

void
fs_source_ref(struct fs_source *s)
{
    C2_ASSERT(s->refs > 0);
    s->refs++;
}

void
fs_source_unref(struct fs_source *s)
{
    if (s == NULL)
        return;
    C2_ASSERT(s->refs > 0);
    if (--s->refs > 0)
        return;
    if (s->kind == FS_SOURCE_CHUNK) {
        chunk_free(C2_CONTAINER_OF(s, struct fs_chunk, source));
        return;
    }
    struct fs_object *o = C2_CONTAINER_OF(s, struct fs_object, source);
    c2_map_remove(&s->fs->objects, &o->node);
    c2_free(o);
}

static bool
same_oid(const struct ds_oid *a, const struct ds_oid *b)
{
    return a->sid == b->sid && a->seq == b->seq && memcmp(a->rnd, b->rnd, sizeof(a->rnd)) == 0;
}

static uint64_t
hash_of(const struct fs *fs, const struct ds_oid *oid)
{
    return c2_map_hash_u64(&fs->objects, oid->sid * 0x9e3779b97f4a7c15ull ^ oid->seq);
}

bool
fs_object_known(struct fs *fs, uint64_t sid, uint64_t seq)
{
    const struct ds_oid oid = { .sid = sid, .seq = seq };
    for (struct c2_map_node *n = c2_map_find(&fs->objects, hash_of(fs, &oid)); n != NULL;
         n = c2_map_find_next(n)) {
        const struct fs_object *o = C2_CONTAINER_OF(n, struct fs_object, node);
        if (o->ref.oid.sid == sid && o->ref.oid.seq == seq)
            return true;
    }
    return false;
}

struct fs_object *
fs_object_peek(struct fs *fs, const struct ds_oid *oid)
{
    for (struct c2_map_node *n = c2_map_find(&fs->objects, hash_of(fs, oid)); n != NULL;
         n = c2_map_find_next(n)) {
        struct fs_object *o = C2_CONTAINER_OF(n, struct fs_object, node);
        if (same_oid(&o->ref.oid, oid))
            return o;
    }
    return NULL;
}

struct fs_object *
fs_object_get(struct fs *fs, const struct ds_ref *ref)
{
    struct fs_object *o = fs_object_peek(fs, &ref->oid);
    if (o != NULL) {
        fs_source_ref(&o->source);
        return o;
    }
    o = c2_calloc(1, sizeof(*o));
    o->source = (struct fs_source){ .kind = FS_SOURCE_OBJECT, .refs = 1, .fs = fs };
    o->ref = *ref;
    o->recorded = o->placed_known = fs_object_is_nowhere(o); /* nobody has to be asked */
    o->node.hash = hash_of(fs, &ref->oid);
    c2_map_insert(&fs->objects, &o->node);
    return o;
}

struct fs_chunk *
fs_chunk_new(struct fs *fs, uint32_t cap)
{
    C2_ASSERT(cap <= FS_CHUNK_SIZE_MAX);
    struct fs_chunk *c = c2_calloc(1, sizeof(*c));
    c->source = (struct fs_source){ .kind = FS_SOURCE_CHUNK, .refs = 1, .fs = fs };
    c->order = fs->chunk_order++;
    if (cap > 0) {
        c->mem = c2_alloc(cap);
        c->cap = cap;
        fs->chunk_bytes += cap;
        c2_list_append(&fs->chunks_mem, &c->link);
    }
    return c;
}

void
fs_chunk_use_mem(struct fs *fs, struct fs_chunk *c)
{
    C2_ASSERT(c->mem != NULL && c->frozen);
    if (c->mem_users++ == 0)
        fs->chunk_bytes_in_use += c->cap;
}

void
fs_chunk_unuse_mem(struct fs *fs, struct fs_chunk *c)
{
    C2_ASSERT(c->mem_users > 0);
    if (--c->mem_users > 0)
        return;
    fs->chunk_bytes_in_use -= c->cap;
    if (c->mem_unwanted)
        fs_chunk_drop_mem(fs, c);
}

void
fs_chunk_drop_mem(struct fs *fs, struct fs_chunk *c)
{
    C2_ASSERT(c->journaled || c->object != NULL);
    c->mem_unwanted = c->mem_users > 0;
    if (c->mem == NULL || c->mem_unwanted)
        return;
    c2_list_remove(&fs->chunks_mem, &c->link);
    fs->chunk_bytes -= c->cap;
    c2_free(c->mem);
    c->mem = NULL;
    c->cap = 0;
}
