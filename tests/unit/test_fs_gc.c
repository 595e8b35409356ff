/* SPDX-License-Identifier: MIT */
/*
 * The collector: what nothing uses leaves the clouds, what anything may still need stays, whatever
 * fails or ends in between.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "backends/mem.h"
#include "base/alloc.h"
#include "base/mark.h"
#include "fs/gc_record.h"
#include "fs/txg.h"
#include "tests/lib/fs_check.h"
#include "tests/lib/fs_fixture.h"

#define HOUR_NS (3600 * C2_NS_PER_S)
#define NOW     0 /* retention */

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

static void
clouds(struct fsx *x, const char *fault)
{
    for (unsigned s = 0; s < FSX_SEATS; s++)
        fsx_fault(x, s, fault);
}

static struct fsx_check
check(struct fsx *x)
{
    struct fsx_check c;
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_check(x, &c);
    return c;
}

static struct fs_gc_report
collect(struct fsx *x, uint64_t retention_ns)
{
    struct fs_gc_report r;
    assert_int_equal(fsx_gc(x, false, retention_ns, &r), C2_E_OK);
    return r;
}

/* A file of its own object, and gone again. */
static void
waste(struct fsx *x, const char *name)
{
    uint8_t *data = fsx_bytes(7, 5000);
    fsx_put(x, FS_ROOT_INO, name, data, 5000);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, name), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    c2_free(data);
}

static size_t
stored(struct fsx *x)
{
    size_t n = 0;
    const char *key;
    for (unsigned s = 0; s < FSX_SEATS; s++)
        for (size_t k = 0; (key = prov_mem_key(x->mem[s], k)) != NULL; k++)
            n += strstr(key, "/o/") != NULL;
    return n;
}

static void
put_kept(struct fsx *x)
{
    fsx_put(x, FS_ROOT_INO, "kept", "what stays", 10);
    assert_int_equal(fsx_sync(x), C2_E_OK);
}

static void
expect_kept(struct fsx *x)
{
    fsx_expect(x, FS_ROOT_INO, "kept", "what stays", 10);
}

struct call {
    struct coord_req r;
    bool done;
};

static void
called(struct coord_req *r)
{
    C2_CONTAINER_OF(r, struct call, r)->done = true;
}

static void
call(struct fsx *x, struct call *c)
{
    c->r.deadline_ns = C2_NEVER;
    c->r.done = called;
    coord_submit(x->coord, &c->r);
    test_env_run_until(x->t, &c->done);
    assert_int_equal(c->r.err, C2_E_OK);
}

/* ---- rounds --------------------------------------------------------------------------------- */

static void
round__deletes_what_no_file_uses_and_nothing_else(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    put_kept(x);
    waste(x, "a");
    waste(x, "b");
    assert_int_equal(check(x).dead, 2);
    struct fs_gc_report r = collect(x, NOW);
    assert_int_equal(r.records, 3);
    assert_int_equal(r.free_objects, 2);
    assert_int_equal(r.deleted_objects, 2);
    assert_true(r.deleted_bytes > 10000);
    assert_int_equal(r.young_objects, 0);
    struct fsx_check c = check(x);
    assert_int_equal(c.dead, 0);
    assert_int_equal(c.condemned, 0);
    assert_int_equal(c.unrecorded, 0);
    assert_int_equal(c.objects, 1);
    assert_int_equal(stored(x), 3);
    fsx_drop_cache(x);
    expect_kept(x);
    fsx_stop(x);
}

static void
round__counts_what_each_provider_gets_back(void **state)
{
    struct fsx *x = *state;
    struct fs_gc_report r;
    uint64_t objects = 0, bytes = 0;
    fsx_mount(x);
    waste(x, "a");
    assert_int_equal(fsx_gc(x, true, NOW, &r), C2_E_OK);
    for (unsigned s = 0; s < FSX_SEATS; s++) {
        objects += r.seat_objects[s];
        bytes += r.seat_bytes[s];
    }
    assert_int_equal(objects, 3);
    assert_true(bytes <= r.free_bytes && bytes + 3 > r.free_bytes);
    fsx_stop(x);
}

static void
round__keeps_what_is_not_dead_for_the_retention(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    waste(x, "a");
    assert_int_equal(collect(x, FS_GC_AS_CONFIGURED).young_objects, 1);
    test_env_run_for(x->t, 23 * HOUR_NS);
    assert_int_equal(collect(x, FS_GC_AS_CONFIGURED).young_objects, 1);
    test_env_wall_jump(x->t, -(int64_t)(10 * HOUR_NS));
    test_env_run_for(x->t, 2 * HOUR_NS);
    assert_int_equal(collect(x, FS_GC_AS_CONFIGURED).young_objects, 1); /* 15 h, for this clock */
    fsx_drop_cache(x); /* the clock is in the store */
    test_env_run_for(x->t, 10 * HOUR_NS);
    struct fs_gc_report r = collect(x, FS_GC_AS_CONFIGURED);
    assert_int_equal(r.young_objects, 0);
    assert_int_equal(r.deleted_objects, 1);
    waste(x, "b");
    r = collect(x, FS_GC_AS_CONFIGURED);
    assert_int_equal(r.young_objects, 1);
    assert_int_equal(r.deleted_objects, 0);
    fsx_stop(x);
}

static void
round__in_the_background_needs_nobody(void **state)
{
    struct fsx *x = *state;
    x->config.gc = true;
    fsx_mount(x);
    put_kept(x);
    waste(x, "a");
    test_env_run_for(x->t, 2 * HOUR_NS);
    assert_int_equal(fsx_status(x).gc.waiting_objects, 1);
    test_env_run_for(x->t, 24 * HOUR_NS);
    struct fs_gc_status s = fsx_status(x).gc;
    assert_true(s.on && s.rounds >= 25 && s.last_wall_ns != 0);
    assert_int_equal(s.last_error, C2_E_OK);
    assert_int_equal(s.deleted_objects, 1);
    assert_int_equal(s.waiting_objects, 0);
    assert_int_equal(check(x).dead, 0);
    expect_kept(x);
    fsx_stop(x);
}

static void
dry_run__changes_nothing(void **state)
{
    struct fsx *x = *state;
    struct fs_gc_report r;
    fsx_mount(x);
    waste(x, "a");
    uint64_t txns = x->coord->txns, puts = fsx_requests(x, PROV_PUT);
    size_t objects = stored(x);
    assert_int_equal(fsx_gc(x, true, NOW, &r), C2_E_OK);
    assert_int_equal(r.free_objects, 1);
    assert_int_equal(r.deleted_objects, 0);
    assert_int_equal(x->coord->txns, txns);
    assert_int_equal(fsx_requests(x, PROV_PUT), puts);
    assert_int_equal(fsx_requests(x, PROV_DELETE_MANY) + fsx_requests(x, PROV_DELETE), 0);
    assert_int_equal(stored(x), objects);
    fsx_stop(x);
}

/* Records of objects that were never used, and are at no provider. */
static void
record_dead(struct fsx *x, unsigned first, unsigned n)
{
    struct coord_op *ops = c2_calloc(n, sizeof(*ops));
    struct ck *keys = c2_calloc(n, sizeof(*keys));
    const struct fs_object_record rec = { .placed = 7, .stored_bytes = 30, .has_root = true };
    struct c2_buf value = { 0 };
    fs_object_rec_encode(&rec, &value);
    for (unsigned k = 0; k < n; k++) {
        keys[k] = ck_object(&(struct ds_oid){ .sid = 1, .seq = first + k });
        ops[k] = (struct coord_op){ .kind = COORD_PUT,
                                    .key = ck_slice(&keys[k]),
                                    .value = c2_buf_slice(&value) };
    }
    struct call t = { .r = { .verb = COORD_TXN, .ops = ops, .nops = n } };
    call(x, &t);
    coord_req_done(&t.r);
    c2_buf_done(&value);
    c2_free(ops);
    c2_free(keys);
}

static void
round__of_many_objects_goes_page_by_page(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    put_kept(x);
    record_dead(x, 0, 1300);
    record_dead(x, 1300, 1300);
    struct fs_gc_report r = collect(x, NOW);
    assert_int_equal(r.records, 2601);
    assert_int_equal(r.deleted_objects, 2600);
    assert_int_equal(r.deleted_bytes, 2600 * 30);
    assert_int_equal(check(x).dead, 0);
    fsx_drop_cache(x);
    expect_kept(x);
    fsx_stop(x);
}

/* ---- seats ---------------------------------------------------------------------------------- */

/* A provider that was removed confirms nothing any more; one that is offline will. */
static void
delete__does_not_wait_for_a_seat_that_is_gone(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    waste(x, "a");
    ds_client_set_seat(x->ds, 1, x->seat[1], DS_USE_OFF);
    struct fs_gc_report r = collect(x, NOW);
    assert_int_equal(r.deleted_objects, 0);
    assert_int_equal(r.held_up_objects, 1);
    ds_client_set_seat(x->ds, 1, x->seat[1], DS_USE_GONE);
    r = collect(x, NOW);
    assert_int_equal(r.deleted_objects, 1);
    assert_int_equal(r.held_up_objects, 0);
    assert_int_equal(check(x).condemned, 0);
    fsx_stop(x);
}

static void
delete__waits_for_every_seat(void **state)
{
    struct fsx *x = *state;
    static const char *const faults[] = { "delete_many.error", "down", "delete_many.throttle" };
    fsx_mount(x);
    for (unsigned f = 0; f < C2_ARRAY_LEN(faults); f++) {
        waste(x, "a");
        fsx_fault(x, f, faults[f]);
        struct fs_gc_report r = collect(x, NOW);
        assert_int_equal(r.deleted_objects, 0);
        assert_int_equal(r.held_up_objects, 1);
        assert_int_equal(check(x).condemned, 1);
        fsx_fault(x, f, "");
        test_env_run_for(x->t, 600 * C2_NS_PER_S); /* the breaker closes */
        r = collect(x, NOW);
        assert_int_equal(r.deleted_objects, 1);
        assert_int_equal(check(x).condemned, 0);
        assert_int_equal(stored(x), 0);
    }
    assert_true(c2_mark_count("gc: a seat has not confirmed") >= 3);
    fsx_stop(x);
}

static void
delete__takes_absent_shares_for_deleted(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    waste(x, "a");
    prov_mem_clear(x->mem[0]);
    assert_int_equal(collect(x, NOW).deleted_objects, 1);
    fsx_stop(x);
}

/* ---- what may still be needed ---------------------------------------------------------------- */

static void
clone(struct fsx *x, const char *from, struct fs_handle *to)
{
    struct fs_handle *h = fsx_open(x, fsx_ino(x, FS_ROOT_INO, from), O_RDONLY);
    struct fs_req r = { .op = FS_COPY_RANGE, .handle = h, .handle2 = to, .len = 5000 };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    assert_int_equal(r.count, 5000);
    fsx_release(x, h);
}

/* The store's last name of the object is gone, an open file has another one. */
static struct fs_handle *
keep_by_open_file(struct fsx *x, const uint8_t *data)
{
    struct fs_handle *h;
    uint64_t ino;
    fsx_put(x, FS_ROOT_INO, "a", data, 5000);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_drop_cache(x);
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "b", O_WRONLY, &h, &ino), C2_E_OK);
    clone(x, "a", h);
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "a"), C2_E_OK);
    test_env_run_for(x->t, 10 * C2_NS_PER_S);
    return h;
}

static void
condemn__leaves_alone_what_an_open_file_names(void **state)
{
    struct fsx *x = *state;
    uint8_t *data = fsx_bytes(5, 5000);
    fsx_mount(x);
    struct fs_handle *h = keep_by_open_file(x, data);
    struct fs_gc_report r = collect(x, NOW);
    assert_int_equal(r.young_objects, 1);
    assert_int_equal(r.deleted_objects, 0);
    assert_int_equal(c2_mark_count("gc: a dead object that memory names"), 1);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    assert_int_equal(check(x).objects, 1);
    fsx_drop_cache(x);
    fsx_expect(x, FS_ROOT_INO, "b", data, 5000);
    c2_free(data);
    fsx_stop(x);
}

/* The leaves of a manifest name what was there when they were written. */
static void
condemn__is_not_stopped_by_the_leaves_of_a_file_in_memory(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *h;
    uint64_t ino;
    fsx_mount(x);
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "a", O_RDWR, &h, &ino), C2_E_OK);
    for (unsigned k = 0; k < 40; k++) {
        assert_int_equal(fsx_write(x, h, (uint64_t)k * 10, "piece", 5), C2_E_OK);
        assert_int_equal(fsx_sync(x), C2_E_OK);
    }
    assert_true(c2_mark_count("txg: manifest written") > 0);
    collect(x, NOW);
    assert_int_equal(fsx_write(x, h, 30, "other", 5), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_int_equal(collect(x, NOW).deleted_objects, 1);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    check(x);
    fsx_drop_cache(x);
    struct c2_buf got = { 0 };
    h = fsx_open(x, ino, O_RDONLY);
    assert_int_equal(fsx_read(x, h, 0, 1000, &got), C2_E_OK);
    assert_int_equal(got.len, 395);
    for (unsigned k = 0; k < 40; k++)
        assert_memory_equal(got.data + (size_t)k * 10, k == 3 ? "other" : "piece", 5);
    c2_buf_done(&got);
    fsx_close(x, h);
    fsx_stop(x);
}

static void
set_flag(struct fs_gc_run *r)
{
    *(bool *)r->priv = true;
}

static void
sync_ended(struct fs_sync *s)
{
    *(bool *)s->priv = true;
}

/* The journal has b with the bytes of a; memory has it with others already, and the clouds cannot
 * take them. A crash now brings b with the bytes of a back. */
static void
condemn__leaves_alone_what_the_journal_names(void **state)
{
    struct fsx *x = *state;
    uint8_t *data = fsx_bytes(5, 5000);
    bool over = false, synced = false;
    struct fs_gc_run run = { .retention_ns = NOW, .done = set_flag, .priv = &over };
    struct fs_sync sync = { .done = sync_ended, .priv = &synced };
    fsx_mount(x);
    struct fs_handle *h = keep_by_open_file(x, data);
    clouds(x, "put.down");
    assert_int_equal(fsx_fsync(x, h), C2_E_OK);
    assert_int_equal(fsx_write(x, h, 0, "other bytes", 11), C2_E_OK);
    struct fs_req t = { .op = FS_SETATTR, .handle = h, .valid = FS_SET_SIZE, .attr.size = 11 };
    t.ino = fsx_ino(x, FS_ROOT_INO, "b");
    assert_int_equal(fsx_run(x, &t), C2_E_OK);
    fs_sync_start(x->fs, &sync);
    fs_gc_run_start(x->fs, &run);
    test_env_run_for(x->t, C2_NS_PER_S);
    assert_false(over);
    assert_int_equal(fsx_requests(x, PROV_DELETE_MANY), 0);
    fs_gc_run_cancel(x->fs, &run);
    fs_sync_cancel(x->fs, &sync);
    fsx_release(x, h);
    fsx_crash(x);
    assert_true(over && synced);
    assert_int_equal(run.err, C2_E_CANCELED);
    clouds(x, "");
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "b", data, 5000);
    assert_int_equal(check(x).objects, 1);
    collect(x, NOW);
    fsx_drop_cache(x);
    fsx_expect(x, FS_ROOT_INO, "b", data, 5000);
    c2_free(data);
    fsx_stop(x);
}

/* The other device may come back and replay what it has, as long as nobody has changed anything. */
static void
condemn__waits_until_no_other_device_can_replay(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    waste(x, "a");
    fsx_stop(x);
    x->device_id[0] ^= 1;
    fsx_mount(x);
    assert_int_equal(collect(x, NOW).young_objects, 1);
    put_kept(x);
    assert_int_equal(collect(x, NOW).deleted_objects, 1);
    fsx_stop(x);
}

/* ---- the fence ------------------------------------------------------------------------------- */

/* Another mount has the lock now; the session of this one has not ended yet. */
static void
steal_lock(struct fsx *x)
{
    struct ck lock = ck_session("mount");
    struct coord_op op = { .kind = COORD_PUT, .key = ck_slice(&lock) };
    struct call t = { .r = { .verb = COORD_TXN, .ops = &op, .nops = 1 } };
    op.value = c2_slice("y", 1);
    call(x, &t);
    coord_req_done(&t.r);
}

static void
round__of_a_mount_that_lost_its_lock_changes_nothing(void **state)
{
    struct fsx *x = *state;
    struct fs_gc_report r;
    fsx_mount(x);
    put_kept(x);
    waste(x, "a");
    size_t before = stored(x);
    steal_lock(x);
    assert_int_not_equal(fsx_gc(x, false, NOW, &r), C2_E_OK);
    assert_int_equal(r.deleted_objects, 0);
    assert_int_equal(fsx_requests(x, PROV_DELETE_MANY), 0);
    assert_int_equal(stored(x), before);
    struct ck prefix = ck_letter('K'); /* nor is anything condemned */
    struct c2_slice key = ck_slice(&prefix);
    struct call l = { .r = { .verb = COORD_RANGE, .keys = &key, .nkeys = 1 } };
    call(x, &l);
    assert_int_equal(l.r.nentries, 0);
    coord_req_done(&l.r);
    fsx_crash(x);
}

/* ---- the condition of commits ---------------------------------------------------------------- */

/* What a collector that knows nothing of this mount would do to the only object. */
static void
condemn_behind_its_back(struct fsx *x)
{
    struct ck prefix = ck_letter('O');
    struct c2_slice key = ck_slice(&prefix);
    struct call l = { .r = { .verb = COORD_RANGE, .keys = &key, .nkeys = 1 } };
    struct c2_buf value = { 0 };
    call(x, &l);
    assert_int_equal(l.r.nentries, 1);
    struct ds_oid oid;
    assert_int_equal(fs_object_key_decode(l.r.entries[0].key, &oid), C2_E_OK);
    struct ck object = ck_object(&oid), live = ck_live(&oid), condemned = ck_condemned(&oid);
    gc_sentence_encode(1, l.r.entries[0].value, &value);
    struct coord_op ops[] = {
        { .kind = COORD_DELETE, .key = ck_slice(&object) },
        { .kind = COORD_DELETE, .key = ck_slice(&live) },
        { .kind = COORD_PUT, .key = ck_slice(&condemned), .value = c2_buf_slice(&value) },
    };
    struct call t = { .r = { .verb = COORD_TXN, .ops = ops, .nops = 3 } };
    call(x, &t);
    coord_req_done(&l.r);
    coord_req_done(&t.r);
    c2_buf_done(&value);
}

static void
commit__that_names_a_condemned_object_is_refused(void **state)
{
    struct fsx *x = *state;
    uint8_t *data = fsx_bytes(5, 5000);
    fsx_mount(x);
    struct fs_handle *h = keep_by_open_file(x, data);
    condemn_behind_its_back(x);
    assert_int_equal(fsx_flush(x, h), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_FENCED);
    assert_int_equal(c2_mark_count("anchor: a group that names a condemned object"), 1);
    fsx_release(x, h);
    fsx_stop(x);
    c2_free(data);
}

static void
commit__of_clones_of_very_many_objects_fits(void **state)
{
    struct fsx *x = *state;
    struct fs_handle *from, *to;
    uint64_t ino;
    fsx_mount(x);
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "a", O_RDWR, &from, &ino), C2_E_OK);
    for (unsigned k = 0; k < 300; k++) {
        assert_int_equal(fsx_write(x, from, (uint64_t)k * 10, "piece", 5), C2_E_OK);
        assert_int_equal(fsx_sync(x), C2_E_OK);
    }
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "b", O_WRONLY, &to, &ino), C2_E_OK);
    struct fs_req r = { .op = FS_COPY_RANGE, .handle = from, .handle2 = to, .len = 3000 };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    assert_int_equal(fsx_close(x, to), C2_E_OK);
    uint64_t txns = x->coord->txns;
    check(x);
    assert_true(x->coord->txns - txns >= 2); /* 254 objects in each */
    fsx_close(x, from);
    assert_int_equal(fsx_unlink(x, FS_ROOT_INO, "a"), C2_E_OK);
    check(x);
    collect(x, NOW);
    assert_true(check(x).objects >= 300);
    fsx_stop(x);
}

/* ---- orphans -------------------------------------------------------------------------------- */

/* An upload arrives, its commit does not: the next mount uploads it again under another name. */
static void
leave_orphan(struct fsx *x)
{
    uint64_t puts = fsx_requests(x, PROV_PUT);
    bool synced = false;
    struct fs_sync sync = { .done = sync_ended, .priv = &synced };
    fsx_put(x, FS_ROOT_INO, "a", "orphan", 6);
    uint64_t ino = fsx_ino(x, FS_ROOT_INO, "a");
    struct fs_handle *h = fsx_open(x, ino, O_RDWR);
    assert_int_equal(fsx_fsync(x, h), C2_E_OK);
    fsx_release(x, h);
    fs_sync_start(x->fs, &sync);
    while (fsx_requests(x, PROV_PUT) < puts + 3)
        assert_true(test_env_step(x->t));
    fs_sync_cancel(x->fs, &sync);
    fsx_crash(x);
    assert_true(synced);
    fsx_mount(x);
    assert_true(check(x).unrecorded >= 3);
}

static void
orphans__go_a_day_after_their_session_ended(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    put_kept(x);
    collect(x, NOW);
    test_env_run_for(x->t, 25 * HOUR_NS);
    leave_orphan(x);
    assert_int_equal(collect(x, NOW).orphans, 0); /* its session ended just now */
    test_env_run_for(x->t, 23 * HOUR_NS);
    assert_int_equal(collect(x, NOW).orphans, 0);
    test_env_run_for(x->t, 2 * HOUR_NS);
    x->fs->foreign = true; /* another device committed last: its journal may name it */
    assert_int_equal(collect(x, NOW).orphans, 0);
    x->fs->foreign = false;
    struct fs_gc_report r;
    assert_int_equal(fsx_gc(x, true, NOW, &r), C2_E_OK);
    assert_int_equal(r.orphans, 1);
    assert_int_equal(r.orphans_deleted, 0);
    assert_true(check(x).unrecorded >= 3);
    r = collect(x, NOW);
    assert_int_equal(r.orphans_deleted, 1);
    assert_int_equal(check(x).unrecorded, 0);
    fsx_drop_cache(x);
    expect_kept(x);
    fsx_expect(x, FS_ROOT_INO, "a", "orphan", 6);
    fsx_stop(x);
}

static void
orphans__are_not_looked_for_when_a_list_fails(void **state)
{
    struct fsx *x = *state;
    struct fs_gc_report r;
    fsx_mount(x);
    leave_orphan(x);
    collect(x, NOW);
    test_env_run_for(x->t, 25 * HOUR_NS);
    fsx_fault(x, 0, "list.error");
    fsx_fault(x, 1, "list.error");
    assert_int_equal(fsx_gc(x, false, NOW, &r), C2_E_QUORUM);
    assert_int_equal(r.orphans, 0);
    assert_true(check(x).unrecorded >= 3);
    clouds(x, "");
    test_env_run_for(x->t, 600 * C2_NS_PER_S);
    assert_int_equal(collect(x, NOW).orphans_deleted, 1);
    fsx_stop(x);
}

static void
orphans__names_that_a_seat_invents_harm_nothing(void **state)
{
    struct fsx *x = *state;
    char key[PROV_KEY_MAX];
    fsx_mount(x);
    put_kept(x);
    collect(x, NOW);
    test_env_run_for(x->t, 25 * HOUR_NS);
    for (uint64_t seq = 0; seq < 1500; seq++) {
        ds_object_key(x->ds, DS_KIND_OBJECT, (struct ds_oid){ .sid = 1, .seq = seq }, key);
        prov_mem_store(x->mem[2], key, c2_slice("x", 1));
    }
    assert_int_equal(collect(x, NOW).orphans_deleted, 1500);
    assert_int_equal(check(x).unrecorded, 0);
    fsx_drop_cache(x);
    expect_kept(x);
    fsx_stop(x);
}

/* ---- crashes -------------------------------------------------------------------------------- */

static void
round__may_end_anywhere_and_be_repeated(void **state)
{
    struct fsx *x = *state;
    bool whole = false;
    fsx_mount(x);
    put_kept(x);
    for (unsigned steps = 1; !whole; steps++) {
        bool over = false;
        struct fs_gc_run run = { .retention_ns = NOW, .done = set_flag, .priv = &over };
        waste(x, "a");
        fs_gc_run_start(x->fs, &run);
        for (unsigned k = 0; k < steps && !over; k++)
            test_env_step(x->t);
        whole = over;
        fsx_crash(x);
        assert_true(over);
        fsx_mount(x);
        check(x);
        collect(x, NOW);
        struct fsx_check c = check(x);
        assert_int_equal(c.dead + c.condemned + c.unrecorded, 0);
        expect_kept(x);
    }
    fsx_stop(x);
}

static void
round__ends_with_the_mount(void **state)
{
    struct fsx *x = *state;
    unsigned canceled = 0;
    for (unsigned steps = 1; steps < 60; steps += 7) {
        bool over = false, over2 = false;
        struct fs_gc_run run = { .retention_ns = NOW, .done = set_flag, .priv = &over };
        struct fs_gc_run run2 = { .retention_ns = NOW, .done = set_flag, .priv = &over2 };
        fsx_mount(x);
        waste(x, "a");
        fs_gc_run_start(x->fs, &run);
        fs_gc_run_start(x->fs, &run2);
        for (unsigned k = 0; k < steps; k++)
            test_env_step(x->t);
        fsx_stop(x);
        assert_true(over && over2);
        assert_true(run.err == C2_E_OK || run.err == C2_E_CANCELED);
        canceled += run2.err == C2_E_CANCELED;
    }
    assert_true(canceled > 3);
}

/* ---- shipping -------------------------------------------------------------------------------- */

/* The clouds must know of the sentence before they lose the object: also when the mount that has
 * passed it is gone. */
static void
delete__waits_until_the_sentence_is_shipped(void **state)
{
    struct fsx *x = *state;
    bool over = false;
    struct fs_gc_run run = { .retention_ns = NOW, .done = set_flag, .priv = &over };
    x->ship = true;
    x->config.log_interval_ns = 3600 * C2_NS_PER_S;
    fsx_mount(x);
    put_kept(x);
    waste(x, "a");
    fs_gc_run_start(x->fs, &run);
    while (c2_mark_count("gc: condemned") == 0)
        assert_true(test_env_step(x->t));
    fsx_crash(x);
    clouds(x, "put.down");
    fsx_mount(x);
    over = false;
    fs_gc_run_start(x->fs, &run);
    test_env_run_for(x->t, 60 * C2_NS_PER_S);
    assert_false(over);
    assert_int_equal(fsx_requests(x, PROV_DELETE_MANY), 0);
    clouds(x, "");
    test_env_run_until(x->t, &over);
    assert_int_equal(run.err, C2_E_OK);
    assert_int_equal(run.report.deleted_objects, 1);
    fsx_stop(x);
}

/* ---- records -------------------------------------------------------------------------------- */

static void
clock__round_trips_and_refuses_what_is_not_one(void **state)
{
    struct gc_clock c = { 0 }, back;
    struct c2_buf out = { 0 }, again = { 0 };
    (void)state;
    for (uint64_t h = 0; h < 100; h++)
        gc_clock_tick(&c, h * HOUR_NS, 10 * h, h / 5, 24 * HOUR_NS, 24 * HOUR_NS);
    assert_true(c.nsamples <= 18 && c.nsessions <= 8);
    gc_clock_encode(&c, &out);
    assert_int_equal(gc_clock_decode(c2_buf_slice(&out), &back), C2_E_OK);
    gc_clock_encode(&back, &again);
    assert_true(c2_slice_equal(c2_buf_slice(&out), c2_buf_slice(&again)));
    c2_buf_done(&again);
    for (size_t len = 0; len < out.len; len++)
        assert_int_equal(gc_clock_decode(c2_slice(out.data, len), &back), C2_E_PARSE);
    out.data[0] = 9;
    assert_int_equal(gc_clock_decode(c2_buf_slice(&out), &back), C2_E_VERSION);
    c2_buf_done(&out);
}

static void
clock__tells_what_was_so_for_how_long(void **state)
{
    struct gc_clock c = { 0 };
    (void)state;
    for (uint64_t h = 0; h < 100; h++)
        gc_clock_tick(&c, h * HOUR_NS, 10 * h, h, 24 * HOUR_NS, 24 * HOUR_NS);
    uint64_t v = gc_clock_version_before(&c, 99 * HOUR_NS, 24 * HOUR_NS, 990);
    assert_true(v <= 750 && v >= 720); /* noted every 90 minutes at least */
    assert_int_equal(gc_clock_session_before(&c, 99 * HOUR_NS, 24 * HOUR_NS), 75);
    assert_int_equal(gc_clock_version_before(&c, 99 * HOUR_NS, 0, 990), 990);
    assert_int_equal(gc_clock_version_before(&c, 99 * HOUR_NS, 48 * HOUR_NS, 990), 0);
    /* A clock set back makes nothing older. */
    gc_clock_tick(&c, 80 * HOUR_NS, 1000, 100, 24 * HOUR_NS, 24 * HOUR_NS);
    assert_int_equal(gc_clock_version_before(&c, 98 * HOUR_NS, 24 * HOUR_NS, 1000), v);
    assert_int_equal(gc_clock_version_before(&c, 104 * HOUR_NS, 24 * HOUR_NS, 1000), 800);
}

static void
clock__with_a_mount_a_minute_still_sees_sessions_age(void **state)
{
    struct gc_clock c = { 0 };
    uint64_t session = 0;
    (void)state;
    for (uint64_t m = 0; m < 3000; m++)
        gc_clock_tick(&c, m * 60 * C2_NS_PER_S, m, ++session, 24 * HOUR_NS, 24 * HOUR_NS);
    assert_true(gc_clock_session_before(&c, 3000 * 60 * C2_NS_PER_S, 24 * HOUR_NS) > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(round__deletes_what_no_file_uses_and_nothing_else),
        T(round__counts_what_each_provider_gets_back),
        T(round__keeps_what_is_not_dead_for_the_retention),
        T(round__in_the_background_needs_nobody),
        T(dry_run__changes_nothing),
        T(round__of_many_objects_goes_page_by_page),
        T(delete__waits_for_every_seat),
        T(delete__does_not_wait_for_a_seat_that_is_gone),
        T(delete__takes_absent_shares_for_deleted),
        T(condemn__leaves_alone_what_an_open_file_names),
        T(condemn__is_not_stopped_by_the_leaves_of_a_file_in_memory),
        T(condemn__leaves_alone_what_the_journal_names),
        T(condemn__waits_until_no_other_device_can_replay),
        T(round__of_a_mount_that_lost_its_lock_changes_nothing),
        T(commit__that_names_a_condemned_object_is_refused),
        T(commit__of_clones_of_very_many_objects_fits),
        T(orphans__go_a_day_after_their_session_ended),
        T(orphans__are_not_looked_for_when_a_list_fails),
        T(orphans__names_that_a_seat_invents_harm_nothing),
        T(round__may_end_anywhere_and_be_repeated),
        T(round__ends_with_the_mount),
        T(delete__waits_until_the_sentence_is_shipped),
#undef T
        cmocka_unit_test(clock__round_trips_and_refuses_what_is_not_one),
        cmocka_unit_test(clock__tells_what_was_so_for_how_long),
        cmocka_unit_test(clock__with_a_mount_a_minute_still_sees_sessions_age),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
