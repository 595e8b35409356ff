/* SPDX-License-Identifier: MIT */
/*
 * job list, watch, pause, resume, cancel, limit: of any kind. What starts a job is the command of
 * its kind (scrub, repair, gc, provider replace).
 */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "tools/job.h"

static int
run_list(struct cmd_ctx *x, int argc, char **argv)
{
    (void)argv;
    if (argc != 1)
        return cmd_usage(x, cmd_find("job list"), "takes no arguments");
    return job_list(x, "job list", NULL);
}

static int
run_watch(struct cmd_ctx *x, int argc, char **argv)
{
    if (argc != 2)
        return cmd_usage(x, cmd_find("job watch"), "give a kind of job");
    return job_watch(x, "job watch", argv[1]);
}

static int
run_pause(struct cmd_ctx *x, int argc, char **argv)
{
    if (argc != 2)
        return cmd_usage(x, cmd_find("job pause"), "give a kind of job");
    return job_control(x, "job pause", argv[1], "pause", 0);
}

static int
run_resume(struct cmd_ctx *x, int argc, char **argv)
{
    if (argc != 2)
        return cmd_usage(x, cmd_find("job resume"), "give a kind of job");
    return job_control(x, "job resume", argv[1], "resume", 0);
}

static int
run_cancel(struct cmd_ctx *x, int argc, char **argv)
{
    if (argc != 2)
        return cmd_usage(x, cmd_find("job cancel"), "give a kind of job");
    return job_control(x, "job cancel", argv[1], "cancel", 0);
}

static int
run_limit(struct cmd_ctx *x, int argc, char **argv)
{
    uint64_t rate = 0;
    const struct cmd *c = cmd_find("job limit");
    if (argc != 3)
        return cmd_usage(x, c, "give a kind of job and a rate");
    if (strcmp(argv[2], "none") != 0 && c2_size_parse(argv[2], &rate) != C2_E_OK)
        return cmd_usage(x, c, "a rate is bytes per second, like 10M, or none");
    return job_control(x, "job limit", argv[1], "limit", rate);
}

const struct cmd cmds_job[] = {
    { "job list", "", "long work: running, paused, and how the last ones ended",
      "Jobs run in the mount. They survive the command that started them, an unmount and a crash;\n"
      "the next mount goes on. There is at most one of a kind.\n",
      "", CMD_NEEDS_VOLUME, run_list },
    { "job watch", "KIND", "follow a job to its end",
      "Ctrl-C goes away from it; the job goes on. --progress=bar (on a terminal), plain (a line\n"
      "every 30 s), json (a JSON object per line and second on standard error), none.\n"
      "Exit codes: 0 done, 6 done but some objects could not be dealt with, 130 detached or\n"
      "canceled, otherwise that of the error it failed with.\n",
      "", CMD_NEEDS_VOLUME, run_watch },
    { "job pause", "KIND", "interrupt a job until it is resumed", "", "", CMD_NEEDS_VOLUME,
      run_pause },
    { "job resume", "KIND", "let a paused job go on", "", "", CMD_NEEDS_VOLUME, run_resume },
    { "job cancel", "KIND", "end a job; what it did so far stays done", "", "", CMD_NEEDS_VOLUME,
      run_cancel },
    { "job limit", "KIND RATE", "change how many bytes per second a job may move",
      "RATE is like 10M; none = as many as it can.\n", "", CMD_NEEDS_VOLUME, run_limit },
    { NULL, NULL, NULL, NULL, NULL, CMD_NEEDS_NOTHING, NULL },
};
