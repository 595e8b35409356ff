/* SPDX-License-Identifier: MIT */
/*
 * Attributes, extended attributes, space: setattr, xattrs, fallocate, lseek, copy_range, statfs.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "fs/coord_keys.h"
#include "tests/lib/fs_fixture.h"

#define ROOT FS_ROOT_INO

static int
setup(void **state)
{
    struct fsx *x = c2_calloc(1, sizeof(*x));
    fsx_init(x);
    fsx_mount(x);
    *state = x;
    return 0;
}

static int
teardown(void **state)
{
    struct fsx *x = *state;
    fsx_stop(x);
    fsx_done(x);
    c2_free(x);
    return 0;
}

static void
remount(struct fsx *x)
{
    fsx_unmount(x);
    fsx_mount(x);
}

static struct fs_attr
attr_of(struct fsx *x, uint64_t ino)
{
    struct fs_req r = { .op = FS_GETATTR, .ino = ino };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    return r.attr;
}

static enum c2_err
set(struct fsx *x, uint64_t ino, unsigned valid, struct fs_attr a)
{
    struct fs_req r = { .op = FS_SETATTR, .ino = ino, .valid = valid, .attr = a };
    return fsx_run(x, &r);
}

static uint64_t
put(struct fsx *x, const char *name, const void *data, size_t len)
{
    fsx_put(x, ROOT, name, data, len);
    return fsx_ino(x, ROOT, name);
}

/* ---- setattr --------------------------------------------------------------------------------- */

static void
setattr__mode_keeps_the_type_and_survives(void **state)
{
    struct fsx *x = *state;
    uint64_t f = put(x, "f", "x", 1);
    assert_int_equal(set(x, f, FS_SET_MODE, (struct fs_attr){ .mode = S_IFDIR | 04711 }), C2_E_OK);
    assert_int_equal(attr_of(x, f).mode, S_IFREG | 04711);
    remount(x);
    assert_int_equal(attr_of(x, f).mode, S_IFREG | 04711);
}

static void
setattr__change_of_owner_takes_set_user_id_away(void **state)
{
    struct fsx *x = *state;
    uint64_t f = put(x, "f", "x", 1), d = fsx_mkdir(x, ROOT, "d");
    assert_int_equal(set(x, f, FS_SET_MODE, (struct fs_attr){ .mode = 06755 }), C2_E_OK);
    assert_int_equal(set(x, f, FS_SET_UID, (struct fs_attr){ .uid = 5, .gid = 9 }), C2_E_OK);
    assert_int_equal(attr_of(x, f).mode, S_IFREG | 0755);
    assert_int_equal(attr_of(x, f).uid, 5);
    assert_int_equal(attr_of(x, f).gid, 0); /* was not asked for */
    /* Without group execution the bit is no privilege. */
    assert_int_equal(set(x, f, FS_SET_MODE, (struct fs_attr){ .mode = 02745 }), C2_E_OK);
    assert_int_equal(set(x, f, FS_SET_GID, (struct fs_attr){ .gid = 6 }), C2_E_OK);
    assert_int_equal(attr_of(x, f).mode, S_IFREG | 02745);
    /* A mode that comes with it counts. */
    struct fs_attr both = { .uid = 7, .mode = 04755 };
    assert_int_equal(set(x, f, FS_SET_UID | FS_SET_MODE, both), C2_E_OK);
    assert_int_equal(attr_of(x, f).mode, S_IFREG | 04755);
    /* On directories the bit means something else. */
    assert_int_equal(set(x, d, FS_SET_MODE, (struct fs_attr){ .mode = 02755 }), C2_E_OK);
    assert_int_equal(set(x, d, FS_SET_GID, (struct fs_attr){ .gid = 6 }), C2_E_OK);
    assert_int_equal(attr_of(x, d).mode, S_IFDIR | 02755);
}

/* The ways to change content: write, truncate, open with O_TRUNC, fallocate, copy. */
static enum c2_err
change(struct fsx *x, uint64_t f, unsigned way, uint32_t uid)
{
    struct fs_handle *h = fsx_open(x, f, O_RDWR);
    struct fs_req r = { .op = FS_WRITE, .handle = h, .handle2 = h, .uid = uid, .len = 1 };
    r.data = c2_slice("y", 1);
    if (way == 1) {
        r = (struct fs_req){ .op = FS_SETATTR, .ino = f, .valid = FS_SET_SIZE, .uid = uid };
        r.attr.size = 1;
    } else if (way == 2) {
        r = (struct fs_req){ .op = FS_OPEN, .ino = f, .flags = O_WRONLY | O_TRUNC, .uid = uid };
    } else if (way == 3) {
        r.op = FS_FALLOCATE;
        r.off = 100;
    } else if (way == 4) {
        r.op = FS_COPY_RANGE;
        r.off2 = 50;
    }
    enum c2_err err = fsx_run(x, &r);
    if (way == 2)
        assert_int_equal(fsx_close(x, r.handle), C2_E_OK);
    fs_req_done(&r);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    return err;
}

static void
content__changed_by_root_keeps_set_user_id(void **state)
{
    struct fsx *x = *state;
    for (unsigned way = 0; way < 5; way++) {
        uint64_t f = put(x, "f", "xyz", 3);
        assert_int_equal(set(x, f, FS_SET_MODE, (struct fs_attr){ .mode = 06755 }), C2_E_OK);
        assert_int_equal(change(x, f, way, 0), C2_E_OK);
        assert_int_equal(attr_of(x, f).mode, S_IFREG | 06755);
        fsx_put(x, ROOT, "f", "xyz", 3);
        assert_int_equal(change(x, f, way, 1000), C2_E_OK);
        assert_int_equal(attr_of(x, f).mode, S_IFREG | 0755);
    }
}

#define LARGEST_COUNTED (1ull << 45)

static void
put_used(struct fsx *x, uint64_t bytes)
{
    struct ck key = ck_usage("bytes");
    uint8_t value[8];
    c2_put_u64(value, bytes);
    const struct coord_op op = { .kind = COORD_PUT,
                                 .key = ck_slice(&key),
                                 .value = c2_slice(value, sizeof(value)) };
    fsx_txn(x, &op, 1);
}

/* Files of holes cost nothing, and there may be very many of them. */
static void
sizes__that_could_not_be_counted_are_refused(void **state)
{
    struct fsx *x = *state;
    const struct fs_attr large = { .size = 1ull << 50 }, small = { .size = 1 };
    uint64_t f = put(x, "f", "x", 1), g = put(x, "g", "x", 1);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    put_used(x, FS_USED_MAX - LARGEST_COUNTED);
    remount(x);
    assert_int_equal(set(x, f, FS_SET_SIZE, large), C2_E_OK);
    assert_int_equal(set(x, g, FS_SET_SIZE, large), C2_E_NO_SPACE);
    struct fs_handle *h = fsx_open(x, g, O_RDWR);
    assert_int_equal(fsx_write(x, h, 1ull << 50, "x", 1), C2_E_NO_SPACE);
    struct fs_req r = { .op = FS_FALLOCATE, .handle = h, .off = 1ull << 50, .len = 1 };
    assert_int_equal(fsx_run(x, &r), C2_E_NO_SPACE);
    r = (struct fs_req){ .op = FS_COPY_RANGE, .handle = h, .handle2 = h, .len = 1 };
    r.off2 = 1ull << 50;
    assert_int_equal(fsx_run(x, &r), C2_E_NO_SPACE);
    assert_int_equal(set(x, f, FS_SET_SIZE, small), C2_E_OK);
    assert_int_equal(set(x, g, FS_SET_SIZE, large), C2_E_OK);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
}

static void
commit__goes_on_when_the_counters_are_full(void **state)
{
    struct fsx *x = *state;
    put(x, "f", "x", 1);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    put_used(x, INT64_MAX);
    put(x, "g", "content", 7);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_true(c2_mark_count("anchor: counters that are full") > 0);
    fsx_drop_cache(x);
    fsx_expect(x, ROOT, "g", "content", 7);
}

static void
setattr__explicit_times_win_and_ctime_is_now(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint64_t f;
    assert_int_equal(fsx_create(x, ROOT, "f", O_CREAT | O_RDWR, &h, &f), C2_E_OK);
    assert_int_equal(fsx_write(x, h, 0, "x", 1), C2_E_OK);
    struct fs_attr t = { .atime = { 11, 1 }, .mtime = { -5, 999999999 } };
    struct fs_attr before = attr_of(x, f);
    test_env_run_for(x->t, C2_NS_PER_S);
    assert_int_equal(set(x, f, FS_SET_ATIME | FS_SET_MTIME, t), C2_E_OK);
    assert_int_equal(fsx_close(x, h), C2_E_OK); /* closing does not touch what was set */
    remount(x);
    struct fs_attr a = attr_of(x, f);
    assert_int_equal(a.atime.sec, 11);
    assert_int_equal(a.atime.nsec, 1);
    assert_int_equal(a.mtime.sec, -5);
    assert_int_equal(a.mtime.nsec, 999999999);
    assert_true(a.ctime.sec > before.ctime.sec);
    assert_int_equal(a.btime.sec, before.btime.sec);
    assert_int_equal(set(x, f, FS_SET_MTIME_NOW, (struct fs_attr){ 0 }), C2_E_OK);
    assert_true(attr_of(x, f).mtime.sec >= a.ctime.sec);
    assert_int_equal(attr_of(x, f).atime.sec, 11);
}

static void
setattr__size_cuts_and_extends_with_zeros(void **state)
{
    struct fsx *x = *state;
    uint64_t f = put(x, "f", "abcdefgh", 8), d = fsx_mkdir(x, ROOT, "d");
    assert_int_equal(set(x, d, FS_SET_SIZE, (struct fs_attr){ 0 }), C2_E_IS_DIR);
    struct fs_attr huge = { .size = (uint64_t)FS_FILE_SIZE_MAX + 1 };
    assert_int_equal(set(x, f, FS_SET_SIZE, huge), C2_E_TOO_LARGE);
    assert_int_equal(set(x, f, FS_SET_SIZE, (struct fs_attr){ .size = 3 }), C2_E_OK);
    assert_int_equal(set(x, f, FS_SET_SIZE, (struct fs_attr){ .size = 6 }), C2_E_OK);
    fsx_expect(x, ROOT, "f", "abc\0\0\0", 6);
    remount(x);
    fsx_expect(x, ROOT, "f", "abc\0\0\0", 6);
    uint64_t used = fsx_status(x).used_bytes;
    assert_int_equal(set(x, f, FS_SET_SIZE, (struct fs_attr){ .size = 0 }), C2_E_OK);
    assert_int_equal(fsx_status(x).used_bytes, used - 6);
    remount(x);
    assert_int_equal(attr_of(x, f).size, 0);
}

/* The kernel may have times to write back (writeback_cache), and tells syncfs when they fail. */
static void
setattr__of_what_is_unlinked_and_closed_changes_nothing_and_is_no_error(void **state)
{
    struct fsx *x = *state;
    (void)put(x, "f", "x", 1);
    struct fs_req r = { .op = FS_LOOKUP, .ino = ROOT, .name = "f" };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    uint64_t f = r.attr.ino;
    struct fs_attr a = { .size = 5, .mode = 0600, .mtime = { .sec = 7 }, .ctime = { .sec = 8 } };
    assert_int_equal(fsx_unlink(x, ROOT, "f"), C2_E_OK);
    for (unsigned k = 0; k < 2; k++) {
        assert_int_equal(set(x, f, FS_SET_MTIME | FS_SET_CTIME, a), C2_E_OK);
        assert_int_equal(set(x, f, FS_SET_MODE, a), C2_E_OK);
        assert_int_equal(set(x, f, FS_SET_SIZE, a), C2_E_STALE);
        assert_int_equal(attr_of(x, f).mtime.sec, 7);
        assert_int_equal(attr_of(x, f).mode, S_IFREG | 0600);
        assert_int_equal(fsx_sync(x), C2_E_OK);
        assert_null(C2_LIST_FIRST(&x->fs->commit_inodes, struct fs_inode, commit_link));
    }
    remount(x);
    assert_int_equal(fsx_lookup(x, ROOT, "f", NULL), C2_E_NOT_FOUND);
}

static void
setattr__is_refused_when_the_session_is_lost(void **state)
{
    struct fsx *x = *state;
    uint64_t f = put(x, "f", "x", 1);
    x->fs->fenced = true;
    assert_int_equal(set(x, f, FS_SET_MODE, (struct fs_attr){ .mode = 0600 }), C2_E_FENCED);
    assert_int_equal(attr_of(x, f).mode, S_IFREG | 0644);
    x->fs->fenced = false;
}

/* ---- xattrs ---------------------------------------------------------------------------------- */

static enum c2_err
set_xattr(struct fsx *x, uint64_t ino, const char *name, const void *value, size_t len, int flags)
{
    struct fs_req r = { .op = FS_SETXATTR, .ino = ino, .name = name, .flags = flags };
    r.data = c2_slice(value, len);
    return fsx_run(x, &r);
}

/* The value as text; the caller frees. NULL and the error otherwise. */
static char *
get_xattr(struct fsx *x, uint64_t ino, const char *name, enum c2_err *ret_err)
{
    struct fs_req r = { .op = FS_GETXATTR, .ino = ino, .name = name };
    *ret_err = fsx_run(x, &r);
    char *value = *ret_err == C2_E_OK ? c2_strdup(c2_buf_cstr(&r.reply)) : NULL;
    fs_req_done(&r);
    return value;
}

static void
expect_xattr(struct fsx *x, uint64_t ino, const char *name, const char *want)
{
    enum c2_err err;
    char *value = get_xattr(x, ino, name, &err);
    assert_int_equal(err, C2_E_OK);
    assert_string_equal(value, want);
    c2_free(value);
}

static void
expect_no_xattr(struct fsx *x, uint64_t ino, const char *name, enum c2_err want)
{
    enum c2_err err;
    assert_null(get_xattr(x, ino, name, &err));
    assert_int_equal(err, want);
}

static void
xattr__set_replace_list_remove(void **state)
{
    struct fsx *x = *state;
    uint64_t f = put(x, "f", "x", 1);
    expect_no_xattr(x, f, "user.a", C2_E_NO_DATA);
    assert_int_equal(set_xattr(x, f, "user.a", "1", 1, XATTR_REPLACE), C2_E_NO_DATA);
    assert_int_equal(set_xattr(x, f, "user.a", "1", 1, XATTR_CREATE), C2_E_OK);
    assert_int_equal(set_xattr(x, f, "user.a", "2", 1, XATTR_CREATE), C2_E_EXISTS);
    assert_int_equal(set_xattr(x, f, "user.a", "22", 2, XATTR_REPLACE), C2_E_OK);
    assert_int_equal(set_xattr(x, f, "security.x", "", 0, 0), C2_E_OK);
    assert_int_equal(set_xattr(x, f, "trusted.y", "t", 1, 0), C2_E_OK);
    remount(x);
    expect_xattr(x, f, "user.a", "22");
    expect_xattr(x, f, "security.x", "");
    struct fs_req r = { .op = FS_LISTXATTR, .ino = f };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    static const char names[] = "user.a\0security.x\0trusted.y";
    assert_int_equal(r.reply.len, sizeof(names));
    assert_memory_equal(r.reply.data, names, sizeof(names));
    fs_req_done(&r);
    /* Whoever cannot read them is not told of them. */
    r = (struct fs_req){ .op = FS_LISTXATTR, .ino = f, .uid = 1000 };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    assert_int_equal(r.reply.len, sizeof(names) - sizeof("trusted.y"));
    assert_memory_equal(r.reply.data, names, r.reply.len);
    fs_req_done(&r);
    r = (struct fs_req){ .op = FS_REMOVEXATTR, .ino = f, .name = "user.a" };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    r = (struct fs_req){ .op = FS_REMOVEXATTR, .ino = f, .name = "user.a" };
    assert_int_equal(fsx_run(x, &r), C2_E_NO_DATA);
    remount(x);
    expect_no_xattr(x, f, "user.a", C2_E_NO_DATA);
    expect_xattr(x, f, "trusted.y", "t");
}

static void
xattr__limits_and_foreign_name_spaces(void **state)
{
    struct fsx *x = *state;
    uint64_t f = put(x, "f", "x", 1);
    uint8_t *big = c2_calloc(1, FS_XATTR_VALUE_MAX + 1);
    char name[300];
    memset(name, 'n', sizeof(name));
    memcpy(name, "user.", 5);
    name[FS_XATTR_NAME_MAX + 1] = '\0';
    assert_int_equal(set_xattr(x, f, name, "1", 1, 0), C2_E_RANGE);
    name[FS_XATTR_NAME_MAX] = '\0';
    assert_int_equal(set_xattr(x, f, name, "1", 1, 0), C2_E_OK);
    assert_int_equal(set_xattr(x, f, "user.big", big, FS_XATTR_VALUE_MAX + 1, 0), C2_E_NO_SPACE);
    assert_int_equal(set_xattr(x, f, "user.big", big, FS_XATTRS_BYTES_MAX, 0), C2_E_NO_SPACE);
    assert_int_equal(set_xattr(x, f, "user.big", big, FS_XATTRS_BYTES_MAX - 2000, 0), C2_E_OK);
    assert_int_equal(set_xattr(x, f, "user.more", big, 9000, 0), C2_E_NO_SPACE);
    assert_int_equal(set_xattr(x, f, "system.other", "1", 1, 0), C2_E_UNSUPPORTED);
    assert_int_equal(set_xattr(x, f, "user.", "1", 1, 0), C2_E_UNSUPPORTED);
    assert_int_equal(set_xattr(x, f, "nospace", "1", 1, 0), C2_E_UNSUPPORTED);
    remount(x);
    struct fs_req r = { .op = FS_GETXATTR, .ino = f, .name = "user.big" };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    assert_int_equal(r.reply.len, FS_XATTRS_BYTES_MAX - 2000);
    fs_req_done(&r);
    c2_free(big);
}

static void
xattr__own_ones_tell_where_the_bytes_are(void **state)
{
    struct fsx *x = *state;
    enum c2_err err;
    uint64_t f = put(x, "f", "some bytes", 10), d = fsx_mkdir(x, ROOT, "d");
    expect_xattr(x, f, "user.c2fs.state", "local");
    assert_int_equal(fsx_sync(x), C2_E_OK);
    expect_xattr(x, f, "user.c2fs.state", "committed");
    remount(x);
    expect_xattr(x, f, "user.c2fs.state", "committed");
    char *info = get_xattr(x, f, "user.c2fs.info", &err);
    assert_int_equal(err, C2_E_OK);
    assert_non_null(strstr(info, "\"schema\":\"c2fs.info/1\""));
    assert_non_null(strstr(info, "\"size\":10"));
    assert_non_null(strstr(info, "\"local_bytes\":0"));
    assert_non_null(strstr(info, "\"id\":\""));
    c2_free(info);
    expect_no_xattr(x, d, "user.c2fs.state", C2_E_NO_DATA);
    expect_no_xattr(x, f, "user.c2fs.other", C2_E_NO_DATA);
    assert_int_equal(set_xattr(x, f, "user.c2fs.state", "1", 1, 0), C2_E_NOT_PERMITTED);
    struct fs_req r = { .op = FS_REMOVEXATTR, .ino = f, .name = "user.c2fs.info" };
    assert_int_equal(fsx_run(x, &r), C2_E_NOT_PERMITTED);
    r = (struct fs_req){ .op = FS_LISTXATTR, .ino = f };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    assert_int_equal(r.reply.len, 0); /* programs that copy attributes do not see them */
    fs_req_done(&r);
}

/* What ls -l asks first of every file, until it hears that there is no such thing. */
static void
xattr__says_that_there_are_no_labels_where_none_is_set(void **state)
{
    struct fsx *x = *state;
    uint64_t f = put(x, "f", "x", 1);
    expect_no_xattr(x, f, "security.selinux", C2_E_UNSUPPORTED);
    assert_int_equal(set_xattr(x, f, "security.selinux", "user_u:object_r:x_t:s0", 23, 0), C2_E_OK);
    expect_xattr(x, f, "security.selinux", "user_u:object_r:x_t:s0");
}

static void
xattr__security_capability_costs_no_round_trip(void **state)
{
    struct fsx *x = *state;
    uint64_t f = put(x, "f", "x", 1);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    uint64_t before = x->coord->reads;
    for (unsigned k = 0; k < 100; k++)
        expect_no_xattr(x, f, "security.capability", C2_E_NO_DATA);
    assert_int_equal(x->coord->reads, before);
}

/* ---- space ----------------------------------------------------------------------------------- */

static enum c2_err
allocate(struct fsx *x, struct fs_handle *h, uint32_t mode, uint64_t off, uint64_t len)
{
    struct fs_req r = { .op = FS_FALLOCATE, .handle = h, .mode = mode, .off = off, .len = len };
    return fsx_run(x, &r);
}

static void
fallocate__extends_punches_and_zeroes(void **state)
{
    struct fsx *x = *state;
    uint64_t f = put(x, "f", "abcdefgh", 8);
    struct fs_handle *h = fsx_open(x, f, O_RDWR);
    const uint32_t punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    assert_int_equal(allocate(x, h, FALLOC_FL_KEEP_SIZE, 0, 1000), C2_E_OK);
    assert_int_equal(attr_of(x, f).size, 8);
    assert_int_equal(allocate(x, h, punch, 2, 3), C2_E_OK);
    fsx_expect(x, ROOT, "f", "ab\0\0\0fgh", 8);
    assert_int_equal(allocate(x, h, punch, 7, 1000), C2_E_OK);
    assert_int_equal(allocate(x, h, punch, 5000, 1000), C2_E_OK);
    fsx_expect(x, ROOT, "f", "ab\0\0\0fg\0", 8);
    assert_int_equal(allocate(x, h, FALLOC_FL_ZERO_RANGE, 6, 4), C2_E_OK);
    fsx_expect(x, ROOT, "f", "ab\0\0\0f\0\0\0\0", 10);
    assert_int_equal(allocate(x, h, 0, 0, 12), C2_E_OK);
    assert_int_equal(attr_of(x, f).size, 12);
    assert_int_equal(allocate(x, h, FALLOC_FL_COLLAPSE_RANGE, 0, 4), C2_E_UNSUPPORTED);
    assert_int_equal(allocate(x, h, 0, 0, 0), C2_E_INVALID);
    assert_int_equal(allocate(x, h, 0, FS_FILE_SIZE_MAX, 1), C2_E_TOO_LARGE);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    h = fsx_open(x, f, O_RDONLY);
    assert_int_equal(allocate(x, h, 0, 0, 1), C2_E_BAD_HANDLE);
    fsx_release(x, h);
    remount(x);
    fsx_expect(x, ROOT, "f", "ab\0\0\0f\0\0\0\0\0\0", 12);
}

static enum c2_err
seek(struct fsx *x, struct fs_handle *h, uint64_t off, int whence, uint64_t *ret_off)
{
    struct fs_req r = { .op = FS_LSEEK, .handle = h, .off = off, .flags = whence };
    enum c2_err err = fsx_run(x, &r);
    *ret_off = r.off;
    return err;
}

static void
lseek__finds_data_and_holes(void **state)
{
    struct fsx *x = *state;
    uint64_t f = put(x, "f", "x", 1), off;
    struct fs_handle *h = fsx_open(x, f, O_RDWR);
    assert_int_equal(fsx_write(x, h, 1u << 20, "y", 1), C2_E_OK);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    remount(x);
    h = fsx_open(x, f, O_RDONLY);
    assert_int_equal(seek(x, h, 0, SEEK_DATA, &off), C2_E_OK);
    assert_int_equal(off, 0);
    assert_int_equal(seek(x, h, 0, SEEK_HOLE, &off), C2_E_OK);
    assert_int_equal(off, 1);
    assert_int_equal(seek(x, h, 1, SEEK_DATA, &off), C2_E_OK);
    assert_int_equal(off, 1u << 20);
    assert_int_equal(seek(x, h, 1u << 20, SEEK_HOLE, &off), C2_E_OK);
    assert_int_equal(off, (1u << 20) + 1);
    assert_int_equal(seek(x, h, (1u << 20) + 1, SEEK_DATA, &off), C2_E_NO_DEVICE);
    assert_int_equal(seek(x, h, 0, SEEK_SET, &off), C2_E_INVALID);
    fsx_release(x, h);
}

static enum c2_err
copy(struct fsx *x, struct fs_handle *from, uint64_t off, struct fs_handle *to, uint64_t off2,
     uint64_t len, uint64_t *ret_count)
{
    struct fs_req r = { .op = FS_COPY_RANGE, .handle = from, .handle2 = to };
    r.off = off;
    r.off2 = off2;
    r.len = len;
    enum c2_err err = fsx_run(x, &r);
    *ret_count = r.count;
    return err;
}

static void
copy_range__shares_bytes_without_uploading_them_again(void **state)
{
    struct fsx *x = *state;
    size_t len = 300000;
    uint64_t count;
    uint8_t *data = fsx_bytes(3, len);
    uint64_t a = put(x, "a", data, len), b = put(x, "b", "12345", 5);
    remount(x);
    uint64_t before = fsx_status(x).object_bytes;
    struct fs_handle *from = fsx_open(x, a, O_RDONLY), *to = fsx_open(x, b, O_RDWR);
    assert_int_equal(copy(x, from, 0, to, 2, len * 2, &count), C2_E_OK);
    assert_int_equal(count, len); /* cut at the end of the source */
    assert_int_equal(copy(x, from, len, to, 0, 10, &count), C2_E_OK);
    assert_int_equal(count, 0);
    assert_int_equal(copy(x, to, 0, from, 0, 10, &count), C2_E_BAD_HANDLE);
    assert_int_equal(copy(x, to, 0, to, 5, 10, &count), C2_E_INVALID); /* overlaps itself */
    assert_int_equal(copy(x, to, 0, to, len + 2, 2, &count), C2_E_OK);
    fsx_release(x, from);
    assert_int_equal(fsx_close(x, to), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_true(fsx_status(x).object_bytes - before < 1000);
    assert_int_equal(fsx_unlink(x, ROOT, "a"), C2_E_OK);
    remount(x);
    uint8_t *want = c2_alloc(len + 4);
    memcpy(want, "12", 2);
    memcpy(want + 2, data, len);
    memcpy(want + 2 + len, "12", 2);
    fsx_expect(x, ROOT, "b", want, len + 4);
    c2_free(want);
    c2_free(data);
}

/* The kernel's protocol has 32 bits for the answer: 4 GiB would read as 0, the end of the file. */
static void
copy_range__answers_no_more_than_the_kernel_can_read(void **state)
{
    struct fsx *x = *state;
    uint64_t size = 5ull << 30, at = 0, count;
    uint64_t a = put(x, "a", "x", 1), b = put(x, "b", "", 0);
    struct fs_handle *from = fsx_open(x, a, O_RDWR), *to = fsx_open(x, b, O_RDWR);
    assert_int_equal(fsx_write(x, from, size - 1, "y", 1), C2_E_OK);
    while (at < size) {
        assert_int_equal(copy(x, from, at, to, at, size - at, &count), C2_E_OK);
        assert_true(count > 0 && count <= UINT32_MAX);
        at += count;
    }
    assert_int_equal(at, size);
    struct c2_buf got = { 0 };
    assert_int_equal(fsx_read(x, to, size - 2, 10, &got), C2_E_OK);
    assert_int_equal(got.len, 2);
    assert_memory_equal(got.data, "\0y", 2);
    c2_buf_done(&got);
    fsx_release(x, from);
    assert_int_equal(fsx_close(x, to), C2_E_OK);
}

static void
statfs__counts_what_is_there(void **state)
{
    struct fsx *x = *state;
    struct fs_req r = { .op = FS_STATFS };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    uint64_t used = r.statfs.total_bytes - r.statfs.free_bytes;
    uint64_t files = r.statfs.files - r.statfs.files_free;
    put(x, "f", "0123456789", 10);
    remount(x);
    r = (struct fs_req){ .op = FS_STATFS };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    assert_int_equal(r.statfs.total_bytes - r.statfs.free_bytes, used + 10);
    assert_int_equal(r.statfs.files - r.statfs.files_free, files + 1);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(setattr__mode_keeps_the_type_and_survives),
        TEST(setattr__change_of_owner_takes_set_user_id_away),
        TEST(content__changed_by_root_keeps_set_user_id),
        TEST(sizes__that_could_not_be_counted_are_refused),
        TEST(commit__goes_on_when_the_counters_are_full),
        TEST(setattr__explicit_times_win_and_ctime_is_now),
        TEST(setattr__size_cuts_and_extends_with_zeros),
        TEST(setattr__of_what_is_unlinked_and_closed_changes_nothing_and_is_no_error),
        TEST(setattr__is_refused_when_the_session_is_lost),
        TEST(xattr__set_replace_list_remove),
        TEST(xattr__limits_and_foreign_name_spaces),
        TEST(xattr__own_ones_tell_where_the_bytes_are),
        TEST(xattr__says_that_there_are_no_labels_where_none_is_set),
        TEST(xattr__security_capability_costs_no_round_trip),
        TEST(fallocate__extends_punches_and_zeroes),
        TEST(lseek__finds_data_and_holes),
        TEST(copy_range__shares_bytes_without_uploading_them_again),
        TEST(copy_range__answers_no_more_than_the_kernel_can_read),
        TEST(statfs__counts_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
