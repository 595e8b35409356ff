/* SPDX-License-Identifier: MIT */
/*
 * The session: mounting, the device on the loop, the end.
 *
 * Kernels do not send FUSE_SYNCFS for mounts like ours: syncfs(2) and sync(1) only bring what the
 * kernel holds to us, and `c2fsctl flush` or fsync=cloud waits for the clouds.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "fs/mount_fuse_impl.h"

#define READS_PER_TURN 64u /* requests taken in one turn of the loop */

static const char *const op_names[FS_OPCODE_COUNT] = {
    [FS_LOOKUP] = "lookup",         [FS_FORGET] = "forget",       [FS_GETATTR] = "getattr",
    [FS_SETATTR] = "setattr",       [FS_READLINK] = "readlink",   [FS_MKNOD] = "mknod",
    [FS_MKDIR] = "mkdir",           [FS_SYMLINK] = "symlink",     [FS_UNLINK] = "unlink",
    [FS_RMDIR] = "rmdir",           [FS_RENAME] = "rename",       [FS_LINK] = "link",
    [FS_CREATE] = "create",         [FS_OPEN] = "open",           [FS_READ] = "read",
    [FS_WRITE] = "write",           [FS_FLUSH] = "flush",         [FS_RELEASE] = "release",
    [FS_FSYNC] = "fsync",           [FS_OPENDIR] = "opendir",     [FS_READDIR] = "readdir",
    [FS_RELEASEDIR] = "releasedir", [FS_STATFS] = "statfs",       [FS_SETXATTR] = "setxattr",
    [FS_GETXATTR] = "getxattr",     [FS_LISTXATTR] = "listxattr", [FS_REMOVEXATTR] = "removexattr",
    [FS_FALLOCATE] = "fallocate",   [FS_LSEEK] = "lseek",         [FS_COPY_RANGE] = "copy_range",
    [FS_SYNCFS] = "syncfs",
};

/* ---- session ------------------------------------------------------------------------------- */

static void
end(struct mount_fuse *m)
{
    if (m->ended)
        return;
    m->ended = true;
    if (m->watch.active)
        c2_os_unwatch(m->os, &m->watch);
    c2_defer(c2_os_env(m->os), &m->end_task);
}

static void
run_ended(struct c2_task *t)
{
    struct mount_fuse *m = C2_CONTAINER_OF(t, struct mount_fuse, end_task);
    m->events.ended(m->events.arg);
}

static void
device_ready(struct c2_fd_watch *w, unsigned events)
{
    struct mount_fuse *m = C2_CONTAINER_OF(w, struct mount_fuse, watch);
    (void)events;
    for (unsigned n = 0; n < READS_PER_TURN && !m->ended; n++) {
        int len = fuse_session_receive_buf(m->se, &m->buf);
        if (len == -EAGAIN)
            return;
        if (len == -EINTR)
            continue;
        if (len <= 0 || fuse_session_exited(m->se)) {
            end(m);
            return;
        }
        fuse_session_process_buf(m->se, &m->buf);
        if (m->initialised && !m->announced) {
            m->announced = true;
            m->events.ready(m->events.arg);
        }
    }
}

/* ---- processes that get signals -------------------------------------------------------------- */

/*
 * On a local disk no signal ends a call on files: programs with timers of their own (git, data
 * bases) do not expect EINTR there, least of all from stat or rename. The kernel tells of a signal
 * that comes while a request waits, once; we give in when it ends the process, or when the request
 * has waited so long that somebody will want to go on. Not so for fsync and close, whatever the
 * program wants of its handler (SA_RESTART has no effect on an answer): to a data base a failed
 * fsync is lost data.
 *
 * A process that ends closes its files: each FLUSH of them waits for the clouds with close = sync.
 * The kernel sends no INTERRUPT for it (the process takes no signals any more), so a process that
 * was killed because the clouds are away could never go. Nobody gets the answer; after a while we
 * give one.
 */
#define PATIENCE_NS (10 * C2_NS_PER_S)
#define LOOK_NS     C2_NS_PER_S
#define EXITING     4ul /* PF_EXITING of the kernel */

/* What the kernel says about a thread; empty: nothing. */
static void
read_proc(pid_t pid, const char *file, char *text, size_t max)
{
    char path[64];
    text[0] = '\0';
    (void)snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, file);
    FILE *f = pid > 0 ? fopen(path, "re") : NULL;
    if (f == NULL)
        return;
    size_t len = fread(text, 1, max - 1, f);
    (void)fclose(f);
    text[len] = '\0';
}

static bool
is_exiting(pid_t pid)
{
    char text[512];
    read_proc(pid, "stat", text, sizeof(text));
    /* Behind the name, which may hold anything: state, five numbers, flags. */
    const char *rest = strrchr(text, ')');
    for (unsigned k = 0; k < 7 && rest != NULL; k++)
        rest = strchr(rest + 1, ' ');
    return rest != NULL && (strtoul(rest + 1, NULL, 10) & EXITING) != 0;
}

/* A signal that ends the process is SIGKILL for each of its threads. */
static bool
is_killed(pid_t pid)
{
    static const char field[] = "\nSigPnd:";
    char text[4096];
    read_proc(pid, "status", text, sizeof(text));
    const char *pending = strstr(text, field);
    return pending != NULL &&
           (strtoull(pending + sizeof(field) - 1, NULL, 16) >> (SIGKILL - 1) & 1) != 0;
}

static bool
is_watched(const struct mf_call *c)
{
    return c->r.op == FS_FLUSH || c->signalled;
}

static bool
may_end(const struct mf_call *c, uint64_t now)
{
    bool long_since = now - c->since_ns >= PATIENCE_NS;
    bool promises = c->r.op == FS_FSYNC || c->r.op == FS_FLUSH;
    if (now < c->look_ns)
        return false;
    if (c->signalled && (is_killed(c->pid) || (long_since && !promises)))
        return true;
    return long_since && is_exiting(c->pid);
}

static void
look(struct c2_timer *t)
{
    struct mount_fuse *m = C2_CONTAINER_OF(t, struct mount_fuse, looks);
    struct c2_env *env = c2_os_env(m->os);
    uint64_t now = c2_now_ns(env);
    struct mf_call *over = NULL;
    bool more = false;
    C2_LIST_FOREACH (&m->calls, struct mf_call, c, link) {
        if (!is_watched(c))
            continue;
        more = true;
        if (over == NULL && may_end(c, now))
            over = c;
    }
    if (more)
        c2_timer_arm(env, t, now + (over == NULL ? LOOK_NS : C2_NS_PER_MS));
    if (over != NULL) {
        over->look_ns = now + PATIENCE_NS; /* not again and again while its journal is written */
        fs_interrupt(m->fs, &over->r);
    }
}

void
mf_waits(struct mf_call *c)
{
    struct mount_fuse *m = c->m;
    struct c2_env *env = c2_os_env(m->os);
    c->since_ns = c2_now_ns(env);
    if (is_watched(c) && !c2_timer_armed(&m->looks))
        c2_timer_arm(env, &m->looks, c->since_ns + LOOK_NS);
}

void
mf_signalled(struct mf_call *c)
{
    struct mount_fuse *m = c->m;
    struct c2_env *env = c2_os_env(m->os);
    c->signalled = true;
    /* From the loop: libfuse has locks here. */
    c2_timer_arm(env, &m->looks, c2_now_ns(env));
}

C2_PRINTF(2, 0)
static void
log_fuse(enum fuse_log_level level, const char *fmt, va_list args)
{
    char text[256];
    int len = vsnprintf(text, sizeof(text), fmt, args);
    if (len > 0 && len < (int)sizeof(text) && text[len - 1] == '\n')
        text[len - 1] = '\0';
    if (level <= FUSE_LOG_ERR)
        c2_log(ERROR, "fuse", "%s", text);
    else
        c2_log(DEBUG, "fuse", "%s", text);
}

static struct fuse_session *
session_new(struct mount_fuse *m, const struct mount_fuse_config *config)
{
    char *options = c2_asprintf("fsname=%s,subtype=c2fs,default_permissions%s%s%s", config->source,
                                config->allow_other ? ",allow_other" : "",
                                config->options[0] != '\0' ? "," : "", config->options);
    char program[] = "c2fs", o[] = "-o", debug[] = "-d";
    char *argv[] = { program, o, options, config->debug ? debug : NULL, NULL };
    struct fuse_args args = FUSE_ARGS_INIT(config->debug ? 4 : 3, argv);
    struct fuse_session *se = fuse_session_new(&args, &mf_ops, sizeof(mf_ops), m);
    fuse_opt_free_args(&args);
    c2_free(options);
    return se;
}

static C2_RESULT
watch_device(struct mount_fuse *m)
{
    int fd = fuse_session_fd(m->se);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
        return C2_E_IO;
    m->watch = (struct c2_fd_watch){ .fd = fd, .events = C2_FD_IN, .ready = device_ready };
    return c2_os_watch(m->os, &m->watch);
}

C2_RESULT
mount_fuse_new(struct c2_os *os, struct fs *fs, const struct mount_fuse_config *config,
               const struct mount_fuse_events *events, struct mount_fuse **ret_mount,
               char **ret_error)
{
    struct mount_fuse *m = c2_calloc(1, sizeof(*m));
    m->os = os;
    m->fs = fs;
    m->events = *events;
    m->attr_timeout = (double)config->attr_timeout_ns / 1e9;
    m->entry_timeout = (double)config->entry_timeout_ns / 1e9;
    m->writeback_cache = config->writeback_cache;
    m->end_task.run = run_ended;
    m->looks.fire = look;
    c2_list_init(&m->calls);
    c2_list_init(&m->handles);
    fuse_set_log_func(log_fuse);

    m->se = session_new(m, config);
    if (m->se == NULL) {
        *ret_error = c2_asprintf("libfuse does not take these mount options: %s", config->options);
        goto fail;
    }
    if (fuse_session_mount(m->se, config->mountpoint) != 0) {
        *ret_error = c2_asprintf("the kernel did not mount on %s\n"
                                 "hint: c2fsctl doctor checks /dev/fuse and fusermount3%s",
                                 config->mountpoint,
                                 config->allow_other ? "; for ordinary users allow_other needs "
                                                       "user_allow_other in /etc/fuse.conf"
                                                     : "");
        goto fail;
    }
    if (watch_device(m) != C2_E_OK) {
        *ret_error = c2_strdup("cannot watch /dev/fuse");
        fuse_session_unmount(m->se);
        goto fail;
    }
    *ret_mount = m;
    return C2_E_OK;

fail:
    if (m->se != NULL)
        fuse_session_destroy(m->se);
    c2_free(m);
    return C2_E_IO;
}

void
mount_fuse_unmount(struct mount_fuse *m)
{
    if (m->ended)
        return;
    end(m);
    fuse_session_exit(m->se);
    fuse_session_unmount(m->se);
}

size_t
mount_fuse_pending(const struct mount_fuse *m)
{
    return m->calls.count;
}

static struct mf_call *
first_orphan(struct mount_fuse *m)
{
    C2_LIST_FOREACH (&m->calls, struct mf_call, c, link) {
        if (c->orphan)
            return c;
    }
    return NULL;
}

void
mount_fuse_release(struct mount_fuse *m)
{
    C2_ASSERT(m->ended);
    /* Nobody waits for these any more. One may be answered while another is interrupted. */
    C2_LIST_FOREACH (&m->calls, struct mf_call, c, link) {
        c->orphan = c->handle == NULL; /* a release is needed all the same */
    }
    struct mf_call *c;
    while ((c = first_orphan(m)) != NULL) {
        c->orphan = false;
        fs_interrupt(m->fs, &c->r);
    }
    struct mf_handle *h;
    while ((h = C2_LIST_FIRST(&m->handles, struct mf_handle, link)) != NULL)
        mf_release(m, h, NULL);
}

void
mount_fuse_free(struct mount_fuse *m)
{
    if (m == NULL)
        return;
    C2_ASSERT(m->ended && c2_list_empty(&m->calls) && c2_list_empty(&m->handles));
    c2_timer_stop(c2_os_env(m->os), &m->looks);
    fuse_session_unmount(m->se);
    fuse_session_destroy(m->se);
    c2_free(m->buf.mem);
    c2_free(m);
}

void
mount_fuse_counts(const struct mount_fuse *m, void (*fn)(void *arg, const char *op, uint64_t count),
                  void *arg)
{
    for (unsigned op = 0; op < FS_OPCODE_COUNT; op++)
        fn(arg, op_names[op], m->counts[op]);
}
