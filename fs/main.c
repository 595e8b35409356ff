/* SPDX-License-Identifier: MIT */
/*
 * c2fs: mounts a volume. Also installed as mount.c2fs, which mount(8) calls for fstab entries of
 * type c2fs.
 *
 * In the background mode the parent waits on a pipe until the child has mounted (it says "0" and a
 * line for people) or failed (its exit code and the reason), so that the command returns after the
 * mount answers.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os_file.h"
#include "base/conf.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/os_loop.h"
#include "base/os_process.h"
#include "base/str.h"
#include "fs/ctl_proto.h"
#include "fs/main_setup.h"
#include "fs/mount_opts.h"
#include "fs/wire_up.h"

#define READ_AHEAD_KIB 1024u

/* mount(8) wants its own exit codes from a helper. */
enum { MOUNT_USAGE = 1, MOUNT_SYSTEM = 2, MOUNT_INTERRUPTED = 8, MOUNT_FAILED = 32 };

struct args {
    const char *program; /* "c2fs" or "mount.c2fs" */
    bool helper;         /* called by mount(8) */
    const char *volume, *mountpoint;
    char *config; /* owned; -C or config=, NULL = the system's */
    struct mount_opts opts;
    bool foreground, debug, sloppy, fake;
};

struct daemon {
    const struct args *args;
    struct c2_conf *conf;
    char *mountpoint; /* absolute, owned */
    struct c2_os *os;
    struct wire *wire;
    int report_fd; /* to the parent, -1 in the foreground */
};

/* ---- command line ---------------------------------------------------------------------------- */

static void
usage(FILE *out, const struct args *a)
{
    if (a->helper) {
        (void)fprintf(out, "usage: mount.c2fs VOLUME DIR [-sfnv] [-o OPTIONS]\n");
        return;
    }
    (void)fprintf(out,
                  "usage: c2fs VOLUME MOUNTPOINT [-C FILE] [-o OPTION,...] [-f] [-d]\n"
                  "\n"
                  "  -C FILE    configuration instead of /etc/c2fs/c2fs.conf and conf.d\n"
                  "  -o OPTION  ro, nosuid, nodev, noexec, noatime, allow_other, nonempty, and\n"
                  "             every key of the [volume] section: cache_size=50G,close=sync,...\n"
                  "  -f         stay in the foreground, log to standard error\n"
                  "  -d         the same, and print every request of the kernel\n"
                  "  -h, -V     help, version\n"
                  "\n"
                  "Unmount with umount MOUNTPOINT or c2fsctl umount MOUNTPOINT. See c2fs(8).\n");
}

static int
exit_code(const struct args *a, enum c2_err err)
{
    if (err == C2_E_OK)
        return 0;
    if (!a->helper)
        return (int)ctl_exit_code(err);
    if (err == C2_E_INTERRUPTED)
        return MOUNT_INTERRUPTED;
    return err == C2_E_CONFIG ? MOUNT_USAGE : MOUNT_FAILED;
}

/* "c2fs: what: cause", and what to type. Takes error, which may be NULL. */
static char *
error_text(const struct args *a, enum c2_err err, const char *what, char *error)
{
    char code[CTL_CODE_MAX];
    ctl_error_code(err, code);
    char *cause = error != NULL && error[0] != '\0' ? error : c2_strdup(c2_err_text(err));
    const char *hint = ctl_split_hint(cause);
    char *where = c2_asprintf("c2fs-errors(7) explains %s", code);
    if (hint == NULL)
        hint = err == C2_E_CONFIG ? "see c2fs.conf(5)" : where;
    char *text = c2_asprintf("%s: %s: %s [%s]\nhint: %s", a->program, what, cause, code, hint);
    c2_free(where);
    if (cause != error)
        c2_free(error);
    c2_free(cause);
    return text;
}

static int
fail(const struct args *a, enum c2_err err, const char *what, char *error)
{
    char *text = error_text(a, err, what, error);
    (void)fprintf(stderr, "%s\n", text);
    c2_free(text);
    return exit_code(a, err);
}

/* "c2fs:phr" and "c2fs#phr" are "phr". */
static const char *
volume_name(const char *spec)
{
    bool prefixed = strncmp(spec, "c2fs:", 5) == 0 || strncmp(spec, "c2fs#", 5) == 0;
    return prefixed ? spec + 5 : spec;
}

/* -1: go on; else the exit code. */
static int
parse_flag(int flag, const char *value, struct args *a)
{
    char *error = NULL;
    switch (flag) {
    case 'C':
        c2_free(a->config);
        a->config = c2_strdup(value);
        return -1;
    case 'o':
        if (mount_opts_parse(value, a->sloppy, &a->opts, &error) == C2_E_OK)
            return -1;
        (void)fail(a, C2_E_CONFIG, "mount options", error);
        return a->helper ? MOUNT_USAGE : CTL_EXIT_USAGE;
    case 'f':
        a->foreground = !a->helper;
        a->fake = a->helper;
        return -1;
    case 'd':
        a->foreground = a->debug = true;
        return -1;
    case 's':
        a->sloppy = true;
        return -1;
    case 'h':
        usage(stdout, a);
        return 0;
    case 'V':
        (void)printf("c2fs %s\n", C2_VERSION);
        return 0;
    case 'n':
    case 'v':
    case 't':
    case 'N':
        return -1; /* of mount(8), without a meaning here */
    default:
        usage(stderr, a);
        return a->helper ? MOUNT_USAGE : CTL_EXIT_USAGE;
    }
}

static int
parse_args(int argc, char **argv, struct args *a)
{
    static const struct option longs[] = {
        { "config", required_argument, NULL, 'C' },
        { "options", required_argument, NULL, 'o' },
        { "foreground", no_argument, NULL, 'f' },
        { "debug", no_argument, NULL, 'd' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        { NULL, 0, NULL, 0 },
    };
    const char *slash = strrchr(argv[0], '/');
    const char *name = slash != NULL ? slash + 1 : argv[0];
    a->helper = strncmp(name, "mount.", 6) == 0;
    a->program = a->helper ? "mount.c2fs" : "c2fs";
    int flag;
    while ((flag = getopt_long(argc, argv, a->helper ? "C:o:sfnvt:N:hV" : "C:o:fdhV", longs,
                               NULL)) != -1) {
        int code = parse_flag(flag, optarg, a);
        if (code >= 0)
            return code;
    }
    if (argc - optind != 2) {
        usage(stderr, a);
        return a->helper ? MOUNT_USAGE : CTL_EXIT_USAGE;
    }
    a->volume = volume_name(argv[optind]);
    a->mountpoint = argv[optind + 1];
    return -1;
}

/* ---- configuration --------------------------------------------------------------------------- */

static char *
unknown_volume(const struct c2_conf *conf, const char *volume)
{
    const char *names[64];
    size_t n = 0;
    while (n < C2_ARRAY_LEN(names) && (names[n] = c2_conf_section(conf, "volume", n)) != NULL)
        n++;
    const char *near = c2_nearest(volume, names, n);
    if (near != NULL)
        return c2_asprintf("there is no [volume \"%s\"] in the configuration\n"
                           "hint: did you mean %s?",
                           volume, near);
    return c2_asprintf("there is no [volume \"%s\"] in the configuration\n"
                       "hint: c2fsctl config shows what is configured",
                       volume);
}

static C2_RESULT
load_config(const struct args *a, struct c2_conf *conf, char **ret_error)
{
    const char *file = a->config != NULL ? a->config : a->opts.config;
    enum c2_err err = c2_conf_load_default(conf, file);
    if (err == C2_E_OK && !c2_conf_has_section(conf, "volume", a->volume)) {
        *ret_error = unknown_volume(conf, a->volume);
        return C2_E_NOT_FOUND;
    }
    if (err == C2_E_OK)
        err = mount_opts_apply(&a->opts, conf, a->volume);
    if (err != C2_E_OK) {
        *ret_error = c2_strdup(c2_conf_error(conf));
        return C2_E_CONFIG;
    }
    if (c2_conf_str(conf, "volume", a->volume, "cache_dir") == NULL) {
        *ret_error = c2_asprintf("[volume \"%s\"] needs cache_dir = FOLDER", a->volume);
        return C2_E_CONFIG;
    }
    return C2_E_OK;
}

static C2_RESULT
set_up_log(const struct daemon *d, char **ret_error)
{
    const struct args *a = d->args;
    enum c2_log_level level;
    const char *file = c2_conf_str(d->conf, "volume", a->volume, "log_file");
    C2_TRY(c2_log_level_parse(c2_conf_str(d->conf, "volume", a->volume, "log_level"), &level));
    c2_log_set_level(level);
    char *own = NULL;
    if ((file == NULL || file[0] == '\0') && !a->foreground) {
        own = c2_asprintf("%s/c2fs.log", c2_conf_str(d->conf, "volume", a->volume, "cache_dir"));
        file = own;
    }
    enum c2_err err = C2_E_OK;
    if (file != NULL && file[0] != '\0')
        err = c2_log_to_file(file);
    if (err != C2_E_OK)
        *ret_error = c2_asprintf("cannot log to %s: %s", file, c2_err_text(err));
    c2_free(own);
    return err;
}

/* ---- daemon ---------------------------------------------------------------------------------- */

static void
on_signal(void *arg, int signo)
{
    const struct daemon *d = arg;
    if (signo == SIGHUP) {
        char *error = NULL;
        if (set_up_log(d, &error) != C2_E_OK)
            c2_log(WARN, "main", "%s", error != NULL ? error : "log_level");
        c2_free(error);
        return;
    }
    c2_log(INFO, "main", "signal=%d ending", signo);
    if (d->wire == NULL || !wire_stop(d->wire))
        _exit(CTL_EXIT_INTERRUPTED);
}

static C2_RESULT
reload(void *arg, struct c2_conf **ret_conf, char **ret_error)
{
    const struct daemon *d = arg;
    struct c2_conf *conf = c2_conf_new();
    enum c2_err err = load_config(d->args, conf, ret_error);
    if (err == C2_E_OK)
        *ret_conf = conf;
    else
        c2_conf_free(conf);
    return err;
}

static C2_RESULT
start(struct daemon *d, char **ret_error)
{
    const struct args *a = d->args;
    const char *user = c2_conf_str(d->conf, "volume", a->volume, "drop_privileges");
    user = user == NULL ? "" : user;
    C2_TRY(setup_mount_lock(c2_conf_str(d->conf, "volume", a->volume, "cache_dir"), d->mountpoint,
                            ret_error));
    C2_TRY(set_up_log(d, ret_error));
    C2_TRY(setup_user_files(user, ret_error));
    c2_os_harden();
    C2_TRY(c2_crypto_init());
    C2_TRY(c2_os_new((unsigned)c2_conf_u64(d->conf, "volume", a->volume, "threads"), &d->os));
    C2_TRY(c2_os_signals(d->os, on_signal, d));
    const struct wire_config config = {
        .os = d->os,
        .conf = d->conf,
        .volume = a->volume,
        .mountpoint = d->mountpoint,
        .kernel_options = a->opts.kernel.len > 0 ? (const char *)a->opts.kernel.data : "",
        .read_only = a->opts.read_only,
        .debug = a->debug,
        .reload = reload,
        .reload_arg = d,
    };
    C2_TRY(wire_open(&config, &d->wire, ret_error));
    C2_TRY(setup_user_root(user, true, ret_error));
    C2_TRY(wire_mount(d->wire, ret_error));
    setup_read_ahead(d->mountpoint, READ_AHEAD_KIB);
    return setup_user_drop(user, ret_error);
}

static int
serve(struct daemon *d)
{
    const struct args *a = d->args;
    char *error = NULL;
    enum c2_err err = start(d, &error);
    int code = exit_code(a, err);
    if (err != C2_E_OK) {
        char *text = error_text(a, err, a->volume, error);
        c2_os_report(&d->report_fd, code, text);
        c2_free(text);
    } else {
        char *text = c2_asprintf("%s is mounted on %s", a->volume, d->mountpoint);
        c2_os_report(&d->report_fd, 0, text);
        c2_free(text);
        if (!a->foreground)
            c2_os_leave_terminal();
        c2_os_notify("READY=1");
        bool abandoned = false;
        code = exit_code(a, wire_run(d->wire, &abandoned));
        if (abandoned)
            _exit(code);
    }
    wire_free(d->wire);
    if (d->os != NULL) {
        c2_os_drain(d->os);
        c2_os_free(d->os);
    }
    return code;
}

static int
run(const struct args *a, struct daemon *d)
{
    struct c2_os_start start;
    if (a->foreground)
        return serve(d);
    enum c2_err err = c2_os_start_daemon(&start);
    if (err != C2_E_OK)
        return fail(a, err, "cannot start the daemon", NULL);
    if (!start.parent) {
        d->report_fd = start.report_fd;
        return serve(d);
    }
    if (!start.reported) {
        (void)fprintf(stderr, "%s: the mount daemon ended unexpectedly (status %d)\n", a->program,
                      start.status);
        return a->helper ? MOUNT_SYSTEM : CTL_EXIT_FAILED;
    }
    (void)fprintf(start.code == 0 ? stdout : stderr, "%s\n", start.text);
    if (start.code == 0)
        setup_umount_helper(a->volume, d->mountpoint,
                            a->config != NULL ? a->config : a->opts.config);
    return start.code;
}

static int
mount_volume(const struct args *a)
{
    struct daemon d = { .args = a, .report_fd = -1 };
    char *error = NULL;
    d.conf = c2_conf_new();
    enum c2_err err = load_config(a, d.conf, &error);
    if (err == C2_E_OK)
        err = setup_mountpoint(a->mountpoint, a->opts.nonempty, &d.mountpoint, &error);
    int code = 0;
    if (err != C2_E_OK)
        code = fail(a, err, a->volume, error);
    else if (!a->fake)
        code = run(a, &d);
    c2_free(d.mountpoint);
    c2_conf_free(d.conf);
    return code;
}

/* The daemon reads it again when providers change, and is in another folder then. */
static void
make_absolute(char **path)
{
    if (*path == NULL || (*path)[0] == '/')
        return;
    C2_AUTO(c2_free_auto) char *relative = *path;
    C2_AUTO(c2_free_auto) char *here = c2_os_current_dir();
    *path = c2_asprintf("%s/%s", here, relative);
}

int
main(int argc, char **argv)
{
    struct args a = { 0 };
    c2_os_begin();
    int code = parse_args(argc, argv, &a);
    make_absolute(&a.config);
    make_absolute(&a.opts.config);
    if (code < 0)
        code = mount_volume(&a);
    mount_opts_done(&a.opts);
    c2_free(a.config);
    return code;
}
