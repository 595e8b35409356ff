/* SPDX-License-Identifier: MIT */
/*
 * One mounted volume, private to fs/. Everything lives on the loop thread.
 *
 * The way of data: op_write -> content (chunks in memory) -> publish (journal groups on disk) ->
 * txg (transaction groups: consistent cuts of everything that changed) -> pack (objects of 8 MiB)
 * -> depsky -> anchor (one coordination transaction per group) -> journal space is freed.
 */
#ifndef C2_FS_FS_H
#define C2_FS_FS_H

#include "fs/cache.h"
#include "fs/compact.h"
#include "fs/gc.h"
#include "fs/inode.h"
#include "fs/lost.h"
#include "fs/position.h"
#include "fs/ship.h"
#include "metadata/coord.h"

struct ds_client;
struct fs_txgs;
struct fs_packer;
struct fs_publisher;
struct fs_garbage;
struct fs_deferred;
struct fs_repair;
struct fs_gc;
struct fs_compact;

struct fs_config {
    bool close_sync;  /* close = sync: FLUSH waits for clouds and commit */
    bool fsync_cloud; /* fsync = cloud */
    uint64_t write_buffer;
    unsigned upload_parallel;
    uint64_t readahead;
    uint64_t pack_size;
    uint64_t pack_delay_ns;
    uint64_t journal_delay_ns;       /* dirty metadata reaches the disk within this time: 5 s */
    uint64_t log_interval_ns;        /* transactions are shipped within this time: 5 s */
    uint64_t checkpoint_bytes;       /* of log between two checkpoints: 64 MiB */
    uint64_t checkpoint_interval_ns; /* 5 min */
    bool repair_auto;                /* lost shares are rebuilt without being asked ... */
    uint64_t repair_delay_ns;        /* ... so long after they were found */
    unsigned repair_parallel;        /* objects at the same time */
    uint64_t repair_rate;            /* bytes per second, read and written; 0 = no limit */
    bool gc;                         /* collect garbage in the background (fs/gc.h) */
    uint64_t gc_retention_ns;        /* dead objects are kept so long */
    uint64_t gc_interval_ns;         /* between two rounds */
    bool compact;                    /* rewrite scattered files when nobody works */
    uint64_t compact_rate;           /* bytes in a second */
    uint64_t compact_worth;          /* unused bytes that it begins for; 0 = a pack, and 1/64 of
                                      * what is used */
    unsigned gc_rate;                /* objects deleted in a second */
    uint64_t gc_orphan_ns;           /* orphans are looked for so often, and left so long after the
                                      * end of their session; 0 = never */
    size_t inodes_max;               /* clean ones kept in memory; 0 = FS_INODES_MAX */
    size_t dentries_max;             /* the same; 0 = FS_DENTRIES_MAX */
    size_t extents_max;              /* of a file; 0 = FS_MAP_EXTENTS_MAX, which is the most */
};

/* What a mount is made of, all borrowed. */
struct fs_parts {
    struct c2_env *env;
    struct coord *coord;
    struct coord *store; /* the same, for what only a local: one can do; NULL = coord */
    struct ds_client *ds;
    struct keys *keys;
    struct cache *cache;
    uint64_t session;
    struct c2_slice fence_key; /* the mount's lock and its version: every commit names them */
    uint64_t fence_token;
    /* Version of the volume's configuration, which may change at any time; commits of objects name
     * it. NULL = there is none. */
    const uint64_t *config_version;
    const char *journal_dir;
    uint8_t journal_key[32];
    uint8_t device_id[FS_DEVICE_ID_LEN]; /* whose journal it is */
    uint64_t journal_size;
    uint64_t journal_segment_size; /* 0 = the default */

    /* Shipping of a local: store (fs/ship.h). Without a device key nothing is shipped. */
    const uint8_t *device_secret; /* C2_ED25519_SECRET_LEN, or NULL */
    bool keyless; /* the checkpoints hold the volume key: any f+1 clouds are enough */
    uint8_t uuid[16];
    const char *state_dir; /* for the remembered head and for snapshots on their way: cache_dir */
};

struct fs {
    struct fs_parts part;
    struct fs_config conf;
    struct journal *journal; /* owned */

    struct c2_map inodes, dentries, objects, lookups;
    struct c2_list inode_lru, dentry_lru;            /* clean and unpinned, oldest first */
    struct c2_list journal_inodes, journal_dentries; /* dirty for the journal */
    struct c2_list commit_inodes, commit_dentries;   /* dirty for the store */
    struct c2_list chunks_mem;                       /* chunks with bytes in memory, oldest first */
    uint64_t chunk_bytes;                            /* in memory */
    uint64_t chunk_bytes_in_use;                     /* of those: read by running uploads */
    uint64_t chunk_order;
    uint64_t ready_bytes, ready_items; /* for the next transaction group */
    uint64_t ready_attr_bytes;         /* the same: what its records have of varying length */
    uint64_t waiting_since_ns;         /* the first change that is in no group; 0 = there is none */
    uint64_t queued_items;             /* inodes and entries in groups that are not committed */
    uint64_t next_ino;
    uint64_t commit_version;         /* of the commit marker, see anchor.c */
    uint64_t commits;                /* of this session */
    uint64_t next_object;            /* counter part of object ids of this session */
    uint64_t used_bytes, used_files; /* what the store's counters say plus what changed since */

    struct fs_publisher *publisher; /* owned: journal groups */
    struct fs_packer *packer;       /* owned: uploads */
    struct fs_txgs *txgs;           /* owned: transaction groups */
    struct fs_garbage *garbage;     /* owned: deleted files that are counted later */
    struct fs_repair *repair;       /* owned: objects that have lost shares */
    struct fs_compact *compact;     /* owned: files in too many pieces */
    struct fs_gc *gc;               /* owned: objects that nothing uses leave the clouds */
    struct fs_deferred *deferred;   /* owned: files whose extents are not here yet */
    struct fs_ship *ship;           /* owned: the log's way to the clouds; NULL = nothing ships */

    struct c2_list loads;        /* running loads, fs/load.c */
    bool loads_over;             /* the mount ends: see fs_loads_end; nothing is loaded ahead */
    struct c2_list object_gets;  /* running reads of objects, fs/object_get.c */
    struct c2_list blocked;      /* fs_req.link: changes that wait for memory or journal space */
    struct c2_timer throttle;    /* lets slowed ones go on */
    uint64_t trimmed_seq;        /* journal groups up to it are committed */
    struct c2_list named_pieces; /* of the journal, fs/source.c */
    struct fs_lost lost;         /* data that the local disk has damaged */
    struct fs_source unknown;    /* in fs_inode.journaled: equal to no other source */
    unsigned store_held; /* fs/fsck.h looks at the store: groups and collectors leave it as it is */
    bool unblocking;
    unsigned requests;   /* submitted, not answered */
    unsigned prefetches; /* looking into the cache */
    bool foreign;        /* another device committed last: its journal may name dead objects */
    bool fenced;         /* the session is lost: no change is accepted any more */
    bool stopping;
};

#define FS_LOADS_LAST_NS (10 * C2_NS_PER_S)

/* Of a load from the store, see fs_loads_end. */
static inline uint64_t
fs_load_deadline(const struct fs *fs)
{
    return fs->loads_over ? c2_now_ns(fs->part.env) + FS_LOADS_LAST_NS : C2_NEVER;
}

/* ---- life ---------------------------------------------------------------------------------- */

#define FS_FORMAT_OPS 2

/* The operations that format puts into the first transaction (root inode, counters). */
void fs_format_ops(struct keys *keys, uint32_t uid, uint32_t gid, uint64_t wall_ns,
                   struct c2_buf *backing, struct coord_op ops[FS_FORMAT_OPS]);

struct fs_open_report {
    uint64_t replayed_groups, replayed_bytes, damaged_groups;
    char damage[200];
};

/* Replays the journal and is ready for requests when done runs. */
void fs_open(const struct fs_parts *parts, const struct fs_config *config,
             void (*done)(void *arg, enum c2_err err, struct fs *fs, char *error), void *arg,
             struct fs_open_report *report);
/* Nobody uses the mount any more: what others (fsck, verify) still load ends, and what they load
 * from now on takes only so long, whatever the metadata service does. */
void fs_loads_end(struct fs *fs);
/* No request outstanding. Does not flush: fs_sync first. */
void fs_close(struct fs *fs, void (*done)(void *arg), void *arg);

/* ---- operations ---------------------------------------------------------------------------- */

/* One per opcode; C2_E_AGAIN = not finished, the request was parked. */
enum c2_err fs_op_lookup(struct fs_req *r);
enum c2_err fs_op_forget(struct fs_req *r);
enum c2_err fs_op_getattr(struct fs_req *r);
enum c2_err fs_op_setattr(struct fs_req *r);
enum c2_err fs_op_readlink(struct fs_req *r);
enum c2_err fs_op_mknod(struct fs_req *r);
enum c2_err fs_op_mkdir(struct fs_req *r);
enum c2_err fs_op_symlink(struct fs_req *r);
enum c2_err fs_op_unlink(struct fs_req *r);
enum c2_err fs_op_rmdir(struct fs_req *r);
enum c2_err fs_op_rename(struct fs_req *r);
enum c2_err fs_op_link(struct fs_req *r);
enum c2_err fs_op_create(struct fs_req *r);
enum c2_err fs_op_open(struct fs_req *r);
enum c2_err fs_op_read(struct fs_req *r);
enum c2_err fs_op_write(struct fs_req *r);
enum c2_err fs_op_flush(struct fs_req *r);
enum c2_err fs_op_release(struct fs_req *r);
enum c2_err fs_op_fsync(struct fs_req *r);
enum c2_err fs_op_opendir(struct fs_req *r);
enum c2_err fs_op_readdir(struct fs_req *r);
enum c2_err fs_op_releasedir(struct fs_req *r);
enum c2_err fs_op_statfs(struct fs_req *r);
enum c2_err fs_op_setxattr(struct fs_req *r);
enum c2_err fs_op_getxattr(struct fs_req *r);
enum c2_err fs_op_listxattr(struct fs_req *r);
enum c2_err fs_op_removexattr(struct fs_req *r);
enum c2_err fs_op_fallocate(struct fs_req *r);
enum c2_err fs_op_lseek(struct fs_req *r);
enum c2_err fs_op_copy_range(struct fs_req *r);
enum c2_err fs_op_syncfs(struct fs_req *r);

/* Runs a parked request again from its operation function (fs.c). */
void fs_rerun(struct fs_req *r);
/* Puts a request on a waiting list (fs_interrupt takes it off and answers), or takes it off. */
void fs_park(struct fs_req *r, struct c2_list *list);
void fs_unpark(struct fs_req *r);
/* Answers a request that returned C2_E_AGAIN. */
void fs_reply(struct fs_req *r, enum c2_err err);

struct fs_handle {
    struct fs_inode *inode; /* one pin */
    int flags;              /* O_* of open */
    uint64_t read_next;     /* sequential reading: where the next read would begin */
    uint64_t ahead_to;      /* read ahead up to here */
    unsigned streak;        /* sequential reads in a row */
    void *dir;              /* READDIR's own state, fs/op_dir.c */
};

struct fs_handle *fs_handle_new(struct fs *fs, struct fs_inode *i, int flags);
void fs_handle_free(struct fs *fs, struct fs_handle *h);

/* ---- durability (publish.c, txg.c) ---------------------------------------------------------- */

/* Writes a journal group with everything that is dirty and not held. */
struct fs_publish {
    bool sync; /* fdatasync as well */
    void (*done)(struct fs_publish *p);
    enum c2_err err;
    struct c2_link link;
    void *priv;
};
void fs_publish_start(struct fs *fs, struct fs_publish *q);

/* Everything changed so far is in the clouds, committed and shipped: held files included, or with
 * published_only as they were published last. */
struct fs_sync {
    bool published_only;
    bool journal; /* and no replay begins before this moment, whatever the journal has */
    void (*done)(struct fs_sync *s);
    enum c2_err err;
    struct c2_link link;
    uint64_t txg; /* private */
    void *priv;
    struct fs_publish publish; /* private */
    struct fs_ship_wait ship;  /* private */
};
void fs_sync_start(struct fs *fs, struct fs_sync *s);
void fs_sync_cancel(struct fs *fs, struct fs_sync *s); /* done runs soon with CANCELED */

/* The volume is another mount's from now on: changes fail, who waits for the clouds is told. */
void fs_fence(struct fs *fs);

/* After a change: arms timers, cuts a group when one is full. */
void fs_changed(struct fs *fs);
/* Whether a write or change has to wait now; parks r if so and returns C2_E_AGAIN. */
C2_RESULT fs_admit(struct fs_req *r, size_t bytes);
/* Before a file becomes so long: NO_SPACE when the volume's sizes would be too much to count. */
C2_RESULT fs_admit_size(const struct fs *fs, const struct fs_inode *i, uint64_t size);
/* There is no room for so many bytes more. */
bool fs_must_wait(const struct fs *fs, size_t bytes);
/* Soon room is made, and who waits tries again. */
void fs_wake_blocked(struct fs *fs);
void fs_unblock(struct fs *fs); /* memory or journal space became free */
void fs_throttle_due(struct c2_timer *t);

/* ---- numbers (status.c) ---------------------------------------------------------------------- */

struct fs_status {
    uint64_t backlog_files, backlog_bytes, backlog_oldest_ns; /* not yet committed; age */
    uint64_t journal_used, journal_max;
    uint64_t txgs, txgs_committed, txns;
    uint64_t objects_written, object_bytes, stored_bytes;
    uint64_t chunk_bytes;
    uint64_t inodes_cached, dentries_cached;
    uint64_t used_bytes, used_files;
    enum c2_err last_error;    /* of the latest failed upload or commit, OK after a success */
    enum c2_err journal_error; /* why what was written last is not on the local disk */
    bool fenced;
    struct fs_ship_status ship;
    struct fs_gc_status gc;
    struct fs_compact_status compact;
};
void fs_status(struct fs *fs, struct fs_status *ret_status);

/* "local" "uploading" "committed" "failed" for user.c2fs.state. */
const char *fs_inode_state(struct fs *fs, const struct fs_inode *i);

#endif
