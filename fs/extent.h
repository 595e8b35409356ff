/* SPDX-License-Identifier: MIT */
/*
 * What a file consists of: a sorted map of extents (file range -> range of a source of bytes);
 * what no extent covers is a hole. Maps are reference-counted and copied on write, so that a
 * transaction group, the journal and the live file can each hold their own moment of it.
 *
 * A source is either an object in the clouds or a chunk: bytes written here that are not (known to
 * be) in the clouds yet. A chunk learns its object when it has been uploaded; from then on it
 * stands for a range of that object.
 */
#ifndef C2_FS_EXTENT_H
#define C2_FS_EXTENT_H

#include "base/list.h"
#include "base/map.h"
#include "depsky/depsky.h"
#include "fs/journal.h"

#define FS_CHUNK_SIZE_MAX (1u << 20)
#define FS_FILE_SIZE_MAX  INT64_MAX

enum fs_source_kind { FS_SOURCE_OBJECT, FS_SOURCE_CHUNK };

struct fs_source {
    enum fs_source_kind kind;
    unsigned refs;
    struct fs *fs; /* borrowed */
};

/* One per object id and mount, in fs->objects. */
struct fs_object {
    struct fs_source source;
    struct c2_map_node node;
    struct ds_ref ref;
    uint32_t placed; /* seats; valid when placed_known */
    bool placed_known;
    bool recorded;         /* the object record is in the store or in a queued transaction group */
    uint64_t stored_bytes; /* of an object written by this mount */
    unsigned leaf_names;   /* scratch of fs/gc_condemn.c */
};

struct fs_chunk {
    struct fs_source source;
    uint8_t *mem; /* owned; NULL when only the journal or the clouds have the bytes */
    uint32_t len, cap;
    bool frozen;        /* no byte may change any more: journalled, uploading or shared */
    bool journaled;     /* loc is valid; one hold */
    bool uploading;     /* or waiting for it: the packer has it */
    unsigned mem_users; /* uploads and journal groups that read mem: it stays */
    bool mem_unwanted;  /* dropped when the last of them has ended */
    struct journal_loc loc;
    uint64_t named_seq;       /* the latest journal group that names loc; 0 = only its own */
    size_t part, piece;       /* while a moment is built and written: where in it; 0 = not */
    struct fs_object *object; /* owned reference; NULL until uploaded */
    uint64_t object_off;
    uint64_t ino;        /* whose bytes: a pack never compresses two files together; 0 = a leaf */
    uint64_t dir_ino;    /* grouping key of packs: the directory it was created in */
    uint64_t order;      /* grouping key of packs: age */
    struct c2_link link; /* in fs->chunks_mem, oldest first, while mem is held */
    struct c2_link pack_link; /* in the packer's queue */
};

/* Objects with session id 0 are in no cloud and never counted: they stand for what cannot be read
 * (fs/lost.h) and for what is not known yet (fs/deferred.h). */
enum fs_object_nowhere { FS_OBJECT_LOST, FS_OBJECT_STAND_IN };

static inline bool
fs_object_is_nowhere(const struct fs_object *o)
{
    return o->ref.oid.sid == 0;
}

void fs_source_ref(struct fs_source *s);
void fs_source_unref(struct fs_source *s); /* NULL is fine */

/* The object with this reference: found or made; one reference for the caller. */
struct fs_object *fs_object_get(struct fs *fs, const struct ds_ref *ref);
/* The one in memory with this id, or NULL; no reference is taken. */
struct fs_object *fs_object_peek(struct fs *fs, const struct ds_oid *oid);
/* Something in memory names an object of this session with this number. */
bool fs_object_known(struct fs *fs, uint64_t sid, uint64_t seq);
struct fs_chunk *fs_chunk_new(struct fs *fs, uint32_t cap);
/* Somebody reads mem until the matching unuse. */
void fs_chunk_use_mem(struct fs *fs, struct fs_chunk *c);
void fs_chunk_unuse_mem(struct fs *fs, struct fs_chunk *c);
/* Drops the bytes in memory, now or when nobody reads them any more; the journal or an object must
 * have them. */
void fs_chunk_drop_mem(struct fs *fs, struct fs_chunk *c);
/* The chunk needs its piece of the journal no more; a replay may, until the groups that name it are
 * committed. */
void fs_chunk_leave_journal(struct fs *fs, struct fs_chunk *c);
/* Groups up to seq are committed. */
void fs_journal_trim(struct fs *fs, uint64_t seq);
void fs_named_pieces_free(struct fs *fs); /* at the end of a mount */

struct fs_extent {
    uint64_t off, len;
    struct fs_source *source; /* one reference per extent */
    uint64_t source_off;
};

struct fs_map {
    unsigned refs;
    size_t n, cap;
    struct fs_extent *e; /* sorted, disjoint, len > 0 */
};

struct fs_map *fs_map_new(void);
struct fs_map *fs_map_ref(struct fs_map *m);
void fs_map_unref(struct fs_map *m); /* NULL is fine */

/* Changing functions copy *map first when others hold it too. */
/* [off, off + len) becomes the source's range; takes no reference from the caller. */
void fs_map_set(struct fs_map **map, uint64_t off, uint64_t len, struct fs_source *source,
                uint64_t source_off);
/* [off, off + len) becomes a hole; len UINT64_MAX = to the end. */
void fs_map_punch(struct fs_map **map, uint64_t off, uint64_t len);
/* What the map has of [off, off + len); a new map. */
struct fs_map *fs_map_slice(const struct fs_map *m, uint64_t off, uint64_t len);
/* Replaces uploaded chunks by their objects and joins neighbours. */
void fs_map_resolve(struct fs_map **map);

/* Index of the first extent that ends after off; map->n when none. */
size_t fs_map_find(const struct fs_map *m, uint64_t off);
/* An uploaded chunk stands for its object: the source and offset that count. */
struct fs_source *fs_extent_source(const struct fs_extent *e, uint64_t *ret_off);
/* The same sources at the same places; both resolved. */
bool fs_map_equal(const struct fs_map *a, const struct fs_map *b);
uint64_t fs_map_bytes(const struct fs_map *m);

/* Calls fn for every range that differs between two maps, in order: source NULL = hole in `to`.
 * Either map may be NULL = empty. Ranges of one source are joined. */
void fs_map_diff(const struct fs_map *from, const struct fs_map *to,
                 void (*fn)(void *arg, const struct fs_extent *changed), void *arg);

#endif
