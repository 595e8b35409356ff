/* SPDX-License-Identifier: MIT */
/*
 * Read cache of immutable object ranges: blocks of 1 MiB of an object's plaintext, in memory (a
 * bounded LRU of blobs) and on disk under <cache_dir>/cache (sealed, bounded, LRU). Losing any of
 * it at any time is harmless: everything is verified on reading, and what does not verify is a
 * miss. Key and nonce: one key per object (HKDF of the cache key and the object id), nonce = block
 * index and length; an object's bytes never change, so a nonce only ever meets one plaintext.
 */
#ifndef C2_FS_CACHE_H
#define C2_FS_CACHE_H

#include "base/env.h"
#include "depsky/depsky.h"

#define CACHE_BLOCK_SIZE (1u << 20)

struct cache;

struct cache_config {
    const char *dir; /* NULL = memory only; borrowed for the call */
    uint8_t key[32];
    uint64_t disk_max;   /* bytes */
    uint64_t memory_max; /* bytes */
};

/* Starts empty in memory; disk blocks of earlier runs are found by an asynchronous scan. */
C2_RESULT cache_new(struct c2_env *env, const struct cache_config *config,
                    struct cache **ret_cache);
/* `drained` runs when the last disk request has ended; then cache_free. */
void cache_drain(struct cache *c, void (*drained)(void *arg), void *arg);
void cache_free(struct cache *c);

/* From memory only, at once: a reference for the caller, or NULL. */
struct c2_blob *cache_peek(struct cache *c, const struct ds_oid *oid, uint32_t block);

struct cache_get {
    struct ds_oid oid;
    uint32_t block;
    void (*done)(struct cache_get *g); /* never from inside start */
    struct c2_blob *data;              /* out: the caller's, NULL = miss */
    void *priv[4];
    struct c2_task task;
    struct c2_disk_req disk;
    struct c2_work work;
};
void cache_get_start(struct cache *c, struct cache_get *g);

/* Keeps a reference; written to disk in the background (dropped when the disk queue is long). */
void cache_put(struct cache *c, const struct ds_oid *oid, uint32_t block, struct c2_blob *data);
void cache_forget_object(struct cache *c, const struct ds_oid *oid);
void cache_clear(struct cache *c);

struct cache_stats {
    uint64_t memory_bytes, memory_max, disk_bytes, disk_max;
    uint64_t hits_memory, hits_disk, misses, damaged;
};
void cache_stats(const struct cache *c, struct cache_stats *ret_stats);

#endif
