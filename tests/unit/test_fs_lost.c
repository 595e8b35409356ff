/* SPDX-License-Identifier: MIT */
/*
 * The disk damages the data of a file in the journal, before or while the volume is mounted: that
 * range of that file is an error, and nothing else is held up by it.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "fs/fsck.h"
#include "fs/group_read.h"
#include "fs/journal_segment.h"
#include "fs/pack.h"
#include "tests/lib/fs_check.h"
#include "tests/lib/fs_fixture.h"

#define BAD_LEN  5000
#define GOOD_LEN 7000

static int
setup(void **state)
{
    struct fsx *x = c2_calloc(1, sizeof(*x));
    fsx_init(x);
    fsx_mount(x);
    *state = x;
    c2_mark_reset();
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
clouds(struct fsx *x, const char *fault)
{
    for (unsigned s = 0; s < FSX_SEATS; s++)
        fsx_fault(x, s, fault);
}

/* Flips a byte of each piece with BAD_LEN bytes in a segment file, or of the commit frame of its
 * group. */
static unsigned
damage_segment(const char *path, enum journal_frame_type type)
{
    FILE *f = fopen(path, "r+be");
    assert_non_null(f);
    static uint8_t bytes[1 << 20];
    size_t len = fread(bytes, 1, sizeof(bytes), f);
    unsigned n = 0;
    uint64_t seq = 0;
    for (size_t at = JOURNAL_HEADER_AREA; at + JOURNAL_FRAME_HEAD <= len;
         at += JOURNAL_FRAME_ALIGN) {
        if (memcmp(bytes + at, "J2RF", 4) != 0)
            continue;
        bool commit = bytes[at + 4] == JOURNAL_COMMIT;
        if (!commit && c2_get_u32(bytes + at + 24) == BAD_LEN)
            seq = c2_get_u64(bytes + at + 8);
        if (bytes[at + 4] != type || seq == 0 || c2_get_u64(bytes + at + 8) != seq ||
            (!commit && c2_get_u32(bytes + at + 24) != BAD_LEN))
            continue;
        long where = (long)at + JOURNAL_FRAME_HEAD + (commit ? 1 : 100);
        assert_int_equal(fseek(f, where, SEEK_SET), 0);
        assert_int_equal(fputc(bytes[where] ^ 1, f), bytes[where] ^ 1);
        n++;
    }
    assert_int_equal(fclose(f), 0);
    return n;
}

static void
damage_frame(struct fsx *x, enum journal_frame_type type)
{
    unsigned n = 0;
    struct c2_disk_req list = { .verb = C2_DISK_LIST, .path = x->journal_dir };
    test_disk_execute(&list);
    assert_int_equal(list.err, C2_E_OK);
    for (size_t at = 0; at < list.reply->len;) {
        const char *name = (const char *)list.reply->data + at;
        char *path = c2_asprintf("%s/%s", x->journal_dir, name);
        n += damage_segment(path, type);
        at += strlen(name) + 1;
        c2_free(path);
    }
    c2_blob_unref(list.reply);
    assert_int_equal(n, 1);
}

static void
damage(struct fsx *x)
{
    damage_frame(x, JOURNAL_PIECE);
}

static void
put(struct fsx *x, const char *name, size_t len)
{
    uint8_t *data = fsx_bytes(len, len);
    fsx_put(x, FS_ROOT_INO, name, data, len);
    c2_free(data);
}

static void
expect(struct fsx *x, const char *name, size_t len)
{
    uint8_t *data = fsx_bytes(len, len);
    fsx_expect(x, FS_ROOT_INO, name, data, len);
    c2_free(data);
}

static void
make_durable(struct fsx *x)
{
    struct fs_handle *h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "good"), O_RDONLY);
    assert_int_equal(fsx_fsync(x, h), C2_E_OK);
    fsx_release(x, h);
}

/* A file whose data will be damaged between others, all in the journal only. */
static void
fill(struct fsx *x)
{
    clouds(x, "error");
    put(x, "good", GOOD_LEN);
    put(x, "bad", BAD_LEN);
    make_durable(x);
    put(x, "later", GOOD_LEN);
    make_durable(x);
}

static void
assert_state(struct fsx *x, const char *name, const char *want)
{
    struct fs_req r = { .op = FS_GETXATTR,
                        .ino = fsx_ino(x, FS_ROOT_INO, name),
                        .name = "user.c2fs.state" };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    assert_string_equal(c2_buf_cstr(&r.reply), want);
    fs_req_done(&r);
}

static void
assert_lost(struct fsx *x)
{
    struct c2_buf got = { 0 };
    struct fs_handle *h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "bad"), O_RDWR);
    assert_int_equal(fsx_read(x, h, 0, BAD_LEN, &got), C2_E_DAMAGED);
    fsx_release(x, h);
    c2_buf_done(&got);
    assert_state(x, "bad", "failed");
}

struct checking {
    struct fs_fsck k;
    bool named, done;
};

static void
ignore_problem(struct fs_fsck *k, const char *text)
{
    (void)k;
    (void)text;
}

static void
take_damage(struct fs_fsck *k, const struct fs_fsck_damage *d)
{
    struct checking *c = C2_CONTAINER_OF(k, struct checking, k);
    assert_string_equal(d->path, "/bad");
    assert_int_equal(d->nranges, 1);
    assert_int_equal(d->ranges[0].off, 0);
    assert_int_equal(d->ranges[0].len, BAD_LEN);
    c->named = true;
}

static void
check_ended(struct fs_fsck *k)
{
    C2_CONTAINER_OF(k, struct checking, k)->done = true;
}

/* fsck names the file and the range, without reading any share. */
static void
assert_fsck_names_it(struct fsx *x)
{
    struct checking c = { .k = { .env = x->env,
                                 .coord = x->coord,
                                 .keys = x->keys,
                                 .ds = x->ds,
                                 .fs = x->fs,
                                 .found = ignore_problem,
                                 .damaged = take_damage,
                                 .done = check_ended } };
    fs_fsck_start(&c.k);
    test_env_run_until(x->t, &c.done);
    assert_int_equal(c.k.err, C2_E_OK);
    assert_true(c.named);
    assert_int_equal(c.k.counts.lost, 1);
    assert_int_equal(c.k.counts.problems, 1);
}

/* Everything else reaches the clouds, before and after a remount, and the file can be mended. */
static void
assert_life_goes_on(struct fsx *x)
{
    struct fsx_check c;
    assert_int_equal(x->fs->lost.files, 1);
    assert_non_null(strstr(x->fs->lost.text, "bad (inode "));
    assert_int_equal(x->fs->lost.bytes, BAD_LEN);
    fsx_unmount(x);
    fsx_mount(x);
    assert_int_equal(x->report.replayed_groups, 0);
    assert_lost(x);
    assert_fsck_names_it(x);
    expect(x, "good", GOOD_LEN);
    expect(x, "later", GOOD_LEN);
    put(x, "bad", GOOD_LEN);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_state(x, "bad", "committed");
    expect(x, "bad", GOOD_LEN);
    fsx_check(x, &c);
}

static void
damage__before_the_mount_takes_one_file(void **state)
{
    struct fsx *x = *state;
    fill(x);
    fsx_stop(x);
    damage(x);
    clouds(x, "");
    fsx_mount(x);
    assert_int_equal(x->report.damaged_groups, 1);
    assert_lost(x);
    assert_life_goes_on(x);
}

static void
damage__while_mounted_does_not_stop_the_uploads(void **state)
{
    struct fsx *x = *state;
    fill(x);
    fsx_stop(x);
    fsx_mount(x); /* the data is in the journal only, not in memory */
    assert_int_equal(x->report.damaged_groups, 0);
    damage(x);
    clouds(x, "");
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_lost(x);
    assert_life_goes_on(x);
}

/* The other part of the file is what it was. */
static void
damage__of_a_part_leaves_the_rest_of_the_file(void **state)
{
    struct fsx *x = *state;
    struct c2_buf got = { 0 };
    uint8_t *data = fsx_bytes(1, 200000);
    fsx_put(x, FS_ROOT_INO, "good", data, 200000);
    fsx_put(x, FS_ROOT_INO, "bad", data, 200000);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    clouds(x, "error");
    struct fs_handle *h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "bad"), O_RDWR);
    assert_int_equal(fsx_write(x, h, 100000, data, BAD_LEN), C2_E_OK);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    make_durable(x);
    fsx_stop(x);
    fsx_mount(x);
    damage(x);
    clouds(x, "");
    assert_int_equal(fsx_sync(x), C2_E_OK);
    h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "bad"), O_RDONLY);
    assert_int_equal(fsx_read(x, h, 0, 100000, &got), C2_E_OK);
    assert_memory_equal(got.data, data, 100000);
    assert_int_equal(fsx_read(x, h, 99999, 10, &got), C2_E_DAMAGED);
    assert_int_equal(fsx_read(x, h, 100000 + BAD_LEN, 100, &got), C2_E_OK);
    assert_memory_equal(got.data + got.len - 100, data + 100000 + BAD_LEN, 100);
    fsx_release(x, h);
    c2_buf_done(&got);
    c2_free(data);
}

/* ---- a whole group is lost ------------------------------------------------------------------- */

#define FILE_LEN 200000u

/* Durable in the journal, in a group of its own; want is what the file has then. */
static void
change(struct fsx *x, const char *name, uint64_t off, size_t len, uint8_t *want)
{
    uint8_t *data = fsx_bytes(off + len, len);
    struct fs_handle *h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, name), O_RDWR);
    assert_int_equal(fsx_write(x, h, off, data, len), C2_E_OK);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    make_durable(x);
    if (want != NULL)
        memcpy(want + off, data, len);
    c2_free(data);
}

/* "bad" is in the clouds, which are away from now on. The caller's. */
static uint8_t *
begin(struct fsx *x)
{
    uint8_t *data = fsx_bytes(1, FILE_LEN);
    put(x, "good", GOOD_LEN);
    fsx_put(x, FS_ROOT_INO, "bad", data, FILE_LEN);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    clouds(x, "error");
    return data;
}

static void
lose_group_and_mount(struct fsx *x)
{
    fsx_stop(x);
    damage_frame(x, JOURNAL_COMMIT);
    fsx_mount(x);
    assert_int_equal(x->report.damaged_groups, 1);
}

static void
group__that_is_lost_keeps_the_file_as_it_was_before_it(void **state)
{
    struct fsx *x = *state;
    struct fsx_check c;
    uint8_t *want = begin(x);
    change(x, "bad", 0, GOOD_LEN, want);
    change(x, "bad", 50000, BAD_LEN, NULL); /* is lost */
    change(x, "bad", 100000, GOOD_LEN, NULL);
    change(x, "bad", FILE_LEN, GOOD_LEN, NULL);
    put(x, "later", GOOD_LEN);
    make_durable(x);
    lose_group_and_mount(x);
    assert_int_equal(c2_mark_count("replay: content that builds on a lost group is left out"), 2);
    assert_non_null(strstr(x->report.damage, "left out: 2"));
    change(x, "bad", 150000, GOOD_LEN, want);
    fsx_stop(x); /* the gap is still there, and what was written after it builds on before it */
    fsx_mount(x);
    clouds(x, "");
    fsx_expect(x, FS_ROOT_INO, "bad", want, FILE_LEN);
    expect(x, "later", GOOD_LEN);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_unmount(x);
    fsx_mount(x);
    assert_int_equal(x->report.replayed_groups, 0);
    fsx_expect(x, FS_ROOT_INO, "bad", want, FILE_LEN);
    fsx_check(x, &c);
    c2_free(want);
}

static void
group__with_all_of_a_file_needs_none_before_it(void **state)
{
    struct fsx *x = *state;
    uint8_t *want = begin(x);
    change(x, "bad", 50000, BAD_LEN, NULL); /* is lost */
    put(x, "bad", GOOD_LEN);
    make_durable(x);
    change(x, "bad", 1000, 10, NULL);
    lose_group_and_mount(x);
    assert_int_equal(c2_mark_count("replay: all of the content again"), 1);
    assert_int_equal(c2_mark_count("replay: content that builds on a lost group is left out"), 0);
    uint8_t *whole = fsx_bytes(GOOD_LEN, GOOD_LEN), *part = fsx_bytes(1010, 10);
    memcpy(whole + 1000, part, 10);
    clouds(x, "");
    fsx_expect(x, FS_ROOT_INO, "bad", whole, GOOD_LEN);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_unmount(x);
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "bad", whole, GOOD_LEN);
    c2_free(want);
    c2_free(whole);
    c2_free(part);
}

/* There is nothing that it could be as it was before. */
static void
group__in_which_a_file_began_leaves_what_came_later_and_errors(void **state)
{
    struct fsx *x = *state;
    struct c2_buf got = { 0 };
    uint8_t *want = begin(x);
    put(x, "new", BAD_LEN); /* is lost, and the name with it */
    make_durable(x);
    change(x, "new", BAD_LEN, GOOD_LEN, want);
    assert_int_equal(fsx_rename(x, FS_ROOT_INO, "new", FS_ROOT_INO, "newer", 0), C2_E_OK);
    make_durable(x);
    lose_group_and_mount(x);
    clouds(x, "");
    assert_int_equal(x->fs->lost.files, 1);
    assert_state(x, "newer", "failed");
    struct fs_handle *h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, "newer"), O_RDONLY);
    assert_int_equal(fsx_read(x, h, 0, BAD_LEN, &got), C2_E_DAMAGED);
    assert_int_equal(fsx_read(x, h, BAD_LEN, GOOD_LEN, &got), C2_E_OK);
    assert_int_equal(got.len, GOOD_LEN);
    assert_memory_equal(got.data, want + BAD_LEN, GOOD_LEN);
    fsx_release(x, h);
    c2_buf_done(&got);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    put(x, "newer", GOOD_LEN);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    expect(x, "newer", GOOD_LEN);
    c2_free(want);
}

/* Journals that were written before groups named the one before. */
static void
group__of_version_1_names_none_before(void **state)
{
    (void)state;
    for (uint8_t version = 1; version <= GROUP_VERSION + 1; version++) {
        struct c2_buf meta = { 0 };
        c2_wr_u8(&meta, version);
        c2_wr_u8(&meta, 0);
        c2_wr_u8(&meta, 'I');
        c2_wr_u64(&meta, 7);
        c2_wr_u64(&meta, FS_ROOT_INO);
        if (version > 1)
            c2_wr_u64(&meta, 99);
        c2_wr_bytes(&meta, c2_slice_str("record"));
        c2_wr_u8(&meta, 0);
        bool known = version <= GROUP_VERSION;
        assert_int_equal(group_check_version(c2_buf_slice(&meta)), known ? C2_E_OK : C2_E_VERSION);
        uint8_t found;
        struct c2_rd r = group_read_begin(c2_buf_slice(&meta), &found);
        struct group_item it;
        assert_int_equal(found, version);
        assert_true(group_read_item(&r, found, &it));
        assert_int_equal(it.ino, 7);
        assert_int_equal(it.before, version == 1 ? 0 : 99);
        assert_true(c2_slice_equal(it.record, c2_slice_str("record")));
        assert_int_equal(c2_rd_finish(&r), C2_E_OK);
        c2_buf_done(&meta);
    }
}

static enum c2_err
count_bad_reads(void *arg, const struct c2_disk_req *r)
{
    if (r->verb == C2_DISK_PREAD && r->len_max >= BAD_LEN && r->len_max < GOOD_LEN)
        (*(unsigned *)arg)++;
    return C2_E_OK;
}

static void
packer_stopped(void *arg)
{
    *(bool *)arg = true;
}

/* The end comes during the read that makes the packer give the piece up: it must not begin to
 * upload the rest then, with clouds that do not answer. */
static void
damage__found_while_the_packer_ends_does_not_hold_it_up(void **state)
{
    struct fsx *x = *state;
    unsigned reads = 0;
    bool stopped = false;
    clouds(x, "error");
    put(x, "good", GOOD_LEN);
    put(x, "bad", BAD_LEN); /* the last that is read */
    make_durable(x);
    (void)fsx_mkdir(x, FS_ROOT_INO, "dir");
    make_durable(x);
    fsx_stop(x);
    fsx_mount(x);
    damage(x);
    test_env_set_disk_hook(x->t, count_bad_reads, &reads);
    while (reads < 2)
        assert_true(test_env_step(x->t));
    test_env_run_for(x->t, 5 * C2_NS_PER_S - 1);
    assert_true(test_env_step(x->t)); /* the read is on its way */
    assert_int_equal(reads, 2);
    fs_packer_stop(x->fs, packer_stopped, &stopped);
    test_env_run_for(x->t, 60 * C2_NS_PER_S);
    assert_int_equal(reads, 3);
    assert_true(stopped);
    test_env_set_disk_hook(x->t, NULL, NULL);
    fsx_stop(x);
    clouds(x, "");
    fsx_mount(x);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_lost(x);
    expect(x, "good", GOOD_LEN);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(damage__before_the_mount_takes_one_file),
        T(damage__while_mounted_does_not_stop_the_uploads),
        T(damage__of_a_part_leaves_the_rest_of_the_file),
        T(group__that_is_lost_keeps_the_file_as_it_was_before_it),
        T(group__with_all_of_a_file_needs_none_before_it),
        T(group__in_which_a_file_began_leaves_what_came_later_and_errors),
        T(group__of_version_1_names_none_before),
        T(damage__found_while_the_packer_ends_does_not_hold_it_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
