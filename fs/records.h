/* SPDX-License-Identifier: MIT */
/*
 * How inodes and directory entries look in the coordination store (before they are sealed) and in
 * the journal. Both begin with a format version; a newer one is refused, never guessed at.
 *
 *   inode   u8 version, u64 ino, u32 mode, u32 nlink, u32 uid, u32 gid, u64 rdev, u64 size,
 *           u64 blocks, 4 x (i64 sec, u32 nsec): atime mtime ctime btime, u64 parent,
 *           bytes symlink, bytes xattrs            (content follows, written by its owner)
 *   entry   u8 version, u64 ino, u32 type, bytes name
 *   xattrs  repeated: bytes name, bytes value      (bytes = u32 length and that many bytes)
 */
#ifndef C2_FS_RECORDS_H
#define C2_FS_RECORDS_H

#include "base/wire.h"
#include "fs/inode.h"

#define FS_INODE_RECORD_VERSION  1
#define FS_DENTRY_RECORD_VERSION 1

/* Attributes, parent, symlink, xattrs; not the content. */
void fs_inode_record_encode(const struct fs_inode *i, struct c2_buf *out);
/* Reads up to where the content begins. Replaces symlink and xattrs of *i; *i is untouched on
 * failure. PARSE or VERSION. */
C2_RESULT fs_inode_record_decode(struct c2_rd *r, struct fs_inode *i);

struct fs_dentry_record {
    uint64_t ino;
    uint32_t type; /* S_IFMT bits */
    size_t name_len;
    char name[FS_NAME_MAX + 1]; /* zero-terminated, fit for a directory */
};

/* The entry must exist (ino not 0); only ino, type and name count. */
void fs_dentry_record_encode(uint64_t ino, uint32_t type, const char *name, struct c2_buf *out);
/* Reads up to the end of the entry; the caller checks for trailing bytes. */
C2_RESULT fs_dentry_record_decode(struct c2_rd *r, struct fs_dentry_record *ret_entry);

/* Whether a directory may hold this name: 1..255 bytes, no slash, no zero byte, not . or .. */
bool fs_name_valid(struct c2_slice name);
/* One of the seven file types and nothing else. */
bool fs_type_valid(uint32_t type);

struct fs_xattr {
    struct c2_slice name;  /* borrowed from the list */
    struct c2_slice value; /* borrowed from the list */
};

/* The next attribute of an encoded list; false at its end or when it is malformed (see r). */
bool fs_xattr_next(struct c2_rd *r, struct fs_xattr *ret_xattr);
void fs_xattr_append(struct c2_buf *list, struct c2_slice name, struct c2_slice value);

#endif
