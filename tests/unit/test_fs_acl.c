/* SPDX-License-Identifier: MIT */
/*
 * Access control lists: what is valid, the mode, chmod, inheritance from a folder's default.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "fs/acl.h"
#include "tests/lib/fs_fixture.h"

#define ROOT  FS_ROOT_INO
#define ALICE 1001u
#define NONE  UINT32_MAX

#define LIST_MAX (FS_ACL_BYTES_MAX + 64)

/* "u7 U5:1001 g4 G1:7 m5 o0": one letter per tag, permissions, the id of named ones. */
static struct c2_slice
list_of(const char *text, uint8_t *out)
{
    static const struct {
        char letter;
        uint16_t tag;
    } tags[] = { { 'u', 1 }, { 'U', 2 }, { 'g', 4 }, { 'G', 8 }, { 'm', 16 }, { 'o', 32 } };
    struct c2_buf b = { 0 };
    c2_wr_u32(&b, 2);
    for (const char *p = text; *p != '\0'; p += strcspn(p, " "), p += strspn(p, " ")) {
        uint16_t tag = 0x40; /* any other letter: not a tag */
        for (size_t k = 0; k < C2_ARRAY_LEN(tags); k++)
            if (tags[k].letter == *p)
                tag = tags[k].tag;
        c2_wr_u16(&b, tag);
        c2_wr_u16(&b, (uint16_t)(p[1] - '0'));
        c2_wr_u32(&b, p[2] == ':' ? (uint32_t)strtoul(p + 3, NULL, 10) : NONE);
    }
    size_t len = b.len;
    assert_true(len <= LIST_MAX);
    memcpy(out, b.data, len);
    c2_buf_done(&b);
    return c2_slice(out, len);
}

static bool
valid(const char *text)
{
    uint8_t list[LIST_MAX];
    return fs_acl_valid(list_of(text, list));
}

/* ---- lists ---------------------------------------------------------------------------------- */

static void
valid__accepts_complete_lists_in_order_only(void **state)
{
    (void)state;
    assert_true(valid("u7 g5 o1"));
    assert_true(valid("u7 g5 m5 o1"));
    assert_true(valid("u7 U5:1 U6:2 g5 G1:1 G1:2 m7 o0"));
    assert_false(valid(""));
    assert_false(valid("u7 g5"));
    assert_false(valid("g5 o1"));
    assert_false(valid("u7 o1"));
    assert_false(valid("u7 u7 g5 o1"));
    assert_false(valid("u7 g5 o1 o1"));
    assert_false(valid("u7 g5 m5 m5 o1"));
    assert_false(valid("u7 U5:1 g5 o1")); /* no mask */
    assert_false(valid("u7 g5 G5:1 o1"));
    assert_false(valid("g5 u7 o1"));
    assert_false(valid("u8 g5 o1"));
    assert_false(valid("u7 g5 o1 x1"));
}

static void
valid__refuses_other_versions_and_broken_lengths(void **state)
{
    (void)state;
    uint8_t list[LIST_MAX];
    struct c2_slice acl = list_of("u7 g5 o1", list);
    for (size_t len = 0; len < acl.len; len++)
        assert_false(fs_acl_valid(c2_slice(list, len)));
    list[0] = 1;
    assert_false(fs_acl_valid(acl));
}

static void
mode__has_the_mask_as_group_bits(void **state)
{
    (void)state;
    uint8_t list[LIST_MAX];
    assert_int_equal(fs_acl_mode(list_of("u7 g5 o1", list), S_IFREG | 02000), S_IFREG | 02751);
    assert_int_equal(fs_acl_mode(list_of("u6 U7:1 g7 m4 o0", list), S_IFREG | 0777),
                     S_IFREG | 0640);
    assert_true(fs_acl_minimal(list_of("u7 g5 o1", list)));
    assert_false(fs_acl_minimal(list_of("u7 g5 m5 o1", list)));
}

static void
expect(struct c2_buf *got, const char *want)
{
    uint8_t list[LIST_MAX];
    struct c2_slice w = list_of(want, list);
    assert_int_equal(got->len, w.len);
    assert_memory_equal(got->data, w.data, w.len);
    c2_buf_done(got);
}

static void
chmod__changes_owner_mask_and_others(void **state)
{
    (void)state;
    uint8_t list[LIST_MAX];
    struct c2_buf out = { 0 };
    fs_acl_chmod(list_of("u6 U7:1 g5 m4 o0", list), 0751, &out);
    expect(&out, "u7 U7:1 g5 m5 o1");
    fs_acl_chmod(list_of("u6 g5 o0", list), 0417, &out);
    expect(&out, "u4 g1 o7");
}

static void
inherit__gives_no_more_than_was_asked_for(void **state)
{
    (void)state;
    uint8_t list[LIST_MAX];
    struct c2_buf out = { 0 };
    fs_acl_inherit(list_of("u7 U7:1 g5 m7 o5", list), 0640, &out);
    expect(&out, "u6 U7:1 g5 m4 o0");
    fs_acl_inherit(list_of("u7 g5 o5", list), 0666, &out);
    expect(&out, "u6 g4 o4");
}

/* ---- in the file system --------------------------------------------------------------------- */

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

static enum c2_err
set_as(struct fsx *x, uint32_t uid, uint64_t ino, const char *name, const char *text)
{
    uint8_t list[LIST_MAX];
    struct fs_req r = { .op = FS_SETXATTR, .ino = ino, .name = name, .uid = uid, .gid = uid };
    r.data = list_of(text, list);
    return fsx_run(x, &r);
}

static enum c2_err
set(struct fsx *x, uint64_t ino, const char *name, const char *text)
{
    return set_as(x, 0, ino, name, text);
}

/* want NULL: there is none. */
static void
has(struct fsx *x, uint64_t ino, const char *name, const char *want)
{
    struct fs_req r = { .op = FS_GETXATTR, .ino = ino, .name = name };
    assert_int_equal(fsx_run(x, &r), want != NULL ? C2_E_OK : C2_E_NO_DATA);
    if (want != NULL)
        expect(&r.reply, want);
    fs_req_done(&r);
}

static uint32_t
mode_of(struct fsx *x, uint64_t ino)
{
    struct fs_req r = { .op = FS_GETATTR, .ino = ino };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    return r.attr.mode & 07777;
}

static void
change_mode(struct fsx *x, uint64_t ino, uint32_t mode)
{
    struct fs_req r = { .op = FS_SETATTR, .ino = ino, .valid = FS_SET_MODE };
    r.attr.mode = mode;
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
}

static uint64_t
make(struct fsx *x, enum fs_opcode op, uint64_t dir, const char *name, uint32_t mode,
     uint32_t umask)
{
    struct fs_req r = { .op = op, .ino = dir, .name = name, .mode = mode, .umask = umask };
    r.name2 = op == FS_SYMLINK ? "target" : NULL;
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    return r.attr.ino;
}

static void
access_list__and_mode_follow_each_other(void **state)
{
    struct fsx *x = *state;
    uint64_t f = make(x, FS_MKNOD, ROOT, "f", 0644, 0);
    assert_int_equal(set(x, f, FS_ACL_ACCESS, "u7 U7:1001 g1 m5 o0"), C2_E_OK);
    assert_int_equal(mode_of(x, f), 0750);
    change_mode(x, f, 0604);
    has(x, f, FS_ACL_ACCESS, "u6 U7:1001 g1 m0 o4");
    fsx_unmount(x);
    fsx_mount(x);
    assert_int_equal(mode_of(x, f), 0604);
    has(x, f, FS_ACL_ACCESS, "u6 U7:1001 g1 m0 o4");
    /* What a mode can say is kept as a mode. */
    assert_int_equal(set(x, f, FS_ACL_ACCESS, "u7 g5 o1"), C2_E_OK);
    assert_int_equal(mode_of(x, f), 0751);
    has(x, f, FS_ACL_ACCESS, NULL);
    struct fs_req r = { .op = FS_REMOVEXATTR, .ino = f, .name = FS_ACL_ACCESS };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
}

static void
access_list__survives_a_crash_after_fsync(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint64_t f;
    assert_int_equal(fsx_create(x, ROOT, "f", 0, &h, &f), C2_E_OK);
    assert_int_equal(set(x, f, FS_ACL_ACCESS, "u7 U7:1001 g1 m5 o0"), C2_E_OK);
    assert_int_equal(fsx_fsync(x, h), C2_E_OK);
    fsx_release(x, h);
    fsx_crash(x);
    fsx_mount(x);
    f = fsx_ino(x, ROOT, "f");
    assert_int_equal(mode_of(x, f), 0750);
    has(x, f, FS_ACL_ACCESS, "u7 U7:1001 g1 m5 o0");
}

static void
access_list__takes_set_group_id_from_those_outside_the_group(void **state)
{
    struct fsx *x = *state;
    uint64_t f = make(x, FS_MKNOD, ROOT, "f", 02755, 0);
    assert_int_equal(set(x, f, FS_ACL_ACCESS, "u7 g5 o1"), C2_E_OK);
    assert_int_equal(mode_of(x, f), 02751);
    assert_int_equal(set_as(x, ALICE, f, FS_ACL_ACCESS, "u7 g5 o0"), C2_E_OK);
    assert_int_equal(mode_of(x, f), 0750);
}

static void
default_list__is_handed_on_instead_of_the_umask(void **state)
{
    struct fsx *x = *state;
    uint64_t d = make(x, FS_MKDIR, ROOT, "d", 0755, 0);
    assert_int_equal(mode_of(x, make(x, FS_MKNOD, d, "before", 0666, 027)), 0640);
    assert_int_equal(set(x, d, FS_ACL_DEFAULT, "u7 U7:1001 g5 m7 o0"), C2_E_OK);
    assert_int_equal(mode_of(x, d), 0755);
    uint64_t f = make(x, FS_MKNOD, d, "f", 0666, 077);
    assert_int_equal(mode_of(x, f), 0660);
    has(x, f, FS_ACL_ACCESS, "u6 U7:1001 g5 m6 o0");
    has(x, f, FS_ACL_DEFAULT, NULL);
    struct fs_req r = { .op = FS_CREATE, .ino = d, .name = "c", .mode = 0640, .umask = 077 };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    has(x, r.attr.ino, FS_ACL_ACCESS, "u6 U7:1001 g5 m4 o0");
    assert_int_equal(fsx_close(x, r.handle), C2_E_OK);
    uint64_t sub = make(x, FS_MKDIR, d, "sub", 0777, 077);
    assert_int_equal(mode_of(x, sub), 0770);
    has(x, sub, FS_ACL_ACCESS, "u7 U7:1001 g5 m7 o0");
    has(x, sub, FS_ACL_DEFAULT, "u7 U7:1001 g5 m7 o0");
    has(x, make(x, FS_SYMLINK, d, "s", 0777, 0), FS_ACL_ACCESS, NULL);
    /* A default that a mode can say leaves no list behind. */
    assert_int_equal(set(x, d, FS_ACL_DEFAULT, "u7 g5 o5"), C2_E_OK);
    f = make(x, FS_MKNOD, d, "g", 0666, 077);
    assert_int_equal(mode_of(x, f), 0644);
    has(x, f, FS_ACL_ACCESS, NULL);
}

static void
set__refuses_what_cannot_be_a_list(void **state)
{
    struct fsx *x = *state;
    uint64_t f = make(x, FS_MKNOD, ROOT, "f", 0644, 0), s = make(x, FS_SYMLINK, ROOT, "s", 0777, 0);
    assert_int_equal(set(x, f, FS_ACL_DEFAULT, "u7 g5 o1"), C2_E_ACCESS);
    assert_int_equal(set(x, s, FS_ACL_ACCESS, "u7 g5 o1"), C2_E_UNSUPPORTED);
    assert_int_equal(set(x, f, FS_ACL_ACCESS, "u7 g5"), C2_E_INVALID);
    struct c2_buf b = { 0 };
    c2_buf_puts(&b, "u7");
    for (unsigned k = 0; k < FS_ACL_BYTES_MAX / 8; k++)
        c2_buf_puts(&b, " U7:1");
    c2_buf_puts(&b, " g1 m1 o1");
    assert_int_equal(set(x, f, FS_ACL_ACCESS, c2_buf_cstr(&b)), C2_E_NO_SPACE);
    c2_buf_done(&b);
    assert_int_equal(mode_of(x, f), 0644);
    has(x, f, FS_ACL_ACCESS, NULL);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid__accepts_complete_lists_in_order_only),
        cmocka_unit_test(valid__refuses_other_versions_and_broken_lengths),
        cmocka_unit_test(mode__has_the_mask_as_group_bits),
        cmocka_unit_test(chmod__changes_owner_mask_and_others),
        cmocka_unit_test(inherit__gives_no_more_than_was_asked_for),
        TEST(access_list__and_mode_follow_each_other),
        TEST(access_list__survives_a_crash_after_fsync),
        TEST(access_list__takes_set_group_id_from_those_outside_the_group),
        TEST(default_list__is_handed_on_instead_of_the_umask),
        TEST(set__refuses_what_cannot_be_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
