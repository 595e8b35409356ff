/* SPDX-License-Identifier: MIT */
#include "fs/main_setup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/os_process.h"

#define LOCK_NAME "mount.lock"

static C2_RESULT
fail_errno(char **ret_error, const char *what, const char *path, int err_no)
{
    *ret_error = c2_asprintf("%s %s: %s", what, path, strerror(err_no));
    return c2_err_from_errno(err_no);
}

/* ---- mount point ----------------------------------------------------------------------------- */

/* fusermount3 for those who may not call umount(2). */
static void
run_fusermount(const char *path)
{
    pid_t pid = fork();
    if (pid == 0) {
        execlp("fusermount3", "fusermount3", "-u", "-z", "-q", "--", path, (char *)NULL);
        _exit(127);
    }
    if (pid > 0)
        (void)waitpid(pid, NULL, 0);
}

/* The mount of a daemon that died: nothing is lost by taking it away. */
static void
clean_dead_mount(const char *path)
{
    c2_log(WARN, "mount", "path=%s the daemon of an earlier mount died, cleaning up", path);
    if (umount2(path, MNT_DETACH) != 0)
        run_fusermount(path);
}

/* Whether `path` itself is a mount point: another device than its parent. */
static bool
is_mount_point(const char *path, const struct stat *st)
{
    char *parent = c2_asprintf("%s/..", path);
    struct stat up;
    bool is = stat(parent, &up) == 0 && (up.st_dev != st->st_dev || up.st_ino == st->st_ino);
    c2_free(parent);
    return is;
}

static C2_RESULT
check_empty(const char *path, char **ret_error)
{
    DIR *d = opendir(path);
    if (d == NULL)
        return fail_errno(ret_error, "cannot read", path, errno);
    unsigned entries = 0;
    const struct dirent *e;
    while ((e = readdir(d)) != NULL)
        entries += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    if (entries == 0)
        return C2_E_OK;
    *ret_error = c2_asprintf("%s is not empty: its files would be hidden\n"
                             "hint: choose another folder, or add -o nonempty",
                             path);
    return C2_E_NOT_EMPTY;
}

C2_RESULT
setup_mountpoint(const char *path, bool nonempty, char **ret_real, char **ret_error)
{
    struct stat st;
    struct statfs fs;
    /* Not stat: the kernel may still know the folder's attributes. */
    if (statfs(path, &fs) != 0 && errno == ENOTCONN)
        clean_dead_mount(path);
    if (stat(path, &st) != 0) {
        if (errno != ENOENT)
            return fail_errno(ret_error, "cannot use", path, errno);
        *ret_error = c2_asprintf("%s does not exist\nhint: mkdir -p %s", path, path);
        return C2_E_NOT_FOUND;
    }
    if (!S_ISDIR(st.st_mode)) {
        *ret_error = c2_asprintf("%s is not a directory", path);
        return C2_E_NOT_DIR;
    }
    char *real = realpath(path, NULL);
    if (real == NULL)
        return fail_errno(ret_error, "cannot use", path, errno);
    enum c2_err err = C2_E_OK;
    if (is_mount_point(real, &st) && !nonempty) {
        *ret_error = c2_asprintf("%s is already mounted\n"
                                 "hint: c2fsctl mounts shows what is there; umount %s",
                                 real, real);
        err = C2_E_BUSY;
    } else if (!nonempty) {
        err = check_empty(real, ret_error);
    }
    if (err == C2_E_OK)
        *ret_real = real;
    else
        c2_free(real);
    return err;
}

/* ---- lock ------------------------------------------------------------------------------------ */

static C2_RESULT
make_dirs(const char *path, char **ret_error)
{
    char *copy = c2_strdup(path);
    enum c2_err err = C2_E_OK;
    for (char *p = copy + 1; err == C2_E_OK; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        bool last = *p == '\0';
        *p = '\0';
        if (mkdir(copy, 0700) != 0 && errno != EEXIST)
            err = fail_errno(ret_error, "cannot make the folder", copy, errno);
        *p = '/';
        if (last)
            break;
    }
    c2_free(copy);
    return err;
}

/* "pid N on PATH" of a daemon whose mount is gone: it was unmounted, lazily perhaps, and ends when
 * everything is in the clouds. */
static bool
is_ending(const char *who)
{
    const char *on = strstr(who, " on /");
    struct stat st;
    return on != NULL && stat(on + 4, &st) == 0 && !is_mount_point(on + 4, &st);
}

static C2_RESULT
locked_by_other(int fd, const char *path, char **ret_error)
{
    char who[PATH_MAX + 64] = { 0 };
    ssize_t n = pread(fd, who, sizeof(who) - 1, 0);
    if (n > 0)
        who[strcspn(who, "\n")] = '\0';
    if (is_ending(who))
        *ret_error = c2_asprintf("the volume was unmounted, and its daemon still uploads (%s)\n"
                                 "hint: mount it again when that process has ended; c2fsctl status "
                                 "shows what is left",
                                 who);
    else
        *ret_error = c2_asprintf("the volume is already mounted (%s, %s)\n"
                                 "hint: a volume has one mount at a time; c2fsctl mounts shows it",
                                 n > 0 ? who : "?", path);
    return C2_E_BUSY;
}

C2_RESULT
setup_mount_lock(const char *cache_dir, const char *mountpoint, char **ret_error)
{
    C2_TRY(make_dirs(cache_dir, ret_error));
    char *path = c2_asprintf("%s/" LOCK_NAME, cache_dir);
    /* The descriptor stays open, and with it the lock, as long as the process lives. */
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    enum c2_err err = C2_E_OK;
    if (fd < 0) {
        err = fail_errno(ret_error, "cannot open", path, errno);
    } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        err = locked_by_other(fd, path, ret_error);
        close(fd);
    } else {
        char *text = c2_asprintf("pid %ld on %s\n", (long)getpid(), mountpoint);
        size_t len = strlen(text);
        if (ftruncate(fd, 0) != 0 || pwrite(fd, text, len, 0) != (ssize_t)len)
            err = fail_errno(ret_error, "cannot write", path, errno);
        c2_free(text);
    }
    c2_free(path);
    return err;
}

/* ---- process --------------------------------------------------------------------------------- */

static C2_RESULT
find_user(const char *user, struct passwd *ret_pw, char **ret_error)
{
    errno = 0;
    const struct passwd *pw = getpwnam(user);
    if (pw == NULL) {
        *ret_error = c2_asprintf("drop_privileges: there is no user \"%s\"", user);
        return C2_E_CONFIG;
    }
    *ret_pw = *pw;
    return C2_E_OK;
}

C2_RESULT
setup_user_files(const char *user, char **ret_error)
{
    struct passwd pw;
    if (user[0] == '\0' || getuid() != 0)
        return C2_E_OK;
    C2_TRY(find_user(user, &pw, ret_error));
    if (initgroups(user, pw.pw_gid) != 0 || setegid(pw.pw_gid) != 0 || seteuid(pw.pw_uid) != 0)
        return fail_errno(ret_error, "cannot become", user, errno);
    return C2_E_OK;
}

C2_RESULT
setup_user_root(const char *user, bool on, char **ret_error)
{
    struct passwd pw = { 0 };
    if (user[0] == '\0' || getuid() != 0)
        return C2_E_OK;
    if (!on)
        C2_TRY(find_user(user, &pw, ret_error));
    if (seteuid(on ? 0 : pw.pw_uid) != 0)
        return fail_errno(ret_error, "cannot change to", on ? "root" : user, errno);
    return C2_E_OK;
}

C2_RESULT
setup_user_drop(const char *user, char **ret_error)
{
    struct passwd pw;
    if (user[0] == '\0' || getuid() != 0)
        return C2_E_OK;
    C2_TRY(find_user(user, &pw, ret_error));
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2] = { 0 };
    data[0].effective = data[0].permitted = 1u << CAP_SYS_ADMIN; /* umount(2) */
    if (seteuid(0) != 0 || prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 ||
        setresgid(pw.pw_gid, pw.pw_gid, pw.pw_gid) != 0 ||
        setresuid(pw.pw_uid, pw.pw_uid, pw.pw_uid) != 0 || syscall(SYS_capset, &head, data) != 0)
        return fail_errno(ret_error, "cannot become", user, errno);
    c2_os_harden(); /* a change of user makes the process dumpable again */
    return C2_E_OK;
}

/* Decodes the \\040 of /proc/self/mountinfo in place. */
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

/* The device number of a mount, without asking the mount itself: we are the one to answer. */
static bool
find_device(const char *mountpoint, char out[32])
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t cap = 0;
    bool found = false;
    if (f == NULL)
        return false;
    while (getline(&line, &cap, f) > 0) {
        /* id parent major:minor root mountpoint ... */
        char *rest = line, *fields[5] = { NULL };
        for (size_t k = 0; k < C2_ARRAY_LEN(fields); k++)
            fields[k] = strsep(&rest, " ");
        if (fields[4] == NULL)
            continue;
        unescape(fields[4]);
        if (strcmp(fields[4], mountpoint) == 0) { /* the last one is on top */
            (void)snprintf(out, 32, "%s", fields[2]);
            found = true;
        }
    }
    c2_free(line);
    (void)fclose(f);
    return found;
}

void
setup_read_ahead(const char *mountpoint, unsigned kib)
{
    char device[32], path[96], text[16];
    if (!find_device(mountpoint, device))
        return;
    (void)snprintf(path, sizeof(path), "/sys/class/bdi/%s/read_ahead_kb", device);
    int len = snprintf(text, sizeof(text), "%u", kib);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (write(fd, text, (size_t)len) != len)
        c2_log(DEBUG, "mount", "path=%s the kernel keeps its own read-ahead", path);
    close(fd);
}

void
setup_umount_helper(const char *volume, const char *mountpoint, const char *config)
{
    if (geteuid() != 0)
        return;
    /* mount(8) writes down what belongs to user space (/run/mount/utab) and mounts nothing (-f). */
    bool plain = config != NULL && config[strcspn(config, " ,\t\n\\")] == '\0';
    char *real = plain ? realpath(config, NULL) : NULL;
    char *options =
        real == NULL ? c2_strdup("rw,x-c2fs.config=") : c2_asprintf("rw,x-c2fs.config=%s", real);
    char *source = c2_asprintf("c2fs:%s", volume);
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null < 0 || dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0)
            _exit(127);
        execl("/bin/mount", "mount", "--no-canonicalize", "-i", "-f", "-t", "fuse.c2fs", "-o",
              options, source, mountpoint, (char *)NULL);
        _exit(127);
    }
    if (pid > 0)
        (void)waitpid(pid, NULL, 0);
    c2_free(source);
    c2_free(options);
    c2_free(real);
}
