/* SPDX-License-Identifier: MIT */
/*
 * A volume opened by a command that only looks, while no daemon has it; and what commands do with
 * secrets.
 */
#ifndef C2_TOOLS_SESSION_H
#define C2_TOOLS_SESSION_H

#include "fs/volume.h"
#include "tools/cmd.h"

struct session {
    struct c2_os *os;
    struct volume *volume;
};

/* ret_error: text and hint in two lines (c2_free). */
C2_RESULT session_open(const struct cmd_ctx *x, struct session *s, char **ret_error);
void session_close(struct session *s);
/* The usage counters, read from the store. */
C2_RESULT session_usage(const struct cmd_ctx *x, uint64_t *ret_bytes, uint64_t *ret_files,
                        char **ret_error);
/* Makes a new file of mode 0600; refuses to replace one. An exit code. */
int session_write_secret(const struct cmd_ctx *x, const char *what, const char *path,
                         const struct c2_buf *text);

#endif
