/* SPDX-License-Identifier: MIT */
/*
 * The steps of a case. I is a handle 0..7, P a path, T seconds[.fraction].
 *
 *   open I P FLAGS [MODE]    flags: r w rw, c create, x exclusive, t truncate, a append, d folder,
 *                            l no-follow, T unnamed
 *   creat P MODE [TEXT]      a new file with exact mode bits (umask applies)
 *   creatat I NAME           in the folder behind a handle
 *   close I, fsync I, fdatasync I, syncfs I
 *   write I LEN CHAR, pwrite I OFFSET LEN CHAR        answer: bytes written
 *   pread I OFFSET LEN, data P, mmapget I OFF LEN     answer: runs, as a3b1; 0 stands for NUL
 *   mmapset I OFF LEN CHAR, mmappriv ...              writes through a shared or private mapping
 *   lseek I OFFSET set|data|hole, copy I J LEN, truncate P LEN, ftruncate I LEN,
 *   fallocate I 0|keep|punch OFFSET LEN
 *   mkdir rmdir unlink link symlink readlink rename[noreplace|exchange] chmod chown lchown
 *   mknod P fifo|sock|reg|chr|blk MODE [MAJOR MINOR], utimens P T T, umask M, access P rwx
 *   stat|lstat P FIELDS, fstat I FIELDS               type mode nlink size uid gid atime mtime rdev
 *                                                     blocks<N
 *   mark P ... moved P       which of a(time) m(time) c(time) changed since
 *   same P P, inode DIR P    the same inode? does readdir give stat's number?
 *   list DIR, count DIR, many PREFIX N, listdel DIR PREFIX (reads a folder and deletes as it goes)
 *   setxattr|lsetxattr P NAME VALUE [create|replace], getxattr, removexattr, listxattr
 *   flock I sh|ex|un, setlk I rd|wr|un START LEN, getlk I rd|wr START LEN (never wait)
 *   as UID GID               of file access; `child STEP` runs a step in another process
 *   namemax P
 */
#include "tests/posix/posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define LIST_MAX 4096

__attribute__((format(printf, 2, 3))) static void
answer(struct posix_run *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t room = sizeof(r->out) - r->out_len;
    int n = vsnprintf(r->out + r->out_len, room, format, args);
    va_end(args);
    if (n > 0)
        r->out_len += (size_t)n < room ? (size_t)n : room - 1;
}

/* The result of a call that gives 0 or a count, -1 with errno. */
static void
result(struct posix_run *r, int64_t rc)
{
    if (rc < 0)
        answer(r, "%s", strerrorname_np(errno));
    else
        answer(r, "%" PRId64, rc);
}

static int64_t
num(const char *text)
{
    return strtoll(text, NULL, 10);
}

static mode_t
octal(const char *text)
{
    return (mode_t)strtoul(text, NULL, 8);
}

static int
fd_of(const struct posix_run *r, const char *index)
{
    return r->fd[(size_t)num(index) % POSIX_FDS];
}

static void
runs(struct posix_run *r, const uint8_t *data, size_t len)
{
    if (len == 0)
        answer(r, "-");
    for (size_t i = 0; i < len;) {
        size_t n = 1;
        while (i + n < len && data[i + n] == data[i])
            n++;
        answer(r, "%c%zu", data[i] == 0 ? '0' : data[i], n);
        i += n;
    }
}

/* ---- handles, data ----------------------------------------------------------------------------
 */

static void
step_open(struct posix_run *r, int argc, char **a)
{
    int flags = 0;
    const char *f = a[3];
    if (strchr(f, 'w') != NULL)
        flags = strchr(f, 'r') != NULL ? O_RDWR : O_WRONLY;
    static const struct {
        char letter;
        int flag;
    } table[] = { { 'c', O_CREAT },     { 'x', O_EXCL },     { 't', O_TRUNC },  { 'a', O_APPEND },
                  { 'd', O_DIRECTORY }, { 'l', O_NOFOLLOW }, { 'T', O_TMPFILE } };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strchr(f, table[i].letter) != NULL)
            flags |= table[i].flag;
    }
    int fd = open(a[2], flags | O_CLOEXEC, argc > 4 ? octal(a[4]) : 0);
    result(r, fd < 0 ? -1 : 0);
    r->fd[(size_t)num(a[1]) % POSIX_FDS] = fd;
}

static void
step_creat(struct posix_run *r, int argc, char **a)
{
    int fd = open(a[1], O_WRONLY | O_CREAT | O_EXCL, octal(a[2]));
    if (fd >= 0 && argc > 3 && write(fd, a[3], strlen(a[3])) < 0) {
        result(r, -1);
        close(fd);
        return;
    }
    if (fd >= 0 && fchmod(fd, octal(a[2])) == 0)
        close(fd);
    result(r, fd < 0 ? -1 : 0);
}

static void
step_creatat(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    int fd = openat(fd_of(r, a[1]), a[2], O_WRONLY | O_CREAT, 0644);
    result(r, fd < 0 ? -1 : 0);
}

static void
step_close(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    result(r, close(fd_of(r, a[1])));
    r->fd[(size_t)num(a[1]) % POSIX_FDS] = -1;
}

static void
step_sync(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    int fd = fd_of(r, a[1]);
    result(r, a[0][0] == 's' ? syncfs(fd) : a[0][1] == 'd' ? fdatasync(fd) : fsync(fd));
}

static void
step_write(struct posix_run *r, int argc, char **a)
{
    uint8_t buf[4096];
    size_t len = (size_t)num(a[argc - 2]);
    memset(buf, a[argc - 1][0], sizeof(buf));
    if (argc == 5)
        result(r, pwrite(fd_of(r, a[1]), buf, len, num(a[2])));
    else
        result(r, write(fd_of(r, a[1]), buf, len));
}

static void
step_read(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    uint8_t buf[4096];
    int fd = a[0][0] == 'd' ? open(a[1], O_RDONLY) : fd_of(r, a[1]);
    size_t len = a[0][0] == 'd' ? sizeof(buf) : (size_t)num(a[3]);
    ssize_t n = pread(fd, buf, len, a[0][0] == 'd' ? 0 : num(a[2]));
    if (n < 0)
        result(r, n);
    else
        runs(r, buf, (size_t)n);
    if (a[0][0] == 'd' && fd >= 0)
        close(fd);
}

static void
step_mmap(struct posix_run *r, int argc, char **a)
{
    size_t offset = (size_t)num(a[2]);
    size_t len = (size_t)num(a[3]);
    int flags = strcmp(a[0], "mmappriv") == 0 ? MAP_PRIVATE : MAP_SHARED;
    uint8_t *m = mmap(NULL, offset + len, PROT_READ | PROT_WRITE, flags, fd_of(r, a[1]), 0);
    if (m == MAP_FAILED) {
        result(r, -1);
        return;
    }
    if (argc > 4)
        memset(m + offset, a[4][0], len);
    if (argc > 4)
        answer(r, "0");
    else
        runs(r, m + offset, len);
    munmap(m, offset + len);
}

static void
step_lseek(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    int whence = a[3][0] == 's' ? SEEK_SET : a[3][0] == 'd' ? SEEK_DATA : SEEK_HOLE;
    result(r, lseek(fd_of(r, a[1]), num(a[2]), whence));
}

static void
step_copy(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    result(r, copy_file_range(fd_of(r, a[1]), NULL, fd_of(r, a[2]), NULL, (size_t)num(a[3]), 0));
}

static void
step_truncate(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    result(r, a[0][0] == 'f' ? ftruncate(fd_of(r, a[1]), num(a[2])) : truncate(a[1], num(a[2])));
}

static void
step_fallocate(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    int mode = a[2][0] == '0'   ? 0
               : a[2][0] == 'k' ? FALLOC_FL_KEEP_SIZE
                                : FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    result(r, fallocate(fd_of(r, a[1]), mode, num(a[3]), num(a[4])));
}

/* ---- names ------------------------------------------------------------------------------------
 */

static void
step_names(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    if (strcmp(a[0], "mkdir") == 0)
        result(r, mkdir(a[1], octal(a[2])));
    else if (strcmp(a[0], "rmdir") == 0)
        result(r, rmdir(a[1]));
    else if (strcmp(a[0], "unlink") == 0)
        result(r, unlink(a[1]));
    else if (strcmp(a[0], "link") == 0)
        result(r, link(a[1], a[2]));
    else
        result(r, symlink(a[1], a[2]));
}

static void
step_readlink(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    char buf[4096];
    ssize_t n = readlink(a[1], buf, sizeof(buf));
    if (n < 0)
        result(r, n);
    else
        answer(r, "%.*s", (int)n, buf);
}

static void
step_rename(struct posix_run *r, int argc, char **a)
{
    unsigned flags = 0;
    if (argc > 3)
        flags = a[3][0] == 'n' ? RENAME_NOREPLACE : RENAME_EXCHANGE;
    result(r, renameat2(AT_FDCWD, a[1], AT_FDCWD, a[2], flags));
}

static void
step_mknod(struct posix_run *r, int argc, char **a)
{
    static const struct {
        const char *name;
        mode_t type;
    } kinds[] = { { "fifo", S_IFIFO },
                  { "sock", S_IFSOCK },
                  { "reg", S_IFREG },
                  { "chr", S_IFCHR },
                  { "blk", S_IFBLK } };
    mode_t type = 0;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(a[2], kinds[i].name) == 0)
            type = kinds[i].type;
    }
    dev_t dev = argc > 5 ? makedev((unsigned)num(a[4]), (unsigned)num(a[5])) : 0;
    result(r, mknod(a[1], type | octal(a[3]), dev));
}

/* ---- attributes -------------------------------------------------------------------------------
 */

static struct timespec
time_of(const char *text)
{
    struct timespec t = { .tv_sec = num(text) };
    const char *dot = strchr(text, '.');
    char digits[10] = "000000000";
    for (size_t i = 0; dot != NULL && dot[1 + i] != '\0' && i < 9; i++)
        digits[i] = dot[1 + i];
    t.tv_nsec = num(digits);
    return t;
}

static void
step_attributes(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    if (strcmp(a[0], "chmod") == 0) {
        result(r, chmod(a[1], octal(a[2])));
    } else if (strcmp(a[0], "chown") == 0) {
        result(r, chown(a[1], (uid_t)num(a[2]), (gid_t)num(a[3])));
    } else if (strcmp(a[0], "lchown") == 0) {
        result(r, lchown(a[1], (uid_t)num(a[2]), (gid_t)num(a[3])));
    } else if (strcmp(a[0], "utimens") == 0) {
        struct timespec t[2] = { time_of(a[2]), time_of(a[3]) };
        result(r, utimensat(AT_FDCWD, a[1], t, AT_SYMLINK_NOFOLLOW));
    } else {
        umask(octal(a[1]));
        answer(r, "0");
    }
}

static void
step_access(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    int mode = (strchr(a[2], 'r') != NULL ? R_OK : 0) | (strchr(a[2], 'w') != NULL ? W_OK : 0) |
               (strchr(a[2], 'x') != NULL ? X_OK : 0);
    result(r, faccessat(AT_FDCWD, a[1], mode, AT_EACCESS));
}

static const char *
type_name(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "file";
    case S_IFDIR:
        return "dir";
    case S_IFLNK:
        return "link";
    case S_IFIFO:
        return "fifo";
    case S_IFCHR:
        return "chr";
    case S_IFBLK:
        return "blk";
    case S_IFSOCK:
        return "sock";
    default:
        return "?";
    }
}

static void
one_field(struct posix_run *r, const char *field, const struct stat *st)
{
    if (strcmp(field, "type") == 0)
        answer(r, "%s", type_name(st->st_mode));
    else if (strcmp(field, "mode") == 0)
        answer(r, "%o", st->st_mode & 07777);
    else if (strcmp(field, "nlink") == 0)
        answer(r, "%ju", (uintmax_t)st->st_nlink);
    else if (strcmp(field, "size") == 0)
        answer(r, "%jd", (intmax_t)st->st_size);
    else if (strcmp(field, "uid") == 0)
        answer(r, "%u", st->st_uid);
    else if (strcmp(field, "gid") == 0)
        answer(r, "%u", st->st_gid);
    else if (strcmp(field, "atime") == 0)
        answer(r, "%jd.%09ld", (intmax_t)st->st_atim.tv_sec, st->st_atim.tv_nsec);
    else if (strcmp(field, "mtime") == 0)
        answer(r, "%jd.%09ld", (intmax_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
    else if (strcmp(field, "rdev") == 0)
        answer(r, "%u:%u", major(st->st_rdev), minor(st->st_rdev));
    else if (strncmp(field, "blocks<", 7) == 0)
        answer(r, "%s", st->st_blocks < num(field + 7) ? "yes" : "no");
    else
        answer(r, "unknown-field");
}

static void
step_stat(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    struct stat st;
    int rc = a[0][0] == 'f'   ? fstat(fd_of(r, a[1]), &st)
             : a[0][0] == 'l' ? lstat(a[1], &st)
                              : stat(a[1], &st);
    if (rc < 0) {
        result(r, rc);
        return;
    }
    char *save = NULL;
    const char *separator = "";
    for (char *f = strtok_r(a[2], ",", &save); f != NULL; f = strtok_r(NULL, ",", &save)) {
        answer(r, "%s", separator);
        one_field(r, f, &st);
        separator = ",";
    }
}

/* Waits until the coarse clock that stamps inodes has moved on. */
static void
tick(void)
{
    struct timespec t = { .tv_nsec = 20000000 };
    nanosleep(&t, NULL);
}

static void
step_mark(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    struct stat st;
    int rc = lstat(a[1], &st);
    if (a[0][1] == 'a') {
        result(r, rc);
        r->marked[0] = st.st_atim;
        r->marked[1] = st.st_mtim;
        r->marked[2] = st.st_ctim;
        tick();
        return;
    }
    const struct timespec now[3] = { st.st_atim, st.st_mtim, st.st_ctim };
    bool any = false;
    for (size_t i = 0; rc == 0 && i < 3; i++) {
        if (now[i].tv_sec == r->marked[i].tv_sec && now[i].tv_nsec == r->marked[i].tv_nsec)
            continue;
        answer(r, "%c", "amc"[i]);
        any = true;
    }
    if (rc < 0)
        result(r, rc);
    else if (!any)
        answer(r, "-");
}

static void
step_same(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    struct stat x;
    struct stat y;
    if (lstat(a[1], &x) < 0 || lstat(a[2], &y) < 0)
        result(r, -1);
    else
        answer(r, "%s", x.st_ino == y.st_ino && x.st_dev == y.st_dev ? "yes" : "no");
}

/* ---- folders ----------------------------------------------------------------------------------
 */

static int
by_name(const void *x, const void *y)
{
    return strcmp(*(char *const *)x, *(char *const *)y);
}

static void
step_list(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    static char *names[LIST_MAX];
    size_t n = 0;
    DIR *dir = opendir(a[1]);
    if (dir == NULL) {
        result(r, -1);
        return;
    }
    for (struct dirent *e = readdir(dir); e != NULL && n < LIST_MAX; e = readdir(dir)) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            names[n++] = strdup(e->d_name);
    }
    closedir(dir);
    qsort(names, n, sizeof(names[0]), by_name);
    if (a[0][0] == 'c')
        answer(r, "%zu", n);
    else if (n == 0)
        answer(r, "-");
    for (size_t i = 0; i < n; i++) {
        if (a[0][0] == 'l')
            answer(r, "%s%s", i > 0 ? "," : "", names[i]);
        free(names[i]);
    }
}

static void
step_many(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    for (int64_t i = 0; i < num(a[2]); i++) {
        char name[64];
        snprintf(name, sizeof(name), "%s%" PRId64, a[1], i);
        int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
        if (fd < 0) {
            result(r, -1);
            return;
        }
        close(fd);
    }
    answer(r, "0");
}

/* Every entry that was there when the reading started must be seen exactly once. */
static void
step_listdel(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    unsigned n = 0;
    DIR *dir = opendir(a[1]);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (strncmp(e->d_name, a[2], strlen(a[2])) == 0 && unlink(e->d_name) == 0)
            n++;
    }
    closedir(dir);
    answer(r, "%u", n);
}

static void
step_inode(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    struct stat st;
    bool same = false;
    DIR *dir = opendir(a[1]);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (strcmp(e->d_name, a[2]) == 0 && fstatat(dirfd(dir), a[2], &st, 0) == 0)
            same = e->d_ino == st.st_ino && e->d_type == DT_REG;
    }
    closedir(dir);
    answer(r, "%s", same ? "yes" : "no");
}

static void
step_namemax(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    struct statvfs v;
    result(r, statvfs(a[1], &v) < 0 ? -1 : (int64_t)v.f_namemax);
}

/* ---- extended attributes ----------------------------------------------------------------------
 */

static void
step_setxattr(struct posix_run *r, int argc, char **a)
{
    int flags = argc < 5 ? 0 : a[4][0] == 'c' ? XATTR_CREATE : XATTR_REPLACE;
    if (a[0][0] == 'l')
        result(r, lsetxattr(a[1], a[2], a[3], strlen(a[3]), flags));
    else
        result(r, setxattr(a[1], a[2], a[3], strlen(a[3]), flags));
}

static void
step_getxattr(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    char buf[4096];
    if (a[0][0] == 'r') {
        result(r, removexattr(a[1], a[2]));
        return;
    }
    ssize_t n =
        a[0][0] == 'g' ? getxattr(a[1], a[2], buf, sizeof(buf)) : listxattr(a[1], buf, sizeof(buf));
    if (n < 0) {
        result(r, n);
    } else if (a[0][0] == 'g') {
        answer(r, "%.*s", n == 0 ? 1 : (int)n, n == 0 ? "-" : buf);
    } else {
        /* Names of other namespaces (security labels) are not the test's. */
        bool any = false;
        for (const char *p = buf; p < buf + n; p += strlen(p) + 1) {
            if (strncmp(p, "user.", 5) != 0 || strncmp(p, "user.c2fs.", 10) == 0)
                continue;
            answer(r, "%s%s", any ? "," : "", p);
            any = true;
        }
        if (!any)
            answer(r, "-");
    }
}

/* ---- locks, users -----------------------------------------------------------------------------
 */

static void
step_flock(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    int op = a[2][0] == 's' ? LOCK_SH : a[2][0] == 'e' ? LOCK_EX : LOCK_UN;
    result(r, flock(fd_of(r, a[1]), op | LOCK_NB));
}

static void
step_lock(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    struct flock l = { .l_whence = SEEK_SET, .l_start = num(a[3]), .l_len = num(a[4]) };
    l.l_type = a[2][0] == 'r' ? F_RDLCK : a[2][0] == 'w' ? F_WRLCK : F_UNLCK;
    if (a[0][0] == 's') {
        result(r, fcntl(fd_of(r, a[1]), F_SETLK, &l));
        return;
    }
    int rc = fcntl(fd_of(r, a[1]), F_GETLK, &l);
    if (rc < 0)
        result(r, rc);
    else
        answer(r, "%s", l.l_type == F_UNLCK ? "free" : "held");
}

static void
step_as(struct posix_run *r, int argc, char **a)
{
    (void)argc;
    uid_t uid = (uid_t)num(a[1]);
    if (seteuid(0) < 0) {
        result(r, -1);
        return;
    }
    if (setgroups(0, NULL) < 0 || setegid((gid_t)num(a[2])) < 0 || seteuid(uid) < 0)
        result(r, -1);
    else
        answer(r, "0");
}

static void
step_child(struct posix_run *r, int argc, char **a)
{
    int fds[2];
    if (pipe(fds) < 0) {
        result(r, -1);
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        r->out_len = 0;
        posix_step(r, argc - 1, a + 1);
        _exit(write(fds[1], r->out, r->out_len) == (ssize_t)r->out_len ? 0 : 1);
    }
    close(fds[1]);
    char buf[256];
    ssize_t n = read(fds[0], buf, sizeof(buf));
    close(fds[0]);
    waitpid(pid, NULL, 0);
    answer(r, "%.*s", n > 0 ? (int)n : 0, buf);
}

static const struct {
    const char *name;
    int args_min;
    void (*run)(struct posix_run *r, int argc, char **argv);
} table[] = {
    { "open", 3, step_open },
    { "creat", 2, step_creat },
    { "creatat", 2, step_creatat },
    { "close", 1, step_close },
    { "fsync", 1, step_sync },
    { "fdatasync", 1, step_sync },
    { "syncfs", 1, step_sync },
    { "write", 3, step_write },
    { "pwrite", 4, step_write },
    { "pread", 3, step_read },
    { "data", 1, step_read },
    { "mmapset", 4, step_mmap },
    { "mmappriv", 4, step_mmap },
    { "mmapget", 3, step_mmap },
    { "lseek", 3, step_lseek },
    { "copy", 3, step_copy },
    { "truncate", 2, step_truncate },
    { "ftruncate", 2, step_truncate },
    { "fallocate", 4, step_fallocate },
    { "mkdir", 2, step_names },
    { "rmdir", 1, step_names },
    { "unlink", 1, step_names },
    { "link", 2, step_names },
    { "symlink", 2, step_names },
    { "readlink", 1, step_readlink },
    { "rename", 2, step_rename },
    { "mknod", 3, step_mknod },
    { "chmod", 2, step_attributes },
    { "chown", 3, step_attributes },
    { "lchown", 3, step_attributes },
    { "utimens", 3, step_attributes },
    { "umask", 1, step_attributes },
    { "access", 2, step_access },
    { "stat", 2, step_stat },
    { "lstat", 2, step_stat },
    { "fstat", 2, step_stat },
    { "mark", 1, step_mark },
    { "moved", 1, step_mark },
    { "same", 2, step_same },
    { "inode", 2, step_inode },
    { "list", 1, step_list },
    { "count", 1, step_list },
    { "many", 2, step_many },
    { "listdel", 2, step_listdel },
    { "namemax", 1, step_namemax },
    { "setxattr", 3, step_setxattr },
    { "lsetxattr", 3, step_setxattr },
    { "getxattr", 2, step_getxattr },
    { "removexattr", 2, step_getxattr },
    { "listxattr", 1, step_getxattr },
    { "flock", 2, step_flock },
    { "setlk", 4, step_lock },
    { "getlk", 4, step_lock },
    { "as", 2, step_as },
    { "child", 1, step_child },
};

void
posix_step(struct posix_run *r, int argc, char **argv)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(argv[0], table[i].name) != 0)
            continue;
        if (argc - 1 < table[i].args_min) {
            answer(r, "too-few-arguments");
            return;
        }
        table[i].run(r, argc, argv);
        return;
    }
    answer(r, "unknown-step");
}
