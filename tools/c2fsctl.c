/* SPDX-License-Identifier: MIT */
/*
 * c2fsctl: looks at and administers volumes. This file has the global options, finds the command
 * in the tables and prints the help; the commands are in tools/cmd_*.c.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/os_env.h"
#include "base/os_process.h"
#include "base/str.h"
#include "tools/cmd.h"
#include "tools/umount_helper.h"

#define COMMANDS_MAX 128u

static void
print_overview(FILE *out)
{
    (void)fprintf(out, "usage: c2fsctl [-C FILE] [-V VOLUME] [--json] COMMAND\n\n");
    const struct cmd *c;
    for (size_t n = 0; (c = cmd_at(n)) != NULL; n++)
        (void)fprintf(out, "  %-22s %s\n", c->name, c->summary);
    (void)fprintf(
        out, "\n"
             "  -C, --config FILE     configuration instead of /etc/c2fs/c2fs.conf and conf.d\n"
             "  -V, --volume NAME     which volume; may be left out when there is only one\n"
             "      --json            one JSON object on standard output\n"
             "      --progress=KIND   bar, plain, json or none\n"
             "      --dry-run         check only, change nothing\n"
             "      --yes             do not ask\n"
             "\n"
             "c2fsctl help COMMAND says more. Exit codes: 0 ok, 1 failed, 2 usage,\n"
             "3 configuration, 4 not found, 5 temporarily unavailable, 6 ok but degraded,\n"
             "8 data lost, 9 permission, 10 conflict, 11 refused for safety, 12 uploads\n"
             "pending, 13 incompatible version. See c2fsctl(1).\n");
}

static void
print_command(const struct cmd *c)
{
    (void)printf("usage: c2fsctl %s%s%s\n\n%s%s", c->name, c->args[0] != '\0' ? " " : "", c->args,
                 c->help, c->help[0] == '\0' ? c->summary : "");
    if (c->help[0] == '\0')
        (void)printf("\n");
}

/* ---- finding the command ----------------------------------------------------------------------
 */

/* "provider" "list" is one command: the longest match counts. *ret_words: how many words it has. */
static const struct cmd *
match(int argc, char **argv, int *ret_words)
{
    char two[128];
    if (argc >= 2) {
        (void)snprintf(two, sizeof(two), "%s %s", argv[0], argv[1]);
        const struct cmd *c = cmd_find(two);
        if (c != NULL) {
            *ret_words = 2;
            return c;
        }
    }
    *ret_words = 1;
    return cmd_find(argv[0]);
}

/* "provider" alone, or with a word that none of its commands has: these are meant. The caller
 * frees. */
static char *
group_of(const char *word)
{
    size_t len = strlen(word);
    const struct cmd *c;
    struct c2_buf out = { 0 };
    for (size_t k = 0; (c = cmd_at(k)) != NULL; k++) {
        if (strncmp(c->name, word, len) == 0 && c->name[len] == ' ')
            c2_buf_printf(&out, "%s%s", out.len > 0 ? ", " : "hint: ", c->name);
    }
    char *text =
        c2_strdup(out.len > 0 ? c2_buf_cstr(&out) : "hint: c2fsctl help lists the commands");
    c2_buf_done(&out);
    return text;
}

static int
unknown_command(const struct cmd_ctx *x, int argc, char **argv)
{
    const char *names[COMMANDS_MAX];
    size_t n = 0;
    const struct cmd *c;
    while (n < COMMANDS_MAX && (c = cmd_at(n)) != NULL)
        names[n++] = c->name;
    C2_AUTO(c2_free_auto)
    char *typed = argc > 1 ? c2_asprintf("%s %s", argv[0], argv[1]) : c2_strdup(argv[0]);
    const char *near = c2_nearest(typed, names, n);
    if (near == NULL)
        near = c2_nearest(argv[0], names, n);
    C2_AUTO(c2_free_auto)
    char *problem = near != NULL
                        ? c2_asprintf("there is no command '%s', did you mean '%s'?", typed, near)
                        : c2_asprintf("there is no command '%s'", typed);
    C2_AUTO(c2_free_auto) char *group = group_of(argv[0]);
    return cmd_wrong_call(x, problem, group);
}

static int
help(const struct cmd_ctx *x, int argc, char **argv)
{
    int words;
    if (argc == 0) {
        print_overview(stdout);
        return CTL_EXIT_OK;
    }
    const struct cmd *c = match(argc, argv, &words);
    if (c == NULL)
        return unknown_command(x, argc, argv);
    print_command(c);
    return CTL_EXIT_OK;
}

/* ---- running it -------------------------------------------------------------------------------
 */

static int
choose_volume(struct cmd_ctx *x, const struct cmd *c)
{
    const char *only = c2_conf_section(x->conf, "volume", 0);
    if (x->volume != NULL && !c2_conf_has_section(x->conf, "volume", x->volume)) {
        const char *names[64];
        size_t n = 0;
        while (n < C2_ARRAY_LEN(names) &&
               (names[n] = c2_conf_section(x->conf, "volume", n)) != NULL)
            n++;
        const char *near = c2_nearest(x->volume, names, n);
        char *hint = near != NULL ? c2_asprintf("did you mean '%s'?", near)
                                  : c2_strdup("c2fsctl config shows what is configured");
        int code = cmd_fail(x, C2_E_NOT_FOUND, c->name, x->volume,
                            "no such [volume] section in the configuration", hint);
        c2_free(hint);
        return code;
    }
    if (c->needs != CMD_NEEDS_VOLUME || x->volume != NULL)
        return CTL_EXIT_OK;
    if (only == NULL)
        return cmd_fail(x, C2_E_CONFIG, c->name, NULL, "the configuration has no [volume] section",
                        "-C FILE names another one; c2fs.conf.example and c2fs.conf(5) show how");
    if (c2_conf_section(x->conf, "volume", 1) != NULL)
        return cmd_fail(x, C2_E_CONFIG, c->name, NULL, "which volume?", "choose one with -V NAME");
    x->volume = only;
    return CTL_EXIT_OK;
}

static int
run_command(struct cmd_ctx *x, int argc, char **argv)
{
    int words;
    const struct cmd *c = match(argc, argv, &words);
    if (c == NULL)
        return unknown_command(x, argc, argv);
    if (argc == words + 1 && strcmp(argv[words], "--help") == 0) {
        print_command(c);
        return CTL_EXIT_OK;
    }
    if (x->dry_run && cmd_acts_at_once(c))
        return cmd_usage(x, c, "acts at once, it cannot be tried with --dry-run; nothing was done");
    x->conf = c2_conf_new();
    int code = CTL_EXIT_OK;
    if (c->needs != CMD_NEEDS_NOTHING) {
        enum c2_err err = c2_conf_load_default(x->conf, x->config_file);
        if (err != C2_E_OK)
            code =
                cmd_fail(x, C2_E_CONFIG, c->name, NULL, c2_conf_error(x->conf), "see c2fs.conf(5)");
        else
            code = choose_volume(x, c);
    }
    if (code == CTL_EXIT_OK)
        code = c->run(x, argc - words + 1, argv + words - 1);
    c2_conf_free(x->conf);
    return code;
}

/* Whoever reads the output must not take a part of it for all. */
static int
end_output(int code)
{
    const char *why = fflush(stdout) != 0   ? strerror(errno)
                      : ferror(stdout) != 0 ? "a part of it is missing"
                                            : NULL;
    if (why == NULL)
        return code;
    (void)fprintf(stderr, "c2fsctl: standard output cannot be written: %s\n", why);
    return code == CTL_EXIT_OK ? CTL_EXIT_FAILED : code;
}

static bool
parse_progress(const char *text, enum cmd_progress *ret_progress)
{
    static const char *const names[] = { "bar", "plain", "json", "none" };
    for (size_t k = 0; k < C2_ARRAY_LEN(names); k++) {
        if (strcmp(text, names[k]) == 0) {
            *ret_progress = (enum cmd_progress)k;
            return true;
        }
    }
    return false;
}

/* -1: go on with the command at argv[optind]. */
static int
parse_globals(int argc, char **argv, struct cmd_ctx *x)
{
    static const struct option longs[] = {
        { "config", required_argument, NULL, 'C' },
        { "volume", required_argument, NULL, 'V' },
        { "json", no_argument, NULL, 'j' },
        { "progress", required_argument, NULL, 'p' },
        { "dry-run", no_argument, NULL, 'n' },
        { "yes", no_argument, NULL, 'y' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'v' },
        { NULL, 0, NULL, 0 },
    };
    int flag;
    const char *kind = c2_os_getenv("C2FS_PROGRESS");
    if (kind != NULL)
        (void)parse_progress(kind, &x->progress);
    while ((flag = getopt_long(argc, argv, "+C:V:h", longs, NULL)) != -1) {
        switch (flag) {
        case 'C':
            x->config_file = optarg;
            break;
        case 'V':
            x->volume = optarg;
            break;
        case 'j':
            x->json = true;
            break;
        case 'n':
            x->dry_run = true;
            break;
        case 'y':
            x->yes = true;
            break;
        case 'v':
            (void)printf("c2fsctl %s\n", C2_VERSION);
            return CTL_EXIT_OK;
        case 'h':
            print_overview(stdout);
            return CTL_EXIT_OK;
        case 'p':
            if (parse_progress(optarg, &x->progress))
                break;
            (void)fprintf(stderr, "c2fsctl: --progress takes bar, plain, json or none\n");
            return CTL_EXIT_USAGE;
        default:
            (void)fprintf(stderr, "hint: c2fsctl help lists options and commands\n");
            return CTL_EXIT_USAGE;
        }
    }
    return -1;
}

int
main(int argc, char **argv)
{
    struct cmd_ctx x = { .progress = CMD_PROGRESS_AUTO };
    c2_os_begin();
    c2_log_set_level(C2_LOG_WARN);
    const char *slash = strrchr(argv[0], '/');
    if (strncmp(slash == NULL ? argv[0] : slash + 1, "umount.", 7) == 0)
        return umount_helper(&x, argc, argv);
    int code = parse_globals(argc, argv, &x);
    if (code >= 0)
        return end_output(code);
    argc -= optind;
    argv += optind;
    opterr = !x.json; /* what getopt says is no JSON, and the command says that it failed */
    if (argc == 0) {
        (void)fprintf(stderr, "usage: c2fsctl [-C FILE] [-V VOLUME] [--json] COMMAND\n"
                              "hint: c2fsctl help lists the commands\n");
        return CTL_EXIT_USAGE;
    }
    if (strcmp(argv[0], "help") == 0)
        return end_output(help(&x, argc - 1, argv + 1));
    return end_output(run_command(&x, argc, argv));
}
