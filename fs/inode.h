/* SPDX-License-Identifier: MIT */
/*
 * Inodes and directory entries in memory: a bounded cache over the coordination store, and the
 * overlay of everything that changed since.
 *
 * An inode or entry is clean (as in the store), or dirty in up to two ways: for the journal (not
 * yet journalled) and for the store (not in a transaction group yet). Clean unpinned ones are
 * dropped in LRU order; dirty ones stay. While the mount holds its session nobody else writes, so
 * a clean one is always right.
 *
 * A file that is being written is *held*: its content, and its entry when it is new, reach neither
 * journal nor store before close, fsync, rename, link, or an age of FS_HOLD_NS (FS_HOLD_NEW_NS when
 * it is new), so that a crash leaves the old file, the new one, or none, and never half of it.
 */
#ifndef C2_FS_INODE_H
#define C2_FS_INODE_H

#include <sys/stat.h>

#include "base/list.h"
#include "base/map.h"
#include "fs/extent.h"
#include "fs/fs_req.h"
#include "fs/keys.h"

#define FS_HOLD_NS            (30 * 1000000000ull)
#define FS_HOLD_NEW_NS        (600 * 1000000000ull) /* a file that is new, or new again by O_TRUNC */
#define FS_INODES_MAX         65536                 /* clean ones kept */
#define FS_DENTRIES_MAX       65536                 /* clean ones kept, negative ones included */
#define FS_LINK_MAX           65000                 /* names of a file */
#define FS_DIR_LINK_MAX       INT32_MAX /* of a directory: two, and one of each directory in it */
#define FS_INLINE_OBJECTS_MAX 4
#define FS_INLINE_EXTENTS_MAX 16

/* Of a file, in the counter of what the volume holds. None can have more than FS_MAP_EXTENTS_MAX
 * objects of FS_LARGE_OBJECT, so what is beyond are holes; sizes without a limit would add up to
 * more than the counter takes. */
#define FS_COUNTED_MAX (1ull << 45)
/* Of a volume: none grows beyond it. What FS_DIRTY_MAX changes can add before a deletion is counted
 * fits above it. */
#define FS_USED_MAX (1ull << 62)

struct fs_manifest; /* fs/manifest.h */

/*
 * The last published state of an inode that is being written again before that state reached
 * journal and store: what journal and transaction groups take while the live state is held.
 */
struct fs_stable {
    struct c2_buf record; /* fs_inode_record_encode at that moment */
    struct fs_map *map;
    uint64_t size;
    bool dirty_journal; /* not in a journal group yet */
    bool dirty_commit;  /* not in a transaction group yet */
};

struct fs_inode {
    struct c2_map_node node; /* in fs->inodes */
    uint64_t ino;
    struct fs_attr attr;
    uint64_t parent;      /* directories: where .. leads */
    char *symlink;        /* owned; symlinks only */
    struct c2_buf xattrs; /* encoded list, see fs/op_xattr.c */

    struct fs_map *map;           /* regular files: content now; NULL until loaded */
    struct fs_map *journaled;     /* what a replay has before the next group: the content as of the
                                   * last journal group, fs->unknown where that is not certain */
    uint64_t journal_seq;         /* the first journal group of the last moment with its content
                                   * that the store may lack, 0 = none */
    struct fs_map *committed;     /* content in the store */
    struct fs_manifest *manifest; /* owned; NULL = all extents are inline */
    struct fs_stable *stable;     /* owned; see above, NULL = none */

    unsigned pins;        /* handles, transaction groups, running loads */
    unsigned opens;       /* handles */
    unsigned write_opens; /* handles that may write */
    bool dirty_journal, dirty_commit;
    bool is_new;      /* neither in the store nor in a transaction group */
    bool journal_new; /* not in any journal group */
    bool journaling;  /* a journal group with it is being written */
    bool behind;      /* replay: a group is missing, the content is that of before */
    bool deleted;     /* its deletion is in a transaction group */
    bool unpublished; /* content changed since it was last published */
    uint64_t unpublished_since_ns;
    bool truncated;   /* O_TRUNC not published: held as a new one, and as long as it is empty */
    bool orphaned;    /* nlink 0 while open: a G key is in the store or queued */
    bool gone;        /* nlink 0 and not open: deleted by the next group */
    uint64_t dir_ino; /* directory it was created in, for packing */
    uint64_t cut_txg; /* the latest transaction group that took it */
    uint64_t committed_size;
    uint64_t committed_version; /* of the store; 0 = not by this mount */
    bool committed_counted;     /* the store's usage counters include it */
    uint64_t stream_off;        /* sequential writing: full chunks before this are on their way */
    struct fs_chunk *tail;      /* borrowed from map: the chunk that sequential writes grow */
    size_t joined;   /* extents when they were joined last, fs/compact_crowd.c; 0 = never */
    bool join_stuck; /* ... and none could be */
    bool join_waits; /* a change waits until they are fewer */

    /* Directories: loading of names ahead, fs/load.c. */
    unsigned names_missed;    /* since the last one */
    unsigned names_ahead;     /* so many since the beginning */
    uint64_t names_after;     /* the first bytes of the hash of the last one; 0 = the beginning */
    uint64_t names_forgotten; /* that were changed by this mount and dropped from memory */
    bool names_loading;

    struct c2_link lru, journal_link, commit_link;
    struct c2_link deferred_link; /* linked: a stand-in is in map and journaled, fs/deferred.h */
    struct c2_list dirty_entries; /* directories: fs_dentry.dir_link */
};

struct fs_dentry {
    struct c2_map_node node; /* in fs->dentries */
    uint64_t dir;
    uint8_t hash[KEYS_NAME_HASH_LEN];
    uint64_t ino;  /* 0 = there is no such entry */
    uint32_t type; /* S_IFMT bits */
    bool dirty_journal, dirty_commit;
    bool in_store;   /* the store or a queued group may have an entry under this name */
    bool in_journal; /* a journal group of this mount has one */
    /* While the file it leads to is held: a group has the removal of what was there before. */
    bool removal_journaled, removal_cut;
    uint64_t cut_txg; /* the latest transaction group that took it */
    unsigned pins;
    struct c2_link lru, journal_link, commit_link, dir_link;
    char name[]; /* zero-terminated */
};

/*
 * Restartable operations: C2_E_AGAIN means that a load was started and r was parked; it runs again
 * from the start of its operation function when the load ended. Everything before the first
 * change must therefore be free of side effects.
 */
C2_RESULT fs_inode_find(struct fs_req *r, uint64_t ino, struct fs_inode **ret_inode);
/* Also its content map (the manifest of a large file is read when necessary). */
C2_RESULT fs_inode_find_content(struct fs_req *r, uint64_t ino, struct fs_inode **ret_inode);
/* A directory or C2_E_NOT_DIR. */
C2_RESULT fs_dir_find(struct fs_req *r, uint64_t ino, struct fs_inode **ret_dir);
/* The entry, which may be negative (ino 0). */
C2_RESULT fs_dentry_find(struct fs_req *r, struct fs_inode *dir, const char *name,
                         struct fs_dentry **ret_dentry);
/* In memory only; NULL when not there. */
struct fs_inode *fs_inode_peek(struct fs *fs, uint64_t ino);
struct fs_dentry *fs_dentry_peek(struct fs *fs, uint64_t dir, const uint8_t *hash,
                                 const char *name);

/* Changes. All mark dirty what they change; none fails. */
/* A new inode with nlink 0 (1 for directories: its own dot), owned by r's user; set-group-id
 * directories pass on their group. */
struct fs_inode *fs_inode_create(struct fs_req *r, struct fs_inode *dir, uint32_t mode);
void fs_inode_dirty(struct fs *fs, struct fs_inode *i);
/* which: FS_SET_MTIME | FS_SET_CTIME | FS_SET_ATIME, set to now. Marks dirty. */
void fs_inode_touch(struct fs *fs, struct fs_inode *i, unsigned which);
struct fs_dentry *fs_dentry_peek_hash(struct fs *fs, uint64_t dir, const uint8_t *hash);
/* OK when the directory has no entry, NOT_EMPTY when it has; AGAIN: the store is asked. */
C2_RESULT fs_dir_empty(struct fs_req *r, struct fs_inode *dir);

/* Points the entry to an inode (replacing what was there) or removes it (child NULL); updates the
 * directory's times, no link counts. */
void fs_dentry_set(struct fs *fs, struct fs_inode *dir, struct fs_dentry *e,
                   struct fs_inode *child);
/* Replay: the entry as the journal has it. */
void fs_dentry_restore(struct fs *fs, struct fs_inode *dir, struct fs_dentry *e, uint64_t ino,
                       uint32_t type);
/* After nlink changed or a handle went: orphans, deletes or keeps the inode. */
void fs_inode_links_changed(struct fs *fs, struct fs_inode *i);
/* The content (and with it the entry) may go to journal and store; what was written so far never
 * changes in place again. */
void fs_inode_publish(struct fs *fs, struct fs_inode *i);
/* Before the first change of content after a publication. */
void fs_inode_unpublish(struct fs *fs, struct fs_inode *i);
/* Frees an inode's or entry's memory when nothing needs it; called after it became clean. */
void fs_inode_settle(struct fs *fs, struct fs_inode *i);
void fs_dentry_settle(struct fs *fs, struct fs_dentry *e);
/* For loads and replay: puts one into the table, without contents (mode 0) or negative (ino 0). */
struct fs_inode *fs_inode_insert(struct fs *fs, uint64_t ino);
struct fs_dentry *fs_dentry_insert(struct fs *fs, uint64_t dir, const char *name);
/* Drops the stable state when neither journal nor store need it. */
void fs_stable_settle(struct fs_inode *i);
void fs_inode_free_all(struct fs *fs); /* at the end of a mount */
bool fs_inode_held(const struct fs *fs, const struct fs_inode *i);

void fs_inode_pin(struct fs *fs, struct fs_inode *i);
void fs_inode_unpin(struct fs *fs, struct fs_inode *i);

/* Lookups that the kernel holds; an inode with nlink 0 lives until they are forgotten. */
void fs_lookup_add(struct fs *fs, uint64_t ino, uint64_t count);
void fs_lookup_forget(struct fs *fs, uint64_t ino, uint64_t count);

static inline struct fs_time
fs_time_of(uint64_t wall_ns)
{
    return (struct fs_time){ .sec = (int64_t)(wall_ns / 1000000000u),
                             .nsec = (uint32_t)(wall_ns % 1000000000u) };
}

static inline uint64_t
fs_counted_bytes(uint64_t size)
{
    return C2_MIN(size, FS_COUNTED_MAX);
}

/* Before a record is encoded: how many blocks the content takes. */
void fs_inode_count_blocks(struct fs_inode *i);
/* Attributes as the kernel sees them (directory size, blocks). */
void fs_inode_attr(const struct fs_inode *i, struct fs_attr *ret_attr);

/* Content of a regular file whose map is loaded (fs/content.c). */
void fs_content_write(struct fs *fs, struct fs_inode *i, uint64_t off, struct c2_slice data);
void fs_content_truncate(struct fs *fs, struct fs_inode *i, uint64_t size);
/* Zeroes a range by making it a hole; the size does not change. */
void fs_content_punch(struct fs *fs, struct fs_inode *i, uint64_t off, uint64_t len);
/* Shares a range of another (or the same) file without copying bytes. */
void fs_content_clone(struct fs *fs, struct fs_inode *from, uint64_t from_off, struct fs_inode *to,
                      uint64_t to_off, uint64_t len);
/* SEEK_DATA / SEEK_HOLE; C2_E_NO_DEVICE past the end. */
C2_RESULT fs_content_seek(const struct fs_inode *i, uint64_t off, bool data, uint64_t *ret_off);

#endif
