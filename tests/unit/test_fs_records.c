/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/alloc.h"
#include "fs/records.h"

static void
release(struct fs_inode *i)
{
    c2_free(i->symlink);
    c2_buf_done(&i->xattrs);
}

static struct fs_inode
sample_file(void)
{
    struct fs_inode i = { .ino = 77, .parent = 5 };
    i.attr = (struct fs_attr){ .ino = 77,
                               .mode = S_IFREG | 04755,
                               .nlink = 2,
                               .uid = 1000,
                               .gid = 100,
                               .size = 5ull << 32,
                               .blocks = 12,
                               .atime = { -5, 1 },
                               .mtime = { 1700000000, 999999999 },
                               .ctime = { 3, 4 },
                               .btime = { 5, 6 } };
    fs_xattr_append(&i.xattrs, c2_slice_str("user.a"), c2_slice("x\0y", 3));
    fs_xattr_append(&i.xattrs, c2_slice_str("user.empty"), c2_slice("", 0));
    return i;
}

static void
inode_record__round_trip_keeps_every_field(void **state)
{
    (void)state;
    struct fs_inode in = sample_file();
    struct c2_buf b = { 0 };
    fs_inode_record_encode(&in, &b);
    c2_buf_puts(&b, "content");

    struct fs_inode out = { 0 };
    struct c2_rd r = c2_rd_init(c2_buf_slice(&b));
    assert_int_equal(fs_inode_record_decode(&r, &out), C2_E_OK);
    assert_int_equal(c2_rd_left(&r), strlen("content"));
    assert_int_equal(out.ino, 77);
    assert_int_equal(out.parent, 5);
    assert_null(out.symlink);
    assert_memory_equal(&out.attr.atime, &in.attr.atime, sizeof(in.attr.atime));
    assert_int_equal(out.attr.mtime.sec, 1700000000);
    assert_int_equal(out.attr.mtime.nsec, 999999999);
    assert_int_equal(out.attr.btime.nsec, 6);
    assert_int_equal(out.attr.mode, S_IFREG | 04755);
    assert_int_equal(out.attr.size, 5ull << 32);
    assert_int_equal(out.attr.blocks, 12);
    assert_true(c2_slice_equal(c2_buf_slice(&in.xattrs), c2_buf_slice(&out.xattrs)));
    release(&in);
    release(&out);
    c2_buf_done(&b);
}

static void
inode_record__symlink_target_comes_back(void **state)
{
    (void)state;
    struct fs_inode in = { .ino = 9, .symlink = c2_strdup("../target") };
    in.attr = (struct fs_attr){ .ino = 9, .mode = S_IFLNK | 0777, .nlink = 1, .size = 9 };
    struct c2_buf b = { 0 };
    fs_inode_record_encode(&in, &b);
    struct fs_inode out = { .symlink = c2_strdup("older") };
    struct c2_rd r = c2_rd_init(c2_buf_slice(&b));
    assert_int_equal(fs_inode_record_decode(&r, &out), C2_E_OK);
    assert_string_equal(out.symlink, "../target");
    release(&in);
    release(&out);
    c2_buf_done(&b);
}

static void
inode_record__every_prefix_is_an_error_and_changes_nothing(void **state)
{
    (void)state;
    struct fs_inode in = sample_file();
    struct c2_buf b = { 0 };
    fs_inode_record_encode(&in, &b);
    for (size_t len = 0; len < b.len; len++) {
        struct fs_inode out = { .ino = 1234 };
        struct c2_rd r = c2_rd_init(c2_slice(b.data, len));
        assert_int_equal(fs_inode_record_decode(&r, &out), C2_E_PARSE);
        assert_int_equal(out.ino, 1234);
        assert_int_equal(out.attr.mode, 0);
        assert_int_equal(out.xattrs.len, 0);
    }
    release(&in);
    c2_buf_done(&b);
}

static void
inode_record__newer_version_is_refused_as_such(void **state)
{
    (void)state;
    struct fs_inode in = sample_file();
    struct c2_buf b = { 0 };
    fs_inode_record_encode(&in, &b);
    b.data[0] = FS_INODE_RECORD_VERSION + 1;
    struct fs_inode out = { 0 };
    struct c2_rd r = c2_rd_init(c2_buf_slice(&b));
    assert_int_equal(fs_inode_record_decode(&r, &out), C2_E_VERSION);
    release(&in);
    c2_buf_done(&b);
}

/* Decodes the sample after one change of its bytes. */
static enum c2_err
decode_changed(size_t at, const void *bytes, size_t len)
{
    struct fs_inode in = sample_file();
    struct c2_buf b = { 0 };
    fs_inode_record_encode(&in, &b);
    memcpy(b.data + at, bytes, len);
    struct fs_inode out = { 0 };
    struct c2_rd r = c2_rd_init(c2_buf_slice(&b));
    enum c2_err err = fs_inode_record_decode(&r, &out);
    release(&in);
    release(&out);
    c2_buf_done(&b);
    return err;
}

static void
inode_record__impossible_values_are_refused(void **state)
{
    (void)state;
    uint8_t v[8];
    assert_int_equal(decode_changed(1, "\0\0\0\0\0\0\0\0", 8), C2_E_PARSE); /* inode 0 */
    c2_put_u32(v, S_IFREG | S_IFDIR | S_IFLNK);
    assert_int_equal(decode_changed(9, v, 4), C2_E_PARSE); /* no such type */
    c2_put_u32(v, S_IFREG | 0x10000);
    assert_int_equal(decode_changed(9, v, 4), C2_E_PARSE); /* bits beyond the mode */
    c2_put_u64(v, (uint64_t)INT64_MAX + 1);
    assert_int_equal(decode_changed(33, v, 8), C2_E_PARSE); /* size */
    c2_put_u32(v, 1000000000);
    assert_int_equal(decode_changed(57, v, 4), C2_E_PARSE); /* nanoseconds */
    c2_put_u32(v, S_IFLNK | 0777);
    assert_int_equal(decode_changed(9, v, 4), C2_E_PARSE); /* a symlink without target */
    c2_put_u32(v, S_IFREG | 0600);
    assert_int_equal(decode_changed(9, v, 4), C2_E_OK);
}

static void
dentry_record__round_trip(void **state)
{
    (void)state;
    struct fs_dentry *e = c2_calloc(1, sizeof(*e) + 8);
    e->ino = 42;
    e->type = S_IFDIR;
    memcpy(e->name, "a b\xff", 5);
    struct c2_buf b = { 0 };
    fs_dentry_record_encode(e->ino, e->type, e->name, &b);
    struct fs_dentry_record out;
    struct c2_rd r = c2_rd_init(c2_buf_slice(&b));
    assert_int_equal(fs_dentry_record_decode(&r, &out), C2_E_OK);
    assert_int_equal(c2_rd_finish(&r), C2_E_OK);
    assert_int_equal(out.ino, 42);
    assert_int_equal(out.type, S_IFDIR);
    assert_int_equal(out.name_len, 4);
    assert_string_equal(out.name, "a b\xff");
    b.data[0] = FS_DENTRY_RECORD_VERSION + 1;
    r = c2_rd_init(c2_buf_slice(&b));
    assert_int_equal(fs_dentry_record_decode(&r, &out), C2_E_VERSION);
    c2_buf_done(&b);
    c2_free(e);
}

static void
dentry_record__names_unfit_for_a_directory_are_refused(void **state)
{
    (void)state;
    static const struct c2_slice bad[] = {
        { (const uint8_t *)"", 0 },    { (const uint8_t *)".", 1 },    { (const uint8_t *)"..", 2 },
        { (const uint8_t *)"a/b", 3 }, { (const uint8_t *)"a\0b", 3 },
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(bad); i++) {
        struct c2_buf b = { 0 };
        c2_wr_u8(&b, FS_DENTRY_RECORD_VERSION);
        c2_wr_u64(&b, 42);
        c2_wr_u32(&b, S_IFREG);
        c2_wr_bytes(&b, bad[i]);
        struct fs_dentry_record out;
        struct c2_rd r = c2_rd_init(c2_buf_slice(&b));
        assert_int_equal(fs_dentry_record_decode(&r, &out), C2_E_PARSE);
        c2_buf_done(&b);
    }
    char name[300];
    memset(name, 'x', sizeof(name));
    assert_true(fs_name_valid(c2_slice(name, FS_NAME_MAX)));
    assert_false(fs_name_valid(c2_slice(name, FS_NAME_MAX + 1)));
    assert_true(fs_name_valid(c2_slice_str("...")));
}

static void
xattr_next__malformed_list_ends_with_an_error(void **state)
{
    (void)state;
    struct c2_buf b = { 0 };
    fs_xattr_append(&b, c2_slice_str("user.a"), c2_slice_str("1"));
    struct c2_rd r = c2_rd_init(c2_slice(b.data, b.len - 1));
    struct fs_xattr x;
    assert_false(fs_xattr_next(&r, &x));
    assert_false(c2_rd_ok(&r));
    r = c2_rd_init(c2_buf_slice(&b));
    assert_true(fs_xattr_next(&r, &x));
    assert_false(fs_xattr_next(&r, &x));
    assert_int_equal(c2_rd_finish(&r), C2_E_OK);
    c2_buf_done(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inode_record__round_trip_keeps_every_field),
        cmocka_unit_test(inode_record__symlink_target_comes_back),
        cmocka_unit_test(inode_record__every_prefix_is_an_error_and_changes_nothing),
        cmocka_unit_test(inode_record__newer_version_is_refused_as_such),
        cmocka_unit_test(inode_record__impossible_values_are_refused),
        cmocka_unit_test(dentry_record__round_trip),
        cmocka_unit_test(dentry_record__names_unfit_for_a_directory_are_refused),
        cmocka_unit_test(xattr_next__malformed_list_ends_with_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
