/* SPDX-License-Identifier: MIT */
/*
 * The blocking end of the control socket, for command-line tools.
 */
#ifndef C2_TOOLS_CTL_CLIENT_H
#define C2_TOOLS_CTL_CLIENT_H

#include "fs/ctl_proto.h"

struct ctl_client {
    int fd;
    int pid_fd;          /* of the daemon, -1 when it cannot be watched */
    struct c2_buf frame; /* of the last answer: its message and body point into it */
};

/* NOT_MOUNTED when nobody listens in that folder. */
C2_RESULT ctl_client_open(const char *cache_dir, struct ctl_client *c);
void ctl_client_close(struct ctl_client *c);
/* Sends a request and waits for its result; `progress` (may be NULL) gets what comes before it.
 * UNREACHABLE when the daemon ended without an answer. The daemon's error is in *ret_answer. */
C2_RESULT ctl_client_call(struct ctl_client *c, const struct ctl_request *q,
                          void (*progress)(void *arg, const struct ctl_answer *a), void *arg,
                          struct ctl_answer *ret_answer);
/* Until the daemon's process has ended. */
void ctl_client_wait_end(struct ctl_client *c);

#endif
