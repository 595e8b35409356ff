/* SPDX-License-Identifier: MIT */
/*
 * kv watch and kv lock: commands that go on until something ends them.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
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
    bool over, interrupted;
};

static void
print_event(struct watching *v, const char *what, struct c2_slice key, uint64_t version)
{
    if (v->x->json) {
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
        kv_print_field(key);
        (void)printf("\n");
    } else {
        (void)printf("%s\n", what);
    }
    v->over = v->over || fflush(stdout) != 0; /* nobody reads it any more */
}

static void
on_event(struct coord_watch *w, struct c2_slice key, uint64_t version, bool deleted)
{
    struct watching *v = C2_CONTAINER_OF(w, struct watching, w);
    if (v->over)
        return;
    print_event(v, deleted ? "delete" : "put", key, version);
    v->over = v->over || (v->left != 0 && --v->left == 0);
}

static void
on_reload(struct coord_watch *w)
{
    struct watching *v = C2_CONTAINER_OF(w, struct watching, w);
    if (!v->over)
        print_event(v, "reload", c2_slice(NULL, 0), 0);
}

/* As nohup has it. */
static bool
is_ignored(int signo)
{
    struct sigaction now;
    return signo == SIGHUP && sigaction(signo, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

static void
on_signal(void *arg, int signo)
{
    struct watching *v = arg;
    if (is_ignored(signo))
        return;
    v->interrupted = v->over = true;
}

/* A watch waits for ever, and in vain where nobody answers or nothing may be read. */
static enum c2_err
ask_first(struct service *s, const struct c2_slice *prefix)
{
    struct service_call c = { .req = { .verb = COORD_RANGE, .keys = prefix, .nkeys = 1 } };
    c.req.limit = 1;
    enum c2_err err = service_run(s, &c);
    coord_req_done(&c.req);
    if (err == C2_E_NOT_PERMITTED && !s->x->json)
        (void)fprintf(stderr, "c2fsctl: kv watch: this client's key may not read all of it; what "
                              "it may not read is left out\n");
    return err == C2_E_NOT_PERMITTED ? C2_E_OK : err;
}

static int
watch(struct service *s, void *arg)
{
    struct watching *v = arg;
    enum c2_err err = ask_first(s, &v->w.prefix);
    if (err == C2_E_OK)
        err = c2_os_signals(s->os, on_signal, v);
    if (err != C2_E_OK)
        return kv_fail(s, err, (const char *)v->w.prefix.data);
    coord_watch(s->coord, &v->w);
    c2_os_run_until(s->os, &v->over);
    coord_unwatch(s->coord, &v->w);
    return v->interrupted && v->left > 0 ? CTL_EXIT_INTERRUPTED : CTL_EXIT_OK;
}

static int
run_watch(struct cmd_ctx *x, int argc, char **argv)
{
    const struct kv_form form = { "kv watch", 0, 1, "takes one prefix", .prefixes = 1 };
    struct kv_args a;
    struct watching v = { .x = x, .w = { .event = on_event, .reload = on_reload } };
    int code = kv_parse(x, &form, argc, argv, &a);
    if (code != CTL_EXIT_OK)
        return code;
    v.left = a.count;
    v.w.prefix = c2_slice_str(a.argc == 1 ? a.argv[0] : "");
    return service_use(x, form.name, a.service, watch, &v);
}

/* ---- lock ------------------------------------------------------------------------------------ */

/*
 *   session ─► try ─► (somebody has it: wait for a change, try again) ─► held ─► given back
 *
 * The watch begins before the first try, and a change counts from the moment when a try is sent:
 * one that is heard of before the answer to it may be the end of who was found to have the lock.
 *
 * Who holds a lock must learn that it is lost, also when the service cannot tell: the session lives
 * for TTL_NS after the service has last confirmed it, so a keepalive that was sent earlier than
 * that and is the last one answered means that somebody else may have the lock.
 */
struct kv_lock {
    struct service *s; /* borrowed */
    const char *key;
    char **command;           /* NULL = none, the lock is held until interrupted */
    struct service_call call; /* the one that is waited for; here, because a signal leaves it */
    uint64_t session;
    uint64_t token;  /* version of the key since we hold it; 0 = we do not */
    uint64_t newest; /* highest version of the key that was told of */
    bool look;       /* events were missed: the key is to be read */
    bool wake;       /* something has happened */
    bool changed;    /* the key, perhaps, since the last try was sent */
    bool interrupted, lost;
    struct coord_watch w;
    struct c2_timer keepalive, poll;
    struct coord_req alive;
    uint64_t alive_sent_ns, held_until_ns;
    bool alive_busy;
    pid_t child; /* 0 = there is none */
    int status;
};

static void
lose(struct kv_lock *l)
{
    l->lost = true;
    l->wake = true;
    if (l->child > 0)
        kill(l->child, SIGTERM);
}

static void
lock_reload(struct coord_watch *w)
{
    struct kv_lock *l = C2_CONTAINER_OF(w, struct kv_lock, w);
    l->changed = l->look = l->wake = true;
    if (l->token != 0)
        c2_timer_arm(l->s->env, &l->keepalive, c2_now_ns(l->s->env));
}

/* Somebody may break a lock, by deleting or setting its key. */
static void
lock_event(struct coord_watch *w, struct c2_slice key, uint64_t version, bool deleted)
{
    struct kv_lock *l = C2_CONTAINER_OF(w, struct kv_lock, w);
    (void)deleted;
    l->changed = l->wake = true;
    if (!c2_slice_equal(key, l->w.prefix))
        return;
    l->newest = C2_MAX(l->newest, version);
    if (l->token != 0 && l->newest > l->token && !l->lost)
        lose(l);
}

static void
lock_signal(void *arg, int signo)
{
    struct kv_lock *l = arg;
    if (is_ignored(signo))
        return;
    l->interrupted = true;
    l->wake = true;
    bool has_it = c2_os_signal_from_terminal(l->s->os) && getpgid(l->child) == getpgrp();
    if (l->child > 0 && !has_it) /* many programs take the second one for a harsher one */
        kill(l->child, signo);
}

static void
call_done(struct coord_req *r)
{
    struct service_call *c = C2_CONTAINER_OF(r, struct service_call, req);
    c->done = true;
    C2_CONTAINER_OF(c, struct kv_lock, call)->wake = true;
}

/* INTERRUPTED: it may happen all the same, so nothing else may be asked. */
static enum c2_err
run_call(struct kv_lock *l)
{
    service_start(l->s, &l->call);
    l->call.req.done = call_done;
    coord_submit(l->s->coord, &l->call.req);
    while (!l->call.done && !l->interrupted) {
        l->wake = false;
        c2_os_run_until(l->s->os, &l->wake);
    }
    return l->call.done ? l->call.req.err : C2_E_INTERRUPTED;
}

static void
alive_done(struct coord_req *r)
{
    struct kv_lock *l = C2_CONTAINER_OF(r, struct kv_lock, alive);
    l->alive_busy = false;
    l->wake = true;
    if (r->verb == COORD_GET)
        l->look = l->look || r->err != C2_E_OK;
    else if (r->err == C2_E_OK)
        l->held_until_ns = l->alive_sent_ns + TTL_NS;
    bool broken = r->verb == COORD_GET && r->err == C2_E_OK && r->entries[0].version != l->token;
    if ((broken || r->err == C2_E_SESSION) && !l->lost)
        lose(l);
    coord_req_done(r);
}

static void
keepalive_fired(struct c2_timer *t)
{
    struct kv_lock *l = C2_CONTAINER_OF(t, struct kv_lock, keepalive);
    uint64_t now_ns = c2_now_ns(l->s->env);
    if (now_ns >= l->held_until_ns) {
        lose(l);
        return;
    }
    c2_timer_arm(l->s->env, t, C2_MIN(now_ns + TTL_NS / 4, l->held_until_ns));
    if (l->alive_busy)
        return;
    /* One after the other, also when events are missed all the time. */
    bool look = l->look && l->token != 0 && l->alive.verb != COORD_GET;
    l->look = l->look && !look;
    l->alive_busy = true;
    l->alive_sent_ns = now_ns;
    l->alive = (struct coord_req){ .verb = look ? COORD_GET : COORD_SESSION_KEEPALIVE,
                                   .keys = look ? &l->w.prefix : NULL,
                                   .nkeys = look,
                                   .session = l->session,
                                   .done = alive_done,
                                   .deadline_ns = now_ns + TTL_NS };
    coord_submit(l->s->coord, &l->alive);
}

static enum c2_err
open_session(struct kv_lock *l)
{
    l->held_until_ns = c2_now_ns(l->s->env) + TTL_NS;
    l->call.req = (struct coord_req){ .verb = COORD_SESSION_OPEN, .ttl_ns = TTL_NS };
    enum c2_err err = run_call(l);
    l->session = l->call.req.session;
    if (err == C2_E_OK)
        c2_timer_arm(l->s->env, &l->keepalive, c2_now_ns(l->s->env) + TTL_NS / 4);
    return err;
}

/* Gives the lock back. SESSION: it was not held any more. UNAVAILABLE is an answer that was lost
 * with the client's session: it may have happened. */
static enum c2_err
close_session(struct kv_lock *l)
{
    const struct coord_req close = { .verb = COORD_SESSION_CLOSE, .session = l->session };
    l->interrupted = false;
    l->call.req = close;
    enum c2_err err = run_call(l);
    if (err != C2_E_UNAVAILABLE)
        return err;
    l->call.req = close;
    err = run_call(l);
    return err == C2_E_SESSION ? C2_E_OK : err;
}

static void
take(struct kv_lock *l, uint64_t token)
{
    l->token = token;
    if (l->newest > token)
        lose(l);
    if (l->look)
        c2_timer_arm(l->s->env, &l->keepalive, c2_now_ns(l->s->env));
}

/* What a try has ended with that was not done; CONFLICT: try again. */
static enum c2_err
refused(struct kv_lock *l, enum c2_err err)
{
    const struct coord_req *r = &l->call.req;
    uint64_t holder = err == C2_E_CONFLICT && r->nentries == 1 ? r->entries[0].session : UINT64_MAX;
    if (holder == l->session) { /* an earlier try whose answer was lost */
        take(l, r->entries[0].version);
        return C2_E_OK;
    }
    if (err == C2_E_UNAVAILABLE) { /* it may have happened: the next one finds out */
        l->changed = true;
        return C2_E_CONFLICT;
    }
    return holder == 0 ? C2_E_EXISTS : err;
}

/* CONFLICT: somebody else has it. EXISTS: it is no lock. */
static enum c2_err
try_lock(struct kv_lock *l)
{
    const struct coord_cond cond = { .kind = COORD_ABSENT, .key = c2_slice_str(l->key) };
    const struct coord_op op = { .kind = COORD_PUT_EPHEMERAL,
                                 .key = c2_slice_str(l->key),
                                 .number = (int64_t)l->session };
    struct coord_req *r = &l->call.req;
    l->changed = false;
    *r =
        (struct coord_req){ .verb = COORD_TXN, .conds = &cond, .nconds = 1, .ops = &op, .nops = 1 };
    enum c2_err err = run_call(l);
    if (err == C2_E_INTERRUPTED)
        return err;
    if (err == C2_E_OK)
        take(l, r->version);
    else
        err = refused(l, err);
    coord_req_done(r);
    return err;
}

static enum c2_err
wait_for_lock(struct kv_lock *l)
{
    enum c2_err err;
    while ((err = try_lock(l)) == C2_E_CONFLICT) {
        while (!l->changed && !l->interrupted && !l->lost) {
            l->wake = false;
            c2_os_run_until(l->s->os, &l->wake);
        }
        if (l->interrupted)
            return C2_E_CANCELED;
        if (l->lost)
            return C2_E_SESSION;
    }
    return err == C2_E_OK && l->interrupted ? C2_E_CANCELED : err;
}

static void
child_poll(struct c2_timer *t)
{
    struct kv_lock *l = C2_CONTAINER_OF(t, struct kv_lock, poll);
    pid_t got = waitpid(l->child, &l->status, WNOHANG);
    if (got == l->child || (got < 0 && errno == ECHILD)) {
        l->child = 0;
        l->wake = true;
    } else {
        c2_timer_arm(l->s->env, t, c2_now_ns(l->s->env) + CHILD_POLL_NS);
    }
}

/* Runs the command while the lock is held; its exit code. */
static int
run_locked(struct kv_lock *l)
{
    char token[32];
    (void)snprintf(token, sizeof token, "%llu", (unsigned long long)l->token);
    const pid_t parent = getpid();
    l->child = fork();
    if (l->child == 0) {
        sigset_t none;
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* nobody would keep the lock alive */
        if (getppid() != parent)
            _exit(CTL_EXIT_FAILED);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        (void)signal(SIGPIPE, SIG_DFL);
        (void)setenv("C2FS_LOCK_TOKEN", token, 1);
        execvp(l->command[0], l->command);
        (void)fprintf(stderr, "c2fsctl: %s: %s\n", l->command[0], strerror(errno));
        _exit(127);
    }
    if (l->child < 0)
        return cmd_fail(l->s->x, c2_err_from_errno(errno), l->s->what, l->command[0], NULL, NULL);
    c2_timer_arm(l->s->env, &l->poll, c2_now_ns(l->s->env));
    while (l->child > 0) {
        l->wake = false;
        c2_os_run_until(l->s->os, &l->wake);
    }
    return WIFEXITED(l->status) ? WEXITSTATUS(l->status) : 128 + WTERMSIG(l->status);
}

static void
print_token(const struct kv_lock *l)
{
    struct c2_buf out = { 0 };
    struct c2_json j;
    if (!l->s->x->json) {
        (void)printf("%llu\n", (unsigned long long)l->token);
        return;
    }
    cmd_json_begin(&j, &out, "c2fs.kv-lock/1");
    kv_json_bytes(&j, "key", "key_hex", l->w.prefix);
    c2_json_u64(&j, "token", l->token);
    cmd_json_print(&j, &out);
}

/* Holds it until somebody interrupts. */
static int
hold(struct kv_lock *l)
{
    print_token(l);
    bool told = fflush(stdout) == 0; /* else nobody can use it */
    while (told && !l->interrupted && !l->lost) {
        l->wake = false;
        c2_os_run_until(l->s->os, &l->wake);
    }
    return CTL_EXIT_OK;
}

static int
lock_fail(const struct kv_lock *l, enum c2_err err)
{
    if (err == C2_E_EXISTS)
        return cmd_fail(l->s->x, err, l->s->what, l->key, "this key has a value, it is no lock",
                        "choose another key for the lock");
    if (err == C2_E_CANCELED || err == C2_E_INTERRUPTED)
        return cmd_fail(l->s->x, C2_E_INTERRUPTED, l->s->what, l->key,
                        "interrupted before the lock was there", "nothing was run");
    if (err == C2_E_SESSION)
        return cmd_fail(l->s->x, C2_E_UNAVAILABLE, l->s->what, l->key,
                        "the service has not answered for 10 seconds",
                        "nothing was run; c2fsctl meta status shows the replicas");
    return kv_fail(l->s, err, l->key);
}

/* With a session: takes the lock and does what it is for. */
static int
with_session(struct kv_lock *l)
{
    coord_watch(l->s->coord, &l->w);
    enum c2_err err = wait_for_lock(l);
    int code = CTL_EXIT_OK;
    if (err != C2_E_OK)
        code = lock_fail(l, err);
    else if (!l->lost)
        code = l->command != NULL ? run_locked(l) : hold(l);
    c2_timer_stop(l->s->env, &l->keepalive);
    coord_unwatch(l->s->coord, &l->w);
    if (err == C2_E_INTERRUPTED)
        return code; /* what was asked ends with the session */
    if (!l->lost && close_session(l) == C2_E_SESSION)
        l->lost = true;
    while (l->alive_busy && !l->interrupted && !l->lost) {
        l->wake = false;
        c2_os_run_until(l->s->os, &l->wake);
    }
    if (l->lost && err == C2_E_OK)
        return cmd_fail(
            l->s->x, C2_E_FENCED, l->s->what, l->key,
            l->command != NULL ? "the lock was lost while the command ran" : "the lock was lost",
            "somebody else may have held it meanwhile: conditions on the token's version "
            "(kv txn --if-version) keep what was done safe");
    return code;
}

struct kv_lock *
kv_lock_new(const char *key, char **command)
{
    struct kv_lock *l = c2_calloc(1, sizeof *l);
    l->key = key;
    l->command = command;
    l->w.prefix = c2_slice_str(key);
    l->w.event = lock_event;
    l->w.reload = lock_reload;
    l->keepalive.fire = keepalive_fired;
    l->poll.fire = child_poll;
    return l;
}

void
kv_lock_free(struct kv_lock *l)
{
    c2_free(l);
}

int
kv_lock_run(struct service *s, void *lock)
{
    struct kv_lock *l = lock;
    l->s = s;
    enum c2_err err = c2_os_signals(l->s->os, lock_signal, l);
    if (err == C2_E_OK)
        err = open_session(l);
    int code = err == C2_E_OK ? with_session(l) : lock_fail(l, err);
    if (l->alive_busy || !l->call.done) { /* nobody wants to wait for what cannot be taken back */
        (void)fflush(stdout);
        _exit(code);
    }
    return code;
}

static int
run_lock(struct cmd_ctx *x, int argc, char **argv)
{
    const struct kv_form form = { "kv lock", 1, INT_MAX, "which key?", .keys = 1 };
    struct kv_args a;
    bool dashes = argc > 2 && strcmp(argv[2], "--") == 0; /* of the command */
    int code = kv_parse(x, &form, dashes ? 2 : argc, argv, &a);
    if (code != CTL_EXIT_OK)
        return code;
    int rest = (int)(a.argv - argv) + 1;
    bool end = rest < argc && strcmp(argv[rest], "--") == 0;
    rest += end;
    if (end && rest == argc)
        return cmd_usage(x, cmd_find(form.name), "which command? Without one, leave out the --");
    struct kv_lock *l = kv_lock_new(a.argv[0], rest < argc ? argv + rest : NULL);
    code = service_use(x, form.name, a.service, kv_lock_run, l);
    kv_lock_free(l);
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
          "The lock ends with the command, or seconds after this machine has gone. When it is\n"
          "lost, or broken by a change of its key, the command gets SIGTERM (exit code 10).\n",
      .options = "-s",
      .needs = CMD_NEEDS_CONF,
      .run = run_lock },
    { .name = NULL },
};
