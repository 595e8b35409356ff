/* SPDX-License-Identifier: MIT */
#include "base/os_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static bool
somebody_listens(const struct sockaddr_un *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* EAGAIN: somebody whose queue is full. */
    bool alive =
        fd >= 0 && (connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 || errno == EAGAIN);
    if (fd >= 0)
        close(fd);
    return alive;
}

C2_RESULT
c2_os_socket_listen(int dir_fd, const char *name, int backlog, int *ret_fd)
{
    /* The path of the socket may be longer than sun_path: it is named through the folder. */
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int len = snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", dir_fd, name);
    if (len < 0 || (size_t)len >= sizeof(a.sun_path))
        return C2_E_NAME_TOO_LONG;
    struct stat st;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (!S_ISSOCK(st.st_mode))
            return C2_E_EXISTS;
        if (somebody_listens(&a))
            return C2_E_BUSY;
        (void)unlinkat(dir_fd, name, 0);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return c2_err_from_errno(errno);
    mode_t mask = umask(0177);
    int rc = bind(fd, (const struct sockaddr *)&a, sizeof(a));
    umask(mask);
    if (rc != 0 || listen(fd, backlog) != 0) {
        enum c2_err err = c2_err_from_errno(errno);
        close(fd);
        return err;
    }
    *ret_fd = fd;
    return C2_E_OK;
}

C2_RESULT
c2_os_socket_send(int fd, struct c2_slice out, size_t *at)
{
    while (*at < out.len) {
        ssize_t n = send(fd, out.data + *at, out.len - *at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            return c2_err_from_errno(errno);
        *at += (size_t)n;
    }
    return C2_E_OK;
}
