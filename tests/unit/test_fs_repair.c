/* SPDX-License-Identifier: MIT */
/*
 * Lost shares come back, byte for byte, whoever noticed the loss; what cannot be mended stops
 * nobody, and success is what a new query says.
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
#include "fs/coord_keys.h"
#include "fs/placement.h"
#include "fs/repair.h"
#include "tests/lib/fs_check.h"
#include "tests/lib/fs_fixture.h"

#define SIZE  300000u
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

/* ---- objects --------------------------------------------------------------------------------- */

/* A file in an object of its own; what its shares look like. */
struct object {
    struct ds_ref ref;
    uint32_t placed;
    char name[16], key[PROV_KEY_MAX];
    struct c2_blob *share[FSX_SEATS]; /* NULL = none */
};

static const struct fs_object *
newest(struct fsx *x)
{
    const struct fs_object *found = NULL;
    for (struct c2_map_node *n = c2_map_next(&x->fs->objects, NULL); n != NULL;
         n = c2_map_next(&x->fs->objects, n)) {
        const struct fs_object *o = C2_CONTAINER_OF(n, struct fs_object, node);
        if (found == NULL || o->ref.oid.seq > found->ref.oid.seq)
            found = o;
    }
    assert_non_null(found);
    return found;
}

static struct object
put(struct fsx *x, const char *name)
{
    struct object o = { 0 };
    uint8_t *data = fsx_bytes((uint64_t)name[0], SIZE);
    snprintf(o.name, sizeof(o.name), "%s", name);
    fsx_put(x, FS_ROOT_INO, name, data, SIZE);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    c2_free(data);
    test_env_run_for(x->t, C2_NS_PER_S);
    const struct fs_object *known = newest(x);
    o.ref = known->ref;
    o.placed = known->placed;
    ds_object_key(x->ds, DS_KIND_OBJECT, o.ref.oid, o.key);
    for (unsigned s = 0; s < FSX_SEATS; s++) {
        const struct c2_blob *b = prov_mem_peek(x->mem[s], o.key);
        o.share[s] = b == NULL ? NULL : c2_blob_copy(b->data, b->len);
        assert_int_equal(b != NULL, o.placed >> s & 1);
    }
    return o;
}

static void
forget(struct object *o)
{
    for (unsigned s = 0; s < FSX_SEATS; s++)
        c2_blob_unref(o->share[s]);
}

static void
expect_file(struct fsx *x, const struct object *o)
{
    uint8_t *data = fsx_bytes((uint64_t)o->name[0], SIZE);
    fsx_expect(x, FS_ROOT_INO, o->name, data, SIZE);
    c2_free(data);
}

/* As it was written, at each of these seats. */
static bool
whole(struct fsx *x, const struct object *o, uint32_t seats)
{
    for (unsigned s = 0; s < FSX_SEATS; s++) {
        const struct c2_blob *b = prov_mem_peek(x->mem[s], o->key);
        if ((seats >> s & 1) == 0)
            continue;
        if (b == NULL || b->len != o->share[s]->len ||
            memcmp(b->data, o->share[s]->data, b->len) != 0)
            return false;
    }
    return true;
}

static unsigned
a_seat(const struct object *o)
{
    return (unsigned)__builtin_ctz(o->placed);
}

static unsigned
spare_seat(const struct object *o)
{
    return (unsigned)__builtin_ctz(~o->placed);
}

static void
damage(struct fsx *x, const struct object *o, unsigned seat)
{
    size_t len = prov_mem_peek(x->mem[seat], o->key)->len;
    prov_mem_corrupt(x->mem[seat], o->key, len - 1);
}

static struct fs_repair_status
status(struct fsx *x)
{
    struct fs_repair_status s;
    fs_repair_status(x->fs, &s);
    return s;
}

/* What the store says of the object's place. */
static uint32_t
recorded(struct fsx *x, const struct object *o)
{
    struct fsx_check c;
    uint32_t placed = 0;
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_check(x, &c); /* every recorded share is there */
    fsx_drop_cache(x);
    expect_file(x, o); /* reads the record */
    placed = fs_object_peek(x->fs, &o->ref.oid)->placed;
    return placed;
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
found(struct fsx *x, const struct object *o, uint32_t lost)
{
    fs_repair_found(x->fs, &o->ref, o->placed, lost);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void
read__that_meets_a_damaged_share_has_it_rebuilt_after_the_grace_time(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct object o = put(x, "a");
    damage(x, &o, a_seat(&o));
    fsx_drop_cache(x);
    expect_file(x, &o);
    assert_int_equal(status(x).objects, 1);
    assert_int_equal(status(x).shares, 1);
    assert_int_equal(status(x).at_risk, 1);
    test_env_run_for(x->t, GRACE - 10 * C2_NS_PER_S);
    assert_false(whole(x, &o, o.placed));
    test_env_run_for(x->t, 20 * C2_NS_PER_S);
    assert_true(whole(x, &o, o.placed));
    assert_int_equal(status(x).objects, 0);
    assert_int_equal(status(x).shares_total, 1);
    forget(&o);
    fsx_stop(x);
}

static void
read__that_misses_a_share_has_it_rebuilt(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct object o = put(x, "a");
    fsx_drop_cache(x);
    prov_mem_delete(x->mem[a_seat(&o)], o.key);
    expect_file(x, &o);
    uint64_t txns = x->coord->txns;
    struct fs_repair_run r = run(x, 1, 10);
    assert_int_equal(r.objects, 1);
    assert_int_equal(r.healthy, 1);
    assert_int_equal(r.shares, 1);
    assert_false(r.more);
    assert_true(whole(x, &o, o.placed));
    test_env_run_for(x->t, 5 * C2_NS_PER_S);
    assert_int_equal(x->coord->txns, txns); /* the record was right all the time */
    assert_int_equal(recorded(x, &o), o.placed);
    forget(&o);
    fsx_stop(x);
}

static void
repair__rebuilds_exactly_what_is_lost(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct object o = put(x, "a");
    uint64_t puts = fsx_requests(x, PROV_PUT);
    found(x, &o, o.placed); /* a false alarm: all of them are there */
    struct fs_repair_run r = run(x, 1, 10);
    assert_int_equal(r.healthy, 1);
    assert_int_equal(r.shares, 0);
    assert_int_equal(fsx_requests(x, PROV_PUT), puts);
    assert_int_equal(status(x).objects, 0);
    forget(&o);
    fsx_stop(x);
}

static void
repair__finds_what_else_is_lost_of_the_object(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct object o = put(x, "a");
    unsigned first = a_seat(&o);
    prov_mem_delete(x->mem[first], o.key);
    found(x, &o, 1u << first);
    fsx_fault(x, first, "put.error");
    struct fs_repair_run r = run(x, 1, 10); /* the spare has it now */
    assert_int_equal(r.healthy, 1);
    fsx_fault(x, first, "");
    test_env_run_for(x->t, 5 * C2_NS_PER_S);
    uint32_t now = recorded(x, &o);
    assert_int_equal(now, (o.placed & ~(1u << first)) | 1u << spare_seat(&o));
    unsigned gone = spare_seat(&o);
    prov_mem_delete(x->mem[gone], o.key);
    unsigned bad = 31u - (unsigned)__builtin_clz(o.placed);
    fs_repair_found(x->fs, &o.ref, now, 1u << bad); /* it is not */
    r = run(x, 2, 10);
    assert_int_equal(r.shares, 1);
    assert_non_null(prov_mem_peek(x->mem[gone], o.key));
    assert_int_equal(recorded(x, &o), now);
    forget(&o);
    fsx_stop(x);
}

static void
target__that_fails_stops_nobody_and_another_seat_takes_its_place(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct object o[6];
    static const char *const names[] = { "a", "b", "c", "d", "e", "f" };
    for (unsigned k = 0; k < 6; k++)
        o[k] = put(x, names[k]);
    unsigned dead = a_seat(&o[0]);
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
        assert_int_equal(recorded(x, &o[k]),
                         (o[k].placed & ~(1u << dead)) | 1u << spare_seat(&o[k]));
    }
    for (unsigned k = 0; k < 6; k++)
        forget(&o[k]);
    fsx_stop(x);
}

/* It acknowledges and stores nothing: only the query afterwards shows it. */
static void
target__that_lies_is_not_believed(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct object o = put(x, "a");
    unsigned liar = a_seat(&o);
    prov_mem_delete(x->mem[liar], o.key);
    found(x, &o, 1u << liar);
    fsx_fault(x, liar, "put.lie");
    fsx_fault(x, spare_seat(&o), "put.lie");
    struct fs_repair_run r = run(x, 1, 10);
    assert_int_equal(r.healthy, 0);
    assert_int_not_equal(r.last_error, C2_E_OK);
    assert_int_equal(status(x).objects, 1);
    assert_int_equal(status(x).failures_total, 1);
    assert_int_equal(c2_mark_count("mend: a seat acknowledged a share and has it not"), 2);
    fsx_fault(x, spare_seat(&o), "");
    test_env_run_for(x->t, 300 * C2_NS_PER_S); /* it is tried again by itself */
    assert_int_equal(status(x).objects, 0);
    fsx_fault(x, liar, "");
    assert_int_equal(recorded(x, &o), (o.placed & ~(1u << liar)) | 1u << spare_seat(&o));
    forget(&o);
    fsx_stop(x);
}

static void
object__with_too_few_shares_waits_for_them(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct object o = put(x, "a"), other = put(x, "b");
    unsigned lost = a_seat(&o);
    uint32_t rest = o.placed & ~(1u << lost);
    unsigned away = (unsigned)__builtin_ctz(rest);
    prov_mem_delete(x->mem[lost], o.key);
    prov_mem_delete(x->mem[lost], other.key);
    fsx_fault(x, away, "get.error");
    found(x, &o, 1u << lost);
    struct fs_repair_run r = run(x, 1, 10);
    assert_int_equal(r.healthy, 0);
    assert_int_equal(r.last_error, C2_E_QUORUM);
    assert_false(whole(x, &o, o.placed));
    found(x, &other, 1u << lost);
    fsx_fault(x, away, "");
    r = run(x, 1, 10); /* an object has one turn in a run */
    assert_int_equal(r.objects, 1);
    assert_true(whole(x, &other, other.placed));
    r = run(x, 2, 10);
    assert_int_equal(r.healthy, 1);
    assert_true(whole(x, &o, o.placed));
    forget(&o);
    forget(&other);
    fsx_stop(x);
}

static void
queue__begins_with_the_object_that_lost_most(void **state)
{
    struct fsx *x = *state;
    x->config.repair_parallel = 1;
    fsx_mount(x);
    struct object a = put(x, "a"), b = put(x, "b");
    unsigned lost = a_seat(&a);
    prov_mem_delete(x->mem[lost], a.key);
    prov_mem_delete(x->mem[lost], b.key);
    found(x, &a, 1u << lost);
    found(x, &b, 1u << lost);
    found(x, &b, b.placed); /* more of it is suspect */
    struct fs_repair_run r = run(x, 1, 1);
    assert_int_equal(r.objects, 1);
    assert_true(r.more);
    assert_true(whole(x, &b, b.placed));
    assert_false(whole(x, &a, a.placed));
    r = run(x, 1, 1);
    assert_true(whole(x, &a, a.placed));
    assert_false(r.more);
    forget(&a);
    forget(&b);
    fsx_stop(x);
}

static void
object__that_is_deleted_meanwhile_leaves_no_share_behind(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct object o = put(x, "a");
    unsigned lost = a_seat(&o);
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
    forget(&o);
    fsx_stop(x);
}

static void
rate__is_kept(void **state)
{
    struct fsx *x = *state;
    x->config.repair_rate = 10000; /* bytes per second */
    fsx_mount(x);
    struct object o[3];
    static const char *const names[] = { "a", "b", "c" };
    for (unsigned k = 0; k < 3; k++) {
        o[k] = put(x, names[k]);
        prov_mem_delete(x->mem[a_seat(&o[k])], o[k].key);
        found(x, &o[k], 1u << a_seat(&o[k]));
    }
    x->fs->conf.repair_parallel = 1;
    uint64_t start = c2_now_ns(x->env);
    struct fs_repair_run r = run(x, 1, 10);
    assert_int_equal(r.healthy, 3);
    uint64_t spent = r.bytes * C2_NS_PER_S / 10000;
    assert_true(c2_now_ns(x->env) - start >= spent * 2 / 3);
    assert_true(c2_now_ns(x->env) - start <= spent);
    for (unsigned k = 0; k < 3; k++)
        forget(&o[k]);
    fsx_stop(x);
}

static void
mount__that_ends_does_not_wait_for_a_target_that_hangs(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct object o = put(x, "a");
    unsigned lost = a_seat(&o);
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
    forget(&o);
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
    struct object o = put(x, "a");
    struct placed *a = c2_calloc(1, sizeof(*a)), *b = c2_calloc(1, sizeof(*b));
    uint32_t spare = 1u << spare_seat(&o), lost = 1u << a_seat(&o);
    a->p = (struct fs_place){ .fs = x->fs, .n = 1, .done = place_done };
    a->p.item[0] = (struct fs_place_item){ .oid = o.ref.oid, .set = spare };
    b->p = (struct fs_place){ .fs = x->fs, .n = 1, .done = place_done };
    b->p.item[0] = (struct fs_place_item){ .oid = o.ref.oid, .clear = lost };
    fs_place_start(&a->p);
    fs_place_start(&b->p);
    test_env_run_until(x->t, &a->done);
    test_env_run_until(x->t, &b->done);
    assert_int_equal(a->p.err, C2_E_OK);
    assert_int_equal(b->p.err, C2_E_OK);
    assert_true(c2_mark_count("placement: a record has changed meanwhile") > 0);
    assert_int_equal(fs_object_peek(x->fs, &o.ref.oid)->placed, (o.placed | spare) & ~lost);
    fsx_drop_cache(x);
    expect_file(x, &o);
    assert_int_equal(fs_object_peek(x->fs, &o.ref.oid)->placed, (o.placed | spare) & ~lost);
    c2_free(a);
    c2_free(b);
    forget(&o);
    fsx_stop(x);
}

static void
placement__of_a_mount_that_lost_its_right_changes_nothing(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    struct object o = put(x, "a");
    struct placed *a = c2_calloc(1, sizeof(*a));
    a->p = (struct fs_place){ .fs = x->fs, .n = 1, .done = place_done };
    a->p.item[0] = (struct fs_place_item){ .oid = o.ref.oid, .clear = o.placed };
    x->fs->part.fence_token++; /* as if another one had taken the lock */
    fs_place_start(&a->p);
    test_env_run_until(x->t, &a->done);
    assert_int_equal(a->p.err, C2_E_FENCED);
    x->fs->part.fence_token--;
    assert_int_equal(recorded(x, &o), o.placed);
    c2_free(a);
    forget(&o);
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
        T(object__that_is_deleted_meanwhile_leaves_no_share_behind),
        T(rate__is_kept),
        T(mount__that_ends_does_not_wait_for_a_target_that_hangs),
        T(placement__is_changed_only_as_it_was_read),
        T(placement__of_a_mount_that_lost_its_right_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
