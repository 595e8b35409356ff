/* SPDX-License-Identifier: MIT */
/*
 * A child process with its standard error in a pipe.
 */
#include "tests/lib/death.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"

static void
child(void (*fn)(void *arg), void *arg, int err_fd)
{
    const struct rlimit no_core = { 0 };
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGABRT, SIG_DFL); /* cmocka catches it */
    dup2(err_fd, STDERR_FILENO);
    fn(arg);
    _exit(0);
}

void
test_aborts(void (*fn)(void *arg), void *arg, const char *message)
{
    int fds[2], status;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child(fn, arg, fds[1]);
    close(fds[1]);
    struct c2_buf said = { 0 };
    for (;;) {
        c2_buf_reserve(&said, 4096);
        ssize_t n = read(fds[0], said.data + said.len, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        said.len += (size_t)n;
    }
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    bool aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
    bool explained = strstr(c2_buf_cstr(&said), message) != NULL;
    if (!aborted || !explained)
        print_error("status %d, standard error:\n%s\n", status, c2_buf_cstr(&said));
    c2_buf_done(&said);
    assert_true(aborted);
    assert_true(explained);
}
