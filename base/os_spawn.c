/* SPDX-License-Identifier: MIT */
/*
 * Commands of the configuration. The child gets a process group of its own, so that a time-out
 * ends what it started, too. Its end is seen through a pidfd: a grandchild that keeps the pipe open
 * does not keep us waiting.
 */
#include "base/os_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/env.h"
#include "base/os_env.h"

#define LOOK_MS 20u      /* between two looks at a child, without a pidfd */
#define WAIT_MS 1000000u /* at most, in one go */

struct child {
    pid_t pid;
    int pidfd;
    int out; /* non-blocking */
};

/* Our environment with one variable more; the caller frees the array. */
static char **
environment(const char *variable)
{
    size_t n = 0;
    while (environ[n] != NULL)
        n++;
    char **env = c2_calloc(n + 2, sizeof(char *));
    if (n > 0)
        memcpy(env, environ, n * sizeof(char *));
    env[n] = (char *)(uintptr_t)variable;
    return env;
}

static int
spawn_shell(const char *command, const char *variable, int out, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                        POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &defaults);
    char *text = c2_strdup(command);
    char shell[] = "/bin/sh", flag[] = "-c";
    char *argv[] = { shell, flag, text, NULL };
    char **env = environment(variable);
    int rc = posix_spawn(ret_pid, shell, &actions, &attr, argv, env);
    c2_free(env);
    c2_free(text);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

static enum c2_err
start(const char *command, const char *variable, struct child *c)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return c2_err_from_errno(errno);
    int rc = fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0 ? errno : 0;
    if (rc == 0)
        rc = spawn_shell(command, variable, fds[1], &c->pid);
    close(fds[1]);
    if (rc != 0) {
        close(fds[0]);
        return c2_err_from_errno(rc);
    }
    c->out = fds[0];
    c->pidfd = pidfd_open(c->pid, 0); /* -1 is handled: then the end of the output must do */
    return C2_E_OK;
}

/* What is there now. C2_E_AGAIN: more may come; C2_E_OK: the end. */
static enum c2_err
drain(int fd, struct c2_buf *out, size_t len_max)
{
    for (;;) {
        size_t room = len_max - out->len;
        ssize_t n = read(fd, out->data + out->len, room + 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return c2_err_from_errno(errno);
        if (n == 0)
            return C2_E_OK;
        if ((size_t)n > room)
            return C2_E_TOO_LARGE;
        out->len += (size_t)n;
    }
}

static enum c2_err
collect(const struct child *c, uint64_t deadline_ns, struct c2_buf *out, size_t len_max)
{
    for (;;) {
        uint64_t now = c2_os_now_ns();
        if (now >= deadline_ns)
            return C2_E_TIMEOUT;
        uint64_t left_ms = (deadline_ns - now) / C2_NS_PER_MS + 1;
        struct pollfd fds[2] = { { .fd = c->out, .events = POLLIN },
                                 { .fd = c->pidfd, .events = POLLIN } };
        if (poll(fds, 2, (int)C2_MIN(left_ms, (uint64_t)WAIT_MS)) < 0 && errno != EINTR)
            return c2_err_from_errno(errno);
        enum c2_err err = drain(c->out, out, len_max);
        if (err != C2_E_AGAIN)
            return err;
        if (fds[1].revents != 0)
            return C2_E_OK;
    }
}

/* Waits for the child, which may go on after it closed its output. Where there is no pidfd_open it
 * is looked at from time to time. */
static enum c2_err
reap(const struct child *c, uint64_t deadline_ns, int *ret_status)
{
    for (;;) {
        pid_t got = waitpid(c->pid, ret_status, WNOHANG);
        if (got == c->pid)
            return C2_E_OK;
        if (got < 0 && errno != EINTR)
            return c2_err_from_errno(errno);
        uint64_t now = c2_os_now_ns();
        if (now >= deadline_ns)
            return C2_E_TIMEOUT;
        uint64_t left_ms = (deadline_ns - now) / C2_NS_PER_MS + 1;
        uint64_t most_ms = c->pidfd < 0 ? LOOK_MS : WAIT_MS;
        struct pollfd fd = { .fd = c->pidfd, .events = POLLIN };
        if (poll(&fd, 1, (int)C2_MIN(left_ms, most_ms)) < 0 && errno != EINTR)
            return c2_err_from_errno(errno);
    }
}

static enum c2_err
finish(const struct child *c, enum c2_err err, uint64_t deadline_ns, char **ret_problem)
{
    int status = 0;
    if (err == C2_E_OK)
        err = reap(c, deadline_ns, &status);
    if (err != C2_E_OK) {
        kill(-c->pid, SIGKILL);
        waitpid(c->pid, &status, 0);
        *ret_problem = err == C2_E_TIMEOUT     ? c2_strdup("did not end in time")
                       : err == C2_E_TOO_LARGE ? c2_strdup("printed too much")
                                               : c2_strdup(c2_err_text(err));
        return err == C2_E_TIMEOUT ? err : C2_E_CONFIG;
    }
    if (WIFSIGNALED(status)) {
        *ret_problem = c2_asprintf("was ended by signal %d", WTERMSIG(status));
        return C2_E_CONFIG;
    }
    if (WEXITSTATUS(status) != 0) {
        *ret_problem = c2_asprintf("ended with status %d", WEXITSTATUS(status));
        return C2_E_CONFIG;
    }
    return C2_E_OK;
}

enum c2_err
c2_os_command(const char *command, const char *variable, uint64_t timeout_ns, struct c2_buf *out,
              char **ret_problem)
{
    struct child c = { 0 };
    size_t len_max = out->len + C2_OS_COMMAND_OUTPUT_MAX;
    c2_buf_reserve(out, C2_OS_COMMAND_OUTPUT_MAX + 2); /* one to see too much, one for a zero */
    uint64_t deadline_ns = c2_os_now_ns() + timeout_ns;
    enum c2_err err = start(command, variable, &c);
    if (err != C2_E_OK) {
        *ret_problem = c2_asprintf("cannot be started: %s", c2_err_text(err));
        return C2_E_CONFIG;
    }
    err = collect(&c, deadline_ns, out, len_max);
    err = finish(&c, err, deadline_ns, ret_problem);
    close(c.out);
    if (c.pidfd >= 0)
        close(c.pidfd);
    return err;
}
