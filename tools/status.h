/* SPDX-License-Identifier: MIT */
/*
 * What `c2fsctl status` shows. Printing returns the exit code.
 */
#ifndef C2_TOOLS_STATUS_H
#define C2_TOOLS_STATUS_H

#include "tools/cmd.h"

/* From the daemon when there is one, else from outside. */
C2_RESULT status_get(const struct cmd_ctx *x, const char *volume, struct ctl_status *ret_status,
                     bool *ret_mounted, char **ret_error);
/* brief: nothing when all is well. */
int status_print(const struct ctl_status *s, bool mounted, bool brief);
int status_print_json(const struct ctl_status *s, bool mounted);
/* One line; exit code of a monitoring plug-in. */
int status_print_check(const struct ctl_status *s, bool mounted);

/* Also `provider list` and `stats`. */
void status_providers_json(struct c2_json *j, const struct ctl_status *s);
void status_providers_table(const struct ctl_status *s, const char *indent);

#endif
