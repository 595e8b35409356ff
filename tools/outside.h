/* SPDX-License-Identifier: MIT */
/*
 * A volume seen from outside, when no daemon answers: its configuration, whether its providers
 * answer, what lies in its journal. Nothing is opened that a mount would need.
 */
#ifndef C2_TOOLS_OUTSIDE_H
#define C2_TOOLS_OUTSIDE_H

#include "tools/cmd.h"

/* Fills what can be known; providers are asked (a HEAD each, at most a few seconds in all). */
C2_RESULT outside_status(const struct cmd_ctx *x, const char *volume, struct ctl_status *ret_status,
                         char **ret_error);
/* Bytes of the files in <cache_dir>/<folder>, 0 when there is none. */
uint64_t outside_folder_bytes(const struct cmd_ctx *x, const char *volume, const char *folder);
/* Journals that were set aside because another machine was faster: their paths, a line each, as far
 * as they fit. */
void outside_conflicts(const struct cmd_ctx *x, const char *volume, char *out, size_t size);
/* The sections of providers, in file order; at most CTL_PROVIDERS_MAX. */
size_t outside_providers(const struct cmd_ctx *x, const char *names[CTL_PROVIDERS_MAX]);

#endif
