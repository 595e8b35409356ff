/* SPDX-License-Identifier: MIT */
/*
 * Operations on names: lookup, create, mkdir, mknod, symlink, link, unlink, rmdir, rename. Every
 * rule is checked with everything in memory and again from the store (after a remount).
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
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
run_link(struct fsx *x, uint64_t ino, uint64_t dir, const char *name)
{
    struct fs_req r = { .op = FS_LINK, .ino = ino, .ino2 = dir, .name2 = name };
    return fsx_run(x, &r);
}

static void
expect_names(struct fsx *x, uint64_t dir, const char *const *names, size_t n)
{
    struct fs_attr a;
    char *list = fsx_list(x, dir);
    size_t len = 0;
    for (size_t k = 0; k < n; k++) {
        assert_int_equal(fsx_lookup(x, dir, names[k], &a), C2_E_OK);
        len += strlen(names[k]) + 1;
    }
    assert_int_equal(strlen(list), n == 0 ? 0 : len - 1); /* nothing else is there */
    c2_free(list);
}

#define EXPECT_NAMES(x, dir, ...)                                                                  \
    expect_names(x, dir, (const char *const[]){ __VA_ARGS__ },                                     \
                 sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

/* ---- names ----------------------------------------------------------------------------------- */

static void
names__limits_are_errors_of_every_operation(void **state)
{
    struct fsx *x = *state;
    char longest[FS_NAME_MAX + 1], too_long[FS_NAME_MAX + 2];
    memset(longest, 'x', FS_NAME_MAX);
    longest[FS_NAME_MAX] = '\0';
    memset(too_long, 'x', FS_NAME_MAX + 1);
    too_long[FS_NAME_MAX + 1] = '\0';
    static const enum fs_opcode ops[] = { FS_LOOKUP, FS_MKNOD,  FS_MKDIR, FS_UNLINK,
                                          FS_RMDIR,  FS_CREATE, FS_RENAME };
    for (size_t k = 0; k < C2_ARRAY_LEN(ops); k++) {
        struct fs_req r = { .op = ops[k], .ino = ROOT, .ino2 = ROOT, .name2 = "b" };
        r.name = too_long;
        r.mode = 0644;
        assert_int_equal(fsx_run(x, &r), C2_E_NAME_TOO_LONG);
        r.ops = NULL;
        r.name = "";
        assert_int_equal(fsx_run(x, &r), C2_E_INVALID);
        r.ops = NULL;
        r.name = "..";
        assert_int_equal(fsx_run(x, &r), C2_E_INVALID);
    }
    fsx_put(x, ROOT, longest, "x", 1);
    remount(x);
    fsx_expect(x, ROOT, longest, "x", 1);
}

static void
create__refuses_what_exists_and_a_parent_that_is_no_directory(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint64_t ino;
    fsx_put(x, ROOT, "a", "x", 1);
    assert_int_equal(fsx_create(x, ROOT, "a", O_CREAT | O_EXCL | O_RDWR, &h, &ino), C2_E_EXISTS);
    /* Without O_EXCL the kernel must look again: it has to check the permissions of that file. */
    assert_int_equal(fsx_create(x, ROOT, "a", O_CREAT | O_RDWR, &h, &ino), C2_E_STALE);
    struct fs_req r = { .op = FS_MKDIR, .ino = fsx_ino(x, ROOT, "a"), .name = "b", .mode = 0755 };
    assert_int_equal(fsx_run(x, &r), C2_E_NOT_DIR);
    r = (struct fs_req){ .op = FS_MKDIR, .ino = ROOT, .name = "a", .mode = 0755 };
    assert_int_equal(fsx_run(x, &r), C2_E_EXISTS);
    r = (struct fs_req){ .op = FS_MKNOD, .ino = ROOT, .name = "d", .mode = S_IFDIR | 0755 };
    assert_int_equal(fsx_run(x, &r), C2_E_INVALID);
}

static void
create__owner_mode_and_group_of_a_setgid_directory(void **state)
{
    struct fsx *x = *state;
    struct fs_req r = { .op = FS_MKDIR, .ino = ROOT, .name = "d", .mode = 02775, .gid = 7 };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    uint64_t d = r.attr.ino;
    r = (struct fs_req){ .op = FS_MKNOD, .ino = d, .name = "f", .mode = 0666, .umask = 022 };
    r.uid = 1000;
    r.gid = 1000;
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    assert_int_equal(r.attr.mode, S_IFREG | 0644);
    assert_int_equal(r.attr.uid, 1000);
    assert_int_equal(r.attr.gid, 7);
    assert_int_equal(r.attr.nlink, 1);
    r = (struct fs_req){ .op = FS_MKDIR, .ino = d, .name = "s", .mode = 0755, .gid = 1000 };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    assert_int_equal(r.attr.mode, S_IFDIR | S_ISGID | 0755);
    assert_int_equal(r.attr.gid, 7);
    remount(x);
    assert_int_equal(attr_of(x, fsx_ino(x, d, "s")).mode, S_IFDIR | S_ISGID | 0755);
}

static void
mknod__keeps_device_numbers_and_types(void **state)
{
    struct fsx *x = *state;
    static const uint32_t types[] = { S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK };
    for (unsigned k = 0; k < C2_ARRAY_LEN(types); k++) {
        char name[2] = { (char)('a' + (int)k), '\0' };
        struct fs_req r = { .op = FS_MKNOD, .ino = ROOT, .name = name, .mode = types[k] | 0600 };
        r.rdev = 0x501;
        assert_int_equal(fsx_run(x, &r), C2_E_OK);
    }
    remount(x);
    for (unsigned k = 0; k < C2_ARRAY_LEN(types); k++) {
        char name[2] = { (char)('a' + (int)k), '\0' };
        struct fs_attr a = attr_of(x, fsx_ino(x, ROOT, name));
        bool device = types[k] == S_IFCHR || types[k] == S_IFBLK;
        assert_int_equal(a.mode, types[k] | 0600);
        assert_int_equal(a.rdev, device ? 0x501 : 0);
    }
}

static void
symlink__target_and_size(void **state)
{
    struct fsx *x = *state;
    char *target = c2_calloc(1, FS_SYMLINK_MAX + 2);
    memset(target, 'x', FS_SYMLINK_MAX + 1);
    struct fs_req r = { .op = FS_SYMLINK, .ino = ROOT, .name = "l", .name2 = target };
    assert_int_equal(fsx_run(x, &r), C2_E_NAME_TOO_LONG);
    target[FS_SYMLINK_MAX] = '\0';
    r = (struct fs_req){ .op = FS_SYMLINK, .ino = ROOT, .name = "l", .name2 = target };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    assert_int_equal(r.attr.mode, S_IFLNK | 0777);
    assert_int_equal(r.attr.size, FS_SYMLINK_MAX);
    remount(x);
    r = (struct fs_req){ .op = FS_READLINK, .ino = fsx_ino(x, ROOT, "l") };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    assert_string_equal(c2_buf_cstr(&r.reply), target);
    fs_req_done(&r);
    r = (struct fs_req){ .op = FS_READLINK, .ino = ROOT };
    assert_int_equal(fsx_run(x, &r), C2_E_INVALID);
    c2_free(target);
}

/* ---- link, unlink, rmdir --------------------------------------------------------------------- */

static void
link__counts_names_and_the_last_one_takes_the_file(void **state)
{
    struct fsx *x = *state;
    uint64_t d = fsx_mkdir(x, ROOT, "d");
    fsx_put(x, ROOT, "a", "data", 4);
    uint64_t ino = fsx_ino(x, ROOT, "a");
    assert_int_equal(run_link(x, ino, d, "b"), C2_E_OK);
    assert_int_equal(run_link(x, ino, d, "b"), C2_E_EXISTS);
    assert_int_equal(run_link(x, d, ROOT, "dir"), C2_E_NOT_PERMITTED);
    assert_int_equal(attr_of(x, ino).nlink, 2);
    remount(x);
    assert_int_equal(fsx_ino(x, d, "b"), ino);
    assert_int_equal(fsx_unlink(x, ROOT, "a"), C2_E_OK);
    assert_int_equal(fsx_unlink(x, ROOT, "a"), C2_E_NOT_FOUND);
    remount(x);
    assert_int_equal(attr_of(x, ino).nlink, 1);
    fsx_expect(x, d, "b", "data", 4);
    uint64_t files = fsx_status(x).used_files;
    assert_int_equal(fsx_unlink(x, d, "b"), C2_E_OK);
    assert_int_equal(fsx_status(x).used_files, files - 1);
    remount(x);
    assert_int_equal(fsx_lookup(x, d, "b", NULL), C2_E_NOT_FOUND);
}

static void
unlink__of_an_open_file_keeps_its_content_until_it_is_closed(void **state)
{
    struct fsx *x = *state;
    struct c2_buf got = { 0 };
    fsx_put(x, ROOT, "a", "data", 4);
    uint64_t ino = fsx_ino(x, ROOT, "a");
    struct fs_handle *h = fsx_open(x, ino, O_RDWR);
    assert_int_equal(fsx_unlink(x, ROOT, "a"), C2_E_OK);
    assert_int_equal(attr_of(x, ino).nlink, 0);
    assert_int_equal(run_link(x, ino, ROOT, "again"), C2_E_NOT_FOUND);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_int_equal(fsx_write(x, h, 4, "more", 4), C2_E_OK);
    assert_int_equal(fsx_read(x, h, 0, 100, &got), C2_E_OK);
    assert_int_equal(got.len, 8);
    assert_memory_equal(got.data, "datamore", 8);
    c2_buf_done(&got);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    remount(x);
    struct fs_req r = { .op = FS_GETATTR, .ino = ino };
    assert_int_not_equal(fsx_run(x, &r), C2_E_OK);
}

static void
rmdir__only_empty_directories(void **state)
{
    struct fsx *x = *state;
    uint64_t d = fsx_mkdir(x, ROOT, "d");
    fsx_mkdir(x, d, "e");
    fsx_put(x, ROOT, "f", "x", 1);
    assert_int_equal(attr_of(x, ROOT).nlink, 3);
    assert_int_equal(attr_of(x, d).nlink, 3);
    assert_int_equal(fsx_rmdir(x, ROOT, "d"), C2_E_NOT_EMPTY);
    assert_int_equal(fsx_rmdir(x, ROOT, "f"), C2_E_NOT_DIR);
    assert_int_equal(fsx_unlink(x, ROOT, "d"), C2_E_IS_DIR);
    remount(x);
    assert_int_equal(fsx_rmdir(x, ROOT, "d"), C2_E_NOT_EMPTY);
    assert_int_equal(fsx_rmdir(x, d, "e"), C2_E_OK);
    assert_int_equal(attr_of(x, d).nlink, 2);
    assert_int_equal(fsx_rmdir(x, ROOT, "d"), C2_E_OK);
    assert_int_equal(attr_of(x, ROOT).nlink, 2);
    remount(x);
    EXPECT_NAMES(x, ROOT, "f");
}

static void
rmdir__nothing_is_made_in_a_directory_that_is_gone(void **state)
{
    struct fsx *x = *state;
    uint64_t d = fsx_mkdir(x, ROOT, "d");
    struct fs_req open = { .op = FS_OPENDIR, .ino = d };
    assert_int_equal(fsx_run(x, &open), C2_E_OK);
    assert_int_equal(fsx_rmdir(x, ROOT, "d"), C2_E_OK);
    struct fs_req r = { .op = FS_MKDIR, .ino = d, .name = "e", .mode = 0755 };
    assert_int_equal(fsx_run(x, &r), C2_E_NOT_FOUND);
    fsx_put(x, ROOT, "f", "x", 1);
    assert_int_equal(run_link(x, fsx_ino(x, ROOT, "f"), d, "g"), C2_E_NOT_FOUND);
    assert_int_equal(fsx_rename(x, ROOT, "f", d, "g", 0), C2_E_NOT_FOUND);
    r = (struct fs_req){ .op = FS_RELEASEDIR, .handle = open.handle };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
}

/* A shell in a directory that another one removes: the kernel asks for it as long as the shell is
 * there, however many inodes are used meanwhile. */
static void
rmdir__of_a_working_directory_keeps_it_until_it_is_forgotten(void **state)
{
    struct fsx *x = *state;
    char name[8];
    fsx_unmount(x);
    x->config.inodes_max = 4;
    fsx_mount(x);
    (void)fsx_mkdir(x, ROOT, "d");
    fsx_put(x, ROOT, "f", "x", 1);
    struct fs_req r = { .op = FS_LOOKUP, .ino = ROOT, .name = "d" };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    uint64_t d = r.attr.ino;
    r = (struct fs_req){ .op = FS_LOOKUP, .ino = ROOT, .name = "f" };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    uint64_t f = r.attr.ino;
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_int_equal(fsx_rmdir(x, ROOT, "d"), C2_E_OK);
    assert_int_equal(fsx_unlink(x, ROOT, "f"), C2_E_OK);
    for (unsigned k = 0; k < 20; k++) {
        (void)snprintf(name, sizeof(name), "n%u", k);
        fsx_put(x, ROOT, name, "x", 1);
    }
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_int_equal(attr_of(x, d).nlink, 0);
    assert_int_equal(attr_of(x, f).nlink, 0);
    r = (struct fs_req){ .op = FS_OPENDIR, .ino = d };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    r = (struct fs_req){ .op = FS_RELEASEDIR, .handle = r.handle };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    const uint64_t gone[] = { d, f };
    for (unsigned k = 0; k < C2_ARRAY_LEN(gone); k++) {
        r = (struct fs_req){ .op = FS_FORGET, .ino = gone[k], .len = 1 };
        assert_int_equal(fsx_run(x, &r), C2_E_OK);
        assert_null(fs_inode_peek(x->fs, gone[k]));
    }
    for (unsigned k = 0; k < 20; k++) {
        (void)snprintf(name, sizeof(name), "n%u", k);
        assert_int_equal(fsx_unlink(x, ROOT, name), C2_E_OK);
    }
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_true(x->fs->inodes.count <= 2 * x->config.inodes_max);
}

/* Their number is what a parent's link count tells; a file's names are fewer than that. */
static void
mkdir__a_directory_takes_more_directories_than_a_file_has_names(void **state)
{
    struct fsx *x = *state;
    struct fs_req r = { .op = FS_MKDIR, .name = "e", .mode = 0755 };
    r.ino = fsx_mkdir(x, ROOT, "d");
    fsx_put(x, ROOT, "f", "x", 1);
    struct fs_inode *f = fs_inode_peek(x->fs, fsx_ino(x, ROOT, "f"));
    struct fs_inode *d = fs_inode_peek(x->fs, r.ino);
    f->attr.nlink = d->attr.nlink = FS_LINK_MAX;
    assert_int_equal(run_link(x, f->ino, ROOT, "g"), C2_E_LINKS);
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    fsx_mkdir(x, ROOT, "a");
    assert_int_equal(fsx_rename(x, ROOT, "a", d->ino, "a", 0), C2_E_OK);
    assert_int_equal(attr_of(x, d->ino).nlink, FS_LINK_MAX + 2);
    d->attr.nlink = FS_DIR_LINK_MAX;
    r.name = "g";
    assert_int_equal(fsx_run(x, &r), C2_E_LINKS);
    fsx_mkdir(x, ROOT, "b");
    assert_int_equal(fsx_rename(x, ROOT, "b", d->ino, "b", 0), C2_E_LINKS);
}

/* ---- rename ---------------------------------------------------------------------------------- */

static void
rename__replaces_a_file_and_keeps_its_own_inode(void **state)
{
    struct fsx *x = *state;
    uint64_t d = fsx_mkdir(x, ROOT, "d");
    fsx_put(x, ROOT, "a", "new", 3);
    fsx_put(x, d, "b", "old one", 7);
    uint64_t ino = fsx_ino(x, ROOT, "a");
    assert_int_equal(fsx_rename(x, ROOT, "a", d, "b", RENAME_NOREPLACE), C2_E_EXISTS);
    assert_int_equal(fsx_rename(x, ROOT, "a", d, "b", 0), C2_E_OK);
    assert_int_equal(fsx_ino(x, d, "b"), ino);
    assert_int_equal(fsx_lookup(x, ROOT, "a", NULL), C2_E_NOT_FOUND);
    remount(x);
    fsx_expect(x, d, "b", "new", 3);
    EXPECT_NAMES(x, ROOT, "d");
    EXPECT_NAMES(x, d, "b");
    assert_int_equal(fsx_rename(x, ROOT, "a", ROOT, "c", 0), C2_E_NOT_FOUND);
    assert_int_equal(fsx_rename(x, ROOT, "d", ROOT, "c", 1u << 7), C2_E_INVALID);
}

static void
rename__between_two_names_of_one_file_does_nothing(void **state)
{
    struct fsx *x = *state;
    fsx_put(x, ROOT, "a", "x", 1);
    uint64_t ino = fsx_ino(x, ROOT, "a");
    assert_int_equal(run_link(x, ino, ROOT, "b"), C2_E_OK);
    assert_int_equal(fsx_rename(x, ROOT, "a", ROOT, "b", 0), C2_E_OK);
    assert_int_equal(fsx_rename(x, ROOT, "a", ROOT, "a", 0), C2_E_OK);
    assert_int_equal(attr_of(x, ino).nlink, 2);
    EXPECT_NAMES(x, ROOT, "a", "b");
}

static void
rename__directories_move_with_their_parents_link_counts(void **state)
{
    struct fsx *x = *state;
    uint64_t a = fsx_mkdir(x, ROOT, "a"), b = fsx_mkdir(x, ROOT, "b");
    uint64_t c = fsx_mkdir(x, a, "c");
    fsx_put(x, c, "f", "x", 1);
    assert_int_equal(fsx_rename(x, a, "c", b, "moved", 0), C2_E_OK);
    assert_int_equal(attr_of(x, a).nlink, 2);
    assert_int_equal(attr_of(x, b).nlink, 3);
    remount(x);
    assert_int_equal(attr_of(x, a).nlink, 2);
    assert_int_equal(attr_of(x, b).nlink, 3);
    assert_int_equal(fsx_ino(x, b, "moved"), c);
    fsx_expect(x, c, "f", "x", 1);
}

static void
rename__a_directory_never_ends_up_below_itself(void **state)
{
    struct fsx *x = *state;
    uint64_t a = fsx_mkdir(x, ROOT, "a"), b = fsx_mkdir(x, a, "b");
    uint64_t c = fsx_mkdir(x, b, "c");
    remount(x); /* the way up is read from the store */
    assert_int_equal(fsx_rename(x, ROOT, "a", c, "a", 0), C2_E_INVALID);
    assert_int_equal(fsx_rename(x, ROOT, "a", a, "a", 0), C2_E_INVALID);
    assert_int_equal(fsx_rename(x, ROOT, "a", b, "c", RENAME_EXCHANGE), C2_E_INVALID);
    assert_int_equal(fsx_rename(x, b, "c", ROOT, "a", RENAME_EXCHANGE), C2_E_INVALID);
    assert_int_equal(fsx_rename(x, b, "c", ROOT, "a", 0), C2_E_NOT_EMPTY);
    assert_int_equal(fsx_rename(x, b, "c", ROOT, "c", 0), C2_E_OK);
    assert_int_equal(fsx_rename(x, ROOT, "a", c, "a", 0), C2_E_OK); /* no longer below */
}

static void
rename__kinds_must_fit_and_a_replaced_directory_be_empty(void **state)
{
    struct fsx *x = *state;
    uint64_t d = fsx_mkdir(x, ROOT, "d"), e = fsx_mkdir(x, ROOT, "e");
    fsx_put(x, ROOT, "f", "x", 1);
    fsx_put(x, e, "g", "x", 1);
    assert_int_equal(fsx_rename(x, ROOT, "f", ROOT, "d", 0), C2_E_IS_DIR);
    assert_int_equal(fsx_rename(x, ROOT, "d", ROOT, "f", 0), C2_E_NOT_DIR);
    assert_int_equal(fsx_rename(x, ROOT, "d", ROOT, "e", 0), C2_E_NOT_EMPTY);
    assert_int_equal(fsx_rename(x, ROOT, "e", ROOT, "d", 0), C2_E_OK);
    assert_int_equal(attr_of(x, ROOT).nlink, 3);
    assert_int_equal(fsx_ino(x, ROOT, "d"), e);
    assert_int_not_equal(d, e);
    remount(x);
    EXPECT_NAMES(x, ROOT, "d", "f");
}

static void
rename__exchange_swaps_a_file_and_a_directory(void **state)
{
    struct fsx *x = *state;
    uint64_t p = fsx_mkdir(x, ROOT, "p"), d = fsx_mkdir(x, p, "d");
    fsx_put(x, ROOT, "f", "x", 1);
    uint64_t f = fsx_ino(x, ROOT, "f");
    assert_int_equal(fsx_rename(x, ROOT, "f", p, "none", RENAME_EXCHANGE), C2_E_NOT_FOUND);
    assert_int_equal(fsx_rename(x, ROOT, "f", p, "d", RENAME_EXCHANGE), C2_E_OK);
    assert_int_equal(attr_of(x, p).nlink, 2);
    assert_int_equal(attr_of(x, ROOT).nlink, 4);
    remount(x);
    assert_int_equal(fsx_ino(x, ROOT, "f"), d);
    assert_int_equal(fsx_ino(x, p, "d"), f);
    assert_int_equal(attr_of(x, ROOT).nlink, 4);
}

static void
rename__publishes_what_is_still_open(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint64_t ino;
    fsx_put(x, ROOT, "a", "old", 3);
    assert_int_equal(fsx_create(x, ROOT, "tmp", O_CREAT | O_EXCL | O_RDWR, &h, &ino), C2_E_OK);
    assert_int_equal(fsx_write(x, h, 0, "complete", 8), C2_E_OK);
    assert_int_equal(fsx_rename(x, ROOT, "tmp", ROOT, "a", 0), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_crash(x);
    c2_free(h); /* nobody else frees it: the mount is gone */
    fsx_mount(x);
    fsx_expect(x, ROOT, "a", "complete", 8);
    EXPECT_NAMES(x, ROOT, "a");
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(names__limits_are_errors_of_every_operation),
        TEST(create__refuses_what_exists_and_a_parent_that_is_no_directory),
        TEST(create__owner_mode_and_group_of_a_setgid_directory),
        TEST(mknod__keeps_device_numbers_and_types),
        TEST(symlink__target_and_size),
        TEST(link__counts_names_and_the_last_one_takes_the_file),
        TEST(unlink__of_an_open_file_keeps_its_content_until_it_is_closed),
        TEST(rmdir__only_empty_directories),
        TEST(rmdir__nothing_is_made_in_a_directory_that_is_gone),
        TEST(rmdir__of_a_working_directory_keeps_it_until_it_is_forgotten),
        TEST(mkdir__a_directory_takes_more_directories_than_a_file_has_names),
        TEST(rename__replaces_a_file_and_keeps_its_own_inode),
        TEST(rename__between_two_names_of_one_file_does_nothing),
        TEST(rename__directories_move_with_their_parents_link_counts),
        TEST(rename__a_directory_never_ends_up_below_itself),
        TEST(rename__kinds_must_fit_and_a_replaced_directory_be_empty),
        TEST(rename__exchange_swaps_a_file_and_a_directory),
        TEST(rename__publishes_what_is_still_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
