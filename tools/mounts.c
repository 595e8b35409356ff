/* SPDX-License-Identifier: MIT */
#include "tools/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os_file.h"

#define MOUNTINFO_MAX (8u << 20)
#define NOT_RUN       127 /* how a child ends that could not become fusermount3 */

/* Decodes the \040 of mountinfo in place. */
static void
unescape(char *text)
{
    char *out = text;
    for (const char *p = text; *p != '\0'; out++) {
        bool octal = p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' &&
                     p[3] >= '0' && p[3] <= '7';
        *out = octal ? (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 + (p[3] - '0')) : *p;
        p += octal ? 4 : 1;
    }
    *out = '\0';
}

/* id parent device root mountpoint options [optional ...] - type source super-options */
static void
take_line(char *line, struct mounts *m)
{
    char *fields[6] = { NULL }, *rest = line;
    for (size_t k = 0; k < C2_ARRAY_LEN(fields); k++)
        fields[k] = strsep(&rest, " ");
    const char *dash = rest == NULL ? NULL : strstr(rest, "- ");
    if (dash == NULL || m->n == MOUNTS_MAX)
        return;
    char *tail = c2_strdup(dash + 2), *at = tail;
    const char *type = strsep(&at, " ");
    char *source = strsep(&at, " ");
    if (type != NULL && source != NULL && strcmp(type, "fuse.c2fs") == 0) {
        unescape(source);
        unescape(fields[4]);
        struct mount_entry *e = &m->e[m->n++];
        e->volume = c2_strdup(strncmp(source, "c2fs:", 5) == 0 ? source + 5 : source);
        e->mountpoint = c2_strdup(fields[4]);
        e->options = c2_strdup(fields[5]);
    }
    c2_free(tail);
}

void
mounts_read(const char *text, struct mounts *ret_mounts)
{
    struct c2_buf buf = { 0 };
    memset(ret_mounts, 0, sizeof(*ret_mounts));
    if (text != NULL)
        c2_buf_puts(&buf, text);
    else if (c2_os_read_file("/proc/self/mountinfo", MOUNTINFO_MAX, &buf, NULL) != C2_E_OK)
        c2_buf_clear(&buf);
    char *copy = c2_strdup(c2_buf_cstr(&buf)), *rest = copy, *line;
    while ((line = strsep(&rest, "\n")) != NULL)
        take_line(line, ret_mounts);
    c2_free(copy);
    c2_buf_done(&buf);
}

void
mounts_done(struct mounts *m)
{
    for (size_t k = 0; k < m->n; k++) {
        c2_free(m->e[k].volume);
        c2_free(m->e[k].mountpoint);
        c2_free(m->e[k].options);
    }
    m->n = 0;
}

/* The folder's name resolved in all but its last part, which is not looked at. */
static char *
resolve(const char *path)
{
    char *copy = c2_strdup(path);
    size_t len = strlen(copy);
    while (len > 1 && copy[len - 1] == '/')
        copy[--len] = '\0';
    char *slash = strrchr(copy, '/');
    const char *last = slash == NULL ? copy : slash + 1;
    char parent[PATH_MAX];
    const char *dir = slash == NULL ? "." : slash == copy ? "/" : copy;
    char *result = NULL;
    if (slash != NULL && slash != copy)
        *slash = '\0';
    if (strcmp(last, ".") != 0 && strcmp(last, "..") != 0 && realpath(dir, parent) != NULL)
        result = c2_asprintf("%s%s%s", parent, strcmp(parent, "/") == 0 ? "" : "/", last);
    c2_free(copy);
    return result;
}

const struct mount_entry *
mounts_at(const struct mounts *m, const char *mountpoint)
{
    char *wanted = resolve(mountpoint);
    const struct mount_entry *found = NULL;
    for (size_t k = 0; k < m->n; k++)
        if (strcmp(m->e[k].mountpoint, wanted != NULL ? wanted : mountpoint) == 0)
            found = &m->e[k];
    c2_free(wanted);
    return found;
}

/* ---- unmounting ------------------------------------------------------------------------------ */

int
mounts_fusermount_errno(int exit_code, const char *said)
{
    if (exit_code == 0)
        return 0;
    if (exit_code == NOT_RUN)
        return ENOPKG;
    if (strstr(said, "busy") != NULL)
        return EBUSY;
    if (strstr(said, "permitted") != NULL || strstr(said, "denied") != NULL)
        return EPERM;
    return strstr(said, "not found") != NULL || strstr(said, "not mounted") != NULL ? EINVAL : EIO;
}

/* fusermount3 for those who may not call umount(2). It only says in words why it failed. */
static int
run_fusermount(const char *mountpoint, bool lazy)
{
    char said[512] = "";
    size_t len = 0;
    ssize_t n;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return errno;
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        if (lazy)
            execlp("fusermount3", "fusermount3", "-u", "-z", "--", mountpoint, (char *)NULL);
        else
            execlp("fusermount3", "fusermount3", "-u", "--", mountpoint, (char *)NULL);
        _exit(NOT_RUN);
    }
    (void)close(ends[1]);
    while (len + 1 < sizeof(said) && (n = read(ends[0], said + len, sizeof(said) - 1 - len)) > 0)
        len += (size_t)n;
    (void)close(ends[0]);
    said[len] = '\0';
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return EIO;
    return WIFEXITED(status) ? mounts_fusermount_errno(WEXITSTATUS(status), said) : EIO;
}

int
mounts_detach(const char *mountpoint, bool lazy)
{
    if (umount2(mountpoint, lazy ? MNT_DETACH : UMOUNT_NOFOLLOW) == 0)
        return 0;
    return errno == EPERM ? run_fusermount(mountpoint, lazy) : errno;
}
