/* SPDX-License-Identifier: MIT */
/*
 * Progress of something long, on standard error: a line that is rewritten on a terminal, a line
 * every 30 s otherwise, JSON lines, or nothing.
 */
#ifndef C2_TOOLS_PROGRESS_H
#define C2_TOOLS_PROGRESS_H

#include "tools/cmd.h"

struct progress {
    const char *what;
    enum cmd_progress kind; /* never AUTO */
    bool rewrites;          /* on a terminal */
    bool shown;
    uint64_t started_ns, printed_ns;
    uint64_t first_bytes; /* when it began, for the rate */
    bool have_first;
};

void progress_begin(struct progress *p, const struct cmd_ctx *x, const char *what);
/* For ctl_client_call. */
void progress_answer(void *arg, const struct ctl_answer *a);
void progress_end(struct progress *p);

#endif
