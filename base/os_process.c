/* SPDX-License-Identifier: MIT */
#include "base/os_process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/os_env.h"
#include "base/str.h"

void
c2_os_begin(void)
{
    (void)signal(SIGCHLD, SIG_DFL);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        int null = open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
        C2_ASSERT(null == fd || null < 0); /* the lowest one that is free */
    }
}

void
c2_os_harden(void)
{
    const struct rlimit none = { 0, 0 };
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* ---- unreadable files ------------------------------------------------------------------------ */

static struct {
    void (*fn)(void *arg, const void *addr);
    void *arg;
} unreadable;

static void
on_bus_error(int signo, siginfo_t *info, void *context)
{
    (void)signo;
    (void)context;
    unreadable.fn(unreadable.arg, info->si_addr);
    _exit(EXIT_FAILURE);
}

void
c2_os_on_unreadable(void (*fn)(void *arg, const void *addr), void *arg)
{
    const struct sigaction a = { .sa_sigaction = on_bus_error,
                                 .sa_flags = (int)(SA_SIGINFO | SA_RESETHAND) };
    C2_ASSERT(unreadable.fn == NULL);
    unreadable.fn = fn;
    unreadable.arg = arg;
    (void)sigaction(SIGBUS, &a, NULL);
}

/* A line of /proc/self/maps: "FROM-TO FLAGS OFFSET DEVICE INODE PATH". */
static bool
line_shows(char *line, uintptr_t addr, ino_t inode)
{
    char *at = line;
    uintptr_t from = strtoul(at, &at, 16);
    uintptr_t to = *at == '-' ? strtoul(at + 1, &at, 16) : 0;
    if (addr < from || addr >= to)
        return false;
    for (unsigned skip = 0; skip < 3 && at != NULL; skip++) /* flags, offset, device */
        at = strchr(at + 1, ' ');
    return at != NULL && strtoul(at, NULL, 10) == inode;
}

bool
c2_os_is_mapped(const char *path, const void *addr)
{
    char line[PATH_MAX + 128];
    struct stat st;
    FILE *maps = fopen("/proc/self/maps", "re");
    bool found = false;
    if (maps == NULL || stat(path, &st) != 0)
        st.st_ino = 0;
    while (maps != NULL && !found && fgets(line, sizeof line, maps) != NULL)
        found = st.st_ino != 0 && line_shows(line, (uintptr_t)addr, st.st_ino);
    if (maps != NULL)
        (void)fclose(maps);
    return found;
}

void
c2_os_notify(const char *state)
{
    const char *name = c2_os_getenv("NOTIFY_SOCKET");
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    if (name == NULL || strlen(name) >= sizeof(a.sun_path))
        return;
    memcpy(a.sun_path, name, strlen(name));
    if (a.sun_path[0] == '@')
        a.sun_path[0] = '\0'; /* an abstract address */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&a, len) < 0)
        c2_log(WARN, "process", "systemd cannot be notified");
    close(fd);
}

void
c2_os_leave_terminal(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        (void)dup2(fd, STDIN_FILENO);
        (void)dup2(fd, STDOUT_FILENO);
        (void)dup2(fd, STDERR_FILENO);
        close(fd);
    }
    (void)setsid();
    if (chdir("/") != 0)
        c2_log(WARN, "process", "cannot leave the current folder");
}

static void
wait_for_report(struct c2_os_start *s, int fd, pid_t child)
{
    size_t len = 0;
    while (len < C2_OS_REPORT_MAX) {
        ssize_t n = read(fd, s->text + len, C2_OS_REPORT_MAX - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    close(fd);
    s->text[len] = '\0';
    char *rest = NULL;
    long code = strtol(s->text, &rest, 10);
    s->reported = rest != s->text && *rest == ' ';
    if (!s->reported) {
        (void)waitpid(child, &s->status, 0);
        return;
    }
    s->code = (int)code;
    /* Whoever tries again at once finds nothing in use any more. */
    if (s->code != 0)
        (void)waitpid(child, &s->status, 0);
    memmove(s->text, rest + 1, strlen(rest)); /* with the end of the string */
}

enum c2_err
c2_os_start_daemon(struct c2_os_start *ret_start)
{
    int fds[2];
    *ret_start = (struct c2_os_start){ .report_fd = -1 };
    if (pipe2(fds, O_CLOEXEC) != 0)
        return c2_err_from_errno(errno);
    pid_t child = fork();
    if (child < 0) {
        enum c2_err err = c2_err_from_errno(errno);
        close(fds[0]);
        close(fds[1]);
        return err;
    }
    ret_start->parent = child > 0;
    close(fds[child > 0 ? 1 : 0]);
    if (child > 0)
        wait_for_report(ret_start, fds[0], child);
    else
        ret_start->report_fd = fds[1];
    return C2_E_OK;
}

void
c2_os_report(int *fd, int code, const char *text)
{
    if (*fd < 0) {
        (void)fprintf(code == 0 ? stdout : stderr, "%s\n", text);
        (void)fflush(stdout);
        return;
    }
    char *line = c2_asprintf("%d %s", code, text);
    size_t len = strlen(line);
    if (write(*fd, line, len) != (ssize_t)len)
        c2_log(WARN, "process", "the process that started this one is gone");
    close(*fd);
    *fd = -1;
    c2_free(line);
}
