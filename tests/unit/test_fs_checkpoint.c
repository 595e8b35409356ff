/* SPDX-License-Identifier: MIT */
/*
 * Checkpoints: when, what they cost, what they make superfluous.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "backends/mem.h"
#include "base/alloc.h"
#include "base/mark.h"
#include "fs/ship_state.h"
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

/* About bytes of log, in symlinks of 4,000 bytes. */
static void
make_log(struct fsx *x, unsigned number, size_t bytes)
{
    char name[32], target[4001];
    for (unsigned k = 0; k < bytes / 4000; k++) {
        snprintf(name, sizeof(name), "l-%u-%u", number, k);
        memset(target, 'a' + (int)(k % 26), 4000);
        target[4000] = '\0';
        struct fs_req r = { .op = FS_SYMLINK, .ino = FS_ROOT_INO, .name = name, .name2 = target };
        assert_int_equal(fsx_run(x, &r), C2_E_OK);
        struct fs_req f = { .op = FS_FORGET, .ino = r.attr.ino, .len = 1 };
        fsx_run(x, &f);
        fs_req_done(&r);
    }
    assert_int_equal(fsx_sync(x), C2_E_OK);
    test_env_run_for(x->t, C2_NS_PER_S); /* a checkpoint that is due */
}

static void
expect_links(struct fsx *x, unsigned number, size_t bytes)
{
    char name[32];
    for (unsigned k = 0; k < bytes / 4000; k++) {
        struct fs_attr a;
        snprintf(name, sizeof(name), "l-%u-%u", number, k);
        assert_int_equal(fsx_lookup(x, FS_ROOT_INO, name, &a), C2_E_OK);
        assert_int_equal(a.size, 4000);
    }
}

static uint64_t
checkpoint_version(struct fsx *x)
{
    return fsx_status(x).ship.checkpoint_version;
}

static unsigned
most_keys(struct fsx *x, const char *folder)
{
    unsigned most = 0;
    for (unsigned s = 0; s < FSX_SEATS; s++)
        most = C2_MAX(most, count_keys(x, s, folder));
    return most;
}

static void
checkpoint__comes_with_the_first_mount(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    uint64_t version = checkpoint_version(x);
    assert_true(version > 0);
    assert_true(fsx_status(x).ship.checkpoint_wall_ns > 0);
    fsx_unmount(x);
    fsx_mount(x);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_int_equal(checkpoint_version(x), version); /* remembered */
    fsx_unmount(x);
}

static void
checkpoint__comes_with_its_bytes_of_log(void **state)
{
    struct fsx *x = *state;
    x->config.checkpoint_bytes = 4u << 20;
    fsx_mount(x);
    make_log(x, 0, 0);
    uint64_t version = checkpoint_version(x);
    assert_true(version > 0);
    make_log(x, 1, 3u << 20);
    assert_int_equal(checkpoint_version(x), version);
    make_log(x, 2, 2u << 20);
    assert_true(checkpoint_version(x) > version);
    fsx_stop(x);
}

static void
checkpoint__comes_with_its_interval(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    make_log(x, 0, 0);
    uint64_t version = checkpoint_version(x);
    make_log(x, 1, 3u << 20);
    test_env_run_for(x->t, x->config.checkpoint_interval_ns - 10 * C2_NS_PER_S);
    assert_int_equal(checkpoint_version(x), version);
    test_env_run_for(x->t, 20 * C2_NS_PER_S);
    assert_true(checkpoint_version(x) > version);
    fsx_stop(x);
}

/* Many seconds with one small change each, far less than the snapshot has. */
static void
checkpoint__costs_no_more_than_the_changes(void **state)
{
    struct fsx *x = *state;
    x->config.checkpoint_bytes = 1;
    x->config.checkpoint_interval_ns = C2_NS_PER_S;
    fsx_mount(x);
    make_log(x, 0, 12u << 20);
    make_log(x, 1, 2u << 20);
    uint64_t version = checkpoint_version(x);
    struct fs_ship_status before = fsx_status(x).ship;
    for (unsigned k = 0; k < 30; k++) {
        put_files(x, k, k + 1);
        assert_int_equal(fsx_sync(x), C2_E_OK);
        test_env_run_for(x->t, 10 * C2_NS_PER_S);
    }
    struct fs_ship_status after = fsx_status(x).ship;
    assert_int_equal(checkpoint_version(x), version);
    assert_true(after.object_bytes - before.object_bytes < 1u << 20);
    assert_in_range(after.objects - before.objects, 30, 40);
    fsx_stop(x);
}

static void
checkpoint__makes_old_objects_superfluous(void **state)
{
    struct fsx *x = *state, y;
    x->config.checkpoint_bytes = 1;
    fsx_mount(x);
    for (unsigned k = 0; k < 6; k++) {
        make_log(x, k, 2u << 20);
        put_files(x, k, k + 1);
        if (k == 3) {
            fsx_unmount(x);
            fsx_mount(x);
        }
    }
    fsx_unmount(x);
    /* Two checkpoints of two parts at most and their indexes; the journal from the older one on. */
    assert_in_range(most_keys(x, "/c/"), 2, 8);
    assert_in_range(most_keys(x, "/j/"), 1, 16);
    fsx_init_second(&y, x);
    recover(&y);
    fsx_mount(&y);
    expect_files(&y, 0, 6);
    for (unsigned k = 0; k < 6; k++)
        expect_links(&y, k, 2u << 20);
    fsx_stop(&y);
    fsx_done(&y);
}

static void
checkpoint__before_the_last_serves_when_the_last_is_lost(void **state)
{
    struct fsx *x = *state;
    x->config.checkpoint_bytes = 1;
    fsx_mount(x);
    for (unsigned k = 0; k < 3; k++)
        make_log(x, k, 2u << 20);
    fsx_unmount(x);
    for (unsigned seat = 0; seat < FSX_SEATS; seat++) {
        unsigned n = count_keys(x, seat, "/c/");
        if (n > 0)
            prov_mem_delete(x->mem[seat], key_of(x, seat, "/c/", -1));
    }
    struct fsx y;
    fsx_init_second(&y, x);
    recover(&y);
    fsx_mount(&y);
    for (unsigned k = 0; k < 3; k++)
        expect_links(&y, k, 2u << 20);
    fsx_stop(&y);
    fsx_done(&y);
}

/* Larger than one part: through a file, which is gone afterwards. */
static void
checkpoint__of_a_large_store_has_several_parts(void **state)
{
    struct fsx *x = *state, y;
    x->config.checkpoint_bytes = 1;
    fsx_mount(x);
    make_log(x, 0, 12u << 20);
    make_log(x, 1, 4000);
    assert_true(fsx_status(x).ship.checkpoint_version > 0);
    assert_true(most_keys(x, "/c/") >= 3);
    char *spool = c2_asprintf("%s/checkpoint.tmp", x->home);
    assert_false(test_disk_exists(spool));
    c2_free(spool);
    fsx_unmount(x);
    fsx_init_second(&y, x);
    struct recover_report rep = recover(&y);
    assert_true(rep.checkpoint_bytes > 8u << 20);
    fsx_mount(&y);
    expect_links(&y, 0, 12u << 20);
    fsx_stop(&y);
    fsx_done(&y);
}

/* Shipping is not held up by a checkpoint that does not get on, nor the end of the mount. */
static void
checkpoint__that_cannot_be_written_waits(void **state)
{
    struct fsx *x = *state;
    x->config.checkpoint_bytes = 1;
    fsx_mount(x);
    make_log(x, 0, 2u << 20);
    uint64_t version = checkpoint_version(x);
    fsx_fault(x, 0, "put.down");
    fsx_fault(x, 1, "put.down");
    make_log(x, 1, 0);
    put_files(x, 0, 1);
    test_env_run_for(x->t, 60 * C2_NS_PER_S);
    assert_int_equal(checkpoint_version(x), version);
    fsx_stop(x);
    fsx_fault(x, 0, "");
    fsx_fault(x, 1, "");
    fsx_mount(x);
    make_log(x, 2, 2u << 20);
    assert_true(checkpoint_version(x) > version);
    fsx_unmount(x);
}

/* A record that knows of no log yet is at generation 0, as is a mount that has not looked. */
static void
checkpoint__is_made_once_the_generation_has_begun(void **state)
{
    struct fsx *x = *state;
    for (unsigned s = 0; s < FSX_SEATS; s++)
        fsx_fault(x, s, "list.delay:5s");
    fsx_mount(x);
    assert_int_equal(x->fs->ship->generation, 0);
    fs_ship_checkpoint(x->fs);
    test_env_run_for(x->t, C2_NS_PER_S);
    assert_int_equal(x->fs->ship->generation, 0);
    assert_int_equal(most_keys(x, "/c/"), 0);
    test_env_run_for(x->t, 60 * C2_NS_PER_S);
    assert_true(x->fs->ship->generation > 0);
    assert_true(most_keys(x, "/c/") > 0);
    assert_int_equal(x->fs->ship->rec.checkpoints[0].generation, x->fs->ship->generation);
    fsx_stop(x);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(checkpoint__comes_with_the_first_mount),
        TEST(checkpoint__comes_with_its_bytes_of_log),
        TEST(checkpoint__comes_with_its_interval),
        TEST(checkpoint__costs_no_more_than_the_changes),
        TEST(checkpoint__makes_old_objects_superfluous),
        TEST(checkpoint__before_the_last_serves_when_the_last_is_lost),
        TEST(checkpoint__of_a_large_store_has_several_parts),
        TEST(checkpoint__is_made_once_the_generation_has_begun),
        TEST(checkpoint__that_cannot_be_written_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
