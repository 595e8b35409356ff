/* SPDX-License-Identifier: MIT */
/*
 * c2fs-metad: one replica of the coordination service.
 *
 * In the background mode the parent waits on a pipe until the child takes part ("0" and a line for
 * people) or has failed (its exit code and the reason), so that the command returns when the
 * replica is there.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/conf.h"
#include "base/log.h"
#include "base/os_file.h"
#include "base/os_lock.h"
#include "base/os_loop.h"
#include "base/os_metrics.h"
#include "base/os_net.h"
#include "base/os_process.h"
#include "metadata/cluster_int.h"
#include "metadata/identity.h"
#include "metadata/node.h"
#include "metadata/verify.h"

#define DEFAULT_CONFIG "/etc/c2fs/c2fs-metad.conf"

/* The codes of c2fsctl. */
enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_CONFIG = 3, EXIT_UNAVAILABLE = 5, EXIT_DAMAGED = 8 };

struct daemon {
    const char *config_file;
    bool foreground, verify;
    struct c2_conf *conf; /* owned */
    struct c2_os *os;     /* owned */
    struct c2_net *net;   /* owned */
    struct node *node;    /* owned */
    struct c2_os_metrics *metrics;
    struct bft_setup setup;
    uint8_t identity_secret[C2_ED25519_SECRET_LEN];
    int lock_fd;
    int report_fd; /* to the parent, -1 in the foreground */
    bool stopping;
    bool closed;
    int code;
};

static bool
is_full(enum c2_err err)
{
    return err == C2_E_NO_SPACE || err == C2_E_QUOTA;
}

static void
usage(FILE *out)
{
    (void)fprintf(out, "usage: c2fs-metad -C FILE [-f] [--verify]\n"
                       "\n"
                       "  -C FILE    configuration, written by c2fsctl meta init\n"
                       "             (default " DEFAULT_CONFIG ")\n"
                       "  -f         stay in the foreground, log to standard error\n"
                       "  --verify   check everything on the disk of a stopped replica, and end\n"
                       "  -h, -V     help, version\n"
                       "\n"
                       "See c2fs-metad(8).\n");
}

static const char *
conf_str(const struct daemon *d, const char *key)
{
    const char *value = c2_conf_str(d->conf, "replica", NULL, key);
    return value == NULL ? "" : value;
}

static C2_RESULT
want(const struct daemon *d, const char *key, char **ret_error)
{
    if (conf_str(d, key)[0] != '\0')
        return C2_E_OK;
    *ret_error = c2_asprintf("[replica] in %s lacks the key \"%s\"", d->config_file, key);
    return C2_E_CONFIG;
}

/* ---- configuration and keys ------------------------------------------------------------------ */

static C2_RESULT
load_config(struct daemon *d, char **ret_error)
{
    d->conf = c2_conf_new();
    enum c2_err err = c2_conf_load_file(d->conf, d->config_file);
    if (err != C2_E_OK) {
        *ret_error = c2_strdup(c2_conf_error(d->conf));
        return C2_E_CONFIG;
    }
    C2_TRY(want(d, "data", ret_error));
    C2_TRY(want(d, "trust", ret_error));
    return want(d, "key", ret_error);
}

static C2_RESULT
load_trust(struct daemon *d, char **ret_error)
{
    C2_AUTO(c2_buf_done) struct c2_buf text = { 0 };
    const char *path = conf_str(d, "trust");
    enum c2_err err = c2_os_read_file(path, IDENTITY_FILE_MAX, &text, NULL);
    if (err == C2_E_OK)
        err = identity_read_cluster(c2_buf_slice(&text), &d->setup.config);
    if (err != C2_E_OK)
        *ret_error = c2_asprintf("cannot use %s as trust: %s", path,
                                 identity_problem(c2_buf_slice(&text), IDENTITY_CLUSTER, err));
    return err;
}

static C2_RESULT
read_key_file(const char *path, struct identity_replica *ret_key, char **ret_error)
{
    struct c2_buf text = { 0 };
    struct c2_os_file_info info = { 0 };
    enum c2_err err = c2_os_read_file(path, IDENTITY_FILE_MAX, &text, &info);
    if (err == C2_E_OK && (info.mode & 077) != 0) {
        *ret_error = c2_asprintf("others may read %s; type: chmod 600 %s", path, path);
        err = C2_E_ACCESS;
    } else if (err == C2_E_OK) {
        err = identity_read_replica(c2_buf_slice(&text), ret_key);
    }
    if (err != C2_E_OK && *ret_error == NULL)
        *ret_error = c2_asprintf("cannot use %s as key of a replica: %s", path,
                                 identity_problem(c2_buf_slice(&text), IDENTITY_REPLICA, err));
    if (text.data != NULL)
        c2_wipe(text.data, text.cap);
    c2_buf_done(&text);
    return err;
}

/* The member of the first epoch that the keys belong to; its address is the default to listen at.
 */
static C2_RESULT
load_keys(struct daemon *d, const char **ret_address, char **ret_error)
{
    struct identity_replica k;
    uint8_t public_key[C2_ED25519_PUBLIC_LEN];
    const struct bft_config *c = &d->setup.config;
    const char *path = conf_str(d, "key");
    C2_TRY(read_key_file(path, &k, ret_error));
    c2_ed25519_keypair(k.identity_seed, d->identity_secret, public_key);
    c2_ed25519_keypair(k.sign_seed, d->setup.sign_secret, public_key);
    d->setup.id = k.id;
    bool known = k.cluster == c->cluster;
    for (unsigned i = 0; known && i < c->n; i++) {
        if (c->member[i].id == k.id)
            *ret_address = c->member[i].address;
    }
    c2_wipe(&k, sizeof k);
    if (known)
        return C2_E_OK;
    *ret_error = c2_asprintf("%s and %s belong to different services", path, conf_str(d, "trust"));
    return C2_E_CONFIG;
}

/* Whose keys these are must be whose folder this is. A folder that says nothing is an empty one. */
static C2_RESULT
check_owner(const struct daemon *d, char **ret_error)
{
    const char *data = conf_str(d, "data");
    C2_AUTO(c2_free_auto) char *path = c2_asprintf("%s/" IDENTITY_OWNER, data);
    C2_AUTO(c2_buf_done) struct c2_buf expected = { 0 };
    C2_AUTO(c2_buf_done) struct c2_buf found = { 0 };
    identity_write_owner(&expected, d->setup.config.cluster, d->setup.id);
    enum c2_err err = c2_os_read_file(path, IDENTITY_FILE_MAX, &found, NULL);
    if (err == C2_E_NOT_FOUND)
        err = c2_os_replace_file(path, c2_buf_slice(&expected), 0600);
    else if (err == C2_E_OK && !c2_slice_equal(c2_buf_slice(&expected), c2_buf_slice(&found)))
        err = C2_E_CONFIG;
    if (err == C2_E_CONFIG)
        *ret_error = c2_asprintf(
            "%s is of %.*s, and %s of replica %u of service %016llx: bring the "
            "right key or the right folder",
            data, (int)strcspn(c2_buf_cstr(&found), "\n"), c2_buf_cstr(&found), conf_str(d, "key"),
            d->setup.id, (unsigned long long)d->setup.config.cluster);
    else if (err != C2_E_OK)
        *ret_error = c2_asprintf("cannot use %s: %s", path, c2_err_text(err));
    return err;
}

static C2_RESULT
set_up_log(const struct daemon *d, char **ret_error)
{
    enum c2_log_level level;
    const char *file = conf_str(d, "log_file");
    C2_TRY(c2_log_level_parse(conf_str(d, "log_level"), &level));
    c2_log_set_level(level);
    C2_AUTO(c2_free_auto) char *own = NULL;
    if (file[0] == '\0' && !d->foreground) {
        own = c2_asprintf("%s/c2fs-metad.log", conf_str(d, "data"));
        file = own;
    }
    if (file[0] == '\0')
        return C2_E_OK;
    enum c2_err err = c2_log_to_file(file);
    if (err != C2_E_OK)
        *ret_error = c2_asprintf("cannot log to %s: %s", file, c2_err_text(err));
    return err;
}

/* One process per data folder. */
static C2_RESULT
lock_data(struct daemon *d, char **ret_error)
{
    const char *data = conf_str(d, "data");
    uint64_t pid = 0;
    C2_AUTO(c2_free_auto) char *path = c2_asprintf("%s/lock", data);
    enum c2_err err = c2_os_make_private_dir(data);
    if (err == C2_E_OK)
        err = c2_os_lock_file(path, &d->lock_fd, &pid);
    if (err == C2_E_BUSY)
        *ret_error = c2_asprintf("%s is in use by process %llu", data, (unsigned long long)pid);
    else if (err != C2_E_OK)
        *ret_error = c2_asprintf("cannot use the folder %s: %s", data, c2_err_text(err));
    return err;
}

/* ---- the daemon ------------------------------------------------------------------------------ */

/* What this replica is to the service today. */
static const char *
standing(const struct daemon *d)
{
    struct node_info i;
    node_info(d->node, &i);
    return i.bft.former ? "is not a member any more: stop it for good" : "takes part";
}

static void
tell_systemd(const struct daemon *d)
{
    C2_AUTO(c2_free_auto)
    char *text = c2_asprintf("STATUS=replica %u %s", d->setup.id, standing(d));
    c2_os_notify(text);
}

static void
on_started(void *arg)
{
    struct daemon *d = arg;
    struct node_info i;
    node_info(d->node, &i);
    bool forgot = i.log_damaged;
    char *text = c2_asprintf("replica %u %s%s", d->setup.id, standing(d),
                             forgot ? "; it has lost its log, and has no vote until the others "
                                      "have moved on"
                                    : "");
    c2_log(INFO, "main", "replica=%u started%s", d->setup.id, forgot ? " in quarantine" : "");
    c2_os_report(&d->report_fd, 0, text);
    c2_free(text);
    if (!d->foreground)
        c2_os_leave_terminal();
    c2_os_notify("READY=1");
}

/* For whoever was away for so long that nobody can prove the members of today to him. */
static void
on_configured(void *arg, const struct bft_config *config)
{
    struct daemon *d = arg;
    C2_AUTO(c2_free_auto) char *path = c2_asprintf("%s/root.pub", conf_str(d, "data"));
    C2_AUTO(c2_buf_done) struct c2_buf text = { 0 };
    cluster_trust_text(config, NULL, &text);
    enum c2_err err = c2_os_replace_file(path, c2_buf_slice(&text), 0644);
    if (err != C2_E_OK)
        c2_log(WARN, "main", "file=%s cannot be written: %s", path, c2_err_text(err));
    tell_systemd(d);
}

/* The log is what a replica must not lose; the others have the state. */
static const char *
set_store_aside(const struct daemon *d)
{
    C2_AUTO(c2_free_auto) char *from = c2_asprintf("%s/store/data.mdb", conf_str(d, "data"));
    C2_AUTO(c2_free_auto) char *to = c2_asprintf("%s.damaged", from);
    if (rename(from, to) != 0)
        return "";
    c2_log(ERROR, "main", "file=%s is the damaged store; the next start gets it from the others",
           to);
    return "; it is set aside, start the replica again to get the state from the others";
}

/* The process ends, because the store's open transaction is lost; the log has all that was in it.
 */
static const char *
make_room(enum c2_err err)
{
    return is_full(err) ? "; nothing that was confirmed is lost: make room, and start the "
                          "replica again if systemd does not do so"
                        : "";
}

/* Nothing that was promised is lost, as long as nothing more is done: no closing, no flushing. */
static void
on_failed(void *arg, enum c2_err err, const char *why)
{
    struct daemon *d = arg;
    const char *next = node_store_is_damaged(d->node) ? set_store_aside(d) : make_room(err);
    int code = is_full(err) ? EXIT_UNAVAILABLE : EXIT_FAILED;
    char *text =
        c2_asprintf("c2fs-metad: replica %u: %s: %s%s", d->setup.id, why, c2_err_text(err), next);
    if (!d->foreground)
        c2_log(ERROR, "main", "replica=%u ends: %s%s", d->setup.id, c2_err_text(err), next);
    c2_os_report(&d->report_fd, code, text);
    _exit(code);
}

/* LMDB maps its file, so that what cannot be read of it shows as a signal. */
static void
on_unreadable(void *arg, const void *addr)
{
    struct daemon *d = arg;
    C2_AUTO(c2_free_auto) char *path = c2_asprintf("%s/store/data.mdb", conf_str(d, "data"));
    bool store = c2_os_is_mapped(path, addr);
    const char *next = store && !d->verify ? set_store_aside(d) : "";
    char *text = c2_asprintf("c2fs-metad: a part of %s cannot be read: its disk fails there, or it "
                             "was cut short%s",
                             store ? path : "a file that is mapped", next);
    if (!d->foreground && !d->verify)
        c2_log(ERROR, "main", "%s", text);
    c2_os_report(&d->report_fd, EXIT_DAMAGED, text);
    _exit(store ? EXIT_DAMAGED : EXIT_FAILED);
}

/* The network asks the replica who may connect: it must not outlive it by a turn of the loop. */
static void
on_closed(void *arg)
{
    struct daemon *d = arg;
    d->node = NULL;
    c2_net_free(d->net);
    d->net = NULL;
    d->closed = true;
    c2_os_stop(d->os);
}

static void
on_signal(void *arg, int signo)
{
    struct daemon *d = arg;
    if (signo == SIGHUP) {
        char *error = NULL;
        if (set_up_log(d, &error) != C2_E_OK)
            c2_log(WARN, "main", "%s", error != NULL ? error : "log_level");
        c2_free(error);
        return;
    }
    if (d->stopping)
        return;
    d->stopping = true;
    c2_log(INFO, "main", "signal=%d ending", signo);
    c2_os_notify("STOPPING=1");
    node_close(d->node, on_closed, d);
}

static void
write_metrics(void *arg, struct c2_buf *out)
{
    const struct daemon *d = arg;
    if (d->node != NULL)
        node_metrics(d->node, out);
}

static C2_RESULT
open_metrics(struct daemon *d, char **ret_error)
{
    const char *address = conf_str(d, "metrics");
    if (address[0] == '\0')
        return C2_E_OK;
    return c2_os_metrics_open(d->os, address, write_metrics, d, &d->metrics, ret_error);
}

static C2_RESULT
start(struct daemon *d, char **ret_error)
{
    const char *address = NULL;
    const char *listen = conf_str(d, "listen");
    C2_TRY(load_trust(d, ret_error));
    C2_TRY(load_keys(d, &address, ret_error));
    C2_TRY(lock_data(d, ret_error));
    C2_TRY(check_owner(d, ret_error));
    C2_TRY(set_up_log(d, ret_error));
    c2_os_harden();
    if (listen[0] == '\0')
        listen = address;
    if (listen == NULL) {
        *ret_error = c2_asprintf("%s does not have this replica's address; set listen = "
                                 "ADDRESS:PORT in %s",
                                 conf_str(d, "trust"), d->config_file);
        return C2_E_CONFIG;
    }
    /* One thread: the store's transaction stays on it. */
    C2_TRY(c2_os_new(1, &d->os));
    C2_TRY(c2_os_signals(d->os, on_signal, d));
    const struct c2_os_net_options net = { .secret = d->identity_secret,
                                           .protocol = NODE_PROTOCOL };
    C2_TRY(c2_os_net_new(d->os, &net, &d->net));
    if (strcmp(conf_str(d, "timing"), "lan") == 0)
        bft_timing_lan(&d->setup.timing);
    else
        bft_timing_default(&d->setup.timing);
    bft_limits_default(&d->setup.limits);
    d->setup.crypto = &bft_crypto_ed25519;
    c2_random_bytes(&d->setup.seed, sizeof d->setup.seed);
    const struct node_options o = {
        .setup = &d->setup,
        .data = conf_str(d, "data"),
        .listen = listen,
        .net = d->net,
        .map_size = c2_conf_u64(d->conf, "replica", NULL, "map_size"),
        .segment_size = c2_conf_u64(d->conf, "replica", NULL, "segment_size"),
        .clients_max = (unsigned)c2_conf_u64(d->conf, "replica", NULL, "clients"),
        .configured = on_configured,
        .started = on_started,
        .failed = on_failed,
        .arg = d,
    };
    enum c2_err err = node_open(c2_os_env(d->os), &o, &d->node, ret_error);
    if (err == C2_E_DAMAGED) {
        char *error = *ret_error;
        *ret_error = c2_asprintf("%s%s", error, set_store_aside(d));
        c2_free(error);
    }
    C2_TRY(err);
    c2_wipe(d->setup.sign_secret, sizeof d->setup.sign_secret);
    c2_wipe(d->identity_secret, sizeof d->identity_secret);
    return open_metrics(d, ret_error);
}

static int
exit_code(enum c2_err err)
{
    if (err == C2_E_CONFIG || err == C2_E_PARSE)
        return EXIT_CONFIG;
    if (err == C2_E_UNAVAILABLE || is_full(err))
        return EXIT_UNAVAILABLE;
    return err == C2_E_DAMAGED || err == C2_E_CORRUPT ? EXIT_DAMAGED : EXIT_FAILED;
}

static char *
error_text(enum c2_err err, const char *error)
{
    return c2_asprintf("c2fs-metad: %s", error != NULL ? error : c2_err_text(err));
}

static int
serve(struct daemon *d)
{
    C2_AUTO(c2_free_auto) char *error = NULL;
    enum c2_err err = start(d, &error);
    if (err != C2_E_OK) {
        C2_AUTO(c2_free_auto) char *text = error_text(err, error);
        c2_os_report(&d->report_fd, exit_code(err), text);
        _exit(exit_code(err)); /* the log may be open; nothing was done yet */
    }
    while (!d->closed)
        c2_os_run(d->os);
    c2_os_metrics_close(d->metrics);
    c2_os_drain(d->os);
    c2_os_free(d->os);
    c2_os_unlock_file(d->lock_fd);
    c2_log(INFO, "main", "ended in good order");
    return 0;
}

struct verdict {
    struct c2_os *os;
    enum c2_err err;
    bool over;
};

static void
on_verified(void *arg, enum c2_err err, const char *text)
{
    struct verdict *v = arg;
    (void)fputs(text, stdout);
    v->err = err;
    v->over = true;
}

static bool
has_never_run(const struct daemon *d)
{
    C2_AUTO(c2_free_auto) char *path = c2_asprintf("%s/" NODE_FIRST_START, conf_str(d, "data"));
    C2_AUTO(c2_buf_done) struct c2_buf text = { 0 };
    return c2_os_read_file(path, IDENTITY_FILE_MAX, &text, NULL) == C2_E_OK;
}

static int
verify(struct daemon *d)
{
    C2_AUTO(c2_free_auto) char *error = NULL;
    struct verdict v = { .err = C2_E_OK };
    enum c2_err err = lock_data(d, &error);
    if (err == C2_E_OK)
        err = c2_os_new(1, &v.os);
    if (err != C2_E_OK) {
        C2_AUTO(c2_free_auto) char *text = error_text(err, error);
        (void)fprintf(stderr, "%s\n", text);
        return exit_code(err);
    }
    if (has_never_run(d)) {
        on_verified(&v, C2_E_OK, "this replica has never run: there is nothing to check\n");
    } else {
        verify_start(c2_os_env(v.os), conf_str(d, "data"), on_verified, &v);
        c2_os_run_until(v.os, &v.over);
    }
    c2_os_drain(v.os);
    c2_os_free(v.os);
    return v.err == C2_E_OK ? 0 : exit_code(v.err);
}

static int
run(struct daemon *d)
{
    struct c2_os_start start;
    if (d->foreground)
        return serve(d);
    if (c2_os_start_daemon(&start) != C2_E_OK)
        return EXIT_FAILED;
    if (!start.parent) {
        d->report_fd = start.report_fd;
        return serve(d);
    }
    if (!start.reported) {
        (void)fprintf(stderr, "c2fs-metad: ended unexpectedly (status %d)\n", start.status);
        return EXIT_FAILED;
    }
    (void)fprintf(start.code == 0 ? stdout : stderr, "%s\n", start.text);
    return start.code;
}

/* -1: go on; else the exit code. */
static int
parse_args(int argc, char **argv, struct daemon *d)
{
    static const struct option longs[] = {
        { "config", required_argument, NULL, 'C' }, { "foreground", no_argument, NULL, 'f' },
        { "verify", no_argument, NULL, 'v' },       { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },      { NULL, 0, NULL, 0 },
    };
    int flag;
    while ((flag = getopt_long(argc, argv, "C:fhV", longs, NULL)) != -1) {
        switch (flag) {
        case 'C':
            d->config_file = optarg;
            break;
        case 'f':
            d->foreground = true;
            break;
        case 'v':
            d->verify = true;
            break;
        case 'h':
            usage(stdout);
            return 0;
        case 'V':
            (void)printf("c2fs-metad %s\n", C2_VERSION);
            return 0;
        default:
            usage(stderr);
            return EXIT_USAGE;
        }
    }
    if (optind == argc)
        return -1;
    usage(stderr);
    return EXIT_USAGE;
}

int
main(int argc, char **argv)
{
    struct daemon d = { .config_file = DEFAULT_CONFIG, .lock_fd = -1, .report_fd = -1 };
    C2_AUTO(c2_free_auto) char *error = NULL;
    c2_os_begin();
    int code = parse_args(argc, argv, &d);
    if (code >= 0)
        return code;
    enum c2_err err = c2_crypto_init();
    if (err == C2_E_OK)
        err = load_config(&d, &error);
    if (err == C2_E_OK) {
        c2_os_on_unreadable(on_unreadable, &d);
        code = d.verify ? verify(&d) : run(&d);
    } else {
        C2_AUTO(c2_free_auto) char *text = error_text(err, error);
        (void)fprintf(stderr, "%s\n", text);
        code = exit_code(err);
    }
    c2_conf_free(d.conf);
    return code;
}
