/* SPDX-License-Identifier: MIT */
/*
 * The right to change a volume: kept, taken again after an absence, lost to another mount; and what
 * becomes of transactions meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "fs/lease.h"
#include "tests/lib/coord_gate.h"
#include "tests/lib/volume_rig.h"

#define TTL_NS (30 * C2_NS_PER_S)

static const struct ck lock_key = { .bytes = "S/mount", .len = 7 };
static const struct ck owner_key = { .bytes = "S/owner", .len = 7 };
static const uint8_t owner[LEASE_OWNER_LEN] = "this mount";

struct rig {
    struct volume_rig *r;
    struct coord *store;
    struct coord_gate gate;
    struct lease *lease;
    uint64_t session, token;
    unsigned lost;
    bool taken, ended;
    uint64_t ended_session;
};

static void
lost(void *arg, bool taken)
{
    struct rig *x = arg;
    x->lost++;
    x->taken = taken;
}

static uint64_t
open_session(struct rig *x)
{
    struct vr_call c = { .r = { .verb = COORD_SESSION_OPEN, .ttl_ns = TTL_NS } };
    assert_int_equal(vr_call(x->r, x->store, &c), C2_E_OK);
    uint64_t session = c.r.session;
    coord_req_done(&c.r);
    return session;
}

static void
close_session(struct rig *x, uint64_t session)
{
    struct vr_call c = { .r = { .verb = COORD_SESSION_CLOSE, .session = session } };
    assert_int_equal(vr_call(x->r, x->store, &c), C2_E_OK);
    coord_req_done(&c.r);
}

/* Lock and owner, as a mount takes them. */
static uint64_t
take(struct rig *x, uint64_t session, const uint8_t who[LEASE_OWNER_LEN])
{
    const struct coord_op ops[] = {
        { .kind = COORD_PUT_EPHEMERAL,
          .key = ck_slice(&lock_key),
          .value = c2_slice_str("holder"),
          .number = (int64_t)session },
        { .kind = COORD_PUT, .key = ck_slice(&owner_key), .value = c2_slice(who, LEASE_OWNER_LEN) },
    };
    struct vr_call c = { .r = { .verb = COORD_TXN, .ops = ops, .nops = 2 } };
    assert_int_equal(vr_call(x->r, x->store, &c), C2_E_OK);
    coord_req_done(&c.r);
    return c.r.version;
}

/* Key, version and session of the lock. */
static struct coord_entry
look(struct rig *x)
{
    struct c2_slice key = ck_slice(&lock_key);
    struct vr_call c = { .r = { .verb = COORD_GET, .keys = &key, .nkeys = 1 } };
    assert_int_equal(vr_call(x->r, x->store, &c), C2_E_OK);
    struct coord_entry e = c.r.entries[0];
    coord_req_done(&c.r);
    return e;
}

static struct rig *
rig_new(void)
{
    struct rig *x = c2_calloc(1, sizeof *x);
    x->r = vr_new();
    x->store = vr_store_open(x->r, true);
    coord_gate_init(&x->gate, x->store);
    x->session = open_session(x);
    x->token = take(x, x->session, owner);
    struct lease_config c = { .env = test_env_env(x->r->env),
                              .coord = &x->gate.base,
                              .name = "t",
                              .lock_key = lock_key,
                              .owner_key = owner_key,
                              .lock_value = c2_slice_str("holder"),
                              .session = x->session,
                              .token = x->token,
                              .ttl_ns = TTL_NS,
                              .lost = lost,
                              .arg = x };
    memcpy(c.owner, owner, sizeof c.owner);
    x->lease = lease_new(&c);
    return x;
}

static void
ended(void *arg, uint64_t session)
{
    struct rig *x = arg;
    x->ended = true;
    x->ended_session = session;
}

static void
rig_free(struct rig *x)
{
    lease_stop(x->lease, ended, x);
    assert_false(x->ended);
    test_env_run_until(x->r->env, &x->ended);
    lease_free(x->lease);
    coord_close(x->store);
    vr_free(x->r);
    c2_free(x);
}

static void
run_s(struct rig *x, uint64_t seconds)
{
    test_env_run_for(x->r->env, seconds * C2_NS_PER_S);
}

/* A transaction as the file system makes them, that counts. */
struct commit {
    struct vr_call c;
    struct coord_cond conds[3];
    struct coord_op op;
};

static void
commit_done(struct coord_req *r)
{
    struct vr_call *c = C2_CONTAINER_OF(r, struct vr_call, r);
    assert_false(c->done);
    c->done = true;
}

static void
commit_start(struct rig *x, struct commit *m)
{
    m->conds[0] = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                       .key = ck_slice(&lock_key),
                                       .number = x->token };
    m->conds[1] = (struct coord_cond){ .kind = COORD_SESSION_ALIVE, .number = x->session };
    m->op = (struct coord_op){ .kind = COORD_ADD, .key = c2_slice_str("count"), .number = 1 };
    m->c.r.verb = COORD_TXN;
    m->c.r.conds = m->conds;
    m->c.r.nconds = m->c.r.nconds == 0 ? 2 : m->c.r.nconds;
    m->c.r.ops = &m->op;
    m->c.r.nops = 1;
    m->c.r.done = commit_done;
    coord_submit(lease_coord(x->lease), &m->c.r);
    assert_false(m->c.done);
}

static enum c2_err
commit(struct rig *x)
{
    struct commit m = { 0 };
    commit_start(x, &m);
    test_env_run_until(x->r->env, &m.c.done);
    if (m.c.r.err == C2_E_CONFLICT)
        assert_int_equal(m.c.r.cond_failed, 0);
    coord_req_done(&m.c.r);
    return m.c.r.err;
}

static uint64_t
count(struct rig *x)
{
    uint64_t version;
    struct c2_buf b = vr_store_get(x->r, x->store, "count", &version);
    uint64_t n = b.len == 8 ? b.data[0] : 0;
    c2_buf_done(&b);
    return n;
}

/* ---- the lease ------------------------------------------------------------------------------- */

static void
lease__is_kept_while_the_service_answers(void **state)
{
    (void)state;
    struct rig *x = rig_new();
    run_s(x, 3600);
    assert_int_equal(look(x).version, x->token);
    assert_int_equal(lease_renewals(x->lease), 0);
    assert_int_equal(commit(x), C2_E_OK);
    rig_free(x);
}

static void
lease__is_taken_again_when_nobody_had_the_lock(void **state)
{
    (void)state;
    struct rig *x = rig_new();
    close_session(x, x->session);
    run_s(x, 60);
    struct coord_entry e = look(x);
    assert_true(e.version > x->token && e.session > x->session);
    assert_true(lease_is_held(x->lease));
    assert_int_equal(lease_renewals(x->lease), 1);
    assert_int_equal(x->lost, 0);
    assert_int_equal(commit(x), C2_E_OK);
    assert_int_equal(count(x), 1);
    rig_free(x);
}

static void
lease__outlives_an_absence_of_the_service(void **state)
{
    (void)state;
    struct rig *x = rig_new();
    x->gate.silent = true;
    run_s(x, 3600);
    assert_int_equal(x->lost, 0);
    assert_int_equal(look(x).version, 0); /* the session is over */
    assert_int_equal(commit(x), C2_E_TIMEOUT);
    x->gate.silent = false;
    run_s(x, 5);
    assert_int_equal(lease_renewals(x->lease), 1);
    assert_int_equal(commit(x), C2_E_OK);
    run_s(x, 3600);
    assert_int_equal(lease_renewals(x->lease), 1);
    rig_free(x);
}

static void
lease__is_lost_to_a_mount_that_came_and_went(void **state)
{
    (void)state;
    struct rig *x = rig_new();
    close_session(x, x->session);
    uint64_t other = open_session(x);
    take(x, other, (const uint8_t[LEASE_OWNER_LEN]){ "another mount" });
    close_session(x, other);
    run_s(x, 60);
    assert_int_equal(x->lost, 1);
    assert_true(x->taken);
    assert_false(lease_is_held(x->lease));
    assert_int_equal(look(x).version, 0);
    assert_int_equal(commit(x), C2_E_CONFLICT);
    assert_int_equal(count(x), 0);
    rig_free(x);
}

static void
lease__is_lost_to_a_mount_that_is_there(void **state)
{
    (void)state;
    struct rig *x = rig_new();
    close_session(x, x->session);
    uint64_t token = take(x, open_session(x), (const uint8_t[LEASE_OWNER_LEN]){ "another mount" });
    assert_int_equal(commit(x), C2_E_CONFLICT);
    assert_int_equal(x->lost, 1);
    assert_true(x->taken);
    assert_int_equal(look(x).version, token); /* it is not disturbed */
    assert_int_equal(count(x), 0);
    run_s(x, 3600);
    assert_int_equal(x->lost, 1);
    rig_free(x);
}

static void
lease__is_lost_when_the_lock_is_deleted(void **state)
{
    (void)state;
    struct rig *x = rig_new();
    const struct coord_op op = { .kind = COORD_DELETE, .key = ck_slice(&lock_key) };
    struct vr_call c = { .r = { .verb = COORD_TXN, .ops = &op, .nops = 1 } };
    assert_int_equal(vr_call(x->r, x->store, &c), C2_E_OK);
    coord_req_done(&c.r);
    assert_int_equal(commit(x), C2_E_CONFLICT);
    assert_int_equal(x->lost, 1);
    assert_false(x->taken);
    assert_int_equal(look(x).version, 0);
    assert_int_equal(count(x), 0);
    rig_free(x);
}

static void
lease__finds_the_lock_that_it_took_without_an_answer(void **state)
{
    (void)state;
    struct rig *x = rig_new();
    close_session(x, x->session);
    x->gate.lie = 1;
    run_s(x, 60);
    assert_int_equal(x->gate.lie, 0);
    assert_int_equal(lease_renewals(x->lease), 1);
    assert_int_equal(commit(x), C2_E_OK);
    rig_free(x);
}

static void
lease__begins_anew_when_the_new_session_ends_too(void **state)
{
    (void)state;
    struct rig *x = rig_new();
    close_session(x, x->session);
    x->gate.lie = 1;
    while (x->gate.lie > 0)
        test_env_step(x->r->env);
    uint64_t second = look(x).session;
    assert_true(second > x->session);
    close_session(x, second); /* before TAKE is asked again, a second later */
    run_s(x, 60);
    assert_true(look(x).session > second);
    assert_int_equal(lease_renewals(x->lease), 1);
    assert_int_equal(commit(x), C2_E_OK);
    rig_free(x);
}

static void
lease__stops_at_any_moment(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 30; steps++) {
        struct rig *x = rig_new();
        close_session(x, x->session);
        test_env_run_for(x->r->env, TTL_NS / 3 - 1);
        for (unsigned i = 0; i < steps; i++)
            test_env_step(x->r->env);
        rig_free(x);
    }
}

/* ---- transactions ---------------------------------------------------------------------------- */

static void
txn__waits_until_the_lock_is_taken_again(void **state)
{
    (void)state;
    struct rig *x = rig_new();
    struct commit m[3] = { 0 };
    close_session(x, x->session);
    for (unsigned i = 0; i < 3; i++)
        commit_start(x, &m[i]);
    for (unsigned i = 0; i < 3; i++) {
        test_env_run_until(x->r->env, &m[i].c.done);
        assert_int_equal(m[i].c.r.err, C2_E_OK);
        coord_req_done(&m[i].c.r);
    }
    assert_int_equal(count(x), 3);
    assert_int_equal(lease_renewals(x->lease), 1);
    rig_free(x);
}

static void
txn__never_happens_under_the_old_token(void **state)
{
    (void)state;
    struct rig *x = rig_new();
    struct commit m = { 0 };
    close_session(x, x->session);
    commit_start(x, &m);
    x->gate.silent = true; /* behind it */
    run_s(x, 3600);
    assert_false(m.c.done); /* refused once, waiting */
    assert_int_equal(count(x), 0);
    take(x, open_session(x), (const uint8_t[LEASE_OWNER_LEN]){ "another mount" });
    x->gate.silent = false;
    test_env_run_until(x->r->env, &m.c.done);
    assert_int_equal(m.c.r.err, C2_E_CONFLICT);
    assert_int_equal(m.c.r.cond_failed, 0);
    coord_req_done(&m.c.r);
    assert_int_equal(count(x), 0);
    rig_free(x);
}

static void
txn__that_waits_ends_when_canceled(void **state)
{
    (void)state;
    struct rig *x = rig_new();
    struct commit m = { 0 };
    close_session(x, x->session);
    commit_start(x, &m);
    x->gate.silent = true;
    run_s(x, 10);
    coord_cancel(lease_coord(x->lease), &m.c.r);
    coord_cancel(lease_coord(x->lease), &m.c.r);
    assert_false(m.c.done);
    test_env_run_until(x->r->env, &m.c.done);
    assert_int_equal(m.c.r.err, C2_E_CANCELED);
    x->gate.silent = false;
    run_s(x, 60);
    assert_int_equal(count(x), 0);
    rig_free(x);
}

/* It is being applied when it is cancelled, and refused: the lock is gone. */
static void
txn__that_was_canceled_before_does_not_wait(void **state)
{
    (void)state;
    struct rig *x = rig_new();
    struct commit m = { 0 };
    close_session(x, x->session);
    commit_start(x, &m);
    x->gate.silent = true;
    assert_true(test_env_step(x->r->env)); /* the store has taken it */
    coord_cancel(lease_coord(x->lease), &m.c.r);
    run_s(x, 10);
    assert_true(m.c.done);
    assert_int_equal(m.c.r.err, C2_E_CANCELED);
    coord_req_done(&m.c.r);
    x->gate.silent = false;
    run_s(x, 60);
    assert_int_equal(count(x), 0);
    assert_int_equal(lease_renewals(x->lease), 1);
    rig_free(x);
}

static void
txn__that_waits_ends_at_its_deadline(void **state)
{
    (void)state;
    struct rig *x = rig_new();
    struct commit m = { 0 };
    close_session(x, x->session);
    m.c.r.deadline_ns = c2_now_ns(test_env_env(x->r->env)) + 20 * C2_NS_PER_S;
    commit_start(x, &m);
    x->gate.silent = true;
    run_s(x, 19);
    assert_false(m.c.done);
    run_s(x, 2);
    assert_true(m.c.done);
    assert_int_equal(m.c.r.err, C2_E_TIMEOUT);
    x->gate.silent = false;
    run_s(x, 60);
    assert_int_equal(count(x), 0);
    rig_free(x);
}

static void
txn__gets_conflicts_of_its_own(void **state)
{
    (void)state;
    struct rig *x = rig_new();
    struct commit m = { 0 };
    close_session(x, x->session);
    m.conds[2] = (struct coord_cond){ .kind = COORD_EXISTS, .key = c2_slice_str("nothing") };
    m.c.r.nconds = 3;
    commit_start(x, &m);
    test_env_run_until(x->r->env, &m.c.done);
    assert_int_equal(m.c.r.err, C2_E_CONFLICT);
    assert_int_equal(m.c.r.cond_failed, 2);
    assert_int_equal(m.c.r.nentries, 1);
    coord_req_done(&m.c.r);
    assert_int_equal(lease_renewals(x->lease), 1);
    rig_free(x);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lease__is_kept_while_the_service_answers),
        cmocka_unit_test(lease__is_taken_again_when_nobody_had_the_lock),
        cmocka_unit_test(lease__outlives_an_absence_of_the_service),
        cmocka_unit_test(lease__is_lost_to_a_mount_that_came_and_went),
        cmocka_unit_test(lease__is_lost_to_a_mount_that_is_there),
        cmocka_unit_test(lease__is_lost_when_the_lock_is_deleted),
        cmocka_unit_test(lease__finds_the_lock_that_it_took_without_an_answer),
        cmocka_unit_test(lease__begins_anew_when_the_new_session_ends_too),
        cmocka_unit_test(lease__stops_at_any_moment),
        cmocka_unit_test(txn__waits_until_the_lock_is_taken_again),
        cmocka_unit_test(txn__never_happens_under_the_old_token),
        cmocka_unit_test(txn__that_waits_ends_when_canceled),
        cmocka_unit_test(txn__that_was_canceled_before_does_not_wait),
        cmocka_unit_test(txn__that_waits_ends_at_its_deadline),
        cmocka_unit_test(txn__gets_conflicts_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
