/* SPDX-License-Identifier: MIT */
/*
 * The outside world of one node: clocks, randomness, timers, deferred tasks, CPU work, disk.
 * Everything nondeterministic enters through here and through sockets at the edges, so that a
 * whole system can run in the simulator under a virtual clock. os_env.c is the real one.
 *
 * Threads: one loop thread owns every object and calls everything below. Work runs on a small
 * pool; it may touch only its own struct and immutable inputs. Completions (fire, run of a task,
 * done) run on the loop thread, never from inside the call that started them.
 */
#ifndef C2_BASE_ENV_H
#define C2_BASE_ENV_H

#include "base/buf.h"
#include "base/list.h"

#define C2_NS_PER_MS 1000000ull
#define C2_NS_PER_S  1000000000ull
#define C2_NEVER     UINT64_MAX

/* One shot. Zeroed plus `fire` is a valid idle timer. */
struct c2_timer {
    uint64_t deadline_ns; /* monotonic */
    void (*fire)(struct c2_timer *t);
    size_t heap_index; /* 1-based place in the env's heap, 0 = idle; private to the env */
};

/* Runs once from the loop, in the order of c2_defer. Zeroed plus `run` is a valid idle task. */
struct c2_task {
    struct c2_link link; /* private to the env */
    void (*run)(struct c2_task *t);
};

/* CPU work on the pool, or blocking calls that have no verb below (LMDB). */
struct c2_work {
    void (*run)(struct c2_work *w);  /* on a pool thread */
    void (*done)(struct c2_work *w); /* on the loop */
    struct c2_link link;             /* private to the env */
};

enum c2_disk_verb {
    C2_DISK_OPEN,     /* path, flags -> file */
    C2_DISK_CLOSE,    /* file */
    C2_DISK_PREAD,    /* file, offset, len_max -> reply, shorter at the end */
    C2_DISK_PWRITE,   /* file, offset, iov[niov], flags: all of it or an error */
    C2_DISK_SYNC,     /* file: fdatasync */
    C2_DISK_TRUNCATE, /* file, offset = new size */
    C2_DISK_READ,     /* path, offset, len_max -> reply, size; a small file or a range of one */
    C2_DISK_WRITE,    /* path, iov[niov], flags: the file appears whole or not at all */
    C2_DISK_STAT,     /* path -> size, mtime_ns, is_dir */
    C2_DISK_UNLINK,   /* path */
    C2_DISK_RENAME,   /* path -> path2 */
    C2_DISK_MKDIR,    /* path and its parents, mode 0700; an existing directory is fine */
    C2_DISK_RMDIR,    /* path */
    C2_DISK_LIST,     /* path -> reply: names, each zero-terminated, unsorted, without . and ..;
                         C2_E_TOO_LARGE over len_max bytes, 0 = no limit */
    C2_DISK_SYNC_DIR, /* path: fsync of a directory */
    C2_DISK_STATFS,   /* path -> size = total bytes, free_bytes */
};

#define C2_DISK_IOV_MAX 64
/* WRITE goes through a file beside its target, and a crash may leave one: its name starts so. */
#define C2_DISK_TMP_PREFIX ".c2tmp-"

enum {
    C2_DISK_CREATE = 1 << 0,    /* OPEN: create when absent, mode 0600 */
    C2_DISK_EXCL = 1 << 1,      /* OPEN, WRITE: fail with C2_E_EXISTS when present */
    C2_DISK_READ_ONLY = 1 << 2, /* OPEN */
    C2_DISK_MAKE_DIRS = 1 << 3, /* WRITE: create missing parents, mode 0700 */
    C2_DISK_DURABLE = 1 << 4,   /* WRITE, MKDIR: fsync file and directories before done;
                                 * PWRITE: fdatasync */
    C2_DISK_MARK_DIRS = 1 << 5, /* LIST: the names of directories end in '/' */
};

/*
 * Caller-owned until done. Requests on one file are not ordered among each other: whoever needs
 * an order starts the second from the completion of the first.
 */
struct c2_disk_req {
    enum c2_disk_verb verb;
    unsigned flags;
    int file;
    const char *path;  /* borrowed until done */
    const char *path2; /* borrowed until done */
    uint64_t offset;
    size_t len_max;
    const struct c2_slice *iov; /* borrowed until done, with the bytes behind it */
    size_t niov;
    void (*done)(struct c2_disk_req *r);

    enum c2_err err;       /* out */
    struct c2_blob *reply; /* out: one reference, the caller's */
    uint64_t size;         /* out: READ, STAT: of the whole file */
    uint64_t free_bytes;   /* out */
    uint64_t mtime_ns;     /* out */
    bool is_dir;           /* out */

    struct c2_link link; /* private to the env */
    struct c2_timer sim; /* private to the env */
};

struct c2_env;

struct c2_env_ops {
    uint64_t (*now_ns)(struct c2_env *e);
    uint64_t (*wall_ns)(struct c2_env *e);
    void (*random)(struct c2_env *e, void *out, size_t len);
    void (*timer_arm)(struct c2_env *e, struct c2_timer *t, uint64_t deadline_ns);
    void (*timer_stop)(struct c2_env *e, struct c2_timer *t);
    void (*defer)(struct c2_env *e, struct c2_task *t);
    void (*work)(struct c2_env *e, struct c2_work *w);
    void (*disk)(struct c2_env *e, struct c2_disk_req *r);
};

struct c2_env {
    const struct c2_env_ops *ops;
};

static inline uint64_t
c2_now_ns(struct c2_env *e) /* monotonic */
{
    return e->ops->now_ns(e);
}

static inline uint64_t
c2_wall_ns(struct c2_env *e) /* since 1970 UTC, may jump */
{
    return e->ops->wall_ns(e);
}

static inline void
c2_random(struct c2_env *e, void *out, size_t len)
{
    e->ops->random(e, out, len);
}

/* Re-arming an armed timer moves it. */
static inline void
c2_timer_arm(struct c2_env *e, struct c2_timer *t, uint64_t deadline_ns)
{
    e->ops->timer_arm(e, t, deadline_ns);
}

static inline void
c2_timer_stop(struct c2_env *e, struct c2_timer *t) /* idle is fine */
{
    e->ops->timer_stop(e, t);
}

static inline bool
c2_timer_armed(const struct c2_timer *t)
{
    return t->heap_index != 0;
}

static inline void
c2_defer(struct c2_env *e, struct c2_task *t) /* already deferred is fine */
{
    e->ops->defer(e, t);
}

static inline void
c2_work(struct c2_env *e, struct c2_work *w)
{
    e->ops->work(e, w);
}

static inline void
c2_disk(struct c2_env *e, struct c2_disk_req *r)
{
    e->ops->disk(e, r);
}

#endif
