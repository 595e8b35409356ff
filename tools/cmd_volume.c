/* SPDX-License-Identifier: MIT */
/*
 * format, status, df, config: the volume as a whole.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/os_file.h"
#include "base/os_loop.h"
#include "base/os_tty.h"
#include "base/str.h"
#include "fs/format.h"
#include "tools/cmd.h"
#include "tools/outside.h"
#include "tools/session.h"
#include "tools/status.h"

/* ---- format ---------------------------------------------------------------------------------- */

struct format_options {
    unsigned f;
    const char *providers[DS_SEATS_MAX];
    size_t nproviders;
    bool keyless, no_passphrase;
    const char *kit_path;
};

static int
parse_format(const struct cmd_ctx *x, const struct cmd *c, int argc, char **argv,
             struct format_options *o, const char **name)
{
    static const struct option longs[] = {
        { "f", required_argument, NULL, 'f' },
        { "provider", required_argument, NULL, 'p' },
        { "keyless", no_argument, NULL, 'k' },
        { "no-passphrase", no_argument, NULL, 'n' },
        { "recovery-kit", required_argument, NULL, 'r' },
        { NULL, 0, NULL, 0 },
    };
    int flag;
    uint64_t f = 0;
    optind = 0; /* getopt starts anew */
    while ((flag = getopt_long_only(argc, argv, "", longs, NULL)) != -1) {
        switch (flag) {
        case 'f':
            if (c2_u64_parse(c2_slice_str(optarg), DS_F_MAX, &f) != C2_E_OK || f == 0)
                return cmd_usage(x, c, "--f takes 1 or 2");
            o->f = (unsigned)f;
            break;
        case 'p':
            if (o->nproviders == C2_ARRAY_LEN(o->providers))
                return cmd_usage(x, c, "too many providers");
            o->providers[o->nproviders++] = optarg;
            break;
        case 'k':
            o->keyless = true;
            break;
        case 'n':
            o->no_passphrase = true;
            break;
        case 'r':
            o->kit_path = optarg;
            break;
        default:
            return cmd_usage(x, c, "unknown option");
        }
    }
    if (argc - optind > 1 || (argc == optind && *name == NULL))
        return cmd_usage(x, c, "give one volume name");
    if (argc > optind && *name != NULL && strcmp(*name, argv[optind]) != 0)
        return cmd_usage(x, c, "the name and -V are of different volumes");
    if (argc > optind)
        *name = argv[optind];
    return -1;
}

static void
format_ended(struct volume_format *o)
{
    *(bool *)o->priv = true;
}

static void
uuid_text(const uint8_t uuid[16], char out[37])
{
    char hex[33];
    c2_hex_encode(uuid, 16, hex);
    (void)snprintf(out, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
                   hex + 20);
}

static void
print_formatted(const struct cmd_ctx *x, const struct volume_config *v,
                const struct format_options *o)
{
    char uuid[37];
    const char *key_file = c2_conf_str(x->conf, "volume", v->name, "key_file");
    uuid_text(v->uuid, uuid);
    if (x->json) {
        struct c2_buf out = { 0 };
        struct c2_json j;
        cmd_json_begin(&j, &out, "c2fs.format/1");
        c2_json_str(&j, "volume", v->name);
        c2_json_str(&j, "uuid", uuid);
        c2_json_u64(&j, "n", v->n);
        c2_json_u64(&j, "f", v->f);
        c2_json_bool(&j, "dry_run", x->dry_run);
        cmd_json_print(&j, &out);
        return;
    }
    (void)printf("volume '%s' %s%s: %u providers, any %u of them may fail or lie\n", v->name, uuid,
                 x->dry_run ? " could be created" : " created", v->n, v->f);
    for (unsigned seat = 0; seat < v->n; seat++)
        (void)printf("  seat %u  %-16s %s\n", seat, v->seats[seat].provider, v->seats[seat].url);
    if (x->dry_run)
        return;
    if (key_file != NULL && !o->keyless)
        (void)printf("key file %s%s\n"
                     "  Without this file (or its recovery kit) nobody can read the data. Keep a "
                     "copy elsewhere.\n",
                     key_file,
                     o->no_passphrase ? "\n  WARNING: it is not protected by a passphrase; whoever "
                                        "has it and the clouds can read everything."
                                      : "");
    if (o->kit_path != NULL)
        (void)printf("recovery kit %s: print it, then delete the file\n", o->kit_path);
    (void)printf("next: c2fs %s MOUNTPOINT%s%s\n", v->name, x->config_file != NULL ? " -C " : "",
                 x->config_file != NULL ? x->config_file : "");
}

static int
run_format(struct cmd_ctx *x, int argc, char **argv)
{
    const struct cmd *c = cmd_find("format");
    struct format_options o = { .f = 1 };
    const char *name = x->volume;
    int code = parse_format(x, c, argc, argv, &o, &name);
    if (code >= 0)
        return code;
    struct c2_os *os;
    if (c2_crypto_init() != C2_E_OK || c2_os_new(2, &os) != C2_E_OK)
        return cmd_fail(x, C2_E_IO, "format", name, "cannot start", NULL);
    struct format_owner owner = { .uid = (uint32_t)getuid(),
                                  .gid = (uint32_t)getgid(),
                                  .wall_ns = c2_wall_ns(c2_os_env(os)) };
    struct c2_buf kit = { 0 };
    bool done = false;
    struct volume_format f = { .env = c2_os_env(os),
                               .os = os,
                               .conf = x->conf,
                               .volume = name,
                               .f = o.f,
                               .providers = o.nproviders > 0 ? o.providers : NULL,
                               .nproviders = o.nproviders,
                               .keyless = o.keyless,
                               .no_passphrase = o.no_passphrase,
                               .dry_run = x->dry_run,
                               .ask = c2_os_has_tty() ? c2_os_ask_secret : NULL,
                               .put_root = format_put_root,
                               .put_root_arg = &owner,
                               .ret_recovery_kit = o.kit_path != NULL ? &kit : NULL,
                               .done = format_ended,
                               .priv = &done };
    volume_format_start(&f);
    c2_os_run_until(os, &done);
    c2_os_drain(os);
    c2_os_free(os);
    code = CTL_EXIT_OK;
    if (f.error.err != C2_E_OK)
        code = cmd_fail(x, f.error.err, "format", name, f.error.text,
                        f.error.hint[0] != '\0' ? f.error.hint : NULL);
    else if (o.kit_path != NULL && !x->dry_run)
        code = session_write_secret(x, "format", o.kit_path, &kit);
    c2_wipe(kit.data, kit.len);
    c2_buf_done(&kit);
    if (code == CTL_EXIT_OK)
        print_formatted(x, &f.config, &o);
    return code;
}

/* ---- status ---------------------------------------------------------------------------------- */

struct status_options {
    bool brief, check, watch;
};

/* Of a volume that is not mounted: is there one at all? NULL = there is; c2_free. */
static char *
not_made(const struct cmd_ctx *x, const char *volume)
{
    const char *metadata = c2_conf_str(x->conf, "volume", volume, "metadata");
    const char *folder = metadata == NULL ? NULL : strchr(metadata, ':') + 1;
    if (metadata == NULL || strncmp(metadata, "local:", strlen("local:")) != 0 ||
        access(folder, F_OK) == 0 || errno != ENOENT)
        return NULL;
    return c2_asprintf("the volume was not made yet, or its metadata is gone: there is no %s\n"
                       "hint: c2fsctl format %s makes a new one; c2fsctl -V %s recover "
                       "--from-clouds brings one back whose machine is lost",
                       folder, volume, volume);
}

static int
status_of(const struct cmd_ctx *x, const char *volume, const struct status_options *o)
{
    struct ctl_status *s = c2_calloc(1, sizeof(*s));
    bool mounted = false;
    char *error = NULL;
    enum c2_err err = status_get(x, volume, s, &mounted, &error);
    int code;
    if (err == C2_E_OK && !mounted && (error = not_made(x, volume)) != NULL)
        err = C2_E_NOT_FOUND;
    outside_conflicts(x, volume, s->conflicts, sizeof(s->conflicts));
    if (err != C2_E_OK) {
        code = o->check ? 3 : cmd_fail(x, err, "status", volume, error, NULL);
        if (o->check)
            (void)printf("C2FS UNKNOWN - %s: %s\n", volume, error != NULL ? error : "");
    } else if (o->check) {
        code = status_print_check(s, mounted);
    } else if (x->json) {
        code = status_print_json(s, mounted);
    } else {
        code = status_print(s, mounted, o->brief);
    }
    c2_free(error);
    c2_free(s);
    return code;
}

static int
status_of_all(const struct cmd_ctx *x, const struct status_options *o)
{
    const char *name;
    int worst = CTL_EXIT_OK;
    size_t n = 0;
    for (; (name = c2_conf_section(x->conf, "volume", n)) != NULL; n++) {
        int code = status_of(x, name, o);
        worst = C2_MAX(worst, code);
    }
    if (n > 0 && o->brief && worst == CTL_EXIT_OK)
        (void)printf("all volumes are healthy\n");
    return worst;
}

static int
run_status(struct cmd_ctx *x, int argc, char **argv)
{
    static const struct option longs[] = {
        { "check", no_argument, NULL, 'c' },
        { "watch", no_argument, NULL, 'w' },
        { NULL, 0, NULL, 0 },
    };
    const struct cmd *c = cmd_find("status");
    struct status_options o = { 0 };
    int flag;
    optind = 0; /* getopt starts anew */
    while ((flag = getopt_long(argc, argv, "x", longs, NULL)) != -1) {
        o.brief = o.brief || flag == 'x';
        o.check = o.check || flag == 'c';
        o.watch = o.watch || flag == 'w';
        if (flag == '?')
            return cmd_usage(x, c, "unknown option");
    }
    if (optind != argc)
        return cmd_usage(x, c, "takes no arguments; choose a volume with -V");
    size_t nvolumes = 0;
    while (c2_conf_section(x->conf, "volume", nvolumes) != NULL)
        nvolumes++;
    if (nvolumes == 0)
        return cmd_fail(x, C2_E_CONFIG, "status", NULL, "the configuration has no [volume] section",
                        "-C FILE names another one; c2fs.conf.example and c2fs.conf(5) show how");
    if (x->json && x->volume == NULL && nvolumes != 1)
        return cmd_usage(x, c, "--json shows one volume; choose it with -V");
    for (;;) {
        if (o.watch && isatty(STDOUT_FILENO))
            (void)printf("\033[H\033[2J");
        int code = x->volume != NULL ? status_of(x, x->volume, &o) : status_of_all(x, &o);
        if (!o.watch)
            return code;
        (void)fflush(stdout);
        (void)sleep(2);
    }
}

/* ---- df -------------------------------------------------------------------------------------- */

static int
run_df(struct cmd_ctx *x, int argc, char **argv)
{
    (void)argv;
    if (argc != 1)
        return cmd_usage(x, cmd_find("df"), "takes no arguments");
    struct ctl_status *s = c2_calloc(1, sizeof(*s));
    char *error = NULL;
    char size[C2_SIZE_TEXT_MAX], stored[C2_SIZE_TEXT_MAX];
    bool mounted;
    enum c2_err err = status_get(x, x->volume, s, &mounted, &error);
    if (err == C2_E_OK && !mounted)
        err = session_usage(x, &s->used_bytes, &s->used_files, &error);
    if (err != C2_E_OK) {
        int code = cmd_fail(x, err, "df", x->volume, error, NULL);
        c2_free(error);
        c2_free(s);
        return code;
    }
    /* What redundancy makes of it: w = k + f shares of 1/k each. */
    uint64_t k = s->f + 1, w = 2 * (uint64_t)s->f + 1;
    uint64_t in_clouds = k == 0 ? 0 : s->used_bytes / k * w;
    if (x->json) {
        struct c2_buf out = { 0 };
        struct c2_json j;
        cmd_json_begin(&j, &out, "c2fs.df/1");
        c2_json_str(&j, "volume", x->volume);
        c2_json_u64(&j, "used_bytes", s->used_bytes);
        c2_json_u64(&j, "files", s->used_files);
        c2_json_u64(&j, "stored_bytes_max", in_clouds);
        cmd_json_print(&j, &out);
    } else {
        struct cmd_table t = { .ncolumns = 4,
                               .headers = { "VOLUME", ">FILES", ">SIZE", ">IN THE CLOUDS" } };
        char files[24];
        (void)snprintf(files, sizeof(files), "%llu", (unsigned long long)s->used_files);
        (void)c2_size_format(s->used_bytes, size);
        (void)c2_size_format(in_clouds, stored);
        char *most = c2_asprintf("at most %s", stored);
        cmd_table_add(&t, x->volume, files, size, most);
        c2_free(most);
        cmd_table_print(&t, "");
    }
    c2_free(s);
    return CTL_EXIT_OK;
}

/* ---- config ---------------------------------------------------------------------------------- */

static int
run_config(struct cmd_ctx *x, int argc, char **argv)
{
    (void)argv;
    if (argc != 1)
        return cmd_usage(x, cmd_find("config"), "takes no arguments");
    struct c2_buf text = { 0 };
    c2_conf_dump(x->conf, &text);
    if (x->json) {
        struct c2_buf out = { 0 };
        struct c2_json j;
        cmd_json_begin(&j, &out, "c2fs.config/1");
        c2_json_str(&j, "text", c2_buf_cstr(&text));
        cmd_json_print(&j, &out);
    } else {
        (void)fputs(c2_buf_cstr(&text), stdout);
    }
    c2_buf_done(&text);
    return CTL_EXIT_OK;
}

const struct cmd cmds_volume[] = {
    { "format",
      "[NAME] [--f N] [--provider NAME ...] [--keyless] [--no-passphrase] [--recovery-kit FILE]",
      "make a new, empty volume",
      "Creates the volume that [volume \"NAME\"] of the configuration describes: a key file, the\n"
      "metadata store, and its place at every provider. It needs at least 3f+1 providers; without\n"
      "--provider all sections of the configuration take part, in their order. Nothing is ever\n"
      "overwritten. NAME may be given with -V instead. With --dry-run everything is\n"
      "checked and nothing is written.\n"
      "  --f N            providers that may fail or lie at the same time: 1 (default) or 2\n"
      "  --keyless        data can be recovered from any f+1 providers without a key file; then\n"
      "                   f+1 of them together can also read it\n"
      "  --no-passphrase  leave the key file unprotected\n"
      "  --recovery-kit   also write the key as text for paper\n",
      "--f --provider --keyless --no-passphrase --recovery-kit", CMD_NEEDS_CONF, run_format },
    { "status", "[-x] [--check] [--watch]", "health of volumes, providers, backlog, space",
      "Without -V all volumes of the configuration. Works without a running daemon too: then the\n"
      "providers are asked directly. Exit codes: 0 healthy, 6 degraded, 5 more providers fail "
      "than\n"
      "can be tolerated.\n"
      "  -x       only volumes that have a problem\n"
      "  --check  one line and exit codes for monitoring plug-ins (0 ok, 1 warning, 2 critical)\n"
      "  --watch  again every two seconds\n",
      "-x --check --watch", CMD_NEEDS_CONF, run_status },
    { "df", "", "files and bytes of a volume",
      "What the files hold, and the most that their shares take at the providers (compression\n"
      "makes it less).\n",
      "", CMD_NEEDS_VOLUME, run_df },
    { "config", "", "the effective configuration and where each value is from",
      "Every key with its value, and the file and line or the default it comes from. Never\n"
      "secrets.\n",
      "", CMD_NEEDS_CONF, run_config },
    { NULL, NULL, NULL, NULL, NULL, CMD_NEEDS_NOTHING, NULL },
};
