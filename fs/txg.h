/* SPDX-License-Identifier: MIT */
/*
 * Transaction groups: consistent cuts of everything that changed. Groups commit in the order of
 * their cuts; the uploads of several run side by side. (The idea and the name are those of ZFS.)
 */
#ifndef C2_FS_TXG_H
#define C2_FS_TXG_H

#include "fs/fs.h"

#define FS_TXG_ITEMS 1500         /* inodes and entries: a group is cut when there are that many */
#define FS_TXG_BYTES (256u << 10) /* or extended attributes and targets of so many bytes */
#define FS_TXGS_MAX  64           /* queued; beyond that only full groups are cut */
#define FS_DIRTY_MAX 80000        /* not committed inodes and entries, 1.5 KiB each: changes wait */

#define FS_COMMIT_MARKER     "/commit" /* ck_session: u64 session, u64 number of the commit */
#define FS_COMMIT_MARKER_LEN 16

/* An inode as it was at the cut. */
struct txg_inode {
    struct fs_inode *inode; /* one pin */
    struct c2_buf record;
    struct fs_map *map; /* NULL: content not loaded, or none */
    uint64_t size;
    bool deleted;
    bool orphaned;
    struct fs_manifest *manifest; /* a new one for this group, or NULL */
};

struct txg_dentry {
    struct fs_dentry *entry; /* one pin */
    uint64_t ino;            /* 0 = removed */
    uint32_t type;
};

struct txg {
    struct c2_link link;
    uint64_t id;
    uint64_t journal_seq; /* journal groups up to it are covered */
    uint64_t next_ino;
    uint64_t since_ns; /* its oldest change */
    struct txg_inode *inodes;
    size_t ninodes;
    struct txg_dentry *dentries;
    size_t ndentries;
    struct fs_chunk **chunks; /* one reference each: must be in objects before the commit */
    size_t nchunks, chunks_cap, next_chunk;
    bool manifests_built;
};

struct fs_txgs *fs_txgs_new(struct fs *fs);
void fs_txgs_free(struct fs_txgs *q); /* drops what is queued: the journal has it */
/* Something changed: cut when a group is full, else within pack_delay. */
void fs_txg_changed(struct fs *fs);
/* An upload ended. */
void fs_txg_progress(struct fs *fs);
void fs_txgs_stop(struct fs *fs);   /* no timer any more, nothing new is submitted */
void fs_txgs_resume(struct fs *fs); /* nothing is deferred any more: groups are cut again */
bool fs_txgs_committing(const struct fs *fs);

struct fs_txgs_numbers {
    uint64_t cut, committed; /* groups */
    uint64_t txns;
    uint64_t inodes, oldest_ns; /* waiting in groups; age of the oldest change, 0 = none */
    enum c2_err last_error;     /* of the running commit */
};
void fs_txgs_numbers(const struct fs *fs, struct fs_txgs_numbers *ret);

/* ---- anchor.c: one group becomes coordination transactions ------------------------------------
 */

struct anchor {
    struct fs *fs;
    struct txg *txg;
    void (*done)(struct anchor *a);
    enum c2_err err;        /* out: OK, FENCED, CANCELED */
    uint64_t txns;          /* out: transactions used */
    enum c2_err last_error; /* of the latest attempt */
    bool stopping;
    void *priv; /* private */
    struct coord_req req;
};

/* All data of the group is in the clouds. */
void anchor_start(struct anchor *a);
/* No more attempts; done runs soon, or has run when this returns. */
void anchor_stop(struct anchor *a);

#endif
