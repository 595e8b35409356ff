/* SPDX-License-Identifier: MIT */
/*
 * recover: a volume whose machine is lost.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/os_loop.h"
#include "base/os_tty.h"
#include "base/str.h"
#include "fs/volume_recover.h"
#include "tools/cmd.h"

struct recover_options {
    bool from_clouds, accept_loss;
    const char *uuid;
};

static int
parse(const struct cmd_ctx *x, const struct cmd *c, int argc, char **argv,
      struct recover_options *o)
{
    static const struct option longs[] = {
        { "from-clouds", no_argument, NULL, 'c' },
        { "accept-loss", no_argument, NULL, 'l' },
        { "uuid", required_argument, NULL, 'u' },
        { NULL, 0, NULL, 0 },
    };
    int flag;
    optind = 0; /* getopt starts anew */
    while ((flag = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (flag) {
        case 'c':
            o->from_clouds = true;
            break;
        case 'l':
            o->accept_loss = true;
            break;
        case 'u':
            o->uuid = optarg;
            break;
        default:
            return cmd_usage(x, c, "unknown option");
        }
    }
    if (argc != optind)
        return cmd_usage(x, c, "the volume is named with -V");
    if (!o->from_clouds)
        return cmd_usage(x, c, "say --from-clouds");
    return -1;
}

static void
print_json(const struct cmd_ctx *x, const struct volume_recover *r)
{
    struct c2_buf out = { 0 };
    struct c2_json j;
    cmd_json_begin(&j, &out, "c2fs.recover/1");
    c2_json_str(&j, "volume", x->volume);
    c2_json_u64(&j, "n", r->config.n);
    c2_json_u64(&j, "f", r->config.f);
    c2_json_u64(&j, "checkpoint_version", r->report.checkpoint_version);
    c2_json_u64(&j, "journal_objects", r->report.objects);
    c2_json_u64(&j, "version", r->report.version);
    c2_json_u64(&j, "time_ns", r->report.time_ns);
    c2_json_bool(&j, "lossy", r->report.lossy);
    c2_json_str(&j, "loss", r->report.loss);
    cmd_json_print(&j, &out);
}

static void
print(const struct cmd_ctx *x, const struct volume_recover *r)
{
    const struct recover_report *rep = &r->report;
    char size[C2_SIZE_TEXT_MAX], when[C2_SIZE_TEXT_MAX];
    c2_time_format(rep->time_ns, when);
    (void)printf("volume '%s' is back as it was at %s\n", x->volume, when);
    for (unsigned seat = 0; seat < r->config.n; seat++)
        (void)printf("  seat %u  %s\n", seat,
                     r->config.seats[seat].provider[0] != '\0' ? r->config.seats[seat].provider
                                                               : "(nothing of the volume found)");
    if (rep->checkpoint_version != 0)
        (void)printf("  checkpoint %s", c2_size_format(rep->checkpoint_bytes, size));
    else
        (void)printf("  no checkpoint");
    (void)printf(", %llu journal objects %s\n", (unsigned long long)rep->objects,
                 c2_size_format(rep->log_bytes, size));
    if (rep->lossy)
        (void)printf("LOST: what came later; %s\n", rep->loss);
    if (r->key_written)
        (void)printf("the volume's key was in the clouds (keyless) and is in the key file now\n");
    if (r->journal_aside != NULL)
        (void)printf("the old journal of this machine is in %s\n", r->journal_aside);
    (void)printf("The machine that had the volume can no longer write to it.\n"
                 "next: c2fs %s MOUNTPOINT%s%s\n",
                 x->volume, x->config_file != NULL ? " -C " : "",
                 x->config_file != NULL ? x->config_file : "");
}

static int
run_recover(struct cmd_ctx *x, int argc, char **argv)
{
    const struct cmd *c = cmd_find("recover");
    struct recover_options o = { 0 };
    int code = parse(x, c, argc, argv, &o);
    if (code >= 0)
        return code;
    struct volume_recover r = { .conf = x->conf,
                                .volume = x->volume,
                                .uuid = o.uuid,
                                .ask = c2_os_has_tty() ? c2_os_ask_secret : NULL,
                                .accept_loss = o.accept_loss };
    enum c2_err err = c2_crypto_init();
    if (err == C2_E_OK)
        err = c2_os_new(1, &r.os);
    if (err != C2_E_OK)
        return cmd_fail(x, err, "recover", x->volume, NULL, NULL);
    err = volume_recover_run(&r);
    c2_os_drain(r.os);
    c2_os_free(r.os);
    if (err != C2_E_OK)
        code = cmd_fail(x, err, "recover", x->volume, r.error.text,
                        r.error.hint[0] != '\0' ? r.error.hint : NULL);
    else if (x->json)
        print_json(x, &r);
    else
        print(x, &r);
    c2_free(r.journal_aside);
    if (err != C2_E_OK)
        return code;
    return r.report.lossy ? CTL_EXIT_DATA_LOST : CTL_EXIT_OK;
}

const struct cmd cmds_recover[] = {
    { "recover", "--from-clouds [--accept-loss] [--uuid HEX]",
      "bring a volume back whose machine is lost",
      "On a new machine: install the configuration with the same providers, bring the key file\n"
      "back (a copy, or c2fsctl key restore; a keyless volume needs none), then run this. It\n"
      "rebuilds the local metadata from the checkpoints and the journal in the clouds, and seals\n"
      "the journal, so that the old machine, should it come back, is read-only.\n"
      "With --accept-loss, damage that more clouds than may fail have done ends the history "
      "there.\n"
      "--uuid tells keyless volumes in the same buckets apart.\n",
      "--from-clouds --accept-loss --uuid", CMD_NEEDS_VOLUME, run_recover },
    { NULL, NULL, NULL, NULL, NULL, CMD_NEEDS_NOTHING, NULL },
};
