/* SPDX-License-Identifier: MIT */
/*
 * Machines that want the same volume at the same time: at most one goes on, and what it goes on
 * from is never in doubt.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "backends/mem.h"
#include "base/alloc.h"
#include "base/mark.h"
#include "tests/lib/recover_fixture.h"

static int
setup(void **state)
{
    struct fsx *x = c2_calloc(1, sizeof(*x));
    fsx_init(x);
    x->ship = true;
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
fault_all(struct fsx *x, const char *spec)
{
    for (unsigned s = 0; s < FSX_SEATS; s++)
        fsx_fault(x, s, spec);
}

static void
third_machine(struct fsx *z, struct fsx *x)
{
    fsx_init_second(z, x);
    c2_free(z->home);
    c2_free(z->journal_dir);
    z->home = test_env_path(x->t, "third");
    z->journal_dir = test_env_path(x->t, "third/journal");
    test_disk_remove_tree(z->home);
    z->device_secret[0] ^= 1; /* another device */
    uint8_t seed[32] = { 3 }, public_key[C2_ED25519_PUBLIC_LEN];
    c2_ed25519_keypair(seed, z->device_secret, public_key);
}

/* Whether a change gets to the clouds. */
static bool
commits(struct fsx *x, const char *name)
{
    struct fs_req r = { .op = FS_MKDIR, .ino = FS_ROOT_INO, .name = name, .mode = 0755 };
    enum c2_err err = fsx_run(x, &r);
    fs_req_done(&r);
    assert_true(err == C2_E_OK || err == C2_E_FENCED);
    return fsx_sync(x) == C2_E_OK && err == C2_E_OK;
}

static void
recoveries__at_the_same_time_give_one_writer(void **state)
{
    struct fsx *x = *state, y, z;
    fsx_mount(x);
    put_files(x, 0, 5);
    fsx_unmount(x);
    fsx_init_second(&y, x);
    third_machine(&z, x);
    struct recover_call a = { .r = { .skip_checkpoints = 0 } };
    struct recover_call b = { .r = { .skip_checkpoints = 0 } };
    recover_begin(&y, &a);
    recover_begin(&z, &b);
    test_env_run_until(y.t, &a.done);
    test_env_run_until(y.t, &b.done);
    recover_finish(&y, &a);
    recover_finish(&z, &b);
    assert_true(a.r.err == C2_E_OK || b.r.err == C2_E_OK);
    unsigned writers = 0;
    struct fsx *machines[2] = { &y, &z };
    const enum c2_err errs[2] = { a.r.err, b.r.err };
    for (unsigned k = 0; k < 2; k++) {
        if (errs[k] != C2_E_OK) {
            c2_free(k == 0 ? a.r.error : b.r.error);
            continue;
        }
        fsx_mount(machines[k]);
        expect_files(machines[k], 0, 5);
        writers += commits(machines[k], "new");
        fsx_stop(machines[k]);
    }
    assert_int_equal(writers, 1);
    fsx_done(&z);
    fsx_done(&y);
}

/* Each of the two objects of a slot is in two clouds and neither was acknowledged. */
static void
slot__with_two_objects_is_decided_by_what_follows(void **state)
{
    struct fsx *x = *state, y;
    fsx_mount(x);
    put_files(x, 0, 5);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_init_second(&y, x);
    struct recover_call w = { .r = { .skip_checkpoints = 0 } };
    fault_all(&y, "list.delay:1s,get.delay:10s");
    recover_begin(&y, &w);
    test_env_run_for(y.t, 3 * C2_NS_PER_S); /* it has its list */
    fsx_fault(x, 2, "put.down");
    fsx_fault(x, 3, "put.down");
    put_files(x, 5, 6);
    test_env_run_for(y.t, 4 * C2_NS_PER_S);
    fault_all(&y, "");
    recover_finish(&y, &w);
    assert_int_equal(w.r.err, C2_E_OK);
    fault_all(x, "");
    assert_int_equal(fsx_sync(x), C2_E_FENCED);
    fsx_stop(x);
    fsx_mount(&y);
    put_files(&y, 6, 8);
    assert_int_equal(fsx_sync(&y), C2_E_OK);
    expect_files(&y, 0, 5);
    fsx_stop(&y);
    fsx_done(&y);

    for (unsigned seat = 0; seat < FSX_SEATS; seat++) {
        struct fsx z;
        third_machine(&z, x);
        fsx_fault(&z, seat, "get.delay:5s");
        struct recover r = recover_with(&z, (struct recover){ .skip_checkpoints = 100 });
        if (r.err != C2_E_OK)
            fail_msg("%s", r.error);
        fsx_mount(&z);
        expect_files(&z, 0, 5);
        expect_files(&z, 6, 8);
        fsx_stop(&z);
        fsx_done(&z);
    }
}

/* Whatever was acknowledged is part of the one history that is left. */
static void
expect_durable(struct fsx *x, bool first, bool second)
{
    struct fsx z;
    struct fs_attr a;
    fault_all(x, "");
    third_machine(&z, x);
    recover(&z);
    fsx_mount(&z);
    if (first)
        assert_int_equal(fsx_lookup(&z, FS_ROOT_INO, "first", &a), C2_E_OK);
    if (second)
        assert_int_equal(fsx_lookup(&z, FS_ROOT_INO, "second", &a), C2_E_OK);
    else
        assert_int_equal(fsx_lookup(&z, FS_ROOT_INO, "late", &a), C2_E_OK);
    fsx_stop(&z);
    fsx_done(&z);
}

/* The old machine comes back at the very moment when another one recovers. */
static void
remount__against_a_recovery_gives_one_writer(void **state)
{
    struct fsx *x = *state;
    unsigned won[2] = { 0, 0 };
    char name[32];
    for (unsigned round = 0; round < 30; round++) {
        struct fsx y;
        fsx_init_second(&y, x);
        snprintf(name, sizeof(name), "x-%u", round);
        struct recover_call w = { .r = { .skip_checkpoints = 0 } };
        fsx_mount(x);
        assert_true(commits(x, name));
        fsx_stop(x);
        char delay[32];
        snprintf(delay, sizeof(delay), "delay:%ums", 1 + round * 37 % 200);
        fault_all(&y, delay);
        snprintf(delay, sizeof(delay), "delay:%ums", 1 + round * 61 % 200);
        fault_all(x, delay);
        recover_begin(&y, &w);
        fsx_mount(x);
        bool first = commits(x, "first"), second = false;
        recover_finish(&y, &w);
        if (w.r.err == C2_E_OK) {
            fsx_mount(&y);
            second = commits(&y, "second");
            fsx_stop(&y);
        }
        c2_free(w.r.error);
        assert_true(first || second);
        assert_int_equal(commits(x, "late"), !second);
        won[second]++;
        fsx_stop(x);
        expect_durable(x, first, second);
        fsx_done(&y);
        fsx_done(x);
        fsx_init(x);
        x->ship = true;
    }
    assert_true(won[0] > 0 && won[1] > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(recoveries__at_the_same_time_give_one_writer),
        TEST(slot__with_two_objects_is_decided_by_what_follows),
        TEST(remount__against_a_recovery_gives_one_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
