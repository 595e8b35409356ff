/* SPDX-License-Identifier: MIT */
/*
 * One request of a command to the daemon of its volume.
 */
#ifndef C2_TOOLS_REQUEST_H
#define C2_TOOLS_REQUEST_H

#include "fs/ctl_proto.h"
#include "tools/cmd.h"

/* An error of the daemon comes with its text for people, which may hold a hint; c2_free. `why` says
 * why the volume must be mounted for it. ret_body may be NULL. */
enum c2_err cmd_request(const struct cmd_ctx *x, const struct ctl_request *q, const char *why,
                        struct c2_buf *ret_body, char **ret_error);

#endif
