/* SPDX-License-Identifier: MIT */
/*
 * The ordered tables of a store, on LMDB. This is the only user of LMDB, and of the folder.
 *
 * Any thread may begin a transaction; it stays on that thread until commit or abort. There is one
 * write transaction at a time, others wait for it; readers see the last commit and wait for
 * nobody. A commit is durable when it returns.
 *
 * C2_E_AGAIN from a change or a commit: the map is full, abort, kv_grow, do it again.
 */
#ifndef C2_METADATA_KV_H
#define C2_METADATA_KV_H

#include "base/buf.h"

#define KV_KEY_MAX   511        /* what LMDB is compiled with */
#define KV_VALUE_MAX (1u << 20) /* nothing that is put is longer; what is, is damaged */

enum kv_table {
    KV_META,      /* format, state */
    KV_DATA,      /* key -> version, session, value */
    KV_EPHEMERAL, /* session, key -> nothing */
    KV_SESSION,   /* session -> ttl, deadline, ephemeral keys */
    KV_EXPIRY,    /* deadline, session -> nothing */
    KV_LOG,       /* version, part -> a piece of the command */
    KV_DIRTY,     /* number -> a key that changed, and its leaf in the tree */
    KV_TREE,      /* path -> node of the digest tree */
    KV_LEAF,      /* half a leaf of the tree -> its key; only in replicated stores */
    KV_TABLES,
};

struct kv;
struct kv_txn;

/* create: makes folder and tables as far as they are absent; else NOT_FOUND when they are. BUSY
 * when another process has them open. ret_error gets a sentence on failure (c2_free). */
C2_RESULT kv_open(const char *path, uint64_t map_size, bool create, struct kv **ret_kv,
                  char **ret_error);
/* No transaction may be open; NULL is fine. */
void kv_close(struct kv *kv);
/* The folder, borrowed. */
const char *kv_path(const struct kv *kv);
/* Bytes of the file, and what the disk has free. */
C2_RESULT kv_space(const struct kv *kv, uint64_t *ret_size, uint64_t *ret_free);
/* Doubles the map. BUSY while any transaction is open anywhere. */
C2_RESULT kv_grow(struct kv *kv);

C2_RESULT kv_begin(struct kv *kv, bool write, struct kv_txn **ret_txn);
C2_RESULT kv_commit(struct kv_txn *txn); /* frees txn in any case; nothing happened on failure */
void kv_abort(struct kv_txn *txn);       /* NULL is fine */

/* DAMAGED: the tables are not what was committed.
 * Values and keys are borrowed until the next change in this transaction, or its end. */
C2_RESULT kv_get(struct kv_txn *txn, enum kv_table table, struct c2_slice key,
                 struct c2_slice *ret_value);
/* The first entry at or after `at`; empty = the first of all. NOT_FOUND at the end. */
C2_RESULT kv_seek(struct kv_txn *txn, enum kv_table table, struct c2_slice at,
                  struct c2_slice *ret_key, struct c2_slice *ret_value);
/* The last of all. NOT_FOUND: there is none. */
C2_RESULT kv_last(struct kv_txn *txn, enum kv_table table, struct c2_slice *ret_key,
                  struct c2_slice *ret_value);
/* The one after the last kv_seek or kv_next on this table. */
C2_RESULT kv_next(struct kv_txn *txn, enum kv_table table, struct c2_slice *ret_key,
                  struct c2_slice *ret_value);

C2_RESULT kv_put(struct kv_txn *txn, enum kv_table table, struct c2_slice key,
                 struct c2_slice value);
/* Room for a value of len bytes, to be filled before the next call. */
C2_RESULT kv_reserve(struct kv_txn *txn, enum kv_table table, struct c2_slice key, size_t len,
                     uint8_t **ret_room);
/* The key must be the last of the table. */
C2_RESULT kv_append(struct kv_txn *txn, enum kv_table table, struct c2_slice key,
                    struct c2_slice value);
/* kv_reserve of a key that must be the last of the table. */
C2_RESULT kv_append_room(struct kv_txn *txn, enum kv_table table, struct c2_slice key, size_t len,
                         uint8_t **ret_room);
/* Empties a table. */
C2_RESULT kv_clear(struct kv_txn *txn, enum kv_table table);
C2_RESULT kv_del(struct kv_txn *txn, enum kv_table table, struct c2_slice key);

#endif
