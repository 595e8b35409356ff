/* SPDX-License-Identifier: MIT */
/*
 * Opening, locking and formats of a local store; a killed process.
 */
#include "metadata/registry.h"

#include "base/alloc.h"
#include "base/crypto.h"
#include "metadata/kv.h"
#include "metadata/store.h"
#include "tests/lib/coord_fixture.h"

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static enum c2_err
try_open(struct coord_fixture *f, const char *path, bool create, struct coord **ret_coord,
         char **ret_error)
{
    char *url = c2_asprintf("local:%s", path);
    *ret_error = NULL;
    enum c2_err err = coord_open(f->env, url, create, ret_coord, ret_error);
    c2_free(url);
    return err;
}

static void
assert_refused(struct coord_fixture *f, const char *path, bool create, enum c2_err want,
               const char *words)
{
    struct coord *c = NULL;
    char *error = NULL;
    assert_int_equal(try_open(f, path, create, &c, &error), want);
    assert_null(c);
    if (error == NULL || strstr(error, words) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", words, error == NULL ? "(null)" : error);
    c2_free(error);
}

static void
open__tells_absent_present_and_busy_apart(void **state)
{
    struct coord_fixture *f = *state;
    char *other = test_env_path(f->t, "a/b/other");
    char pid[32];
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_refused(f, other, false, C2_E_NOT_FOUND, "no metadata store");
    assert_false(test_disk_exists(other)); /* asking for a store does not make one */
    assert_refused(f, f->path, true, C2_E_BUSY, pid);
    assert_refused(f, f->path, false, C2_E_BUSY, pid);
    put(f, "k", "v");
    coord_fixture_close(f);
    assert_refused(f, f->path, true, C2_E_EXISTS, "already holds");
    coord_fixture_open(f);
    assert_value(f, "k", "v");

    struct coord *c = NULL;
    char *error = NULL;
    assert_int_equal(try_open(f, other, true, &c, &error), C2_E_OK);
    coord_close(c);
    struct stat st;
    assert_int_equal(stat(other, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    c2_free(other);
}

static void
open__refuses_other_urls_with_a_sentence(void **state)
{
    struct coord_fixture *f = *state;
    struct coord *c = NULL;
    char *error = NULL;
    assert_int_equal(coord_open(f->env, "etcd:x", false, &c, &error), C2_E_CONFIG);
    assert_non_null(strstr(error, "local:PATH"));
    c2_free(error);
    assert_int_equal(coord_open(f->env, "local:", false, &c, NULL), C2_E_CONFIG);
    assert_int_equal(coord_open(f->env, "local:/none/such", false, &c, NULL), C2_E_NOT_FOUND);
}

static void
set_format(struct coord_fixture *f, uint8_t format)
{
    struct kv *kv = NULL;
    struct kv_txn *txn = NULL;
    char *error = NULL;
    assert_int_equal(kv_open(f->path, COORD_FIXTURE_MAP_SIZE, false, &kv, &error), C2_E_OK);
    assert_int_equal(kv_begin(kv, true, &txn), C2_E_OK);
    const uint8_t record[4] = { format };
    assert_int_equal(kv_put(txn, KV_META, c2_slice_str("format"), c2_slice(record, 4)), C2_E_OK);
    assert_int_equal(kv_commit(txn), C2_E_OK);
    kv_close(kv);
}

static void
open__refuses_a_newer_format(void **state)
{
    struct coord_fixture *f = *state;
    put(f, "k", "v");
    coord_fixture_close(f);
    set_format(f, STORE_FORMAT + 1);
    assert_refused(f, f->path, false, C2_E_VERSION, "newer");
    set_format(f, STORE_FORMAT);
    coord_fixture_open(f);
    assert_value(f, "k", "v");
}

static void
open__reports_a_file_that_is_no_store(void **state)
{
    struct coord_fixture *f = *state;
    char *folder = test_env_path(f->t, "garbage");
    char *file = test_env_path(f->t, "garbage/data.mdb");
    assert_int_equal(mkdir(folder, 0700), 0);
    char bytes[8192];
    memset(bytes, 'x', sizeof bytes);
    test_disk_write_file(file, bytes, sizeof bytes);
    assert_refused(f, folder, false, C2_E_DAMAGED, "damaged");
    assert_refused(f, folder, true, C2_E_DAMAGED, "damaged");
    c2_free(file);
    c2_free(folder);
}

/* A crash between making the tables and writing the first records. */
static void
create__finishes_what_a_crash_left_half_made(void **state)
{
    struct coord_fixture *f = *state;
    char *folder = test_env_path(f->t, "half");
    struct kv *kv = NULL;
    char *error = NULL;
    assert_int_equal(kv_open(folder, COORD_FIXTURE_MAP_SIZE, true, &kv, &error), C2_E_OK);
    kv_close(kv);
    assert_refused(f, folder, false, C2_E_NOT_FOUND, "no metadata store");
    struct coord *c = NULL;
    assert_int_equal(try_open(f, folder, true, &c, &error), C2_E_OK);
    coord_close(c);
    c2_free(folder);
}

/* --- kill -9 --------------------------------------------------------------------------------- */

/* Puts key i = i for i from 0 in groups of eight and reports each acknowledged number. */
static void
write_forever(const char *path, int out)
{
    enum { GROUP = 8 };
    struct coord_fixture f = { .t = test_env_new(1) };
    f.env = test_env_env(f.t);
    f.path = c2_strdup(path);
    coord_fixture_open(&f);
    for (uint64_t i = 0;; i += GROUP) {
        struct coord_call calls[GROUP] = { 0 };
        struct coord_op ops[GROUP][2];
        char keys[GROUP][2][32];
        for (size_t j = 0; j < GROUP; j++) {
            for (size_t k = 0; k < 2; k++) { /* two keys: all or nothing */
                snprintf(keys[j][k], sizeof keys[j][k], "%zu/%" PRIu64, k, i + j);
                ops[j][k] = op(COORD_PUT, keys[j][k], keys[j][k], 0);
            }
            calls[j].r.ops = ops[j];
            calls[j].r.nops = 2;
            coord_call_start(&f, &calls[j]);
        }
        for (size_t j = 0; j < GROUP; j++) {
            coord_call_wait(&f, &calls[j]);
            uint64_t n = i + j;
            if (calls[j].r.err != C2_E_OK || write(out, &n, sizeof n) != sizeof n)
                _exit(1);
        }
    }
}

static void
check_after_kill(struct coord_fixture *f, uint64_t acknowledged)
{
    char key[2][32];
    for (uint64_t i = 0;; i++) {
        uint64_t versions[2];
        for (int k = 0; k < 2; k++) {
            snprintf(key[k], sizeof key[k], "%d/%llu", k, (unsigned long long)i);
            c2_free(get(f, key[k], &versions[k]));
        }
        assert_int_equal(versions[0], versions[1]);
        if (versions[0] == 0) {
            assert_true(i >= acknowledged);
            break;
        }
        assert_int_equal(versions[0], i + 1);
    }
    put(f, "after", "");
}

static void
kill__loses_nothing_that_was_acknowledged(void **state)
{
    struct coord_fixture *f = *state;
    coord_fixture_close(f);
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("CMOCKA_TEST_ABORT", "1", 1);
        close(fds[0]);
        write_forever(f->path, fds[1]);
        _exit(0);
    }
    close(fds[1]);
    uint64_t n = 0;
    uint64_t acknowledged = 0;
    while (acknowledged < 1000 && read(fds[0], &n, sizeof n) == sizeof n)
        acknowledged = n + 1;
    assert_int_equal(acknowledged, 1000);
    assert_int_equal(kill(pid, SIGKILL), 0);
    while (read(fds[0], &n, sizeof n) == sizeof n) /* what it said before it died */
        acknowledged = n + 1;
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    close(fds[0]);
    coord_fixture_open(f);
    check_after_kill(f, acknowledged);
}

int
main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, coord_fixture_setup, coord_fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(open__tells_absent_present_and_busy_apart),
        T(open__refuses_other_urls_with_a_sentence),
        T(open__refuses_a_newer_format),
        T(open__reports_a_file_that_is_no_store),
        T(create__finishes_what_a_crash_left_half_made),
        T(kill__loses_nothing_that_was_acknowledged),
    };
    return cmocka_run_group_tests_name("metadata_registry", tests, NULL, NULL);
}
