/* SPDX-License-Identifier: MIT */
/*
 * Encoding and decoding of inode and entry records. The bytes come back from a store that others
 * hold; they are authenticated before they get here, and bounded and checked here all the same,
 * because a record that an older or broken program sealed must not take the mount down.
 */
#include "fs/records.h"

#include <string.h>

#include "base/alloc.h"

#define NSEC_MAX 999999999u

static void
encode_time(struct c2_buf *out, const struct fs_time *t)
{
    c2_wr_i64(out, t->sec);
    c2_wr_u32(out, t->nsec);
}

static struct fs_time
decode_time(struct c2_rd *r)
{
    struct fs_time t = { 0 };
    t.sec = c2_rd_i64(r);
    t.nsec = c2_rd_u32(r);
    if (t.nsec > NSEC_MAX)
        c2_rd_fail(r);
    return t;
}

bool
fs_type_valid(uint32_t type)
{
    return type == S_IFREG || type == S_IFDIR || type == S_IFLNK || type == S_IFCHR ||
           type == S_IFBLK || type == S_IFIFO || type == S_IFSOCK;
}

bool
fs_name_valid(struct c2_slice name)
{
    if (name.len == 0 || name.len > FS_NAME_MAX)
        return false;
    if (memchr(name.data, '/', name.len) != NULL || memchr(name.data, '\0', name.len) != NULL)
        return false;
    return !c2_slice_equal(name, c2_slice_str(".")) && !c2_slice_equal(name, c2_slice_str(".."));
}

bool
fs_xattr_next(struct c2_rd *r, struct fs_xattr *ret_xattr)
{
    if (!c2_rd_ok(r) || c2_rd_left(r) == 0)
        return false;
    struct fs_xattr x = { 0 };
    x.name = c2_rd_bytes(r, FS_XATTR_NAME_MAX);
    x.value = c2_rd_bytes(r, FS_XATTR_VALUE_MAX);
    if (x.name.len == 0 || memchr(x.name.data, '\0', x.name.len) != NULL)
        c2_rd_fail(r);
    if (!c2_rd_ok(r))
        return false;
    *ret_xattr = x;
    return true;
}

void
fs_xattr_append(struct c2_buf *list, struct c2_slice name, struct c2_slice value)
{
    C2_ASSERT(name.len > 0 && name.len <= FS_XATTR_NAME_MAX);
    C2_ASSERT(value.len <= FS_XATTR_VALUE_MAX);
    c2_wr_bytes(list, name);
    c2_wr_bytes(list, value);
}

static bool
xattrs_valid(struct c2_slice list)
{
    struct c2_rd r = c2_rd_init(list);
    struct fs_xattr x;
    while (fs_xattr_next(&r, &x))
        ;
    return c2_rd_finish(&r) == C2_E_OK;
}

void
fs_inode_record_encode(const struct fs_inode *i, struct c2_buf *out)
{
    const struct fs_attr *a = &i->attr;
    C2_ASSERT(i->ino != 0);
    C2_ASSERT(fs_type_valid(a->mode & S_IFMT));
    C2_ASSERT(S_ISLNK(a->mode) == (i->symlink != NULL));
    c2_wr_u8(out, FS_INODE_RECORD_VERSION);
    c2_wr_u64(out, i->ino);
    c2_wr_u32(out, a->mode);
    c2_wr_u32(out, a->nlink);
    c2_wr_u32(out, a->uid);
    c2_wr_u32(out, a->gid);
    c2_wr_u64(out, a->rdev);
    c2_wr_u64(out, a->size);
    c2_wr_u64(out, a->blocks);
    encode_time(out, &a->atime);
    encode_time(out, &a->mtime);
    encode_time(out, &a->ctime);
    encode_time(out, &a->btime);
    c2_wr_u64(out, i->parent);
    c2_wr_bytes(out, i->symlink == NULL ? c2_slice("", 0) : c2_slice_str(i->symlink));
    c2_wr_bytes(out, c2_buf_slice(&i->xattrs));
}

static struct fs_attr
decode_attr(struct c2_rd *r)
{
    struct fs_attr a = { 0 };
    a.ino = c2_rd_u64(r);
    a.mode = c2_rd_u32(r);
    a.nlink = c2_rd_u32(r);
    a.uid = c2_rd_u32(r);
    a.gid = c2_rd_u32(r);
    a.rdev = c2_rd_u64(r);
    a.size = c2_rd_u64(r);
    a.blocks = c2_rd_u64(r);
    a.atime = decode_time(r);
    a.mtime = decode_time(r);
    a.ctime = decode_time(r);
    a.btime = decode_time(r);
    if (a.ino == 0 || a.size > FS_FILE_SIZE_MAX || (a.mode & ~(uint32_t)(S_IFMT | 07777)) != 0 ||
        !fs_type_valid(a.mode & S_IFMT))
        c2_rd_fail(r);
    return a;
}

static C2_RESULT
check_version(struct c2_rd *r, uint8_t known)
{
    uint8_t version = c2_rd_u8(r);
    if (!c2_rd_ok(r) || version == 0) {
        c2_rd_fail(r);
        return C2_E_PARSE;
    }
    return version > known ? C2_E_VERSION : C2_E_OK;
}

C2_RESULT
fs_inode_record_decode(struct c2_rd *r, struct fs_inode *i)
{
    C2_TRY(check_version(r, FS_INODE_RECORD_VERSION));
    struct fs_attr a = decode_attr(r);
    uint64_t parent = c2_rd_u64(r);
    struct c2_slice symlink = c2_rd_bytes(r, FS_SYMLINK_MAX);
    struct c2_slice xattrs = c2_rd_bytes(r, FS_XATTRS_BYTES_MAX);
    if (!c2_rd_ok(r))
        return C2_E_PARSE;
    bool is_link = S_ISLNK(a.mode);
    if (is_link != (symlink.len > 0) || !xattrs_valid(xattrs) ||
        (is_link && memchr(symlink.data, '\0', symlink.len) != NULL) ||
        (S_ISDIR(a.mode) && parent == 0)) {
        c2_rd_fail(r);
        return C2_E_PARSE;
    }

    i->ino = a.ino;
    i->attr = a;
    i->parent = parent;
    c2_free(i->symlink);
    i->symlink = is_link ? c2_strndup((const char *)symlink.data, symlink.len) : NULL;
    c2_buf_clear(&i->xattrs);
    c2_buf_append(&i->xattrs, xattrs.data, xattrs.len);
    return C2_E_OK;
}

void
fs_dentry_record_encode(uint64_t ino, uint32_t type, const char *name, struct c2_buf *out)
{
    C2_ASSERT(ino != 0);
    C2_ASSERT(fs_type_valid(type));
    c2_wr_u8(out, FS_DENTRY_RECORD_VERSION);
    c2_wr_u64(out, ino);
    c2_wr_u32(out, type);
    c2_wr_bytes(out, c2_slice_str(name));
}

C2_RESULT
fs_dentry_record_decode(struct c2_rd *r, struct fs_dentry_record *ret_entry)
{
    C2_TRY(check_version(r, FS_DENTRY_RECORD_VERSION));
    uint64_t ino = c2_rd_u64(r);
    uint32_t type = c2_rd_u32(r);
    struct c2_slice name = c2_rd_bytes(r, FS_NAME_MAX);
    if (!c2_rd_ok(r) || ino == 0 || !fs_type_valid(type) || !fs_name_valid(name)) {
        c2_rd_fail(r);
        return C2_E_PARSE;
    }
    ret_entry->ino = ino;
    ret_entry->type = type;
    ret_entry->name_len = name.len;
    memcpy(ret_entry->name, name.data, name.len);
    ret_entry->name[name.len] = '\0';
    return C2_E_OK;
}
