/* SPDX-License-Identifier: MIT */
/*
 * Lost shares come back, byte for byte, whoever noticed the loss; what cannot be mended stops
 * nobody, and success is what a new query says.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "backends/mem.h"
#include "backends/registry.h"
#include "base/alloc.h"
#include "base/mark.h"
#include "fs/coord_keys.h"
#include "fs/placement.h"
#include "fs/repair.h"
#include "tests/lib/fs_objects.h"

#define GRACE (600 * C2_NS_PER_S)

static int
setup(void **state)
{
    struct fsx *x = c2_calloc(1, sizeof(*x));
    fsx_init(x);
    x->config.repair_auto = true;
    x->config.repair_delay_ns = GRACE;
    x->config.repair_parallel = 4;
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

static struct fs_repair_status
status(struct fsx *x)
{
    struct fs_repair_status s;
    fs_repair_status(x->fs, &s);
    return s;
}

struct run {
    struct fs_repair_run r;
    bool done;
};

static void
run_done(struct fs_repair_run *r)
{
    C2_CONTAINER_OF(r, struct run, r)->done = true;
}

static struct fs_repair_run
run(struct fsx *x, uint64_t id, unsigned max)
{
    struct run w = { .r = { .id = id, .max = max, .done = run_done } };
    fs_repair_run_start(x->fs, &w.r);
    assert_false(w.done);
    test_env_run_until(x->t, &w.done);
    return w.r;
}

static void
found(struct fsx *x, const struct fso *o, uint32_t lost)
{
    fs_repair_found(x->fs, &o->ref, o->placed, lost);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void
read__that_meets_a_damaged_share_has_it_rebuilt_after_the_grace_time(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct fso o = fso_put(x, "a");
    fso_damage(x, &o, fso_seat(&o));
    fsx_drop_cache(x);
    fso_expect(x, &o);
    assert_int_equal(status(x).objects, 1);
    assert_int_equal(status(x).shares, 1);
    assert_int_equal(status(x).at_risk, 1);
    test_env_run_for(x->t, GRACE - 10 * C2_NS_PER_S);
    assert_false(fso_whole(x, &o, o.placed));
    test_env_run_for(x->t, 20 * C2_NS_PER_S);
    assert_true(fso_whole(x, &o, o.placed));
    assert_int_equal(status(x).objects, 0);
    assert_int_equal(status(x).shares_total, 1);
    fso_done(&o);
    fsx_stop(x);
}

static void
read__that_misses_a_share_has_it_rebuilt(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct fso o = fso_put(x, "a");
    fsx_drop_cache(x);
    prov_mem_delete(x->mem[fso_seat(&o)], o.key);
    fso_expect(x, &o);
    uint64_t txns = x->coord->txns;
    struct fs_repair_run r = run(x, 1, 10);
    assert_int_equal(r.objects, 1);
    assert_int_equal(r.healthy, 1);
    assert_int_equal(r.shares, 1);
    assert_false(r.more);
    assert_true(fso_whole(x, &o, o.placed));
    test_env_run_for(x->t, 5 * C2_NS_PER_S);
    assert_int_equal(x->coord->txns, txns); /* the record was right all the time */
    assert_int_equal(fso_recorded(x, &o), o.placed);
    fso_done(&o);
    fsx_stop(x);
}

static void
repair__rebuilds_exactly_what_is_lost(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct fso o = fso_put(x, "a");
    uint64_t puts = fsx_requests(x, PROV_PUT);
    found(x, &o, o.placed); /* a false alarm: all of them are there */
    struct fs_repair_run r = run(x, 1, 10);
    assert_int_equal(r.healthy, 1);
    assert_int_equal(r.shares, 0);
    assert_int_equal(fsx_requests(x, PROV_PUT), puts);
    assert_int_equal(status(x).objects, 0);
    fso_done(&o);
    fsx_stop(x);
}

static void
repair__finds_what_else_is_lost_of_the_object(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct fso o = fso_put(x, "a");
    unsigned first = fso_seat(&o);
    prov_mem_delete(x->mem[first], o.key);
    found(x, &o, 1u << first);
    fsx_fault(x, first, "put.error");
    struct fs_repair_run r = run(x, 1, 10); /* the spare has it now */
    assert_int_equal(r.healthy, 1);
    fsx_fault(x, first, "");
    test_env_run_for(x->t, 5 * C2_NS_PER_S);
    uint32_t now = fso_recorded(x, &o);
    assert_int_equal(now, (o.placed & ~(1u << first)) | 1u << fso_spare(&o));
    unsigned gone = fso_spare(&o);
    prov_mem_delete(x->mem[gone], o.key);
    unsigned bad = 31u - (unsigned)__builtin_clz(o.placed);
    fs_repair_found(x->fs, &o.ref, now, 1u << bad); /* it is not */
    r = run(x, 2, 10);
    assert_int_equal(r.shares, 1);
    assert_non_null(prov_mem_peek(x->mem[gone], o.key));
    assert_int_equal(fso_recorded(x, &o), now);
    fso_done(&o);
    fsx_stop(x);
}

static void
target__that_fails_stops_nobody_and_another_seat_takes_its_place(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct fso o[6];
    static const char *const names[] = { "a", "b", "c", "d", "e", "f" };
    for (unsigned k = 0; k < 6; k++)
        o[k] = fso_put(x, names[k]);
    unsigned dead = fso_seat(&o[0]);
    for (unsigned k = 0; k < 6; k++) {
        prov_mem_delete(x->mem[dead], o[k].key);
        found(x, &o[k], 1u << dead);
    }
    fsx_fault(x, dead, "put.error");
    uint64_t txns = x->coord->txns;
    struct fs_repair_run r = run(x, 1, 10);
    assert_int_equal(r.objects, 6);
    assert_int_equal(r.healthy, 6);
    assert_true(c2_mark_count("mend: another seat takes the share") >= 6);
    test_env_run_for(x->t, 2 * C2_NS_PER_S);
    assert_int_equal(x->coord->txns - txns, 1); /* all records at once */
    for (unsigned k = 0; k < 6; k++)
        assert_int_equal(fs_object_peek(x->fs, &o[k].ref.oid)->placed & 1u << dead, 0);
    for (unsigned k = 0; k < 6; k++) {
        assert_int_equal(fso_recorded(x, &o[k]),
                         (o[k].placed & ~(1u << dead)) | 1u << fso_spare(&o[k]));
    }
    for (unsigned k = 0; k < 6; k++)
        fso_done(&o[k]);
    fsx_stop(x);
}

/* It acknowledges and stores nothing: only the query afterwards shows it. */
static void
target__that_lies_is_not_believed(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct fso o = fso_put(x, "a");
    unsigned liar = fso_seat(&o);
    prov_mem_delete(x->mem[liar], o.key);
    found(x, &o, 1u << liar);
    fsx_fault(x, liar, "put.lie");
    fsx_fault(x, fso_spare(&o), "put.lie");
    struct fs_repair_run r = run(x, 1, 10);
    assert_int_equal(r.healthy, 0);
    assert_int_not_equal(r.last_error, C2_E_OK);
    assert_int_equal(status(x).objects, 1);
    assert_int_equal(status(x).failures_total, 1);
    assert_int_equal(c2_mark_count("mend: a seat acknowledged a share and has it not"), 2);
    fsx_fault(x, fso_spare(&o), "");
    test_env_run_for(x->t, 300 * C2_NS_PER_S); /* it is tried again by itself */
    assert_int_equal(status(x).objects, 0);
    fsx_fault(x, liar, "");
    assert_int_equal(fso_recorded(x, &o), (o.placed & ~(1u << liar)) | 1u << fso_spare(&o));
    fso_done(&o);
    fsx_stop(x);
}

static void
object__with_too_few_shares_waits_for_them(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct fso o = fso_put(x, "a"), other = fso_put(x, "b");
    unsigned lost = fso_seat(&o);
    uint32_t rest = o.placed & ~(1u << lost);
    unsigned away = (unsigned)__builtin_ctz(rest);
    prov_mem_delete(x->mem[lost], o.key);
    prov_mem_delete(x->mem[lost], other.key);
    fsx_fault(x, away, "get.error");
    found(x, &o, 1u << lost);
    struct fs_repair_run r = run(x, 1, 10);
    assert_int_equal(r.healthy, 0);
    assert_int_equal(r.last_error, C2_E_QUORUM);
    assert_false(fso_whole(x, &o, o.placed));
    found(x, &other, 1u << lost);
    fsx_fault(x, away, "");
    r = run(x, 1, 10); /* an object has one turn in a run */
    assert_int_equal(r.objects, 1);
    assert_true(fso_whole(x, &other, other.placed));
    r = run(x, 2, 10);
    assert_int_equal(r.healthy, 1);
    assert_true(fso_whole(x, &o, o.placed));
    fso_done(&o);
    fso_done(&other);
    fsx_stop(x);
}

static void
queue__begins_with_the_object_that_lost_most(void **state)
{
    struct fsx *x = *state;
    x->config.repair_parallel = 1;
    fsx_mount(x);
    struct fso a = fso_put(x, "a"), b = fso_put(x, "b");
    unsigned lost = fso_seat(&a);
    prov_mem_delete(x->mem[lost], a.key);
    prov_mem_delete(x->mem[lost], b.key);
    found(x, &a, 1u << lost);
    found(x, &b, 1u << lost);
    found(x, &b, b.placed); /* more of it is suspect */
    struct fs_repair_run r = run(x, 1, 1);
    assert_int_equal(r.objects, 1);
    assert_true(r.more);
    assert_true(fso_whole(x, &b, b.placed));
    assert_false(fso_whole(x, &a, a.placed));
    r = run(x, 1, 1);
    assert_true(fso_whole(x, &a, a.placed));
    assert_false(r.more);
    fso_done(&a);
    fso_done(&b);
    fsx_stop(x);
}

/* The run waits for an object whose turn began by itself just before. */
static void
run__takes_over_what_is_being_mended(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct fso o = fso_put(x, "a");
    unsigned lost = fso_seat(&o);
    prov_mem_delete(x->mem[lost], o.key);
    fsx_fault(x, lost, "put.delay:1s");
    found(x, &o, 1u << lost);
    while (status(x).running == 0)
        assert_true(test_env_step(x->t));
    struct fs_repair_run r = run(x, 1, 10);
    assert_int_equal(r.objects, 1);
    assert_int_equal(r.healed, 1);
    assert_true(fso_whole(x, &o, o.placed));
    fso_done(&o);
    fsx_stop(x);
}

static void
object__that_is_deleted_meanwhile_leaves_no_share_behind(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct fso o = fso_put(x, "a");
    unsigned lost = fso_seat(&o);
    for (unsigned s = 0; s < FSX_SEATS; s++)
        if (s != lost && (o.placed >> s & 1) != 0)
            fsx_fault(x, s, "get.delay:100ms");
    prov_mem_delete(x->mem[lost], o.key);
    found(x, &o, 1u << lost);
    struct run w = { .r = { .id = 1, .max = 1, .done = run_done } };
    fs_repair_run_start(x->fs, &w.r);
    test_env_run_for(x->t,
                     50 * C2_NS_PER_MS); /* the record was read, the shares are on their way */
    struct ck key = ck_object(&o.ref.oid);
    struct coord_op op = { .kind = COORD_DELETE, .key = ck_slice(&key) };
    fsx_txn(x, &op, 1);
    test_env_run_until(x->t, &w.done);
    test_env_run_for(x->t, 5 * C2_NS_PER_S);
    assert_true(c2_mark_count("repair: an object was deleted while it was mended") > 0);
    for (unsigned s = 0; s < FSX_SEATS; s++)
        assert_null(prov_mem_peek(x->mem[s], o.key));
    found(x, &o, 1u << lost); /* and one that was deleted before is not touched */
    struct fs_repair_run r = run(x, 2, 1);
    assert_int_equal(r.gone, 1);
    assert_null(prov_mem_peek(x->mem[lost], o.key));
    fso_done(&o);
    fsx_stop(x);
}

/* Its record says so, and some of its shares are deleted already. */
static void
object__that_is_condemned_meanwhile_is_no_failure(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct fso o = fso_put(x, "a");
    unsigned lost = fso_seat(&o);
    for (unsigned s = 0; s < FSX_SEATS; s++)
        if (s != lost && (o.placed >> s & 1) != 0)
            fsx_fault(x, s, "get.delay:100ms");
    prov_mem_delete(x->mem[lost], o.key);
    found(x, &o, 1u << lost);
    struct run w = { .r = { .id = 1, .max = 1, .done = run_done } };
    fs_repair_run_start(x->fs, &w.r);
    test_env_run_for(x->t, 50 * C2_NS_PER_MS); /* the record was read */
    for (unsigned s = 0; s < FSX_SEATS; s++)
        prov_mem_delete(x->mem[s], o.key);
    struct ck key = ck_object(&o.ref.oid);
    struct fs_object_record rec = {
        .state = 1, .placed = o.placed, .ref = o.ref, .has_root = true
    };
    struct c2_buf value = { 0 };
    fs_object_rec_encode(&rec, &value);
    struct coord_op op = { .kind = COORD_PUT,
                           .key = ck_slice(&key),
                           .value = c2_buf_slice(&value) };
    fsx_txn(x, &op, 1);
    c2_buf_done(&value);
    test_env_run_until(x->t, &w.done);
    assert_true(c2_mark_count("repair: deleted while it was mended") > 0);
    assert_int_equal(w.r.gone, 1);
    assert_int_equal(w.r.last_error, C2_E_OK);
    fso_done(&o);
    fsx_stop(x);
}

static void
rate__is_kept(void **state)
{
    struct fsx *x = *state;
    x->config.repair_rate = 10000; /* bytes per second */
    fsx_mount(x);
    struct fso o[3];
    static const char *const names[] = { "a", "b", "c" };
    for (unsigned k = 0; k < 3; k++) {
        o[k] = fso_put(x, names[k]);
        prov_mem_delete(x->mem[fso_seat(&o[k])], o[k].key);
        found(x, &o[k], 1u << fso_seat(&o[k]));
    }
    x->fs->conf.repair_parallel = 1;
    uint64_t start = c2_now_ns(x->env);
    struct fs_repair_run r = run(x, 1, 10);
    assert_int_equal(r.healthy, 3);
    uint64_t spent = r.bytes * C2_NS_PER_S / 10000;
    assert_true(c2_now_ns(x->env) - start >= spent * 2 / 3);
    assert_true(c2_now_ns(x->env) - start <= spent);
    for (unsigned k = 0; k < 3; k++)
        fso_done(&o[k]);
    fsx_stop(x);
}

static void
mount__that_ends_does_not_wait_for_a_target_that_hangs(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct fso o = fso_put(x, "a");
    unsigned lost = fso_seat(&o);
    prov_mem_delete(x->mem[lost], o.key);
    found(x, &o, 1u << lost);
    fsx_fault(x, lost, "put.hang");
    struct run w = { .r = { .id = 1, .max = 1, .done = run_done } };
    fs_repair_run_start(x->fs, &w.r);
    test_env_run_for(x->t, C2_NS_PER_S);
    assert_false(w.done);
    uint64_t start = c2_now_ns(x->env);
    fsx_stop(x);
    assert_true(w.done);
    assert_true(c2_now_ns(x->env) - start < C2_NS_PER_S);
    fso_done(&o);
}

struct placed {
    struct fs_place p;
    bool done;
};

static void
place_done(struct fs_place *p)
{
    C2_CONTAINER_OF(p, struct placed, p)->done = true;
}

/* Two at once on the same record: neither undoes the other. */
static void
placement__is_changed_only_as_it_was_read(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct fso o = fso_put(x, "a");
    struct placed *a = c2_calloc(1, sizeof(*a)), *b = c2_calloc(1, sizeof(*b));
    uint32_t spare = 1u << fso_spare(&o), lost = 1u << fso_seat(&o);
    a->p = (struct fs_place){ .fs = x->fs, .n = 1, .done = place_done };
    a->p.item[0] = (struct fs_place_item){ .ref = o.ref, .set = spare };
    b->p = (struct fs_place){ .fs = x->fs, .n = 1, .done = place_done };
    b->p.item[0] = (struct fs_place_item){ .ref = o.ref, .clear = lost };
    fs_place_start(&a->p);
    fs_place_start(&b->p);
    test_env_run_until(x->t, &a->done);
    test_env_run_until(x->t, &b->done);
    assert_int_equal(a->p.err, C2_E_OK);
    assert_int_equal(b->p.err, C2_E_OK);
    assert_true(c2_mark_count("placement: a record has changed meanwhile") > 0);
    assert_int_equal(fs_object_peek(x->fs, &o.ref.oid)->placed, (o.placed | spare) & ~lost);
    fsx_drop_cache(x);
    fso_expect(x, &o);
    assert_int_equal(fs_object_peek(x->fs, &o.ref.oid)->placed, (o.placed | spare) & ~lost);
    c2_free(a);
    c2_free(b);
    fso_done(&o);
    fsx_stop(x);
}

static void
placement__of_a_mount_that_lost_its_right_changes_nothing(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct fso o = fso_put(x, "a");
    struct placed *a = c2_calloc(1, sizeof(*a));
    a->p = (struct fs_place){ .fs = x->fs, .n = 1, .done = place_done };
    a->p.item[0] = (struct fs_place_item){ .ref = o.ref, .clear = o.placed };
    x->fs->part.fence_token++; /* as if another one had taken the lock */
    fs_place_start(&a->p);
    test_env_run_until(x->t, &a->done);
    assert_int_equal(a->p.err, C2_E_FENCED);
    x->fs->part.fence_token--;
    assert_int_equal(fso_recorded(x, &o), o.placed);
    c2_free(a);
    fso_done(&o);
    fsx_stop(x);
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

/* What the store says, of a mount that goes on. */
static uint32_t
in_store(struct fsx *x, const struct fso *o)
{
    struct ck key = ck_object(&o->ref.oid);
    struct c2_slice slice = ck_slice(&key);
    struct get g = {
        .r = { .verb = COORD_GET, .keys = &slice, .nkeys = 1, .deadline_ns = C2_NEVER, .done = got }
    };
    struct fs_object_record rec;
    coord_submit(x->coord, &g.r);
    test_env_run_until(x->t, &g.done);
    assert_int_equal(fs_object_rec_decode(g.r.entries[0].value, &rec), C2_E_OK);
    coord_req_done(&g.r);
    return rec.placed;
}

/* The share went to a provider that left the seat before the record was written. */
static void
seat__that_gets_another_provider_does_not_have_what_the_one_before_was_given(void **state)
{
    struct fsx *x = *state;
    struct provider *other = prov_mem_new(x->env, "other");
    fsx_mount(x);
    struct fso o = fso_put(x, "a");
    unsigned lost = fso_seat(&o), spare = fso_spare(&o);
    prov_mem_delete(x->mem[lost], o.key);
    fsx_fault(x, lost, "put.error");
    found(x, &o, 1u << lost);
    while (status(x).shares_total == 0)
        assert_true(test_env_step(x->t));
    assert_non_null(prov_mem_peek(x->mem[spare], o.key));
    assert_int_equal(status(x).objects, 0);
    assert_int_equal(in_store(x, &o), o.placed);
    ds_client_set_seat(x->ds, spare, other, DS_USE_NEW);
    test_env_run_for(x->t, 5 * C2_NS_PER_S);
    assert_int_equal(c2_mark_count("repair: a seat has changed while an object was mended"), 1);
    assert_int_equal(status(x).objects, 1);
    assert_int_equal(in_store(x, &o), o.placed);
    assert_int_equal(fs_object_peek(x->fs, &o.ref.oid)->placed, o.placed);
    struct fs_repair_run r = run(x, 1, 10);
    assert_int_equal(r.healthy, 1);
    assert_non_null(prov_mem_peek(other, o.key));
    assert_int_equal(in_store(x, &o), (o.placed & ~(1u << lost)) | 1u << spare);
    fso_done(&o);
    fsx_stop(x);
    prov_close(other);
}

/* The next epoch is in the store, and this mount has not moved to it. */
static void
placement__under_an_old_epoch_waits_and_leaves_out_the_seat_that_changes(void **state)
{
    struct fsx *x = *state;
    struct provider *other = prov_mem_new(x->env, "other");
    fsx_mount(x);
    struct fso o = fso_put(x, "a"), unconcerned = fso_put(x, "b");
    unsigned first = fso_seat(&o), spare = fso_spare(&o);
    struct placed *a = c2_calloc(1, sizeof(*a));
    a->p = (struct fs_place){ .fs = x->fs, .n = 2, .done = place_done };
    a->p.item[0] = (struct fs_place_item){
        .ref = o.ref, .set = 1u << spare, .clear = 1u << first, .since = ds_client_changes(x->ds)
    };
    a->p.item[1] = a->p.item[0];
    a->p.item[1].ref = unconcerned.ref;
    a->p.item[1].set = 0;
    const struct coord_op op = { .kind = COORD_PUT,
                                 .key = c2_slice_str("C"),
                                 .value = c2_slice_str("another configuration") };
    struct get put = {
        .r = { .verb = COORD_TXN, .ops = &op, .nops = 1, .deadline_ns = C2_NEVER, .done = got }
    };
    coord_submit(x->coord, &put.r);
    test_env_run_until(x->t, &put.done);
    fs_place_start(&a->p);
    test_env_run_for(x->t, C2_NS_PER_S);
    assert_false(a->done);
    assert_true(c2_mark_count("placement: under an old configuration") > 0);
    assert_int_equal(in_store(x, &o), o.placed);
    ds_client_set_seat(x->ds, spare, other, DS_USE_NEW);
    x->config_version = put.r.version;
    coord_req_done(&put.r);
    test_env_run_until(x->t, &a->done);
    assert_int_equal(a->p.err, C2_E_OK);
    assert_true(a->p.item[0].stale);
    assert_int_equal(a->p.item[0].placed, o.placed);
    assert_int_equal(in_store(x, &o), o.placed);
    assert_false(a->p.item[1].stale);
    assert_int_equal(in_store(x, &unconcerned), unconcerned.placed & ~(1u << first));
    c2_free(a);
    fso_done(&o);
    fso_done(&unconcerned);
    fsx_stop(x);
    prov_close(other);
}

/* ---- redundancy = full ----------------------------------------------------------------------- */

#define LAST 3u /* the seat that is away */

static void
write__that_one_seat_did_not_take_is_mended_when_it_is_back(void **state)
{
    struct fsx *x = *state;
    x->write_all = true;
    fsx_mount(x);
    fsx_fault(x, LAST, "down");
    struct fso o = fso_put(x, "a"), other = fso_put(x, "b");
    assert_int_equal(o.placed, 0x7);
    assert_int_equal(status(x).objects, 2); /* from the commit on */
    assert_int_equal(status(x).shares, 2);
    assert_int_equal(status(x).at_risk, 0);
    uint64_t gets = fsx_requests(x, PROV_GET);
    test_env_run_for(x->t, 3 * GRACE);
    assert_int_equal(status(x).objects, 2);
    assert_int_equal(fsx_requests(x, PROV_GET), gets); /* nothing is read for nothing */
    assert_true(c2_mark_count("repair: nobody would take the share that is missing") > 0);
    struct fs_repair_run r =
        run(x, 1, 10); /* somebody wants it: it is tried, and costs no shares */
    assert_int_equal(r.objects, 2);
    assert_int_equal(r.healthy, 0);
    assert_int_equal(r.last_error, C2_E_UNREACHABLE);
    assert_true(r.bytes < FSO_SIZE);
    fsx_fault(x, LAST, "");
    test_env_run_for(x->t, GRACE);
    assert_int_equal(status(x).objects, 0);
    assert_int_equal(status(x).objects_total, 2);
    assert_non_null(prov_mem_peek(x->mem[LAST], o.key));
    assert_non_null(prov_mem_peek(x->mem[LAST], other.key));
    assert_int_equal(in_store(x, &o), 0xf);
    assert_int_equal(in_store(x, &other), 0xf);
    fso_done(&o);
    fso_done(&other);
    fsx_stop(x);
}

/* It is not there when the object is committed, and then it is. */
static void
share__that_arrived_late_is_not_brought_again(void **state)
{
    struct fsx *x = *state;
    x->write_all = true;
    fsx_mount(x);
    fsx_fault(x, LAST, "put.delay:20s");
    struct fso o = fso_put(x, "a");
    assert_int_equal(o.placed, 0x7);
    assert_int_equal(status(x).objects, 1);
    test_env_run_for(x->t, 60 * C2_NS_PER_S);
    assert_non_null(prov_mem_peek(x->mem[LAST], o.key));
    uint64_t puts = fsx_requests(x, PROV_PUT);
    struct fs_repair_run r = run(x, 1, 10);
    assert_int_equal(r.healthy, 1);
    assert_int_equal(r.healed, 1);
    assert_int_equal(r.shares, 0);
    assert_int_equal(c2_mark_count("mend: another seat has a share already"), 1);
    assert_int_equal(fsx_requests(x, PROV_PUT), puts);
    assert_int_equal(in_store(x, &o), 0xf);
    fso_done(&o);
    fsx_stop(x);
}

static bool
is_log(const char *key)
{
    return strstr(key, "/j/") != NULL || strstr(key, "/c/") != NULL;
}

/* Pieces of the log that the first seat has and the last one has not. */
static unsigned
log_lacks(const struct fsx *x)
{
    unsigned n = 0;
    const char *key;
    for (size_t k = 0; (key = prov_mem_key(x->mem[0], k)) != NULL; k++)
        n += is_log(key) && prov_mem_peek(x->mem[LAST], key) == NULL;
    return n;
}

static void
log__that_one_seat_did_not_take_is_mended_when_it_is_back(void **state)
{
    struct fsx *x = *state;
    x->write_all = x->ship = true;
    fsx_mount(x);
    fsx_fault(x, LAST, "down");
    fsx_put(x, FS_ROOT_INO, "a", "x", 1);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    test_env_run_for(x->t, 3 * GRACE);
    assert_true(log_lacks(x) > 0);
    assert_int_equal(c2_mark_count("repair: the metadata log is looked through"), 0);
    fsx_fault(x, LAST, "");
    test_env_run_for(x->t, GRACE);
    assert_true(c2_mark_count("repair: the metadata log is looked through") > 0);
    assert_int_equal(log_lacks(x), 0);
    c2_mark_reset();
    fsx_put(x, FS_ROOT_INO, "b", "x", 1); /* nothing is missing of it */
    assert_int_equal(fsx_sync(x), C2_E_OK);
    test_env_run_for(x->t, 3 * GRACE);
    assert_int_equal(c2_mark_count("repair: the metadata log is looked through"), 0);
    fsx_stop(x);
}

int
main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(read__that_meets_a_damaged_share_has_it_rebuilt_after_the_grace_time),
        T(read__that_misses_a_share_has_it_rebuilt),
        T(repair__rebuilds_exactly_what_is_lost),
        T(repair__finds_what_else_is_lost_of_the_object),
        T(target__that_fails_stops_nobody_and_another_seat_takes_its_place),
        T(target__that_lies_is_not_believed),
        T(object__with_too_few_shares_waits_for_them),
        T(queue__begins_with_the_object_that_lost_most),
        T(run__takes_over_what_is_being_mended),
        T(object__that_is_deleted_meanwhile_leaves_no_share_behind),
        T(object__that_is_condemned_meanwhile_is_no_failure),
        T(rate__is_kept),
        T(mount__that_ends_does_not_wait_for_a_target_that_hangs),
        T(placement__is_changed_only_as_it_was_read),
        T(seat__that_gets_another_provider_does_not_have_what_the_one_before_was_given),
        T(placement__under_an_old_epoch_waits_and_leaves_out_the_seat_that_changes),
        T(write__that_one_seat_did_not_take_is_mended_when_it_is_back),
        T(share__that_arrived_late_is_not_brought_again),
        T(log__that_one_seat_did_not_take_is_mended_when_it_is_back),
        T(placement__of_a_mount_that_lost_its_right_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
