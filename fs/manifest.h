/* SPDX-License-Identifier: MIT */
/*
 * How a content map is stored. A few extents are inline in the inode record. Beyond that the record
 * names the leaves of a manifest: runs of extents, each with its own dictionary of objects, stored
 * like file data in packs; inline extents then say what changed since the manifest was written, so
 * that an append to a large file writes no manifest. docs/formats.md has the bytes.
 */
#ifndef C2_FS_MANIFEST_H
#define C2_FS_MANIFEST_H

#include "fs/extent.h"

#define FS_LEAF_EXTENTS     1024 /* unless there would be too many leaves */
#define FS_LEAF_EXTENTS_MAX 8192 /* a leaf is at most 1 MiB */
#define FS_LEAVES_MAX       256  /* so that they fit an inode record */
#define FS_MAP_EXTENTS_MAX  (FS_LEAVES_MAX / 2 * (FS_LEAF_EXTENTS_MAX - 64))

struct fs_leaf {
    uint64_t off;             /* file offset where it begins; it ends where the next one begins */
    struct fs_source *source; /* owned; the bytes of the leaf, source_off 0 for a chunk */
    uint64_t source_off;
    uint32_t len;
};

struct fs_manifest {
    size_t nleaves;
    struct fs_leaf *leaves; /* sorted; the first one has off 0 */
    struct fs_map *base;    /* what the leaves say; NULL until loaded */
    struct c2_buf inlined;  /* encoded inline extents, until base is loaded */
};

void fs_manifest_free(struct fs_manifest *m); /* NULL is fine */

struct fs_inode;
struct c2_rd;

/* Whether the map can be stored as inline extents over the manifest (NULL = none). */
bool fs_content_fits_inline(const struct fs_manifest *m, const struct fs_map *map);
/* A manifest of the whole map. Unchanged leaves of `old` are kept; new ones are frozen chunks that
 * must be uploaded before the record is encoded. All sources of the map must be objects. */
struct fs_manifest *fs_manifest_build(struct fs *fs, const struct fs_manifest *old,
                                      struct fs_map *map);
/* Content part of the inode record. Everything must be in objects. map NULL: the content was never
 * loaded and goes back as it came. */
void fs_content_encode(const struct fs_manifest *m, const struct fs_map *map, struct c2_buf *out);
/* Sets i->map and i->committed, or i->manifest when leaves have to be read first. */
C2_RESULT fs_content_decode(struct fs *fs, struct c2_rd *r, struct fs_inode *i);
/* One leaf's bytes into the base map; fails on anything outside [off, end). */
C2_RESULT fs_leaf_decode(struct fs *fs, struct c2_slice bytes, uint64_t off, uint64_t end,
                         struct fs_map **map);
/* The same without a mount: somebody else says which source stands for an object. */
struct fs_content_names {
    /* One reference; NULL when it contradicts another reference to the same object. */
    struct fs_source *(*object)(void *arg, const struct ds_ref *ref);
    void *arg;
};
/* What follows the attributes: *ret_manifest, of which base is not read yet, or *ret_map. */
C2_RESULT fs_content_parse(const struct fs_content_names *names, struct c2_rd *r,
                           struct fs_manifest **ret_manifest, struct fs_map **ret_map);
/* A leaf, or the inline extents of a manifest: over what *map has; fails on anything outside
 * [from, end). */
C2_RESULT fs_extents_parse(const struct fs_content_names *names, struct c2_rd *r, uint64_t from,
                           uint64_t end, struct fs_map **map);
/* Base is complete: applies the inline extents and sets i->map and i->committed. */
C2_RESULT fs_content_loaded(struct fs *fs, struct fs_inode *i);

#endif
