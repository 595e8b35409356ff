/* SPDX-License-Identifier: MIT */
/*
 * kv watch and kv lock: commands that go on until something ends them.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/str.h"
#include "tools/cmd.h"
#include "tools/kv.h"
#include "tools/service.h"

#define TTL_NS        (10 * C2_NS_PER_S)
#define CHILD_POLL_NS (50 * C2_NS_PER_MS)

/* ---- watch ----------------------------------------------------------------------------------- */

struct watching {
    const struct cmd_ctx *x;
    struct coord_watch w;
    uint64_t left; /* events to come; 0 = no end */
    bool over;
};

static void
print_event(const struct cmd_ctx *x, const char *what, struct c2_slice key, uint64_t version)
{
    if (x->json) {
        struct c2_buf out = { 0 };
        struct c2_json j;
        cmd_json_begin(&j, &out, "c2fs.kv-event/1");
        c2_json_str(&j, "event", what);
        if (key.len > 0)
            kv_json_bytes(&j, "key", "key_hex", key);
        c2_json_u64(&j, "version", version);
        cmd_json_print(&j, &out);
    } else if (key.len > 0) {
        (void)printf("%s %llu ", what, (unsigned long long)version);
        kv_print_bytes(key);
        (void)printf("\n");
    } else {
        (void)printf("%s\n", what);
    }
    (void)fflush(stdout);
}

static void
on_event(struct coord_watch *w, struct c2_slice key, uint64_t version, bool deleted)
{
    struct watching *v = C2_CONTAINER_OF(w, struct watching, w);
    if (v->over)
        return;
    print_event(v->x, deleted ? "delete" : "put", key, version);
    v->over = v->left != 0 && --v->left == 0;
}

static void
on_reload(struct coord_watch *w)
{
    const struct watching *v = C2_CONTAINER_OF(w, struct watching, w);
    print_event(v->x, "reload", c2_slice(NULL, 0), 0);
}

static void
on_signal(void *arg, int signo)
{
    bool *over = arg;
    (void)signo;
    *over = true;
}

static int
run_watch(struct cmd_ctx *x, int argc, char **argv)
{
    struct service s;
    struct watching v = { .x = x };
    int code = kv_begin_command(x, "kv watch", &argc, &argv, &s);
    if (code != CTL_EXIT_OK)
        return code;
    int at = 1;
    if (argc > 2 && strcmp(argv[1], "--count") == 0 &&
        c2_u64_parse(c2_slice_str(argv[2]), UINT32_MAX, &v.left) == C2_E_OK)
        at = 3;
    if (argc - at > 1 || (argc > at && argv[at][0] == '-')) {
        service_close(&s);
        return cmd_usage(cmd_find("kv watch"), "takes one prefix");
    }
    v.w.prefix = c2_slice_str(argc > at ? argv[at] : "");
    v.w.event = on_event;
    v.w.reload = on_reload;
    if (c2_os_signals(s.os, on_signal, &v.over) != C2_E_OK)
        return CTL_EXIT_FAILED;
    coord_watch(s.coord, &v.w);
    c2_os_run_until(s.os, &v.over);
    coord_unwatch(s.coord, &v.w);
    service_close(&s);
    return CTL_EXIT_OK;
}

/* ---- lock ------------------------------------------------------------------------------------ */

struct locking {
    struct service s;
    const char *key;
    uint64_t session;
    uint64_t token;
    bool changed; /* the key may be free */
    bool interrupted;
    bool lost;
    bool over;
    struct coord_watch w;
    struct c2_timer keepalive, poll;
    struct service_call alive;
    bool alive_busy;
    bool alive_idle; /* the reverse, to wait for */
    pid_t child;
    int status;
};

static void
lock_event(struct coord_watch *w, struct c2_slice key, uint64_t version, bool deleted)
{
    (void)key;
    (void)version;
    (void)deleted;
    C2_CONTAINER_OF(w, struct locking, w)->changed = true;
}

static void
lock_reload(struct coord_watch *w)
{
    C2_CONTAINER_OF(w, struct locking, w)->changed = true;
}

static void
lock_signal(void *arg, int signo)
{
    struct locking *l = arg;
    l->interrupted = true;
    l->changed = true; /* ends the wait */
    if (l->child > 0)
        kill(l->child, signo);
}

static void
alive_done(struct coord_req *r)
{
    struct service_call *c = C2_CONTAINER_OF(r, struct service_call, req);
    struct locking *l = C2_CONTAINER_OF(c, struct locking, alive);
    l->alive_busy = false;
    l->alive_idle = true;
    if (r->err == C2_E_SESSION) {
        l->lost = true;
        l->changed = true;
        if (l->child > 0)
            kill(l->child, SIGTERM);
    }
    coord_req_done(r);
}

static void
keepalive_fired(struct c2_timer *t)
{
    struct locking *l = C2_CONTAINER_OF(t, struct locking, keepalive);
    c2_timer_arm(l->s.env, t, c2_now_ns(l->s.env) + TTL_NS / 4);
    if (l->alive_busy)
        return;
    l->alive_busy = true;
    l->alive_idle = false;
    l->alive.req = (struct coord_req){ .verb = COORD_SESSION_KEEPALIVE,
                                       .session = l->session,
                                       .done = alive_done };
    l->alive.req.deadline_ns = c2_now_ns(l->s.env) + TTL_NS;
    coord_submit(l->s.coord, &l->alive.req);
}

static enum c2_err
open_session(struct locking *l)
{
    struct service_call c = { .req = { .verb = COORD_SESSION_OPEN, .ttl_ns = TTL_NS } };
    enum c2_err err = service_run(&l->s, &c);
    l->session = c.req.session;
    coord_req_done(&c.req);
    return err;
}

static void
close_session(struct locking *l)
{
    struct service_call c = { .req = { .verb = COORD_SESSION_CLOSE, .session = l->session } };
    if (!l->lost)
        (void)service_run(&l->s, &c); /* else it ends by itself */
    coord_req_done(&c.req);
}

/* CONFLICT: somebody else has it. */
static enum c2_err
try_lock(struct locking *l)
{
    const struct coord_cond cond = { .kind = COORD_ABSENT, .key = c2_slice_str(l->key) };
    const struct coord_op op = { .kind = COORD_PUT_EPHEMERAL,
                                 .key = c2_slice_str(l->key),
                                 .number = (int64_t)l->session };
    struct service_call c = {
        .req = { .verb = COORD_TXN, .conds = &cond, .nconds = 1, .ops = &op, .nops = 1 }
    };
    enum c2_err err = service_run(&l->s, &c);
    l->token = c.req.version;
    coord_req_done(&c.req);
    return err;
}

static enum c2_err
wait_for_lock(struct locking *l)
{
    for (;;) {
        l->changed = false;
        enum c2_err err = try_lock(l);
        if (err != C2_E_CONFLICT)
            return err;
        c2_os_run_until(l->s.os, &l->changed);
        if (l->interrupted)
            return C2_E_INTERRUPTED;
        if (l->lost)
            return C2_E_SESSION;
    }
}

static void
child_poll(struct c2_timer *t)
{
    struct locking *l = C2_CONTAINER_OF(t, struct locking, poll);
    pid_t got = waitpid(l->child, &l->status, WNOHANG);
    if (got == l->child || (got < 0 && errno == ECHILD))
        l->over = true;
    else
        c2_timer_arm(l->s.env, t, c2_now_ns(l->s.env) + CHILD_POLL_NS);
}

/* Runs the command while the lock is held; its exit code. */
static int
run_locked(struct locking *l, char **command)
{
    char token[32];
    (void)snprintf(token, sizeof token, "%llu", (unsigned long long)l->token);
    l->child = fork();
    if (l->child == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        (void)signal(SIGPIPE, SIG_DFL);
        (void)setenv("C2FS_LOCK_TOKEN", token, 1);
        execvp(command[0], command);
        (void)fprintf(stderr, "c2fsctl: %s: %s\n", command[0], strerror(errno));
        _exit(127);
    }
    if (l->child < 0)
        return service_fail(&l->s, c2_err_from_errno(errno), command[0]);
    c2_timer_arm(l->s.env, &l->poll, c2_now_ns(l->s.env));
    c2_os_run_until(l->s.os, &l->over);
    if (l->lost)
        return cmd_fail(l->s.x, C2_E_FENCED, l->s.what, l->key,
                        "the lock was lost while the command ran", NULL);
    return WIFEXITED(l->status) ? WEXITSTATUS(l->status) : 128 + WTERMSIG(l->status);
}

/* Holds it until somebody interrupts. */
static int
hold(struct locking *l)
{
    (void)printf("%llu\n", (unsigned long long)l->token);
    (void)fflush(stdout);
    l->changed = false;
    while (!l->interrupted && !l->lost) {
        c2_os_run_until(l->s.os, &l->changed);
        l->changed = false;
    }
    return l->lost ? service_fail(&l->s, C2_E_FENCED, l->key) : CTL_EXIT_OK;
}

/* With a session: takes the lock and does what it is for. */
static int
with_session(struct locking *l, char **command)
{
    int code = CTL_EXIT_OK;
    coord_watch(l->s.coord, &l->w);
    c2_timer_arm(l->s.env, &l->keepalive, c2_now_ns(l->s.env) + TTL_NS / 4);
    enum c2_err err = wait_for_lock(l);
    if (err != C2_E_OK)
        code = service_fail(&l->s, err, l->key);
    else
        code = command != NULL ? run_locked(l, command) : hold(l);
    c2_timer_stop(l->s.env, &l->keepalive);
    coord_unwatch(l->s.coord, &l->w);
    if (l->alive_busy)
        c2_os_run_until(l->s.os, &l->alive_idle);
    close_session(l);
    return code;
}

static int
run_lock(struct cmd_ctx *x, int argc, char **argv)
{
    struct locking *l = c2_calloc(1, sizeof *l);
    int code = kv_begin_command(x, "kv lock", &argc, &argv, &l->s);
    if (code != CTL_EXIT_OK) {
        c2_free(l);
        return code;
    }
    int command = argc > 2 && strcmp(argv[2], "--") == 0 ? 3 : 2;
    if (argc < 2 || argv[1][0] == '-') {
        code = cmd_usage(cmd_find("kv lock"), "which key?");
    } else {
        l->key = argv[1];
        l->w.prefix = c2_slice_str(l->key);
        l->w.event = lock_event;
        l->w.reload = lock_reload;
        l->keepalive.fire = keepalive_fired;
        l->poll.fire = child_poll;
        enum c2_err err = c2_os_signals(l->s.os, lock_signal, l);
        if (err == C2_E_OK)
            err = open_session(l);
        code = err == C2_E_OK ? with_session(l, command < argc ? argv + command : NULL)
                              : service_fail(&l->s, err, l->key);
    }
    service_close(&l->s);
    c2_free(l);
    return code;
}

const struct cmd cmds_kv_wait[] = {
    { .name = "kv watch",
      .args = "[-s SERVICE] [--count N] [PREFIX]",
      .summary = "print changes of keys as they happen",
      .help = "A line for each: put or delete, the version, the key. \"reload\": changes may have\n"
              "been missed, read the keys again; it also comes first, when the watch has begun.\n",
      .options = "-s --count",
      .needs = CMD_NEEDS_CONF,
      .run = run_watch },
    { .name = "kv lock",
      .args = "[-s SERVICE] KEY [-- COMMAND ...]",
      .summary = "hold a lock, while a command runs",
      .help =
          "Waits until nobody else holds it. The command finds the fencing token in\n"
          "C2FS_LOCK_TOKEN: the version of the key, which grows from holder to holder. Without\n"
          "a command, prints the token and holds the lock until interrupted.\n"
          "The lock ends with the command, or seconds after this machine has gone.\n",
      .options = "-s",
      .needs = CMD_NEEDS_CONF,
      .run = run_lock },
    { .name = NULL },
};
