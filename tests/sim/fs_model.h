/* SPDX-License-Identifier: MIT */
/*
 * The reference file system: what every operation does, in the simplest way, and what a crash may
 * leave. It knows three states of a file: what programs see now, what was published last (close,
 * fsync, rename, link, unlink, or an age without any of them), and published states in between that
 * nobody can know of from outside (syncfs publishes at some moment of its own).
 *
 * History is a row of snapshots, one after each change. After a crash the file system must equal
 * one snapshot, not older than the newest floor: everything that was promised to be durable. In a
 * snapshot a file that was being written shows what was published; a new one that never was is not
 * there at all.
 */
#ifndef C2_TESTS_SIM_FS_MODEL_H
#define C2_TESTS_SIM_FS_MODEL_H

#include "fs/fs_req.h"
#include "tests/sim/world.h"

#define MODEL_NODES_MAX   64
#define MODEL_ENTRIES_MAX 128
#define MODEL_MAYBE_MAX   192 /* a file may change so often while a job runs */
#define MODEL_NAME_MAX    16

struct fs;

/* An inode at a moment. */
struct model_image {
    struct fs_attr attr;
    struct c2_blob *data;       /* regular files: one reference; else NULL */
    char xattr[MODEL_NAME_MAX]; /* value of user.x; "" = none */
};

struct model_node {
    uint64_t ino; /* 0 = free slot */
    struct model_image live, pub;
    uint64_t parent; /* directories */
    char symlink[MODEL_NAME_MAX];
    unsigned opens, write_opens;
    bool ever_published;
    bool unpublished; /* live differs from pub, which counts while the node is held */
    bool
        maybe_clean; /* it may have been published before it was opened, and did not change since */
    bool truncated;
    uint64_t since_ns;
    struct model_image maybe[MODEL_MAYBE_MAX]; /* may have been published since pub was */
    unsigned nmaybe;
    uint64_t epoch; /* counts certain publications */
    bool busy;      /* a running operation excludes others */
    size_t changed; /* snapshot of the last change */
};

struct model_entry {
    uint64_t dir, ino;
    char name[MODEL_NAME_MAX];
};

struct model_snap_node {
    uint64_t ino, parent;
    bool held;
    bool never;   /* held, and maybe never published: it may be absent */
    bool live_ok; /* not held, or what is live may be published */

    struct model_image live, pub;
    struct model_image *maybe; /* owned */
    unsigned nmaybe;
    char symlink[MODEL_NAME_MAX];
};

struct model_snapshot {
    struct model_snap_node *nodes;
    unsigned nnodes;
    struct model_entry *entries;
    unsigned nentries;
};

struct model {
    struct sim_world *w;
    struct model_node node[MODEL_NODES_MAX];
    struct model_entry entry[MODEL_ENTRIES_MAX];
    unsigned nentries;
    struct model_snapshot *history;
    size_t nhistory, history_cap;
    size_t floor_daemon, floor_machine; /* indexes into history */
    unsigned syncs; /* running operations that publish at a moment of their own */
};

void model_init(struct model *m, struct sim_world *w);
void model_done(struct model *m);

struct model_node *model_find(struct model *m, uint64_t ino); /* NULL = no such inode */
struct model_entry *model_entry_find(struct model *m, uint64_t dir, const char *name);

/* Changes, after the file system has made them. */
struct model_node *model_add(struct model *m, const struct fs_attr *attr, uint64_t dir,
                             const char *name);
void model_entry_add(struct model *m, uint64_t dir, const char *name, uint64_t ino);
void model_entry_remove(struct model *m, struct model_entry *e);
void model_unlinked(struct model *m, struct model_node *n); /* drops it when nothing holds it */
void model_write(struct model *m, struct model_node *n, uint64_t off, struct c2_slice data);
void model_truncate(struct model *m, struct model_node *n, uint64_t size);
void model_punch(struct model *m, struct model_node *n, uint64_t off, uint64_t len);
void model_publish(struct model *m, struct model_node *n);
/* Before a handle that may write is added. */
void model_open_write(struct model *m, struct model_node *n);
/* Before a change of content. */
void model_unpublish(struct model *m, struct model_node *n);

/* Before anything is applied: what may have been published by age or by a sync until now. */
void model_tick(struct model *m);
/* After a change: takes times from the file system (the model does not predict clocks), remembers
 * the state. */
void model_commit(struct model *m, struct fs *fs);
/* Everything up to this snapshot is promised. */
void model_promise(struct model *m, size_t index, bool machine);
/* A sync publishes held files at a moment of its own: when it has ended well, what was live when it
 * began is the least there is. */
struct model_mark {
    uint64_t ino, epoch;
    unsigned version; /* in maybe */
};
void model_sync_begin(struct model *m, struct model_mark marks[MODEL_NODES_MAX]);
void model_sync_end(struct model *m, const struct model_mark marks[MODEL_NODES_MAX], bool well);
/* Empties the present, and with `forget` the past as well: what a crash left is filled in. */
void model_clear(struct model *m, bool forget);

#endif
