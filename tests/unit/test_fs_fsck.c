/* SPDX-License-Identifier: MIT */
/*
 * fsck: an intact volume has no problem; each kind of damage is found, and mended when that loses
 * nothing; the walk by tests/lib/fs_check.h says the same afterwards.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "backends/mem.h"
#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "fs/coord_keys.h"
#include "fs/file_check.h"
#include "fs/fsck.h"
#include "fs/object_record.h"
#include "fs/records.h"
#include "tests/lib/fs_check.h"
#include "tests/lib/fs_fixture.h"

static int
setup(void **state)
{
    struct fsx *x = c2_calloc(1, sizeof(*x));
    fsx_init(x);
    *state = x;
    c2_mark_reset();
    return 0;
}

static int
teardown(void **state)
{
    struct fsx *x = *state;
    fsx_done(x);
    c2_free(x);
    return 0;
}

/* ---- running it ----------------------------------------------------------------------------- */

struct run {
    struct fs_fsck k;
    struct c2_buf text;
    struct c2_buf damaged; /* "PATH FIRST-LAST ... |", through the wire format */
    bool done;
};

static void
found(struct fs_fsck *k, const char *text)
{
    struct run *r = C2_CONTAINER_OF(k, struct run, k);
    c2_buf_puts(&r->text, text);
    c2_buf_puts(&r->text, "\n");
}

static void
damaged(struct fs_fsck *k, const struct fs_fsck_damage *d)
{
    struct run *r = C2_CONTAINER_OF(k, struct run, k);
    struct c2_buf wire = { 0 };
    struct fs_fsck_damage got;
    fs_fsck_damage_encode(d, &wire);
    struct c2_rd short_rd = c2_rd_init(c2_slice(wire.data, wire.len - 1));
    assert_int_equal(fs_fsck_damage_decode(&short_rd, &got), C2_E_PARSE);
    struct c2_rd rd = c2_rd_init(c2_buf_slice(&wire));
    assert_int_equal(fs_fsck_damage_decode(&rd, &got), C2_E_OK);
    assert_int_equal(c2_rd_finish(&rd), C2_E_OK);
    assert_int_equal(got.ino, d->ino);
    c2_buf_printf(&r->damaged, "%s", got.path);
    for (size_t n = 0; n < got.nranges; n++)
        c2_buf_printf(&r->damaged, " %llu-%llu", (unsigned long long)got.ranges[n].off,
                      (unsigned long long)(got.ranges[n].off + got.ranges[n].len - 1));
    c2_buf_puts(&r->damaged, got.aside ? " aside|" : "|");
    fs_fsck_damage_free(&got);
    c2_buf_done(&wire);
}

static void
ended(struct fs_fsck *k)
{
    C2_CONTAINER_OF(k, struct run, k)->done = true;
}

static void
start(struct fsx *x, struct run *r, bool repair, bool deep)
{
    *r = (struct run){ .k = { .env = x->env,
                              .coord = x->coord,
                              .keys = x->keys,
                              .ds = x->ds,
                              .fs = x->fs,
                              .repair = repair,
                              .deep = deep,
                              .window_inodes = 3,
                              .window_objects = 2,
                              .found = found,
                              .damaged = damaged,
                              .done = ended } };
    fs_fsck_start(&r->k);
}

static struct fs_fsck_counts
run(struct fsx *x, bool repair, bool deep, const char *expected)
{
    struct run r;
    start(x, &r, repair, deep);
    test_env_run_until(x->t, &r.done);
    assert_int_equal(r.k.err, C2_E_OK);
    if (expected != NULL && strstr(c2_buf_cstr(&r.text), expected) == NULL &&
        strstr(c2_buf_cstr(&r.damaged), expected) == NULL)
        fail_msg("fsck says \"%s%s\", not \"%s\"", c2_buf_cstr(&r.text), c2_buf_cstr(&r.damaged),
                 expected);
    if (expected == NULL && r.k.counts.problems > 0)
        fail_msg("fsck says \"%s\"", c2_buf_cstr(&r.text));
    assert_int_equal(r.k.counts.damaged > 0, r.damaged.len > 0);
    c2_buf_done(&r.text);
    c2_buf_done(&r.damaged);
    return r.k.counts;
}

/* Found, mended, found no more; and somebody else agrees. */
static void
expect_mended_in(struct fsx *x, unsigned runs, const char *text)
{
    struct fsx_check c;
    assert_true(run(x, false, false, text).problems > 0);
    for (unsigned k = 0; k < runs; k++) {
        struct fs_fsck_counts n = run(x, true, false, k == 0 ? text : "");
        assert_int_equal(n.repaired, n.problems);
        assert_int_equal(fsx_sync(x), C2_E_OK);
    }
    assert_int_equal(run(x, false, false, NULL).problems, 0);
    fsx_drop_cache(x);
    fsx_check(x, &c);
}

static void
expect_mended(struct fsx *x, const char *text)
{
    expect_mended_in(x, 1, text);
}

/* ---- making and breaking a volume ------------------------------------------------------------ */

static void
put_in_pieces(struct fsx *x, const char *name, unsigned n)
{
    struct fs_handle *h;
    uint64_t ino;
    assert_int_equal(fsx_create(x, FS_ROOT_INO, name, O_RDWR, &h, &ino), C2_E_OK);
    for (unsigned k = 0; k < n; k++) {
        assert_int_equal(fsx_write(x, h, (uint64_t)k * 10, "piece", 5), C2_E_OK);
        assert_int_equal(fsx_sync(x), C2_E_OK);
    }
    assert_int_equal(fsx_close(x, h), C2_E_OK);
}

/* Folders, files of one and of many objects, a hole, a link, a file that is open and has no name,
 * one that was deleted without having been read. */
static void
fill(struct fsx *x)
{
    fsx_mount(x);
    uint64_t a = fsx_mkdir(x, FS_ROOT_INO, "a"), b = fsx_mkdir(x, a, "b");
    fsx_put(x, FS_ROOT_INO, "one", "first", 5);
    fsx_put(x, a, "two", "second", 6);
    fsx_put(x, b, "three", "third", 5);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_put(x, b, "four", "fourth", 6);
    put_in_pieces(x, "large", 20);
    put_in_pieces(x, "deleted", 20);
    fsx_drop_cache(x);
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "deleted"), C2_E_OK);
    struct fs_req link = {
        .op = FS_LINK, .ino = fsx_ino(x, FS_ROOT_INO, "one"), .ino2 = a, .name2 = "link"
    };
    assert_int_equal(fsx_run(x, &link), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
}

static void
put_key(struct fsx *x, struct ck key, struct c2_slice value)
{
    const struct coord_op op = { .kind = value.data == NULL ? COORD_DELETE : COORD_PUT,
                                 .key = ck_slice(&key),
                                 .value = value };
    fsx_txn(x, &op, 1);
}

static void
put_sealed(struct fsx *x, struct ck key, const struct c2_buf *plain)
{
    struct c2_buf sealed = { 0 };
    keys_seal(x->keys, ck_slice(&key), c2_buf_slice(plain), &sealed);
    put_key(x, key, c2_buf_slice(&sealed));
    c2_buf_done(&sealed);
}

static struct ck
entry_key(struct fsx *x, uint64_t dir, const char *name)
{
    uint8_t hash[KEYS_NAME_HASH_LEN];
    keys_name_hash(x->keys, dir, c2_slice_str(name), hash);
    return ck_dentry(dir, hash);
}

static void
put_entry(struct fsx *x, uint64_t dir, const char *name, uint64_t ino, uint32_t type)
{
    struct c2_buf plain = { 0 };
    fs_dentry_record_encode(ino, type, name, &plain);
    put_sealed(x, entry_key(x, dir, name), &plain);
    c2_buf_done(&plain);
}

struct get {
    struct coord_req r;
    bool done;
};

static void
got(struct coord_req *r)
{
    C2_CONTAINER_OF(r, struct get, r)->done = true;
}

static void
ask(struct fsx *x, struct get *g)
{
    g->r.deadline_ns = C2_NEVER;
    g->r.done = got;
    coord_submit(x->coord, &g->r);
    test_env_run_until(x->t, &g->done);
    assert_int_equal(g->r.err, C2_E_OK);
}

/* The record of an inode, with its content, as `change` makes it. */
static void
change_inode(struct fsx *x, uint64_t ino, void (*change)(struct fs_inode *i))
{
    struct ck key = ck_inode(ino);
    struct c2_slice slice = ck_slice(&key);
    struct get g = { .r = { .verb = COORD_GET, .keys = &slice, .nkeys = 1 } };
    struct c2_buf plain = { 0 }, changed = { 0 };
    struct fs_inode i = { 0 };
    ask(x, &g);
    assert_int_equal(keys_open(x->keys, slice, g.r.entries[0].value, &plain), C2_E_OK);
    struct c2_rd r = c2_rd_init(c2_buf_slice(&plain));
    assert_int_equal(fs_inode_record_decode(&r, &i), C2_E_OK);
    change(&i);
    fs_inode_record_encode(&i, &changed);
    c2_buf_append(&changed, plain.data + r.pos, c2_rd_left(&r));
    put_sealed(x, key, &changed);
    coord_req_done(&g.r);
    c2_free(i.symlink);
    c2_buf_done(&i.xattrs);
    c2_buf_done(&plain);
    c2_buf_done(&changed);
}

static void
one_link_more(struct fs_inode *i)
{
    i->attr.nlink++;
}

static void
parent_is_root(struct fs_inode *i)
{
    i->parent = FS_ROOT_INO;
}

/* The first key under a letter. */
static struct ck
first_key(struct fsx *x, char letter)
{
    struct ck prefix = ck_letter(letter), key = { 0 };
    struct c2_slice slice = ck_slice(&prefix);
    struct get g = { .r = { .verb = COORD_RANGE, .keys = &slice, .nkeys = 1, .limit = 1 } };
    ask(x, &g);
    assert_int_equal(g.r.nentries, 1);
    key.len = g.r.entries[0].key.len;
    memcpy(key.bytes, g.r.entries[0].key.data, key.len);
    coord_req_done(&g.r);
    return key;
}

static void
put_number(struct fsx *x, struct ck key, int64_t number)
{
    uint8_t value[8];
    c2_put_u64(value, (uint64_t)number);
    put_key(x, key, c2_slice(value, sizeof(value)));
}

/* ---- intact --------------------------------------------------------------------------------- */

static void
fsck__finds_nothing_in_an_intact_volume(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint64_t ino;
    fill(x);
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "open", O_RDWR, &h, &ino), C2_E_OK);
    assert_int_equal(fsx_write(x, h, 0, "kept", 4), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "open"), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    struct fs_fsck_counts c = run(x, false, true, NULL);
    assert_int_equal(c.inodes, 9);
    assert_int_equal(c.folders, 3);
    assert_int_equal(c.entries, 8);
    assert_int_equal(c.open_orphans, 1);
    assert_int_equal(c.garbage, 1);
    assert_int_equal(c.verified, c.objects);
    assert_int_equal(c.shares_bad, 0);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    fsx_stop(x);
}

static void
fsck__holds_the_store_and_not_the_files(void **state)
{
    struct fsx *x = *state;
    struct run r;
    fill(x);
    start(x, &r, false, false);
    uint64_t txns = x->coord->txns;
    for (unsigned k = 0; !r.done; k++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "new-%u", k);
        fsx_put(x, FS_ROOT_INO, name, "x", 1);
        if (!r.done)
            assert_int_equal(x->coord->txns, txns);
        if (!r.done)
            assert_true(test_env_step(x->t));
    }
    assert_int_equal(r.k.err, C2_E_OK);
    assert_int_equal(r.k.counts.problems, 0);
    c2_buf_done(&r.text);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_true(x->coord->txns > txns);
    assert_int_equal(run(x, false, false, NULL).problems, 0);
    fsx_stop(x);
}

static void
fsck__ends_soon_when_canceled(void **state)
{
    struct fsx *x = *state;
    fill(x);
    for (unsigned steps = 0;; steps++) {
        struct run r;
        start(x, &r, true, true);
        for (unsigned k = 0; k < steps && !r.done; k++)
            assert_true(test_env_step(x->t));
        bool over = r.done;
        if (!over)
            fs_fsck_cancel(&r.k);
        test_env_run_until(x->t, &r.done);
        c2_buf_done(&r.text);
        assert_int_equal(x->fs->store_held, 0);
        if (over)
            break;
        assert_int_equal(r.k.err, C2_E_CANCELED);
    }
    fsx_stop(x);
}

/* ---- damage that is mended ------------------------------------------------------------------- */

static void
counter__that_is_wrong_is_counted_again(void **state)
{
    struct fsx *x = *state;
    fill(x);
    put_number(x, first_key(x, 'R'), 1 << 20);
    expect_mended(x, "its counter says 1048576 bytes in use");
    put_number(x, first_key(x, 'R'), 0);
    expect_mended(x, "its counter says 0 bytes in use");
    put_key(x, first_key(x, 'R'), c2_slice(NULL, 0));
    expect_mended(x, "its counter says 0 bytes in use");
    struct ds_oid oid = { .sid = 1, .seq = 7 };
    put_number(x, ck_live(&oid), 100);
    expect_mended(x, "a counter without a record");
    fsx_stop(x);
}

static void
usage__that_is_wrong_is_counted_again(void **state)
{
    struct fsx *x = *state;
    fill(x);
    uint64_t bytes = fsx_status(x).used_bytes, files = fsx_status(x).used_files;
    put_number(x, ck_usage("bytes"), 7);
    put_number(x, ck_usage("files"), 70);
    fsx_drop_cache(x);
    assert_int_equal(fsx_status(x).used_files, 70);
    expect_mended(x, "usage: the volume counts 7 bytes");
    assert_int_equal(fsx_status(x).used_bytes, bytes);
    assert_int_equal(fsx_status(x).used_files, files);
    fsx_stop(x);
}

static void
link_count__that_is_wrong_is_counted_again(void **state)
{
    struct fsx *x = *state;
    fill(x);
    change_inode(x, fsx_ino(x, FS_ROOT_INO, "one"), one_link_more);
    change_inode(x, fsx_ino(x, FS_ROOT_INO, "a"), one_link_more);
    fsx_drop_cache(x);
    expect_mended(x, "its link count is 3, should be 2");
    fsx_stop(x);
}

static void
inode__without_a_name_gets_one(void **state)
{
    struct fsx *x = *state;
    char name[32];
    fill(x);
    uint64_t a = fsx_ino(x, FS_ROOT_INO, "a"), b = fsx_ino(x, a, "b");
    uint64_t large = fsx_ino(x, FS_ROOT_INO, "large");
    put_key(x, entry_key(x, FS_ROOT_INO, "large"), c2_slice(NULL, 0));
    put_key(x, entry_key(x, a, "b"), c2_slice(NULL, 0));
    fsx_drop_cache(x);
    expect_mended(x, "has no name");
    uint64_t lost = fsx_ino(x, FS_ROOT_INO, "lost+found");
    (void)snprintf(name, sizeof(name), "#%llu", (unsigned long long)large);
    assert_int_equal(fsx_ino(x, lost, name), large);
    (void)snprintf(name, sizeof(name), "#%llu", (unsigned long long)b);
    assert_int_equal(fsx_ino(x, lost, name), b);
    fsx_expect(x, b, "three", "third", 5);
    /* The folder is there: the next one gets a name in it, too. */
    put_key(x, entry_key(x, a, "two"), c2_slice(NULL, 0));
    fsx_drop_cache(x);
    expect_mended(x, "has no name");
    fsx_stop(x);
}

static void
folder__whose_parent_is_another_is_put_right(void **state)
{
    struct fsx *x = *state;
    fill(x);
    change_inode(x, fsx_ino(x, fsx_ino(x, FS_ROOT_INO, "a"), "b"), parent_is_root);
    fsx_drop_cache(x);
    expect_mended(x, ".. leads to 1");
    fsx_stop(x);
}

static void
entry__that_leads_nowhere_goes(void **state)
{
    struct fsx *x = *state;
    struct fs_attr attr;
    fill(x);
    put_entry(x, FS_ROOT_INO, "nowhere", 1000, S_IFREG);
    fsx_drop_cache(x);
    expect_mended(x, "leads to inode 1000, which is not there");
    assert_int_equal(fsx_lookup(x, FS_ROOT_INO, "nowhere", &attr), C2_E_NOT_FOUND);
    put_entry(x, 1000, "in no folder", fsx_ino(x, FS_ROOT_INO, "one"), S_IFREG);
    /* The first run counts the name that it takes away. */
    expect_mended_in(x, 2, "is in inode 1000, which is not there");
    fsx_stop(x);
}

static void
entry__of_a_wrong_type_is_put_right(void **state)
{
    struct fsx *x = *state;
    fill(x);
    put_entry(x, FS_ROOT_INO, "one", fsx_ino(x, FS_ROOT_INO, "one"), S_IFIFO);
    fsx_drop_cache(x);
    expect_mended(x, "its type is not that of inode");
    fsx_stop(x);
}

static void
orphan_record__of_nothing_goes(void **state)
{
    struct fsx *x = *state;
    fill(x);
    put_key(x, ck_orphan(1000), c2_slice("", 0));
    expect_mended(x, "orphan record of inode 1000");
    put_key(x, ck_orphan(fsx_ino(x, FS_ROOT_INO, "one")), c2_slice("", 0));
    expect_mended(x, "has a name, and an orphan record");
    fsx_stop(x);
}

static void
inode_number__that_would_be_given_out_twice_is_not(void **state)
{
    struct fsx *x = *state;
    struct c2_buf plain = { 0 };
    struct fs_position at = { .next_ino = 3 };
    fill(x);
    memcpy(at.device, x->device_id, sizeof(at.device));
    fs_position_encode(&at, &plain);
    put_sealed(x, ck_letter('J'), &plain);
    c2_buf_done(&plain);
    assert_int_equal(run(x, true, false, "the next one to be given out is 3").repaired, 1);
    fsx_put(x, FS_ROOT_INO, "next", "n", 1);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_int_equal(run(x, false, false, NULL).problems, 0);
    fsx_stop(x);
}

/* ---- damage that is not ---------------------------------------------------------------------- */

static void
object__in_use_without_a_record_is_lost(void **state)
{
    struct fsx *x = *state;
    fill(x);
    struct ck key = first_key(x, 'O');
    put_key(x, key, c2_slice(NULL, 0));
    struct fs_fsck_counts c = run(x, true, false, "and it is not recorded");
    assert_int_equal(c.lost, 1);
    assert_int_equal(c.repaired, 0);
    key.bytes[0] = 'K';
    put_key(x, key, c2_slice("?", 1));
    assert_int_equal(run(x, false, false, "and it is being deleted").lost, 1);
    fsx_stop(x);
}

static void
folder__in_itself_is_found(void **state)
{
    struct fsx *x = *state;
    fill(x);
    uint64_t a = fsx_ino(x, FS_ROOT_INO, "a"), b = fsx_ino(x, a, "b");
    put_key(x, entry_key(x, FS_ROOT_INO, "a"), c2_slice(NULL, 0));
    put_entry(x, b, "a", a, S_IFDIR);
    (void)run(x, false, false, "is in itself");
    fsx_stop(x);
}

static void
record__that_cannot_be_read_is_lost(void **state)
{
    struct fsx *x = *state;
    fill(x);
    put_key(x, ck_inode(fsx_ino(x, FS_ROOT_INO, "one")), c2_slice("nothing that we sealed", 22));
    assert_true(run(x, true, false, "its record cannot be read").lost > 0);
    put_key(x, entry_key(x, FS_ROOT_INO, "one"), c2_slice("nothing that we sealed", 22));
    assert_true(run(x, false, false, "an entry in folder 1 cannot be read").lost > 0);
    fsx_stop(x);
}

/* ---- shares ---------------------------------------------------------------------------------- */

static enum ctl_verdict verify(struct fsx *x, uint64_t ino);

static void
deep__tells_missing_shares_from_lost_files(void **state)
{
    struct fsx *x = *state;
    fill(x);
    uint64_t one = fsx_ino(x, FS_ROOT_INO, "one");
    assert_int_equal(verify(x, one), CTL_VERDICT_GOOD);
    fsx_fault(x, 0, "error");
    fsx_fault(x, 1, "error");
    struct fs_fsck_counts c = run(x, false, true, NULL);
    assert_true(c.shares_unknown > 0);
    assert_int_equal(c.shares_bad, 0);
    assert_int_equal(verify(x, one), CTL_VERDICT_UNKNOWN);
    fsx_fault(x, 0, "");
    fsx_fault(x, 1, "");
    prov_mem_clear(x->mem[0]);
    c = run(x, false, true, NULL);
    assert_true(c.shares_bad > 0);
    assert_int_equal(c.lost, 0);
    assert_int_equal(verify(x, one), CTL_VERDICT_DEGRADED);
    prov_mem_clear(x->mem[1]);
    c = run(x, false, true, "/one 0-4|");
    assert_true(c.lost > 0);
    assert_int_equal(verify(x, one), CTL_VERDICT_UNREADABLE);
    fsx_stop(x);
}

/* Two of four shares of everything are gone. */
static void
lose_too_much(struct fsx *x)
{
    prov_mem_clear(x->mem[0]);
    prov_mem_clear(x->mem[1]);
}

static void
damage__is_told_by_name_and_range(void **state)
{
    struct fsx *x = *state;
    fill(x);
    lose_too_much(x);
    struct fs_fsck_counts c = run(x, false, true, "/a/b/three 0-4|");
    assert_int_equal(c.damaged, 5); /* one, two, three, four, large */
    assert_int_equal(c.lost, 5);
    assert_int_equal(c.problems, 5);
    assert_int_equal(c.aside, 0);
    (void)run(x, false, true, "/one 0-4|");
    (void)run(x, false, true, "/a/link 0-4|");
    (void)run(x, false, true, "/a/two 0-5|");
    (void)run(x, false, true, "/a/b/four 0-5|");
    (void)run(x, false, true, "/large 0-");
    fsx_stop(x);
}

static void
damage__is_that_of_the_range_only(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint64_t ino;
    fsx_mount(x);
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "f", O_RDWR, &h, &ino), C2_E_OK);
    assert_int_equal(fsx_write(x, h, 0, "old data", 8), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    lose_too_much(x);
    assert_int_equal(fsx_write(x, h, 3, "new", 3), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    assert_int_equal(run(x, false, true, "/f 0-2 6-7|").damaged, 1);
    fsx_stop(x);
}

static void
damage__in_lost_found_is_no_problem(void **state)
{
    struct fsx *x = *state;
    fill(x);
    uint64_t a = fsx_ino(x, FS_ROOT_INO, "a");
    uint64_t place = fsx_mkdir(x, FS_ROOT_INO, "lost+found");
    lose_too_much(x);
    struct fs_req away = {
        .op = FS_RENAME, .ino = a, .name = "two", .ino2 = place, .name2 = "#1 two"
    };
    assert_int_equal(fsx_run(x, &away), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    struct fs_fsck_counts c = run(x, false, true, "/lost+found/#1 two 0-5 aside|");
    assert_int_equal(c.damaged, 5);
    assert_int_equal(c.aside, 1);
    assert_int_equal(c.problems, 4);
    assert_int_equal(c.lost, 4);
    /* A file with another name elsewhere is still in the way. */
    away = (struct fs_req){
        .op = FS_RENAME, .ino = a, .name = "link", .ino2 = place, .name2 = "#2 link"
    };
    assert_int_equal(fsx_run(x, &away), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_int_equal(run(x, false, true, "/lost+found/#2 link 0-4 aside|").aside, 1);
    fsx_stop(x);
}

/* ---- verify ---------------------------------------------------------------------------------- */

struct verifying {
    struct fs_file_check c;
    bool done;
};

static void
verified(struct fs_file_check *c)
{
    C2_CONTAINER_OF(c, struct verifying, c)->done = true;
}

static enum ctl_verdict
verify(struct fsx *x, uint64_t ino)
{
    enum ctl_verdict verdict[3];
    const uint64_t inos[3] = { FS_ROOT_INO, ino, ino };
    struct verifying v = {
        .c = { .fs = x->fs, .inos = inos, .n = 3, .verdict = verdict, .done = verified }
    };
    fs_file_check_start(&v.c);
    test_env_run_until(x->t, &v.done);
    assert_int_equal(v.c.err, C2_E_OK);
    assert_int_equal(verdict[0], CTL_VERDICT_GOOD);
    assert_int_equal(verdict[1], verdict[2]);
    return verdict[1];
}

static void
verify__reads_an_object_once_and_knows_what_is_not_uploaded(void **state)
{
    struct fsx *x = *state;
    fill(x);
    uint64_t large = fsx_ino(x, FS_ROOT_INO, "large");
    assert_int_equal(verify(x, large), CTL_VERDICT_GOOD);
    assert_int_equal(verify(x, 1000), CTL_VERDICT_GONE);
    for (unsigned s = 0; s < FSX_SEATS; s++)
        fsx_fault(x, s, "error");
    fsx_put(x, FS_ROOT_INO, "local", "only here", 9);
    assert_int_equal(verify(x, fsx_ino(x, FS_ROOT_INO, "local")), CTL_VERDICT_LOCAL);
    for (unsigned s = 0; s < FSX_SEATS; s++)
        fsx_fault(x, s, "");
    fsx_stop(x);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(fsck__finds_nothing_in_an_intact_volume),
        T(fsck__holds_the_store_and_not_the_files),
        T(fsck__ends_soon_when_canceled),
        T(counter__that_is_wrong_is_counted_again),
        T(usage__that_is_wrong_is_counted_again),
        T(link_count__that_is_wrong_is_counted_again),
        T(inode__without_a_name_gets_one),
        T(folder__whose_parent_is_another_is_put_right),
        T(entry__that_leads_nowhere_goes),
        T(entry__of_a_wrong_type_is_put_right),
        T(orphan_record__of_nothing_goes),
        T(inode_number__that_would_be_given_out_twice_is_not),
        T(object__in_use_without_a_record_is_lost),
        T(folder__in_itself_is_found),
        T(record__that_cannot_be_read_is_lost),
        T(deep__tells_missing_shares_from_lost_files),
        T(damage__is_told_by_name_and_range),
        T(damage__is_that_of_the_range_only),
        T(damage__in_lost_found_is_no_problem),
        T(verify__reads_an_object_once_and_knows_what_is_not_uploaded),
    };
    return cmocka_run_group_tests_name("fs/fsck", tests, NULL, NULL);
}
