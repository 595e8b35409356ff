/* SPDX-License-Identifier: MIT */
/*
 * The running cache, shared by cache.c (memory, answers) and cache_disk.c (files). Private to
 * fs/cache*.c.
 */
#ifndef C2_FS_CACHE_STATE_H
#define C2_FS_CACHE_STATE_H

#include "base/map.h"
#include "fs/cache_file.h"

enum cache_disk_state {
    CACHE_DISK_NONE,
    CACHE_DISK_QUEUED,
    CACHE_DISK_WRITING,
    CACHE_DISK_PRESENT,
    CACHE_DISK_REMOVING
};

struct cache_object {
    struct c2_map_node node;
    struct ds_oid oid;
    struct c2_list blocks;
};

struct cache_block {
    struct c2_link link; /* in object->blocks */
    struct cache_object *object;
    uint32_t index, len;
    struct c2_blob *blob; /* one reference; NULL = not in memory */
    enum cache_disk_state disk;
    bool doomed;         /* forgotten: the file goes as soon as it is written */
    unsigned reads;      /* in flight */
    struct c2_link lru;  /* in memory */
    struct c2_link file; /* QUEUED: in the queue; PRESENT: in the disk's LRU */
};

struct cache {
    struct c2_env *env;
    char *dir;    /* owned; NULL = memory only */
    uint8_t *key; /* owned, in the secret arena; never changes, the pool reads it */
    uint64_t disk_max, memory_max;
    uint64_t disk_bytes, memory_bytes;
    struct c2_map objects;
    struct c2_list memory; /* LRU, oldest first */
    struct c2_list files;  /* LRU, oldest first */
    struct c2_list queue;  /* to be written */
    unsigned writing;
    unsigned write_errors; /* in a row */
    unsigned outstanding;  /* requests and work of any kind */
    struct c2_disk_req scan_io;
    char *scan_path; /* owned */
    unsigned scan_next;
    bool scan_discards; /* cleared: what is still to be found goes as well */
    bool draining;
    void (*drained)(void *arg);
    void *drained_arg;
    struct c2_task drained_task;
    struct cache_stats stats;
};

/* cache.c */
struct cache_block *cache_block_find(const struct cache *c, const struct ds_oid *oid,
                                     uint32_t index);
struct cache_block *cache_block_new(struct cache *c, const struct ds_oid *oid, uint32_t index,
                                    uint32_t len);
/* Frees the block when nothing of it is left, and its object then too. */
void cache_block_settle(struct cache *c, struct cache_block *b);
/* One request fewer; the last thing its completion does. */
void cache_end_one(struct cache *c);

/* cache_disk.c */
void cache_disk_scan(struct cache *c); /* once, at the start */
void cache_disk_queue(struct cache *c, struct cache_block *b);
void cache_disk_remove(struct cache *c, struct cache_block *b); /* of a PRESENT one */
/* Whatever its state: sooner or later there is no file. */
void cache_disk_forget(struct cache *c, struct cache_block *b);
void cache_disk_trim(struct cache *c, uint64_t max);

#endif
