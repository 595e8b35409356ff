/* SPDX-License-Identifier: MIT */
#include "base/os_tty.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/os_file.h"

static int
open_tty(void)
{
    return open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
}

bool
c2_os_has_tty(void)
{
    int fd = open_tty();
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* One line, byte by byte: nothing of what follows may be lost to a buffer. */
static C2_RESULT
read_line(int fd, struct c2_buf *out)
{
    size_t start = out->len;
    c2_buf_reserve(out, C2_OS_ANSWER_MAX + 1);
    for (;;) {
        char c;
        ssize_t n = read(fd, &c, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return C2_E_CANCELED;
        if (c == '\n')
            return C2_E_OK;
        if (out->len - start == C2_OS_ANSWER_MAX)
            return C2_E_TOO_LARGE;
        c2_buf_append(out, &c, 1);
    }
}

C2_RESULT
c2_os_ask_secret(void *arg, const char *prompt, struct c2_buf *out)
{
    (void)arg;
    struct termios shown, hidden;
    int fd = open_tty();
    if (fd < 0)
        return C2_E_NOT_FOUND;
    bool known = tcgetattr(fd, &shown) == 0;
    if (known) {
        hidden = shown;
        hidden.c_lflag &= ~(tcflag_t)ECHO;
        hidden.c_lflag |= ICANON | ISIG | ECHONL;
        (void)tcsetattr(fd, TCSAFLUSH, &hidden);
    }
    enum c2_err err = c2_os_write_all(fd, prompt, strlen(prompt));
    if (err == C2_E_OK)
        err = read_line(fd, out);
    if (known)
        (void)tcsetattr(fd, TCSAFLUSH, &shown);
    close(fd);
    return err;
}

C2_RESULT
c2_os_ask_line(const char *prompt, struct c2_buf *out)
{
    int fd = open_tty();
    if (fd < 0)
        return C2_E_NOT_FOUND;
    enum c2_err err = c2_os_write_all(fd, prompt, strlen(prompt));
    if (err == C2_E_OK)
        err = read_line(fd, out);
    close(fd);
    return err;
}
