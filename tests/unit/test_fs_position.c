/* SPDX-License-Identifier: MIT */
/*
 * Two machines with a journal each and one store: what a machine left behind is replayed when
 * nobody changed the volume meanwhile, else refused and kept.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "tests/lib/fs_fixture.h"

/* ---- bytes ---------------------------------------------------------------------------------- */

static const uint8_t me[FS_DEVICE_ID_LEN] = { 1, 2, 3 };
static const uint8_t other[FS_DEVICE_ID_LEN] = { 4 };

static enum c2_err
decode(const struct c2_buf *last, const struct c2_buf *own, struct fs_position *ret)
{
    return fs_position_decode(c2_buf_slice(last), c2_buf_slice(own), me, ret);
}

static void
position__reads_back_what_was_written(void **state)
{
    (void)state;
    struct fs_position p = { .next_ino = 77, .seq = 1234 }, d;
    struct c2_buf last = { 0 }, own = { 0 };
    memcpy(p.device, other, sizeof(other));
    fs_position_encode(&p, &last);
    fs_position_encode_seq(&p, &own);
    assert_int_equal(decode(&last, &own, &d), C2_E_OK);
    assert_memory_equal(&d, &p, sizeof(p));
    assert_true(fs_position_is_foreign(&d, me));
    assert_false(fs_position_is_foreign(&d, other));
    c2_buf_clear(&own); /* this device has never committed */
    assert_int_equal(decode(&last, &own, &d), C2_E_OK);
    assert_int_equal(d.seq, 0);
    c2_buf_done(&last);
    c2_buf_done(&own);
}

static void
position__of_nobody_is_not_foreign(void **state)
{
    (void)state;
    struct fs_position p = { .next_ino = 2 };
    assert_false(fs_position_is_foreign(&p, me));
}

static void
position__of_the_first_format_is_of_the_device_that_asks(void **state)
{
    (void)state;
    struct fs_position d;
    struct c2_buf last = { 0 }, own = { 0 };
    c2_wr_u64(&last, 5);
    c2_wr_u64(&last, 9);
    assert_int_equal(decode(&last, &own, &d), C2_E_OK);
    assert_int_equal(d.seq, 5);
    assert_int_equal(d.next_ino, 9);
    assert_false(fs_position_is_foreign(&d, me));
    c2_buf_done(&last);
}

static void
position__from_a_newer_version_or_malformed_is_refused(void **state)
{
    (void)state;
    struct fs_position p = { .next_ino = 2 }, d = { .seq = 42 };
    struct c2_buf last = { 0 }, own = { 0 };
    fs_position_encode(&p, &last);
    last.data[0]++;
    assert_int_equal(decode(&last, &own, &d), C2_E_VERSION);
    last.data[0]--;
    fs_position_encode_seq(&p, &own);
    own.data[0]++;
    assert_int_equal(decode(&last, &own, &d), C2_E_VERSION);
    own.data[0]--;
    own.len--;
    assert_int_equal(decode(&last, &own, &d), C2_E_PARSE);
    own.len++;
    last.len--;
    assert_int_equal(decode(&last, &own, &d), C2_E_PARSE);
    assert_int_equal(d.seq, 42);
    c2_buf_done(&last);
    c2_buf_done(&own);
}

/* ---- machines ------------------------------------------------------------------------------- */

static int
setup(void **state)
{
    struct fsx *x = c2_calloc(1, sizeof(*x));
    fsx_init(x);
    *state = x;
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

/* From now on the mounts are those of this machine. */
static void
machine(struct fsx *x, uint8_t device)
{
    memset(x->device_id, device, sizeof(x->device_id));
    c2_free(x->journal_dir);
    x->journal_dir = c2_asprintf("%s/journal-%u", x->home, device);
}

static void
clouds(struct fsx *x, const char *fault)
{
    for (unsigned s = 0; s < FSX_SEATS; s++)
        fsx_fault(x, s, fault);
}

/* A file that this machine's journal has and nobody else. */
static void
leave_behind(struct fsx *x, const char *name)
{
    clouds(x, "error");
    fsx_put(x, FS_ROOT_INO, name, "left behind", 11);
    fsx_stop(x);
    clouds(x, "");
}

static void
takeover__refuses_what_the_other_machine_left_behind_and_keeps_it(void **state)
{
    struct fsx *x = *state;
    machine(x, 1);
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "shared", "one", 3);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    leave_behind(x, "shared");
    machine(x, 2);
    fsx_mount(x);
    /* More groups than the other one has: its numbers are all below our position. */
    for (unsigned k = 0; k < 10; k++) {
        fsx_put(x, FS_ROOT_INO, "shared", "two", 3);
        assert_int_equal(fsx_sync(x), C2_E_OK);
    }
    fsx_unmount(x);

    machine(x, 1);
    for (unsigned k = 0; k < 2; k++) { /* saying it once does not lose it */
        assert_int_equal(fsx_try_mount(x), C2_E_CONFLICT);
        assert_non_null(strstr(x->mount_error, "another machine has changed the volume"));
        assert_non_null(strstr(x->mount_error, "hint: mv "));
    }
    char *aside = c2_asprintf("%s.conflict-1", x->journal_dir);
    struct c2_disk_req mv = { .verb = C2_DISK_RENAME, .path = x->journal_dir, .path2 = aside };
    test_disk_execute(&mv);
    assert_int_equal(mv.err, C2_E_OK);
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "shared", "two", 3);
    fsx_put(x, FS_ROOT_INO, "shared", "three", 5);
    fsx_unmount(x);
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "shared", "three", 5);
    fsx_stop(x);
    c2_free(aside);
}

static void
takeover__names_the_files_that_were_left_behind(void **state)
{
    struct fsx *x = *state;
    machine(x, 1);
    fsx_mount(x);
    leave_behind(x, "ecg\nhint: rm -rf");
    machine(x, 2);
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "b", "b", 1);
    fsx_unmount(x);
    machine(x, 1);
    assert_int_equal(fsx_try_mount(x), C2_E_CONFLICT);
    assert_non_null(strstr(x->mount_error, "names: ecg?hint: rm -rf)"));
}

static void
takeover__that_changed_nothing_does_no_harm(void **state)
{
    struct fsx *x = *state;
    machine(x, 1);
    fsx_mount(x);
    fsx_put(x, FS_ROOT_INO, "a", "a", 1);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    leave_behind(x, "b");
    machine(x, 2);
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "a", "a", 1);
    fsx_unmount(x);
    machine(x, 1);
    fsx_mount(x);
    fsx_expect(x, FS_ROOT_INO, "b", "left behind", 11);
    fsx_unmount(x);
}

static void
takeover__of_a_machine_that_left_nothing_goes_back_and_forth(void **state)
{
    struct fsx *x = *state;
    for (uint8_t k = 0; k < 6; k++) {
        char name[] = "a";
        machine(x, k % 2);
        fsx_mount(x);
        for (unsigned earlier = 0; earlier < k; earlier++) {
            name[0] = (char)('a' + earlier);
            fsx_expect(x, FS_ROOT_INO, name, name, 1);
        }
        name[0] = (char)('a' + k);
        fsx_put(x, FS_ROOT_INO, name, name, 1);
        fsx_unmount(x);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(position__reads_back_what_was_written),
        cmocka_unit_test(position__of_nobody_is_not_foreign),
        cmocka_unit_test(position__of_the_first_format_is_of_the_device_that_asks),
        cmocka_unit_test(position__from_a_newer_version_or_malformed_is_refused),
        T(takeover__refuses_what_the_other_machine_left_behind_and_keeps_it),
        T(takeover__names_the_files_that_were_left_behind),
        T(takeover__that_changed_nothing_does_no_harm),
        T(takeover__of_a_machine_that_left_nothing_goes_back_and_forth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
