/* SPDX-License-Identifier: MIT */
/*
 * The write-ahead log: what was durable comes back, what a crash tore does not, and what the disk
 * has lost or changed is said, never passed over.
 */
#include "metadata/wal.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/os_loop.h"
#include "metadata/wal_format.h"
#include "tests/lib/wal_rig.h"

/* ---- files ----------------------------------------------------------------------------------- */

static char *
file_path(const struct wal_rig *f, const char *name)
{
    return c2_asprintf("%s/%s", f->path, name);
}

static struct c2_buf
load(const struct wal_rig *f, const char *name)
{
    C2_AUTO(c2_free_auto) char *path = file_path(f, name);
    struct c2_buf b = { 0 };
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    uint8_t *p = c2_buf_extend(&b, (size_t)st.st_size);
    assert_int_equal(pread(fd, p, b.len, 0), b.len);
    close(fd);
    return b;
}

static void
store(const struct wal_rig *f, const char *name, const void *data, size_t len)
{
    C2_AUTO(c2_free_auto) char *path = file_path(f, name);
    test_disk_write_file(path, data, len);
}

static void
flip(const struct wal_rig *f, const char *name, size_t at)
{
    struct c2_buf b = load(f, name);
    assert_true(at < b.len);
    b.data[at] ^= 0x10;
    store(f, name, b.data, b.len);
    c2_buf_done(&b);
}

static void
delete_file(const struct wal_rig *f, const char *name)
{
    C2_AUTO(c2_free_auto) char *path = file_path(f, name);
    assert_int_equal(unlink(path), 0);
}

#define FIRST  "0000000000000001.wal"
#define SECOND "0000000000000002.wal"

/* ---- what is durable comes back -------------------------------------------------------------- */

static void
wal__gives_records_back_in_order(void **state)
{
    struct wal_rig *f = *state;
    wal_rig_open(f);
    assert_int_equal(f->report.last_lsn, 0);
    assert_false(f->report.damaged);
    assert_int_equal(wal_rig_append(f, 1, "one"), 1);
    const struct c2_slice parts[] = { c2_slice_str("t"), c2_slice_str(""), c2_slice_str("wo") };
    assert_int_equal(wal_append(f->w, 2, parts, 3), 2);
    wal_rig_wait(f, 2);
    assert_int_equal(wal_rig_append(f, 3, ""), 3);
    wal_rig_wait(f, 3);
    wal_rig_close(f);
    wal_rig_open(f);
    assert_string_equal(c2_buf_cstr(&f->texts), "1:1:one 2:2:two 3:3: ");
    assert_int_equal(f->report.first_lsn, 1);
    assert_int_equal(f->report.last_lsn, 3);
    assert_int_equal(wal_last(f->w), 3);
    assert_int_equal(wal_synced(f->w), 3);
    assert_false(f->report.damaged);
    assert_false(f->report.torn);
    assert_int_equal(wal_rig_append(f, 4, "four"), 4);
    wal_rig_wait(f, 4);
    wal_rig_close(f);
    wal_rig_open(f);
    assert_string_equal(c2_buf_cstr(&f->texts), "1:1:one 2:2:two 3:3: 4:4:four ");
    test_env_run_ready(f->t);
    assert_int_equal(wal_rig_count(f, ".wal"), 2); /* in use, and prepared */
}

static void
wal__one_turn_is_one_sync(void **state)
{
    struct wal_rig *f = *state;
    wal_rig_open(f);
    wal_rig_put(f, "first");
    test_env_run_ready(f->t);
    uint64_t syncs = test_env_disk_count(f->t, C2_DISK_SYNC);
    for (unsigned i = 0; i < 100; i++)
        wal_rig_append(f, 1, "x");
    wal_rig_wait(f, 101);
    assert_int_equal(test_env_disk_count(f->t, C2_DISK_SYNC), syncs + 1);
    assert_int_equal(wal_groups(f->w), 2);
}

static uint64_t
append_later(struct wal_rig *f, const char *text)
{
    const struct c2_slice part = c2_slice_str(text);
    return wal_append_later(f->w, 7, &part, 1);
}

static void
wal__what_nobody_waits_for_goes_with_the_next_record_or_after_a_while(void **state)
{
    struct wal_rig *f = *state;
    wal_rig_open(f);
    wal_rig_put(f, "1");
    test_env_run_for(f->t, C2_NS_PER_S);
    append_later(f, "2");
    append_later(f, "3");
    test_env_run_ready(f->t);
    assert_int_equal(f->synced, 1);
    wal_rig_put(f, "4");
    assert_int_equal(wal_groups(f->w), 2);
    wal_rig_append(f, 7, "5");
    test_env_run_ready(f->t);
    append_later(f, "6");
    test_env_run_for(f->t, C2_NS_PER_S);
    assert_int_equal(f->synced, 6);
    append_later(f, "7");
    wal_rig_close(f);
    wal_rig_open(f);
    assert_string_equal(c2_buf_cstr(&f->texts), "1:7:1 2:7:2 3:7:3 4:7:4 5:7:5 6:7:6 7:7:7 ");
}

static void
wal__nothing_is_told_before_the_sync(void **state)
{
    struct wal_rig *f = *state;
    wal_rig_open(f);
    test_env_run_ready(f->t);
    uint64_t syncs = test_env_disk_count(f->t, C2_DISK_SYNC);
    wal_rig_append(f, 1, "x");
    while (test_env_disk_count(f->t, C2_DISK_SYNC) == syncs) {
        assert_int_equal(f->synced, 0);
        assert_true(test_env_step(f->t));
    }
    wal_rig_wait(f, 1);
}

struct durable_write {
    uint64_t at;
    bool seen;
};

static enum c2_err
look_for_durable_write(void *arg, const struct c2_disk_req *r)
{
    struct durable_write *w = arg;
    bool durable = r->verb == C2_DISK_PWRITE && (r->flags & C2_DISK_DURABLE) != 0;
    w->seen = w->seen || (durable && r->offset == w->at);
    return C2_E_OK;
}

/* A process that is killed leaves a group in the page cache that was not synced, or whose sync has
 * failed. Whoever reads it acts on it: it must not be gone when power fails then. */
static void
wal__the_last_group_is_made_durable_before_it_is_used(void **state)
{
    struct wal_rig *f = *state;
    struct durable_write last = { .at = 2 * WAL_BLOCK };
    wal_rig_open(f);
    wal_rig_put(f, "1");
    wal_rig_put(f, "2");
    wal_rig_close(f);
    struct c2_buf before = load(f, FIRST);
    test_env_set_disk_hook(f->t, look_for_durable_write, &last);
    wal_rig_open(f);
    assert_string_equal(c2_buf_cstr(&f->texts), "1:7:1 2:7:2 ");
    assert_true(last.seen);
    test_env_set_disk_hook(f->t, NULL, NULL);
    struct c2_buf after = load(f, FIRST);
    assert_memory_equal(before.data, after.data, 3 * WAL_BLOCK);
    wal_rig_put(f, "3");
    c2_buf_done(&before);
    c2_buf_done(&after);
}

static void
wal__goes_on_over_many_segments_and_large_records(void **state)
{
    struct wal_rig *f = *state;
    wal_rig_open(f);
    C2_AUTO(c2_buf_done) struct c2_buf want = { 0 };
    uint8_t *big = c2_calloc(1, 300000);
    for (unsigned i = 0; i < 60; i++) {
        size_t len = i % 10 == 9 ? 300000 : 1000 * i;
        const struct c2_slice part = c2_slice(big, len);
        uint64_t lsn = wal_append(f->w, i, &part, 1);
        if (len <= 64)
            c2_buf_printf(&want, "%llu:%u:%.*s ", (unsigned long long)lsn, i, (int)len, "");
        else
            c2_buf_printf(&want, "%llu:%u:#%zu ", (unsigned long long)lsn, i, len);
        if (i % 3 == 0)
            wal_rig_wait(f, lsn);
    }
    wal_rig_wait(f, 60);
    wal_rig_close(f);
    wal_rig_open(f);
    assert_false(f->report.damaged);
    assert_string_equal(c2_buf_cstr(&f->texts), c2_buf_cstr(&want));
    c2_free(big);
}

static void
wal__closing_makes_durable_what_was_appended(void **state)
{
    struct wal_rig *f = *state;
    wal_rig_open(f);
    wal_rig_append(f, 1, "last words");
    wal_rig_close(f);
    wal_rig_open(f);
    assert_string_equal(c2_buf_cstr(&f->texts), "1:1:last words ");
}

static void
wal__may_be_closed_at_any_step(void **state)
{
    struct wal_rig *f = *state;
    for (unsigned steps = 0; steps < 60; steps++) {
        wal_rig_start(f);
        for (unsigned i = 0; i < steps; i++) {
            if (f->opened && i % 4 == 0)
                wal_rig_append(f, 1, "x");
            if (!test_env_step(f->t))
                break;
        }
        uint64_t last = f->opened ? wal_last(f->w) : 0;
        wal_rig_close(f);
        f->fresh = false;
        if (last == 0)
            continue;
        wal_rig_open(f);
        assert_false(f->report.damaged);
        assert_int_equal(f->report.last_lsn, last);
        wal_rig_close(f);
    }
}

static void
wal__trimmed_records_do_not_come_back_and_segments_are_used_again(void **state)
{
    struct wal_rig *f = *state;
    wal_rig_open(f);
    char text[4000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (unsigned i = 1; i <= 300; i++) {
        wal_rig_put(f, text);
        if (i % 20 == 0)
            wal_trim(f->w, i - 5);
    }
    test_env_run_for(f->t, C2_NS_PER_S);
    assert_true(c2_mark_count("wal: an old segment is used again") > 3);
    assert_true(wal_rig_count(f, ".wal") <= 6);
    wal_rig_close(f);
    wal_rig_open(f);
    assert_false(f->report.damaged);
    assert_int_equal(f->report.last_lsn, 300);
    assert_true(f->report.first_lsn <= 295 && f->report.first_lsn > 200);
    assert_int_equal(f->replayed, 300 - f->report.first_lsn + 1);
}

/* ---- failure of the disk --------------------------------------------------------------------- */

struct fault {
    enum c2_disk_verb verb;
    bool on;
};

static enum c2_err
io_error(void *arg, const struct c2_disk_req *r)
{
    const struct fault *x = arg;
    return x->on && r->verb == x->verb ? C2_E_IO : C2_E_OK;
}

static void
wal__a_failed_write_or_sync_is_final(void **state)
{
    struct wal_rig *f = *state;
    static const enum c2_disk_verb verbs[] = { C2_DISK_SYNC, C2_DISK_PWRITE };
    for (unsigned i = 0; i < C2_ARRAY_LEN(verbs); i++) {
        struct fault x = { .verb = verbs[i] };
        wal_rig_open(f);
        wal_rig_put(f, "good");
        test_env_run_for(f->t, C2_NS_PER_S);
        test_env_set_disk_hook(f->t, io_error, &x);
        x.on = true;
        uint64_t lsn = wal_rig_append(f, 1, "lost");
        wal_rig_append(f, 1, "lost, too");
        test_env_run_for(f->t, C2_NS_PER_S);
        assert_int_equal(f->failure, C2_E_IO);
        x.on = false; /* a later sync that succeeds proves nothing */
        test_env_run_for(f->t, C2_NS_PER_S);
        assert_true(f->synced < lsn);
        f->failure = C2_E_OK;
        test_env_set_disk_hook(f->t, NULL, NULL);
        wal_rig_close(f);
    }
}

static void
wal__an_end_that_cannot_be_made_durable_is_an_error(void **state)
{
    struct wal_rig *f = *state;
    struct fault x = { .verb = C2_DISK_PWRITE, .on = true };
    wal_rig_open(f);
    wal_rig_put(f, "1");
    wal_rig_close(f);
    test_env_set_disk_hook(f->t, io_error, &x);
    wal_rig_start(f);
    test_env_run_until(f->t, &f->opened);
    assert_int_equal(f->err, C2_E_IO);
    wal_rig_close(f);
    test_env_set_disk_hook(f->t, NULL, NULL);
    wal_rig_open(f);
    assert_string_equal(c2_buf_cstr(&f->texts), "1:7:1 ");
}

static void
wal__a_folder_that_cannot_be_read_is_an_error(void **state)
{
    struct wal_rig *f = *state;
    test_disk_write_file(f->path, "x", 1);
    wal_rig_start(f);
    test_env_run_until(f->t, &f->opened);
    assert_int_not_equal(f->err, C2_E_OK);
}

/* ---- torn groups ----------------------------------------------------------------------------- */

/*
 * Two groups are durable, a third one is under way: every prefix of it may be on the disk. `before`
 * and `after` are the segment without and with it.
 */
static void
check_torn(struct wal_rig *f, const struct c2_buf *before, const struct c2_buf *after, size_t from,
           size_t to, size_t step)
{
    struct c2_buf now = { 0 };
    c2_buf_append(&now, before->data, before->len);
    for (size_t cut = from; cut < to; cut += step) {
        memcpy(now.data, before->data, before->len);
        memcpy(now.data + from, after->data + from, cut - from);
        store(f, FIRST, now.data, now.len);
        wal_rig_open(f);
        assert_false(f->report.damaged);
        assert_string_equal(c2_buf_cstr(&f->texts), "1:7:one 2:7:two ");
        assert_int_equal(f->report.last_lsn, 2);
        wal_rig_put(f, "again");
        wal_rig_close(f);
        wal_rig_open(f);
        assert_false(f->report.damaged);
        assert_string_equal(c2_buf_cstr(&f->texts), "1:7:one 2:7:two 3:7:again ");
        wal_rig_close(f);
    }
    c2_buf_done(&now);
}

static void
wal__a_group_torn_at_any_byte_is_cut(void **state)
{
    struct wal_rig *f = *state;
    wal_rig_open(f);
    wal_rig_put(f, "one");
    wal_rig_put(f, "two");
    struct c2_buf before = load(f, FIRST);
    char text[5000]; /* two blocks */
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    wal_rig_put(f, text);
    struct c2_buf after = load(f, FIRST);
    wal_rig_close(f);
    size_t at = 3 * WAL_BLOCK;
    check_torn(f, &before, &after, at, at + WAL_HEAD_LEN + 16, 1);
    check_torn(f, &before, &after, at, at + WAL_HEAD_LEN + sizeof text - 1, 97);
    c2_buf_done(&before);
    c2_buf_done(&after);
}

/* The second block of a group is on the disk, the first one is not. */
static void
wal__a_group_torn_in_front_is_cut(void **state)
{
    struct wal_rig *f = *state;
    wal_rig_open(f);
    wal_rig_put(f, "one");
    wal_rig_put(f, "two");
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    wal_rig_put(f, text);
    struct c2_buf b = load(f, FIRST);
    wal_rig_close(f);
    memset(b.data + 3 * WAL_BLOCK, 0, WAL_BLOCK);
    store(f, FIRST, b.data, b.len);
    wal_rig_open(f);
    assert_false(f->report.damaged);
    assert_string_equal(c2_buf_cstr(&f->texts), "1:7:one 2:7:two ");
    c2_buf_done(&b);
}

static void
wal__stale_groups_of_a_segment_used_again_are_not_damage(void **state)
{
    struct wal_rig *f = *state;
    wal_rig_open(f);
    char text[4000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    uint64_t lsn = 0;
    while (c2_mark_count("wal: an old segment is used again") < 2) {
        lsn = wal_rig_append(f, 1, text);
        wal_rig_wait(f, lsn);
        wal_trim(f->w, lsn - 1);
    }
    /* Until the segment used again is written to, and then some. */
    for (unsigned i = 0; i < 36; i++) {
        lsn = wal_rig_append(f, 1, text);
        wal_rig_wait(f, lsn);
    }
    test_env_run_ready(f->t);
    wal_rig_close(f);
    wal_rig_open(f);
    assert_false(f->report.damaged);
    assert_int_equal(f->report.last_lsn, lsn);
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void
three_groups(struct wal_rig *f)
{
    wal_rig_open(f);
    wal_rig_put(f, "one");
    wal_rig_put(f, "two");
    wal_rig_put(f, "three");
    test_env_run_for(f->t, C2_NS_PER_S); /* the seal */
    wal_rig_close(f);
}

static void
wal__any_flipped_bit_of_a_durable_group_is_damage(void **state)
{
    struct wal_rig *f = *state;
    three_groups(f);
    struct c2_buf good = load(f, FIRST);
    static const char *const left[] = { "", "1:7:one ", "1:7:one 2:7:two " };
    static const size_t lens[] = { 11, 11, 13 };
    for (unsigned group = 0; group < 3; group++) {
        for (size_t at = 0; at < WAL_HEAD_LEN + lens[group]; at++) {
            if (at >= 112 && at < WAL_HEAD_LEN)
                continue; /* not used */
            store(f, FIRST, good.data, good.len);
            flip(f, FIRST, (group + 1) * WAL_BLOCK + at);
            f->read_only = true;
            wal_rig_open(f);
            assert_true(f->report.damaged);
            assert_string_equal(c2_buf_cstr(&f->texts), left[group]);
            wal_rig_close(f);
        }
    }
    c2_buf_done(&good);
}

static void
wal__after_damage_it_goes_on_and_says_so_until_trimmed(void **state)
{
    struct wal_rig *f = *state;
    three_groups(f);
    flip(f, FIRST, 2 * WAL_BLOCK + WAL_HEAD_LEN + 9);
    for (unsigned i = 0; i < 2; i++) { /* even when nothing was appended the first time */
        wal_rig_open(f);
        assert_true(f->report.damaged);
        assert_non_null(strstr(f->report.damage, "segment 1"));
        assert_string_equal(c2_buf_cstr(&f->texts), "1:7:one ");
        wal_rig_close(f);
    }
    wal_rig_open(f);
    assert_int_equal(wal_rig_append(f, 7, "new"), 2);
    wal_rig_wait(f, 2);
    wal_rig_close(f);
    wal_rig_open(f);
    assert_true(f->report.damaged);
    assert_string_equal(c2_buf_cstr(&f->texts), "1:7:one 2:7:new ");
    assert_int_equal(wal_rig_append(f, 7, "newer"), 3);
    wal_rig_wait(f, 3);
    wal_trim(f->w, 2);
    test_env_run_for(f->t, C2_NS_PER_S);
    wal_rig_close(f);
    wal_rig_open(f);
    assert_false(f->report.damaged);
    assert_string_equal(c2_buf_cstr(&f->texts), "2:7:new 3:7:newer ");
}

static void
wal__a_second_damage_after_the_first_is_found(void **state)
{
    struct wal_rig *f = *state;
    three_groups(f);
    flip(f, FIRST, 1 * WAL_BLOCK + WAL_HEAD_LEN + 9);
    wal_rig_open(f);
    wal_rig_put(f, "a");
    wal_rig_put(f, "b");
    wal_rig_put(f, "c");
    test_env_run_for(f->t, C2_NS_PER_S);
    wal_rig_close(f);
    C2_AUTO(c2_free_auto) char *name = NULL;
    for (unsigned i = 2; name == NULL; i++) {
        char *n = c2_asprintf("%016x.wal", i);
        C2_AUTO(c2_free_auto) char *path = file_path(f, n);
        struct c2_buf b = { 0 };
        if (test_disk_exists(path))
            b = load(f, n);
        struct wal_segment_head head;
        if (b.len > 0 && wal_get_segment_head(c2_buf_slice(&b), &head) == C2_E_OK && head.resumes)
            name = n;
        else
            c2_free(n);
        c2_buf_done(&b);
    }
    flip(f, name, 2 * WAL_BLOCK + WAL_HEAD_LEN + 8);
    wal_rig_open(f);
    assert_true(f->report.damaged);
    assert_string_equal(c2_buf_cstr(&f->texts), "1:7:a ");
    wal_rig_put(f, "d");
    wal_rig_close(f);
    wal_rig_open(f);
    assert_string_equal(c2_buf_cstr(&f->texts), "1:7:a 2:7:d ");
}

static void
many_segments(struct wal_rig *f)
{
    char text[4000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    wal_rig_open(f);
    for (unsigned i = 0; i < 60; i++)
        wal_rig_put(f, text);
    wal_rig_close(f);
}

static void
wal__a_lost_segment_is_damage(void **state)
{
    struct wal_rig *f = *state;
    many_segments(f);
    delete_file(f, SECOND);
    wal_rig_open(f);
    assert_true(f->report.damaged);
    assert_true(f->replayed < 60);
    wal_rig_put(f, "goes on");
    wal_rig_close(f);
    wal_rig_open(f);
    assert_true(f->report.damaged);
    assert_non_null(strstr(c2_buf_cstr(&f->texts), ":7:goes on"));
}

static void
wal__a_lost_first_segment_is_damage(void **state)
{
    struct wal_rig *f = *state;
    many_segments(f);
    delete_file(f, FIRST);
    wal_rig_open(f);
    assert_true(f->report.damaged);
    assert_int_equal(f->replayed, 0);
    wal_rig_put(f, "goes on");
    wal_rig_close(f);
    wal_rig_open(f);
    assert_true(f->report.damaged);
    assert_string_equal(c2_buf_cstr(&f->texts), "1:7:goes on ");
}

static void
wal__a_damaged_segment_head_is_damage(void **state)
{
    struct wal_rig *f = *state;
    many_segments(f);
    flip(f, SECOND, 20);
    wal_rig_open(f);
    assert_true(f->report.damaged);
}

static void
wal__a_lost_or_damaged_anchor_is_damage_and_loses_no_record(void **state)
{
    struct wal_rig *f = *state;
    for (unsigned flipped = 0; flipped < 2; flipped++) {
        three_groups(f);
        if (flipped != 0)
            flip(f, "head", 9);
        else
            delete_file(f, "head");
        wal_rig_open(f);
        assert_true(f->report.damaged);
        assert_string_equal(c2_buf_cstr(&f->texts), "1:7:one 2:7:two 3:7:three ");
        wal_rig_put(f, "four");
        wal_rig_close(f);
        wal_rig_open(f);
        assert_true(f->report.damaged);
        assert_string_equal(c2_buf_cstr(&f->texts), "1:7:one 2:7:two 3:7:three 4:7:four ");
        wal_rig_close(f);
        test_disk_remove_tree(f->path);
        f->fresh = true;
    }
}

static void
wal__a_log_that_is_gone_is_damage_until_trimmed(void **state)
{
    struct wal_rig *f = *state;
    f->fresh = false;
    wal_rig_open(f);
    assert_true(f->report.damaged);
    wal_rig_put(f, "one");
    wal_rig_close(f);
    wal_rig_open(f);
    assert_true(f->report.damaged);
    assert_string_equal(c2_buf_cstr(&f->texts), "1:7:one ");
    char text[4000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    uint64_t lsn = 0;
    for (unsigned i = 0; i < 30; i++) {
        lsn = wal_rig_append(f, 7, text);
        wal_rig_wait(f, lsn);
    }
    wal_trim(f->w, lsn);
    test_env_run_for(f->t, C2_NS_PER_S);
    wal_rig_close(f);
    wal_rig_open(f);
    assert_false(f->report.damaged);
}

static void
wal__a_new_log_that_crashed_while_it_was_made_is_new(void **state)
{
    struct wal_rig *f = *state;
    wal_rig_open(f);
    wal_rig_close(f);
    delete_file(f, "head"); /* the anchor is written last */
    f->fresh = true;
    wal_rig_open(f);
    assert_false(f->report.damaged);
    wal_rig_put(f, "one");
    wal_rig_close(f);
    wal_rig_open(f);
    assert_string_equal(c2_buf_cstr(&f->texts), "1:7:one ");
}

static void
wal__a_newer_format_is_refused(void **state)
{
    struct wal_rig *f = *state;
    three_groups(f);
    struct c2_buf b = load(f, "head");
    b.data[4] = 9;
    uint8_t hash[C2_SHA256_LEN];
    c2_sha256(c2_slice(b.data, WAL_ANCHOR_LEN - 8), hash);
    memcpy(b.data + WAL_ANCHOR_LEN - 8, hash, 8);
    store(f, "head", b.data, b.len);
    c2_buf_done(&b);
    wal_rig_start(f);
    test_env_run_until(f->t, &f->opened);
    assert_int_equal(f->err, C2_E_VERSION);
}

static void
wal__looking_changes_nothing(void **state)
{
    struct wal_rig *f = *state;
    three_groups(f);
    flip(f, FIRST, 2 * WAL_BLOCK + WAL_HEAD_LEN + 9);
    struct c2_buf before = load(f, FIRST);
    unsigned files = wal_rig_count(f, "");
    f->read_only = true;
    wal_rig_open(f);
    assert_true(f->report.damaged);
    wal_rig_close(f);
    struct c2_buf after = load(f, FIRST);
    assert_true(c2_slice_equal(c2_buf_slice(&before), c2_buf_slice(&after)));
    assert_int_equal(wal_rig_count(f, ""), files);
    c2_buf_done(&before);
    c2_buf_done(&after);
}

/* ---- a real process -------------------------------------------------------------------------- */

struct child {
    struct c2_os *os;
    struct wal *w;
    int out; /* the parent hears of every durable number */
    uint64_t next;
};

static void
child_more(struct child *c)
{
    char text[3000];
    memset(text, 'a' + (int)(c->next % 26), sizeof text);
    const struct c2_slice part = c2_slice(text, c->next % sizeof text);
    c->next = wal_append(c->w, 1, &part, 1) + 1;
    if (c->next % 64 == 0)
        wal_trim(c->w, c->next - 20);
}

static void
child_synced(void *arg, uint64_t lsn)
{
    struct child *c = arg;
    if (write(c->out, &lsn, sizeof lsn) != (ssize_t)sizeof lsn)
        _exit(1);
    child_more(c);
}

static void
child_opened(void *arg, enum c2_err err, const struct wal_report *r)
{
    struct child *c = arg;
    if (err != C2_E_OK || r->damaged)
        _exit(2);
    c->next = r->last_lsn + 1;
    for (unsigned i = 0; i < 4; i++)
        child_more(c);
}

static void
child_failed(void *arg, enum c2_err err)
{
    (void)arg;
    (void)err;
    _exit(3);
}

static C2_NORETURN void
child_main(const struct wal_rig *f, int out, bool fresh)
{
    struct child c = { .out = out };
    if (c2_os_new(1, &c.os) != C2_E_OK)
        _exit(4);
    const struct wal_options o = { .path = f->path,
                                   .segment_size = WAL_RIG_SEGMENT,
                                   .fresh = fresh,
                                   .opened = child_opened,
                                   .synced = child_synced,
                                   .failed = child_failed,
                                   .arg = &c };
    c.w = wal_open(c2_os_env(c.os), &o);
    c2_os_run(c.os);
    _exit(5);
}

static void
wal__survives_kill_at_any_moment(void **state)
{
    struct wal_rig *f = *state;
    uint64_t durable = 0;
    for (unsigned life = 0; life < 12; life++) {
        int pipefd[2];
        assert_int_equal(pipe(pipefd), 0);
        pid_t pid = fork();
        if (pid == 0) {
            close(pipefd[0]);
            child_main(f, pipefd[1], life == 0);
        }
        close(pipefd[1]);
        uint64_t lsn;
        for (unsigned i = 0; i < 20 + life * 13; i++) {
            assert_int_equal(read(pipefd[0], &lsn, sizeof lsn), sizeof lsn);
            assert_true(lsn > durable);
            durable = lsn;
        }
        assert_int_equal(kill(pid, SIGKILL), 0);
        while (read(pipefd[0], &lsn, sizeof lsn) == (ssize_t)sizeof lsn)
            durable = lsn;
        close(pipefd[0]);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        f->fresh = false;
        f->read_only = true;
        wal_rig_open(f);
        assert_false(f->report.damaged);
        assert_true(f->report.last_lsn >= durable);
        wal_rig_close(f);
    }
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, wal_rig_setup, wal_rig_teardown)
    const struct CMUnitTest tests[] = {
        T(wal__gives_records_back_in_order),
        T(wal__one_turn_is_one_sync),
        T(wal__what_nobody_waits_for_goes_with_the_next_record_or_after_a_while),
        T(wal__nothing_is_told_before_the_sync),
        T(wal__the_last_group_is_made_durable_before_it_is_used),
        T(wal__goes_on_over_many_segments_and_large_records),
        T(wal__closing_makes_durable_what_was_appended),
        T(wal__may_be_closed_at_any_step),
        T(wal__trimmed_records_do_not_come_back_and_segments_are_used_again),
        T(wal__a_failed_write_or_sync_is_final),
        T(wal__an_end_that_cannot_be_made_durable_is_an_error),
        T(wal__a_folder_that_cannot_be_read_is_an_error),
        T(wal__a_group_torn_at_any_byte_is_cut),
        T(wal__a_group_torn_in_front_is_cut),
        T(wal__stale_groups_of_a_segment_used_again_are_not_damage),
        T(wal__any_flipped_bit_of_a_durable_group_is_damage),
        T(wal__after_damage_it_goes_on_and_says_so_until_trimmed),
        T(wal__a_second_damage_after_the_first_is_found),
        T(wal__a_lost_segment_is_damage),
        T(wal__a_lost_first_segment_is_damage),
        T(wal__a_damaged_segment_head_is_damage),
        T(wal__a_lost_or_damaged_anchor_is_damage_and_loses_no_record),
        T(wal__a_log_that_is_gone_is_damage_until_trimmed),
        T(wal__a_new_log_that_crashed_while_it_was_made_is_new),
        T(wal__a_newer_format_is_refused),
        T(wal__looking_changes_nothing),
        T(wal__survives_kill_at_any_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
