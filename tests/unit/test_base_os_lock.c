/* SPDX-License-Identifier: MIT */
#include "base/os_lock.h"

#include "base/alloc.h"
#include "tests/lib/test_env.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int
setup(void **state)
{
    *state = test_env_new(1);
    return 0;
}

static int
teardown(void **state)
{
    test_env_free(*state);
    return 0;
}

static void
make_private_dir__makes_parents_and_accepts_what_is_there(void **state)
{
    char *path = test_env_path(*state, "a/b/c");
    assert_int_equal(c2_os_make_private_dir(path), C2_E_OK);
    assert_int_equal(c2_os_make_private_dir(path), C2_E_OK);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0700);
    char *file = test_env_path(*state, "a/file");
    test_disk_write_file(file, "x", 1);
    assert_int_equal(c2_os_make_private_dir(file), C2_E_NOT_DIR);
    uint64_t size = 0;
    assert_int_equal(c2_os_file_size(file, &size), C2_E_OK);
    assert_int_equal(size, 1);
    char *below = test_env_path(*state, "a/file/x");
    assert_int_equal(c2_os_make_private_dir(below), C2_E_NOT_DIR);
    char *none = test_env_path(*state, "none");
    assert_int_equal(c2_os_file_size(none, &size), C2_E_NOT_FOUND);
    c2_free(none);
    c2_free(below);
    c2_free(file);
    c2_free(path);
}

static void
lock__names_its_holder_and_goes_with_it(void **state)
{
    char *path = test_env_path(*state, "lock");
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int fd = -1;
        uint64_t pid = 0;
        char ok = c2_os_lock_file(path, &fd, &pid) == C2_E_OK;
        if (write(fds[1], &ok, 1) == 1)
            pause();
        _exit(1);
    }
    char ok = 0;
    assert_int_equal(read(fds[0], &ok, 1), 1);
    assert_true(ok);
    int fd = -1;
    uint64_t pid = 0;
    assert_int_equal(c2_os_lock_file(path, &fd, &pid), C2_E_BUSY);
    assert_int_equal(pid, child);
    assert_int_equal(fd, -1);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(c2_os_lock_file(path, &fd, &pid), C2_E_OK);
    int second = -1;
    assert_int_equal(c2_os_lock_file(path, &second, &pid), C2_E_BUSY);
    assert_int_equal(pid, getpid());
    c2_os_unlock_file(fd);
    assert_int_equal(c2_os_lock_file(path, &fd, &pid), C2_E_OK);
    c2_os_unlock_file(fd);
    close(fds[0]);
    close(fds[1]);
    c2_free(path);
}

static void
lock__follows_no_link(void **state)
{
    char *target = test_env_path(*state, "target");
    char *path = test_env_path(*state, "lock");
    test_disk_write_file(target, "keep", 4);
    assert_int_equal(symlink(target, path), 0);
    int fd = -1;
    uint64_t pid = 0;
    assert_int_not_equal(c2_os_lock_file(path, &fd, &pid), C2_E_OK);
    uint64_t size = 0;
    assert_int_equal(c2_os_file_size(target, &size), C2_E_OK);
    assert_int_equal(size, 4);
    c2_free(path);
    c2_free(target);
}

static void
probe__tells_room_from_none_and_leaves_no_file(void **state)
{
    char *path = test_env_path(*state, "probe");
    assert_int_equal(c2_os_probe_space(path, 4096, 4096), C2_E_OK);
    assert_false(test_disk_exists(path));
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit limit = { 8192, 8192 };
        signal(SIGXFSZ, SIG_IGN);
        bool good = setrlimit(RLIMIT_FSIZE, &limit) == 0 &&
                    c2_os_probe_space(path, 0, 8192) == C2_E_OK &&
                    c2_os_probe_space(path, 4096, 8192) == C2_E_NO_SPACE;
        _exit(good ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_false(test_disk_exists(path));
    c2_free(path);
}

int
main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(make_private_dir__makes_parents_and_accepts_what_is_there),
        T(lock__names_its_holder_and_goes_with_it),
        T(lock__follows_no_link),
        T(probe__tells_room_from_none_and_leaves_no_file),
    };
    return cmocka_run_group_tests_name("base_os_lock", tests, NULL, NULL);
}
