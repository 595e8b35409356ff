/* SPDX-License-Identifier: MIT */
/*
 * Jobs of a running mount, for commands: start one and watch it, or say something to one.
 */
#ifndef C2_TOOLS_JOB_H
#define C2_TOOLS_JOB_H

#include "tools/cmd.h"

struct job_start {
    const char *what;   /* the command, for messages: "provider replace" */
    const char *kind;   /* of the job */
    const char *params; /* "key=value" separated by blanks */
    uint64_t rate_limit;
    bool detach; /* do not wait for its end */
    bool joins;  /* one that runs already with the same parameters is this one */
};

/* All return an exit code. The one of a job that is watched to its end: 0; 6 when some objects
 * could not be dealt with; the error's when it failed; 130 when the user went away. */
int job_run(const struct cmd_ctx *x, const struct job_start *s);
int job_watch(const struct cmd_ctx *x, const char *what, const char *kind);
/* verb: "pause" "resume" "cancel" "limit". */
int job_control(const struct cmd_ctx *x, const char *what, const char *kind, const char *verb,
                uint64_t rate_limit);
/* One job of a kind as it is now, or all of them with kind NULL. */
int job_list(const struct cmd_ctx *x, const char *what, const char *kind);

/* cmd_request about a job. */
enum c2_err job_request(const struct cmd_ctx *x, const struct ctl_request *q,
                        struct c2_buf *ret_body, char **ret_error);
/* The job of that kind; NOT_FOUND when there was none. */
enum c2_err job_get(const struct cmd_ctx *x, const char *kind, struct ctl_job *ret_job,
                    char **ret_error);

/* "replace running, 42 %: 1.2 GiB of 2.9 GiB, 31 MiB/s, about 56s left" */
#define JOB_LINE_MAX 512
void job_line(const struct ctl_job *j, char out[JOB_LINE_MAX]);
void job_json_fields(struct c2_json *j, const struct ctl_job *job); /* into an object */
void job_json(struct c2_json *j, const struct ctl_job *job);

#endif
