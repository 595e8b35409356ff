/* SPDX-License-Identifier: MIT */
/*
 * A directory as a cloud: the contract on both environments, and what is special about files.
 */
#include "backends/registry.h"
#include "base/alloc.h"
#include "base/os_loop.h"
#include "tests/lib/provider_contract.h"
#include "tests/lib/test_env.h"

#include <fcntl.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    struct test_env *t;
    char *root;
    struct provider_contract c;
};

static int
setup(void **state)
{
    static struct fixture f;
    f.t = test_env_new(1);
    f.root = test_env_path(f.t, "cloud");
    assert_int_equal(mkdir(f.root, 0700), 0);
    f.c = provider_contract_in(f.t, prov_dir_new(test_env_env(f.t), "dir1", f.root));
    *state = &f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    prov_close(f->c.p);
    c2_free(f->root);
    test_env_free(f->t);
    return 0;
}

static void
put(struct fixture *f, const char *key, const char *text)
{
    assert_int_equal(test_prov_put(&f->c, key, c2_slice_str(text), false), C2_E_OK);
}

static bool
file_exists(struct fixture *f, const char *key)
{
    C2_AUTO(c2_free_auto) char *path = c2_asprintf("%s/%s", f->root, key);
    return test_disk_exists(path);
}

static void
dir__passes_the_contract(void **state)
{
    struct fixture *f = *state;
    provider_contract_run_all(&f->c);
}

static void
dir__passes_the_contract_in_the_root(void **state)
{
    struct fixture *f = *state;
    f->c.prefix = "";
    provider_contract_run_all(&f->c);
}

static void
run_os(void *arg, const bool *flag)
{
    c2_os_run_until(arg, flag);
}

static void
dir__passes_the_contract_on_the_real_environment(void **state)
{
    struct fixture *f = *state;
    struct c2_os *os = NULL;
    assert_int_equal(c2_os_new(2, &os), C2_E_OK);
    struct provider *p = prov_dir_new(c2_os_env(os), "real", f->root);
    struct provider_contract c = { .p = p, .prefix = "real/", .run_until = run_os, .arg = os };
    provider_contract_run_all(&c);
    prov_close(p);
    c2_os_free(os);
}

static void
dir__objects_are_plain_files(void **state)
{
    struct fixture *f = *state;
    put(f, "a/b/c", "hello");
    C2_AUTO(c2_free_auto) char *path = c2_asprintf("%s/a/b/c", f->root);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 5);
}

struct flags_seen {
    unsigned writes, flags; /* OR of all */
};

static enum c2_err
see_flags(void *arg, const struct c2_disk_req *r)
{
    struct flags_seen *seen = arg;
    if (r->verb != C2_DISK_WRITE)
        return C2_E_OK;
    seen->writes++;
    seen->flags |= r->flags;
    assert_true((r->flags & C2_DISK_DURABLE) != 0);
    return C2_E_OK;
}

static void
dir__puts_are_durable(void **state)
{
    struct fixture *f = *state;
    struct flags_seen seen = { 0 };
    test_env_set_disk_hook(f->t, see_flags, &seen);
    put(f, "new/folder/a", "x");
    assert_int_equal(seen.writes, 2); /* the folder had to be made */
    assert_true((seen.flags & C2_DISK_MAKE_DIRS) != 0);
    put(f, "new/folder/b", "x");
    assert_int_equal(seen.writes, 3);
}

static void
dir__refuses_keys_that_could_escape(void **state)
{
    static const char *const keys[] = {
        "..", "../x", "a/../b", "a/..",  "/etc/passwd", "a//b",     "a/",
        "/",  ".",    "./a",    "a/./b", "a/.",         ".c2tmp-1", "a/.c2tmp-1",
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < C2_ARRAY_LEN(keys); i++) {
        struct c2_blob *body = NULL;
        uint64_t size = 0;
        assert_int_equal(test_prov_put(&f->c, keys[i], c2_slice_str("x"), false), C2_E_INVALID);
        assert_int_equal(test_prov_get(&f->c, keys[i], &body), C2_E_INVALID);
        assert_int_equal(test_prov_head(&f->c, keys[i], &size), C2_E_INVALID);
        assert_int_equal(test_prov_delete(&f->c, keys[i]), C2_E_INVALID);
    }
    struct c2_buf list = { 0 };
    assert_int_equal(test_prov_list(&f->c, "../", NULL, 10, &list), C2_E_INVALID);
    assert_int_equal(test_prov_list(&f->c, "a/../", NULL, 10, &list), C2_E_INVALID);
    assert_int_equal(test_prov_list(&f->c, "/", NULL, 10, &list), C2_E_INVALID);
    assert_int_equal(test_prov_list(&f->c, "..", NULL, 10, &list), C2_E_OK); /* only compared */
    assert_int_equal(list.len, 0);
    c2_buf_done(&list);
}

static void
dir__refuses_a_batch_with_one_bad_key(void **state)
{
    struct fixture *f = *state;
    const char *keys[] = { "good", "../bad" };
    struct test_prov_req t;
    put(f, "good", "x");
    test_prov_req_init(&f->c, &t, PROV_DELETE_MANY, NULL);
    t.r.keys = keys;
    t.r.nkeys = 2;
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_INVALID);
    assert_true(file_exists(f, "good"));
}

static void
dir__refuses_a_segment_longer_than_a_file_name(void **state)
{
    struct fixture *f = *state;
    char key[300];
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    assert_int_equal(test_prov_put(&f->c, key, c2_slice_str("x"), false), C2_E_INVALID);
    key[255] = '\0';
    assert_int_equal(test_prov_put(&f->c, key, c2_slice_str("x"), false), C2_E_OK);
}

static void
expect_all_unreachable(struct fixture *f)
{
    struct c2_blob *body = NULL;
    struct c2_buf list = { 0 };
    uint64_t size = 0;
    struct provider_contract *c = &f->c;
    assert_int_equal(test_prov_get(c, "a/b", &body), C2_E_UNREACHABLE);
    assert_int_equal(test_prov_head(c, "a/b", &size), C2_E_UNREACHABLE);
    assert_int_equal(test_prov_delete(c, "a/b"), C2_E_UNREACHABLE);
    assert_int_equal(test_prov_put(c, "a/b", c2_slice_str("x"), false), C2_E_UNREACHABLE);
    assert_int_equal(test_prov_put(c, "c", c2_slice_str("x"), true), C2_E_UNREACHABLE);
    assert_int_equal(test_prov_list(c, "", NULL, 10, &list), C2_E_UNREACHABLE);
    assert_int_equal(test_prov_list(c, "a/", NULL, 10, &list), C2_E_UNREACHABLE);
}

static void
dir__missing_root_is_unreachable_and_is_not_made(void **state)
{
    struct fixture *f = *state;
    put(f, "a/b", "x");
    C2_AUTO(c2_free_auto) char *away = test_env_path(f->t, "away");
    assert_int_equal(rename(f->root, away), 0);
    expect_all_unreachable(f);
    assert_false(test_disk_exists(f->root));
    assert_int_equal(rename(away, f->root), 0);
    test_prov_assert_body(&f->c, "a/b", c2_slice_str("x"));
}

static void
dir__file_in_place_of_the_root_is_unreachable(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rmdir(f->root), 0);
    test_disk_write_file(f->root, "x", 1);
    expect_all_unreachable(f);
}

static void
dir__key_below_an_object_is_refused(void **state)
{
    struct fixture *f = *state;
    put(f, "a", "x");
    put(f, "d/e", "x");
    assert_int_equal(test_prov_put(&f->c, "a/b", c2_slice_str("x"), false), C2_E_INVALID);
    assert_int_equal(test_prov_put(&f->c, "d", c2_slice_str("x"), false), C2_E_INVALID);
    test_prov_assert_body(&f->c, "a", c2_slice_str("x"));
}

static void
dir__temporary_files_are_not_listed(void **state)
{
    struct fixture *f = *state;
    put(f, "a/b", "x");
    C2_AUTO(c2_free_auto) char *left = c2_asprintf("%s/a/" C2_DISK_TMP_PREFIX "left", f->root);
    test_disk_write_file(left, "torn", 4);
    struct c2_buf list = { 0 };
    assert_int_equal(test_prov_list(&f->c, "", NULL, 10, &list), C2_E_OK);
    assert_string_equal(c2_buf_cstr(&list), "a/b\n");
    c2_buf_done(&list);
}

static char *
leave(struct fixture *f, const char *name, uint64_t age_s)
{
    char *path = c2_asprintf("%s/" C2_DISK_TMP_PREFIX "%s", f->root, name);
    uint64_t then = c2_wall_ns(test_env_env(f->t)) / C2_NS_PER_S - age_s;
    const struct timespec times[2] = { { .tv_sec = (time_t)then }, { .tv_sec = (time_t)then } };
    test_disk_write_file(path, "torn", 4);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    return path;
}

/* A kill in the middle of a PUT leaves one; what is young may be in the hands of somebody. */
static void
dir__list_removes_temporary_files_of_yesterday(void **state)
{
    struct fixture *f = *state;
    put(f, "b", "x");
    C2_AUTO(c2_free_auto) char *old1 = leave(f, "1", 2 * 86400);
    C2_AUTO(c2_free_auto) char *young = leave(f, "2", 3600);
    C2_AUTO(c2_free_auto) char *old2 = leave(f, "3", 100 * 86400);
    C2_AUTO(c2_free_auto) char *folder = c2_asprintf("%s/" C2_DISK_TMP_PREFIX "d", f->root);
    assert_int_equal(mkdir(folder, 0700), 0);
    for (unsigned turn = 0; turn < 2; turn++) {
        struct c2_buf list = { 0 };
        assert_int_equal(test_prov_list(&f->c, "", NULL, 10, &list), C2_E_OK);
        assert_string_equal(c2_buf_cstr(&list), "b\n");
        c2_buf_done(&list);
        assert_false(test_disk_exists(old1));
        assert_true(test_disk_exists(young));
        assert_false(test_disk_exists(old2));
        assert_true(test_disk_exists(folder));
    }
    assert_int_equal(rmdir(folder), 0);
}

static void
dir__delete_removes_empty_folders_but_not_the_root(void **state)
{
    struct fixture *f = *state;
    put(f, "a/b/c/d", "x");
    put(f, "a/e", "x");
    assert_int_equal(test_prov_delete(&f->c, "a/b/c/d"), C2_E_OK);
    assert_false(file_exists(f, "a/b"));
    assert_true(file_exists(f, "a/e"));
    assert_int_equal(test_prov_delete(&f->c, "a/e"), C2_E_OK);
    assert_false(file_exists(f, "a"));
    assert_true(test_disk_exists(f->root));
}

/* Fails one verb. */
struct hook {
    enum c2_disk_verb verb;
    enum c2_err err;
    unsigned skip;  /* requests of the verb before */
    unsigned times; /* how often it fails */
    unsigned failed;
};

static enum c2_err
fail_verb(void *arg, const struct c2_disk_req *r)
{
    struct hook *h = arg;
    if (r->verb != h->verb || h->failed >= h->times)
        return C2_E_OK;
    if (h->skip > 0) {
        h->skip--;
        return C2_E_OK;
    }
    h->failed++;
    return h->err;
}

static void
dir__full_disk_is_no_space(void **state)
{
    struct fixture *f = *state;
    struct hook h = { .verb = C2_DISK_WRITE, .err = C2_E_NO_SPACE, .times = 1 };
    test_env_set_disk_hook(f->t, fail_verb, &h);
    struct test_prov_req t;
    test_prov_req_init(&f->c, &t, PROV_PUT, "a");
    t.r.body = c2_blob_copy("x", 1);
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_NO_SPACE);
    assert_non_null(strstr(t.r.detail, "no space"));
    c2_blob_unref(t.r.body);
    put(f, "a", "y"); /* space again */
}

static void
dir__errors_of_the_disk_are_not_absence(void **state)
{
    static const struct {
        enum c2_err disk, want;
    } cases[] = {
        { C2_E_IO, C2_E_IO },
        { C2_E_ACCESS, C2_E_ACCESS },
        { C2_E_STALE, C2_E_UNREACHABLE },
        { C2_E_NOT_MOUNTED, C2_E_UNREACHABLE },
    };
    struct fixture *f = *state;
    struct c2_blob *body = NULL;
    struct c2_buf list = { 0 };
    uint64_t size = 0;
    put(f, "a/b", "x");
    for (size_t i = 0; i < C2_ARRAY_LEN(cases); i++) {
        struct hook h = { .err = cases[i].disk, .times = 99 };
        test_env_set_disk_hook(f->t, fail_verb, &h);
        h.verb = C2_DISK_READ;
        assert_int_equal(test_prov_get(&f->c, "a/b", &body), cases[i].want);
        h.verb = C2_DISK_STAT;
        assert_int_equal(test_prov_head(&f->c, "a/b", &size), cases[i].want);
        assert_int_equal(test_prov_list(&f->c, "", NULL, 10, &list), cases[i].want);
        assert_int_equal(test_prov_head(&f->c, "absent", &size), cases[i].want);
        h.verb = C2_DISK_LIST;
        assert_int_equal(test_prov_list(&f->c, "", NULL, 10, &list), cases[i].want);
        h.verb = C2_DISK_UNLINK;
        assert_int_equal(test_prov_delete(&f->c, "a/b"), cases[i].want);
        assert_int_equal(h.failed, 6);
    }
    test_env_set_disk_hook(f->t, NULL, NULL);
    test_prov_assert_body(&f->c, "a/b", c2_slice_str("x"));
}

static void
dir__put_survives_the_removal_of_its_folder(void **state)
{
    struct fixture *f = *state;
    struct hook h = { .verb = C2_DISK_WRITE, .err = C2_E_NOT_FOUND, .times = 3 };
    test_env_set_disk_hook(f->t, fail_verb, &h);
    put(f, "a/b", "x");
    assert_int_equal(h.failed, 3);
    h = (struct hook){ .verb = C2_DISK_WRITE, .err = C2_E_NOT_FOUND, .times = 99 };
    assert_int_equal(test_prov_put(&f->c, "a/c", c2_slice_str("x"), false), C2_E_BUSY);
    assert_int_equal(h.failed, 4);
}

static void
dir__delete_many_goes_on_after_a_failure_and_reports_it(void **state)
{
    struct fixture *f = *state;
    const char *keys[] = { "a", "b", "c" };
    for (size_t i = 0; i < 3; i++)
        put(f, keys[i], "x");
    struct hook h = { .verb = C2_DISK_UNLINK, .err = C2_E_ACCESS, .skip = 1, .times = 1 };
    test_env_set_disk_hook(f->t, fail_verb, &h);
    struct test_prov_req t;
    test_prov_req_init(&f->c, &t, PROV_DELETE_MANY, NULL);
    t.r.keys = keys;
    t.r.nkeys = 3;
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_ACCESS);
    assert_false(file_exists(f, "a"));
    assert_true(file_exists(f, "b"));
    assert_false(file_exists(f, "c"));
}

/* Moves the cloud away when a LIST looks at the n-th object. */
struct thief {
    const char *root, *away;
    unsigned countdown;
};

static enum c2_err
steal_root(void *arg, const struct c2_disk_req *r)
{
    struct thief *thief = arg;
    if (r->verb == C2_DISK_STAT && thief->countdown > 0 && --thief->countdown == 0)
        assert_int_equal(rename(thief->root, thief->away), 0);
    return C2_E_OK;
}

static void
dir__list_is_not_short_when_the_cloud_disappears_under_it(void **state)
{
    struct fixture *f = *state;
    put(f, "a/1", "x");
    put(f, "b/1", "x");
    put(f, "c/1", "x");
    C2_AUTO(c2_free_auto) char *away = test_env_path(f->t, "away");
    struct thief thief = { .root = f->root, .away = away, .countdown = 2 };
    test_env_set_disk_hook(f->t, steal_root, &thief);
    struct c2_buf list = { 0 };
    assert_int_equal(test_prov_list(&f->c, "", NULL, 10, &list), C2_E_UNREACHABLE);
}

static void
dir__list_skips_empty_folders_however_many(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 30; i++) {
        C2_AUTO(c2_free_auto) char *path = c2_asprintf("%s/empty%02u", f->root, i);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    put(f, "last", "x");
    struct c2_buf list = { 0 };
    assert_int_equal(test_prov_list(&f->c, "", NULL, 2, &list), C2_E_OK);
    assert_string_equal(c2_buf_cstr(&list), "last\n");
    c2_buf_clear(&list);
    put(f, "a", "x");
    assert_int_equal(test_prov_list(&f->c, "", NULL, 1, &list), C2_E_OK);
    assert_string_equal(c2_buf_cstr(&list), "a\n...");
    c2_buf_clear(&list);
    assert_int_equal(test_prov_list(&f->c, "", "a", 1, &list), C2_E_OK);
    assert_string_equal(c2_buf_cstr(&list), "last\n");
    c2_buf_done(&list);
}

/* The files are made directly: what is tested is the walk. */
static void
dir__lists_large_folders_in_pages(void **state)
{
    enum { FOLDERS = 4, FILES = 400, PAGE = 16 };
    struct fixture *f = *state;
    for (unsigned d = 0; d < FOLDERS; d++) {
        C2_AUTO(c2_free_auto) char *folder = c2_asprintf("%s/%u", f->root, d);
        assert_int_equal(mkdir(folder, 0700), 0);
        for (unsigned i = 0; i < FILES; i++) {
            char path[128];
            snprintf(path, sizeof path, "%s/%05u", folder, i);
            assert_int_equal(mknod(path, S_IFREG | 0600, 0), 0);
        }
    }
    char after[16] = "";
    size_t count = 0;
    size_t pages = 0;
    for (bool more = true; more; pages++) {
        struct test_prov_req t;
        test_prov_req_init(&f->c, &t, PROV_LIST, "");
        t.r.list_after = count == 0 ? NULL : after;
        t.r.list_max = PAGE;
        assert_int_equal(test_prov_run(&f->c, &t), C2_E_OK);
        for (size_t i = 0; i < t.r.nentries; i++, count++) {
            char want[32];
            snprintf(want, sizeof want, "%zu/%05zu", count / FILES, count % FILES);
            assert_string_equal(t.r.entries[i].key, want);
        }
        snprintf(after, sizeof after, "%s", t.r.entries[t.r.nentries - 1].key);
        more = t.r.truncated;
        test_prov_req_done(&t);
    }
    assert_int_equal(count, FOLDERS * FILES);
    assert_int_equal(pages, FOLDERS * FILES / PAGE);
    /* Each page reads the root and at most two folders. */
    assert_true(test_env_disk_count(f->t, C2_DISK_LIST) <= 3 * pages);
}

static void
dir__canceled_list_stops_at_the_next_step(void **state)
{
    struct fixture *f = *state;
    put(f, "a/1", "x");
    put(f, "a/2", "x");
    uint64_t before = test_env_disk_count(f->t, C2_DISK_STAT);
    struct test_prov_req t;
    test_prov_req_init(&f->c, &t, PROV_LIST, "");
    prov_submit(f->c.p, &t.r);
    prov_cancel(f->c.p, &t.r);
    test_prov_wait(&f->c, &t);
    assert_int_equal(t.r.err, C2_E_CANCELED);
    assert_int_equal(test_env_disk_count(f->t, C2_DISK_STAT), before);
    test_prov_req_done(&t);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(dir__passes_the_contract),
        TEST(dir__passes_the_contract_in_the_root),
        TEST(dir__passes_the_contract_on_the_real_environment),
        TEST(dir__objects_are_plain_files),
        TEST(dir__puts_are_durable),
        TEST(dir__refuses_keys_that_could_escape),
        TEST(dir__refuses_a_batch_with_one_bad_key),
        TEST(dir__refuses_a_segment_longer_than_a_file_name),
        TEST(dir__missing_root_is_unreachable_and_is_not_made),
        TEST(dir__file_in_place_of_the_root_is_unreachable),
        TEST(dir__key_below_an_object_is_refused),
        TEST(dir__temporary_files_are_not_listed),
        TEST(dir__list_removes_temporary_files_of_yesterday),
        TEST(dir__delete_removes_empty_folders_but_not_the_root),
        TEST(dir__full_disk_is_no_space),
        TEST(dir__errors_of_the_disk_are_not_absence),
        TEST(dir__put_survives_the_removal_of_its_folder),
        TEST(dir__delete_many_goes_on_after_a_failure_and_reports_it),
        TEST(dir__list_is_not_short_when_the_cloud_disappears_under_it),
        TEST(dir__list_skips_empty_folders_however_many),
        TEST(dir__lists_large_folders_in_pages),
        TEST(dir__canceled_list_stops_at_the_next_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
