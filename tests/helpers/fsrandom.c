/* SPDX-License-Identifier: MIT */
/*
 * fsrandom REFERENCE TESTED SEED OPERATIONS : makes the same random calls in two empty folders, one
 * of a native file system, and compares after each call what it returned, and now and then the
 * attributes and contents of what it touched. Prints the calls before a difference.
 *
 * Paths are drawn from a small set of names two levels deep, so that calls meet: a file is renamed
 * while it is open, truncated under a link, replaced by a folder.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum {
    HANDLES = 6,
    NAMES = 7,
    IO_MAX = 200000,
    OFFSET_MAX = 1 << 20,
    HISTORY = 12,
    LINE_LEN = 160,
};

struct world {
    const char *root[2];
    int dir[2];
    int handle[HANDLES][2];
    uint64_t state;
    uint64_t step;
    int64_t rc[2];
    int error[2];
    char history[HISTORY][LINE_LEN];
};

static uint64_t
next(struct world *w)
{
    w->state ^= w->state << 13;
    w->state ^= w->state >> 7;
    w->state ^= w->state << 17;
    return w->state * 0x2545f4914f6cdd1du;
}

static unsigned
below(struct world *w, unsigned limit)
{
    return (unsigned)((next(w) >> 33) % limit);
}

static void
path(struct world *w, char out[32])
{
    unsigned folder = below(w, 4);
    if (folder == 0)
        snprintf(out, 32, "%c", 'a' + (int)below(w, NAMES));
    else
        snprintf(out, 32, "%c/%c", 'a' + (int)(folder - 1), 'a' + (int)below(w, NAMES));
}

__attribute__((format(printf, 2, 3))) static void
note(struct world *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(w->history[w->step % HISTORY], LINE_LEN, format, args);
    va_end(args);
}

__attribute__((format(printf, 2, 3))) static _Noreturn void
differ(struct world *w, const char *format, ...)
{
    va_list args;
    for (uint64_t i = w->step < HISTORY ? 0 : w->step - HISTORY + 1; i <= w->step; i++)
        printf("  %" PRIu64 ": %s\n", i, w->history[i % HISTORY]);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    exit(1);
}

/* Makes a call once per world, with `i` the world; agree() then compares the two outcomes. */
#define BOTH(w, call)                                                                              \
    do {                                                                                           \
        for (int i = 0; i < 2; i++) {                                                              \
            errno = 0;                                                                             \
            (w)->rc[i] = (call);                                                                   \
            (w)->error[i] = errno;                                                                 \
        }                                                                                          \
    } while (0)

/* The same value, or the same error. Did both succeed? */
static bool
agree(struct world *w)
{
    if (w->rc[0] != w->rc[1])
        differ(w, "returned %" PRId64 " (%s), the reference %" PRId64 " (%s)", w->rc[1],
               w->rc[1] < 0 ? strerrorname_np(w->error[1]) : "ok", w->rc[0],
               w->rc[0] < 0 ? strerrorname_np(w->error[0]) : "ok");
    if (w->rc[0] < 0 && w->error[0] != w->error[1])
        differ(w, "failed with %s, the reference with %s", strerrorname_np(w->error[1]),
               strerrorname_np(w->error[0]));
    return w->rc[0] >= 0;
}

static void
fill(struct world *w, uint8_t *buf, size_t len)
{
    uint64_t pattern = next(w);
    for (size_t i = 0; i < len; i++)
        buf[i] = (uint8_t)(pattern >> (8 * (i % 7)));
}

/* ---- what is compared -------------------------------------------------------------------------
 */

static void
compare_stat(struct world *w, const char *name)
{
    struct stat st[2];
    BOTH(w, fstatat(w->dir[i], name, &st[i], AT_SYMLINK_NOFOLLOW));
    if (!agree(w))
        return;
    if (st[0].st_mode != st[1].st_mode)
        differ(w, "%s: mode %o, the reference %o", name, st[1].st_mode, st[0].st_mode);
    if (st[0].st_nlink != st[1].st_nlink)
        differ(w, "%s: %ju links, the reference %ju", name, (uintmax_t)st[1].st_nlink,
               (uintmax_t)st[0].st_nlink);
    if (!S_ISDIR(st[0].st_mode) && st[0].st_size != st[1].st_size)
        differ(w, "%s: size %jd, the reference %jd", name, (intmax_t)st[1].st_size,
               (intmax_t)st[0].st_size);
    if (st[0].st_uid != st[1].st_uid || st[0].st_gid != st[1].st_gid)
        differ(w, "%s: owner %u:%u", name, st[1].st_uid, st[1].st_gid);
}

static void
compare_range(struct world *w, const int fd[2], off_t offset, size_t len)
{
    static uint8_t buf[2][IO_MAX];
    int64_t n = -1;
    BOTH(w, n = pread(fd[i], buf[i], len, offset));
    if (!agree(w) || n <= 0)
        return;
    for (int64_t k = 0; k < n; k++) {
        if (buf[0][k] != buf[1][k])
            differ(w, "byte %jd is %02x, the reference %02x", (intmax_t)(offset + k), buf[1][k],
                   buf[0][k]);
    }
}

static void
compare_file(struct world *w, const char *name)
{
    int fd[2];
    BOTH(w, (fd[i] = openat(w->dir[i], name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)) < 0 ? -1 : 0);
    if (!agree(w))
        return;
    struct stat st;
    if (fstat(fd[0], &st) == 0 && S_ISREG(st.st_mode)) {
        for (off_t at = 0; at < st.st_size; at += IO_MAX)
            compare_range(w, fd, at, IO_MAX);
    }
    close(fd[0]);
    close(fd[1]);
}

static int
by_name(const void *x, const void *y)
{
    return strcmp(x, y);
}

/* The sorted names of a folder, as one string. */
static void
names_of(int dir, const char *name, char out[256])
{
    char names[64][8];
    size_t n = 0;
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    out[0] = '\0';
    if (d == NULL)
        return;
    for (struct dirent *e = readdir(d); e != NULL && n < 64; e = readdir(d))
        snprintf(names[n++], sizeof(names[0]), "%.7s", e->d_name);
    closedir(d);
    qsort(names, n, sizeof(names[0]), by_name);
    size_t used = 0;
    for (size_t i = 0; i < n && used < 240; i++)
        used += (size_t)snprintf(out + used, 256 - used, "%s ", names[i]);
}

static void
compare_folder(struct world *w, const char *name)
{
    char names[2][256];
    for (int i = 0; i < 2; i++)
        names_of(w->dir[i], name, names[i]);
    if (strcmp(names[0], names[1]) != 0)
        differ(w, "folder %s has: %s\nthe reference: %s", name, names[1], names[0]);
}

/* ---- operations -------------------------------------------------------------------------------
 */

static void
op_open(struct world *w)
{
    static const int modes[] = { O_RDWR, O_RDWR | O_CREAT, O_RDWR | O_CREAT | O_TRUNC,
                                 O_RDWR | O_CREAT | O_EXCL, O_RDWR | O_CREAT | O_APPEND };
    char name[32];
    path(w, name);
    unsigned h = below(w, HANDLES);
    int flags = modes[below(w, 5)] | O_NOFOLLOW | O_NONBLOCK;
    note(w, "open %s flags %o as handle %u", name, (unsigned)flags, h);
    for (int i = 0; i < 2; i++) {
        if (w->handle[h][i] >= 0)
            close(w->handle[h][i]);
        w->handle[h][i] = -1;
    }
    BOTH(w, (w->handle[h][i] = openat(w->dir[i], name, flags, 0644)) < 0 ? -1 : 0);
    (void)agree(w);
}

static void
op_write(struct world *w)
{
    static uint8_t buf[IO_MAX];
    unsigned h = below(w, HANDLES);
    size_t len = below(w, below(w, 4) == 0 ? IO_MAX : 5000);
    off_t offset = (off_t)below(w, below(w, 2) == 0 ? OFFSET_MAX : 10000);
    note(w, "pwrite handle %u offset %jd length %zu", h, (intmax_t)offset, len);
    fill(w, buf, len);
    BOTH(w, pwrite(w->handle[h][i], buf, len, offset));
    (void)agree(w);
}

static void
op_read(struct world *w)
{
    unsigned h = below(w, HANDLES);
    size_t len = below(w, IO_MAX);
    off_t offset = (off_t)below(w, OFFSET_MAX);
    note(w, "pread handle %u offset %jd length %zu", h, (intmax_t)offset, len);
    compare_range(w, w->handle[h], offset, len);
}

static void
op_truncate(struct world *w)
{
    unsigned h = below(w, HANDLES);
    off_t len = (off_t)below(w, below(w, 2) == 0 ? OFFSET_MAX : 10000);
    note(w, "ftruncate handle %u length %jd", h, (intmax_t)len);
    BOTH(w, ftruncate(w->handle[h][i], len));
    (void)agree(w);
}

static void
op_punch(struct world *w)
{
    unsigned h = below(w, HANDLES);
    off_t offset = (off_t)below(w, OFFSET_MAX);
    off_t len = 1 + (off_t)below(w, 300000);
    note(w, "punch handle %u offset %jd length %jd", h, (intmax_t)offset, (intmax_t)len);
    BOTH(w, fallocate(w->handle[h][i], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len));
    (void)agree(w);
}

static void
op_copy(struct world *w)
{
    unsigned from = below(w, HANDLES);
    unsigned to = below(w, HANDLES);
    off_t in = (off_t)below(w, OFFSET_MAX);
    off_t out = (off_t)below(w, OFFSET_MAX);
    size_t len = below(w, IO_MAX);
    note(w, "copy handle %u@%jd to %u@%jd length %zu", from, (intmax_t)in, to, (intmax_t)out, len);
    loff_t at[2][2] = { { in, out }, { in, out } };
    BOTH(w, copy_file_range(w->handle[from][i], &at[i][0], w->handle[to][i], &at[i][1], len, 0));
    (void)agree(w);
}

static void
op_sync(struct world *w)
{
    unsigned h = below(w, HANDLES);
    note(w, "fsync handle %u", h);
    BOTH(w, fsync(w->handle[h][i]));
    (void)agree(w);
}

static void
op_rename(struct world *w)
{
    static const unsigned flags[] = { 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE };
    char from[32];
    char to[32];
    path(w, from);
    path(w, to);
    unsigned f = flags[below(w, 4)];
    note(w, "rename %s to %s flags %u", from, to, f);
    BOTH(w, renameat2(w->dir[i], from, w->dir[i], to, f));
    (void)agree(w);
    compare_stat(w, to);
}

static void
op_link(struct world *w)
{
    char from[32];
    char to[32];
    path(w, from);
    path(w, to);
    note(w, "link %s to %s", from, to);
    BOTH(w, linkat(w->dir[i], from, w->dir[i], to, 0));
    (void)agree(w);
    compare_stat(w, from);
}

static void
op_make(struct world *w)
{
    char name[32];
    path(w, name);
    unsigned kind = below(w, 5);
    note(w, "make %s kind %u", name, kind);
    if (kind < 3)
        BOTH(w, mkdirat(w->dir[i], name, 0755));
    else if (kind == 3)
        BOTH(w, symlinkat("target", w->dir[i], name));
    else
        BOTH(w, mknodat(w->dir[i], name, S_IFIFO | 0600, 0));
    (void)agree(w);
}

static void
op_remove(struct world *w)
{
    char name[32];
    path(w, name);
    int flag = below(w, 3) == 0 ? AT_REMOVEDIR : 0;
    note(w, "remove %s flag %d", name, flag);
    BOTH(w, unlinkat(w->dir[i], name, flag));
    (void)agree(w);
}

static void
op_attributes(struct world *w)
{
    char name[32];
    path(w, name);
    mode_t mode = (mode_t)below(w, 01000) | 0600;
    note(w, "chmod %s %o", name, mode);
    BOTH(w, fchmodat(w->dir[i], name, mode, 0));
    (void)agree(w);
    struct timespec t[2] = { { .tv_nsec = UTIME_OMIT },
                             { .tv_sec = (time_t)below(w, 2000000000),
                               .tv_nsec = (long)below(w, 1000000000) } };
    BOTH(w, utimensat(w->dir[i], name, t, AT_SYMLINK_NOFOLLOW));
    if (!agree(w))
        return;
    struct stat st[2];
    BOTH(w, fstatat(w->dir[i], name, &st[i], AT_SYMLINK_NOFOLLOW));
    if (agree(w) && (st[0].st_mtim.tv_sec != st[1].st_mtim.tv_sec ||
                     st[0].st_mtim.tv_nsec != st[1].st_mtim.tv_nsec))
        differ(w, "%s: mtime %jd.%09ld, the reference %jd.%09ld", name,
               (intmax_t)st[1].st_mtim.tv_sec, st[1].st_mtim.tv_nsec,
               (intmax_t)st[0].st_mtim.tv_sec, st[0].st_mtim.tv_nsec);
}

static void
op_xattr(struct world *w)
{
    unsigned h = below(w, HANDLES);
    char name[32];
    uint8_t value[2][600];
    snprintf(name, sizeof(name), "user.k%u", below(w, 3));
    size_t len = below(w, 500);
    unsigned what = below(w, 3);
    note(w, "xattr %u of handle %u %s length %zu", what, h, name, len);
    fill(w, value[0], len);
    if (what == 0) {
        BOTH(w, fsetxattr(w->handle[h][i], name, value[0], len, 0));
        (void)agree(w);
    } else if (what == 1) {
        BOTH(w, fremovexattr(w->handle[h][i], name));
        (void)agree(w);
    } else {
        int64_t n = -1;
        BOTH(w, n = fgetxattr(w->handle[h][i], name, value[i], sizeof(value[0])));
        if (agree(w) && n > 0 && memcmp(value[0], value[1], (size_t)n) != 0)
            differ(w, "%s: values differ", name);
    }
}

static void
op_look(struct world *w)
{
    char name[32];
    path(w, name);
    note(w, "look at %s", name);
    compare_stat(w, name);
    compare_file(w, name);
    compare_folder(w, ".");
}

static const struct {
    unsigned weight;
    void (*run)(struct world *w);
} operations[] = {
    { 14, op_open },  { 20, op_write },     { 12, op_read },   { 6, op_truncate }, { 4, op_punch },
    { 3, op_copy },   { 2, op_sync },       { 12, op_rename }, { 5, op_link },     { 10, op_make },
    { 8, op_remove }, { 4, op_attributes }, { 4, op_xattr },   { 10, op_look },
};

static void
one_step(struct world *w)
{
    unsigned total = 0;
    for (size_t k = 0; k < sizeof(operations) / sizeof(operations[0]); k++)
        total += operations[k].weight;
    unsigned draw = below(w, total);
    for (size_t k = 0; k < sizeof(operations) / sizeof(operations[0]); k++) {
        if (draw < operations[k].weight) {
            operations[k].run(w);
            return;
        }
        draw -= operations[k].weight;
    }
}

int
main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: fsrandom REFERENCE TESTED SEED OPERATIONS\n");
        return 2;
    }
    static struct world w;
    w.state = strtoull(argv[3], NULL, 10) * 2654435761u + 88172645463325252u;
    for (int i = 0; i < 2; i++) {
        w.root[i] = argv[1 + i];
        w.dir[i] = open(argv[1 + i], O_RDONLY | O_DIRECTORY);
        if (w.dir[i] < 0) {
            fprintf(stderr, "fsrandom: %s: %s\n", argv[1 + i], strerror(errno));
            return 2;
        }
    }
    for (int h = 0; h < HANDLES; h++)
        w.handle[h][0] = w.handle[h][1] = -1;
    uint64_t count = strtoull(argv[4], NULL, 10);
    for (w.step = 0; w.step < count; w.step++)
        one_step(&w);
    printf("%" PRIu64 " operations, no difference\n", count);
    return 0;
}
