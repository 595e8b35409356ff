/* SPDX-License-Identifier: MIT */
/*
 * A scan tells exactly what the clouds lack, and what they have too much.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "backends/mem.h"
#include "backends/registry.h"
#include "base/alloc.h"
#include "base/mark.h"
#include "fs/object_record.h"
#include "fs/repair.h"
#include "fs/scan.h"
#include "fs/scan_log.h"
#include "tests/lib/fs_objects.h"

#define FILES 6

struct mount {
    struct fsx x;
    struct fso o[FILES];
};

static int
setup(void **state)
{
    static const char *const names[FILES] = { "a", "b", "c", "d", "e", "f" };
    struct mount *m = c2_calloc(1, sizeof(*m));
    fsx_init(&m->x);
    fsx_mount(&m->x);
    for (unsigned k = 0; k < FILES; k++)
        m->o[k] = fso_put(&m->x, names[k]);
    fsx_drop_cache(&m->x); /* and the objects are of an earlier session */
    *state = m;
    c2_mark_reset();
    return 0;
}

static int
teardown(void **state)
{
    struct mount *m = *state;
    for (unsigned k = 0; k < FILES; k++)
        fso_done(&m->o[k]);
    fsx_stop(&m->x);
    fsx_done(&m->x);
    c2_free(m);
    return 0;
}

struct scan {
    struct fs_scan s;
    bool done;
};

static void
scan_done(struct fs_scan *s)
{
    C2_CONTAINER_OF(s, struct scan, s)->done = true;
}

/* All of it, in windows of so many records. */
static struct fs_scan
scan(struct mount *m, enum fs_scan_mode mode, unsigned window)
{
    struct scan w = { .s = { .fs = m->x.fs, .mode = mode, .sample_permille = 1000 } };
    w.s.window = window;
    w.s.parallel = 4;
    w.s.done = scan_done;
    while (!w.s.finished) {
        w.done = false;
        fs_scan_start(&w.s);
        assert_false(w.done);
        test_env_run_until(m->x.t, &w.done);
        if (w.s.err != C2_E_OK)
            break;
    }
    return w.s;
}

static struct fs_scan_seat
sum(const struct fs_scan_counts *c)
{
    struct fs_scan_seat all = { 0 };
    for (unsigned k = 0; k < FSX_SEATS; k++) {
        all.expected += c->seat[k].expected;
        all.present += c->seat[k].present;
        all.missing += c->seat[k].missing;
        all.bad += c->seat[k].bad;
        all.unknown += c->seat[k].unknown;
        all.extra += c->seat[k].extra;
        all.orphans += c->seat[k].orphans;
        assert_int_equal(c->seat[k].expected, c->seat[k].present + c->seat[k].missing +
                                                  c->seat[k].bad + c->seat[k].unknown);
    }
    return all;
}

static uint64_t
in_queue(struct mount *m)
{
    struct fs_repair_status s;
    fs_repair_status(m->x.fs, &s);
    return s.objects;
}

static void
scan__of_a_healthy_volume_finds_nothing_and_reads_no_object(void **state)
{
    struct mount *m = *state;
    uint64_t gets = fsx_requests(&m->x, PROV_GET);
    struct fs_scan s = scan(m, FS_SCAN_EXISTS, 500);
    assert_int_equal(s.err, C2_E_OK);
    assert_int_equal(s.counts.objects, FILES);
    assert_int_equal(s.counts.healthy, FILES);
    assert_int_equal(s.counts.below, 0);
    assert_int_equal(s.counts.orphans, 0);
    struct fs_scan_seat all = sum(&s.counts);
    assert_int_equal(all.expected, 3 * FILES);
    assert_int_equal(all.present, 3 * FILES);
    assert_int_equal(fsx_requests(&m->x, PROV_GET), gets);
    assert_int_equal(in_queue(m), 0);
}

/* One of each kind of damage. */
static void
wound(struct mount *m)
{
    struct fsx *x = &m->x;
    prov_mem_delete(x->mem[fso_seat(&m->o[0])], m->o[0].key);
    prov_mem_delete(x->mem[fso_seat(&m->o[1])], m->o[1].key);
    fso_damage(x, &m->o[2], fso_seat(&m->o[2]));
    const struct c2_blob *other = m->o[4].share[fso_seat(&m->o[4])];
    prov_mem_store(x->mem[fso_seat(&m->o[3])], m->o[3].key, c2_blob_slice(other));
}

static void
scan__tells_missing_and_bad_shares_exactly_whatever_the_window(void **state)
{
    struct mount *m = *state;
    wound(m);
    for (unsigned window = 1; window <= 8; window++) {
        struct fs_scan s = scan(m, FS_SCAN_DATA, window);
        assert_int_equal(s.err, C2_E_OK);
        assert_int_equal(s.counts.objects, FILES);
        assert_int_equal(s.counts.verified, FILES);
        assert_int_equal(s.counts.below, 4);
        assert_int_equal(s.counts.unreadable, 0);
        struct fs_scan_seat all = sum(&s.counts);
        assert_int_equal(all.missing, 2);
        assert_int_equal(all.bad, 2);
        assert_int_equal(all.present, 3 * FILES - 4);
        assert_int_equal(s.counts.seat[fso_seat(&m->o[0])].missing, 2);
    }
    assert_int_equal(in_queue(m), 4);
}

static void
scan__of_lists_sees_what_is_missing_and_a_sample_of_all_what_is_bad(void **state)
{
    struct mount *m = *state;
    wound(m);
    struct fs_scan s = scan(m, FS_SCAN_EXISTS, 500);
    assert_int_equal(sum(&s.counts).missing, 2);
    assert_int_equal(sum(&s.counts).bad, 0);
    s = scan(m, FS_SCAN_SAMPLE, 500);
    assert_int_equal(sum(&s.counts).bad, 2);
}

static void
scan__finds_objects_that_no_record_names(void **state)
{
    struct mount *m = *state;
    struct fsx *x = &m->x;
    struct ck key = ck_object(&m->o[1].ref.oid);
    struct coord_op op = { .kind = COORD_DELETE, .key = ck_slice(&key) };
    char late[PROV_KEY_MAX], own[PROV_KEY_MAX];
    fsx_txn(x, &op, 1);
    struct ds_oid last = { .sid = m->o[5].ref.oid.sid, .seq = UINT64_MAX };
    ds_object_key(x->ds, DS_KIND_OBJECT, last, late);
    prov_mem_store(x->mem[2], late, c2_slice_str("x"));
    struct ds_oid mine = { .sid = x->session, .seq = 5 };
    ds_object_key(x->ds, DS_KIND_OBJECT, mine, own);
    prov_mem_store(x->mem[2], own, c2_slice_str("x")); /* on its way */
    for (unsigned window = 1; window <= 7; window += 3) {
        struct fs_scan s = scan(m, FS_SCAN_EXISTS, window);
        assert_int_equal(s.err, C2_E_OK);
        assert_int_equal(s.counts.objects, FILES - 1);
        assert_int_equal(s.counts.orphans, 2);
        assert_int_equal(sum(&s.counts).orphans, 3 + 1);
        assert_int_equal(s.counts.seat[2].orphans, 1 + (m->o[1].placed >> 2 & 1));
    }
    struct ck condemned = ck_condemned(&m->o[1].ref.oid);
    op = (struct coord_op){ .kind = COORD_PUT, .key = ck_slice(&condemned) };
    op.value = c2_slice("x", 1);
    fsx_txn(x, &op, 1); /* the collection knows it */
    assert_int_equal(scan(m, FS_SCAN_EXISTS, 500).counts.orphans, 1);
}

static void
scan__counts_shares_beyond_the_goal_as_extra(void **state)
{
    struct mount *m = *state;
    unsigned spare = fso_spare(&m->o[0]);
    prov_mem_store(m->x.mem[spare], m->o[0].key, c2_slice_str("late"));
    struct fs_scan s = scan(m, FS_SCAN_DATA, 500);
    assert_int_equal(s.counts.seat[spare].extra, 1);
    assert_int_equal(s.counts.healthy, FILES);
    assert_int_equal(s.counts.orphans, 0);
}

/* A list is a hint: what it denies is asked for, what it invents is not there. */
static void
scan__does_not_believe_lists(void **state)
{
    struct mount *m = *state;
    unsigned liar = fso_seat(&m->o[0]);
    static const char *const lies[] = { "list.empty", "list.absent", "list.forge" };
    for (size_t k = 0; k < C2_ARRAY_LEN(lies); k++) {
        fsx_fault(&m->x, liar, lies[k]);
        struct fs_scan s = scan(m, FS_SCAN_EXISTS, 500);
        assert_int_equal(s.err, C2_E_OK);
        assert_int_equal(s.counts.healthy, FILES);
        assert_int_equal(sum(&s.counts).missing, 0);
        assert_true(prov_fault_count(m->x.seat[liar]) > 0);
    }
    assert_int_equal(in_queue(m), 0);
}

/* A seat lists more than all others together, and what it has lost it lists as well. */
static void
scan__comes_to_an_end_whatever_one_seat_lists(void **state)
{
    struct mount *m = *state;
    struct fsx *x = &m->x;
    unsigned liar = fso_seat(&m->o[0]);
    char key[PROV_KEY_MAX];
    wound(m);
    for (unsigned k = 0; k < 3000; k++) {
        ds_object_key(x->ds, DS_KIND_OBJECT, (struct ds_oid){ .sid = 0, .seq = 1 + k }, key);
        prov_mem_store(x->mem[liar], key, c2_slice_str("?"));
    }
    uint64_t lists = fsx_requests(x, PROV_LIST);
    unsigned windows = 0;
    struct scan w = { .s = { .fs = x->fs, .window = 500, .parallel = 4, .orphans_max = 20 } };
    w.s.done = scan_done;
    for (; !w.s.finished; windows++) {
        w.done = false;
        fs_scan_start(&w.s);
        test_env_run_until(m->x.t, &w.done);
        assert_int_equal(w.s.err, C2_E_OK);
    }
    assert_int_equal(windows, 2);
    assert_true(fsx_requests(x, PROV_LIST) - lists <= 1000 * FSX_SEATS + 20);
    assert_int_equal(w.s.counts.objects, FILES);
    assert_int_equal(sum(&w.s.counts).missing, 2);
    assert_int_equal(sum(&w.s.counts).unknown, 0);
}

struct log_scan {
    struct fs_scan_log s;
    bool done;
};

static void
log_scanned(struct fs_scan_log *s)
{
    C2_CONTAINER_OF(s, struct log_scan, s)->done = true;
}

static void
scan_log__comes_to_an_end_whatever_one_seat_lists(void **state)
{
    struct mount *m = *state;
    struct fsx *x = &m->x;
    char key[PROV_KEY_MAX];
    for (unsigned k = 0; k < 2500; k++) {
        ds_object_key(x->ds, DS_KIND_JOURNAL, (struct ds_oid){ .sid = 1, .seq = k }, key);
        prov_mem_store(x->mem[0], key, c2_slice_str("?"));
    }
    uint64_t lists = fsx_requests(x, PROV_LIST);
    struct log_scan w = { .s = { .fs = x->fs, .kind = DS_KIND_JOURNAL, .done = log_scanned } };
    fs_scan_log_start(&w.s);
    test_env_run_until(m->x.t, &w.done);
    assert_int_equal(w.s.err, C2_E_OK);
    assert_true(fsx_requests(x, PROV_LIST) - lists <= 1000 * FSX_SEATS + 20);
}

static void
scan__never_takes_unreachable_for_absent(void **state)
{
    struct mount *m = *state;
    unsigned away = fso_seat(&m->o[0]);
    fsx_fault(&m->x, away, "down");
    for (enum fs_scan_mode mode = FS_SCAN_EXISTS; mode <= FS_SCAN_DATA; mode++) {
        struct fs_scan s = scan(m, mode, 4);
        assert_int_equal(s.err, C2_E_OK);
        assert_int_equal(sum(&s.counts).missing, 0);
        assert_int_equal(s.counts.seat[away].unknown, s.counts.seat[away].expected);
        assert_int_equal(s.counts.unreadable, 0);
        assert_true(s.counts.healthy < FILES);
    }
    assert_int_equal(in_queue(m), 0);
    fsx_fault(&m->x, (away + 1) % FSX_SEATS, "down");
    struct fs_scan s = scan(m, FS_SCAN_EXISTS, 4);
    assert_int_equal(s.err, C2_E_QUORUM);
    assert_int_equal(s.counts.objects, 0);
    fsx_fault(&m->x, (away + 1) % FSX_SEATS, "");
    fsx_fault(&m->x, away, "");
}

static void
scan__does_not_count_what_is_collected_meanwhile(void **state)
{
    struct mount *m = *state;
    struct ck key = ck_object(&m->o[0].ref.oid);
    struct coord_op op = { .kind = COORD_DELETE, .key = ck_slice(&key) };
    for (unsigned k = 0; k < FSX_SEATS; k++)
        fsx_fault(&m->x, k, "get.delay:200ms");
    prov_mem_delete(m->x.mem[fso_seat(&m->o[0])], m->o[0].key);
    struct scan w = { .s = { .fs = m->x.fs, .window = 500, .parallel = 4, .done = scan_done } };
    fs_scan_start(&w.s);
    test_env_run_for(m->x.t, 100 * C2_NS_PER_MS);
    fsx_txn(&m->x, &op, 1); /* while its shares are looked at */
    test_env_run_until(m->x.t, &w.done);
    assert_int_equal(w.s.err, C2_E_OK);
    assert_int_equal(w.s.counts.objects, FILES - 1);
    assert_int_equal(w.s.counts.below, 0);
    assert_int_equal(in_queue(m), 0);
    assert_true(c2_mark_count("scan: an object changed while it was looked at") > 0);
}

static void
scan__that_is_canceled_counts_nothing(void **state)
{
    struct mount *m = *state;
    struct scan w = { .s = { .fs = m->x.fs, .mode = FS_SCAN_DATA, .window = 500, .parallel = 1 } };
    w.s.done = scan_done;
    uint64_t gets = fsx_requests(&m->x, PROV_GET);
    fs_scan_start(&w.s);
    while (fsx_requests(&m->x, PROV_GET) == gets)
        assert_true(test_env_step(m->x.t));
    fs_scan_cancel(&w.s);
    test_env_run_until(m->x.t, &w.done);
    assert_int_equal(w.s.err, C2_E_CANCELED);
    assert_int_equal(w.s.counts.objects, 0);
    assert_false(w.s.after.set);
    assert_true(fsx_requests(&m->x, PROV_GET) - gets <= 3);
}

int
main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(scan__of_a_healthy_volume_finds_nothing_and_reads_no_object),
        T(scan__tells_missing_and_bad_shares_exactly_whatever_the_window),
        T(scan__of_lists_sees_what_is_missing_and_a_sample_of_all_what_is_bad),
        T(scan__finds_objects_that_no_record_names),
        T(scan__counts_shares_beyond_the_goal_as_extra),
        T(scan__does_not_believe_lists),
        T(scan__comes_to_an_end_whatever_one_seat_lists),
        T(scan_log__comes_to_an_end_whatever_one_seat_lists),
        T(scan__never_takes_unreachable_for_absent),
        T(scan__does_not_count_what_is_collected_meanwhile),
        T(scan__that_is_canceled_counts_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
