/* SPDX-License-Identifier: MIT */
/*
 * The file system's key space in the coordination service (coordination.md section 2). A key is a
 * type letter and big-endian fields, so that ranges come in a useful order.
 *
 *   I ino8                 sealed inode record
 *   D dir8 hash16          sealed entry
 *   X ino8 index4          large extended attributes
 *   O sid8 seq8 rnd8       object record: placement, readable without the volume key
 *   R sid8 seq8 rnd8       live bytes of an object, a counter
 *   G ino8                 an inode without links that was still open; or with a value, sealed: a
 *                          deleted file whose objects are still counted as in use (fs/garbage.c)
 *   K sid8 seq8 rnd8       a condemned object, on its way out of the clouds (fs/gc_record.h)
 *   T                      what the collector remembers of time (fs/gc_record.h)
 *   Q name                 usage counters
 *   J                      sealed: which device committed last, id allocation (fs/position.h)
 *   J device16             sealed: what the store has of that device's journal
 *   C                      sealed volume configuration
 *   H                      sealed: how far the log is shipped, and the checkpoints
 *   V                      unsealed: format version, volume uuid, key check
 *   S name                 sessions' part: the mount lock; what a mount has committed last
 *   W kind                 sealed: a job, what it has done so far (fs/job.h)
 */
#ifndef C2_FS_COORD_KEYS_H
#define C2_FS_COORD_KEYS_H

#include "depsky/depsky.h"
#include "fs/keys.h"

#define CK_KEY_MAX 64

/* An encoded key with its own storage. */
struct ck {
    uint8_t bytes[CK_KEY_MAX];
    size_t len;
};

struct ck ck_inode(uint64_t ino);
struct ck ck_dentry(uint64_t dir, const uint8_t hash[KEYS_NAME_HASH_LEN]);
struct ck ck_dentries(uint64_t dir); /* prefix of all entries of a directory */
struct ck ck_xattr(uint64_t ino, uint32_t index);
struct ck ck_object(const struct ds_oid *oid);
struct ck ck_live(const struct ds_oid *oid);
struct ck ck_condemned(const struct ds_oid *oid);
struct ck ck_orphan(uint64_t ino);
struct ck ck_usage(const char *name); /* "bytes", "files" */
struct ck ck_letter(char letter);     /* J, C, V, or the prefix of any other kind */
struct ck ck_journal(const uint8_t device[16]);
struct ck ck_session(const char *name);
struct ck ck_job(const char *kind);

static inline struct c2_slice
ck_slice(const struct ck *k)
{
    return (struct c2_slice){ .data = k->bytes, .len = k->len };
}

#endif
