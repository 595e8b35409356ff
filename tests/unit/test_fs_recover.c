/* SPDX-License-Identifier: MIT */
/*
 * A volume back from the clouds alone: under faults of one cloud, after crashes, against a machine
 * that still has it.
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
#include "base/os_file.h"
#include "fs/coord_keys.h"
#include "fs/ship_format.h"
#include "tests/lib/recover_fixture.h"

#define FILES 20

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

/* ---- tests ---------------------------------------------------------------------------------- */

static void
recovery__gives_everything_that_was_synced(void **state)
{
    struct fsx *x = *state, y;
    fsx_mount(x);
    put_files(x, 0, FILES);
    uint64_t d = fsx_mkdir(x, FS_ROOT_INO, "dir");
    fsx_put(x, d, "inside", "abc", 3);
    fsx_unlink(x, FS_ROOT_INO, "file-3");
    assert_int_equal(fsx_sync(x), C2_E_OK);
    struct fs_status before = fsx_status(x);
    fsx_crash(x);

    fsx_init_second(&y, x);
    struct recover_report rep = recover(&y);
    assert_false(rep.lossy);
    assert_true(rep.checkpoint_version > 0);
    fsx_mount(&y);
    expect_files(&y, 0, 3);
    expect_files(&y, 4, FILES);
    expect_absent(&y, 3);
    fsx_expect(&y, fsx_ino(&y, FS_ROOT_INO, "dir"), "inside", "abc", 3);
    assert_int_equal(fsx_status(&y).used_bytes, before.used_bytes);
    assert_int_equal(fsx_status(&y).used_files, before.used_files);
    put_files(&y, FILES, FILES + 2);
    fsx_unmount(&y);
    fsx_mount(&y);
    assert_false(fsx_status(&y).fenced);
    expect_files(&y, FILES, FILES + 2);
    fsx_unmount(&y);
    fsx_done(&y);
}

static void
recovery__needs_no_checkpoint_while_the_journal_is_whole(void **state)
{
    struct fsx *x = *state, y;
    fsx_mount(x);
    put_files(x, 0, FILES);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_unmount(x);
    fsx_mount(x);
    put_files(x, FILES, 2 * FILES);
    fsx_unmount(x);
    fsx_init_second(&y, x);
    struct recover r = recover_with(&y, (struct recover){ .skip_checkpoints = 100 });
    assert_int_equal(r.err, C2_E_OK);
    assert_int_equal(r.report.checkpoint_version, 0);
    assert_true(r.report.objects >= 2);
    fsx_mount(&y);
    expect_files(&y, 0, 2 * FILES);
    fsx_unmount(&y);
    fsx_done(&y);
}

static void
recovery__survives_any_fault_of_one_cloud(void **state)
{
    static const char *const faults[] = { "down",       "absent",       "corrupt",    "truncate",
                                          "get.hang",   "stale",        "swap",       "empty",
                                          "list.forge", "list.absent",  "list.error", "huge",
                                          "list.empty", "get.error:50%" };
    struct fsx *x = *state;
    for (unsigned round = 0; round < 3; round++) {
        fsx_mount(x);
        put_files(x, round * 5, round * 5 + 5);
        assert_int_equal(fsx_sync(x), C2_E_OK);
        fsx_stop(x);
    }
    /* The second machine takes over each time: the history grows by a seal and a generation. */
    for (unsigned f = 0; f < C2_ARRAY_LEN(faults); f++) {
        struct fsx y;
        fsx_init_second(&y, x);
        unsigned seat = f % FSX_SEATS;
        fsx_fault(&y, seat, faults[f]);
        recover(&y);
        fsx_mount(&y);
        expect_files(&y, 0, 15 + f);
        put_files(&y, 15 + f, 16 + f);
        assert_int_equal(fsx_sync(&y), C2_E_OK);
        assert_false(fsx_status(&y).fenced);
        fsx_stop(&y);
        fsx_done(&y);
    }
}

static void
crash__loses_at_most_the_interval(void **state)
{
    struct fsx *x = *state, y;
    fsx_mount(x);
    put_files(x, 0, 5);
    /* pack_delay to the commit, log_interval to the clouds */
    test_env_run_for(x->t, x->config.pack_delay_ns + x->config.log_interval_ns + C2_NS_PER_S);
    put_files(x, 5, 10);
    test_env_run_for(x->t, C2_NS_PER_S);
    fsx_crash(x);
    fsx_init_second(&y, x);
    recover(&y);
    fsx_mount(&y);
    expect_files(&y, 0, 5);
    expect_absent(&y, 7);
    fsx_unmount(&y);
    fsx_done(&y);
}

static void
takeover__fences_the_machine_that_had_the_volume(void **state)
{
    struct fsx *x = *state, y;
    fsx_mount(x);
    put_files(x, 0, 5);
    assert_int_equal(fsx_sync(x), C2_E_OK);

    fsx_init_second(&y, x);
    recover(&y);
    fsx_mount(&y);
    expect_files(&y, 0, 5);

    /* The old one does not know it yet: locally it goes on, in the clouds it cannot. */
    put_files(x, 5, 6);
    assert_false(fsx_status(x).fenced);
    assert_int_equal(fsx_sync(x), C2_E_FENCED);
    assert_true(fsx_status(x).fenced);
    assert_int_equal(c2_mark_count("ship: fenced by the next slot"), 1);
    assert_int_equal(fsx_sync(x), C2_E_FENCED);
    struct fs_req r = { .op = FS_MKDIR, .ino = FS_ROOT_INO, .name = "d", .mode = 0755 };
    assert_int_equal(fsx_run(x, &r), C2_E_FENCED);
    expect_files(x, 0, 6); /* it can still be read */
    fsx_stop(x);

    put_files(&y, 6, 8);
    assert_int_equal(fsx_sync(&y), C2_E_OK);
    expect_absent(&y, 5);
    fsx_unmount(&y);
    fsx_done(&y);
}

static void
takeover__fences_a_machine_that_was_off(void **state)
{
    struct fsx *x = *state, y;
    fsx_mount(x);
    put_files(x, 0, 5);
    fsx_unmount(x);
    fsx_init_second(&y, x);
    recover(&y);

    /* Sealed only. */
    fsx_mount(x);
    assert_int_equal(fsx_sync(x), C2_E_FENCED);
    assert_int_equal(c2_mark_count("ship: sealed while away"), 1);
    fsx_stop(x);

    /* And after the other one has gone on and deleted what it does not need any more. */
    y.config.checkpoint_bytes = 1;
    fsx_mount(&y);
    char name[32];
    for (unsigned k = 0; k < 100; k++) {
        file_name(10 + k, name);
        fsx_put(&y, FS_ROOT_INO, name, "x", 1);
        assert_int_equal(fsx_sync(&y), C2_E_OK);
    }
    fsx_unmount(&y);
    fsx_mount(x);
    assert_int_equal(fsx_sync(x), C2_E_FENCED);
    fsx_stop(x);
    fsx_mount(&y);
    assert_int_equal(fsx_sync(&y), C2_E_OK);
    fsx_expect(&y, FS_ROOT_INO, "file-10", "x", 1);
    fsx_unmount(&y);
    fsx_done(&y);
}

/* A folder with files only. */
static void
copy_folder(const char *from, const char *to, const char *name)
{
    struct c2_buf names = { 0 };
    char *dir = c2_asprintf("%s/%s", from, name);
    assert_int_equal(c2_os_list_dir(dir, &names), C2_E_OK);
    for (size_t at = 0; at < names.len; at += strlen((char *)names.data + at) + 1) {
        const char *file = (const char *)names.data + at;
        char *path = c2_asprintf("%s/%s", dir, file);
        char *path2 = c2_asprintf("%s/%s/%s", to, name, file);
        struct c2_buf bytes = { 0 };
        assert_int_equal(c2_os_read_file(path, 256u << 20, &bytes, NULL), C2_E_OK);
        struct c2_slice iov = c2_buf_slice(&bytes);
        struct c2_disk_req w = {
            .verb = C2_DISK_WRITE, .flags = C2_DISK_MAKE_DIRS, .path = path2, .iov = &iov, .niov = 1
        };
        test_disk_execute(&w);
        assert_int_equal(w.err, C2_E_OK);
        c2_buf_done(&bytes);
        c2_free(path);
        c2_free(path2);
    }
    c2_buf_done(&names);
    c2_free(dir);
}

/* A copy of the machine's disk from yesterday must not go on either. */
static void
mount__of_an_old_copy_of_the_store_is_fenced(void **state)
{
    struct fsx *x = *state, y;
    fsx_mount(x);
    put_files(x, 0, 5);
    fsx_unmount(x);
    fsx_init_second(&y, x);
    copy_folder(x->home, y.home, "meta");
    copy_folder(x->home, y.home, "journal");
    memcpy(y.device_secret, x->device_secret, sizeof(y.device_secret));

    fsx_mount(x);
    put_files(x, 5, 8);
    fsx_unmount(x);
    fsx_mount(&y);
    put_files(&y, 8, 9);
    assert_int_equal(fsx_sync(&y), C2_E_FENCED);
    assert_int_equal(c2_mark_count("ship: another history"), 1);
    fsx_stop(&y);
    fsx_mount(x);
    expect_files(x, 0, 8);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_unmount(x);
    fsx_done(&y);
}

static void
keyless__needs_no_key(void **state)
{
    struct fsx *x = *state, y;
    x->keyless = true;
    fsx_mount(x);
    put_files(x, 0, FILES);
    fsx_unmount(x);
    fsx_init_second(&y, x);
    y.keyless = true;
    struct recover r = recover_with(&y, (struct recover){ 0 });
    assert_int_equal(r.err, C2_E_OK);
    assert_true(r.found_key);
    assert_memory_equal(r.ret_volume_key, fsx_volume_key, C2_KEY_LEN);
    fsx_mount(&y);
    expect_files(&y, 0, FILES);
    fsx_unmount(&y);
    fsx_done(&y);
}

static void
recovery__of_nothing_says_so(void **state)
{
    struct fsx *x = *state, y;
    fsx_init_second(&y, x);
    assert_int_equal(recover_fails(&y, (struct recover){ 0 }), C2_E_NOT_FOUND);
    fsx_done(&y);
}

static void
recovery__with_two_clouds_away_fails_and_later_works(void **state)
{
    struct fsx *x = *state, y;
    fsx_mount(x);
    put_files(x, 0, 5);
    fsx_unmount(x);
    fsx_init_second(&y, x);
    fsx_fault(&y, 0, "down");
    fsx_fault(&y, 1, "down");
    assert_int_equal(recover_fails(&y, (struct recover){ 0 }), C2_E_QUORUM);
    fsx_done(&y);
    fsx_init_second(&y, x);
    recover(&y);
    fsx_mount(&y);
    expect_files(&y, 0, 5);
    fsx_unmount(&y);
    fsx_done(&y);
}

/* Deletes a journal object everywhere: more than may fail. */
static void
lose(struct fsx *x, const char *key)
{
    char *copy = c2_strdup(key);
    for (unsigned s = 0; s < FSX_SEATS; s++)
        prov_mem_delete(x->mem[s], copy);
    c2_free(copy);
}

static unsigned
seat_with_journal(struct fsx *x)
{
    for (unsigned s = 0; s < FSX_SEATS; s++) {
        if (count_keys(x, s, "/j/") > 0)
            return s;
    }
    fail_msg("no journal");
    return 0;
}

static void
gap__is_reported_and_what_is_before_it_can_be_taken(void **state)
{
    struct fsx *x = *state, y;
    fsx_mount(x);
    for (unsigned k = 0; k < 10; k++) {
        put_files(x, k, k + 1);
        assert_int_equal(fsx_sync(x), C2_E_OK);
    }
    fsx_unmount(x);
    lose(x, key_of(x, seat_with_journal(x), "/j/", -4));

    fsx_init_second(&y, x);
    assert_int_equal(recover_fails(&y, (struct recover){ 0 }), C2_E_DAMAGED);
    fsx_done(&y);
    fsx_init_second(&y, x);
    struct recover r = recover_with(&y, (struct recover){ .accept_loss = true });
    assert_int_equal(r.err, C2_E_OK);
    assert_true(r.report.lossy);
    assert_non_null(strstr(r.report.loss, "journal object"));
    assert_true(r.report.time_ns > 0);
    fsx_mount(&y);
    expect_files(&y, 0, 6);
    expect_absent(&y, 8);
    put_files(&y, 20, 22);
    assert_int_equal(fsx_sync(&y), C2_E_OK);
    fsx_stop(&y);
    fsx_done(&y);

    fsx_init_second(&y, x);
    recover(&y);
    fsx_mount(&y);
    expect_files(&y, 0, 6);
    expect_files(&y, 20, 22);
    fsx_unmount(&y);
    fsx_done(&y);
}

static void
rollback__by_more_clouds_than_may_fail_is_noticed(void **state)
{
    struct fsx *x = *state, y;
    fsx_mount(x);
    for (unsigned k = 0; k < 5; k++) {
        put_files(x, k, k + 1);
        assert_int_equal(fsx_sync(x), C2_E_OK);
    }
    fsx_unmount(x);
    lose(x, key_of(x, seat_with_journal(x), "/j/", -1));
    char *head = c2_asprintf("%s/" RECOVER_HEAD_NAME, x->home);
    fsx_init_second(&y, x);
    assert_int_equal(recover_fails(&y, (struct recover){ .head_path = head }), C2_E_DAMAGED);
    assert_int_equal(c2_mark_count("recover: the clouds were rolled back"), 1);
    fsx_done(&y);
    fsx_init_second(&y, x);
    struct recover r = recover_with(&y, (struct recover){ .head_path = head, .accept_loss = true });
    assert_int_equal(r.err, C2_E_OK);
    assert_true(r.report.lossy);
    fsx_mount(&y);
    expect_files(&y, 0, 4);
    fsx_unmount(&y);
    fsx_done(&y);
    c2_free(head);
}

/* The store is there, and the clouds have less than it remembers: it gives them everything anew. */
static void
rollback__of_the_clouds_under_a_mount_is_mended(void **state)
{
    struct fsx *x = *state, y;
    fsx_mount(x);
    for (unsigned k = 0; k < 5; k++) {
        put_files(x, k, k + 1);
        assert_int_equal(fsx_sync(x), C2_E_OK);
    }
    fsx_unmount(x);
    lose(x, key_of(x, seat_with_journal(x), "/j/", -1));
    fsx_mount(x);
    put_files(x, 5, 6);
    assert_int_equal(fsx_sync(x), C2_E_OK); /* waits for the new checkpoint */
    assert_int_equal(c2_mark_count("ship: the clouds have lost the journal"), 1);
    fsx_crash(x);
    fsx_init_second(&y, x);
    recover(&y);
    fsx_mount(&y);
    expect_files(&y, 0, 6);
    fsx_unmount(&y);
    fsx_done(&y);
}

/* A slot of the journal that nobody has written, of the volume that `key` is of. */
static char *
forged_key(const char *key, unsigned generation, unsigned seq)
{
    const char *at = strstr(key, "/j/");
    return c2_asprintf("%.*s/j/%08x/%016x", (int)(at - key), key, generation, seq);
}

/* One seat replays, reorders, cuts or forges journal objects: the others decide. */
static void
one_cloud__can_change_nothing(void **state)
{
    struct fsx *x = *state;
    fsx_mount(x);
    for (unsigned k = 0; k < 6; k++) {
        put_files(x, k, k + 1);
        assert_int_equal(fsx_sync(x), C2_E_OK);
    }
    fsx_unmount(x);
    unsigned tried = 0;
    for (unsigned seat = 0; seat < FSX_SEATS; seat++) {
        if (count_keys(x, seat, "/j/") < 5)
            continue;
        tried++;
        char *a = c2_strdup(key_of(x, seat, "/j/", 1)), *b = c2_strdup(key_of(x, seat, "/j/", 2));
        char *c = c2_strdup(key_of(x, seat, "/j/", 3)), *d = c2_strdup(key_of(x, seat, "/j/", 4));
        struct c2_blob *was[4];
        char *keys[4] = { a, b, c, d };
        for (unsigned k = 0; k < 4; k++) {
            const struct c2_blob *p = prov_mem_peek(x->mem[seat], keys[k]);
            was[k] = c2_blob_copy(p->data, p->len);
        }
        prov_mem_store(x->mem[seat], a, c2_blob_slice(was[1])); /* swapped */
        prov_mem_store(x->mem[seat], b, c2_blob_slice(was[0]));
        prov_mem_truncate(x->mem[seat], c, was[2]->len / 2);
        char *forged[3] = { forged_key(a, 1, 7), forged_key(a, 0xff, 0), forged_key(a, 2, 0) };
        for (unsigned k = 0; k < 3; k++)
            prov_mem_store(x->mem[seat], forged[k], c2_blob_slice(was[k]));
        prov_mem_corrupt(x->mem[seat], d, was[3]->len - 1);
        struct fsx y;
        fsx_init_second(&y, x);
        recover(&y);
        fsx_mount(&y);
        expect_files(&y, 0, 6);
        fsx_stop(&y);
        fsx_done(&y);
        for (unsigned k = 0; k < 3; k++) {
            prov_mem_delete(x->mem[seat], forged[k]);
            c2_free(forged[k]);
        }
        for (unsigned k = 0; k < 4; k++) {
            prov_mem_store(x->mem[seat], keys[k], c2_blob_slice(was[k]));
            c2_blob_unref(was[k]);
            c2_free(keys[k]);
        }
    }
    assert_true(tried >= 2);
}

/* Seats that have the last object of the journal. */
static unsigned
seats_at_end(struct fsx *x, unsigned seats[FSX_SEATS])
{
    char *last = NULL;
    unsigned n = 0;
    for (unsigned s = 0; s < FSX_SEATS; s++) {
        const char *key = count_keys(x, s, "/j/") > 0 ? key_of(x, s, "/j/", -1) : "";
        if (*key == '\0' || (last != NULL && strcmp(key, last) < 0))
            continue;
        n = last == NULL || strcmp(key, last) > 0 ? 0 : n;
        c2_free(last);
        last = c2_strdup(key);
        seats[n++] = s;
    }
    c2_free(last);
    return n;
}

/* What a seat has of the last generation, or of all of them, it does not show any more. */
static void
hide_journal(struct fsx *x, unsigned seat, bool all)
{
    char *last = c2_strdup(key_of(x, seat, "/j/", -1));
    last[strlen(last) - 16] = '\0'; /* v1/VOLUME/j/GENERATION/ */
    if (all)
        last[strlen(last) - 9] = '\0';
    while (count_keys(x, seat, last) > 0)
        prov_mem_delete(x->mem[seat], key_of(x, seat, last, 0));
    c2_free(last);
}

static void
recovery__waits_for_a_slow_cloud_while_another_one_hides(void **state)
{
    struct fsx *x = *state, y;
    unsigned seats[FSX_SEATS];
    fsx_mount(x);
    put_files(x, 0, 5);
    fsx_unmount(x);
    fsx_mount(x);
    put_files(x, 5, 8);
    fsx_unmount(x);
    assert_int_equal(seats_at_end(x, seats), 3);
    hide_journal(x, seats[0], false);
    fsx_init_second(&y, x);
    fsx_fault(&y, seats[1], "list.delay:5s");
    recover(&y);
    fsx_mount(&y);
    expect_files(&y, 0, 8);
    fsx_unmount(&y);
    fsx_done(&y);
}

/* The last object of the journal got to one cloud only. Another one says that it has it, too. */
static unsigned
half_write_the_end(struct fsx *x, const char *lie)
{
    unsigned seats[FSX_SEATS];
    assert_int_equal(seats_at_end(x, seats), 3);
    char *last = c2_strdup(key_of(x, seats[0], "/j/", -1));
    char *before = c2_strdup(key_of(x, seats[0], "/j/", -2));
    const struct c2_blob *forged = prov_mem_peek(x->mem[seats[1]], before);
    struct c2_blob *copy = c2_blob_copy(forged->data, forged->len);
    prov_mem_store(x->mem[seats[1]], last,
                   strcmp(lie, "another") == 0 ? c2_blob_slice(copy) : c2_slice_str(lie));
    prov_mem_delete(x->mem[seats[2]], last);
    c2_blob_unref(copy);
    c2_free(last);
    c2_free(before);
    return seats[1];
}

static void
end__that_one_cloud_has_and_another_one_claims_stops_nobody(void **state)
{
    struct fsx *x = *state, y;
    static const char *const lies[] = { "", "nonsense", "silence", "another" };
    unsigned liar = 0;
    fsx_mount(x);
    put_files(x, 0, 5);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    for (unsigned k = 0; k < C2_ARRAY_LEN(lies); k++) {
        put_files(x, 5 + k, 6 + k);
        assert_int_equal(fsx_sync(x), C2_E_OK);
        fsx_crash(x);
        liar = half_write_the_end(x, lies[k]);
        if (k + 1 == C2_ARRAY_LEN(lies))
            break;
        fsx_fault(x, liar, strcmp(lies[k], "silence") == 0 ? "get.hang" : "");
        fsx_mount(x); /* what it had not saved yet is shipped again */
        assert_int_equal(fsx_sync(x), C2_E_OK);
        fsx_fault(x, liar, "");
    }
    fsx_init_second(&y, x);
    recover(&y);
    fsx_mount(&y);
    expect_files(&y, 0, 8);
    expect_absent(&y, 8);
    fsx_unmount(&y);
    fsx_done(&y);
}

static void
seal__finds_a_place_behind_a_half_written_object_and_without_a_cloud(void **state)
{
    struct fsx *x = *state, y;
    fsx_mount(x);
    put_files(x, 0, 5);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    put_files(x, 5, 6);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_crash(x);
    unsigned gone = half_write_the_end(x, "");
    prov_mem_delete(x->mem[gone], key_of(x, gone, "/j/", -1));
    fsx_init_second(&y, x);
    fsx_fault(&y, gone, "down");
    recover(&y);
    fsx_mount(&y);
    expect_files(&y, 0, 5);
    expect_absent(&y, 5);
    put_files(&y, 5, 7);
    assert_int_equal(fsx_sync(&y), C2_E_OK);
    fsx_stop(&y);
    fsx_fault(&y, gone, "");
    fsx_mount(x); /* the old machine */
    put_files(x, 7, 8);
    assert_int_equal(fsx_sync(x), C2_E_FENCED);
    fsx_stop(x);
    fsx_done(&y);
}

static void
takeover__is_seen_in_a_slow_cloud_while_another_one_hides(void **state)
{
    struct fsx *x = *state, y;
    unsigned seats[FSX_SEATS];
    fsx_mount(x);
    put_files(x, 0, 5);
    fsx_unmount(x);
    fsx_init_second(&y, x);
    recover(&y);
    /* The seal and the first generation after it are not needed any more, and are gone. */
    y.config.checkpoint_bytes = 1;
    for (unsigned m = 0; m < 3; m++) {
        fsx_mount(&y);
        for (unsigned k = 0; k < 50; k++) {
            put_files(&y, 10 + k, 11 + k);
            assert_int_equal(fsx_sync(&y), C2_E_OK);
        }
        fsx_unmount(&y);
    }
    assert_int_equal(seats_at_end(x, seats), 3);
    hide_journal(x, seats[0], true);
    fsx_fault(x, seats[1], "list.delay:5s");
    fsx_mount(x);
    put_files(x, 70, 71);
    assert_int_equal(fsx_sync(x), C2_E_FENCED);
    fsx_stop(x);
    fsx_done(&y);
}

static void
recovery__of_a_volume_in_use_takes_what_is_written_meanwhile(void **state)
{
    struct fsx *x = *state, y;
    fsx_mount(x);
    put_files(x, 0, 5);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_init_second(&y, x);
    struct recover_call w = { .r = { .skip_checkpoints = 0 } };
    /* The list of the journal is old when it arrives. */
    for (unsigned s = 0; s < FSX_SEATS; s++)
        fsx_fault(&y, s, "list.delay:1s,get.delay:10s");
    recover_begin(&y, &w);
    test_env_run_for(y.t, 3 * C2_NS_PER_S);
    put_files(x, 5, 7);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    recover_finish(&y, &w);
    assert_int_equal(w.r.err, C2_E_OK);
    assert_true(c2_mark_count("recover: somebody wrote meanwhile") >= 1);
    for (unsigned s = 0; s < FSX_SEATS; s++)
        fsx_fault(&y, s, "");
    fsx_mount(&y);
    expect_files(&y, 0, 7);
    assert_int_equal(fsx_sync(&y), C2_E_OK);
    put_files(x, 7, 8);
    assert_int_equal(fsx_sync(x), C2_E_FENCED);
    fsx_stop(x);
    fsx_unmount(&y);
    fsx_done(&y);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(recovery__gives_everything_that_was_synced),
        TEST(recovery__needs_no_checkpoint_while_the_journal_is_whole),
        TEST(recovery__survives_any_fault_of_one_cloud),
        TEST(crash__loses_at_most_the_interval),
        TEST(takeover__fences_the_machine_that_had_the_volume),
        TEST(takeover__fences_a_machine_that_was_off),
        TEST(mount__of_an_old_copy_of_the_store_is_fenced),
        TEST(keyless__needs_no_key),
        TEST(recovery__of_nothing_says_so),
        TEST(recovery__with_two_clouds_away_fails_and_later_works),
        TEST(gap__is_reported_and_what_is_before_it_can_be_taken),
        TEST(rollback__by_more_clouds_than_may_fail_is_noticed),
        TEST(rollback__of_the_clouds_under_a_mount_is_mended),
        TEST(one_cloud__can_change_nothing),
        TEST(recovery__waits_for_a_slow_cloud_while_another_one_hides),
        TEST(end__that_one_cloud_has_and_another_one_claims_stops_nobody),
        TEST(seal__finds_a_place_behind_a_half_written_object_and_without_a_cloud),
        TEST(takeover__is_seen_in_a_slow_cloud_while_another_one_hides),
        TEST(recovery__of_a_volume_in_use_takes_what_is_written_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
